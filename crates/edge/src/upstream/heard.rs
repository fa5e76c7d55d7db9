//! The highest epoch heard of a pool.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use cluster::Epoch;

/// What the origins behind one route target have said of their epoch. Cheap to clone; clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Heard(Arc<AtomicU64>);

impl Heard {
    /// The highest.
    pub(crate) fn epoch(&self) -> Epoch {
        Epoch(self.0.load(Ordering::Relaxed))
    }

    /// Notes the epoch of an answer. False: it comes from an origin that another has since replaced.
    pub(crate) fn note(&self, epoch: Epoch) -> bool {
        self.0.fetch_max(epoch.0, Ordering::Relaxed) <= epoch.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lower_epoch_than_was_heard_is_told_apart() {
        let heard = Heard::default();
        assert!(heard.note(Epoch(5)) && heard.note(Epoch(5)));
        assert!(!heard.note(Epoch(4)));
        assert_eq!(heard.epoch(), Epoch(5));
    }
}
