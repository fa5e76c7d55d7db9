//! Messages: what chunks carry, and those of them that control the connection.

use bytes::{BufMut, Bytes, BytesMut};

/// One RTMP message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is; see [`type_id`].
    pub type_id: u8,
    /// Milliseconds, 32 bits, wraps.
    pub timestamp: u32,
    /// The message stream it belongs to; 0 is the connection itself.
    pub msid: u32,
    /// Its body.
    pub payload: Bytes,
}

/// The message types.
pub mod type_id {
    /// Set Chunk Size.
    pub const SET_CHUNK_SIZE: u8 = 1;
    /// Abort Message.
    pub const ABORT: u8 = 2;
    /// Acknowledgement.
    pub const ACKNOWLEDGEMENT: u8 = 3;
    /// User Control.
    pub const USER_CONTROL: u8 = 4;
    /// Window Acknowledgement Size.
    pub const WINDOW_ACK_SIZE: u8 = 5;
    /// Set Peer Bandwidth.
    pub const SET_PEER_BANDWIDTH: u8 = 6;
    /// Audio.
    pub const AUDIO: u8 = 8;
    /// Video.
    pub const VIDEO: u8 = 9;
    /// Data, AMF3 form.
    pub const DATA_AMF3: u8 = 15;
    /// Shared object, AMF3 form.
    pub const SHARED_OBJECT_AMF3: u8 = 16;
    /// Command, AMF3 form.
    pub const COMMAND_AMF3: u8 = 17;
    /// Data.
    pub const DATA_AMF0: u8 = 18;
    /// Shared object.
    pub const SHARED_OBJECT_AMF0: u8 = 19;
    /// Command.
    pub const COMMAND_AMF0: u8 = 20;
    /// Aggregate of audio, video and data messages.
    pub const AGGREGATE: u8 = 22;
}

/// A message that controls the connection (types 1 to 6; RTMP 1.0, 5.4 and 6.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The sender's chunks from the next one on carry up to so many bytes.
    SetChunkSize(u32),
    /// The receiver drops what it has of this chunk stream's message.
    Abort {
        /// The chunk stream.
        csid: u32,
    },
    /// All bytes the sender has received so far, modulo 2^32.
    Acknowledgement(u32),
    /// The receiver acknowledges each time it got so many bytes.
    WindowAckSize(u32),
    /// The receiver may have so many bytes unacknowledged.
    SetPeerBandwidth {
        /// The window in bytes.
        window: u32,
        /// 0 hard, 1 soft, 2 dynamic.
        limit: u8,
    },
    /// An event.
    User(UserEvent),
}

/// What a User Control message says (RTMP 1.0, 7.1.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UserEvent {
    /// The message stream can be used.
    StreamBegin(u32),
    /// The message stream's playback has ended.
    StreamEof(u32),
    /// The message stream has no data for now.
    StreamDry(u32),
    /// The client buffers the message stream for so long.
    SetBufferLength {
        /// The message stream.
        msid: u32,
        /// Milliseconds.
        ms: u32,
    },
    /// The message stream is a recorded one.
    StreamIsRecorded(u32),
    /// To be answered by a [`UserEvent::PingResponse`] with the same number.
    PingRequest(u32),
    /// The answer to a [`UserEvent::PingRequest`].
    PingResponse(u32),
    /// An event that nobody here knows, or that is cut short: to be ignored.
    Unknown(u16),
}

impl Control {
    /// Reads a message of types 1 to 6; `None` for any other type.
    pub fn parse(message: &Message) -> Result<Option<Self>, TruncatedControl> {
        let truncated = TruncatedControl { type_id: message.type_id };
        let payload = &message.payload;
        let number = || be32(payload, 0).ok_or(truncated);
        Ok(Some(match message.type_id {
            type_id::SET_CHUNK_SIZE => Self::SetChunkSize(number()?),
            type_id::ABORT => Self::Abort { csid: number()? },
            type_id::ACKNOWLEDGEMENT => Self::Acknowledgement(number()?),
            type_id::WINDOW_ACK_SIZE => Self::WindowAckSize(number()?),
            type_id::SET_PEER_BANDWIDTH => {
                // The limit type is missing in some old senders: hard is what they mean.
                Self::SetPeerBandwidth { window: number()?, limit: payload.get(4).copied().unwrap_or(0) }
            }
            type_id::USER_CONTROL => Self::User(UserEvent::parse(payload).ok_or(truncated)?),
            _ => return Ok(None),
        }))
    }

