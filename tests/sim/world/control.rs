//! A simulated control plane: the product's `Pool`, and a store that outlives it.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use cluster::{
    By, Cause, EdgeReport, Epoch, FirstFrame, Member, MoveLimits, NodeId, Pool, PoolChange, PoolEvent, PoolRecord,
    PoolReport, PoolRules, PoolView, PromoteError, Promotion, RecordVersion, Unclean,
};

use super::{
    Sabotage, Setup,
    judge::Judge,
    message::{Beat, Msg},
    names::{self, CONTROL, ORIGINS, node_id, party_of, pool_id},
    net::{Conn, Net, Party},
};

/// How often it looks whether it was late itself.
const TICK: u64 = 50_000;
/// How late it may be.
const LATENESS_MAX: u64 = 250_000;
/// What a write takes until it is on disk.
const FSYNC: u64 = 1500;

/// The product's, with a first choice, so that simulations begin alike.
pub fn rules() -> PoolRules {
    PoolRules { first_active: Some(node_id(ORIGINS)), ..PoolRules::default() }
}

/// Roles move as often as faults ask for.
pub fn unlimited() -> PoolRules {
    let moves = MoveLimits {
        silence_max: usize::MAX,
        silence_apart: Duration::ZERO,
        death_apart: Duration::ZERO,
        ..MoveLimits::default()
    };
    PoolRules { moves, ..rules() }
}

/// An operator decides about promotions with loss.
pub fn never_unclean() -> PoolRules {
    PoolRules { unclean: Unclean::Never, ..rules() }
}

/// What is on the control plane's disk, and what it has told.
#[derive(Debug, Clone)]
pub struct Store {
    pub record: PoolRecord,
    copy: Option<PoolRecord>,
    /// Role changes.
    pub moves: Vec<String>,
    pub events: Vec<String>,
    pub refusals: Vec<String>,
}

impl Store {
    pub fn new() -> Self {
        Self {
            record: PoolRecord::new(pool_id()),
            copy: None,
            moves: Vec::new(),
            events: Vec::new(),
            refusals: Vec::new(),
        }
    }

    pub fn back_up(&mut self) {
        self.copy = Some(self.record.clone());
    }

    pub fn restore(&mut self) {
        if let Some(record) = self.copy.clone() {
            self.record = record;
        }
    }

    pub fn has_told(&self, word: &str) -> bool {
        self.events.iter().any(|event| event.contains(word))
    }

    pub fn active(&self) -> Option<Party> {
        self.record.active.as_ref().map(|active| party_of(&active.node))
    }
}

/// One start of the control plane.
#[derive(Debug)]
pub struct Control {
    pool: Pool,
    sessions: BTreeMap<Conn, Session>,
    writing: Option<PoolChange>,
    asked: VecDeque<Asked>,
    ticked: u64,
    news: bool,
    sabotage: Option<Sabotage>,
    /// Whoever has spoken to it, and who had when it decided on the last record.
    has_heard: BTreeSet<Party>,
    pub had_heard: BTreeSet<Party>,
}

/// A change that somebody asks for; it waits for its turn to be written.
#[derive(Debug)]
pub enum Asked {
    Fence(NodeId),
    Unfence(NodeId),
    Leave(Member),
}

#[derive(Debug)]
struct Session {
    party: Party,
    member: Option<Member>,
    /// The version that an edge was shown last.
    shown: u64,
}

impl Control {
    pub fn new(setup: &Setup, record: PoolRecord, net: &Net) -> Self {
        Self {
            // Each start of a control plane grants in a name of its own, whatever the store is a copy of.
            pool: Pool::new(record, setup.rules.clone(), net.local(CONTROL)).granting_as(net.now.to_string()),
            sabotage: setup.sabotage,
            sessions: BTreeMap::new(),
            writing: None,
            asked: VecDeque::new(),
            ticked: net.now,
            news: true,
            has_heard: BTreeSet::new(),
            had_heard: BTreeSet::new(),
        }
    }

    pub fn tick(&mut self, net: &mut Net, judge: &mut Judge, store: &mut Store) {
        if net.now > self.ticked + LATENESS_MAX {
            let late = Duration::from_micros(net.now - self.ticked);
            self.pool.handle_late(late, net.local(CONTROL));
        }
        self.ticked = net.now;
        self.drive(net, judge, store);
        net.tick_after(CONTROL, TICK);
    }

