//! The byte streams that RTMP runs over.

use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream},
    net::TcpStream,
};

use crate::{send_bounds::SendBounds, sessions::Protocol};

/// A byte stream to a client.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// What runs over it.
    fn protocol(&self) -> Protocol;

    /// Lets the peer see a reset, not an orderly end, once this is dropped.
    fn reset_on_drop(&self);

    /// Bounds what is held for a client that is sent more than it may take.
    fn bound(&self, bounds: &SendBounds);
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

    fn bound(&self, bounds: &SendBounds) {
        if let Err(error) = bounds.apply(self) {
            tracing::debug!(%error, "connection.unbounded");
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

    fn bound(&self, bounds: &SendBounds) {
        self.get_ref().0.bound(bounds);
    }
}

impl Transport for DuplexStream {
    fn protocol(&self) -> Protocol {
        Protocol::Rtmp
    }

    fn reset_on_drop(&self) {}

    fn bound(&self, _bounds: &SendBounds) {}
}
