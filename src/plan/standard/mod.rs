//! The standard of one tenant: what its schema, rights, row security, audit, limits and role are to be, and the
//! steps from what they are to that.
//!
//! `provision` and `secure` share this: a new tenant is one whose modules have just run and which has nothing else.
//! Statements are folded, one a kind of object and set of rights, and every object is named: `ON ALL TABLES IN SCHEMA`
//! reads all of pg_class, so that its cost grows with the number of tenants.

mod observed;
mod protection;
mod rights;
mod role;
mod triggers;

use std::borrow::Cow;
use std::collections::BTreeSet;

use crate::pg::sql::Sql;
use crate::tenant::{Audit, Limits, ModuleObjects, OWNER_ROLE, SchemaName};

pub use observed::{Attribute, Function, Grant, Membership, Observed, Policy, Relation, RoleState, Trigger, TypeState};
pub use protection::{HAS_TRIGGER, without_triggers};
pub use rights::{Writes, take_all_rights, writes};
pub use role::{join_group, role_changes, search_path};
pub use triggers::{COUNTED_LIMITS, CountedLimit, count_anew};

/// Tables that every tenant has beside its template's, with what makes them; it may read them.
pub const STANDARD_TABLES: [(&str, &str); 2] = [
    ("audit_log", include_str!("../../../sql/standard/audit_log.sql")),
    ("tenant_usage", include_str!("../../../sql/standard/tenant_usage.sql")),
];
/// The functions behind the triggers, with their bodies; the same text for every tenant. [`function_name`] says what they
/// are called there.
pub const STANDARD_FUNCTIONS: [(&str, &str); 2] = [
    ("audit_changes", include_str!("../../../sql/standard/audit_changes.sql")),
    (
        "enforce_limits",
        include_str!("../../../sql/standard/enforce_limits.sql"),
    ),
];
/// The longest table name for which both policy names fit into 63 bytes.
pub const TABLE_NAME_MAX: usize = 63 - "_tenant_isolation".len();

/// What a tenant is to be like.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// Its schema.
    pub schema: &'a str,
    /// Its role.
    pub role: &'a str,
    /// What its modules create.
    pub objects: &'a ModuleObjects,
    /// Tables that it loads with COPY: no row security.
    pub bulk_load: &'a BTreeSet<String>,
    /// Its audited tables.
    pub audit: &'a Audit,
    /// What it may use.
    pub limits: &'a Limits,
    /// The server's major version.
    pub major: i32,
    /// Count anew what limits are held against, whether something differs or not.
    pub recount: bool,
    /// Its schema has reached its size: it reads and deletes, and neither inserts nor updates.
    pub frozen: bool,
}
fn is_standard_table(name: &str) -> bool {
    STANDARD_TABLES.iter().any(|(table, _)| *table == name)
}

/// What a standard function is called in the schema of a tenant with this role: PostgreSQL reads all functions of a name
/// wherever it makes, compiles or looks for one, so each tenant's have a name of their own.
fn function_name(base: &str, role: &str) -> String {
    match role
        .strip_suffix("_user")
        .and_then(|schema| schema.strip_prefix("tenant_"))
    {
        Some(own) if is_tenant_role(role) => format!("{base}_{own}"),
        _ => base.to_owned(),
    }
}

/// Which of the standard functions this is by its name, whichever tenant's.
fn base_of(signature: &str) -> Option<&'static str> {
    let name = signature.strip_suffix("()")?;
    STANDARD_FUNCTIONS.iter().map(|(base, _)| *base).find(|base| {
        name.strip_prefix(base)
            .is_some_and(|rest| rest.is_empty() || is_tenant_role(&format!("tenant{rest}_user")))
    })
}

/// Whether a function is one of audit and limits, by its name and arguments.
pub fn is_standard_function(signature: &str) -> bool {
    base_of(signature).is_some()
}

/// Whether a role has the shape of a tenant's.
fn is_tenant_role(role: &str) -> bool {
    role.strip_suffix("_user")
        .is_some_and(|schema| SchemaName::from_registry(schema).is_ok())
}

