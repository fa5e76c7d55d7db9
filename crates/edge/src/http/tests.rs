//! Viewers over loopback sockets, a hub with a hand-fed stream behind them.

mod contents;
mod ended;
mod heads;

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use hub::{Body, Event, Hub, Reader, RingLimits, Start, Writer};
use media::{DEFAULT_VHOST, Frame, MediaMessage, Medium, PublicationId, flv};
use rtmp_net::{Kind, Play, PlayRefusal, Protocol, SessionInfo, Sessions, door};
use telemetry::metrics::Registry;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
    time::timeout,
};
use tokio_util::sync::CancellationToken;

use super::*;

const AVC_CONFIG: &[u8] =
    &[0x17, 0, 0, 0, 0, 1, 0x64, 0, 0x1f, 0xff, 0xe1, 0, 4, 0x67, 0x64, 0, 0x1f, 1, 0, 4, 0x68, 0xee, 0x3c, 0x80];
const KEY: &[u8] = &[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65];
const DELTA: &[u8] = &[0x27, 1, 0, 0, 0, 0, 0, 0, 1, 0x41];
const METADATA: &[u8] = b"\x02\0\x0aonMetaData\x08\0\0\0\0\0\0\x09";
/// Nothing here takes this long; a test that does has failed.
const LONG: Duration = Duration::from_secs(10);

/// Streams of a hub; `away` stands for a pool that does not answer, `private` for one that is not for everybody.
#[derive(Clone)]
struct Fake {
    hub: Hub,
    plays: Arc<AtomicUsize>,
}

impl playback::Playback for Fake {
    async fn play(&self, request: Play) -> Result<Reader, PlayRefusal> {
        self.plays.fetch_add(1, Ordering::Relaxed);
        match request.stream.name() {
            "away" => Err(PlayRefusal::Unavailable),
            "private" if request.query.get("key") != Some("k") => Err(PlayRefusal::Denied),
            "waiting" => std::future::pending().await,
            _ => Ok(self.hub.get(&request.stream).ok_or(PlayRefusal::NotFound)?.subscribe_paced(Start::LastKeyframe)),
        }
    }
}

struct Edge {
    fake: Fake,
    sessions: Sessions,
    stats: Arc<Stats>,
    metrics: Registry,
    address: SocketAddr,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Edge {
    async fn start(config: Config) -> Self {
        let sessions = Sessions::default();
        let fake = Fake { hub: Hub::new(RingLimits::default()), plays: Arc::default() };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Server::new(vec![listener], config, fake.clone(), sessions.clone());
        let (stats, metrics) = (server.stats(), Registry::new());
        door::register(&metrics, [("http", server.gate())]);
        let address = server.addresses().unwrap()[0];
        let shutdown = CancellationToken::new();
        let running = tokio::spawn(server.run(shutdown.clone()));
        Self { fake, sessions, stats, metrics, address, shutdown, running }
    }

    /// A stream with metadata, set-up and one GOP of two frames.
    fn stream(&self, vhost: &str, path: &str) -> Writer {
        let mut writer = self.fake.hub.open(&media::url::parse_path(vhost, path).unwrap()).unwrap();
        append(&mut writer, Body::Event(Event::Open { publication: PublicationId::from_bits(1) }));
        append(&mut writer, frame(Medium::Data, 0, METADATA));
        append(&mut writer, frame(Medium::Video, 0, AVC_CONFIG));
        append(&mut writer, frame(Medium::Video, 1000, KEY));
        append(&mut writer, frame(Medium::Video, 1040, DELTA));
        writer
    }

    async fn request(&self, head: &str) -> Client {
        let mut socket = TcpStream::connect(self.address).await.unwrap();
        socket.write_all(format!("{head}\r\n\r\n").as_bytes()).await.unwrap();
        Client { socket, unread: Vec::new() }
    }

    /// HTTP/1.0, so that the body comes without chunks.
    async fn get(&self, path: &str) -> Client {
        self.request(&format!("GET {path} HTTP/1.0\r\nHost: edge.example:8080")).await
    }

    async fn status(&self, path: &str) -> u16 {
        self.get(path).await.head().await.status
    }
}

/// Appends what viewers may see at once.
fn append(writer: &mut Writer, body: Body) {
    let seq = writer.append(body, None).seq;
    writer.commit_below(seq + 1);
}

fn frame(medium: Medium, dts: u64, payload: &'static [u8]) -> Body {
    Body::Frame(Frame::classify(medium, dts, Bytes::from_static(payload)))
}

fn close() -> Body {
    Body::Event(Event::Close { publication: PublicationId::from_bits(1) })
}

struct Client {
    socket: TcpStream,
    unread: Vec<u8>,
}

struct Head {
    status: u16,
    text: String,
}

impl Head {
    fn has(&self, line: &str) -> bool {
        self.text.lines().any(|l| l.eq_ignore_ascii_case(line))
    }
}

impl Client {
    /// More bytes, or false at the end.
    async fn fill(&mut self) -> bool {
        timeout(LONG, self.socket.read_buf(&mut self.unread)).await.expect("bytes or the end").unwrap() > 0
    }

