//! What the control plane's store keeps of a pool, and what everyone is told of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::Moved;
use crate::{Address, Epoch, Grant, Incarnation, Member, NodeId, PoolId, Role};

/// A pool as it is stored. Every change is a compare-and-set on `version`, which grows by one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolRecord {
    /// Which pool.
    pub id: PoolId,
    /// Grows by one with every change.
    pub version: u64,
    /// Which start of which store wrote this version; empty: it was not written down.
    #[serde(default)]
    pub written_by: String,
    /// Versions that another store than this one wrote, of which this one is an older copy: up to here the in-sync set is
    /// right in spite of them.
    #[serde(default)]
    pub made_good: u64,
    /// One more at each grant of the active role.
    pub epoch: Epoch,
    /// Which start of which store granted that epoch; empty: it was not written down.
    #[serde(default)]
    pub granted_by: String,
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
    /// While the mode is hold: why, and until when.
    #[serde(default)]
    pub hold: Option<Hold>,
    /// Nodes that must hold no role until an operator lets them in again, whether or not they are members meanwhile.
    #[serde(default)]
    pub fenced: BTreeSet<NodeId>,
    /// Who is about to be active: the active is to take nothing more and to say when all it took is committed.
    #[serde(default)]
    pub yields_to: Option<Member>,
    /// Who was active before the role last moved.
    #[serde(default)]
    pub before: Option<NodeId>,
    /// When the role last moved by itself.
    #[serde(default)]
    pub moved: Moved,
    /// What changed the roles last.
    pub last_change: Option<LastChange>,
    /// The event of that change has not been told yet: who asked for it.
    #[serde(default)]
    pub untold: Option<By>,
}

/// Why roles do not move by themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// When they do again, in milliseconds since 1970; none: when an operator says so.
    pub until_unix_ms: Option<u64>,
    /// Who said so.
    pub by: By,
}

/// Who asked for something, and why.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct By {
    /// The kind of the caller; empty: nobody, it came by itself.
    pub author: String,
    /// Why.
    pub reason: String,
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
    /// The active's process is gone.
    Died,
    /// The active was not heard.
    Silent,
    /// Edges did not hear the active, and did hear the next one.
    Unheard,
    /// The one that was granted the role before did not open.
    NotOpened,
    /// A node was found that serves in a higher epoch than the record's.
    Adopted,
    /// Somebody has heard of a higher epoch than the record's; the active was granted one above.
    EpochHeard,
    /// Somebody has heard of a later record than the store's, by which the active may lack something; it was granted the next
    /// epoch, with loss.
    RecordHeard,
    /// An operator asked for it.
    Promoted,
    /// An operator asked for the first choice to be active again.
    FailedBack,
    /// The active was about to end and asked to be relieved.
    HandedOver,
}

impl Cause {
    /// In one word, as stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Bootstrap => "bootstrap",
            Self::Restart => "restart",
            Self::Died => "died",
            Self::Silent => "silent",
            Self::Unheard => "unheard",
            Self::NotOpened => "not_opened",
            Self::Adopted => "adopted",
            Self::EpochHeard => "epoch_heard",
            Self::RecordHeard => "record_heard",
            Self::Promoted => "promoted",
            Self::FailedBack => "failed_back",
            Self::HandedOver => "handed_over",
        }
    }
}

impl PoolRecord {
    /// A pool that nobody has joined.
    pub fn new(id: PoolId) -> Self {
        Self {
            id,
            version: 0,
            written_by: String::new(),
            made_good: 0,
            epoch: Epoch(0),
            granted_by: String::new(),
            active: None,
            members: BTreeMap::new(),
            in_sync: BTreeSet::new(),
            loss_epoch: Epoch(0),
            mode: Mode::Auto,
            hold: None,
            fenced: BTreeSet::new(),
            yields_to: None,
            before: None,
            moved: Moved::default(),
            last_change: None,
            untold: None,
        }
    }

    /// The role that the record gives to one start of a node. Another start than the granted one stands by.
    pub fn role_of(&self, member: &Member) -> Role {
        if self.fenced.contains(&member.node) {
            Role::Fenced
        } else if self.active.as_ref() == Some(member) {
            Role::Active
        } else {
            Role::Standby
        }
    }

