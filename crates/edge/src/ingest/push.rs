//! One publication on its way to whichever origin is active.

use std::sync::Arc;

use rpc::relay::{self, PushDown, PushHello, RelayError};
use rtmp_net::{IngestEnded, PublishRefusal};
use telemetry::Throttle;
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, sleep},
};

use super::{Config, replay_queue::ReplayQueue, sender::Sender};
use crate::{
    retry::Retry,
    upstream::{Choice, Ended, Pool, Upstream, UpstreamError},
};

/// The task of one publication.
pub(super) struct Push {
    upstream: Upstream,
    config: Config,
    hello: PushHello,
    queue: Arc<ReplayQueue>,
    /// Taken when the encoder has been told whether it may publish.
    opened: Option<oneshot::Sender<Result<(), PublishRefusal>>>,
    /// Since when no origin has it.
    failing_since: Option<Instant>,
    /// Since when the answer has been that another publication has the name, though this one was opened.
    name_taken_since: Option<Instant>,
    /// The call broke on which an origin was told that the encoder is lost, or was to be: the next one would wait for it.
    loss_untold: bool,
    complaints: Arc<Throttle>,
}

/// How a call ended.
enum Over {
    /// All of the publication is where it belongs.
    Done,
    /// To be tried again.
    Broken {
        why: String,
        /// There is somebody else to ask, or news of who serves.
        moved: bool,
    },
    /// The origin does not want it.
    Refused(RelayError),
}

impl Push {
    pub(super) fn new(
        upstream: Upstream,
        config: Config,
        hello: PushHello,
        queue: Arc<ReplayQueue>,
        opened: oneshot::Sender<Result<(), PublishRefusal>>,
        complaints: Arc<Throttle>,
    ) -> Self {
        Self {
            upstream,
            config,
            hello,
            queue,
            opened: Some(opened),
            failing_since: None,
            name_taken_since: None,
            loss_untold: false,
            complaints,
        }
    }

    /// Pushes until the publication is over, is refused, or nobody takes it for too long.
    pub(super) async fn run(mut self) {
        let why = self.until_over().await;
        self.queue.give_up(why);
    }

    /// Returns what an encoder that goes on all the same is to be told.
    async fn until_over(&mut self) -> IngestEnded {
        let mut retry = Retry::default();
        let mut choice = Choice::default();
        let mut directing = self.upstream.directing();
        while !self.queue.is_done() || self.loss_untold {
            let Ok((pool, pools)) = choice.turn(&directing, &self.hello.stream) else {
                return self.refused(&RelayError::Refused(relay::PublishRefusal::Denied));
            };
            let begin = Instant::now();
            let mut news = pool.watch();
            let over = self.call(&pool).await;
            if self.failing_since.is_none() {
                choice.note_served();
                retry.reset();
            }
            let waits = self.waits_for_name(&over);
            let pause = match over {
                Over::Done => break,
                Over::Refused(error) if waits => {
                    self.note_broken(begin, &error.to_string());
                    // Soon, lest a new encoder is first; the origin itself takes its time over each of these calls.
                    retry.reset();
                    retry.next_delay()
                }
                Over::Refused(error) => return self.refused(&error),
                Over::Broken { why, moved } => {
                    self.note_broken(begin, &why);
                    self.loss_untold = self.opened.is_none() && self.queue.is_lost();
                    if self.is_hopeless() {
                        self.answer(Err(PublishRefusal::Unavailable));
                        break;
                    }
                    let elsewhere = choice.note_failed(&pools);
                    if moved || elsewhere { retry.at_once(begin.elapsed()) } else { retry.next_delay() }
                }
            };
            tokio::select! {
                () = sleep(pause) => {}
                _ = news.changed() => {}
                () = directing.changed() => {}
            }
        }
        IngestEnded::Gone
    }

    /// One call, from asking to its end.
    async fn call(&mut self, pool: &Arc<Pool>) -> Over {
        let hello = PushHello { first_number: self.queue.lowest(), ..self.hello.clone() };
        let next_number = watch::Sender::new(None);
        let up = || Sender::stream(self.queue.clone(), pool.clone(), next_number.subscribe());
        let mut call = match self.upstream.push(pool, &hello, up).await {
            Ok(call) => call,
            Err(UpstreamError::Refused(error)) => return Over::Refused(error),
            Err(error) => return Over::Broken { why: error.to_string(), moved: false },
        };
        tracing::debug!(stream = %self.hello.stream, origin = call.address(), via = call.is_via(), "push.asked");
        loop {
            match call.next().await {
                Ok(PushDown::Opened { next_number: next, .. }) => {
                    next_number.send_replace(Some(next));
                    self.note_opened(call.address());
                }
                // The call lets nothing through from an epoch that is over.
                Ok(PushDown::Ack { through, .. }) => self.queue.ack_below(through.saturating_add(1)),
                Ok(PushDown::Beat { .. }) => {}
                Err(ended) => return self.over(ended),
            }
        }
    }

