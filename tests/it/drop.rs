//! `drop`: role, schema and row together, and only when it is meant.

use crate::support::{Db, change_under, hold, sql, wait_for};

#[test]
fn refuses_without_yes_and_changes_nothing() {
    let db = Db::initialized();
    db.provision(&["acme"]);
    db.run(&["drop", "acme"]).exits(2).says(&["destroys 1 tenant", "--yes"]);
    let out = db.run(&["drop", "acme", "--dry-run"]).success().stdout();
    assert!(out.contains("DROP SCHEMA") && out.contains("DROP ROLE"), "{out}");
    assert_eq!(db.counts(), (1, 1, 1));
}

#[test]
fn leaves_nothing() {
    let db = Db::initialized();
    let made = db.provision(&["acme", "globex", "--tier", "enterprise"]);
    sql(
        &made[0].url(&db),
        "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p')",
    )
    .unwrap();
    // A stray grant of the registry's database does not keep the role alive.
    db.sql(&format!(
        "CREATE TABLE public.x (a int); GRANT SELECT ON public.x TO {}",
        made[0].role
    ));
    let json = db.run(&["-o", "json", "drop", "acme", "--yes"]).success().json();
    assert_eq!(json["dropped"][0]["schema_name"], made[0].schema.as_str());
    assert_eq!(db.counts(), (1, 1, 1));
    assert_eq!(
        db.value(&format!(
            "SELECT count(*) FROM pg_roles WHERE rolname = '{}'",
            made[0].role
        )),
        "0"
    );
    assert_eq!(db.value("SELECT count(*) FROM pg_shdepend WHERE refclassid = 'pg_authid'::regclass AND NOT EXISTS (SELECT FROM pg_authid a WHERE a.oid = refobjid)"), "0");
    assert_eq!(
        db.value("SELECT status FROM tenantctl.operations WHERE operation = 'drop'"),
        "done"
    );
    // The id is free again, under another name.
    let again = db.provision(&["acme"]).remove(0);
    assert_ne!(again.schema, made[0].schema);
}

#[test]
fn unknown_ids_stop_it_before_anything_is_dropped() {
    let db = Db::initialized();
    db.provision(&["acme", "globex"]);
    db.run(&["drop", "acme", "globx", "--yes"])
        .exits(4)
        .says(&["tenant globx does not exist", "Did you mean globex?"]);
    assert_eq!(db.counts(), (2, 2, 2));
}

#[test]
fn open_sessions_are_refused_or_ended_as_asked() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    let held = hold(&made.url(&db), "BEGIN; SELECT count(*) FROM portfolios");
    db.run(&["drop", "acme", "--yes"])
        .exits(4)
        .says(&["has 1 session open", "--disconnect"]);
    assert_eq!(db.counts(), (1, 1, 1));
    let json = db
        .run(&["-o", "json", "drop", "acme", "--yes", "--disconnect"])
        .success()
        .json();
    assert_eq!(json["dropped"][0]["sessions_ended"], 1);
    assert_eq!(db.counts(), (0, 0, 0));
    drop(held);
}

#[test]
fn a_grant_in_another_database_is_said_and_nothing_is_dropped() {
    let db = Db::initialized();
    let other = Db::new();
    let made = db.provision(&["acme"]).remove(0);
    other.sql(&format!("CREATE TABLE t (a int); GRANT SELECT ON t TO {}", made.role));
    db.run(&["drop", "acme", "--yes"])
        .exits(4)
        .says(&["not in this database", "DROP OWNED BY", "2BP01"]);
    assert_eq!(db.counts(), (1, 1, 1));
    other.sql(&format!("DROP OWNED BY {}", made.role));
    db.run(&["drop", "acme", "--yes"]).success();
}

#[test]
fn objects_of_others_that_would_go_with_it_are_named_and_kept() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    db.sql(&format!(
        "CREATE SCHEMA reports; CREATE VIEW reports.p AS SELECT id FROM {0}.portfolios;
         CREATE TABLE reports.extra (id uuid REFERENCES {0}.portfolios)",
        made.schema
    ));
    db.run(&["drop", "acme", "--yes"])
        .exits(4)
        .says(&["reports.p", "reports.extra", "outside its schema"]);
    db.run(&["drop", "acme", "--dry-run"])
        .success()
        .says(&["warning:", "reports.p"]);
    assert_eq!(db.counts(), (1, 1, 1));
    db.sql("DROP SCHEMA reports CASCADE");
    db.run(&["drop", "acme", "--yes"]).success();
}

