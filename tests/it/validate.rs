//! `validate`: what it fails on, what it must never pass over, and its forms for programs. The checks have tests of
//! their own; here any check will do that finds what is wrong with one table.

use std::sync::OnceLock;

use serde_json::Value;
use tenantctl::cluster::{Cluster, Options};

use crate::support::{Cmd, Db, Run, fast, hold, start, unique};

/// A cluster without the other tests' roles and databases: they would be findings.
fn own() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        start(&Options {
            settings: fast(),
            ..Options::default()
        })
    })
}

/// A database with these tenants; the first one's `trades` is open to all.
fn broken(tenants: &[&str]) -> (Db, Defect) {
    let db = Db::on(own());
    db.run(&["init"]).success();
    let made = db.provision(tenants);
    let (tenant, schema) = (tenants[0], &made[0].schema);
    db.sql(&format!(
        "ALTER TABLE {schema}.trades DISABLE ROW LEVEL SECURITY; GRANT SELECT ON {schema}.trades TO PUBLIC"
    ));
    let object = format!("table {schema}.trades");
    let all = json(&db.run(&["validate", "--all", "-o", "json"]));
    let found = findings(&all)
        .iter()
        .find(|f| f["tenant_id"] == tenant && f["object"] == object.as_str())
        .unwrap_or_else(|| panic!("not found: {object} in {all:#}"));
    let text = |key: &str| found[key].as_str().unwrap().to_owned();
    let defect = Defect {
        check: text("check"),
        severity: text("severity"),
        object,
    };
    (db, defect)
}

/// What [`broken`] broke, as it was found.
struct Defect {
    check: String,
    severity: String,
    object: String,
}

fn json(run: &Run) -> Value {
    let code = run.0.status.code().unwrap();
    assert!([0, 1].contains(&code), "exit {code}\n{}", run.stderr());
    run.json()
}

fn findings(report: &Value) -> &[Value] {
    report["findings"].as_array().unwrap()
}

fn ids(list: &Value) -> Vec<&str> {
    let list = list.as_array().unwrap();
    list.iter().map(|entry| entry["check"].as_str().unwrap()).collect()
}

fn policy(db: &Db, suppress: &str) {
    let text = format!("validate:\n  suppress:\n{suppress}");
    std::fs::write(db.dir.join("tenant_templates.yaml"), text).unwrap();
}

const SEVERITIES: [&str; 4] = ["low", "medium", "high", "critical"];

#[test]
fn findings_fail_from_the_limit_on() {
    let (db, defect) = broken(&["acme", "globex"]);
    let args = ["validate", "--all", "--check", &defect.check];
    let report = json(&db.run(&[&args[..], &["-o", "json"]].concat()));
    let worst = findings(&report)[0]["severity"].as_str().unwrap();
    let rank = |severity: &str| SEVERITIES.iter().position(|s| *s == severity).unwrap();
    assert!(rank(worst) >= rank(&defect.severity));
    for limit in SEVERITIES {
        let fails = rank(worst) >= rank(limit);
        db.run(&[&args[..], &["--fail-on", limit]].concat())
            .exits(i32::from(fails));
    }
    db.run(&[&args[..], &["--fail-on", "never"]].concat()).success();
    let text = db.run(&args).stdout();
    for part in [
        &defect.severity.to_uppercase(),
        &defect.check,
        &defect.object,
        "acme",
        "2 tenants",
    ] {
        assert!(text.contains(part), "{part} not in\n{text}");
    }
    assert_eq!(report["tenants_checked"], 2);
    assert_eq!(report["checks_run"], 1);
    assert!(report["duration_ms"].as_f64().unwrap() > 0.0);
    assert_eq!(ids(&report["checks"]), [defect.check.as_str()]);
    assert!(report["checks"][0]["duration_ms"].as_f64().unwrap() > 0.0);
    // What was not run is named, and counted nowhere else.
    let all = json(&db.run(&["validate", "--all", "-o", "json"]));
    let run = all["checks"].as_array().unwrap().len();
    assert_eq!(report["skipped"].as_array().unwrap().len(), run - 1);
    let without = json(&db.run(&["validate", "--all", "-o", "json", "--skip", &defect.check]));
    assert_eq!(ids(&without["skipped"]), [defect.check.as_str()]);
    assert!(findings(&without).iter().all(|f| f["check"] != defect.check.as_str()));
    let order: Vec<_> = findings(&all)
        .iter()
        .map(|f| std::cmp::Reverse(rank(f["severity"].as_str().unwrap())))
        .collect();
    assert!(order.is_sorted());
}

