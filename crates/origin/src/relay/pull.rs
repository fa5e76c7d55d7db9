//! One stream going out to an edge.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use cluster::Epoch;
use futures_util::{StreamExt, stream};
use hub::{Budget, Read, Reader, Start};
use replica::Standing;
use rpc::relay::{BATCH_BYTES, Flow, PullDown, PullFrom, PullRequest, RelayError};
use tokio::{
    sync::watch,
    time::{Instant, Interval},
};

use super::{Relay, deposed};
use crate::{
    pulse::beats,
    role::Duty,
    stats::Stats,
    streams::{Lookout, Streams},
};

/// How often an edge hears from us while there is nothing to send.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long an edge may wait here for a stream to begin: then it asks again, or not.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// Items in a batch at most.
const BATCH_ITEMS: usize = 256;

/// The answer to a pull: heartbeats until the stream is there, then its items.
pub(super) fn serve(relay: &Relay, request: PullRequest) -> Flow<PullDown> {
    relay.stats.pulls_served.fetch_add(1, Ordering::Relaxed);
    relay.stats.pulls_open.fetch_add(1, Ordering::Relaxed);
    let answers = PullAnswers {
        stats: relay.stats.clone(),
        streams: relay.streams.clone(),
        lookout: relay.streams.look_for(request.stream),
        duty: relay.duty.clone(),
        from: request.from,
        had_in: request.had_in,
        reader: None,
        heartbeat: beats(HEARTBEAT),
        give_up_at: Instant::now() + WAIT_MAX,
    };
    stream::try_unfold(answers, |mut answers| async move { Ok(answers.next().await?.map(|down| (down, answers))) })
        .boxed()
}

/// The answers to one pull: heartbeats, then items as fast as they are read.
struct PullAnswers {
    stats: Arc<Stats>,
    streams: Arc<Streams>,
    lookout: Lookout,
    duty: watch::Receiver<Duty>,
    from: PullFrom,
    had_in: Epoch,
    /// None until the stream is there.
    reader: Option<Reader>,
    heartbeat: Interval,
    give_up_at: Instant,
}

impl PullAnswers {
    /// The next thing to tell the edge; None when the stream has ended.
    async fn next(&mut self) -> Result<Option<PullDown>, RelayError> {
        loop {
            // Asked each time: a deposed origin sends nothing more, not even the end of its streams.
            let epoch = super::epoch(&self.duty)?;
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
                // Withdrawn streams end too, but have not come to their end. The replica, which withdraws them, knows that it is
                // deposed before the duty says so.
                Read::Ended => {
                    let Standing { active, epoch, .. } = self.streams.standing();
                    if !active {
                        return Err(RelayError::NotActive { active: None, epoch });
                    }
                    return super::epoch(&self.duty).map(|_| None);
                }
                Read::Empty => {}
            }
            tokio::select! {
                biased;
                error = deposed(&mut self.duty) => return Err(error),
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
        // In this order: those who wait for names that are not there may be many, and do not hold up the replica.
        let stream = self.lookout.look()?;
        self.streams.standing().committed?;
        let info = stream.info();
        if info.committed_below <= info.first_seq {
            return None;
        }
        let (start, rejoined) = match self.from {
            PullFrom::Live => (Start::LastKeyframe, false),
            PullFrom::After(seq) => (Start::After(seq), seq.saturating_add(1) < info.first_seq),
        };
        let parted_from = match self.from {
            PullFrom::After(seq) if self.had_in > Epoch(0) => {
                self.streams.with(|replica, _| replica.parted_from(stream.name(), seq, self.had_in))
            }
            PullFrom::Live | PullFrom::After(_) => None,
        };
        self.reader = Some(stream.subscribe(start));
        Some(PullDown::Opened { epoch, head: info.committed_below - 1, rejoined, parted_from })
    }

    /// Waits for the opening of a stream to be committed, of this one or another. None: it is to be looked for again.
    async fn wait(&mut self, epoch: Epoch) -> Result<Option<PullDown>, RelayError> {
        tokio::select! {
            biased;
            error = deposed(&mut self.duty) => Err(error),
            changed = self.lookout.changed() => if changed { Ok(None) } else { Err(RelayError::NoStream) },
            () = tokio::time::sleep_until(self.give_up_at) => Err(RelayError::NoStream),
            _ = self.heartbeat.tick() => {
                // An edge takes it for our word that the stream is not here: as long as nothing is committed anew, it may be.
                let knows = self.streams.standing().committed.is_some();
                Ok(knows.then(|| self.open(epoch).unwrap_or(PullDown::Heartbeat { epoch, head: 0 })))
            }
        }
    }
}

impl Drop for PullAnswers {
    fn drop(&mut self) {
        self.stats.pulls_open.fetch_sub(1, Ordering::Relaxed);
    }
}
