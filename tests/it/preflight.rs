//! The deployment checklist, against servers on which each of its items holds, and on which it does not.

mod age;
mod capacity;
mod deployed;
mod outside;

use serde_json::Value;
use tenantctl::cluster::{Cluster, Options};

use crate::support::{Cmd, Db, Run, start, wait_for};

/// A cluster with these settings.
fn own(settings: &[&str]) -> Cluster {
    start(&Options {
        settings: settings.iter().map(|line| (*line).to_owned()).collect(),
        ..Options::default()
    })
}

/// Runs checks of a stage and returns the run; `more` are further arguments.
fn checklist(db: &Db, stage: &str, checks: &str, more: &[&str]) -> Run {
    let mut args = vec!["-o", "json", "validate", stage, "--check", checks];
    args.extend(more);
    db.run(&args)
}

/// Runs checks of the preflight and returns its JSON, whatever the exit code.
fn preflight(db: &Db, checks: &str, more: &[&str]) -> Value {
    judged(checklist(db, "--preflight", checks, more))
}

/// The JSON of a run whose exit code agrees with it.
#[track_caller]
fn judged(run: Run) -> Value {
    let json = run.json();
    let failed = json["checks"]
        .as_array()
        .unwrap()
        .iter()
        .any(|item| item["status"] == "FAIL");
    assert_eq!(json["passed"], !failed, "{json:#}");
    let _ = run.exits(i32::from(failed));
    json
}

/// The items of a check as `status object: detail`.
fn of(json: &Value, check: &str) -> Vec<String> {
    let items = json["checks"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|item| item["check"] == check);
    items
        .map(|item| {
            let word = |name: &str| item[name].as_str().unwrap_or_default().to_owned();
            let amiss = ["WARN", "FAIL"].contains(&word("status").as_str());
            assert!(!amiss || !word("remedy").is_empty(), "no remedy: {item}");
            format!("{} {}: {}", word("status"), word("object"), word("detail"))
        })
        .collect()
}

/// Asserts that a check has an item that begins so and holds this.
#[track_caller]
fn has(json: &Value, check: &str, begins: &str, holds: &str) {
    let items = of(json, check);
    assert!(
        items
            .iter()
            .any(|item| item.starts_with(begins) && item.contains(holds)),
        "no {begins:?} with {holds:?} among {items:#?}"
    );
}

/// Asserts that every item of a check has passed.
#[track_caller]
fn passes(json: &Value, check: &str) {
    let items = of(json, check);
    assert!(
        !items.is_empty() && items.iter().all(|item| item.starts_with("PASS")),
        "{items:#?}"
    );
}

/// A check is worth what it has been seen to find: each must be seen to give each of the verdicts that it says it gives.
#[test]
fn each_check_is_seen_to_fail() {
    let tests = [
        include_str!("preflight.rs"),
        include_str!("preflight/age.rs"),
        include_str!("preflight/capacity.rs"),
        include_str!("preflight/deployed.rs"),
        include_str!("preflight/outside.rs"),
    ];
    let words: Vec<&str> = tests.iter().flat_map(|text| text.split_whitespace()).collect();
    let words = words.join(" ");
    for check in tenantctl::preflight::checklist::ALL {
        for verdict in ["WARN", "FAIL"] {
            let says = check.explain.contains(&format!("{verdict}: "));
            let seen = words.contains(&format!("\"{}\", \"{verdict}", check.id));
            assert!(seen || !says, "no test has {} give {verdict}", check.id);
        }
    }
}

fn configure(db: &Db, yaml: &str) {
    std::fs::write(db.dir.join("tenant_templates.yaml"), yaml).unwrap();
}

const SETTINGS: &str = "cluster: {settings: {max_connections: 60, shared_buffers: 64GB, work_mem: 256MB, jit: \"off\", deadlock_timeout: 2s}}\n";