    pub fn handle(&mut self, net: &mut Net, judge: &mut Judge, store: &mut Store, conn: Conn, msg: Msg) {
        let now = net.local(CONTROL);
        match msg {
            Msg::Closed => self.closed(net, conn),
            Msg::Beat(beat) => {
                self.heard(net, conn, beat);
                net.send(conn, CONTROL, Msg::Answer);
            }
            Msg::Ask(request) => {
                if let Some(member) = self.sessions.get(&conn).and_then(|session| session.member.clone()) {
                    let answer = self.pool.handle_sync(&member, request);
                    net.tell(|| format!("{} asked: {answer:?}", member.node));
                }
                self.news = true;
            }
            Msg::Yielded { epoch } => {
                if let Some(member) = self.sessions.get(&conn).and_then(|session| session.member.clone()) {
                    self.pool.handle_yielded(&member, epoch, now);
                }
                self.news = true;
            }
            other => unreachable!("not for the control plane: {other:?}"),
        }
        self.drive(net, judge, store);
    }

    fn closed(&mut self, net: &Net, conn: Conn) {
        let Some(Session { party, member, .. }) = self.sessions.remove(&conn) else { return };
        // A newer session of the same node stands in its place.
        if self.sessions.values().any(|session| session.party == party && session.member == member) {
            return;
        }
        let now = net.local(CONTROL);
        match member {
            Some(member) => self.pool.handle_gone(&member, now),
            None => self.pool.handle_edge_gone(&node_id(party), now),
        }
        self.news = true;
    }

    fn heard(&mut self, net: &Net, conn: Conn, beat: Beat) {
        let now = net.local(CONTROL);
        let party = net.peer(conn, CONTROL);
        let begins = !self.sessions.contains_key(&conn);
        let member = beat.origin.as_ref().map(|origin| origin.member.clone());
        self.sessions.entry(conn).or_insert_with(|| Session { party, member: member.clone(), shown: 0 });
        self.has_heard.insert(party);
        let Some(origin) = beat.origin else {
            let edge = names::member(party, net.processes[party].start);
            let Beat { hears, epoch, records, .. } = beat;
            let report =
                EdgeReport { edge, highest_epoch: epoch, pool_epoch: epoch, records, hears, late: Duration::ZERO };
            self.news |= self.pool.handle_edge(report, now);
            return;
        };
        let address = |port| format!("{}:{port}", origin.member.node).parse().expect("a right address");
        if begins {
            self.pool.handle_opened(&origin.member);
        }
        let report = PoolReport {
            public: address(1935),
            peer: address(9001),
            highest_epoch: origin.standing.epoch,
            serving: origin.standing.active.then_some(origin.standing.epoch),
            head: origin.standing.head,
            hears: (!begins).then_some(beat.hears),
            record: origin.record,
            first_frame: FirstFrame::NotTold,
            late: Duration::ZERO,
            member: origin.member,
        };
        self.news |= self.pool.handle_report(report, now) || begins;
    }

    /// Looks at the pool when there is news, or a wait is over.
    fn drive(&mut self, net: &mut Net, judge: &mut Judge, store: &mut Store) {
        let now = net.local(CONTROL);
        let due = self.pool.poll_timeout().is_some_and(|due| due <= now);
        if self.writing.is_none() && (self.news || due) {
            self.news = false;
            let asked = self.asked(net, store);
            if let Some(change) = asked.or_else(|| self.pool.poll_change(now, net.unix_ms())) {
                self.writing = Some(change);
                self.had_heard.clone_from(&self.has_heard);
                net.write(CONTROL, FSYNC);
            }
        }
        self.say(net, judge, store);
    }

    /// The next change that was asked for and can be made.
    fn asked(&mut self, net: &mut Net, store: &mut Store) -> Option<PoolChange> {
        while let Some(asked) = self.asked.pop_front() {
            let change = match &asked {
                Asked::Fence(node) => self.pool.fenced(node, By::default()),
                Asked::Unfence(node) => self.pool.unfenced(node, By::default()),
                Asked::Leave(member) => Ok(self.without(member)),
            };
            match change {
                Ok(Some(change)) => return Some(change),
                Ok(None) => {}
                Err(error) => refused(net, store, &error),
            }
        }
        None
    }

    /// Only the start that asked is taken out.
    fn without(&self, member: &Member) -> Option<PoolChange> {
        let known = self.pool.record().members.get(&member.node)?;
        if known.incarnation != member.incarnation {
            return None;
        }
        self.pool.without(&member.node)
    }

