//! The streams that this origin keeps whole.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Instant, SystemTime},
};

use cluster::NodeId;
use dashmap::{DashMap, mapref::entry::Entry};
use hub::{Body, Event, Hub, Writer};
use media::{MediaMessage, PublicationId, StreamName};
use splice::{Accepted, Gone, Opened, Splice, Taken};
use tokio::{
    sync::watch,
    time::{Instant as TokioInstant, sleep_until},
};
use tokio_util::sync::CancellationToken;

/// All live streams of this origin. Publications come in through [`Streams::publish`]; edges read the [`Hub`].
#[derive(Debug)]
pub struct Streams {
    hub: Hub,
    config: splice::Config,
    live: DashMap<StreamName, Arc<Mutex<Live>>>,
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
    /// How its log stands.
    pub info: hub::StreamInfo,
}

impl Streams {
    /// No streams yet.
    pub fn new(hub: Hub, config: splice::Config) -> Self {
        Self { hub, config, live: DashMap::new(), changes: watch::Sender::new(0) }
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
        let live = match self.live.entry(name.clone()) {
            Entry::Vacant(slot) => slot.insert(self.open(name, publication, source, now)).clone(),
            Entry::Occupied(mut slot) if lock(slot.get()).writer.is_none() => {
                slot.insert(self.open(name, publication, source, now));
                slot.get().clone()
            }
            Entry::Occupied(slot) => {
                lock(slot.get()).publish(name, publication, source, now)?;
                slot.get().clone()
            }
        };
        self.note_change();
        let (connection, next_number) = {
            let live = lock(&live);
            (live.connection, live.splice.next_number())
        };
        Ok(Feed { streams: self.clone(), name: name.clone(), live, publication, connection, next_number })
    }

    fn open(&self, name: &StreamName, publication: PublicationId, source: Source, now: Instant) -> Arc<Mutex<Live>> {
        let mut writer = self.hub.open(name).expect("the entry's lock is held and no live stream holds the writer");
        writer.append(Body::Event(Event::Open { publication }));
        tracing::info!(stream = %name, %publication, peer = source.peer, edge = source.edge.as_ref().map(|edge| edge.as_str()), "stream.opened");
        let splice = Splice::open(self.config, publication, now);
        Arc::new(Mutex::new(Live { splice, writer: Some(writer), source, connection: 0, since: SystemTime::now() }))
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

    /// Ends all streams: the origin stops being active.
    pub fn end_all(&self, reason: &'static str) {
        for (name, live) in self.all() {
            self.end_if(&name, &live, reason, |_| true);
        }
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
        if ended {
            self.live.remove_if(name, |_, held| Arc::ptr_eq(held, live));
            tracing::info!(stream = %name, reason, "stream.ended");
            self.note_change();
        }
        ended
    }

    fn all(&self) -> Vec<(StreamName, Arc<Mutex<Live>>)> {
        self.live.iter().map(|entry| (entry.key().clone(), entry.value().clone())).collect()
    }

    fn note_change(&self) {
        self.changes.send_modify(|count| *count += 1);
    }
}

impl Live {
    fn publish(
        &mut self,
        name: &StreamName,
        publication: PublicationId,
        source: Source,
        now: Instant,
    ) -> Result<(), Taken> {
        match self.splice.publish(publication, now)? {
            Opened::TookOver(old) => {
                tracing::info!(stream = %name, %publication, %old, peer = source.peer, "stream.taken_over");
                self.append(Body::Event(Event::Open { publication }));
            }
            Opened::Resumed { next_number } => {
                tracing::info!(stream = %name, %publication, next_number, "stream.resumed");
            }
        }
        self.source = source;
        self.connection += 1;
        Ok(())
    }

    fn append(&mut self, body: Body) {
        if let Some(writer) = &mut self.writer {
            writer.append(body);
        }
    }

    fn end_if(&mut self, condition: impl FnOnce(&mut Splice) -> bool) -> bool {
        if self.writer.is_none() || !condition(&mut self.splice) {
            return false;
        }
        let publication = self.splice.publication();
        self.splice.handle_close(publication);
        self.append(Body::Event(Event::Close { publication }));
        self.writer = None;
        true
    }

