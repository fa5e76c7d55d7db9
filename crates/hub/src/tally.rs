//! What a log amounts to, item by item.

use std::sync::Arc;

use media::{Frame, Kind, Medium};

use crate::{
    item::{Body, Event},
    setup::Setup,
};

/// All that follows from a log up to a place in it. Each item's own tally stands beside it, so that the log can be cut
/// after any of them, and read as if it ended there.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// The position that the next item has, or a higher one.
    pub(crate) next_seq: u64,
    /// What a decoder must have before the next frame.
    pub(crate) setup: Arc<Setup>,
    /// Items since the log began.
    pub(crate) items: u64,
    /// Payload bytes since the log began.
    pub(crate) bytes: u64,
    /// Bytes that each set-up took since the log began.
    setup_bytes: u64,
    /// Milliseconds of media since the log began, in which a jump counts as [`JUMP_MS_MAX`] at most.
    pub(crate) media_ms: u64,
    /// Coded video frames since the log began.
    pub(crate) video_frames: u64,
    /// The newest decoding time of a coded frame.
    pub(crate) last_dts: Option<u64>,
    /// Video was announced at this time of the media, and no keyframe has come yet.
    key_expected: Option<u64>,
    /// The lowest video track that has had a keyframe: readers start at its keyframes, as long as one is in memory.
    lead_track: Option<u8>,
}

/// A frame at which decoding can start, and what a decoder must have before it.
#[derive(Debug, Clone)]
pub(crate) struct StartPoint {
    pub(crate) seq: u64,
    pub(crate) dts: u64,
    pub(crate) setup: Arc<Setup>,
}

/// A jump of the encoder's clock must not age the whole ring at once.
const JUMP_MS_MAX: u64 = 1_000;
/// Video that was announced and has not come for so long keeps nobody waiting: an encoder's camera may be off.
const KEY_WAIT_MS_MAX: u64 = 10_000;

impl Tally {
    /// Of a log without items, whose first one will stand at `first_seq` or later.
    pub(crate) fn empty(first_seq: u64) -> Self {
        Self { next_seq: first_seq, ..Self::default() }
    }

    /// Adds the item that stands at `seq`. Returned, if readers may start at it.
    pub(crate) fn add(&mut self, seq: u64, body: &Body) -> Option<StartPoint> {
        self.next_seq = seq + 1;
        self.items += 1;
        if let Some(setup) = self.setup.after(body) {
            self.change_setup(setup);
        }
        match body {
            Body::Frame(frame) => self.add_frame(seq, frame),
            Body::Event(Event::Open { .. }) => {
                self.expect_any_start();
                None
            }
            Body::Event(_) | Body::Setup(_) => None,
        }
    }

    fn add_frame(&mut self, seq: u64, frame: &Frame) -> Option<StartPoint> {
        self.bytes += frame.payload.len() as u64;
        let coded = matches!(frame.kind, Kind::Key | Kind::Delta);
        if coded {
            let last = self.last_dts.unwrap_or(frame.dts);
            self.media_ms += frame.dts.saturating_sub(last).min(JUMP_MS_MAX);
            self.last_dts = Some(last.max(frame.dts));
        }
        if frame.medium != Medium::Video {
            return None;
        }
        if frame.kind == Kind::Config {
            self.key_expected.get_or_insert(self.media_ms);
        }
        if coded {
            self.video_frames += 1;
        }
        let starts = frame.kind == Kind::Key && self.lead_track.is_none_or(|lead| frame.track <= lead);
        starts.then(|| {
            self.lead_track = Some(frame.track);
            self.key_expected = None;
            StartPoint { seq, dts: frame.dts, setup: self.setup.clone() }
        })
    }

    /// Replaces the set-up before the next item. Whoever made it has chosen the start: no keyframe need come first.
    pub(crate) fn replace_setup(&mut self, frames: Vec<Frame>) {
        self.change_setup(Setup::of(frames));
        self.expect_any_start();
    }

    /// Bytes that items took in memory since the log began: their payloads, and the set-ups beside them.
    pub(crate) fn held_bytes(&self) -> u64 {
        self.bytes + self.setup_bytes
    }

    /// From now on readers may start at the keyframes of any track.
    pub(crate) fn forget_lead_track(&mut self) {
        self.lead_track = None;
    }

    /// Whether readers should rather wait for a keyframe than start with audio.
    pub(crate) fn awaits_key(&self) -> bool {
        self.key_expected.is_some_and(|since| self.media_ms - since < KEY_WAIT_MS_MAX)
    }

    fn change_setup(&mut self, setup: Setup) {
        self.setup_bytes += setup.bytes();
        self.setup = Arc::new(setup);
    }

    fn expect_any_start(&mut self) {
        self.key_expected = None;
        self.lead_track = None;
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::samples;

    #[test]
    fn set_up_that_comes_again_is_not_kept_again() {
        let metadata = Frame::classify(Medium::Data, 0, Bytes::from_static(b"\x02\0\x0aonMetaData"));
        for body in [samples::config(), Body::Frame(metadata)] {
            let mut tally = Tally::empty(1);
            tally.add(1, &body);
            let first = tally.setup.clone();
            assert_eq!(first.frames().count(), 1);
            tally.add(2, &body);
            assert!(Arc::ptr_eq(&tally.setup, &first));
        }
    }
}
