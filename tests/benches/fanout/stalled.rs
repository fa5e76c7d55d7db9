//! Viewers who stop reading: what the others notice, when they are cut, and what they hold until then.

use std::{
    fs, thread,
    time::{Duration, Instant},
};

use anyhow::Result;

use crate::{
    Setting,
    bare::Media,
    load::{Found, Load},
    page::{median, table},
    server::{Kind, Server},
};

const VIEWERS: usize = 500;
/// Of a hundred.
const STALLED: usize = 10;
/// Longer than it takes to fill the buffers of a viewer, and then to cut it.
const SECONDS: u64 = 30;
/// An edge's `playback.stall`: so long it waits for a viewer that takes not one byte.
const STALL_S: f64 = 15.0;
/// What the stream brings a viewer each second.
const KB_A_SECOND: f64 = 2650.0 / 8.0;
/// All have joined, and stopped, within the first seconds of a run.
const SLACK_S: f64 = 3.0;
/// How often it is looked at who was cut.
const LOOK: Duration = Duration::from_millis(250);

/// A run, and what was seen during it.
struct Seen {
    found: Found,
    /// The edge's count of those cut for taking nothing.
    cut: f64,
    /// When the first and the last of them were cut, in seconds from the run's begin.
    first_cut: Option<f64>,
    last_cut: Option<f64>,
    /// The most that the kernel held for all TCP sockets of the machine.
    sockets_kb: f64,
}

/// Without and with them, in turns: what one run differs from the next by is more than what is promised.
pub fn run(setting: Setting) -> Result<String> {
    let server = Server::start(Kind::Edge("balanced"), Media::Video, setting.cores)?;
    let crowd = Load::of(VIEWERS, Media::Video, SECONDS);
    let (mut none, mut some) = (Vec::new(), Vec::new());
    for _ in 0..setting.runs {
        none.push(watched(&crowd, &server)?);
        some.push(watched(&Load { stalled: STALLED, ..crowd }, &server)?);
    }
    let head = [
        "",
        "video p99 of those who read",
        "in each run",
        "harmed",
        "resident",
        "kernel's sockets, most",
        "cut",
        "first and last cut",
    ];
    let rows = [row("all read", &none), row(&format!("{STALLED} % stop"), &some)];
    Ok(format!(
        "{VIEWERS} viewers, `balanced`, {} runs of {SECONDS} s each, in turns; medians.\n\n{}\n{}",
        setting.runs,
        table(&head, &rows),
        table(&["what", "promised", "found", ""], &promises(&none, &some)),
    ))
}

/// Runs a load to its end, and looks meanwhile at who is cut and what the kernel holds.
fn watched(load: &Load, server: &Server) -> Result<Seen> {
    let dir = tempfile::tempdir()?;
    let before = cut_so_far(server)?;
    let begin = Instant::now();
    let mut process = load.start(server, dir.path());
    let stopped = (load.viewers * load.stalled / 100) as f64;
    let (mut cut, mut first_cut, mut last_cut, mut sockets_kb) = (0.0, None, None, 0.0_f64);
    while process.ended().is_none() {
        thread::sleep(LOOK);
        sockets_kb = sockets_kb.max(kernel_kb());
        cut = cut_so_far(server)? - before;
        let now = begin.elapsed().as_secs_f64();
        if cut > 0.0 {
            first_cut.get_or_insert(now);
        }
        if stopped > 0.0 && cut >= stopped {
            last_cut.get_or_insert(now);
        }
    }
    Ok(Seen { found: load.found(process)?, cut, first_cut, last_cut, sockets_kb })
}

/// A viewer that does not read does not notice its end either: the edge says when it was.
fn cut_so_far(server: &Server) -> Result<f64> {
    let labels = ["reason=\"stalled\""];
    // Before the first there is no such line.
    Ok(server.cluster()?.metric("edge-2", "headwater_sessions_closed_total", &labels).unwrap_or_default())
}

