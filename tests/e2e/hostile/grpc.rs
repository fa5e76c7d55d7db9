//! HTTP/2 and gRPC by hand: floods, lies about lengths, and calls that are never made.

use std::{net::SocketAddr, time::Instant};

use tests::wait::SOON;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, timeout},
};

use super::{ANSWER, Beside, read_to_end};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Kinds of frames and their flags (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
/// Unfinished handshakes of one address.
const UNFINISHED_MAX: usize = 64;
const PUSH: &str = "/headwater.relay.v1.RelayService/Push";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_that_lies_or_floods_is_cut_and_calls_of_others_go_on() {
    let beside = Beside::start().await;
    let origin = beside.cluster.active();
    let token = beside.cluster.token("edge");
    let ports = [("edge-1", "grpc"), (origin, "grpc"), (origin, "rtmp"), ("control-plane", "grpc")];
    for (node, port) in ports {
        let address = beside.cluster.address(node, port);
        for (what, bytes) in floods(&token) {
            let mut socket = open(address).await;
            let _cut = socket.write_all(&bytes).await;
            let ended = timeout(ANSWER, read_to_end(&mut socket)).await;
            assert!(ended.is_ok(), "{node} {port}: {what}: goes on");
        }
        for (what, bytes) in calls(&token) {
            let mut socket = open(address).await;
            let _cut = socket.write_all(&bytes).await;
            assert!(is_answered(&mut socket).await, "{node} {port}: {what}: no answer and no end");
        }
        beside.check(&format!("{node} {port}"));
    }
    beside.finish();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_that_asks_for_nothing_is_closed() {
    let beside = Beside::start().await;
    let origin = beside.cluster.active();
    let address = beside.cluster.address(origin, "rtmp");
    let mut open_ones = vec![TcpStream::connect(address).await.expect("the port is open"), open(address).await];
    open_ones[0].write_all(b"PRI").await.expect("taken");
    let start = Instant::now();
    for socket in &mut open_ones {
        assert!(timeout(ANSWER, read_to_end(socket)).await.is_ok(), "it is kept");
    }
    assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
    // A call that is never made is an unfinished handshake: one address has no more of them than of others.
    let mut crowd = Vec::new();
    for _ in 0..UNFINISHED_MAX + 1 {
        // Whoever is turned away may be told so before it has begun.
        if let Ok(mut socket) = super::connect_from("127.0.0.3", address).await
            && socket.write_all(PREFACE).await.is_ok()
        {
            crowd.push(socket);
        }
    }
    // The newcomer is turned away, or the first gives way if it is stale by now.
    tests::until("one of them to be too many", SOON, || {
        let metric = "headwater_connections_turned_away_total";
        beside.cluster.metric(origin, metric, &["port=\"public\""]).filter(|count| *count >= 1.0)
    });
    beside.finish();
}

/// What ends the connection.
fn floods(token: &str) -> Vec<(&'static str, Vec<u8>)> {
    let request = headers(PUSH, token);
    let kilobyte = [&[0, 1, b'x', 0x7f, 0x81, 0x06][..], &[b'y'; 256]].concat();
    let continued =
        frame(HEADERS, 0, 1, &request).into_iter().chain(frame(CONTINUATION, 0, 1, &kilobyte).repeat(10_000));
    let reset = (0..10_000u32).flat_map(|number| {
        let stream = 2 * number + 1;
        let mut both = frame(HEADERS, END_HEADERS, stream, &request);
        both.extend(frame(RST_STREAM, 0, stream, &8u32.to_be_bytes()));
        both
    });
    vec![
        ("garbage", vec![0xff; 4000]),
        ("a frame of 16 MiB", [&[0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1][..], &[0; 100]].concat()),
        ("headers that never end", continued.collect()),
        ("ten thousand calls that are taken back", reset.collect()),
        ("data on a call that was never made", frame(DATA, 0, 1, &[0; 5])),
        ("headers that are no HPACK", frame(HEADERS, END_HEADERS, 1, &[0xff; 64])),
        ("a ping of three bytes", frame(PING, 0, 0, &[0; 3])),
        ("settings of an odd length", frame(SETTINGS, 0, 0, &[0; 5])),
    ]
}

/// What is refused as a call, or ends the connection.
fn calls(token: &str) -> Vec<(&'static str, Vec<u8>)> {
    let call = |body: &[u8]| [frame(HEADERS, END_HEADERS, 1, &headers(PUSH, token)), frame(DATA, 0, 1, body)].concat();
    let value = "v".repeat(126);
    let many: Vec<u8> = (0..400).flat_map(|_| literal("x-much", &value)).collect();
    let much = [headers(PUSH, token), many].concat();
    vec![
        ("a message of 4 GiB", call(&[0, 0xff, 0xff, 0xff, 0xff, 1])),
        ("a message one byte longer than may be", call(&[0, 1, 0, 0, 1, 1])),
        ("a compressed message", call(&[1, 0, 0, 0, 4, 1, 2, 3, 4])),
        ("a message that is no protobuf", call(&[0, 0, 0, 0, 4, 0xff, 0xff, 0xff, 0xff])),
        ("an empty first message", call(&[0, 0, 0, 0, 0])),
        ("50 KiB of headers", frame(HEADERS, END_HEADERS, 1, &much)),
        ("a method that nobody has", frame(HEADERS, END_HEADERS, 1, &headers("/no.Such/Method", token))),
        ("a token that is none", frame(HEADERS, END_HEADERS, 1, &headers(PUSH, "nobody"))),
    ]
}

/// The headers of a call, written without compression.
fn headers(path: &str, token: &str) -> Vec<u8> {
    let authorization = format!("Bearer {token}");
    [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "x"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", &authorization),
    ]
    .into_iter()
    .flat_map(|(name, value)| literal(name, value))
    .collect()
}

/// A header field that is not indexed (RFC 7541, 6.2.2).
fn literal(name: &str, value: &str) -> Vec<u8> {
    assert!(name.len() < 127 && value.len() < 127, "one byte of length is enough for a test");
    [&[0, name.len() as u8], name.as_bytes(), &[value.len() as u8], value.as_bytes()].concat()
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let len = (payload.len() as u32).to_be_bytes();
    [&[len[1], len[2], len[3], kind, flags][..], &stream.to_be_bytes(), payload].concat()
}

/// A connection behind its preface and settings.
async fn open(address: SocketAddr) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.expect("the port is open");
    socket.write_all(&[PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()).await.expect("taken");
    socket
}

/// Whether the server answers on stream 1, or ends the connection.
async fn is_answered(socket: &mut TcpStream) -> bool {
    let heard = async {
        loop {
            let mut head = [0; 9];
            if socket.read_exact(&mut head).await.is_err() {
                return;
            }
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            if socket.read_exact(&mut payload).await.is_err()
                || (head[8] == 1 && matches!(head[3], HEADERS | RST_STREAM))
            {
                return;
            }
        }
    };
    timeout(ANSWER, heard).await.is_ok()
}
