//! The viewers of one thread: a small task each, one buffer for all, no lock.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    pin::Pin,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead as _, ReadBuf},
    runtime::Builder,
    sync::watch,
    task::{LocalSet, spawn_local, yield_now},
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout},
};

use super::{
    crowd::{Live, Outcome, Plan, Stage, pack},
    link::Link,
    stamp::now_us,
    viewer::{Book, Gone, Viewer},
};

/// The part of a thread: of the plan's viewers those with its number.
pub(super) struct Share {
    /// All viewers.
    pub plan: Arc<Plan>,
    /// Which thread this is.
    pub number: usize,
    /// How many there are.
    pub of: usize,
}

/// What viewers of a thread have in common.
struct Hall {
    plan: Arc<Plan>,
    stage: watch::Receiver<Stage>,
    measuring: Arc<AtomicBool>,
    live: Arc<Live>,
    buffer: RefCell<Vec<u8>>,
    outcome: RefCell<Outcome>,
}

/// What stays of a viewer when its task is gone.
#[derive(Default)]
struct Seat {
    book: RefCell<Book>,
    /// Granted the stream, and reading.
    reads: Cell<bool>,
}

/// Why a connection is over.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error(transparent)]
    Gone(#[from] Gone),
    #[error("closed by the server")]
    Closed,
    #[error("{}", .0.kind())]
    Io(#[from] io::Error),
    #[error("no connection: {0}")]
    Connect(#[from] super::link::Error),
    #[error("no answer in time")]
    NoAnswer,
    /// Its own wish: to leave, or to have been one that does not read.
    #[error("left")]
    Left,
}

/// One read takes no more: a thread's viewers take turns.
const READ_BYTES: usize = 128 * 1024;
/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a server may take to grant the stream.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long frames that are on their way may take when all is over.
const DRAIN: Duration = Duration::from_secs(10);
/// How long whoever did not read looks for an end behind what came.
const STALLED_DRAIN: Duration = Duration::from_secs(1);
/// How often it is looked at whether something has come that no event tells.
const LOOK: Duration = Duration::from_millis(20);

/// Looks after a thread's viewers until all is over.
pub(super) fn run(
    share: Share,
    measuring: Arc<AtomicBool>,
    stage: watch::Receiver<Stage>,
    live: Arc<Live>,
) -> anyhow::Result<Outcome> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let hall = Rc::new(Hall {
        plan: share.plan.clone(),
        stage,
        measuring,
        live,
        buffer: RefCell::new(vec![0; READ_BYTES]),
        outcome: RefCell::new(Outcome::new()),
    });
    let tasks = LocalSet::new();
    let outcome = tasks.block_on(&runtime, hall.run(&share));
    Ok(outcome)
}

impl Hall {
    async fn run(self: Rc<Self>, share: &Share) -> Outcome {
        let mut stage = self.stage.clone();
        if self.plan.awake {
            spawn_local(stay_awake());
        }
        let mut seats = Vec::new();
        let mut joins = interval(Duration::from_secs_f64(share.of as f64 / self.plan.ramp));
        joins.set_missed_tick_behavior(MissedTickBehavior::Burst);
        for number in (share.number..self.plan.viewers).step_by(share.of) {
            tokio::select! {
                _ = joins.tick() => {}
                _ = stage.wait_for(|stage| *stage != Stage::Watch) => break,
            }
            let seat = Rc::new(Seat::default());
            seats.push(seat.clone());
            spawn_local(self.clone().attend(number, seat));
        }
        let ends = match stage.wait_for(|stage| *stage != Stage::Watch).await.as_deref() {
            Ok(Stage::Drain(ends)) => *ends,
            // Whoever tells is gone.
            _ => [None; 2],
        };
        let missing =
            || seats.iter().filter(|seat| seat.reads.get()).map(|seat| seat.book.borrow().missing_to(ends)).sum();
        let until = Instant::now() + DRAIN;
        let mut looks = interval(LOOK);
        let mut left: u64 = missing();
        while left > 0 && Instant::now() < until {
            looks.tick().await;
            left = missing();
        }
        if self.plan.stalled > 0.0 {
            sleep(STALLED_DRAIN + LOOK).await;
        }
        let mut outcome = self.outcome.replace(Outcome::new());
        outcome.missing = left;
        for ledger in
            seats.iter().flat_map(|seat| seat.book.borrow().ledgers.into_iter().enumerate().collect::<Vec<_>>())
        {
            outcome.counts[ledger.0] += ledger.1.count;
        }
        outcome
    }

    /// One viewer, from its first join on.
    async fn attend(self: Rc<Self>, number: usize, seat: Rc<Seat>) {
        let mut settled = false;
        loop {
            add(&self.live.joins, 1);
            let mut granted = false;
            let watching = self.watch(number, &seat, || {
                granted = true;
                seat.reads.set(true);
                add(&self.live.up, 1);
                add(&self.live.settled, u64::from(!std::mem::replace(&mut settled, true)));
            });
            let end = watching.await;
            if granted {
                seat.reads.set(false);
                self.live.up.fetch_sub(1, Relaxed);
            }
            match end {
                Err(End::Left) | Ok(()) if self.plan.stay.is_some() => continue,
                Err(End::Left) | Ok(()) => {}
                Err(end) => {
                    add(&self.live.settled, u64::from(!settled));
                    let reason = end.to_string();
                    tracing::debug!(number, reason, "load.viewer_gone");
                    *self.outcome.borrow_mut().ended.entry(reason).or_default() += 1;
                }
            }
            return;
        }
    }

    /// One join, up to its end.
    async fn watch(&self, number: usize, seat: &Seat, granted: impl FnOnce()) -> Result<(), End> {
        let asked = Instant::now();
        let target = &self.plan.targets[number % self.plan.targets.len()];
        let connecting = timeout(CONNECT_TIMEOUT, Link::connect(target, &self.plan.options, self.plan.from));
        let mut link = connecting.await.map_err(|_| End::NoAnswer)??;
        let mut viewer = Viewer::new(&target.url, asked.into_std());
        seat.book.borrow_mut().on_join();
        let opening = async {
            send(&mut link, &mut viewer).await?;
            while !viewer.plays() {
                self.turn(&mut link, &mut viewer, seat).await?;
            }
            Ok(())
        };
        timeout(ANSWER_TIMEOUT, opening).await.unwrap_or(Err(End::NoAnswer))?;
        granted();
        while !seat.book.borrow().has_frames {
            self.turn(&mut link, &mut viewer, seat).await?;
        }
        self.outcome.borrow_mut().first.record_duration(asked.elapsed());
        if self.plan.stalls(number) {
            return self.stall(link, seat).await;
        }
        let reading = async {
            loop {
                self.turn(&mut link, &mut viewer, seat).await?;
            }
        };
        match self.plan.stay {
            None => reading.await,
            Some(stay) => timeout(stay, reading).await.unwrap_or(Err(End::Left)),
        }
    }

    /// Waits for bytes, takes them, answers.
    async fn turn(&self, link: &mut Link, viewer: &mut Viewer, seat: &Seat) -> Result<(), End> {
        poll_fn(|cx| self.poll_turn(cx, link, viewer, seat)).await?;
        send(link, viewer).await
    }

    fn poll_turn(
        &self,
        cx: &mut Context<'_>,
        link: &mut Link,
        viewer: &mut Viewer,
        seat: &Seat,
    ) -> Poll<Result<(), End>> {
        let mut buffer = self.buffer.borrow_mut();
        let mut read = ReadBuf::new(&mut buffer);
        ready!(Pin::new(link).poll_read(cx, &mut read))?;
        let bytes = read.filled();
        if bytes.is_empty() {
            return Poll::Ready(Err(End::Closed));
        }
        let (mut book, mut outcome) = (seat.book.borrow_mut(), self.outcome.borrow_mut());
        let before = totals(&book);
        let latencies = self.measuring.load(Relaxed).then_some(&mut outcome.latencies);
        let handled = viewer.handle_bytes(bytes, now_us(), &mut book, latencies);
        let after = totals(&book);
        add(&self.live.bytes, bytes.len() as u64);
        add(&self.live.frames, after.0 - before.0);
        add(&self.live.lost, after.1.wrapping_sub(before.1));
        for (ledger, highest) in book.ledgers.iter().zip(&self.live.highest) {
            if let Some(number) = ledger.highest().map(pack).filter(|number| *number > highest.load(Relaxed)) {
                highest.store(number, Relaxed);
            }
        }
        Poll::Ready(handled.map_err(End::from))
    }

    /// Reads nothing until all is over; then looks whether there is an end behind what it did not read.
    async fn stall(&self, mut link: Link, seat: &Seat) -> Result<(), End> {
        let since = Instant::now();
        seat.reads.set(false);
        self.outcome.borrow_mut().stalled += 1;
        let mut stage = self.stage.clone();
        let mut looks = interval(LOOK);
        loop {
            tokio::select! {
                _ = looks.tick() => {
                    if let Some(error) = link.take_error() {
                        tracing::debug!(%error, "load.stalled_viewer_cut");
                        self.outcome.borrow_mut().cut.record_duration(since.elapsed());
                        return Err(End::Left);
                    }
                }
                _ = stage.wait_for(|stage| *stage != Stage::Watch) => break,
            }
        }
        let over = Instant::now();
        tokio::select! {
            () = poll_fn(|cx| self.poll_drop(cx, &mut link)) => {
                self.outcome.borrow_mut().cut.record_duration(over - since);
            }
            () = sleep_until(over + STALLED_DRAIN) => {}
        }
        Err(End::Left)
    }

    /// Reads what nobody wants, to its end.
    fn poll_drop(&self, cx: &mut Context<'_>, link: &mut Link) -> Poll<()> {
        let mut buffer = self.buffer.borrow_mut();
        loop {
            let mut read = ReadBuf::new(&mut buffer);
            match ready!(Pin::new(&mut *link).poll_read(cx, &mut read)) {
                Err(_) => return Poll::Ready(()),
                Ok(()) if read.filled().is_empty() => return Poll::Ready(()),
                Ok(()) => {}
            }
        }
    }
}

/// Has something to do as long as the thread runs, so that it looks for news and never waits for it.
async fn stay_awake() {
    loop {
        yield_now().await;
    }
}

async fn send(link: &mut Link, viewer: &mut Viewer) -> Result<(), End> {
    match viewer.poll_output() {
        Some(bytes) => Ok(link.write_all(&bytes).await?),
        None => Ok(()),
    }
}

/// Received and lost.
fn totals(book: &Book) -> (u64, u64) {
    book.ledgers
        .iter()
        .fold((0, 0), |(received, lost), ledger| (received + ledger.count.received, lost + ledger.count.lost))
}

/// Adds to a number that this thread alone changes; what is negative wraps.
fn add(number: &AtomicU64, more: u64) {
    if more > 0 {
        number.store(number.load(Relaxed).wrapping_add(more), Relaxed);
    }
}
