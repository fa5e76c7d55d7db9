//! From a grant to the moment when the new active has opened (REPLICATION R3).

use std::time::{Duration, Instant};

use super::{Cause, Pool, PoolEvent, PoolRecord, PoolRules, change::Next};
use crate::{Epoch, FirstFrame, Member};

/// A grant that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Opening {
    epoch: Epoch,
    decided: Instant,
    written: Instant,
    /// The time to open counts from here: the grant was written, or we could hear again.
    waits_from: Instant,
    opened: Option<Instant>,
    /// What the new active says of the streams that were live.
    first_frame: FirstFrame,
    /// The old active has yielded and closes when the new one has opened.
    yielded: Option<Member>,
    /// Whoever is adopted serves already.
    adopted: bool,
}

impl Opening {
    pub(super) fn new(record: &PoolRecord, old: PoolRecord, planned: bool, decided: Instant, now: Instant) -> Self {
        let adopted = record.last_change.as_ref().is_some_and(|change| change.cause == Cause::Adopted);
        let yielded = old.active.filter(|_| planned);
        Self {
            epoch: record.epoch,
            decided,
            written: now,
            waits_from: now,
            opened: None,
            first_frame: FirstFrame::NotTold,
            yielded,
            adopted,
        }
    }

    /// When the role was granted. Whoever was adopted had it before.
    pub(super) fn granted(&self) -> Option<Instant> {
        (!self.adopted).then_some(self.written)
    }

    /// Whether a member is to hear of the grant later.
    pub(super) fn holds_back(&self, member: &Member, rules: &PoolRules, now: Instant) -> bool {
        self.yielded.as_ref() == Some(member) && self.opened.is_none() && now < self.late_at(rules)
    }

    /// Whether it has taken too long.
    pub(super) fn is_late(&self, rules: &PoolRules, now: Instant) -> bool {
        self.waits_until(rules).is_some_and(|late| now >= late)
    }

    /// Until when it may take, if it is not open yet.
    pub(super) fn waits_until(&self, rules: &PoolRules) -> Option<Instant> {
        (!self.adopted && self.opened.is_none()).then(|| self.late_at(rules))
    }

    /// When the next candidate is due.
    pub(super) fn late_at(&self, rules: &PoolRules) -> Instant {
        self.waits_from + rules.open_within
    }

    /// This control plane was late itself, and may not have told or heard anybody meanwhile. One that is late again and again
    /// waits for three times as long at most.
    pub(super) fn wait_again(&mut self, rules: &PoolRules, now: Instant) {
        self.waits_from = now.min(self.written + 2 * rules.open_within);
    }

    /// Whether there is nothing more to wait for.
    fn is_complete(&self) -> bool {
        self.opened.is_some() && self.first_frame != FirstFrame::Awaited
    }

    /// How long its parts took, as far as they are over.
    fn parts(&self) -> Vec<(&'static str, Duration)> {
        let Some(opened) = self.opened else { return Vec::new() };
        let decide = ("decide", self.written.saturating_duration_since(self.decided));
        let open = ("open", opened.saturating_duration_since(self.written));
        let first_frame = match self.first_frame {
            FirstFrame::After(after) => Some(("first_frame", after)),
            FirstFrame::NotTold | FirstFrame::Awaited => None,
        };
        [decide, open].into_iter().chain(first_frame).collect()
    }

    pub(super) fn due(&self, rules: &PoolRules) -> [Instant; 2] {
        [self.late_at(rules), self.written + rules.tell_within]
    }
}

impl Pool {
    /// Watchers are told of a grant once it is carried out, or should be.
    pub(super) fn show(&mut self, now: Instant) {
        let waits = self
            .opening
            .as_ref()
            .is_some_and(|opening| !opening.adopted && opening.opened.is_none() && now < opening.late_at(&self.rules));
        if !waits && self.shown != self.record {
            self.shown = self.record.clone();
        }
    }

    /// The new active may have said that it serves, and what came of its streams.
    pub(super) fn note_opened(&mut self) {
        let active = self.record.active.as_ref().filter(|_| self.is_served());
        let Some(seen) = active.and_then(|active| self.seen(&active.node)) else { return };
        let (since, first_frame) = (seen.serving_since, seen.report.first_frame);
        let Some(opening) = self.opening.as_mut().filter(|opening| opening.epoch == self.record.epoch) else { return };
        opening.opened = opening.opened.or(since);
        if opening.adopted || opening.first_frame == first_frame {
            return;
        }
        opening.first_frame = first_frame;
        // It took so long that the grant was told without it.
        if let (FirstFrame::After(after), None, Some(member)) = (first_frame, &self.record.untold, &self.record.active)
        {
            let (member, epoch) = (member.clone(), opening.epoch);
            self.events.push_back(PoolEvent::FirstFrame { member, epoch, after });
        }
    }

    /// Tells of the last grant: when its active has opened and a frame has come of the streams that were live, or when
    /// there was time for it.
    pub(super) fn tell_opening(&self, next: &mut Next, now: Instant) {
        if next.record.untold.is_none() {
            return;
        }
        let opened = match &self.opening {
            Some(opening) => {
                if !opening.is_complete() && now < opening.written + self.rules.tell_within {
                    return;
                }
                opening.parts().into_iter().for_each(|(part, took)| next.took(part, took));
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
