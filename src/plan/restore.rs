//! A restored copy in the place of what a tenant had, and back: schemas change their names, contents of single tables are
//! exchanged, new tenants get their registry row and role.
//!
//! Each plan is one transaction. What it takes away is kept in a schema of its own that nobody but the owner may look at.

mod tables;

use std::collections::BTreeSet;
use std::time::Duration;

use uuid::Uuid;

use super::provision::{create_role, pin};
use super::rotate::{Stored, store};
use super::standard::{COUNTED_LIMITS, Observed, Wanted, count_anew, schema_changes, take_all_rights};
use super::{Plan, as_admin, as_owner, lock_tenant, lock_tenant_as, record_as, unless_changed, unless_dropping};
use crate::pg::sql::{FunctionSignature, Sql};
use crate::tenant::{Audit, Limits, OWNER_ROLE, SchemaName, TenantId};

pub use super::CHANGED_MEANWHILE;
pub use tables::{Column, ForeignKey, SequenceState, TableContents, Tables, set_sequences, tables};

/// The limit of a transaction that moves rows: as long as it takes, within a day.
pub const MOVING: Duration = Duration::from_secs(86_400);

/// The schema that a restore is loaded into.
pub fn staging_name(drill: bool, random: &str) -> String {
    format!("tenantctl_{}_{random}", if drill { "drill" } else { "restore" })
}

/// The schema that keeps what a restore has replaced.
pub fn replaced_name(random: &str) -> String {
    format!("tenantctl_replaced_{random}")
}

/// A restore as the registry knows it from its beginning on.
pub struct Begin<'a> {
    /// Its key.
    pub restore: Uuid,
    /// The tenant.
    pub id: &'a TenantId,
    /// The backup.
    pub backup: &'a str,
    /// `replace`, `tables`, `new` or `drill`.
    pub kind: &'static str,
    /// Of `tables`.
    pub tables: &'a [String],
    /// The schema to be made.
    pub staging: &'a str,
    /// Limit of the transaction.
    pub timeout: Duration,
    /// Limit for each wait on a lock.
    pub lock_timeout: Duration,
}

/// The empty schema that will be loaded, and the row by which the next command finds it if this one dies.
pub fn begin(new: &Begin<'_>) -> Plan {
    let mut plan = Plan::new(
        format!("begin the restore of tenant {}", new.id),
        new.timeout,
        new.lock_timeout,
    );
    let sql = as_owner()
        .text("\nINSERT INTO tenantctl.restores (restore_id, tenant_id, backup_id, kind, status, tables, staging_schema, tool_version)\nVALUES (")
        .literal(&new.restore.to_string())
        .text(", ")
        .literal(new.id.as_str())
        .text(", ")
        .literal(new.backup)
        .text(", ")
        .literal(new.kind)
        .text(", 'running', ");
    let sql = if new.tables.is_empty() {
        sql.text("NULL")
    } else {
        sql.text_array(new.tables)
    };
    plan.step(
        "write down what is going to be made",
        sql.text(", ")
            .literal(new.staging)
            .text(", ")
            .literal(env!("CARGO_PKG_VERSION"))
            .text(");"),
    );
    plan.step(
        "create the schema that is loaded",
        as_admin()
            .text("\nCREATE SCHEMA ")
            .ident(new.staging)
            .text(" AUTHORIZATION ")
            .ident(OWNER_ROLE)
            .text(";"),
    );
    plan
}

/// A schema of a restore that ended without it: its row closed, and dropped. `error` is that of the restore, none for one
/// that died or whose schema is no longer wanted.
///
/// The row comes first. The last transaction of a client that was killed may be under way still; it has locked the row by
/// then, and what is dropped after it has committed would be the tenant. Fails with [`CHANGED_MEANWHILE`] when it has.
pub fn give_up(
    restore: Uuid,
    staging: &str,
    done: bool,
    error: Option<Uuid>,
    timeout: Duration,
    lock_timeout: Duration,
) -> Plan {
    let mut plan = Plan::new(format!("drop schema {staging}"), timeout, lock_timeout);
    let sql = as_owner()
        .text("\nWITH closed AS (UPDATE tenantctl.restores SET staging_schema = NULL, finished_at = pg_catalog.clock_timestamp(), status = ")
        .literal(if done { "done" } else { "failed" })
        .text(", error_id = ")
        .optional(error.map(|id| id.to_string()).as_deref())
        .text("::uuid WHERE restore_id = ")
        .literal(&restore.to_string())
        .text(" AND status = 'running' RETURNING 1)\n")
        .append(unless_changed(Sql::new("SELECT pg_catalog.count(*) = 1 FROM closed")));
    plan.step("close its row, unless it is closed already", sql);
    plan.step("drop what was loaded", drop_schema(staging));
    plan
}

