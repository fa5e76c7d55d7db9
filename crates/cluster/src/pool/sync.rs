//! Changes of the in-sync set, as the active asks for them (REPLICATION C3-C5).

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{Pool, PoolEvent, change::Next};
use crate::{Epoch, Member, SyncChange, SyncRequest};

/// Why a request is not considered. The sender is told the record in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SyncRefused {
    /// It speaks of another pool.
    #[error("the request is for another pool")]
    OtherPool,
    /// The sender is not active.
    #[error("only the active origin may ask")]
    NotActive,
    /// It was made on another record.
    #[error("the record has version {version} in epoch {epoch}")]
    Stale {
        /// The epoch in force.
        epoch: Epoch,
        /// The version in force.
        version: u64,
    },
}

/// What the active has asked for, and what is remembered of its asking.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Requests {
    /// Not answered yet.
    pending: Option<Pending>,
    /// When one was last answered by a record that says nothing new.
    refused: Option<Instant>,
    /// Who went on alone in an epoch that is over, as it was told.
    splits: BTreeSet<(Member, Epoch)>,
}

/// A request, as it was accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pending {
    change: SyncChange,
    /// The version in force then.
    version: u64,
    /// A record was put together with it in view: the next one is the answer.
    considered: bool,
}

impl Requests {
    /// A newer record of the same term answers what was considered for it. What came while it was being written waits for the
    /// next one.
    pub(super) fn settle(&mut self) {
        self.pending.take_if(|pending| pending.considered);
    }

    /// In another term nothing that was asked before counts.
    pub(super) fn forget(&mut self) {
        self.pending = None;
    }

    /// Whether one crossed with the record of this version. The active must not hear of that record before the answer: it
    /// would take it for a refusal and no longer wait for whom the answer names.
    pub(super) fn crossed(&self, version: u64) -> bool {
        self.pending.as_ref().is_some_and(|pending| pending.version < version)
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.pending.as_ref().and(self.refused).map(|refused| refused + REFUSALS_APART)
    }
}

impl Pool {
    /// An origin asks for a change of the in-sync set. It counts only on the version and epoch in force.
    pub fn handle_sync(&mut self, from: &Member, request: SyncRequest) -> Result<(), SyncRefused> {
        let (epoch, version) = (self.record.epoch, self.record.version);
        if request.pool != self.record.id {
            return Err(SyncRefused::OtherPool);
        }
        if request.epoch < epoch && matches!(request.change, SyncChange::Alone { .. }) {
            self.note_split(from, request.epoch);
        }
        let refused = if self.record.active.as_ref() != Some(from) {
            SyncRefused::NotActive
        } else if (request.epoch, request.version) != (epoch, version) {
            SyncRefused::Stale { epoch, version }
        } else {
            self.requests.pending = Some(Pending { change: request.change, version, considered: false });
            return Ok(());
        };
        // The answer is the record in force.
        self.told.remove(&from.node);
        Err(refused)
    }

    fn note_split(&mut self, member: &Member, epoch: Epoch) {
        if self.requests.splits.len() >= SPLITS_MAX {
            self.requests.splits.pop_first();
        }
        if self.requests.splits.insert((member.clone(), epoch)) {
            let current = self.record.epoch;
            self.events.push_back(PoolEvent::Split { member: member.clone(), epoch, current });
        }
    }

    /// Answers what was asked: by a change, or at intervals by a record that says the same again.
    pub(super) fn answer_request(&mut self, next: &mut Next, now: Instant) {
        let crossed = self.requests.crossed(self.record.version);
        let Some(pending) = &mut self.requests.pending else { return };
        pending.considered = true;
        let change = pending.change.clone();
        let changed = match &change {
            SyncChange::Grow(member) => self.may_grow(member) && grow(next, member),
            SyncChange::Shrink(member) => shrink(next, member),
            SyncChange::Alone { without } => go_alone(next, without),
        };
        if crossed && !changed {
            // The record that it crossed with, still untold, says all.
            return self.requests.forget();
        }
        let rested = self.requests.refused.is_none_or(|refused| now >= refused + REFUSALS_APART);
        if !changed && rested {
            self.requests.refused = Some(now);
        }
        next.answers |= changed || rested;
    }

    /// Only a start that may be alive, of a member that is not fenced.
    fn may_grow(&self, member: &Member) -> bool {
        !self.record.fenced.contains(&member.node) && !self.is_dead(member)
    }
}

fn grow(next: &mut Next, member: &Member) -> bool {
    let epoch = next.record.epoch;
    let is_new = next.record.in_sync.insert(member.clone());
    if is_new {
        next.events.push(PoolEvent::Grown { member: member.clone(), epoch });
    }
    is_new
}

/// The active itself never leaves.
fn shrink(next: &mut Next, member: &Member) -> bool {
    let record = &mut next.record;
    let gone = record.active.as_ref() != Some(member) && record.in_sync.remove(member);
    if gone {
        next.events.push(PoolEvent::Shrunk { member: member.clone(), epoch: record.epoch });
    }
    gone
}

fn go_alone(next: &mut Next, without: &BTreeSet<Member>) -> bool {
    let record = &mut next.record;
    let Some(active) = record.active.clone() else { return false };
    let before = record.in_sync.len();
    record.in_sync.retain(|member| *member == active || !without.contains(member));
    if record.in_sync.len() == before {
        return false;
    }
    let without = without.iter().filter(|member| **member != active).cloned().collect();
    next.events.push(PoolEvent::Alone { member: active, epoch: record.epoch, without });
    true
}

/// A request that changes nothing is answered so often at most.
const REFUSALS_APART: Duration = Duration::from_secs(1);
/// Splits that are remembered, so that each is told once.
const SPLITS_MAX: usize = 64;
