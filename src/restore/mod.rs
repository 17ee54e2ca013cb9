//! Tenants from backups. A backup is loaded into a schema beside the tenant's, compared with what it should be, and put in the
//! tenant's place in one short transaction. Until that has committed nothing of the tenant is touched; what it replaces is
//! kept for a while.

mod apply;
mod batches;
mod drill;
mod from_store;
mod kept;
mod keys;
mod source;
mod stage;
mod tables;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use uuid::Uuid;

use crate::backup::ddl;
use crate::backup::lock::TenantLock;
use crate::backup::manifest::{DdlSource, Manifest};
use crate::backup::member::MemberReader;
use crate::backup::template::{TEMPLATE, from_json};
use crate::catalog::tenants::{self, TenantRow};
use crate::catalog::{self, restores, standard, template};
use crate::chunks::Clearing;
use crate::credentials::ledger::Ledger;
use crate::credentials::vault::{Identities, Recipients};
use crate::error::{Error, ErrorKind, Result};
use crate::installer;
use crate::interrupt::Interrupt;
use crate::pg::apply::apply;
use crate::pg::password::{Password, random_hex};
use crate::pg::session::{Connector, Session, column};
use crate::pg::sql::Sql;
use crate::plan::Plan;
use crate::plan::chunks::Claim;
use crate::plan::provision::pin;
use crate::plan::restore as plans;
use crate::plan::rotate::Stored;
use crate::plan::standard::{Observed, Wanted, schema_parts};
use crate::provisioner::Identity;
use crate::tenant::{Audit, Limits, ModuleObjects, SchemaName, Template, TenantId};

pub use drill::Drill;
pub use from_store::{Rebuilt, tenants_in};
pub use source::{Source, choose, in_store, newest, open};
pub use stage::Counters;

use stage::{Scripts, Stage};
use tables::Named;

/// Which of these objects the configuration wants audited.
pub type Audited = dyn Fn(&ModuleObjects) -> Result<Audit> + Send + Sync;

/// Bytes of randomness in the names of schemas.
const NAME_BYTES: usize = 6;

/// Restores tenants of one database.
#[derive(Clone)]
pub struct Restorer {
    /// Opens sessions as the admin.
    pub connector: Connector,
    /// What opens encrypted backups.
    pub identities: Arc<Identities>,
    /// Whom the passwords of new tenants are stored for.
    pub recipients: Arc<Recipients>,
    /// What the configuration wants audited.
    pub audited: Arc<Audited>,
    /// Sessions that load and build indexes at the same time.
    pub jobs: usize,
    /// Memory for each index build, as PostgreSQL writes it.
    pub maintenance_work_mem: String,
    /// End the tenant's sessions that hold locks on what is to be replaced.
    pub disconnect: bool,
    /// For how many days what is replaced is kept.
    pub keep_days: u16,
    /// Limit of the transaction that swaps.
    pub timeout: Duration,
    /// Limit for each wait on a lock.
    pub lock_timeout: Duration,
    /// Whether the user wants to stop.
    pub interrupt: Interrupt,
    /// How far it is.
    pub counters: Arc<Counters>,
}

/// What a backup is to become.
#[derive(Clone, Debug)]
pub enum Target {
    /// The whole tenant that it is of, which is there.
    Replace(Box<TenantRow>),
    /// The contents of some of its tables.
    Tables(Box<TenantRow>, Vec<String>),
    /// A tenant that is not there.
    New(NewTenant),
}

/// A tenant to be made.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// Its id.
    pub id: TenantId,
    /// The salt of its schema's name; none: a new one.
    pub salt: Option<String>,
    /// Its tier.
    pub tier: String,
    /// What it may use.
    pub limits: Limits,
}

impl Target {
    /// The tenant.
    pub fn id(&self) -> &TenantId {
        match self {
            Self::Replace(row) | Self::Tables(row, _) => &row.tenant_id,
            Self::New(new) => &new.id,
        }
    }

    fn kind(&self) -> &'static str {
        match self {
            Self::Replace(_) => "replace",
            Self::Tables(..) => "tables",
            Self::New(_) => "new",
        }
    }
}

