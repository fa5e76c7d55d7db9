//! One pool: what is known of it, and when its record changes.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use super::{
    EdgeReport, PoolAlarm, PoolChange, PoolEvent, PoolMember, PoolRecord, PoolReport, PoolRules,
    alarms::Alarms,
    change::Next,
    hearing::{Edge, OwnTime, Seen},
    loss::Loss,
    moves::{Moves, Reason},
    opening::Opening,
    plan::{Plan, Step},
    sync::Requests,
};
use crate::{Epoch, Grant, Incarnation, Member, NodeId};

/// One pool: its record as stored, and what its origins and the edges say.
///
/// Feed it what is heard (`handle_*`), with the time; it never reads a clock. Then:
///
/// - [`Pool::poll_change`]: the record that should come next. Write it by compare-and-set on the version it was made
///   from; when it is on disk, and only then, hand it to [`Pool::handle_written`]. If it could not be written, it is
///   proposed again.
/// - [`Pool::poll_grant`]: who is to be told what.
/// - [`Pool::poll_event`]: what happened beside the record.
/// - [`Pool::poll_timeout`]: when to ask again although nothing was heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    pub(super) record: PoolRecord,
    pub(super) rules: PoolRules,
    pub(super) started: Instant,
    pub(super) first_report: Option<Instant>,
    pub(super) settled: bool,
    pub(super) own_time: OwnTime,
    /// When any node was last heard.
    pub(super) any_heard: Instant,
    /// When a silence of all nodes was over.
    pub(super) silence_over: Instant,
    /// Every origin of the pool that has reported, whether or not its session stands.
    pub(super) members: BTreeMap<NodeId, Seen>,
    /// Every edge that has reported.
    pub(super) edges: BTreeMap<NodeId, Edge>,
    /// By any node: the next grant lies above.
    pub(super) highest_heard: Epoch,
    /// Who grants: which start of which store.
    pub(super) granter: String,
    /// No node is believed that tells of a higher epoch. It grows with our own grants alone.
    pub(super) believed: Epoch,
    /// Nodes that do.
    pub(super) disbelieved: BTreeSet<NodeId>,
    /// By an origin of the pool: a record below it is out of date.
    pub(super) highest_of_members: Epoch,
    /// By an edge, of this pool: it is not new.
    pub(super) highest_of_edges: Epoch,
    /// Versions up to here are in our record's past.
    pub(super) past: u64,
    /// The highest version that a node knows of and our record does not: the store is an older copy.
    pub(super) forgotten: Option<u64>,
    /// The active has said by which record it goes: ours follows from that one.
    pub(super) vouched: bool,
    /// The role was granted without loss before that, by what the store says.
    pub(super) guessed: bool,
    pub(super) plan: Option<Plan>,
    pub(super) plans: u64,
    pub(super) last_plan: Option<(u64, Result<Epoch, super::PlanFailed>)>,
    /// The active is about to end.
    pub(super) relief: Option<(Member, String)>,
    pub(super) requests: Requests,
    pub(super) opening: Option<Opening>,
    pub(super) loss: Option<Loss>,
    pub(super) moves: Moves,
    pub(super) alarms: Alarms,
    /// When the evidence against the active became enough.
    pub(super) convinced: Option<Instant>,
    /// What was proposed last, and not yet written.
    pub(super) proposed: Option<Proposed>,
    /// Which version each node was told, on its present session.
    pub(super) told: BTreeMap<NodeId, (Incarnation, u64)>,
    pub(super) events: VecDeque<PoolEvent>,
    /// The record as watchers may know it: a grant is shown when it is carried out.
    pub(super) shown: PoolRecord,
    /// When the hold ends.
    pub(super) hold_due: Option<Instant>,
    pub(super) polled: Option<Instant>,
}

/// A grant that was proposed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Proposed {
    pub(super) version: u64,
    pub(super) decided: Instant,
    pub(super) reason: Option<Reason>,
}

impl Pool {
    /// A pool as the store has it; `started` is the start of this control plane.
    pub fn new(record: PoolRecord, rules: PoolRules, started: Instant) -> Self {
        Self {
            highest_heard: record.epoch,
            granter: String::new(),
            believed: Epoch(record.epoch.0.saturating_add(Epoch::JUMP_MAX)),
            disbelieved: BTreeSet::new(),
            highest_of_members: record.epoch,
            highest_of_edges: Epoch(0),
            past: record.version,
            forgotten: None,
            vouched: false,
            guessed: false,
            shown: record.clone(),
            record,
            rules,
            started,
            first_report: None,
            settled: false,
            own_time: OwnTime { suspects_from: started, late: Duration::ZERO },
            any_heard: started,
            silence_over: started,
            members: BTreeMap::new(),
            edges: BTreeMap::new(),
            plan: None,
            plans: 0,
            last_plan: None,
            relief: None,
            requests: Requests::default(),
            opening: None,
            loss: None,
            moves: Moves::default(),
            alarms: Alarms::default(),
            convinced: None,
            proposed: None,
            told: BTreeMap::new(),
            events: VecDeque::new(),
            hold_due: None,
            polled: None,
        }
    }

