//! Who may publish, and RTMP over TLS.

use std::{fs, time::Duration};

use tests::{
    Cluster,
    edge::Settings,
    encoder::Encoder,
    player::Player,
    rtmp::{Connection, Publisher, Url},
    sources,
    tools::{
        self,
        Tool::{Ffmpeg, Ffmpeg9},
        arg,
    },
    wait::{SOON, until},
};

/// A key, and its SHA-256 as keys files have it.
pub(super) const KEY: (&str, &str) =
    ("open-sesame-1", "2264ffd6e49ca9a19ad7b4e544739947684b90b64b6a2e7e1906ae7a3f2d9f0f");

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn only_holders_of_a_key_publish() {
    let cluster = Cluster::start();
    let keys = cluster.scratch().join("keys");
    fs::write(&keys, format!("# who may publish\nlive/mine sha256:{}\n", KEY.1)).expect("a file");
    let settings = Settings {
        routes: vec![cluster.route_to_origins()],
        keys_file: Some(arg(&keys).to_owned()),
        ..Settings::default()
    };
    cluster.replace_edge("edge-1", &settings);
    for (stream, code) in [
        ("live/mine".to_owned(), "NetStream.Publish.Denied"),
        ("live/mine?key=wrong".to_owned(), "NetStream.Publish.Denied"),
        (format!("live/other?key={}", KEY.0), "NetStream.Publish.Denied"),
        (format!("live/mine?key={}", KEY.0), "NetStream.Publish.Start"),
    ] {
        assert_eq!(answer(&cluster.rtmp("edge-1", &stream)).await, code, "{stream}");
    }
    // Keys are reloaded: this one is taken back.
    fs::write(&keys, "").expect("a file");
    tests::process::send(cluster.pid("edge-1"), nix::sys::signal::Signal::SIGHUP);
    let end = tokio::time::Instant::now() + SOON;
    while answer(&cluster.rtmp("edge-1", &format!("live/mine?key={}", KEY.0))).await != "NetStream.Publish.Denied" {
        assert!(tokio::time::Instant::now() < end, "a key that was taken back is still taken");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn an_origin_asks_for_the_key_also_when_its_edge_does_not() {
    let cluster = Cluster::start();
    let keys = cluster.scratch().join("keys");
    fs::write(&keys, format!("live/* sha256:{}\n", KEY.1)).expect("a file");
    for origin in ["origin-1", "origin-2"] {
        let file = cluster.dir().join(format!("{origin}.yaml"));
        let yaml = fs::read_to_string(&file).expect("its configuration");
        assert!(!yaml.contains("\npublish:"), "{yaml}");
        fs::write(&file, format!("{yaml}\npublish: {{ keys_file: {} }}\n", keys.display())).expect("a file");
        cluster.restart(origin);
        // The other may have become active meanwhile; its turn comes when this one can take its place.
        cluster.active();
    }
    let url = |query: &str| cluster.rtmp("edge-1", &format!("live/mine{query}"));
    assert_eq!(answer(&url("")).await, "NetStream.Publish.Denied");
    assert_eq!(answer(&url(&format!("?key={}", KEY.0))).await, "NetStream.Publish.Start");
}

#[test]
fn encoders_and_players_speak_rtmps() {
    if !tools::has(&[Ffmpeg, Ffmpeg9]) {
        return;
    }
    let source = sources::h264_aac(6);
    let cluster = Cluster::start();
    let dir = cluster.scratch();
    let pair =
        rcgen::generate_simple_self_signed(["localhost".to_owned(), "127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    fs::write(&certificate, pair.cert.pem()).expect("a file");
    fs::write(&key, pair.signing_key.serialize_pem()).expect("a file");
    let tls = Some((arg(&certificate).to_owned(), arg(&key).to_owned()));
    let edge = cluster
        .replace_edge("edge-1", &Settings { routes: vec![cluster.route_to_origins()], tls, ..Settings::default() });
    let url = format!("rtmps://localhost:{}/live/safe", edge.rtmps.port());
    let trust = ["-ca_file", arg(&certificate), "-tls_verify", "1"];
    let with = sources::Source { tool: Ffmpeg9, ..source };
    let mut encoder = Encoder::with(&with, &trust, &url, dir, "encoder");
    let player = Player::packets_with(Ffmpeg9, &trust, &url, dir, "player");
    let plain = Player::packets(Ffmpeg, &cluster.rtmp("edge-2", "live/safe"), dir, "plain");
    let packets = |player: &Player| player.played().streams.values().map(Vec::len).sum::<usize>();
    until("packets over TLS and in plain", SOON, || {
        encoder.process.assert_running();
        (packets(&player) > 200 && packets(&plain) > 200).then_some(())
    });
    encoder.end();
    encoder.process.wait(Duration::from_secs(10));
}

/// What an encoder is answered. One that may publish ends again.
async fn answer(url: &str) -> String {
    let url = Url::parse(url).expect("an address");
    let connection = Connection::open(&url).await.expect("a connection");
    let (publisher, status) = Publisher::ask(connection, &url.name).await.expect("an answer");
    if status.code == "NetStream.Publish.Start" {
        let name = url.name.split('?').next().expect("a name");
        publisher.end(name).await.expect("an end");
    }
    status.code
}
