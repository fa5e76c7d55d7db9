//! What is committed: the active's count of who holds what, and who has to (REPLICATION C1, C3-C5).

mod follower;
mod own_time;
mod rules;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{Epoch, Grant, Member, NodeId, PoolId, SyncChange, SyncRequest};
use follower::{Distance, Follower, Lapses};
use own_time::OwnTime;
pub use rules::{CommitRules, WhenAlone};

/// The commit watermark of one term of an active origin.
///
/// Everything that the active appends, to whatever stream, gets the next *order*: 1, 2, 3 … within its epoch. Order 0 is
/// what its log held when the term began. Followers ack orders; an order is committed once the active and every member
/// that counts have it.
#[derive(Debug, Clone)]
pub struct Commits {
    rules: CommitRules,
    pool: PoolId,
    me: Member,
    epoch: Epoch,
    version: u64,
    /// Whom an operator keeps out of service.
    fenced: BTreeSet<NodeId>,
    /// The others without whose ack nothing is committed.
    counted: BTreeSet<Member>,
    /// Those of them that the record does not name yet.
    joining: BTreeSet<Member>,
    followers: BTreeMap<FollowerId, Follower>,
    lapses: BTreeMap<NodeId, Lapses>,
    head: u64,
    committed: Option<u64>,
    own: OwnTime,
    request: Option<Request>,
    alone: Option<Alone>,
    /// For how long of our own time nobody could be asked while somebody was missing.
    deserted: Duration,
}

/// One Follow connection, as the caller numbers them.
pub type FollowerId = u64;

#[derive(Debug, Clone)]
struct Request {
    change: SyncChange,
    /// When it came up, in our own time.
    since: Duration,
    /// When it was last handed out; None: it has to be handed out.
    sent: Option<Duration>,
}

/// On its own word the active has stopped to wait for some.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alone {
    /// Nothing above this order is known to be held by those who were left out.
    pub from: u64,
    /// Who was left out.
    pub without: BTreeSet<Member>,
}

/// What the active sees around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Surroundings {
    /// Whether the control plane answers.
    pub control_heard: bool,
    /// Edges that had a Link to us when we last heard of them.
    pub edges: usize,
    /// Those of them that say that they hear us.
    pub edges_hearing: usize,
}

/// Why an ack does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AckRefused {
    /// It was given in another epoch, on a connection that is gone, or before the follower's tail was settled.
    #[error("the ack belongs to another epoch or connection")]
    Stale,
    /// Nothing was appended there yet: the follower lies, or its log is another.
    #[error("order {order} is acked, and {head} is the last")]
    Ahead {
        /// What was acked.
        order: u64,
        /// The last order.
        head: u64,
    },
}

impl Commits {
    /// The term that this grant begins; nothing is known to be committed in it.
    pub fn new(rules: CommitRules, grant: &Grant, now: Instant) -> Self {
        let mut commits = Self {
            rules,
            pool: grant.pool.clone(),
            me: grant.member.clone(),
            epoch: grant.epoch,
            version: grant.version,
            fenced: grant.fenced.clone(),
            counted: BTreeSet::new(),
            joining: BTreeSet::new(),
            followers: BTreeMap::new(),
            lapses: BTreeMap::new(),
            head: 0,
            committed: None,
            own: OwnTime::new(now),
            request: None,
            alone: None,
            deserted: Duration::ZERO,
        };
        commits.counted = commits.others(grant);
        commits.update();
        commits
    }

    /// The epoch of the term.
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The version of the record that is in force here.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The last order.
    pub fn head(&self) -> u64 {
        self.head
    }

    /// All up to and with this order is committed; None: not even what the log held when the term began.
    pub fn committed(&self) -> Option<u64> {
        self.committed
    }

    /// Who else must have what is committed.
    pub fn counted(&self) -> &BTreeSet<Member> {
        &self.counted
    }

    /// Set while the active goes on without members that the record has in sync.
    pub fn alone(&self) -> Option<&Alone> {
        self.alone.as_ref()
    }

    /// Gives the next order.
    pub fn append(&mut self) -> u64 {
        self.head += 1;
        self.own.note_order(self.head);
        self.update();
        self.head
    }

