//! Measurements: workloads, histograms, results against targets.

pub mod backend;
pub mod backup;
pub mod baseline;
pub mod document;
pub mod environment;
pub mod exporter;
pub mod extrapolate;
pub mod folder;
pub mod history;
pub mod metrics;
pub mod program;
pub mod provisioning;
pub mod queries;
pub mod report;
pub mod resources;
pub mod scale;
pub mod scratch;
pub mod stage;
pub mod triggers;

use serde::Serialize;

pub use document::{Document, FailedSuite};
pub use environment::{Begun, Environment};
pub use stage::{Stage, Surroundings};

use crate::error::{Error, ErrorKind, Result};

/// What a suite has found out.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Measured {
    /// The figures.
    pub figures: Vec<Figure>,
    /// How latencies were spread.
    pub histograms: Vec<Histogram>,
    /// How something grows.
    pub curves: Vec<Curve>,
}

impl Measured {
    /// Adds what another one holds.
    pub fn extend(&mut self, other: Self) {
        self.figures.extend(other.figures);
        self.histograms.extend(other.histograms);
        self.curves.extend(other.curves);
    }
}

impl From<Vec<Figure>> for Measured {
    fn from(figures: Vec<Figure>) -> Self {
        Self {
            figures,
            ..Self::default()
        }
    }
}

/// Whether more or less of a figure is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Better {
    /// Less is, as of times and bytes.
    Less,
    /// More is, as of what is done in a second.
    More,
    /// It is no merit of tenantctl: what another program takes, how much data there was.
    Neither,
}

/// Latencies as they were spread: how many were in each range.
#[derive(Clone, Debug, Serialize)]
pub struct Histogram {
    /// The suite.
    pub suite: &'static str,
    /// What was measured.
    pub name: String,
    /// How many latencies there are.
    pub count: u64,
    /// Half of them took at most so many milliseconds.
    pub p50: f64,
    /// The same of 95 in a hundred, in milliseconds.
    pub p95: f64,
    /// The same of 99 in a hundred, in milliseconds.
    pub p99: f64,
    /// The longest, in milliseconds.
    pub max: f64,
    /// Ranges from the first that holds some to the last that does, without a gap between them; each as wide as the one
    /// before times a constant, so that they are equally wide on a logarithmic axis.
    pub buckets: Vec<Bucket>,
}

/// A range of latencies.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Bucket {
    /// From so many milliseconds, which are in it.
    pub from_ms: f64,
    /// To so many milliseconds, which are not.
    pub to_ms: f64,
    /// How many.
    pub count: u64,
}

/// How something grows with the number of tenants, sessions or the like.
#[derive(Clone, Debug, Serialize)]
pub struct Curve {
    /// The suite.
    pub suite: &'static str,
    /// What was measured.
    pub name: String,
    /// What the horizontal axis counts, such as `tenants`.
    pub x: &'static str,
    /// The unit of the vertical axis, such as `ms`.
    pub unit: &'static str,
    /// One line each.
    pub lines: Vec<Line>,
}

/// One contender's line.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// The contender.
    pub name: String,
    /// Places and values, places rising.
    pub points: Vec<Point>,
}

/// A place on a line.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Where on the horizontal axis.
    pub x: f64,
    /// The value there.
    pub y: f64,
    /// Worked out from others, not measured.
    pub extrapolated: bool,
}

impl Point {
    /// A measured one.
    pub fn measured(x: f64, y: f64) -> Self {
        Self {
            x,
            y,
            extrapolated: false,
        }
    }
}

/// One figure of a suite.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// The suite, such as `provisioning`.
    pub suite: &'static str,
    /// What was measured.
    pub metric: String,
    /// Its unit, such as `ms`, `s`, `ratio`.
    pub unit: &'static str,
    /// The value.
    pub value: f64,
    /// The value not to exceed (not to fall below where more is better), where there is one.
    pub target: Option<f64>,
    /// Whether the value is within the target; null without one.
    pub pass: Option<bool>,
    /// Which way it gets better.
    pub better: Better,
    /// How it stands beside an earlier run; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<baseline::Compared>,
}

impl Figure {
    /// A figure, judged against its target. More is better of what is counted per second (unit `1/s`), else less.
    pub fn new(
        suite: &'static str,
        metric: impl Into<String>,
        unit: &'static str,
        value: f64,
        target: Option<f64>,
    ) -> Self {
        let better = if unit == "1/s" { Better::More } else { Better::Less };
        let met = |t| if better == Better::More { value >= t } else { value <= t };
        Self {
            suite,
            metric: metric.into(),
            unit,
            value,
            target,
            pass: target.map(met),
            better,
            baseline: None,
        }
    }

    /// The same as no merit of ours: another program's, or a fact about the data. A baseline does not judge it.
    #[must_use]
    pub fn of_others(self) -> Self {
        Self {
            better: Better::Neither,
            ..self
        }
    }
}

/// Ranges of a histogram between a value and ten times it: each is 6 % wider than the one before.
const BUCKETS_A_DECADE: f64 = 40.0;

/// Latencies with three significant digits, from 1 µs to 10 minutes.
#[derive(Clone, Debug)]
pub struct Latencies(hdrhistogram::Histogram<u64>);

