//! The control plane itself: what it knows, and the one writer of what must outlive it.

use std::{
    collections::BTreeMap,
    future::Future,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use cluster::{Incarnation, Membership, NodeId, Pool, PoolId};
use daemon::{TaskEnded, Tasks};
use rpc::{
    control::{Event, NodeInfo, PoolInfo, RouteInfo, StreamInfo},
    status::{Code, Failure},
};
use telemetry::metrics::Registry;
use tokio::sync::{Notify, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    Config,
    commands::Commands,
    conversation::Links,
    directory::Directory,
    events::Draft,
    metrics::Metrics,
    notices::Taken,
    routes::RouteState,
    store::{Batch, CommitError, Contents, OpenError, Store, Write},
    time,
    watch::WatchLog,
};

/// A control plane; cheap to clone, all clones are one.
#[derive(Clone)]
pub struct ControlPlane {
    pub(crate) inner: Arc<Inner>,
}

/// A control plane that was opened and does not run yet.
pub struct Open {
    /// The control plane.
    pub control: ControlPlane,
    events: mpsc::Receiver<Draft>,
}

pub(crate) struct Inner {
    pub(crate) config: Config,
    pub(crate) started: Instant,
    pub(crate) store_id: String,
    /// Who grants roles: this start, on this store. A copy of the store that somebody else starts is not mistaken for it.
    pub(crate) granter: String,
    pub(crate) store_path: std::path::PathBuf,
    pub(crate) writer: tokio::sync::Mutex<Writer>,
    pub(crate) store_state: Mutex<StoreState>,
    pub(crate) routes: Arc<WatchLog<RouteInfo>>,
    pub(crate) route_state: Mutex<RouteState>,
    pub(crate) members: Mutex<Membership>,
    /// Of each node the former start that was refused last: told once, however often it comes.
    pub(crate) refused_starts: Mutex<BTreeMap<NodeId, Incarnation>>,
    pub(crate) nodes: Arc<WatchLog<NodeInfo>>,
    pub(crate) pools: Mutex<BTreeMap<PoolId, Pool>>,
    pub(crate) pool_infos: Arc<WatchLog<PoolInfo>>,
    /// One refresh of the pools' infos at a time, so that the last word is the newest.
    pub(crate) pool_refresh: Mutex<()>,
    pub(crate) pools_changed: Notify,
    /// Counts the looks at the pools.
    pub(crate) pools_driven: tokio::sync::watch::Sender<u64>,
    pub(crate) links: Links,
    pub(crate) commands: Commands,
    pub(crate) directory: Mutex<Directory>,
    pub(crate) streams: Arc<WatchLog<StreamInfo>>,
    pub(crate) events: Arc<WatchLog<Event>>,
    pub(crate) event_queue: mpsc::Sender<Draft>,
    pub(crate) notices: Mutex<Taken>,
    pub(crate) tasks: TaskTracker,
    /// Conversations that end from now on end because we go, not because their nodes do.
    pub(crate) leaving: CancellationToken,
    pub(crate) ending: CancellationToken,
    pub(crate) metrics: Metrics,
}

/// What is known of the store without asking it.
#[derive(Debug, Clone, Default)]
pub(crate) struct StoreState {
    pub(crate) revision: u64,
    pub(crate) last_commit: Duration,
    /// Why it takes no more.
    pub(crate) error: Option<String>,
}

/// The one that writes: whoever holds it decides on what is in memory, commits, and brings memory up to date.
pub(crate) struct Writer {
    store: Arc<Store>,
    revision: u64,
    sequence: u64,
}

impl ControlPlane {
    /// Opens the store below `config.data_dir`. Nothing happens until [`Open::run`] is polled.
    pub fn open(config: Config, registry: &Registry) -> Result<Open, OpenError> {
        let metrics = Metrics::register(registry);
        let dir: &Path = &config.data_dir;
        let (store, contents) = Store::open(dir, metrics.store.clone())?;
        tracing::info!(file = %store.path().display(), id = contents.id, revision = contents.revision, "store.opened");
        Ok(Self::with(config, metrics, store, contents))
    }

    /// A control plane on this store.
    pub(crate) fn with(config: Config, metrics: Metrics, store: Store, contents: Contents) -> Open {
        let started = Instant::now();
        let sequence = contents.events.last().map_or(0, |event| event.sequence);
        let events = WatchLog::new(BTreeMap::new(), 0, metrics.watch.clone()).keeping(config.events_max);
        for event in contents.events {
            events.append_at(event.sequence, event.into());
        }
        let granter = format!("{}.{:016x}", contents.id, rand::random::<u64>());
        let routes: BTreeMap<_, _> =
            contents.routes.into_iter().map(|route| (route.entry.id.resource(), route.into())).collect();
        let pools = contents.pools.into_iter().map(|record| {
            let rules = config.rules(&record.id);
            (record.id.clone(), Pool::new(record, rules, started).granting_as(&granter))
        });
        let pools = pools.collect();
        let mut members = Membership::new(config.limits());
        members.restore(contents.starts, started, time::unix_ms());
        let in_memory = time::first_revision();
        let (event_queue, queued) = mpsc::channel(EVENTS_QUEUED_MAX);
        let inner = Inner {
            started,
            store_id: contents.id,
            granter,
            store_path: store.path().to_owned(),
            store_state: Mutex::new(StoreState { revision: contents.revision, ..StoreState::default() }),
            writer: tokio::sync::Mutex::new(Writer { store: Arc::new(store), revision: contents.revision, sequence }),
            route_state: Mutex::new(RouteState::new(routes.values(), contents.seeded)),
            routes: Arc::new(WatchLog::new(routes, contents.routes_revision, metrics.watch.clone())),
            members: Mutex::new(members),
            refused_starts: Mutex::default(),
            nodes: Arc::new(WatchLog::new(BTreeMap::new(), in_memory, metrics.watch.clone())),
            pools: Mutex::new(pools),
            pool_infos: Arc::new(WatchLog::new(BTreeMap::new(), in_memory, metrics.watch.clone())),
            pool_refresh: Mutex::new(()),
            pools_changed: Notify::new(),
            pools_driven: tokio::sync::watch::Sender::default(),
            links: Links::default(),
            commands: Commands::default(),
            directory: Mutex::new(Directory::default()),
            streams: Arc::new(WatchLog::new(BTreeMap::new(), in_memory, metrics.watch.clone())),
            events: Arc::new(events),
            event_queue,
            notices: Mutex::default(),
            tasks: TaskTracker::new(),
            leaving: CancellationToken::new(),
            ending: CancellationToken::new(),
            metrics,
            config,
        };
        let control = Self { inner: Arc::new(inner) };
        control.refresh_pools();
        Open { control, events: queued }
    }

    /// To be called before the answers end: nodes that fall silent from now on do so because the control plane goes.
    pub fn leave(&self) {
        self.inner.leaving.cancel();
    }

    /// Does work that must not be given up half-way: it goes on when the caller is gone.
    pub(crate) async fn mutate<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, Failure>> + Send + 'static,
    ) -> Result<T, Failure> {
        let done = self.inner.tasks.spawn(work).await;
        done.unwrap_or_else(|_| {
            Err(Failure::new(Code::Internal, "INTERNAL", "the change was not completed; see the log"))
        })
    }

    /// Tells of something that happened by itself. Never waits.
    pub(crate) fn tell(&self, draft: Draft) {
        if let Err(error) = self.inner.event_queue.try_send(draft) {
            tracing::warn!(%error, "control.event_not_stored");
        }
    }

    /// Waits until the store may be written, and keeps everybody else from it.
    pub(crate) async fn writer(&self) -> WriterGuard<'_> {
        WriterGuard { control: self, writer: self.inner.writer.lock().await }
    }
}

