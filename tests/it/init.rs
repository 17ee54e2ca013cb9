//! `init`: idempotent, safe from many terminals, honest about rights, adopts nothing.

use crate::support::{Cmd, Db, sql, unique};
use tenantctl::cluster::{Cluster, Options};

#[test]
fn makes_a_database_ready_and_the_second_run_changes_nothing() {
    let db = Db::new();
    let first = db.run(&["-o", "json", "init"]).success().json();
    assert_eq!(first["changed"], true);
    assert_eq!(first["template_installed"], true);
    assert_eq!(first["template_version"], 1);
    let before = fingerprint(&db);
    let second = db.run(&["-o", "json", "init"]).success().json();
    assert_eq!(second["changed"], false);
    assert_eq!(second["migrations_applied"].as_array().unwrap().len(), 0);
    assert_eq!(fingerprint(&db), before, "the second init changed the catalog");
    let text = db.run(&["init"]).success().stdout();
    assert!(text.contains("nothing changed"), "{text}");
}

/// Everything init makes, with oids: a table dropped and made anew would differ.
fn fingerprint(db: &Db) -> Vec<Vec<String>> {
    db.sql(
        "SELECT 'class', c.oid, c.relname, c.relacl, c.relowner FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
         WHERE nspname IN ('tenantctl', 'template_trading')
         UNION ALL SELECT 'module', ordinal::oid, module, NULL, NULL FROM tenantctl.template_modules
         UNION ALL SELECT 'default acl', oid, defaclacl::text, NULL, NULL FROM pg_default_acl ORDER BY 1, 2",
    )
}

