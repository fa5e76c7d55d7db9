//! The invariants.

use super::{
    Model,
    state::{Broken, Item, LOSS, Promise, State},
};

impl State {
    /// An item is seen by viewers from now on.
    pub(super) fn promise(&mut self, item: Item, named: bool) {
        if let Some(known) = self.promised.iter_mut().find(|promise| promise.item.seq == item.seq) {
            if known.item != item && !known.named && !named {
                self.broken = Some(Broken::TwoContents);
            }
            return;
        }
        if item.message != LOSS && !named {
            let seen = |message| self.promised.iter().any(|promise| promise.item.message == message && !promise.named);
            if seen(item.message) {
                self.broken = Some(Broken::SeenTwice);
            }
            let before = item.message - 1;
            let was_seen = self.promised.iter().any(|promise| promise.item.message == before);
            if before != LOSS && !was_seen && !self.is_excused(before) {
                self.broken = Some(Broken::NeverSeen);
            }
        }
        self.promised.push(Promise { item, named });
        self.promised.sort_unstable_by_key(|promise| promise.item.seq);
    }
}

impl Model {
    /// Invariants 1 and 2: every member in sync, and so every later active, has what was promised.
    pub(super) fn check(&self, state: &mut State) {
        if state.broken.is_some() || state.restored {
            return;
        }
        let record = state.record;
        if !record.in_sync.has(record.active) {
            state.broken = Some(Broken::ActiveNotInSync);
            return;
        }
        for node in 0..state.nodes.len() {
            let this = &state.nodes[node];
            // Who was promoted with loss and has not begun yet will name what it lacks.
            if !record.in_sync.has(state.member(node)) || this.loss_epoch() < record.loss_epoch {
                continue;
            }
            let lacks = |promise: &&Promise| !promise.named && !this.has(&promise.item);
            let forgotten = |message: &u8| !state.is_excused(*message) && !this.has_message(*message);
            if state.promised.iter().any(|promise| lacks(&promise)) {
                state.broken = Some(Broken::MissingInSync);
                return;
            }
            if (1..=state.acked).any(|message| forgotten(&message)) {
                state.broken = Some(Broken::AckedAndGone);
                return;
            }
        }
    }
}
