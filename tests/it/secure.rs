//! `secure`: whatever was broken is as provision makes it, the second run changes nothing, and nothing is claimed
//! that did not happen.

use tenantctl::cluster::{Cluster, Options};

use crate::support::{Db, anatomy, fast, sql, start};

/// Breaks a tenant in every way that `secure` mends.
fn break_all(db: &Db, schema: &str, other: &str, suffix: &str) {
    let own = schema.trim_start_matches("tenant");
    db.sql(&format!(
        "CREATE ROLE sec_group{suffix}; CREATE ROLE sec_login{suffix} LOGIN;
GRANT SELECT ON {schema}.trades TO PUBLIC; GRANT SELECT (symbol), UPDATE (symbol) ON {schema}.trades TO {other}_user;
GRANT UPDATE (name) ON {schema}.portfolios TO {schema}_user WITH GRANT OPTION;
GRANT TRUNCATE, REFERENCES ON {schema}.trades TO {schema}_user WITH GRANT OPTION; REVOKE DELETE ON {schema}.market_data FROM {schema}_user;
GRANT INSERT ON {schema}.audit_log TO {schema}_user; GRANT USAGE ON SEQUENCE {schema}.audit_log_id_seq TO {schema}_user;
GRANT USAGE, CREATE ON SCHEMA {schema} TO sec_group{suffix}; GRANT CREATE ON SCHEMA {schema} TO {schema}_user; GRANT USAGE ON SCHEMA {schema} TO PUBLIC;
ALTER TABLE {schema}.positions OWNER TO sec_group{suffix}; ALTER TABLE {schema}.portfolios NO FORCE ROW LEVEL SECURITY; ALTER TABLE {schema}.audit_log DISABLE ROW LEVEL SECURITY;
ALTER TABLE {schema}.market_data ENABLE ROW LEVEL SECURITY; CREATE POLICY x ON {schema}.market_data USING (true);
CREATE POLICY x ON {schema}.portfolios USING (true); DROP POLICY trades_admin_bypass ON {schema}.trades; ALTER POLICY trades_tenant_isolation ON {schema}.trades USING (side = 'BUY');
ALTER TABLE {schema}.trades DISABLE TRIGGER tenantctl_audit_insert; DROP TRIGGER tenantctl_limit_insert ON {schema}.trades; ALTER TABLE {schema}.positions ENABLE ALWAYS TRIGGER tenantctl_limit_delete;
CREATE OR REPLACE TRIGGER tenantctl_audit_update AFTER UPDATE ON {schema}.portfolios REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION {schema}.audit_changes{own}('keys', 'id');
CREATE TRIGGER tenantctl_audit_insert AFTER TRUNCATE ON {schema}.market_data FOR EACH STATEMENT EXECUTE FUNCTION {schema}.audit_changes{own}('full');
ALTER ROLE {schema}_user CREATEDB CREATEROLE BYPASSRLS NOINHERIT CONNECTION LIMIT 3 VALID UNTIL '2030-01-01'; ALTER ROLE {schema}_user SET row_security = off; ALTER ROLE {schema}_user IN DATABASE {} SET search_path = 'x';
GRANT pg_read_all_data TO {schema}_user WITH ADMIN OPTION; GRANT {schema}_user TO sec_login{suffix}; GRANT {other}_user TO {schema}_user; REVOKE tenantctl_tenants FROM {schema}_user;
GRANT EXECUTE ON FUNCTION {schema}.audit_changes{own}() TO PUBLIC; ALTER FUNCTION {schema}.enforce_limits{own}() RESET search_path; ALTER FUNCTION {schema}.audit_changes{own}() SECURITY INVOKER",
        db.name
    ));
}

