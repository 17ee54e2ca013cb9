//! Tenants with more chunks than one transaction has locks for, on a server as small as the defaults make it.

use super::{looks, same, stored, with_settings};
use crate::support::{Db, Made, hold, sql};

/// As many locks as `initdb` gives a connection.
fn small(connections: u16) -> Vec<String> {
    let mut settings: Vec<String> = [
        "fsync = off",
        "synchronous_commit = off",
        "full_page_writes = off",
        "autovacuum = off",
        "max_locks_per_transaction = 64",
        "max_wal_senders = 0",
        "wal_level = minimal",
        "max_worker_processes = 4",
        "autovacuum_max_workers = 1",
    ]
    .map(str::to_owned)
    .into();
    settings.push(format!("max_connections = {connections}"));
    settings
}

/// Gives a tenant so many hours of market data, which are as many chunks; a batch a transaction, as making them takes locks, too.
fn fill(db: &Db, made: &Made, hours: usize) {
    for first in (0..hours).step_by(50) {
        db.sql(&format!(
            "INSERT INTO {}.market_data (symbol, timestamp, open, high, low, close, volume)
             SELECT 'S', '2026-03-01'::timestamptz + n * interval '1 hour', 1, 2, 1, 1.5, n FROM generate_series({first}, {}) n",
            made.schema,
            (first + 49).min(hours - 1)
        ));
    }
}

fn chunks(db: &Db, schema: &str) -> usize {
    let count = db.value(&format!(
        "SELECT count(*) FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent JOIN pg_namespace n ON n.oid = p.relnamespace WHERE n.nspname = '{schema}'"
    ));
    count.parse().unwrap()
}

#[test]
fn a_tenant_with_many_chunks_is_dropped_within_the_locks_there_are() {
    let Some((own, db)) = with_settings(
        "a_tenant_with_many_chunks_is_dropped_within_the_locks_there_are",
        small(20),
    ) else {
        return;
    };
    let made = db.provision(&["acme"]).remove(0);
    fill(&db, &made, 400);
    // What is committed without a wait survives the stop below.
    db.sql("CHECKPOINT");
    // In one transaction it cannot be done.
    let error = sql(&db.url, &format!("DROP SCHEMA {} CASCADE", made.schema)).expect_err("too many locks");
    assert!(error.starts_with("53200"), "{error}");
    // The server keeps for locks what it has once taken for them, and has nothing left for new connections.
    own.stop().unwrap();
    own.restart().unwrap();
    // The dry run shows every transaction.
    let json = db.run(&["-o", "json", "drop", "acme", "--dry-run"]).success().json();
    let plans = json["plan"].as_array().unwrap();
    assert!(plans.len() > 5, "{}", plans.len());
    assert_eq!(plans[0]["transaction"], "begin to drop tenant acme");
    assert_eq!(plans.last().unwrap()["transaction"], "drop tenant acme");
    assert_eq!(chunks(&db, &made.schema), 400);
    // What keeps it from its end leaves it begun: it is neither backed up, nor restored, nor made again, and the same command
    // goes on.
    let last = db.value(&format!(
        "SELECT format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks WHERE hypertable_schema = '{}' ORDER BY range_start DESC LIMIT 1",
        made.schema
    ));
    let held = hold(&db.url, &format!("BEGIN; LOCK TABLE {last} IN ACCESS SHARE MODE"));
    std::fs::write(
        db.dir.join("impatient.yaml"),
        "provisioning: {lock_timeout_s: 0.5, timeout_s: 10}",
    )
    .unwrap();
    db.run(&["--config", "impatient.yaml", "drop", "acme", "--yes"])
        .exits(4)
        .says(&["tenant acme is whole no more"]);
    let left = chunks(&db, &made.schema);
    assert!(left > 0 && left < 400, "{left}");
    assert_eq!(db.value("SELECT status FROM tenantctl.tenants"), "dropping");
    assert_eq!(
        db.value(&format!(
            "SELECT rolcanlogin FROM pg_roles WHERE rolname = '{}'",
            made.role
        )),
        "f"
    );
    assert!(db.run(&["list"]).success().stdout().contains("dropping"));
    stored(&db, &["backup", "acme"])
        .exits(4)
        .says(&["tenant acme is being dropped"]);
    stored(&db, &["backup", "--all"])
        .success()
        .says(&["tenant acme is being dropped, and not backed up"]);
    db.run(&["provision", "acme", "--if-not-exists"])
        .exits(4)
        .says(&["tenant acme is being dropped"]);
    stored(&db, &["restore", "acme", "--from-store"])
        .exits(4)
        .says(&["tenant acme is being dropped"]);
    // Nobody is told to let it in again.
    let told = db.run(&["validate", "acme"]).stdout();
    assert!(
        told.contains("tenantctl drop acme --yes") && !told.contains(" LOGIN;"),
        "{told}"
    );
    db.sql(&format!("ALTER ROLE {} LOGIN", made.role));
    let told = db.run(&["validate", "acme"]).stdout();
    assert!(told.contains(&format!("ALTER ROLE {} NOLOGIN;", made.role)), "{told}");
    drop(held);
    db.run(&["drop", "acme", "--yes"]).success();
    assert_eq!(db.counts(), (0, 0, 0));
    // Of tables that are not hypertables there is nothing; the template's own two have no chunks.
    assert_eq!(
        db.value("SELECT count(*) FROM pg_class WHERE relname LIKE '\\_hyper\\_%' AND relkind = 'r'"),
        "0"
    );
}

