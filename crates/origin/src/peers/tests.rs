use std::time::Duration;

use bytes::Bytes;
use cluster::{Epoch, Grant, Incarnation, Member, PoolId, PoolViewMember, Role};
use futures_util::{StreamExt, stream};
use hub::{Hub, RingLimits};
use media::{DEFAULT_VHOST, MediaMessage, Medium, PublicationId, StreamName};
use replica::{FollowDown, Publish, Source};
use rpc::relay::Flow;
use tokio::{
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;

use super::{
    follower::{Broken, Talk},
    *,
};
use crate::relay::follow;

/// One origin of a pool of two, and what tells the control plane.
struct Origin {
    streams: Arc<Streams>,
    urgent: Arc<Notify>,
}

impl Origin {
    fn new(name: &str) -> Self {
        let urgent = Arc::new(Notify::new());
        let hub = Hub::new(RingLimits::default());
        let streams = Streams::new(member(name), hub, replica::Config::default(), urgent.clone());
        Self { streams: Arc::new(streams), urgent }
    }

    fn grant(&self, name: &str, active: &str, epoch: u64) {
        let role = if name == active { Role::Active } else { Role::Standby };
        let grant = Grant {
            pool: PoolId::main(),
            member: member(name),
            role,
            epoch: Epoch(epoch),
            version: epoch,
            written_by: String::new(),
            loss_epoch: Epoch(0),
            active: Some(member(active)),
            in_sync: [member("o1"), member("o2")].into(),
            fenced: Default::default(),
            yields: false,
            store: String::new(),
        };
        self.streams.with(|replica, now| replica.handle_grant(grant, now)).unwrap();
    }

    /// Whether somebody was to be told at once.
    async fn was_urgent(&self) -> bool {
        timeout(Duration::ZERO, self.urgent.notified()).await.is_ok()
    }

    fn hears(&self) -> Vec<NodeId> {
        self.streams.with(|replica, _| replica.hears()).into_iter().collect()
    }
}

fn member(name: &str) -> Member {
    Member { node: NodeId::new(name).unwrap(), incarnation: Incarnation::from_bits(1) }
}

/// A Follow of `follower` with `active`, without a network between them.
fn follow(follower: &Origin, active: &Origin, name: &str) -> Talk {
    let (up, said) = mpsc::channel(8);
    let hello = follower.streams.with(|replica, _| replica.hello());
    let down = follow::serve(&active.streams, &Arc::default(), hello, ReceiverStream::new(said).map(Ok).boxed());
    Talk::begin(NodeId::new(name).unwrap(), follower.streams.clone(), follower.urgent.clone(), up, down)
}

fn publish() -> Publish {
    Publish {
        name: StreamName::from_app(DEFAULT_VHOST, "live", "a").unwrap(),
        publication: PublicationId::from_bits(7),
        source: Source { edge: None, peer: "test".into() },
        first_number: 0,
    }
}

fn key() -> MediaMessage {
    let payload = Bytes::from_static(&[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65]);
    MediaMessage { medium: Medium::Video, timestamp: 0, payload }
}

#[tokio::test(start_paused = true)]
async fn what_is_committed_is_what_the_follower_has() {
    let (o1, o2) = (Origin::new("o1"), Origin::new("o2"));
    o1.grant("o1", "o1", 3);
    o2.grant("o2", "o1", 3);
    let opening = timeout(Duration::from_millis(50), o1.streams.publish(publish())).await;
    assert!(opening.is_err(), "nothing is committed without the follower");
    let talk = tokio::spawn(follow(&o2, &o1, "o1").go_on());
    let mut feed = o1.streams.publish(publish()).await.unwrap();
    feed.handle_message(0, key()).unwrap();
    while feed.committed().await.unwrap().through != Some(0) {}
    let log = |origin: &Origin| origin.streams.hub().get(&publish().name).unwrap().info();
    assert_eq!(log(&o2).next_seq, log(&o1).next_seq);
    assert_eq!(log(&o1).committed_below, log(&o1).next_seq);
    assert!(o2.streams.standing().follows.is_some());
    talk.abort();
}

#[tokio::test(start_paused = true)]
async fn the_role_may_move_over_follows_that_stand() {
    let (o1, o2) = (Origin::new("o1"), Origin::new("o2"));
    o1.grant("o1", "o1", 3);
    let talks = [tokio::spawn(follow(&o2, &o1, "o1").go_on()), tokio::spawn(follow(&o1, &o2, "o2").go_on())];
    let mut feed = o1.streams.publish(publish()).await.unwrap();
    o2.grant("o2", "o2", 4);
    // The old one hears of the new epoch by its Follow, and its hold is over.
    while feed.committed().await.is_ok() {}
    assert!(!o1.streams.standing().active);
    let mut changes = o2.streams.changes();
    while o2.streams.standing().committed.is_none() {
        changes.changed().await.unwrap();
    }
    let again = o2.streams.publish(publish()).await.unwrap();
    assert_eq!(again.next_number(), 0);
    talks.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_silent_follower_is_let_go() {
    let o1 = Origin::new("o1");
    o1.grant("o1", "o1", 3);
    let hello = Origin::new("o2").streams.with(|replica, _| replica.hello());
    let begin = Instant::now();
    let mut down = follow::serve(&o1.streams, &Arc::default(), hello, stream::pending().boxed());
    while let Some(Ok(said)) = down.next().await {
        assert!(matches!(said, FollowDown::Lead { .. } | FollowDown::Beat { active: true, .. }), "{said:?}");
    }
    assert!(begin.elapsed() >= Duration::from_millis(400) && begin.elapsed() < Duration::from_millis(600));
}

#[tokio::test(start_paused = true)]
async fn a_follower_that_leaves_is_let_go_at_once() {
    let o1 = Origin::new("o1");
    let hello = Origin::new("o2").streams.with(|replica, _| replica.hello());
    let begin = Instant::now();
    let mut down = follow::serve(&o1.streams, &Arc::default(), hello, stream::empty().boxed());
    while let Some(Ok(_)) = down.next().await {}
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_silent_origin_is_not_heard_any_more_and_the_control_plane_is_told_at_once() {
    let o2 = Origin::new("o2");
    let (up, _said) = mpsc::channel(8);
    let down: Flow<FollowDown> = stream::pending().boxed();
    let talk = Talk::begin(member("o1").node, o2.streams.clone(), o2.urgent.clone(), up, down);
    assert!(o2.was_urgent().await, "it is heard");
    assert_eq!(o2.hears(), [member("o1").node]);
    let begin = Instant::now();
    assert!(matches!(talk.go_on().await.0, Broken::Silent(_)));
    assert_eq!(begin.elapsed(), Duration::from_millis(400));
    assert!(o2.was_urgent().await && o2.hears().is_empty());
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_takes_nothing_is_left() {
    let o2 = Origin::new("o2");
    let (up, _said) = mpsc::channel(1);
    // It beats, and reads nothing.
    let beat = FollowDown::Beat { epoch: Epoch(0), active: false, committed: 0 };
    let beats = tokio_stream::wrappers::IntervalStream::new(tokio::time::interval(Duration::from_millis(100)));
    let down = beats.map(move |_| Ok(beat.clone())).boxed();
    let talk = Talk::begin(member("o1").node, o2.streams.clone(), o2.urgent.clone(), up, down);
    assert!(matches!(talk.go_on().await.0, Broken::NoAnswer));
}

/// An origin `o2` with all it needs to follow `o1`, which is active in epoch 3 and served by the last.
async fn pair() -> (Origin, Peers, String, impl Sized) {
    let (o1, o2) = (Origin::new("o1"), Origin::new("o2"));
    o1.grant("o1", "o1", 3);
    o2.grant("o2", "o1", 3);
    let relay = crate::relay::tests::relay(o1.streams.clone());
    let (address, token, server) = crate::relay::tests::served(relay).await;
    let peers =
        Peers { me: member("o2").node, streams: o2.streams.clone(), token: Some(token), urgent: o2.urgent.clone() };
    (o2, peers, address, server)
}

#[tokio::test]
async fn each_other_member_that_the_control_plane_names_is_followed_where_it_says() {
    let (o2, peers, address, server) = pair().await;
    let pool = watch::Sender::new(Some(view((3, 1), &[("o1", &address), ("o2", NOWHERE)])));
    let stop = CancellationToken::new();
    let running = tokio::spawn(peers.run(pool.subscribe(), stop.clone()));
    until(&o2, |o2| o2.streams.standing().follows.is_some()).await;
    assert_eq!(o2.hears(), [member("o1").node]);
    pool.send_replace(Some(view((3, 2), &[("o2", NOWHERE)])));
    until(&o2, |o2| o2.hears().is_empty()).await;
    pool.send_replace(Some(view((3, 3), &[("o1", &address)])));
    until(&o2, |o2| o2.streams.standing().follows.is_some()).await;
    drop(server);
    until(&o2, |o2| o2.hears().is_empty()).await;
    stop.cancel();
    running.await.unwrap();
}

#[tokio::test]
async fn a_follow_that_stands_outlives_a_control_plane_that_has_lost_its_store() {
    let (o2, peers, address, server) = pair().await;
    let mut follows = Follows::default();
    peers.keep_following(&mut follows, Some(&view((3, 7), &[("o1", &address), ("o2", NOWHERE)])));
    until(&o2, |o2| o2.streams.standing().follows.is_some()).await;
    let o1 = member("o1").node;
    let first = Arc::downgrade(&follows.kept[&o1].line);
    let of_lost_stores = [
        None,
        Some(view((0, 0), &[])),
        // We have said by which version we go; the active has not come yet.
        Some(view((0, 8), &[("o2", NOWHERE)])),
        // Copies of before the member had joined, or had moved.
        Some(view((2, 8), &[("o2", NOWHERE)])),
        Some(view((2, 9), &[("o1", NOWHERE), ("o2", NOWHERE)])),
        Some(view((3, 6), &[("o2", NOWHERE)])),
        Some(view((3, 9), &[("o1", &address), ("o2", NOWHERE)])),
    ];
    for view in &of_lost_stores {
        peers.keep_following(&mut follows, view.as_ref());
        assert!(first.strong_count() > 0 && follows.kept[&o1].line.stands(), "{view:?}");
    }
    // Once it is broken, it is not tried again where nobody is said to be.
    peers.keep_following(&mut follows, of_lost_stores[1].as_ref());
    drop(server);
    follows.broken.notified().await;
    assert!(follows.kept.contains_key(&o1));
    peers.keep_following(&mut follows, of_lost_stores[1].as_ref());
    assert!(follows.kept.is_empty());
}

#[tokio::test]
async fn a_follow_whose_task_is_over_is_opened_anew_without_a_word_from_the_control_plane() {
    let (o2, peers, address, _server) = pair().await;
    let named = view((3, 7), &[("o1", &address)]);
    let pool = watch::Sender::new(Some(named.clone()));
    let mut follows = Follows::default();
    peers.keep_following(&mut follows, Some(&named));
    let first = follows.kept[&member("o1").node]._task.abort_handle();
    let mut following = std::pin::pin!(peers.follow_all(follows, pool.subscribe()));
    assert!(timeout(Duration::ZERO, &mut following).await.is_err());
    until(&o2, |o2| o2.streams.standing().follows.is_some()).await;
    // As a panic would end it.
    first.abort();
    until(&o2, |o2| o2.hears().is_empty()).await;
    tokio::select! {
        () = &mut following => unreachable!("it follows for ever"),
        () = until(&o2, |o2| o2.streams.standing().follows.is_some()) => {}
    }
}

#[tokio::test]
async fn a_follow_ends_when_a_newer_record_has_the_member_elsewhere_or_not_at_all() {
    let (o2, peers, address, _server) = pair().await;
    let named = view((3, 7), &[("o1", &address)]);
    let newer = [(3, 8), (4, 1)].into_iter().flat_map(|at| [view(at, &[]), view(at, &[("o1", NOWHERE)])]);
    for newer in newer {
        let mut follows = Follows::default();
        peers.keep_following(&mut follows, Some(&named));
        until(&o2, |o2| o2.streams.standing().follows.is_some()).await;
        peers.keep_following(&mut follows, Some(&newer));
        until(&o2, |o2| o2.hears().is_empty()).await;
        assert_eq!(follows.kept.len(), newer.members.len(), "it is looked for where it is now");
    }
}

/// Where nobody listens.
const NOWHERE: &str = "127.0.0.1:9";

/// What a record of this epoch and version says.
fn view((epoch, version): (u64, u64), members: &[(&str, &str)]) -> PoolView {
    let member = |(name, address): &(&str, &str)| PoolViewMember {
        member: member(name),
        role: Role::Standby,
        in_sync: true,
        public: address.parse().unwrap(),
        peer: address.parse().unwrap(),
    };
    PoolView {
        id: PoolId::main(),
        version,
        written_by: String::new(),
        epoch: Epoch(epoch),
        loss_epoch: Epoch(0),
        active: None,
        members: members.iter().map(member).collect(),
    }
}

async fn until(origin: &Origin, holds: impl Fn(&Origin) -> bool) {
    let mut changes = origin.streams.wake();
    let holding = async {
        while !holds(origin) {
            changes.changed().await.unwrap();
        }
    };
    timeout(Duration::from_secs(20), holding).await.expect("it holds in time");
}