    /// Names who grants from now on: which start of which store, not to be mistaken for any other.
    pub fn granting_as(self, granter: impl Into<String>) -> Self {
        Self { granter: granter.into(), ..self }
    }

    /// The record as last written.
    pub fn record(&self) -> &PoolRecord {
        &self.record
    }

    /// The record as watchers may know it: that of a grant once the new active has opened, or should have.
    pub fn shown(&self) -> &PoolRecord {
        &self.shown
    }

    /// What a member has last said of itself, while its session is open.
    pub fn report_of(&self, node: &NodeId) -> Option<&PoolReport> {
        self.seen(node).filter(|seen| seen.ears.closed.is_none()).map(|seen| &seen.report)
    }

    /// Alarms that were raised and last, with what is seen now.
    pub fn alarms(&self) -> impl Iterator<Item = (PoolAlarm, &str)> {
        self.alarms.raised()
    }

    /// Whether the active says that it serves in the epoch in force.
    pub fn is_served(&self) -> bool {
        let active = self.record.active.as_ref();
        let report = active.and_then(|active| self.report_of(&active.node));
        report.is_some_and(|report| Some(&report.member) == active && report.serving == Some(self.record.epoch))
    }

    pub(super) fn seen(&self, node: &NodeId) -> Option<&Seen> {
        self.members.get(node)
    }

    /// A member has opened a session: it is to be told its role again.
    pub fn handle_opened(&mut self, member: &Member) {
        self.told.remove(&member.node);
    }

    /// An origin has registered, or beats. True when it said something new.
    pub fn handle_report(&mut self, report: PoolReport, now: Instant) -> bool {
        self.first_report.get_or_insert(now);
        self.note_heard(now);
        let report = self.believe(report);
        let heard = report.serving.unwrap_or_default().max(report.highest_epoch);
        self.highest_of_members = self.highest_of_members.max(heard);
        self.highest_heard = self.highest_heard.max(heard);
        if let Some(known) = &report.record {
            self.note_version(known.version, &known.written_by);
            self.vouched |= report.serving == Some(self.record.epoch)
                && self.record.active.as_ref() == Some(&report.member)
                && !known.written_by.is_empty();
        }
        self.note_loss(&report);
        let known = self.members.remove(&report.member.node);
        let known = known.filter(|seen| seen.report.member == report.member);
        let mut seen = known.unwrap_or_else(|| Seen::new(report.clone(), now));
        let news = seen.hear(report, self.rules.candidate_heard, self.own_time, now);
        self.members.insert(seen.report.member.node.clone(), seen);
        self.note_opened();
        news
    }

    /// An edge beats. True when it said something new.
    pub fn handle_edge(&mut self, report: EdgeReport, now: Instant) -> bool {
        self.note_heard(now);
        let Member { node, incarnation } = report.edge;
        self.handle_epochs(&node, report.highest_epoch, report.pool_epoch);
        report.records.iter().for_each(|known| self.note_version(known.version, &known.written_by));
        let edge = self.edges.entry(node).or_insert_with(|| Edge::new(incarnation, now));
        let is_back = edge.incarnation != incarnation || edge.ears.closed.is_some();
        if edge.incarnation != incarnation {
            // It has not lost whom its former start heard: it has yet to find them.
            *edge = Edge::new(incarnation, now);
        }
        edge.ears.hear(report.late, self.own_time, now);
        edge.ears.listen(&report.hears, now) || is_back
    }

    /// Somebody was heard. When all were silent it was us who did not hear, and the first to come back says nothing about the
    /// others. A single node that is heard with pauses shows no more of them than the first.
    fn note_heard(&mut self, now: Instant) {
        let was_silent = now.saturating_duration_since(self.any_heard) > self.rules.silence;
        if was_silent && now > self.silence_over + self.rules.unclean_after + self.rules.silence {
            self.silence_over = now;
        }
        self.any_heard = now;
    }

