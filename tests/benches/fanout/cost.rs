//! CPU time for each GB, and latency: every server with the same viewers, in turns.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{
    Setting,
    bare::{By, Form, Media},
    load::{Found, Load, Times},
    page::{median, table},
    server::{Kind, Server, absent},
};

/// Viewers of video, and of sound alone.
const FULL: usize = 1000;
const LISTENERS: usize = 900;
/// The bound that servers which merge are compared at.
const MERGE_MS: u64 = 350;
/// How long the default policy merges sound alone.
const SOUND_MS: u64 = 100;

const NGINX: Kind = Kind::Nginx;
const DEFAULT: Kind = Kind::Edge("balanced");
const LOWEST: Kind = Kind::Edge("lowest");
const MERGED: Kind = Kind::Edge("350");
const NODE: Kind = Kind::Node("balanced");
/// The bare loops that write as often as each of them.
const EACH: Kind = Kind::Bare(Form::Each, By::Copies);
const RIDE: Kind = Kind::Bare(Form::Ride, By::Copies);
const MERGE: Kind = Kind::Bare(Form::Merge(MERGE_MS), By::Copies);
const SOUND: Kind = Kind::Bare(Form::Merge(SOUND_MS), By::Copies);
/// The one that sends the same pages as well.
const MERGE_PAGES: Kind = Kind::Bare(Form::Merge(MERGE_MS), By::Pages);

/// A line of the table: which server, what, how many viewers.
type Line = (Kind, Media, usize);

/// What was found of each line, in the order of its runs.
type Findings = BTreeMap<usize, Vec<Found>>;

/// In the order in which they are run and shown. What is compared follows each other: a machine whose speed changes within
/// minutes has nearly the same for both.
fn lines() -> Vec<Line> {
    let crowds: [(Media, usize, &[Kind]); 4] = [
        (Media::Video, 100, &[NODE, RIDE, DEFAULT, NGINX, LOWEST, EACH]),
        (Media::Video, 500, &[EACH, LOWEST, NGINX, DEFAULT, RIDE, NODE]),
        (Media::Video, FULL, &[NODE, RIDE, DEFAULT, NGINX, LOWEST, EACH, MERGE, MERGED, MERGE_PAGES]),
        (Media::Audio, LISTENERS, &[EACH, NGINX, DEFAULT, SOUND, NODE]),
    ];
    let lines = crowds.iter().flat_map(|(media, viewers, kinds)| kinds.iter().map(|kind| (*kind, *media, *viewers)));
    lines.filter(|(kind, ..)| kind.is_here()).collect()
}

/// Measures all of it, as often as it is set.
pub fn run(setting: Setting) -> Result<String> {
    let lines = lines();
    let mut findings = Findings::new();
    for run in 0..setting.runs {
        let mut running: Option<(Kind, Media, Server)> = None;
        for (number, &(kind, media, viewers)) in lines.iter().enumerate() {
            let server = match running.take() {
                Some((old, of, server)) if old == kind && of == media => server,
                // The old one ends before the new one starts.
                old => {
                    drop(old);
                    Server::start(kind, media, setting.cores)?
                }
            };
            let load = Load { awake: true, ..Load::of(viewers, media, setting.seconds) };
            let found = load.run(&server)?;
            running = Some((kind, media, server));
            eprintln!("run {}: {}", run + 1, row(&lines[number], std::slice::from_ref(&found), None, None).join(" | "));
            findings.entry(number).or_default().push(found);
        }
    }
    Ok(text(&lines, &findings, setting))
}

fn text(lines: &[Line], findings: &Findings, setting: Setting) -> String {
    let found = |line: Line| {
        let number = lines.iter().position(|other| *other == line);
        number.and_then(|number| findings.get(&number)).map(Vec::as_slice)
    };
    let rows = |of: Media| -> Vec<Vec<String>> {
        let own = lines.iter().enumerate().filter(|(_, (_, media, _))| *media == of);
        own.map(|(number, line)| {
            let (kind, media, viewers) = *line;
            let nginx = found((NGINX, media, viewers)).filter(|_| kind != NGINX);
            let bare = peer(kind, media).and_then(|loop_| found((loop_, media, viewers)));
            row(line, &findings[&number], nginx, bare)
        })
        .collect()
    };
    let head = [
        "server",
        "viewers",
        "CPU s/GB",
        "of a core",
        "of nginx-rtmp",
        "of the bare loop",
        "video p50",
        "video p99",
        "audio p99",
        "harmed",
    ];
    format!(
        "Medians of {} runs of {} s each, in turns; of ratios too, each of two servers in one run.\n\n{}{}\n\
         Sound alone, 64 kb/s:\n\n{}\nWhat is promised:\n\n{}",
        setting.runs,
        setting.seconds,
        absent(&[NGINX]),
        table(&head, &rows(Media::Video)),
        table(&head, &rows(Media::Audio)),
        table(&["what", "promised", "found", "in each run", ""], &promises(&found)),
    )
}

