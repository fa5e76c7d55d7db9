//! The origin's parts, put together.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    num::NonZeroU64,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use cluster::{
    Address, Epoch, Incarnation, Member, NodeAddresses, NodeKind, PoolId, PoolView, PublishPolicy, Registration,
};
use daemon::{Admission, Process, Threads, publish_policy};
use hub::Hub;
use rpc::{
    agent::{self, Agent},
    auth::{Auth, Caller, Token},
    channel::Target,
    node::{self, Identity},
    server::{Health, Server},
};
use rtmp_net::{Connections, Sessions, door, tls};
use tokio::{
    net::TcpListener,
    sync::{Notify, watch},
    task::JoinSet,
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    config::Config,
    first_frame::FirstFrames,
    links::Links,
    metrics,
    node::OriginNode,
    peers::Peers,
    public::Public,
    relay::Relay,
    role::{Role, Roles, Term},
    rtmp,
    standalone::Standalone,
    stats::Stats,
    streams::{self, Streams},
};

/// How often the public port is tried again when another process holds it.
const BIND_RETRY: Duration = Duration::from_millis(200);
/// How long calls on the public port may go on once this origin is no longer active.
const DEPOSED_DRAIN: Duration = Duration::from_millis(200);

/// Runs an origin until its process is told to end.
pub async fn serve(config: Config, process: Process<Config>) -> anyhow::Result<()> {
    let policy = watch::Sender::new(publish_policy(config.publish.as_ref(), process.dev)?);
    let auth = Arc::new(Auth::open(config.tokens.as_deref(), process.dev)?);
    let token = Token::own(config.tokens.as_deref(), Caller::Origin)?;
    let tls = public_tls(&config)?;
    let peer_listener = daemon::bind("relay and node gRPC", "peer.listen", config.peer.listen)?;
    let peer_address = peer_listener.local_addr().context("the peer port has no address")?;

    let hub = Hub::new(config.stream.ring());
    let incarnation = Incarnation::from_bits(rand::random());
    let me = Member { node: config.node.clone(), incarnation };
    let urgent = Arc::new(Notify::new());
    let pool = watch::Sender::new(None);
    let streams = Arc::new(Streams::new(me.clone(), hub, config.replica(), urgent.clone()));
    let roles = Arc::new(Roles::standby(&config.data_dir, streams.clone(), pool.subscribe(), urgent.clone())?);
    let first_frames = Arc::new(FirstFrames::new(streams.clone(), urgent.clone()));
    let links = Arc::new(Links::default());
    let stats = Arc::new(Stats::default());
    let admission = Arc::new(Admission::new(policy.subscribe()));
    let sessions = Sessions::default();
    let rtmp_config = rtmp_config(&config);
    let term = watch::Sender::new(Term::default());
    let rtmp_service = rtmp::Service { streams: streams.clone(), admission: admission.clone(), term: term.subscribe() };
    let connections = Connections::new(rtmp_config, rtmp_service, sessions.clone());

    let in_force = watch::Sender::new(Arc::new(config.clone()));
    let standing: watch::Sender<Option<agent::Standing>> = watch::Sender::new(None);
    let node = Arc::new(OriginNode {
        identity: Identity {
            id: config.node.clone(),
            incarnation,
            kind: node::NodeKind::Origin,
            version: env!("CARGO_PKG_VERSION"),
            started: Instant::now(),
            listeners: listeners(&config, peer_address, process.admin.address()),
        },
        pool: config.pool.clone(),
        streams: streams.clone(),
        roles: roles.clone(),
        first_frames: first_frames.clone(),
        sessions: sessions.clone(),
        links: links.clone(),
        stats: stats.clone(),
        rtmp_stats: connections.stats().clone(),
        admission: admission.clone(),
        term: term.subscribe(),
        standing: standing.subscribe(),
        config: in_force.subscribe(),
        logs: process.logs.clone(),
        shutdown: process.shutdown.clone(),
        rates: Default::default(),
        notices: Default::default(),
        told_yielded: Default::default(),
    });
    metrics::register(&process.metrics, node.clone());
    let failed = auth.clone();
    process.metrics.collect(move |samples| failed.sample(samples));
    rtmp_net::metrics::register(&process.metrics, sessions, connections.stats().clone());
    door::register(&process.metrics, [("public", connections.gate().clone())]);

    let standalone = config.control_plane.is_empty().then(|| Standalone {
        pool: config.pool.clone(),
        me: me.clone(),
        roles: roles.clone(),
    });
    let relay = Arc::new(Relay {
        node: config.node.clone(),
        streams: streams.clone(),
        term: term.subscribe(),
        epoch_believed_max: standalone.as_ref().map_or(Epoch::MAX, Standalone::epoch_believed_max),
        admission,
        links: links.clone(),
        token: token.clone(),
        stats,
        commit_latency: metrics::commit_latency(&process.metrics),
    });
    let health = Health::new().await;
    let peer_server = Server::builder(auth.clone(), &health).node(node.clone()).relay(relay.clone()).build().await;
    let public_server = Server::builder(auth.clone(), &health).drain(DEPOSED_DRAIN).relay(relay).build().await;
    let public = Arc::new(Public { rtmp: connections, grpc: public_server, tls, threads: Threads::start()? });

    process.admin.inspect(node.clone());
    tracing::info!(peer = %peer_address, public = %config.public.listen, pool = %config.pool, "origin.listening");

    let stop = CancellationToken::new();
    let mut tasks = JoinSet::new();
    tasks.spawn({
        let (streams, stop, standing) = (streams.clone(), stop.clone(), standing.subscribe());
        let control_heard = move || standing.borrow().as_ref().is_none_or(agent::Standing::connected);
        async move { streams.run(|| links.around(control_heard(), streams::now()), stop).await }
    });
    tasks.spawn({
        let (roles, stop) = (roles.clone(), stop.clone());
        async move { roles.run(stop).await }
    });
    tasks.spawn({
        let stop = stop.clone();
        async move { peer_server.serve(peer_listener, stop.cancelled()).await }
    });
    let own_peer = peer_at(&config, peer_address).to_string();
    let front = Front { config: config.clone(), roles: roles.clone(), first_frames, public, health, term, own_peer };
    let front_stop = CancellationToken::new();
    let fronting = tokio::spawn(front.run(front_stop.clone()));
    let reload = Reload { policy, auth, in_force, dev: process.dev };
    tasks.spawn(reload.run(process.reloads.clone(), stop.clone()));

    let agent = match standalone {
        Some(standalone) => {
            standalone.take_role().await?;
            tasks.spawn(standalone.run(stop.clone()));
            None
        }
        None => {
            let addresses = addresses(&config, peer_address, process.admin.address());
            Some(start_agent(&config, me, addresses, token.clone(), &roles, urgent.clone(), node).await)
        }
    };
    standing.send_replace(agent.as_ref().map(Agent::standing));
    if let Some(agent) = &agent {
        let peers = Peers { me: config.node.clone(), streams, token, urgent };
        tasks.spawn(peers.run(pool.subscribe(), stop.clone()));
        tasks.spawn(follow_pool(config.pool.clone(), agent.snapshot(), pool, stop.clone()));
    }

    process.shutdown.begun().await;
    // First another takes over, where there is one, so that nobody waits; then the role goes, so that edges look
    // elsewhere and keep their viewers and encoders; then the public port, its listener before its connections.
    let left = || process.shutdown.deadline().map_or(Duration::ZERO, |at| at.saturating_duration_since(Instant::now()));
    if agent.as_ref().is_some_and(|agent| agent.standing().connected()) {
        hand_over(&roles, left().min(HAND_OVER_MAX)).await;
    }
    let left = left();
    front_stop.cancel();
    if timeout(left, fronting).await.is_err() {
        tracing::warn!("public.not_closed_in_time");
    }
    if let Some(agent) = agent {
        agent.leave().await;
    }
    stop.cancel();
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// The public port, which opens and closes with the role.
struct Front {
    config: Config,
    roles: Arc<Roles>,
    first_frames: Arc<FirstFrames>,
    public: Arc<Public<rtmp::Service>>,
    health: Health,
    term: watch::Sender<Term>,
    /// Where others reach our peer port.
    own_peer: String,
}

impl Front {
    async fn run(self, stop: CancellationToken) {
        let mut roles = self.roles.watch();
        self.health.set_ready(true).await;
        while !stop.is_cancelled() {
            let role = roles.borrow_and_update().clone();
            if role.active {
                self.serve_as_active(&mut roles, &stop).await;
                continue;
            }
            self.term.send_replace(Term { epoch: role.epoch, active_at: role.active_at, ..Term::default() });
            tokio::select! {
                () = stop.cancelled() => {}
                changed = roles.changed() => changed.expect("the roles live as long as we do"),
            }
        }
        self.health.set_ready(false).await;
    }

    /// Keeps the port open until told to stop or another is active; then nothing public is left. A later grant to this
    /// same origin changes the epoch and nothing else.
    async fn serve_as_active(&self, roles: &mut watch::Receiver<Role>, stop: &CancellationToken) {
        let Some(listener) = self.bind(roles, stop).await else { return };
        let close = CancellationToken::new();
        let serving = self.public.clone().serve(listener, close.clone());
        tokio::pin!(serving);
        // Since when the port is open in an epoch, and what waits for its first frame.
        let mut opened: Option<(Epoch, AbortOnDropHandle<()>)> = None;
        loop {
            let role = roles.borrow_and_update().clone();
            if !role.active || stop.is_cancelled() {
                break;
            }
            // Edges that come through a VIP learn by it who is behind that.
            let active_at = Some(self.own_peer.clone());
            let term = Term { epoch: role.epoch, serving: true, yielding: role.yielding, active_at };
            let opens = opened.as_ref().is_none_or(|(epoch, _)| *epoch != role.epoch);
            if opens {
                // Before anybody can hear that it is open.
                let first_frame = self.first_frames.begin(role.epoch);
                opened = Some((role.epoch, AbortOnDropHandle::new(tokio::spawn(first_frame))));
            }
            self.term.send_replace(term);
            if opens {
                self.health.set_active(true).await;
                tracing::info!(epoch = role.epoch.0, "public.opened");
            }
            tokio::select! {
                () = &mut serving => unreachable!("it serves until it is told to close"),
                () = stop.cancelled() => {}
                changed = roles.changed() => changed.expect("the roles live as long as we do"),
            }
        }
        // Told before anything ends, so that whoever is cut off knows that the streams have not ended.
        let role = roles.borrow().clone();
        self.term.send_replace(Term { epoch: role.epoch, active_at: role.active_at, ..Term::default() });
        self.health.set_active(false).await;
        close.cancel();
        serving.await;
        tracing::info!(epoch = role.epoch.0, "public.closed");
    }

    async fn bind(&self, roles: &mut watch::Receiver<Role>, stop: &CancellationToken) -> Option<TcpListener> {
        let mut told = false;
        loop {
            match daemon::bind("RTMP and relay gRPC", "public.listen", self.config.public.listen) {
                Ok(listener) => return Some(listener),
                Err(error) if !told => {
                    tracing::error!(%error, "public.bind_failed");
                    told = true;
                }
                Err(_) => {}
            }
            tokio::select! {
                () = sleep(BIND_RETRY) => {}
                () = stop.cancelled() => return None,
                _ = roles.changed() => return None,
            }
        }
    }
}

/// Asks for another origin to take over, and waits until one has, or for so long.
async fn hand_over(roles: &Roles, wait: Duration) {
    let mut role = roles.watch();
    if !role.borrow().active {
        return;
    }
    roles.ask_for_relief();
    match timeout(wait, role.wait_for(|role| !role.active)).await {
        Ok(_) => tracing::info!("role.handed_over"),
        Err(_) => tracing::warn!("role.nobody_took_over"),
    }
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
            changed = snapshot.changed() => if changed.is_err() { return },
        }
    }
}

