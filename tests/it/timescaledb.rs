//! Hypertables, where the extension is on the machine; skipped by name where it is not.

mod dropping;
mod intervals;
mod security;

use std::collections::{BTreeMap, BTreeSet};

use tenantctl::cluster::{Cluster, Options};

use crate::support::{Db, Run, anatomy, fast, sql, start};

#[test]
fn time_series_become_hypertables() {
    let available = crate::support::cluster();
    let there = sql(
        &available.url("postgres", "postgres"),
        "SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'",
    )
    .unwrap();
    if there[0][0] == "0" {
        crate::support::loud(
            "SKIPPED timescaledb::time_series_become_hypertables: the extension timescaledb is not installed on this machine",
        );
        return;
    }
    let own = start(&Options {
        settings: [
            fast(),
            vec![
                "shared_preload_libraries = 'timescaledb'".into(),
                "timescaledb.telemetry_level = off".into(),
            ],
        ]
        .concat(),
        ..Options::default()
    });
    // Installed in the database: hypertables with the configured chunks, in whatever schema the extension lives.
    let db = Db::on(&own);
    db.sql("CREATE SCHEMA ext; CREATE EXTENSION timescaledb SCHEMA ext");
    let json = db.run(&["-o", "json", "init"]).success().json();
    assert_eq!(json["timescaledb"], true);
    let made = db.provision(&["acme", "globex", "--tier", "enterprise"]);
    let chunks = db.sql(&format!(
        "SELECT h.hypertable_name, d.column_name, d.time_interval::text, h.num_dimensions FROM timescaledb_information.hypertables h
         JOIN timescaledb_information.dimensions d USING (hypertable_schema, hypertable_name) WHERE h.hypertable_schema = '{}' ORDER BY 1",
        made[0].schema
    ));
    assert_eq!(
        chunks,
        [
            ["market_data", "timestamp", "01:00:00", "1"],
            ["trades", "executed_at", "1 day", "1"]
        ]
        .map(|r| r.map(str::to_owned).to_vec())
    );
    let login = |tenant: &crate::support::Made| {
        own.url(&tenant.role, &db.name)
            .replace('@', &format!(":{}@", tenant.password.as_deref().unwrap()))
    };
    sql(
        &login(&made[0]),
        "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p');
         INSERT INTO trades (portfolio_id, symbol, side, quantity, price, executed_at)
         SELECT id, 'AAPL', 'BUY', 1, 1, now() - n * interval '1 day' FROM portfolios, generate_series(0, 9) n;",
    )
    .unwrap();
    assert_eq!(
        sql(&login(&made[0]), "SELECT count(*) FROM trades").unwrap()[0][0],
        "10"
    );
    // Another tenant reads neither the table nor its chunks.
    let chunk = db.value(&format!("SELECT chunk_schema || '.' || chunk_name FROM timescaledb_information.chunks WHERE hypertable_schema = '{}' LIMIT 1", made[0].schema));
    for target in [format!("{}.trades", made[0].schema), chunk] {
        let error = sql(&login(&made[1]), &format!("SELECT * FROM {target}")).expect_err(&target);
        assert!(error.starts_with("42501"), "{target}: {error}");
    }
    let json = db.run(&["-o", "json", "show", "acme"]).success().json();
    assert_eq!(json["hypertables"].as_array().unwrap().len(), 2);
    let trades = json["relations"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["name"] == "trades")
        .unwrap();
    assert_eq!(trades["kind"], "hypertable");
    assert!(trades["bytes"].as_i64().unwrap() > 8192 * 10);
    db.run(&["drop", "acme", "--yes"]).success();
    assert_eq!(db.counts(), (1, 1, 1));
    // In a schema where others may create, a look-alike of the extension's function would run as the admin.
    db.sql("GRANT CREATE, USAGE ON SCHEMA ext TO PUBLIC");
    db.run(&["provision", "trap"])
        .exits(4)
        .says(&["cannot be trusted", "REVOKE CREATE ON SCHEMA ext FROM PUBLIC"]);
    db.sql(
        "REVOKE CREATE ON SCHEMA ext FROM PUBLIC;
         CREATE FUNCTION ext.create_hypertable(regclass, name, interval, boolean) RETURNS int LANGUAGE sql AS 'SELECT 1'",
    );
    db.run(&["provision", "trap"])
        .exits(4)
        .says(&["is not the extension's", "DROP FUNCTION"]);
    assert_eq!(db.counts(), (1, 1, 1));
    // Not installed in the database: plain tables, and show says so.
    let plain = Db::on(&own);
    assert_eq!(
        plain.run(&["-o", "json", "init"]).success().json()["timescaledb"],
        false
    );
    plain.provision(&["acme"]);
    assert!(plain.run(&["show", "acme"]).success().stdout().contains("plain tables"));
}

