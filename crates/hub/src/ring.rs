//! The bounded log of one stream.

use std::{collections::VecDeque, sync::Arc};

use media::{Frame, Kind, Medium};

use crate::{
    item::{Body, Event, Item},
    limits::RingLimits,
    setup::Setup,
};

/// The newest items of a stream, and where in them a reader may start.
#[derive(Debug)]
pub(crate) struct Ring {
    limits: RingLimits,
    items: VecDeque<Entry>,
    starts: VecDeque<StartPoint>,
    setup: Arc<Setup>,
    next_seq: u64,
    video_frames: usize,
    /// Video was announced at this time of the media, and no keyframe has come yet.
    key_expected: Option<u64>,
    /// The lowest video track with a keyframe so far: readers start at its keyframes.
    lead_track: u8,
    last_dts: Option<u64>,
    totals: Totals,
}

/// Counts since the stream was opened; they only grow.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub(crate) items: u64,
    pub(crate) bytes: u64,
    /// Milliseconds of media, in which a jump counts as [`JUMP_MS_MAX`] at most.
    pub(crate) media_ms: u64,
}

#[derive(Debug)]
struct Entry {
    item: Arc<Item>,
    /// Payload bytes appended before it.
    bytes_before: u64,
    /// Its own time in milliseconds of media since the stream was opened.
    media_ms: u64,
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

impl Ring {
    /// An empty ring whose first item will stand at `first_seq`.
    pub(crate) fn new(limits: RingLimits, first_seq: u64) -> Self {
        Self {
            limits,
            items: VecDeque::new(),
            starts: VecDeque::new(),
            setup: Arc::default(),
            next_seq: first_seq,
            video_frames: 0,
            key_expected: None,
            lead_track: u8::MAX,
            last_dts: None,
            totals: Totals::default(),
        }
    }

    /// Appends at `seq`, which must not be below [`Ring::next_seq`].
    pub(crate) fn append(&mut self, seq: u64, body: Body) {
        assert!(seq >= self.next_seq, "positions never fall: {seq} after {}", self.next_seq);
        if let Some(setup) = self.setup.after(&body) {
            self.setup = Arc::new(setup);
        }
        let bytes_before = self.totals.bytes;
        match &body {
            Body::Frame(frame) => self.note_frame(seq, frame),
            Body::Event(Event::Open { .. }) => {
                self.key_expected = None;
                self.lead_track = u8::MAX;
            }
            Body::Event(_) | Body::Setup(_) => {}
        }
        self.totals.items += 1;
        self.next_seq = seq + 1;
        let media_ms = self.totals.media_ms;
        self.items.push_back(Entry { item: Arc::new(Item::new(seq, body)), bytes_before, media_ms });
        self.evict();
    }

    /// Replaces what late joiners get before the frames that follow, without giving it a position.
    pub(crate) fn restore_setup(&mut self, frames: Vec<Frame>) {
        let mut setup = Setup::default();
        for frame in frames {
            if let Some(next) = setup.after(&Body::Setup(frame)) {
                setup = next;
            }
        }
        // Whoever made this set-up has chosen the start: no keyframe need come first.
        self.key_expected = None;
        self.lead_track = u8::MAX;
        self.setup = Arc::new(setup);
    }

    fn note_frame(&mut self, seq: u64, frame: &Frame) {
        self.totals.bytes += frame.payload.len() as u64;
        let coded = matches!(frame.kind, Kind::Key | Kind::Delta);
        if coded {
            let last = self.last_dts.unwrap_or(frame.dts);
            self.totals.media_ms += frame.dts.saturating_sub(last).min(JUMP_MS_MAX);
            self.last_dts = Some(last.max(frame.dts));
        }
        if frame.medium != Medium::Video {
            return;
        }
        if frame.kind == Kind::Config {
            self.key_expected.get_or_insert(self.totals.media_ms);
        }
        if coded {
            self.video_frames += 1;
        }
        if frame.kind == Kind::Key && frame.track <= self.lead_track {
            self.lead_track = frame.track;
            self.key_expected = None;
            self.starts.push_back(StartPoint { seq, dts: frame.dts, setup: self.setup.clone() });
        }
    }

    fn evict(&mut self) {
        while let Some(front) = self.items.front() {
            let over = self.items.len() > self.limits.items
                || self.totals.bytes - front.bytes_before > self.limits.bytes as u64
                || self.totals.media_ms - front.media_ms > self.limits.duration_ms;
            // The newest item stays whatever its size: it has been seen by nobody yet.
            if !over || self.items.len() == 1 {
                break;
            }
            if let Body::Frame(Frame { medium: Medium::Video, kind: Kind::Key | Kind::Delta, .. }) = front.item.body {
                self.video_frames -= 1;
            }
            let seq = front.item.seq;
            self.items.pop_front();
            while self.starts.front().is_some_and(|start| start.seq <= seq) {
                self.starts.pop_front();
            }
        }
    }

    /// The position that the next item will have.
    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// The oldest position still held, or the next one if none is.
    pub(crate) fn first_seq(&self) -> u64 {
        self.items.front().map_or(self.next_seq, |entry| entry.item.seq)
    }

    /// The newest decoding time of a coded frame.
    pub(crate) fn last_dts(&self) -> Option<u64> {
        self.last_dts
    }

    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// Payload bytes from position `seq` to the end.
    pub(crate) fn bytes_from(&self, seq: u64) -> u64 {
        let at = self.index_of(seq);
        self.items.get(at).map_or(0, |entry| self.totals.bytes - entry.bytes_before)
    }

    /// The items from the first position not below `seq` on.
    pub(crate) fn items_from(&self, seq: u64) -> impl Iterator<Item = &Arc<Item>> {
        self.items.range(self.index_of(seq)..).map(|entry| &entry.item)
    }

    fn index_of(&self, seq: u64) -> usize {
        self.items.partition_point(|entry| entry.item.seq < seq)
    }

    /// Where a reader that joins now starts: the last keyframe, or the end of a stream without video.
    pub(crate) fn newest_start(&self) -> Option<StartPoint> {
        self.starts.back().cloned().or_else(|| self.audio_start())
    }

    /// The first place at or after `seq` where a reader may start.
    pub(crate) fn start_from(&self, seq: u64) -> Option<StartPoint> {
        let at = self.starts.partition_point(|start| start.seq < seq);
        let start = self.starts.get(at).cloned().or_else(|| self.audio_start());
        start.filter(|start| start.seq >= seq)
    }

    /// Without video there is no GOP: decoding can start at any frame, so a reader starts at the newest.
    fn audio_start(&self) -> Option<StartPoint> {
        let key_may_come = self.key_expected.is_some_and(|since| self.totals.media_ms - since < KEY_WAIT_MS_MAX);
        if self.video_frames > 0 || key_may_come {
            return None;
        }
        let newest = self.items.back()?;
        let frame = newest.item.frame().filter(|frame| frame.medium == Medium::Audio && frame.kind == Kind::Delta)?;
        Some(StartPoint { seq: newest.item.seq, dts: frame.dts, setup: self.setup.clone() })
    }
}

#[cfg(test)]
mod tests;
