//! The streams that this origin keeps whole.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use cluster::NodeId;
use dashmap::{DashMap, mapref::entry::Entry};
use hub::{Body, Event, Hub, Writer};
use media::{MediaMessage, Provenance, PublicationId, StreamName};
use splice::{Accepted, Opened, Splice, Taken};
use telemetry::Rate;
use tokio::{
    sync::watch,
    time::{Instant as TokioInstant, sleep_until},
};
use tokio_util::sync::CancellationToken;

use crate::gone::Gone;

/// All live streams of this origin. Publications come in through [`Streams::publish`]; edges read the [`Hub`].
#[derive(Debug)]
pub struct Streams {
    hub: Hub,
    config: splice::Config,
    live: DashMap<StreamName, Arc<Mutex<Live>>>,
    gone: Gone,
    /// Grows whenever a stream opens, ends, or changes when its grace is over.
    changes: watch::Sender<u64>,
}

/// One stream: its rules and its log, changed together.
#[derive(Debug)]
struct Live {
    splice: Splice,
    /// None once the stream has ended.
    writer: Option<Writer>,
    source: Source,
    /// Which connection feeds it: a publication may come back on a new one before the old one is known to be gone.
    connection: u64,
    since: SystemTime,
    rate: Rate,
}

/// Where a publication comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The edge that took it in; None for an encoder at this origin's public port.
    pub edge: Option<NodeId>,
    /// The encoder's address.
    pub peer: String,
}

/// A stream in a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its name.
    pub name: StreamName,
    /// What feeds it.
    pub publication: PublicationId,
    /// Where that comes from.
    pub source: Source,
    /// Whether its encoder is connected, rather than in its grace.
    pub connected: bool,
    /// When it opened.
    pub since: SystemTime,
    /// Jumps of its encoders' clocks that were smoothed out.
    pub jumps: u64,
    /// Payload taken in each second, in bytes.
    pub bytes_per_second: f64,
    /// How its log stands.
    pub info: hub::StreamInfo,
}

impl Streams {
    /// No streams yet.
    pub fn new(hub: Hub, config: splice::Config) -> Self {
        Self { hub, config, live: DashMap::new(), gone: Gone::default(), changes: watch::Sender::new(0) }
    }

    /// The logs of the streams.
    pub fn hub(&self) -> &Hub {
        &self.hub
    }

    /// Tells of each opening and end of a stream.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A publication asks to feed a stream, for the first time or again on a new connection.
    pub fn publish(
        self: &Arc<Self>,
        name: &StreamName,
        publication: PublicationId,
        source: Source,
        now: Instant,
    ) -> Result<Feed, Taken> {
        let (live, hold) = match self.live.entry(name.clone()) {
            Entry::Vacant(slot) => {
                let (live, hold) = self.open(name, publication, source, now)?;
                (slot.insert(live).clone(), hold)
            }
            Entry::Occupied(mut slot) if lock(slot.get()).writer.is_none() => {
                let (live, hold) = self.open(name, publication, source, now)?;
                slot.insert(live.clone());
                (live, hold)
            }
            Entry::Occupied(slot) => {
                let hold = self.join(name, slot.get(), publication, source, now)?;
                (slot.get().clone(), hold)
            }
        };
        self.note_change();
        let Hold { connection, next_number } = hold;
        Ok(Feed { streams: self.clone(), name: name.clone(), live, publication, connection, next_number })
    }

    fn open(
        &self,
        name: &StreamName,
        publication: PublicationId,
        source: Source,
        now: Instant,
    ) -> Result<(Arc<Mutex<Live>>, Hold), Taken> {
        if self.gone.has(publication) {
            return Err(Taken::Gone);
        }
        let mut writer = self.hub.open(name).expect("the entry's lock is held and no live stream holds the writer");
        append(&mut writer, Body::Event(Event::Open { publication }), Some(of(publication)));
        let edge = source.edge.as_ref().map(NodeId::as_str);
        tracing::info!(stream = %name, %publication, peer = source.peer, edge, "stream.opened");
        let splice = Splice::open(self.config, publication, now);
        let live = Live {
            splice,
            writer: Some(writer),
            source,
            connection: 0,
            since: SystemTime::now(),
            rate: Rate::default(),
        };
        let hold = live.hold();
        Ok((Arc::new(Mutex::new(live)), hold))
    }