    pub fn written(&mut self, net: &mut Net, judge: &mut Judge, store: &mut Store) {
        let Some(PoolChange { mut record, after, events }) = self.writing.take() else { return };
        self.spoil(&mut record, &store.record);
        assert_eq!(store.record.version, after, "one control plane writes at a time");
        net.tell(|| shown(&record));
        judge.recorded(&store.record, &record);
        if record.epoch > store.record.epoch {
            store.moves.push(format!("{} ms: {}", net.now / 1000, shown(&record)));
        }
        let before = std::mem::replace(&mut store.record, record.clone());
        self.pool.handle_written(record, net.local(CONTROL));
        let left = before.members.keys().filter(|node| !store.record.members.contains_key(*node));
        left.for_each(|node| self.pool.handle_left(node));
        events.into_iter().for_each(|event| told(net, judge, store, event));
        judge.fenced(&store.record);
        self.news = true;
        self.drive(net, judge, store);
    }

    fn spoil(&self, record: &mut PoolRecord, before: &PoolRecord) {
        match self.sabotage {
            Some(Sabotage::RegrantDropsActive) if record.epoch > before.epoch && before.active.is_some() => {
                record.in_sync.retain(|member| Some(member) != record.active.as_ref());
            }
            Some(Sabotage::RestoredInSyncKept)
                if record.last_change.as_ref().is_some_and(|change| change.cause == Cause::Adopted) =>
            {
                record.in_sync.extend(before.in_sync.iter().cloned());
            }
            _ => {}
        }
    }

    fn say(&mut self, net: &mut Net, judge: &mut Judge, store: &mut Store) {
        while let Some(grant) = self.pool.poll_grant(net.local(CONTROL)) {
            let mut to = self.sessions.iter().filter(|(_, session)| session.member.as_ref() == Some(&grant.member));
            if let Some((conn, _)) = to.next_back() {
                net.send(*conn, CONTROL, Msg::Grant(grant));
            }
        }
        let PoolView { version, written_by, .. } = self.pool.shown().view();
        let edges =
            self.sessions.iter_mut().filter(|(_, session)| session.member.is_none() && session.shown != version);
        for (conn, session) in edges {
            session.shown = version;
            net.send(*conn, CONTROL, Msg::Shown(RecordVersion { version, written_by: written_by.clone() }));
        }
        while let Some(event) = self.pool.poll_event() {
            told(net, judge, store, event);
        }
    }

    pub fn ask(&mut self, asked: Asked) {
        self.asked.push_back(asked);
        self.news = true;
    }

    /// An origin is about to end.
    pub fn relieve(&mut self, member: &Member) {
        self.pool.handle_hand_over(member, "it ends");
        self.news = true;
    }

    /// An operator asks for the first choice to be active again.
    pub fn fail_back(&mut self, net: &mut Net, store: &mut Store) {
        let now = net.local(CONTROL);
        let first = self.pool.first_choice().expect("simulations have one").clone();
        match self.pool.check_promotion(&first, store.record.epoch, Promotion::Graceful, now) {
            Ok(member) => {
                self.pool.fail_back(member, By::default(), now);
                self.news = true;
            }
            Err(error) => refused(net, store, &error),
        }
    }

    /// An operator asks for another active.
    pub fn promote(&mut self, net: &mut Net, store: &mut Store, to: &NodeId, expected: Epoch, force: bool) {
        let how = if force { Promotion::Forced } else { Promotion::Graceful };
        let now = net.local(CONTROL);
        match self.pool.check_promotion(to, expected, how, now) {
            Ok(member) => {
                self.pool.promote(member, how, By::default(), now);
                self.news = true;
            }
            Err(error) => refused(net, store, &error),
        }
    }
}

fn refused(net: &mut Net, store: &mut Store, error: &PromoteError) {
    net.tell(|| format!("refused: {error}"));
    store.refusals.push(error.to_string());
}

fn told(net: &mut Net, judge: &mut Judge, store: &mut Store, event: PoolEvent) {
    net.tell(|| format!("event {event:?}"));
    judge.told(&event);
    let text = match &event {
        PoolEvent::Raised { alarm, evidence } => format!("{}: {evidence}", alarm.as_str()),
        event => format!("{event:?}"),
    };
    store.events.push(text);
}

fn shown(record: &PoolRecord) -> String {
    let in_sync: Vec<_> = record.in_sync.iter().map(|member| member.node.as_str()).collect();
    let active = record.active.as_ref().map_or("nobody", |active| active.node.as_str());
    let why = record.last_change.as_ref().map(|change| format!("{:?}: {}", change.cause, change.evidence));
    let PoolRecord { version, epoch, loss_epoch, mode, .. } = record;
    format!(
        "record v{version} epoch {epoch} loss {loss_epoch} {mode:?}: {active} of {in_sync:?} ({})",
        why.unwrap_or_default()
    )
}
