//! Who is who.

use std::sync::LazyLock;

use cluster::{Incarnation, Member, NodeId, PoolId};
use media::StreamName;

use super::net::Party;

/// The control plane.
pub const CONTROL: Party = 0;
/// The first origin; three may follow one another.
pub const ORIGINS: Party = 1;
/// The first edge.
pub const EDGES: Party = 5;

pub fn node_id(party: Party) -> NodeId {
    static IDS: LazyLock<Vec<NodeId>> = LazyLock::new(|| (0..PARTIES).map(named).collect());
    IDS[party].clone()
}

/// Parties at most.
const PARTIES: Party = 16;

fn named(party: Party) -> NodeId {
    let name = match party {
        CONTROL => "control".to_owned(),
        ORIGINS..EDGES => format!("o{party}"),
        _ => format!("e{}", party - EDGES + 1),
    };
    NodeId::new(&name).expect("a right name")
}

pub fn party_of(node: &NodeId) -> Party {
    let number: Party = node.as_str()[1..].parse().expect("a number follows the letter");
    if node.as_str().starts_with('o') { number } else { EDGES + number - 1 }
}

pub fn member(party: Party, start: u32) -> Member {
    Member { node: node_id(party), incarnation: Incarnation::from_bits(u64::from(start)) }
}

pub fn pool_id() -> PoolId {
    PoolId::main()
}

pub fn stream_name(number: usize) -> StreamName {
    StreamName::from_app("_default", "live", &format!("s{number}")).expect("a right name")
}
