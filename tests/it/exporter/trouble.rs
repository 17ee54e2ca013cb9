//! What scrapes get while the database is slow, away or locked, and while the exporter ends.

use super::*;
#[test]
fn a_slow_database_piles_up_nothing() {
    let db = Db::initialized();
    let id = support::unique("slow-");
    db.provision(&[&id]);
    let serving = Serving::impatient(&db);
    let lock = hold(&db.url, "BEGIN; LOCK TABLE tenantctl.tenants");
    let started = Instant::now();
    let answers: Vec<String> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..50).map(|_| scope.spawn(|| serving.metrics())).collect();
        // One of them asks the database, the others do not.
        wait_for("a session that waits", || waiting(&db) > 0);
        assert_eq!(waiting(&db), 1);
        all.into_iter().map(|one| one.join().unwrap()).collect()
    });
    // Each waits for a second, not for the lock timeout, which is five.
    assert!(started.elapsed() < Duration::from_secs(4), "{:?}", started.elapsed());
    for text in &answers {
        assert!(
            sample(text, "tenant_schema_size_bytes", &[("tenant_id", &id)]).is_some(),
            "{text}"
        );
        assert!(sample(text, "tenantctl_measurement_age_seconds", &[("part", "activity")]).unwrap() > 0.0);
    }
    drop(lock);
    wait_for("a measurement after the lock", || {
        let text = serving.metrics();
        sample(&text, "tenantctl_up", &[]) == Some(1.0)
            && sample(&text, "tenantctl_measurement_age_seconds", &[("part", "activity")]).unwrap() < 1.0
    });
}

fn waiting(db: &Db) -> usize {
    db.value(&format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name LIKE 'tenantctl%' AND wait_event_type = 'Lock'",
        db.name
    ))
    .parse()
    .unwrap()
}

#[test]
fn it_survives_the_database_going_away_and_coming_back() {
    let cluster = support::start(&Options {
        settings: support::fast(),
        ..Options::default()
    });
    let db = Db::on(&cluster);
    db.run(&["init"]).success();
    let id = support::unique("away-");
    db.provision(&[&id]);
    let serving = Serving::start(&db, &["--every", "0", "--sizes-every", "3600"]);
    let size = sample(&serving.metrics(), "tenant_schema_size_bytes", &[("tenant_id", &id)]);
    assert!(size.is_some());
    assert_eq!(serving.get("/readyz").status, 200);
    cluster.stop().unwrap();
    let away = serving.metrics();
    assert_eq!(sample(&away, "tenantctl_up", &[]), Some(0.0), "{away}");
    assert_eq!(sample(&away, "tenant_schema_size_bytes", &[("tenant_id", &id)]), size);
    assert!(sample(&away, "tenantctl_measurement_errors_total", &[("part", "activity")]).unwrap() >= 1.0);
    let ready = serving.get("/readyz");
    assert_eq!(ready.status, 503);
    assert!(ready.body.contains("the last measurement failed"), "{}", ready.body);
    assert_eq!(serving.get("/healthz").status, 200);
    cluster.restart().unwrap();
    // The very next scrape measures, on a new session.
    let back = serving.metrics();
    assert_eq!(sample(&back, "tenantctl_up", &[]), Some(1.0), "{back}");
    assert_eq!(serving.get("/readyz").status, 200);
    // A restart that nobody saw costs nothing.
    cluster.stop().unwrap();
    cluster.restart().unwrap();
    assert_eq!(sample(&serving.metrics(), "tenantctl_up", &[]), Some(1.0));
}

#[test]
fn a_session_that_hangs_is_given_up_for_another() {
    let cluster = support::start(&Options {
        settings: support::fast(),
        ..Options::default()
    });
    let db = Db::on(&cluster);
    db.run(&["init"]).success();
    let id = support::unique("hangs-");
    db.provision(&[&id]);
    let serving = Serving::impatient(&db);
    let pid = db.value("SELECT min(pid) FROM pg_stat_activity WHERE application_name = 'tenantctl metrics'");
    let signal = |signal: &str| {
        assert!(Command::new("kill").args([signal, &pid]).status().unwrap().success());
    };
    signal("-STOP");
    let started = Instant::now();
    let text = serving.metrics();
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    assert!(
        sample(&text, "tenantctl_tenant_info", &[("tenant_id", &id)]).is_some(),
        "{text}"
    );
    let errors = |text: &str| sample(text, "tenantctl_measurement_errors_total", &[("part", "activity")]);
    wait_for("the end of the hanging measurement", || {
        errors(&serving.metrics()) == Some(1.0)
    });
    wait_for("a measurement on another session", || {
        sample(&serving.metrics(), "tenantctl_up", &[]) == Some(1.0)
    });
    assert_eq!(errors(&serving.metrics()), Some(1.0));
    // So that the server can be stopped.
    signal("-CONT");
}