fn row((kind, _, viewers): &Line, found: &[Found], nginx: Option<&[Found]>, bare: Option<&[Found]>) -> Vec<String> {
    let times = |other: Option<&[Found]>| match other.and_then(|other| median(ratios(found, other))) {
        Some(times) => format!("{times:.2} ×"),
        None => String::new(),
    };
    let number = |of: fn(&Found) -> f64| median(found.iter().map(of).collect()).unwrap_or_default();
    let ms = |of: fn(&Found) -> Option<Times>, at: fn(Times) -> f64| {
        median(found.iter().filter_map(of).map(at).collect()).map_or_else(String::new, |ms| format!("{ms:.1} ms"))
    };
    vec![
        kind.title(),
        viewers.to_string(),
        format!("{:.2}", number(|found| found.server.s_per_gb)),
        format!("{:.0} %", number(|found| found.server.cores * 100.0)),
        times(nginx),
        times(bare),
        ms(|found| found.latency_ms.video, |times| times.p50),
        ms(|found| found.latency_ms.video, |times| times.p99),
        ms(|found| found.latency_ms.audio, |times| times.p99),
        found.iter().map(Found::harmed).sum::<u64>().to_string(),
    ]
}

/// The bare loop that writes as often, one `writev` a time.
fn peer(kind: Kind, media: Media) -> Option<Kind> {
    match (kind, media) {
        (LOWEST, _) | (NGINX, _) => Some(EACH),
        (DEFAULT | NODE, Media::Video) => Some(RIDE),
        (DEFAULT | NODE, Media::Audio) => Some(SOUND),
        (MERGED, _) => Some(MERGE),
        _ => None,
    }
}

/// CPU time for each GB by another's, run by run.
fn ratios(own: &[Found], other: &[Found]) -> Vec<f64> {
    own.iter().zip(other).map(|(own, other)| own.server.s_per_gb / other.server.s_per_gb).collect()
}

/// What is promised, what was found, and whether that is enough.
fn promises<'a>(found: &impl Fn(Line) -> Option<&'a [Found]>) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut promise = |what: &str, most: f64, unit: &str, runs: Vec<f64>| {
        rows.push(judged(what, most, unit, &runs, median(runs.clone())));
    };
    let video_of = |kind| found((kind, Media::Video, FULL)).unwrap_or_default();
    let video = |own, other| ratios(video_of(own), video_of(other));
    promise("`balanced`, 1,000 viewers: CPU of nginx-rtmp's", 0.5, " ×", video(DEFAULT, NGINX));
    promise("`lowest`, 1,000 viewers: CPU of nginx-rtmp's", 0.9, " ×", video(LOWEST, NGINX));
    promise("`balanced`: of the bare loop's", 1.15, " ×", video(DEFAULT, RIDE));
    promise("`lowest`: of the bare loop's", 1.15, " ×", video(LOWEST, EACH));
    promise("350 ms, 1,000 viewers: CPU of nginx-rtmp's", 0.22, " ×", video(MERGED, NGINX));
    promise("350 ms: of the bare loop's", 1.15, " ×", video(MERGED, MERGE));
    promise("350 ms: of the bare loop's that sends pages", 1.15, " ×", video(MERGED, MERGE_PAGES));
    let listeners = |kind| found((kind, Media::Audio, LISTENERS)).unwrap_or_default();
    promise("900 listeners: CPU of nginx-rtmp's", 0.3, " ×", ratios(listeners(DEFAULT), listeners(NGINX)));
    let p99s =
        |kind| -> Vec<f64> { video_of(kind).iter().filter_map(|found| Some(found.latency_ms.video?.p99)).collect() };
    // Without nginx there is nothing to hold it to.
    let nginx = median(p99s(NGINX)).unwrap_or_default();
    let p99s = if nginx > 0.0 { p99s(DEFAULT) } else { Vec::new() };
    promise("`balanced`, 1,000 viewers: video p99, at most nginx-rtmp's", nginx, " ms", p99s);
    let crowds = [
        ("`balanced`, 1,000 viewers", video_of(DEFAULT)),
        ("`lowest`, 1,000 viewers", video_of(LOWEST)),
        ("350 ms, 1,000 viewers", video_of(MERGED)),
        ("900 listeners", listeners(DEFAULT)),
    ];
    for (crowd, found) in crowds {
        let harmed: Vec<f64> = found.iter().map(|found| found.harmed() as f64).collect();
        let worst = harmed.iter().copied().reduce(f64::max);
        rows.push(judged(&format!("{crowd}: harmed, in no run"), 0.0, "", &harmed, worst));
    }
    rows
}

/// A line of what is promised: what was found is no more than `most`, or that is not met.
fn judged(what: &str, most: f64, unit: &str, runs: &[f64], found: Option<f64>) -> Vec<String> {
    let runs: Vec<_> = runs.iter().map(|found| format!("{found:.2}")).collect();
    let (shown, met) = match found {
        Some(found) => (format!("{found:.2}{unit}"), if found <= most { "met" } else { "NOT met" }),
        None => ("not measured".to_owned(), "NOT met"),
    };
    vec![what.to_owned(), format!("≤ {most:.2}{unit}"), shown, runs.join(", "), met.to_owned()]
}
