//! The machine: what an origin is, and the streams it holds.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    time::{Duration, Instant},
};

use cluster::{CommitRules, Commits, Epoch, Grant, Member, NodeId, Role, Surroundings, SyncRequest};
use hub::{Body, Event, Hub};
use media::{Provenance, PublicationId, StreamName};
use tokio::sync::watch;

use crate::{
    FollowError,
    follow::Leader,
    gone::Gone,
    log::{Log, closes},
    message::{Entry, FollowDown, FollowHello, FollowUp, Source},
    term::{Pending, Sending, Term},
};

/// How an origin keeps streams.
#[derive(Debug, Clone, Copy)]
pub struct Config {
    /// Grace and take-over of encoders.
    pub splice: splice::Config,
    /// When members are asked in and out.
    pub commit: CommitRules,
    /// How long the publications of edges wait for their edge at a new active origin.
    pub resume_wait: Duration,
    /// Entries that wait to be sent to followers; one that is further behind begins anew.
    pub journal_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            splice: splice::Config::default(),
            commit: CommitRules::default(),
            resume_wait: Duration::from_secs(3),
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
    pub(crate) logs: HashMap<StreamName, Log>,
    pub(crate) gone: Gone,
    /// The highest epoch heard of.
    pub(crate) highest: Epoch,
    /// The newest word of the record.
    pub(crate) grant: Option<Grant>,
    /// Some while this origin is active.
    pub(crate) term: Option<Term>,
    /// The last epoch in which it was: a grant is taken once.
    served: Epoch,
    /// Follows that others hold with this origin.
    followers: BTreeMap<u64, Member>,
    /// Members whose Follow was here and closed.
    left: BTreeSet<Member>,
    /// Follows that this origin holds with others.
    pub(crate) leaders: BTreeMap<u64, Leader>,
    next_conn: u64,
    pub(crate) stale_refused: u64,
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
    /// Whether it holds a settled Follow with the active.
    pub follows: bool,
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

/// Why a grant is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GrantRefused {
    /// It is older than what was heard, or was served before.
    #[error("epoch {epoch} is over: {highest} has been heard of")]
    Stale {
        /// The epoch of the grant.
        epoch: Epoch,
        /// The highest heard.
        highest: Epoch,
    },
    /// It is meant for another start of this node, or another node.
    #[error("it is meant for another")]
    NotMine,
}