/// One dependant of each kind, one at a time: each is found, and none on a tenant left alone.
#[test]
fn every_kind_of_dependant_is_found() {
    let db = Db::initialized();
    let made = db.provision(&["acme", "--tier", "enterprise"]).remove(0);
    db.sql("CREATE SCHEMA x");
    let s = &made.schema;
    for (make, undo) in [
        (
            format!("CREATE MATERIALIZED VIEW x.m AS SELECT * FROM {s}.trades"),
            "DROP MATERIALIZED VIEW x.m",
        ),
        (
            format!("CREATE TABLE x.child () INHERITS ({s}.trades)"),
            "DROP TABLE x.child",
        ),
        (
            format!("CREATE TABLE x.rows (id int, snap {s}.trades)"),
            "DROP TABLE x.rows",
        ),
        (
            format!("CREATE TABLE x.arrays (id int, snap {s}.trades[])"),
            "DROP TABLE x.arrays",
        ),
        (
            format!("CREATE FUNCTION x.f({s}.trades) RETURNS int LANGUAGE sql AS 'SELECT 1'"),
            "DROP FUNCTION x.f",
        ),
        (
            format!("CREATE STATISTICS x.st ON symbol, side FROM {s}.trades"),
            "DROP STATISTICS x.st",
        ),
        (
            format!("CREATE PUBLICATION pub_{} FOR TABLE {s}.trades", db.name),
            "DROP PUBLICATION pub_DB",
        ),
    ] {
        db.sql(&make);
        db.run(&["drop", "acme", "--yes"])
            .exits(4)
            .says(&["outside its schema"]);
        db.sql(&undo.replace("DB", &db.name));
    }
    // A partition of a tenant's table, made by somebody else.
    db.sql(&format!(
        "SET ROLE tenantctl_owner; CREATE TABLE {s}.parts (k int) PARTITION BY LIST (k); RESET ROLE;
         CREATE TABLE x.part PARTITION OF {s}.parts FOR VALUES IN (1)"
    ));
    db.run(&["drop", "acme", "--yes"]).exits(4).says(&["x.part"]);
    db.sql("DROP TABLE x.part");
    db.run(&["drop", "acme", "--yes"]).success();
    assert_eq!(db.counts(), (0, 0, 0));
}

#[test]
fn two_drops_of_one_tenant_are_one() {
    let db = Db::initialized();
    for round in 0..3 {
        let id = format!("t{round}");
        db.provision(&[&id]);
        let children: Vec<_> = (0..3)
            .map(|_| {
                let mut cmd = db.command(&["drop", &id, "--yes"]);
                cmd.command
                    .stdout(std::process::Stdio::null())
                    .stderr(std::process::Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let mut codes: Vec<_> = children
            .into_iter()
            .map(|c| c.wait_with_output().unwrap().status.code().unwrap())
            .collect();
        codes.sort_unstable();
        assert_eq!(codes, [0, 4, 4]);
    }
    assert_eq!(db.counts(), (0, 0, 0));
}

/// Applications that reconnect at once and hold locks do not keep a tenant alive.
#[test]
fn disconnect_wins_against_applications_that_come_back() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    let url = made.url(&db);
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let busy: Vec<_> = (0..3)
        .map(|_| {
            let (url, stop) = (url.clone(), std::sync::Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = sql(
                        &url,
                        "BEGIN; LOCK TABLE portfolios IN ROW EXCLUSIVE MODE; SELECT pg_sleep(60)",
                    );
                }
            })
        })
        .collect();
    wait_for("the applications", || {
        db.value(
            "SELECT count(*) = 3 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()",
        ) == "t"
    });
    db.run(&["drop", "acme", "--yes", "--disconnect"]).success();
    assert_eq!(db.counts(), (0, 0, 0));
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    for thread in busy {
        thread.join().unwrap();
    }
    // A drop that fails opens the door again.
    let made = db.provision(&["acme"]).remove(0);
    let other = Db::new();
    other.sql(&format!("CREATE TABLE t (a int); GRANT SELECT ON t TO {}", made.role));
    let held = hold(&made.url(&db), "SELECT 1");
    db.run(&["drop", "acme", "--yes", "--disconnect"]).exits(4);
    drop(held);
    sql(&made.url(&db), "SELECT 1").unwrap();
    // But not one that somebody else had shut, which show tells.
    db.sql(&format!("ALTER ROLE {} NOLOGIN", made.role));
    db.run(&["drop", "acme", "--yes", "--disconnect"]).exits(4);
    assert_eq!(
        db.value(&format!(
            "SELECT rolcanlogin FROM pg_roles WHERE rolname = '{}'",
            made.role
        )),
        "f"
    );
    assert!(
        db.run(&["show", "acme"])
            .success()
            .stdout()
            .contains("missing: the role's LOGIN")
    );
    other.sql(&format!("DROP OWNED BY {}", made.role));
}