/// A change: what it is for, and the SQL. It wants to be run as the owner, with the schema as search path: the types of
/// functions' arguments are the only names that are not qualified.
pub type Change = (Cow<'static, str>, Sql);
/// The steps from what there is to what is wanted, in the schema; empty when it is so already.
pub fn schema_changes(wanted: &Wanted<'_>, now: &Observed) -> Vec<Change> {
    let parts = schema_parts(wanted, now);
    parts
        .before
        .into_iter()
        .chain(parts.rights)
        .chain(parts.after)
        .collect()
}

/// The same in the order in which they must come, parted by the locks that they take.
pub struct Parts {
    /// What rights are granted on: owners, tables and functions of tenantctl's own.
    pub before: Vec<Change>,
    /// REVOKE and GRANT, which wait for nobody that uses the tables.
    pub rights: Vec<Change>,
    /// Row security and triggers, whose locks wait for open transactions of the tenant.
    pub after: Vec<Change>,
}

/// See [`Parts`].
pub fn schema_parts(wanted: &Wanted<'_>, now: &Observed) -> Parts {
    let mut mine = now.adoptable(wanted);
    let some = |changes: Vec<(&'static str, Sql)>| -> Vec<Change> {
        let changes = changes.into_iter().filter(|(_, sql)| !sql.is_empty());
        changes.map(|(what, sql)| (what.into(), sql)).collect()
    };
    let mut before = vec![("give everything to the owner", rights::ownership(wanted, &mine))];
    for (name, sql) in STANDARD_TABLES {
        if !now.relations.iter().any(|r| r.name == name) {
            before.push(("create what every tenant has beside its template", Sql::new(sql)));
        }
    }
    before.push((
        "take triggers from the tables that are tenantctl's own",
        protection::strays(wanted, &mine),
    ));
    before.push((
        "call the functions of audit and limits by names of the tenant's own",
        protection::rename(wanted, &mut mine),
    ));
    before.push((
        "create the functions of audit and limits",
        protection::functions(wanted, &mine),
    ));
    let (audit, limits, recount) = triggers::triggers(wanted, &mine);
    Parts {
        before: some(before),
        rights: some(vec![
            (
                "take back rights that nobody is to have",
                rights::revokes(wanted, &mine),
            ),
            (
                "grant the tenant its rows, not its structure",
                rights::grants(wanted, &mine),
            ),
        ]),
        after: some(vec![
            ("enable and force row security", protection::row_security(wanted, &mine)),
            ("audit every change", audit),
            ("hold the tenant to its limits", limits),
            ("count what the limits are held against", recount),
        ]),
    }
}

/// What of the standard cannot be brought about by [`schema_changes`], as sentences.
pub fn beyond_repair(wanted: &Wanted<'_>, now: &Observed) -> Vec<String> {
    let mut problems = Vec::new();
    let objects = wanted.objects;
    for (names, kinds, what) in [
        (&objects.tables, &['r', 'p'][..], "table"),
        (&objects.views, &['v'][..], "view"),
        (&objects.sequences, &['S'][..], "sequence"),
    ] {
        for name in names {
            match now.relations.iter().find(|r| r.name == *name) {
                None => problems.push(format!("{what} {name} of the template is missing")),
                Some(r) if !kinds.contains(&r.kind) => problems.push(format!("{name} is not a {what}")),
                Some(_) => {}
            }
        }
    }
    for (name, _) in STANDARD_TABLES {
        if now.relations.iter().any(|r| r.name == name && r.kind != 'r') {
            problems.push(format!("{name} is not a table"));
        }
    }
    if now.owner != OWNER_ROLE && is_tenant_role(&now.owner) {
        problems.push(format!("the schema belongs to tenant role {}", now.owner));
    }
    for (kind, name, owner) in now.tenant_owned() {
        problems.push(format!(
            "{kind} {name} belongs to tenant role {owner} and may hold code of that tenant, so it is not adopted"
        ));
    }
    if now.role.is_none() {
        problems.push(format!("role {} is missing", wanted.role));
    }
    problems
}
