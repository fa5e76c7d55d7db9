//! One stream that is fetched, and the viewers who wait for it.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use carry::Mirror;
use hub::Stream;
use media::StreamName;
use telemetry::Rate;
use tokio::{sync::watch, time::sleep};
use tokio_util::sync::CancellationToken;

use super::absent::QueueNumber;

/// One stream that is fetched.
#[derive(Debug)]
pub(super) struct Pull {
    pub(super) name: StreamName,
    pub(super) since: SystemTime,
    pub(super) rate: Rate,
    pub(super) state: watch::Sender<State>,
    /// Viewers who wait for the stream to be there.
    waiting: watch::Sender<usize>,
    /// Among those that are not there.
    pub(super) queue_number: QueueNumber,
    /// Others need its place: it never has a stream any more.
    pub(super) given_up: CancellationToken,
    /// What the edge has of the stream.
    mirror: Mutex<Mirror>,
}

/// How a pull stands, for viewers who wait.
#[derive(Debug, Clone)]
pub(super) enum State {
    /// No answer yet, or no origin answers.
    Unanswered,
    /// The active origin has no such stream now.
    Absent,
    /// The stream is there.
    Live(Arc<Stream>),
    /// The active origin says that it will never serve it to us.
    Refused,
}

impl Pull {
    pub(super) fn new(name: StreamName) -> Self {
        let state = watch::Sender::new(State::Unanswered);
        Self {
            name,
            since: SystemTime::now(),
            rate: Rate::default(),
            state,
            waiting: watch::Sender::new(0),
            queue_number: QueueNumber::default(),
            given_up: CancellationToken::new(),
            mirror: Mutex::default(),
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        *self.waiting.borrow() > 0 || self.readers().is_some_and(|readers| *readers.borrow() > 0)
    }

    fn readers(&self) -> Option<watch::Receiver<usize>> {
        match &*self.state.borrow() {
            State::Live(stream) => Some(stream.readers()),
            _ => None,
        }
    }

    /// Completes once nobody has wanted the stream for `live` if it is there, otherwise for `absent`.
    pub(super) async fn unwanted_for(&self, absent: Duration, live: Duration) {
        let mut waiting = self.waiting.subscribe();
        let mut state = self.state.subscribe();
        loop {
            // Subscribed before anything is looked at, so that no change is missed.
            state.mark_unchanged();
            let mut readers = self.readers();
            let linger = if readers.is_some() { live } else { absent };
            let waiting_now = *waiting.borrow_and_update() > 0;
            let wanted = waiting_now || readers.as_mut().is_some_and(|readers| *readers.borrow_and_update() > 0);
            let changed = async {
                let readers_changed = async {
                    match &mut readers {
                        Some(readers) => readers.changed().await.is_ok(),
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    _ = waiting.changed() => {}
                    _ = state.changed() => {}
                    _ = readers_changed => {}
                }
            };
            if wanted {
                changed.await;
            } else {
                tokio::select! {
                    () = changed => {}
                    () = sleep(linger) => return,
                }
            }
        }
    }

    /// Viewers are told that the stream has ended; those who wait go on waiting.
    pub(super) fn end_stream(&self) {
        self.state.send_replace(State::Unanswered);
        self.mirror().end();
    }

    /// Ends the pull for good, unless its stream has come in the meantime. True: it is over.
    pub(super) fn give_up_unless_open(&self) -> bool {
        // Held until it is given up: a stream comes under this lock.
        let mirror = self.mirror();
        let is_absent = !mirror.is_open();
        if is_absent {
            self.given_up.cancel();
        }
        is_absent
    }

    pub(super) fn is_open(&self) -> bool {
        self.mirror().is_open()
    }

    pub(super) fn mirror(&self) -> MutexGuard<'_, Mirror> {
        self.mirror.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A viewer who waits for a stream to be there: as long as one does, the pull goes on.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) pull: Arc<Pull>,
}

impl Waiting {
    pub(super) fn new(pull: Arc<Pull>) -> Self {
        pull.waiting.send_modify(|count| *count += 1);
        Self { pull }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.pull.waiting.send_modify(|count| *count -= 1);
    }
}
