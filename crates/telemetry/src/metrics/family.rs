//! Metrics that are told apart by labels, with a bound on how many there can be.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, PoisonError, RwLock},
};

use prometheus_client::metrics::family::{Family, MetricConstructor};

use super::{Counter, Gauge, Histogram};

/// The most label combinations of one family; further ones are counted under [`OTHER`].
const SERIES_MAX: usize = 256;
/// The label value that stands for all that came after the bound was reached.
const OTHER: &str = "other";

/// Counters by label values.
pub type CounterFamily<const N: usize> = Labelled<N, Counter>;
/// Gauges by label values.
pub type GaugeFamily<const N: usize> = Labelled<N, Gauge>;
/// Histograms by label values.
pub type HistogramFamily<const N: usize> = Labelled<N, Histogram>;

/// One metric for each combination of `N` label values. Cheap to clone.
///
/// At most 256 combinations are kept; later ones share one series whose labels are all `other`. A label value must
/// therefore be from a small set (a reason, a protocol, a pool), never a stream, an address or a session.
/// On a hot path call [`Labelled::with`] once and keep the handle.
pub struct Labelled<const N: usize, M: Handle> {
    names: [&'static str; N],
    series: Arc<RwLock<HashMap<[Box<str>; N], M>>>,
    family: Exported<M>,
}

/// What one of our handles is to the exporting library.
pub trait Handle: Clone + Send + Sync + 'static {
    #[doc(hidden)]
    type Inner: Clone + fmt::Debug + Send + Sync + 'static;
    #[doc(hidden)]
    fn from_inner(inner: Self::Inner) -> Self;
    #[doc(hidden)]
    fn into_inner(self) -> Self::Inner;
}

type Labels = Vec<(&'static str, Box<str>)>;
type Exported<M> = Family<Labels, <M as Handle>::Inner, Maker<<M as Handle>::Inner>>;

/// Makes the metric of a new label combination.
#[derive(Clone)]
pub struct Maker<I>(Arc<dyn Fn() -> I + Send + Sync>);

impl<I> MetricConstructor<I> for Maker<I> {
    fn new_metric(&self) -> I {
        (self.0)()
    }
}

impl<const N: usize, M: Handle> Labelled<N, M> {
    pub(super) fn new(names: [&'static str; N], make: impl Fn() -> M + Send + Sync + 'static) -> Self {
        let family = Family::new_with_constructor(Maker(Arc::new(move || make().into_inner()) as Arc<_>));
        Self { names, series: Arc::default(), family }
    }

    pub(super) fn exported(&self) -> Exported<M> {
        self.family.clone()
    }

    /// The metric of these label values, in the order of the label names; made at its first use.
    pub fn with(&self, values: [&str; N]) -> M {
        let key = values.map(Box::<str>::from);
        if let Some(known) = self.series.read().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return known.clone();
        }
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        let key = if series.len() < SERIES_MAX || series.contains_key(&key) { key } else { [OTHER; N].map(Into::into) };
        series.entry(key).or_insert_with_key(|key| self.make(key)).clone()
    }

    /// Takes the series away, e.g. that of a pool that is gone.
    pub fn remove(&self, values: [&str; N]) {
        let key = values.map(Box::<str>::from);
        let mut series = self.series.write().unwrap_or_else(PoisonError::into_inner);
        series.remove(&key);
        self.family.remove(&self.labels(&key));
    }

    fn make(&self, key: &[Box<str>; N]) -> M {
        M::from_inner(self.family.get_or_create_owned(&self.labels(key)))
    }

    fn labels(&self, key: &[Box<str>; N]) -> Labels {
        self.names.iter().copied().zip(key.iter().cloned()).collect()
    }
}

impl<const N: usize, M: Handle> Clone for Labelled<N, M> {
    fn clone(&self) -> Self {
        Self { names: self.names, series: self.series.clone(), family: self.family.clone() }
    }
}

impl<const N: usize, M: Handle> fmt::Debug for Labelled<N, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Labelled").field("names", &self.names).finish_non_exhaustive()
    }
}

macro_rules! handle {
    ($ours:ident, $theirs:ty) => {
        impl Handle for $ours {
            type Inner = $theirs;
            fn from_inner(inner: Self::Inner) -> Self {
                Self(inner)
            }
            fn into_inner(self) -> Self::Inner {
                self.0
            }
        }
    };
}

handle!(Counter, prometheus_client::metrics::counter::Counter<u64, std::sync::atomic::AtomicU64>);
handle!(Gauge, prometheus_client::metrics::gauge::Gauge<f64, std::sync::atomic::AtomicU64>);
handle!(Histogram, prometheus_client::metrics::histogram::Histogram);

#[cfg(test)]
mod tests {
    use super::{super::Registry, *};

    #[test]
    fn each_label_combination_has_its_own_series() {
        let registry = Registry::new();
        let frames = registry.counters("frames_total", "Frames.", ["dir", "type"]);
        frames.with(["in", "video"]).add(2);
        frames.with(["in", "audio"]).inc();
        frames.with(["in", "video"]).inc();
        let page = registry.render();
        assert!(page.contains("headwater_frames_total{dir=\"in\",type=\"video\"} 3"), "{page}");
        assert!(page.contains("headwater_frames_total{dir=\"in\",type=\"audio\"} 1"), "{page}");
    }

    #[test]
    fn series_beyond_the_bound_are_counted_as_other() {
        let registry = Registry::new();
        let closed = registry.counters("sessions_closed_total", "Closed.", ["reason"]);
        for n in 0..SERIES_MAX + 10 {
            closed.with([&n.to_string()]).inc();
        }
        assert_eq!(closed.with(["one more"]).value(), 10);
        assert_eq!(registry.render().lines().filter(|l| l.starts_with("headwater_sessions_closed")).count(), 257);
    }

    #[test]
    fn removed_series_is_not_shown() {
        let registry = Registry::new();
        let epoch = registry.gauges("epoch", "The pool's epoch.", ["pool"]);
        epoch.with(["main"]).set(7.0);
        epoch.remove(["main"]);
        assert!(!registry.render().contains("headwater_epoch{"), "{}", registry.render());
    }
}
