//! Sessions, statements, backups, failures, standbys; and that the number of queries does not grow with the tenants.

use std::time::Duration;

use tenantctl::metrics::collect::Sizes;
use tenantctl::metrics::statements::{counters, types};

use super::{by_id, counted, fill, lesser, measure, options, rows, says, tenant_url, with_session};
use crate::support::{Db, fast, hold, runtime, sql, start, wait_for};

#[test]
fn sessions_are_counted_by_what_they_do() {
    let db = Db::initialized();
    let made = db.provision(&["a", "b", "c"]);
    let url = tenant_url(&db, &made[0]);
    let idle = [hold(&url, "SELECT 1"), hold(&url, "SELECT 1"), hold(&url, "SELECT 1")];
    let open = [hold(&url, "BEGIN; SELECT 1"), hold(&url, "BEGIN")];
    runtime().block_on(async {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let (failing, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        failing.batch_execute("BEGIN").await.unwrap();
        failing.batch_execute("SELECT 1 / 0").await.unwrap_err();
        tokio::spawn(async move { client.batch_execute("SELECT pg_sleep(600)").await });
        // Both end with the test process.
        std::mem::forget(failing);
    });
    let other = hold(&tenant_url(&db, &made[1]), "SELECT 1");
    let busy = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE usename = '{}' AND state = 'active'",
        made[0].role
    );
    wait_for("the sleeper", || db.value(&busy) == "1");
    std::thread::sleep(Duration::from_millis(20));
    let fleet = measure(&db.url, &options(Sizes::None));
    let seen = by_id(&fleet, |t| t.performance.connections);
    let states = |id: &str| {
        let c = seen[id];
        (c.total, c.active, c.idle, c.idle_in_transaction)
    };
    assert_eq!(states("a"), (7, Some(1), Some(3), Some(3)));
    assert_eq!(states("b"), (1, Some(0), Some(1), Some(0)));
    assert_eq!(states("c"), (0, Some(0), Some(0), Some(0)));
    assert!(
        seen["a"].longest_seconds.is_some_and(|s| s > 0.02 && s < 600.0),
        "{seen:?}"
    );
    assert!(seen["a"].longest_transaction_seconds.is_some_and(|s| s > 0.0));
    assert!(seen["a"].longest_transaction_seconds <= seen["a"].longest_seconds);
    assert_eq!(seen["b"].longest_transaction_seconds, None);
    assert_eq!(
        (seen["c"].longest_seconds, seen["c"].longest_transaction_seconds),
        (None, None)
    );
    assert!(fleet.unknown.is_empty(), "{:?}", fleet.unknown);
    assert!(fleet.cluster.connections >= 8 && fleet.cluster.connections < fleet.cluster.max_connections);
    // Without pg_monitor, that they are there is known and what they do is not.
    let lesser = lesser(&db);
    let fleet = measure(&lesser, &options(Sizes::None));
    let hidden = by_id(&fleet, |t| t.performance.connections);
    assert_eq!(
        (hidden["a"].total, hidden["a"].active, hidden["a"].idle),
        (7, None, None)
    );
    assert_eq!(hidden["a"].longest_seconds, None);
    assert_eq!((hidden["c"].total, hidden["c"].active), (0, Some(0)));
    assert_eq!(by_id(&fleet, |t| t.limits["connections"].used)["a"], Some(7.0));
    says(
        &fleet,
        &[
            "what the tenants' sessions do is hidden",
            "GRANT pg_monitor TO \"lesser",
        ],
    );
    let role = lesser.split("//").nth(1).unwrap().split(':').next().unwrap();
    db.sql(&format!("GRANT pg_monitor TO {role}"));
    assert_eq!(
        by_id(&measure(&lesser, &options(Sizes::None)), |t| t
            .performance
            .connections
            .active)["a"],
        Some(1)
    );
    drop((idle, open, other));
}

