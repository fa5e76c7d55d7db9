//! Route entries that would lead in a circle.

use std::collections::{HashMap, HashSet};

use super::{Pattern, RouteEntry, Target};
use crate::{Address, NodeId};

/// Looks for circles before an entry is accepted.
///
/// Two kinds: an entry that sends requests to an edge, which would route them again; and entries that hand requests
/// from host to host until they are back (`a:*;b:1` with `b:*;a:1`).
pub struct LoopCheck<'a> {
    /// The addresses of edges, by which requests would come back.
    pub edges: &'a HashMap<Address, NodeId>,
}

/// Where a circle is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Loop {
    /// The target is an edge.
    #[error("{entry} leads to {address}, which is the edge {edge}: it would route the request again")]
    ToEdge {
        /// The entry.
        entry: String,
        /// The address in its target.
        address: String,
        /// Whose address it is.
        edge: String,
    },
    /// Hosts lead to one another.
    #[error("the entries lead in a circle: {}", .hosts.join(" -> "))]
    Hosts {
        /// The hosts in order, the first one again at the end.
        hosts: Vec<String>,
    },
}

impl LoopCheck<'_> {
    /// Checks one entry that is to be added to others; `others` without the entry it replaces.
    pub fn check<'e>(
        &self,
        entry: &'e RouteEntry,
        others: impl IntoIterator<Item = &'e RouteEntry>,
    ) -> Result<(), Loop> {
        let Target::Addresses { addresses, .. } = &entry.target else { return Ok(()) };
        for address in addresses.iter() {
            if let Some(edge) = self.edges.get(address) {
                let (entry, address, edge) = (entry.id.to_string(), address.to_string(), edge.to_string());
                return Err(Loop::ToEdge { entry, address, edge });
            }
        }
        let mut hops: HashMap<&str, Vec<&str>> = HashMap::new();
        for entry in others.into_iter().chain([entry]) {
            let (Pattern::Exact(vhost), Target::Addresses { addresses, .. }) = (&entry.matches.vhost, &entry.target)
            else {
                continue;
            };
            hops.entry(vhost).or_default().extend(addresses.iter().map(Address::host));
        }
        match &entry.matches.vhost {
            Pattern::Exact(start) => circle(start, &hops).map_or(Ok(()), |hosts| Err(Loop::Hosts { hosts })),
            _ => Ok(()),
        }
    }
}

/// A way along the hops from `start` back to it. Each host is visited once.
fn circle(start: &str, hops: &HashMap<&str, Vec<&str>>) -> Option<Vec<String>> {
    let mut seen = HashSet::new();
    let mut ways = vec![vec![start]];
    while let Some(way) = ways.pop() {
        let last = way.last().expect("a way has its start");
        for next in hops.get(last).into_iter().flatten() {
            let longer = [&way[..], &[next]].concat();
            if *next == start {
                return Some(longer.iter().map(ToString::to_string).collect());
            }
            if seen.insert(*next) {
                ways.push(longer);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RouteConfig;

    fn entries(list: &[&str]) -> Vec<RouteEntry> {
        let parse = |text: &&str| serde_json::from_value(serde_json::Value::from(*text)).unwrap();
        RouteConfig::into_entries(list.iter().map(parse).collect())
    }

    #[test]
    fn a_target_that_is_an_edge_is_a_loop() {
        let edges = HashMap::from([("10.0.0.9:1935".parse().unwrap(), NodeId::new("edge-1").unwrap())]);
        let list = entries(&["*:*;10.0.0.9:1935"]);
        let error = LoopCheck { edges: &edges }.check(&list[0], []).unwrap_err();
        assert!(error.to_string().contains("edge-1"), "{error}");
    }

    #[test]
    fn hosts_that_lead_back_are_a_loop_and_a_chain_is_not() {
        let check = |list: &[&str]| {
            let list = entries(list);
            let (last, others) = list.split_last().unwrap();
            LoopCheck { edges: &HashMap::new() }.check(last, others)
        };
        assert_eq!(check(&["a:*;b:1", "b:*;c:1"]), Ok(()));
        let hosts = ["a", "b", "c", "a"].map(str::to_owned).to_vec();
        assert_eq!(check(&["b:*;c:1", "c:*;a:1", "a:*;b:1"]), Err(Loop::Hosts { hosts }));
        assert!(check(&["a:*;a:1"]).is_err());
    }
}
