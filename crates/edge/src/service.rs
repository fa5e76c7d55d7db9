//! The edge's parts, put together.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU64, sync::Arc, time::Instant};

use anyhow::Context as _;
use cluster::{Address, Incarnation, Member, NodeAddresses, NodeKind, Registration};
use daemon::{Admission, Process, Shutdown, TaskEnded, Tasks, Threads};
use hub::Hub;
use rpc::{
    agent::{self, Agent},
    auth::{Auth, Caller, Token},
    channel::Target,
    node::{self, Identity},
    server::{Health, Server},
};
use rtmp_net::{Connections, Pressure, Sessions, door, tls};
use telemetry::metrics::Registry;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    front::Front,
    http,
    ingest::Ingests,
    metrics,
    node::{Contact, EdgeNode},
    pulls::{Pacing, Pulls},
    reload::Reload,
    upstream::Upstream,
};

/// Runs an edge until its process is told to end. An error: it could not begin, or cannot go on.
pub async fn serve(config: Config, process: Process<Config>) -> anyhow::Result<()> {
    start(config, &process).await?.run(&process.shutdown).await
}

async fn start(config: Config, process: &Process<Config>) -> anyhow::Result<Running> {
    let reload = Reload::open(&config, process.dev)?;
    let token = Token::own(config.tokens.as_deref(), Caller::Edge)?;
    let threads = Threads::start()?;
    let ports = Ports::bind(&config, &threads, process.admin.address())?;
    let parts = Parts::new(config, token, threads, &reload);
    Ok(Running::start(parts, ports, reload, process).await)
}

/// All ports, bound before anything is served.
struct Ports {
    rtmp: Vec<TcpListener>,
    rtmps: Vec<TcpListener>,
    http: Vec<TcpListener>,
    peer: TcpListener,
    bound: Bound,
}

/// The addresses that were bound.
#[derive(Clone, Copy)]
struct Bound {
    peer: SocketAddr,
    admin: SocketAddr,
}

impl Ports {
    fn bind(config: &Config, threads: &Threads, admin: SocketAddr) -> anyhow::Result<Self> {
        let peer = daemon::bind("node gRPC", "peer.listen", config.peer.listen)?;
        let bound = Bound { peer: peer.local_addr().context("the peer port has no address")?, admin };
        let _served_there = threads.enter();
        let all = |what: &str, key: &str, addresses: &[SocketAddr]| {
            addresses.iter().map(|address| daemon::bind(what, key, *address)).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            rtmp: all("RTMP", "rtmp.listen", &config.rtmp.listen)?,
            rtmps: all("RTMPS", "rtmp.listen_tls", &config.rtmp.listen_tls)?,
            http: all("HTTP", "http.listen", &config.http.listen)?,
            peer,
            bound,
        })
    }
}

impl Bound {
    fn listeners(self, config: &Config) -> BTreeMap<String, String> {
        let join = |list: &[SocketAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
        let all = [
            ("rtmp", join(&config.rtmp.listen)),
            ("rtmps", join(&config.rtmp.listen_tls)),
            ("http", join(&config.http.listen)),
            ("grpc", self.peer.to_string()),
            ("admin", self.admin.to_string()),
        ];
        all.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name.to_owned(), text)).collect()
    }

    /// Where others reach this edge.
    fn advertised(self, config: &Config) -> NodeAddresses {
        let first = |list: &[SocketAddr]| list.iter().find(|address| address.port() != 0).map(|a| Address::from(*a));
        NodeAddresses {
            public: first(&config.rtmp.listen),
            peer: Some(config.peer.advertise.clone().unwrap_or_else(|| self.peer.into())),
            http: first(&config.http.listen),
            admin: Some(self.admin.into()),
        }
    }
}

/// What an edge consists of, as long as nobody is let in.
struct Parts {
    config: Config,
    /// What is presented to other nodes.
    token: Option<Token>,
    /// Where viewers and encoders are served.
    threads: Threads,
    pressure: Pressure,
    upstream: Upstream,
    pulls: Arc<Pulls>,
    ingests: Arc<Ingests>,
    admission: Arc<Admission>,
    sessions: Sessions,
    front: Arc<Front>,
    connections: Connections<Arc<Front>>,
    /// None without a control plane.
    contact: watch::Sender<Option<Contact>>,
}

