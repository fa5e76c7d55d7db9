//! What a term has appended and some follower has not been sent yet.

use std::collections::VecDeque;

use crate::message::{BATCH_BYTES, BATCH_ITEMS, Entry};

/// The entries of a term by order. It holds what the slowest follower still needs, up to a bound.
#[derive(Debug)]
pub(crate) struct Journal {
    entries: VecDeque<Entry>,
    /// The order of the first entry.
    first: u64,
    bytes: usize,
    entries_max: usize,
}

/// Payload that waits to be sent at most: the items are in the rings as well, but may have left them.
const BYTES_MAX: usize = 64 << 20;

impl Journal {
    pub(crate) fn new(entries_max: usize) -> Self {
        Self { entries: VecDeque::new(), first: 1, bytes: 0, entries_max }
    }

    /// Adds the entry of the next order.
    pub(crate) fn push(&mut self, entry: Entry) {
        self.bytes += payload(&entry);
        self.entries.push_back(entry);
        while self.entries.len() > self.entries_max || self.bytes > BYTES_MAX {
            self.forget_first();
        }
    }

    /// The entries from this order on, as many as go into one message. None: they are not here any more.
    pub(crate) fn read(&self, from: u64) -> Option<Vec<Entry>> {
        let at = usize::try_from(from.checked_sub(self.first)?).ok()?;
        let mut bytes = 0;
        let mut batch = Vec::new();
        for entry in self.entries.range(at.min(self.entries.len())..) {
            if bytes >= BATCH_BYTES || batch.len() >= BATCH_ITEMS {
                break;
            }
            bytes += payload(entry);
            batch.push(entry.clone());
        }
        Some(batch)
    }

    /// Everyone was sent what is below this order.
    pub(crate) fn forget_below(&mut self, order: u64) {
        while self.first < order && !self.entries.is_empty() {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some(entry) = self.entries.pop_front() {
            self.first += 1;
            self.bytes -= payload(&entry);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }
}

fn payload(entry: &Entry) -> usize {
    entry.item.frame().map_or(0, |frame| frame.payload.len())
}
