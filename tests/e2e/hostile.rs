//! What no encoder and no player means to send: it is turned away, and nobody else notices.
//!
//! `docs/bad-inputs.md` has the rows and which test holds each. Every test here has a stream beside it, published to and
//! played from the process under attack, of which no frame may be missing.

mod amf;
mod chunks;
mod commands;
mod grpc;
mod handshakes;
mod http;
mod media;
mod proxies;
mod rate;
mod readers;
mod restless;
mod secrets;

use std::{io, net::SocketAddr, time::Duration};

use tests::{
    Cluster,
    cluster::NODES,
    flv,
    process::resident_kib,
    rtmp::{Connection, Publisher, Recorder, Url},
    synthetic::{self, Feed},
    tools::{self, Tool::Grpcurl},
    until,
    wait::SOON,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

/// The time between two frames of the stream beside.
const FRAME: Duration = Duration::from_millis(20);
/// How long an answer, or an end, may take on a busy machine.
const ANSWER: Duration = Duration::from_secs(30);
/// How much memory a process may gain over one test.
const GAIN_MAX_KIB: u64 = 48 * 1024;

/// RTMP connections that ended, and connections that were closed before their handshake was done.
const CLOSED: &str = "headwater_sessions_closed_total";
const TURNED_AWAY: &str = "headwater_connections_turned_away_total";
/// HTTP/2 that broke, or asked for nothing.
const HTTP2_FAILED: &str = "headwater_rpc_connections_failed_total";

/// A cluster, and a stream from an encoder by edge-1 and the origin to a viewer at edge-1.
struct Beside {
    cluster: Cluster,
    feed: Feed,
    viewer: Recorder,
    resident: Vec<u64>,
}

/// How far a hostile client goes in good order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeted,
    Connected,
    Publishing,
}

/// What comes of it.
#[derive(Debug, Clone, Copy)]
enum Then {
    /// The server closes, and counts that for this reason.
    Closed(&'static str),
    /// The connection can be used as if nothing had been.
    GoesOn,
}

/// Bytes that a client sends behind what it did in good order.
struct Case {
    what: String,
    bytes: Vec<u8>,
    then: Then,
}

impl Case {
    fn closed(what: impl Into<String>, bytes: Vec<u8>, reason: &'static str) -> Self {
        Self { what: what.into(), bytes, then: Then::Closed(reason) }
    }

    fn goes_on(what: impl Into<String>, bytes: Vec<u8>) -> Self {
        Self { what: what.into(), bytes, then: Then::GoesOn }
    }
}

impl Beside {
    async fn start() -> Self {
        Self::on(Cluster::start()).await
    }

    async fn on(cluster: Cluster) -> Self {
        // Nothing here is about roles, and a machine that is busy with all this may miss beats.
        if tools::has(&[Grpcurl]) {
            let pool = serde_json::json!({"name": "originPools/main"});
            cluster.operator().ok("headwater.control.v1.OriginPoolService/HoldPool", pool);
        }
        let url = cluster.rtmp("edge-1", "live/beside");
        let feed = Feed::paced(&url, FRAME).await;
        let viewer = Recorder::start(&url);
        viewer.wait_frames(10, SOON);
        let resident = NODES.iter().map(|node| resident_kib(cluster.pid(node))).collect();
        Self { cluster, feed, viewer, resident }
    }

    /// The stream goes on, and no frame of it is missing or late in order.
    #[track_caller]
    fn check(&self, what: &str) {
        self.viewer.wait_frames(2, SOON);
        self.viewer.assert_whole(FRAME, what);
        self.feed.assert_running();
    }

    /// As [`Beside::check`], and that no process panicked or grew.
    #[track_caller]
    fn finish(&self) {
        self.check("at the end");
        for (node, before) in NODES.iter().zip(&self.resident) {
            let panics = self.cluster.metric(node, "headwater_panics_caught_total", &[]);
            assert_eq!(panics, Some(0.0), "{node} panicked");
            let gain = resident_kib(self.cluster.pid(node)).saturating_sub(*before);
            println!("{node} gained {gain} KiB");
            assert!(gain < GAIN_MAX_KIB, "{node} gained {gain} KiB");
        }
    }

    fn closed(&self, node: &str, reason: &str) -> f64 {
        self.counted(node, CLOSED, reason)
    }

    /// How many a node has counted in a metric for this reason.
    fn counted(&self, node: &str, metric: &str, reason: &str) -> f64 {
        let label = format!("reason=\"{reason}\"");
        self.cluster.metric(node, metric, &[&label]).unwrap_or_default()
    }

    #[track_caller]
    fn wait_closed(&self, node: &str, reason: &str, before: f64, what: &str) {
        until(&format!("{what}: {node} to count an end for {reason}"), SOON, || {
            (self.closed(node, reason) > before).then_some(())
        });
    }

