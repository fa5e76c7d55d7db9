//! Memory over ten thousand joins and leaves.

use anyhow::Result;

use crate::{
    Setting,
    bare::Media,
    load::Load,
    page::table,
    server::{Kind, Server},
};

/// Each of so many viewers stays a second.
const VIEWERS: usize = 500;
const WARM_SECONDS: u64 = 4;
const SECONDS: u64 = 21;

/// The same crowd a short time and a long time.
pub fn run(setting: Setting) -> Result<String> {
    let server = Server::start(Kind::Edge("balanced"), Media::Video, setting.cores)?;
    let crowd = |seconds| Load { stay: 1, ..Load::of(VIEWERS, Media::Video, seconds) };
    let warm = crowd(WARM_SECONDS).run(&server)?;
    let long = crowd(SECONDS).run(&server)?;
    let row = |what: &str, found: &crate::load::Found| {
        let first = found.first_frame_ms.map_or(0.0, |times| times.p99);
        vec![
            what.to_owned(),
            found.viewers.joins.to_string(),
            format!("{} kB", found.server.resident_kb),
            format!("{first:.1} ms"),
            found.harmed().to_string(),
        ]
    };
    let rows = [row("the first", &warm), row("after them", &long)];
    let grown = long.server.resident_kb as f64 - warm.server.resident_kb as f64;
    Ok(format!(
        "{VIEWERS} viewers who leave after a second and join again.\n\n{}\nBetween the two: {:+.0} kB, {:+.3} kB a join.\n",
        table(&["", "joins", "resident", "first frame p99", "harmed frames"], &rows),
        grown,
        grown / long.viewers.joins.max(1) as f64,
    ))
}
