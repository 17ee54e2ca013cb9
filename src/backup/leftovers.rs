//! What restores that died have left in the database.

use std::time::Duration;

use super::lock::TenantLock;
use crate::catalog::restores;
use crate::chunks::Clearing;
use crate::error::Result;
use crate::pg::apply::apply;
use crate::pg::session::Connector;
use crate::plan::chunks::Claim;
use crate::plan::restore::{CHANGED_MEANWHILE, give_up};

/// Dropping a schema that nobody uses; its files go at the end.
const TIMEOUT: Duration = Duration::from_secs(60);
/// A session that was killed may hold its locks for a moment yet.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

impl TenantLock {
    /// Drops the schemas that restores of this tenant were loading when they died, and marks these as failed. Returns the
    /// schemas. What cannot be dropped is left to the next run: it is in nobody's way.
    ///
    /// # Errors
    /// When the registry cannot be read.
    pub async fn clear_dead_restores(&self, connector: &Connector) -> Result<Vec<String>> {
        let dead = restores::unfinished(self.session(), self.tenant()).await?;
        let mut dropped = Vec::new();
        for row in dead {
            let schema = row.staging_schema.unwrap_or_default();
            let plan = give_up(row.restore_id, &schema, false, None, TIMEOUT, LOCK_TIMEOUT);
            let cleared = async {
                let session = connector.connect().await?;
                let claims = vec![Claim::OfRestore(&schema)];
                if let Some(many) = Clearing::of(&session, claims, TIMEOUT, LOCK_TIMEOUT).await? {
                    many.run(&session, None, |_| ()).await?;
                }
                apply(&session, &plan).await.map_err(|failure| failure.error)
            };
            match cleared.await {
                Ok(_) => {
                    tracing::info!(%schema, "a restore that died had left a schema, which is dropped");
                    dropped.push(schema);
                }
                // Its client has died, its last transaction has not: it committed while we waited for it.
                Err(error) if error.sqlstate() == Some(CHANGED_MEANWHILE) => {}
                Err(why) => {
                    tracing::warn!(%schema, %why, cause = why.cause(), "what a restore that died has left could not be dropped");
                }
            }
        }
        Ok(dropped)
    }
}
