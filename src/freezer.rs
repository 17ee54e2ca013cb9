//! Freezes the writes of tenants that have reached their size, and thaws those that are well below it again, each in a
//! transaction of its own.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::catalog::standard;
use crate::catalog::template::Known;
use crate::catalog::tenants::{self, TenantRow};
use crate::error::{Error, ErrorKind, Result};
use crate::fleet::{self, Work};
use crate::interrupt::Interrupt;
use crate::pg::apply::{Failure, Outcome, apply};
use crate::pg::eviction::end_lost;
use crate::pg::session::{Connector, Session};
use crate::plan::freeze::{Change, Turn, due, max_bytes, plan};
use crate::plan::standard::{Observed, STANDARD_TABLES, Wanted, Writes, writes};
use crate::plan::{CHANGED_MEANWHILE, Plan};
use crate::tenant::{ModuleObjects, OWNER_ROLE, Template, TenantId};

/// How often it is tried where somebody else's change came in between.
const ATTEMPTS: usize = 3;

/// Freezes and thaws tenants of one database.
#[derive(Clone)]
pub struct Freezer {
    /// Opens sessions as the admin.
    pub connector: Connector,
    /// Limit of one tenant's transaction.
    pub timeout: Duration,
    /// Limit for each wait on a lock.
    pub lock_timeout: Duration,
    templates: Known,
}

/// A tenant with its size.
#[derive(Clone, Debug)]
pub struct Measured {
    /// The tenant.
    pub tenant: TenantRow,
    /// Bytes of its schema, exactly; none: unknown.
    pub size_bytes: Option<u64>,
}

impl Measured {
    /// What is due to it.
    pub fn due(&self) -> Option<Turn> {
        due_by(&self.tenant, self.size_bytes)
    }
}

fn due_by(tenant: &TenantRow, size: Option<u64>) -> Option<Turn> {
    due(
        tenant.writes_frozen_at.is_some(),
        size,
        tenant.limits.max_schema_size_gb,
    )
}

/// A tenant that was frozen or thawed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Turned {
    /// Which of the two.
    #[serde(skip)]
    pub turn: Turn,
    /// The caller's name for it.
    pub tenant_id: TenantId,
    /// Its schema.
    pub schema_name: String,
    /// Bytes of its schema as they were measured; null: unknown, and without a limit of no account.
    pub size_bytes: Option<u64>,
    /// Its limit in bytes; null: unlimited.
    pub max_bytes: Option<u64>,
    /// Since when its writes are frozen; absent: they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub writes_frozen_at: Option<String>,
    /// What the admin should know of tables that are not the standard's, as sentences.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What there is of a tenant, with what its template says of it.
struct Look {
    tenant: TenantRow,
    template: Arc<Template>,
    objects: ModuleObjects,
    now: Observed,
}

impl Look {
    /// The standard's part that freezing is about: limits and audit have none in it.
    fn with_wanted<T>(&self, major: i32, make: impl FnOnce(Wanted<'_>) -> T) -> T {
        make(Wanted {
            schema: self.tenant.schema_name.as_str(),
            role: &self.tenant.role_name,
            objects: &self.objects,
            bulk_load: &self.template.bulk_load,
            audit: &self.tenant.audit,
            limits: &self.tenant.limits,
            major,
            recount: false,
            frozen: self.tenant.writes_frozen_at.is_some(),
        })
    }
}

impl Freezer {
    /// A freezer.
    pub fn new(connector: Connector, timeout: Duration, lock_timeout: Duration) -> Self {
        Self {
            connector,
            timeout,
            lock_timeout,
            templates: Known::default(),
        }
    }

    /// The transactions that these tenants are due; the catalog is read set-based, and of those only.
    ///
    /// # Errors
    /// When the catalog cannot be read, the registry lacks a template, or a tenant's schema or role is missing.
    pub async fn plans(&self, session: &Session, measured: &[Measured]) -> Result<Vec<Plan>> {
        let due: Vec<(&Measured, Turn)> = measured.iter().filter_map(|m| Some((m, m.due()?))).collect();
        let mut plans = Vec::with_capacity(due.len());
        for batch in due.chunks(standard::BATCH) {
            let rows: Vec<TenantRow> = batch.iter().map(|(m, _)| m.tenant.clone()).collect();
            let mut states = standard::read(session, &rows).await?;
            for (tenant, (_, turn)) in rows.into_iter().zip(batch) {
                let state = states.remove(tenant.schema_name.as_str());
                let look = self.look_at(session, tenant, state).await?;
                plans.push(self.plan(&look, *turn, session.server().major(), Uuid::new_v4()));
            }
        }
        Ok(plans)
    }