    async fn head(&mut self) -> Head {
        loop {
            if let Some(end) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                let text = String::from_utf8(self.unread.drain(..end + 4).collect()).unwrap();
                return Head { status: text[9..12].parse().unwrap(), text };
            }
            assert!(self.fill().await, "the connection ended before the response's head did");
        }
    }

    async fn rest(mut self) -> Vec<u8> {
        while self.fill().await {}
        self.unread
    }

    /// WebSocket messages as (opcode, payload), as a server sends them.
    async fn message(&mut self) -> (u8, Vec<u8>) {
        loop {
            let head_and_len = match *self.unread {
                [_, 126, high, low, ..] => Some((4, usize::from(u16::from_be_bytes([high, low])))),
                [_, len @ 0..=125, ..] => Some((2, usize::from(len))),
                _ => None,
            };
            if let Some((head, len)) = head_and_len
                && self.unread.len() >= head + len
            {
                let opcode = self.unread[0] & 0x0f;
                return (opcode, self.unread.drain(..head + len).skip(head).collect());
            }
            assert!(self.fill().await, "the connection ended before the message did");
        }
    }
}

fn tags(file: &[u8]) -> Vec<MediaMessage> {
    let mut reader = flv::Reader::default();
    reader.handle_bytes(file);
    let tags = std::iter::from_fn(|| reader.poll_tag().unwrap()).collect();
    assert!(reader.at_tag_boundary());
    tags
}

fn seen(tags: &[MediaMessage]) -> Vec<(Medium, u32, &[u8])> {
    tags.iter().map(|tag| (tag.medium, tag.timestamp, tag.payload.as_ref())).collect()
}

#[tokio::test]
async fn a_viewer_gets_metadata_setup_and_the_gop_and_the_body_ends_with_the_stream() {
    let edge = Edge::start(Config::default()).await;
    let mut writer = edge.stream(DEFAULT_VHOST, "live/foo");
    let mut client = edge.get("/live/foo.flv").await;
    let head = client.head().await;
    assert_eq!(head.status, 200);
    assert!(head.has("content-type: video/x-flv") && head.has("access-control-allow-origin: *"), "{}", head.text);
    assert!(!head.text.to_ascii_lowercase().contains("content-length"));
    append(&mut writer, frame(Medium::Audio, 0x0102_0304, b"\xaf\x01\x21"));
    append(&mut writer, frame(Medium::Audio, 0x0102_0305, b""));
    append(&mut writer, close());
    let body = client.rest().await;
    assert_eq!(
        seen(&tags(&body)),
        [
            (Medium::Data, 0, METADATA),
            (Medium::Video, 1000, AVC_CONFIG),
            (Medium::Video, 1000, KEY),
            (Medium::Video, 1040, DELTA),
            (Medium::Audio, 0x0102_0304, b"\xaf\x01\x21"),
            (Medium::Audio, 0x0102_0305, b""),
        ]
    );
}

#[tokio::test]
async fn http_1_1_bodies_are_chunked_and_ended() {
    let edge = Edge::start(Config::default()).await;
    let mut writer = edge.stream(DEFAULT_VHOST, "live/inst/foo");
    append(&mut writer, close());
    let mut client = edge.request("GET /live/inst/foo.flv?x=1 HTTP/1.1\r\nHost: h\r\nConnection: close").await;
    assert!(client.head().await.has("transfer-encoding: chunked"));
    let body = client.rest().await;
    assert!(unchunked(&body).starts_with(b"FLV\x01\x05") && body.ends_with(b"\r\n0\r\n\r\n"));
}

