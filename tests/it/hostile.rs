//! The admin's commands over tenants that did what they could: nothing of theirs runs as the admin.

use crate::support::{Db, Made, sql};

/// What a tenant can change in its own rows, put to the worst use, and what it tries and is refused.
fn misbehave(db: &Db, made: &Made) {
    let url = made.url(db);
    sql(&url, "INSERT INTO portfolios (user_id, name, description) VALUES (gen_random_uuid(), '''; DROP SCHEMA tenantctl CASCADE; --', E'\\x1b[2J')").unwrap();
    for attempt in [
        "CREATE FUNCTION now() RETURNS timestamptz LANGUAGE sql AS 'SELECT NULL::timestamptz'",
        "CREATE VIEW pg_class AS SELECT 1",
        "CREATE OPERATOR = (FUNCTION = int4eq, LEFTARG = text, RIGHTARG = text)",
        "CREATE TABLE tenants (x int)",
        "ALTER TABLE portfolios ADD CHECK (pg_sleep(9) IS NULL)",
        "CREATE RULE r AS ON SELECT TO portfolios DO INSTEAD NOTHING",
        "CREATE POLICY p ON portfolios USING (false)",
        "ALTER TABLE portfolios RENAME TO p",
        "DROP TABLE portfolios",
        "COMMENT ON TABLE portfolios IS 'x'",
        "GRANT SELECT ON portfolios TO PUBLIC WITH GRANT OPTION",
        "ALTER DEFAULT PRIVILEGES GRANT ALL ON TABLES TO PUBLIC; CREATE TABLE t (x int)",
        "ALTER ROLE CURRENT_USER CONNECTION LIMIT -1",
        "ALTER ROLE CURRENT_USER CREATEROLE",
        "COPY portfolios TO PROGRAM 'id'",
        "COPY portfolios TO '/tmp/x'",
        "CREATE EXTENSION dblink",
        "CREATE PUBLICATION p FOR ALL TABLES",
        "CREATE EVENT TRIGGER t ON ddl_command_start EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()",
        "LOCK TABLE tenantctl.tenants",
    ] {
        // A GRANT of what one may not grant is a warning in PostgreSQL; then nothing must have been granted.
        let _ = sql(&url, attempt);
    }
    // What it may do: settings of its own role.
    sql(&url, &format!("ALTER ROLE {} SET search_path = '\"; DROP'", made.role)).unwrap();
}

#[test]
fn commands_over_a_hostile_tenant_leak_nothing_and_run_nothing() {
    let db = Db::initialized();
    let made = db.provision(&["evil", "good", "--tier", "enterprise"]);
    let before = crate::support::anatomy(&db, &made[1].schema);
    let own = crate::support::anatomy(&db, &made[0].schema);
    misbehave(&db, &made[0]);
    assert_eq!(
        crate::support::anatomy(&db, &made[0].schema),
        own,
        "the tenant changed its structure or its rights"
    );
    assert_eq!(
        db.value(&format!(
            "SELECT count(*) FROM pg_class WHERE relowner = '{}'::regrole",
            made[0].role
        )),
        "0"
    );
    for args in [
        &["list"][..],
        &["show", "evil"],
        &["init"],
        &["provision", "another"],
        &["drop", "evil", "--dry-run"],
        &["drop", "evil", "--yes"],
    ] {
        let run = db.run(args).success();
        assert!(
            !run.stdout().contains('\u{1b}'),
            "terminal control of a tenant reached the terminal"
        );
    }
    assert_eq!(crate::support::anatomy(&db, &made[1].schema), before);
    assert_eq!(db.counts(), (2, 2, 2));
}

/// An admin whose own search path leads through a schema full of look-alikes gets what pg_catalog says all the same.
#[test]
fn an_admins_search_path_is_not_trusted() {
    let db = Db::new();
    db.sql(
        "CREATE SCHEMA trap;
         CREATE FUNCTION trap.current_database() RETURNS name LANGUAGE sql AS $$ SELECT 'trap'::name $$;
         CREATE FUNCTION trap.eq(text, text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'trapped'; END $$;
         CREATE OPERATOR trap.= (FUNCTION = trap.eq, LEFTARG = text, RIGHTARG = text);
         CREATE VIEW trap.pg_roles AS SELECT 1/0 AS x;",
    );
    db.sql(&format!(
        "ALTER DATABASE {} SET search_path = trap, pg_catalog, public",
        db.name
    ));
    db.run(&["init"]).success();
    db.provision(&["acme"]);
    db.run(&["show", "acme"]).success();
    db.run(&["drop", "acme", "--yes"]).success();
}
