//! What speaks for a failure of the active (REPLICATION R1).

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::{
    Cause, Pool,
    hearing::{Ears, Edge, Session},
    moves::Reason,
    opening::Opening,
};
use crate::{Member, NodeId};

/// What is to be thought of the active.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Suspicion {
    /// It is heard.
    None,
    /// It is not heard here, but elsewhere, or nobody else can say: no role moves.
    Unconfirmed { evidence: String },
    /// Two witnesses say that it is gone.
    Confirmed(Evidence),
}

/// Enough to move the role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Evidence {
    pub(super) cause: Cause,
    pub(super) reason: Reason,
    /// When the first of the signs was seen.
    pub(super) first_sign: Instant,
    /// What was seen, for people.
    pub(super) text: String,
}

/// How many of the pool's edges hear the active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Edges {
    all: usize,
    /// They say so, or are not heard themselves and are taken to.
    hear_active: usize,
    /// They say that they do not, for long enough, and do hear the candidate.
    outvote: usize,
    /// Since when the first of these says so.
    outvote_since: Option<Instant>,
}

impl Edges {
    fn most_hear_active(self) -> bool {
        self.hear_active * 2 > self.all
    }

    /// At least half of the edges: two or more, or all there are.
    fn outvote_session(self) -> bool {
        self.outvote > 0 && self.outvote * 2 >= self.all && (self.outvote >= 2 || self.outvote == self.all)
    }
}

impl fmt::Display for Edges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} edges hear it", self.hear_active, self.all)
    }
}

impl Pool {
    /// What is to be thought of the active, with this member to take its place.
    pub(super) fn suspicion(&self, active: &Member, candidate: Option<&NodeId>, now: Instant) -> Suspicion {
        let down = match self.seen(&active.node) {
            Some(seen) if seen.report.member.incarnation != active.incarnation => {
                return Suspicion::Confirmed(restarted(active, &seen.report.member, seen.ears.since));
            }
            Some(seen) => seen.ears.session(&self.rules, self.own_time, now),
            // It has not come since the start of this control plane.
            None => Session::Closed { at: self.started },
        };
        let edges = self.edges_of(active, candidate, now);
        if down == Session::Open {
            return match edges.outvote_session() {
                true => Suspicion::Confirmed(outvoted(active, candidate, edges, now)),
                false => Suspicion::None,
            };
        }
        let (node, session) = (&active.node, describe(down, now));
        let witness = self.first_witness(active, now);
        match witness {
            Some((witness, since)) if !edges.most_hear_active() => {
                let (cause, reason, at) = match down {
                    Session::Closed { at } => (Cause::Died, Reason::Death, at),
                    Session::Silent { heard } => (Cause::Silent, Reason::Silence, heard),
                    Session::Open => unreachable!("it is down"),
                };
                let ago = (now - since).as_millis();
                let text = format!("{node}: {session}; {witness} has not heard it for {ago} ms; {edges}");
                Suspicion::Confirmed(Evidence { cause, reason, first_sign: at.min(since), text })
            }
            Some((witness, _)) => {
                let evidence = format!("{node}: {session}; {witness} does not hear it, but {edges}");
                Suspicion::Unconfirmed { evidence }
            }
            None => Suspicion::Unconfirmed { evidence: format!("{node}: {session}; nobody else misses it; {edges}") },
        }
    }

    /// Whoever was first to miss it: a member, or an edge of the pool.
    fn first_witness(&self, active: &Member, now: Instant) -> Option<(&NodeId, Instant)> {
        let members =
            self.members.iter().filter(|(node, _)| **node != active.node).map(|(node, seen)| (node, &seen.ears));
        let heard = members.chain(self.pool_edges()).filter(|(_, ears)| self.is_open(ears, now));
        let deaf = heard.filter_map(|(node, ears)| Some((node, ears.deaf_to(&active.node, &self.rules, now)?)));
        deaf.min_by_key(|(_, since)| *since)
    }

    fn edges_of(&self, active: &Member, candidate: Option<&NodeId>, now: Instant) -> Edges {
        let mut edges = Edges::default();
        for (_, ears) in self.pool_edges() {
            if !self.is_open(ears, now) {
                // Not heard: taken to hear the active for a while, then not counted.
                let trusted = usize::from(now < ears.heard + self.rules.edge_trust);
                edges.all += trusted;
                edges.hear_active += trusted;
                continue;
            }
            edges.all += 1;
            match ears.deaf_to(&active.node, &self.rules, now) {
                None => edges.hear_active += 1,
                Some(since) => {
                    let hears_candidate = candidate.is_some_and(|candidate| ears.hears(candidate));
                    if hears_candidate && now >= self.outvotes_at(&active.node, since) {
                        edges.outvote += 1;
                        let since = self.granted_at().map_or(since, |granted| granted.max(since));
                        edges.outvote_since = Some(edges.outvote_since.map_or(since, |first| first.min(since)));
                    }
                }
            }
        }
        edges
    }

