//! What comes with the years: releases that are not the latest, versions that have ended, ids that run out.

use std::os::unix::process::CommandExt;
use std::process::Command;

use tenantctl::cluster::Cluster;

use super::{has, of, own, passes, preflight};
use crate::support::{Db, server_account, sql};

/// Puts a function of the system's own catalog aside in this database, and another in its place.
fn replace(db: &Db, signature: &str, returns: &str, body: &str) {
    let name = signature.split('(').next().unwrap();
    db.sql(&format!(
        "SET allow_system_table_mods = on;
         ALTER FUNCTION pg_catalog.{signature} RENAME TO {name}_itself;
         CREATE FUNCTION pg_catalog.{signature} RETURNS {returns} LANGUAGE sql STABLE AS $${body}$$"
    ));
}

/// From now on the server says that it is this version.
fn says_version(db: &Db, number: u32, text: &str) {
    db.sql(&format!(
        "CREATE OR REPLACE FUNCTION pg_catalog.current_setting(text) RETURNS text LANGUAGE sql STABLE AS $$
            SELECT CASE $1 WHEN 'server_version_num' THEN '{number}' WHEN 'server_version' THEN '{text}'
                ELSE pg_catalog.current_setting_itself($1) END $$"
    ));
}

#[test]
fn old_releases_and_versions_that_end_are_told() {
    let db = Db::new();
    let major: u32 = db.value("SHOW server_version_num").parse::<u32>().unwrap() / 10_000;
    replace(
        &db,
        "current_setting(text)",
        "text",
        "SELECT pg_catalog.current_setting_itself($1)",
    );
    // The newest there can be of this major version, so that the minor release is none of the known old ones.
    says_version(&db, major * 10_000 + 99, &format!("{major}.99"));
    let json = preflight(&db, "server_version", &[]);
    has(
        &json,
        "server_version",
        "PASS",
        &format!("PostgreSQL {major}.99, mended until "),
    );
    let said = of(&json, "server_version").remove(0);
    let (_, after) = said.split_once("mended until ").unwrap();
    let end = after.split(';').next().unwrap().to_owned();

    says_version(&db, major * 10_000 + 1, &format!("{major}.1 (Debian)"));
    has(
        &preflight(&db, "server_version", &[]),
        "server_version",
        "WARN",
        &format!("{major}.1 is older than {major}."),
    );
    says_version(&db, 990_001, "99.1");
    has(
        &preflight(&db, "server_version", &[]),
        "server_version",
        "WARN",
        "99.1 is newer than this tenantctl",
    );
    says_version(&db, 140_011, "14.11");
    db.run(&["validate", "--preflight", "--check", "server_version"])
        .exits(4)
        .says(&["PostgreSQL 14.11 is too old"]);

    // The years pass.
    says_version(&db, major * 10_000 + 99, &format!("{major}.99"));
    replace(&db, "now()", "timestamptz", "SELECT pg_catalog.now_itself()");
    let clock = |days: i32| {
        db.sql(&format!(
            "CREATE OR REPLACE FUNCTION pg_catalog.now() RETURNS timestamptz LANGUAGE sql STABLE AS $$
                SELECT TIMESTAMPTZ '{end} 12:00+00' + INTERVAL '{days} days' $$"
        ));
        preflight(&db, "server_version", &[])
    };
    passes(&clock(-200), "server_version");
    has(&clock(0), "server_version", "WARN", &format!("mended until {end} only"));
    let over = clock(1);
    has(&over, "server_version", "FAIL", &format!("not been mended since {end}"));
    // That the minor release is old as well is the lesser of the two.
    says_version(&db, major * 10_000 + 1, &format!("{major}.1"));
    has(
        &clock(1),
        "server_version",
        "FAIL",
        &format!("not been mended since {end}"),
    );
}

/// A number that begins a file of the commit log, of 1,048,576 transactions each.
const fn segment(number: u32) -> u32 {
    number << 20
}

