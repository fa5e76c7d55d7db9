//! AMF0 (2007): what commands and data messages are written in.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Error, Value, amf3, source::Source};
use crate::limits::AmfLimits;

/// Decodes all values of a message's body.
pub fn decode_all(bytes: &[u8], limits: &AmfLimits) -> Result<Vec<Value>, Error> {
    let mut decoder = Decoder::new(bytes, limits);
    let mut values = Vec::new();
    while let Some(value) = decoder.next_value()? {
        values.push(value);
    }
    Ok(values)
}

/// Encodes values one after the other.
pub fn encode_all(values: &[Value]) -> Bytes {
    let mut out = BytesMut::new();
    for value in values {
        encode(value, &mut out);
    }
    out.freeze()
}

/// Decodes the values of one message one by one, within one budget for all of them.
#[derive(Debug)]
pub struct Decoder<'a> {
    source: Source<'a>,
    /// Objects and arrays in the order in which they began: what references count.
    complex: Vec<Complex>,
    /// Decoding something again because a reference asks for it.
    replaying: bool,
    has_amf3: bool,
}

/// Where an object or array that can be referred to begins.
#[derive(Debug, Clone, Copy)]
struct Complex {
    at: usize,
    /// Its end has not been read yet.
    open: bool,
}

impl<'a> Decoder<'a> {
    /// Starts at the first byte.
    pub fn new(bytes: &'a [u8], limits: &'a AmfLimits) -> Self {
        Self { source: Source::new(bytes, limits), complex: Vec::new(), replaying: false, has_amf3: false }
    }

    /// The next value; `None` at the end of the bytes. After an error nothing more can be read.
    pub fn next_value(&mut self) -> Result<Option<Value>, Error> {
        match self.source.peek() {
            Some(_) => self.value().map(Some),
            None => Ok(None),
        }
    }

    /// Bytes decoded so far.
    pub fn position(&self) -> usize {
        self.source.position()
    }

    /// Whether any value so far was AMF3.
    pub fn has_amf3(&self) -> bool {
        self.has_amf3
    }

    fn value(&mut self) -> Result<Value, Error> {
        self.source.count_value()?;
        let at = self.source.position();
        Ok(match self.source.u8()? {
            marker::NUMBER => Value::Number(self.source.f64()?),
            marker::BOOLEAN => Value::Bool(self.source.u8()? != 0),
            marker::STRING => Value::String(self.short_text()?),
            marker::NULL => Value::Null,
            marker::UNDEFINED | marker::UNSUPPORTED => Value::Undefined,
            marker::REFERENCE => self.reference()?,
            marker::DATE => Value::Date { unix_ms: self.source.f64()?, zone: self.source.u16()? as i16 },
            marker::LONG_STRING => Value::String(self.long_text()?),
            marker::XML => Value::Xml(self.long_text()?),
            marker::AMF3 => {
                self.has_amf3 = true;
                amf3::decode_from(&mut self.source)?
            }
            complex => self.complex(complex, at)?,
        })
    }

    /// An object or array whose marker, at `at`, has been read.
    fn complex(&mut self, marker: u8, at: usize) -> Result<Value, Error> {
        self.source.enter()?;
        let index = self.complex.len();
        let registered = !self.replaying;
        if registered {
            self.complex.push(Complex { at, open: true });
        }
        let value = match marker {
            marker::OBJECT => Value::Object(self.members()?),
            marker::ECMA_ARRAY => {
                self.source.u32()?; // The count: a hint that need not be true.
                Value::EcmaArray(self.members()?)
            }
            marker::STRICT_ARRAY => Value::StrictArray(self.items()?),
            marker::TYPED_OBJECT => Value::Typed { class: self.short_text()?, members: self.members()? },
            unknown => return Err(Error::UnknownMarker(unknown)),
        };
        if registered {
            self.complex[index].open = false;
        }
        self.source.leave();
        Ok(value)
    }

    /// Decodes again what the reference means: a copy costs as much of the budget as the original.
    fn reference(&mut self) -> Result<Value, Error> {
        let index = self.source.u16()?;
        let target = *self.complex.get(usize::from(index)).ok_or(Error::UnknownReference)?;
        if target.open {
            return Err(Error::CyclicReference);
        }
        let (back, replaying) = (self.source.position(), std::mem::replace(&mut self.replaying, true));
        self.source.set_position(target.at);
        let value = self.value()?;
        self.source.set_position(back);
        self.replaying = replaying;
        Ok(value)
    }

