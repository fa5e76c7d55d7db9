//! From and to the messages of `headwater.relay.v1`.

use cluster::{Epoch, NodeId};
use media::{Frame, Kind, MediaMessage, Medium, PublicationId, StreamName};
use proto::relay::v1 as pb;

use super::{
    BATCH_BYTES, Body, Event, Item, PublishKey, PullDown, PullFrom, PullRequest, PushDown, PushHello, PushUp,
    RelayError,
};

/// A push's first request.
pub(super) fn hello_out(hello: PushHello) -> pb::PushRequest {
    let body = pb::PushHello {
        stream: hello.stream.resource(),
        publication: hello.publication.to_string(),
        node: hello.edge.as_str().to_owned(),
        first_number: hello.first_number,
        publish_key: hello.key.map(|key| key.0).unwrap_or_default(),
        peer: hello.peer,
    };
    pb::PushRequest { epoch: hello.epoch.0, body: Some(pb::push_request::Body::Hello(body)) }
}

pub(super) fn hello_in(request: pb::PushRequest) -> Result<PushHello, RelayError> {
    let Some(pb::push_request::Body::Hello(hello)) = request.body else {
        return Err(invalid("the first request of a push is its hello"));
    };
    let key = Some(hello.publish_key).filter(|key| !key.is_empty());
    Ok(PushHello {
        stream: stream_in(&hello.stream)?,
        publication: publication_in(&hello.publication)?,
        epoch: Epoch(request.epoch),
        edge: node_in(&hello.node)?,
        key: key.map(|key| text_in("publish_key", key, KEY_BYTES_MAX)).transpose()?.map(PublishKey),
        first_number: hello.first_number,
        peer: text_in("peer", hello.peer, PEER_BYTES_MAX)?,
    })
}

/// The requests that say `up`, each within a batch's bounds; `epoch` is the highest that the edge has heard of.
pub(super) fn up_out(up: PushUp, epoch: Epoch) -> Vec<pb::PushRequest> {
    use pb::push_request::Body;
    let request = |body| pb::PushRequest { epoch: epoch.0, body: Some(body) };
    match up {
        PushUp::Messages(messages) => batches(messages, |(_, message)| message.payload.len())
            .into_iter()
            .map(|batch| {
                let messages = batch.into_iter().map(|(number, message)| message_out(number, message)).collect();
                request(Body::Messages(pb::MessageBatch { messages }))
            })
            .collect(),
        PushUp::MetadataCleared(number) => vec![request(Body::MetadataCleared(pb::MetadataCleared { number }))],
        PushUp::Beat { .. } => vec![request(Body::Beat(pb::Beat {}))],
        PushUp::Close(number) => vec![request(Body::Close(pb::PushClose { number }))],
    }
}

pub(super) fn up_in(request: pb::PushRequest) -> Result<PushUp, RelayError> {
    use pb::push_request::Body;
    match request.body.ok_or_else(|| invalid("a push request without a body"))? {
        Body::Hello(_) => Err(invalid("a second hello")),
        Body::Messages(batch) if batch.messages.is_empty() => Err(invalid("a batch without messages")),
        Body::Messages(batch) => {
            Ok(PushUp::Messages(batch.messages.into_iter().map(message_in).collect::<Result<_, _>>()?))
        }
        Body::MetadataCleared(cleared) => Ok(PushUp::MetadataCleared(cleared.number)),
        Body::Beat(_) => Ok(PushUp::Beat { epoch: Epoch(request.epoch) }),
        Body::Close(close) => Ok(PushUp::Close(close.number)),
    }
}

pub(super) fn push_down_out(down: PushDown) -> pb::PushResponse {
    use pb::push_response::Body;
    let (epoch, body) = match down {
        PushDown::Opened { epoch, next_number } => (epoch, Body::Opened(pb::PushOpened { next_number })),
        PushDown::Ack { through, epoch } => (epoch, Body::Ack(pb::PushAck { through })),
        PushDown::Beat { epoch } => (epoch, Body::Beat(pb::Beat {})),
    };
    pb::PushResponse { epoch: epoch.0, body: Some(body) }
}

pub(super) fn push_down_in(response: pb::PushResponse) -> Result<PushDown, RelayError> {
    use pb::push_response::Body;
    let epoch = Epoch(response.epoch);
    Ok(match response.body.ok_or_else(|| invalid("a push response without a body"))? {
        Body::Opened(opened) => PushDown::Opened { epoch, next_number: opened.next_number },
        Body::Ack(ack) => PushDown::Ack { through: ack.through, epoch },
        Body::Beat(_) => PushDown::Beat { epoch },
    })
}