    async fn look_at(&self, session: &Session, tenant: TenantRow, state: Option<Observed>) -> Result<Look> {
        let missing = |what: String| {
            Error::new(
                ErrorKind::NotFound,
                format!("{what} of tenant {} is missing", tenant.tenant_id),
            )
            .with_hint(format!("`tenantctl show {}` tells what else is.", tenant.tenant_id))
        };
        let now = state.ok_or_else(|| missing(format!("schema {}", tenant.schema_name)))?;
        if now.role.is_none() {
            return Err(missing(format!("role {}", tenant.role_name)));
        }
        let template = self.templates.of(session, &tenant).await?;
        let modules = template.modules.iter().filter(|m| tenant.modules.contains(&m.name));
        Ok(Look {
            objects: modules.map(|m| &m.objects).collect(),
            tenant,
            template,
            now,
        })
    }

    fn plan(&self, look: &Look, turn: Turn, major: i32, operation: Uuid) -> Plan {
        look.with_wanted(major, |wanted| {
            plan(&Change {
                id: &look.tenant.tenant_id,
                schema: &look.tenant.schema_name,
                turn,
                limit: look.tenant.limits.max_schema_size_gb,
                wanted,
                now: &look.now,
                operation,
                timeout: self.timeout,
                lock_timeout: self.lock_timeout,
            })
        })
    }

    /// Gives one tenant what it is due, by its registry row as it is now. None: nothing is due any more.
    ///
    /// # Errors
    /// Kind `not_found` when it was dropped meanwhile; else what the server said. The tenant is as it was then, unless the
    /// error is an uncertain one.
    pub async fn turn(&self, session: &Session, measured: &Measured) -> Result<Option<Turned>> {
        let known = &measured.tenant;
        let major = session.server().major();
        let mut attempt = 0;
        loop {
            attempt += 1;
            let tenant = tenants::find_one(session, &known.tenant_id).await?;
            // The size is another's: somebody has dropped the tenant and made one of the same name.
            if tenant.schema_name != known.schema_name {
                return Err(dropped(&known.tenant_id));
            }
            let Some(turn) = due_by(&tenant, measured.size_bytes) else {
                return Ok(None);
            };
            let state = standard::read_one(session, tenant.schema_name.as_str(), &tenant.role_name).await?;
            let look = self.look_at(session, tenant, state).await?;
            let operation = Uuid::new_v4();
            let plan = self.plan(&look, turn, major, operation);
            let mut again = None;
            if let Err(failure) = apply(session, &plan).await {
                if failure.outcome == Outcome::RolledBack && attempt < ATTEMPTS && is_stale(&failure.error) {
                    continue;
                }
                again = self.settle(session, failure, operation, &known.tenant_id).await?;
            }
            let told = self
                .tell(again.as_ref().unwrap_or(session), &look, turn, measured)
                .await;
            return Ok(Some(told));
        }
    }

    /// After a failure: the session that has found the transaction committed all the same, where the first was lost.
    async fn settle(
        &self,
        lost: &Session,
        failure: Failure,
        operation: Uuid,
        id: &TenantId,
    ) -> Result<Option<Session>> {
        if failure.outcome == Outcome::RolledBack {
            return Err(explain(id, failure.error));
        }
        let asked = async {
            let session = end_lost(&self.connector, lost.server()).await?;
            let committed = tenants::recorded(&session, operation).await?;
            Ok::<_, Error>((session, committed))
        };
        match asked.await {
            Ok((session, true)) => Ok(Some(session)),
            Ok((_, false)) => Err(failure.error),
            Err(_) => Err(failure.error.with_uncertainty().with_hint(format!(
                "The server cannot be asked, so it is not known whether it committed. Once it is back, `tenantctl show {id}` tells."
            ))),
        }
    }

    /// What became of a tenant. It is done by now, whatever becomes of these questions.
    async fn tell(&self, session: &Session, look: &Look, turn: Turn, measured: &Measured) -> Turned {
        let tenant = &look.tenant;
        let now = tenants::find_one(session, &tenant.tenant_id).await.ok();
        let notes = match turn {
            Turn::Freeze => self.notes_on_freeze(session, look).await,
            Turn::Thaw => notes_on_thaw(look),
        };
        Turned {
            turn,
            tenant_id: tenant.tenant_id.clone(),
            schema_name: tenant.schema_name.to_string(),
            size_bytes: measured.size_bytes,
            max_bytes: max_bytes(tenant.limits.max_schema_size_gb).and_then(|max| u64::try_from(max).ok()),
            writes_frozen_at: now.and_then(|row| row.writes_frozen_at),
            notes,
        }
    }