    /// A newer record of the same epoch. An older one is left unheard.
    pub fn handle_grant(&mut self, grant: &Grant) {
        if grant.version <= self.version || grant.epoch != self.epoch {
            return;
        }
        self.version = grant.version;
        self.fenced.clone_from(&grant.fenced);
        let others = self.others(grant);
        // A request counts on the version it names only: with a newer record it is settled, whatever became of it. What was
        // done alone stays to be told, for as long as the record has those members.
        let asked = self.request.take().map(|request| request.change);
        let done_alone = match (self.alone.take(), &asked) {
            (Some(alone), _) => alone.without,
            (None, Some(SyncChange::Alone { without })) => without.clone(),
            (None, _) => BTreeSet::new(),
        };
        let without: BTreeSet<_> = done_alone.intersection(&others).cloned().collect();
        if !without.is_empty() {
            self.ask(SyncChange::Alone { without });
        }
        self.deserted = Duration::ZERO;
        others.iter().for_each(|member| self.lapses.entry(member.node.clone()).or_default().name());
        // Who was asked for and is not named was refused, and is not waited for any more; unless the record may have been made
        // before the request came. Then it goes on to count, as a candidate that is to be asked for.
        if let Some(SyncChange::Grow(refused)) = asked
            && !others.contains(&refused)
            && !self.may_have_crossed(&refused)
        {
            self.joining.remove(&refused);
            self.counted.remove(&refused);
            self.note_lapse(&refused);
        }
        let left = self.counted.difference(&others).filter(|member| !self.joining.contains(*member));
        left.cloned().collect::<Vec<_>>().iter().for_each(|member| self.note_lapse(member));
        let joining = std::mem::take(&mut self.joining);
        let waits = |member: &Member| !others.contains(member) && self.is_here(member) && !self.is_fenced(member);
        self.joining = joining.into_iter().filter(waits).collect();
        self.counted = others.union(&self.joining).cloned().collect();
        self.update();
    }

    /// Whether a member that was asked for was not refused, only not heard of in time, as far as one can tell.
    fn may_have_crossed(&mut self, member: &Member) -> bool {
        let near = self.distance(member) == Distance::Near;
        near && !self.lapses.entry(member.node.clone()).or_default().pass_over()
    }

    /// It dropped out. Whom an operator has taken out has done nothing for which it should be kept waiting.
    fn note_lapse(&mut self, member: &Member) {
        if !self.is_fenced(member) {
            self.lapses.entry(member.node.clone()).or_default().add(self.own.now());
        }
    }

    fn is_fenced(&self, member: &Member) -> bool {
        self.fenced.contains(&member.node)
    }

    fn others(&self, grant: &Grant) -> BTreeSet<Member> {
        grant.in_sync.iter().filter(|member| **member != self.me).cloned().collect()
    }

    /// A member opened a Follow. Its acks do not count yet.
    pub fn follower_opened(&mut self, id: FollowerId, member: Member) {
        self.followers.insert(id, Follower::new(member));
    }

    /// The follower's tail was settled and all that is above `from` goes to it: its acks count from there on.
    pub fn follower_settled(&mut self, id: FollowerId, from: u64) {
        if let Some(follower) = self.followers.get_mut(&id) {
            follower.settle(from);
        }
        self.update();
    }

    /// A Follow is gone.
    pub fn follower_closed(&mut self, id: FollowerId) {
        let Some(Follower { member, .. }) = self.followers.remove(&id) else { return };
        self.note_left(&member);
        if !self.is_here(&member) {
            self.leave_out(&member);
        }
    }

    /// A member's Follow closed, in this term or before: it is not waited for as one that may still come.
    pub fn note_left(&mut self, member: &Member) {
        self.lapses.entry(member.node.clone()).or_default().leave();
    }

    /// A follower holds everything up to this order.
    pub fn handle_ack(&mut self, id: FollowerId, epoch: Epoch, order: u64) -> Result<(), AckRefused> {
        let head = self.head;
        let follower = self.followers.get_mut(&id).filter(|_| epoch == self.epoch).ok_or(AckRefused::Stale)?;
        if order > head {
            return Err(AckRefused::Ahead { order, head });
        }
        follower.ack(order)?;
        self.update();
        Ok(())
    }

    /// To be called every [`CommitRules::tick`] or so. Members that hold everyone up are asked out, those that have
    /// caught up are asked in, and with nobody to ask the active may go on alone.
    pub fn tick(&mut self, now: Instant, around: Surroundings) {
        let passed = self.own.tick(now, self.rules.tick);
        self.own.forget(self.committed.unwrap_or_default(), self.rules.behind_max);
        let missing = self.missing();
        self.ask_out(&missing);
        self.ask_in(passed);
        self.go_alone(missing, passed, around);
        self.update();
    }

    /// Whether something is asked of the control plane, or will be, that no record has answered.
    pub fn has_something_to_ask(&self) -> bool {
        self.request.is_some() || self.alone.is_some()
    }

    /// What is to be asked of the control plane now; asked again until a newer record comes.
    pub fn poll_request(&mut self) -> Option<SyncRequest> {
        let now = self.own.now();
        let (pool, epoch, version) = (self.pool.clone(), self.epoch, self.version);
        let request = self.request.as_mut()?;
        if request.sent.is_some_and(|sent| now < sent + self.rules.ask_again) {
            return None;
        }
        request.sent = Some(now);
        Some(SyncRequest { pool, epoch, version, change: request.change.clone() })
    }

    /// For how long the oldest order that is not committed has waited, of our own time.
    pub fn lag(&self) -> Duration {
        match self.committed {
            Some(committed) if committed == self.head => Duration::ZERO,
            Some(committed) => self.own.age(committed + 1),
            None => self.own.now(),
        }
    }

