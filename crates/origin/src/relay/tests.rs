use std::time::Duration;

use bytes::Bytes;
use cluster::{Epoch, Incarnation, Member, PublishPolicy};
use futures_util::{StreamExt, stream};
use hub::{Hub, RingLimits};
use media::{DEFAULT_VHOST, MediaMessage, Medium, PublicationId, StreamName};
use rpc::relay::{Body, Event, PublishKey, PullFrom, Relay as _};
use tokio::{
    sync::{Notify, mpsc},
    time::timeout,
};
use tokio_stream::wrappers::ReceiverStream;

use super::*;
use crate::streams::tests::grant;

const A: PublicationId = PublicationId::from_bits(0xa);
const B: PublicationId = PublicationId::from_bits(0xb);
/// Where a stream's first event stands in epoch 5.
const FIRST: u64 = 5 << 40;

/// An origin that serves in epoch 5, and what it serves by.
fn origin(policy: PublishPolicy) -> (Relay, watch::Sender<Term>) {
    let term = watch::Sender::new(Term { epoch: Epoch(5), serving: true, active_at: None, yielding: false });
    let me = Member { node: node("origin-1"), incarnation: Incarnation::from_bits(1) };
    let hub = Hub::new(RingLimits::default());
    let streams = Arc::new(Streams::new(me.clone(), hub, replica::Config::default(), Arc::new(Notify::new())));
    streams.with(|replica, now| replica.handle_grant(grant(me, 5), now)).unwrap();
    let relay = Relay {
        node: node("origin-1"),
        streams,
        term: term.subscribe(),
        admission: Arc::new(Admission::new(watch::channel(policy).1)),
        stats: Arc::default(),
    };
    (relay, term)
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
    PullRequest { stream: name(), from, epoch: Epoch(0), path: vec![node("edge-1")], via: false }
}

fn key(number: u64) -> (u64, MediaMessage) {
    let payload = Bytes::from_static(&[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65]);
    (number, MediaMessage { medium: Medium::Video, timestamp: 40 * number as u32, payload })
}

/// A push whose messages the test sends, and its answers.
async fn push(relay: &Relay, hello: PushHello) -> (mpsc::Sender<PushUp>, Stream<PushDown>) {
    let (up, queue) = mpsc::channel(10);
    let down = relay.push(hello, ReceiverStream::new(queue).map(Ok).boxed()).await.unwrap();
    (up, down)
}