impl Replica {
    /// An origin that has just started: it stands by and holds nothing.
    pub fn new(me: Member, hub: Hub, config: Config) -> Self {
        Self {
            me,
            hub,
            config,
            logs: HashMap::new(),
            gone: Gone::default(),
            highest: Epoch::default(),
            grant: None,
            term: None,
            served: Epoch::default(),
            followers: BTreeMap::new(),
            left: BTreeSet::new(),
            leaders: BTreeMap::new(),
            next_conn: 0,
            stale_refused: 0,
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
        let led = self.leaders.values().filter_map(Leader::applied).max();
        Standing {
            epoch: self.highest,
            version: self.grant.as_ref().map_or(0, |grant| grant.version),
            active: self.term.is_some(),
            yielding: self.term.as_ref().is_some_and(|term| term.yields),
            yielded: self.term.as_ref().is_some_and(|term| term.yields && term.pending.is_empty()),
            head: commits.map(|commits| (commits.epoch(), commits.head())).or(led).unwrap_or_default(),
            follows: led.is_some_and(|(epoch, _)| epoch == self.highest),
            committed: commits.and_then(Commits::committed),
            counted: commits.map_or(0, |commits| commits.counted().len()),
            alone_from: commits.and_then(Commits::alone).map(|alone| alone.from),
            lag: commits.map(Commits::lag).unwrap_or_default(),
            journal: self.term.as_ref().map_or(0, |term| term.journal.len()),
            stale_refused: self.stale_refused,
        }
    }

    /// The control plane says what the record says.
    pub fn handle_grant(&mut self, grant: Grant, now: Instant) -> Result<(), GrantRefused> {
        if grant.member != self.me {
            return Err(GrantRefused::NotMine);
        }
        let known = self.grant.as_ref().map(|grant| (grant.epoch, grant.version));
        if known.is_some_and(|known| (grant.epoch, grant.version) <= known) {
            return Ok(());
        }
        let active = grant.role == Role::Active;
        let serves_it = self.term.as_ref().is_some_and(|term| term.epoch() == grant.epoch);
        if active && (grant.epoch < self.highest || (grant.epoch == self.served && !serves_it)) {
            self.stale_refused += 1;
            return Err(GrantRefused::Stale { epoch: grant.epoch, highest: self.highest });
        }
        self.handle_epoch(grant.epoch, now);
        if active && let Some(term) = self.term.as_mut().filter(|_| serves_it) {
            term.commits.handle_grant(&grant);
            term.yields = grant.yields;
            self.grant = Some(grant);
            self.advance();
        } else if active {
            self.begin_term(&grant, now);
            self.grant = Some(grant);
            self.recommit(now);
        } else if grant.epoch == self.highest {
            self.step_down();
            self.grant = Some(grant);
        }
        self.note_change();
        Ok(())
    }

    /// Somebody has heard of this epoch (C8): an active of a lower one is active no more.
    pub fn handle_epoch(&mut self, heard: Epoch, _now: Instant) {
        if heard > self.highest {
            self.highest = heard;
            self.step_down();
            self.note_change();
        }
    }

    fn step_down(&mut self) {
        let Some(term) = self.term.take() else { return };
        self.hub_floor(term.epoch());
        // Holds end without a word on their streams: those who feed them look for the next active.
        self.logs.values_mut().for_each(Log::release);
        self.note_change();
    }

    fn begin_term(&mut self, grant: &Grant, now: Instant) {
        self.step_down();
        self.served = grant.epoch;
        self.hub_floor(grant.epoch);
        self.leaders.values_mut().for_each(Leader::reset);
        let mut commits = Commits::new(self.config.commit, grant, now);
        let here: BTreeSet<_> = self.followers.values().cloned().collect();
        self.left.difference(&here).for_each(|member| commits.note_left(member));
        self.followers.iter().for_each(|(id, member)| commits.follower_opened(*id, member.clone()));
        let mut term = Term::new(commits, self.config.journal_max);
        term.sending = self.followers.keys().map(|id| (*id, Sending::New)).collect();
        self.term = Some(term);
        let resume_until = now + self.config.resume_wait;
        for log in self.logs.values_mut() {
            log.release();
            if log.splice.has_ended() {
                continue;
            }
            match log.source.edge {
                Some(_) => log.splice.await_resume(resume_until),
                None => log.splice.handle_lost(log.publication(), now),
            }
        }
    }

    /// Positions of a later epoch are above those of any earlier one.
    fn hub_floor(&self, epoch: Epoch) {
        self.hub.raise_floor(epoch.first_position());
    }

    /// What the log holds is to be committed anew (C1); where the role was granted with loss, what is not known to be
    /// committed goes first (C7).
    fn recommit(&mut self, now: Instant) {
        let Some(loss_epoch) = self.grant.as_ref().map(|grant| grant.loss_epoch) else { return };
        let names: Vec<_> = self.logs.keys().cloned().collect();
        for name in names {
            let Some(log) = self.logs.get_mut(&name) else { continue };
            let cut_back = log.lineage.owes_loss(loss_epoch).then(|| log.writer.stream().info().committed_below);
            if let Some(from) = cut_back
                && !log.cut(from, self.config.splice, now)
            {
                // Nothing of it is known to be committed: it was never seen by anyone.
                self.logs.remove(&name);
                continue;
            }
            let Some(term) = &mut self.term else { return };
            let closes = log.splice.has_ended();
            term.pending.push_back(Pending {
                order: 0,
                name: name.clone(),
                seq: log.lineage.next_seq().saturating_sub(1),
                publication: log.publication(),
                number: log.heard(),
                closes,
            });
            if let Some(from) = cut_back.filter(|_| !closes) {
                self.append_loss(&name, from);
            }
        }
        self.advance();
    }

    fn append_loss(&mut self, name: &StreamName, from: u64) {
        let (Some(term), Some(log)) = (&mut self.term, self.logs.get_mut(name)) else { return };
        let seq = term.epoch().first_position().max(log.lineage.next_seq());
        let loss = Event::Loss { epoch: term.epoch().0, from, to: None };
        let item = std::sync::Arc::new(hub::Item::new(seq, Body::Event(loss)));
        log.append_item(term.epoch(), item.clone());
        let publication = log.publication();
        term.push(name, item, publication, None);
    }

    /// Appends to a stream of the term.
    pub(crate) fn append(
        &mut self,
        name: &StreamName,
        body: Body,
        provenance: Option<Provenance>,
        source: Option<Source>,
    ) {
        let (Some(term), Some(log)) = (&mut self.term, self.logs.get_mut(name)) else { return };
        let item = log.append(term.epoch(), body, provenance);
        let publication = log.publication();
        term.push(name, item, publication, source);
        self.wake_connections();
        self.advance();
    }

    /// Lets out what has become committed.
    pub(crate) fn advance(&mut self) {
        let Some(term) = &mut self.term else { return };
        let Some(committed) = term.commits.committed() else { return };
        let mut noteworthy = false;
        while let Some(next) = term.pending.pop_front_if(|next| next.order <= committed) {
            noteworthy |= next.closes || next.order == 0 || term.yields;
            let Some(log) = self.logs.get_mut(&next.name) else { continue };
            log.commit(next.seq, next.publication, next.number, next.closes);
            if next.closes {
                self.logs.remove(&next.name);
            }
        }
        if noteworthy {
            self.note_change();
        }
    }

    pub(crate) fn note_change(&self) {
        self.changes.send_modify(|count| *count += 1);
        self.wake_connections();
    }

    pub(crate) fn wake_connections(&self) {
        self.wake.send_modify(|count| *count += 1);
    }

    /// Another origin opened a Follow with this one.
    pub fn follower_opened(&mut self, hello: FollowHello, now: Instant) -> u64 {
        self.handle_epoch(hello.epoch, now);
        let id = self.new_conn();
        if let Some(term) = &mut self.term {
            term.commits.follower_opened(id, hello.member.clone());
            term.sending.insert(id, Sending::New);
        }
        self.left.remove(&hello.member);
        self.followers.insert(id, hello.member);
        self.note_change();
        id
    }

    /// What a follower says. After an error its connection has to be closed.
    pub fn handle_up(&mut self, conn: u64, up: FollowUp, now: Instant) -> Result<(), FollowError> {
        if !self.followers.contains_key(&conn) {
            return Err(FollowError::Unknown);
        }
        self.handle_epoch(up.epoch(), now);
        let Some(term) = &mut self.term else { return Ok(()) };
        match up {
            FollowUp::Beat { .. } => {}
            FollowUp::State { epoch, logs } => {
                let asked = matches!(term.sending.get(&conn), Some(Sending::Asked));
                if asked && epoch == term.epoch() {
                    term.settle(conn, &logs, self.logs.values(), self.gone.list());
                    self.note_change();
                }
            }
            FollowUp::Ack { epoch, order } => match term.commits.handle_ack(conn, epoch, order) {
                Ok(()) => self.advance(),
                // Given in an epoch, or of a tail, that has passed since: it counts for nothing.
                Err(cluster::AckRefused::Stale) => self.stale_refused += 1,
                Err(lie @ cluster::AckRefused::Ahead { .. }) => {
                    return Err(FollowError::FalsePosition(lie.to_string()));
                }
            },
        }
        Ok(())
    }

    /// What is to be said to a follower next.
    pub fn poll_down(&mut self, conn: u64) -> Option<FollowDown> {
        self.term.as_mut()?.poll(conn)
    }

    /// "I am there", for a follower.
    pub fn beat_down(&self) -> FollowDown {
        let committed = self.term.as_ref().and_then(|term| term.commits.committed());
        FollowDown::Beat { epoch: self.highest, active: self.term.is_some(), committed: committed.unwrap_or_default() }
    }

    /// "I am there", for whoever this origin follows.
    pub fn beat_up(&self) -> FollowUp {
        FollowUp::Beat { epoch: self.highest }
    }

    /// A follower's connection is gone.
    pub fn follower_closed(&mut self, conn: u64) {
        if let Some(member) = self.followers.remove(&conn) {
            self.left.insert(member);
        }
        if let Some(term) = &mut self.term {
            term.commits.follower_closed(conn);
            term.sending.remove(&conn);
            term.forget_sent();
        }
        self.note_change();
    }

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

    /// The origins whose Follow this one holds.
    pub fn hears(&self) -> BTreeSet<NodeId> {
        self.leaders.values().map(|leader| leader.node.clone()).collect()
    }

    /// What is to be asked of the control plane.
    pub fn poll_request(&mut self) -> Option<SyncRequest> {
        self.term.as_mut()?.commits.poll_request()
    }

    /// When [`Replica::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self, now: Instant) -> Option<Instant> {
        let term = self.term.as_ref()?;
        let graces = self.logs.values().filter_map(|log| log.splice.poll_timeout()).min();
        let counts = !self.followers.is_empty() || !term.commits.counted().is_empty();
        let tick = counts.then(|| now + self.config.commit.tick);
        graces.into_iter().chain(tick).min()
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant, around: Surroundings) {
        let Some(term) = &mut self.term else { return };
        term.commits.tick(now, around);
        let over = self.logs.iter_mut().filter_map(|(name, log)| log.splice.handle_timeout(now).then(|| name.clone()));
        let over: Vec<_> = over.collect();
        for name in over {
            self.end(&name, None);
        }
        self.advance();
    }

    fn new_conn(&mut self) -> u64 {
        self.next_conn += 1;
        self.next_conn
    }

    /// All streams, in no order.
    pub fn list(&self) -> Vec<Listed> {
        self.logs.values().filter(|log| !log.splice.has_ended()).map(Listed::of).collect()
    }
}

impl Term {
    /// Gives an item its order.
    fn push(
        &mut self,
        name: &StreamName,
        item: std::sync::Arc<hub::Item>,
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
    /// How its log stands.
    pub info: hub::StreamInfo,
}

impl Listed {
    fn of(log: &Log) -> Self {
        Self {
            name: log.name.clone(),
            publication: log.publication(),
            source: log.source.clone(),
            connected: log.splice.is_connected(),
            since: log.since,
            jumps: log.splice.jumps(),
            info: log.writer.stream().info(),
        }
    }
}
