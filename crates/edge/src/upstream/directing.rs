//! Where the route entries lead.

use std::sync::Arc;

use cluster::{Addresses, NodeId, PoolId, PoolView, Protocol, RouteTable, Target};
use dashmap::DashMap;
use media::StreamName;
use tokio::sync::{Notify, watch};

use super::{UpstreamError, pool::Pool};

/// What the edge knows of where streams are, from its own configuration and the control plane.
#[derive(Debug, Clone, Default)]
pub struct Directions {
    /// The route entries of both.
    pub routes: Arc<RouteTable>,
    /// The pools that the control plane knows.
    pub pools: Vec<PoolView>,
}

/// The directions in force, and what is known of the pools that they lead to. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Directing {
    directions: watch::Receiver<Directions>,
    /// By name; shared by all clones.
    pools: Arc<DashMap<String, Arc<Pool>>>,
    hearing: Arc<Notify>,
}

impl Directing {
    pub(super) fn new(directions: watch::Receiver<Directions>) -> Self {
        Self { directions, pools: Arc::default(), hearing: Arc::default() }
    }

    pub(super) fn has_route(&self, name: &StreamName) -> bool {
        self.directions.borrow().routes.resolve(name).is_some()
    }

    pub(super) fn hearing(&self) -> &Arc<Notify> {
        &self.hearing
    }

    /// The pools that were asked for, or that routes lead to.
    pub(super) fn pools(&self) -> Vec<Arc<Pool>> {
        self.pools.iter().map(|pool| pool.clone()).collect()
    }

    /// The pools that have this address.
    pub(super) fn pools_at(&self, address: &str) -> Vec<Arc<Pool>> {
        let has = |pool: &Arc<Pool>| pool.origins().addresses().any(|other| other == address);
        self.pools.iter().map(|pool| pool.clone()).filter(has).collect()
    }

    /// The pools that a stream may be asked of, best first.
    pub(crate) fn pools_of(&self, name: &StreamName) -> Result<Vec<Arc<Pool>>, UpstreamError> {
        let directions = self.directions.borrow();
        let route = directions.routes.resolve(name).ok_or(UpstreamError::NoRoute)?;
        match &route.entry.target {
            Target::Addresses { protocol: Protocol::Rtmp, .. } => Err(UpstreamError::Foreign),
            Target::Refuse => Err(UpstreamError::NoRoute),
            target => Ok(self.pools_in(target, &directions)),
        }
    }

    /// The pools that any entry leads to; all others that nobody uses are forgotten.
    pub(super) fn update(&mut self) -> Vec<Arc<Pool>> {
        let directions = self.directions.borrow_and_update().clone();
        let targets = directions.routes.entries().map(|(entry, _)| &entry.target);
        let mut routed: Vec<Arc<Pool>> = Vec::new();
        for pool in targets.flat_map(|target| self.pools_in(target, &directions)) {
            if !routed.iter().any(|known| Arc::ptr_eq(known, &pool)) {
                routed.push(pool);
            }
        }
        self.pools.retain(|_, pool| Arc::strong_count(pool) > 1);
        routed
    }

    /// Completes when the directions have changed since the last call on this clone.
    pub(crate) async fn changed(&mut self) {
        if self.directions.changed().await.is_err() {
            // Whoever gave us directions is gone: they stay as they are.
            std::future::pending::<()>().await;
        }
    }

    /// Completes when the stream's entry leads elsewhere than to this pool. One that is refused now stays where it is.
    pub(super) async fn leads_elsewhere(&mut self, name: &StreamName, pool: &Pool) {
        loop {
            self.changed().await;
            let pools = self.pools_of(name);
            if pools.is_ok_and(|pools| pools.iter().all(|other| other.name() != pool.name())) {
                return;
            }
        }
    }

    fn pools_in(&self, target: &Target, directions: &Directions) -> Vec<Arc<Pool>> {
        match target {
            Target::Pools(pools) => pools.iter().map(|id| self.pool(id, directions)).collect(),
            Target::Addresses { addresses, protocol: Protocol::Headwater } => vec![self.vip(addresses, directions)],
            Target::Addresses { protocol: Protocol::Rtmp, .. } | Target::Refuse => Vec::new(),
        }
    }

    fn pool(&self, id: &PoolId, directions: &Directions) -> Arc<Pool> {
        let view = directions.pools.iter().find(|view| view.id == *id);
        let pool = self.entry(id.resource());
        pool.direct(view.map(peers).unwrap_or_default(), view);
        pool
    }

    /// A VIP, or a list of origins. Those of their pool that the control plane knows are asked first: a VIP takes time to
    /// move (OPERATIONS 3).
    fn vip(&self, addresses: &Addresses, directions: &Directions) -> Arc<Pool> {
        let listed: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        let pool = self.entry(listed.join(" "));
        let named = pool.origins().named().map(str::to_owned);
        let is_behind = |view: &&PoolView| {
            let of_member =
                |address: &String| view.members.iter().any(|m| is(&m.public, address) || is(&m.peer, address));
            listed.iter().chain(&named).any(of_member)
        };
        let view = directions.pools.iter().find(is_behind);
        let mut members = view.map(peers).unwrap_or_default();
        let more = listed.into_iter().filter(|address| members.iter().all(|(known, _)| known != address));
        let more: Vec<_> = more.map(|address| (address, None)).collect();
        members.extend(more);
        pool.direct(members, view);
        pool
    }

    fn entry(&self, name: String) -> Arc<Pool> {
        let new = || Arc::new(Pool::new(name.clone(), self.hearing.clone()));
        self.pools.entry(name.clone()).or_insert_with(new).clone()
    }
}

fn is(known: &cluster::Address, address: &str) -> bool {
    known.to_string() == address
}

/// The peer ports of a pool, the active's first.
fn peers(view: &PoolView) -> Vec<(String, Option<NodeId>)> {
    let node = |address: &cluster::Address| {
        view.members.iter().find(|member| member.peer == *address).map(|member| member.member.node.clone())
    };
    view.peers().map(|address| (address.to_string(), node(address))).collect()
}
