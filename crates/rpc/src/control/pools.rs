//! Pools of origins, and who is active.

use std::{
    collections::BTreeMap,
    future::Future,
    time::{Duration, SystemTime},
};

use cluster::{Epoch, Incarnation, LastChange, Liveness, Mode, NodeId, PoolId, PoolView};

use super::Steps;
use crate::{auth::Caller, status::Failure};

/// Shows the pools, and changes them when an operator asks. Every verb returns the pool as it is then.
pub trait Pools: Send + Sync + 'static {
    /// One pool.
    fn pool(&self, id: &PoolId) -> Option<PoolInfo>;

    /// All pools in any order.
    fn pools(&self) -> Vec<PoolInfo>;

    /// The pools and their changes, from after a revision; from 0 with a snapshot.
    fn watch_pools(&self, from_revision: u64) -> Result<Steps<PoolInfo>, Failure>;

    /// Makes another member active.
    fn promote(&self, caller: Caller, request: Promote) -> impl Future<Output = Result<PoolInfo, Failure>> + Send;

    /// Makes the first choice active again: the configured origin, otherwise the one before the last move.
    fn fail_back(&self, caller: Caller, request: FailBack) -> impl Future<Output = Result<PoolInfo, Failure>> + Send;

    /// Stops automation.
    fn hold_pool(&self, caller: Caller, request: HoldPool) -> impl Future<Output = Result<PoolInfo, Failure>> + Send;

    /// Lets roles move by themselves again.
    fn release_pool(
        &self,
        caller: Caller,
        request: ReleasePool,
    ) -> impl Future<Output = Result<PoolInfo, Failure>> + Send;

    /// Takes a member that is not active out of service.
    fn fence_member(
        &self,
        caller: Caller,
        request: FenceMember,
    ) -> impl Future<Output = Result<PoolInfo, Failure>> + Send;

    /// Lets a fenced member in again.
    fn unfence_member(
        &self,
        caller: Caller,
        request: FenceMember,
    ) -> impl Future<Output = Result<PoolInfo, Failure>> + Send;
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
    /// When automation begins again by itself, if the pool is held for a time.
    pub hold_until: Option<SystemTime>,
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
    /// How.
    pub mode: PromoteMode,
    /// The epoch that the caller has seen.
    pub expected_epoch: Epoch,
    /// Check everything, change nothing.
    pub validate_only: bool,
    /// Why.
    pub reason: String,
}

/// How a member is made active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum PromoteMode {
    /// Only a member that is in sync, once all that the present active took is committed.
    #[default]
    Graceful,
    /// Any living member, at once.
    Force,
}

/// Asks to make the first choice active again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailBack {
    /// Which pool.
    pub pool: PoolId,
    /// The epoch that the caller has seen.
    pub expected_epoch: Epoch,
    /// Check everything, change nothing.
    pub validate_only: bool,
    /// Why.
    pub reason: String,
}

/// Asks to stop automation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HoldPool {
    /// Which pool.
    pub pool: PoolId,
    /// The epoch that the caller has seen; none: whichever.
    pub expected_epoch: Option<Epoch>,
    /// For how long; none: until it is released.
    pub duration: Option<Duration>,
    /// Check everything, change nothing.
    pub validate_only: bool,
    /// Why.
    pub reason: String,
}

/// Asks to let roles move by themselves again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReleasePool {
    /// Which pool.
    pub pool: PoolId,
    /// The epoch that the caller has seen; none: whichever.
    pub expected_epoch: Option<Epoch>,
    /// Check everything, change nothing.
    pub validate_only: bool,
    /// Why.
    pub reason: String,
}

/// Asks to take a member out of service, or to let it in again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FenceMember {
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
