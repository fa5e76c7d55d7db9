//! The processes of a cluster, each on a host of its own.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{IpAddr, SocketAddr},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use crate::{cluster::program, network::Network, process, tools::arg, wait};

/// How long a process may take to end before it is killed.
const PATIENCE: Duration = Duration::from_secs(10);
/// Ports are the same on every host.
const RTMP: u16 = 1935;
const HTTP: u16 = 8080;
const GRPC: u16 = 9000;
const ADMIN: u16 = 9080;

/// The hosts and what runs on them. Everything ends when it is dropped.
pub struct Hosts {
    /// The hosts' network.
    pub network: Network,
    dir: PathBuf,
    running: Mutex<BTreeMap<String, Child>>,
}

impl Hosts {
    /// Writes the configuration of each process into the directory and starts them. Edges know the origins by this address alone.
    #[track_caller]
    pub fn start(network: Network, vip: SocketAddr, dir: &Path) -> Self {
        let this = Self { network, dir: dir.to_owned(), running: Mutex::new(BTreeMap::new()) };
        this.write_tokens();
        for node in this.network.hosts() {
            fs::create_dir_all(dir.join(node)).expect("the test's directory takes directories");
            fs::write(dir.join(format!("{node}.yaml")), this.yaml(node, vip))
                .expect("the test's directory takes files");
            this.spawn(node);
        }
        this
    }

    /// The addresses, in the form of `cluster.json`.
    pub fn info(&self) -> Value {
        let about = |node: &str| {
            let at = |port: u16| SocketAddr::new(IpAddr::V4(self.network.address(node)), port).to_string();
            json!({"rtmp": at(RTMP), "http": at(HTTP), "grpc": at(GRPC), "admin": at(ADMIN)})
        };
        let nodes = self.network.hosts().iter().map(|node| ((*node).to_owned(), about(node)));
        json!({"nodes": nodes.collect::<BTreeMap<_, _>>()})
    }

    /// Starts a node again; one that runs is told to end first.
    #[track_caller]
    pub fn restart(&self, node: &str) {
        self.end(node);
        self.spawn(node);
    }

    /// Waits for a node that was killed, so that nothing is left of it.
    pub fn end(&self, node: &str) {
        let Some(mut child) = self.running().remove(node) else { return };
        process::send(child.id(), Signal::SIGTERM);
        let ended = wait::maybe(PATIENCE, || child.try_wait().ok().flatten()).is_some();
        if !ended {
            eprintln!("{node} did not end within {PATIENCE:?} of SIGTERM");
            process::send(child.id(), Signal::SIGKILL);
            let _status = child.wait();
        }
    }

    #[track_caller]
    fn spawn(&self, node: &str) {
        let service = match node.split_once('-') {
            Some(("origin", _)) => "headwater-origin",
            Some(("edge", _)) => "headwater-edge",
            _ => "headwater-control-plane",
        };
        let mut command = program(service);
        command.args(["--config", arg(&self.dir.join(format!("{node}.yaml"))), "--dev"]);
        command.args(["--die-with-parent", &std::process::id().to_string()]);
        let log = File::options().create(true).append(true).open(self.dir.join(format!("{node}.log")));
        let log = log.expect("the test's directory takes files");
        let mut command: Command = self.network.on(node, &command);
        command.stdin(Stdio::null()).stderr(log.try_clone().expect("a file has several handles")).stdout(log);
        let child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        fs::write(self.dir.join(format!("{node}.pid")), child.id().to_string()).expect("the directory takes files");
        self.running().insert(node.to_owned(), child);
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<String, Child>> {
        self.running.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn write_tokens(&self) {
        let dir = self.dir.join("tokens");
        fs::create_dir_all(&dir).expect("the test's directory takes directories");
        for (number, caller) in
            ["operator", "viewer-ops", "control", "origin", "edge", "publisher-tool"].iter().enumerate()
        {
            let token = format!("{number:032x}{:032x}", std::process::id());
            let mut file = File::options();
            let written = file.create(true).write(true).truncate(true).mode(0o600).open(dir.join(caller));
            std::io::Write::write_all(&mut written.expect("a file"), token.as_bytes()).expect("written");
        }
    }

    fn yaml(&self, node: &str, vip: SocketAddr) -> String {
        let (dir, host) = (self.dir.display(), self.network.address(node));
        let control = self.network.address("control-plane");
        let own = match node.split_once('-') {
            Some(("origin", _)) => format!(
                "public: {{ listen: \"{host}:{RTMP}\" }}\npeer: {{ listen: \"{host}:{GRPC}\" }}\n\
                 control_plane: [\"{control}:{GRPC}\"]\n"
            ),
            Some(("edge", _)) => format!(
                "rtmp: {{ listen: [\"{host}:{RTMP}\"] }}\nhttp: {{ listen: [\"{host}:{HTTP}\"] }}\n\
                 peer: {{ listen: \"{host}:{GRPC}\" }}\ncontrol_plane: [\"{control}:{GRPC}\"]\nroutes: [\"*:*;{vip}\"]\n"
            ),
            _ => format!("listen: \"{host}:{GRPC}\"\npools: [{{ name: main, first_active: origin-1 }}]\n"),
        };
        format!(
            "node: {node}\n{own}tokens: {dir}/tokens\ndata_dir: {dir}/{node}\n\
             process: {{ admin: \"{host}:{ADMIN}\", log_format: json, drain: 2s }}\n"
        )
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        // The control plane, which is first in every network, last.
        for node in self.network.hosts().iter().rev() {
            self.network.mend(node);
            // A frozen process hears nothing.
            if let Some(child) = self.running().get(*node) {
                process::send(child.id(), Signal::SIGCONT);
            }
            self.end(node);
        }
    }
}