/// A cluster with the extension at hand, and a database with it; none where it is not installed.
fn with_extension(test: &str) -> Option<(Cluster, Db)> {
    with_settings(test, fast())
}

/// The same with these settings.
fn with_settings(test: &str, settings: Vec<String>) -> Option<(Cluster, Db)> {
    let there = sql(
        &crate::support::cluster().url("postgres", "postgres"),
        "SELECT count(*) FROM pg_available_extensions WHERE name = 'timescaledb'",
    );
    if there.unwrap()[0][0] == "0" {
        crate::support::loud(&format!(
            "SKIPPED timescaledb::{test}: the extension timescaledb is not installed on this machine"
        ));
        return None;
    }
    let preload = [
        "shared_preload_libraries = 'timescaledb'",
        "timescaledb.telemetry_level = off",
        "timescaledb.max_background_workers = 0",
    ];
    let own = start(&Options {
        settings: [settings, preload.map(str::to_owned).into()].concat(),
        ..Options::default()
    });
    let db = Db::on(&own);
    db.sql("CREATE SCHEMA ext; CREATE EXTENSION timescaledb SCHEMA ext");
    db.run(&["init"]).success();
    Some((own, db))
}

fn stored(db: &Db, args: &[&str]) -> Run {
    let mut all = vec!["-o", "json"];
    all.extend(args);
    let store = format!("file://{}", db.dir.join("store").display());
    db.command(&all).env("TENANTCTL_STORE", &store).finish()
}

/// Rows of all tables, and what makes a table a hypertable.
fn looks(db: &Db, schema: &str) -> BTreeMap<String, String> {
    let mut found = anatomy(db, schema);
    // The server prints it differently once it has read its own words.
    for (_, text) in found.iter_mut().filter(|(key, _)| key.starts_with("constraint ")) {
        *text = ["::character varying", "::text[]", "::text"]
            .iter()
            .fold(text.clone(), |text, cast| text.replace(cast, ""))
            .replace(['(', ')'], "");
    }
    let tables = db.sql(&format!(
        "SELECT relname FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind = 'r' AND relname NOT IN ('audit_log')"
    ));
    for row in tables {
        let name = &row[0];
        found.insert(
            format!("rows {name}"),
            db.value(&format!(
                "SELECT count(*) || ' ' || COALESCE(md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")), '') FROM {schema}.\"{name}\" t"
            )),
        );
    }
    for row in db.sql(&format!(
        "SELECT h.table_name, d.column_name, COALESCE(d.num_slices::text, '') || ' ' || COALESCE(d.interval_length::text, ''),
            (SELECT count(*) FROM timescaledb_information.chunks c WHERE c.hypertable_schema = h.schema_name AND c.hypertable_name = h.table_name)
         FROM _timescaledb_catalog.hypertable h JOIN _timescaledb_catalog.dimension d ON d.hypertable_id = h.id WHERE h.schema_name = '{schema}'"
    )) {
        found.insert(format!("dimension {}.{}", row[0], row[1]), format!("{} in {} chunks", row[2], row[3]));
    }
    found
}

#[track_caller]
fn same(what: &str, now: &BTreeMap<String, String>, then: &BTreeMap<String, String>) {
    let keys: BTreeSet<_> = now.keys().chain(then.keys()).collect();
    let differ = keys.into_iter().filter(|key| now.get(*key) != then.get(*key));
    let differ: Vec<_> = differ
        .map(|key| format!("{key}: now {:?}, then {:?}", now.get(key), then.get(key)))
        .collect();
    assert!(differ.is_empty(), "{what}: {differ:#?}");
}

/// What `secure` would do, and what validate finds of the tenant.
fn verdict(db: &Db, id: &str) -> String {
    let secure = db.run(&["secure", id, "--dry-run"]).success();
    let json = db.run(&["-o", "json", "validate", id]).json();
    let of_tenant = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| f["tenant_id"] == id);
    let found: BTreeSet<String> = of_tenant
        .map(|f| format!("{} {} {}", f["check"], f["object"], f["detail"]))
        .collect();
    format!("{}{}{found:#?}", secure.stdout(), secure.stderr())
}

