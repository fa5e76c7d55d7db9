//! HAProxy as the origins' virtual IP: encoders publish to it, and edges know nothing but its one port.

use std::time::Duration;

use tests::{
    Cluster,
    edge::Settings,
    encoder::Encoder,
    haproxy::Haproxy,
    packets::assert_whole,
    player::Player,
    sources,
    tools::{
        self,
        Tool::{Ffmpeg, Haproxy as HaproxyTool},
    },
    wait::{SOON, until},
};

use crate::waiting_viewers;

#[test]
fn streams_pass_through_the_vip_that_is_all_an_edge_knows() {
    if !tools::has(&[Ffmpeg, HaproxyTool]) {
        return;
    }
    let source = sources::h264_aac(6);
    let cluster = Cluster::start();
    let dir = cluster.scratch();
    let origin = |node| (cluster.address(node, "rtmp"), cluster.address(node, "admin"));
    let mut haproxy = Haproxy::start(&[origin("origin-1"), origin("origin-2")], dir);
    haproxy.wait_serving();
    for edge in ["edge-1", "edge-2"] {
        let routes = vec![format!("\"*:*;{}\"", haproxy.vip)];
        cluster.replace_edge(edge, &Settings { routes, ..Settings::default() });
    }
    // One encoder at the VIP itself, one at an edge; each stream is played on an edge.
    let to = [format!("rtmp://{}/live/vip", haproxy.vip), cluster.rtmp("edge-1", "live/edge")];
    let from = [cluster.rtmp("edge-1", "live/vip"), cluster.rtmp("edge-2", "live/edge")];
    let mut players: Vec<Player> =
        from.iter().enumerate().map(|(n, url)| Player::packets(Ffmpeg, url, dir, &format!("player-{n}"))).collect();
    waiting_viewers(&cluster, "edge-1", 1);
    waiting_viewers(&cluster, "edge-2", 1);
    let mut encoders: Vec<Encoder> =
        to.iter().enumerate().map(|(n, url)| Encoder::once(&source, url, dir, &format!("encoder-{n}"))).collect();
    encoders.iter_mut().for_each(|encoder| encoder.process.wait_success(SOON * 2));
    for player in &mut players {
        player.wait(Duration::from_secs(15));
        assert_whole(&source.packets(), &player.played());
    }
}

#[test]
fn an_encoder_at_an_origin_that_hands_its_role_over_is_reset_and_told_of_no_other_encoder() {
    if !tools::has(&[Ffmpeg]) {
        return;
    }
    let cluster = Cluster::start();
    let before = cluster.wait_in_sync();
    let url = cluster.rtmp(&before.active, "live/vip");
    let _encoder = Encoder::endless(&sources::h264_aac(6), &url, cluster.scratch(), "encoder");
    let shown = |metric: &str, label: &str| cluster.metric(&before.active, metric, &[label]).unwrap_or_default();
    let publishing = || shown("headwater_sessions", "kind=\"publish\"");
    until("the encoder to publish", SOON, || (publishing() > 0.0).then_some(()));
    cluster.promote_the_other();
    let ended = |reason: &str| shown("headwater_sessions_closed_total", &format!("reason=\"{reason}\""));
    until("the encoder to be reset", SOON, || (ended("reset") > 0.0).then_some(()));
    assert_eq!(ended("taken_over"), 0.0, "nobody has taken its stream over");
}
