//! What restores have replaced: put back, or dropped.

use std::time::Instant;

use uuid::Uuid;

use super::apply::{ATTEMPTS, restored};
use super::{Becoming, Restored, Restorer, drop_after, milliseconds, modules_changed, still_there};
use crate::catalog::restores::{self, KeptSchema, KeptSequences, RestoreRow};
use crate::catalog::tenants::{self, TenantRow};
use crate::catalog::{standard, template};
use crate::chunks::Clearing;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::apply::apply;
use crate::pg::session::Session;
use crate::plan::Plan;
use crate::plan::chunks::Claim;
use crate::plan::restore::{self as plans, SequenceState};
use crate::tenant::{ModuleObjects, TenantId};

impl Restorer {
    /// Puts back what the latest restore of a tenant has replaced. What that had brought is kept in its turn, so that undoing
    /// twice changes nothing.
    ///
    /// # Errors
    /// Kind `not_found` when nothing is kept; otherwise as [`Restorer::restore`].
    pub async fn undo(&self, row: &TenantRow) -> Result<Restored> {
        let started = Instant::now();
        let mut done = self.locked(&row.tenant_id, self.undo_locked(row)).await?;
        done.duration_ms = milliseconds(started);
        Ok(done)
    }

    async fn undo_locked(&self, row: &TenantRow) -> Result<Restored> {
        let session = self.connector.connect().await?;
        self.refuse_what_cannot_be(&session, row).await?;
        let last = latest(&session, &row.tenant_id).await?;
        match &last.tables {
            None => self.undo_schema(&session, row, &last).await,
            Some(tables) => self.undo_tables(&session, row, &last, tables).await,
        }
    }

    /// The plan of [`Restorer::undo`].
    ///
    /// # Errors
    /// As there.
    pub async fn undo_plan(&self, session: &Session, row: &TenantRow) -> Result<Plan> {
        self.refuse_what_cannot_be(session, row).await?;
        let last = latest(session, &row.tenant_id).await?;
        let operation = Uuid::new_v4();
        match &last.tables {
            None => Ok(self.schema_back(session, row, &last, operation, false).await?.1),
            Some(tables) => Ok(self.tables_back(session, row, &last, tables, operation).await?.1),
        }
    }

    async fn undo_schema(&self, session: &Session, row: &TenantRow, last: &RestoreRow) -> Result<Restored> {
        let mut row = row.clone();
        let mut attempt = 0;
        let (replaced, becoming, applied) = loop {
            attempt += 1;
            let operation = Uuid::new_v4();
            let (replaced, plan, becoming) = self.schema_back(session, &row, last, operation, true).await?;
            match self.apply(session, &row, &plan, operation).await {
                Ok(applied) => break (replaced, becoming, applied),
                // Frozen or thawed since the row was read.
                Err(error) if attempt < ATTEMPTS && error.sqlstate() == Some(plans::CHANGED_MEANWHILE) => {
                    row = still_there(session, &row).await?;
                }
                Err(error) => return Err(error),
            }
        };
        let row = &row;
        // It is done by now, whatever becomes of this question.
        let there = standard_is_there(session, &replaced).await.unwrap_or(true);
        Ok(Restored {
            drop_after: drop_after(session, &row.tenant_id, &replaced).await,
            replaced_schema: there.then_some(replaced),
            modules_changed: modules_changed(&row.modules, &becoming.modules),
            ..restored(row, last.backup_id.clone(), "undo", 0, &applied)
        })
    }

