//! Clusters under faults that a seed chooses, checked against the invariants all the time.
//!
//! `HEADWATER_SEED=n` runs one seed and prints what happened in it; `HEADWATER_SEEDS=n` runs so many, from
//! `HEADWATER_FIRST_SEED` on. A drill has seeds that no run before it had.

use std::{
    fmt::Write,
    ops::Range,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::SystemTime,
};

use crate::{
    rng::Rng,
    world::{
        MS, S, Setup, World, control,
        faults::Fault,
        names::{CONTROL, EDGES, ORIGINS, node_id},
        net::{Party, Weather},
    },
};

/// Faults begin here.
const CALM: u64 = 3 * S;
/// All have ended here.
const HEALED: u64 = 12 * S;
/// The longest time without anything for viewers (invariant 3): a fault that nobody tells of is found after 600 ms.
const GAP_MAX: u64 = 1200 * MS;
/// And everything plays here (invariant 6).
const END: u64 = HEALED + 7 * S;

/// What a seed chooses.
struct Plan {
    setup: Setup,
    faults: Vec<(u64, Fault)>,
    /// Nothing may be lost, doubled or moved twice.
    single: bool,
    /// Parties that are faulty themselves.
    hit: Vec<Party>,
    /// Those that have to give the role away, if they have it.
    gone: Vec<Party>,
}

fn plan(seed: u64) -> Plan {
    let mut rng = Rng::new(seed ^ 0x5eed);
    let single = rng.percent(50);
    let setup = Setup {
        origins: rng.pick(&[2, 2, 3]),
        edges: rng.pick(&[2, 3]),
        streams: rng.pick(&[1, 1, 2]),
        ingest: rng.pick(&[0, 1]),
        direct: false,
        period: 100 * MS,
        short_memory: !single && rng.percent(40),
        clocks_ppm: rng.pick(&[0, 0, 1_000, 100_000]),
        rules: control::unlimited(),
        may_split: !single,
        ..Setup::default()
    };
    let mut plan = Plan { setup, faults: Vec::new(), single, hit: Vec::new(), gone: Vec::new() };
    let count = if single { 1 } else { rng.within(2, 6) };
    for _ in 0..count {
        plan.add(&mut rng);
    }
    // A process that is dead or frozen at the end is a fault that has not ended.
    let parties = (ORIGINS..ORIGINS + plan.setup.origins).chain([CONTROL]).chain(EDGES..EDGES + plan.setup.edges);
    plan.faults
        .extend(parties.flat_map(|party| [Fault::Thaw(party), Fault::Start(party)]).map(|fault| (HEALED, fault)));
    plan.faults.push((HEALED, Fault::Heal));
    plan.faults.push((HEALED, Fault::Weather(Weather::default())));
    plan
}

impl Plan {
    fn add(&mut self, rng: &mut Rng) {
        let at = rng.within(CALM, HEALED - 4 * S);
        let until = at + rng.within(50 * MS, 4 * S);
        let origin = ORIGINS + rng.below(self.setup.origins as u64) as Party;
        let edge = EDGES + rng.below(self.setup.edges as u64) as Party;
        let any = rng.pick(&[CONTROL, origin, origin, edge]);
        let other = rng.pick(&[CONTROL, ORIGINS, ORIGINS + 1, EDGES, EDGES + 1]);
        let kinds = if self.single { 6 } else { 14 };
        let faults = match rng.below(kinds) {
            0 => vec![(at, Fault::Kill(any)), (until, Fault::Start(any))],
            1 => vec![(at, Fault::Freeze(any)), (until, Fault::Thaw(any))],
            2 => vec![(at, Fault::CutOff(any)), (until, Fault::Heal)],
            3 if any != other => vec![(at, Fault::Cut(any, other)), (until, Fault::Heal)],
            3 => vec![(at, Fault::Kill(origin))],
            4 => vec![(at, Fault::Kill(origin)), (until, Fault::Start(origin))],
            5 => vec![(at, Fault::Relieve(origin)), (at + 2 * S, Fault::Start(origin))],
            6 => vec![(at, Fault::Backup), (until, Fault::Restore)],
            7 => vec![(at, Fault::Promote { to: origin, epoch: None, force: rng.percent(50) })],
            11 => {
                // The network is cut in two, until the end.
                let inside = (ORIGINS..EDGES + self.setup.edges).filter(|_| rng.percent(50)).collect();
                vec![(at, Fault::Divide(inside))]
            }
            12 => {
                let gone = if rng.percent(50) { Fault::Freeze(ORIGINS + 1) } else { Fault::Kill(ORIGINS + 1) };
                let back = [(until, Fault::Thaw(ORIGINS + 1)), (until, Fault::Start(ORIGINS + 1))];
                let alone = [(at, Fault::Kill(CONTROL)), (at + 100 * MS, gone), (until, Fault::Start(CONTROL))];
                alone.into_iter().chain(back).collect()
            }
            8 => vec![(at, Fault::MoveEncoder { from: EDGES, to: EDGES + 1 })],
            9 => vec![(at, Fault::CloseEncoder(edge))],
            13 => fenced(rng, origin, at, until),
            _ => {
                let bad = Weather { delay: (100, 80 * MS), lost_percent: 3, stall_every: 300, stall: 300 * MS };
                vec![(at, Fault::Weather(bad)), (until, Fault::Weather(Weather::default()))]
            }
        };
        for (_, fault) in &faults {
            match fault {
                Fault::Kill(party) | Fault::Freeze(party) | Fault::CutOff(party) => self.hit.push(*party),
                Fault::Cut(a, b) => self.hit.extend([*a, *b]),
                _ => {}
            }
            if let Fault::Kill(party) | Fault::Freeze(party) | Fault::CutOff(party) | Fault::Relieve(party) = fault {
                self.gone.push(*party);
            }
        }
        self.faults.extend(faults);
    }
}

