//! One connection: its socket, its session and its streams, driven by one task.

mod bell;
mod io;
mod publishing;
mod rate;
mod requests;
mod viewing;

use std::{
    future::poll_fn,
    net::SocketAddr,
    pin::pin,
    sync::Arc,
    task::{Context, Poll},
};

use rtmp::{
    command::status::{Status, code},
    server::Event,
};
use tokio::{
    task::{consume_budget, yield_now},
    time::{Instant, sleep_until, timeout},
};

pub(crate) use self::io::poll_scratch;
use self::{
    bell::Bell,
    io::Wire,
    publishing::Publishing,
    rate::Rate,
    requests::Pending,
    viewing::{Plays, Viewing},
};
use crate::{
    connections::{Greeted, Shared, Signals},
    ended::Ended,
    service::Service,
    sessions::{Entry, Kind},
    stats::add,
    target::Target,
    transport::Transport,
};

/// One client's connection.
pub(crate) struct Connection<S: Service, T: Transport> {
    shared: Arc<Shared<S>>,
    interrupts: Arc<Interrupts>,
    wire: Wire<T>,
    peer: SocketAddr,
    started_at: Instant,
    target: Option<Target>,
    first_frame_due: bool,
    pending: Vec<Pending<S::Ingest>>,
    publishing: Vec<Publishing<S::Ingest>>,
    /// Of all that it publishes, at once and one after the other.
    rate: Option<Rate>,
    viewing: Vec<Viewing>,
    /// How often in a row there was something to read at once.
    reads: u8,
}

/// So often in one turn a client is read, some milliseconds of work at worst: who sends faster than it can be heard keeps its
/// thread from nobody. The socket's reads are not counted by the runtime, which would otherwise see to that.
const READS_A_TURN: u8 = 2;

/// What ends a connection from outside.
struct Interrupts {
    entry: Entry,
    signals: Signals,
}

/// What needs more than the next frames.
enum Woke<I> {
    Read(usize),
    Decided(usize, requests::Decision<I>),
    /// A write, or the end of a play, has changed what the session may do next, or when a deadline passes.
    LookAgain,
    Time,
    Interrupted(Ended),
}

impl<S: Service, T: Transport> Connection<S, T> {
    pub(crate) fn new(shared: Arc<Shared<S>>, greeted: Greeted<T>, signals: Signals) -> Self {
        let Greeted { transport, session, entry, peer, since } = greeted;
        Self {
            interrupts: Arc::new(Interrupts { entry, signals }),
            wire: Wire::new(transport, session),
            rate: shared.session_config.limits.publish_bytes_per_second.map(Rate::new),
            shared,
            peer,
            started_at: since,
            target: None,
            first_frame_due: true,
            pending: Vec::new(),
            publishing: Vec::new(),
            viewing: Vec::new(),
            reads: 0,
        }
    }

    /// Serves the client until one side has had enough.
    ///
    /// An `async fn` would hold the connection twice, as its argument and as its variable.
    #[expect(clippy::manual_async_fn)]
    pub(crate) fn run(mut self) -> impl Future<Output = ()> + Send {
        async move { self.serve().await }
    }

    async fn serve(&mut self) {
        let ended = match self.drive().await {
            Ok(never) => match never {},
            Err(ended) => ended,
        };
        self.shared.stats.count_ended(&ended);
        self.shared.stats.add_seen(self.wire.session.stats());
        let session = self.interrupts.entry.id();
        tracing::debug!(%session, peer = %self.peer, reason = ended.reason(), error = %ended, "connection.ended");
        self.finish(&ended).await;
    }

