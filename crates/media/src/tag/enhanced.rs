//! What Enhanced RTMP's audio and video bodies share: ModEx prefixes, FourCCs and multitrack.
//!
//! Work is linear in the body and bounded by [`MODEX_MAX`] and [`TRACKS_MAX`] besides.

use super::input::Input;

/// The packet type that says "a ModEx prefix follows", for audio and video alike.
const MODEX: u8 = 7;
/// More ModEx prefixes than this on one message are not looked through: the message is relayed opaque.
const MODEX_MAX: usize = 16;
/// Track ids are bytes, so more tracks than this in one message repeat themselves: relayed opaque.
const TRACKS_MAX: usize = 256;

/// The packet type behind the ModEx prefixes, if they end within the body.
pub(super) fn skip_modex(mut packet_type: u8, input: &mut Input<'_>) -> Option<u8> {
    for _ in 0..=MODEX_MAX {
        if packet_type != MODEX {
            return Some(packet_type);
        }
        let mut len = usize::from(input.u8()?) + 1;
        if len == 256 {
            len = input.u16()? + 1;
        }
        input.take(len)?;
        packet_type = input.u8()? & 0x0f;
    }
    None
}

/// One track's part of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Track<'a> {
    pub four_cc: [u8; 4],
    pub id: u8,
    pub body: Input<'a>,
}

/// The tracks of one message, in its order. Yields `None` inside for the first one that is cut short.
#[derive(Debug, Clone)]
pub(super) struct Tracks<'a> {
    pub packet_type: u8,
    shape: Shape,
    input: Input<'a>,
    yielded: usize,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    /// A FourCC has been read; the rest is track 0.
    Plain([u8; 4]),
    /// A FourCC has been read; track id and the rest.
    One([u8; 4]),
    /// A FourCC has been read; track id, size and body, repeated.
    ManySameCodec([u8; 4]),
    /// FourCC, track id, size and body, repeated.
    ManyCodecs,
}

impl<'a> Tracks<'a> {
    /// Reads up to the first track. `multitrack` is the packet type that says so; the inner one may not be it.
    pub(super) fn parse(packet_type: u8, multitrack: u8, mut input: Input<'a>) -> Option<Self> {
        if packet_type != multitrack {
            let shape = Shape::Plain(input.array()?);
            return Some(Self { packet_type, shape, input, yielded: 0 });
        }
        let byte = input.u8()?;
        let packet_type = byte & 0x0f;
        if packet_type == multitrack || packet_type == MODEX {
            return None;
        }
        let shape = match byte >> 4 {
            0 => Shape::One(input.array()?),
            1 => Shape::ManySameCodec(input.array()?),
            2 => Shape::ManyCodecs,
            _ => return None,
        };
        Some(Self { packet_type, shape, input, yielded: 0 })
    }

    /// Whether the message has room for several tracks.
    pub(super) fn many(&self) -> bool {
        matches!(self.shape, Shape::ManySameCodec(_) | Shape::ManyCodecs)
    }

    fn read(&mut self) -> Option<Track<'a>> {
        let four_cc = match self.shape {
            Shape::Plain(four_cc) | Shape::One(four_cc) | Shape::ManySameCodec(four_cc) => four_cc,
            Shape::ManyCodecs => self.input.array()?,
        };
        let id = if matches!(self.shape, Shape::Plain(_)) { 0 } else { self.input.u8()? };
        let len = if self.many() { self.input.u24()? as usize } else { self.input.0.len() };
        Some(Track { four_cc, id, body: Input(self.input.take(len)?) })
    }
}

impl<'a> Iterator for Tracks<'a> {
    type Item = Option<Track<'a>>;

    fn next(&mut self) -> Option<Self::Item> {
        let over = if self.many() { self.input.is_empty() } else { true };
        if self.yielded > 0 && over {
            return None;
        }
        if self.yielded == TRACKS_MAX {
            self.input = Input(&[]);
            return Some(None);
        }
        self.yielded += 1;
        let track = self.read();
        if track.is_none() {
            self.input = Input(&[]);
        }
        Some(track)
    }
}
