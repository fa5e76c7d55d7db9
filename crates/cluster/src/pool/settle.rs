//! A control plane that starts waits before it changes a role (REPLICATION R6).

use std::time::Instant;

use super::Pool;
use crate::{Epoch, NodeId};

impl Pool {
    /// Whether roles may change. Once they may, they may.
    pub(super) fn settle(&mut self, now: Instant) {
        self.settled |= self.first_report.is_some_and(|first| now >= self.settles_at(first));
    }

    /// When that is, as things stand.
    pub(super) fn settle_due(&self) -> Option<Instant> {
        (!self.settled).then(|| self.first_report.map(|first| self.settles_at(first))).flatten()
    }

    /// Not before the serving active, or all members but it, have reported, nor before `settle` is over; in a new cluster
    /// a moment after the first report, or once the configured origin is there. An active that does not come needs the
    /// evidence of R1 like any other.
    fn settles_at(&self, first: Instant) -> Instant {
        let latest = (self.started + self.rules.settle_max).max(first);
        if self.is_new() {
            return match &self.rules.first_active {
                None => first + self.rules.gather,
                Some(node) if self.report_of(node).is_some() => first,
                Some(_) => latest,
            };
        }
        let active = self.record.active.as_ref();
        let active_serves = active
            .and_then(|active| self.report_of(&active.node))
            .is_some_and(|report| Some(&report.member) == active && report.serving == Some(self.record.epoch));
        let reported = |node: &NodeId| self.report_of(node).is_some();
        let is_active = |node: &NodeId| active.is_some_and(|active| active.node == *node);
        let mut nodes = self.record.members.keys();
        // Of a pool of one, the one.
        let all = match self.record.members.len() {
            1 => nodes.all(reported),
            _ => nodes.all(|node| is_active(node) || reported(node)),
        };
        let soonest = self.started + self.rules.settle;
        if active_serves || (all && !self.record.members.is_empty()) { soonest } else { latest }
    }

    /// A pool of which nobody has ever heard an epoch. Those of other pools say nothing about it.
    pub(super) fn is_new(&self) -> bool {
        self.record.epoch.max(self.highest_of_members).max(self.highest_of_edges) == Epoch(0)
    }
}
