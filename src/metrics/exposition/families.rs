//! What there is to say, family by family.

use std::collections::{BTreeMap, HashMap, HashSet};

use prometheus_client::metrics::MetricType;

use super::page::{About, Family, Page, Value, Whose, counter, gauge};
use crate::metrics::durations::Durations;
use crate::metrics::exporter::{PartState, State};
use crate::metrics::{AlertSeverity, Fleet, TenantMetrics, Usage};

/// The types of alerts that there are; those that do not fire are exposed as 0.
const ALERT_TYPES: [&str; 11] = [
    "backup_failed",
    "backup_overdue",
    "connection_limit",
    "portfolio_limit",
    "position_limit",
    "provision_failed",
    "replica_lag",
    "replica_missing",
    "schema_size_limit",
    "trade_limit",
    "writes_frozen",
];
impl Page {
    pub(super) fn of_fleet(fleet: &Fleet, durations: Option<&Durations>) -> Self {
        let mut page = Self {
            tenants: fleet
                .tenants
                .iter()
                .map(|t| (t.tenant_id.to_string(), t.schema_name.clone()))
                .collect(),
            ..Self::default()
        };
        page.tenants(fleet);
        page.alerts(fleet);
        page.database(fleet);
        if let Some(durations) = durations {
            page.durations(durations);
        }
        page
    }

    /// A family with one sample a tenant.
    fn each(&mut self, fleet: &Fleet, about: About, figure: impl Fn(&TenantMetrics) -> Option<f64>) {
        let mut family = Family::new(about);
        family.reserve(fleet.tenants.len());
        for (at, tenant) in fleet.tenants.iter().enumerate() {
            family.add(Whose::Tenant(at as u32), &[], figure(tenant));
        }
        self.families.push(family);
    }

    /// A family with several samples a tenant, told apart by a label.
    fn each_by(
        &mut self,
        fleet: &Fleet,
        about: About,
        label: &'static str,
        figures: impl Fn(&TenantMetrics, &mut dyn FnMut(&str, Option<f64>)),
    ) {
        let mut family = Family::new(about);
        for (at, tenant) in fleet.tenants.iter().enumerate() {
            figures(tenant, &mut |value, figure| {
                family.add(Whose::Tenant(at as u32), &[(label, value)], figure);
            });
        }
        self.families.push(family);
    }

