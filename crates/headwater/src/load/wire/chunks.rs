//! RTMP: the server's handshake, then messages cut into chunks.

use super::{Damaged, Message, Partial, skip};

/// Where a stream of chunks stands. It never holds more than the headers and first bytes of each chunk stream's message.
#[derive(Debug)]
pub(in crate::load) struct Chunks {
    /// Bytes of the handshake that have not come.
    handshake: usize,
    chunk_size: usize,
    header: [u8; HEADER_BYTES_MAX],
    have: usize,
    streams: Vec<Stream>,
    /// The chunk that has begun: which stream it is of, and how much of it is missing.
    chunk: Option<(usize, usize)>,
}

#[derive(Debug)]
struct Stream {
    id: u32,
    kind: u8,
    len: usize,
    /// The last message header had an extended timestamp, so that chunks which go on have one too.
    extended: bool,
    message: Partial,
}

/// S0, S1 and S2.
const HANDSHAKE_BYTES: usize = 1 + 2 * 1536;
/// Before Set Chunk Size.
const CHUNK_SIZE: usize = 128;
/// Three bytes of basic header, eleven of message header, four of time.
const HEADER_BYTES_MAX: usize = 18;
/// What says that the time follows in four bytes.
const EXTENDED: [u8; 3] = [0xff; 3];
/// A server that uses more chunk streams is none.
const STREAMS_MAX: usize = 64;
/// Message types.
const SET_CHUNK_SIZE: u8 = 1;
const ABORT: u8 = 2;

impl Chunks {
    /// At the first byte that the server sends.
    pub(super) fn new() -> Self {
        Self {
            handshake: HANDSHAKE_BYTES,
            chunk_size: CHUNK_SIZE,
            header: [0; HEADER_BYTES_MAX],
            have: 0,
            streams: Vec::new(),
            chunk: None,
        }
    }

