//! `headwater load`: what it counts is what happened.

use std::{path::Path, time::Duration};

use nix::sys::signal::Signal;
use serde_json::Value;
use tests::{Cluster, Process, cluster::program, edge::Settings, tools::arg};

/// How long a run with a window of a second or two may take on a busy machine.
const RUN: Duration = Duration::from_secs(60);

/// A run of `headwater load` with these arguments.
struct Load(Process);

impl Load {
    fn start(scratch: &Path, name: &str, arguments: &[&str]) -> Self {
        let mut command = program("headwater");
        command.arg("load").args(arguments);
        Self(Process::spawn(name, scratch, command))
    }

    /// Its exit code and what it printed.
    #[track_caller]
    fn result(mut self) -> (bool, Value) {
        let ended = self.0.wait(RUN);
        let text = self.0.stdout();
        let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}\n{}", self.0.stderr()));
        (ended.success(), value)
    }
}

fn count(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("no {pointer} in {value}"))
}

#[test]
fn viewers_over_rtmp_and_http_get_every_frame_of_the_stamped_stream() {
    let cluster = Cluster::start();
    let (rtmp, flv) = (cluster.rtmp("edge-2", "live/load"), cluster.http_flv("edge-2", "live/load"));
    let publish = cluster.rtmp("edge-1", "live/load");
    let edge = cluster.pid("edge-2").to_string();
    let arguments = [&rtmp, &flv, "--publish", &publish, "-n", "20", "--ramp", "50", "--seconds", "2", "--pid", &edge];
    let (whole, result) = Load::start(cluster.scratch(), "load", &arguments).result();
    assert!(whole && result["whole"] == true, "{result}");
    assert_eq!((count(&result, "/viewers/up"), count(&result, "/first_frame_ms/count")), (20, 20));
    // Every viewer has seen a second and more.
    let frames = ["video", "audio"].map(|lane| count(&result, &format!("/frames/{lane}/received")));
    assert!(frames[0] >= 20 * 30 && frames[1] >= 20 * 43 && count(&result, "/bytes") > 0, "{result}");
    assert!(result["latency_ms"]["video"]["p99"].is_f64() && result["server"]["s_per_gb"].is_f64(), "{result}");
}

#[test]
fn sound_alone_from_one_run_is_counted_by_another_whose_viewers_come_and_go() {
    let cluster = Cluster::start();
    let publish = cluster.rtmp("edge-1", "live/sound");
    let mut publishing = Load::start(cluster.scratch(), "publish", &[&publish, "--publish-only", "--audio-only"]);
    let play = cluster.rtmp("edge-2", "live/sound");
    let arguments = [&play, "--play-only", "-n", "5", "--seconds", "3", "--stay", "1"];
    let (whole, result) = Load::start(cluster.scratch(), "play", &arguments).result();
    assert!(whole, "{result}");
    assert!(count(&result, "/viewers/joins") > 5, "{result}");
    assert_eq!(count(&result, "/frames/video/received"), 0);
    publishing.0.signal(Signal::SIGINT);
    let (whole, published) = publishing.result();
    assert!(whole && count(&published, "/publisher/audio") > 3 * 43, "{published}");
}

#[test]
fn viewers_over_tls_get_every_frame_and_trust_whom_they_are_told_to() {
    let cluster = Cluster::start();
    let pair = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate, key) = (cluster.scratch().join("cert.pem"), cluster.scratch().join("key.pem"));
    std::fs::write(&certificate, pair.cert.pem()).expect("a file");
    std::fs::write(&key, pair.signing_key.serialize_pem()).expect("a file");
    let tls = Some((arg(&certificate).to_owned(), arg(&key).to_owned()));
    let routes = vec![cluster.route_to_origins()];
    let edge = cluster.replace_edge("edge-1", &Settings { routes, tls, ..Settings::default() });
    let url = format!("rtmps://{}/live/safe", edge.rtmps);
    let arguments = [&url, "-n", "10", "--seconds", "1", "--ca", arg(&certificate)];
    let (whole, result) = Load::start(cluster.scratch(), "load", &arguments).result();
    assert!(whole && count(&result, "/viewers/up") == 10, "{result}");
}

#[test]
fn viewers_that_stop_reading_are_told_from_those_who_lose_frames() {
    let cluster = Cluster::start();
    let url = cluster.rtmp("edge-2", "live/stalled");
    let arguments = [&url, "-n", "10", "--stalled", "20", "--seconds", "2"];
    let (whole, result) = Load::start(cluster.scratch(), "load", &arguments).result();
    assert!(whole, "{result}");
    assert_eq!(count(&result, "/stalled/viewers"), 2);
    assert_eq!(["/frames/video/lost", "/frames/audio/lost", "/missing"].map(|place| count(&result, place)), [0; 3]);
}

#[test]
fn a_stream_that_nobody_grants_is_told_and_fails() {
    let scratch = tempfile::tempdir().expect("a temporary directory");
    // An address where nobody listens.
    let nobody = tests::cluster::free_address();
    let arguments = [&format!("rtmp://{nobody}/live/none")[..], "--play-only", "-n", "3", "--seconds", "0.1"];
    let (whole, result) = Load::start(scratch.path(), "load", &arguments).result();
    assert!(!whole && result["whole"] == false, "{result}");
    assert_eq!(count(&result, "/ended/no connection: connection refused"), 3, "{result}");
}