#[tokio::test]
async fn viewers_of_either_version_get_every_tag_while_a_row_writes_for_them() {
    let edge = Edge::start(Config::default()).await;
    let mut writer = edge.stream(DEFAULT_VHOST, "live/foo");
    let mut viewers = Vec::new();
    for version in ["1.0", "1.1"] {
        let mut viewer = edge.request(&format!("GET /live/foo.flv HTTP/{version}\r\nHost: h")).await;
        assert_eq!(viewer.head().await.status, 200);
        viewers.push(viewer);
    }
    let tag = |n: u64| frame(Medium::Audio, 1040 + n, b"\xaf\x01\x21");
    for n in 1..200 {
        append(&mut writer, tag(n));
        if n % 3 == 0 {
            // What happened to the stream is no bytes, and no chunk, which would be the last.
            append(&mut writer, Body::Event(Event::MetadataCleared));
        }
        for viewer in &mut viewers {
            viewer.fill().await;
        }
    }
    append(&mut writer, close());
    let [plain, chunked] = viewers.try_into().unwrap_or_else(|_| unreachable!("two were asked for"));
    let expected: Vec<_> = (1..200).map(|n| 1040 + n as u32).collect();
    for file in [plain.rest().await, unchunked(&chunked.rest().await)] {
        let tags = tags(&file);
        assert_eq!(tags[4..].iter().map(|tag| tag.timestamp).collect::<Vec<_>>(), expected);
    }
    assert_eq!(edge.stats.frames_out.load(Ordering::Relaxed), 2 * (4 + 199));
}

/// What chunks hold; the last one must be there.
fn unchunked(mut body: &[u8]) -> Vec<u8> {
    let mut file = Vec::new();
    loop {
        let end = body.windows(2).position(|bytes| bytes == b"\r\n").expect("a chunk begins with its length");
        let len = usize::from_str_radix(std::str::from_utf8(&body[..end]).unwrap(), 16).unwrap();
        let (chunk, rest) = body[end + 2..].split_at(len);
        assert!(rest.starts_with(b"\r\n"), "a chunk ends where it says");
        if len == 0 {
            assert_eq!(rest.len(), 2, "the last chunk is the end");
            return file;
        }
        file.extend(chunk);
        body = &rest[2..];
    }
}

#[tokio::test]
async fn a_dropped_writer_ends_the_body_too() {
    let edge = Edge::start(Config::default()).await;
    let writer = edge.stream(DEFAULT_VHOST, "live/foo");
    let mut client = edge.get("/live/foo.flv").await;
    client.head().await;
    drop(writer);
    assert_eq!(tags(&client.rest().await).len(), 4);
}

#[tokio::test]
async fn what_is_no_stream_is_not_found_and_an_origin_that_is_away_is_unavailable() {
    let edge = Edge::start(Config::default()).await;
    for path in
        ["/", "/live/foo", "/live/foo.flv", "/live.flv", "/a/b/c/d.flv", "/live/..%2fx.flv", "/live/%0d%0aX:1.flv"]
    {
        assert_eq!(edge.status(path).await, 404, "{path}");
    }
    assert_eq!(edge.fake.plays.load(Ordering::Relaxed), 1, "only a valid name is asked for");
    let away = edge.get("/live/away.flv").await.head().await;
    assert_eq!(away.status, 503);
    assert!(away.has("retry-after: 1") && away.has("access-control-allow-origin: *"));
    assert_eq!(edge.status("/live/private.flv").await, 403);
}

#[tokio::test]
async fn the_query_reaches_the_core_and_is_not_part_of_the_name() {
    let edge = Edge::start(Config::default()).await;
    let _writer = edge.stream(DEFAULT_VHOST, "live/private");
    assert_eq!(edge.status("/live/private.flv?key=%6b").await, 200);
}

