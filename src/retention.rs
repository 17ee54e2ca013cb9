//! Drops the chunks of hypertables that a tier keeps no longer.

use std::time::Duration;

use serde::Serialize;

use crate::catalog;
use crate::catalog::chunks::{self, Wanted};
use crate::catalog::template::Known;
use crate::catalog::tenants::TenantRow;
use crate::chunks::{drain, explain};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::fleet::Work;
use crate::interrupt::Interrupt;
use crate::pg::session::{Connector, Session};
use crate::plan::chunks::HypertableChunks;
use crate::plan::retention::{Expired, plan};
use crate::plan::{CHANGED_MEANWHILE, Plan};
use crate::tenant::{ModuleObjects, TenantId};

/// Tenants whose chunks are read at a time.
const BATCH: usize = 500;

/// Drops what is kept no longer, in one database.
#[derive(Clone)]
pub struct Retention {
    /// Opens sessions as the admin.
    pub connector: Connector,
    /// Whether the user wants to stop: no batch is begun after that.
    pub interrupt: Interrupt,
    /// Limit of each transaction.
    pub timeout: Duration,
    /// Limit for each wait on a lock.
    pub lock_timeout: Duration,
    /// The schema of the timescaledb extension.
    pub extension: String,
    /// Locks that one transaction may take.
    pub budget: u64,
}

/// A hypertable that the configuration keeps for a time.
#[derive(Clone, Debug)]
pub struct KeptTable {
    /// Its name.
    pub table: String,
    /// For how long, such as `2 years`.
    pub retention: String,
}

/// A tenant's hypertable, with what of it has expired.
#[derive(Clone, Debug)]
pub struct Old {
    /// For how long its rows are kept.
    pub retention: String,
    /// The hypertable with its expired ranges.
    pub table: HypertableChunks,
}

/// A tenant, with what the configuration keeps for a time only.
#[derive(Clone, Debug)]
pub struct Planned {
    /// The tenant.
    pub tenant: TenantRow,
    /// Its hypertables that are kept for a time.
    pub tables: Vec<Old>,
    /// Tables that would be, and are no hypertables: they are left alone.
    pub plain: Vec<KeptTable>,
}

impl Planned {
    /// Whether there is anything to drop.
    pub fn is_due(&self) -> bool {
        self.tables.iter().any(|old| !old.table.ranges.is_empty())
    }
}

/// What was dropped of a hypertable.
#[derive(Clone, Debug, Serialize)]
pub struct Dropped {
    /// The table.
    pub table: String,
    /// For how long its rows are kept.
    pub retention: String,
    /// Chunks that end after this are kept: ISO 8601 in UTC.
    pub cutoff: String,
    /// Chunks that are gone.
    pub chunks_dropped: u64,
    /// Chunks that are left.
    pub chunks_left: u64,
}

/// What became of a tenant.
#[derive(Clone, Debug, Serialize)]
pub struct Pruned {
    /// The caller's name for it.
    pub tenant_id: TenantId,
    /// Its schema.
    pub schema_name: String,
    /// Its hypertables that are kept for a time.
    pub tables: Vec<Dropped>,
}

impl Pruned {
    /// A tenant of which nothing has expired.
    pub fn nothing(planned: &Planned) -> Self {
        let tables = planned.tables.iter().map(|old| Dropped::of(old, 0));
        Self {
            tenant_id: planned.tenant.tenant_id.clone(),
            schema_name: planned.tenant.schema_name.to_string(),
            tables: tables.collect(),
        }
    }
}

impl Dropped {
    fn of(old: &Old, chunks_dropped: u64) -> Self {
        Self {
            table: old.table.table.clone(),
            retention: old.retention.clone(),
            cutoff: old.table.cutoff.clone().unwrap_or_default(),
            chunks_dropped,
            chunks_left: old.table.chunks.saturating_sub(chunks_dropped),
        }
    }
}

/// The tenants whose tier the configuration does not have although it keeps some tables for a time only: how long theirs are to be
/// kept nobody knows. It may be another cluster's configuration, or the tier was renamed in it.
pub fn of_unknown_tiers<'a>(config: &Config, tenants: &'a [TenantRow]) -> Vec<&'a TenantRow> {
    let unknown = |t: &&TenantRow| {
        let mut kept = t
            .hypertables
            .iter()
            .filter_map(|table| config.time_series(&t.tier, table)?.retention);
        !t.is_dropping() && config.tier(&t.tier).is_err() && kept.any(|r| r.interval().is_some())
    };
    tenants.iter().filter(unknown).collect()
}

