//! Listeners of the HTTP side and the connections they accept.

use std::{cell::Cell, error::Error, future::Future, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
use bytes::{Bytes, BytesMut};
use futures_util::future::join_all;
use hyper::{
    Request,
    body::Incoming,
    server::conn::http1,
    service::{Service, service_fn},
};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use rtmp_net::{
    Entry, Pressure, Protocol, SendBounds, Sessions,
    door::{self, Door, Gate, Guest, Pass, TurnedAway},
};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use super::{
    flv_file::{Common, FlvRows},
    plain,
    playback::Playback,
    router::router,
    stall::StallGuard,
    stats::{Stats, add},
    upgraded::Served,
    usual::Usual,
};

/// Bounds and habits of the HTTP side.
#[derive(Debug, Clone)]
pub struct Config {
    /// Hosts that are vhosts of their own; all others mean the default one.
    pub vhosts: Vec<String>,
    /// Connections at once; more are closed as they come.
    pub connections_max: usize,
    /// Bounds on connections that have not asked for anything yet.
    pub door: door::Config,
    /// A further request's head must have come within this time. For the first one the door's patience counts.
    pub head_timeout: Duration,
    /// A viewer that takes not one byte for this long is cut.
    pub stall_timeout: Duration,
    /// A viewer that skips again and again without ever catching up is cut after so long, and so is one that has not taken all of
    /// its stream so long after its end.
    pub behind_max: Duration,
    /// What the kernel keeps for each viewer.
    pub send: SendBounds,
    /// Told how long it takes to write to all viewers.
    pub pressure: Pressure,
    /// How long viewers have to take their last bytes when the server stops.
    pub stop_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vhosts: Vec::new(),
            connections_max: 100_000,
            door: door::Config::default(),
            head_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(15),
            behind_max: Duration::from_secs(60),
            send: SendBounds::default(),
            pressure: Pressure::default(),
            stop_timeout: Duration::from_secs(2),
        }
    }
}

/// The HTTP side of an edge: listeners that are bound, then run.
#[derive(Debug)]
pub struct Server<P> {
    listeners: Vec<TcpListener>,
    shared: Arc<Shared<P>>,
}

/// What all connections of a server use.
#[derive(Debug)]
pub(super) struct Shared<P> {
    pub(super) config: Config,
    pub(super) playback: P,
    pub(super) sessions: Sessions,
    pub(super) common: Common,
    gate: Arc<Gate>,
    /// Drops every connection.
    pub(super) cut: CancellationToken,
    /// Connections, and the WebSockets that outlive them.
    pub(super) tasks: TaskTracker,
}

/// The connection that a request came by.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    pub(super) session: Arc<Entry>,
}

impl<P: Playback> Server<P> {
    /// A server on listeners that are bound already. Its viewers are listed in `sessions`.
    pub fn new(listeners: Vec<TcpListener>, config: Config, playback: P, sessions: Sessions) -> Self {
        let stats = Arc::<Stats>::default();
        let rows = Arc::new(FlvRows::new(&stats, &config.pressure));
        let common = Common { stop: CancellationToken::new(), stats, rows };
        let (cut, tasks) = (CancellationToken::new(), TaskTracker::new());
        let gate = Gate::new(config.door.clone());
        Self { listeners, shared: Arc::new(Shared { config, playback, sessions, common, gate, cut, tasks }) }
    }

    /// What is counted, also after the server has been run.
    pub fn stats(&self) -> Arc<Stats> {
        self.shared.common.stats.clone()
    }

    /// What its doors stand before.
    pub fn gate(&self) -> Arc<Gate> {
        self.shared.gate.clone()
    }

    /// The addresses that are listened on.
    #[cfg(test)]
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Serves until `shutdown`, then lets every viewer's file end, and drops those that have not taken it in time.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { listeners, shared } = self;
        let router = router(shared.clone());
        let accepting = listeners.into_iter().map(|listener| accept(listener, router.clone(), shared.clone()));
        shutdown.run_until_cancelled(join_all(accepting)).await;
        // Where there is no listener, nothing has been waited for yet.
        shutdown.cancelled().await;
        shared.common.stop.cancel();
        shared.tasks.close();
        if timeout(shared.config.stop_timeout, shared.tasks.wait()).await.is_err() {
            shared.cut.cancel();
            shared.tasks.wait().await;
        }
    }
}

impl<P> Shared<P> {
    /// Counts a kick and says why.
    pub(super) fn on_kicked(&self, reason: &str) -> String {
        add(&self.common.stats.kicked, 1);
        format!("kicked: {reason}")
    }

