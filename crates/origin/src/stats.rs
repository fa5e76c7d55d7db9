//! What this origin counts.

use std::sync::atomic::AtomicU64;

/// Counters since the process started.
#[derive(Debug, Default)]
pub struct Stats {
    /// Publications refused because they had no right to their name.
    pub publish_denied: AtomicU64,
    /// Calls refused because their sender had heard of a later epoch.
    pub stale_epoch_rejected: AtomicU64,
    /// Pulls served now.
    pub pulls: AtomicU64,
}
