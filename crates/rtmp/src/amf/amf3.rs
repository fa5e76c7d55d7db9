//! AMF3 (2013): what AMF0 switches to for one value at a time.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Error, Value, source::Source};
use crate::limits::AmfLimits;

mod decode;

pub(super) use decode::decode_from;

/// Decodes values one after the other, each with reference tables of its own.
pub fn decode_all(bytes: &[u8], limits: &AmfLimits) -> Result<Vec<Value>, Error> {
    let mut source = Source::new(bytes, limits);
    let mut values = Vec::new();
    while source.peek().is_some() {
        values.push(decode_from(&mut source)?);
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

/// Encodes one value, without references.
///
/// A date loses its zone, for which AMF3 has no place. An empty ECMA array becomes a strict one, and one with an empty
/// key, which AMF3 arrays cannot have, an object.
pub fn encode(value: &Value, out: &mut BytesMut) {
    match value {
        Value::Null => out.put_u8(marker::NULL),
        Value::Undefined => out.put_u8(marker::UNDEFINED),
        Value::Bool(false) => out.put_u8(marker::FALSE),
        Value::Bool(true) => out.put_u8(marker::TRUE),
        Value::Number(number) => put_number(*number, out),
        Value::String(text) => {
            out.put_u8(marker::STRING);
            put_blob(text.as_bytes(), out);
        }
        Value::Xml(text) => {
            out.put_u8(marker::XML);
            put_blob(text.as_bytes(), out);
        }
        Value::Bytes(bytes) => {
            out.put_u8(marker::BYTE_ARRAY);
            put_blob(bytes, out);
        }
        Value::Date { unix_ms, .. } => {
            out.put_u8(marker::DATE);
            put_length(0, out);
            out.put_f64(*unix_ms);
        }
        Value::EcmaArray(members) if members.iter().all(|(key, _)| !key.is_empty()) => put_array(members, &[], out),
        Value::StrictArray(items) => put_array(&[], items, out),
        Value::Object(members) | Value::EcmaArray(members) => put_object("", members, out),
        Value::Typed { class, members } => put_object(class, members, out),
        Value::Dictionary(pairs) => {
            out.put_u8(marker::DICTIONARY);
            put_length(pairs.len(), out);
            out.put_u8(0); // Keys are held strongly.
            for (key, value) in pairs {
                encode(key, out);
                encode(value, out);
            }
        }
    }
}

fn put_number(number: f64, out: &mut BytesMut) {
    let integer = number as i32;
    let exact = f64::from(integer).to_bits() == number.to_bits();
    if exact && (INTEGER_MIN..=INTEGER_MAX).contains(&integer) {
        out.put_u8(marker::INTEGER);
        put_u29(integer as u32 & U29_MAX, out);
    } else {
        out.put_u8(marker::DOUBLE);
        out.put_f64(number);
    }
}

fn put_array(members: &[(String, Value)], items: &[Value], out: &mut BytesMut) {
    out.put_u8(marker::ARRAY);
    put_length(items.len(), out);
    for (key, value) in members {
        put_blob(key.as_bytes(), out);
        encode(value, out);
    }
    put_blob(&[], out);
    for item in items {
        encode(item, out);
    }
}

/// All members go into the trait: unlike dynamic ones they may have an empty name.
fn put_object(class: &str, members: &[(String, Value)], out: &mut BytesMut) {
    out.put_u8(marker::OBJECT);
    put_u29((members.len() as u32) << 4 | DYNAMIC | INLINE_TRAITS | INLINE, out);
    put_blob(class.as_bytes(), out);
    for (key, _) in members {
        put_blob(key.as_bytes(), out);
    }
    for (_, value) in members {
        encode(value, out);
    }
    put_blob(&[], out);
}

fn put_blob(bytes: &[u8], out: &mut BytesMut) {
    put_length(bytes.len(), out);
    out.put_slice(bytes);
}

fn put_length(length: usize, out: &mut BytesMut) {
    put_u29((length as u32) << 1 | INLINE, out);
}

fn put_u29(number: u32, out: &mut BytesMut) {
    let seven = |shift: u32| (number >> shift) as u8 & 0x7F;
    match number {
        0..0x80 => out.put_u8(number as u8),
        0x80..0x4000 => out.put_slice(&[seven(7) | 0x80, seven(0)]),
        0x4000..0x20_0000 => out.put_slice(&[seven(14) | 0x80, seven(7) | 0x80, seven(0)]),
        // The fourth byte has eight bits.
        _ => out.put_slice(&[seven(22) | 0x80, seven(15) | 0x80, seven(8) | 0x80, number as u8]),
    }
}

const U29_MAX: u32 = 0x1FFF_FFFF;
const INTEGER_MIN: i32 = -0x1000_0000;
const INTEGER_MAX: i32 = 0x0FFF_FFFF;

// Bits of an object's first number (AMF3, 3.12).
const INLINE: u32 = 1;
const INLINE_TRAITS: u32 = 2;
const EXTERNALIZABLE: u32 = 4;
const DYNAMIC: u32 = 8;

/// Type markers (AMF3, 3.1).
mod marker {
    pub const UNDEFINED: u8 = 0x00;
    pub const NULL: u8 = 0x01;
    pub const FALSE: u8 = 0x02;
    pub const TRUE: u8 = 0x03;
    pub const INTEGER: u8 = 0x04;
    pub const DOUBLE: u8 = 0x05;
    pub const STRING: u8 = 0x06;
    pub const XML_DOCUMENT: u8 = 0x07;
    pub const DATE: u8 = 0x08;
    pub const ARRAY: u8 = 0x09;
    pub const OBJECT: u8 = 0x0A;
    pub const XML: u8 = 0x0B;
    pub const BYTE_ARRAY: u8 = 0x0C;
    pub const VECTOR_INT: u8 = 0x0D;
    pub const VECTOR_UINT: u8 = 0x0E;
    pub const VECTOR_DOUBLE: u8 = 0x0F;
    pub const VECTOR_OBJECT: u8 = 0x10;
    pub const DICTIONARY: u8 = 0x11;
}
