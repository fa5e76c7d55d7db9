//! `headwater dev` with services that only live: this program, started again under their names.

use std::{
    env, fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Path, PathBuf},
    process::{Child, Command, ExitCode, Output, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use daemon::{
    Process, Program, Settings,
    admin::{Inspect, Page},
};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

const SERVICES: [&str; 3] = ["headwater-control-plane", "headwater-origin", "headwater-edge"];
const NODES: [&str; 5] = ["control-plane", "origin-1", "origin-2", "edge-1", "edge-2"];

daemon::section! {
    /// Takes what any of the services takes, and does nothing with it.
    struct Config {
        /// Its name.
        node: String = String::new(),
        /// As in the services.
        listen: Value = Value::Null,
        /// As in the services.
        pools: Value = Value::Null,
        /// As in the services.
        public: Value = Value::Null,
        /// As in the services.
        peer: Value = Value::Null,
        /// As in the services.
        rtmp: Value = Value::Null,
        /// As in the services.
        http: Value = Value::Null,
        /// As in the services.
        routes: Value = Value::Null,
        /// As in the services.
        control_plane: Value = Value::Null,
        /// As in the services.
        tokens: Value = Value::Null,
        /// As in the services.
        data_dir: Value = Value::Null,
        /// The process.
        process: Settings = Settings::default(),
    }
}

impl daemon::config::Config for Config {
    const RELOADABLE: &'static [&'static str] = &[];

    fn process(&self) -> &Settings {
        &self.process
    }

    fn node(&self) -> &str {
        &self.node
    }
}

/// `origin-1` is active.
struct Fake(String);

impl Inspect for Fake {
    fn missing(&self) -> Vec<String> {
        Vec::new()
    }

    fn active_epoch(&self) -> Option<u64> {
        (self.0 == "origin-1").then_some(1)
    }

    fn status(&self) -> Page {
        Page::new(&self.0).facts("Node", [("name", self.0.as_str())])
    }
}

async fn serve(config: Config, process: Process<Config>) -> anyhow::Result<()> {
    anyhow::ensure!(process.dev, "a laptop's services are started with --dev");
    let broken = env::var("FAKE_BROKEN").unwrap_or_default();
    anyhow::ensure!(config.node != broken, "{broken} is broken on purpose");
    process.admin.inspect(Arc::new(Fake(config.node)));
    process.shutdown.begun().await;
    Ok(())
}

fn main() -> ExitCode {
    let name = env::args().next().unwrap_or_default();
    let name = Path::new(&name).file_name().and_then(|name| name.to_str()).unwrap_or_default();
    if let Some(name) = SERVICES.iter().find(|service| **service == name) {
        return daemon::run(Program { name, about: "Only lives", version: "0" }, serve);
    }
    for (name, test) in TESTS {
        println!("test {name}");
        test();
    }
    ExitCode::SUCCESS
}

const TESTS: [(&str, fn()); 5] = [
    ("ready_cluster_is_described_and_ends_in_order", ready_cluster_is_described_and_ends_in_order),
    ("dead_process_is_told_left_dead_and_brought_back", dead_process_is_told_left_dead_and_brought_back),
    ("living_process_is_restarted_too", living_process_is_restarted_too),
    ("processes_end_when_dev_is_killed", processes_end_when_dev_is_killed),
    (
        "process_that_cannot_start_ends_the_cluster_with_its_log",
        process_that_cannot_start_ends_the_cluster_with_its_log,
    ),
];

/// `headwater dev` on free ports in a directory of its own.
struct Dev {
    child: Child,
    dir: tempfile::TempDir,
}

fn headwater() -> Command {
    Command::new(env!("CARGO_BIN_EXE_headwater"))
}

impl Dev {
    fn spawn(broken: &str) -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        for service in SERVICES {
            symlink(env::current_exe().expect("this program"), dir.path().join(service)).expect("linked");
        }
        let file = |name: &str| fs::File::create(dir.path().join(name)).expect("a file");
        let child = headwater()
            .args(["dev", "--ports", "free", "--dir"])
            .arg(dir.path().join("cluster"))
            .arg("--bin-dir")
            .arg(dir.path())
            .env("FAKE_BROKEN", broken)
            .stdin(Stdio::null())
            .stdout(file("out"))
            .stderr(file("err"))
            .spawn()
            .expect("started");
        Self { child, dir }
    }

    /// Starts one and waits for its `ready`.
    fn start() -> Self {
        let mut dev = Self::spawn("");
        until("ready", || {
            assert!(dev.child.try_wait().expect("ours").is_none(), "it ended: {}", dev.text("err"));
            dev.text("out").lines().any(|line| line == "ready")
        });
        dev
    }

    fn cluster(&self) -> PathBuf {
        self.dir.path().join("cluster")
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap_or_default()
    }

    fn description(&self) -> Value {
        serde_json::from_str(&self.text("cluster/cluster.json")).expect("cluster.json is JSON")
    }

    fn pid(&self, node: &str) -> i32 {
        self.text(&format!("cluster/{node}.pid")).trim().parse().expect("a process id")
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.child.id()).expect("it fits")), signal).expect("it runs");
    }

    fn restart(&self, node: &str) -> Output {
        headwater().args(["dev", "restart", node, "--dir"]).arg(self.cluster()).output().expect("started")
    }

    fn end(&mut self) -> Option<i32> {
        let mut status = None;
        until("its end", || {
            status = self.child.try_wait().expect("ours to wait for");
            status.is_some()
        });
        status.and_then(|status| status.code())
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[track_caller]
fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

/// The process's parent, while it runs.
fn parent(pid: i32) -> Option<i32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut after_name = stat.rsplit(')').next()?.split_whitespace();
    let state = after_name.next()?;
    (state != "Z").then(|| after_name.next()?.parse().ok()).flatten()
}