    /// Lets a publication take up, or take over, a stream that is open.
    fn join(
        &self,
        name: &StreamName,
        live: &Mutex<Live>,
        publication: PublicationId,
        source: Source,
        now: Instant,
    ) -> Result<Hold, Taken> {
        let mut live = lock(live);
        if live.splice.publication() != publication && self.gone.has(publication) {
            return Err(Taken::Gone);
        }
        if let Some(replaced) = live.publish(name, publication, source, now)? {
            self.gone.add(replaced);
        }
        Ok(live.hold())
    }

    /// Ends a stream whatever its encoder does. False: there is none.
    pub fn kick(&self, name: &StreamName) -> bool {
        let Some(live) = self.live.get(name).map(|live| live.clone()) else { return false };
        self.end_if(name, &live, "kicked", |_| true)
    }

    /// All streams, in no order.
    pub fn list(&self) -> Vec<Listed> {
        self.all().into_iter().filter_map(|(name, live)| lock(&live).listed(name)).collect()
    }

    /// Lets go of all streams: this origin is no longer active. They have not ended, so no close is written: edges keep
    /// their viewers and encoders, and look for the next active one.
    pub fn withdraw_all(&self) {
        for (name, live) in self.all() {
            lock(&live).writer = None;
            self.live.remove_if(&name, |_, held| Arc::ptr_eq(held, &live));
            tracing::info!(stream = %name, "stream.withdrawn");
        }
        self.note_change();
    }

