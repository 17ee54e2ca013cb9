//! What is tried on the database and the cluster: what no tenant should gain there, whoever it is.

use super::super::targets::{Database, Target, World};
use super::{Attempt, COLUMN, Concerns, RELATION, ask, can_become, creations, may};
use crate::pg::sql::Sql;
use crate::validate::Severity;

/// What a tenant must not be able to do to the database and the cluster.
///
/// `admin`: the process id of the admin's session, where the tenant's is another.
pub fn on_database(own: &Target, world: &World, admin: Option<i32>) -> Vec<Attempt> {
    let mut all = Vec::new();
    gains(&mut all, own, world, admin);
    secrets(&mut all, world);
    lines(&mut all, world);
    all
}

/// Ways to rights that no tenant has; charged to the tenant.
fn gains(all: &mut Vec<Attempt>, own: &Target, world: &World, admin: Option<i32>) {
    let own_login = admin.is_some();
    use Severity::{Critical, High};
    let me = format!("role {}", own.role);
    let database = format!("database {}", world.database);
    let mut add = |check, severity, object: &str, does, sql| {
        // An invalid definition is looked at after the rights to define.
        let attempt = Attempt::new(check, severity, Concerns::Attacker, object, does, sql);
        all.push(attempt.proves(&["42P17"]));
    };
    for (does, sql) in [
        ("create schemas", Sql::new("CREATE SCHEMA tenantctl_probe")),
        ("create publications", Sql::new("CREATE PUBLICATION tenantctl_probe")),
        (
            "comment on it as its owner",
            Sql::new("COMMENT ON DATABASE ").ident(&world.database).text(" IS NULL"),
        ),
        (
            "create subscriptions",
            Sql::new("CREATE SUBSCRIPTION tenantctl_probe CONNECTION '' PUBLICATION p WITH (connect = false)"),
        ),
    ] {
        add("probe_database", Critical, &database, does, sql);
    }
    if let Some(extension) = &world.trusted_extension {
        // Without a schema, and none in the search path, rights are not even looked at.
        let sql = Sql::new("CREATE EXTENSION ")
            .ident(extension)
            .text(" SCHEMA ")
            .ident(&own.schema);
        add("probe_database", Critical, &database, "create extensions", sql);
    }
    for (does, sql) in [
        (
            "create event triggers",
            "CREATE EVENT TRIGGER tenantctl_probe ON ddl_command_start EXECUTE FUNCTION pg_catalog.suppress_redundant_updates_trigger()",
        ),
        (
            "create foreign-data wrappers",
            "CREATE FOREIGN DATA WRAPPER tenantctl_probe",
        ),
        (
            "create casts between built-in types",
            "CREATE CAST (pg_catalog.text AS pg_catalog.money) WITHOUT FUNCTION",
        ),
        ("change built-in functions", "ALTER FUNCTION pg_catalog.now() COST 1"),
    ] {
        add("probe_database", Critical, &database, does, Sql::new(sql));
    }
    add(
        "probe_role",
        Critical,
        &me,
        "create roles",
        Sql::new("CREATE ROLE tenantctl_probe NOLOGIN"),
    );
    for (does, tail) in [
        ("make itself a superuser", " SUPERUSER"),
        ("give itself CREATEROLE", " CREATEROLE"),
        ("give itself CREATEDB", " CREATEDB"),
        ("give itself BYPASSRLS", " BYPASSRLS"),
        ("give itself REPLICATION", " REPLICATION"),
        ("lift its own connection limit", " CONNECTION LIMIT -1"),
        ("extend its own validity", " VALID UNTIL 'infinity'"),
    ] {
        add(
            "probe_role",
            Critical,
            &me,
            does,
            Sql::new("ALTER ROLE ").ident(&own.role).text(tail),
        );
    }
    // SET SESSION AUTHORIZATION is for who logged in as a superuser, which no temporary login is: hence the question.
    let attributes = Sql::new(
        "EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = current_user
AND (r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolbypassrls OR r.rolreplication))",
    );
    add(
        "probe_role",
        Critical,
        &me,
        "use an attribute beyond LOGIN",
        ask(attributes),
    );
    for role in &world.roles {
        let object = format!("role {role}");
        let sql = if own_login {
            Sql::new("SET LOCAL ROLE ").ident(role)
        } else {
            ask(can_become(role, world))
        };
        add("probe_role", Critical, &object, "become it by SET ROLE", sql);
        let sql = ask(Sql::new("pg_catalog.pg_has_role(").literal(role).text(", 'USAGE')"));
        add(
            "probe_role",
            Critical,
            &object,
            "use its rights as an inheriting member",
            sql,
        );
        // The one role that has no explicit members.
        if role != "pg_database_owner" {
            let sql = Sql::new("GRANT ").ident(role).text(" TO ").ident(&own.role);
            add("probe_role", Critical, &object, "make itself a member of it", sql);
        }
    }
    for (kind, name) in &world.usable {
        let (word, head, does, tail) = match kind.as_str() {
            "server" => ("server", "has_server_privilege(", "use it", ", 'USAGE')"),
            "tablespace" => ("tablespace", "has_tablespace_privilege(", "create in it", ", 'CREATE')"),
            _ => (
                "foreign-data wrapper",
                "has_foreign_data_wrapper_privilege(",
                "use it",
                ", 'USAGE')",
            ),
        };
        let sql = ask(Sql::new("pg_catalog.").text(head).literal(name).text(tail));
        add("probe_database", High, &format!("{word} {name}"), does, sql);
    }
    for (severity, name, value) in [
        (Critical, "session_replication_role", "replica"),
        (High, "log_statement", "none"),
        (High, "log_min_messages", "panic"),
        (High, "temp_file_limit", "-1"),
        (High, "lo_compat_privileges", "on"),
        (High, "session_preload_libraries", ""),
        (High, "track_activities", "off"),
    ] {
        let sql = Sql::new("SET LOCAL ").ident(name).text(" = ").literal(value);
        let object = format!("parameter {name}");
        add("probe_parameter", severity, &object, "set it", sql);
    }
    // It is idle meanwhile, and then there is nothing to cancel.
    if let Some(pid) = admin {
        let sql = ask(Sql::new("pg_catalog.pg_cancel_backend(").int(pid).text(")"));
        add("probe_signal", High, &me, "cancel other logins' statements", sql);
    }
}

