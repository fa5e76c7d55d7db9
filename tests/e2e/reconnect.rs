//! An encoder that is killed and started again: viewers stay, and time goes on.

use std::{collections::HashMap, ops::Range, time::Duration};

use bytes::Bytes;
use tests::{
    Cluster,
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
    let mut first = Encoder::once(&source, &cluster.rtmp("edge-1", "live/show"), dir, "first");
    let viewers =
        [Recorder::start(&cluster.rtmp("edge-1", "live/show")), Recorder::start(&cluster.rtmp("edge-2", "live/show"))];
    let mut ffmpeg = Player::packets(Ffmpeg, &cluster.http_flv("edge-2", "live/show"), dir, "ffmpeg");
    let mut rtmpdump = Player::rtmpdump(&cluster.rtmp("edge-1", "live/show"), dir, "rtmpdump");
    viewers.iter().for_each(|viewer| viewer.wait_frames(150, SOON));
    tests::until("the players to play", SOON, || (ffmpeg.saved() > 0 && rtmpdump.saved() > 0).then_some(()));

    first.kill();
    let mut second = publish_again(&source, &cluster, second_edge);
    viewers.iter().for_each(|viewer| viewer.wait_frames(200, SOON));
    second.process.assert_running();
    for player in [&mut ffmpeg, &mut rtmpdump] {
        player.process.assert_running();
    }
    for viewer in &viewers {
        assert_eq!(viewer.ended(), None, "a viewer was told {:?}", viewer.codes());
        check_timeline(&source.tags(), &viewer.seen());
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

/// Two runs through the source, one for each encoder: no frame missing within a run, all of a run moved by the same time,
/// audio and video alike, and the second not before the first.
fn check_timeline(sent: &[Tag], seen: &[Seen]) {
    let frames: Vec<&Seen> = seen.iter().filter(|seen| seen.tag.is_coded()).collect();
    let place: HashMap<(u8, &Bytes), usize> =
        (0..).zip(sent).map(|(at, tag)| ((tag.type_id, &tag.payload), at)).collect();
    let placed =
        |seen: &Seen| *place.get(&(seen.tag.type_id, &seen.tag.payload)).expect("every frame is one of the source");
    let boundary = frames
        .windows(2)
        .position(|pair| placed(pair[1]) + 20 < placed(pair[0]))
        .expect("the second encoder began anew")
        + 1;
    let runs = [0..boundary, boundary..frames.len()];
    for (number, run) in runs.iter().cloned().enumerate() {
        check_run(sent, &frames[run], &placed, number);
    }
    let last =
        |range: &Range<usize>| frames[range.clone()].iter().map(|seen| seen.tag.timestamp).max().expect("frames");
    let first = frames[boundary..].iter().map(|seen| seen.tag.timestamp).min().expect("frames");
    let jump = i64::from(first) - i64::from(last(&runs[0]));
    let paused = (frames[boundary].at - frames[boundary - 1].at).as_millis() as i64;
    println!("time went on by {jump} ms over a pause of {paused} ms");
    assert!(jump >= 0, "time fell by {} ms", -jump);
    assert!(jump <= paused + JUMP_MAX_MS, "time jumped by {jump} ms while {paused} ms passed");
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
