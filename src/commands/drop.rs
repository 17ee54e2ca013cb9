//! `drop`: ends tenants.

use std::collections::HashMap;

use serde::Serialize;

use super::provision::Failed;
use super::{Context, Plans, Status};
use crate::catalog::restores;
use crate::catalog::tenants::{self, Remains, TenantRow};
use crate::chunks::Clearing;
use crate::cli::DropArgs;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::apply::{Outcome, apply};
use crate::pg::eviction::end_sessions;
use crate::pg::session::Session;
use crate::pg::sql::Sql;
use crate::plan::Plan;
use crate::plan::chunks::Claim;
use crate::plan::drop::{OldTenant, begin, let_in_again, plan};
use crate::plan::restore::CHANGED_MEANWHILE;
use crate::provisioner::settle;
use crate::tenant::TenantId;
use crate::ui::{Render, Ui, count};

/// What became of the tenants.
#[derive(Debug, Serialize)]
pub struct Report {
    /// Those that are gone.
    pub dropped: Vec<Dropped>,
    /// Those that are still there: whole, or, where the registry's status says `dropping`, without chunks of their hypertables.
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
    /// Schemas of its restores that went with it.
    pub kept_schemas: Vec<String>,
}

impl Render for Report {
    fn text(&self, _: &Ui) -> String {
        self.dropped
            .iter()
            .map(|d| {
                let kept = match d.kept_schemas.as_slice() {
                    [] => String::new(),
                    kept => format!(", and what restores had left: {}", kept.join(", ")),
                };
                format!(
                    "dropped tenant {} with schema {} and role {}{kept}",
                    d.tenant_id, d.schema_name, d.role_name
                )
            })
            .collect::<Vec<_>>()
            .join("\n")
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
    let mut session = ctx.settings.registry(!args.dry_run).await?;
    // All must exist before one is touched: a typing error in a list is a reason to stop.
    let rows = tenants::find(&session, &ids).await?;
    let mut remains = tenants::remains(&session, &rows.iter().collect::<Vec<_>>()).await?;
    let mut kept: HashMap<&TenantId, Vec<String>> = HashMap::new();
    let restores = restores::with_schemas(&session, &rows.iter().map(|row| &row.tenant_id).collect::<Vec<_>>()).await?;
    for restore in &restores {
        let schemas = kept.entry(&restore.tenant_id).or_default();
        schemas.extend(restore.staging_schema.iter().chain(&restore.replaced_schema).cloned());
    }
    let schemas = rows.iter().map(|row| row.schema_name.as_str());
    let schemas: Vec<&str> = schemas.chain(kept.values().flatten().map(String::as_str)).collect();
    let mut outside = tenants::outside_dependants(&session, &schemas).await?;
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
        let kept = kept.remove(&row.tenant_id).unwrap_or_default();
        let old = old_tenant(ctx, row, &remains, &kept);
        let plan = plan(&old);
        if args.dry_run {
            if let Some(many) = clearing(ctx, &session, &old).await? {
                plans.push(begin(&old));
                plans.extend(many.plans());
            }
            plans.push(plan);
            continue;
        }
        let own = std::iter::once(row.schema_name.as_str()).chain(kept.iter().map(String::as_str));
        let outside: Vec<String> = own.filter_map(|schema| outside.remove(schema)).flatten().collect();
        let dropped = match Some(outside).filter(|objects| !objects.is_empty()) {
            Some(objects) => Err(depended_on(&plan, &objects)),
            None => {
                let drop = Drop {
                    ctx,
                    session: &session,
                    row,
                    remains: &remains,
                    old: &old,
                    plan: &plan,
                };
                drop.run(args.disconnect).await
            }
        };
        match dropped {
            Ok(sessions_ended) => report.dropped.push(Dropped {
                tenant_id: row.tenant_id.clone(),
                schema_name: row.schema_name.to_string(),
                role_name: row.role_name.clone(),
                sessions_ended,
                kept_schemas: kept,
            }),
            Err(error) => {
                let connector = &ctx.settings.connector;
                crate::pg::record::failure(connector, Some(&session), "drop", Some(&row.tenant_id), &error).await;
                report.failed.push(Failed::new(row.tenant_id.clone(), &error));
                errors.push(error);
                if session.is_closed() {
                    match connector.connect().await {
                        Ok(again) => session = again,
                        // The rest is not touched; the exit code says that not all is done.
                        Err(_) => break,
                    }
                }
            }
        }
    }
    if args.dry_run {
        for (schema, objects) in &outside {
            ctx.ui.warn(&format!(
                "drop would refuse {schema}: {} outside depends on it",
                objects.join(", ")
            ));
        }
        ctx.ui.result(&Plans { plan: plans })?;
        return Ok(Status::Done);
    }
    ctx.ui.result(&report)?;
    for error in &errors {
        ctx.ui.error(error);
    }
    let untouched = rows.len() - report.dropped.len() - report.failed.len();
    if untouched > 0 {
        ctx.ui.note(&format!("{} not touched", count(untouched, "tenant")));
    }
    Ok(match errors.first() {
        None => Status::Done,
        Some(error) if rows.len() == 1 => Status::Failed(error.kind()),
        Some(_) => Status::Partly,
    })
}

