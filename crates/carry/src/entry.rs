//! The numbered things of a publication.

use media::{
    Kind, MediaMessage, Medium,
    tag::{ConfigSlot, RECORD_BYTES_MAX, classify, is_clear_metadata, is_metadata},
};

/// One numbered thing of a publication.
#[derive(Debug, Clone, PartialEq)]
pub enum Entry {
    /// A message.
    Message(MediaMessage),
    /// The encoder withdrew its metadata.
    MetadataCleared,
}

/// What an entry is to a decoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// Metadata or set-up: the newest of its slot is always needed.
    Setup(Slot),
    /// A keyframe: decoding can start here.
    Key,
    /// Other coded video.
    Video,
    /// Coded audio.
    Audio,
    /// Anything else.
    Other,
}

/// Which kept set-up a newer one replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Slot {
    /// Metadata, or the word that there is none.
    Metadata,
    /// A track's configuration.
    Config(ConfigSlot),
}

impl Entry {
    /// What it costs to hold: also an empty message does.
    pub fn bytes(&self) -> usize {
        const OVERHEAD: usize = 64;
        match self {
            Self::Message(message) => message.payload.len() + OVERHEAD,
            Self::MetadataCleared => OVERHEAD,
        }
    }

    /// What it is to a decoder.
    pub fn part(&self) -> Part {
        let Self::Message(message) = self else { return Part::Setup(Slot::Metadata) };
        let class = classify(message.medium, &message.payload);
        match (message.medium, class.kind) {
            _ if class.slot.is_some() => class.slot.map_or(Part::Other, |slot| Part::Setup(Slot::Config(slot))),
            (Medium::Data, _) if is_kept_metadata(message) => Part::Setup(Slot::Metadata),
            (Medium::Video, Kind::Key) => Part::Key,
            (Medium::Video, Kind::Delta) => Part::Video,
            (Medium::Audio, Kind::Delta) => Part::Audio,
            _ => Part::Other,
        }
    }
}

/// Larger metadata is sent on like any message, but not kept.
fn is_kept_metadata(message: &MediaMessage) -> bool {
    message.payload.len() <= RECORD_BYTES_MAX && (is_metadata(&message.payload) || is_clear_metadata(&message.payload))
}
