//! Signs of life between nodes: how often they are given, when they are missed, and when they say nothing.

use std::time::Duration;

use tokio::time::{Interval, MissedTickBehavior, interval};

/// How often a node says on a Push, a Follow or a Link that it is there (REPLICATION P2, L1).
pub const BEAT: Duration = Duration::from_millis(100);
/// Who has given no sign on a Follow or a Link for so long is taken for gone (REPLICATION L2).
pub const SILENCE: Duration = Duration::from_millis(400);
/// A tick of ours that comes later than this tells of a busy machine, not of a silent peer (REPLICATION L2).
pub const LATE: Duration = Duration::from_millis(20);

/// Beats that do not make up for the time in which the process was away; the first is due at once.
pub fn beats(period: Duration) -> Interval {
    let mut beats = interval(period);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}
