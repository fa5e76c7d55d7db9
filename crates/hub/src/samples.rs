//! Streams and frames for tests.

use bytes::Bytes;
use media::{DEFAULT_VHOST, Frame, Medium, PublicationId, StreamName};

use crate::{Body, Budget, Event, Hub, RingLimits, Writer};

pub(crate) const ALL: Budget = Budget { items: 1000, bytes: 1 << 20 };
pub(crate) const AVC_CONFIG: &[u8] =
    &[0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 4, 0x67, 0x64, 0, 0x1f, 1, 0, 4, 0x68, 0xee, 0x3c, 0x80];

pub(crate) fn name() -> StreamName {
    StreamName::from_app(DEFAULT_VHOST, "live", "a").unwrap()
}

pub(crate) fn open(limits: RingLimits) -> (Hub, Writer) {
    let hub = Hub::new(limits);
    let mut writer = hub.open(&name()).unwrap();
    push(&mut writer, Body::Event(Event::Open { publication: PublicationId::from_bits(1) }));
    (hub, writer)
}

/// Appends what is committed at once.
pub(crate) fn push(writer: &mut Writer, body: Body) {
    let seq = writer.append(body, None).seq;
    writer.commit_below(seq + 1);
}

fn frame(medium: Medium, dts: u64, payload: &'static [u8]) -> Body {
    Body::Frame(Frame::classify(medium, dts, Bytes::from_static(payload)))
}

pub(crate) fn config() -> Body {
    frame(Medium::Video, 0, AVC_CONFIG)
}

pub(crate) fn key(dts: u64) -> Body {
    frame(Medium::Video, dts, &[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65])
}

pub(crate) fn delta(dts: u64) -> Body {
    frame(Medium::Video, dts, &[0x27, 1, 0, 0, 0, 0, 0, 0, 1, 0x41])
}

pub(crate) fn audio(dts: u64) -> Body {
    frame(Medium::Audio, dts, &[0xaf, 1, 0x21])
}
