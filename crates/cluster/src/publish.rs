//! Who may publish.

use std::{collections::HashMap, fmt, path::PathBuf};

use media::StreamName;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor},
};
use sha2::{Digest, Sha256};

use crate::{Pattern, PatternError, RouteMatch};

/// Answers whether an encoder may publish a stream. Asked at the edge and at the origin alike.
#[derive(Clone)]
pub enum PublishPolicy {
    /// Everybody may.
    Open,
    /// Whoever has a key for the stream may.
    Keys(Keys),
}

/// The keys of a file, hashed.
#[derive(Clone, Default)]
pub struct Keys {
    /// Those of one application's one stream, by both: most files have few others, and these may be many.
    exact: HashMap<String, Vec<Key>>,
    /// Those with a `*` in either.
    patterns: Vec<Key>,
    len: usize,
}

#[derive(Clone)]
struct Key {
    streams: RouteMatch,
    hash: [u8; 32],
}

impl PublishPolicy {
    /// Reads a keys file: on each line a stream pattern and a hashed key, `live/foo sha256:9f86d0…`. A pattern is
    /// `app/stream` or `app/instance/stream`, each part with a `*` at its end if need be. Empty lines and lines that
    /// begin with `#` are skipped. A file without keys admits nobody.
    pub fn from_keys(file: &str) -> Result<Self, KeysError> {
        let mut keys = Keys::default();
        for (place, line) in file.lines().enumerate() {
            let line_number = place + 1;
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            if keys.len == KEYS_MAX {
                return Err(KeysError::TooMany { line: line_number });
            }
            keys.add(Key::parse(line, line_number)?);
        }
        Ok(Self::Keys(keys))
    }

    /// Whether the holder of this key (none: of no key) may publish the stream. Takes the same time whichever of the
    /// stream's keys is right, and whether one is; how many it has is no secret.
    pub fn allows(&self, name: &StreamName, key: Option<&str>) -> bool {
        let Self::Keys(keys) = self else { return true };
        let Some(key) = key.filter(|key| !key.is_empty()) else { return false };
        let given: [u8; 32] = Sha256::digest(key).into();
        let fitting = keys.near(name).filter(|known| known.streams.mismatch(name).is_none());
        fitting.fold(0, |found, known| found | equal(&known.hash, &given)) == 1
    }
}

impl Keys {
    fn add(&mut self, key: Key) {
        self.len += 1;
        match (&key.streams.app, &key.streams.stream) {
            (Pattern::Exact(app), Pattern::Exact(stream)) => self.exact.entry(path(app, stream)).or_default().push(key),
            _ => self.patterns.push(key),
        }
    }

    /// All that may fit the stream.
    fn near(&self, name: &StreamName) -> impl Iterator<Item = &Key> {
        self.exact.get(&path(name.app(), name.name())).into_iter().flatten().chain(&self.patterns)
    }
}

fn path(app: &str, stream: &str) -> String {
    format!("{app}/{stream}")
}

/// How a key is written in a keys file.
pub fn hashed(key: &str) -> String {
    let digits: String = Sha256::digest(key).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{HASH_PREFIX}{digits}")
}

/// 1 when equal, 0 when not, without a branch on the content.
fn equal(a: &[u8; 32], b: &[u8; 32]) -> u8 {
    let difference = std::hint::black_box(a.iter().zip(b).fold(0_u8, |all, (a, b)| all | (a ^ b)));
    u8::from(difference == 0)
}

impl Key {
    fn parse(text: &str, line: usize) -> Result<Self, KeysError> {
        let (pattern, hash) = text.split_once(char::is_whitespace).ok_or(KeysError::Form { line })?;
        if !pattern.contains('/') {
            return Err(KeysError::Form { line });
        }
        let streams = RouteMatch::from_path(pattern).map_err(|why| KeysError::Pattern { line, why })?;
        let digits = hash.trim().strip_prefix(HASH_PREFIX).ok_or(KeysError::Hash { line })?;
        if digits.len() != 64 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(KeysError::Hash { line });
        }
        let mut hash = [0; 32];
        for (place, byte) in hash.iter_mut().enumerate() {
            let pair = &digits[2 * place..2 * place + 2];
            *byte = u8::from_str_radix(pair, 16).expect("both are hexadecimal digits");
        }
        Ok(Self { streams, hash })
    }
}

impl fmt::Debug for PublishPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("Open"),
            Self::Keys(keys) => write!(f, "Keys({} of them)", keys.len),
        }
    }
}

/// What a hash is written with.
const HASH_PREFIX: &str = "sha256:";
/// How many keys a file may have: those with a `*` are looked at for each encoder that has a key.
const KEYS_MAX: usize = 100_000;

/// What is wrong with a keys file, and where. Never shows what stands there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeysError {
    /// The line is not a pattern and a hash.
    #[error("line {line}: expected APP/STREAM sha256:HEX")]
    Form {
        /// The first line is 1.
        line: usize,
    },
    /// The pattern is wrong.
    #[error("line {line}: the stream pattern: {why}")]
    Pattern {
        /// The first line is 1.
        line: usize,
        /// What is wrong.
        why: PatternError,
    },
    /// The hash is not one.
    #[error("line {line}: expected sha256: and 64 hexadecimal digits; printf %s KEY | sha256sum makes them")]
    Hash {
        /// The first line is 1.
        line: usize,
    },
    /// Too many lines.
    #[error("line {line}: more than {KEYS_MAX} keys")]
    TooMany {
        /// The first line is 1.
        line: usize,
    },
}

