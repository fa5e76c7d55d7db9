//! Streams and sessions as the nodes report them.

use std::{
    future::Future,
    time::{Duration, SystemTime},
};

use cluster::{Epoch, NodeId};
use media::{PublicationId, StreamName};

use super::Steps;
use crate::{auth::Caller, node::LocalSession, status::Failure};

/// Shows the streams of the cluster, and ends them.
pub trait Streams: Send + Sync + 'static {
    /// One stream.
    fn stream(&self, name: &StreamName) -> Option<StreamInfo>;

    /// All streams in any order.
    fn streams(&self) -> Vec<StreamInfo>;

    /// Where a stream is.
    fn locate(&self, name: &StreamName) -> Option<Located>;

    /// The streams and their changes, from after a revision; from 0 with a snapshot.
    fn watch_streams(&self, from_revision: u64) -> Result<Steps<StreamInfo>, Failure>;

    /// Ends a stream; returns how many sessions that ended.
    fn kick_stream(&self, caller: Caller, request: KickStream) -> impl Future<Output = Result<u32, Failure>> + Send;
}

/// Shows the sessions of all nodes, and ends them.
pub trait Sessions: Send + Sync + 'static {
    /// One session.
    fn session(&self, id: &str) -> Option<SessionInfo>;

    /// All sessions in any order.
    fn sessions(&self) -> Vec<SessionInfo>;

    /// Ends a session; returns it as it was last reported.
    fn kick_session(
        &self,
        caller: Caller,
        request: KickSession,
    ) -> impl Future<Output = Result<SessionInfo, Failure>> + Send;
}

/// What one node knows of one stream.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamReport {
    /// Its name.
    pub name: StreamName,
    /// Why the node has it.
    pub holding: Holding,
    /// The publication that feeds it.
    pub publication: Option<PublicationId>,
    /// The id on the node of the encoder's session, when the encoder is connected to the node.
    pub publisher_session: Option<String>,
    /// On the origin: the edge through which the encoder publishes.
    pub ingest_node: Option<NodeId>,
    /// An encoder feeds it; not so in the grace after one was lost.
    pub live: bool,
    /// The highest position.
    pub head: u64,
    /// The timestamp there, in milliseconds of the stream's timeline.
    pub head_timestamp_ms: u64,
    /// The epoch of what is held.
    pub epoch: Epoch,
    /// Viewers on the node.
    pub viewers: u32,
    /// Bits taken in each second.
    pub bits_per_second: u64,
    /// Short names of the codecs seen.
    pub codecs: Vec<String>,
    /// When the node began to hold it.
    pub since: SystemTime,
}

/// Why a node holds a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holding {
    /// An origin keeps it.
    Origin,
    /// An encoder publishes it to this edge.
    Ingest,
    /// The edge pulls it for its viewers.
    Pull,
}

/// A stream that some node holds.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamInfo {
    /// Its name.
    pub name: StreamName,
    /// An encoder feeds it.
    pub live: bool,
    /// The publication that feeds it.
    pub publication: Option<PublicationId>,
    /// The encoder's session: `sessions/{id}`.
    pub publisher_session: Option<String>,
    /// The node that the encoder is connected to.
    pub ingest_node: Option<NodeId>,
    /// The origin that keeps it.
    pub origin: Option<NodeId>,
    /// The epoch of that origin.
    pub epoch: Epoch,
    /// The highest position at the origin.
    pub head: u64,
    /// The timestamp there, in milliseconds of the stream's timeline.
    pub head_timestamp_ms: u64,
    /// Bits the origin takes in each second.
    pub bits_per_second: u64,
    /// Short names of the codecs seen.
    pub codecs: Vec<String>,
    /// When it began.
    pub since: SystemTime,
    /// Every node that holds it.
    pub holders: Vec<Holder>,
}

impl StreamInfo {
    /// Viewers on all nodes.
    pub fn viewers(&self) -> u32 {
        self.holders.iter().map(|holder| holder.viewers).fold(0, u32::saturating_add)
    }
}

/// A node that holds a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Which node.
    pub node: NodeId,
    /// Why.
    pub holding: Holding,
    /// Viewers there; at an origin its own players, not the edges that pull.
    pub viewers: u32,
    /// The highest position there; 0 at an edge that takes it in.
    pub head: u64,
    /// How far it was behind the origin by the last reports, in milliseconds of the stream's timeline.
    pub lag_ms: u32,
}

/// Where a stream is.
#[derive(Debug, Clone, PartialEq)]
pub struct Located {
    /// The stream.
    pub stream: StreamInfo,
    /// The active origin of the pool that keeps it.
    pub active_origin: Option<NodeId>,
    /// The epoch of that pool.
    pub epoch: Epoch,
}

/// Asks to end a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct KickStream {
    /// Which one.
    pub name: StreamName,
    /// Refuse encoders on this name for so long.
    pub ban_for: Duration,
    /// Check everything, change nothing.
    pub validate_only: bool,
    /// Why.
    pub reason: String,
}

/// A session on a node.
#[derive(Debug, Clone, PartialEq)]
pub struct SessionInfo {
    /// Which node.
    pub node: NodeId,
    /// What the node says of it.
    pub session: LocalSession,
}

impl SessionInfo {
    /// The session's id in the cluster: the node's, a dot, and the id there.
    pub fn id(&self) -> String {
        format!("{}.{}", self.node, self.session.id)
    }
}

/// Asks to end a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KickSession {
    /// Its id in the cluster.
    pub id: String,
    /// Check everything, change nothing.
    pub validate_only: bool,
    /// Why.
    pub reason: String,
}
