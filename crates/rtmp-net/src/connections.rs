//! All connections of a server, and how they end together.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::{
    net::TcpStream,
    time::{timeout, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config,
    connection::Connection,
    door::{self, Gate, Guest, Pass},
    ended::Ended,
    service::Service,
    sessions::Sessions,
    stats::{Stats, add},
    transport::Transport,
};

/// The connections in front of one service: one task each, all owned here. Cheap to clone; clones share them.
pub struct Connections<S: Service> {
    shared: Arc<Shared<S>>,
}

/// What all connections need.
pub(crate) struct Shared<S> {
    pub(crate) service: S,
    pub(crate) config: Config,
    pub(crate) session_config: Arc<rtmp::server::Config>,
    pub(crate) sessions: Sessions,
    pub(crate) stats: Arc<Stats>,
    gate: Arc<Gate>,
    tasks: TaskTracker,
    signals: Mutex<Signals>,
}

/// How the connections of one term are told to end.
#[derive(Debug, Clone, Default)]
pub(crate) struct Signals {
    /// In good order.
    pub(crate) end: CancellationToken,
    /// At once.
    pub(crate) reset: CancellationToken,
}

impl Signals {
    /// The same for one connection, which then waits for them without a lock that it shares with all.
    fn child(&self) -> Self {
        Self { end: self.end.child_token(), reset: self.reset.child_token() }
    }
}

impl<S: Service> Connections<S> {
    /// None yet.
    pub fn new(config: Config, service: S, sessions: Sessions) -> Self {
        let limits = &config.session.limits;
        let gate = Gate::new(door::Config {
            unfinished_max: config.handshakes_max,
            unfinished_per_address_max: limits.handshakes_per_address_max,
            patience: limits.handshake_timeout,
            proxies: config.proxies.clone(),
        });
        let shared = Shared {
            service,
            session_config: Arc::new(config.session.clone()),
            config,
            sessions,
            stats: Arc::default(),
            gate,
            tasks: TaskTracker::new(),
            signals: Mutex::default(),
        };
        Self { shared: Arc::new(shared) }
    }

    /// What is counted.
    pub fn stats(&self) -> &Arc<Stats> {
        &self.shared.stats
    }

    /// The service in front of which they stand.
    pub fn service(&self) -> &S {
        &self.shared.service
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.shared.tasks.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.shared.tasks.is_empty()
    }

    /// What the doors of these connections stand before.
    pub fn gate(&self) -> &Arc<Gate> {
        &self.shared.gate
    }

    /// Serves a client of whom it is known who it is, over a transport that is set up, on a task of its own.
    pub fn serve<T: Transport>(&self, transport: T, peer: SocketAddr, pass: Pass) {
        add(&self.shared.stats.accepted, 1);
        let signals = self.signals().child();
        self.shared.tasks.spawn(self.shared.clone().attend(transport, peer, pass, signals));
    }

    /// Serves a client that has just come in: hears its proxy, sets its transport up, as TLS has to be, and goes on with it.
    /// One that takes longer for that than for a handshake is dropped.
    pub(crate) fn receive<T, F>(&self, guest: Guest, set_up: impl FnOnce(TcpStream) -> F + Send + 'static)
    where
        T: Transport,
        F: Future<Output = io::Result<T>> + Send,
    {
        add(&self.shared.stats.accepted, 1);
        let (shared, signals) = (self.shared.clone(), self.signals().child());
        self.shared.tasks.spawn(async move {
            let peer = guest.peer;
            let settled = tokio::select! {
                biased;
                () = guest.pass.called_back() => return on_called_back(peer),
                () = signals.reset.cancelled() => return,
                settled = shared.settle(guest, set_up) => settled,
            };
            // On a task of its own: an idle viewer's need not have the room that setting up took.
            if let Some((transport, peer, pass)) = settled {
                shared.tasks.spawn(shared.clone().attend(transport, peer, pass, signals));
            }
        });
    }

    /// Resets all connections at once, as a node does that loses its role. New ones may come afterwards.
    pub async fn reset(&self) {
        let ended = std::mem::take(&mut *self.signals());
        ended.reset.cancel();
        self.wait().await;
    }

    /// Waits for all connections to end by themselves; ends those in good order that are there after `deadline`. The
    /// caller takes no new ones meanwhile.
    pub async fn drain(&self, deadline: Duration) {
        if timeout(deadline, self.wait()).await.is_ok() {
            return;
        }
        self.signals().end.cancel();
        // Twice the time that each has for its goodbye, and no more.
        if timeout(self.shared.config.farewell_timeout * 2, self.wait()).await.is_err() {
            self.reset().await;
        }
    }

    /// The size of a connection's task.
    #[cfg(test)]
    pub(crate) fn future_bytes<T: Transport>(&self, transport: T, peer: SocketAddr) -> usize {
        let pass = self.shared.gate.enter(peer).expect("nobody else is here");
        std::mem::size_of_val(&self.shared.clone().attend(transport, peer, pass, self.signals().child()))
    }

    async fn wait(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.tasks.reopen();
    }

    fn signals(&self) -> MutexGuard<'_, Signals> {
        self.shared.signals.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Service> Shared<S> {
    /// A client's life, unless its place is needed before its handshake is done. An `async fn` would hold the transport
    /// twice.
    #[expect(clippy::manual_async_fn)]
    fn attend<T: Transport>(
        self: Arc<Self>,
        transport: T,
        peer: SocketAddr,
        pass: Pass,
        signals: Signals,
    ) -> impl Future<Output = ()> + Send {
        async move {
            tokio::select! {
                biased;
                () = pass.called_back() => on_called_back(peer),
                () = Connection::new(self, transport, peer, signals, pass).run() => {}
            }
        }
    }

    /// Everything before the first byte of RTMP.
    async fn settle<T, F>(
        &self,
        guest: Guest,
        set_up: impl FnOnce(TcpStream) -> F + Send,
    ) -> Option<(T, SocketAddr, Pass)>
    where
        T: Transport,
        F: Future<Output = io::Result<T>> + Send,
    {
        // The door has told and counted why not.
        let Guest { stream, peer, pass } = guest.introduced().await.ok()?;
        let transport = timeout_at(pass.deadline(), set_up(stream)).await;
        match transport.map_err(io::Error::from).flatten() {
            Ok(transport) => Some((transport, peer, pass)),
            Err(error) => {
                let ended = Ended::Tls(error);
                tracing::debug!(%peer, reason = ended.reason(), error = %ended, "connection.ended");
                self.stats.count_ended(&ended);
                None
            }
        }
    }
}

fn on_called_back(peer: SocketAddr) {
    tracing::debug!(%peer, "connection.crowded_out");
}

impl<S: Service> Clone for Connections<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}
