//! Metrics in Redis: written with a lifetime and in few round trips, read back without the database, and never mistaken
//! for another tenant's or another database's.

use std::time::{Duration, Instant};

use tenantctl::error::ErrorKind;
use tenantctl::metrics::Fleet;
use tenantctl::metrics::cache::{self, Cached, Entry};

use crate::support::fleet::fleet;
use crate::support::redis::Redis;
use crate::support::{Cmd, Db, free_port, runtime};

fn store(url: &str, fleet: &Fleet) -> tenantctl::error::Result<()> {
    runtime().block_on(cache::store(url, fleet, 300))
}

fn document(entry: &Entry) -> &Cached {
    match entry {
        Entry::Document(cached) => cached,
        other => panic!("{other:?}"),
    }
}

/// `metrics --cached` against a database that is away.
fn cached(url: &str, args: &[&str]) -> Cmd {
    let mut all = vec!["metrics", "--cached"];
    all.extend(args);
    Cmd::new(&all).env("TENANTCTL_REDIS_URL", url).env(
        "DATABASE_URL",
        &format!("postgresql://nobody@127.0.0.1:{}/tradesage", free_port()),
    )
}

#[test]
fn documents_come_back_as_they_went() {
    let Some(redis) = Redis::start(&[]) else { return };
    let made = fleet(3);
    store(&redis.url(), &made).unwrap();
    let ttl: i64 = redis.ask(&["TTL", "metrics:tenant-00000"]);
    assert!((290..=300).contains(&ttl), "{ttl}");
    let json: String = redis.ask(&["GET", "metrics:tenant-00000"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let mut wanted = serde_json::to_value(&made.tenants[0]).unwrap();
    wanted["database_name"] = "tradesage".into();
    wanted["unix_time"] = made.unix_time.into();
    assert_eq!(json, wanted);
    let mut ids: Vec<_> = made.tenants.iter().map(|t| t.tenant_id.clone()).collect();
    ids.push("nobody".parse().unwrap());
    let entries = runtime().block_on(cache::load(&redis.url(), &ids)).unwrap();
    for (tenant, (id, entry)) in made.tenants.iter().zip(&entries) {
        assert_eq!((&document(entry).tenant, id), (tenant, &tenant.tenant_id));
    }
    assert!(matches!(entries[3].1, Entry::Missing));
    let mut found = runtime().block_on(cache::ids(&redis.url())).unwrap();
    found.sort();
    assert_eq!(found, ids[..3]);
}

#[test]
fn many_documents_take_few_round_trips() {
    let Some(redis) = Redis::start(&[]) else { return };
    let made = fleet(1000);
    let reads = || redis.info("stats", "total_reads_processed").parse::<u64>().unwrap();
    let before = reads();
    store(&redis.url(), &made).unwrap();
    // The server reads 16 KiB at a time; a round trip a document would be a thousand reads and more.
    let taken = reads() - before;
    assert!(taken < 300, "{taken} reads");
    assert!(redis.info("commandstats", "cmdstat_setex").starts_with("calls=1000,"));
    let ids: Vec<_> = made.tenants.iter().map(|t| t.tenant_id.clone()).collect();
    let entries = runtime().block_on(cache::load(&redis.url(), &ids)).unwrap();
    assert!(
        entries
            .iter()
            .zip(&made.tenants)
            .all(|((_, entry), t)| document(entry).tenant == *t)
    );
    assert!(redis.info("commandstats", "cmdstat_mget").starts_with("calls=2,"));
    assert_eq!(redis.info("commandstats", "cmdstat_get"), "");
}

#[test]
fn what_has_expired_is_missing() {
    let Some(redis) = Redis::start(&[]) else { return };
    let made = fleet(2);
    runtime().block_on(cache::store(&redis.url(), &made, 1)).unwrap();
    let _: i64 = redis.ask(&["PERSIST", "metrics:tenant-00001"]);
    crate::support::wait_for("the document to expire", || {
        redis.ask::<i64>(&["EXISTS", "metrics:tenant-00000"]) == 0
    });
    let run = cached(&redis.url(), &["tenant-00000", "tenant-00001"])
        .finish()
        .exits(1);
    assert!(run.stdout().contains("not in Redis: tenant-00000"), "{}", run.stdout());
    cached(&redis.url(), &["tenant-00000"])
        .finish()
        .exits(4)
        .says(&["Redis has no metrics of what was asked for", "300 s"]);
}

#[test]
fn cached_needs_no_database_for_named_tenants() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut made = fleet(3);
    let now = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .unwrap();
    made.unix_time = now.as_secs_f64() - 120.0;
    store(&redis.url(), &made).unwrap();
    // The first has alerts, the third has none.
    let run = cached(&redis.url(), &["tenant-00000"]).finish().exits(1);
    let text = run.stdout();
    for part in ["tenant       tenant-00000", "from Redis, 2 min old", "2 ALERTS"] {
        assert!(text.contains(part), "{part} not in\n{text}");
    }
    assert_eq!(run.stderr(), "");
    let run = cached(&redis.url(), &["tenant-00002", "-o", "json"]).finish().success();
    let json = run.json();
    assert_eq!(json["tenant_id"], "tenant-00002");
    assert_eq!(json["database_name"], "tradesage");
    let run = cached(
        &redis.url(),
        &["tenant-00001", "tenant-00002", "tenant-00002", "-o", "json"],
    )
    .finish();
    let json = run.success().json();
    assert_eq!(json["tenants"].as_array().unwrap().len(), 2);
    assert!(json["oldest_age_seconds"].as_f64().unwrap() >= 120.0);
    assert_eq!(json["cached"], true);
}

#[test]
fn all_without_the_database_is_what_redis_has() {
    let Some(redis) = Redis::start(&[]) else { return };
    let mut others = fleet(4);
    others.cluster.database = "elsewhere".to_owned();
    store(&redis.url(), &others).unwrap();
    store(&redis.url(), &fleet(3)).unwrap();
    let _: () = redis.ask(&["SET", "metrics:http:requests", "4711"]);
    let run = cached(&redis.url(), &["--all"])
        .finish()
        .exits(1)
        .says(&["the database is away"]);
    let text = run.stdout();
    assert!(text.contains("from Redis: 3 tenants"), "{text}");
    assert!(
        text.contains("tenant-00003: what Redis has of it is left out: it is of database elsewhere"),
        "{text}"
    );
    assert!(!text.contains("requests"), "{text}");
    let run = cached(&redis.url(), &["--tier", "basic", "-o", "json"]).finish();
    assert_eq!(run.json()["tenants"].as_array().unwrap().len(), 1);
}

#[test]
fn documents_of_others_are_refused() {
    let Some(redis) = Redis::start(&[]) else { return };
    let db = Db::initialized();
    db.provision(&["tenant-00000", "tenant-00001"]);
    let mut made = fleet(2);
    made.cluster.database.clone_from(&db.name);
    made.tenants[0].schema_name =
        db.value("SELECT schema_name FROM tenantctl.tenants WHERE tenant_id = 'tenant-00000'");
    store(&redis.url(), &made).unwrap();
    let run = db
        .command(&["metrics", "--cached", "--all", "-o", "json"])
        .env("TENANTCTL_REDIS_URL", &redis.url())
        .finish()
        .exits(1);
    let json = run.json();
    assert_eq!(json["tenants"][0]["tenant_id"], "tenant-00000");
    assert_eq!(json["tenants"].as_array().unwrap().len(), 1);
    // Same id, same database's name, but made anew since: another schema.
    let why = json["unknown"][0].as_str().unwrap();
    assert!(
        why.contains("it is of schema tenant_000000000001, not of tenant_"),
        "{why}"
    );
    made.cluster.database = "elsewhere".to_owned();
    store(&redis.url(), &made).unwrap();
    cached(&redis.url(), &["tenant-00001"])
        .finish()
        .exits(4)
        .says(&["it is of database elsewhere, not of tradesage"]);
}

#[test]
fn garbage_is_told_and_not_shown() {
    let Some(redis) = Redis::start(&[]) else { return };
    store(&redis.url(), &fleet(3)).unwrap();
    let _: () = redis.ask(&["SET", "metrics:tenant-00000", "not { json \u{1b}[2J"]);
    let _: () = redis.ask(&["DEL", "metrics:tenant-00001"]);
    let _: () = redis.ask(&["LPUSH", "metrics:tenant-00001", "a list"]);
    let run = cached(&redis.url(), &["tenant-00000", "tenant-00001", "tenant-00002"])
        .finish()
        .exits(1);
    let text = run.stdout();
    assert!(
        text.contains("tenant-00000: what Redis has of it cannot be used"),
        "{text}"
    );
    assert!(text.contains("not in Redis: tenant-00001"), "{text}");
    assert!(!text.contains("json") && !text.contains('\u{1b}'), "{text}");
    let mut swapped = fleet(1);
    swapped.tenants[0].tenant_id = "other".parse().unwrap();
    store(&redis.url(), &swapped).unwrap();
    let _: () = redis.ask(&["RENAME", "metrics:other", "metrics:tenant-00000"]);
    cached(&redis.url(), &["tenant-00000"])
        .finish()
        .exits(4)
        .says(&["it is about tenant other"]);
}

#[test]
fn passwords_work_and_are_never_shown() {
    let secret = "s3cret-of-redis";
    let Some(redis) = Redis::start(&["--requirepass", secret]) else {
        return;
    };
    store(&redis.url(), &fleet(1)).unwrap();
    cached(&redis.url(), &["tenant-00000"]).finish().exits(1);
    let wrong = format!("redis://:wr0ng-{secret}@127.0.0.1:{}", redis.port);
    let run = cached(&wrong, &["tenant-00000"]).finish().exits(3);
    assert!(!run.stderr().contains(secret), "{}", run.stderr());
    let none = format!("redis://127.0.0.1:{}", redis.port);
    cached(&none, &["tenant-00000"])
        .finish()
        .exits(3)
        .says(&["Redis", "NOAUTH"]);
    for url in [
        format!("http://:{secret}@127.0.0.1"),
        format!("redis://:{secret}@127.0.0.1:port"),
        format!("redis://:{secret}@127.0.0.1/{secret}"),
        format!("redis://:{secret}@127.0.0.1/?protocol={secret}"),
        format!("rediss://127.0.0.1/#{secret}"),
        secret.to_owned(),
    ] {
        let run = cached(&url, &["tenant-00000"])
            .finish()
            .exits(2)
            .says(&["TENANTCTL_REDIS_URL"]);
        assert!(!run.stderr().contains(secret), "{}", run.stderr());
    }
}

#[test]
fn a_redis_that_is_down_is_an_error_for_cached_and_bounded() {
    let port = free_port();
    let url = format!("redis://:s3cret@127.0.0.1:{port}");
    let run = cached(&url, &["tenant-00000"])
        .finish()
        .exits(3)
        .says(&[&format!("cannot connect to Redis at 127.0.0.1:{port}"), "hint:"]);
    assert!(!run.stderr().contains("s3cret"));
    assert_eq!(run.stdout(), "");
    cached("", &["tenant-00000"])
        .finish()
        .exits(2)
        .says(&["none is configured", "metrics.redis_url"]);
    // One that accepts and never answers.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("redis://{}", listener.local_addr().unwrap());
    let started = Instant::now();
    let error = store(&url, &fleet(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Connection);
    assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
}

#[test]
fn tls_works_with_the_provider_that_is_built_in() {
    let port = free_port();
    let dir = std::env::temp_dir().join(crate::support::unique(&format!(
        "tenantctl-redis-tls-{}-",
        std::process::id()
    )));
    std::fs::create_dir_all(&dir).unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (cert, key) = (dir.join("cert.pem"), dir.join("key.pem"));
    std::fs::write(&cert, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let (cert, key) = (cert.to_str().unwrap(), key.to_str().unwrap());
    let listen = [
        "--port",
        "0",
        "--tls-port",
        &port.to_string(),
        "--tls-cert-file",
        cert,
        "--tls-key-file",
        key,
        "--tls-ca-cert-file",
        cert,
        "--tls-auth-clients",
        "no",
    ];
    let Some(_redis) = Redis::start_on(port, &listen, &[]) else {
        return;
    };
    let url = format!("rediss://localhost:{port}");
    let trusted = cached(&url, &["tenant-00000"]).env("SSL_CERT_FILE", cert).finish();
    // It was reached, and has nothing.
    trusted.exits(4).says(&["Redis has no metrics"]);
    cached(&url, &["tenant-00000"])
        .finish()
        .exits(3)
        .says(&["cannot connect to Redis at localhost"]);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn every_measurement_is_cached_and_a_redis_that_is_down_is_a_warning() {
    let Some(mut redis) = Redis::start(&["--requirepass", "s3cret"]) else {
        return;
    };
    let db = Db::initialized();
    db.provision(&["acme", "globex"]);
    let config = db.dir.join("tenant_templates.yaml");
    std::fs::write(&config, "metrics: {ttl_seconds: 77}\n").unwrap();
    let run = |args: &[&str]| db.command(args).env("TENANTCTL_REDIS_URL", &redis.url()).finish();
    let planned = run(&["metrics", "--all", "--enforce", "--dry-run"]).success();
    assert_eq!(planned.stdout(), "");
    assert_eq!(redis.ask::<i64>(&["DBSIZE"]), 0);
    let fresh = run(&["metrics", "acme", "-o", "json"]).success();
    assert_eq!(fresh.stderr(), "");
    assert_eq!(redis.ask::<Vec<String>>(&["KEYS", "*"]), ["metrics:acme"]);
    assert!((70..=77).contains(&redis.ask::<i64>(&["TTL", "metrics:acme"])));
    let mut cached = run(&["metrics", "acme", "--cached", "-o", "json"]).success().json();
    let document = cached.as_object_mut().unwrap();
    assert_eq!(document.remove("database_name").unwrap(), db.name.as_str());
    assert!(document.remove("unix_time").unwrap().as_f64().unwrap() > 1.7e9);
    assert_eq!(cached, fresh.json());
    run(&["metrics", "--all"]).success();
    let all = run(&["metrics", "--all", "--cached"]).success().stdout();
    assert!(all.contains("globex") && all.contains("from Redis: 2 tenants"), "{all}");
    redis.kill();
    let down = db
        .command(&["metrics", "--all"])
        .env("TENANTCTL_REDIS_URL", &redis.url())
        .finish();
    let down = down.success().says(&[
        "warning:",
        "the metrics are not cached: cannot connect to Redis at 127.0.0.1",
    ]);
    assert!(down.stdout().contains("globex") && !down.stderr().contains("s3cret"));
    let none = db
        .command(&["metrics", "--all", "--cached"])
        .env("TENANTCTL_REDIS_URL", &redis.url())
        .finish();
    assert_eq!(none.exits(3).stdout(), "");
}

/// What cannot be had together is said before anything is contacted.
#[test]
fn usage() {
    for (args, says) in [
        (&["metrics"][..], "no tenant to measure"),
        (&["metrics", "--all", "--watch", "-o", "prometheus"], "metrics serve"),
        (
            &["metrics", "--all", "--cached", "-o", "prometheus"],
            "--cached has no output for Prometheus",
        ),
        (&["metrics", "--all", "--enforce", "--sizes", "estimate"], "--sizes"),
        (
            &["metrics", "dashboard", "-o", "prometheus"],
            "metrics dashboard has no output for Prometheus",
        ),
        (&["metrics", "acme", "--all"], "cannot be used with"),
        (&["metrics", "--all", "--cached", "--watch"], "cannot be used with"),
    ] {
        Cmd::new(args).finish().exits(2).says(&[says]);
    }
}
