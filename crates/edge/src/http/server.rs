//! Listeners of the HTTP side and the connections they accept.

use std::{collections::BTreeSet, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::Router;
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
use tokio::{
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, warn};

use super::{playback::Playback, router::router, stall::StallGuard};

/// Bounds and habits of the HTTP side.
#[derive(Debug, Clone)]
pub struct Config {
    /// Hosts that are vhosts of their own; all others are the default one.
    pub vhosts: BTreeSet<String>,
    /// Connections at once; more are closed as they come.
    pub connections_max: usize,
    /// A request's head must have come within this time.
    pub head_timeout: Duration,
    /// A viewer that takes not one byte for this long is cut.
    pub stall_timeout: Duration,
    /// A viewer for whom more payload bytes than this wait goes on at a newer keyframe.
    pub lag_bytes_max: u64,
    /// How long viewers have to take their last bytes when the server stops.
    pub stop_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            vhosts: BTreeSet::new(),
            connections_max: 100_000,
            head_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(15),
            lag_bytes_max: 4 << 20,
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
    /// Ends every feed cleanly.
    pub(super) stop: CancellationToken,
    /// Drops every connection.
    cut: CancellationToken,
    /// Connections, and the WebSockets that outlive them.
    pub(super) tasks: TaskTracker,
}

/// The connection that a request came by.
#[derive(Debug, Clone)]
pub(super) struct Connection {
    pub(super) peer: SocketAddr,
    /// Drops the connection at once.
    pub(super) cut: CancellationToken,
}

impl<P: Playback> Server<P> {
    /// A server on listeners that are bound already.
    pub fn new(listeners: Vec<TcpListener>, config: Config, playback: P) -> Self {
        let (stop, cut) = (CancellationToken::new(), CancellationToken::new());
        Self { listeners, shared: Arc::new(Shared { config, playback, stop, cut, tasks: TaskTracker::new() }) }
    }

    /// The addresses that are listened on.
    pub fn addresses(&self) -> io::Result<Vec<SocketAddr>> {
        self.listeners.iter().map(TcpListener::local_addr).collect()
    }

    /// Serves until `shutdown`, then lets every viewer's file end, and drops those that have not taken it in time.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { listeners, shared } = self;
        let router = router(shared.clone());
        let accepting = listeners.into_iter().map(|listener| accept(listener, router.clone(), shared.clone()));
        shutdown.run_until_cancelled(join_all(accepting)).await;
        shared.stop.cancel();
        shared.tasks.close();
        if timeout(shared.config.stop_timeout, shared.tasks.wait()).await.is_err() {
            shared.cut.cancel();
            shared.tasks.wait().await;
        }
    }
}

async fn accept<P: Playback>(listener: TcpListener, router: Router, shared: Arc<Shared<P>>) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) if shared.tasks.len() < shared.config.connections_max => {
                shared.tasks.spawn(serve(stream, peer, router.clone(), shared.clone()));
            }
            Ok((_stream, peer)) => debug!(%peer, "closed at once: connections_max is reached"),
            Err(error) => {
                warn!(%error, "a connection could not be accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn serve<P: Playback>(stream: TcpStream, peer: SocketAddr, router: Router, shared: Arc<Shared<P>>) {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%peer, %error, "TCP_NODELAY could not be set");
    }
    let connection = Connection { peer, cut: shared.cut.child_token() };
    let cut = connection.cut.clone();
    let router = TowerToHyperService::new(router);
    let service = service_fn(move |mut request: Request<Incoming>| {
        request.extensions_mut().insert(connection.clone());
        router.call(request)
    });
    let io = TokioIo::new(StallGuard::new(stream, shared.config.stall_timeout));
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(shared.config.head_timeout).max_buf_size(BUFFER_BYTES_MAX);
    let mut serving = pin!(http.serve_connection(io, service).with_upgrades());
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = cut.cancelled() => return,
        () = shared.stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            match cut.run_until_cancelled(serving).await {
                Some(ended) => ended,
                None => return,
            }
        }
    };
    if let Err(error) = ended {
        debug!(%peer, %error, "connection ended");
    }
}

/// Held by hyper for one connection: a request's head, or what waits to be written.
const BUFFER_BYTES_MAX: usize = 256 << 10;
/// After a failed accept, such as for want of file descriptors, others get time to end.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
