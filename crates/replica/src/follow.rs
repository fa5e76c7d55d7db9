//! Following: taking over what the active origin has, word by word (REPLICATION C1, C2, C6).

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Instant,
};

use cluster::{Epoch, NodeId};
use hub::{Body, Event, Item};
use media::{PublicationId, StreamName};
use splice::Splice;

use crate::{
    Replica,
    log::{Log, closes},
    message::{Entry, FollowDown, FollowHello, FollowUp, SnapshotHead},
};

/// One Follow that this origin holds with another.
#[derive(Debug)]
pub(crate) struct Leader {
    pub(crate) node: NodeId,
    /// It leads in this epoch and waits for our state.
    state_due: Option<Epoch>,
    /// Our tail was settled by it in this epoch.
    settled: Option<Epoch>,
    building: Option<Building>,
    /// Logs that came or went on before the first order, and where they ended.
    base: Vec<(StreamName, u64)>,
    /// What it has not said to be committed.
    unconfirmed: VecDeque<Unconfirmed>,
    applied: Option<u64>,
    ack_due: bool,
}

/// A log on its way to us; what we hold stays until it is complete.
#[derive(Debug)]
struct Building {
    head: SnapshotHead,
    items: Vec<Arc<Item>>,
}

#[derive(Debug)]
struct Unconfirmed {
    order: u64,
    name: StreamName,
    seq: u64,
    closes: bool,
}

/// More items than any ring holds.
const SNAPSHOT_ITEMS_MAX: usize = 1 << 20;

/// Why a Follow cannot go on: it has to be opened anew.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FollowError {
    /// The connection is not known here.
    #[error("no such connection")]
    Unknown,
    /// It speaks in an epoch that another has ended. Nothing of it is taken or acked.
    #[error("epoch {epoch} is over: {highest} has been heard of")]
    Stale {
        /// What it said.
        epoch: Epoch,
        /// The highest heard.
        highest: Epoch,
    },
    /// Words in an order that makes no sense.
    #[error("{0} out of turn")]
    OutOfTurn(&'static str),
    /// Items that do not go on where the log ends.
    #[error("{name} goes on at {seq}, not at {due}")]
    Gap {
        /// The stream.
        name: StreamName,
        /// Where it goes on.
        seq: u64,
        /// Where it should.
        due: u64,
    },
    /// The other side says that it leads in an epoch that was granted to this origin.
    #[error("two origins are active in epoch {0}")]
    TwoActives(Epoch),
    /// A position was claimed that the log does not have.
    #[error("a false position: {0}")]
    FalsePosition(String),
}

impl Leader {
    pub(crate) fn new(node: NodeId) -> Self {
        Self {
            node,
            state_due: None,
            settled: None,
            building: None,
            base: Vec::new(),
            unconfirmed: VecDeque::new(),
            applied: None,
            ack_due: false,
        }
    }

    /// Nothing of an earlier epoch counts any more.
    pub(crate) fn reset(&mut self) {
        *self = Self::new(self.node.clone());
    }

    /// Whether it is the active of this epoch, and we hold all that it had when we came.
    pub(crate) fn leads_in(&self, epoch: Epoch) -> bool {
        self.settled == Some(epoch) && self.applied.is_some()
    }
}

impl Replica {
    /// This origin opened a Follow with another.
    pub fn leader_opened(&mut self, node: NodeId) -> u64 {
        let id = self.new_conn();
        self.leaders.insert(id, Leader::new(node));
        id
    }

    /// The first word of a Follow.
    pub fn hello(&self) -> FollowHello {
        FollowHello { member: self.me.clone(), epoch: self.highest }
    }

    /// That connection is gone.
    pub fn leader_closed(&mut self, conn: u64) {
        self.leaders.remove(&conn);
        self.note_change();
    }

    /// "I am there", for whoever this origin follows.
    pub fn beat_up(&self) -> FollowUp {
        FollowUp::Beat { epoch: self.highest }
    }

    /// What another origin says on the Follow that we hold with it. After an error the connection has to be closed.
    pub fn handle_down(&mut self, conn: u64, down: FollowDown, now: Instant) -> Result<(), FollowError> {
        let epoch = down.epoch();
        let is_beat = matches!(down, FollowDown::Beat { active: false, .. });
        if epoch < self.highest && !is_beat {
            self.stale_refused += 1;
            return Err(FollowError::Stale { epoch, highest: self.highest });
        }
        self.handle_epoch(epoch);
        let leads = !is_beat;
        if leads && self.term.is_some() {
            return Err(FollowError::TwoActives(epoch));
        }
        let mut leader = self.leaders.remove(&conn).ok_or(FollowError::Unknown)?;
        let done = self.handle_led(&mut leader, down, now);
        self.leaders.insert(conn, leader);
        self.wake_connections();
        done
    }

