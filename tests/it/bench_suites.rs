//! `bench queries`, `resources` and `scale` at sizes that say nothing of a real machine: that they measure what they say, have all
//! figures and leave nothing. No time is asserted.

use serde_json::Value;

use crate::support::{Db, Run, fast, runtime, start};
use tenantctl::bench::backend::Source;
use tenantctl::cluster::{Cluster, Options};
use tenantctl::pg::conninfo::ConnInfo;
use tenantctl::pg::session::{Connector, SessionLimits};

fn cluster() -> Cluster {
    start(&Options {
        settings: fast(),
        ..Options::default()
    })
}

/// Runs suites; 1 when a target is missed, as on a busy machine it may be.
fn bench(db: &Db, args: &[&str]) -> (Run, Value) {
    let run = db.run(&[&["-o", "json", "bench"], args].concat());
    assert!(matches!(run.0.status.code(), Some(0 | 1)), "{}", run.stderr());
    let json = run.json();
    for result in json["results"].as_array().unwrap() {
        assert!(result["value"].as_f64().is_some_and(f64::is_finite), "{result}");
        assert_eq!(result["pass"].is_null(), result["target"].is_null());
    }
    assert_eq!(
        db.value("SELECT (SELECT count(*) FROM pg_database WHERE datname LIKE 'tenantctl%') + (SELECT count(*) FROM pg_roles WHERE rolname ~ '^tenant')"),
        "0"
    );
    (run, json)
}

fn result<'a>(json: &'a Value, metric: &str) -> &'a Value {
    let results = json["results"].as_array().unwrap();
    results
        .iter()
        .find(|r| r["metric"] == metric)
        .unwrap_or_else(|| panic!("{metric} not in {results:#?}"))
}

fn value(json: &Value, metric: &str) -> f64 {
    result(json, metric)["value"].as_f64().unwrap()
}

#[test]
fn bench_queries_runs_as_the_tenant_beside_the_same_rows_not_isolated() {
    let own = cluster();
    let db = Db::on(&own);
    let (run, json) = bench(&db, &["queries", "--trades", "3000", "--rounds", "2", "--jobs", "3"]);
    assert!(!run.stderr().contains("pg_hba.conf"), "{}", run.stderr());
    for (query, target) in [
        ("simple select, a trade by its id", 10.0),
        ("simple select, last 50 trades of a portfolio", 10.0),
        ("complex join, value of a portfolio", 100.0),
        ("complex join, value of all portfolios", 100.0),
        ("aggregation, a year by symbol", 500.0),
        ("insert of 1000 rows", 1000.0),
    ] {
        for metric in [
            "p50",
            "max",
            "not isolated, p50",
            "owner, p50",
            "p50 against not isolated",
        ] {
            assert!(value(&json, &format!("{query}: {metric}")) > 0.0);
        }
        assert_eq!(result(&json, &format!("{query}: p95"))["target"], target);
    }
    assert!(value(&json, "mix, 3 clients: statements") > 0.0);
    let histograms = json["histograms"].as_array().unwrap();
    assert!(
        histograms
            .iter()
            .any(|h| h["name"] == "insert of 1000 rows: tenant" && h["count"] == 4),
        "{histograms:#?}"
    );
    let curve = &json["curves"][0];
    assert_eq!(
        (
            curve["x"].as_str(),
            curve["lines"][0]["points"].as_array().unwrap().len()
        ),
        (Some("clients"), 3)
    );
}

#[test]
fn bench_queries_takes_the_tenants_role_where_the_tenant_is_not_let_in() {
    let own = start(&Options {
        settings: fast(),
        hba: Some("local all postgres trust\nlocal all all reject\n".into()),
        ..Options::default()
    });
    let db = Db::on(&own);
    let (run, json) = bench(&db, &["queries", "--trades", "1000", "--rounds", "1", "--jobs", "1"]);
    assert!(
        run.stderr().contains("pg_hba.conf does not let the tenant in"),
        "{}",
        run.stderr()
    );
    assert!(value(&json, "simple select, a trade by its id: p50") > 0.0);
}

