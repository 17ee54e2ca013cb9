//! What lies in a store, whatever a registry says of it.

use std::collections::BTreeMap;
use std::time::SystemTime;

use futures_util::StreamExt;

use super::manifest::{self, BackupId, Found, MANIFEST, SUMS, TENANTS, backups_of, damaged};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use crate::tenant::TenantId;

/// Folders that are looked into at a time.
const AT_A_TIME: usize = 16;

/// What lies in a store.
#[derive(Debug, Default)]
pub struct Inventory {
    /// Backups with a manifest that can be trusted and all members at the size that it says; newest first.
    pub whole: Vec<Found>,
    /// What is in the place of a backup and is none that could be restored, by id.
    pub broken: Vec<Broken>,
}

/// What is no whole backup.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The backup that it is, or was, or was to be.
    pub id: BackupId,
    /// Why it is none.
    pub error: Error,
    /// It has no manifest: it is being written, or was by somebody who died, or is being removed.
    pub unfinished: bool,
    /// When something of it was last written, by the store's clock.
    pub modified: Option<SystemTime>,
    /// The size of all of it.
    pub bytes: u64,
}

/// Reads the manifests in a store: of these tenants, or with none given of all. Names there that are no tenant's and no
/// backup's are left alone.
///
/// # Errors
/// Kind `store` when the store cannot be listed; what is wrong with one backup is its own finding.
pub async fn read(store: &dyn Store, tenants: &[TenantId]) -> Result<Inventory> {
    let tenants = if tenants.is_empty() {
        let names = store.folders(TENANTS).await?;
        names.iter().filter_map(|name| name.parse().ok()).collect()
    } else {
        tenants.to_vec()
    };
    let folders = futures_util::stream::iter(tenants)
        .map(|tenant| async move {
            let names = store.folders(&backups_of(&tenant)).await?;
            let ids = names.iter().filter_map(|name| name.parse::<BackupId>().ok());
            Ok::<_, Error>(ids.filter(|id| id.tenant() == tenant).collect::<Vec<_>>())
        })
        .buffer_unordered(AT_A_TIME)
        .collect::<Vec<_>>()
        .await;
    let mut ids = Vec::new();
    for of_tenant in folders {
        ids.extend(of_tenant?);
    }
    let mut looked = futures_util::stream::iter(ids)
        .map(|id| look(store, id))
        .buffer_unordered(AT_A_TIME);
    let mut inventory = Inventory::default();
    while let Some(looked) = looked.next().await {
        match looked? {
            Ok(found) => inventory.whole.push(found),
            Err(broken) => inventory.broken.push(*broken),
        }
    }
    inventory.whole.sort_by(|a, b| {
        let key = |found: &Found| (found.manifest.created_at.clone(), found.manifest.backup_id.clone());
        key(b).cmp(&key(a))
    });
    inventory.broken.sort_by(|a, b| a.id.cmp(&b.id));
    Ok(inventory)
}

async fn look(store: &dyn Store, id: BackupId) -> Result<Result<Found, Box<Broken>>> {
    let prefix = id.prefix();
    // Before the manifest: members are there before it is, and go after it.
    let read = manifest::read(store, &id).await;
    let entries = store.list(&prefix).await?;
    let sizes: BTreeMap<&str, u64> = entries
        .iter()
        .filter_map(|entry| Some((entry.key.strip_prefix(&prefix)?, entry.bytes)))
        .collect();
    let read = read.and_then(|found| {
        for member in found.manifest.all_members() {
            match sizes.get(member.name.as_str()) {
                None => return Err(damaged(&id, &member.name, "it is missing")),
                Some(bytes) if *bytes != member.stored_bytes => {
                    return Err(damaged(&id, &member.name, "it is not as long as it was written"));
                }
                Some(_) => {}
            }
        }
        Ok(found)
    });
    let error = match read {
        Ok(found) => return Ok(Ok(found)),
        Err(error) => error,
    };
    let unfinished = !sizes.contains_key(MANIFEST);
    let error = if unfinished && error.kind() == ErrorKind::NotFound {
        Error::new(ErrorKind::Store, format!("backup {id} has no {MANIFEST}"))
            .with_cause(if sizes.contains_key(SUMS) {
                "it was nearly written, or is being removed"
            } else {
                "it is being written, or who wrote it has died"
            })
            .with_hint("`tenantctl backup prune` removes what nobody works on any more.")
    } else {
        error
    };
    Ok(Err(Box::new(Broken {
        error,
        unfinished,
        modified: entries.iter().map(|entry| entry.modified).max(),
        bytes: entries.iter().map(|entry| entry.bytes).sum(),
        id,
    })))
}
