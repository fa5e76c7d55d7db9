//! Where a stream goes on behind a seam: another pool gives it from now on, or the same one after a loss, or from where an
//! active was cut off that went on alone.
//!
//! Pools that stand in for each other number and time a stream each for itself; an origin that lacks some of a stream
//! gets the end of what viewers have had again from the encoder's edge. Viewers are to notice as little as can be: their
//! positions ascend, their times never fall, and no frame comes twice. So what comes is looked through for the frame that
//! viewers had last, and the stream goes on right behind it. Where that frame is not there, viewers go on at the first
//! keyframe, set-up first.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    hash::{DefaultHasher, Hash, Hasher},
};

use hub::{Body, Event, Placed};
use media::{
    Frame, Kind, Medium,
    tag::{classify, is_metadata},
};

use crate::{Spliced, entry::Slot};

/// The end of what viewers have had.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    tracks: HashMap<(Medium, u8), Track>,
    /// The newest coded frame of each medium.
    video: Option<Frame>,
    audio: Option<Frame>,
    /// The last keyframes, oldest first.
    keys: VecDeque<Key>,
}

/// A keyframe that viewers have had.
#[derive(Debug)]
struct Key {
    dts: u64,
    track: u8,
    /// Of its bytes, which are not kept: keyframes are large, and there are many streams.
    digest: u64,
}

#[derive(Debug, Clone, Copy)]
struct Track {
    dts: u64,
    /// The last distance between two frames of it.
    step: u64,
}

/// The step assumed where no distance is known.
const STEP_MS: u64 = 40;
/// Another pool's keyframe that is ahead of what viewers have had by no more than this is on the same clock.
const AHEAD_MS_MAX: u64 = 10_000;
/// An edge sends at most two seconds again of what viewers have had: what is not further behind may be on its way there.
const AGAIN_MS_MAX: i64 = 3_000;
/// For how long keyframes are remembered. An edge that was frozen takes at once what its encoder sent meanwhile, and sends
/// more than two seconds again.
const KEYS_MS_MAX: u64 = 15_000;
/// So many of them at most.
const KEYS_MAX: usize = 64;
/// Items, and bytes of payload, that are held back where the stream can be joined nowhere: as much as a ring holds.
const HELD_MAX: usize = 8192;
const HELD_BYTES_MAX: usize = 32 << 20;
/// Set-up of more slots than this goes with the frames around it.
const SLOTS_MAX: usize = 64;

impl Tail {
    /// A frame goes out to viewers.
    pub(crate) fn note(&mut self, frame: &Frame) {
        if !is_coded(frame) {
            return;
        }
        let track = self.tracks.entry((frame.medium, frame.track)).or_insert(Track { dts: frame.dts, step: STEP_MS });
        if frame.dts > track.dts {
            *track = Track { dts: frame.dts, step: (frame.dts - track.dts).min(2 * STEP_MS) };
        }
        if is_key(frame) {
            let is_old = |key: &Key| key.dts + KEYS_MS_MAX < frame.dts;
            while self.keys.len() >= KEYS_MAX || self.keys.front().is_some_and(is_old) {
                self.keys.pop_front();
            }
            self.keys.push_back(Key { dts: frame.dts, track: frame.track, digest: digest(frame) });
        }
        match frame.medium {
            Medium::Video => self.video = Some(frame.clone()),
            Medium::Audio | Medium::Data => self.audio = Some(frame.clone()),
        }
    }

    /// Whether viewers have had nothing.
    pub(crate) fn is_empty(&self) -> bool {
        self.tracks.is_empty()
    }

    /// The frame by which another pool's copy of the stream is recognised.
    fn anchor(&self) -> Option<&Frame> {
        self.video.as_ref().or(self.audio.as_ref())
    }

    fn last_dts(&self, frame: &Frame) -> Option<u64> {
        self.tracks.get(&(frame.medium, frame.track)).map(|track| track.dts)
    }

