//! The public port: RTMP and relay gRPC on one listener, open only while this origin is active.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use rpc::server::Connection;
use rtmp_net::{Connections, Service, Transport, tls::ServerConfig};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, mpsc},
    time::{sleep, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a client has to send its first byte, and to finish a TLS handshake.
const FIRST_BYTE_WAIT: Duration = Duration::from_secs(5);
/// Clients that have not said yet what they speak; one more is closed.
const UNDECIDED_MAX: usize = 16_384;
/// Clients that speak gRPC and wait to be taken by its server.
const GRPC_QUEUE: usize = 64;
/// Between two attempts to accept when the process is out of something.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// What stands behind the port.
pub struct Public<S: Service> {
    /// Encoders and players.
    pub rtmp: Connections<S>,
    /// Edges.
    pub grpc: rpc::server::Server,
    /// The certificate, where TLS is accepted too.
    pub tls: Option<ServerConfig>,
}

/// What a connection's first byte says that it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Rtmp,
    Http2,
    Tls,
    Nothing,
}

impl Speaks {
    fn from_first(byte: Option<u8>) -> Self {
        match byte {
            // The RTMP handshake refuses versions that it does not know, and counts them.
            Some(0..=0x15 | 0x17..=0x1f) => Self::Rtmp,
            Some(0x16) => Self::Tls,
            // "PRI * HTTP/2.0"
            Some(b'P') => Self::Http2,
            _ => Self::Nothing,
        }
    }
}

impl<S: Service> Public<S> {
    /// Serves the listener until told to stop; then the port is closed and every public connection reset, since no
    /// load balancer will do it.
    pub async fn serve(self: Arc<Self>, listener: TcpListener, stop: CancellationToken) {
        let (edges, queue) = mpsc::channel(GRPC_QUEUE);
        let tasks = TaskTracker::new();
        let grpc = self.grpc.serve_connections(ReceiverStream::new(queue), stop.cancelled());
        tokio::join!(grpc, async {
            self.accept(&listener, &edges, &tasks, &stop).await;
            drop((listener, edges));
            tasks.close();
            tasks.wait().await;
            self.rtmp.reset().await;
        });
    }

    async fn accept(
        self: &Arc<Self>,
        listener: &TcpListener,
        edges: &mpsc::Sender<Connection>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let undecided = Arc::new(Semaphore::new(UNDECIDED_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = stop.cancelled() => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let Ok(place) = undecided.clone().try_acquire_owned() else { continue };
                    let (public, edges, stop) = (self.clone(), edges.clone(), stop.clone());
                    tasks.spawn(async move {
                        stop.run_until_cancelled(public.admit(stream, peer, edges)).await;
                        drop(place);
                    });
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    tracing::warn!(%error, "public.accept_failed");
                    sleep(ACCEPT_RETRY).await;
                }
            }
        }
    }

    /// Hands a client to whoever speaks its language.
    async fn admit(&self, stream: TcpStream, peer: SocketAddr, edges: mpsc::Sender<Connection>) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%peer, %error, "public.nodelay_failed");
        }
        let mut first = [0];
        let speaks = match timeout(FIRST_BYTE_WAIT, stream.peek(&mut first)).await {
            Ok(Ok(1)) => Speaks::from_first(Some(first[0])),
            _ => Speaks::Nothing,
        };
        match (speaks, &self.tls) {
            (Speaks::Rtmp, _) => self.serve_rtmp(stream, peer),
            (Speaks::Http2, _) => serve_grpc(stream, peer, edges).await,
            (Speaks::Tls, Some(config)) => self.admit_tls(config.clone().into(), stream, peer, edges).await,
            (Speaks::Tls | Speaks::Nothing, _) => tracing::debug!(%peer, ?speaks, "public.refused"),
        }
    }

    async fn admit_tls(
        &self,
        acceptor: TlsAcceptor,
        stream: TcpStream,
        peer: SocketAddr,
        edges: mpsc::Sender<Connection>,
    ) {
        let stream = match timeout(FIRST_BYTE_WAIT, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "public.tls_failed"),
            Err(_) => return tracing::debug!(%peer, "public.tls_slow"),
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            serve_grpc(stream, peer, edges).await;
        } else {
            self.serve_rtmp(stream, peer);
        }
    }

    fn serve_rtmp(&self, stream: impl Transport, peer: SocketAddr) {
        if let Err(error) = self.rtmp.serve(stream, peer) {
            tracing::debug!(%peer, %error, "public.turned_away");
        }
    }
}

async fn serve_grpc(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
    edges: mpsc::Sender<Connection>,
) {
    // The receiver is gone only when the port is being closed.
    drop(edges.send(Connection::new(stream, peer)).await);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_tells_the_languages_apart() {
        for (byte, speaks) in [
            (Some(3), Speaks::Rtmp),
            (Some(6), Speaks::Rtmp),
            (Some(b'P'), Speaks::Http2),
            (Some(0x16), Speaks::Tls),
            (Some(b'G'), Speaks::Nothing),
            (Some(0xff), Speaks::Nothing),
            (None, Speaks::Nothing),
        ] {
            assert_eq!(Speaks::from_first(byte), speaks, "{byte:?}");
        }
    }
}