    fn listed(&self, name: StreamName) -> Option<Listed> {
        Some(Listed {
            name,
            publication: self.splice.publication(),
            source: self.source.clone(),
            connected: self.splice.is_connected(),
            since: self.since,
            jumps: self.splice.jumps(),
            info: self.writer.as_ref()?.stream().info(),
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
    pub fn handle_message(&self, number: u64, message: MediaMessage, now: Instant) -> Result<(), Gone> {
        let mut live = lock(&self.live);
        match live.splice.handle_message(self.publication, number, message, now)? {
            Accepted::Frame(frame) => live.append(Body::Frame(frame)),
            Accepted::Repeated => {}
        }
        Ok(())
    }

    /// The encoder withdrew its metadata.
    pub fn handle_metadata_cleared(&self, number: u64, now: Instant) -> Result<(), Gone> {
        let mut live = lock(&self.live);
        if live.splice.handle_event(self.publication, number, now)? {
            live.append(Body::Event(Event::MetadataCleared));
        }
        Ok(())
    }

    /// The encoder ended its stream: the stream ends with it, unless another has taken over.
    pub fn close(self) {
        let publication = self.publication;
        self.streams.end_if(&self.name, &self.live, "encoder closed it", |splice| splice.handle_close(publication));
    }
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

/// A panic while the lock was held left at most one message out: the stream goes on.
fn lock(live: &Mutex<Live>) -> MutexGuard<'_, Live> {
    live.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use bytes::Bytes;
    use hub::{Budget, Read, RingLimits, Start};
    use media::{DEFAULT_VHOST, Medium};

    use super::*;

    const A: PublicationId = PublicationId::from_bits(0xa);
    const B: PublicationId = PublicationId::from_bits(0xb);

    fn streams() -> Arc<Streams> {
        Arc::new(Streams::new(Hub::new(RingLimits::default()), splice::Config::default()))
    }

    fn name() -> StreamName {
        StreamName::from_app(DEFAULT_VHOST, "live", "a").unwrap()
    }

    fn now() -> Instant {
        TokioInstant::now().into_std()
    }

    fn publish(streams: &Arc<Streams>, publication: PublicationId) -> Result<Feed, Taken> {
        streams.publish(&name(), publication, Source { edge: None, peer: "test".into() }, now())
    }

    fn key(timestamp: u32) -> MediaMessage {
        let payload = Bytes::from_static(&[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65]);
        MediaMessage { medium: Medium::Video, timestamp, payload }
    }

    #[tokio::test(start_paused = true)]
    async fn viewers_stay_through_the_grace_and_are_told_when_it_is_over() {
        let streams = streams();
        let stop = CancellationToken::new();
        let task = tokio::spawn({
            let (streams, stop) = (streams.clone(), stop.clone());
            async move { streams.run(stop).await }
        });
        let feed = publish(&streams, A).unwrap();
        feed.handle_message(0, key(0), now()).unwrap();
        let mut reader = streams.hub().get(&name()).unwrap().subscribe(Start::Live);
        let mut items = Vec::new();
        let all = Budget { items: 100, bytes: 1 << 20 };
        assert_eq!(reader.read(all, &mut items), Read::Items);
        let begin = TokioInstant::now();
        drop(feed);
        assert_eq!(reader.read(all, &mut items), Read::Empty);
        reader.ready().await;
        assert!(begin.elapsed() >= Duration::from_secs(15) && begin.elapsed() < Duration::from_secs(16));
        items.clear();
        assert_eq!(reader.read(all, &mut items), Read::Items);
        assert_eq!(items[0].body, Body::Event(Event::Close { publication: A }));
        assert!(streams.list().is_empty() && streams.hub().get(&name()).is_none());
        stop.cancel();
        task.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_resumed_publication_does_not_suffer_from_its_old_connection() {
        let streams = streams();
        let old = publish(&streams, A).unwrap();
        old.handle_message(0, key(0), now()).unwrap();
        let new = publish(&streams, A).unwrap();
        assert_eq!(new.next_number(), 1);
        drop(old);
        assert!(streams.list()[0].connected);
        new.handle_message(0, key(0), now()).unwrap();
        new.handle_message(1, key(40), now()).unwrap();
        assert_eq!(streams.list()[0].info.items_total, 3, "open and two frames");
    }

    #[tokio::test(start_paused = true)]
    async fn a_closed_stream_can_be_published_again_at_higher_positions() {
        let streams = streams();
        let feed = publish(&streams, A).unwrap();
        feed.handle_message(0, key(0), now()).unwrap();
        let next = streams.list()[0].info.next_seq;
        assert!(matches!(publish(&streams, B), Err(Taken::Busy)));
        feed.close();
        assert!(streams.list().is_empty());
        let again = publish(&streams, B).unwrap();
        assert_eq!(streams.list()[0].info.first_seq, next + 1, "after the close event");
        assert!(streams.kick(&name()));
        assert_eq!(again.handle_message(0, key(0), now()), Err(Gone));
        assert!(!streams.kick(&name()));
    }
}
