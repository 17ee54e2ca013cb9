//! A primary with two streaming standbys: what reads them, what tells of them, and what goes on after a failover to one.

use std::process::Stdio;

use serde_json::Value;
use tenantctl::cluster::{Cluster, Options};
use tenantctl::pg::conninfo::ConnInfo;
use tenantctl::pg::session::{Connector, SessionLimits};

use crate::exporter::{Serving, sample};
use crate::support::s3::{Action, Fault, S3Server};
use crate::support::{Cmd, Db, Made, Run, fast, hold, runtime, sql, start, wait_for};

/// A primary and its two standbys, `one` and `two`, and a database whose URL names all three, the primary last.
struct Trio {
    primary: Cluster,
    one: Cluster,
    two: Cluster,
    db: Db,
}

impl Trio {
    fn start() -> Self {
        let mut settings = fast();
        settings.push("wal_keep_size = 256MB".to_owned());
        // What a command has committed has been flushed, so that waiting for what is flushed is waiting for it.
        settings.push("synchronous_commit = on".to_owned());
        let primary = start(&Options {
            settings,
            ..Options::default()
        });
        let mut db = Db::on(&primary);
        let (one, two) = (primary.standby().unwrap(), primary.standby().unwrap());
        follow(&one, &primary, "one");
        follow(&two, &primary, "two");
        db.url = urls(&[&one, &two, &primary], &db.name);
        Self { primary, one, two, db }
    }

    fn url(&self, cluster: &Cluster) -> String {
        cluster.url(Cluster::SUPERUSER, &self.db.name)
    }

    /// Waits until both standbys have replayed all there is.
    fn level(&self) {
        for standby in [&self.one, &self.two] {
            level(&self.url(&self.primary), &self.url(standby));
        }
    }

    /// The policy of the commands run here: both standbys are expected, `lag` milliseconds are allowed.
    fn expect_standbys(&self, lag: u32) {
        let text = format!(
            "cluster: {{replicas: ['{}', '{}'], max_replica_lag_ms: {lag}}}\n",
            self.url(&self.one),
            self.url(&self.two)
        );
        std::fs::write(self.db.dir.join("tenant_templates.yaml"), text).unwrap();
    }

    /// The alerts of `metrics --all`, each as `type/object`, and the document that they are in.
    fn alerts(&self) -> (Vec<String>, Value) {
        let run = self.db.run(&["metrics", "--all", "-o", "json"]);
        assert!(matches!(run.0.status.code(), Some(0 | 1)), "{}", run.stderr());
        let json = run.json();
        let all = json["alerts"].as_array().unwrap().iter().map(|alert| {
            let text = |key: &str| alert[key].as_str().unwrap_or_default().to_owned();
            format!("{}/{}", text("type"), text("object"))
        });
        (all.collect(), json)
    }

    /// The first standby becomes the primary, after the old one has died.
    fn promote(&self) {
        let promoted = sql(&self.url(&self.one), "SELECT pg_promote(true, 60)").unwrap();
        assert_eq!(promoted[0][0], "t");
    }
}

/// A connection string with several hosts that says nothing of which it wants.
fn urls(clusters: &[&Cluster], database: &str) -> String {
    let hosts: Vec<_> = clusters.iter().map(|c| c.dir().display().to_string()).collect();
    format!(
        "host={} user=postgres dbname={database} sslmode=disable",
        hosts.join(",")
    )
}

/// Points a standby at another primary, under a name.
fn follow(standby: &Cluster, primary: &Cluster, name: &str) {
    let url = standby.url(Cluster::SUPERUSER, "postgres");
    let conninfo = format!(
        "host={} port={} user=postgres application_name={name}",
        primary.dir().display(),
        primary.port()
    );
    sql(&url, &format!("ALTER SYSTEM SET primary_conninfo = '{conninfo}'")).unwrap();
    sql(&url, "SELECT pg_reload_conf()").unwrap();
    let primary = primary.url(Cluster::SUPERUSER, "postgres");
    let seen =
        format!("SELECT count(*) FROM pg_stat_replication WHERE application_name = '{name}' AND state = 'streaming'");
    wait_for("the standby to stream", || sql(&primary, &seen).unwrap()[0][0] == "1");
}

/// Waits until a standby has replayed all that its primary has written.
fn level(primary: &str, standby: &str) {
    let here = sql(primary, "SELECT pg_current_wal_flush_lsn()").unwrap()[0][0].clone();
    let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{here}'");
    wait_for("the standby to be level", || {
        sql(standby, &replayed).unwrap()[0][0] == "t"
    });
}