    fn over(&self, ended: Ended) -> Over {
        let why = ended.to_string();
        match ended {
            Ended::InOrder if self.queue.has_ended() => Over::Done,
            Ended::InOrder | Ended::Silent | Ended::Error(RelayError::Transport(_)) => {
                Over::Broken { why, moved: false }
            }
            Ended::Left(_) | Ended::Rerouted | Ended::Error(RelayError::NotActive { .. }) => {
                Over::Broken { why, moved: true }
            }
            Ended::Error(error) => Over::Refused(error),
        }
    }

    /// Whether another publication has the name of this one, that was opened, and may yet yield it. An origin that was
    /// promoted without having this one waits for the one before it first, which does not come: that is no reason to cut an
    /// encoder off. From one that is there the name is not taken, and this one gives up.
    fn waits_for_name(&mut self, over: &Over) -> bool {
        let taken = matches!(over, Over::Refused(RelayError::Refused(relay::PublishRefusal::NameTaken)));
        if !taken || self.opened.is_some() {
            self.name_taken_since = None;
            return false;
        }
        self.name_taken_since.get_or_insert_with(Instant::now).elapsed() < self.config.open_wait
    }

    fn note_opened(&mut self, origin: &str) {
        self.name_taken_since = None;
        if let Some(since) = self.failing_since.take() {
            let gap_ms = since.elapsed().as_millis() as u64;
            tracing::info!(stream = %self.hello.stream, publication = %self.hello.publication, origin, gap_ms, "push.resumed");
        }
        self.answer(Ok(()));
    }

    fn note_broken(&mut self, begin: Instant, why: &str) {
        if self.failing_since.is_none() {
            // A call that never opened has failed from its beginning, one that broke from now on.
            self.failing_since = Some(if self.opened.is_some() { begin } else { Instant::now() });
            tracing::warn!(stream = %self.hello.stream, publication = %self.hello.publication, why, "push.broken");
        }
    }

    /// Nobody has taken it for longer than its encoder waits, or it has ended and the rest does not get through.
    fn is_hopeless(&self) -> bool {
        let failing_for = self.failing_since.map(|since| since.elapsed()).unwrap_or_default();
        (self.opened.is_some() && failing_for > self.config.open_wait)
            || (self.queue.has_ended() && failing_for > self.config.flush_wait)
    }

    /// Tells the encoder if it waits for the answer, otherwise returns what it is to be told.
    fn refused(&mut self, error: &RelayError) -> IngestEnded {
        let PushHello { stream, publication, peer, .. } = &self.hello;
        // The end of a publication that was on air is always logged.
        let told = if self.opened.is_some() { self.complaints.allow_named_peer(peer) } else { Some(0) };
        if let Some(silenced) = told {
            tracing::info!(%stream, %publication, peer, %error, silenced, "push.refused");
        }
        self.answer(Err(not_taken(error)));
        cut_off(error)
    }

    /// Tells the encoder, once.
    fn answer(&mut self, answer: Result<(), PublishRefusal>) {
        if let Some(opened) = self.opened.take() {
            // An encoder that has gone meanwhile does not hear it; its end is in the queue.
            let _heard = opened.send(answer);
        }
    }
}

/// What this says to an encoder that asked to publish.
fn not_taken(error: &RelayError) -> PublishRefusal {
    match error {
        RelayError::Refused(relay::PublishRefusal::NameTaken) => PublishRefusal::Taken,
        _ => PublishRefusal::Denied,
    }
}

/// What this says to an encoder that was on air.
fn cut_off(error: &RelayError) -> IngestEnded {
    match error {
        // An origin says Gone too when an operator has ended the stream; at its own port it makes no difference either.
        RelayError::Gone | RelayError::Refused(relay::PublishRefusal::NameTaken) => IngestEnded::TakenOver,
        RelayError::Refused(relay::PublishRefusal::Denied | relay::PublishRefusal::Kicked) => {
            IngestEnded::Refused(PublishRefusal::Denied)
        }
        _ => IngestEnded::Gone,
    }
}

#[cfg(test)]
#[path = "push/tests.rs"]
mod tests;
