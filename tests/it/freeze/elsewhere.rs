//! The frozen state and the other commands: secure, validate, the probe, backup and restore.

use std::path::PathBuf;

use super::{HUGE, INSERT, TINY, freeze, is_frozen, refused, rights, thaw, turn};
use crate::restore::sound;
use crate::support::{Db, Made, Run, anatomy, sql};

fn findings(db: &Db, args: &[&str]) -> Vec<serde_json::Value> {
    let mut all = vec!["-o", "json", "validate", "acme", "--fail-on", "never"];
    all.extend(args);
    let json = db.run(&all).success().json();
    let list = json["findings"].as_array().unwrap().clone();
    list.into_iter().filter(|f| f["tenant_id"] == "acme").collect()
}

#[test]
fn secure_keeps_a_frozen_tenant_frozen_and_mends_the_rest() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    let (s, r) = (&made.schema, &made.role);
    let before = anatomy(&db, s);
    freeze(&db, "acme");
    let frozen = anatomy(&db, s);
    assert_ne!(frozen, before);
    let run = db.run(&["secure", "acme"]).success();
    assert!(run.stdout().contains("1 met the standard"), "{}", run.stdout());
    db.sql(&format!(
        "GRANT INSERT ON {s}.trades TO {r}; GRANT UPDATE (name) ON {s}.portfolios TO {r}; REVOKE DELETE ON {s}.positions FROM {r};
         REVOKE SELECT ON {s}.market_data FROM {r}; GRANT TRUNCATE ON {s}.market_data TO {r};
         SET ROLE tenantctl_owner; CREATE TABLE {s}.notes (id int); GRANT SELECT, INSERT, DELETE ON {s}.notes TO {r}"
    ));
    db.run(&["secure", "acme"]).success();
    let notes = db.value(&format!("SELECT array_agg(privilege_type ORDER BY privilege_type)::text FROM aclexplode((SELECT relacl FROM pg_class WHERE oid = '{s}.notes'::regclass)) WHERE grantee = '{r}'::regrole"));
    assert_eq!(notes, "{DELETE,SELECT}", "what is not the standard's keeps the rest");
    db.sql(&format!("DROP TABLE {s}.notes"));
    assert_eq!(anatomy(&db, s), frozen);
    assert!(is_frozen(&db, "acme"));
    let run = db.run(&["secure", "acme"]).success();
    assert!(run.stdout().contains("1 met the standard"), "{}", run.stdout());
    // A larger tier makes it due for a thaw; secure itself thaws nobody.
    db.sql("UPDATE tenantctl.tenants SET tier = 'enterprise' WHERE tenant_id = 'acme'");
    db.run(&["secure", "acme"]).success();
    assert_eq!(rights(&db, &made), "DELETE SELECT");
    let turned = turn(&db, "acme", 100 << 30).unwrap();
    assert_eq!(turned.max_bytes, Some(1000 << 30));
    db.sql(&format!("REVOKE INSERT ON {s}.trades FROM {r}"));
    db.run(&["secure", "acme"]).success();
    sql(&made.url(&db), INSERT).unwrap();
    assert_eq!(rights(&db, &made), "DELETE INSERT SELECT UPDATE");
}

