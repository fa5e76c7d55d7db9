//! What an edge and an origin tell each other although there is nothing to tell.

use cluster::{Epoch, NodeId, NodeKind, Role};

/// Who links. The first word of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkHello {
    /// The node.
    pub node: NodeId,
    /// What it is.
    pub kind: NodeKind,
    /// The highest epoch of the pool that it has heard of.
    pub epoch: Epoch,
}

/// What a node says on a link after its hello.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkUp {
    /// It is there.
    Beat {
        /// The highest epoch that it has heard of.
        epoch: Epoch,
        /// Whether this origin's beats have come in the last 400 ms.
        hears: bool,
    },
    /// It ends in good order, and is not to be counted any more.
    Leave {
        /// The highest epoch that it has heard of.
        epoch: Epoch,
    },
}

/// What an origin says on a link: every 100 ms, and at once when it changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LinkDown {
    /// It is there.
    Beat {
        /// The highest epoch that it has heard of.
        epoch: Epoch,
        /// What it is in that epoch.
        role: Role,
        /// Where the active origin's peer port is, if this one knows.
        active: Option<String>,
    },
}