    fn tenants(&mut self, fleet: &Fleet) {
        self.each(
            fleet,
            gauge(
                "tenant_schema_size",
                Some("bytes"),
                "Tables, indexes and TOAST of the tenant's schema, hypertables' chunks included.",
            ),
            |t| t.database.size_bytes.map(whole),
        );
        self.each(
            fleet,
            gauge(
                "tenant_active_connections",
                None,
                "All sessions of the tenant's role in this database, idle ones included; tenantctl_connections tells states apart.",
            ),
            |t| Some(whole(t.performance.connections.total)),
        );
        self.each_by(
            fleet,
            gauge(
                "tenantctl_tenant_info",
                None,
                "Always 1; the tier of the tenant is in the label.",
            ),
            "tier",
            |t, add| add(&t.tier, Some(1.0)),
        );
        self.each_by(
            fleet,
            gauge(
                "tenantctl_connections",
                None,
                "Sessions of the tenant's role in this database by state.",
            ),
            "state",
            |t, add| {
                let c = &t.performance.connections;
                add("active", c.active.map(whole));
                add("idle", c.idle.map(whole));
                add("idle_in_transaction", c.idle_in_transaction.map(whole));
            },
        );
        self.each(
            fleet,
            gauge(
                "tenantctl_longest_connection",
                Some("seconds"),
                "Time since the oldest session of the tenant's role was opened.",
            ),
            |t| t.performance.connections.longest_seconds,
        );
        self.each(
            fleet,
            gauge(
                "tenantctl_longest_transaction",
                Some("seconds"),
                "Time since the oldest open transaction of the tenant's role began.",
            ),
            |t| t.performance.connections.longest_transaction_seconds,
        );
        self.each(
            fleet,
            gauge(
                "tenantctl_tables",
                None,
                "Tables of the tenant; a partitioned table and each of its partitions count as one each, chunks do not.",
            ),
            |t| Some(whole(t.database.table_count)),
        );
        self.each(
            fleet,
            gauge(
                "tenantctl_rows",
                None,
                "Live rows of all tables of the tenant as the server's statistics have them.",
            ),
            |t| t.database.total_rows.map(whole),
        );
        self.each(
            fleet,
            gauge(
                "tenantctl_writes_frozen",
                None,
                "1 while the tenant may neither insert nor update because its schema is too large, else 0.",
            ),
            |t| Some(f64::from(u8::from(t.writes_frozen_at.is_some()))),
        );
        self.each(
            fleet,
            gauge(
                "tenantctl_tenant_age",
                Some("seconds"),
                "Time since the tenant was made.",
            ),
            |t| Some(t.backup.tenant_age_seconds),
        );
        self.each_by(
            fleet,
            gauge(
                "tenantctl_backup_age",
                Some("seconds"),
                "Time since the tenant's newest good backup of each type, and of any; absent without one.",
            ),
            "type",
            |t, add| {
                for (kind, age) in &t.backup.age_seconds_by_type {
                    add(kind, Some(*age));
                }
            },
        );
        for (about, of) in [
            (
                gauge(
                    "tenantctl_limit_used",
                    None,
                    "What is used of each limit of the tenant's tier, in the limit's unit: bytes for schema_size.",
                ),
                (|usage| usage.used) as fn(&Usage) -> Option<f64>,
            ),
            (
                gauge(
                    "tenantctl_limit_max",
                    None,
                    "The limits of the tenant's tier, in the same units; absent where unlimited.",
                ),
                |usage| usage.max,
            ),
            (
                gauge(
                    "tenantctl_limit",
                    Some("ratio"),
                    "What is used of each limit, by the limit: 1 is all; absent where unlimited or unknown.",
                ),
                |usage| usage.ratio,
            ),
        ] {
            self.each_by(fleet, about, "limit", |t, add| {
                for (limit, usage) in &t.limits {
                    add(limit, of(usage));
                }
            });
        }
        self.each_by(
            fleet,
            gauge(
                "tenantctl_business",
                None,
                "The business queries of the configuration; a query that failed has no sample.",
            ),
            "metric",
            |t, add| {
                for (name, value) in &t.business {
                    add(name, *value);
                }
            },
        );
    }

    fn alerts(&mut self, fleet: &Fleet) {
        let mut counts: BTreeMap<(&str, &str), f64> = BTreeMap::new();
        for alert_type in ALERT_TYPES {
            for severity in [AlertSeverity::Warning, AlertSeverity::Critical] {
                counts.insert((alert_type, severity.as_str()), 0.0);
            }
        }
        let places: HashMap<&str, u32> = (0..)
            .zip(&fleet.tenants)
            .map(|(at, t)| (t.tenant_id.as_str(), at))
            .collect();
        let mut each = Family::new(gauge(
            "tenantctl_alert",
            None,
            "Always 1; an alert that fires. One of the database has an empty tenant_id.",
        ));
        let mut seen = HashSet::new();
        for alert in &fleet.alerts {
            *counts
                .entry((alert.alert_type.as_str(), alert.severity.as_str()))
                .or_default() += 1.0;
            let whose = match &alert.tenant_id {
                Some(id) => places.get(id.as_str()).map_or(Whose::Nobody, |at| Whose::Tenant(*at)),
                None => Whose::Nobody,
            };
            let labels = [
                ("type", alert.alert_type.as_str()),
                ("severity", alert.severity.as_str()),
                ("object", alert.object.as_deref().unwrap_or_default()),
            ];
            // Alerts about tenants that are gone could be the same without their tenants.
            if seen.insert((whose, labels)) {
                each.add(whose, &labels, Some(1.0));
            }
        }
        let mut firing = Family::new(gauge(
            "tenantctl_alerts_firing",
            None,
            "Alerts that fire, by type and severity.",
        ));
        for ((alert_type, severity), count) in counts {
            firing.add(
                Whose::NoLabels,
                &[("type", alert_type), ("severity", severity)],
                Some(count),
            );
        }
        self.families.extend([firing, each]);
    }