    /// One frame after the newest.
    fn next_dts(&self) -> Option<u64> {
        self.tracks.values().map(|track| track.dts).max().map(|newest| newest + self.step())
    }

    fn step(&self) -> u64 {
        let of_video = self.tracks.iter().filter(|((medium, _), _)| *medium == Medium::Video);
        of_video.map(|(_, track)| track.step).min().unwrap_or(STEP_MS)
    }
}

/// How a pool's positions and times become the edge's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Shift {
    /// Added to positions, wrapping.
    seq: u64,
    /// Added to times.
    dts: i64,
}

impl Shift {
    /// The position here of what stands at `seq` there.
    pub(crate) fn seq(self, seq: u64) -> u64 {
        seq.wrapping_add(self.seq)
    }

    fn time(self, dts: u64) -> u64 {
        dts.saturating_add_signed(self.dts)
    }

    /// A frame with its time here: on a track times never fall.
    pub(crate) fn frame(self, frame: Frame, tail: &Tail) -> Frame {
        if self == Self::default() {
            return frame;
        }
        let dts = self.time(frame.dts);
        let last = if is_coded(&frame) { tail.last_dts(&frame).unwrap_or(0) } else { 0 };
        Frame { dts: dts.max(last), ..frame }
    }

    /// An event with its positions here.
    pub(crate) fn event(self, event: Event) -> Event {
        match event {
            Event::Loss { epoch, from, to } => {
                Event::Loss { epoch, from: self.seq(from), to: to.map(|to| self.seq(to)) }
            }
            other => other,
        }
    }
}

/// Holds back what comes until it is clear where the stream goes on.
#[derive(Debug)]
pub(crate) struct Seam {
    numbers: Numbers,
    /// How the source's positions and times have become those of here so far; nothing is known of another pool's.
    shift: Shift,
    /// Where the stream ended at the source when it was opened: so far its items come at once.
    head: u64,
    held: Vec<Placed>,
}

/// Whose positions the items have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Numbers {
    /// Those of the pool that viewers have been fed from: they are above all that viewers have had of it.
    Same,
    /// Another pool's.
    Foreign,
    /// Those of the pool that viewers have been fed from, whose log is another: it begins as what they had, and does not have
    /// what they had last. Shifted as before, its times are on their clock.
    Anew {
        /// From here on it is another.
        from: u64,
    },
}

/// The frame that viewers had last, as it came again.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// Its place in what is held.
    at: usize,
    /// What is to be added to its time to make it that of here.
    dts: i64,
}

/// The stream goes on.
#[derive(Debug, PartialEq)]
pub(crate) struct Joint {
    /// How viewers go on.
    pub(crate) how: Spliced,
    /// Metadata and decoder set-up, where viewers start anew.
    pub(crate) setup: Vec<Frame>,
    /// What comes first, with positions and times of here.
    pub(crate) due: Vec<(u64, Body)>,
    /// What happens to the rest.
    pub(crate) shift: Shift,
}

impl Seam {
    /// The source's stream ends at `head` at this moment.
    pub(crate) fn new(numbers: Numbers, head: u64) -> Self {
        Self { numbers, shift: Shift::default(), head, held: Vec::new() }
    }

    /// The source's positions and times were shifted so far.
    pub(crate) fn with_shift(self, shift: Shift) -> Self {
        Self { shift, ..self }
    }

    /// Takes what comes. None: more is needed. `next_seq` is the position that comes next here.
    pub(crate) fn push(&mut self, items: Vec<Placed>, tail: &Tail, next_seq: u64) -> Option<Joint> {
        self.held.extend(items);
        if self.held.last()?.seq < self.head {
            return None;
        }
        let joint = self.find_joint(tail, next_seq);
        if joint.is_none() {
            self.forget_oldest();
        }
        joint
    }

