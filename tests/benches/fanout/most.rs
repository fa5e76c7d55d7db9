//! How many viewers one core carries with every frame arriving.

use anyhow::Result;

use crate::{
    Setting,
    bare::Media,
    load::{Found, Load},
    page::table,
    server::{Kind, Server},
};

/// The crowds that are tried, until one is too large.
const CROWDS: [usize; 7] = [750, 1000, 1500, 2000, 2500, 3000, 4000];
/// What comes later than this does not count as arrived.
const LATE_MS: f64 = 1000.0;
/// A load that keeps its own core as busy as this may be what is at its limit.
const FULL: f64 = 0.95;
const SECONDS: u64 = 5;

/// Tries ever larger crowds.
pub fn run(setting: Setting) -> Result<String> {
    let mut rows = Vec::new();
    for kind in [Kind::Nginx, Kind::Edge("balanced"), Kind::Edge("350")] {
        if !kind.is_here() {
            continue;
        }
        let server = Server::start(kind, Media::Video, setting.cores)?;
        let mut held = None;
        let mut end = "all that were tried".to_owned();
        for viewers in CROWDS {
            let found = Load::of(viewers, Media::Video, SECONDS).run(&server)?;
            eprintln!(
                "{}, {viewers} viewers: {:.2} s/GB, p99 {:.1} ms",
                kind.title(),
                found.server.s_per_gb,
                p99(&found)
            );
            if !found.whole || p99(&found) > LATE_MS {
                let load = if found.own_cpu.cores > FULL { "; the load's core was full too" } else { "" };
                end = format!("{viewers}: {} frames harmed, p99 {:.0} ms{load}", found.harmed(), p99(&found));
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
    Ok(table(&["server", "viewers", "its core", "load's core", "video p99", "too many"], &rows))
}

fn p99(found: &Found) -> f64 {
    found.latency_ms.video.map_or(f64::INFINITY, |times| times.p99)
}
