//! Media messages as encoders send them, and frames as streams keep them.

use bytes::Bytes;

/// What a message carries; the numbers are those of RTMP message types and FLV tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Medium {
    /// Type 8.
    Audio,
    /// Type 9.
    Video,
    /// Type 18: AMF0 data, such as onMetaData.
    Data,
}

impl Medium {
    /// The RTMP message type and FLV tag type.
    pub fn type_id(self) -> u8 {
        match self {
            Self::Audio => 8,
            Self::Video => 9,
            Self::Data => 18,
        }
    }

    /// The medium of an RTMP message type or FLV tag type, if it is one.
    pub fn from_type_id(id: u8) -> Option<Self> {
        match id {
            8 => Some(Self::Audio),
            9 => Some(Self::Video),
            18 => Some(Self::Data),
            _ => None,
        }
    }

    /// The longest message that is taken, from encoders as from nodes, in bytes.
    pub fn message_bytes_max(self) -> usize {
        match self {
            Self::Audio => 1 << 20,
            Self::Video => 8 << 20,
            Self::Data => 256 << 10,
        }
    }
}

/// What a frame means to someone who joins or skips.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Decoder set-up: a sequence start, a channel layout, colour information.
    Config,
    /// A coded video frame at which decoding can start.
    Key,
    /// Any other coded frame; all coded audio.
    Delta,
    /// A data message.
    Data,
}

/// One audio, video or data message as an encoder sent it: aggregates split, `@setDataFrame` stripped, AMF3 data made AMF0.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaMessage {
    /// What it carries.
    pub medium: Medium,
    /// Milliseconds as on the wire: 32 bits, wraps.
    pub timestamp: u32,
    /// The message's body, which is an FLV tag's body.
    pub payload: Bytes,
}

/// One message on a stream's timeline, its payload untouched. Its position is given by the log that holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// What it carries.
    pub medium: Medium,
    /// What it means to someone who joins.
    pub kind: Kind,
    /// Track number; 0 is the default track and that of everything legacy.
    pub track: u8,
    /// Decoding time on the stream's timeline in milliseconds, unwrapped. Its low 32 bits go on the wire.
    pub dts: u64,
    /// Presentation time minus decoding time in milliseconds.
    pub composition_ms: i32,
    /// The message's body, which is an FLV tag's body.
    pub payload: Bytes,
}

impl Frame {
    /// The timestamp that RTMP and FLV carry.
    pub fn wire_timestamp(&self) -> u32 {
        self.dts as u32
    }
}
