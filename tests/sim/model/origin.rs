//! What origins do: take messages, follow, ack, commit, ask, step down.

use cluster::{Epoch, Lineage};

use super::{
    Mistake, Model, only_if,
    state::{
        Ack, CONTROL, EDGES, Item, LOSS, LOSS_STEP, Member, NODES, Node, Record, Request, Set, State, Term, party,
    },
};

impl Term {
    /// C1: an ack counts for the epoch, incarnation and connection that it was given on.
    pub fn counts(&self, ack: &Ack) -> bool {
        let connected = self.followers[ack.from.node()];
        ack.epoch == self.epoch && connected.is_some_and(|(incarnation, _)| incarnation == ack.from.incarnation())
    }

    fn acked(&self, member: Member) -> Option<u8> {
        let (incarnation, acked) = self.followers[member.node()]?;
        acked.filter(|_| incarnation == member.incarnation())
    }
}

impl Model {
    pub(super) fn append(&self, state: &State, active: usize) -> Option<State> {
        only_if(self.awake(state, active) && self.link(state, EDGES[0], party(active)))?;
        let node = &state.nodes[active];
        let epoch = node.term.as_ref()?.epoch;
        // The edge has forgotten what was acked, and sends the rest from there on.
        let message = node.next_message.max(state.acked + 1);
        only_if(message <= self.bounds.messages)?;
        let mut next = state.clone();
        let node = &mut next.nodes[active];
        node.log.push(Item { seq: node.next_seq(), epoch, message });
        node.next_message = message + 1;
        self.commit(&mut next, active);
        Some(next)
    }

    /// P3: what is in the log already is acked once it is committed; only the mistake makes a difference here.
    pub(super) fn replay(&self, state: &State, active: usize) -> Option<State> {
        only_if(self.errs(Mistake::AckedBecauseInLog) && state.nodes[active].next_message - 1 > state.acked)?;
        let mut next = state.clone();
        next.acked = next.nodes[active].next_message - 1;
        Some(next)
    }

    /// C6: the follower says where its epochs began, and discards what lies above the last position that both have.
    pub(super) fn settle(&self, state: &State, follower: usize, active: usize) -> Option<State> {
        only_if(follower != active && self.link(state, party(follower), party(active)))?;
        only_if(self.awake(state, follower) && self.awake(state, active))?;
        let epoch = state.epoch_of(active)?;
        let mut next = state.clone();
        if state.nodes[follower].heard > epoch {
            next.nodes[active].hear(state.nodes[follower].heard);
            return Some(next);
        }
        // Without the fence a log may hold epochs in any order; what comes of that was found before.
        only_if([active, follower].iter().all(|node| state.nodes[*node].log.is_sorted_by_key(|item| item.epoch)))?;
        let leader = state.member(active);
        if state.nodes[follower].following == Some((leader, epoch)) {
            next.left.reconnects = next.left.reconnects.checked_sub(1)?;
        }
        let end = self.common_end(&state.nodes[active], &state.nodes[follower]);
        let node = &mut next.nodes[follower];
        node.hear(epoch);
        node.following = Some((leader, epoch));
        node.cut(end);
        if self.errs(Mistake::EmptiedBeforeSnapshot) {
            node.cut(0);
        }
        if !self.errs(Mistake::NumbersKept) {
            node.number_from_log();
        }
        let incarnation = node.incarnation;
        let term = next.nodes[active].term.as_mut().expect("it is active in this epoch");
        term.followers[follower] = Some((incarnation, None));
        if !self.errs(Mistake::OldAcksCount) {
            next.acks.retain(|ack| ack.to != active || ack.from.node() != follower);
        }
        send_ack(&mut next, follower, active, epoch);
        Some(next)
    }

    fn common_end(&self, active: &Node, follower: &Node) -> u8 {
        if self.errs(Mistake::SettledByLastEpoch) {
            let Some(last) = follower.log.last() else { return 0 };
            let below = active.log.iter().rev().find(|item| item.epoch <= last.epoch);
            below.map_or(0, |item| item.seq + 1).min(follower.next_seq())
        } else {
            let end = lineage(active).common_end(&lineage(follower));
            u8::try_from(end).expect("positions of the model are small")
        }
    }

    pub(super) fn copy(&self, state: &State, follower: usize) -> Option<State> {
        let (active, epoch) = self.leader_of(state, follower)?;
        only_if(self.awake(state, active))?;
        let from = state.nodes[follower].next_seq();
        let item = *state.nodes[active].log.iter().find(|item| item.seq >= from)?;
        let mut next = state.clone();
        let committed = next.nodes[active].committed;
        let node = &mut next.nodes[follower];
        node.committed = node.committed.max(committed.min(node.next_seq()));
        node.log.push(item);
        node.next_message = node.next_message.max(item.message + 1);
        send_ack(&mut next, follower, active, epoch);
        Some(next)
    }

    pub(super) fn hear(&self, state: &State, follower: usize) -> Option<State> {
        let (active, _) = self.leader_of(state, follower)?;
        let node = &state.nodes[follower];
        let committed = state.nodes[active].committed.min(node.next_seq());
        only_if(committed > node.committed)?;
        let mut next = state.clone();
        next.nodes[follower].committed = committed;
        Some(next)
    }

