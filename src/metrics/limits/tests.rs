use super::*;
use crate::metrics::cluster::{Failure, Standby};
use crate::metrics::{Backup, Database, Performance, host};

const GIB: f64 = (1_u64 << 30) as f64;

fn criteria() -> Criteria {
    Criteria::new(&Config::builtin().expect("the built-in configuration"), true)
}

/// A tenant with a young backup and nothing used of any limit.
fn tenant(id: &str) -> TenantMetrics {
    TenantMetrics {
        tenant_id: id.parse().expect("a tenant id"),
        schema_name: "tenant_0123456789ab".into(),
        tier: "basic".into(),
        timestamp: "2026-01-01T00:00:00Z".into(),
        writes_frozen_at: None,
        database: Database::default(),
        performance: Performance::default(),
        resources: host::Resources::default(),
        business: BTreeMap::new(),
        backup: Backup {
            age_seconds_by_type: [("any".to_owned(), 3600.0)].into(),
            tenant_age_seconds: 1e6,
            ..Backup::default()
        },
        limits: BTreeMap::new(),
        alerts: Vec::new(),
    }
}

fn with(limit: &str, used: Option<f64>, max: Option<f64>) -> TenantMetrics {
    let mut tenant = tenant("acme");
    tenant.limits.insert(limit.into(), Usage::of(used, max));
    tenant
}

fn fleet(tenants: Vec<TenantMetrics>) -> Fleet {
    Fleet {
        timestamp: "2026-01-01T00:00:00Z".into(),
        unix_time: 1_767_225_600.0,
        duration_ms: 1.0,
        tenants,
        cluster: Cluster::default(),
        unknown: Vec::new(),
        alerts: Vec::new(),
    }
}

