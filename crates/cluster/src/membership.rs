//! Who is in the cluster, and who is heard.

mod starts;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

pub use starts::{FormerStart, Starts};

use crate::{Address, Epoch, Incarnation, Member, NodeId, NodeKind, PoolId, RecordVersion, Role};

/// The nodes that the control plane knows. Kept in memory: after a restart the nodes tell again. Only which starts of
/// them there were is for a store to keep, so that one of long ago is not taken for new:
///
/// - [`Membership::restore`] takes over what the store has, before any node is heard.
/// - [`Membership::unstored`] is what it is to have, to be written before the node is told that it is registered; then
///   [`Membership::handle_stored`].
#[derive(Debug)]
pub struct Membership {
    limits: MembershipLimits,
    nodes: BTreeMap<NodeId, Entry>,
    /// Of the nodes, and of some that have not come since the control plane started.
    starts: starts::Book,
    /// When the starts were taken over from a store.
    restored: Option<Instant>,
    sessions_opened: u64,
}

/// When a node counts as silent, and how many there may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MembershipLimits {
    /// How often nodes are told to beat.
    pub beat_interval: Duration,
    /// No beat for so long: silent.
    pub silence_max: Duration,
    /// An edge whose session has been closed for so long is forgotten. Origins are not: they belong to a pool.
    pub forget_after: Duration,
    /// How many nodes at most; further ones are refused.
    pub nodes_max: usize,
}

impl Default for MembershipLimits {
    fn default() -> Self {
        Self {
            beat_interval: Duration::from_millis(150),
            silence_max: Duration::from_millis(600),
            forget_after: Duration::from_secs(600),
            nodes_max: 4096,
        }
    }
}

/// What a node says when it makes itself known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registration {
    /// Which start of which node.
    pub member: Member,
    /// What it is.
    pub kind: NodeKind,
    /// For an origin, its pool.
    pub pool: Option<PoolId>,
    /// Where it can be reached.
    pub addresses: NodeAddresses,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// The version of its program.
    pub version: String,
    /// What it can do beyond the first version of the protocol.
    pub capabilities: Vec<String>,
    /// The highest epoch of its pool that it has ever heard of.
    pub highest_epoch: Epoch,
    /// The epoch in which it serves as active at this moment.
    pub serving: Option<Epoch>,
}

/// Where a node can be reached.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NodeAddresses {
    /// RTMP; for an origin also relay gRPC.
    pub public: Option<Address>,
    /// gRPC between the services.
    pub peer: Option<Address>,
    /// HTTP playback.
    pub http: Option<Address>,
    /// Admin HTTP.
    pub admin: Option<Address>,
}

/// What a node says with every beat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Beat {
    /// How busy it is.
    pub load: Load,
    /// The role it takes itself to have.
    pub role: Option<Role>,
    /// The epoch in which its public port is open.
    pub serving: Option<Epoch>,
    /// The highest epoch it has ever heard of, of whatever pool.
    pub highest_epoch: Epoch,
    /// Of an edge: the same by pool; under None, of pools that it knows by address alone.
    pub pool_epochs: BTreeMap<Option<PoolId>, Epoch>,
    /// Of an edge: of which records of each pool control planes have told it.
    pub pool_records: BTreeMap<PoolId, Vec<RecordVersion>>,
    /// Which nodes it hears itself.
    pub hears: Vec<NodeId>,
    /// Of an origin: the last entry of its logs, as the epoch in which it was applied and its order in that.
    pub head: (Epoch, u64),
    /// Of an origin that stands by: whether it follows the active one now.
    pub follows_active: bool,
    /// Of an origin: the pool record that it goes by.
    pub record: Option<KnownRecord>,
    /// Of an origin that serves: what came of the streams that were live when it began to.
    pub first_frame: FirstFrame,
}

impl Beat {
    /// The highest epoch of this pool of which an edge has heard, or may have.
    pub fn epoch_of(&self, pool: &PoolId) -> Epoch {
        // An edge of an earlier version does not say of which pool it speaks.
        if self.pool_epochs.is_empty() {
            return self.highest_epoch;
        }
        let of = |pool| self.pool_epochs.get(&pool).copied().unwrap_or_default();
        of(Some(pool.clone())).max(of(None))
    }
}

/// What came of the streams that were live when an origin began to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FirstFrame {
    /// There were none, or it does not say.
    #[default]
    NotTold,
    /// No frame of them has been committed since.
    Awaited,
    /// The first one was so long after the public port had opened.
    After(Duration),
}

