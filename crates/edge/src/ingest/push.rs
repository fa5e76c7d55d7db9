//! One publication on its way to whichever origin is active.

use std::{sync::Arc, time::Duration};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use rpc::relay::{BATCH_BYTES, PublishRefusal, PushDown, PushHello, PushUp, RelayError};
use tokio::{
    sync::oneshot,
    time::{Instant, Interval, interval, sleep},
};

use super::{
    Config, Refusal,
    outbox::{End, Entry, Next, Outbox},
};
use crate::{
    patience::within,
    retry::Retry,
    upstream::{Heard, Upstream, UpstreamError},
};

/// How often each side says that it is there (REPLICATION P2).
const BEAT: Duration = Duration::from_millis(100);
/// An origin that has said nothing for so long is left.
const SILENCE: Duration = Duration::from_secs(3);

/// The task of one publication.
pub(super) struct Push {
    upstream: Upstream,
    config: Config,
    hello: PushHello,
    outbox: Arc<Outbox>,
    /// Taken when the encoder has been told whether it may publish.
    opened: Option<oneshot::Sender<Result<(), Refusal>>>,
}

/// How a call ended.
enum Over {
    /// All of the publication is where it belongs.
    Done,
    /// To be tried again, here or elsewhere.
    Broken(String),
    /// The origin does not want it.
    Refused(RelayError),
}

impl Push {
    pub(super) fn new(
        upstream: Upstream,
        config: Config,
        hello: PushHello,
        outbox: Arc<Outbox>,
        opened: oneshot::Sender<Result<(), Refusal>>,
    ) -> Self {
        Self { upstream, config, hello, outbox, opened: Some(opened) }
    }

    /// Pushes until the publication is over, is refused, or nobody takes it for too long.
    pub(super) async fn run(mut self) {
        let mut retry = Retry::default();
        let mut directions = self.upstream.clone();
        let mut failing_since = None;
        loop {
            let begin = Instant::now();
            match self.call().await {
                Over::Done => break,
                Over::Refused(error) => {
                    tracing::info!(stream = %self.hello.stream, publication = %self.hello.publication, %error, "push.refused");
                    self.answer(Err(refusal(&error)));
                    break;
                }
                Over::Broken(why) => {
                    if begin.elapsed() > SILENCE {
                        retry.reset();
                        failing_since = None;
                    }
                    let since = *failing_since.get_or_insert(begin);
                    if since == begin {
                        tracing::warn!(stream = %self.hello.stream, publication = %self.hello.publication, why, "push.broken");
                    }
                    if self.is_hopeless(since) {
                        self.answer(Err(Refusal::Unreachable));
                        break;
                    }
                }
            }
            tokio::select! {
                () = sleep(retry.next_delay()) => {}
                () = directions.directions_changed() => {}
            }
        }
        self.outbox.give_up();
    }

    /// Nobody has taken it for longer than its encoder waits, or it has ended and the rest does not get through.
    fn is_hopeless(&self, failing_since: Instant) -> bool {
        let failing_for = failing_since.elapsed();
        (self.opened.is_some() && failing_for > self.config.open_wait)
            || (self.outbox.has_ended() && failing_for > self.config.flush_wait)
    }

    async fn call(&mut self) -> Over {
        if self.outbox.is_done() {
            return Over::Done;
        }
        let hello = PushHello { first_number: self.outbox.first(), ..self.hello.clone() };
        let first = hello.first_number;
        let outbox = self.outbox.clone();
        let up = move |heard| outgoing(outbox.clone(), first, heard);
        let mut call = match self.upstream.push(hello, up).await {
            Ok(call) => call,
            Err(UpstreamError::Refused(error)) => return Over::Refused(error),
            Err(UpstreamError::NoRoute | UpstreamError::Foreign) => {
                return Over::Refused(RelayError::Refused(PublishRefusal::Denied));
            }
            Err(error @ UpstreamError::Unreachable(_)) => return Over::Broken(error.to_string()),
        };
        tracing::debug!(stream = %self.hello.stream, origin = call.address, first, "push.asked");
        loop {
            match within(SILENCE, call.next()).await {
                Some(Some(Ok(down))) => self.handle(&call.heard, down),
                Some(Some(Err(RelayError::Transport(why)))) => return Over::Broken(why),
                Some(Some(Err(error @ RelayError::NotActive { .. }))) => return Over::Broken(error.to_string()),
                Some(Some(Err(error))) => return Over::Refused(error),
                Some(None) if self.outbox.has_ended() => return Over::Done,
                Some(None) => return Over::Broken("the origin ended the call".to_owned()),
                None => return Over::Broken("the origin is silent".to_owned()),
            }
        }
    }

    fn handle(&mut self, heard: &Heard, down: PushDown) {
        match down {
            PushDown::Opened { epoch, next_number } => {
                heard.note(epoch);
                self.outbox.ack_below(next_number);
                self.answer(Ok(()));
            }
            PushDown::Ack { through, epoch } => {
                heard.note(epoch);
                self.outbox.ack_below(through + 1);
            }
            PushDown::Beat { epoch } => {
                heard.note(epoch);
            }
        }
    }

    /// Tells the encoder, once.
    fn answer(&mut self, answer: Result<(), Refusal>) {
        if let Some(opened) = self.opened.take() {
            // An encoder that has gone meanwhile does not hear it; its end is in the outbox.
            let _heard = opened.send(answer);
        }
    }
}

fn refusal(error: &RelayError) -> Refusal {
    match error {
        RelayError::Refused(PublishRefusal::NameTaken) => Refusal::NameTaken,
        _ => Refusal::Denied,
    }
}

/// What one call sends: everything from `first` on, and beats in between.
fn outgoing(outbox: Arc<Outbox>, first: u64, heard: Heard) -> BoxStream<'static, PushUp> {
    struct State {
        outbox: Arc<Outbox>,
        heard: Heard,
        number: u64,
        beat: Interval,
    }
    let state = State { outbox, heard, number: first, beat: interval(BEAT) };
    let batches = stream::unfold(Some(state), |state| async {
        let mut state = state?;
        tokio::select! {
            biased;
            next = state.outbox.next(state.number, BATCH_BYTES) => match next {
                Next::Entries(number, entries) => {
                    state.number = number + entries.len() as u64;
                    Some((in_runs(number, entries), Some(state)))
                }
                Next::End(number, End::Closed) => Some((vec![PushUp::Close(number)], None)),
                Next::End(_, End::Lost) => None,
            },
            _ = state.beat.tick() => {
                let beat = PushUp::Beat { epoch: state.heard.epoch() };
                Some((vec![beat], Some(state)))
            }
        }
    });
    batches.flat_map(stream::iter).boxed()
}

/// Messages that follow one another travel together.
fn in_runs(first: u64, entries: Vec<Entry>) -> Vec<PushUp> {
    let mut runs = Vec::new();
    let mut run = Vec::new();
    for (number, entry) in (first..).zip(entries) {
        match entry {
            Entry::Message(message) => run.push((number, message)),
            Entry::MetadataCleared => {
                if !run.is_empty() {
                    runs.push(PushUp::Messages(std::mem::take(&mut run)));
                }
                runs.push(PushUp::MetadataCleared(number));
            }
        }
    }
    if !run.is_empty() {
        runs.push(PushUp::Messages(run));
    }
    runs
}
