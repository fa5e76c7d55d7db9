//! The socket of a connection and the session behind it.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use rtmp::server::Session;
use tokio::{
    io::{AsyncWriteExt, ReadBuf},
    time::Instant,
};

use crate::{
    ended::Ended,
    outbox::Outbox,
    seat::{Seat, Take},
    send_bounds::SendBounds,
    transport::Transport,
};

/// Moves bytes between a socket, a session and an outbox.
pub(super) struct Wire<T: Transport> {
    transport: T::Driven,
    pub(super) session: Session,
    pub(super) outbox: Outbox,
    /// Since when what waits has waited without a byte of it being taken; None while the socket takes all there is.
    halted_at: Option<Instant>,
    /// Something may have come that was not read yet.
    read_due: bool,
    /// Something of the session's is among what waits.
    saying: bool,
}

/// What a write came to.
pub(super) struct Written {
    pub(super) bytes: usize,
    /// From now on something waits, and until it is taken a deadline runs; or the last of what the session had to say is on
    /// its way, and the session goes on.
    pub(super) look_again: bool,
}

/// Bytes read in one turn.
const READ_BYTES: usize = 64 * 1024;
/// What a client may still send after the goodbye, so that the goodbye is not lost to a reset.
const LINGER_BYTES_MAX: usize = 1024 * 1024;

thread_local! {
    /// Bytes on their way from a socket into a session: only within one poll, so that idle connections hold none.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; READ_BYTES].into());
}

/// Reads what there is, shows it, and says how much it was; 0 is the end.
pub(crate) fn poll_scratch<T: Transport>(
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
    pub(super) fn new(transport: T, session: Session) -> Self {
        Self {
            transport: transport.driven(),
            session,
            outbox: Outbox::default(),
            halted_at: None,
            read_due: true,
            saying: false,
        }
    }

    /// Whether all that was put out is on its way, so that more may be put out.
    pub(super) fn is_drained(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Moves the session's output into the outbox. Only while no row writes.
    pub(super) fn collect(&mut self) {
        while let Some(bytes) = self.session.poll_output() {
            self.say(bytes);
        }
    }

    /// Puts out something of the session's.
    pub(super) fn say(&mut self, bytes: Bytes) {
        self.outbox.push(bytes);
        self.saying = true;
    }

    /// Where a row of viewers can write for this connection.
    pub(super) fn seat(&self) -> Option<Arc<Seat<dyn Take>>> {
        self.transport.seat()
    }

    /// Since when what waits has waited without a byte of it being taken.
    pub(super) fn halted_at(&self) -> Option<Instant> {
        self.halted_at
    }

    /// Nothing was read or written until now, by our own choice: no deadline of the client's ran meanwhile.
    pub(super) fn excuse(&mut self) {
        let now = Instant::now();
        self.halted_at = self.halted_at.map(|_| now);
        self.session.excuse_silence(now.into_std());
    }

    /// Writes what waits, as far as the socket takes it; the task is woken when it takes more.
    pub(super) fn write(&mut self, cx: &mut Context<'_>) -> io::Result<Written> {
        if self.outbox.is_empty() {
            return Ok(Written { bytes: 0, look_again: false });
        }
        let bytes = self.outbox.write(cx, Pin::new(&mut self.transport))?;
        let before = self.halted_at;
        self.halted_at = match before {
            _ if self.outbox.is_empty() => None,
            Some(at) if bytes == 0 => Some(at),
            _ => Some(Instant::now()),
        };
        let has_halted = before.is_none() && self.halted_at.is_some();
        let has_said_all = self.outbox.is_empty() && std::mem::take(&mut self.saying);
        Ok(Written { bytes, look_again: has_halted || has_said_all })
    }

    /// Something may have come.
    pub(super) fn note_readable(&mut self) {
        self.read_due = true;
    }

    /// Whether there may be something to read, and this is the time for it.
    pub(super) fn wants_read(&self) -> bool {
        self.read_due && self.session.wants_input() && !self.outbox.is_full()
    }

    /// Hands to the session what came, and says how much it was.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Ended>> {
        let Self { transport, session, .. } = self;
        let read = poll_scratch(transport, cx, |bytes| session.handle_bytes(bytes, Instant::now().into_std()));
        self.read_due = read.is_ready();
        match ready!(read)? {
            0 => Poll::Ready(Err(Ended::Left)),
            count => Poll::Ready(Ok(count)),
        }
    }

    /// Sends what is left to say, then waits for the client to close.
    pub(super) async fn say_goodbye(&mut self) {
        self.collect();
        if poll_fn(|cx| self.outbox.poll_drain(cx, Pin::new(&mut self.transport))).await.is_err() {
            return;
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

    /// From now on the client is sent more than it may take.
    pub(super) fn bound(&self, bounds: &SendBounds) {
        self.transport.bound(bounds);
    }

    /// Lets the client see a reset.
    pub(super) fn reset(&self) {
        self.transport.reset_on_drop();
    }
}
