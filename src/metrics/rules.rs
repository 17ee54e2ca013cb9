//! Alerting rules for Prometheus, from the thresholds of the configuration: they say what `tenantctl metrics` says.

use std::fmt::Write;

use super::AlertSeverity;
use super::limits::Criteria;
use crate::config::Threshold;

/// One rule.
struct Rule {
    alert: &'static str,
    expr: String,
    /// How long it must be so before it fires.
    lasting: &'static str,
    severity: AlertSeverity,
    summary: String,
    description: String,
}

/// The rules as a file for `rule_files`.
pub fn yaml(criteria: &Criteria) -> String {
    let mut rules = Vec::new();
    limits(criteria, &mut rules);
    backups(criteria, &mut rules);
    replicas(criteria, &mut rules);
    operations(&mut rules);
    exporter(&mut rules);
    let mut yaml = String::from(
        "# Alerting rules for the samples of `tenantctl metrics serve`, as printed by `tenantctl metrics rules` from the\n\
         # thresholds under `alerts:` and `cluster:` of its configuration. Print them again after changing those.\n\
         groups:\n  - name: tenantctl\n    rules:\n",
    );
    for rule in rules {
        write_rule(&mut yaml, &rule);
    }
    yaml
}

fn write_rule(yaml: &mut String, rule: &Rule) {
    // Writing to a string does not fail.
    let _ = write!(
        yaml,
        "      - alert: {}\n        expr: {}\n        for: {}\n        labels:\n          severity: {}\n        annotations:\n          \
         summary: {}\n          description: {}\n",
        rule.alert,
        quoted(&rule.expr),
        rule.lasting,
        rule.severity.as_str(),
        quoted(&rule.summary),
        quoted(&rule.description),
    );
}

/// A YAML scalar in single quotes, in which nothing but the quote itself means anything.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