/// The pages of `mem` in the line of TCP.
fn kernel_kb() -> f64 {
    let text = fs::read_to_string("/proc/net/sockstat").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("TCP:")).unwrap_or_default();
    let pages = line.split_whitespace().skip_while(|word| *word != "mem").nth(1);
    pages.and_then(|pages| pages.parse::<f64>().ok()).unwrap_or_default() * 4.0
}

fn row(what: &str, seen: &[Seen]) -> Vec<String> {
    let each: Vec<_> = seen.iter().map(|seen| format!("{:.1}", p99_of(seen))).collect();
    let cut = seen.iter().map(|seen| seen.cut).sum::<f64>();
    let seconds = |of: fn(&Seen) -> Option<f64>| match median(seen.iter().filter_map(of).collect()) {
        Some(seconds) => format!("{seconds:.1} s"),
        None => "never".to_owned(),
    };
    let some = stalled(seen) > 0.0;
    vec![
        what.to_owned(),
        format!("{:.1} ms", p99(seen)),
        each.join(", "),
        harmed(seen).to_string(),
        format!("{:.0} kB", number(seen, |seen| seen.found.server.resident_kb as f64)),
        format!("{:.0} kB", number(seen, |seen| seen.sockets_kb)),
        if some { format!("{cut} of {}", stalled(seen)) } else { String::new() },
        if some {
            format!("{}, {}", seconds(|seen| seen.first_cut), seconds(|seen| seen.last_cut))
        } else {
            String::new()
        },
    ]
}

fn promises(none: &[Seen], some: &[Seen]) -> Vec<Vec<String>> {
    let (before, after) = (p99(none), p99(some));
    let (cut, stopped) = (some.iter().map(|seen| seen.cut).sum::<f64>(), stalled(some));
    let each = (number(some, |seen| seen.sockets_kb) - number(none, |seen| seen.sockets_kb)).max(0.0)
        / (stopped / some.len() as f64).max(1.0);
    let fill = each / KB_A_SECOND;
    let bound = STALL_S + fill + SLACK_S;
    let last = some.iter().map(|seen| seen.last_cut.unwrap_or(f64::INFINITY)).fold(0.0, f64::max);
    let first = some.iter().filter_map(|seen| seen.first_cut).fold(f64::INFINITY, f64::min);
    let line = |what: &str, promised: String, found: String, holds: bool| {
        vec![what.to_owned(), promised, found, if holds { "met" } else { "NOT met" }.to_owned()]
    };
    vec![
        line(
            "video p99 of those who read",
            "within 2 ms or 10 %".to_owned(),
            format!("{:+.1} ms", after - before),
            after - before < 2.0 || after < before * 1.1,
        ),
        line("harmed, of those who read", "0".to_owned(), harmed(some).to_string(), harmed(some) == 0),
        line("cut", format!("all {stopped} who stop, and no other"), format!("{cut}"), stopped > 0.0 && cut == stopped),
        line("first cut", format!("≥ {STALL_S} s"), format!("{first:.1} s"), first >= STALL_S && first.is_finite()),
        line(
            "last cut",
            format!("≤ {bound:.1} s: {STALL_S} s, {fill:.1} s to fill {each:.0} kB of buffers, {SLACK_S} s to join"),
            format!("{last:.1} s"),
            last <= bound,
        ),
    ]
}

fn number(seen: &[Seen], of: fn(&Seen) -> f64) -> f64 {
    median(seen.iter().map(of).collect()).unwrap_or_default()
}

fn stalled(seen: &[Seen]) -> f64 {
    seen.iter().map(|seen| seen.found.stalled.viewers as f64).sum()
}

fn harmed(seen: &[Seen]) -> u64 {
    seen.iter().map(|seen| seen.found.harmed()).sum()
}

fn p99(seen: &[Seen]) -> f64 {
    number(seen, p99_of)
}

fn p99_of(seen: &Seen) -> f64 {
    seen.found.latency_ms.video.map_or(0.0, |times| times.p99)
}