/// Things to read that are nobody's business; charged to the tenant that can.
fn secrets(all: &mut Vec<Attempt>, world: &World) {
    use Severity::{Critical, High};
    let mut add = |check, severity, object: &str, does, sql| {
        all.push(Attempt::new(check, severity, Concerns::Attacker, object, does, sql));
    };
    for (object, sql) in [
        ("table pg_catalog.pg_authid", "SELECT FROM pg_catalog.pg_authid LIMIT 1"),
        ("view pg_catalog.pg_shadow", "SELECT FROM pg_catalog.pg_shadow LIMIT 1"),
        (
            "table pg_catalog.pg_user_mapping",
            "SELECT FROM pg_catalog.pg_user_mapping LIMIT 1",
        ),
        (
            "table pg_catalog.pg_statistic",
            "SELECT FROM pg_catalog.pg_statistic LIMIT 1",
        ),
        (
            "table pg_catalog.pg_largeobject",
            "SELECT FROM pg_catalog.pg_largeobject LIMIT 1",
        ),
        (
            "view pg_catalog.pg_file_settings",
            "SELECT FROM pg_catalog.pg_file_settings LIMIT 1",
        ),
        (
            "view pg_catalog.pg_hba_file_rules",
            "SELECT FROM pg_catalog.pg_hba_file_rules LIMIT 1",
        ),
    ] {
        add("probe_catalog", Critical, object, "read it", Sql::new(sql));
    }
    for (object, does, sql) in [
        (
            "function pg_catalog.pg_read_file(text)",
            "read the server's files",
            "SELECT pg_catalog.pg_read_file('PG_VERSION')",
        ),
        (
            "function pg_catalog.pg_read_binary_file(text)",
            "read the server's files",
            "SELECT pg_catalog.pg_read_binary_file('PG_VERSION')",
        ),
        (
            "function pg_catalog.pg_ls_dir(text)",
            "list the server's folders",
            "SELECT pg_catalog.pg_ls_dir('.')",
        ),
        (
            "function pg_catalog.pg_stat_file(text)",
            "look at the server's files",
            "SELECT pg_catalog.pg_stat_file('PG_VERSION')",
        ),
        (
            "function pg_catalog.lo_export(oid, text)",
            "write the server's files",
            "SELECT pg_catalog.lo_export(0, '/dev/null')",
        ),
        (
            "function pg_catalog.lo_import(text)",
            "read the server's files",
            "SELECT pg_catalog.lo_import('/dev/null')",
        ),
        (
            "command COPY TO PROGRAM",
            "run programs on the server",
            "COPY (SELECT 1) TO PROGRAM 'cat > /dev/null'",
        ),
        (
            "command COPY TO a file",
            "write the server's files",
            "COPY (SELECT 1) TO '/dev/null'",
        ),
    ] {
        all_proving(all, object, does, sql);
    }
    for (name, oid) in &world.registry {
        let object = format!("table tenantctl.{name}");
        all.push(Attempt::new(
            "probe_registry",
            Critical,
            Concerns::Attacker,
            &object,
            "read it",
            Sql::new("EXPLAIN SELECT FROM ").qualified("tenantctl", name),
        ));
        for (does, right) in [
            ("insert into it", "INSERT"),
            ("update it", "UPDATE"),
            ("delete from it", "DELETE"),
        ] {
            let function = if right == "DELETE" { RELATION } else { COLUMN };
            let sql = may(function, world.registry_oid, *oid, right);
            all.push(Attempt::new(
                "probe_registry",
                Critical,
                Concerns::Attacker,
                &object,
                does,
                sql,
            ));
        }
    }
    let others = "EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.usename <> current_user
AND a.query <> '' AND a.query <> '<insufficient privilege>')";
    all.push(Attempt::new(
        "probe_activity",
        High,
        Concerns::Attacker,
        "view pg_catalog.pg_stat_activity",
        "read what other logins run",
        ask(Sql::new(others)),
    ));
    for large_object in &world.large_objects {
        let object = format!("large object {large_object}");
        let get = Sql::new("SELECT pg_catalog.lo_get(")
            .int(*large_object)
            .text("::pg_catalog.oid, 0, 1)");
        all.push(Attempt::new(
            "probe_large_object",
            Critical,
            Concerns::Attacker,
            &object,
            "read it",
            get,
        ));
        // A write of no bytes at its beginning.
        let put = Sql::new("SELECT pg_catalog.lo_put(")
            .int(*large_object)
            .text("::pg_catalog.oid, 0, '')");
        all.push(Attempt::new(
            "probe_large_object",
            Critical,
            Concerns::Attacker,
            &object,
            "write to it",
            put,
        ));
    }
}

