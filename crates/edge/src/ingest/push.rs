//! One publication on its way to whichever origin is active.

use std::{sync::Arc, time::Duration};

use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use media::MediaMessage;
use rpc::relay::{BATCH_BYTES, PublishRefusal, PushDown, PushHello, PushUp, RelayError};
use tokio::{
    sync::{oneshot, watch},
    time::{Instant, Interval, MissedTickBehavior, interval, sleep},
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
        let (first, setup) = (self.outbox.first(), self.outbox.setup());
        // The set-up, if it is needed, takes the numbers just below: an origin without memory has not seen them.
        let hello = PushHello { first_number: first.saturating_sub(setup.len() as u64), ..self.hello.clone() };
        let outbox = self.outbox.clone();
        let opened = watch::Sender::new(None);
        let taken = opened.subscribe();
        let up = move |heard| Sender::stream(outbox.clone(), first, setup.clone(), heard, taken.clone());
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
                Some(Some(Ok(down))) => {
                    if !self.handle(&call.heard, &opened, down) {
                        return Over::Broken("another origin has become active".to_owned());
                    }
                }
                Some(Some(Err(RelayError::Transport(why)))) => return Over::Broken(why),
                Some(Some(Err(error @ RelayError::NotActive { .. }))) => return Over::Broken(error.to_string()),
                Some(Some(Err(error))) => return Over::Refused(error),
                Some(None) if self.outbox.has_ended() => return Over::Done,
                Some(None) => return Over::Broken("the origin ended the call".to_owned()),
                None => return Over::Broken("the origin is silent".to_owned()),
            }
        }
    }

    /// False: the origin speaks in an epoch that another one has ended. Its acks count for nothing.
    fn handle(&mut self, heard: &Heard, opened: &watch::Sender<Option<u64>>, down: PushDown) -> bool {
        let (PushDown::Opened { epoch, .. } | PushDown::Ack { epoch, .. } | PushDown::Beat { epoch }) = down;
        if !heard.note(epoch) {
            return false;
        }
        match down {
            PushDown::Opened { next_number, .. } => {
                opened.send_replace(Some(next_number));
                self.outbox.ack_below(next_number);
                self.answer(Ok(()));
            }
            PushDown::Ack { through, .. } => self.outbox.ack_below(through.saturating_add(1)),
            PushDown::Beat { .. } => {}
        }
        true
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

/// The sending side of one call.
struct Sender {
    outbox: Arc<Outbox>,
    /// What an origin without memory needs before the message `number`.
    setup: Vec<MediaMessage>,
    heard: Heard,
    /// The first number that the origin does not have, once it has said so.
    taken: watch::Receiver<Option<u64>>,
    started: bool,
    number: u64,
    beat: Interval,
}

impl Sender {
    /// Nothing but beats until the origin has taken the publication, then everything from `first` on.
    fn stream(
        outbox: Arc<Outbox>,
        first: u64,
        setup: Vec<MediaMessage>,
        heard: Heard,
        taken: watch::Receiver<Option<u64>>,
    ) -> BoxStream<'static, PushUp> {
        let mut beat = interval(BEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let sender = Self { outbox, setup, heard, taken, started: false, number: first, beat };
        stream::unfold(Some(sender), Self::next).flat_map(stream::iter).boxed()
    }

    async fn next(sender: Option<Self>) -> Option<(Vec<PushUp>, Option<Self>)> {
        let mut sender = sender?;
        if !sender.started {
            return Some((sender.start().await, Some(sender)));
        }
        tokio::select! {
            biased;
            next = sender.outbox.next(sender.number, BATCH_BYTES) => match next {
                Next::Entries(number, entries) => {
                    sender.number = number + entries.len() as u64;
                    Some((in_runs(number, entries), Some(sender)))
                }
                Next::End(number, End::Closed) => Some((vec![PushUp::Close(number)], None)),
                Next::End(_, End::Lost) => None,
            },
            _ = sender.beat.tick() => Some((vec![sender.beat()], Some(sender))),
        }
    }

    /// Beats until the origin has spoken; then what it needs to make sense of the rest.
    async fn start(&mut self) -> Vec<PushUp> {
        let next_number = tokio::select! {
            biased;
            taken = self.taken.wait_for(Option::is_some) => taken.ok().and_then(|taken| *taken),
            _ = self.beat.tick() => None,
        };
        let Some(next_number) = next_number else { return vec![self.beat()] };
        self.started = true;
        let setup = std::mem::take(&mut self.setup);
        let from = self.number.saturating_sub(setup.len() as u64);
        if next_number >= self.number || from < next_number || setup.is_empty() {
            return Vec::new();
        }
        vec![PushUp::Messages((from..).zip(setup).collect())]
    }

    fn beat(&self) -> PushUp {
        PushUp::Beat { epoch: self.heard.epoch() }
    }
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
