//! Publications of one name, one behind the other.

use std::{sync::Arc, time::Duration};

use dashmap::{DashMap, Entry};
use media::StreamName;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::replay_queue::ReplayQueue;

/// The publications of this edge that are on their way to an origin.
///
/// Each goes up on a call of its own, and calls overtake one another: an encoder that ends its publication and begins
/// the next in the same moment would find its own name taken. So the next is not asked for before the ends that came
/// ahead of it here have been brought to where they belong.
#[derive(Debug, Clone, Default)]
pub(super) struct Underway(Arc<DashMap<StreamName, Vec<Pushed>>>);

#[derive(Debug)]
struct Pushed {
    queue: Arc<ReplayQueue>,
    over: CancellationToken,
}

/// Held by the task of a publication: dropped, the publication is over for this edge.
#[derive(Debug)]
pub(super) struct OnItsWay {
    all: Underway,
    stream: StreamName,
    over: CancellationToken,
}

impl Underway {
    /// Waits until the publications of this name that have ended are over, but not for longer than `limit`. Those that
    /// have not ended are not waited for: whether they yield is for the origin to say. Safe to drop at the await.
    pub(super) async fn ended_are_over(&self, stream: &StreamName, limit: Duration) {
        let ended = self.0.get(stream).map(|pushed| {
            let ended = pushed.iter().filter(|pushed| pushed.queue.has_ended());
            ended.map(|pushed| pushed.over.clone()).collect::<Vec<_>>()
        });
        let over = async {
            for over in ended.unwrap_or_default() {
                over.cancelled().await;
            }
        };
        if timeout(limit, over).await.is_err() {
            tracing::warn!(%stream, "publish.not_awaited");
        }
    }

    /// A publication sets out.
    pub(super) fn begin(&self, stream: &StreamName, queue: &Arc<ReplayQueue>) -> OnItsWay {
        let over = CancellationToken::new();
        let pushed = Pushed { queue: queue.clone(), over: over.clone() };
        self.0.entry(stream.clone()).or_default().push(pushed);
        OnItsWay { all: self.clone(), stream: stream.clone(), over }
    }
}

impl Drop for OnItsWay {
    fn drop(&mut self) {
        self.over.cancel();
        if let Entry::Occupied(mut pushed) = self.all.0.entry(self.stream.clone()) {
            pushed.get_mut().retain(|pushed| !pushed.over.is_cancelled());
            if pushed.get().is_empty() {
                pushed.remove();
            }
        }
    }
}
