//! A cursor into the committed part of a stream.

use std::{
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
};

use crate::{
    group::Group,
    item::{Body, Item},
    ring::Ring,
    stream::Stream,
    tally::StartPoint,
    waiters::{Place, Waiters},
};

/// Where a reader starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the newest keyframe in memory, so that a picture stands at once.
    LastKeyframe,
    /// At the next keyframe that comes.
    NextKeyframe,
    /// After this position: for one that has had the stream up to there.
    After(u64),
}

/// How much one [`Reader::read`] may return.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Items at most.
    pub items: usize,
    /// Stop once this many payload bytes are reached; one item is always returned.
    pub bytes: usize,
}

/// What a [`Reader::read`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Read {
    /// Items were put out; there may be more.
    Items,
    /// What was due is left out; items from a later keyframe were put out, set-up first.
    Skipped(Skip),
    /// Nothing yet: wait with [`Reader::ready`].
    Empty,
    /// The stream has ended and all of it that is committed was read.
    Ended,
}

/// What a reader left out that went on at a later keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skip {
    /// Why it did not go on where it was.
    pub cause: Cause,
    /// So many items were in the log that it did not get.
    pub missed: u64,
}

/// Why a reader skips.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// It is slow: the ring had moved on, or more was waiting than it allows.
    Slow,
    /// The log leaves out positions where it was: whoever reads it skips there.
    Gap,
}

/// A cursor into a stream. It holds no frames; dropping it is how a viewer leaves.
#[derive(Debug)]
pub struct Reader {
    stream: Arc<Stream>,
    view: View,
    cursor: Cursor,
    /// So many items of the log stand below the cursor; while it waits for a start, below where it was.
    items_below: u64,
    lag_bytes_max: u64,
    /// What was news at the last look.
    seen: u64,
    /// The last look found something, and may not have found all.
    more: bool,
    place: Option<Arc<Place>>,
    /// Whether the stream counts it among its readers.
    counted: bool,
}

/// How much of a stream a reader sees, once it has started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum View {
    /// All that is committed.
    Committed,
    /// What is shown of it.
    Shown,
}

#[derive(Debug, Clone, Copy)]
enum Cursor {
    /// Not started: anywhere the stream can be joined.
    Join,
    /// At the first start at or after `seq`; with a cause, the reader skips to it.
    JoinFrom { seq: u64, cause: Option<Cause> },
    /// All before this position was read.
    Next(u64),
}

impl Reader {
    pub(crate) fn new(stream: Arc<Stream>, view: View, start: Start) -> Self {
        let mut reader = Self {
            stream,
            view,
            cursor: Cursor::Join,
            items_below: 0,
            lag_bytes_max: u64::MAX,
            seen: 0,
            more: true,
            place: None,
            counted: true,
        };
        match start {
            Start::LastKeyframe => {}
            Start::NextKeyframe => reader.rejoin_at_next_keyframe(),
            Start::After(seq) => reader.go_on_at(seq.saturating_add(1)),
        }
        reader
    }

    /// A reader of what is shown that reads for others, which are counted already.
    pub(crate) fn uncounted(stream: Arc<Stream>, from: u64) -> Self {
        let mut reader = Self::new(stream, View::Shown, Start::LastKeyframe);
        reader.go_on_at(from);
        reader.counted = false;
        reader
    }

    /// Skips to a newer keyframe whenever more than this many payload bytes are waiting; of several bounds the lowest
    /// counts. Without one only the ring's own bound makes a slow reader skip.
    pub fn with_lag_bytes_max(mut self, bytes: u64) -> Self {
        self.lag_bytes_max = self.lag_bytes_max.min(bytes);
        self
    }

    /// The stream it reads.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// The position that it will read next, once it has started.
    pub fn next_seq(&self) -> Option<u64> {
        match self.cursor {
            Cursor::Next(seq) => Some(seq),
            Cursor::Join | Cursor::JoinFrom { .. } => None,
        }
    }

    /// Leaves out all up to the next keyframe: for a viewer that asked for a pause, or was fed by other means.
    pub fn rejoin_at_next_keyframe(&mut self) {
        self.cursor = Cursor::JoinFrom { seq: self.stream.ring().committed_below(), cause: None };
    }

    /// From now on somebody else reads for this one, until [`Reader::go_on_at`]: no news wakes it.
    pub fn rest(&mut self) {
        waiters(&self.stream, self.view).leave(self.place.take());
    }

    /// All below this position was read for it by somebody else.
    pub fn go_on_at(&mut self, seq: u64) {
        self.items_below = self.stream.ring().items_below(seq);
        self.cursor = Cursor::Next(seq);
        self.more = true;
    }

    /// Waits until [`Reader::read`] may find something. Safe to drop at any await.
    pub async fn ready(&mut self) {
        poll_fn(|cx| self.poll_ready(cx)).await;
    }