    /// When an edge that has been deaf to the active since then outvotes its session, which stands. One that lost it before
    /// it was granted the role speaks of another time: it is given as long to find it as one that has just come.
    fn outvotes_at(&self, active: &NodeId, deaf_since: Instant) -> Instant {
        let granted = self.granted_at().filter(|granted| deaf_since < *granted);
        let from = granted.map_or(deaf_since + self.rules.edges_wait, |granted| granted + self.rules.witness_after);
        from + self.seen(active).map_or(Duration::ZERO, |seen| seen.ears.allowance(&self.rules))
    }

    fn granted_at(&self) -> Option<Instant> {
        self.opening.as_ref().and_then(Opening::granted)
    }

    /// Edges that have ever heard a member of the pool.
    pub(super) fn pool_edges(&self) -> impl Iterator<Item = (&NodeId, &Ears)> {
        let edges = self.edges.iter().map(|(node, edge)| (node, &edge.ears));
        edges.filter(|(_, ears)| ears.knows_any(self.record.members.keys()))
    }

    /// What comes to the ears of every origin of the pool and every edge.
    pub(super) fn all_ears(&self) -> impl Iterator<Item = &Ears> {
        self.members.values().map(|seen| &seen.ears).chain(self.edges.values().map(|edge| &edge.ears))
    }

    pub(super) fn is_open(&self, ears: &Ears, now: Instant) -> bool {
        ears.session(&self.rules, self.own_time, now) == Session::Open
    }

    /// A member that is not heard here and is heard elsewhere.
    pub(super) fn heard_elsewhere_only(&self, now: Instant) -> Option<&NodeId> {
        let unheard = |node: &&NodeId| !self.seen(node).is_some_and(|seen| self.is_open(&seen.ears, now));
        let ears: Vec<_> = self.all_ears().filter(|ears| self.is_open(ears, now)).collect();
        self.record.members.keys().filter(unheard).find(|node| ears.iter().any(|ears| ears.hears(node)))
    }

    /// When something about the active may have to be thought anew although nobody says anything.
    pub(super) fn evidence_due(&self) -> impl Iterator<Item = Instant> {
        let rules = &self.rules;
        let active = self.record.active.as_ref().map(|active| &active.node);
        let silent = active.and_then(|node| self.seen(node)).map(|seen| seen.ears.silent_at(rules, self.own_time));
        let witnesses = self.all_ears().map(|ears| ears.since + rules.witness_after);
        let trusted = self.edges.values().map(|edge| edge.ears.heard + rules.edge_trust);
        let outvoted = self.edges.values().filter_map(move |Edge { ears, .. }| {
            let since = ears.deaf_to(active?, rules, ears.since + rules.witness_after)?;
            Some(self.outvotes_at(active?, since))
        });
        silent.into_iter().chain(witnesses).chain(trusted).chain(outvoted)
    }
}

fn restarted(active: &Member, now_is: &Member, at: Instant) -> Evidence {
    let text = format!("{} came back as {}", active.node, now_is.incarnation);
    Evidence { cause: Cause::Restart, reason: Reason::Death, first_sign: at, text }
}

fn outvoted(active: &Member, candidate: Option<&NodeId>, edges: Edges, now: Instant) -> Evidence {
    let candidate = candidate.map(ToString::to_string).unwrap_or_default();
    let Edges { all, outvote, .. } = edges;
    let first_sign = edges.outvote_since.unwrap_or(now);
    let node = &active.node;
    let text = format!("{outvote} of {all} edges do not hear {node} and hear {candidate}; its own session stands");
    Evidence { cause: Cause::Unheard, reason: Reason::Silence, first_sign, text }
}

fn describe(session: Session, now: Instant) -> String {
    let ms = |since: Instant| now.saturating_duration_since(since).min(Duration::from_secs(86_400)).as_millis();
    match session {
        Session::Open => "its session stands".to_owned(),
        Session::Silent { heard } => format!("its session has been silent for {} ms", ms(heard)),
        Session::Closed { at } => format!("its session has been closed for {} ms", ms(at)),
    }
}
