//! What is in the text, and what is not.

use super::*;
use crate::metrics::activity::Connections;
use crate::metrics::cluster::{Cluster, Standby};
use crate::metrics::exporter::PartState;
use crate::metrics::host::Resources;
use crate::metrics::statements::Counters;
use crate::metrics::{Alert, AlertSeverity, Backup, Performance, TenantMetrics, Usage, durations};

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
        database: crate::metrics::Database {
            size_bytes: Some(3 << 40),
            size_source: "exact".into(),
            table_count: 4,
            total_rows: Some(12),
        },
        performance: Performance {
            connections: Connections {
                total: 6,
                elsewhere: 0,
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
    unknown.database = crate::metrics::Database {
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
    let mut packer = Packer::default();
    for line in text.split_inclusive('\n') {
        fmt::Write::write_str(&mut packer, line).expect("it is packed");
    }
    let packed = Arc::new(packer.finish().expect("it is packed"));
    assert_eq!(unpacked(&packed, Format::OpenMetrics), text);
    assert_eq!(unpacked(&packed, Format::Plain), plain);
}

fn unpacked(packed: &Arc<Exposition>, format: Format) -> String {
    let pieces = Arc::clone(packed)
        .pieces(format)
        .map(|piece| piece.expect("it is whole"));
    let text = pieces.fold(Vec::new(), |all, piece| [all, piece.to_vec()].concat());
    assert_eq!(text.len(), packed.length(format));
    String::from_utf8(text).expect("text")
}

#[test]
fn many_tenants_are_packed_in_pieces() {
    let many = fleet((0..500).map(|i| tenant(&format!("tenant-{i}"))).collect());
    let text = openmetrics(&many, None, None).expect("text");
    let packed = Samples::of(&many, &Durations::new(0)).pack(true).expect("packed");
    assert!(packed.0.len() > text.len() / PIECE, "{} pieces", packed.0.len());
    let bytes: usize = packed.0.iter().map(|part| part.packed.len()).sum();
    assert!(bytes * 8 < text.len(), "{bytes} of {}", text.len());
    let packed = Arc::new(packed);
    assert_eq!(unpacked(&packed, Format::OpenMetrics), text);
    assert_eq!(unpacked(&packed, Format::Plain), plain_text(&text));
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
