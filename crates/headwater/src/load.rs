//! Many viewers of one stream, and a publisher whose frames say which they are and when they were sent.
//!
//! ```text
//! Source ──▶ server ──▶ Crowd: threads ──▶ Hall: a Link a viewer ──▶ Viewer ──▶ Wire ──▶ Stamp ──▶ Ledger, Spread
//! (a thread)                                                                                          │
//!                                                        Report ◀── Outcome ◀─────────────────────────╯
//! ```
//!
//! It has to cost less than what it measures: viewers read into one buffer, step over payloads, and keep nothing.

mod crowd;
mod hall;
mod ledger;
mod link;
mod report;
mod shape;
mod source;
mod spread;
mod stamp;
mod usage;
mod viewer;
mod wire;

use std::{net::IpAddr, path::PathBuf, pin::Pin, process::ExitCode, time::Duration};

use anyhow::{Context as _, bail, ensure};
use media::{Scheme, StreamUrl};
use rtmp_net::{client::Options, tls::Trust};
use tokio::{
    net::lookup_host,
    time::{Instant, interval, sleep},
};

use self::{
    crowd::{Crowd, Plan, Target},
    report::{Mark, Report},
    shape::Shape,
    source::Source,
    usage::{Cpu, Usage},
};
use crate::output::{self, Line};

/// `headwater load`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// Where to play: rtmp://HOST[:PORT]/APP/NAME, rtmps://…, or http://HOST:PORT/APP/NAME.flv; viewers take them in turns.
    #[arg(required = true, value_name = "URL")]
    urls: Vec<StreamUrl>,
    /// Where to publish the stream; otherwise to the first URL.
    #[arg(long, value_name = "URL")]
    publish: Option<StreamUrl>,
    /// Publish nothing: another `headwater load` does.
    #[arg(long, conflicts_with_all = ["publish", "publish_only"])]
    play_only: bool,
    /// Only publish, until Ctrl-C or for --seconds.
    #[arg(long, conflicts_with = "publish")]
    publish_only: bool,
    /// How many viewers.
    #[arg(short = 'n', long, value_name = "N", default_value_t = 100)]
    viewers: usize,
    /// How many of them join in a second.
    #[arg(long, value_name = "N", default_value_t = 200.0)]
    ramp: f64,
    /// How long to measure once all have joined; 10 unless only publishing.
    #[arg(long, value_name = "N")]
    seconds: Option<f64>,
    /// How many of a hundred viewers stop reading after their first frame.
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0)]
    stalled: f64,
    /// Viewers leave so many seconds after their first frame, and join again.
    #[arg(long, value_name = "SECONDS")]
    stay: Option<f64>,
    /// The bitrate of what is published, in kbit/s: 2650, or 64 for sound alone.
    #[arg(long, value_name = "N")]
    bitrate: Option<usize>,
    /// Publish sound alone.
    #[arg(long)]
    audio_only: bool,
    /// How many threads look after viewers.
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Those threads never sleep: a server that is measured on the same machine pays nothing for waking them, as it pays
    /// nothing for waking viewers who are elsewhere.
    #[arg(long)]
    awake: bool,
    /// The address that viewers connect from.
    #[arg(long, value_name = "ADDRESS")]
    from: Option<IpAddr>,
    /// A process of the server, on this machine: its CPU time and memory are measured too.
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// Trust the authorities in this PEM file instead of the system's.
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    ca: Option<PathBuf>,
    /// Take any certificate.
    #[arg(long)]
    insecure: bool,
}

const PROGRESS_PERIOD: Duration = Duration::from_millis(500);
/// Between the last join and the measurement: what joining costs is over then.
const SETTLE: Duration = Duration::from_secs(1);
/// How long viewers may take to be served, beyond the ramp.
const JOIN_TIMEOUT: Duration = Duration::from_secs(30);
const SECONDS: f64 = 10.0;
const VIDEO_KBIT: usize = 2650;
const AUDIO_KBIT: usize = 64;

