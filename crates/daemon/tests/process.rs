//! A real process that lives by `daemon::run`: this program, started again with `SAMPLE_SERVICE` set.

use std::{
    env,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use daemon::{
    Process, Program, Settings,
    admin::{Inspect, Page},
    config::{Config as _, Period},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

daemon::section! {
    /// A service that does nothing.
    struct Config {
        /// Its name.
        node: String = "sample-1".to_owned(),
        /// Where it listens.
        listen: SocketAddr = ([127, 0, 0, 1], 0).into(),
        /// How patient it is.
        patience: Period = Period::from_secs(1),
        /// How long it takes to end.
        end: Period = Period::from_millis(0),
        /// Its process.
        process: Settings = Settings::with_admin_port(0),
    }
}

impl daemon::config::Config for Config {
    const RELOADABLE: &'static [&'static str] = &["patience"];

    fn process(&self) -> &Settings {
        &self.process
    }

    fn node(&self) -> &str {
        &self.node
    }
}

struct Ready;

impl Inspect for Ready {
    fn missing(&self) -> Vec<String> {
        Vec::new()
    }

    fn status(&self) -> Page {
        Page::new("sample")
    }
}

async fn serve(config: Config, mut process: Process<Config>) -> anyhow::Result<()> {
    let listener = daemon::bind("samples", "listen", config.listen)?;
    tracing::info!(address = %listener.local_addr()?, dev = process.dev, "sample.listening");
    process.admin.inspect(Arc::new(Ready));
    if env::var_os("SAMPLE_TALKS").is_some() {
        (0..TALK).for_each(|line| tracing::info!(line, "sample.talks"));
    }
    loop {
        tokio::select! {
            () = process.shutdown.begun() => break,
            new = process.reloads.next() => tracing::info!(patience = %new.patience, "sample.patience"),
        }
    }
    tokio::time::sleep(*config.end).await;
    Ok(())
}

/// So many lines are more than a pipe takes, and more than wait for it.
const TALK: usize = 20_000;

fn main() -> ExitCode {
    if env::var_os("SAMPLE_SERVICE").is_some() {
        assert_eq!(Config::default().node(), "sample-1");
        let program = Program { name: "sample", about: "Does nothing", version: "1.2.3" };
        return daemon::run(program, serve);
    }
    for (name, test) in TESTS {
        println!("test {name}");
        test();
    }
    ExitCode::SUCCESS
}

const TESTS: [(&str, fn()); 8] = [
    ("sigterm_drains_and_ends_well", sigterm_drains_and_ends_well),
    ("second_signal_ends_a_drain_at_once", second_signal_ends_a_drain_at_once),
    ("sighup_applies_what_can_change_and_names_what_cannot", sighup_applies_what_can_change_and_names_what_cannot),
    ("wrong_configuration_is_told_before_anything_starts", wrong_configuration_is_told_before_anything_starts),
    ("taken_port_ends_it_with_advice", taken_port_ends_it_with_advice),
    ("default_configuration_is_printed_and_valid", default_configuration_is_printed_and_valid),
    ("child_ends_with_its_parent_only", child_ends_with_its_parent_only),
    ("log_that_nobody_reads_holds_nobody_up", log_that_nobody_reads_holds_nobody_up),
];

/// The service as a child with its log in a file.
struct Sample {
    child: Child,
    dir: tempfile::TempDir,
}

fn command(dir: &Path) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.env("SAMPLE_SERVICE", "1").arg("--config").arg(dir.join("sample.yaml"));
    command
}

fn directory(yaml: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().expect("a directory");
    fs::write(dir.path().join("sample.yaml"), yaml).expect("written");
    dir
}

impl Sample {
    /// Starts it and waits until it listens.
    fn start(yaml: &str) -> Self {
        let dir = directory(yaml);
        let log = File::create(dir.path().join("log")).expect("a log");
        let child = command(dir.path()).stdout(log).spawn().expect("started");
        let sample = Self { child, dir };
        sample.until_logged("sample.listening");
        sample
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn until_logged(&self, event: &str) {
        until(&format!("{event} in the log"), || self.log().contains(event));
    }

    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("process ids fit");
        kill(Pid::from_raw(pid), signal).expect("it runs");
    }

    fn exit_code(&mut self) -> Option<i32> {
        let mut status = None;
        until("its end", || {
            status = self.child.try_wait().expect("ours to wait for");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("sample.yaml")
    }
}

impl Drop for Sample {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(10));
    }
}

