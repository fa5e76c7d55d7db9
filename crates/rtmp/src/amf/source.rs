//! Bytes being decoded, and what is left of the budget for them.

use super::Error;
use crate::limits::AmfLimits;

/// A position in a message's bytes that counts what has been made of them; shared by both decoders.
#[derive(Debug)]
pub(super) struct Source<'a> {
    bytes: &'a [u8],
    at: usize,
    limits: &'a AmfLimits,
    depth: usize,
    values: usize,
    values_max: usize,
    text: usize,
    text_max: usize,
}

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8], limits: &'a AmfLimits) -> Self {
        let values_max = limits.values_max.min(bytes.len() + VALUES_SPARE);
        let text_max = limits.text_bytes_max.min(TEXT_PER_BYTE * bytes.len() + TEXT_SPARE);
        Self { bytes, at: 0, limits, depth: 0, values: 0, values_max, text: 0, text_max }
    }

    pub(super) fn position(&self) -> usize {
        self.at
    }

    pub(super) fn set_position(&mut self, at: usize) {
        self.at = at;
    }

    pub(super) fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Error> {
        let rest = self.bytes.get(self.at..).unwrap_or(&[]);
        let taken = rest.get(..count).ok_or(Error::Truncated)?;
        self.at += count;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        Ok(self.take(N)?.try_into().expect("as many bytes were taken"))
    }

    pub(super) fn u8(&mut self) -> Result<u8, Error> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    pub(super) fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_be_bytes(self.array()?))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_be_bytes(self.array()?))
    }

    pub(super) fn f64(&mut self) -> Result<f64, Error> {
        Ok(f64::from_be_bytes(self.array()?))
    }

    /// The next bytes as text, within the limits; what is not UTF-8 is replaced.
    pub(super) fn text(&mut self, length: usize) -> Result<String, Error> {
        let bytes = self.blob(length)?;
        Ok(String::from_utf8_lossy(bytes).into_owned())
    }

    /// The next bytes, within the limits for text.
    pub(super) fn blob(&mut self, length: usize) -> Result<&'a [u8], Error> {
        let max = self.limits.string_bytes_max;
        if length > max {
            return Err(Error::StringTooLong { max });
        }
        let bytes = self.take(length)?;
        self.count_text(length)?;
        Ok(bytes)
    }

    /// Counts a string made without reading it here.
    pub(super) fn count_text(&mut self, length: usize) -> Result<(), Error> {
        self.text += length;
        let max = self.text_max;
        if self.text > max { Err(Error::TooMuchText { max }) } else { Ok(()) }
    }

    pub(super) fn count_value(&mut self) -> Result<(), Error> {
        self.values += 1;
        let max = self.values_max;
        if self.values > max { Err(Error::TooManyValues { max }) } else { Ok(()) }
    }

    /// Fails when one more member would be too many.
    pub(super) fn check_key(&self, members: usize) -> Result<(), Error> {
        let max = self.limits.keys_max;
        if members >= max { Err(Error::TooManyKeys { max }) } else { Ok(()) }
    }

    /// Fails when the items announced are too many, or more than the bytes left can hold at this size each.
    pub(super) fn check_items(&self, count: usize, bytes_each: usize) -> Result<(), Error> {
        let max = self.limits.items_max;
        if count > max {
            return Err(Error::TooManyItems { max });
        }
        let left = self.bytes.len().saturating_sub(self.at);
        if count.saturating_mul(bytes_each) > left { Err(Error::Truncated) } else { Ok(()) }
    }

    /// Goes into an object or array; to be paired with [`Source::leave`] unless decoding fails.
    pub(super) fn enter(&mut self) -> Result<(), Error> {
        self.depth += 1;
        let max = self.limits.depth_max.min(AmfLimits::DEPTH_CEILING);
        if self.depth > max { Err(Error::TooDeep { max }) } else { Ok(()) }
    }

    pub(super) fn leave(&mut self) {
        self.depth -= 1;
    }
}

/// Values that a message may have besides one a byte. What is no reference takes a byte for each value at least.
const VALUES_SPARE: usize = 32;
/// Bytes of text for each byte of a message. Without references it is two at most, since names in AMF3 count as they are
/// sent and as they are used; objects that share the names of their class and of its members have more.
const TEXT_PER_BYTE: usize = 16;
/// Bytes of text that a message may have besides.
const TEXT_SPARE: usize = 64;
