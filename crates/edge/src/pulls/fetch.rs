//! Keeping one stream fed from whichever origin serves it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use carry::Spliced;
use cluster::Epoch;
use hub::Placed;
use rpc::relay::{PullDown, PullFrom, RelayError};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{Pull, Pulls, State};
use crate::{
    retry::{Retry, stand_back},
    upstream::{Call, Choice, Ended, Origins, Pool, UpstreamError},
};

/// How long viewers are kept when an origin serves and does not have their stream: its encoder may come back there.
const ABSENCE_MAX: Duration = Duration::from_secs(30);

/// Asks for the stream again and again, each time from where it stands. Goes on until it is dropped.
pub(super) async fn run(pulls: &Pulls, pull: &Arc<Pull>) {
    let mut directing = pulls.upstream.directing();
    let mut fetch = Fetch {
        pulls,
        pull,
        choice: Choice::default(),
        retry: Retry::default(),
        served: false,
        failing_since: None,
        absent_since: None,
        is_absent: false,
    };
    loop {
        let (pause, pool) = match fetch.choice.turn(&directing, &pull.name) {
            Ok((pool, pools)) => {
                let news = pool.watch();
                (fetch.turn(&pool, &pools).await, Some(news))
            }
            Err(error) => {
                fetch.note_refused(&error);
                (fetch.retry.next_delay(), None)
            }
        };
        let moves = tokio::select! {
            () = sleep(pause) => pause.is_zero(),
            () = news_of(pool) => true,
            () = directing.changed() => true,
        };
        if moves && fetch.is_absent {
            sleep(stand_back()).await;
        }
    }
}

/// Completes when there is news of the pool.
async fn news_of(pool: Option<watch::Receiver<Origins>>) {
    let told = match pool {
        Some(mut origins) => origins.changed().await.is_ok(),
        None => false,
    };
    if !told {
        std::future::pending::<()>().await;
    }
}

struct Fetch<'a> {
    pulls: &'a Pulls,
    pull: &'a Arc<Pull>,
    choice: Choice,
    retry: Retry,
    /// The last call gave us the stream.
    served: bool,
    /// Since when viewers get nothing although their stream has not ended.
    failing_since: Option<Instant>,
    /// Since when whoever serves has said that it does not have it.
    absent_since: Option<Instant>,
    /// Nobody publishes it, as whoever served last has said: there may be many such names, and nobody sees them late.
    is_absent: bool,
}

/// How a call ended.
enum Broken {
    /// No origin of the pool took it.
    Unserved(UpstreamError),
    /// It was taken, and is over.
    Ended(Ended),
    /// This pool does not have the stream, and another may.
    Absent,
    /// The origin's log does not hold what viewers had last: it is another, and to be looked through from its beginning.
    Ahead,
}

/// Where to go on.
enum GoOn {
    /// Here, in a while.
    Later,
    /// Here, at once: somebody else serves.
    Moved,
    /// Here, at once, with another question.
    Anew,
    /// Nobody serves here.
    Unserved,
    /// Elsewhere, the stream is not here.
    NextPool,
}

