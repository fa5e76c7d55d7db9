//! Chunks into messages, for bytes that nobody vouches for.

use super::{
    DEFAULT_CHUNK_SIZE,
    header::{Header, HeaderBuffer},
    stream::ChunkStream,
};
use crate::{
    limits::Limits,
    message::{Control, Message, TruncatedControl, type_id},
};

/// Reassembles the messages of one connection, each in one buffer that grows with the bytes received: what a peer
/// announces costs nothing.
///
/// Applies Set Chunk Size and Abort itself and does not return them.
#[derive(Debug)]
pub struct Reader {
    bounds: Bounds,
    /// Bytes that messages under way may hold together.
    room: usize,
    chunk_size: usize,
    streams: Vec<ChunkStream>,
    /// The chunk whose payload is being read: its place in `streams` and the bytes to come.
    chunk: Option<(usize, usize)>,
    header: HeaderBuffer,
    /// What the buffers of messages under way hold, and the room they have beyond that.
    partial: usize,
    spare: usize,
    received: u64,
}

/// What of the limits concerns chunks: every connection has a reader, and few of them read much.
#[derive(Debug)]
struct Bounds {
    /// The longest message of each type; the first stands for all types that have no place here.
    message_bytes: [u32; type_id::AGGREGATE as usize + 1],
    partial_bytes: usize,
    streams: usize,
    chunk_size_min: u32,
}

impl Bounds {
    fn new(limits: &Limits) -> Self {
        let message_bytes = |type_id: usize| limits.message_bytes_max(type_id as u8).min(u32::MAX as usize) as u32;
        Self {
            message_bytes: std::array::from_fn(message_bytes),
            partial_bytes: limits.partial_bytes_max,
            streams: limits.chunk_streams_max,
            chunk_size_min: limits.chunk_size_min.max(1),
        }
    }

    fn message_bytes(&self, type_id: u8) -> usize {
        *self.message_bytes.get(usize::from(type_id)).unwrap_or(&self.message_bytes[0]) as usize
    }
}

impl Reader {
    /// A reader with all the room the limits give.
    pub fn new(limits: &Limits) -> Self {
        Self {
            bounds: Bounds::new(limits),
            room: limits.partial_bytes_max,
            chunk_size: DEFAULT_CHUNK_SIZE as usize,
            streams: Vec::new(),
            chunk: None,
            header: HeaderBuffer::default(),
            partial: 0,
            spare: 0,
            received: 0,
        }
    }

    /// A reader for a peer that has not shown what it wants: no message is longer than `pre_auth_bytes_max`, and all
    /// that are under way hold no more together, until [`Reader::lift_pre_auth`].
    pub fn before_auth(limits: &Limits) -> Self {
        Self { room: limits.pre_auth_bytes_max, ..Self::new(limits) }
    }

    /// The peer's publish or play was accepted: from now on the reader has all the room the limits give.
    pub fn lift_pre_auth(&mut self) {
        self.room = self.bounds.partial_bytes;
    }

