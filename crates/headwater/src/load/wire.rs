//! As much of what a server sends as must be read to count it: where messages begin and end, and their first bytes.

mod chunks;
mod tags;

use self::{chunks::Chunks, tags::Tags};

/// Finds the messages in a server's bytes. It copies their first bytes and steps over all others.
#[derive(Debug)]
pub(super) enum Wire {
    /// RTMP, from the first byte of the server's handshake.
    Rtmp(Chunks),
    /// FLV, from the first byte of the file.
    Flv(Tags),
}

/// A message that has come as a whole.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Message<'a> {
    /// RTMP's message type, or FLV's tag type.
    pub kind: u8,
    /// As much of its beginning as is kept: all of it for what is short.
    pub start: &'a [u8],
}

/// The server's bytes are not what they should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the server's bytes cannot be read")]
pub(super) struct Damaged;

/// So much of a message's beginning is kept: a stamp, a control message, or the name of a command and its code.
const START_BYTES: usize = 192;

impl Wire {
    /// RTMP.
    pub(super) fn rtmp() -> Self {
        Self::Rtmp(Chunks::new())
    }

    /// FLV.
    pub(super) fn flv() -> Self {
        Self::Flv(Tags::new())
    }

    /// The next message in these bytes, which shrink from the front; `None` when they are used up.
    pub(super) fn next(&mut self, bytes: &mut &[u8]) -> Result<Option<Message<'_>>, Damaged> {
        match self {
            Self::Rtmp(chunks) => chunks.next(bytes),
            Self::Flv(tags) => tags.next(bytes),
        }
    }
}

/// A message of which a part has come.
#[derive(Debug, Clone)]
struct Partial {
    kind: u8,
    /// Bytes of it that have not come.
    left: usize,
    start: Vec<u8>,
}

impl Partial {
    fn new() -> Self {
        Self { kind: 0, left: 0, start: Vec::new() }
    }

    /// A message begins.
    fn begin(&mut self, kind: u8, len: usize) {
        self.kind = kind;
        self.left = len;
        self.start.clear();
    }

    /// Takes at most this many of its bytes; returns how many.
    fn take(&mut self, bytes: &mut &[u8], most: usize) -> usize {
        let (taken, rest) = bytes.split_at(bytes.len().min(most).min(self.left));
        let kept = taken.len().min(START_BYTES - self.start.len());
        self.start.extend_from_slice(&taken[..kept]);
        self.left -= taken.len();
        *bytes = rest;
        taken.len()
    }

    fn message(&self) -> Message<'_> {
        Message { kind: self.kind, start: &self.start }
    }
}

/// Drops bytes from the front; returns whether all of them have come.
fn skip(bytes: &mut &[u8], left: &mut usize) -> bool {
    let skipped = bytes.len().min(*left);
    *bytes = &bytes[skipped..];
    *left -= skipped;
    *left == 0
}