#[test]
fn it_starts_without_a_database_and_says_so() {
    let cluster = support::start(&Options {
        settings: support::fast(),
        ..Options::default()
    });
    // Not initialized, then away.
    let db = Db::on(&cluster);
    let serving = Serving::start(&db, &["--every", "0"]);
    let text = serving.metrics();
    assert_eq!(sample(&text, "tenantctl_up", &[]), Some(0.0), "{text}");
    assert!(!text.contains("tenantctl_tenants"), "{text}");
    promtool(
        &["check", "metrics"],
        &db.dir,
        &serving.ask("GET", "/metrics", "*/*").unwrap().body,
    );
    cluster.stop().unwrap();
    assert_eq!(serving.get("/readyz").status, 503);
    cluster.restart().unwrap();
    db.run(&["init"]).success();
    assert_eq!(sample(&serving.metrics(), "tenantctl_tenants", &[]), Some(0.0));
}

#[test]
fn a_tenant_that_locks_its_tables_does_not_stall_the_others() {
    let db = Db::initialized();
    let (locked, free) = (support::unique("locked-"), support::unique("free-"));
    let made = provision(&db, &[&locked, &free]);
    let lock = hold(
        &db.url,
        &format!("BEGIN; LOCK TABLE {0}.portfolios, {0}.trades", made[0].schema),
    );
    // Through the server's functions, which open the tables and wait; then as this login, from the files.
    let role = support::unique("watcher");
    db.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'w'; GRANT tenantctl_owner TO {role}; GRANT pg_monitor TO {role}"
    ));
    let by_functions = db.url_as(&role).replace("@", ":w@");
    let command = db
        .command(&["metrics", "serve", "--listen", "127.0.0.1:0", "--every", "0"])
        .env("DATABASE_URL", &by_functions)
        .command;
    let serving = Serving::of(command);
    let started = Instant::now();
    let text = serving.metrics();
    assert!(started.elapsed() < Duration::from_secs(6), "{:?}", started.elapsed());
    assert!(
        sample(&text, "tenant_active_connections", &[("tenant_id", &locked)]).is_some(),
        "{text}"
    );
    wait_for("the sizes of the others", || {
        let text = serving.metrics();
        sample(&text, "tenantctl_schema_sizes", &[("source", "exact")]) == Some(1.0)
            && sample(&text, "tenantctl_schema_sizes", &[("source", "unknown")]) == Some(1.0)
    });
    let text = serving.metrics();
    assert!(
        sample(&text, "tenant_schema_size_bytes", &[("tenant_id", &free)]).is_some(),
        "{text}"
    );
    assert_eq!(
        sample(&text, "tenant_schema_size_bytes", &[("tenant_id", &locked)]),
        None
    );
    assert_eq!(
        sample(
            &text,
            "tenantctl_limit_ratio",
            &[("tenant_id", &locked), ("limit", "schema_size")]
        ),
        None
    );
    drop(lock);
}

#[test]
fn sigterm_ends_it_with_0_while_a_scrape_is_under_way() {
    let db = Db::initialized();
    let mut serving = Serving::start(&db, &["--every", "0"]);
    assert!(serving.metrics().contains("tenantctl_up 1"));
    let lock = hold(&db.url, "BEGIN; LOCK TABLE tenantctl.tenants");
    let port = serving.port;
    let scrape = std::thread::spawn(move || ask(port, "GET", "/metrics", OPENMETRICS));
    wait_for("a scrape that waits", || waiting(&db) > 0);
    let started = Instant::now();
    serving.terminate();
    let status = serving.child.wait().unwrap();
    assert_eq!(status.code(), Some(0));
    // It waits neither for the lock timeout nor for its own limit.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let answer = scrape.join().unwrap().unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.body.ends_with("# EOF\n"), "{}", answer.body);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    drop(lock);
}
