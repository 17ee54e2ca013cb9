//! Judges what was measured: usage against limits, thresholds, schedules.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

use super::cluster::Cluster;
use super::{Alert, AlertSeverity, Fleet, TenantMetrics, Usage};
use crate::config::{AlertPolicy, Config, Threshold};
use crate::tenant::TenantId;

/// Of a message that somebody else has written, so much goes into an alert.
const MESSAGE_MAX: usize = 500;

/// What alerts are judged by.
#[derive(Clone, Debug)]
pub struct Criteria {
    /// Thresholds and schedules.
    pub policy: AlertPolicy,
    /// `cluster.max_replica_lag_ms`.
    pub max_replica_lag_ms: u64,
    /// How many standbys there should be: as many as `cluster.replicas` has; 0: nobody said.
    pub expected_standbys: usize,
    /// Whether the database itself is judged: its standbys, and what failed of tenants that were not measured. Only
    /// where all tenants were, as those may be there.
    pub database: bool,
}

impl Criteria {
    /// Those of the configuration.
    pub fn new(config: &Config, database: bool) -> Self {
        Self {
            policy: config.alerts.clone(),
            max_replica_lag_ms: config.cluster.max_replica_lag_ms,
            expected_standbys: config.cluster.replicas.len(),
            database,
        }
    }
}

/// What is known of alerts beside those that fire.
#[must_use = "alerts whose figure is unknown must not be taken for ended"]
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judged {
    /// Keys of alerts of which nobody can say whether they fire: their figure could not be had. See [`Alert::key`].
    pub unknown: BTreeSet<String>,
}

/// Fills in the alerts that fire, of each tenant and of the database: the critical ones first. Pure.
pub fn judge(fleet: &mut Fleet, criteria: &Criteria) -> Judged {
    let mut judged = Judged::default();
    let measured: BTreeSet<TenantId> = fleet.tenants.iter().map(|t| t.tenant_id.clone()).collect();
    let (mut of_tenants, of_database) = failures(&fleet.cluster, &measured);
    let mut all = Vec::new();
    for tenant in &mut fleet.tenants {
        let mut alerts = Vec::new();
        usage(tenant, &criteria.policy, &mut alerts, &mut judged);
        frozen(tenant, &mut alerts);
        overdue(tenant, &criteria.policy.backup_overdue_hours, &mut alerts);
        alerts.extend(of_tenants.remove(&tenant.tenant_id).into_iter().flatten());
        sort(&mut alerts);
        all.extend(alerts.iter().cloned());
        tenant.alerts = alerts;
    }
    if criteria.database {
        all.extend(of_database);
        standbys(&fleet.cluster, criteria, &mut all, &mut judged);
    }
    sort(&mut all);
    fleet.alerts = all;
    judged
}

/// The critical ones first, then by tenant and type.
fn sort(alerts: &mut [Alert]) {
    alerts.sort_by(|a, b| {
        let order = |alert: &Alert| (std::cmp::Reverse(alert.severity), alert.tenant_id.clone());
        order(a)
            .cmp(&order(b))
            .then_with(|| (&a.alert_type, &a.object).cmp(&(&b.alert_type, &b.object)))
    });
}