/// Prints the result as JSON. Exit code 1 when a viewer was not served to the end, or a frame did not come once and in order.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    args.validate()?;
    daemon::raise_open_files().context("the limit of open files cannot be raised")?;
    let options = Options { trust: args.trust()?, ..Options::default() };
    let mut interrupted = Box::pin(async {
        // Without the signal's help it goes on to its end.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    });
    let source = match args.play_only {
        true => None,
        false => {
            Some(Source::start(args.publish.as_ref().unwrap_or(&args.urls[0]), options.clone(), args.shape()).await?)
        }
    };
    let before = Usage::of(&args.pid)?;
    let plan = args.plan(options).await?;
    let crowd = Crowd::start(plan, args.threads)?;
    let mut watch = Watch { args: &args, source, crowd, line: Line::new(), since: Instant::now() };
    let joining = Duration::from_secs_f64(args.joiners() as f64 / args.ramp) + JOIN_TIMEOUT;
    let all = args.joiners() as u64;
    let mut going = args.publish_only || watch.until(joining, &mut interrupted, |sum| sum.settled >= all).await;
    going = going && watch.until(SETTLE, &mut interrupted, |_| false).await;
    watch.crowd.measure(true);
    let begin = watch.mark()?;
    if going {
        watch.until(args.window()?, &mut interrupted, |_| false).await;
    }
    let end = watch.mark()?;
    watch.crowd.measure(false);
    let Watch { source, crowd, line, .. } = watch;
    drop(line);
    let outcome = crowd.end(source.as_ref().map(Source::ends).unwrap_or_default()).await?;
    let publisher = match source {
        Some(source) => Some(source.end().await?),
        None => None,
    };
    let report = Report::new(args.joiners(), before.resident_kb, [&begin, &end], &outcome, publisher);
    output::print(&format!("{}\n", serde_json::to_string_pretty(&report)?))?;
    Ok(if report.whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What goes on, and how it is looked at.
struct Watch<'a> {
    args: &'a Args,
    source: Option<Source>,
    crowd: Crowd,
    line: Line,
    since: Instant,
}

impl Watch<'_> {
    /// Goes on for this long, or until something holds; false when it was interrupted.
    async fn until(
        &mut self,
        most: Duration,
        interrupted: &mut Pin<Box<impl Future<Output = ()>>>,
        holds: impl Fn(&crowd::Sum) -> bool,
    ) -> bool {
        let over = sleep(most);
        let mut tick = interval(PROGRESS_PERIOD / 10);
        let mut ticks = 0;
        tokio::pin!(over);
        loop {
            tokio::select! {
                () = &mut over => return true,
                () = &mut *interrupted => return false,
                _ = tick.tick() => {}
            }
            let sum = self.crowd.sum();
            if holds(&sum) {
                return true;
            }
            if ticks % 10 == 0 {
                let seconds = self.since.elapsed().as_secs_f64();
                let source = self.source.as_ref().map(Source::progress).unwrap_or_default();
                let (up, asked) = (sum.up, self.args.joiners());
                let text =
                    format!("{seconds:6.1} s  {up} of {asked} up  {} frames  {} lost  {source}", sum.frames, sum.lost);
                self.line.show(&text);
            }
            ticks += 1;
        }
    }

    fn mark(&self) -> anyhow::Result<Mark> {
        let server = if self.args.pid.is_empty() { None } else { Some(Usage::of(&self.args.pid)?) };
        Ok(Mark { at: std::time::Instant::now(), sum: self.crowd.sum(), own: Cpu::own()?, server })
    }
}

impl Args {
    fn validate(&self) -> anyhow::Result<()> {
        ensure!(self.ramp.is_finite() && self.ramp > 0.0, "--ramp is no number of joins a second");
        ensure!((0.0..=100.0).contains(&self.stalled), "--stalled is a share of a hundred");
        ensure!(self.threads > 0, "--threads must be above 0");
        let to = self.publish.as_ref().unwrap_or(&self.urls[0]);
        if !self.play_only && to.scheme == Scheme::Http {
            bail!("{to} cannot be published to: name an RTMP URL with --publish, or use --play-only");
        }
        Ok(())
    }

    fn shape(&self) -> Shape {
        match self.audio_only {
            true => Shape::audio(self.bitrate.unwrap_or(AUDIO_KBIT)),
            false => Shape::video(self.bitrate.unwrap_or(VIDEO_KBIT)),
        }
    }

    /// Viewers, unless there are to be none.
    fn joiners(&self) -> usize {
        if self.publish_only { 0 } else { self.viewers }
    }

    fn window(&self) -> anyhow::Result<Duration> {
        match self.seconds {
            None if self.publish_only => Ok(Duration::MAX),
            seconds => {
                Duration::try_from_secs_f64(seconds.unwrap_or(SECONDS)).context("--seconds is no length of time")
            }
        }
    }

    fn trust(&self) -> anyhow::Result<Option<Trust>> {
        match (&self.ca, self.insecure) {
            (Some(file), _) => Ok(Some(Trust::authorities(file)?)),
            (None, true) => Ok(Some(Trust::anybody()?)),
            (None, false) => Ok(None),
        }
    }

    async fn plan(&self, options: Options) -> anyhow::Result<Plan> {
        let mut targets = Vec::new();
        for url in &self.urls {
            let mut found = lookup_host((url.host.as_str(), url.port))
                .await
                .with_context(|| format!("{} is not known", url.host))?;
            let address = found.next().with_context(|| format!("{} has no address", url.host))?;
            targets.push(Target { url: url.clone(), address });
        }
        let stay = self.stay.map(Duration::try_from_secs_f64).transpose().context("--stay is no length of time")?;
        let (viewers, ramp, stalled, from) = (self.joiners(), self.ramp, self.stalled / 100.0, self.from);
        Ok(Plan { targets, options, from, viewers, ramp, stalled, stay, awake: self.awake })
    }
}
