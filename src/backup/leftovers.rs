//! What restores that died have left in the database.

use std::time::Duration;

use super::lock::TenantLock;
use crate::catalog::restores;
use crate::error::Result;
use crate::pg::apply::apply;
use crate::pg::session::Session;
use crate::plan::restore::give_up;

impl TenantLock {
    /// Drops the schemas that restores of this tenant were loading when they died, and marks these as failed. `session` is
    /// another one than the lock's, in no transaction. Returns the schemas.
    ///
    /// # Errors
    /// When the registry cannot be read or a schema cannot be dropped; what is left is for the next run.
    pub async fn clear_dead_restores(
        &self,
        session: &Session,
        timeout: Duration,
        lock_timeout: Duration,
    ) -> Result<Vec<String>> {
        let mut dropped = Vec::new();
        for row in restores::unfinished(session, self.tenant()).await? {
            let schema = row.staging_schema.unwrap_or_default();
            let plan = give_up(row.restore_id, &schema, false, None, timeout, lock_timeout);
            apply(session, &plan).await.map_err(|failure| failure.error)?;
            tracing::info!(%schema, "a restore that died had left a schema, which is dropped");
            dropped.push(schema);
        }
        Ok(dropped)
    }
}
