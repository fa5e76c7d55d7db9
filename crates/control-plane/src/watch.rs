//! Things that can be watched: what there is, and the last changes of it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::stream;
use rpc::{
    control::{Step, Steps, Watched},
    status::{Code, Failure},
};
use tokio::{sync::watch, time};

use crate::metrics::WatchMetrics;

/// Things by resource name, with a revision that grows with each change.
///
/// A watcher holds a position in the list of changes and nothing else, however slow it is; one that falls behind the
/// changes that are kept is told so and begins again with a snapshot.
pub(crate) struct WatchLog<T> {
    inner: Mutex<Inner<T>>,
    changed: watch::Sender<u64>,
    metrics: WatchMetrics,
}

struct Inner<T> {
    items: BTreeMap<String, T>,
    /// Of the last change.
    revision: u64,
    /// Changes after this revision are kept.
    base: u64,
    changes: VecDeque<Change<T>>,
    changes_max: usize,
}

struct Change<T> {
    revision: u64,
    name: String,
    /// The new value; none when it is gone.
    value: Option<T>,
}

impl<T: Clone + Send + 'static> WatchLog<T> {
    /// Things as they are at a revision.
    pub(crate) fn new(items: BTreeMap<String, T>, revision: u64, metrics: WatchMetrics) -> Self {
        let inner = Inner { items, revision, base: revision, changes: VecDeque::new(), changes_max: CHANGES_MAX };
        Self { inner: Mutex::new(inner), changed: watch::Sender::new(revision), metrics }
    }

    /// Keeps more changes, or fewer.
    pub(crate) fn keeping(self, changes_max: usize) -> Self {
        self.lock().changes_max = changes_max.max(1);
        self
    }

    /// One thing.
    pub(crate) fn get(&self, name: &str) -> Option<T> {
        self.lock().items.get(name).cloned()
    }

    /// All things by name.
    pub(crate) fn list(&self) -> Vec<T> {
        self.lock().items.values().cloned().collect()
    }

    /// All things by name, and their revision.
    pub(crate) fn snapshot(&self) -> (Vec<T>, u64) {
        let inner = self.lock();
        (inner.items.values().cloned().collect(), inner.revision)
    }

    /// The kept changes, oldest first: of a log of events, the events.
    pub(crate) fn kept(&self) -> Vec<T> {
        self.lock().changes.iter().filter_map(|change| change.value.clone()).collect()
    }

    /// The last of them, newest first.
    pub(crate) fn newest(&self, count: usize) -> Vec<T> {
        self.lock().changes.iter().rev().filter_map(|change| change.value.clone()).take(count).collect()
    }

    /// How many things there are.
    pub(crate) fn len(&self) -> usize {
        self.lock().items.len()
    }

    /// The revision of the last change.
    pub(crate) fn revision(&self) -> u64 {
        self.lock().revision
    }

    /// A thing that is new or has changed, at the next revision.
    pub(crate) fn put(&self, name: &str, value: T) {
        self.change(None, name, Some(value));
    }

    /// As `put`, at a revision that is given.
    pub(crate) fn put_at(&self, revision: u64, name: &str, value: T) {
        self.change(Some(revision), name, Some(value));
    }

    /// Something that happened: it is told, and not kept as a thing.
    pub(crate) fn append_at(&self, revision: u64, value: T) {
        let mut inner = self.lock();
        inner.push(Change { revision, name: String::new(), value: Some(value) });
        drop(inner);
        self.changed.send_replace(revision);
    }

    /// A thing that is gone, at the next revision.
    pub(crate) fn delete(&self, name: &str) {
        self.change(None, name, None);
    }

    /// As `delete`, at a revision that is given.
    pub(crate) fn delete_at(&self, revision: u64, name: &str) {
        self.change(Some(revision), name, None);
    }

    fn change(&self, revision: Option<u64>, name: &str, value: Option<T>) {
        let mut inner = self.lock();
        let revision = revision.unwrap_or(inner.revision + 1);
        let before = match &value {
            Some(value) => inner.items.insert(name.to_owned(), value.clone()).is_some(),
            None => inner.items.remove(name).is_some(),
        };
        if before || value.is_some() {
            inner.push(Change { revision, name: name.to_owned(), value });
            drop(inner);
            self.changed.send_replace(revision);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Inner<T> {
    fn push(&mut self, change: Change<T>) {
        debug_assert!(change.revision > self.revision, "revisions grow");
        self.revision = change.revision;
        self.changes.push_back(change);
        if self.changes.len() > self.changes_max
            && let Some(oldest) = self.changes.pop_front()
        {
            self.base = oldest.revision;
        }
    }

    fn check(&self, from: u64) -> Result<(), Failure> {
        if (self.base..=self.revision).contains(&from) {
            return Ok(());
        }
        let message = format!("revision {from} is not kept; the current one is {}: watch from 0", self.revision);
        let failure = Failure::new(Code::OutOfRange, "REVISION_COMPACTED", message);
        Err(failure.with("from_revision", from).with("revision", self.revision))
    }
}

impl<T: Clone + Send + Sync + 'static> WatchLog<T> {
    /// The changes after a revision; from 0 a snapshot first.
    pub(crate) fn watch(self: &Arc<Self>, from: u64) -> Result<Steps<T>, Failure> {
        let inner = self.lock();
        let mut ready = VecDeque::new();
        let position = if from == 0 {
            let snapshot = |value: &T| Step { revision: inner.revision, event: Watched::Snapshot(value.clone()) };
            ready.extend(inner.items.values().map(snapshot));
            inner.revision
        } else {
            inner.check(from)?;
            from
        };
        drop(inner);
        Ok(self.steps(position, ready))
    }

    /// As `watch`, of things that change more often than watchers are told: a snapshot shows them as they are `now`.
    pub(crate) fn watch_as_of(self: &Arc<Self>, from: u64, now: impl FnOnce() -> Vec<T>) -> Result<Steps<T>, Failure> {
        if from != 0 {
            return self.watch(from);
        }
        // First the revision, then the things: what changes in between is told again rather than never.
        let revision = self.revision();
        let snapshot = |value| Step { revision, event: Watched::Snapshot(value) };
        Ok(self.steps(revision, now().into_iter().map(snapshot).collect()))
    }

    /// The changes after a revision; from 0 those from now on.
    pub(crate) fn watch_from_now(self: &Arc<Self>, from: u64) -> Result<Steps<T>, Failure> {
        let inner = self.lock();
        let position = if from == 0 { inner.revision } else { from };
        inner.check(position)?;
        drop(inner);
        Ok(self.steps(position, VecDeque::new()))
    }

    fn steps(self: &Arc<Self>, position: u64, mut ready: VecDeque<Step<T>>) -> Steps<T> {
        ready.push_back(Step { revision: position, event: Watched::Bookmark });
        let mut heartbeat = time::interval_at(time::Instant::now() + HEARTBEAT, HEARTBEAT);
        heartbeat.set_missed_tick_behavior(time::MissedTickBehavior::Delay);
        let _counted = self.metrics.watchers.guard();
        let changed = self.changed.subscribe();
        let watcher = Watcher { log: self.clone(), position, ready, changed, heartbeat, ended: false, _counted };
        Box::pin(stream::unfold(watcher, |mut watcher| async move {
            let step = watcher.next().await?;
            Some((step, watcher))
        }))
    }
}

struct Watcher<T> {
    log: Arc<WatchLog<T>>,
    /// Everything up to here is told or ready.
    position: u64,
    ready: VecDeque<Step<T>>,
    changed: watch::Receiver<u64>,
    heartbeat: time::Interval,
    ended: bool,
    _counted: telemetry::metrics::GaugeGuard,
}

impl<T: Clone + Send + 'static> Watcher<T> {
    async fn next(&mut self) -> Option<Result<Step<T>, Failure>> {
        loop {
            if let Some(step) = self.ready.pop_front() {
                return Some(Ok(step));
            }
            if self.ended {
                return None;
            }
            self.changed.borrow_and_update();
            if let Err(compacted) = self.take_changes() {
                self.ended = true;
                return Some(Err(compacted));
            }
            if !self.ready.is_empty() {
                continue;
            }
            tokio::select! {
                changed = self.changed.changed() => self.ended = changed.is_err(),
                _ = self.heartbeat.tick() => {
                    return Some(Ok(Step { revision: self.position, event: Watched::Heartbeat }));
                }
            }
        }
    }

    /// Makes the next changes ready, a bounded number of them.
    fn take_changes(&mut self) -> Result<(), Failure> {
        let inner = self.log.lock();
        inner.check(self.position)?;
        let first = inner.changes.partition_point(|change| change.revision <= self.position);
        self.log.metrics.lag.observe((inner.changes.len() - first) as f64);
        for change in inner.changes.iter().skip(first).take(TAKE_MAX) {
            let event = match &change.value {
                Some(value) => Watched::Put(value.clone()),
                None => Watched::Deleted(change.name.clone()),
            };
            self.position = change.revision;
            self.ready.push_back(Step { revision: change.revision, event });
        }
        Ok(())
    }
}

