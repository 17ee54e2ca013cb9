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

/// Every command of the admin's, over a tenant; `drop` comes last.
const COMMANDS: [&[&str]; 18] = [
    &["init"],
    &["list"],
    &["show", "evil"],
    &["secure", "evil", "--dry-run"],
    &["validate", "--all", "--fail-on", "never"],
    &["validate", "evil", "--fail-on", "never", "--format", "sarif"],
    &["validate", "--all", "--probe", "--fail-on", "never"],
    &["validate", "--all", "--probe", "--as-role", "--fail-on", "never"],
    &["audit", "show", "evil"],
    &["audit", "prune", "evil", "--dry-run"],
    &["audit", "prune", "evil", "--older-than", "1"],
    &["secure", "evil"],
    &["audit", "prune", "evil", "--older-than", "1"],
    &["rotate", "evil", "--disconnect"],
    &["credentials", "list"],
    &["provision", "another"],
    &["drop", "evil", "--dry-run"],
    &["drop", "evil", "--yes", "--disconnect"],
];

/// What a tenant plants when an operator has, by mistake, let it create objects and triggers: code in every place that an
/// admin's query could lead to. Each plant writes down as whom it runs, and tries to make its tenant a superuser.
fn plant(db: &Db, evil: &Made, url: &str) {
    let (schema, role) = (&evil.schema, &evil.role);
    db.sql(&format!(
        "CREATE TABLE public.caught (who name, session name, what text); GRANT INSERT ON public.caught TO PUBLIC;
         GRANT CREATE ON SCHEMA {schema} TO {role}; GRANT CREATE ON SCHEMA public TO {role};
         GRANT TRIGGER, REFERENCES, TRUNCATE ON ALL TABLES IN SCHEMA {schema} TO {role};
         GRANT TEMPORARY ON DATABASE {} TO {role}",
        db.name
    ));
    let note = "INSERT INTO public.caught VALUES (current_user, session_user, ";
    let mut plants = format!(
        "CREATE FUNCTION trap() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
            BEGIN {note} TG_NAME); EXCEPTION WHEN OTHERS THEN END;
            BEGIN RESET ROLE; ALTER ROLE {role} SUPERUSER; EXCEPTION WHEN OTHERS THEN END;
            RETURN COALESCE(NEW, OLD);
         END $$;
         CREATE FUNCTION noted() RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN {note} 'function'); RETURN true; END $$;
         CREATE FUNCTION now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT noted(); SELECT pg_catalog.now() $$;
         CREATE FUNCTION count(text) RETURNS bigint LANGUAGE sql AS $$ SELECT noted(); SELECT 0::bigint $$;
         CREATE FUNCTION lower(character varying) RETURNS text LANGUAGE sql AS $$ SELECT noted(); SELECT '' $$;
         CREATE FUNCTION format(text, name) RETURNS text LANGUAGE sql AS $$ SELECT noted(); SELECT '' $$;
         CREATE FUNCTION eq(text, character varying) RETURNS boolean LANGUAGE sql AS $$ SELECT noted() $$;
         CREATE OPERATOR = (FUNCTION = eq, LEFTARG = text, RIGHTARG = character varying);
         CREATE FUNCTION less(name, text) RETURNS boolean LANGUAGE sql AS $$ SELECT noted() $$;
         CREATE OPERATOR < (FUNCTION = less, LEFTARG = name, RIGHTARG = text);
         CREATE TYPE pair AS (a int, b int);
         CREATE FUNCTION pair_text(pair) RETURNS text LANGUAGE sql AS $$ SELECT noted(); SELECT '' $$;
         CREATE CAST (pair AS text) WITH FUNCTION pair_text(pair) AS IMPLICIT;
         CREATE DOMAIN watched AS int CHECK (noted());
         CREATE TABLE extra (id int PRIMARY KEY DEFAULT 1, p pair, w watched, CHECK (noted()));
         ALTER TABLE extra ENABLE ROW LEVEL SECURITY; CREATE POLICY p ON extra USING (noted()); ALTER TABLE extra FORCE ROW LEVEL SECURITY;
         CREATE VIEW tenants AS SELECT noted() AS tenant_id;
         CREATE VIEW pg_class AS SELECT noted() AS oid;
         CREATE VIEW xml AS SELECT query_to_xml('SELECT noted()', true, true, '') AS x;
         CREATE MATERIALIZED VIEW stale AS SELECT 1 AS x;
         GRANT ALL ON extra, tenants, pg_class, xml, stale TO PUBLIC;
         CREATE TABLE follows (id uuid REFERENCES portfolios (id) ON DELETE CASCADE);
         CREATE TRIGGER aa_follows BEFORE INSERT OR DELETE ON follows FOR EACH ROW EXECUTE FUNCTION trap();
         CREATE FUNCTION public.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT {schema}.noted(); SELECT pg_catalog.now() $$;
         CREATE FUNCTION public.current_database() RETURNS name LANGUAGE sql AS $$ SELECT {schema}.noted(); SELECT ''::name $$;
         CREATE RULE r AS ON INSERT TO extra DO ALSO SELECT noted();"
    );
    for table in [
        "portfolios",
        "positions",
        "trades",
        "market_data",
        "audit_log",
        "tenant_usage",
    ] {
        plants.push_str(&format!(
            "CREATE TRIGGER aa_{table} BEFORE INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION trap();
             CREATE TRIGGER zz_{table} AFTER INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE FUNCTION trap();"
        ));
    }
    // Names and values that would be code if somebody pasted them into a query, or a command to a terminal.
    plants.push_str(
        "CREATE TABLE \"a\"\"; DROP SCHEMA tenantctl CASCADE; --\" (\"x'; SELECT noted(); --\" int);
         CREATE FUNCTION \"f'); SELECT noted(); --\"(\"$1\" int) RETURNS int LANGUAGE sql AS 'SELECT 1';
         CREATE TABLE \"\u{1b}[2J\u{9b}31m\" (x int);
         COMMENT ON TABLE extra IS '''; DROP TABLE x; --';",
    );
    sql(url, &plants).unwrap();
}

/// What of a tenant's ran as somebody else than a tenant.
fn caught(db: &Db) -> Vec<Vec<String>> {
    db.sql(
        "SELECT DISTINCT what, who, session FROM public.caught
         WHERE who !~ '^tenant_[0-9a-f]{12}_user$' OR session !~ '^(tenant_[0-9a-f]{12}_user|tenantctl_probe_[0-9a-f]{12})$'",
    )
}

/// The worst case: the tenant can create and has planted code everywhere. Every command runs over it; none runs any of it
/// as anybody but the tenant, none leaks the neighbour, and the terminal gets no control characters.
#[test]
fn nothing_that_a_tenant_plants_runs_as_the_admin() {
    planted(false);
}

/// The same for an admin who has CREATEROLE and the database, and is no superuser.
#[test]
fn nothing_that_a_tenant_plants_runs_as_a_lesser_admin() {
    planted(true);
}

fn planted(lesser: bool) {
    let cluster = crate::support::start(&tenantctl::cluster::Options {
        settings: crate::support::fast(),
        ..Default::default()
    });
    let mut db = Db::on(&cluster);
    let superuser = db.url.clone();
    if lesser {
        db.sql(&format!(
            "CREATE ROLE dba LOGIN CREATEROLE PASSWORD 'dba'; ALTER DATABASE {} OWNER TO dba",
            db.name
        ));
        db.url = db.url.replace("//postgres@", "//dba:dba@");
    }
    db.run(&["init"]).success();
    let mut made = db.provision(&["evil", "good"]);
    made.sort_by(|a, b| a.id.cmp(&b.id));
    let (evil, good) = (&made[0], &made[1]);
    // The commands run as the admin, the scenery is set as the superuser.
    let admin = std::mem::replace(&mut db.url, superuser);
    let login = |made: &Made| {
        let (ours, shared) = (host(&cluster), host(crate::support::cluster()));
        made.url(&db).replace(&shared, &ours)
    };
    let secret = "known to good alone";
    sql(
        &login(good),
        &format!("INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), '{secret}')"),
    )
    .unwrap();
    plant(&db, evil, &login(evil));
    // The traps are live: the tenant's own statement springs them. What its statement makes the audit function do runs as
    // the owner, where TRIGGER on the log was granted by mistake; that is for validate to tell, and forgotten here.
    sql(
        &login(evil),
        "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p')",
    )
    .unwrap();
    assert_ne!(db.value("SELECT count(*) FROM public.caught"), "0");
    db.sql("DELETE FROM public.caught");
    // Entries that prune takes away, so that a trigger there would fire.
    db.sql(&format!(
        "ALTER TABLE {0}.audit_log DISABLE TRIGGER USER;
         INSERT INTO {0}.audit_log (at, operation, table_name) SELECT now() - interval '400 days', 'DELETE', 'trades' FROM generate_series(1, 5);
         ALTER TABLE {0}.audit_log ENABLE TRIGGER USER; ALTER TABLE {0}.portfolios DISABLE TRIGGER tenantctl_limit_insert",
        evil.schema
    ));
    let before = crate::support::anatomy(&db, &good.schema);
    let held = crate::support::hold(&login(evil), "SELECT 1");
    let run = |args: &[&str]| {
        let mut cmd = db.command(args);
        cmd.command.env("DATABASE_URL", &admin);
        cmd.finish()
    };
    for args in COMMANDS {
        let run = run(args);
        let code = run.0.status.code();
        assert!(matches!(code, Some(0 | 1 | 4)), "{args:?}: {code:?}\n{}", run.stderr());
        let text = format!("{}{}", run.stdout(), run.stderr());
        assert!(
            !text.contains(['\u{1b}', '\u{9b}']),
            "{args:?} passes on a tenant's terminal control:\n{text}"
        );
        assert!(!text.contains(secret), "{args:?} leaks");
        assert_eq!(caught(&db), Vec::<Vec<String>>::new(), "{args:?} ran a tenant's code");
        assert_eq!(
            db.value("SELECT count(*) FROM pg_roles WHERE rolsuper AND rolname ~ '^tenant'"),
            "0",
            "{args:?}"
        );
    }
    drop(held);
    assert_eq!(crate::support::anatomy(&db, &good.schema), before);
    // What it has put outside its schema keeps it from being dropped, until somebody has looked at that.
    run(&["drop", "evil", "--yes", "--disconnect"])
        .exits(4)
        .says(&["cast from"]);
    db.sql(&format!("DROP CAST ({}.pair AS text)", evil.schema));
    run(&["drop", "evil", "--yes", "--disconnect"]).success();
    assert_eq!(caught(&db), Vec::<Vec<String>>::new());
}

fn host(cluster: &tenantctl::cluster::Cluster) -> String {
    let url = cluster.url(tenantctl::cluster::Cluster::SUPERUSER, "x");
    url.split("host=").nth(1).unwrap().split('&').next().unwrap().to_owned()
}
