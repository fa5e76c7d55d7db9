//! Publications at the active origin: opened, fed, resumed, taken over, closed (REPLICATION P1-P5).

use std::time::Instant;

use cluster::{Epoch, Mishap};
use hub::{Body, Event};
use media::{MediaMessage, Provenance, PublicationId, StreamName};
use splice::{Accepted, Opened, Splice, Taken};
use tokio::sync::watch;

use crate::{Replica, log::Log, message::Source};

/// A publication that asks to feed a stream.
#[derive(Debug, Clone)]
pub struct Publish {
    /// The stream.
    pub name: StreamName,
    /// The encoder's session.
    pub publication: PublicationId,
    /// Where it comes from.
    pub source: Source,
    /// The number of the first message that follows; above 0 it has been elsewhere before.
    pub first_number: u64,
}

/// One connection's right to feed a stream, to be given back with [`Replica::handle_lost`] or
/// [`Replica::handle_close`].
#[derive(Debug)]
pub struct Ticket {
    /// The stream.
    pub name: StreamName,
    /// The encoder's session.
    pub publication: PublicationId,
    /// The first number of it that is not in the log.
    pub next_number: u64,
    /// What of it is committed. It closes when the right is lost.
    pub acked: watch::Receiver<Acked>,
    connection: u64,
}

/// How much of a publication is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Acked {
    /// Its opening is: the encoder may be told.
    pub open: bool,
    /// Everything up to and with this number.
    pub through: Option<u64>,
    /// The stream's end is.
    pub closed: bool,
}

/// Why a publication may not feed the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// This origin is not active, or is about to hand over.
    #[error("this origin does not take publications")]
    NotActive,
    /// Another encoder feeds it and does not yield.
    #[error("another encoder is publishing this stream")]
    Busy,
    /// This publication has ended.
    #[error("this publication has ended")]
    Gone,
    /// The stream is ending: to be asked again in a moment.
    #[error("the stream is ending")]
    Ending,
    /// Nothing has been committed for long: one more stream would only wait with the rest.
    #[error("nothing has been committed for too long")]
    HeldUp,
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The publication does not feed the stream any more: it ended, or another took over.
    #[error("this publication no longer feeds the stream")]
    Gone,
    /// The publication came in on another connection since, or this origin is no longer active. Its sender may connect
    /// again.
    #[error("the publication is no longer held on this connection")]
    Superseded,
}

impl From<splice::Gone> for NotTaken {
    fn from(_: splice::Gone) -> Self {
        Self::Gone
    }
}

impl Replica {
    /// A publication asks to feed a stream, for the first time or again on a new connection.
    pub fn publish(&mut self, publish: Publish, now: Instant) -> Result<Ticket, Refused> {
        let Some(term) = self.term.as_ref().filter(|term| term.yields_until.is_none()) else {
            return Err(Refused::NotActive);
        };
        let epoch = term.commits.epoch();
        match self.logs.get(&publish.name) {
            Some(log) if log.splice.has_ended() => return Err(Refused::Ending),
            Some(_) => self.join(&publish, now)?,
            None => self.open(&publish, epoch, now)?,
        }
        self.note_change();
        let log = self.logs.get_mut(&publish.name).expect("it was opened or joined");
        Ok(Ticket {
            name: publish.name,
            publication: publish.publication,
            next_number: log.splice.next_number(),
            acked: log.acked.subscribe(),
            connection: log.connection,
        })
    }

    fn open(&mut self, publish: &Publish, epoch: Epoch, now: Instant) -> Result<(), Refused> {
        let Publish { name, publication, source, first_number } = publish;
        if self.gone.has(*publication) {
            return Err(Refused::Gone);
        }
        if self.is_stalled() {
            return Err(Refused::HeldUp);
        }
        let writer = self.hub.open(name).expect("the logs hold all streams of the hub");
        let splice = Splice::open(self.config.splice, *publication, now);
        self.logs.insert(name.clone(), Log::begin(writer, splice, source.clone(), now));
        // C7: every grant since carries the loss along; its edge may have been away until now.
        let lost = *first_number > 0 && self.grant.as_ref().is_some_and(|grant| grant.loss_epoch > Epoch::default());
        self.append_open(publish);
        if lost {
            // It was a stream elsewhere, and what it was is lost.
            self.append(name, Body::Event(Event::Loss { epoch: epoch.0, from: 0, to: None }), None, None);
            self.notice(name, Mishap::Lost { from: 0 });
        }
        Ok(())
    }

    /// Lets a publication take up, or take over, a stream that is open.
    fn join(&mut self, publish: &Publish, now: Instant) -> Result<(), Refused> {
        let Publish { name, publication, source, .. } = publish;
        let stalled = self.is_stalled();
        let log = self.logs.get_mut(name).expect("the caller found it");
        // One that comes back appends nothing by that.
        let is_new = log.publication() != *publication;
        if is_new && self.gone.has(*publication) {
            return Err(Refused::Gone);
        }
        if is_new && stalled {
            return Err(Refused::HeldUp);
        }
        let opened = log.splice.publish(*publication, now).map_err(|taken| match taken {
            Taken::Busy => Refused::Busy,
            Taken::Gone => Refused::Gone,
        })?;
        log.source = source.clone();
        match opened {
            Opened::Resumed { .. } => log.connection += 1,
            Opened::TookOver(old) => {
                log.release();
                self.gone.add(old);
                self.append_open(publish);
            }
        }
        Ok(())
    }

