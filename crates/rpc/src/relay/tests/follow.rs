use cluster::{Incarnation, Lineage, Member};
use hub::Item;
use media::{Clock, Provenance};
use proto::relay::v1 as pb;

use super::{super::wire::follow as wire, frame_of, *};

fn member() -> Member {
    Member { node: NodeId::new("origin-2").unwrap(), incarnation: Incarnation::from_bits(7) }
}

fn hello() -> FollowHello {
    FollowHello { member: member(), epoch: Epoch(6) }
}

fn lineage() -> Lineage {
    Lineage::from_parts(vec![(Epoch(1), 1), (EPOCH, 40)], 47).unwrap()
}

fn log(stream: &str) -> LogState {
    let name = name(stream);
    LogState { name, lineage: lineage(), committed_below: 7, first_seq: 5, alone_from: Some(6), ended: false }
}

fn payload(bytes: usize) -> media::Frame {
    frame_of(frame(0, Kind::Delta, vec![1; bytes].into()))
}

/// An item of a publication; its clock runs below the stream's.
fn item(seq: u64, body: Body) -> Arc<Item> {
    let clock = Clock { source_ms: i64::from(u32::MAX) + 7, offset_ms: -3 };
    let publication = PublicationId::from_bits((0xa << 64) | 0xb);
    let provenance = Provenance { publication, number: Some(seq - 40), clock: Some(clock) };
    Arc::new(Item::new(seq, body).with_provenance(Some(provenance)))
}

fn snapshot(from: Option<u64>, setup: Vec<media::Frame>) -> SnapshotHead {
    let source = Source { edge: None, peer: "192.0.2.1:5000".into() };
    SnapshotHead { name: name("foo"), lineage: lineage(), from, committed_below: 46, setup, source }
}

fn entry(stream: &str, item: Arc<Item>) -> Entry {
    Entry { name: name(stream), item, source: None }
}

/// One more than any part of a message can carry in a batch.
const MANY: usize = 5000;

fn downs() -> Vec<FollowDown> {
    let epoch = EPOCH;
    let gone: Vec<_> = (0..MANY as u128).map(PublicationId::from_bits).collect();
    let keep: Vec<_> = (0..MANY as u64).map(|n| (name(&n.to_string()), n)).collect();
    let publication = PublicationId::from_bits(9);
    let opened = Entry {
        source: Some(Source { edge: Some(NodeId::new("edge-1").unwrap()), peer: String::new() }),
        ..entry("bar", item(50, Body::Event(Event::Open { publication })))
    };
    let bare = Arc::new(Item::new(47, Body::Event(Event::Loss { epoch: 7, from: 47, to: None })));
    vec![
        FollowDown::Beat { epoch: Epoch(6), active: false, committed: 0 },
        FollowDown::Beat { epoch, active: true, committed: 12 },
        FollowDown::Lead { epoch },
        FollowDown::Settled { epoch, keep: vec![], gone: vec![] },
        FollowDown::Settled { epoch, keep: keep.clone(), gone: vec![] },
        FollowDown::Settled { epoch, keep: vec![], gone: gone.clone() },
        FollowDown::Settled { epoch, keep, gone },
        FollowDown::SnapshotBegin { epoch, snapshot: snapshot(None, vec![payload(10)]) },
        FollowDown::SnapshotItems { epoch, items: vec![item(45, Body::Frame(payload(8 << 20)))] },
        FollowDown::SnapshotEnd { epoch },
        FollowDown::SnapshotBegin { epoch, snapshot: snapshot(Some(46), vec![]) },
        FollowDown::Entries { epoch, order: 0, committed: 0, entries: vec![] },
        FollowDown::Entries {
            epoch,
            order: 3,
            committed: 1,
            entries: vec![entry("foo", bare), opened, entry("foo", item(48, Body::Frame(payload(10))))],
        },
    ]
}

fn shown(down: &FollowDown) -> String {
    // What it says, without how long its payload is printed.
    let mut text = format!("{down:?}");
    text.truncate(1 << 20);
    text
}

#[tokio::test]
async fn what_a_follower_is_told_arrives_unchanged() {
    let mut made = made().await;
    *made.origin.follow.lock().await = downs();
    let origin = Client::connect(&made.served.target(Caller::Origin)).await.unwrap();
    let told = origin.follow(hello(), stream::pending()).await.unwrap();
    let told: Vec<_> = told.take(downs().len()).map(Result::unwrap).collect().await;
    for (told, said) in told.iter().zip(&downs()) {
        assert!(shown(told) == shown(said), "{:.300} is not {:.300}", shown(told), shown(said));
    }
    assert_eq!(made.followed.recv().await.unwrap(), Followed::Hello(hello()));
}

