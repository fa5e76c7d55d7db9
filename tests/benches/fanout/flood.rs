//! Connections by the thousand from one address, and how soon an encoder from another is live.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use tests::{
    rtmp::{Publisher, Viewer},
    synthetic,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    runtime::{Builder, Runtime},
    task::JoinSet,
    time::{interval, sleep, timeout},
};

use crate::{
    Setting,
    page::{median, table},
    server::Server,
};

/// Who floods; encoders come from 127.0.0.1.
const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// What the edge lets an address have: all of the flood, which its default of 64 would turn away.
const PER_ADDRESS: &str = "rtmp:\n  handshakes_per_address: 20000\n";
/// Handshakes that begin and do not go on.
const HALF_OPEN: u32 = 10_000;
/// Connections in a second that come and go.
const CONNECTS: u32 = 2000;
/// A flood that comes to less of that has not been made.
const MADE: f64 = 0.9;
/// Half-open handshakes begin one after the other over as long as an edge bears one, so that not all of them end and begin
/// again at the same moment.
const BEGIN_OVER: Duration = Duration::from_secs(5);
/// How long the flood may take to come to its height.
const HEIGHT: Duration = Duration::from_secs(20);
/// How often it is looked at whether it has.
const LOOK: Duration = Duration::from_millis(250);
/// Encoders that are tried, one after the other, and the time between two.
const ENCODERS: usize = 5;
const ENCODER_EVERY: Duration = Duration::from_secs(1);
/// How long each may take before it counts as kept out.
const KEPT_OUT: Duration = Duration::from_secs(5);
/// How soon each has to be live.
const PROMISED_MS: f64 = 1000.0;

/// Without any, under half-open handshakes, under connects, under both.
pub fn run(setting: Setting) -> Result<String> {
    let server = Server::edge(setting.cores, |cluster| cluster.reconfigure("edge-2", "rtmp:\n", PER_ADDRESS));
    let floods = [
        ("none", 0, 0),
        ("10,000 half-open handshakes", HALF_OPEN, 0),
        ("2,000 connects a second", 0, CONNECTS),
        ("both", HALF_OPEN, CONNECTS),
    ];
    let rows = floods.into_iter().map(|(what, half_open, connects)| row(&server, what, half_open, connects));
    let rows = rows.collect::<Result<Vec<_>>>()?;
    let head = [
        "flood from 127.0.0.2",
        "half-open, fewest",
        "connects a second",
        "encoder live, median",
        "longest",
        "within a second",
    ];
    Ok(format!(
        "From an encoder's first packet to its first frame at a viewer of the same edge, {ENCODERS} encoders each. The edge lets \
         one address have 20,000 handshakes at once; it is the edge that counts them (`headwater_handshakes_unfinished`).\n\n{}",
        table(&head, &rows)
    ))
}

/// One flood, and what encoders take meanwhile.
fn row(server: &Server, what: &str, half_open: u32, connects: u32) -> Result<Vec<String>> {
    let flood = Flood::begin(server.rtmp, half_open, connects)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let seen = runtime.block_on(flood.watch(server, what))?;
    eprintln!(
        "{what}: {:.0?} ms, {:.0} half-open, {:.0} connects a second",
        seen.live_ms, seen.half_open, seen.connects
    );
    let worst = seen.live_ms.iter().copied().fold(0.0, f64::max);
    let made = seen.half_open >= f64::from(half_open) * MADE && seen.connects >= f64::from(connects) * MADE;
    Ok(vec![
        what.to_owned(),
        format!("{:.0}", seen.half_open),
        format!("{:.0}", seen.connects),
        format!("{:.0} ms", median(seen.live_ms).unwrap_or_default()),
        format!("{worst:.0} ms"),
        match (made, worst <= PROMISED_MS) {
            (false, _) => "flood NOT made",
            (true, true) => "met",
            (true, false) => "NOT met",
        }
        .to_owned(),
    ])
}

/// A flood. Those who never finish and those who come and go have a thread each: neither waits for the other in here, nor does
/// an encoder for them.
struct Flood {
    half_open: u32,
    /// Connects that succeeded.
    came: Arc<AtomicU64>,
    threads: [Runtime; 2],
}

