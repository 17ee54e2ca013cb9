//! What is tried: our own text with quoted names, each attempt harmless where it succeeds.
//!
//! `EXPLAIN` without `ANALYZE` goes as far as the server's own check of privileges and no further: no trigger fires, no
//! row is touched. Ownership is tried by COMMENT, which blocks nobody's rows. Where even that could run somebody's code
//! or wait on somebody's lock, the server is asked with the tenant's identity (`has_..._privilege`).

mod database;

use super::targets::{Object, Shape, Target, World};
use crate::pg::sql::Sql;
use crate::validate::Severity;

pub use database::{may_connect, on_database};

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
