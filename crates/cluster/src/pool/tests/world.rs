//! A small world in steps of 10 ms.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use crate::{
    By, EdgeReport, Epoch, FirstFrame, Grant, Granted, Incarnation, KnownRecord, Member, NodeId, Pool, PoolChange,
    PoolEvent, PoolId, PoolRecord, PoolReport, PoolRules, PoolView, RecordsTold, Role, SyncChange, SyncRequest,
};

/// The control plane, as an end of a link.
pub(crate) const CP: &str = "cp";

pub(crate) struct World {
    pub(crate) pool: Pool,
    cp_starts: u64,
    pub(crate) now: Instant,
    start: Instant,
    pub(crate) origins: BTreeMap<&'static str, Origin>,
    edges: BTreeMap<&'static str, Edge>,
    cuts: BTreeSet<(&'static str, &'static str)>,
    /// When one last heard the other.
    heard: BTreeMap<(&'static str, &'static str), Instant>,
    pub(crate) events: Vec<PoolEvent>,
    /// No origin asks for a change of the in-sync set.
    pub(crate) nobody_asks: bool,
    /// The control plane's process does not run.
    pub(crate) cp_down: bool,
    pub(crate) wall_ms: u64,
}

#[derive(Debug)]
pub(crate) struct Origin {
    pub(crate) start: u64,
    run: Run,
    session: bool,
    pub(crate) serving: Option<Epoch>,
    pub(crate) highest: Epoch,
    pub(crate) head: (Epoch, u64),
    /// It does not open its port, whatever it is granted.
    pub(crate) stuck: bool,
    /// It does not yield, whatever it is told.
    pub(crate) stubborn: bool,
    yielding: bool,
    pub(crate) grants: Vec<Grant>,
    pub(crate) record: KnownRecord,
    pub(crate) first_frame: FirstFrame,
    pub(crate) late: Duration,
}

#[derive(Debug)]
struct Edge {
    run: Run,
    session: bool,
    told: BTreeSet<NodeId>,
    records: RecordsTold,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Run {
    Runs,
    Frozen,
    Dead,
}

const STEP_MS: u64 = 10;
const BEAT_MS: u64 = 150;
const LINK_SILENCE: Duration = Duration::from_millis(400);

impl World {
    /// A new pool of these origins and edges, of which nobody has been heard.
    fn with(origins: &[&'static str], edges: &[&'static str], rules: PoolRules) -> Self {
        let now = Instant::now();
        Self {
            pool: Pool::new(PoolRecord::new(PoolId::main()), rules, now).granting_as("store.0"),
            cp_starts: 0,
            now,
            start: now,
            origins: origins.iter().map(|name| (*name, Origin::new(1))).collect(),
            edges: edges
                .iter()
                .map(|name| {
                    (
                        *name,
                        Edge { run: Run::Runs, session: false, told: BTreeSet::new(), records: RecordsTold::default() },
                    )
                })
                .collect(),
            cuts: BTreeSet::new(),
            heard: BTreeMap::new(),
            events: Vec::new(),
            nobody_asks: false,
            cp_down: false,
            wall_ms: 1_000_000,
        }
    }

