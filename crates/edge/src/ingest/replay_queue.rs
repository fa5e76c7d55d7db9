//! What an encoder has sent, between its connection and the push that brings it to an origin.

use std::{
    ops::Range,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use carry::{Entry, Limits, Piece, Replay};
use rtmp_net::IngestEnded;
use tokio::{
    sync::Notify,
    time::{Instant, timeout_at},
};

/// A [`Replay`] with an encoder on one side and pushes on the other, one after the other.
///
/// When it is full the encoder waits, its socket unread, as long as an origin acks. When acks cease to come, the oldest
/// GOPs are skipped: an encoder is never held up for long.
#[derive(Debug)]
pub(crate) struct ReplayQueue {
    budget: Arc<SharedBudget>,
    inner: Mutex<Inner>,
    /// Something came in, or the end.
    filled: Notify,
    /// Something was acked, or the sender has given up.
    drained: Notify,
}

#[derive(Debug)]
struct Inner {
    replay: Replay,
    end: Option<End>,
    /// Why nothing more is taken, though the encoder goes on.
    given_up: Option<IngestEnded>,
}

/// What all publications of an edge hold together.
#[derive(Debug)]
pub(crate) struct SharedBudget {
    /// Beyond, those that hold more than an even share make room. So it is never more than twice as much.
    bytes_max: usize,
    bytes: AtomicUsize,
    publications: AtomicUsize,
    skipped: AtomicUsize,
}

/// How a publication ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The encoder said so.
    Closed,
    /// Its connection was lost.
    Lost,
}

/// What is to be sent next.
#[derive(Debug, PartialEq)]
pub(crate) enum Next {
    /// These, in the order of their numbers.
    Pieces(Vec<Piece>),
    /// All was sent; the number of the end, and how the publication ends.
    End(u64, End),
}

/// What came of asking for room.
enum Room {
    /// There is some.
    Made,
    /// Acks come: one of them makes room, or this time passes.
    Wait(Instant),
}

impl SharedBudget {
    pub(crate) fn new(bytes_max: usize) -> Arc<Self> {
        Arc::new(Self {
            bytes_max,
            bytes: AtomicUsize::new(0),
            publications: AtomicUsize::new(0),
            skipped: AtomicUsize::new(0),
        })
    }

    /// Bytes held now.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Messages that were skipped since the process started.
    pub(crate) fn skipped(&self) -> usize {
        self.skipped.load(Ordering::Relaxed)
    }

    /// Whether one that holds so many bytes has to make room. It held `before` when that was noted last.
    fn is_crowded_by(&self, bytes: usize, before: usize) -> bool {
        let share = self.bytes_max / self.publications.load(Ordering::Relaxed).max(1);
        (self.bytes() + bytes).saturating_sub(before) >= self.bytes_max && bytes > share
    }

    /// One that held `before` holds `after` now.
    fn note(&self, before: usize, after: usize) {
        if after >= before {
            self.bytes.fetch_add(after - before, Ordering::Relaxed);
        } else {
            self.bytes.fetch_sub(before - after, Ordering::Relaxed);
        }
    }
}

impl ReplayQueue {
    pub(crate) fn new(budget: &Arc<SharedBudget>, limits: Limits) -> Self {
        budget.publications.fetch_add(1, Ordering::Relaxed);
        let inner = Inner { replay: Replay::new(limits), end: None, given_up: None };
        Self { budget: budget.clone(), inner: Mutex::new(inner), filled: Notify::new(), drained: Notify::new() }
    }