/// How often a quiet watch shows that its server lives.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// Changes that are kept for watchers who are slow or come back.
const CHANGES_MAX: usize = 4096;
/// Changes that a watcher takes at a time.
const TAKE_MAX: usize = 256;

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::*;

    fn log() -> Arc<WatchLog<u32>> {
        let items = BTreeMap::from([("a".to_owned(), 1), ("b".to_owned(), 2)]);
        Arc::new(WatchLog::new(items, 10, WatchMetrics::unregistered()).keeping(3))
    }

    async fn next(steps: &mut Steps<u32>) -> (u64, Watched<u32>) {
        let step = steps.next().await.expect("a watch does not end").expect("it goes well");
        (step.revision, step.event)
    }

    #[tokio::test(start_paused = true)]
    async fn a_watch_is_snapshot_bookmark_changes_and_a_heartbeat_each_second() {
        let log = log();
        let mut steps = log.watch(0).unwrap();
        log.put("a", 7);
        log.delete("b");
        log.delete("unknown");
        for expected in [
            (10, Watched::Snapshot(1)),
            (10, Watched::Snapshot(2)),
            (10, Watched::Bookmark),
            (11, Watched::Put(7)),
            (12, Watched::Deleted("b".into())),
            (12, Watched::Heartbeat),
            (12, Watched::Heartbeat),
        ] {
            assert_eq!(next(&mut steps).await, expected);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_snapshot_of_what_changes_often_is_of_now_and_loses_no_change_meanwhile() {
        let log = log();
        let changing = log.clone();
        let mut steps = log
            .watch_as_of(0, || {
                changing.put("c", 3);
                vec![7, 8]
            })
            .unwrap();
        for expected in
            [(10, Watched::Snapshot(7)), (10, Watched::Snapshot(8)), (10, Watched::Bookmark), (11, Watched::Put(3))]
        {
            assert_eq!(next(&mut steps).await, expected);
        }
        let mut resumed = log.watch_as_of(10, || unreachable!("a resumed watch has no snapshot")).unwrap();
        assert_eq!(next(&mut resumed).await, (10, Watched::Bookmark));
    }

    #[tokio::test(start_paused = true)]
    async fn a_resumed_watch_tells_exactly_what_was_missed() {
        let log = log();
        log.put("c", 3);
        log.put("d", 4);
        let mut steps = log.watch(11).unwrap();
        assert_eq!(next(&mut steps).await, (11, Watched::Bookmark));
        assert_eq!(next(&mut steps).await, (12, Watched::Put(4)));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_no_longer_kept_is_compacted_also_for_a_slow_watcher() {
        let log = log();
        let mut slow = log.watch(10).unwrap();
        for n in 0..4 {
            log.put("c", n);
        }
        for from in [10, 15, 1] {
            let failure = log.watch(from).err().expect("it is not kept");
            assert_eq!((failure.code, failure.reason.as_str()), (Code::OutOfRange, "REVISION_COMPACTED"));
            assert_eq!(failure.get("revision"), Some("14"));
        }
        assert!(log.watch(11).is_ok());
        assert_eq!(next(&mut slow).await, (10, Watched::Bookmark));
        assert_eq!(slow.next().await.unwrap().unwrap_err().reason, "REVISION_COMPACTED");
        assert!(slow.next().await.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn events_are_told_from_now_on_and_kept() {
        let log = log();
        let mut steps = log.watch_from_now(0).unwrap();
        log.append_at(20, 5);
        assert_eq!(next(&mut steps).await, (10, Watched::Bookmark));
        assert_eq!(next(&mut steps).await, (20, Watched::Put(5)));
        assert_eq!((log.kept(), log.len()), (vec![5], 2));
    }
}
