//! Decoding times that go on, whatever the encoders' clocks do.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use media::{Clock, Frame, Kind, MediaMessage, Medium};

/// One stream's time in milliseconds, unwrapped to 64 bits.
///
/// The first source's times pass unchanged. A later source, and one whose clock jumped, is moved as a whole, audio and
/// video by the same amount, so that it goes on one frame after the newest frame. On one track times never fall.
#[derive(Debug, Default)]
pub(crate) struct Timeline {
    /// The newest decoding time of a coded frame.
    head: Option<u64>,
    /// Where the present source's clock stands, once it has sent a coded frame.
    anchor: Option<Anchor>,
    tracks: HashMap<(Medium, u8), Track>,
    jumps: u64,
}

#[derive(Debug, Clone, Copy)]
struct Anchor {
    clock: Clock,
    /// When it stood there; None: some time ago.
    at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Track {
    last: u64,
    /// The last distance between two frames of it.
    step: u64,
}

/// The encoder's clock may run this far from real time between two messages before it counts as a jump.
const JUMP_MAX: Duration = Duration::from_secs(10);
/// The longest pause that is believed of a source of which nobody knows when it was heard last: one that was silent for
/// longer is hardly connected any more.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// Smaller steps back are jitter of the muxer; larger ones mean that the encoder started its clock anew.
const BACK_MS_MAX: i64 = 3_000;
/// The step assumed where no frame distance is known, and bounds for those that are.
const STEP_MS: u64 = 40;
const STEP_MS_RANGE: std::ops::RangeInclusive<u64> = 1..=100;

impl Timeline {
    /// The next message comes from another source, with a clock of its own.
    pub(crate) fn change_source(&mut self) {
        self.anchor = None;
    }

    /// Puts a message on the timeline. A coded frame comes with how its source's clock stands now.
    pub(crate) fn place(&mut self, message: MediaMessage, now: Instant) -> (Frame, Option<Clock>) {
        let frame = Frame::classify(message.medium, 0, message.payload);
        let (dts, clock) = match frame.kind {
            Kind::Key | Kind::Delta => {
                let clock = self.clock_at(message.timestamp, now);
                (self.advance((frame.medium, frame.track), clock.dts()), Some(clock))
            }
            Kind::Config | Kind::Data => (self.place_beside(message.timestamp), None),
        };
        (Frame { dts, ..frame }, clock)
    }

    /// Goes on from a frame that another timeline has placed, so that it would place the next one as that would.
    pub(crate) fn replay(&mut self, frame: &Frame, clock: Option<Clock>, now: Instant) {
        if !matches!(frame.kind, Kind::Key | Kind::Delta) {
            return;
        }
        if let Some(clock) = clock {
            let jumped = self.anchor.is_some_and(|anchor| anchor.clock.offset_ms != clock.offset_ms);
            self.jumps += u64::from(jumped);
            self.anchor = Some(Anchor { clock, at: Some(now) });
        }
        self.advance((frame.medium, frame.track), frame.dts);
    }

    /// What was replayed had come some time ago, nobody knows when: the source may have paused since.
    pub(crate) fn forget_when(&mut self) {
        self.anchor = self.anchor.map(|anchor| Anchor { at: None, ..anchor });
    }

    /// How often a source's clock jumped.
    pub(crate) fn jumps(&self) -> u64 {
        self.jumps
    }

    /// Reads the source's clock, which counts as set anew where it begins and where it jumps.
    fn clock_at(&mut self, timestamp: u32, now: Instant) -> Clock {
        let source_ms = self.unwrap(timestamp);
        let offset_ms = match self.anchor {
            None => self.continuation(source_ms),
            Some(anchor) if anchor.jumps_to(source_ms, now) => {
                self.jumps += 1;
                self.continuation(source_ms)
            }
            Some(anchor) => anchor.clock.offset_ms,
        };
        let clock = Clock { source_ms, offset_ms };
        self.anchor = Some(Anchor { clock, at: Some(now) });
        clock
    }

    /// A coded frame stands at this time, or where its track's last one does if that is later.
    fn advance(&mut self, track: (Medium, u8), dts: u64) -> u64 {
        let track = self.tracks.entry(track);
        let track = track.and_modify(|track| track.advance(dts)).or_insert(Track { last: dts, step: STEP_MS });
        self.head = self.head.max(Some(track.last));
        track.last
    }

    /// Set-up and data take the source's time where it makes sense, and otherwise the timeline's: encoders stamp them with 0.
    fn place_beside(&self, timestamp: u32) -> u64 {
        let Some(head) = self.head else { return timestamp.into() };
        let Some(anchor) = self.anchor else { return head };
        let source_ms = self.unwrap(timestamp);
        if source_ms.abs_diff(anchor.clock.source_ms) > BACK_MS_MAX as u64 {
            return head;
        }
        Clock { source_ms, ..anchor.clock }.dts()
    }

    /// The time nearest to the source's last one whose low 32 bits are `timestamp` (RFC 1982).
    fn unwrap(&self, timestamp: u32) -> i64 {
        match self.anchor {
            None => timestamp.into(),
            Some(Anchor { clock: Clock { source_ms, .. }, .. }) => {
                source_ms.saturating_add(timestamp.wrapping_sub(source_ms as u32).cast_signed().into())
            }
        }
    }

    /// The offset that puts this time one frame after the newest.
    fn continuation(&self, source_ms: i64) -> i64 {
        let Some(head) = self.head else { return 0 };
        let steps = self.tracks.iter().filter(|((medium, _), _)| *medium == Medium::Video).map(|(_, track)| track.step);
        let step = steps.min().unwrap_or(STEP_MS).clamp(*STEP_MS_RANGE.start(), *STEP_MS_RANGE.end());
        head.saturating_add(step).cast_signed().saturating_sub(source_ms)
    }
}

impl Anchor {
    fn jumps_to(&self, source_ms: i64, now: Instant) -> bool {
        let step = source_ms.saturating_sub(self.clock.source_ms);
        let waited = self.at.map_or(PAUSE_MAX, |at| now.saturating_duration_since(at)) + JUMP_MAX;
        step < -BACK_MS_MAX || step > i64::try_from(waited.as_millis()).unwrap_or(i64::MAX)
    }
}

impl Track {
    fn advance(&mut self, dts: u64) {
        if dts > self.last {
            self.step = dts - self.last;
            self.last = dts;
        }
    }
}

#[cfg(test)]
mod tests;
