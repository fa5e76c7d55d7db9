//! When roles move by themselves (REPLICATION R1-R3, R5, R6).

use std::time::{Duration, Instant};

use super::{
    By, Cause, Hold, Mode, Pool, PoolAlarm, PoolEvent, Unclean,
    candidates::Candidate,
    change::{Memory, NewGrant, Next},
    evidence::{Evidence, Suspicion},
    hearing::Seen,
    moves::{Leave, Reason},
    operator::release,
    plan::Step,
};
use crate::{Epoch, Member, NodeId};

/// What the rules say about the active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It stays.
    Stays,
    /// It is not heard here, and the role does not move.
    Unconfirmed { evidence: String },
    /// It is gone, and nobody may take its place now.
    NotReplaced { why: String },
    /// It is gone, and roles have moved too often.
    TooOften { evidence: String },
    /// This one takes its place.
    Moves(Box<NewGrant>),
}

impl Pool {
    /// What the rules say about the active now.
    pub(super) fn judge(&mut self, now: Instant) -> Verdict {
        let Some(active) = self.record.active.clone().filter(|_| self.settled) else { return Verdict::Stays };
        let candidate = self.in_sync_candidate(now).map(|member| member.node.clone());
        let evidence = match self.suspicion(&active, candidate.as_ref(), now) {
            Suspicion::Confirmed(evidence) => evidence,
            Suspicion::None => {
                self.convinced = None;
                return Verdict::Stays;
            }
            Suspicion::Unconfirmed { evidence } => {
                self.convinced = None;
                return Verdict::Unconfirmed { evidence };
            }
        };
        let convinced = *self.convinced.get_or_insert(now);
        self.replace(&active, evidence, convinced, now)
    }

    fn replace(&self, active: &Member, evidence: Evidence, convinced: Instant, now: Instant) -> Verdict {
        let text = evidence.text;
        if self.record.mode == Mode::Hold {
            return Verdict::NotReplaced { why: format!("{text}; the pool is held") };
        }
        let to = match self.candidate(now) {
            Candidate::InSync(member) => member,
            // Whom edges do not hear, and we do, is not replaced by one that lacks something.
            Candidate::Unclean(_) if evidence.cause == Cause::Unheard => return Verdict::Stays,
            Candidate::Unclean(member) => member,
            Candidate::Nobody { why } => return Verdict::NotReplaced { why: format!("{text}; {why}") },
        };
        match self.moves.leave(evidence.reason, &self.rules.moves, now) {
            Leave::Now => {}
            Leave::At(_) => {
                return Verdict::NotReplaced { why: format!("{text}; the role has moved a moment ago") };
            }
            Leave::Hold => return Verdict::TooOften { evidence: text },
        }
        // Its own restart is the cause only if nobody else takes over.
        let cause = match evidence.cause {
            Cause::Restart if to.node != active.node => Cause::Died,
            cause => cause,
        };
        Verdict::Moves(Box::new(NewGrant {
            epoch: self.next_epoch(),
            cause,
            evidence: text,
            memory: self.memory_of(&to),
            to,
            by: By::default(),
            detect: Some(convinced.saturating_duration_since(evidence.first_sign)),
            yielding: None,
            decided: convinced,
            reason: Some(evidence.reason),
        }))
    }

    /// The grant that is due, if one is.
    pub(super) fn next_grant(&self, verdict: Verdict, now: Instant, next: &mut Next) -> Option<NewGrant> {
        if let Some(ahead) = self.serves_ahead() {
            return self.adopted(ahead, now);
        }
        if !self.settled {
            return None;
        }
        // First of all, so that an operator can decide where nothing moves by itself.
        if let (Step::Grant, Some(plan)) = (self.plan_step(now), &self.plan) {
            return Some(self.planned(plan, now));
        }
        if self.record.active.is_none() {
            return self.bootstrap(now);
        }
        if self.highest_of_members > self.record.epoch {
            return self.above_what_was_heard(now);
        }
        if let Some(grant) = self.above_a_double(now).or_else(|| self.above_a_guess(now)) {
            return Some(grant);
        }
        match verdict {
            Verdict::Moves(grant) => return Some(*grant),
            Verdict::TooOften { evidence } => hold(next, &evidence),
            Verdict::Stays | Verdict::Unconfirmed { .. } | Verdict::NotReplaced { .. } => {}
        }
        self.after_one_that_did_not_open(now)
    }

