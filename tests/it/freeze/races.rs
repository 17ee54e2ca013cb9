//! Somebody else's change in between, lost sessions, and two at once.

use std::thread;

use tenantctl::error::ErrorKind;
use tenantctl::plan::freeze::Turn;

use super::{HUGE, INSERT, TINY, freeze, is_frozen, log, refused, rights, thaw, turn_as};
use crate::support::{Db, Held, Made, anatomy, hold, sql, wait_for};

/// A freeze that has done its work and not committed yet.
fn freezing(db: &Db, made: &Made) -> Held {
    let tables = db.value(&format!(
        "SELECT string_agg(format('{0}.%I', relname), ', ') FROM pg_class c, aclexplode(relacl) x WHERE relnamespace = '{0}'::regnamespace
         AND x.privilege_type = 'INSERT' AND x.grantee = '{1}'::regrole",
        made.schema, made.role
    ));
    hold(
        &db.url,
        &format!(
            "BEGIN; UPDATE tenantctl.tenants SET writes_frozen_at = now() WHERE tenant_id = '{}';
             REVOKE INSERT, UPDATE ON {tables} FROM {}",
            made.id, made.role
        ),
    )
}

/// Waits until so many sessions of tenantctl wait for a lock.
#[track_caller]
fn wait_for_waiters(db: &Db, n: usize) {
    wait_for("tenantctl to wait for a lock", || {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantctl%' AND wait_event_type = 'Lock'";
        db.value(waiting) == n.to_string()
    });
}

fn patient(db: &Db) {
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "provisioning: {lock_timeout_s: 30, timeout_s: 60}\n",
    )
    .unwrap();
}

/// What `secure` has planned before a freeze would give INSERT and UPDATE back.
#[test]
fn a_secure_that_was_planned_before_does_not_undo_a_freeze() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    patient(&db);
    db.sql(&format!(
        "REVOKE INSERT, DELETE ON {}.trades FROM {}",
        made.schema, made.role
    ));
    let held = freezing(&db, &made);
    let run = thread::scope(|scope| {
        let secure = scope.spawn(|| db.run(&["-o", "json", "secure", "acme"]));
        wait_for_waiters(&db, 1);
        held.run("COMMIT");
        secure.join().unwrap()
    });
    let json = run.success().json();
    assert_eq!(json["failed"].as_array().unwrap().len(), 0, "{json}");
    assert!(is_frozen(&db, "acme"));
    assert_eq!(rights(&db, &made), "DELETE SELECT");
    refused(&made.url(&db), INSERT);
    sql(&made.url(&db), "DELETE FROM trades").unwrap();
    // And what it has planned before a thaw would take them again.
    let frozen = anatomy(&db, &made.schema);
    db.sql(&format!("REVOKE DELETE ON {}.trades FROM {}", made.schema, made.role));
    let held = hold(
        &db.url,
        &format!(
            "BEGIN; UPDATE tenantctl.tenants SET writes_frozen_at = NULL WHERE tenant_id = 'acme';
             GRANT INSERT, UPDATE ON {0}.trades, {0}.portfolios TO {1}",
            made.schema, made.role
        ),
    );
    thread::scope(|scope| {
        let secure = scope.spawn(|| db.run(&["secure", "acme"]));
        wait_for_waiters(&db, 1);
        held.run("COMMIT");
        secure.join().unwrap().success();
    });
    sql(&made.url(&db), INSERT).unwrap();
    assert_ne!(anatomy(&db, &made.schema), frozen);
    freeze(&db, "acme");
    assert_eq!(anatomy(&db, &made.schema), frozen);
}

/// A restore that has loaded its copy before a freeze would put an unfrozen one into place.
#[test]
fn a_restore_that_was_begun_before_does_not_undo_a_freeze() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    patient(&db);
    let store = format!("file://{}", db.dir.join("store").display());
    let command = |args: &[&str]| db.command(args).env("TENANTCTL_STORE", &store);
    sql(&made.url(&db), INSERT).unwrap();
    command(&["backup", "acme"]).finish().success();
    for args in [&["restore", "acme"][..], &["restore", "acme", "--undo"]] {
        let held = freezing(&db, &made);
        thread::scope(|scope| {
            let restore = scope.spawn(|| command(args).finish());
            wait_for_waiters(&db, 1);
            held.run("COMMIT");
            restore.join().unwrap().success();
        });
        assert!(is_frozen(&db, "acme"));
        assert_eq!(rights(&db, &made), "DELETE SELECT", "{args:?}");
        refused(&made.url(&db), INSERT);
        crate::restore::sound(&db, "acme");
        thaw(&db, "acme");
    }
}

