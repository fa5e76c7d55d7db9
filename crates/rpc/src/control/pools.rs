//! Pools of origins, and who is active.

use std::{collections::BTreeMap, future::Future};

use cluster::{Epoch, Incarnation, LastChange, Liveness, Mode, NodeId, PoolId, PoolView};

use super::Steps;
use crate::{auth::Caller, status::Failure};

/// Shows the pools, and moves the active role when an operator asks.
pub trait Pools: Send + Sync + 'static {
    /// One pool.
    fn pool(&self, id: &PoolId) -> Option<PoolInfo>;

    /// All pools in any order.
    fn pools(&self) -> Vec<PoolInfo>;

    /// The pools and their changes, from after a revision; from 0 with a snapshot.
    fn watch_pools(&self, from_revision: u64) -> Result<Steps<PoolInfo>, Failure>;

    /// Makes another member active.
    fn promote(&self, caller: Caller, request: Promote) -> impl Future<Output = Result<PoolInfo, Failure>> + Send;
}

/// A pool with what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub struct PoolInfo {
    /// What the record says.
    pub view: PoolView,
    /// The incarnation that was granted the role.
    pub active_incarnation: Option<Incarnation>,
    /// Whether roles move by themselves.
    pub mode: Mode,
    /// What changed the roles last.
    pub last_change: Option<LastChange>,
    /// The random id of the store that keeps the record.
    pub store_id: String,
    /// What is heard of each member, and whether it says itself that it serves in the pool's epoch.
    pub heard: BTreeMap<NodeId, (Liveness, bool)>,
}

/// Asks to make another member active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Promote {
    /// Which pool.
    pub pool: PoolId,
    /// Who.
    pub member: NodeId,
    /// The epoch that the caller has seen.
    pub expected_epoch: Epoch,
    /// Check everything, change nothing.
    pub validate_only: bool,
    /// Why.
    pub reason: String,
}
