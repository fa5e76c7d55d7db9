//! A Link to every origin that a route leads to (REPLICATION L1): beats both ways, and a warm connection for calls.

use std::{collections::HashMap, sync::Arc, time::Duration};

use cluster::{NodeId, NodeKind};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use rpc::relay::{LinkDown, LinkHello, LinkUp, RelayError};
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::{Upstream, admitted, channels::Channels, pool::Pool};
use crate::{patience::within, retry::Retry};

/// How often each side says that it is there.
const BEAT: Duration = Duration::from_millis(100);
/// Beats that have not come for so long will not come (REPLICATION L2).
const SILENCE: Duration = Duration::from_millis(400);
/// A Link that has stood for so long is not the same trouble again when it breaks.
const STOOD: Duration = Duration::from_secs(1);

impl Upstream {
    /// Holds the Links, as the directions change. Until it is dropped.
    pub async fn keep_links(mut self) {
        let mut tasks = JoinSet::new();
        let mut held: HashMap<(String, String), AbortHandle> = HashMap::new();
        loop {
            let pools = self.directing.update();
            let mut wanted = HashMap::new();
            for pool in &pools {
                let addresses: Vec<_> = pool.origins().addresses().map(str::to_owned).collect();
                wanted.extend(addresses.into_iter().map(|address| ((pool.name().to_owned(), address), pool.clone())));
            }
            held.retain(|place, task| {
                let stays = wanted.contains_key(place) && !task.is_finished();
                if !stays {
                    task.abort();
                }
                stays
            });
            for (place, pool) in wanted {
                held.entry(place.clone()).or_insert_with(|| {
                    let (node, channels) = (self.node.clone(), self.channels.clone());
                    tasks.spawn(Link { node, channels, pool, address: place.1 }.keep())
                });
            }
            let renamed = news_of_names(&pools);
            tokio::select! {
                () = self.directing.changed() => {}
                () = renamed => {}
                Some(_ended) = tasks.join_next() => {}
            }
        }
    }
}

/// Completes when a VIP has told who is behind it, which it had not.
async fn news_of_names(pools: &[Arc<Pool>]) {
    let watched = pools.iter().map(|pool| {
        let mut origins = pool.watch();
        let named = origins.borrow_and_update().named().map(str::to_owned);
        async move {
            let other = origins.wait_for(|origins| origins.named() != named.as_deref()).await.is_ok();
            if !other {
                std::future::pending::<()>().await;
            }
        }
    });
    let watched: Vec<_> = watched.map(Box::pin).collect();
    if watched.is_empty() {
        std::future::pending::<()>().await;
    }
    futures_util::future::select_all(watched).await;
}

/// The Link to one origin.
struct Link {
    node: NodeId,
    channels: Arc<Channels>,
    pool: Arc<Pool>,
    address: String,
}

impl Link {
    /// Opens it again whenever it breaks.
    async fn keep(self) {
        let mut retry = Retry::default();
        loop {
            let begin = Instant::now();
            let broken = self.hold().await;
            let was_heard = self.pool.origins().hears(&self.address);
            self.pool.note_silence(&self.address);
            if was_heard {
                tracing::warn!(pool = self.pool.name(), origin = self.address, reason = %broken, "link.lost");
            }
            if begin.elapsed() > STOOD {
                retry.reset();
            }
            sleep(retry.next_delay()).await;
        }
    }

    /// From connecting to its end, and why it ended.
    async fn hold(&self) -> RelayError {
        let opening = async {
            let origin = self.channels.connect(&self.address).await?;
            let hello = LinkHello { node: self.node.clone(), kind: NodeKind::Edge, epoch: self.pool.epoch() };
            origin.link(hello, self.beats()).await
        };
        let mut down = match admitted(opening).await {
            Ok(down) => down,
            Err(error) => return error,
        };
        let mut warm = None;
        loop {
            match within(SILENCE, down.next()).await {
                Some(Some(Ok(LinkDown::Beat { epoch, role, active }))) => {
                    if !self.pool.origins().hears(&self.address) {
                        tracing::debug!(pool = self.pool.name(), origin = self.address, "link.heard");
                    }
                    self.pool.note_beat(&self.address, epoch, role, active.as_deref());
                    if warm.is_none() {
                        // So that a call which comes here finds it connected.
                        warm = self.channels.lease(&self.address).await.ok();
                    }
                }
                Some(Some(Err(error))) => return error,
                Some(None) => return RelayError::Transport("the origin ended the Link".to_owned()),
                None => return RelayError::Transport(format!("no beat in {} ms", SILENCE.as_millis())),
            }
        }
    }

    /// What we say: that we are there, and whether we hear the other side.
    fn beats(&self) -> BoxStream<'static, LinkUp> {
        let mut ticks = interval(BEAT);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let state = (ticks, self.pool.clone(), self.address.clone());
        stream::unfold(state, |(mut ticks, pool, address)| async {
            ticks.tick().await;
            let beat = LinkUp::Beat { epoch: pool.epoch(), hears: pool.origins().hears(&address) };
            Some((beat, (ticks, pool, address)))
        })
        .boxed()
    }
}
