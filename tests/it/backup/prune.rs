//! Backups that are over, overdue, or not whole.

use super::*;

#[test]
fn prune_keeps_the_newest_and_removes_what_is_over() {
    let db = Db::initialized();
    db.provision(&["acme", "globex"]);
    // One day, so that the manifests themselves can be made to have expired by a clock that is moved: by the row's age.
    std::fs::write(db.dir.join("tenant_templates.yaml"), "retention_days: {scheduled: 1}\n").unwrap();
    let make = |id: &str, kind: &str| one(backup(&db, &[id, "--type", kind]).finish());
    let old = make("acme", "scheduled");
    let newer = make("acme", "scheduled");
    let only = make("globex", "scheduled");
    let prune = |args: &[&str]| {
        let mut all = vec!["prune"];
        all.extend(args);
        backup(&db, &all).finish()
    };
    assert_eq!(prune(&[]).success().json()["removals"].as_array().unwrap().len(), 0);
    for done in [&old, &newer, &only] {
        expire(&db, done);
    }
    let told = prune(&[]).success().says(&["--yes"]).json();
    let ids = |json: &Value| -> Vec<String> {
        let removals = json["removals"].as_array().unwrap().iter();
        removals.map(|r| r["backup_id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&told), [old["backup_id"].as_str().unwrap()]);
    assert!(path_of(&db, &old).join("manifest.json").exists(), "it only tells");
    // The newest is damaged: the older one is the last good one now, and stays.
    let lost = path_of(&db, &newer).join("manifest.json");
    let text = std::fs::read(&lost).unwrap();
    std::fs::remove_file(&lost).unwrap();
    assert_eq!(ids(&prune(&[]).success().json()), Vec::<String>::new());
    std::fs::write(&lost, text).unwrap();
    // Under way: left alone.
    let held = hold(
        &db.url,
        "BEGIN; SELECT FROM tenantctl.tenant_locks WHERE tenant_id = 'acme' FOR UPDATE",
    );
    let run = prune(&["--yes"]).success().says(&["acme is left alone"]);
    assert_eq!(ids(&run.json()), Vec::<String>::new());
    drop(held);
    wait_for("the lock to be free", || ids(&prune(&[]).json()).len() == 1);
    let run = prune(&["--yes"]).success().json();
    assert_eq!(
        (ids(&run), &run["removed"]),
        (vec![old["backup_id"].as_str().unwrap().to_owned()], &Value::Bool(true))
    );
    assert!(files(&path_of(&db, &old)).is_empty());
    let left = backup(&db, &["list"]).finish().success().json();
    assert_eq!(left["backups"].as_array().unwrap().len(), 2);
    // A backup that died, and what an upload without a row has left a day ago.
    db.sql(&format!(
        "INSERT INTO tenantctl.backups (backup_id, tenant_id, schema_name, backup_type, store, key, status, tool_version)
         VALUES ('globex_20260101_000000_aaaaaa', 'globex', 'x', 'manual', 'file://{}', 'k', 'running', 'x')",
        folder(&db).display()
    ));
    let orphan = |id: &str, old: bool| {
        let dir = folder(&db).join(format!("tenants/acme/backups/{id}/data"));
        std::fs::create_dir_all(&dir).unwrap();
        let file = std::fs::File::create(dir.join("t.1.zst")).unwrap();
        if old {
            let day = std::time::SystemTime::now() - std::time::Duration::from_secs(25 * 3600);
            file.set_modified(day).unwrap();
        }
    };
    orphan("acme_20260101_000000_bbbbbb", true);
    orphan("acme_20260101_000000_cccccc", false);
    let run = prune(&["--yes"]).success().json();
    assert_eq!(
        ids(&run),
        ["acme_20260101_000000_bbbbbb", "globex_20260101_000000_aaaaaa"]
    );
    let reasons: Vec<_> = run["removals"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| r["reason"].as_str().unwrap())
        .collect();
    assert_eq!(reasons, ["orphan", "dead"]);
    assert_eq!(
        db.value("SELECT count(*) FROM tenantctl.backups WHERE status = 'running'"),
        "0"
    );
    assert!(
        folder(&db)
            .join("tenants/acme/backups/acme_20260101_000000_cccccc")
            .exists()
    );
}

#[test]
fn tenants_without_a_recent_backup_are_findings() {
    let db = Db::initialized();
    db.provision(&["acme", "globex", "initech", "reborn", "umbrella"]);
    let done = backup(&db, &["acme", "globex", "reborn"]).finish().success().json();
    db.sql(
        "UPDATE tenantctl.backups SET created_at = created_at - interval '30 hours' WHERE tenant_id = 'globex';
         UPDATE tenantctl.backups SET schema_name = 'tenant_of_before' WHERE tenant_id = 'reborn';
         UPDATE tenantctl.tenants SET created_at = created_at - interval '40 hours' WHERE tenant_id <> 'umbrella';
         UPDATE tenantctl.tenants SET created_at = created_at + interval '1 hour' WHERE tenant_id = 'reborn';",
    );
    let run = backup(&db, &["list", "--overdue", "26"]).finish().exits(1);
    let json = run.says(&["3 tenants without a good backup for 26 hours"]).json();
    let overdue = json["overdue"].as_array().unwrap();
    let told: Vec<_> = overdue
        .iter()
        .map(|o| (o["tenant_id"].as_str().unwrap(), &o["backup_id"]))
        .collect();
    let of_globex = done["backups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|b| b["tenant_id"] == "globex")
        .unwrap();
    assert_eq!(
        told,
        [
            ("initech", &Value::Null),
            ("reborn", &Value::Null),
            ("globex", &of_globex["backup_id"])
        ]
    );
    assert!((30.0..31.0).contains(&overdue[2]["hours"].as_f64().unwrap()));
    backup(&db, &["list", "--overdue", "31", "globex"]).finish().success();
    backup(&db, &["list", "--overdue", "26", "globax"]).finish().exits(4);
    backup(&db, &["list", "--overdue", "26", "--store", "file:///tmp"])
        .finish()
        .exits(2);
}

/// What prune read before it had the tenant's lock may be over by then.
#[test]
fn a_backup_that_is_done_while_prune_looks_is_not_taken_for_dead() {
    let db = Db::initialized();
    db.provision(&["acme"]);
    let done = one(backup(&db, &["acme"]).finish());
    // As prune may meet it: under way still, with nothing but its row missing.
    db.sql("UPDATE tenantctl.backups SET status = 'running'; DELETE FROM tenantctl.tenant_locks");
    let held = hold(
        &db.url,
        "BEGIN; INSERT INTO tenantctl.tenant_locks (tenant_id) VALUES ('acme')",
    );
    let child = backup(&db, &["prune", "--yes"])
        .command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("prune to wait for the tenant's lock", || {
        db.value(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()",
        ) == "1"
    });
    db.sql("UPDATE tenantctl.backups SET status = 'done'");
    drop(held);
    let json = Run(child.wait_with_output().unwrap()).success().json();
    assert_eq!(json["removals"].as_array().unwrap().len(), 0, "{json}");
    let verified = backup(&db, &["verify", "--all"]).finish().success().json();
    assert_eq!(verified["verified"][0]["backup_id"], done["backup_id"]);
}

/// Databases may share a store, and their tenants may have the same names.
#[test]
fn the_last_backup_of_another_databases_tenant_stays() {
    let (db, other) = (Db::initialized(), Db::initialized());
    db.provision(&["acme"]);
    other.provision(&["acme"]);
    let store = format!("file://{}", folder(&db).display());
    let theirs = one(other
        .command(&["-o", "json", "backup", "acme"])
        .env("TENANTCTL_STORE", &store)
        .finish());
    expire_in(&db, &theirs);
    std::thread::sleep(std::time::Duration::from_millis(5));
    let ours = one(backup(&db, &["acme"]).finish());
    let pruned = backup(&db, &["prune", "--yes"]).finish().success().json();
    assert_eq!(pruned["removals"].as_array().unwrap().len(), 0, "{pruned}");
    for id in [&theirs, &ours] {
        assert!(path_of(&db, id).join("manifest.json").exists());
    }
}

/// Makes a backup look as if its time were over: in its manifest, its sums and its row.
fn expire(db: &Db, done: &Value) {
    let found = expire_in(db, done);
    db.sql(&format!(
        "UPDATE tenantctl.backups SET expires_at = '2020-01-01', manifest_sha256 = '{found}' WHERE backup_id = '{}'",
        done["backup_id"].as_str().unwrap()
    ));
}

/// The same in its manifest and sums only; returns the manifest's checksum.
fn expire_in(db: &Db, done: &Value) -> String {
    let dir = path_of(db, done);
    let text = std::fs::read_to_string(dir.join("manifest.json")).unwrap();
    let expires = done["expires_at"].as_str().unwrap();
    let text = text.replace(expires, "2020-01-01T00:00:00.000Z");
    std::fs::write(dir.join("manifest.json"), &text).unwrap();
    let found = tenantctl::backup::manifest::sha256(text.as_bytes());
    let sums = std::fs::read_to_string(dir.join("SHA256SUMS")).unwrap();
    let sums: String = sums
        .lines()
        .map(|line| match line.ends_with("  manifest.json") {
            true => format!("{found}  manifest.json\n"),
            false => format!("{line}\n"),
        })
        .collect();
    std::fs::write(dir.join("SHA256SUMS"), sums).unwrap();
    found
}