    /// Rights that do not come back by themselves, and ways to write that are left.
    async fn notes_on_freeze(&self, session: &Session, look: &Look) -> Vec<String> {
        let Writes { beyond, .. } = look.with_wanted(session.server().major(), |wanted| writes(&wanted, &look.now));
        let mut notes: Vec<String> = beyond
            .iter()
            .map(|name| {
                format!(
                    "on {name} it had rights to write that are not the standard's; they do not come back with a thaw"
                )
            })
            .collect();
        let left = async {
            let relations = tenants::writable(session, &look.tenant).await?;
            Ok::<_, Error>((relations, tenants::writers(session, &look.tenant).await?))
        };
        match left.await {
            Ok((relations, pids)) => {
                notes.extend(relations.iter().map(|relation| {
                    let (kind, name, owner) = (&relation.kind, &relation.name, &relation.owner);
                    format!(
                        "it still writes to {kind} {name}, which belongs to {owner}, by a right that is not the standard's; `tenantctl validate {}` names it",
                        look.tenant.tenant_id
                    )
                }));
                notes.extend(pids.iter().map(|pid| {
                    format!("a transaction that it has open (process {pid}) may go on writing by prepared statements until it ends; pg_terminate_backend({pid}) ends it")
                }));
            }
            Err(error) => notes.push(format!("whether it still writes somewhere is not known: {error}")),
        }
        notes
    }
}

/// Tables that only an admin can give rights on again: nobody has written down what they were.
fn notes_on_thaw(look: &Look) -> Vec<String> {
    let now = &look.now;
    let role = &look.tenant.role_name;
    let tables = now
        .relations
        .iter()
        .filter(|r| matches!(r.kind, 'r' | 'p') && r.owner == OWNER_ROLE);
    let strangers = tables
        .filter(|r| !look.objects.tables.contains(&r.name) && !STANDARD_TABLES.iter().any(|(name, _)| *name == r.name));
    strangers
        .filter(|r| r.grants.iter().any(|g| g.0 == *role))
        .map(|r| {
            format!(
                "table {} is not the template's: if the tenant is to write to it, GRANT INSERT, UPDATE ON {}.{} TO {role}",
                r.name, look.tenant.schema_name, r.name
            )
        })
        .collect()
}

/// Somebody else was faster: frozen or thawed already, another limit, a table gone, a deadlock, a catalog row changed.
fn is_stale(error: &Error) -> bool {
    matches!(
        error.sqlstate(),
        Some(CHANGED_MEANWHILE | "42P01" | "3F000" | "40P01" | "XX000")
    )
}

fn dropped(id: &TenantId) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("tenant {id} was dropped by somebody else meanwhile"),
    )
    .with_hint("`tenantctl list` shows what is there.")
}

fn explain(id: &TenantId, error: Error) -> Error {
    match error.sqlstate() {
        // The plan divides by the number of rows it locked.
        Some("22012") => dropped(id).with_sqlstate("22012"),
        Some("55P03") => error.with_hint("Another command works on this tenant. Run this again."),
        _ => error,
    }
}

/// Tenants that are to be frozen, or thawed: the two have different names in the operation log.
struct Turning<const THAW: bool>(Freezer);

impl<const THAW: bool> Work for Turning<THAW> {
    type Item = Measured;
    type Done = Option<Turned>;
    const OPERATION: &'static str = if THAW { "thaw" } else { "freeze" };

    fn connector(&self) -> &Connector {
        &self.0.connector
    }

    fn id(item: &Measured) -> &TenantId {
        &item.tenant.tenant_id
    }

    async fn one(&self, session: &Session, item: &Measured) -> Result<Option<Turned>> {
        self.0.turn(session, item).await
    }
}

/// What became of one tenant; none: nothing was due any more.
pub type Results = mpsc::UnboundedReceiver<(TenantId, Result<Option<Turned>>)>;

impl Freezer {
    /// Freezes or thaws many tenants at the same time, as [`fleet::many`] does things. Those that are due the other turn, or
    /// none, must not be among them.
    pub fn turn_many(&self, turn: Turn, measured: Vec<Measured>, jobs: usize, interrupt: &Interrupt) -> Results {
        match turn {
            Turn::Freeze => fleet::many(Turning::<false>(self.clone()), measured, jobs, interrupt),
            Turn::Thaw => fleet::many(Turning::<true>(self.clone()), measured, jobs, interrupt),
        }
    }
}
