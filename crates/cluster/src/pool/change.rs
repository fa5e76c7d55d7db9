//! The next record, as it is put together.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{By, Cause, Granted, LastChange, PoolEvent, PoolRecord, moves::Reason};
use crate::{Epoch, KnownRecord, Member};

/// A record that should come next, and what is told with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolChange {
    /// To be written if the stored one has the version `after`.
    pub record: PoolRecord,
    /// The version that the change was made from.
    pub after: u64,
    /// To be told once it is written.
    pub events: Vec<PoolEvent>,
}

/// A record in the making.
pub(super) struct Next {
    pub(super) record: PoolRecord,
    pub(super) events: Vec<PoolEvent>,
    after: u64,
    /// To be written although nothing differs: somebody waits for a newer version.
    pub(super) answers: bool,
    /// The in-sync set is the truth, however old the stored record is.
    pub(super) in_sync_known: bool,
}

/// To whom the active role goes, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct NewGrant {
    pub(super) to: Member,
    pub(super) epoch: Epoch,
    pub(super) cause: Cause,
    pub(super) evidence: String,
    pub(super) memory: Memory,
    pub(super) by: By,
    /// From the first sign of the fault to the decision.
    pub(super) detect: Option<Duration>,
    /// From when the active was asked to yield until it had.
    pub(super) yielding: Option<Duration>,
    pub(super) decided: Instant,
    /// Set when nobody asked for it.
    pub(super) reason: Option<Reason>,
}

/// What the one that is granted the role has of what was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Memory {
    /// All of it: it is in sync, or nothing ever was.
    Whole,
    /// It serves already; this is the record that it goes by.
    Serving(Option<KnownRecord>),
    /// Perhaps not all. So far its logs go.
    Part { head: (Epoch, u64) },
}

impl Next {
    pub(super) fn of(record: &PoolRecord) -> Self {
        Self { record: record.clone(), after: record.version, events: Vec::new(), answers: false, in_sync_known: false }
    }

    /// The change, if it is one, as this start of this store writes it. Its version lies above every one that was heard of.
    pub(super) fn finish(mut self, before: &PoolRecord, forgotten: Option<u64>, granter: &str) -> Option<PoolChange> {
        if self.record == *before && !self.answers {
            return None;
        }
        if self.record.mode != before.mode {
            // What was before a hold, or before its end, no longer counts.
            self.record.moved.forget();
        }
        if let Some(forgotten) = forgotten {
            // R6: the record is of an older copy of the store. Of whom that has in sync, only the active is sure to have
            // everything.
            if !self.in_sync_known {
                let active = self.record.active.clone();
                self.record.in_sync.retain(|member| Some(member) == active.as_ref());
            }
            self.record.made_good = forgotten;
        }
        self.record.version = before.version.max(forgotten.unwrap_or_default()) + 1;
        granter.clone_into(&mut self.record.written_by);
        Some(PoolChange { record: self.record, after: self.after, events: self.events })
    }

    /// Grants the active role, as this start of this store. `gone` says which members can no longer come back.
    pub(super) fn grant(&mut self, grant: NewGrant, granter: &str, gone: impl Fn(&Member) -> bool, unix_ms: u64) {
        // The grant before was not told yet: it did not open.
        self.tell_granted(false);
        self.in_sync_known = true;
        let record = &mut self.record;
        let NewGrant { to, epoch, cause, evidence, memory, by, detect, yielding, .. } = grant;
        let old = record.active.replace(to.clone());
        let lossy = matches!(memory, Memory::Part { .. });
        let adopted = matches!(memory, Memory::Serving(_));
        record.granted_by = granter.to_owned();
        let in_sync = match memory {
            Memory::Whole => std::mem::take(&mut record.in_sync),
            Memory::Serving(known) => {
                // It cannot have been granted that epoch while it was fenced: it was let in before.
                if record.fenced.remove(&to.node) {
                    let by = By { author: String::new(), reason: evidence.clone() };
                    self.events.push(PoolEvent::Unfenced { node: to.node.clone(), by });
                }
                let known = known.unwrap_or_default();
                record.loss_epoch = record.loss_epoch.max(known.loss_epoch);
                // It is the same epoch that it was granted then.
                record.granted_by = known.granted_by;
                known.in_sync
            }
            Memory::Part { head } => {
                record.loss_epoch = epoch;
                self.events.push(PoolEvent::ResumedWithLoss { member: to.clone(), epoch, from: head });
                BTreeSet::new()
            }
        };
        // The old active leaves, unless the new one's word is taken over.
        let leaves = |member: &Member| !adopted && Some(member) == old.as_ref();
        let stays = |member: &Member| !leaves(member) && !record.fenced.contains(&member.node) && !gone(member);
        record.in_sync = in_sync.into_iter().filter(stays).chain([to.clone()]).collect();
        if let Some(old) = old.filter(|old| old.node != to.node) {
            record.before = Some(old.node);
        }
        record.epoch = epoch;
        record.yields_to = None;
        record.untold = Some(by);
        let durations = [("detect", detect), ("yield", yielding)];
        let durations = durations.into_iter().filter_map(|(part, took)| Some((part.to_owned(), millis(took?))));
        let durations_ms: BTreeMap<_, _> = durations.collect();
        record.last_change = Some(LastChange { cause, evidence, at_unix_ms: unix_ms, durations_ms });
        debug_assert!(!lossy || record.in_sync.len() == 1, "after a loss nobody else is in sync");
    }

    /// Tells of the last grant, if it has not been told.
    pub(super) fn tell_granted(&mut self, opened: bool) {
        let (Some(by), Some(change)) = (self.record.untold.take(), &self.record.last_change) else { return };
        let Some(member) = self.record.active.clone() else { return };
        self.events.push(PoolEvent::Granted(Granted {
            member,
            epoch: self.record.epoch,
            cause: change.cause,
            evidence: change.evidence.clone(),
            lossy: self.record.loss_epoch == self.record.epoch,
            opened,
            durations_ms: change.durations_ms.clone(),
            by,
        }));
    }

    /// How long a part of the last grant took.
    pub(super) fn took(&mut self, part: &str, time: Duration) {
        if let Some(change) = &mut self.record.last_change {
            change.durations_ms.insert(part.to_owned(), millis(time));
        }
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
