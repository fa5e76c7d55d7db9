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

/// How far a member's log ends behind ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Distance {
    /// So little that commits would hardly wait for it.
    Near,
    /// More, but not more than a busy machine explains.
    Apart,
    /// So much that it would be asked out; or nothing is known of it.
    Far,
}

/// How often a node has dropped out of the in-sync set in this term, and for how long it has been near again.
#[derive(Debug, Clone, Default)]
pub(super) struct Lapses {
    count: u32,
    since: Duration,
    near_for: Duration,
    left: bool,
    /// Records in a row that do not name it although it was asked for.
    passed_over: u32,
}

impl Lapses {
    /// It dropped out.
    pub(super) fn add(&mut self, now: Duration) {
        self.count += 1;
        self.since = now;
        self.near_for = Duration::ZERO;
        self.passed_over = 0;
    }

    /// A record came that does not name it although it was asked for. True: this was no accident any more.
    pub(super) fn pass_over(&mut self) -> bool {
        self.passed_over += 1;
        self.passed_over > CROSSINGS_MAX
    }

    /// A record names it.
    pub(super) fn name(&mut self) {
        self.passed_over = 0;
    }

    /// One of its connections closed.
    pub(super) fn leave(&mut self) {
        self.left = true;
        self.near_for = Duration::ZERO;
    }

    pub(super) fn has_left(&self) -> bool {
        self.left
    }

    /// It was so far away while this passed. What it has earned is lost only where it would be asked out: on a machine that
    /// is busy for a moment again and again nobody would ever return.
    pub(super) fn note_distance(&mut self, distance: Distance, passed: Duration) {
        match distance {
            Distance::Near => self.near_for += passed,
            Distance::Apart => {}
            Distance::Far => self.near_for = Duration::ZERO,
        }
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
        self.near_for >= wait
    }
}

/// So many records in a row may have been made before the request for a member came; the next one refuses it.
const CROSSINGS_MAX: u32 = 2;