    /// Reads up to the end of the next message and leaves in `input` what follows it.
    ///
    /// `None` means that all of `input` was taken. After an error the connection cannot be read further.
    pub fn poll_message(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Error> {
        let before = input.len();
        let result = self.read_message(input);
        self.received += (before - input.len()) as u64;
        result
    }

    /// All bytes taken so far, which is what an Acknowledgement says modulo 2^32.
    pub fn bytes_received(&self) -> u64 {
        self.received
    }

    /// Memory that messages under way take, in bytes.
    pub fn bytes_held(&self) -> usize {
        self.partial + self.spare
    }

    /// Marks all messages of which a part has come. Says whether one of them was marked before: it is not whole since then.
    pub fn mark_parts(&mut self) -> bool {
        let mut stale = false;
        for stream in self.streams.iter_mut().filter(|stream| stream.is_under_way()) {
            stale |= std::mem::replace(&mut stream.marked, true);
        }
        stale
    }

    fn read_message(&mut self, input: &mut &[u8]) -> Result<Option<Message>, Error> {
        loop {
            let (at, left) = match self.chunk {
                Some(chunk) => chunk,
                None => match self.header.poll_header(input, |csid| extended(&self.streams, csid)) {
                    Some(header) => self.start_chunk(header)?,
                    None => return Ok(None),
                },
            };
            let left = self.read_payload(at, left, input)?;
            if left > 0 {
                self.chunk = Some((at, left));
                return Ok(None);
            }
            self.chunk = None;
            if !self.streams[at].is_whole() {
                continue;
            }
            let message = self.finish(at);
            if !self.apply(&message)? {
                return Ok(Some(message));
            }
        }
    }

    /// The chunk stream's place, and the bytes of payload that follow the header.
    fn start_chunk(&mut self, header: Header) -> Result<(usize, usize), Error> {
        let at = match self.streams.iter().position(|stream| stream.csid == header.csid) {
            Some(at) => at,
            None => self.add_stream(&header)?,
        };
        let stream = &mut self.streams[at];
        stream.on_header(&header)?;
        let (type_id, length) = (stream.type_id, stream.length);
        let max = self.bounds.message_bytes(type_id).min(self.room);
        if length > max {
            return Err(Error::MessageTooLong { type_id, length, max });
        }
        Ok((at, stream.missing().min(self.chunk_size)))
    }

    fn add_stream(&mut self, header: &Header) -> Result<usize, Error> {
        let max = self.bounds.streams;
        if self.streams.len() >= max {
            return Err(Error::TooManyChunkStreams { max });
        }
        let stream = ChunkStream::new(header)?;
        // Most peers use two or three.
        self.streams.reserve_exact(1);
        self.streams.push(stream);
        Ok(self.streams.len() - 1)
    }

    /// Moves up to `left` bytes of payload and returns how many are still to come.
    fn read_payload(&mut self, at: usize, left: usize, input: &mut &[u8]) -> Result<usize, Error> {
        let carried = self.header.take_overrun(left);
        self.append(at, carried.bytes(), 0)?;
        let left = left - carried.bytes().len();
        let (payload, rest) = input.split_at(left.min(input.len()));
        self.append(at, payload, rest.len())?;
        *input = rest;
        Ok(left - payload.len())
    }

    /// Adds to a message under way; `in_hand` bytes have come that may be more of it.
    ///
    /// Room is made for what is there and as much again, or for what is in hand. So all buffers together take at most
    /// twice what they hold and one piece of input.
    fn append(&mut self, at: usize, payload: &[u8], in_hand: usize) -> Result<(), Error> {
        if payload.is_empty() {
            return Ok(());
        }
        self.partial += payload.len();
        if self.partial > self.room {
            return Err(Error::TooManyPartialBytes { max: self.room });
        }
        let stream = &mut self.streams[at];
        let buffer = &mut stream.buffer;
        self.spare -= buffer.capacity() - buffer.len();
        let needed = buffer.len() + payload.len();
        if needed > buffer.capacity() {
            let extra = buffer.len().max(in_hand.saturating_sub(self.spare));
            let capacity = (needed + extra).min(stream.length);
            buffer.reserve_exact(capacity - buffer.len());
        }
        buffer.extend_from_slice(payload);
        self.spare += buffer.capacity() - buffer.len();
        Ok(())
    }

    fn finish(&mut self, at: usize) -> Message {
        let stream = &mut self.streams[at];
        self.partial -= stream.buffer.len();
        self.spare -= stream.buffer.capacity() - stream.buffer.len();
        stream.take_message()
    }

    /// Obeys a message that concerns chunks; says whether it was one.
    fn apply(&mut self, message: &Message) -> Result<bool, Error> {
        if message.type_id > type_id::ABORT {
            return Ok(false);
        }
        match Control::parse(message)? {
            Some(Control::SetChunkSize(size)) => self.set_chunk_size(size)?,
            Some(Control::Abort { csid }) => self.abort(csid),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn set_chunk_size(&mut self, size: u32) -> Result<(), Error> {
        let min = self.bounds.chunk_size_min;
        if !(min..=0x7FFF_FFFF).contains(&size) {
            return Err(Error::ChunkSize { size, min });
        }
        self.chunk_size = size.min(IN_CHUNK_SIZE_MAX) as usize;
        Ok(())
    }

    fn abort(&mut self, csid: u32) {
        if let Some(at) = self.streams.iter().position(|stream| stream.csid == csid && stream.is_under_way()) {
            self.finish(at);
        }
    }
}

/// Larger chunks are never told from chunks of this size: RTMP's length field has three bytes.
const IN_CHUNK_SIZE_MAX: u32 = 0xFF_FFFF;

fn extended(streams: &[ChunkStream], csid: u32) -> Option<u32> {
    streams.iter().find(|stream| stream.csid == csid)?.extended
}

/// How a peer broke the chunk layer. The peer's fault, always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A chunk leans on an earlier header of its chunk stream, and there is none.
    #[error("chunk stream {csid} begins with a header that repeats one that never came")]
    NoPreviousHeader {
        /// The chunk stream.
        csid: u32,
    },
    /// A chunk in the middle of a message says it belongs to another message.
    #[error("a message on chunk stream {csid} changes its length, type or message stream half-way")]
    HeaderChanged {
        /// The chunk stream.
        csid: u32,
    },
    /// A message is announced that is longer than its type may be.
    #[error("a message of type {type_id} has {length} bytes; at most {max} are accepted")]
    MessageTooLong {
        /// The message's type.
        type_id: u8,
        /// The length announced.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// A chunk on one chunk stream more than are accepted.
    #[error("more than {max} chunk streams")]
    TooManyChunkStreams {
        /// The limit.
        max: usize,
    },
    /// The messages under way hold more than is accepted.
    #[error("messages under way hold more than {max} bytes")]
    TooManyPartialBytes {
        /// The limit.
        max: usize,
    },
    /// A chunk size is announced that is not acceptable.
    #[error("the chunk size {size} is not acceptable; it is {min} to 2147483647")]
    ChunkSize {
        /// The size announced.
        size: u32,
        /// The smallest accepted.
        min: u32,
    },
    /// A Set Chunk Size or Abort is shorter than four bytes.
    #[error(transparent)]
    Control(#[from] TruncatedControl),
}

impl Error {
    /// The limit that was reached, in a word for counting; none where the bytes are simply wrong.
    pub fn limit(&self) -> Option<&'static str> {
        match self {
            Self::MessageTooLong { .. } => Some("message_bytes"),
            Self::TooManyChunkStreams { .. } => Some("chunk_streams"),
            Self::TooManyPartialBytes { .. } => Some("partial_bytes"),
            Self::ChunkSize { .. } => Some("chunk_size"),
            Self::NoPreviousHeader { .. } | Self::HeaderChanged { .. } | Self::Control(_) => None,
        }
    }
}
