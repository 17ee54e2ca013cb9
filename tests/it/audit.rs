//! The audit log: everything is in it, for its tenant to read and for nobody to change.

use crate::support::{Db, sql};

fn with_audit(policy: &str) -> Db {
    let db = Db::new();
    std::fs::write(db.dir.join("tenant_templates.yaml"), policy).unwrap();
    db.run(&["init"]).success();
    db
}

#[test]
fn every_change_is_in_the_log() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    let url = format!("{}&application_name=desk", made.url(&db));
    sql(&url, "INSERT INTO portfolios (id, user_id, name) SELECT gen_random_uuid(), gen_random_uuid(), 'p' || i FROM generate_series(1, 3) i").unwrap();
    sql(&url, "UPDATE portfolios SET name = name || '!', id = gen_random_uuid()").unwrap();
    sql(&url, "DELETE FROM portfolios WHERE name = 'p2!'").unwrap();
    // Changes of nothing leave nothing.
    sql(&url, "UPDATE portfolios SET name = '' WHERE false").unwrap();
    let log = sql(
        &url,
        "SELECT operation, table_name, old_row->>'name', new_row->>'name', role_name = session_user, application_name,
            count(*) OVER (PARTITION BY transaction) FROM audit_log ORDER BY id",
    )
    .unwrap();
    let role = ["t", "desk"];
    let row = |op: &str, old: &str, new: &str, n: &str| {
        [op, "portfolios", old, new, role[0], role[1], n]
            .map(str::to_owned)
            .to_vec()
    };
    assert_eq!(
        log,
        [
            row("INSERT", "NULL", "p1", "3"),
            row("INSERT", "NULL", "p2", "3"),
            row("INSERT", "NULL", "p3", "3"),
            // Old and new belong together although the key was changed too.
            row("UPDATE", "p1", "p1!", "3"),
            row("UPDATE", "p2", "p2!", "3"),
            row("UPDATE", "p3", "p3!", "3"),
            row("DELETE", "p2!", "NULL", "1"),
        ]
    );
    // TRUNCATE is the owner's alone, and does not pass it by; nor does a cascade.
    db.sql(&format!("TRUNCATE {}.portfolios CASCADE", made.schema));
    let truncated = sql(
        &url,
        "SELECT table_name FROM audit_log WHERE operation = 'TRUNCATE' ORDER BY 1",
    )
    .unwrap();
    assert_eq!(truncated.concat(), ["portfolios", "positions", "trades"]);
    // A rolled back change leaves nothing.
    let before = sql(&url, "SELECT count(*) FROM audit_log").unwrap();
    sql(
        &url,
        "BEGIN; INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'x'); ROLLBACK",
    )
    .unwrap();
    assert_eq!(sql(&url, "SELECT count(*) FROM audit_log").unwrap(), before);
}

#[test]
fn a_tenant_can_neither_change_nor_stop_it() {
    let db = Db::initialized();
    let made = db.provision(&["acme", "globex"]);
    let url = made[0].url(&db);
    for attempt in [
        "INSERT INTO audit_log (operation, table_name) VALUES ('INSERT', 'x')",
        "UPDATE audit_log SET new_row = NULL",
        "DELETE FROM audit_log",
        "TRUNCATE audit_log",
        "BEGIN; LOCK TABLE audit_log IN ROW EXCLUSIVE MODE",
        "ALTER TABLE audit_log ADD COLUMN x int",
        "DROP TRIGGER tenantctl_audit_insert ON portfolios",
        "ALTER TABLE portfolios DISABLE TRIGGER tenantctl_audit_insert",
        "ALTER TABLE portfolios DISABLE TRIGGER ALL",
        "SET session_replication_role = 'replica'",
        &format!(
            "CREATE OR REPLACE FUNCTION audit_changes{}() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
            made[0].own()
        ),
        &format!("SELECT audit_changes{}()", made[0].own()),
        "SELECT nextval('audit_log_id_seq')",
        "SELECT setval('audit_log_id_seq', 1)",
        &format!("SELECT * FROM {}.audit_log", made[1].schema),
    ] {
        let error = sql(&url, attempt).expect_err(attempt);
        assert!(error.starts_with("42501"), "{attempt}: {error}");
    }
    // What a tenant may set of its own session makes the log no less true: it is written in full, or nothing happens.
    let settings = "SET DateStyle = 'German'; SET TimeZone = 'Asia/Tokyo'; SET extra_float_digits = -15; SET IntervalStyle = 'iso_8601';
        SET search_path = pg_temp; SET role = NONE; SET application_name = E'it''s';";
    sql(
        &url,
        &format!(
            "{settings} INSERT INTO {}.portfolios (user_id, name) VALUES (gen_random_uuid(), 'a')",
            made[0].schema
        ),
    )
    .unwrap();
    let refused = sql(
        &url,
        "SET row_security = off; INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'b')",
    );
    let rows = sql(&url, "SELECT count(*) FROM portfolios").unwrap();
    assert_eq!(rows[0][0], if refused.is_ok() { "2" } else { "1" });
    assert_eq!(sql(&url, "SELECT count(*) FROM audit_log").unwrap(), rows);
}

