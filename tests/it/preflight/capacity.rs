//! Locks, caches and chunks.

use tenantctl::cluster::{Cluster, Options};

use super::{configure, has, of, own, passes, preflight};
use crate::support::{Db, fast, loud, sql, start};

fn restarted(cluster: &Cluster) {
    cluster.stop().unwrap();
    cluster.restart().unwrap();
}

#[test]
fn too_few_locks_are_told_and_the_advice_suffices() {
    let cluster = own(&["fsync = off", "max_connections = 60"]);
    let db = Db::on(&cluster);
    db.run(&["init"]).success();
    let made = db.provision(&["a", "b", "--tier", "enterprise"]);
    let json = preflight(&db, "locks", &[]);
    passes(&json, "locks");

    // What is said of a tenant is what its drop takes.
    let said = of(&json, "locks")
        .into_iter()
        .find(|item| item.contains("drop of a tenant"))
        .unwrap();
    let count = sql(
        &db.url,
        &format!(
            "BEGIN; DROP SCHEMA {} CASCADE; SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND mode = 'AccessExclusiveLock'; ROLLBACK",
            made[0].schema
        ),
    )
    .unwrap();
    assert!(
        said.contains(&format!("takes {} locks", count[0][0])),
        "{said}, the server says {count:?}"
    );

    db.sql("ALTER SYSTEM SET max_locks_per_transaction = 10");
    db.sql("ALTER SYSTEM SET max_connections = 20");
    restarted(&cluster);
    let json = preflight(&db, "locks", &[]);
    has(&json, "locks", "FAIL drop of a tenant", "holds 200 for sure");
    let items = json["checks"].as_array().unwrap();
    let failed = items.iter().find(|item| item["status"] == "FAIL").unwrap();
    let remedy = failed["remedy"].as_str().unwrap();
    let statement = remedy.split(';').next().unwrap();
    assert!(
        statement.starts_with("ALTER SYSTEM SET \"max_locks_per_transaction\" = "),
        "{remedy}"
    );
    db.sql(statement);
    restarted(&cluster);
    passes(&preflight(&db, "locks", &[]), "locks");

    // A dump of everything that fits only just, and one that does not.
    db.sql("DO $$ BEGIN FOR i IN 1..400 LOOP EXECUTE format('CREATE TABLE t%s ()', i); END LOOP; END $$");
    let tables: u32 = db
        .value("SELECT count(*) FROM pg_class WHERE relkind IN ('r', 'p') AND oid >= 16384")
        .parse()
        .unwrap();
    let dump_with = |locks: u32| {
        db.sql(&format!("ALTER SYSTEM SET max_locks_per_transaction = {locks}"));
        restarted(&cluster);
        preflight(&db, "locks", &[])
    };
    let said = format!("lock {tables} tables");
    has(&dump_with(tables / 20 + 2), "locks", "WARN pg_dump", &said);
    has(&dump_with(tables / 20 - 2), "locks", "FAIL pg_dump", &said);
}

#[test]
fn functions_of_one_name_are_counted_measured_and_told() {
    let db = Db::initialized();
    let made = db.provision(&["a", "b", "c"]);
    // Those of audit and limits bear names of their own.
    let items = |db: &Db| of(&preflight(db, "cache_memory", &["--memory", "256GB"]), "cache_memory");
    assert!(items(&db).iter().all(|item| !item.contains("of one name")));
    let schemas: Vec<&str> = made.iter().map(|tenant| tenant.schema.as_str()).collect();
    let add = |name: &str, schemas: &[&str]| {
        for schema in schemas {
            db.sql(&format!(
                "DO $do$ BEGIN EXECUTE format($$CREATE FUNCTION {schema}.{name}() RETURNS trigger LANGUAGE plpgsql AS %L$$,
                     'BEGIN RETURN NEW; END -- ' || (SELECT string_agg(gen_random_uuid()::text, '') FROM generate_series(1, 10000))); END $do$"
            ));
        }
    };
    add("lonely", &schemas[..1]);
    assert!(items(&db).iter().all(|item| !item.contains("of one name")));
    add("touch", &schemas[..2]);
    add("\"Touch it\"", &schemas);
    let json = preflight(&db, "cache_memory", &["--memory", "256GB"]);
    passes(&json, "cache_memory");
    has(
        &json,
        "cache_memory",
        "PASS functions of one name",
        "5 functions of tenants bear 2 names (Touch it most of all)",
    );
    // Each has 351 KiB of a body.
    let target = "performance_targets: {resource_usage: {connection_overhead_mb: 1.4}}\n";
    configure(&db, target);
    let json = preflight(&db, "cache_memory", &["--memory", "256GB"]);
    has(
        &json,
        "cache_memory",
        "WARN functions of one name",
        "connection_overhead_mb is 1.4",
    );
    assert!(
        items(&db)[0].contains("1.7 MiB for functions of one name"),
        "{:?}",
        items(&db)
    );
}

