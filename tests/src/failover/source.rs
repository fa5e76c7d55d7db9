//! An encoder that stamps its frames, and comes back when it is cut.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use anyhow::{Context, Result, bail};
use tokio::{
    sync::{Notify, watch},
    task::JoinHandle,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::stamp::{self, GOP, LANES, Lane};
use crate::{
    rtmp::{Publisher, status},
    wait::{self, SOON},
};

/// How long one attempt to publish may take before the next address is tried.
const ATTEMPT: Duration = Duration::from_secs(2);
/// The pause between two attempts.
const PAUSE: Duration = Duration::from_millis(20);
/// The longest that a source publishes, so that a test which hangs does not fill the memory.
const LONGEST: Duration = Duration::from_secs(3 * 3600);

/// A stamped publication in the background: 30 video frames a second, a keyframe each second, and audio. Its time goes on while it is
/// cut: frames that were due then are never sent.
pub struct Source {
    log: Arc<Mutex<Log>>,
    end: watch::Sender<bool>,
    hang_up: Arc<Notify>,
    task: JoinHandle<()>,
}

/// What happened to an encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    /// It may publish.
    Accepted,
    /// It was not let in: why.
    Refused(String),
    /// It was cut: why.
    Cut(String),
}

#[derive(Default)]
struct Log {
    /// By lane and number: when the frame was handed to the socket, if it was.
    sent: [Vec<Option<std::time::Instant>>; 2],
    told: Vec<(std::time::Instant, Told)>,
}

impl Source {
    /// Publishes to the first of these addresses that lets it in, and does so again whenever it is cut.
    pub fn start(urls: &[String]) -> Self {
        let log = Arc::new(Mutex::new(Log::default()));
        let (end, ended) = watch::channel(false);
        let hang_up = Arc::new(Notify::new());
        let (urls, start) = (urls.to_vec(), Instant::now());
        let run = Run { urls, start, next: [0; 2], log: log.clone(), hang_up: hang_up.clone() };
        Self { log, end, hang_up, task: tokio::spawn(run.run(ended)) }
    }

    /// Closes the connection without a word; the next attempt goes to the next address.
    pub fn hang_up(&self) {
        self.hang_up.notify_one();
    }

    /// Waits until it may publish.
    #[track_caller]
    pub fn wait_accepted(&self) {
        let accepted = || self.told().into_iter().find(|(_, told)| *told == Told::Accepted);
        wait::until("an encoder to be let in", SOON, accepted);
    }

    /// What it was told so far, and when.
    pub fn told(&self) -> Vec<(std::time::Instant, Told)> {
        self.log().told.clone()
    }

    /// When it was first let in again after this moment.
    pub fn accepted_after(&self, moment: std::time::Instant) -> Option<std::time::Instant> {
        self.log().told.iter().find(|(at, told)| *at > moment && *told == Told::Accepted).map(|(at, _)| *at)
    }

    /// How often it was cut since this moment.
    pub fn cuts_since(&self, moment: std::time::Instant) -> usize {
        self.log().told.iter().filter(|(at, told)| *at >= moment && matches!(told, Told::Cut(_))).count()
    }

    /// When the frame of this number was handed to a socket; `None` when it never was.
    pub fn sent(&self, lane: Lane, number: u32) -> Option<std::time::Instant> {
        self.log().sent[lane.index()].get(number as usize).copied().flatten()
    }

    /// How many frames of a lane were due so far, sent or not.
    pub fn due(&self, lane: Lane) -> u32 {
        self.log().sent[lane.index()].len() as u32
    }

    /// Ends the publication properly.
    pub async fn end(self) {
        self.end.send_replace(true);
        if timeout(SOON, self.task).await.is_err() {
            eprintln!("an encoder did not end within {SOON:?}");
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().expect("no holder panics")
    }
}

struct Run {
    urls: Vec<String>,
    start: Instant,
    next: [u32; 2],
    log: Arc<Mutex<Log>>,
    hang_up: Arc<Notify>,
}

impl Run {
    async fn run(mut self, mut ended: watch::Receiver<bool>) {
        for attempt in 0.. {
            if *ended.borrow() || self.start.elapsed() > LONGEST {
                return;
            }
            let url = self.urls[attempt % self.urls.len()].clone();
            match timeout(ATTEMPT, Publisher::open(&url)).await.context("no answer").flatten() {
                Ok(publisher) => {
                    self.tell(Told::Accepted);
                    if let Err(error) = self.publish(publisher, &url, &mut ended).await {
                        self.tell(Told::Cut(format!("{error:#}")));
                    }
                }
                Err(error) => {
                    self.tell(Told::Refused(format!("{url}: {error:#}")));
                    sleep(PAUSE).await;
                }
            }
        }
    }

    /// Until the end is asked for; an error says why it was cut.
    async fn publish(&mut self, mut publisher: Publisher, url: &str, ended: &mut watch::Receiver<bool>) -> Result<()> {
        self.leave_out_what_was_due();
        // As encoders do: each publication begins at 0, with set-up and a keyframe.
        let base = self.start + Lane::Video.due(self.next[0]).min(Lane::Audio.due(self.next[1]));
        publisher.send_metadata(("framerate", 30.0), false).await?;
        for config in stamp::configs(0) {
            publisher.send(&config).await?;
        }
        let mut first = true;
        while self.start.elapsed() < LONGEST {
            let lane = LANES.into_iter().min_by_key(|lane| lane.due(self.next[lane.index()])).expect("two lanes");
            let number = self.next[lane.index()];
            let due = self.start + lane.due(number);
            tokio::select! {
                () = sleep_until(due) => {
                    let time = due.saturating_duration_since(base).as_millis() as u32;
                    let tag = match lane {
                        Lane::Video => stamp::video(number, time, first || number.is_multiple_of(GOP)),
                        Lane::Audio => stamp::audio(number, time),
                    };
                    let at = std::time::Instant::now();
                    publisher.send(&tag).await?;
                    first &= lane == Lane::Audio;
                    self.note(lane, Some(at));
                }
                readable = publisher.connection.readable() => {
                    readable?;
                    hear(&mut publisher).await?;
                }
                () = self.hang_up.notified() => bail!("it hung up"),
                _ = ended.changed() => {
                    let name = url.rsplit('/').next().unwrap_or_default();
                    publisher.end(name).await?;
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn leave_out_what_was_due(&mut self) {
        for lane in LANES {
            while self.start + lane.due(self.next[lane.index()]) < Instant::now() {
                self.note(lane, None);
            }
        }
    }

    fn note(&mut self, lane: Lane, at: Option<std::time::Instant>) {
        self.next[lane.index()] += 1;
        self.log.lock().expect("no holder panics").sent[lane.index()].push(at);
    }

    fn tell(&self, told: Told) {
        self.log.lock().expect("no holder panics").told.push((std::time::Instant::now(), told));
    }
}

/// Reads what the server says; an error when it says, or shows, that this is the end.
async fn hear(publisher: &mut Publisher) -> Result<()> {
    let (messages, open) = publisher.connection.take().await?;
    for status in messages.iter().filter_map(status) {
        if status.level == "error" {
            bail!("the server says {}", status.code);
        }
    }
    if !open {
        bail!("the server closed");
    }
    Ok(())
}