/// An operator takes an origin out of service, and something is done that must not bring it back.
fn fenced(rng: &mut Rng, origin: Party, at: u64, until: u64) -> Vec<(u64, Fault)> {
    let promote = Fault::Promote { to: origin, epoch: None, force: true };
    let meanwhile = match rng.below(3) {
        // Another operator asks for it at the same time.
        0 => vec![(at, promote), (until, Fault::Unfence(origin))],
        // It ends in good order and starts anew.
        1 => {
            let ends = at + 200 * MS;
            let ends_and_starts = [Fault::Leave(origin), Fault::Kill(origin)].map(|fault| (ends, fault));
            ends_and_starts.into_iter().chain([(ends + 300 * MS, Fault::Start(origin))]).collect()
        }
        // It is let in and promoted, of which the store that is restored afterwards knows nothing.
        _ => {
            let let_in = [(at + 200 * MS, Fault::Backup), (at + 300 * MS, Fault::Unfence(origin))];
            let restored = [(at + 500 * MS, promote), (at + S, Fault::Restore)];
            let_in.into_iter().chain(restored).collect()
        }
    };
    let let_in = (HEALED + 100 * MS, Fault::Unfence(origin));
    [(at, Fault::Fence(origin))].into_iter().chain(meanwhile).chain([let_in]).collect()
}

/// What became of a seed.
struct Outcome {
    world: World,
    /// Empty when nothing is.
    broken: String,
}

fn run(seed: u64, traced: bool) -> Outcome {
    let Plan { setup, faults, single, hit, gone } = plan(seed);
    let mut world = World::new(seed, setup);
    if traced {
        world.net.trace = Some(Vec::new());
    }
    world.plan_all(faults);
    world.run_until(CALM);
    world.judge.forget_gaps();
    let active = world.active();
    world.run_until(END);
    let mut broken = world.verdict().err().unwrap_or_default();
    if single && broken.is_empty() {
        broken = strict(&world, &hit).err().unwrap_or_default();
        if world.moves() > 0 && !active.is_some_and(|active| gone.contains(&active)) {
            broken = "the role moved, and nothing ailed who had it".to_owned();
        }
    }
    Outcome { world, broken }
}

/// Invariant 3: under a single fault nothing is lost, the role moves once at most, and whoever is not hit waits no longer
/// than it takes.
fn strict(world: &World, hit: &[Party]) -> Result<(), String> {
    // An edge that is hit, or that an encoder is at, may have to find its own way.
    let apart = |party: &Party| !hit.contains(party);
    let encoders: Vec<Party> =
        world.edges.iter().filter(|(_, edge)| !edge.encoders.is_empty()).map(|(p, _)| *p).collect();
    if encoders.iter().all(apart) {
        for ((edge, name), viewer) in world.judge.viewers().filter(|((edge, _), _)| apart(edge)) {
            let (gap, at) = viewer.longest_gap;
            if gap > GAP_MAX {
                return Err(format!("{} had nothing of {name} for {} ms until {}", node_id(*edge), gap / MS, at / MS));
            }
        }
        if world.judge.ends_seen > 0 {
            return Err("a stream ended, and its encoder had not ended it".to_owned());
        }
    }
    let record = &world.store.record;
    if record.loss_epoch.0 > 0 {
        return Err(format!("a promotion with loss in epoch {}", record.loss_epoch));
    }
    if world.judge.encoders_lost > 0 {
        return Err("an encoder lost its publication".to_owned());
    }
    if world.moves() > 1 {
        return Err(format!("the role moved {} times", world.moves()));
    }
    Ok(())
}

