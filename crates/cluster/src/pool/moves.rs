//! How often roles have moved by themselves (REPLICATION R5).

use std::{collections::VecDeque, time::Instant};

use super::MoveLimits;

/// The last moves, since the control plane's start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Moves {
    last: Option<Instant>,
    for_silence: VecDeque<Instant>,
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
            self.for_silence.push_back(now);
            while self.for_silence.len() > limits.silence_max.max(1) {
                self.for_silence.pop_front();
            }
        }
    }

    /// An operator let the pool go: what was before no longer counts.
    pub(super) fn forget(&mut self) {
        self.for_silence.clear();
    }
}

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
