//! Brings tenants and the database to the hardening standard: reads all, changes those that differ, looks again.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Serialize;

use crate::catalog::tenants::{self, TenantRow};
use crate::catalog::{self, chunks, hardening, standard, template};
use crate::error::{Error, ErrorKind, Result};
use crate::fleet::Work;
use crate::pg::apply::{Outcome, apply};
use crate::pg::session::{Connector, Session};
use crate::plan::chunks::{TimeType, microseconds, set_interval};
use crate::plan::hardening::{Broken, Line, remedy};
use crate::plan::init::lock_installation;
use crate::plan::secure::{Tenant, plans};
use crate::plan::standard::{Change, HAS_TRIGGER, Observed, Wanted, beyond_repair};
use crate::plan::{CHANGED_MEANWHILE, Plan, as_admin, as_owner, record_done};
use crate::tenant::{Audit, Limits, ModuleObjects, TenantId};

/// What the configuration wants of a tenant: its limits, and which of these objects are audited.
pub type Wants = dyn Fn(&TenantRow, &ModuleObjects) -> Result<(Limits, Audit)> + Send + Sync;

/// The interval that the configuration wants of new chunks of a tenant's hypertable, such as `7 days`; none: it has no say.
pub type Intervals = dyn Fn(&TenantRow, &str) -> Option<String> + Send + Sync;

/// Brings tenants of one database to the standard.
#[derive(Clone)]
pub struct Hardener {
    /// Opens sessions as the admin.
    pub connector: Connector,
    /// What the configuration wants.
    pub wants: Arc<Wants>,
    /// What it wants of hypertables.
    pub intervals: Arc<Intervals>,
    /// The server's major version.
    pub major: i32,
    /// Count anew what limits are held against, whether something differs or not.
    pub recount: bool,
    /// Limit of each transaction.
    pub timeout: std::time::Duration,
    /// Limit for each wait on a lock.
    pub lock_timeout: std::time::Duration,
    /// The template versions that tenants were made from, read once.
    templates: template::Known,
}

/// One change of a tenant.
#[derive(Clone, Debug, Serialize)]
pub struct Changed {
    /// What it was for.
    pub change: String,
    /// What was run.
    pub sql: String,
}

/// What became of one tenant.
#[derive(Clone, Debug, Serialize)]
pub struct Secured {
    /// The caller's name for it.
    pub tenant_id: TenantId,
    /// Its schema.
    pub schema_name: String,
    /// What differed and was changed; empty when it met the standard.
    pub changes: Vec<Changed>,
    /// What differs and cannot be changed by this command or this admin, as sentences.
    pub unmet: Vec<String>,
}

/// A tenant with what is to be done about it.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The tenant.
    pub tenant: TenantRow,
    /// In order; each a transaction.
    pub plans: Vec<Plan>,
    /// What no plan brings about.
    pub unmet: Vec<String>,
}

impl Hardener {
    /// A hardener.
    pub fn new(
        connector: Connector,
        wants: Arc<Wants>,
        intervals: Arc<Intervals>,
        major: i32,
        timeout: std::time::Duration,
        lock_timeout: std::time::Duration,
    ) -> Self {
        Self {
            connector,
            wants,
            intervals,
            major,
            recount: false,
            timeout,
            lock_timeout,
            templates: template::Known::default(),
        }
    }

    /// What these tenants lack, read set-based.
    ///
    /// # Errors
    /// When the catalog cannot be read, or the registry lacks a template.
    pub async fn plan(&self, session: &Session, tenants: &[TenantRow]) -> Result<Vec<Planned>> {
        let mut planned = Vec::with_capacity(tenants.len());
        for batch in tenants.chunks(standard::BATCH) {
            let mut states = standard::read(session, batch).await?;
            let mut intervals = self.intervals(session, batch).await?;
            for tenant in batch {
                let schema = tenant.schema_name.as_str();
                let (state, intervals) = (states.remove(schema), intervals.remove(schema));
                planned.push(
                    self.plan_one(session, tenant, state, intervals.unwrap_or_default())
                        .await?,
                );
            }
        }
        Ok(planned)
    }

