//! Messages into chunks.

use bytes::{BufMut, Bytes, BytesMut};

use super::{DEFAULT_CHUNK_SIZE, OUT_CHUNK_SIZE, csid};
use crate::message::{Control, Message};

/// Makes chunks of messages: a full header each, so that leaving one message out never breaks the next, and the
/// payload's own bytes, cut only where the chunk size asks for it.
#[derive(Debug, Clone)]
pub struct Writer {
    chunk_size: u32,
}

impl Writer {
    /// A writer with the chunk size every connection begins with.
    pub fn new() -> Self {
        Self { chunk_size: DEFAULT_CHUNK_SIZE }
    }

    /// The bytes a chunk may carry.
    pub fn chunk_size(&self) -> u32 {
        self.chunk_size
    }

    /// Announces a chunk size, 1 to 0x7FFFFFFF, and uses it from the next message on.
    pub fn set_chunk_size(&mut self, size: u32, out: &mut impl Extend<Bytes>) {
        assert!((1..=0x7FFF_FFFF).contains(&size), "no peer would accept the chunk size {size}");
        self.write(&Control::SetChunkSize(size).to_message(), out);
        self.chunk_size = size;
    }

    /// Adds a message's chunks on the chunk stream [`csid::of`] its type.
    pub fn write(&self, message: &Message, out: &mut impl Extend<Bytes>) {
        self.write_on(csid::of(message.type_id), message, out);
    }

    /// Adds a message's chunks on a chunk stream of the caller's choice, 2 to 65599.
    ///
    /// The message is at most 0xFFFFFF bytes long.
    pub fn write_on(&self, csid: u32, message: &Message, out: &mut impl Extend<Bytes>) {
        let mut rest = message.payload.clone();
        out.extend([full_header(csid, message.type_id, message.timestamp, rest.len(), message.msid)]);
        if rest.is_empty() {
            return;
        }
        let chunk_size = self.chunk_size as usize;
        if rest.len() > chunk_size {
            let separator = separator(csid, message.timestamp);
            while rest.len() > chunk_size {
                out.extend([rest.split_to(chunk_size), separator.clone()]);
            }
        }
        out.extend([rest]);
    }
}

impl Default for Writer {
    fn default() -> Self {
        Self::new()
    }
}

/// The header that makes a payload of so many bytes one whole chunk; for those who send the same message to many.
///
/// Right only where [`OUT_CHUNK_SIZE`] is announced, and up to that many bytes.
pub fn media_header(type_id: u8, timestamp: u32, payload_bytes: usize, msid: u32) -> Bytes {
    assert!(payload_bytes <= OUT_CHUNK_SIZE as usize, "a message of {payload_bytes} bytes is more than one chunk");
    full_header(csid::of(type_id), type_id, timestamp, payload_bytes, msid)
}

fn full_header(csid: u32, type_id: u8, timestamp: u32, payload_bytes: usize, msid: u32) -> Bytes {
    assert!(payload_bytes <= 0xFF_FFFF, "a message of {payload_bytes} bytes does not fit RTMP's length field");
    let mut out = BytesMut::with_capacity(FULL_HEADER_BYTES_MAX);
    put_basic_header(0, csid, &mut out);
    out.put_uint(timestamp.min(EXTENDED).into(), 3);
    out.put_uint(payload_bytes as u64, 3);
    out.put_u8(type_id);
    out.put_u32_le(msid);
    if timestamp >= EXTENDED {
        out.put_u32(timestamp);
    }
    out.freeze()
}

/// What stands between the chunks of one message. It repeats an extended timestamp, as current peers expect.
fn separator(csid: u32, timestamp: u32) -> Bytes {
    let mut out = BytesMut::with_capacity(7);
    put_basic_header(3, csid, &mut out);
    if timestamp >= EXTENDED {
        out.put_u32(timestamp);
    }
    out.freeze()
}

pub(super) fn put_basic_header(fmt: u8, csid: u32, out: &mut BytesMut) {
    let fmt = fmt << 6;
    match csid {
        2..=63 => out.put_u8(fmt | csid as u8),
        64..=319 => out.put_slice(&[fmt, (csid - 64) as u8]),
        320..=65599 => {
            let above = csid - 64;
            out.put_slice(&[fmt | 1, above as u8, (above >> 8) as u8]);
        }
        _ => panic!("there is no chunk stream {csid}"),
    }
}

/// In a three-byte timestamp: four bytes with the whole of it follow.
pub(super) const EXTENDED: u32 = 0xFF_FFFF;
const FULL_HEADER_BYTES_MAX: usize = 3 + 11 + 4;
