//! The origin's parts, put together.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use cluster::{Address, Epoch, Incarnation, Member, NodeAddresses, NodeKind, PoolId, PoolView, Registration};
use daemon::{Admission, Process, Shutdown, TaskEnded, Tasks, Threads};
use hub::Hub;
use rpc::{
    agent::{self, Agent},
    auth::{Auth, Caller, Token},
    channel::Target,
    node::{self, Identity},
    server::{Health, Server},
};
use rtmp_net::{Connections, Sessions, door};
use telemetry::metrics::Registry;
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    first_frame::FirstFrames,
    links::Links,
    metrics,
    node::OriginNode,
    peers::Peers,
    public::Public,
    public_port::PublicPort,
    relay::Relay,
    reload::Reload,
    role::{Duty, Roles},
    rtmp,
    standalone::Standalone,
    stats::Stats,
    streams::{self, Streams},
};

/// Runs an origin until its process is told to end. An error: it could not begin, or cannot go on.
pub async fn serve(config: Config, process: Process<Config>) -> anyhow::Result<()> {
    start(config, &process).await?.run(&process.shutdown).await
}

async fn start(config: Config, process: &Process<Config>) -> anyhow::Result<Running> {
    let reload = Reload::open(&config, process.dev)?;
    let token = Token::own(config.tokens.as_deref(), Caller::Origin)?;
    let ports = Ports::bind(&config, process.admin.address())?;
    let parts = Parts::new(config, token, &reload)?;
    Running::start(parts, ports, reload, process).await
}

/// The port that is always open.
struct Ports {
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
    fn bind(config: &Config, admin: SocketAddr) -> anyhow::Result<Self> {
        let peer = daemon::bind("relay and node gRPC", "peer.listen", config.peer.listen)?;
        let bound = Bound { peer: peer.local_addr().context("the peer port has no address")?, admin };
        Ok(Self { peer, bound })
    }
}

impl Bound {
    fn listeners(self, config: &Config) -> BTreeMap<String, String> {
        let pairs = [("rtmp", config.public.listen), ("grpc", self.peer), ("admin", self.admin)];
        pairs.into_iter().map(|(name, address)| (name.to_owned(), address.to_string())).collect()
    }

    /// Where others reach this origin.
    fn advertised(self, config: &Config) -> NodeAddresses {
        NodeAddresses {
            public: Some(config.public.advertise.clone().unwrap_or_else(|| Address::from(config.public.listen))),
            peer: Some(self.advertised_peer(config)),
            http: None,
            admin: Some(self.admin.into()),
        }
    }

    fn advertised_peer(self, config: &Config) -> Address {
        config.peer.advertise.clone().unwrap_or_else(|| Address::from(self.peer))
    }
}

/// What an origin consists of, as long as nothing of it runs.
struct Parts {
    config: Config,
    me: Member,
    /// What is presented to other nodes.
    token: Option<Token>,
    /// Notified when the control plane is to hear of something at once.
    urgent: Arc<Notify>,
    /// Our own pool, as the control plane describes it.
    pool: watch::Sender<Option<PoolView>>,
    /// None without a control plane.
    standing: watch::Sender<Option<agent::Standing>>,
    /// Only the public port keeps a clone of this sender: with that, all serving ends.
    duty: watch::Sender<Duty>,
    streams: Arc<Streams>,
    roles: Arc<Roles>,
    first_frames: Arc<FirstFrames>,
    links: Arc<Links>,
    stats: Arc<Stats>,
    admission: Arc<Admission>,
    sessions: Sessions,
    connections: Connections<rtmp::Service>,
}

impl Parts {
    fn new(config: Config, token: Option<Token>, reload: &Reload) -> anyhow::Result<Self> {
        let me = Member { node: config.node.clone(), incarnation: Incarnation::from_bits(rand::random()) };
        let urgent = Arc::new(Notify::new());
        let pool = watch::Sender::new(None);
        let duty = watch::Sender::new(Duty::default());
        let hub = Hub::new(config.stream.ring());
        let streams = Arc::new(Streams::new(me.clone(), hub, config.replica(), urgent.clone()));
        let roles = Arc::new(Roles::standby(&config.data_dir, streams.clone(), pool.subscribe(), urgent.clone())?);
        let first_frames = Arc::new(FirstFrames::new(streams.clone(), urgent.clone()));
        let admission = reload.admission();
        let sessions = Sessions::default();
        let service = rtmp::Service { streams: streams.clone(), admission: admission.clone(), duty: duty.subscribe() };
        let connections = Connections::new(rtmp_config(&config), service, sessions.clone());
        Ok(Self {
            config,
            me,
            token,
            urgent,
            pool,
            standing: watch::Sender::new(None),
            duty,
            streams,
            roles,
            first_frames,
            links: Arc::default(),
            stats: Arc::default(),
            admission,
            sessions,
            connections,
        })
    }

