//! What is counted.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{durations::Durations, ended::Ended, rows::Totals};

/// Counts of everything that the connections of one [`crate::Connections`] did. They only grow.
#[derive(Debug, Default)]
pub struct Stats {
    /// Connections taken.
    pub accepted: AtomicU64,
    /// Bytes received.
    pub bytes_in: AtomicU64,
    /// Bytes sent.
    pub bytes_out: AtomicU64,
    /// Messages from publishers.
    pub frames_in: AtomicU64,
    /// Messages to viewers.
    pub frames_out: AtomicU64,
    /// Publishes accepted.
    pub publishes: AtomicU64,
    /// Publishes refused.
    pub publishes_refused: AtomicU64,
    /// Times that an encoder was kept waiting because it sent more than it may.
    pub publishes_slowed: AtomicU64,
    /// Plays accepted.
    pub plays: AtomicU64,
    /// Plays refused.
    pub plays_refused: AtomicU64,
    /// Times that a slow viewer went on at a later keyframe.
    pub skips: AtomicU64,
    /// Items that slow viewers missed by that.
    pub frames_skipped: AtomicU64,
    /// Messages that no viewer can be sent because they are longer than one chunk.
    pub oversized: AtomicU64,
    /// Media on message streams that nothing is published on; as the next two, counted when its connection ends.
    pub stray_media: AtomicU64,
    /// Data messages that were left out because they could not be read.
    pub damaged_data: AtomicU64,
    /// Commands that nobody here knows.
    pub unknown_commands: AtomicU64,
    /// From an accepted connection to the end of its handshake, with what a proxy says before it, and TLS.
    pub handshake: Durations,
    /// From an accepted connection to its first message of media in either direction.
    pub first_frame: Durations,
    ended: Counts,
    limits: Counts,
}

impl Stats {
    /// Connections that ended, by [`Ended::reason`].
    pub fn ended(&self) -> BTreeMap<&'static str, u64> {
        copy(&self.ended)
    }

    /// Connections that ended because a client reached a limit, by [`Ended::limit`].
    pub fn limits(&self) -> BTreeMap<&'static str, u64> {
        copy(&self.limits)
    }

    /// A slow viewer has left out so many items; none: it has not skipped.
    pub(crate) fn count_skip(&self, missed: u64) {
        if missed > 0 {
            add(&self.skips, 1);
            add(&self.frames_skipped, missed);
        }
    }

    /// A connection is over, in which this was seen.
    pub(crate) fn add_seen(&self, seen: rtmp::server::Stats) {
        let rtmp::server::Stats { stray_media, damaged_data, unknown_commands } = seen;
        add(&self.stray_media, stray_media);
        add(&self.damaged_data, damaged_data);
        add(&self.unknown_commands, unknown_commands);
    }

    pub(crate) fn count_ended(&self, ended: &Ended) {
        count(&self.ended, ended.reason());
        ended.limit().into_iter().for_each(|limit| count(&self.limits, limit));
    }
}

impl Totals for Stats {
    fn add_sent(&self, bytes: u64, frames: u64) {
        add(&self.bytes_out, bytes);
        add(&self.frames_out, frames);
    }
}

type Counts = Mutex<BTreeMap<&'static str, u64>>;

fn copy(counts: &Counts) -> BTreeMap<&'static str, u64> {
    counts.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

fn count(counts: &Counts, what: &'static str) {
    *counts.lock().unwrap_or_else(PoisonError::into_inner).entry(what).or_default() += 1;
}

/// Adds to a count.
pub(crate) fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}
