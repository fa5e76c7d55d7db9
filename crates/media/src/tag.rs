//! What an audio or video body says of itself, legacy or Enhanced RTMP v2, without decoding it.
//!
//! Nothing here fails: a body that is cut short or of an unknown kind is a [`Kind::Delta`] with no
//! [`ConfigSlot`], relayed as it is. The work is linear in the body's length, and no count that a peer
//! announces sizes anything.

mod audio;
mod audio_record;
mod data;
mod enhanced;
mod input;
mod video;
mod video_record;

use std::fmt;

use bytes::Bytes;

pub use data::{is_clear_metadata, is_metadata, strip_set_data_frame};

use crate::{Frame, Kind, Medium};

/// A larger decoder configuration is relayed but not kept: the largest real ones are a few hundred bytes.
pub const RECORD_BYTES_MAX: usize = 32 * 1024;
/// A longer message is not kept either, however short the configuration of each of its tracks: room for the largest one, and
/// for what stands around it.
pub const CONFIG_BYTES_MAX: usize = RECORD_BYTES_MAX + 1024;

/// What a body says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Class {
    /// What it means to someone who joins.
    pub kind: Kind,
    /// Its track; of a message with several tracks the default one if it is there, else the first.
    pub track: u8,
    /// Presentation time minus decoding time in milliseconds, of the first track.
    pub composition_ms: i32,
    /// The place that this configuration takes among those kept for late joiners: `None` for what is not a
    /// configuration, for one that is empty or damaged, which must not replace a good one, and for one that is too long.
    pub slot: Option<ConfigSlot>,
    /// How it is coded; of a message with several tracks, the first one's codec.
    pub codec: Codec,
}

/// Which kept configuration a newer one replaces.
///
/// Replaying the kept ones in the order in which they were last replaced sets a decoder up as the live
/// stream did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ConfigSlot {
    /// Audio or video.
    pub medium: Medium,
    /// What it configures.
    pub what: Configures,
    /// The track as in [`Class::track`].
    pub track: u8,
    /// Whether one message configures several tracks.
    pub many: bool,
}

/// What a configuration is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Configures {
    /// The decoder: a sequence start.
    Sequence,
    /// The layout of audio channels.
    Multichannel,
    /// Colour and HDR information.
    Colour,
}

/// How a body is coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Codec {
    Avc,
    Hevc,
    Vvc,
    Av1,
    Vp8,
    Vp9,
    Aac,
    Mp3,
    Opus,
    Flac,
    Ac3,
    Eac3,
    /// Another codec of the FLV specification, by its number there.
    Legacy(u8),
    /// A FourCC that is not known.
    FourCc([u8; 4]),
    /// The body does not say: data, commands, bodies cut short.
    None,
}

/// Looks at a body.
pub fn classify(medium: Medium, payload: &Bytes) -> Class {
    let class = match medium {
        Medium::Audio => audio::classify(payload),
        Medium::Video => video::classify(payload),
        Medium::Data => Class { kind: Kind::Data, ..Class::OPAQUE },
    };
    Class { slot: class.slot.filter(|_| payload.len() <= CONFIG_BYTES_MAX), ..class }
}

impl Frame {
    /// The frame that carries this message at `dts` milliseconds on the stream's timeline.
    pub fn classify(medium: Medium, dts: u64, payload: Bytes) -> Self {
        let Class { kind, track, composition_ms, .. } = classify(medium, &payload);
        Self { medium, kind, track, dts, composition_ms, payload }
    }
}

impl Class {
    /// What is relayed without being understood.
    const OPAQUE: Self = Self { kind: Kind::Delta, track: 0, composition_ms: 0, slot: None, codec: Codec::None };
}

impl Codec {
    fn from_four_cc(four_cc: [u8; 4]) -> Self {
        match &four_cc {
            b"avc1" => Self::Avc,
            b"hvc1" => Self::Hevc,
            b"vvc1" => Self::Vvc,
            b"av01" => Self::Av1,
            b"vp08" => Self::Vp8,
            b"vp09" => Self::Vp9,
            b"mp4a" => Self::Aac,
            b".mp3" => Self::Mp3,
            b"Opus" => Self::Opus,
            b"fLaC" => Self::Flac,
            b"ac-3" => Self::Ac3,
            b"ec-3" => Self::Eac3,
            _ => Self::FourCc(four_cc),
        }
    }

    /// Whether its coded frames carry a composition offset.
    fn is_reordered(self) -> bool {
        matches!(self, Self::Avc | Self::Hevc | Self::Vvc)
    }

    /// Whether it is one that this crate knows: what is not is relayed opaque and worth counting.
    pub fn is_known(self) -> bool {
        !matches!(self, Self::Legacy(_) | Self::FourCc(_) | Self::None)
    }

    /// A short name for logs and metrics; everything unknown is `other`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Avc => "h264",
            Self::Hevc => "hevc",
            Self::Vvc => "vvc",
            Self::Av1 => "av1",
            Self::Vp8 => "vp8",
            Self::Vp9 => "vp9",
            Self::Aac => "aac",
            Self::Mp3 => "mp3",
            Self::Opus => "opus",
            Self::Flac => "flac",
            Self::Ac3 => "ac3",
            Self::Eac3 => "eac3",
            Self::Legacy(_) | Self::FourCc(_) => "other",
            Self::None => "none",
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The class of a message's tracks taken together, once each has been looked at.
///
/// A configuration is kept only if it is good for every track it names.
fn of_tracks(tracks: enhanced::Tracks<'_>, what: Option<(Medium, Configures)>, kind: Kind) -> Class {
    let (many, packet_type) = (tracks.many(), tracks.packet_type);
    let mut class: Option<Class> = None;
    let mut valid = true;
    for track in tracks {
        let Some(track) = track else { return Class::OPAQUE };
        let codec = Codec::from_four_cc(track.four_cc);
        valid &= what.is_some_and(|(medium, what)| is_valid(medium, what, packet_type, codec, track.body));
        match &mut class {
            Some(class) if track.id == 0 => class.track = 0,
            Some(_) => {}
            None => class = Some(Class { kind, track: track.id, codec, ..Class::OPAQUE }),
        }
    }
    let Some(mut class) = class else { return Class::OPAQUE };
    if valid {
        class.slot = what.map(|(medium, what)| ConfigSlot { medium, what, track: class.track, many });
    }
    class
}

fn is_valid(medium: Medium, what: Configures, packet_type: u8, codec: Codec, body: input::Input<'_>) -> bool {
    match (medium, what) {
        (_, Configures::Colour) => body.0.len() <= RECORD_BYTES_MAX && data::is_colour_info(body),
        (_, Configures::Multichannel) => body.0.len() <= RECORD_BYTES_MAX && audio_record::is_valid_multichannel(body),
        (Medium::Audio, Configures::Sequence) => audio_record::is_valid(codec, body),
        (_, Configures::Sequence) if packet_type == video::MPEG2TS_SEQUENCE_START => {
            codec == Codec::Av1 && !body.is_empty() && body.0.len() <= RECORD_BYTES_MAX
        }
        (_, Configures::Sequence) => video_record::is_valid(codec, body),
    }
}

#[cfg(test)]
mod tests;
