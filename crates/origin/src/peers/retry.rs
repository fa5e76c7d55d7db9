//! When a Follow is opened anew.

use std::time::Duration;

use rand::Rng;

/// Often at first, because another's restart takes moments; later rarely, and not in step with others.
#[derive(Debug, Default)]
pub(super) struct Retry {
    waited: Duration,
}

const EAGER_STEP: Duration = Duration::from_millis(50);
const EAGER_FOR: Duration = Duration::from_secs(3);
const STEP: Duration = Duration::from_millis(500);

impl Retry {
    /// How long to wait before the next attempt.
    pub(super) fn next_delay(&mut self) -> Duration {
        if self.waited >= EAGER_FOR {
            return STEP.mul_f64(rand::rng().random_range(0.5..1.5));
        }
        self.waited += EAGER_STEP;
        EAGER_STEP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_eager_for_three_seconds() {
        let mut retry = Retry::default();
        assert!((0..60).all(|_| retry.next_delay() == EAGER_STEP));
        assert!((0..60).all(|_| retry.next_delay() >= STEP / 2));
    }
}