#[test]
fn the_scope_is_what_was_asked_for() {
    let (db, defect) = broken(&["acme", "globex", "initech", "--tier", "professional"]);
    db.provision(&["small", "--tier", "basic"]);
    let found = |args: &[&str]| {
        let all = [&["validate", "-o", "json", "--check", &defect.check], args].concat();
        let report = json(&db.run(&all));
        let tenants = findings(&report)
            .iter()
            .filter_map(|f| f["tenant_id"].as_str().map(str::to_owned));
        (report["tenants_checked"].as_u64().unwrap(), tenants.collect::<Vec<_>>())
    };
    assert_eq!(found(&["globex"]), (1, vec![]));
    assert_eq!(found(&["globex", "initech", "globex"]), (2, vec![]));
    let (checked, tenants) = found(&["globex", "acme"]);
    assert_eq!((checked, tenants[0].as_str()), (2, "acme"));
    let (checked, tenants) = found(&["--all", "--tier", "professional"]);
    assert_eq!((checked, tenants[0].as_str()), (3, "acme"));
    assert_eq!(found(&["--all", "--tier", "basic"]), (1, vec![]));
    // What somebody else has set must not narrow the proof.
    db.sql(&format!(
        "ALTER DATABASE {} SET tenantctl.scope = '{{globex}}'",
        db.name
    ));
    let (checked, tenants) = found(&["--all"]);
    assert_eq!((checked, tenants[0].as_str()), (4, "acme"));

    db.run(&["validate", "acmee"])
        .exits(4)
        .says(&["acmee does not exist", "Did you mean acme?"]);
    db.run(&["validate"]).exits(2).says(&["no tenant to validate", "--all"]);
    db.run(&["validate", "acme", "--all"]).exits(2);
    db.run(&["validate", "a b"]).exits(2).says(&["invalid tenant id"]);
    let mistyped = format!("{}x", defect.check);
    for flag in ["--check", "--skip", "--explain"] {
        let args = ["validate", "--all", flag, &mistyped];
        let args: Vec<&str> = args
            .into_iter()
            .filter(|a| flag != "--explain" || *a != "--all")
            .collect();
        db.run(&args)
            .exits(2)
            .says(&[&format!("Did you mean {}?", defect.check)]);
    }
    db.run(&["validate", "--all", "--tier", "basi"])
        .exits(2)
        .says(&["no tier", "Did you mean \"basic\"?"]);
}

