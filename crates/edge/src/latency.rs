//! How the settings say `lowest`, `balanced`, `throughput` or a number of milliseconds.

use std::{collections::BTreeMap, fmt, time::Duration};

use hub::Latency;
use media::StreamName;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A [`Latency`] as it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setting(pub Latency);

/// The latency of each stream: that of its app, or the one of all others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Latencies {
    pub(crate) default: Latency,
    pub(crate) apps: BTreeMap<String, Latency>,
}

/// Viewers who wait longer than this for a frame may as well be sent files.
const MERGED_MS_MAX: u64 = 10_000;

const WORDS: [(&str, Latency); 3] =
    [("lowest", Latency::Lowest), ("balanced", Latency::Balanced), ("throughput", Latency::THROUGHPUT)];

impl Latencies {
    /// The latency of a stream.
    pub(crate) fn of(&self, stream: &StreamName) -> Latency {
        self.apps.get(stream.app()).copied().unwrap_or(self.default)
    }
}

impl Serialize for Setting {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let word = WORDS.iter().find(|(_, latency)| *latency == self.0);
        match (word, self.0) {
            (Some((word, _)), _) => serializer.serialize_str(word),
            (None, Latency::Merged(bound)) => serializer.serialize_u64(bound.as_millis() as u64),
            (None, Latency::Lowest | Latency::Balanced) => unreachable!("there is a word for it"),
        }
    }
}

impl<'de> Deserialize<'de> for Setting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl de::Visitor<'_> for Visitor {
            type Value = Setting;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "lowest, balanced, throughput, or a number of milliseconds up to {MERGED_MS_MAX}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Setting, E> {
                let word = WORDS.iter().find(|(word, _)| *word == text);
                match (word, text.parse()) {
                    (Some((_, latency)), _) => Ok(Setting(*latency)),
                    (None, Ok(milliseconds)) => self.visit_u64(milliseconds),
                    (None, Err(_)) => Err(E::invalid_value(de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_u64<E: de::Error>(self, milliseconds: u64) -> Result<Setting, E> {
                match milliseconds {
                    0 => Ok(Setting(Latency::Lowest)),
                    1..=MERGED_MS_MAX => Ok(Setting(Latency::Merged(Duration::from_millis(milliseconds)))),
                    _ => Err(E::invalid_value(de::Unexpected::Unsigned(milliseconds), &self)),
                }
            }

            fn visit_i64<E: de::Error>(self, milliseconds: i64) -> Result<Setting, E> {
                match u64::try_from(milliseconds) {
                    Ok(milliseconds) => self.visit_u64(milliseconds),
                    Err(_) => Err(E::invalid_value(de::Unexpected::Signed(milliseconds), &self)),
                }
            }
        }
        deserializer.deserialize_any(Visitor)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn a_word_or_a_number_of_milliseconds_says_it() {
        let read = |value| from_value::<Setting>(value).map(|setting| setting.0).map_err(|error| error.to_string());
        assert_eq!(read(json!("lowest")), Ok(Latency::Lowest));
        assert_eq!(read(json!("balanced")), Ok(Latency::Balanced));
        assert_eq!(read(json!("throughput")), Ok(Latency::Merged(Duration::from_millis(350))));
        assert_eq!(read(json!(100)), Ok(Latency::Merged(Duration::from_millis(100))));
        assert_eq!((read(json!("100")), read(json!(0))), (read(json!(100)), Ok(Latency::Lowest)));
        for wrong in [json!("fast"), json!(10_001), json!(-1), json!(1.5), json!(null)] {
            let error = read(wrong).unwrap_err();
            assert!(error.contains("lowest, balanced, throughput, or a number of milliseconds"), "{error}");
        }
    }

    #[test]
    fn it_is_written_as_it_is_read() {
        for value in [json!("lowest"), json!("balanced"), json!("throughput"), json!(100)] {
            assert_eq!(to_value(from_value::<Setting>(value.clone()).unwrap()).unwrap(), value);
        }
    }

    #[test]
    fn an_app_may_have_its_own() {
        let apps = BTreeMap::from([("calls".to_owned(), Latency::Lowest)]);
        let latencies = Latencies { default: Latency::Balanced, apps };
        let of = |app| latencies.of(&StreamName::from_app(media::DEFAULT_VHOST, app, "a").unwrap());
        assert_eq!((of("calls"), of("live")), (Latency::Lowest, Latency::Balanced));
    }
}
