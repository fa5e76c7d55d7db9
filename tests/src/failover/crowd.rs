//! Viewers who check every stamp.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use tokio::task::JoinHandle;

use super::{
    body::Body,
    ledger::{Arrival, Counts, Ledger, longest_gap},
    source::Source,
    stamp::{self, Lane},
};
use crate::{
    flv::Tag,
    rtmp::{Event, Viewer},
    wait,
};

/// The pause before a viewer that was cut joins again.
const REJOIN: Duration = Duration::from_millis(50);

/// Viewers of one stream, each a task. One that is cut is counted, and joins again.
pub struct Crowd {
    watchers: Vec<Watcher>,
}

/// What a crowd saw in a while.
#[derive(Debug, Default, Clone)]
pub struct Sight {
    /// How often a viewer was cut or told that the stream is over, and why.
    pub cuts: Vec<String>,
    /// What did not come as it was sent.
    pub counts: Counts,
    /// For each viewer the longest time without a video frame.
    pub gaps: Vec<Duration>,
    /// From each video frame to the next, at every viewer.
    pub intervals: Vec<Duration>,
}

struct Watcher {
    log: Arc<Mutex<Log>>,
    ledger: Ledger,
    task: JoinHandle<()>,
}

/// What happened at a viewer since it was last looked at.
#[derive(Default)]
struct Log {
    entries: Vec<Entry>,
}

enum Entry {
    Joined,
    Frame(Arrival),
    Cut(String),
}

impl Crowd {
    /// One viewer for each address: `rtmp://…` or `http://….flv`.
    pub fn join(urls: impl IntoIterator<Item = String>) -> Self {
        let watcher = |url: String| {
            let log = Arc::new(Mutex::new(Log::default()));
            let task = tokio::spawn(watch(url, log.clone()));
            Watcher { log, ledger: Ledger::default(), task }
        };
        Self { watchers: urls.into_iter().map(watcher).collect() }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.watchers.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.watchers.is_empty()
    }

    /// Looks at what came since the last look: who was cut, what was lost, and each viewer's longest pause since `from`. What is
    /// missing is lost if the source handed it to a socket.
    pub fn look(&mut self, source: &Source, from: Instant) -> Sight {
        let mut sight = Sight::default();
        let end = Instant::now();
        for watcher in &mut self.watchers {
            watcher.look(source, from, end, &mut sight);
        }
        sight
    }

    /// Waits until every viewer has seen a video frame that was sent after this call. Gives how many have not within the limit.
    pub fn stuck(&self, source: &Source, limit: Duration) -> usize {
        let target = source.due(Lane::Video);
        let stuck = || self.watchers.iter().filter(|watcher| !watcher.has_reached(target)).count();
        wait::maybe(limit, || (stuck() == 0).then_some(())).map_or_else(stuck, |()| 0)
    }

    /// The last things that each viewer was told, for people.
    pub fn told(&self) -> String {
        let tell = |watcher: &Watcher| {
            let log = watcher.log();
            let last = log.entries.iter().rev().find_map(|entry| match entry {
                Entry::Cut(why) => Some(why.clone()),
                _ => None,
            });
            let highest = watcher.ledger.next(Lane::Video);
            format!("  next video {highest:?}, {} entries, last cut {last:?}\n", log.entries.len())
        };
        self.watchers.iter().map(tell).collect()
    }
}

impl Watcher {
    fn look(&mut self, source: &Source, from: Instant, end: Instant, sight: &mut Sight) {
        let entries = std::mem::take(&mut self.log().entries);
        let mut last = self.ledger.last_video();
        // The last frame before `from`, whenever it was looked at.
        let mut before = last.filter(|at| *at <= from);
        let mut video = Vec::new();
        for entry in entries {
            match entry {
                Entry::Joined => self.ledger.joined(),
                Entry::Cut(why) => sight.cuts.push(why),
                Entry::Frame(arrival) => {
                    sight.counts += self.ledger.take(&arrival);
                    if arrival.lane == Lane::Video {
                        sight.intervals.extend(last.map(|last| arrival.at - last).filter(|_| arrival.at > from));
                        last = Some(arrival.at);
                        match arrival.at <= from {
                            true => before = Some(arrival.at),
                            false => video.push(arrival.at),
                        }
                    }
                }
            }
        }
        sight.counts.lost += self.ledger.settle(|lane, number| source.sent(lane, number).is_some());
        sight.gaps.push(longest_gap(before, video, from, end));
    }

    fn has_reached(&self, number: u32) -> bool {
        let seen = |entry: &Entry| matches!(entry, Entry::Frame(a) if a.lane == Lane::Video && a.number >= number);
        self.ledger.next(Lane::Video).is_some_and(|next| next > number) || self.log().entries.iter().rev().any(seen)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no holder panics")
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(url: String, log: Arc<Mutex<Log>>) {
    loop {
        let error = match url.starts_with("rtmp") {
            true => over_rtmp(&url, &log).await,
            false => over_http(&url, &log).await,
        };
        let why = error.map_or_else(|error| format!("{url}: {error:#}"), |()| format!("{url}: closed"));
        note(&log, Entry::Cut(why));
        tokio::time::sleep(REJOIN).await;
    }
}

async fn over_rtmp(url: &str, log: &Mutex<Log>) -> Result<()> {
    let mut viewer = Viewer::join(url).await?;
    note(log, Entry::Joined);
    loop {
        match viewer.next().await? {
            Event::Media(tag) => take(log, &tag),
            Event::Status(status) if status.level == "error" || status.code.ends_with("UnpublishNotify") => {
                bail!("told {}", status.code)
            }
            Event::Status(_) => {}
            Event::StreamEof => bail!("told StreamEOF"),
            Event::Closed => return Ok(()),
        }
    }
}

async fn over_http(url: &str, log: &Mutex<Log>) -> Result<()> {
    let mut body = Body::open(url).await?;
    note(log, Entry::Joined);
    while let Some(tag) = body.next().await? {
        take(log, &tag);
    }
    Ok(())
}

fn take(log: &Mutex<Log>, tag: &Tag) {
    if let Some((lane, number)) = stamp::read(tag) {
        note(log, Entry::Frame(Arrival { at: Instant::now(), lane, number, dts: tag.timestamp }));
    }
}

fn note(log: &Mutex<Log>, entry: Entry) {
    log.lock().expect("no holder panics").entries.push(entry);
}
