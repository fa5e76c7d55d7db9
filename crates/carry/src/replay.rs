//! What an encoder has sent and an origin may still need.

use std::{
    collections::VecDeque,
    ops::Range,
    time::{Duration, Instant},
};

use crate::{
    entry::{Entry, Part},
    setup::Setup,
};

/// The numbered entries of one publication: all that is unacked, and a little of what is acked, so that they can be sent
/// again to whoever is active next (REPLICATION P2).
///
/// ```text
///        gone, but for set-up         held
/// 0 ───────────────┬───────── first ──────────────────── next
///            acked │ skipped         (may begin with a part that is acked)
/// ```
///
/// When it is full the oldest whole GOPs go. Their numbers are told as skipped wherever they are asked for; set-up among
/// them stays, under its own number. A GOP that fills it alone is cut: what is left of it is not taken.
#[derive(Debug)]
pub struct Replay {
    limits: Limits,
    /// Numbered from `first` on without a gap.
    held: VecDeque<Held>,
    first: u64,
    bytes: usize,
    /// What a decoder must have, of what is gone.
    setup: Setup,
    /// All below this number is acked; above the last entry's once the end is.
    acked_below: u64,
    /// When something was acked last.
    acked_at: Option<Instant>,
    /// The present GOP is being left out. Nothing is held then.
    cutting: bool,
    /// When a keyframe and coded audio came last.
    key_at: Option<Instant>,
    audio_at: Option<Instant>,
}

/// Bounds of one publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes held.
    pub bytes: usize,
    /// Between the oldest unacked entry and now.
    pub duration: Duration,
}

#[derive(Debug)]
struct Held {
    entry: Entry,
    part: Part,
    at: Instant,
}

/// What goes to an origin, in the order of numbers.
#[derive(Debug, Clone, PartialEq)]
pub enum Piece {
    /// An entry with its number.
    Entry(u64, Entry),
    /// These numbers, both included, were dropped before an origin had acked them.
    Skip {
        /// The first.
        from: u64,
        /// The last.
        to: u64,
    },
}

impl Piece {
    /// The number after it.
    pub fn next_number(&self) -> u64 {
        match self {
            Self::Entry(number, _) | Self::Skip { to: number, .. } => number + 1,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Entry(_, entry) => entry.bytes(),
            Self::Skip { .. } => 0,
        }
    }
}

/// So much of what is acked is held all the same, counted back from the newest acked entry: an origin that was promoted
/// with loss may lack it.
const ACKED_KEPT: Duration = Duration::from_secs(2);
/// As long as acks come, room is waited for rather than made: the encoder is faster than the way to the origin.
const ACK_PATIENCE: Duration = Duration::from_secs(1);