    fn node(&self, bound: Bound, reload: &Reload, process: &Process<Config>) -> Arc<OriginNode> {
        Arc::new(OriginNode {
            identity: Identity {
                id: self.me.node.clone(),
                incarnation: self.me.incarnation,
                kind: node::NodeKind::Origin,
                version: env!("CARGO_PKG_VERSION"),
                started: Instant::now(),
                listeners: bound.listeners(&self.config),
            },
            pool: self.config.pool.clone(),
            streams: self.streams.clone(),
            roles: self.roles.clone(),
            first_frames: self.first_frames.clone(),
            sessions: self.sessions.clone(),
            links: self.links.clone(),
            stats: self.stats.clone(),
            rtmp_stats: self.connections.stats().clone(),
            admission: self.admission.clone(),
            duty: self.duty.subscribe(),
            standing: self.standing.subscribe(),
            config: reload.in_force(),
            logs: process.logs.clone(),
            shutdown: process.shutdown.clone(),
            rates: Default::default(),
            notices: Default::default(),
            told_yielded: Default::default(),
        })
    }

    fn register(&self, metrics: &Registry, node: Arc<OriginNode>, auth: Arc<Auth>) {
        metrics::register(metrics, node);
        metrics.collect(move |samples| auth.sample(samples));
        rtmp_net::metrics::register(metrics, self.sessions.clone(), self.connections.stats().clone());
        door::register(metrics, [("public", self.connections.gate().clone())]);
    }

    /// What gives this origin its role, where there is no control plane.
    fn standalone(&self) -> Option<Standalone> {
        let (pool, me, roles) = (self.config.pool.clone(), self.me.clone(), self.roles.clone());
        self.config.control_plane.is_empty().then_some(Standalone { pool, me, roles })
    }

    fn relay(&self, standalone: Option<&Standalone>, metrics: &Registry) -> Arc<Relay> {
        Arc::new(Relay {
            node: self.me.node.clone(),
            streams: self.streams.clone(),
            duty: self.duty.subscribe(),
            epoch_believed_max: standalone.map_or(Epoch::MAX, Standalone::epoch_believed_max),
            admission: self.admission.clone(),
            links: self.links.clone(),
            token: self.token.clone(),
            detours: Arc::default(),
            stats: self.stats.clone(),
            commit_latency: metrics::commit_latency(metrics),
        })
    }

    fn public_port(&self, public: Public<rtmp::Service>, health: Health, bound: Bound) -> PublicPort {
        PublicPort {
            listen: self.config.public.listen,
            roles: self.roles.clone(),
            first_frames: self.first_frames.clone(),
            public: Arc::new(public),
            health,
            duty: self.duty.clone(),
            own_peer: bound.advertised_peer(&self.config).to_string(),
        }
    }

    async fn start_agent(&self, bound: Bound, node: Arc<OriginNode>) -> Agent {
        let registration = Registration {
            member: self.me.clone(),
            kind: NodeKind::Origin,
            pool: Some(self.config.pool.clone()),
            addresses: bound.advertised(&self.config),
            labels: BTreeMap::new(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: Vec::new(),
            highest_epoch: self.roles.highest_epoch(),
            serving: None,
        };
        let target = Target::new(self.config.control_plane.iter().map(ToString::to_string), self.token.clone());
        let snapshot_file = Some(self.config.data_dir.join("control-plane.json"));
        let urgent = self.urgent.clone();
        Agent::start(agent::Config { target, registration, snapshot_file, urgent }, node).await
    }

    fn peers(&self) -> Peers {
        let (streams, token, urgent) = (self.streams.clone(), self.token.clone(), self.urgent.clone());
        Peers { me: self.me.node.clone(), streams, token, urgent }
    }
}

/// An origin at work.
struct Running {
    roles: Arc<Roles>,
    /// None without a control plane.
    agent: Option<Agent>,
    /// What opens and closes the public port.
    public_port: Tasks,
    close_public_port: CancellationToken,
    /// All the rest.
    tasks: Tasks,
    stop: CancellationToken,
}

impl Running {
    /// Serves at the peer port first, and then looks for the role, with which the public port opens.
    async fn start(parts: Parts, ports: Ports, reload: Reload, process: &Process<Config>) -> anyhow::Result<Self> {
        let Ports { peer: peer_listener, bound } = ports;
        let node = parts.node(bound, &reload, process);
        parts.register(&process.metrics, node.clone(), reload.auth());
        let standalone = parts.standalone();
        let relay = parts.relay(standalone.as_ref(), &process.metrics);
        let health = Health::new().await;
        let peer_server = Server::builder(reload.auth(), &health).node(node.clone()).relay(relay.clone()).build().await;
        let public_server = Server::builder(reload.auth(), &health).without_reflection().drain(DEPOSED_DRAIN);
        let grpc = public_server.relay(relay).build().await;
        let rtmp = parts.connections.clone();
        let public = Public { rtmp, grpc, tls: reload.certificates(), threads: Threads::start()? };

        process.admin.inspect(node.clone());
        let config = &parts.config;
        tracing::info!(peer = %bound.peer, public = %config.public.listen, pool = %config.pool, "origin.listening");

        let (stop, mut tasks) = (CancellationToken::new(), Tasks::default());
        tasks.spawn("streams", keep_streams(&parts, stop.clone()));
        tasks.spawn("role", keep_role(parts.roles.clone(), stop.clone()));
        tasks.spawn("peer port", serve_peers(peer_server, peer_listener, stop.clone()));
        let (close_public_port, mut public_port) = (CancellationToken::new(), Tasks::default());
        public_port.spawn("public port", parts.public_port(public, health, bound).run(close_public_port.clone()));
        tasks.spawn("reload", reload.run(process.reloads.clone(), stop.clone()));

        let agent = match standalone {
            Some(standalone) => {
                standalone.take_role().await?;
                tasks.spawn("standalone", standalone.run(stop.clone()));
                None
            }
            None => {
                let agent = parts.start_agent(bound, node).await;
                parts.standing.send_replace(Some(agent.standing()));
                tasks.spawn("agent", agent.ended());
                tasks.spawn("follows", parts.peers().run(parts.pool.subscribe(), stop.clone()));
                tasks.spawn("pool", follow_pool(parts.config.pool, agent.snapshot(), parts.pool, stop.clone()));
                Some(agent)
            }
        };
        Ok(Self { roles: parts.roles, agent, public_port, close_public_port, tasks, stop })
    }

