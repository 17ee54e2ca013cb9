//! Reads of the registry: tenants, one tenant with its usage, existing ids.

use std::collections::HashMap;

use serde::Serialize;
use tokio_postgres::types::Type;

use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Param, Row, Session, column};
use crate::pg::sql::Sql;
use crate::tenant::{Audit, DROPPING, Limits, SchemaName, TenantId};

/// A row of the registry.
#[derive(Clone, Debug, Serialize)]
pub struct TenantRow {
    /// The caller's name for it.
    pub tenant_id: TenantId,
    /// Its schema.
    pub schema_name: SchemaName,
    /// Its login role.
    pub role_name: String,
    /// The tier it was given.
    pub tier: String,
    /// Where it stands in its life.
    pub status: String,
    /// The template it was made from.
    pub template: String,
    /// The template's version.
    pub template_version: i32,
    /// The modules it has.
    pub modules: Vec<String>,
    /// Those of its tables that are hypertables.
    pub hypertables: Vec<String>,
    /// What it may use.
    pub limits: Limits,
    /// Its audited tables.
    pub audit: Audit,
    /// When it was provisioned, ISO 8601 in UTC.
    pub created_at: String,
    /// By which login.
    pub created_by: String,
    /// Since when its role may neither insert nor update, ISO 8601 in UTC; absent: it may.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes_frozen_at: Option<String>,
}

/// What is said of a tenant whose drop has begun: kind `in_use`.
pub fn being_dropped(tenant: &TenantId) -> Error {
    Error::new(ErrorKind::InUse, format!("tenant {tenant} is being dropped"))
        .with_cause("a drop has begun, and some of its rows may be gone already")
        .with_hint(format!("`tenantctl drop {tenant} --yes` ends what it began."))
}

impl TenantRow {
    /// Whether a drop of it has begun and has not come to its end: of its rows some may be gone.
    pub fn is_dropping(&self) -> bool {
        self.status == DROPPING
    }

    /// # Errors
    /// Kind `in_use` when a drop of it has begun.
    pub fn refuse_dropping(&self) -> Result<()> {
        if self.is_dropping() {
            Err(being_dropped(&self.tenant_id))
        } else {
            Ok(())
        }
    }

    /// Where it stands, for people: `active`, or `active, writes frozen`.
    pub fn condition(&self) -> String {
        let frozen = if self.writes_frozen_at.is_some() {
            ", writes frozen"
        } else {
            ""
        };
        format!("{}{frozen}", self.status)
    }
}

