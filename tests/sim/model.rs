//! The rules of replication for a small pool, explored in every order in which they can be applied.
//!
//! Messages take any time, are lost with their connection, and nobody trusts a clock: a process that is frozen or cut off
//! is one that does nothing for a while, so these need no steps of their own. Only where a rule speaks of who hears
//! whom ([`Bounds::network`]) are links cut and processes frozen, one by one.
//!
//! [`Mistake`]s are rules read wrongly. Each has to be found; without one, nothing may be.

mod check;
mod control;
mod origin;
mod search;
mod state;
mod tests;

use search::search;
use state::State;
use state::{Budget, CONTROL, EDGES, Member, NODES, party};

/// How much may happen.
#[derive(Debug, Clone)]
pub struct Bounds {
    pub nodes: usize,
    /// Who is in sync at first.
    pub in_sync: Vec<usize>,
    /// Messages of the encoder.
    pub messages: u8,
    /// Epochs.
    pub epochs: u8,
    /// Versions of the record.
    pub versions: u8,
    pub budget: Budget,
    /// Roles move by evidence alone, and links decide who hears whom.
    pub network: bool,
}

/// A rule read wrongly: REPLICATION.md's list, and two of its rules that the list takes for granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    InSyncByName,
    AckedBecauseInLog,
    ServesWholeLog,
    OldAcksCount,
    GrowByCommitIndex,
    GrowGivenUp,
    OlderRecordTaken,
    RequestComparedOnEpoch,
    SettledByLastEpoch,
    EmptiedBeforeSnapshot,
    NumbersKept,
    RestoredInSyncKept,
    RegrantDropsActive,
    AloneWithoutEdges,
    AloneOnStaleTimers,
    LossAtOldPositions,
    LossForgotten,
    LossNotInNewStreams,
    /// C2: a member that has heard of a higher epoch goes on acking the lower one.
    NoFence,
    /// R6: a restored store grants above its own epoch, not above those that were heard.
    RestoredGrantsBelow,
}

/// One thing that happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The active takes the next message of the encoder.
    Append { active: usize },
    /// The encoder's edge sends again what was not acked.
    Replay { active: usize },
    /// A follower's tail is settled.
    Settle { follower: usize, active: usize },
    /// A follower takes the next item.
    Copy { follower: usize },
    /// A follower hears how far its log is committed.
    Hear { follower: usize },
    /// An ack arrives.
    Ack { at: usize },
    /// The active asks a follower in.
    AskIn { active: usize, node: usize },
    /// The active asks a member out.
    AskOut { active: usize, member: Member },
    /// The active forgets that it asked.
    GiveUp { active: usize },
    /// A record arrives.
    Take { node: usize, at: usize },
    /// The control plane does as asked.
    Write { at: usize },
    /// The control plane grants the role to a member in sync.
    Promote { node: usize },
    /// … to a member that is not.
    PromoteWithLoss { node: usize },
    /// A process restarts, its memory empty.
    Restart { node: usize },
    /// Somebody copies the store.
    Backup,
    /// The store is replaced by the copy.
    Restore,
    /// The control plane learns from the active where the pool is.
    Adopt { node: usize },
    /// A link is cut.
    CutLink { from: usize, to: usize },
    /// All links of a party are cut.
    CutOff { party: usize },
    /// A process is frozen.
    Freeze { node: usize },
    /// The faults end.
    Heal,
    /// A process that was frozen reads what came meanwhile.
    Drain { node: usize },
    /// The active takes out whom it does not hear on its own word.
    GoAlone { active: usize },
}

/// The rules, right or with a mistake, within bounds.
#[derive(Debug, Clone)]
pub struct Model {
    pub bounds: Bounds,
    pub mistake: Option<Mistake>,
}

impl Model {
    pub fn first(&self) -> State {
        State::new(self.bounds.nodes, &self.bounds.in_sync, self.bounds.budget)
    }

    fn errs(&self, mistake: Mistake) -> bool {
        self.mistake == Some(mistake)
    }

