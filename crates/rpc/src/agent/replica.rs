//! A copy of what a watch tells.

use std::{collections::BTreeMap, future::Future, sync::Arc, time::Duration};

use futures_util::StreamExt;
use tokio::time;

use super::in_time;
use crate::{
    control::{Step, Steps, Watched},
    status::{Code, Failure},
};

/// A copy of a collection. What it holds stays until a complete snapshot replaces it.
#[derive(Debug)]
pub(super) struct Replica<T> {
    name: fn(&T) -> String,
    items: BTreeMap<String, T>,
    /// The snapshot that is coming in.
    incoming: Option<BTreeMap<String, T>>,
    /// Where the watch can resume; 0: nowhere.
    revision: u64,
}

impl<T: Clone> Replica<T> {
    /// A copy that holds what was known before.
    pub(super) fn new(known: &[T], name: fn(&T) -> String) -> Self {
        let items = known.iter().map(|item| (name(item), item.clone())).collect();
        Self { name, items, incoming: None, revision: 0 }
    }

    /// The next watch begins with a snapshot.
    pub(super) fn begin_anew(&mut self) {
        self.revision = 0;
    }

    /// Where to begin the next watch.
    fn begin(&mut self) -> u64 {
        self.incoming = (self.revision == 0).then(BTreeMap::new);
        self.revision
    }

    /// Applies a step. True: what is held may have changed, and is complete.
    fn apply(&mut self, step: Step<T>) -> bool {
        let changed = match step.event {
            Watched::Snapshot(item) => {
                if let Some(incoming) = &mut self.incoming {
                    incoming.insert((self.name)(&item), item);
                }
                return false;
            }
            Watched::Bookmark => {
                if let Some(incoming) = self.incoming.take() {
                    self.items = incoming;
                }
                true
            }
            Watched::Put(item) => {
                self.items.insert((self.name)(&item), item);
                true
            }
            Watched::Deleted(name) => self.items.remove(&name).is_some(),
            Watched::Heartbeat => false,
        };
        if self.incoming.is_none() {
            self.revision = step.revision;
        }
        changed
    }

    fn complete(&self) -> bool {
        self.incoming.is_none()
    }

    fn items(&self) -> Arc<[T]> {
        self.items.values().cloned().collect()
    }
}

/// Keeps the copy up to date by a watch, until that ends; a revision that is too old is followed by a new snapshot.
/// `publish` gets the items and whether the copy is complete, `confirm` hears of each step that finds it complete.
pub(super) async fn follow<T, W, F>(
    replica: &mut Replica<T>,
    watch: W,
    publish: impl Fn(Arc<[T]>, bool),
    confirm: impl Fn(),
) -> Failure
where
    T: Clone,
    W: Fn(u64) -> F,
    F: Future<Output = Result<Steps<T>, Failure>>,
{
    loop {
        let from = replica.begin();
        let failure = match in_time(watch(from)).await {
            Ok(steps) => apply_all(replica, steps, &publish, &confirm).await,
            Err(failure) => failure,
        };
        if failure.reason != REVISION_COMPACTED || from == 0 {
            return failure;
        }
        replica.begin_anew();
    }
}

async fn apply_all<T: Clone>(
    replica: &mut Replica<T>,
    mut steps: Steps<T>,
    publish: impl Fn(Arc<[T]>, bool),
    confirm: impl Fn(),
) -> Failure {
    loop {
        let step = match time::timeout(SILENCE_MAX, steps.next()).await {
            Ok(Some(Ok(step))) => step,
            Ok(Some(Err(failure))) => return failure,
            Ok(None) => return Failure::new(Code::Unavailable, "WATCH_ENDED", "the control plane ended a watch"),
            Err(_) => return Failure::new(Code::Unavailable, "WATCH_SILENT", "a watch has fallen silent"),
        };
        let changed = replica.apply(step);
        if replica.complete() {
            confirm();
        }
        if changed {
            publish(replica.items(), replica.complete());
        }
    }
}

/// The reason of a server that no longer knows what has changed since.
const REVISION_COMPACTED: &str = "REVISION_COMPACTED";
/// A watch says something each second.
const SILENCE_MAX: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use super::*;

    fn step(revision: u64, event: Watched<&'static str>) -> Step<&'static str> {
        Step { revision, event }
    }

    fn replica(known: &[&'static str]) -> Replica<&'static str> {
        Replica::new(known, |item| (*item).to_owned())
    }

    #[test]
    fn what_was_known_stays_until_the_snapshot_is_complete() {
        let mut copy = replica(&["old"]);
        assert_eq!(copy.begin(), 0);
        assert!(!copy.apply(step(5, Watched::Snapshot("new"))));
        assert_eq!(*copy.items(), ["old"]);
        assert!(copy.apply(step(5, Watched::Bookmark)));
        assert_eq!(*copy.items(), ["new"]);
    }

    #[test]
    fn a_snapshot_that_was_cut_off_is_begun_anew() {
        let mut copy = replica(&["old"]);
        copy.begin();
        copy.apply(step(5, Watched::Snapshot("half")));
        assert_eq!(copy.begin(), 0);
        copy.apply(step(6, Watched::Snapshot("whole")));
        copy.apply(step(6, Watched::Bookmark));
        assert_eq!(*copy.items(), ["whole"]);
    }

    #[test]
    fn a_resumed_watch_keeps_what_it_had() {
        let mut copy = replica(&[]);
        copy.begin();
        copy.apply(step(1, Watched::Snapshot("a")));
        copy.apply(step(1, Watched::Bookmark));
        copy.apply(step(2, Watched::Put("b")));
        assert!(!copy.apply(step(3, Watched::Heartbeat)));
        assert_eq!(copy.begin(), 3);
        assert!(copy.apply(step(3, Watched::Bookmark)));
        assert!(copy.apply(step(4, Watched::Deleted("a".into()))));
        assert!(!copy.apply(step(5, Watched::Deleted("nobody".into()))));
        assert_eq!((&*copy.items(), copy.begin()), (&["b"][..], 5));
    }
}
