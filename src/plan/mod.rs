//! What must change, as data: pure functions from what is and what is wanted to a list of steps.
//!
//! Nothing here talks to a server. `--dry-run` prints exactly what `pg::apply` would send.

pub mod backup;
pub mod bench;
pub mod chunks;
pub mod drop;
pub mod freeze;
pub mod hardening;
pub mod init;
pub mod pooler;
pub mod provision;
pub mod reread;
pub mod restore;
pub mod retention;
pub mod rotate;
pub mod secure;
pub mod standard;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use serde::ser::{Serialize, SerializeStruct, Serializer};
use uuid::Uuid;

use crate::pg::sql::Sql;
use crate::tenant::{DROPPING, SchemaName, TenantId};

/// One change: what it is for, and the SQL.
#[derive(Clone, Debug)]
pub struct Step {
    /// What the step does, such as `create the schema`.
    pub what: Cow<'static, str>,
    /// One or more statements, each ended by a semicolon.
    pub sql: Sql,
}

/// Changes that are made in one transaction or not at all.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Completes `failed to ...`.
    pub title: String,
    /// Limit for each statement.
    pub statement_timeout: Duration,
    /// Limit for each wait on a lock.
    pub lock_timeout: Duration,
    /// In order.
    pub steps: Vec<Step>,
}

impl Plan {
    /// An empty plan.
    pub fn new(title: impl Into<String>, statement_timeout: Duration, lock_timeout: Duration) -> Self {
        Self {
            title: title.into(),
            statement_timeout,
            lock_timeout,
            steps: Vec::new(),
        }
    }

    /// Appends a step.
    pub fn step(&mut self, what: impl Into<Cow<'static, str>>, sql: Sql) {
        self.steps.push(Step { what: what.into(), sql });
    }

    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The first statements of the transaction.
    pub fn begin(&self) -> Sql {
        Sql::new("BEGIN;\nSET LOCAL statement_timeout = ")
            .int(self.statement_timeout.as_millis() as i128)
            .text(";\nSET LOCAL lock_timeout = ")
            .int(self.lock_timeout.as_millis() as i128)
            .text(";\n")
    }

    /// The whole transaction as one batch, as it goes to the server in one round trip.
    pub fn transaction(&self) -> Sql {
        self.steps
            .iter()
            .fold(self.begin(), |sql, step| sql.append(step.sql.clone()).text("\n"))
            .text("COMMIT;\n")
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "-- {}", self.title.replace('\n', " "))?;
        write!(f, "{}", self.begin())?;
        for step in &self.steps {
            writeln!(f, "\n-- {}", step.what)?;
            writeln!(f, "{}", step.sql.to_string().trim_end())?;
        }
        write!(f, "COMMIT;")
    }
}

impl Serialize for Plan {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let steps: Vec<_> = self
            .steps
            .iter()
            .map(|step| serde_json::json!({ "step": step.what, "sql": step.sql.to_string().trim_end() }))
            .collect();
        let mut object = serializer.serialize_struct("Plan", 2)?;
        object.serialize_field("transaction", &self.title)?;
        object.serialize_field("steps", &steps)?;
        object.end()
    }
}

/// `SET ROLE` to the owner, for creating and writing what the owner owns.
pub fn as_owner() -> Sql {
    Sql::new("SET LOCAL ROLE tenantctl_owner;")
}

/// Back to the admin, for what only the admin may do.
pub fn as_admin() -> Sql {
    Sql::new("SET LOCAL ROLE NONE;")
}

/// The SQLSTATE of a transaction that found things otherwise than it was planned for: ln(0).
pub const CHANGED_MEANWHILE: &str = "2201E";

/// Ends the transaction with [`CHANGED_MEANWHILE`] unless a condition holds.
fn unless_changed(condition: Sql) -> Sql {
    Sql::new("SELECT pg_catalog.ln((")
        .append(condition)
        .text(")::integer);")
}

/// Locks a tenant's registry row, which serialises commands on one tenant. Fails with SQLSTATE 22012 when there is none of
/// that schema.
fn lock_tenant(id: &TenantId, schema: &SchemaName) -> Sql {
    as_owner().text("\n").append(locked(id, schema)).text(" FROM locked;")
}

/// The same, for what grants rights: fails with [`CHANGED_MEANWHILE`] when the tenant's writes were frozen or thawed since it
/// was planned.
fn lock_tenant_as(id: &TenantId, schema: &SchemaName, frozen: bool) -> Sql {
    as_owner()
        .text("\n")
        .append(locked(id, schema))
        .text(", pg_catalog.ln(pg_catalog.bool_and(writes_frozen_at IS ")
        .text(if frozen { "NOT NULL" } else { "NULL" })
        .text(")::integer) FROM locked;")
}

/// Fails with [`CHANGED_MEANWHILE`] when a drop of the tenant has begun. As the owner, once the row is locked.
fn unless_dropping(id: &TenantId) -> Sql {
    unless_changed(
        Sql::new("SELECT status <> ")
            .literal(DROPPING)
            .text(" FROM tenantctl.tenants WHERE tenant_id = ")
            .literal(id.as_str()),
    )
}

fn locked(id: &TenantId, schema: &SchemaName) -> Sql {
    Sql::new("WITH locked AS (SELECT writes_frozen_at FROM tenantctl.tenants WHERE tenant_id = ")
        .literal(id.as_str())
        .text(" AND schema_name = ")
        .literal(schema.as_str())
        // Nothing to lock: somebody dropped it meanwhile, and division by zero ends the transaction.
        .text(" FOR UPDATE)\nSELECT 1 / pg_catalog.count(*)")
}

/// The registry row that ends every change. It takes the time, and refuses to be written past the limit.
pub fn record_done(operation: &'static str, tenant_id: Option<&str>, timeout: Duration) -> Sql {
    record_as(None, operation, tenant_id, timeout)
}

/// [`record_done`] with a key that is known before, by which a client that has lost its session learns whether its
/// transaction committed.
pub fn record_as(key: Option<Uuid>, operation: &'static str, tenant_id: Option<&str>, timeout: Duration) -> Sql {
    let columns = "operation, tenant_id, status, started_at, finished_at, timeout_ms, tool_version)\nVALUES (";
    let sql = Sql::new("INSERT INTO tenantctl.operations (");
    let sql = match key {
        Some(key) => sql
            .text("operation_id, ")
            .text(columns)
            .literal(&key.to_string())
            .text(", "),
        None => sql.text(columns),
    };
    sql.literal(operation)
        .text(", ")
        .optional(tenant_id)
        .text(", 'done', pg_catalog.transaction_timestamp(), pg_catalog.clock_timestamp(), ")
        .int(timeout.as_millis() as i128)
        .text(", ")
        .literal(env!("CARGO_PKG_VERSION"))
        .text(");")
}

/// [`record_done`] with a word on what was done.
pub fn record_said(operation: &'static str, tenant_id: Option<&str>, timeout: Duration, message: &str) -> Sql {
    Sql::new("INSERT INTO tenantctl.operations (operation, tenant_id, status, started_at, finished_at, timeout_ms, tool_version, message)\nVALUES (")
        .literal(operation)
        .text(", ")
        .optional(tenant_id)
        .text(", 'done', pg_catalog.transaction_timestamp(), pg_catalog.clock_timestamp(), ")
        .int(timeout.as_millis() as i128)
        .text(", ")
        .literal(env!("CARGO_PKG_VERSION"))
        .text(", ")
        .literal(message)
        .text(");")
}

/// The constraint that [`record_done`] violates when the transaction took too long.
pub const TIMEOUT_CONSTRAINT: &str = "operations_within_timeout";