/// Drops one of our schemas, which may be gone already.
fn drop_schema(schema: &str) -> Sql {
    as_admin()
        .text("\nDROP SCHEMA IF EXISTS ")
        .ident(schema)
        .text(" CASCADE;")
}

/// What the registry says of a tenant's structure.
pub struct Origin<'a> {
    /// The template.
    pub template: &'a str,
    /// Its version.
    pub version: i32,
    /// The modules that the tenant has.
    pub modules: &'a [String],
    /// Its hypertables.
    pub hypertables: &'a [String],
    /// Its audited tables.
    pub audit: &'a Audit,
}

/// A schema to take the place of a tenant's.
pub struct Swap<'a> {
    /// The tenant.
    pub id: &'a TenantId,
    /// Its schema.
    pub schema: &'a SchemaName,
    /// The schema that takes its name: loaded by this restore, or kept by an earlier one.
    pub incoming: &'a str,
    /// What there is in it.
    pub now: &'a Observed,
    /// What is wanted of it once it has the tenant's name.
    pub wanted: Wanted<'a>,
    /// Its origin.
    pub origin: Origin<'a>,
    /// What the tenant has now; none: its schema is missing.
    pub live: Option<&'a Observed>,
    /// Where that goes.
    pub replaced: &'a str,
    /// For how many days it is kept.
    pub keep_days: u16,
    /// How the restore is written down.
    pub close: Close<'a>,
    /// The key of the row in the operation log, by which the transaction is found again.
    pub operation: Uuid,
    /// The transaction must commit within this time.
    pub timeout: Duration,
    /// Limit for each wait on a lock.
    pub lock_timeout: Duration,
}

/// What becomes of the rows of `tenantctl.restores`.
#[derive(Clone, Copy)]
pub enum Close<'a> {
    /// The restore that is running is done.
    Restore {
        /// Its key.
        restore: Uuid,
        /// Rows of all tables.
        rows: u64,
    },
    /// An earlier one is taken back by a new row.
    Undo {
        /// The key of the new row.
        restore: Uuid,
        /// The one taken back.
        undone: Uuid,
        /// The backup of the one taken back.
        backup: Option<&'a str>,
        /// The tables, of single tables.
        tables: &'a [String],
    },
}

/// The transaction that puts a schema in the place of a tenant's. The registry row's lock serialises commands on one tenant;
/// the locks on its tables wait for its open transactions. Fails with [`CHANGED_MEANWHILE`] when its writes were frozen or
/// thawed since the plan was made.
pub fn swap(swap: &Swap<'_>) -> Plan {
    let mut plan = Plan::new(
        match swap.close {
            Close::Restore { .. } => format!("put the restored copy in the place of tenant {}", swap.id),
            Close::Undo { .. } => format!("put back what tenant {} had", swap.id),
        },
        swap.timeout,
        swap.lock_timeout,
    );
    let live = swap.schema.as_str();
    plan.step(
        "lock the tenant",
        lock_tenant_as(swap.id, swap.schema, swap.wanted.frozen),
    );
    plan.step("see that no drop of it has begun", unless_dropping(swap.id));
    plan.step("write down what is replaced", close(swap));
    if let Some(now) = swap.live {
        if let Some(sql) = lock_tables(live, tables_of(now)) {
            plan.step("wait for the tenant to let go of its tables", sql);
        }
        plan.step(
            "put what the tenant has aside",
            as_admin()
                .text("\nALTER SCHEMA ")
                .ident(live)
                .text(" RENAME TO ")
                .ident(swap.replaced)
                .text(";"),
        );
        let rights = take_all_rights(swap.replaced, now);
        if !rights.is_empty() {
            // The types of functions' arguments are printed without the schema that they lie in.
            let sql = as_owner().text("\n").append(path(swap.replaced)).append(rights);
            plan.step("take all rights on it", sql);
        }
    }
    incoming(&mut plan, swap.incoming, live, swap.now, &swap.wanted);
    plan.step(
        "write down what the tenant is made from",
        Sql::new("UPDATE tenantctl.tenants SET template = ")
            .literal(swap.origin.template)
            .text(", template_version = ")
            .int(swap.origin.version)
            .text(", modules = ")
            .text_array(swap.origin.modules)
            .text(", hypertables = ")
            .text_array(swap.origin.hypertables)
            .text(", audit = ")
            .literal(&json(swap.origin.audit))
            // Its objects are of many transactions: their expressions are always compared.
            .text(", structure_xid = NULL WHERE tenant_id = ")
            .literal(swap.id.as_str())
            .text(";"),
    );
    end(&mut plan, swap.operation, swap.id, swap.timeout);
    plan
}

