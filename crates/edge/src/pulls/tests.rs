mod absent;
mod moves;
mod pools;

use bytes::Bytes;
use cluster::Epoch;
use hub::{Body, Budget, Event, Read, RingLimits};
use media::{Frame, Medium, PublicationId};
use rpc::relay::{self, Placed, PullDown, PullFrom, PullRequest, RelayError};
use tokio::{
    sync::watch,
    time::{Instant as TokioInstant, sleep},
};

use super::*;
use crate::upstream::{
    Directions,
    testing::{Down, Net, Played, directions, name},
};

const A: PublicationId = PublicationId::from_bits(0xa);
/// Nothing here takes so long; a test that does has failed.
const LONG: Duration = Duration::from_secs(120);

/// An edge with two origins at `a:1` and `b:1` of one pool.
struct Bench {
    net: Arc<Net>,
    pulls: Arc<Pulls>,
    a: Played,
    b: Played,
    routes: watch::Sender<Directions>,
}

/// A pull that an origin has taken.
struct Taken {
    request: PullRequest,
    down: Down<PullDown>,
    epoch: Epoch,
}

impl Bench {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        Self::along(config, &[r#""*:*;a:1;b:1""#])
    }

    fn along(config: Config, entries: &[&str]) -> Self {
        let net = Net::new();
        let (a, b) = (net.listen("a:1"), net.listen("b:1"));
        let (upstream, routes) = net.upstream(directions(entries));
        Self { net, pulls: Arc::new(Pulls::new(Hub::new(RingLimits::default()), upstream, config)), a, b, routes }
    }

    /// A viewer asks.
    fn play(&self) -> tokio::task::JoinHandle<Result<Reader, PlayRefusal>> {
        self.play_of(name())
    }

    fn play_of(&self, name: StreamName) -> tokio::task::JoinHandle<Result<Reader, PlayRefusal>> {
        let pulls = self.pulls.clone();
        tokio::spawn(async move { pulls.play(&name).await })
    }

    /// A viewer at position 8, fed by origin A in epoch 5.
    async fn viewer_at_8(&mut self) -> (Reader, Taken) {
        let viewer = self.play();
        let taken = take(&mut self.a, 5).await;
        taken.open(8);
        taken.send(vec![key(7), delta(8)]);
        let mut reader = viewer.await.unwrap().unwrap();
        assert_eq!(next(&mut reader).await, [7, 8]);
        (reader, taken)
    }
}

/// Takes the next pull that comes to an origin.
async fn take(origin: &mut Played, epoch: u64) -> Taken {
    let (request, reply) = timeout(LONG, origin.pull()).await.expect("a pull in time");
    Taken { request, down: reply.accept(), epoch: Epoch(epoch) }
}

impl Taken {
    fn open(&self, head: u64) {
        self.down.send(Ok(PullDown::Opened { epoch: self.epoch, head, rejoined: false, parted_from: None })).unwrap();
    }

    fn send(&self, items: Vec<Placed>) {
        // An edge that has left hears nothing.
        let _left = self.down.send(Ok(PullDown::Items { epoch: self.epoch, items }));
    }

    fn beat(&self, head: u64) {
        self.down.send(Ok(PullDown::Heartbeat { epoch: self.epoch, head })).unwrap();
    }