pub(super) fn pull_out(request: PullRequest) -> pb::PullRequest {
    let after = match request.from {
        PullFrom::Live => None,
        PullFrom::After(position) => Some(position),
    };
    let path = request.path.iter().map(|node| node.as_str().to_owned()).collect();
    pb::PullRequest { stream: request.stream.resource(), after, epoch: request.epoch.0, path }
}

pub(super) fn pull_in(request: pb::PullRequest) -> Result<PullRequest, RelayError> {
    if request.path.len() > PATH_NODES_MAX {
        return Err(RelayError::Loop);
    }
    let path = request.path.iter().map(|node| node_in(node));
    Ok(PullRequest {
        stream: stream_in(&request.stream)?,
        from: request.after.map_or(PullFrom::Live, PullFrom::After),
        epoch: Epoch(request.epoch),
        path: path.collect::<Result<_, _>>()?,
    })
}

/// The responses that say `down`, each within a batch's bounds; `epoch` is the one in which the pull was opened.
pub(super) fn pull_down_out(down: PullDown, epoch: Epoch) -> Vec<pb::PullResponse> {
    use pb::pull_response::Body;
    let response = |epoch: Epoch, body| pb::PullResponse { epoch: epoch.0, body: Some(body) };
    match down {
        PullDown::Opened { epoch, head, rejoined } => {
            vec![response(epoch, Body::Opened(pb::PullOpened { head, rejoined }))]
        }
        PullDown::Items(items) => batches(items, payload_bytes)
            .into_iter()
            .map(|batch| {
                let items = batch.into_iter().map(item_out).collect();
                response(epoch, Body::Items(pb::ItemBatch { items }))
            })
            .collect(),
        PullDown::Heartbeat { epoch, head } => vec![response(epoch, Body::Heartbeat(pb::PullHeartbeat { head }))],
    }
}

pub(super) fn pull_down_in(response: pb::PullResponse) -> Result<PullDown, RelayError> {
    use pb::pull_response::Body;
    let epoch = Epoch(response.epoch);
    Ok(match response.body.ok_or_else(|| invalid("a pull response without a body"))? {
        Body::Opened(opened) => PullDown::Opened { epoch, head: opened.head, rejoined: opened.rejoined },
        Body::Items(batch) => PullDown::Items(batch.items.into_iter().map(item_in).collect::<Result<_, _>>()?),
        Body::Heartbeat(beat) => PullDown::Heartbeat { epoch, head: beat.head },
    })
}

/// Cuts `items` into batches that close as soon as they hold [`BATCH_BYTES`] of payload. None is empty.
fn batches<T>(items: Vec<T>, bytes: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut batches = Vec::new();
    let mut open = Vec::new();
    let mut held = 0;
    for item in items {
        let more = bytes(&item);
        if !open.is_empty() && held + more > BATCH_BYTES {
            batches.push(std::mem::take(&mut open));
            held = 0;
        }
        held += more;
        open.push(item);
    }
    if !open.is_empty() {
        batches.push(open);
    }
    batches
}

fn payload_bytes(item: &Item) -> usize {
    match &item.body {
        Body::Frame(frame) | Body::Setup(frame) => frame.payload.len(),
        Body::Event(_) => 0,
    }
}

fn message_out(number: u64, message: MediaMessage) -> pb::NumberedMessage {
    let medium = medium_out(message.medium).into();
    pb::NumberedMessage { number, medium, timestamp: message.timestamp, payload: message.payload }
}

fn message_in(message: pb::NumberedMessage) -> Result<(u64, MediaMessage), RelayError> {
    let medium = medium_in(message.medium())?;
    Ok((message.number, MediaMessage { medium, timestamp: message.timestamp, payload: message.payload }))
}

fn item_out(item: Item) -> pb::Item {
    let body = match item.body {
        Body::Frame(frame) => pb::item::Body::Frame(frame_out(frame)),
        Body::Setup(frame) => pb::item::Body::Setup(frame_out(frame)),
        Body::Event(event) => pb::item::Body::Event(event_out(event)),
    };
    pb::Item { seq: item.seq, body: Some(body) }
}

