//! What is tried: our own text with quoted names, each attempt harmless where it succeeds.
//!
//! `EXPLAIN` without `ANALYZE` goes as far as the server's own check of privileges and no further: no trigger fires, no
//! row is touched. Ownership is tried by COMMENT, which blocks nobody's rows. Where even that could run somebody's code
//! or wait on somebody's lock, the server is asked with the tenant's identity (`has_..._privilege`).

use super::targets::{Database, Object, Shape, Target, World};
use crate::pg::sql::Sql;
use crate::validate::Severity;

/// How an attempt is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// As a batch of its own.
    Batch,
    /// Success shows as the server's readiness to send rows, which the driver does not expect in a batch.
    CopyOut,
}

/// Whom a success is charged to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Concerns {
    /// The tenant whose object it is.
    Victim,
    /// The tenant that could do it.
    Attacker,
    /// Any tenant could: the database.
    Database,
}

/// One thing that a tenant should not be able to do.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// The check's id.
    pub check: &'static str,
    /// How bad a success is.
    pub severity: Severity,
    /// Whom it concerns.
    pub concerns: Concerns,
    /// Kind and name.
    pub object: String,
    /// Completes `tenant acme can ...`.
    pub does: &'static str,
    /// What is sent.
    pub sql: Sql,
    /// How.
    pub way: Way,
    /// SQLSTATEs that the server only gets to after it has let the tenant pass.
    pub proves: &'static [&'static str],
    /// What mends it, where `tenantctl secure` of the tenant concerned does not.
    pub remedy: Option<String>,
}

impl Attempt {
    fn new(
        check: &'static str,
        severity: Severity,
        concerns: Concerns,
        object: &str,
        does: &'static str,
        sql: Sql,
    ) -> Self {
        Self {
            check,
            severity,
            concerns,
            object: object.to_owned(),
            does,
            sql,
            way: Way::Batch,
            proves: &[],
            remedy: None,
        }
    }

    fn way(self, way: Way) -> Self {
        Self { way, ..self }
    }

    fn proves(self, codes: &'static [&'static str]) -> Self {
        Self { proves: codes, ..self }
    }

    fn remedy(self, sql: &Sql) -> Self {
        Self {
            remedy: Some(sql.to_string()),
            ..self
        }
    }
}

/// A question as a statement: it divides by zero where the answer is no.
pub fn ask(condition: Sql) -> Sql {
    Sql::new("SELECT 1 / CASE WHEN ")
        .append(condition)
        .text(" THEN 1 ELSE 0 END")
}

/// `has_schema_privilege(..., 'USAGE') AND function(oid, right)`.
fn may(function: &'static str, schema: u32, object: u32, right: &'static str) -> Sql {
    ask(Sql::new("pg_catalog.has_schema_privilege(")
        .int(schema)
        .text("::pg_catalog.oid, 'USAGE') AND pg_catalog.")
        .text(function)
        .text("(")
        .int(object)
        .text("::pg_catalog.oid, '")
        .text(right)
        .text("')"))
}

const RELATION: &str = "has_table_privilege";
const COLUMN: &str = "has_any_column_privilege";

/// The quoted name as a literal, for functions that take a name as text.
fn name_literal(schema: &str, name: &str) -> Sql {
    Sql::new("").literal(&Sql::new("").qualified(schema, name).to_string())
}

/// The name of what is tried to be created, so that nobody is puzzled by it in a log.
const NEW: &str = "tenantctl_probe";

/// Reads of a relation: by a statement where that runs no foreign code, else by asking.
fn select(object: &Object, schema: &Target) -> Sql {
    if object.ask_only {
        may(COLUMN, schema.oid, object.oid, "SELECT")
    } else {
        Sql::new("EXPLAIN SELECT FROM ").qualified(&schema.schema, &object.name)
    }
}

/// What a tenant whose writes are frozen may go on doing: to make room.
const DELETE: &str = "delete from it";

/// INSERT, UPDATE, DELETE on a table, as statements or as questions.
fn writes(object: &Object, schema: &Target) -> Vec<(&'static str, Sql)> {
    let table = |head: &'static str| Sql::new(head).qualified(&schema.schema, &object.name);
    let column = object.first_column.as_deref().filter(|_| !object.ask_only);
    let mut all = vec![
        (
            "insert into it",
            if object.ask_only {
                may(COLUMN, schema.oid, object.oid, "INSERT")
            } else {
                table("EXPLAIN INSERT INTO ").text(" DEFAULT VALUES")
            },
        ),
        (
            DELETE,
            if object.ask_only {
                may(RELATION, schema.oid, object.oid, "DELETE")
            } else {
                table("EXPLAIN DELETE FROM ").text(" WHERE false")
            },
        ),
        // Any column will do; the statement below can only name one.
        ("update it", may(COLUMN, schema.oid, object.oid, "UPDATE")),
    ];
    if let Some(column) = column {
        all.push((
            "update it",
            table("EXPLAIN UPDATE ")
                .text(" SET ")
                .ident(column)
                .text(" = DEFAULT WHERE false"),
        ));
    }
    all
}

