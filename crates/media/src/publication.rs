//! The identity of one encoder's session.

use std::{fmt, str::FromStr};

/// One encoder's session feeding a stream: 128 random bits, drawn where the encoder was first heard.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PublicationId(u128);

impl PublicationId {
    /// The id made of these random bits.
    pub const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    /// The bits of this id.
    pub fn bits(self) -> u128 {
        self.0
    }
}

impl fmt::Display for PublicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl fmt::Debug for PublicationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for PublicationId {
    type Err = ParsePublicationIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ParsePublicationIdError);
        }
        u128::from_str_radix(text, 16).map(Self).map_err(|_| ParsePublicationIdError)
    }
}

/// The text is not 32 hexadecimal digits.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a publication id is 32 hexadecimal digits")]
pub struct ParsePublicationIdError;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let id = PublicationId::from_bits(0x00ff_0000_0000_0000_0000_0000_0000_0001);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!("+1".parse::<PublicationId>(), Err(ParsePublicationIdError));
    }
}
