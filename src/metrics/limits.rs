//! Judges what was measured: usage against limits, thresholds, schedules.

use super::Fleet;
use crate::config::AlertPolicy;

/// What alerts are judged by.
#[derive(Clone, Debug)]
pub struct Criteria {
    /// Thresholds and schedules.
    pub policy: AlertPolicy,
    /// `cluster.max_replica_lag_ms`.
    pub max_replica_lag_ms: u64,
    /// How many standbys there should be: as many as `cluster.replicas` has; 0: nobody said.
    pub expected_standbys: usize,
}

/// Fills in the alerts that fire, of each tenant and of the database. Pure.
pub fn judge(_fleet: &mut Fleet, _criteria: &Criteria) {}
