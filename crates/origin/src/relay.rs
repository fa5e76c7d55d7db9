//! What edges and other origins ask of this one: to take publications in (Push), to hand streams out (Pull), to be
//! followed (Follow), and to say who it is (Link).

pub(crate) mod follow;
mod link;
mod pull;
mod push;
mod via;

use std::sync::{Arc, atomic::Ordering};

use cluster::{Epoch, NodeId};
use daemon::Admission;
use replica::{FollowDown, FollowHello, FollowUp};
use rpc::{
    auth::Token,
    relay::{
        Flow, LinkDown, LinkHello, LinkUp, PublishRefusal, PullDown, PullRequest, PushDown, PushHello, PushUp,
        RelayError,
    },
};
use telemetry::metrics::Histogram;
use tokio::sync::watch;

use crate::{links::Links, role::Duty, stats::Stats, streams::Streams};
use via::Detours;

/// The origin as edges and other origins see it.
#[derive(Debug, Clone)]
pub struct Relay {
    /// This node, to see a request that comes round in a circle.
    pub node: NodeId,
    /// The streams.
    pub streams: Arc<Streams>,
    /// Whether this origin serves.
    pub duty: watch::Receiver<Duty>,
    /// No caller is believed who tells of a higher epoch.
    pub epoch_believed_max: Epoch,
    /// Who may publish.
    pub admission: Arc<Admission>,
    /// The edges that hold a Link with us.
    pub links: Arc<Links>,
    /// What is presented to the active origin, where calls are passed on to it.
    pub token: Option<Token>,
    /// The connections that they go by.
    pub(crate) detours: Arc<Detours>,
    /// What is counted.
    pub stats: Arc<Stats>,
    /// How long the messages of edges take from being taken until they are committed.
    pub commit_latency: Histogram,
}

impl rpc::relay::Relay for Relay {
    async fn push(&self, hello: PushHello, up: Flow<PushUp>) -> Result<Flow<PushDown>, RelayError> {
        self.check_path(&hello.path)?;
        if hello.via && !self.serves(hello.epoch) {
            return via::push(self, hello, up).await;
        }
        self.check_serving(hello.epoch)?;
        let key = hello.key.as_ref().map(|key| key.0.as_str());
        if !self.admission.admits(&hello.stream, key, &hello.peer) {
            return Err(RelayError::Refused(PublishRefusal::Denied));
        }
        push::serve(self, hello, up).await
    }

    async fn pull(&self, request: PullRequest) -> Result<Flow<PullDown>, RelayError> {
        self.check_path(&request.path)?;
        if request.via && !self.serves(request.epoch) {
            return via::pull(self, request).await;
        }
        self.check_serving(request.epoch)?;
        Ok(pull::serve(self, request))
    }

    async fn follow(&self, hello: FollowHello, up: Flow<FollowUp>) -> Result<Flow<FollowDown>, RelayError> {
        self.check_path(std::slice::from_ref(&hello.member.node))?;
        Ok(follow::serve(&self.streams, &self.stats, hello, up))
    }

    async fn link(&self, hello: LinkHello, up: Flow<LinkUp>) -> Result<Flow<LinkDown>, RelayError> {
        Ok(link::serve(self, hello, up))
    }
}

impl Relay {
    /// Somebody has heard of this epoch: if it is later than ours, we are not active any more, though nobody has told us
    /// (REPLICATION C8).
    fn hear(&self, epoch: Epoch) {
        let known = self.duty.borrow().epoch;
        if epoch <= known {
            return;
        }
        if epoch > self.epoch_believed_max || !known.may_become(epoch) {
            let count = self.stats.epochs_not_believed.fetch_add(1, Ordering::Relaxed) + 1;
            // Whoever says it once says it with every beat.
            if count.is_power_of_two() {
                tracing::warn!(epoch = epoch.0, known = known.0, count, "epoch.not_believed");
            }
        } else {
            self.streams.with(|replica, _| replica.handle_epoch(epoch));
        }
    }

    fn serves(&self, epoch: Epoch) -> bool {
        self.duty.borrow().serving().is_some_and(|ours| epoch <= ours)
    }

    /// Refuses, unless we serve and the asker has not heard of a later epoch than ours.
    fn check_serving(&self, epoch: Epoch) -> Result<(), RelayError> {
        if self.serves(epoch) {
            return Ok(());
        }
        if epoch > self.duty.borrow().epoch {
            self.stats.stale_epoch_rejected.fetch_add(1, Ordering::Relaxed);
        }
        self.hear(epoch);
        Err(not_active(&self.duty.borrow()))
    }

    /// Refuses what has come through this node before.
    fn check_path(&self, path: &[NodeId]) -> Result<(), RelayError> {
        if path.contains(&self.node) { Err(RelayError::Loop) } else { Ok(()) }
    }
}

fn not_active(duty: &Duty) -> RelayError {
    RelayError::NotActive { active: duty.active_at.clone(), epoch: duty.epoch }
}

/// The epoch in which we serve, or what the caller is to be told when we do no longer.
fn epoch(duty: &watch::Receiver<Duty>) -> Result<Epoch, RelayError> {
    let duty = duty.borrow();
    duty.serving().ok_or_else(|| not_active(&duty))
}

/// Waits until we do not serve any more, and says what the caller is to be told.
async fn deposed(duty: &mut watch::Receiver<Duty>) -> RelayError {
    match duty.wait_for(|now| now.serving().is_none()).await {
        Ok(now) => not_active(&now),
        Err(_) => RelayError::Transport("the origin is shutting down".into()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
