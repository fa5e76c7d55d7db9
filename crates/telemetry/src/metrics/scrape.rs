//! Metrics that are read when somebody looks.

use std::fmt;

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet},
    metrics::MetricType,
};

/// What a [`super::Registry::collect`] closure fills in.
#[derive(Debug, Default)]
pub struct Samples {
    groups: Vec<Group>,
}

#[derive(Debug)]
struct Group {
    name: String,
    help: String,
    series: Vec<(Vec<(String, String)>, Sample)>,
}

#[derive(Clone, Debug)]
enum Sample {
    Count(u64),
    Level(f64),
    Classes(Distribution),
}

/// How often something took which value.
#[derive(Clone, Debug, PartialEq)]
pub struct Distribution {
    /// The inclusive upper bound of each class, ascending, and how many fell in it.
    pub classes: Vec<(f64, u64)>,
    /// How many were above the last bound.
    pub above: u64,
    /// All values together.
    pub sum: f64,
}

impl Distribution {
    fn encode(mut self, series: &mut MetricEncoder<'_>) -> fmt::Result {
        self.classes.push((f64::INFINITY, self.above));
        let count = self.classes.iter().map(|(_, count)| count).sum();
        series.encode_histogram::<NoLabelSet>(self.sum, count, &self.classes, None)
    }
}

impl Samples {
    /// A count that only grows. Call again with other labels for more series of the same name.
    pub fn counter(&mut self, name: &str, help: &str, labels: &[(&str, &str)], total: u64) {
        self.add(name, help, labels, Sample::Count(total));
    }

    /// A value that rises and falls.
    pub fn gauge(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: f64) {
        self.add(name, help, labels, Sample::Level(value));
    }

    /// A distribution: upper bounds of classes, how many fell in each (one more class holds the rest), and their sum.
    pub fn histogram(&mut self, name: &str, help: &str, labels: &[(&str, &str)], distribution: Distribution) {
        self.add(name, help, labels, Sample::Classes(distribution));
    }

    fn add(&mut self, name: &str, help: &str, labels: &[(&str, &str)], value: Sample) {
        let name = super::base_name(name);
        let labels = labels.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        match self.groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.series.push((labels, value)),
            None => self.groups.push(Group {
                name: name.to_owned(),
                help: format!("{}.", help.trim_end_matches('.')),
                series: vec![(labels, value)],
            }),
        }
    }
}

impl Sample {
    fn encode(self, series: &mut MetricEncoder<'_>) -> fmt::Result {
        match self {
            Self::Count(total) => series.encode_counter::<NoLabelSet, _, u64>(&total, None),
            Self::Level(value) => series.encode_gauge(&value),
            Self::Classes(distribution) => distribution.encode(series),
        }
    }
}

type Collect = Box<dyn Fn(&mut Samples) + Send + Sync>;

/// A closure as the exporting library wants it.
pub(super) struct Callback(Collect);

impl Callback {
    pub(super) fn new(collect: impl Fn(&mut Samples) + Send + Sync + 'static) -> Self {
        Self(Box::new(collect))
    }
}

impl Collector for Callback {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut samples = Samples::default();
        (self.0)(&mut samples);
        for group in samples.groups {
            let kind = match &group.series[0].1 {
                Sample::Count(_) => MetricType::Counter,
                Sample::Level(_) => MetricType::Gauge,
                Sample::Classes(_) => MetricType::Histogram,
            };
            let mut metric = encoder.encode_descriptor(&group.name, &group.help, None, kind)?;
            for (labels, sample) in group.series {
                match labels.is_empty() {
                    true => sample.encode(&mut metric)?,
                    false => sample.encode(&mut metric.encode_family(&labels)?)?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Callback")
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Registry, *};

    #[test]
    fn collected_samples_are_read_at_each_scrape() {
        let registry = Registry::new();
        registry.collect(|samples| {
            samples.counter("media_messages_total", "Messages.", &[("dir", "in")], 4);
            samples.counter("media_messages_total", "Messages.", &[("dir", "out")], 9);
            samples.gauge("streams", "Live streams.", &[], 2.0);
        });
        let page = registry.render();
        assert!(page.contains("headwater_media_messages_total{dir=\"in\"} 4"), "{page}");
        assert!(page.contains("headwater_media_messages_total{dir=\"out\"} 9"), "{page}");
        assert!(page.contains("headwater_streams 2"), "{page}");
        assert_eq!(page.matches("# TYPE headwater_media_messages counter").count(), 1, "{page}");
    }

    #[test]
    fn a_distribution_is_shown_in_growing_classes() {
        let registry = Registry::new();
        registry.collect(|samples| {
            let distribution = Distribution { classes: vec![(0.1, 3), (1.0, 1)], above: 2, sum: 9.5 };
            samples.histogram("handshake_seconds", "Handshakes.", &[], distribution);
        });
        let page = registry.render();
        for line in [
            "headwater_handshake_seconds_bucket{le=\"0.1\"} 3",
            "headwater_handshake_seconds_bucket{le=\"1.0\"} 4",
            "headwater_handshake_seconds_bucket{le=\"+Inf\"} 6",
            "headwater_handshake_seconds_sum 9.5",
        ] {
            assert!(page.contains(line), "{line} is missing: {page}");
        }
    }
}
