//! One follower as the active counts it, and how often its node has dropped out.

use std::time::Duration;

use super::{AckRefused, CommitRules};
use crate::Member;

/// One Follow connection.
#[derive(Debug, Clone)]
pub(super) struct Follower {
    pub(super) member: Member,
    /// Acks below this one are of no use; None: the tail is not settled.
    settled: Option<u64>,
    acked: Option<u64>,
}

impl Follower {
    pub(super) fn new(member: Member) -> Self {
        Self { member, settled: None, acked: None }
    }

    pub(super) fn settle(&mut self, from: u64) {
        self.settled = Some(from);
        self.acked = None;
    }

    pub(super) fn acked(&self) -> Option<u64> {
        self.acked
    }

    pub(super) fn ack(&mut self, order: u64) -> Result<(), AckRefused> {
        if self.settled.is_none_or(|from| order < from) {
            return Err(AckRefused::Stale);
        }
        self.acked = self.acked.max(Some(order));
        Ok(())
    }
}

/// How often a node has dropped out of the in-sync set in this term, and since when it is near again.
#[derive(Debug, Clone, Default)]
pub(super) struct Lapses {
    count: u32,
    since: Duration,
    near_since: Option<Duration>,
    left: bool,
}

impl Lapses {
    /// It dropped out.
    pub(super) fn add(&mut self, now: Duration) {
        self.count += 1;
        self.since = now;
        self.near_since = None;
    }

    /// One of its connections closed.
    pub(super) fn leave(&mut self) {
        self.left = true;
        self.near_since = None;
    }

    pub(super) fn has_left(&self) -> bool {
        self.left
    }

    pub(super) fn note_near(&mut self, near: bool, now: Duration) {
        self.near_since = near.then(|| self.near_since.unwrap_or(now));
    }

    /// Whether it has been near for long enough after what it has done.
    pub(super) fn may_return(&mut self, now: Duration, rules: &CommitRules) -> bool {
        let Some(doublings) = self.count.checked_sub(1) else { return true };
        // Once it has been well for as long as any delay lasts, what was is forgotten.
        if now - self.since > rules.return_after_max * 2 {
            self.count = 0;
            return true;
        }
        let wait = rules.return_after.saturating_mul(1 << doublings.min(16)).min(rules.return_after_max);
        self.near_since.is_some_and(|since| now - since >= wait)
    }
}
