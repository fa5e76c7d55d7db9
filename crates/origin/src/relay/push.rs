//! One publication coming in from an edge.

use std::{collections::VecDeque, sync::atomic::Ordering};

use futures_util::{StreamExt, stream};
use replica::{Acked, NotTaken, Publish, Refused, Source};
use rpc::relay::{Flow, PublishRefusal, PushDown, PushHello, PushUp, RelayError};
use tokio::{
    sync::watch,
    time::{Instant, Interval},
};

use super::{Relay, epoch, not_active};
use crate::{
    pulse::{BEAT, beats},
    role::Duty,
    streams::Hold,
};

/// Opens the publication, which takes until its opening is committed; the answer takes its messages in as it is read.
pub(super) async fn serve(relay: &Relay, hello: PushHello, up: Flow<PushUp>) -> Result<Flow<PushDown>, RelayError> {
    let publish = Publish {
        name: hello.stream,
        publication: hello.publication,
        source: Source { edge: Some(hello.edge), peer: hello.peer },
        first_number: hello.first_number,
    };
    let feed = relay.streams.publish(publish).await.map_err(|why| refusal(why, &relay.duty))?;
    relay.stats.pushes_served.fetch_add(1, Ordering::Relaxed);
    let opened = PushDown::Opened { epoch: epoch(&relay.duty)?, next_number: feed.next_number() };
    let answers = PushAnswers {
        relay: relay.clone(),
        up,
        duty: relay.duty.clone(),
        feed,
        uncommitted: Uncommitted::default(),
        taken: None,
        committed: None,
        beat: beats(BEAT),
        said: Said::More,
    };
    // What ends the call also ends our hold on the stream, before it is said: the grace begins.
    let rest =
        stream::try_unfold(answers, |mut answers| async move { Ok(answers.next().await?.map(|down| (down, answers))) });
    Ok(stream::iter([Ok(opened)]).chain(rest).boxed())
}

/// The answers to one push; whoever reads them takes the edge's messages in.
struct PushAnswers {
    relay: Relay,
    up: Flow<PushUp>,
    duty: watch::Receiver<Duty>,
    feed: Hold,
    uncommitted: Uncommitted,
    /// The last number that was taken, and the last that is known to be committed.
    taken: Option<u64>,
    committed: Option<u64>,
    beat: Interval,
    said: Said,
}

/// How far the edge has got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    /// More may come.
    More,
    /// The encoder's close has come, and is not known to be committed.
    Close,
    /// The encoder was lost. Its edge keeps what is not known to be committed, and is told until all of it is.
    Lost,
    /// The close is committed.
    All,
}

impl PushAnswers {
    /// The next thing to tell the edge; None when the publication is over.
    async fn next(&mut self) -> Result<Option<PushDown>, RelayError> {
        loop {
            if self.said == Said::All || self.said == Said::Lost && self.taken <= self.committed {
                return Ok(None);
            }
            let epoch = epoch(&self.duty)?;
            // While another is about to be active, or nothing is committed for long, nothing more is taken: the edge keeps
            // it, and looks again with the next beat.
            let takes = self.said == Said::More && !self.duty.borrow().is_yielding() && !self.feed.is_held_up();
            tokio::select! {
                biased;
                changed = self.duty.changed() => {
                    changed.map_err(|_| RelayError::Transport("the origin is shutting down".into()))?;
                }
                acked = self.feed.committed() => {
                    if let Some(down) = self.acked(acked.map_err(|why| self.lost(why))?)? {
                        return Ok(Some(down));
                    }
                }
                up = self.up.next(), if takes => match up {
                    Some(up) => self.handle(up?)?,
                    None => {
                        self.feed.handle_lost();
                        self.said = Said::Lost;
                    }
                },
                _ = self.beat.tick() => return Ok(Some(PushDown::Beat { epoch })),
            }
        }
    }

    fn acked(&mut self, acked: Acked) -> Result<Option<PushDown>, RelayError> {
        match (acked.closed, self.said) {
            (true, Said::More) => return Err(RelayError::Gone),
            (true, _) => self.said = Said::All,
            (false, _) => {}
        }
        self.committed = self.committed.max(acked.through);
        if let Some(through) = acked.through {
            let latency = &self.relay.commit_latency;
            self.uncommitted.settle(through).for_each(|taken_at| latency.observe_duration(taken_at.elapsed()));
        }
        let epoch = epoch(&self.duty)?;
        Ok(acked.through.map(|through| PushDown::Ack { through, epoch }))
    }

    fn handle(&mut self, up: PushUp) -> Result<(), RelayError> {
        let (last, taken) = match up {
            PushUp::Beat { epoch } => {
                self.relay.hear(epoch);
                (None, Ok(()))
            }
            PushUp::Messages(messages) => {
                let last = messages.last().map(|(number, _)| *number);
                self.uncommitted.note(last);
                let mut messages = messages.into_iter();
                (last, messages.try_for_each(|(number, message)| self.feed.handle_message(number, message)))
            }
            PushUp::MetadataCleared(number) => (Some(number), self.feed.handle_metadata_cleared(number)),
            PushUp::Skip { from, to } => {
                tracing::warn!(stream = %self.feed.name(), from, to, "stream.skipped");
                (Some(to), self.feed.handle_skip(from, to))
            }
            PushUp::Close(number) => {
                self.said = Said::Close;
                (Some(number), self.feed.handle_close(number))
            }
        };
        self.taken = self.taken.max(last);
        taken.map_err(|why| self.lost(why))
    }

    fn lost(&self, why: NotTaken) -> RelayError {
        tracing::info!(stream = %self.feed.name(), %why, "push.not_taken");
        match why {
            NotTaken::Gone => RelayError::Gone,
            NotTaken::Superseded if !self.relay.streams.standing().active => not_active(&self.duty.borrow()),
            NotTaken::Superseded => RelayError::Transport(why.to_string()),
        }
    }
}

/// When batches were taken that are not known to be committed.
#[derive(Debug, Default)]
struct Uncommitted {
    /// The last number of each, and when it came.
    taken: VecDeque<(u64, Instant)>,
}

impl Uncommitted {
    /// More than this is not counted: nothing is committed for a long time then.
    const MAX: usize = 1024;

    fn note(&mut self, last: Option<u64>) {
        if self.taken.len() < Self::MAX {
            self.taken.extend(last.map(|last| (last, Instant::now())));
        }
    }

    /// When those were taken that are committed now.
    fn settle(&mut self, through: u64) -> impl Iterator<Item = Instant> + '_ {
        let settled = self.taken.partition_point(|(last, _)| *last <= through);
        self.taken.drain(..settled).map(|(_, taken_at)| taken_at)
    }
}

fn refusal(refused: Refused, duty: &watch::Receiver<Duty>) -> RelayError {
    match refused {
        Refused::Busy | Refused::Ending => RelayError::Refused(PublishRefusal::NameTaken),
        Refused::Gone => RelayError::Gone,
        Refused::NotActive => not_active(&duty.borrow()),
        Refused::HeldUp => RelayError::Transport(refused.to_string()),
    }
}