#[tokio::test]
async fn vhosts_are_those_listed_or_named() {
    let edge = Edge::start(Config { vhosts: ["edge.example".into()].into(), ..Config::default() }).await;
    let _writers = [edge.stream("edge.example", "live/listed"), edge.stream("named", "live/named")];
    let _plain = edge.stream(DEFAULT_VHOST, "live/plain");
    assert_eq!(edge.status("/live/listed.flv").await, 200);
    assert_eq!(edge.status("/live/named.flv?vhost=named").await, 200);
    assert_eq!(edge.status("/live/plain.flv").await, 404);
    let mut other = edge.request("GET /live/plain.flv HTTP/1.1\r\nHost: [::1]:80").await;
    assert_eq!(other.head().await.status, 200);
}

#[tokio::test]
async fn head_options_and_other_methods_are_answered_without_a_body() {
    let edge = Edge::start(Config::default()).await;
    let writer = edge.stream(DEFAULT_VHOST, "live/foo");
    let head = edge.request("HEAD /live/foo.flv HTTP/1.0").await.head().await;
    assert!(head.status == 200 && head.has("content-type: video/x-flv"), "{}", head.text);
    let options = edge.request("OPTIONS /live/foo.flv HTTP/1.1\r\nHost: h\r\nOrigin: http://o").await.head().await;
    assert_eq!(options.status, 204);
    assert!(
        options.has("access-control-allow-methods: GET, HEAD, OPTIONS")
            && options.has("access-control-allow-origin: *")
    );
    assert_eq!(edge.request("POST /live/foo.flv HTTP/1.0").await.head().await.status, 405);
    assert_eq!(writer.stream().info().readers, 0);
}

const UPGRADE: &str = "HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==";

#[tokio::test]
async fn websocket_carries_the_same_bytes_in_binary_frames() {
    let edge = Edge::start(Config::default()).await;
    let mut writer = edge.stream(DEFAULT_VHOST, "live/foo");
    let mut client = edge.request(&format!("GET /live/foo.flv {UPGRADE}")).await;
    let head = client.head().await;
    assert!(head.status == 101 && head.has("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{}", head.text);
    append(&mut writer, frame(Medium::Audio, 1041, b"\xaf\x01\x21"));
    append(&mut writer, close());
    let mut file = Vec::new();
    let reason = loop {
        match client.message().await {
            (2, part) => file.extend(part),
            other => break other,
        }
    };
    assert_eq!(reason.0, 8, "a close frame ends it");
    assert_eq!(tags(&file).last().map(|tag| tag.timestamp), Some(1041));
    assert_eq!(tags(&file).len(), 5);
}

/// As a browser sends it: masked, here with a mask of zeros.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    [&[first, 0x80 | payload.len() as u8, 0, 0, 0, 0], payload].concat()
}

#[tokio::test]
async fn a_websocket_that_pings_is_answered_between_messages_and_may_close() {
    let edge = Edge::start(Config::default()).await;
    let mut writer = edge.stream(DEFAULT_VHOST, "live/foo");
    let mut client = edge.request(&format!("GET /live/foo.flv {UPGRADE}")).await;
    client.head().await;
    let mut file = Vec::new();
    for n in 0..3 {
        append(&mut writer, frame(Medium::Audio, 1041 + n, b"\xaf\x01\x21"));
        while file.is_empty() || tags(&file).len() < 5 + n as usize {
            let (opcode, part) = client.message().await;
            assert_eq!(opcode, 2);
            file.extend(part);
        }
        // A row writes by now: who pings gets up for it, and sits down again.
        client.socket.write_all(&masked(0x89, &[n as u8; 9])).await.unwrap();
        assert_eq!(client.message().await, (10, vec![n as u8; 9]));
    }
    client.socket.write_all(&masked(0x88, b"\x03\xe8")).await.unwrap();
    assert_eq!(client.message().await, (8, b"\x03\xe8".to_vec()));
    readers(&writer, 0).await;
}

#[tokio::test]
async fn websocket_upgrades_are_refused_like_requests() {
    let edge = Edge::start(Config::default()).await;
    assert_eq!(edge.request(&format!("GET /live/none.flv {UPGRADE}")).await.head().await.status, 404);
    let _writer = edge.stream(DEFAULT_VHOST, "live/foo");
    let wrong = "GET /live/foo.flv HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket";
    let head = edge.request(wrong).await.head().await;
    assert!(head.status == 426 && head.has("sec-websocket-version: 13"), "{}", head.text);
    let keyless = format!("{wrong}\r\nSec-WebSocket-Version: 13");
    assert_eq!(edge.request(&keyless).await.head().await.status, 400);
    let other = "GET /live/foo.flv HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: h2c";
    assert_eq!(edge.request(other).await.head().await.status, 200, "another upgrade is not taken up");
}

