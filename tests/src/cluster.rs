//! A laptop cluster: `headwater dev` with the built programs.

use std::{
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::{
    Process,
    added::Added,
    grpc::Grpc,
    hosts::Hosts,
    http,
    network::Network,
    process, programs,
    tools::arg,
    wait::{self, SOON, until},
};

/// How long a cluster may take to be ready.
const READY: Duration = Duration::from_secs(60);
/// How long its processes may take to be gone.
const GONE: Duration = Duration::from_secs(30);

/// The names of its processes.
pub const NODES: [&str; 5] = ["control-plane", "origin-1", "origin-2", "edge-1", "edge-2"];

/// A running cluster in a directory of its own. Everything in it ends when it is dropped.
pub struct Cluster {
    runner: Runner,
    /// Beside the runner's.
    pub(crate) added: Added,
    pub(crate) info: Value,
    dir: Option<TempDir>,
    /// Given back last, when everything has ended.
    _turn: Turn,
}

/// Who started the processes.
enum Runner {
    /// `headwater dev`, on loopback.
    Dev(Process),
    /// The test, each on a host of its own.
    Hosts(Hosts),
}

/// Whether other tests of this process may run clusters meanwhile.
#[expect(dead_code, reason = "held, not read")]
enum Turn {
    Shared(RwLockReadGuard<'static, ()>),
    Alone(RwLockWriteGuard<'static, ()>),
}

static TURNS: RwLock<()> = RwLock::new(());

impl Cluster {
    /// Starts one on free ports and waits until it says `ready`.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_in(Turn::Shared(TURNS.read().unwrap_or_else(PoisonError::into_inner)))
    }

    /// The same while no other test has a cluster: for one that needs the machine's whole power.
    #[track_caller]
    pub fn start_alone() -> Self {
        Self::start_in(Turn::Alone(TURNS.write().unwrap_or_else(PoisonError::into_inner)))
    }

    #[track_caller]
    fn start_in(turn: Turn) -> Self {
        let dir = tempfile::Builder::new().prefix("headwater-e2e-").tempdir().expect("a temporary directory");
        let mut command = program("headwater");
        command.args(["dev", "--ports", "free", "--dir", arg(&dir.path().join("cluster"))]);
        let mut dev = Process::spawn("dev", dir.path(), command);
        until("`headwater dev` to say ready", READY, || {
            dev.assert_running();
            dev.stdout().lines().any(|line| line.trim() == "ready").then_some(())
        });
        let text =
            std::fs::read_to_string(dir.path().join("cluster/cluster.json")).expect("a ready cluster has cluster.json");
        let info = serde_json::from_str(&text).expect("cluster.json is JSON");
        Self { runner: Runner::Dev(dev), added: Added::default(), info, dir: Some(dir), _turn: turn }
    }

    /// Such processes, one for each host of the network and named like it; edges know the origins by this address alone. The calling thread must
    /// have entered the network, and whoever serves the address is the caller's matter.
    #[track_caller]
    pub fn start_on(network: Network, vip: SocketAddr) -> Self {
        let turn = Turn::Shared(TURNS.read().unwrap_or_else(PoisonError::into_inner));
        let dir = tempfile::Builder::new().prefix("headwater-e2e-").tempdir().expect("a temporary directory");
        let place = dir.path().join("cluster");
        std::fs::create_dir(&place).expect("a directory takes directories");
        let hosts = Hosts::start(network, vip, &place);
        let info = hosts.info();
        let this = Self { runner: Runner::Hosts(hosts), added: Added::default(), info, dir: Some(dir), _turn: turn };
        this.nodes().into_iter().for_each(|node| this.wait_ready(node));
        this.active();
        this
    }

    /// `headwater dev` itself.
    #[track_caller]
    pub fn dev(&mut self) -> &mut Process {
        match &mut self.runner {
            Runner::Dev(dev) => dev,
            Runner::Hosts(_) => panic!("the test itself started this cluster"),
        }
    }

    /// The hosts' network.
    #[track_caller]
    pub fn network(&self) -> &Network {
        match &self.runner {
            Runner::Hosts(hosts) => &hosts.network,
            Runner::Dev(_) => panic!("this cluster is on loopback"),
        }
    }

    /// The directory given to `headwater dev`.
    pub fn dir(&self) -> PathBuf {
        self.scratch().join("cluster")
    }

    /// The test's own directory: it goes with the cluster.
    pub fn scratch(&self) -> &Path {
        self.dir.as_ref().expect("the directory lives as long as the cluster").path()
    }

    /// One of a node's addresses: `rtmp`, `http`, `grpc` or `admin`.
    #[track_caller]
    pub fn address(&self, node: &str, port: &str) -> SocketAddr {
        let text = self.info["nodes"][node][port].as_str();
        let text = text.unwrap_or_else(|| panic!("cluster.json has no {port} of {node}: {}", self.info));
        text.parse().unwrap_or_else(|_| panic!("{text} is an address"))
    }

    /// Where a stream is published to or played from over RTMP.
    #[track_caller]
    pub fn rtmp(&self, node: &str, path: &str) -> String {
        format!("rtmp://{}/{path}", self.address(node, "rtmp"))
    }

    /// Where a stream is played from over HTTP.
    #[track_caller]
    pub fn http_flv(&self, node: &str, path: &str) -> String {
        format!("http://{}/{path}.flv", self.address(node, "http"))
    }

    /// The token of a kind of caller.
    #[track_caller]
    pub fn token(&self, kind: &str) -> String {
        let file = self.dir().join("tokens").join(kind);
        let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let line = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#'));
        line.unwrap_or_else(|| panic!("{} holds no token", file.display())).to_owned()
    }

    /// A node's gRPC port, spoken to as this kind of caller.
    #[track_caller]
    pub fn grpc_as(&self, node: &str, kind: &str) -> Grpc {
        Grpc::new(self.address(node, "grpc"), Some(&self.token(kind)))
    }

    /// The control plane's gRPC port, spoken to by an operator.
    #[track_caller]
    pub fn operator(&self) -> Grpc {
        self.grpc_as("control-plane", "operator")
    }

    /// A sum over a node's metric.
    pub fn metric(&self, node: &str, name: &str, labels: &[&str]) -> Option<f64> {
        http::metric(self.address(node, "admin"), name, labels).ok()
    }

    /// A node's process id.
    #[track_caller]
    pub fn pid(&self, node: &str) -> u32 {
        let text = std::fs::read_to_string(self.dir().join(format!("{node}.pid"))).unwrap_or_default();
        text.trim().parse().unwrap_or_else(|_| panic!("{node}.pid holds {text:?}"))
    }

    /// Kills a node without warning and waits until it is gone.
    #[track_caller]
    pub fn kill(&self, node: &str) {
        let pid = self.pid(node);
        process::send(pid, Signal::SIGKILL);
        until(&format!("{node} to be gone"), SOON, || (!process::runs(pid)).then_some(()));
    }

    /// Brings a node back with `headwater dev restart`; one that runs is told to end first.
    #[track_caller]
    pub fn restart(&self, node: &str) {
        match &self.runner {
            _ if self.added.has(node) => self.restart_added(node),
            Runner::Hosts(hosts) => hosts.restart(node),
            Runner::Dev(_) => {
                let mut command = program("headwater");
                command.args(["dev", "restart", node, "--dir", arg(&self.dir())]);
                Process::spawn(&format!("restart-{node}"), self.scratch(), command).wait_success(READY);
            }
        }
        self.wait_ready(node);
    }

    /// Adds text to a node's configuration; the node's next start reads it.
    pub fn configure(&self, node: &str, yaml: &str) {
        let file = self.dir().join(format!("{node}.yaml"));
        let text = std::fs::read_to_string(&file).expect("a cluster has configurations");
        std::fs::write(&file, text + yaml).expect("the test's directory takes files");
    }

    /// Puts one text in another's place in a node's configuration; the node's next start reads it.
    #[track_caller]
    pub fn reconfigure(&self, node: &str, from: &str, to: &str) {
        let file = self.dir().join(format!("{node}.yaml"));
        let text = std::fs::read_to_string(&file).expect("a cluster has configurations");
        assert!(text.contains(from), "{node} has no {from:?} in its configuration");
        std::fs::write(&file, text.replace(from, to)).expect("the test's directory takes files");
    }

    /// Waits until a node says that it is ready.
    #[track_caller]
    pub fn wait_ready(&self, node: &str) {
        let admin = self.address(node, "admin");
        until(&format!("{node} to be ready"), READY, || {
            http::get(admin, "/readyz").ok().filter(|answer| answer.status == 200)
        });
    }

    /// The origin that is active.
    #[track_caller]
    pub fn active(&self) -> &str {
        let is_active =
            |node: &&str| http::get(self.address(node, "admin"), "/active").is_ok_and(|answer| answer.status == 200);
        until("an origin to be active", SOON, || self.origins().into_iter().find(is_active))
    }

    /// The names of all nodes.
    pub fn nodes(&self) -> Vec<&str> {
        let nodes = self.info["nodes"].as_object().expect("cluster.json has nodes");
        nodes.keys().map(String::as_str).collect()
    }

    /// The names of the origins.
    pub fn origins(&self) -> Vec<&str> {
        self.nodes().into_iter().filter(|node| node.starts_with("origin")).collect()
    }

    /// What a node has logged.
    pub fn log(&self, node: &str) -> String {
        // A node that the test has added writes to its standard output.
        let read = |ending: &str| std::fs::read_to_string(self.dir().join(format!("{node}.{ending}")));
        ["log", "out", "err"].into_iter().filter_map(|ending| read(ending).ok()).collect()
    }

    /// The process ids of all nodes.
    pub fn pids(&self) -> Vec<u32> {
        NODES.into_iter().map(|node| self.pid(node)).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        if let Runner::Dev(dev) = &mut self.runner {
            dev.signal(Signal::SIGTERM);
            if wait::maybe(GONE, || dev.ended()).is_none() {
                eprintln!("`headwater dev` did not end within {GONE:?} of SIGTERM");
            }
        }
        let panics: Vec<String> = self.nodes().iter().flat_map(|node| panics_in(node, &self.log(node))).collect();
        if !panics.is_empty() {
            eprintln!("a process panicked:\n{}", panics.join("\n"));
        }
        let kept = failed || std::env::var_os("HEADWATER_KEEP").is_some();
        if kept && let Some(dir) = self.dir.take() {
            eprintln!("the cluster's files are kept in {}", dir.keep().display());
        }
        // A panic that was caught still fails the test.
        assert!(failed || panics.is_empty(), "a process panicked");
    }
}

fn panics_in(node: &str, log: &str) -> Vec<String> {
    log.lines().filter(|line| line.contains("panicked")).map(|line| format!("{node}: {line}")).collect()
}

/// A command line of one of our programs.
#[track_caller]
pub fn program(name: &str) -> Command {
    let path = programs().join(name);
    assert!(path.exists(), "{} is not built: `make build`, or `make e2e`, does", path.display());
    Command::new(path)
}

/// A loopback address that nobody listens on.
pub fn free_address() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    listener.local_addr().expect("a bound socket has an address")
}
