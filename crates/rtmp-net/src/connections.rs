//! All connections of a server, and how they end together.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::timeout;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    config::Config,
    connection::Connection,
    gate::{Gate, Pass, TooMany},
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
        let gate = Gate::new(config.handshakes_max, limits.handshakes_per_address_max);
        let shared = Shared {
            service,
            session_config: Arc::new(config.session.clone()),
            config,
            sessions,
            stats: Arc::default(),
            gate: Arc::new(gate),
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

    /// Serves a client whose connection was accepted, on a task of its own.
    pub fn serve<T: Transport>(&self, transport: T, peer: SocketAddr) -> Result<(), TooMany> {
        let pass = self.admit(peer)?;
        let connection = Connection::new(self.shared.clone(), transport, peer, self.signals().child(), pass);
        self.shared.tasks.spawn(connection.run());
        Ok(())
    }

    /// The same for a client whose transport has yet to be set up, as TLS is. A client that takes longer for that than
    /// for a handshake is dropped.
    pub(crate) fn serve_later<T, F>(&self, transport: F, peer: SocketAddr) -> Result<(), TooMany>
    where
        T: Transport,
        F: Future<Output = std::io::Result<T>> + Send + 'static,
    {
        let pass = self.admit(peer)?;
        let (shared, signals) = (self.shared.clone(), self.signals().child());
        self.shared.tasks.spawn(async move {
            let patience = shared.session_config.limits.handshake_timeout;
            let transport = tokio::select! {
                transport = timeout(patience, transport) => transport,
                () = signals.reset.cancelled() => return,
            };
            match transport.map_err(std::io::Error::from).flatten() {
                Ok(transport) => Connection::new(shared, transport, peer, signals, pass).run().await,
                Err(error) => {
                    let ended = crate::ended::Ended::Tls(error);
                    tracing::debug!(%peer, reason = ended.reason(), error = %ended, "connection.ended");
                    shared.stats.count_ended(&ended);
                }
            }
        });
        Ok(())
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
        let pass = self.admit(peer).expect("nobody else is here");
        let signals = self.signals().child();
        std::mem::size_of_val(&Connection::new(self.shared.clone(), transport, peer, signals, pass).run())
    }

    async fn wait(&self) {
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.tasks.reopen();
    }

    fn admit(&self, peer: SocketAddr) -> Result<Pass, TooMany> {
        let pass = self.shared.gate.enter(peer.ip());
        let count = if pass.is_ok() { &self.shared.stats.accepted } else { &self.shared.stats.turned_away };
        add(count, 1);
        pass
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