impl Latencies {
    /// An empty histogram.
    ///
    /// # Errors
    /// Never with these bounds; the library cannot know.
    pub fn new() -> Result<Self> {
        hdrhistogram::Histogram::new_with_bounds(1, 600_000_000, 3)
            .map(Self)
            .map_err(|e| Error::new(ErrorKind::Unknown, "cannot make a histogram").with_cause(e))
    }

    /// Adds one latency.
    pub fn record(&mut self, duration: std::time::Duration) {
        self.0
            .saturating_record(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).max(1));
    }

    /// The mean, in milliseconds.
    pub fn mean(&self) -> f64 {
        self.0.mean() / 1000.0
    }

    /// A percentile, 0 to 100, in milliseconds.
    pub fn percentile(&self, percentile: f64) -> f64 {
        self.0.value_at_percentile(percentile) as f64 / 1000.0
    }

    /// The largest, in milliseconds.
    pub fn max(&self) -> f64 {
        self.0.max() as f64 / 1000.0
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// How they are spread, for the report.
    pub fn histogram(&self, suite: &'static str, name: impl Into<String>) -> Histogram {
        let mut buckets = Vec::<Bucket>::new();
        let bound = |no: i32| 10_f64.powf(f64::from(no) / BUCKETS_A_DECADE);
        for recorded in self.0.iter_recorded() {
            let ms = recorded.value_iterated_to() as f64 / 1000.0;
            // Rounding may put a value that is a bound itself on either side.
            let mut no = (ms.log10() * BUCKETS_A_DECADE).floor() as i32;
            if ms >= bound(no + 1) {
                no += 1;
            }
            let count = recorded.count_since_last_iteration();
            match buckets.last_mut() {
                Some(last) if last.to_ms > ms => last.count += count,
                last => {
                    let first = last.map_or(no, |last| (last.to_ms.log10() * BUCKETS_A_DECADE).round() as i32);
                    buckets.extend((first..=no).map(|i| Bucket {
                        from_ms: bound(i),
                        to_ms: bound(i + 1),
                        count: if i == no { count } else { 0 },
                    }));
                }
            }
        }
        Histogram {
            suite,
            name: name.into(),
            count: self.count(),
            p50: self.percentile(50.0),
            p95: self.percentile(95.0),
            p99: self.percentile(99.0),
            max: self.max(),
            buckets,
        }
    }
}

/// The middle of some values; not a number without any.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => sorted[n / 2],
        n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn medians_are_of_the_middle() {
        assert!((median(&[3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!((median(&[4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!(median(&[]).is_nan());
    }

    #[test]
    fn percentiles_are_milliseconds() {
        let mut latencies = Latencies::new().expect("bounds");
        for ms in 1..=100 {
            latencies.record(Duration::from_millis(ms));
        }
        assert!(
            (latencies.percentile(50.0) - 50.0).abs() < 0.1,
            "{}",
            latencies.percentile(50.0)
        );
        assert!((latencies.max() - 100.0).abs() < 0.2, "{}", latencies.max());
        assert!((latencies.mean() - 50.5).abs() < 0.2, "{}", latencies.mean());
        assert_eq!(Figure::new("s", "m", "ms", 2.0, Some(3.0)).pass, Some(true));
        assert_eq!(Figure::new("s", "m", "ms", 4.0, Some(3.0)).pass, Some(false));
        assert_eq!(Figure::new("s", "m", "ms", 4.0, None).pass, None);
        assert_eq!(Figure::new("s", "m", "1/s", 4.0, Some(3.0)).pass, Some(true));
        assert_eq!(Figure::new("s", "m", "1/s", 2.0, Some(3.0)).pass, Some(false));
    }

    #[test]
    fn a_histogram_counts_each_latency_once_in_ranges_without_gaps() {
        let mut latencies = Latencies::new().expect("bounds");
        for micros in [1, 3, 100, 1_000, 1_000, 1_050, 1_070, 10_000, 42_000, 5_000_000] {
            latencies.record(Duration::from_micros(micros));
        }
        let histogram = latencies.histogram("s", "h");
        assert_eq!(histogram.buckets.iter().map(|b| b.count).sum::<u64>(), 10);
        assert_eq!(histogram.count, 10);
        for pair in histogram.buckets.windows(2) {
            assert!((pair[0].to_ms / pair[1].from_ms - 1.0).abs() < 1e-9, "{pair:?}");
            assert!((pair[1].to_ms / pair[1].from_ms - 1.0593).abs() < 1e-3, "{pair:?}");
        }
        let of = |ms: f64| {
            let found = histogram.buckets.iter().find(|b| b.from_ms <= ms && ms < b.to_ms);
            found.map_or(0, |b| b.count)
        };
        assert_eq!((of(1.03), of(1.1), of(10.1), of(500.0)), (3, 1, 1, 0), "{histogram:?}");
        assert!(histogram.buckets.first().is_some_and(|b| b.count == 1));
        assert!(
            histogram
                .buckets
                .last()
                .is_some_and(|b| b.count == 1 && b.to_ms > 5_000.0)
        );
        assert!(Latencies::new().expect("bounds").histogram("s", "h").buckets.is_empty());
    }
}
