//! What must hold once tenants are served.

use super::{checklist, configure, has, judged, own, passes};
use crate::support::webhook::{Answer, Webhook};
use crate::support::{Db, hold, wait_for};

fn post_deploy(db: &Db, checks: &str) -> serde_json::Value {
    judged(checklist(db, "--post-deploy", checks, &[]))
}

#[test]
fn a_fleet_that_is_served_passes_and_each_defect_is_told() {
    let cluster = own(&["fsync = off", "max_connections = 200"]);
    let db = Db::on(&cluster);
    let webhook = Webhook::start();
    let store = format!("file://{}", db.dir.join("store").display());
    let policy = |more: &str| {
        configure(
            &db,
            &format!(
                "alerts: {{url: \"{}\", backup_overdue_hours: {{any: 26}}}}\nbackup: {{store: \"{store}\"}}\n{more}",
                webhook.url("/hook")
            ),
        );
    };
    policy("");
    db.run(&["init"]).success();
    let all = "provisioning,isolation,isolation_probe,backup_automation,backup_verified,alert_test,baseline";
    // Without a tenant nothing is proven.
    let json = post_deploy(&db, all);
    has(&json, "isolation", "FAIL", "no tenant");
    has(&json, "backup_automation", "UNKNOWN", "no tenant");
    has(&json, "baseline", "FAIL", "none was recorded");

    let made = db.provision(&["a", "b"]);
    db.run(&["secure", "--all"]).success();
    db.run(&["secure", "--database"]).success();
    db.run(&["backup", "--all"]).success();
    db.run(&["backup", "verify", "--all"]).success();
    db.sql("INSERT INTO tenantctl.baselines (environment, results, tool_version) VALUES (jsonb_build_object('server_version', current_setting('server_version')), '[{\"suite\": \"queries\", \"metric\": \"p95\", \"value\": 1, \"pass\": true}]', 'test')");
    let before = db.counts();
    webhook.take();
    let json = post_deploy(&db, all);
    for check in [
        "provisioning",
        "isolation_probe",
        "backup_automation",
        "backup_verified",
        "alert_test",
        "baseline",
    ] {
        passes(&json, check);
    }
    // The standard's own words on this machine's minor release apart.
    let isolation = super::of(&json, "isolation");
    assert!(
        !isolation[0].starts_with("FAIL") && isolation[0].contains("0 critical, 0 high"),
        "{isolation:?}"
    );
    let setting = |what: &str| db.sql(&format!("ALTER DATABASE \"{}\" {what}", db.name));
    setting("SET password_encryption = 'md5'");
    let weaker = post_deploy(&db, "isolation");
    has(&weaker, "isolation", "WARN", "0 critical, 0 high");
    assert_ne!(super::of(&weaker, "isolation"), isolation);
    setting("RESET password_encryption");
    assert_eq!(db.counts(), before, "the trial has left something");
    assert_eq!(
        webhook.told(),
        ["firing tenantctl_test// warning", "resolved tenantctl_test// warning"]
    );

    // A grant across tenants is seen, and used.
    let (one, two) = (&made[0], &made[1]);
    db.sql(&format!(
        "GRANT USAGE ON SCHEMA {0} TO {1}; GRANT SELECT ON {0}.market_data TO {1}",
        one.schema, two.role
    ));
    let json = post_deploy(&db, "isolation,isolation_probe");
    has(&json, "isolation", "FAIL", "tenant");
    has(&json, "isolation_probe", "FAIL", "tenant");

    db.sql("UPDATE tenantctl.backups SET created_at = now() - interval '27 hours', verified_at = now() - interval '40 days' WHERE tenant_id = 'a'");
    let json = post_deploy(&db, "backup_automation,backup_verified");
    has(
        &json,
        "backup_automation",
        "FAIL any",
        "1 tenant of 2 without one of the last 26 hours: the last of a is 27.0 h old",
    );
    has(&json, "backup_verified", "WARN", "a has not");
    db.sql("UPDATE tenantctl.backups SET verified_at = NULL");
    has(
        &post_deploy(&db, "backup_verified"),
        "backup_verified",
        "FAIL",
        "ever read again",
    );

    webhook.always(Answer::Status(404));
    has(&post_deploy(&db, "alert_test"), "alert_test", "FAIL", "404");

    db.sql("UPDATE tenantctl.baselines SET recorded_at = now() - interval '91 days'");
    has(&post_deploy(&db, "baseline"), "baseline", "WARN", "91.0 days ago");
    db.sql("UPDATE tenantctl.baselines SET recorded_at = now(), environment = '{\"server_version\": \"14.2\"}'");
    has(
        &post_deploy(&db, "baseline"),
        "baseline",
        "WARN",
        "14.2; this server is",
    );
    db.sql("UPDATE tenantctl.baselines SET environment = jsonb_build_object('server_version', current_setting('server_version')), results = '[{\"suite\": \"queries\", \"metric\": \"p95\", \"pass\": false}]'");
    has(&post_deploy(&db, "baseline"), "baseline", "WARN", "queries p95");

    // No server makes a tenant in a microsecond.
    policy("performance_targets: {schema_creation: {max_s: 0.000001}}\n");
    let json = post_deploy(&db, "provisioning");
    has(&json, "provisioning", "FAIL trial", "the target is");
    has(&json, "provisioning", "WARN history", "2 took longer");
    configure(&db, "validate: {suppress: []}\n");
    has(&post_deploy(&db, "alert_test"), "alert_test", "FAIL", "no receiver");
}

#[test]
fn a_trial_that_is_killed_leaves_nothing() {
    let db = Db::initialized();
    let before = db.counts();
    // The registry row comes first; the trial then waits for the schema's name, which is nobody's, so it is held up here.
    let held = hold(
        &db.url,
        "BEGIN; LOCK TABLE tenantctl.operations IN ACCESS EXCLUSIVE MODE",
    );
    let mut command = db.command(&["validate", "--post-deploy", "--check", "provisioning"]);
    let mut child = command
        .command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let waiting = || {
        db.value(&format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND wait_event_type = 'Lock' AND application_name LIKE 'tenantctl%'",
            db.name
        ))
    };
    wait_for("the trial to wait", || waiting() != "0");
    child.kill().unwrap();
    child.wait().unwrap();
    drop(held);
    wait_for("the trial's session to end", || {
        db.value(&format!(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = '{}' AND application_name LIKE 'tenantctl%'",
            db.name
        )) == "0"
    });
    assert_eq!(db.counts(), before);
}
