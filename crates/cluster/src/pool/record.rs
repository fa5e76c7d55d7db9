//! What the control plane's store keeps of a pool, and what everyone is told of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::{Address, Epoch, Incarnation, Member, NodeId, PoolId, Role};

/// A pool as it is stored. Every change is a compare-and-set on `version`, which grows by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRecord {
    /// Which pool.
    pub id: PoolId,
    /// Grows by one with every change.
    pub version: u64,
    /// One more at each grant of the active role.
    pub epoch: Epoch,
    /// Who was granted the role last; none before the first grant.
    pub active: Option<Member>,
    /// The origins by name, each as last heard of.
    pub members: BTreeMap<NodeId, PoolMember>,
    /// Without the ack of each of these nothing is committed; the active is always in it.
    pub in_sync: BTreeSet<Member>,
    /// The epoch of the last promotion with loss; zero when there was none.
    pub loss_epoch: Epoch,
    /// Whether roles move by themselves.
    pub mode: Mode,
    /// What changed the roles last.
    pub last_change: Option<LastChange>,
}

/// An origin of a pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolMember {
    /// Its last known start.
    pub incarnation: Incarnation,
    /// Where its public port is when it is open.
    pub public: Address,
    /// Where its peer port is.
    pub peer: Address,
}

/// Whether roles move by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As the rules say.
    #[default]
    Auto,
    /// Only by an operator.
    Hold,
}

/// What changed the roles.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LastChange {
    /// In one word.
    pub cause: Cause,
    /// What was seen, for people.
    pub evidence: String,
    /// Milliseconds since 1970.
    pub at_unix_ms: u64,
    /// How long its parts took, in milliseconds.
    pub durations_ms: BTreeMap<String, u64>,
}

/// Why the active role was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// The pool's first grant.
    Bootstrap,
    /// The active came back as another incarnation.
    Restart,
    /// A node was found that serves in a higher epoch than the record's.
    Adopted,
    /// Somebody has heard of a higher epoch than the record's; the active was granted one above.
    EpochHeard,
    /// An operator asked for it.
    Promoted,
}

impl Cause {
    /// In one word, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bootstrap => "bootstrap",
            Self::Restart => "restart",
            Self::Adopted => "adopted",
            Self::EpochHeard => "epoch_heard",
            Self::Promoted => "promoted",
        }
    }
}

impl PoolRecord {
    /// A pool that nobody has joined.
    pub fn new(id: PoolId) -> Self {
        Self {
            id,
            version: 0,
            epoch: Epoch(0),
            active: None,
            members: BTreeMap::new(),
            in_sync: BTreeSet::new(),
            loss_epoch: Epoch(0),
            mode: Mode::Auto,
            last_change: None,
        }
    }

    /// The role that the record gives to one start of a node. Another start than the granted one stands by.
    pub fn role_of(&self, member: &Member) -> Role {
        if self.active.as_ref() == Some(member) { Role::Active } else { Role::Standby }
    }

    /// What nodes are told.
    pub fn view(&self) -> PoolView {
        let member = |(node, member): (&NodeId, &PoolMember)| {
            let id = Member { node: node.clone(), incarnation: member.incarnation };
            PoolViewMember {
                role: self.role_of(&id),
                in_sync: self.in_sync.contains(&id),
                member: id,
                public: member.public.clone(),
                peer: member.peer.clone(),
            }
        };
        PoolView {
            id: self.id.clone(),
            version: self.version,
            epoch: self.epoch,
            loss_epoch: self.loss_epoch,
            active: self.active.as_ref().map(|active| active.node.clone()),
            members: self.members.iter().map(member).collect(),
        }
    }
}

/// A pool as nodes know it, also from a snapshot on disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolView {
    /// Which pool.
    pub id: PoolId,
    /// The version of the record.
    pub version: u64,
    /// The epoch in force.
    pub epoch: Epoch,
    /// The epoch of the last promotion with loss.
    pub loss_epoch: Epoch,
    /// Who is active; none before the first grant.
    pub active: Option<NodeId>,
    /// The origins by name.
    pub members: Vec<PoolViewMember>,
}

/// An origin as nodes know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolViewMember {
    /// Which start of which node.
    pub member: Member,
    /// The role that the record gives it.
    pub role: Role,
    /// Whether nothing is committed without its ack.
    pub in_sync: bool,
    /// Where its public port is when it is open.
    pub public: Address,
    /// Where its peer port is.
    pub peer: Address,
}

impl PoolView {
    /// The active origin.
    pub fn active_member(&self) -> Option<&PoolViewMember> {
        self.members.iter().find(|member| Some(&member.member.node) == self.active.as_ref())
    }

    /// The peer addresses, the active's first.
    pub fn peers(&self) -> impl Iterator<Item = &Address> {
        let is_active = |member: &&PoolViewMember| Some(&member.member.node) == self.active.as_ref();
        let active = self.members.iter().filter(is_active);
        let others = self.members.iter().filter(move |member| !is_active(member));
        active.chain(others).map(|member| &member.peer)
    }
}
