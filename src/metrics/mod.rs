//! What tenants use, measured for all of them together: sizes, rows, connections, queries, limits, backups.
//!
//! [`collect`] reads, [`limits`] judges, the others show: as text for Prometheus ([`exposition`]), over HTTP
//! ([`exporter`]), as a page ([`report`]), through Redis ([`cache`]).

pub mod activity;
pub mod business;
pub mod cache;
pub mod cluster;
pub mod collect;
pub mod dashboard;
pub mod durations;
pub mod exporter;
pub mod exposition;
pub mod host;
pub mod http;
pub mod limits;
pub mod readers;
pub mod report;
pub mod rules;
pub mod sizes;
pub mod statements;
pub mod usage;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::tenant::TenantId;

/// All that was measured in one go.
#[derive(Clone, Debug, Serialize)]
pub struct Fleet {
    /// When measuring began, by the server's clock, ISO 8601 in UTC.
    pub timestamp: String,
    /// The same as seconds since 1970.
    pub unix_time: f64,
    /// How long it took, in milliseconds.
    pub duration_ms: f64,
    /// By tenant id.
    pub tenants: Vec<TenantMetrics>,
    /// The database and its standbys.
    pub cluster: cluster::Cluster,
    /// What could not be measured and why, as sentences; what they concern is null in the tenants.
    pub unknown: Vec<String>,
    /// Alerts that fire, the database's own included; the tenants' are also with them.
    pub alerts: Vec<Alert>,
}

/// One tenant's document. A figure that could not be had is null, never 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TenantMetrics {
    /// The caller's name for it.
    pub tenant_id: TenantId,
    /// Its schema.
    pub schema_name: String,
    /// The tier it was given.
    pub tier: String,
    /// When measuring began, by the server's clock, ISO 8601 in UTC.
    pub timestamp: String,
    /// Since when its writes are frozen; absent: they are not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub writes_frozen_at: Option<String>,
    /// Size, tables, rows.
    pub database: Database,
    /// Connections and queries.
    pub performance: Performance,
    /// Of the machine that tenantctl runs on, which need not be the server's.
    pub resources: host::Resources,
    /// The business queries of the configuration by name; null: the query failed, ran out of time, or was not run.
    pub business: BTreeMap<String, Option<f64>>,
    /// Its newest good backup.
    pub backup: Backup,
    /// What is used of each limit of its tier, by `schema_size`, `connections`, `portfolios`, `positions_per_portfolio`,
    /// `trades_per_day`, `api_calls_per_minute`.
    pub limits: BTreeMap<String, Usage>,
    /// Its alerts that fire.
    pub alerts: Vec<Alert>,
}

/// Size and contents of a tenant's schema.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Database {
    /// Bytes of tables, indexes and TOAST, hypertables' chunks included; null: unknown.
    pub size_bytes: Option<u64>,
    /// `exact`, `estimate`, or `unknown`.
    pub size_source: String,
    /// Tables; a partitioned table and each of its partitions count as one each, chunks do not.
    pub table_count: u64,
    /// Live rows of all tables and materialized views as the server's statistics have them; null where it keeps none, such as
    /// on a standby.
    pub total_rows: Option<u64>,
}

/// What a tenant's role does.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Performance {
    /// Its sessions in this database.
    pub connections: activity::Connections,
    /// Its queries by total time, most first; absent without pg_stat_statements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub top_queries: Option<Vec<statements::TopQuery>>,
}

/// A tenant's newest good backup.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Backup {
    /// Its id; absent: there is none.
    pub backup_id: Option<String>,
    /// The moment that it shows the tenant at, ISO 8601 in UTC.
    pub created_at: Option<String>,
    /// Seconds since then; without a backup, absent.
    pub age_seconds: Option<f64>,
    /// Seconds since the newest good backup of each type, and of `any`.
    #[serde(default)]
    pub age_seconds_by_type: BTreeMap<String, f64>,
    /// Seconds since the tenant was made.
    #[serde(default)]
    pub tenant_age_seconds: f64,
}

/// What is used of a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// In the limit's unit, bytes for `schema_size`; null: unknown, or nobody counts it.
    pub used: Option<f64>,
    /// The limit; null: unlimited.
    pub max: Option<f64>,
    /// The first by the second; null where one of them is.
    pub ratio: Option<f64>,
}

impl Usage {
    /// Usage of a limit.
    pub fn of(used: Option<f64>, max: Option<f64>) -> Self {
        let ratio = match (used, max) {
            (Some(used), Some(max)) if max > 0.0 => Some(used / max),
            _ => None,
        };
        Self { used, max, ratio }
    }
}

/// The name of a limit for people.
pub fn limit_label(name: &str) -> &str {
    match name {
        "schema_size" => "schema size",
        "connections" => "connections",
        "portfolios" => "portfolios",
        "positions_per_portfolio" => "positions a portfolio",
        "trades_per_day" => "trades today",
        "api_calls_per_minute" => "API calls a minute",
        other => other,
    }
}

/// The limit that alerts of this type are about.
pub fn limit_of_alert(alert_type: &str) -> Option<&'static str> {
    match alert_type {
        "schema_size_limit" => Some("schema_size"),
        "connection_limit" => Some("connections"),
        "portfolio_limit" => Some("portfolios"),
        "position_limit" => Some("positions_per_portfolio"),
        "trade_limit" => Some("trades_per_day"),
        _ => None,
    }
}

/// How bad an alert is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertSeverity {
    /// Somebody should look.
    Warning,
    /// Somebody must act.
    Critical,
}

impl AlertSeverity {
    /// The word in JSON, in the registry and in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Critical => "critical",
        }
    }
}

/// An alert that fires.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Alert {
    /// Such as `schema_size_limit`, `connection_limit`, `backup_overdue`, `replica_lag`, `provision_failed`.
    #[serde(rename = "type")]
    pub alert_type: String,
    /// How bad it is.
    pub severity: AlertSeverity,
    /// The tenant; absent: the database's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_id: Option<TenantId>,
    /// What of it, where there may be several: the type of a backup, the name of a standby.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// One sentence with figures.
    pub message: String,
    /// What was measured.
    pub value: Option<f64>,
    /// The limit of the tier, or whatever it is held against, in the same unit.
    pub limit: Option<f64>,
}

impl Alert {
    /// What tells it from all others: the same alert has the same key in every run.
    pub fn key(&self) -> String {
        let tenant = self.tenant_id.as_ref().map_or("", TenantId::as_str);
        format!(
            "{}/{tenant}/{}",
            self.alert_type,
            self.object.as_deref().unwrap_or_default()
        )
    }
}