fn limits(criteria: &Criteria, rules: &mut Vec<Rule>) {
    let policy = &criteria.policy;
    let all: [(&'static str, &str, &str, Threshold); 5] = [
        ("TenantSchemaSize", "schema_size", "schema size", policy.schema_size),
        ("TenantConnections", "connections", "connections", policy.connections),
        ("TenantPortfolios", "portfolios", "portfolios", policy.portfolios),
        (
            "TenantPositions",
            "positions_per_portfolio",
            "positions of its fullest portfolio",
            policy.positions_per_portfolio,
        ),
        (
            "TenantTrades",
            "trades_per_day",
            "trades of today",
            policy.trades_per_day,
        ),
    ];
    for (alert, limit, what, threshold) in all {
        let ratio = format!("tenantctl_limit_ratio{{limit=\"{limit}\"}}");
        let mut add = |expr: String, severity: AlertSeverity, above: f64| {
            rules.push(Rule {
                alert,
                expr,
                lasting: "1m",
                severity,
                summary: format!("Tenant {{{{ $labels.tenant_id }}}} is near its limit of {what}"),
                description: format!(
                    "It uses {{{{ $value | humanizePercentage }}}} of what its tier allows, above {} %.",
                    above * 100.0
                ),
            });
        };
        if let Some(warning) = threshold.warning {
            // One of the two at a time.
            let expr = match threshold.critical {
                Some(critical) => format!("{ratio} > {warning} <= {critical}"),
                None => format!("{ratio} > {warning}"),
            };
            add(expr, AlertSeverity::Warning, warning);
        }
        if let Some(critical) = threshold.critical {
            add(format!("{ratio} > {critical}"), AlertSeverity::Critical, critical);
        }
    }
    rules.push(Rule {
        alert: "TenantWritesFrozen",
        expr: "tenantctl_writes_frozen == 1".to_owned(),
        lasting: "0s",
        severity: AlertSeverity::Critical,
        summary: "Tenant {{ $labels.tenant_id }} can neither insert nor update".to_owned(),
        description: "Its schema has reached the size of its tier. It thaws below 90 % of it, or in a larger tier."
            .to_owned(),
    });
}

fn backups(criteria: &Criteria, rules: &mut Vec<Rule>) {
    for (kind, hours) in &criteria.policy.backup_overdue_hours {
        let seconds = u64::from(*hours) * 3600;
        let age = format!("tenantctl_backup_age_seconds{{type=\"{kind}\"}}");
        let what = if kind == "any" {
            "a good backup".to_owned()
        } else {
            format!("a good {kind} backup")
        };
        rules.push(Rule {
            alert: "TenantBackupOverdue",
            // A tenant without one has waited since it was made.
            expr: format!(
                "{age} > {seconds} or (tenantctl_tenant_age_seconds > {seconds} unless ignoring (type) {age})"
            ),
            lasting: "5m",
            severity: AlertSeverity::Critical,
            summary: format!("Tenant {{{{ $labels.tenant_id }}}} has not had {what} for {hours} hours"),
            description: "It has been without one for {{ $value | humanizeDuration }}.".to_owned(),
        });
    }
}

fn replicas(criteria: &Criteria, rules: &mut Vec<Rule>) {
    let lag = criteria.max_replica_lag_ms;
    rules.push(Rule {
        alert: "TenantctlReplicaLag",
        expr: format!("tenantctl_standby_lag_seconds > {}", lag as f64 / 1000.0),
        lasting: "1m",
        severity: AlertSeverity::Warning,
        summary: "Standby {{ $labels.standby }} lags behind".to_owned(),
        description: format!("It is {{{{ $value | humanizeDuration }}}} behind, more than {lag} ms."),
    });
    let expected = criteria.expected_standbys;
    if expected > 0 {
        rules.push(Rule {
            alert: "TenantctlReplicaMissing",
            expr: format!("tenantctl_standbys < {expected} unless tenantctl_server_in_recovery == 1"),
            lasting: "1m",
            severity: AlertSeverity::Critical,
            summary: "A standby does not stream".to_owned(),
            description: format!("{{{{ $value }}}} of {expected} standbys stream from the server."),
        });
    }
}

fn operations(rules: &mut Vec<Rule>) {
    rules.push(Rule {
        alert: "TenantctlOperationFailed",
        expr: "tenantctl_alerts_firing{type=~\"backup_failed|provision_failed\"} > 0".to_owned(),
        lasting: "0s",
        severity: AlertSeverity::Critical,
        summary: "{{ $value }} of {{ $labels.type }}".to_owned(),
        description: "Nobody has made it good yet; `tenantctl metrics --all` names the tenants and the errors."
            .to_owned(),
    });
}

fn exporter(rules: &mut Vec<Rule>) {
    let age = "tenantctl_measurement_age_seconds";
    rules.extend([
        Rule {
            alert: "TenantctlExporterAbsent",
            expr: "absent(tenantctl_up)".to_owned(),
            lasting: "5m",
            severity: AlertSeverity::Critical,
            summary: "Nobody measures the tenants".to_owned(),
            description: "Prometheus has no samples of `tenantctl metrics serve`.".to_owned(),
        },
        Rule {
            alert: "TenantctlExporterDown",
            expr: "tenantctl_up == 0".to_owned(),
            lasting: "2m",
            severity: AlertSeverity::Critical,
            summary: "The tenants of {{ $labels.instance }} cannot be measured".to_owned(),
            description: "The exporter runs, the database does not answer it; its log says why.".to_owned(),
        },
        Rule {
            alert: "TenantctlMeasurementTooOld",
            // Too old, or so old that the samples are no longer exposed.
            expr: format!(
                "{age} > 2 * tenantctl_measurement_interval_seconds + 120 or \
                 (tenantctl_measurements_total > 0 unless {age})"
            ),
            lasting: "5m",
            severity: AlertSeverity::Warning,
            summary: "The {{ $labels.part }} of tenants was not measured for some time".to_owned(),
            description: "Alerts about it rest on old figures, or on none.".to_owned(),
        },
    ]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn criteria(config: &str, expected_standbys: usize) -> Criteria {
        let config = Config::parse(config, "test", std::path::Path::new("")).expect("valid");
        Criteria {
            policy: config.alerts,
            max_replica_lag_ms: config.cluster.max_replica_lag_ms,
            expected_standbys,
            database: true,
        }
    }

    #[test]
    fn rules_follow_the_configuration() {
        let yaml = yaml(&criteria(
            "alerts:\n  schema_size: {warning: 0.5, critical: 0.75}\n  connections: off\n  backup_overdue_hours: {scheduled: 26, monthly: 760}\n",
            2,
        ));
        let has = |text: &str| assert!(yaml.contains(text), "{text} not in\n{yaml}");
        has("expr: 'tenantctl_limit_ratio{limit=\"schema_size\"} > 0.5 <= 0.75'");
        has("expr: 'tenantctl_limit_ratio{limit=\"schema_size\"} > 0.75'");
        has("tenantctl_backup_age_seconds{type=\"monthly\"} > 2736000");
        has("tenantctl_standby_lag_seconds > 0.1'");
        has("tenantctl_standbys < 2");
        assert!(!yaml.contains("\"connections\""), "{yaml}");
        assert!(!super::yaml(&criteria("alerts:\n  backup_overdue_hours: off\n", 0)).contains("TenantBackupOverdue"));
        assert!(!super::yaml(&criteria("alerts:\n  schema_size: off\n", 0)).contains("TenantctlReplicaMissing"));
    }
}
