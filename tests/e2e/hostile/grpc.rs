//! HTTP/2 and gRPC by hand: floods, lies about lengths, and calls that are never made.

use std::{net::SocketAddr, time::Instant};

use tests::{cluster::NODES, wait::SOON};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Duration, timeout},
};

use super::{ANSWER, Beside, HTTP2_FAILED, TURNED_AWAY, read_to_end};

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// Kinds of frames and their flags (RFC 9113, 6).
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;
/// Unfinished handshakes of one address.
const UNFINISHED_MAX: usize = 64;
/// Groups within each other, of a field that no message has: as many as HTTP/2 lets a client send unasked.
const DEPTH: usize = 30_000;
const GROUP: &[u8] = b"\xa3\x06";

/// A port, and a method that is served there for who has the token.
struct Port {
    node: &'static str,
    port: &'static str,
    method: &'static str,
    token: String,
    /// The length of a message that is one byte longer than may be.
    too_long: [u8; 4],
    /// How a message is refused that is too long, and one that cannot be read.
    codes: [&'static str; 2],
    /// A message whose enum has a value that nobody knows, and where to send it.
    unknown: Option<(&'static str, &'static [u8])>,
}

/// A call, and how it is answered; none: not as a call.
struct Call {
    what: &'static str,
    method: &'static str,
    bytes: Vec<u8>,
    code: Option<&'static str>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_that_lies_or_floods_is_cut_and_calls_of_others_go_on() {
    let beside = Beside::start().await;
    for at in ports(&beside) {
        let address = beside.cluster.address(at.node, at.port);
        for (what, bytes) in floods(&at) {
            let before = beside.counted(at.node, HTTP2_FAILED, "broken");
            let mut socket = open(address).await;
            let _cut = socket.write_all(&bytes).await;
            let ended = timeout(ANSWER, read_to_end(&mut socket)).await;
            assert!(ended.is_ok(), "{} {}: {what}: goes on", at.node, at.port);
            tests::until(&format!("{} to count {what}", at.node), SOON, || {
                (beside.counted(at.node, HTTP2_FAILED, "broken") > before).then_some(())
            });
        }
        for call in calls(&at) {
            is_refused(&beside, &at, &call).await;
        }
        beside.check(&format!("{} {}", at.node, at.port));
    }
    beside.finish();
}

fn ports(beside: &Beside) -> [Port; 4] {
    let token = |kind| beside.cluster.token(kind);
    let origin = NODES.into_iter().find(|node| *node == beside.cluster.active()).expect("it is one of them");
    let (megabytes_4, megabytes_16) = ([0, 0x40, 0, 1], [1, 0, 0, 1]);
    let asked = |node, method, unknown| Port {
        node,
        port: "grpc",
        method,
        token: token("operator"),
        too_long: megabytes_4,
        codes: ["OUT_OF_RANGE", "INTERNAL"],
        unknown,
    };
    let relay = |port| Port {
        node: origin,
        port,
        method: "/headwater.relay.v1.RelayService/Push",
        token: token("edge"),
        too_long: megabytes_16,
        codes: ["INVALID_ARGUMENT", "UNAVAILABLE"],
        // A hello of a node of kind 77.
        unknown: Some(("/headwater.relay.v1.RelayService/Link", b"\x12\x05\x0a\x01x\x10\x4d")),
    };
    let create = "/headwater.control.v1.RouteEntryService/CreateRouteEntry";
    [
        asked("edge-1", "/headwater.node.v1.NodeService/KickSession", None),
        // A target with which protocol 77 is spoken.
        asked("control-plane", create, Some((create, b"\x12\x04\x22\x02\x20\x4d\x18\x01"))),
        relay("grpc"),
        relay("rtmp"),
    ]
}

/// The call ends, and the node has counted with which error.
async fn is_refused(beside: &Beside, at: &Port, call: &Call) {
    let what = format!("{} {}: {}", at.node, at.port, call.what);
    let method = call.method.rsplit('.').next().expect("a path has an end");
    let count = |code: &str| {
        let labels = [&format!("method=\"{method}\"")[..], &format!("code=\"{code}\"")];
        beside.cluster.metric(at.node, "headwater_rpc_failed_total", &labels).unwrap_or_default()
    };
    let before = call.code.map(count);
    let mut socket = open(beside.cluster.address(at.node, at.port)).await;
    let _cut = socket.write_all(&call.bytes).await;
    assert!(is_over(&mut socket).await, "{what}: the call goes on");
    if let (Some(code), Some(before)) = (call.code, before) {
        tests::until(&format!("{what}: {code} to be counted"), SOON, || (count(code) > before).then_some(()));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_that_asks_for_nothing_is_closed() {
    let beside = Beside::start().await;
    let origin = beside.cluster.active();
    let address = beside.cluster.address(origin, "rtmp");
    let before = beside.counted(origin, HTTP2_FAILED, "unasked");
    let mut open_ones = vec![TcpStream::connect(address).await.expect("the port is open"), open(address).await];
    open_ones[0].write_all(b"PRI").await.expect("taken");
    let start = Instant::now();
    for socket in &mut open_ones {
        assert!(timeout(ANSWER, read_to_end(socket)).await.is_ok(), "it is kept");
    }
    assert!(start.elapsed() < Duration::from_secs(25), "{:?}", start.elapsed());
    tests::until("both to be counted", SOON, || {
        (beside.counted(origin, HTTP2_FAILED, "unasked") >= before + 2.0).then_some(())
    });
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
        let too_many = ["too_many", "crowded_out"].map(|reason| beside.counted(origin, TURNED_AWAY, reason));
        (too_many.iter().sum::<f64>() >= 1.0).then_some(())
    });
    beside.finish();
}

/// What ends the connection.
fn floods(at: &Port) -> Vec<(&'static str, Vec<u8>)> {
    let request = headers(at.method, &at.token);
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
fn calls(at: &Port) -> Vec<Call> {
    let start = |method, token: &str| frame(HEADERS, END_HEADERS, 1, &headers(method, token));
    let to = |what, method, body: &[u8], code| {
        let bytes = [start(method, &at.token), frame(DATA, END_STREAM, 1, body)].concat();
        Call { what, method, bytes, code: Some(code) }
    };
    let call = |what, body: &[u8], code| to(what, at.method, body, code);
    let [too_long, unreadable] = at.codes;
    let mut cases = vec![
        call("a message of 4 GiB", &[0, 0xff, 0xff, 0xff, 0xff, 1], too_long),
        call("a message one byte longer than may be", &[&[0][..], &at.too_long, &[1]].concat(), too_long),
        call("a compressed message", &[1, 0, 0, 0, 4, 1, 2, 3, 4], unreadable),
        call("a message that is no protobuf", &whole(&[0xff; 4]), unreadable),
        call("groups within groups without end", &whole(&GROUP.repeat(DEPTH)), unreadable),
        call("an empty first message", &whole(&[]), "INVALID_ARGUMENT"),
    ];
    cases.extend(at.unknown.map(|(method, body)| to("an enum of 77", method, &whole(body), "INVALID_ARGUMENT")));
    let many: Vec<u8> = (0..400).flat_map(|_| literal("x-much", &"v".repeat(126))).collect();
    let much = frame(HEADERS, END_HEADERS, 1, &[headers(at.method, &at.token), many].concat());
    let (nobodys, nobody) = (start("/no.Such/Method", &at.token), start(at.method, "nobody"));
    cases.extend([
        Call { what: "50 KiB of headers", method: at.method, bytes: much, code: None },
        Call { what: "a method that nobody has", method: "other", bytes: nobodys, code: Some("UNIMPLEMENTED") },
        Call { what: "a token that is none", method: at.method, bytes: nobody, code: Some("UNAUTHENTICATED") },
    ]);
    cases
}

/// A message, and its length before it.
fn whole(message: &[u8]) -> Vec<u8> {
    [&[0][..], &(message.len() as u32).to_be_bytes(), message].concat()
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

/// Whether the server ends the call on stream 1, or the connection.
async fn is_over(socket: &mut TcpStream) -> bool {
    let heard = async {
        loop {
            let mut head = [0; 9];
            if socket.read_exact(&mut head).await.is_err() {
                return;
            }
            let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
            let ends = head[3] == RST_STREAM || (head[3] == HEADERS && head[4] & END_STREAM != 0);
            if socket.read_exact(&mut payload).await.is_err() || (head[8] == 1 && ends) {
                return;
            }
        }
    };
    timeout(ANSWER, heard).await.is_ok()
}