#[test]
fn settings_are_compared_scaled_and_written_down() {
    let cluster = own(&[
        "max_connections = 50",
        "shared_buffers = 16MB",
        "fsync = off",
        "full_page_writes = off",
        "synchronous_commit = off",
        "autovacuum = off",
        "work_mem = 64MB",
    ]);
    let db = Db::on(&cluster);
    configure(&db, SETTINGS);
    let checks = "settings,durability,autovacuum,config_files";
    let memory = ["--memory", "512MB"];
    let json = preflight(&db, checks, &memory);
    has(&json, "settings", "FAIL max_connections", "is 50");
    has(
        &json,
        "settings",
        "FAIL shared_buffers",
        "wanted is at least 128MB (25 % of memory; 64GB is for a larger machine",
    );
    // Of 512 MB that would be 1 MB; the server's own default is the least.
    has(&json, "settings", "WARN work_mem", "wanted is 4MB");
    has(&json, "settings", "FAIL jit", "is on");
    has(&json, "settings", "FAIL deadlock_timeout", "is 1s");
    has(&json, "durability", "FAIL fsync", "is off");
    has(&json, "durability", "FAIL full_page_writes", "is off");
    has(&json, "durability", "WARN synchronous_commit", "is off");
    has(&json, "durability", "WARN data_checksums", "are off");
    has(&json, "autovacuum", "FAIL autovacuum", "is off");
    passes(&json, "config_files");
    // What is advised is what the server takes.
    for item in json["checks"].as_array().unwrap() {
        let advice = item["remedy"].as_str().unwrap_or_default();
        if ["fsync", "autovacuum"].contains(&item["object"].as_str().unwrap_or_default()) {
            let (set, then) = advice.split_once("; ").unwrap();
            db.sql(set);
            db.sql(then);
        }
    }
    wait_for("the advice to be in force", || {
        db.value("SHOW fsync") == "on" && db.value("SHOW autovacuum") == "on"
    });
    db.sql("ALTER SYSTEM RESET ALL");
    db.sql("SELECT pg_reload_conf()");
    wait_for("the advice to be taken back", || {
        db.value("SHOW fsync") == "off" && db.value("SHOW autovacuum") == "off"
    });

    // What is printed is a file that the server takes, and after which nothing is left to say.
    let fragment = db
        .run(&["validate", "--preflight", "--print-config", "--memory", "512MB"])
        .success()
        .stdout();
    assert!(fragment.contains("\nshared_buffers = '128MB'\n"), "{fragment}");
    cluster.write("tenantctl.conf", &fragment).unwrap();
    cluster
        .append("postgresql.conf", "include_if_exists = 'tenantctl.conf'\n")
        .unwrap();
    db.sql("SELECT pg_reload_conf()");
    wait_for("the fragment to be read", || {
        db.value("SELECT pending_restart FROM pg_settings WHERE name = 'shared_buffers'") == "t"
    });
    let json = preflight(&db, checks, &memory);
    has(
        &json,
        "config_files",
        "WARN shared_buffers",
        "until the server is restarted",
    );
    cluster.stop().unwrap();
    cluster.restart().unwrap();
    let json = preflight(&db, checks, &memory);
    for check in ["settings", "autovacuum", "config_files"] {
        passes(&json, check);
    }
    assert_eq!(json["fail"], 0, "{json:#}");
    let again = db
        .run(&[
            "-o",
            "json",
            "validate",
            "--preflight",
            "--print-config",
            "--memory",
            "512MB",
        ])
        .success()
        .json();
    assert_eq!(again["settings"], serde_json::json!([]), "{again:#}");

    // A line that the server cannot read, and a setting that it does not have.
    cluster
        .append("postgresql.conf", "deadlock_timeout = banana\n")
        .unwrap();
    db.sql("SELECT pg_reload_conf()");
    configure(&db, "cluster: {settings: {max_conections: 60}}\n");
    let json = preflight(&db, checks, &memory);
    has(&json, "config_files", "FAIL ", "deadlock_timeout");
    has(&json, "settings", "FAIL max_conections", "no setting");
}