/// The columns that [`row`] reads; times as ISO 8601 text.
fn columns() -> Sql {
    Sql::new(
        "SELECT t.tenant_id, t.schema_name, t.role_name, t.tier, t.status, t.template, t.template_version, t.modules,
    t.hypertables, t.limits::text AS limits, t.audit::text AS audit, t.created_by,
    pg_catalog.to_char(t.created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS created_at,
    pg_catalog.to_char(t.writes_frozen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS writes_frozen_at
FROM tenantctl.tenants t ",
    )
}

fn row(row: &Row) -> Result<TenantRow> {
    let unreadable = |what: &str, e: serde_json::Error| {
        Error::new(
            ErrorKind::Unknown,
            format!("the registry holds {what} that cannot be read"),
        )
        .with_cause(e)
    };
    Ok(TenantRow {
        tenant_id: column::<&str>(row, "tenant_id")?.parse()?,
        schema_name: SchemaName::from_registry(column(row, "schema_name")?)?,
        role_name: column(row, "role_name")?,
        tier: column(row, "tier")?,
        status: column(row, "status")?,
        template: column(row, "template")?,
        template_version: column(row, "template_version")?,
        modules: column(row, "modules")?,
        hypertables: column(row, "hypertables")?,
        limits: serde_json::from_str(column(row, "limits")?).map_err(|e| unreadable("limits", e))?,
        audit: serde_json::from_str(column(row, "audit")?).map_err(|e| unreadable("audit modes", e))?,
        created_at: column(row, "created_at")?,
        created_by: column(row, "created_by")?,
        writes_frozen_at: column(row, "writes_frozen_at")?,
    })
}

/// All tenants, or those of one tier, by id.
///
/// # Errors
/// When the registry cannot be read.
pub async fn list(session: &Session, tier: Option<&str>) -> Result<Vec<TenantRow>> {
    let sql = columns().text("WHERE $1::text IS NULL OR t.tier = $1 ORDER BY t.tenant_id");
    let rows = session.query(&sql, &[(&tier, Type::TEXT)], "read the registry").await?;
    rows.iter().map(row).collect()
}

/// Those of the given ids that exist.
///
/// # Errors
/// When the registry cannot be read.
pub async fn existing(session: &Session, ids: &[&TenantId]) -> Result<HashMap<TenantId, TenantRow>> {
    let ids: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
    let sql = columns().text("WHERE t.tenant_id = ANY ($1)");
    let rows = session
        .query(&sql, &[(&ids, Type::TEXT_ARRAY)], "read the registry")
        .await?;
    rows.iter().map(|r| row(r).map(|t| (t.tenant_id.clone(), t))).collect()
}

/// The tenants with these ids, in the order given.
///
/// # Errors
/// Kind `not_found` with the nearest id, when one of them does not exist.
pub async fn find(session: &Session, ids: &[TenantId]) -> Result<Vec<TenantRow>> {
    let mut found = existing(session, &ids.iter().collect::<Vec<_>>()).await?;
    let mut rows: Vec<TenantRow> = Vec::with_capacity(ids.len());
    for id in ids {
        // Named twice is meant once.
        if rows.iter().any(|row| row.tenant_id == *id) {
            continue;
        }
        match found.remove(id) {
            Some(row) => rows.push(row),
            None => return Err(not_found(session, id).await),
        }
    }
    Ok(rows)
}

/// One tenant.
///
/// # Errors
/// Kind `not_found` with the nearest id, when there is no such tenant.
pub async fn find_one(session: &Session, id: &TenantId) -> Result<TenantRow> {
    match existing(session, &[id]).await?.remove(id) {
        Some(row) => Ok(row),
        None => Err(not_found(session, id).await),
    }
}

async fn not_found(session: &Session, id: &TenantId) -> Error {
    let database = &session.server().database;
    let error = Error::new(
        ErrorKind::NotFound,
        format!("tenant {id} does not exist in database {database:?}"),
    );
    match nearest(session, id).await {
        Ok(Some(near)) => error.with_hint(format!("Did you mean {near}? `tenantctl list` shows all tenants.")),
        _ => error.with_hint("`tenantctl list` shows all tenants; check also that this is the right database."),
    }
}

async fn nearest(session: &Session, id: &TenantId) -> Result<Option<String>> {
    let rows = session
        .query(
            &Sql::new("SELECT tenant_id FROM tenantctl.tenants"),
            &[],
            "read the registry",
        )
        .await?;
    let mut best = None;
    for row in &rows {
        let other: &str = column(row, "tenant_id")?;
        let likeness = strsim::jaro_winkler(id.as_str(), other);
        if likeness > 0.85 && best.as_ref().is_none_or(|(b, _)| likeness > *b) {
            best = Some((likeness, other.to_owned()));
        }
    }
    Ok(best.map(|(_, id)| id))
}

/// Whether the transaction that was to make this schema has committed.
///
/// # Errors
/// When the registry cannot be read.
pub async fn committed(session: &Session, schema: &SchemaName) -> Result<bool> {
    let sql = Sql::new("SELECT FROM tenantctl.tenants WHERE schema_name = $1");
    let row = session
        .query_opt(&sql, &[(&schema.as_str(), Type::TEXT)], "read the registry")
        .await?;
    Ok(row.is_some())
}

/// Whether the operation log has a row with this key, so that the transaction that wrote it has committed.
///
/// # Errors
/// When the registry cannot be read.
pub async fn recorded(session: &Session, operation: uuid::Uuid) -> Result<bool> {
    let sql = Sql::new("SELECT FROM tenantctl.operations WHERE operation_id = $1");
    let row = session
        .query_opt(&sql, &[(&operation, Type::UUID)], "read the operation log")
        .await?;
    Ok(row.is_some())
}

/// What there is of a tenant beside its registry row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Remains {
    /// The schema exists.
    pub schema: bool,
    /// The role's oid, if it exists.
    pub role: Option<u32>,
    /// The role may log in.
    pub can_login: bool,
    /// Sessions of the role, in whatever database.
    pub sessions: i64,
    /// The admin is a superuser or a member of the role already.
    pub member: bool,
}

/// Looks for schema, role and sessions of tenants, all in one query.
///
/// # Errors
/// When the server refuses the query.
pub async fn remains(session: &Session, tenants: &[&TenantRow]) -> Result<HashMap<TenantId, Remains>> {
    let sql = Sql::new(
        "WITH wanted AS (SELECT * FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2), pg_catalog.unnest($3))
    AS w (tenant_id, schema_name, role_name)),
activity AS MATERIALIZED (
    SELECT a.usesysid, pg_catalog.count(*) AS sessions FROM pg_catalog.pg_stat_activity a GROUP BY a.usesysid
)
SELECT w.tenant_id, n.oid IS NOT NULL AS schema, r.oid AS role, COALESCE(r.rolcanlogin, false) AS can_login,
    COALESCE(a.sessions, 0) AS sessions,
    COALESCE(pg_catalog.pg_has_role(session_user, r.oid, 'USAGE'), false) AS member
FROM wanted w
LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = w.schema_name::name
LEFT JOIN pg_catalog.pg_roles r ON r.rolname = w.role_name::name
LEFT JOIN activity a ON a.usesysid = r.oid",
    );
    let ids: Vec<&str> = tenants.iter().map(|t| t.tenant_id.as_str()).collect();
    let schemas: Vec<&str> = tenants.iter().map(|t| t.schema_name.as_str()).collect();
    let roles: Vec<&str> = tenants.iter().map(|t| t.role_name.as_str()).collect();
    let params: [Param<'_>; 3] = [
        (&ids, Type::TEXT_ARRAY),
        (&schemas, Type::TEXT_ARRAY),
        (&roles, Type::TEXT_ARRAY),
    ];
    let rows = session.query(&sql, &params, "look for what the tenants have").await?;
    rows.iter()
        .map(|row| {
            let found = Remains {
                schema: column(row, "schema")?,
                role: column(row, "role")?,
                can_login: column(row, "can_login")?,
                sessions: column(row, "sessions")?,
                member: column(row, "member")?,
            };
            Ok((column::<&str>(row, "tenant_id")?.parse()?, found))
        })
        .collect()
}