#[tokio::test]
async fn what_a_follower_says_arrives_unchanged() {
    let mut made = made().await;
    let origin = Client::connect(&made.served.target(Caller::Origin)).await.unwrap();
    let logs: Vec<_> = (0..MANY).map(|n| log(&n.to_string())).collect();
    let ups = [
        FollowUp::Beat { epoch: Epoch(6) },
        FollowUp::State { epoch: EPOCH, logs: vec![] },
        FollowUp::State { epoch: EPOCH, logs },
        FollowUp::Ack { epoch: EPOCH, order: 17 },
    ];
    let up = stream::iter(ups.clone()).chain(stream::pending());
    let _down = origin.follow(hello(), up).await.unwrap();
    assert_eq!(made.followed.recv().await.unwrap(), Followed::Hello(hello()));
    for up in ups {
        assert!(made.followed.recv().await.unwrap() == Followed::Up(Ok(up)));
    }
}

#[tokio::test]
async fn only_origins_follow() {
    let made = made().await;
    for caller in [Caller::Edge, Caller::Operator, Caller::Control] {
        let client = Client::connect(&made.served.target(caller)).await.unwrap();
        let refused = client.follow(hello(), stream::pending()).await.map(drop);
        assert!(matches!(refused, Err(RelayError::NotAdmitted(_))), "{caller}: {refused:?}");
    }
}

