//! A cluster that has nothing, from what lies in a store: template, registry rows, roles, tenants.

use std::sync::Arc;

use serde::Serialize;

use super::{NewTenant, Restored, Restorer, Source, Target, in_store, newest, open};
use crate::backup::manifest::TENANTS;
use crate::catalog::tenants;
use crate::credentials::ledger::Ledger;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::apply::apply;
use crate::pg::session::Session;
use crate::plan::backup::{FoundBackup, register_backups};
use crate::store::Store;
use crate::tenant::TenantId;

/// Rows of backups that are written at a time.
const ROWS: usize = 500;

/// What became of one tenant of a store.
#[derive(Debug, Serialize)]
pub struct Rebuilt {
    /// The tenant.
    pub tenant_id: TenantId,
    /// What became of it; none: it was there already.
    pub restored: Option<Restored>,
    /// Its backups that the registry knows of now.
    pub backups: usize,
    /// Its backups in the store that are not whole, with what is wrong with each.
    pub damaged: Vec<String>,
}

/// The tenants that have backups in a store, by id.
///
/// # Errors
/// Kind `store`.
pub async fn tenants_in(store: &dyn Store) -> Result<Vec<TenantId>> {
    let folders = store.folders(TENANTS).await?;
    let mut ids: Vec<TenantId> = folders.iter().filter_map(|name| name.parse().ok()).collect();
    ids.sort();
    Ok(ids)
}

impl Restorer {
    /// Makes a tenant anew from its newest backup in a store, under the schema name, tier and limits that it had, and writes
    /// all its backups into the registry. A tenant that is there already keeps what it has.
    ///
    /// # Errors
    /// As [`Restorer::restore`]; kind `not_found` when the store has no whole backup of it.
    pub async fn rebuild(
        &self,
        session: &Session,
        store: &Arc<dyn Store>,
        tenant: &TenantId,
        ledger: Option<&Ledger>,
    ) -> Result<Rebuilt> {
        let mut whole: Vec<Source> = Vec::new();
        let mut damaged = Vec::new();
        for id in in_store(store.as_ref(), tenant).await? {
            match open(Arc::clone(store), &id, None).await {
                Ok(source) => whole.push(source),
                // Begun and never finished.
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => damaged.push(error.one_line()),
            }
        }
        let there = tenants::existing(session, &[tenant]).await?.remove(tenant);
        if let Some(row) = &there {
            // What is left of it is not what it was.
            row.refuse_dropping()?;
        }
        let restored = if there.is_some() {
            None
        } else {
            let source = match whole.first() {
                Some(source) => source,
                None => &newest(store, tenant).await.map_err(|error| {
                    if damaged.is_empty() {
                        error
                    } else {
                        Error::new(ErrorKind::Store, format!("no backup of tenant {tenant} is whole"))
                            .with_cause(damaged.join("; "))
                    }
                })?,
            };
            let schema = &source.manifest.tenant.schema_name;
            if whole.iter().any(|other| other.manifest.tenant.schema_name != *schema) {
                tracing::warn!(
                    backup = %source.manifest.backup_id,
                    "the store has backups of more than one tenant called {tenant}, such as those of other databases; the newest of all is taken"
                );
            }
            Some(self.restore(source, &Target::New(as_it_was(source)), ledger).await?)
        };
        for some in whole.chunks(ROWS) {
            let prefixes: Vec<String> = some.iter().map(|s| s.manifest.backup_id.prefix()).collect();
            let found: Vec<FoundBackup<'_>> = some
                .iter()
                .zip(&prefixes)
                .map(|(source, key)| found(source, key))
                .collect();
            let plan = register_backups(&found, self.timeout, self.lock_timeout);
            apply(session, &plan).await.map_err(|failure| failure.error)?;
        }
        Ok(Rebuilt {
            tenant_id: tenant.clone(),
            restored,
            backups: whole.len(),
            damaged,
        })
    }
}

/// The tenant that a backup is of, to be made again.
pub(super) fn as_it_was(source: &Source) -> NewTenant {
    let tenant = &source.manifest.tenant;
    NewTenant {
        id: tenant.tenant_id.clone(),
        salt: Some(tenant.salt.clone()),
        tier: tenant.tier.clone(),
        limits: tenant.limits.clone(),
    }
}

impl Source {
    /// The tenant that the backup is of, to be made again as it was.
    pub fn tenant(&self) -> NewTenant {
        as_it_was(self)
    }
}

fn found<'a>(source: &'a Source, key: &'a str) -> FoundBackup<'a> {
    let manifest = &source.manifest;
    FoundBackup {
        backup: manifest.backup_id.as_str(),
        tenant: &manifest.tenant.tenant_id,
        schema: &manifest.tenant.schema_name,
        backup_type: &manifest.backup_type,
        store: source.store.url(),
        key,
        created_at: &manifest.created_at,
        expires_at: &manifest.expires_at,
        raw_bytes: manifest.raw_bytes,
        stored_bytes: manifest.stored_bytes,
        rows: manifest.rows,
        duration_ms: manifest.duration_ms,
        manifest_sha256: &source.manifest_sha256,
        encrypted: manifest.is_encrypted(),
        from_replica: manifest.server.replica,
    }
}
