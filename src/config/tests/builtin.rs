//! The built-in policy is what the seed says.

use std::path::Path;

use super::super::{Config, ServerSideEncryption, Threshold, builtin::MODULES};
use super::{builtin, good};
use crate::tenant::{Features, Limit};

/// Key, name, description, features (none: all), limits in the order of the file.
type Expected = (
    &'static str,
    &'static str,
    &'static str,
    Option<Vec<&'static str>>,
    [Limit; 6],
);

#[test]
fn tiers_are_the_seeds() {
    use Limit::{Max, Unlimited};
    let config = builtin();
    let base = ["portfolios", "positions", "trades"];
    let advanced = [
        "advanced_analytics",
        "algorithmic_trading",
        "backtesting",
        "risk_management",
    ];
    let expected: [Expected; 3] = [
        (
            "basic",
            "Basic Trading",
            "Standard trading features",
            Some([&["basic_analytics"], &base[..]].concat()),
            [Max(5), Max(100), Max(1000), Max(100), Max(10), Max(25)],
        ),
        (
            "professional",
            "Professional Trading",
            "Advanced trading features",
            Some([&advanced[..], &base[..]].concat()),
            [Max(50), Max(1000), Max(10000), Max(1000), Max(100), Max(100)],
        ),
        (
            "enterprise",
            "Enterprise Trading",
            "Full platform capabilities",
            None,
            [Unlimited, Unlimited, Unlimited, Max(10000), Max(1000), Max(500)],
        ),
    ];
    assert_eq!(config.tiers.len(), expected.len());
    for (tier, (key, name, description, features, limits)) in config.tiers.iter().zip(expected) {
        assert_eq!(
            (tier.key.as_str(), tier.name.as_str(), tier.description.as_str()),
            (key, name, description)
        );
        let wanted = features.map_or(Features::All, |f| {
            Features::Only(f.into_iter().map(str::to_owned).collect())
        });
        assert_eq!(tier.features, wanted, "{key}");
        let l = &tier.limits;
        let found = [
            l.max_portfolios,
            l.max_positions_per_portfolio,
            l.max_trades_per_day,
            l.max_api_calls_per_minute,
            l.max_schema_size_gb,
            l.max_connections,
        ];
        assert_eq!(found, limits, "{key}");
    }
}

#[test]
fn the_template_is_the_seeds_in_replay_order() {
    let config = builtin();
    let template = config.template().expect("built-in modules");
    assert_eq!((template.name.as_str(), template.version), ("trading", 0));
    let modules: Vec<(&str, Option<&str>)> = template
        .modules
        .iter()
        .map(|m| (m.name.as_str(), m.feature.as_deref()))
        .collect();
    let featured = |name| (name, Some(name));
    assert_eq!(
        modules,
        [
            featured("portfolios"),
            featured("positions"),
            featured("trades"),
            ("market_data", None),
            featured("basic_analytics"),
            featured("advanced_analytics"),
            featured("algorithmic_trading"),
            featured("risk_management"),
            featured("backtesting"),
        ]
    );
    assert_eq!(MODULES.len(), modules.len());
    assert!(template.modules.iter().all(|m| m.sql.contains("CREATE ")));
    let tables: Vec<[&str; 3]> = template
        .hypertables
        .iter()
        .map(|h| [h.table.as_str(), h.column.as_str(), h.chunk_interval.as_str()])
        .collect();
    assert_eq!(
        tables,
        [
            ["trades", "executed_at", "1 day"],
            ["market_data", "timestamp", "1 hour"]
        ]
    );
    assert_eq!(template.bulk_load, ["market_data".to_owned()].into());
    let count = |tier: &str| template.modules_for(&config.tier(tier).expect("tier").features).count();
    assert_eq!(["basic", "professional", "enterprise"].map(count), [5, 8, 9]);
}