    /// Two origins in sync, of which `o1` is active, and so many edges that hear both.
    pub(crate) fn pair(edges: &[&'static str]) -> Self {
        Self::running(&["o1", "o2"], edges, PoolRules::default())
    }

    /// All origins in sync, `o1` active.
    pub(crate) fn running(origins: &[&'static str], edges: &[&'static str], rules: PoolRules) -> Self {
        let first_active = NodeId::new("o1").ok();
        let mut world = Self::with(origins, edges, PoolRules { first_active, ..rules });
        world.run(5_000);
        assert_eq!((world.active(), world.in_sync().len()), ("o1".into(), origins.len()));
        world.events.clear();
        world
    }

    /// Time passes.
    pub(crate) fn run(&mut self, ms: u64) {
        for _ in 0..ms / STEP_MS {
            self.now += Duration::from_millis(STEP_MS);
            self.wall_ms += STEP_MS;
            self.step();
        }
    }

    /// Time passes until this is so; how long it took.
    pub(crate) fn until(&mut self, ms_max: u64, wanted: impl Fn(&Self) -> bool) -> u64 {
        for passed in 0..=ms_max / STEP_MS {
            if wanted(self) {
                return passed * STEP_MS;
            }
            self.run(STEP_MS);
        }
        panic!("it did not come within {ms_max} ms; {:#?}", self.events);
    }

    fn step(&mut self) {
        self.hear_links();
        let beat = ((self.now - self.start).as_millis() as u64).is_multiple_of(BEAT_MS);
        for name in self.origins.keys().copied().collect::<Vec<_>>() {
            self.session_of_origin(name, beat);
        }
        for name in self.edges.keys().copied().collect::<Vec<_>>() {
            self.session_of_edge(name, beat);
        }
        if !self.cp_down {
            self.drive();
            if self.commit() {
                self.drive();
            }
        }
    }

    fn runs(&self, name: &str) -> bool {
        self.run_of(name) == Run::Runs
    }

    fn run_of(&self, name: &str) -> Run {
        match (self.origins.get(name), self.edges.get(name)) {
            (Some(origin), _) => origin.run,
            (_, Some(edge)) => edge.run,
            _ if self.cp_down => Run::Dead,
            _ => Run::Runs,
        }
    }

    fn reaches(&self, a: &'static str, b: &'static str) -> bool {
        self.runs(a) && self.runs(b) && !self.cuts.contains(&(a, b)) && !self.cuts.contains(&(b, a))
    }

    fn hear_links(&mut self) {
        let names: Vec<_> = self.origins.keys().chain(self.edges.keys()).copied().collect();
        for a in &names {
            for b in self.origins.keys().copied().collect::<Vec<_>>() {
                if *a == b {
                    continue;
                }
                if self.reaches(a, b) {
                    self.heard.insert((a, b), self.now);
                } else if self.run_of(b) == Run::Dead {
                    // The kernel closes what a process leaves behind.
                    self.heard.remove(&(*a, b));
                }
            }
        }
    }

    fn hears(&self, name: &'static str) -> BTreeSet<NodeId> {
        let heard = |other: &&&'static str| {
            self.heard.get(&(name, **other)).is_some_and(|heard| self.now < *heard + LINK_SILENCE)
        };
        self.origins.keys().filter(heard).map(|other| node(other)).collect()
    }

    fn session_of_origin(&mut self, name: &'static str, beat: bool) {
        let (talks, dead) = (self.reaches(name, CP), self.run_of(name) == Run::Dead);
        let hears = self.hears(name);
        let opens = talks && !self.origins[name].session;
        let now = self.now;
        if dead && self.origins[name].session {
            self.origin(name).session = false;
            let member = self.member(name);
            self.pool.handle_gone(&member, now);
        }
        if !talks {
            // When it comes back, it opens another one.
            self.origin(name).session = false;
        }
        let news = self.pool.report_of(&node(name)).is_none_or(|report| report.hears.as_ref() != Some(&hears));
        if opens {
            self.origin(name).session = true;
            let member = self.member(name);
            self.pool.handle_opened(&member);
        }
        if talks && (beat || opens || news) {
            let report = self.origins[name].report(name, hears);
            self.pool.handle_report(report, now);
        }
    }

    fn session_of_edge(&mut self, name: &'static str, beat: bool) {
        let (talks, dead, hears) = (self.reaches(name, CP), self.run_of(name) == Run::Dead, self.hears(name));
        let edge = self.edges.get_mut(name).expect("it is one of them");
        if dead && edge.session {
            edge.session = false;
            self.pool.handle_edge_gone(&node(name), self.now);
        }
        // What changes is said at once.
        if talks && (beat || !edge.session || edge.told != hears) {
            edge.session = true;
            edge.told.clone_from(&hears);
            let epoch = self.pool.record().epoch;
            let (edge, late) = (member(name, 1), Duration::ZERO);
            let PoolView { version, written_by, .. } = self.pool.shown().view();
            let told = &mut self.edges.get_mut(name).expect("it beats").records;
            told.note(version, &written_by);
            let records = told.all().to_vec();
            let report = EdgeReport { edge, highest_epoch: epoch, pool_epoch: epoch, records, hears, late };
            self.pool.handle_edge(report, self.now);
        }
    }

    /// As the control plane does it.
    pub(crate) fn drive(&mut self) {
        while let Some(change) = self.pool.poll_change(self.now, self.wall_ms) {
            self.write(change);
        }
        while let Some(grant) = self.pool.poll_grant(self.now) {
            let name = *self.origins.keys().find(|name| node(name) == grant.member.node).expect("a known one");
            if self.reaches(name, CP) {
                self.origin(name).take(grant);
                self.report(name);
            }
        }
        while let Some(event) = self.pool.poll_event() {
            self.events.push(event);
        }
        if let Some(due) = self.pool.poll_timeout() {
            assert!(due > self.now, "a time that has passed would be polled for ever");
        }
    }

