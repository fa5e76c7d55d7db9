//! Publications that must not come back.

use std::{
    collections::{HashSet, VecDeque},
    sync::{Mutex, MutexGuard, PoisonError},
};

use media::PublicationId;

/// Publications that ended or were replaced: their messages are refused, whatever connection they come by. Only the
/// newest are remembered; an edge that was cut off comes back within minutes.
#[derive(Debug, Default)]
pub(crate) struct Gone {
    newest: Mutex<Newest>,
}

#[derive(Debug, Default)]
struct Newest {
    ids: HashSet<PublicationId>,
    order: VecDeque<PublicationId>,
}

/// How many are remembered; the oldest are forgotten.
const GONE_MAX: usize = 4096;

impl Gone {
    pub(crate) fn add(&self, publication: PublicationId) {
        let mut newest = self.lock();
        if newest.ids.insert(publication) {
            newest.order.push_back(publication);
        }
        if newest.order.len() > GONE_MAX
            && let Some(oldest) = newest.order.pop_front()
        {
            newest.ids.remove(&oldest);
        }
    }

    pub(crate) fn has(&self, publication: PublicationId) -> bool {
        self.lock().ids.contains(&publication)
    }

    fn lock(&self) -> MutexGuard<'_, Newest> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let gone = Gone::default();
        let id = |n: usize| PublicationId::from_bits(n as u128);
        (0..=GONE_MAX).for_each(|n| gone.add(id(n)));
        assert!(!gone.has(id(0)) && gone.has(id(1)) && gone.has(id(GONE_MAX)));
    }
}