    /// An edge has heard of these epochs: the one of whatever pool, the other of this one.
    pub fn handle_epochs(&mut self, edge: &NodeId, highest: Epoch, of_pool: Epoch) {
        if of_pool <= self.believed {
            self.highest_of_edges = self.highest_of_edges.max(of_pool);
            self.highest_heard = self.highest_heard.max(of_pool);
        }
        self.handle_epoch(edge, highest);
    }

    /// A node has heard of this epoch, perhaps of another pool: the next grant lies above.
    pub fn handle_epoch(&mut self, node: &NodeId, heard: Epoch) {
        if heard <= self.believed {
            self.disbelieved.remove(node);
            self.highest_heard = self.highest_heard.max(heard);
        } else if self.disbelieved.insert(node.clone()) {
            let (node, believed) = (node.clone(), self.believed);
            self.events.push_back(PoolEvent::EpochNotBelieved { node, epoch: heard, believed });
        }
    }

    /// What an origin says of epochs, as far as it can be true: one that lies must not use up the pool's epochs.
    fn believe(&mut self, report: PoolReport) -> PoolReport {
        let record = report.record.as_ref();
        let of_record = record.map_or(Epoch(0), |known| known.epoch.max(known.loss_epoch));
        let highest = report.highest_epoch.max(report.serving.unwrap_or_default()).max(report.head.0).max(of_record);
        self.handle_epoch(&report.member.node, highest);
        if highest <= self.believed {
            return report;
        }
        PoolReport { highest_epoch: Epoch(0), serving: None, head: (Epoch(0), 0), record: None, ..report }
    }

    /// The session of a member ended. It keeps its role until there is more evidence.
    pub fn handle_gone(&mut self, member: &Member, now: Instant) {
        let seen = self.members.get_mut(&member.node).filter(|seen| seen.report.member == *member);
        if let Some(seen) = seen {
            seen.ears.closed.get_or_insert(now);
        }
    }

    /// The session of an edge ended.
    pub fn handle_edge_gone(&mut self, edge: &NodeId, now: Instant) {
        if let Some(edge) = self.edges.get_mut(edge) {
            edge.ears.closed.get_or_insert(now);
        }
    }

    /// A node has left for good, in good order.
    pub fn handle_left(&mut self, node: &NodeId) {
        self.edges.remove(node);
        self.told.remove(node);
        if !self.record.members.contains_key(node) {
            self.members.remove(node);
        }
    }

    /// This process itself was late by so much: nobody is silent for what it did not hear meanwhile, and after long
    /// lateness not before beats have had time to be read.
    pub fn handle_late(&mut self, late: Duration, now: Instant) {
        if late < self.rules.silence / 3 {
            self.own_time.late += late;
            return;
        }
        self.own_time.suspects_from = now;
        if let Some(opening) = &mut self.opening {
            opening.wait_again(&self.rules, now);
        }
    }

    /// The record is on disk and in force.
    pub fn handle_written(&mut self, record: PoolRecord, now: Instant) {
        let old = std::mem::replace(&mut self.record, record);
        if self.record.epoch == old.epoch.next() {
            self.believed = self.believed.next();
        }
        let proposed = self.proposed.take().filter(|proposed| proposed.version == self.record.version);
        self.highest_heard = self.highest_heard.max(self.record.epoch);
        self.highest_of_members = self.highest_of_members.max(self.record.epoch);
        self.past = self.past.max(self.record.made_good);
        self.forgotten = self.forgotten.filter(|version| *version > self.record.made_good);
        if self.record.epoch == old.epoch && self.record.active == old.active {
            self.requests.settle();
        } else {
            self.requests.forget();
        }
        if old.mode != self.record.mode {
            self.moves.forget();
        }
        if self.record.epoch > old.epoch {
            self.granted(old, proposed, now);
            self.note_opened();
        } else if let Some(plan) = self.plan.as_mut().filter(|plan| self.record.yields_to.as_ref() == Some(&plan.to)) {
            plan.yielding.get_or_insert(now);
        }
        self.show(now);
    }

    /// The role went to somebody.
    fn granted(&mut self, old: PoolRecord, proposed: Option<Proposed>, now: Instant) {
        let decided = proposed.as_ref().map_or(now, |proposed| proposed.decided);
        if let Some(reason) = proposed.and_then(|proposed| proposed.reason) {
            self.moves.note(reason, &self.rules.moves, now);
        }
        self.note_lossy_grant(&old.in_sync);
        self.guessed = (self.guessed || !self.vouched) && self.record.loss_epoch < self.record.epoch;
        let planned = old.yields_to.is_some();
        self.opening = Some(Opening::new(&self.record, old, planned, decided, now));
        self.convinced = None;
        if let Some(plan) = self.plan.take() {
            let is_to = self.record.active.as_ref() == Some(&plan.to);
            self.end_plan(plan, if is_to { Ok(self.record.epoch) } else { Err(super::PlanFailed::Overtaken) });
        }
        if self.relief.as_ref().is_some_and(|(member, _)| self.record.active.as_ref() != Some(member)) {
            self.relief = None;
        }
    }

