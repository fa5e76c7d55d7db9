use std::{sync::atomic::AtomicUsize, time::Duration};

use bytes::Bytes;
use cluster::{Epoch, Grant, Incarnation, Member, NodeKind, PublishPolicy, Role};
use futures_util::{FutureExt, StreamExt, future::join_all, stream};
use hub::{Hub, RingLimits};
use media::{DEFAULT_VHOST, MediaMessage, Medium, PublicationId, StreamName};
use rpc::{
    auth::{Auth, Caller, Tokens},
    relay::{Body, Event, PublishKey, PullFrom, Relay as _},
    server::{Health, Server},
};
use telemetry::metrics::Registry;
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc},
    task::JoinSet,
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::task::AbortOnDropHandle;

use super::*;
use crate::{
    links::Counts,
    role::Stage,
    streams::tests::{ack, active_of_two, follow, grant},
};

const A: PublicationId = PublicationId::from_bits(0xa);
const B: PublicationId = PublicationId::from_bits(0xb);
/// Where a stream's first event stands in epoch 5.
const FIRST: u64 = 5 << 40;

/// An origin that serves in epoch 5, and what it serves by.
fn origin(policy: PublishPolicy) -> (Relay, watch::Sender<Duty>) {
    let duty = watch::Sender::new(Duty { stage: Stage::Active, epoch: Epoch(5), active_at: None });
    let me = Member { node: node("origin-1"), incarnation: Incarnation::from_bits(1) };
    let hub = Hub::new(RingLimits::default());
    let streams = Arc::new(Streams::new(me.clone(), hub, replica::Config::default(), Arc::new(Notify::new())));
    streams.with(|replica, now| replica.handle_grant(grant(me, 5), now)).unwrap();
    let admission = Arc::new(Admission::new(watch::channel(policy).1));
    (Relay { duty: duty.subscribe(), admission, ..relay(streams) }, duty)
}

/// An origin that stands by, with these streams, where anybody may publish.
pub(crate) fn relay(streams: Arc<Streams>) -> Relay {
    Relay {
        node: node("origin-1"),
        streams,
        duty: watch::channel(Duty::default()).1,
        epoch_believed_max: Epoch::MAX,
        admission: Arc::new(Admission::new(watch::channel(PublishPolicy::Open).1)),
        links: Arc::default(),
        token: None,
        detours: Arc::default(),
        stats: Arc::default(),
        commit_latency: crate::metrics::commit_latency(&Registry::new()),
    }
}

fn node(id: &str) -> NodeId {
    NodeId::new(id).unwrap()
}

fn name() -> StreamName {
    StreamName::from_app(DEFAULT_VHOST, "live", "a").unwrap()
}

fn hello(publication: PublicationId) -> PushHello {
    PushHello {
        stream: name(),
        publication,
        epoch: Epoch(0),
        edge: node("edge-1"),
        key: None,
        first_number: 0,
        peer: String::new(),
        via: false,
        path: vec![node("edge-1")],
    }
}

fn pull(from: PullFrom) -> PullRequest {
    PullRequest { stream: name(), from, had_in: Epoch(0), epoch: Epoch(0), path: vec![node("edge-1")], via: false }
}

fn key(number: u64) -> (u64, MediaMessage) {
    let payload = Bytes::from_static(&[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65]);
    (number, MediaMessage { medium: Medium::Video, timestamp: 40 * number as u32, payload })
}

/// A push whose messages the test sends, and its answers.
async fn push(relay: &Relay, hello: PushHello) -> (mpsc::Sender<PushUp>, Flow<PushDown>) {
    let (up, queue) = mpsc::channel(10);
    let down = relay.push(hello, ReceiverStream::new(queue).map(Ok).boxed()).await.unwrap();
    (up, down)
}

/// The next answer that is not a sign of life.
async fn next<T: Clone>(down: &mut Flow<T>, beat: impl Fn(&T) -> bool) -> Option<Result<T, RelayError>> {
    let next = async {
        loop {
            match down.next().await {
                Some(Ok(item)) if beat(&item) => {}
                other => return other,
            }
        }
    };
    timeout(Duration::from_secs(60), next).await.expect("an answer in time")
}

