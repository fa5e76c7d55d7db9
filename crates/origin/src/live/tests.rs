use std::time::Duration;

use bytes::Bytes;
use hub::{Budget, Read, RingLimits, Start};
use media::{DEFAULT_VHOST, Medium};

use super::*;

const A: PublicationId = PublicationId::from_bits(0xa);
const B: PublicationId = PublicationId::from_bits(0xb);

fn streams() -> Arc<Streams> {
    Arc::new(Streams::new(Hub::new(RingLimits::default()), splice::Config::default()))
}

fn name() -> StreamName {
    StreamName::from_app(DEFAULT_VHOST, "live", "a").unwrap()
}

fn now() -> Instant {
    TokioInstant::now().into_std()
}

fn publish(streams: &Arc<Streams>, publication: PublicationId) -> Result<Feed, Taken> {
    streams.publish(&name(), publication, Source { edge: None, peer: "test".into() }, now())
}

fn key(timestamp: u32) -> MediaMessage {
    let payload = Bytes::from_static(&[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65]);
    MediaMessage { medium: Medium::Video, timestamp, payload }
}

#[tokio::test(start_paused = true)]
async fn viewers_stay_through_the_grace_and_are_told_when_it_is_over() {
    let streams = streams();
    let stop = CancellationToken::new();
    let task = tokio::spawn({
        let (streams, stop) = (streams.clone(), stop.clone());
        async move { streams.run(stop).await }
    });
    let feed = publish(&streams, A).unwrap();
    feed.handle_message(0, key(0), now()).unwrap();
    let mut reader = streams.hub().get(&name()).unwrap().subscribe(Start::Live);
    let mut items = Vec::new();
    let all = Budget { items: 100, bytes: 1 << 20 };
    assert_eq!(reader.read(all, &mut items), Read::Items);
    let begin = TokioInstant::now();
    drop(feed);
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
    let old = publish(&streams, A).unwrap();
    old.handle_message(0, key(0), now()).unwrap();
    let new = publish(&streams, A).unwrap();
    assert_eq!(new.next_number(), 1);
    drop(old);
    assert!(streams.list()[0].connected);
    new.handle_message(0, key(0), now()).unwrap();
    new.handle_message(1, key(40), now()).unwrap();
    assert_eq!(streams.list()[0].info.items_total, 3, "open and two frames");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_comes_and_goes_beside_the_feeding_one_starts_no_grace() {
    let streams = streams();
    let feeding = publish(&streams, A).unwrap();
    let stale = publish(&streams, A).unwrap();
    assert_eq!(feeding.handle_message(0, key(0), now()), Err(NotTaken::Superseded), "it is to connect again");
    let again = publish(&streams, A).unwrap();
    drop(feeding);
    drop(stale);
    again.handle_message(0, key(0), now()).unwrap();
    assert!(streams.list()[0].connected);
}

#[tokio::test(start_paused = true)]
async fn a_publication_that_ended_or_was_replaced_never_comes_back() {
    let streams = streams();
    publish(&streams, A).unwrap().close();
    assert!(matches!(publish(&streams, A), Err(Taken::Gone)), "ended");
    drop(publish(&streams, B).unwrap());
    drop(publish(&streams, PublicationId::from_bits(0xc)).unwrap());
    assert!(matches!(publish(&streams, B), Err(Taken::Gone)), "replaced while it was away");
}

#[tokio::test(start_paused = true)]
async fn withdrawn_streams_are_not_closed_for_their_readers() {
    let streams = streams();
    let feed = publish(&streams, A).unwrap();
    feed.handle_message(0, key(0), now()).unwrap();
    let mut reader = streams.hub().get(&name()).unwrap().subscribe(Start::Live);
    streams.withdraw_all();
    let mut items = Vec::new();
    let all = Budget { items: 100, bytes: 1 << 20 };
    assert_eq!(reader.read(all, &mut items), Read::Items);
    assert!(items.iter().all(|item| item.frame().is_some()), "{items:?}");
    assert_eq!(reader.read(all, &mut items), Read::Ended);
    assert!(publish(&streams, A).is_ok(), "its encoder is welcome again");
}

#[tokio::test(start_paused = true)]
async fn a_closed_stream_can_be_published_again_at_higher_positions() {
    let streams = streams();
    let feed = publish(&streams, A).unwrap();
    feed.handle_message(0, key(0), now()).unwrap();
    let next = streams.list()[0].info.next_seq;
    assert!(matches!(publish(&streams, B), Err(Taken::Busy)));
    feed.close();
    assert!(streams.list().is_empty());
    let again = publish(&streams, B).unwrap();
    assert_eq!(streams.list()[0].info.first_seq, next + 1, "after the close event");
    assert!(streams.kick(&name()));
    assert_eq!(again.handle_message(0, key(0), now()), Err(NotTaken::Gone(splice::Gone)));
    assert!(!streams.kick(&name()));
}