/// What became of a restore.
#[derive(Clone, Debug, Serialize)]
pub struct Restored {
    /// The tenant.
    pub tenant_id: TenantId,
    /// The backup; none where one was taken back that knew none.
    pub backup_id: Option<String>,
    /// The tenant's schema.
    pub restored_to: String,
    /// `replace`, `tables`, `new` or `undo`.
    pub kind: &'static str,
    /// Rows that were loaded.
    pub rows: u64,
    /// Structure and numbers of rows are those of the backup.
    pub verified: bool,
    /// From the lock to the commit, in milliseconds.
    pub duration_ms: f64,
    /// Of it the transaction that the tenant may have waited for, in milliseconds.
    pub swap_ms: f64,
    /// The moment that the backup shows the tenant at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backup_created_at: Option<String>,
    /// The schema that keeps what was replaced.
    pub replaced_schema: Option<String>,
    /// Until when it is kept.
    pub drop_after: Option<String>,
    /// The tables, of a restore of some.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tables: Vec<String>,
    /// Its login role.
    pub role_name: String,
    /// Its tier.
    pub tier: String,
    /// Sessions of the tenant that were ended for it.
    pub sessions_ended: i64,
    /// Modules that the tenant has no more, or has only since, because the backup is of another time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub modules_changed: Vec<String>,
    /// Of a new tenant; known to nobody else.
    #[serde(skip)]
    pub password: Option<Password>,
    /// Whether it is stored encrypted.
    #[serde(skip)]
    pub stored: bool,
}

/// A tenant as it is to be after a restore.
#[derive(Clone)]
struct Becoming {
    template: Template,
    objects: ModuleObjects,
    audit: Audit,
    limits: Limits,
    role: String,
    major: i32,
    /// Its registry row says that its writes are frozen.
    frozen: bool,
    /// The backup's modules that this template has; it has all of them.
    modules: Vec<String>,
    hypertables: Vec<String>,
}

impl Becoming {
    fn wanted<'a>(&'a self, schema: &'a str) -> Wanted<'a> {
        Wanted {
            schema,
            role: &self.role,
            objects: &self.objects,
            bulk_load: &self.template.bulk_load,
            audit: &self.audit,
            limits: &self.limits,
            major: self.major,
            recount: false,
            frozen: self.frozen,
        }
    }

    fn origin(&self) -> plans::Origin<'_> {
        plans::Origin {
            template: &self.template.name,
            version: self.template.version,
            modules: &self.modules,
            hypertables: &self.hypertables,
            audit: &self.audit,
        }
    }
}

/// A backup that was checked, about to be loaded.
struct Checked {
    stage: Stage,
    scripts: Scripts,
    timescaledb: Option<String>,
    restore: Uuid,
}

impl Restorer {
    /// Restores a backup. Everything of the backup is checked before anything is changed.
    ///
    /// # Errors
    /// Whatever kept it from being done. The tenant is as it was then, unless the error is an uncertain one.
    pub async fn restore(&self, source: &Source, target: &Target, ledger: Option<&Ledger>) -> Result<Restored> {
        let started = Instant::now();
        let mut restored = self
            .locked(target.id(), self.restore_locked(source, target, ledger))
            .await?;
        restored.duration_ms = milliseconds(started);
        Ok(restored)
    }

    /// Does something under a tenant's lock, once what restores of it that died have left is cleared away.
    async fn locked<T>(&self, tenant: &TenantId, work: impl Future<Output = Result<T>>) -> Result<T> {
        let lock = TenantLock::take(&self.connector, tenant).await?;
        let result = match lock.clear_dead_restores(&self.connector).await {
            Ok(_) => work.await,
            Err(error) => Err(error),
        };
        if let Err(error) = lock.release().await {
            tracing::info!(%error, "the tenant's lock is released with its session");
        }
        result
    }