/// The setting `publish`: `open`, or `{ keys_file: PATH }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublishConfig {
    /// Everybody may publish.
    Open,
    /// Whoever has a key in this file may.
    KeysFile(PathBuf),
}

impl Serialize for PublishConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Open => serializer.serialize_str("open"),
            Self::KeysFile(path) => serializer.collect_map([("keys_file", path)]),
        }
    }
}

impl<'de> Deserialize<'de> for PublishConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Setting)
    }
}

struct Setting;

impl<'de> Visitor<'de> for Setting {
    type Value = PublishConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("`open` or `{ keys_file: PATH }`")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<PublishConfig, E> {
        match text {
            "open" => Ok(PublishConfig::Open),
            other => Err(E::custom(format!("expected `open` or `{{ keys_file: PATH }}`, found `{other}`"))),
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<PublishConfig, A::Error> {
        let Some(key) = map.next_key::<String>()? else { return Err(A::Error::missing_field("keys_file")) };
        if key != "keys_file" {
            return Err(A::Error::unknown_field(&key, &["keys_file"]));
        }
        let path = map.next_value()?;
        match map.next_key::<String>()? {
            None => Ok(PublishConfig::KeysFile(path)),
            Some(more) => Err(A::Error::unknown_field(&more, &["keys_file"])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(file: &str, path: &str, key: Option<&str>) -> bool {
        let (app, name) = path.rsplit_once('/').unwrap();
        PublishPolicy::from_keys(file).unwrap().allows(&StreamName::from_app("_default", app, name).unwrap(), key)
    }

    #[test]
    fn a_key_opens_the_streams_of_its_line_only() {
        let file = format!("# studio\nlive/foo {}\n\nlive/cam-* {}\n", hashed("one"), hashed("two"));
        assert!(allows(&file, "live/foo", Some("one")));
        assert!(allows(&file, "live/cam-7", Some("two")));
        assert!(!allows(&file, "live/foo", Some("two")));
        assert!(!allows(&file, "live/bar", Some("one")));
        assert!(!allows(&file, "live/foo", None));
    }

    #[test]
    fn two_keys_for_one_stream_both_open_it() {
        let file = format!("live/foo {}\n*/* {}\n*/* {0}", hashed("one"), hashed("two"));
        assert!(allows(&file, "live/foo", Some("one")) && allows(&file, "live/foo", Some("two")));
    }

    #[test]
    fn keys_of_other_streams_are_not_looked_at() {
        let lines: String = (0..1000).map(|n| format!("live/s{n} {}\n", hashed("x"))).collect();
        let file = format!("{lines}live/s7 {}\nlive/room/s7 {0}\nlive/* {0}\n*/s7 {0}\nother:live/s7 {0}", hashed("y"));
        let Ok(PublishPolicy::Keys(keys)) = PublishPolicy::from_keys(&file) else { panic!("it has no mistakes") };
        let near = |name| keys.near(&StreamName::from_app("_default", "live", name).unwrap()).count();
        assert_eq!((keys.len, near("s7"), near("s8"), near("none")), (1005, 6, 3, 2));
        assert!(allows(&file, "live/s7", Some("x")) && allows(&file, "live/s7", Some("y")));
        assert!(allows(&file, "live/room/s7", Some("y")) && !allows(&file, "other/s8", Some("y")));
    }

    #[test]
    fn no_key_and_an_empty_key_open_nothing_even_if_somebody_hashed_the_empty_text() {
        let file = format!("*/* {}", hashed(""));
        assert!(!allows(&file, "live/foo", Some("")) && !allows(&file, "live/foo", None));
        assert!(!allows("", "live/foo", Some("x")), "a file without keys admits nobody");
    }

    #[test]
    fn mistakes_name_the_line_and_never_show_it() {
        let read = |file: &str| PublishPolicy::from_keys(file).unwrap_err();
        assert_eq!(read("# x\nlive/foo"), KeysError::Form { line: 2 });
        assert_eq!(read(&format!("foo {}", hashed("x"))), KeysError::Form { line: 1 });
        assert_eq!(read("live/foo secret"), KeysError::Hash { line: 1 });
        assert_eq!(read("live/foo sha256:zz"), KeysError::Hash { line: 1 });
        let pattern = read(&format!("live/a*b {}", hashed("x")));
        assert!(matches!(pattern, KeysError::Pattern { line: 1, .. }));
        assert!(!read("live/foo secret").to_string().contains("secret"));
    }

    #[test]
    fn the_setting_is_read_in_both_forms() {
        let read = |json: &str| serde_json::from_str::<PublishConfig>(json).map_err(|error| error.to_string());
        assert_eq!(read(r#""open""#), Ok(PublishConfig::Open));
        assert_eq!(read(r#"{"keys_file":"keys"}"#), Ok(PublishConfig::KeysFile("keys".into())));
        assert!(read(r#""shut""#).unwrap_err().contains("`open` or"));
        assert!(read(r#"{"keyfile":"keys"}"#).unwrap_err().contains("keys_file"));
        let written = serde_json::to_string(&PublishConfig::KeysFile("keys".into())).unwrap();
        assert_eq!(written, r#"{"keys_file":"keys"}"#);
    }
}
