//! When a message of a file that may be sent again and again is due, and under which timestamp.

use std::time::Duration;

/// What is put between the end of the file and its beginning when its own frames do not tell: a frame's time.
const STEP_MS: i64 = 40;

/// Goes through the timestamps of a file, which begin anywhere and may wrap.
#[derive(Debug, Default)]
pub(super) struct Timeline {
    /// The first timestamp of this round.
    first: Option<u32>,
    /// What this round begins at, from the start of the first.
    base_ms: i64,
    /// The highest that was reached.
    reached_ms: i64,
    /// The timestamps of the first round, which all others carry on.
    origin: Option<u32>,
}

impl Timeline {
    /// A timeline that has not begun.
    pub(super) fn new() -> Self {
        Self::default()
    }

    /// When, from the start, the message with this timestamp is due; the timestamp is changed to go on from the last round.
    pub(super) fn on_timestamp(&mut self, timestamp: &mut u32) -> Duration {
        let first = *self.first.get_or_insert(*timestamp);
        let origin = *self.origin.get_or_insert(first);
        let at = self.base_ms + i64::from(timestamp.wrapping_sub(first) as i32);
        self.reached_ms = self.reached_ms.max(at);
        // Truncation is what a 32-bit timestamp is.
        *timestamp = origin.wrapping_add(at as u32);
        Duration::from_millis(at.max(0) as u64)
    }

    /// The file begins again.
    pub(super) fn on_rewind(&mut self) {
        self.first = None;
        self.base_ms = self.reached_ms + STEP_MS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(timeline: &mut Timeline, timestamps: &[u32]) -> Vec<(u64, u32)> {
        let message = |timestamp: &u32| {
            let mut timestamp = *timestamp;
            let due = timeline.on_timestamp(&mut timestamp);
            (due.as_millis() as u64, timestamp)
        };
        timestamps.iter().map(message).collect()
    }

    #[test]
    fn first_round_keeps_its_timestamps_and_the_next_goes_on() {
        let mut timeline = Timeline::new();
        assert_eq!(sent(&mut timeline, &[100, 140, 120]), [(0, 100), (40, 140), (20, 120)]);
        timeline.on_rewind();
        assert_eq!(sent(&mut timeline, &[100, 140]), [(80, 180), (120, 220)]);
    }

    #[test]
    fn wrapped_timestamps_are_due_in_order() {
        let mut timeline = Timeline::new();
        assert_eq!(sent(&mut timeline, &[u32::MAX - 9, 10]), [(0, u32::MAX - 9), (20, 10)]);
    }

    #[test]
    fn file_without_duration_still_takes_time_each_round() {
        let mut timeline = Timeline::new();
        sent(&mut timeline, &[0]);
        timeline.on_rewind();
        assert_eq!(sent(&mut timeline, &[0]), [(40, 40)]);
    }
}
