//! Messages and chunks.

use std::collections::HashMap;

use bytes::{Buf, Bytes, BytesMut};

/// One RTMP message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// 1-6 control, 8 audio, 9 video, 15-20 data and commands, 22 aggregate.
    pub type_id: u8,
    /// Milliseconds, 32 bits.
    pub timestamp: u32,
    /// The message stream.
    pub msid: u32,
    /// The body.
    pub payload: Bytes,
}

/// The message's chunks, one by one, so that those of several messages can be interleaved. The first has a whole header.
pub fn chunks(csid: u8, message: &Message, size: usize) -> Vec<Vec<u8>> {
    let extended = (message.timestamp >= 0xff_ffff).then(|| message.timestamp.to_be_bytes());
    let field = if extended.is_some() { 0xff_ffff } else { message.timestamp };
    let mut header = vec![csid];
    header.extend(&field.to_be_bytes()[1..]);
    header.extend(&(message.payload.len() as u32).to_be_bytes()[1..]);
    header.push(message.type_id);
    header.extend(message.msid.to_le_bytes());
    let mut found = Vec::new();
    let mut rest = &message.payload[..];
    loop {
        let (body, later) = rest.split_at(rest.len().min(size));
        let mut chunk = if found.is_empty() { header.clone() } else { vec![0xc0 | csid] };
        chunk.extend(extended.iter().flatten());
        chunk.extend(body);
        found.push(chunk);
        rest = later;
        if rest.is_empty() {
            return found;
        }
    }
}

/// Reads messages out of a byte stream; chunks of different streams may interleave.
#[derive(Debug)]
pub struct Reader {
    buffer: BytesMut,
    size: usize,
    streams: HashMap<u32, Stream>,
}

#[derive(Debug, Default, Clone)]
struct Stream {
    timestamp: u32,
    delta: u32,
    extended: bool,
    len: usize,
    type_id: u8,
    msid: u32,
    partial: Vec<u8>,
}

impl Default for Reader {
    fn default() -> Self {
        Self { buffer: BytesMut::new(), size: 128, streams: HashMap::new() }
    }
}

impl Reader {
    /// Where bytes from the socket go.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next whole message; obeys Set Chunk Size.
    pub fn message(&mut self) -> Option<Message> {
        loop {
            if let Some(message) = self.chunk()? {
                if message.type_id == 1 && message.payload.len() == 4 {
                    self.size = (&message.payload[..]).get_u32() as usize;
                }
                return Some(message);
            }
        }
    }

    /// Takes one chunk: outer `None` when it is not all there, inner `None` when its message is not.
    fn chunk(&mut self) -> Option<Option<Message>> {
        let mut at = &self.buffer[..];
        let first = take(&mut at, 1)?[0];
        let csid = match first & 0x3f {
            0 => 64 + u32::from(take(&mut at, 1)?[0]),
            1 => 64 + u32::from(u16::from_le_bytes(take(&mut at, 2)?.try_into().ok()?)),
            small => u32::from(small),
        };
        let mut stream = self.streams.remove(&csid).unwrap_or_default();
        let taken = stream.take_chunk(first >> 6, &mut at, self.size);
        let used = self.buffer.len() - at.len();
        let result = taken.map(|whole| whole.then(|| stream.finish()));
        if result.is_some() {
            self.buffer.advance(used);
        }
        self.streams.insert(csid, stream);
        result
    }
}

impl Stream {
    /// Whether the message is whole now; `None`, and nothing changed, when the chunk is not.
    fn take_chunk(&mut self, format: u8, at: &mut &[u8], size: usize) -> Option<bool> {
        let mut next = self.clone_header();
        let starts = self.partial.is_empty();
        let mut field = None;
        if format < 3 {
            field = Some(u24(take(at, 3)?));
        }
        if format < 2 {
            next.len = u24(take(at, 3)?) as usize;
            next.type_id = take(at, 1)?[0];
        }
        if format == 0 {
            next.msid = u32::from_le_bytes(take(at, 4)?.try_into().ok()?);
        }
        if let Some(field) = field {
            next.extended = field == 0xff_ffff;
        }
        let extended = if next.extended { Some(u32::from_be_bytes(take(at, 4)?.try_into().ok()?)) } else { None };
        if starts {
            match format {
                0 => {
                    next.timestamp = extended.or(field)?;
                    next.delta = next.timestamp;
                }
                1 | 2 => next.delta = extended.or(field)?,
                _ => {}
            }
            if format > 0 {
                next.timestamp = next.timestamp.wrapping_add(next.delta);
            }
        }
        let body = take(at, size.min(next.len - self.partial.len()))?;
        next.partial = std::mem::take(&mut self.partial);
        next.partial.extend_from_slice(body);
        *self = next;
        Some(self.partial.len() == self.len)
    }

    fn clone_header(&self) -> Self {
        Self { partial: Vec::new(), ..*self }
    }

    fn finish(&mut self) -> Message {
        let payload = std::mem::take(&mut self.partial).into();
        Message { type_id: self.type_id, timestamp: self.timestamp, msid: self.msid, payload }
    }
}

fn u24(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]])
}

fn take<'a>(bytes: &mut &'a [u8], len: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(len)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interleaved_chunks_with_long_times_come_back_whole() {
        let message =
            |type_id, timestamp, len| Message { type_id, timestamp, msid: 1, payload: vec![type_id; len].into() };
        let (audio, video, empty) = (message(8, 0x0100_0000, 300), message(9, 0xff_fffe, 700), message(8, 7, 0));
        let (a, v) = (chunks(4, &audio, 128), chunks(6, &video, 128));
        let mut wire = Vec::new();
        for at in 0..a.len().max(v.len()) {
            [&v, &a].into_iter().filter_map(|chunks| chunks.get(at)).for_each(|chunk| wire.extend(chunk));
        }
        wire.extend(chunks(4, &empty, 128).concat());
        let mut reader = Reader::default();
        let mut seen = Vec::new();
        for byte in wire {
            reader.buffer().extend_from_slice(&[byte]);
            seen.extend(reader.message());
        }
        assert_eq!(seen, [audio, video, empty]);
    }
}