    fn find_joint(&self, tail: &Tail, next_seq: u64) -> Option<Joint> {
        if let Some(place) = self.same_frame(tail) {
            return self.brings_more(place, tail).then(|| self.behind(place, tail, next_seq));
        }
        match self.numbers {
            _ if tail.is_empty() => Some(self.as_it_is(tail, next_seq)),
            _ if self.comes_again(tail) => None,
            Numbers::Same => Some(self.as_it_is(tail, next_seq)),
            Numbers::Foreign | Numbers::Anew { .. } => self.at_a_start(tail, next_seq),
        }
    }

    /// Lets go of what is too much, the oldest first. The newest set-up of each slot stays.
    fn forget_oldest(&mut self) {
        let (mut items, mut bytes, mut slots) = (0, 0, HashSet::new());
        let mut kept: Vec<Placed> = Vec::new();
        while let Some(item) = self.held.pop() {
            items += 1;
            bytes += frame_of(&item).map_or(0, |frame| frame.payload.len());
            let is_newest = slot_of(&item).is_some_and(|slot| slots.len() < SLOTS_MAX && slots.insert(slot));
            if is_newest || items <= HELD_MAX && bytes <= HELD_BYTES_MAX {
                kept.push(item);
            }
        }
        kept.reverse();
        self.held = kept;
    }

    /// Whether what is held is what viewers have had shortly before the last frame.
    fn comes_again(&self, tail: &Tail) -> bool {
        let moved = self.moved(tail).unwrap_or(self.shift.dts);
        let of_anchor = |anchor: &Frame| {
            let newest = self.held.iter().rev().filter_map(coded).find(|frame| is_of_track(frame, anchor));
            let behind = newest.map(|newest| anchor.dts.cast_signed() - newest.dts.cast_signed() - moved);
            behind.is_some_and(|behind| (1..=AGAIN_MS_MAX).contains(&behind))
        };
        tail.anchor().is_some_and(of_anchor)
    }

    /// Whether an item was written since the log became another.
    fn is_since(&self, item: &Placed) -> bool {
        matches!(self.numbers, Numbers::Anew { from } if item.seq >= from)
    }

    /// What is added to the times of what was written since, where it brings a keyframe again that viewers had at another
    /// time: its publication began on both sides of a cut, and has its place on each timeline by itself.
    fn moved(&self, tail: &Tail) -> Option<i64> {
        let since = self.held.iter().filter(|item| self.is_since(item));
        since.rev().filter_map(coded).filter(|frame| is_key(frame)).find_map(|frame| {
            let had = digest(frame);
            let same = tail.keys.iter().filter(|key| (key.track, key.digest) == (frame.track, had));
            same.map(|had| had.dts.cast_signed() - frame.dts.cast_signed())
                .min_by_key(|moved| self.off_the_clock(*moved))
        })
    }

    /// How far this distance between times of here and of the source is from the one so far.
    fn off_the_clock(&self, dts: i64) -> u64 {
        dts.abs_diff(self.shift.dts)
    }

    /// All that came, shifted as before where it is later by that than what viewers have had.
    fn as_it_is(&self, tail: &Tail, next_seq: u64) -> Joint {
        let first = self.held.iter().find_map(coded);
        let falls = first.filter(|first| tail.last_dts(first).is_some_and(|last| self.shift.time(first.dts) < last));
        let fallen = falls.zip(tail.next_dts());
        let dts = fallen.map_or(self.shift.dts, |(first, next)| next.cast_signed() - first.dts.cast_signed());
        let first_seq = self.held.first().map_or(0, |item| item.seq);
        let is_above = self.shift.seq(first_seq) > next_seq;
        let seq = if is_above { self.shift.seq } else { behind_a_gap(first_seq, next_seq) };
        self.joint(0, Shift { seq, dts }, tail)
    }

    /// Where the frame is that viewers had last, with all that follows it and no gap in between.
    fn same_frame(&self, tail: &Tail) -> Option<Found> {
        let anchor = tail.anchor()?;
        self.same_as(anchor, tail).or_else(|| {
            // Of what the encoder's edge brings again the picture may be missing, and the sound after it be there.
            let heard = tail.audio.as_ref().filter(|_| self.numbers != Numbers::Foreign)?;
            self.same_as(heard, tail).filter(|found| found.dts == self.shift.dts)
        })
    }

