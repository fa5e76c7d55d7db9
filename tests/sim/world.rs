//! A whole cluster in simulated time: the product's `Replica` and `Pool`, and around them what tasks, sockets and timers
//! do. One seed, one run.

pub mod control;
pub mod edge;
pub mod encoder;
pub mod faults;
pub mod judge;
pub mod message;
pub mod names;
pub mod net;
pub mod origin;

use std::collections::{BTreeMap, BTreeSet};

use cluster::{Epoch, Member, PoolRules, WhenAlone};
use hub::RingLimits;
use media::StreamName;

use control::{Control, Store};
use edge::Edge;
use encoder::Encoder;
use faults::Fault;
use judge::Judge;
use names::{CONTROL, EDGES, ORIGINS, member, node_id, stream_name};
use net::{Event, Net, Party};
use origin::Origin;

/// A millisecond.
pub const MS: u64 = 1000;
/// A second.
pub const S: u64 = 1_000_000;

/// How large the cluster is, and how it behaves.
#[derive(Debug, Clone)]
pub struct Setup {
    pub origins: usize,
    pub edges: usize,
    pub streams: usize,
    /// Edges at which an encoder of each stream is.
    pub ingest: usize,
    /// The encoder publishes to the pool itself.
    pub direct: bool,
    /// Between two messages of an encoder.
    pub period: u64,
    /// Rings and journals hold so little that followers need snapshots, and viewers who were away miss something.
    pub short_memory: bool,
    /// Clocks run faster or slower by so many parts of a million at most.
    pub clocks_ppm: i64,
    pub when_alone: WhenAlone,
    pub rules: PoolRules,
    pub may_split: bool,
    pub sabotage: Option<Sabotage>,
}

/// A mistake put in where the product's machines meet the world, to show that it is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Every start of an origin is taken for the same.
    InSyncByName,
    /// A new grant takes the active out of the in-sync set.
    RegrantDropsActive,
    /// A restored store keeps its own in-sync set.
    RestoredInSyncKept,
    /// What the log holds of a publication that comes back is acked at once, and its edge forgets it.
    AckedBecauseInLog,
    /// An active goes alone whoever hears it.
    AloneWithoutEdges,
    /// An active takes an older record again, as one of the same epoch.
    OlderRecordTaken,
    /// The numbers of publications stay where they were, although the log was cut.
    NumbersKept,
    /// Origins do not hear of losses.
    LossForgotten,
}

/// What a store no longer knows, since a copy of it was put in its place.
#[derive(Debug)]
struct Forgotten {
    in_sync: BTreeSet<Member>,
    /// The copy's epoch.
    copied: Epoch,
    /// Which starts of which nodes knew of a later record than the copy's.
    witnesses: Vec<(Party, u32)>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            origins: 2,
            edges: 2,
            streams: 1,
            ingest: 0,
            direct: false,
            period: 40 * MS,
            short_memory: false,
            clocks_ppm: 0,
            when_alone: WhenAlone::Serve,
            rules: control::rules(),
            may_split: false,
            sabotage: None,
        }
    }
}

/// Everything.
#[derive(Debug)]
pub struct World {
    pub setup: Setup,
    pub net: Net,
    pub judge: Judge,
    pub store: Store,
    control: Option<Control>,
    pub origins: BTreeMap<Party, Origin>,
    pub edges: BTreeMap<Party, Edge>,
    /// The highest epoch that each origin has on disk.
    disks: BTreeMap<Party, Epoch>,
    plan: Vec<Fault>,
    /// What a store forgot when it was replaced by a copy, until the next grant.
    forgotten: Option<Forgotten>,
    /// By a copy of the store one was promoted that was not in sync, and nobody who had been heard can have known.
    pub misled: bool,
    /// When the last fault began or ended.
    pub last_fault: u64,
    streams: Vec<StreamName>,
}

impl World {
    pub fn new(seed: u64, setup: Setup) -> Self {
        let mut net = Net::new(seed, EDGES + setup.edges);
        let streams: Vec<_> = (0..setup.streams).map(stream_name).collect();
        for party in 0..net.processes.len() {
            let spread = u64::try_from(setup.clocks_ppm).expect("a spread");
            let faster = i64::try_from(net.rng.below(2 * spread + 1)).expect("parts of a million");
            net.processes[party].rate_ppm = faster - setup.clocks_ppm;
        }
        net.start(CONTROL);
        let mut world = Self {
            judge: Judge::new(setup.may_split, setup.short_memory),
            store: Store::new(),
            control: Some(Control::new(&setup, Store::new().record, &net)),
            origins: BTreeMap::new(),
            edges: BTreeMap::new(),
            disks: BTreeMap::new(),
            plan: Vec::new(),
            forgotten: None,
            misled: false,
            last_fault: 0,
            streams,
            net,
            setup,
        };
        world.origin_parties().into_iter().for_each(|origin| world.start(origin));
        world.edge_parties().into_iter().for_each(|edge| world.start(edge));
        for stream in 0..world.setup.streams {
            let begins = 500 * MS + world.net.rng.below(200 * MS);
            let at = EDGES + (world.setup.ingest + stream) % world.setup.edges;
            world.encode(at, stream, begins);
        }
        world
    }