    /// See [`super::Wire::next`].
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Message<'_>>, Damaged> {
        if !skip(bytes, &mut self.handshake) {
            return Ok(None);
        }
        loop {
            let (at, left) = match self.chunk {
                Some(chunk) => chunk,
                None => match self.read_header(bytes)? {
                    Some(chunk) => chunk,
                    None => return Ok(None),
                },
            };
            let message = &mut self.streams[at].message;
            let left = left - message.take(bytes, left);
            if left > 0 {
                self.chunk = Some((at, left));
                return Ok(None);
            }
            self.chunk = None;
            if self.streams[at].message.left == 0 {
                self.obey(at)?;
                return Ok(Some(self.streams[at].message.message()));
            }
        }
    }

    /// The chunk that begins here, once its whole header has come.
    fn read_header(&mut self, bytes: &mut &[u8]) -> Result<Option<(usize, usize)>, Damaged> {
        loop {
            if let Some(header) = Header::read(&self.header[..self.have], &self.streams) {
                self.have = 0;
                return self.begin(&header).map(Some);
            }
            let Some((byte, rest)) = bytes.split_first() else { return Ok(None) };
            self.header[self.have] = *byte;
            self.have += 1;
            *bytes = rest;
        }
    }

    fn begin(&mut self, header: &Header) -> Result<(usize, usize), Damaged> {
        let known = self.streams.iter().position(|stream| stream.id == header.id);
        let at = match known {
            Some(at) => at,
            // The first message of a chunk stream says all of itself.
            None if header.format > 0 || self.streams.len() == STREAMS_MAX => return Err(Damaged),
            None => {
                let message = Partial::new();
                self.streams.push(Stream { id: header.id, kind: 0, len: 0, extended: false, message });
                self.streams.len() - 1
            }
        };
        let stream = &mut self.streams[at];
        if header.format < 3 {
            stream.extended = header.extended;
        }
        if let Some((len, kind)) = header.message {
            (stream.len, stream.kind) = (len, kind);
        }
        if stream.message.left == 0 {
            stream.message.begin(stream.kind, stream.len);
        } else if header.format < 3 {
            // A message has begun that is not at its end.
            return Err(Damaged);
        }
        Ok((at, stream.message.left.min(self.chunk_size)))
    }

    /// What the server says about its chunks.
    fn obey(&mut self, at: usize) -> Result<(), Damaged> {
        let Message { kind, start } = self.streams[at].message.message();
        let number = || start.first_chunk().map(|bytes| u32::from_be_bytes(*bytes)).ok_or(Damaged);
        match kind {
            SET_CHUNK_SIZE => match number()? & 0x7fff_ffff {
                0 => return Err(Damaged),
                size => self.chunk_size = size as usize,
            },
            ABORT => {
                let id = number()?;
                if let Some(stream) = self.streams.iter_mut().find(|stream| stream.id == id) {
                    stream.message.left = 0;
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// A chunk's header.
struct Header {
    format: u8,
    id: u32,
    /// Length and type, where they are given.
    message: Option<(usize, u8)>,
    extended: bool,
}

impl Header {
    /// `None` when more bytes are needed.
    fn read(bytes: &[u8], streams: &[Stream]) -> Option<Self> {
        let first = *bytes.first()?;
        let format = first >> 6;
        let (id, basic) = match first & 0x3f {
            0 => (u32::from(*bytes.get(1)?) + 64, 2),
            1 => (u32::from(*bytes.get(1)?) + u32::from(*bytes.get(2)?) * 256 + 64, 3),
            id => (u32::from(id), 1),
        };
        let own = [11, 7, 3, 0][usize::from(format)];
        let header = bytes.get(basic..basic + own)?;
        let extended = match header.first_chunk() {
            Some(time) => *time == EXTENDED,
            None => streams.iter().any(|stream| stream.id == id && stream.extended),
        };
        if extended && bytes.len() < basic + own + 4 {
            return None;
        }
        let message = match header {
            [_, _, _, high, middle, low, kind, ..] => {
                Some((u32::from_be_bytes([0, *high, *middle, *low]) as usize, *kind))
            }
            _ => None,
        };
        Some(Self { format, id, message, extended })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The server's handshake, and what follows.
    fn server(chunks: &[&[u8]]) -> Vec<u8> {
        [vec![3; HANDSHAKE_BYTES], chunks.concat()].concat()
    }

    /// Kind, length of what is kept and last byte of all messages, read in parts of this size.
    fn messages(bytes: &[u8], size: usize) -> Result<Vec<(u8, usize, u8)>, Damaged> {
        let mut chunks = Chunks::new();
        let mut found = Vec::new();
        for mut bytes in bytes.chunks(size) {
            while let Some(Message { kind, start }) = chunks.next(&mut bytes)? {
                found.push((kind, start.len(), start.last().copied().unwrap_or(0)));
            }
            assert!(bytes.is_empty());
        }
        Ok(found)
    }

    #[track_caller]
    fn assert_messages(bytes: &[u8], expected: &[(u8, usize, u8)]) {
        for size in [1, 3, 50, bytes.len()] {
            assert_eq!(messages(bytes, size).as_deref(), Ok(expected), "in parts of {size}");
        }
    }

    #[test]
    fn messages_are_found_in_all_four_kinds_of_chunk() {
        let bytes = server(&[
            &[0x04, 0, 0, 1, 0, 0, 2, 8, 1, 0, 0, 0, 0xa1, 0xa2],
            &[0x44, 0, 0, 1, 0, 0, 3, 8, 0xb1, 0xb2, 0xb3],
            &[0x84, 0, 0, 1, 0xc1, 0xc2, 0xc3],
            &[0xc4, 0xd1, 0xd2, 0xd3],
        ]);
        assert_messages(&bytes, &[(8, 2, 0xa2), (8, 3, 0xb3), (8, 3, 0xc3), (8, 3, 0xd3)]);
    }

    #[test]
    fn chunks_of_two_messages_may_alternate_and_ids_may_be_long() {
        let bytes = server(&[
            &[0x00, 6, 0, 0, 1, 0, 0, 150, 9, 1, 0, 0, 0],
            &[7; 128],
            &[0x04, 0, 0, 1, 0, 0, 1, 8, 1, 0, 0, 0, 5],
            &[0xc0, 6],
            &[8; 22],
            &[0x01, 0, 1, 0, 0, 1, 0, 0, 1, 18, 1, 0, 0, 0, 9],
        ]);
        assert_messages(&bytes, &[(8, 1, 5), (9, 150, 8), (18, 1, 9)]);
    }

    #[test]
    fn chunk_size_is_what_the_server_says() {
        let bytes = server(&[
            &[0x02, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 100],
            &[0x06, 0, 0, 1, 0, 0, 150, 9, 1, 0, 0, 0],
            &[7; 100],
            &[0xc6],
            &[8; 50],
        ]);
        assert_messages(&bytes, &[(1, 4, 100), (9, 150, 8)]);
    }

    #[test]
    fn extended_time_stands_in_every_chunk_of_its_message() {
        let bytes = server(&[
            &[0x06, 0xff, 0xff, 0xff, 0, 0, 130, 9, 1, 0, 0, 0, 1, 0, 0, 0],
            &[7; 128],
            &[0xc6, 1, 0, 0, 0, 8, 9],
            &[0x46, 0, 0, 1, 0, 0, 1, 9, 3],
        ]);
        assert_messages(&bytes, &[(9, 130, 9), (9, 1, 3)]);
    }

    #[test]
    fn bytes_that_are_no_chunks_are_damaged() {
        for bytes in [
            &[0xc4, 1, 2][..],
            &[0x06, 0, 0, 1, 0, 0, 200, 9, 1, 0, 0, 0][..],
            &[0x02, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0][..],
        ] {
            let bytes = server(&[bytes, &[7; 128], &[0x06, 0, 0, 1, 0, 0, 9, 9, 1, 0, 0, 0]]);
            assert_eq!(messages(&bytes, 64), Err(Damaged));
        }
    }
}