/// Stops the server and has it go on with these ids, as if as many had been used; then starts it again.
fn use_up(cluster: &Cluster, transactions: u32, multixacts: u32) {
    crate::support::sql(&cluster.url("postgres", "postgres"), "CHECKPOINT").unwrap();
    cluster.stop().unwrap();
    let mut command = Command::new(cluster.binaries().program("pg_resetwal"));
    command
        .args(["-f", "-x", &transactions.to_string()])
        .args(["-m", &format!("{multixacts},1"), "-D"])
        .arg(cluster.data())
        .current_dir("/");
    if let Some((uid, gid)) = server_account() {
        command.uid(uid).gid(gid);
    }
    let done = command.output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    // What they did to their rows is asked for where they are.
    let page = |folder: &str, segment: u32| {
        let zeros = "\0".repeat(32 * 8192);
        cluster.write(&format!("{folder}/{segment:04X}"), &zeros).unwrap();
    };
    page("pg_xact", transactions >> 20);
    // 2,048 multixacts a page, 32 pages a file.
    page("pg_multixact/offsets", multixacts >> 16);
    cluster.restart().unwrap();
}

#[test]
fn ids_that_run_out_are_told_and_the_advice_makes_room() {
    // With its own limits autovacuum would be at work before anybody could look.
    let cluster = own(&[
        "fsync = off",
        "autovacuum_freeze_max_age = 2000000000",
        "autovacuum_multixact_freeze_max_age = 2000000000",
    ]);
    let db = Db::on(&cluster);
    passes(&preflight(&db, "autovacuum", &[]), "autovacuum");

    use_up(&cluster, segment(0x4B0), 1200 << 20);
    let json = preflight(&db, "autovacuum", &[]);
    has(&json, "autovacuum", "FAIL transaction ids", "59 % of what there are");
    has(&json, "autovacuum", "FAIL multixact ids", "reach back 1,258,");
    let mut looked_at = Vec::new();
    while let Some(remedy) = advised(&preflight(&db, "autovacuum", &[])) {
        let (_, after) = remedy.split_once("VACUUM (FREEZE) in ").unwrap();
        let database = after.split('.').next().unwrap().to_owned();
        assert!(!looked_at.contains(&database), "{remedy}");
        let doors: Vec<&str> = remedy
            .match_indices("ALTER DATABASE")
            .map(|(at, _)| remedy[at..].split(';').next().unwrap())
            .collect();
        if let Some(open) = doors.first() {
            db.sql(open);
        }
        sql(&cluster.url("postgres", &database), "VACUUM (FREEZE)").unwrap();
        if let Some(shut) = doors.get(1) {
            db.sql(shut);
        }
        looked_at.push(database);
    }
    assert_eq!(looked_at.last().unwrap(), "template0", "the one that lets nobody in");
    passes(&preflight(&db, "autovacuum", &[]), "autovacuum");

    // The usual limits, and an autovacuum that is far too slow.
    cluster
        .append(
            "postgresql.conf",
            "autovacuum_freeze_max_age = 200000000
autovacuum_multixact_freeze_max_age = 400000000
autovacuum_vacuum_cost_delay = 100ms
autovacuum_vacuum_cost_limit = 1",
        )
        .unwrap();
    use_up(&cluster, segment(0x4B0 + 0xF0), 1650 << 20);
    let json = preflight(&db, "autovacuum", &[]);
    has(&json, "autovacuum", "WARN transaction ids", "reach back 251,");
    has(&json, "autovacuum", "WARN multixact ids", "reach back 471,");
}

/// The first remedy.
fn advised(json: &serde_json::Value) -> Option<String> {
    let items = json["checks"].as_array().unwrap();
    let item = items.iter().find(|item| item["status"] != "PASS")?;
    Some(item["remedy"].as_str().unwrap().to_owned())
}