fn old_tenant<'a>(ctx: &Context<'_>, row: &'a TenantRow, remains: &Remains, kept: &'a [String]) -> OldTenant<'a> {
    OldTenant {
        id: &row.tenant_id,
        schema: &row.schema_name,
        schema_exists: remains.schema,
        kept,
        role_exists: remains.role.is_some(),
        join_role: !remains.member,
        timeout: ctx.settings.timeout(),
        lock_timeout: ctx.settings.lock_timeout(),
    }
}

/// Drops a tenant that no restore has left anything of, and that nothing outside depends on; its sessions are ended.
///
/// # Errors
/// When the server refuses.
pub(super) async fn one(ctx: &Context<'_>, session: &Session, row: &TenantRow) -> Result<()> {
    let remains = tenants::remains(session, &[row])
        .await?
        .remove(&row.tenant_id)
        .unwrap_or_default();
    let old = old_tenant(ctx, row, &remains, &[]);
    let drop = Drop {
        ctx,
        session,
        row,
        remains: &remains,
        old: &old,
        plan: &plan(&old),
    };
    drop.run(true).await.map(|_| ())
}

fn depended_on(plan: &Plan, objects: &[String]) -> Error {
    Error::new(ErrorKind::InUse, format!("failed to {}", plan.title))
        .with_cause(format!(
            "objects outside its schema depend on it: {}",
            objects.join(", ")
        ))
        .with_hint("They would go with it. Drop or change them first if that is meant.")
}

/// What of a tenant has more chunks than one transaction can drop.
async fn clearing<'a>(ctx: &Context<'_>, session: &Session, old: &OldTenant<'a>) -> Result<Option<Clearing<'a>>> {
    let kept = old.kept.iter().map(|schema| Claim::OfRestore(schema));
    let own = old.schema_exists.then_some(Claim::Tenant(old.id, old.schema));
    let claims = own.into_iter().chain(kept).collect();
    Clearing::of(session, claims, ctx.settings.timeout(), ctx.settings.lock_timeout()).await
}

/// A tenant that is to go.
struct Drop<'a> {
    ctx: &'a Context<'a>,
    session: &'a Session,
    row: &'a TenantRow,
    remains: &'a Remains,
    old: &'a OldTenant<'a>,
    plan: &'a Plan,
}

