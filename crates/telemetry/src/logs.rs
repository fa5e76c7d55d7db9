//! Logs: events with fields, as text for a person and as JSON lines for a machine.

mod json;
mod level;

use std::{
    io::{self, IsTerminal, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tracing_appender::non_blocking::{ErrorCounter, NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer, Registry, fmt, layer::SubscriberExt as _, reload, util::SubscriberInitExt as _,
};

pub use level::{LevelError, LogControl};

use crate::{metrics::Registry as Metrics, traces};

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Text when the output is a terminal, JSON otherwise.
    #[default]
    Auto,
    /// Text for people.
    Text,
    /// One JSON object a line: ts, level, event, then the fields.
    Json,
}

/// Where log lines go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Output {
    /// Standard output: services.
    #[default]
    Stdout,
    /// Standard error: programs whose standard output is their result.
    Stderr,
}

/// What [`init`] sets up.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The program's name: the service name of exported traces.
    pub service: String,
    /// The level, or directives such as `info,rtmp_net=debug`. Empty means `info`.
    pub level: String,
    /// How lines look.
    pub format: Format,
    /// Where they go.
    pub output: Output,
    /// Where spans are sent by OTLP over gRPC, e.g. `http://127.0.0.1:4317`; none are made otherwise.
    pub otlp_endpoint: Option<String>,
    /// Fields that every JSON line carries, e.g. the node's name.
    pub fields: Vec<(&'static str, String)>,
}

/// Why logging could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The level cannot be read.
    #[error(transparent)]
    Level(#[from] LevelError),
    /// The trace exporter cannot be made.
    #[error("cannot export traces to {endpoint}: {reason}")]
    Traces {
        /// The endpoint as configured.
        endpoint: String,
        /// What the exporter says.
        reason: String,
    },
    /// This process has a subscriber already.
    #[error("logging is set up already")]
    Twice,
}

/// Logging that is on. Dropping it writes what lines are left, as far as that takes no longer than a second, and sends what
/// spans are left; later ones are lost.
#[derive(Debug)]
pub struct Logs {
    control: LogControl,
    traces: Option<traces::Exporter>,
    dropped: ErrorCounter,
    failed: Arc<AtomicU64>,
    writing: Option<WorkerGuard>,
}

/// Lines that wait to be written, at most. A disk that is busy, or a pipe that nobody reads, makes no task wait: lines
/// beyond these are dropped, and counted.
const LINES_MAX: usize = 10_000;
/// However stuck the output is, the end of the process waits no longer than this.
const LAST_LINES_WITHIN: Duration = Duration::from_secs(2);

impl Logs {
    /// The handle that changes the level.
    pub fn control(&self) -> LogControl {
        self.control.clone()
    }

    /// Shows how many lines were lost: nobody took them in time, or they could not be written.
    pub fn register(&self, metrics: &Metrics) {
        let (dropped, failed) = (self.dropped.clone(), self.failed.clone());
        metrics.collect(move |samples| {
            let lines = [("late", dropped.dropped_lines() as u64), ("error", failed.load(Ordering::Relaxed))];
            for (reason, lines) in lines {
                let help = "Log lines that nobody took in time, or that could not be written.";
                samples.counter("log_lines_dropped_total", help, &[("reason", reason)], lines);
            }
        });
    }
}

impl Drop for Logs {
    fn drop(&mut self) {
        if let Some(traces) = self.traces.take() {
            traces.flush();
        }
        if let Some(writing) = self.writing.take() {
            let (done, written) = mpsc::channel();
            // The guard has a bound of its own for the last lines, but says on the same output that it is over.
            thread::spawn(move || {
                drop(writing);
                done.send(())
            });
            // An error is a bound that was reached: nobody reads what was written.
            let _ = written.recv_timeout(LAST_LINES_WITHIN);
        }
    }
}

/// Sets up logs and traces for the whole process, once. With an OTLP endpoint it must run inside a tokio runtime.
pub fn init(options: Options) -> Result<Logs, InitError> {
    let filter = level::parse(&options.level)?;
    let (filter, handle) = reload::Layer::<EnvFilter, Registry>::new(filter);
    let (exporter, spans) = match &options.otlp_endpoint {
        Some(endpoint) => {
            let exporter = traces::Exporter::new(&options.service, endpoint)
                .map_err(|reason| InitError::Traces { endpoint: endpoint.clone(), reason })?;
            let layer = exporter.layer();
            (Some(exporter), Some(layer))
        }
        None => (None, None),
    };
    let failed = Arc::default();
    let ((writer, guard), terminal) = match options.output {
        Output::Stdout => (apart(io::stdout(), &failed), io::stdout().is_terminal()),
        Output::Stderr => (apart(io::stderr(), &failed), io::stderr().is_terminal()),
    };
    let dropped = writer.error_counter();
    let lines = lines(&options, writer, terminal);
    let subscriber = Registry::default().with(filter).with(lines).with(spans);
    subscriber.try_init().map_err(|_| InitError::Twice)?;
    Ok(Logs {
        control: LogControl::new(handle, options.level),
        traces: exporter,
        dropped,
        failed,
        writing: Some(guard),
    })
}

/// Written to by a thread of its own.
fn apart(output: impl Write + Send + 'static, failed: &Arc<AtomicU64>) -> (NonBlocking, WorkerGuard) {
    let output = Counted { output, failed: failed.clone() };
    NonBlockingBuilder::default().lossy(true).buffered_lines_limit(LINES_MAX).thread_name("logs").finish(output)
}

/// An output whose failures are counted: its thread tells nobody of them.
struct Counted<W> {
    output: W,
    failed: Arc<AtomicU64>,
}

impl<W: Write> Counted<W> {
    fn counted<T>(&self, outcome: io::Result<T>) -> io::Result<T> {
        // One that was interrupted is tried again.
        if outcome.as_ref().is_err_and(|error| error.kind() != io::ErrorKind::Interrupted) {
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        outcome
    }
}

impl<W: Write> Write for Counted<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let outcome = self.output.write(line);
        self.counted(outcome)
    }

    fn flush(&mut self) -> io::Result<()> {
        let outcome = self.output.flush();
        self.counted(outcome)
    }
}

/// Checks a level as [`init`] would, without setting it.
pub fn check_level(directives: &str) -> Result<(), LevelError> {
    level::parse(directives).map(drop)
}

fn lines<S, W>(options: &Options, writer: W, terminal: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: tracing::Subscriber + for<'a> tracing_subscriber::registry::LookupSpan<'a> + Send + Sync,
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let json = options.format == Format::Json || options.format == Format::Auto && !terminal;
    if json {
        let events = json::Events::new(options.fields.clone());
        fmt::layer().fmt_fields(fmt::format::JsonFields::new()).event_format(events).with_writer(writer).boxed()
    } else {
        fmt::layer().with_ansi(terminal).with_target(false).with_writer(writer).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Full;

    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::StorageFull.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_cannot_be_written_are_counted() {
        let failed = Arc::default();
        let (mut writer, guard) = apart(Full, &failed);
        for _ in 0..3 {
            writer.write_all(b"a line\n").unwrap();
        }
        drop(guard);
        assert_eq!(failed.load(Ordering::Relaxed), 3);
    }
}
