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
    server::{Kind, Server},
};

/// Crowds that stay: the first takes whatever the second is not to be charged with.
const CROWDS: [usize; 2] = [100, 1000];
const CROWD_SECONDS: u64 = 5;
/// Each of so many viewers stays a second.
const RESTLESS: usize = 500;
/// How often, for so long.
const ROUNDS: usize = 5;
const ROUND_SECONDS: u64 = 12;
/// An edge remembers 30 s of a stream.
const REMEMBERED: Duration = Duration::from_secs(40);
/// Longer than all of it takes.
const KEPT_SECONDS: u64 = 3600;

/// Few and many who stay, then many who come and go.
pub fn run(setting: Setting) -> Result<String> {
    let mut slopes = Vec::new();
    for kind in [Kind::Nginx, Kind::Edge("balanced")].into_iter().filter(|kind| kind.is_here()) {
        let house = House::open(kind, setting)?;
        slopes.push(slope(&house)?);
    }
    let house = House::open(Kind::Edge("balanced"), setting)?;
    Ok(format!(
        "Of a stream that has been there for {} s.\n\n{}\nPromised are no more than 8 kB.\n\n{}",
        REMEMBERED.as_secs(),
        table(&["server", "resident, 100 viewers", "1,000 viewers", "a viewer"], &slopes),
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
    Ok(vec![house.kind.title(), format!("{few} kB"), format!("{many} kB"), format!("{each:.1} kB")])
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
    let resident = |found: Option<&Found>| found.map_or(0.0, |found| found.server.resident_kb as f64);
    let grown = resident(found.last()) - resident(found.first());
    let later = joins - found.first().map_or(0, |found| found.viewers.joins);
    Ok(format!(
        "{RESTLESS} viewers who leave after a second and join again:\n\n{}\n{later} joins and leaves after the first took {grown:+.0} kB.\n",
        table(&["joins so far", "resident", "first frame p99", "harmed frames"], &rows),
    ))
}