/// How long another origin may take to take over when this one is told to end.
const HAND_OVER_MAX: Duration = Duration::from_secs(3);

/// Takes what may change while the process runs: keys and tokens.
struct Reload {
    policy: watch::Sender<PublishPolicy>,
    auth: Arc<Auth>,
    in_force: watch::Sender<Arc<Config>>,
    dev: bool,
}

impl Reload {
    async fn run(self, mut reloads: daemon::Reloads<Config>, stop: CancellationToken) {
        while let Some(config) = stop.run_until_cancelled(reloads.next()).await {
            self.auth.read_again(config.tokens.as_deref());
            match publish_policy(config.publish.as_ref(), self.dev) {
                Ok(new) => drop(self.policy.send_replace(new)),
                Err(error) => tracing::error!(%error, "publish.not_reloaded"),
            }
            self.in_force.send_modify(|held| *held = Arc::new(held.with_reloadable(&config)));
        }
    }
}

fn rtmp_config(config: &Config) -> rtmp_net::Config {
    let proxies = config.public.proxies.iter().copied().collect();
    let mut rtmp = rtmp_net::Config { vhosts: config.vhosts.clone(), proxies, ..rtmp_net::Config::default() };
    rtmp.session.limits.handshakes_per_address_max = config.public.handshakes_per_address;
    rtmp.session.limits.publish_bytes_per_second = NonZeroU64::new(config.public.publish_bytes_per_second.0);
    rtmp
}

