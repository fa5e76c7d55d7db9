//! Planned moves: the active yields, then the role moves (REPLICATION R4).

use std::time::Instant;

use super::{By, Cause, PlanFailed, Pool, PoolEvent, change::NewGrant};
use crate::{Epoch, Member};

/// A move that somebody asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) number: u64,
    pub(super) to: Member,
    pub(super) cause: Cause,
    pub(super) by: By,
    /// The active is not waited for.
    pub(super) forced: bool,
    pub(super) asked: Instant,
    /// When the record said that the active is to yield.
    pub(super) yielding: Option<Instant>,
    /// When it said that it has.
    pub(super) yielded: Option<Instant>,
}

/// How a planned move stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PlanState {
    /// It is under way.
    Pending,
    /// The member was granted the role in this epoch.
    Granted(Epoch),
    /// It was given up.
    Failed(PlanFailed),
}

/// What a plan needs next.
pub(super) enum Step {
    Wait,
    Yield,
    Grant,
    GiveUp(PlanFailed),
}

impl Pool {
    /// Begins a move that was checked before. With `forced` the active is not asked to yield first.
    pub(super) fn begin_plan(&mut self, to: Member, cause: Cause, by: By, forced: bool, now: Instant) -> u64 {
        self.plans += 1;
        if let Some(plan) = self.plan.take() {
            self.end_plan(plan, Err(PlanFailed::Overtaken));
        }
        let number = self.plans;
        self.plan = Some(Plan { number, to, cause, by, forced, asked: now, yielding: None, yielded: None });
        number
    }

    /// How a planned move stands; only the last one is remembered.
    pub fn plan_state(&self, number: u64) -> PlanState {
        match self.last_plan {
            Some((last, Ok(epoch))) if last == number => PlanState::Granted(epoch),
            Some((last, Err(why))) if last == number => PlanState::Failed(why),
            _ if self.plan.as_ref().is_some_and(|plan| plan.number == number) => PlanState::Pending,
            _ => PlanState::Failed(PlanFailed::Overtaken),
        }
    }

    /// The active says that all it took is committed, and that it takes nothing more.
    pub fn handle_yielded(&mut self, member: &Member, epoch: Epoch, now: Instant) {
        let is_active = self.record.active.as_ref() == Some(member) && self.record.epoch == epoch;
        if let Some(plan) = self.plan.as_mut().filter(|plan| is_active && plan.yielding.is_some()) {
            plan.yielded.get_or_insert(now);
        }
    }

    /// An origin is about to end. The active is relieved as soon as somebody in sync is heard.
    pub fn handle_hand_over(&mut self, member: &Member, reason: &str) {
        if self.record.active.as_ref() == Some(member) {
            self.relief = Some((member.clone(), reason.to_owned()));
        }
    }

    /// Plans the relief that the active has asked for.
    pub(super) fn plan_relief(&mut self, now: Instant) {
        let asks = |member: &Member| self.record.active.as_ref() == Some(member);
        let Some((_, reason)) = self.relief.as_ref().filter(|(member, _)| asks(member)) else { return };
        let may = self.settled && self.plan.is_none() && !self.is_behind();
        if let Some(to) = self.in_sync_candidate(now).filter(|_| may).cloned() {
            let by = By { author: String::new(), reason: reason.clone() };
            self.relief = None;
            self.begin_plan(to, Cause::HandedOver, by, false, now);
        }
    }

    /// What the plan needs next.
    pub(super) fn plan_step(&self, now: Instant) -> Step {
        let Some(plan) = &self.plan else { return Step::Wait };
        // It may have been fenced since it was checked.
        if self.record.fenced.contains(&plan.to.node) {
            return Step::GiveUp(PlanFailed::NotReady);
        }
        let seen = self.seen(&plan.to.node).filter(|seen| seen.report.member == plan.to);
        let heard = |time| seen.is_some_and(|seen| seen.ears.heard_within(time, now));
        let in_sync = self.is_whole(&plan.to);
        let late = |since: Instant| now >= since + self.rules.yield_within;
        if plan.forced {
            return if heard(self.rules.silence) { Step::Grant } else { Step::GiveUp(PlanFailed::NotReady) };
        }
        if !in_sync {
            return Step::GiveUp(PlanFailed::NotReady);
        }
        if !heard(self.rules.candidate_heard) {
            return if late(plan.asked) { Step::GiveUp(PlanFailed::NotReady) } else { Step::Wait };
        }
        let active = self.record.active.as_ref();
        let talks = active
            .and_then(|active| self.seen(&active.node))
            .is_some_and(|seen| Some(&seen.report.member) == active && self.is_open(&seen.ears, now));
        match (plan.yielding, plan.yielded) {
            (_, Some(_)) => Step::Grant,
            // Nobody is there to yield.
            _ if !talks => Step::Grant,
            (None, None) => Step::Yield,
            (Some(since), None) if late(since) => Step::GiveUp(PlanFailed::NotYielded),
            (Some(_), None) => Step::Wait,
        }
    }

    /// The grant that the plan is about.
    pub(super) fn planned(&self, plan: &Plan, now: Instant) -> NewGrant {
        let asked_for = || "asked for".to_owned();
        let evidence = Some(plan.by.reason.clone()).filter(|reason| !reason.is_empty()).unwrap_or_else(asked_for);
        let yielding = plan.yielded.zip(plan.yielding).map(|(yielded, since)| yielded - since);
        NewGrant {
            to: plan.to.clone(),
            epoch: self.next_epoch(),
            cause: plan.cause,
            evidence,
            memory: self.memory_of(&plan.to),
            by: plan.by.clone(),
            detect: None,
            yielding,
            decided: plan.yielded.unwrap_or(now),
            reason: None,
        }
    }

    /// Gives the plan up if it cannot be carried out.
    pub(super) fn check_plan(&mut self, now: Instant) {
        if let Step::GiveUp(why) = self.plan_step(now)
            && let Some(plan) = self.plan.take()
        {
            self.events.push_back(PoolEvent::NotMoved { member: plan.to.clone(), why });
            self.end_plan(plan, Err(why));
        }
    }

    pub(super) fn end_plan(&mut self, plan: Plan, outcome: Result<Epoch, PlanFailed>) {
        self.last_plan = Some((plan.number, outcome));
    }

    /// When the plan may have to be given up.
    pub(super) fn plan_due(&self) -> impl Iterator<Item = Instant> {
        let since = self.plan.iter().flat_map(|plan| [Some(plan.asked), plan.yielding]).flatten();
        since.map(|since| since + self.rules.yield_within)
    }
}
