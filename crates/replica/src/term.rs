//! A term of an active origin: what it appends, what of it is committed, and what its followers are sent.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use cluster::{Commits, Epoch, FollowerId};
use hub::Item;
use media::{PublicationId, StreamName};

use crate::{
    journal::Journal,
    log::{Log, closes},
    message::{BATCH_BYTES, BATCH_ITEMS, Entry, FollowDown, LogState, SnapshotHead, Source},
};

/// What an origin has while it is active, and loses when it is not.
#[derive(Debug)]
pub(crate) struct Term {
    pub(crate) commits: Commits,
    pub(crate) journal: Journal,
    /// What was appended and is not known to be committed, in order.
    pub(crate) pending: VecDeque<Pending>,
    /// Handing over: takes nothing until this time, or until newer word.
    pub(crate) yields_until: Option<Instant>,
    /// When time was last let pass.
    pub(crate) ticked: Instant,
    pub(crate) sending: BTreeMap<FollowerId, Sending>,
}

/// Something that waits to be committed.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) order: u64,
    pub(crate) name: StreamName,
    pub(crate) seq: u64,
    /// Whose message it was, or who fed the stream then.
    pub(crate) publication: PublicationId,
    pub(crate) number: Option<u64>,
    pub(crate) closes: bool,
}

/// How far one follower has got.
#[derive(Debug)]
pub(crate) enum Sending {
    /// It has not been told that this origin leads.
    New,
    /// It is to say what it holds.
    Asked,
    /// Its tail is settled.
    Settled(Settled),
}

/// What goes to a follower whose tail is settled.
#[derive(Debug)]
pub(crate) struct Settled {
    /// The first word, once.
    keep: Option<FollowDown>,
    /// Logs as they were when the tail was settled, where the follower lacks some of them.
    captures: VecDeque<Capture>,
    /// The order that comes next.
    next_order: u64,
    /// Whether the follower has an order to ack.
    begun: bool,
}

#[derive(Debug)]
struct Capture {
    head: Option<SnapshotHead>,
    items: VecDeque<Arc<Item>>,
}

impl Term {
    pub(crate) fn new(commits: Commits, journal_max: usize, now: Instant) -> Self {
        Self {
            commits,
            journal: Journal::new(journal_max),
            pending: VecDeque::new(),
            yields_until: None,
            ticked: now,
            sending: BTreeMap::new(),
        }
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.commits.epoch()
    }

    /// All orders below this one are committed; 0: not even what the log held when the term began.
    pub(crate) fn committed_below(&self) -> u64 {
        self.commits.committed().map_or(0, |committed| committed + 1)
    }

    /// Gives an item its order.
    pub(crate) fn push(
        &mut self,
        name: &StreamName,
        item: Arc<Item>,
        publication: PublicationId,
        source: Option<Source>,
    ) {
        let number = item.provenance.and_then(|provenance| provenance.number);
        let (seq, closes) = (item.seq, closes(&item));
        self.journal.push(Entry { name: name.clone(), item, source });
        let order = self.commits.append();
        self.pending.push_back(Pending { order, name: name.clone(), seq, publication, number, closes });
        if self.sending.is_empty() {
            self.forget_sent();
        }
    }

    /// A follower has said what it holds: from here on it gets everything that it lacks. Returns what it had committed
    /// and this origin never had: each stream, and the first and last position.
    pub(crate) fn settle(
        &mut self,
        id: FollowerId,
        held: &[LogState],
        logs: &BTreeMap<StreamName, Log>,
        gone: Vec<PublicationId>,
    ) -> Vec<(StreamName, u64, u64)> {
        let splits = held.iter().filter_map(|held| split(held, logs.get(&held.name))).collect();
        let held: BTreeMap<_, _> = held.iter().filter(|log| !log.ended).map(|log| (&log.name, log)).collect();
        let (mut keep, mut captures) = (Vec::new(), VecDeque::new());
        for log in logs.values() {
            let Some(held) = held.get(&log.name) else {
                captures.push_back(Capture::whole(log));
                continue;
            };
            let common = log.lineage.common_end(&held.lineage);
            keep.push((log.name.clone(), common));
            // What follows the common part goes on from the ring, if it is still there, and if the follower has something
            // of that part in memory by which to go on.
            let rest = Some(common).filter(|common| *common > held.first_seq);
            match rest.and_then(|common| log.writer.items_from(common)) {
                Some(_) if common == log.lineage.next_seq() => {}
                Some(items) => captures.push_back(Capture::rest(log, common, items)),
                None => captures.push_back(Capture::whole(log)),
            }
        }
        let from = self.commits.head();
        let keep = Some(FollowDown::Settled { epoch: self.epoch(), keep, gone });
        let settled = Settled { keep, captures, next_order: from + 1, begun: false };
        self.sending.insert(id, Sending::Settled(settled));
        self.commits.follower_settled(id, from);
        splits
    }