/// A JSON value in the registry. Plain text, numbers and nulls: serialising them cannot fail.
fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// The owner's tables. What is somebody else's is not the owner's to lock.
fn tables_of(now: &Observed) -> Vec<&String> {
    let tables = now.relations.iter().filter(|r| matches!(r.kind, 'r' | 'p'));
    tables.filter(|r| r.owner == OWNER_ROLE).map(|r| &r.name).collect()
}

fn lock_tables(schema: &str, tables: Vec<&String>) -> Option<Sql> {
    (!tables.is_empty()).then(|| {
        as_owner()
            .text("\nLOCK TABLE ")
            .qualified_list(schema, tables)
            .text(" IN ACCESS EXCLUSIVE MODE;")
    })
}

fn path(schema: &str) -> Sql {
    Sql::new("SET LOCAL search_path = ").ident(schema).text(", pg_temp;\n")
}

/// Gives a loaded schema the tenant's name, and brings it to the standard.
fn incoming(plan: &mut Plan, from: &str, to: &str, now: &Observed, wanted: &Wanted<'_>) {
    plan.step(
        "give the restored copy the tenant's name",
        as_admin()
            .text("\nALTER SCHEMA ")
            .ident(from)
            .text(" RENAME TO ")
            .ident(to)
            .text(";"),
    );
    plan.step(
        "work as the owner, with names resolving in the new schema only",
        pin(to),
    );
    let functions = function_paths(from, to, now);
    if !functions.is_empty() {
        plan.step("let functions look where their schema is now", functions);
    }
    // What limits are held against was counted while nobody waited.
    let mut now = Observed {
        fresh: true,
        ..now.clone()
    };
    for trigger in now.relations.iter_mut().flat_map(|r| &mut r.triggers) {
        if trigger.function.0 == from {
            trigger.function.0 = to.to_owned();
        }
    }
    for (what, sql) in schema_changes(wanted, &now) {
        plan.step(what, sql);
    }
}

/// Functions whose own search path names the schema by the name that it had. Those of the standard are made anew.
fn function_paths(from: &str, to: &str, now: &Observed) -> Sql {
    let mut all = Sql::default();
    for function in &now.functions {
        let Some(signature) = FunctionSignature::parse(&function.signature) else {
            continue;
        };
        let paths = function.settings.iter().filter_map(|s| s.strip_prefix("search_path="));
        for names in paths.map(names_of).filter(|names| names.iter().any(|n| n == from)) {
            all = all
                .text("ALTER ROUTINE ")
                .function(to, &signature)
                .text(" SET search_path = ");
            for (i, name) in names.iter().enumerate() {
                all = if i == 0 { all } else { all.text(", ") }.ident(if name == from { to } else { name });
            }
            all = all.text(";\n");
        }
    }
    all
}

/// The names in a list of identifiers, such as `"$user", public`.
fn names_of(list: &str) -> Vec<String> {
    let mut names = vec![String::new()];
    let mut quoted = false;
    let mut characters = list.chars().peekable();
    while let Some(c) = characters.next() {
        let Some(name) = names.last_mut() else { break };
        match c {
            '"' if quoted && characters.peek() == Some(&'"') => {
                characters.next();
                name.push('"');
            }
            '"' => quoted = !quoted,
            ',' if !quoted => names.push(String::new()),
            ' ' if !quoted => {}
            c => name.push(c),
        }
    }
    names
}