    async fn schema_back(
        &self,
        session: &Session,
        row: &TenantRow,
        last: &RestoreRow,
        operation: Uuid,
        count: bool,
    ) -> Result<(String, Plan, Becoming)> {
        let incoming = last.replaced_schema.clone().unwrap_or_default();
        let was: KeptSchema = restores::kept(last)?;
        let template = template::version(session, &was.template, Some(was.template_version))
            .await?
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "the registry lacks version {} of template {}",
                        was.template_version, was.template
                    ),
                )
            })?;
        let modules = template.modules.iter().filter(|m| was.modules.contains(&m.name));
        let objects: ModuleObjects = modules.map(|m| &m.objects).collect();
        let becoming = Becoming {
            audit: (self.audited)(&objects)?,
            objects,
            limits: row.limits.clone(),
            role: row.role_name.clone(),
            major: session.server().major(),
            frozen: row.writes_frozen_at.is_some(),
            modules: was.modules,
            hypertables: was.hypertables,
            template,
        };
        let now = self.observe(session, &incoming, &row.role_name).await?;
        // Limits that came since have nobody who has counted for them.
        let wanted = becoming.wanted(&incoming);
        let uncounted = plans::without_counters(&wanted, &now);
        if count {
            self.count(session, &wanted, &uncounted).await?;
        }
        let live = standard::read_one(session, row.schema_name.as_str(), &row.role_name).await?;
        let close = plans::Close::Undo {
            restore: Uuid::new_v4(),
            undone: last.restore_id,
            backup: last.backup_id.as_deref(),
            tables: &[],
        };
        let (replaced, plan) = self.swap_plan(row, &becoming, &incoming, &now, live.as_ref(), operation, close);
        Ok((replaced, plan, becoming))
    }

    async fn undo_tables(
        &self,
        session: &Session,
        row: &TenantRow,
        last: &RestoreRow,
        tables: &[String],
    ) -> Result<Restored> {
        let operation = Uuid::new_v4();
        let (replaced, plan) = self.tables_back(session, row, last, tables, operation).await?;
        let applied = self
            .apply(session, row, &plan, operation)
            .await
            .map_err(super::tables::explain)?;
        Ok(Restored {
            drop_after: drop_after(session, &row.tenant_id, &replaced).await,
            replaced_schema: Some(replaced),
            tables: tables.to_vec(),
            ..restored(row, last.backup_id.clone(), "undo", 0, &applied)
        })
    }

    async fn tables_back(
        &self,
        session: &Session,
        row: &TenantRow,
        last: &RestoreRow,
        tables: &[String],
        operation: Uuid,
    ) -> Result<(String, Plan)> {
        let incoming = last.replaced_schema.clone().unwrap_or_default();
        let was: KeptSequences = restores::kept(last)?;
        let sequences = was.sequences.into_iter().map(|s| SequenceState {
            name: s.name,
            last_value: s.last_value,
            is_called: s.is_called,
        });
        let becoming = self.as_it_is(session, row).await?;
        let named = self.contents_of(session, row, tables, sequences.collect()).await?;
        self.refuse_other_columns(session, &incoming, &named).await?;
        let close = plans::Close::Undo {
            restore: Uuid::new_v4(),
            undone: last.restore_id,
            backup: last.backup_id.as_deref(),
            tables,
        };
        self.tables_plan(session, row, &becoming, &named, &incoming, close, operation)
            .await
    }

    /// A tenant as it is wanted now.
    pub(super) async fn as_it_is(&self, session: &Session, row: &TenantRow) -> Result<Becoming> {
        let template = template::version(session, &row.template, Some(row.template_version))
            .await?
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Unsupported,
                    format!(
                        "the registry lacks version {} of template {}",
                        row.template_version, row.template
                    ),
                )
            })?;
        let modules = template.modules.iter().filter(|m| row.modules.contains(&m.name));
        Ok(Becoming {
            objects: modules.map(|m| &m.objects).collect(),
            audit: row.audit.clone(),
            limits: row.limits.clone(),
            role: row.role_name.clone(),
            major: session.server().major(),
            frozen: row.writes_frozen_at.is_some(),
            modules: row.modules.clone(),
            hypertables: row.hypertables.clone(),
            template,
        })
    }

    /// Drops what restores of a tenant have replaced.
    ///
    /// # Errors
    /// What the server refused. All of it is there still then, but for chunks of hypertables where there are too many for one
    /// transaction: what is left of these can only be dropped.
    pub async fn drop_replaced(&self, tenant: &TenantId, schemas: &[String]) -> Result<()> {
        self.locked(tenant, self.drop_locked(tenant, schemas)).await
    }

    async fn drop_locked(&self, tenant: &TenantId, schemas: &[String]) -> Result<()> {
        let session = self.connector.connect().await?;
        let names: Vec<&str> = schemas.iter().map(String::as_str).collect();
        let outside = tenants::outside_dependants(&session, &names).await?;
        if let Some((schema, objects)) = outside.into_iter().next() {
            return Err(Error::new(
                ErrorKind::InUse,
                format!("objects outside schema {schema} depend on it"),
            )
            .with_cause(objects.join(", "))
            .with_hint("They would go with it. Drop or change them first if that is meant."));
        }
        let claims = names.iter().map(|name| Claim::OfRestore(name)).collect();
        if let Some(many) = Clearing::of(&session, claims, self.timeout, self.lock_timeout).await? {
            let begin = plans::begin_drop_replaced(tenant, schemas, self.timeout, self.lock_timeout);
            apply(&session, &begin).await.map_err(|failure| failure.error)?;
            many.run(&session, None, |_| ()).await?;
        }
        let plan = plans::drop_replaced(tenant, schemas, self.timeout, self.lock_timeout);
        apply(&session, &plan)
            .await
            .map_err(|failure| match failure.error.sqlstate() {
                Some(plans::CHANGED_MEANWHILE) => failure
                    .error
                    .with_kind(ErrorKind::InUse)
                    .with_message(format!("what is kept of tenant {tenant} has changed meanwhile"))
                    .with_hint("Nothing was dropped. `tenantctl show` tells what is kept now."),
                _ => failure.error,
            })
    }
}

/// The latest restore of a tenant that something is kept of.
async fn latest(session: &Session, tenant: &TenantId) -> Result<RestoreRow> {
    let rows = restores::with_schemas(session, &[tenant]).await?;
    let latest = rows
        .into_iter()
        .find(|row| row.status == "done" && row.replaced_schema.is_some());
    if let Some(row) = latest.as_ref().filter(|row| row.replaced.is_none()) {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!(
                "schema {} is being dropped",
                row.replaced_schema.as_deref().unwrap_or_default()
            ),
        )
        .with_cause("a drop of what restores have replaced has begun, and did not come to its end")
        .with_hint(format!("`tenantctl restore {tenant} --drop-replaced` ends it.")));
    }
    latest.ok_or_else(|| {
        Error::new(
            ErrorKind::NotFound,
            format!("nothing is kept that a restore of tenant {tenant} has replaced"),
        )
        .with_hint("It was never restored, or what was replaced is dropped already. `tenantctl show` tells.")
    })
}

async fn standard_is_there(session: &Session, schema: &str) -> Result<bool> {
    Ok(template::schema_owner(session, schema).await?.is_some())
}
