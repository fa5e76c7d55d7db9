//! Sockets in memory that a row of viewers can write to, as it can to TCP's.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use tokio::io::{AsyncWrite, ReadBuf};

use super::*;
use crate::{
    SharedBytes,
    seat::{Seat, Take},
};

/// One side of a connection in memory.
pub(super) struct Seated(Arc<Seat<Pipe>>);

pub(super) struct Pipe(Mutex<DuplexStream>);

impl Seated {
    pub(super) fn new(pipe: DuplexStream) -> Self {
        Self(Seat::new(Pipe(Mutex::new(pipe))))
    }

    fn with<R>(&self, work: impl FnOnce(Pin<&mut DuplexStream>) -> R) -> R {
        work(Pin::new(&mut self.0.socket().0.lock().unwrap()))
    }
}

impl Take for Pipe {
    fn take(&self, bytes: &SharedBytes) -> io::Result<usize> {
        let mut pipe = self.0.lock().unwrap();
        match Pin::new(&mut *pipe).poll_write(&mut Context::from_waker(Waker::noop()), bytes.bytes()) {
            Poll::Ready(taken) => taken,
            Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
        }
    }
}

impl AsyncRead for Seated {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.with(|pipe| pipe.poll_read(cx, buf))
    }
}

impl AsyncWrite for Seated {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.with(|pipe| pipe.poll_write(cx, bytes))
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|pipe| pipe.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.with(|pipe| pipe.poll_shutdown(cx))
    }
}

impl Transport for Seated {
    type Driven = Self;

    fn driven(self) -> Self {
        self
    }

    fn seat(&self) -> Option<Arc<Seat<dyn Take>>> {
        Some(self.0.clone())
    }

    fn protocol(&self) -> Protocol {
        Protocol::Rtmp
    }

    fn reset_on_drop(&self) {}

    fn bound(&self, _bounds: &SendBounds) {}
}
