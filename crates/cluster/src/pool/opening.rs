//! From a grant to the moment when the new active has opened (REPLICATION R3).

use std::time::Instant;

use super::{Cause, Pool, PoolRecord, PoolRules, change::Next};
use crate::{Epoch, Member};

/// A grant that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opening {
    epoch: Epoch,
    decided: Instant,
    written: Instant,
    opened: Option<Instant>,
    /// The old active has yielded and closes when the new one has opened.
    yielded: Option<Member>,
    /// Whoever is adopted serves already.
    adopted: bool,
}

impl Opening {
    pub(super) fn new(record: &PoolRecord, old: PoolRecord, planned: bool, decided: Instant, now: Instant) -> Self {
        let adopted = record.last_change.as_ref().is_some_and(|change| change.cause == Cause::Adopted);
        let yielded = old.active.filter(|_| planned);
        Self { epoch: record.epoch, decided, written: now, opened: None, yielded, adopted }
    }

    /// Whether a member is to hear of the grant later.
    pub(super) fn holds_back(&self, member: &Member, rules: &PoolRules, now: Instant) -> bool {
        self.yielded.as_ref() == Some(member) && self.opened.is_none() && now < self.written + rules.open_within
    }

    /// Whether it has taken too long.
    pub(super) fn is_late(&self, rules: &PoolRules, now: Instant) -> bool {
        !self.adopted && self.opened.is_none() && now >= self.written + rules.open_within
    }

    /// When the next candidate is due.
    pub(super) fn late_at(&self, rules: &PoolRules) -> Instant {
        self.written + rules.open_within
    }

    pub(super) fn due(&self, rules: &PoolRules) -> [Instant; 2] {
        [self.written + rules.open_within, self.written + rules.tell_within]
    }
}

impl Pool {
    /// Watchers are told of a grant once it is carried out, or should be.
    pub(super) fn show(&mut self, now: Instant) {
        let waits = self.opening.as_ref().is_some_and(|opening| {
            !opening.adopted && opening.opened.is_none() && now < opening.written + self.rules.open_within
        });
        if !waits && self.shown != self.record {
            self.shown = self.record.clone();
        }
    }

    /// The new active may have said that it serves.
    pub(super) fn note_opened(&mut self) {
        let active = self.record.active.as_ref().filter(|_| self.is_served());
        let since = active.and_then(|active| self.seen(&active.node)).and_then(|seen| seen.serving_since);
        if let Some(opening) = self.opening.as_mut().filter(|opening| opening.epoch == self.record.epoch) {
            opening.opened = opening.opened.or(since);
        }
    }

    /// Tells of the last grant: when its active has opened, or has had the time.
    pub(super) fn tell_opening(&self, next: &mut Next, now: Instant) {
        if next.record.untold.is_none() {
            return;
        }
        let opened = match &self.opening {
            Some(opening) => {
                if let Some(opened) = opening.opened {
                    next.took("decide", opening.written.saturating_duration_since(opening.decided));
                    next.took("open", opened.saturating_duration_since(opening.written));
                } else if now < opening.written + self.rules.tell_within {
                    return;
                }
                opening.opened.is_some()
            }
            // The control plane has restarted in between: how long it took nobody knows.
            None if self.is_served() => true,
            None if self.settled => false,
            None => return,
        };
        next.tell_granted(opened);
    }
}
