//! An encoder that sends more than it may.

use std::time::{Duration, Instant};

use tests::{
    Cluster,
    rtmp::{Publisher, Recorder},
    synthetic,
};

use super::{ANSWER, Beside, large};

/// What edge-1 lets a publication bring in a second.
const BYTES_PER_SECOND: usize = 512 * 1024;
/// The stream beside brings far less. This one brings all at once what takes six seconds, the first of which is free.
const FRAMES: usize = 48;
const FRAME_BYTES: usize = 64 * 1024;
const PERIOD: Duration = Duration::from_millis(10);
const TAKES: Duration = Duration::from_secs((FRAMES * FRAME_BYTES / BYTES_PER_SECOND - 1) as u64);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_encoder_that_sends_more_than_it_may_is_read_no_faster_and_nobody_else_waits() {
    let cluster = Cluster::start();
    cluster.configure("edge-1", &format!("ingest:\n  bytes_per_second: {}KiB\n", BYTES_PER_SECOND / 1024));
    cluster.restart("edge-1");
    let beside = Beside::on(cluster).await;
    let cluster = &beside.cluster;
    let mut publisher = Publisher::open(&cluster.rtmp("edge-1", "live/fast")).await.expect("a publication");
    publisher.send(&synthetic::config()).await.expect("taken");
    publisher.send(&synthetic::frame(0, Duration::ZERO)).await.expect("taken");
    let viewer = Recorder::start(&cluster.rtmp("edge-2", "live/fast"));
    viewer.wait_frames(1, ANSWER);
    let start = Instant::now();
    let sending = tokio::spawn(async move {
        for number in 1..=FRAMES {
            publisher.send(&large(number as u32, PERIOD, FRAME_BYTES)).await.expect("taken, if late");
        }
        publisher
    });
    viewer.wait_frames(FRAMES, ANSWER);
    assert!(start.elapsed() >= TAKES, "{FRAMES} frames came through in {:?}", start.elapsed());
    let _publisher = sending.await.expect("the encoder is kept");
    let slowed = cluster.metric("edge-1", "headwater_publishes_slowed_total", &[]);
    assert!(slowed > Some(1.0), "{slowed:?}");
    let told = |line: &&str| line.contains("publish.too_fast") && line.contains("live/fast");
    assert_eq!(cluster.log("edge-1").lines().filter(told).count(), 1);
    beside.finish();
}