    async fn drive(&mut self) -> Result<std::convert::Infallible, Ended> {
        let interrupts = self.interrupts.clone();
        let mut interrupted = pin!(interrupts.wait());
        let mut timer = pin!(sleep_until(self.deadline()));
        let mut bell = Bell::default();
        loop {
            self.handle_events().await?;
            self.put_out()?;
            // Most deadlines only ever move on: a timer that fires too soon for one costs less than to move it each time.
            let deadline = self.deadline();
            if deadline < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(deadline);
            }
            bell.ring();
            let woke = poll_fn(|cx| {
                if bell.was_rung(cx) {
                    self.wire.note_readable();
                    let waker = bell.waker();
                    let cx = &mut Context::from_waker(&waker);
                    // In this order, so that no flood of bytes hides an end or a deadline.
                    if let Poll::Ready(ended) = interrupted.as_mut().poll(cx) {
                        return Poll::Ready(Ok(Woke::Interrupted(ended)));
                    }
                    if timer.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Ok(Woke::Time));
                    }
                    if let Poll::Ready((at, decision)) = requests::poll_decision(&mut self.pending, cx) {
                        return Poll::Ready(Ok(Woke::Decided(at, decision)));
                    }
                }
                self.poll_moved(&bell, cx)
            });
            match woke.await? {
                Woke::Read(count) => {
                    self.on_read(count as u64);
                    if self.reads >= READS_A_TURN {
                        self.reads = 0;
                        yield_now().await;
                    }
                }
                Woke::Decided(at, decision) => self.on_decision(at, decision),
                Woke::LookAgain => {}
                Woke::Time => self.on_time()?,
                Woke::Interrupted(ended) => return Err(ended),
            }
        }
    }

    /// Sends what is due, frame after frame, and reads what came.
    fn poll_moved(&mut self, bell: &Bell, cx: &mut Context<'_>) -> Poll<Result<Woke<S::Ingest>, Ended>> {
        loop {
            let written = self.wire.write(cx)?;
            self.on_written(written.bytes as u64);
            if written.look_again {
                return Poll::Ready(Ok(Woke::LookAgain));
            }
            if !self.wire.is_drained() {
                // Asked at least as often as the client may be taken to have stalled: the timer sees to that.
                if self.is_overdue() {
                    return Poll::Ready(Err(Ended::Behind));
                }
                break;
            }
            if self.poll_more(cx).is_pending() {
                break;
            }
            match self.put_out_frames()? {
                Plays::GoOn => {}
                Plays::OneIsOver => return Poll::Ready(Ok(Woke::LookAgain)),
            }
        }
        if !self.wire.wants_read() {
            return Poll::Pending;
        }
        let read = self.wire.poll_read(&mut Context::from_waker(&bell.waker()));
        self.reads = if read.is_ready() { self.reads + 1 } else { 0 };
        read.map_ok(Woke::Read)
    }

    async fn handle_events(&mut self) -> Result<(), Ended> {
        while let Some(event) = self.wire.session.poll_event() {
            // One read may be as many messages as it has bytes: after some of them it is others' turn.
            consume_budget().await;
            match event {
                Event::Connect(request) => self.on_connect(request),
                Event::Publish(request) => self.on_publish(request),
                Event::Play(request) => self.on_play(request),
                Event::Media { msid, message } => {
                    self.note_first_frame();
                    add(&self.shared.stats.frames_in, 1);
                    self.on_media(msid, message).await?;
                }
                Event::MetadataCleared { msid } => self.on_metadata_cleared(msid).await?,
                Event::Unpublished { msid } => self.on_unpublished(msid).await?,
                Event::PlayEnded { msid } => self.forget_play(msid),
                Event::Paused { msid, paused } => self.with_viewing(msid, |viewing| viewing.set_paused(paused)),
                Event::Receive { msid, medium, wanted } => {
                    self.with_viewing(msid, |viewing| viewing.set_wanted(medium, wanted));
                }
                Event::Closed(closed) => return Err(closed.into()),
            }
        }
        Ok(())
    }

    fn on_written(&mut self, bytes: u64) {
        if bytes > 0 {
            self.interrupts.entry.add_out(bytes);
            add(&self.shared.stats.bytes_out, bytes);
        }
    }

    fn on_read(&mut self, bytes: u64) {
        self.interrupts.entry.add_in(bytes);
        add(&self.shared.stats.bytes_in, bytes);
    }

    /// Says what operators see of the session. One that publishes does so also while it plays something.
    fn note_role(&self) {
        let entry = &self.interrupts.entry;
        match (self.publishing.first(), self.viewing.first()) {
            (Some(publishing), _) => entry.set(Kind::Publish, publishing.stream().clone()),
            (None, Some(viewing)) => entry.set(Kind::Play, viewing.stream().clone()),
            (None, None) => entry.set_idle(),
        }
    }

    fn note_first_frame(&mut self) {
        if std::mem::take(&mut self.first_frame_due) {
            self.shared.stats.first_frame.add(self.started_at.elapsed());
        }
    }

    fn deadline(&self) -> Instant {
        let session = self.wire.session.poll_timeout().map(Instant::from_std);
        // A day stands for never.
        let never = || Instant::now() + std::time::Duration::from_secs(86_400);
        session.into_iter().chain(self.stall_at()).min().unwrap_or_else(never)
    }

    /// When the client will have taken nothing for too long, if something waits.
    fn stall_at(&self) -> Option<Instant> {
        self.wire.halted_at().map(|at| at + self.shared.session_config.limits.stall_timeout)
    }

    fn on_time(&mut self) -> Result<(), Ended> {
        let now = Instant::now();
        if self.stall_at().is_some_and(|at| at <= now) {
            return Err(Ended::Stalled);
        }
        self.wire.session.handle_timeout(now.into_std());
        Ok(())
    }

    /// What is left to do for the streams, and to say to the client.
    async fn finish(&mut self, ended: &Ended) {
        self.get_up();
        self.pending.clear();
        self.viewing.clear();
        for publishing in std::mem::take(&mut self.publishing) {
            // An operator's word is as good as the encoder's. All other ends may be followed by its return.
            match ended {
                Ended::Kicked(_) => publishing.close(&self.interrupts).await,
                _ => publishing.lose(ended.reason()),
            }
        }
        if ended.is_abrupt() {
            self.wire.reset();
            return;
        }
        match ended {
            Ended::Kicked(reason) => self.wire.session.close(&Status::ok(code::CONNECT_CLOSED, reason.as_str())),
            Ended::Drained => {
                self.wire.session.close(&Status::failed(code::CONNECT_SHUTDOWN, "The service shuts down."))
            }
            _ => {}
        }
        let reset = self.interrupts.signals.reset.clone();
        let said =
            reset.run_until_cancelled(timeout(self.shared.config.farewell_timeout, self.wire.say_goodbye())).await;
        if !matches!(said, Some(Ok(_))) {
            self.wire.reset();
        }
    }
}

impl Interrupts {
    /// Safe to drop at any await.
    async fn wait(&self) -> Ended {
        tokio::select! {
            biased;
            () = self.signals.reset.cancelled() => Ended::Reset,
            () = self.signals.end.cancelled() => Ended::Drained,
            reason = self.entry.kicked() => Ended::Kicked(reason),
        }
    }

    /// Does this unless the connection is ended from outside meanwhile.
    async fn unless_ended<F: Future>(&self, work: F) -> Result<F::Output, Ended> {
        tokio::select! {
            biased;
            done = work => Ok(done),
            ended = self.wait() => Err(ended),
        }
    }
}