/// Usage of the limits of the tier.
fn usage(tenant: &TenantMetrics, policy: &AlertPolicy, alerts: &mut Vec<Alert>, judged: &mut Judged) {
    let limits: [(&str, &str, Threshold); 5] = [
        ("schema_size", "schema_size_limit", policy.schema_size),
        ("connections", "connection_limit", policy.connections),
        ("portfolios", "portfolio_limit", policy.portfolios),
        (
            "positions_per_portfolio",
            "position_limit",
            policy.positions_per_portfolio,
        ),
        ("trades_per_day", "trade_limit", policy.trades_per_day),
    ];
    for (limit, alert_type, threshold) in limits {
        if threshold == Threshold::default() {
            continue;
        }
        // Unlimited: nothing to hold the figure against, whatever it is.
        let Some(&Usage {
            used, max: Some(max), ..
        }) = tenant.limits.get(limit)
        else {
            continue;
        };
        let mut alert = of_tenant(tenant, alert_type, AlertSeverity::Warning);
        let Some(used) = used else {
            judged.unknown.insert(alert.key());
            continue;
        };
        // A limit of nothing is passed by anything.
        let ratio = if max > 0.0 {
            used / max
        } else if used > 0.0 {
            f64::INFINITY
        } else {
            0.0
        };
        let above = |ratio_at: Option<f64>| ratio_at.is_some_and(|at| ratio > at);
        alert.severity = if above(threshold.critical) {
            AlertSeverity::Critical
        } else if above(threshold.warning) {
            AlertSeverity::Warning
        } else {
            continue;
        };
        let share = share(ratio);
        alert.message = match limit {
            "schema_size" => format!("schema size {} is {share} of its limit of {}", bytes(used), bytes(max)),
            "connections" => format!("{used} of {max} connections are open ({share})"),
            "portfolios" => format!("{used} of {max} portfolios are there ({share})"),
            "positions_per_portfolio" => format!("the fullest portfolio has {used} of {max} positions ({share})"),
            _ => format!("{used} of {max} trades of today (UTC) are made ({share})"),
        };
        (alert.value, alert.limit) = (Some(used), Some(max));
        alerts.push(alert);
    }
}

/// Critical for as long as it lasts: the tenant cannot work.
fn frozen(tenant: &TenantMetrics, alerts: &mut Vec<Alert>) {
    let Some(since) = &tenant.writes_frozen_at else {
        return;
    };
    let size = tenant.limits.get("schema_size").copied().unwrap_or_default();
    alerts.push(Alert {
        message: format!("writes have been frozen since {since}, when the schema had reached its size"),
        value: size.used,
        limit: size.max,
        ..of_tenant(tenant, "writes_frozen", AlertSeverity::Critical)
    });
}

/// Schedules of backups. A tenant that has none waits since it was made.
fn overdue(tenant: &TenantMetrics, schedule: &BTreeMap<String, u32>, alerts: &mut Vec<Alert>) {
    for (backup_type, &hours) in schedule {
        let backup = &tenant.backup;
        let newest = backup.age_seconds_by_type.get(backup_type).copied();
        let age = newest.unwrap_or(backup.tenant_age_seconds);
        if age <= f64::from(hours) * 3600.0 {
            continue;
        }
        let of_type = match backup_type.as_str() {
            "any" => String::new(),
            name => format!(" of type {name}"),
        };
        let age = (age / 3600.0 * 10.0).floor() / 10.0;
        let message = match newest {
            Some(_) => format!("the newest good backup{of_type} is {age} hours old; one is due every {hours}"),
            None => format!(
                "there is no good backup{of_type} of this tenant, made {age} hours ago; one is due every {hours}"
            ),
        };
        alerts.push(Alert {
            object: Some(backup_type.clone()),
            message,
            value: Some(age),
            limit: Some(f64::from(hours)),
            ..of_tenant(tenant, "backup_overdue", AlertSeverity::Critical)
        });
    }
}

