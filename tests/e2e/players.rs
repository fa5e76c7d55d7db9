//! What an encoder sends to one edge is what every player gets from the other, bit for bit.

use std::time::Duration;

use tests::{
    Cluster, drill,
    encoder::Encoder,
    flv, http,
    packets::{assert_rest, assert_whole},
    player::{Player, as_gstreamer_saves, as_rtmpdump_saves},
    sources::{self, Source},
    tools::{
        self,
        Tool::{Ffmpeg, Ffmpeg9, Gstreamer, Rtmpdump},
    },
    wait::SOON,
};

use crate::waiting_viewers;

/// How long a player may take to end after its stream has.
const PLAYER_ENDS: Duration = Duration::from_secs(15);

#[test]
fn h264_and_aac_reach_ffmpeg_rtmpdump_and_gstreamer_bit_for_bit() {
    if !tools::has(&[Ffmpeg, Rtmpdump, Gstreamer]) {
        return;
    }
    let seconds = drill(6, 120);
    let source = sources::h264_aac(seconds);
    let cluster = Cluster::start();
    let dir = cluster.scratch();
    let (rtmp, http) = (cluster.rtmp("edge-2", "live/show"), cluster.http_flv("edge-2", "live/show"));
    // These are there before their stream is: they get all of it.
    let mut over_rtmp = Player::packets(Ffmpeg, &rtmp, dir, "ffmpeg-rtmp");
    let mut over_http = Player::packets(Ffmpeg, &http, dir, "ffmpeg-http");
    let mut rtmpdump = Player::rtmpdump(&rtmp, dir, "rtmpdump");
    let mut gstreamer = Player::gstreamer(&rtmp, dir, "gstreamer");
    let mut gstreamer_http = Player::gstreamer_http(&http, dir, "gstreamer-http");
    waiting_viewers(&cluster, "edge-2", 5);
    let mut encoder = Encoder::once(&source, &cluster.rtmp("edge-1", "live/show"), dir, "encoder");
    tests::until("half of the stream to be saved", SOON + Duration::from_secs(seconds.into()), || {
        (gstreamer.saved() > source.size() / 2).then_some(())
    });
    let mut late = Player::packets(Ffmpeg, &rtmp, dir, "late");

    encoder.process.wait_success(Duration::from_secs(u64::from(seconds)) + SOON);
    for player in [&mut over_rtmp, &mut over_http, &mut rtmpdump, &mut gstreamer, &mut gstreamer_http, &mut late] {
        player.wait(PLAYER_ENDS);
    }
    let (packets, tags) = (source.packets(), source.tags());
    assert_whole(&packets, &over_rtmp.played());
    assert_whole(&packets, &over_http.played());
    assert_rest(&packets, &late.played());
    flv::assert_whole(&as_rtmpdump_saves(&tags), &rtmpdump.tags());
    flv::assert_whole(&as_gstreamer_saves(&tags, &gstreamer.tags()), &gstreamer.tags());
    flv::assert_whole(&tags, &gstreamer_http.tags());
}

#[test]
fn hevc_and_aac_are_untouched() {
    plays_untouched(sources::hevc_aac);
}

#[test]
fn av1_and_opus_are_untouched() {
    plays_untouched(sources::av1_opus);
}

#[test]
fn vp9_and_flac_are_untouched() {
    plays_untouched(sources::vp9_flac);
}

#[test]
fn h264_and_ac3_are_untouched() {
    plays_untouched(sources::h264_ac3);
}

#[test]
fn two_video_and_two_audio_tracks_are_untouched() {
    plays_untouched(sources::two_by_two);
}

/// ffmpeg 9 publishes and plays, packet by packet; rtmpdump saves, tag by tag; one of each comes late.
fn plays_untouched(source: fn(u32) -> Source) {
    if !tools::has(&[Ffmpeg9, Rtmpdump]) {
        return;
    }
    let seconds = drill(5, 60);
    let source = source(seconds);
    let cluster = Cluster::start();
    let dir = cluster.scratch();
    let url = cluster.rtmp("edge-2", "live/show");
    let mut ffmpeg = Player::packets(Ffmpeg9, &url, dir, "ffmpeg9");
    let mut rtmpdump = Player::rtmpdump(&url, dir, "rtmpdump");
    waiting_viewers(&cluster, "edge-2", 2);
    let mut encoder = Encoder::once(&source, &cluster.rtmp("edge-1", "live/show"), dir, "encoder");
    tests::until("half of the stream to be saved", SOON + Duration::from_secs(seconds.into()), || {
        (rtmpdump.saved() > source.size() / 2).then_some(())
    });
    let mut late_ffmpeg = Player::packets(Ffmpeg9, &cluster.http_flv("edge-2", "live/show"), dir, "late-ffmpeg9");
    let mut late_rtmpdump = Player::rtmpdump(&url, dir, "late-rtmpdump");

    encoder.process.wait_success(Duration::from_secs(u64::from(seconds)) + SOON);
    for player in [&mut ffmpeg, &mut rtmpdump, &mut late_ffmpeg, &mut late_rtmpdump] {
        player.wait(PLAYER_ENDS);
    }
    assert_whole(&source.packets(), &ffmpeg.played());
    assert_rest(&source.packets(), &late_ffmpeg.played());
    let tags = as_rtmpdump_saves(&source.tags());
    flv::assert_whole(&tags, &rtmpdump.tags());
    flv::assert_rest(&tags, &late_rtmpdump.tags());
}

#[test]
fn websockets_and_http_bring_the_same_flv_and_any_page_may_fetch_it() {
    if !tools::has(&[Ffmpeg]) {
        return;
    }
    let source = sources::h264_aac(6);
    let cluster = Cluster::start();
    let _encoder = Encoder::endless(&source, &cluster.rtmp("edge-1", "live/show"), cluster.scratch(), "encoder");
    let edge = cluster.address("edge-2", "http");
    let over_websocket = http::websocket_start(edge, "/live/show.flv", 40_000).expect("FLV over a WebSocket");
    let over_http = http::body_start(edge, "/live/_definst_/show.flv", 40_000).expect("FLV over HTTP");
    for bytes in [over_websocket, over_http] {
        let tags = flv::tags(&bytes.into());
        assert_eq!(flv::configs(&tags), flv::configs(&source.tags()), "decoder set-ups");
        assert!(tags.iter().find(|tag| tag.type_id == 9 && tag.is_coded()).expect("a video frame").is_key());
    }
    let head = http::head_of(edge, "/live/show.flv").expect("an answer").to_ascii_lowercase();
    assert!(head.contains("access-control-allow-origin: *"), "{head}");
    assert!(head.contains("content-type: video/x-flv"), "{head}");
}