#[test]
fn validate_holds_a_frozen_tenant_to_what_a_freeze_leaves() {
    let db = Db::initialized();
    let made = db.provision(&["acme", "globex"]).remove(0);
    let (s, r) = (&made.schema, &made.role);
    freeze(&db, "acme");
    assert_eq!(findings(&db, &[]), Vec::<serde_json::Value>::new());
    let seen = |break_it: &str, mend: &str| {
        db.sql(break_it);
        let found = findings(&db, &[]);
        db.sql(mend);
        found
    };
    for right in ["INSERT", "UPDATE"] {
        let found = seen(
            &format!("GRANT {right} ON {s}.trades TO {r}"),
            &format!("REVOKE {right} ON {s}.trades FROM {r}"),
        );
        assert_eq!(found.len(), 1, "{found:?}");
        assert_eq!(found[0]["check"], "grants_relations");
        assert_eq!(found[0]["object"], format!("table {s}.trades"));
        assert_eq!(found[0]["remedy"], "tenantctl secure acme");
        let detail = found[0]["detail"].as_str().unwrap();
        assert!(
            detail.contains(right) && detail.contains("SELECT, DELETE while its writes are frozen"),
            "{detail}"
        );
    }
    let found = seen(
        &format!("GRANT UPDATE (symbol) ON {s}.trades TO {r}"),
        &format!("REVOKE UPDATE (symbol) ON {s}.trades FROM {r}"),
    );
    assert_eq!(found[0]["check"], "grants_columns");
    let found = seen(
        &format!("REVOKE DELETE ON {s}.trades FROM {r}"),
        &format!("GRANT DELETE ON {s}.trades TO {r}"),
    );
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["check"], "grants_missing");
    // The registry alone says so, or no longer: each table is one too many, or one too few.
    let found = seen(
        "UPDATE tenantctl.tenants SET writes_frozen_at = NULL WHERE tenant_id = 'acme'",
        "UPDATE tenantctl.tenants SET writes_frozen_at = now() WHERE tenant_id = 'acme'",
    );
    assert!(
        found.len() > 3 && found.iter().all(|f| f["check"] == "grants_missing"),
        "{found:?}"
    );
    thaw(&db, "acme");
    let found = seen(
        "UPDATE tenantctl.tenants SET writes_frozen_at = now() WHERE tenant_id = 'acme'",
        "UPDATE tenantctl.tenants SET writes_frozen_at = NULL WHERE tenant_id = 'acme'",
    );
    assert!(
        found.len() > 3 && found.iter().all(|f| f["check"] == "grants_relations"),
        "{found:?}"
    );
    assert_eq!(findings(&db, &[]), Vec::<serde_json::Value>::new());
}

#[test]
fn the_probe_expects_of_a_frozen_tenant_what_it_may_do() {
    let db = Db::initialized();
    let made = db.provision(&["acme", "globex"]).remove(0);
    freeze(&db, "acme");
    let probe = || {
        let run = db
            .run(&["-o", "json", "validate", "acme", "--probe", "--fail-on", "never"])
            .success();
        let json = run.json();
        let probed = |key: &str| -> Vec<serde_json::Value> {
            let list = json[key].as_array().unwrap().iter();
            list.filter(|f| matches!(f["check"].as_str(), Some("probe_control" | "probe_frozen")))
                .cloned()
                .collect()
        };
        (probed("findings"), probed("unknown"))
    };
    assert_eq!(probe(), (Vec::new(), Vec::new()));
    db.sql(&format!("GRANT INSERT ON {}.trades TO {}", made.schema, made.role));
    let (found, unknown) = probe();
    assert_eq!(unknown, Vec::<serde_json::Value>::new());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0]["check"], "probe_frozen");
    assert_eq!(found[0]["object"], format!("table {}.trades", made.schema));
    assert!(
        found[0]["detail"].as_str().unwrap().contains("insert into it"),
        "{found:?}"
    );
    db.run(&["secure", "acme"]).success();
    db.sql(&format!("REVOKE DELETE ON {}.trades FROM {}", made.schema, made.role));
    let (found, unknown) = probe();
    assert_eq!(found, Vec::<serde_json::Value>::new());
    assert_eq!(unknown.len(), 1, "{unknown:?}");
    assert!(
        unknown[0]["reason"]
            .as_str()
            .unwrap()
            .contains("could not delete from it"),
        "{unknown:?}"
    );
}

/// A tenant with some rows and a backup of before it was frozen.
struct Scene {
    db: Db,
    tenant: Made,
    store: PathBuf,
    backup: String,
}

