//! The public port: RTMP and relay gRPC on one listener, open only while this origin is active.

use std::{io, net::SocketAddr, sync::Arc};

use daemon::Threads;
use rpc::server::Connection;
use rtmp_net::{
    Connections, Service,
    door::{Door, Guest, Pass, TurnedAway},
    tls::ServerConfig,
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::mpsc,
    time::timeout_at,
};
use tokio_rustls::TlsAcceptor;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::{
    sync::CancellationToken,
    task::{AbortOnDropHandle, TaskTracker},
};

/// Clients that speak gRPC and wait to be taken by its server.
const GRPC_QUEUE: usize = 64;

/// What stands behind the port.
pub struct Public<S: Service> {
    /// Encoders and players.
    pub rtmp: Connections<S>,
    /// Edges.
    pub grpc: rpc::server::Server,
    /// The certificate, where TLS is accepted too.
    pub tls: Option<ServerConfig>,
    /// Where encoders and players are served.
    pub threads: Threads,
}

/// What a connection's first byte says that it speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaks {
    Rtmp,
    Http2,
    Tls,
    /// Nothing that this port knows.
    Foreign,
}

impl Speaks {
    fn from_first(byte: u8) -> Self {
        match byte {
            // The RTMP handshake refuses versions that it does not know, and counts them.
            0..=0x15 | 0x17..=0x1f => Self::Rtmp,
            0x16 => Self::Tls,
            // "PRI * HTTP/2.0"
            b'P' => Self::Http2,
            _ => Self::Foreign,
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
            self.accept(listener, &edges, &tasks, &stop).await;
            drop(edges);
            tasks.close();
            tasks.wait().await;
            self.rtmp.reset().await;
        });
    }

    async fn accept(
        self: &Arc<Self>,
        listener: TcpListener,
        edges: &mpsc::Sender<Connection>,
        tasks: &TaskTracker,
        stop: &CancellationToken,
    ) {
        let mut door = Door::new(listener, self.rtmp.gate().clone());
        while let Some(guest) = stop.run_until_cancelled(door.next()).await {
            let (public, edges, stop) = (self.clone(), edges.clone(), stop.clone());
            let admitting = tasks.clone();
            tasks.spawn(async move {
                let peer = guest.peer;
                tokio::select! {
                    biased;
                    () = stop.cancelled() => {}
                    () = guest.pass.called_back() => tracing::debug!(%peer, "public.crowded_out"),
                    () = public.admit(guest, edges, admitting) => {}
                }
            });
        }
    }

    /// Hands a client to whoever speaks its language.
    async fn admit(self: Arc<Self>, guest: Guest, edges: mpsc::Sender<Connection>, tasks: TaskTracker) {
        // The door has told and counted why not.
        let Ok(Guest { stream, peer, pass }) = guest.introduced().await else { return };
        let mut first = [0];
        let speaks = match timeout_at(pass.deadline(), stream.peek(&mut first)).await {
            Ok(Ok(1)) => Speaks::from_first(first[0]),
            Ok(_) => return tracing::debug!(%peer, "public.left"),
            Err(_) => return self.turn_away(peer, TurnedAway::Silent),
        };
        match (speaks, &self.tls) {
            (Speaks::Rtmp, _) => match self.bring_home(stream) {
                Ok(stream) => {
                    let _home = self.threads.enter();
                    self.rtmp.serve_introduced(stream, peer, pass);
                }
                Err(error) => tracing::debug!(%peer, %error, "public.lost"),
            },
            (Speaks::Http2, _) => serve_grpc(stream, peer, pass, edges).await,
            (Speaks::Tls, Some(config)) => match self.bring_home(stream) {
                Ok(stream) => {
                    let admitted = self.clone().admit_tls(config.clone().into(), Guest { stream, peer, pass }, edges);
                    // Whoever drops this ends it, and whoever closes the port waits until it has ended. A panic there has been told.
                    drop(AbortOnDropHandle::new(tasks.spawn_on(admitted, &self.threads)).await);
                }
                Err(error) => tracing::debug!(%peer, %error, "public.lost"),
            },
            (Speaks::Tls | Speaks::Foreign, _) => self.turn_away(peer, TurnedAway::Foreign),
        }
    }

    /// Counts a client that is closed before anything knows it.
    fn turn_away(&self, peer: SocketAddr, why: TurnedAway) {
        self.rtmp.gate().count(why);
        tracing::debug!(%peer, reason = why.reason(), "public.turned_away");
    }

    /// The events of a client's socket go to the threads that serve it. Those of edges stay, so that what passes between
    /// nodes waits behind no encoder; over TLS it is known too late who speaks, and all go.
    fn bring_home(&self, stream: TcpStream) -> io::Result<TcpStream> {
        let stream = stream.into_std()?;
        let _home = self.threads.enter();
        TcpStream::from_std(stream)
    }

    async fn admit_tls(self: Arc<Self>, acceptor: TlsAcceptor, guest: Guest, edges: mpsc::Sender<Connection>) {
        let Guest { stream, peer, pass } = guest;
        let stream = match timeout_at(pass.deadline(), acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%peer, %error, "public.tls_failed");
                return self.turn_away(peer, TurnedAway::Tls);
            }
            Err(_) => return self.turn_away(peer, TurnedAway::Tls),
        };
        if stream.get_ref().1.alpn_protocol() == Some(b"h2") {
            serve_grpc(stream, peer, pass, edges).await;
        } else {
            self.rtmp.serve_introduced(stream, peer, pass);
        }
    }
}