fn sigterm_drains_and_ends_well() {
    let mut sample = Sample::start("node: sample-7\n");
    sample.signal(Signal::SIGTERM);
    assert_eq!(sample.exit_code(), Some(0));
    let log = sample.log();
    for event in ["process.started", "admin.listening", "process.draining", "process.ended"] {
        let line = log.lines().find(|line| line.contains(&format!("\"event\":\"{event}\""))).expect(event);
        assert!(line.starts_with("{\"ts\":\"") && line.contains("\"node\":\"sample-7\""), "{line}");
    }
}

fn second_signal_ends_a_drain_at_once() {
    let mut sample = Sample::start("end: 1h\nprocess:\n  drain: 1h\n");
    sample.signal(Signal::SIGINT);
    sample.until_logged("process.draining");
    sample.signal(Signal::SIGINT);
    assert_eq!(sample.exit_code(), Some(1));
    assert!(sample.log().contains("process.failed"), "{}", sample.log());
}

fn sighup_applies_what_can_change_and_names_what_cannot() {
    let sample = Sample::start("patience: 1s\n");
    fs::write(sample.config(), "patience: 9s\nnode: other\nprocess:\n  log: debug\n").expect("written");
    sample.signal(Signal::SIGHUP);
    sample.until_logged("sample.patience");
    let log = sample.log();
    let line = |event: &str| log.lines().find(|line| line.contains(event)).expect("logged").to_owned();
    assert!(line("config.reloaded").contains("\"changed\":\"patience process.log\""), "{log}");
    assert!(line("config.needs_restart").contains("\"keys\":\"node\""), "{log}");
    assert!(line("sample.patience").contains("9s"), "{log}");
    fs::write(sample.config(), "patince: 9s\n").expect("written");
    sample.signal(Signal::SIGHUP);
    sample.until_logged("config.refused");
    assert!(sample.log().contains("did you mean `patience`?"), "{}", sample.log());
}

fn run_to_end(yaml: &str, args: &[&str]) -> Output {
    let dir = directory(yaml);
    command(dir.path()).args(args).output().expect("started")
}

fn wrong_configuration_is_told_before_anything_starts() {
    let wrong = "lisen: 127.0.0.1:0\npatience: long\n";
    for args in [&[][..], &["--check-config"][..]] {
        let output = run_to_end(wrong, args);
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{text}");
        assert!(text.contains("sample.yaml:1: lisen: unknown key\n    did you mean `listen`?"), "{text}");
        assert!(text.contains("sample.yaml:2: patience: ") && text.contains("2 problems"), "{text}");
        assert!(output.stdout.is_empty());
    }
    let output = run_to_end("patience: 2s\n", &["--check-config"]);
    assert_eq!(output.status.code(), Some(0));
}

fn taken_port_ends_it_with_advice() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("bound");
    let output = run_to_end(&format!("listen: {address}\n"), &[]);
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains(&address.to_string()) && text.contains("HEADWATER_LISTEN"), "{text}");
}

fn default_configuration_is_printed_and_valid() {
    let output = run_to_end("", &["--print-default-config"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("# How patient it is.\npatience: 1s\n"), "{text}");
    assert_eq!(run_to_end(&text, &["--check-config"]).status.code(), Some(0));
}

fn child_ends_with_its_parent_only() {
    let own = std::process::id().to_string();
    let other = run_to_end("", &["--die-with-parent", "1"]);
    assert_eq!(other.status.code(), Some(1), "it is no child of process 1");
    let dir = directory("");
    let log = File::create(dir.path().join("log")).expect("a log");
    let child = command(dir.path()).args(["--die-with-parent", &own]).stdout(log).spawn().expect("started");
    let mut sample = Sample { child, dir };
    sample.until_logged("sample.listening");
    sample.signal(Signal::SIGTERM);
    assert_eq!(sample.exit_code(), Some(0));
}

fn log_that_nobody_reads_holds_nobody_up() {
    let dir = directory("");
    let talking = command(dir.path()).env("SAMPLE_TALKS", "1").stdout(Stdio::piped()).spawn();
    let mut sample = Sample { child: talking.expect("started"), dir };
    let mut log = BufReader::new(sample.child.stdout.take().expect("a pipe"));
    let mut line = String::new();
    while !line.contains("sample.talks") {
        line.clear();
        assert_ne!(log.read_line(&mut line).expect("text"), 0, "it ended");
    }
    sample.signal(Signal::SIGTERM);
    assert_eq!(sample.exit_code(), Some(0));
}
