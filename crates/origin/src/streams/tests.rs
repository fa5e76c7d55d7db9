use std::time::Duration;

use bytes::Bytes;
use cluster::{Epoch, Grant, Incarnation, NodeId, PoolId, Role};
use hub::{Body, Event};
use hub::{Budget, Read, RingLimits, Start};
use media::{DEFAULT_VHOST, MediaMessage, Medium, PublicationId};
use replica::{FollowHello, FollowUp, NotTaken, Source};

use super::*;

const A: PublicationId = PublicationId::from_bits(0xa);
pub(crate) const B: PublicationId = PublicationId::from_bits(0xb);

/// The streams of an origin that is active, alone in its pool.
pub(crate) fn streams() -> Arc<Streams> {
    let me = Member { node: NodeId::new("o1").unwrap(), incarnation: Incarnation::from_bits(1) };
    let hub = Hub::new(RingLimits::default());
    let streams = Streams::new(me.clone(), hub, replica::Config::default(), Arc::new(Notify::new()));
    streams.with(|replica, now| replica.handle_grant(grant(me, 1), now)).unwrap();
    Arc::new(streams)
}

/// The streams of an origin that is active, and the other member that is in sync.
pub(crate) fn active_of_two() -> (Arc<Streams>, Member) {
    let member = |node: &str| Member { node: NodeId::new(node).unwrap(), incarnation: Incarnation::from_bits(1) };
    let (me, other) = (member("o1"), member("o2"));
    let hub = Hub::new(RingLimits::default());
    let streams = Streams::new(me.clone(), hub, replica::Config::default(), Arc::new(Notify::new()));
    let grant = Grant { in_sync: [me.clone(), other.clone()].into(), ..grant(me, 1) };
    streams.with(|replica, now| replica.handle_grant(grant, now)).unwrap();
    (Arc::new(streams), other)
}

/// The other member opens its Follow and has everything, up to this order.
pub(crate) fn follow(streams: &Streams, other: &Member) -> u64 {
    streams.with(|replica, _| {
        let hello = FollowHello { member: other.clone(), epoch: Epoch(1) };
        let follower = replica.follower_opened(hello);
        replica.poll_down(follower);
        replica.handle_up(follower, FollowUp::State { epoch: Epoch(1), logs: vec![] }).unwrap();
        follower
    })
}

pub(crate) fn ack(streams: &Streams, follower: u64) {
    let order = streams.standing().head.1;
    streams.with(|replica, _| replica.handle_up(follower, FollowUp::Ack { epoch: Epoch(1), order })).unwrap();
}

/// What the record says to an active that is alone in sync.
pub(crate) fn grant(me: Member, epoch: u64) -> Grant {
    Grant {
        pool: PoolId::main(),
        member: me.clone(),
        role: Role::Active,
        epoch: Epoch(epoch),
        version: epoch,
        written_by: String::new(),
        loss_epoch: Epoch(0),
        active: Some(me.clone()),
        in_sync: [me].into(),
        fenced: Default::default(),
        yields: false,
        store: String::new(),
    }
}

fn name() -> StreamName {
    StreamName::from_app(DEFAULT_VHOST, "live", "a").unwrap()
}

pub(crate) async fn publish(streams: &Arc<Streams>, publication: PublicationId) -> Result<Hold, Refused> {
    let source = Source { edge: None, peer: "test".into() };
    streams.publish(Publish { name: name(), publication, source, first_number: 0 }).await
}

pub(crate) fn key(timestamp: u32) -> MediaMessage {
    let payload = Bytes::from_static(&[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65]);
    MediaMessage { medium: Medium::Video, timestamp, payload }
}

