//! Viewers who stop reading, and what the others notice.

use anyhow::Result;

use crate::{
    Setting,
    bare::Media,
    load::{Found, Load},
    page::table,
    server::{Kind, Server},
};

const VIEWERS: usize = 500;
/// Of a hundred.
const STALLED: usize = 10;
/// Longer than an edge waits for a viewer that takes nothing.
const SECONDS: u64 = 25;

/// Without and with them.
pub fn run(setting: Setting) -> Result<String> {
    let server = Server::start(Kind::Edge("balanced"), Media::Video, setting.cores)?;
    let crowd = Load::of(VIEWERS, Media::Video, SECONDS);
    let none = crowd.run(&server)?;
    let some = Load { stalled: STALLED, ..crowd }.run(&server)?;
    let p99 = |found: &Found| found.latency_ms.video.map_or(0.0, |times| times.p99);
    let row = |what: &str, found: &Found| {
        let cut = found.stalled.cut_after_ms.map(|times| (times.count, times.p50 / 1000.0, times.p99 / 1000.0));
        vec![
            what.to_owned(),
            format!("{:.1} ms", p99(found)),
            found.harmed().to_string(),
            format!("{} kB", found.server.resident_kb),
            cut.map_or_else(String::new, |(count, half, most)| {
                format!("{count} of {}, after {half:.1} s, p99 {most:.1} s", found.stalled.viewers)
            }),
        ]
    };
    let rows = [row("all read", &none), row(&format!("{STALLED} % stop"), &some)];
    let (before, after) = (p99(&none), p99(&some));
    let near = after - before < 2.0 || after < before * 1.1;
    Ok(format!(
        "{VIEWERS} viewers, `balanced`.\n\n{}\nThe others' p99 changes by {:+.1} ms; promised is less than 2 ms or 10 %: {}.\n",
        table(&["", "video p99 of those who read", "harmed frames", "resident", "cut"], &rows),
        after - before,
        if near { "met" } else { "NOT met" },
    ))
}