    /// A client does what a stage says, sends this, and sees what comes of it.
    async fn try_case(&self, node: &str, stage: Stage, case: &Case) {
        let what = format!("{node}, {stage:?}: {}", case.what);
        let mut client = Client::at(self.cluster.address(node, "rtmp"), stage).await;
        match case.then {
            Then::Closed(reason) => {
                let before = self.closed(node, reason);
                client.send(&case.bytes).await;
                assert!(client.sees_end().await, "{what}: the server goes on");
                self.wait_closed(node, reason, before, &what);
            }
            Then::GoesOn => {
                client.send(&case.bytes).await;
                client.assert_served(&what).await;
            }
        }
    }

    async fn try_all(&self, node: &str, stage: Stage, cases: &[Case]) {
        for case in cases {
            self.try_case(node, stage, case).await;
        }
        self.check(&format!("{node}, {stage:?}"));
    }
}

/// A client that is in good order so far.
enum Client {
    Greeted(TcpStream),
    Connected(Connection),
}

impl Client {
    async fn at(address: SocketAddr, stage: Stage) -> Self {
        if stage == Stage::Greeted {
            return Self::Greeted(greeted(address).await);
        }
        let name = format!("hostile-{}", unique());
        let url = Url::parse(&format!("rtmp://{address}/live/{name}")).expect("an address");
        let connection = Connection::open_as(&url, false, 128).await.expect("a connection");
        match stage {
            Stage::Publishing => {
                Self::Connected(Publisher::on(connection, &name).await.expect("a publication").connection)
            }
            _ => Self::Connected(connection),
        }
    }

    /// The server may close before it has taken all.
    async fn send(&mut self, bytes: &[u8]) {
        let _cut = match self {
            Self::Greeted(socket) => timeout(ANSWER, socket.write_all(bytes)).await.is_ok(),
            Self::Connected(connection) => connection.send_raw(bytes).await.is_ok(),
        };
    }

    /// Whether the server closes.
    async fn sees_end(&mut self) -> bool {
        timeout(ANSWER, async {
            match self {
                Self::Greeted(socket) => read_to_end(socket).await,
                Self::Connected(connection) => while let Ok(Some(_)) = connection.next().await {},
            }
        })
        .await
        .is_ok()
    }

    async fn assert_served(&mut self, what: &str) {
        let Self::Connected(connection) = self else { panic!("{what}: nothing is answered before connect") };
        match timeout(ANSWER, connection.create_stream()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => panic!("{what}: {error:#}"),
            Err(_) => panic!("{what}: no answer"),
        }
    }
}

/// A socket behind its handshake.
async fn greeted(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("the port is open");
    greet(&mut socket).await;
    socket
}

async fn greet(socket: &mut TcpStream) {
    let mut answer = vec![0; 1 + 2 * 1536];
    socket.write_all(&[&[3][..], &[0; 1536]].concat()).await.expect("C0 and C1 are taken");
    timeout(ANSWER, socket.read_exact(&mut answer)).await.expect("an answer in time").expect("S0, S1 and S2");
    socket.write_all(&answer[1..1537]).await.expect("C2 is taken");
}

/// A connection from one of this machine's many loopback addresses.
async fn connect_from(source: &str, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::new(source.parse().expect("an address"), 0))?;
    socket.connect(to).await
}

/// Reads until the other side ends; a reset is an end as well.
async fn read_to_end(socket: &mut TcpStream) {
    let mut buffer = [0; 4096];
    while let Ok(1..) = socket.read(&mut buffer).await {}
}

/// A number that no other client of this process has.
fn unique() -> u32 {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed)
}

/// A message on chunk stream 3, in chunks of 128 bytes.
fn message(type_id: u8, msid: u32, payload: &[u8]) -> Vec<u8> {
    on_chunk_stream(3, type_id, msid, payload)
}

/// A protocol control message.
fn control(type_id: u8, payload: &[u8]) -> Vec<u8> {
    on_chunk_stream(2, type_id, 0, payload)
}

fn on_chunk_stream(csid: u8, type_id: u8, msid: u32, payload: &[u8]) -> Vec<u8> {
    let message = tests::rtmp::Message { type_id, timestamp: 0, msid, payload: payload.to_vec().into() };
    tests::rtmp::chunks(csid, &message, 128).concat()
}

/// The body of a command in AMF0: name, transaction, null, and what follows.
fn call(name: &str, transaction: f64, rest: &[u8]) -> Vec<u8> {
    let mut body = vec![2];
    body.extend((name.len() as u16).to_be_bytes());
    body.extend(name.as_bytes());
    body.push(0);
    body.extend(transaction.to_be_bytes());
    body.push(5);
    body.extend(rest);
    body
}

/// A frame of so many bytes.
fn large(number: u32, period: Duration, bytes: usize) -> flv::Tag {
    let frame = synthetic::frame(number, period);
    let payload = [&frame.payload[..], &vec![0; bytes - frame.payload.len()]].concat();
    flv::Tag { payload: payload.into(), ..frame }
}

/// A string of AMF0.
fn text(text: &[u8]) -> Vec<u8> {
    [&[2][..], &(text.len() as u16).to_be_bytes(), text].concat()
}
