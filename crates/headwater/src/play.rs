//! A viewer that says what it saw.

mod report;
mod source;

use std::{
    fs::File,
    io::{self, BufWriter, Write as _},
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail};
use media::{MediaMessage, StreamUrl, flv};
use tokio::time::{interval, sleep};

use self::{report::Report, source::Source};
use crate::output::{self, Line};

/// `headwater play`
#[derive(clap::Args, Debug)]
pub struct Args {
    /// The stream: rtmp://HOST[:PORT]/APP/NAME, rtmps://…, or http://HOST:PORT/APP/NAME.flv
    url: StreamUrl,
    /// Write what comes to this FLV file.
    #[arg(long, value_name = "FILE.flv")]
    out: Option<PathBuf>,
    /// Stop after so many seconds; otherwise when the stream ends.
    #[arg(long, value_name = "N")]
    seconds: Option<f64>,
    /// Print the result as JSON.
    #[arg(long)]
    json: bool,
}

/// How often the progress line is written.
const PROGRESS_PERIOD: Duration = Duration::from_millis(500);

/// Plays until the stream ends, the time is up or Ctrl-C. Exit code 1 when no frame came.
pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let limit = match args.seconds {
        Some(seconds) => Duration::try_from_secs_f64(seconds).context("--seconds is no length of time")?,
        None => Duration::MAX,
    };
    let mut out = args.out.as_deref().map(Recording::create).transpose()?;
    let mut report = Report::new(Instant::now());
    let ended = watch(&args.url, limit, &mut report, &mut out).await;
    if let Some(out) = out {
        out.finish()?;
    }
    let ended = match ended {
        Ok(ended) => ended,
        Err(error) if report.has_frames() => {
            eprintln!("headwater: {}", daemon::explain(&error));
            "failed"
        }
        Err(error) => return Err(error),
    };
    let summary = report.summary(ended, Instant::now());
    match args.json {
        true => output::print(&format!("{}\n", serde_json::to_string(&summary)?))?,
        false => output::print(&summary.text())?,
    }
    let whole = report.has_frames() && ended != "failed";
    Ok(if whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Returns why it ended.
async fn watch(
    url: &StreamUrl,
    limit: Duration,
    report: &mut Report,
    out: &mut Option<Recording>,
) -> anyhow::Result<&'static str> {
    let mut line = Line::new();
    let mut tick = interval(PROGRESS_PERIOD);
    let time_is_up = sleep(limit);
    let interrupted = tokio::signal::ctrl_c();
    tokio::pin!(time_is_up, interrupted);
    let mut source = tokio::select! {
        source = Source::open(url) => source.with_context(|| format!("cannot play {url}"))?,
        () = &mut time_is_up => return Ok("time_is_up"),
        _ = &mut interrupted => return Ok("interrupted"),
    };
    loop {
        tokio::select! {
            message = source.next() => match message.with_context(|| format!("playing {url} failed"))? {
                Some(message) => {
                    report.on_message(&message, Instant::now());
                    if let Some(out) = out {
                        out.write(&message)?;
                    }
                }
                None => return Ok("stream_ended"),
            },
            _ = tick.tick() => line.show(&report.progress(Instant::now())),
            () = &mut time_is_up => {
                source.close().await;
                return Ok("time_is_up");
            }
            _ = &mut interrupted => {
                source.close().await;
                return Ok("interrupted");
            }
        }
    }
}

/// An FLV file that is being written.
struct Recording {
    path: PathBuf,
    file: BufWriter<File>,
}

impl Recording {
    fn create(path: &std::path::Path) -> anyhow::Result<Self> {
        let mut file = BufWriter::new(File::create(path).with_context(|| format!("cannot write {}", path.display()))?);
        file.write_all(&flv::FILE_HEADER)?;
        Ok(Self { path: path.to_owned(), file })
    }

    fn write(&mut self, message: &MediaMessage) -> anyhow::Result<()> {
        let len = message.payload.len();
        if len > flv::BODY_BYTES_MAX {
            bail!("a message of {len} bytes does not fit into FLV");
        }
        let written = self
            .file
            .write_all(&flv::tag_header(message.medium, message.timestamp, len))
            .and_then(|()| self.file.write_all(&message.payload))
            .and_then(|()| self.file.write_all(&flv::tag_trailer(len)));
        self.whole(written)
    }

    fn finish(mut self) -> anyhow::Result<()> {
        let flushed = self.file.flush();
        self.whole(flushed)
    }

    fn whole(&self, written: io::Result<()>) -> anyhow::Result<()> {
        written.with_context(|| format!("cannot write {}", self.path.display()))
    }
}
