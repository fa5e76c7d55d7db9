//! A client's socket and the session behind it.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use rtmp::client::{Config, Event, Session};
use tokio::{
    io::{AsyncRead, AsyncWriteExt, ReadBuf},
    time::{Instant, sleep_until},
};

use super::{Error, Io};
use crate::outbox::Outbox;

/// Moves bytes between a socket and a session.
pub(super) struct Link {
    io: Box<dyn Io>,
    pub(super) session: Session,
    outbox: Outbox,
    buffer: Box<[u8]>,
}

const READ_BYTES: usize = 64 * 1024;

impl Link {
    /// Comes back once the server has accepted what was asked.
    pub(super) async fn start(io: Box<dyn Io>, config: Config) -> Result<Self, Error> {
        let session = Session::new(config, Instant::now().into_std());
        let mut link = Self { io, session, outbox: Outbox::default(), buffer: vec![0; READ_BYTES].into() };
        while !matches!(link.event().await?, Event::Started) {}
        Ok(link)
    }

    /// The next event; the last one is an error. Safe to drop at any await.
    pub(super) async fn event(&mut self) -> Result<Event, Error> {
        loop {
            match self.session.poll_event() {
                Some(Event::Closed(closed)) => return Err(closed.into()),
                Some(event) => return Ok(event),
                None => self.turn().await?,
            }
        }
    }

    /// Comes back once everything that is to be sent is in the socket. Events wait.
    pub(super) async fn flush(&mut self) -> Result<(), Error> {
        self.collect();
        while !self.outbox.is_empty() {
            self.turn().await?;
        }
        Ok(())
    }

    /// Takes what the server has said, without waiting for more. Nothing but an end matters to who asks.
    pub(super) async fn listen(&mut self) -> Result<(), Error> {
        if let Poll::Ready(read) = poll_fn(|cx| Poll::Ready(self.poll_read(cx))).await {
            read?;
        }
        while let Some(event) = self.session.poll_event() {
            if let Event::Closed(closed) = event {
                return Err(closed.into());
            }
        }
        Ok(())
    }

    pub(super) async fn close(&mut self) -> Result<(), Error> {
        self.session.close();
        self.collect();
        poll_fn(|cx| self.outbox.poll_drain(cx, Pin::new(&mut self.io))).await?;
        self.io.shutdown().await?;
        Ok(())
    }

    fn collect(&mut self) {
        while let Some(bytes) = self.session.poll_output() {
            self.outbox.push(bytes);
        }
    }

    /// Waits until bytes moved or time passed.
    async fn turn(&mut self) -> Result<(), Error> {
        self.collect();
        let wake_at = self.session.poll_timeout().map(Instant::from_std);
        tokio::select! {
            moved = poll_fn(|cx| self.poll_moved(cx)) => moved,
            () = async {
                match wake_at {
                    Some(at) => sleep_until(at).await,
                    None => std::future::pending().await,
                }
            } => {
                self.session.handle_timeout(Instant::now().into_std());
                Ok(())
            }
        }
    }

    fn poll_moved(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.outbox.is_empty() {
            let written = self.outbox.write(cx, Pin::new(&mut self.io))?;
            if written > 0 || self.outbox.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_read(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        let mut buffer = ReadBuf::new(&mut self.buffer);
        match Pin::new(&mut self.io).poll_read(cx, &mut buffer)? {
            Poll::Ready(()) if buffer.filled().is_empty() => Poll::Ready(Err(Error::Left)),
            Poll::Ready(()) => {
                self.session.handle_bytes(buffer.filled(), Instant::now().into_std());
                Poll::Ready(Ok(()))
            }
            Poll::Pending => Poll::Pending,
        }
    }
}