    /// Hypertables whose new chunks would not be as long as is wanted, by schema.
    async fn intervals(&self, session: &Session, tenants: &[TenantRow]) -> Result<HashMap<String, Vec<Change>>> {
        let with = tenants.iter().filter(|t| !t.hypertables.is_empty());
        let schemas: Vec<&str> = with.map(|t| t.schema_name.as_str()).collect();
        let found = chunks::intervals(session, &schemas).await?;
        let mut changes: HashMap<String, Vec<Change>> = HashMap::new();
        let mut extension = None;
        for tenant in tenants {
            let schema = tenant.schema_name.as_str();
            for table in found.get(schema).into_iter().flatten() {
                let Some(wanted) = (self.intervals)(tenant, &table.table) else {
                    continue;
                };
                let differs = microseconds(&wanted).is_some_and(|length| length != table.interval);
                if !differs || !table.time.is_some_and(TimeType::is_calendar) {
                    continue;
                }
                if extension.is_none() {
                    extension = catalog::timescaledb_schema(session).await?;
                }
                let Some(extension) = &extension else { continue };
                let what = format!("let new chunks of {} hold {wanted}", table.table);
                let sql = as_admin()
                    .text("\n")
                    .append(set_interval(extension, schema, table, &wanted))
                    .append(as_owner());
                changes.entry(schema.to_owned()).or_default().push((what.into(), sql));
            }
        }
        Ok(changes)
    }

    async fn plan_one(
        &self,
        session: &Session,
        tenant: &TenantRow,
        state: Option<Observed>,
        intervals: Vec<Change>,
    ) -> Result<Planned> {
        let Some(state) = state else {
            return Ok(Planned {
                tenant: tenant.clone(),
                plans: Vec::new(),
                unmet: vec![format!("schema {} is missing", tenant.schema_name)],
            });
        };
        let template = self.templates.of(session, tenant).await?;
        let modules = template.modules.iter().filter(|m| tenant.modules.contains(&m.name));
        let objects: ModuleObjects = modules.map(|m| &m.objects).collect();
        let (limits, audit) = (self.wants)(tenant, &objects)?;
        let wanted = Wanted {
            schema: tenant.schema_name.as_str(),
            role: &tenant.role_name,
            objects: &objects,
            bulk_load: &template.bulk_load,
            audit: &audit,
            limits: &limits,
            major: self.major,
            recount: self.recount,
            frozen: tenant.writes_frozen_at.is_some(),
        };
        let unmet = beyond_repair(&wanted, &state);
        let plans = plans(&Tenant {
            id: &tenant.tenant_id,
            schema: &tenant.schema_name,
            limits: &tenant.limits,
            audit: &tenant.audit,
            wanted,
            now: &state,
            intervals,
            timeout: self.timeout,
            lock_timeout: self.lock_timeout,
        });
        Ok(Planned {
            tenant: tenant.clone(),
            plans,
            unmet,
        })
    }

