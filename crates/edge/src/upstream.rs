//! Which origin serves a stream, and a connection to it.
//!
//! ```text
//! directions ─▶ Directing ─▶ Pool (one for each target) ◀─ beats ─ Links, one to each address
//!                              │ who is active, in which epoch
//!                              ▼
//!               pull, push ─▶ Search ─▶ Call, until there is a better place to ask
//! ```

mod call;
mod channels;
mod choice;
mod directing;
mod links;
mod origin;
mod origins;
mod pool;
mod search;
#[cfg(test)]
pub(crate) mod testing;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use cluster::{Epoch, NodeId, PoolId, RecordVersion};
use futures_util::{future::BoxFuture, stream::BoxStream};
use media::StreamName;
use rpc::{
    auth::Token,
    relay::{Flow, PullDown, PullFrom, PullRequest, PushDown, PushHello, PushUp, RelayError},
};
use tokio::sync::{Notify, watch};

use crate::patience::within;
use call::Dated;
pub(crate) use call::{Call, Ended};
use channels::Channels;
pub(crate) use choice::Choice;
pub(crate) use directing::Directing;
pub use directing::Directions;
use origin::{Dial, Grpc, Origin};
pub(crate) use origins::Origins;
use origins::Stance;
pub(crate) use pool::Pool;
use search::Search;

/// The way to the origins. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Upstream {
    node: NodeId,
    directing: Directing,
    channels: Arc<Channels>,
}

/// How long an origin has to admit a call: one that is frozen must not hold us up while another serves.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(1);
/// An origin that knows what it has says something on each pull once a second. Its Link tells sooner that it is gone.
const PULL_SILENCE: Duration = Duration::from_secs(3);
/// It beats on each push every 100 ms.
const PUSH_SILENCE: Duration = Duration::from_secs(1);

impl Upstream {
    /// The way to the origins that `directions` name, as this node, with this token.
    pub fn new(node: NodeId, directions: watch::Receiver<Directions>, token: Option<Token>) -> Self {
        Self::over(node, directions, Arc::new(Grpc(token)))
    }

    fn over(node: NodeId, directions: watch::Receiver<Directions>, dial: Arc<dyn Dial>) -> Self {
        Self { node, directing: Directing::new(directions), channels: Channels::new(dial) }
    }

    /// This node.
    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// Whether some route entry leads this stream to an origin.
    pub fn has_route(&self, name: &StreamName) -> bool {
        self.directing.has_route(name)
    }

    /// The highest epoch that any origin has answered with, of whatever pool.
    pub fn highest_epoch(&self) -> Epoch {
        self.directing.pools().iter().map(|pool| pool.epoch()).max().unwrap_or_default()
    }

    /// The same by pool; under None, of those that the control plane has not named.
    pub fn pool_epochs(&self) -> BTreeMap<Option<PoolId>, Epoch> {
        let mut epochs = BTreeMap::new();
        for pool in self.directing.pools() {
            let origins = pool.origins();
            if origins.epoch() > Epoch(0) {
                let highest = epochs.entry(origins.pool().cloned()).or_default();
                *highest = origins.epoch().max(*highest);
            }
        }
        epochs
    }

    /// Of which records of each pool control planes have told.
    pub fn pool_records(&self) -> BTreeMap<PoolId, Vec<RecordVersion>> {
        let pools = self.directing.pools();
        let of = |origins: &Origins| Some((origins.pool()?.clone(), origins.records().all().to_vec()));
        pools.iter().filter_map(|pool| of(&pool.origins())).collect()
    }

    /// The nodes whose beats have come in the last 400 ms, of all pools that routes lead to.
    pub fn hears(&self) -> Vec<NodeId> {
        let pools = self.directing.pools();
        let mut heard: Vec<_> =
            pools.iter().flat_map(|pool| pool.origins().heard().cloned().collect::<Vec<_>>()).collect();
        heard.sort_unstable();
        heard.dedup();
        heard
    }

    /// Notified when [`Upstream::hears`] has changed.
    pub fn hearing(&self) -> Arc<Notify> {
        self.directing.hearing().clone()
    }

