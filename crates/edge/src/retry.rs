//! When to try again.

use std::time::Duration;

use rand::Rng;

/// Tries often at first, because a new active origin is only moments away, then backs off with jitter (REPLICATION L3).
#[derive(Debug, Default)]
pub(crate) struct Retry {
    waited: Duration,
}

const EAGER_STEP: Duration = Duration::from_millis(50);
const EAGER_FOR: Duration = Duration::from_secs(3);
const STEP_MAX: Duration = Duration::from_secs(2);
const STAND_BACK_MAX: Duration = Duration::from_millis(500);

impl Retry {
    /// It worked: the next failure is a first one.
    pub(crate) fn reset(&mut self) {
        self.waited = Duration::ZERO;
    }

    /// How long to wait before the next attempt.
    pub(crate) fn next_delay(&mut self) -> Duration {
        let step = if self.waited < EAGER_FOR { EAGER_STEP } else { (self.waited / 8).min(STEP_MAX) };
        self.waited += step;
        step.mul_f64(rand::rng().random_range(0.5..1.5))
    }

    /// How long to wait when it is known where to go on: not at all, unless that was just as short-lived.
    pub(crate) fn at_once(&mut self, lasted: Duration) -> Duration {
        if lasted >= EAGER_STEP { Duration::ZERO } else { self.next_delay() }
    }
}

/// How long one waits whom nobody misses yet, when all have to move at once: who was cut off meanwhile goes first.
pub(crate) fn stand_back() -> Duration {
    STAND_BACK_MAX.mul_f64(rand::rng().random_range(0.2..1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_from_eager_to_their_bound_and_start_over() {
        let mut retry = Retry::default();
        let delays: Vec<_> = (0..200).map(|_| retry.next_delay()).collect();
        assert!(delays[..60].iter().all(|delay| *delay <= EAGER_STEP * 2));
        assert!(delays[100..].iter().all(|delay| *delay > EAGER_STEP * 2 && *delay <= STEP_MAX * 2));
        retry.reset();
        assert!(retry.next_delay() <= EAGER_STEP * 2);
    }

    #[test]
    fn a_known_move_costs_no_delay_but_does_not_spin() {
        let mut retry = Retry::default();
        assert_eq!(retry.at_once(Duration::from_secs(1)), Duration::ZERO);
        assert!(retry.at_once(Duration::from_millis(1)) >= EAGER_STEP / 2);
    }
}
