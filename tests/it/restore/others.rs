//! Backups of other tenants, other clusters and other versions of the template, and admins of fewer rights.

use super::*;

#[test]
fn backups_that_are_others_or_nowhere_are_refused() {
    let scene = Scene::new("acme");
    let db = &scene.db;
    db.provision(&["other"]);
    let id = scene.backup();
    let other = scene.run(&["-o", "json", "backup", "other"]).success().json();
    let other = other["backups"][0]["backup_id"].as_str().unwrap();
    let before = scene.contents();
    scene
        .run(&["restore", "acme", "--backup", "nonsense"])
        .exits(2)
        .says(&["invalid backup id"]);
    scene
        .run(&["restore", "acme", "--backup", other])
        .exits(2)
        .says(&["is of tenant other, not of acme", "--as"]);
    scene
        .run(&["restore", "acme", "--backup", "acme_20200101_000000_aaaaaa"])
        .exits(4)
        .says(&["no backup acme_20200101_000000_aaaaaa"]);
    scene
        .run(&["restore", "nobody"])
        .exits(4)
        .says(&["no backup of tenant nobody"]);
    scene.run(&["restore", "acme", "--all"]).exits(2);
    assert_eq!(count(db, "tenantctl.restores"), 0, "nothing was begun");
    same(&scene.contents(), &before);
    scene.restore(&["--backup", &id]);
    same(&scene.contents(), &before);
    scene.is_sound();
}

/// Who has a name now is not who had it before.
#[test]
fn the_rows_of_an_earlier_tenant_come_back_only_when_they_are_named() {
    let scene = Scene::new("acme");
    let db = &scene.db;
    let backup = scene.backup();
    let before = scene.contents();
    db.run(&["drop", "acme", "--yes"]).success();
    let again = db.provision(&["acme", "--tier", "enterprise"]).remove(0);
    for args in [&["restore", "acme"][..], &["restore", "acme", "--tables", "trades"]] {
        scene.run(args).exits(4).says(&[
            "is of another tenant that was called acme",
            &format!("--backup {backup}"),
        ]);
    }
    assert_eq!(count(db, &format!("{}.trades", again.schema)), 0);
    scene
        .run(&["restore", "acme", "--backup", &backup])
        .success()
        .says(&["is of another tenant that was called acme"]);
    assert_eq!(contents(db, &again.schema)["trades"], before["trades"]);
    sql(&again.url(db), "SELECT count(*) FROM trades").unwrap();
    assert!(sql(&scene.url(), "SELECT count(*) FROM trades").is_err());
    sound(db, "acme");
}

#[test]
fn an_admin_who_is_no_superuser_restores() {
    let db = Db::new();
    let role = unique("restorer");
    db.sql(&format!(
        "CREATE ROLE {role} LOGIN CREATEROLE PASSWORD 'pw'; GRANT CREATE, CONNECT ON DATABASE {0} TO {role} WITH GRANT OPTION",
        db.name
    ));
    let admin = db.url_as(&role).replace('@', ":pw@");
    let store = db.dir.join("store");
    let run = |args: &[&str]| {
        db.command(args)
            .env("DATABASE_URL", &admin)
            .env("TENANTCTL_STORE", &format!("file://{}", store.display()))
            .finish()
    };
    run(&["init"]).success();
    let json = run(&["-o", "json", "provision", "acme", "--tier", "enterprise"])
        .success()
        .json();
    let made = &json["tenants"][0];
    let schema = made["schema_name"].as_str().unwrap();
    let url = db
        .url_as(made["role_name"].as_str().unwrap())
        .replace('@', &format!(":{}@", made["password"].as_str().unwrap()));
    sql(&url, DATA).unwrap();
    let before = contents(&db, schema);
    run(&["backup", "acme"]).success();
    sql(&url, "DELETE FROM trades").unwrap();
    run(&["restore", "acme"]).success();
    same(&contents(&db, schema), &before);
    sql(&url, "DELETE FROM positions").unwrap();
    run(&["restore", "acme", "--tables", "positions"]).success();
    assert_eq!(contents(&db, schema)["positions"], before["positions"]);
    run(&["restore", "acme", "--undo"]).success();
    assert_eq!(count(&db, &format!("{schema}.positions")), 0);
    let held = hold(&url, "BEGIN; SELECT count(*) FROM trades");
    run(&["restore", "acme", "--disconnect"]).success();
    drop(held);
    assert_eq!(contents(&db, schema)["positions"], before["positions"]);
    run(&["restore", "acme", "--as", "copy"]).success();
    run(&["restore", "acme", "--drop-replaced"]).success();
    for id in ["acme", "copy"] {
        let secure = run(&["secure", id, "--dry-run"]).success();
        assert!(
            secure.stderr().contains("nothing to do"),
            "{}{}",
            secure.stdout(),
            secure.stderr()
        );
    }
    run(&["drop", "acme", "copy", "--yes"]).success();
}