/// What was seen of one.
struct Seen {
    /// The fewest unfinished handshakes that the edge counted.
    half_open: f64,
    /// Connects a second.
    connects: f64,
    live_ms: Vec<f64>,
}

impl Flood {
    fn begin(to: SocketAddr, half_open: u32, connects: u32) -> Result<Self> {
        let thread = || Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let flood = Self { half_open, came: Arc::default(), threads: [thread()?, thread()?] };
        for number in 0..half_open {
            flood.threads[0].spawn(half_open_again(to, BEGIN_OVER * number / half_open));
        }
        if connects > 0 {
            flood.threads[1].spawn(connect_again(flood.came.clone(), to, connects));
        }
        Ok(flood)
    }

    /// Waits until it has come to its height, then has encoders come.
    async fn watch(&self, server: &Server, what: &str) -> Result<Seen> {
        let unfinished = || {
            let count = server.cluster()?.metric("edge-2", "headwater_handshakes_unfinished", &["port=\"rtmp\""]);
            count.context("the edge counts unfinished handshakes")
        };
        let begin = Instant::now();
        while unfinished()? < f64::from(self.half_open) * MADE && begin.elapsed() < HEIGHT {
            sleep(LOOK).await;
        }
        let (begin, came) = (Instant::now(), self.came.load(Relaxed));
        let mut seen = Seen { half_open: f64::INFINITY, connects: 0.0, live_ms: Vec::new() };
        let mut ticks = interval(ENCODER_EVERY);
        for number in 0..ENCODERS {
            ticks.tick().await;
            seen.half_open = seen.half_open.min(unfinished()?);
            let name = format!("{}-{number}", what.replace([' ', ','], "-"));
            seen.live_ms.push(live(server, &name).await);
        }
        ticks.tick().await;
        seen.connects = (self.came.load(Relaxed) - came) as f64 / begin.elapsed().as_secs_f64();
        Ok(seen)
    }
}

/// One handshake that begins, a while later, and does not go on; when it is closed, the next.
async fn half_open_again(to: SocketAddr, later: Duration) {
    sleep(later).await;
    loop {
        let opened = async {
            let mut stream = connect(to).await?;
            stream.write_all(&[3]).await?;
            // Whatever comes, and be it the end, is waited for.
            stream.read(&mut [0; 16]).await
        };
        if opened.await.is_err() {
            // No port or no place: a moment later there may be one.
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// So many connections a second that are closed as soon as they are there.
async fn connect_again(came: Arc<AtomicU64>, to: SocketAddr, a_second: u32) {
    let mut ticks = interval(Duration::from_millis(10));
    let mut tasks = JoinSet::new();
    loop {
        ticks.tick().await;
        for _ in 0..a_second / 100 {
            let came = came.clone();
            tasks.spawn(async move {
                if connect(to).await.is_ok() {
                    came.fetch_add(1, Relaxed);
                }
            });
        }
        while tasks.try_join_next().is_some() {}
    }
}

async fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((FROM, 0).into())?;
    // Ports are not to wait for a minute after their use.
    socket.set_zero_linger()?;
    socket.connect(to).await
}

/// Milliseconds until a new encoder's frame is at a viewer.
async fn live(server: &Server, name: &str) -> f64 {
    let url = format!("{}/flood-{name}", server.play);
    let start = Instant::now();
    let shown = async {
        let mut encoder = Publisher::open(&url).await?;
        encoder.send(&synthetic::config()).await?;
        encoder.send(&synthetic::frame(0, synthetic::FRAME)).await?;
        Viewer::join(&url).await?.first_frame().await
    };
    match timeout(KEPT_OUT, shown).await {
        Ok(Ok(_)) => start.elapsed().as_secs_f64() * 1000.0,
        Ok(Err(error)) => {
            eprintln!("an encoder is turned away after {:.1?}: {error:#}", start.elapsed());
            KEPT_OUT.as_secs_f64() * 1000.0
        }
        Err(_) => KEPT_OUT.as_secs_f64() * 1000.0,
    }
}
