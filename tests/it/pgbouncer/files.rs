//! The files: what is written, refused, loaded.

use std::os::unix::fs::PermissionsExt;

use super::place;
use crate::support::pgbouncer::PgBouncer;
use crate::support::{sql, wait_for};

#[test]
fn files_are_printed_written_and_compared() {
    let (cluster, db, made) = place(2);
    PgBouncer::configure(
        &db,
        &cluster,
        6432,
        "",
        "",
        "cluster: {replicas: ['host=replica1 port=5433 dbname=shop']}\n",
    );
    let printed = db.run(&["pgbouncer", "--pgbouncer-version", "1.25.2"]).success();
    let text = printed.stdout();
    for line in [
        "shop_replica1 = host=replica1 port=5433 dbname=shop",
        "auth_type = scram-sha-256",
        "default_pool_size = 25",
        "max_client_conn = 5000",
        &format!("{} = max_user_connections=25", made[0].role),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} not in {text}");
    }
    assert!(
        printed.stderr().contains("--setup"),
        "there is no lookup yet: {}",
        printed.stderr()
    );
    let old = db
        .run(&["pgbouncer", "--pgbouncer-version", "1.18.0"])
        .success()
        .stdout();
    assert!(
        !old.contains(&made[0].role) && old.contains("max_user_connections = 25"),
        "{old}"
    );

    let out = db.dir.join("conf");
    let path = out.to_str().unwrap();
    let args = [
        "-o",
        "json",
        "pgbouncer",
        "--pgbouncer-version",
        "1.25.2",
        "--setup",
        "--out",
        path,
    ];
    let dry = db.run(&[&args[2..], &["--dry-run"]].concat()).success().stdout();
    assert!(dry.contains("+auth_type = scram-sha-256") && !out.exists(), "{dry}");
    let statuses = |json: &serde_json::Value| -> Vec<String> {
        json["files"]
            .as_array()
            .unwrap()
            .iter()
            .map(|f| f["status"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        statuses(&db.run(&args).success().json()),
        ["created", "created", "created"]
    );
    let mode = |name: &str| out.join(name).metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(
        (mode("pgbouncer.ini"), mode("tenantctl_users.ini"), mode("userlist.txt")),
        (0o640, 0o640, 0o600)
    );
    db.provision(&["c"]);
    let json = db.run(&args).success().json();
    assert_eq!(statuses(&json), ["unchanged", "changed", "unchanged"]);
    assert_eq!(
        (&json["files"][1]["added"], &json["files"][1]["removed"]),
        (&1.into(), &0.into())
    );
    assert_eq!(
        std::fs::read_dir(&out).unwrap().count(),
        3,
        "nothing half-written is left"
    );
}

#[test]
fn what_is_unsafe_is_neither_written_nor_loaded() {
    let (cluster, db, made) = place(1);
    let out = db.dir.join("conf");
    let path = out.to_str().unwrap();
    for (keys, settings, version, says) in [
        ("  pool_mode: statement\n", "", "1.18.0", "statement pooling is refused"),
        (
            "",
            "    server_reset_query: ''\n",
            "1.18.0",
            "server_reset_query must be DISCARD ALL",
        ),
        (
            "",
            "    ignore_startup_parameters: extra_float_digits, search_path\n",
            "1.18.0",
            "must not have search_path",
        ),
        (
            "",
            "    track_extra_parameters: search_path\n",
            "1.25.0",
            "CVE-2025-12819",
        ),
        (
            "",
            "    ignore_startup_parameters: extra_float_digits\n",
            "1.25.2",
            "CVE-2026-107349",
        ),
        ("", "    auth_query: SELECT 1\n", "1.25.2", "not yours to set"),
        ("", "    auth_typ: md5\n", "1.25.2", "no setting auth_typ"),
        ("", "", "1.16.0", "CVE-2021-3935"),
        ("  pool_size_by_tier: {gold: 5}\n", "", "1.25.2", "tier \"gold\""),
        ("", "", "soon", "is no version of PgBouncer"),
    ] {
        PgBouncer::configure(&db, &cluster, 6432, keys, settings, "");
        db.run(&["pgbouncer", "--out", path, "--pgbouncer-version", version])
            .exits(2)
            .says(&[says]);
        assert!(!out.exists(), "{says}");
    }
    PgBouncer::configure(&db, &cluster, 6432, "", "", "");
    std::fs::create_dir(&out).unwrap();
    std::fs::write(out.join("userlist.txt"), format!("\"{}\" \"x\"\n", made[0].role)).unwrap();
    db.run(&["pgbouncer", "--out", path])
        .exits(2)
        .says(&["holds a password of", &made[0].role]);
    std::fs::remove_file(out.join("userlist.txt")).unwrap();
    db.run(&["pgbouncer", "--out", path])
        .success()
        .says(&["no password with which tenantctl_pooler can log in"]);
    assert!(!out.join("userlist.txt").exists());
    db.run(&["pgbouncer", "--out", "/proc/nowhere"]).exits(5);
}

#[test]
fn a_running_pgbouncer_reloads_what_was_written() {
    let (cluster, db, made) = place(1);
    let Some(pooler) = PgBouncer::start(&db, &cluster, "", "", "") else {
        return;
    };
    let path = pooler.dir.to_str().unwrap();
    let reload = || {
        let mut command = db.command(&["-o", "json", "pgbouncer", "--out", path, "--reload"]);
        command.command.env("TENANTCTL_PGBOUNCER_URL", pooler.console());
        command.finish()
    };
    let show = |setting: &str| {
        let rows = sql(&pooler.console(), "SHOW CONFIG").unwrap();
        rows.into_iter().find(|row| row[0] == setting).unwrap()[1].clone()
    };
    let json = reload().success().json();
    assert_eq!(
        (&json["reloaded"], &json["needs_restart"]),
        (&true.into(), &serde_json::json!([])),
        "{json}"
    );
    let session = crate::support::hold(&pooler.url(&made[0]), "SELECT 1");
    PgBouncer::configure(
        &db,
        &cluster,
        pooler.port,
        "  default_pool_size: 7\n",
        "    query_wait_timeout: 33\n",
        "",
    );
    let json = reload().success().json();
    assert_eq!(
        (show("default_pool_size"), show("query_wait_timeout")),
        ("7".into(), "33".into())
    );
    assert_eq!(json["reloaded"], true);
    session.run("SELECT 1");
    // What takes a restart is said.
    PgBouncer::configure(&db, &cluster, pooler.port, "", "    listen_backlog: 99\n", "");
    let json = reload().success().json();
    let later = &json["needs_restart"][0];
    assert_eq!(
        (&later["what"], &later["written"], &later["running"]),
        (&"listen_backlog".into(), &"99".into(), &"128".into()),
        "{json}"
    );
    // What is unsafe never gets there.
    PgBouncer::configure(&db, &cluster, pooler.port, "", "    server_reset_query: ''\n", "");
    reload().exits(2).says(&["server_reset_query must be DISCARD ALL"]);
    assert_eq!(show("server_reset_query"), "DISCARD ALL");
    // It is asked which file it reads, and afterwards whether it has.
    PgBouncer::configure(&db, &cluster, pooler.port, "", "", "");
    let elsewhere = db.dir.join("elsewhere");
    let mut command = db.command(&["pgbouncer", "--out", elsewhere.to_str().unwrap(), "--reload"]);
    command.command.env("TENANTCTL_PGBOUNCER_URL", pooler.console());
    command.finish().exits(2).says(&["the running PgBouncer reads"]);
    assert!(!elsewhere.exists());
    PgBouncer::configure(
        &db,
        &cluster,
        pooler.port,
        "  default_pool_size: 9\n",
        "    server_tls_sslmode: nonsense\n",
        "",
    );
    let failed = reload();
    assert_eq!(
        failed.0.status.code(),
        Some(4),
        "{} {}",
        failed.stdout(),
        failed.stderr()
    );
    assert!(
        failed
            .stderr()
            .contains("The files of before are in their places again"),
        "{}",
        failed.stderr()
    );
    let runs = ["server_tls_sslmode", "default_pool_size", "auth_type"].map(show);
    assert_eq!(runs, ["prefer", "25", "scram-sha-256"], "it goes on with what it had");
    let ini = std::fs::read_to_string(pooler.dir.join("pgbouncer.ini")).unwrap();
    assert!(!ini.contains("nonsense"), "{ini}");
    // Whoever may not is refused, with what to do.
    PgBouncer::configure(&db, &cluster, pooler.port, "", "", "");
    let mut command = db.command(&["pgbouncer", "--out", path, "--reload"]);
    let wrong = pooler.console().replace("ops:s3cret", "ops:wrong");
    command.command.env("TENANTCTL_PGBOUNCER_URL", &wrong);
    let run = command
        .finish()
        .exits(3)
        .says(&["cannot reach the admin console", "--admin-url"]);
    assert!(!run.stderr().contains("ops:wrong"), "{}", run.stderr());
    wait_for("the tenant", || sql(&pooler.url(&made[0]), "SELECT 1").is_ok());
}

/// Tenants read from a standby by an entry of its own, with the same passwords.
#[test]
fn tenants_read_from_a_standby() {
    let (cluster, db, made) = place(1);
    let standby = cluster.standby().unwrap();
    let replicas = format!(
        "cluster: {{replicas: ['host={} port={} dbname={}']}}\n",
        standby.dir().display(),
        standby.port(),
        db.name
    );
    let Some(pooler) = PgBouncer::start(&db, &cluster, "", "", &replicas) else {
        return;
    };
    sql(
        &pooler.url(&made[0]),
        "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'copied')",
    )
    .unwrap();
    let replica = pooler.url(&made[0]).replace("/shop?", "/shop_replica1?");
    wait_for("the copy", || {
        sql(&replica, "SELECT name FROM portfolios").is_ok_and(|rows| rows == [["copied"]])
    });
    assert_eq!(sql(&replica, "SELECT pg_is_in_recovery()").unwrap()[0][0], "t");
    let refused = sql(&replica, "DELETE FROM portfolios").expect_err("a standby");
    assert!(refused.starts_with("25006"), "{refused}");
}

/// Whatever the umask, nobody else can put files into a folder that is made.
#[test]
fn a_folder_is_made_for_its_owner_to_write_into() {
    let (cluster, db, _) = place(1);
    let script = format!(
        "umask 000; exec {} --database-url '{}' pgbouncer --setup --out conf/pooler",
        env!("CARGO_BIN_EXE_tenantctl"),
        db.url
    );
    let done = std::process::Command::new("sh")
        .args(["-c", &script])
        .current_dir(&db.dir)
        .output()
        .unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let mode = |path: &str| std::fs::metadata(db.dir.join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("conf"), mode("conf/pooler")), (0o755, 0o755));
    assert_eq!(mode("conf/pooler/userlist.txt"), 0o600);
    drop(cluster);
}