    fn one(&mut self, about: About, labels: &[(&'static str, &str)], figure: Option<f64>) {
        let mut family = Family::new(about);
        family.add(Whose::NoLabels, labels, figure);
        self.families.push(family);
    }

    fn database(&mut self, fleet: &Fleet) {
        let cluster = &fleet.cluster;
        self.one(
            gauge("tenantctl_tenants", None, "Tenants of this database."),
            &[],
            Some(fleet.tenants.len() as f64),
        );
        let mut sources = Family::new(gauge(
            "tenantctl_schema_sizes",
            None,
            "Tenants by how their size is known: exact, estimate, or unknown.",
        ));
        for source in ["exact", "estimate", "unknown"] {
            let tenants = fleet.tenants.iter().filter(|t| t.database.size_source == source);
            sources.add(Whose::NoLabels, &[("source", source)], Some(tenants.count() as f64));
        }
        self.families.push(sources);
        self.one(
            gauge(
                "tenantctl_measurement_timestamp",
                Some("seconds"),
                "When measuring began, by the server's clock, since 1970.",
            ),
            &[],
            Some(fleet.unix_time),
        );
        self.one(
            gauge(
                "tenantctl_measurement_gaps",
                None,
                "What could not be measured, as so many sentences of `tenantctl metrics`.",
            ),
            &[],
            Some(fleet.unknown.len() as f64),
        );
        self.one(
            gauge(
                "tenantctl_server_connections",
                None,
                "Client sessions of the whole server.",
            ),
            &[],
            Some(whole(cluster.connections)),
        );
        self.one(
            gauge(
                "tenantctl_server_connections_max",
                None,
                "max_connections of the server.",
            ),
            &[],
            Some(whole(cluster.max_connections)),
        );
        self.one(
            gauge(
                "tenantctl_server_in_recovery",
                None,
                "1 when the server is a standby itself, else 0.",
            ),
            &[],
            Some(f64::from(u8::from(cluster.in_recovery))),
        );
        self.one(
            gauge("tenantctl_standbys", None, "Standbys that stream from the server."),
            &[],
            Some(cluster.standbys.len() as f64),
        );
        self.standbys(fleet);
        self.host(fleet);
    }

    /// Several standbys may go by the same name; the one that is furthest behind counts.
    fn standbys(&mut self, fleet: &Fleet) {
        let mut bytes = Family::new(gauge(
            "tenantctl_standby_lag",
            Some("bytes"),
            "WAL that the standby has not replayed yet.",
        ));
        let mut seconds = Family::new(gauge(
            "tenantctl_standby_lag",
            Some("seconds"),
            "Time until what was written here was last seen replayed there; 0 when it has replayed all.",
        ));
        type Lags = (Option<f64>, Option<f64>);
        let mut worst: BTreeMap<(&str, &str), Lags> = BTreeMap::new();
        for standby in &fleet.cluster.standbys {
            let (lag_bytes, lag_ms) = worst
                .entry((&standby.name, standby.address.as_deref().unwrap_or_default()))
                .or_default();
            let further = |old: Option<f64>, new: Option<f64>| match (old, new) {
                (Some(old), Some(new)) => Some(old.max(new)),
                (old, new) => old.or(new),
            };
            *lag_bytes = further(*lag_bytes, standby.lag_bytes.map(whole));
            *lag_ms = further(*lag_ms, standby.lag_ms);
        }
        for ((name, address), (lag_bytes, lag_ms)) in worst {
            let labels = [("standby", name), ("address", address)];
            bytes.add(Whose::NoLabels, &labels, lag_bytes);
            seconds.add(Whose::NoLabels, &labels, lag_ms.map(|ms| ms / 1000.0));
        }
        self.families.extend([bytes, seconds]);
    }

    fn host(&mut self, fleet: &Fleet) {
        // The same with each tenant; without a tenant nobody has looked.
        let Some(host) = fleet.tenants.first().map(|t| &t.resources) else {
            return;
        };
        let labels = [("host", host.host.as_str())];
        let mib = |mib: Option<f64>| mib.map(|mib| mib * 1_048_576.0);
        self.one(
            gauge(
                "tenantctl_host_cpu",
                Some("ratio"),
                "Use of all processors of the machine that tenantctl runs on, which need not be the server's.",
            ),
            &labels,
            host.cpu_percent.map(|percent| percent / 100.0),
        );
        self.one(
            gauge(
                "tenantctl_host_memory_used",
                Some("bytes"),
                "Memory in use of the machine that tenantctl runs on.",
            ),
            &labels,
            mib(host.memory_mb),
        );
        self.one(
            gauge(
                "tenantctl_host_memory",
                Some("bytes"),
                "Memory of the machine that tenantctl runs on.",
            ),
            &labels,
            mib(host.memory_total_mb),
        );
    }

    fn durations(&mut self, durations: &Durations) {
        let mut family = Family::new(About {
            name: "tenant_query_duration",
            unit: Some("seconds"),
            kind: MetricType::Histogram,
            help: "Queries of the tenant's role since this exporter runs, from differences of pg_stat_statements: the \
                   calls of a query between two measurements count as that many of their mean duration, so sum and \
                   count are exact, buckets are not. Tenants beyond --max-tenants-detailed are one together, with an \
                   empty tenant_id.",
        });
        let places: HashMap<&str, u32> = (0..)
            .zip(&self.tenants)
            .map(|(at, (_, schema))| (schema.as_str(), at))
            .collect();
        let mut histograms = Vec::new();
        for (schema, query_type, histogram) in durations.histograms() {
            let whose = match schema {
                None => Whose::Nobody,
                Some(schema) => match places.get(schema) {
                    Some(at) => Whose::Tenant(*at),
                    // Dropped meanwhile.
                    None => continue,
                },
            };
            family.push(
                whose,
                &[("query_type", query_type)],
                Value::Histogram(histograms.len() as u32),
            );
            histograms.push(histogram.clone());
        }
        self.histograms = histograms;
        self.families.push(family);
    }

    pub(super) fn of_state(state: &State) -> Self {
        let mut page = Self::default();
        page.one(
            gauge(
                "tenantctl_up",
                None,
                "1 when the last measurement succeeded, else 0; the samples of older ones stay for some minutes.",
            ),
            &[],
            Some(f64::from(u8::from(state.up))),
        );
        page.one(
            gauge(
                "tenantctl_build_info",
                None,
                "Always 1; the version of tenantctl is in the label.",
            ),
            &[("version", env!("CARGO_PKG_VERSION"))],
            Some(1.0),
        );
        page.one(
            counter("tenantctl_scrapes", None, "Scrapes that were answered."),
            &[],
            Some(whole(state.scrapes)),
        );
        page.one(
            counter(
                "tenantctl_notification_errors",
                None,
                "Times that alerts could not be told to whoever is to know.",
            ),
            &[],
            Some(whole(state.notification_errors)),
        );
        type Figure = fn(&PartState) -> Option<f64>;
        let families: [(About, Figure); 5] = [
            (
                gauge(
                    "tenantctl_measurement_age",
                    Some("seconds"),
                    "How old the samples of this part are.",
                ),
                |part| part.age.map(|age| age.as_secs_f64()),
            ),
            (
                gauge(
                    "tenantctl_measurement_duration",
                    Some("seconds"),
                    "How long the last measurement of this part took.",
                ),
                |part| part.duration.map(|duration| duration.as_secs_f64()),
            ),
            (
                gauge(
                    "tenantctl_measurement_interval",
                    Some("seconds"),
                    "For how long a measurement of this part is good.",
                ),
                |part| Some(part.interval.as_secs_f64()),
            ),
            (
                counter(
                    "tenantctl_measurements",
                    None,
                    "Measurements that ended, failed ones included.",
                ),
                |part| Some(whole(part.measurements)),
            ),
            (
                counter(
                    "tenantctl_measurement_errors",
                    None,
                    "Measurements that failed or ran out of time.",
                ),
                |part| Some(whole(part.errors)),
            ),
        ];
        for (about, figure) in families {
            let mut family = Family::new(about);
            for part in &state.parts {
                family.add(Whose::NoLabels, &[("part", part.name)], figure(part));
            }
            page.families.push(family);
        }
        page
    }
}

/// Sizes and counts are far below the numbers that `f64` cannot hold.
fn whole(number: u64) -> f64 {
    number as f64
}
