//! Data messages of type 15, made messages of type 18.

use bytes::Bytes;

use super::{Error, amf0};
use crate::limits::AmfLimits;

/// The body of type 18 that says the same as this body of type 15.
///
/// One without AMF3 values in it keeps its bytes. What only AMF3 can say (byte arrays, dictionaries) stays AMF3 within
/// the AMF0.
pub fn amf3_to_amf0(payload: &Bytes, limits: &AmfLimits) -> Result<Bytes, Error> {
    // The format byte. Some clients leave it out and begin with an AMF0 string.
    let body = payload.slice(usize::from(payload.first() == Some(&0))..);
    let mut decoder = amf0::Decoder::new(&body, limits);
    let mut values = Vec::new();
    while let Some(value) = decoder.next_value()? {
        values.push(value);
    }
    Ok(if decoder.has_amf3() { amf0::encode_all(&values) } else { body })
}
