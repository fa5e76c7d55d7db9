//! Pools: the rules of `cluster` on a clock, a disk and a network.

mod drive;
mod heard;
mod operators;
pub(crate) mod told;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use cluster::{Node, NodeId, NodeKind, Pool, PoolChange, PoolId, PoolRecord};
use rpc::{
    control::PoolInfo,
    status::{Code, Failure},
};

use crate::plane::{ControlPlane, lock};

impl ControlPlane {
    /// A pool begins with its first origin.
    pub(crate) fn ensure_pool(&self, id: &PoolId) -> Result<(), Failure> {
        if lock(&self.inner.pools).contains_key(id) {
            return Ok(());
        }
        // What edges have said before there was the pool may be of it: the store may have been lost.
        let is_edge = |node: &&Node| node.registration.kind == NodeKind::Edge;
        let edges: Vec<_> = lock(&self.inner.members).nodes().filter(is_edge).cloned().collect();
        let mut pools = lock(&self.inner.pools);
        if pools.len() >= POOLS_MAX {
            let message = format!("there are {POOLS_MAX} pools already");
            return Err(Failure::new(Code::ResourceExhausted, "TOO_MANY_POOLS", message));
        }
        let pool = Pool::new(PoolRecord::new(id.clone()), self.inner.config.rules(id), self.inner.started);
        let mut pool = pool.granting_as(&self.inner.granter);
        for Node { registration, beat, .. } in edges {
            pool.handle_epochs(&registration.member.node, beat.highest_epoch, beat.epoch_of(id));
        }
        // Another origin may have come meanwhile.
        pools.entry(id.clone()).or_insert(pool);
        Ok(())
    }

    /// What takes a node out of a pool; none when it is not in it. The active cannot be taken out.
    pub(crate) fn pool_without(&self, id: &PoolId, node: &NodeId) -> Result<Option<PoolChange>, Failure> {
        let pools = lock(&self.inner.pools);
        let Some(pool) = pools.get(id) else { return Ok(None) };
        if pool.record().active.as_ref().is_some_and(|active| active.node == *node) {
            let (node_name, pool_name) = (node.resource(), id.resource());
            let message = format!("{node_name} is the active origin of {pool_name}: promote another member first");
            return Err(Failure::new(Code::FailedPrecondition, "NODE_IS_ACTIVE", message)
                .with("node", node.resource())
                .with("pool", id.resource())
                .with_precondition("ROLE", id.resource(), "promote another member first"));
        }
        Ok(pool.without(node))
    }

    /// Brings what watchers see of each pool up to date.
    pub(crate) fn refresh_pools(&self) {
        let _alone = lock(&self.inner.pool_refresh);
        let records: Vec<_> = lock(&self.inner.pools).values().map(|pool| pool.shown().clone()).collect();
        let actives = records.iter().filter_map(|record| Some(record.active.as_ref()?.node.clone())).collect();
        lock(&self.inner.directory).set_actives(actives);
        for record in records {
            let pool = record.id.as_str();
            let metrics = &self.inner.metrics;
            metrics.epoch.with([pool]).set(record.epoch.0 as f64);
            metrics.in_sync.with([pool]).set(record.in_sync.len() as f64);
            metrics.hold.with([pool]).set(if record.hold.is_some() { 1.0 } else { 0.0 });
            let name = record.id.resource();
            let info = self.pool_info(record);
            if self.inner.pool_infos.get(&name).as_ref() != Some(&info) {
                self.inner.pool_infos.put(&name, info);
            }
        }
    }

    fn pool_info(&self, record: PoolRecord) -> PoolInfo {
        let members = lock(&self.inner.members);
        let heard = |node: &NodeId| {
            let known = members.get(node)?;
            Some((node.clone(), (known.liveness, known.beat.serving == Some(record.epoch))))
        };
        let until = record.hold.as_ref().and_then(|hold| hold.until_unix_ms);
        PoolInfo {
            heard: record.members.keys().filter_map(heard).collect::<BTreeMap<_, _>>(),
            active_incarnation: record.active.as_ref().map(|active| active.incarnation),
            mode: record.mode,
            hold_until: until.map(|ms| SystemTime::UNIX_EPOCH + Duration::from_millis(ms)),
            last_change: record.last_change.clone(),
            store_id: self.inner.store_id.clone(),
            view: record.view(),
        }
    }

    /// What is wrong with the pools at this moment, for people.
    pub(crate) fn pool_problems(&self) -> Vec<String> {
        let pools = lock(&self.inner.pools);
        let mut problems = Vec::new();
        for pool in pools.values() {
            let (record, name) = (pool.record(), pool.record().id.resource());
            if let Some(hold) = &record.hold {
                problems.push(format!("{name} is held: {}", hold.by.reason));
            }
            if record.active.is_some() && record.in_sync.len() == 1 && record.members.len() > 1 {
                problems.push(format!("{name}: no standby is in sync"));
            }
            problems.extend(pool.alarms().map(|(alarm, evidence)| format!("{name}: {}: {evidence}", alarm.as_str())));
        }
        problems
    }
}

fn unknown_pool<'a>(id: &PoolId, known: impl Iterator<Item = &'a PoolId>) -> Failure {
    let known: Vec<_> = known.map(PoolId::resource).collect();
    let others = if known.is_empty() { "none at all yet".to_owned() } else { known.join(", ") };
    let message = format!("there is no origin pool {}; there are {others}", id.resource());
    let failure = Failure::new(Code::NotFound, "ORIGIN_POOL_NOT_FOUND", message);
    failure.with("name", id.resource()).with("pools", others)
}

/// Pools that a control plane may keep.
const POOLS_MAX: usize = 256;