impl Fetch<'_> {
    /// One call, and how long to wait before the next one.
    async fn turn(&mut self, pool: &Arc<Pool>, pools: &[Arc<Pool>]) -> Duration {
        let begin = Instant::now();
        let broken = self.call(pool, pools.len() > 1).await;
        if self.served {
            self.choice.note_served();
            self.retry.reset();
        }
        let at_once = match self.on_broken(broken) {
            GoOn::Later => false,
            GoOn::Moved => true,
            GoOn::Anew => return Duration::ZERO,
            GoOn::Unserved => self.choice.note_failed(pools),
            GoOn::NextPool => {
                // All are asked in turn, but not as fast as they answer.
                self.choice.go_on(pools);
                false
            }
        };
        if at_once { self.retry.at_once(begin.elapsed()) } else { self.retry.next_delay() }
    }

    /// One call, from asking to its end. `others`: there are more pools that may have the stream.
    async fn call(&mut self, pool: &Arc<Pool>, others: bool) -> Broken {
        let after = self.pull.mirror().after(pool.name());
        let (from, had_in) =
            after.map_or((PullFrom::Live, Epoch(0)), |(seq, epoch)| (PullFrom::After(seq), Epoch(epoch)));
        self.served = false;
        let mut call = match self.pulls.upstream.pull(pool, &self.pull.name, from, had_in).await {
            Ok(call) => call,
            Err(error) => return Broken::Unserved(error),
        };
        self.pulls.stats.calls.fetch_add(1, Ordering::Relaxed);
        if from != PullFrom::Live {
            self.pulls.stats.reconnects.fetch_add(1, Ordering::Relaxed);
        }
        tracing::debug!(stream = %self.pull.name, origin = call.address(), via = call.is_via(), ?from, "pull.asked");
        let mut opened = false;
        loop {
            match call.next().await {
                Ok(PullDown::Opened { head, rejoined, parted_from, .. }) => {
                    if self.is_ahead(pool, &call, head, parted_from) {
                        return Broken::Ahead;
                    }
                    opened = true;
                    self.open(pool, &call, head, rejoined);
                }
                Ok(PullDown::Items { epoch, items }) => self.append(pool, epoch, items),
                Ok(PullDown::Heartbeat { .. }) if !opened => {
                    self.note_absent();
                    if others {
                        return Broken::Absent;
                    }
                }
                Ok(PullDown::Heartbeat { .. }) => {}
                // It may not know yet what it has, and not come to know it.
                Err(Ended::Silent) if !opened && others => return Broken::Absent,
                Err(ended) => return Broken::Ended(ended),
            }
        }
    }

    /// The stream is there: viewers may join it.
    fn open(&mut self, pool: &Pool, call: &Call<PullDown>, head: u64, rejoined: bool) {
        self.served = true;
        self.is_absent = false;
        self.absent_since = None;
        tracing::debug!(stream = %self.pull.name, origin = call.address(), head, rejoined, "pull.opened");
        if let Some(since) = self.failing_since.take() {
            let gap_ms = since.elapsed().as_millis() as u64;
            tracing::info!(stream = %self.pull.name, origin = call.address(), gap_ms, "pull.resumed");
        }
        let mut mirror = self.pull.mirror();
        if self.pull.given_up.is_cancelled() {
            // The name may be another pull's by now.
            return;
        }
        let opened = mirror.open(&self.pulls.hub, &self.pull.name, pool.name(), head);
        drop(mirror);
        if let Some(stream) = opened.expect("a name has one pull, and only pulls open streams") {
            self.pulls.absent.leave(self.pull);
            self.pulls.show(&stream);
            self.pull.state.send_replace(State::Live(stream));
        }
    }

    fn append(&mut self, pool: &Pool, epoch: Epoch, items: Vec<Placed>) {
        let appended = self.pull.mirror().append(epoch.0, items);
        if let Some(how) = appended.spliced {
            tracing::info!(stream = %self.pull.name, pool = pool.name(), anew = how == Spliced::Anew, "pull.spliced");
        }
        self.pulls.stats.repeated.fetch_add(appended.repeated as u64, Ordering::Relaxed);
        if appended.closed {
            self.pulls.end_stream(self.pull);
        }
    }

    /// Whether viewers have had what the origin's log does not hold, all of which was committed anew before it was opened
    /// (REPLICATION C1): they were fed by an active that went on alone, and this is its successor.
    fn is_ahead(&self, pool: &Pool, call: &Call<PullDown>, head: u64, parted_from: Option<u64>) -> bool {
        let is_ahead = self.pull.mirror().note_head(pool.name(), head, parted_from);
        if is_ahead {
            tracing::warn!(stream = %self.pull.name, origin = call.address(), head, parted_from, "pull.ahead_of_origin");
        }
        is_ahead
    }

    /// The active origin answers, and has no such stream.
    fn note_absent(&mut self) {
        if self.pull.is_open() {
            // Counted from when it was first said: an origin that was away for long has yet to be found by the encoder's edge.
            let absent_since = *self.absent_since.get_or_insert_with(Instant::now);
            let failing_since = *self.failing_since.get_or_insert(absent_since);
            self.let_go_after(ABSENCE_MAX, absent_since);
            self.let_go_after(self.pulls.config.hold, failing_since);
        } else {
            self.is_absent = true;
            self.pull.state.send_if_modified(|state| {
                let news = matches!(state, State::Unanswered | State::Refused);
                if news {
                    *state = State::Absent;
                }
                news
            });
        }
    }

    /// What the end of a call means for the stream and its viewers.
    fn on_broken(&mut self, broken: Broken) -> GoOn {
        let stream = &self.pull.name;
        match broken {
            Broken::Ahead => GoOn::Anew,
            Broken::Absent => GoOn::NextPool,
            Broken::Unserved(UpstreamError::Refused(RelayError::NoStream))
            | Broken::Ended(Ended::Error(RelayError::NoStream)) => {
                self.note_absent();
                GoOn::Later
            }
            Broken::Unserved(error @ UpstreamError::Unreachable(_)) => {
                self.note_unreachable(&error);
                GoOn::Unserved
            }
            Broken::Unserved(error) => {
                self.note_refused(&error);
                GoOn::Later
            }
            Broken::Ended(Ended::InOrder) => {
                // The stream has ended, also for one that waited for a keyframe and so never saw its close.
                self.pulls.end_stream(self.pull);
                GoOn::Later
            }
            // The connection is gone, or the origin is active no more: whoever serves next may be known already.
            Broken::Ended(Ended::Error(error @ (RelayError::Transport(_) | RelayError::NotActive { .. }))) => {
                tracing::debug!(%stream, %error, "pull.broken");
                self.hold();
                GoOn::Moved
            }
            Broken::Ended(Ended::Error(error)) => {
                self.note_refused(&UpstreamError::Refused(error));
                GoOn::Later
            }
            Broken::Ended(Ended::Silent) => {
                if let Some(silenced) = self.pulls.complaints.allow("pull.silent") {
                    tracing::warn!(%stream, silenced, "pull.silent");
                }
                self.hold();
                GoOn::Moved
            }
            Broken::Ended(why @ (Ended::Left(_) | Ended::Rerouted)) => {
                tracing::debug!(%stream, %why, "pull.left");
                self.hold();
                GoOn::Moved
            }
        }
    }

    /// No origin of the pool serves, as far as can be told.
    fn note_unreachable(&mut self, error: &UpstreamError) {
        if self.failing_since.is_none()
            && let Some(silenced) = self.pulls.complaints.allow("pull.unreachable")
        {
            tracing::warn!(stream = %self.pull.name, %error, silenced, "pull.unreachable");
        }
        self.hold();
        self.pull.state.send_if_modified(|state| {
            let news = matches!(state, State::Absent | State::Refused);
            if news {
                *state = State::Unanswered;
            }
            news
        });
    }

    /// Nobody will ever give us the stream.
    fn note_refused(&self, error: &UpstreamError) {
        if matches!(*self.pull.state.borrow(), State::Refused) {
            return;
        }
        if *error != UpstreamError::NoRoute
            && let Some(silenced) = self.pulls.complaints.allow("pull.refused")
        {
            tracing::warn!(stream = %self.pull.name, %error, silenced, "pull.refused");
        }
        self.pulls.end_stream(self.pull);
        self.pull.state.send_replace(State::Refused);
    }

    /// Viewers stay although nobody serves, but not for longer than `playback.hold`.
    fn hold(&mut self) {
        self.absent_since = None;
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        self.let_go_after(self.pulls.config.hold, since);
    }

    /// Viewers do not stay when that is longer ago than this.
    fn let_go_after(&self, at_most: Duration, since: Instant) {
        if self.pull.is_open() && since.elapsed() > at_most {
            tracing::warn!(stream = %self.pull.name, "pull.held_too_long");
            self.pulls.end_stream(self.pull);
        }
    }
}