    /// All that might happen; [`Model::after`] says whether it can.
    pub fn steps(&self, state: &State) -> Vec<Step> {
        let mut steps = Vec::with_capacity(64);
        let nodes = || 0..self.bounds.nodes;
        for active in nodes().filter(|node| state.nodes[*node].term.is_some()) {
            steps.extend([Step::Append { active }, Step::Replay { active }, Step::GiveUp { active }]);
            steps.extend(nodes().map(|follower| Step::Settle { follower, active }));
            steps.extend(nodes().map(|node| Step::AskIn { active, node }));
            let counted = state.nodes[active].known.map(|known| known.in_sync);
            steps.extend(counted.into_iter().flat_map(|set| set.iter()).map(|member| Step::AskOut { active, member }));
            steps.push(Step::GoAlone { active });
        }
        for node in nodes() {
            steps.extend([Step::Copy { follower: node }, Step::Hear { follower: node }]);
            steps.extend((0..state.sent.len()).map(|at| Step::Take { node, at }));
            steps.extend([Step::Promote { node }, Step::PromoteWithLoss { node }, Step::Restart { node }]);
            steps.extend([Step::Adopt { node }, Step::Drain { node }]);
        }
        steps.extend((0..state.acks.len()).map(|at| Step::Ack { at }));
        steps.extend((0..state.requests.len()).map(|at| Step::Write { at }));
        steps.extend([Step::Backup, Step::Restore]);
        if self.bounds.network {
            self.faults(&mut steps);
        }
        steps
    }

    fn faults(&self, steps: &mut Vec<Step>) {
        let origins = (0..self.bounds.nodes).map(party);
        let parties: Vec<usize> = [CONTROL].into_iter().chain(origins).chain(EDGES).collect();
        for (at, from) in parties.iter().copied().enumerate() {
            steps.push(Step::CutOff { party: from });
            steps.extend(parties[at + 1..].iter().map(|to| Step::CutLink { from, to: *to }));
        }
        steps.extend((0..self.bounds.nodes).map(|node| Step::Freeze { node }));
        steps.push(Step::Heal);
    }

    /// The state after a step; none when it cannot happen, or changes nothing.
    pub fn after(&self, state: &State, step: Step) -> Option<State> {
        let mut next = match step {
            Step::Append { active } => self.append(state, active),
            Step::Replay { active } => self.replay(state, active),
            Step::Settle { follower, active } => self.settle(state, follower, active),
            Step::Copy { follower } => self.copy(state, follower),
            Step::Hear { follower } => self.hear(state, follower),
            Step::Ack { at } => self.ack(state, at),
            Step::AskIn { active, node } => self.ask_in(state, active, node),
            Step::AskOut { active, member } => self.ask_out(state, active, member),
            Step::GiveUp { active } => self.give_up(state, active),
            Step::Take { node, at } => self.take(state, node, at),
            Step::GoAlone { active } => self.go_alone(state, active),
            Step::Restart { node } => self.restart(state, node),
            Step::Write { at } => self.write(state, at),
            Step::Promote { node } => self.promote(state, node),
            Step::PromoteWithLoss { node } => self.promote_with_loss(state, node),
            Step::Backup => self.back_up(state),
            Step::Restore => self.restore(state),
            Step::Adopt { node } => self.adopt(state, node),
            Step::CutLink { .. } | Step::CutOff { .. } | Step::Freeze { .. } => self.fault(state, step),
            Step::Heal => self.heal(state),
            Step::Drain { node } => self.drain(state, node),
        }?;
        self.check(&mut next);
        self.tidy_up(&mut next);
        Some(next)
    }

    /// Forgets what can make no difference any more, so that states which differ in nothing else are one.
    fn tidy_up(&self, state: &mut State) {
        if !self.errs(Mistake::OlderRecordTaken) {
            let nodes = &state.nodes;
            let takes = |node: &state::Node, version, epoch| {
                node.known.is_none_or(|known| known.version < version) && node.heard <= epoch
            };
            state.sent.retain(|record| nodes.iter().any(|node| takes(node, record.version, record.epoch)));
        }
        if !self.errs(Mistake::RequestComparedOnEpoch) {
            let version = state.record.version;
            state.requests.retain(|request| request.version == version);
        }
        if !self.errs(Mistake::OldAcksCount) {
            let counts = |ack: &state::Ack| state.nodes[ack.to].term.as_ref().is_some_and(|term| term.counts(ack));
            let acks = state.acks.iter().copied().filter(counts).collect();
            state.acks = acks;
        }
        state.acks.sort_unstable_by_key(|ack| (ack.from, ack.to, ack.epoch, ack.seq));
        state.requests.sort_unstable_by_key(|request| (request.from, request.version, request.member, request.grow));
    }

    /// Whether messages pass between two parties.
    fn link(&self, state: &State, from: usize, to: usize) -> bool {
        !self.bounds.network || state.network.hears(from, to)
    }

    /// Whether a process runs and has read all that has come.
    fn awake(&self, state: &State, node: usize) -> bool {
        state.network.frozen.is_none_or(|frozen| usize::from(frozen) != node) && !state.nodes[node].stale
    }
}

/// Refuses a step.
fn only_if(condition: bool) -> Option<()> {
    condition.then_some(())
}

const _: () = assert!(NODES < 7, "a pair of parties is one bit of 64");
