//! Video bodies: FLV E.4.3.1 and Enhanced RTMP "Enhanced Video".

use super::{Class, Codec, Configures, enhanced, input::Input, of_tracks, video_record};
use crate::{Kind, Medium, tag::ConfigSlot};

const FRAME_KEY: u8 = 1;
const FRAME_COMMAND: u8 = 5;

const SEQUENCE_START: u8 = 0;
const CODED_FRAMES: u8 = 1;
const CODED_FRAMES_X: u8 = 3;
const METADATA: u8 = 4;
/// AV1's configuration in its MPEG-2 TS form.
pub(super) const MPEG2TS_SEQUENCE_START: u8 = 5;
const MULTITRACK: u8 = 6;

pub(super) fn classify(payload: &[u8]) -> Class {
    let mut input = Input(payload);
    let Some(first) = input.u8() else { return Class::OPAQUE };
    let (frame_type, low) = (first >> 4 & 7, first & 0x0f);
    if first & 0x80 != 0 {
        return enhanced(frame_type, low, input).unwrap_or(Class::OPAQUE);
    }
    match low {
        _ if frame_type == FRAME_COMMAND => Class::OPAQUE,
        7 => packetised(Codec::Avc, frame_type, input).unwrap_or(Class { codec: Codec::Avc, ..Class::OPAQUE }),
        // Not in the specification; agreed between encoders and players before Enhanced RTMP.
        12 => packetised(Codec::Hevc, frame_type, input).unwrap_or(Class { codec: Codec::Hevc, ..Class::OPAQUE }),
        other => {
            let kind = coded(frame_type, input);
            Class { kind, codec: Codec::Legacy(other), ..Class::OPAQUE }
        }
    }
}

/// AVCVIDEOPACKET, and HEVC in its likeness.
fn packetised(codec: Codec, frame_type: u8, mut input: Input<'_>) -> Option<Class> {
    let packet_type = input.u8()?;
    let composition_ms = input.i24()?;
    let class = Class { codec, ..Class::OPAQUE };
    Some(match packet_type {
        0 => {
            let slot = ConfigSlot { medium: Medium::Video, what: Configures::Sequence, track: 0, many: false };
            Class { kind: Kind::Config, slot: video_record::is_valid(codec, input).then_some(slot), ..class }
        }
        1 => Class { kind: coded(frame_type, input), composition_ms, ..class },
        _ => class,
    })
}

fn enhanced(frame_type: u8, packet_type: u8, mut input: Input<'_>) -> Option<Class> {
    let packet_type = enhanced::skip_modex(packet_type, &mut input)?;
    if frame_type == FRAME_COMMAND && packet_type != METADATA {
        return None;
    }
    let tracks = enhanced::Tracks::parse(packet_type, MULTITRACK, input)?;
    Some(match tracks.packet_type {
        SEQUENCE_START | MPEG2TS_SEQUENCE_START => {
            of_tracks(tracks, Some((Medium::Video, Configures::Sequence)), Kind::Config)
        }
        METADATA => colour(tracks),
        CODED_FRAMES | CODED_FRAMES_X => coded_tracks(tracks, frame_type),
        _ => of_tracks(tracks, None, Kind::Delta),
    })
}

/// A metadata packet: only colour information is a configuration.
fn colour(tracks: enhanced::Tracks<'_>) -> Class {
    let class = of_tracks(tracks, Some((Medium::Video, Configures::Colour)), Kind::Config);
    if class.slot.is_some() { class } else { Class { kind: Kind::Delta, ..class } }
}

fn coded_tracks(tracks: enhanced::Tracks<'_>, frame_type: u8) -> Class {
    let first = tracks.clone().next().flatten();
    let has_offset = tracks.packet_type == CODED_FRAMES;
    let mut class = of_tracks(tracks, None, Kind::Delta);
    let Some(mut first) = first.filter(|_| class.codec != Codec::None) else { return class };
    if has_offset && class.codec.is_reordered() {
        let Some(composition_ms) = first.body.i24() else { return class };
        class.composition_ms = composition_ms;
    }
    class.kind = coded(frame_type, first.body);
    class
}

/// Decoding can start at a key frame that has a body. Its codec need not be known: the frame type says it.
fn coded(frame_type: u8, body: Input<'_>) -> Kind {
    if frame_type == FRAME_KEY && !body.is_empty() { Kind::Key } else { Kind::Delta }
}
