//! How many viewers one core carries with every frame arriving.

use anyhow::Result;
use tests::limits::raise_open_files;

use crate::{
    Setting,
    bare::Media,
    load::{Found, Load},
    page::table,
    server::{Kind, Server, absent},
};

/// The crowds that are tried, until one is too large, for the server or for what files a process may open.
const CROWDS: [usize; 8] = [1000, 2000, 3000, 4000, 6000, 8000, 12_000, 16_000];
/// Open files of a server or load besides its viewers.
const FILES_BESIDE: usize = 200;
const KINDS: [Kind; 4] = [Kind::Nginx, Kind::Edge("balanced"), Kind::Edge("350"), Kind::Node("balanced")];
/// What comes later than this does not count as arrived.
const LATE_MS: f64 = 1000.0;
/// A load that keeps its own core as busy as this may be what is at its limit.
const FULL: f64 = 0.95;
const SECONDS: u64 = 5;

/// Tries ever larger crowds.
pub fn run(setting: Setting) -> Result<String> {
    let files = raise_open_files();
    let mut rows = Vec::new();
    for kind in KINDS.into_iter().filter(|kind| kind.is_here()) {
        let server = Server::start(kind, Media::Video, setting.cores)?;
        let mut held = None;
        let mut end = "all that were tried".to_owned();
        for viewers in CROWDS {
            if viewers + FILES_BESIDE > files {
                end = format!("not tried: {viewers}, for {files} open files");
                break;
            }
            let found = Load::of(viewers, Media::Video, SECONDS).run(&server)?;
            eprintln!(
                "{}, {viewers} viewers: {:.2} s/GB, p99 {:.1} ms",
                kind.title(),
                found.server.s_per_gb,
                p99(&found)
            );
            if !found.whole || p99(&found) > LATE_MS {
                let load = if found.own_cpu.cores > FULL { "; the load's core was full too" } else { "" };
                end = format!("{viewers}: {} harmed, p99 {:.0} ms{load}", found.harmed(), p99(&found));
                break;
            }
            held = Some((viewers, found));
        }
        rows.push(match held {
            Some((viewers, found)) => vec![
                kind.title(),
                viewers.to_string(),
                format!("{:.0} %", found.server.cores * 100.0),
                format!("{:.0} %", found.own_cpu.cores * 100.0),
                format!("{:.1} ms", p99(&found)),
                end,
            ],
            None => vec![
                kind.title(),
                format!("fewer than {}", CROWDS[0]),
                String::new(),
                String::new(),
                String::new(),
                end,
            ],
        });
    }
    let head = ["server", "viewers", "its core", "load's core", "video p99", "too many"];
    Ok(absent(&KINDS) + &table(&head, &rows))
}

fn p99(found: &Found) -> f64 {
    found.latency_ms.video.map_or(f64::INFINITY, |times| times.p99)
}