async fn next_push(down: &mut Flow<PushDown>) -> Option<Result<PushDown, RelayError>> {
    next(down, |down| matches!(down, PushDown::Beat { .. })).await
}

async fn next_pull(down: &mut Flow<PullDown>) -> Option<Result<PullDown, RelayError>> {
    next(down, |down| matches!(down, PullDown::Heartbeat { .. })).await
}

fn positions(down: Option<Result<PullDown, RelayError>>) -> Vec<u64> {
    match down {
        Some(Ok(PullDown::Items { items, .. })) => items.iter().map(|item| item.seq).collect(),
        other => panic!("no items: {other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_pushed_message_is_acked_and_pulled() {
    let (relay, _duty) = origin(PublishPolicy::Open);
    let (up, mut answers) = push(&relay, hello(A)).await;
    assert_eq!(next_push(&mut answers).await, Some(Ok(PushDown::Opened { epoch: Epoch(5), next_number: 0 })));
    up.send(PushUp::Messages(vec![key(0), key(1)])).await.unwrap();
    assert_eq!(next_push(&mut answers).await, Some(Ok(PushDown::Ack { through: 1, epoch: Epoch(5) })));
    let mut items = relay.pull(pull(PullFrom::Live)).await.unwrap();
    assert_eq!(
        next_pull(&mut items).await,
        Some(Ok(PullDown::Opened { epoch: Epoch(5), head: FIRST + 2, rejoined: false, parted_from: None }))
    );
    assert_eq!(positions(next_pull(&mut items).await), [FIRST + 2]);
    up.send(PushUp::Messages(vec![key(1), key(2)])).await.unwrap();
    assert_eq!(next_push(&mut answers).await, Some(Ok(PushDown::Ack { through: 2, epoch: Epoch(5) })));
    assert_eq!(positions(next_pull(&mut items).await), [FIRST + 3], "what was heard before is not repeated");
}

#[tokio::test(start_paused = true)]
async fn a_pull_may_wait_for_its_stream_and_ends_with_it() {
    let (relay, _duty) = origin(PublishPolicy::Open);
    let mut items = relay.pull(pull(PullFrom::Live)).await.unwrap();
    let wait = tokio::spawn(async move {
        let opened = next_pull(&mut items).await;
        (opened, items)
    });
    let (up, mut answers) = push(&relay, hello(A)).await;
    up.send(PushUp::Messages(vec![key(0)])).await.unwrap();
    next_push(&mut answers).await;
    next_push(&mut answers).await;
    let (opened, mut items) = wait.await.unwrap();
    assert!(matches!(opened, Some(Ok(PullDown::Opened { .. }))), "{opened:?}");
    assert_eq!(positions(next_pull(&mut items).await), [FIRST + 1]);
    up.send(PushUp::Close(1)).await.unwrap();
    assert_eq!(next_push(&mut answers).await, Some(Ok(PushDown::Ack { through: 1, epoch: Epoch(5) })));
    let Some(Ok(PullDown::Items { items: last, .. })) = next_pull(&mut items).await else { panic!("no close") };
    assert_eq!(last[0].body, Body::Event(Event::Close { publication: A }));
    assert_eq!(next_pull(&mut items).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_pull_of_a_name_that_nobody_publishes_does_not_ask_the_replica_at_each_change() {
    let (relay, _duty) = origin(PublishPolicy::Open);
    let mut waiting = relay.pull(pull(PullFrom::Live)).await.unwrap();
    assert_eq!(waiting.next().await, Some(Ok(PullDown::Heartbeat { epoch: Epoch(5), head: 0 })));
    let other = StreamName::from_app(DEFAULT_VHOST, "live", "other").unwrap();
    let (_up, mut answers) = push(&relay, PushHello { stream: other, ..hello(A) }).await;
    assert!(matches!(next_push(&mut answers).await, Some(Ok(PushDown::Opened { .. }))));
    tokio::time::advance(Duration::from_millis(100)).await;
    let runtime = tokio::runtime::Handle::current();
    relay.streams.with(|_, _| {
        // On a thread of its own: one that asks waits until we are done here.
        let looking = std::thread::spawn(move || {
            let _in = runtime.enter();
            waiting.next().now_or_never().is_none()
        });
        let begin = std::time::Instant::now();
        while !looking.is_finished() {
            assert!(begin.elapsed() < Duration::from_secs(10), "it waits for the replica");
            std::thread::yield_now();
        }
        assert!(looking.join().unwrap(), "the stream is another");
    });
}

#[tokio::test(start_paused = true)]
async fn a_pull_is_opened_with_all_that_was_committed_anew() {
    let (relay, _duty) = origin(PublishPolicy::Open);
    let (up, mut answers) = push(&relay, hello(A)).await;
    up.send(PushUp::Messages(vec![key(0), key(1)])).await.unwrap();
    next_push(&mut answers).await;
    next_push(&mut answers).await;
    let me = Member { node: node("origin-1"), incarnation: Incarnation::from_bits(1) };
    let other = Member { node: node("origin-2"), incarnation: Incarnation::from_bits(2) };
    let again = Grant { in_sync: [me.clone(), other.clone()].into(), ..grant(me, 6) };
    let follower = relay.streams.with(|replica, now| {
        replica.handle_grant(again, now).unwrap();
        let follower = replica.follower_opened(FollowHello { member: other, epoch: Epoch(6) });
        replica.poll_down(follower);
        replica.handle_up(follower, FollowUp::State { epoch: Epoch(6), logs: vec![] }).unwrap();
        follower
    });
    let mut items = relay.pull(pull(PullFrom::After(FIRST + 2))).await.unwrap();
    let early = timeout(Duration::from_secs(5), items.next());
    assert!(early.await.is_err(), "an edge would take a log that ends early for another, or a heartbeat for absence");
    let ack = FollowUp::Ack { epoch: Epoch(6), order: 0 };
    relay.streams.with(|replica, _| replica.handle_up(follower, ack)).unwrap();
    let opened = next_pull(&mut items).await;
    assert!(matches!(opened, Some(Ok(PullDown::Opened { head, .. })) if head == FIRST + 2), "{opened:?}");
}

#[tokio::test(start_paused = true)]
async fn nobody_waits_for_ever() {
    let (relay, _duty) = origin(PublishPolicy::Open);
    let mut items = relay.pull(pull(PullFrom::Live)).await.unwrap();
    assert_eq!(next_pull(&mut items).await, Some(Err(RelayError::NoStream)));
}

#[tokio::test(start_paused = true)]
async fn a_lost_edge_leaves_the_stream_in_its_grace_and_resumes() {
    let (relay, _duty) = origin(PublishPolicy::Open);
    let (up, mut answers) = push(&relay, hello(A)).await;
    next_push(&mut answers).await;
    up.send(PushUp::Messages(vec![key(0)])).await.unwrap();
    next_push(&mut answers).await;
    drop((up, answers));
    assert!(!relay.streams.list()[0].stream.connected);
    let (_up, mut answers) = push(&relay, hello(A)).await;
    assert_eq!(next_push(&mut answers).await, Some(Ok(PushDown::Opened { epoch: Epoch(5), next_number: 1 })));
}

#[tokio::test(start_paused = true)]
async fn what_a_lost_encoder_sent_last_is_acked_before_its_call_ends() {
    let (streams, other) = active_of_two();
    let follower = follow(&streams, &other);
    let duty = watch::Sender::new(Duty { stage: Stage::Active, epoch: Epoch(1), active_at: None });
    let relay = Relay { duty: duty.subscribe(), ..relay(streams.clone()) };
    let acking = async {
        loop {
            ack(&streams, follower);
            tokio::task::yield_now().await;
        }
    };
    let (up, mut down) = tokio::select! {
        pushed = push(&relay, hello(A)) => pushed,
        () = acking => unreachable!("it goes on for ever"),
    };
    let opened = next_push(&mut down).await;
    assert!(matches!(opened, Some(Ok(PushDown::Opened { .. }))), "{opened:?}");
    up.send(PushUp::Messages(vec![key(0), key(1)])).await.unwrap();
    drop(up);
    let waits = timeout(Duration::from_secs(1), next_push(&mut down)).await;
    assert!(waits.is_err(), "the other member has not got it: {waits:?}");
    ack(&streams, follower);
    assert_eq!(next_push(&mut down).await, Some(Ok(PushDown::Ack { through: 1, epoch: Epoch(1) })));
    assert_eq!(next_push(&mut down).await, None);
}

#[tokio::test(start_paused = true)]
async fn a_second_encoder_is_refused_and_one_that_was_replaced_is_told() {
    let (relay, _duty) = origin(PublishPolicy::Open);
    let (up, mut answers) = push(&relay, hello(A)).await;
    next_push(&mut answers).await;
    let refused = relay.push(hello(B), stream::empty().boxed()).await.err();
    assert_eq!(refused, Some(RelayError::Refused(PublishRefusal::NameTaken)));
    tokio::time::advance(Duration::from_secs(4)).await;
    let _second = push(&relay, hello(B)).await;
    up.send(PushUp::Messages(vec![key(0)])).await.unwrap();
    assert_eq!(next_push(&mut answers).await, Some(Err(RelayError::Gone)));
}

#[tokio::test(start_paused = true)]
async fn only_the_active_origin_serves_and_a_deposed_one_says_so() {
    let (relay, duty) = origin(PublishPolicy::Open);
    let mut items = relay.pull(pull(PullFrom::Live)).await.unwrap();
    let newer = relay.pull(PullRequest { epoch: Epoch(6), ..pull(PullFrom::Live) }).await.err();
    assert_eq!(
        newer,
        Some(RelayError::NotActive { active: None, epoch: Epoch(5) }),
        "the asker has heard of a later epoch"
    );
    assert_eq!(relay.stats.stale_epoch_rejected.load(Ordering::Relaxed), 1);
    duty.send_replace(Duty { epoch: Epoch(6), active_at: Some("o2:9000".into()), ..Duty::default() });
    let not_active = RelayError::NotActive { active: Some("o2:9000".into()), epoch: Epoch(6) };
    assert_eq!(next_pull(&mut items).await, Some(Err(not_active.clone())));
    assert_eq!(relay.push(hello(A), stream::empty().boxed()).await.err(), Some(not_active));
}

#[tokio::test(start_paused = true)]
async fn keys_and_circles_are_checked_before_anything_else() {
    let keys = format!("live/a {}", cluster::hashed_publish_key("secret"));
    let (relay, _duty) = origin(PublishPolicy::from_keys(&keys).unwrap());
    let refused = relay.push(hello(A), stream::empty().boxed()).await.err();
    assert_eq!(refused, Some(RelayError::Refused(PublishRefusal::Denied)));
    let with_key = PushHello { key: Some(PublishKey("secret".into())), ..hello(A) };
    assert!(relay.push(with_key, stream::empty().boxed()).await.is_ok());
    let circle = PullRequest { path: vec![node("origin-1")], ..pull(PullFrom::Live) };
    assert_eq!(relay.pull(circle).await.err(), Some(RelayError::Loop));
}

#[tokio::test(start_paused = true)]
async fn a_later_grant_to_the_same_origin_ends_nothing() {
    let (relay, duty) = origin(PublishPolicy::Open);
    let (up, mut answers) = push(&relay, hello(A)).await;
    next_push(&mut answers).await;
    duty.send_replace(Duty { stage: Stage::Active, epoch: Epoch(6), active_at: None });
    up.send(PushUp::Messages(vec![key(0)])).await.unwrap();
    assert_eq!(next_push(&mut answers).await, Some(Ok(PushDown::Ack { through: 0, epoch: Epoch(6) })));
}

/// A push that has sent a message and lasts as long as it is held, and a pull that has been opened.
async fn play(relay: &Relay) -> (impl Sized, Flow<PullDown>) {
    let (up, mut answers) = push(relay, hello(A)).await;
    next_push(&mut answers).await;
    up.send(PushUp::Messages(vec![key(0)])).await.unwrap();
    next_push(&mut answers).await;
    let mut items = relay.pull(pull(PullFrom::Live)).await.unwrap();
    assert!(matches!(next_pull(&mut items).await, Some(Ok(PullDown::Opened { .. }))));
    ((up, answers), items)
}

#[tokio::test(start_paused = true)]
async fn a_deposed_origin_does_not_tell_edges_that_its_streams_ended() {
    let (relay, duty) = origin(PublishPolicy::Open);
    let (_push, mut items) = play(&relay).await;
    duty.send_replace(Duty { epoch: Epoch(6), ..Duty::default() });
    relay.streams.with(|replica, _| replica.handle_epoch(Epoch(6)));
    let told = Some(Err(RelayError::NotActive { active: None, epoch: Epoch(6) }));
    assert_eq!(next_pull(&mut items).await, told);
}

#[tokio::test(start_paused = true)]
async fn one_that_is_deposed_and_has_not_heard_of_it_does_not_tell_so_either() {
    let (relay, _duty) = origin(PublishPolicy::Open);
    let (_push, mut items) = play(&relay).await;
    assert_eq!(positions(next_pull(&mut items).await), [FIRST + 1]);
    relay.streams.with(|replica, now| {
        let leader = replica.leader_opened(node("origin-2"));
        let settled = FollowDown::Settled { epoch: Epoch(6), keep: vec![], gone: vec![] };
        replica.handle_down(leader, settled, now).unwrap();
    });
    let told = Some(Err(RelayError::NotActive { active: None, epoch: Epoch(6) }));
    assert_eq!(next_pull(&mut items).await, told);
}

/// A link whose beats the test sends, and what it is told.
async fn link(relay: &Relay, epoch: u64) -> (mpsc::Sender<LinkUp>, Flow<LinkDown>) {
    let (up, queue) = mpsc::channel(10);
    let hello = LinkHello { node: node("edge-1"), kind: NodeKind::Edge, epoch: Epoch(epoch) };
    let down = relay.link(hello, ReceiverStream::new(queue).map(Ok).boxed()).await.unwrap();
    (up, down)
}

fn told(epoch: u64, role: Role, active: Option<&str>) -> Option<Result<LinkDown, RelayError>> {
    Some(Ok(LinkDown::Beat { epoch: Epoch(epoch), role, active: active.map(str::to_owned) }))
}

#[tokio::test(start_paused = true)]
async fn a_link_tells_at_once_who_is_active() {
    let (relay, duty) = origin(PublishPolicy::Open);
    let (_up, mut down) = link(&relay, 0).await;
    assert_eq!(down.next().await, told(5, Role::Active, None));
    assert_eq!(down.next().await, told(5, Role::Active, None), "the first beat is due at once");
    let begin = tokio::time::Instant::now();
    duty.send_replace(Duty { epoch: Epoch(6), active_at: Some("o2:9000".into()), ..Duty::default() });
    assert_eq!(down.next().await, told(6, Role::Standby, Some("o2:9000")));
    assert_eq!(begin.elapsed(), Duration::ZERO);
    assert_eq!(down.next().await, told(6, Role::Standby, Some("o2:9000")));
    assert_eq!(begin.elapsed(), Duration::from_millis(100));
}

#[tokio::test(start_paused = true)]
async fn an_edge_counts_while_its_beats_come() {
    let (relay, _duty) = origin(PublishPolicy::Open);
    let (up, mut down) = link(&relay, 5).await;
    up.send(LinkUp::Beat { epoch: Epoch(5), hears: true }).await.unwrap();
    down.next().await;
    down.next().await;
    assert_eq!(relay.links.counts(), Counts { edges: 1, edges_hearing: 1 });
    let why = loop {
        if let Err(why) = down.next().await.expect("it ends with a word") {
            break why;
        }
    };
    assert_eq!(why, RelayError::Unheard, "so that the edge does not take us for silent");
    assert_eq!(relay.links.counts(), Counts { edges: 1, edges_hearing: 0 }, "it was silent");
}

#[tokio::test(start_paused = true)]
async fn an_edge_that_says_that_it_leaves_is_not_counted_as_one_that_does_not_hear() {
    let (relay, _duty) = origin(PublishPolicy::Open);
    let (up, mut down) = link(&relay, 5).await;
    up.send(LinkUp::Beat { epoch: Epoch(5), hears: true }).await.unwrap();
    up.send(LinkUp::Leave { epoch: Epoch(5) }).await.unwrap();
    while let Some(told) = down.next().await {
        told.expect("it ends in order");
    }
    assert_eq!(relay.links.counts(), Counts { edges: 0, edges_hearing: 0 });
}

#[tokio::test(start_paused = true)]
async fn an_origin_that_hears_of_a_later_epoch_is_active_no_more() {
    let (by_hello, _duty) = origin(PublishPolicy::Open);
    let _link = link(&by_hello, 6).await;
    assert!(!by_hello.streams.standing().active);
    let (by_beat, _duty) = origin(PublishPolicy::Open);
    let (up, mut down) = link(&by_beat, 5).await;
    up.send(LinkUp::Beat { epoch: Epoch(6), hears: true }).await.unwrap();
    down.next().await;
    down.next().await;
    assert!(!by_beat.streams.standing().active);
    let (by_push, _duty) = origin(PublishPolicy::Open);
    let (up, mut answers) = push(&by_push, hello(A)).await;
    up.send(PushUp::Beat { epoch: Epoch(6) }).await.unwrap();
    let told = Some(Err(RelayError::NotActive { active: None, epoch: Epoch(5) }));
    assert!(matches!(next_push(&mut answers).await, Some(Ok(PushDown::Opened { .. }))));
    assert_eq!(next_push(&mut answers).await, told);
}

#[tokio::test(start_paused = true)]
async fn an_epoch_that_the_pool_cannot_have_come_to_deposes_nobody() {
    let (relay, _duty) = origin(PublishPolicy::Open);
    let _link = link(&relay, Epoch::MAX.0).await;
    assert!(relay.streams.standing().active);
    assert_eq!(relay.stats.epochs_not_believed.load(std::sync::atomic::Ordering::Relaxed), 1);
    let _link = link(&relay, 5 + Epoch::JUMP_MAX).await;
    assert!(!relay.streams.standing().active);
}

#[tokio::test(start_paused = true)]
async fn callers_use_up_the_epochs_of_an_origin_that_counts_them_itself_no_faster_than_it_starts() {
    let (relay, _duty) = origin(PublishPolicy::Open);
    let relay = Relay { epoch_believed_max: Epoch(7), ..relay };
    let _link = link(&relay, 8).await;
    assert!(relay.streams.standing().active);
    assert_eq!(relay.stats.epochs_not_believed.load(std::sync::atomic::Ordering::Relaxed), 1);
    let _link = link(&relay, 7).await;
    assert!(!relay.streams.standing().active);
}

/// Lets edges and origins call this one over a port of its own.
pub(crate) async fn served(relay: Relay) -> (String, Token, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let token = Token::generate();
    let mut tokens = Tokens::default();
    tokens.add(Caller::Origin, &token);
    let server =
        Server::builder(Arc::new(Auth::new(tokens)), &Health::new().await).relay(Arc::new(relay)).build().await;
    let serving = tokio::spawn(async move { server.serve(listener, std::future::pending()).await });
    (address, token, AbortOnDropHandle::new(serving))
}

#[tokio::test]
async fn one_that_stands_by_passes_calls_on_for_edges_that_cannot_reach_the_active_one() {
    let (active, _duty) = origin(PublishPolicy::Open);
    let (address, token, _server) = served(active.clone()).await;
    let duty = Duty { epoch: Epoch(5), active_at: Some(address.clone()), ..Duty::default() };
    let standby = Relay { node: node("origin-2"), duty: watch::channel(duty).1, token: Some(token), ..active.clone() };
    let refused = standby.push(hello(A), stream::empty().boxed()).await.err();
    assert_eq!(refused, Some(RelayError::NotActive { active: Some(address), epoch: Epoch(5) }), "it was not asked to");
    let (up, mut answers) = push(&standby, PushHello { via: true, ..hello(A) }).await;
    assert!(matches!(next_push(&mut answers).await, Some(Ok(PushDown::Opened { .. }))));
    up.send(PushUp::Messages(vec![key(0)])).await.unwrap();
    assert_eq!(next_push(&mut answers).await, Some(Ok(PushDown::Ack { through: 0, epoch: Epoch(5) })));
    let mut items = standby.pull(PullRequest { via: true, ..pull(PullFrom::Live) }).await.unwrap();
    assert!(matches!(next_pull(&mut items).await, Some(Ok(PullDown::Opened { .. }))));
    assert_eq!(positions(next_pull(&mut items).await), [FIRST + 1]);
    for news in ["push.passed_on", "pull.passed_on"] {
        assert_eq!(standby.detours.news.allow(news), None, "it was told just now");
    }
}

/// Another way to an address, and how many connections came by it.
async fn counted(address: String) -> (String, Arc<AtomicUsize>, AbortOnDropHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let way = listener.local_addr().unwrap().to_string();
    let accepted = Arc::<AtomicUsize>::default();
    let counting = accepted.clone();
    let passing = tokio::spawn(async move {
        let mut connections = JoinSet::new();
        loop {
            let (mut from, _) = listener.accept().await.unwrap();
            counting.fetch_add(1, Ordering::Relaxed);
            let mut to = TcpStream::connect(&address).await.unwrap();
            connections.spawn(async move { copy_bidirectional(&mut from, &mut to).await });
        }
    });
    (way, accepted, AbortOnDropHandle::new(passing))
}

#[tokio::test]
async fn calls_that_are_passed_on_share_a_connection_until_it_is_full_and_the_last_closes_it() {
    let (active, _duty) = origin(PublishPolicy::Open);
    let (address, token, _server) = served(active.clone()).await;
    let (address, accepted, _counting) = counted(address).await;
    let duty = Duty { epoch: Epoch(5), active_at: Some(address), ..Duty::default() };
    let standby = Relay { node: node("origin-2"), duty: watch::channel(duty).1, token: Some(token), ..active };
    let pull = || standby.pull(PullRequest { via: true, ..pull(PullFrom::Live) });
    let calls = join_all((0..200).map(|_| pull())).await;
    assert!(calls.iter().all(Result::is_ok));
    assert_eq!(accepted.load(Ordering::Relaxed), 1);
    let one_more = pull().await.unwrap();
    assert_eq!(accepted.load(Ordering::Relaxed), 2);
    let request = PullRequest { via: true, path: vec![node("edge-2")], ..self::pull(PullFrom::Live) };
    let of_another = standby.pull(request).await.unwrap();
    assert_eq!(accepted.load(Ordering::Relaxed), 3, "askers do not wait for each other");
    drop((calls, one_more, of_another));
    let _again = pull().await.unwrap();
    assert_eq!(accepted.load(Ordering::Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn a_detour_goes_in_no_circle() {
    let (relay, _duty) = origin(PublishPolicy::Open);
    let standby = Relay { duty: watch::channel(Duty::default()).1, ..relay };
    let long = (0..4).map(|n| node(&format!("o{n}"))).collect();
    for path in [vec![node("edge-1"), node("origin-1")], long] {
        let request = PullRequest { via: true, path, ..pull(PullFrom::Live) };
        assert_eq!(standby.pull(request).await.err(), Some(RelayError::Loop));
    }
    let unknown = standby.pull(PullRequest { via: true, ..pull(PullFrom::Live) }).await.err();
    assert_eq!(unknown, Some(RelayError::NotActive { active: None, epoch: Epoch(0) }));
}
