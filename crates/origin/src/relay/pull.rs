//! One stream going out to an edge.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use cluster::Epoch;
use futures_util::{StreamExt, stream};
use hub::{Budget, Read, Reader, Start};
use media::StreamName;
use rpc::relay::{BATCH_BYTES, PullDown, PullFrom, PullRequest, RelayError, Stream};
use tokio::{
    sync::watch,
    time::{Instant, Interval},
};

use super::{Relay, deposed};
use crate::{pulse::beats, role::Term, stats::Stats, streams::Streams};

/// How often an edge hears from us while there is nothing to send.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long an edge may wait here for a stream to begin: then it asks again, or not.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Items in a batch at most.
const BATCH_ITEMS: usize = 256;

/// The answer to a pull: heartbeats until the stream is there, then its items.
pub(super) fn serve(relay: &Relay, request: PullRequest) -> Stream<PullDown> {
    relay.stats.pulls_served.fetch_add(1, Ordering::Relaxed);
    relay.stats.pulls_open.fetch_add(1, Ordering::Relaxed);
    let outlet = Outlet {
        stats: relay.stats.clone(),
        streams: relay.streams.clone(),
        changes: relay.streams.changes(),
        term: relay.term.clone(),
        name: request.stream,
        from: request.from,
        reader: None,
        heartbeat: beats(HEARTBEAT),
        give_up_at: Instant::now() + WAIT_MAX,
    };
    stream::unfold(Some(outlet), |outlet| async {
        let mut outlet = outlet?;
        match outlet.next().await {
            Ok(Some(down)) => Some((Ok(down), Some(outlet))),
            Ok(None) => None,
            Err(error) => Some((Err(error), None)),
        }
    })
    .boxed()
}

struct Outlet {
    stats: Arc<Stats>,
    streams: Arc<Streams>,
    changes: watch::Receiver<u64>,
    term: watch::Receiver<Term>,
    name: StreamName,
    from: PullFrom,
    /// None until the stream is there.
    reader: Option<Reader>,
    heartbeat: Interval,
    give_up_at: Instant,
}

impl Outlet {
    /// The next thing to tell the edge; None when the stream has ended.
    async fn next(&mut self) -> Result<Option<PullDown>, RelayError> {
        loop {
            // Asked each time: a deposed origin sends nothing more, not even the end of its streams.
            let epoch = super::epoch(&self.term)?;
            let Some(reader) = &mut self.reader else {
                match self.open(epoch) {
                    Some(opened) => return Ok(Some(opened)),
                    None => {
                        if let Some(down) = self.wait(epoch).await? {
                            return Ok(Some(down));
                        }
                        continue;
                    }
                }
            };
            let mut items = Vec::new();
            match reader.read(Budget { items: BATCH_ITEMS, bytes: BATCH_BYTES }, &mut items) {
                Read::Items | Read::Skipped(_) => {
                    let bytes: usize = items.iter().filter_map(|item| item.frame()).map(|f| f.payload.len()).sum();
                    self.stats.pulled_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
                    return Ok(Some(PullDown::Items {
                        epoch,
                        items: items.iter().map(|item| item.placed()).collect(),
                    }));
                }
                // Withdrawn streams end too, but have not come to their end.
                Read::Ended => return super::epoch(&self.term).map(|_| None),
                Read::Empty => {}
            }
            tokio::select! {
                biased;
                error = deposed(&mut self.term) => return Err(error),
                () = reader.ready() => {}
                _ = self.heartbeat.tick() => {
                    let head = reader.stream().info().committed_below.saturating_sub(1);
                    return Ok(Some(PullDown::Heartbeat { epoch, head }));
                }
            }
        }
    }

    /// Joins the stream, if it is there: committed in the present epoch, and not only known from an earlier one.
    fn open(&mut self, epoch: Epoch) -> Option<PullDown> {
        self.streams.standing().committed?;
        let stream = self.streams.hub().get(&self.name)?;
        let info = stream.info();
        if info.committed_below <= info.first_seq {
            return None;
        }
        let (start, rejoined) = match self.from {
            PullFrom::Live => (Start::Live, false),
            PullFrom::After(seq) => (Start::After(seq), seq.saturating_add(1) < info.first_seq),
        };
        self.reader = Some(stream.subscribe(start));
        Some(PullDown::Opened { epoch, head: info.committed_below - 1, rejoined })
    }

    /// Waits for the opening of a stream to be committed, of this one or another.
    async fn wait(&mut self, epoch: Epoch) -> Result<Option<PullDown>, RelayError> {
        tokio::select! {
            biased;
            error = deposed(&mut self.term) => Err(error),
            changed = self.changes.changed() => match changed {
                Ok(()) => Ok(None),
                Err(_) => Err(RelayError::NoStream),
            },
            () = tokio::time::sleep_until(self.give_up_at) => Err(RelayError::NoStream),
            _ = self.heartbeat.tick() => Ok(Some(PullDown::Heartbeat { epoch, head: 0 })),
        }
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.stats.pulls_open.fetch_sub(1, Ordering::Relaxed);
    }
}