#[test]
fn what_is_gone_already_does_not_stop_it() {
    let db = Db::initialized();
    let made = db.provision(&["a", "b"]);
    db.sql(&format!("DROP SCHEMA {} CASCADE", made[0].schema));
    db.sql(&format!("DROP OWNED BY {0}; DROP ROLE {0}", made[1].role));
    db.run(&["drop", "a", "b", "--yes"]).success();
    assert_eq!(db.counts(), (0, 0, 0));
}

#[test]
fn a_lock_on_a_table_makes_it_fail_whole() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "provisioning:\n  lock_timeout_s: 1\n",
    )
    .unwrap();
    let held = hold(&db.url, &format!("BEGIN; SELECT count(*) FROM {}.trades", made.schema));
    db.run(&["drop", "acme", "--yes"]).exits(4).says(&["SQLSTATE 55P03"]);
    assert_eq!(db.counts(), (1, 1, 1));
    drop(held);
    wait_for("the drop", || db.run(&["drop", "acme", "--yes"]).0.status.success());
}

const BEGUN: &str = "UPDATE tenantctl.tenants SET status = 'dropping' WHERE tenant_id = 'acme'";

/// A drop that fails opens the door that it has shut, but not when another one has begun meanwhile and shut it for good.
#[test]
fn a_drop_that_fails_does_not_let_in_whom_another_has_locked_out() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "provisioning: {lock_timeout_s: 5, timeout_s: 60}",
    )
    .unwrap();
    let held = hold(&db.url, &format!("BEGIN; SELECT count(*) FROM {}.trades", made.schema));
    let login = format!("SELECT rolcanlogin FROM pg_roles WHERE rolname = '{}'", made.role);
    db.run(&["drop", "acme", "--yes", "--disconnect"])
        .exits(4)
        .says(&["SQLSTATE 55P03"]);
    assert_eq!(db.value(&login), "t");
    let other = change_under(&db, BEGUN);
    let run = db
        .run(&["drop", "acme", "--yes", "--disconnect"])
        .exits(4)
        .says(&["SQLSTATE 55P03"]);
    other.join().unwrap();
    assert_eq!(db.value(&login), "f", "{}", run.stderr());
    drop(held);
}

/// Of a tenant whose drop has begun while a backup or a restore of it was getting ready, there comes no backup that looks whole,
/// and nothing is put in its place.
#[test]
fn a_drop_that_begins_meanwhile_ends_backups_and_restores() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    let store = format!("file://{}", db.dir.join("store").display());
    let stored = |args: &[&str]| db.command(args).env("TENANTCTL_STORE", &store).finish();
    stored(&["backup", "acme"]).success();
    let begun = format!("LOCK TABLE {}.trades IN ACCESS EXCLUSIVE MODE; {BEGUN}", made.schema);
    let other = change_under(&db, &begun);
    stored(&["backup", "acme"])
        .exits(4)
        .says(&["tenant acme is being dropped"]);
    other.join().unwrap();
    assert_eq!(
        db.value("SELECT count(*) FROM tenantctl.backups WHERE status = 'done'"),
        "1"
    );
    db.sql("UPDATE tenantctl.tenants SET status = 'active'");
    let other = change_under(&db, BEGUN);
    stored(&["restore", "acme", "--latest"])
        .exits(4)
        .says(&["tenant acme is being dropped"]);
    other.join().unwrap();
    assert_eq!(
        db.value(
            "SELECT count(*) FROM tenantctl.restores WHERE staging_schema IS NOT NULL OR replaced_schema IS NOT NULL"
        ),
        "0"
    );
    stored(&["drop", "acme", "--yes"]).success();
    assert_eq!(db.counts(), (0, 0, 0));
}
