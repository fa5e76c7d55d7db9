//! The bounded log of one stream.

use std::{collections::VecDeque, sync::Arc};

use media::{Frame, Kind, Medium};

use crate::{
    group::Group,
    item::Item,
    limits::RingLimits,
    tally::{StartPoint, Tally},
};

/// The newest items of a stream, how far they are committed, and where in them a reader may start.
#[derive(Debug)]
pub(crate) struct Ring {
    limits: RingLimits,
    /// What came before the oldest item.
    base: Tally,
    items: VecDeque<Entry>,
    starts: VecDeque<StartPoint>,
    /// Readers see what stands below this position.
    committed_below: u64,
    /// Paced readers see what stands below this position.
    shown_below: u64,
    /// What was shown last.
    group: Option<Arc<Group>>,
    /// Whether somebody else says when more is shown.
    held_back: bool,
    /// One more than the newest position that has left the ring; 0 while it holds the whole log.
    whole_from: u64,
}

#[derive(Debug)]
struct Entry {
    item: Arc<Item>,
    /// What the log amounts to with this item.
    after: Tally,
}

/// A log as another origin needs it to go on with it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Snapshot {
    /// Metadata and decoder set-up in force before the first item.
    pub setup: Vec<Frame>,
    /// The items in memory, oldest first.
    pub items: Vec<Arc<Item>>,
    /// The position of the next item.
    pub next_seq: u64,
}

impl Ring {
    /// An empty ring whose first item will stand at `first_seq` or later.
    pub(crate) fn new(limits: RingLimits, first_seq: u64) -> Self {
        Self {
            limits,
            base: Tally::empty(first_seq),
            items: VecDeque::new(),
            starts: VecDeque::new(),
            committed_below: first_seq,
            shown_below: first_seq,
            group: None,
            held_back: false,
            whole_from: 0,
        }
    }

    /// The log that a snapshot tells of, with nothing of it committed, and the number of items that are left out because
    /// their positions do not ascend.
    pub(crate) fn restored(limits: RingLimits, snapshot: Snapshot) -> (Self, usize) {
        let first_seq = snapshot.items.first().map_or(snapshot.next_seq, |item| item.seq);
        let mut ring = Self { whole_from: first_seq, ..Self::new(limits, first_seq) };
        ring.base.replace_setup(snapshot.setup);
        let left_out = ring.extend(snapshot.items);
        (ring, left_out)
    }

