//! What edges ask of this origin: to take publications in (Push) and to hand streams out (Pull).

mod pull;
mod push;

use std::sync::{Arc, atomic::Ordering};

use cluster::{Epoch, NodeId};
use daemon::Admission;
use rpc::relay::{PublishRefusal, PullDown, PullRequest, PushDown, PushHello, PushUp, RelayError, Stream};
use tokio::sync::watch;

use crate::{live::Streams, role::Role, stats::Stats};

/// The origin as edges see it.
#[derive(Debug, Clone)]
pub struct Relay {
    /// This node, to see a request that comes round in a circle.
    pub node: NodeId,
    /// The streams.
    pub streams: Arc<Streams>,
    /// Whether this origin may serve.
    pub role: watch::Receiver<Role>,
    /// Who may publish.
    pub admission: Arc<Admission>,
    /// What is counted.
    pub stats: Arc<Stats>,
}

impl rpc::relay::Relay for Relay {
    async fn push(&self, hello: PushHello, up: Stream<PushUp>) -> Result<Stream<PushDown>, RelayError> {
        let role = self.serving(hello.epoch)?;
        let key = hello.key.as_ref().map(|key| key.0.as_str());
        if !self.admission.admits(&hello.stream, key, &hello.peer) {
            return Err(RelayError::Refused(PublishRefusal::Denied));
        }
        push::serve(self, hello, up, role)
    }

    async fn pull(&self, request: PullRequest) -> Result<Stream<PullDown>, RelayError> {
        let role = self.serving(request.epoch)?;
        if request.path.contains(&self.node) {
            return Err(RelayError::Loop);
        }
        Ok(pull::serve(self, request, role))
    }
}

impl Relay {
    /// Our role, if we serve and the asker has not heard of a later epoch than ours.
    fn serving(&self, epoch: Epoch) -> Result<Role, RelayError> {
        let role = self.role.borrow().clone();
        if epoch > role.epoch {
            self.stats.stale_epoch_rejected.fetch_add(1, Ordering::Relaxed);
        }
        if !role.active || epoch > role.epoch {
            return Err(not_active(&role));
        }
        Ok(role)
    }
}

fn not_active(role: &Role) -> RelayError {
    RelayError::NotActive { active: role.active_at.clone(), epoch: role.epoch }
}

/// Waits until the role is no longer the one that a call was admitted in, and says what the caller is to be told.
async fn deposed(role: &mut watch::Receiver<Role>, held: &Role) -> RelayError {
    match role.wait_for(|now| now != held).await {
        Ok(now) => not_active(&now),
        Err(_) => RelayError::Transport("the origin is shutting down".into()),
    }
}

#[cfg(test)]
mod tests;