impl Open {
    /// Runs the control plane until `shutdown` completes: beats, roles, events. The services answer meanwhile.
    ///
    /// An error ends it before that: without the task that has ended nobody would be promoted any more, or nothing be
    /// told, while nodes and operators get answers as ever. Its process should end too, and another be started.
    pub async fn run(self, shutdown: impl Future<Output = ()>) -> Result<(), TaskEnded> {
        let Self { control, events } = self;
        control.seed_routes(control.inner.config.routes.clone()).await;
        let store = control.inner.store_path.display().to_string();
        control.tell(Draft::info("control.started", "cluster", "the control plane has started").with("store", store));
        let inner = &control.inner;
        // Should this future be dropped, the tasks end by themselves, and leave nothing half written.
        let told_all = CancellationToken::new();
        let last = told_all.clone().drop_guard();
        let ending = inner.ending.clone().drop_guard();
        let mut tasks = Tasks::default();
        tasks.watch("events", tokio::spawn(control.clone().store_events(events, told_all)));
        tasks.watch("roles", inner.tasks.spawn(control.clone().drive_pools()));
        let outcome = tokio::select! {
            () = shutdown => Ok(()),
            () = control.clone().watch_silence() => unreachable!("it watches for ever"),
            ended = tasks.first_ended() => Err(ended),
        };
        control.leave();
        drop(ending);
        inner.tasks.close();
        inner.tasks.wait().await;
        // Until here something may have been told.
        drop(last);
        tasks.join().await;
        outcome
    }
}

