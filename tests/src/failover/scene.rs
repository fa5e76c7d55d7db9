//! A cluster with a stamped stream and viewers who check it.

use std::{
    any::Any,
    fs::OpenOptions,
    io::Write as _,
    panic::{AssertUnwindSafe, catch_unwind},
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use super::{Crowd, Round, Source, crowd::Sight, ledger::Counts, row::GAP_MAX};
use crate::{Cluster, standstill, wait::SOON};

/// How much is done.
#[derive(Debug, Clone, Copy)]
pub struct Form {
    /// Rounds of each case.
    pub rounds: usize,
    /// Viewers: half over RTMP, half over HTTP-FLV, on both edges.
    pub viewers: usize,
    /// How long viewers are watched from a fault on.
    pub window: Duration,
    /// How long a cable stays cut.
    pub cut: Duration,
    /// How long a control plane stays dead.
    pub control_dead: Duration,
}

impl Form {
    /// For every change: it asserts what is promised, and times only roughly.
    pub const SHORT: Self = Self {
        rounds: 3,
        viewers: 12,
        window: Duration::from_millis(2500),
        // Longer than the longest pause that is let pass: whoever waits until it is mended is seen.
        cut: GAP_MAX.saturating_add(Duration::from_secs(1)),
        control_dead: Duration::from_secs(5),
    };
    /// For the table.
    pub const LONG: Self = Self {
        rounds: 50,
        viewers: 50,
        window: Duration::from_secs(5),
        cut: Duration::from_secs(5),
        control_dead: Duration::from_secs(30),
    };
}

/// The stream that is watched.
pub const STREAM: &str = "live/stamped";
/// Where viewers are.
pub const EDGES: [&str; 2] = ["edge-1", "edge-2"];

/// A cluster in which a stamped stream is published and watched.
pub struct Scene {
    /// The cluster.
    pub cluster: Cluster,
    /// The encoder.
    pub source: Source,
    /// The viewers.
    pub crowd: Crowd,
    /// How much is done.
    pub form: Form,
    looked: Instant,
    own: Vec<Duration>,
}

/// Rounds are done so often at most, where the machine stands still in some, for each that is wanted.
const MOST_TRIES: usize = 2;
/// What is undisturbed is measured once for so many rounds.
const ROUNDS_PER_QUIET_ONE: usize = 10;

impl Scene {
    /// An encoder at `edge-1`, viewers on both edges.
    #[track_caller]
    pub fn at_an_edge(cluster: Cluster, form: Form) -> Self {
        let ingest = [cluster.rtmp("edge-1", STREAM)];
        Self::with(cluster, form, &ingest, &EDGES)
    }

    /// The encoder at any of these addresses, viewers on these edges.
    #[track_caller]
    pub fn with(cluster: Cluster, form: Form, ingest: &[String], edges: &[&str]) -> Self {
        let source = Source::start(ingest);
        source.wait_accepted();
        let crowd = Crowd::join(urls(&cluster, edges, form.viewers));
        let mut scene = Self { cluster, source, crowd, form, looked: Instant::now(), own: Vec::new() };
        scene.assert_plays();
        scene.look_since(Instant::now());
        scene
    }

    /// Waits until every viewer plays.
    #[track_caller]
    pub fn assert_plays(&mut self) {
        let stuck = self.crowd.stuck(&self.source, SOON);
        assert_eq!(
            stuck,
            0,
            "not every viewer plays; encoder: {:?}; viewers:\n{}",
            self.source.told(),
            self.crowd.told()
        );
    }

    /// Rounds of one case: each does something, and watches for a while from that moment on. What happens between two rounds is
    /// counted with the next one, its pauses are not.
    ///
    /// A round in which the machine stood still is not the last. After one that panics there is no other, and the rounds before it
    /// count.
    pub fn rounds(&mut self, mut each: impl FnMut(&mut Self) -> Round) -> Vec<Round> {
        let mut rounds: Vec<Round> = Vec::new();
        let mut timed = 0;
        while timed < self.form.rounds && rounds.len() < MOST_TRIES * self.form.rounds {
            match catch_unwind(AssertUnwindSafe(|| each(self))) {
                Ok(round) => {
                    timed += usize::from(round.is_timed());
                    rounds.push(round);
                }
                Err(panic) => {
                    rounds.push(Round { failed: Some(text_of(&*panic)), ..Round::default() });
                    break;
                }
            }
        }
        rounds
    }

    /// The longest pauses that viewers see when nothing happens; measured once.
    pub fn own(&mut self) -> Vec<Duration> {
        if self.own.is_empty() {
            self.cluster.wait_in_sync();
            let wanted = self.form.rounds.div_ceil(ROUNDS_PER_QUIET_ONE);
            let mut timed = 0;
            for _ in 0..MOST_TRIES * wanted {
                let round = self.watch(|_| ());
                let is_timed = round.is_timed();
                let quiet = round.sight;
                assert_eq!((quiet.counts, quiet.cuts), (Counts::default(), Vec::new()), "nothing has happened");
                if is_timed {
                    timed += 1;
                    self.own.extend(quiet.gaps);
                }
                if timed == wanted {
                    break;
                }
            }
        }
        self.own.clone()
    }

    /// Does something, then watches for the form's time.
    #[track_caller]
    pub fn watch(&mut self, fault: impl FnOnce(&Cluster)) -> Round {
        let window = self.form.window;
        self.watch_for(window, fault)
    }

    /// The same for another time.
    #[track_caller]
    pub fn watch_for(&mut self, window: Duration, fault: impl FnOnce(&Cluster)) -> Round {
        let (start, began) = (Instant::now(), SystemTime::now());
        fault(&self.cluster);
        // What is measured here is what happens in this time.
        thread::sleep((start + window).saturating_duration_since(Instant::now()));
        let stuck = self.crowd.stuck(&self.source, SOON);
        if stuck > 0 {
            eprintln!("not every viewer plays; encoder: {:?}; viewers:\n{}", self.source.told(), self.crowd.told());
        }
        let encoder_cuts = self.source.cuts_since(self.looked);
        let sight = self.look_since(start);
        let stood_still = standstill::longest(began, SystemTime::now());
        self.note(began, &sight);
        Round { sight, stuck, encoder_cuts, stood_still, ..Round::default() }
    }

    /// Writes beside the cluster's logs what was seen, and from when on, for whoever reads them.
    fn note(&self, began: SystemTime, sight: &Sight) {
        let began = began.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let gaps: Vec<u128> = sight.gaps.iter().map(Duration::as_millis).collect();
        self.write(&format!(
            "{began} ms since 1970: {:?}, {} cut, gaps in ms {gaps:?}",
            sight.counts,
            sight.cuts.len()
        ));
    }

    /// Writes what the encoder was told since a moment, and how long after it.
    pub fn note_encoder(&self, since: Instant) {
        let told = self.source.told().into_iter().filter(|(at, _)| *at >= since);
        let told: Vec<_> = told.map(|(at, told)| ((at - since).as_millis(), told)).collect();
        self.write(&format!("the encoder was told, in ms: {told:?}"));
    }

    fn write(&self, line: &str) {
        let file = self.cluster.scratch().join("rounds.log");
        let written =
            OpenOptions::new().create(true).append(true).open(&file).and_then(|mut file| writeln!(file, "{line}"));
        written.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    }

    /// What the viewers saw since the last look; pauses from this moment on.
    pub fn look_since(&mut self, from: Instant) -> Sight {
        self.looked = Instant::now();
        self.crowd.look(&self.source, from)
    }
}

/// What a panic said.
fn text_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_else(|| "a panic".to_owned())
}

/// The addresses of so many viewers: over RTMP and HTTP-FLV, on all these edges.
pub fn urls(cluster: &Cluster, edges: &[&str], viewers: usize) -> Vec<String> {
    let url = |viewer: usize| {
        let edge = edges[viewer % edges.len()];
        match viewer / edges.len() % 2 {
            0 => cluster.rtmp(edge, STREAM),
            _ => cluster.http_flv(edge, STREAM),
        }
    };
    (0..viewers).map(url).collect()
}