    /// Origins that routes lead to, those of them that are heard, and pools of which nobody is known to be active.
    pub(crate) fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for pool in self.directing.pools() {
            let (origins, heard) = pool.origins().counts();
            counts.origins += origins;
            counts.heard += heard;
            counts.pools_without_active += usize::from(!pool.origins().has_active());
        }
        counts
    }

    /// Which way streams go, for one who follows it.
    pub(crate) fn directing(&self) -> Directing {
        self.directing.clone()
    }

    /// Asks the origins of a pool in turn for a stream. What stands at the position it is to begin after came in `had_in`.
    pub(crate) async fn pull(
        &self,
        pool: &Arc<Pool>,
        stream: &StreamName,
        from: PullFrom,
        had_in: Epoch,
    ) -> Result<Call<PullDown>, UpstreamError> {
        let ask = |origin: &dyn Origin, stance: &Stance| {
            let path = vec![self.node.clone()];
            let via = stance.attempt.via;
            origin.pull(PullRequest { stream: stream.clone(), from, had_in, epoch: stance.epoch, path, via })
        };
        self.ask(pool, stream, PULL_SILENCE, ask).await
    }

    /// Hands a publication to the first origin of a pool that takes it. `up` makes what is sent to the one that is asked.
    pub(crate) async fn push(
        &self,
        pool: &Arc<Pool>,
        hello: &PushHello,
        up: impl Fn() -> BoxStream<'static, PushUp> + Sync,
    ) -> Result<Call<PushDown>, UpstreamError> {
        let ask = |origin: &dyn Origin, stance: &Stance| {
            let path = vec![self.node.clone()];
            let (epoch, via) = (stance.epoch, stance.attempt.via);
            origin.push(PushHello { epoch, via, path, ..hello.clone() }, up())
        };
        self.ask(pool, &hello.stream, PUSH_SILENCE, ask).await
    }

    async fn ask<T: Dated>(
        &self,
        pool: &Arc<Pool>,
        stream: &StreamName,
        silence_max: Duration,
        ask: impl Fn(&dyn Origin, &Stance) -> BoxFuture<'static, Result<Flow<T>, RelayError>> + Sync,
    ) -> Result<Call<T>, UpstreamError> {
        let mut search = Search::new(pool);
        while let Some(attempt) = search.next() {
            let stance = pool.stance(attempt.clone());
            let mut origins = pool.watch();
            let lease = self.channels.lease(&attempt.address);
            let asked = async { ask(lease.origin().await?.as_ref(), &stance).await };
            let asked = tokio::select! {
                biased;
                () = origins::better(&mut origins, &stance) => {
                    search = Search::new(pool);
                    continue;
                }
                asked = admitted(asked) => asked,
            };
            match asked {
                Ok(down) => {
                    return Ok(Call::new(pool, stance, stream, self.directing.clone(), (lease, down), silence_max));
                }
                Err(error) => {
                    // By way of another, what fails is the way from there on. Should that one be gone as well, the attempt at
                    // it itself, which follows, finds out.
                    if !attempt.via
                        && let RelayError::Transport(_) = error
                    {
                        self.channels.forget(&lease);
                    }
                    search.note_failure(&attempt, error)?;
                }
            }
        }
        Err(search.failed())
    }
}

/// What there is of origins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Counts {
    /// Addresses that routes lead to.
    pub(crate) origins: usize,
    /// Those whose beats come.
    pub(crate) heard: usize,
    /// Pools of which no active origin is known.
    pub(crate) pools_without_active: usize,
}

async fn admitted<T>(asked: impl Future<Output = Result<T, RelayError>> + Send) -> Result<T, RelayError> {
    let late = || Err(RelayError::Transport(format!("no answer in {} ms", ADMISSION_TIMEOUT.as_millis())));
    within(ADMISSION_TIMEOUT, asked).await.unwrap_or_else(late)
}

/// Why no origin serves.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum UpstreamError {
    /// No route entry matches the stream.
    #[error("no route entry matches")]
    NoRoute,
    /// The route leads to a foreign RTMP server, which this version does not fetch from.
    #[error("the route leads to a foreign RTMP server; only Headwater origins are served so far")]
    Foreign,
    /// No origin could be reached, or none is active.
    #[error("no origin serves: {0}")]
    Unreachable(String),
    /// The active origin has answered, and the answer is no.
    #[error(transparent)]
    Refused(RelayError),
}