/// Functions of audit and limits that are called as every tenant's were: PostgreSQL reads all of a name wherever it meets one.
#[test]
fn functions_get_names_of_their_tenant() {
    const CHECKS: [&str; 4] = [
        "standard_functions",
        "standard_triggers",
        "tenant_definer_functions",
        "foreign_triggers",
    ];
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    let url = made.url(&db);
    let (schema, own) = (&made.schema, made.own());
    let before = anatomy(&db, schema);
    db.sql(&format!(
        "ALTER FUNCTION {schema}.audit_changes{own}() RENAME TO audit_changes; ALTER FUNCTION {schema}.enforce_limits{own}() RENAME TO enforce_limits_000000000000"
    ));
    let found = db.run(&["validate", "acme", "--fail-on", "never"]).stdout();
    for check in CHECKS {
        assert!(found.contains(check), "{check} in\n{found}");
    }
    sql(
        &url,
        "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p')",
    )
    .unwrap();
    let dry = db.run(&["secure", "acme", "--dry-run"]).success().stdout();
    assert!(dry.contains("RENAME TO") && !dry.contains("CREATE OR REPLACE"), "{dry}");
    db.run(&["secure", "acme"]).success();
    assert_eq!(anatomy(&db, schema), before);
    let found = db.run(&["validate", "acme", "--fail-on", "never"]).stdout();
    for check in CHECKS {
        assert!(!found.contains(check), "{check} in\n{found}");
    }
}

#[test]
fn what_was_broken_is_mended_and_the_second_run_changes_nothing() {
    let db = Db::initialized();
    let made = db.provision(&["acme", "globex"]);
    sql(
        &made[0].url(&db),
        "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p')",
    )
    .unwrap();
    let before = made.iter().map(|m| anatomy(&db, &m.schema)).collect::<Vec<_>>();
    db.run(&["secure", "acme", "globex"]).success();
    break_all(&db, &made[0].schema, &made[1].schema, "_mended");
    let broken = anatomy(&db, &made[0].schema);
    assert_ne!(broken, before[0]);
    // A dry run shows it and changes nothing.
    let dry = db.run(&["secure", "acme", "--dry-run"]).success().stdout();
    for part in [
        "FROM PUBLIC CASCADE",
        "NOCREATEROLE",
        "FORCE ROW LEVEL SECURITY",
        "REVOKE \"pg_read_all_data\"",
    ] {
        assert!(dry.contains(part), "{part} in\n{dry}");
    }
    assert_eq!(anatomy(&db, &made[0].schema), broken);
    let run = db.run(&["secure", "acme", "globex"]).success();
    assert!(
        run.stdout()
            .contains("0 met the standard, 2 changed, 0 with something unmet"),
        "{}",
        run.stdout()
    );
    for (m, before) in made.iter().zip(&before) {
        assert_eq!(&anatomy(&db, &m.schema), before, "{}", m.id);
    }
    let run = db.run(&["secure", "acme", "globex"]).success();
    assert!(
        run.stdout().contains("2 met the standard, 0 changed"),
        "{}",
        run.stdout()
    );
    let url = made[0].url(&db);
    assert_eq!(sql(&url, "SELECT count(*) FROM portfolios").unwrap()[0][0], "1");
    sql(
        &url,
        "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'q')",
    )
    .unwrap();
    assert_eq!(sql(&url, "SELECT count(*) FROM audit_log").unwrap()[0][0], "2");
}

#[test]
fn what_a_tenant_made_is_not_adopted() {
    let db = Db::initialized();
    let made = db.provision(&["acme", "globex"]);
    let (schema, role) = (&made[0].schema, &made[0].role);
    db.sql(&format!(
        "ALTER TABLE {schema}.positions OWNER TO {role};
         CREATE TABLE {schema}.extra (x int); ALTER TABLE {schema}.extra OWNER TO {role};
         CREATE TABLE {schema}.admins_own (x int); ALTER TABLE {schema}.admins_own OWNER TO tenantctl_owner;
         GRANT SELECT ON {schema}.admins_own TO {role}, {}",
        made[1].role
    ));
    let json = db.run(&["-o", "json", "secure", "acme"]).exits(1).json();
    let unmet = json["tenants"][0]["unmet"].to_string();
    for part in [
        "relation positions belongs to tenant role",
        "relation extra belongs to tenant role",
    ] {
        assert!(unmet.contains(part), "{part} in {unmet}");
    }
    let owner = |table: &str| {
        db.value(&format!(
            "SELECT tableowner FROM pg_tables WHERE schemaname = '{schema}' AND tablename = '{table}'"
        ))
    };
    assert_eq!(&owner("positions"), role);
    assert_eq!(&owner("extra"), role);
    // Of the admin's own table the neighbour loses what it had, the tenant does not.
    let readers = db.value(&format!(
        "SELECT relacl::text FROM pg_class WHERE oid = '{schema}.admins_own'::regclass"
    ));
    assert!(
        readers.contains(role.as_str()) && !readers.contains(&made[1].role),
        "{readers}"
    );
}