    fn handle_led(&mut self, leader: &mut Leader, down: FollowDown, now: Instant) -> Result<(), FollowError> {
        match down {
            FollowDown::Beat { epoch, active, committed } => {
                if active && leader.settled == Some(epoch) {
                    self.confirm(leader, committed);
                }
            }
            FollowDown::Lead { epoch } => {
                leader.reset();
                leader.state_due = Some(epoch);
            }
            FollowDown::Settled { epoch, keep, gone } => {
                if leader.settled.is_some() {
                    return Err(FollowError::OutOfTurn("Settled"));
                }
                leader.base = self.settle(keep, gone, now)?;
                leader.settled = Some(epoch);
                // It knows by our state what we had committed alone.
                self.forget_alone();
            }
            _ if leader.settled != Some(down.epoch()) => return Err(FollowError::OutOfTurn("an item")),
            FollowDown::SnapshotBegin { snapshot, .. } => {
                leader.building = Some(Building { head: snapshot, items: Vec::new() });
            }
            FollowDown::SnapshotItems { items, .. } => {
                let building = leader.building.as_mut().ok_or(FollowError::OutOfTurn("SnapshotItems"))?;
                if building.items.len() + items.len() > SNAPSHOT_ITEMS_MAX {
                    return Err(FollowError::OutOfTurn("a snapshot without end"));
                }
                building.items.extend(items);
            }
            FollowDown::SnapshotEnd { .. } => {
                let building = leader.building.take().ok_or(FollowError::OutOfTurn("SnapshotEnd"))?;
                if building.head.lineage.last_epoch() > leader.settled {
                    return Err(FollowError::OutOfTurn("a log of a later epoch"));
                }
                leader.base.push((building.head.name.clone(), building.head.lineage.next_seq()));
                self.complete(building, now)?;
            }
            FollowDown::Entries { epoch, order, committed, entries } => {
                self.apply(leader, epoch, order, entries, now)?;
                self.confirm(leader, committed);
            }
        }
        Ok(())
    }

    /// C6: what the active does not have goes; what it has and we lack comes next.
    fn settle(
        &mut self,
        keep: Vec<(StreamName, u64)>,
        gone: Vec<PublicationId>,
        now: Instant,
    ) -> Result<Vec<(StreamName, u64)>, FollowError> {
        let keep: BTreeMap<_, _> = keep.into_iter().collect();
        self.logs.retain(|name, _| keep.contains_key(name));
        let mut kept = Vec::new();
        for (name, seq) in keep {
            let Some(log) = self.logs.get_mut(&name) else {
                return Err(FollowError::FalsePosition(format!("{name} is to be kept up to {seq} and is not here")));
            };
            if seq > 0 && !log.goes_on_from(seq) {
                // Nothing would be left of it in memory: it stays as it is until the snapshot that follows is complete.
                continue;
            }
            // What is left of a log without a publication serves nobody; a snapshot of it follows.
            if log.cut(seq, self.config.splice, now) {
                kept.push((name, log.lineage.next_seq()));
            } else {
                self.logs.remove(&name);
            }
        }
        gone.into_iter().for_each(|publication| self.gone.add(publication));
        Ok(kept)
    }

    /// A log has come whole: it takes its place in one step.
    fn complete(&mut self, building: Building, now: Instant) -> Result<(), FollowError> {
        let Building { head, items } = building;
        check_items(&head, &items)?;
        let config = self.config.splice;
        match (head.from, self.logs.get_mut(&head.name)) {
            (Some(from), Some(log)) if log.lineage.next_seq() == from => log.catch_up(head, items, now),
            (Some(from), log) => {
                let due = log.map_or(0, |log| log.lineage.next_seq());
                return Err(FollowError::Gap { name: head.name, seq: from, due });
            }
            (None, Some(log)) => {
                if !log.restore(head, items, config, now) {
                    return Err(FollowError::OutOfTurn("a log without a publication"));
                }
            }
            (None, None) => {
                let name = head.name.clone();
                let log = Log::from_snapshot(&self.hub, head, items, config, now);
                self.logs.insert(name, log.ok_or(FollowError::OutOfTurn("a log without a publication"))?);
            }
        }
        Ok(())
    }

    fn apply(
        &mut self,
        leader: &mut Leader,
        epoch: Epoch,
        order: u64,
        entries: Vec<Entry>,
        now: Instant,
    ) -> Result<(), FollowError> {
        let before = order.checked_sub(entries.len() as u64).ok_or(FollowError::OutOfTurn("an order below 0"))?;
        match leader.applied {
            Some(applied) if applied != before => return Err(FollowError::OutOfTurn("an order")),
            Some(_) => {}
            None => {
                let base = std::mem::take(&mut leader.base).into_iter();
                leader.unconfirmed.extend(base.map(|(name, next_seq)| {
                    let closes = self.logs.get(&name).is_some_and(|log| log.splice.has_ended());
                    Unconfirmed { order: before, name, seq: next_seq.saturating_sub(1), closes }
                }));
                self.note_change();
            }
        }
        for (order, entry) in (before + 1..).zip(entries) {
            leader.unconfirmed.push_back(Unconfirmed {
                order,
                name: entry.name.clone(),
                seq: entry.item.seq,
                closes: closes(&entry.item),
            });
            self.append_followed(epoch, entry, now)?;
        }
        leader.applied = Some(order);
        leader.ack_due = true;
        self.held = (epoch, order);
        Ok(())
    }