/// Closes the row of this restore, or takes an earlier one back. What the registry says of what goes aside is kept with it.
fn close(swap: &Swap<'_>) -> Sql {
    let kept = swap.live.is_some();
    let replaced = |sql: Sql| {
        if kept {
            sql.literal(swap.replaced)
        } else {
            sql.text("NULL")
        }
    };
    let was = |sql: Sql| {
        if !kept {
            return sql.text("NULL");
        }
        sql.text(
            "(SELECT pg_catalog.jsonb_build_object('template', t.template, 'template_version', t.template_version,
    'modules', t.modules, 'hypertables', t.hypertables, 'audit', t.audit) FROM tenantctl.tenants t WHERE t.tenant_id = ",
        )
        .literal(swap.id.as_str())
        .text(")")
    };
    let until = |sql: Sql| keep_until(sql, kept, swap.keep_days);
    match &swap.close {
        Close::Restore { restore, rows } => {
            let sql = replaced(as_owner().text(
                "\nUPDATE tenantctl.restores SET status = 'done', finished_at = pg_catalog.clock_timestamp(), staging_schema = NULL,
    replaced_schema = ",
            ));
            let sql = was(sql.text(", replaced = "));
            until(sql.text(", drop_after = "))
                .text(", rows = ")
                .int(*rows)
                .text(" WHERE restore_id = ")
                .literal(&restore.to_string())
                .text(";")
        }
        Close::Undo {
            restore,
            undone,
            backup,
            tables,
        } => {
            let sql = insert_undo(swap.id, *restore, *backup, tables);
            let sql = was(replaced(sql).text(", "));
            until(sql.text(", "))
                .text(");\n")
                .append(forget_replaced(&Sql::new("restore_id = ").literal(&undone.to_string())))
        }
    }
}

fn keep_until(sql: Sql, kept: bool, days: u16) -> Sql {
    if !kept {
        return sql.text("NULL");
    }
    sql.text("pg_catalog.now() + pg_catalog.make_interval(days => ")
        .int(days)
        .text(")")
}

/// Up to the place of the replaced schema, what the registry said of it, and until when it is kept.
fn insert_undo(id: &TenantId, restore: Uuid, backup: Option<&str>, tables: &[String]) -> Sql {
    let sql = as_owner()
        .text("\nINSERT INTO tenantctl.restores (restore_id, tenant_id, backup_id, kind, status, finished_at, tool_version, tables,
    replaced_schema, replaced, drop_after)\nVALUES (")
        .literal(&restore.to_string())
        .text(", ")
        .literal(id.as_str())
        .text(", ")
        .optional(backup)
        .text(", 'undo', 'done', pg_catalog.clock_timestamp(), ")
        .literal(env!("CARGO_PKG_VERSION"))
        .text(", ");
    let sql = if tables.is_empty() {
        sql.text("NULL")
    } else {
        sql.text_array(tables)
    };
    sql.text(", ")
}

/// The rows that meet a condition keep nothing any more.
fn forget_replaced(condition: &Sql) -> Sql {
    Sql::new("UPDATE tenantctl.restores SET replaced_schema = NULL, replaced = NULL, drop_after = NULL WHERE ")
        .append(condition.clone())
        .text(";")
}

fn end(plan: &mut Plan, operation: Uuid, id: &TenantId, timeout: Duration) {
    plan.step(
        "record the operation, unless the time limit has passed",
        as_owner().text("\nSET LOCAL search_path = '';\n").append(record_as(
            Some(operation),
            "restore",
            Some(id.as_str()),
            timeout,
        )),
    );
}

/// A tenant that is made of a loaded schema.
pub struct NewTenant<'a> {
    /// Its id.
    pub id: &'a TenantId,
    /// The salt of its schema's name.
    pub salt: &'a str,
    /// Its schema.
    pub schema: &'a SchemaName,
    /// Its tier.
    pub tier: &'a str,
    /// What it may use.
    pub limits: &'a Limits,
    /// The schema that was loaded.
    pub staging: &'a str,
    /// What there is in it.
    pub now: &'a Observed,
    /// What is wanted of it once it has the tenant's name.
    pub wanted: Wanted<'a>,
    /// Its origin.
    pub origin: Origin<'a>,
    /// SCRAM-SHA-256 verifier of its password.
    pub verifier: &'a str,
    /// The password encrypted; none: it is not stored.
    pub stored: Option<Stored<'a>>,
    /// The restore.
    pub restore: Uuid,
    /// Rows of all tables.
    pub rows: u64,
    /// The key of the row in the operation log.
    pub operation: Uuid,
    /// The transaction must commit within this time.
    pub timeout: Duration,
    /// Limit for each wait on a lock.
    pub lock_timeout: Duration,
}

