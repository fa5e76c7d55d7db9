//! `headwater dev` and the operator's tools.

use std::time::Duration;

use nix::sys::signal::Signal;
use tests::{
    Cluster, Process, cluster,
    encoder::Encoder,
    flv, process, sources,
    tools::{self, Tool::Ffmpeg, arg},
    wait::{SOON, until},
};

/// A word that must never be logged.
const CANARY: &str = "canary-7f3a9c";

#[test]
fn every_process_ends_with_headwater_dev_however_it_ends() {
    for signal in [Signal::SIGINT, Signal::SIGKILL] {
        let mut cluster = Cluster::start();
        let pids = cluster.pids();
        cluster.dev().signal(signal);
        cluster.dev().wait(SOON * 2);
        until(&format!("all to be gone after {signal}"), SOON, || {
            pids.iter().all(|pid| !process::runs(*pid)).then_some(())
        });
    }
}

#[test]
fn a_dead_process_is_left_dead_and_can_be_brought_back() {
    let mut cluster = Cluster::start();
    let before = cluster.pid("edge-2");
    cluster.kill("edge-2");
    until("`headwater dev` to tell of the death", SOON, || {
        let told = cluster.dev().stdout() + &cluster.dev().stderr();
        told.lines().any(|line| line.contains("edge-2") && line.contains(&before.to_string())).then_some(())
    });
    cluster.dev().assert_running();
    cluster.restart("edge-2");
    assert_ne!(cluster.pid("edge-2"), before);
}

#[test]
fn headwater_publishes_and_plays_whole_streams() {
    if !tools::has(&[Ffmpeg]) {
        return;
    }
    let source = sources::h264_aac(5);
    let cluster = Cluster::start();
    let out = cluster.scratch().join("played.flv");
    let mut play = cluster::program("headwater");
    play.args(["play", &cluster.rtmp("edge-2", "live/tool"), "--out", arg(&out)]);
    let mut play = Process::spawn("play", cluster.scratch(), play);
    crate::waiting_viewers(&cluster, "edge-2", 1);
    let mut publish = cluster::program("headwater");
    publish.args(["publish", arg(&source.path), &cluster.rtmp("edge-1", "live/tool")]);
    Process::spawn("publish", cluster.scratch(), publish).wait_success(Duration::from_secs(30));
    play.wait_success(SOON);
    flv::assert_whole(&flv::read(&source.path), &flv::read(&out));
}

#[test]
fn status_names_every_node_and_stream() {
    if !tools::has(&[Ffmpeg]) {
        return;
    }
    let cluster = Cluster::start();
    let _encoder =
        Encoder::endless(&sources::h264_aac(6), &cluster.rtmp("edge-1", "live/seen"), cluster.scratch(), "encoder");
    until("`headwater status` to name all", SOON, || {
        let mut status = cluster::program("headwater");
        let text = tools::output(status.args(["status", "--dir", arg(&cluster.dir())]));
        cluster::NODES[1..].iter().chain(&["live/seen"]).all(|word| text.contains(word)).then_some(())
    });
}

#[test]
fn no_key_and_no_token_is_ever_logged() {
    if !tools::has(&[Ffmpeg]) {
        return;
    }
    let mut cluster = Cluster::start();
    let url = cluster.rtmp("edge-1", &format!("live/secret?key={CANARY}"));
    let mut encoder = Encoder::once(&sources::h264_aac(2), &url, cluster.scratch(), "encoder");
    encoder.process.wait(SOON);
    let tokens = std::fs::read_dir(cluster.dir().join("tokens")).expect("tokens").flatten();
    let mut secrets: Vec<String> = tokens.filter_map(|file| std::fs::read_to_string(file.path()).ok()).collect();
    secrets.push(CANARY.to_owned());
    let mut logs: Vec<(String, String)> =
        cluster::NODES.iter().map(|node| ((*node).to_owned(), cluster.log(node))).collect();
    logs.push(("dev".to_owned(), cluster.dev().stdout() + &cluster.dev().stderr()));
    for (node, log) in &logs {
        assert!(!log.is_empty(), "{node} has logged nothing");
        for secret in &secrets {
            let line = log.lines().find(|line| line.contains(secret.trim()));
            assert_eq!(line, None, "{node} has logged a secret");
        }
    }
}
