//! Viewers that stop reading, and such that read next to nothing.

use std::{net::SocketAddr, time::Duration};

use tests::{
    Cluster,
    rtmp::{Publisher, Recorder},
    synthetic, until,
    wait::SOON,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{interval, timeout},
};

use super::{ANSWER, Beside, CLOSED, call, commands::connected_by, large, message, text};

/// Viewers over RTMP, and as many over HTTP, that stop reading, and that go on with a byte a second.
const DEAF: usize = 25;
const SLOW: usize = 5;
/// What each has had before.
const READ_BYTES: usize = 16 * 1024;
/// What its kernel takes for it.
const BUFFER_BYTES: u32 = 32 * 1024;
/// The stream that they watch.
const PERIOD: Duration = Duration::from_millis(50);
const FRAME_BYTES: usize = 32 * 1024;
/// HTTP viewers that were cut.
const CUT: &str = "headwater_http_viewers_cut_total";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn viewers_that_do_not_read_are_cut_and_nobody_else_waits() {
    let cluster = Cluster::start();
    // Little fits into a socket, so that it is soon seen who takes nothing.
    cluster.configure("edge-1", "playback:\n  stall: 2s\n  send_buffer: 64KiB\n  send_unsent: 32KiB\n");
    cluster.restart("edge-1");
    let beside = Beside::on(cluster).await;
    let url = beside.cluster.rtmp("edge-1", "live/heavy");
    let mut background = JoinSet::new();
    background.spawn(feed(Publisher::open(&url).await.expect("a publication")));
    let neighbour = Recorder::start(&url);
    neighbour.wait_frames(2, SOON);
    let counted = || [CLOSED, CUT].map(|metric| beside.counted("edge-1", metric, "stalled"));
    let before = counted();
    let mut deaf = Vec::new();
    for _ in 0..DEAF {
        deaf.extend(viewers(&beside).await);
    }
    for _ in 0..SLOW {
        viewers(&beside).await.into_iter().for_each(|slow| drop(background.spawn(read_slowly(slow))));
    }
    beside.check("while they are there");
    for (at, protocol) in ["RTMP", "HTTP"].into_iter().enumerate() {
        until(&format!("all of {protocol} to be cut"), ANSWER, || {
            (counted()[at] - before[at] >= (DEAF + SLOW) as f64).then_some(())
        });
    }
    neighbour.wait_frames(10, SOON);
    neighbour.assert_whole(PERIOD, "who reads");
    beside.finish();
}

/// A frame each period until its end.
async fn feed(mut publisher: Publisher) {
    publisher.send(&synthetic::config()).await.expect("taken");
    let mut ticks = interval(PERIOD);
    for number in 0.. {
        ticks.tick().await;
        publisher.send(&large(number, PERIOD, FRAME_BYTES)).await.expect("taken");
    }
}

/// One over RTMP and one over HTTP, who have read a little.
async fn viewers(beside: &Beside) -> [TcpStream; 2] {
    let mut rtmp = narrow(beside.cluster.address("edge-1", "rtmp")).await;
    super::greet(&mut rtmp).await;
    let asks = [
        connected_by("live", "rtmp://x/live"),
        message(20, 0, &call("createStream", 2.0, &[])),
        message(20, 1, &call("play", 0.0, &text(b"heavy"))),
    ];
    rtmp.write_all(&asks.concat()).await.expect("taken");
    let mut http = narrow(beside.cluster.address("edge-1", "http")).await;
    http.write_all(b"GET /live/heavy.flv HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("taken");
    let mut viewers = [rtmp, http];
    for viewer in &mut viewers {
        let mut read = vec![0; READ_BYTES];
        timeout(ANSWER, viewer.read_exact(&mut read)).await.expect("in time").expect("the stream comes");
    }
    viewers
}

async fn narrow(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(BUFFER_BYTES).expect("a bound");
    socket.connect(address).await.expect("the port is open")
}

/// A byte a second, until it is cut.
async fn read_slowly(mut viewer: TcpStream) {
    let mut ticks = interval(Duration::from_secs(1));
    while viewer.read_exact(&mut [0]).await.is_ok() {
        ticks.tick().await;
    }
}
