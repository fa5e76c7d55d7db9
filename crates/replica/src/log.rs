//! One stream as an origin keeps it: its items, in which epochs they were written, and who feeds it.

use std::{sync::Arc, time::Instant};

use cluster::{Epoch, Lineage};
use hub::{Body, Event, Hub, Item, Snapshot, Writer};
use media::{Provenance, PublicationId, StreamName};
use splice::{Logged, Splice};
use tokio::sync::watch;

use crate::{
    message::{LogState, SnapshotHead, Source},
    publication::Acked,
};

/// A stream's log. What feeds it, and how its clock stands, follows from the items: so a follower, a snapshot and a log
/// that was cut back all arrive at what the writer had.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) name: StreamName,
    pub(crate) writer: Writer,
    pub(crate) lineage: Lineage,
    pub(crate) splice: Splice,
    pub(crate) source: Source,
    /// Which connection feeds it: a publication may come back on a new one before the old one is known to be gone.
    pub(crate) connection: u64,
    pub(crate) since: Instant,
    /// What of the present publication is committed.
    pub(crate) acked: watch::Sender<Acked>,
    /// From this position on it was committed here alone, or without some whom the record named: if another is active
    /// next, what of it that one lacks has to be named.
    pub(crate) alone_from: Option<u64>,
}

impl Log {
    /// A log that begins with this item, whose position the writer has to take.
    pub(crate) fn begin(writer: Writer, splice: Splice, source: Source, now: Instant) -> Self {
        let next_seq = writer.stream().info().next_seq;
        Self {
            name: writer.stream().name().clone(),
            lineage: Lineage::new(next_seq),
            writer,
            splice,
            source,
            connection: 0,
            since: now,
            acked: watch::Sender::default(),
            alone_from: None,
        }
    }

    /// A log as a snapshot has it. None: it holds nothing by which to go on.
    pub(crate) fn from_snapshot(
        hub: &Hub,
        head: SnapshotHead,
        items: Vec<Arc<Item>>,
        config: splice::Config,
        now: Instant,
    ) -> Option<Self> {
        let splice = Splice::from_log(config, items.iter().map(|item| logged(item)), now)?;
        let writer = hub.mirror(&head.name).ok()?;
        let mut log = Self::begin(writer, splice, head.source.clone(), now);
        log.replace(head, items);
        Some(log)
    }

    /// Becomes what a snapshot has, in one step.
    pub(crate) fn restore(
        &mut self,
        head: SnapshotHead,
        items: Vec<Arc<Item>>,
        config: splice::Config,
        now: Instant,
    ) -> bool {
        let Some(splice) = Splice::from_log(config, items.iter().map(|item| logged(item)), now) else { return false };
        self.splice = splice;
        self.source = head.source.clone();
        self.alone_from = None;
        self.replace(head, items);
        true
    }

    fn replace(&mut self, head: SnapshotHead, items: Vec<Arc<Item>>) {
        self.writer.restore(Snapshot { setup: head.setup, items, next_seq: head.lineage.next_seq() });
        self.writer.commit_below(head.committed_below);
        self.lineage = head.lineage;
    }

    /// Appends at the next position.
    pub(crate) fn append(&mut self, epoch: Epoch, body: Body, provenance: Option<Provenance>) -> Arc<Item> {
        let item = self.writer.append(body, provenance);
        self.lineage.note(epoch, item.seq);
        item
    }

    /// Appends an item that has its position.
    pub(crate) fn append_item(&mut self, epoch: Epoch, item: Arc<Item>) {
        self.lineage.note(epoch, item.seq);
        self.writer.follow([item]);
    }

    /// Appends what another origin wrote, and learns from it.
    pub(crate) fn follow(&mut self, epoch: Epoch, item: Arc<Item>, now: Instant) {
        self.splice.replay(logged(&item), now);
        self.append_item(epoch, item);
    }

    /// Goes on with the items of another origin, which is where they all stand in its epochs.
    pub(crate) fn catch_up(&mut self, head: SnapshotHead, items: Vec<Arc<Item>>, now: Instant) {
        self.splice.catch_up(items.iter().map(|item| logged(item)), now);
        self.writer.follow(items);
        self.writer.commit_below(head.committed_below);
        self.lineage = head.lineage;
        self.source = head.source;
    }

    /// Discards all from `seq` on; who feeds the stream goes back with it. False: nothing is left.
    pub(crate) fn cut(&mut self, seq: u64, config: splice::Config, now: Instant) -> bool {
        if seq >= self.lineage.next_seq() {
            return true;
        }
        self.writer.cut(seq);
        self.lineage.cut(seq);
        self.alone_from = self.alone_from.filter(|from| *from < seq);
        let items: Vec<_> = self.writer.items().collect();
        match Splice::from_log(config, items.iter().map(|item| logged(item)), now) {
            Some(splice) => self.splice = splice,
            None => return false,
        }
        true
    }

    /// Whoever feeds the stream is not connected to this origin yet: an edge comes within this time, and the encoder of
    /// another origin's own port was cut with that origin (P2).
    pub(crate) fn await_source(&mut self, resume_until: Instant, now: Instant) {
        if self.splice.has_ended() {
            return;
        }
        match self.source.edge {
            Some(_) => self.splice.await_resume(resume_until),
            None => self.splice.handle_lost(self.publication(), now),
        }
    }

    /// The highest number of the present publication that stands in the log.
    pub(crate) fn heard(&self) -> Option<u64> {
        self.splice.next_number().checked_sub(1)
    }

    pub(crate) fn publication(&self) -> PublicationId {
        self.splice.publication()
    }

    /// How far it goes, for the one that leads.
    pub(crate) fn state(&self) -> LogState {
        let hub::StreamInfo { first_seq, committed_below, .. } = self.writer.stream().info();
        LogState {
            name: self.name.clone(),
            lineage: self.lineage.clone(),
            committed_below,
            first_seq,
            alone_from: self.alone_from,
            ended: false,
        }
    }

    /// Whether all of it that is below `seq`, and something, is in memory to go on from.
    pub(crate) fn goes_on_from(&self, seq: u64) -> bool {
        seq > self.writer.stream().info().first_seq
    }

    /// What is committed next may be lacked by who is active next.
    pub(crate) fn note_alone(&mut self) {
        if self.alone_from.is_none() {
            let hub::StreamInfo { committed_below, first_seq, .. } = self.writer.stream().info();
            self.alone_from = Some(committed_below.max(first_seq));
        }
    }

    /// Readers may have all up to this position; whoever feeds the stream learns how far it is committed.
    pub(crate) fn commit(&mut self, seq: u64, publication: PublicationId, number: Option<u64>, closes: bool) {
        self.writer.commit_below(seq + 1);
        if publication == self.publication() {
            self.acked.send_modify(|acked| {
                acked.open = true;
                acked.through = acked.through.max(number);
                acked.closed |= closes;
            });
        }
    }

    /// Whoever feeds it has to come anew: the old hold counts no more.
    pub(crate) fn release(&mut self) {
        self.connection += 1;
        self.acked = watch::Sender::default();
    }
}

/// Whether the stream ends with this item.
pub(crate) fn closes(item: &Item) -> bool {
    matches!(item.body, Body::Event(Event::Close { .. }))
}

fn logged(item: &Item) -> Logged<'_> {
    match &item.body {
        Body::Frame(frame) => Logged::Frame(frame, item.provenance),
        Body::Event(Event::Open { publication }) => Logged::Open(*publication),
        Body::Event(Event::Close { publication }) => Logged::Close(*publication),
        Body::Event(_) | Body::Setup(_) => Logged::Other(item.provenance),
    }
}
