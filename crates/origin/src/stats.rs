//! What this origin counts.

use std::sync::atomic::AtomicU64;

/// Counters since the process started, and what is open now.
#[derive(Debug, Default)]
pub struct Stats {
    /// Other origins that follow this one now.
    pub followers: AtomicU64,
    /// Calls of edges that were passed on to the active origin.
    pub passed_on: AtomicU64,
    /// Calls refused because their sender had heard of a later epoch.
    pub stale_epoch_rejected: AtomicU64,
    /// Pulls taken since the start.
    pub pulls_served: AtomicU64,
    /// Pulls served now.
    pub pulls_open: AtomicU64,
    /// Payload bytes sent to edges that pull.
    pub pulled_bytes: AtomicU64,
    /// Publications that edges pushed, each counted again when it is resumed.
    pub pushes_served: AtomicU64,
}
