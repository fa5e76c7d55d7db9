//! A pattern for one part of a stream's name.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An exact text, a prefix followed by `*`, or `*`. Matching looks at each byte at most once.
///
/// Ordered by how specific it is: anything < shorter prefix < longer prefix < exact.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Pattern {
    /// `*`
    Any,
    /// A text with a `*` at its end; never empty.
    Prefix(String),
    /// The text itself.
    Exact(String),
}

impl Pattern {
    /// Whether the text fits.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Exact(exact) => text == exact,
        }
    }

    /// Grows with how specific it is.
    pub fn specificity(&self) -> u16 {
        match self {
            Self::Any => 0,
            Self::Prefix(prefix) => prefix.len() as u16,
            Self::Exact(_) => u16::MAX,
        }
    }
}

impl FromStr for Pattern {
    type Err = PatternError;

    fn from_str(text: &str) -> Result<Self, PatternError> {
        let (body, star) = match text.strip_suffix('*') {
            Some(body) => (body, true),
            None => (text, false),
        };
        if body.len() > PART_BYTES_MAX {
            return Err(PatternError::TooLong);
        }
        if body.contains('*') {
            return Err(PatternError::InnerStar);
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-');
        if let Some(byte) = body.bytes().find(|b| !plain(*b)) {
            return Err(PatternError::Forbidden(byte));
        }
        Ok(match (body, star) {
            ("", _) => Self::Any,
            (body, true) => Self::Prefix(body.to_owned()),
            (body, false) => Self::Exact(body.to_owned()),
        })
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("*"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
            Self::Exact(exact) => f.write_str(exact),
        }
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl TryFrom<String> for Pattern {
    type Error = PatternError;

    fn try_from(text: String) -> Result<Self, PatternError> {
        text.parse()
    }
}

impl From<Pattern> for String {
    fn from(pattern: Pattern) -> String {
        pattern.to_string()
    }
}

/// The longest part of a stream's name, in bytes.
const PART_BYTES_MAX: usize = 255;

/// Why a text is not a pattern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    /// A star stands elsewhere than at the end.
    #[error("a * may stand at the end only")]
    InnerStar,
    /// A byte that no stream's name has.
    #[error("the byte {0:#04x} is in no stream's name; allowed are letters, digits and . _ ~ -")]
    Forbidden(u8),
    /// Longer than any part of a stream's name.
    #[error("longer than {PART_BYTES_MAX} bytes")]
    TooLong,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Pattern {
        text.parse().unwrap()
    }

    #[test]
    fn exact_prefix_and_any_match_what_they_say() {
        assert!(pattern("*").matches("live") && pattern("").matches("live"));
        assert!(pattern("li*").matches("live") && !pattern("li*").matches("vod"));
        assert!(pattern("live").matches("live") && !pattern("live").matches("lives"));
    }

    #[test]
    fn the_longer_prefix_is_more_specific_and_exact_the_most() {
        let order = ["*", "l*", "li*", "x"].map(|text| pattern(text).specificity());
        assert!(order.is_sorted_by(|a, b| a < b), "{order:?}");
    }

    #[test]
    fn what_could_backtrack_or_never_match_is_refused() {
        assert_eq!("a*b".parse::<Pattern>(), Err(PatternError::InnerStar));
        assert_eq!("**".parse::<Pattern>(), Err(PatternError::InnerStar));
        assert_eq!("a/b".parse::<Pattern>(), Err(PatternError::Forbidden(b'/')));
        assert_eq!("x".repeat(256).parse::<Pattern>(), Err(PatternError::TooLong));
    }
}