/// The next answer that is not a sign of life.
async fn next<T: Clone>(down: &mut Stream<T>, beat: impl Fn(&T) -> bool) -> Option<Result<T, RelayError>> {
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

async fn next_push(down: &mut Stream<PushDown>) -> Option<Result<PushDown, RelayError>> {
    next(down, |down| matches!(down, PushDown::Beat { .. })).await
}

async fn next_pull(down: &mut Stream<PullDown>) -> Option<Result<PullDown, RelayError>> {
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
    let (relay, _term) = origin(PublishPolicy::Open);
    let (up, mut answers) = push(&relay, hello(A)).await;
    assert_eq!(next_push(&mut answers).await, Some(Ok(PushDown::Opened { epoch: Epoch(5), next_number: 0 })));
    up.send(PushUp::Messages(vec![key(0), key(1)])).await.unwrap();
    assert_eq!(next_push(&mut answers).await, Some(Ok(PushDown::Ack { through: 1, epoch: Epoch(5) })));
    let mut items = relay.pull(pull(PullFrom::Live)).await.unwrap();
    assert_eq!(
        next_pull(&mut items).await,
        Some(Ok(PullDown::Opened { epoch: Epoch(5), head: FIRST + 2, rejoined: false }))
    );
    assert_eq!(positions(next_pull(&mut items).await), [FIRST + 2]);
    up.send(PushUp::Messages(vec![key(1), key(2)])).await.unwrap();
    assert_eq!(next_push(&mut answers).await, Some(Ok(PushDown::Ack { through: 2, epoch: Epoch(5) })));
    assert_eq!(positions(next_pull(&mut items).await), [FIRST + 3], "what was heard before is not repeated");
}

#[tokio::test(start_paused = true)]
async fn a_pull_may_wait_for_its_stream_and_ends_with_it() {
    let (relay, _term) = origin(PublishPolicy::Open);
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
async fn nobody_waits_for_ever() {
    let (relay, _term) = origin(PublishPolicy::Open);
    let mut items = relay.pull(pull(PullFrom::Live)).await.unwrap();
    assert_eq!(next_pull(&mut items).await, Some(Err(RelayError::NoStream)));
}

#[tokio::test(start_paused = true)]
async fn a_lost_edge_leaves_the_stream_in_its_grace_and_resumes() {
    let (relay, _term) = origin(PublishPolicy::Open);
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
async fn a_second_encoder_is_refused_and_one_that_was_replaced_is_told() {
    let (relay, _term) = origin(PublishPolicy::Open);
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
    let (relay, term) = origin(PublishPolicy::Open);
    let mut items = relay.pull(pull(PullFrom::Live)).await.unwrap();
    let newer = relay.pull(PullRequest { epoch: Epoch(6), ..pull(PullFrom::Live) }).await.err();
    assert_eq!(
        newer,
        Some(RelayError::NotActive { active: None, epoch: Epoch(5) }),
        "the asker has heard of a later epoch"
    );
    assert_eq!(relay.stats.stale_epoch_rejected.load(Ordering::Relaxed), 1);
    term.send_replace(Term { epoch: Epoch(6), serving: false, active_at: Some("o2:9000".into()), yielding: false });
    let not_active = RelayError::NotActive { active: Some("o2:9000".into()), epoch: Epoch(6) };
    assert_eq!(next_pull(&mut items).await, Some(Err(not_active.clone())));
    assert_eq!(relay.push(hello(A), stream::empty().boxed()).await.err(), Some(not_active));
}

#[tokio::test(start_paused = true)]
async fn keys_and_circles_are_checked_before_anything_else() {
    let keys = format!("live/a {}", cluster::hashed_publish_key("secret"));
    let (relay, _term) = origin(PublishPolicy::from_keys(&keys).unwrap());
    let refused = relay.push(hello(A), stream::empty().boxed()).await.err();
    assert_eq!(refused, Some(RelayError::Refused(PublishRefusal::Denied)));
    let with_key = PushHello { key: Some(PublishKey("secret".into())), ..hello(A) };
    assert!(relay.push(with_key, stream::empty().boxed()).await.is_ok());
    let circle = PullRequest { path: vec![node("origin-1")], ..pull(PullFrom::Live) };
    assert_eq!(relay.pull(circle).await.err(), Some(RelayError::Loop));
}

#[tokio::test(start_paused = true)]
async fn a_later_grant_to_the_same_origin_ends_nothing() {
    let (relay, term) = origin(PublishPolicy::Open);
    let (up, mut answers) = push(&relay, hello(A)).await;
    next_push(&mut answers).await;
    term.send_replace(Term { epoch: Epoch(6), serving: true, active_at: None, yielding: false });
    up.send(PushUp::Messages(vec![key(0)])).await.unwrap();
    assert_eq!(next_push(&mut answers).await, Some(Ok(PushDown::Ack { through: 0, epoch: Epoch(6) })));
}

#[tokio::test(start_paused = true)]
async fn a_deposed_origin_does_not_tell_edges_that_its_streams_ended() {
    let (relay, term) = origin(PublishPolicy::Open);
    let (up, mut answers) = push(&relay, hello(A)).await;
    next_push(&mut answers).await;
    up.send(PushUp::Messages(vec![key(0)])).await.unwrap();
    next_push(&mut answers).await;
    let mut items = relay.pull(pull(PullFrom::Live)).await.unwrap();
    assert!(matches!(next_pull(&mut items).await, Some(Ok(PullDown::Opened { .. }))));
    term.send_replace(Term { epoch: Epoch(6), serving: false, active_at: None, yielding: false });
    relay.streams.with(|replica, now| replica.handle_epoch(Epoch(6), now));
    let told = Some(Err(RelayError::NotActive { active: None, epoch: Epoch(6) }));
    assert_eq!(next_pull(&mut items).await, told);
}
