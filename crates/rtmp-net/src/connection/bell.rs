//! Which of a task's wake-ups were for what seldom happens.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Wake, Waker},
};

/// A viewer's task is woken for each group of frames, a hundred times for each time that anything else has happened to its
/// connection. Whatever seldom happens wakes the task through this, and is looked at only then.
#[derive(Debug, Default)]
pub(super) struct Bell {
    line: Option<Arc<Line>>,
}

#[derive(Debug)]
struct Line {
    rung: AtomicBool,
    task: Waker,
}

impl Wake for Line {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rung.store(true, Ordering::Release);
        self.task.wake_by_ref();
    }
}

impl Bell {
    /// Lets [`Bell::was_rung`] say yes, for whoever has changed what is waited for.
    pub(super) fn ring(&self) {
        if let Some(line) = &self.line {
            line.rung.store(true, Ordering::Release);
        }
    }

    /// Whether it was rung since it was asked last, or rings another task now.
    pub(super) fn was_rung(&mut self, cx: &Context<'_>) -> bool {
        match &self.line {
            Some(line) if line.task.will_wake(cx.waker()) => line.rung.swap(false, Ordering::AcqRel),
            _ => {
                let line = Line { rung: AtomicBool::new(false), task: cx.waker().clone() };
                self.line = Some(Arc::new(line));
                true
            }
        }
    }

    /// Rings it, and with it the task that asked last.
    pub(super) fn waker(&self) -> Waker {
        self.line.clone().map_or(Waker::noop().clone(), Waker::from)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Task(AtomicUsize);

    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn it_tells_its_own_wakes_from_others() {
        let task = Arc::new(Task::default());
        let waker = Waker::from(task.clone());
        let cx = Context::from_waker(&waker);
        let mut bell = Bell::default();
        assert!(bell.was_rung(&cx), "whoever asks first has looked at nothing yet");
        assert!(!bell.was_rung(&cx));
        bell.waker().wake();
        assert_eq!(task.0.load(Ordering::Relaxed), 1);
        assert!(bell.was_rung(&cx) && !bell.was_rung(&cx));
        bell.ring();
        assert!(bell.was_rung(&cx));
    }

    #[test]
    fn it_follows_its_task() {
        let (one, two) = (Waker::from(Arc::new(Task::default())), Arc::new(Task::default()));
        let mut bell = Bell::default();
        assert!(bell.was_rung(&Context::from_waker(&one)) && !bell.was_rung(&Context::from_waker(&one)));
        let waker = Waker::from(two.clone());
        assert!(bell.was_rung(&Context::from_waker(&waker)), "nothing wakes the other task yet");
        bell.waker().wake();
        assert_eq!(two.0.load(Ordering::Relaxed), 1);
    }
}
