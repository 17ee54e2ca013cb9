//! A backup restored for trial: into a schema of its own, compared with what it should be, and dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use serde::Serialize;
use tokio::task::JoinSet;

use super::stage::joined;
use super::{Restorer, Source, Staged, milliseconds};
use crate::backup::manifest::{MANIFEST, Manifest, RowFormat, damaged};
use crate::backup::parts::{self, Tally};
use crate::error::{Error, ErrorKind, Result};
use crate::pg::apply::apply;
use crate::pg::session::Session;
use crate::pg::sql::Sql;
use crate::plan::restore as plans;

/// A trial that went well.
#[derive(Clone, Debug, Serialize)]
pub struct Drill {
    /// Tables whose rows and contents were found equal.
    pub tables: usize,
    /// Rows of all of them.
    pub rows: u64,
    /// From the first check to the last, in milliseconds.
    pub duration_ms: f64,
}

impl Restorer {
    /// Restores a backup into a schema of its own, compares structure, numbers of rows and contents, and drops it again.
    /// The tenant need not be there any more, and is not touched if it is.
    ///
    /// # Errors
    /// Kind `store` when a table's rows are not those that were backed up; otherwise as [`Restorer::restore`].
    pub async fn drill(&self, source: &Source) -> Result<Drill> {
        let started = Instant::now();
        let tenant = &source.manifest.tenant.tenant_id;
        let rows = self.locked(tenant, self.drill_locked(source)).await?;
        Ok(Drill {
            tables: source.manifest.tables.len(),
            rows,
            duration_ms: milliseconds(started),
        })
    }

    async fn drill_locked(&self, source: &Source) -> Result<u64> {
        let manifest = &source.manifest;
        let tenant = &manifest.tenant.tenant_id;
        let session = self.connector.connect().await?;
        let checked = self.check(&session, source, true).await?;
        let staged = Staged {
            restore: checked.restore,
            schema: checked.stage.schema.clone(),
        };
        let plan = plans::begin(&plans::Begin {
            restore: checked.restore,
            id: tenant,
            backup: manifest.backup_id.as_str(),
            kind: "drill",
            tables: &[],
            staging: &checked.stage.schema,
            timeout: self.timeout,
            lock_timeout: self.lock_timeout,
        });
        let compared = async {
            apply(&session, &plan).await.map_err(|failure| failure.error)?;
            let (stage, timescaledb) = (checked.stage, checked.timescaledb);
            let rows = stage.load(checked.scripts, timescaledb.as_deref()).await?;
            self.add_standard(&session, &staged.schema).await?;
            self.verify(&session, &staged.schema, manifest, rows).await?;
            stage.compare_contents().await?;
            Ok(rows)
        };
        let result = compared.await;
        self.abandon(&staged, result.as_ref().err()).await;
        result
    }
}

impl super::stage::Stage {
    /// Reads every table again, and compares with what was read when it was backed up.
    async fn compare_contents(&self) -> Result<()> {
        let units = units(&self.manifest)?;
        let sessions = self.jobs.min(units.len());
        let units = Arc::new(Mutex::new(units));
        let mut readers = JoinSet::new();
        for _ in 0..sessions {
            let (stage, units) = (self.clone(), Arc::clone(&units));
            readers.spawn(async move {
                let session = stage.open().await?;
                loop {
                    let next = units.lock().unwrap_or_else(PoisonError::into_inner).pop();
                    let Some(unit) = next else { return Ok(()) };
                    compare(&stage, &session, &unit).await?;
                }
            });
        }
        tokio::select! {
            compared = joined(readers) => compared,
            () = self.interrupt.times(1) => Err(Error::interrupted()),
        }
    }
}

/// What is compared as one: a table, or the partitions that rows may have changed between.
struct Unit {
    name: String,
    /// Its rows are in tables below it.
    spread: bool,
    columns: Vec<String>,
    format: RowFormat,
    rows: u64,
    checksum: u128,
}

fn units(manifest: &Manifest) -> Result<Vec<Unit>> {
    let mut units: BTreeMap<&str, Unit> = BTreeMap::new();
    for table in &manifest.tables {
        let checksum = u128::from_str_radix(&table.checksum, 16)
            .map_err(|e| damaged(&manifest.backup_id, MANIFEST, "it has a checksum that is none").with_cause(e))?;
        let name = table.through.as_ref().unwrap_or(&table.name);
        let unit = units.entry(name).or_insert_with(|| Unit {
            name: name.clone(),
            spread: table.through.is_some() || manifest.hypertables.iter().any(|h| h.time.table == *name),
            columns: table.columns.clone(),
            format: table.format,
            rows: 0,
            checksum: 0,
        });
        unit.rows += table.rows;
        unit.checksum = unit.checksum.wrapping_add(checksum);
    }
    Ok(units.into_values().collect())
}

async fn compare(stage: &super::stage::Stage, session: &Session, table: &Unit) -> Result<()> {
    let sql = parts::copy_sql(
        &stage.schema,
        &table.name,
        &table.columns,
        table.format,
        None,
        table.spread,
    );
    let doing = format!("read table {} again", table.name);
    let failed = |why| Error::new(ErrorKind::Unknown, format!("failed to {doing}")).with_cause(why);
    if table.format == RowFormat::Text {
        let money = Sql::new("SET lc_monetary = 'C'");
        session.batch(&money, "read money as it was written").await?;
    }
    let mut copy = session.copy_out(&sql, &doing).await?;
    let mut tally = Tally::new(table.format);
    while let Some(message) = copy.next().await? {
        tally.add(&message).map_err(failed)?;
    }
    tally.finish().map_err(failed)?;
    let (rows, checksum) = (tally.rows, tally.checksum);
    if rows == table.rows && checksum == table.checksum {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Store,
        format!(
            "table {} of backup {} does not come back as it was",
            table.name, stage.manifest.backup_id
        ),
    )
    .with_cause(format!(
        "{rows} rows with checksum {checksum:032x}, where {} with {:032x} were backed up",
        table.rows, table.checksum
    )))
}