async fn serve_grpc(
    stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
    peer: SocketAddr,
    pass: Pass,
    edges: mpsc::Sender<Connection>,
) {
    // Its first call with a token that we know finishes what stands for a handshake here.
    let trial = async move {
        pass.called_back().await;
        tracing::debug!(%peer, "public.crowded_out");
    };
    // The receiver is gone only when the port is being closed.
    drop(edges.send(Connection::new(stream, peer).on_trial(trial)).await);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rpc::{
        auth::Auth,
        server::{Health, Server},
    };
    use rtmp_net::{Play, PlayRefusal, Publish, PublishRefusal, Sessions, client, door, tls::Trust};
    use telemetry::metrics::Registry;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        time::timeout,
    };

    use super::*;

    /// Says on which thread it is asked, and refuses.
    struct Asked(mpsc::UnboundedSender<Option<String>>);

    impl Service for Asked {
        type Ingest = crate::rtmp::Ingest;

        async fn publish(&self, _: Publish) -> Result<Self::Ingest, PublishRefusal> {
            self.0.send(std::thread::current().name().map(str::to_owned)).unwrap();
            Err(PublishRefusal::Denied)
        }

        async fn play(&self, _: Play) -> Result<hub::Reader, PlayRefusal> {
            Err(PlayRefusal::NotFound)
        }
    }

    fn certificate() -> ServerConfig {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let [certificates, key] = ["certificates", "key"].map(|name| dir.path().join(name));
        std::fs::write(&certificates, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        ServerConfig::from_files(&certificates, &key, &["h2"]).unwrap()
    }

    /// A port with a certificate, and who is asked behind it.
    async fn public(config: rtmp_net::Config) -> (Arc<Public<Asked>>, mpsc::UnboundedReceiver<Option<String>>) {
        let (asked, threads) = mpsc::unbounded_channel();
        let rtmp = Connections::new(config, Asked(asked), Sessions::default());
        let auth = Arc::new(Auth::open(None, true).unwrap());
        let grpc = Server::builder(auth, &Health::new().await).build().await;
        let tls = Some(certificate());
        (Arc::new(Public { rtmp, grpc, tls, threads: Threads::start().unwrap() }), threads)
    }

    /// By RTMP, and by RTMPS on the same port.
    #[tokio::test]
    async fn encoders_are_served_on_threads_of_their_own() {
        let (public, mut threads) = public(rtmp_net::Config::default()).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(public.serve(listener, stop.clone()));
        let options = client::Options { trust: Some(Trust::anybody().unwrap()), ..client::Options::default() };
        for scheme in ["rtmp", "rtmps"] {
            let url = format!("{scheme}://localhost:{port}/live/a").parse().unwrap();
            let refused = client::publish(&url, &options).await.err().expect("nobody may");
            assert!(refused.to_string().contains("NetStream.Publish"), "{scheme}: {refused}");
            assert_eq!(threads.recv().await.flatten().as_deref(), Some("sessions"), "{scheme}");
        }
        stop.cancel();
        serving.await.unwrap();
    }

    #[tokio::test]
    async fn who_says_nothing_or_nothing_known_is_closed_and_counted() {
        let mut config = rtmp_net::Config::default();
        config.session.limits.handshake_timeout = Duration::from_millis(200);
        let (public, _threads) = public(config).await;
        let metrics = Registry::new();
        door::register(&metrics, [("public", public.rtmp.gate().clone())]);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let serving = tokio::spawn(public.serve(listener, stop.clone()));
        for (first, reason) in
            [(&b""[..], "silent"), (b"GET /", "foreign"), (b"\x16\x03\x01x", "tls"), (b"\x16", "tls")]
        {
            let counted = || {
                let sample = format!("turned_away_total{{port=\"public\",reason=\"{reason}\"}} ");
                let page = metrics.render();
                let count = page.lines().find_map(|line| line.split_once(&sample)).expect("it is shown").1;
                count.parse::<f64>().unwrap()
            };
            let before = counted();
            let mut client = TcpStream::connect(address).await.unwrap();
            client.write_all(first).await.unwrap();
            // TLS has a last word, and a reset is an end as well.
            let _ended = client.read_to_end(&mut Vec::new()).await;
            let count = async {
                while counted() == before {
                    tokio::task::yield_now().await;
                }
            };
            timeout(Duration::from_secs(30), count).await.expect(reason);
            assert_eq!(counted(), before + 1.0, "{first:?}");
        }
        stop.cancel();
        serving.await.unwrap();
    }

    #[test]
    fn the_first_byte_tells_the_languages_apart() {
        for (byte, speaks) in [
            (3, Speaks::Rtmp),
            (6, Speaks::Rtmp),
            (b'P', Speaks::Http2),
            (0x16, Speaks::Tls),
            (b'G', Speaks::Foreign),
            (0xff, Speaks::Foreign),
        ] {
            assert_eq!(Speaks::from_first(byte), speaks, "{byte:#x}");
        }
    }
}
