//! `drop`: ends tenants.

use serde::Serialize;
use tokio_postgres::types::Type;

use super::provision::Failed;
use super::{Context, Status};
use crate::catalog::tenants::{self, Remains};
use crate::cli::DropArgs;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::apply::apply;
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;
use crate::plan::Plan;
use crate::plan::drop::{OldTenant, plan};
use crate::tenant::TenantId;
use crate::ui::{Render, Ui, count};

/// What became of the tenants.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Those that are gone.
    pub dropped: Vec<Dropped>,
    /// Those that are still there, whole.
    pub failed: Vec<Failed>,
}

/// A tenant that is gone.
#[derive(Debug, Serialize)]
pub struct Dropped {
    /// The caller's name for it.
    pub tenant_id: TenantId,
    /// Its schema, as it was.
    pub schema_name: String,
    /// Its role, as it was.
    pub role_name: String,
    /// Sessions that were ended for it.
    pub sessions_ended: i64,
}

impl Render for Report {
    fn text(&self, _: &Ui) -> String {
        self.dropped
            .iter()
            .map(|d| {
                format!(
                    "dropped tenant {} with schema {} and role {}",
                    d.tenant_id, d.schema_name, d.role_name
                )
            })
            .collect::<Vec<_>>()
            .join("\n")
    }
}

#[derive(Debug, Serialize)]
struct Plans {
    plan: Vec<Plan>,
}

impl Render for Plans {
    fn text(&self, _: &Ui) -> String {
        self.plan
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n\n")
    }
}

/// Runs the command.
///
/// # Errors
/// Whatever is wrong before the first tenant is tried: no `--yes`, an id that does not exist.
pub async fn run(ctx: &Context<'_>, args: &DropArgs) -> Result<Status> {
    let mut ids: Vec<TenantId> = args.tenants.iter().map(|t| t.parse()).collect::<Result<_>>()?;
    ids.sort();
    ids.dedup();
    if !args.yes && !args.dry_run {
        return Err(
            Error::usage(format!("drop destroys {} with all data", count(ids.len(), "tenant")))
                .with_hint("Add --yes if that is meant; --dry-run shows what would be done."),
        );
    }
    let session = ctx.settings.registry(!args.dry_run).await?;
    // All must exist before one is touched: a typing error in a list is a reason to stop.
    let rows = tenants::find(&session, &ids).await?;
    let mut remains = tenants::remains(&session, &rows.iter().collect::<Vec<_>>()).await?;
    let mut report = Report {
        dropped: Vec::new(),
        failed: Vec::new(),
    };
    let mut plans = Vec::new();
    let mut errors = Vec::new();
    for row in &rows {
        if ctx.interrupt.requested() {
            break;
        }
        let remains = remains.remove(&row.tenant_id).unwrap_or_default();
        let plan = plan(&OldTenant {
            id: &row.tenant_id,
            schema: &row.schema_name,
            schema_exists: remains.schema,
            role_exists: remains.role.is_some(),
            join_role: !remains.member,
            timeout: ctx.settings.timeout(),
            lock_timeout: ctx.settings.lock_timeout(),
        });
        if args.dry_run {
            plans.push(plan);
            continue;
        }
        match drop_one(&session, args.disconnect, &remains, &plan).await {
            Ok(sessions_ended) => report.dropped.push(Dropped {
                tenant_id: row.tenant_id.clone(),
                schema_name: row.schema_name.to_string(),
                role_name: row.role_name.clone(),
                sessions_ended,
            }),
            Err(error) => {
                crate::pg::record::failure(
                    &ctx.settings.connector,
                    Some(&session),
                    "drop",
                    Some(&row.tenant_id),
                    &error,
                )
                .await;
                report.failed.push(Failed::new(row.tenant_id.clone(), &error));
                errors.push(error);
            }
        }
    }
    if args.dry_run {
        ctx.ui.result(&Plans { plan: plans })?;
        return Ok(Status::Done);
    }
    ctx.ui.result(&report)?;
    for error in &errors {
        ctx.ui.error(error);
    }
    Ok(match errors.first() {
        None => Status::Done,
        Some(error) if rows.len() == 1 => Status::Failed(error.kind()),
        Some(_) => Status::Partly,
    })
}

async fn drop_one(session: &Session, disconnect: bool, remains: &Remains, plan: &Plan) -> Result<i64> {
    let mut ended = 0;
    if remains.sessions > 0 {
        if !disconnect {
            return Err(Error::new(ErrorKind::InUse, format!("failed to {}", plan.title))
                .with_cause(format!(
                    "its role has {} open",
                    count(remains.sessions as usize, "session")
                ))
                .with_hint("Let its applications disconnect, or add --disconnect to end them."));
        }
        ended = end_sessions(session, remains).await?;
    }
    apply(session, plan).await.map_err(|failure| {
        if failure.error.sqlstate() == Some("2BP01") {
            failure.error.with_hint(
                "The role was granted something in another database. There, as its owner: DROP OWNED BY the role; then drop again.",
            )
        } else {
            failure.error
        }
    })?;
    if disconnect
        && let Err(error) = end_sessions(
            session,
            &Remains {
                member: true,
                ..*remains
            },
        )
        .await
    {
        tracing::info!(%error, "sessions that came in meanwhile could not be ended; they have no rights left");
    }
    Ok(ended)
}

/// Ends a role's sessions and waits until they are gone, at most 5 s each. A member of the role may do that; an
/// admin who is none becomes one for the length of a transaction that is rolled back.
async fn end_sessions(session: &Session, remains: &Remains) -> Result<i64> {
    let Some(role) = remains.role else { return Ok(0) };
    let doing = "end the tenant's sessions";
    if !remains.member {
        let join = Sql::new("SELECT rolname::text AS name FROM pg_catalog.pg_roles WHERE oid = $1");
        let row = session.query_one(&join, &[(&role, Type::OID)], doing).await?;
        let name: &str = column(&row, "name")?;
        session
            .batch(&Sql::new("BEGIN; GRANT ").ident(name).text(" TO CURRENT_USER"), doing)
            .await?;
    }
    let sql = Sql::new(
        "SELECT pg_catalog.count(*) FILTER (WHERE pg_catalog.pg_terminate_backend(a.pid, 5000)) AS ended
FROM pg_catalog.pg_stat_activity a WHERE a.usesysid = $1",
    );
    let row = session.query_one(&sql, &[(&role, Type::OID)], doing).await;
    if !remains.member {
        session.rollback().await;
    }
    column(&row?, "ended")
}
