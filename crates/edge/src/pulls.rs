//! The streams that this edge fetches: one pull each, however many viewers.

mod absent;
mod fetch;
mod pull;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime},
};

use dashmap::{DashMap, mapref::entry::Entry};
use hub::{Hub, Reader, Start, Stream};
use media::StreamName;
use rtmp_net::{PlayRefusal, Pressure};
use telemetry::Throttle;
use tokio::{runtime::Handle, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{latency::Latencies, upstream::Upstream};
use absent::Absent;
use pull::{Pull, State, Waiting};

/// How the edge waits for streams, and how long it keeps them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How long a new viewer waits for a stream that is not there yet, or whose pool does not answer.
    pub wait: Duration,
    /// How long a stream is still fetched after its last viewer has left.
    pub linger: Duration,
    /// How long viewers are kept when no origin serves.
    pub hold: Duration,
    /// The most payload bytes that a viewer may be behind before it skips to a newer keyframe.
    pub lag_bytes_max: u64,
    /// Streams fetched or waited for at a time.
    pub streams_max: usize,
    /// How many of them may be waited for. For one more, the one waited for longest is given up.
    pub absent_max: usize,
    /// Where viewers start.
    pub start: Start,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            wait: Duration::from_secs(10),
            linger: Duration::from_secs(10),
            hold: Duration::from_secs(120),
            lag_bytes_max: 4 << 20,
            streams_max: 10_000,
            absent_max: 2_500,
            start: Start::LastKeyframe,
        }
    }
}

/// How long a name without a stream is remembered after the last who asked for it.
const ABSENT_LINGER: Duration = Duration::from_secs(1);

const COMPLAIN_EVERY: Duration = Duration::from_secs(10);

/// All pulls of an edge.
#[derive(Debug)]
pub struct Pulls {
    hub: Hub,
    upstream: Upstream,
    config: Config,
    pulls: DashMap<StreamName, Arc<Pull>>,
    /// Those of them that are waited for.
    absent: Absent,
    /// Where calls to origins run, whoever asks for a stream.
    home: Handle,
    /// None: viewers are shown each message by itself.
    pacing: Option<Pacing>,
    tasks: TaskTracker,
    stop: CancellationToken,
    stats: Stats,
    /// Viewers choose the names: what is wrong with them is told so often of each kind, and not of each name.
    complaints: Throttle,
}

/// How viewers are shown the streams.
#[derive(Debug)]
pub(crate) struct Pacing {
    /// Where they are served: whoever shows them more is at home there too, so that no thread wakes another's tasks.
    pub(crate) home: Handle,
    pub(crate) latencies: Latencies,
    pub(crate) pressure: Pressure,
}

/// What is counted of pulls since the process started.
#[derive(Debug, Default)]
pub struct Stats {
    /// Calls to origins.
    pub calls: AtomicU64,
    /// Calls made because one before had broken.
    pub reconnects: AtomicU64,
    /// Viewers who joined a pull that was there already.
    pub coalesced: AtomicU64,
    /// Items that origins sent again and that were left out.
    pub repeated: AtomicU64,
    /// Names that were given up for others.
    pub given_up: AtomicU64,
}

impl Pulls {
    /// Nothing is fetched yet. What is fetched runs on the runtime in which this is called.
    pub fn new(hub: Hub, upstream: Upstream, config: Config) -> Self {
        Self {
            hub,
            upstream,
            config,
            pulls: DashMap::new(),
            absent: Absent::default(),
            home: Handle::current(),
            pacing: None,
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            stats: Stats::default(),
            complaints: Throttle::new(COMPLAIN_EVERY),
        }
    }

    /// Viewers are shown each stream as its latency asks.
    pub(crate) fn paced(self, pacing: Pacing) -> Self {
        Self { pacing: Some(pacing), ..self }
    }

    /// A cursor into a stream, which is fetched if it is not yet. Dropping the future is how a viewer stops waiting.
    ///
    /// Not found: no route entry matches the name, or nobody published it in time, or before others needed its place.
    /// Unavailable: no origin answered in time, or this edge fetches as many streams as it may.
    pub async fn play(self: &Arc<Self>, name: &StreamName) -> Result<Reader, PlayRefusal> {
        if !self.upstream.has_route(name) {
            return Err(PlayRefusal::NotFound);
        }
        let waiting = self.join(name)?;
        let mut state = waiting.pull.state.subscribe();
        let decided = async {
            let decided = state.wait_for(|state| matches!(state, State::Live(_) | State::Refused)).await;
            // The sender is held by `waiting`.
            decided.ok().map(|state| state.clone())
        };
        let decided = tokio::select! {
            decided = timeout(self.config.wait, decided) => decided.ok().flatten(),
            () = waiting.pull.given_up.cancelled() => None,
        };
        let state = decided.unwrap_or_else(|| waiting.pull.state.borrow().clone());
        match state {
            State::Live(stream) => {
                Ok(stream.subscribe_paced(self.config.start).with_lag_bytes_max(self.config.lag_bytes_max))
            }
            State::Absent | State::Refused => Err(PlayRefusal::NotFound),
            State::Unanswered => Err(PlayRefusal::Unavailable),
        }
    }

