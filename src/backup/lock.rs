//! One backup or restore of a tenant at a time, and what those that died have left.

use crate::backup::manifest::{BackupId, MANIFEST};
use crate::catalog::backups::{self, BackupRow};
use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Connector, Session};
use crate::pg::sql::Sql;
use crate::plan::backup::{failed, lock_tenant};
use crate::store::Store;
use crate::tenant::TenantId;

/// A tenant's lock, held by an open transaction: of a session that is lost, by whatever cause, the server frees it.
pub struct TenantLock {
    session: Session,
    tenant: TenantId,
}

impl TenantLock {
    /// Takes the lock on a session of its own. Waits for nobody.
    ///
    /// # Errors
    /// Kind `in_use` when another backup or restore of the tenant is under way.
    pub async fn take(connector: &Connector, tenant: &TenantId) -> Result<Self> {
        let session = connector.connect().await?;
        Self::take_on(session, tenant).await.map_err(|refused| refused.1)
    }

    /// [`TenantLock::take`] on a session that is there already and in no transaction; it is given back when the lock is not
    /// to be had.
    ///
    /// # Errors
    /// As [`TenantLock::take`].
    pub async fn take_on(session: Session, tenant: &TenantId) -> Result<Self, Box<(Session, Error)>> {
        let doing = format!("lock tenant {tenant}");
        match session.batch(&lock_tenant(tenant), &doing).await {
            Ok(()) => Ok(Self {
                session,
                tenant: tenant.clone(),
            }),
            Err(error) => {
                session.rollback().await;
                let error = match error.sqlstate() {
                    Some("55P03") => error
                        .with_kind(ErrorKind::InUse)
                        .with_message(format!("another backup or restore of tenant {tenant} is under way"))
                        .with_hint("Wait for it, or end it: `tenantctl backup list` shows which backups are running."),
                    _ => error,
                };
                Err(Box::new((session, error)))
            }
        }
    }

    /// The tenant.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// The session, in the transaction that holds the lock: what is written on it is committed by [`TenantLock::release`].
    /// A statement that fails ends the transaction, and with it the lock.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Commits what was written and lets go. The session is fit for the next tenant.
    ///
    /// # Errors
    /// What the server refused; nothing of it holds then, but for kind `connection`, after which that is not known.
    pub async fn release(self) -> Result<Session> {
        let doing = format!("release tenant {}", self.tenant);
        self.session.batch(&Sql::new("COMMIT"), &doing).await?;
        Ok(self.session)
    }

    /// Removes from a store what backups of this tenant that died have left there, and marks them as failed. Those in other
    /// stores are left to whoever opens these, and what this store does not let go of to the next run: credentials that
    /// may write and not delete are no reason to go without a backup. Returns what was cleared away.
    ///
    /// # Errors
    /// When the registry refuses.
    pub async fn clear_dead(&self, store: &dyn Store) -> Result<Vec<BackupRow>> {
        let mut cleared = Vec::new();
        for row in backups::unfinished(&self.session, &self.tenant).await? {
            if row.store != store.url() {
                continue;
            }
            if let Err(why) = clear(store, &row.backup_id).await {
                tracing::warn!(backup = %row.backup_id, %why, cause = why.cause(), "what a backup that died has left could not be removed");
                continue;
            }
            let doing = format!("mark backup {} as failed", row.backup_id);
            self.session
                .batch(&failed(row.backup_id.as_str(), None), &doing)
                .await?;
            cleared.push(row);
        }
        Ok(cleared)
    }
}

/// Removes all of a backup: what was being uploaded, so that nothing is added any more, then its manifest, so that nobody
/// takes the rest for a backup, then its members. Returns how many objects there were.
///
/// # Errors
/// Kind `store`; without its manifest the rest is no backup any more.
pub async fn clear(store: &dyn Store, id: &BackupId) -> Result<usize> {
    let prefix = id.prefix();
    let manifest = format!("{prefix}{MANIFEST}");
    store.remove_unfinished(&prefix).await?;
    let mut keys: Vec<String> = store.list(&prefix).await?.into_iter().map(|entry| entry.key).collect();
    // The store removes the first before it touches the others.
    keys.sort_by_key(|key| *key != manifest);
    store.remove(&keys).await?;
    Ok(keys.len())
}
