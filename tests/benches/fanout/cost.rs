//! CPU time for each GB, and latency: every server with the same viewers, in turns.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::{
    Setting,
    bare::{Form, Media},
    load::{Found, Load, Times},
    page::{median, table},
    server::{Kind, Server},
};

/// Viewers of video, and of sound alone.
const CROWDS: [usize; 3] = [100, 500, 1000];
const FULL: usize = 1000;
const LISTENERS: usize = 900;
/// The bound that servers which merge are compared at.
const MERGE_MS: u64 = 350;
/// How long the default policy merges sound alone.
const SOUND_MS: u64 = 100;

const DEFAULT: Kind = Kind::Edge("balanced");
const LOWEST: Kind = Kind::Edge("lowest");
const MERGED: Kind = Kind::Edge("350");
const NODE: Kind = Kind::Node("balanced");

/// A line of the table: which server, what, how many viewers.
type Line = (Kind, Media, usize);

/// What was found of each line, in the order of its runs.
type Findings = BTreeMap<usize, Vec<Found>>;

/// In the order in which they are run and shown; lines of one server that follow each other share its process.
fn lines() -> Vec<Line> {
    let video =
        |kind: Kind, crowds: &[usize]| crowds.iter().map(move |viewers| (kind, Media::Video, *viewers)).collect();
    let groups: [Vec<Line>; 8] = [
        video(Kind::Nginx, &CROWDS),
        video(DEFAULT, &CROWDS),
        video(LOWEST, &CROWDS[1..]),
        video(MERGED, &[FULL]),
        video(NODE, &[FULL]),
        video(Kind::Bare(Form::Each), &[FULL]),
        video(Kind::Bare(Form::Ride), &[FULL]),
        video(Kind::Bare(Form::Merge(MERGE_MS)), &[FULL]),
    ];
    let sound = [Kind::Nginx, DEFAULT, Kind::Bare(Form::Each), Kind::Bare(Form::Merge(SOUND_MS))];
    let sound = sound.map(|kind| (kind, Media::Audio, LISTENERS));
    groups.into_iter().flatten().chain(sound).filter(|(kind, ..)| kind.is_here()).collect()
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
    let cost = |kind: Kind, media: Media, viewers: usize| found((kind, media, viewers)).and_then(s_per_gb);
    let rows = |of: Media| -> Vec<Vec<String>> {
        let own = lines.iter().enumerate().filter(|(_, (_, media, _))| *media == of);
        own.map(|(number, line)| {
            let (kind, media, viewers) = *line;
            let nginx = cost(Kind::Nginx, media, viewers);
            let bare = peer(kind, media).and_then(|form| cost(Kind::Bare(form), media, viewers));
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
        "harmed frames",
    ];
    format!(
        "Medians of {} runs of {} s each, in turns.\n\n{}\nSound alone, 64 kb/s:\n\n{}\nWhat is promised:\n\n{}",
        setting.runs,
        setting.seconds,
        table(&head, &rows(Media::Video)),
        table(&head, &rows(Media::Audio)),
        table(&["what", "promised", "found", ""], &promises(&cost, &found)),
    )
}

fn row((kind, _, viewers): &Line, found: &[Found], nginx: Option<f64>, bare: Option<f64>) -> Vec<String> {
    let own = s_per_gb(found);
    let of =
        |other: Option<f64>| own.zip(other).map_or_else(String::new, |(own, other)| format!("{:.2} ×", own / other));
    let number = |of: fn(&Found) -> f64| median(found.iter().map(of).collect()).unwrap_or_default();
    let ms = |of: fn(&Found) -> Option<Times>, at: fn(Times) -> f64| {
        median(found.iter().filter_map(of).map(at).collect()).map_or_else(String::new, |ms| format!("{ms:.1} ms"))
    };
    vec![
        kind.title(),
        viewers.to_string(),
        own.map_or_else(String::new, |own| format!("{own:.2}")),
        format!("{:.0} %", number(|found| found.server.cores * 100.0)),
        if *kind == Kind::Nginx { String::new() } else { of(nginx) },
        if matches!(kind, Kind::Bare(_)) { String::new() } else { of(bare) },
        ms(|found| found.latency_ms.video, |times| times.p50),
        ms(|found| found.latency_ms.video, |times| times.p99),
        ms(|found| found.latency_ms.audio, |times| times.p99),
        found.iter().map(Found::harmed).sum::<u64>().to_string(),
    ]
}

/// The bare loop that does the same writes.
fn peer(kind: Kind, media: Media) -> Option<Form> {
    match (kind, media) {
        (LOWEST, _) | (Kind::Nginx, _) => Some(Form::Each),
        (DEFAULT | NODE, Media::Video) => Some(Form::Ride),
        (DEFAULT | NODE, Media::Audio) => Some(Form::Merge(SOUND_MS)),
        (MERGED, _) => Some(Form::Merge(MERGE_MS)),
        _ => None,
    }
}

fn s_per_gb(found: &[Found]) -> Option<f64> {
    median(found.iter().map(|found| found.server.s_per_gb).collect())
}

/// What is promised, what was found, and whether that is enough.
fn promises<'a>(
    cost: &impl Fn(Kind, Media, usize) -> Option<f64>,
    found: &impl Fn(Line) -> Option<&'a [Found]>,
) -> Vec<Vec<String>> {
    let ratio =
        |one: Kind, other: Kind, media, viewers| Some(cost(one, media, viewers)? / cost(other, media, viewers)?);
    let mut rows = Vec::new();
    let mut promise = |what: &str, most: f64, unit: &str, found: Option<f64>| {
        let (shown, met) = match found {
            Some(found) => (format!("{found:.2}{unit}"), if found <= most { "met" } else { "NOT met" }),
            None => ("not measured".to_owned(), ""),
        };
        rows.push(vec![what.to_owned(), format!("≤ {most:.2}{unit}"), shown, met.to_owned()]);
    };
    let (ride, each, merge) = (Kind::Bare(Form::Ride), Kind::Bare(Form::Each), Kind::Bare(Form::Merge(MERGE_MS)));
    let video = |one, other| ratio(one, other, Media::Video, FULL);
    promise("`balanced`, 1,000 viewers: CPU of nginx-rtmp's", 0.5, " ×", video(DEFAULT, Kind::Nginx));
    promise("`lowest`, 1,000 viewers: CPU of nginx-rtmp's", 0.9, " ×", video(LOWEST, Kind::Nginx));
    promise("`balanced`: of the bare loop's", 1.15, " ×", video(DEFAULT, ride));
    promise("`lowest`: of the bare loop's", 1.15, " ×", video(LOWEST, each));
    promise("350 ms, 1,000 viewers: CPU of nginx-rtmp's", 0.22, " ×", video(MERGED, Kind::Nginx));
    promise("350 ms: of the bare loop's", 1.15, " ×", video(MERGED, merge));
    promise("900 listeners: CPU of nginx-rtmp's", 0.3, " ×", ratio(DEFAULT, Kind::Nginx, Media::Audio, LISTENERS));
    let p99 = |kind| {
        let found = found((kind, Media::Video, FULL))?;
        median(found.iter().filter_map(|found| Some(found.latency_ms.video?.p99)).collect())
    };
    if let Some(nginx) = p99(Kind::Nginx) {
        promise("`balanced`, 1,000 viewers: video p99, at most nginx-rtmp's", nginx, " ms", p99(DEFAULT));
    }
    let harmed = found((DEFAULT, Media::Video, FULL)).map(|found| found.iter().map(Found::harmed).sum::<u64>() as f64);
    promise("`balanced`, 1,000 viewers: harmed frames", 0.0, "", harmed);
    rows
}