#[test]
fn sections_are_the_seeds() {
    let Config {
        retention_days: r,
        alerts: a,
        backup: b,
        cluster: c,
        pgbouncer: p,
        metrics: m,
        ..
    } = builtin();
    assert_eq!(
        [r.scheduled, r.weekly, r.monthly, r.manual, r.pre_migration, r.other],
        [7, 30, 365, 90, 180, 30]
    );
    assert_eq!(
        [r.days("scheduled"), r.days("pre_migration"), r.days("else")],
        [7, 180, 30]
    );

    assert_eq!(a.url, None);
    assert_eq!(
        a.schema_size,
        Threshold {
            warning: None,
            critical: Some(0.9)
        }
    );
    assert_eq!(
        a.connections,
        Threshold {
            warning: Some(0.8),
            critical: None
        }
    );
    for rest in [a.portfolios, a.positions_per_portfolio, a.trades_per_day] {
        assert_eq!(
            rest,
            Threshold {
                warning: Some(0.8),
                critical: Some(0.9)
            }
        );
    }

    assert!(a.labels.is_empty());
    assert_eq!(a.backup_overdue_hours, [("any".to_owned(), 26)].into());
    assert_eq!(
        (a.failed_operations_hours, a.repeat_hours, a.expire_minutes),
        (24, 4, 60)
    );
    assert_eq!((a.timeout_s, m.business_timeout_ms), (10.0, 5000));

    assert_eq!((b.store, b.storage_class.as_deref()), (None, Some("STANDARD_IA")));
    assert_eq!(
        b.server_side_encryption.map(ServerSideEncryption::as_str),
        Some("AES256")
    );
    assert_eq!((b.age_recipients.len(), b.compression_level, b.jobs), (0, 1, 4));

    let settings: Vec<(&str, &str)> = c.settings.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(
        settings,
        [
            ("effective_cache_size", "96GB"),
            ("maintenance_work_mem", "2GB"),
            ("max_connections", "1000"),
            ("max_wal_size", "1536MB"),
            ("shared_buffers", "32GB"),
            ("wal_buffers", "16MB"),
            ("work_mem", "256MB"),
        ]
    );
    assert_eq!((c.replicas.len(), c.max_replica_lag_ms), (0, 100));

    let d = &p.database;
    assert_eq!(
        (d.name.as_str(), d.host.as_str(), d.port, d.dbname.as_str()),
        ("tradesage_production", "primary.db.internal", 5432, "tradesage")
    );
    assert_eq!(p.pool_mode.as_str(), "session");
    assert_eq!(
        [
            p.max_client_conn,
            p.default_pool_size,
            p.reserve_pool_size,
            p.reserve_pool_timeout
        ],
        [5000, 25, 5, 3]
    );
    assert_eq!(
        [p.server_lifetime, p.server_idle_timeout, p.max_db_connections],
        [3600, 600, 100]
    );
    assert!(p.pool_size_by_tier.is_empty() && p.settings.is_empty());

    let queries: Vec<(&str, &str)> = m
        .business_queries
        .iter()
        .map(|q| (q.name.as_str(), q.sql.as_str()))
        .collect();
    assert_eq!(
        queries,
        [
            ("portfolio_count", "SELECT count(*) FROM portfolios"),
            ("position_count", "SELECT count(*) FROM positions"),
            (
                "trades_24h",
                "SELECT count(*) FROM trades WHERE executed_at > now() - INTERVAL '24 hours'"
            ),
        ]
    );
    assert_eq!((m.redis_url, m.ttl_seconds), (None, 300));
}

