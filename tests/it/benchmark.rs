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
    // The owner and the group existed when this run began, so it leaves them.
    assert_eq!(
        db.value("SELECT count(*) FROM pg_roles WHERE rolname ~ '^tenant_[0-9a-f]{12}_user$'"),
        "0"
    );
    assert_eq!(
        db.value("SELECT count(*) FROM pg_database WHERE datname LIKE 'tenantctl%'"),
        "0"
    );
}
