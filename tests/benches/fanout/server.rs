//! The servers that are compared.

use std::{net::SocketAddr, path::Path, thread, time::Duration};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use tests::{
    Cluster, Process,
    cluster::{NODES, free_address},
    tools::{Tool, arg},
    wait::{SOON, until},
};

use crate::{
    bare::{self, By, Form, Media},
    pin::{self, Cores},
};

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An edge by itself; origins, control plane and the encoder's edge are on the other core.
    Edge(&'static str),
    /// All five processes of a cluster on the one core; encoder and viewers at the same edge.
    Node(&'static str),
    /// nginx with its RTMP module, one process.
    Nginx,
    /// The loop.
    Bare(Form, By),
}

/// A running server.
pub struct Server {
    /// Where a stream is published, without its name; nothing where the server makes its own.
    pub publish: Option<String>,
    /// Where it is played, without its name.
    pub play: String,
    /// Its processes.
    pub pids: Vec<u32>,
    /// The edge's admin port.
    pub admin: Option<SocketAddr>,
    /// The edge's RTMP port.
    pub rtmp: SocketAddr,
    /// Ends it when it is dropped.
    pub keeps: Keeps,
}

/// What runs.
pub enum Keeps {
    /// A cluster.
    Cluster(Cluster),
    /// Whoever made it ends it.
    Nothing,
    /// A process and the directory of its files.
    Process(#[expect(dead_code, reason = "held")] Process, #[expect(dead_code, reason = "held")] TempDir),
}

/// nginx's module, as Debian installs it.
const MODULE: &str = "/usr/lib/nginx/modules/ngx_rtmp_module.so";
const BRINGS_NGINX: &str = "`tests/tools/install.sh drill` brings it";
/// Beyond what any measurement here asks for.
const CONNECTIONS: usize = 16_384;
/// What an edge does after its start is over then: its threads are there and can be moved.
const SETTLED: Duration = Duration::from_millis(500);

impl Kind {
    /// As it is shown.
    pub fn title(self) -> String {
        let ms = |wait: &str| if wait.chars().all(|c| c.is_ascii_digit()) { " ms" } else { "" };
        match self {
            Self::Edge(latency) => format!("Headwater edge, `{latency}`{}", ms(latency)),
            Self::Node(latency) => format!("Headwater on one core, `{latency}`{}", ms(latency)),
            Self::Nginx => "nginx-rtmp".to_owned(),
            Self::Bare(form, by) => {
                let form = match form {
                    Form::Each => "each message".to_owned(),
                    Form::Ride => "audio with video".to_owned(),
                    Form::Merge(ms) => format!("each {ms} ms"),
                };
                format!("bare loop, {form}{}", if by == By::Pages { ", pages" } else { "" })
            }
        }
    }

    /// Whether it can run here.
    pub fn is_here(self) -> bool {
        self != Self::Nginx || (Tool::Nginx.path().is_some() && Path::new(MODULE).exists())
    }
}

/// Names those that cannot run here: a table without them would not say why. Nothing where all can.
pub fn absent(kinds: &[Kind]) -> String {
    let absent = kinds.iter().filter(|kind| !kind.is_here());
    absent.map(|kind| format!("NOT measured: {}, which is not here; {BRINGS_NGINX}.\n\n", kind.title())).collect()
}

impl Server {
    /// Starts it on its core.
    pub fn start(kind: Kind, media: Media, cores: Cores) -> Result<Self> {
        match kind {
            Kind::Edge(latency) => Ok(Self::edge(cores, |cluster| with_latency(cluster, latency))),
            Kind::Node(latency) => Ok(Self::node(latency, cores)),
            Kind::Nginx => Self::nginx(cores),
            Kind::Bare(form, by) => Self::bare(form, by, media, cores),
        }
    }

    /// An edge, configured as it is to be measured.
    pub fn edge(cores: Cores, configure: impl FnOnce(&Cluster)) -> Self {
        pin::children_on(cores.load);
        let cluster = Cluster::start();
        configure(&cluster);
        cluster.restart("edge-2");
        let pid = cluster.pid("edge-2");
        thread::sleep(SETTLED);
        pin::moved(pid, cores.server);
        Self::of(cluster, "edge-1", vec![pid])
    }

    fn node(latency: &str, cores: Cores) -> Self {
        pin::children_on(cores.server);
        let cluster = Cluster::start();
        with_latency(&cluster, latency);
        cluster.restart("edge-2");
        pin::children_on(cores.load);
        let pids = NODES.iter().map(|node| cluster.pid(node)).collect();
        Self::of(cluster, "edge-2", pids)
    }

    fn of(cluster: Cluster, encoder: &str, pids: Vec<u32>) -> Self {
        Self {
            publish: Some(format!("rtmp://{}/bench", cluster.address(encoder, "rtmp"))),
            play: format!("rtmp://{}/bench", cluster.address("edge-2", "rtmp")),
            pids,
            admin: Some(cluster.address("edge-2", "admin")),
            rtmp: cluster.address("edge-2", "rtmp"),
            keeps: Keeps::Cluster(cluster),
        }
    }

    fn nginx(cores: Cores) -> Result<Self> {
        ensure!(Kind::Nginx.is_here(), "nginx with its RTMP module is not here: {BRINGS_NGINX}");
        let dir = tempfile::tempdir()?;
        let (address, shown) = (free_address(), dir.path().display());
        let config = format!(
            "daemon off; master_process off; pid {shown}/nginx.pid; error_log {shown}/nginx.log; load_module {MODULE};\n\
             worker_rlimit_nofile {CONNECTIONS};\nevents {{ worker_connections {CONNECTIONS}; }}\n\
             rtmp {{ server {{ listen {address}; application bench {{ live on; }} }} }}\n"
        );
        let file = dir.path().join("nginx.conf");
        std::fs::write(&file, config)?;
        let mut command = Tool::Nginx.command();
        command.args(["-c", arg(&file), "-p", arg(dir.path()), "-e", "stderr"]);
        let process = started("nginx", dir.path(), command, address, cores);
        let url = format!("rtmp://{address}/bench");
        let pids = vec![process.pid()];
        let keeps = Keeps::Process(process, dir);
        Ok(Self { publish: Some(url.clone()), play: url, pids, admin: None, rtmp: address, keeps })
    }

    fn bare(form: Form, by: By, media: Media, cores: Cores) -> Result<Self> {
        let (dir, address) = (tempfile::tempdir()?, free_address());
        let process = started("bare", dir.path(), bare::command(address, form, by, media), address, cores);
        let pids = vec![process.pid()];
        let play = format!("http://{address}/bench");
        Ok(Self { publish: None, play, pids, admin: None, rtmp: address, keeps: Keeps::Process(process, dir) })
    }

    /// The cluster that it is a part of.
    pub fn cluster(&self) -> Result<&Cluster> {
        match &self.keeps {
            Keeps::Cluster(cluster) => Ok(cluster),
            Keeps::Nothing | Keeps::Process(..) => None.context("it is no cluster"),
        }
    }
}

fn with_latency(cluster: &Cluster, latency: &str) {
    cluster.configure("edge-2", &format!("playback:\n  latency: {latency}\n"));
}

/// Starts a program on the server's core, and waits until it listens.
fn started(name: &str, dir: &Path, command: std::process::Command, address: SocketAddr, cores: Cores) -> Process {
    pin::children_on(cores.server);
    let mut process = Process::spawn(name, dir, command);
    pin::children_on(cores.load);
    until(&format!("{name} to listen"), SOON, || {
        process.assert_running();
        std::net::TcpStream::connect(address).ok()
    });
    process
}
