//! The publisher: a thread of its own, so that viewers who have much to read do not keep it waiting.

use std::{
    io,
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use anyhow::{Context as _, bail};
use media::StreamUrl;
use rtmp_net::client::{self, Error, Options, Publisher};
use tokio::{
    runtime::Builder,
    sync::watch,
    time::{Instant, sleep, sleep_until, timeout},
};

use super::{
    shape::{Shape, due},
    spread::{self, Spread},
    stamp::{LANES, Stamp, now_us},
};

/// How long the server may take to let it in.
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(20);
/// The pause before it tries again after it was cut.
const PAUSE: Duration = Duration::from_millis(500);
/// How long it may take to end in good order.
const END_TIMEOUT: Duration = Duration::from_secs(3);

/// A stamped stream that is being published, until it is dropped or ended.
pub(super) struct Source {
    log: Arc<Log>,
    told: watch::Receiver<Told>,
    stop: watch::Sender<bool>,
    thread: JoinHandle<()>,
}

/// What a source has done.
struct Log {
    run: u32,
    /// How many frames of each lane were handed to the socket.
    sent: [AtomicU64; 2],
    cuts: AtomicU64,
    late: Mutex<Spread>,
}

#[derive(Debug, Clone)]
enum Told {
    Nothing,
    Accepted,
    Refused(String),
}

/// What there is to say about a source in the end.
#[derive(Debug, serde::Serialize)]
pub(super) struct Summary {
    /// Video frames sent.
    pub video: u64,
    /// Audio frames sent.
    pub audio: u64,
    /// How often it was cut and published again.
    pub cuts: u64,
    /// How long after its time each frame was sent: this machine's part in what viewers see.
    pub late_ms: Option<spread::Summary>,
}

impl Source {
    /// Publishes; returns once the server has let it in.
    pub(super) async fn start(url: &StreamUrl, options: Options, shape: Shape) -> anyhow::Result<Self> {
        // Seconds since 1970 fit into 32 bits until 2106.
        let run = (now_us() / 1_000_000) as u32;
        let log =
            Arc::new(Log { run, sent: Default::default(), cuts: AtomicU64::new(0), late: Mutex::new(Spread::new()) });
        let (tell, mut told) = watch::channel(Told::Nothing);
        let (stop, stopped) = watch::channel(false);
        let source = Run { url: url.clone(), options, shape, log: log.clone(), tell };
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let thread =
            thread::Builder::new().name("source".to_owned()).spawn(move || runtime.block_on(source.run(stopped)))?;
        let heard = timeout(ACCEPT_TIMEOUT, told.wait_for(|told| !matches!(told, Told::Nothing))).await;
        match heard.with_context(|| format!("cannot publish to {url}: no answer in time"))?.as_deref() {
            Ok(Told::Refused(why)) => bail!("cannot publish to {url}: {why}"),
            Ok(_) => {}
            Err(_) => bail!("cannot publish to {url}"),
        }
        Ok(Self { log, told, stop, thread })
    }

    /// The publication and the highest number of each lane that was sent.
    pub(super) fn ends(&self) -> [Option<(u32, u32)>; 2] {
        let last = |sent: &AtomicU64| sent.load(Relaxed).checked_sub(1).map(|number| (self.log.run, number as u32));
        [last(&self.log.sent[0]), last(&self.log.sent[1])]
    }

    /// One line about it.
    pub(super) fn progress(&self) -> String {
        let [video, audio] = [0, 1].map(|lane| self.log.sent[lane].load(Relaxed));
        let state = if matches!(*self.told.borrow(), Told::Accepted) { "" } else { " (cut)" };
        format!("sent {video} video, {audio} audio{state}")
    }

    /// Ends the publication in good order.
    pub(super) async fn end(self) -> anyhow::Result<Summary> {
        self.stop.send_replace(true);
        let thread = self.thread;
        tokio::task::spawn_blocking(move || thread.join()).await?.ok().context("the publisher panicked")?;
        let [video, audio] = [0, 1].map(|lane| self.log.sent[lane].load(Relaxed));
        let late_ms = self.log.late().summary();
        Ok(Summary { video, audio, cuts: self.log.cuts.load(Relaxed), late_ms })
    }
}

impl Log {
    fn late(&self) -> MutexGuard<'_, Spread> {
        self.late.lock().expect("no holder panics")
    }
}

/// What the thread does.
struct Run {
    url: StreamUrl,
    options: Options,
    shape: Shape,
    log: Arc<Log>,
    tell: watch::Sender<Told>,
}

impl Run {
    async fn run(self, mut stopped: watch::Receiver<bool>) {
        loop {
            let ended = tokio::select! {
                ended = self.publish(stopped.clone()) => ended,
                // It is told before it has begun.
                _ = stopped.wait_for(|stop| *stop), if !self.is_accepted() => return,
            };
            match ended {
                Ok(()) => return,
                Err(error) => {
                    let error = error.to_string();
                    tracing::warn!(%error, "load.publisher_cut");
                    self.log.cuts.fetch_add(u64::from(self.is_accepted()), Relaxed);
                    self.tell.send_replace(Told::Refused(error));
                }
            }
            tokio::select! {
                () = sleep(PAUSE) => {}
                _ = stopped.wait_for(|stop| *stop) => return,
            }
        }
    }

    fn is_accepted(&self) -> bool {
        matches!(*self.tell.borrow(), Told::Accepted)
    }

    /// Until it is to stop; an error says why it was cut.
    async fn publish(&self, mut stopped: watch::Receiver<bool>) -> Result<(), Error> {
        let mut publisher = client::publish(&self.url, &self.options).await?;
        for config in self.shape.configs() {
            publisher.send(&config).await?;
        }
        self.tell.send_replace(Told::Accepted);
        // Numbers and times go on where they were cut.
        let lanes = self.shape.lanes();
        let next = |lane: usize| self.log.sent[lane].load(Relaxed) as u32;
        let done = lanes.iter().map(|lane| due(*lane, next(lane.index()))).min().unwrap_or_default();
        let start = Instant::now() - done;
        loop {
            let lane = lanes.iter().copied().min_by_key(|lane| due(*lane, next(lane.index()))).unwrap_or(LANES[1]);
            let number = next(lane.index());
            let time = due(lane, number);
            tokio::select! {
                () = sleep_until(start + time) => {}
                error = publisher.ended() => return Err(error),
                _ = stopped.wait_for(|stop| *stop) => return self.close(publisher).await,
            }
            self.log.late().record_duration(start.elapsed().saturating_sub(time));
            let stamp = Stamp { run: self.log.run, number, sent_us: now_us() };
            // RTMP's times wrap.
            let frame = self.shape.frame(lane, stamp, time.as_millis() as u32);
            self.log.sent[lane.index()].fetch_add(1, Relaxed);
            publisher.send(&frame).await?;
        }
    }

    async fn close(&self, publisher: Publisher) -> Result<(), Error> {
        timeout(END_TIMEOUT, publisher.close())
            .await
            .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
    }
}
