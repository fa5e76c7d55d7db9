//! The streams of one process by name.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use dashmap::{DashMap, mapref::entry::Entry};
use media::StreamName;

use crate::{
    limits::RingLimits,
    stream::{Stream, Writer},
};

/// All open streams of a process. Cheap to clone; clones share the streams.
#[derive(Debug, Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    limits: RingLimits,
    streams: DashMap<StreamName, Arc<Stream>>,
    /// Where a new stream's positions begin: above all that any forgotten stream ever had.
    floor: AtomicU64,
}

impl Hub {
    /// A hub without streams, whose positions begin at 1.
    pub fn new(limits: RingLimits) -> Self {
        let shared = Shared { limits, streams: DashMap::new(), floor: AtomicU64::new(1) };
        Self { shared: Arc::new(shared) }
    }

    /// Lets streams opened from now on begin at `seq` or above. It never lowers what they begin at.
    pub fn raise_floor(&self, seq: u64) {
        self.shared.floor.fetch_max(seq, Ordering::Relaxed);
    }

    /// Opens a stream that nobody feeds, with positions above all that were ever given here.
    pub fn open(&self, name: &StreamName) -> Result<Writer, AlreadyOpen> {
        self.open_at(name, |floor| floor)
    }

    /// Opens a stream whose items come with positions that somebody else gave: an edge's, or a follower's.
    pub fn mirror(&self, name: &StreamName) -> Result<Writer, AlreadyOpen> {
        self.open_at(name, |_| 0)
    }

    fn open_at(&self, name: &StreamName, first_seq: impl Fn(u64) -> u64) -> Result<Writer, AlreadyOpen> {
        match self.shared.streams.entry(name.clone()) {
            Entry::Occupied(_) => Err(AlreadyOpen),
            Entry::Vacant(slot) => {
                // Read under the entry's lock: whoever held the name before has raised the floor by then.
                let first_seq = first_seq(self.shared.floor.load(Ordering::Relaxed));
                let stream = Arc::new(Stream::new(name.clone(), self.shared.limits, first_seq));
                slot.insert(stream.clone());
                Ok(Writer::new(stream.clone(), Registration { hub: self.clone(), stream }))
            }
        }
    }

    /// The stream of this name, if it is open.
    pub fn get(&self, name: &StreamName) -> Option<Arc<Stream>> {
        self.shared.streams.get(name).map(|stream| stream.clone())
    }

    /// All open streams, in no order.
    pub fn list(&self) -> Vec<Arc<Stream>> {
        self.shared.streams.iter().map(|stream| stream.clone()).collect()
    }
}

/// A writer's hold on its name.
#[derive(Debug)]
pub(crate) struct Registration {
    hub: Hub,
    stream: Arc<Stream>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.hub.raise_floor(self.stream.info().next_seq);
        self.hub.shared.streams.remove(self.stream.name());
    }
}

/// Somebody feeds a stream of this name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the stream is open already")]
pub struct AlreadyOpen;