impl Replay {
    /// Holds nothing.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            held: VecDeque::new(),
            first: 0,
            bytes: 0,
            setup: Setup::default(),
            acked_below: 0,
            acked_at: None,
            cutting: false,
            key_at: None,
            audio_at: None,
        }
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The number that the next entry will have.
    pub fn next_number(&self) -> u64 {
        self.first + self.held.len() as u64
    }

    /// The lowest number that can still be sent, or told as skipped. 0 only as long as nobody has had all of its beginning:
    /// an origin that knows nothing of the publication learns by it that there is something to miss.
    pub fn lowest(&self) -> u64 {
        let lowest = self.setup.first().unwrap_or(self.first).min(self.first).min(self.acked_below);
        lowest.max(u64::from(self.has_acked_past()))
    }

    /// Some of what was acked is gone, and set-up is not all that is.
    fn has_acked_past(&self) -> bool {
        self.acked_below > 0 && self.first > self.setup.len() as u64
    }

    /// All below this number is acked.
    pub fn acked_below(&self) -> u64 {
        self.acked_below
    }

    /// Whether something has to go before more is taken.
    pub fn is_full(&self, now: Instant) -> bool {
        let waits = self.held.get(self.acked_held()).map(|oldest| now.saturating_duration_since(oldest.at));
        (self.bytes >= self.limits.bytes && !self.held.is_empty())
            || waits.is_some_and(|waits| waits >= self.limits.duration)
    }

    /// Until when an ack may be waited for, which makes room without loss. None: acks have ceased to come.
    pub fn patience(&self, now: Instant) -> Option<Instant> {
        self.acked_at.map(|at| at + ACK_PATIENCE).filter(|until| *until > now)
    }

    /// Takes an entry.
    pub fn append(&mut self, entry: Entry, now: Instant) {
        let part = entry.part();
        match part {
            Part::Key => self.key_at = Some(now),
            Part::Audio => self.audio_at = Some(now),
            Part::Video | Part::Setup(_) | Part::Other => {}
        }
        if self.cutting && !self.is_start(part, now) {
            self.leave_out(entry, part);
            return;
        }
        self.cutting = false;
        self.bytes += entry.bytes();
        self.held.push_back(Held { entry, part, at: now });
    }

    /// Lets go of the oldest acked entry. False: none is held.
    pub fn drop_acked(&mut self) -> bool {
        let any = self.acked_held() > 0;
        if any {
            self.drop_front();
        }
        any
    }

    /// Lets go of the oldest GOP, and returns the numbers that it had.
    pub fn skip_gop(&mut self) -> Range<u64> {
        let from = self.first;
        self.drop_front();
        while self.held.front().is_some_and(|front| !self.is_start(front.part, front.at)) {
            self.drop_front();
        }
        self.cutting = self.held.is_empty();
        from..self.first
    }

    /// Everything below `number` is committed.
    pub fn ack_below(&mut self, number: u64, now: Instant) {
        if number <= self.acked_below {
            return;
        }
        self.acked_below = number;
        self.acked_at = Some(now);
        let Some(newest) = self.acked_held().checked_sub(1).map(|newest| self.held[newest].at) else { return };
        while self.acked_held() > 0 && newest.saturating_duration_since(self.held[0].at) > ACKED_KEPT {
            self.drop_front();
        }
    }

    /// What an origin that has all below `number` is to get next, up to `bytes_max` of it. `ended`: nothing is appended
    /// any more.
    pub fn pieces(&self, number: u64, bytes_max: usize, ended: bool) -> Vec<Piece> {
        let mut bytes = 0;
        let mut pieces = self.gone(number, ended);
        for (number, held) in self.held_from(number) {
            if bytes >= bytes_max {
                break;
            }
            let piece = Piece::Entry(number, held.entry.clone());
            bytes += piece.bytes();
            pieces.push(piece);
        }
        pieces
    }

    /// Set-up from `number` on among what is gone, and what else was skipped.
    fn gone(&self, number: u64, ended: bool) -> Vec<Piece> {
        let mut pieces = Vec::new();
        // What is acked and gone has been told to viewers: it is not skipped.
        let mut due = number.max(self.acked_below);
        let skip = |due: u64, end: u64| (due < end).then(|| Piece::Skip { from: due, to: end - 1 });
        // To a log that has nothing, the first numbers are as good as any; 0 says that nothing is missing.
        let lowest = u64::from(number == 0 && self.has_acked_past());
        for (place, (kept, entry)) in (lowest..).zip(self.setup.from(number)) {
            let kept = kept.max(place);
            pieces.extend(skip(due, kept));
            pieces.push(Piece::Entry(kept, entry.clone()));
            due = due.max(kept + 1);
        }
        // While the GOP is being cut, nobody knows yet how far the skip goes.
        if !self.cutting || ended {
            pieces.extend(skip(due, self.first));
        }
        pieces
    }

    fn held_from(&self, number: u64) -> impl Iterator<Item = (u64, &Held)> {
        let at = usize::try_from(number.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.held.len());
        (self.first + at as u64..).zip(self.held.range(at..))
    }

    /// How many of the entries held are acked.
    fn acked_held(&self) -> usize {
        usize::try_from(self.acked_below.saturating_sub(self.first)).unwrap_or(usize::MAX).min(self.held.len())
    }

    fn drop_front(&mut self) {
        if let Some(Held { entry, part, .. }) = self.held.pop_front() {
            self.bytes -= entry.bytes();
            self.leave_out(entry, part);
        }
    }

    /// The entry with the number `first` is not held; if it is set-up it is kept apart.
    fn leave_out(&mut self, entry: Entry, part: Part) {
        if let Part::Setup(slot) = part {
            self.setup.keep(self.first, slot, entry);
        }
        self.first += 1;
    }

    /// Whether decoding can start at such an entry, which came at this time: at a keyframe; where none came for long, at
    /// any audio; without both at anything.
    fn is_start(&self, part: Part, at: Instant) -> bool {
        let lately = |last: Option<Instant>| last.is_some_and(|last| last + self.limits.duration >= at);
        match part {
            Part::Key => true,
            _ if lately(self.key_at) => false,
            Part::Audio => true,
            _ => !lately(self.audio_at),
        }
    }
}

#[cfg(test)]
mod tests;
