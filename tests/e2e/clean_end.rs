//! How streams end, and who may publish on a live name.

use std::time::{Duration, Instant};

use tests::{
    Cluster,
    encoder::Encoder,
    player::Player,
    rtmp::{Connection, Publisher, Recorder, Url},
    sources,
    synthetic::{self, Feed},
    tools::{
        self,
        Tool::{Ffmpeg, Gstreamer, Rtmpdump},
    },
    wait::{SOON, until},
};

/// Between the encoder's end and what its viewers are told.
const END_IS_TOLD: Duration = Duration::from_secs(1);
/// So many publications of one name, each right behind the other.
const TURNS: usize = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn players_end_within_a_second_of_a_clean_end() {
    if !tools::has(&[Ffmpeg, Rtmpdump, Gstreamer]) {
        return;
    }
    let source = sources::h264_aac(6);
    let cluster = Cluster::start();
    let dir = cluster.scratch();
    let url = cluster.rtmp("edge-2", "live/show");
    let mut encoder = Encoder::endless(&source, &cluster.rtmp("edge-1", "live/show"), dir, "encoder");
    let viewers = [Recorder::start(&cluster.rtmp("edge-1", "live/show")), Recorder::start(&url)];
    let mut players = [
        Player::packets(Ffmpeg, &url, dir, "ffmpeg"),
        Player::packets(Ffmpeg, &cluster.http_flv("edge-2", "live/show"), dir, "ffmpeg-http"),
        Player::rtmpdump(&url, dir, "rtmpdump"),
        Player::gstreamer(&url, dir, "gstreamer"),
    ];
    viewers.iter().for_each(|viewer| viewer.wait_frames(100, SOON));
    until("all players to play", SOON, || players.iter().all(|player| player.saved() > 0).then_some(()));
    encoder.end();
    encoder.process.wait(SOON);
    let end = Instant::now();
    for viewer in &viewers {
        let told = viewer.wait_end(SOON).saturating_duration_since(end);
        println!("told after {told:?}: {:?}", viewer.codes());
        assert!(told <= END_IS_TOLD, "a viewer was told {told:?} after the end");
        assert!(viewer.codes().iter().any(|code| code == "NetStream.Play.UnpublishNotify"), "{:?}", viewer.codes());
    }
    players.iter_mut().for_each(|player| player.wait(Duration::from_secs(5)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_second_encoder_on_a_live_name_is_refused_on_every_edge() {
    let cluster = Cluster::start();
    let feed = Feed::start(&cluster.rtmp("edge-1", "live/show")).await;
    for edge in ["edge-1", "edge-2"] {
        let url = Url::parse(&cluster.rtmp(edge, "live/show")).expect("an address");
        let connection = Connection::open(&url).await.expect("a connection");
        let (_, status) = Publisher::ask(connection, &url.name).await.expect("an answer");
        assert_eq!((status.level.as_str(), status.code.as_str()), ("error", "NetStream.Publish.BadName"), "at {edge}");
    }
    feed.assert_running();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_encoder_may_publish_again_in_the_moment_in_which_it_ends() {
    let cluster = Cluster::start();
    let edges = ["edge-1", "edge-2"];
    let [here, there] = edges.map(|edge| Url::parse(&cluster.rtmp(edge, "live/show")).expect("an address"));
    let mut connection = Connection::open(&here).await.expect("a connection");
    for turn in 0..TURNS {
        let publisher = Publisher::on(connection, &here.name).await;
        let mut publisher = publisher.unwrap_or_else(|error| panic!("publication {turn}: {error:#}"));
        publisher.send(&synthetic::config()).await.expect("the set-up is taken");
        publisher.send(&synthetic::frame(0, synthetic::FRAME)).await.expect("a frame is taken");
        // Open already, so that the end has no lead.
        let other = Connection::open(if turn % 2 == 0 { &here } else { &there }).await.expect("a connection");
        let same = publisher.end(&here.name).await.expect("an end");
        connection = if turn % 3 == 0 { same } else { other };
    }
}