/// A role's connection limit holds for all databases of the cluster together.
#[test]
fn sessions_in_other_databases_count_against_the_limit() {
    let db = Db::initialized();
    let made = db.provision(&["a"]);
    let elsewhere = crate::support::unique("elsewhere");
    db.sql(&format!("CREATE DATABASE {elsewhere}"));
    db.sql(&format!("GRANT CONNECT ON DATABASE {elsewhere} TO {}", made[0].role));
    let url = tenant_url(&db, &made[0]);
    let other = url.replace(&format!("/{}", db.name), &format!("/{elsewhere}"));
    let held = [
        hold(&url, "SELECT 1"),
        hold(&other, "SELECT 1"),
        hold(&other, "SELECT 1"),
    ];
    let fleet = measure(&db.url, &options(Sizes::None));
    let seen = by_id(&fleet, |t| t.performance.connections)["a"];
    assert_eq!((seen.total, seen.idle, seen.elsewhere), (1, Some(1), 2));
    assert_eq!(by_id(&fleet, |t| t.limits["connections"].used)["a"], Some(3.0));
    drop(held);
    db.sql(&format!("DROP DATABASE {elsewhere} WITH (FORCE)"));
}

#[test]
fn statements_are_their_roles() {
    let db = counted();
    let made = db.provision(&["a", "b", "c"]);
    let fleet = measure(&db.url, &options(Sizes::None));
    assert!(fleet.tenants.iter().all(|t| t.performance.top_queries.is_none()) && fleet.unknown.is_empty());
    // Not where anybody would look for it, and somebody else's function where everybody would.
    db.sql(
        "CREATE SCHEMA \"odd one\"; CREATE EXTENSION pg_stat_statements SCHEMA \"odd one\";
         CREATE FUNCTION public.pg_stat_statements(boolean) RETURNS int LANGUAGE sql AS 'SELECT 1/0'",
    );
    fill(&db, &made[0], 2, 2, 3);
    let ask = |made: &crate::support::Made, times: u32, text: &str| {
        let held = hold(&tenant_url(&db, made), "SELECT 1");
        (0..times).for_each(|_| held.run(text));
    };
    ask(&made[0], 7, "SELECT count(*) FROM trades WHERE quantity > 5");
    ask(&made[0], 2, "SELECT id FROM portfolios");
    ask(&made[1], 4, "SELECT count(*) FROM trades WHERE quantity > 99");
    ask(&made[1], 3, "/* why */ WITH t AS (SELECT 1 AS n) SELECT n FROM t");
    // The same text by somebody else is nobody's.
    db.sql(&format!(
        "SELECT count(*) FROM {}.trades WHERE quantity > 5",
        made[0].schema
    ));
    let mut named = options(Sizes::None);
    named.query_texts = true;
    let fleet = measure(&db.url, &named);
    let top = by_id(&fleet, |t| t.performance.top_queries.clone().unwrap());
    let calls = |id: &str, part: &str| -> Vec<(u64, u64)> {
        let of = top[id]
            .iter()
            .filter(|q| q.query.as_deref().is_some_and(|text| text.contains(part)));
        of.map(|q| (q.calls, q.rows_returned)).collect()
    };
    assert_eq!(calls("a", "FROM trades WHERE quantity"), [(7, 7)]);
    assert_eq!(calls("a", "SELECT id FROM portfolios"), [(2, 4)]);
    assert_eq!(calls("b", "FROM trades WHERE quantity"), [(4, 4)]);
    assert_eq!(calls("b", "FROM portfolios"), []);
    assert!(top["c"].is_empty(), "{:?}", top["c"]);
    for queries in top.values() {
        assert!(queries.windows(2).all(|w| w[0].total_time_ms >= w[1].total_time_ms));
        assert!(
            queries
                .iter()
                .all(|q| (q.mean_time_ms * q.calls as f64 - q.total_time_ms).abs() < 1e-6)
        );
    }
    let mut few = options(Sizes::None);
    few.top_queries = 1;
    let fleet = measure(&db.url, &few);
    let first = by_id(&fleet, |t| t.performance.top_queries.clone().unwrap());
    assert_eq!((first["a"].len(), first["c"].len()), (1, 0));
    assert!(first["a"][0].query.is_none(), "texts are for tenants that are named");
    // What differences are taken of, and the kinds.
    let (counted, kinds) = with_session(&db.url, async |session| {
        let counted = counters(&session).await.unwrap().unwrap();
        let ids: Vec<i64> = counted.iter().map(|c| c.queryid).collect();
        let kinds = types(&session, &ids).await.unwrap();
        (counted, kinds)
    });
    let of_b: u64 = counted
        .iter()
        .filter(|c| c.role == made[1].role && kinds[&c.queryid] == "select")
        .map(|c| c.calls)
        .sum();
    // One is the first of each held session.
    assert_eq!(of_b, 4 + 3 + 2);
    assert!(
        counted
            .iter()
            .any(|c| c.role == made[0].role && kinds[&c.queryid] == "insert")
    );
    // Who may not see others' statements is told so.
    let lesser = lesser(&db);
    let fleet = measure(&lesser, &options(Sizes::None));
    assert!(fleet.tenants.iter().all(|t| t.performance.top_queries.is_none()));
    says(&fleet, &["top queries are unknown", "may not use the schema"]);
    db.sql("GRANT USAGE ON SCHEMA \"odd one\" TO tenantctl_owner");
    says(
        &measure(&lesser, &options(Sizes::None)),
        &["top queries are unknown", "GRANT pg_monitor TO"],
    );
    // Installed and not loaded: said, and no error.
    let db = Db::initialized();
    db.provision(&["a"]);
    db.sql("CREATE EXTENSION pg_stat_statements");
    let fleet = measure(&db.url, &options(Sizes::None));
    says(&fleet, &["top queries are unknown", "shared_preload_libraries"]);
    assert!(fleet.tenants[0].performance.top_queries.is_none());
    with_session(&db.url, async |session| {
        assert!(counters(&session).await.unwrap().is_none());
        assert!(types(&session, &[1]).await.unwrap().is_empty());
    });
}