/// What has failed and was not made good, of the tenants that were measured and of whatever else.
fn failures(cluster: &Cluster, measured: &BTreeSet<TenantId>) -> (BTreeMap<TenantId, Vec<Alert>>, Vec<Alert>) {
    let mut of_tenants: BTreeMap<TenantId, Vec<Alert>> = BTreeMap::new();
    let mut of_database: Vec<Alert> = Vec::new();
    let mut known = BTreeSet::new();
    let mut newest_first: Vec<_> = cluster.failures.iter().collect();
    newest_first.sort_by(|a, b| a.age_seconds.total_cmp(&b.age_seconds));
    for failure in newest_first {
        let tenant_id = failure.tenant_id.as_deref().and_then(|id| id.parse::<TenantId>().ok());
        let (alert_type, what) = match failure.operation.as_str() {
            "provision" => ("provision_failed", "provisioning"),
            "backup" => ("backup_failed", "the last backup"),
            _ => continue,
        };
        // It is there, so somebody has made it since; a second try at a name that is taken is nobody's trouble.
        if alert_type == "provision_failed" && tenant_id.as_ref().is_some_and(|id| measured.contains(id)) {
            continue;
        }
        let error_id = failure.error_id.as_deref().map(|id| format!(" (error_id {id})"));
        let alert = Alert {
            alert_type: alert_type.to_owned(),
            severity: AlertSeverity::Critical,
            message: format!(
                "{what} failed: {}{}",
                short(&failure.message),
                error_id.unwrap_or_default()
            ),
            tenant_id,
            object: None,
            value: None,
            limit: None,
        };
        // After a fleet's bad night there are as many as tenants.
        if !known.insert(alert.key()) {
            continue;
        }
        match &alert.tenant_id {
            Some(id) if measured.contains(id) => of_tenants.entry(id.clone()).or_default().push(alert),
            _ => of_database.push(alert),
        }
    }
    (of_tenants, of_database)
}

/// Standbys that lag or are not there. One that has gone no longer lags; that it is missed is known only where the
/// configuration says how many there are.
fn standbys(cluster: &Cluster, criteria: &Criteria, alerts: &mut Vec<Alert>, judged: &mut Judged) {
    let missing = Alert {
        alert_type: "replica_missing".to_owned(),
        severity: AlertSeverity::Critical,
        tenant_id: None,
        object: None,
        message: String::new(),
        value: None,
        limit: None,
    };
    let (have, want) = (cluster.standbys.len(), criteria.expected_standbys);
    if cluster.in_recovery {
        // Who streams from the primary is known there.
        judged.unknown.insert(missing.key());
    } else if have < want {
        alerts.push(Alert {
            message: format!("{have} of {want} standbys stream from this server"),
            value: Some(have as f64),
            limit: Some(want as f64),
            ..missing.clone()
        });
    }
    // Several may bear one name; the worst of them counts.
    let mut by_name: BTreeMap<&str, Vec<Option<f64>>> = BTreeMap::new();
    for standby in &cluster.standbys {
        by_name.entry(&standby.name).or_default().push(standby.lag_ms);
    }
    let allowed = criteria.max_replica_lag_ms as f64;
    for (name, lags) in by_name {
        let worst = lags.iter().flatten().copied().fold(0.0, f64::max);
        let alert = Alert {
            alert_type: "replica_lag".to_owned(),
            severity: AlertSeverity::Warning,
            object: Some(name.to_owned()),
            message: format!("standby {name} is {worst:.0} ms behind; {allowed:.0} ms are allowed"),
            value: Some(worst),
            limit: Some(allowed),
            ..missing.clone()
        };
        if worst > allowed {
            alerts.push(alert);
        } else if lags.contains(&None) {
            judged.unknown.insert(alert.key());
        }
    }
}

fn of_tenant(tenant: &TenantMetrics, alert_type: &str, severity: AlertSeverity) -> Alert {
    Alert {
        alert_type: alert_type.to_owned(),
        severity,
        tenant_id: Some(tenant.tenant_id.clone()),
        object: None,
        message: String::new(),
        value: None,
        limit: None,
    }
}

/// Rounded down, so that what is not full is not called 100 %.
fn share(ratio: f64) -> String {
    if ratio.is_finite() {
        format!("{} %", (ratio * 1000.0 + 1e-6).floor() / 10.0)
    } else {
        "over 100 %".to_owned()
    }
}

/// `9.31 GiB`.
fn bytes(bytes: f64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let (mut value, mut unit) = (bytes, 0);
    while value >= 1024.0 && unit < UNITS.len() - 1 {
        value /= 1024.0;
        unit += 1;
    }
    format!("{} {}", (value * 100.0).round() / 100.0, UNITS[unit])
}

fn short(message: &str) -> String {
    match message.char_indices().nth(MESSAGE_MAX) {
        Some((at, _)) => format!("{}...", &message[..at]),
        None => message.to_owned(),
    }
}