    /// Ends streams whose grace is over, until told to stop.
    pub async fn run(&self, stop: CancellationToken) {
        let mut changes = self.changes();
        loop {
            let due = async {
                match self.next_timeout() {
                    Some(at) => sleep_until(TokioInstant::from_std(at)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = due => self.handle_timeouts(TokioInstant::now().into_std()),
                changed = changes.changed() => changed.expect("the sender is ours and outlives this loop"),
            }
        }
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.live.iter().filter_map(|live| lock(&live).splice.poll_timeout()).min()
    }

    fn handle_timeouts(&self, now: Instant) {
        for (name, live) in self.all() {
            self.end_if(&name, &live, "grace over", |splice| splice.handle_timeout(now));
        }
    }

    /// True: the condition held and the stream had not ended before.
    fn end_if(
        &self,
        name: &StreamName,
        live: &Arc<Mutex<Live>>,
        reason: &'static str,
        condition: impl FnOnce(&mut Splice) -> bool,
    ) -> bool {
        // The map is not locked while the stream is: `publish` takes them in the other order.
        let ended = lock(live).end_if(condition);
        if let Some(publication) = ended {
            self.gone.add(publication);
            self.live.remove_if(name, |_, held| Arc::ptr_eq(held, live));
            tracing::info!(stream = %name, reason, "stream.ended");
            self.note_change();
        }
        ended.is_some()
    }

    fn all(&self) -> Vec<(StreamName, Arc<Mutex<Live>>)> {
        self.live.iter().map(|entry| (entry.key().clone(), entry.value().clone())).collect()
    }

    fn note_change(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

/// What a connection has of a stream, as it was when it was let in.
#[derive(Debug, Clone, Copy)]
struct Hold {
    connection: u64,
    next_number: u64,
}

impl Live {
    fn hold(&self) -> Hold {
        Hold { connection: self.connection, next_number: self.splice.next_number() }
    }

    /// Returns the publication that was replaced, if one was.
    fn publish(
        &mut self,
        name: &StreamName,
        publication: PublicationId,
        source: Source,
        now: Instant,
    ) -> Result<Option<PublicationId>, Taken> {
        let replaced = match self.splice.publish(publication, now)? {
            Opened::TookOver(old) => {
                tracing::info!(stream = %name, %publication, %old, peer = source.peer, "stream.taken_over");
                self.append(Body::Event(Event::Open { publication }), Some(of(publication)));
                Some(old)
            }
            Opened::Resumed { next_number } => {
                tracing::info!(stream = %name, %publication, next_number, "stream.resumed");
                None
            }
        };
        self.source = source;
        self.connection += 1;
        Ok(replaced)
    }

    fn append(&mut self, body: Body, provenance: Option<Provenance>) {
        if let Some(writer) = &mut self.writer {
            append(writer, body, provenance);
        }
    }

    /// The publication that fed it, if this ended it.
    fn end_if(&mut self, condition: impl FnOnce(&mut Splice) -> bool) -> Option<PublicationId> {
        if self.writer.is_none() || !condition(&mut self.splice) {
            return None;
        }
        let publication = self.splice.publication();
        self.splice.handle_close(publication);
        self.append(Body::Event(Event::Close { publication }), Some(of(publication)));
        self.writer = None;
        Some(publication)
    }

    fn listed(&self, name: StreamName) -> Option<Listed> {
        let info = self.writer.as_ref()?.stream().info();
        Some(Listed {
            name,
            publication: self.splice.publication(),
            source: self.source.clone(),
            connected: self.splice.is_connected(),
            since: self.since,
            jumps: self.splice.jumps(),
            bytes_per_second: self.rate.sample(info.bytes_total, Instant::now()),
            info,
        })
    }
}

/// One connection's right to feed a stream. Dropping it means that the connection was lost.
#[derive(Debug)]
pub struct Feed {
    streams: Arc<Streams>,
    name: StreamName,
    live: Arc<Mutex<Live>>,
    publication: PublicationId,
    connection: u64,
    next_number: u64,
}

impl Feed {
    /// The first number that has not been heard of this publication, when it connected.
    pub fn next_number(&self) -> u64 {
        self.next_number
    }

    /// Takes a message; one that was heard before is left out. When this returns, the message is committed.
    pub fn handle_message(&self, number: u64, message: MediaMessage, now: Instant) -> Result<(), NotTaken> {
        let mut live = self.current()?;
        match live.splice.handle_message(self.publication, number, message, now)? {
            Accepted::Frame(frame, provenance) => live.append(Body::Frame(frame), Some(provenance)),
            Accepted::Repeated => {}
        }
        Ok(())
    }

    /// The encoder withdrew its metadata.
    pub fn handle_metadata_cleared(&self, number: u64, now: Instant) -> Result<(), NotTaken> {
        let mut live = self.current()?;
        if let Some(provenance) = live.splice.handle_event(self.publication, number, now)? {
            live.append(Body::Event(Event::MetadataCleared), Some(provenance));
        }
        Ok(())
    }

    /// The stream, if this connection is the one that feeds it.
    fn current(&self) -> Result<MutexGuard<'_, Live>, NotTaken> {
        let live = lock(&self.live);
        let superseded = live.connection != self.connection && live.splice.publication() == self.publication;
        if superseded { Err(NotTaken::Superseded) } else { Ok(live) }
    }

    /// The encoder ended its stream: the stream ends with it, unless another has taken over.
    pub fn close(self) {
        let publication = self.publication;
        self.streams.end_if(&self.name, &self.live, "encoder closed it", |splice| splice.handle_close(publication));
    }
}

/// Why a message is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The publication does not feed the stream any more.
    #[error(transparent)]
    Gone(#[from] splice::Gone),
    /// The publication came in on another connection since. Which of the two its sender still holds, only that knows:
    /// it may connect again.
    #[error("the publication came in on another connection")]
    Superseded,
}

impl Drop for Feed {
    fn drop(&mut self) {
        let now = TokioInstant::now().into_std();
        let mut live = lock(&self.live);
        if live.connection == self.connection {
            live.splice.handle_lost(self.publication, now);
        }
        drop(live);
        self.streams.note_change();
    }
}

/// What is said of an event that no message of the publication has told.
fn of(publication: PublicationId) -> Provenance {
    Provenance { publication, number: None, clock: None }
}

/// Appends what is committed at once: nobody follows this origin.
fn append(writer: &mut Writer, body: Body, provenance: Option<Provenance>) {
    let seq = writer.append(body, provenance).seq;
    writer.commit_below(seq + 1);
}

/// A panic while the lock was held left at most one message out: the stream goes on.
fn lock(live: &Mutex<Live>) -> MutexGuard<'_, Live> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