/// What of tenants has expired, read set-based. Tenants of which everything is kept for ever are left out, and so are those whose
/// drop has begun and those of [unknown tiers](of_unknown_tiers).
///
/// # Errors
/// When the catalog cannot be read, or the registry lacks a template.
pub async fn observe(session: &Session, config: &Config, tenants: &[TenantRow]) -> Result<Vec<Planned>> {
    let templates = Known::default();
    let mut planned: Vec<Planned> = Vec::new();
    for tenant in tenants
        .iter()
        .filter(|t| !t.is_dropping() && config.tier(&t.tier).is_ok())
    {
        let (mut kept, mut plain) = (Vec::new(), Vec::new());
        for table in config.template.hypertables.iter().map(|h| &h.table) {
            let series = config.time_series(&tenant.tier, table).unwrap_or_default();
            let Some(retention) = series.retention.and_then(|r| r.interval().map(str::to_owned)) else {
                continue;
            };
            let table = KeptTable {
                table: table.clone(),
                retention,
            };
            if tenant.hypertables.contains(&table.table) {
                kept.push(table);
                continue;
            }
            let template = templates.of(session, tenant).await?;
            let modules = template.modules.iter().filter(|m| tenant.modules.contains(&m.name));
            let objects: ModuleObjects = modules.map(|m| &m.objects).collect();
            if objects.tables.contains(&table.table) {
                plain.push(table);
            }
        }
        if kept.is_empty() && plain.is_empty() {
            continue;
        }
        // The chunks are added below.
        let tables = kept.into_iter().map(|k| Old {
            table: HypertableChunks::unread(tenant.schema_name.as_str(), &k.table),
            retention: k.retention,
        });
        planned.push(Planned {
            tenant: tenant.clone(),
            tables: tables.collect(),
            plain,
        });
    }
    for batch in planned.chunks_mut(BATCH) {
        let olds = batch.iter().flat_map(|p| &p.tables);
        let wanted: Vec<Wanted<'_>> = olds
            .map(|old| Wanted {
                schema: &old.table.schema,
                table: Some(&old.table.table),
                older_than: Some(&old.retention),
            })
            .collect();
        let mut found = chunks::read(session, &wanted).await?;
        for old in batch.iter_mut().flat_map(|p| &mut p.tables) {
            let same = |t: &HypertableChunks| t.schema == old.table.schema && t.table == old.table.table;
            if let Some(at) = found.iter().position(same) {
                old.table = found.swap_remove(at);
            }
        }
    }
    Ok(planned)
}

impl Retention {
    fn expired<'a>(&'a self, tenant: &'a TenantRow, table: &'a HypertableChunks) -> Expired<'a> {
        Expired {
            id: &tenant.tenant_id,
            schema: &tenant.schema_name,
            tier: &tenant.tier,
            extension: &self.extension,
            table,
            timeout: self.timeout,
            lock_timeout: self.lock_timeout,
        }
    }

    /// The transactions of a tenant, in order.
    pub fn plans(&self, planned: &Planned) -> Vec<Plan> {
        let of = |old: &Old| -> Vec<Plan> {
            let batches = old.table.batches(self.budget);
            let expired = self.expired(&planned.tenant, &old.table);
            batches.iter().filter_map(|range| plan(&expired, range)).collect()
        };
        planned.tables.iter().flat_map(of).collect()
    }

    /// Drops what has expired of one hypertable. Where there are too few locks left, it goes on with smaller batches.
    async fn prune(&self, session: &Session, tenant: &TenantRow, old: &Old) -> Result<u64> {
        let go_on = || match self.interrupt.requested() {
            false => Ok(()),
            true => Err(Error::interrupted()),
        };
        let (expired, mut budget) = (self.expired(tenant, &old.table), self.budget);
        drain(
            session,
            &old.table,
            &mut budget,
            go_on,
            |range| plan(&expired, range),
            |_| {},
        )
        .await
        .map_err(|error| why(error, tenant, &old.table))
    }
}

fn why(error: Error, tenant: &TenantRow, table: &HypertableChunks) -> Error {
    let id = &tenant.tenant_id;
    match error.sqlstate() {
        Some("55P03") => error
            .with_kind(ErrorKind::InUse)
            .with_cause("a backup or restore of the tenant is under way, or a session holds a lock on its tables")
            .with_hint("Run this again later; it goes on where it stopped."),
        // The plan divides by the number of rows it locked.
        Some("22012") => error
            .with_kind(ErrorKind::NotFound)
            .with_message(format!(
                "tenant {id} was dropped or restored by somebody else meanwhile"
            ))
            .with_hint("`tenantctl list` shows what is there."),
        Some(CHANGED_MEANWHILE) => error
            .with_kind(ErrorKind::InUse)
            .with_message(format!("tenant {id} was given another tier by somebody else meanwhile"))
            .with_hint("Run this again; it keeps what the new tier keeps."),
        _ => explain(error, table),
    }
}

impl Work for Retention {
    type Item = Planned;
    type Done = Pruned;
    const OPERATION: &'static str = "retention";

    fn connector(&self) -> &Connector {
        &self.connector
    }

    fn id(item: &Planned) -> &TenantId {
        &item.tenant.tenant_id
    }

    async fn one(&self, session: &Session, item: &Planned) -> Result<Pruned> {
        let mut tables = Vec::with_capacity(item.tables.len());
        for old in &item.tables {
            let gone = self.prune(session, &item.tenant, old).await?;
            tables.push(Dropped::of(old, gone));
        }
        Ok(Pruned {
            tenant_id: item.tenant.tenant_id.clone(),
            schema_name: item.tenant.schema_name.to_string(),
            tables,
        })
    }
}

/// The schema of the timescaledb extension and the locks that one of so many transactions at a time may take; none where the
/// extension is not installed.
///
/// # Errors
/// When the server refuses the queries, or the extension's functions cannot be trusted.
pub async fn means(session: &Session, jobs: usize) -> Result<Option<(String, u64)>> {
    let Some(extension) = catalog::timescaledb_schema(session).await? else {
        return Ok(None);
    };
    let budget = chunks::lock_budget(session).await? / jobs.max(1) as u64;
    Ok(Some((extension, budget.max(1))))
}