fn rows(db: &Db, url: &str, made: &Made, count: u32) {
    let insert = format!(
        "INSERT INTO {}.market_data (symbol, timestamp, open, high, low, close, volume)
         SELECT 'A', now() - n * interval '1 minute', 1, 1, 1, 1, n FROM generate_series(1, {count}) n",
        made.schema
    );
    sql(url, &insert).unwrap_or_else(|e| panic!("{e} in {}", db.name));
}

/// A backup command with the store in a bucket.
fn backup(db: &Db, server: &S3Server, args: &[&str]) -> Cmd {
    let mut all = vec!["-o", "json", "backup"];
    all.extend(args);
    stored(db.command(&all), server)
}

fn stored(command: Cmd, server: &S3Server) -> Cmd {
    let command = server
        .environment()
        .iter()
        .fold(command, |c, (name, value)| c.env(name, value));
    command.env("TENANTCTL_STORE", &server.url("store"))
}

fn with(url: &str, args: &[&str]) -> Run {
    Cmd::new(args).env("DATABASE_URL", url).finish()
}

#[test]
fn writes_find_the_primary_and_reads_any_server() {
    let trio = Trio::start();
    let (db, name) = (&trio.db, &trio.db.name);
    // Two standbys stand before it.
    db.run(&["init"]).success();
    db.provision(&["acme", "globex", "initech", "--jobs", "3"]);
    db.run(&["secure", "acme"]).success();
    db.run(&[
        "validate",
        "--all",
        "--probe",
        "--skip",
        "minor_release",
        "--fail-on",
        "high",
    ]);
    let shown = db.run(&["metrics", "--all", "-o", "json"]).json();
    assert_eq!(shown["cluster"]["in_recovery"], false, "the primary is preferred");
    trio.level();
    // Where the connection string says which, reads go there: the proof holds on a standby, too.
    for attrs in ["standby", "read-only", "prefer-standby", "any"] {
        let url = format!("{} target_session_attrs={attrs}", db.url);
        let json = with(&url, &["metrics", "--all", "-o", "json", "--no-notify"]).json();
        assert_eq!(json["cluster"]["in_recovery"], true, "{attrs}");
        for args in [
            &["list"][..],
            &["show", "acme"],
            &["audit", "show", "acme"],
            &["backup", "list"],
            &["credentials", "list"],
        ] {
            with(&url, args).success();
        }
        let proof = with(
            &url,
            &[
                "validate",
                "--all",
                "-o",
                "json",
                "--skip",
                "minor_release",
                "--jobs",
                "4",
            ],
        )
        .json();
        let here = with(
            &trio.url(&trio.primary),
            &["validate", "--all", "-o", "json", "--skip", "minor_release"],
        )
        .json();
        assert_eq!(proof["tenants_checked"], 3, "{attrs}");
        assert_eq!(
            (&proof["findings"], &proof["unknown"]),
            (&here["findings"], &here["unknown"]),
            "{attrs}"
        );
    }
    for attrs in ["any", "prefer-standby", "read-write", "primary"] {
        with(
            &format!("{} target_session_attrs={attrs}", db.url),
            &["provision", &format!("by-{attrs}")],
        )
        .success();
    }
    // What cannot be is said before anything is tried.
    for attrs in ["standby", "read-only"] {
        with(
            &format!("{} target_session_attrs={attrs}", db.url),
            &["provision", "never"],
        )
        .exits(2)
        .says(&["takes writes", attrs, "hint:"]);
    }
    // No primary: every host is named with what it is. Reads go on.
    let standbys = urls(&[&trio.one, &trio.two], name);
    let places = [&trio.one, &trio.two].map(|c| c.dir().display().to_string());
    for args in [
        &["provision", "never"][..],
        &["init"],
        &["drop", "acme", "--yes"],
        &["backup", "verify", "--all"],
    ] {
        with(&standbys, args)
            .exits(3)
            .says(&["takes writes", "is a standby", &places[0], &places[1], "failover"]);
    }
    with(&standbys, &["list"]).success();
    with(&standbys, &["provision", "never", "--dry-run"]).exits(3);
    with(&standbys, &["drop", "acme", "--yes", "--dry-run"]).success();
    let nowhere = format!(
        "host=/nonexistent,{} user=postgres dbname={name} target_session_attrs=primary",
        places[0]
    );
    with(&nowhere, &["list"])
        .exits(3)
        .says(&["target_session_attrs=primary", "/nonexistent", "is a standby"]);
    with("host=/nonexistent,/neither user=postgres dbname=x", &["list"])
        .exits(3)
        .says(&["none of the servers", "/nonexistent", "/neither"]);
    assert_eq!(
        sql(
            &trio.url(&trio.primary),
            "SELECT count(*) FROM tenantctl.tenants WHERE tenant_id = 'never'"
        )
        .unwrap()[0][0],
        "0"
    );
    // A snapshot is looked for on the very server that it is of.
    let info = ConnInfo::resolve(Some(&standbys), &|_| None).unwrap();
    let connector = Connector::new(info, "tenantctl test", SessionLimits::default());
    runtime().block_on(async {
        let first = connector.connect().await.unwrap();
        let beside = connector.connect_beside(first.server(), first.host()).await.unwrap();
        assert_eq!(beside.server().started, first.server().started);
        let other = connector
            .connect_beside(first.server(), 1 - first.host())
            .await
            .err()
            .unwrap();
        assert_eq!(other.message(), "sessions reach different servers");
        assert_eq!(other.kind().exit_code(), 3);
    });
}