impl ControlPlane {
    /// Stores what happened, as much as there is at a time, until all has been told and what came before it is stored.
    async fn store_events(self, mut queue: mpsc::Receiver<Draft>, told_all: CancellationToken) {
        let mut drafts = Vec::new();
        loop {
            tokio::select! {
                biased;
                _ = queue.recv_many(&mut drafts, EVENTS_AT_A_TIME) => {}
                () = told_all.cancelled() => return,
            }
            let drafts = std::mem::take(&mut drafts);
            let receipts = drafts.iter().filter_map(Draft::receipt).collect();
            // Events that cannot be stored are told all the same; the failure of the store has been logged.
            if self.writer().await.commit(Vec::new(), drafts).await.is_ok() {
                self.notices_stored(receipts);
            }
        }
    }
}

/// The writer, held.
pub(crate) struct WriterGuard<'a> {
    control: &'a ControlPlane,
    writer: tokio::sync::MutexGuard<'a, Writer>,
}

impl WriterGuard<'_> {
    /// Writes, and returns the revision once all is on disk. Watchers of events are told then; the caller tells the others.
    ///
    /// When the store fails, nothing is changed and the control plane takes no more changes; events alone are still told.
    pub(crate) async fn commit(&mut self, writes: Vec<Write>, drafts: Vec<Draft>) -> Result<u64, Failure> {
        let inner = &self.control.inner;
        let writer = &mut *self.writer;
        let revision = writer.revision + 1;
        let numbered = |(n, draft): (usize, Draft)| draft.numbered(writer.sequence + 1 + n as u64);
        let events: Vec<_> = drafts.into_iter().enumerate().map(numbered).collect();
        let sequence = writer.sequence + events.len() as u64;
        let forget_events_through = sequence.saturating_sub(inner.config.events_max as u64);
        let events_only = writes.is_empty();
        let outcome = match lock(&inner.store_state).error.clone() {
            Some(error) => Err(store_failed(&error)),
            None => Ok(()),
        };
        let outcome = match outcome {
            Ok(()) => {
                let batch = Batch { revision, writes, events: events.clone(), forget_events_through };
                let store = writer.store.clone();
                let began = Instant::now();
                let committed = tokio::task::spawn_blocking(move || store.commit(&batch)).await;
                self.control.judge(committed, revision, began.elapsed())
            }
            failed => failed,
        };
        if outcome.is_ok() {
            writer.revision = revision;
        }
        if outcome.is_ok() || events_only {
            writer.sequence = sequence;
            for event in events {
                inner.events.append_at(event.sequence, event.into());
            }
        }
        outcome.map(|()| revision)
    }
}

impl ControlPlane {
    fn judge(
        &self,
        committed: Result<Result<(), CommitError>, tokio::task::JoinError>,
        revision: u64,
        took: Duration,
    ) -> Result<(), Failure> {
        let mut state = lock(&self.inner.store_state);
        let error = match committed {
            Ok(Ok(())) => {
                state.revision = revision;
                state.last_commit = took;
                return Ok(());
            }
            Ok(Err(CommitError::Version { pool, stored, given })) => {
                let message = format!("the pool {pool} has version {stored} in the store, not {given}");
                return Err(Failure::new(Code::Aborted, "POOL_CHANGED", message).with("version", stored));
            }
            Ok(Err(CommitError::Storage(error))) => error,
            Err(panicked) => panicked.to_string(),
        };
        tracing::error!(file = %self.inner.store_path.display(), %error, "store.failed");
        state.error = Some(error.clone());
        Err(store_failed(&error))
    }

    /// What is known of the store.
    pub(crate) fn store_state(&self) -> StoreState {
        lock(&self.inner.store_state).clone()
    }
}

fn store_failed(error: &str) -> Failure {
    let message = format!(
        "the store cannot be written ({error}); nothing was changed: make room or repair the disk, then restart the \
         control plane"
    );
    Failure::new(Code::Unavailable, "STORE_FAILED", message).with("error", error)
}

/// A lock that a panic elsewhere does not take away.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Events that wait to be stored; more are only logged.
const EVENTS_QUEUED_MAX: usize = 4096;
/// Events that are stored in one commit.
const EVENTS_AT_A_TIME: usize = 256;
