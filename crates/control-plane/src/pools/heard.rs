//! What nodes say on their sessions, as it concerns the pools.

use std::time::Instant;

use cluster::{EdgeReport, Member, Node, NodeId, NodeKind, Pool, PoolReport, SyncRefused, SyncRequest};

use crate::plane::{ControlPlane, lock};

impl ControlPlane {
    /// A node has opened a session: it is known, has not said yet whom it hears, and is to be told its role.
    pub(crate) fn introduce_to_pools(&self, member: &Member) {
        let Some(node) = self.known(&member.node) else { return };
        let mut pools = lock(&self.inner.pools);
        match node.registration.kind {
            NodeKind::Edge => {
                // Of which pool, its first beat says.
                let heard = node.registration.highest_epoch;
                pools.values_mut().for_each(|pool| pool.handle_epoch(&member.node, heard));
            }
            NodeKind::Origin => {
                if let Some((pool, report)) = pool_and_report(&mut pools, node) {
                    pool.handle_opened(member);
                    pool.handle_report(PoolReport { hears: None, ..report }, Instant::now());
                }
            }
        }
        drop(pools);
        self.inner.pools_changed.notify_one();
    }

    /// A node beats. What an edge says concerns every pool of which it hears a member.
    pub(crate) fn report_to_pools(&self, id: &NodeId) {
        let Some(node) = self.known(id) else { return };
        let mut pools = lock(&self.inner.pools);
        let now = Instant::now();
        let news = match node.registration.kind {
            NodeKind::Edge => {
                let (edge, beat) = (node.registration.member, node.beat);
                let report = |pool| EdgeReport {
                    edge: edge.clone(),
                    highest_epoch: beat.highest_epoch,
                    pool_epoch: beat.epoch_of(pool),
                    records: beat.pool_records.get(pool).cloned().unwrap_or_default(),
                    hears: beat.hears.iter().cloned().collect(),
                    late: beat.load.task_lag,
                };
                let news = pools.iter_mut().map(|(name, pool)| pool.handle_edge(report(name), now));
                news.filter(|news| *news).count() > 0
            }
            NodeKind::Origin => {
                pool_and_report(&mut pools, node).is_some_and(|(pool, report)| pool.handle_report(report, now))
            }
        };
        drop(pools);
        if news {
            self.inner.pools_changed.notify_one();
        }
    }

    /// The session of a node ended.
    pub(crate) fn gone_from_pools(&self, member: &Member) {
        let now = Instant::now();
        for pool in lock(&self.inner.pools).values_mut() {
            pool.handle_gone(member, now);
            pool.handle_edge_gone(&member.node, now);
        }
        self.inner.pools_changed.notify_one();
    }

    /// A node is no longer in the list.
    pub(crate) fn left_pools(&self, node: &NodeId) {
        lock(&self.inner.pools).values_mut().for_each(|pool| pool.handle_left(node));
    }

    /// An active origin asks for a change of the in-sync set. The answer is the next record.
    pub(crate) fn sync_requested(&self, from: &Member, request: SyncRequest) {
        let outcome = match lock(&self.inner.pools).get_mut(&request.pool) {
            Some(pool) => pool.handle_sync(from, request),
            None => Err(SyncRefused::OtherPool),
        };
        if let Err(why) = outcome {
            let reason = match why {
                SyncRefused::OtherPool => "SYNC_OTHER_POOL",
                SyncRefused::NotActive => "SYNC_NOT_ACTIVE",
                SyncRefused::Stale { .. } => "SYNC_STALE",
            };
            match why {
                // The record has changed while the request was on its way: the origin asks again.
                SyncRefused::Stale { .. } => tracing::debug!(node = %from.node, %why, "pool.sync_refused"),
                _ => tracing::info!(node = %from.node, %why, "pool.sync_refused"),
            }
            self.inner.metrics.refused.with([reason]).inc();
        }
        self.inner.pools_changed.notify_one();
    }

    /// Something else that an origin says concerns its pool.
    pub(crate) fn with_pools(&self, tell: impl Fn(&mut Pool)) {
        lock(&self.inner.pools).values_mut().for_each(tell);
        self.inner.pools_changed.notify_one();
    }

    fn known(&self, id: &NodeId) -> Option<Node> {
        lock(&self.inner.members).get(id).cloned()
    }
}

/// What an origin last said of itself, and the pool that it concerns.
fn pool_and_report(
    pools: &mut std::collections::BTreeMap<cluster::PoolId, Pool>,
    node: Node,
) -> Option<(&mut Pool, PoolReport)> {
    let Node { registration, beat, .. } = node;
    let pool = pools.get_mut(registration.pool.as_ref()?)?;
    let said = beat.role.is_some() || beat.serving.is_some();
    let report = PoolReport {
        member: registration.member,
        public: registration.addresses.public?,
        peer: registration.addresses.peer?,
        highest_epoch: beat.highest_epoch.max(registration.highest_epoch),
        serving: if said { beat.serving } else { registration.serving },
        head: beat.head,
        hears: Some(beat.hears.into_iter().collect()),
        record: beat.record,
        first_frame: beat.first_frame,
        late: beat.load.task_lag,
    };
    Some((pool, report))
}
