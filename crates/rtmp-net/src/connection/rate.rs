//! How fast an encoder may send.

use std::{num::NonZeroU64, time::Duration};

use tokio::time::Instant;

/// Counts what an encoder sends against the bytes that it may send a second, whatever it publishes meanwhile.
#[derive(Debug)]
pub(super) struct Rate {
    bytes_per_second: NonZeroU64,
    /// When all that came would have come at just that rate.
    paid_until: Option<Instant>,
    was_exceeded: bool,
}

/// What a message has come to.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TooFast {
    /// When the next one may be taken.
    pub(super) until: Instant,
    /// It is the encoder's first time.
    pub(super) is_news: bool,
}

/// What may come at once: a keyframe is many times the frames around it.
const BURST: Duration = Duration::from_secs(1);

impl Rate {
    pub(super) fn new(bytes_per_second: NonZeroU64) -> Self {
        Self { bytes_per_second, paid_until: None, was_exceeded: false }
    }

    /// Counts bytes that came, and says so when they came too fast.
    pub(super) fn take(&mut self, bytes: usize, now: Instant) -> Option<TooFast> {
        let price = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second.get() as f64);
        let paid_until = self.paid_until.map_or(now, |at| at.max(now)) + price;
        self.paid_until = Some(paid_until);
        let is_news = !self.was_exceeded;
        let until = paid_until.checked_sub(BURST).filter(|until| *until > now)?;
        self.was_exceeded = true;
        Some(TooFast { until, is_news })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_second_may_come_at_once_and_more_waits_for_its_time() {
        let start = Instant::now();
        let mut rate = Rate::new(NonZeroU64::new(1000).unwrap());
        assert_eq!(rate.take(600, start), None);
        assert_eq!(rate.take(400, start), None);
        let until = start + Duration::from_millis(500);
        assert_eq!(rate.take(500, start), Some(TooFast { until, is_news: true }));
        assert_eq!(rate.take(100, until), Some(TooFast { until: until + Duration::from_millis(100), is_news: false }));
        // Whoever was slow for long has no more than a second to its credit.
        let later = start + Duration::from_secs(60);
        assert_eq!(rate.take(1000, later), None);
        assert!(rate.take(1, later).is_some());
    }
}
