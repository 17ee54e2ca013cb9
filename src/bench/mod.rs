//! Measurements: workloads, histograms, results against targets.

pub mod backup;
pub mod exporter;
pub mod folder;
pub mod metrics;
pub mod program;
pub mod provisioning;
pub mod scratch;
pub mod triggers;

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};

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
    /// The value not to exceed, where there is one.
    pub target: Option<f64>,
    /// Whether the value is within the target; null without one.
    pub pass: Option<bool>,
}

impl Figure {
    /// A figure, judged against its target.
    pub fn new(
        suite: &'static str,
        metric: impl Into<String>,
        unit: &'static str,
        value: f64,
        target: Option<f64>,
    ) -> Self {
        Self {
            suite,
            metric: metric.into(),
            unit,
            value,
            target,
            pass: target.map(|t| value <= t),
        }
    }
}

/// What a run was made on.
#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    /// The server's version.
    pub server_version: String,
    /// Settings that decide how fast commits and DDL are, as `name = value`.
    pub settings: Vec<String>,
    /// Processors of the machine that tenantctl runs on.
    pub client_cpus: usize,
}

/// Latencies with three significant digits, from 1 µs to 10 minutes.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Latencies {
    /// An empty histogram.
    ///
    /// # Errors
    /// Never with these bounds; the library cannot know.
    pub fn new() -> Result<Self> {
        Histogram::new_with_bounds(1, 600_000_000, 3)
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
    }
}