    /// The record that should come next, if it should change. `unix_ms` is the wall time, for what people read and for
    /// the end of a hold.
    pub fn poll_change(&mut self, now: Instant, unix_ms: u64) -> Option<PoolChange> {
        self.polled = Some(now);
        self.moves.recall(&self.record.moved, now, unix_ms);
        self.settle(now);
        self.plan_relief(now);
        self.check_plan(now);
        let verdict = self.judge(now);
        self.note_alarms(&verdict, now);
        let mut next = Next::of(&self.record);
        self.put_members(&mut next);
        let grant = self.next_grant(verdict, now, &mut next);
        let proposed = grant.as_ref().map(|grant| (grant.decided, grant.reason));
        match grant {
            Some(grant) => {
                let gone = |member: &Member| self.is_dead(member) || self.goes_by_another_grant(member);
                let reason = grant.reason;
                next.grant(grant, &self.granter, gone, unix_ms);
                if let Some(reason) = reason {
                    next.record.moved.note(reason, &self.rules.moves, unix_ms);
                }
            }
            None => self.lesser_changes(&mut next, now, unix_ms),
        }
        self.show(now);
        let change = self.finish(next)?;
        let version = change.record.version;
        self.proposed = proposed.map(|(decided, reason)| Proposed { version, decided, reason });
        Some(change)
    }

    /// Everything but a grant.
    fn lesser_changes(&mut self, next: &mut Next, now: Instant, unix_ms: u64) {
        self.adopt_record(next);
        match self.plan_step(now) {
            Step::Yield => next.record.yields_to = self.plan.as_ref().map(|plan| plan.to.clone()),
            _ if self.plan.is_none() => next.record.yields_to = None,
            _ => {}
        }
        self.answer_request(next, now);
        self.end_hold(next, now, unix_ms);
        self.tell_opening(next, now);
    }

    /// Members as they now are.
    fn put_members(&self, next: &mut Next) {
        for seen in self.members.values().filter(|seen| seen.ears.closed.is_none()) {
            let PoolReport { member, public, peer, .. } = &seen.report;
            let known = PoolMember { incarnation: member.incarnation, public: public.clone(), peer: peer.clone() };
            next.record.members.insert(member.node.clone(), known);
        }
    }

    /// What a member is to be told now. The new active comes first; one that yielded hears of it when the new one has
    /// opened.
    pub fn poll_grant(&mut self, now: Instant) -> Option<Grant> {
        let active = self.record.active.as_ref();
        let untold = |(node, known): (&NodeId, &PoolMember)| {
            let member = Member { node: node.clone(), incarnation: known.incarnation };
            let report = self.report_of(node).filter(|report| report.member == member)?;
            let told = self.told.get(node) == Some(&(member.incarnation, self.record.version));
            // One that serves in a higher epoch is about to be adopted.
            let ahead = report.serving > Some(self.record.epoch);
            let later = self.opening.as_ref().is_some_and(|opening| opening.holds_back(&member, &self.rules, now));
            let unanswered = Some(&member) == active && self.requests.crossed(self.record.version);
            (!told && !ahead && !later && !unanswered).then_some(member)
        };
        let member = self.record.members.iter().filter_map(untold).min_by_key(|member| Some(member) != active)?;
        self.told.insert(member.node.clone(), (member.incarnation, self.record.version));
        Some(self.record.grant_for(&member))
    }

    /// What happened beside the record.
    pub fn poll_event(&mut self) -> Option<PoolEvent> {
        self.events.pop_front()
    }

    /// When to ask again although nothing was heard: a moment after the last poll.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let unclean = self.convinced.and_then(|_| self.unclean_due());
        let alarms = self.alarms.due(self.rules.alarm_after);
        let opening = self.opening.iter().flat_map(|opening| opening.due(&self.rules));
        let (hold, asked, unopened) = (self.hold_due, self.requests.due(), self.unopened_due());
        let single = [self.settle_due(), hold, asked, unclean, unopened, self.move_due()];
        let due = single.into_iter().flatten().chain(self.evidence_due()).chain(alarms).chain(opening);
        due.chain(self.plan_due()).filter(|due| self.polled.is_none_or(|polled| *due > polled)).min()
    }
}
