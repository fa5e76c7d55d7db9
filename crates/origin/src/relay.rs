//! What edges ask of this origin: to take publications in (Push) and to hand streams out (Pull).

mod pull;
mod push;

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use cluster::{Epoch, NodeId};
use daemon::Admission;
use rpc::relay::{PublishRefusal, PullDown, PullRequest, PushDown, PushHello, PushUp, RelayError, Stream};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};

use crate::{role::Term, stats::Stats, streams::Streams};

/// The origin as edges see it.
#[derive(Debug, Clone)]
pub struct Relay {
    /// This node, to see a request that comes round in a circle.
    pub node: NodeId,
    /// The streams.
    pub streams: Arc<Streams>,
    /// Whether this origin serves.
    pub term: watch::Receiver<Term>,
    /// Who may publish.
    pub admission: Arc<Admission>,
    /// What is counted.
    pub stats: Arc<Stats>,
}

impl rpc::relay::Relay for Relay {
    async fn push(&self, hello: PushHello, up: Stream<PushUp>) -> Result<Stream<PushDown>, RelayError> {
        self.check_serving(hello.epoch)?;
        let key = hello.key.as_ref().map(|key| key.0.as_str());
        if !self.admission.admits(&hello.stream, key, &hello.peer) {
            return Err(RelayError::Refused(PublishRefusal::Denied));
        }
        push::serve(self, hello, up).await
    }

    async fn pull(&self, request: PullRequest) -> Result<Stream<PullDown>, RelayError> {
        self.check_serving(request.epoch)?;
        if request.path.contains(&self.node) {
            return Err(RelayError::Loop);
        }
        Ok(pull::serve(self, request))
    }
}

impl Relay {
    /// Refuses, unless we serve and the asker has not heard of a later epoch than ours.
    fn check_serving(&self, epoch: Epoch) -> Result<(), RelayError> {
        let term = self.term.borrow();
        if epoch > term.epoch {
            self.stats.stale_epoch_rejected.fetch_add(1, Ordering::Relaxed);
            // C8: we are not active any more, though nobody has told us.
            self.streams.with(|replica, now| replica.handle_epoch(epoch, now));
        }
        if !term.serving || epoch > term.epoch {
            return Err(not_active(&term));
        }
        Ok(())
    }
}

fn not_active(term: &Term) -> RelayError {
    RelayError::NotActive { active: term.active_at.clone(), epoch: term.epoch }
}

/// A beat that does not make up for the time in which the process was away.
fn beats(period: Duration) -> Interval {
    let mut beats = interval(period);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    beats
}

/// The epoch in which we serve, or what the caller is to be told when we do no longer.
fn epoch(term: &watch::Receiver<Term>) -> Result<Epoch, RelayError> {
    let term = term.borrow();
    if term.serving { Ok(term.epoch) } else { Err(not_active(&term)) }
}

/// Waits until we do not serve any more, and says what the caller is to be told.
async fn deposed(term: &mut watch::Receiver<Term>) -> RelayError {
    match term.wait_for(|now| !now.serving).await {
        Ok(now) => not_active(&now),
        Err(_) => RelayError::Transport("the origin is shutting down".into()),
    }
}

#[cfg(test)]
mod tests;
