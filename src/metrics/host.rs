//! Processor and memory of the machine that tenantctl runs on.

use std::time::Instant;

use serde::{Deserialize, Serialize};
use sysinfo::{MINIMUM_CPU_UPDATE_INTERVAL, System};

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

const MIB: f64 = 1024.0 * 1024.0;

/// A look at the processors that waits for its end: they are measured over the time in between.
pub struct Watch {
    system: System,
    since: Instant,
}

impl Watch {
    /// Begins to look.
    pub fn begin() -> Self {
        let mut system = System::new();
        system.refresh_cpu_usage();
        Self {
            system,
            since: Instant::now(),
        }
    }

    /// Ends it, after waiting for what is missing to the shortest time that gives a figure, a fifth of a second.
    pub async fn end(mut self) -> Resources {
        if !sysinfo::IS_SUPPORTED_SYSTEM {
            return Resources::default();
        }
        tokio::time::sleep(MINIMUM_CPU_UPDATE_INTERVAL.saturating_sub(self.since.elapsed())).await;
        self.system.refresh_cpu_usage();
        self.system.refresh_memory();
        let known = |bytes: u64| (bytes > 0).then(|| bytes as f64 / MIB);
        let cpu = f64::from(self.system.global_cpu_usage());
        Resources {
            host: System::host_name().unwrap_or_default(),
            cpu_percent: (!self.system.cpus().is_empty() && cpu.is_finite()).then(|| cpu.clamp(0.0, 100.0)),
            memory_mb: known(self.system.used_memory()),
            memory_total_mb: known(self.system.total_memory()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn figures_are_of_a_machine() {
        let seen = Watch::begin().end().await;
        assert!(!seen.host.is_empty());
        assert!(seen.cpu_percent.is_some_and(|p| (0.0..=100.0).contains(&p)), "{seen:?}");
        assert!(
            seen.memory_mb < seen.memory_total_mb && seen.memory_mb > Some(1.0),
            "{seen:?}"
        );
    }
}
