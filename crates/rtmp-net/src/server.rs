//! A listener in front of connections.

use std::{future::ready, io, net::SocketAddr};

use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

use crate::{connections::Connections, door::Door, service::Service, tls};

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
        let Self { listener, tls, connections } = self;
        let mut door = Door::new(listener, connections.gate().clone());
        while let Some(guest) = stop.run_until_cancelled(door.next()).await {
            match &tls {
                None => connections.serve_guest(guest, |stream| ready(Ok(stream))),
                Some(tls) => {
                    let tls = tls.clone();
                    connections.serve_guest(guest, move |stream| tls.accept(stream));
                }
            }
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
