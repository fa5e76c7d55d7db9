//! A stream on its way to one viewer, without a web server between the stream and the socket.

use std::{
    collections::VecDeque,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use rtmp_net::{
    SharedSocket,
    seat::{Seat, Take},
};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};

use super::{
    flv_file::FlvFile,
    framing::Framing,
    stall::StallGuard,
    websocket::{Inbox, Said},
};

/// What is due to a viewer goes out in one write, as it does over RTMP; while all is well a row writes it.
#[derive(Debug)]
pub(super) struct Sending {
    stream: StallGuard<SharedSocket>,
    file: FlvFile,
    framing: Framing,
    /// What the viewer says. Over plain HTTP that is for nobody.
    inbox: Option<Box<Inbox>>,
    /// What waits to be written; mostly nothing.
    parts: VecDeque<Bytes>,
    /// The end is among it.
    ended: bool,
}

/// Parts handed to the kernel at once.
const SLICES_MAX: usize = 64;
/// An empty queue with room for more parts than this is given back.
const PARTS_KEPT: usize = 4;
/// A viewer that has said more at once than so many reads take is cut: it has next to nothing to say, and who talks without
/// end keeps the thread from others.
const READS_AT_ONCE_MAX: usize = 16;
/// What one of them takes.
const READ_BYTES: usize = 256;

impl Sending {
    /// A file as the body of an answer, which begins with its head.
    pub(super) fn of_body(stream: StallGuard<SharedSocket>, head: String, file: FlvFile, framing: Framing) -> Self {
        let parts = VecDeque::from([Bytes::from(head)]);
        Self { stream, file, framing, inbox: None, parts, ended: false }
    }

    /// A file as messages of a WebSocket, which is open already.
    pub(super) fn of_messages(stream: StallGuard<SharedSocket>, file: FlvFile) -> Self {
        let inbox = Some(Box::default());
        Self { stream, file, framing: Framing::Messages, inbox, parts: VecDeque::new(), ended: false }
    }

    /// Sends until the stream has ended or the viewer has left. Safe to drop at any await, which closes the connection.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let stop = self.file.stop();
        let left = tokio::select! {
            sent = poll_fn(|cx| self.poll_sent(cx)) => sent?,
            () = stop.cancelled() => false,
        };
        if !left {
            self.get_up();
            self.file.end();
            poll_fn(|cx| self.poll_sent(cx)).await?;
            self.stream.shutdown().await?;
        }
        Ok(())
    }

    /// Sends all that is due. Ready with whether the viewer has left before the end.
    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut reads = 0;
        loop {
            if self.poll_write(cx)?.is_ready() {
                if self.ended {
                    return Poll::Ready(Ok(false));
                }
                if self.poll_more(cx).is_ready() {
                    continue;
                }
            } else {
                // Whatever the viewer takes wakes this task, and one that takes nothing is cut by the guard.
                self.file.check_overdue()?;
            }
            match ready!(self.poll_said(cx, &mut reads))? {
                None => return Poll::Ready(Ok(true)),
                Some(said) => self.on_said(said),
            }
        }
    }

    /// Ready once there may be more to write here. Meanwhile a row writes.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if let Some(pong) = self.inbox.as_mut().and_then(|inbox| inbox.take_pong()) {
            self.parts.push_back(pong);
            return Poll::Ready(());
        }
        let seat = self.seat();
        if let Some(rest) = ready!(self.file.poll_row(self.framing, seat, cx))
            && !rest.is_empty()
        {
            self.parts.push_back(rest);
            return Poll::Ready(());
        }
        // Whoever got up looks for itself before it sits again: there may be something that no row writes.
        ready!(self.file.poll_more(cx));
        self.put_out();
        Poll::Ready(())
    }

    fn seat(&self) -> Arc<Seat<dyn Take>> {
        self.stream.get_ref().seat().clone()
    }

    /// From here on no row writes.
    fn get_up(&mut self) {
        let seat = self.seat();
        self.parts.extend(self.file.get_up(&*seat).filter(|rest| !rest.is_empty()));
    }

    /// Takes what the file has, in one wrapping.
    fn put_out(&mut self) {
        let before = self.parts.len();
        let bytes = self.file.take(&mut self.parts);
        self.ended = bytes == 0;
        if self.ended {
            self.parts.extend(self.framing.end());
            return;
        }
        if let Some(head) = self.framing.head(bytes) {
            self.parts.insert(before, head);
        }
        self.parts.extend(self.framing.tail());
    }

    fn on_said(&mut self, said: Said) {
        self.get_up();
        match said {
            // The pong stays in the inbox until the write in progress is done.
            Said::Ping => {}
            Said::Close(answer) => {
                if !self.ended {
                    self.parts.push_back(answer);
                }
                self.ended = true;
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.parts.is_empty() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = self.parts.iter().zip(&mut slices).map(|(part, slice)| *slice = IoSlice::new(part)).count();
            let mut written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, &slices[..filled]))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            while let Some(part) = self.parts.front_mut() {
                if written < part.len() {
                    part.advance(written);
                    break;
                }
                written -= part.len();
                self.parts.pop_front();
            }
        }
        if self.parts.capacity() > PARTS_KEPT {
            self.parts = VecDeque::new();
        }
        Poll::Ready(Ok(()))
    }

    /// What the viewer says that is to be answered; nothing once it has left. It has been read `reads` times at once.
    fn poll_said(&mut self, cx: &mut Context<'_>, reads: &mut usize) -> Poll<io::Result<Option<Said>>> {
        let mut bytes = [0; READ_BYTES];
        while *reads < READS_AT_ONCE_MAX {
            if let Some(said) = self.inbox.as_mut().and_then(|inbox| inbox.poll_said()) {
                return Poll::Ready(Ok(Some(said)));
            }
            *reads += 1;
            let mut read = ReadBuf::new(&mut bytes);
            ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))?;
            if read.filled().is_empty() {
                return Poll::Ready(Ok(None));
            }
            if let Some(inbox) = &mut self.inbox {
                inbox.handle_bytes(read.filled());
            }
        }
        Poll::Ready(Err(io::ErrorKind::InvalidData.into()))
    }
}