#[test]
fn each_table_is_audited_as_configured() {
    let db = with_audit("audit:\n  default: keys\n  tables: {portfolios: off, trades: full}\n");
    let made = db.provision(&["acme"]).remove(0);
    let url = made.url(&db);
    sql(
        &url,
        "INSERT INTO portfolios (id, user_id, name) VALUES ('00000000-0000-0000-0000-000000000001', gen_random_uuid(), 'p');
         INSERT INTO positions (portfolio_id, symbol, quantity, avg_price) SELECT id, 'X', 1, 1 FROM portfolios;
         UPDATE positions SET quantity = 2;
         INSERT INTO trades (portfolio_id, symbol, side, quantity, price, executed_at) SELECT id, 'X', 'BUY', 1, 1, now() FROM portfolios;
         INSERT INTO market_data VALUES ('X', '2026-01-01', 1, 1, 1, 1, 1);
         DELETE FROM positions",
    )
    .unwrap();
    let log = sql(
        &url,
        "SELECT table_name, operation, (SELECT string_agg(k, ',' ORDER BY k) FROM jsonb_object_keys(old_row) k),
            (SELECT string_agg(k, ',' ORDER BY k) FROM jsonb_object_keys(new_row) k) FROM audit_log ORDER BY id",
    )
    .unwrap();
    let all = "commission,created_at,executed_at,id,order_id,portfolio_id,price,quantity,side,symbol";
    let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
    assert_eq!(
        log,
        [
            row(["positions", "INSERT", "NULL", "id"]),
            row(["positions", "UPDATE", "id", "id"]),
            row(["trades", "INSERT", "NULL", all]),
            row(["market_data", "INSERT", "NULL", "symbol,timestamp"]),
            row(["positions", "DELETE", "id", "NULL"]),
        ]
    );
    // Another policy reaches the tenant by secure.
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "audit:\n  default: off\n  tables: {portfolios: keys}\n",
    )
    .unwrap();
    db.run(&["secure", "acme"]).success();
    sql(&url, "UPDATE trades SET price = 2; UPDATE portfolios SET name = 'q'").unwrap();
    let last = sql(
        &url,
        "SELECT table_name, old_row::text FROM audit_log ORDER BY id DESC LIMIT 1",
    )
    .unwrap();
    assert_eq!(
        last[0],
        ["portfolios", "{\"id\": \"00000000-0000-0000-0000-000000000001\"}"].map(str::to_owned)
    );
    let triggers = db.value(&format!(
        "SELECT count(*) FROM pg_trigger WHERE tgrelid = '{}.trades'::regclass AND tgname LIKE 'tenantctl_audit%'",
        made.schema
    ));
    assert_eq!(triggers, "0");
}