    /// The next message for a follower.
    pub(crate) fn poll(&mut self, id: FollowerId) -> Option<FollowDown> {
        let (epoch, committed) = (self.epoch(), self.committed_below());
        let sending = self.sending.get_mut(&id)?;
        let settled = match sending {
            Sending::New => {
                *sending = Sending::Asked;
                return Some(FollowDown::Lead { epoch });
            }
            Sending::Asked => return None,
            Sending::Settled(settled) => settled,
        };
        if let Some(first) = settled.keep.take().or_else(|| settled.next_of_captures(epoch)) {
            return Some(first);
        }
        let Some(entries) = self.journal.read(settled.next_order) else {
            // It was too slow for the journal: it has to say again what it holds.
            *sending = Sending::Asked;
            return Some(FollowDown::Lead { epoch });
        };
        if entries.is_empty() && settled.begun {
            return None;
        }
        settled.begun = true;
        settled.next_order += entries.len() as u64;
        let order = settled.next_order - 1;
        self.forget_sent();
        Some(FollowDown::Entries { epoch, order, committed, entries })
    }

    /// What was sent to all is kept by their acks, not by the journal.
    pub(crate) fn forget_sent(&mut self) {
        let next_order = |sending: &Sending| match sending {
            Sending::Settled(settled) => Some(settled.next_order),
            Sending::New | Sending::Asked => None,
        };
        let all_sent = self.sending.values().filter_map(next_order).min();
        self.journal.forget_below(all_sent.unwrap_or(self.commits.head() + 1));
    }
}

/// What a follower has committed and the log here lacks: the stream, and the first and last position.
fn split(held: &LogState, here: Option<&Log>) -> Option<(StreamName, u64, u64)> {
    let common = here.map_or(0, |log| log.lineage.common_end(&held.lineage));
    // Where nothing is in common the follower was away while the stream ended, unless it committed it alone.
    let from = if common > 0 { common } else { held.alone_from? };
    (from < held.committed_below).then(|| (held.name.clone(), from, held.committed_below - 1))
}

impl Settled {
    fn next_of_captures(&mut self, epoch: Epoch) -> Option<FollowDown> {
        let capture = self.captures.front_mut()?;
        if let Some(snapshot) = capture.head.take() {
            return Some(FollowDown::SnapshotBegin { epoch, snapshot });
        }
        let items = capture.next_items();
        if items.is_empty() {
            self.captures.pop_front();
            return Some(FollowDown::SnapshotEnd { epoch });
        }
        Some(FollowDown::SnapshotItems { epoch, items })
    }
}

impl Capture {
    fn whole(log: &Log) -> Self {
        let snapshot = log.writer.snapshot();
        Self::new(log, None, snapshot.setup, snapshot.items)
    }

    fn rest(log: &Log, from: u64, items: Vec<Arc<Item>>) -> Self {
        Self::new(log, Some(from), Vec::new(), items)
    }

    fn new(log: &Log, from: Option<u64>, setup: Vec<media::Frame>, items: Vec<Arc<Item>>) -> Self {
        let head = SnapshotHead {
            name: log.name.clone(),
            lineage: log.lineage.clone(),
            from,
            committed_below: log.writer.stream().info().committed_below,
            setup,
            source: log.source.clone(),
        };
        Self { head: Some(head), items: items.into() }
    }

    fn next_items(&mut self) -> Vec<Arc<Item>> {
        let mut bytes = 0;
        let mut items = Vec::new();
        while bytes < BATCH_BYTES && items.len() < BATCH_ITEMS {
            let Some(item) = self.items.pop_front() else { break };
            bytes += item.frame().map_or(0, |frame| frame.payload.len());
            items.push(item);
        }
        items
    }
}
