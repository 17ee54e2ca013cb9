//! Who gets in, who does not, and what is tried at the lookup.

use super::place;
use crate::support::pgbouncer::{PgBouncer, message, text};
use crate::support::{hold, sql};

/// A new password counts at once, and nobody is thrown out for it.
#[test]
fn a_rotated_password_counts_at_once() {
    let (cluster, db, made) = place(2);
    let Some(pooler) = PgBouncer::start(&db, &cluster, "", "", "") else {
        return;
    };
    let old = pooler.url(&made[0]);
    let session = hold(&old, "SET work_mem = '5MB'");
    let other = hold(&pooler.url(&made[1]), "SELECT 1");
    let json = db.run(&["-o", "json", "rotate", "a"]).success().json();
    let password = json["tenants"][0]["password"].as_str().unwrap().to_owned();
    session.run("INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'still here')");
    let refused = sql(&old, "SELECT 1").expect_err("the old password");
    assert!(refused.contains("authentication failed"), "{refused}");
    let new = pooler.url_as(&made[0].role, &password);
    assert_eq!(sql(&new, "SELECT name FROM portfolios").unwrap(), [["still here"]]);
    // Server connections of their own for as many as fit, with the new password.
    let held: Vec<_> = (0..4).map(|_| hold(&new, "SELECT 1")).collect();
    session.run("SELECT 1");
    other.run("SELECT 1");
    drop(held);
}

/// Whoever may not log in is refused in the same words, whether there is such a role or not.
#[test]
fn whoever_is_no_active_tenant_is_refused_in_the_same_words() {
    let (cluster, db, made) = place(6);
    db.sql(
        "CREATE ROLE boss LOGIN SUPERUSER PASSWORD 'boss'; CREATE ROLE clerk LOGIN PASSWORD 'clerk';
            CREATE ROLE tenant_0123456789ab_user LOGIN PASSWORD 'stray'; ALTER ROLE postgres PASSWORD 'postgres'",
    );
    let Some(pooler) = PgBouncer::start(&db, &cluster, "", "", "") else {
        return;
    };
    let url = |i: usize| pooler.url(&made[i]);
    assert!(sql(&url(0), "SELECT 1").is_ok());
    let wrong = sql(&pooler.url_as(&made[0].role, "wrong"), "SELECT 1").expect_err("a wrong password");
    db.sql(&format!("ALTER ROLE {} NOLOGIN; ALTER ROLE {} VALID UNTIL '2020-01-01'; ALTER ROLE {} CREATEDB; ALTER ROLE {} PASSWORD NULL",
        made[1].role, made[2].role, made[3].role, made[4].role));
    db.run(&["drop", "f", "--yes"]).success();
    for (who, url) in [
        ("suspended", url(1)),
        ("expired", url(2)),
        ("more than a tenant", url(3)),
        ("without password", url(4)),
        ("dropped", url(5)),
        ("a superuser", pooler.url_as("boss", "boss")),
        ("the bootstrap superuser", pooler.url_as("postgres", "postgres")),
        ("a login that is no tenant", pooler.url_as("clerk", "clerk")),
        (
            "a role that looks like a tenant's",
            pooler.url_as("tenant_0123456789ab_user", "stray"),
        ),
        ("nobody", pooler.url_as("nobody", "x")),
        (
            "a neighbour's password",
            pooler.url_as(&made[0].role, made[1].password.as_deref().unwrap()),
        ),
        ("an injection", pooler.url_as("x' OR ''='", "x")),
        (
            "a statement",
            pooler.url_as("x'); DROP TABLE tenantctl.tenants; --", "x"),
        ),
        ("a pattern", pooler.url_as("tenant_%_user", "x")),
        (
            "the lookup's answer to nobody",
            pooler.url_as("tenantctl_nobody_00", "x"),
        ),
        ("a long name", pooler.url_as(&"x".repeat(63), "x")),
    ] {
        let refused = sql(&url, "SELECT 1").expect_err(who);
        assert_eq!(refused, wrong, "{who}");
    }
    assert!(sql(&url(0), "SELECT 1").is_ok());
    // Back in when it is a tenant's again.
    db.sql(&format!(
        "ALTER ROLE {} LOGIN; ALTER ROLE {} VALID UNTIL 'infinity'",
        made[1].role, made[2].role
    ));
    assert!(sql(&url(1), "SELECT 1").is_ok() && sql(&url(2), "SELECT 1").is_ok());
}

/// What a client is asked for does not tell whether there is such a tenant: a salt of its own, the same each time.
#[test]
fn unknown_names_are_asked_as_known_ones_are() {
    let (cluster, db, made) = place(2);
    let Some(pooler) = PgBouncer::start(&db, &cluster, "", "", "") else {
        return;
    };
    let known = [pooler.challenge(&made[0].role), pooler.challenge(&made[1].role)];
    let unknown = ["tenant_0123456789ab_user", "tenant_0123456789ac_user", "nobody"].map(|name| pooler.challenge(name));
    for (salt, iterations) in known.iter().chain(&unknown) {
        assert_eq!(
            (salt.len(), iterations.as_str()),
            (known[0].0.len(), known[0].1.as_str())
        );
    }
    assert_ne!(unknown[0], unknown[1]);
    assert_eq!(
        unknown[0],
        pooler.challenge("tenant_0123456789ab_user"),
        "a salt that changes would tell"
    );
    assert_eq!(known[0], pooler.challenge(&made[0].role));
    // However many names are tried, PgBouncer has to remember few.
    for i in 0..40 {
        pooler.challenge(&format!("tenant_{i:012x}_user"));
    }
    let answers: std::collections::BTreeSet<Vec<String>> = db
        .sql("SELECT DISTINCT role_name FROM generate_series(1, 20000) i, tenantctl.pooler_lookup('tenant_' || i)")
        .into_iter()
        .collect();
    assert!(answers.len() <= 256, "{}", answers.len());
}

