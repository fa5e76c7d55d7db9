//! Who waits for more of a stream.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

/// Wakes all who wait, as often as there is news. Whoever waits registers once, not each time: to wait again is to say so
/// in its own place, without a lock that it shares with the others.
#[derive(Debug, Default)]
pub(crate) struct Waiters {
    /// How often there was news.
    news: AtomicU64,
    places: Mutex<Vec<Arc<Place>>>,
}

/// One who waits now and then.
#[derive(Debug)]
pub(crate) struct Place {
    /// Whether it waits now: one that is busy with what it has is not woken for more.
    waits: AtomicBool,
    /// Where it stands among the places; changed under their lock alone.
    at: AtomicUsize,
    waker: Waker,
}

impl Waiters {
    /// How often there was news so far. What is looked at afterwards is as new as that, or newer.
    pub(crate) fn news(&self) -> u64 {
        self.news.load(Ordering::SeqCst)
    }

    /// Ready if there was news since `seen`. Otherwise the task is woken by the next.
    pub(crate) fn poll_news(&self, seen: u64, place: &mut Option<Arc<Place>>, cx: &mut Context<'_>) -> Poll<()> {
        if self.news() != seen {
            return Poll::Ready(());
        }
        let place = match place {
            Some(held) if held.waker.will_wake(cx.waker()) => held,
            _ => {
                self.leave(place.take());
                place.insert(self.join(cx.waker().clone()))
            }
        };
        place.waits.store(true, Ordering::SeqCst);
        // Either this sees the news, or whoever brings it sees that somebody waits.
        if self.news() == seen { Poll::Pending } else { Poll::Ready(()) }
    }

    /// Tells all who wait that there is news.
    pub(crate) fn wake(&self) {
        self.news.fetch_add(1, Ordering::SeqCst);
        for place in self.places().iter() {
            if place.waits.swap(false, Ordering::SeqCst) {
                place.waker.wake_by_ref();
            }
        }
    }

    fn join(&self, waker: Waker) -> Arc<Place> {
        let mut places = self.places();
        let place = Arc::new(Place { waits: AtomicBool::new(false), at: AtomicUsize::new(places.len()), waker });
        places.push(place.clone());
        place
    }

    /// Gives a place back.
    pub(crate) fn leave(&self, place: Option<Arc<Place>>) {
        let Some(place) = place else { return };
        let mut places = self.places();
        let at = place.at.load(Ordering::Relaxed);
        places.swap_remove(at);
        if let Some(moved) = places.get(at) {
            moved.at.store(at, Ordering::Relaxed);
        }
        if places.capacity() > PLACES_KEPT && places.len() < places.capacity() / 4 {
            let kept = places.len() * 2;
            places.shrink_to(kept);
        }
    }

    fn places(&self) -> MutexGuard<'_, Vec<Arc<Place>>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Room for so many places is never given back.
const PLACES_KEPT: usize = 64;

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Bell(AtomicUsize);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn rung(bell: &Bell) -> usize {
        bell.0.load(Ordering::Relaxed)
    }

    #[test]
    fn only_those_who_wait_are_woken() {
        let waiters = Waiters::default();
        let (one, two) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
        let (of_one, of_two) = (Waker::from(one.clone()), Waker::from(two.clone()));
        let (mut first, mut second) = (None, None);
        assert!(waiters.poll_news(0, &mut first, &mut Context::from_waker(&of_one)).is_pending());
        assert!(waiters.poll_news(0, &mut second, &mut Context::from_waker(&of_two)).is_pending());
        waiters.wake();
        assert!(waiters.poll_news(0, &mut first, &mut Context::from_waker(&of_one)).is_ready());
        assert!(waiters.poll_news(1, &mut first, &mut Context::from_waker(&of_one)).is_pending());
        waiters.wake();
        assert_eq!((rung(&one), rung(&two)), (2, 1));
        waiters.leave(first);
        waiters.wake();
        assert_eq!((rung(&one), rung(&two)), (2, 1));
        assert!(waiters.poll_news(3, &mut second, &mut Context::from_waker(&of_two)).is_pending());
        waiters.wake();
        assert_eq!((rung(&one), rung(&two)), (2, 2));
    }

    #[test]
    fn a_place_moves_with_its_task() {
        let waiters = Waiters::default();
        let (one, two) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
        let mut place = None;
        assert!(waiters.poll_news(0, &mut place, &mut Context::from_waker(&one.clone().into())).is_pending());
        assert!(waiters.poll_news(0, &mut place, &mut Context::from_waker(&two.clone().into())).is_pending());
        waiters.wake();
        assert_eq!((rung(&one), rung(&two)), (0, 1));
        waiters.leave(place);
        assert!(waiters.places().is_empty());
    }

    #[test]
    fn places_are_given_back_in_any_order() {
        let waiters = Waiters::default();
        let mut places: Vec<_> = (0..200).map(|_| Some(waiters.join(Waker::noop().clone()))).collect();
        for at in [7, 199, 0, 50] {
            waiters.leave(places[at].take());
        }
        places.into_iter().for_each(|place| waiters.leave(place));
        assert!(waiters.places().is_empty() && waiters.places().capacity() <= 2 * PLACES_KEPT);
    }
}
