//! Connections, accepted here or elsewhere.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

/// A connection that someone accepted, and that speaks HTTP/2 from its first byte on.
pub struct Connection {
    pub(super) io: Box<dyn Io>,
    pub(super) peer: Peer,
}

impl Connection {
    /// A connection from `peer`.
    pub fn new(io: impl AsyncRead + AsyncWrite + Send + Unpin + 'static, peer: SocketAddr) -> Self {
        Self { io: Box::new(io), peer: Peer(Some(peer)) }
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
