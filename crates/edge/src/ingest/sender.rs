//! What goes up on one push.

use std::sync::Arc;

use carry::{Entry, Piece};
use futures_util::{
    StreamExt,
    stream::{self, BoxStream},
};
use rpc::{
    beat::{BEAT, beats},
    relay::{BATCH_BYTES, PushUp},
};
use tokio::{sync::watch, time::Interval};

use super::replay_queue::{End, Next, ReplayQueue};
use crate::upstream::Pool;

/// The sending side of one call.
pub(super) struct Sender {
    queue: Arc<ReplayQueue>,
    pool: Arc<Pool>,
    /// The first number that is not in the origin's log, once it has said so.
    opened: watch::Receiver<Option<u64>>,
    /// The number that is sent next. None: nothing but beats, until the origin has opened the publication.
    number: Option<u64>,
    beat: Interval,
}

impl Sender {
    /// Beats until the origin has opened the publication, then everything that is not in its log.
    pub(super) fn stream(
        queue: Arc<ReplayQueue>,
        pool: Arc<Pool>,
        opened: watch::Receiver<Option<u64>>,
    ) -> BoxStream<'static, PushUp> {
        let sender = Self { queue, pool, opened, number: None, beat: beats(BEAT) };
        stream::unfold(Some(sender), Self::next).flat_map(stream::iter).boxed()
    }

    async fn next(sender: Option<Self>) -> Option<(Vec<PushUp>, Option<Self>)> {
        let mut sender = sender?;
        let Some(number) = sender.number else {
            let beats = sender.await_opened().await;
            return Some((beats, Some(sender)));
        };
        tokio::select! {
            biased;
            next = sender.queue.next(number, BATCH_BYTES) => match next {
                Next::Pieces(pieces) => {
                    sender.number = pieces.last().map(Piece::next_number).max(sender.number);
                    Some((in_runs(pieces), Some(sender)))
                }
                Next::End(number, End::Closed) => Some((vec![PushUp::Close(number)], None)),
                Next::End(_, End::Lost) => None,
            },
            _ = sender.beat.tick() => Some((vec![sender.beat()], Some(sender))),
        }
    }

    async fn await_opened(&mut self) -> Vec<PushUp> {
        let opened = tokio::select! {
            biased;
            opened = self.opened.wait_for(Option::is_some) => opened.ok().and_then(|opened| *opened),
            _ = self.beat.tick() => None,
        };
        self.number = opened;
        if opened.is_some() { Vec::new() } else { vec![self.beat()] }
    }

    fn beat(&self) -> PushUp {
        PushUp::Beat { epoch: self.pool.epoch() }
    }
}

/// Messages that follow one another travel together.
fn in_runs(pieces: Vec<Piece>) -> Vec<PushUp> {
    let mut runs = Vec::new();
    for piece in pieces {
        match (piece, runs.last_mut()) {
            (Piece::Entry(number, Entry::Message(message)), Some(PushUp::Messages(run))) => run.push((number, message)),
            (Piece::Entry(number, Entry::Message(message)), _) => runs.push(PushUp::Messages(vec![(number, message)])),
            (Piece::Entry(number, Entry::MetadataCleared), _) => runs.push(PushUp::MetadataCleared(number)),
            (Piece::Skip { from, to }, _) => runs.push(PushUp::Skip { from, to }),
        }
    }
    runs
}
