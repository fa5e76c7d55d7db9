//! Which origin serves a stream, and a connection to it.

mod channels;
mod heard;

use std::{sync::Arc, time::Duration};

use cluster::{Epoch, NodeId, PoolView, Protocol, RouteTable, Target};
use dashmap::DashMap;
use futures_util::stream::{BoxStream, StreamExt};
use media::StreamName;
use rpc::{
    auth::Token,
    relay::{PullDown, PullFrom, PullRequest, PushDown, PushHello, PushUp, RelayError, Stream},
};
use tokio::sync::watch;

use crate::patience::within;
use channels::{Channels, Lease};
pub(crate) use heard::Heard;

/// What the edge knows of where streams are, from its own configuration and the control plane.
#[derive(Debug, Clone, Default)]
pub struct Directions {
    /// The route entries of both.
    pub routes: Arc<RouteTable>,
    /// The pools that the control plane knows.
    pub pools: Vec<PoolView>,
}

/// The way to the origins. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Upstream {
    node: NodeId,
    directions: watch::Receiver<Directions>,
    channels: Arc<Channels>,
    /// By route target: pools count their epochs each for itself.
    heard: Arc<DashMap<String, Heard>>,
}

/// A call that an active origin has taken; the connection is held as long as the answers are.
pub(crate) struct Call<T> {
    pub(crate) address: String,
    /// The epochs of the pool that answers.
    pub(crate) heard: Heard,
    pub(crate) down: Stream<T>,
    _lease: Lease,
}

/// How long an origin has to admit a call: one that is frozen must not hold us up while another serves.
const ADMISSION_TIMEOUT: Duration = Duration::from_secs(1);

impl Upstream {
    /// The way to the origins that `directions` name, as this node, with this token.
    pub fn new(node: NodeId, directions: watch::Receiver<Directions>, token: Option<Token>) -> Self {
        Self { node, directions, channels: Arc::new(Channels::new(token)), heard: Arc::default() }
    }

    /// This node.
    pub fn node(&self) -> &NodeId {
        &self.node
    }

    /// Whether some route entry leads this stream to an origin.
    pub fn has_route(&self, name: &StreamName) -> bool {
        self.directions.borrow().routes.resolve(name).is_some()
    }

    /// Completes when the directions have changed since the last call on this clone.
    pub(crate) async fn directions_changed(&mut self) {
        if self.directions.changed().await.is_err() {
            // Whoever gave us directions is gone: they stay as they are.
            std::future::pending::<()>().await;
        }
    }

    /// The highest epoch that any origin has answered with, of whatever pool.
    pub fn highest_epoch(&self) -> Epoch {
        self.heard.iter().map(|heard| heard.epoch()).max().unwrap_or_default()
    }

    /// Asks the origins in turn for a stream.
    pub(crate) async fn pull(&self, name: &StreamName, from: PullFrom) -> Result<Call<PullDown>, UpstreamError> {
        let mut search = self.search(name)?;
        let heard = search.heard.clone();
        while let Some(address) = search.next() {
            let path = vec![self.node.clone()];
            let request = PullRequest { stream: name.clone(), from, epoch: heard.epoch(), path, via: false };
            let asked = async {
                let lease = self.channels.lease(&address).await?;
                let down = lease.pull(request).await?;
                Ok(Call { address: address.clone(), heard: heard.clone(), down, _lease: lease })
            };
            match admitted(asked).await {
                Ok(call) => return Ok(call),
                Err(error) => self.note_failure(&mut search, address, error)?,
            }
        }
        Err(search.failed())
    }

    /// Hands a publication to the first origin that takes it. `up` makes what is sent to the one that is asked.
    pub(crate) async fn push(
        &self,
        hello: PushHello,
        up: impl Fn(Heard) -> BoxStream<'static, PushUp> + Send + Sync,
    ) -> Result<Call<PushDown>, UpstreamError> {
        let mut search = self.search(&hello.stream)?;
        let heard = search.heard.clone();
        while let Some(address) = search.next() {
            let hello = PushHello { epoch: heard.epoch(), edge: self.node.clone(), ..hello.clone() };
            let asked = async {
                let lease = self.channels.lease(&address).await?;
                let down = lease.push(hello, up(heard.clone())).await?;
                Ok(Call { address: address.clone(), heard: heard.clone(), down, _lease: lease })
            };
            match admitted(asked).await {
                Ok(call) => return Ok(call),
                Err(error) => self.note_failure(&mut search, address, error)?,
            }
        }
        Err(search.failed())
    }

    /// Goes on with the search, unless the active origin has said a final word.
    fn note_failure(&self, search: &mut Search, address: String, error: RelayError) -> Result<(), UpstreamError> {
        match error {
            RelayError::NotActive { active, epoch } => {
                search.heard.note(epoch);
                // It knows better than our list.
                search.add(active);
                search.tried.push(format!("{address}: not active"));
            }
            RelayError::Transport(why) => {
                self.channels.forget(&address);
                search.tried.push(format!("{address}: {why}"));
            }
            // Nothing that this origin alone has decided: its tokens or its place in the path may be wrong.
            error @ (RelayError::NotAdmitted(_) | RelayError::Loop | RelayError::Invalid(_)) => {
                tracing::error!(%address, %error, "origin.refuses_us");
                search.tried.push(format!("{address}: {error}"));
            }
            final_word => return Err(UpstreamError::Refused(final_word)),
        }
        Ok(())
    }

    /// Where to ask, best first.
    fn search(&self, name: &StreamName) -> Result<Search, UpstreamError> {
        let directions = self.directions.borrow();
        let Some(route) = directions.routes.resolve(name) else { return Err(UpstreamError::NoRoute) };
        let (key, addresses) = match &route.entry.target {
            Target::Pool(id) => {
                let pool = directions.pools.iter().find(|pool| pool.id == *id);
                let unknown = || UpstreamError::Unreachable(format!("the control plane has named no pool {id} yet"));
                (id.resource(), pool.ok_or_else(unknown)?.peers().map(ToString::to_string).collect())
            }
            Target::Addresses { protocol: Protocol::Headwater, addresses } => {
                let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
                (addresses.join(" "), addresses)
            }
            Target::Addresses { protocol: Protocol::Rtmp, .. } => return Err(UpstreamError::Foreign),
            Target::Refuse => return Err(UpstreamError::NoRoute),
        };
        let heard = self.heard.entry(key).or_default().clone();
        Ok(Search { heard, addresses, at: 0, tried: Vec::new() })
    }
}

/// Addresses to be asked in turn, and what became of those that were.
struct Search {
    heard: Heard,
    addresses: Vec<String>,
    at: usize,
    tried: Vec<String>,
}

impl Search {
    fn next(&mut self) -> Option<String> {
        let next = self.addresses.get(self.at).cloned();
        self.at += 1;
        next
    }

    /// One more address, unless it is on the list.
    fn add(&mut self, address: Option<String>) {
        self.addresses.extend(address.filter(|address| !self.addresses.contains(address)));
    }

    fn failed(self) -> UpstreamError {
        UpstreamError::Unreachable(self.tried.join("; "))
    }
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

impl<T> Call<T> {
    /// The next answer; None when the origin ended the call in order.
    pub(crate) async fn next(&mut self) -> Option<Result<T, RelayError>> {
        self.down.next().await
    }
}