/// The pool record that an origin goes by. A control plane whose store is of an older copy learns it from here.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnownRecord {
    /// Its version.
    pub version: u64,
    /// Which start of which store wrote that version; empty: not said.
    pub written_by: String,
    /// The epoch of the last promotion with loss.
    pub loss_epoch: Epoch,
    /// Without the ack of each of these nothing is committed.
    pub in_sync: BTreeSet<Member>,
    /// The epoch that it is of.
    pub epoch: Epoch,
    /// Which start of which store granted that epoch; empty when nobody has said.
    pub granted_by: String,
}

/// How busy a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Load {
    /// Sessions of encoders and viewers together.
    pub sessions: u32,
    /// Sessions of viewers.
    pub viewers: u32,
    /// Streams it holds.
    pub streams: u32,
    /// Bits it takes in each second.
    pub ingress_bits_per_second: u64,
    /// Bits it sends out each second.
    pub egress_bits_per_second: u64,
    /// How late its own timers ran at worst since the last beat.
    pub task_lag: Duration,
}

/// What is heard of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Liveness {
    /// It beats.
    Alive,
    /// Its session is open, but no beat came for longer than allowed.
    Silent,
    /// Its session is closed.
    Gone,
    /// It was told to drain, and is heard.
    Draining,
}

impl Liveness {
    /// In one word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Alive => "alive",
            Self::Silent => "silent",
            Self::Gone => "gone",
            Self::Draining => "draining",
        }
    }
}

/// A node as it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Node {
    /// What it said when it made itself known.
    pub registration: Registration,
    /// What is heard of it.
    pub liveness: Liveness,
    /// Its last beat.
    pub beat: Beat,
    /// When this incarnation was first heard: milliseconds since 1970.
    pub registered_unix_ms: u64,
    /// When it was last heard: milliseconds since 1970.
    pub heard_unix_ms: u64,
}

/// One NodeSession, numbered in the order of opening. What a replaced session says is not heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionNumber(u64);

/// What watchers should be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// A node came: `was` is its former incarnation, if it restarted.
    Joined {
        /// Who.
        member: Member,
        /// The incarnation it had before.
        was: Option<Incarnation>,
    },
    /// What is heard of a node has changed.
    Liveness {
        /// Who.
        member: Member,
        /// Before.
        was: Liveness,
        /// Now.
        now: Liveness,
    },
    /// What it says of itself has changed: its role, the epoch in which it serves, its addresses.
    Updated {
        /// Who.
        member: Member,
    },
    /// A node was taken out of the list.
    Left {
        /// Who.
        member: Member,
    },
}

#[derive(Debug)]
struct Entry {
    node: Node,
    heard: Instant,
    session: Option<SessionNumber>,
    draining: bool,
}

impl Membership {
    /// Nobody yet.
    pub fn new(limits: MembershipLimits) -> Self {
        let starts = starts::Book::default();
        Self { limits, nodes: BTreeMap::new(), starts, restored: None, sessions_opened: 0 }
    }

    /// Takes over the starts that a store has kept. A node that does not come is forgotten like one that is gone.
    pub fn restore(&mut self, stored: impl IntoIterator<Item = Starts>, now: Instant, unix_ms: u64) {
        self.restored = Some(now);
        stored.into_iter().take(self.limits.nodes_max).for_each(|starts| self.starts.restore(starts, unix_ms));
    }

    /// The starts that the store is to have; without any, it is to have nothing of that node.
    pub fn unstored(&self) -> Vec<(NodeId, Option<Starts>)> {
        self.starts.unstored()
    }

    /// Whether the store has all of a node's starts.
    pub fn is_stored(&self, node: &NodeId) -> bool {
        self.starts.is_stored(node)
    }

    /// What was [`Membership::unstored`] is on disk.
    pub fn handle_stored(&mut self, stored: &[(NodeId, Option<Starts>)]) {
        self.starts.stored(stored);
    }

    /// The starts of a node, also of one that has not come since the control plane started.
    pub fn starts_of(&self, node: &NodeId) -> Option<&Starts> {
        self.starts.get(node)
    }

    /// The limits in force.
    pub fn limits(&self) -> &MembershipLimits {
        &self.limits
    }

