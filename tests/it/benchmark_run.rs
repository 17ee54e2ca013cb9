//! A run of `bench` as a whole: several suites, one that fails, an earlier run beside it, the registry, other tenants.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use tenantctl::cluster::{Cluster, Options};

use crate::support::browser::browse;
use crate::support::{Db, Run, start, wait_for};

/// Both suites of triggers, as small as they can be.
const TINY: [&str; 4] = ["--rounds", "2", "--singles", "3"];

fn own() -> Cluster {
    start(&Options {
        settings: crate::support::fast(),
        ..Options::default()
    })
}

fn bench(db: &Db, args: &[&str]) -> Run {
    let mut all = vec!["-o", "json", "bench"];
    all.extend(args);
    let run = db.run(&all);
    // 1 when a target is missed: on a busy machine some are.
    assert!(matches!(run.0.status.code(), Some(0 | 1)), "{}", run.stderr());
    run
}

/// The suites that figures are of, in order.
fn suites(json: &Value) -> Vec<String> {
    let mut names: Vec<String> = json["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["suite"].as_str().unwrap().to_owned())
        .collect();
    names.dedup();
    names
}

#[track_caller]
fn nothing_is_left(db: &Db) {
    assert_eq!(
        db.value("SELECT count(*) FROM pg_database WHERE datname LIKE 'tenantctl\\_bench%'"),
        "0"
    );
    assert_eq!(
        db.value("SELECT count(*) FROM pg_roles WHERE rolname ~ '^tenant_[0-9a-f]{12}_user$'"),
        "0"
    );
}

fn edit(path: &Path, edit: impl FnOnce(&mut Value)) {
    let mut json: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    edit(&mut json);
    std::fs::write(path, json.to_string()).unwrap();
}

#[test]
fn suites_run_one_after_the_other_and_are_compared_recorded_and_shown() {
    let own = own();
    let db = Db::on(&own);
    db.run(&["init"]).success();
    let mut args = vec!["limits", "audit", "limits", "--report", "bench.html", "--record"];
    args.extend(TINY);
    let run = bench(&db, &args);
    assert!(
        run.stderr().contains("recorded in tenantctl.baselines"),
        "{}",
        run.stderr()
    );
    let json = run.json();
    assert_eq!(suites(&json), ["limits", "audit"]);
    assert_eq!(json["failed"], serde_json::json!([]));
    assert!(json.get("baseline").is_none());
    let e = &json["environment"];
    for key in ["server_version", "tenantctl_version", "started_at", "build"] {
        assert!(!e[key].as_str().unwrap().is_empty(), "{key}");
    }
    assert!(e["client_cpus"].as_u64() > Some(0) && e["client_memory_bytes"].as_u64() > Some(1 << 20));
    assert_eq!(e["server_is_local"], true);
    let settings: Vec<&str> = e["settings"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(Value::as_str)
        .collect();
    assert!(settings.contains(&"fsync = off"), "{settings:?}");
    assert_eq!(
        e["arguments"],
        serde_json::json!(["limits", "audit", "--rounds 2", "--singles 3"])
    );
    // Each latency is in a histogram, once.
    let histograms = json["histograms"].as_array().unwrap();
    assert_eq!(histograms.len(), 12, "{histograms:#?}");
    for histogram in histograms {
        let wanted = if histogram["name"].as_str().unwrap().starts_with("one row") {
            3
        } else {
            2
        };
        let counted = histogram["buckets"]
            .as_array()
            .unwrap()
            .iter()
            .map(|b| b["count"].as_u64().unwrap());
        assert_eq!(counted.sum::<u64>(), wanted, "{histogram}");
    }
    nothing_is_left(&db);

    let recorded = db.value("SELECT results::text FROM tenantctl.baselines");
    assert_eq!(serde_json::from_str::<Value>(&recorded).unwrap(), json["results"]);
    assert_eq!(
        db.value(
            "SELECT (SELECT count(*) FROM tenantctl.baselines) || (environment->>'started_at') FROM tenantctl.baselines"
        ),
        format!("1{}", e["started_at"].as_str().unwrap())
    );
    let page = std::fs::read_to_string(db.dir.join("bench.html")).unwrap();
    assert!(page.contains("one row: audit and limits") && page.contains("shared_buffers"));
    if let Some((dom, console)) = browse(&page, "") {
        assert_eq!(console, "");
        assert!(dom.contains("<h2>audit</h2>"));
    }

    // The same figures with one that was far better, one that was far worse, one that is gone and one that is new.
    let file = db.dir.join("earlier.json");
    std::fs::write(&file, run.stdout()).unwrap();
    edit(&file, |json| {
        let find = |json: &mut Value, metric: &str| {
            let results = json["results"].as_array().unwrap();
            results.iter().position(|r| r["metric"] == metric).unwrap()
        };
        for r in json["results"].as_array_mut().unwrap() {
            r["value"] = 1e9.into();
        }
        let at = find(json, "1000 rows: audit p50");
        json["results"][at]["value"] = 0.001.into();
        let at = find(json, "one row: audit p50");
        json["results"].as_array_mut().unwrap().remove(at);
        let extra = serde_json::json!({"suite": "audit", "metric": "of old", "unit": "ms", "value": 1.0});
        json["results"].as_array_mut().unwrap().push(extra);
        json["environment"]["client_cpus"] = 4096.into();
    });
    let mut args = vec!["audit", "--baseline", "earlier.json", "--noise", "10"];
    args.extend(TINY);
    let run = bench(&db, &args).exits(1);
    let json = run.json();
    let verdict = |metric: &str| {
        let results = json["results"].as_array().unwrap();
        let found = results.iter().find(|r| r["metric"] == metric).unwrap();
        found["baseline"]["verdict"].as_str().map(str::to_owned)
    };
    assert_eq!(verdict("1000 rows: audit p50").as_deref(), Some("worse"));
    assert_eq!(verdict("one row: audit and limits p50").as_deref(), Some("better"));
    assert_eq!(verdict("1000 rows: bare p50").as_deref(), Some("neither"));
    assert_eq!(verdict("one row: audit p50"), None);
    let b = &json["baseline"];
    assert_eq!((b["worse"].as_u64(), b["noise_percent"].as_u64()), (Some(1), Some(10)));
    assert_eq!(
        b["missing"],
        serde_json::json!([{"suite": "audit", "metric": "of old"}])
    );
    assert_eq!(
        b["new"],
        serde_json::json!([{"suite": "audit", "metric": "one row: audit p50"}])
    );
    assert!(b["environment"][0].as_str().unwrap().contains("4096"), "{b}");
    // The arguments differ too: limits was measured then.
    assert!(b["environment"].to_string().contains("argument limits then"), "{b}");
    let mut args = vec!["bench"];
    args.extend(["audit", "--baseline", "earlier.json"]);
    args.extend(TINY);
    let text = db.run(&args).exits(1).stdout();
    for said in [
        "worse: audit 1000 rows: audit p50: ",
        "missing: audit of old",
        "CHANGE",
        "not alike: ",
    ] {
        assert!(text.contains(said), "{said} not in {text}");
    }
}

#[test]
fn a_suite_that_fails_does_not_lose_the_others() {
    let own = own();
    let db = Db::on(&own);
    db.run(&["init"]).success();
    let mut args = vec![
        "backup",
        "audit",
        "--size",
        "1000",
        "--record",
        "--report",
        "bench.html",
    ];
    args.extend(TINY);
    let run = bench(&db, &args).exits(1);
    let run = run.says(&["too little room", "nothing was recorded"]);
    let json = run.json();
    assert_eq!(suites(&json), ["audit"]);
    let failed = &json["failed"][0];
    assert_eq!(
        (&failed["suite"], &failed["error_type"]),
        (&"backup".into(), &"store".into())
    );
    assert!(run.stderr().contains(failed["error_id"].as_str().unwrap()));
    assert_eq!(db.value("SELECT count(*) FROM tenantctl.baselines"), "0");
    let page = std::fs::read_to_string(db.dir.join("bench.html")).unwrap();
    assert!(page.contains("Failed suites") && page.contains("too little room"));
    nothing_is_left(&db);
}

#[test]
fn what_was_measured_before_ctrl_c_is_told() {
    let own = own();
    let db = Db::on(&own);
    let mut args = vec!["-o", "json", "bench", "audit", "provisioning", "--count", "5000"];
    args.extend(TINY);
    let child = db.command(&args).command.stdout(Stdio::piped()).spawn().unwrap();
    // More roles than the first suite makes.
    wait_for("the second suite to make tenants", || {
        db.value("SELECT count(*) > 12 FROM pg_roles WHERE rolname ~ '^tenant_[0-9a-f]{12}_user$'") == "t"
    });
    let asked = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(asked.unwrap().success());
    let run = Run(child.wait_with_output().unwrap()).exits(130);
    assert_eq!(suites(&run.json()), ["audit"]);
    nothing_is_left(&db);
}

#[test]
fn a_cluster_with_tenants_is_left_in_peace_unless_it_must_not_be() {
    let own = own();
    let db = Db::on(&own);
    db.run(&["init"]).success();
    db.provision(&["acme"]);
    let mut args = vec!["bench", "audit"];
    args.extend(TINY);
    db.run(&args)
        .exits(2)
        .says(&["the cluster holds 1 tenant", "--beside-tenants"]);
    args.push("--beside-tenants");
    let run = db.run(&args);
    assert!(matches!(run.0.status.code(), Some(0 | 1)), "{}", run.stderr());
    let run = run.says(&["warning: the cluster holds 1 tenant"]);
    assert!(
        run.stdout().contains("1000 rows: audit against bare"),
        "{}",
        run.stdout()
    );
    // The one that was there is there.
    assert_eq!(
        db.value("SELECT count(*) FROM pg_roles WHERE rolname ~ '^tenant_[0-9a-f]{12}_user$'"),
        "1"
    );
    assert_eq!(db.counts(), (1, 1, 1));
}

#[test]
fn a_run_that_loses_all_its_sessions_still_leaves_nothing() {
    let own = own();
    let db = Db::on(&own);
    let mut child = db
        .command(&["bench", "provisioning", "--count", "5000"])
        .command
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the bench to make tenants", || {
        db.value("SELECT count(*) > 20 FROM pg_roles WHERE rolname ~ '^tenant_[0-9a-f]{12}_user$'") == "t"
    });
    db.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'tenantctl%'");
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(
        db.value("SELECT (SELECT count(*) FROM pg_database WHERE datname LIKE 'tenantctl%') + (SELECT count(*) FROM pg_roles WHERE rolname ~ '^tenant')"),
        "0"
    );
}

