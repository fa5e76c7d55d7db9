//! How long viewers waited for the first frame after the role had come here.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use cluster::{Epoch, FirstFrame};
use futures_util::{StreamExt, stream::FuturesUnordered};
use hub::{Budget, Read, Reader, Start};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

use crate::streams::Streams;

/// What came of the streams that were live when this origin began to serve.
#[derive(Debug)]
pub(crate) struct FirstFrames {
    streams: Arc<Streams>,
    /// Notified when the frame has come.
    urgent: Arc<Notify>,
    told: Mutex<(Epoch, FirstFrame)>,
}

impl FirstFrames {
    /// Of these streams; `urgent` is notified when the control plane is to hear of one at once.
    pub(crate) fn new(streams: Arc<Streams>, urgent: Arc<Notify>) -> Self {
        Self { streams, urgent, told: Mutex::default() }
    }

    /// What to say of the epoch.
    pub(crate) fn of(&self, epoch: Epoch) -> FirstFrame {
        let (of, told) = *self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if of == epoch { told } else { FirstFrame::NotTold }
    }

    /// This origin opens its port now; from here on [`FirstFrames::of`] tells of this epoch. Drive what is returned: it
    /// completes with the first new frame of a stream that is live now. Safe to drop at any await.
    pub(crate) fn begin(self: &Arc<Self>, epoch: Epoch) -> impl Future<Output = ()> + use<> {
        let live = self.streams.list().into_iter().filter_map(|live| {
            let last = live.stream.info.next_seq.saturating_sub(1);
            Some(self.streams.hub().get(&live.stream.name)?.subscribe(Start::After(last)))
        });
        let mut frames: FuturesUnordered<_> = live.map(frame).collect();
        self.tell(epoch, if frames.is_empty() { FirstFrame::NotTold } else { FirstFrame::Awaited });
        let (this, opened) = (self.clone(), Instant::now());
        async move {
            let any = async {
                loop {
                    match frames.next().await {
                        Some(false) => {}
                        first => return first.is_some(),
                    }
                }
            };
            if !timeout(WAIT_MAX, any).await.unwrap_or(false) {
                return;
            }
            let after = opened.elapsed();
            tracing::info!(epoch = epoch.0, after_ms = after.as_millis() as u64, "public.first_frame");
            this.tell(epoch, FirstFrame::After(after));
            this.urgent.notify_one();
        }
    }

    fn tell(&self, epoch: Epoch, first_frame: FirstFrame) {
        *self.told.lock().unwrap_or_else(PoisonError::into_inner) = (epoch, first_frame);
    }
}

/// Waits for the next frame that is committed. False: the stream ends without one.
async fn frame(mut reader: Reader) -> bool {
    let mut items = Vec::new();
    loop {
        let ended = reader.read(AT_A_TIME, &mut items) == Read::Ended;
        if items.drain(..).any(|item| item.frame().is_some()) {
            return true;
        }
        if ended {
            return false;
        }
        reader.ready().await;
    }
}

/// Entries of other kinds may come before the frame.
const AT_A_TIME: Budget = Budget { items: 64, bytes: 1 << 20 };
/// An encoder that has not come back by then had left before: its grace is over.
const WAIT_MAX: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
