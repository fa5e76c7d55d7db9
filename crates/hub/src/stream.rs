//! One live stream: its writer, and what anybody may ask of it.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use media::{Frame, StreamName};
use tokio::sync::watch;

use crate::{
    item::Body,
    limits::RingLimits,
    reader::{Reader, Start},
    registry::Registration,
    ring::Ring,
};

/// A stream that is open somewhere: readers join it here.
#[derive(Debug)]
pub struct Stream {
    name: StreamName,
    ring: RwLock<Ring>,
    head: watch::Sender<Head>,
    readers: watch::Sender<usize>,
}

/// What readers wait on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) next_seq: u64,
    pub(crate) ended: bool,
}

impl Stream {
    pub(crate) fn new(name: StreamName, limits: RingLimits, first_seq: u64) -> Self {
        Self {
            name,
            ring: RwLock::new(Ring::new(limits, first_seq)),
            head: watch::Sender::new(Head { next_seq: first_seq, ended: false }),
            readers: watch::Sender::new(0),
        }
    }

    /// Its name.
    pub fn name(&self) -> &StreamName {
        &self.name
    }

    /// A new cursor into the stream.
    pub fn subscribe(self: &Arc<Self>, start: Start) -> Reader {
        self.readers.send_modify(|count| *count += 1);
        Reader::new(self.clone(), self.head.subscribe(), start)
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
        let totals = ring.totals();
        StreamInfo {
            next_seq: ring.next_seq(),
            first_seq: ring.first_seq(),
            last_dts: ring.last_dts(),
            items_total: totals.items,
            bytes_total: totals.bytes,
            readers: *self.readers.borrow(),
        }
    }

    pub(crate) fn ring(&self) -> RwLockReadGuard<'_, Ring> {
        // A panic while the lock was held cannot leave the ring half changed in a way that harms a reader.
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring_mut(&self) -> RwLockWriteGuard<'_, Ring> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How a stream stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamInfo {
    /// The position that the next item will have.
    pub next_seq: u64,
    /// The oldest position in memory.
    pub first_seq: u64,
    /// The newest decoding time in milliseconds, once there was a coded frame.
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

    /// Appends at the next position and returns it.
    pub fn append(&mut self, body: Body) -> u64 {
        let mut ring = self.stream.ring_mut();
        let seq = ring.next_seq();
        ring.append(seq, body);
        drop(ring);
        self.publish_head(seq + 1);
        seq
    }

    /// Appends items that already have positions, as an edge gets them. Positions that the ring has passed are left out;
    /// the number of those is returned.
    pub fn append_at(&mut self, items: impl IntoIterator<Item = (u64, Body)>) -> usize {
        let mut repeated = 0;
        let mut ring = self.stream.ring_mut();
        for (seq, body) in items {
            if seq < ring.next_seq() {
                repeated += 1;
            } else {
                ring.append(seq, body);
            }
        }
        let next_seq = ring.next_seq();
        drop(ring);
        self.publish_head(next_seq);
        repeated
    }

    /// Replaces the metadata and set-up that stand before the next item, as an edge gets them where its pull begins.
    pub fn restore_setup(&mut self, frames: Vec<Frame>) {
        self.stream.ring_mut().restore_setup(frames);
    }

    fn publish_head(&self, next_seq: u64) {
        self.stream.head.send_replace(Head { next_seq, ended: false });
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stream.head.send_modify(|head| head.ended = true);
    }
}