#[test]
fn memory_is_that_of_the_machine_where_the_server_runs_beside() {
    let db = Db::new();
    configure(&db, "cluster: {settings: {shared_buffers: 4000TB}}\n");
    let items = of(&preflight(&db, "settings", &[]), "settings");
    assert!(items[0].contains("for a larger machine than this one"), "{items:?}");
}

#[test]
fn the_server_itself_is_looked_at() {
    let cluster = own(&["max_connections = 200", "fsync = off"]);
    let db = Db::on(&cluster);
    let checks = "server_version,exposure,registry,monitoring,connections";
    configure(
        &db,
        "templates:\n  t: {features: [all], limits: {max_portfolios: 1, max_positions_per_portfolio: 1, max_trades_per_day: 1, max_api_calls_per_minute: 1, max_schema_size_gb: 1, max_connections: 120}}\n",
    );
    let json = preflight(&db, checks, &[]);
    has(&json, "registry", "WARN", "no registry yet");
    has(&json, "monitoring", "WARN", "not preloaded");
    passes(&json, "connections");
    passes(&json, "exposure");
    let version = of(&json, "server_version");
    assert!(
        version.len() == 1 && !version[0].starts_with("FAIL") && !version[0].starts_with("UNKNOWN"),
        "{version:?}"
    );

    db.run(&["init"]).success();
    db.provision(&["a", "b", "--tier", "t"]);
    let json = preflight(&db, checks, &[]);
    passes(&json, "registry");
    has(&json, "connections", "WARN all tenants", "come to 240");

    // One tenant alone can take them all; the pooler can, too.
    db.sql("ALTER SYSTEM SET max_connections = 100; ");
    db.sql("ALTER SYSTEM SET lo_compat_privileges = on");
    db.sql("ALTER SYSTEM SET row_security = off");
    db.sql("ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'");
    let hba = "host all all 0.0.0.0/0 trust\nlocal all,replication postgres trust\nlocal all all scram-sha-256\n";
    cluster.write("pg_hba.conf", hba).unwrap();
    cluster.stop().unwrap();
    cluster.restart().unwrap();
    db.sql("CREATE EXTENSION pg_stat_statements");
    let json = preflight(&db, checks, &[]);
    has(&json, "connections", "FAIL one tenant", "a limit of 120");
    has(&json, "connections", "FAIL pooler", "max_db_connections is 100");
    has(&json, "exposure", "FAIL setting lo_compat_privileges", "is on");
    has(&json, "exposure", "WARN setting row_security", "is off");
    has(&json, "exposure", "FAIL line of pg_hba.conf", "trust");
    passes(&json, "monitoring");

    // A login without rights is told what it lacks, and nothing passes for it.
    db.sql("CREATE ROLE weak LOGIN");
    let lines = format!("local all weak trust\n{hba}");
    cluster.write("pg_hba.conf", &lines).unwrap();
    db.sql("SELECT pg_reload_conf()");
    wait_for("the weak login", || {
        crate::support::sql(&cluster.url("weak", &db.name), "SELECT 1").is_ok()
    });
    let weak = Cmd::new(&[
        "-o",
        "json",
        "validate",
        "--preflight",
        "--check",
        "exposure,config_files,registry",
    ])
    .env("DATABASE_URL", &cluster.url("weak", &db.name))
    .dir(&db.dir)
    .finish();
    let json = weak.json();
    has(&json, "exposure", "UNKNOWN hba_lines", "rights do not suffice");
    has(&json, "config_files", "UNKNOWN", "superusers alone");
    has(&json, "registry", "FAIL", "may not use the registry");
}

