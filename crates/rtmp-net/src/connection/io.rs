//! The socket of a connection and the session behind it.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use rtmp::server::Session;
use tokio::{
    io::{AsyncWriteExt, ReadBuf},
    time::Instant,
};

use crate::{ended::Ended, outbox::Outbox, transport::Transport};

/// Moves bytes between a socket, a session and an outbox.
pub(super) struct Wire<T> {
    transport: T,
    pub(super) session: Session,
    pub(super) outbox: Outbox,
    /// Since when what waits has waited without a byte of it being taken.
    progress_at: Instant,
}

/// What one turn moved.
pub(super) struct Moved {
    pub(super) read: usize,
    pub(super) written: usize,
}

/// Bytes read in one turn.
const READ_BYTES: usize = 64 * 1024;
/// While so much waits to be written nothing is read: whoever takes no answers is asked for no questions.
const UNANSWERED_BYTES_MAX: usize = 64 * 1024;
/// What a client may still send after the goodbye, so that the goodbye is not lost to a reset.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

thread_local! {
    /// Bytes on their way from a socket into a session: only within one poll, so that idle connections hold none.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Reads what there is, shows it, and says how much it was; 0 is the end.
fn poll_scratch<T: Transport>(
    transport: &mut T,
    cx: &mut Context<'_>,
    show: impl FnOnce(&[u8]),
) -> Poll<io::Result<usize>> {
    SCRATCH.with_borrow_mut(|scratch| {
        let mut buffer = ReadBuf::new(scratch);
        ready!(Pin::new(transport).poll_read(cx, &mut buffer))?;
        show(buffer.filled());
        Poll::Ready(Ok(buffer.filled().len()))
    })
}

impl<T: Transport> Wire<T> {
    pub(super) fn new(transport: T, session: Session, now: Instant) -> Self {
        Self { transport, session, outbox: Outbox::default(), progress_at: now }
    }

    /// Whether all that was put out is on its way, so that more may be put out.
    pub(super) fn is_drained(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Takes what the session has to say.
    pub(super) fn collect(&mut self) {
        self.filling(|wire| {
            while let Some(bytes) = wire.session.poll_output() {
                wire.outbox.push(bytes);
            }
        });
    }

    /// Puts something into the outbox; if that was empty, the client has from now on time to take it.
    pub(super) fn filling<R>(&mut self, fill: impl FnOnce(&mut Self) -> R) -> R {
        let was_empty = self.outbox.is_empty();
        let result = fill(self);
        if was_empty && !self.outbox.is_empty() {
            self.progress_at = Instant::now();
        }
        result
    }

    /// When the client will have taken nothing for so long.
    pub(super) fn stalls_at(&self, patience: Duration) -> Option<Instant> {
        (!self.outbox.is_empty()).then(|| self.progress_at + patience)
    }

    /// Nothing was read or written until now, by our own choice: no deadline of the client's ran meanwhile.
    pub(super) fn excuse(&mut self) {
        self.progress_at = Instant::now();
        self.session.excuse_silence(self.progress_at.into_std());
    }

    /// Waits until bytes moved. Safe to drop at any await.
    pub(super) async fn moved(&mut self) -> Result<Moved, Ended> {
        poll_fn(|cx| self.poll_moved(cx)).await
    }

    fn poll_moved(&mut self, cx: &mut Context<'_>) -> Poll<Result<Moved, Ended>> {
        let written = self.outbox.poll_write(cx, Pin::new(&mut self.transport))?;
        if let Poll::Ready(count) = written {
            self.progress_at = Instant::now();
            if count > 0 {
                return Poll::Ready(Ok(Moved { read: 0, written: count }));
            }
        }
        let hungry = self.session.wants_input() && self.outbox.bytes() < UNANSWERED_BYTES_MAX;
        let read = if hungry { self.poll_read(cx)? } else { Poll::Pending };
        match read {
            Poll::Ready(0) => Poll::Ready(Err(Ended::Left)),
            Poll::Ready(read) => Poll::Ready(Ok(Moved { read, written: 0 })),
            Poll::Pending if written.is_ready() => Poll::Ready(Ok(Moved { read: 0, written: 0 })),
            Poll::Pending => Poll::Pending,
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Ended>> {
        let Self { transport, session, .. } = self;
        let read = poll_scratch(transport, cx, |bytes| session.handle_bytes(bytes, Instant::now().into_std()));
        read.map_err(Ended::from)
    }

    /// Sends what is left to say, then waits for the client to close.
    pub(super) async fn say_goodbye(&mut self) {
        self.collect();
        while !self.outbox.is_empty() {
            if poll_fn(|cx| self.outbox.poll_write(cx, Pin::new(&mut self.transport))).await.is_err() {
                return;
            }
        }
        if self.transport.shutdown().await.is_err() {
            return;
        }
        let mut left = LINGER_BYTES_MAX;
        // However that ends, there is nothing more to do.
        while let Ok(1..) =
            poll_fn(|cx| poll_scratch(&mut self.transport, cx, |bytes| left -= bytes.len().min(left))).await
            && left > 0
        {}
    }

    /// Lets the client see a reset.
    pub(super) fn reset(&self) {
        self.transport.reset_on_drop();
    }
}
