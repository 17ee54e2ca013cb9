//! `bench provisioning` runs, reports, and cleans up. What it measures is not asserted: figures are the user's.

use crate::support::{Db, fast, start};
use tenantctl::cluster::Options;

#[test]
fn bench_reports_every_target_and_leaves_nothing() {
    let own = start(&Options {
        settings: fast(),
        ..Options::default()
    });
    let db = Db::on(&own);
    let run = db.run(&[
        "-o",
        "json",
        "bench",
        "provisioning",
        "--count",
        "6",
        "--concurrent",
        "12",
        "--jobs",
        "4",
        "--at",
        "40",
    ]);
    // 1 when a target is missed: on a busy machine the ratios may be.
    assert!(matches!(run.0.status.code(), Some(0 | 1)), "{}", run.stderr());
    let json = run.json();
    let metrics: Vec<_> = json["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["metric"].as_str().unwrap().to_owned())
        .collect();
    for metric in [
        "average",
        "p50",
        "p95",
        "p99",
        "max",
        "raw DDL p50",
        "p50 against raw DDL",
        "12 at once, 4 jobs: all",
        "p50 at 40 tenants against 10",
    ] {
        assert!(metrics.iter().any(|m| m == metric), "{metric} not in {metrics:?}");
    }
    for result in json["results"].as_array().unwrap() {
        assert!(result["value"].as_f64().unwrap() > 0.0, "{result}");
        assert_eq!(result["pass"].is_null(), result["target"].is_null());
    }
    assert!(json["environment"]["server_version"].as_str().unwrap().len() > 1);
    assert_eq!(
        db.value("SELECT count(*) FROM pg_database WHERE datname LIKE 'tenantctl%'"),
        "0"
    );
    assert_eq!(db.value("SELECT count(*) FROM pg_roles WHERE rolname ~ '^tenant'"), "0");
}

#[test]
fn an_interrupted_bench_cleans_up_and_a_killed_one_is_cleaned_up_after() {
    let own = start(&Options {
        settings: fast(),
        ..Options::default()
    });
    let db = Db::on(&own);
    let spawn = || {
        db.command(&["bench", "provisioning", "--count", "5000"])
            .command
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap()
    };
    let working = || {
        crate::support::wait_for("the bench to make tenants", || {
            db.value("SELECT count(*) > 20 FROM pg_roles WHERE rolname ~ '^tenant_[0-9a-f]{12}_user$'") == "t"
        });
    };
    let mut child = spawn();
    working();
    std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let left = || {
        db.value("SELECT (SELECT count(*) FROM pg_database WHERE datname LIKE 'tenantctl%') + (SELECT count(*) FROM pg_roles WHERE rolname ~ '^tenant')")
    };
    assert_eq!(left(), "0");
    let mut child = spawn();
    working();
    child.kill().unwrap();
    child.wait().unwrap();
    assert_ne!(left(), "0");
    crate::support::wait_for("the killed client's backends to end", || {
        db.value("SELECT count(*) FROM pg_stat_activity WHERE datname LIKE 'tenantctl_bench%'") == "0"
    });
    db.run(&["-q", "bench", "provisioning", "--count", "2", "--concurrent", "2"]);
    assert_eq!(left(), "0");
    // Whoever made the owner and the group before there was a benchmark keeps them.
    db.run(&["init"]).success();
    db.run(&["-q", "bench", "provisioning", "--count", "2", "--concurrent", "2"]);
    assert_eq!(
        db.value("SELECT count(*) FROM pg_roles WHERE rolname IN ('tenantctl_owner', 'tenantctl_tenants')"),
        "2"
    );
}

fn folder() -> std::path::PathBuf {
    let dir = std::env::temp_dir().join(format!(
        "tenantctl-it-bench-{}-{:?}",
        std::process::id(),
        std::thread::current().id()
    ));
    std::fs::create_dir(&dir).unwrap();
    dir
}

fn nothing_is_left(db: &Db, folder: &std::path::Path) {
    assert_eq!(std::fs::read_dir(folder).unwrap().count(), 0);
    assert_eq!(
        db.value("SELECT (SELECT count(*) FROM pg_database WHERE datname LIKE 'tenantctl%') + (SELECT count(*) FROM pg_roles WHERE rolname ~ '^tenant')"),
        "0"
    );
}

#[test]
fn bench_backup_compares_every_contender_and_leaves_nothing() {
    let own = start(&Options {
        settings: fast(),
        ..Options::default()
    });
    let (db, folder) = (Db::on(&own), folder());
    let in_folder = folder.to_str().unwrap();
    let args = [
        "-o", "json", "bench", "backup", "--size", "0.01", "--rounds", "2", "--small", "12", "--folder", in_folder,
    ];
    let run = db.run(&args);
    assert!(matches!(run.0.status.code(), Some(0 | 1)), "{}", run.stderr());
    let json = run.json();
    let value = |metric: &str| {
        let results = json["results"].as_array().unwrap();
        let found = results.iter().find(|r| r["metric"] == metric);
        found.unwrap_or_else(|| panic!("{metric} not in {results:?}"))["value"]
            .as_f64()
            .unwrap()
    };
    // The size is hit, whatever the machine.
    assert!((0.009..0.013).contains(&value("tables of the tenant")), "{json}");
    let mut metrics = vec![
        "backup",
        "pg_dump -Fc --compress=9",
        "backup against pg_dump -Fc --compress=9",
        "stored",
        "stored against pg_dump -Fc --compress=9",
        "restore",
        "pg_restore -j4",
        "restore against pg_restore -j4",
        "one small tenant among 10",
        "backup of all 12 small tenants",
        "one small tenant among 12 against 10",
        "pg_dump of it among 12 against 10",
    ];
    if std::process::Command::new("zstd").arg("--version").output().is_ok() {
        metrics.extend([
            "backup against pg_dump -Fc -Z0 | zstd -3",
            "stored against pg_dump -Fc -Z0 | zstd -3",
        ]);
    } else {
        assert!(run.stderr().contains("zstd is not installed"), "{}", run.stderr());
    }
    for metric in metrics {
        assert!(value(metric) > 0.0, "{metric}");
    }
    nothing_is_left(&db, &folder);
    std::fs::remove_dir(&folder).unwrap();
}

#[test]
fn bench_backup_cleans_up_after_an_interrupt_and_asks_for_room_first() {
    let own = start(&Options {
        settings: fast(),
        ..Options::default()
    });
    let (db, folder) = (Db::on(&own), folder());
    let in_folder = folder.to_str().unwrap();
    let run = db.run(&["bench", "backup", "--size", "1000", "--folder", in_folder]);
    assert_eq!(run.0.status.code(), Some(5), "{}", run.stderr());
    assert!(run.stderr().contains("too little room"), "{}", run.stderr());
    nothing_is_left(&db, &folder);

    let mut child = db
        .command(&[
            "bench", "backup", "--size", "0.02", "--rounds", "50", "--folder", in_folder,
        ])
        .command
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // A contender is at work.
    crate::support::wait_for("a dump or a backup to be written", || {
        let runs = std::fs::read_dir(&folder).unwrap().flatten();
        runs.flat_map(|run| std::fs::read_dir(run.path()).into_iter().flatten().flatten())
            .any(|entry| ["seed.dump", "store"].iter().any(|name| entry.file_name() == *name))
    });
    let pid = child.id().to_string();
    std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status()
        .unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    nothing_is_left(&db, &folder);
    std::fs::remove_dir(&folder).unwrap();
}

#[test]
fn bench_metrics_compares_and_leaves_nothing() {
    let own = start(&Options {
        settings: fast(),
        ..Options::default()
    });
    let db = Db::on(&own);
    let run = db.run(&[
        "-o",
        "json",
        "bench",
        "metrics",
        "--at",
        "15",
        "--rounds",
        "1",
        "--no-postgres-exporter",
    ]);
    assert!(matches!(run.0.status.code(), Some(0 | 1)), "{}", run.stderr());
    let json = run.json();
    let results = json["results"].as_array().unwrap();
    for metric in [
        "sum(pg_total_relation_size) by schema at 15 tenants",
        "metrics --all at 15 tenants",
        "metrics --all by size functions at 15 tenants",
        "metrics --all --sizes estimate at 15 tenants",
        "metrics --all against the sum at 15 tenants",
        "metrics --all: peak memory at 15 tenants",
        "exporter: scrape that measures at 15 tenants",
    ] {
        let found = results.iter().find(|r| r["metric"] == metric);
        let found = found.unwrap_or_else(|| panic!("{metric} not in {results:#?}"));
        assert!(found["value"].as_f64().unwrap() > 0.0, "{found}");
    }
    assert_eq!(
        db.value("SELECT count(*) FROM pg_database WHERE datname LIKE 'tenantctl%'"),
        "0"
    );
    assert_eq!(db.value("SELECT count(*) FROM pg_roles WHERE rolname ~ '^tenant'"), "0");
}
