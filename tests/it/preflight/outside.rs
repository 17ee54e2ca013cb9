//! Replicas, the store, the receiver of alerts, the cache, the pooler.

use tenantctl::cluster::Cluster;

use super::{configure, has, judged, of, own, passes, preflight};
use crate::support::pgbouncer::PgBouncer;
use crate::support::redis::Redis;
use crate::support::s3::{Action, Fault, S3Server};
use crate::support::webhook::{Answer, Webhook};
use crate::support::{Db, cluster, free_port, wait_for};

fn socket(of: &Cluster) -> String {
    format!(
        "host={} port={} user=postgres dbname=postgres",
        of.dir().display(),
        of.port()
    )
}

fn with_replicas(db: &Db, replicas: &[String], lag_ms: u32) {
    let list: Vec<String> = replicas.iter().map(|r| format!("\"{r}\"")).collect();
    configure(
        db,
        &format!(
            "cluster: {{replicas: [{}], max_replica_lag_ms: {lag_ms}}}\n",
            list.join(", ")
        ),
    );
}

#[test]
fn replicas_answer_belong_here_and_keep_up() {
    let primary = own(&["fsync = off"]);
    let standby = primary.standby().unwrap();
    let db = Db::on(&primary);
    has(
        &preflight(&db, "replicas", &[]),
        "replicas",
        "WARN",
        "cluster.replicas names none",
    );
    with_replicas(&db, &[socket(&standby)], 60_000);
    wait_for("the standby to stream", || {
        db.value("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'") == "1"
    });
    db.sql("CREATE TABLE noise AS SELECT generate_series(1, 10000)");
    passes(&preflight(&db, "replicas", &[]), "replicas");

    // One that does not replay.
    let on_standby = standby.url("postgres", "postgres");
    let replica = |text: &str| crate::support::sql(&on_standby, text).unwrap();
    replica("SELECT pg_wal_replay_pause()");
    wait_for("the pause", || {
        replica("SELECT pg_get_wal_replay_pause_state()")[0][0] == "paused"
    });
    has(&preflight(&db, "replicas", &[]), "replicas", "FAIL", "paused");
    replica("SELECT pg_wal_replay_resume()");

    // One that is held up: replay waits for a query there that needs what was taken away here.
    replica("ALTER SYSTEM SET max_standby_streaming_delay = -1");
    replica("SELECT pg_reload_conf()");
    wait_for("the table on the standby", || {
        crate::support::sql(&standby.url("postgres", &db.name), "SELECT count(*) FROM noise").is_ok()
    });
    let reader = crate::support::hold(
        &standby.url("postgres", &db.name),
        "BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM noise",
    );
    db.sql("DROP TABLE noise; CREATE TABLE noise AS SELECT generate_series(1, 10000)");
    with_replicas(&db, &[socket(&standby)], 100);
    has(
        &preflight(&db, "replicas", &[]),
        "replicas",
        "FAIL",
        "has not replayed within 100 ms",
    );
    drop(reader);

    // Another cluster, this very server, one that is down; each by itself.
    with_replicas(&db, &[socket(cluster()), socket(&primary), socket(&standby)], 60_000);
    standby.stop().unwrap();
    let json = preflight(&db, "replicas", &[]);
    let items = of(&json, "replicas");
    assert_eq!(items.len(), 3, "{items:#?}");
    assert!(
        items[0].starts_with("FAIL") && items[0].contains("another cluster"),
        "{items:#?}"
    );
    assert!(
        items[1].starts_with("FAIL") && items[1].contains("a primary itself"),
        "{items:#?}"
    );
    assert!(
        items[2].starts_with("FAIL") && items[2].contains("cannot connect"),
        "{items:#?}"
    );
}

const KEY: &str = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p";

