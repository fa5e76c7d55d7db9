//! Metrics: plain handles that services update, and one text page that shows them.

mod family;
mod scrape;

use std::{
    collections::BTreeSet,
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use prometheus_client::{
    encoding::text,
    metrics::{counter, gauge, histogram},
};

pub use family::{CounterFamily, GaugeFamily, HistogramFamily};
pub use scrape::{Distribution, Samples};

/// What every metric's name begins with.
const PREFIX: &str = "headwater";

/// The content type of [`Registry::render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All metrics of one process; cheap to clone. Names are given without the prefix `headwater_`.
#[derive(Clone, Default)]
pub struct Registry {
    inner: Arc<Mutex<Inner>>,
}

struct Inner {
    names: BTreeSet<String>,
    registry: prometheus_client::registry::Registry,
}

impl Default for Inner {
    fn default() -> Self {
        Self { names: BTreeSet::new(), registry: prometheus_client::registry::Registry::with_prefix(PREFIX) }
    }
}

impl Registry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Something that only grows; the name may end in `_total`, which is shown once.
    pub fn counter(&self, name: &str, help: &str) -> Counter {
        let counter = Counter::default();
        self.register(name, help, counter.0.clone());
        counter
    }

    /// Something that rises and falls.
    pub fn gauge(&self, name: &str, help: &str) -> Gauge {
        let gauge = Gauge::default();
        self.register(name, help, gauge.0.clone());
        gauge
    }

    /// The distribution of something; see [`Buckets`].
    pub fn histogram(&self, name: &str, help: &str, buckets: Buckets) -> Histogram {
        let histogram = Histogram::new(buckets);
        self.register(name, help, histogram.0.clone());
        histogram
    }

    /// Counters told apart by labels, e.g. `counters("frames_total", "...", ["dir", "type"])`.
    pub fn counters<const N: usize>(&self, name: &str, help: &str, labels: [&'static str; N]) -> CounterFamily<N> {
        let family = CounterFamily::new(labels, Counter::default);
        self.register(name, help, family.exported());
        family
    }

    /// Gauges told apart by labels.
    pub fn gauges<const N: usize>(&self, name: &str, help: &str, labels: [&'static str; N]) -> GaugeFamily<N> {
        let family = GaugeFamily::new(labels, Gauge::default);
        self.register(name, help, family.exported());
        family
    }

    /// Histograms told apart by labels.
    pub fn histograms<const N: usize>(
        &self,
        name: &str,
        help: &str,
        buckets: Buckets,
        labels: [&'static str; N],
    ) -> HistogramFamily<N> {
        let family = HistogramFamily::new(labels, move || Histogram::new(buckets));
        self.register(name, help, family.exported());
        family
    }

    /// Asks `collect` at every scrape: for counts that a core crate keeps in a plain `Stats`. It must not use the registry.
    pub fn collect(&self, collect: impl Fn(&mut Samples) + Send + Sync + 'static) {
        self.lock().registry.register_collector(Box::new(scrape::Callback::new(collect)));
    }

    /// The OpenMetrics text of everything, ended by `# EOF`.
    pub fn render(&self) -> String {
        let mut page = String::with_capacity(16 * 1024);
        text::encode(&mut page, &self.lock().registry).expect("writing to a String cannot fail");
        debug_assert_eq!(shown_twice(&page), None, "whoever reads the page takes one of the two values");
        page
    }

    fn register(&self, name: &str, help: &str, metric: impl prometheus_client::registry::Metric) {
        let mut inner = self.lock();
        let name = base_name(name);
        assert!(inner.names.insert(name.to_owned()), "the metric {name} is registered twice");
        inner.registry.register(name, help.trim_end_matches('.'), metric);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry").field("names", &self.lock().names).finish()
    }
}

/// The first series, or description of a metric, that stands on the page already.
fn shown_twice(page: &str) -> Option<&str> {
    let mut shown = BTreeSet::new();
    let mut subjects = page.lines().map(|line| match line.rsplit_once(' ') {
        Some((series, _value)) if !line.starts_with('#') => series,
        _ => line,
    });
    subjects.find(|subject| !shown.insert(*subject))
}

/// The encoder adds `_total` to a counter itself.
fn base_name(name: &str) -> &str {
    name.strip_suffix("_total").unwrap_or(name)
}

/// Counts up; cheap to clone, all clones are one counter.
#[derive(Clone, Debug, Default)]
pub struct Counter(counter::Counter<u64, AtomicU64>);

impl Counter {
    /// One more.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// `n` more.
    pub fn add(&self, n: u64) {
        self.0.inc_by(n);
    }

    /// The count so far.
    pub fn value(&self) -> u64 {
        self.0.get()
    }

    /// Raises the counter to a total that is counted elsewhere; a lower one changes nothing.
    pub fn raise_to(&self, total: u64) {
        self.0.inner().fetch_max(total, Ordering::Relaxed);
    }
}

/// A value that rises and falls; cheap to clone, all clones are one gauge.
#[derive(Clone, Debug, Default)]
pub struct Gauge(gauge::Gauge<f64, AtomicU64>);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }

    /// One more.
    pub fn inc(&self) {
        self.0.inc();
    }

    /// One less.
    pub fn dec(&self) {
        self.0.dec();
    }

    /// The value now.
    pub fn value(&self) -> f64 {
        self.0.get()
    }

    /// Counts one until the guard is dropped: for sessions, requests and whatever else must not be forgotten.
    pub fn guard(&self) -> GaugeGuard {
        self.inc();
        GaugeGuard(self.clone())
    }
}

/// Counts one on its gauge for as long as it lives.
#[derive(Debug)]
#[must_use = "the gauge falls when this is dropped"]
pub struct GaugeGuard(Gauge);

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A distribution; cheap to clone, all clones are one histogram.
#[derive(Clone, Debug)]
pub struct Histogram(histogram::Histogram);

impl Histogram {
    fn new(buckets: Buckets) -> Self {
        Self(histogram::Histogram::new(buckets.bounds()))
    }

    /// Adds one observation.
    pub fn observe(&self, value: f64) {
        self.0.observe(value);
    }

    /// Adds one observation of a time, in seconds.
    pub fn observe_duration(&self, time: Duration) {
        self.0.observe(time.as_secs_f64());
    }
}

/// The bucket bounds of a histogram.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Buckets {
    /// Times within a process or between two: 0.5 ms doubling to 16 s.
    Seconds,
    /// Sizes of queues and messages: 1 KiB, four times as much each, to 64 MiB.
    Bytes,
    /// `start`, `start * factor`, … `count` of them.
    Exponential {
        /// The lowest bound.
        start: f64,
        /// What each bound is multiplied by.
        factor: f64,
        /// How many bounds there are; +Inf comes on top.
        count: u16,
    },
}