    /// C2: nothing is taken of an epoch below the highest heard.
    fn leader_of(&self, state: &State, follower: usize) -> Option<(usize, u8)> {
        let node = &state.nodes[follower];
        let (leader, epoch) = node.following?;
        let active = leader.node();
        only_if(state.member(active) == leader && state.epoch_of(active) == Some(epoch))?;
        only_if(node.heard == epoch || self.errs(Mistake::NoFence))?;
        only_if(self.awake(state, follower) && self.link(state, party(follower), party(active)))?;
        Some((active, epoch))
    }

    pub(super) fn ack(&self, state: &State, at: usize) -> Option<State> {
        let ack = state.acks[at];
        only_if(self.awake(state, ack.to) && self.link(state, party(ack.from.node()), party(ack.to)))?;
        let mut next = state.clone();
        next.acks.remove(at);
        let counts_old = self.errs(Mistake::OldAcksCount);
        if let Some(term) = &mut next.nodes[ack.to].term {
            let counts = term.counts(&ack) || counts_old;
            if let Some((_, acked)) = term.followers[ack.from.node()].as_mut().filter(|_| counts) {
                *acked = (*acked).max(Some(ack.seq));
            }
        }
        self.commit(&mut next, ack.to);
        Some(next)
    }

    /// C4: whoever holds all that the active had when it was granted, and all committed since, counts from now on.
    pub(super) fn ask_in(&self, state: &State, active: usize, node: usize) -> Option<State> {
        let term = state.nodes[active].term.as_ref()?;
        only_if(self.awake(state, active))?;
        let (incarnation, acked) = term.followers[node]?;
        let member = Member::new(node, incarnation);
        let enough = if self.errs(Mistake::GrowByCommitIndex) { 0 } else { term.held }.max(term.watermark);
        only_if(node != active && !term.counted.has(member) && acked? >= enough)?;
        let mut next = self.asked(state, active, member, true)?;
        let term = next.nodes[active].term.as_mut().expect("it is active");
        term.counted = term.counted.with(member);
        Some(next)
    }

    /// C3.
    pub(super) fn ask_out(&self, state: &State, active: usize, member: Member) -> Option<State> {
        only_if(self.awake(state, active) && member != state.member(active))?;
        self.asked(state, active, member, false)
    }

    /// One request a version.
    fn asked(&self, state: &State, active: usize, member: Member, grow: bool) -> Option<State> {
        let known = state.nodes[active].known?;
        let from = state.member(active);
        let asked = |request: &Request| request.from == from && request.version == known.version;
        only_if(!state.requests.iter().any(asked))?;
        let mut next = state.clone();
        next.requests.push(Request { from, epoch: known.epoch, version: known.version, member, grow });
        Some(next)
    }

    /// The mistake: the request may yet be granted.
    pub(super) fn give_up(&self, state: &State, active: usize) -> Option<State> {
        let known = state.nodes[active].known?;
        let term = state.nodes[active].term.as_ref()?;
        only_if(self.errs(Mistake::GrowGivenUp) && term.counted != known.in_sync)?;
        let mut next = state.clone();
        next.nodes[active].term.as_mut()?.counted = known.in_sync;
        self.commit(&mut next, active);
        Some(next)
    }

    /// A node takes only a newer version than it has, and no epoch below the highest it has heard.
    pub(super) fn take(&self, state: &State, node: usize, at: usize) -> Option<State> {
        only_if(self.awake(state, node) && self.link(state, CONTROL, party(node)))?;
        let record = state.sent[at];
        let me = state.member(node);
        let known = state.nodes[node].known;
        only_if(match known {
            Some(known) if self.errs(Mistake::OlderRecordTaken) => record.epoch >= known.epoch && record != known,
            Some(known) => record.version > known.version,
            None => true,
        })?;
        only_if(record.epoch >= state.nodes[node].heard)?;
        let mut next = state.clone();
        next.nodes[node].known = Some(record);
        if record.active != me {
            next.nodes[node].hear(record.epoch);
        } else if state.epoch_of(node) == Some(record.epoch) {
            let term = next.nodes[node].term.as_mut().expect("it is active");
            term.counted = record.in_sync;
            term.alone = false;
            self.commit(&mut next, node);
        } else {
            self.begin(&mut next, node, record);
        }
        Some(next)
    }

    /// The term of a new active begins: it knows nothing as committed.
    fn begin(&self, state: &mut State, node: usize, record: Record) {
        let me = state.member(node);
        state.serve(me, record.epoch);
        self.name_loss(state, node, record);
        let this = &mut state.nodes[node];
        this.heard = record.epoch;
        if !self.errs(Mistake::NoFence) {
            this.following = None;
        }
        this.term = Some(Term {
            epoch: record.epoch,
            counted: record.in_sync,
            held: this.next_seq(),
            watermark: 0,
            followers: [None; NODES],
            alone: false,
        });
        if self.errs(Mistake::ServesWholeLog) {
            for item in this.log.clone() {
                state.promise(item, false);
            }
        }
        self.commit(state, node);
    }