/// Objects outside these schemas that would go with them, by schema.
///
/// # Errors
/// When the server refuses the query.
pub async fn outside_dependants(session: &Session, schemas: &[&str]) -> Result<HashMap<String, Vec<String>>> {
    let sql = Sql::new(include_str!("../../sql/catalog/outside_dependants.sql"));
    let rows = session
        .query(
            &sql,
            &[(&schemas, Type::TEXT_ARRAY)],
            "look for what depends on the tenants",
        )
        .await?;
    let mut found: HashMap<String, Vec<String>> = HashMap::new();
    for row in &rows {
        found
            .entry(column(row, "schema")?)
            .or_default()
            .push(column(row, "object")?);
    }
    Ok(found)
}

/// A relation that a tenant's role may insert into or update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Writable {
    /// Its name.
    pub name: String,
    /// Such as `table` or `view`.
    pub kind: String,
    /// Its owner.
    pub owner: String,
}

/// What of its schema a tenant's role may insert into or update, by whatever right.
///
/// # Errors
/// When the server refuses the query.
pub async fn writable(session: &Session, tenant: &TenantRow) -> Result<Vec<Writable>> {
    let sql = Sql::new(include_str!("../../sql/catalog/tenant_writable.sql"));
    let schema = tenant.schema_name.as_str();
    let params: [Param<'_>; 2] = [(&schema, Type::TEXT), (&tenant.role_name, Type::TEXT)];
    let rows = session
        .query(&sql, &params, "look at what the tenant may write to")
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Writable {
                name: column(row, "name")?,
                kind: column(row, "kind")?,
                owner: column(row, "owner")?,
            })
        })
        .collect()
}

