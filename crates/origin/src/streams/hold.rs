//! One connection's right to feed a stream.

use std::sync::Arc;

use media::{MediaMessage, StreamName};
use replica::{Acked, NotTaken, Ticket};

use super::Streams;

/// One connection's right to feed a stream. Dropping it means that the connection was lost.
#[derive(Debug)]
pub struct Hold {
    streams: Arc<Streams>,
    ticket: Ticket,
}

impl Hold {
    pub(super) fn new(streams: Arc<Streams>, ticket: Ticket) -> Self {
        Self { streams, ticket }
    }

    /// The stream that it feeds.
    pub fn name(&self) -> &StreamName {
        &self.ticket.name
    }

    /// The first number that was not in the log when the publication connected.
    pub fn next_number(&self) -> u64 {
        self.ticket.next_number
    }

    /// Takes a message; one that was heard before is left out. [`Hold::committed`] tells when it is committed.
    pub fn handle_message(&self, number: u64, message: MediaMessage) -> Result<(), NotTaken> {
        self.streams.with(|replica, now| replica.handle_message(&self.ticket, number, message, now))
    }

    /// The encoder withdrew its metadata.
    pub fn handle_metadata_cleared(&self, number: u64) -> Result<(), NotTaken> {
        self.streams.with(|replica, now| replica.handle_metadata_cleared(&self.ticket, number, now))
    }

    /// The messages from one number to another, both included, were given up by the edge.
    pub fn handle_skip(&self, from: u64, to: u64) -> Result<(), NotTaken> {
        self.streams.with(|replica, now| replica.handle_skip(&self.ticket, from, to, now))
    }

    /// The encoder ended its stream: the stream ends with it, unless another has taken over.
    pub fn handle_close(&self, number: u64) -> Result<(), NotTaken> {
        let closed = self.streams.with(|replica, _| replica.handle_close(&self.ticket, number));
        if closed.is_ok() {
            tracing::info!(stream = %self.ticket.name, publication = %self.ticket.publication, "stream.closed");
        }
        closed
    }

    /// The encoder is lost: the stream's grace begins. What was taken is still to be committed.
    pub fn handle_lost(&self) {
        self.streams.with(|replica, now| replica.handle_lost(&self.ticket, now));
    }

    /// Whether no more should be taken, because what was taken waits for too long, or is too much, to be committed.
    pub fn is_held_up(&self) -> bool {
        self.streams.with(|replica, _| replica.is_held_up(&self.ticket))
    }

    /// Waits until more is committed than was told before. An error: the right is lost. Safe to drop at the await.
    pub async fn committed(&mut self) -> Result<Acked, NotTaken> {
        match self.ticket.acked.changed().await {
            Ok(()) => Ok(*self.ticket.acked.borrow_and_update()),
            Err(_) => Err(self.lost()),
        }
    }

    /// Why the right is lost.
    fn lost(&self) -> NotTaken {
        self.streams.with(|replica, _| replica.check(&self.ticket)).err().unwrap_or(NotTaken::Superseded)
    }

    /// Waits until the publication's opening is committed.
    pub(super) async fn opened(&mut self) -> Result<(), NotTaken> {
        if self.ticket.acked.wait_for(|acked| acked.open).await.is_err() {
            return Err(self.lost());
        }
        // What came with it is to be told by `committed`.
        self.ticket.acked.mark_changed();
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.handle_lost();
    }
}
