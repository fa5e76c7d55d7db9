//! Time that passes only while we are awake.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// A clock that advances by our own ticks, and by little when a tick comes late: who was frozen or starved himself must
/// not hold it against others (REPLICATION L2). It also knows when each order was given.
#[derive(Debug, Clone)]
pub(super) struct OwnTime {
    now: Duration,
    ticked: Instant,
    /// The first order of each of our moments in which any was given, and that moment.
    given: VecDeque<(u64, Duration)>,
}

/// So many ticks may pass in one; the rest of a late tick does not count.
const LATE_TICKS_MAX: u32 = 3;

impl OwnTime {
    pub(super) fn new(now: Instant) -> Self {
        Self { now: Duration::ZERO, ticked: now, given: VecDeque::new() }
    }

    /// Since the beginning of the term.
    pub(super) fn now(&self) -> Duration {
        self.now
    }

    /// Returns how much of our own time has passed since the last tick.
    pub(super) fn tick(&mut self, now: Instant, tick: Duration) -> Duration {
        let passed = now.saturating_duration_since(self.ticked).min(tick * LATE_TICKS_MAX);
        self.ticked = self.ticked.max(now);
        self.now += passed;
        passed
    }

    pub(super) fn note_order(&mut self, order: u64) {
        if self.given.back().is_none_or(|(_, given)| *given != self.now) {
            self.given.push_back((order, self.now));
        }
    }

    /// How long ago an order was given; one that was forgotten counts as old as the oldest remembered.
    pub(super) fn age(&self, order: u64) -> Duration {
        let moment = self.given.partition_point(|(first, _)| *first <= order).saturating_sub(1);
        self.given.get(moment).map_or(Duration::ZERO, |(_, given)| self.now - *given)
    }

    /// Of orders up to `committed` nobody asks how old they are, once they are older than this. Later ones are never
    /// forgotten: what is held up must not look young.
    pub(super) fn forget(&mut self, committed: u64, older_than: Duration) {
        let old = |(first, given): &(u64, Duration)| *first <= committed + 1 && self.now - *given >= older_than;
        // The oldest that stays is that old itself: it stands for all before it.
        while self.given.get(1).is_some_and(old) {
            self.given.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(10);

    #[test]
    fn a_freeze_makes_nothing_older_than_a_few_ticks() {
        let t = Instant::now();
        let mut own = OwnTime::new(t);
        own.note_order(1);
        own.tick(t + Duration::from_secs(5), TICK);
        assert_eq!(own.age(1), TICK * 3);
        own.tick(t + Duration::from_secs(5) + TICK, TICK);
        assert_eq!((own.age(1), own.now()), (TICK * 4, TICK * 4));
    }

    #[test]
    fn committed_orders_are_forgotten_and_stay_old() {
        let t = Instant::now();
        let mut own = OwnTime::new(t);
        for n in 1..=10u32 {
            own.note_order(u64::from(n) * 2 - 1);
            own.note_order(u64::from(n) * 2);
            own.tick(t + TICK * n, TICK);
        }
        own.forget(9, TICK * 3);
        assert_eq!((own.given.len(), own.age(10), own.age(11)), (6, TICK * 6, TICK * 5), "10 is not committed");
        own.forget(20, TICK * 3);
        assert_eq!((own.given.len(), own.age(16)), (3, TICK * 3));
        assert_eq!(own.age(1), TICK * 3, "at least");
    }
}