impl Buckets {
    fn bounds(self) -> Vec<f64> {
        let (start, factor, count) = match self {
            Self::Seconds => (0.0005, 2.0, 16),
            Self::Bytes => (1024.0, 4.0, 9),
            Self::Exponential { start, factor, count } => (start, factor, count),
        };
        histogram::exponential_buckets(start, factor, count).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn page_shows_prefix_unit_names_and_one_total() {
        let registry = Registry::new();
        registry.counter("sessions_opened_total", "Sessions ever opened.").add(3);
        registry.gauge("config_age_seconds", "Age of the snapshot.").set(1.5);
        registry.histogram("handshake_seconds", "Time of the handshake.", Buckets::Seconds).observe(0.01);
        let page = registry.render();
        assert!(page.contains("\nheadwater_sessions_opened_total 3\n"), "{page}");
        assert!(page.contains("\nheadwater_config_age_seconds 1.5\n"), "{page}");
        assert!(page.contains("headwater_handshake_seconds_bucket{le=\"0.016\"} 1"), "{page}");
        assert!(page.ends_with("# EOF\n"), "{page}");
    }

    #[test]
    fn guard_lowers_its_gauge_when_dropped() {
        let gauge = Registry::new().gauge("sessions", "Live sessions.");
        let guard = gauge.guard();
        assert_eq!(gauge.value(), 1.0);
        drop(guard);
        assert_eq!(gauge.value(), 0.0);
    }

    #[test]
    fn counter_raised_to_a_lower_total_stays() {
        let counter = Registry::new().counter("bytes_total", "Bytes.");
        counter.raise_to(10);
        counter.raise_to(7);
        assert_eq!(counter.value(), 10);
    }

    #[test]
    fn a_series_that_is_shown_twice_is_found() {
        let once = "# TYPE a gauge\na{x=\"1 2\"} 0.0\na{x=\"1 3\"} 0.0\n# TYPE b gauge\nb 0.0\n# EOF\n";
        assert_eq!(shown_twice(once), None);
        assert_eq!(shown_twice(&once.replace("b 0.0", "a{x=\"1 2\"} 1.0")), Some("a{x=\"1 2\"}"));
        assert_eq!(shown_twice(&once.replace("TYPE b", "TYPE a")), Some("# TYPE a gauge"));
    }

    #[test]
    #[should_panic(expected = "registered twice")]
    fn one_name_is_registered_once() {
        let registry = Registry::new();
        let _first = registry.counter("frames_total", "Frames.");
        let _second = registry.counter("frames", "Frames.");
    }
}
