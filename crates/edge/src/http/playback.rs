//! What the HTTP side asks of the edge's core.

use std::{future::Future, net::SocketAddr};

use hub::Reader;
use media::StreamName;

/// Gives viewers their cursor into a stream.
pub trait Playback: Send + Sync + 'static {
    /// A cursor into the stream, fetched from its origin if need be; waits for it as long as the edge's settings say.
    /// Dropping the future is how a viewer that went away stops waiting.
    fn play(&self, request: Play) -> impl Future<Output = Result<Reader, Refusal>> + Send;
}

/// A viewer's wish. The query may hold keys: it is not for logs.
#[derive(Clone)]
pub struct Play {
    /// Which stream.
    pub stream: StreamName,
    /// The URL's parameters, percent-decoded, in order.
    pub query: Vec<(String, String)>,
    /// Who asks.
    pub peer: SocketAddr,
}

/// Why a viewer does not get a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No route entry matches the name, or nobody published it in time.
    #[error("no such stream")]
    NotFound,
    /// The viewer may not have it.
    #[error("not allowed")]
    Denied,
    /// The stream's origin pool did not answer in time.
    #[error("the stream's origin is not reachable, try again")]
    Unreachable,
}