    /// Applies one tenant's plans, then looks whether they brought it to the standard. What somebody else changed
    /// between our look and our try is looked at again, once.
    async fn apply_one(&self, session: &Session, planned: Planned) -> Result<Secured> {
        let mut done = Secured {
            tenant_id: planned.tenant.tenant_id.clone(),
            schema_name: planned.tenant.schema_name.to_string(),
            changes: Vec::new(),
            unmet: Vec::new(),
        };
        let mut todo = planned.plans;
        for attempt in 0..2 {
            let mut stale = false;
            for plan in todo {
                match apply(session, &plan).await {
                    Ok(()) => done.changes.extend(changes(&plan)),
                    Err(failure) if failure.error.kind() == ErrorKind::Permission => {
                        let cause = failure.error.cause().unwrap_or_default();
                        let what: Vec<_> = changes(&plan).into_iter().map(|c| c.change).collect();
                        done.unmet.push(format!("{}: {cause}", what.join("; ")));
                    }
                    // A lock that the tenant or a backup holds: the other transactions are done all the same.
                    Err(failure)
                        if failure.outcome == Outcome::RolledBack && failure.error.kind() == ErrorKind::Timeout =>
                    {
                        let cause = failure.error.cause().unwrap_or_default();
                        let what: Vec<_> = changes(&plan).into_iter().map(|c| c.change).collect();
                        done.unmet.push(format!(
                            "{}: {cause}; try again, or raise provisioning.timeout_s",
                            what.join("; ")
                        ));
                    }
                    Err(failure) if attempt == 0 && is_stale(&failure.error) => stale = true,
                    Err(failure) if failure.error.sqlstate() == Some("22012") => {
                        return Err(failure.error.with_kind(ErrorKind::NotFound).with_message(format!(
                            "tenant {} was dropped by somebody else meanwhile",
                            done.tenant_id
                        )));
                    }
                    Err(failure) if failure.error.sqlstate() == Some(CHANGED_MEANWHILE) => {
                        return Err(failure
                            .error
                            .with_kind(ErrorKind::InUse)
                            .with_message(format!(
                                "tenant {} was frozen and thawed by somebody else meanwhile",
                                done.tenant_id
                            ))
                            .with_hint("Run this again."));
                    }
                    Err(failure) if failure.error.sqlstate() == Some(HAS_TRIGGER) => {
                        return Err(failure
                            .error
                            .with_kind(ErrorKind::Unsupported)
                            .with_message(format!("table tenant_usage of tenant {} has a trigger or a foreign key to it", done.tenant_id))
                            .with_hint("It would run with the owner's rights. `tenantctl validate` tells how it may have come there; drop it, then run this again."));
                    }
                    Err(failure) => return Err(failure.error),
                }
            }
            let again = self.plan_again(session, &planned.tenant.tenant_id).await?;
            if !stale {
                // What was refused is said with its cause; anything else that is left must not pass for done.
                if done.unmet.is_empty() {
                    let left = again.plans.iter().flat_map(changes).map(|c| c.change);
                    done.unmet.extend(left.map(|change| format!("still to do: {change}")));
                }
                done.unmet.extend(again.unmet);
                break;
            }
            todo = again.plans;
        }
        Ok(done)
    }

    /// Row and catalog are two looks: a tenant that is frozen or thawed in between would seem to lack what it is not to have.
    async fn plan_again(&self, session: &Session, id: &TenantId) -> Result<Planned> {
        let once = Self {
            recount: false,
            ..self.clone()
        };
        let mut tenant = tenants::find_one(session, id).await?;
        loop {
            let planned = once.plan(session, std::slice::from_ref(&tenant)).await?.pop();
            let planned = planned
                .ok_or_else(|| Error::new(ErrorKind::Unknown, format!("failed to look at tenant {id} again")))?;
            if planned.plans.is_empty() {
                return Ok(planned);
            }
            let now = tenants::find_one(session, id).await?;
            if now.writes_frozen_at == tenant.writes_frozen_at {
                return Ok(planned);
            }
            tenant = now;
        }
    }
}

impl Work for Hardener {
    type Item = Planned;
    type Done = Secured;
    const OPERATION: &'static str = "secure";

    fn connector(&self) -> &Connector {
        &self.connector
    }

    fn id(item: &Planned) -> &TenantId {
        &item.tenant.tenant_id
    }

    async fn one(&self, session: &Session, item: &Planned) -> Result<Secured> {
        self.apply_one(session, item.clone()).await
    }
}

/// The server says that what was planned is not how things are any more.
fn is_stale(error: &Error) -> bool {
    // Duplicate object; undefined object, table, function, schema; tuple concurrently updated; frozen or thawed.
    error.kind() == ErrorKind::Duplicate
        || matches!(
            error.sqlstate(),
            Some("42704" | "42P01" | "42883" | "3F000" | "XX000" | HAS_TRIGGER | CHANGED_MEANWHILE)
        )
}

/// The steps of a plan that change something for the tenant: not the lock in front, not the record at the end.
fn changes(plan: &Plan) -> Vec<Changed> {
    let inner = plan.steps.len().saturating_sub(1);
    plan.steps[..inner]
        .iter()
        .skip(1)
        .filter(|step| !step.sql.to_string().starts_with("SET LOCAL ROLE NONE;") || step.sql.to_string().contains('\n'))
        .map(|step| Changed {
            change: step.what.to_string(),
            sql: step.sql.to_string().trim_end().to_owned(),
        })
        .collect()
}

