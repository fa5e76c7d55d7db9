//! Publications that must not come back.

use std::collections::{HashSet, VecDeque};

use media::PublicationId;

/// Publications that ended or were replaced: their messages are refused, whatever connection they come by. Only the
/// newest are remembered; an edge that was cut off comes back within minutes.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    ids: HashSet<PublicationId>,
    order: VecDeque<PublicationId>,
}

/// How many are remembered; the oldest are forgotten.
pub(crate) const GONE_MAX: usize = 4096;

impl Gone {
    pub(crate) fn add(&mut self, publication: PublicationId) {
        if self.ids.insert(publication) {
            self.order.push_back(publication);
        }
        if self.order.len() > GONE_MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }

    pub(crate) fn has(&self, publication: PublicationId) -> bool {
        self.ids.contains(&publication)
    }

    /// The oldest first.
    pub(crate) fn list(&self) -> Vec<PublicationId> {
        self.order.iter().copied().collect()
    }

    /// It was found in a log after all: it may come back.
    pub(crate) fn forgive(&mut self, publication: PublicationId) {
        if self.ids.remove(&publication) {
            self.order.retain(|id| *id != publication);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut gone = Gone::default();
        let id = |n: usize| PublicationId::from_bits(n as u128);
        (0..=GONE_MAX).for_each(|n| gone.add(id(n)));
        assert!(!gone.has(id(0)) && gone.has(id(1)) && gone.has(id(GONE_MAX)));
        gone.forgive(id(1));
        assert!(!gone.has(id(1)) && gone.list().len() == GONE_MAX - 1);
    }
}
