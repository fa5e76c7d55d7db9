//! How long to wait before the next attempt.

use std::time::Duration;

use rand::Rng;

/// Waits that double up to a cap, each with jitter, so that nodes do not come back in step.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: FIRST }
    }
}

impl Backoff {
    /// The wait before the next attempt: half to one and a half times the step.
    pub(super) fn next(&mut self) -> Duration {
        let step = self.next;
        self.next = (step * 2).min(CAP);
        step.mul_f64(rand::rng().random_range(0.5..1.5))
    }
}

/// The first step.
const FIRST: Duration = Duration::from_millis(50);
/// The longest step: an operator who starts a control plane does not wait longer for its nodes.
const CAP: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_cap() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> = (0..20).map(|_| backoff.next()).collect();
        assert!(waits[0] < FIRST * 3 / 2);
        assert!(waits[10..].iter().all(|wait| *wait >= CAP / 2 && *wait < CAP * 3 / 2), "{waits:?}");
    }
}