    pub fn origin_parties(&self) -> Vec<Party> {
        (ORIGINS..ORIGINS + self.setup.origins).collect()
    }

    pub fn edge_parties(&self) -> Vec<Party> {
        (EDGES..EDGES + self.setup.edges).collect()
    }

    /// An encoder begins to publish a stream at an edge.
    pub fn encode(&mut self, edge: Party, stream: usize, begins: u64) {
        let id = u128::from(self.net.rng.next());
        let encoder = Encoder::new(self.streams[stream].clone(), id, begins, self.setup.period);
        let holder = self.edges.get_mut(&edge).expect("it runs");
        holder.add(encoder);
        if self.setup.sabotage == Some(Sabotage::AckedBecauseInLog) {
            holder.encoders.iter_mut().for_each(|ingest| ingest.forgets = true);
        }
    }

    /// Something will happen.
    pub fn plan(&mut self, at: u64, fault: Fault) {
        self.plan.push(fault);
        self.net.at(at, Event::Plan(self.plan.len() - 1));
    }

    /// Lets time pass, up to a time since the beginning.
    pub fn run_until(&mut self, until: u64) {
        while self.judge.broken.is_empty() && !self.misled {
            let Some(event) = self.net.next_event(until) else { break };
            self.handle(event);
        }
        self.net.now = self.net.now.max(until);
    }

    /// Lets so much time pass.
    pub fn run_for(&mut self, time: u64) {
        self.run_until(self.net.now + time);
    }

    fn handle(&mut self, event: Event) {
        let party = match &event {
            Event::Plan(at) => {
                let fault = self.plan[*at].clone();
                self.befall(fault);
                return;
            }
            Event::Deliver { conn, end, .. } => self.net.at_end(*conn, *end),
            Event::Tick { party, .. } | Event::Written { party, .. } => *party,
        };
        let Self { net, judge, store, control, origins, edges, .. } = self;
        match (event, party) {
            (event, CONTROL) => {
                let control = control.as_mut().expect("events reach running processes only");
                match event {
                    Event::Deliver { conn, msg, .. } => control.handle(net, judge, store, conn, *msg),
                    Event::Written { .. } => control.written(net, judge, store),
                    _ => control.tick(net, judge, store),
                }
                self.compare_with_forgotten();
            }
            (event, EDGES..) => {
                let edge = edges.get_mut(&party).expect("events reach running processes only");
                match event {
                    Event::Deliver { conn, msg, .. } => edge.handle(net, judge, conn, *msg),
                    _ => edge.tick(net, judge),
                }
            }
            (event, _) => {
                let origin = origins.get_mut(&party).expect("events reach running processes only");
                match event {
                    Event::Deliver { conn, msg, .. } => origin.handle(net, judge, conn, *msg),
                    _ => origin.tick(net, judge),
                }
                let standing = origin.replica.standing();
                self.disks.insert(party, standing.epoch);
                if standing.active && standing.committed.is_some() {
                    judge.audit(&origin.member, standing.epoch, &origin.hub, &self.streams);
                }
            }
        }
    }

    /// The first grant by a store that was replaced by a copy.
    fn compare_with_forgotten(&mut self) {
        let (record, processes) = (&self.store.record, &self.net.processes);
        let Some(forgotten) = self.forgotten.take_if(|forgotten| record.epoch > forgotten.copied) else { return };
        let lacks = record.active.as_ref().is_some_and(|active| !forgotten.in_sync.contains(active));
        let heard = |party: &Party| self.control.as_ref().is_some_and(|control| control.had_heard.contains(party));
        let somebody_knew = forgotten
            .witnesses
            .iter()
            .any(|(party, start)| processes[*party].alive && processes[*party].start == *start && heard(party));
        self.misled = lacks && record.loss_epoch < record.epoch && !somebody_knew;
    }

