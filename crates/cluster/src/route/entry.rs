//! One route entry in its structured form.

use std::{fmt, ops::Deref};

use media::StreamName;
use serde::{Deserialize, Serialize};

use super::{Pattern, PatternError};
use crate::{Address, PoolId, RouteId};

/// "Requests that match this go there."
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteEntry {
    /// Its name within its source.
    pub id: RouteId,
    /// What it applies to.
    #[serde(rename = "match")]
    pub matches: RouteMatch,
    /// Where that goes.
    pub target: Target,
}

/// Which streams an entry applies to: every part must match.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RouteMatch {
    /// The virtual host.
    #[serde(default = "any")]
    pub vhost: Pattern,
    /// The application.
    #[serde(default = "any")]
    pub app: Pattern,
    /// The application's instance.
    #[serde(default = "any")]
    pub instance: Pattern,
    /// The stream's own name.
    #[serde(default = "any")]
    pub stream: Pattern,
}

impl RouteMatch {
    /// Every stream.
    pub fn any() -> Self {
        Self { vhost: any(), app: any(), instance: any(), stream: any() }
    }

    /// The first part that does not fit, or none when the stream matches.
    pub fn mismatch(&self, name: &StreamName) -> Option<&'static str> {
        let parts = [
            ("vhost", &self.vhost, name.vhost()),
            ("app", &self.app, name.app()),
            ("instance", &self.instance, name.instance()),
            ("stream", &self.stream, name.name()),
        ];
        parts.into_iter().find(|(_, pattern, text)| !pattern.matches(text)).map(|(part, ..)| part)
    }

    /// Compares like a tuple: the vhost decides, then app, instance, stream; the greater is more specific.
    pub fn specificity(&self) -> [u16; 4] {
        [&self.vhost, &self.app, &self.instance, &self.stream].map(Pattern::specificity)
    }

    /// Reads `app/stream` or `app/instance/stream`, with an optional `vhost:` before it, a pattern each.
    pub fn from_path(path: &str) -> Result<Self, PatternError> {
        let (vhost, path) = path.split_once(':').unwrap_or(("*", path));
        let parts: Vec<_> = path.splitn(3, '/').collect();
        let (app, instance, stream) = match parts[..] {
            [app, instance, stream] => (app, instance, stream),
            [app, stream] => (app, "*", stream),
            _ => (path, "*", "*"),
        };
        Ok(Self { vhost: vhost.parse()?, app: app.parse()?, instance: instance.parse()?, stream: stream.parse()? })
    }
}

impl fmt::Display for RouteMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}/{}", self.vhost, self.app, self.instance, self.stream)
    }
}

impl fmt::Debug for RouteMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn any() -> Pattern {
    Pattern::Any
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// Pools that the control plane knows; their members are found there. Usually one; a stream that the first of several
    /// has no longer is taken from the next.
    #[serde(rename = "pool", alias = "pools")]
    Pools(Pools),
    /// A VIP, or single origins.
    Addresses {
        /// Tried in this order.
        addresses: Addresses,
        /// What is spoken there.
        protocol: Protocol,
    },
    /// Nowhere: such requests are refused.
    Refuse,
}

impl From<PoolId> for Target {
    fn from(pool: PoolId) -> Self {
        Self::Pools(pool.into())
    }
}

/// At least one pool, at most 4, none twice. Written as its only one, or as a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "OneOrMore", into = "OneOrMore")]
pub struct Pools(Vec<PoolId>);

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(PoolId),
    More(Vec<PoolId>),
}

impl TryFrom<Vec<PoolId>> for Pools {
    type Error = TargetError;

    fn try_from(pools: Vec<PoolId>) -> Result<Self, TargetError> {
        match pools.len() {
            0 => return Err(TargetError::NoPool),
            1..=POOLS_MAX => {}
            _ => return Err(TargetError::TooManyPools),
        }
        let twice = pools.iter().enumerate().any(|(at, pool)| pools[..at].contains(pool));
        if twice { Err(TargetError::PoolTwice) } else { Ok(Self(pools)) }
    }
}

impl From<PoolId> for Pools {
    fn from(pool: PoolId) -> Self {
        Self(vec![pool])
    }
}

impl TryFrom<OneOrMore> for Pools {
    type Error = TargetError;

    fn try_from(pools: OneOrMore) -> Result<Self, TargetError> {
        match pools {
            OneOrMore::One(pool) => Ok(pool.into()),
            OneOrMore::More(pools) => pools.try_into(),
        }
    }
}

impl From<Pools> for OneOrMore {
    fn from(Pools(mut pools): Pools) -> Self {
        match (pools.pop(), pools.is_empty()) {
            (Some(pool), true) => Self::One(pool),
            (last, _) => Self::More(pools.into_iter().chain(last).collect()),
        }
    }
}

impl Deref for Pools {
    type Target = [PoolId];

    fn deref(&self) -> &[PoolId] {
        &self.0
    }
}

/// What is spoken with a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// Relay gRPC, with a Headwater origin.
    #[default]
    Headwater,
    /// RTMP, with a foreign server.
    Rtmp,
}

/// At least one address, at most 16.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<Address>", into = "Vec<Address>")]
pub struct Addresses(Vec<Address>);

impl TryFrom<Vec<Address>> for Addresses {
    type Error = TargetError;

    fn try_from(addresses: Vec<Address>) -> Result<Self, TargetError> {
        match addresses.len() {
            0 => Err(TargetError::NoAddress),
            1..=ADDRESSES_MAX => Ok(Self(addresses)),
            _ => Err(TargetError::TooManyAddresses),
        }
    }
}

impl From<Address> for Addresses {
    fn from(address: Address) -> Self {
        Self(vec![address])
    }
}

impl From<Addresses> for Vec<Address> {
    fn from(addresses: Addresses) -> Self {
        addresses.0
    }
}

impl Deref for Addresses {
    type Target = [Address];

    fn deref(&self) -> &[Address] {
        &self.0
    }
}

/// How many addresses one entry may name: an edge tries them one after the other.
const ADDRESSES_MAX: usize = 16;
/// How many pools one entry may name: an edge goes from one to the next when one is gone.
const POOLS_MAX: usize = 4;

/// Why a target is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// The list is empty.
    #[error("at least one address is needed")]
    NoAddress,
    /// The list is too long.
    #[error("more than {ADDRESSES_MAX} addresses")]
    TooManyAddresses,
    /// The list of pools is empty.
    #[error("at least one pool is needed")]
    NoPool,
    /// The list of pools is too long.
    #[error("more than {POOLS_MAX} pools")]
    TooManyPools,
    /// A pool stands twice in the list.
    #[error("a pool is named twice")]
    PoolTwice,
    /// Not exactly one of pool, addresses and refuse is given.
    #[error("exactly one of pool (or pools), addresses and refuse must be given")]
    NotOne,
    /// A foreign protocol with a pool.
    #[error("protocol rtmp needs addresses: a pool speaks headwater")]
    ForeignPool,
}
