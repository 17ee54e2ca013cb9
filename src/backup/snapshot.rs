//! The one moment that a backup shows its tenant at: tables locked, snapshot taken, and what is in it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio_postgres::types::Type;

use super::manifest::{Dimensions, Origin, Tenant};
use crate::catalog::contents::{self, Contents};
use crate::catalog::{standard, tenants};
use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Param, Session, column};
use crate::pg::sql::Sql;
use crate::plan::as_owner;
use crate::plan::backup::no_time_limit;
use crate::plan::standard::Observed;
use crate::tenant::{DROPPING, Hypertable, OWNER_ROLE, TenantId};

/// How long tables are waited for. Only DDL holds them up.
const LOCK_WAIT: Duration = Duration::from_secs(30);
/// Looks at a tenant whose tables change meanwhile.
const ATTEMPTS: usize = 5;

/// What does not change from tenant to tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Source {
    /// The login sees all rows whatever the policies say.
    pub sees_all_rows: bool,
    /// Citus is installed: a snapshot does not reach its workers, so that one session must read all.
    pub citus: bool,
    /// TimescaleDB is installed.
    pub timescaledb: bool,
    /// Which cluster it is; a standby's is that of its primary.
    pub system_identifier: i64,
}

/// Reads what a session will see.
///
/// # Errors
/// When the server refuses the query.
pub async fn source(session: &Session) -> Result<Source> {
    let sql = Sql::new(include_str!("../../sql/catalog/backup_source.sql"));
    let row = session.query_one(&sql, &[], "look at the server").await?;
    Ok(Source {
        sees_all_rows: column(&row, "sees_all_rows")?,
        citus: column(&row, "citus")?,
        timescaledb: column(&row, "timescaledb")?,
        system_identifier: column(&row, "system_identifier")?,
    })
}

/// A tenant at one moment. It lasts as long as the transaction that it was opened in.
#[derive(Debug)]
pub struct Shown {
    /// The snapshot, for other sessions.
    pub snapshot: String,
    /// The moment, ISO 8601 in UTC.
    pub created_at: String,
    /// The same as `YYYYMMDD_HHMMSS`.
    pub moment: String,
    /// When a backup of it may be pruned, ISO 8601 in UTC.
    pub expires_at: String,
    /// Its row in the registry.
    pub tenant: Tenant,
    /// What it was made from.
    pub origin: Origin,
    /// What there is in its schema.
    pub contents: Contents,
    /// Its hypertables.
    pub hypertables: Vec<Dimensions>,
    /// What of them a restore does not bring back, such as compression; their rows are whole without it.
    pub left_out: Vec<String>,
}

impl Shown {
    /// The names of its hypertables.
    pub fn hypertable_names(&self) -> BTreeSet<String> {
        self.hypertables.iter().map(|h| h.time.table.clone()).collect()
    }
}

/// The role and the row security that tables are read with.
fn reader(source: &Source) -> Sql {
    if source.sees_all_rows {
        // As sessions are: the server raises an error rather than hide a row.
        return Sql::default();
    }
    as_owner().text("\nSET LOCAL row_security = on;\n")
}

/// Opens a transaction on a session beside the one that exported a snapshot, in which that is seen.
///
/// # Errors
/// What the server refused: the snapshot is gone with its transaction.
pub async fn join(session: &Session, source: &Source, snapshot: &str) -> Result<()> {
    let sql = Sql::new("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSET TRANSACTION SNAPSHOT ")
        .literal(snapshot)
        .text(";\n")
        .append(reader(source))
        .append(no_time_limit());
    session.batch(&sql, "join the snapshot").await
}

/// Locks a tenant's tables against DDL and takes a snapshot after that: locks take none, so that what is read later of the
/// catalog, which always shows the newest state, fits to what the snapshot shows. The transaction stays open.
///
/// # Errors
/// Kind `not_found` when there is no such tenant; `unsupported` when the schema holds what the owner does not own, or rows
/// might be hidden from this login; or what the server refused. The caller ends the transaction.
pub async fn open(session: &Session, source: &Source, tenant: &TenantId, keep_days: u32) -> Result<Shown> {
    let mut attempt = 1;
    loop {
        match look(session, source, tenant, keep_days).await {
            Ok(Some(shown)) => {
                if !source.sees_all_rows {
                    prove(session, tenant).await?;
                }
                return Ok(shown);
            }
            // A table that was dropped, or made, between the look at the names and the locks.
            Ok(None) if attempt < ATTEMPTS => session.rollback().await,
            Err(error) if attempt < ATTEMPTS && matches!(error.sqlstate(), Some("42P01" | "3F000")) => {
                session.rollback().await;
            }
            Ok(None) => {
                return Err(
                    Error::new(ErrorKind::InUse, format!("the tables of tenant {tenant} keep changing"))
                        .with_hint("Somebody creates or drops tables there all the time. Try again when that is over."),
                );
            }
            Err(error) => return Err(error),
        }
        attempt += 1;
    }
}

