//! Remembers what a benchmark has measured.

use std::time::Duration;

use super::{Plan, as_owner};

/// Adds a run to `tenantctl.baselines`: `environment` (an object) and `results` (an array) as JSON.
pub fn record(environment: &str, results: &str, statement_timeout: Duration, lock_timeout: Duration) -> Plan {
    let mut plan = Plan::new("remember the benchmark's figures", statement_timeout, lock_timeout);
    plan.step(
        "write them to the registry",
        as_owner()
            .text("\nINSERT INTO tenantctl.baselines (environment, results, tool_version)\nVALUES (")
            .literal(environment)
            .text(", ")
            .literal(results)
            .text(", ")
            .literal(env!("CARGO_PKG_VERSION"))
            .text(");"),
    );
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_is_a_literal() {
        let plan = record(
            "{\"a\": \"it's\"}",
            "[]",
            Duration::from_secs(1),
            Duration::from_secs(1),
        );
        let text = plan.to_string();
        assert!(text.contains("SET LOCAL ROLE tenantctl_owner;"), "{text}");
        assert!(text.contains(r#"'{"a": "it''s"}', '[]', '"#), "{text}");
    }
}