    pub(crate) fn write(&mut self, change: PoolChange) {
        assert_eq!(change.after, self.pool.record().version, "a change is a compare-and-set on the version");
        assert!(change.record.version > change.after);
        self.check(&change.record);
        self.events.extend(change.events);
        self.pool.handle_written(change.record, self.now);
    }

    /// What holds of every record.
    fn check(&self, next: &PoolRecord) {
        let before = self.pool.record();
        assert!(next.epoch >= before.epoch, "epochs never fall");
        if next.active != before.active {
            assert!(next.epoch > before.epoch, "no epoch is granted twice");
        }
        if let Some(active) = &next.active {
            assert!(next.in_sync.contains(active), "the active is in sync with itself");
            assert!(!next.fenced.contains(&active.node), "a fenced member holds no role");
            let clean = next.epoch > before.epoch && next.loss_epoch != next.epoch;
            let adopted = next.last_change.as_ref().is_some_and(|change| change.cause == crate::Cause::Adopted);
            if clean && before.active.is_some() && !adopted {
                assert!(before.in_sync.contains(active), "without loss only one in sync is granted the role");
            }
        }
    }

    /// The active asks for whom it needs, as REPLICATION C3 and C4 have it, with short waits. True when it says something.
    fn commit(&mut self) -> bool {
        let Some(active) =
            self.origins.keys().copied().find(|name| self.origins[name].serving.is_some() && self.runs(name))
        else {
            return false;
        };
        if !self.reaches(active, CP) {
            return false;
        }
        let (me, record) = (self.member(active), self.pool.record().clone());
        if record.active.as_ref() != Some(&me) {
            return false;
        }
        let hears = self.hears(active);
        let others: Vec<_> =
            self.origins.keys().filter(|name| **name != active).map(|name| self.member(name)).collect();
        let grow = others.iter().find(|member| {
            let name = *self.origins.keys().find(|name| node(name) == member.node).expect("a known one");
            hears.contains(&member.node) && self.reaches(active, name) && !record.in_sync.contains(member)
        });
        let gone = |member: &&Member| **member != me && !(hears.contains(&member.node) && others.contains(member));
        let gone = record.in_sync.iter().find(gone);
        let change = gone.cloned().map(SyncChange::Shrink).or_else(|| grow.cloned().map(SyncChange::Grow));
        let change = change.filter(|_| !self.nobody_asks);
        let yields = self.origins[active].yielding && !self.origins[active].stubborn;
        let asks = change.is_some() || yields;
        if let Some(change) = change {
            self.ask(active, change).expect("it is active and knows the record");
        }
        if yields {
            self.pool.handle_yielded(&me, record.epoch, self.now);
        }
        let origin = self.origin(active);
        origin.head = (record.epoch, origin.head.1 + 1);
        for name in self.origins.keys().copied().collect::<Vec<_>>() {
            if self.reaches(active, name) {
                self.origin(name).head = self.origins[active].head;
            }
        }
        asks
    }

    /// An origin asks for a change of the in-sync set, on the record in force.
    pub(crate) fn ask(&mut self, name: &'static str, change: SyncChange) -> Result<(), crate::SyncRefused> {
        let record = self.pool.record();
        let request = SyncRequest { pool: record.id.clone(), epoch: record.epoch, version: record.version, change };
        let member = self.member(name);
        self.pool.handle_sync(&member, request)
    }

    pub(crate) fn origin(&mut self, name: &str) -> &mut Origin {
        self.origins.get_mut(name).expect("it is one of them")
    }

    pub(crate) fn member(&self, name: &str) -> Member {
        member(name, self.origins[name].start)
    }

    /// An origin says at once what it is.
    pub(crate) fn report(&mut self, name: &'static str) {
        let hears = self.hears(name);
        let report = self.origins[name].report(name, hears);
        self.pool.handle_report(report, self.now);
    }

    fn set(&mut self, name: &str, run: Run) {
        match self.origins.get_mut(name) {
            Some(origin) => origin.run = run,
            None => self.edges.get_mut(name).expect("it is one of them").run = run,
        }
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self, name: &str) {
        self.set(name, Run::Dead);
    }

    /// SIGSTOP.
    pub(crate) fn freeze(&mut self, name: &str) {
        self.set(name, Run::Frozen);
    }

    /// SIGCONT.
    pub(crate) fn thaw(&mut self, name: &str) {
        self.set(name, Run::Runs);
    }

    /// A process starts with empty memory; its disk has the highest epoch.
    pub(crate) fn restart(&mut self, name: &'static str) {
        let highest = self.origins[name].highest;
        if self.origins[name].session {
            let member = self.member(name);
            self.pool.handle_gone(&member, self.now);
        }
        let start = self.origins[name].start + 1;
        *self.origin(name) = Origin { highest, ..Origin::new(start) };
    }

