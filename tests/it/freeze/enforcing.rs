//! `metrics --enforce`: who is due what, by what was measured; from what is made up here, and from the command line.

use clap::Parser;
use tenantctl::catalog::tenants;
use tenantctl::cli::Cli;
use tenantctl::commands::Context;
use tenantctl::commands::metrics::enforce::{self, Enforced, Outcome};
use tenantctl::freezer::Turned;
use tenantctl::interrupt::Interrupt;
use tenantctl::metrics::{Backup, Database, Fleet, Performance, TenantMetrics, cluster, host};
use tenantctl::settings::Settings;
use tenantctl::ui::{Render, Ui};

use super::{HUGE, INSERT, TINY, admins_url, freeze, is_frozen, log, refused};
use crate::support::{Db, Made, anatomy, hold, runtime, sql, unique};

/// What was measured of a tenant.
fn measured(made: &Made, size: Option<u64>, source: &str) -> TenantMetrics {
    TenantMetrics {
        tenant_id: made.id.parse().unwrap(),
        schema_name: made.schema.clone(),
        tier: "basic".into(),
        timestamp: "2026-01-01T00:00:00Z".into(),
        writes_frozen_at: None,
        database: Database {
            size_bytes: size,
            size_source: source.into(),
            ..Database::default()
        },
        performance: Performance::default(),
        resources: host::Resources::default(),
        business: Default::default(),
        backup: Backup::default(),
        limits: Default::default(),
        alerts: Vec::new(),
    }
}

fn fleet(tenants: Vec<TenantMetrics>) -> Fleet {
    Fleet {
        timestamp: "2026-01-01T00:00:00Z".into(),
        unix_time: 0.0,
        duration_ms: 0.0,
        tenants,
        cluster: cluster::Cluster::default(),
        unknown: Vec::new(),
        alerts: Vec::new(),
    }
}

/// `metrics --all --enforce` from what was measured on.
fn enforce(db: &Db, fleet: &Fleet, dry_run: bool) -> (Outcome, String) {
    let cli = Cli::try_parse_from(["tenantctl", "--database-url", &db.url, "metrics", "--all", "--enforce"]).unwrap();
    let (ui, interrupt) = (Ui::new(&cli.global), Interrupt::never());
    let ctx = Context {
        settings: Settings::resolve(&cli.global, "metrics").unwrap(),
        ui: &ui,
        interrupt: &interrupt,
    };
    runtime().block_on(async {
        let session = ctx.settings.registry(!dry_run).await.unwrap();
        let rows = tenants::list(&session, None).await.unwrap();
        let outcome = enforce::run(&ctx, &session, &rows, fleet, dry_run).await.unwrap();
        let text = match &outcome {
            Outcome::Done(report) => report.text(&ui),
            Outcome::Planned(plans) => plans.text(&ui),
        };
        (outcome, text)
    })
}

fn enforced(db: &Db, fleet: &Fleet) -> (Enforced, String) {
    match enforce(db, fleet, false) {
        (Outcome::Done(report), text) => (report, text),
        (Outcome::Planned(_), _) => panic!("planned only"),
    }
}

fn ids(turned: &[Turned]) -> Vec<&str> {
    turned.iter().map(|t| t.tenant_id.as_str()).collect()
}