    /// What one start of a node is told of the record.
    pub fn grant_for(&self, member: &Member) -> Grant {
        let role = self.role_of(member);
        Grant {
            pool: self.id.clone(),
            member: member.clone(),
            role,
            epoch: self.epoch,
            version: self.version,
            written_by: self.written_by.clone(),
            loss_epoch: self.loss_epoch,
            active: self.active.clone(),
            in_sync: self.in_sync.clone(),
            fenced: self.fenced.iter().filter(|node| self.members.contains_key(*node)).cloned().collect(),
            yields: role == Role::Active && self.yields_to.is_some(),
            store: self.granted_by.clone(),
        }
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
            written_by: self.written_by.clone(),
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
    /// Which start of which store wrote that version; empty: not said.
    #[serde(default)]
    pub written_by: String,
    /// The epoch in force.
    pub epoch: Epoch,
    /// The epoch of the last promotion with loss.
    pub loss_epoch: Epoch,
    /// Who is active; none before the first grant.
    pub active: Option<NodeId>,
    /// The origins by name.
    pub members: Vec<PoolViewMember>,
}

/// A version of a pool's record, not to be mistaken for one of the same number that another start of a control plane wrote
/// on an older copy of the store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct RecordVersion {
    /// The version.
    pub version: u64,
    /// Which start of which store wrote it; empty: not said.
    pub written_by: String,
}

/// Of a pool, the newest version that a node was told of by each of the last starts of a control plane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RecordsTold(Vec<RecordVersion>);

impl RecordsTold {
    const STARTS_MAX: usize = 4;

    /// The newest of all.
    pub fn version(&self) -> u64 {
        self.0.last().map_or(0, |newest| newest.version)
    }

    /// Takes what is newer than all before. False where it is not.
    pub fn note(&mut self, version: u64, written_by: &str) -> bool {
        if version <= self.version() {
            return false;
        }
        if self.0.last().is_some_and(|newest| newest.written_by == written_by) {
            self.0.pop();
        } else if self.0.len() == Self::STARTS_MAX {
            self.0.remove(0);
        }
        self.0.push(RecordVersion { version, written_by: written_by.to_owned() });
        true
    }

    /// All of them, at most four, the newest last.
    pub fn all(&self) -> &[RecordVersion] {
        &self.0
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_of_an_earlier_version_still_loads() {
        let stored = r#"{"id":"main","version":3,"epoch":2,
            "active":{"node":"o1","incarnation":"0000000000000001"},
            "members":{"o1":{"incarnation":"0000000000000001","public":"a:1935","peer":"a:9001"}},
            "in_sync":[{"node":"o1","incarnation":"0000000000000001"}],"loss_epoch":0,"mode":"auto",
            "last_change":{"cause":"promoted","evidence":"asked for","at_unix_ms":5,"durations_ms":{}}}"#;
        let record: PoolRecord = serde_json::from_str(stored).unwrap();
        assert_eq!((record.version, record.epoch, record.untold.is_none()), (3, Epoch(2), true));
        assert_eq!((record.hold, record.fenced.len(), record.yields_to), (None, 0, None));
        assert_eq!(record.moved, Moved::default());
    }

    #[test]
    fn a_cause_is_stored_as_it_is_shown() {
        for cause in [
            Cause::Died,
            Cause::Silent,
            Cause::Unheard,
            Cause::NotOpened,
            Cause::RecordHeard,
            Cause::FailedBack,
            Cause::HandedOver,
        ] {
            assert_eq!(serde_json::to_string(&cause).unwrap(), format!("\"{}\"", cause.as_str()));
        }
    }

    #[test]
    fn only_the_active_is_told_to_yield_and_a_fenced_member_is_told_so() {
        let member = |node: &str| Member { node: NodeId::new(node).unwrap(), incarnation: Incarnation::from_bits(1) };
        let mut record = PoolRecord::new(PoolId::main());
        record.active = Some(member("o1"));
        record.yields_to = Some(member("o2"));
        record.fenced.insert(member("o3").node);
        let told = |node| {
            let grant = record.grant_for(&member(node));
            (grant.role, grant.yields)
        };
        assert_eq!(told("o1"), (Role::Active, true));
        assert_eq!(told("o2"), (Role::Standby, false));
        assert_eq!(told("o3"), (Role::Fenced, false));
    }
}
