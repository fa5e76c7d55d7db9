//! What the control plane does, and what happens to it and to the network.

use super::{
    Mistake, Model, Step, only_if,
    state::{CONTROL, EDGES, Member, Record, Set, State, party},
};

impl Model {
    /// A request counts on the version it names.
    pub(super) fn write(&self, state: &State, at: usize) -> Option<State> {
        let request = state.requests[at];
        only_if(self.link(state, CONTROL, party(request.from.node())) && !state.restored)?;
        let record = state.record;
        let current = request.epoch == record.epoch && request.from == record.active;
        let valid = request.version == record.version || self.errs(Mistake::RequestComparedOnEpoch);
        let mut next = state.clone();
        if current && valid {
            let in_sync =
                if request.grow { record.in_sync.with(request.member) } else { record.in_sync.without(request.member) };
            only_if(in_sync != record.in_sync)?;
            self.write_record(&mut next, Record { in_sync, ..record })?;
        }
        // It may have been sent twice.
        if !self.errs(Mistake::RequestComparedOnEpoch) {
            next.requests.remove(at);
        }
        Some(next)
    }

    fn write_record(&self, state: &mut State, record: Record) -> Option<()> {
        let record = Record { version: state.record.version + 1, ..record };
        only_if(record.version <= self.bounds.versions)?;
        state.record = record;
        state.sent.push(record);
        Some(())
    }

    /// R3: a member in sync becomes active; the old active leaves the set where it is another incarnation.
    pub(super) fn promote(&self, state: &State, node: usize) -> Option<State> {
        let record = state.record;
        let member = state.member(node);
        let by_name = self.errs(Mistake::InSyncByName) && record.in_sync.iter().any(|other| other.node() == node);
        only_if(!state.restored && record.epoch < self.bounds.epochs)?;
        only_if(record.in_sync.has(member) || by_name)?;
        only_if(!self.bounds.network || self.has_evidence(state, node))?;
        let mut in_sync = record.in_sync.with(member);
        if record.active != member || self.errs(Mistake::RegrantDropsActive) {
            in_sync = in_sync.without(record.active);
        }
        let mut next = state.clone();
        self.write_record(&mut next, Record { epoch: record.epoch + 1, active: member, in_sync, ..record })?;
        Some(next)
    }

    /// R2: nobody in sync was heard; what that costs is named.
    pub(super) fn promote_with_loss(&self, state: &State, node: usize) -> Option<State> {
        let member = state.member(node);
        only_if(!state.record.in_sync.has(member) || state.restored)?;
        let heard = state.nodes.iter().map(|node| node.heard).max().unwrap_or(0);
        let above = if self.errs(Mistake::RestoredGrantsBelow) { 0 } else { heard };
        let epoch = state.record.epoch.max(above) + 1;
        only_if(epoch <= self.bounds.epochs)?;
        let mut next = state.clone();
        next.left.losses = next.left.losses.checked_sub(1)?;
        next.restored = false;
        let known = state.nodes.iter().filter_map(|node| node.known).map(|known| known.version).max();
        next.record.version = next.record.version.max(known.unwrap_or(0));
        let record = Record { epoch, active: member, in_sync: Set::of([member]), loss_epoch: epoch, version: 0 };
        self.write_record(&mut next, record)?;
        Some(next)
    }

    pub(super) fn back_up(&self, state: &State) -> Option<State> {
        only_if(state.left.restores > 0 && state.copy.is_none())?;
        let mut next = state.clone();
        next.copy = Some(state.record);
        Some(next)
    }

    /// The sessions end with the old control plane: what it said and heard last is lost.
    pub(super) fn restore(&self, state: &State) -> Option<State> {
        let copy = state.copy.filter(|copy| *copy != state.record)?;
        let mut next = state.clone();
        next.left.restores = next.left.restores.checked_sub(1)?;
        next.record = copy;
        next.copy = None;
        next.restored = true;
        next.sent.clear();
        next.requests.clear();
        Some(next)
    }

    /// R6: the epoch, and the set and version of that epoch's active, are what counts.
    pub(super) fn adopt(&self, state: &State, node: usize) -> Option<State> {
        let highest = state.nodes.iter().map(|node| node.heard).max().unwrap_or(0);
        only_if(state.restored && state.epoch_of(node) == Some(highest))?;
        let known = state.nodes[node].known?;
        let versions = state.nodes.iter().filter_map(|node| node.known).map(|known| known.version);
        let mut next = state.clone();
        next.restored = false;
        next.record = Record { version: versions.max().unwrap_or(0).max(state.record.version), ..known };
        if self.errs(Mistake::RestoredInSyncKept) {
            next.record.in_sync = state.record.in_sync.with(known.active);
        }
        Some(next)
    }

    /// R1: two witnesses, and not while most edges hear the active.
    fn has_evidence(&self, state: &State, candidate: usize) -> bool {
        let hears = |a, b| state.network.hears(a, b);
        let (old, new) = (state.record.active, party(candidate));
        let alive = state.member(old.node()) == old;
        let hears_active = |from| alive && hears(from, party(old.node()));
        if !hears(CONTROL, new) || new == party(old.node()) && alive {
            return false;
        }
        let said = |edge: &&usize| hears(CONTROL, **edge);
        let most_hear = EDGES.iter().filter(|edge| !said(edge) || hears_active(**edge)).count() * 2 > EDGES.len();
        let members = (0..state.nodes.len()).map(party).filter(|member| *member != party(old.node()));
        let witness = members.chain(EDGES).any(|other| hears(CONTROL, other) && !hears_active(other));
        if !hears_active(CONTROL) && witness && !most_hear {
            return true;
        }
        let moved = EDGES.iter().filter(said).filter(|edge| !hears_active(**edge) && hears(**edge, new)).count();
        moved >= 2
    }

    pub(super) fn fault(&self, state: &State, step: Step) -> Option<State> {
        let mut next = state.clone();
        next.left.faults = next.left.faults.checked_sub(1)?;
        next.network.faults += 1;
        match step {
            Step::CutLink { from, to } => next.network.cut(from, to),
            Step::CutOff { party } => next.network.cut_off(party),
            Step::Freeze { node } => {
                only_if(state.network.frozen.is_none())?;
                next.network.frozen = u8::try_from(node).ok();
            }
            _ => return None,
        }
        only_if(next.network.cut != state.network.cut || next.network.frozen != state.network.frozen)?;
        Some(next)
    }

    pub(super) fn heal(&self, state: &State) -> Option<State> {
        only_if(state.network.cut != 0 || state.network.frozen.is_some())?;
        let mut next = state.clone();
        if let Some(node) = next.network.frozen.take() {
            next.nodes[usize::from(node)].stale = true;
        }
        next.network.cut = 0;
        Some(next)
    }

    /// Of what came meanwhile, only a higher epoch makes a difference.
    pub(super) fn drain(&self, state: &State, node: usize) -> Option<State> {
        only_if(state.nodes[node].stale && self.bounds.network)?;
        let mut next = state.clone();
        let this = &mut next.nodes[node];
        this.stale = false;
        this.hear(state.record.epoch);
        Some(next)
    }
}

impl State {
    /// A member begins to serve an epoch.
    pub(super) fn serve(&mut self, member: Member, epoch: u8) {
        let served = &mut self.served[usize::from(epoch)];
        if served.is_some_and(|other| other != member) {
            self.broken = Some(super::state::Broken::EpochTwice);
        }
        *served = Some(member);
    }
}