fn status_of(admin: &str) -> Option<String> {
    let address: SocketAddr = admin.parse().ok()?;
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()?;
    stream.write_all(b"GET /readyz HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1).map(str::to_owned)
}

fn ready_cluster_is_described_and_ends_in_order() {
    let mut dev = Dev::start();
    let description = dev.description();
    for node in NODES {
        let about = &description["nodes"][node];
        assert_eq!(status_of(about["admin"].as_str().expect("an address")).as_deref(), Some("200"), "{node}");
        assert_eq!(parent(dev.pid(node)), i32::try_from(dev.child.id()).ok(), "{node}");
        assert!(dev.text(&format!("cluster/{node}.log")).contains("process.started"), "{node}");
        let has = |port: &str| about[port].is_string();
        let edge = node.starts_with("edge");
        assert!(has("grpc") && has("rtmp") == (node != "control-plane") && has("http") == edge, "{about}");
    }
    for kind in ["operator", "viewer-ops", "control", "origin", "edge"] {
        let file = fs::metadata(dev.cluster().join("tokens").join(kind)).expect("a token");
        assert_eq!(file.permissions().mode() & 0o777, 0o600, "{kind}");
    }
    let out = dev.text("out");
    let rtmp = description["nodes"]["edge-1"]["rtmp"].as_str().expect("an address");
    assert!(out.contains(&format!("Server rtmp://{rtmp}/live")) && out.contains("ffplay"), "{out}");

    let mut second = headwater();
    second.args(["dev", "--ports", "free", "--dir"]).arg(dev.cluster()).arg("--bin-dir").arg(dev.dir.path());
    let second = second.output().expect("started");
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another `headwater dev` runs"), "{second:?}");

    let status = headwater().args(["status", "--dir"]).arg(dev.cluster()).output().expect("started");
    let text = String::from_utf8_lossy(&status.stdout);
    assert!(status.status.success() && NODES.iter().all(|node| text.contains(node)), "{text}");

    let pids = NODES.map(|node| dev.pid(node));
    dev.signal(Signal::SIGTERM);
    assert_eq!(dev.end(), Some(0));
    assert!(pids.iter().all(|pid| parent(*pid).is_none()));
    assert!(NODES.iter().all(|node| dev.text(&format!("cluster/{node}.log")).contains("process.ended")));
}

fn dead_process_is_told_left_dead_and_brought_back() {
    let dev = Dev::start();
    let before = dev.pid("edge-2");
    kill(Pid::from_raw(before), Signal::SIGKILL).expect("it runs");
    until("word of the death", || {
        dev.text("err").lines().any(|line| line.contains("edge-2") && line.contains(&before.to_string()))
    });
    assert_eq!(dev.pid("edge-2"), before, "it is left dead");
    let status = headwater().args(["status", "--dir"]).arg(dev.cluster()).output().expect("started");
    assert_eq!(status.status.code(), Some(1), "a node does not answer");

    let restarted = dev.restart("edge-2");
    assert!(restarted.status.success(), "{restarted:?}");
    let after = dev.pid("edge-2");
    assert_ne!(before, after);
    assert_eq!(parent(after), i32::try_from(dev.child.id()).ok(), "it ends with the running dev");
    let unknown = dev.restart("edge-9");
    assert!(String::from_utf8_lossy(&unknown.stderr).contains("control-plane, origin-1"), "{unknown:?}");
}

fn living_process_is_restarted_too() {
    let dev = Dev::start();
    let before = dev.pid("control-plane");
    let restarted = dev.restart("control-plane");
    assert!(restarted.status.success(), "{restarted:?}");
    assert_eq!(parent(before), None);
    assert!(parent(dev.pid("control-plane")).is_some());
}

fn processes_end_when_dev_is_killed() {
    let dev = Dev::start();
    let pids = NODES.map(|node| dev.pid(node));
    dev.signal(Signal::SIGKILL);
    until("the end of all", || pids.iter().all(|pid| parent(*pid).is_none()));
}

fn process_that_cannot_start_ends_the_cluster_with_its_log() {
    let mut dev = Dev::spawn("origin-2");
    assert_eq!(dev.end(), Some(1));
    let err = dev.text("err");
    assert!(err.contains("origin-2 cannot start") && err.contains("broken on purpose"), "{err}");
    assert!(!dev.text("out").lines().any(|line| line == "ready"));
}
