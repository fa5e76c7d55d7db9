//! Chunk headers, read from bytes that may end anywhere (RTMP 1.0, 5.3.1).

use super::writer::EXTENDED;

/// A chunk's header as it stands on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) csid: u32,
    pub(super) form: Form,
    /// Whether four more bytes with the whole time, or their repetition in format 3, were part of it.
    pub(super) extended: bool,
}

/// The four formats and what each says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Full { timestamp: u32, body: Body, msid: u32 },
    SameStream { delta: u32, body: Body },
    SameBody { delta: u32 },
    Same,
}

/// What formats 0 and 1 say of the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Body {
    pub(super) length: usize,
    pub(super) type_id: u8,
}

/// Takes headers off the input, however it is cut.
#[derive(Debug, Default)]
pub(super) struct HeaderBuffer {
    /// The start of a header whose end has not come yet, or bytes that looked like one and were payload.
    carry: Carry,
}

/// A few bytes, as many as the longest header has.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Carry {
    bytes: [u8; HEADER_BYTES_MAX],
    len: usize,
}

impl HeaderBuffer {
    /// The next header; `None` when all of the input was taken and is not enough.
    ///
    /// `extended_of` gives the extended time in force on a chunk stream.
    pub(super) fn poll_header(
        &mut self,
        input: &mut &[u8],
        extended_of: impl Fn(u32) -> Option<u32>,
    ) -> Option<Header> {
        if self.carry.len == 0
            && let Some((header, length)) = Header::parse(input, &extended_of)
        {
            *input = &input[length..];
            return Some(header);
        }
        let carried = self.carry.len;
        let added = self.carry.fill(input);
        match Header::parse(self.carry.bytes(), &extended_of) {
            Some((header, length)) => {
                *input = &input[length.saturating_sub(carried)..];
                self.carry.keep(length, carried);
                Some(header)
            }
            None => {
                *input = &input[added..];
                None
            }
        }
    }

    /// Up to `max` bytes that were taken as the start of a repeated time and are payload after all.
    pub(super) fn take_overrun(&mut self, max: usize) -> Carry {
        let mut taken = self.carry;
        taken.len = taken.len.min(max);
        self.carry.keep(taken.len, self.carry.len);
        taken
    }
}

impl Carry {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Adds what there is room for and says how much that was.
    fn fill(&mut self, input: &[u8]) -> usize {
        let added = input.len().min(HEADER_BYTES_MAX - self.len);
        self.bytes[self.len..self.len + added].copy_from_slice(&input[..added]);
        self.len += added;
        added
    }

    /// Keeps the bytes in this range alone.
    fn keep(&mut self, from: usize, to: usize) {
        let to = to.max(from);
        self.bytes.copy_within(from..to, 0);
        self.len = to - from;
    }
}

/// The longest header: a three-byte basic header, eleven bytes, an extended timestamp.
const HEADER_BYTES_MAX: usize = 3 + 11 + 4;

impl Header {
    /// Reads a header and its length; `None` when more bytes are needed to tell.
    ///
    /// A format 3 chunk should repeat the extended time in force; some old encoders leave it out. The bytes that follow
    /// are the repetition if they are equal to it.
    fn parse(bytes: &[u8], extended_of: impl Fn(u32) -> Option<u32>) -> Option<(Self, usize)> {
        let (csid, basic) = basic_header(bytes)?;
        let rest = &bytes[basic..];
        let (form, extended, length) = match bytes[0] >> 6 {
            0 => {
                let fields = rest.get(..11)?;
                let (timestamp, extended) = time(rest, 11)?;
                let msid = u32::from_le_bytes([fields[7], fields[8], fields[9], fields[10]]);
                (Form::Full { timestamp, body: body(fields), msid }, extended, 11)
            }
            1 => {
                let fields = rest.get(..7)?;
                let (delta, extended) = time(rest, 7)?;
                (Form::SameStream { delta, body: body(fields) }, extended, 7)
            }
            2 => {
                let (delta, extended) = time(rest, 3)?;
                (Form::SameBody { delta }, extended, 3)
            }
            _ => (Form::Same, repeats(rest, extended_of(csid))?, 0),
        };
        let length = basic + length + if extended { 4 } else { 0 };
        Some((Self { csid, form, extended }, length))
    }
}

fn basic_header(bytes: &[u8]) -> Option<(u32, usize)> {
    let byte = |at: usize| bytes.get(at).map(|byte| u32::from(*byte));
    match byte(0)? & 0x3F {
        0 => Some((64 + byte(1)?, 2)),
        1 => Some((64 + byte(1)? + 256 * byte(2)?, 3)),
        csid => Some((csid, 1)),
    }
}

/// The time at the start of the fields, taken from behind them if it is extended.
fn time(fields: &[u8], length: usize) -> Option<(u32, bool)> {
    match be24(fields.get(..3)?) {
        EXTENDED => {
            let bytes = fields.get(length..length + 4)?;
            Some((u32::from_be_bytes(bytes.try_into().expect("four bytes were taken")), true))
        }
        time => Some((time, false)),
    }
}

fn body(fields: &[u8]) -> Body {
    Body { length: be24(&fields[3..6]) as usize, type_id: fields[6] }
}

fn be24(bytes: &[u8]) -> u32 {
    u32::from_be_bytes([0, bytes[0], bytes[1], bytes[2]])
}

/// Whether the bytes begin with the extended time; `None` while they may.
fn repeats(bytes: &[u8], extended: Option<u32>) -> Option<bool> {
    let Some(extended) = extended else { return Some(false) };
    let expected = extended.to_be_bytes();
    let have = bytes.len().min(4);
    if bytes[..have] != expected[..have] {
        return Some(false);
    }
    (have == 4).then_some(true)
}
