//! A connection whose peer must keep reading.

use std::{
    future::Future,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

/// Fails with [`io::ErrorKind::TimedOut`] once writes have waited this long without one byte being taken.
///
/// What a peer does not read fills the kernel's buffers first; the clock starts when those are full. The timer
/// exists only while a write waits.
#[derive(Debug)]
pub(super) struct StallGuard<T> {
    inner: T,
    patience: Duration,
    stalled: Option<Pin<Box<Sleep>>>,
    /// What was read of the connection before it came here.
    unread: Bytes,
}

impl<T> StallGuard<T> {
    pub(super) fn new(inner: T, patience: Duration) -> Self {
        Self { inner, patience, stalled: None, unread: Bytes::new() }
    }

    /// The connection.
    pub(super) fn get_ref(&self) -> &T {
        &self.inner
    }

    /// The connection, and what was read of it before it came here and has not been asked for yet.
    pub(super) fn into_parts(self) -> (T, Bytes) {
        (self.inner, self.unread)
    }

    /// The same, for a connection of which this was read already.
    pub(super) fn with_unread(self, unread: Bytes) -> Self {
        Self { unread, ..self }
    }

    /// Passes on what a write came to; while it waits, the clock runs.
    fn watch<R>(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<R>>) -> Poll<io::Result<R>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let patience = self.patience;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(sleep(patience)));
        match stalled.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for StallGuard<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let count = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread.split_to(count));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.inner).poll_read(cx, buf)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for StallGuard<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write(cx, buf);
        self.watch(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.inner).poll_write_vectored(cx, bufs);
        self.watch(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::Instant,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(15);

    #[tokio::test(start_paused = true)]
    async fn a_write_that_nobody_reads_fails_after_the_time_allowed() {
        let (ours, _theirs) = tokio::io::duplex(8);
        let start = Instant::now();
        let error = StallGuard::new(ours, PATIENCE).write_all(&[0; 64]).await.unwrap_err();
        assert_eq!((error.kind(), start.elapsed().as_secs()), (io::ErrorKind::TimedOut, 15));
    }

    #[tokio::test]
    async fn what_was_read_before_comes_first() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        theirs.write_all(b"lo").await.unwrap();
        drop(theirs);
        let mut text = String::new();
        let mut guard = StallGuard::new(ours, PATIENCE).with_unread(Bytes::from_static(b"hel"));
        guard.read_to_string(&mut text).await.unwrap();
        assert_eq!(text, "hello");
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_reads_now_and_then_is_kept() {
        let (ours, mut theirs) = tokio::io::duplex(8);
        let slow = async move {
            let (mut out, mut rest) = (Vec::new(), [0; 8]);
            while out.len() < 64 {
                sleep(PATIENCE - Duration::from_secs(1)).await;
                let len = theirs.read(&mut rest).await.unwrap();
                out.extend_from_slice(&rest[..len]);
            }
        };
        let mut guard = StallGuard::new(ours, PATIENCE);
        let (written, ()) = tokio::join!(guard.write_all(&[0; 64]), slow);
        written.unwrap();
    }
}
