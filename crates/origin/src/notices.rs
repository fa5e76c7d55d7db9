//! What happened to streams, until the control plane has it on disk.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard, PoisonError},
};

use cluster::Notice;

/// Notices with their numbers. They outlive the conversation with the control plane, not this process.
#[derive(Debug, Default)]
pub(crate) struct Notices {
    queue: Mutex<Queue>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The number of the newest.
    last: u64,
    unkept: VecDeque<(u64, Notice)>,
}

impl Notices {
    /// Something has happened.
    pub(crate) fn add(&self, notice: Notice) {
        let mut queue = self.lock();
        queue.last += 1;
        let number = queue.last;
        queue.unkept.push_back((number, notice));
        if queue.unkept.len() > UNKEPT_MAX
            && let Some((_, Notice { stream, what })) = queue.unkept.pop_front()
        {
            // It is in the log from its beginning; operators who read events alone never hear of it.
            tracing::warn!(%stream, ?what, "notice.given_up");
        }
    }

    /// Those above a number, the oldest first.
    pub(crate) fn after(&self, number: u64) -> Vec<(u64, Notice)> {
        let queue = self.lock();
        let first = queue.unkept.partition_point(|(known, _)| *known <= number);
        queue.unkept.range(first..).cloned().collect()
    }

    /// Those up to this number need not be told again.
    pub(crate) fn kept(&self, through: u64) {
        let mut queue = self.lock();
        let gone = queue.unkept.partition_point(|(number, _)| *number <= through);
        queue.unkept.drain(..gone);
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // A panic while the lock was held left the queue as it was.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// With the control plane away for long, or with thousands of streams lost at once, the oldest go.
const UNKEPT_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use cluster::Mishap;
    use media::StreamName;

    use super::*;

    fn notice(from: u64) -> Notice {
        Notice { stream: StreamName::from_app("_default", "live", "a").unwrap(), what: Mishap::Lost { from } }
    }

    fn numbers(notices: &Notices, after: u64) -> Vec<u64> {
        notices.after(after).iter().map(|(number, _)| *number).collect()
    }

    #[test]
    fn what_is_not_kept_is_told_again_and_what_is_kept_never() {
        let notices = Notices::default();
        (0..4).for_each(|from| notices.add(notice(from)));
        assert_eq!((numbers(&notices, 0), numbers(&notices, 3)), (vec![1, 2, 3, 4], vec![4]));
        notices.kept(2);
        assert_eq!((numbers(&notices, 0), notices.after(3)), (vec![3, 4], vec![(4, notice(3))]));
        notices.kept(u64::MAX);
        notices.add(notice(9));
        assert_eq!(numbers(&notices, 0), [5], "a number that was never given keeps nothing from being told");
    }

    #[test]
    fn of_too_many_the_oldest_go() {
        let notices = Notices::default();
        (0..UNKEPT_MAX as u64 + 2).for_each(|from| notices.add(notice(from)));
        let told = numbers(&notices, 0);
        assert_eq!((told.len(), told[0]), (UNKEPT_MAX, 3));
    }
}