/// Waits, bounded, until the stream has this many readers.
async fn readers(writer: &Writer, count: usize) {
    let mut readers = writer.stream().readers();
    timeout(LONG, readers.wait_for(|now| *now == count)).await.expect("in time").unwrap();
}

#[tokio::test]
async fn viewers_that_leave_are_forgotten_at_once() {
    let edge = Edge::start(Config::default()).await;
    let writer = edge.stream(DEFAULT_VHOST, "live/foo");
    let mut plain = edge.get("/live/foo.flv").await;
    let mut websocket = edge.request(&format!("GET /live/foo.flv {UPGRADE}")).await;
    plain.head().await;
    websocket.head().await;
    readers(&writer, 2).await;
    drop((plain, websocket));
    readers(&writer, 0).await;
}

#[tokio::test]
async fn a_viewer_that_stops_reading_is_cut_and_its_neighbour_is_not() {
    let edge = Edge::start(Config { stall_timeout: Duration::from_millis(300), ..Config::default() }).await;
    let mut writer = edge.stream(DEFAULT_VHOST, "live/foo");
    let stalled = [edge.get("/live/foo.flv").await, edge.request(&format!("GET /live/foo.flv {UPGRADE}")).await];
    readers(&writer, 2).await;
    let mut neighbour = edge.get("/live/foo.flv").await;
    readers(&writer, 3).await;
    let reading = tokio::spawn(async move {
        neighbour.head().await;
        tags(&neighbour.rest().await)
    });
    let mut readers = writer.stream().readers();
    let payload = [KEY, &[0; 1 << 18]].concat().leak();
    let started = std::time::Instant::now();
    let mut dts = 2000;
    while *readers.borrow_and_update() > 1 {
        assert!(started.elapsed() < LONG, "the stalled viewers are still there");
        dts += 40;
        append(&mut writer, frame(Medium::Video, dts, payload));
        tokio::task::yield_now().await;
        let _tick = timeout(Duration::from_millis(5), readers.changed()).await;
    }
    append(&mut writer, close());
    let seen = timeout(LONG, reading).await.unwrap().unwrap();
    assert_eq!(seen.last().map(|tag| u64::from(tag.timestamp)), Some(dts));
    assert_eq!(edge.stats.stalled.load(Ordering::Relaxed), 2);
    drop(stalled);
}

#[tokio::test]
async fn stopping_ends_every_file_and_answers_who_waits() {
    let edge = Edge::start(Config::default()).await;
    let _writer = edge.stream(DEFAULT_VHOST, "live/foo");
    let mut viewer = edge.get("/live/foo.flv").await;
    let mut websocket = edge.request(&format!("GET /live/foo.flv {UPGRADE}")).await;
    viewer.head().await;
    websocket.head().await;
    let mut waiting = edge.get("/live/waiting.flv").await;
    while edge.fake.plays.load(Ordering::Relaxed) < 3 {
        tokio::task::yield_now().await;
    }
    edge.shutdown.cancel();
    assert_eq!(tags(&viewer.rest().await).len(), 4);
    assert_eq!(waiting.head().await.status, 503);
    while websocket.message().await.0 == 2 {}
    timeout(LONG, edge.running).await.expect("stopped in time").unwrap();
}

#[tokio::test(start_paused = true)]
async fn without_a_listener_it_waits_to_be_stopped_all_the_same() {
    let fake = Fake { hub: Hub::new(RingLimits::default()), plays: Arc::default() };
    let server = Server::new(Vec::new(), Config::default(), fake, Sessions::default());
    let shutdown = CancellationToken::new();
    let mut running = std::pin::pin!(server.run(shutdown.clone()));
    assert!(timeout(LONG, &mut running).await.is_err());
    shutdown.cancel();
    running.await;
}

#[tokio::test]
async fn connections_over_the_bound_are_closed() {
    let edge = Edge::start(Config { connections_max: 1, ..Config::default() }).await;
    let writer = edge.stream(DEFAULT_VHOST, "live/foo");
    let mut first = edge.get("/live/foo.flv").await;
    first.head().await;
    let mut second = TcpStream::connect(edge.address).await.unwrap();
    let closed = timeout(LONG, second.read(&mut [0; 1])).await.expect("closed in time");
    assert!(matches!(closed, Ok(0) | Err(_)));
    readers(&writer, 1).await;
    let counted = "headwater_connections_turned_away_total{port=\"http\",reason=\"full\"} 1";
    assert!(edge.metrics.render().lines().any(|line| line == counted));
}