#[test]
fn no_tenant_is_no_proof() {
    let db = Db::on(own());
    db.run(&["init"]).success();
    for args in [&["validate", "--all"][..], &["validate", "--all", "--fail-on", "never"]] {
        let run = db.run(args).exits(1);
        assert!(run.stdout().contains("nothing was proven"), "{}", run.stdout());
    }
    let report = json(
        &db.run(&["validate", "--all", "-o", "json", "--fail-on", "never"])
            .exits(1),
    );
    assert_eq!(
        (&report["passed"], &report["tenants_checked"]),
        (&false.into(), &0.into())
    );
    let junit = db
        .run(&["validate", "--all", "--format", "junit", "--fail-on", "never"])
        .exits(1);
    assert!(junit.stdout().contains(r#"failures="1""#) && junit.stdout().contains("<failure type=\"nothing_proven\""));
    let sarif = db
        .run(&["validate", "--all", "--format", "sarif", "--fail-on", "never"])
        .exits(1)
        .json();
    let first = &sarif["runs"][0]["results"][0];
    assert_eq!(
        (&first["ruleId"], &first["level"]),
        (&"nothing_proven".into(), &"error".into())
    );
    db.provision(&["acme", "--tier", "basic"]);
    db.run(&["validate", "--all", "--tier", "enterprise", "--fail-on", "never"])
        .exits(1)
        .says(&[]);
}

/// A check that the login may not run is neither passed nor fatal.
#[test]
fn what_could_not_be_run_is_unknown() {
    let cluster = start(&Options {
        settings: fast(),
        ..Options::default()
    });
    let db = Db::on(&cluster);
    let admin = unique("admin");
    db.sql(&format!(
        "CREATE ROLE {admin} LOGIN CREATEROLE PASSWORD 'pw'; GRANT CREATE, CONNECT ON DATABASE {} TO {admin}",
        db.name
    ));
    let url = cluster.url(&admin, &db.name).replace('@', ":pw@");
    let run = |args: &[&str]| Cmd::new(args).env("DATABASE_URL", &url).dir(&db.dir).finish();
    run(&["init"]).success();
    run(&["provision", "acme"]).success();
    db.sql("REVOKE SELECT ON pg_catalog.pg_policy FROM PUBLIC");
    let report = json(&run(&["validate", "--all", "-o", "json"]));
    let unknown = report["unknown"].as_array().unwrap().iter();
    let refused: Vec<_> = unknown
        .filter(|u| u["reason"].as_str().unwrap().contains("rights do not suffice"))
        .collect();
    assert!(!refused.is_empty(), "{report:#}");
    assert!(
        refused.iter().all(|u| u["reason"].as_str().unwrap().contains("42501")),
        "{refused:#?}"
    );
    let checks = report["checks"].as_array().unwrap();
    let mut done = checks.iter().filter(|c| c["status"] == "done");
    assert_eq!(report["checks_run"], done.clone().count());
    let (unknown, done) = (
        refused[0]["check"].as_str().unwrap(),
        done.next_back().unwrap()["check"].as_str().unwrap(),
    );
    let both = format!("{unknown},{done}");
    let args = ["validate", "--all", "--fail-on", "never", "--check", &both];
    let lenient = run(&args).success().says(&["UNKNOWN", unknown]);
    assert!(lenient.stdout().contains("UNKNOWN"));
    let strict = run(&[&args[..], &["--strict"]].concat()).exits(1);
    assert!(
        strict.stdout().contains("1 check could not be run (--strict)"),
        "{}",
        strict.stdout()
    );
    let junit = run(&[&args[..], &["--format", "junit"]].concat()).stdout();
    assert!(
        junit.contains(r#"errors="1""#) && junit.contains("<error type=\"unknown\""),
        "{junit}"
    );
    // On its own it leaves nothing that was proven.
    run(&["validate", "--all", "--fail-on", "never", "--check", unknown]).exits(1);
}

#[test]
fn accepted_findings_are_told_and_do_not_fail() {
    let (db, defect) = broken(&["acme", "globex"]);
    let args = ["validate", "--all", "--fail-on", "low", "--check", &defect.check];
    let report = |db: &Db, code| json(&db.run(&[&args[..], &["-o", "json"]].concat()).exits(code));
    let entry = |tenant: &str, object: &str, expires: &str| {
        let check = &defect.check;
        format!(
            "    - {{check: {check}, tenant: {tenant}, object: '{object}', reason: ticket 4711, expires: {expires}}}\n"
        )
    };
    let total = findings(&report(&db, 1)).len();

    policy(&db, &entry("acme", "table *.trades", "9999-12-31"));
    let accepted = report(&db, i32::from(total > 1));
    assert_eq!(
        (findings(&accepted).len(), ids(&accepted["suppressed"]).len()),
        (total - 1, 1)
    );
    let suppressed = &accepted["suppressed"][0];
    assert_eq!(suppressed["object"], defect.object.as_str());
    assert_eq!(
        (&suppressed["reason"], &suppressed["expires"]),
        (&"ticket 4711".into(), &"9999-12-31".into())
    );
    let text = db.run(&args).stdout();
    for part in [
        "suppressed",
        "until 9999-12-31: ticket 4711",
        &defect.object,
        "1 suppressed",
    ] {
        assert!(text.contains(part), "{part} not in\n{text}");
    }
    assert!(
        db.run(&[&args[..], &["--format", "junit"]].concat())
            .stdout()
            .contains("suppressed until 9999-12-31")
    );
    let sarif = db.run(&[&args[..], &["--format", "sarif"]].concat()).json();
    let results = sarif["runs"][0]["results"].as_array().unwrap();
    let justified = results.iter().filter(|r| r["suppressions"][0]["kind"] == "external");
    assert_eq!(justified.count(), 1);

    policy(&db, &entry("acme", "table *.trades", "2020-01-31"));
    let expired = report(&db, 1);
    assert_eq!(
        (findings(&expired).len(), ids(&expired["suppressed"]).len()),
        (total, 0)
    );
    assert_eq!(expired["notes"][0]["kind"], "suppression_expired");
    db.run(&args)
        .exits(1)
        .says(&["warning:", "tenant_templates.yaml:3:", "expired on 2020-01-31"]);

    policy(&db, &entry("globex", "*", "9999-12-31"));
    let unused = report(&db, 1);
    assert_eq!(unused["notes"][0]["kind"], "suppression_unused");
    db.run(&args).exits(1).says(&["warning:", "matches no finding"]);
    // Of a tenant that was not looked at nothing can be said.
    let one = ["validate", "acme", "-o", "json", "--check", &defect.check];
    assert_eq!(json(&db.run(&one))["notes"], Value::Array(Vec::new()));

    policy(
        &db,
        &entry("acme", "*", "9999-12-31").replace(&defect.check, &format!("{}x", defect.check)),
    );
    db.run(&args)
        .exits(2)
        .says(&["tenant_templates.yaml:3:", "no check", &defect.check]);
}

#[test]
fn a_tenants_lock_holds_nothing_up() {
    let db = Db::on(own());
    db.run(&["init"]).success();
    let made = db.provision(&["acme", "globex"]);
    let before = json(&db.run(&["validate", "--all", "-o", "json"]));
    let tables = db.sql(&format!(
        "SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') FROM pg_tables WHERE schemaname = '{}'",
        made[0].schema
    ));
    let held = hold(
        &db.url,
        &format!("BEGIN; LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", tables[0][0]),
    );
    let during = json(&db.run(&["validate", "--all", "-o", "json"]));
    assert_eq!(during["unknown"], before["unknown"]);
    assert_eq!(during["checks_run"], before["checks_run"]);
    drop(held);
}

#[test]
fn a_report_can_go_to_a_file() {
    let (db, defect) = broken(&["acme"]);
    let args = ["validate", "--all", "--check", &defect.check, "--format"];
    let text = db
        .run(&[&args[..], &["sarif", "--report", "out.sarif"]].concat())
        .stdout();
    assert!(text.contains(&defect.object) && !text.contains("\"runs\""));
    let file = std::fs::read_to_string(db.dir.join("out.sarif")).unwrap();
    let sarif: Value = serde_json::from_str(&file).unwrap();
    let result = &sarif["runs"][0]["results"][0];
    assert_eq!(result["ruleId"], defect.check.as_str());
    assert_eq!(result["locations"][0]["logicalLocations"][1]["name"], "acme");
    db.run(&[&args[..], &["junit", "--report", "missing/out.xml"]].concat())
        .exits(5)
        .says(&["cannot write missing/out.xml"]);
    let junit = db.run(&[&args[..], &["junit"]].concat());
    assert!(junit.stdout().starts_with("<?xml") && junit.stdout().contains(r#"failures="1""#));
    junit.says(&["failed:", "1 tenant checked"]);
}

#[test]
fn the_probe_is_part_of_the_report() {
    let db = Db::on(own());
    db.run(&["init"]).success();
    let made = db.provision(&["acme", "globex"]);
    db.sql(&format!(
        "GRANT USAGE ON SCHEMA {0} TO {1}; GRANT SELECT ON {0}.trades TO {1}",
        made[0].schema, made[1].role
    ));
    let args = [
        "validate",
        "--all",
        "--probe",
        "--as-role",
        "-o",
        "json",
        "--check",
        "probe_read",
    ];
    let report = json(&db.run(&args).exits(1));
    let found = &findings(&report)[0];
    assert_eq!(
        (&found["check"], &found["tenant_id"]),
        (&"probe_read".into(), &"acme".into())
    );
    assert_eq!(ids(&report["checks"]), ["probe_read"]);
    assert!(ids(&report["skipped"]).contains(&"probe_write"));
    assert!(report["probe"]["attempts"].as_u64().unwrap() > 100);
    policy(
        &db,
        "    - {check: probe_read, object: 'table *.trades', reason: shared for now, expires: 9999-12-31}\n",
    );
    let report = json(&db.run(&args));
    assert_eq!(ids(&report["suppressed"]), ["probe_read"]);
    // Without the probe its checks are not among those that count.
    let report = json(&db.run(&["validate", "acme", "-o", "json"]));
    assert!(report["probe"].is_null());
    assert!(
        ids(&report["checks"])
            .iter()
            .chain(&ids(&report["skipped"]))
            .all(|id| !id.starts_with("probe_"))
    );
    db.run(&["validate", "--all", "--check", "probe_read"])
        .exits(2)
        .says(&["Add --probe."]);
    db.run(&["validate", "--all", "--as-role"]).exits(2).says(&["--probe"]);
}

#[test]
fn the_catalogue_needs_no_server() {
    let run = |args: &[&str]| {
        Cmd::new(args)
            .env("DATABASE_URL", "postgresql://x@127.0.0.1:1/y")
            .finish()
    };
    let list = run(&["validate", "--list", "-o", "json"]).success().json();
    let text = run(&["validate", "--list"]).success().stdout();
    assert_eq!(text.lines().count(), ids(&list["checks"]).len() + 1);
    for check in list["checks"].as_array().unwrap() {
        let [id, title, explain] = ["check", "title", "explain"].map(|key| check[key].as_str().unwrap());
        let told = run(&["validate", "--explain", id]).success().stdout();
        let flat = told.replace('\n', " ");
        for part in [id, title, explain] {
            assert!(flat.contains(part), "{part} not in\n{told}");
        }
    }
}
