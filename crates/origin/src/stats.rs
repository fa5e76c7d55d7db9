//! What this origin counts.

use std::sync::atomic::{AtomicU64, Ordering};

use cluster::Mishap;

/// Counters since the process started, and what is open now.
#[derive(Debug, Default)]
pub struct Stats {
    /// Other origins that follow this one now.
    pub followers: AtomicU64,
    /// Calls of edges that were passed on to the active origin.
    pub passed_on: AtomicU64,
    /// Calls refused because their sender had heard of a later epoch.
    pub stale_epoch_rejected: AtomicU64,
    /// Words of an epoch that the pool cannot have come to.
    pub epochs_not_believed: AtomicU64,
    /// Pulls taken since the start.
    pub pulls_served: AtomicU64,
    /// Pulls served now.
    pub pulls_open: AtomicU64,
    /// Payload bytes sent to edges that pull.
    pub pulled_bytes: AtomicU64,
    /// Publications that edges pushed, each counted again when it is resumed.
    pub pushes_served: AtomicU64,
    /// Times that a stream went on without messages that an edge could not keep.
    pub skips: AtomicU64,
    /// Streams of which a promotion may have lost something.
    pub losses: AtomicU64,
    /// Streams of which another origin said to have committed what is not in them.
    pub splits: AtomicU64,
}

impl Stats {
    /// Counts what befell a stream.
    pub fn note(&self, what: &Mishap) {
        let count = match what {
            Mishap::Skipped { .. } => &self.skips,
            Mishap::Lost { .. } => &self.losses,
            Mishap::Split { .. } => &self.splits,
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}
