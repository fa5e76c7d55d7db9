//! A process from its command line to its exit code.

use std::{future::Future, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use anyhow::Context as _;
use clap::{CommandFactory as _, FromArgMatches as _};
use telemetry::{
    logs::{self, LogControl, Logs},
    metrics::Registry,
    process::{Build, Process as ProcessMetrics},
};

use crate::{
    BindError, Shutdown,
    admin::Admin,
    config::{self, Config},
    limits, parent,
    reload::{Reloader, Reloads},
    signals::Signals,
};

/// The exit code of a wrong command line or configuration.
const EXIT_CONFIG: u8 = 2;
/// How long a service may outlive its drain's deadline before it is given up.
const OVERTIME: Duration = Duration::from_secs(2);

/// What a binary is called and does.
#[derive(Clone, Copy, Debug)]
pub struct Program {
    /// The binary's name, e.g. `headwater-edge`.
    pub name: &'static str,
    /// One line for `--help`.
    pub about: &'static str,
    /// `env!("CARGO_PKG_VERSION")`.
    pub version: &'static str,
}

/// The command line of a service.
#[derive(clap::Parser, Clone, Debug, Default)]
pub struct Args {
    /// The YAML file; without it the defaults and the environment (HEADWATER_SECTION__KEY) are all there is.
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Check the configuration, say all that is wrong with it, and end.
    #[arg(long)]
    pub check_config: bool,
    /// Print the default configuration with its documentation as YAML, and end.
    #[arg(long)]
    pub print_default_config: bool,
    /// For a cluster on one machine only: publishing is open, and a loopback caller without a token is an operator.
    #[arg(long)]
    pub dev: bool,
    /// End at once when this process, which started this one, ends.
    #[arg(long, value_name = "PID", hide = true)]
    pub die_with_parent: Option<i32>,
}

/// What a service has from its process.
#[derive(Clone, Debug)]
pub struct Process<C> {
    /// True under `--dev`.
    pub dev: bool,
    /// Where the service registers its metrics.
    pub metrics: Registry,
    /// Changes the log's level.
    pub logs: LogControl,
    /// Says when to end.
    pub shutdown: Shutdown,
    /// The admin port: give it the service's [`crate::admin::Inspect`] as soon as there is one.
    pub admin: Admin,
    /// Configurations that come by SIGHUP.
    pub reloads: Reloads<C>,
}

impl<C> Process<C> {
    /// For tests of services, as under `--dev`: nobody sends it a signal, and nobody answers at its admin port. Call it
    /// inside a tokio runtime.
    pub fn detached(config: C) -> Result<Self, BindError> {
        let (metrics, shutdown) = (Registry::new(), Shutdown::new(Duration::from_secs(10)));
        let any = ([127, 0, 0, 1], 0).into();
        let (admin, _not_run) = Admin::bind("detached", any, metrics.clone(), shutdown.clone())?;
        let (_no_more, reloads) = Reloads::channel(config);
        Ok(Self { dev: true, metrics, logs: LogControl::detached(), shutdown, admin, reloads })
    }
}

/// Runs a service: command line, config, telemetry, admin port, signals; then `serve` until it returns.
///
/// `serve` binds its ports first, runs until [`Process::shutdown`] begins, drains until it expires, and returns. It does
/// so too when one of its [`Tasks`](crate::Tasks) has ended, and fails then. The exit code is 0 after a drain, 1 when
/// `serve` failed, 2 when the configuration is wrong.
pub fn run<C, F, S>(program: Program, serve: S) -> ExitCode
where
    C: Config + Send + Sync + 'static,
    F: Future<Output = anyhow::Result<()>>,
    S: FnOnce(C, Process<C>) -> F,
{
    let args = arguments(program);
    if args.print_default_config {
        print!("{}", config::default_document::<C>());
        return ExitCode::SUCCESS;
    }
    let config: C = match config::load(args.config.as_deref()) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    if args.check_config {
        println!("{} is a valid configuration", args.config.as_deref().unwrap_or("(defaults)".as_ref()).display());
        return ExitCode::SUCCESS;
    }
    match live(program, args, config, serve) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {}", program.name, explain(&error));
            ExitCode::FAILURE
        }
    }
}