#[tokio::test(start_paused = true)]
async fn viewers_stay_through_the_grace_and_are_told_when_it_is_over() {
    let streams = streams();
    let stop = CancellationToken::new();
    let task = tokio::spawn({
        let (streams, stop) = (streams.clone(), stop.clone());
        async move { streams.run(Surroundings::default, stop).await }
    });
    let hold = publish(&streams, A).await.unwrap();
    hold.handle_message(0, key(0)).unwrap();
    let mut reader = streams.hub().get(&name()).unwrap().subscribe(Start::LastKeyframe);
    let mut items = Vec::new();
    let all = Budget { items: 100, bytes: 1 << 20 };
    assert_eq!(reader.read(all, &mut items), Read::Items);
    let begin = TokioInstant::now();
    drop(hold);
    assert_eq!(reader.read(all, &mut items), Read::Empty);
    reader.ready().await;
    assert!(begin.elapsed() >= Duration::from_secs(15) && begin.elapsed() < Duration::from_secs(16));
    items.clear();
    assert_eq!(reader.read(all, &mut items), Read::Items);
    assert_eq!(items[0].body, Body::Event(Event::Close { publication: A }));
    assert!(streams.list().is_empty() && streams.hub().get(&name()).is_none());
    stop.cancel();
    task.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_resumed_publication_does_not_suffer_from_its_old_connection() {
    let streams = streams();
    let old = publish(&streams, A).await.unwrap();
    old.handle_message(0, key(0)).unwrap();
    let new = publish(&streams, A).await.unwrap();
    assert_eq!(new.next_number(), 1);
    drop(old);
    assert!(streams.list()[0].stream.connected);
    new.handle_message(0, key(0)).unwrap();
    new.handle_message(1, key(40)).unwrap();
    assert_eq!(streams.list()[0].stream.info.items_total, 3, "open and two frames");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_comes_and_goes_beside_the_feeding_one_starts_no_grace() {
    let streams = streams();
    let feeding = publish(&streams, A).await.unwrap();
    let stale = publish(&streams, A).await.unwrap();
    assert_eq!(feeding.handle_message(0, key(0)), Err(NotTaken::Superseded), "it is to connect again");
    let again = publish(&streams, A).await.unwrap();
    drop(feeding);
    drop(stale);
    again.handle_message(0, key(0)).unwrap();
    assert!(streams.list()[0].stream.connected);
}

#[tokio::test(start_paused = true)]
async fn a_publication_that_ended_or_was_replaced_never_comes_back() {
    let streams = streams();
    publish(&streams, A).await.unwrap().handle_close(0).unwrap();
    assert!(matches!(publish(&streams, A).await, Err(Refused::Gone)), "ended");
    drop(publish(&streams, B).await.unwrap());
    drop(publish(&streams, PublicationId::from_bits(0xc)).await.unwrap());
    assert!(matches!(publish(&streams, B).await, Err(Refused::Gone)), "replaced while it was away");
}

#[tokio::test(start_paused = true)]
async fn a_publication_that_overtakes_the_end_of_the_one_before_is_not_refused() {
    let streams = streams();
    let hold = publish(&streams, A).await.unwrap();
    let next = tokio::spawn({
        let streams = streams.clone();
        async move { publish(&streams, B).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    hold.handle_close(0).unwrap();
    next.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_second_encoder_beside_one_that_goes_on_is_refused_in_time_for_its_edge() {
    let streams = streams();
    let _feed = publish(&streams, A).await.unwrap();
    let begin = TokioInstant::now();
    assert!(matches!(publish(&streams, B).await, Err(Refused::Busy)));
    assert!(begin.elapsed() < Duration::from_millis(500), "{:?}", begin.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_closed_stream_can_be_published_again_at_higher_positions() {
    let streams = streams();
    let hold = publish(&streams, A).await.unwrap();
    hold.handle_message(0, key(0)).unwrap();
    let next = streams.list()[0].stream.info.next_seq;
    assert!(matches!(publish(&streams, B).await, Err(Refused::Busy)));
    hold.handle_close(1).unwrap();
    assert!(streams.list().is_empty());
    let again = publish(&streams, B).await.unwrap();
    assert_eq!(streams.list()[0].stream.info.first_seq, next + 1, "after the close event");
    assert!(streams.kick(&name()));
    assert_eq!(again.handle_message(0, key(0)), Err(NotTaken::Gone));
    assert!(!streams.kick(&name()));
}
