use std::sync::atomic::AtomicUsize;

use bytes::Bytes;
use cluster::{Epoch, NodeId, RouteConfig, RouteTable};
use futures_util::{StreamExt, stream};
use hub::{Body, Budget, Read, RingLimits};
use media::{DEFAULT_VHOST, Frame, Medium, PublicationId};
use rpc::{
    auth::{Auth, Caller, Token, Tokens},
    relay::{self, PullDown, PullFrom, PullRequest, PushDown, PushHello, PushUp, RelayError},
    server::{Health, Server},
};
use tokio::{net::TcpListener, sync::broadcast};

use super::*;
use crate::upstream::Directions;

const A: PublicationId = PublicationId::from_bits(0xa);

/// An origin with one stream, whose pulls the test counts and feeds.
struct Fake {
    pulls: AtomicUsize,
    asked: watch::Sender<Option<PullFrom>>,
    /// None: there is no stream yet.
    down: watch::Sender<bool>,
    items: broadcast::Sender<PullDown>,
    /// The position that it says it has reached.
    head: AtomicU64,
}

impl relay::Relay for Fake {
    async fn push(&self, _: PushHello, _: relay::Stream<PushUp>) -> Result<relay::Stream<PushDown>, RelayError> {
        Err(RelayError::Gone)
    }

    async fn pull(&self, request: PullRequest) -> Result<relay::Stream<PullDown>, RelayError> {
        self.pulls.fetch_add(1, Ordering::Relaxed);
        self.asked.send_replace(Some(request.from));
        let mut open = self.down.subscribe();
        let items = self.items.subscribe();
        let head = self.head.load(Ordering::Relaxed);
        let opened = async move {
            open.wait_for(|open| *open).await.expect("the fake outlives its pulls");
            Ok(PullDown::Opened { epoch: Epoch(1), head, rejoined: false })
        };
        let waiting = stream::iter([Ok(PullDown::Heartbeat { epoch: Epoch(1), head: 0 })]);
        let rest = stream::unfold(items, |mut items| async { Some((Ok(items.recv().await.ok()?), items)) });
        Ok(waiting.chain(stream::once(opened)).chain(rest).boxed())
    }
}

struct Bench {
    fake: Arc<Fake>,
    pulls: Arc<Pulls>,
    stop: CancellationToken,
    address: std::net::SocketAddr,
    token: Token,
}

impl Bench {
    async fn start(config: Config) -> Self {
        let fake = Arc::new(Fake {
            pulls: AtomicUsize::new(0),
            asked: watch::Sender::new(None),
            down: watch::Sender::new(false),
            items: broadcast::channel(64).0,
            head: AtomicU64::new(1000),
        });
        let token = Token::generate();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let stop = serve(&fake, &token, listener).await;
        let route: RouteConfig = serde_json::from_str(&format!("\"*:*;{address}\"")).unwrap();
        let routes = RouteTable::new(vec![], RouteConfig::into_entries(vec![route])).unwrap();
        let directions = Directions { routes: Arc::new(routes), pools: vec![] };
        let (sender, directions) = watch::channel(directions);
        // The sender lives as long as the process would.
        std::mem::forget(sender);
        let upstream = Upstream::new(NodeId::new("edge-1").unwrap(), directions, Some(token.clone()));
        let pulls = Pulls::new(Hub::new(RingLimits::default()), upstream, config);
        Self { fake, pulls, stop, address, token }
    }

    /// The origin dies and comes back at the same address.
    async fn restart(&mut self) {
        self.stop.cancel();
        let listener = loop {
            match TcpListener::bind(self.address).await {
                Ok(listener) => break listener,
                Err(_) => tokio::task::yield_now().await,
            }
        };
        self.stop = serve(&self.fake, &self.token, listener).await;
    }

    fn send(&self, items: Vec<relay::Item>) {
        self.fake.items.send(PullDown::Items { epoch: Epoch(1), items }).unwrap();
    }

    async fn play(&self) -> Result<Reader, NoPlay> {
        self.pulls.play(&name()).await
    }
}

async fn serve(fake: &Arc<Fake>, token: &Token, listener: TcpListener) -> CancellationToken {
    let mut tokens = Tokens::default();
    tokens.add(Caller::Edge, token);
    let builder = Server::builder(Arc::new(Auth::new(tokens)), &Health::new().await);
    let server = builder.drain(Duration::ZERO).relay(fake.clone()).build().await;
    let stop = CancellationToken::new();
    let stopped = stop.clone();
    tokio::spawn(async move { server.serve(listener, stopped.cancelled()).await });
    stop
}

fn name() -> StreamName {
    StreamName::from_app(DEFAULT_VHOST, "live", "a").unwrap()
}

fn key(seq: u64) -> relay::Item {
    let payload = Bytes::from_static(&[0x17, 1, 0, 0, 0, 0, 0, 0, 1, 0x65]);
    relay::Item { seq, body: relay::Body::Frame(Frame::classify(Medium::Video, 40 * seq, payload)) }
}

/// The next items that the reader gets, by position.
async fn next(reader: &mut Reader) -> Vec<u64> {
    let read = async {
        let mut items = Vec::new();
        loop {
            match reader.read(Budget { items: 100, bytes: 1 << 20 }, &mut items) {
                Read::Items | Read::Skipped(_) => return items.iter().map(|item| item.seq).collect(),
                Read::Empty => reader.ready().await,
                Read::Ended => return Vec::new(),
            }
        }
    };
    timeout(Duration::from_secs(30), read).await.expect("items in time")
}

