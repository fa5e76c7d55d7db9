//! The viewers: threads that each look after many.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::Context as _;
use media::StreamUrl;
use rtmp_net::client::Options;
use tokio::sync::watch;

use super::{hall, ledger::Count, spread::Spread, viewer::Latencies};

/// Who is to join, and how.
#[derive(Debug)]
pub(super) struct Plan {
    /// Where viewers play: each takes the next.
    pub targets: Vec<Target>,
    /// How they connect.
    pub options: Options,
    /// The address that they connect from.
    pub from: Option<IpAddr>,
    /// How many.
    pub viewers: usize,
    /// How many join in a second.
    pub ramp: f64,
    /// The share that stops reading after its first frame.
    pub stalled: f64,
    /// How long each stays, from its first frame on, before it leaves and joins again; nothing means to the end.
    pub stay: Option<Duration>,
    /// Threads never sleep.
    pub awake: bool,
}

/// A stream and where its server is.
#[derive(Debug)]
pub(super) struct Target {
    /// The stream.
    pub url: StreamUrl,
    /// Its host.
    pub address: SocketAddr,
}

/// The viewers of all threads.
pub(super) struct Crowd {
    stage: watch::Sender<Stage>,
    measuring: Arc<AtomicBool>,
    live: Vec<Arc<Live>>,
    threads: Vec<JoinHandle<anyhow::Result<Outcome>>>,
}

/// How far the whole is: what threads wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Viewers join and watch.
    Watch,
    /// They watch up to these numbers, which are on their way, and then all is over.
    Drain([Option<(u32, u32)>; 2]),
}

/// What one thread tells while it works.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// Joins begun, those of viewers who came back too.
    pub joins: AtomicU64,
    /// Viewers that were granted the stream at least once, and of those who were not the number that is given up.
    pub settled: AtomicU64,
    /// Viewers that are connected and granted the stream.
    pub up: AtomicU64,
    /// Bytes received.
    pub bytes: AtomicU64,
    /// Frames received.
    pub frames: AtomicU64,
    /// Frames lost.
    pub lost: AtomicU64,
    /// By lane the highest publication and number, one above the other; 0 before the first.
    pub highest: [AtomicU64; 2],
}

/// What all threads tell, added up.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sum {
    /// See [`Live::joins`].
    pub joins: u64,
    /// See [`Live::settled`].
    pub settled: u64,
    /// See [`Live::up`].
    pub up: u64,
    /// See [`Live::bytes`].
    pub bytes: u64,
    /// See [`Live::frames`].
    pub frames: u64,
    /// See [`Live::lost`].
    pub lost: u64,
    /// See [`Live::highest`].
    pub highest: [u64; 2],
}

/// What came of the viewers of a thread, or of all.
#[derive(Debug)]
pub(super) struct Outcome {
    /// From connecting to the first frame.
    pub first: Spread,
    /// From the publisher's socket to a whole frame here, of what was sent while it was measured.
    pub latencies: Latencies,
    /// By lane.
    pub counts: [Count; 2],
    /// Frames that had not come when all was over.
    pub missing: u64,
    /// Connections that ended, by reason.
    pub ended: BTreeMap<String, u64>,
    /// Viewers that stopped reading.
    pub stalled: u64,
    /// From when a viewer stopped reading to when its server cut it, where that happened.
    pub cut: Spread,
}

impl Crowd {
    /// Starts the threads, and the joining.
    pub(super) fn start(plan: Plan, threads: usize) -> anyhow::Result<Self> {
        let (stage, _) = watch::channel(Stage::Watch);
        let measuring = Arc::new(AtomicBool::new(false));
        let plan = Arc::new(plan);
        let mut this = Self { stage, measuring, live: Vec::new(), threads: Vec::new() };
        for number in 0..threads {
            let live = Arc::new(Live::default());
            let share = hall::Share { plan: plan.clone(), number, of: threads };
            let (measuring, stage, told) = (this.measuring.clone(), this.stage.subscribe(), live.clone());
            let run = move || hall::run(share, measuring, stage, told);
            this.threads.push(thread::Builder::new().name(format!("viewers-{number}")).spawn(run)?);
            this.live.push(live);
        }
        Ok(this)
    }

