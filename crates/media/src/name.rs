//! Names of streams.

use std::{fmt, sync::Arc};

/// The vhost of a host that is not listed in `vhosts`.
pub const DEFAULT_VHOST: &str = "_default";
/// The instance of a URL that names none.
pub const DEFAULT_INSTANCE: &str = "_definst_";
/// The longest part of a name, in bytes.
const PART_BYTES_MAX: usize = 255;

/// What is published and played: `app/instance/name` in a vhost. Cheap to clone.
///
/// Each part is 1 to 255 bytes of `[A-Za-z0-9._~-]` and does not end with a dot: a name can be logged, put in a URL and made
/// part of a path without escaping, and is no other name on a file system that drops such dots.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StreamName {
    parts: Arc<[Box<str>; 4]>,
}

impl StreamName {
    /// Checks the parts; an empty instance means [`DEFAULT_INSTANCE`].
    pub fn new(vhost: &str, app: &str, instance: &str, name: &str) -> Result<Self, NameError> {
        let instance = if instance.is_empty() { DEFAULT_INSTANCE } else { instance };
        for (part, text) in [("vhost", vhost), ("app", app), ("instance", instance), ("name", name)] {
            check(part, text)?;
        }
        Ok(Self { parts: Arc::new([vhost.into(), app.into(), instance.into(), name.into()]) })
    }

    /// The stream in [`DEFAULT_VHOST`] at `app[/instance]` and `name`, as an RTMP connect and publish give them.
    pub fn from_app(vhost: &str, app: &str, name: &str) -> Result<Self, NameError> {
        let app = app.trim_matches('/');
        let (app, instance) = app.split_once('/').unwrap_or((app, ""));
        Self::new(vhost, app, instance.trim_matches('/'), name)
    }

    /// The virtual host.
    pub fn vhost(&self) -> &str {
        &self.parts[0]
    }

    /// The application.
    pub fn app(&self) -> &str {
        &self.parts[1]
    }

    /// The application's instance; never empty.
    pub fn instance(&self) -> &str {
        &self.parts[2]
    }

    /// The stream within the instance.
    pub fn name(&self) -> &str {
        &self.parts[3]
    }

    /// The resource name `streams/{vhost}/{app}/{instance}/{name}`. No part needs percent-encoding.
    pub fn resource(&self) -> String {
        format!("streams/{}/{}/{}/{}", self.vhost(), self.app(), self.instance(), self.name())
    }

    /// Reads a resource name.
    pub fn from_resource(resource: &str) -> Result<Self, NameError> {
        let mut parts = resource.strip_prefix("streams/").ok_or(NameError::NotAResource)?.split('/');
        let mut next = || parts.next().ok_or(NameError::NotAResource);
        let name = Self::new(next()?, next()?, next()?, next()?)?;
        if parts.next().is_some() {
            return Err(NameError::NotAResource);
        }
        Ok(name)
    }
}

impl fmt::Display for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.vhost() != DEFAULT_VHOST {
            write!(f, "{}:", self.vhost())?;
        }
        if self.instance() == DEFAULT_INSTANCE {
            write!(f, "{}/{}", self.app(), self.name())
        } else {
            write!(f, "{}/{}/{}", self.app(), self.instance(), self.name())
        }
    }
}

impl fmt::Debug for StreamName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn check(part: &'static str, text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty { part });
    }
    if text.len() > PART_BYTES_MAX {
        return Err(NameError::TooLong { part });
    }
    if text.ends_with('.') {
        return Err(NameError::EndsWithDot { part });
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'~' | b'-');
    match text.bytes().find(|b| !plain(*b)) {
        Some(byte) => Err(NameError::Forbidden { part, byte }),
        None => Ok(()),
    }
}

/// Why a text is not a stream's name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The part has no characters.
    #[error("the {part} is empty")]
    Empty {
        /// Which part.
        part: &'static str,
    },
    /// The part is longer than 255 bytes.
    #[error("the {part} is longer than {PART_BYTES_MAX} bytes")]
    TooLong {
        /// Which part.
        part: &'static str,
    },
    /// The part ends with a dot, as `.` and `..` do.
    #[error("the {part} ends with a dot")]
    EndsWithDot {
        /// Which part.
        part: &'static str,
    },
    /// The part has a byte outside `[A-Za-z0-9._~-]`.
    #[error("the {part} has the byte {byte:#04x}; allowed are letters, digits and . _ ~ -")]
    Forbidden {
        /// Which part.
        part: &'static str,
        /// The first such byte.
        byte: u8,
    },
    /// The text is not `streams/{vhost}/{app}/{instance}/{name}`.
    #[error("a stream's resource name is streams/VHOST/APP/INSTANCE/NAME")]
    NotAResource,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resource_names_round_trip() {
        let name = StreamName::from_app(DEFAULT_VHOST, "live/room", "foo").unwrap();
        assert_eq!(name.resource(), "streams/_default/live/room/foo");
        assert_eq!(StreamName::from_resource(&name.resource()), Ok(name));
    }

    #[test]
    fn no_instance_is_definst_and_is_not_shown() {
        let name = StreamName::from_app(DEFAULT_VHOST, "live/", "foo").unwrap();
        assert_eq!((name.instance(), name.to_string().as_str()), ("_definst_", "live/foo"));
    }

    #[test]
    fn names_that_could_escape_a_path_or_a_log_line_are_refused() {
        for bad in ["", ".", "..", "...", "a.", "a/b", "a\\b", "a\0", "a\r\nb", "%2e", "a;b", "é", &"x".repeat(256)] {
            assert!(StreamName::new(DEFAULT_VHOST, "live", "", bad).is_err(), "{bad:?}");
        }
    }
}
