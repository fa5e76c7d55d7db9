//! The role of an origin, as it is granted and given up (REPLICATION C1, C2, C7, C8, P3, R4).

use std::{collections::BTreeSet, sync::Arc, time::Instant};

use cluster::{Commits, Epoch, Grant, Mishap, Role};
use hub::{Body, Event, Item};
use media::StreamName;

use crate::{
    Replica,
    follow::Leader,
    log::Log,
    term::{Pending, Sending, Term},
};

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
        self.handle_epoch(grant.epoch);
        if active && let Some(term) = self.term.as_mut().filter(|_| serves_it) {
            term.commits.handle_grant(&grant);
            term.yields_until = grant.yields.then(|| now + self.config.yield_max);
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
    pub fn handle_epoch(&mut self, heard: Epoch) {
        if heard > self.highest {
            self.highest = heard;
            self.step_down();
            self.note_change();
        }
    }

    fn step_down(&mut self) {
        let Some(term) = self.term.take() else { return };
        self.held = (term.epoch(), term.commits.head());
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
        let mut term = Term::new(commits, self.config.journal_max, now);
        term.sending = self.followers.keys().map(|id| (*id, Sending::New)).collect();
        self.term = Some(term);
        self.logs.values_mut().for_each(Log::release);
    }

    /// Positions of a later epoch are above those of any earlier one.
    fn hub_floor(&self, epoch: Epoch) {
        self.hub.raise_floor(epoch.first_position());
    }

    /// What the logs hold is to be committed anew (C1); where the role was granted with loss, what is not known to be
    /// committed goes first (C7). Whoever feeds what is left is awaited.
    fn recommit(&mut self, now: Instant) {
        let Some(loss_epoch) = self.grant.as_ref().map(|grant| grant.loss_epoch) else { return };
        let resume_until = now + self.config.resume_wait;
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
            log.await_source(resume_until, now);
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
                self.notice(&name, Mishap::Lost { from });
            }
        }
        self.advance();
    }

    fn append_loss(&mut self, name: &StreamName, from: u64) {
        let (Some(term), Some(log)) = (&mut self.term, self.logs.get_mut(name)) else { return };
        let seq = term.epoch().first_position().max(log.lineage.next_seq());
        let loss = Event::Loss { epoch: term.epoch().0, from, to: None };
        let item = Arc::new(Item::new(seq, Body::Event(loss)));
        log.append_item(term.epoch(), item.clone());
        let publication = log.publication();
        term.push(name, item, publication, None);
    }
}