#[test]
fn an_empty_cluster_is_rebuilt_from_a_store() {
    let scene = Scene::new("acme");
    let made = scene.db.provision(&["globex", "initech", "--tier", "basic"]);
    sql(
        &made[0].url(&scene.db),
        "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'g')",
    )
    .unwrap();
    scene.backup();
    scene.run(&["backup", "--all"]).success();
    let rows = scene
        .db
        .sql("SELECT tenant_id, schema_name, salt, tier, limits FROM tenantctl.tenants ORDER BY 1");
    let before: Vec<_> = rows.iter().map(|row| contents(&scene.db, &row[1])).collect();
    let second = crate::support::start(&tenantctl::cluster::Options {
        settings: crate::support::fast(),
        ..Default::default()
    });
    let db = Db::on(&second);
    let store = format!("file://{}", scene.store.display());
    db.run(&["restore", "--from-store", "--all"])
        .exits(2)
        .says(&["needs a store"]);
    db.run(&["restore", "--from-store", "--all", "--store", &store, "--dry-run"])
        .success()
        .says(&["3 tenants would be restored"]);
    let json = db
        .run(&["-o", "json", "restore", "--from-store", "--all", "--store", &store])
        .success()
        .json();
    assert_eq!(json["tenants"].as_array().unwrap().len(), 3);
    assert_eq!(json["failed"].as_array().unwrap().len(), 0);
    assert_eq!(
        db.sql("SELECT tenant_id, schema_name, salt, tier, limits FROM tenantctl.tenants ORDER BY 1"),
        rows
    );
    for (row, before) in rows.iter().zip(&before) {
        same(&contents(&db, &row[1]), before);
        sound(&db, &row[0]);
    }
    assert_eq!(count(&db, "tenantctl.backups WHERE status = 'done'"), 4);
    let acme = &json["tenants"][0]["restored"];
    assert_eq!(acme["tenant_id"], "acme");
    let url = second
        .url(acme["role_name"].as_str().unwrap(), &db.name)
        .replace('@', &format!(":{}@", acme["password"].as_str().unwrap()));
    assert_eq!(sql(&url, "SELECT count(*) FROM portfolios").unwrap()[0][0], "4");
    // Once more: all of them are there.
    let json = db
        .run(&[
            "-o",
            "json",
            "restore",
            "--from-store",
            "acme",
            "globex",
            "--store",
            &store,
        ])
        .success()
        .json();
    assert!(json["tenants"][0]["restored"].is_null(), "{json}");
    db.run(&["restore", "acme"]).success();
}

#[test]
fn a_backup_of_an_older_template_brings_its_version_along() {
    let scene = Scene::new("acme");
    scene.backup();
    // A registry that has never known the template learns it from the backup, and goes on making tenants from its own.
    let other = crate::support::start(&tenantctl::cluster::Options {
        settings: crate::support::fast(),
        ..Default::default()
    });
    let second = Db::on(&other);
    std::fs::write(second.dir.join("tenant_templates.yaml"), "template:\n  bulk_load: []\n").unwrap();
    second.run(&["init"]).success();
    let current = second.value("SELECT sha256 FROM tenantctl.template_versions WHERE is_current");
    let store = format!("file://{}", scene.store.display());
    second
        .run(&["restore", "acme", "--store", &store, "--dry-run"])
        .success();
    assert_eq!(
        count(&second, "tenantctl.template_versions"),
        1,
        "a dry run changes nothing"
    );
    second.run(&["restore", "acme", "--store", &store]).success();
    assert_eq!(
        second.value("SELECT sha256 FROM tenantctl.template_versions WHERE is_current"),
        current
    );
    assert_ne!(
        second.value("SELECT v.sha256 FROM tenantctl.tenants t JOIN tenantctl.template_versions v ON v.version = t.template_version"),
        current
    );
    sound(&second, "acme");
}
