//! Who is heard: by the control plane on a node's session, and by that node itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use super::{PoolRules, RecordVersion};
use crate::{Address, Epoch, FirstFrame, Incarnation, KnownRecord, Member, NodeId};

/// What an origin says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolReport {
    /// Which start of which node.
    pub member: Member,
    /// Where its public port is when it is open.
    pub public: Address,
    /// Where its peer port is.
    pub peer: Address,
    /// The highest epoch it has ever heard of.
    pub highest_epoch: Epoch,
    /// The epoch in which it serves as active.
    pub serving: Option<Epoch>,
    /// How far its logs go: the epoch in which the last entry was applied, and its order in that.
    pub head: (Epoch, u64),
    /// Which nodes it hears; none: it has not said since its session began.
    pub hears: Option<BTreeSet<NodeId>>,
    /// The record that it goes by; none when it does not say.
    pub record: Option<KnownRecord>,
    /// What came of the streams that were live when it began to serve.
    pub first_frame: FirstFrame,
    /// How late its own timers ran since it last said so.
    pub late: Duration,
}

/// What an edge says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EdgeReport {
    /// Which start of which one.
    pub edge: Member,
    /// The highest epoch it has ever heard of, of whatever pool.
    pub highest_epoch: Epoch,
    /// The highest epoch of this pool that it has heard of, or may have.
    pub pool_epoch: Epoch,
    /// Of which records of this pool control planes have told it.
    pub records: Vec<RecordVersion>,
    /// Which nodes it hears.
    pub hears: BTreeSet<NodeId>,
    /// How late its own timers ran since it last said so.
    pub late: Duration,
}

/// A member, as last heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) report: PoolReport,
    pub(super) ears: Ears,
    /// When it first said that it serves in the epoch in which it serves.
    pub(super) serving_since: Option<Instant>,
}

/// An edge, as last heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Edge {
    pub(super) incarnation: Incarnation,
    pub(super) ears: Ears,
}

/// One node's session, and what comes to that node's ears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ears {
    /// When its session began.
    pub(super) since: Instant,
    /// When it last said something.
    pub(super) heard: Instant,
    /// When its session ended.
    pub(super) closed: Option<Instant>,
    /// How late it was itself, when it was last heard.
    late: Duration,
    /// How late this process had been by then.
    own_late: Duration,
    /// Of each node that it has ever heard: whether it does, and since when that is so.
    nodes: BTreeMap<NodeId, (bool, Instant)>,
}

/// Our own time, as far as it may be held against others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OwnTime {
    /// Silence is counted from here at the earliest.
    pub(super) suspects_from: Instant,
    /// How late this process has been since its start, all in all.
    pub(super) late: Duration,
}

/// How a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Session {
    /// The node talks.
    Open,
    /// It is open, and nothing was heard since then.
    Silent { heard: Instant },
    /// It ended then.
    Closed { at: Instant },
}

impl Seen {
    pub(super) fn new(report: PoolReport, now: Instant) -> Self {
        Self { ears: Ears::new(now), serving_since: report.serving.map(|_| now), report }
    }

    /// It says something. True when that is news, or when it has not been heard for longer than this.
    pub(super) fn hear(&mut self, mut report: PoolReport, heard_within: Duration, own: OwnTime, now: Instant) -> bool {
        // What it holds it keeps, also when it no longer follows anybody and says nothing of it.
        report.head = report.head.max(self.report.head);
        let was_heard = self.ears.heard_within(heard_within, now) && self.ears.heard < now;
        if self.report.serving != report.serving {
            self.serving_since = report.serving.map(|_| now);
        }
        self.ears.hear(report.late, own, now);
        let listens = report.hears.as_ref().is_some_and(|hears| self.ears.listen(hears, now));
        // How far its logs go is asked for when somebody is to be chosen.
        let (head, hears, late) = (self.report.head, self.report.hears.clone(), self.report.late);
        let same = PoolReport { head, hears, late, ..report.clone() } == self.report;
        self.report = report;
        listens || !same || !was_heard
    }
}

impl Edge {
    pub(super) fn new(incarnation: Incarnation, now: Instant) -> Self {
        Self { incarnation, ears: Ears::new(now) }
    }
}