#[test]
fn lag_and_absence_are_told() {
    let trio = Trio::start();
    trio.db.run(&["init"]).success();
    trio.db.provision(&["acme"]);
    trio.level();
    trio.expect_standbys(86_400_000);
    let (alerts, json) = trio.alerts();
    assert_eq!(alerts, Vec::<String>::new());
    let names: Vec<_> = json["cluster"]["standbys"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["name"].clone())
        .collect();
    assert_eq!(names, ["one", "two"]);
    // One that does not replay.
    trio.expect_standbys(300);
    sql(&trio.url(&trio.one), "SELECT pg_wal_replay_pause()").unwrap();
    sql(
        &trio.url(&trio.primary),
        "CREATE TABLE public.much AS SELECT n FROM generate_series(1, 50000) n",
    )
    .unwrap();
    let mut told = Value::Null;
    wait_for("the lag to be told", || {
        let (alerts, json) = trio.alerts();
        told = json;
        alerts.iter().any(|alert| alert == "replica_lag/one")
    });
    let standby = |json: &Value, name: &str| {
        let all = json["cluster"]["standbys"].as_array().unwrap().clone();
        all.into_iter().find(|s| s["name"] == name).unwrap()
    };
    let lag_ms = standby(&told, "one")["lag_ms"].as_f64().unwrap();
    let behind = standby(&told, "one")["lag_bytes"].as_u64().unwrap();
    assert!(lag_ms > 300.0 && behind > 1_000_000, "{told:#}");
    let alert = told["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|a| a["object"] == "one")
        .unwrap();
    assert_eq!(
        (alert["value"].as_f64(), alert["limit"].as_f64()),
        (Some(lag_ms), Some(300.0))
    );
    assert_eq!(alert["severity"], "warning");
    // In Prometheus' base units, and for people.
    let text = trio.db.run(&["metrics", "--all", "-o", "prometheus"]).stdout();
    let seconds = sample(&text, "tenantctl_standby_lag_seconds", &[("standby", "one")]).unwrap();
    let bytes = sample(&text, "tenantctl_standby_lag_bytes", &[("standby", "one")]).unwrap();
    // It has only grown since; were it in milliseconds, it would be a thousand times as much.
    assert!(
        seconds >= lag_ms / 1000.0 && seconds < lag_ms,
        "{seconds} s after {lag_ms} ms"
    );
    assert!(bytes >= behind as f64, "{bytes} after {behind}");
    let text = trio.db.run(&["metrics", "--all"]).exits(1).stdout();
    assert!(
        text.contains("standby one: streaming, lag ") && text.contains("replica_lag"),
        "{text}"
    );
    sql(&trio.url(&trio.one), "SELECT pg_wal_replay_resume()").unwrap();
    trio.level();
    trio.expect_standbys(86_400_000);
    // One that dies, and comes back.
    trio.two.stop().unwrap();
    wait_for("the absence to be told", || trio.alerts().0 == ["replica_missing/"]);
    let text = trio.db.run(&["metrics", "--all"]).exits(1).stdout();
    assert!(text.contains("1 of 2 standbys stream from this server"), "{text}");
    trio.two.restart().unwrap();
    wait_for("all to be well", || trio.alerts().0.is_empty());
    // A standby does not know who streams from the primary, and does not claim that nobody does.
    let url = trio.url(&trio.one);
    let there = trio
        .db
        .command(&["metrics", "--all", "-o", "json", "--no-notify"])
        .env("DATABASE_URL", &url);
    let there = there.finish().success().json();
    assert_eq!(there["cluster"]["in_recovery"], true);
    assert_eq!(there["alerts"], serde_json::json!([]));
}

#[test]
fn nothing_is_written_while_two_servers_are_the_primary() {
    let trio = Trio::start();
    let db = &trio.db;
    db.run(&["init"]).success();
    db.provision(&["acme"]);
    trio.level();
    let tenants =
        |cluster: &Cluster| sql(&trio.url(cluster), "SELECT count(*) FROM tenantctl.tenants").unwrap()[0][0].clone();
    // One server by two names is one.
    let port = trio.primary.port();
    let names = format!(
        "host={},{} port={port},{port} user=postgres dbname={} sslmode=disable",
        trio.primary.dir().display(),
        trio.primary.dir().join(".").display(),
        db.name
    );
    with(&names, &["provision", "twice"]).success();
    wait_for("the standby to have both", || tenants(&trio.one) == "2");

    // The old primary is not dead.
    trio.promote();
    for attrs in ["", " target_session_attrs=read-write", " target_session_attrs=primary"] {
        for order in [
            [&trio.one, &trio.two, &trio.primary],
            [&trio.primary, &trio.two, &trio.one],
        ] {
            let url = format!("{}{attrs}", urls(&order, &db.name));
            with(&url, &["provision", "late"]).exits(3).says(&[
                "more than one server",
                "on timeline 1",
                "on timeline 2",
            ]);
            with(&url, &["list"]).success();
        }
    }
    assert_eq!((tenants(&trio.primary), tenants(&trio.one)), ("2".into(), "2".into()));
    // Whoever names one has decided; one that is fenced off is no rival.
    with(&trio.url(&trio.one), &["provision", "decided"]).success();
    let old = trio.url(&trio.primary);
    sql(&old, "ALTER SYSTEM SET default_transaction_read_only = on").unwrap();
    sql(&old, "SELECT pg_reload_conf()").unwrap();
    wait_for("the old primary to be fenced off", || {
        sql(&old, "SHOW default_transaction_read_only").unwrap()[0][0] == "on"
    });
    with(&urls(&[&trio.primary, &trio.one], &db.name), &["provision", "late"]).success();
    assert_eq!((tenants(&trio.primary), tenants(&trio.one)), ("2".into(), "4".into()));
}

#[test]
fn work_goes_on_after_a_failover() {
    let trio = Trio::start();
    let (db, server) = (&trio.db, S3Server::start());
    db.run(&["init"]).success();
    let made = db.provision(&["acme", "globex"]);
    let primary = trio.url(&trio.primary);
    for tenant in &made {
        rows(db, &primary, tenant, 5000);
    }
    // Not the template's, so that pg_dump describes it; large enough to be under way when the server dies.
    sql(
        &primary,
        &format!(
            "SET ROLE tenantctl_owner;
             CREATE TABLE {0}.bulk AS SELECT n AS id, repeat(md5(n::text), 100) AS noise FROM generate_series(1, 20000) n;
             ALTER TABLE {0}.bulk ALTER COLUMN noise SET STORAGE EXTERNAL",
            made[0].schema
        ),
    )
    .unwrap();
    trio.level();
    trio.expect_standbys(86_400_000);
    // Each standby is read, by its own URL, by one that names both and the primary, and by the configuration.
    let both = urls(&[&trio.primary, &trio.two, &trio.one], &db.name);
    for from in [&trio.url(&trio.one), &trio.url(&trio.two), &both, "any"] {
        let done = backup(db, &server, &["acme", "--from-replica", from, "--jobs", "3"])
            .env("TENANTCTL_TEST_PART_BYTES", "1000000")
            .finish()
            .success()
            .json();
        assert_eq!(done["backups"][0]["from_replica"], true, "{from}");
        assert_eq!(done["backups"][0]["ddl"], "pg_dump", "{from}");
    }
    stored(db.command(&["backup", "verify", "--all"]), &server)
        .finish()
        .success();
    let serving = Serving::start(db, &["--every", "0", "--sizes-every", "3600"]);
    assert_eq!(sample(&serving.metrics(), "tenantctl_up", &[]), Some(1.0));
    trio.level();

    // The primary dies under a backup, a provisioning and a scrape.
    server.fault(Fault::once(
        "PUT",
        "data/bulk",
        Action::Delay(std::time::Duration::from_secs(5)),
    ));
    let before = server.requests(&["PUT", "data/bulk"]);
    let mut running = backup(db, &server, &["acme", "--type", "scheduled"]);
    running.command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let running = running.command.spawn().unwrap();
    wait_for("the backup to be under way", || {
        server.requests(&["PUT", "data/bulk"]) > before
    });
    // As far as the registry's row, which waits for this.
    let gate = hold(&primary, "BEGIN; LOCK TABLE tenantctl.tenants IN SHARE MODE");
    let mut provisioning = db.command(&["-o", "json", "provision", "late"]);
    provisioning.command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let provisioning = provisioning.command.spawn().unwrap();
    wait_for("the provisioning to wait", || {
        sql(&primary, "SELECT count(*) FROM pg_locks WHERE NOT granted").unwrap()[0][0] == "1"
    });
    trio.level();
    trio.primary.stop().unwrap();
    drop(gate);
    // Before another server is the primary, there is none, and that is said.
    db.run(&["provision", "soon"])
        .exits(3)
        .says(&["takes writes", "cannot connect to", "is a standby"]);
    db.run(&["list"]).success();
    trio.promote();
    let provisioned = Run(provisioning.wait_with_output().unwrap());
    assert_eq!(provisioned.0.status.code(), Some(3), "{}", provisioned.stderr());
    let backed_up = Run(running.wait_with_output().unwrap()).exits(3);
    assert_eq!(backed_up.json()["failed"][0]["error_type"], "connection");
    wait_for("the exporter to find the new primary", || {
        let text = serving.metrics();
        sample(&text, "tenantctl_up", &[]) == Some(1.0)
            && sample(&text, "tenantctl_server_in_recovery", &[]) == Some(0.0)
    });

    // The other standby follows the new primary; every command goes on by the same URL.
    follow(&trio.two, &trio.one, "two");
    let new = trio.url(&trio.one);
    let count = |what: &str| sql(&new, &format!("SELECT count(*) FROM {what}")).unwrap()[0][0].clone();
    assert_eq!(count("tenantctl.tenants WHERE tenant_id IN ('late', 'soon')"), "0");
    // Marked by its own command if that found the new primary in time, else by the next backup of the tenant.
    assert_eq!(
        count("tenantctl.backups WHERE status IN ('running', 'failed') AND backup_type = 'scheduled'"),
        "1"
    );
    db.run(&["provision", "late", "soon", "--if-not-exists"]).success();
    let done = backup(db, &server, &["--all", "--type", "scheduled"])
        .finish()
        .success()
        .json();
    assert_eq!(done["backups"].as_array().unwrap().len(), 4);
    assert_eq!(
        count("tenantctl.backups WHERE status = 'running'"),
        "0",
        "what died was cleared away"
    );
    stored(db.command(&["backup", "verify", "--all"]), &server)
        .finish()
        .success();
    // The configuration still names the server that was promoted: it is passed over, and the other one is read.
    level(&new, &trio.url(&trio.two));
    let run = backup(db, &server, &["globex", "--from-replica", "any"])
        .finish()
        .success();
    assert!(run.stderr().contains("passed over"), "{}", run.stderr());
    assert_eq!(run.json()["backups"][0]["from_replica"], true);
    assert_eq!(trio.alerts().0, ["replica_missing/"], "one of two is left");
    // A restore, with what the dead primary's backups hold.
    sql(&new, &format!("TRUNCATE {}.market_data", made[1].schema)).unwrap();
    stored(db.command(&["restore", "globex"]), &server).finish().success();
    assert_eq!(count(&format!("{}.market_data", made[1].schema)), "5000");
    stored(db.command(&["restore", "acme", "--as", "acme2"]), &server)
        .finish()
        .success();
    db.run(&["rotate", "acme"]).success();
    db.run(&["secure", "--all"]);
    db.run(&["drop", "acme2", "--yes"]).success();
    // A new standby in place of the dead primary.
    let third = trio.one.standby().unwrap();
    follow(&third, &trio.one, "three");
    wait_for("both standbys to be there again", || trio.alerts().0.is_empty());
}
