//! Connections, accepted here or elsewhere.

use std::{net::SocketAddr, pin::Pin};

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// A connection that someone accepted, and that speaks HTTP/2 from its first byte on.
pub struct Connection {
    pub(super) io: Box<dyn Io>,
    pub(super) peer: Peer,
    pub(super) trial: Option<Trial>,
}

/// Completes when a connection on which no known caller has called yet must go; dropped once one has.
pub(super) type Trial = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Connection {
    /// A connection from `peer`.
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: SocketAddr) -> Self {
        Self { io: Box::new(io), peer: Peer(Some(peer)), trial: None }
    }

    /// Until its first call of a known caller the connection ends when this completes; then this is dropped.
    pub fn on_trial(self, ends: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { trial: Some(Box::pin(ends)), ..self }
    }

    /// A TCP connection; small writes go out at once.
    pub(super) fn tcp(stream: TcpStream, peer: SocketAddr) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "rpc.nodelay_failed");
        }
        Self::new(stream, peer)
    }
}

/// Where a call comes from; in the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer(Option<SocketAddr>);

impl Peer {
    /// The address, where the connection has one.
    pub fn address(self) -> Option<SocketAddr> {
        self.0
    }
}

/// What a connection reads and writes.
pub(super) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}