    /// C7: after a promotion with loss the log is cut back to what is known to be committed, and says so.
    fn name_loss(&self, state: &mut State, node: usize, record: Record) {
        let this = &mut state.nodes[node];
        let told = match self.mistake {
            Some(Mistake::LossAtOldPositions) => true,
            Some(Mistake::LossForgotten) if record.loss_epoch != record.epoch => true,
            Some(Mistake::LossNotInNewStreams) if this.log.is_empty() => true,
            _ => this.loss_epoch() >= record.loss_epoch,
        };
        if told {
            return;
        }
        this.cut(this.committed);
        this.number_from_log();
        this.log.push(Item { seq: record.epoch * LOSS_STEP, epoch: record.epoch, message: LOSS });
        let this = this.clone();
        for promise in state.promised.iter_mut().filter(|promise| !this.has(&promise.item)) {
            promise.named = true;
        }
        for message in (1..=state.acked).filter(|message| !this.has_message(*message)) {
            state.excused |= 1 << message;
        }
    }

    /// Serves and acks what the active and every member that counts have.
    pub(super) fn commit(&self, state: &mut State, active: usize) {
        let me = state.member(active);
        let split = state.network.faults > 1;
        let lost = state.nodes.iter().filter_map(|node| node.known).map(|known| known.loss_epoch).max().unwrap_or(0);
        let lost = lost.max(state.record.loss_epoch);
        let node = &mut state.nodes[active];
        let head = node.next_seq();
        let Some(term) = &mut node.term else { return };
        let others = term.counted.without(me);
        let held = others.iter().map(|member| term.acked(member)).min().unwrap_or(Some(head));
        term.watermark = term.watermark.max(held.unwrap_or(0).min(head));
        node.committed = node.committed.max(term.watermark);
        let (watermark, alone, epoch) = (term.watermark, term.alone, term.epoch);
        let committed: Vec<Item> = node.log.iter().copied().filter(|item| item.seq < watermark).collect();
        // What a deposed active commits after a promotion with loss, or alone after several faults, an event names.
        let named = epoch < lost || alone && split;
        for item in committed {
            state.promise(item, named);
            state.acked = state.acked.max(item.message);
            if named && item.message != LOSS {
                state.excused |= 1 << item.message;
            }
        }
    }

    /// C5: nobody answers, and most edges hear us.
    pub(super) fn go_alone(&self, state: &State, active: usize) -> Option<State> {
        let me = party(active);
        let node = &state.nodes[active];
        let term = node.term.as_ref()?;
        only_if(self.bounds.network && state.network.frozen.is_none_or(|frozen| usize::from(frozen) != active))?;
        // Timers that fired while it was frozen say that it heard nobody.
        let stale = node.stale && self.errs(Mistake::AloneOnStaleTimers);
        only_if(stale || !node.stale && !state.network.hears(me, CONTROL))?;
        let hearing = EDGES.iter().filter(|edge| state.network.hears(me, **edge)).count();
        only_if(stale || hearing * 2 > EDGES.len() || self.errs(Mistake::AloneWithoutEdges))?;
        let others = term.counted.without(state.member(active));
        let missing = others.iter().filter(|member| stale || !state.network.hears(me, party(member.node())));
        let missing = Set::of(missing);
        only_if(missing != Set::default())?;
        let mut next = state.clone();
        let term = next.nodes[active].term.as_mut()?;
        term.counted = missing.iter().fold(term.counted, Set::without);
        term.alone = true;
        self.commit(&mut next, active);
        Some(next)
    }

    /// The process is another one now: nothing is left but the highest epoch on its disk.
    pub(super) fn restart(&self, state: &State, node: usize) -> Option<State> {
        let left = state.left.restarts.checked_sub(1)?;
        only_if(state.nodes[node].incarnation == 0)?;
        let mut next = state.clone();
        next.left.restarts = left;
        next.nodes[node] = Node {
            incarnation: 1,
            heard: state.nodes[node].heard,
            known: None,
            log: Vec::new(),
            next_message: 1,
            committed: 0,
            following: None,
            term: None,
            stale: false,
        };
        Some(next)
    }
}

impl Node {
    /// C8: an active that hears a higher epoch steps down at once.
    pub(super) fn hear(&mut self, epoch: u8) {
        self.heard = self.heard.max(epoch);
        if self.term.as_ref().is_some_and(|term| term.epoch < self.heard) {
            self.term = None;
        }
    }
}

fn send_ack(state: &mut State, follower: usize, active: usize, epoch: u8) {
    let from = state.member(follower);
    state.acks.retain(|ack| (ack.from, ack.to, ack.epoch) != (from, active, epoch));
    state.acks.push(Ack { from, to: active, epoch, seq: state.nodes[follower].next_seq() });
}

fn lineage(node: &Node) -> Lineage {
    let mut lineage = Lineage::default();
    node.log.iter().for_each(|item| lineage.note(Epoch(u64::from(item.epoch)), u64::from(item.seq)));
    lineage
}
