//! Push.

use cluster::Epoch;
use media::MediaMessage;
use proto::relay::v1 as pb;

use super::{
    super::{PublishKey, PushDown, PushHello, PushUp, RelayError},
    KEY_BYTES_MAX, PEER_BYTES_MAX, batches, epoch_in,
    frames::{medium_in, medium_out, payload_in, range_in},
    invalid, node_in, path_in, path_out, publication_in, stream_in, text_in,
};

/// A push's first request.
pub(crate) fn hello_out(hello: PushHello) -> pb::PushRequest {
    let body = pb::PushHello {
        stream: hello.stream.resource(),
        publication: hello.publication.to_string(),
        node: hello.edge.as_str().to_owned(),
        first_number: hello.first_number,
        publish_key: hello.key.map(|key| key.0).unwrap_or_default(),
        peer: hello.peer,
        via: hello.via,
        path: path_out(&hello.path),
    };
    pb::PushRequest { epoch: hello.epoch.0, body: Some(pb::push_request::Body::Hello(body)) }
}

pub(crate) fn hello_in(request: pb::PushRequest) -> Result<PushHello, RelayError> {
    let Some(pb::push_request::Body::Hello(hello)) = request.body else {
        return Err(invalid("the first request of a push is its hello"));
    };
    let key = Some(hello.publish_key).filter(|key| !key.is_empty());
    Ok(PushHello {
        stream: stream_in(&hello.stream)?,
        publication: publication_in(&hello.publication)?,
        epoch: epoch_in(request.epoch)?,
        edge: node_in(&hello.node)?,
        key: key.map(|key| text_in("publish_key", key, KEY_BYTES_MAX)).transpose()?.map(PublishKey),
        first_number: hello.first_number,
        peer: text_in("peer", hello.peer, PEER_BYTES_MAX)?,
        via: hello.via,
        path: path_in(&hello.path)?,
    })
}

/// The requests that say `up`, each within a batch's bounds; `epoch` is the highest that the edge has heard of.
pub(crate) fn up_out(up: PushUp, epoch: Epoch) -> Vec<pb::PushRequest> {
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
        PushUp::Skip { from, to } => vec![request(Body::Skip(pb::PushSkip { from, to }))],
        PushUp::Close(number) => vec![request(Body::Close(pb::PushClose { number }))],
    }
}

pub(crate) fn up_in(request: pb::PushRequest) -> Result<PushUp, RelayError> {
    use pb::push_request::Body;
    let epoch = epoch_in(request.epoch)?;
    match request.body.ok_or_else(|| invalid("a push request without a body"))? {
        Body::Hello(_) => Err(invalid("a second hello")),
        Body::Messages(batch) if batch.messages.is_empty() => Err(invalid("a batch without messages")),
        Body::Messages(batch) => {
            Ok(PushUp::Messages(batch.messages.into_iter().map(message_in).collect::<Result<_, _>>()?))
        }
        Body::MetadataCleared(cleared) => Ok(PushUp::MetadataCleared(cleared.number)),
        Body::Beat(_) => Ok(PushUp::Beat { epoch }),
        Body::Skip(skip) => {
            let (from, to) = range_in(skip.from, skip.to)?;
            Ok(PushUp::Skip { from, to })
        }
        Body::Close(close) => Ok(PushUp::Close(close.number)),
    }
}

pub(crate) fn down_out(down: PushDown) -> pb::PushResponse {
    use pb::push_response::Body;
    let (epoch, body) = match down {
        PushDown::Opened { epoch, next_number } => (epoch, Body::Opened(pb::PushOpened { next_number })),
        PushDown::Ack { through, epoch } => (epoch, Body::Ack(pb::PushAck { through })),
        PushDown::Beat { epoch } => (epoch, Body::Beat(pb::Beat {})),
    };
    pb::PushResponse { epoch: epoch.0, body: Some(body) }
}

pub(crate) fn down_in(response: pb::PushResponse) -> Result<PushDown, RelayError> {
    use pb::push_response::Body;
    let epoch = epoch_in(response.epoch)?;
    Ok(match response.body.ok_or_else(|| invalid("a push response without a body"))? {
        Body::Opened(opened) => PushDown::Opened { epoch, next_number: opened.next_number },
        Body::Ack(ack) => PushDown::Ack { through: ack.through, epoch },
        Body::Beat(_) => PushDown::Beat { epoch },
    })
}

fn message_out(number: u64, message: MediaMessage) -> pb::NumberedMessage {
    let medium = medium_out(message.medium).into();
    pb::NumberedMessage { number, medium, timestamp: message.timestamp, payload: message.payload }
}

fn message_in(message: pb::NumberedMessage) -> Result<(u64, MediaMessage), RelayError> {
    let medium = medium_in(message.medium())?;
    let payload = payload_in(medium, message.payload)?;
    Ok((message.number, MediaMessage { medium, timestamp: message.timestamp, payload }))
}