#[test]
fn a_policy_that_cannot_be_is_refused() {
    let db = Db::new();
    let path = db.dir.join("tenant_templates.yaml");
    for (policy, parts) in [
        (
            "audit:\n  tables: {trads: off}\n",
            &["no module creates", "Did you mean \"trades\"?"][..],
        ),
        ("audit:\n  default: some\n", &["tenant_templates.yaml:2:"]),
        ("audit:\n  keep_days: 0\n", &["tenant_templates.yaml:2:", "from 1"]),
        (
            "hardening:\n  language_publick: off\n",
            &["Did you mean \"language_public\"?"],
        ),
        ("hardening:\n  language_public: maybe\n", &["tenant_templates.yaml:2:"]),
    ] {
        std::fs::write(&path, policy).unwrap();
        db.run(&["init"]).exits(2).says(parts);
    }
    assert_eq!(
        db.value("SELECT count(*) FROM pg_namespace WHERE nspname = 'template_trading'"),
        "0"
    );
}

#[test]
fn show_and_prune() {
    let db = Db::initialized();
    let made = db.provision(&["acme", "quiet"]);
    let url = made[0].url(&db);
    sql(&url, "INSERT INTO portfolios (user_id, name, description) VALUES (gen_random_uuid(), E'x\\x1b[2J\\u009b', '0.10000000000000000001')").unwrap();
    sql(&url, "UPDATE portfolios SET base_currency = 'EUR'").unwrap();
    let run = db.run(&["audit", "show", "acme", "--operation", "update"]).success();
    assert!(
        run.stdout().contains("base_currency: \"USD\" -> \"EUR\""),
        "{}",
        run.stdout()
    );
    let run = db.run(&["audit", "show", "acme"]).success();
    assert!(
        !run.stdout().contains(['\u{1b}', '\u{9b}']),
        "terminal control of a tenant reached the terminal"
    );
    let json = db
        .run(&[
            "-o",
            "json",
            "audit",
            "show",
            "acme",
            "--table",
            "portfolios",
            "--limit",
            "1",
        ])
        .success()
        .json();
    assert_eq!(json["entries"][0]["operation"], "UPDATE");
    assert_eq!(json["entries"][0]["old_row"]["base_currency"], "USD");
    db.run(&["audit", "show", "acme", "--since", "yesterday-ish"])
        .exits(2)
        .says(&["invalid time", "hint:"]);
    db.run(&["audit", "show", "nobody"]).exits(4).says(&["does not exist"]);
    db.run(&["audit", "prune"]).exits(2).says(&["--all"]);
    // Older than a year goes, by the default; the rest stays.
    db.sql(&format!(
        "INSERT INTO {0}.audit_log (at, operation, table_name) SELECT now() - interval '400 days', 'DELETE', 'trades' FROM generate_series(1, 7)",
        made[0].schema
    ));
    let json = db
        .run(&["-o", "json", "audit", "prune", "--all", "--dry-run"])
        .success()
        .json();
    assert_eq!(
        (json["pruned"][0]["entries"].as_i64(), json["dry_run"].as_bool()),
        (Some(7), Some(true))
    );
    let json = db.run(&["-o", "json", "audit", "prune", "--all"]).success().json();
    assert_eq!(json["pruned"][0]["tenant_id"], "acme");
    assert_eq!(json["pruned"][0]["entries"], 7);
    assert_eq!(json["pruned"].as_array().unwrap().len(), 1);
    assert_eq!(sql(&url, "SELECT count(*) FROM audit_log").unwrap()[0][0], "2");
    assert_eq!(
        db.value("SELECT count(*) FROM tenantctl.operations WHERE operation = 'audit_prune' AND tenant_id = 'acme'"),
        "1"
    );
    // What is not the owner's table is not read: a view could run anything.
    db.sql(&format!(
        "ALTER TABLE {0}.audit_log RENAME TO old_log; CREATE VIEW {0}.audit_log AS SELECT 1/0 AS id",
        made[1].schema
    ));
    db.run(&["audit", "show", "quiet"])
        .exits(4)
        .says(&["cannot be read", "not a table"]);
    db.run(&["audit", "prune", "--all"])
        .exits(1)
        .says(&["quiet", "not a table"]);
}