    /// What the threads tell now.
    pub(super) fn sum(&self) -> Sum {
        let mut sum = Sum::default();
        for live in &self.live {
            sum.joins += live.joins.load(Relaxed);
            sum.settled += live.settled.load(Relaxed);
            sum.up += live.up.load(Relaxed);
            sum.bytes += live.bytes.load(Relaxed);
            sum.frames += live.frames.load(Relaxed);
            sum.lost += live.lost.load(Relaxed);
            for (highest, own) in sum.highest.iter_mut().zip(&live.highest) {
                *highest = own.load(Relaxed).max(*highest);
            }
        }
        sum
    }

    /// From now on latencies count, or no longer.
    pub(super) fn measure(&self, on: bool) {
        self.measuring.store(on, Relaxed);
    }

    /// Lets viewers have what was sent up to now, for a while, and ends.
    pub(super) async fn end(self, sent: [Option<(u32, u32)>; 2]) -> anyhow::Result<Outcome> {
        let seen = self.sum().highest.map(|packed| (packed > 0).then(|| unpack(packed)));
        let ends = [sent[0].max(seen[0]), sent[1].max(seen[1])];
        self.stage.send_replace(Stage::Drain(ends));
        let mut all = Outcome::new();
        for thread in self.threads {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await?;
            all.merge(&joined.ok().context("a thread of viewers panicked")??);
        }
        Ok(all)
    }
}

impl Outcome {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self {
            first: Spread::new(),
            latencies: [Spread::new(), Spread::new()],
            counts: Default::default(),
            missing: 0,
            ended: BTreeMap::new(),
            stalled: 0,
            cut: Spread::new(),
        }
    }

    fn merge(&mut self, other: &Self) {
        self.first.merge(&other.first);
        self.cut.merge(&other.cut);
        self.missing += other.missing;
        self.stalled += other.stalled;
        for lane in 0..2 {
            self.latencies[lane].merge(&other.latencies[lane]);
            self.counts[lane] += other.counts[lane];
        }
        for (reason, count) in &other.ended {
            *self.ended.entry(reason.clone()).or_default() += count;
        }
    }
}

impl Plan {
    /// Whether the viewer of this number stops reading: they are spread evenly.
    pub(super) fn stalls(&self, number: usize) -> bool {
        let before = |viewers: usize| (viewers as f64 * self.stalled) as usize;
        before(number + 1) > before(number)
    }
}

/// Publication and number in one.
pub(super) fn pack((run, number): (u32, u32)) -> u64 {
    u64::from(run) << 32 | u64::from(number)
}

fn unpack(packed: u64) -> (u32, u32) {
    // Each half is what it holds.
    ((packed >> 32) as u32, packed as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(stalled: f64) -> Plan {
        Plan {
            targets: vec![],
            options: Options::default(),
            from: None,
            viewers: 0,
            ramp: 1.0,
            stalled,
            stay: None,
            awake: false,
        }
    }

    #[test]
    fn stalled_viewers_are_the_share_that_was_asked_for() {
        for (share, of_500) in [(0.0, 0), (0.1, 50), (0.333, 166), (1.0, 500)] {
            let plan = plan(share);
            assert_eq!((0..500).filter(|number| plan.stalls(*number)).count(), of_500, "{share}");
        }
    }

    #[test]
    fn publication_and_number_come_back() {
        for pair in [(0, 0), (7, 9), (u32::MAX, 1)] {
            assert_eq!(unpack(pack(pair)), pair);
        }
        assert!(pack((2, 0)) > pack((1, u32::MAX)), "a later publication is higher");
    }
}