#[test]
fn roles_of_a_run_that_was_killed_after_its_database_went_are_removed() {
    let own = own();
    let db = Db::on(&own);
    db.sql("CREATE ROLE tenant_0123456789ab_user; COMMENT ON ROLE tenant_0123456789ab_user IS 'scratch role of tenantctl bench'");
    // Not ours, and no tenant's: it is left, and in nobody's way.
    db.sql("CREATE ROLE tenant_ba9876543210_user");
    // Marked, but somebody has given it something since.
    db.sql("CREATE ROLE tenant_aaaaaaaaaaaa_user; COMMENT ON ROLE tenant_aaaaaaaaaaaa_user IS 'scratch role of tenantctl bench'");
    db.sql("CREATE TABLE public.kept (n int); GRANT SELECT ON public.kept TO tenant_aaaaaaaaaaaa_user");
    let mut args = vec!["limits", "--beside-tenants"];
    args.extend(TINY);
    bench(&db, &args);
    assert_eq!(
        db.value("SELECT string_agg(rolname, ' ' ORDER BY rolname) FROM pg_roles WHERE rolname ~ '^tenant_[0-9a-f]{12}_user$'"),
        "tenant_aaaaaaaaaaaa_user tenant_ba9876543210_user"
    );
}

#[test]
fn what_could_only_fail_is_refused_before_anything_is_measured() {
    let own = own();
    let db = Db::on(&own);
    std::fs::write(db.dir.join("other.json"), "{\"results\":[]}").unwrap();
    for (args, code, said) in [
        (vec!["audit", "--count", "3"], 2, "--count is an option of provisioning"),
        (vec!["audit", "--baseline", "none.json"], 5, "cannot read none.json"),
        (
            vec!["audit", "--baseline", "other.json"],
            2,
            "other.json is not the result of a benchmark",
        ),
        (
            vec!["audit", "--report", "none/bench.html"],
            5,
            "there is no folder none",
        ),
        (vec!["audit", "--report", "."], 2, "./bench.html"),
        (vec!["provisioning", "--tier", "none"], 2, "none"),
        (vec!["audit", "--noise", "3"], 2, "--baseline"),
        (vec!["audit", "--record"], 4, "tenantctl init"),
        (vec![], 2, "SUITE"),
    ] {
        let mut all = vec!["bench"];
        all.extend(&args);
        let run = db.run(&all);
        assert_eq!(run.0.status.code(), Some(code), "{args:?}: {}", run.stderr());
        assert!(run.stderr().contains(said), "{args:?}: {}", run.stderr());
        assert!(!run.stderr().contains("four tenants"), "{}", run.stderr());
    }
    nothing_is_left(&db);
}