    /// R6: whoever serves in a higher epoch than the record's was granted it by a store that knew more.
    fn serves_ahead(&self) -> Option<&Seen> {
        let open = self.members.values().filter(|seen| seen.ears.closed.is_none());
        open.filter(|seen| seen.report.serving > Some(self.record.epoch)).max_by_key(|seen| seen.report.serving)
    }

    fn adopted(&self, ahead: &Seen, now: Instant) -> Option<NewGrant> {
        let report = &ahead.report;
        // It says by which record it goes with its first beat; one of an earlier version never does.
        if report.record.is_none() && now < ahead.ears.since + self.rules.witness_after {
            return None;
        }
        let epoch = report.serving?;
        let evidence = format!("{} serves in epoch {epoch}, above the record's", report.member.node);
        let memory = Memory::Serving(report.record.clone());
        let grant = self.unasked(report.member.clone(), Cause::Adopted, evidence, memory, now);
        Some(NewGrant { epoch, ..grant })
    }

    fn bootstrap(&self, now: Instant) -> Option<NewGrant> {
        let may = |node: &NodeId| !self.record.fenced.contains(node);
        let first_active = self.rules.first_active.as_ref().filter(|node| may(node));
        let preferred = first_active.and_then(|node| self.report_of(node));
        let open = self.members.values().filter(|seen| seen.ears.closed.is_none() && may(&seen.report.member.node));
        let earliest = open.min_by_key(|seen| (seen.ears.since, seen.report.member.node.clone()))?;
        let first = preferred.unwrap_or(&earliest.report);
        let evidence = match preferred {
            Some(_) => format!("{} is configured as first_active", first.member.node),
            None => format!("{} was the first to come", first.member.node),
        };
        let memory = self.memory_of(&first.member);
        if memory != Memory::Whole && self.rules.unclean == Unclean::Never {
            return None;
        }
        Some(self.unasked(first.member.clone(), Cause::Bootstrap, evidence, memory, now))
    }

    /// R6: members have heard of a higher epoch, and nobody serves in it: who was in sync then nobody knows.
    fn above_what_was_heard(&self, now: Instant) -> Option<NewGrant> {
        let may = self.record.mode == Mode::Auto && self.rules.unclean == Unclean::Allow;
        // The one that serves in it may only be out of our reach.
        if !may
            || self.heard_elsewhere_only(now).is_some()
            || self.moves.leave(Reason::Death, &self.rules.moves, now) != Leave::Now
        {
            return None;
        }
        let Candidate::Unclean(to) = self.longest_living(now) else { return None };
        let heard = self.highest_of_members;
        let evidence = format!("a member has heard of epoch {heard}, above the record's, and nobody serves in it");
        let memory = self.part_of(&to);
        let grant = self.unasked(to, Cause::EpochHeard, evidence, memory, now);
        Some(NewGrant { reason: Some(Reason::Death), ..grant })
    }

    /// R6: a member goes by another grant of the epoch in force, made by a store that this one does not know of. The active
    /// is granted the next epoch, which both have to heed.
    fn above_a_double(&self, now: Instant) -> Option<NewGrant> {
        let other =
            self.members.values().map(|seen| &seen.report.member).find(|member| self.goes_by_another_grant(member))?;
        let active = self.record.active.clone().filter(|_| self.is_served())?;
        if self.moves.leave(Reason::Death, &self.rules.moves, now) != Leave::Now {
            return None;
        }
        let evidence = format!("{} goes by another grant of epoch {}", other.node, self.record.epoch);
        // Whom it does not know has nothing to do with what it has committed.
        let grant = self.unasked(active, Cause::EpochHeard, evidence, Memory::Whole, now);
        Some(NewGrant { reason: Some(Reason::Death), ..grant })
    }