    async fn restore_locked(&self, source: &Source, target: &Target, ledger: Option<&Ledger>) -> Result<Restored> {
        let session = self.connector.connect().await?;
        if let Target::Replace(row) | Target::Tables(row, _) = target {
            self.refuse_what_cannot_be(&session, row).await?;
        }
        let checked = self.check(&session, source, false).await?;
        let becoming = self.becoming(&session, source, target, true).await?;
        let tables = match target {
            Target::Tables(_, tables) => tables.as_slice(),
            _ => &[],
        };
        let staged = Staged {
            restore: checked.restore,
            schema: checked.stage.schema.clone(),
        };
        let result = match self.begin(&session, source, target, tables, &checked).await {
            Ok(()) => {
                self.load_and_apply(&session, source, target, checked, &becoming, ledger)
                    .await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = &result
            && !error.is_uncertain()
        {
            self.abandon(&staged, Some(error)).await;
        }
        result
    }

    /// The plan of a restore, as far as it can be known before the backup is loaded.
    ///
    /// # Errors
    /// As [`Restorer::restore`], for what is wrong before anything is changed.
    pub async fn plan(&self, session: &Session, source: &Source, target: &Target) -> Result<Vec<Plan>> {
        if let Target::Replace(row) | Target::Tables(row, _) = target {
            self.refuse_what_cannot_be(session, row).await?;
        }
        let checked = self.check(session, source, false).await?;
        let becoming = self.becoming(session, source, target, false).await?;
        let staging = &checked.stage.schema;
        let now = Observed::fresh(&becoming.objects);
        let begin = plans::begin(&plans::Begin {
            restore: checked.restore,
            id: target.id(),
            backup: source.manifest.backup_id.as_str(),
            kind: target.kind(),
            tables: match target {
                Target::Tables(_, tables) => tables,
                _ => &[],
            },
            staging,
            timeout: self.timeout,
            lock_timeout: self.lock_timeout,
        });
        let last = match target {
            Target::Replace(row) => {
                let live = standard::read_one(session, row.schema_name.as_str(), &row.role_name).await?;
                self.swap_plan(
                    row,
                    &becoming,
                    staging,
                    &now,
                    live.as_ref(),
                    Uuid::new_v4(),
                    self.close(&checked, source),
                )
                .1
            }
            Target::Tables(row, tables) => {
                let named = self.named_tables(session, source, row, tables).await?;
                let becoming = self.as_it_is(session, row).await?;
                self.tables_plan(
                    session,
                    row,
                    &becoming,
                    &named,
                    staging,
                    self.close(&checked, source),
                    Uuid::new_v4(),
                )
                .await?
                .1
            }
            Target::New(new) => {
                let identity = self.identity(session, new).await?;
                self.new_plan(
                    new,
                    &becoming.of(&identity.schema),
                    staging,
                    &now,
                    &identity,
                    checked.restore,
                    source.manifest.rows,
                    Uuid::new_v4(),
                )
            }
        };
        Ok(vec![begin, last])
    }

    fn close(&self, checked: &Checked, source: &Source) -> plans::Close<'static> {
        plans::Close::Restore {
            restore: checked.restore,
            rows: source.manifest.rows,
        }
    }

    /// What would make the last step fail is said before the first.
    async fn refuse_what_cannot_be(&self, session: &Session, row: &TenantRow) -> Result<()> {
        row.refuse_dropping()?;
        let remains = tenants::remains(session, &[row])
            .await?
            .remove(&row.tenant_id)
            .unwrap_or_default();
        if remains.role.is_none() {
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("role {} of tenant {} does not exist", row.role_name, row.tenant_id),
            )
            .with_hint("`tenantctl validate` tells how it is made again; then restore."));
        }
        let schema = row.schema_name.as_str();
        match tenants::outside_dependants(session, &[schema]).await?.remove(schema) {
            None => Ok(()),
            Some(objects) => Err(Error::new(
                ErrorKind::InUse,
                format!("objects outside the schema of tenant {} depend on it", row.tenant_id),
            )
            .with_cause(objects.join(", "))
            .with_hint("They would go on with what is replaced. Drop them, restore, and make them again.")),
        }
    }

    /// Reads all of the backup and proves it whole.
    async fn check(&self, session: &Session, source: &Source, drill: bool) -> Result<Checked> {
        let manifest = &source.manifest;
        if manifest.is_encrypted() && self.identities.is_empty() {
            return Err(Error::usage(format!("backup {} is encrypted", manifest.backup_id))
                .with_hint("--identity or TENANTCTL_IDENTITY names the file with a private key that opens it."));
        }
        if manifest.server.version_num / 10_000 > session.server().major()
            && manifest.structure.source == DdlSource::PgDump
        {
            tracing::warn!(
                backup = %manifest.backup_id,
                "the backup is of PostgreSQL {}, this server is older",
                manifest.server.version
            );
        }
        let timescaledb = catalog::timescaledb_schema(session).await?;
        if timescaledb.is_none() && !manifest.hypertables.is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "backup {} has hypertables, and this database has no timescaledb",
                    manifest.backup_id
                ),
            )
            .with_hint("CREATE EXTENSION timescaledb; in this database first."));
        }
        let stage = Stage {
            connector: self.connector.clone(),
            store: Arc::clone(&source.store),
            identities: Arc::clone(&self.identities),
            manifest: Arc::clone(manifest),
            schema: plans::staging_name(drill, &random_hex(NAME_BYTES)),
            jobs: self.jobs.max(1),
            memory: self.maintenance_work_mem.clone(),
            counters: Arc::clone(&self.counters),
            interrupt: self.interrupt.clone(),
            only: None,
        };
        let checked = async {
            stage::check_members(&source.store, manifest, self.jobs).await?;
            stage.scripts().await
        };
        let scripts = tokio::select! {
            scripts = checked => scripts?,
            () = self.interrupt.times(1) => return Err(Error::interrupted()),
        };
        Ok(Checked {
            stage,
            scripts,
            timescaledb,
            restore: Uuid::new_v4(),
        })
    }

    async fn becoming(&self, session: &Session, source: &Source, target: &Target, keep: bool) -> Result<Becoming> {
        let manifest = &source.manifest;
        let template = self.template(session, source, keep).await?;
        let modules = template
            .modules
            .iter()
            .filter(|m| manifest.template.modules.contains(&m.name));
        let objects: ModuleObjects = modules.map(|m| &m.objects).collect();
        let audit = (self.audited)(&objects)?;
        let (role, limits, frozen) = match target {
            Target::Replace(row) | Target::Tables(row, _) => (
                row.role_name.clone(),
                row.limits.clone(),
                row.writes_frozen_at.is_some(),
            ),
            // Its name is decided when its password is made.
            Target::New(new) => (String::new(), new.limits.clone(), false),
        };
        Ok(Becoming {
            objects,
            audit,
            limits,
            role,
            major: session.server().major(),
            frozen,
            modules: manifest.template.modules.clone(),
            hypertables: manifest.hypertables.iter().map(|h| h.time.table.clone()).collect(),
            template,
        })
    }

    /// The template that the backup's tenant was made from, as this registry has it. One that it has never known it learns
    /// from the backup; for a plan, nothing of that stays.
    async fn template(&self, session: &Session, source: &Source, keep: bool) -> Result<Template> {
        let origin = &source.manifest.template;
        let found = match template::known_as(session, &origin.name, &origin.sha256).await? {
            Some(version) => template::version(session, &origin.name, Some(version)).await?,
            None => {
                let theirs = self.template_of(source).await?;
                let accept = |objects: &ModuleObjects| (self.audited)(objects).map(drop);
                installer::learn(session, &theirs, &accept, self.lock_timeout, keep).await?
            }
        };
        found.ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the registry lacks template {} of backup {}",
                    origin.name, source.manifest.backup_id
                ),
            )
        })
    }

    /// The template that lies in the backup.
    async fn template_of(&self, source: &Source) -> Result<Template> {
        let manifest = &source.manifest;
        let member = manifest.member(TEMPLATE)?;
        let reader = MemberReader::open(source.store.as_ref(), &manifest.backup_id, member, &self.identities).await?;
        from_json(&reader.text().await?, &manifest.template.sha256)
    }

    async fn begin(
        &self,
        session: &Session,
        source: &Source,
        target: &Target,
        tables: &[String],
        checked: &Checked,
    ) -> Result<()> {
        let plan = plans::begin(&plans::Begin {
            restore: checked.restore,
            id: target.id(),
            backup: source.manifest.backup_id.as_str(),
            kind: target.kind(),
            tables,
            staging: &checked.stage.schema,
            timeout: self.timeout,
            lock_timeout: self.lock_timeout,
        });
        apply(session, &plan).await.map_err(|failure| failure.error)
    }

    async fn load_and_apply(
        &self,
        session: &Session,
        source: &Source,
        target: &Target,
        mut checked: Checked,
        becoming: &Becoming,
        ledger: Option<&Ledger>,
    ) -> Result<Restored> {
        let close = self.close(&checked, source);
        let named = match target {
            Target::Tables(row, tables) => {
                let named = self.named_tables(session, source, row, tables).await?;
                checked.stage.only = Some(named.tables.iter().map(|t| t.name.clone()).collect());
                named
            }
            _ => Named::default(),
        };
        let staging = checked.stage.schema.clone();
        let rows = checked
            .stage
            .load(checked.scripts, checked.timescaledb.as_deref())
            .await?;
        let mut becoming = becoming.clone();
        let row = match target {
            Target::Replace(row) | Target::Tables(row, _) => Some(still_there(session, row).await?),
            Target::New(_) => None,
        };
        if let Some(row) = &row {
            becoming.follow(row);
        }
        if let (Target::Tables(..), Some(row)) = (target, &row) {
            return self
                .put_tables(session, source, row, &named, &staging, close, rows)
                .await;
        }
        self.complete(session, &staging, &becoming, &source.manifest).await?;
        self.verify(session, &staging, &source.manifest, rows).await?;
        if self.interrupt.requested() {
            return Err(Error::interrupted());
        }
        match (target, &row) {
            (Target::New(new), _) => {
                self.make(session, source, new, &becoming, &staging, checked.restore, rows, ledger)
                    .await
            }
            (_, Some(row)) => self.put(session, source, row, becoming, &staging, close, rows).await,
            (_, None) => Err(Error::new(ErrorKind::Unknown, "a tenant that is there has a row")),
        }
    }

    /// What tenantctl adds to every tenant, and counts that limits need, while nobody waits.
    async fn complete(&self, session: &Session, staging: &str, becoming: &Becoming, manifest: &Manifest) -> Result<()> {
        self.add_standard(session, staging).await?;
        let wanted = becoming.wanted(staging);
        let uncounted = plans::uncounted(&wanted, &manifest.tenant.limits);
        self.count(session, &wanted, &uncounted).await
    }

    /// Tables and functions of tenantctl's own, as far as the backup has none.
    async fn add_standard(&self, session: &Session, staging: &str) -> Result<()> {
        let now = self.observe(session, staging, "").await?;
        let wanted = Wanted {
            schema: staging,
            role: "",
            objects: &ModuleObjects::default(),
            bulk_load: &BTreeSet::new(),
            audit: &Audit::new(),
            limits: &Limits::at_most(1),
            major: session.server().major(),
            recount: false,
            frozen: false,
        };
        let parts = schema_parts(&wanted, &now);
        if parts.before.is_empty() {
            return Ok(());
        }
        let mut plan = Plan::new("add what every tenant has", self.timeout, self.lock_timeout);
        plan.step("work as the owner", pin(staging));
        for (what, sql) in parts.before {
            plan.step(what, sql);
        }
        apply(session, &plan).await.map_err(|failure| failure.error)
    }

    async fn count(&self, session: &Session, wanted: &Wanted<'_>, tables: &BTreeSet<&str>) -> Result<()> {
        if tables.is_empty() {
            return Ok(());
        }
        let plan = plans::recount(wanted, tables, self.lock_timeout);
        apply(session, &plan).await.map_err(|failure| failure.error)
    }

    async fn observe(&self, session: &Session, schema: &str, role: &str) -> Result<Observed> {
        standard::read_one(session, schema, role)
            .await?
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("schema {schema} is gone")))
    }

    /// Structure and rows are those of the backup.
    async fn verify(&self, session: &Session, staging: &str, manifest: &Manifest, rows: u64) -> Result<()> {
        let id = &manifest.backup_id;
        if rows != manifest.rows {
            return Err(Error::new(
                ErrorKind::Store,
                format!("{rows} rows were loaded, and backup {id} has {}", manifest.rows),
            ));
        }
        let structure = &manifest.structure;
        let (shape, whole) = ddl::structure(session, staging, &manifest.tenant.schema_name).await?;
        let same_major = manifest.server.version_num / 10_000 == session.server().major();
        let same = if structure.source == DdlSource::Template && same_major {
            whole == structure.sha256
        } else {
            shape == structure.shape_sha256
        };
        if same {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("what was loaded of backup {id} is not built as the tenant was"),
        )
        .with_cause("the fingerprints of the two structures differ")
        .with_hint(
            "Nothing was changed. Report this as a defect of tenantctl; the README tells how to restore by hand.",
        ))
    }

    /// Drops a schema that is of no use any more; what cannot be dropped now is for the next run.
    async fn abandon(&self, staged: &Staged, error: Option<&Error>) {
        let plan = plans::give_up(
            staged.restore,
            &staged.schema,
            error.is_none(),
            error.map(Error::id),
            // Of all that may hold locks in it some is only about to end.
            self.timeout.max(Duration::from_secs(30)),
            self.lock_timeout.max(Duration::from_secs(10)),
        );
        for attempt in 0..3 {
            let dropped = async {
                let session = self.connector.connect().await?;
                let claims = vec![Claim::OfRestore(&staged.schema)];
                if let Some(many) = Clearing::of(&session, claims, self.timeout, self.lock_timeout).await? {
                    many.run(&session, None, |_| ()).await?;
                }
                apply(&session, &plan).await.map_err(|failure| failure.error)
            };
            match dropped.await {
                Ok(()) => return,
                // Somebody has closed its row before us, and dropped it.
                Err(error) if error.sqlstate() == Some(plans::CHANGED_MEANWHILE) => return,
                Err(error) => {
                    tracing::info!(%error, cause = error.cause(), attempt, "schema {} is not dropped yet", staged.schema)
                }
            }
            tokio::time::sleep(Duration::from_millis(300)).await;
        }
        tracing::warn!(
            "schema {} is left; the next backup or restore of the tenant drops it",
            staged.schema
        );
    }

    /// Names and password of a new tenant. Its schema keeps the name that it had, unless that is taken.
    async fn identity(&self, session: &Session, new: &NewTenant) -> Result<Identity> {
        let mut identity = Identity::new(&new.id, &self.recipients)?;
        if let Some(salt) = &new.salt {
            let schema = SchemaName::derive(&new.id, salt);
            let sql = Sql::new("SELECT pg_catalog.to_regnamespace(")
                .literal(schema.as_str())
                .text(") IS NULL AND pg_catalog.to_regrole(")
                .literal(&schema.role())
                .text(") IS NULL AS free");
            let row = session
                .query_one(&sql, &[], "look for the tenant's schema and role")
                .await?;
            if column(&row, "free")? {
                identity.salt = salt.clone();
                identity.schema = schema;
            }
        }
        Ok(identity)
    }

    #[expect(clippy::too_many_arguments, reason = "each is a thing of its own")]
    fn new_plan(
        &self,
        new: &NewTenant,
        becoming: &Becoming,
        staging: &str,
        now: &Observed,
        identity: &Identity,
        restore: Uuid,
        rows: u64,
        operation: Uuid,
    ) -> Plan {
        plans::new_tenant(&plans::NewTenant {
            id: &new.id,
            salt: &identity.salt,
            schema: &identity.schema,
            tier: &new.tier,
            limits: &new.limits,
            staging,
            now,
            wanted: becoming.wanted(identity.schema.as_str()),
            origin: becoming.origin(),
            verifier: &identity.verifier,
            stored: identity.sealed.as_ref().map(|sealed| Stored {
                ciphertext: &sealed.ciphertext,
                recipients: &sealed.recipients,
            }),
            restore,
            rows,
            operation,
            timeout: self.timeout,
            lock_timeout: self.lock_timeout,
        })
    }
}