    fn members(&mut self) -> Result<Vec<(String, Value)>, Error> {
        let mut members = Vec::new();
        loop {
            let key = self.short_text()?;
            if key.is_empty() && self.source.peek() == Some(marker::OBJECT_END) {
                self.source.u8()?;
                return Ok(members);
            }
            self.source.check_key(members.len())?;
            members.push((key, self.value()?));
        }
    }

    fn items(&mut self) -> Result<Vec<Value>, Error> {
        let count = self.source.u32()? as usize;
        self.source.check_items(count, 1)?;
        (0..count).map(|_| self.value()).collect()
    }

    fn short_text(&mut self) -> Result<String, Error> {
        let length = self.source.u16()?;
        self.source.text(length.into())
    }

    fn long_text(&mut self) -> Result<String, Error> {
        let length = self.source.u32()?;
        self.source.text(length as usize)
    }
}

/// Encodes one value. What AMF0 has no word for (byte arrays, dictionaries) is put in as AMF3.
///
/// Keys and class names are cut at 65535 bytes, which is all that AMF0 can say.
pub fn encode(value: &Value, out: &mut BytesMut) {
    match value {
        Value::Null => out.put_u8(marker::NULL),
        Value::Undefined => out.put_u8(marker::UNDEFINED),
        Value::Bool(truth) => out.put_slice(&[marker::BOOLEAN, (*truth).into()]),
        Value::Number(number) => {
            out.put_u8(marker::NUMBER);
            out.put_f64(*number);
        }
        Value::String(text) if text.len() <= SHORT_TEXT_BYTES_MAX => {
            out.put_u8(marker::STRING);
            put_short_text(text, out);
        }
        Value::String(text) => put_long_text(marker::LONG_STRING, text, out),
        Value::Xml(text) => put_long_text(marker::XML, text, out),
        Value::Date { unix_ms, zone } => {
            out.put_u8(marker::DATE);
            out.put_f64(*unix_ms);
            out.put_i16(*zone);
        }
        Value::Object(members) => {
            out.put_u8(marker::OBJECT);
            put_members(members, out);
        }
        Value::EcmaArray(members) => {
            out.put_u8(marker::ECMA_ARRAY);
            out.put_u32(members.len() as u32);
            put_members(members, out);
        }
        Value::Typed { class, members } => {
            out.put_u8(marker::TYPED_OBJECT);
            put_short_text(class, out);
            put_members(members, out);
        }
        Value::StrictArray(items) => {
            out.put_u8(marker::STRICT_ARRAY);
            out.put_u32(items.len() as u32);
            for item in items {
                encode(item, out);
            }
        }
        Value::Bytes(_) | Value::Dictionary(_) => {
            out.put_u8(marker::AMF3);
            amf3::encode(value, out);
        }
    }
}

fn put_members(members: &[(String, Value)], out: &mut BytesMut) {
    for (key, value) in members {
        put_short_text(key, out);
        encode(value, out);
    }
    out.put_slice(&[0, 0, marker::OBJECT_END]);
}

fn put_short_text(text: &str, out: &mut BytesMut) {
    let text = &text[..text.floor_char_boundary(SHORT_TEXT_BYTES_MAX)];
    out.put_u16(text.len() as u16);
    out.put_slice(text.as_bytes());
}

fn put_long_text(marker: u8, text: &str, out: &mut BytesMut) {
    out.put_u8(marker);
    out.put_u32(text.len() as u32);
    out.put_slice(text.as_bytes());
}

/// The longest text with a length of 16 bits.
const SHORT_TEXT_BYTES_MAX: usize = u16::MAX as usize;

/// Type markers (AMF0, 2.1).
pub(super) mod marker {
    pub const NUMBER: u8 = 0x00;
    pub const BOOLEAN: u8 = 0x01;
    pub const STRING: u8 = 0x02;
    pub const OBJECT: u8 = 0x03;
    pub const NULL: u8 = 0x05;
    pub const UNDEFINED: u8 = 0x06;
    pub const REFERENCE: u8 = 0x07;
    pub const ECMA_ARRAY: u8 = 0x08;
    pub const OBJECT_END: u8 = 0x09;
    pub const STRICT_ARRAY: u8 = 0x0A;
    pub const DATE: u8 = 0x0B;
    pub const LONG_STRING: u8 = 0x0C;
    pub const UNSUPPORTED: u8 = 0x0D;
    pub const XML: u8 = 0x0F;
    pub const TYPED_OBJECT: u8 = 0x10;
    pub const AMF3: u8 = 0x11;
}