    /// Starts a process.
    pub fn start(&mut self, party: Party) {
        self.net.start(party);
        let start = match self.setup.sabotage {
            Some(Sabotage::InSyncByName) => 1,
            _ => self.net.processes[party].start,
        };
        match party {
            CONTROL => self.control = Some(Control::new(&self.setup, self.store.record.clone(), &self.net)),
            ORIGINS..EDGES => {
                let others = self.origin_parties().into_iter().filter(|other| *other != party).collect();
                let disk = self.disks.get(&party).copied().unwrap_or_default();
                let mut config = replica::Config::default();
                config.commit.when_alone = self.setup.when_alone;
                let mut ring = RingLimits::default();
                if self.setup.short_memory {
                    (config.journal_max, ring.items) = (12, 24);
                }
                let origin = Origin::new(party, others, member(party, start), disk, config, ring, &self.net);
                let origin = origin.sabotaged(self.setup.sabotage);
                self.origins.insert(party, origin);
            }
            _ => {
                let mut edge = Edge::new(party, &self.origin_parties(), &self.streams, &self.net);
                if self.setup.direct && party == EDGES {
                    edge = edge.without_memory();
                }
                self.judge.edge_started(party);
                self.edges.insert(party, edge);
                self.encode_idle(party);
            }
        }
    }

    /// Encoders whose edge died publish their streams at this one.
    fn encode_idle(&mut self, edge: Party) {
        let fed = |stream: &StreamName| {
            let mut all = self.edges.values().flat_map(|edge| &edge.encoders);
            all.any(|ingest| !ingest.over && ingest.encoder.name == *stream)
        };
        if self.net.now == 0 {
            return;
        }
        let idle: Vec<usize> = (0..self.streams.len()).filter(|stream| !fed(&self.streams[*stream])).collect();
        for stream in idle {
            let begins = self.net.now + 100 * MS;
            self.encode(edge, stream, begins);
        }
    }

    /// The origin that serves, if one does.
    pub fn active(&self) -> Option<Party> {
        let alive = |party: &&Party| self.net.processes[**party].alive && !self.net.processes[**party].frozen;
        let active = self.origins.iter().filter(|(party, origin)| alive(party) && origin.is_active());
        active.max_by_key(|(_, origin)| origin.replica.standing().epoch).map(|(party, _)| *party)
    }

    /// How often the role has moved since the pool's first grant.
    pub fn moves(&self) -> u64 {
        self.store.record.epoch.0.saturating_sub(1)
    }

    /// Nothing was broken, and every stream plays everywhere (invariant 6), by now.
    pub fn verdict(&self) -> Result<(), String> {
        let mut broken = self.judge.broken.clone();
        if self.misled && broken.is_empty() {
            return Ok(());
        }
        let encoders = || self.edges.values().flat_map(|edge| &edge.encoders).filter(|ingest| !ingest.over);
        for ended in encoders().filter(|ingest| !ingest.is_live()) {
            // What is left of it comes too late where the next has its name already.
            let name = &ended.encoder.name;
            let mut live = encoders().filter(|ingest| ingest.is_live() && ingest.encoder.name == *name);
            if !live.any(|next| self.judge.opened.contains_key(&next.publication())) {
                broken.push(format!("the end of {} of {name} has not arrived", ended.publication()));
            }
        }
        for ingest in encoders().filter(|ingest| ingest.is_live()) {
            // What was sent a second ago has been seen by now.
            let due = ingest.encoder.next.checked_sub(S / self.setup.period + 1);
            let Some(due) = due.filter(|_| ingest.encoder.has_begun(self.net.now)) else { continue };
            for edge in self.edges.keys().filter(|edge| self.net.processes[**edge].alive) {
                if !self.judge.has_seen(*edge, &ingest.encoder.name, ingest.publication(), due) {
                    broken.push(format!("{} has not seen message {due} of {}", node_id(*edge), ingest.encoder.name));
                }
            }
        }
        let heard = |member: &Member| self.origins.values().any(|origin| origin.member == *member);
        broken.extend(self.judge.unnamed(heard));
        // Whoever follows has told what it had.
        let active = self.active().map(|active| &self.origins[&active]);
        let follows = |epoch: Epoch, member: &Member| {
            let known = self.origins.values().find(|origin| origin.member == *member);
            known
                .map(|origin| origin.replica.standing())
                .is_some_and(|standing| standing.follows.is_some() && standing.epoch == epoch)
        };
        broken.extend(active.and_then(|active| {
            let epoch = active.replica.standing().epoch;
            self.judge.unnamed_loss(&active.hub, |member| follows(epoch, member))
        }));
        broken.extend(self.judge.unseen());
        broken.extend(self.judge.untold());
        if broken.is_empty() { Ok(()) } else { Err(broken.join("\n")) }
    }

    /// The longest time without anything for any viewers since a time, in milliseconds.
    pub fn longest_gap_ms(&self) -> u64 {
        self.judge.viewers().map(|(_, viewer)| viewer.longest_gap.0).max().unwrap_or(0) / MS
    }
}
