//! Items, frames and events.

use bytes::Bytes;
use media::{Frame, Kind, Medium};
use proto::relay::v1 as pb;

use super::{
    super::{Body, Event, Placed, RelayError},
    counter_in, epoch_in, invalid, publication_in,
};

/// What an item weighs in a batch. Set-up, of which a stream has 2.3 MiB at most, weighs nothing: a batch that has any has
/// all of it, so that whoever takes it up may put it in the place of what was there before.
pub(super) fn weight(item: &Placed) -> usize {
    match &item.body {
        Body::Frame(frame) => frame.payload.len(),
        Body::Setup(_) | Body::Event(_) => 0,
    }
}

pub(super) fn item_out(item: Placed) -> pb::Item {
    pb::Item { seq: item.seq, body: Some(body_out(item.body)) }
}

pub(super) fn body_out(body: Body) -> pb::item::Body {
    match body {
        Body::Frame(frame) => pb::item::Body::Frame(frame_out(frame)),
        Body::Setup(frame) => pb::item::Body::Setup(frame_out(frame)),
        Body::Event(event) => pb::item::Body::Event(event_out(event)),
    }
}

pub(super) fn item_in(item: pb::Item) -> Result<Placed, RelayError> {
    Ok(Placed { seq: counter_in("an item at a position", item.seq)?, body: body_in(item.body)? })
}

pub(super) fn body_in(body: Option<pb::item::Body>) -> Result<Body, RelayError> {
    Ok(match body.ok_or_else(|| invalid("an item without a body"))? {
        pb::item::Body::Frame(frame) => Body::Frame(frame_in(frame)?),
        pb::item::Body::Setup(frame) => Body::Setup(frame_in(frame)?),
        pb::item::Body::Event(event) => Body::Event(event_in(event)?),
    })
}

pub(super) fn frame_out(frame: Frame) -> pb::Frame {
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

pub(super) fn frame_in(frame: pb::Frame) -> Result<Frame, RelayError> {
    let kind = match frame.kind() {
        pb::FrameKind::Unspecified => return Err(invalid("a frame of unknown kind")),
        pb::FrameKind::Config => Kind::Config,
        pb::FrameKind::Key => Kind::Key,
        pb::FrameKind::Delta => Kind::Delta,
        pb::FrameKind::Data => Kind::Data,
    };
    let medium = medium_in(frame.medium())?;
    Ok(Frame {
        medium,
        kind,
        track: frame.track.try_into().map_err(|_| invalid("a track above 255"))?,
        dts: frame.dts,
        composition_ms: frame.composition_ms,
        payload: payload_in(medium, frame.payload)?,
    })
}

/// A payload that fits into whatever message it is passed on in, in a buffer of its own: as it comes it holds on to all that
/// was read with it, of which those who count what they keep know nothing.
pub(super) fn payload_in(medium: Medium, payload: Bytes) -> Result<Bytes, RelayError> {
    let (len, max) = (payload.len(), medium.message_bytes_max());
    if len > max {
        return Err(invalid(&format!("{medium:?} of {len} bytes; {max} are the most")));
    }
    Ok(Bytes::copy_from_slice(&payload))
}

pub(super) fn event_out(event: Event) -> pb::Event {
    let body = match event {
        Event::Open { publication } => {
            pb::event::Body::Opened(pb::StreamOpened { publication: publication.to_string() })
        }
        Event::Close { publication } => {
            pb::event::Body::Closed(pb::StreamClosed { publication: publication.to_string() })
        }
        Event::MetadataCleared => pb::event::Body::MetadataCleared(pb::StreamMetadataCleared {}),
        Event::Skip { publication, from, to } => {
            pb::event::Body::Skipped(pb::StreamSkipped { publication: publication.to_string(), from, to })
        }
        Event::Loss { epoch, from, to } => pb::event::Body::Lost(pb::StreamLost { epoch, from, to }),
    };
    pb::Event { body: Some(body) }
}

pub(super) fn event_in(event: pb::Event) -> Result<Event, RelayError> {
    Ok(match event.body.ok_or_else(|| invalid("an event of unknown kind"))? {
        pb::event::Body::Opened(opened) => Event::Open { publication: publication_in(&opened.publication)? },
        pb::event::Body::Closed(closed) => Event::Close { publication: publication_in(&closed.publication)? },
        pb::event::Body::MetadataCleared(_) => Event::MetadataCleared,
        pb::event::Body::Skipped(skipped) => {
            let (from, to) = range_in(skipped.from, skipped.to)?;
            Event::Skip { publication: publication_in(&skipped.publication)?, from, to }
        }
        pb::event::Body::Lost(lost) => {
            let position = |position| counter_in("a loss to a position", position);
            let (from, to) = (position(lost.from)?, lost.to.map(position).transpose()?);
            Event::Loss { epoch: epoch_in(lost.epoch)?.0, from, to }
        }
    })
}

pub(super) fn medium_out(medium: Medium) -> pb::Medium {
    match medium {
        Medium::Audio => pb::Medium::Audio,
        Medium::Video => pb::Medium::Video,
        Medium::Data => pb::Medium::Data,
    }
}

pub(super) fn medium_in(medium: pb::Medium) -> Result<Medium, RelayError> {
    match medium {
        pb::Medium::Unspecified => Err(invalid("an unknown medium")),
        pb::Medium::Audio => Ok(Medium::Audio),
        pb::Medium::Video => Ok(Medium::Video),
        pb::Medium::Data => Ok(Medium::Data),
    }
}

/// A range of numbers or positions, both inclusive.
pub(super) fn range_in(from: u64, to: u64) -> Result<(u64, u64), RelayError> {
    if from > to {
        return Err(invalid("a range that ends before it begins"));
    }
    Ok((from, counter_in("a range to a number", to)?))
}