/// A line of the standard after [`secure_database`].
#[derive(Clone, Debug, Serialize)]
pub struct LineReport {
    /// The line.
    pub line: Line,
    /// What it demands.
    pub demands: &'static str,
    /// `met`, `applied`, `unmet`, or `off` when the configuration does not want it.
    pub status: &'static str,
    /// What was changed, or what breaks it still.
    pub objects: Vec<String>,
    /// Whose rights it takes, when it is unmet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub needs: Option<&'static str>,
    /// SQL that was run, or that mends what is unmet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sql: Option<String>,
}

/// The transactions for the lines of the standard that are wanted and unmet, as far as this admin's rights go.
///
/// # Errors
/// When the server refuses the query.
pub async fn plan_database(session: &Session, wanted: impl Fn(Line) -> bool, hardener: &Hardener) -> Result<Vec<Plan>> {
    let observed = hardening::read(session).await?;
    let plans = observed.iter().filter(|seen| wanted(seen.line)).map(|seen| {
        let mendable: Vec<Broken> = seen.broken.iter().filter(|b| b.may_mend).cloned().collect();
        line_plan(seen.line, &mendable, session, hardener)
    });
    Ok(plans.flatten().collect())
}

fn line_plan(line: Line, broken: &[Broken], session: &Session, hardener: &Hardener) -> Option<Plan> {
    if broken.is_empty() {
        return None;
    }
    let mut plan = Plan::new(format!("apply {}", line.key()), hardener.timeout, hardener.lock_timeout);
    plan.step(
        "one command at a time",
        lock_installation().text("\n").append(as_admin()),
    );
    plan.step(line.demands(), remedy(line, broken, &session.server().database));
    plan.step(
        "record the operation",
        as_owner()
            .text("\n")
            .append(record_done("secure_database", None, hardener.timeout)),
    );
    Some(plan)
}

/// Brings the database to the standard, line by line; what the admin's rights do not suffice for stays unmet.
///
/// # Errors
/// When the catalog cannot be read, or the server refuses for another reason than rights.
pub async fn secure_database(
    session: &Session,
    wanted: impl Fn(Line) -> bool,
    hardener: &Hardener,
) -> Result<Vec<LineReport>> {
    let before = hardening::read(session).await?;
    let mut applied: HashMap<&'static str, (Vec<String>, String)> = HashMap::new();
    for seen in before.iter().filter(|seen| wanted(seen.line)) {
        let mendable: Vec<Broken> = seen.broken.iter().filter(|b| b.may_mend).cloned().collect();
        let Some(plan) = line_plan(seen.line, &mendable, session, hardener) else {
            continue;
        };
        match apply(session, &plan).await {
            Ok(()) => {
                let objects = mendable.iter().map(|b| b.object.clone()).collect();
                let sql = remedy(seen.line, &mendable, &session.server().database).to_string();
                applied.insert(seen.line.key(), (objects, sql.trim_end().to_owned()));
            }
            Err(failure) if failure.error.kind() == ErrorKind::Permission => {}
            Err(failure) => return Err(failure.error),
        }
    }
    let after = hardening::read(session).await?;
    Ok(after
        .into_iter()
        .map(|seen| {
            let line = seen.line;
            let left = || seen.broken.iter().map(|b| b.object.clone()).collect();
            let mend = || {
                let sql = remedy(line, &seen.broken, &session.server().database).to_string();
                Some(sql.trim_end().to_owned())
            };
            let (status, objects, needs, sql) = match applied.remove(line.key()) {
                _ if seen.broken.is_empty() && !before.iter().any(|b| b.line == line && !b.broken.is_empty()) => {
                    ("met", Vec::new(), None, None)
                }
                Some((objects, sql)) if seen.broken.is_empty() => ("applied", objects, None, Some(sql)),
                _ if seen.broken.is_empty() => ("met", Vec::new(), None, None),
                _ if !wanted(line) => ("off", left(), None, mend()),
                _ => ("unmet", left(), Some(line.needs()), mend()),
            };
            LineReport {
                line,
                demands: line.demands(),
                status,
                objects,
                needs,
                sql,
            }
        })
        .collect())
}
