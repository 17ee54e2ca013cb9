//! Chunks: where they lie, who reaches them, and that what is wrong with them is found.

use super::{ROWS, with_extension};
use crate::support::{Db, Made, sql};

/// What `validate` says by the check of chunks, of whatever it is.
fn findings(db: &Db) -> Vec<String> {
    let json = db.run(&["-o", "json", "validate", "--all"]).json();
    assert_eq!(json["unknown"].as_array().unwrap().len(), 0, "{json}");
    let found = json["findings"].as_array().unwrap().iter();
    found
        .filter(|f| f["check"] == "chunks")
        .map(|f| {
            let text = |key: &str| f[key].as_str().unwrap_or("-").to_owned();
            format!("{} {}: {}", text("severity"), text("object"), text("detail"))
        })
        .collect()
}

fn login(own: &tenantctl::cluster::Cluster, db: &Db, made: &Made) -> String {
    own.url(&made.role, &db.name)
        .replace('@', &format!(":{}@", made.password.as_deref().unwrap()))
}

#[test]
fn tenants_of_a_hardened_database_use_their_hypertables() {
    let Some((own, db)) = with_extension("tenants_of_a_hardened_database_use_their_hypertables") else {
        return;
    };
    let made = db.provision(&["acme", "globex", "--tier", "enterprise"]);
    db.run(&["secure", "--all"]).success();
    let (acme, globex) = (login(&own, &db, &made[0]), login(&own, &db, &made[1]));
    sql(&acme, ROWS).unwrap();
    sql(&globex, ROWS).unwrap();
    for (statement, expected) in [
        ("SELECT count(*) FROM trades", "100"),
        (
            "UPDATE trades SET price = 2 WHERE quantity = 5; SELECT price::float8 FROM trades WHERE quantity = 5",
            "2",
        ),
        (
            "DELETE FROM trades WHERE quantity = 5; SELECT count(*) FROM trades",
            "99",
        ),
        (
            "SELECT count(*) FROM trades t JOIN portfolios p ON p.id = t.portfolio_id WHERE t.executed_at > '2026-03-05'",
            "80",
        ),
        (
            "DELETE FROM trades WHERE executed_at > '2026-03-05'; SELECT count(*) FROM trades",
            "19",
        ),
        ("SELECT count(*) > 0 FROM audit_log WHERE table_name = 'trades'", "t"),
    ] {
        assert_eq!(
            sql(&acme, statement).unwrap().pop().unwrap()[0],
            expected,
            "{statement}"
        );
    }
    // Another's chunk is as shut as another's table.
    let chunk = db.value(&format!(
        "SELECT format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks WHERE hypertable_schema = '{}' LIMIT 1",
        made[0].schema
    ));
    for target in [chunk, format!("{}.trades", made[0].schema)] {
        for statement in ["SELECT * FROM", "DELETE FROM", "TRUNCATE"] {
            let error = sql(&globex, &format!("{statement} {target}")).expect_err(statement);
            assert!(error.starts_with("42501"), "{statement}: {error}");
        }
    }
    assert_eq!(findings(&db), Vec::<String>::new());
    db.run(&[
        "validate",
        "--all",
        "--skip",
        "hba_lines,minor_release,cluster_settings",
    ])
    .success();
}