    fn same_as(&self, anchor: &Frame, tail: &Tail) -> Option<Found> {
        let moved = self.moved(tail);
        let same = self.held.iter().enumerate().filter_map(|(at, item)| {
            let frame = coded(item).filter(|frame| is_same(frame, anchor))?;
            let dts = anchor.dts.cast_signed() - frame.dts.cast_signed();
            // Where the clock is the same, equal frames of another time are others.
            let on_the_clock = dts == self.shift.dts || moved == Some(dts) && self.is_since(item);
            (!self.is_anew() || on_the_clock).then_some(Found { at, dts })
        });
        // Small frames may come again: the nearest in time is it.
        let found = same.min_by_key(|found| self.off_the_clock(found.dts))?;
        let unbroken = self.held[found.at..].windows(2).all(|pair| pair[1].seq == pair[0].seq + 1);
        unbroken.then_some(found)
    }

    /// Whether viewers have had this frame, which stands at `place`. Audio and video may stand in another order there: each
    /// track goes on behind its own last frame.
    fn was_had(found: Found, place: usize, frame: &Frame, tail: &Tail) -> bool {
        let time = frame.dts.saturating_add_signed(found.dts);
        tail.last_dts(frame).map_or(place <= found.at, |had| time <= had)
    }

    /// Whether something has come that viewers have not had. Before that, more of what they have had may come: sound that they
    /// heard after the last picture.
    fn brings_more(&self, found: Found, tail: &Tail) -> bool {
        self.held.iter().enumerate().any(|(place, item)| match &item.body {
            Body::Frame(frame) if is_coded(frame) => !Self::was_had(found, place, frame, tail),
            Body::Event(Event::Close { .. }) => place > found.at,
            _ => false,
        })
    }

    fn behind(&self, found: Found, tail: &Tail, next_seq: u64) -> Joint {
        let Found { at, dts } = found;
        let placed = Shift { seq: 0, dts };
        let mut due = Vec::new();
        for (place, item) in self.held.iter().enumerate() {
            let body = match &item.body {
                Body::Frame(frame) if is_coded(frame) => {
                    let had = Self::was_had(found, place, frame, tail);
                    (!had).then(|| Body::Frame(placed.frame(frame.clone(), tail)))
                }
                _ if place <= at => None,
                Body::Frame(frame) => Some(Body::Frame(placed.frame(frame.clone(), tail))),
                Body::Event(event) => Some(Body::Event(*event)),
                Body::Setup(_) => None,
            };
            due.extend(body.map(|body| (next_seq + due.len() as u64, body)));
        }
        let (after, last) = (next_seq + due.len() as u64, self.held.last().map_or(0, |item| item.seq));
        let shift = Shift { seq: after.wrapping_sub(last + 1), dts };
        Joint { how: Spliced::Behind, setup: Vec::new(), due, shift }
    }

    fn at_a_start(&self, tail: &Tail, next_seq: u64) -> Option<Joint> {
        let has_video = self.may_have_video(tail);
        let starts = |item: &Placed| {
            let is_start = |frame: &Frame| frame.kind == Kind::Key || (frame.medium == Medium::Audio && !has_video);
            coded(item).is_some_and(|frame| is_start(frame) && self.is_unseen(item, frame, tail))
        };
        let at = self.held.iter().position(starts)?;
        let first = coded(&self.held[at])?.dts;
        let dts = match tail.next_dts() {
            Some(next) if !(next..next + AHEAD_MS_MAX).contains(&self.shift.time(first)) => {
                next.cast_signed() - first.cast_signed()
            }
            _ => self.shift.dts,
        };
        Some(self.joint(at, Shift { seq: behind_a_gap(self.held[at].seq, next_seq), dts }, tail))
    }

