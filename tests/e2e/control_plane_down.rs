//! Nothing live stops when the control plane is killed.

use tests::{
    Cluster,
    encoder::Encoder,
    haproxy::Haproxy,
    rtmp::{Recorder, Viewer},
    sources,
    tools::{
        self,
        Tool::{Ffmpeg, Haproxy as HaproxyTool},
    },
    wait::SOON,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn streams_viewers_haproxy_and_restarted_edges_do_without_the_control_plane() {
    if !tools::has(&[Ffmpeg, HaproxyTool]) {
        return;
    }
    let source = sources::h264_aac(6);
    let cluster = Cluster::start();
    let dir = cluster.scratch();
    let origin = |node| (cluster.address(node, "rtmp"), cluster.address(node, "admin"));
    let mut haproxy = Haproxy::start(&[origin("origin-1"), origin("origin-2")], dir);
    haproxy.wait_serving();
    let mut at_vip = Encoder::endless(&source, &format!("rtmp://{}/live/vip", haproxy.vip), dir, "encoder-vip");
    let mut at_edge = Encoder::endless(&source, &cluster.rtmp("edge-1", "live/edge"), dir, "encoder-edge");
    let viewers = ["live/vip", "live/edge"].map(|stream| Recorder::start(&cluster.rtmp("edge-2", stream)));
    viewers.iter().for_each(|viewer| viewer.wait_frames(50, SOON));

    cluster.kill("control-plane");
    viewers.iter().for_each(|viewer| viewer.wait_frames(150, SOON));
    for (edge, stream) in [("edge-1", "live/vip"), ("edge-1", "live/edge"), ("edge-2", "live/edge")] {
        new_viewer_plays(&cluster, edge, stream).await;
    }
    drop(viewers);
    cluster.kill("edge-2");
    cluster.restart("edge-2");
    new_viewer_plays(&cluster, "edge-2", "live/vip").await;
    new_viewer_plays(&cluster, "edge-2", "live/edge").await;

    at_vip.process.assert_running();
    at_edge.process.assert_running();
    haproxy.process.assert_running();
    cluster.restart("control-plane");
    for node in ["origin-1", "origin-2", "edge-1", "edge-2"] {
        let connected =
            || cluster.metric(node, "headwater_control_connected", &[]).filter(|connected| *connected == 1.0);
        tests::until(&format!("{node} to find the control plane again"), SOON, connected);
    }
    new_viewer_plays(&cluster, "edge-2", "live/edge").await;
    at_vip.process.assert_running();
    at_edge.process.assert_running();
}

async fn new_viewer_plays(cluster: &Cluster, edge: &str, stream: &str) {
    let played = async { Viewer::join(&cluster.rtmp(edge, stream)).await?.first_frame().await };
    match tokio::time::timeout(SOON, played).await {
        Ok(Ok(_frame)) => {}
        Ok(Err(error)) => panic!("a new viewer of {stream} at {edge}: {error:#}"),
        Err(_) => panic!("a new viewer of {stream} at {edge} had no frame within {SOON:?}"),
    }
}
