//! Keeping one stream fed from whichever origin serves it.

use std::{
    sync::{PoisonError, atomic::Ordering},
    time::Duration,
};

use cluster::Epoch;
use hub::Body;
use rpc::relay::{self, PullDown, PullFrom, RelayError};
use tokio::time::{Instant, sleep};

use super::{Pull, Pulls, State};
use crate::{
    patience::within,
    retry::Retry,
    upstream::{Heard, UpstreamError},
};

/// An origin that has said nothing for so long is asked anew; it beats once a second.
const SILENCE: Duration = Duration::from_secs(3);

/// Asks for the stream again and again, each time from where it stands. Goes on until it is dropped.
pub(super) async fn run(pulls: &Pulls, pull: &Pull) {
    let mut feed = Feed { pulls, pull, failing_since: None };
    let mut retry = Retry::default();
    let mut directions = pulls.upstream.clone();
    loop {
        let begin = Instant::now();
        let broken = feed.call().await.err();
        if begin.elapsed() > SILENCE {
            retry.reset();
        }
        feed.note_end(broken);
        tokio::select! {
            () = sleep(retry.next_delay()) => {}
            () = directions.directions_changed() => {}
        }
    }
}

struct Feed<'a> {
    pulls: &'a Pulls,
    pull: &'a Pull,
    /// Since when viewers get nothing although their stream has not ended.
    failing_since: Option<Instant>,
}

/// Why a call ended before its stream did.
enum Broken {
    Upstream(UpstreamError),
    Silent,
    /// Another origin has since become active.
    Deposed,
    /// The origin's positions end below ours.
    Ahead,
}

impl From<UpstreamError> for Broken {
    fn from(error: UpstreamError) -> Self {
        Self::Upstream(error)
    }
}

impl Feed<'_> {
    /// One call, from admission to its end.
    async fn call(&mut self) -> Result<(), Broken> {
        let from = self.position().map_or(PullFrom::Live, PullFrom::After);
        let mut call = self.pulls.upstream.pull(&self.pull.name, from).await?;
        self.pulls.stats.calls.fetch_add(1, Ordering::Relaxed);
        if from != PullFrom::Live {
            self.pulls.stats.reconnects.fetch_add(1, Ordering::Relaxed);
        }
        tracing::debug!(stream = %self.pull.name, origin = call.address, ?from, "pull.asked");
        loop {
            match within(SILENCE, call.next()).await {
                Some(Some(Ok(down))) => self.handle(&call.heard, down)?,
                Some(Some(Err(error))) => return Err(ended(error).into()),
                Some(None) => {
                    // The stream has ended, also for one that waited for a keyframe and so never saw its close.
                    self.pull.end_stream();
                    return Ok(());
                }
                None => return Err(Broken::Silent),
            }
        }
    }

    fn handle(&mut self, heard: &Heard, down: PullDown) -> Result<(), Broken> {
        match down {
            PullDown::Opened { epoch, head, rejoined } => {
                admit(heard, epoch)?;
                if self.position().is_some_and(|position| position > head) {
                    // It cannot go on from where we are: what it has is another life of the stream.
                    tracing::warn!(stream = %self.pull.name, %epoch, head, "pull.ahead_of_origin");
                    self.pull.end_stream();
                    return Err(Broken::Ahead);
                }
                self.failing_since = None;
                tracing::debug!(stream = %self.pull.name, %epoch, head, rejoined, "pull.opened");
                self.open();
            }
            PullDown::Items { epoch, items } => {
                admit(heard, epoch)?;
                self.append(items);
            }
            PullDown::Heartbeat { epoch, .. } => {
                admit(heard, epoch)?;
                // No stream there yet, or it is there and has nothing to say.
                if self.failing_since.is_some() || !self.is_open() {
                    self.note_absent();
                }
            }
        }
        Ok(())
    }

    /// The stream is there: viewers may join it.
    fn open(&self) {
        let mut writer = self.pull.writer.lock().unwrap_or_else(PoisonError::into_inner);
        if writer.is_none() {
            let opened =
                self.pulls.hub.mirror(&self.pull.name).expect("a name has one pull, and only pulls open streams");
            self.pull.state.send_replace(State::Live(opened.stream().clone()));
            *writer = Some(opened);
        }
    }

    fn append(&self, items: Vec<relay::Item>) {
        let mut slot = self.pull.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(writer) = slot.as_mut() else { return };
        let (mut setup, mut due, mut closed) = (Vec::new(), Vec::new(), false);
        for item in items {
            match item.body {
                relay::Body::Setup(frame) => setup.push(frame),
                relay::Body::Frame(frame) => due.push((item.seq, Body::Frame(frame))),
                relay::Body::Event(event) => {
                    closed |= matches!(event, relay::Event::Close { .. });
                    due.push((item.seq, Body::Event(event)));
                }
            }
        }
        // A batch has set-up only at its beginning: where the origin's cursor started or rejoined.
        if !setup.is_empty() {
            writer.restore_setup(setup);
        }
        let repeated = writer.append_at(due);
        drop(slot);
        self.pulls.stats.repeated.fetch_add(repeated as u64, Ordering::Relaxed);
        if closed {
            self.pull.end_stream();
        }
    }

    /// The active origin answers, and has no such stream.
    fn note_absent(&mut self) {
        if self.is_open() {
            self.hold();
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

    fn note_end(&mut self, broken: Option<Broken>) {
        let name = &self.pull.name;
        match broken {
            None => {}
            Some(Broken::Upstream(UpstreamError::Refused(RelayError::NoStream))) => self.note_absent(),
            Some(Broken::Upstream(UpstreamError::NoRoute)) => {
                self.pull.end_stream();
                self.pull.state.send_replace(State::Refused);
            }
            Some(Broken::Upstream(error @ (UpstreamError::Foreign | UpstreamError::Refused(_)))) => {
                tracing::warn!(stream = %name, %error, "pull.refused");
                self.pull.end_stream();
                self.pull.state.send_replace(State::Refused);
            }
            Some(Broken::Upstream(error @ UpstreamError::Unreachable(_))) => {
                if self.failing_since.is_none() {
                    tracing::warn!(stream = %name, %error, "pull.unreachable");
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
            Some(Broken::Silent) => {
                tracing::warn!(stream = %name, "pull.silent");
                self.hold();
            }
            Some(Broken::Deposed) => self.hold(),
            Some(Broken::Ahead) => {}
        }
    }

    /// Viewers stay although nothing comes, for a while.
    fn hold(&mut self) {
        let since = *self.failing_since.get_or_insert_with(Instant::now);
        if self.is_open() && since.elapsed() > self.pulls.config.hold {
            tracing::warn!(stream = %self.pull.name, "pull.held_too_long");
            self.pull.end_stream();
        }
    }

    fn is_open(&self) -> bool {
        self.pull.writer.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The last position that we have of the stream.
    fn position(&self) -> Option<u64> {
        let writer = self.pull.writer.lock().unwrap_or_else(PoisonError::into_inner);
        let info = writer.as_ref()?.stream().info();
        (info.items_total > 0).then(|| info.next_seq - 1)
    }
}

fn admit(heard: &Heard, epoch: Epoch) -> Result<(), Broken> {
    if heard.note(epoch) { Ok(()) } else { Err(Broken::Deposed) }
}

fn ended(error: RelayError) -> UpstreamError {
    match error {
        RelayError::Transport(why) => UpstreamError::Unreachable(why),
        RelayError::NotActive { .. } => UpstreamError::Unreachable(error.to_string()),
        final_word => UpstreamError::Refused(final_word),
    }
}