impl Parts {
    fn new(config: Config, token: Option<Token>, threads: Threads, reload: &Reload) -> Self {
        let upstream = Upstream::new(config.node.clone(), reload.directions(), token.clone());
        let pressure = Pressure::default();
        let playback = &config.playback;
        let pacing = Pacing { home: threads.clone(), latencies: playback.latencies(), pressure: pressure.clone() };
        let pulls = Pulls::new(Hub::new(playback.ring()), upstream.clone(), playback.pulls()).paced(pacing);
        let pulls = Arc::new(pulls);
        let ingests = Arc::new(Ingests::new(upstream.clone(), config.ingest.bounds()));
        let admission = reload.admission();
        let front = Front { pulls: pulls.clone(), ingests: ingests.clone(), admission: admission.clone() };
        let front = Arc::new(front);
        let sessions = Sessions::default();
        let rtmp = rtmp_net::Config { pressure: pressure.clone(), ..rtmp_config(&config) };
        let connections = Connections::new(rtmp, front.clone(), sessions.clone());
        let contact = watch::Sender::new(None);
        Self {
            config,
            token,
            threads,
            pressure,
            upstream,
            pulls,
            ingests,
            admission,
            sessions,
            front,
            connections,
            contact,
        }
    }

    fn http(&self, listeners: Vec<TcpListener>) -> http::Server<Arc<Front>> {
        let config = http::Config { pressure: self.pressure.clone(), ..http_config(&self.config) };
        http::Server::new(listeners, config, self.front.clone(), self.sessions.clone())
    }

    fn node(
        &self,
        bound: Bound,
        http_stats: Arc<http::Stats>,
        reload: &Reload,
        process: &Process<Config>,
    ) -> Arc<EdgeNode> {
        Arc::new(EdgeNode {
            identity: Identity {
                id: self.config.node.clone(),
                incarnation: Incarnation::from_bits(rand::random()),
                kind: node::NodeKind::Edge,
                version: env!("CARGO_PKG_VERSION"),
                started: Instant::now(),
                listeners: bound.listeners(&self.config),
            },
            pulls: self.pulls.clone(),
            ingests: self.ingests.clone(),
            upstream: self.upstream.clone(),
            sessions: self.sessions.clone(),
            rtmp_stats: self.connections.stats().clone(),
            http_stats,
            admission: self.admission.clone(),
            contact: self.contact.subscribe(),
            config: reload.in_force(),
            logs: process.logs.clone(),
            shutdown: process.shutdown.clone(),
            ingress: Default::default(),
            egress: Default::default(),
        })
    }

    fn register(&self, metrics: &Registry, node: Arc<EdgeNode>, auth: Arc<Auth>, http_gate: Arc<door::Gate>) {
        metrics::register(metrics, node);
        metrics.collect(move |samples| auth.sample(samples));
        rtmp_net::metrics::register_pressure(metrics, self.pressure.clone());
        rtmp_net::metrics::register(metrics, self.sessions.clone(), self.connections.stats().clone());
        door::register(metrics, [("rtmp", self.connections.gate().clone()), ("http", http_gate)]);
    }

    /// None where there is no control plane.
    async fn start_agent(&self, bound: Bound, node: Arc<EdgeNode>) -> Option<Agent> {
        if self.config.control_plane.is_empty() {
            return None;
        }
        let registration = Registration {
            member: Member { node: self.config.node.clone(), incarnation: node.identity.incarnation },
            kind: NodeKind::Edge,
            pool: None,
            addresses: bound.advertised(&self.config),
            labels: BTreeMap::new(),
            version: node.identity.version.to_owned(),
            capabilities: Vec::new(),
            highest_epoch: cluster::Epoch(0),
            serving: None,
        };
        let target = Target::new(self.config.control_plane.iter().map(ToString::to_string), self.token.clone());
        let snapshot_file = Some(self.config.data_dir.join("control-plane.json"));
        let urgent = self.upstream.hearing();
        Some(Agent::start(agent::Config { target, registration, snapshot_file, urgent }, node).await)
    }
}

/// An edge at work.
struct Running {
    health: Health,
    connections: Connections<Arc<Front>>,
    ingests: Arc<Ingests>,
    pulls: Arc<Pulls>,
    /// None without a control plane.
    agent: Option<Agent>,
    /// What lets viewers and encoders in.
    doors: Tasks,
    close_doors: CancellationToken,
    /// All the rest.
    tasks: Tasks,
    stop: CancellationToken,
    /// Kept to the end: whoever is still there is cut when they go.
    _threads: Threads,
}