impl Drop<'_> {
    async fn run(&self, disconnect: bool) -> Result<i64> {
        let (row, remains) = (self.row, self.remains);
        if remains.sessions > 0 && !disconnect {
            return Err(Error::new(ErrorKind::InUse, format!("failed to {}", self.plan.title))
                .with_cause(format!(
                    "its role has {} open",
                    count(remains.sessions as usize, "session")
                ))
                .with_hint("Let its applications disconnect, or add --disconnect to end them."));
        }
        let Some(role) = remains.role.filter(|_| disconnect) else {
            let mut begun = row.is_dropping();
            return self.all(&mut begun).await.map(|()| 0);
        };
        // Applications reconnect faster than their sessions are ended, so the door is shut first.
        if remains.can_login {
            shut_out(self.session, &row.role_name).await?;
        }
        let mut begun = row.is_dropping();
        let dropped = match end_sessions(self.session, role, (!remains.member).then_some(row.role_name.as_str())).await
        {
            Ok(ended) => self.all(&mut begun).await.map(|()| ended),
            Err(error) => Err(error),
        };
        if dropped.is_err()
            && remains.can_login
            && !begun
            && let Err(failure) = apply(self.session, &let_in_again(self.old)).await
            // Dropped by somebody else, or begun to be: it is not to log in.
            && !matches!(failure.error.sqlstate(), Some("22012" | CHANGED_MEANWHILE))
        {
            self.ctx.ui.warn(&format!(
                "role {} is left without LOGIN: {}",
                row.role_name, failure.error
            ));
        }
        dropped
    }

    /// All that the drop takes; `begun` tells whether the tenant is whole no more.
    async fn all(&self, begun: &mut bool) -> Result<()> {
        let (ctx, session) = (self.ctx, self.session);
        if let Some(many) = clearing(ctx, session, self.old).await? {
            run_plan(ctx, session, self.row, &begin(self.old)).await?;
            *begun = true;
            let progress = ctx
                .ui
                .progress(usize::try_from(many.chunks()).unwrap_or(usize::MAX), "dropping chunks");
            let gone = many
                .run(session, Some(ctx.interrupt), |chunks| {
                    (0..chunks).for_each(|_| progress.tick());
                })
                .await;
            progress.finish();
            gone.map_err(|error| {
                if error.sqlstate() == Some("22012") {
                    return dropped_meanwhile(self.row, error);
                }
                let cause = error.cause().unwrap_or_default().to_owned();
                error.with_cause(format!(
                    "{cause}{}the drop has begun, and tenant {} is whole no more",
                    if cause.is_empty() { "" } else { "; " },
                    self.row.tenant_id
                ))
            })?;
        }
        run_plan(ctx, session, self.row, self.plan).await
    }
}

fn dropped_meanwhile(row: &TenantRow, error: Error) -> Error {
    error
        .with_kind(ErrorKind::NotFound)
        .with_message(format!(
            "tenant {} was dropped by somebody else meanwhile",
            row.tenant_id
        ))
        .with_hint("`tenantctl list` shows what is there.")
}

async fn run_plan(ctx: &Context<'_>, session: &Session, row: &TenantRow, plan: &Plan) -> Result<()> {
    let Err(failure) = apply(session, plan).await else {
        return Ok(());
    };
    if failure.outcome == Outcome::Unknown {
        let connector = &ctx.settings.connector;
        return match settle(connector, session.server(), &row.schema_name).await {
            Ok(false) => Ok(()),
            Ok(true) => Err(failure.error),
            Err(_) => Err(failure.error.with_uncertainty().with_hint(
                "The server cannot be asked, so it is not known whether the tenant is gone. Once it is back, `tenantctl list` tells.",
            )),
        };
    }
    let error = failure.error;
    Err(match error.sqlstate() {
        // The plan divides by the number of rows it deleted.
        Some("22012") => dropped_meanwhile(row, error),
        Some(CHANGED_MEANWHILE) => error
            .with_kind(ErrorKind::InUse)
            .with_message(format!("a restore of tenant {} came in between", row.tenant_id))
            .with_cause("it has made or put back a schema that was not there before")
            .with_hint("Nothing was dropped. Run the command again."),
        Some("2BP01") => error.with_hint(
            "The role owns or was granted something that is not in this database. As its owner there: DROP OWNED BY the role; then drop again.",
        ),
        _ => error,
    })
}

async fn shut_out(session: &Session, role: &str) -> Result<()> {
    let sql = Sql::new("ALTER ROLE ").ident(role).text(" NOLOGIN");
    session.batch(&sql, "shut the tenant's role out").await
}