    /// Ready once [`Reader::read`] may find something.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.more {
            return Poll::Ready(());
        }
        let waiters = waiters(&self.stream, self.view);
        waiters.poll_news(self.seen, &mut self.place, cx)
    }

    /// What was shown last, if that is exactly what this reader has not read: it counts as read then. Otherwise there may
    /// be something for [`Reader::read`].
    pub fn read_group(&mut self) -> Option<Arc<Group>> {
        let (View::Shown, Cursor::Next(seq)) = (self.view, self.cursor) else { return None };
        self.seen = self.stream.shows.news();
        let group = self.stream.ring().group_at(seq)?.clone();
        self.cursor = Cursor::Next(group.next_seq());
        self.items_below += group.items().len() as u64;
        self.more = false;
        Some(group)
    }

    /// Puts out what it sees and has not read, oldest first, within the budget.
    pub fn read(&mut self, budget: Budget, out: &mut Vec<Arc<Item>>) -> Read {
        self.seen = waiters(&self.stream, self.view).news();
        let ended = self.stream.has_ended();
        let ring = self.stream.ring();
        let way = self.cursor.find(&ring, self.view, self.lag_bytes_max);
        let had = self.items_below;
        let taken = match way.from {
            From::Here(seq) => take(&ring, seq, way.end, budget, out),
            From::Start(start) => {
                let seq = start.seq;
                self.items_below = ring.items_below(seq);
                out.extend(set_up(&start));
                take(&ring, seq, way.end, budget, out)
            }
            From::Nowhere => Taken::default(),
        };
        drop(ring);
        let missed = self.items_below.saturating_sub(had);
        self.items_below += taken.items as u64;
        self.cursor = if taken.items > 0 { Cursor::Next(taken.next) } else { way.otherwise };
        self.more = taken.items > 0;
        match (taken.items, way.cause) {
            (0, _) if ended => Read::Ended,
            (0, _) => Read::Empty,
            (_, Some(cause)) => Read::Skipped(Skip { cause, missed }),
            (_, None) => Read::Items,
        }
    }
}

fn waiters(stream: &Stream, view: View) -> &Waiters {
    match view {
        View::Committed => &stream.commits,
        View::Shown => &stream.shows,
    }
}

/// Where a read goes on.
struct Way {
    from: From,
    /// It sees what stands below this position.
    end: u64,
    /// Why it skips, if it does.
    cause: Option<Cause>,
    /// What becomes of the cursor if nothing is there.
    otherwise: Cursor,
}

enum From {
    Here(u64),
    Start(StartPoint),
    /// Wait for a start.
    Nowhere,
}

impl Cursor {
    fn find(self, ring: &Ring, view: View, lag_bytes_max: u64) -> Way {
        let committed = ring.committed_below();
        // Whoever starts gets all that may be seen at once; from then on it comes as it is shown.
        let start = |start: Option<StartPoint>, cause: Option<Cause>| {
            let from = start.map_or(From::Nowhere, From::Start);
            Way { from, end: committed, cause, otherwise: self }
        };
        let seq = match self {
            Self::Join => return start(ring.newest_start(), None),
            Self::JoinFrom { seq, cause } => return start(ring.start_from(seq), cause),
            Self::Next(seq) => seq,
        };
        let end = if view == View::Shown { ring.shown_below() } else { committed };
        let here = Way { from: From::Here(seq), end, cause: None, otherwise: self };
        let Some(first_due) = ring.items_between(seq, end).next().map(|item| item.seq) else { return here };
        if first_due > seq {
            // The ring, or the source before it, has left out what was due: only a keyframe makes sense of the rest.
            let cause = Some(if ring.is_whole_from(seq) { Cause::Gap } else { Cause::Slow });
            let otherwise = Self::JoinFrom { seq: first_due, cause };
            return Way { otherwise, ..start(ring.start_from(first_due), cause) };
        }
        if ring.bytes_from(seq) <= lag_bytes_max {
            return here;
        }
        match ring.newest_start().filter(|start| start.seq > seq) {
            Some(newer) => start(Some(newer), Some(Cause::Slow)),
            None => here,
        }
    }
}

/// What a read came to.
#[derive(Default)]
struct Taken {
    items: usize,
    /// The position after the last one.
    next: u64,
}

fn take(ring: &Ring, from: u64, end: u64, budget: Budget, out: &mut Vec<Arc<Item>>) -> Taken {
    let mut bytes = 0;
    let mut taken = Taken { items: 0, next: from };
    for item in ring.items_between(from, end).take(budget.items.max(1)) {
        // A gap ends the batch: the next read starts over at a keyframe, set-up first.
        if taken.items > 0 && (item.seq != taken.next || bytes >= budget.bytes) {
            break;
        }
        bytes += item.frame().map_or(0, |frame| frame.payload.len());
        taken = Taken { items: taken.items + 1, next: item.seq + 1 };
        out.push(item.clone());
    }
    taken
}

/// The set-up of a start.
fn set_up(start: &StartPoint) -> impl Iterator<Item = Arc<Item>> {
    start.setup.frames_at(start.dts).map(|frame| Arc::new(Item::new(start.seq, Body::Setup(frame))))
}

impl Drop for Reader {
    fn drop(&mut self) {
        waiters(&self.stream, self.view).leave(self.place.take());
        if self.counted {
            self.stream.reader_left();
        }
    }
}

#[cfg(test)]
mod tests;
