//! The edge's parts, put together.

use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU64, sync::Arc, time::Instant};

use anyhow::Context as _;
use cluster::{
    Address, Incarnation, Member, NodeAddresses, NodeKind, PublishPolicy, Registration, RouteConfig, RouteEntry,
    RouteTable,
};
use daemon::{Admission, Process, Threads, publish_policy};
use hub::Hub;
use rpc::{
    agent::{self, Agent, Snapshot},
    auth::{Auth, Caller, Token},
    channel::Target,
    node::{self, Identity},
    server::{Health, Server},
};
use rtmp_net::{Connections, Pressure, Sessions, door, tls};
use tokio::{net::TcpListener, sync::watch, task::JoinSet};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    front::Front,
    http,
    ingest::Ingests,
    metrics,
    node::{Contact, EdgeNode},
    pulls::{Pacing, Pulls},
    upstream::{Directions, Upstream},
};

/// Runs an edge until its process is told to end.
pub async fn serve(config: Config, process: Process<Config>) -> anyhow::Result<()> {
    let policy = watch::Sender::new(publish_policy(config.publish.as_ref(), process.dev)?);
    let auth = Arc::new(Auth::open(config.tokens.as_deref(), process.dev)?);
    let token = Token::own(config.tokens.as_deref(), Caller::Edge)?;
    let threads = Threads::start()?;
    let ports = Ports::bind(&config, &threads)?;

    let directions = watch::Sender::new(own_directions(&config)?);
    let upstream = Upstream::new(config.node.clone(), directions.subscribe(), token.clone());
    let pressure = Pressure::default();
    let pacing = Pacing { home: threads.clone(), latencies: config.playback.latencies(), pressure: pressure.clone() };
    let pulls = Pulls::new(Hub::new(config.playback.ring()), upstream.clone(), config.playback.pulls()).paced(pacing);
    let pulls = Arc::new(pulls);
    let ingests = Arc::new(Ingests::new(upstream.clone(), config.ingest.bounds()));
    let admission = Arc::new(Admission::new(policy.subscribe()));
    let front = Arc::new(Front { pulls: pulls.clone(), ingests: ingests.clone(), admission: admission.clone() });
    let sessions = Sessions::default();
    let rtmp = rtmp_net::Config { pressure: pressure.clone(), ..rtmp_config(&config) };
    let connections = Connections::new(rtmp, front.clone(), sessions.clone());
    let http = http::Config { pressure: pressure.clone(), ..http_config(&config) };
    let http_server = http::Server::new(ports.http, http, front, sessions.clone());

    let addresses = Addresses { peer: ports.peer.local_addr()?, admin: process.admin.address() };
    let contact = watch::Sender::new(None);
    let in_force = watch::Sender::new(Arc::new(config.clone()));
    let node = Arc::new(EdgeNode {
        identity: Identity {
            id: config.node.clone(),
            incarnation: Incarnation::from_bits(rand::random()),
            kind: node::NodeKind::Edge,
            version: env!("CARGO_PKG_VERSION"),
            started: Instant::now(),
            listeners: listeners(&config, &addresses),
        },
        pulls: pulls.clone(),
        ingests: ingests.clone(),
        upstream,
        sessions: sessions.clone(),
        rtmp_stats: connections.stats().clone(),
        http_stats: http_server.stats(),
        admission,
        contact: contact.subscribe(),
        config: in_force.subscribe(),
        logs: process.logs.clone(),
        shutdown: process.shutdown.clone(),
        ingress: Default::default(),
        egress: Default::default(),
    });
    metrics::register(&process.metrics, node.clone());
    rtmp_net::metrics::register_pressure(&process.metrics, pressure.clone());
    rtmp_net::metrics::register(&process.metrics, sessions, connections.stats().clone());
    door::register(&process.metrics, [("rtmp", connections.gate().clone()), ("http", http_server.gate())]);
    let health = Health::new().await;
    let peer_server = Server::builder(auth.clone(), &health).node(node.clone()).build().await;

    let agent = match config.control_plane.is_empty() {
        true => None,
        false => Some(start_agent(&config, &addresses, token, node.clone()).await),
    };
    let snapshot = agent.as_ref().map(Agent::snapshot);
    contact
        .send_replace(agent.as_ref().map(|agent| Contact { standing: agent.standing(), snapshot: agent.snapshot() }));

    let (stop, closing) = (CancellationToken::new(), CancellationToken::new());
    let mut tasks = JoinSet::new();
    tasks.spawn({
        let stop = stop.clone();
        async move { peer_server.serve(ports.peer, stop.cancelled()).await }
    });
    tasks.spawn(node.upstream.clone().keep_links(stop.clone()));
    let mut reload = Reload { policy, auth, directions, snapshot, in_force, dev: process.dev };
    // Before anybody is let in: an edge that restarts goes by what its disk remembers.
    reload.direct();
    tasks.spawn(reload.run(process.reloads.clone(), stop.clone()));
    let mut fronts = JoinSet::new();
    for server in ports.rtmp {
        fronts.spawn_on(accept(server, None, connections.clone(), closing.clone()), &threads);
    }
    for server in ports.rtmps {
        fronts.spawn_on(accept(server, ports.tls.clone(), connections.clone(), closing.clone()), &threads);
    }
    fronts.spawn_on(http_server.run(closing.clone()), &threads);
    let watching = closing.clone();
    let watching = async move {
        watching.run_until_cancelled(pressure.watch()).await;
    };
    fronts.spawn_on(watching, &threads);
    process.admin.inspect(node.clone());
    health.set_ready(true).await;
    tracing::info!(rtmp = ?config.rtmp.listen, http = ?config.http.listen, peer = %addresses.peer, "edge.listening");

    process.shutdown.begun().await;
    health.set_ready(false).await;
    let deadline = process.shutdown.deadline().unwrap_or_else(Instant::now);
    let left = || deadline.saturating_duration_since(Instant::now());
    closing.cancel();
    connections.drain(left() / 2).await;
    while fronts.join_next().await.is_some() {}
    // What encoders have sent is brought to the origin before the way there is taken down.
    ingests.close(left()).await;
    pulls.close().await;
    if let Some(agent) = agent {
        agent.leave().await;
    }
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// All ports, bound before anything is served.
struct Ports {
    rtmp: Vec<TcpListener>,
    rtmps: Vec<TcpListener>,
    http: Vec<TcpListener>,
    peer: TcpListener,
    tls: Option<tls::ServerConfig>,
}

impl Ports {
    fn bind(config: &Config, threads: &Threads) -> anyhow::Result<Self> {
        let peer = daemon::bind("node gRPC", "peer.listen", config.peer.listen)?;
        let _served_there = threads.enter();
        let all = |what: &str, key: &str, addresses: &[SocketAddr]| {
            addresses.iter().map(|address| daemon::bind(what, key, *address)).collect::<Result<Vec<_>, _>>()
        };
        Ok(Self {
            rtmp: all("RTMP", "rtmp.listen", &config.rtmp.listen)?,
            rtmps: all("RTMPS", "rtmp.listen_tls", &config.rtmp.listen_tls)?,
            http: all("HTTP", "http.listen", &config.http.listen)?,
            peer,
            tls: certificates(config)?,
        })
    }
}

fn certificates(config: &Config) -> anyhow::Result<Option<tls::ServerConfig>> {
    let (Some(certificates), Some(key)) = (&config.rtmp.certificates, &config.rtmp.key) else { return Ok(None) };
    Ok(Some(tls::ServerConfig::from_files(certificates, key, &[]).context("rtmp.certificates, rtmp.key")?))
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

fn own_entries(config: &Config) -> Vec<RouteEntry> {
    RouteConfig::into_entries(config.routes.clone())
}

fn own_directions(config: &Config) -> anyhow::Result<Directions> {
    let routes = RouteTable::new(Vec::new(), own_entries(config)).context("routes")?;
    Ok(Directions { routes: Arc::new(routes), pools: Vec::new() })
}

/// Takes what changes while the process runs: routes, keys and tokens by SIGHUP, routes and pools from the control plane.
struct Reload {
    policy: watch::Sender<PublishPolicy>,
    auth: Arc<Auth>,
    directions: watch::Sender<Directions>,
    snapshot: Option<watch::Receiver<Snapshot>>,
    in_force: watch::Sender<Arc<Config>>,
    dev: bool,
}

impl Reload {
    async fn run(mut self, mut reloads: daemon::Reloads<Config>, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                new = reloads.next() => self.take(&new),
                () = changed(&mut self.snapshot) => {}
            }
            self.direct();
        }
    }

    /// Puts the entries of both sources together.
    fn direct(&mut self) {
        let config = self.in_force.borrow().clone();
        let snapshot = self.snapshot.as_mut().map(|snapshot| snapshot.borrow_and_update().clone()).unwrap_or_default();
        match RouteTable::new(snapshot.routes.to_vec(), own_entries(&config)) {
            Ok(routes) => {
                let directions = Directions { routes: Arc::new(routes), pools: snapshot.pools.to_vec() };
                self.directions.send_replace(directions);
            }
            Err(error) => tracing::error!(%error, "routes.refused"),
        }
    }

    fn take(&self, config: &Config) {
        match publish_policy(config.publish.as_ref(), self.dev) {
            Ok(new) => drop(self.policy.send_replace(new)),
            Err(error) => tracing::error!(%error, "publish.not_reloaded"),
        }
        self.in_force.send_modify(|held| *held = Arc::new(held.with_reloadable(config)));
        self.auth.read_again(config.tokens.as_deref());
    }
}

