//! Hypertables, where the extension is on the machine; skipped by name where it is not.

use tenantctl::cluster::Options;

use crate::support::{Db, fast, sql, start};

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
