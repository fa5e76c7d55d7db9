//! A Link to every origin that a route leads to (REPLICATION L1): beats both ways, and a warm connection for calls.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use cluster::{Epoch, NodeId, NodeKind};
use futures_util::{
    StreamExt,
    future::select_all,
    stream::{self, BoxStream},
};
use rpc::{
    beat::{BEAT, SILENCE, beats},
    relay::{LinkDown, LinkHello, LinkUp, RelayError},
};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep, timeout},
};
use tokio_util::sync::CancellationToken;

use super::{Directing, Upstream, admitted, channels::Channels, pool::Pool};
use crate::{patience::within, retry::Retry};

/// How long the origins have to hear that we leave.
const LEAVE_WAIT: Duration = Duration::from_secs(1);
/// A Link that has stood for so long is not the same trouble again when it breaks.
const STOOD: Duration = Duration::from_secs(1);

impl Upstream {
    /// Holds the Links, one to an address, as the directions change. Until this node is leaving: then each origin is told
    /// so, if that can be done in a second.
    pub async fn keep_links(mut self, leaving: CancellationToken) {
        let mut tasks = JoinSet::new();
        let mut held: HashMap<String, AbortHandle> = HashMap::new();
        loop {
            let pools = self.directing.update();
            let news = news_of(&pools);
            let wanted: HashSet<String> = pools.iter().flat_map(|pool| pool.origins().to_link()).collect();
            held.retain(|address, task| {
                let stays = wanted.contains(address) && !task.is_finished();
                if !stays {
                    task.abort();
                    pools.iter().for_each(|pool| pool.note_unlinked(address));
                }
                stays
            });
            for address in wanted {
                held.entry(address).or_insert_with_key(|address| {
                    let (node, channels, directing) =
                        (self.node.clone(), self.channels.clone(), self.directing.clone());
                    let (address, leaving) = (address.clone(), leaving.clone());
                    tasks.spawn(Link { node, channels, directing, address, leaving }.keep())
                });
            }
            // In this order: a Link that has ended because we leave is not opened again.
            tokio::select! {
                biased;
                () = leaving.cancelled() => break,
                () = self.directing.changed() => {}
                () = news => {}
                Some(_aborted) = tasks.join_next() => {}
            }
        }
        let told = timeout(LEAVE_WAIT, async { while tasks.join_next().await.is_some() {} }).await;
        if told.is_err() {
            tracing::debug!("link.left_without_a_word");
        }
    }
}

/// Completes when there is news of any of these, from now on.
fn news_of(pools: &[Arc<Pool>]) -> impl Future<Output = ()> + use<> {
    let watched: Vec<_> = pools.iter().map(|pool| pool.watch()).collect();
    async move {
        let changes = watched.into_iter().map(|mut origins| {
            Box::pin(async move {
                if origins.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            })
        });
        let changes: Vec<_> = changes.collect();
        if changes.is_empty() {
            std::future::pending::<()>().await;
        }
        select_all(changes).await;
    }
}

/// The Link to one address, for all pools that have it.
struct Link {
    node: NodeId,
    channels: Arc<Channels>,
    directing: Directing,
    address: String,
    leaving: CancellationToken,
}

impl Link {
    /// Opens it again whenever it breaks, until we leave.
    async fn keep(self) {
        let mut retry = Retry::default();
        loop {
            let begin = Instant::now();
            let broken = self.hold().await;
            if self.leaving.is_cancelled() {
                return;
            }
            if broken == RelayError::Unheard && self.is_heard() {
                // Our beats came late, and its answer came: it is there, and the Link is opened anew.
                tracing::info!(origin = self.address, "link.we_were_late");
                continue;
            }
            if self.is_heard() {
                tracing::warn!(origin = self.address, reason = %broken, "link.lost");
            }
            self.pools().iter().for_each(|pool| pool.note_silence(&self.address));
            if begin.elapsed() > STOOD {
                retry.reset();
            }
            if self.leaving.run_until_cancelled(sleep(retry.next_delay())).await.is_none() {
                return;
            }
        }
    }

    /// From connecting to its end, and why it ended.
    async fn hold(&self) -> RelayError {
        let opening = async {
            let origin = self.channels.connect(&self.address).await?;
            let hello = LinkHello { node: self.node.clone(), kind: NodeKind::Edge, epoch: epoch_of(&self.pools()) };
            origin.link(hello, self.says()).await
        };
        let opened = match self.is_heard() {
            // It has answered a moment ago, and is not to count as heard for longer than any other.
            true => within(SILENCE, opening).await.unwrap_or_else(|| Err(no_beat())),
            false => admitted(opening).await,
        };
        let mut down = match opened {
            Ok(down) => down,
            Err(error) => return error,
        };
        let mut warm = None;
        loop {
            match within(SILENCE, down.next()).await {
                Some(Some(Ok(LinkDown::Beat { epoch, role, active }))) => {
                    if !self.is_heard() {
                        tracing::info!(origin = self.address, %epoch, "link.heard");
                    }
                    self.pools().iter().for_each(|pool| pool.note_beat(&self.address, epoch, role, active.as_deref()));
                    if warm.is_none() {
                        // So that a call which comes here finds it connected.
                        let lease = self.channels.lease(&self.address);
                        warm = lease.origin().await.is_ok().then_some(lease);
                    }
                }
                Some(Some(Err(error))) => return error,
                Some(None) => return RelayError::Transport("the origin ended the Link".to_owned()),
                None => return no_beat(),
            }
        }
    }

    /// What we say: that we are there, and whether we hear the other side; last, that we leave.
    fn says(&self) -> BoxStream<'static, LinkUp> {
        let state = (beats(BEAT), self.directing.clone(), self.address.clone(), self.leaving.clone());
        stream::unfold(Some(state), |state| async {
            let (mut ticks, directing, address, leaving) = state?;
            let stays = leaving.run_until_cancelled(ticks.tick()).await.is_some();
            let pools = directing.pools_at(&address);
            let epoch = epoch_of(&pools);
            if !stays {
                return Some((LinkUp::Leave { epoch }, None));
            }
            let beat = LinkUp::Beat { epoch, hears: hears(&pools, &address) };
            Some((beat, Some((ticks, directing, address, leaving))))
        })
        .boxed()
    }

    fn pools(&self) -> Vec<Arc<Pool>> {
        self.directing.pools_at(&self.address)
    }

    fn is_heard(&self) -> bool {
        hears(&self.pools(), &self.address)
    }
}

fn no_beat() -> RelayError {
    RelayError::Transport(format!("no beat in {} ms", SILENCE.as_millis()))
}

fn hears(pools: &[Arc<Pool>], address: &str) -> bool {
    pools.iter().any(|pool| pool.origins().hears(address))
}

fn epoch_of(pools: &[Arc<Pool>]) -> Epoch {
    pools.iter().map(|pool| pool.epoch()).max().unwrap_or_default()
}
