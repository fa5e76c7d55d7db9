//! A thousand viewers at once, viewers that come and go, and thousands that never finish their handshake.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::{Duration, Instant},
};

use anyhow::Result;
use tests::{
    Cluster, drill,
    flv::Tag,
    limits::raise_open_files,
    process::resident_kib,
    rtmp::{Event, Publisher, Recorder, Viewer},
    synthetic::{self, Feed},
    until,
    wait::SOON,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{MissedTickBehavior, interval, timeout},
};

/// How long a viewer may wait for its first frame while a thousand join, on a busy machine.
const FIRST_FRAME: Duration = Duration::from_secs(20);
/// How many frames each viewer sees before it leaves.
const FRAMES: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_viewers_join_at_once_on_one_pull_and_start_at_a_keyframe() {
    let viewers = drill(1000, 3000);
    raise_open_files();
    let cluster = Cluster::start_alone();
    let feed = Feed::start(&cluster.rtmp("edge-1", "live/crowd")).await;
    // Where the role moves, an edge asks the next active origin too.
    cluster.hold_roles();
    let pulls_before = pulls_opened(&cluster);
    let url = cluster.rtmp("edge-2", "live/crowd");
    let start = Instant::now();
    let mut crowd = JoinSet::new();
    for _ in 0..viewers {
        crowd.spawn(watch(url.clone(), FRAMES));
    }
    let mut waits = Vec::new();
    while let Some(seen) = crowd.join_next().await {
        let (waited, first) = seen.expect("no viewer panics").expect("every viewer is served");
        assert!(first.is_key(), "the first frame is a keyframe");
        waits.push(waited);
    }
    waits.sort();
    let longest = waits.last().copied().expect("viewers were there");
    println!(
        "{viewers} viewers in {:?}; first frame: median {:?}, longest {longest:?}",
        start.elapsed(),
        waits[viewers / 2]
    );
    assert!(longest < FIRST_FRAME, "a viewer waited {longest:?} for its first frame");
    assert_eq!(pulls_opened(&cluster) - pulls_before, 1.0, "pulls that the origin saw");
    feed.assert_running();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn whoever_comes_back_soon_after_the_last_viewer_left_is_served() {
    let cluster = Cluster::start();
    let feed = Feed::start(&cluster.rtmp("edge-1", "live/crowd")).await;
    let url = cluster.rtmp("edge-2", "live/crowd");
    let pauses = drill(vec![0, 30, 300, 1000, 2900], (0..60).map(|step| step * 50).collect());
    for pause in pauses {
        let (_, first) =
            watch(url.clone(), 1).await.unwrap_or_else(|error| panic!("{pause} ms after the last left: {error:#}"));
        assert!(first.is_key(), "the first frame is a keyframe");
        // The pause is what is tried here: a viewer that comes back this much later.
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    feed.assert_running();
}

/// How much longer than alone an honest encoder may take from its first SYN to a viewer's screen, whoever else is at the door.
const LIVE_WITHIN: Duration = Duration::from_secs(1);
/// Memory of a connection that lacks one byte to its C1, as the process sees it.
const HALF_OPEN_KIB_MAX: f64 = 4.0;
/// All of C0 and C1 but one byte: of what never finishes, this holds most.
const UNFINISHED_BYTES: usize = 1536;
/// Half-open connections of one address. Those that it has just been closed count for a moment beside their successors, and
/// both together stay below what an address may have.
const HALF_OPEN_EACH: u32 = 30;
/// What an address may have where nothing else is said.
const PER_ADDRESS: f64 = 64.0;
/// The time between two attempts of one of them: what it may take over its handshake.
const COMES_BACK_AFTER: Duration = Duration::from_secs(5);
/// The one address of a flood.
const FLOODER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// How long a flood holds each of its connections, if it is not closed before: no process may have all at once.
const FLOOD_HOLDS: Duration = Duration::from_secs(1);
/// The time between two honest encoders. All together they outlast the edge's patience twice, so that some come when thousands
/// are closed and are back at the same moment.
const ENCODER_EVERY: Duration = Duration::from_millis(250);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_encoder_is_live_at_once_among_thousands_that_never_finish() {
    let mut siege = Siege::begin(Cluster::start_alone(), half_open_from_many).await;
    // The first ones also take what is needed once, on threads that had nothing to do before.
    let (few_kib, few) = siege.send_until_there(siege.half_open / 3);
    let (all_kib, all) = siege.send_until_there(siege.half_open);
    let each = all_kib.saturating_sub(few_kib) as f64 / (all - few);
    println!("a half-open connection takes {each:.2} KiB");
    assert!(each < HALF_OPEN_KIB_MAX, "a half-open connection takes {each:.2} KiB");
    siege.encoders_come_in(|siege| siege.turned_away() > Some(0.0)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_encoder_is_live_at_once_while_one_address_tries_thousands() {
    let mut siege = Siege::lay(Cluster::start_alone(), |_| FLOODER).await;
    siege.encoders_come_in(|siege| siege.turned_away() > Some(f64::from(siege.half_open) / 2.0)).await;
    let unfinished = siege.unfinished().expect("the edge counts them");
    assert!(unfinished <= PER_ADDRESS + 1.0, "{unfinished} of one address are let in");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_honest_encoder_is_live_at_once_where_one_address_may_have_thousands() {
    let cluster = Cluster::start_alone();
    cluster.reconfigure("edge-1", "rtmp:\n", "rtmp:\n  handshakes_per_address: 20000\n");
    cluster.restart("edge-1");
    let mut siege = Siege::lay(cluster, |_| FLOODER).await;
    let held = f64::from(siege.half_open) * 0.9;
    siege.encoders_come_in(|siege| siege.unfinished() >= Some(held)).await;
}

/// An edge with a stream, and a crowd at its door that never finishes a handshake.
struct Siege {
    cluster: Cluster,
    feed: Feed,
    beside: Recorder,
    crowd: JoinSet<()>,
    /// Where each of the crowd comes from.
    address: fn(u32) -> Ipv4Addr,
    /// How many of it have been sent.
    sent: u32,
    half_open: u32,
    connects_a_second: u32,
    /// What encoders took before the crowd came.
    alone: Vec<Duration>,
}

impl Siege {
    /// Sends the crowd, each of a number from an address.
    async fn lay(cluster: Cluster, address: fn(u32) -> Ipv4Addr) -> Self {
        let mut siege = Self::begin(cluster, address).await;
        siege.send(siege.half_open);
        siege
    }

    /// Nobody of the crowd has been sent yet.
    async fn begin(cluster: Cluster, address: fn(u32) -> Ipv4Addr) -> Self {
        let (half_open, connects_a_second) = drill((3_000, 200), (10_000, 2_000));
        raise_open_files();
        let feed = Feed::start(&cluster.rtmp("edge-1", "live/beside")).await;
        let beside = Recorder::start(&cluster.rtmp("edge-1", "live/beside"));
        beside.wait_frames(2, SOON);
        let alone = honest_encoders(&cluster, "early", 3).await;
        let crowd = JoinSet::new();
        Self { cluster, feed, beside, crowd, address, sent: 0, half_open, connects_a_second, alone }
    }

    /// Sends more of the crowd, until so many have been sent.
    fn send(&mut self, until: u32) {
        let edge = self.cluster.address("edge-1", "rtmp");
        let more = self.sent..until;
        more.for_each(|number| drop(self.crowd.spawn(never_finish(edge, (self.address)(number)))));
        self.sent = until;
    }

    /// The same, and waits until they are there: the edge's memory in KiB, and how many it counts.
    fn send_until_there(&mut self, until: u32) -> (u64, f64) {
        self.send(until);
        // Nearly all: memory of those that the edge has not counted yet would be put down to the others.
        let held = f64::from(until) * 0.99;
        let count =
            tests::until("the half-open connections", SOON, || self.unfinished().filter(|count| *count >= held));
        (resident_kib(self.cluster.pid("edge-1")), count)
    }

    /// Adds the flood; once the crowd stands as it should, encoders come, and each is live in time.
    async fn encoders_come_in(&mut self, stands: impl Fn(&Self) -> bool) {
        self.crowd.spawn(flood(self.cluster.address("edge-1", "rtmp"), self.connects_a_second));
        until("the crowd to stand", SOON, || stands(self).then_some(()));
        let waits = honest_encoders(&self.cluster, "late", drill(3, 48)).await;
        let (longest, alone) = (waits.iter().max(), self.alone.iter().max());
        println!(
            "{} half-open, {} connects a second: {} encoders live after at most {longest:?}, alone after {alone:?}; turned away {:?}",
            self.half_open,
            self.connects_a_second,
            waits.len(),
            self.turned_away(),
        );
        let bound = *alone.expect("some were there") + LIVE_WITHIN;
        assert!(waits.iter().all(|wait| *wait < bound), "live only after {waits:?}, alone after {alone:?}");
        // Those that are closed all at once are away for a moment.
        until("the crowd to stand still", SOON, || stands(self).then_some(()));
        self.crowd.shutdown().await;
        self.beside.wait_frames(2, SOON);
        self.beside.assert_whole(synthetic::FRAME, "the stream beside");
        self.feed.assert_running();
    }

    fn unfinished(&self) -> Option<f64> {
        self.cluster.metric("edge-1", "headwater_handshakes_unfinished", &["port=\"rtmp\""])
    }

    fn turned_away(&self) -> Option<f64> {
        let labels = ["port=\"rtmp\"", "reason=\"too_many\""];
        self.cluster.metric("edge-1", "headwater_connections_turned_away_total", &labels)
    }
}

fn half_open_from_many(number: u32) -> Ipv4Addr {
    Ipv4Addr::from_bits(Ipv4Addr::new(127, 1, 0, 1).to_bits() + number / HALF_OPEN_EACH)
}

/// How long each of some encoders takes until a viewer at the other edge sees its first frame.
async fn honest_encoders(cluster: &Cluster, name: &str, count: u32) -> Vec<Duration> {
    let mut waits = Vec::new();
    let mut ticks = interval(ENCODER_EVERY);
    for number in 0..count {
        ticks.tick().await;
        let path = format!("live/{name}-{number}");
        let viewer = Recorder::start(&cluster.rtmp("edge-2", &path));
        let start = Instant::now();
        let _publisher = publish(&cluster.rtmp("edge-1", &path)).await;
        until("the honest encoder's first frame", SOON, || (viewer.frames() > 0).then_some(()));
        waits.push(start.elapsed());
    }
    waits
}

/// Sends all of its hello but one byte and waits until it is closed, again and again.
async fn never_finish(edge: SocketAddr, address: Ipv4Addr) {
    // Whoever is turned away comes back, but not so fast that it is a flood: that is somebody else's part.
    let mut ticks = interval(COMES_BACK_AFTER);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        if let Ok(mut socket) = connect_from(address, edge).await {
            let _cut = socket.write_all(&[3; UNFINISHED_BYTES]).await;
            let _closed = socket.read(&mut [0; 16]).await;
        }
    }
}

/// So many connections a second from one address.
async fn flood(edge: SocketAddr, a_second: u32) {
    let mut ticks = interval(Duration::from_millis(10));
    let mut held = JoinSet::new();
    loop {
        ticks.tick().await;
        for _ in 0..a_second / 100 {
            held.spawn(async move {
                if let Ok(mut socket) = connect_from(FLOODER, edge).await {
                    let _closed = timeout(FLOOD_HOLDS, socket.read(&mut [0; 16])).await;
                    // An orderly end would keep the port for a minute, of which the flood soon had none left.
                    let _reset = socket.set_zero_linger();
                }
            });
        }
        while held.try_join_next().is_some() {}
    }
}

async fn connect_from(address: Ipv4Addr, edge: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((address, 0).into())?;
    socket.connect(edge).await
}

/// Publishes one keyframe.
async fn publish(url: &str) -> Publisher {
    let mut publisher = Publisher::open(url).await.expect("the encoder is welcome");
    publisher.send(&synthetic::config()).await.expect("the set-up is taken");
    publisher.send(&synthetic::frame(0, synthetic::FRAME)).await.expect("the frame is taken");
    publisher
}

/// Joins, sees some frames, leaves. Gives the time to the first and the frame.
async fn watch(url: String, frames: usize) -> Result<(Duration, Tag)> {
    let start = Instant::now();
    let mut viewer = Viewer::join(&url).await?;
    let first = viewer.first_frame().await?;
    let waited = start.elapsed();
    let mut seen = 1;
    while seen < frames {
        match viewer.next().await? {
            Event::Media(tag) => seen += usize::from(tag.is_coded()),
            Event::Status(status) => anyhow::ensure!(status.level != "error", "{status:?}"),
            other => anyhow::bail!("{other:?} after {seen} frames"),
        }
    }
    Ok((waited, first))
}

/// How many pulls the origins have been asked for since they started.
fn pulls_opened(cluster: &Cluster) -> f64 {
    ["origin-1", "origin-2"]
        .iter()
        .filter_map(|origin| cluster.metric(origin, "headwater_pulls_served_total", &[]))
        .sum()
}
