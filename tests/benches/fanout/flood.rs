//! Connections by the thousand from one address, and how soon an encoder from another is live.

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::Result;
use tests::{
    rtmp::{Publisher, Viewer},
    synthetic,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    runtime::Builder,
    task::JoinSet,
    time::{interval, sleep, timeout},
};

use crate::{
    Setting,
    bare::Media,
    page::{median, table},
    server::{Kind, Server},
};

/// Who floods; encoders come from 127.0.0.1.
const FROM: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
/// Handshakes that begin and do not go on.
const HALF_OPEN: usize = 10_000;
/// Connections in a second that come and go.
const CONNECTS: u32 = 2000;
/// Encoders that are tried, one after the other.
const ENCODERS: usize = 5;
/// How long each may take before it counts as kept out.
const KEPT_OUT: Duration = Duration::from_secs(5);
/// How soon each has to be live.
const PROMISED_MS: f64 = 1000.0;
/// The flood has come to its height then.
const HEIGHT: Duration = Duration::from_secs(2);

/// Without any, under half-open handshakes, under connects, under both.
pub fn run(setting: Setting) -> Result<String> {
    let server = Server::start(Kind::Edge("balanced"), Media::Video, setting.cores)?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    // The flood has a thread of its own: an encoder does not wait for it in here.
    let flooding = Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let mut rows = Vec::new();
    for (what, half_open, connects) in [
        ("none", 0, 0),
        ("10,000 half-open handshakes", HALF_OPEN, 0),
        ("2,000 connects a second", 0, CONNECTS),
        ("both", HALF_OPEN, CONNECTS),
    ] {
        let flood = Arc::new(Flood::default());
        let times = runtime.block_on(async {
            let mut tasks = JoinSet::new();
            for _ in 0..half_open {
                tasks.spawn_on(half_open_again(flood.clone(), server.rtmp), flooding.handle());
            }
            if connects > 0 {
                tasks.spawn_on(connect_again(flood.clone(), server.rtmp, connects), flooding.handle());
            }
            if half_open > 0 || connects > 0 {
                sleep(HEIGHT).await;
            }
            let mut times = Vec::new();
            for number in 0..ENCODERS {
                times.push(live(&server, &format!("{}-{number}", rows.len())).await);
            }
            times
        });
        let worst = times.iter().copied().fold(0.0, f64::max);
        eprintln!("{what}: {times:.0?} ms");
        let came = |count: &AtomicU64| count.load(Relaxed).to_string();
        rows.push(vec![
            what.to_owned(),
            came(&flood.half_open),
            came(&flood.connects),
            format!("{:.0} ms", median(times).unwrap_or_default()),
            format!("{worst:.0} ms"),
            if worst <= PROMISED_MS { "met" } else { "NOT met" }.to_owned(),
        ]);
    }
    let head =
        ["flood from 127.0.0.2", "half-open begun", "connects", "encoder live, median", "longest", "within a second"];
    Ok(format!(
        "From an encoder's first packet to its first frame at a viewer of the same edge, {ENCODERS} encoders each.\n\n{}",
        table(&head, &rows)
    ))
}

#[derive(Default)]
struct Flood {
    half_open: AtomicU64,
    connects: AtomicU64,
}

/// One handshake that begins and does not go on; when it is closed, the next.
async fn half_open_again(flood: Arc<Flood>, to: SocketAddr) {
    loop {
        let opened = async {
            let mut stream = connect(to).await?;
            stream.write_all(&[3]).await?;
            flood.half_open.fetch_add(1, Relaxed);
            // Whatever comes, and be it the end, is waited for.
            stream.read(&mut [0; 4096]).await
        };
        if opened.await.is_err() {
            // No port or no place: a moment later there may be one.
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// So many connections a second that are closed as soon as they are there.
async fn connect_again(flood: Arc<Flood>, to: SocketAddr, a_second: u32) {
    let mut ticks = interval(Duration::from_secs(1) / a_second);
    let mut tasks = JoinSet::new();
    loop {
        ticks.tick().await;
        let flood = flood.clone();
        tasks.spawn(async move {
            if connect(to).await.is_ok() {
                flood.connects.fetch_add(1, Relaxed);
            }
        });
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
