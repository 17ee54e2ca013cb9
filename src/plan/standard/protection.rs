//! Row security, and the tables and functions that are tenantctl's own.

use sha2::{Digest, Sha256};

use super::{Observed, Policy, STANDARD_FUNCTIONS, STANDARD_TABLES, Wanted, base_of, function_name, is_standard_table};
use crate::pg::sql::Sql;
use crate::tenant::{OWNER_ROLE, hex};

/// What is the owner's alone has no trigger: one that a tenant put there would run with the owner's rights.
pub(super) fn strays(wanted: &Wanted<'_>, now: &Observed) -> Sql {
    let ours = now
        .relations
        .iter()
        .filter(|r| is_standard_table(&r.name) && r.kind == 'r');
    ours.flat_map(|r| r.triggers.iter().map(move |t| (r, t)))
        .fold(Sql::default(), |sql, (relation, trigger)| {
            sql.text("DROP TRIGGER ")
                .ident(&trigger.name)
                .text(" ON ")
                .qualified(wanted.schema, &relation.name)
                .text(";\n")
        })
}

/// Keeps a table of tenantctl's own from getting a trigger or rule until the transaction ends, and ends it with SQLSTATE
/// [`HAS_TRIGGER`] when it has one: what writes there next would run it. Writers are not held up.
pub fn without_triggers(schema: &str, table: &str) -> Sql {
    Sql::new("LOCK TABLE ")
        .qualified(schema, table)
        .text(
            " IN SHARE UPDATE EXCLUSIVE MODE;
SELECT pg_catalog.sqrt(CASE WHEN c.relhasrules OR EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid)
    THEN -1 ELSE 1 END)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = ",
        )
        .literal(schema)
        .text(" AND c.relname = ")
        .literal(table)
        .text(";\n")
}

/// The SQLSTATE of [`without_triggers`]: the root of a negative number.
pub const HAS_TRIGGER: &str = "2201F";

/// Settings of `audit_changes` beside its search path. A tenant's own would follow it otherwise, and the same value would
/// be written in another way, or with fewer digits than it has.
const AUDIT_SETTINGS: [(&str, &str); 5] = [
    ("extra_float_digits", "1"),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("bytea_output", "hex"),
];

/// The settings of a standard function as `pg_proc.proconfig` has them, without quotes.
fn settings(schema: &str, function: &str) -> Vec<String> {
    let mut settings = vec![format!("search_path={schema}, pg_temp")];
    if function == "audit_changes" {
        settings.extend(AUDIT_SETTINGS.map(|(name, value)| format!("{name}={value}")));
    }
    settings
}

/// Renames standard functions that bear another name, and what was observed with them: their triggers follow.
pub(super) fn rename(wanted: &Wanted<'_>, now: &mut Observed) -> Sql {
    let mut sql = Sql::default();
    for (base, _) in STANDARD_FUNCTIONS {
        let name = function_name(base, wanted.role);
        let signature = format!("{name}()");
        if now.functions.iter().any(|f| f.signature == signature) {
            continue;
        }
        let Some(other) = now.functions.iter_mut().find(|f| base_of(&f.signature) == Some(base)) else {
            continue;
        };
        let was = std::mem::replace(&mut other.signature, signature);
        let was = was.trim_end_matches("()");
        sql = sql
            .text("ALTER FUNCTION ")
            .qualified(wanted.schema, was)
            .text("() RENAME TO ")
            .ident(&name)
            .text(";\n");
        for trigger in now.relations.iter_mut().flat_map(|r| &mut r.triggers) {
            if trigger.function.0 == wanted.schema && trigger.function.1 == was {
                trigger.function.1.clone_from(&name);
            }
        }
    }
    sql
}

/// Whether a standard function is there with the standard's body and settings.
pub(super) fn is_as_wanted(wanted: &Wanted<'_>, now: &Observed, name: &str) -> bool {
    let body = STANDARD_FUNCTIONS
        .iter()
        .find(|(known, _)| *known == name)
        .map_or("", |(_, body)| body);
    let body = hex(&Sha256::digest(body.as_bytes()));
    let signature = format!("{}()", function_name(name, wanted.role));
    now.functions.iter().any(|f| {
        f.signature == signature
            && f.body_sha256.as_deref() == Some(body.as_str())
            && f.definer
            && f.trigger
            && f.settings
                .iter()
                .map(|s| s.replace('"', ""))
                .eq(settings(wanted.schema, name))
    })
}

pub(super) fn functions(wanted: &Wanted<'_>, now: &Observed) -> Sql {
    let mut sql = Sql::default();
    for (name, body) in STANDARD_FUNCTIONS {
        if is_as_wanted(wanted, now, name) {
            continue;
        }
        sql = sql
            .text("CREATE OR REPLACE FUNCTION ")
            .qualified(wanted.schema, &function_name(name, wanted.role))
            .text("() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = ")
            .ident(wanted.schema)
            .text(", pg_temp");
        if name == "audit_changes" {
            for (setting, value) in AUDIT_SETTINGS {
                sql = sql.text(" SET ").text(setting).text(" = ").literal(value);
            }
        }
        sql = sql.text(" AS $standard$").text(body).text("$standard$;\n");
    }
    sql
}

pub(super) fn row_security(wanted: &Wanted<'_>, now: &Observed) -> Sql {
    let mut sql = Sql::default();
    let tables = wanted
        .objects
        .tables
        .iter()
        .map(String::as_str)
        .chain(STANDARD_TABLES.map(|(name, _)| name));
    for table in tables {
        let relation = now.relations.iter().find(|r| r.name == table);
        let relation = match relation {
            Some(r) if matches!(r.kind, 'r' | 'p') => Some(r),
            None if is_standard_table(table) => None,
            _ => continue,
        };
        let policies = relation.map_or(&[][..], |r| &r.policies);
        let (enabled, forced) = relation.map_or((false, false), |r| (r.row_security, r.forced));
        let drop = |sql: Sql, policy: &Policy| {
            sql.text("DROP POLICY ")
                .ident(&policy.name)
                .text(" ON ")
                .qualified(wanted.schema, table)
                .text(";\n")
        };
        if wanted.bulk_load.contains(table) {
            sql = policies.iter().fold(sql, drop);
            if enabled || forced {
                sql = sql
                    .text("ALTER TABLE ")
                    .qualified(wanted.schema, table)
                    .text(" DISABLE ROW LEVEL SECURITY, NO FORCE ROW LEVEL SECURITY;\n");
            }
            continue;
        }
        if !enabled || !forced {
            sql = sql
                .text("ALTER TABLE ")
                .qualified(wanted.schema, table)
                .text(" ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;\n");
        }
        // Two permissive policies a table: the tenant sees its rows, the owner sees them too, anyone else with a stray
        // grant sees none. Without the owner's policy FORCE would hide rows from foreign-key checks.
        let due = [
            (format!("{table}_tenant_isolation"), wanted.role),
            (format!("{table}_admin_bypass"), OWNER_ROLE),
        ];
        let fits = |p: &Policy| {
            due.iter()
                .any(|(name, role)| p.name == *name && p.plain && p.roles == [*role])
        };
        sql = policies.iter().filter(|p| !fits(p)).fold(sql, drop);
        for (name, role) in &due {
            if policies.iter().any(|p| p.name == *name && fits(p)) {
                continue;
            }
            sql = sql
                .text("CREATE POLICY ")
                .ident(name)
                .text(" ON ")
                .qualified(wanted.schema, table)
                .text(" TO ")
                .ident(role)
                .text(" USING (true) WITH CHECK (true);\n");
        }
    }
    sql
}
