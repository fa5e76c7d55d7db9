//! Durations, counted by size.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use telemetry::metrics::Distribution;

/// How often something took how long.
#[derive(Debug, Default)]
pub struct Durations {
    counts: [AtomicU64; Self::BOUNDS_MS.len() + 1],
    total_us: AtomicU64,
}

impl Durations {
    /// Upper bounds of the classes in milliseconds, inclusive; one more class holds what is longer.
    pub const BOUNDS_MS: [u64; 12] = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

    /// Counts one.
    pub fn add(&self, duration: Duration) {
        let class = Self::BOUNDS_MS.partition_point(|bound| duration > Duration::from_millis(*bound));
        self.counts[class].fetch_add(1, Ordering::Relaxed);
        self.total_us.fetch_add(duration.as_micros() as u64, Ordering::Relaxed);
    }

    /// How many fell in each class.
    pub fn counts(&self) -> [u64; Self::BOUNDS_MS.len() + 1] {
        std::array::from_fn(|class| self.counts[class].load(Ordering::Relaxed))
    }

    /// As a metrics page shows them, in seconds.
    pub(crate) fn distribution(&self) -> Distribution {
        let counts = self.counts();
        let seconds = Self::BOUNDS_MS.iter().map(|ms| *ms as f64 / 1000.0);
        Distribution {
            classes: seconds.zip(counts).collect(),
            above: counts[Self::BOUNDS_MS.len()],
            sum: self.total().as_secs_f64(),
        }
    }

    /// All of them together.
    pub fn total(&self) -> Duration {
        Duration::from_micros(self.total_us.load(Ordering::Relaxed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_falls_in_one_class() {
        let durations = Durations::default();
        for ms in [0, 1, 2, 5000, 5001] {
            durations.add(Duration::from_millis(ms));
        }
        let counts = durations.counts();
        assert_eq!((counts[0], counts[1], counts[11], counts[12]), (2, 1, 1, 1));
        assert_eq!(durations.total(), Duration::from_millis(10_004));
    }
}