#[tokio::test]
async fn however_many_join_the_origin_sees_one_pull() {
    let bench = Bench::start(Config::default()).await;
    bench.fake.down.send_replace(true);
    let joins = (0..100).map(|_| bench.play());
    let mut readers: Vec<Reader> =
        futures_util::future::join_all(joins).await.into_iter().collect::<Result<_, _>>().unwrap();
    bench.send(vec![key(7), key(8)]);
    for reader in &mut readers {
        assert_eq!(next(reader).await.last(), Some(&8));
    }
    assert_eq!(bench.fake.pulls.load(Ordering::Relaxed), 1);
    assert_eq!(bench.pulls.counts(), (1, 1));
}

#[tokio::test]
async fn a_viewer_waits_for_its_stream_to_be_published() {
    let bench = Bench::start(Config::default()).await;
    let mut asked = bench.fake.asked.subscribe();
    let (reader, ()) = tokio::join!(bench.play(), async {
        asked.wait_for(Option::is_some).await.unwrap();
        bench.fake.down.send_replace(true);
    });
    assert!(reader.is_ok());
}

#[tokio::test]
async fn absent_and_unreachable_are_told_apart_after_the_wait() {
    let wait = Duration::from_millis(600);
    let mut bench = Bench::start(Config { wait, ..Config::default() }).await;
    assert_eq!(bench.play().await.err(), Some(NoPlay::NotFound));
    bench.stop.cancel();
    bench.pulls =
        Pulls::new(Hub::new(RingLimits::default()), bench.pulls.upstream.clone(), Config { wait, ..Config::default() });
    assert_eq!(bench.play().await.err(), Some(NoPlay::Unreachable));
}

#[tokio::test]
async fn a_viewer_goes_on_where_it_was_when_the_origin_comes_back() {
    let mut bench = Bench::start(Config::default()).await;
    bench.fake.down.send_replace(true);
    let mut reader = bench.play().await.unwrap();
    bench.send(vec![key(7), key(8)]);
    assert_eq!(next(&mut reader).await, [8], "a viewer starts at the newest keyframe");
    let mut asked = bench.fake.asked.subscribe();
    asked.mark_unchanged();
    bench.restart().await;
    asked.changed().await.unwrap();
    assert_eq!(*asked.borrow(), Some(PullFrom::After(8)));
    let resumed = async {
        // Sent until the new pull listens.
        loop {
            bench.fake.items.send(PullDown::Items { epoch: Epoch(1), items: vec![key(8), key(9)] }).ok();
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        items = next(&mut reader) => assert_eq!(items, [9]),
        () = resumed => {}
    }
}

#[tokio::test]
async fn a_stream_that_begins_anew_below_where_viewers_are_ends_for_them() {
    let mut bench = Bench::start(Config::default()).await;
    bench.fake.down.send_replace(true);
    let mut reader = bench.play().await.unwrap();
    bench.send(vec![key(7), key(8)]);
    next(&mut reader).await;
    bench.fake.head.store(3, Ordering::Relaxed);
    bench.restart().await;
    assert_eq!(next(&mut reader).await, [0_u64; 0], "it ends rather than stand still");
}

#[tokio::test]
async fn the_stream_lingers_and_a_viewer_who_returns_finds_it() {
    let linger = Duration::from_millis(300);
    let bench = Bench::start(Config { linger, ..Config::default() }).await;
    bench.fake.down.send_replace(true);
    drop(bench.play().await.unwrap());
    let again = bench.play().await.unwrap();
    assert_eq!(bench.fake.pulls.load(Ordering::Relaxed), 1);
    drop(again);
    let gone = async {
        while bench.pulls.counts() != (0, 0) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), gone).await.expect("the pull ends");
    assert!(bench.play().await.is_ok(), "and begins again");
    assert_eq!(bench.fake.pulls.load(Ordering::Relaxed), 2);
}

#[tokio::test]
async fn a_closed_stream_ends_for_its_viewers() {
    let bench = Bench::start(Config::default()).await;
    bench.fake.down.send_replace(true);
    let mut reader = bench.play().await.unwrap();
    let close = relay::Body::Event(relay::Event::Close { publication: A });
    bench.send(vec![key(7), relay::Item { seq: 8, body: close }]);
    assert_eq!(next(&mut reader).await, [7, 8]);
    assert_eq!(next(&mut reader).await, [0_u64; 0]);
}

#[tokio::test]
async fn without_a_route_nobody_waits() {
    let bench = Bench::start(Config::default()).await;
    let (_sender, directions) = watch::channel(Directions::default());
    let upstream = Upstream::new(NodeId::new("edge-1").unwrap(), directions, None);
    let pulls = Pulls::new(Hub::new(RingLimits::default()), upstream, Config::default());
    let begin = tokio::time::Instant::now();
    assert_eq!(pulls.play(&name()).await.err(), Some(NoPlay::NotFound));
    assert!(begin.elapsed() < Duration::from_secs(5));
    drop(bench);
}

#[test]
fn set_up_from_the_origin_reaches_late_viewers() {
    let hub = Hub::new(RingLimits::default());
    let mut writer = hub.mirror(&name()).unwrap();
    let config = Bytes::from_static(&[0xaf, 0, 0x12, 0x10]);
    writer.restore_setup(vec![Frame::classify(Medium::Audio, 0, config.clone())]);
    let payload = Bytes::from_static(&[0xaf, 1, 0x21]);
    writer.append_at([(5, Body::Frame(Frame::classify(Medium::Audio, 99, payload)))]);
    let mut items = Vec::new();
    writer.stream().subscribe(Start::Live).read(Budget { items: 9, bytes: 99 }, &mut items);
    assert!(matches!(&items[0].body, Body::Setup(frame) if frame.payload == config && frame.dts == 99));
}
