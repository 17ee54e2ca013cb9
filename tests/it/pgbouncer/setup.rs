//! `pgbouncer --setup`: makes the lookup, mends it, and `validate` holds it to that.

use super::place;
use crate::support::pgbouncer::PgBouncer;
use crate::support::{Db, sql};

/// The findings of `validate --all` but for what the machine has installed, as check and object.
fn findings(db: &Db) -> Vec<String> {
    let json = db
        .run(&[
            "-o",
            "json",
            "validate",
            "--all",
            "--fail-on",
            "never",
            "--skip",
            "minor_release",
        ])
        .success()
        .json();
    assert_eq!(json["unknown"], serde_json::json!([]));
    let text = |f: &serde_json::Value| format!("{} {}", f["check"].as_str().unwrap(), f["object"].as_str().unwrap());
    json["findings"].as_array().unwrap().iter().map(text).collect()
}

#[test]
fn a_lookup_is_made_once_and_mended_whenever_it_differs() {
    let (cluster, db, _) = place(1);
    db.run(&["secure", "--all"]).success();
    let dry = db.run(&["pgbouncer", "--setup", "--dry-run"]).success().stdout();
    assert!(
        dry.contains("CREATE FUNCTION \"tenantctl\".\"pooler_lookup\"") && dry.contains("CREATE ROLE"),
        "{dry}"
    );
    assert_eq!(
        db.value("SELECT count(*) FROM pg_roles WHERE rolname = 'tenantctl_pooler'"),
        "0"
    );
    let out = db.dir.join("pb");
    let out = out.to_str().unwrap();
    let setup = || {
        db.run(&["-o", "json", "pgbouncer", "--setup", "--out", out])
            .success()
            .json()
    };
    let json = setup();
    assert_eq!(json["rotated"], true, "{json}");
    assert_eq!(
        findings(&db),
        Vec::<String>::new(),
        "validate takes what setup made for what it is"
    );
    let again = setup();
    assert_eq!(
        (&again["setup"], &again["rotated"]),
        (&serde_json::json!([]), &false.into()),
        "{again}"
    );
    let unchanged = again["files"]
        .as_array()
        .unwrap()
        .iter()
        .all(|file| file["status"] == "unchanged");
    assert!(unchanged, "{again}");
    let operations = "SELECT count(*) FROM tenantctl.operations WHERE operation = 'pgbouncer' AND status = 'done'";
    assert_eq!(db.value(operations), "2", "the lookup, and the password");

    let lookup = "tenantctl.pooler_lookup(text)";
    let body =
        "CREATE OR REPLACE FUNCTION tenantctl.pooler_lookup(wanted text) RETURNS TABLE (role_name text, verifier text)
        LANGUAGE sql STABLE STRICT SECURITY DEFINER ROWS 1 SET search_path = pg_catalog, pg_temp
        AS 'SELECT rolname::text, rolpassword FROM pg_catalog.pg_authid WHERE rolname = wanted'";
    for (name, tamper, found) in [
        (
            "body",
            body.to_owned(),
            "pooler_access function tenantctl.pooler_lookup(text)",
        ),
        (
            "public",
            format!("GRANT EXECUTE ON FUNCTION {lookup} TO PUBLIC"),
            "definer_functions function tenantctl.pooler_lookup(text)",
        ),
        (
            "path",
            format!("ALTER FUNCTION {lookup} RESET search_path"),
            "pooler_access function tenantctl.pooler_lookup(text)",
        ),
        (
            "setting",
            format!("ALTER FUNCTION {lookup} SET row_security = off"),
            "pooler_access function tenantctl.pooler_lookup(text)",
        ),
        (
            "owner",
            format!("ALTER FUNCTION {lookup} OWNER TO tenantctl_owner"),
            "pooler_access function tenantctl.pooler_lookup(text)",
        ),
        (
            "overload",
            "CREATE FUNCTION tenantctl.pooler_lookup(name) RETURNS text LANGUAGE sql AS 'SELECT NULL'".into(),
            "pooler_access function tenantctl.pooler_lookup(name)",
        ),
        ("gone", format!("DROP FUNCTION {lookup}"), ""),
        (
            "revoked",
            format!("REVOKE EXECUTE ON FUNCTION {lookup} FROM tenantctl_pooler"),
            "pooler_access function tenantctl.pooler_lookup(text)",
        ),
        (
            "table",
            "GRANT SELECT ON tenantctl.tenants TO tenantctl_pooler".into(),
            "pooler_access role tenantctl_pooler",
        ),
        (
            "schema",
            "GRANT CREATE ON SCHEMA tenantctl TO tenantctl_pooler".into(),
            "pooler_access role tenantctl_pooler",
        ),
        (
            "temporary",
            format!("GRANT TEMPORARY ON DATABASE {} TO tenantctl_pooler", db.name),
            "pooler_access role tenantctl_pooler",
        ),
        (
            "superuser",
            "ALTER ROLE tenantctl_pooler SUPERUSER".into(),
            "pooler_access role tenantctl_pooler",
        ),
        (
            "no login",
            "ALTER ROLE tenantctl_pooler NOLOGIN".into(),
            "pooler_access function tenantctl.pooler_lookup(text)",
        ),
        (
            "member",
            "GRANT pg_read_all_data TO tenantctl_pooler".into(),
            "pooler_access role tenantctl_pooler",
        ),
        (
            "members",
            "CREATE ROLE guest LOGIN IN ROLE tenantctl_pooler".into(),
            "pooler_access role tenantctl_pooler",
        ),
        (
            "settings",
            "ALTER ROLE tenantctl_pooler SET search_path = 'x'".into(),
            "pooler_access role tenantctl_pooler",
        ),
    ] {
        db.sql(&tamper);
        let all = findings(&db);
        assert!(found.is_empty() || all.iter().any(|f| f == found), "{name}: {all:?}");
        let json = setup();
        assert_ne!(json["setup"], serde_json::json!([]), "{name}: {json}");
        assert_eq!(findings(&db), Vec::<String>::new(), "{name} was not mended");
    }
    let list = |db: &Db| std::fs::read_to_string(db.dir.join("pb/userlist.txt")).unwrap();
    let before = list(&db);
    let logs_in = |list: &str| {
        let password = list.split('"').nth(3).unwrap();
        sql(
            &cluster
                .url("tenantctl_pooler", &db.name)
                .replace('@', &format!(":{password}@")),
            "SELECT 1",
        )
        .is_ok()
    };
    assert!(logs_in(&before));
    db.run(&["pgbouncer", "--setup", "--rotate", "--out", out]).success();
    assert!(list(&db) != before && logs_in(&list(&db)) && !logs_in(&before));
    // A password that does not fit is found out and replaced; nowhere is one shown.
    std::fs::write(
        db.dir.join("pb/userlist.txt"),
        "\"tenantctl_pooler\" \"hunter2hunter2\"\n\"ops\" \"console\"\n",
    )
    .unwrap();
    let dry = db.run(&["pgbouncer", "--setup", "--out", out, "--dry-run"]).success();
    assert!(
        dry.stdout().contains("(a password)") && dry.stdout().contains("NULL /* secret */"),
        "{}",
        dry.stdout()
    );
    assert!(
        !dry.stdout().contains("hunter2") && !dry.stdout().contains("console"),
        "{}",
        dry.stdout()
    );
    assert!(!logs_in(&list(&db)), "a dry run changes nothing");
    let run = db.run(&["-v", "pgbouncer", "--setup", "--out", out]).success();
    let new = list(&db);
    assert!(logs_in(&new) && new.contains("\"ops\" \"console\""), "{new}");
    let password = new.split('"').nth(3).unwrap();
    assert!(!run.stdout().contains(password) && !run.stderr().contains(password));
    let log = std::fs::read_to_string(cluster.log_file()).unwrap();
    assert!(
        !log.contains(password) && !log.contains("ALTER ROLE \"tenantctl_pooler\" PASSWORD"),
        "the server's log has it"
    );
}

