//! The rules by which a pool's record changes.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{Cause, LastChange, PoolMember, PoolRecord};
use crate::{Address, Epoch, Member, NodeId};

/// One pool: its record as stored, and what its origins say of themselves.
///
/// Feed it reports; ask [`Pool::poll_change`] for the record that should come next; write that by compare-and-set on
/// its version; when it is on disk, and only then, hand it to [`Pool::handle_written`] and tell the nodes.
///
/// Roles so far: the first origin (or the configured one) becomes active, an active that restarted is granted the role
/// again in the next epoch, all others stand by, and nothing moves by itself.
#[derive(Debug)]
pub struct Pool {
    record: PoolRecord,
    rules: PoolRules,
    started: Instant,
    first_report: Option<Instant>,
    /// Origins whose session is open, in the order in which they came.
    alive: Vec<PoolReport>,
    /// By any node: the next grant lies above.
    highest_heard: Epoch,
    /// By an origin of the pool: the active, too, must be above it to be heard there.
    highest_of_members: Epoch,
    /// A planned promotion: the old active has stepped down.
    promotion: Option<(Member, String)>,
    settled: bool,
}

/// How a pool behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolRules {
    /// After a start of the control plane no role changes for so long, unless the cluster is new.
    pub settle: Duration,
    /// After this time what has reported is enough, even if the active has not.
    pub settle_max: Duration,
    /// In a new cluster, how long to wait for further origins after the first.
    pub gather: Duration,
    /// Which origin becomes active in a new cluster; none: the first to come.
    pub first_active: Option<NodeId>,
}

impl Default for PoolRules {
    fn default() -> Self {
        Self {
            settle: Duration::from_secs(3),
            settle_max: Duration::from_secs(30),
            gather: Duration::from_millis(300),
            first_active: None,
        }
    }
}

/// What an origin says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolReport {
    /// Which start of which node.
    pub member: Member,
    /// Where its public port is when it is open.
    pub public: Address,
    /// Where its peer port is.
    pub peer: Address,
    /// The highest epoch it has ever heard of.
    pub highest_epoch: Epoch,
    /// The epoch in which it serves as active.
    pub serving: Option<Epoch>,
}

impl Pool {
    /// A pool as the store has it; `started` is the start of this control plane.
    pub fn new(record: PoolRecord, rules: PoolRules, started: Instant) -> Self {
        Self {
            highest_heard: record.epoch,
            highest_of_members: record.epoch,
            record,
            rules,
            started,
            first_report: None,
            alive: Vec::new(),
            promotion: None,
            settled: false,
        }
    }

    /// The record as last written.
    pub fn record(&self) -> &PoolRecord {
        &self.record
    }

    /// What a member has last said of itself, while its session is open.
    pub fn report_of(&self, node: &NodeId) -> Option<&PoolReport> {
        self.alive.iter().find(|report| report.member.node == *node)
    }

    /// An origin opened its session, or beats.
    pub fn handle_report(&mut self, report: PoolReport, now: Instant) {
        self.first_report.get_or_insert(now);
        let heard = report.serving.unwrap_or_default().max(report.highest_epoch);
        self.highest_of_members = self.highest_of_members.max(heard);
        self.handle_epoch(heard);
        match self.alive.iter_mut().find(|known| known.member.node == report.member.node) {
            Some(known) => *known = report,
            None => self.alive.push(report),
        }
    }

    /// Some node, an edge perhaps, has heard of this epoch of the pool.
    pub fn handle_epoch(&mut self, heard: Epoch) {
        self.highest_heard = self.highest_heard.max(heard);
    }

    /// The session of a member ended. It keeps its role.
    pub fn handle_gone(&mut self, member: &Member) {
        self.alive.retain(|report| report.member != *member);
    }

    /// The record is on disk and in force.
    pub fn handle_written(&mut self, record: PoolRecord) {
        self.highest_heard = self.highest_heard.max(record.epoch);
        self.record = record;
    }

    /// Takes a node out of the pool; the active cannot be taken out. The record to write, if it is a member.
    pub fn without(&self, node: &NodeId) -> Option<PoolRecord> {
        if self.record.active.as_ref().is_some_and(|active| active.node == *node) {
            return None;
        }
        let mut next = self.record.clone();
        next.members.remove(node)?;
        next.in_sync.retain(|member| member.node != *node);
        next.version += 1;
        Some(next)
    }

    /// Whether a member may be made active now; says which incarnation is meant, and which one has to step down first.
    pub fn check_promotion(&self, node: &NodeId, expected: Epoch) -> Result<(Member, Option<Member>), PromoteError> {
        if expected != self.record.epoch {
            return Err(PromoteError::StaleEpoch { expected, current: self.record.epoch });
        }
        if !self.record.members.contains_key(node) {
            return Err(PromoteError::NotAMember);
        }
        if !self.settled {
            return Err(PromoteError::Settling);
        }
        let report = self.report_of(node).ok_or(PromoteError::NotAlive)?;
        if self.record.active.as_ref() == Some(&report.member) {
            return Err(PromoteError::AlreadyActive);
        }
        let old = self.record.active.clone().filter(|old| self.alive.iter().any(|alive| alive.member == *old));
        Ok((report.member.clone(), old))
    }

    /// The old active has stepped down: the member is next, in the next record.
    pub fn promote(&mut self, member: Member, evidence: String) {
        self.promotion = Some((member, evidence));
    }

    /// When to ask [`Pool::poll_change`] again although nothing was reported.
    pub fn poll_timeout(&self) -> Option<Instant> {
        (!self.settled).then(|| self.first_report.map(|first| self.settles_at(first))).flatten()
    }