/// Process ids of a tenant's sessions whose open transaction has written to its tables.
///
/// # Errors
/// When the server refuses the query.
pub async fn writers(session: &Session, tenant: &TenantRow) -> Result<Vec<i32>> {
    let sql = Sql::new(include_str!("../../sql/catalog/tenant_writers.sql"));
    let schema = tenant.schema_name.as_str();
    let params: [Param<'_>; 2] = [(&schema, Type::TEXT), (&tenant.role_name, Type::TEXT)];
    let rows = session
        .query(&sql, &params, "look for what the tenant has open")
        .await?;
    rows.iter().map(|row| column(row, "pid")).collect()
}

/// One relation of a tenant, as `show` prints it.
#[derive(Clone, Debug, Serialize)]
pub struct Relation {
    /// The table's or view's name.
    pub name: String,
    /// `table`, `hypertable` or `view`.
    pub kind: String,
    /// Rows by the planner's last estimate; absent before the first ANALYZE or VACUUM.
    pub estimated_rows: Option<i64>,
    /// Bytes of the table with its indexes and TOAST, chunks and partitions included. Absent for views.
    pub bytes: Option<i64>,
    /// Whether row security is enabled and forced.
    pub row_security: bool,
}

/// A tenant's relations with sizes. The size functions open each relation, so a lock can make this time out.
///
/// Chunks and partitions are found by inheritance: TimescaleDB's own size functions read views, which the session's
/// settings forbid.
///
/// # Errors
/// Kind `timeout` when a lock on one of the tables is held for longer than the lock timeout.
pub async fn relations(session: &Session, tenant: &TenantRow) -> Result<Vec<Relation>> {
    let sql = Sql::new(include_str!("../../sql/catalog/tenant_relations.sql"));
    let schema = tenant.schema_name.as_str();
    let params: [Param<'_>; 2] = [(&schema, Type::TEXT), (&tenant.hypertables, Type::TEXT_ARRAY)];
    let rows = session.query(&sql, &params, "measure the tenant's tables").await?;
    rows.iter()
        .map(|row| {
            let kind = match (column(row, "is_view")?, column(row, "hypertable")?) {
                (true, _) => "view",
                (false, true) => "hypertable",
                (false, false) => "table",
            };
            Ok(Relation {
                name: column(row, "name")?,
                kind: kind.to_owned(),
                estimated_rows: column(row, "estimated_rows")?,
                bytes: column(row, "bytes")?,
                row_security: column(row, "row_security")?,
            })
        })
        .collect()
}

/// The latest entry of the operation log about a tenant.
#[derive(Clone, Debug, Serialize)]
pub struct Operation {
    /// Such as `provision`.
    pub operation: String,
    /// `done` or `failed`.
    pub status: String,
    /// ISO 8601 in UTC.
    pub finished_at: String,
    /// Milliseconds on the server, from the start of the transaction to its last statement.
    pub duration_ms: f64,
    /// Of a failure.
    pub error_type: Option<String>,
    /// Of a failure.
    pub message: Option<String>,
}

/// The latest operations on a tenant, newest first.
///
/// # Errors
/// When the registry cannot be read.
pub async fn operations(session: &Session, id: &TenantId, limit: i64) -> Result<Vec<Operation>> {
    let sql = Sql::new(
        "SELECT o.operation, o.status, o.duration_ms, o.error_type, o.message,
    pg_catalog.to_char(o.finished_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS finished_at
FROM tenantctl.operations o WHERE o.tenant_id = $1 ORDER BY o.finished_at DESC LIMIT $2",
    );
    let id = id.as_str();
    let params: [Param<'_>; 2] = [(&id, Type::TEXT), (&limit, Type::INT8)];
    let rows = session.query(&sql, &params, "read the operation log").await?;
    rows.iter()
        .map(|row| {
            Ok(Operation {
                operation: column(row, "operation")?,
                status: column(row, "status")?,
                finished_at: column(row, "finished_at")?,
                duration_ms: column(row, "duration_ms")?,
                error_type: column(row, "error_type")?,
                message: column(row, "message")?,
            })
        })
        .collect()
}