    /// The connection is gone.
    fn reset(self) {
        let _left = self.down.send(Err(RelayError::Transport("reset".into())));
    }
}

/// A frame whose payload says which position it had.
fn video(head: u8, seq: u64) -> Placed {
    let mut payload = vec![head, 1, 0, 0, 0];
    payload.extend_from_slice(&seq.to_be_bytes());
    Placed { seq, body: Body::Frame(Frame::classify(Medium::Video, 40 * seq, Bytes::from(payload))) }
}

fn key(seq: u64) -> Placed {
    video(0x17, seq)
}

fn delta(seq: u64) -> Placed {
    video(0x27, seq)
}

/// The next items that the reader gets. Empty: its stream has ended.
async fn next_items(reader: &mut Reader) -> Vec<Arc<hub::Item>> {
    let read = async {
        let mut items = Vec::new();
        loop {
            match reader.read(Budget { items: 100, bytes: 1 << 20 }, &mut items) {
                Read::Items | Read::Skipped(_) => return items,
                Read::Empty => reader.ready().await,
                Read::Ended => return Vec::new(),
            }
        }
    };
    timeout(LONG, read).await.expect("items in time")
}

/// By position.
async fn next(reader: &mut Reader) -> Vec<u64> {
    next_items(reader).await.iter().map(|item| item.seq).collect()
}

#[tokio::test(start_paused = true)]
async fn however_many_join_the_origin_sees_one_pull() {
    let mut bench = Bench::new();
    let viewers: Vec<_> = (0..100).map(|_| bench.play()).collect();
    let taken = take(&mut bench.a, 1).await;
    taken.open(8);
    taken.send(vec![key(7), key(8)]);
    for viewer in viewers {
        let mut reader = viewer.await.unwrap().unwrap();
        assert_eq!(next(&mut reader).await.last(), Some(&8));
    }
    assert_eq!(bench.pulls.stats().calls.load(Ordering::Relaxed), 1);
    assert_eq!(bench.pulls.counts(), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_viewer_waits_for_its_stream_to_be_published() {
    let mut bench = Bench::new();
    let viewer = bench.play();
    let taken = take(&mut bench.a, 1).await;
    taken.beat(0);
    sleep(Duration::from_secs(2)).await;
    taken.open(0);
    assert!(viewer.await.unwrap().is_ok());
}

#[tokio::test(start_paused = true)]
async fn absent_and_unreachable_are_told_apart_after_the_wait() {
    let mut bench = Bench::new();
    let viewer = bench.play();
    let taken = take(&mut bench.a, 1).await;
    for _ in 0..20 {
        if taken.down.send(Ok(PullDown::Heartbeat { epoch: Epoch(1), head: 0 })).is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    }
    assert_eq!(viewer.await.unwrap().err(), Some(PlayRefusal::NotFound));
    let Bench { pulls, routes: _routes, .. } = bench;
    assert_eq!(pulls.play(&name()).await.err(), Some(PlayRefusal::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_viewer_goes_on_where_it_was_when_the_origin_comes_back() {
    let mut bench = Bench::new();
    let (mut reader, taken) = bench.viewer_at_8().await;
    taken.reset();
    let again = take(&mut bench.a, 5).await;
    assert_eq!(again.request.from, PullFrom::After(8));
    again.open(9);
    again.send(vec![delta(8), delta(9)]);
    assert_eq!(next(&mut reader).await, [9], "in the middle of a GOP, and nothing twice");
    assert_eq!(bench.pulls.stats().repeated.load(Ordering::Relaxed), 1);
}

#[tokio::test(start_paused = true)]
async fn the_stream_lingers_and_a_viewer_who_returns_finds_it() {
    let linger = Duration::from_secs(3);
    let mut bench = Bench::with(Config { linger, ..Config::default() });
    let (reader, taken) = bench.viewer_at_8().await;
    drop(reader);
    sleep(Duration::from_secs(1)).await;
    taken.beat(8);
    let again = bench.play().await.unwrap().unwrap();
    assert_eq!(bench.pulls.stats().calls.load(Ordering::Relaxed), 1);
    drop(again);
    let begin = TokioInstant::now();
    // The edge hangs up when nobody has wanted the stream for so long.
    while timeout(Duration::from_millis(100), taken.down.closed()).await.is_err() {
        taken.beat(8);
    }
    assert_eq!((begin.elapsed().as_secs(), bench.pulls.counts()), (3, (0, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_closed_stream_ends_for_its_viewers() {
    let mut bench = Bench::new();
    let (mut reader, taken) = bench.viewer_at_8().await;
    taken.send(vec![Placed { seq: 9, body: Body::Event(Event::Close { publication: A }) }]);
    assert_eq!(next(&mut reader).await, [9]);
    assert_eq!(next(&mut reader).await, [0_u64; 0]);
}

#[tokio::test(start_paused = true)]
async fn without_a_route_nobody_waits() {
    let bench = Bench::along(Config::default(), &[]);
    let begin = TokioInstant::now();
    assert_eq!(bench.play().await.unwrap().err(), Some(PlayRefusal::NotFound));
    assert_eq!(begin.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_news_once_and_the_name_is_forgotten() {
    let bench = Bench::along(Config::default(), &[r#"{"to":{"addresses":["a:1"]},"protocol":"rtmp"}"#]);
    assert_eq!(bench.play().await.unwrap().err(), Some(PlayRefusal::NotFound));
    let mut state = bench.pulls.pulls.get(&name()).unwrap().state.subscribe();
    let news = timeout(Duration::from_millis(999), state.changed()).await;
    assert!(news.is_err(), "{:?}", *state.borrow());
    sleep(Duration::from_millis(2)).await;
    assert_eq!(bench.pulls.counts(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn names_that_viewers_choose_do_not_fill_the_log() {
    let bench = Bench::with(Config { streams_max: 0, ..Config::default() });
    assert_eq!(bench.play().await.unwrap().err(), Some(PlayRefusal::Unavailable));
    assert_eq!(bench.pulls.complaints.allow("pull.too_many"), None, "it was told just now");
    let Bench { pulls, net: _net, routes: _routes, .. } = Bench::new();
    assert_eq!(pulls.play(&name()).await.err(), Some(PlayRefusal::Unavailable));
    assert_eq!(pulls.complaints.allow("pull.unreachable"), None, "it was told just now");
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
    writer.stream().subscribe(Start::LastKeyframe).read(Budget { items: 9, bytes: 99 }, &mut items);
    assert!(matches!(&items[0].body, Body::Setup(frame) if frame.payload == config && frame.dts == 99));
}
