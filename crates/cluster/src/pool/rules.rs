//! By which measures a pool's roles move.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::NodeId;

/// How a pool behaves. The numbers in brackets are the defaults; a drill raises the limits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRules {
    /// After a start of the control plane no role changes for so long, unless the cluster is new (3 s).
    pub settle: Duration,
    /// After this time what has reported is enough, even if the active has not (30 s).
    pub settle_max: Duration,
    /// In a new cluster, how long to wait for further origins after the first (300 ms).
    pub gather: Duration,
    /// Which origin becomes active in a new cluster, and where a fail-back goes; none: the first to come.
    pub first_active: Option<NodeId>,
    /// A session on which nothing was heard for so long is silent (600 ms).
    pub silence: Duration,
    /// Only who was heard within this time may become active (300 ms).
    pub candidate_heard: Duration,
    /// An edge that is not heard counts as one that hears the active, for so long (5 s).
    pub edge_trust: Duration,
    /// Edges that hear the candidate and not the active outvote a session that still stands after so long (200 ms).
    pub edges_wait: Duration,
    /// Who has just come says nothing about a node that it has not heard yet, for so long (1 s); nor does an edge about one
    /// that it lost before that was granted the role.
    pub witness_after: Duration,
    /// Whether a member that is not in sync may become active by itself.
    pub unclean: Unclean,
    /// No member in sync was heard for so long: one that is not may become active (2 s).
    pub unclean_after: Duration,
    /// How long a member may take to open after it was granted the role, before the next one is (300 ms).
    pub open_within: Duration,
    /// How long the active may take to yield before a planned move is given up (1 s).
    pub yield_within: Duration,
    /// A role change is told when the new active has opened, at the latest after this time (2 s).
    pub tell_within: Duration,
    /// A fault that nothing can be done about becomes an alarm after so long (1 s).
    pub alarm_after: Duration,
    /// How often roles may move by themselves.
    pub moves: MoveLimits,
}

impl Default for PoolRules {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(3),
            settle_max: Duration::from_secs(30),
            gather: Duration::from_millis(300),
            first_active: None,
            silence: Duration::from_millis(600),
            candidate_heard: Duration::from_millis(300),
            edge_trust: Duration::from_secs(5),
            edges_wait: Duration::from_millis(200),
            witness_after: Duration::from_secs(1),
            unclean: Unclean::Allow,
            unclean_after: Duration::from_secs(2),
            open_within: Duration::from_millis(300),
            yield_within: Duration::from_secs(1),
            tell_within: Duration::from_secs(2),
            alarm_after: Duration::from_secs(1),
            moves: MoveLimits::default(),
        }
    }
}

/// Whether a member that is not in sync may become active by itself when no other is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unclean {
    /// It may, and what is lost is named.
    #[default]
    Allow,
    /// An operator decides.
    Never,
}

/// How often the role may move by itself (R5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MoveLimits {
    /// Moves because of silence in `silence_window`; when one more is due, the pool is held (3).
    pub silence_max: usize,
    /// The time in which they are counted (10 min).
    pub silence_window: Duration,
    /// Between two moves because of silence (30 s).
    pub silence_apart: Duration,
    /// After any move, before one because a process died (1 s).
    pub death_apart: Duration,
}

impl Default for MoveLimits {
    fn default() -> Self {
        Self {
            silence_max: 3,
            silence_window: Duration::from_secs(600),
            silence_apart: Duration::from_secs(30),
            death_apart: Duration::from_secs(1),
        }
    }
}
