//! The machine: what an origin is, and the streams it holds.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use cluster::{CommitRules, Commits, Epoch, Grant, KnownRecord, Member, Mishap, NodeId, Notice, Surroundings};
use hub::Hub;
use media::{PublicationId, StreamName};
use tokio::sync::watch;

use crate::{alone::Alone, follow::Leader, gone::Gone, log::Log, message::Source, term::Term};

/// How an origin keeps streams.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Grace and take-over of encoders.
    pub splice: splice::Config,
    /// When members are asked in and out.
    pub commit: CommitRules,
    /// How long the publications of edges wait for their edge at a new active origin.
    pub resume_wait: Duration,
    /// How long an active that was told to yield takes nothing, while no newer word comes.
    pub yield_max: Duration,
    /// How long something may wait to be committed before no more is taken.
    pub lag_max: Duration,
    /// Entries that wait to be sent to followers; one that is further behind begins anew.
    pub journal_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            splice: splice::Config::default(),
            commit: CommitRules::default(),
            resume_wait: Duration::from_secs(3),
            yield_max: Duration::from_secs(3),
            lag_max: Duration::from_secs(10),
            journal_max: 65_536,
        }
    }
}

/// One origin's streams, its role, and its part in keeping them whole.
///
/// Feed it what is heard, from encoders' edges, other origins and the control plane; ask the `poll_` methods what is to be
/// said. It has no clock, socket or task: whoever drives it calls [`Replica::handle_timeout`] when
/// [`Replica::poll_timeout`] is due, looks at each connection again when [`Replica::wake`] has changed, and at the rest
/// when [`Replica::changes`] has.
#[derive(Debug)]
pub struct Replica {
    pub(crate) me: Member,
    pub(crate) hub: Hub,
    pub(crate) config: Config,
    pub(crate) logs: BTreeMap<StreamName, Log>,
    pub(crate) gone: Gone,
    pub(crate) alone: Alone,
    /// The highest epoch heard of.
    pub(crate) highest: Epoch,
    /// The newest word of the record.
    pub(crate) grant: Option<Grant>,
    /// Some while this origin is active.
    pub(crate) term: Option<Term>,
    /// The last epoch in which it was: a grant is taken once.
    pub(crate) served: Epoch,
    /// Follows that others hold with this origin.
    pub(crate) followers: BTreeMap<u64, Member>,
    /// Members whose Follow was here and closed.
    pub(crate) left: BTreeSet<Member>,
    /// Follows that this origin holds with others.
    pub(crate) leaders: BTreeMap<u64, Leader>,
    /// The epoch and order up to which it last held everything.
    pub(crate) held: (Epoch, u64),
    pub(crate) next_conn: u64,
    pub(crate) stale_refused: u64,
    notices: VecDeque<Notice>,
    wake: watch::Sender<u64>,
    changes: watch::Sender<u64>,
}

/// How an origin stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The highest epoch it has heard of.
    pub epoch: Epoch,
    /// The version of the record it knows.
    pub version: u64,
    /// Whether it is active, in that epoch.
    pub active: bool,
    /// It was told to hand over, and takes no more publications.
    pub yielding: bool,
    /// So it was, and all that it took is committed.
    pub yielded: bool,
    /// The epoch and order up to which it holds everything of the active; its own when it is active itself.
    pub head: (Epoch, u64),
    /// The active with which it holds a settled Follow.
    pub follows: Option<NodeId>,
    /// The order up to which all is committed, while it is active.
    pub committed: Option<u64>,
    /// Members whose acks it waits for.
    pub counted: usize,
    /// It goes on alone, from this order on.
    pub alone_from: Option<u64>,
    /// For how long the oldest uncommitted entry has waited.
    pub lag: Duration,
    /// Entries that wait to be sent to some follower.
    pub journal: usize,
    /// Words of ended epochs that were refused.
    pub stale_refused: u64,
}

impl Replica {
    /// An origin that has just started: it stands by and holds nothing.
    pub fn new(me: Member, hub: Hub, config: Config) -> Self {
        Self {
            me,
            hub,
            config,
            logs: BTreeMap::new(),
            gone: Gone::default(),
            alone: Alone::default(),
            highest: Epoch::default(),
            grant: None,
            term: None,
            served: Epoch::default(),
            followers: BTreeMap::new(),
            left: BTreeSet::new(),
            leaders: BTreeMap::new(),
            held: (Epoch::default(), 0),
            next_conn: 0,
            stale_refused: 0,
            notices: VecDeque::new(),
            wake: watch::Sender::default(),
            changes: watch::Sender::default(),
        }
    }

    /// Changes whenever a connection may have something new to poll.
    pub fn wake(&self) -> watch::Receiver<u64> {
        self.wake.subscribe()
    }

