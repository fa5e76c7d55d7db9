//! An origin that dies and comes back: its memory is gone, and its encoders and viewers are not.

use tests::{
    Cluster,
    rtmp::Recorder,
    synthetic::{Feed, config, number},
    wait::SOON,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn encoder_and_viewers_stay_and_new_viewers_get_what_a_decoder_needs() {
    let cluster = Cluster::start();
    let feed = Feed::start(&cluster.rtmp("edge-1", "live/show")).await;
    let viewer = Recorder::start(&cluster.rtmp("edge-1", "live/show"));
    viewer.wait_frames(30, SOON);

    let active = cluster.active();
    cluster.kill(active);
    cluster.restart(active);
    viewer.wait_frames(60, SOON);
    feed.assert_running();
    assert_eq!(viewer.ended(), None, "the viewer stays");
    let numbers: Vec<_> = viewer.tags().iter().filter(|tag| tag.is_coded()).filter_map(number).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "no frame comes twice or late: {numbers:?}");

    // Nobody has watched there: this edge asks the restarted origin for all it has.
    let newcomer = Recorder::start(&cluster.rtmp("edge-2", "live/show"));
    newcomer.wait_frames(30, SOON);
    let first = newcomer.tags().into_iter().find(|tag| tag.is_coded() || tag.is_config());
    assert_eq!(first.map(|tag| tag.payload), Some(config().payload), "decoder set-up comes first");
}