#[test]
fn a_tenant_that_is_dropped_meanwhile_is_not_frozen() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    let held = hold(&db.url, "BEGIN; DELETE FROM tenantctl.tenants WHERE tenant_id = 'acme'");
    let error = thread::scope(|scope| {
        let turning = scope.spawn(|| turn_as(&db.url, "acme", Some(HUGE)));
        wait_for_waiters(&db, 1);
        held.run("COMMIT");
        turning.join().unwrap().expect_err("dropped")
    });
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(
        error.message().contains("was dropped by somebody else meanwhile"),
        "{error}"
    );
    assert_eq!(rights(&db, &made), "DELETE INSERT SELECT UPDATE");
    // The other way round, the drop comes after the freeze.
    let made = db.provision(&["globex"]).remove(0);
    freeze(&db, "globex");
    db.run(&["drop", "globex", "--yes"]).success();
    assert_eq!(db.value(&format!("SELECT to_regrole('{}') IS NULL", made.role)), "t");
}

#[test]
fn two_at_once_freeze_once() {
    let db = Db::initialized();
    db.provision(&["acme"]);
    for (size, turn) in [(HUGE, Turn::Freeze), (TINY, Turn::Thaw)] {
        let held = hold(&db.url, "BEGIN; SELECT FROM tenantctl.tenants FOR UPDATE");
        let results: Vec<_> = thread::scope(|scope| {
            let both = [(); 2].map(|()| scope.spawn(|| turn_as(&db.url, "acme", Some(size)).unwrap()));
            wait_for_waiters(&db, 2);
            held.run("COMMIT");
            both.into_iter().map(|one| one.join().unwrap()).collect()
        });
        let done: Vec<_> = results.into_iter().flatten().map(|turned| turned.turn).collect();
        assert_eq!(done, [turn]);
    }
    assert_eq!(log(&db), ["acme freeze done", "acme thaw done"]);
}

/// The limit is raised while a freeze waits for the row.
#[test]
fn the_limit_that_counts_is_the_one_in_the_registry_when_it_is_done() {
    let db = Db::initialized();
    db.provision(&["acme", "--tier", "basic"]);
    let held = hold(
        &db.url,
        "BEGIN; UPDATE tenantctl.tenants SET limits = limits || '{\"max_schema_size_gb\": null}' WHERE tenant_id = 'acme'",
    );
    let turned = thread::scope(|scope| {
        let turning = scope.spawn(|| turn_as(&db.url, "acme", Some(HUGE)).unwrap());
        wait_for_waiters(&db, 1);
        held.run("COMMIT");
        turning.join().unwrap()
    });
    assert_eq!(turned, None);
    assert!(!is_frozen(&db, "acme"));
}

/// Ended in the middle, after the registry row was written: nothing of it stays. And what only waited is done in the end.
#[test]
fn a_session_lost_in_the_middle_leaves_nothing_done() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    let before = anatomy(&db, &made.schema);
    // The REVOKE waits for this change of a table's rights.
    let grant = format!(
        "BEGIN; REVOKE SELECT ON {0}.trades FROM {1}; GRANT SELECT ON {0}.trades TO {1}",
        made.schema, made.role
    );
    let held = hold(&db.url, &grant);
    let error = thread::scope(|scope| {
        let turning = scope.spawn(|| turn_as(&db.url, "acme", Some(HUGE)));
        wait_for_waiters(&db, 1);
        db.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantctl%'");
        turning.join().unwrap().expect_err("lost")
    });
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(!error.is_uncertain());
    held.run("ROLLBACK");
    assert!(!is_frozen(&db, "acme"));
    assert_eq!(anatomy(&db, &made.schema), before);
    assert_eq!(log(&db), Vec::<String>::new());
    let held = hold(&db.url, &grant);
    thread::scope(|scope| {
        let turning = scope.spawn(|| turn_as(&db.url, "acme", Some(HUGE)));
        wait_for_waiters(&db, 1);
        held.run("COMMIT");
        assert_eq!(turning.join().unwrap().unwrap().unwrap().turn, Turn::Freeze);
    });
    assert_eq!(log(&db), ["acme freeze done"]);
    refused(&made.url(&db), INSERT);
}