/// The transaction that makes a tenant of a loaded schema: registry row, role, name, rights, all or nothing.
pub fn new_tenant(new: &NewTenant<'_>) -> Plan {
    let mut plan = Plan::new(
        format!("make tenant {} of the restored copy", new.id),
        new.timeout,
        new.lock_timeout,
    );
    plan.step(
        "claim the tenant id",
        as_owner()
            .text("\nINSERT INTO tenantctl.tenants (tenant_id, schema_name, salt, tier, limits, template, template_version, modules, hypertables, audit)\nVALUES (")
            .literal(new.id.as_str())
            .text(", ")
            .literal(new.schema.as_str())
            .text(", ")
            .literal(new.salt)
            .text(", ")
            .literal(new.tier)
            .text(", ")
            .literal(&json(new.limits))
            .text(", ")
            .literal(new.origin.template)
            .text(", ")
            .int(new.origin.version)
            .text(", ")
            .text_array(new.origin.modules)
            .text(", ")
            .text_array(new.origin.hypertables)
            .text(", ")
            .literal(&json(new.origin.audit))
            .text(");"),
    );
    // Whoever would drop the schema for lack of this client waits for the row.
    plan.step(
        "close the restore's row",
        Sql::new(
            "UPDATE tenantctl.restores SET status = 'done', finished_at = pg_catalog.clock_timestamp(), staging_schema = NULL, rows = ",
        )
        .int(new.rows)
        .text(" WHERE restore_id = ")
        .literal(&new.restore.to_string())
        .text(";"),
    );
    plan.step(
        "create the tenant's role",
        as_admin()
            .text("\n")
            .append(create_role(new.schema, new.limits, new.verifier, new.wanted.major)),
    );
    incoming(&mut plan, new.staging, new.schema.as_str(), new.now, &new.wanted);
    if let Some(stored) = new.stored {
        plan.step("store the password, encrypted", store(new.id, stored));
    }
    end(&mut plan, new.operation, new.id, new.timeout);
    plan
}

/// Tables that a limit is wanted to count which nobody counted at the time when other limits held.
pub fn uncounted<'a>(wanted: &Wanted<'_>, then: &Limits) -> BTreeSet<&'a str> {
    let then = Wanted {
        limits: then,
        ..*wanted
    };
    COUNTED_LIMITS
        .iter()
        .filter(|limit| limit.is_due(wanted) && !limit.is_due(&then))
        .map(|limit| limit.table)
        .collect()
}

/// Tables that a limit is wanted to count and that no trigger has counted so far.
pub fn without_counters<'a>(wanted: &Wanted<'_>, now: &Observed) -> BTreeSet<&'a str> {
    let counted = |table: &str| {
        let mut relations = now.relations.iter().filter(|r| r.name == table);
        relations.any(|r| r.triggers.iter().any(|t| t.name == "tenantctl_limit_insert"))
    };
    COUNTED_LIMITS
        .iter()
        .filter(|limit| limit.is_due(wanted) && !counted(limit.table))
        .map(|limit| limit.table)
        .collect()
}

/// The transaction that counts rows of a schema that nobody uses.
pub fn recount(wanted: &Wanted<'_>, tables: &BTreeSet<&str>, lock_timeout: Duration) -> Plan {
    let mut plan = Plan::new("count what the limits are held against", MOVING, lock_timeout);
    let sql = pin(wanted.schema).text("\nSET LOCAL row_security = on;\n");
    plan.step(
        "count what the limits are held against",
        sql.append(super::standard::without_triggers(wanted.schema, "tenant_usage"))
            .append(count_anew(wanted, tables)),
    );
    plan
}

/// The transaction that drops what restores of a tenant have kept.
pub fn drop_replaced(id: &TenantId, schemas: &[String], timeout: Duration, lock_timeout: Duration) -> Plan {
    let mut plan = Plan::new(
        format!("drop what restores of tenant {id} have replaced"),
        timeout,
        lock_timeout,
    );
    for (what, sql) in drop_kept(schemas) {
        plan.step(what, sql);
    }
    plan.step(
        "record the operation, unless the time limit has passed",
        as_owner()
            .text("\n")
            .append(record_as(None, "drop_replaced", Some(id.as_str()), timeout)),
    );
    plan
}

/// Makes schemas that restores have kept unfit to be put back: of their rows some are going. As the owner.
pub(super) fn give_up_kept(schemas: &[String]) -> Sql {
    if schemas.is_empty() {
        return Sql::default();
    }
    Sql::new(
        "UPDATE tenantctl.restores SET replaced = NULL, drop_after = pg_catalog.now() WHERE replaced_schema = ANY (",
    )
    .text_array(schemas)
    .text(");")
}