/// A transaction that a tenant leaves open keeps its triggers from being changed, not its rights from being taken back.
#[test]
fn an_open_transaction_does_not_keep_rights() {
    let db = Db::initialized();
    let made = db.provision(&["acme", "globex"]);
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "provisioning: {lock_timeout_s: 0.5}\n",
    )
    .unwrap();
    db.sql(&format!(
        "GRANT pg_read_all_data TO {0}; ALTER ROLE {0} CONNECTION LIMIT -1; GRANT SELECT ON {1}.portfolios TO {2};
         ALTER TABLE {1}.trades DISABLE TRIGGER tenantctl_audit_insert",
        made[0].role, made[0].schema, made[1].role
    ));
    let held = crate::support::hold(&made[0].url(&db), "BEGIN; DELETE FROM trades WHERE false");
    let json = db.run(&["-o", "json", "secure", "acme"]).exits(1).json();
    assert!(
        json["tenants"][0]["unmet"].to_string().contains("audit every change"),
        "{json}"
    );
    assert_eq!(
        db.value(&format!(
            "SELECT pg_has_role('{}', 'pg_read_all_data', 'MEMBER')",
            made[0].role
        )),
        "f"
    );
    let reads = format!(
        "SELECT has_table_privilege('{}', '{}.portfolios', 'SELECT')",
        made[1].role, made[0].schema
    );
    assert_eq!(db.value(&reads), "f");
    drop(held);
    crate::support::wait_for("the session to end", || {
        db.value(&format!(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = '{}'",
            made[0].role
        )) == "0"
    });
    db.run(&["secure", "acme", "acme"]).success();
}

#[test]
fn what_is_missing_is_said() {
    let db = Db::initialized();
    let made = db.provision(&["a", "b", "c"]);
    db.sql(&format!(
        "DROP TABLE {}.positions CASCADE; DROP SCHEMA {} CASCADE; DROP OWNED BY {3}; DROP ROLE {3}; DROP TABLE {}.tenant_usage",
        made[0].schema, made[1].schema, made[2].schema, made[1].role
    ));
    let json = db.run(&["-o", "json", "secure", "a", "b", "c"]).exits(1).json();
    let text = json["tenants"].to_string();
    for part in ["table positions of the template is missing", "schema tenant_"] {
        assert!(text.contains(part), "{part} in {text}");
    }
    // Tables of the standard itself are made anew.
    assert_eq!(json["failed"], serde_json::json!([]));
    sql(
        &made[2].url(&db),
        "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p')",
    )
    .unwrap();
    assert_eq!(
        db.value(&format!("SELECT used FROM {}.tenant_usage", made[2].schema)),
        "1"
    );
    db.run(&["secure"]).exits(2).says(&["--all"]);
    db.run(&["secure", "nobody"]).exits(4).says(&["does not exist"]);
    db.run(&["secure", "a", "--all"]).exits(2);
}

/// A cluster whose every database is ours to harden.
fn own_cluster() -> Cluster {
    start(&Options {
        settings: fast(),
        ..Options::default()
    })
}

