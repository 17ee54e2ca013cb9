//! Metrics as Prometheus reads them: OpenMetrics 1.0.0, and text format 0.0.4 made from it.
//!
//! Of each tenant there are at most [`SERIES_PER_TENANT`] series whatever tables it has, one more for each business query
//! and each alert that fires, and, of so many tenants as were asked for, [`durations::SERIES_PER_TENANT`] of the
//! histogram. A figure that is unknown has no sample.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, LabelSetEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use super::durations::{self, BOUNDS, Durations};
use super::exporter::State;
use super::{AlertSeverity, Fleet, TenantMetrics};
use crate::error::{Error, ErrorKind, Result};

/// The media type of OpenMetrics.
pub const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// The media type of text format 0.0.4.
pub const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Series of one tenant, beside business queries, alerts that fire, and the histogram: 6 of backups, one for each type of
/// backup and one for any; 18 of limits, three for each; 12 others.
pub const SERIES_PER_TENANT: usize = 36;

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

/// Numbers up to here are whole as `f64`.
const WHOLE_MAX: f64 = 9_007_199_254_740_992.0;

/// What was measured as OpenMetrics text, with the final `# EOF`. `durations` and `state` are an exporter's: whoever
/// measures once has neither.
///
/// # Errors
/// When the text cannot be put together.
pub fn openmetrics(fleet: &Fleet, durations: Option<&Durations>, state: Option<&State>) -> Result<String> {
    let mut page = Page::of_fleet(fleet, durations);
    if let Some(state) = state {
        page.families.append(&mut Page::of_state(state).families);
    }
    page.encode(true, 0)
}

/// The same samples as text format 0.0.4.
pub fn plain_text(openmetrics: &str) -> String {
    let exposition = Exposition::new(openmetrics.to_owned());
    let mut text = String::with_capacity(openmetrics.len());
    for piece in exposition.pieces(Format::Plain) {
        text.push_str(&String::from_utf8_lossy(&piece));
    }
    text
}

/// The text of an exporter's own figures, which is made anew for each scrape, with the final `# EOF`.
///
/// # Errors
/// When the text cannot be put together.
pub(super) fn state_text(state: &State) -> Result<String> {
    Page::of_state(state).encode(true, 0)
}

/// The text of a fleet alone, without `# EOF`; `capacity` is about how long it will be.
///
/// # Errors
/// When the text cannot be put together.
pub(super) fn fleet_text(fleet: &Fleet, durations: &Durations, capacity: usize) -> Result<String> {
    Page::of_fleet(fleet, Some(durations)).encode(false, capacity)
}

/// A form that samples are sent in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Text format 0.0.4.
    Plain,
}

impl Format {
    /// The best of what a client takes: OpenMetrics for one whose `Accept` names it without refusing it.
    pub fn accepted(accept: Option<&str>) -> Self {
        let names_it = |range: &str| {
            let mut parameters = range.split(';').map(str::trim);
            let refused = |p: &str| {
                p.strip_prefix("q=")
                    .and_then(|q| q.trim().parse::<f64>().ok())
                    .is_some_and(|q| q <= 0.0)
            };
            parameters
                .next()
                .is_some_and(|kind| kind.eq_ignore_ascii_case("application/openmetrics-text"))
                && !parameters.any(refused)
        };
        match accept {
            Some(accept) if accept.split(',').any(names_it) => Self::OpenMetrics,
            _ => Self::Plain,
        }
    }

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => OPENMETRICS,
            Self::Plain => PLAIN,
        }
    }
}

/// Text in both formats, of which the samples, nearly all of it, are the same bytes and are held once.
#[derive(Debug, Default)]
pub struct Exposition(Vec<Part>);

/// A family: what is said of it in each format, and its samples.
#[derive(Debug)]
struct Part {
    openmetrics: Bytes,
    plain: Bytes,
    samples: Bytes,
}