/// The sessions that play, by protocol.
fn playing(edge: &Edge) -> Vec<SessionInfo> {
    let mut sessions = edge.sessions.list();
    sessions.retain(|session| session.kind == Kind::Play);
    sessions.sort_by_key(|session| session.protocol.as_str());
    sessions
}

#[tokio::test]
async fn viewers_are_listed_as_sessions_and_an_operator_can_end_each() {
    let edge = Edge::start(Config::default()).await;
    let writer = edge.stream(DEFAULT_VHOST, "live/foo");
    let mut plain = edge.get("/live/foo.flv").await;
    let mut websocket = edge.request(&format!("GET /live/foo.flv {UPGRADE}")).await;
    plain.head().await;
    websocket.head().await;
    readers(&writer, 2).await;
    let sessions = playing(&edge);
    let protocols: Vec<_> = sessions.iter().map(|session| session.protocol).collect();
    assert_eq!(protocols, [Protocol::HttpFlv, Protocol::WebSocketFlv]);
    assert_eq!(sessions[0].stream.as_ref(), Some(writer.stream().name()));
    assert_eq!(sessions[0].peer, plain.socket.local_addr().unwrap());
    assert!(edge.sessions.kick(sessions[0].id, "enough"));
    readers(&writer, 1).await;
    assert!(edge.sessions.kick(sessions[1].id, "enough"));
    readers(&writer, 0).await;
    while plain.fill().await {}
    while websocket.fill().await {}
    assert_eq!(edge.stats.kicked.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn an_operator_can_end_a_viewer_that_does_not_read() {
    let edge = Edge::start(Config::default()).await;
    let mut writer = edge.stream(DEFAULT_VHOST, "live/foo");
    let _stalled = edge.get("/live/foo.flv").await;
    readers(&writer, 1).await;
    let payload = [KEY, &[0; 1 << 20]].concat().leak();
    for n in 1..=24 {
        append(&mut writer, frame(Medium::Video, 1000 + 40 * n, payload));
        tokio::task::yield_now().await;
    }
    assert!(edge.sessions.kick(playing(&edge)[0].id, "enough"));
    readers(&writer, 0).await;
}

#[tokio::test]
async fn what_a_viewer_was_sent_is_counted() {
    let edge = Edge::start(Config::default()).await;
    let mut writer = edge.stream(DEFAULT_VHOST, "live/foo");
    append(&mut writer, close());
    let mut client = edge.get("/live/foo.flv").await;
    client.head().await;
    let body = client.rest().await;
    assert_eq!(edge.status("/live/none.flv").await, 404);
    let count = |count: &std::sync::atomic::AtomicU64| count.load(Ordering::Relaxed);
    assert_eq!((count(&edge.stats.frames_out), count(&edge.stats.bytes_out)), (4, body.len() as u64));
    assert_eq!((count(&edge.stats.plays), count(&edge.stats.plays_refused), count(&edge.stats.accepted)), (1, 1, 2));
}

#[tokio::test]
async fn what_a_row_began_to_send_to_a_slow_viewer_is_counted_to_its_end() {
    let edge = Edge::start(Config::default()).await;
    let mut writer = edge.stream(DEFAULT_VHOST, "live/foo");
    let mut client = edge.get("/live/foo.flv").await;
    client.head().await;
    let begun: usize = [METADATA, AVC_CONFIG, KEY, DELTA].iter().map(|payload| 15 + payload.len()).sum();
    while client.unread.len() < 13 + begun {
        client.fill().await;
    }
    // A row writes by now, and soon the socket is full.
    let payload = [KEY, &[0; 1 << 19]].concat().leak();
    for n in 1..=32 {
        append(&mut writer, frame(Medium::Video, 1040 + 40 * n, payload));
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
    }
    append(&mut writer, close());
    let body = client.rest().await;
    assert_eq!(edge.stats.bytes_out.load(Ordering::Relaxed), body.len() as u64);
}