/// What shows that the tenant works at all: it can use what is its own. Each must succeed.
pub fn controls(own: &Target) -> Vec<Attempt> {
    let mut all = Vec::new();
    for object in &own.objects {
        let name = object.describe(&own.schema);
        let mut control = |does, sql| {
            all.push(Attempt::new(
                "probe_control",
                Severity::Low,
                Concerns::Attacker,
                &name,
                does,
                sql,
            ));
        };
        match object.shape {
            Shape::Table => {
                control("read its own table", select(object, own));
                if !object.is_tools_own() {
                    let works = writes(object, own).into_iter();
                    for (does, sql) in works.filter(|(does, _)| !own.frozen || *does == DELETE) {
                        control(does, sql);
                    }
                }
            }
            Shape::View => control("read its own view", select(object, own)),
            _ => {}
        }
    }
    all
}

/// currval checks the right to the sequence, then finds that this session has not used it: no value is drawn.
fn currval(object: &Object, schema: &Target) -> Sql {
    Sql::new("SELECT pg_catalog.currval(")
        .append(name_literal(&schema.schema, &object.name))
        .text("::pg_catalog.regclass)")
}

const CURRVAL: &[&str] = &["55000"];

/// Whether the names in a neighbour's schema resolve, and what can be done to the schema and the role as such.
pub fn on_schema(victim: &Target, attacker: &Target, world: &World, own_login: bool) -> Vec<Attempt> {
    use Severity::{Critical, High};
    let schema = format!("schema {}", victim.schema);
    let role = format!("role {}", victim.role);
    let mut all = Vec::new();
    let mut add = |check, severity, object: &str, does, sql| {
        all.push(Attempt::new(check, severity, Concerns::Victim, object, does, sql));
    };
    if let Some(relation) = victim.objects.iter().find(|o| o.shape.is_relation()) {
        let sql = Sql::new("SELECT ")
            .append(name_literal(&victim.schema, &relation.name))
            .text("::pg_catalog.regclass");
        add("probe_schema", High, &schema, "resolve names in it", sql);
    }
    for (does, sql) in creations(&victim.schema) {
        add("probe_create", Critical, &schema, does, sql);
    }
    let comment = Sql::new("COMMENT ON SCHEMA ").ident(&victim.schema).text(" IS NULL");
    add("probe_ownership", Critical, &schema, "alter it as its owner", comment);
    let grant = grant(
        Sql::new("GRANT USAGE ON SCHEMA ").ident(&victim.schema),
        &Sql::new("").ident(&attacker.role),
        "has_schema_privilege",
        victim.oid,
        "USAGE",
    );
    add("probe_grant", Critical, &schema, "grant rights on it", grant);

    let become_role = if own_login {
        Sql::new("SET LOCAL ROLE ").ident(&victim.role)
    } else {
        ask(can_become(&victim.role, world))
    };
    add("probe_role", Critical, &role, "become it by SET ROLE", become_role);
    let membership = Sql::new("GRANT ")
        .ident(&victim.role)
        .text(" TO ")
        .ident(&attacker.role);
    add("probe_role", Critical, &role, "make itself a member of it", membership);
    for (does, tail) in [
        ("change its connection limit", " CONNECTION LIMIT -1"),
        ("change its password", " PASSWORD NULL"),
        ("change its settings", " SET search_path = ''"),
    ] {
        let sql = Sql::new("ALTER ROLE ").ident(&victim.role).text(tail);
        add("probe_role", Critical, &role, does, sql);
    }
    let usage = ask(Sql::new("pg_catalog.pg_has_role(")
        .literal(&victim.role)
        .text(", 'USAGE')"));
    add(
        "probe_role",
        Critical,
        &role,
        "use its rights as an inheriting member",
        usage,
    );
    for attempt in &mut all {
        if attempt.check == "probe_role" && attempt.does.contains("member") || attempt.does.contains("SET ROLE") {
            attempt.remedy = Some(
                Sql::new("REVOKE ")
                    .ident(&victim.role)
                    .text(" FROM ")
                    .ident(&attacker.role)
                    .text(";")
                    .to_string(),
            );
        }
    }
    all
}

/// A GRANT with a question behind: one of what one may not grant is only a warning.
fn grant(grant: Sql, to: &Sql, function: &'static str, oid: u32, right: &'static str) -> Sql {
    grant
        .text(" TO ")
        .append(to.clone())
        .text(";\n")
        .append(ask(Sql::new("pg_catalog.")
            .text(function)
            .text("(")
            .int(oid)
            .text("::pg_catalog.oid, '")
            .text(right)
            .text(" WITH GRANT OPTION')")))
}

