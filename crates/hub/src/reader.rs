//! A cursor into the committed part of a stream.

use std::sync::Arc;

use tokio::sync::watch;

use crate::{
    item::{Body, Item},
    ring::Ring,
    stream::{Head, Stream},
    tally::StartPoint,
};

/// Where a reader starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At the newest keyframe in memory, so that a picture stands at once.
    Live,
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
    /// The ring had moved on; items from a later keyframe were put out, set-up first. So many positions were missed.
    Skipped(u64),
    /// Nothing yet: wait with [`Reader::ready`].
    Empty,
    /// The stream has ended and all of it that is committed was read.
    Ended,
}

/// A cursor into a stream. It holds no frames; dropping it is how a viewer leaves.
#[derive(Debug)]
pub struct Reader {
    stream: Arc<Stream>,
    head: watch::Receiver<Head>,
    cursor: Cursor,
    lag_bytes_max: u64,
    more: bool,
}

#[derive(Debug, Clone, Copy)]
enum Cursor {
    /// Not started: anywhere the stream can be joined.
    Join,
    /// At the first start at or after `seq`; what lies between `due` and it counts as missed.
    JoinFrom { seq: u64, due: Option<u64> },
    /// All before this position was read.
    Next(u64),
}

impl Reader {
    pub(crate) fn new(stream: Arc<Stream>, head: watch::Receiver<Head>, start: Start) -> Self {
        let cursor = match start {
            Start::Live => Cursor::Join,
            Start::NextKeyframe => Cursor::JoinFrom { seq: head.borrow().committed_below, due: None },
            Start::After(seq) => Cursor::Next(seq.saturating_add(1)),
        };
        Self { stream, head, cursor, lag_bytes_max: u64::MAX, more: true }
    }

    /// Skips to a newer keyframe whenever more than this many payload bytes are waiting. Without it only the ring's
    /// own bound makes a slow reader skip.
    pub fn with_lag_bytes_max(mut self, bytes: u64) -> Self {
        self.lag_bytes_max = bytes;
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
        self.cursor = Cursor::JoinFrom { seq: self.head.borrow().committed_below, due: None };
    }

    /// Starts anew at the newest keyframe in memory.
    pub fn rejoin_live(&mut self) {
        self.cursor = Cursor::Join;
        self.more = true;
    }

    /// Waits until [`Reader::read`] may find something. Safe to drop at any await.
    pub async fn ready(&mut self) {
        // An error means that the stream's last handle is gone, which reads as its end.
        if !self.more {
            let _ended = self.head.changed().await;
        }
    }

    /// Puts out what was committed since the last call, oldest first, within the budget.
    pub fn read(&mut self, budget: Budget, out: &mut Vec<Arc<Item>>) -> Read {
        let ended = self.head.borrow_and_update().ended;
        let stream = self.stream.clone();
        let ring = stream.ring();
        let (from, skipped) = match self.cursor {
            Cursor::Next(seq) => self.resume(&ring, seq, out),
            Cursor::Join => (begin(ring.newest_start(), out), 0),
            Cursor::JoinFrom { seq, due } => {
                let from = begin(ring.start_from(seq), out);
                (from, from.zip(due).map_or(0, |(from, due)| from.saturating_sub(due)))
            }
        };
        let read = from.map_or(0, |seq| self.take(&ring, seq, budget, out));
        self.more = read > 0;
        match read {
            0 if ended => Read::Ended,
            0 => Read::Empty,
            _ if skipped > 0 => Read::Skipped(skipped),
            _ => Read::Items,
        }
    }

    /// Where to go on, and how many positions are missed by that. None: wait for a keyframe.
    fn resume(&mut self, ring: &Ring, seq: u64, out: &mut Vec<Arc<Item>>) -> (Option<u64>, u64) {
        let Some(first_due) = ring.committed_from(seq).next().map(|item| item.seq) else { return (Some(seq), 0) };
        let start = if first_due > seq {
            // The ring, or the source before it, has left out what was due: only a keyframe makes sense of the rest.
            let start = ring.start_from(first_due);
            if start.is_none() {
                self.cursor = Cursor::JoinFrom { seq: first_due, due: Some(seq) };
                return (None, 0);
            }
            start
        } else if ring.bytes_from(seq) > self.lag_bytes_max {
            ring.newest_start().filter(|start| start.seq > seq)
        } else {
            None
        };
        match start {
            Some(start) => (begin(Some(start.clone()), out), start.seq - seq),
            None => (Some(seq), 0),
        }
    }

    fn take(&mut self, ring: &Ring, from: u64, budget: Budget, out: &mut Vec<Arc<Item>>) -> usize {
        let mut bytes = 0;
        let mut next = from;
        let mut taken = 0;
        for item in ring.committed_from(from).take(budget.items.max(1)) {
            // A gap ends the batch: the next read starts over at a keyframe, set-up first.
            if taken > 0 && (item.seq != next || bytes >= budget.bytes) {
                break;
            }
            bytes += item.frame().map_or(0, |frame| frame.payload.len());
            next = item.seq + 1;
            taken += 1;
            out.push(item.clone());
        }
        self.cursor = Cursor::Next(next);
        taken
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.stream.reader_left();
    }
}

/// Puts out the set-up of a start and returns its position.
fn begin(start: Option<StartPoint>, out: &mut Vec<Arc<Item>>) -> Option<u64> {
    let start = start?;
    let setup = start.setup.frames_at(start.dts).map(|frame| Arc::new(Item::new(start.seq, Body::Setup(frame))));
    out.extend(setup);
    Some(start.seq)
}

#[cfg(test)]
mod tests;