    fn update(&mut self) {
        let held = self.counted.iter().map(|member| self.held_by(member)).min();
        let held = held.unwrap_or(Some(self.head));
        self.committed = self.committed.max(held);
    }

    /// The highest order that a member has acked on any of its connections.
    fn held_by(&self, member: &Member) -> Option<u64> {
        self.followers.values().filter(|follower| follower.member == *member).filter_map(Follower::acked).max()
    }

    fn is_here(&self, member: &Member) -> bool {
        self.followers.values().any(|follower| follower.member == *member)
    }

    /// By how much a member is behind; none: it holds everything.
    fn behind(&self, member: &Member) -> Option<Duration> {
        match self.held_by(member) {
            Some(held) if held == self.head => None,
            Some(held) => Some(self.own.age(held + 1)),
            None => Some(self.own.now()),
        }
    }

    fn distance(&self, member: &Member) -> Distance {
        let behind = self.behind(member).unwrap_or_default();
        match self.held_by(member) {
            Some(_) if behind < self.rules.near_max => Distance::Near,
            Some(_) if behind < self.rules.behind_max => Distance::Apart,
            _ => Distance::Far,
        }
    }

    /// Members that hold everyone up.
    fn missing(&self) -> BTreeSet<Member> {
        let missing = self.counted.iter().filter(|member| {
            let gone = !self.is_here(member) && self.had_time_to_come(member);
            gone || self.behind(member).is_some_and(|behind| behind >= self.rules.behind_max)
        });
        missing.cloned().collect()
    }

    /// Whoever has not been seen in this term is given the time to come.
    fn had_time_to_come(&self, member: &Member) -> bool {
        self.own.now() >= self.rules.behind_max || self.lapses.get(&member.node).is_some_and(Lapses::has_left)
    }

    /// C3: one at a time, as each takes a newer record.
    fn ask_out(&mut self, missing: &BTreeSet<Member>) {
        let in_record = missing.iter().find(|member| !self.joining.contains(*member));
        if let (None, None, Some(member)) = (&self.request, &self.alone, in_record) {
            self.ask(SyncChange::Shrink(member.clone()));
        }
    }

    /// C4: commits wait for a candidate from the moment when it is nearly there, so that it holds everything committed
    /// when it is asked in.
    fn ask_in(&mut self, passed: Duration) {
        if self.alone.is_some() {
            return;
        }
        let now = self.own.now();
        let here: BTreeSet<Member> = self.followers.values().map(|follower| follower.member.clone()).collect();
        for member in here {
            let distance = self.distance(&member);
            let near = distance == Distance::Near;
            let lapses = self.lapses.entry(member.node.clone()).or_default();
            lapses.note_distance(distance, passed);
            let returns = near && lapses.may_return(now, &self.rules);
            if !near {
                self.leave_out(&member);
            } else if returns && !self.counted.contains(&member) && !self.is_fenced(&member) {
                self.joining.insert(member.clone());
                self.counted.insert(member);
            }
        }
        if self.request.is_some() {
            return;
        }
        let due = self.joining.iter().find(|member| self.held_by(member) >= self.committed);
        if let Some(member) = due {
            self.ask(SyncChange::Grow(member.clone()));
        }
    }

    fn ask(&mut self, change: SyncChange) {
        self.request = Some(Request { change, since: self.own.now(), sent: None });
    }

    /// A candidate that was not asked for is no longer waited for. One that was asked for stays until a record says more.
    fn leave_out(&mut self, member: &Member) {
        let asked = matches!(&self.request, Some(Request { change: SyncChange::Grow(asked), .. }) if asked == member);
        if !asked && self.joining.remove(member) {
            self.counted.remove(member);
            self.note_lapse(member);
            self.update();
        }
    }

    /// C5.
    fn go_alone(&mut self, missing: BTreeSet<Member>, passed: Duration, around: Surroundings) {
        // A control plane that beats and settles nothing, because its disk is full perhaps, does not answer.
        let unanswered = |request: &Request| self.own.now() >= request.since + self.rules.answer_max;
        let answers = around.control_heard && !self.request.as_ref().is_some_and(unanswered);
        let nobody_to_ask = !answers && !missing.is_empty();
        self.deserted = if nobody_to_ask { self.deserted + passed } else { Duration::ZERO };
        let most_edges = around.edges_hearing * 2 > around.edges;
        if self.deserted < self.rules.alone_after || self.rules.when_alone == WhenAlone::Stall || !most_edges {
            return;
        }
        let from = self.committed.unwrap_or_default();
        let alone = self.alone.get_or_insert_with(|| Alone { from, without: BTreeSet::new() });
        alone.without.extend(missing.iter().cloned());
        self.counted.retain(|member| !missing.contains(member));
        self.joining.retain(|member| !missing.contains(member));
        // Whatever was asked before is settled by the version, should it have been heard.
        let change = SyncChange::Alone { without: alone.without.clone() };
        if self.request.as_ref().is_none_or(|request| request.change != change) {
            self.ask(change);
        }
    }
}

#[cfg(test)]
mod tests;