/// Whether the tenant could SET ROLE, for sessions whose login is not the tenant's.
fn can_become(role: &str, world: &World) -> Sql {
    Sql::new("pg_catalog.pg_has_role(")
        .literal(role)
        .text(if world.major >= 16 { ", 'SET')" } else { ", 'MEMBER')" })
}

/// Things made in a schema.
fn creations(schema: &str) -> Vec<(&'static str, Sql)> {
    let new = |head: &'static str, tail: &'static str| Sql::new(head).qualified(schema, NEW).text(tail);
    vec![
        ("create tables in it", new("CREATE TABLE ", " ()")),
        ("create views in it", new("CREATE VIEW ", " AS SELECT 1 AS x")),
        ("create sequences in it", new("CREATE SEQUENCE ", "")),
        (
            "create functions in it",
            new(
                "CREATE FUNCTION ",
                " () RETURNS pg_catalog.int4 LANGUAGE sql AS 'SELECT 1'",
            ),
        ),
        (
            "create aggregates in it",
            new(
                "CREATE AGGREGATE ",
                " (pg_catalog.int4) (SFUNC = pg_catalog.int4pl, STYPE = pg_catalog.int4)",
            ),
        ),
        (
            "create operators in it",
            Sql::new("CREATE OPERATOR ")
                .ident(schema)
                .text(".=== (FUNCTION = pg_catalog.int4eq, LEFTARG = pg_catalog.int4, RIGHTARG = pg_catalog.int4)"),
        ),
        ("create types in it", new("CREATE DOMAIN ", " AS pg_catalog.int4")),
    ]
}

/// What is tried on one object of a neighbour. `reads_only`: its schema's names do not resolve for the attacker, so one
/// attempt shows what all would.
pub fn on_object(victim: &Target, attacker: &Target, object: &Object, world: &World, reads_only: bool) -> Vec<Attempt> {
    use Severity::{Critical, High, Medium};
    let name = object.describe(&victim.schema);
    let mut all = Vec::new();
    let mut add = |check, severity, does, sql| {
        all.push(Attempt::new(check, severity, Concerns::Victim, &name, does, sql));
    };
    let table = |head: &'static str| Sql::new(head).qualified(&victim.schema, &object.name);
    match object.shape {
        Shape::Table | Shape::View | Shape::Foreign => add("probe_read", Critical, "read it", select(object, victim)),
        Shape::Sequence => {
            all.push(
                Attempt::new(
                    "probe_sequence",
                    Critical,
                    Concerns::Victim,
                    &name,
                    "use it",
                    currval(object, victim),
                )
                .proves(CURRVAL),
            );
        }
        Shape::Function | Shape::TriggerFunction => {
            add(
                "probe_function",
                High,
                "call it",
                may("has_function_privilege", victim.oid, object.oid, "EXECUTE"),
            );
        }
        Shape::Type => add(
            "probe_type",
            Medium,
            "use it",
            may("has_type_privilege", victim.oid, object.oid, "USAGE"),
        ),
    }
    if reads_only {
        return all;
    }
    let mut add = |check, severity, does, sql| {
        all.push(Attempt::new(check, severity, Concerns::Victim, &name, does, sql));
    };
    match object.shape {
        Shape::Table => {
            for (does, sql) in writes(object, victim) {
                add("probe_write", Critical, does, sql);
            }
            rights(object, victim, world, |check, does, sql| {
                add(check, Critical, does, sql);
            });
            if !object.ask_only {
                // The weakest mode that takes the rights of the strongest; rows stay usable meanwhile.
                add(
                    "probe_lock",
                    Critical,
                    "lock it",
                    table("LOCK TABLE ").text(" IN SHARE UPDATE EXCLUSIVE MODE NOWAIT"),
                );
                add(
                    "probe_ownership",
                    Critical,
                    "alter it as its owner",
                    table("COMMENT ON TABLE ").text(" IS NULL"),
                );
                let to = Sql::new("").ident(&attacker.role);
                let grant = grant(table("GRANT SELECT ON TABLE "), &to, RELATION, object.oid, "SELECT");
                add("probe_grant", Critical, "grant rights on it", grant);
                // The right is checked before the lock is asked for, and a view among the names ends it before anything is
                // emptied.
                all.push(
                    Attempt::new(
                        "probe_truncate",
                        Critical,
                        Concerns::Victim,
                        &name,
                        "truncate it by a statement",
                        table("TRUNCATE ").text(", pg_catalog.pg_views"),
                    )
                    .proves(&["42809", "55P03"]),
                );
                all.push(
                    Attempt::new(
                        "probe_read",
                        Critical,
                        Concerns::Victim,
                        &name,
                        "copy it",
                        Sql::new("COPY (SELECT FROM ")
                            .qualified(&victim.schema, &object.name)
                            .text(" LIMIT 0) TO STDOUT"),
                    )
                    .way(Way::CopyOut),
                );
            }
        }
        Shape::View => {
            for (does, right) in [
                ("insert into it", "INSERT"),
                ("update it", "UPDATE"),
                ("delete from it", "DELETE"),
            ] {
                let function = if right == "DELETE" { RELATION } else { COLUMN };
                add(
                    "probe_write",
                    Critical,
                    does,
                    may(function, victim.oid, object.oid, right),
                );
            }
        }
        Shape::Sequence => {
            add("probe_sequence", Critical, "read it", table("EXPLAIN SELECT FROM "));
            add(
                "probe_sequence",
                Critical,
                "set it",
                may("has_sequence_privilege", victim.oid, object.oid, "UPDATE"),
            );
        }
        _ => {}
    }
    all
}