    /// Serves until the process is told to end; then another takes over first, so that nobody waits. An error: a task has
    /// ended without being told to. An origin that has lost one serves no longer than it must: it might not hear that it
    /// is deposed, or commit nothing.
    async fn run(mut self, shutdown: &Shutdown) -> anyhow::Result<()> {
        let outcome = shutdown.begun_or(self.first_ended()).await;
        let deadline = shutdown.deadline().unwrap_or_else(Instant::now);
        if outcome.is_ok() {
            self.hand_over(deadline).await;
        }
        self.drain(deadline).await;
        outcome.context("the origin cannot go on")
    }

    async fn first_ended(&mut self) -> TaskEnded {
        tokio::select! {
            ended = self.public_port.first_ended() => ended,
            ended = self.tasks.first_ended() => ended,
        }
    }

    /// Waits until another is active, where there is one.
    async fn hand_over(&self, deadline: Instant) {
        if self.agent.as_ref().is_some_and(|agent| agent.standing().connected()) {
            let left = deadline.saturating_duration_since(Instant::now());
            self.roles.hand_over(left.min(HAND_OVER_MAX)).await;
        }
    }

    /// First the role goes, so that edges look elsewhere and keep their viewers and encoders; then the public port, its
    /// listener before its connections.
    async fn drain(self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        self.close_public_port.cancel();
        if timeout(left, self.public_port.join()).await.is_err() {
            tracing::warn!("public.not_closed_in_time");
        }
        if let Some(agent) = self.agent {
            agent.leave().await;
        }
        self.stop.cancel();
        self.tasks.join().await;
    }
}

fn rtmp_config(config: &Config) -> rtmp_net::Config {
    let proxies = config.public.proxies.iter().copied().collect();
    let mut rtmp = rtmp_net::Config { vhosts: config.vhosts.clone(), proxies, ..rtmp_net::Config::default() };
    rtmp.session.limits.handshakes_per_address_max = config.public.handshakes_per_address;
    rtmp.session.limits.publish_bytes_per_second = NonZeroU64::new(config.public.publish_bytes_per_second.0);
    rtmp
}

/// Lets time pass for the streams, among what is seen around this origin.
fn keep_streams(parts: &Parts, stop: CancellationToken) -> impl Future<Output = ()> + use<> {
    let (streams, links, standing) = (parts.streams.clone(), parts.links.clone(), parts.standing.subscribe());
    let control_heard = move || standing.borrow().as_ref().is_none_or(agent::Standing::connected);
    async move { streams.run(|| links.forget_and_count(control_heard(), streams::now()), stop).await }
}

async fn keep_role(roles: Arc<Roles>, stop: CancellationToken) {
    roles.run(stop).await;
}

async fn serve_peers(server: Server, listener: TcpListener, stop: CancellationToken) {
    server.serve(listener, stop.cancelled()).await;
}

/// Keeps the view of our own pool what the control plane says.
async fn follow_pool(
    id: PoolId,
    mut snapshot: watch::Receiver<agent::Snapshot>,
    pool: watch::Sender<Option<PoolView>>,
    stop: CancellationToken,
) {
    loop {
        let view = snapshot.borrow_and_update().pools.iter().find(|pool| pool.id == id).cloned();
        pool.send_if_modified(|held| {
            let changed = *held != view;
            *held = view;
            changed
        });
        tokio::select! {
            () = stop.cancelled() => return,
            // Nothing changes any more once the agent has ended, whose end is its own to tell.
            Ok(()) = snapshot.changed() => {}
        }
    }
}

/// How long calls on the public port may go on once this origin is no longer active.
const DEPOSED_DRAIN: Duration = Duration::from_millis(200);
/// How long another origin may take to take over when this one is told to end.
const HAND_OVER_MAX: Duration = Duration::from_secs(3);

#[cfg(test)]
mod tests;