#[test]
fn a_bucket_is_written_to_and_left_as_it_was() {
    let db = Db::initialized();
    let server = S3Server::start();
    let run = |store: &str| {
        let args = [
            "-o",
            "json",
            "validate",
            "--preflight",
            "--check",
            "store",
            "--store",
            store,
        ];
        let command = db.command(&args);
        let environment = server.environment();
        let command = environment.iter().fold(command, |c, (name, value)| c.env(name, value));
        judged(command.finish())
    };
    passes(&run(&server.url("store")), "store");
    assert!(server.requests(&["PUT", "preflight"]) > 0 && server.requests(&["DELETE", "preflight"]) > 0);
    assert!(server.objects().is_empty(), "something was left in the bucket");
    server.fault(Fault::once("PUT", "preflight", Action::Answer(403, "AccessDenied")).times(20));
    has(&run(&server.url("store")), "store", "FAIL", "");
}

#[test]
fn the_store_is_written_to_and_measured() {
    let db = Db::initialized();
    let checks = "store,store_encryption,backup_space,restore_drill";
    let json = preflight(&db, checks, &[]);
    has(&json, "store", "FAIL", "no store of backups is named");
    has(&json, "backup_space", "UNKNOWN", "no store");
    passes(&json, "restore_drill");

    let folder = db.dir.join("store");
    let url = format!("file://{}", folder.display());
    let store = ["--store", &url];
    let json = preflight(&db, checks, &store);
    passes(&json, "store");
    passes(&json, "backup_space");
    has(&json, "store_encryption", "WARN", "in clear");
    let left = |dir: &std::path::Path| std::fs::read_dir(dir).map_or(0, Iterator::count);
    assert_eq!(left(&folder.join("preflight")), 0, "something was left in the store");
    configure(&db, &format!("backup: {{age_recipients: [{KEY}]}}\n"));
    passes(&preflight(&db, "store_encryption", &store), "store_encryption");

    // Not even root makes a folder there; nor below a file.
    let file = db.dir.join("file");
    std::fs::write(&file, "").unwrap();
    for place in [
        "file:///proc/tenantctl".to_owned(),
        format!("file://{}/below", file.display()),
    ] {
        let json = preflight(&db, "store", &["--store", &place]);
        has(&json, "store", "FAIL", "");
    }

    db.provision(&["a"]);
    let json = preflight(&db, checks, &store);
    has(&json, "backup_space", "UNKNOWN", "ever vacuumed");
    has(&json, "restore_drill", "WARN", "no backup yet");
    configure(&db, "validate: {suppress: []}\n");
    db.run(&["backup", "a", "--store", &url]).success();
    has(
        &preflight(&db, checks, &store),
        "restore_drill",
        "WARN",
        "none of 1 backup was ever",
    );
    db.sql("UPDATE tenantctl.backups SET drilled_at = now() - interval '31 days'");
    has(
        &preflight(&db, checks, &store),
        "restore_drill",
        "WARN",
        "31.0 days ago",
    );
    db.sql("UPDATE tenantctl.backups SET drilled_at = now()");
    db.sql("UPDATE pg_class SET relpages = 1 WHERE relname = 'trades'");
    let json = preflight(&db, checks, &store);
    passes(&json, "restore_drill");
    passes(&json, "backup_space");
    // As if there were terabytes, and nothing of it could be compressed.
    db.sql("UPDATE pg_class SET relpages = 2000000000 WHERE relname IN ('trades', 'positions', 'portfolios')");
    db.sql("UPDATE tenantctl.backups SET raw_bytes = 1000, stored_bytes = 1000");
    has(&preflight(&db, checks, &store), "backup_space", "FAIL", "are free");
    // Half of what is free.
    let df = std::process::Command::new("df")
        .args(["-P", "-k"])
        .arg(&folder)
        .output()
        .unwrap();
    let table = String::from_utf8(df.stdout).unwrap();
    let line = table.lines().nth(1).unwrap();
    let free: u64 = line.split_whitespace().nth(3).unwrap().parse().unwrap();
    db.sql("UPDATE pg_class SET relpages = 0 WHERE relname IN ('positions', 'portfolios')");
    db.sql(&format!(
        "UPDATE pg_class SET relpages = {} WHERE relname = 'trades'",
        free / 16
    ));
    has(&preflight(&db, checks, &store), "backup_space", "WARN", "are free");
}

