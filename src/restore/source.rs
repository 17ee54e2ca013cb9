//! Which backup is restored, and from where.

use std::sync::Arc;

use crate::backup::manifest::{self, BackupId, MANIFEST, Manifest, backups_of, damaged};
use crate::catalog::backups::{self, BackupRow};
use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::Session;
use crate::store::Store;
use crate::tenant::TenantId;

/// A backup whose manifest was read and found whole.
#[derive(Clone)]
pub struct Source {
    /// Where it lies.
    pub store: Arc<dyn Store>,
    /// Its manifest.
    pub manifest: Arc<Manifest>,
    /// Of the manifest's bytes.
    pub manifest_sha256: String,
}

/// The registry's row of the backup that is wanted: the one named, else the newest good one of the tenant in that store or in
/// any. None: the registry does not know it.
///
/// # Errors
/// Kind `usage` when it is another tenant's, `not_found` when it was never whole.
pub async fn choose(
    session: &Session,
    tenant: &TenantId,
    backup: Option<&BackupId>,
    store: Option<&str>,
) -> Result<Option<BackupRow>> {
    let Some(id) = backup else {
        return backups::newest_good(session, tenant, store).await;
    };
    let of = id.tenant();
    if of != *tenant {
        return Err(
            Error::usage(format!("backup {id} is of tenant {of}, not of {tenant}")).with_hint(format!(
                "`tenantctl restore {of} --backup {id} --as {tenant}` makes a new tenant of it."
            )),
        );
    }
    match backups::find_one(session, id).await? {
        Some(row) if row.status != "done" => Err(Error::new(
            ErrorKind::NotFound,
            format!("backup {id} is not whole: it is marked as {}", row.status),
        )
        .with_hint(format!("`tenantctl backup list {tenant}` shows the good ones."))),
        row => Ok(row),
    }
}

/// Reads the manifest of a backup, and holds it to what the registry knows of it.
///
/// # Errors
/// Kind `store` when it is damaged or was changed, or is gone although the registry knows it; `not_found` when it is not
/// there, `unsupported` when it is of a newer tenantctl.
pub async fn open(store: Arc<dyn Store>, id: &BackupId, row: Option<&BackupRow>) -> Result<Source> {
    let found = manifest::read(store.as_ref(), id).await.map_err(|e| match e.kind() {
        ErrorKind::NotFound => missing(store.as_ref(), id, row.is_some()),
        _ => e,
    })?;
    if let Some(wanted) = row.and_then(|row| row.manifest_sha256.as_deref())
        && wanted != found.sha256
    {
        return Err(damaged(id, MANIFEST, "it is not the one that was written"));
    }
    Ok(Source {
        store,
        manifest: Arc::new(found.manifest),
        manifest_sha256: found.sha256,
    })
}

fn missing(store: &dyn Store, id: &BackupId, known: bool) -> Error {
    if known {
        return damaged(id, MANIFEST, "it is missing")
            .with_cause(format!("the registry knows the backup, and {} has it not", store.url()));
    }
    Error::new(
        ErrorKind::NotFound,
        format!("there is no backup {id} in {}", store.url()),
    )
    .with_hint(format!(
        "`tenantctl backup list {} --store {}` shows what lies there.",
        id.tenant(),
        store.url()
    ))
}

/// The backups of a tenant that lie in a store, newest first, whole or not.
///
/// # Errors
/// Kind `store`.
pub async fn in_store(store: &dyn Store, tenant: &TenantId) -> Result<Vec<BackupId>> {
    let folders = store.folders(&backups_of(tenant)).await?;
    let mut ids: Vec<BackupId> = folders.iter().filter_map(|name| name.parse().ok()).collect();
    ids.retain(|id| id.tenant() == *tenant);
    // The time is at a fixed place from the end.
    ids.sort_by_key(|id| std::cmp::Reverse(id.as_str()[tenant.as_str().len()..].to_owned()));
    Ok(ids)
}

/// The newest backup of a tenant in a store that has a manifest.
///
/// # Errors
/// Kind `not_found` when there is none; `store` when the newest is damaged, which is no reason to take an older one without
/// being asked to.
pub async fn newest(store: &Arc<dyn Store>, tenant: &TenantId) -> Result<Source> {
    for id in in_store(store.as_ref(), tenant).await? {
        match open(Arc::clone(store), &id, None).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            result => return result,
        }
    }
    Err(Error::new(
        ErrorKind::NotFound,
        format!("there is no backup of tenant {tenant} in {}", store.url()),
    )
    .with_hint("`tenantctl backup list --store` shows what lies there."))
}