async fn look(session: &Session, source: &Source, tenant: &TenantId, keep_days: u32) -> Result<Option<Shown>> {
    let sql = Sql::new(include_str!("../../sql/catalog/backup_tables.sql"));
    let row = session
        .query_opt(&sql, &[(&tenant.as_str(), Type::TEXT)], "look for the tenant's tables")
        .await?
        .ok_or_else(|| missing(session, tenant))?;
    let schema: String = column(&row, "schema_name")?;
    if !column::<bool>(&row, "there")? {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("schema {schema} of tenant {tenant} is missing"),
        )
        .with_hint("Somebody dropped it. `tenantctl restore` brings the tenant back from its last backup."));
    }
    let tables: Vec<String> = column(&row, "tables")?;
    let mut begin = Sql::new("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;\nSET LOCAL lock_timeout = ")
        .int(LOCK_WAIT.as_millis() as i128)
        .text(";\n")
        .append(reader(source));
    if !tables.is_empty() {
        begin = begin
            .text("LOCK TABLE ")
            .qualified_list(&schema, &tables)
            .text(" IN ACCESS SHARE MODE;\n");
    }
    // The first that takes the snapshot.
    begin = begin.append(no_time_limit());
    let days = i32::try_from(keep_days).unwrap_or(i32::MAX);
    let (id, sql) = (
        tenant.as_str(),
        Sql::new(include_str!("../../sql/catalog/backup_snapshot.sql")),
    );
    let params: [Param<'_>; 2] = [(&id, Type::TEXT), (&days, Type::INT4)];
    // Sent together: a transaction that did not begin well makes the second fail too.
    let (begun, row) = futures_util::future::join(
        session.batch(&begin, "lock the tenant's tables"),
        session.query_opt(&sql, &params, "take a snapshot"),
    )
    .await;
    begun?;
    let Some(row) = row? else { return Ok(None) };
    if column::<&str>(&row, "schema_name")? != schema {
        return Ok(None);
    }
    // Its tables are locked by now: of one that is whole in the snapshot no chunk can go any more.
    if column::<&str>(&row, "status")? == DROPPING {
        return Err(tenants::being_dropped(tenant));
    }
    let contents = contents::read(session, &schema).await?;
    let mut seen: Vec<&String> = contents.tables.iter().map(|table| &table.name).collect();
    seen.sort();
    if let Some(stranger) = contents.strangers.first() {
        let more = contents.strangers.len() - 1;
        return Err(
            Error::new(ErrorKind::Unsupported, format!("tenant {tenant} cannot be backed up: {OWNER_ROLE} does not own all of it"))
                .with_cause(match more {
                    0 => stranger.clone(),
                    _ => format!("{stranger}, and {more} more"),
                })
                .with_hint("What belongs to others may hold code that would run with the admin's rights. `tenantctl validate` names it all; drop it, or give it to the owner with `tenantctl secure`."),
        );
    }
    let mut locked: Vec<&String> = tables.iter().collect();
    locked.sort();
    if seen != locked {
        return Ok(None);
    }
    let (hypertables, left_out) = if source.timescaledb {
        let left_out = left_out(session, tenant, &schema).await?;
        (hypertables(session, &schema).await?, left_out)
    } else {
        (Vec::new(), Vec::new())
    };
    let unreadable = |what: &str, e: serde_json::Error| {
        Error::new(
            ErrorKind::Unknown,
            format!("the registry holds {what} that cannot be read"),
        )
        .with_cause(e)
    };
    Ok(Some(Shown {
        snapshot: column(&row, "snapshot")?,
        created_at: column(&row, "taken_at")?,
        moment: column(&row, "moment")?,
        expires_at: column(&row, "expires_at")?,
        tenant: Tenant {
            tenant_id: tenant.clone(),
            schema_name: schema,
            salt: column(&row, "salt")?,
            tier: column(&row, "tier")?,
            limits: serde_json::from_str(column(&row, "limits")?).map_err(|e| unreadable("limits", e))?,
            audit: serde_json::from_str(column(&row, "audit")?).map_err(|e| unreadable("audit modes", e))?,
            provisioned_at: column(&row, "provisioned_at")?,
        },
        origin: Origin {
            name: column(&row, "template")?,
            version: column(&row, "template_version")?,
            sha256: column(&row, "sha256")?,
            modules: column(&row, "modules")?,
            hypertables: column(&row, "hypertables")?,
        },
        contents,
        hypertables,
        left_out,
    }))
}

fn missing(session: &Session, tenant: &TenantId) -> Error {
    if session.server().in_recovery {
        return Error::new(
            ErrorKind::NotFound,
            format!("the replica has not got tenant {tenant} yet"),
        )
        .with_cause("what made it has not been replayed there")
        .with_hint("Try again in a moment; `SELECT pg_last_xact_replay_timestamp()` there tells how far it is.");
    }
    Error::new(ErrorKind::NotFound, format!("tenant {tenant} does not exist any more"))
        .with_hint("`tenantctl list` shows what is there.")
}