#[test]
fn enforce_turns_what_is_due_and_leaves_what_is_unknown() {
    let db = Db::initialized();
    // Of the basic tier: 10 GiB.
    let names = [
        "absent",
        "broken",
        "empty",
        "estimated",
        "free",
        "full",
        "nearly",
        "other",
        "unknown",
    ];
    let mut args: Vec<&str> = names.to_vec();
    args.extend(["--tier", "basic"]);
    let made = db.provision(&args);
    let of = |id: &str| made.iter().find(|m| m.id == id).unwrap();
    for id in ["empty", "free"] {
        freeze(&db, id);
    }
    db.sql("UPDATE tenantctl.tenants SET limits = limits || '{\"max_schema_size_gb\": null}' WHERE tenant_id = 'free'");
    db.sql(&format!("DROP SCHEMA {} CASCADE", of("broken").schema));
    let exact = |id: &str, size: u64| measured(of(id), Some(size), "exact");
    let mut fleet = fleet(vec![
        exact("broken", 10 << 30),
        exact("empty", TINY),
        measured(of("estimated"), Some(HUGE), "estimate"),
        measured(of("free"), None, "unknown"),
        exact("full", 10 << 30),
        exact("nearly", (10 << 30) - 1),
        // The size of another tenant that had this name.
        TenantMetrics {
            schema_name: of("full").schema.clone(),
            ..exact("other", HUGE)
        },
        measured(of("unknown"), None, "unknown"),
    ]);
    db.sql(&format!("DROP ROLE {}", of("broken").role));
    let before = db.value("SELECT string_agg(t::text, '' ORDER BY tenant_id) FROM tenantctl.tenants t");
    let (report, text) = enforced(&db, &fleet);
    assert_eq!(
        (ids(&report.frozen), ids(&report.thawed)),
        (vec!["full"], vec!["empty", "free"]),
        "{text}"
    );
    let unknown: Vec<&str> = report.unchanged_unknown.iter().map(|u| u.tenant_id.as_str()).collect();
    assert_eq!(unknown, ["absent", "estimated", "other", "unknown"]);
    assert_eq!(report.failed.len(), 1);
    assert!(
        report.failed[0].message.contains("of tenant broken is missing"),
        "{}",
        report.failed[0].message
    );
    assert!(!report.is_complete() && report.errors.len() == 1);
    for part in [
        "frozen full: 10.0 GiB of 10.0 GiB; it reads and deletes",
        "thawed empty: 8.0 KiB of 10.0 GiB; it inserts",
        "thawed free: UNKNOWN of unlimited",
        "as it was estimated: its size is an estimate",
        "1 tenant frozen, 2 thawed, 4 as they were because their size is unknown, 1 failed",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let json = serde_json::to_value(&report).unwrap();
    assert_eq!(json["frozen"][0]["tenant_id"], "full");
    assert_eq!(json["frozen"][0]["max_bytes"], 10u64 << 30);
    assert!(json["frozen"][0]["writes_frozen_at"].is_string());
    assert_eq!(json["thawed"][1]["size_bytes"], serde_json::Value::Null);
    assert_eq!(json["failed"][0]["error_type"], "not_found");
    assert_ne!(
        db.value("SELECT string_agg(t::text, '' ORDER BY tenant_id) FROM tenantctl.tenants t"),
        before
    );
    refused(&of("full").url(&db), INSERT);
    sql(&of("empty").url(&db), INSERT).unwrap();
    sql(&of("estimated").url(&db), INSERT).unwrap();
    assert_eq!(
        db.value("SELECT status FROM tenantctl.operations WHERE operation = 'freeze' AND tenant_id = 'broken'"),
        "failed"
    );
    report.mark(&mut fleet);
    let marked: Vec<_> = fleet.tenants.iter().filter(|t| t.writes_frozen_at.is_some()).collect();
    assert_eq!(marked.len(), 1);
    assert_eq!(marked[0].tenant_id.as_str(), "full");

    // Again: nothing is due, and nothing is written.
    fleet.tenants.retain(|t| t.tenant_id.as_str() != "broken");
    let state = || {
        db.value("SELECT (SELECT count(*) FROM tenantctl.operations) || string_agg(t.xmin::text, ' ' ORDER BY tenant_id) FROM tenantctl.tenants t")
    };
    let before = state();
    let (report, text) = enforced(&db, &fleet);
    assert!(
        report.frozen.is_empty() && report.thawed.is_empty() && report.is_complete(),
        "{text}"
    );
    assert_eq!(state(), before);
}

#[test]
fn a_dry_run_prints_the_plan_and_changes_nothing() {
    let db = Db::initialized();
    let made = db.provision(&["acme", "globex", "initech", "--tier", "basic"]);
    freeze(&db, "globex");
    let looks: Vec<_> = made.iter().map(|m| anatomy(&db, &m.schema)).collect();
    let operations = db.value("SELECT count(*) FROM tenantctl.operations");
    let fleet = fleet(vec![
        measured(&made[0], Some(HUGE), "exact"),
        measured(&made[1], Some(TINY), "exact"),
        measured(&made[2], Some(HUGE), "estimate"),
    ]);
    let (outcome, text) = enforce(&db, &fleet, true);
    for part in [
        "-- initech: its size is an estimate, so nothing was changed",
        "-- thaw the writes of tenant globex",
        "-- freeze the writes of tenant acme",
        "REVOKE INSERT, UPDATE ON TABLE ",
        "GRANT INSERT, UPDATE ON TABLE ",
        "COMMIT;",
    ] {
        assert!(text.contains(part), "{part} in\n{text}");
    }
    let Outcome::Planned(planned) = outcome else {
        panic!("done")
    };
    let json = serde_json::to_value(&planned).unwrap();
    assert_eq!(json["plan"].as_array().unwrap().len(), 2);
    assert_eq!(json["unchanged_unknown"][0]["tenant_id"], "initech");
    assert_eq!(made.iter().map(|m| anatomy(&db, &m.schema)).collect::<Vec<_>>(), looks);
    assert_eq!(db.value("SELECT count(*) FROM tenantctl.operations"), operations);
    // What it prints is what would be run: run by hand, it does it.
    db.sql(&text);
    assert_eq!((is_frozen(&db, "acme"), is_frozen(&db, "globex")), (true, false));
    refused(&made[0].url(&db), INSERT);
    sql(&made[1].url(&db), INSERT).unwrap();
}

/// From the command line, by sizes that are measured: nothing is smaller than a limit of nothing.
#[test]
fn the_command_measures_and_enforces() {
    let db = Db::initialized();
    let made = db.provision(&["acme", "globex", "--tier", "basic"]);
    let limit = |max: &str| {
        db.sql(&format!(
            "UPDATE tenantctl.tenants SET limits = limits || '{{\"max_schema_size_gb\": {max}}}' WHERE tenant_id = 'acme'"
        ));
    };
    let run = |args: &[&str]| {
        let mut all = vec!["-o", "json", "metrics", "--enforce", "--no-notify", "--no-business"];
        all.extend(args);
        db.run(&all)
    };
    assert_eq!(
        run(&["--all"]).success().json()["enforced"]["frozen"],
        serde_json::json!([])
    );
    limit("0");
    let plan = db
        .run(&["metrics", "--all", "--enforce", "--dry-run"])
        .success()
        .stdout();
    assert!(
        plan.contains("freeze the writes of tenant acme") && !plan.contains("globex"),
        "{plan}"
    );
    assert!(!is_frozen(&db, "acme"));
    // Frozen, and told as an alert from the same run on.
    let json = run(&["--all"]).exits(1).json();
    let frozen = &json["enforced"]["frozen"];
    assert_eq!(frozen.as_array().unwrap().len(), 1, "{json}");
    let size = db.value(&format!(
        "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = '{}'::regnamespace AND relkind IN ('r', 'p')",
        made[0].schema
    ));
    assert_eq!(frozen[0]["size_bytes"].to_string(), size);
    assert!(
        json["alerts"].to_string().contains("writes_frozen"),
        "{}",
        json["alerts"]
    );
    refused(&made[0].url(&db), INSERT);
    sql(&made[1].url(&db), INSERT).unwrap();
    let again = run(&["--all"]).exits(1).json();
    assert_eq!(again["enforced"]["frozen"], serde_json::json!([]));
    // An admin whom a lock keeps from measuring leaves it as it is.
    limit("10");
    let admin = unique("frz_admin");
    db.sql(&format!(
        "CREATE ROLE {admin} LOGIN PASSWORD '{admin}' IN ROLE tenantctl_owner; GRANT CONNECT ON DATABASE {} TO {admin}",
        db.name
    ));
    let held = hold(
        &db.url,
        &format!("BEGIN; LOCK TABLE {}.trades IN ACCESS EXCLUSIVE MODE", made[0].schema),
    );
    let command = db.command(&[
        "-o",
        "json",
        "metrics",
        "acme",
        "globex",
        "--enforce",
        "--no-notify",
        "--no-business",
    ]);
    let json = command
        .env("DATABASE_URL", &admins_url(&db, &admin))
        .finish()
        .exits(1)
        .json();
    assert_eq!(json["enforced"]["thawed"], serde_json::json!([]), "{json}");
    let unknown = &json["enforced"]["unchanged_unknown"];
    assert_eq!(unknown[0]["tenant_id"], "acme", "{json}");
    assert_eq!(unknown.as_array().unwrap().len(), 1, "{unknown}");
    drop(held);
    let text = db
        .run(&["metrics", "acme", "--enforce", "--no-notify", "--no-business"])
        .success();
    assert!(
        format!("{}{}", text.stdout(), text.stderr()).contains("thawed acme"),
        "{}",
        text.stdout()
    );
    sql(&made[0].url(&db), INSERT).unwrap();
    assert_eq!(log(&db), ["acme freeze done", "acme thaw done"]);
}

/// What a tenant may lock of its own, and what an admin at work has locked: their figures are unknown, and all others known.
#[test]
fn whoever_locks_tables_keeps_nobody_else_from_being_measured() {
    let db = Db::new();
    let role = unique("measurer");
    db.sql(&format!(
        "CREATE ROLE {role} LOGIN CREATEROLE PASSWORD '{role}'; GRANT CREATE, CONNECT ON DATABASE {0} TO {role} WITH GRANT OPTION",
        db.name
    ));
    let admin = Db {
        url: admins_url(&db, &role),
        name: db.name.clone(),
        dir: db.dir.clone(),
    };
    admin.run(&["init"]).success();
    let made = admin.provision(&["busy", "full", "hostile"]);
    let of = |id: &str| made.iter().find(|m| m.id == id).unwrap();
    db.sql("UPDATE tenantctl.tenants SET limits = limits || '{\"max_schema_size_gb\": 0}' WHERE tenant_id <> 'busy'");
    let _locked = hold(
        &of("hostile").url(&db),
        "BEGIN; LOCK TABLE portfolios, positions, trades IN ACCESS EXCLUSIVE MODE",
    );
    let _working = hold(
        &db.url,
        &format!(
            "BEGIN; LOCK TABLE {}.tenant_usage IN ACCESS EXCLUSIVE MODE",
            of("busy").schema
        ),
    );
    let run = admin.run(&["-o", "json", "metrics", "--all", "--enforce"]).exits(1);
    let json = run.json();
    assert_eq!(json["enforced"]["frozen"].as_array().unwrap().len(), 1, "{json}");
    assert!(is_frozen(&db, "full") && !is_frozen(&db, "hostile"));
    let business = |id: &str| {
        let tenants = json["tenants"].as_array().unwrap();
        tenants.iter().find(|t| t["tenant_id"] == id).unwrap()["business"]["portfolio_count"].clone()
    };
    assert_eq!(business("full"), 0.0);
    assert!(business("hostile").is_null());
}
