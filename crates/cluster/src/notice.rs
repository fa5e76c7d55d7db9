//! What happens to a stream that an operator has to hear of.

use media::StreamName;

use crate::NodeId;

/// Something out of the ordinary that happened to a stream at its active origin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// The stream.
    pub stream: StreamName,
    /// What happened.
    pub what: Mishap,
}

/// What happened to a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mishap {
    /// An edge could not keep what the origins did not take: the messages of a publication from one number to another,
    /// both included, are not in the stream (REPLICATION P2).
    Skipped {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
    /// A promotion with loss: what was committed from this position on may be lost (C7).
    Lost {
        /// The first position that is not known to be kept.
        from: u64,
    },
    /// Another origin has committed positions that this stream goes on without, or has with another content: from the
    /// first to the last, both included (C5, R1).
    Split {
        /// Whose they are.
        node: NodeId,
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
}

impl Mishap {
    /// In one word, as events and logs name it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Skipped { .. } => "SKIP",
            Self::Lost { .. } => "RESUME_WITH_LOSS",
            Self::Split { .. } => "SPLIT",
        }
    }
}