    /// The message that says this: on message stream 0, at time 0.
    pub fn to_message(self) -> Message {
        let mut payload = BytesMut::with_capacity(10);
        let type_id = match self {
            Self::SetChunkSize(size) => {
                payload.put_u32(size);
                type_id::SET_CHUNK_SIZE
            }
            Self::Abort { csid } => {
                payload.put_u32(csid);
                type_id::ABORT
            }
            Self::Acknowledgement(bytes) => {
                payload.put_u32(bytes);
                type_id::ACKNOWLEDGEMENT
            }
            Self::WindowAckSize(bytes) => {
                payload.put_u32(bytes);
                type_id::WINDOW_ACK_SIZE
            }
            Self::SetPeerBandwidth { window, limit } => {
                payload.put_u32(window);
                payload.put_u8(limit);
                type_id::SET_PEER_BANDWIDTH
            }
            Self::User(event) => {
                event.encode(&mut payload);
                type_id::USER_CONTROL
            }
        };
        Message { type_id, timestamp: 0, msid: 0, payload: payload.freeze() }
    }
}

impl UserEvent {
    fn parse(payload: &[u8]) -> Option<Self> {
        let event = u16::from_be_bytes([*payload.first()?, *payload.get(1)?]);
        let Some(number) = be32(payload, 2) else { return Some(Self::Unknown(event)) };
        Some(match event {
            0 => Self::StreamBegin(number),
            1 => Self::StreamEof(number),
            2 => Self::StreamDry(number),
            3 => match be32(payload, 6) {
                Some(ms) => Self::SetBufferLength { msid: number, ms },
                None => Self::Unknown(event),
            },
            4 => Self::StreamIsRecorded(number),
            6 => Self::PingRequest(number),
            7 => Self::PingResponse(number),
            _ => Self::Unknown(event),
        })
    }

    fn encode(self, out: &mut BytesMut) {
        let (event, number, ms) = match self {
            Self::StreamBegin(msid) => (0, Some(msid), None),
            Self::StreamEof(msid) => (1, Some(msid), None),
            Self::StreamDry(msid) => (2, Some(msid), None),
            Self::SetBufferLength { msid, ms } => (3, Some(msid), Some(ms)),
            Self::StreamIsRecorded(msid) => (4, Some(msid), None),
            Self::PingRequest(time) => (6, Some(time), None),
            Self::PingResponse(time) => (7, Some(time), None),
            Self::Unknown(event) => (event, None, None),
        };
        out.put_u16(event);
        for number in [number, ms].into_iter().flatten() {
            out.put_u32(number);
        }
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(bytes.try_into().expect("four bytes were taken")))
}

/// A control message is shorter than its type needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the control message of type {type_id} is cut short")]
pub struct TruncatedControl {
    /// Its type.
    pub type_id: u8,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_messages_round_trip() {
        for control in [
            Control::SetChunkSize(4096),
            Control::Abort { csid: 65599 },
            Control::Acknowledgement(u32::MAX),
            Control::WindowAckSize(2_500_000),
            Control::SetPeerBandwidth { window: 2_500_000, limit: 2 },
            Control::User(UserEvent::StreamBegin(1)),
            Control::User(UserEvent::StreamEof(1)),
            Control::User(UserEvent::StreamDry(1)),
            Control::User(UserEvent::SetBufferLength { msid: 1, ms: 3000 }),
            Control::User(UserEvent::StreamIsRecorded(1)),
            Control::User(UserEvent::PingRequest(7)),
            Control::User(UserEvent::PingResponse(7)),
            Control::User(UserEvent::Unknown(31)),
        ] {
            assert_eq!(Control::parse(&control.to_message()), Ok(Some(control)));
        }
    }

    #[test]
    fn control_messages_cut_short_are_errors() {
        for type_id in type_id::SET_CHUNK_SIZE..=type_id::SET_PEER_BANDWIDTH {
            let message = Message { type_id, timestamp: 0, msid: 0, payload: Bytes::from_static(&[0]) };
            assert_eq!(Control::parse(&message), Err(TruncatedControl { type_id }));
        }
    }

    #[test]
    fn user_events_that_nobody_knows_are_no_error() {
        for payload in [&[0, 27, 1, 2][..], &[0, 31], &[0xFF, 0xFF, 0, 0, 0, 0], &[0, 3, 0, 0, 0, 1, 0]] {
            let payload = Bytes::from_static(payload);
            let message = Message { type_id: type_id::USER_CONTROL, timestamp: 0, msid: 0, payload };
            assert!(matches!(Control::parse(&message), Ok(Some(Control::User(UserEvent::Unknown(_))))));
        }
    }
}