#[test]
fn the_database_is_hardened_line_by_line_and_opted_out_of() {
    let cluster = own_cluster();
    let db = Db::on(&cluster);
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "hardening: {statistics_views: off}\n",
    )
    .unwrap();
    db.run(&["init"]).success();
    let made = db.provision(&["acme"]).remove(0);
    let plan = db.run(&["secure", "--all", "--dry-run"]).success().stdout();
    assert!(
        plan.contains("REVOKE CONNECT, TEMPORARY, CREATE ON DATABASE \"template1\" FROM PUBLIC;"),
        "{plan}"
    );
    assert!(!plan.contains("pg_stat_all_tables"), "{plan}");
    let run = db.run(&["secure", "--all"]).success();
    let status = |text: &str, line: &str| {
        let found = text
            .lines()
            .find(|l| l.contains(line))
            .unwrap_or_else(|| panic!("{line} in {text}"));
        found.split_whitespace().next().unwrap().to_owned()
    };
    assert_eq!(status(&run.stdout(), "TEMPORARY or CREATE on any database"), "applied");
    assert_eq!(status(&run.stdout(), "languages sql and plpgsql"), "applied");
    assert_eq!(status(&run.stdout(), "per-table statistics"), "off");
    let again = db.run(&["secure", "--all"]).success();
    assert_eq!(status(&again.stdout(), "TEMPORARY or CREATE on any database"), "met");
    let url = made
        .url(&db)
        .replace(&cluster_path(crate::support::cluster()), &cluster_path(&cluster));
    for attempt in [
        "DO $$ BEGIN NULL; END $$",
        "CREATE TEMP TABLE t (x int)",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_notify('x', 'y')",
        "SELECT lo_create(0)",
        "SELECT query_to_xml('SELECT 1', true, true, '')",
        "SELECT pg_database_size(current_database())",
    ] {
        assert!(sql(&url, attempt).expect_err(attempt).starts_with("42501"), "{attempt}");
    }
    // Everything still works for the tenant and for the next one.
    sql(
        &url,
        "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p')",
    )
    .unwrap();
    db.provision(&["next", "--tier", "enterprise"]);
    db.run(&["show", "acme"]).success();
    let postgres = url.replace(&format!("/{}?", db.name), "/postgres?");
    assert!(
        sql(&postgres, "SELECT 1")
            .expect_err("another database")
            .starts_with("42501")
    );
}

fn cluster_path(cluster: &Cluster) -> String {
    let url = cluster.url(Cluster::SUPERUSER, "x");
    url.split("host=").nth(1).unwrap().split('&').next().unwrap().to_owned()
}

/// An admin who is no superuser does what its rights allow, says what they do not, and claims nothing.
#[test]
fn a_lesser_admin_reports_what_it_cannot_do() {
    let cluster = own_cluster();
    let db = Db::on(&cluster);
    db.sql(&format!(
        "CREATE ROLE dba LOGIN CREATEROLE PASSWORD 'dba'; GRANT ALL ON DATABASE {0} TO dba WITH GRANT OPTION; CREATE ROLE outsider",
        db.name
    ));
    let url = db.url.replace("//postgres@", "//dba:dba@");
    let run = |args: &[&str]| {
        let mut cmd = db.command(args);
        cmd.command.env("DATABASE_URL", &url);
        cmd.finish()
    };
    run(&["init"]).success();
    let json = run(&["-o", "json", "provision", "acme", "globex"]).success().json();
    let (schema, role) = (
        json["tenants"][0]["schema_name"].as_str().unwrap().to_owned(),
        json["tenants"][0]["role_name"].as_str().unwrap().to_owned(),
    );
    let text = run(&["secure", "--all"]).exits(1).stdout();
    assert!(text.contains("unmet    PUBLIC cannot use the languages"), "{text}");
    assert!(text.contains("2 met the standard"), "{text}");
    // What takes a superuser is unmet; the rest is mended all the same.
    db.sql(&format!(
        "GRANT SELECT ON {schema}.trades TO outsider; ALTER ROLE {role} BYPASSRLS"
    ));
    let json = run(&["-o", "json", "secure", "acme"]).exits(1).json();
    assert!(json["tenants"][0]["changes"].to_string().contains("outsider"), "{json}");
    assert!(
        json["tenants"][0]["unmet"]
            .to_string()
            .contains("take attributes from the role"),
        "{json}"
    );
    assert_eq!(
        db.value(&format!(
            "SELECT has_table_privilege('outsider', '{schema}.trades', 'SELECT')"
        )),
        "f"
    );
    assert_eq!(
        db.value(&format!("SELECT rolbypassrls FROM pg_roles WHERE rolname = '{role}'")),
        "t"
    );
    db.sql(&format!("ALTER ROLE {role} NOBYPASSRLS"));
    run(&["secure", "acme"]).success();
}
