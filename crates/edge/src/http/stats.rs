//! What is counted.

use std::sync::atomic::{AtomicU64, Ordering};

use rtmp_net::rows::Totals;

/// Counts of what the HTTP side did since it was made. They only grow.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections taken.
    pub accepted: AtomicU64,
    /// Viewers who got their stream.
    pub plays: AtomicU64,
    /// Viewers who did not, whatever the reason.
    pub plays_refused: AtomicU64,
    /// Messages to viewers.
    pub frames_out: AtomicU64,
    /// Bytes of FLV to viewers; where a row writes chunks, with their frame of some ten bytes a group.
    pub bytes_out: AtomicU64,
    /// Times that a slow viewer went on at a later keyframe.
    pub skips: AtomicU64,
    /// Items that slow viewers missed by that.
    pub frames_skipped: AtomicU64,
    /// Viewers cut because they took nothing for too long.
    pub stalled: AtomicU64,
    /// Viewers cut because they never caught up.
    pub behind: AtomicU64,
    /// Viewers ended by an operator.
    pub kicked: AtomicU64,
}

impl Stats {
    /// A slow viewer has left out so many items; none: it has not skipped.
    pub(super) fn count_skip(&self, missed: u64) {
        if missed > 0 {
            add(&self.skips, 1);
            add(&self.frames_skipped, missed);
        }
    }
}

impl Totals for Stats {
    fn add_sent(&self, bytes: u64, frames: u64) {
        add(&self.bytes_out, bytes);
        add(&self.frames_out, frames);
    }
}

/// Adds to a count.
pub(super) fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}
