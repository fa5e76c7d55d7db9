//! Audio bodies: FLV E.4.2.1 and Enhanced RTMP "Enhanced Audio".

use super::{Class, Codec, Configures, audio_record, enhanced, input::Input, of_tracks};
use crate::{Kind, Medium, tag::ConfigSlot};

const SEQUENCE_START: u8 = 0;
const MULTICHANNEL_CONFIG: u8 = 4;
const MULTITRACK: u8 = 5;

pub(super) fn classify(payload: &[u8]) -> Class {
    let mut input = Input(payload);
    let Some(first) = input.u8() else { return Class::OPAQUE };
    match first >> 4 {
        9 => enhanced(first & 0x0f, input).unwrap_or(Class::OPAQUE),
        10 => aac(input),
        2 | 14 => Class { codec: Codec::Mp3, ..Class::OPAQUE },
        other => Class { codec: Codec::Legacy(other), ..Class::OPAQUE },
    }
}

/// AACAUDIODATA: an AudioSpecificConfig or a raw frame.
fn aac(mut input: Input<'_>) -> Class {
    let class = Class { codec: Codec::Aac, ..Class::OPAQUE };
    if input.u8() != Some(0) {
        return class;
    }
    let slot = ConfigSlot { medium: Medium::Audio, what: Configures::Sequence, track: 0, many: false };
    Class { kind: Kind::Config, slot: audio_record::is_valid(Codec::Aac, input).then_some(slot), ..class }
}

fn enhanced(packet_type: u8, mut input: Input<'_>) -> Option<Class> {
    let packet_type = enhanced::skip_modex(packet_type, &mut input)?;
    let tracks = enhanced::Tracks::parse(packet_type, MULTITRACK, input)?;
    Some(match tracks.packet_type {
        SEQUENCE_START => of_tracks(tracks, Some((Medium::Audio, Configures::Sequence)), Kind::Config),
        MULTICHANNEL_CONFIG => of_tracks(tracks, Some((Medium::Audio, Configures::Multichannel)), Kind::Config),
        _ => of_tracks(tracks, None, Kind::Delta),
    })
}
