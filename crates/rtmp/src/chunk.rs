//! The chunk layer: messages out of chunks and into them (RTMP 1.0, 5.3).
//!
//! [`Reader`] reassembles what an untrusted peer interleaves; [`Writer`] and [`media_header`] make chunks whose
//! payload is the message's own bytes.

mod header;
mod reader;
mod stream;
mod writer;

pub use reader::{Error, Reader};
pub use writer::{Writer, media_header};

/// The chunk size before any Set Chunk Size.
pub const DEFAULT_CHUNK_SIZE: u32 = 128;
/// The chunk size we announce: no message that is accepted is longer, so each is one header and its untouched payload.
/// Others end the connection at a size above 10 MiB: nginx-rtmp (`NGX_RTMP_MAX_CHUNK_SIZE`) and MediaMTX.
pub const OUT_CHUNK_SIZE: u32 = 8 << 20;

/// The chunk streams we send on.
pub mod csid {
    /// Protocol control and user control.
    pub const CONTROL: u32 = 2;
    /// Commands of the connection and of message streams.
    pub const COMMAND: u32 = 3;
    /// Audio.
    pub const AUDIO: u32 = 4;
    /// Data messages.
    pub const DATA: u32 = 5;
    /// Video.
    pub const VIDEO: u32 = 6;

    /// The chunk stream on which we send a message of this type.
    pub fn of(type_id: u8) -> u32 {
        use crate::message::type_id as id;
        match type_id {
            id::SET_CHUNK_SIZE..=id::SET_PEER_BANDWIDTH => CONTROL,
            id::AUDIO => AUDIO,
            id::VIDEO | id::AGGREGATE => VIDEO,
            id::DATA_AMF0 | id::DATA_AMF3 => DATA,
            _ => COMMAND,
        }
    }
}

#[cfg(test)]
mod tests;
