//! Keeping one stream fed from whichever origin serves it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use carry::Spliced;
use hub::Placed;
use rpc::relay::{PullDown, PullFrom, RelayError};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use super::{Pull, Pulls, State};
use crate::{
    retry::Retry,
    upstream::{Call, Choice, Ended, Origins, Pool, UpstreamError},
};

/// How long viewers are kept when an origin serves and does not have their stream: its encoder may come back there.
const ABSENCE_MAX: Duration = Duration::from_secs(30);

/// Asks for the stream again and again, each time from where it stands. Goes on until it is dropped.
pub(super) async fn run(pulls: &Pulls, pull: &Arc<Pull>) {
    let mut directing = pulls.upstream.directing();
    let mut feed =
        Feed { pulls, pull, choice: Choice::default(), retry: Retry::default(), served: false, failing_since: None };
    loop {
        let (pause, pool) = match feed.choice.turn(&directing, &pull.name) {
            Ok((pool, pools)) => {
                let news = pool.watch();
                (feed.turn(&pool, &pools).await, Some(news))
            }
            Err(error) => {
                feed.note_refused(&error);
                (feed.retry.next_delay(), None)
            }
        };
        tokio::select! {
            () = sleep(pause) => {}
            () = news_of(pool) => {}
            () = directing.changed() => {}
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

struct Feed<'a> {
    pulls: &'a Pulls,
    pull: &'a Arc<Pull>,
    choice: Choice,
    retry: Retry,
    /// The last call gave us the stream.
    served: bool,
    /// Since when viewers get nothing although their stream has not ended.
    failing_since: Option<Instant>,
}

/// How a call ended.
enum Broken {
    /// No origin of the pool took it.
    Unserved(UpstreamError),
    /// It was taken, and is over.
    Ended(Ended),
    /// The stream has ended with it.
    StreamEnded,
    /// This pool does not have the stream, and another may.
    Absent,
    /// The origin's log ends before what viewers have had: it is another, and to be looked through from its beginning.
    Ahead,
}

/// Where to go on.
enum Reason {
    /// Here, in a while.
    Over,
    /// Here, at once: somebody else serves.
    Moved,
    /// Here, at once, with another question.
    Anew,
    /// Nobody serves here.
    Unserved,
    /// Elsewhere, the stream is not here.
    Absent,
}

impl Broken {
    fn reason(&self) -> Reason {
        match self {
            Self::Unserved(UpstreamError::Unreachable(_)) => Reason::Unserved,
            Self::Unserved(_) | Self::StreamEnded => Reason::Over,
            Self::Ahead => Reason::Anew,
            Self::Ended(Ended::Left(_) | Ended::Rerouted | Ended::Error(RelayError::NotActive { .. })) => Reason::Moved,
            // The connection is gone: whoever serves next may be known already.
            Self::Ended(Ended::Error(RelayError::Transport(_)) | Ended::Silent) => Reason::Moved,
            Self::Ended(_) => Reason::Over,
            Self::Absent => Reason::Absent,
        }
    }
}

impl Feed<'_> {
    /// One call, and how long to wait before the next one.
    async fn turn(&mut self, pool: &Arc<Pool>, pools: &[Arc<Pool>]) -> Duration {
        let begin = Instant::now();
        let broken = self.call(pool, pools.len() > 1).await;
        if self.served {
            self.choice.note_served();
            self.retry.reset();
        }
        let reason = broken.reason();
        self.note_end(broken);
        let at_once = match reason {
            Reason::Over => false,
            Reason::Moved => true,
            Reason::Anew => return Duration::ZERO,
            Reason::Unserved => self.choice.note_failed(pools),
            Reason::Absent => {
                // All are asked in turn, but not as fast as they answer.
                self.choice.go_on(pools);
                false
            }
        };
        if at_once { self.retry.at_once(begin.elapsed()) } else { self.retry.next_delay() }
    }

    /// One call, from asking to its end. `others`: there are more pools that may have the stream.
    async fn call(&mut self, pool: &Arc<Pool>, others: bool) -> Broken {
        let from = self.pull.mirror().after(pool.name()).map_or(PullFrom::Live, PullFrom::After);
        self.served = false;
        let mut call = match self.pulls.upstream.pull(pool, &self.pull.name, from).await {
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
            let down = match call.next().await {
                Ok(down) => down,
                Err(Ended::InOrder) => {
                    // The stream has ended, also for one that waited for a keyframe and so never saw its close.
                    self.pulls.end_stream(self.pull);
                    return Broken::StreamEnded;
                }
                Err(ended) => return Broken::Ended(ended),
            };
            match down {
                PullDown::Opened { head, rejoined, .. } => {
                    if self.is_ahead(pool, &call, head) {
                        return Broken::Ahead;
                    }
                    opened = true;
                    self.open(pool, &call, head, rejoined);
                }
                PullDown::Items { items, .. } => self.append(pool, items),
                PullDown::Heartbeat { .. } if !opened => {
                    self.note_absent();
                    if others {
                        return Broken::Absent;
                    }
                }
                PullDown::Heartbeat { .. } => {}
            }
        }
    }

    /// The stream is there: viewers may join it.
    fn open(&mut self, pool: &Pool, call: &Call<PullDown>, head: u64, rejoined: bool) {
        self.served = true;
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

    fn append(&mut self, pool: &Pool, items: Vec<Placed>) {
        let appended = self.pull.mirror().append(items);
        if let Some(how) = appended.spliced {
            tracing::info!(stream = %self.pull.name, pool = pool.name(), anew = how == Spliced::Anew, "pull.spliced");
        }
        self.pulls.stats.repeated.fetch_add(appended.repeated as u64, Ordering::Relaxed);
        if appended.closed {
            self.pulls.end_stream(self.pull);
        }
    }

    /// Whether viewers have had more than the origin's log holds, all of which was committed anew before it was opened
    /// (REPLICATION C1): they were fed by an active that went on alone, and this is its successor.
    fn is_ahead(&self, pool: &Pool, call: &Call<PullDown>, head: u64) -> bool {
        let is_ahead = self.pull.mirror().note_head(pool.name(), head);
        if is_ahead {
            tracing::warn!(stream = %self.pull.name, origin = call.address(), head, "pull.ahead_of_origin");
        }
        is_ahead
    }

    /// The active origin answers, and has no such stream.
    fn note_absent(&mut self) {
        if self.pull.is_open() {
            self.hold(ABSENCE_MAX.min(self.pulls.config.hold));
        } else {
            self.pull.state.send_if_modified(|state| {
                let news = matches!(state, State::Unanswered | State::Refused);
                if news {
                    *state = State::Absent;
                }
                news
            });
        }
    }

    fn note_end(&mut self, broken: Broken) {
        let stream = &self.pull.name;
        match broken {
            Broken::StreamEnded | Broken::Ahead | Broken::Absent => {}
            Broken::Unserved(UpstreamError::Refused(RelayError::NoStream))
            | Broken::Ended(Ended::Error(RelayError::NoStream)) => {
                self.note_absent();
            }
            Broken::Unserved(error @ UpstreamError::Unreachable(_)) => {
                if self.failing_since.is_none()
                    && let Some(silenced) = self.pulls.complaints.allow("pull.unreachable")
                {
                    tracing::warn!(%stream, %error, silenced, "pull.unreachable");
                }
                self.hold(self.pulls.config.hold);
                self.pull.state.send_if_modified(|state| {
                    let news = matches!(state, State::Absent | State::Refused);
                    if news {
                        *state = State::Unanswered;
                    }
                    news
                });
            }
            Broken::Unserved(error) => self.note_refused(&error),
            Broken::Ended(Ended::Error(error @ (RelayError::Transport(_) | RelayError::NotActive { .. }))) => {
                tracing::debug!(%stream, %error, "pull.broken");
                self.hold(self.pulls.config.hold);
            }
            Broken::Ended(Ended::Error(error)) => self.note_refused(&UpstreamError::Refused(error)),
            Broken::Ended(Ended::Silent) => {
                tracing::warn!(%stream, "pull.silent");
                self.hold(self.pulls.config.hold);
            }
            Broken::Ended(why) => {
                tracing::debug!(%stream, %why, "pull.left");
                self.hold(self.pulls.config.hold);
            }
        }
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

    /// Viewers stay although nothing comes, but not for longer than this.
    fn hold(&mut self, at_most: Duration) {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if self.pull.is_open() && since.elapsed() > at_most {
            tracing::warn!(stream = %self.pull.name, "pull.held_too_long");
            self.pulls.end_stream(self.pull);
        }
    }
}