#[test]
fn large_messages_are_cut_and_each_part_says_what_it_holds() {
    let frames = |bytes: usize, many: u64| (0..many).map(move |n| item(45 + n, Body::Frame(payload(bytes))));
    let items = FollowDown::SnapshotItems { epoch: EPOCH, items: frames(100 << 10, 5).collect() };
    assert_eq!(wire::down_out(items).len(), 3, "two of 100 KiB fit into 256");
    let entries = frames(200 << 10, 3).map(|item| entry("foo", item)).collect();
    let parts = wire::down_out(FollowDown::Entries { epoch: EPOCH, order: 10, committed: 4, entries });
    let mut downs = wire::Downs::default();
    let orders: Vec<_> = parts
        .into_iter()
        .map(|part| match downs.read(part) {
            Ok(Some(FollowDown::Entries { order, entries, .. })) => (order, entries.len(), entries[0].item.seq),
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(orders, [(8, 1, 45), (9, 1, 46), (10, 1, 47)], "an ack of a part acks no more than the part");
}

#[test]
fn a_stream_is_named_once_in_a_batch() {
    let entries = (0..100).map(|n| entry("foo", item(45 + n, Body::Frame(payload(1))))).collect();
    let parts = wire::down_out(FollowDown::Entries { epoch: EPOCH, order: 100, committed: 0, entries });
    let Some(pb::follow_response::Body::Entries(batch)) = &parts[0].body else { panic!("entries") };
    assert_eq!((parts.len(), batch.entries.len(), batch.streams.len()), (1, 100, 1));
}

fn refused<T: std::fmt::Debug>(read: Result<T, RelayError>) {
    assert!(matches!(read, Err(RelayError::Invalid(_))), "{read:?}");
}

#[test]
fn what_no_follower_would_say_is_refused() {
    use pb::follow_request::Body;
    let request = |epoch, body| pb::FollowRequest { epoch, body: Some(body) };
    let say = |body| wire::Ups::default().read(request(7, body));
    let state = |lineage| {
        let logs = vec![pb::LogState { stream: name("foo").resource(), lineage, ..Default::default() }];
        say(Body::State(pb::FollowState { logs, more: false }))
    };
    let start = |epoch, first_seq| pb::EpochStart { epoch, first_seq };
    refused(say(Body::Hello(pb::FollowHello::default())));
    refused(say(Body::Ack(pb::FollowAck { order: u64::MAX })));
    refused(wire::Ups::default().read(request(Epoch::MAX.0 + 1, Body::Beat(pb::Beat {}))));
    refused(wire::Ups::default().read(pb::FollowRequest { epoch: 7, body: None }));
    refused(state(None));
    for (starts, next_seq) in [
        (vec![start(2, 1), start(1, 5)], 9),
        (vec![start(1, 5), start(2, 5)], 9),
        (vec![start(1, 9)], 9),
        (vec![start(Epoch::MAX.0 + 1, 1)], 9),
        (vec![], u64::MAX),
    ] {
        refused(state(Some(pb::Lineage { starts, next_seq })));
    }
    refused(wire::hello_in(request(7, Body::Beat(pb::Beat {}))));
    let hello = |node: &str, incarnation: &str| {
        Body::Hello(pb::FollowHello { node: node.into(), incarnation: incarnation.into() })
    };
    refused(wire::hello_in(request(7, hello("", "0000000000000001"))));
    refused(wire::hello_in(request(7, hello("origin-2", "1"))));
    refused(wire::hello_in(request(Epoch::MAX.0 + 1, hello("origin-2", "0000000000000001"))));
}

#[test]
fn a_state_without_end_is_refused_before_it_fills_the_memory() {
    let part = |logs: usize, starts: u64| {
        let starts = (1..=starts).map(|n| pb::EpochStart { epoch: n, first_seq: n }).collect();
        let lineage = pb::Lineage { starts, next_seq: u64::MAX - 1 };
        let log = pb::LogState { stream: name("foo").resource(), lineage: Some(lineage), ..Default::default() };
        let state = pb::FollowState { logs: vec![log; logs], more: true };
        pb::FollowRequest { epoch: 7, body: Some(pb::follow_request::Body::State(state)) }
    };
    for (part, whole) in [(part(1 << 14, 0), 8), (part(1, 1 << 18), 4)] {
        let mut ups = wire::Ups::default();
        for _ in 0..whole {
            assert_eq!(ups.read(part.clone()), Ok(None));
        }
        refused(ups.read(part));
    }
    let mut ups = wire::Ups::default();
    assert_eq!(ups.read(part(1, 1)), Ok(None));
    refused(ups.read(pb::FollowRequest { epoch: 8, ..part(1, 1) }));
    refused(ups.read(pb::FollowRequest { epoch: 7, body: Some(pb::follow_request::Body::Beat(pb::Beat {})) }));
}

#[test]
fn what_no_active_origin_would_say_is_refused() {
    use pb::follow_response::Body;
    let tell = |body| {
        wire::Downs::default().read(pb::FollowResponse { epoch: 7, body: Some(body) }).map(|down| format!("{down:?}"))
    };
    let log_item = |seq, body| Some(pb::LogItem { item: Some(pb::Item { seq, body: Some(body) }), provenance: None });
    let cleared = || {
        let body = pb::event::Body::MetadataCleared(pb::StreamMetadataCleared {});
        pb::item::Body::Event(pb::Event { body: Some(body) })
    };
    let frame = pb::Frame { medium: 1, kind: 3, ..Default::default() };
    let entries = |order, stream, item| {
        let entries = vec![pb::FollowEntry { stream, item, source: None }];
        tell(Body::Entries(pb::FollowEntries { order, committed: 0, streams: vec![name("foo").resource()], entries }))
    };
    assert!(entries(1, 0, log_item(5, cleared())).is_ok());
    refused(entries(0, 0, log_item(5, cleared())));
    refused(entries(1, 1, log_item(5, cleared())));
    refused(entries(1, 0, None));
    refused(entries(1, 0, Some(pb::LogItem::default())));
    refused(entries(1, 0, log_item(u64::MAX, cleared())));
    refused(entries(1, 0, log_item(5, pb::item::Body::Setup(frame.clone()))));
    refused(entries(u64::MAX, 0, log_item(5, cleared())));
    refused(tell(Body::Beat(pb::FollowBeat { active: true, committed: u64::MAX })));
    refused(tell(Body::SnapshotBegin(pb::SnapshotBegin::default())));
    let lineage = Some(pb::Lineage { starts: vec![], next_seq: 1 });
    let begin = pb::SnapshotBegin { stream: name("foo").resource(), lineage, ..Default::default() };
    refused(tell(Body::SnapshotBegin(begin.clone())));
    let source = |edge: &str, peer: &str| Some(pb::Source { edge: edge.into(), peer: peer.into() });
    assert!(tell(Body::SnapshotBegin(pb::SnapshotBegin { source: source("", ""), ..begin.clone() })).is_ok());
    refused(tell(Body::SnapshotBegin(pb::SnapshotBegin { source: source("a b", ""), ..begin.clone() })));
    refused(tell(Body::SnapshotBegin(pb::SnapshotBegin { source: source("", "\u{1b}"), ..begin })));
    let settled = |keep, gone, more| Body::Settled(pb::FollowSettled { keep, gone, more });
    refused(tell(settled(vec![], vec!["x".into()], false)));
    refused(tell(settled(vec![pb::LogKeep::default()], vec![], false)));
    let mut downs = wire::Downs::default();
    let read = |downs: &mut wire::Downs, body| downs.read(pb::FollowResponse { epoch: 7, body: Some(body) });
    assert!(read(&mut downs, settled(vec![], vec![], true)).is_ok_and(|down| down.is_none()));
    assert!(read(&mut downs, Body::Lead(pb::FollowLead {})).is_err(), "nothing between the parts");
    let many = vec!["0".repeat(32); 1 << 15];
    let mut downs = wire::Downs::default();
    for _ in 0..2 {
        assert!(read(&mut downs, settled(vec![], many.clone(), true)).is_ok());
    }
    assert!(read(&mut downs, settled(vec![], many, true)).is_err());
}