    /// Whether pictures are among what came, or may still be where viewers have had some: of what an encoder's edge brings
    /// again the first may be sound.
    fn may_have_video(&self, tail: &Tail) -> bool {
        let is_video = |item: &Placed| coded(item).is_some_and(|frame| frame.medium == Medium::Video);
        let since = || self.held.iter().filter(|item| self.is_since(item)).filter_map(coded);
        let lasts = |first: &Frame| since().any(|frame| frame.dts >= first.dts + AGAIN_MS_MAX.unsigned_abs());
        let may_come = || self.is_anew() && tail.video.is_some() && !since().next().is_some_and(lasts);
        self.held.iter().any(is_video) || may_come()
    }

    fn is_anew(&self) -> bool {
        matches!(self.numbers, Numbers::Anew { .. })
    }

    /// Whether viewers cannot have had it: of a log that begins as what they had, what is later, or was written since.
    fn is_unseen(&self, item: &Placed, frame: &Frame, tail: &Tail) -> bool {
        let is_later =
            |moved: i64| tail.last_dts(frame).is_none_or(|last| frame.dts.saturating_add_signed(moved) > last);
        match self.numbers {
            Numbers::Same | Numbers::Foreign => true,
            Numbers::Anew { .. } if self.is_since(item) => self.moved(tail).is_none_or(is_later),
            Numbers::Anew { .. } => is_later(self.shift.dts),
        }
    }

    /// From the item at `at` on, with all the set-up before it.
    fn joint(&self, at: usize, shift: Shift, tail: &Tail) -> Joint {
        let (mut setup, mut due) = (Vec::new(), Vec::new());
        for (place, item) in self.held.iter().enumerate() {
            match &item.body {
                Body::Setup(frame) => setup.push(frame.clone()),
                Body::Frame(frame) if place < at && frame.kind == Kind::Config => setup.push(frame.clone()),
                _ if place < at => {}
                Body::Frame(frame) => {
                    due.push((shift.seq(item.seq), Body::Frame(shift.frame(frame.clone(), tail))));
                }
                Body::Event(event) => due.push((shift.seq(item.seq), Body::Event(shift.event(*event)))),
            }
        }
        Joint { how: Spliced::Anew, setup, due, shift }
    }
}

/// What is added to positions that begin at `first` there. A position is left out, so that readers see a gap and begin anew,
/// with set-up.
fn behind_a_gap(first: u64, next_seq: u64) -> u64 {
    (next_seq + 1).wrapping_sub(first)
}

fn frame_of(item: &Placed) -> Option<&Frame> {
    match &item.body {
        Body::Frame(frame) | Body::Setup(frame) => Some(frame),
        Body::Event(_) => None,
    }
}

fn coded(item: &Placed) -> Option<&Frame> {
    match &item.body {
        Body::Frame(frame) if is_coded(frame) => Some(frame),
        _ => None,
    }
}

/// What a decoder needs it for, if it is set-up.
fn slot_of(item: &Placed) -> Option<Slot> {
    let frame = frame_of(item)?;
    match frame.kind {
        Kind::Config => classify(frame.medium, &frame.payload).slot.map(Slot::Config),
        Kind::Data if is_metadata(&frame.payload) => Some(Slot::Metadata),
        _ => None,
    }
}

fn is_of_track(frame: &Frame, other: &Frame) -> bool {
    (frame.medium, frame.track) == (other.medium, other.track)
}

fn is_coded(frame: &Frame) -> bool {
    matches!(frame.kind, Kind::Key | Kind::Delta)
}

fn is_key(frame: &Frame) -> bool {
    frame.medium == Medium::Video && frame.kind == Kind::Key
}

fn digest(frame: &Frame) -> u64 {
    let mut hasher = DefaultHasher::new();
    frame.payload.hash(&mut hasher);
    hasher.finish()
}

fn is_same(frame: &Frame, other: &Frame) -> bool {
    (frame.medium, frame.track, frame.kind, &frame.payload) == (other.medium, other.track, other.kind, &other.payload)
}

#[cfg(test)]
mod tests;
