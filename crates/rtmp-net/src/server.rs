//! A listener in front of connections.

use std::{io, net::SocketAddr, time::Duration};

use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{connections::Connections, service::Service, tls};

/// A bound listener. Until [`Server::run`] the kernel queues clients; dropping it closes the port.
pub struct Server<S: Service> {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    connections: Connections<S>,
}

impl<S: Service> Server<S> {
    /// Binds a port for RTMP. Port 0 is any free one.
    pub async fn bind(listen: SocketAddr, connections: Connections<S>) -> Result<Self, BindError> {
        let listener = TcpListener::bind(listen).await.map_err(|error| BindError { listen, error })?;
        Ok(Self::over(listener, connections))
    }

    /// Speaks RTMP on a port that was bound elsewhere.
    pub fn over(listener: TcpListener, connections: Connections<S>) -> Self {
        Self { listener, tls: None, connections }
    }

    /// Speaks RTMPS instead.
    pub fn with_tls(self, config: tls::ServerConfig) -> Self {
        Self { tls: Some(config.into()), ..self }
    }

    /// Binds a port for RTMPS. Port 0 is any free one.
    pub async fn bind_tls(
        listen: SocketAddr,
        config: tls::ServerConfig,
        connections: Connections<S>,
    ) -> Result<Self, BindError> {
        Ok(Self::bind(listen, connections).await?.with_tls(config))
    }

    /// The address that is bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Accepts clients until told to stop, then closes the port. The connections stay: end them with
    /// [`Connections::drain`] or [`Connections::reset`].
    pub async fn run(self, stop: CancellationToken) {
        let mut pause = PAUSE_MIN;
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    pause = PAUSE_MIN;
                    self.take(stream, peer);
                }
                // One client's misfortune.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                // Most likely out of file descriptors: it passes, but not by trying at once.
                Err(error) => {
                    tracing::warn!(%error, "rtmp.accept_failed");
                    tokio::select! {
                        () = tokio::time::sleep(pause) => {}
                        () = stop.cancelled() => return,
                    }
                    pause = (pause * 2).min(PAUSE_MAX);
                }
            }
        }
    }

    fn take(&self, stream: TcpStream, peer: SocketAddr) {
        // Frames go out when they are due, not when there is more.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "rtmp.nodelay_failed");
        }
        let served = match &self.tls {
            None => self.connections.serve(stream, peer),
            Some(tls) => self.connections.serve_later(tls.accept(stream), peer),
        };
        if let Err(error) = served {
            tracing::debug!(%peer, %error, "connection.turned_away");
        }
    }
}

/// The port cannot be had.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {listen}: {error}")]
pub struct BindError {
    /// The address that was asked for.
    pub listen: SocketAddr,
    /// Why not.
    #[source]
    pub error: io::Error,
}

const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_secs(1);
