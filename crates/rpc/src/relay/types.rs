//! What travels between edges and origins.

use std::{fmt, future::Future};

use cluster::{Epoch, NodeId};
use futures_util::stream::BoxStream;
use hub::Placed;
use media::{MediaMessage, PublicationId, StreamName};
use replica::{FollowDown, FollowHello, FollowUp};

use super::{LinkDown, LinkHello, LinkUp, RelayError};

/// An origin, for those who push to it, pull from it, follow it or only hear it.
pub trait Relay: Send + Sync + 'static {
    /// Takes a publication in. `up` ends with the connection: after [`PushUp::Close`] that is a clean end, otherwise a lost
    /// edge. An error in `up` is to be answered with the same; the answer is dropped when the edge leaves.
    fn push(
        &self,
        hello: PushHello,
        up: Flow<PushUp>,
    ) -> impl Future<Output = Result<Flow<PushDown>, RelayError>> + Send;

    /// Hands a stream out. The answer is dropped when the edge leaves.
    fn pull(&self, request: PullRequest) -> impl Future<Output = Result<Flow<PullDown>, RelayError>> + Send;

    /// Lets another origin of the pool follow. Both flows last as long as the two hear each other.
    fn follow(
        &self,
        hello: FollowHello,
        up: Flow<FollowUp>,
    ) -> impl Future<Output = Result<Flow<FollowDown>, RelayError>> + Send;

    /// Tells a node who this origin is, now and at every change, for as long as the two hear each other.
    fn link(
        &self,
        hello: LinkHello,
        up: Flow<LinkUp>,
    ) -> impl Future<Output = Result<Flow<LinkDown>, RelayError>> + Send;
}

/// What one side of a relay call says to the other, in order; an error is the last item.
pub type Flow<T> = BoxStream<'static, Result<T, RelayError>>;

/// Who pushes what. The first word of a push.
#[derive(Debug, Clone, PartialEq)]
pub struct PushHello {
    /// The stream to feed.
    pub stream: StreamName,
    /// The encoder's session.
    pub publication: PublicationId,
    /// The highest epoch of the pool that the edge has heard of.
    pub epoch: Epoch,
    /// The node that pushes.
    pub edge: NodeId,
    /// What the encoder gave as its right to publish.
    pub key: Option<PublishKey>,
    /// The number of the first message that follows.
    pub first_number: u64,
    /// The encoder's address, for logs and lists; may be empty.
    pub peer: String,
    /// The asker cannot reach the active origin: one that stands by is to pass the call on to it.
    pub via: bool,
    /// The nodes that the call has come through, the edge first. Who finds itself here refuses.
    pub path: Vec<NodeId>,
}

/// What an encoder gave as its right to publish. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct PublishKey(pub String);

impl fmt::Debug for PublishKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublishKey(..)")
    }
}

/// What an edge says on a push after its hello.
#[derive(Debug, Clone, PartialEq)]
pub enum PushUp {
    /// Messages with their numbers, which ascend.
    Messages(Vec<(u64, MediaMessage)>),
    /// The encoder withdrew its metadata; takes a number like a message.
    MetadataCleared(u64),
    /// The edge is there.
    Beat {
        /// The highest epoch that it has heard of.
        epoch: Epoch,
    },
    /// These messages were dropped before anybody took them; they will not come.
    Skip {
        /// The number of the first.
        from: u64,
        /// The number of the last.
        to: u64,
    },
    /// The encoder ended its stream cleanly; takes a number like a message.
    Close(u64),
}

/// What an origin says on a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PushDown {
    /// First: it is committed that the publication is open. Nothing of it is acked by this.
    Opened {
        /// The epoch in which the origin is active.
        epoch: Epoch,
        /// The first number that is not in the origin's log: the edge may go on there.
        next_number: u64,
    },
    /// Everything up to and with this number is committed.
    Ack {
        /// That number.
        through: u64,
        /// The epoch in which it was committed.
        epoch: Epoch,
    },
    /// The origin is there.
    Beat {
        /// The epoch in which the origin is active.
        epoch: Epoch,
    },
}

/// Which stream an edge wants, and from where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// The stream.
    pub stream: StreamName,
    /// Where to begin.
    pub from: PullFrom,
    /// The epoch of the active that the edge has what stands there from; zero: not said.
    pub had_in: Epoch,
    /// The highest epoch of the pool that the edge has heard of.
    pub epoch: Epoch,
    /// The nodes that the request has come through, the first asker first. Who finds itself here refuses.
    pub path: Vec<NodeId>,
    /// The asker cannot reach the active origin: one that stands by is to pass the call on to it.
    pub via: bool,
}

/// Where a pull begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullFrom {
    /// Set-up and the last GOP.
    Live,
    /// After this position.
    After(u64),
}

/// What an origin says on a pull.
#[derive(Debug, Clone, PartialEq)]
pub enum PullDown {
    /// First: the stream is found.
    Opened {
        /// The epoch in which the origin is active.
        epoch: Epoch,
        /// The highest committed position.
        head: u64,
        /// The position asked for has left the ring: the items begin at a keyframe after it.
        rejoined: bool,
        /// What the edge has at the position asked for is not in this log: from here on a later epoch has written.
        parted_from: Option<u64>,
    },
    /// Items in the order of their positions.
    Items {
        /// The epoch in which the origin is active.
        epoch: Epoch,
        /// At least one.
        items: Vec<Placed>,
    },
    /// The origin is there; for when there is nothing else to say.
    Heartbeat {
        /// The epoch in which the origin is active.
        epoch: Epoch,
        /// The highest committed position.
        head: u64,
    },
}
