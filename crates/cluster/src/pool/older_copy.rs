//! A store that is an older copy of itself: nodes know of records that it has forgotten (REPLICATION R6).

use std::time::Instant;

use super::{
    Cause, Pool, PoolChange, PoolEvent,
    change::{NewGrant, Next},
};

impl Pool {
    /// A node knows of this version.
    pub(super) fn note_version(&mut self, version: u64, written_by: &str) {
        if self.has_forgotten(version, written_by) {
            self.forgotten = self.forgotten.max(Some(version.min(VERSION_MAX)));
        }
    }

    /// Whether our record does not know of this version. Of two stores that were copies of each other, both may have written
    /// one of that number.
    fn has_forgotten(&self, version: u64, written_by: &str) -> bool {
        match written_by {
            // One of an earlier version does not say who wrote it.
            "" => version > self.record.version,
            _ => version > self.past && written_by != self.granter,
        }
    }

    /// Whether somebody knows more than the record: it is of an older copy of the store, and who is in sync by it need not
    /// be.
    pub(super) fn is_behind(&self) -> bool {
        self.highest_of_members > self.record.epoch || self.forgotten.is_some() && !self.knows_in_sync()
    }

    /// Who is in sync we have from the active itself, whatever the store had.
    fn knows_in_sync(&self) -> bool {
        self.vouched && !self.guessed
    }

    /// The version and in-sync set that the active goes by, where the store has an older one.
    pub(super) fn adopt_record(&self, next: &mut Next) {
        if self.forgotten.is_none() || !self.is_served() {
            return;
        }
        let active = self.record.active.as_ref();
        let Some(report) = active.and_then(|active| self.report_of(&active.node)) else { return };
        let Some(known) = &report.record else { return };
        next.answers = true;
        let adopts = self.has_forgotten(known.version, &known.written_by);
        next.in_sync_known = adopts || known.version >= self.record.version;
        if adopts {
            let mut in_sync = known.in_sync.clone();
            in_sync.retain(|member| !self.record.fenced.contains(&member.node));
            in_sync.insert(report.member.clone());
            next.record.in_sync = in_sync;
            next.record.loss_epoch = next.record.loss_epoch.max(known.loss_epoch);
            next.events.push(PoolEvent::RecordAdopted { member: report.member.clone(), version: known.version });
        }
    }

    /// The role was granted by the copy's in-sync set, and only then somebody was heard who knows of a later one: what the
    /// active lacks is named, if late.
    pub(super) fn above_a_guess(&self, now: Instant) -> Option<NewGrant> {
        let version = self.forgotten.filter(|_| self.guessed)?;
        let active = self.record.active.clone().filter(|_| self.is_served())?;
        let evidence = format!("{} was promoted by an older copy of the store, without version {version}", active.node);
        let memory = self.part_of(&active);
        Some(self.unasked(active, Cause::RecordHeard, evidence, memory, now))
    }

    /// The next record, if it is another.
    pub(super) fn finish(&self, mut next: Next) -> Option<PoolChange> {
        next.in_sync_known |= self.knows_in_sync();
        next.finish(&self.record, self.forgotten, &self.granter)
    }
}

/// No record is changed so often: a higher version is a lie.
const VERSION_MAX: u64 = 1 << 56;
