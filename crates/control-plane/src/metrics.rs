//! What the control plane counts.

use telemetry::metrics::{Buckets, CounterFamily, Gauge, GaugeFamily, Histogram, Registry};

/// The control plane's metrics.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    /// One for the watchers of all kinds.
    pub(crate) watch: WatchMetrics,
    /// Of the store.
    pub(crate) store: StoreMetrics,
    /// Nodes by kind and state.
    pub(crate) nodes: GaugeFamily<2>,
    /// Each pool's epoch.
    pub(crate) epoch: GaugeFamily<1>,
    /// Each pool's members without which nothing is committed.
    pub(crate) in_sync: GaugeFamily<1>,
    /// Whether each pool's roles are kept from moving by themselves.
    pub(crate) hold: GaugeFamily<1>,
    /// Grants of the active role.
    pub(crate) grants: CounterFamily<2>,
    /// How long each phase of a role change took.
    pub(crate) promotion: telemetry::metrics::HistogramFamily<1>,
    /// Messages of nodes that were refused.
    pub(crate) refused: CounterFamily<1>,
}

/// What watchers show.
#[derive(Clone, Debug)]
pub(crate) struct WatchMetrics {
    /// How many there are.
    pub(crate) watchers: Gauge,
    /// How many changes each was behind when it took the next ones.
    pub(crate) lag: Histogram,
}

/// What the store shows.
#[derive(Clone, Debug)]
pub(crate) struct StoreMetrics {
    /// Time of a commit, with its fsync.
    pub(crate) commit: Histogram,
    /// Time of an fsync.
    pub(crate) fsync: Histogram,
    /// The last revision.
    pub(crate) revision: Gauge,
}

impl Metrics {
    pub(crate) fn register(registry: &Registry) -> Self {
        let seconds = Buckets::Seconds;
        let changes = Buckets::Exponential { start: 1.0, factor: 4.0, count: 7 };
        Self {
            watch: WatchMetrics {
                watchers: registry.gauge("watchers", "Open watches."),
                lag: registry.histogram("watch_lag_revisions", "Changes that a watcher was behind.", changes),
            },
            store: StoreMetrics {
                commit: registry.histogram("store_commit_seconds", "Time of a commit with its fsync.", seconds),
                fsync: registry.histogram("store_fsync_seconds", "Time of an fsync.", seconds),
                revision: registry.gauge("store_revision", "The revision of the last commit."),
            },
            nodes: registry.gauges("nodes", "Known nodes.", ["kind", "state"]),
            epoch: registry.gauges("epoch", "The epoch of a pool.", ["pool"]),
            in_sync: registry.gauges("in_sync_members", "Members without which nothing is committed.", ["pool"]),
            hold: registry.gauges("pool_hold", "1 while no role moves by itself.", ["pool"]),
            grants: registry.counters("failovers_total", "Grants of the active role.", ["pool", "cause"]),
            promotion: registry.histograms("failover_seconds", "Time of a phase of a role change.", seconds, ["phase"]),
            refused: registry.counters("node_messages_refused_total", "Messages refused of nodes.", ["reason"]),
        }
    }
}

#[cfg(test)]
impl WatchMetrics {
    /// For tests that show nothing.
    pub(crate) fn unregistered() -> Self {
        Metrics::register(&Registry::new()).watch
    }
}