    /// The log as [`Ring::restored`] takes it.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot {
            setup: self.base.setup.frames().cloned().collect(),
            items: self.items_from(0).cloned().collect(),
            next_seq: self.head().next_seq,
        }
    }

    /// Appends an item, whose position must not be below that of [`Ring::head`].
    pub(crate) fn append(&mut self, item: Arc<Item>) {
        let mut tally = self.head().clone();
        assert!(item.seq >= tally.next_seq, "positions never fall: {} after {}", item.seq, tally.next_seq);
        if self.starts.is_empty() {
            // None is in memory of the track that readers start at: it may have stopped while others go on.
            tally.forget_lead_track();
        }
        self.starts.extend(tally.add(item.seq, &item.body));
        self.items.push_back(Entry { item, after: tally });
        self.evict();
    }

    /// Appends items and returns how many are left out because the log has passed their positions.
    pub(crate) fn extend(&mut self, items: impl IntoIterator<Item = Arc<Item>>) -> usize {
        let mut left_out = 0;
        for item in items {
            if item.seq < self.head().next_seq {
                left_out += 1;
            } else {
                self.append(item);
            }
        }
        left_out
    }

    /// Lets readers see what stands below `seq`. True: that is more than before.
    pub(crate) fn commit_below(&mut self, seq: u64) -> bool {
        let seq = seq.min(self.head().next_seq);
        let more = seq > self.committed_below;
        self.committed_below = self.committed_below.max(seq);
        self.evict();
        more
    }

    /// Whether what is not committed takes more than half of the bounds. Within that much nothing leaves in the moment
    /// when it is committed, before a reader can take it.
    pub(crate) fn is_backlogged(&self) -> bool {
        let (head, seen) = (self.head(), self.committed());
        head.items - seen.items > self.limits.items as u64 / 2
            || head.held_bytes() - seen.held_bytes() > self.limits.bytes as u64 / 2
            || head.media_ms - seen.media_ms > self.limits.duration_ms / 2
    }

    /// Lets paced readers see all that is committed. True: that is more than before.
    pub(crate) fn show(&mut self) -> bool {
        if self.shown_below >= self.committed_below {
            return false;
        }
        let items = self.items_between(self.shown_below, self.committed_below).cloned().collect();
        self.group = Group::of(items).map(Arc::new);
        self.shown_below = self.committed_below;
        true
    }

    /// From now on paced readers see what is committed only once it is shown. Returns where that begins.
    pub(crate) fn hold_back(&mut self) -> u64 {
        self.held_back = true;
        self.shown_below
    }

    /// What is committed is to be shown at once again.
    pub(crate) fn hold_back_no_more(&mut self) {
        self.held_back = false;
    }

    /// Whether somebody else says when more is shown.
    pub(crate) fn is_held_back(&self) -> bool {
        self.held_back
    }

    /// Removes what stands at `seq` and above, as if it had never come. Below the oldest item in memory nothing is left
    /// to know, the set-up included.
    pub(crate) fn cut(&mut self, seq: u64) {
        if seq < self.whole_from {
            *self = Self { whole_from: seq, held_back: self.held_back, ..Self::new(self.limits, seq) };
            return;
        }
        self.items.truncate(self.index_of(seq));
        self.starts.truncate(self.starts.partition_point(|start| start.seq < seq));
        self.base.next_seq = self.base.next_seq.min(seq);
        self.committed_below = self.committed_below.min(self.head().next_seq);
        self.shown_below = self.shown_below.min(self.committed_below);
        self.group = None;
    }

    /// Replaces what late joiners get before the frames that follow, without giving it a position.
    pub(crate) fn replace_setup(&mut self, frames: Vec<Frame>) {
        match self.items.back_mut() {
            Some(newest) => newest.after.replace_setup(frames),
            None => self.base.replace_setup(frames),
        }
    }

    fn evict(&mut self) {
        while let Some(front) = self.items.front() {
            let head = self.head();
            let over = self.items.len() > self.limits.items
                || head.held_bytes() - self.base.held_bytes() > self.limits.bytes as u64
                || head.media_ms - front.after.media_ms > self.limits.duration_ms;
            // What nobody has seen yet stays, whatever its size; so does the newest item.
            let unseen = front.item.seq >= self.committed_below || self.items.len() == 1;
            if !over || unseen {
                break;
            }
            let Some(front) = self.items.pop_front() else { break };
            self.whole_from = front.item.seq + 1;
            self.base = front.after;
            while self.starts.front().is_some_and(|start| start.seq < self.whole_from) {
                self.starts.pop_front();
            }
        }
    }

    /// Its bounds.
    pub(crate) fn limits(&self) -> RingLimits {
        self.limits
    }

    /// What the whole log amounts to.
    pub(crate) fn head(&self) -> &Tally {
        self.items.back().map_or(&self.base, |newest| &newest.after)
    }

    /// What the committed part of the log amounts to.
    pub(crate) fn committed(&self) -> &Tally {
        self.before(self.committed_below)
    }

    /// Readers see what stands below this position.
    pub(crate) fn committed_below(&self) -> u64 {
        self.committed_below
    }

    /// Paced readers see what stands below this position.
    pub(crate) fn shown_below(&self) -> u64 {
        self.shown_below
    }

    /// What was shown last, if it begins at `seq`.
    pub(crate) fn group_at(&self, seq: u64) -> Option<&Arc<Group>> {
        self.group.as_ref().filter(|group| group.first_seq() == seq)
    }

    /// The oldest position still held, or the next one if none is.
    pub(crate) fn first_seq(&self) -> u64 {
        self.items.front().map_or(self.base.next_seq, |entry| entry.item.seq)
    }

    /// Whether nothing from `seq` on has left the ring.
    pub(crate) fn is_whole_from(&self, seq: u64) -> bool {
        seq >= self.whole_from
    }

    /// The items from the first position not below `seq` on, committed or not.
    pub(crate) fn items_from(&self, seq: u64) -> impl Iterator<Item = &Arc<Item>> {
        self.items.range(self.index_of(seq)..).map(|entry| &entry.item)
    }

    /// The items from the first position not below `seq` on, as far as they stand below `end`.
    pub(crate) fn items_between(&self, seq: u64, end: u64) -> impl Iterator<Item = &Arc<Item>> {
        let end = self.index_of(end);
        self.items.range(self.index_of(seq).min(end)..end).map(|entry| &entry.item)
    }

    /// Committed payload bytes from position `seq` on.
    pub(crate) fn bytes_from(&self, seq: u64) -> u64 {
        self.committed().bytes.saturating_sub(self.before(seq).bytes)
    }

    /// How many items of the log stand below `seq`; if that has left the ring, below the oldest one in memory.
    pub(crate) fn items_below(&self, seq: u64) -> u64 {
        self.before(seq).items
    }

    /// What the log amounts to below `seq`.
    fn before(&self, seq: u64) -> &Tally {
        let last = self.index_of(seq).checked_sub(1);
        last.map_or(&self.base, |at| &self.items[at].after)
    }

    fn index_of(&self, seq: u64) -> usize {
        self.items.partition_point(|entry| entry.item.seq < seq)
    }

    /// Where a reader that joins now starts: the last keyframe, or the end of a stream without video.
    pub(crate) fn newest_start(&self) -> Option<StartPoint> {
        let committed = self.starts.partition_point(|start| start.seq < self.committed_below);
        let newest = committed.checked_sub(1).map(|at| self.starts[at].clone());
        newest.or_else(|| self.audio_start())
    }

    /// The first place at or after `seq` where a reader may start.
    pub(crate) fn start_from(&self, seq: u64) -> Option<StartPoint> {
        let at = self.starts.partition_point(|start| start.seq < seq);
        let start = self.starts.get(at).filter(|start| start.seq < self.committed_below);
        start.cloned().or_else(|| self.audio_start()).filter(|start| start.seq >= seq)
    }

    /// Without video there is no GOP: decoding can start at any frame, so a reader starts at the newest.
    fn audio_start(&self) -> Option<StartPoint> {
        let newest = &self.items[self.index_of(self.committed_below).checked_sub(1)?];
        let tally = &newest.after;
        if tally.video_frames > self.base.video_frames || tally.awaits_key() {
            return None;
        }
        let frame = newest.item.frame().filter(|frame| frame.medium == Medium::Audio && frame.kind == Kind::Delta)?;
        Some(StartPoint { seq: newest.item.seq, dts: frame.dts, setup: tally.setup.clone() })
    }
}

#[cfg(test)]
mod tests;