impl Becoming {
    /// What only the registry decides, as it says now.
    fn follow(&mut self, row: &TenantRow) {
        self.limits = row.limits.clone();
        self.frozen = row.writes_frozen_at.is_some();
    }

    /// The same with another schema's name.
    fn of(&self, schema: &SchemaName) -> Self {
        Self {
            role: schema.role(),
            ..self.clone()
        }
    }
}

/// The tenant's row again, once the backup is loaded: `secure` may have given it other limits meanwhile.
async fn still_there(session: &Session, row: &TenantRow) -> Result<TenantRow> {
    let now = tenants::find_one(session, &row.tenant_id).await?;
    if now.schema_name == row.schema_name {
        now.refuse_dropping()?;
        return Ok(now);
    }
    Err(Error::new(
        ErrorKind::NotFound,
        format!("tenant {} was dropped by somebody else meanwhile", row.tenant_id),
    )
    .with_cause(format!("the one of that name now has schema {}", now.schema_name))
    .with_hint("Nothing was changed."))
}

/// A schema that was begun.
struct Staged {
    restore: Uuid,
    schema: String,
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

/// The modules that one has and the other has not.
fn modules_changed(old: &[String], new: &[String]) -> Vec<String> {
    let gone = old.iter().filter(|m| !new.contains(m)).map(|m| format!("-{m}"));
    let come = new.iter().filter(|m| !old.contains(m)).map(|m| format!("+{m}"));
    gone.chain(come).collect()
}

/// Until when a schema of a restore is kept, as the registry has it.
async fn drop_after(session: &Session, tenant: &TenantId, schema: &str) -> Option<String> {
    let rows = restores::with_schemas(session, &[tenant]).await.ok()?;
    rows.into_iter()
        .find(|row| row.replaced_schema.as_deref() == Some(schema))
        .and_then(|row| row.drop_after)
}
