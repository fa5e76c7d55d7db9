//! One live stream: its writer, and what anybody may ask of it.

use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicBool, Ordering},
};

use media::{Frame, Provenance, StreamName};
use tokio::sync::watch;

use crate::{
    item::{Body, Item},
    limits::RingLimits,
    pacer::Pacer,
    reader::{Reader, Start, View},
    registry::Registration,
    ring::{Ring, Snapshot},
    waiters::Waiters,
};

/// A stream that is open somewhere: readers join it here.
#[derive(Debug)]
pub struct Stream {
    name: StreamName,
    ring: RwLock<Ring>,
    ended: AtomicBool,
    /// Those who wait for more to be committed.
    pub(crate) commits: Waiters,
    /// Those who wait for more to be shown.
    pub(crate) shows: Waiters,
    readers: watch::Sender<usize>,
}

impl Stream {
    pub(crate) fn new(name: StreamName, limits: RingLimits, first_seq: u64) -> Self {
        Self {
            name,
            ring: RwLock::new(Ring::new(limits, first_seq)),
            ended: AtomicBool::new(false),
            commits: Waiters::default(),
            shows: Waiters::default(),
            readers: watch::Sender::new(0),
        }
    }

    /// Its name.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// A new cursor into the stream, which sees what is committed.
    pub fn subscribe(self: &Arc<Self>, start: Start) -> Reader {
        self.readers.send_modify(|count| *count += 1);
        Reader::new(self.clone(), View::Committed, start)
    }

    /// A new cursor into the stream, which sees what is shown: the same, a group at a time where a [`Pacer`] says so. It
    /// starts with all that is committed.
    pub fn subscribe_paced(self: &Arc<Self>, start: Start) -> Reader {
        self.readers.send_modify(|count| *count += 1);
        Reader::new(self.clone(), View::Shown, start)
    }

    /// A paced cursor from this position on for one that reads for many of the stream's readers at once. It does not count
    /// as a reader.
    pub fn read_for_others(self: &Arc<Self>, from: u64) -> Reader {
        Reader::uncounted(self.clone(), from)
    }

    /// From now on paced readers see what is committed when this says so; there is one at a time.
    pub fn pace(self: &Arc<Self>) -> Pacer {
        Pacer::new(self.clone())
    }

    /// The number of readers, to be watched.
    pub fn readers(&self) -> watch::Receiver<usize> {
        self.readers.subscribe()
    }

    pub(crate) fn reader_left(&self) {
        self.readers.send_modify(|count| *count -= 1);
    }

    /// How the stream stands now.
    pub fn info(&self) -> StreamInfo {
        let ring = self.ring();
        let head = ring.head();
        StreamInfo {
            next_seq: head.next_seq,
            committed_below: ring.committed_below(),
            first_seq: ring.first_seq(),
            last_dts: ring.committed().last_dts,
            items_total: head.items,
            bytes_total: head.bytes,
            readers: *self.readers.borrow(),
        }
    }

    /// Whether its writer is gone.
    pub fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Shows all that is committed.
    pub(crate) fn show(&self) {
        if self.ring_mut().show() {
            self.shows.wake();
        }
    }

