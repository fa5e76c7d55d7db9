//! Connections on which nobody has said yet who calls.

use std::{
    collections::BTreeMap,
    future::pending,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{select, sync::oneshot, time};
use tokio_util::sync::CancellationToken;

use super::connection::Trial;

/// The connections of a server on which no known caller has called yet, oldest first.
///
/// Each has one of the server's places, but not for long. When all are taken the oldest of these goes: whoever is known
/// needs no more than a round trip to say so, and is in before as many strangers as there are places have come.
#[derive(Debug, Default)]
pub(super) struct Trials {
    waiting: Mutex<Waiting>,
}

#[derive(Debug, Default)]
struct Waiting {
    /// What ends them when it is dropped.
    ends: BTreeMap<u64, oneshot::Sender<()>>,
    last_number: u64,
}

impl Trials {
    /// One more.
    pub(super) fn begin(self: &Arc<Self>) -> OnTrial {
        let (end, ended) = oneshot::channel();
        let mut waiting = self.waiting();
        waiting.last_number += 1;
        let number = waiting.last_number;
        waiting.ends.insert(number, end);
        OnTrial { trials: self.clone(), number, ended }
    }

    /// Ends the one that has been on trial longest, if there is one.
    pub(super) fn end_oldest(&self) {
        self.waiting().ends.pop_first();
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // A panic while the lock was held left all of them usable.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection on trial. Dropped, it is that no longer.
#[derive(Debug)]
pub(super) struct OnTrial {
    trials: Arc<Trials>,
    number: u64,
    ended: oneshot::Receiver<()>,
}

impl OnTrial {
    /// Completes when the connection must go, with the time that its calls have to end; never once a caller was
    /// admitted. `gate` is what its acceptor has to say, and is dropped then.
    pub(super) async fn over(mut self, admitted: Admitted, gate: Option<Trial>) -> Duration {
        let gate = gate.unwrap_or_else(|| Box::pin(pending()));
        select! {
            biased;
            () = admitted.0.cancelled() => {}
            _ = &mut self.ended => return Duration::ZERO,
            () = gate => return Duration::ZERO,
            () = time::sleep(TRIAL) => return LAST_WORDS,
        }
        drop(self);
        pending().await
    }
}

impl Drop for OnTrial {
    fn drop(&mut self) {
        self.trials.waiting().ends.remove(&self.number);
    }
}

/// Whether a known caller was admitted on a connection; in the extensions of its requests.
#[derive(Debug, Clone, Default)]
pub(crate) struct Admitted(CancellationToken);

impl Admitted {
    /// One was.
    pub(crate) fn note(&self) {
        self.0.cancel();
    }
}

/// A connection on which no known caller has called for so long is closed: calls without a token are short.
const TRIAL: Duration = Duration::from_secs(10);
/// What its open answers have to end, and to be taken.
const LAST_WORDS: Duration = Duration::from_secs(1);
