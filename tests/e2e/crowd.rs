//! A thousand viewers at once, and viewers that come and go.

use std::time::{Duration, Instant};

use anyhow::Result;
use tests::{
    Cluster, drill,
    flv::Tag,
    limits::raise_open_files,
    rtmp::{Event, Viewer},
    synthetic::Feed,
};
use tokio::task::JoinSet;

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
