//! Processor and memory of the machine that tenantctl runs on.

use serde::{Deserialize, Serialize};

/// Processor and memory of the machine that tenantctl runs on, which need not be the server's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Resources {
    /// Its name, so that nobody takes it for the server.
    pub host: String,
    /// Of all processors together, 0 to 100, over a short while; null where the system does not say.
    pub cpu_percent: Option<f64>,
    /// MiB in use.
    pub memory_mb: Option<f64>,
    /// MiB there are.
    pub memory_total_mb: Option<f64>,
}
