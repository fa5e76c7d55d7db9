//! Names that are asked for and not there.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use super::Pull;

/// The pulls that have no stream, by how long that has been so. Anybody may make them by asking for anything; so they are
/// bounded apart from streams, and make room for each other.
#[derive(Debug, Default)]
pub(super) struct Absent {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    pulls: BTreeMap<u64, Arc<Pull>>,
    last: u64,
}

/// Where a pull stands in the queue, if it does.
#[derive(Debug, Default)]
pub(super) struct QueueNumber(AtomicU64);

impl Absent {
    /// The pull has no stream from now on.
    pub(super) fn enter(&self, pull: &Arc<Pull>) {
        let mut queue = self.queue();
        queue.last += 1;
        let number = queue.last;
        let before = pull.queue_number.0.swap(number, Ordering::Relaxed);
        queue.pulls.remove(&before);
        queue.pulls.insert(number, pull.clone());
    }

    /// The pull has a stream, or is over.
    pub(super) fn leave(&self, pull: &Pull) {
        self.queue().pulls.remove(&pull.queue_number.0.load(Ordering::Relaxed));
    }

    /// The one that has had no stream for longest leaves.
    pub(super) fn pop_oldest(&self) -> Option<Arc<Pull>> {
        self.queue().pulls.pop_first().map(|(_, pull)| pull)
    }

    pub(super) fn len(&self) -> usize {
        self.queue().pulls.len()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
