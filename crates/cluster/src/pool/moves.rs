//! How often roles have moved by themselves (REPLICATION R5).

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use super::MoveLimits;

/// The last moves, as the limits count them: by a clock that nobody sets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Moves {
    last: Option<Instant>,
    for_silence: VecDeque<Instant>,
    /// Those of before the control plane's start are in it too.
    recalled: bool,
}

/// The last moves, as the pool's record keeps them: what a control plane that starts goes on counting from. In
/// milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Moved {
    /// The last one, whatever its reason.
    pub last_unix_ms: Option<u64>,
    /// Those for silence that still count, the oldest first.
    pub for_silence_unix_ms: VecDeque<u64>,
}

/// Why a role moves by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// A process is gone: nothing is to be gained by waiting.
    Death,
    /// A process is not heard: it may come back, and the fault may be ours.
    Silence,
}

/// Whether a role may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Leave {
    /// Now.
    Now,
    /// Not before.
    At(Instant),
    /// It has moved too often: the pool is to be held.
    Hold,
}

impl Moves {
    /// Counts the moves of before the control plane's start, once: as soon as it is known how long ago they were.
    pub(super) fn recall(&mut self, moved: &Moved, now: Instant, unix_ms: u64) {
        if std::mem::replace(&mut self.recalled, true) {
            return;
        }
        // What lies in the future of a clock that was set back counts as of now.
        let at = |at_unix_ms: u64| {
            let ago = Duration::from_millis(unix_ms.saturating_sub(at_unix_ms));
            now.checked_sub(ago).unwrap_or(now)
        };
        self.last = self.last.or(moved.last_unix_ms.map(at));
        self.for_silence =
            moved.for_silence_unix_ms.iter().copied().map(at).chain(self.for_silence.drain(..)).collect();
    }

    pub(super) fn leave(&self, reason: Reason, limits: &MoveLimits, now: Instant) -> Leave {
        let next = match reason {
            Reason::Death => self.last.map(|last| last + limits.death_apart),
            Reason::Silence => {
                let within = self.for_silence.iter().filter(|at| now < **at + limits.silence_window);
                if within.count() >= limits.silence_max {
                    return Leave::Hold;
                }
                self.for_silence.back().map(|last| *last + limits.silence_apart)
            }
        };
        next.filter(|next| now < *next).map_or(Leave::Now, Leave::At)
    }

    pub(super) fn note(&mut self, reason: Reason, limits: &MoveLimits, now: Instant) {
        self.last = Some(now);
        if reason == Reason::Silence {
            let (kept, window) = (limits.silence_max.max(1), limits.silence_window);
            push_bounded(&mut self.for_silence, now, kept, |at| now < *at + window);
        }
    }

    /// An operator let the pool go: what was before no longer counts.
    pub(super) fn forget(&mut self) {
        self.for_silence.clear();
    }
}

impl Moved {
    pub(super) fn note(&mut self, reason: Reason, limits: &MoveLimits, unix_ms: u64) {
        self.last_unix_ms = Some(unix_ms);
        if reason == Reason::Silence {
            let (kept, window) = (limits.silence_max.clamp(1, STORED_MAX), limits.silence_window);
            let counts = |at: &u64| u128::from(unix_ms.saturating_sub(*at)) < window.as_millis();
            push_bounded(&mut self.for_silence_unix_ms, unix_ms, kept, counts);
        }
    }

    pub(super) fn forget(&mut self) {
        self.for_silence_unix_ms.clear();
    }
}

/// Adds the last one, and keeps so many at most of those that still count.
fn push_bounded<T>(moves: &mut VecDeque<T>, last: T, kept: usize, counts: impl Fn(&T) -> bool) {
    moves.retain(counts);
    moves.push_back(last);
    while moves.len() > kept {
        moves.pop_front();
    }
}

