//! First-frame times and latency through the cluster, as a Markdown table. Asserts nothing.
//!
//! `make bench` builds the programs in release form first; `make bench T=latency` runs this alone.

use std::time::{Duration, Instant};

use anyhow::Result;
use tests::{
    Cluster,
    failover::{Source, pool::other},
    http,
    limits::raise_open_files,
    process,
    rtmp::{Event, Viewer},
    synthetic::{self, Feed},
    wait::SOON,
};
use tokio::task::JoinSet;

/// Joins to a stream that its edge has.
const WARM: usize = 300;
/// Streams that their edge does not have.
const COLD: usize = 50;
/// Viewers who join at once.
const CROWD: usize = 1000;
/// Frames whose way is timed.
const FRAMES: u32 = 1500;
/// Streams whose cost is measured, and for how long.
const STREAMS: usize = 40;
const COST_TIME: Duration = Duration::from_secs(10);
/// A frame each so often, where its way is timed.
const PERIOD: Duration = Duration::from_millis(20);

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    // `cargo test --benches` runs it too, with an argument that `cargo bench` does not give; there is nothing to test.
    if arguments.iter().any(|argument| argument == "--test") {
        return Ok(());
    }
    // The sets that are asked for are those of another bench.
    if !arguments.is_empty() && !arguments.iter().any(|argument| "latency".contains(argument.as_str())) {
        return Ok(());
    }
    raise_open_files();
    let cluster = Cluster::start();
    println!("| what | samples | p50 | p95 | p99 | longest |");
    println!("|---|---:|---:|---:|---:|---:|");
    let feed = Feed::start(&cluster.rtmp("edge-1", "bench/warm")).await;
    let url = cluster.rtmp("edge-2", "bench/warm");
    let _keeps_it_warm = tests::rtmp::Recorder::start(&url);
    first_frame(&url).await?;
    let mut warm = Vec::new();
    for _ in 0..WARM {
        warm.push(first_frame(&url).await?);
    }
    row("first frame, stream at the edge (connect to frame)", warm);
    row(&format!("first frame, {CROWD} viewers joining within a second"), crowd(&url, Duration::from_secs(1)).await?);
    row(&format!("first frame, {CROWD} viewers joining at once"), crowd(&url, Duration::ZERO).await?);
    drop(feed);

    let mut cold = Vec::new();
    for number in 0..COLD {
        let stream = format!("bench/cold-{number}");
        let _feed = Feed::start(&cluster.rtmp("edge-1", &stream)).await;
        cold.push(first_frame(&cluster.rtmp("edge-2", &stream)).await?);
    }
    row("first frame, stream not yet at the edge", cold);
    let pool = cluster.wait_in_sync();
    row("publisher's socket to viewer's, edge - origin - edge, standby in sync", way(&cluster).await?);
    let hop =
        |share| http::histogram_quantile(cluster.address(&pool.active, "admin"), "headwater_commit_seconds", share);
    let (half, most) = (hop(0.5)? * 1000.0, hop(0.99)? * 1000.0);
    println!("| from taken to committed, as the active origin counts it | | ≤ {half:.2} ms | | ≤ {most:.2} ms | |");
    let with = cost(&cluster, &[&pool.active, other(&pool.active)]).await;
    cluster.kill(other(&pool.active));
    cluster.wait_pool("the standby to be out", SOON, |pool| pool.in_sync.len() == 1);
    row("the same without a standby: what is missing is the hop that commits", way(&cluster).await?);
    let without = cost(&cluster, &[&pool.active]).await;
    println!("\n| CPU a stream of 73 messages a second, {STREAMS} streams | active | standby |\n|---|---:|---:|");
    println!("| standby in sync | {:.2} % | {:.2} % |", with[0], with[1]);
    println!("| without a standby | {:.2} % | |", without[0]);
    Ok(())
}

/// The share of a core that these nodes use for each of many streams without viewers.
async fn cost(cluster: &Cluster, nodes: &[&str]) -> Vec<f64> {
    let url = |number: usize| cluster.rtmp(["edge-1", "edge-2"][number % 2], &format!("bench/cost-{number}"));
    let sources: Vec<Source> = (0..STREAMS).map(|number| Source::start(&[url(number)])).collect();
    sources.iter().for_each(Source::wait_accepted);
    let used = || -> Vec<Duration> { nodes.iter().map(|node| process::cpu_time(cluster.pid(node))).collect() };
    let before = used();
    tokio::time::sleep(COST_TIME).await;
    let after = used();
    for source in sources {
        source.end().await;
    }
    let share = |(after, before): (&Duration, &Duration)| (*after - *before).as_secs_f64() / COST_TIME.as_secs_f64();
    after.iter().zip(&before).map(|times| share(times) * 100.0 / STREAMS as f64).collect()
}

/// From the first byte sent to the first coded frame received.
async fn first_frame(url: &str) -> Result<Duration> {
    let start = Instant::now();
    Viewer::join(url).await?.first_frame().await?;
    Ok(start.elapsed())
}

/// Many who join one after the other within this time.
async fn crowd(url: &str, within: Duration) -> Result<Vec<Duration>> {
    let mut viewers = JoinSet::new();
    let start = tokio::time::Instant::now();
    for number in 0..CROWD {
        tokio::time::sleep_until(start + within.mul_f64(number as f64 / CROWD as f64)).await;
        let url = url.to_owned();
        viewers.spawn(async move { first_frame(&url).await });
    }
    let mut times = Vec::new();
    while let Some(time) = viewers.join_next().await {
        times.push(time??);
    }
    Ok(times)
}

/// The time that each live frame takes from one end to the other.
async fn way(cluster: &Cluster) -> Result<Vec<Duration>> {
    let feed = Feed::paced(&cluster.rtmp("edge-1", "bench/way"), PERIOD).await;
    let mut viewer = Viewer::join(&cluster.rtmp("edge-2", "bench/way")).await?;
    let mut times = Vec::new();
    let mut first = None;
    loop {
        let Event::Media(tag) = viewer.next().await? else { continue };
        let at = Instant::now();
        let Some(number) = synthetic::number(&tag).filter(|_| tag.is_coded()) else { continue };
        // What is older than the viewer came out of the edge's memory.
        let live = *first.get_or_insert(number) + 25;
        if number >= live
            && let Some(sent) = feed.sent(number)
        {
            times.push(at.saturating_duration_since(sent));
        }
        if number >= live + FRAMES {
            return Ok(times);
        }
    }
}

fn row(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize].as_secs_f64() * 1000.0;
    println!(
        "| {what} | {} | {:.2} ms | {:.2} ms | {:.2} ms | {:.2} ms |",
        times.len(),
        at(0.5),
        at(0.95),
        at(0.99),
        at(1.0)
    );
}
