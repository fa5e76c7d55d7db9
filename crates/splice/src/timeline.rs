//! Decoding times that go on, whatever the encoders' clocks do.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use media::{Frame, Kind, MediaMessage, Medium};

/// One stream's time in milliseconds, unwrapped to 64 bits.
///
/// The first source's times pass unchanged. A later source, and one whose clock jumped, is moved as a whole, audio and
/// video by the same amount, so that it goes on one frame after the newest frame. On one track times never fall.
#[derive(Debug, Default)]
pub struct Timeline {
    /// The newest decoding time of a coded frame.
    head: Option<u64>,
    /// Where the present source's clock stands, once it has sent a coded frame.
    anchor: Option<Anchor>,
    /// What is added to the present source's unwrapped times. Meaningful once there is an anchor.
    offset: i64,
    tracks: HashMap<(Medium, u8), Track>,
    jumps: u64,
}

#[derive(Debug, Clone, Copy)]
struct Anchor {
    unwrapped: i64,
    at: Instant,
}

#[derive(Debug, Clone, Copy)]
struct Track {
    last: u64,
    /// The last distance between two frames of it.
    step: u64,
}

/// The encoder's clock may run this far from real time between two messages before it counts as a jump.
const JUMP_MAX: Duration = Duration::from_secs(10);
/// Smaller steps back are jitter of the muxer; larger ones mean that the encoder started its clock anew.
const BACK_MS_MAX: i64 = 3_000;
/// The step assumed where no frame distance is known, and bounds for those that are.
const STEP_MS: u64 = 40;
const STEP_MS_RANGE: std::ops::RangeInclusive<u64> = 1..=100;

impl Timeline {
    /// The next message comes from another source, with a clock of its own.
    pub fn change_source(&mut self) {
        self.anchor = None;
    }

    /// Puts a message on the timeline.
    pub fn place(&mut self, message: MediaMessage, now: Instant) -> Frame {
        let frame = Frame::classify(message.medium, 0, message.payload);
        let dts = match frame.kind {
            Kind::Key | Kind::Delta => self.place_coded(message.timestamp, &frame, now),
            Kind::Config | Kind::Data => self.place_beside(message.timestamp),
        };
        Frame { dts, ..frame }
    }

    /// How often a source's clock jumped.
    pub fn jumps(&self) -> u64 {
        self.jumps
    }

    fn place_coded(&mut self, timestamp: u32, frame: &Frame, now: Instant) -> u64 {
        let unwrapped = self.unwrap(timestamp);
        match self.anchor {
            None => self.offset = self.continuation(unwrapped),
            Some(anchor) if jumped(anchor, unwrapped, now) => {
                self.jumps += 1;
                self.offset = self.continuation(unwrapped);
            }
            Some(_) => {}
        }
        self.anchor = Some(Anchor { unwrapped, at: now });
        let dts = u64::try_from(unwrapped + self.offset).unwrap_or(0);
        let track = self.tracks.entry((frame.medium, frame.track));
        let track = track.and_modify(|track| track.advance(dts)).or_insert(Track { last: dts, step: STEP_MS });
        self.head = self.head.max(Some(track.last));
        track.last
    }

    /// Set-up and data take the source's time where it makes sense, and otherwise the timeline's: encoders stamp them with 0.
    fn place_beside(&self, timestamp: u32) -> u64 {
        let Some(head) = self.head else { return timestamp.into() };
        let Some(anchor) = self.anchor else { return head };
        let unwrapped = self.unwrap(timestamp);
        if unwrapped.abs_diff(anchor.unwrapped) > BACK_MS_MAX as u64 {
            return head;
        }
        u64::try_from(unwrapped + self.offset).unwrap_or(0)
    }

    /// The time nearest to the source's last one whose low 32 bits are `timestamp` (RFC 1982).
    fn unwrap(&self, timestamp: u32) -> i64 {
        match self.anchor {
            None => timestamp.into(),
            Some(Anchor { unwrapped, .. }) => {
                unwrapped + i64::from(timestamp.wrapping_sub(unwrapped as u32).cast_signed())
            }
        }
    }