/// What so many seeds have come to.
#[derive(Default)]
struct Tally {
    failed: Vec<(u64, String)>,
    moves: u64,
    losses: u64,
    alone: u64,
    doubled: u64,
    misled: u64,
    seen: u64,
}

impl Tally {
    fn add(&mut self, seed: u64, outcome: Outcome) {
        let Outcome { world, broken } = outcome;
        if !broken.is_empty() {
            self.failed.push((seed, broken));
        }
        self.moves += world.moves();
        self.losses += u64::from(world.store.record.loss_epoch.0 > 0);
        self.alone += u64::from(world.store.has_told("Alone") || world.judge.has_noticed("SPLIT"));
        self.doubled += u64::from(world.judge.has_doubled());
        self.misled += u64::from(world.misled);
        self.seen += world.judge.viewers().map(|(_, viewer)| viewer.items).sum::<u64>();
    }

    fn and(mut self, other: Self) -> Self {
        self.failed.extend(other.failed);
        self.moves += other.moves;
        self.losses += other.losses;
        self.alone += other.alone;
        self.doubled += other.doubled;
        self.misled += other.misled;
        self.seen += other.seen;
        self
    }
}

fn report(seed: u64) -> String {
    let Outcome { world, broken } = run(seed, true);
    let mut text = format!("HEADWATER_SEED={seed}\n{broken}\n");
    let trace: Vec<&String> = world.net.trace.iter().flatten().collect();
    for line in trace.iter().skip(trace.len().saturating_sub(400)) {
        let _ = writeln!(text, "{line}");
    }
    text
}

/// The seeds to run.
fn seeds() -> Range<u64> {
    let drill = std::env::var_os("HEADWATER_DRILL").is_some();
    let count = number("HEADWATER_SEEDS").unwrap_or(if drill { 10_000 } else { 200 });
    let first = number("HEADWATER_FIRST_SEED").unwrap_or_else(|| if drill { of_this_second() } else { 1 });
    first..first + count
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable} is a number, and not {text:?}")))
}

/// A seed that begins a range of its own for each second, for thousands of years.
fn of_this_second() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a clock that is set");
    since.as_secs() * 100_000
}

#[test]
fn seeded_clusters_hold_the_invariants() {
    if let Some(seed) = number("HEADWATER_SEED") {
        let Outcome { world, broken } = run(seed, true);
        world.net.trace.iter().flatten().for_each(|line| eprintln!("{line}"));
        assert!(broken.is_empty(), "{broken}");
        return;
    }
    let seeds = seeds();
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return tally;
            }
            tally.add(seed, run(seed, false));
        }
    };
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let tallies: Vec<Tally> = thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().expect("a seed does not panic")).collect()
    });
    let Tally { mut failed, moves, losses, alone, doubled, misled, seen } =
        tallies.into_iter().fold(Tally::default(), Tally::and);
    failed.sort();
    eprintln!(
        "seeds {seeds:?}: the role moved {moves} times; {losses} clusters lost something, in {alone} an origin went alone, in \
         {doubled} positions were doubled, {misled} could not be judged: a copy of the store misled the control plane; {seen} \
         items were seen"
    );
    let list: String = failed.iter().map(|(seed, broken)| format!("{seed}: {broken}\n")).collect();
    assert!(failed.is_empty(), "{} of seeds {seeds:?}:\n{list}\n{}", failed.len(), report(failed[0].0));
}

#[test]
fn a_seed_always_runs_the_same_way() {
    for seed in 1..9 {
        let runs = [(); 2].map(|()| {
            let Outcome { world, .. } = run(seed, true);
            (world.net.handled, world.net.trace)
        });
        assert_eq!(runs[0], runs[1], "seed {seed}");
    }
}