/// The transaction that begins the drop of what restores of a tenant have kept, where that takes several.
pub fn begin_drop_replaced(id: &TenantId, schemas: &[String], timeout: Duration, lock_timeout: Duration) -> Plan {
    let mut plan = Plan::new(
        format!("begin to drop what restores of tenant {id} have replaced"),
        timeout,
        lock_timeout,
    );
    plan.step(
        "write down that it cannot be put back any more",
        as_owner().text("\n").append(give_up_kept(schemas)),
    );
    plan
}

/// Closes the rows of schemas that restores have made, and drops these. The rows come first: what another transaction is
/// about to put in the place of the tenant must not be dropped under the name that it had. Fails with
/// [`CHANGED_MEANWHILE`] when one of them is not what it was. Ends as the admin.
pub(super) fn drop_kept(schemas: &[String]) -> Vec<(String, Sql)> {
    let names = || Sql::default().text_array(schemas);
    let closed = as_owner()
        .text("\nWITH kept AS (UPDATE tenantctl.restores SET replaced_schema = NULL, replaced = NULL, drop_after = NULL WHERE replaced_schema = ANY (")
        .append(names())
        .text(") RETURNING 1), left_over AS (UPDATE tenantctl.restores SET staging_schema = NULL, status = 'failed', finished_at = pg_catalog.clock_timestamp() WHERE staging_schema = ANY (")
        .append(names())
        .text(") RETURNING 1)\n")
        .append(unless_changed(
            Sql::new("SELECT (SELECT pg_catalog.count(*) FROM kept) + (SELECT pg_catalog.count(*) FROM left_over) = ")
                .int(schemas.len() as i128),
        ));
    let mut steps = vec![("close the rows of the restores that made them".to_owned(), closed)];
    let drops = schemas
        .iter()
        .map(|schema| (format!("drop schema {schema}"), drop_schema(schema)));
    steps.extend(drops);
    steps
}

/// Fails with [`CHANGED_MEANWHILE`] when restores of a tenant have made schemas beside these. As the owner.
pub(super) fn no_others(id: &TenantId, schemas: &[String]) -> Sql {
    let names = || Sql::default().text_array(schemas);
    unless_changed(
        Sql::new("SELECT pg_catalog.count(*) = 0 FROM tenantctl.restores WHERE tenant_id = ")
            .literal(id.as_str())
            .text(" AND (staging_schema IS NOT NULL AND staging_schema <> ALL (")
            .append(names())
            .text(") OR replaced_schema IS NOT NULL AND replaced_schema <> ALL (")
            .append(names())
            .text("))"),
    )
}

#[cfg(test)]
mod tests {
    use super::super::standard::{Function, Grant, Relation, Trigger};
    use super::*;
    use crate::tenant::ModuleObjects;

    const LIMIT: Duration = Duration::from_secs(1);
    const STAGING: &str = "tenantctl_restore_0123456789ab";
    const KEPT: &str = "tenantctl_replaced_0123456789ab";

    fn id() -> TenantId {
        "acme".parse().expect("a valid id")
    }

    fn schema() -> SchemaName {
        SchemaName::derive(&id(), "salt")
    }

    fn objects() -> ModuleObjects {
        ModuleObjects {
            tables: vec!["portfolios".into(), "trades".into()],
            ..ModuleObjects::default()
        }
    }

