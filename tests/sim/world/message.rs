//! What processes say to each other.

use std::{collections::BTreeSet, sync::Arc};

use cluster::{Epoch, Grant, KnownRecord, NodeId, RecordVersion, SyncRequest};
use hub::Item;
use media::{MediaMessage, PublicationId, StreamName};
use replica::{FollowDown, FollowHello, FollowUp};

/// A message on a connection. The first one says what the connection is for.
#[derive(Debug, Clone)]
pub enum Msg {
    /// The connection is gone.
    Closed,
    /// An origin follows another.
    FollowOpen(FollowHello),
    FollowUp(FollowUp),
    FollowDown(FollowDown),
    /// An edge, or an origin, holds a Link.
    LinkUp {
        epoch: Epoch,
        hears: bool,
    },
    LinkDown {
        epoch: Epoch,
        active: bool,
    },
    /// An edge sends a publication.
    PushOpen(PushOpen),
    PushItem {
        number: u64,
        message: MediaMessage,
    },
    PushSkip {
        from: u64,
        to: u64,
    },
    PushClose {
        number: u64,
    },
    Opened {
        epoch: Epoch,
        next_number: u64,
    },
    Acked {
        through: u64,
    },
    PushEnded,
    /// Another encoder feeds the stream, or this one has ended.
    Refused {
        gone: bool,
    },
    /// An edge wants a stream.
    PullOpen(PullOpen),
    /// How far the stream is committed: first, and again while nothing comes.
    Head {
        epoch: Epoch,
        head: u64,
        parted_from: Option<u64>,
    },
    Items {
        epoch: Epoch,
        items: Vec<Arc<Item>>,
    },
    NotFound,
    Ended,
    /// To a Push or a Pull.
    NotActive {
        epoch: Epoch,
    },
    /// A node speaks to the control plane.
    Beat(Beat),
    Ask(SyncRequest),
    /// All that the active took is committed: another may be granted the role.
    Yielded {
        epoch: Epoch,
    },
    /// The control plane speaks to a node.
    Answer,
    Grant(Grant),
    /// The record that an edge is shown.
    Shown(RecordVersion),
}

#[derive(Debug, Clone)]
pub struct PushOpen {
    pub name: StreamName,
    pub publication: PublicationId,
    pub first_number: u64,
    /// None: an encoder at the public port.
    pub edge: Option<NodeId>,
    pub epoch: Epoch,
    pub via: bool,
}

#[derive(Debug, Clone)]
pub struct PullOpen {
    pub name: StreamName,
    /// The position after which to begin, and the epoch in which what stands there came.
    pub after: Option<(u64, Epoch)>,
    pub epoch: Epoch,
    pub via: bool,
}

/// How a node stands, as it tells the control plane.
#[derive(Debug, Clone)]
pub struct Beat {
    pub hears: BTreeSet<NodeId>,
    pub epoch: Epoch,
    /// An edge's: the records that it was shown.
    pub records: Vec<RecordVersion>,
    /// An origin's own part.
    pub origin: Option<OriginBeat>,
}

#[derive(Debug, Clone)]
pub struct OriginBeat {
    pub member: cluster::Member,
    pub standing: replica::Standing,
    pub record: Option<KnownRecord>,
}