fn public_tls(config: &Config) -> anyhow::Result<Option<tls::ServerConfig>> {
    let (Some(certificates), Some(key)) = (&config.public.certificates, &config.public.key) else { return Ok(None) };
    Ok(Some(tls::ServerConfig::from_files(certificates, key, &["h2"]).context("public.certificates, public.key")?))
}

fn listeners(config: &Config, peer: SocketAddr, admin: SocketAddr) -> BTreeMap<String, String> {
    let pairs = [("rtmp", config.public.listen), ("grpc", peer), ("admin", admin)];
    pairs.into_iter().map(|(name, address)| (name.to_owned(), address.to_string())).collect()
}

fn addresses(config: &Config, peer: SocketAddr, admin: SocketAddr) -> NodeAddresses {
    NodeAddresses {
        public: Some(config.public.advertise.clone().unwrap_or_else(|| Address::from(config.public.listen))),
        peer: Some(peer_at(config, peer)),
        http: None,
        admin: Some(admin.into()),
    }
}

fn peer_at(config: &Config, bound: SocketAddr) -> Address {
    config.peer.advertise.clone().unwrap_or_else(|| Address::from(bound))
}

async fn start_agent(
    config: &Config,
    member: Member,
    addresses: NodeAddresses,
    token: Option<Token>,
    roles: &Roles,
    urgent: Arc<Notify>,
    node: Arc<OriginNode>,
) -> Agent {
    let registration = Registration {
        member,
        kind: NodeKind::Origin,
        pool: Some(config.pool.clone()),
        addresses,
        labels: BTreeMap::new(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        capabilities: Vec::new(),
        highest_epoch: roles.highest_epoch(),
        serving: None,
    };
    let target = Target::new(config.control_plane.iter().map(ToString::to_string), token);
    let snapshot_file = Some(config.data_dir.join("control-plane.json"));
    Agent::start(agent::Config { target, registration, snapshot_file, urgent }, node).await
}