    /// Whether a member says that it was granted the epoch in force, or goes by a grant of it, of which the record does not
    /// know.
    pub(super) fn goes_by_another_grant(&self, member: &Member) -> bool {
        let record = &self.record;
        let Some(report) = self.report_of(&member.node).filter(|report| report.member == *member) else { return false };
        let serves = report.serving == Some(record.epoch) && record.active.as_ref() != Some(member);
        let known = report.record.as_ref().filter(|known| known.epoch == record.epoch);
        let other = known.is_some_and(|known| known.granted_by != record.granted_by && !known.granted_by.is_empty());
        serves || (other && !record.granted_by.is_empty())
    }

    /// R3: the next candidate, in the next epoch. It belongs to the same move: no limit keeps it back.
    fn after_one_that_did_not_open(&self, now: Instant) -> Option<NewGrant> {
        let opening = self.opening.as_ref().filter(|opening| opening.is_late(&self.rules, now))?;
        let failed = self.record.active.as_ref()?;
        if self.record.mode == Mode::Hold || self.is_behind() {
            return None;
        }
        let evidence = format!("{} was granted epoch {} and has not opened", failed.node, self.record.epoch);
        let Some(to) = self.in_sync_candidate(now).cloned() else { return self.unclean_instead(failed, evidence, now) };
        let grant = self.unasked(to, Cause::NotOpened, evidence, Memory::Whole, now);
        Some(NewGrant { decided: opening.late_at(&self.rules), ..grant })
    }

    /// R2: the one that does not open no longer counts as in sync, and nobody else is. It has to say itself that it does not
    /// serve: of one that is not heard only R1 decides. Where nobody opens, the role goes to and fro as often as for silence.
    fn unclean_instead(&self, failed: &Member, evidence: String, now: Instant) -> Option<NewGrant> {
        let due = self.unopened_due().filter(|due| now >= *due)?;
        let heard = self.living(now).find(|seen| seen.report.member == *failed)?;
        if heard.report.serving.is_some() || self.moves.leave(Reason::Silence, &self.rules.moves, now) != Leave::Now {
            return None;
        }
        let Candidate::Unclean(to) = self.longest_living(now) else { return None };
        let evidence = format!("{evidence}, and no other member in sync is heard");
        let memory = self.part_of(&to);
        let grant = self.unasked(to, Cause::NotOpened, evidence, memory, now);
        Some(NewGrant { decided: due, reason: Some(Reason::Silence), ..grant })
    }

    /// When one that has not opened gives way to one that lacks something, should no other in sync be heard until then.
    pub(super) fn unopened_due(&self) -> Option<Instant> {
        let opening = self.opening.as_ref().filter(|_| self.rules.unclean == Unclean::Allow)?;
        let waited = opening.waits_until(&self.rules)? + self.rules.unclean_after;
        let failed = self.record.active.as_ref();
        let others = self.record.in_sync.iter().filter(|member| Some(*member) != failed);
        Some(self.missed_since(others).map_or(waited, |missed| waited.max(missed + self.rules.unclean_after)))
    }

    pub(super) fn unasked(&self, to: Member, cause: Cause, evidence: String, memory: Memory, now: Instant) -> NewGrant {
        let (epoch, by) = (self.next_epoch(), By::default());
        NewGrant { to, epoch, cause, evidence, memory, by, detect: None, yielding: None, decided: now, reason: None }
    }

    /// Above every epoch that anybody has heard of.
    pub(super) fn next_epoch(&self) -> Epoch {
        self.highest_heard.max(self.record.epoch).next()
    }

    /// Whether a member has all that is committed, as far as the record tells the truth.
    pub(super) fn is_whole(&self, member: &Member) -> bool {
        self.record.in_sync.contains(member) && !self.is_behind()
    }

