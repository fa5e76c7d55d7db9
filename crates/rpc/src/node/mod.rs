//! What every process answers about itself: a [`Node`] behind `headwater.node.v1.NodeService`.

mod identity;
mod log_level;
mod page;
mod service;
mod wire;

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

pub use cluster::{LocalSession, Role, SessionKind, SessionRegister};
pub use identity::Identity;
pub use log_level::set_log_level;
use media::{PublicationId, StreamName};

use crate::status::Failure;

/// What a process does for operators, whether they ask it or the control plane.
pub trait Operated: Send + Sync + 'static {
    /// Who is connected to it.
    fn register(&self) -> &dyn SessionRegister;

    /// Begins to drain; `deadline` is how long what runs may go on, where the caller said so.
    fn begin_drain(&self, deadline: Option<Duration>, reason: &str);
}

/// One process, for those who operate it.
pub trait Node: Operated {
    /// That it is there, and as what.
    fn ping(&self) -> Ping;

    /// One page about it.
    fn status(&self) -> NodeStatus;

    /// The streams that it holds now, in any order.
    fn streams(&self) -> Vec<LocalStream>;

    /// Logs `target` (everything, when empty) at `level` for `ttl`; returns until when.
    fn set_log_level(&self, target: &str, level: &str, ttl: Duration) -> Result<SystemTime, Failure>;

    /// The configuration in force as YAML, secrets masked.
    fn effective_config(&self) -> String;
}

/// What a process is in the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeKind {
    /// A control plane.
    ControlPlane,
    /// An origin.
    Origin,
    /// An edge.
    Edge,
}

/// That a process is there, and as what.
#[derive(Debug, Clone, PartialEq)]
pub struct Ping {
    /// The node's id, without `nodes/`.
    pub node: String,
    /// What it is.
    pub kind: NodeKind,
    /// Random for each start of the process.
    pub incarnation: String,
    /// Its role, where it is an origin.
    pub role: Option<Role>,
    /// The highest epoch of its pool that it has heard of.
    pub epoch: u64,
    /// Since its start.
    pub uptime: Duration,
    /// How busy it is.
    pub load: Load,
}

/// How busy a process is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Load {
    /// Streams that it holds.
    pub streams: u32,
    /// Connected encoders, pushing edges included.
    pub publishers: u32,
    /// Connected viewers, pulling edges included.
    pub viewers: u32,
    /// Received in the last second, in bytes per second.
    pub ingress_bytes_per_second: f64,
    /// Sent in the last second, in bytes per second.
    pub egress_bytes_per_second: f64,
}

/// One page about a process.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeStatus {
    /// Who, in which role, how busy.
    pub ping: Ping,
    /// The version it was built as.
    pub version: String,
    /// The id of its pool, without `originPools/`; empty where it is not an origin.
    pub pool: String,
    /// It takes nothing new.
    pub draining: bool,
    /// It holds a session with the control plane.
    pub control_connected: bool,
    /// Since what it knows from the control plane was last confirmed.
    pub config_age: Option<Duration>,
    /// What it listens on: `rtmp`, `http`, `grpc`, `admin` and the address of each.
    pub listeners: BTreeMap<String, String>,
    /// What an operator should know, in plain words.
    pub notes: Vec<String>,
}

/// One stream that a process holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalStream {
    /// Its name.
    pub name: StreamName,
    /// The publication that feeds it.
    pub publication: Option<PublicationId>,
    /// The highest committed position.
    pub head: u64,
    /// Decoding time of the newest frame in milliseconds.
    pub head_dts: u64,
    /// The epoch of the newest item.
    pub epoch: u64,
    /// Connected viewers, pulling edges included.
    pub viewers: u32,
    /// Received since it began, in bytes.
    pub bytes_received: u64,
    /// When it began here.
    pub since: SystemTime,
}

#[cfg(test)]
mod tests;