#[test]
fn catalog_caches_are_measured() {
    let db = Db::initialized();
    passes(&preflight(&db, "cache_memory", &[]), "cache_memory");
    db.provision(&["a", "b", "--tier", "enterprise"]);
    passes(&preflight(&db, "cache_memory", &["--memory", "256GB"]), "cache_memory");
    let json = preflight(&db, "cache_memory", &["--memory", "64MB"]);
    has(
        &json,
        "cache_memory",
        "WARN tenants' sessions",
        "more than a quarter of 64.0 MiB",
    );
    has(
        &json,
        "cache_memory",
        "PASS a session over all tenants",
        "86 tables and indexes",
    );
    // What a table takes is some KiB: not nothing, and not what a whole session takes.
    let detail = of(&json, "cache_memory")[0].clone();
    let each = detail
        .split('(')
        .nth(1)
        .unwrap()
        .split(" for each")
        .next()
        .unwrap()
        .to_owned();
    let bytes = match each.split_once(' ').unwrap() {
        (n, "B") => n.parse::<f64>().unwrap(),
        (n, "KiB") => n.parse::<f64>().unwrap() * 1024.0,
        other => panic!("{other:?} in {detail}"),
    };
    assert!((500.0..50_000.0).contains(&bytes), "{detail}");
}

#[test]
fn chunks_are_counted_ahead() {
    let there = sql(
        &crate::support::cluster().url("postgres", "postgres"),
        "SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'",
    )
    .unwrap();
    if there[0][0] == "0" {
        loud(
            "SKIPPED preflight::capacity::chunks_are_counted_ahead: the extension timescaledb is not installed on this machine",
        );
        return;
    }
    let cluster = start(&Options {
        settings: [
            fast(),
            [
                "shared_preload_libraries = 'timescaledb'",
                "timescaledb.telemetry_level = off",
            ]
            .map(str::to_owned)
            .into(),
        ]
        .concat(),
        ..Options::default()
    });
    let db = Db::on(&cluster);
    let checks = "timescaledb,chunks";
    let json = preflight(&db, checks, &[]);
    has(&json, "timescaledb", "WARN", "not in this database");
    db.run(&["init"]).success();
    db.provision(&["plain"]);
    db.sql("CREATE EXTENSION timescaledb");
    has(&preflight(&db, checks, &[]), "timescaledb", "WARN", "1 of 1 tenant");
    db.run(&["drop", "plain", "--yes"]).success();
    db.run(&["init"]).success();
    db.provision(&["a", "b"]);
    let json = preflight(&db, checks, &[]);
    passes(&json, "timescaledb");
    has(&json, "chunks", "WARN market_data", "8,766 in a year");
    has(&json, "chunks", "PASS trades", "366 in a year");
    has(&json, "chunks", "PASS all tenants", "18,264 in a year");
    // A minute's chunks of two tenants are too many for anybody.
    configure(
        &db,
        "template: {hypertables: [{table: trades, column: executed_at, chunk_interval: 1 minute}, {table: market_data, column: timestamp, chunk_interval: 1 day}]}\n",
    );
    let json = preflight(&db, checks, &[]);
    has(&json, "chunks", "FAIL all tenants", "in a year");
    has(&json, "chunks", "PASS market_data", "366 in a year");

    cluster
        .append("postgresql.conf", "shared_preload_libraries = ''\n")
        .unwrap();
    restarted(&cluster);
    has(
        &preflight(&db, "timescaledb", &[]),
        "timescaledb",
        "FAIL",
        "not preloaded",
    );
}