fn item_in(item: pb::Item) -> Result<Item, RelayError> {
    let body = match item.body.ok_or_else(|| invalid("an item without a body"))? {
        pb::item::Body::Frame(frame) => Body::Frame(frame_in(frame)?),
        pb::item::Body::Setup(frame) => Body::Setup(frame_in(frame)?),
        pb::item::Body::Event(event) => Body::Event(event_in(event)?),
    };
    if item.seq == u64::MAX {
        return Err(invalid("an item at a position after which there is none"));
    }
    Ok(Item { seq: item.seq, body })
}

fn frame_out(frame: Frame) -> pb::Frame {
    let kind = match frame.kind {
        Kind::Config => pb::FrameKind::Config,
        Kind::Key => pb::FrameKind::Key,
        Kind::Delta => pb::FrameKind::Delta,
        Kind::Data => pb::FrameKind::Data,
    };
    pb::Frame {
        medium: medium_out(frame.medium).into(),
        kind: kind.into(),
        track: frame.track.into(),
        dts: frame.dts,
        composition_ms: frame.composition_ms,
        payload: frame.payload,
    }
}

fn frame_in(frame: pb::Frame) -> Result<Frame, RelayError> {
    let kind = match frame.kind() {
        pb::FrameKind::Unspecified => return Err(invalid("a frame of unknown kind")),
        pb::FrameKind::Config => Kind::Config,
        pb::FrameKind::Key => Kind::Key,
        pb::FrameKind::Delta => Kind::Delta,
        pb::FrameKind::Data => Kind::Data,
    };
    Ok(Frame {
        medium: medium_in(frame.medium())?,
        kind,
        track: frame.track.try_into().map_err(|_| invalid("a track above 255"))?,
        dts: frame.dts,
        composition_ms: frame.composition_ms,
        payload: frame.payload,
    })
}

fn event_out(event: Event) -> pb::Event {
    let body = match event {
        Event::Open { publication } => {
            pb::event::Body::Opened(pb::StreamOpened { publication: publication.to_string() })
        }
        Event::Close { publication } => {
            pb::event::Body::Closed(pb::StreamClosed { publication: publication.to_string() })
        }
        Event::MetadataCleared => pb::event::Body::MetadataCleared(pb::StreamMetadataCleared {}),
    };
    pb::Event { body: Some(body) }
}

fn event_in(event: pb::Event) -> Result<Event, RelayError> {
    Ok(match event.body.ok_or_else(|| invalid("an event of unknown kind"))? {
        pb::event::Body::Opened(opened) => Event::Open { publication: publication_in(&opened.publication)? },
        pb::event::Body::Closed(closed) => Event::Close { publication: publication_in(&closed.publication)? },
        pb::event::Body::MetadataCleared(_) => Event::MetadataCleared,
    })
}

fn medium_out(medium: Medium) -> pb::Medium {
    match medium {
        Medium::Audio => pb::Medium::Audio,
        Medium::Video => pb::Medium::Video,
        Medium::Data => pb::Medium::Data,
    }
}

fn medium_in(medium: pb::Medium) -> Result<Medium, RelayError> {
    match medium {
        pb::Medium::Unspecified => Err(invalid("an unknown medium")),
        pb::Medium::Audio => Ok(Medium::Audio),
        pb::Medium::Video => Ok(Medium::Video),
        pb::Medium::Data => Ok(Medium::Data),
    }
}

fn stream_in(resource: &str) -> Result<StreamName, RelayError> {
    StreamName::from_resource(resource).map_err(|error| invalid(&format!("stream: {error}")))
}

fn publication_in(text: &str) -> Result<PublicationId, RelayError> {
    text.parse().map_err(|error| invalid(&format!("publication: {error}")))
}

fn node_in(id: &str) -> Result<NodeId, RelayError> {
    NodeId::from_resource(id).map_err(|error| invalid(&format!("node: {error}")))
}

/// A text that can be logged and listed.
fn text_in(field: &str, text: String, bytes_max: usize) -> Result<String, RelayError> {
    if text.len() > bytes_max || text.chars().any(char::is_control) {
        return Err(invalid(&format!("{field} is longer than {bytes_max} bytes or has control characters")));
    }
    Ok(text)
}

fn invalid(what: &str) -> RelayError {
    RelayError::Invalid(what.to_owned())
}

/// A longer key was not meant to be one.
const KEY_BYTES_MAX: usize = 1024;
/// An IPv6 address with zone and port is shorter.
const PEER_BYTES_MAX: usize = 128;
/// A request that came through so many nodes goes in a circle.
const PATH_NODES_MAX: usize = 8;