    fn origin(audit: &Audit) -> Origin<'_> {
        Origin {
            template: "trading",
            version: 3,
            modules: &[],
            hypertables: &[],
            audit,
        }
    }

    fn with_wanted<T>(make: impl FnOnce(Wanted<'_>) -> T) -> T {
        make(Wanted {
            schema: schema().as_str(),
            role: &schema().role(),
            objects: &objects(),
            bulk_load: &BTreeSet::new(),
            audit: &Audit::new(),
            limits: &Limits::at_most(9),
            major: 15,
            recount: false,
            frozen: false,
        })
    }

    fn place(plan: &Plan, part: &str) -> usize {
        let text = plan.to_string();
        text.find(part).unwrap_or_else(|| panic!("{part} not in\n{text}"))
    }

    fn swapped(live: Option<&Observed>, now: &Observed, close: Close<'_>) -> Plan {
        with_wanted(|wanted| {
            swap(&Swap {
                id: &id(),
                schema: &schema(),
                incoming: STAGING,
                now,
                wanted,
                origin: origin(&Audit::new()),
                live,
                replaced: KEPT,
                keep_days: 7,
                close,
                operation: Uuid::nil(),
                timeout: LIMIT,
                lock_timeout: LIMIT,
            })
        })
    }

    #[test]
    fn the_tenant_is_waited_for_before_anything_changes_its_name_and_loses_every_right_on_what_is_kept() {
        let mut live = Observed::fresh(&objects());
        live.grants = vec![Grant(schema().role(), "USAGE".into(), false)];
        live.relations[1].grants = vec![
            Grant(schema().role(), "SELECT".into(), false),
            Grant("reporting".into(), "SELECT".into(), false),
        ];
        live.relations.push(Relation {
            name: "theirs".into(),
            kind: 'r',
            owner: "somebody".into(),
            column_grantees: vec![String::new()],
            ..Relation::default()
        });
        let close = Close::Restore {
            restore: Uuid::nil(),
            rows: 5,
        };
        let plan = swapped(Some(&live), &Observed::fresh(&objects()), close);
        let order = [
            "FOR UPDATE",
            "status = 'done'",
            "IN ACCESS EXCLUSIVE MODE",
            "RENAME TO \"tenantctl_replaced_",
            "REVOKE ALL PRIVILEGES ON SCHEMA",
            "ALTER SCHEMA \"tenantctl_restore_0123456789ab\" RENAME TO \"tenant_",
            "GRANT USAGE ON SCHEMA",
            "FORCE ROW LEVEL SECURITY",
            "UPDATE tenantctl.tenants",
            "INSERT INTO tenantctl.operations",
        ];
        let places: Vec<usize> = order.iter().map(|part| place(&plan, part)).collect();
        assert!(places.is_sorted(), "{places:?}\n{plan}");
        let text = plan.to_string();
        let lock = text.lines().find(|l| l.starts_with("LOCK TABLE")).expect("a lock");
        assert!(lock.contains("portfolios") && !lock.contains("theirs"), "{lock}");
        for part in [
            "FROM \"reporting\" CASCADE",
            "\"theirs\" FROM PUBLIC",
            "jsonb_build_object('template'",
        ] {
            assert!(text.contains(part), "{part} not in\n{text}");
        }
        // What limits are held against came with the backup.
        assert!(!text.contains("pg_catalog.count(*) FROM portfolios"), "{text}");
    }

    #[test]
    fn a_tenant_whose_schema_is_gone_has_nothing_to_keep() {
        let close = Close::Restore {
            restore: Uuid::nil(),
            rows: 5,
        };
        let text = swapped(None, &Observed::fresh(&objects()), close).to_string();
        assert!(!text.contains(KEPT) && !text.contains("LOCK TABLE"), "{text}");
        assert!(
            text.contains("replaced_schema = NULL, replaced = NULL, drop_after = NULL"),
            "{text}"
        );
    }

    #[test]
    fn functions_look_where_their_schema_is_and_triggers_stay() {
        let mut now = Observed::fresh(&objects());
        now.functions.push(Function {
            signature: "f(numeric(10,2), trades)".into(),
            owner: OWNER_ROLE.into(),
            settings: vec![
                format!("search_path=\"$user\", {STAGING}, \"odd \"\" , name\""),
                "TimeZone=UTC".into(),
            ],
            ..Function::default()
        });
        now.relations[0].triggers.push(Trigger {
            name: "tenantctl_audit_truncate".into(),
            function: (STAGING.into(), "audit_changes".into()),
            events: 32,
            enabled: 'O',
            arguments: vec!["full".into()],
            transition: (None, None),
            unconditional: true,
        });
        let close = Close::Undo {
            restore: Uuid::nil(),
            undone: Uuid::nil(),
            backup: None,
            tables: &[],
        };
        let text = swapped(None, &now, close).to_string();
        let expected = format!(
            "ALTER ROUTINE \"{0}\".\"f\"(numeric(10,2), trades) SET search_path = \"$user\", \"{0}\", \"odd \"\" , name\";",
            schema()
        );
        assert!(text.contains(&expected), "{text}");
        assert!(
            text.contains("'undo', 'done'") && text.contains("replaced_schema = NULL"),
            "{text}"
        );
    }

    #[test]
    fn a_new_tenant_shows_no_secret() {
        let limits = Limits::at_most(9);
        let audit = Audit::new();
        let plan = with_wanted(|wanted| {
            new_tenant(&NewTenant {
                id: &id(),
                salt: "salt",
                schema: &schema(),
                tier: "basic",
                limits: &limits,
                staging: STAGING,
                now: &Observed::fresh(&objects()),
                wanted,
                origin: origin(&audit),
                verifier: "SCRAM-SHA-256$hidden",
                stored: None,
                restore: Uuid::nil(),
                rows: 5,
                operation: Uuid::nil(),
                timeout: LIMIT,
                lock_timeout: LIMIT,
            })
        });
        assert!(!plan.to_string().contains("hidden"), "{plan}");
        assert!(place(&plan, "INSERT INTO tenantctl.tenants") < place(&plan, "CREATE ROLE"));
        assert!(place(&plan, "CREATE ROLE") < place(&plan, "RENAME TO"));
    }

    fn foreign_key() -> ForeignKey {
        ForeignKey {
            name: "trades_portfolio_id_fkey".into(),
            table: (schema().to_string(), "trades".into()),
            columns: vec!["portfolio_id".into()],
            references: (schema().to_string(), "portfolios".into()),
            referenced: vec!["id".into()],
            matching: 's',
            on_update: 'a',
            on_delete: 'c',
            set_columns: Vec::new(),
            deferrable: false,
            deferred: false,
            validated: true,
        }
    }

    #[test]
    fn contents_are_exchanged_with_triggers_off_and_foreign_keys_checked_last() {
        let mut live = Observed::fresh(&objects());
        for (name, enabled) in [("mine", 'D'), ("always", 'A'), ("usual", 'O')] {
            live.relations[1].triggers.push(Trigger {
                name: name.into(),
                function: (schema().to_string(), "f".into()),
                events: 4,
                enabled,
                arguments: Vec::new(),
                transition: (None, None),
                unconditional: true,
            });
        }
        let contents = [TableContents {
            name: "trades".into(),
            columns: vec![
                Column {
                    name: "id".into(),
                    ..Column::default()
                },
                Column {
                    name: "moods".into(),
                    local: Some("mood".into()),
                    array: true,
                },
            ],
        }];
        let sequences = [SequenceState {
            name: "s".into(),
            last_value: 7,
            is_called: true,
        }];
        let keys = [foreign_key()];
        let plan = with_wanted(|wanted| {
            tables(&Tables {
                id: &id(),
                schema: &schema(),
                incoming: STAGING,
                tables: &contents,
                foreign_keys: &keys,
                live: &live,
                wanted,
                sequences: &sequences,
                replaced: KEPT,
                keep_days: 7,
                close: Close::Restore {
                    restore: Uuid::nil(),
                    rows: 5,
                },
                operation: Uuid::nil(),
                lock_timeout: LIMIT,
            })
        });
        let order = [
            "IN ACCESS EXCLUSIVE MODE",
            "CREATE TABLE \"tenantctl_replaced_",
            "DROP CONSTRAINT",
            "DISABLE TRIGGER USER",
            "TRUNCATE ONLY",
            "OVERRIDING SYSTEM VALUE SELECT \"id\", \"moods\"::pg_catalog.text::\"tenant_",
            "ENABLE TRIGGER USER",
            "DISABLE TRIGGER \"mine\"",
            "ADD CONSTRAINT \"trades_portfolio_id_fkey\" FOREIGN KEY (\"portfolio_id\")",
            "DELETE FROM tenant_usage",
            "DROP SCHEMA IF EXISTS \"tenantctl_restore_",
            "ALTER SEQUENCE",
            "setval",
            "INSERT INTO tenantctl.operations",
        ];
        let places: Vec<usize> = order.iter().map(|part| place(&plan, part)).collect();
        assert!(places.is_sorted(), "{places:?}\n{plan}");
        let text = plan.to_string();
        assert!(
            text.contains("ENABLE ALWAYS TRIGGER \"always\"") && !text.contains("\"usual\""),
            "{text}"
        );
        assert!(text.contains("ON UPDATE NO ACTION ON DELETE CASCADE;"), "{text}");
        let lock = text.lines().find(|l| l.starts_with("LOCK TABLE")).expect("a lock");
        assert!(lock.contains("portfolios") && lock.contains("trades"), "{lock}");
    }

    #[test]
    fn what_is_kept_is_dropped_with_its_rows_closed() {
        let plan = drop_replaced(&id(), &[KEPT.into()], LIMIT, LIMIT);
        assert!(place(&plan, "replaced_schema = NULL") < place(&plan, "DROP SCHEMA IF EXISTS"));
        let plan = give_up(Uuid::nil(), STAGING, false, Some(Uuid::nil()), LIMIT, LIMIT);
        assert!(place(&plan, "AND status = 'running'") < place(&plan, "DROP SCHEMA IF EXISTS"));
        let text = plan.to_string();
        assert!(
            text.contains("status = 'failed'") && text.contains("staging_schema = NULL"),
            "{text}"
        );
    }
}