    fn append_followed(&mut self, epoch: Epoch, entry: Entry, now: Instant) -> Result<(), FollowError> {
        let opens = match entry.item.body {
            Body::Event(Event::Open { publication }) => Some(publication),
            _ => None,
        };
        let names_loss = matches!(entry.item.body, Body::Event(Event::Loss { .. }));
        // The name is free again: the active has seen the end of what we hold committed.
        let ended = self.logs.get(&entry.name).filter(|log| opens.is_some() && log.splice.has_ended());
        if let Some(publication) = ended.map(Log::publication) {
            self.gone.add(publication);
            self.logs.remove(&entry.name);
        }
        let Some(log) = self.logs.get_mut(&entry.name) else {
            return self.begin_followed(epoch, entry, now);
        };
        let Entry { name, item, source } = entry;
        let due = log.lineage.next_seq();
        if item.seq < due || (item.seq > due && !names_loss) {
            return Err(FollowError::Gap { name, seq: item.seq, due });
        }
        if let Some(opened) = opens.filter(|opened| *opened != log.publication()) {
            self.gone.add(log.publication());
            self.gone.forgive(opened);
        }
        if let Some(source) = source {
            log.source = source;
        }
        log.follow(epoch, item, now);
        Ok(())
    }

    fn begin_followed(&mut self, epoch: Epoch, entry: Entry, now: Instant) -> Result<(), FollowError> {
        let Entry { name, item, source } = entry;
        let gap = FollowError::Gap { name: name.clone(), seq: item.seq, due: 0 };
        let Body::Event(Event::Open { publication }) = item.body else { return Err(gap) };
        let (Some(source), Ok(writer)) = (source, self.hub.mirror(&name)) else { return Err(gap) };
        let splice = Splice::open(self.config.splice, publication, now);
        let mut log = Log::begin(writer, splice, source, now);
        log.append_item(epoch, item);
        self.logs.insert(name, log);
        Ok(())
    }

    /// All below this order is committed: known for the time when this origin has to go on alone with what it knows.
    fn confirm(&mut self, leader: &mut Leader, committed: u64) {
        while let Some(next) = leader.unconfirmed.pop_front_if(|next| next.order < committed) {
            let Some(log) = self.logs.get_mut(&next.name) else { continue };
            log.writer.commit_below(next.seq + 1);
            if next.closes && log.splice.has_ended() && log.lineage.next_seq() == next.seq + 1 {
                self.gone.add(log.publication());
                self.logs.remove(&next.name);
            }
        }
    }

    /// What is to be said on the Follow that we hold with another.
    pub fn poll_up(&mut self, conn: u64) -> Option<FollowUp> {
        let highest = self.highest;
        let leader = self.leaders.get_mut(&conn)?;
        if let Some(epoch) = leader.state_due.take().filter(|epoch| *epoch == highest) {
            let logs = self.logs.values().map(Log::state).chain(self.alone.ended()).collect();
            return Some(FollowUp::State { epoch, logs });
        }
        // C2: nothing of an epoch below the highest heard is acked.
        let epoch = leader.settled.filter(|epoch| *epoch == highest)?;
        let order = leader.applied.filter(|_| std::mem::take(&mut leader.ack_due))?;
        Some(FollowUp::Ack { epoch, order })
    }
}

/// The items of a snapshot stand where its head says.
fn check_items(head: &SnapshotHead, items: &[Arc<Item>]) -> Result<(), FollowError> {
    let gap = |seq: u64, due: u64| FollowError::Gap { name: head.name.clone(), seq, due };
    let mut due = head.from.unwrap_or(0);
    for item in items {
        if item.seq < due {
            return Err(gap(item.seq, due));
        }
        due = item.seq + 1;
    }
    let end = head.lineage.next_seq();
    if due == end { Ok(()) } else { Err(gap(end, due)) }
}

impl FollowDown {
    /// The epoch of the sender.
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Beat { epoch, .. }
            | Self::Lead { epoch }
            | Self::Settled { epoch, .. }
            | Self::SnapshotBegin { epoch, .. }
            | Self::SnapshotItems { epoch, .. }
            | Self::SnapshotEnd { epoch }
            | Self::Entries { epoch, .. } => *epoch,
        }
    }
}

impl FollowUp {
    /// The epoch of the sender, or of what it answers.
    pub fn epoch(&self) -> Epoch {
        match self {
            Self::Beat { epoch } | Self::State { epoch, .. } | Self::Ack { epoch, .. } => *epoch,
        }
    }
}
