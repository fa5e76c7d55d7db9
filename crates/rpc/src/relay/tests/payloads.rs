//! How long payloads may be, and what they hold on to.

use proto::relay::v1 as pb;

use super::{super::wire, *};

const MEDIA: [(Medium, pb::Medium, pb::FrameKind); 3] = [
    (Medium::Audio, pb::Medium::Audio, pb::FrameKind::Delta),
    (Medium::Video, pb::Medium::Video, pb::FrameKind::Key),
    (Medium::Data, pb::Medium::Data, pb::FrameKind::Data),
];

/// Whatever carries a payload, made of this one and read; and the payload that was read.
fn read(medium: pb::Medium, kind: pb::FrameKind, payload: &Bytes) -> [Result<Bytes, RelayError>; 3] {
    let frame = pb::Frame { medium: medium.into(), kind: kind.into(), payload: payload.clone(), ..Default::default() };
    let item = pb::Item { seq: 5, body: Some(pb::item::Body::Frame(frame.clone())) };
    [pushed(medium, payload.clone()), pulled(item), snapshot(frame)]
}

fn pushed(medium: pb::Medium, payload: Bytes) -> Result<Bytes, RelayError> {
    let messages = vec![pb::NumberedMessage { medium: medium.into(), payload, ..Default::default() }];
    let body = pb::push_request::Body::Messages(pb::MessageBatch { messages });
    match wire::push::up_in(pb::PushRequest { epoch: 7, body: Some(body) })? {
        PushUp::Messages(messages) => Ok(messages[0].1.payload.clone()),
        other => panic!("{other:?}"),
    }
}

fn pulled(item: pb::Item) -> Result<Bytes, RelayError> {
    let body = pb::pull_response::Body::Items(pb::ItemBatch { items: vec![item] });
    match wire::pull::down_in(pb::PullResponse { epoch: 7, body: Some(body) })? {
        PullDown::Items { items, .. } => match &items[0].body {
            Body::Frame(frame) => Ok(frame.payload.clone()),
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn snapshot(setup: pb::Frame) -> Result<Bytes, RelayError> {
    let head = pb::SnapshotBegin {
        stream: name("foo").resource(),
        lineage: Some(pb::Lineage { starts: vec![], next_seq: 1 }),
        setup: vec![setup],
        source: Some(pb::Source::default()),
        ..Default::default()
    };
    let body = pb::follow_response::Body::SnapshotBegin(head);
    match wire::follow::Downs::default().read(pb::FollowResponse { epoch: 7, body: Some(body) })? {
        Some(FollowDown::SnapshotBegin { snapshot, .. }) => Ok(snapshot.setup[0].payload.clone()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_fits_into_no_message_to_a_follower_is_taken_from_nobody() {
    for (medium, on_wire, kind) in MEDIA {
        let longest = Bytes::from(vec![1; medium.message_bytes_max()]);
        for (at, read) in read(on_wire, kind, &longest).into_iter().enumerate() {
            assert_eq!(read.as_ref(), Ok(&longest), "{medium:?} {at}");
        }
        let too_long = Bytes::from(vec![1; medium.message_bytes_max() + 1]);
        for (at, read) in read(on_wire, kind, &too_long).into_iter().enumerate() {
            assert!(matches!(read, Err(RelayError::Invalid(_))), "{medium:?} {at}");
        }
    }
}

#[test]
fn a_payload_does_not_hold_on_to_what_it_came_with() {
    let came_with = Arc::new(vec![1; 1000]);
    for (medium, on_wire, kind) in MEDIA {
        let payload = Bytes::from_owner(Buffer(came_with.clone())).slice(..900);
        let read = read(on_wire, kind, &payload).map(Result::unwrap);
        drop(payload);
        assert!(read.iter().all(|payload| payload == &came_with[..900]), "{medium:?}");
        assert_eq!(Arc::strong_count(&came_with), 1, "{medium:?}");
    }
}

/// What payloads are cut from.
struct Buffer(Arc<Vec<u8>>);

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