    /// The offset that puts this time one frame after the newest.
    fn continuation(&self, unwrapped: i64) -> i64 {
        let Some(head) = self.head else { return 0 };
        let steps = self.tracks.iter().filter(|((medium, _), _)| *medium == Medium::Video).map(|(_, track)| track.step);
        let step = steps.min().unwrap_or(STEP_MS).clamp(*STEP_MS_RANGE.start(), *STEP_MS_RANGE.end());
        (head + step) as i64 - unwrapped
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

fn jumped(anchor: Anchor, unwrapped: i64, now: Instant) -> bool {
    let step = unwrapped - anchor.unwrapped;
    let waited = now.saturating_duration_since(anchor.at) + JUMP_MAX;
    step < -BACK_MS_MAX || step > i64::try_from(waited.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    const VIDEO: &[u8] = &[0x27, 1, 0, 0, 0];
    const KEY: &[u8] = &[0x17, 1, 0, 0, 0];
    const AUDIO: &[u8] = &[0xaf, 1, 0x21];
    const AUDIO_CONFIG: &[u8] = &[0xaf, 0, 0x12, 0x10];

    fn place(timeline: &mut Timeline, medium: Medium, timestamp: u32, payload: &'static [u8], now: Instant) -> u64 {
        timeline.place(MediaMessage { medium, timestamp, payload: Bytes::from_static(payload) }, now).dts
    }

    #[test]
    fn the_first_source_passes_unchanged_across_2_to_the_32() {
        let (mut timeline, t) = (Timeline::default(), Instant::now());
        let start = u32::MAX - 50;
        assert_eq!(place(&mut timeline, Medium::Audio, 0, AUDIO_CONFIG, t), 0);
        for n in 0..10u64 {
            let wire = start.wrapping_add(20 * n as u32);
            assert_eq!(place(&mut timeline, Medium::Video, wire, VIDEO, t), u64::from(start) + 20 * n);
        }
        assert_eq!(timeline.jumps(), 0);
    }

    #[test]
    fn a_new_source_keeps_its_own_skew() {
        let (mut timeline, t) = (Timeline::default(), Instant::now());
        for n in 0..5 {
            place(&mut timeline, Medium::Video, 40 * n, VIDEO, t);
            place(&mut timeline, Medium::Audio, 40 * n + 7, AUDIO, t);
        }
        timeline.change_source();
        assert_eq!(place(&mut timeline, Medium::Audio, 0, AUDIO_CONFIG, t), 167);
        let video = place(&mut timeline, Medium::Video, 90_000, KEY, t);
        let audio = place(&mut timeline, Medium::Audio, 90_011, AUDIO, t);
        assert_eq!((video, audio), (207, 218));
    }

    #[test]
    fn a_clock_that_jumps_is_moved_back_in_line_once() {
        let (mut timeline, mut t) = (Timeline::default(), Instant::now());
        let mut last = 0;
        for wire in [0, 40, 80, 3_600_000, 3_600_040, 12, 52] {
            t += Duration::from_millis(40);
            let dts = place(&mut timeline, Medium::Video, wire, VIDEO, t);
            assert!(dts == 0 || dts == last + 40, "{dts} after {last}");
            last = dts;
        }
        assert_eq!(timeline.jumps(), 2);
    }

    #[test]
    fn a_pause_of_the_encoder_is_no_jump() {
        let (mut timeline, t) = (Timeline::default(), Instant::now());
        place(&mut timeline, Medium::Video, 0, VIDEO, t);
        let dts = place(&mut timeline, Medium::Video, 60_000, VIDEO, t + Duration::from_secs(60));
        assert_eq!((dts, timeline.jumps()), (60_000, 0));
    }

    proptest! {
        #[test]
        fn times_never_fall_on_a_track(wires in prop::collection::vec((any::<u32>(), any::<bool>(), any::<bool>()), 1..60)) {
            let (mut timeline, t) = (Timeline::default(), Instant::now());
            let mut last = HashMap::new();
            for (wire, is_video, changes) in wires {
                if changes { timeline.change_source(); }
                let (medium, payload) = if is_video { (Medium::Video, VIDEO) } else { (Medium::Audio, AUDIO) };
                let dts = place(&mut timeline, medium, wire, payload, t);
                let before = last.insert(medium, dts).unwrap_or(0);
                prop_assert!(dts >= before);
            }
        }
    }
}