    /// All nodes by name.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.nodes.values().map(|entry| &entry.node)
    }

    /// One node.
    pub fn get(&self, id: &NodeId) -> Option<&Node> {
        self.nodes.get(id).map(|entry| &entry.node)
    }

    /// A node makes itself known. `Ok(None)`: it was known just so.
    pub fn register(&mut self, new: Registration, now: Instant, unix_ms: u64) -> Result<Option<Change>, RegisterError> {
        let member = new.member.clone();
        if let Some(starts) = self.starts.get(&member.node) {
            if starts.kind != new.kind {
                return Err(RegisterError::OtherKind { known: starts.kind });
            }
            if starts.has_replaced(member.incarnation) {
                return Err(RegisterError::Replaced { by: starts.current });
            }
        }
        let entry = self.nodes.get_mut(&member.node);
        if let Some(entry) = entry.filter(|entry| entry.node.registration.member == member) {
            let same = entry.node.registration == new;
            entry.node.registration = new;
            entry.hear(now, unix_ms);
            return Ok((!same).then_some(Change::Updated { member }));
        }
        if !self.nodes.contains_key(&member.node) && self.nodes.len() >= self.limits.nodes_max {
            return Err(RegisterError::TooMany { max: self.limits.nodes_max });
        }
        self.make_room_for(&member.node);
        let was = self.starts.note(&member, new.kind, unix_ms);
        self.nodes.insert(member.node.clone(), Entry::new(new, now, unix_ms));
        Ok(Some(Change::Joined { member, was }))
    }

    /// The starts of a node that has not come for long give way to a new one's; an edge's first.
    fn make_room_for(&mut self, node: &NodeId) {
        if self.starts.get(node).is_some() || self.starts.len() < self.limits.nodes_max {
            return;
        }
        let absent = self.starts.iter().filter(|starts| !self.nodes.contains_key(&starts.node));
        if let Some(starts) = absent.min_by_key(|starts| starts.kind != NodeKind::Edge).cloned() {
            self.starts.remove(&starts.node);
        }
    }

    /// A registered node opens its session; one that it had before is replaced.
    pub fn open_session(
        &mut self,
        member: &Member,
        now: Instant,
        unix_ms: u64,
    ) -> Result<(SessionNumber, Option<Change>), SessionError> {
        let entry = self.nodes.get_mut(&member.node).ok_or(SessionError::Unknown)?;
        if entry.node.registration.member.incarnation != member.incarnation {
            return Err(SessionError::Replaced);
        }
        self.sessions_opened += 1;
        let number = SessionNumber(self.sessions_opened);
        entry.session = Some(number);
        entry.hear(now, unix_ms);
        Ok((number, entry.update(now, &self.limits)))
    }

    /// A beat came on a session. `Err`: the session was replaced and should end.
    pub fn beat(
        &mut self,
        node: &NodeId,
        session: SessionNumber,
        beat: Beat,
        now: Instant,
        unix_ms: u64,
    ) -> Result<Vec<Change>, SessionError> {
        let entry = self.nodes.get_mut(node).ok_or(SessionError::Unknown)?;
        if entry.session != Some(session) {
            return Err(SessionError::Replaced);
        }
        let served = (entry.node.beat.role, entry.node.beat.serving);
        let serves = (beat.role, beat.serving);
        entry.node.beat = beat;
        entry.hear(now, unix_ms);
        let serving = (served != serves).then(|| Change::Updated { member: entry.member() });
        Ok(entry.update(now, &self.limits).into_iter().chain(serving).collect())
    }

    /// A session ended; nothing happens if another one has replaced it.
    pub fn close_session(&mut self, node: &NodeId, session: SessionNumber, now: Instant) -> Option<Change> {
        let entry = self.nodes.get_mut(node).filter(|entry| entry.session == Some(session))?;
        entry.session = None;
        entry.node.beat.serving = None;
        entry.update(now, &self.limits)
    }

    /// A node was told to drain.
    pub fn drain(&mut self, node: &NodeId, now: Instant) -> Option<Change> {
        let entry = self.nodes.get_mut(node)?;
        entry.draining = true;
        entry.update(now, &self.limits)
    }

    /// Takes a node out of the list; with an incarnation, only that one.
    pub fn deregister(&mut self, node: &NodeId, only: Option<Incarnation>) -> Result<Change, DeregisterError> {
        let current = self.starts.get(node).ok_or(DeregisterError::Unknown)?.current;
        if only.is_some_and(|only| only != current) {
            return Err(DeregisterError::OtherIncarnation);
        }
        self.nodes.remove(node);
        self.starts.remove(node);
        Ok(Change::Left { member: Member { node: node.clone(), incarnation: current } })
    }

    /// When the next node turns silent or is forgotten.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let absent = self.restored.map(|at| at + self.limits.forget_after);
        self.nodes.values().filter_map(|entry| entry.due(&self.limits)).chain(absent).min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) -> Vec<Change> {
        let mut changes = Vec::new();
        self.nodes.retain(|_, entry| {
            if entry.forgettable() && now >= entry.heard + self.limits.forget_after {
                changes.push(Change::Left { member: entry.member() });
                self.starts.remove(&entry.node.registration.member.node);
                return false;
            }
            changes.extend(entry.update(now, &self.limits));
            true
        });
        if self.restored.is_some_and(|at| now >= at + self.limits.forget_after) {
            self.restored = None;
            changes.extend(self.forget_absent_edges());
        }
        changes
    }

    /// Edges that have not come since the control plane started.
    fn forget_absent_edges(&mut self) -> Vec<Change> {
        let absent = |starts: &&Starts| starts.kind == NodeKind::Edge && !self.nodes.contains_key(&starts.node);
        let absent: Vec<_> = self.starts.iter().filter(absent).map(|starts| starts.node.clone()).collect();
        let gone = absent.iter().filter_map(|node| self.starts.remove(node));
        let left = |Starts { node, current, .. }| Change::Left { member: Member { node, incarnation: current } };
        gone.map(left).collect()
    }
}

