//! Before RTMP: other languages, handshakes that do not add up, and those that never end.

use std::{net::SocketAddr, time::Instant};

use tests::{edge::Settings, tools::arg, wait::SOON};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{Duration, interval, sleep, timeout},
};

use super::{ANSWER, Beside, CLOSED, Client, HTTP2_FAILED, Stage, TURNED_AWAY, read_to_end};

/// How long a handshake may take, and the longest that a busy machine makes of it.
const PATIENCE: std::ops::Range<Duration> = Duration::from_millis(4500)..Duration::from_secs(15);
/// When one ends that takes nearly as long as it may.
const LATE: Duration = Duration::from_secs(4);
/// How long a client may want nothing, or publish nothing, and the longest that a busy machine makes of it.
const IDLE: std::ops::Range<Duration> = Duration::from_millis(9900)..Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn other_languages_are_closed_at_once_and_odd_handshakes_taken() {
    let beside = Beside::start().await;
    let origin = beside.cluster.active();
    for node in ["edge-1", origin] {
        let address = beside.cluster.address(node, "rtmp");
        for bytes in foreign() {
            let what = format!("{node}: {:?}…", String::from_utf8_lossy(&bytes[..bytes.len().min(12)]));
            let (metric, reason) = counted_as(node, bytes[0]);
            let before = beside.counted(node, metric, reason);
            let start = Instant::now();
            let mut socket = TcpStream::connect(address).await.expect("the port is open");
            let _cut = socket.write_all(&bytes).await;
            assert!(timeout(ANSWER, read_to_end(&mut socket)).await.is_ok(), "{what}: no end");
            assert!(start.elapsed() < PATIENCE.start, "{what}: closed only after {:?}", start.elapsed());
            tests::until(&format!("{what} to be counted as {reason}"), SOON, || {
                (beside.counted(node, metric, reason) > before).then_some(())
            });
        }
        beside.check(node);
    }
    handshakes_that_do_not_add_up_are_taken_for_plain_ones(&beside).await;
    beside.finish();
}

fn foreign() -> Vec<Vec<u8>> {
    vec![
        vec![0; 1537],
        vec![2; 1537],
        vec![6; 1537],
        vec![255; 4000],
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(),
        [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &[0xff; 4000]].concat(),
        [&b"PROXY TCP4 192.0.2.7 192.0.2.1 40000 1935\r\n\x03"[..], &[0; 1536]].concat(),
        b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(),
    ]
}

/// Where a node counts whoever begins with this byte, and for what reason. An origin's port tells the languages apart before
/// anything is counted as RTMP, and with a P begins what the relay speaks.
fn counted_as(node: &str, first: u8) -> (&'static str, &'static str) {
    match first {
        b'P' if node != "edge-1" => (HTTP2_FAILED, "broken"),
        0x16.. if node != "edge-1" => (TURNED_AWAY, "foreign"),
        _ => (CLOSED, "handshake"),
    }
}

async fn handshakes_that_do_not_add_up_are_taken_for_plain_ones(beside: &Beside) {
    for node in ["edge-1", beside.cluster.active()] {
        let address = beside.cluster.address(node, "rtmp");
        for places in [[0; 4], [255; 4], [181, 181, 182, 183]] {
            // A digest is announced, is nowhere to be found, and what is echoed is not what was sent.
            let mut hello = vec![3; 1537];
            hello[5..9].copy_from_slice(&[9, 0, 0x7c, 2]);
            hello[9..13].copy_from_slice(&places);
            hello[773..777].copy_from_slice(&places);
            shakes_hands(address, hello, Duration::ZERO).await;
        }
    }
}