#[test]
fn the_receiver_of_alerts_answers() {
    let db = Db::new();
    has(&preflight(&db, "alerts", &[]), "alerts", "WARN", "no receiver");
    let webhook = Webhook::start();
    let ask = |url: &str| {
        let run = db
            .command(&["-o", "json", "validate", "--preflight", "--check", "alerts"])
            .env("TENANTCTL_ALERT_URL", url)
            .finish();
        assert!(!run.stdout().contains("s3cret") && !run.stderr().contains("s3cret"));
        super::judged(run)
    };
    passes(&ask(&webhook.url("/s3cret")), "alerts");
    // Nobody was told anything.
    let asked = webhook.take();
    assert!(
        asked.len() == 1 && asked[0].method == "HEAD" && asked[0].json.is_null(),
        "{asked:?}"
    );
    // One that knows no HEAD is there all the same.
    webhook.always(Answer::Status(405));
    passes(&ask(&webhook.url("/s3cret")), "alerts");
    webhook.always(Answer::Status(503));
    has(&ask(&webhook.url("/s3cret")), "alerts", "FAIL", "503");
    has(
        &ask(&format!("http://127.0.0.1:{}/s3cret", free_port())),
        "alerts",
        "FAIL",
        "no connection",
    );
    has(
        &ask("smtp://s3cret@host"),
        "alerts",
        "FAIL",
        "does not start with https://",
    );
}

#[test]
fn the_cache_takes_a_key() {
    let db = Db::new();
    passes(&preflight(&db, "redis", &[]), "redis");
    let Some(mut redis) = Redis::start(&["--requirepass", "s3cret"]) else {
        return;
    };
    let ask = |url: &str| {
        let run = db
            .command(&["-o", "json", "validate", "--preflight", "--check", "redis"])
            .env("TENANTCTL_REDIS_URL", url)
            .finish();
        assert!(!run.stdout().contains("s3cret") && !run.stderr().contains("s3cret"));
        super::judged(run)
    };
    passes(&ask(&redis.url()), "redis");
    assert_eq!(redis.ask::<i64>(&["DBSIZE"]), 0, "the probe was left");
    // It answers, and takes nothing.
    let _: String = redis.ask(&["CONFIG", "SET", "maxmemory", "1"]);
    has(&ask(&redis.url()), "redis", "FAIL", "refuses");
    redis.kill();
    has(&ask(&redis.url()), "redis", "FAIL", "cannot connect");
}

#[test]
fn the_pooler_runs_as_configured() {
    let primary = own(&["fsync = off", "max_connections = 150"]);
    let db = Db::on(&primary);
    db.run(&["init"]).success();
    db.provision(&["a"]);
    let Some(pooler) = PgBouncer::start(&db, &primary, "", "", "") else {
        return;
    };
    let policy = |keys: &str| PgBouncer::configure(&db, &primary, pooler.port, keys, "", "");
    let console = pooler.console();
    let ask = || {
        let run = db
            .command(&["-o", "json", "validate", "--preflight", "--check", "pooler"])
            .env("TENANTCTL_PGBOUNCER_URL", &console)
            .finish();
        assert!(!run.stdout().contains("s3cret") && !run.stderr().contains("s3cret"));
        super::judged(run)
    };
    let json = ask();
    has(&json, "pooler", "PASS server connections", "up to 100");
    let items = of(&json, "pooler");
    assert!(!items.iter().any(|item| item.starts_with("FAIL")), "{items:#?}");
    assert!(!items.iter().any(|item| item.contains("configured is")), "{items:#?}");
    // Configured otherwise since, another database, more than the server has.
    policy("  max_client_conn: 77\n");
    has(&ask(), "pooler", "WARN max_client_conn", "configured is 77");
    policy("");
    let file = db.dir.join("tenant_templates.yaml");
    let text = std::fs::read_to_string(&file).unwrap();
    configure(&db, &text.replace("{name: shop,", "{name: store,"));
    has(
        &ask(),
        "pooler",
        "FAIL database store",
        "no database store; it has shop",
    );
    policy("");
    db.sql("ALTER SYSTEM SET max_connections = 50");
    primary.stop().unwrap();
    primary.restart().unwrap();
    has(&ask(), "pooler", "FAIL server connections", "up to 100");
    drop(pooler);
    has(&ask(), "pooler", "FAIL", "cannot connect");
}