    /// What ended a connection; a stall is counted.
    pub(super) fn why(&self, error: &(dyn Error + 'static)) -> String {
        let mut causes = std::iter::successors(Some(error), |&error| error.source());
        let stalled = |cause: &io::Error| cause.kind() == io::ErrorKind::TimedOut;
        if causes.any(|cause| cause.downcast_ref().is_some_and(stalled)) {
            add(&self.common.stats.stalled, 1);
            return "stalled".to_owned();
        }
        error.to_string()
    }
}

async fn accept<P: Playback>(listener: TcpListener, router: Router, shared: Arc<Shared<P>>) {
    let mut door = Door::new(listener, shared.gate.clone());
    loop {
        let guest = door.next().await;
        if shared.tasks.len() >= shared.config.connections_max {
            shared.gate.count(TurnedAway::Full);
            debug!(peer = %guest.peer, "http.turned_away");
            continue;
        }
        add(&shared.common.stats.accepted, 1);
        shared.tasks.spawn(welcome(guest, router.clone(), shared.clone()));
    }
}

/// Serves a client until it has had enough, or, as long as it has asked for nothing, until its place is needed.
async fn welcome<P: Playback>(guest: Guest, router: Router, shared: Arc<Shared<P>>) {
    let peer = guest.peer;
    tokio::select! {
        biased;
        () = guest.pass.called_back() => debug!(%peer, "http.crowded_out"),
        () = shared.cut.cancelled() => {}
        () = serve_guest(guest, router, &shared) => {}
    }
}

async fn serve_guest<P: Playback>(guest: Guest, router: Router, shared: &Shared<P>) {
    // The door has told and counted why somebody is not introduced.
    if let Ok(guest) = guest.introduced().await {
        serve_introduced(guest, router, shared).await;
    }
}

/// Reads what a client asks first, and leaves it to whoever answers that.
async fn serve_introduced<P: Playback>(guest: Guest, router: Router, shared: &Shared<P>) {
    let Guest { mut stream, peer, pass } = guest;
    if let Err(error) = shared.config.send.apply(&stream) {
        debug!(%peer, %error, "http.unbounded");
    }
    let session = Arc::new(shared.sessions.open(Protocol::HttpFlv, peer));
    let mut head = BytesMut::new();
    tokio::select! {
        read = timeout_at(pass.deadline(), plain::read_head(&mut stream, &mut head)) => match read {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return debug!(%peer, %error, "http.lost"),
            Err(_) => {
                shared.gate.count(TurnedAway::Unasked);
                return debug!(%peer, "http.unasked");
            }
        },
        () = shared.common.stop.cancelled() => return,
    }
    if let Some(usual) = Usual::parse(&head) {
        drop((pass, head));
        return serve_usual(usual, stream, (peer, session), shared).await;
    }
    // In a place of its own: most connections never need so much.
    Box::pin(serve_any(stream, head.freeze(), (peer, pass, session), router, shared)).await;
}

/// Leaves a connection to the web server.
async fn serve_any<P: Playback>(
    stream: TcpStream,
    unread: Bytes,
    (peer, pass, session): (SocketAddr, Pass, Arc<Entry>),
    router: Router,
    shared: &Shared<P>,
) {
    let unfinished = Cell::new(Some(pass));
    let connection = Connection { peer, session: session.clone() };
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        // Who has asked for something has finished what stands for a handshake here.
        drop(unfinished.take());
        request.extensions_mut().insert(connection.clone());
        router.call(request)
    });
    let io: Served = TokioIo::new(StallGuard::new(stream, shared.config.stall_timeout).with_unread(unread));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(shared.config.head_timeout).max_buf_size(BUFFER_BYTES_MAX);
    let mut serving = pin!(http.serve_connection(io, service).with_upgrades());
    let mut stopping = false;
    let ended = loop {
        tokio::select! {
            ended = serving.as_mut() => break ended.map_err(|error| shared.why(&error)),
            reason = session.kicked() => break Err(shared.on_kicked(&reason)),
            () = shared.cut.cancelled() => break Err("stopped".to_owned()),
            () = shared.common.stop.cancelled(), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(reason) = ended {
        debug!(session = %session.id(), reason, "http.closed");
    }
}

async fn serve_usual<P: Playback>(
    usual: Usual,
    stream: TcpStream,
    (peer, session): (SocketAddr, Arc<Entry>),
    shared: &Shared<P>,
) {
    attend(usual.serve(stream, (peer, session.clone()), shared), &session, shared).await;
}

/// Lets a viewer be served until that ends, or an operator or the server ends it.
pub(super) async fn attend<P: Playback>(
    serving: impl Future<Output = io::Result<()>>,
    session: &Entry,
    shared: &Shared<P>,
) {
    let ended = tokio::select! {
        ended = serving => ended.map_err(|error| shared.why(&error)),
        reason = session.kicked() => Err(shared.on_kicked(&reason)),
        () = shared.cut.cancelled() => Err("stopped".to_owned()),
    };
    if let Err(reason) = ended {
        debug!(session = %session.id(), reason, "http.closed");
    }
}

/// Held by hyper for one connection: a request's head, or what waits to be written.
pub(super) const BUFFER_BYTES_MAX: usize = 256 << 10;