impl Running {
    /// First the ways to other nodes are there, and what is known of them; then viewers and encoders are let in.
    async fn start(parts: Parts, ports: Ports, mut reload: Reload, process: &Process<Config>) -> Self {
        let Ports { rtmp, rtmps, http, peer, bound } = ports;
        let certificates = reload.certificates();
        let http = parts.http(http);
        let node = parts.node(bound, http.stats(), &reload, process);
        parts.register(&process.metrics, node.clone(), reload.auth(), http.gate());
        let health = Health::new().await;
        let peer_server = Server::builder(reload.auth(), &health).node(node.clone()).build().await;
        let agent = parts.start_agent(bound, node.clone()).await;
        let contact = |agent: &Agent| Contact { standing: agent.standing(), snapshot: agent.snapshot() };
        parts.contact.send_replace(agent.as_ref().map(contact));

        let (stop, mut tasks) = (CancellationToken::new(), Tasks::default());
        if let Some(agent) = &agent {
            tasks.spawn("agent", agent.ended());
        }
        tasks.spawn("peer port", serve_peers(peer_server, peer, stop.clone()));
        tasks.spawn("links", parts.upstream.clone().keep_links(stop.clone()));
        // Before anybody is let in: an edge that restarts goes by what its disk remembers.
        reload.go_by(agent.as_ref().map(Agent::snapshot));
        tasks.spawn("reload", reload.run(process.reloads.clone(), stop.clone()));

        let (close_doors, mut doors) = (CancellationToken::new(), Tasks::default());
        for listener in rtmp {
            let accepting = accept(listener, None, parts.connections.clone(), close_doors.clone());
            doors.spawn_on("RTMP port", accepting, &parts.threads);
        }
        for listener in rtmps {
            let accepting = accept(listener, certificates.clone(), parts.connections.clone(), close_doors.clone());
            doors.spawn_on("RTMPS port", accepting, &parts.threads);
        }
        doors.spawn_on("HTTP ports", http.run(close_doors.clone()), &parts.threads);
        doors.spawn_on("pressure", watch_pressure(parts.pressure.clone(), close_doors.clone()), &parts.threads);
        process.admin.inspect(node);
        health.set_ready(true).await;
        let config = &parts.config;
        tracing::info!(rtmp = ?config.rtmp.listen, http = ?config.http.listen, peer = %bound.peer, "edge.listening");
        Self {
            health,
            connections: parts.connections,
            ingests: parts.ingests,
            pulls: parts.pulls,
            agent,
            doors,
            close_doors,
            tasks,
            stop,
            _threads: parts.threads,
        }
    }

    /// Serves until the process is told to end, or a task has ended without being told to, which is an error.
    async fn run(mut self, shutdown: &Shutdown) -> anyhow::Result<()> {
        let outcome = shutdown.begun_or(self.first_ended()).await;
        self.drain(shutdown.deadline().unwrap_or_else(Instant::now)).await;
        outcome.context("the edge cannot go on")
    }

    async fn first_ended(&mut self) -> TaskEnded {
        tokio::select! {
            ended = self.doors.first_ended() => ended,
            ended = self.tasks.first_ended() => ended,
        }
    }

    /// Nobody more is let in, and those who are here go; then what they have sent is brought to the origin, before the way
    /// there is taken down.
    async fn drain(self, deadline: Instant) {
        let left = || deadline.saturating_duration_since(Instant::now());
        self.health.set_ready(false).await;
        self.close_doors.cancel();
        self.connections.drain(left() / 2).await;
        self.doors.join().await;
        self.ingests.close(left()).await;
        self.pulls.close().await;
        if let Some(agent) = self.agent {
            agent.leave().await;
        }
        self.stop.cancel();
        self.tasks.join().await;
    }
}

async fn serve_peers(server: Server, listener: TcpListener, stop: CancellationToken) {
    server.serve(listener, stop.cancelled()).await;
}

async fn accept(
    listener: TcpListener,
    tls: Option<tls::ServerConfig>,
    connections: Connections<Arc<Front>>,
    stop: CancellationToken,
) {
    let server = rtmp_net::Server::over(listener, connections);
    match tls {
        Some(tls) => server.with_tls(tls).run(stop).await,
        None => server.run(stop).await,
    }
}

async fn watch_pressure(pressure: Pressure, stop: CancellationToken) {
    stop.run_until_cancelled(pressure.watch()).await;
}

fn rtmp_config(config: &Config) -> rtmp_net::Config {
    let proxies = config.rtmp.proxies.iter().copied().collect();
    let mut rtmp = rtmp_net::Config { vhosts: config.vhosts.clone(), proxies, ..rtmp_net::Config::default() };
    rtmp.session.limits.stall_timeout = *config.playback.stall;
    rtmp.behind_max = *config.playback.behind;
    rtmp.send = config.playback.send_bounds();
    rtmp.session.limits.handshakes_per_address_max = config.rtmp.handshakes_per_address;
    rtmp.session.limits.publish_bytes_per_second = NonZeroU64::new(config.ingest.bytes_per_second.0);
    rtmp
}

fn http_config(config: &Config) -> http::Config {
    let door = door::Config {
        proxies: config.http.proxies.iter().copied().collect(),
        unfinished_per_address_max: config.http.requests_awaited_per_address,
        ..door::Config::default()
    };
    let vhosts = config.vhosts.clone();
    let (stall_timeout, behind_max) = (*config.playback.stall, *config.playback.behind);
    let send = config.playback.send_bounds();
    http::Config { vhosts, door, stall_timeout, behind_max, send, ..http::Config::default() }
}

#[cfg(test)]
mod tests;