/// A backup row as `backup` leaves it, so many hours old.
fn backed_up(db: &Db, id: &str, tenant: &str, schema: &str, kind: &str, status: &str, hours: f64) {
    db.sql(&format!(
        "INSERT INTO tenantctl.backups (backup_id, tenant_id, schema_name, backup_type, store, key, status, created_at, expires_at,
            raw_bytes, stored_bytes, rows, manifest_sha256, tool_version)
         VALUES ('{id}', '{tenant}', '{schema}', '{kind}', 'file:///x', 'k', '{status}', now() - interval '1 hour' * {hours}, now() + interval '1 day',
            1, 1, 1, repeat('0', 64), '1')"
    ));
}

#[test]
fn backups_are_the_newest_good_ones() {
    let db = Db::initialized();
    let made = db.provision(&["a", "b", "c"]);
    let schema = |id: &str| made.iter().find(|m| m.id == id).unwrap().schema.clone();
    db.sql("UPDATE tenantctl.tenants SET created_at = now() - interval '10 days' WHERE tenant_id = 'a'");
    backed_up(&db, "a1", "a", &schema("a"), "scheduled", "done", 50.0);
    backed_up(&db, "a2", "a", &schema("a"), "scheduled", "done", 5.0);
    backed_up(&db, "a3", "a", &schema("a"), "monthly", "done", 200.0);
    backed_up(&db, "a4", "a", &schema("a"), "weekly", "failed", 1.0);
    backed_up(&db, "a5", "a", &schema("a"), "manual", "running", 0.5);
    backed_up(&db, "b1", "b", &schema("b"), "manual", "done", 30.0);
    // Of another tenant that bore the name before.
    backed_up(&db, "c1", "c", "tenant_000000000000", "scheduled", "done", 2.0);
    let fleet = measure(&db.url, &options(Sizes::None));
    let backups = by_id(&fleet, |t| t.backup.clone());
    let hours = |seconds: f64, hours: f64| (seconds / 3600.0 - hours).abs() < 0.1;
    let a = &backups["a"];
    assert_eq!(a.backup_id.as_deref(), Some("a2"));
    assert!(a.created_at.as_deref().is_some_and(|t| t.ends_with('Z')));
    assert!(
        hours(a.age_seconds.unwrap(), 5.0) && hours(a.tenant_age_seconds, 240.0),
        "{a:?}"
    );
    assert_eq!(
        a.age_seconds_by_type.keys().collect::<Vec<_>>(),
        ["any", "monthly", "scheduled"]
    );
    for (kind, age) in [("any", 5.0), ("scheduled", 5.0), ("monthly", 200.0)] {
        assert!(hours(a.age_seconds_by_type[kind], age), "{kind}: {a:?}");
    }
    assert_eq!(backups["b"].backup_id.as_deref(), Some("b1"));
    assert_eq!(backups["b"].age_seconds_by_type.len(), 2);
    let c = &backups["c"];
    assert!(
        c.backup_id.is_none() && c.age_seconds.is_none() && c.age_seconds_by_type.is_empty(),
        "{c:?}"
    );
    assert!(c.tenant_age_seconds < 600.0);
}