/// The rights on a table that go past row security or lead to code of the tenant's on it; asked, as to use them locks.
fn rights(object: &Object, schema: &Target, world: &World, mut add: impl FnMut(&'static str, &'static str, Sql)) {
    let table = |right| may(RELATION, schema.oid, object.oid, right);
    add("probe_truncate", "truncate it", table("TRUNCATE"));
    add("probe_trigger", "put triggers on it", table("TRIGGER"));
    add(
        "probe_references",
        "reference it by foreign keys",
        may(COLUMN, schema.oid, object.oid, "REFERENCES"),
    );
    if world.major >= 17 {
        add("probe_maintain", "maintain it", table("MAINTAIN"));
    }
}

/// Whether rows come back of a table that can be read.
pub fn read_rows(victim: &Target, object: &Object) -> Attempt {
    let sql = Sql::new("SELECT 1 / pg_catalog.count(*) FROM (SELECT FROM ")
        .qualified(&victim.schema, &object.name)
        .text(" LIMIT 1) x");
    Attempt::new(
        "probe_read",
        Severity::Critical,
        Concerns::Victim,
        &object.describe(&victim.schema),
        "see its rows",
        sql,
    )
}

/// What a tenant must not be able to do to its own schema: it uses, it does not own.
pub fn on_own(own: &Target, world: &World) -> Vec<Attempt> {
    use Severity::{Critical, High, Medium};
    let schema = format!("schema {}", own.schema);
    let mut all = Vec::new();
    let mut add = |check, severity, object: &str, does, sql| {
        all.push(Attempt::new(check, severity, Concerns::Attacker, object, does, sql));
    };
    for (does, sql) in creations(&own.schema) {
        add("probe_create", Critical, &schema, does, sql);
    }
    let comment = Sql::new("COMMENT ON SCHEMA ").ident(&own.schema).text(" IS NULL");
    add("probe_ownership", Critical, &schema, "alter it as its owner", comment);
    for object in &own.objects {
        let name = object.describe(&own.schema);
        let named = |head: &'static str| Sql::new(head).qualified(&own.schema, &object.name);
        match object.shape {
            Shape::Table => {
                rights(object, own, world, |check, does, sql| {
                    add(check, High, &name, does, sql)
                });
                if object.is_tools_own() {
                    for (does, sql) in writes(object, own) {
                        add("probe_audit", High, &name, does, sql);
                    }
                } else if own.frozen {
                    let frozen = writes(object, own).into_iter();
                    for (does, sql) in frozen.filter(|(does, _)| *does != DELETE) {
                        add("probe_frozen", High, &name, does, sql);
                    }
                }
                if object.ask_only {
                    continue;
                }
                if object.is_tools_own() {
                    let lock = named("LOCK TABLE ").text(" IN SHARE UPDATE EXCLUSIVE MODE NOWAIT");
                    add("probe_audit", High, &name, "lock it", lock);
                }
                let comment = named("COMMENT ON TABLE ").text(" IS NULL");
                add(
                    "probe_ownership",
                    Critical,
                    &name,
                    "alter it, its triggers and its policies as its owner",
                    comment,
                );
                let to = Sql::new("PUBLIC");
                let grant = grant(named("GRANT SELECT ON TABLE "), &to, RELATION, object.oid, "SELECT");
                add("probe_grant", Critical, &name, "grant rights on it", grant);
            }
            // One of the template's own harms nobody: a tenant cannot make triggers.
            Shape::TriggerFunction if object.is_tools_own() => {
                let sql = may("has_function_privilege", own.oid, object.oid, "EXECUTE");
                add("probe_function", Medium, &name, "use it in triggers of its own", sql);
            }
            _ => {}
        }
    }
    all
}

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
