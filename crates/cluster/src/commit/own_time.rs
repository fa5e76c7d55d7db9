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
    /// When orders were given, from `first` on.
    given: VecDeque<Duration>,
    first: u64,
}

/// So many ticks may pass in one; the rest of a late tick does not count.
const LATE_TICKS_MAX: u32 = 3;
/// Orders whose time is remembered; an older one counts as old as the oldest remembered.
const GIVEN_MAX: usize = 65_536;

impl OwnTime {
    pub(super) fn new(now: Instant) -> Self {
        Self { now: Duration::ZERO, ticked: now, given: VecDeque::new(), first: 1 }
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
        if self.given.is_empty() {
            self.first = order;
        }
        self.given.push_back(self.now);
        if self.given.len() > GIVEN_MAX {
            self.given.pop_front();
            self.first += 1;
        }
    }

    /// How long ago an order was given.
    pub(super) fn age(&self, order: u64) -> Duration {
        let at = usize::try_from(order.saturating_sub(self.first)).unwrap_or(usize::MAX);
        self.given.get(at).map_or(Duration::ZERO, |given| self.now - *given)
    }

    /// All members hold these orders; without members nobody asks for the age of any.
    pub(super) fn forget_before(&mut self, order: Option<u64>) {
        while self.given.len() > 1 && order.is_none_or(|order| self.first <= order) {
            self.given.pop_front();
            self.first += 1;
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
    fn orders_that_all_hold_are_forgotten() {
        let t = Instant::now();
        let mut own = OwnTime::new(t);
        for n in 1..=10u32 {
            own.note_order(n.into());
            own.tick(t + TICK * n, TICK);
        }
        own.forget_before(Some(4));
        assert_eq!((own.given.len(), own.age(5)), (6, TICK * 6));
        own.forget_before(None);
        assert_eq!(own.given.len(), 1);
    }
}