fn operation(db: &Db, operation: &str, tenant: Option<&str>, failed: Option<&str>, hours: f64) {
    let tenant = tenant.map_or("NULL".to_owned(), |t| format!("'{t}'"));
    let (status, error, severity, timeout) = match failed {
        Some(severity) => (
            "failed",
            "gen_random_uuid()".to_owned(),
            format!("'{severity}'"),
            "NULL",
        ),
        None => ("done", "NULL".to_owned(), "NULL".to_owned(), "1000"),
    };
    db.sql(&format!(
        "INSERT INTO tenantctl.operations (operation, tenant_id, status, started_at, finished_at, timeout_ms, error_id, severity, message, tool_version)
         VALUES ('{operation}', {tenant}, '{status}', now() - interval '1 hour' * {hours}, now() - interval '1 hour' * {hours}, {timeout}, {error}, {severity},
            'because of {hours}', '1')"
    ));
}

#[test]
fn failures_count_until_they_are_made_good() {
    let db = Db::initialized();
    let made = db.provision(&["there", "behind"]);
    db.sql("UPDATE tenantctl.tenants SET created_at = now() - interval '9 days'");
    db.sql("UPDATE tenantctl.operations SET started_at = started_at - interval '9 days', finished_at = finished_at - interval '9 days'");
    let schema = |id: &str| made.iter().find(|m| m.id == id).unwrap().schema.clone();
    // Failed twice: the later counts.
    operation(&db, "provision", Some("never"), Some("error"), 3.0);
    operation(&db, "provision", Some("never"), Some("critical"), 2.0);
    operation(&db, "provision", Some("long-ago"), Some("error"), 30.0);
    operation(&db, "provision", Some("there"), Some("warning"), 1.0);
    operation(&db, "provision", Some("made-and-dropped"), Some("error"), 6.0);
    operation(&db, "provision", Some("made-and-dropped"), None, 5.0);
    operation(&db, "provision", Some("there"), Some("error"), 4.0);
    operation(&db, "backup", Some("behind"), Some("error"), 2.5);
    backed_up(&db, "x1", "behind", &schema("behind"), "scheduled", "done", 8.0);
    operation(&db, "backup", Some("there"), Some("error"), 7.0);
    backed_up(&db, "x2", "there", &schema("there"), "scheduled", "done", 6.5);
    operation(&db, "backup", Some("dropped"), Some("error"), 1.0);
    operation(&db, "backup", None, Some("error"), 9.0);
    operation(&db, "drop", Some("there"), Some("error"), 1.0);
    let failures = |hours: u32| {
        let mut options = options(Sizes::None);
        options.failed_operations_hours = hours;
        let fleet = measure(&db.url, &options);
        let found = fleet.cluster.failures.into_iter();
        found
            .map(|f| {
                assert!(f.error_id.is_some() && f.message.starts_with("because of"), "{f:?}");
                (
                    f.operation,
                    f.tenant_id.unwrap_or_default(),
                    (f.age_seconds / 360.0).round() / 10.0,
                )
            })
            .collect::<Vec<_>>()
    };
    let text = |list: &[(&str, &str, f64)]| -> Vec<(String, String, f64)> {
        list.iter()
            .map(|(o, t, h)| ((*o).to_owned(), (*t).to_owned(), *h))
            .collect()
    };
    assert_eq!(
        failures(24),
        text(&[
            ("provision", "never", 2.0),
            ("backup", "behind", 2.5),
            ("backup", "", 9.0)
        ])
    );
    assert_eq!(failures(48).last(), text(&[("provision", "long-ago", 30.0)]).last());
    assert_eq!(failures(1), []);
    // Made good.
    backed_up(&db, "x3", "behind", &schema("behind"), "scheduled", "done", 0.1);
    operation(&db, "backup", Some("behind"), None, 0.1);
    db.provision(&["never"]);
    assert_eq!(failures(24), []);
}

