//! A viewer's socket, and who writes to it.

use std::{
    io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use tokio::net::TcpStream;

use crate::{sessions::Entry, shared_bytes::SharedBytes};

/// A socket that is written to by its own connection, or, while that has nothing to say, by a row of viewers who are all sent
/// the same. Whoever writes holds the seat meanwhile, so that the two never mix their bytes.
#[derive(Debug)]
pub struct Seat<W: ?Sized> {
    hold: Mutex<Hold>,
    socket: W,
}

/// What takes bytes at once, or does not take them.
pub trait Take: Send + Sync + 'static {
    /// Takes as much as it has room for, and says how much that was; [`io::ErrorKind::WouldBlock`]: nothing.
    fn take(&self, bytes: &SharedBytes) -> io::Result<usize>;
}

/// Where it is counted what a session was sent.
pub trait Count: Send + Sync + 'static {
    /// So many bytes more.
    fn add_out(&self, bytes: u64);
}

impl Count for Entry {
    fn add_out(&self, bytes: u64) {
        Self::add_out(self, bytes);
    }
}

struct Hold {
    who: Who,
    /// How often it was sat in.
    sittings: u32,
}

enum Who {
    /// The connection writes.
    Connection,
    /// A row writes.
    Row(Sitting),
    /// The row could not go on; the connection has not heard of it yet.
    Left(Left),
}

struct Sitting {
    /// All below this position was written.
    next_seq: u64,
    /// Bytes that were not counted yet.
    sent: u64,
    count: Arc<dyn Count>,
    waker: Waker,
}

/// Whoever sits down.
pub struct Sitter {
    /// All below this position was written to the socket.
    pub next_seq: u64,
    /// Where it is counted what the row sends.
    pub count: Arc<dyn Count>,
    /// Woken when the row can write no more.
    pub waker: Waker,
}

/// How a row leaves a socket to its connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// What is still to be written of what the row began.
    pub rest: Bytes,
    /// All below this position is written, once the rest is.
    pub next_seq: u64,
}

/// What a row has for all who sit in it.
#[derive(Debug)]
pub(crate) struct Piece {
    /// The bytes.
    pub(crate) shared: SharedBytes,
    /// The first position.
    pub(crate) from: u64,
    /// The position after the last.
    pub(crate) next_seq: u64,
}

/// What became of a piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Served {
    /// The socket took all of it.
    Whole,
    /// The socket took so many bytes: the connection goes on with the rest.
    Part(usize),
    /// Nobody sits there any more who is to have it.
    Empty,
}

impl<W: Take> Seat<W> {
    /// The connection writes to the socket.
    pub fn new(socket: W) -> Arc<Self> {
        Arc::new(Self { hold: Mutex::new(Hold { who: Who::Connection, sittings: 0 }), socket })
    }

    /// The socket. Only its connection writes to it, and only while nobody sits.
    pub fn socket(&self) -> &W {
        &self.socket
    }
}

impl<W: Take + ?Sized> Seat<W> {
    /// From now on a row writes. The answer tells this sitting from those before and after.
    pub(crate) fn sit(&self, sitter: Sitter) -> u32 {
        let Sitter { next_seq, count, waker } = sitter;
        let mut hold = self.hold();
        hold.sittings = hold.sittings.wrapping_add(1);
        hold.who = Who::Row(Sitting { next_seq, sent: 0, count, waker });
        hold.sittings
    }

    /// Whether this sitting goes on.
    pub(crate) fn is_sitting(&self, sitting: u32) -> bool {
        let hold = self.hold();
        hold.sittings == sitting && matches!(hold.who, Who::Row(_))
    }

    /// Writes a piece, if this sitting goes on. All that was sent is counted now if it is time `to_count`.
    pub(crate) fn serve(&self, sitting: u32, piece: &Piece, to_count: bool) -> Served {
        let mut hold = self.hold();
        if hold.sittings != sitting {
            return Served::Empty;
        }
        let Who::Row(seated) = &mut hold.who else { return Served::Empty };
        if seated.next_seq != piece.from {
            hold.leave(Bytes::new());
            return Served::Empty;
        }
        let bytes = piece.shared.bytes();
        let taken = match bytes.is_empty() {
            true => 0,
            // An error is for the connection to find: its next write fails too.
            false => self.socket.take(&piece.shared).unwrap_or(0),
        };
        seated.sent += taken as u64;
        seated.next_seq = piece.next_seq;
        if taken < bytes.len() {
            hold.leave(bytes.slice(taken..));
            return Served::Part(taken);
        }
        if to_count {
            seated.count.add_out(std::mem::take(&mut seated.sent));
        }
        Served::Whole
    }

    /// Leaves the socket to its connection, between two pieces.
    pub(crate) fn dismiss(&self, sitting: u32) {
        let mut hold = self.hold();
        if hold.sittings == sitting {
            hold.leave(Bytes::new());
        }
    }

    /// From now on the connection writes; nothing, if it did so before.
    pub fn get_up(&self) -> Option<Left> {
        let mut hold = self.hold();
        if let Some((left, _)) = hold.take_sitting(Bytes::new()) {
            return Some(left);
        }
        match std::mem::replace(&mut hold.who, Who::Connection) {
            Who::Left(left) => Some(left),
            Who::Connection | Who::Row(_) => None,
        }
    }

    /// Ready once the row cannot go on; the task is woken then.
    pub fn poll_left(&self, cx: &mut Context<'_>) -> Poll<Option<Left>> {
        let mut hold = self.hold();
        if let Who::Row(seated) = &mut hold.who {
            if !seated.waker.will_wake(cx.waker()) {
                seated.waker = cx.waker().clone();
            }
            return Poll::Pending;
        }
        drop(hold);
        Poll::Ready(self.get_up())
    }

    fn hold(&self) -> MutexGuard<'_, Hold> {
        // Nothing in here panics between two changes that belong together.
        self.hold.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hold {
    /// The row goes, with this still to be written, and says so.
    fn leave(&mut self, rest: Bytes) {
        if let Some((left, waker)) = self.take_sitting(rest) {
            self.who = Who::Left(left);
            waker.wake();
        }
    }

    /// Ends the sitting, if there is one, with this still to be written. What it leaves, and who is waiting for that.
    fn take_sitting(&mut self, rest: Bytes) -> Option<(Left, Waker)> {
        match std::mem::replace(&mut self.who, Who::Connection) {
            Who::Row(Sitting { next_seq, sent, count, waker }) => {
                count.add_out(sent);
                Some((Left { rest, next_seq }, waker))
            }
            other => {
                self.who = other;
                None
            }
        }
    }
}

impl std::fmt::Debug for Hold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let who = match &self.who {
            Who::Connection => "connection",
            Who::Row(_) => "row",
            Who::Left(_) => "left",
        };
        f.debug_tuple("Hold").field(&who).field(&self.sittings).finish()
    }
}

impl Take for TcpStream {
    /// `send` or `sendfile` on the raw descriptor, without tokio's readiness; after `WouldBlock` the connection's own poll
    /// registers for it.
    fn take(&self, bytes: &SharedBytes) -> io::Result<usize> {
        bytes.send_to(self)
    }
}

#[cfg(test)]
pub(crate) mod tests;
