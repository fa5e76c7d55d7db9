//! All connections of a server, and how they end together.

mod greeting;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use telemetry::Throttle;
use tokio::{net::TcpStream, time::timeout};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

pub(crate) use greeting::Greeted;

use crate::{
    config::Config,
    connection::Connection,
    door::{self, CalledBack, Gate, Guest, Pass},
    service::Service,
    sessions::Sessions,
    stats::{Stats, add},
    transport::Transport,
};

/// The connections in front of one service, all owned here: until its handshake is done each is one task, behind it
/// another. Cheap to clone; clones share them.
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
    pub(crate) rows: crate::rows::Rows,
    /// Refusals are told of one address so often.
    pub(crate) refusals: Throttle,
    gate: Arc<Gate>,
    tasks: TaskTracker,
    signals: Mutex<Signals>,
}

const REFUSALS_TOLD_EVERY: Duration = Duration::from_secs(10);

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
        tracing::info!(?limits, handshakes_max = config.handshakes_max, "rtmp.limits");
        let gate = Gate::new(door::Config {
            unfinished_max: config.handshakes_max,
            unfinished_per_address_max: limits.handshakes_per_address_max,
            patience: limits.handshake_timeout,
            proxies: config.proxies.clone(),
        });
        let stats = Arc::<Stats>::default();
        let shared = Shared {
            service,
            rows: crate::rows::Rows::of_rtmp(stats.clone(), config.pressure.clone()),
            session_config: Arc::new(config.session.clone()),
            config,
            sessions,
            stats,
            refusals: Throttle::new(REFUSALS_TOLD_EVERY),
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

    /// How many rows their viewers sit in.
    #[cfg(test)]
    pub(crate) fn rows_open(&self) -> usize {
        self.shared.rows.open()
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

    /// Serves a client whose address is settled (PROXY header read), over a transport that is set up.
    pub fn serve_introduced<T: Transport>(&self, transport: T, peer: SocketAddr, pass: Pass) {
        let (shared, called_back) = (self.shared.clone(), pass.called_back());
        self.greet_then_serve(peer, called_back, async move { shared.greet(transport, peer, pass).await });
    }

    /// Serves a client that has just come in: hears its proxy, sets its transport up, as TLS has to be, and goes on with it.
    /// One that takes longer for all that than for a handshake is dropped.
    pub(crate) fn serve_guest<T, F>(&self, guest: Guest, set_up: impl FnOnce(TcpStream) -> F + Send + 'static)
    where
        T: Transport,
        F: Future<Output = io::Result<T>> + Send,
    {
        let (shared, called_back) = (self.shared.clone(), guest.pass.called_back());
        self.greet_then_serve(guest.peer, called_back, async move {
            let (transport, peer, pass) = shared.introduce(guest, set_up).await?;
            shared.greet(transport, peer, pass).await
        });
    }

    /// Waits, on a task of its own, for a client to be greeted, unless its place is needed before; then serves it.
    fn greet_then_serve<T: Transport>(
        &self,
        peer: SocketAddr,
        called_back: CalledBack,
        greeting: impl Future<Output = Option<Greeted<T>>> + Send + 'static,
    ) {
        add(&self.shared.stats.accepted, 1);
        let (shared, signals) = (self.shared.clone(), self.signals().clone());
        // In a place of its own: here it would take its room twice.
        let greeting = Box::pin(greeting);
        self.shared.tasks.spawn(async move {
            let greeted = tokio::select! {
                biased;
                () = called_back => return tracing::debug!(%peer, "connection.crowded_out"),
                () = signals.reset.cancelled() => return,
                () = signals.end.cancelled() => return,
                greeted = greeting => greeted,
            };
            // On a task of its own: neither needs the other's room.
            if let Some(greeted) = greeted {
                shared.tasks.spawn(Connection::new(shared.clone(), greeted, signals.child()).run());
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

    /// The sizes of a connection's task before and behind its handshake.
    #[cfg(test)]
    pub(crate) async fn future_bytes<T: Transport>(&self, transport: T, peer: SocketAddr) -> (usize, usize) {
        let pass = self.shared.gate.enter(peer).expect("nobody else is here");
        let greeting = self.shared.greet(transport, peer, pass);
        let before = std::mem::size_of_val(&greeting);
        let greeted = greeting.await.expect("the handshake is sent");
        let behind = Connection::new(self.shared.clone(), greeted, self.signals().child()).run();
        (before, std::mem::size_of_val(&behind))
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

impl<S: Service> Clone for Connections<S> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone() }
    }
}