/// Completes at the next snapshot; never where there is no control plane, or when its agent has ended.
async fn changed(snapshot: &mut Option<watch::Receiver<Snapshot>>) {
    let alive = match snapshot {
        Some(snapshot) => snapshot.changed().await.is_ok(),
        None => false,
    };
    if !alive {
        std::future::pending::<()>().await;
    }
}

/// The addresses that were bound.
struct Addresses {
    peer: SocketAddr,
    admin: SocketAddr,
}

fn listeners(config: &Config, addresses: &Addresses) -> BTreeMap<String, String> {
    let join = |list: &[SocketAddr]| list.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let all = [
        ("rtmp", join(&config.rtmp.listen)),
        ("rtmps", join(&config.rtmp.listen_tls)),
        ("http", join(&config.http.listen)),
        ("grpc", addresses.peer.to_string()),
        ("admin", addresses.admin.to_string()),
    ];
    all.into_iter().filter(|(_, text)| !text.is_empty()).map(|(name, text)| (name.to_owned(), text)).collect()
}

async fn start_agent(config: &Config, addresses: &Addresses, token: Option<Token>, node: Arc<EdgeNode>) -> Agent {
    let first = |list: &[SocketAddr]| list.iter().find(|address| address.port() != 0).map(|a| Address::from(*a));
    let registration = Registration {
        member: Member { node: config.node.clone(), incarnation: node.identity.incarnation },
        kind: NodeKind::Edge,
        pool: None,
        addresses: NodeAddresses {
            public: first(&config.rtmp.listen),
            peer: Some(config.peer.advertise.clone().unwrap_or_else(|| addresses.peer.into())),
            http: first(&config.http.listen),
            admin: Some(addresses.admin.into()),
        },
        labels: BTreeMap::new(),
        version: node.identity.version.to_owned(),
        capabilities: Vec::new(),
        highest_epoch: cluster::Epoch(0),
        serving: None,
    };
    let target = Target::new(config.control_plane.iter().map(ToString::to_string), token);
    let snapshot_file = Some(config.data_dir.join("control-plane.json"));
    let urgent = node.upstream.hearing();
    Agent::start(agent::Config { target, registration, snapshot_file, urgent }, node).await
}