/// Type, severity and message of what fires, and the unknown keys.
fn judged(fleet: &mut Fleet, criteria: &Criteria) -> (Vec<(String, &'static str, String)>, Vec<String>) {
    let judged = judge(fleet, criteria);
    let alerts = fleet.alerts.iter();
    (
        alerts
            .map(|a| (a.key(), a.severity.as_str(), a.message.clone()))
            .collect(),
        judged.unknown.into_iter().collect(),
    )
}

fn of(tenant: TenantMetrics) -> (Vec<(String, &'static str, String)>, Vec<String>) {
    judged(&mut fleet(vec![tenant]), &criteria())
}

#[test]
fn usage_fires_above_its_thresholds_and_not_at_them() {
    let cases = [
        ("schema_size", "schema_size_limit", None, Some(0.9), GIB),
        ("connections", "connection_limit", Some(0.8), None, 1.0),
        ("portfolios", "portfolio_limit", Some(0.8), Some(0.9), 1.0),
        ("positions_per_portfolio", "position_limit", Some(0.8), Some(0.9), 1.0),
        ("trades_per_day", "trade_limit", Some(0.8), Some(0.9), 1.0),
    ];
    for (limit, alert_type, warning, critical, unit) in cases {
        let max = 1000.0 * unit;
        let severity = |used: f64| {
            let (alerts, unknown) = of(with(limit, Some(used * unit), Some(max)));
            assert_eq!(unknown, [""; 0], "{limit}");
            assert!(alerts.len() <= 1, "{alerts:?}");
            alerts.first().map(|(key, severity, _)| {
                assert_eq!(key, &format!("{alert_type}/acme/"));
                *severity
            })
        };
        assert_eq!(severity(0.0), None, "{limit}");
        for (threshold, is) in [(warning, "warning"), (critical, "critical")] {
            let Some(threshold) = threshold else { continue };
            let before = (is == "critical" && warning.is_some()).then_some("warning");
            assert_eq!(severity(threshold * 1000.0 - 1.0), before, "{limit} below {is}");
            assert_eq!(severity(threshold * 1000.0), before, "{limit} at {is}");
            assert_eq!(severity(threshold * 1000.0 + 1.0), Some(is), "{limit} above {is}");
        }
        let full = if critical.is_some() { "critical" } else { "warning" };
        assert_eq!(severity(1000.0), Some(full), "{limit} full");
        assert_eq!(severity(5000.0), Some(full), "{limit} overdrawn");
    }
}

#[test]
fn alerts_carry_figures() {
    let mut fleet = fleet(vec![with("schema_size", Some(9.35 * GIB), Some(10.0 * GIB))]);
    let judged = judge(&mut fleet, &criteria());
    assert!(judged.unknown.is_empty());
    let alert = &fleet.alerts[0];
    assert_eq!(alert.message, "schema size 9.35 GiB is 93.5 % of its limit of 10 GiB");
    assert_eq!((alert.value, alert.limit), (Some(9.35 * GIB), Some(10.0 * GIB)));
    assert_eq!(fleet.tenants[0].alerts, fleet.alerts);
    let (alerts, _) = of(with("connections", Some(45.0), Some(50.0)));
    assert_eq!(alerts[0].2, "45 of 50 connections are open (90 %)");
    let (alerts, _) = of(with("portfolios", Some(99_999.0), Some(100_000.0)));
    assert_eq!(alerts[0].2, "99999 of 100000 portfolios are there (99.9 %)");
}

#[test]
fn figures_that_are_unknown_neither_fire_nor_end_anything() {
    for (limit, key) in [
        ("schema_size", "schema_size_limit/acme/"),
        ("connections", "connection_limit/acme/"),
        ("portfolios", "portfolio_limit/acme/"),
        ("positions_per_portfolio", "position_limit/acme/"),
        ("trades_per_day", "trade_limit/acme/"),
    ] {
        let (alerts, unknown) = of(with(limit, None, Some(100.0)));
        assert_eq!((alerts, unknown), (vec![], vec![key.to_owned()]));
        // Where there is no limit, nothing is unknown: an alert of former days is over.
        assert_eq!(of(with(limit, None, None)), (vec![], vec![]));
        assert_eq!(of(with(limit, Some(1e15), None)), (vec![], vec![]));
    }
    // Nobody counts them here, and nobody has a threshold for them.
    assert_eq!(of(with("api_calls_per_minute", None, Some(10.0))), (vec![], vec![]));
}

#[test]
fn a_limit_of_nothing_is_passed_by_anything() {
    assert_eq!(of(with("portfolios", Some(0.0), Some(0.0))).0, []);
    assert_eq!(
        of(with("portfolios", Some(1.0), Some(0.0))).0,
        [(
            "portfolio_limit/acme/".to_owned(),
            "critical",
            "1 of 0 portfolios are there (over 100 %)".to_owned()
        )]
    );
}

#[test]
fn thresholds_that_are_off_judge_nothing() {
    let mut off = criteria();
    off.policy.connections = Threshold::default();
    off.policy.backup_overdue_hours.clear();
    let mut full = with("connections", Some(50.0), Some(50.0));
    full.backup = Backup::default();
    full.backup.tenant_age_seconds = 1e9;
    assert_eq!(judged(&mut fleet(vec![full]), &off), (vec![], vec![]));
    let unknown = with("connections", None, Some(50.0));
    assert_eq!(judged(&mut fleet(vec![unknown]), &off), (vec![], vec![]));
}

#[test]
fn frozen_writes_are_critical_for_as_long_as_they_are() {
    // Below the threshold of its size again, and still frozen.
    let mut frozen = with("schema_size", Some(0.5 * GIB), Some(GIB));
    frozen.writes_frozen_at = Some("2026-01-01T00:00:00Z".into());
    let (alerts, _) = of(frozen);
    assert_eq!(alerts.len(), 1);
    assert_eq!((alerts[0].0.as_str(), alerts[0].1), ("writes_frozen/acme/", "critical"));
    assert!(alerts[0].2.contains("since 2026-01-01T00:00:00Z"), "{}", alerts[0].2);
}

#[test]
fn backups_are_held_to_their_schedules() {
    let aged = |by_type: &[(&str, f64)], tenant_hours: f64| {
        let mut tenant = tenant("acme");
        tenant.backup.age_seconds_by_type = by_type
            .iter()
            .map(|(name, hours)| ((*name).to_owned(), hours * 3600.0))
            .collect();
        tenant.backup.tenant_age_seconds = tenant_hours * 3600.0;
        tenant
    };
    // 26 hours of whatever type.
    assert_eq!(of(aged(&[("any", 25.9)], 1000.0)).0, []);
    assert_eq!(of(aged(&[("any", 26.0)], 1000.0)).0, []);
    let (alerts, _) = of(aged(&[("any", 26.2), ("monthly", 26.2)], 1000.0));
    assert_eq!(
        alerts,
        [(
            "backup_overdue/acme/any".to_owned(),
            "critical",
            "the newest good backup is 26.2 hours old; one is due every 26".to_owned()
        )]
    );
    // None at all: since it was made.
    assert_eq!(of(aged(&[], 25.0)).0, [], "younger than the schedule");
    let (alerts, _) = of(aged(&[], 27.0));
    assert_eq!(
        alerts[0].2,
        "there is no good backup of this tenant, made 27 hours ago; one is due every 26"
    );
    // Two schedules, each with an alert of its own.
    let mut two = criteria();
    two.policy.backup_overdue_hours = [("scheduled".to_owned(), 26), ("monthly".to_owned(), 760)].into();
    let keys = |tenant| {
        let mut fleet = fleet(vec![tenant]);
        let (alerts, _) = judged(&mut fleet, &two);
        alerts.into_iter().map(|(key, ..)| key).collect::<Vec<_>>()
    };
    assert_eq!(keys(aged(&[("any", 1.0), ("scheduled", 1.0)], 700.0)), [""; 0]);
    assert_eq!(
        keys(aged(&[("any", 1.0), ("manual", 1.0)], 800.0)),
        ["backup_overdue/acme/monthly", "backup_overdue/acme/scheduled"]
    );
    let (alerts, _) = judged(&mut fleet(vec![aged(&[("scheduled", 30.0)], 800.0)]), &two);
    assert!(
        alerts.iter().any(|(_, _, message)| message
            == "the newest good backup of type scheduled is 30 hours old; one is due every 26"),
        "{alerts:?}"
    );
}

fn standby(name: &str, lag_ms: Option<f64>) -> Standby {
    Standby {
        name: name.into(),
        lag_ms,
        ..Standby::default()
    }
}

#[test]
fn standbys_that_lag_or_are_missing() {
    let mut criteria = criteria();
    criteria.expected_standbys = 2;
    let of = |standbys: Vec<Standby>, in_recovery: bool| {
        let mut fleet = fleet(Vec::new());
        fleet.cluster.standbys = standbys;
        fleet.cluster.in_recovery = in_recovery;
        judged(&mut fleet, &criteria)
    };
    let good = || standby("r1", Some(100.0));
    assert_eq!(of(vec![good(), standby("r2", Some(0.0))], false), (vec![], vec![]));
    let (alerts, unknown) = of(vec![good(), standby("r2", Some(100.5))], false);
    assert_eq!(unknown, [""; 0]);
    assert_eq!(
        alerts,
        [(
            "replica_lag//r2".to_owned(),
            "warning",
            "standby r2 is 100 ms behind; 100 ms are allowed".to_owned()
        )]
    );
    let (alerts, unknown) = of(vec![good(), standby("r2", None)], false);
    assert_eq!((alerts, unknown), (vec![], vec!["replica_lag//r2".to_owned()]));
    // Of one name, the worst counts, and one that is unknown hides none that lags.
    let (alerts, unknown) = of(
        vec![standby("r", None), standby("r", Some(500.0)), standby("r", Some(1.0))],
        false,
    );
    assert_eq!((alerts.len(), unknown), (1, vec![]));
    assert_eq!(alerts[0].0, "replica_lag//r");
    let (alerts, _) = of(vec![good()], false);
    assert_eq!(
        alerts,
        [(
            "replica_missing//".to_owned(),
            "critical",
            "1 of 2 standbys stream from this server".to_owned()
        )]
    );
    // A standby does not know who streams from the primary.
    assert_eq!(of(vec![], true), (vec![], vec!["replica_missing//".to_owned()]));
}

#[test]
fn nobody_said_how_many_standbys_there_are() {
    let mut none = fleet(Vec::new());
    assert_eq!(judged(&mut none, &criteria()), (vec![], vec![]));
}

fn failure(operation: &str, tenant: Option<&str>, age_seconds: f64, message: &str) -> Failure {
    Failure {
        operation: operation.into(),
        tenant_id: tenant.map(str::to_owned),
        error_id: Some("4c1e".into()),
        message: message.into(),
        age_seconds,
    }
}

#[test]
fn failures_go_to_their_tenant_or_to_the_database() {
    let mut both = fleet(vec![tenant("acme")]);
    both.cluster.failures = vec![
        failure("backup", Some("acme"), 50.0, "older"),
        failure("backup", Some("acme"), 10.0, "the store refused"),
        failure("provision", Some("acme"), 10.0, "tenant acme already exists"),
        failure("provision", Some("newcomer"), 10.0, "ran out of time"),
        failure("backup", None, 10.0, "no store"),
        failure("rotate", Some("acme"), 10.0, "not ours to judge"),
    ];
    let (alerts, _) = judged(&mut both, &criteria());
    assert_eq!(
        alerts,
        [
            (
                "backup_failed//",
                "critical",
                "the last backup failed: no store (error_id 4c1e)"
            ),
            (
                "backup_failed/acme/",
                "critical",
                "the last backup failed: the store refused (error_id 4c1e)"
            ),
            (
                "provision_failed/newcomer/",
                "critical",
                "provisioning failed: ran out of time (error_id 4c1e)"
            ),
        ]
        .map(|(key, severity, message)| (key.to_owned(), severity, message.to_owned()))
    );
    assert_eq!(both.tenants[0].alerts.len(), 1);
    // Over some tenants only: what else is in the database is not looked at.
    let mut some = criteria();
    some.database = false;
    some.expected_standbys = 2;
    let (alerts, unknown) = judged(&mut both, &some);
    assert_eq!(alerts.len(), 1);
    assert_eq!(alerts[0].0, "backup_failed/acme/");
    assert_eq!(unknown, [""; 0]);
}

#[test]
fn long_messages_are_cut_between_characters() {
    let mut long = fleet(Vec::new());
    long.cluster.failures = vec![failure("backup", None, 1.0, &"é".repeat(5000))];
    let (alerts, _) = judged(&mut long, &criteria());
    assert!(alerts[0].2.chars().count() < 600);
    assert!(alerts[0].2.contains("é..."));
}

#[test]
fn critical_alerts_come_first_and_a_second_judging_changes_nothing() {
    let mut two = fleet(vec![
        with("connections", Some(50.0), Some(50.0)),
        with("schema_size", Some(GIB), Some(GIB)),
    ]);
    two.tenants[1].tenant_id = "zeta".parse().expect("a tenant id");
    let first = judged(&mut two, &criteria());
    let keys: Vec<&str> = first.0.iter().map(|(key, ..)| key.as_str()).collect();
    assert_eq!(keys, ["schema_size_limit/zeta/", "connection_limit/acme/"]);
    assert_eq!(judged(&mut two, &criteria()), first);
}
