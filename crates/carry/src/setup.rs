//! What a decoder must have, kept when the entries around it are gone.

use crate::entry::{Entry, Slot};

/// The metadata and the newest set-up of each track, of all that is not held any more. Each keeps its number: an origin
/// that has not heard it gets it under that.
#[derive(Debug, Default)]
pub(crate) struct Setup {
    /// In the order of their numbers.
    kept: Vec<(u64, Slot, Entry)>,
}

/// More tracks than this are sent on, but not kept.
const SLOTS_MAX: usize = 64;

impl Setup {
    /// Keeps an entry in place of the older one in its slot. Numbers ascend from call to call.
    pub(crate) fn keep(&mut self, number: u64, slot: Slot, entry: Entry) {
        self.kept.retain(|(_, held, _)| *held != slot);
        if self.kept.len() < SLOTS_MAX {
            self.kept.push((number, slot, entry));
        }
    }

    /// What is kept with this number or a higher one, in order.
    pub(crate) fn from(&self, number: u64) -> impl Iterator<Item = (u64, &Entry)> {
        let kept = self.kept.iter().map(|(number, _, entry)| (*number, entry));
        kept.filter(move |(held, _)| *held >= number)
    }

    /// How much is kept.
    pub(crate) fn len(&self) -> usize {
        self.kept.len()
    }

    /// The lowest number kept.
    pub(crate) fn first(&self) -> Option<u64> {
        self.kept.first().map(|(number, ..)| *number)
    }
}
