//! The nodes, and the conversation with each.

use std::{
    future::Future,
    pin::Pin,
    time::{Duration, SystemTime},
};

use cluster::{Beat, Epoch, Grant, Incarnation, Liveness, Member, NodeId, Notice, Registration, SyncRequest};
use futures_util::Stream;
use media::StreamName;

use super::{Steps, StreamReport};
use crate::{auth::Caller, node::LocalSession, status::Failure};

/// What a node says, as it arrives.
pub type FromNodeStream = Pin<Box<dyn Stream<Item = Result<FromNode, Failure>> + Send>>;
/// What the control plane says, as it arrives.
pub type FromControlStream = Pin<Box<dyn Stream<Item = Result<FromControl, Failure>> + Send>>;

/// Keeps the list of nodes, hears them, and speaks to them.
pub trait Members: Send + Sync + 'static {
    /// Makes a node known, or known again.
    fn register(
        &self,
        caller: Caller,
        registration: Registration,
    ) -> impl Future<Output = Result<Registered, Failure>> + Send;

    /// Holds the conversation with a registered node until either side ends it.
    fn converse(&self, caller: Caller, member: Member, from_node: FromNodeStream)
    -> Result<FromControlStream, Failure>;

    /// Takes a node out of the list.
    fn deregister(&self, caller: Caller, request: Deregister) -> impl Future<Output = Result<(), Failure>> + Send;

    /// Tells a node to end.
    fn drain_node(&self, caller: Caller, request: Drain) -> impl Future<Output = Result<NodeInfo, Failure>> + Send;

    /// One node.
    fn node(&self, id: &NodeId) -> Option<NodeInfo>;

    /// All nodes in any order.
    fn nodes(&self) -> Vec<NodeInfo>;

    /// The nodes and the changes of their state, from after a revision; from 0 with a snapshot.
    fn watch_nodes(&self, from_revision: u64) -> Result<Steps<NodeInfo>, Failure>;
}

/// A node as it is known.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeInfo {
    /// What it said when it made itself known.
    pub registration: Registration,
    /// What is heard of it.
    pub liveness: Liveness,
    /// Its last beat.
    pub beat: Beat,
    /// When this incarnation was first heard.
    pub registered: SystemTime,
    /// When it was last heard.
    pub heard: SystemTime,
}

/// How a node is to behave from here on.
#[derive(Debug, Clone, PartialEq)]
pub struct Registered {
    /// The node as it is now known.
    pub node: NodeInfo,
    /// How often to beat.
    pub beat_interval: Duration,
    /// How long a silence is accepted.
    pub silence_max: Duration,
    /// The revision of the route entries at this moment.
    pub route_revision: u64,
    /// The random id of the control plane's store.
    pub store_id: String,
    /// Which start of which store answers: a watch resumes on its revisions alone. Empty: it does not say.
    pub granter: String,
}

/// What a node says.
#[derive(Debug, Clone, PartialEq)]
pub enum FromNode {
    /// It lives. The number grows by one on each session.
    Beat {
        /// 1, 2, 3 …
        number: u64,
        /// What it says of itself.
        beat: Box<Beat>,
    },
    /// What streams it holds.
    Streams(StreamsReport),
    /// What sessions it holds.
    Sessions(SessionsReport),
    /// What became of a command.
    Result(CommandResult),
    /// The active origin asks for a change of the in-sync set; answered by the next grant, whatever became of it.
    SyncRequest(SyncRequest),
    /// The active origin was told to yield: it takes nothing more, and all that it took is committed.
    Yielded {
        /// The epoch that it gives up.
        epoch: Epoch,
    },
    /// An origin that is about to end asks to be relieved of its role first; answered by its next grant.
    HandOver {
        /// Why.
        reason: String,
    },
    /// Something happened to a stream that operators have to hear of.
    Notice {
        /// 1, 2, 3 … in this start of the node; 0 when no [`FromControl::NoticesKept`] is wanted.
        number: u64,
        /// What happened.
        notice: Notice,
    },
}

/// What streams a node holds: first all of them, then what changed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StreamsReport {
    /// What was reported before is forgotten.
    pub replace: bool,
    /// New or changed.
    pub put: Vec<StreamReport>,
    /// No longer held.
    pub removed: Vec<StreamName>,
}

/// What sessions a node holds: first all of them, then what changed.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SessionsReport {
    /// What was reported before is forgotten.
    pub replace: bool,
    /// New or changed.
    pub put: Vec<LocalSession>,
    /// Ended; the ids on the node.
    pub removed: Vec<String>,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandResult {
    /// The command's id.
    pub command_id: String,
    /// How many sessions it concerned.
    pub affected: u32,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

/// What the control plane says.
#[derive(Debug, Clone, PartialEq)]
pub enum FromControl {
    /// The conversation stands.
    Welcome(Welcome),
    /// It lives.
    Beat {
        /// 1, 2, 3 … on this session.
        number: u64,
        /// The revision of the route entries.
        route_revision: u64,
    },
    /// The role of the receiver.
    Role(Grant),
    /// Something to do; answered by a [`CommandResult`] with the id.
    Command {
        /// To be repeated in the result.
        id: String,
        /// What to do.
        command: Command,
    },
    /// The node's notices up to this number are on disk.
    NoticesKept {
        /// The last of them.
        through: u64,
    },
}

/// The conversation stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Welcome {
    /// How often to beat.
    pub beat_interval: Duration,
    /// How long a silence each side accepts.
    pub silence_max: Duration,
    /// The random id of the control plane's store.
    pub store_id: String,
}

/// Something for a node to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// End a session.
    KickSession {
        /// Its id on the node.
        session: String,
        /// Why.
        reason: String,
    },
    /// End everything of a stream that an encoder feeds through this node.
    KickStream {
        /// Which one.
        stream: StreamName,
        /// Why.
        reason: String,
        /// Refuse encoders on this name for so long.
        ban_for: Duration,
    },
    /// Take nothing new, and end.
    Drain {
        /// How long it may take; none: as configured.
        deadline: Option<Duration>,
        /// Why.
        reason: String,
    },
}

/// Asks to take a node out of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deregister {
    /// Which one.
    pub node: NodeId,
    /// Only this incarnation.
    pub incarnation: Option<Incarnation>,
    /// Check everything, change nothing.
    pub validate_only: bool,
    /// Why.
    pub reason: String,
}

/// Asks a node to end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Drain {
    /// Which one.
    pub node: NodeId,
    /// How long it may take; none: as configured there.
    pub deadline: Option<Duration>,
    /// Check everything, change nothing.
    pub validate_only: bool,
    /// Why.
    pub reason: String,
}