#[test]
fn what_is_wrong_with_chunks_is_found() {
    let Some((own, db)) = with_extension("what_is_wrong_with_chunks_is_found") else {
        return;
    };
    let made = db.provision(&["acme", "globex", "--tier", "enterprise"]);
    sql(&login(&own, &db, &made[0]), ROWS).unwrap();
    let chunk = db.value(&format!(
        "SELECT format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks
         WHERE hypertable_schema = '{}' AND hypertable_name = 'trades' ORDER BY range_start LIMIT 1",
        made[0].schema
    ));
    assert_eq!(findings(&db), Vec::<String>::new());
    let (role, other) = (&made[0].role, &made[1].role);
    let update_owner =
        |to: &str| format!("UPDATE pg_class SET relowner = '{to}'::regrole WHERE oid = '{chunk}'::regclass");
    for (apply, undo, expected) in [
        (
            "REVOKE USAGE ON SCHEMA _timescaledb_internal FROM PUBLIC".to_owned(),
            "GRANT USAGE ON SCHEMA _timescaledb_internal TO PUBLIC".to_owned(),
            "medium schema _timescaledb_internal: PUBLIC has no USAGE on it".to_owned(),
        ),
        (
            format!("GRANT CREATE ON SCHEMA _timescaledb_internal TO {role}"),
            format!("REVOKE CREATE ON SCHEMA _timescaledb_internal FROM {role}"),
            format!("critical schema _timescaledb_internal: role {role} may create in the schema of all chunks"),
        ),
        (
            // The extension refuses to change it; a superuser need not ask.
            update_owner(other),
            update_owner("tenantctl_owner"),
            format!("critical table {chunk}: this chunk of {}.trades belongs to role {other}", made[0].schema),
        ),
        (
            format!("GRANT SELECT (price) ON {chunk} TO {other}"),
            format!("REVOKE SELECT (price) ON {chunk} FROM {other}"),
            format!("critical column {chunk}.price: role {other} has SELECT on this column"),
        ),
        (
            format!("GRANT REFERENCES (price) ON {chunk} TO {role}"),
            format!("REVOKE REFERENCES (price) ON {chunk} FROM {role}"),
            format!("high column {chunk}.price: role {role} has REFERENCES on this column"),
        ),
        (
            format!("CREATE TRIGGER t AFTER INSERT ON {chunk} FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()"),
            format!("DROP TRIGGER t ON {chunk}"),
            format!("high trigger t on {chunk}: this chunk of"),
        ),
        (
            format!(
                "ALTER TABLE {s}.market_data SET (timescaledb.compress, timescaledb.compress_segmentby = 'symbol');
                 SELECT FROM ext.compress_chunk((SELECT c FROM ext.show_chunks('{s}.market_data') c LIMIT 1));
                 DO $$ BEGIN EXECUTE (SELECT format('GRANT SELECT ON _timescaledb_internal.%I TO {other}', relname) FROM pg_class WHERE relname LIKE 'compress\\_hyper%chunk' LIMIT 1); END $$",
                s = made[0].schema
            ),
            format!("DO $$ BEGIN EXECUTE (SELECT format('REVOKE SELECT ON _timescaledb_internal.%I FROM {other}', relname) FROM pg_class WHERE relname LIKE 'compress\\_hyper%chunk' LIMIT 1); END $$"),
            "critical table _timescaledb_internal.compress_hyper_".to_owned(),
        ),
    ] {
        for statement in apply.split(";\n") {
            db.sql(statement);
        }
        let found = findings(&db);
        assert!(found.iter().any(|f| f.starts_with(&expected)), "{expected} after {apply}: {found:#?}");
        db.sql(&undo);
        assert_eq!(findings(&db), Vec::<String>::new(), "{undo}");
    }
    // A right on a chunk that its table's role is not to have, and one of another, are the table's findings.
    for grant in [
        format!("SELECT ON {chunk} TO {other}"),
        format!("TRUNCATE ON {chunk} TO {role}"),
    ] {
        db.sql(&format!("GRANT {grant}"));
        let json = db.run(&["-o", "json", "validate", "acme"]).json();
        let found = json["findings"].as_array().unwrap();
        let object = format!("table {chunk}");
        assert!(
            found
                .iter()
                .any(|f| f["check"] == "grants_relations" && f["object"] == object.as_str()),
            "{grant}: {found:#?}"
        );
        db.sql(&format!("REVOKE {}", grant.replace(" TO ", " FROM ")));
    }
    // Told of the tenants of the scope only.
    db.sql(&update_owner(other));
    let json = db
        .run(&["-o", "json", "validate", "globex", "--check", "chunks"])
        .json();
    assert_eq!(json["findings"].as_array().unwrap().len(), 0, "{json}");
}

#[test]
fn frozen_writes_are_frozen_in_old_chunks_and_new_ones() {
    let Some((own, db)) = with_extension("frozen_writes_are_frozen_in_old_chunks_and_new_ones") else {
        return;
    };
    let made = db.provision(&["acme", "--tier", "enterprise"]).remove(0);
    let acme = login(&own, &db, &made);
    sql(&acme, ROWS).unwrap();
    let limit = |gib: &str| {
        db.sql(&format!(
            "UPDATE tenantctl.tenants SET limits = jsonb_set(limits, '{{max_schema_size_gb}}', '{gib}')"
        ))
    };
    // A size of nothing is reached by every schema.
    limit("0");
    db.run(&["metrics", "--all", "--enforce", "-q"]);
    let insert = |day: &str| {
        sql(
            &acme,
            &format!(
                "INSERT INTO trades (portfolio_id, symbol, side, quantity, price, executed_at) SELECT id, 'X', 'BUY', 1, 1, '{day}' FROM portfolios"
            ),
        )
    };
    let update = || sql(&acme, "UPDATE trades SET price = 3");
    for day in ["2026-03-02", "2027-01-01"] {
        assert!(insert(day).expect_err("frozen").starts_with("42501"));
    }
    assert!(update().expect_err("frozen").starts_with("42501"));
    let rights = || {
        db.sql(
            "SELECT DISTINCT replace(c.relacl::text, t.role_name, 'x') FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid CROSS JOIN tenantctl.tenants t
             WHERE c.relnamespace = '_timescaledb_internal'::regnamespace AND c.relkind = 'r'
             AND EXISTS (SELECT FROM pg_class p WHERE p.oid = i.inhparent AND p.relnamespace = t.schema_name::regnamespace)",
        )
    };
    let frozen = [["{tenantctl_owner=arwdDxt/tenantctl_owner,x=rd/tenantctl_owner}"]];
    assert_eq!(rights(), frozen);
    // A chunk that the owner makes meanwhile.
    db.sql(&format!(
        "INSERT INTO {s}.trades (portfolio_id, symbol, side, quantity, price, executed_at) SELECT id, 'X', 'BUY', 1, 1, '2027-02-01' FROM {s}.portfolios",
        s = made.schema
    ));
    assert_eq!(rights(), frozen);
    sql(&acme, "DELETE FROM trades WHERE executed_at > '2027-01-01'").unwrap();
    let of_tenant = |json: serde_json::Value| {
        json["findings"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|f| f["tenant_id"] == "acme")
            .count()
    };
    assert_eq!(of_tenant(db.run(&["-o", "json", "validate", "acme"]).json()), 0);
    limit("1000");
    db.run(&["metrics", "--all", "--enforce", "-q"]);
    insert("2026-03-02").unwrap();
    insert("2028-01-01").unwrap();
    update().unwrap();
    assert_eq!(
        rights(),
        [["{tenantctl_owner=arwdDxt/tenantctl_owner,x=arwd/tenantctl_owner}"]]
    );
    assert_eq!(of_tenant(db.run(&["-o", "json", "validate", "acme"]).json()), 0);
}