    pub(crate) fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        // A panic while the lock was held cannot leave the ring half changed in a way that harms a reader.
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn ring_mut(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a stream stands. Its items and bytes are all that were appended, committed or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamInfo {
    /// The position that the next item will have.
    pub next_seq: u64,
    /// Readers see what stands below this position.
    pub committed_below: u64,
    /// The oldest position in memory.
    pub first_seq: u64,
    /// The newest committed decoding time in milliseconds, once there was a coded frame.
    pub last_dts: Option<u64>,
    /// Items appended since the stream was opened.
    pub items_total: u64,
    /// Payload bytes appended since the stream was opened.
    pub bytes_total: u64,
    /// Readers now.
    pub readers: usize,
}

/// The one that feeds a stream. Dropping it ends the stream and frees its name.
#[derive(Debug)]
pub struct Writer {
    stream: Arc<Stream>,
    _registration: Registration,
}

impl Writer {
    pub(crate) fn new(stream: Arc<Stream>, registration: Registration) -> Self {
        Self { stream, _registration: registration }
    }

    /// The stream it feeds.
    pub fn stream(&self) -> &Arc<Stream> {
        &self.stream
    }

    /// Appends at the next position, and returns the item. Readers see it once it is committed.
    pub fn append(&mut self, body: Body, provenance: Option<Provenance>) -> Arc<Item> {
        let mut ring = self.stream.ring_mut();
        let item = Arc::new(Item::new(ring.head().next_seq, body).with_provenance(provenance));
        ring.append(item.clone());
        item
    }

    /// Appends items of a log that somebody else keeps. Readers see them once they are committed. Positions that the log
    /// has passed are left out; the number of those is returned.
    pub fn follow(&mut self, items: impl IntoIterator<Item = Arc<Item>>) -> usize {
        self.stream.ring_mut().extend(items)
    }

    /// Lets readers see what stands below `seq`. Never takes back what they may see.
    pub fn commit_below(&mut self, seq: u64) {
        let mut ring = self.stream.ring_mut();
        if !ring.commit_below(seq) {
            return;
        }
        let shown = !ring.is_held_back() && ring.show();
        drop(ring);
        self.stream.commits.wake();
        if shown {
            self.stream.shows.wake();
        }
    }

    /// Whether so much is not committed that no more should be appended: what is not committed stays in memory, beyond
    /// the ring's bounds if need be.
    pub fn is_backlogged(&self) -> bool {
        self.stream.ring().is_backlogged()
    }

    /// Appends what is known to be committed, as an edge gets it. Positions that the log has passed are left out; the
    /// number of those is returned.
    pub fn append_at(&mut self, items: impl IntoIterator<Item = (u64, Body)>) -> usize {
        let repeated = self.follow(items.into_iter().map(|(seq, body)| Arc::new(Item::new(seq, body))));
        self.commit_below(u64::MAX);
        repeated
    }

    /// Removes what stands at `seq` and above, committed or not, as if it had never come. For a log without readers:
    /// one that has read further waits until the log has come there again.
    pub fn cut(&mut self, seq: u64) {
        self.stream.ring_mut().cut(seq);
        self.wake_all();
    }

    /// The whole log as far as it is in memory.
    pub fn snapshot(&self) -> Snapshot {
        self.stream.ring().snapshot()
    }

    /// Replaces the whole log at once; nothing of the new one is committed. Items whose positions do not ascend are left
    /// out; the number of those is returned.
    pub fn restore(&mut self, snapshot: Snapshot) -> usize {
        let mut ring = self.stream.ring_mut();
        let held_back = ring.is_held_back();
        let (restored, left_out) = Ring::restored(ring.limits(), snapshot);
        *ring = restored;
        if held_back {
            ring.hold_back();
        }
        drop(ring);
        self.wake_all();
        left_out
    }

    /// All items in memory, oldest first.
    pub fn items(&self) -> impl Iterator<Item = Arc<Item>> + use<> {
        self.stream.ring().items_from(0).cloned().collect::<Vec<_>>().into_iter()
    }

    /// The items at `seq` and above. None: one of them has left the ring.
    pub fn items_from(&self, seq: u64) -> Option<Vec<Arc<Item>>> {
        let ring = self.stream.ring();
        ring.is_whole_from(seq).then(|| ring.items_from(seq).cloned().collect())
    }

    /// Replaces the metadata and set-up that stand before the next item, as an edge gets them where its pull begins.
    pub fn restore_setup(&mut self, frames: Vec<Frame>) {
        self.stream.ring_mut().replace_setup(frames);
    }

    fn wake_all(&self) {
        self.stream.commits.wake();
        self.stream.shows.wake();
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stream.ring_mut().show();
        // In this order: whoever sees the end sees all that came before it.
        self.stream.ended.store(true, Ordering::Release);
        self.wake_all();
    }
}

#[cfg(test)]
mod tests;