#[test]
fn the_checklist_tells_what_it_has_and_takes_no_nonsense() {
    let db = Db::new();
    let bare = |args: &[&str]| Cmd::new(args).finish();
    let list = bare(&["validate", "--preflight", "--list"]).success().stdout();
    assert!(list.contains("replicas") && !list.contains("baseline"), "{list}");
    let list = bare(&["-o", "json", "validate", "--post-deploy", "--list"])
        .success()
        .json();
    assert_eq!(list["checks"][0]["check"], "provisioning");
    let text = bare(&["validate", "--preflight", "--explain", "locks"])
        .success()
        .stdout();
    assert!(text.contains("max_locks_per_transaction"), "{text}");

    db.run(&["validate", "--preflight", "--check", "lock"])
        .exits(2)
        .says(&["no check \"lock\"", "Did you mean locks?"]);
    db.run(&["validate", "--preflight", "--format", "sarif"])
        .exits(2)
        .says(&["no SARIF"]);
    db.run(&["validate", "--preflight", "--memory", "lots"])
        .exits(2)
        .says(&["--memory"]);
    db.run(&["validate", "--preflight", "--check", "locks", "--skip", "locks"])
        .exits(2)
        .says(&["no check is left"]);
    db.run(&["validate", "--post-deploy"])
        .exits(4)
        .says(&["tenantctl init"]);

    // What could not be found out fails only where that is wanted.
    let unknown = ["validate", "--preflight", "--check", "pooler,registry"];
    let text = db.run(&unknown).success().stdout();
    assert!(
        text.contains("UNKNOWN pooler") && text.contains("passed: 0 PASS, 1 WARN, 0 FAIL, 1 UNKNOWN"),
        "{text}"
    );
    db.run(&[&unknown[..], &["--strict"]].concat()).exits(1);

    let file = db.dir.join("report.xml");
    db.run(&[
        "validate",
        "--preflight",
        "--check",
        "registry,pooler",
        "--format",
        "junit",
        "--report",
        file.to_str().unwrap(),
    ])
    .success();
    let junit = std::fs::read_to_string(&file).unwrap();
    assert!(
        junit.contains("<error type=\"UNKNOWN\"") && junit.contains("errors=\"1\""),
        "{junit}"
    );
}

/// What an item advises.
fn advice<'a>(json: &'a Value, object: &str) -> &'a str {
    let items = json["checks"].as_array().unwrap();
    let item = items.iter().find(|item| item["object"] == object).unwrap();
    item["remedy"].as_str().unwrap_or_default()
}

#[test]
fn a_list_of_libraries_is_advised_as_the_server_takes_it() {
    let cluster = own(&["shared_preload_libraries = 'auto_explain'"]);
    let db = Db::on(&cluster);
    configure(
        &db,
        "cluster: {settings: {shared_preload_libraries: 'pg_stat_statements, auth_delay', log_line_prefix: '%m \\p'}}\n",
    );
    let json = preflight(&db, "settings", &[]);
    has(&json, "settings", "FAIL shared_preload_libraries", "is auto_explain");
    let (set, _) = advice(&json, "shared_preload_libraries").split_once("; ").unwrap();
    db.sql(set);
    cluster.stop().unwrap();
    cluster.restart().unwrap();
    assert_eq!(
        db.value("SHOW shared_preload_libraries"),
        "auto_explain, pg_stat_statements, auth_delay"
    );
    let json = preflight(&db, "settings", &[]);
    has(&json, "settings", "PASS shared_preload_libraries", "auth_delay");
    // A backslash is one in the file, too.
    let fragment = db
        .run(&["validate", "--preflight", "--print-config"])
        .success()
        .stdout();
    cluster.write("tenantctl.conf", &fragment).unwrap();
    cluster
        .append("postgresql.conf", "include_if_exists = 'tenantctl.conf'\n")
        .unwrap();
    db.sql("SELECT pg_reload_conf()");
    wait_for("the fragment to be read", || {
        db.value("SHOW log_line_prefix") == "%m \\p"
    });
}

