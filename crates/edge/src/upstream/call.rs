//! A call that an origin has taken.

use std::{sync::Arc, time::Duration};

use cluster::Epoch;
use media::StreamName;
use rpc::relay::{Flow, PullDown, PushDown, RelayError};
use tokio::sync::watch;
use tokio_stream::StreamExt;

use super::{
    Directing,
    channels::Lease,
    origins::{Leave, Origins, Stance, left},
    pool::Pool,
};
use crate::patience::within;

/// Answers of an origin, as long as they are to be listened to. The connection is held as long as this is.
pub(crate) struct Call<T> {
    pool: Arc<Pool>,
    origins: watch::Receiver<Origins>,
    stance: Stance,
    /// An answer has come, so that the pool knows who serves.
    answered: bool,
    stream: StreamName,
    directing: Directing,
    down: Flow<T>,
    /// An origin that has said nothing for so long is left.
    silence_max: Duration,
    _lease: Lease,
}

/// Why nothing more comes from a call.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum Ended {
    /// The origin ended it in order.
    #[error("the origin ended the call")]
    InOrder,
    /// It failed.
    #[error(transparent)]
    Error(RelayError),
    /// The origin says nothing.
    #[error("the origin is silent")]
    Silent,
    /// There is a better place to ask.
    #[error("{0}")]
    Left(Leave),
    /// The route entries lead elsewhere now.
    #[error("the route has changed")]
    Rerouted,
}

/// Something that an origin says in an epoch.
pub(crate) trait Dated {
    /// The epoch in which the origin is active.
    fn epoch(&self) -> Epoch;
}

impl Dated for PullDown {
    fn epoch(&self) -> Epoch {
        match self {
            Self::Opened { epoch, .. } | Self::Items { epoch, .. } | Self::Heartbeat { epoch, .. } => *epoch,
        }
    }
}

impl Dated for PushDown {
    fn epoch(&self) -> Epoch {
        match self {
            Self::Opened { epoch, .. } | Self::Ack { epoch, .. } | Self::Beat { epoch } => *epoch,
        }
    }
}

impl<T: Dated> Call<T> {
    pub(super) fn new(
        pool: &Arc<Pool>,
        stance: Stance,
        stream: &StreamName,
        directing: Directing,
        (lease, down): (Lease, Flow<T>),
        silence_max: Duration,
    ) -> Self {
        let (pool, origins, stream) = (pool.clone(), pool.watch(), stream.clone());
        Self { pool, origins, stance, answered: false, stream, directing, down, silence_max, _lease: lease }
    }

    /// Who answers.
    pub(crate) fn address(&self) -> &str {
        &self.stance.attempt.address
    }

    /// Whether it passes our call on to the active origin.
    pub(crate) fn is_via(&self) -> bool {
        self.stance.attempt.via
    }

    /// The next answer. Nothing that was said in an epoch which is over comes out here (REPLICATION C8). Safe to drop at
    /// the await.
    pub(crate) async fn next(&mut self) -> Result<T, Ended> {
        let said = tokio::select! {
            biased;
            leave = left(&mut self.origins, &self.stance) => return Err(Ended::Left(leave)),
            () = self.directing.leads_elsewhere(&self.stream, &self.pool) => return Err(Ended::Rerouted),
            said = within(self.silence_max, self.down.next()) => said,
        };
        match said {
            Some(Some(Ok(said))) => self.admit(said),
            Some(Some(Err(error))) => {
                if let RelayError::NotActive { active, epoch } = &error {
                    self.pool.note_not_active(self.address(), *epoch, active.as_deref());
                }
                Err(Ended::Error(error))
            }
            Some(None) => Err(Ended::InOrder),
            None => Err(Ended::Silent),
        }
    }

    fn admit(&mut self, said: T) -> Result<T, Ended> {
        let epoch = said.epoch();
        if !self.answered || epoch != self.stance.epoch {
            if !self.pool.note_serving(&self.stance.attempt, epoch) {
                return Err(Ended::Left(Leave::LaterEpoch));
            }
            self.answered = true;
            self.stance.epoch = epoch;
        }
        Ok(said)
    }
}
