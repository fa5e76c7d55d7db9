//! Viewers who stop reading, and what the others notice.

use anyhow::Result;

use crate::{
    Setting,
    bare::Media,
    load::{Found, Load, Times},
    page::{median, table},
    server::{Kind, Server},
};

const VIEWERS: usize = 500;
/// Of a hundred.
const STALLED: usize = 10;
/// Longer than an edge waits for a viewer that takes nothing.
const SECONDS: u64 = 25;

/// Without and with them, in turns: what one run differs from the next by is more than what is promised.
pub fn run(setting: Setting) -> Result<String> {
    let server = Server::start(Kind::Edge("balanced"), Media::Video, setting.cores)?;
    let crowd = Load::of(VIEWERS, Media::Video, SECONDS);
    let (mut none, mut some) = (Vec::new(), Vec::new());
    for _ in 0..setting.runs {
        none.push(crowd.run(&server)?);
        some.push(Load { stalled: STALLED, ..crowd }.run(&server)?);
    }
    let rows = [row("all read", &none), row(&format!("{STALLED} % stop"), &some)];
    let (before, after) = (p99(&none), p99(&some));
    let near = after - before < 2.0 || after < before * 1.1;
    Ok(format!(
        "{VIEWERS} viewers, `balanced`, {} runs of {SECONDS} s each, in turns; medians.\n\n{}\nThe others' p99 changes by {:+.1} ms; promised is less than 2 ms or 10 %: {}.\n",
        setting.runs,
        table(&["", "video p99 of those who read", "in each run", "harmed frames", "resident", "cut"], &rows),
        after - before,
        if near { "met" } else { "NOT met" },
    ))
}

fn row(what: &str, found: &[Found]) -> Vec<String> {
    let number = |of: &dyn Fn(&Found) -> f64| median(found.iter().map(of).collect()).unwrap_or_default();
    let cut: Vec<_> = found.iter().filter_map(|found| found.stalled.cut_after_ms).collect();
    let seconds = |of: fn(&Times) -> f64| median(cut.iter().map(of).collect()).unwrap_or_default() / 1000.0;
    let each: Vec<_> = found.iter().map(|found| format!("{:.1}", p99_of(found))).collect();
    vec![
        what.to_owned(),
        format!("{:.1} ms", p99(found)),
        each.join(", "),
        found.iter().map(Found::harmed).sum::<u64>().to_string(),
        format!("{:.0} kB", number(&|found| found.server.resident_kb as f64)),
        match cut.iter().map(|times| times.count).sum::<u64>() {
            0 => String::new(),
            count => format!(
                "{count} of {}, after {:.1} s, p99 {:.1} s",
                found.iter().map(|found| found.stalled.viewers).sum::<u64>(),
                seconds(|times| times.p50),
                seconds(|times| times.p99)
            ),
        },
    ]
}

fn p99(found: &[Found]) -> f64 {
    median(found.iter().map(p99_of).collect()).unwrap_or_default()
}

fn p99_of(found: &Found) -> f64 {
    found.latency_ms.video.map_or(0.0, |times| times.p99)
}