impl Ears {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            heard: now,
            closed: None,
            late: Duration::ZERO,
            own_late: Duration::ZERO,
            nodes: BTreeMap::new(),
        }
    }

    /// The node says something, and how late it is itself.
    pub(super) fn hear(&mut self, late: Duration, own: OwnTime, now: Instant) {
        if self.closed.take().is_some() {
            self.since = now;
        }
        self.heard = now;
        (self.late, self.own_late) = (late, own.late);
    }

    /// When its session is silent if it says no more. What we were late ourselves since it was heard does not count.
    pub(super) fn silent_at(&self, rules: &PoolRules, own: OwnTime) -> Instant {
        let ours = own.late.saturating_sub(self.own_late).min(rules.silence * OWN_STRETCH_MAX);
        self.heard.max(own.suspects_from) + rules.silence + self.allowance(rules) + ours
    }

    /// How much more time it is given, because it has said that its machine is busy: at most a silence.
    pub(super) fn allowance(&self, rules: &PoolRules) -> Duration {
        self.late.saturating_mul(LATE_WEIGHT).min(rules.silence)
    }

    /// It says whom it hears. True when that is news.
    pub(super) fn listen(&mut self, hears: &BTreeSet<NodeId>, now: Instant) -> bool {
        let mut news = false;
        for (node, (hears_it, since)) in &mut self.nodes {
            if *hears_it != hears.contains(node) {
                (*hears_it, *since) = (!*hears_it, now);
                news = true;
            }
        }
        for node in hears {
            if self.nodes.len() < NODES_MAX && !self.nodes.contains_key(node) {
                self.nodes.insert(node.clone(), (true, now));
                news = true;
            }
        }
        news
    }

    /// How its session stands.
    pub(super) fn session(&self, rules: &PoolRules, own: OwnTime, now: Instant) -> Session {
        match self.closed {
            Some(at) => Session::Closed { at },
            None if now >= self.silent_at(rules, own) => Session::Silent { heard: self.heard },
            None => Session::Open,
        }
    }

    /// Whether it was heard within this time.
    pub(super) fn heard_within(&self, time: Duration, now: Instant) -> bool {
        self.closed.is_none() && now <= self.heard + time
    }

    /// Whether it says that it hears a node.
    pub(super) fn hears(&self, node: &NodeId) -> bool {
        self.nodes.get(node).is_some_and(|(hears, _)| *hears)
    }

    /// Since when it says that it does not hear a node. None: it does, or has just come and never did.
    pub(super) fn deaf_to(&self, node: &NodeId, rules: &PoolRules, now: Instant) -> Option<Instant> {
        match self.nodes.get(node) {
            Some((true, _)) => None,
            Some((false, since)) => Some(*since),
            None => Some(self.since + rules.witness_after).filter(|since| now >= *since),
        }
    }

    /// Whether it has ever heard one of these.
    pub(super) fn knows_any<'a>(&self, mut nodes: impl Iterator<Item = &'a NodeId>) -> bool {
        nodes.any(|node| self.nodes.contains_key(node))
    }
}

/// Whose timers ran late by so much may come late by more: its beats pass several queues.
const LATE_WEIGHT: u32 = 3;
/// However late we are, nobody is waited for more than so many silences longer.
const OWN_STRETCH_MAX: u32 = 9;
/// Nodes of which is remembered whether another hears them: it says at most so many with a beat.
const NODES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn nodes(names: &[&str]) -> BTreeSet<NodeId> {
        names.iter().map(|name| NodeId::new(name).unwrap()).collect()
    }

    #[test]
    fn who_has_just_come_says_nothing_about_a_node_that_it_never_heard() {
        let (rules, start) = (PoolRules::default(), Instant::now());
        let o1 = NodeId::new("o1").unwrap();
        let mut ears = Ears::new(start);
        ears.listen(&nodes(&[]), start);
        assert_eq!(ears.deaf_to(&o1, &rules, start + 999 * MS), None);
        assert!(ears.deaf_to(&o1, &rules, start + 1000 * MS).is_some());
        ears.listen(&nodes(&["o1"]), start + 1100 * MS);
        assert_eq!((ears.deaf_to(&o1, &rules, start + 1100 * MS), ears.hears(&o1)), (None, true));
        ears.listen(&nodes(&[]), start + 1200 * MS);
        ears.listen(&nodes(&[]), start + 1300 * MS);
        assert_eq!(ears.deaf_to(&o1, &rules, start + 1300 * MS), Some(start + 1200 * MS), "at once, and since then");
    }

    #[test]
    fn who_says_that_it_is_late_by_ages_is_given_one_silence_more() {
        let (rules, start) = (PoolRules::default(), Instant::now());
        let own = OwnTime { suspects_from: start, late: Duration::ZERO };
        let mut ears = Ears::new(start);
        ears.hear(Duration::MAX, own, start);
        assert_eq!(ears.session(&rules, own, start + 1199 * MS), Session::Open);
        assert_eq!(ears.session(&rules, own, start + 1200 * MS), Session::Silent { heard: start });
    }

    #[test]
    fn silence_is_counted_anew_after_our_own_lateness() {
        let (rules, start) = (PoolRules::default(), Instant::now());
        let ears = Ears::new(start);
        let own = |suspects_from, late| OwnTime { suspects_from, late };
        let on_time = own(start, Duration::ZERO);
        assert_eq!(ears.session(&rules, on_time, start + 599 * MS), Session::Open);
        assert_eq!(ears.session(&rules, on_time, start + 600 * MS), Session::Silent { heard: start });
        let away = own(start + 5000 * MS, Duration::ZERO);
        assert_eq!(ears.session(&rules, away, start + 5599 * MS), Session::Open);
        assert_eq!(ears.session(&rules, own(start, 100 * MS), start + 699 * MS), Session::Open);
        let always = own(start, Duration::from_secs(3600));
        assert_eq!(ears.session(&rules, always, start + 6000 * MS), Session::Silent { heard: start });
        assert!(!ears.heard_within(300 * MS, start + 5000 * MS), "no candidate, all the same");
    }
}
