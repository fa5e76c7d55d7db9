//! Who may take the active's place (REPLICATION R2).

use std::{cmp::Reverse, time::Instant};

use super::{Pool, Unclean, hearing::Seen};
use crate::{Member, NodeId};

/// Who may become active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Candidate {
    /// It has all that is committed.
    InSync(Member),
    /// Nobody who has is left: this one has most.
    Unclean(Member),
    /// Nobody, for now.
    Nobody { why: String },
}

impl Pool {
    /// The living member in sync with the longest log, other than the active.
    pub(super) fn in_sync_candidate(&self, now: Instant) -> Option<&Member> {
        let active = self.record.active.as_ref();
        let in_sync = |seen: &&Seen| {
            let member = &seen.report.member;
            self.record.in_sync.contains(member) && Some(member) != active
        };
        longest(self.living(now).filter(in_sync), None)
    }

    /// Who takes the place of an active that is gone.
    pub(super) fn candidate(&self, now: Instant) -> Candidate {
        // By a record that is behind nobody is known to be in sync, and nobody is worth waiting for.
        let behind = self.is_behind();
        if let Some(member) = self.in_sync_candidate(now).filter(|_| !behind) {
            return Candidate::InSync(member.clone());
        }
        match self.rules.unclean {
            Unclean::Never => {
                let why = "no member in sync is heard, and unclean is never: an operator decides".to_owned();
                Candidate::Nobody { why }
            }
            Unclean::Allow if !behind && self.unclean_due().is_some_and(|due| now < due) => {
                Candidate::Nobody { why: "no member in sync is heard; it is waited for".to_owned() }
            }
            Unclean::Allow => self.longest_living(now),
        }
    }

    /// Of all living members the one with the longest log, whether in sync or not; of equals the last active.
    pub(super) fn longest_living(&self, now: Instant) -> Candidate {
        let active = self.record.active.as_ref();
        let others = self.living(now).filter(|seen| Some(&seen.report.member) != active || self.is_behind());
        match longest(others, active.map(|active| &active.node)) {
            Some(member) => Candidate::Unclean(member.clone()),
            None => Candidate::Nobody { why: "no other member is heard".to_owned() },
        }
    }

    /// Members that were heard a moment ago and may hold a role.
    pub(super) fn living(&self, now: Instant) -> impl Iterator<Item = &Seen> {
        self.members.values().filter(move |seen| {
            let fenced = self.record.fenced.contains(&seen.report.member.node);
            !fenced && seen.ears.heard_within(self.rules.candidate_heard, now)
        })
    }

    /// When no member in sync will have been heard for long enough; none: none of them can come back.
    pub(super) fn unclean_due(&self) -> Option<Instant> {
        self.missed_since(self.record.in_sync.iter()).map(|missed| missed + self.rules.unclean_after)
    }

    /// Since when none of these has been heard; none: none of them can come back.
    pub(super) fn missed_since<'a>(&self, members: impl Iterator<Item = &'a Member>) -> Option<Instant> {
        let may_come = members.filter(|member| !self.is_dead(member));
        let last_heard = may_come.map(|member| self.seen(&member.node).map_or(self.started, |seen| seen.ears.heard));
        last_heard.max().map(|heard| heard.max(self.silence_over))
    }

    /// Whether this start of a node is gone for good: a later one has come, or the node was taken out.
    pub(super) fn is_dead(&self, member: &Member) -> bool {
        let seen = self.seen(&member.node).map(|seen| seen.report.member.incarnation);
        let known = seen.or_else(|| self.record.members.get(&member.node).map(|known| known.incarnation));
        known != Some(member.incarnation)
    }
}

fn longest<'a>(members: impl Iterator<Item = &'a Seen>, of_equals: Option<&NodeId>) -> Option<&'a Member> {
    let rank = |seen: &&Seen| {
        let node = &seen.report.member.node;
        (seen.report.head, Some(node) == of_equals, Reverse(node.clone()))
    };
    members.max_by_key(rank).map(|seen| &seen.report.member)
}