/// A client begins with this, ends its handshake so much later, and is served.
async fn shakes_hands(address: SocketAddr, hello: Vec<u8>, later: Duration) {
    let mut socket = TcpStream::connect(address).await.expect("the port is open");
    socket.write_all(&hello).await.expect("C0 and C1 are taken");
    let mut answer = vec![0; 3073];
    timeout(ANSWER, socket.read_exact(&mut answer)).await.expect("in time").expect("S0, S1 and S2");
    sleep(later).await;
    let connect = super::message(20, 0, b"\x02\0\x07connect\0\x3f\xf0\0\0\0\0\0\0\x03\0\x03app\x02\0\x04live\0\0\x09");
    socket.write_all(&[&[0x5a; 1536][..], &connect].concat()).await.expect("C2 is taken");
    let mut first = [0; 16];
    timeout(ANSWER, socket.read_exact(&mut first)).await.expect("in time").expect("connect is answered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_never_ends_is_ended_after_five_seconds() {
    let beside = Beside::start().await;
    let (edge, origin) = ("edge-1", beside.cluster.active());
    let rtmp = |node: &str| beside.cluster.address(node, "rtmp");
    let http = beside.cluster.address(edge, "http");
    let tls = over_tls(&beside);
    let hello = [&[3][..], &[0; 1536]].concat();
    let tls_hello = b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec();
    let (silent, dripping) = (Duration::ZERO, Duration::from_millis(100));
    let tls_closed = beside.closed("edge-2", "tls");
    let lasted = lasts(tls, hello.clone(), silent).await;
    assert!(lasted < PATIENCE.start, "plain RTMP where TLS is spoken is closed after {lasted:?}");
    beside.wait_closed("edge-2", "tls", tls_closed, "plain RTMP where TLS is spoken");
    for node in [edge, origin] {
        tests::until("the log to have what clients are held to", SOON, || {
            let told = |line: &str| line.contains("rtmp.limits") && line.contains("handshake_timeout: 5s");
            beside.cluster.log(node).lines().any(told).then_some(())
        });
    }
    let late = [edge, origin].map(|node| tokio::spawn(shakes_hands(rtmp(node), hello.clone(), LATE)));
    let counted = [
        (edge, CLOSED, "handshake_timeout", 4.0),
        (edge, TURNED_AWAY, "unasked", 2.0),
        (origin, CLOSED, "handshake_timeout", 2.0),
        (origin, TURNED_AWAY, "silent", 1.0),
        ("edge-2", CLOSED, "tls", 3.0),
    ];
    let before = counted.map(|(node, metric, reason, _)| beside.counted(node, metric, reason));
    // Edge, edge behind C1, origin, origin behind C1; the same bit by bit; HTTP, and TLS at an edge.
    let all = tokio::join!(
        lasts(rtmp(edge), vec![], silent),
        lasts(rtmp(edge), vec![3], silent),
        lasts(rtmp(edge), hello.clone(), silent),
        lasts(rtmp(edge), hello.clone(), dripping),
        lasts(rtmp(origin), vec![], silent),
        lasts(rtmp(origin), hello.clone(), silent),
        lasts(rtmp(origin), hello.clone(), dripping),
        lasts(http, vec![], silent),
        lasts(http, b"GET /live/x.flv HTTP/1.1\r\nX: y".repeat(10), dripping),
        lasts(tls, vec![], silent),
        lasts(tls, tls_hello.clone(), silent),
        lasts(tls, tls_hello, dripping),
    );
    let all = <[Duration; 12]>::from(all);
    for (at, lasted) in all.iter().enumerate() {
        assert!(PATIENCE.contains(lasted), "number {at} was closed after {lasted:?}");
    }
    for handshake in late {
        handshake.await.expect("a late handshake is in time");
    }
    for ((node, metric, reason, more), before) in counted.into_iter().zip(before) {
        tests::until(&format!("{node} to count each as {reason}"), SOON, || {
            (beside.counted(node, metric, reason) >= before + more).then_some(())
        });
    }
    beside.finish();
}

/// Makes edge-2 speak RTMPS, and says where.
fn over_tls(beside: &Beside) -> SocketAddr {
    let cluster = &beside.cluster;
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let (certificate, key) = (cluster.scratch().join("cert.pem"), cluster.scratch().join("key.pem"));
    std::fs::write(&certificate, pair.cert.pem()).expect("a file");
    std::fs::write(&key, pair.signing_key.serialize_pem()).expect("a file");
    let tls = Some((arg(&certificate).to_owned(), arg(&key).to_owned()));
    cluster
        .replace_edge("edge-2", &Settings { routes: vec![cluster.route_to_origins()], tls, ..Settings::default() })
        .rtmps
}

/// How long a connection is kept that sends this, at once or a byte in each period, and nothing more.
async fn lasts(address: SocketAddr, bytes: Vec<u8>, period: Duration) -> Duration {
    let socket = TcpStream::connect(address).await.expect("the port is open");
    let start = Instant::now();
    let (mut reading, mut writing) = socket.into_split();
    let end = async {
        let mut buffer = [0; 4096];
        while let Ok(1..) = reading.read(&mut buffer).await {}
    };
    let send = async {
        match period.is_zero() {
            true => drop(writing.write_all(&bytes).await),
            false => {
                let mut ticks = interval(period);
                for byte in &bytes {
                    ticks.tick().await;
                    if writing.write_all(&[*byte]).await.is_err() {
                        break;
                    }
                }
            }
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = end => {}
        () = send => {}
        () = tokio::time::sleep(ANSWER) => {}
    }
    start.elapsed()
}

/// Neither who only greets or connects is kept, nor who publishes and then sends nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_want_nothing_are_closed_after_ten_seconds() {
    let beside = Beside::start().await;
    let nodes = ["edge-1", beside.cluster.active()];
    let reasons = [("request_timeout", 2.0), ("first_media_timeout", 1.0)];
    let before = nodes.map(|node| reasons.map(|(reason, _)| beside.closed(node, reason)));
    let mut clients = JoinSet::new();
    for node in nodes {
        let address = beside.cluster.address(node, "rtmp");
        for stage in [Stage::Greeted, Stage::Connected, Stage::Publishing] {
            let what = format!("{node}: {stage:?}");
            clients.spawn(async move {
                let start = Instant::now();
                let mut client = Client::at(address, stage).await;
                if stage != Stage::Greeted {
                    client.assert_served(&what).await;
                }
                assert!(client.sees_end().await, "{what}: the server goes on");
                let lasted = start.elapsed();
                assert!(IDLE.contains(&lasted), "{what}: closed after {lasted:?}");
            });
        }
    }
    while let Some(client) = clients.join_next().await {
        client.expect("each is closed in time");
    }
    for (node, before) in nodes.into_iter().zip(before) {
        for ((reason, more), before) in reasons.into_iter().zip(before) {
            tests::until(&format!("{node} to count each as {reason}"), SOON, || {
                (beside.closed(node, reason) >= before + more).then_some(())
            });
        }
    }
    beside.finish();
}
