//! What operators may ask of a pool (REPLICATION R4, R5).

use std::time::Instant;

use super::{By, Cause, Hold, Mode, Pool, PoolChange, PoolEvent, change::Next};
use crate::{Epoch, Member, NodeId};

/// How a member is made active.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promotion {
    /// It must be in sync, and the active yields first: nothing is lost.
    Graceful,
    /// At once, whatever it has.
    Forced,
}

impl Pool {
    /// Whether a member may be made active now; says which start of it is meant.
    pub fn check_promotion(
        &self,
        node: &NodeId,
        expected: Epoch,
        how: Promotion,
        now: Instant,
    ) -> Result<Member, PromoteError> {
        self.check_epoch(expected)?;
        if !self.record.members.contains_key(node) {
            return Err(PromoteError::NotAMember);
        }
        if !self.settled {
            return Err(PromoteError::Settling);
        }
        if self.record.fenced.contains(node) {
            return Err(PromoteError::Fenced);
        }
        let seen = self.seen(node).filter(|seen| self.is_open(&seen.ears, now)).ok_or(PromoteError::NotAlive)?;
        let member = &seen.report.member;
        if self.record.active.as_ref() == Some(member) {
            return Err(PromoteError::AlreadyActive);
        }
        if how == Promotion::Graceful && !self.is_whole(member) {
            return Err(PromoteError::NotInSync);
        }
        if self.plan.is_some() {
            return Err(PromoteError::UnderWay);
        }
        Ok(member.clone())
    }

    /// Begins to make a member active, as it was checked; the number is for [`Pool::plan_state`].
    pub fn promote(&mut self, member: Member, how: Promotion, by: By, now: Instant) -> u64 {
        self.begin_plan(member, Cause::Promoted, by, how == Promotion::Forced, now)
    }

    /// Begins to make the first choice active again, as it was checked with [`Promotion::Graceful`].
    pub fn fail_back(&mut self, member: Member, by: By, now: Instant) -> u64 {
        self.begin_plan(member, Cause::FailedBack, by, false, now)
    }

    /// Where a fail-back goes: to the configured origin, otherwise to the one before the last move.
    pub fn first_choice(&self) -> Option<&NodeId> {
        self.rules.first_active.as_ref().or(self.record.before.as_ref())
    }

    /// The caller must have seen the epoch in force.
    pub fn check_epoch(&self, expected: Epoch) -> Result<(), PromoteError> {
        if expected == self.record.epoch {
            return Ok(());
        }
        Err(PromoteError::StaleEpoch { expected, current: self.record.epoch })
    }

    /// Roles no longer move by themselves, until then or until they are released.
    pub fn held(&self, until_unix_ms: Option<u64>, by: By) -> Option<PoolChange> {
        let mut next = Next::of(&self.record);
        next.record.mode = Mode::Hold;
        next.record.hold = Some(Hold { until_unix_ms, by: by.clone() });
        next.events.push(PoolEvent::Held { by, until_unix_ms });
        self.finish(next)
    }

    /// Roles move by themselves again; none when they do.
    pub fn released(&self, by: By) -> Option<PoolChange> {
        let mut next = Next::of(&self.record);
        release(&mut next, by);
        self.finish(next)
    }

    /// Takes a member out of service, until it is let in again; none when it is. The active cannot be fenced.
    pub fn fenced(&self, node: &NodeId, by: By) -> Result<Option<PoolChange>, PromoteError> {
        if !self.record.members.contains_key(node) {
            return Err(PromoteError::NotAMember);
        }
        if self.record.active.as_ref().is_some_and(|active| active.node == *node) {
            return Err(PromoteError::StillActive);
        }
        let mut next = Next::of(&self.record);
        if next.record.fenced.insert(node.clone()) {
            next.record.in_sync.retain(|member| member.node != *node);
            next.events.push(PoolEvent::Fenced { node: node.clone(), by });
        }
        Ok(self.finish(next))
    }

    /// Lets a fenced node in again, also while it is not in the pool; none when it is not fenced.
    pub fn unfenced(&self, node: &NodeId, by: By) -> Result<Option<PoolChange>, PromoteError> {
        let mut next = Next::of(&self.record);
        if next.record.fenced.remove(node) {
            next.events.push(PoolEvent::Unfenced { node: node.clone(), by });
        } else if !self.record.members.contains_key(node) {
            return Err(PromoteError::NotAMember);
        }
        Ok(self.finish(next))
    }

    /// Takes a node out of the pool; none when it is not in it, or is the active. Its fence stays.
    pub fn without(&self, node: &NodeId) -> Option<PoolChange> {
        if self.record.active.as_ref().is_some_and(|active| active.node == *node) {
            return None;
        }
        let mut next = Next::of(&self.record);
        next.record.members.remove(node)?;
        next.record.in_sync.retain(|member| member.node != *node);
        self.finish(next)
    }
}

/// Ends a hold, if there is one.
pub(super) fn release(next: &mut Next, by: By) {
    if next.record.mode == Mode::Hold {
        next.record.mode = Mode::Auto;
        next.record.hold = None;
        next.events.push(PoolEvent::Released { by });
    }
}

/// Why a member cannot be made active, or fenced.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromoteError {
    /// The caller has seen another epoch.
    #[error("the pool is in epoch {current}, not {expected}")]
    StaleEpoch {
        /// What the caller has seen.
        expected: Epoch,
        /// What is in force.
        current: Epoch,
    },
    /// No origin of the pool has this name.
    #[error("it is not a member of the pool")]
    NotAMember,
    /// Its session is closed, or silent.
    #[error("the control plane does not hear it: start it, or see why it does not reach the control plane")]
    NotAlive,
    /// It already is.
    #[error("it is active already")]
    AlreadyActive,
    /// The active cannot be taken out of service.
    #[error("it is active: promote another member first")]
    StillActive,
    /// It may lack what is committed.
    #[error("it is not in sync: wait until it is, or force it and lose what it does not have")]
    NotInSync,
    /// An operator has taken it out of service.
    #[error("it is fenced: unfence it first")]
    Fenced,
    /// Another move has begun.
    #[error("another move of the role is under way")]
    UnderWay,
    /// The control plane has just started.
    #[error("the control plane has just started and waits for the origins to report")]
    Settling,
}