#[test]
fn a_tenant_with_many_chunks_is_restored_within_the_locks_there_are() {
    let Some((own, db)) = with_settings(
        "a_tenant_with_many_chunks_is_restored_within_the_locks_there_are",
        small(20),
    ) else {
        return;
    };
    let made = db.provision(&["acme"]).remove(0);
    let rows = |schema: &str, what: &str| {
        format!(
            "INSERT INTO {schema}.market_data (symbol, timestamp, open, high, low, close, volume)
             SELECT 'S' || n, {what}, 1, 2, 1, 1.5, n FROM generate_series(0, 899) n"
        )
    };
    db.sql("CHECKPOINT");
    // In one transaction it cannot be done.
    let hours = "'2026-03-01'::timestamptz + n * interval '1 hour'";
    let error = sql(&db.url, &rows(&made.schema, hours)).expect_err("too many locks");
    assert!(error.starts_with("53200"), "{error}");
    // The server keeps for locks what it has once taken for them.
    own.stop().unwrap();
    own.restart().unwrap();
    // Many rows of one chunk, after which a batch is large, then chunks of one row each.
    db.sql(&format!(
        "INSERT INTO {}.market_data (symbol, timestamp, open, high, low, close, volume)
         SELECT 'T' || n, '2026-02-01', 1, 2, 1, 1.5, n FROM generate_series(0, 29999) n",
        made.schema
    ));
    fill(&db, &made, 900);
    stored(&db, &["backup", "acme"]).success();
    let then = looks(&db, &made.schema);
    let json = stored(&db, &["restore", "acme", "--as", "copy"]).success().json();
    let copy = json["restored_to"].as_str().unwrap();
    assert_eq!(chunks(&db, copy), 901);
    same("after the restore", &looks(&db, copy), &then);
}

#[test]
fn a_small_tenant_goes_in_one_transaction() {
    let Some((_own, db)) = with_settings("a_small_tenant_goes_in_one_transaction", small(100)) else {
        return;
    };
    let made = db.provision(&["acme"]).remove(0);
    fill(&db, &made, 5);
    let json = db.run(&["-o", "json", "drop", "acme", "--dry-run"]).success().json();
    assert_eq!(json["plan"].as_array().unwrap().len(), 1);
    db.run(&["drop", "acme", "--yes"]).success();
    assert_eq!(db.counts(), (0, 0, 0));
}

#[test]
fn what_a_restore_has_replaced_is_dropped_within_the_locks_there_are() {
    let Some((_own, db)) = with_settings(
        "what_a_restore_has_replaced_is_dropped_within_the_locks_there_are",
        small(100),
    ) else {
        return;
    };
    let made = db.provision(&["acme"]).remove(0);
    stored(&db, &["backup", "acme"]).success();
    fill(&db, &made, 300);
    let json = stored(&db, &["restore", "acme"]).success().json();
    let replaced = json["replaced_schema"].as_str().unwrap().to_owned();
    assert_eq!((chunks(&db, &replaced), chunks(&db, &made.schema)), (300, 0));
    // A drop that does not come to its end leaves nothing that could be taken for the whole.
    let held = hold(
        &db.url,
        &format!(
            "BEGIN; LOCK TABLE {} IN ACCESS SHARE MODE",
            db.value(&format!(
                "SELECT format('%I.%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks WHERE hypertable_schema = '{replaced}' ORDER BY range_start DESC LIMIT 1"
            ))
        ),
    );
    std::fs::write(
        db.dir.join("impatient.yaml"),
        "provisioning: {lock_timeout_s: 0.5, timeout_s: 10}",
    )
    .unwrap();
    stored(
        &db,
        &["--config", "impatient.yaml", "restore", "acme", "--drop-replaced"],
    )
    .exits(4);
    let left = chunks(&db, &replaced);
    assert!(left > 0 && left < 300, "{left}");
    stored(&db, &["restore", "acme", "--undo"])
        .exits(4)
        .says(&["is being dropped", "--drop-replaced"]);
    drop(held);
    stored(&db, &["restore", "acme", "--drop-replaced"]).success();
    assert_eq!(
        db.value("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tenantctl\\_re%'"),
        "0"
    );
    // And with the tenant, where it is kept still.
    stored(&db, &["backup", "acme"]).success();
    fill(&db, &made, 300);
    stored(&db, &["restore", "acme"]).success();
    db.run(&["drop", "acme", "--yes"]).success();
    assert_eq!(db.counts(), (0, 0, 0));
    assert_eq!(
        db.value("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'tenantctl\\_re%'"),
        "0"
    );
}