async fn hypertables(session: &Session, schema: &str) -> Result<Vec<Dimensions>> {
    let sql = Sql::new(include_str!("../../sql/catalog/hypertables.sql"));
    let rows = session
        .query(&sql, &[(&schema, Type::TEXT)], "read the dimensions of hypertables")
        .await?;
    let mut found: Vec<Dimensions> = Vec::new();
    for row in &rows {
        let (table, dimension): (String, String) = (column(row, "hypertable")?, column(row, "dimension")?);
        match found.last_mut().filter(|last| last.time.table == table) {
            Some(last) => last
                .space
                .push((dimension, column::<Option<i32>>(row, "slices")?.unwrap_or(1))),
            None => found.push(Dimensions {
                time: Hypertable {
                    table,
                    column: dimension,
                    chunk_interval: column::<Option<String>>(row, "chunk_interval")?.unwrap_or_default(),
                },
                space: Vec::new(),
            }),
        }
    }
    Ok(found)
}

/// What a restore will not bring back of hypertables. What cannot be done without is refused.
async fn left_out(session: &Session, tenant: &TenantId, schema: &str) -> Result<Vec<String>> {
    let sql = Sql::new(include_str!("../../sql/catalog/hypertable_settings.sql"));
    let rows = session
        .query(&sql, &[(&schema, Type::TEXT)], "read the settings of hypertables")
        .await?;
    let (mut refused, mut told) = (Vec::new(), Vec::new());
    for row in &rows {
        let list = if column(row, "refused")? {
            &mut refused
        } else {
            &mut told
        };
        list.push(column::<String>(row, "what")?);
    }
    if refused.is_empty() {
        return Ok(told);
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("tenant {tenant} cannot be backed up: it uses what a restore could not make again"),
    )
    .with_cause(refused.join(", "))
    .with_hint("Use an ordinary view or table instead, or back the whole database up with the server's own tools."))
}

/// Proves that the owner, as whom this login reads, is shown every row.
async fn prove(session: &Session, tenant: &TenantId) -> Result<()> {
    let row = tenants::find_one(session, tenant).await?;
    let mut states = standard::read(session, std::slice::from_ref(&row)).await?;
    let hidden = states
        .remove(row.schema_name.as_str())
        .map_or_else(Vec::new, |state| may_hide_rows(&state));
    if hidden.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("tenant {tenant} cannot be backed up: rows may be hidden from {OWNER_ROLE}"),
    )
    .with_cause(format!(
        "the row security of {} is not the standard's",
        hidden.join(", ")
    ))
    .with_hint(
        "Run `tenantctl secure` for it first, or back up as a superuser or a role with BYPASSRLS, who see all rows.",
    ))
}

/// The tables whose row security could hide a row from the owner: without a policy to it, or with one that is not simply true.
fn may_hide_rows(state: &Observed) -> Vec<String> {
    let tables = state
        .relations
        .iter()
        .filter(|r| matches!(r.kind, 'r' | 'p') && r.row_security);
    tables
        .filter(|table| {
            let for_owner =
                |roles: &[String]| roles.is_empty() || roles.iter().any(|r| r.is_empty() || r == OWNER_ROLE);
            // Whoever the others are for: the owner may be a member of that role.
            !table.policies.iter().all(|policy| policy.plain)
                || !table.policies.iter().any(|policy| for_owner(&policy.roles))
        })
        .map(|table| table.name.clone())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::standard::{Policy, Relation};

    fn table(policies: &[(bool, &str)]) -> Observed {
        let policies = policies.iter().map(|(plain, role)| Policy {
            name: "p".into(),
            plain: *plain,
            roles: vec![(*role).to_owned()],
        });
        Observed {
            relations: vec![Relation {
                name: "t".into(),
                kind: 'r',
                row_security: true,
                policies: policies.collect(),
                ..Relation::default()
            }],
            ..Observed::default()
        }
    }

    #[test]
    fn rows_are_hidden_unless_all_policies_are_true_and_one_is_the_owners() {
        for (policies, hidden) in [
            (&[(true, OWNER_ROLE), (true, "tenant_x_user")][..], false),
            (&[(true, "")], false),
            (&[(true, "tenant_x_user")], true),
            (&[(true, OWNER_ROLE), (false, "somebody")], true),
            (&[(false, OWNER_ROLE)], true),
            (&[], true),
        ] {
            assert_eq!(!may_hide_rows(&table(policies)).is_empty(), hidden, "{policies:?}");
        }
        let mut open = table(&[]);
        open.relations[0].row_security = false;
        assert!(may_hide_rows(&open).is_empty());
    }
}