/// Moves for silence that a record keeps: a limit above it, as in a drill, counts fewer of before a restart.
const STORED_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn three_moves_for_silence_in_ten_minutes_thirty_seconds_apart_then_hold() {
        let (mut moves, limits, start) = (Moves::default(), MoveLimits::default(), Instant::now());
        let at = |seconds| start + Duration::from_secs(seconds);
        moves.note(Reason::Silence, &limits, at(0));
        assert_eq!(moves.leave(Reason::Silence, &limits, at(29)), Leave::At(at(30)));
        assert_eq!(moves.leave(Reason::Silence, &limits, at(30)), Leave::Now);
        moves.note(Reason::Silence, &limits, at(30));
        moves.note(Reason::Silence, &limits, at(60));
        assert_eq!(moves.leave(Reason::Silence, &limits, at(599)), Leave::Hold);
        assert_eq!(moves.leave(Reason::Silence, &limits, at(600)), Leave::Now, "the first is ten minutes ago");
        moves.note(Reason::Silence, &limits, at(600));
        assert_eq!(moves.leave(Reason::Silence, &limits, at(629)), Leave::Hold);
        moves.forget();
        assert_eq!(moves.leave(Reason::Silence, &limits, at(629)), Leave::Now, "an operator let it go");
    }

    #[test]
    fn what_the_record_keeps_is_counted_again_after_a_start() {
        let (limits, start) = (MoveLimits::default(), Instant::now() + Duration::from_secs(3600));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut moved = Moved::default();
        for second in [0, 30, 60] {
            moved.note(Reason::Silence, &limits, 5_000_000 + second * 1000);
        }
        let stored = serde_json::to_string(&moved).unwrap();
        let moved: Moved = serde_json::from_str(&stored).unwrap();
        let mut moves = Moves::default();
        moves.recall(&moved, at(70), 5_070_000);
        assert_eq!(moves.leave(Reason::Silence, &limits, at(599)), Leave::Hold);
        assert_eq!(moves.leave(Reason::Silence, &limits, at(600)), Leave::Now, "the first is ten minutes ago");
        assert_eq!(moves.leave(Reason::Death, &limits, at(60)), Leave::At(at(61)));
        moves.forget();
        moves.recall(&moved, at(71), 5_071_000);
        assert_eq!(moves.leave(Reason::Silence, &limits, at(71)), Leave::Now, "an operator let it go meanwhile");
    }

    #[test]
    fn a_clock_that_was_set_back_makes_no_move_of_the_past_longer_ago() {
        let (limits, now) = (MoveLimits::default(), Instant::now());
        let mut moved = Moved::default();
        moved.note(Reason::Silence, &limits, 9_000_000);
        let mut moves = Moves::default();
        moves.recall(&moved, now, 1_000_000);
        let later = |seconds| now + Duration::from_secs(seconds);
        assert_eq!(moves.leave(Reason::Silence, &limits, later(1)), Leave::At(later(30)));
    }

    #[test]
    fn a_record_keeps_few_moves_and_none_that_no_longer_count() {
        let limits = MoveLimits { silence_max: usize::MAX, ..MoveLimits::default() };
        let mut moved = Moved::default();
        for n in 0..1000 {
            moved.note(Reason::Silence, &limits, n);
        }
        assert_eq!(moved.for_silence_unix_ms.len(), STORED_MAX);
        moved.note(Reason::Silence, &limits, 700_000);
        assert_eq!(moved.for_silence_unix_ms, [700_000]);
    }

    #[test]
    fn deaths_are_only_rate_limited() {
        let (mut moves, limits, start) = (Moves::default(), MoveLimits::default(), Instant::now());
        for second in 0..100 {
            let now = start + Duration::from_secs(second);
            assert_eq!(moves.leave(Reason::Death, &limits, now), Leave::Now);
            moves.note(Reason::Death, &limits, now);
            let soon = now + Duration::from_millis(999);
            assert_eq!(moves.leave(Reason::Death, &limits, soon), Leave::At(now + Duration::from_secs(1)));
        }
    }
}