    /// Writes that this publication feeds the stream from here on.
    fn append_open(&mut self, publish: &Publish) {
        let Publish { name, publication, source, .. } = publish;
        let body = Body::Event(Event::Open { publication: *publication });
        self.append(name, body, Some(Provenance::of(*publication)), Some(source.clone()));
    }

    /// Whether what was taken waits to be committed for so long, or is so much of this stream, that no more should come:
    /// the edges keep it, within their bounds, and name what they cannot.
    pub fn is_held_up(&self, ticket: &Ticket) -> bool {
        let backlogged = || self.logs.get(&ticket.name).is_some_and(|log| log.writer.is_backlogged());
        self.term.is_some() && (self.is_stalled() || backlogged())
    }

    fn is_stalled(&self) -> bool {
        self.term.as_ref().is_some_and(|term| term.commits.lag() >= self.config.lag_max)
    }

    /// Takes a message; one that stands in the log already is left out. It is committed when the ticket says so.
    pub fn handle_message(
        &mut self,
        ticket: &Ticket,
        number: u64,
        message: MediaMessage,
        now: Instant,
    ) -> Result<(), NotTaken> {
        let log = self.fed_by(ticket)?;
        if let Accepted::Frame(frame, provenance) =
            log.splice.handle_message(ticket.publication, number, message, now)?
        {
            self.append(&ticket.name, Body::Frame(frame), Some(provenance), None);
        }
        Ok(())
    }

    /// The encoder withdrew its metadata.
    pub fn handle_metadata_cleared(&mut self, ticket: &Ticket, number: u64, now: Instant) -> Result<(), NotTaken> {
        let log = self.fed_by(ticket)?;
        if let Some(provenance) = log.splice.handle_event(ticket.publication, number, now)? {
            self.append(&ticket.name, Body::Event(Event::MetadataCleared), Some(provenance), None);
        }
        Ok(())
    }

    /// The messages from one number to another, both included, were given up by the edge.
    pub fn handle_skip(&mut self, ticket: &Ticket, from: u64, to: u64, now: Instant) -> Result<(), NotTaken> {
        let log = self.fed_by(ticket)?;
        // Some of it may have come before the edge gave it up.
        let from = from.max(log.splice.next_number());
        if let Some(provenance) = log.splice.handle_skip(ticket.publication, from, to, now)? {
            let skip = Event::Skip { publication: ticket.publication, from, to };
            self.append(&ticket.name, Body::Event(skip), Some(provenance), None);
            self.notice(&ticket.name, Mishap::Skipped { from, to });
        }
        Ok(())
    }

    /// The encoder ended its stream: the stream ends with it, unless another has taken over. Its end has this number.
    pub fn handle_close(&mut self, ticket: &Ticket, number: u64) -> Result<(), NotTaken> {
        let log = self.fed_by(ticket)?;
        if log.splice.handle_close(ticket.publication) {
            self.end(&ticket.name, Some(number));
        }
        Ok(())
    }

    /// The connection that held the ticket is gone: the stream's grace begins.
    pub fn handle_lost(&mut self, ticket: &Ticket, now: Instant) {
        if let Ok(log) = self.fed_by(ticket) {
            log.splice.handle_lost(ticket.publication, now);
            self.note_change();
        }
    }

    /// Ends a stream whatever its encoder does. False: there is none, or this origin is not active.
    pub fn kick(&mut self, name: &StreamName) -> bool {
        let Some(log) = self.logs.get_mut(name).filter(|_| self.term.is_some()) else { return false };
        let publication = log.publication();
        let ends = log.splice.handle_close(publication);
        if ends {
            self.end(name, None);
        }
        ends
    }

    /// Writes the end of a stream whose splice has ended.
    pub(crate) fn end(&mut self, name: &StreamName, number: Option<u64>) {
        let Some(log) = self.logs.get(name) else { return };
        let publication = log.publication();
        self.gone.add(publication);
        let provenance = Provenance { number, ..Provenance::of(publication) };
        self.append(name, Body::Event(Event::Close { publication }), Some(provenance), None);
    }

    /// Whether the ticket still gives its right.
    pub fn check(&self, ticket: &Ticket) -> Result<(), NotTaken> {
        if self.term.is_none() {
            return Err(NotTaken::Superseded);
        }
        let log = self.logs.get(&ticket.name).ok_or(NotTaken::Gone)?;
        if log.publication() != ticket.publication || log.splice.has_ended() {
            Err(NotTaken::Gone)
        } else if log.connection != ticket.connection {
            Err(NotTaken::Superseded)
        } else {
            Ok(())
        }
    }

    /// The log that the ticket's connection feeds.
    fn fed_by(&mut self, ticket: &Ticket) -> Result<&mut Log, NotTaken> {
        self.check(ticket)?;
        self.logs.get_mut(&ticket.name).ok_or(NotTaken::Gone)
    }
}