const ROWS: &str = "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p');
    INSERT INTO trades (portfolio_id, symbol, side, quantity, price, executed_at)
    SELECT id, 'AAPL', 'BUY', 1 + n, 1, '2026-03-01'::timestamptz + n * interval '5 hour' FROM portfolios, generate_series(0, 99) n;
    INSERT INTO market_data (symbol, timestamp, open, high, low, close, volume)
    SELECT 'S' || n % 3, '2026-03-01'::timestamptz + n * interval '10 minute', 1, 2, 1, 1.5, n FROM generate_series(0, 99) n";

#[test]
fn hypertables_come_back_as_hypertables() {
    let Some((own, db)) = with_extension("hypertables_come_back_as_hypertables") else {
        return;
    };
    let made = db.provision(&["acme", "--tier", "enterprise"]).remove(0);
    let (s, login) = (
        &made.schema,
        own.url(&made.role, &db.name)
            .replace('@', &format!(":{}@", made.password.as_deref().unwrap())),
    );
    sql(&login, ROWS).unwrap();
    for source in ["template", "pg_dump"] {
        if source == "pg_dump" {
            db.sql(&format!(
                "SET ROLE tenantctl_owner; SET search_path = {s}; ALTER TABLE trades ADD note text DEFAULT 'x';
                 CREATE TABLE spaced (at timestamptz NOT NULL, device int NOT NULL, v float8, note text, UNIQUE (at, device));
                 CREATE TABLE counted (n bigint NOT NULL, v int); CREATE TABLE by_day (at date NOT NULL, v int);
                 CREATE INDEX spaced_v ON spaced (v) WHERE v > 3;
                 RESET ROLE; SET search_path = {s};
                 SELECT ext.create_hypertable('spaced', 'at', 'device', 3, chunk_time_interval => interval '12 hours');
                 SELECT ext.create_hypertable('counted', 'n', chunk_time_interval => 1000);
                 SELECT ext.create_hypertable('by_day', 'at', chunk_time_interval => interval '3 days', create_default_indexes => false);
                 SET ROLE tenantctl_owner;
                 INSERT INTO spaced SELECT '2026-03-01'::timestamptz + n * interval '1 hour', n, n, 'n' FROM generate_series(1, 60) n;
                 INSERT INTO counted SELECT n * 100, n FROM generate_series(1, 50) n;
                 INSERT INTO by_day SELECT '2026-03-01'::date + n, n FROM generate_series(1, 20) n"
            ));
            db.run(&["secure", "acme"]).success();
        }
        let verdict_before = verdict(&db, "acme");
        let json = stored(&db, &["backup", "acme"]).success().json();
        assert_eq!(json["backups"][0]["ddl"], source, "{json}");
        let id = json["backups"][0]["backup_id"].as_str().unwrap().to_owned();
        let before = looks(&db, s);
        assert!(
            before["dimension trades.executed_at"].ends_with("in 21 chunks"),
            "{before:#?}"
        );
        stored(&db, &["backup", "verify", &id, "--restore-drill"]).success();
        let chunks = "SELECT count(*) FROM _timescaledb_catalog.chunk";
        let count = db.value(chunks);
        db.sql(&format!("DELETE FROM {s}.trades; DELETE FROM {s}.market_data"));
        let damaged = looks(&db, s);
        stored(&db, &["restore", "acme", "--backup", &id]).success();
        same("in place", &looks(&db, s), &before);
        assert_eq!(verdict(&db, "acme"), verdict_before);
        sql(&login, "INSERT INTO trades (portfolio_id, symbol, side, quantity, price, executed_at) SELECT id, 'NEW', 'BUY', 1, 1, '2026-03-05' FROM portfolios; DELETE FROM trades WHERE symbol = 'NEW'").unwrap();
        stored(&db, &["restore", "acme", "--undo"]).success();
        same("undone", &looks(&db, s), &damaged);
        stored(&db, &["restore", "acme", "--undo"]).success();
        let json = stored(&db, &["restore", "acme", "--backup", &id, "--as", "copy"])
            .success()
            .json();
        let other = json["restored_to"].as_str().unwrap();
        let others = looks(&db, other);
        let differ: Vec<_> = before
            .iter()
            .filter(|(key, text)| {
                others.get(*key) != Some(*text) && (key.starts_with("rows ") || key.starts_with("dimension "))
            })
            .filter(|(key, _)| *key != "rows tenant_usage")
            .collect();
        assert!(differ.is_empty(), "{differ:#?}");
        stored(&db, &["restore", "acme", "--backup", &id, "--tables", "trades"])
            .exits(4)
            .says(&["it is a hypertable"]);
        db.run(&["drop", "copy", "--yes"]).success();
        stored(&db, &["restore", "acme", "--drop-replaced"]).success();
        // Nothing of trials, copies and of what was replaced is left behind.
        let now: i64 = db.value(chunks).parse().unwrap();
        assert!(now <= count.parse::<i64>().unwrap() + 1, "{now} chunks, {count} before");
    }
    // With what a restore has kept.
    stored(&db, &["restore", "acme"]).success();
    db.run(&["drop", "acme", "--yes"]).success();
    assert_eq!(
        db.value("SELECT count(*) FROM _timescaledb_catalog.hypertable WHERE schema_name ~ '^tenant_[0-9a-f]{12}$|^tenantctl_re'"),
        "0"
    );
    assert_eq!(db.counts(), (0, 0, 0));
}