impl Scene {
    fn new() -> Self {
        let db = Db::initialized();
        let tenant = db.provision(&["acme"]).remove(0);
        sql(&tenant.url(&db), &format!("{INSERT}; {INSERT}")).unwrap();
        let store = db.dir.join("store");
        let mut scene = Self {
            db,
            tenant,
            store,
            backup: String::new(),
        };
        scene.backup = scene.back_up();
        scene
    }

    fn run(&self, args: &[&str]) -> Run {
        let command = self.db.command(args);
        command
            .env("TENANTCTL_STORE", &format!("file://{}", self.store.display()))
            .finish()
    }

    fn back_up(&self) -> String {
        let json = self.run(&["-o", "json", "backup", "acme"]).success().json();
        json["backups"][0]["backup_id"].as_str().unwrap().to_owned()
    }

    fn rows(&self) -> String {
        self.db
            .value(&format!("SELECT count(*) FROM {}.portfolios", self.tenant.schema))
    }
}

#[test]
fn restores_keep_a_frozen_tenant_frozen() {
    let scene = Scene::new();
    let (db, url) = (&scene.db, scene.tenant.url(&scene.db));
    freeze(db, "acme");
    let frozen = anatomy(db, &scene.tenant.schema);
    let of_frozen = scene.back_up();
    scene
        .run(&["backup", "verify", &of_frozen, "--restore-drill"])
        .success();
    for backup in [&scene.backup, &of_frozen] {
        sql(&url, "DELETE FROM portfolios").unwrap();
        scene.run(&["restore", "acme", "--backup", backup]).success();
        assert_eq!(scene.rows(), "2");
        assert_eq!(anatomy(db, &scene.tenant.schema), frozen);
        assert!(is_frozen(db, "acme"));
        refused(&url, INSERT);
        sound(db, "acme");
    }
    sql(&url, "DELETE FROM portfolios").unwrap();
    scene
        .run(&["restore", "acme", "--backup", &scene.backup, "--tables", "portfolios"])
        .success();
    assert_eq!(
        (scene.rows().as_str(), anatomy(db, &scene.tenant.schema) == frozen),
        ("2", true)
    );
    scene.run(&["restore", "acme", "--undo"]).success();
    assert_eq!(
        (scene.rows().as_str(), anatomy(db, &scene.tenant.schema) == frozen),
        ("0", true)
    );
    // What was replaced while it was not frozen comes back frozen, and the reverse.
    thaw(db, "acme");
    scene.run(&["restore", "acme", "--backup", &scene.backup]).success();
    sql(&url, INSERT).unwrap();
    freeze(db, "acme");
    scene.run(&["restore", "acme", "--undo"]).success();
    refused(&url, INSERT);
    sound(db, "acme");
    thaw(db, "acme");
    scene.run(&["restore", "acme", "--undo"]).success();
    sql(&url, INSERT).unwrap();
    sound(db, "acme");
}

#[test]
fn a_new_tenant_from_a_frozen_ones_backup_is_not_frozen() {
    let scene = Scene::new();
    let db = &scene.db;
    freeze(db, "acme");
    let backup = scene.back_up();
    scene
        .run(&["restore", "acme", "--backup", &backup, "--as", "copy"])
        .success();
    assert!(is_frozen(db, "acme") && !is_frozen(db, "copy"));
    sound(db, "copy");
    // It is as large, and the next run freezes it.
    turn(db, "copy", HUGE).unwrap();
    assert!(is_frozen(db, "copy"));
    db.run(&["drop", "acme", "--yes"]).success();
    let json = scene
        .run(&["-o", "json", "restore", "--from-store", "acme"])
        .success()
        .json();
    assert!(json.to_string().contains("acme"), "{json}");
    assert!(!is_frozen(db, "acme"));
    sound(db, "acme");
    assert_eq!(turn(db, "acme", TINY), None);
}