    /// What a member has of what is committed: in a new pool that is nothing yet; streams that an earlier record has seen
    /// need not be in its memory.
    pub(super) fn memory_of(&self, member: &Member) -> Memory {
        if self.is_new() || self.is_whole(member) { Memory::Whole } else { self.part_of(member) }
    }

    pub(super) fn part_of(&self, member: &Member) -> Memory {
        Memory::Part { head: self.seen(&member.node).map_or((Epoch(0), 0), |seen| seen.report.head) }
    }

    /// Ends a hold whose time is over.
    pub(super) fn end_hold(&mut self, next: &mut Next, now: Instant, unix_ms: u64) {
        let until = self.record.hold.as_ref().and_then(|hold| hold.until_unix_ms);
        let left = until.map(|until| until.saturating_sub(unix_ms));
        let lasts = left.filter(|left| *left > 0).map(Duration::from_millis);
        self.hold_due = lasts.and_then(|lasts| now.checked_add(lasts));
        if left == Some(0) {
            release(next, By { author: String::new(), reason: "its time is over".to_owned() });
        }
    }

    /// Raises and clears what lasts.
    pub(super) fn note_alarms(&mut self, verdict: &Verdict, now: Instant) {
        let active = self.record.active.as_ref().map(|active| &active.node);
        let hears = |node| self.all_ears().any(|ears| self.is_open(ears, now) && ears.hears(node));
        let heard = active.is_some_and(hears);
        let (link, not_replaced) = match verdict {
            Verdict::Unconfirmed { evidence } if heard => (Some(evidence.clone()), None),
            Verdict::Unconfirmed { evidence: why } | Verdict::NotReplaced { why } => (None, Some(why.clone())),
            Verdict::Stays | Verdict::TooOften { .. } | Verdict::Moves(_) => (None, None),
        };
        let not_replaced = not_replaced.or_else(|| self.stuck(now));
        for (alarm, evidence) in [(PoolAlarm::ControlLink, link), (PoolAlarm::NotReplaced, not_replaced)] {
            let told = self.alarms.note(alarm, evidence, self.rules.alarm_after, now);
            self.events.extend(told);
        }
    }

    /// Nobody serves, and nothing is about to change that.
    fn stuck(&self, now: Instant) -> Option<String> {
        let waits = self.opening.as_ref().is_some_and(|opening| now < opening.late_at(&self.rules));
        let serves = self.is_served() && self.highest_of_members <= self.record.epoch;
        if !self.settled || self.first_report.is_none() || serves || waits || self.serves_ahead().is_some() {
            return None;
        }
        let heard = self.highest_heard;
        Some(match &self.record.active {
            None if self.is_new() => return None,
            None => {
                let waits = if self.rules.unclean == Unclean::Never { ": an operator decides" } else { "" };
                format!("nobody is active, and somebody has heard of epoch {heard}{waits}")
            }
            Some(_) if self.highest_of_members > self.record.epoch => {
                format!("a member has heard of epoch {heard}, above the record's, and nobody serves in it")
            }
            Some(active) => format!("{} is active in epoch {} and does not serve", active.node, self.record.epoch),
        })
    }

    /// When a move that was kept back may be made.
    pub(super) fn move_due(&self) -> Option<Instant> {
        let polled = self.polled.filter(|_| self.convinced.is_some())?;
        let later = |reason| match self.moves.leave(reason, &self.rules.moves, polled) {
            Leave::At(at) => Some(at),
            Leave::Now | Leave::Hold => None,
        };
        [later(Reason::Death), later(Reason::Silence)].into_iter().flatten().min()
    }
}

/// R5: the rules hold the pool.
fn hold(next: &mut Next, evidence: &str) {
    let reason = format!("roles have moved too often because of silence; {evidence}");
    let by = By { author: String::new(), reason };
    next.record.mode = Mode::Hold;
    next.record.hold = Some(Hold { until_unix_ms: None, by: by.clone() });
    next.events.push(PoolEvent::Held { by, until_unix_ms: None });
}