/// The lookup is the pooler's, and does what it does whatever a client brings along.
#[test]
fn the_lookup_is_open_to_nobody_else_and_cannot_be_led_astray() {
    let (cluster, db, made) = place(2);
    db.run(&["secure", "--all"]).success();
    let Some(pooler) = PgBouncer::start(&db, &cluster, "", "", "") else {
        return;
    };
    let (a, b) = (&made[0], &made[1]);
    for statement in [
        format!("SELECT * FROM tenantctl.pooler_lookup('{}')", b.role),
        "SELECT rolpassword FROM pg_catalog.pg_authid".to_owned(),
        "SET ROLE tenantctl_pooler".to_owned(),
    ] {
        let refused = sql(&pooler.url(a), &statement).expect_err(&statement);
        assert!(refused.starts_with("42501"), "{statement}: {refused}");
    }
    // Before PgBouncer asks for a password it has refused these, and never asked the server.
    for (name, value) in [
        ("search_path", "evil"),
        ("options", "-c search_path=evil"),
        ("role", "postgres"),
        ("session_authorization", "postgres"),
    ] {
        let mut socket = pooler.startup(&[("user", &a.role), ("database", "shop"), (name, value)]);
        let (kind, body) = message(&mut socket);
        assert!(
            kind == b'E' && text(&body).contains("unsupported startup parameter"),
            "{name}: {}",
            text(&body)
        );
    }
    // The pooler's role itself: the lookup, and nothing.
    let list = std::fs::read_to_string(pooler.dir.join("userlist.txt")).unwrap();
    let password = list.split('"').nth(3).unwrap();
    let own = cluster
        .url("tenantctl_pooler", &db.name)
        .replace('@', &format!(":{password}@"));
    let found = sql(
        &own,
        &format!(
            "SELECT role_name, left(verifier, 14) FROM tenantctl.pooler_lookup('{}')",
            a.role
        ),
    )
    .unwrap();
    assert_eq!(found, [[a.role.as_str(), "SCRAM-SHA-256$"]]);
    for statement in [
        "SELECT * FROM tenantctl.tenants",
        "SELECT * FROM pg_catalog.pg_authid",
        "CREATE TEMP TABLE x ()",
        "CREATE TABLE public.x ()",
        "DO $$ BEGIN END $$",
    ] {
        let refused = sql(&own, statement).expect_err(statement);
        assert!(refused.starts_with("42501"), "{statement}: {refused}");
    }
    // A schema of its own before all others, and functions and operators in it, change nothing for the lookup.
    db.sql(
        "CREATE SCHEMA evil; GRANT USAGE ON SCHEMA evil TO PUBLIC;
         CREATE FUNCTION evil.sha256(bytea) RETURNS bytea LANGUAGE sql AS $$ SELECT '\\x00'::bytea $$;
         CREATE FUNCTION evil.yes(text, text) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
         CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, FUNCTION = evil.yes);
         CREATE VIEW evil.tenants AS SELECT 'postgres' AS role_name",
    );
    let led = sql(&own, &format!("SET search_path = evil, pg_catalog; SELECT role_name FROM tenantctl.pooler_lookup('x'); SELECT role_name FROM tenantctl.pooler_lookup('{}')", a.role)).unwrap();
    assert!(led[0][0].starts_with("tenantctl_nobody_"), "{led:?}");
    assert_eq!(led[1][0], a.role);
}

/// Who owns the registry's tables, without being a superuser, does not get code of theirs run by the lookup, which runs as one.
#[test]
fn the_registrys_owner_runs_nothing_in_the_lookup() {
    let (cluster, db, made) = place(1);
    // Nor is it open to whom the superuser's default privileges let call his functions.
    db.sql("CREATE ROLE reporter; ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO reporter");
    db.run(&["pgbouncer", "--setup"]).success();
    let may = "SELECT has_function_privilege('reporter', 'tenantctl.pooler_lookup(text)', 'EXECUTE')";
    assert_eq!(db.value(may), "f");
    db.sql("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM reporter");
    db.sql(
        "CREATE ROLE dba LOGIN; GRANT tenantctl_owner TO dba; CREATE SCHEMA evil AUTHORIZATION dba;
         SET SESSION AUTHORIZATION dba;
         CREATE FUNCTION evil.rise() RETURNS void LANGUAGE plpgsql AS $$ BEGIN
             IF (SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user) THEN ALTER ROLE dba SUPERUSER; END IF; END $$;
         CREATE FUNCTION evil.key(text) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM evil.rise(); RETURN 1; END $$;
         CREATE FUNCTION evil.seen(text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN PERFORM evil.rise(); RETURN true; END $$;
         GRANT USAGE ON SCHEMA evil TO PUBLIC",
    );
    let ask = format!(
        "SET SESSION AUTHORIZATION tenantctl_pooler; SELECT role_name FROM tenantctl.pooler_lookup('{}')",
        made[0].role
    );
    for trap in [
        // An expression that is worked out by whoever plans a query of the table.
        "CREATE INDEX trap ON tenantctl.tenants ((evil.key('x')))",
        "ALTER TABLE tenantctl.tenants RENAME TO away;
         CREATE VIEW tenantctl.tenants AS SELECT * FROM tenantctl.away WHERE evil.seen(role_name)",
    ] {
        db.sql(&format!(
            "SET SESSION AUTHORIZATION dba; SET ROLE tenantctl_owner; {trap}"
        ));
        assert_eq!(db.value(&ask), made[0].role, "{trap}");
        assert_eq!(
            db.value("SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = 'dba'"),
            "f",
            "{trap}"
        );
    }
    drop(cluster);
}