    /// Adds an entry. It waits for room for as long as acks come, and then makes it; the numbers that were skipped for that
    /// are returned. Safe to drop at the await: then the entry was not added.
    pub(crate) async fn push(&self, entry: Entry) -> Result<Range<u64>, IngestEnded> {
        let mut skipped = 0..0;
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            drained.as_mut().enable();
            match self.offer(&entry, &mut skipped)? {
                Room::Made => break,
                Room::Wait(until) => {
                    // Late or not: whether there is room now is asked anew.
                    let _drained_or_late = timeout_at(until, drained).await;
                }
            }
        }
        self.filled.notify_waiters();
        Ok(skipped)
    }

    /// Adds the entry if there is room, or some can be made now. The numbers that are skipped for that come to `skipped`.
    fn offer(&self, entry: &Entry, skipped: &mut Range<u64>) -> Result<Room, IngestEnded> {
        let now = Instant::now().into_std();
        let mut inner = self.lock();
        if let Some(why) = inner.given_up {
            return Err(why);
        }
        let before = inner.replay.bytes();
        let room = self.make_room(&mut inner.replay, skipped, now);
        if let Room::Made = room {
            inner.replay.append(entry.clone(), now);
        }
        self.budget.note(before, inner.replay.bytes());
        Ok(room)
    }

    /// What is acked goes first. The rest goes only when acks cease to come.
    fn make_room(&self, replay: &mut Replay, skipped: &mut Range<u64>, now: std::time::Instant) -> Room {
        let before = replay.bytes();
        while replay.is_full(now) || self.budget.is_crowded_by(replay.bytes(), before) {
            if replay.drop_acked() {
                continue;
            }
            if let Some(until) = replay.patience(now) {
                return Room::Wait(until.into());
            }
            self.skip_gop(replay, skipped);
        }
        Room::Made
    }

    /// Lets the oldest GOP go; its numbers come to those that were `skipped`.
    fn skip_gop(&self, replay: &mut Replay, skipped: &mut Range<u64>) {
        let gone = replay.skip_gop();
        let from = if skipped.is_empty() { gone.start } else { skipped.start };
        *skipped = from..gone.end;
        self.budget.skipped.fetch_add((gone.end - gone.start) as usize, Ordering::Relaxed);
    }

    /// No more entries come.
    pub(crate) fn end(&self, end: End) {
        self.lock().end.get_or_insert(end);
        self.filled.notify_waiters();
    }

    /// Nothing more is taken or sent; whoever waits for room is told why.
    pub(crate) fn give_up(&self, why: IngestEnded) {
        self.lock().given_up = Some(why);
        self.drained.notify_waiters();
    }

    /// What an origin that has all below `number` is to get next, up to `bytes_max` of it; waits until there is something.
    /// Safe to drop at the await.
    pub(crate) async fn next(&self, number: u64, bytes_max: usize) -> Next {
        loop {
            let filled = self.filled.notified();
            tokio::pin!(filled);
            filled.as_mut().enable();
            if let Some(next) = self.lock().next(number, bytes_max) {
                return next;
            }
            filled.await;
        }
    }

    /// Everything below `number` is committed.
    pub(crate) fn ack_below(&self, number: u64) {
        let mut inner = self.lock();
        let before = inner.replay.bytes();
        inner.replay.ack_below(number, Instant::now().into_std());
        self.budget.note(before, inner.replay.bytes());
        drop(inner);
        self.drained.notify_waiters();
    }

    /// All below this number is committed.
    pub(crate) fn acked_below(&self) -> u64 {
        self.lock().replay.acked_below()
    }

    /// The lowest number that can still be sent.
    pub(crate) fn lowest(&self) -> u64 {
        self.lock().replay.lowest()
    }

    /// True once no more entries come.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().end.is_some()
    }

    /// True once the encoder is lost.
    pub(crate) fn is_lost(&self) -> bool {
        self.lock().end == Some(End::Lost)
    }

    /// True once the publication has ended and all of it is acked, a clean end included.
    pub(crate) fn is_done(&self) -> bool {
        let inner = self.lock();
        let (acked_below, after_last) = (inner.replay.acked_below(), inner.replay.next_number());
        match inner.end {
            Some(End::Closed) => acked_below > after_last,
            Some(End::Lost) => acked_below >= after_last,
            None => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for ReplayQueue {
    fn drop(&mut self) {
        self.budget.note(self.lock().replay.bytes(), 0);
        self.budget.publications.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Inner {
    fn next(&self, number: u64, bytes_max: usize) -> Option<Next> {
        let pieces = self.replay.pieces(number, bytes_max, self.end.is_some());
        match self.end {
            _ if !pieces.is_empty() => Some(Next::Pieces(pieces)),
            Some(end) => Some(Next::End(self.replay.next_number(), end)),
            None => None,
        }
    }
}

#[cfg(test)]
mod tests;
