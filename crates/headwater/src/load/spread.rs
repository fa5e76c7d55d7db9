//! How durations spread: counted in buckets, so that recording one costs nothing and takes no memory.

use std::time::Duration;

use serde::Serialize;

/// A histogram of microseconds. Its buckets are 1.6 % wide, and exact below 64 µs.
#[derive(Debug, Clone)]
pub(super) struct Spread {
    buckets: Vec<u32>,
    count: u64,
    worst_us: u64,
}

/// What there is to say of many durations, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Summary {
    /// How many there were.
    pub count: u64,
    /// The median.
    pub p50: f64,
    /// One in a hundred took longer.
    pub p99: f64,
    /// The longest.
    pub worst: f64,
}

/// Each power of two has so many buckets: 2 to this.
const FINE_BITS: u32 = 6;
const FINE: u64 = 1 << FINE_BITS;
/// Nothing longer than 2 to this many microseconds, 19 hours, is told apart.
const TOP_BITS: u32 = 36;
const BUCKETS: usize = ((TOP_BITS - FINE_BITS + 1) << FINE_BITS) as usize;

impl Spread {
    /// Nothing recorded yet.
    pub(super) fn new() -> Self {
        Self { buckets: vec![0; BUCKETS], count: 0, worst_us: 0 }
    }

    /// Counts one.
    pub(super) fn record(&mut self, us: u64) {
        self.buckets[bucket(us)] += 1;
        self.count += 1;
        self.worst_us = self.worst_us.max(us);
    }

    /// The same for what is a [`Duration`].
    pub(super) fn record_duration(&mut self, duration: Duration) {
        self.record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds what another one has recorded.
    pub(super) fn merge(&mut self, other: &Self) {
        self.buckets.iter_mut().zip(&other.buckets).for_each(|(own, other)| *own += other);
        self.count += other.count;
        self.worst_us = self.worst_us.max(other.worst_us);
    }

    /// `None` when nothing was recorded.
    pub(super) fn summary(&self) -> Option<Summary> {
        let ms = |us: u64| us as f64 / 1000.0;
        let at = |share: f64| ms(self.quantile_us(share).min(self.worst_us));
        (self.count > 0).then(|| Summary { count: self.count, p50: at(0.5), p99: at(0.99), worst: ms(self.worst_us) })
    }

    /// The upper end of the bucket in which this share is reached.
    fn quantile_us(&self, share: f64) -> u64 {
        let wanted = (self.count as f64 * share).ceil() as u64;
        let mut reached = 0;
        let found = self.buckets.iter().position(|count| {
            reached += u64::from(*count);
            reached >= wanted.max(1)
        });
        found.map_or(self.worst_us, upper_us)
    }
}

fn bucket(us: u64) -> usize {
    let us = us.min((1 << TOP_BITS) - 1);
    if us < FINE {
        return us as usize;
    }
    let shift = us.ilog2() - FINE_BITS;
    (u64::from(shift) * FINE + (us >> shift)) as usize
}

/// The highest number of microseconds that falls into a bucket.
fn upper_us(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    if bucket < 2 * FINE {
        return bucket;
    }
    let shift = bucket / FINE - 1;
    ((bucket - shift * FINE + 1) << shift) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_follow_each_other_and_are_narrow() {
        let mut last = 0;
        for us in (0..5000).chain([65_535, 1_000_000, 86_400_000_000, u64::MAX]) {
            let at = bucket(us);
            assert!(at >= last && at < BUCKETS, "{us} falls into {at}");
            last = at;
            if us < 1 << TOP_BITS {
                let upper = upper_us(at);
                assert!(upper >= us && upper as f64 <= us as f64 * 1.016, "{us}: up to {upper}");
            }
        }
    }

    #[test]
    fn quantiles_are_those_of_what_was_recorded() {
        let mut spread = Spread::new();
        assert_eq!(spread.summary(), None);
        (1..=50).for_each(|us| spread.record(us));
        let mut other = Spread::new();
        (51..=99).for_each(|us| other.record(us));
        other.record_duration(Duration::from_millis(7));
        spread.merge(&other);
        assert_eq!(spread.summary(), Some(Summary { count: 100, p50: 0.05, p99: 0.099, worst: 7.0 }));
    }
}
