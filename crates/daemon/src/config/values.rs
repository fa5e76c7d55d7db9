//! Values with units, and values that are not shown.

use std::{fmt, ops::Deref, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};
use sha2::{Digest as _, Sha256};

/// A length of time, written `250ms`, `15s`, `1m30s` or `2h`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Period(pub Duration);

impl Period {
    /// So many seconds.
    pub const fn from_secs(seconds: u64) -> Self {
        Self(Duration::from_secs(seconds))
    }

    /// So many milliseconds.
    pub const fn from_millis(milliseconds: u64) -> Self {
        Self(Duration::from_millis(milliseconds))
    }
}

impl Deref for Period {
    type Target = Duration;
    fn deref(&self) -> &Duration {
        &self.0
    }
}

impl From<Period> for Duration {
    fn from(period: Period) -> Self {
        period.0
    }
}

impl From<Duration> for Period {
    fn from(duration: Duration) -> Self {
        Self(duration)
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.0.as_millis();
        if left == 0 {
            return f.write_str("0s");
        }
        for (unit, size) in [("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)] {
            if left >= size {
                write!(f, "{}{unit}", left / size)?;
                left %= size;
            }
        }
        Ok(())
    }
}

/// A text that is no [`Period`] or [`Size`].
#[derive(Debug, thiserror::Error)]
#[error("{given:?} is {problem}; write {examples}")]
pub struct UnitError {
    given: String,
    problem: &'static str,
    examples: &'static str,
}

impl FromStr for Period {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = |problem| UnitError { given: text.to_owned(), problem, examples: "e.g. 250ms, 15s, 1m30s or 2h" };
        let mut rest = text.trim();
        let mut total = Duration::ZERO;
        if rest.is_empty() {
            return Err(error("no length of time"));
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or(error("a number without a unit"))?;
            let (number, tail) = rest.split_at(digits);
            let letters = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
            let (unit, tail) = tail.split_at(letters);
            let number: u32 = number.parse().map_err(|_| error("no length of time"))?;
            let unit = match unit {
                "ms" => Duration::from_millis(1),
                "s" => Duration::from_secs(1),
                "m" => Duration::from_secs(60),
                "h" => Duration::from_secs(3600),
                _ => return Err(error("no length of time")),
            };
            total = total.saturating_add(unit.saturating_mul(number));
            rest = tail;
        }
        Ok(Self(total))
    }
}

/// A number of bytes, written `512KiB`, `32MiB`, `2GB` or as a plain number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(pub u64);

const UNITS: [(&str, u64); 6] =
    [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("GB", 1_000_000_000), ("MB", 1_000_000), ("KB", 1000)];

impl Size {
    /// So many MiB.
    pub const fn from_mib(mib: u64) -> Self {
        Self(mib << 20)
    }

    /// The number of bytes, as much as this machine can address.
    pub fn bytes(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = UNITS.iter().filter(|(_, size)| self.0 > 0 && self.0.is_multiple_of(*size));
        match whole.max_by_key(|(_, size)| *size) {
            Some((unit, size)) => write!(f, "{}{unit}", self.0 / size),
            None => write!(f, "{}", self.0),
        }
    }
}

impl FromStr for Size {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        let error = |problem| UnitError { given: text.to_owned(), problem, examples: "e.g. 512KiB, 32MiB or 1048576" };
        let text_ = text.trim();
        let unit = UNITS.iter().find_map(|(unit, size)| Some((text_.strip_suffix(unit)?.trim_end(), *size)));
        let (number, size) = unit.unwrap_or((text_, 1));
        let number: u64 = number.parse().map_err(|_| error("no number of bytes"))?;
        number.checked_mul(size).map(Self).ok_or(error("too much"))
    }
}

macro_rules! as_text {
    ($name:ident, $or_number:expr) => {
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                #[derive(Deserialize)]
                #[serde(untagged)]
                enum Given {
                    Number(u64),
                    Text(String),
                }
                let text = match Given::deserialize(deserializer) {
                    Ok(Given::Number(number)) => number.to_string(),
                    Ok(Given::Text(text)) => text,
                    Err(_) => return Err(D::Error::custom($or_number)),
                };
                text.parse().map_err(D::Error::custom)
            }
        }
    };
}

as_text!(Period, "no length of time; write e.g. 250ms, 15s, 1m30s or 2h");
as_text!(Size, "no number of bytes; write e.g. 512KiB, 32MiB or 1048576");

/// A password or key in a configuration: never printed, only the beginning of its hash.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(secret: impl Into<String>) -> Self {
        Self(secret.into())
    }

    /// The secret itself: for the one place that needs it.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        let hash = Sha256::digest(self.0.as_bytes());
        write!(f, "secret:{:02x}{:02x}", hash[0], hash[1])
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({self})")
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn periods_are_read_and_written_with_units() {
        for (text, millis) in [("250ms", 250), ("15s", 15_000), ("1m30s", 90_000), ("2h", 7_200_000), ("0s", 0)] {
            let period: Period = text.parse().expect(text);
            assert_eq!(period.as_millis(), millis);
            assert_eq!(period.to_string(), text);
        }
        for text in ["15", "", "s", "1.5s", "3 weeks", "99999999999s"] {
            let error = text.parse::<Period>().expect_err(text).to_string();
            assert!(error.contains("1m30s"), "{error}");
        }
    }

    #[test]
    fn sizes_are_read_and_written_with_units() {
        for (text, bytes) in [("512KiB", 524_288), ("32MiB", 33_554_432), ("2GB", 2_000_000_000), ("1025", 1025)] {
            let size: Size = text.parse().expect(text);
            assert_eq!(size.0, bytes);
            assert_eq!(size.to_string(), text);
        }
        assert!("99999999999GiB".parse::<Size>().is_err());
        assert!("-1".parse::<Size>().is_err());
    }

    #[test]
    fn secret_is_never_printed() {
        let secret = Secret::new("hunter2");
        let yaml = serde_yaml::to_string(&secret).expect("plain data");
        for text in [format!("{secret}"), format!("{secret:?}"), yaml] {
            assert!(!text.contains("hunter2") && text.contains("secret:"), "{text}");
        }
    }
}