#[test]
fn ten_terminals_at_once_make_one_installation() {
    let db = Db::new();
    let running: Vec<_> = (0..10)
        .map(|_| {
            let mut cmd = db.command(&["-o", "json", "init"]);
            cmd.command
                .stdout(std::process::Stdio::piped())
                .stderr(std::process::Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    for child in running {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert_eq!(db.value("SELECT count(*) FROM tenantctl.migrations"), "5");
    assert_eq!(db.value("SELECT count(*) FROM tenantctl.template_versions"), "1");
    assert_eq!(
        db.value("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'template\\_trading'"),
        "1"
    );
}

#[test]
fn many_databases_of_one_cluster_at_once() {
    let dbs: Vec<Db> = (0..6).map(|_| Db::new()).collect();
    let running: Vec<_> = dbs
        .iter()
        .map(|db| db.command(&["init"]).command.spawn().unwrap())
        .collect();
    for mut child in running {
        assert!(child.wait().unwrap().success());
    }
}

#[test]
fn dry_run_prints_the_sql_and_changes_nothing() {
    let db = Db::new();
    let run = db.run(&["init", "--dry-run"]).success();
    let out = run.stdout();
    for part in [
        "CREATE SCHEMA tenantctl",
        "CREATE TABLE tenantctl.tenants",
        "CREATE TABLE portfolios",
        "COMMIT;",
    ] {
        assert!(out.contains(part), "{part} not in dry run");
    }
    assert_eq!(
        db.value("SELECT count(*) FROM pg_namespace WHERE nspname IN ('tenantctl', 'template_trading')"),
        "0"
    );
    // Run as it is, it registers no template: what the modules create is not known to the text.
    let error = sql(&db.url, &out).expect_err("a dry run must not half install");
    assert!(error.contains("only tenantctl init"), "{error}");
    assert_eq!(db.value("SELECT count(*) FROM tenantctl.template_versions"), "0");
    db.run(&["init"]).success();
    let run = db.run(&["init", "--dry-run"]).success();
    assert_eq!(run.stdout(), "");
    run.says(&["nothing to do"]);
}

/// A login with exactly the rights the documentation asks for.
fn plain_admin(own: &Cluster, db: &Db) -> (String, String) {
    let role = unique("admin");
    db.sql(&format!(
        "CREATE ROLE {role} LOGIN CREATEROLE PASSWORD 'pw'; GRANT CREATE, CONNECT ON DATABASE {} TO {role}",
        db.name
    ));
    let url = own.url(&role, &db.name).replace('@', ":pw@");
    (role, url)
}

#[test]
fn works_without_superuser_and_says_what_takes_more() {
    // A cluster of its own: the roles must be this admin's, or from 16 on it may not grant them.
    let own = crate::support::start(&Options {
        settings: crate::support::fast(),
        ..Default::default()
    });
    let db = Db::on(&own);
    let (_, url) = plain_admin(&own, &db);
    let run = |args: &[&str]| Cmd::new(args).env("DATABASE_URL", &url).finish();
    let report = run(&["-o", "json", "init"]).success().json();
    let unmet: Vec<_> = report["hardening"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|v| v["met"] == false)
        .collect();
    let lines: Vec<_> = unmet.iter().map(|v| v["line"].as_str().unwrap()).collect();
    for line in [
        "tenants_connect",
        "database_public",
        "language_public",
        "builtin_functions",
        "statistics_views",
    ] {
        assert!(lines.contains(&line), "{line} should be unmet: {lines:?}");
    }
    for verdict in &unmet {
        assert_eq!(verdict["may_mend"], false, "{verdict}");
        assert!(verdict["remedy"].as_str().unwrap().ends_with(';'), "{verdict}");
    }
    assert_eq!(run(&["-o", "json", "init"]).success().json()["changed"], false);
    let json = run(&["-o", "json", "provision", "acme", "other"]).success().json();
    let tenant = &json["tenants"][0];
    let role = tenant["role_name"].as_str().unwrap();
    let login = own
        .url(role, &db.name)
        .replace('@', &format!(":{}@", tenant["password"].as_str().unwrap()));
    sql(
        &login,
        "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p')",
    )
    .unwrap();
    run(&["list"]).success();
    run(&["show", "acme"]).success();
    let held = crate::support::hold(&login, "SELECT 1");
    run(&["drop", "acme", "--yes"]).exits(4).says(&["1 session open"]);
    run(&["drop", "acme", "--yes", "--disconnect"]).success();
    drop(held);
    run(&["drop", "other", "--yes"]).success();
    assert_eq!(db.counts(), (0, 0, 0));

    // Another admin, and another database: told what it takes, and works once it has that.
    let second = Db::on(&own);
    let (role, url) = plain_admin(&own, &second);
    let run = |args: &[&str]| Cmd::new(args).env("DATABASE_URL", &url).finish();
    if run(&["init"]).0.status.code() != Some(0) {
        run(&["init"])
            .exits(4)
            .says(&["may not grant tenantctl_owner, tenantctl_tenants", "WITH ADMIN OPTION"]);
        second.sql(&format!(
            "GRANT tenantctl_owner, tenantctl_tenants TO {role} WITH ADMIN OPTION"
        ));
        run(&["init"]).success();
    }
    run(&["provision", "acme"]).success();
    run(&["drop", "acme", "--yes"]).success();
}

#[test]
fn remedies_for_unmet_lines_work() {
    // Its own cluster: the remedies change things that other tests share.
    let own = crate::support::start(&Options {
        settings: crate::support::fast(),
        ..Default::default()
    });
    let db = Db::on(&own);
    let report = db.run(&["-o", "json", "init"]).success().json();
    for verdict in report["hardening"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|v| v["met"] == false)
    {
        assert_eq!(verdict["may_mend"], true, "{verdict}");
        db.sql(verdict["remedy"].as_str().unwrap());
    }
    let report = db.run(&["-o", "json", "init"]).success().json();
    for verdict in report["hardening"].as_array().unwrap() {
        assert_eq!(verdict["met"], true, "{verdict}");
    }
    // A hardened database still takes tenants, who can still log in and work.
    let made = db.provision(&["acme"]);
    let url = own
        .url(&made[0].role, &db.name)
        .replace('@', &format!(":{}@", made[0].password.as_deref().unwrap()));
    sql(
        &url,
        "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p')",
    )
    .unwrap();
}

#[test]
fn missing_rights_are_named_with_the_grant() {
    let db = Db::new();
    let role = unique("weak");
    db.sql(&format!("CREATE ROLE {role} LOGIN PASSWORD 'pw'"));
    let url = db.url_as(&role).replace('@', ":pw@");
    Cmd::new(&["init"]).env("DATABASE_URL", &url).finish().exits(4).says(&[
        "lacks CREATEROLE and CREATE on the database",
        &format!("ALTER ROLE \"{role}\" CREATEROLE"),
        "SQLSTATE 42501",
    ]);
    db.run(&["init"]).success();
    for args in [
        &["list"][..],
        &["provision", "acme"],
        &["show", "acme"],
        &["drop", "acme", "--yes"],
    ] {
        Cmd::new(args).env("DATABASE_URL", &url).finish().exits(4).says(&[
            "may not use the registry",
            "GRANT tenantctl_owner, tenantctl_tenants TO",
        ]);
    }
}

#[test]
fn adopts_nothing_of_its_name() {
    let db = Db::new();
    db.sql("CREATE SCHEMA tenantctl");
    db.run(&["init"])
        .exits(4)
        .says(&["schema tenantctl exists and is not a registry"]);
    let db = Db::new();
    db.sql("CREATE SCHEMA template_trading; CREATE TABLE template_trading.mine (x int)");
    db.run(&["init"])
        .exits(4)
        .says(&["schema template_trading exists and is not ours"]);
    assert_eq!(db.value("SELECT to_regclass('template_trading.mine') IS NOT NULL"), "t");
    // A role of that name that can log in is somebody's; a cluster of its own, since roles are shared.
    let own = crate::support::start(&Options {
        settings: crate::support::fast(),
        ..Default::default()
    });
    let db = Db::on(&own);
    db.sql("CREATE ROLE tenantctl_owner LOGIN");
    db.run(&["init"])
        .exits(4)
        .says(&["tenantctl_owner exists and is not a plain group"]);
    // Nor a group that hands every tenant something: rights of the group are rights of all of them.
    db.sql("ALTER ROLE tenantctl_owner NOLOGIN; CREATE ROLE tenantctl_tenants; GRANT pg_read_all_data TO tenantctl_tenants");
    db.run(&["init"])
        .exits(4)
        .says(&["tenantctl_tenants is a member of pg_read_all_data", "REVOKE"]);
    db.sql("REVOKE pg_read_all_data FROM tenantctl_tenants; GRANT tenantctl_owner TO tenantctl_tenants");
    db.run(&["init"])
        .exits(4)
        .says(&["tenantctl_tenants is a member of tenantctl_owner"]);
    db.sql("REVOKE tenantctl_owner FROM tenantctl_tenants");
    db.run(&["init"]).success();
}

#[test]
fn a_changed_registry_is_noticed() {
    let db = Db::initialized();
    db.sql("UPDATE tenantctl.migrations SET sha256 = 'x'");
    db.run(&["provision", "acme"]).exits(4).says(&["has another checksum"]);
    let db = Db::initialized();
    db.sql("INSERT INTO tenantctl.migrations VALUES (99, 'future', 'x', now(), 'x', 'x')");
    db.run(&["provision", "acme"])
        .exits(4)
        .says(&["the registry is at version 99", "Upgrade this binary"]);
    let db = Db::initialized();
    db.sql("UPDATE tenantctl.template_modules SET body = body || ' -- x' WHERE ordinal = 1");
    db.run(&["provision", "acme"]).exits(4).says(&["damaged"]);
    assert_eq!(db.counts().2, 0);
}

#[test]
fn nothing_works_before_init_and_says_so() {
    let db = Db::new();
    for args in [
        &["list"][..],
        &["provision", "acme"],
        &["show", "acme"],
        &["drop", "acme", "--yes"],
    ] {
        db.run(args)
            .exits(4)
            .says(&["has no tenantctl registry", "tenantctl init"]);
    }
}
