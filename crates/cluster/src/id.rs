//! Names and numbers that identify things of the cluster.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $collection:literal, $check:expr, $rule:literal) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// What its resource names begin with.
            pub const COLLECTION: &'static str = $collection;

            /// Checks the text of an id.
            pub fn new(id: &str) -> Result<Self, IdError> {
                let right: fn(&str) -> bool = $check;
                if id.is_empty() || id.len() > ID_BYTES_MAX || !right(id) {
                    return Err(IdError { id: shown(id), rule: $rule });
                }
                Ok(Self(id.into()))
            }

            /// Reads a resource name, or the id alone.
            pub fn from_resource(resource: &str) -> Result<Self, IdError> {
                Self::new(resource.strip_prefix(concat!($collection, "/")).unwrap_or(resource))
            }

            /// The resource name.
            pub fn resource(&self) -> String {
                format!(concat!($collection, "/{}"), self.0)
            }

            /// The id alone.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = IdError;

            fn from_str(text: &str) -> Result<Self, IdError> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;

            fn try_from(text: String) -> Result<Self, IdError> {
                Self::new(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }
    };
}

text_id!(
    /// The name of a node: it stays across restarts. Resource name `nodes/{id}`.
    NodeId,
    "nodes",
    |id| id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'),
    "letters, digits, - and _"
);

text_id!(
    /// The name of a pool of origins. Resource name `originPools/{id}`.
    PoolId,
    "originPools",
    is_label,
    "a-z, 0-9 and -, beginning with a letter"
);

text_id!(
    /// The name of a route entry. Resource name `routeEntries/{id}`.
    RouteId,
    "routeEntries",
    is_label,
    "a-z, 0-9 and -, beginning with a letter"
);

impl PoolId {
    /// The pool of origins that name none: `main`.
    pub fn main() -> Self {
        Self("main".into())
    }
}

fn is_label(id: &str) -> bool {
    id.starts_with(|c: char| c.is_ascii_lowercase())
        && id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

/// What fits in a message without harm.
fn shown(text: &str) -> String {
    text.chars().take(ID_BYTES_MAX).flat_map(char::escape_default).collect()
}

/// The longest id, in bytes.
const ID_BYTES_MAX: usize = 63;

/// The text is not an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{id}\" is not an id: 1 to {ID_BYTES_MAX} of {rule}")]
pub struct IdError {
    id: String,
    rule: &'static str,
}

/// Random for each start of a process: one that restarted with empty memory is another member, whatever its name.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Incarnation(u64);

impl Incarnation {
    /// The incarnation made of these random bits.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }
}

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl fmt::Debug for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Incarnation {
    type Err = ParseIncarnationError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() != 16 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(ParseIncarnationError);
        }
        u64::from_str_radix(text, 16).map(Self).map_err(|_| ParseIncarnationError)
    }
}

impl TryFrom<String> for Incarnation {
    type Error = ParseIncarnationError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Incarnation> for String {
    fn from(incarnation: Incarnation) -> String {
        incarnation.to_string()
    }
}

/// The text is not 16 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an incarnation is 16 hexadecimal digits")]
pub struct ParseIncarnationError;

/// One start of one node: what roles are given to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Member {
    /// The node.
    pub node: NodeId,
    /// Which start of it.
    pub incarnation: Incarnation,
}

/// A pool's fencing token: one more at each grant of the active role. Zero: never granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl Epoch {
    /// The highest epoch that makes sense: positions after a loss begin at its [`Epoch::first_position`].
    pub const MAX: Self = Self((1 << 24) - 1);

    /// From this epoch to one that far above it no pool comes while somebody is away: it would have to move once a minute
    /// for a month and a half. Whoever tells of a higher one is wrong, or lies.
    pub const JUMP_MAX: u64 = 1 << 16;

    /// Whether a pool may have come from this epoch to that one unheard.
    pub fn may_become(self, later: Self) -> bool {
        later.0 <= self.0.saturating_add(Self::JUMP_MAX)
    }

    /// The epoch after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// Where positions begin that no earlier epoch has given (REPLICATION C7): there is room for 2^40 items in each.
    pub fn first_position(self) -> u64 {
        self.0.min(Self::MAX.0) << 40
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// What an origin is in its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// It serves.
    Active,
    /// It stands by, its public port closed.
    Standby,
    /// It must not serve.
    Fenced,
}

/// What a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeKind {
    /// It keeps streams.
    Origin,
    /// It takes encoders and viewers.
    Edge,
}

impl NodeKind {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Edge => "edge",
        }
    }
}

impl Role {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Standby => "standby",
            Self::Fenced => "fenced",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resource_name_and_its_id_name_the_same_node() {
        let id = NodeId::from_resource("nodes/edge-1").unwrap();
        assert_eq!(NodeId::from_resource("edge-1").unwrap(), id);
        assert_eq!(id.resource(), "nodes/edge-1");
    }

    #[test]
    fn ids_that_would_break_a_path_or_a_log_line_are_refused() {
        for bad in ["", "a/b", "a.b", "a b", "a\nb", "é", &"x".repeat(64)] {
            assert!(NodeId::new(bad).is_err(), "{bad:?}");
        }
        for bad in ["1a", "A", "-a", "a_b"] {
            assert!(RouteId::new(bad).is_err(), "{bad:?}");
        }
        assert!(!NodeId::new("a\nb").unwrap_err().to_string().contains('\n'));
    }

    #[test]
    fn incarnations_are_16_digits() {
        let incarnation = Incarnation::from_bits(0xff);
        assert_eq!(incarnation.to_string().parse(), Ok(incarnation));
        assert_eq!("+00000000000000f".parse::<Incarnation>(), Err(ParseIncarnationError));
    }
}