    /// The record that should come next, if it should change. `unix_ms` is the wall time for `last_change`.
    pub fn poll_change(&mut self, now: Instant, unix_ms: u64) -> Option<PoolRecord> {
        let mut next = self.record.clone();
        self.settled |= self.has_settled(now);
        for report in &self.alive {
            let member = PoolMember {
                incarnation: report.member.incarnation,
                public: report.public.clone(),
                peer: report.peer.clone(),
            };
            next.members.insert(report.member.node.clone(), member);
        }
        if let Some(grant) = self.next_grant() {
            apply(&mut next, grant, unix_ms);
        }
        self.promotion = None;
        if next == self.record {
            return None;
        }
        next.version += 1;
        Some(next)
    }

    fn next_grant(&self) -> Option<Grant> {
        let serving = self.alive.iter().filter(|report| report.serving > Some(self.record.epoch));
        if let Some(report) = serving.max_by_key(|report| report.serving) {
            return Some(Grant::adopted(report));
        }
        if !self.settled {
            return None;
        }
        let epoch = self.highest_heard.max(self.record.epoch).next();
        if let Some((member, evidence)) = &self.promotion {
            let evidence = evidence.clone();
            return Some(Grant { member: member.clone(), epoch, cause: Cause::Promoted, with_memory: false, evidence });
        }
        let Some(active) = &self.record.active else { return self.bootstrap(epoch) };
        let report = self.report_of(&active.node)?;
        let member = report.member.clone();
        if member.incarnation != active.incarnation {
            let evidence = format!("{} came back as {}", active.node, member.incarnation);
            return Some(Grant { member, epoch, cause: Cause::Restart, with_memory: false, evidence });
        }
        (self.highest_of_members > self.record.epoch).then(|| {
            let evidence = format!("a member has heard of epoch {}, above the record's", self.highest_of_members);
            Grant { member, epoch, cause: Cause::EpochHeard, with_memory: true, evidence }
        })
    }

    fn bootstrap(&self, epoch: Epoch) -> Option<Grant> {
        let preferred = self.rules.first_active.as_ref().and_then(|node| self.report_of(node));
        let first = preferred.or(self.alive.first())?;
        let evidence = match preferred {
            Some(_) => format!("{} is configured as first_active", first.member.node),
            None => format!("{} was the first to come", first.member.node),
        };
        // Streams that an earlier record has seen are not in this origin's memory.
        let with_memory = self.highest_heard == Epoch(0);
        Some(Grant { member: first.member.clone(), epoch, cause: Cause::Bootstrap, with_memory, evidence })
    }

    /// A cluster of which nobody has ever heard an epoch.
    fn is_new(&self) -> bool {
        self.record.epoch == Epoch(0) && self.highest_heard == Epoch(0)
    }

    fn has_settled(&self, now: Instant) -> bool {
        let Some(first) = self.first_report else { return false };
        now >= self.settles_at(first)
    }

    /// R6: not before the serving active, or all members, have reported, nor before `settle` is over; in a new cluster
    /// a moment after the first report, or once the configured origin is there.
    fn settles_at(&self, first: Instant) -> Instant {
        let latest = (self.started + self.rules.settle_max).max(first);
        if self.is_new() {
            return match &self.rules.first_active {
                None => first + self.rules.gather,
                Some(node) if self.report_of(node).is_some() => first,
                Some(_) => latest,
            };
        }
        let reported = |node: &NodeId| self.report_of(node).is_some();
        let active_serves = self.record.active.as_ref().is_some_and(|active| {
            self.alive.iter().any(|report| report.member == *active && report.serving == Some(self.record.epoch))
        });
        let all = !self.record.members.is_empty() && self.record.members.keys().all(reported);
        let soonest = self.started + self.rules.settle;
        if active_serves || all { soonest } else { latest }
    }
}

struct Grant {
    member: Member,
    epoch: Epoch,
    cause: Cause,
    /// The member has all that was committed.
    with_memory: bool,
    evidence: String,
}

impl Grant {
    fn adopted(report: &PoolReport) -> Self {
        let epoch = report.serving.expect("only serving members are adopted");
        Self {
            member: report.member.clone(),
            epoch,
            cause: Cause::Adopted,
            with_memory: true,
            evidence: format!("{} serves in epoch {epoch}, above the record's", report.member.node),
        }
    }
}

fn apply(record: &mut PoolRecord, grant: Grant, at_unix_ms: u64) {
    record.epoch = grant.epoch;
    record.in_sync = BTreeSet::from([grant.member.clone()]);
    record.active = Some(grant.member);
    if !grant.with_memory {
        record.loss_epoch = grant.epoch;
    }
    let durations_ms = BTreeMap::new();
    record.last_change = Some(LastChange { cause: grant.cause, evidence: grant.evidence, at_unix_ms, durations_ms });
}

/// Why a member cannot be made active.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromoteError {
    /// The caller has seen another epoch.
    #[error("the pool is in epoch {current}, not {expected}")]
    StaleEpoch {
        /// What the caller has seen.
        expected: Epoch,
        /// What is in force.
        current: Epoch,
    },
    /// No origin of the pool has this name.
    #[error("it is not a member of the pool")]
    NotAMember,
    /// Its session is closed.
    #[error("the control plane does not hear it")]
    NotAlive,
    /// It already is.
    #[error("it is active already")]
    AlreadyActive,
    /// The control plane has just started.
    #[error("the control plane has just started and waits for the origins to report")]
    Settling,
}

#[cfg(test)]
#[path = "machine/tests.rs"]
mod tests;