    /// The number of streams that are fetched or waited for, and of those that are there.
    pub fn counts(&self) -> (usize, usize) {
        let live = self.pulls.iter().filter(|pull| matches!(*pull.state.borrow(), State::Live(_))).count();
        (self.pulls.len(), live)
    }

    /// The streams that are there.
    pub fn live(&self) -> Vec<Arc<Stream>> {
        self.hub.list()
    }

    /// When this edge began to fetch a stream.
    pub fn since(&self, name: &StreamName) -> Option<SystemTime> {
        self.pulls.get(name).map(|pull| pull.since)
    }

    /// How far a stream has come, in the positions of the pool that it comes from.
    pub fn head(&self, name: &StreamName) -> u64 {
        self.pulls.get(name).and_then(|pull| pull.mirror().position()).unwrap_or(0)
    }

    /// Payload of a stream fetched each second, in bytes.
    pub fn bytes_per_second(&self, stream: &Stream) -> f64 {
        let pull = self.pulls.get(stream.name());
        pull.map_or(0.0, |pull| pull.rate.sample(stream.info().bytes_total, Instant::now()))
    }

    /// What was counted.
    pub fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Ends all pulls and waits for their tasks.
    pub async fn close(&self) {
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// A stream is there: from now on it is shown to viewers.
    fn show(&self, stream: &Arc<Stream>) {
        if let Some(Pacing { home, latencies, pressure }) = &self.pacing {
            let pacing = rtmp_net::pace(stream.pace(), latencies.of(stream.name()), pressure.clone());
            self.tasks.spawn_on(pacing, home);
        }
    }

    /// Joins the pull of a stream, or begins it.
    fn join(self: &Arc<Self>, name: &StreamName) -> Result<Waiting, PlayRefusal> {
        // Before the entry is locked, as those of others are looked at.
        let has_room = self.pulls.contains_key(name) || self.make_room();
        let slot = match self.pulls.entry(name.clone()) {
            Entry::Occupied(slot) => {
                self.stats.coalesced.fetch_add(1, Ordering::Relaxed);
                return Ok(Waiting::new(slot.get().clone()));
            }
            Entry::Vacant(_) if !has_room => {
                if let Some(silenced) = self.complaints.allow("pull.too_many") {
                    tracing::warn!(stream = %name, streams_max = self.config.streams_max, silenced, "pull.too_many");
                }
                return Err(PlayRefusal::Unavailable);
            }
            Entry::Vacant(slot) => slot,
        };
        let pull = Arc::new(Pull::new(name.clone()));
        let waiting = Waiting::new(pull.clone());
        self.absent.enter(&pull);
        slot.insert(pull.clone());
        self.tasks.spawn_on(self.clone().run(pull), &self.home);
        Ok(waiting)
    }

    /// Whether one more may be waited for: what nobody publishes keeps nobody from asking for what somebody does.
    fn make_room(&self) -> bool {
        let Config { streams_max, absent_max, .. } = self.config;
        while self.pulls.len() >= streams_max || self.absent.len() >= absent_max {
            let Some(oldest) = self.absent.pop_oldest() else { return false };
            let given_up =
                self.pulls.remove_if(&oldest.name, |_, pull| Arc::ptr_eq(pull, &oldest) && pull.give_up_unless_open());
            if given_up.is_some() {
                self.stats.given_up.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(stream = %oldest.name, "pull.given_up");
            }
        }
        true
    }

    /// Feeds the stream until nobody has wanted it for a while.
    async fn run(self: Arc<Self>, pull: Arc<Pull>) {
        let fetch = fetch::run(&self, &pull);
        tokio::pin!(fetch);
        loop {
            tokio::select! {
                () = &mut fetch => unreachable!("a fetch goes on until it is dropped"),
                () = self.stop.cancelled() => break,
                // It has left already, and its name may be another's.
                () = pull.given_up.cancelled() => return,
                () = pull.unwanted_for(self.config.linger.min(ABSENT_LINGER), self.config.linger) => {
                    if self.forget_if_idle(&pull) {
                        tracing::debug!(stream = %pull.name, "pull.ended");
                        return;
                    }
                }
            }
        }
        self.pulls.remove_if(&pull.name, |_, there| Arc::ptr_eq(there, &pull));
        self.absent.leave(&pull);
        pull.end_stream();
    }

    /// Under the lock of the entry, so that a viewer either joins before, and it stays, or begins another after.
    fn forget_if_idle(&self, pull: &Arc<Pull>) -> bool {
        let forgotten = self.pulls.remove_if(&pull.name, |_, there| {
            let idle = Arc::ptr_eq(there, pull) && !pull.is_wanted();
            if idle {
                pull.end_stream();
            }
            idle
        });
        if forgotten.is_some() {
            self.absent.leave(pull);
        }
        forgotten.is_some()
    }

    /// The stream is over for now, and the name is waited for.
    fn end_stream(&self, pull: &Arc<Pull>) {
        let was_open = pull.is_open();
        pull.end_stream();
        if was_open {
            self.absent.enter(pull);
        }
    }
}

#[cfg(test)]
mod tests;