/// Makes `ring` the process's TLS provider: the first thing of every `main`, and done by [`run`].
pub fn install_crypto() {
    // An error means that one is installed already, which is what is wanted.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// An error and what caused it, as one line for people; what a cause repeats of the text before it is said once.
pub fn explain(error: &anyhow::Error) -> String {
    let mut text = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

fn arguments(program: Program) -> Args {
    let command = Args::command().name(program.name).about(program.about).version(program.version);
    Args::from_arg_matches(&command.get_matches()).unwrap_or_else(|error| error.exit())
}

fn live<C, F, S>(program: Program, args: Args, config: C, serve: S) -> anyhow::Result<()>
where
    C: Config + Send + Sync + 'static,
    F: Future<Output = anyhow::Result<()>>,
    S: FnOnce(C, Process<C>) -> F,
{
    install_crypto();
    if let Some(pid) = args.die_with_parent {
        parent::die_with(pid)?;
    }
    let open_files = limits::raise_open_files().context("cannot raise the limit of open files")?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let outcome = runtime.block_on(async {
        let logs = start_logs(program, &config)?;
        let build = Build { version: program.version, commit: option_env!("HEADWATER_COMMIT").unwrap_or("unknown") };
        tracing::info!(
            service = program.name,
            version = build.version,
            commit = build.commit,
            config = args.config.as_deref().map(|file| file.display().to_string()).unwrap_or_default(),
            open_files,
            dev = args.dev,
            "process.started"
        );
        let outcome = lifetime(program, build, args, config, &logs, serve).await;
        if let Err(error) = &outcome {
            tracing::error!(error = explain(error), "process.failed");
        }
        outcome
    });
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

fn start_logs<C: Config>(program: Program, config: &C) -> anyhow::Result<Logs> {
    let settings = config.process();
    let options = logs::Options {
        service: program.name.to_owned(),
        level: settings.log.clone(),
        format: settings.log_format,
        output: logs::Output::Stdout,
        otlp_endpoint: settings.otlp_endpoint.clone(),
        fields: vec![("node", config.node().to_owned())],
    };
    logs::init(options).context("process.log and process.otlp_endpoint")
}

async fn lifetime<C, F, S>(
    program: Program,
    build: Build,
    args: Args,
    config: C,
    logs: &Logs,
    serve: S,
) -> anyhow::Result<()>
where
    C: Config + Send + Sync + 'static,
    F: Future<Output = anyhow::Result<()>>,
    S: FnOnce(C, Process<C>) -> F,
{
    let metrics = Registry::new();
    let own = ProcessMetrics::register(&metrics, build);
    logs.register(&metrics);
    let shutdown = Shutdown::new(*config.process().drain);
    let signals = Signals::listen().context("cannot listen to signals")?;
    let (admin, server) = Admin::bind(program.name, config.process().admin, metrics.clone(), shutdown.clone())?;
    let (sender, reloads) = Reloads::channel(config.clone());
    let started = Arc::new(config.clone());
    let reloader = Reloader { file: args.config, started, sender, logs: logs.control() };
    let process = Process { dev: args.dev, metrics, logs: logs.control(), shutdown: shutdown.clone(), admin, reloads };
    let serve = serve(config, process);
    let overtime = async {
        shutdown.expired().await;
        tokio::time::sleep(OVERTIME).await;
    };
    let outcome = tokio::select! {
        outcome = serve => outcome,
        () = overtime => Err(anyhow::anyhow!("it did not end within its drain's deadline; what was left was cut")),
        () = signals.handle(shutdown.clone(), reloader) => unreachable!("it handles signals for ever"),
        () = server.run() => unreachable!("it serves for ever"),
        () = own.watch_lag() => unreachable!("it measures for ever"),
    };
    if outcome.is_ok() {
        tracing::info!(reason = shutdown.reason().unwrap_or("done"), "process.ended");
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cause_that_is_in_the_text_already_is_said_once() {
        let cause = std::io::Error::other("disk on fire");
        let error = anyhow::Error::new(cause).context("cannot write: disk on fire").context("no snapshot");
        assert_eq!(explain(&error), "no snapshot: cannot write: disk on fire");
    }
}
