//! What a run of `bench` comes to: its figures, and what they were made on.

use serde::Serialize;

use super::baseline::Comparison;
use super::environment::Environment;
use super::{Curve, Figure, Histogram, Measured};
use crate::error::{Error, ErrorKind, Severity};

/// Everything that a run has found out.
#[derive(Clone, Debug, Serialize)]
pub struct Document {
    /// What it was made on.
    pub environment: Environment,
    /// The figures, suite by suite.
    pub results: Vec<Figure>,
    /// How latencies were spread.
    pub histograms: Vec<Histogram>,
    /// How something grows.
    pub curves: Vec<Curve>,
    /// Suites that gave no figures.
    pub failed: Vec<FailedSuite>,
    /// How the figures stand beside an earlier run's; absent without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub baseline: Option<Comparison>,
}

impl Document {
    /// From what the suites have measured.
    pub fn new(environment: Environment, measured: Measured, failed: Vec<FailedSuite>) -> Self {
        Self {
            environment,
            results: measured.figures,
            histograms: measured.histograms,
            curves: measured.curves,
            failed,
            baseline: None,
        }
    }

    /// How many targets were met, and how many there are.
    pub fn targets(&self) -> (usize, usize) {
        let judged = self.results.iter().filter_map(|f| f.pass);
        (judged.clone().filter(|met| *met).count(), judged.count())
    }

    /// Whether a target is missed, a suite has failed, or a figure is worse than before.
    pub fn has_findings(&self) -> bool {
        let (met, targets) = self.targets();
        met < targets || !self.failed.is_empty() || self.baseline.as_ref().is_some_and(|b| b.worse > 0)
    }
}

/// A suite that failed.
#[derive(Clone, Debug, Serialize)]
pub struct FailedSuite {
    /// Which.
    pub suite: String,
    /// Also in the log.
    pub error_id: uuid::Uuid,
    /// The class, such as `duplicate`.
    pub error_type: ErrorKind,
    /// How bad.
    pub severity: Severity,
    /// What went wrong.
    pub message: String,
}

impl FailedSuite {
    /// From the suite's error.
    pub fn new(suite: impl Into<String>, error: &Error) -> Self {
        Self {
            suite: suite.into(),
            error_id: error.id(),
            error_type: error.kind(),
            severity: error.kind().severity(),
            message: error.one_line(),
        }
    }
}
