//! An encoder that is killed and started again: viewers stay, and time goes on.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use tests::{
    Cluster, drill,
    encoder::Encoder,
    flv::Tag,
    player::Player,
    process::tail,
    rtmp::{Recorder, Seen},
    sources::{self, Source},
    tools::{
        self,
        Tool::{Ffmpeg, Rtmpdump},
    },
    wait::{self, SOON},
};

/// How much further than the clock the timestamps may go while no encoder is there.
const JUMP_MAX_MS: i64 = 1500;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_encoder_back_on_the_same_edge_costs_no_viewer_and_no_skew() {
    viewers_stay("edge-1").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_encoder_back_on_another_edge_costs_no_viewer_and_no_skew() {
    viewers_stay("edge-2").await;
}

async fn viewers_stay(second_edge: &str) {
    if !tools::has(&[Ffmpeg, Rtmpdump]) {
        return;
    }
    let source = sources::h264_aac(60);
    let cluster = Cluster::start();
    let dir = cluster.scratch();
    let mut encoder = Encoder::once(&source, &cluster.rtmp("edge-1", "live/show"), dir, "encoder");
    let viewers = ["edge-1", "edge-2"].map(|edge| Recorder::start(&cluster.rtmp(edge, "live/show")));
    let mut ffmpeg = Player::packets(Ffmpeg, &cluster.http_flv("edge-2", "live/show"), dir, "ffmpeg");
    let mut rtmpdump = Player::rtmpdump(&cluster.rtmp("edge-1", "live/show"), dir, "rtmpdump");
    viewers.iter().for_each(|viewer| viewer.wait_frames(150, SOON));
    tests::until("the players to play", SOON, || (ffmpeg.saved() > 0 && rtmpdump.saved() > 0).then_some(()));

    let restarts = drill(1, 12);
    for restart in 0..restarts {
        encoder.kill();
        // To and fro: every other restart is on the edge where the first encoder was.
        let edge = if restart % 2 == 0 { second_edge } else { "edge-1" };
        encoder = publish_again(&source, &cluster, edge);
        viewers.iter().for_each(|viewer| viewer.wait_frames(200, SOON));
        encoder.process.assert_running();
    }
    for player in [&mut ffmpeg, &mut rtmpdump] {
        player.process.assert_running();
    }
    for viewer in &viewers {
        assert_eq!(viewer.ended(), None, "a viewer was told {:?}", viewer.codes());
        check_timeline(&source.tags(), &viewer.seen(), restarts + 1);
    }
    let before = rtmpdump.saved();
    tests::until("rtmpdump to play on", SOON, || (rtmpdump.saved() > before).then_some(()));
}

/// Starts an encoder; one that is refused because its predecessor is not known to be gone yet tries again, as encoders do.
fn publish_again(source: &Source, cluster: &Cluster, edge: &str) -> Encoder {
    for attempt in 0..10 {
        let name = format!("second-{attempt}");
        let mut encoder = Encoder::once(source, &cluster.rtmp(edge, "live/show"), cluster.scratch(), &name);
        if wait::maybe(Duration::from_secs(2), || encoder.process.ended()).is_none() {
            println!("the encoder was let in at attempt {}", attempt + 1);
            return encoder;
        }
        println!("attempt {}: {}", attempt + 1, tail(&encoder.process.stderr()));
    }
    panic!("the encoder was not let in again");
}

/// A run through the source for each encoder: no frame missing within a run, all of a run moved by the same time, audio and video
/// alike, and none before the one before it.
fn check_timeline(sent: &[Tag], seen: &[Seen], encoders: usize) {
    let frames: Vec<&Seen> = seen.iter().filter(|seen| seen.tag.is_coded()).collect();
    let place: HashMap<(u8, &Bytes), usize> =
        (0..).zip(sent).map(|(at, tag)| ((tag.type_id, &tag.payload), at)).collect();
    let placed =
        |seen: &Seen| *place.get(&(seen.tag.type_id, &seen.tag.payload)).expect("every frame is one of the source");
    // Only a new encoder goes back; by more than audio and video may be apart.
    let begins_anew = |at: &usize| placed(frames[*at]) + 20 < placed(frames[at - 1]);
    let starts: Vec<usize> = std::iter::once(0).chain((1..frames.len()).filter(begins_anew)).collect();
    assert_eq!(starts.len(), encoders, "runs through the source");
    let ends = starts[1..].iter().copied().chain([frames.len()]);
    let runs: Vec<&[&Seen]> = starts.iter().zip(ends).map(|(start, end)| &frames[*start..end]).collect();
    runs.iter().enumerate().for_each(|(number, run)| check_run(sent, run, &placed, number));
    for pair in runs.windows(2) {
        let last = pair[0].iter().map(|seen| seen.tag.timestamp).max().expect("frames");
        let first = pair[1].iter().map(|seen| seen.tag.timestamp).min().expect("frames");
        let jump = i64::from(first) - i64::from(last);
        let paused = (pair[1][0].at - pair[0][pair[0].len() - 1].at).as_millis() as i64;
        println!("time went on by {jump} ms over a pause of {paused} ms");
        assert!(jump >= 0, "time fell by {} ms", -jump);
        assert!(jump <= paused + JUMP_MAX_MS, "time jumped by {jump} ms while {paused} ms passed");
    }
}

fn check_run(sent: &[Tag], run: &[&Seen], placed: &dyn Fn(&Seen) -> usize, number: usize) {
    let mut offset = None;
    for type_id in [8, 9] {
        let lane: Vec<usize> = sent
            .iter()
            .enumerate()
            .filter(|(_, tag)| tag.type_id == type_id && tag.is_coded())
            .map(|(at, _)| at)
            .collect();
        let seen: Vec<&&Seen> = run.iter().filter(|seen| seen.tag.type_id == type_id).collect();
        let start = lane.iter().position(|at| *at == placed(seen[0])).expect("a place in its lane");
        assert!(number == 0 || start == 0, "run {number}: type {type_id} begins with frame {start}");
        for (at, seen) in lane[start..].iter().zip(&seen) {
            assert_eq!(placed(seen), *at, "run {number}: a frame of type {type_id} is missing or out of order");
            let moved = seen.tag.timestamp.wrapping_sub(sent[*at].timestamp);
            assert_eq!(
                moved,
                *offset.get_or_insert(moved),
                "run {number}: type {type_id} was moved by another time than the rest"
            );
        }
    }
}