    /// An operator takes an origin out of service.
    pub(crate) fn fence(&mut self, name: &str) {
        let change = self.pool.fenced(&node(name), By::default()).expect("it may be fenced");
        self.write(change.expect("it was not fenced"));
    }

    /// And lets it in again.
    pub(crate) fn unfence(&mut self, name: &str) {
        let change = self.pool.unfenced(&node(name), By::default()).expect("it may be let in");
        self.write(change.expect("it was fenced"));
    }

    /// Two ends no longer reach each other.
    pub(crate) fn cut(&mut self, a: &'static str, b: &'static str) {
        self.cuts.insert((a, b));
    }

    pub(crate) fn cut_off(&mut self, name: &'static str, from: &[&'static str]) {
        from.iter().for_each(|other| self.cut(name, other));
    }

    pub(crate) fn mend(&mut self) {
        self.cuts.clear();
    }

    /// The control plane's process ends; with `start` another one goes on with a record.
    pub(crate) fn cp_stops(&mut self) {
        self.cp_down = true;
        self.origins.values_mut().for_each(|origin| origin.session = false);
        self.edges.values_mut().for_each(|edge| edge.session = false);
    }

    pub(crate) fn cp_starts(&mut self, record: PoolRecord, rules: PoolRules) {
        self.cp_stops();
        self.cp_down = false;
        self.cp_starts += 1;
        self.pool = Pool::new(record, rules, self.now).granting_as(format!("store.{}", self.cp_starts));
    }

    pub(crate) fn active(&self) -> String {
        self.pool.record().active.as_ref().map(|active| active.node.to_string()).unwrap_or_default()
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.pool.record().epoch.0
    }

    pub(crate) fn loss_epoch(&self) -> u64 {
        self.pool.record().loss_epoch.0
    }

    pub(crate) fn in_sync(&self) -> Vec<String> {
        self.pool.record().in_sync.iter().map(|member| member.node.to_string()).collect()
    }

    /// Whether somebody serves in the epoch in force.
    pub(crate) fn is_served(&self) -> bool {
        self.pool.is_served()
    }

    /// The role changes that were told.
    pub(crate) fn granted(&self) -> Vec<&Granted> {
        let granted = self.events.iter().filter_map(|event| match event {
            PoolEvent::Granted(granted) => Some(granted),
            _ => None,
        });
        granted.collect()
    }

    pub(crate) fn told(&self, wanted: impl Fn(&PoolEvent) -> bool) -> usize {
        self.events.iter().filter(|event| wanted(event)).count()
    }
}

impl Origin {
    fn new(start: u64) -> Self {
        Self {
            start,
            run: Run::Runs,
            session: false,
            serving: None,
            highest: Epoch(0),
            head: (Epoch(0), 0),
            stuck: false,
            stubborn: false,
            yielding: false,
            grants: Vec::new(),
            record: KnownRecord::default(),
            first_frame: FirstFrame::NotTold,
            late: Duration::ZERO,
        }
    }

    fn report(&self, name: &str, hears: BTreeSet<NodeId>) -> PoolReport {
        PoolReport {
            member: member(name, self.start),
            public: "10.0.0.1:1935".parse().unwrap(),
            peer: "10.0.0.1:9001".parse().unwrap(),
            highest_epoch: self.highest,
            serving: self.serving,
            head: self.head,
            hears: Some(hears),
            record: Some(self.record.clone()),
            first_frame: self.first_frame,
            late: self.late,
        }
    }

    /// Takes only what is newer, no epoch below the highest it has heard, and each epoch of one granter.
    fn take(&mut self, grant: Grant) {
        let doubled = grant.epoch == self.record.epoch && grant.store != self.record.granted_by;
        if grant.version > self.record.version && grant.epoch >= self.highest && !doubled {
            let Grant { version, loss_epoch, epoch, .. } = grant;
            let written_by = grant.written_by.clone();
            let (in_sync, granted_by) = (grant.in_sync.clone(), grant.store.clone());
            self.record = KnownRecord { version, written_by, loss_epoch, in_sync, epoch, granted_by };
            self.highest = grant.epoch;
            self.serving = (grant.role == Role::Active && !self.stuck).then_some(grant.epoch);
            self.yielding = grant.yields;
        }
        self.grants.push(grant);
    }
}

pub(crate) fn node(name: &str) -> NodeId {
    NodeId::new(name).unwrap()
}

pub(crate) fn member(name: &str, start: u64) -> Member {
    Member { node: node(name), incarnation: Incarnation::from_bits(start) }
}
