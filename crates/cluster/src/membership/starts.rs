//! Which starts of each node there were: a process that wakes up after its successor has come must not take its place.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{Incarnation, Member, NodeId, NodeKind};

/// The starts of one node, as a store keeps them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Starts {
    /// Which node.
    pub node: NodeId,
    /// What it is.
    pub kind: NodeKind,
    /// The last one.
    pub current: Incarnation,
    /// Those before it, the oldest first: the last 16, of the last 30 days.
    pub former: VecDeque<FormerStart>,
}

/// A start that a later one has replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormerStart {
    /// Which.
    pub incarnation: Incarnation,
    /// When: milliseconds since 1970.
    pub replaced_unix_ms: u64,
}

/// The starts of all nodes, and which of them the store does not have yet.
#[derive(Debug, Default)]
pub(super) struct Book {
    by_node: BTreeMap<NodeId, Starts>,
    unstored: BTreeSet<NodeId>,
}

impl Book {
    /// Takes over what a store has kept.
    pub(super) fn restore(&mut self, mut starts: Starts, unix_ms: u64) {
        starts.forget_old(unix_ms);
        self.by_node.insert(starts.node.clone(), starts);
    }

    pub(super) fn get(&self, node: &NodeId) -> Option<&Starts> {
        self.by_node.get(node)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Starts> {
        self.by_node.values()
    }

    pub(super) fn len(&self) -> usize {
        self.by_node.len()
    }

    /// A start that is none of the former ones is the last one from now on; returns the one that it replaces.
    pub(super) fn note(&mut self, member: &Member, kind: NodeKind, unix_ms: u64) -> Option<Incarnation> {
        let Some(starts) = self.by_node.get_mut(&member.node) else {
            let (node, current) = (member.node.clone(), member.incarnation);
            self.unstored.insert(node.clone());
            self.by_node.insert(node.clone(), Starts { node, kind, current, former: VecDeque::new() });
            return None;
        };
        if starts.current == member.incarnation {
            return None;
        }
        let was = std::mem::replace(&mut starts.current, member.incarnation);
        starts.former.push_back(FormerStart { incarnation: was, replaced_unix_ms: unix_ms });
        starts.forget_old(unix_ms);
        self.unstored.insert(member.node.clone());
        Some(was)
    }

    pub(super) fn remove(&mut self, node: &NodeId) -> Option<Starts> {
        let starts = self.by_node.remove(node)?;
        self.unstored.insert(node.clone());
        Some(starts)
    }

    pub(super) fn is_stored(&self, node: &NodeId) -> bool {
        !self.unstored.contains(node)
    }

    /// What the store is to have; without starts, it is to have nothing of a node.
    pub(super) fn unstored(&self) -> Vec<(NodeId, Option<Starts>)> {
        self.unstored.iter().map(|node| (node.clone(), self.get(node).cloned())).collect()
    }

    /// The store has these now. What has changed since is still to come.
    pub(super) fn stored(&mut self, stored: &[(NodeId, Option<Starts>)]) {
        for (node, starts) in stored {
            if self.by_node.get(node) == starts.as_ref() {
                self.unstored.remove(node);
            }
        }
    }
}

impl Starts {
    /// Whether a later start has replaced this one.
    pub(super) fn has_replaced(&self, incarnation: Incarnation) -> bool {
        self.former.iter().any(|former| former.incarnation == incarnation)
    }

    fn forget_old(&mut self, unix_ms: u64) {
        let age_max = FORMER_AGE_MAX.as_millis() as u64;
        self.former.retain(|former| unix_ms.saturating_sub(former.replaced_unix_ms) < age_max);
        while self.former.len() > FORMER_MAX {
            self.former.pop_front();
        }
    }
}

/// How many replaced starts are remembered for each node.
const FORMER_MAX: usize = 16;
/// A process that was frozen for longer than this is not expected to wake up any more.
const FORMER_AGE_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