/// Without a superuser there is no lookup; the SQL to hand to one does it.
#[test]
fn an_admin_without_superuser_hands_the_sql_on() {
    let (cluster, db, _) = place(1);
    db.sql("CREATE ROLE lesser LOGIN CREATEROLE PASSWORD 'lesser' IN ROLE tenantctl_owner");
    let lesser = db.url.replace("//postgres@", "//lesser:lesser@");
    let run = |args: &[&str]| {
        let mut command = db.command(args);
        command.command.env("DATABASE_URL", &lesser);
        command.finish()
    };
    run(&["pgbouncer", "--setup"])
        .exits(4)
        .says(&["no superuser", "--setup --dry-run", "pg_authid"]);
    let plan = run(&["pgbouncer", "--setup", "--dry-run"]).success().stdout();
    db.sql(&plan);
    // What is there needs nobody's rights.
    run(&["pgbouncer", "--setup"]).success();
    let found = sql(
        &lesser,
        "SELECT has_function_privilege('tenantctl_pooler', 'tenantctl.pooler_lookup(text)', 'EXECUTE')",
    );
    assert_eq!(found.unwrap()[0][0], "t");
    drop(cluster);
}

/// Two registries of one cluster have a lookup each and the role in common; each answers for its own tenants.
#[test]
fn two_databases_share_the_role_and_nothing_else() {
    let (cluster, db, made) = place(1);
    let other = Db::on(&cluster);
    other.run(&["init"]).success();
    let stranger = other.provision(&["z"]).remove(0);
    let Some(pooler) = PgBouncer::start(&db, &cluster, "", "", "") else {
        return;
    };
    other.run(&["pgbouncer", "--setup"]).success();
    for place in [&db, &other] {
        let about: Vec<String> = findings(place).into_iter().filter(|f| f.contains("pooler")).collect();
        assert_eq!(about, Vec::<String>::new());
    }
    // Mended in one, it keeps what it has in the other.
    db.sql("GRANT SELECT ON tenantctl.tenants TO tenantctl_pooler");
    db.run(&["pgbouncer", "--setup"]).success();
    assert_eq!(other.value("SELECT has_database_privilege('tenantctl_pooler', current_database(), 'CONNECT') AND has_schema_privilege('tenantctl_pooler', 'tenantctl', 'USAGE')"), "t");
    assert!(sql(&pooler.url(&made[0]), "SELECT 1").is_ok());
    let refused = sql(&pooler.url(&stranger), "SELECT 1").expect_err("a tenant of the other database");
    assert!(refused.contains("authentication failed"), "{refused}");
}