#[test]
fn bench_resources_measures_disk_memory_and_indexes() {
    let own = cluster();
    let db = Db::on(&own);
    let (_, json) = bench(&db, &["resources", "--trades", "20000", "--rounds", "1"]);
    for tier in ["basic", "professional", "enterprise"] {
        let of = |metric: &str| value(&json, &format!("empty tenant, {tier}: {metric}"));
        let all = of("on disk");
        assert!((0.1..20.0).contains(&all), "{tier}: {all}");
        let parts = of("of it tables and indexes") + of("of it catalogs and registry");
        assert!(
            (all - parts).abs() < 1e-6 && of("of it catalogs and registry") > 0.0,
            "{json}"
        );
        assert!(of("relations") > 10.0);
    }
    assert!(value(&json, "empty tenant, enterprise: relations") > value(&json, "empty tenant, basic: relations"));
    let (idle, used) = (
        value(&json, "connection, idle: memory"),
        value(&json, "connection, after a tenant's queries: memory"),
    );
    assert!((0.2..200.0).contains(&idle) && used > idle, "{idle} {used}");
    assert!(value(&json, "connection that reads many tenants: memory for each") > 0.0);
    let all = value(&json, "indexes against data");
    assert!((20.0..300.0).contains(&all), "{all}");
    assert!(value(&json, "indexes against data, those of keys alone") < all);
    assert_eq!(result(&json, "indexes against data")["target"], 20.0);
    let trades = value(&json, "indexes of trades against its data");
    let parts: f64 = [
        "trades_pkey",
        "idx_trades_portfolio_id_executed",
        "idx_trades_symbol_executed",
    ]
    .map(|index| value(&json, &format!("index {index} of trades against its data")))
    .iter()
    .sum();
    assert!((trades - parts).abs() < 0.1, "{trades} {parts}");
    // Droppable ones only.
    for index in ["idx_trades_portfolio_id_executed", "idx_trades_symbol_executed"] {
        value(
            &json,
            &format!("index {index} of trades: of the time of an insert of 1000 rows"),
        );
    }
}

#[test]
fn bench_scale_measures_growth_and_says_what_is_extrapolated() {
    let own = cluster();
    let db = Db::on(&own);
    let (_, json) = bench(&db, &["scale", "--to", "24", "--rounds", "1"]);
    for tenants in [10, 12, 24] {
        for metric in [
            "provision, p50",
            "provision, p95",
            "validate --all",
            "metrics --all",
            "list",
            "show of one tenant",
            "backup of one tenant",
            "validate --all, peak memory",
            "catalogs",
            "database",
            "session, idle: memory",
            "first write of a session, p50",
            "session after its first write: memory",
            "statistics of all tables, read once",
        ] {
            assert!(
                value(&json, &format!("{metric} at {tenants} tenants")) > 0.0,
                "{metric}"
            );
        }
    }
    // A write loads more than a session begins with; that is held to the target of a connection.
    let idle = value(&json, "session, idle: memory at 24 tenants");
    let wrote = result(&json, "session after its first write: memory at 24 tenants");
    assert!(
        wrote["value"].as_f64().unwrap() > idle && wrote["target"] == 10.0,
        "{wrote} {idle}"
    );
    let tables = |n: u32| value(&json, &format!("tables at {n} tenants"));
    let each = (tables(24) - tables(12)) / 12.0;
    assert!(
        each >= 6.0 && (tables(12) - tables(10) - 2.0 * each).abs() < 1e-9,
        "{each}"
    );
    // A straight line through what grows by the same for each.
    let far = value(&json, "tables at 100000 tenants (extrapolated from 24)");
    assert!((far - tables(24) - each * (100_000.0 - 24.0)).abs() < 1.0, "{far}");
    let locks: f64 = 256.0 * 300.0;
    let results = json["results"].as_array().unwrap();
    let broken: Vec<_> = results.iter().filter(|r| r["unit"] == "tenants").collect();
    assert!(
        broken[0]["metric"]
            .as_str()
            .unwrap()
            .starts_with("breaks at (extrapolated): "),
        "{broken:#?}"
    );
    let at: Vec<f64> = broken.iter().map(|r| r["value"].as_f64().unwrap()).collect();
    assert!(at.is_sorted(), "{at:?}");
    let dump = broken
        .iter()
        .find(|r| r["metric"].as_str().unwrap().contains("pg_dump"))
        .unwrap();
    let wanted = 24.0 + (locks - tables(24)) / each;
    assert!(
        (dump["value"].as_f64().unwrap() - wanted).abs() <= 1.0,
        "{dump} {wanted}"
    );
    let curves = json["curves"].as_array().unwrap();
    let commands = curves.iter().find(|c| c["name"] == "commands").unwrap();
    let points = commands["lines"][0]["points"].as_array().unwrap();
    let said: Vec<_> = points.iter().map(|p| p["extrapolated"].as_bool().unwrap()).collect();
    assert_eq!(said, [false, false, false, true]);
}

#[test]
fn a_backend_that_cannot_be_looked_at_is_asked_for_its_memory() {
    let db = Db::new();
    runtime().block_on(async {
        let info = ConnInfo::resolve(Some(&db.url), &|_| None).unwrap();
        let connector = Connector::new(info, "test", SessionLimits::default());
        let session = connector.connect().await.unwrap();
        let asked = Source::Backend.memory(&session).await.unwrap();
        assert!((300_000..50_000_000).contains(&asked.own), "{asked:?}");
        assert_eq!(asked.page_tables, None);
        if std::path::Path::new("/proc/self/smaps_rollup").exists() {
            assert_eq!(Source::of(&session), Source::System);
            let seen = Source::System.memory(&session).await.unwrap();
            assert!(
                seen.page_tables.is_some_and(|bytes| bytes > 0 && bytes < seen.own),
                "{seen:?}"
            );
        }
    });
}
