//! How long the pauses of a case may be on an idle machine.

use std::{fmt, time::Duration};

use super::{
    row::{Row, milliseconds, quantile},
    stamp::Lane,
};

/// A bound on something that a row measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// On the median of the gaps, in milliseconds.
    Median(u64),
    /// On their 99th percentile.
    P99(u64),
    /// On the 99th percentile of the stalls: a gap less the time between two frames.
    Stall(u64),
    /// The 99th percentile is at most so many frame times above that of the undisturbed stream.
    FramesAboveOwn(u32),
    /// On the 99th percentile of a time that was taken, by its name.
    Time(&'static str, u64),
}

/// The share of gaps and times that a bound counts, but for the median.
const MOST: f64 = 0.99;

impl Goal {
    /// Whether the undisturbed stream must have been measured too.
    pub fn needs_own(self) -> bool {
        matches!(self, Self::FramesAboveOwn(_))
    }

    /// What the row has, and what it may have.
    pub fn measure(self, row: &Row) -> (Duration, Duration) {
        let frame = Lane::Video.due(1);
        let most = quantile(&row.gaps, MOST);
        match self {
            Self::Median(bound) => (quantile(&row.gaps, 0.5), Duration::from_millis(bound)),
            Self::P99(bound) => (most, Duration::from_millis(bound)),
            Self::Stall(bound) => (most.saturating_sub(frame), Duration::from_millis(bound)),
            Self::FramesAboveOwn(frames) => (most, quantile(&row.own, MOST) + frame * frames),
            Self::Time(name, bound) => {
                let times = row.times.get(name).map(Vec::as_slice).unwrap_or_default();
                (quantile(times, MOST), Duration::from_millis(bound))
            }
        }
    }

    /// What is wrong, if the row has more than it may have.
    pub fn unmet(self, row: &Row) -> Option<String> {
        let (measured, bound) = self.measure(row);
        let of = match self {
            Self::Stall(_) => "stall p99",
            Self::Median(_) => "median",
            Self::P99(_) | Self::FramesAboveOwn(_) => "p99",
            Self::Time(name, _) => name,
        };
        (measured > bound).then(|| format!("{of} {} > {}", milliseconds(measured), milliseconds(bound)))
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Median(bound) => write!(f, "median ≤ {bound} ms"),
            Self::P99(bound) => write!(f, "p99 ≤ {bound} ms"),
            Self::Stall(bound) => write!(f, "stall p99 ≤ {bound} ms"),
            Self::FramesAboveOwn(frames) => write!(f, "p99 ≤ {frames} frames above the stream's own"),
            Self::Time(name, bound) => write!(f, "{name} p99 ≤ {bound} ms"),
        }
    }
}
