//! The byte streams that RTMP runs over.

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::TcpStream,
};

use crate::sessions::Protocol;

/// A byte stream to a client.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// What runs over it.
    fn protocol(&self) -> Protocol;

    /// Lets the peer see a reset, not an orderly end, once this is dropped.
    fn reset_on_drop(&self);
}

impl Transport for TcpStream {
    fn protocol(&self) -> Protocol {
        Protocol::Rtmp
    }

    fn reset_on_drop(&self) {
        if let Err(error) = self.set_zero_linger() {
            tracing::debug!(%error, "connection.reset_failed");
        }
    }
}

impl Transport for tokio_rustls::server::TlsStream<TcpStream> {
    fn protocol(&self) -> Protocol {
        Protocol::Rtmps
    }

    fn reset_on_drop(&self) {
        self.get_ref().0.reset_on_drop();
    }
}

impl Transport for DuplexStream {
    fn protocol(&self) -> Protocol {
        Protocol::Rtmp
    }

    fn reset_on_drop(&self) {}
}
