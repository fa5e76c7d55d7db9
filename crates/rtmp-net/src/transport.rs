//! The byte streams that RTMP runs over.

use std::{
    io::{self, IoSlice},
    net::Shutdown,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf},
    net::TcpStream,
};

use crate::{
    seat::{Seat, Take},
    send_bounds::SendBounds,
    sessions::Protocol,
};

/// A byte stream to a client.
pub trait Transport: AsyncRead + AsyncWrite + Unpin + Send + 'static {
    /// What a connection drives: the same, in a form that a row of viewers can write to where that is possible.
    type Driven: Transport;

    /// The byte stream as a connection drives it.
    fn driven(self) -> Self::Driven;

    /// Where a row of viewers writes.
    fn seat(&self) -> Option<Arc<Seat<dyn Take>>> {
        None
    }

    /// What runs over it.
    fn protocol(&self) -> Protocol;

    /// Lets the peer see a reset, not an orderly end, once this is dropped.
    fn reset_on_drop(&self);

    /// Bounds what is held for a client that is sent more than it may take.
    fn bound(&self, bounds: &SendBounds);
}

impl Transport for TcpStream {
    type Driven = SharedSocket;

    fn driven(self) -> SharedSocket {
        SharedSocket::new(self)
    }

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

/// A TCP connection that a row of viewers may write to.
#[derive(Debug)]
pub struct SharedSocket(Arc<Seat<TcpStream>>);

impl SharedSocket {
    /// A connection whose writes may be left to a row.
    pub fn new(socket: TcpStream) -> Self {
        Self(Seat::new(socket))
    }

    /// Where a row writes.
    pub fn seat(&self) -> &Arc<Seat<TcpStream>> {
        &self.0
    }

    fn socket(&self) -> &TcpStream {
        self.0.socket()
    }

    /// Does it once the socket is ready for it.
    fn poll_when<T>(
        &self,
        mut poll_ready: impl FnMut(&TcpStream) -> Poll<io::Result<()>>,
        mut work: impl FnMut(&TcpStream) -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            match work(self.socket()) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => ready!(poll_ready(self.socket()))?,
                done => return Poll::Ready(done),
            }
        }
    }
}

impl AsyncRead for SharedSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = |socket: &TcpStream| socket.try_read(buf.initialize_unfilled());
        let count = ready!(self.poll_when(|socket| socket.poll_read_ready(cx), read))?;
        buf.advance(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for SharedSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_when(|socket| socket.poll_write_ready(cx), |socket| socket.try_write(bytes))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_when(|socket| socket.poll_write_ready(cx), |socket| socket.try_write_vectored(parts))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(SockRef::from(self.socket()).shutdown(Shutdown::Write))
    }
}

impl Transport for SharedSocket {
    type Driven = Self;

    fn driven(self) -> Self {
        self
    }

    fn seat(&self) -> Option<Arc<Seat<dyn Take>>> {
        Some(self.0.clone())
    }

    fn protocol(&self) -> Protocol {
        self.socket().protocol()
    }

    fn reset_on_drop(&self) {
        self.socket().reset_on_drop();
    }

    fn bound(&self, bounds: &SendBounds) {
        self.socket().bound(bounds);
    }
}

impl Transport for tokio_rustls::server::TlsStream<TcpStream> {
    type Driven = Self;

    fn driven(self) -> Self {
        self
    }

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
    type Driven = Self;

    fn driven(self) -> Self {
        self
    }

    fn protocol(&self) -> Protocol {
        Protocol::Rtmp
    }

    fn reset_on_drop(&self) {}

    fn bound(&self, _bounds: &SendBounds) {}
}