impl Entry {
    fn new(registration: Registration, now: Instant, unix_ms: u64) -> Self {
        let beat = Beat { highest_epoch: registration.highest_epoch, ..Beat::default() };
        let liveness = Liveness::Gone;
        let node = Node { registration, liveness, beat, registered_unix_ms: unix_ms, heard_unix_ms: unix_ms };
        Self { node, heard: now, session: None, draining: false }
    }

    fn member(&self) -> Member {
        self.node.registration.member.clone()
    }

    fn hear(&mut self, now: Instant, unix_ms: u64) {
        self.heard = now;
        self.node.heard_unix_ms = unix_ms;
    }

    fn update(&mut self, now: Instant, limits: &MembershipLimits) -> Option<Change> {
        let was = self.node.liveness;
        self.node.liveness = match self.session {
            None => Liveness::Gone,
            Some(_) if now >= self.heard + limits.silence_max => Liveness::Silent,
            Some(_) if self.draining => Liveness::Draining,
            Some(_) => Liveness::Alive,
        };
        let now = self.node.liveness;
        (was != now).then(|| Change::Liveness { member: self.member(), was, now })
    }

    fn forgettable(&self) -> bool {
        self.session.is_none() && self.node.registration.kind == NodeKind::Edge
    }

    fn due(&self, limits: &MembershipLimits) -> Option<Instant> {
        match self.node.liveness {
            Liveness::Alive | Liveness::Draining => Some(self.heard + limits.silence_max),
            Liveness::Gone if self.forgettable() => Some(self.heard + limits.forget_after),
            Liveness::Gone | Liveness::Silent => None,
        }
    }
}

/// Why a node is not taken into the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// A later start of the same node is known.
    #[error(
        "this start of the node was replaced by a later one, {by}: end this process if both are of one node, otherwise \
         give each a name of its own (`node` in its configuration)"
    )]
    Replaced {
        /// The incarnation in force.
        by: Incarnation,
    },
    /// A node of another kind has the name.
    #[error("an {} of this name is known", .known.as_str())]
    OtherKind {
        /// What the known one is.
        known: NodeKind,
    },
    /// The list is full.
    #[error("there are {max} nodes already")]
    TooMany {
        /// How many there may be.
        max: usize,
    },
}

/// Why a session does not stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SessionError {
    /// The node must register first.
    #[error("the node is not registered")]
    Unknown,
    /// A later session, or a later start of the node, has taken its place.
    #[error("a later session of the node has taken this one's place")]
    Replaced,
}

/// Why a node is not taken out of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DeregisterError {
    /// It is not in the list.
    #[error("the node is not registered")]
    Unknown,
    /// Another start of it is registered.
    #[error("another incarnation of the node is registered")]
    OtherIncarnation,
}

#[cfg(test)]
#[path = "membership/tests.rs"]
mod tests;