impl Exposition {
    /// Takes OpenMetrics text.
    pub fn new(openmetrics: String) -> Self {
        let whole = Bytes::from(openmetrics);
        let mut parts = Vec::new();
        let mut at = 0;
        while at < whole.len() {
            let samples = at + end_of_comments(&whole[at..]);
            let next = samples + end_of_samples(&whole[samples..]);
            parts.push(Part {
                openmetrics: whole.slice(at..samples),
                plain: Bytes::from(plain_comments(&String::from_utf8_lossy(&whole[at..samples]))),
                samples: whole.slice(samples..next),
            });
            at = next;
        }
        Self(parts)
    }

    /// The pieces that make up the text.
    pub fn pieces(&self, format: Format) -> impl Iterator<Item = Bytes> {
        self.0.iter().flat_map(move |part| {
            let comments = match format {
                Format::OpenMetrics => &part.openmetrics,
                Format::Plain => &part.plain,
            };
            [comments.clone(), part.samples.clone()]
        })
    }

    /// Bytes of the text.
    pub fn len(&self) -> usize {
        self.pieces(Format::OpenMetrics).map(|piece| piece.len()).sum()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Where the lines that begin with `#` end.
fn end_of_comments(text: &[u8]) -> usize {
    let mut at = 0;
    while text.get(at) == Some(&b'#') {
        at += line_length(&text[at..]);
    }
    at
}

/// Where the next line begins that begins with `#`.
fn end_of_samples(text: &[u8]) -> usize {
    let mut at = 0;
    while at < text.len() && text[at] != b'#' {
        at += line_length(&text[at..]);
    }
    at
}

fn line_length(text: &[u8]) -> usize {
    text.iter().position(|&b| b == b'\n').map_or(text.len(), |end| end + 1)
}

/// What text format 0.0.4 says of a family: a counter goes by the name of its samples, units and the end are not known.
fn plain_comments(openmetrics: &str) -> String {
    let lines = || openmetrics.lines().filter_map(|line| line.strip_prefix("# "));
    let counters: Vec<&str> = lines()
        .filter_map(|line| line.strip_prefix("TYPE ")?.strip_suffix(" counter"))
        .collect();
    let mut plain = String::new();
    for line in lines() {
        let mut words = line.splitn(3, ' ');
        let (Some(what @ ("HELP" | "TYPE")), Some(name), Some(rest)) = (words.next(), words.next(), words.next())
        else {
            continue;
        };
        let total = if counters.contains(&name) { "_total" } else { "" };
        let rest = if (what, rest) == ("TYPE", "unknown") {
            "untyped"
        } else {
            rest
        };
        plain.push_str(&format!("# {what} {name}{total} {rest}\n"));
    }
    plain
}

/// What a family is called and means.
#[derive(Clone, Copy, Debug)]
struct About {
    /// Without the unit, and without `_total`.
    name: &'static str,
    /// The end of the name.
    unit: Option<&'static str>,
    kind: MetricType,
    help: &'static str,
}

const fn gauge(name: &'static str, unit: Option<&'static str>, help: &'static str) -> About {
    About {
        name,
        unit,
        kind: MetricType::Gauge,
        help,
    }
}

const fn counter(name: &'static str, unit: Option<&'static str>, help: &'static str) -> About {
    About {
        name,
        unit,
        kind: MetricType::Counter,
        help,
    }
}

/// A family with its samples.
#[derive(Debug)]
struct Family {
    about: About,
    /// Labels beside the tenant's, each set once; samples give their place.
    sets: Vec<Vec<(&'static str, String)>>,
    samples: Vec<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    tenant: Whose,
    set: Option<u32>,
    value: Value,
}

/// Whose sample it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Whose {
    /// Of the tenant at this place.
    Tenant(u32),
    /// Of several tenants or none: the tenant's labels are there, and empty.
    Nobody,
    /// Of the database or the exporter: there are no such labels.
    NoLabels,
}

#[derive(Clone, Copy, Debug)]
enum Value {
    Number(f64),
    /// The place of a histogram.
    Histogram(u32),
}

impl Family {
    fn new(about: About) -> Self {
        Self {
            about,
            sets: Vec::new(),
            samples: Vec::new(),
        }
    }

    /// Adds a sample where there is a figure.
    fn add(&mut self, tenant: Whose, labels: &[(&'static str, &str)], value: Option<f64>) {
        if let Some(value) = value.filter(|value| value.is_finite()) {
            self.push(tenant, labels, Value::Number(value));
        }
    }

    fn push(&mut self, tenant: Whose, labels: &[(&'static str, &str)], value: Value) {
        let set = (!labels.is_empty()).then(|| self.set(labels));
        self.samples.push(Sample { tenant, set, value });
    }

    /// The place of a set of labels; there are few in a family, and the same ones again and again.
    fn set(&mut self, labels: &[(&'static str, &str)]) -> u32 {
        let same = |set: &Vec<(&str, String)>| {
            set.iter()
                .map(|(key, value)| (*key, value.as_str()))
                .eq(labels.iter().copied())
        };
        let at = self.sets.iter().position(same).unwrap_or_else(|| {
            self.sets
                .push(labels.iter().map(|(key, value)| (*key, (*value).to_owned())).collect());
            self.sets.len() - 1
        });
        at as u32
    }
}

/// Families of samples.
#[derive(Debug, Default)]
struct Page {
    /// Ids and schemas.
    tenants: Vec<(String, String)>,
    families: Vec<Family>,
    histograms: Vec<durations::Histogram>,
}

impl Page {
    fn of_fleet(fleet: &Fleet, durations: Option<&Durations>) -> Self {
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
        family.samples.reserve(fleet.tenants.len());
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
                (|usage| usage.used) as fn(&super::Usage) -> Option<f64>,
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
        let mut seen = std::collections::HashSet::new();
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
        let mut worst: BTreeMap<(&str, &str), (Option<f64>, Option<f64>)> = BTreeMap::new();
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

    fn of_state(state: &State) -> Self {
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
        let families: [(About, fn(&super::exporter::PartState) -> Option<f64>); 5] = [
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

    fn encode(self, end: bool, capacity: usize) -> Result<String> {
        let failed = |e: fmt::Error| Error::new(ErrorKind::Unknown, "cannot write the metrics").with_cause(e);
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::new(self)));
        let mut written = String::with_capacity(capacity);
        text::encode_registry(&mut written, &registry).map_err(failed)?;
        if end {
            text::encode_eof(&mut written).map_err(failed)?;
        }
        Ok(written)
    }
}

impl Collector for Page {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        // A family without samples says nothing.
        for family in self.families.iter().filter(|family| !family.samples.is_empty()) {
            let About { name, unit, kind, help } = family.about;
            let unit = unit.map(|unit| Unit::Other(unit.to_owned()));
            let mut metric = encoder.encode_descriptor(name, help, unit.as_ref(), kind)?;
            for sample in &family.samples {
                let labels = Labels {
                    page: self,
                    family,
                    sample,
                };
                let mut metric = if sample.tenant == Whose::NoLabels && sample.set.is_none() {
                    // Without even a pair of braces.
                    value_of(&mut metric, sample.value, kind)?;
                    continue;
                } else {
                    metric.encode_family(&labels)?
                };
                match sample.value {
                    Value::Histogram(at) => {
                        let Some(histogram) = self.histograms.get(at as usize) else {
                            continue;
                        };
                        let buckets: Vec<(f64, u64)> = BOUNDS
                            .iter()
                            .copied()
                            .chain([f64::INFINITY])
                            .zip(histogram.buckets.iter().copied())
                            .collect();
                        metric.encode_histogram::<NoLabelSet>(histogram.sum, histogram.count(), &buckets, None)?;
                    }
                    value => value_of(&mut metric, value, kind)?,
                }
            }
        }
        Ok(())
    }
}

fn value_of(
    metric: &mut prometheus_client::encoding::MetricEncoder<'_>,
    value: Value,
    kind: MetricType,
) -> fmt::Result {
    let Value::Number(value) = value else {
        return Ok(());
    };
    let is_whole = value.fract() == 0.0 && value.abs() < WHOLE_MAX;
    match kind {
        MetricType::Counter if is_whole => metric.encode_counter::<NoLabelSet, u64, f64>(&(value as u64), None),
        MetricType::Counter => metric.encode_counter::<NoLabelSet, f64, f64>(&value, None),
        _ if is_whole => metric.encode_gauge(&(value as i64)),
        _ => metric.encode_gauge(&value),
    }
}

/// The labels of a sample.
struct Labels<'a> {
    page: &'a Page,
    family: &'a Family,
    sample: &'a Sample,
}

impl EncodeLabelSet for Labels<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        use prometheus_client::encoding::EncodeLabel;
        let whose = match self.sample.tenant {
            Whose::Tenant(at) => self
                .page
                .tenants
                .get(at as usize)
                .map(|(id, schema)| (id.as_str(), schema.as_str())),
            Whose::Nobody => Some(("", "")),
            Whose::NoLabels => None,
        };
        if let Some((id, schema)) = whose {
            ("tenant_id", id).encode(encoder.encode_label())?;
            ("schema_name", schema).encode(encoder.encode_label())?;
        }
        let set = self.sample.set.and_then(|at| self.family.sets.get(at as usize));
        for (key, value) in set.into_iter().flatten() {
            (*key, value.as_str()).encode(encoder.encode_label())?;
        }
        Ok(())
    }
}

/// Sizes and counts are far below the numbers that `f64` cannot hold.
fn whole(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::activity::Connections;
    use crate::metrics::cluster::{Cluster, Standby};
    use crate::metrics::exporter::PartState;
    use crate::metrics::host::Resources;
    use crate::metrics::statements::Counters;
    use crate::metrics::{Alert, Backup, Performance, Usage};

    /// A tenant of which everything is known.
    fn tenant(id: &str) -> TenantMetrics {
        let types = ["any", "scheduled", "weekly", "monthly", "manual", "pre_migration"];
        let limits = [
            "schema_size",
            "connections",
            "portfolios",
            "positions_per_portfolio",
            "trades_per_day",
            "api_calls_per_minute",
        ];
        TenantMetrics {
            tenant_id: id.parse().expect("an id"),
            schema_name: "tenant_0123456789ab".into(),
            tier: "basic \"new\"".into(),
            timestamp: String::new(),
            writes_frozen_at: None,
            database: super::super::Database {
                size_bytes: Some(3 << 40),
                size_source: "exact".into(),
                table_count: 4,
                total_rows: Some(12),
            },
            performance: Performance {
                connections: Connections {
                    total: 6,
                    active: Some(1),
                    idle: Some(3),
                    idle_in_transaction: Some(2),
                    longest_seconds: Some(1.5),
                    longest_transaction_seconds: Some(0.25),
                },
                top_queries: None,
            },
            resources: Resources {
                host: "h".into(),
                cpu_percent: Some(50.0),
                memory_mb: Some(1.0),
                memory_total_mb: Some(2.0),
            },
            business: [("portfolio_count".to_owned(), Some(5.0)), ("failed".to_owned(), None)].into(),
            backup: Backup {
                age_seconds_by_type: types.map(|t| (t.to_owned(), 60.0)).into(),
                tenant_age_seconds: 100.0,
                ..Backup::default()
            },
            limits: limits.map(|l| (l.to_owned(), Usage::of(Some(1.0), Some(4.0)))).into(),
            alerts: Vec::new(),
        }
    }

    fn fleet(tenants: Vec<TenantMetrics>) -> Fleet {
        Fleet {
            timestamp: String::new(),
            unix_time: 1_700_000_000.5,
            duration_ms: 1.0,
            tenants,
            cluster: Cluster::default(),
            unknown: Vec::new(),
            alerts: Vec::new(),
        }
    }

    fn state() -> State {
        State {
            up: true,
            scrapes: 3,
            parts: vec![PartState {
                name: "activity",
                age: Some(std::time::Duration::from_millis(1500)),
                ..PartState::default()
            }],
            ..State::default()
        }
    }

    #[test]
    fn a_tenant_has_so_many_series_and_no_more() {
        let text = openmetrics(&fleet(vec![tenant("a.b_c-D")]), None, None).expect("text");
        let own: Vec<&str> = text.lines().filter(|l| l.contains("tenant_id=\"a.b_c-D\"")).collect();
        // One business query beside.
        assert_eq!(own.len(), SERIES_PER_TENANT + 1, "{own:#?}");
        for line in [
            "tenant_schema_size_bytes{tenant_id=\"a.b_c-D\",schema_name=\"tenant_0123456789ab\"} 3298534883328",
            "tenant_active_connections{tenant_id=\"a.b_c-D\",schema_name=\"tenant_0123456789ab\"} 6",
            "tenantctl_tenant_info{tenant_id=\"a.b_c-D\",schema_name=\"tenant_0123456789ab\",tier=\"basic \\\"new\\\"\"} 1",
            "tenantctl_limit_ratio{tenant_id=\"a.b_c-D\",schema_name=\"tenant_0123456789ab\",limit=\"schema_size\"} 0.25",
        ] {
            assert!(own.contains(&line), "{line} not in {own:#?}");
        }
        assert!(
            text.contains("\ntenantctl_measurement_timestamp_seconds 1700000000.5\n"),
            "{text}"
        );
        assert!(text.contains("\ntenantctl_host_cpu_ratio{host=\"h\"} 0.5\n"), "{text}");
        assert!(text.ends_with("# EOF\n"));
    }

    #[test]
    fn what_is_unknown_has_no_sample() {
        let mut unknown = tenant("a");
        unknown.database = super::super::Database {
            size_source: "unknown".into(),
            ..Default::default()
        };
        unknown.performance = Performance::default();
        unknown.backup = Backup::default();
        unknown.limits = [
            ("schema_size".to_owned(), Usage::of(None, Some(1.0))),
            ("portfolios".to_owned(), Usage::of(Some(2.0), None)),
            ("connections".to_owned(), Usage::of(Some(f64::NAN), Some(1.0))),
        ]
        .into();
        let text = openmetrics(&fleet(vec![unknown]), None, None).expect("text");
        let absent = [
            "tenant_schema_size_bytes{",
            "tenantctl_connections{",
            "tenantctl_longest",
            "tenantctl_rows{",
            "tenantctl_backup_age_seconds{",
            "tenantctl_limit_ratio",
            "tenantctl_limit_used{tenant_id=\"a\",schema_name=\"tenant_0123456789ab\",limit=\"schema_size\"}",
            "tenantctl_standby_lag",
            "NaN",
        ];
        for name in absent {
            assert!(!text.contains(name), "{name} in {text}");
        }
        assert!(text.contains("limit=\"portfolios\"} 2\n"), "{text}");
        assert!(
            text.contains("tenantctl_schema_sizes{source=\"unknown\"} 1\n"),
            "{text}"
        );
        // Nobody asked the machine, as there is no tenant; all else holds.
        let empty = openmetrics(&fleet(Vec::new()), None, None).expect("text");
        assert!(
            empty.contains("tenantctl_tenants 0\n") && !empty.contains("tenantctl_host"),
            "{empty}"
        );
    }

    #[test]
    fn alerts_and_standbys_that_look_the_same_are_one_series() {
        let mut fleet = fleet(vec![tenant("a")]);
        let alert = |tenant: Option<&str>| Alert {
            alert_type: "backup_overdue".into(),
            severity: AlertSeverity::Critical,
            tenant_id: tenant.map(|id| id.parse().expect("an id")),
            object: Some("any".into()),
            message: "overdue".into(),
            value: None,
            limit: None,
        };
        fleet.alerts = vec![alert(Some("a")), alert(Some("gone")), alert(Some("also-gone"))];
        let standby = |lag_bytes, lag_ms| Standby {
            name: "walreceiver".into(),
            lag_bytes,
            lag_ms,
            ..Standby::default()
        };
        fleet.cluster.standbys = vec![standby(Some(5), None), standby(Some(7), Some(250.0))];
        let text = openmetrics(&fleet, None, None).expect("text");
        let count = |what: &str| text.lines().filter(|l| l.starts_with(what)).count();
        assert_eq!(count("tenantctl_alert{"), 2, "{text}");
        assert!(text.contains("tenantctl_alerts_firing{type=\"backup_overdue\",severity=\"critical\"} 3\n"));
        assert!(text.contains("tenantctl_alerts_firing{type=\"replica_lag\",severity=\"warning\"} 0\n"));
        assert!(
            text.contains("tenantctl_standby_lag_bytes{standby=\"walreceiver\",address=\"\"} 7\n"),
            "{text}"
        );
        assert!(text.contains("tenantctl_standby_lag_seconds{standby=\"walreceiver\",address=\"\"} 0.25\n"));
    }

    #[test]
    fn both_formats_have_the_same_samples() {
        let mut durations = Durations::new(1);
        let schemas = [("r".to_owned(), "tenant_0123456789ab".to_owned())].into();
        durations.count(&[], &schemas);
        durations.learn([(1, "select")].into());
        durations.count(
            &[Counters {
                role: "r".into(),
                queryid: 1,
                calls: 4,
                total_time_ms: 3000.0,
            }],
            &schemas,
        );
        let text = openmetrics(&fleet(vec![tenant("a")]), Some(&durations), Some(&state())).expect("text");
        let plain = plain_text(&text);
        let samples = |text: &str| -> Vec<String> {
            text.lines()
                .filter(|l| !l.starts_with('#'))
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(samples(&text), samples(&plain));
        let labels = "tenant_id=\"a\",schema_name=\"tenant_0123456789ab\",query_type=\"select\"";
        for line in [
            format!("tenant_query_duration_seconds_bucket{{le=\"0.5\",{labels}}} 0"),
            format!("tenant_query_duration_seconds_bucket{{le=\"1.0\",{labels}}} 4"),
            format!("tenant_query_duration_seconds_bucket{{le=\"+Inf\",{labels}}} 4"),
            format!("tenant_query_duration_seconds_count{{{labels}}} 4"),
            format!("tenant_query_duration_seconds_sum{{{labels}}} 3.0"),
        ] {
            assert!(samples(&text).contains(&line), "{line} not in {text}");
        }
        let series = samples(&text).iter().filter(|l| l.contains("query_type=")).count();
        assert_eq!(
            series * crate::metrics::statements::QUERY_TYPES.len(),
            durations::SERIES_PER_TENANT
        );
        assert!(
            text.contains("# TYPE tenantctl_scrapes counter\ntenantctl_scrapes_total 3\n"),
            "{text}"
        );
        assert!(
            plain.contains("# TYPE tenantctl_scrapes_total counter\ntenantctl_scrapes_total 3\n"),
            "{plain}"
        );
        assert!(plain.contains("# HELP tenantctl_scrapes_total "), "{plain}");
        assert!(text.contains("# UNIT tenant_schema_size_bytes bytes\n") && !plain.contains("# UNIT"));
        assert!(!plain.contains("EOF"));
        let pieces = |format| -> Vec<u8> { Exposition::new(text.clone()).pieces(format).flatten().collect() };
        assert_eq!(pieces(Format::OpenMetrics), text.as_bytes());
        assert_eq!(pieces(Format::Plain), plain.as_bytes());
    }

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let prometheus = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1";
        for accept in [
            prometheus,
            "APPLICATION/openmetrics-text",
            "text/html, application/openmetrics-text",
        ] {
            assert_eq!(Format::accepted(Some(accept)), Format::OpenMetrics, "{accept}");
        }
        for accept in [
            "",
            "*/*",
            "text/plain",
            "application/openmetrics-text; q=0",
            "application/openmetrics-textual",
        ] {
            assert_eq!(Format::accepted(Some(accept)), Format::Plain, "{accept}");
        }
        assert_eq!(Format::accepted(None), Format::Plain);
    }
}
