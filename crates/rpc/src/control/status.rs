//! The cluster on one page.

use std::time::{Duration, SystemTime};

use super::{Event, NodeInfo, PoolInfo};

/// Answers how the cluster is.
pub trait Cluster: Send + Sync + 'static {
    /// How it is now.
    fn cluster_status(&self) -> ClusterStatus;
}

/// How the cluster is.
#[derive(Debug, Clone, PartialEq)]
pub struct ClusterStatus {
    /// The version of the control plane's program.
    pub version: String,
    /// How long the control plane has been up.
    pub uptime: Duration,
    /// When this was put together.
    pub time: SystemTime,
    /// Every pool by name.
    pub pools: Vec<PoolInfo>,
    /// Every node by name.
    pub nodes: Vec<NodeInfo>,
    /// How many nodes are in which state.
    pub counts: NodeCounts,
    /// How many route entries there are.
    pub routes: u32,
    /// How many streams some node holds.
    pub streams: u32,
    /// How many sessions of encoders there are.
    pub publishers: u32,
    /// How many sessions of viewers there are.
    pub viewers: u32,
    /// What is wrong, a sentence each.
    pub problems: Vec<String>,
    /// The store.
    pub store: StoreStatus,
    /// The last events, newest first.
    pub events: Vec<Event>,
}

/// How many nodes are in which state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NodeCounts {
    /// They beat.
    pub alive: u32,
    /// No beat for too long.
    pub silent: u32,
    /// Their session is closed.
    pub gone: u32,
    /// They were told to drain.
    pub draining: u32,
}

/// How the store is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreStatus {
    /// What it is.
    pub kind: String,
    /// Its random id.
    pub id: String,
    /// The revision of its last change.
    pub revision: u64,
    /// Why it can no longer be written.
    pub error: Option<String>,
    /// How long the last commit took.
    pub last_commit: Duration,
}