#[test]
fn targets_and_provisioning_are_the_seeds() {
    let Config {
        performance_targets: t,
        provisioning: p,
        ..
    } = builtin();
    let s = &t.schema_creation;
    assert_eq!([s.average_s, s.p95_s, s.p99_s, s.max_s], [3.0, 7.0, 9.0, 10.0]);
    let c = &t.concurrent_operations;
    assert_eq!(
        (c.schemas_100_s, c.connection_pool_size, c.parallel_operations),
        (180.0, 100, 20)
    );
    let q = &t.query_performance;
    assert_eq!(
        [
            q.simple_select_ms,
            q.complex_join_ms,
            q.aggregation_ms,
            q.bulk_insert_1000_rows_ms
        ],
        [10.0, 100.0, 500.0, 1000.0]
    );
    let b = &t.backup_restore;
    assert_eq!(
        [b.backup_1gb_s, b.restore_1gb_s, b.backup_10gb_s, b.restore_10gb_s],
        [30.0, 45.0, 300.0, 480.0]
    );
    let r = &t.resource_usage;
    assert_eq!(
        [r.schema_overhead_mb, r.connection_overhead_mb, r.index_overhead_percent],
        [5.0, 10.0, 20.0]
    );
    assert_eq!((p.timeout.as_secs(), p.lock_timeout.as_secs()), (10, 5));
    assert_eq!((p.jobs, p.default_tier.as_str()), (20, "basic"));
}

/// A key in a comment of the built-in file is an offer to the user.
#[test]
fn what_is_commented_out_is_valid_too() {
    good("template:\n  directory: sql\n");
    good("cluster:\n  replicas:\n  - host=replica1.db.internal port=5432 dbname=tradesage\n");
    let suppression = "  - check: role_attributes\n    tenant: acme\n    object: role tenant_*_user\n    \
                       reason: migration of the old application, ticket 4711\n    expires: 2026-12-31\n";
    let config = good(&format!("validate:\n  suppress:\n{suppression}"));
    assert_eq!(config.validate.suppress.len(), 1);
}

#[test]
fn hypertables_are_the_tiers_over_the_templates() {
    let limits = "limits: {max_portfolios: 1, max_positions_per_portfolio: 1, max_trades_per_day: 1, max_api_calls_per_minute: 1, max_schema_size_gb: 1, max_connections: 1}";
    let text = format!(
        "template:
  hypertables:
    - {{table: trades, column: executed_at, chunk_interval: 1 day, retention: 1 years}}
    - {{table: market_data, column: timestamp, chunk_interval: 1 hour}}
templates:
  a:
    features: all
    {limits}
    hypertables: {{trades: {{chunk_interval: 7 day, retention: none}}, market_data: {{retention: 30 days}}}}
  b:
    features: all
    {limits}
"
    );
    let config = Config::parse(&text, "test", Path::new("")).expect("a valid configuration");
    let series = |tier: &str, table: &str| {
        let series = config.time_series(tier, table)?;
        let kept = series.retention.and_then(|r| r.interval().map(str::to_owned));
        Some((series.chunk_interval.unwrap_or_default(), kept))
    };
    let is = |interval: &str, kept: Option<&str>| Some((interval.to_owned(), kept.map(str::to_owned)));
    assert_eq!(series("a", "trades"), is("7 days", None));
    assert_eq!(series("a", "market_data"), is("1 hour", Some("30 days")));
    assert_eq!(series("b", "trades"), is("1 day", Some("1 year")));
    assert_eq!(series("b", "market_data"), is("1 hour", None));
    assert_eq!(series("gone", "trades"), is("1 day", Some("1 year")));
    assert_eq!(series("a", "portfolios"), None);
    // Money's rows are kept for ever unless somebody says otherwise.
    let builtin = Config::builtin().expect("the built-in policy");
    for tier in &builtin.tiers {
        for table in &builtin.template.hypertables {
            let series = builtin.time_series(&tier.key, &table.table).expect("a hypertable");
            assert_eq!(
                (series.retention, series.chunk_interval),
                (None, Some(table.chunk_interval.clone()))
            );
        }
    }
    for (wrong, says) in [
        (
            "{positions: {chunk_interval: 1 day}}",
            "table \"positions\" is no hypertable of the template",
        ),
        ("{trades: {retention: ever}}", "expected a whole number and a unit"),
        ("{trades: {keep: 1 day}}", "unknown key \"keep\""),
    ] {
        let text = format!("templates: {{a: {{features: all, {limits}, hypertables: {wrong}}}}}");
        let error = Config::parse(&text, "test", Path::new("")).expect_err(wrong);
        assert!(error.message().contains(says), "{wrong}: {}", error.message());
    }
}