#[test]
fn what_the_login_alone_has_or_cannot_see_is_not_taken_for_the_server() {
    let cluster = own(&["shared_preload_libraries = 'pg_stat_statements'", "work_mem = 4MB"]);
    let db = Db::on(&cluster);
    db.run(&["init"]).success();
    db.sql("CREATE EXTENSION pg_stat_statements");
    configure(
        &db,
        "cluster: {settings: {work_mem: 60MB, shared_preload_libraries: pg_stat_statements}}\n",
    );
    let checks = "settings,durability,monitoring";
    let memory = ["--memory", "64GB"];
    has(&preflight(&db, checks, &memory), "settings", "FAIL work_mem", "is 4MB");
    db.sql("ALTER ROLE postgres SET work_mem = '60MB'");
    db.sql("ALTER ROLE postgres SET synchronous_commit = 'on'");
    let json = preflight(&db, checks, &memory);
    has(&json, "settings", "UNKNOWN work_mem", "is 60MB for this login alone");
    has(
        &json,
        "durability",
        "UNKNOWN synchronous_commit",
        "for this login alone",
    );
    db.sql("ALTER ROLE postgres RESET ALL");
    let args = [
        &["-o", "json", "validate", "--preflight", "--check", "settings"][..],
        &memory,
    ]
    .concat();
    let json = judged(db.command(&args).env("PGOPTIONS", "-c work_mem=60MB").finish());
    has(&json, "settings", "UNKNOWN work_mem", "for this login alone");
    // What the database has, tenants have; and there it is to be taken away.
    db.sql(&format!("ALTER DATABASE \"{}\" SET work_mem = '1MB'", db.name));
    let json = preflight(&db, checks, &memory);
    has(&json, "settings", "FAIL work_mem", "is 1MB");
    assert!(advice(&json, "work_mem").starts_with("ALTER DATABASE"), "{json:#}");

    // The list of libraries is hidden from those who are no superuser.
    db.sql("CREATE ROLE preflight_dba LOGIN PASSWORD 'dba' IN ROLE tenantctl_owner");
    db.sql(&format!("GRANT CONNECT ON DATABASE \"{}\" TO preflight_dba", db.name));
    let args = ["-o", "json", "validate", "--preflight", "--check", checks];
    let url = cluster.url("preflight_dba", &db.name);
    let as_dba = || {
        judged(
            db.command(&args)
                .env("DATABASE_URL", &url)
                .env("PGPASSWORD", "dba")
                .finish(),
        )
    };
    let json = as_dba();
    passes(&json, "monitoring");
    has(
        &json,
        "settings",
        "UNKNOWN shared_preload_libraries",
        "is hidden from this login",
    );
    db.sql("GRANT pg_read_all_settings TO preflight_dba");
    has(
        &as_dba(),
        "settings",
        "PASS shared_preload_libraries",
        "pg_stat_statements",
    );
}

#[test]
fn nothing_is_said_of_tenants_that_cannot_be_read_and_no_secret_is_repeated() {
    let db = Db::new();
    db.run(&["init"]).success();
    db.provision(&["acme"]);
    db.sql("DELETE FROM tenantctl.migrations WHERE version = (SELECT max(version) FROM tenantctl.migrations)");
    let of_tenants = "cache_memory,chunks,backup_space,restore_drill,locks,connections";
    let json = preflight(&db, &format!("registry,{of_tenants}"), &["--store", "file:///nowhere"]);
    has(&json, "registry", "FAIL", "version");
    for check in of_tenants.split(',') {
        has(&json, check, "UNKNOWN", "nothing is known of tenants");
    }
    let run = checklist(
        &db,
        "--preflight",
        "store,store_encryption,backup_space",
        &["--store", "s3://AKIA:sEcrEt@bucket/x"],
    );
    assert!(
        !run.stdout().contains("sEcrEt") && !run.stderr().contains("sEcrEt"),
        "{}",
        run.stdout()
    );
    let json = judged(run);
    has(&json, "store", "FAIL", "holds a user or password");
    has(&json, "store_encryption", "UNKNOWN", "holds a user or password");
}
