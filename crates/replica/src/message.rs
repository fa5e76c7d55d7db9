//! What two origins say to each other on a Follow.

use std::sync::Arc;

use cluster::{Epoch, Lineage, Member, NodeId};
use hub::Item;
use media::{Frame, PublicationId, StreamName};

/// Who follows. The first word of a Follow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowHello {
    /// The follower.
    pub member: Member,
    /// The highest epoch it has heard of.
    pub epoch: Epoch,
}

/// What a follower says.
#[derive(Debug, Clone, PartialEq)]
pub enum FollowUp {
    /// "I am there."
    Beat {
        /// The highest epoch it has heard of.
        epoch: Epoch,
    },
    /// All that it holds: its answer to [`FollowDown::Lead`].
    State {
        /// The epoch of the lead that it answers.
        epoch: Epoch,
        /// Its logs, and those that ended while it was alone.
        logs: Vec<LogState>,
    },
    /// It holds everything up to and with this order.
    Ack {
        /// The epoch that the order belongs to.
        epoch: Epoch,
        /// The order.
        order: u64,
    },
}

/// One log of a follower.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogState {
    /// The stream.
    pub name: StreamName,
    /// Its epochs and its end.
    pub lineage: Lineage,
    /// All below this position was committed, as far as the follower knows.
    pub committed_below: u64,
    /// The oldest position that the follower has in memory.
    pub first_seq: u64,
    /// From this position on the follower committed it as active, alone or without some whom the record named.
    pub alone_from: Option<u64>,
    /// The stream ended while the follower was alone: of its log nothing else is left.
    pub ended: bool,
}

/// What is said to a follower. All of it is in the epoch it names.
#[derive(Debug, Clone)]
pub enum FollowDown {
    /// "I am there."
    Beat {
        /// The highest epoch the sender has heard of.
        epoch: Epoch,
        /// Whether the sender is active in it.
        active: bool,
        /// All orders below this one are committed; 0 when not even what the log held before is, or the sender is not
        /// active.
        committed: u64,
    },
    /// The sender is active: the follower is to say what it holds.
    Lead {
        /// The epoch in which it is active.
        epoch: Epoch,
    },
    /// What of the follower's logs is the same as the sender's. It discards the rest; streams that are not named, whole.
    Settled {
        /// The epoch.
        epoch: Epoch,
        /// Each log that the follower keeps, and one more than the last position that it keeps of it.
        keep: Vec<(StreamName, u64)>,
        /// Publications that must not come back.
        gone: Vec<PublicationId>,
    },
    /// Completes or replaces a log, or begins one that the follower does not have, once [`FollowDown::SnapshotEnd`] has
    /// come, and not before.
    SnapshotBegin {
        /// The epoch.
        epoch: Epoch,
        /// The stream.
        snapshot: SnapshotHead,
    },
    /// More items of the log that was begun.
    SnapshotItems {
        /// The epoch.
        epoch: Epoch,
        /// In the order of their positions.
        items: Vec<Arc<Item>>,
    },
    /// The log is complete.
    SnapshotEnd {
        /// The epoch.
        epoch: Epoch,
    },
    /// What was appended, in the order in which the active applied it.
    Entries {
        /// The epoch.
        epoch: Epoch,
        /// The order of the last entry; that of the one before when there are none. The follower acks it. Orders of
        /// entries are consecutive.
        order: u64,
        /// All orders below this one are committed; 0: not even what the log held before.
        committed: u64,
        /// The entries.
        entries: Vec<Entry>,
    },
}

/// What is known of a log before its items.
#[derive(Debug, Clone, PartialEq)]
pub struct SnapshotHead {
    /// The stream.
    pub name: StreamName,
    /// Its epochs and its end.
    pub lineage: Lineage,
    /// The follower's log goes on at this position with the items that come; None: they replace it.
    pub from: Option<u64>,
    /// All below this position is known to be committed.
    pub committed_below: u64,
    /// Metadata and decoder set-up in force before the first item, where the log is replaced.
    pub setup: Vec<Frame>,
    /// Through whom its publication comes.
    pub source: Source,
}

/// Where a publication comes from.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Source {
    /// The edge that took it in; None for an encoder at an origin's public port.
    pub edge: Option<NodeId>,
    /// The encoder's address.
    pub peer: String,
}

/// One item on its way to a follower.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The stream.
    pub name: StreamName,
    /// The item.
    pub item: Arc<Item>,
    /// Through whom its publication comes, where the item opens one.
    pub source: Option<Source>,
}

/// How much goes into one message to a follower: it closes when either is reached.
pub(crate) const BATCH_ITEMS: usize = 128;
pub(crate) const BATCH_BYTES: usize = 256 << 10;
