//! A route entry as people write it in YAML: the one-line form, or the structured one.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::{Addresses, Pools, Protocol, RouteEntry, RouteMatch, Target, TargetError, parse_fms};
use crate::{Address, PoolId, RouteId};

/// One item of `routes`: `"*:*;10.0.0.6:1935"`, or
/// `{ name: live, match: { app: live }, to: { pool: main } }`, or
/// `{ match: { app: news }, to: { pools: [main, second] } }` for pools that are each other's stand-in, or
/// `{ match: { app: tv }, to: { addresses: ["10.0.0.9:1935"] }, protocol: rtmp }`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteConfig {
    /// Its name; an entry without one is called by its place in the list.
    pub name: Option<RouteId>,
    /// What it applies to.
    pub matches: RouteMatch,
    /// Where that goes.
    pub target: Target,
}

impl RouteConfig {
    /// The entries of a list, those without a name called `config-1`, `config-2` … by their place.
    pub fn into_entries(list: Vec<Self>) -> Vec<RouteEntry> {
        let named = |(place, config): (usize, Self)| {
            let id = config.name.unwrap_or_else(|| {
                RouteId::new(&format!("config-{}", place + 1)).expect("letters, a dash and digits are an id")
            });
            RouteEntry { id, matches: config.matches, target: config.target }
        };
        list.into_iter().enumerate().map(named).collect()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Structured {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<RouteId>,
    #[serde(rename = "match", default = "RouteMatch::any")]
    matches: RouteMatch,
    to: To,
    #[serde(default)]
    protocol: Protocol,
}

#[derive(Serialize, Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct To {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pool: Option<PoolId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pools: Vec<PoolId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    addresses: Vec<Address>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    refuse: bool,
}

impl TryFrom<Structured> for RouteConfig {
    type Error = TargetError;

    fn try_from(entry: Structured) -> Result<Self, TargetError> {
        let To { pool, pools, addresses, refuse } = entry.to;
        if pool.is_some() && !pools.is_empty() {
            return Err(TargetError::NotOne);
        }
        let pools = pool.into_iter().chain(pools).collect();
        let target = Target::from_parts(pools, addresses, refuse, entry.protocol)?;
        Ok(Self { name: entry.name, matches: entry.matches, target })
    }
}

impl Target {
    /// The target that fields of a form name: exactly one of pools, addresses and refuse.
    pub fn from_parts(
        pools: Vec<PoolId>,
        addresses: Vec<Address>,
        refuse: bool,
        protocol: Protocol,
    ) -> Result<Self, TargetError> {
        match (pools.is_empty(), addresses.is_empty(), refuse) {
            (false, true, false) if protocol == Protocol::Rtmp => Err(TargetError::ForeignPool),
            (false, true, false) => Ok(Self::Pools(Pools::try_from(pools)?)),
            (true, false, false) => Ok(Self::Addresses { addresses: Addresses::try_from(addresses)?, protocol }),
            (true, true, true) => Ok(Self::Refuse),
            _ => Err(TargetError::NotOne),
        }
    }
}

impl<'de> Deserialize<'de> for RouteConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Either)
    }
}

struct Either;

impl<'de> Visitor<'de> for Either {
    type Value = RouteConfig;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a route entry: \"HOST:PORT;HOST:PORT\", or a map with match, to and protocol")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<RouteConfig, E> {
        let (matches, target) = parse_fms(text).map_err(E::custom)?;
        Ok(RouteConfig { name: None, matches, target })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<RouteConfig, A::Error> {
        let structured = Structured::deserialize(MapAccessDeserializer::new(map))?;
        structured.try_into().map_err(A::Error::custom)
    }
}

impl Serialize for RouteConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (to, protocol) = match &self.target {
            Target::Pools(pools) => match &pools[..] {
                [pool] => (To { pool: Some(pool.clone()), ..To::default() }, Protocol::Headwater),
                pools => (To { pools: pools.to_vec(), ..To::default() }, Protocol::Headwater),
            },
            Target::Addresses { addresses, protocol } => {
                (To { addresses: addresses.to_vec(), ..To::default() }, *protocol)
            }
            Target::Refuse => (To { refuse: true, ..To::default() }, Protocol::Headwater),
        };
        Structured { name: self.name.clone(), matches: self.matches.clone(), to, protocol }.serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<RouteConfig, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn both_forms_are_read_and_written_back_as_the_structured_one() {
        let classic = read(r#""*:*;10.0.0.6:1935""#).unwrap();
        let structured = read(r#"{"to":{"addresses":["10.0.0.6:1935"]}}"#).unwrap();
        assert_eq!(classic, structured);
        assert_eq!(read(&serde_json::to_string(&classic).unwrap()), Ok(classic));
    }

    #[test]
    fn a_foreign_server_needs_addresses() {
        assert!(read(r#"{"to":{"addresses":["a:1"]},"protocol":"rtmp"}"#).is_ok());
        let error = read(r#"{"to":{"pool":"main"},"protocol":"rtmp"}"#).unwrap_err();
        assert!(error.contains("needs addresses"), "{error}");
    }

    #[test]
    fn several_pools_stand_in_order_and_one_reads_as_before() {
        let several = read(r#"{"to":{"pools":["main","second"]}}"#).unwrap();
        let Target::Pools(pools) = &several.target else { panic!("{several:?}") };
        assert_eq!(pools.iter().map(PoolId::as_str).collect::<Vec<_>>(), ["main", "second"]);
        assert_eq!(read(&serde_json::to_string(&several).unwrap()), Ok(several.clone()));
        assert_eq!(read(r#"{"to":{"pools":["main"]}}"#), read(r#"{"to":{"pool":"main"}}"#));
        let stored: Target = serde_json::from_str(r#"{"pool":"main"}"#).unwrap();
        assert_eq!(stored, PoolId::main().into());
        assert_eq!(serde_json::to_string(&stored).unwrap(), r#"{"pool":"main"}"#);
        assert_eq!(
            serde_json::from_value::<Target>(serde_json::to_value(&several.target).unwrap()).unwrap(),
            several.target
        );
    }

    #[test]
    fn mistakes_say_what_was_expected() {
        for (json, expected) in [
            (r#""*:*""#, "HOST:PORT;HOST:PORT"),
            ("7", "a route entry"),
            (r#"{"to":{}}"#, "exactly one of pool"),
            (r#"{"to":{"pool":"main","refuse":true}}"#, "exactly one of pool"),
            (r#"{"to":{"pool":"main","pools":["second"]}}"#, "exactly one of pool"),
            (r#"{"to":{"pools":["a","b","a"]}}"#, "named twice"),
            (r#"{"to":{"pools":["a","b","c","d","e"]}}"#, "more than 4 pools"),
            (r#"{"to":{"pool":"main"},"wat":1}"#, "unknown field `wat`"),
            (r#"{"match":{"app":"a*b"},"to":{"pool":"main"}}"#, "a * may stand at the end only"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(expected), "{json}: {error}");
        }
    }

    #[test]
    fn entries_without_a_name_are_called_by_their_place() {
        let list = vec![read(r#""*:*;a:1""#).unwrap(), read(r#"{"name":"x","to":{"refuse":true}}"#).unwrap()];
        let ids: Vec<_> = RouteConfig::into_entries(list).iter().map(|entry| entry.id.to_string()).collect();
        assert_eq!(ids, ["config-1", "x"]);
    }
}