    /// Changes with the role, with each opening and end of a stream, and when a timeout may have come nearer.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// How this origin stands.
    pub fn standing(&self) -> Standing {
        let commits = self.term.as_ref().map(|term| &term.commits);
        Standing {
            epoch: self.highest,
            version: self.grant.as_ref().map_or(0, |grant| grant.version),
            active: self.term.is_some(),
            yielding: self.term.as_ref().is_some_and(|term| term.yields_until.is_some()),
            yielded: self.term.as_ref().is_some_and(|term| term.yields_until.is_some() && term.pending.is_empty()),
            head: commits.map(|commits| (commits.epoch(), commits.head())).unwrap_or(self.held),
            follows: self
                .leaders
                .values()
                .find(|leader| leader.leads_in(self.highest))
                .map(|leader| leader.node.clone()),
            committed: commits.and_then(Commits::committed),
            counted: commits.map_or(0, |commits| commits.counted().len()),
            alone_from: commits.and_then(Commits::alone).map(|alone| alone.from),
            lag: commits.map(Commits::lag).unwrap_or_default(),
            journal: self.term.as_ref().map_or(0, |term| term.journal.len()),
            stale_refused: self.stale_refused,
        }
    }

    /// Where our log of a stream parts from that of which somebody has `seq` from an active of this epoch.
    pub fn parted_from(&self, name: &StreamName, seq: u64, epoch: Epoch) -> Option<u64> {
        self.logs.get(name)?.lineage.parted_from(seq, epoch)
    }

    /// The record that it goes by, as far as its last grant tells of it.
    pub fn known_record(&self) -> Option<KnownRecord> {
        let Grant { version, written_by, loss_epoch, in_sync, epoch, store, .. } = self.grant.clone()?;
        Some(KnownRecord { version, written_by, loss_epoch, in_sync, epoch, granted_by: store })
    }

    pub(crate) fn note_change(&self) {
        self.changes.send_modify(|count| *count += 1);
        self.wake_connections();
    }

    pub(crate) fn wake_connections(&self) {
        self.wake.send_modify(|count| *count += 1);
    }

    /// The origins whose Follow this one holds.
    pub fn hears(&self) -> BTreeSet<NodeId> {
        self.leaders.values().map(|leader| leader.node.clone()).collect()
    }

    /// What an operator has to hear of, the oldest first.
    pub fn poll_notice(&mut self) -> Option<Notice> {
        self.notices.pop_front()
    }

    pub(crate) fn notice(&mut self, stream: &StreamName, what: Mishap) {
        if self.notices.len() < NOTICES_MAX {
            self.notices.push_back(Notice { stream: stream.clone(), what });
            self.note_change();
        }
    }

    /// When [`Replica::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let term = self.term.as_ref()?;
        let graces = self.logs.values().filter_map(|log| log.splice.poll_timeout()).min();
        let counts =
            !self.followers.is_empty() || !term.commits.counted().is_empty() || term.commits.has_something_to_ask();
        // From the last tick on, so that whoever asks often does not put it off.
        let tick = counts.then(|| (term.ticked + self.config.commit.tick).max(now));
        graces.into_iter().chain(tick).chain(term.yields_until).min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant, around: Surroundings) {
        let Some(term) = &mut self.term else { return };
        term.ticked = now;
        term.commits.tick(now, around);
        if term.yields_until.is_some_and(|until| until <= now) {
            // Nobody took over, and nobody says more: the streams go on here.
            term.yields_until = None;
            self.note_change();
        }
        let over = self.logs.iter_mut().filter_map(|(name, log)| log.splice.handle_timeout(now).then(|| name.clone()));
        let over: Vec<_> = over.collect();
        for name in over {
            self.end(&name, None);
        }
        self.advance();
    }

    pub(crate) fn new_conn(&mut self) -> u64 {
        self.next_conn += 1;
        self.next_conn
    }

    /// All streams of which something is committed (C1), in the order of their names. Whatever waits for that has its name
    /// already.
    pub fn list(&self) -> Vec<Listed> {
        self.logs.values().filter(|log| !log.splice.has_ended()).filter_map(Listed::of).collect()
    }
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
    /// When this origin began to hold it.
    pub since: Instant,
    /// Jumps of its encoders' clocks that were smoothed out.
    pub jumps: u64,
    /// Its last committed position.
    pub head: u64,
    /// How its log stands, committed or not.
    pub info: hub::StreamInfo,
}

impl Listed {
    /// None: nothing of it is committed.
    fn of(log: &Log) -> Option<Self> {
        let info = log.writer.stream().info();
        // What was committed may have left the ring for what was not.
        let (_, first) = *log.lineage.starts().first()?;
        let head = info.committed_below.checked_sub(1).filter(|head| *head >= first)?;
        Some(Self {
            name: log.name.clone(),
            publication: log.publication(),
            source: log.source.clone(),
            connected: log.splice.is_connected(),
            since: log.since,
            jumps: log.splice.jumps(),
            head,
            info,
        })
    }
}

/// Notices that wait to be told; what comes on top is not told.
const NOTICES_MAX: usize = 1024;