#[test]
fn standbys_are_told_with_their_lag() {
    let primary = start(&tenantctl::cluster::Options {
        settings: fast(),
        ..Default::default()
    });
    let db = Db::on(&primary);
    db.run(&["init"]).success();
    let made = db.provision(&["a", "b"]);
    fill(&db, &made[0], 2, 2, 2);
    let alone = measure(&db.url, &options(Sizes::Exact));
    assert!(alone.cluster.standbys.is_empty() && !alone.cluster.in_recovery);
    assert_eq!(alone.cluster.database, db.name);
    let standby = primary.standby().unwrap();
    let measured = || measure(&db.url, &options(Sizes::None)).cluster.standbys;
    wait_for("the standby to be level", || {
        let seen = measured();
        seen.len() == 1 && seen[0].state.as_deref() == Some("streaming") && seen[0].lag_bytes == Some(0)
    });
    let level = measured().remove(0);
    assert_eq!((level.name.as_str(), level.lag_ms), ("walreceiver", Some(0.0)));
    assert_eq!(level.address, None, "it came in through the socket");
    // On the standby itself, the figures are the same.
    let replica = standby.url("postgres", &db.name);
    let there = measure(&replica, &options(Sizes::Exact));
    assert!(there.cluster.in_recovery && there.cluster.standbys.is_empty());
    // What a standby does not count is not 0.
    assert!(there.tenants.iter().all(|t| t.database.total_rows.is_none()));
    assert!(alone.tenants.iter().all(|t| t.database.total_rows.is_some()));
    says(
        &there,
        &["the number of rows is unknown", "a standby keeps no statistics"],
    );
    let estimate = measure(&replica, &options(Sizes::Estimate));
    says(
        &estimate,
        &["estimated sizes leave out tables that were never vacuumed or analysed"],
    );
    assert_eq!(super::sizes_of(&there), super::sizes_of(&alone));
    // But what the server counts: a standby has counted nothing.
    assert!(alone.tenants.iter().all(|t| t.database.total_rows.is_some()));
    assert!(there.tenants.iter().all(|t| t.database.total_rows.is_none()));
    says(&there, &["number of rows is unknown", "standby"]);
    assert_eq!(
        by_id(&there, |t| t.limits["portfolios"].used),
        by_id(&alone, |t| t.limits["portfolios"].used)
    );
    // Of one that nothing is sent to any more, the server knows no lag.
    wait_for("the last lag to be forgotten", || {
        db.value("SELECT replay_lag IS NULL AND replay_lsn = pg_current_wal_lsn() FROM pg_stat_replication") == "t"
    });
    let sender = db.value("SELECT pid FROM pg_stat_replication");
    let signal = |name: &str| {
        let sent = std::process::Command::new("kill")
            .args([name, &sender])
            .status()
            .unwrap();
        assert!(sent.success());
    };
    signal("-STOP");
    db.sql("CREATE TABLE public.some AS SELECT n FROM generate_series(1, 100000) n");
    let stuck = measured();
    signal("-CONT");
    assert!(stuck[0].lag_bytes > Some(1_000_000), "{stuck:?}");
    assert_eq!(stuck[0].lag_ms, None, "{stuck:?}");
    // One that does not replay falls behind.
    sql(&replica, "SELECT pg_wal_replay_pause()").unwrap();
    db.sql("CREATE TABLE public.much AS SELECT n FROM generate_series(1, 100000) n");
    wait_for("the lag", || {
        measured().first().is_some_and(|s| s.lag_bytes > Some(1_000_000))
    });
    assert_ne!(measured()[0].lag_ms, Some(0.0));
    // A login that may not see that is told so.
    let fleet = measure(&lesser(&db), &options(Sizes::None));
    let hidden = &fleet.cluster.standbys[0];
    assert_eq!(
        (hidden.state.as_deref(), hidden.lag_bytes, hidden.lag_ms),
        (None, None, None)
    );
    says(&fleet, &["how far the standbys are is hidden", "GRANT pg_monitor"]);
    drop(standby);
    wait_for("the standby to be gone", || measured().is_empty());
}

