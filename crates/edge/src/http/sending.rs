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
    feed::Feed,
    framing::Framing,
    stall::StallGuard,
    websocket::{Inbox, Said},
};

/// What is due to a viewer goes out in one write, as it does over RTMP; while all is well a row writes it.
#[derive(Debug)]
pub(super) struct Sending {
    stream: StallGuard<SharedSocket>,
    feed: Feed,
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
/// So often in one turn a viewer is listened to: who talks without end does not keep its stream from others.
const READS_A_TURN: usize = 16;

impl Sending {
    /// A file as the body of an answer, which begins with its head.
    pub(super) fn of_body(stream: StallGuard<SharedSocket>, head: String, feed: Feed, framing: Framing) -> Self {
        let parts = VecDeque::from([Bytes::from(head)]);
        Self { stream, feed, framing, inbox: None, parts, ended: false }
    }

    /// A file as messages of a WebSocket, which is open already.
    pub(super) fn of_messages(stream: StallGuard<SharedSocket>, feed: Feed) -> Self {
        let inbox = Some(Box::default());
        Self { stream, feed, framing: Framing::Messages, inbox, parts: VecDeque::new(), ended: false }
    }

    /// Sends until the stream has ended or the viewer has left. Safe to drop at any await, which closes the connection.
    pub(super) async fn run(mut self) -> io::Result<()> {
        let stop = self.feed.stop();
        let left = tokio::select! {
            sent = poll_fn(|cx| self.poll_sent(cx)) => sent?,
            () = stop.cancelled() => false,
        };
        if !left {
            self.get_up();
            self.feed.end();
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
        if let Some(rest) = ready!(self.feed.poll_row(self.framing, seat, cx))
            && !rest.is_empty()
        {
            self.parts.push_back(rest);
            return Poll::Ready(());
        }
        // Whoever got up looks for itself before it sits again: there may be something that no row writes.
        ready!(self.feed.poll_more(cx));
        self.put_out();
        Poll::Ready(())
    }

    fn seat(&self) -> Arc<Seat<dyn Take>> {
        self.stream.get_ref().seat().clone()
    }

    /// From here on no row writes.
    fn get_up(&mut self) {
        let seat = self.seat();
        self.parts.extend(self.feed.get_up(&*seat).filter(|rest| !rest.is_empty()));
    }

    /// Takes what the feed has, in one wrapping.
    fn put_out(&mut self) {
        let before = self.parts.len();
        let bytes = self.feed.take(&mut self.parts);
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
            // It is among the inbox's, until what is being written has been.
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

    /// What the viewer says that is to be answered; nothing once it has left. So often it was read in this turn.
    fn poll_said(&mut self, cx: &mut Context<'_>, reads: &mut usize) -> Poll<io::Result<Option<Said>>> {
        let mut bytes = [0; 256];
        while *reads < READS_A_TURN {
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
