//! What happens to a pool, to be told.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use super::{By, Cause};
use crate::{Epoch, Member, NodeId};

/// Something that happened to a pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PoolEvent {
    /// The active role was granted. Told once for each grant: when the new active has opened and gone on with a stream that
    /// was live, or has not in time.
    Granted(Granted),
    /// The new active has gone on with a stream that was live, after its grant had been told.
    FirstFrame {
        /// Who.
        member: Member,
        /// In which epoch.
        epoch: Epoch,
        /// So long after its public port had opened.
        after: Duration,
    },
    /// A promotion lost what only others had.
    ResumedWithLoss {
        /// Who goes on with what it has.
        member: Member,
        /// In which epoch.
        epoch: Epoch,
        /// Where its logs end.
        from: (Epoch, u64),
    },
    /// One that was in sync before a promotion with loss is heard again: so far its logs go, and so much was lost at most.
    LossKnown {
        /// Who.
        member: Member,
        /// The epoch of the promotion.
        epoch: Epoch,
        /// Where the logs of the one that was promoted ended.
        from: (Epoch, u64),
        /// Where its own end.
        to: (Epoch, u64),
    },
    /// A node tells of an epoch that the pool cannot have come to; it is not counted.
    EpochNotBelieved {
        /// Who.
        node: NodeId,
        /// What it says.
        epoch: Epoch,
        /// Up to which epoch it would be believed.
        believed: Epoch,
    },
    /// The store was older than what the active goes by: its word was taken over.
    RecordAdopted {
        /// The active.
        member: Member,
        /// The version that it goes by.
        version: u64,
    },
    /// A member is in sync: nothing is committed without it.
    Grown {
        /// Who.
        member: Member,
        /// In which epoch.
        epoch: Epoch,
    },
    /// The active no longer waits for a member.
    Shrunk {
        /// Who.
        member: Member,
        /// In which epoch.
        epoch: Epoch,
    },
    /// The active has taken members out of the in-sync set on its own word, when nobody could be asked.
    Alone {
        /// The active.
        member: Member,
        /// In which epoch.
        epoch: Epoch,
        /// Who was taken out.
        without: BTreeSet<Member>,
    },
    /// An origin went on alone in an epoch after which another had been granted the role: both may have committed.
    Split {
        /// The one that went on alone.
        member: Member,
        /// In which epoch.
        epoch: Epoch,
        /// The epoch in force.
        current: Epoch,
    },
    /// Roles no longer move by themselves.
    Held {
        /// Who said so, and why.
        by: By,
        /// In milliseconds since 1970; none: until it is released.
        until_unix_ms: Option<u64>,
    },
    /// Roles move by themselves again.
    Released {
        /// Who said so, and why.
        by: By,
    },
    /// A member is to hold no role.
    Fenced {
        /// Who.
        node: NodeId,
        /// Who said so, and why.
        by: By,
    },
    /// A fenced member may hold a role again: it was let in, or was found to serve in an epoch above the record's.
    Unfenced {
        /// Who.
        node: NodeId,
        /// Who said so, and why.
        by: By,
    },
    /// A planned move was given up: the active goes on.
    NotMoved {
        /// Who was to be active.
        member: Member,
        /// Why not.
        why: PlanFailed,
    },
    /// Something needs a look.
    Raised {
        /// What.
        alarm: PoolAlarm,
        /// What was seen, for people.
        evidence: String,
    },
    /// It no longer does.
    Cleared {
        /// What.
        alarm: PoolAlarm,
    },
}

/// A grant of the active role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Granted {
    /// To whom.
    pub member: Member,
    /// In which epoch.
    pub epoch: Epoch,
    /// Why.
    pub cause: Cause,
    /// What was seen.
    pub evidence: String,
    /// Whether something was lost by it.
    pub lossy: bool,
    /// Whether it has opened by now.
    pub opened: bool,
    /// How long its parts took, in milliseconds.
    pub durations_ms: BTreeMap<String, u64>,
    /// Who asked for it.
    pub by: By,
}

/// Something about a pool that needs a look as long as it lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PoolAlarm {
    /// The control plane does not hear the active, and others do: no role moves.
    ControlLink,
    /// The active is gone, and nobody may take its place.
    NotReplaced,
}

impl PoolAlarm {
    /// As it is shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ControlLink => "CP_LINK",
            Self::NotReplaced => "NOT_REPLACED",
        }
    }
}

/// Why a planned move was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PlanFailed {
    /// The active has not committed all that it took in time.
    #[error("the active has not yielded in time")]
    NotYielded,
    /// The member left the in-sync set, is not heard, or is fenced.
    #[error("the member is no longer in sync, not heard, or fenced")]
    NotReady,
    /// The role has moved otherwise meanwhile.
    #[error("the role has moved otherwise meanwhile")]
    Overtaken,
}