/// All tenants together take as many queries as one does, but for batches.
#[test]
fn the_number_of_queries_does_not_grow() {
    let db = counted();
    db.sql("CREATE EXTENSION pg_stat_statements");
    // A login of the test's own, as others run in this cluster too; a superuser's sessions would keep out of the statistics.
    let url = lesser(&db);
    let admin = url.split("//").nth(1).unwrap().split(':').next().unwrap().to_owned();
    db.sql(&format!(
        "GRANT pg_monitor TO {admin}; ALTER ROLE {admin} BYPASSRLS;
         GRANT EXECUTE ON FUNCTION pg_ls_dir(text), pg_stat_file(text, boolean) TO {admin}"
    ));
    let queries = || -> u64 {
        let count = "SELECT COALESCE(sum(calls), 0) FROM pg_stat_statements(true) s JOIN pg_roles r ON r.oid = s.userid
            WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
        db.value(&format!("{count} AND rolname = '{admin}'")).parse().unwrap()
    };
    let ids: Vec<String> = (0..12).map(|n| format!("t{n}")).collect();
    db.provision(&["first"]);
    let mut cost = Vec::new();
    for round in 0..2 {
        for sizes in [Sizes::Exact, Sizes::Functions, Sizes::Estimate] {
            let all = rows(&url);
            assert_eq!(all.len(), 1 + 12 * round);
            let before = queries();
            let fleet = super::measure_rows(&url, &all, &options(sizes));
            assert!(fleet.unknown.is_empty(), "{:?}", fleet.unknown);
            cost.push(queries() - before);
        }
        if round == 0 {
            let mut args: Vec<&str> = ids.iter().map(String::as_str).collect();
            args.extend(["--jobs", "2"]);
            db.provision(&args);
        }
    }
    assert!(cost[0] > 5, "{cost:?}");
    // A superuser leaves nothing but what the caller's own session asks.
    db.sql("SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = current_database()");
    measure(&db.url, &options(Sizes::Exact));
    let left = "SELECT count(*) FROM pg_stat_statements(true) WHERE query LIKE '%tenant_usage%' AND query NOT LIKE '%pg_stat_statements%'
        AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())";
    assert_eq!(db.value(left), "0");
    assert_eq!(cost[..3], cost[3..], "queries for one tenant, and for thirteen");
}