#[test]
fn what_a_backup_of_hypertables_lacks_is_said_or_refused() {
    let Some((_own, db)) = with_extension("what_a_backup_of_hypertables_lacks_is_said_or_refused") else {
        return;
    };
    let made = db.provision(&["acme", "--tier", "enterprise"]).remove(0);
    let s = &made.schema;
    sql(
        &db.url,
        &format!("SET ROLE tenantctl_owner; SET search_path = {s}; {ROWS}"),
    )
    .unwrap();
    db.sql(&format!(
        "SET search_path = {s}; ALTER TABLE market_data DISABLE ROW LEVEL SECURITY;
         ALTER TABLE market_data SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol');
         ALTER ROLE tenantctl_owner LOGIN; SELECT ext.add_retention_policy('trades', interval '10 years'); ALTER ROLE tenantctl_owner NOLOGIN"
    ));
    db.sql(&format!(
        "SELECT ext.compress_chunk(c) FROM ext.show_chunks('{s}.market_data') c LIMIT 3"
    ));
    db.sql("GRANT USAGE ON SCHEMA ext TO tenantctl_owner");
    let before = looks(&db, s);
    let run = stored(&db, &["backup", "acme"]).success().says(&[
        "does not hold what has to be set again",
        "compression of market_data",
        "policy_retention of trades",
    ]);
    let lacks = &run.json()["backups"][0]["left_out"];
    assert_eq!(lacks.as_array().unwrap().len(), 2, "{lacks}");
    stored(&db, &["restore", "acme", "--as", "copy"])
        .success()
        .says(&["has to be set again", "policy_retention of trades"]);
    let copy = db.value("SELECT schema_name FROM tenantctl.tenants WHERE tenant_id = 'copy'");
    let after = looks(&db, &copy);
    for table in ["rows market_data", "rows trades"] {
        assert_eq!(after[table], before[table]);
    }
    for (make, undo, says) in [
        (
            "CREATE MATERIALIZED VIEW daily WITH (timescaledb.continuous) AS SELECT ext.time_bucket('1 day', timestamp) AS day, sum(volume) FROM market_data GROUP BY 1 WITH NO DATA",
            "DROP MATERIALIZED VIEW daily",
            "daily is a continuous aggregate",
        ),
        (
            "CREATE TABLE twice (at timestamptz NOT NULL, v int NOT NULL); SELECT ext.create_hypertable('twice', ext.by_range('at')); SELECT ext.add_dimension('twice', ext.by_range('v', 10))",
            "DROP TABLE twice",
            "twice is partitioned by v in a way of its own",
        ),
    ] {
        for statement in make.split("; ") {
            sql(
                &format!(
                    "{}{}options=-csearch_path%3D{s}%20-crole%3Dtenantctl_owner",
                    db.url,
                    if db.url.contains('?') { "&" } else { "?" }
                ),
                statement,
            )
            .unwrap();
        }
        stored(&db, &["backup", "acme"]).exits(4).says(&[says]);
        db.sql(&format!("SET search_path = {s}; {undo}"));
    }
    stored(&db, &["backup", "acme"]).success();
}