/// Files and programs: an error of the operating system comes after the server's consent.
fn all_proving(all: &mut Vec<Attempt>, object: &'static str, does: &'static str, sql: &'static str) {
    let attempt = Attempt::new(
        "probe_file",
        Severity::Critical,
        Concerns::Attacker,
        object,
        does,
        Sql::new(sql),
    );
    all.push(attempt.proves(&["58P01", "58030", "38000", "42704"]));
}

/// The lines of the hardening standard that concern every tenant alike; charged to the database.
fn lines(all: &mut Vec<Attempt>, world: &World) {
    use Severity::{High, Medium};
    let mut add = |check, severity, object: &str, does, sql: Sql, remedy: Sql| {
        all.push(Attempt::new(check, severity, Concerns::Database, object, does, sql).remedy(&remedy));
    };
    for schema in &world.schemas {
        let object = format!("schema {schema}");
        let remedy = || Sql::new("REVOKE CREATE ON SCHEMA ").ident(schema).text(" FROM PUBLIC;");
        for (does, sql) in creations(schema) {
            add("probe_create", High, &object, does, sql, remedy());
        }
    }
    add(
        "probe_temp",
        Medium,
        &format!("database {}", world.database),
        "make temporary tables",
        Sql::new("CREATE TEMPORARY TABLE tenantctl_probe ()"),
        Sql::new("REVOKE TEMPORARY ON DATABASE ")
            .ident(&world.database)
            .text(" FROM PUBLIC;"),
    );
    add(
        "probe_language",
        Medium,
        "language plpgsql",
        "run blocks of code in it",
        Sql::new("DO LANGUAGE plpgsql 'BEGIN END'"),
        Sql::new("REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;"),
    );
    add(
        "probe_language",
        Medium,
        "language sql",
        "use it in functions",
        ask(Sql::new("pg_catalog.has_language_privilege('sql', 'USAGE')")),
        Sql::new("REVOKE USAGE ON LANGUAGE sql FROM PUBLIC;"),
    );
    for (function, does, sql, remedy) in [
        (
            "pg_try_advisory_xact_lock(bigint)",
            "take locks that all tenants share",
            "SELECT pg_catalog.pg_try_advisory_xact_lock(6302173640955173)",
            "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_try_advisory_xact_lock(bigint) FROM PUBLIC;",
        ),
        (
            "pg_advisory_xact_lock_shared(bigint)",
            "take locks that all tenants share",
            "SELECT pg_catalog.pg_advisory_xact_lock_shared(6302173640955173)",
            "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_advisory_xact_lock_shared(bigint) FROM PUBLIC;",
        ),
        (
            "pg_notify(text, text)",
            "send notifications through it",
            "SELECT pg_catalog.pg_notify('tenantctl_probe', '')",
            "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_notify(text, text) FROM PUBLIC;",
        ),
        (
            "query_to_xml(text, boolean, boolean, text)",
            "run text as SQL through it",
            "SELECT pg_catalog.query_to_xml('SELECT 1', true, true, '')",
            "REVOKE EXECUTE ON FUNCTION pg_catalog.query_to_xml(text, boolean, boolean, text) FROM PUBLIC;",
        ),
        (
            "lo_create(oid)",
            "create large objects",
            "SELECT pg_catalog.lo_create(0)",
            "REVOKE EXECUTE ON FUNCTION pg_catalog.lo_create(oid) FROM PUBLIC;",
        ),
        (
            "lo_creat(integer)",
            "create large objects",
            "SELECT pg_catalog.lo_creat(-1)",
            "REVOKE EXECUTE ON FUNCTION pg_catalog.lo_creat(integer) FROM PUBLIC;",
        ),
        (
            "lo_from_bytea(oid, bytea)",
            "create large objects",
            "SELECT pg_catalog.lo_from_bytea(0, '')",
            "REVOKE EXECUTE ON FUNCTION pg_catalog.lo_from_bytea(oid, bytea) FROM PUBLIC;",
        ),
        (
            "pg_database_size(name)",
            "measure databases",
            "SELECT pg_catalog.has_function_privilege('pg_catalog.pg_database_size(name)', 'EXECUTE')",
            "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_database_size(name) FROM PUBLIC;",
        ),
        (
            "pg_total_relation_size(regclass)",
            "measure others' tables",
            "SELECT pg_catalog.pg_total_relation_size('pg_catalog.pg_language'::pg_catalog.regclass)",
            "REVOKE EXECUTE ON FUNCTION pg_catalog.pg_total_relation_size(regclass) FROM PUBLIC;",
        ),
    ] {
        let sql = if function == "pg_database_size(name)" {
            // To measure one takes long.
            ask(Sql::new(
                "pg_catalog.has_function_privilege('pg_catalog.pg_database_size(pg_catalog.name)', 'EXECUTE')",
            ))
        } else {
            Sql::new(sql)
        };
        let object = format!("function pg_catalog.{function}");
        add("probe_builtin", Medium, &object, does, sql, Sql::new(remedy));
    }
    for (view, sql, remedy) in [
        (
            "pg_stat_all_tables",
            "EXPLAIN SELECT FROM pg_catalog.pg_stat_all_tables",
            "REVOKE SELECT ON pg_catalog.pg_stat_all_tables FROM PUBLIC;",
        ),
        (
            "pg_stat_user_tables",
            "EXPLAIN SELECT FROM pg_catalog.pg_stat_user_tables",
            "REVOKE SELECT ON pg_catalog.pg_stat_user_tables FROM PUBLIC;",
        ),
        (
            "pg_statio_user_tables",
            "EXPLAIN SELECT FROM pg_catalog.pg_statio_user_tables",
            "REVOKE SELECT ON pg_catalog.pg_statio_user_tables FROM PUBLIC;",
        ),
        (
            "pg_stat_user_indexes",
            "EXPLAIN SELECT FROM pg_catalog.pg_stat_user_indexes",
            "REVOKE SELECT ON pg_catalog.pg_stat_user_indexes FROM PUBLIC;",
        ),
    ] {
        let object = format!("view pg_catalog.{view}");
        add(
            "probe_statistics",
            Medium,
            &object,
            "read other tenants' statistics",
            Sql::new(sql),
            Sql::new(remedy),
        );
    }
    for database in &world.databases {
        for (right, does) in [
            ("CREATE", "create schemas in it"),
            ("TEMP", "make temporary tables in it once connected"),
        ] {
            let question = ask(Sql::new("pg_catalog.has_database_privilege(")
                .int(database.oid)
                .text("::pg_catalog.oid, '")
                .text(right)
                .text("')"));
            add(
                "probe_database",
                Medium,
                &format!("database {}", database.name),
                does,
                question,
                database_remedy(database),
            );
        }
    }
    for database in &world.databases {
        let question = ask(Sql::new("pg_catalog.has_database_privilege(")
            .int(database.oid)
            .text("::pg_catalog.oid, 'CONNECT')"));
        all.push(may_connect(database, question));
    }
}

fn database_remedy(database: &Database) -> Sql {
    Sql::new("REVOKE CONNECT, TEMPORARY, CREATE ON DATABASE ")
        .ident(&database.name)
        .text(" FROM PUBLIC;")
}

/// A way into another database; through PUBLIC it is every tenant's.
pub fn may_connect(database: &Database, sql: Sql) -> Attempt {
    let (concerns, severity) = if database.public_connects {
        (Concerns::Database, Severity::Medium)
    } else {
        (Concerns::Attacker, Severity::High)
    };
    Attempt::new(
        "probe_other_database",
        severity,
        concerns,
        &format!("database {}", database.name),
        "connect to it",
        sql,
    )
    .remedy(&database_remedy(database))
}
