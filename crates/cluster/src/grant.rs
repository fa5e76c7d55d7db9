//! What a pool's record says to one origin, and what an origin asks of it.

use std::collections::BTreeSet;

use crate::{Epoch, Member, NodeId, PoolId, Role};

/// The role of one origin, with all of the record that it needs. Of two, the one with the higher version counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Grant {
    /// Which pool.
    pub pool: PoolId,
    /// Whose role it is.
    pub member: Member,
    /// The role.
    pub role: Role,
    /// The pool's epoch.
    pub epoch: Epoch,
    /// The version of the record.
    pub version: u64,
    /// Which start of which store wrote that version; empty: not said.
    pub written_by: String,
    /// The epoch of the last promotion with loss; zero when there was none.
    pub loss_epoch: Epoch,
    /// Who is active; none before the first grant.
    pub active: Option<Member>,
    /// Without the ack of each of these nothing is committed.
    pub in_sync: BTreeSet<Member>,
    /// Nodes that an operator keeps out of service: none of them is to be asked in.
    pub fenced: BTreeSet<NodeId>,
    /// The active is to take nothing more and to say when all it took is committed: another is about to be active.
    pub yields: bool,
    /// Which start of which store granted the epoch, so that two grants of one number are told apart; empty: not said.
    pub store: String,
}

/// The active origin asks for a change of the in-sync set. It counts only on the version it names; the answer is the
/// next record, whatever became of the request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SyncRequest {
    /// Which pool.
    pub pool: PoolId,
    /// The epoch in which the sender is active.
    pub epoch: Epoch,
    /// The version of the record that it knows.
    pub version: u64,
    /// What is to change.
    pub change: SyncChange,
}

/// A change of the in-sync set.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SyncChange {
    /// This member has all that is committed.
    Grow(Member),
    /// This member holds everyone up, or is gone.
    Shrink(Member),
    /// These were taken out on the active's own word, while nobody else could be asked.
    Alone {
        /// Who was taken out.
        without: BTreeSet<Member>,
    },
}
