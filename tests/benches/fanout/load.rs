//! `headwater load` against a server, and what it says.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use tests::{Process, cluster::program, process::tail};

use crate::{bare::Media, server::Server};

/// How many viewers, of what, for how long.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// Viewers.
    pub viewers: usize,
    /// How many join in a second.
    pub ramp: usize,
    /// What they watch.
    pub media: Media,
    /// How long it is measured.
    pub seconds: u64,
    /// The percentage that stops reading.
    pub stalled: usize,
    /// Viewers leave after so many seconds, and join again; 0: they stay.
    pub stay: u64,
    /// Its thread never sleeps.
    pub awake: bool,
    /// What [`publish`] publishes is watched; otherwise each run has a stream of its own.
    pub standing: bool,
}

/// As much of its result as is used here.
#[derive(Debug, Clone, Deserialize)]
pub struct Found {
    /// All were served, and every frame came once and in order.
    pub whole: bool,
    /// Viewers.
    pub viewers: Viewers,
    /// Times to the first frame.
    pub first_frame_ms: Option<Times>,
    /// Latencies.
    pub latency_ms: Lanes<Option<Times>>,
    /// Frames.
    pub frames: Lanes<Frames>,
    /// Frames that did not come in the end, at viewers who were there to the end.
    pub missing: u64,
    /// Viewers who were not: turned away, or cut before the end, by reason.
    pub ended: BTreeMap<String, u64>,
    /// Viewers that stopped reading.
    pub stalled: Stalled,
    /// The load's own CPU time.
    pub own_cpu: Cpu,
    /// The server's.
    pub server: Cpu,
}

/// Of video and of audio.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Lanes<T> {
    /// Video.
    pub video: T,
    /// Audio.
    pub audio: T,
}

/// Milliseconds.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Times {
    /// The median.
    pub p50: f64,
    /// One in a hundred took longer.
    pub p99: f64,
}

/// Frames of all viewers.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Frames {
    /// Did not come.
    pub lost: u64,
    /// Came late.
    pub out_of_order: u64,
    /// Came again.
    pub repeated: u64,
}

/// Viewers.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Viewers {
    /// Joins.
    pub joins: u64,
}

/// Viewers that stopped reading.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Stalled {
    /// How many.
    pub viewers: u64,
}

/// CPU time and memory.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct Cpu {
    /// In the program.
    pub user_s: f64,
    /// In the kernel.
    pub system_s: f64,
    /// Cores kept busy.
    pub cores: f64,
    /// Of a server: for 10^9 bytes.
    #[serde(default)]
    pub s_per_gb: f64,
    /// Of a server: memory in the end.
    #[serde(default)]
    pub resident_kb: u64,
}

/// Joining and the end take so long beyond the window, on a machine that is at its limit.
const BESIDE: Duration = Duration::from_secs(90);

/// Each run has a stream of its own.
static RUNS: AtomicUsize = AtomicUsize::new(0);
/// But for those that watch this one.
const STANDING: &str = "standing";

/// Publishes one stream of video that outlasts all who watch it. Dropping the process ends it.
pub fn publish(server: &Server, dir: &Path) -> Result<Process> {
    let url = server.publish.as_ref().context("it makes its own stream")?;
    let mut command = program("headwater");
    command.args(["load", &format!("{url}/{STANDING}"), "--publish-only"]);
    Ok(Process::spawn("publisher", dir, command))
}

impl Load {
    /// Viewers of video who stay.
    pub fn of(viewers: usize, media: Media, seconds: u64) -> Self {
        Self { viewers, ramp: 500, media, seconds, stalled: 0, stay: 0, awake: false, standing: false }
    }

    /// Starts it; the server is watched.
    pub fn start(&self, server: &Server, dir: &Path) -> Process {
        let run = RUNS.fetch_add(1, Relaxed);
        let mut command = program("headwater");
        let text = |number: usize| number.to_string();
        match &server.publish {
            Some(_) if self.standing => {
                command.args(["load", &format!("{}/{STANDING}", server.play), "--play-only"]);
            }
            Some(publish) => {
                command.args(["load", &format!("{}/run-{run}", server.play)]);
                command.args(["--publish", &format!("{publish}/run-{run}")]);
            }
            None => {
                command.args(["load", &format!("{}/run.flv", server.play), "--play-only"]);
            }
        }
        command.args(["-n", &text(self.viewers), "--ramp", &text(self.ramp)]);
        command.args(["--seconds", &self.seconds.to_string()]);
        for pid in &server.pids {
            command.args(["--pid", &pid.to_string()]);
        }
        if self.media == Media::Audio && server.publish.is_some() && !self.standing {
            command.arg("--audio-only");
        }
        if self.stalled > 0 {
            command.args(["--stalled", &text(self.stalled)]);
        }
        if self.awake {
            command.arg("--awake");
        }
        if self.stay > 0 {
            command.args(["--stay", &self.stay.to_string()]);
        }
        Process::spawn(&format!("load-{run}"), dir, command)
    }

    /// Runs it to its end.
    pub fn run(&self, server: &Server) -> Result<Found> {
        let dir = tempfile::tempdir()?;
        let process = self.start(server, dir.path());
        self.found(process)
    }

    /// Waits for its end.
    pub fn found(&self, mut process: Process) -> Result<Found> {
        process.wait(Duration::from_secs(self.seconds) + BESIDE + self.joining());
        let text = process.stdout();
        ensure!(!text.is_empty(), "`headwater load` found nothing: {}", tail(&process.stderr()));
        serde_json::from_str(&text).with_context(|| text.clone())
    }

    fn joining(&self) -> Duration {
        Duration::from_secs_f64(self.viewers as f64 / self.ramp as f64)
    }
}

impl Found {
    /// Frames that did not come, came late or came again, and viewers who were not served to the end. 0 says that every
    /// frame came to every viewer.
    pub fn harmed(&self) -> u64 {
        let Lanes { video, audio } = self.frames;
        let of = |frames: Frames| frames.lost + frames.out_of_order + frames.repeated;
        let harmed = of(video) + of(audio) + self.missing + self.ended.values().sum::<u64>();
        // One that waits for its first frame to the end has lost none, and is in no sum.
        harmed.max(u64::from(!self.whole))
    }
}
