//! Memory: of each viewer, and over ten thousand joins and leaves.
//!
//! All of it is of one stream that has been there for longer than a server remembers it: until then the server takes more memory
//! each second, whoever watches.

use std::{thread, time::Duration};

use anyhow::Result;

use crate::{
    Setting,
    bare::Media,
    load::{Found, Load, publish},
    page::table,
    server::{Kind, Server, absent},
};

/// Crowds that stay: the first takes whatever the second is not to be charged with.
const CROWDS: [usize; 2] = [100, 1000];
const CROWD_SECONDS: u64 = 5;
/// Each of so many viewers stays a second.
const RESTLESS: usize = 500;
/// How often, for so long.
const ROUNDS: usize = 5;
const ROUND_SECONDS: u64 = 12;
/// What the first rounds leave behind is room that the heap keeps. The last of them, of 10,000 joins and more, have to be flat.
const LAST_ROUNDS: usize = 2;
/// Flat is less than this for each join: a viewer that was forgotten takes sixty times as much.
const FLAT_BYTES: f64 = 100.0;
/// What a viewer may take.
const VIEWER_KB: f64 = 8.0;
const KINDS: [Kind; 2] = [Kind::Nginx, Kind::Edge("balanced")];
/// An edge remembers 30 s of a stream.
const REMEMBERED: Duration = Duration::from_secs(40);
/// Longer than all of it takes.
const KEPT_SECONDS: u64 = 3600;

/// Few and many who stay, then many who come and go.
pub fn run(setting: Setting) -> Result<String> {
    let mut slopes = Vec::new();
    for kind in KINDS.into_iter().filter(|kind| kind.is_here()) {
        let house = House::open(kind, setting)?;
        slopes.push(slope(&house)?);
    }
    let house = House::open(Kind::Edge("balanced"), setting)?;
    Ok(format!(
        "{}Of a stream that has been there for {} s. An edge is promised to take no more than {VIEWER_KB} kB a viewer.\n\n{}\n{}",
        absent(&KINDS),
        REMEMBERED.as_secs(),
        table(&["server", "resident, 100 viewers", "1,000 viewers", "a viewer", ""], &slopes),
        restless(&house)?,
    ))
}

/// A server, and a stream there that somebody always watches.
struct House {
    kind: Kind,
    server: Server,
    _dir: tempfile::TempDir,
    _held: [tests::Process; 2],
}

impl House {
    fn open(kind: Kind, setting: Setting) -> Result<Self> {
        let server = Server::start(kind, Media::Video, setting.cores)?;
        let dir = tempfile::tempdir()?;
        let publisher = publish(&server, dir.path())?;
        let watcher = standing(1, KEPT_SECONDS).start(&server, dir.path());
        thread::sleep(REMEMBERED);
        Ok(Self { kind, server, _dir: dir, _held: [publisher, watcher] })
    }
}

fn standing(viewers: usize, seconds: u64) -> Load {
    Load { standing: true, ..Load::of(viewers, Media::Video, seconds) }
}

fn slope(house: &House) -> Result<Vec<String>> {
    let resident = |viewers| Ok(standing(viewers, CROWD_SECONDS).run(&house.server)?.server.resident_kb);
    let [few, many]: [Result<u64>; 2] = CROWDS.map(resident);
    let (few, many) = (few?, many?);
    let each = (many as f64 - few as f64) / (CROWDS[1] - CROWDS[0]) as f64;
    let met = match house.kind {
        Kind::Edge(_) if each <= VIEWER_KB => "met",
        Kind::Edge(_) => "NOT met",
        _ => "",
    };
    let cells =
        [house.kind.title(), format!("{few} kB"), format!("{many} kB"), format!("{each:.1} kB"), met.to_owned()];
    Ok(cells.to_vec())
}

fn restless(house: &House) -> Result<String> {
    let crowd = Load { stay: 1, ..standing(RESTLESS, ROUND_SECONDS) };
    let found = (0..ROUNDS).map(|_| crowd.run(&house.server)).collect::<Result<Vec<_>>>()?;
    let mut joins = 0;
    let rows = found.iter().map(|found| {
        joins += found.viewers.joins;
        let first = found.first_frame_ms.map_or(0.0, |times| times.p99);
        vec![
            joins.to_string(),
            format!("{} kB", found.server.resident_kb),
            format!("{first:.1} ms"),
            found.harmed().to_string(),
        ]
    });
    let rows: Vec<_> = rows.collect();
    let (all, all_kb) = growth(&found);
    let (last, last_kb) = growth(&found[ROUNDS - 1 - LAST_ROUNDS..]);
    let each = last_kb * 1024.0 / last as f64;
    Ok(format!(
        "{RESTLESS} viewers who leave after a second and join again:\n\n{}\n{all} joins and leaves after the first round took \
         {all_kb:+.0} kB; the last {last} took {last_kb:+.0} kB, {each:+.0} bytes each. Promised is flat, which is less than \
         {FLAT_BYTES} bytes each over the last 10,000 and more: {}.\n",
        table(&["joins so far", "resident", "first frame p99", "harmed"], &rows),
        if each < FLAT_BYTES && last >= 10_000 { "met" } else { "NOT met" },
    ))
}

/// Joins after the first of these rounds, and what memory they took.
fn growth(rounds: &[Found]) -> (u64, f64) {
    let joins = rounds.iter().skip(1).map(|found| found.viewers.joins).sum();
    let resident = |found: Option<&Found>| found.map_or(0.0, |found| found.server.resident_kb as f64);
    (joins, resident(rounds.last()) - resident(rounds.first()))
}
