//! The transactions that the tenant may notice, and the truth about their outcome.

use std::time::{Duration, Instant};

use uuid::Uuid;

use super::{Becoming, NewTenant, Restored, Restorer, Source, drop_after, milliseconds, modules_changed, still_there};
use crate::catalog::tenants::TenantRow;
use crate::catalog::{standard, tenants};
use crate::credentials::ledger::Ledger;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::apply::{Failure, Outcome, apply};
use crate::pg::eviction::{end_blockers, end_lost};
use crate::pg::password::random_hex;
use crate::pg::session::Session;
use crate::plan::Plan;
use crate::plan::restore as plans;
use crate::plan::standard::Observed;

/// How often those who hold locks are looked for. Shorter than the time after which the server looks for deadlocks.
const EVICTION: Duration = Duration::from_millis(150);
/// How often a transaction is tried that met somebody else's.
pub(super) const ATTEMPTS: usize = 3;

/// How a transaction ended that was done.
pub(super) struct Applied {
    /// Sessions of the tenant that were ended for it.
    pub ended: i64,
    /// Milliseconds of the attempt that succeeded.
    pub took_ms: f64,
}

impl Restorer {
    /// The plan of a swap with the name of the schema that keeps what is replaced.
    #[expect(clippy::too_many_arguments, reason = "each is a thing of its own")]
    pub(super) fn swap_plan(
        &self,
        row: &TenantRow,
        becoming: &Becoming,
        incoming: &str,
        now: &Observed,
        live: Option<&Observed>,
        operation: Uuid,
        close: plans::Close<'_>,
    ) -> (String, Plan) {
        let replaced = plans::replaced_name(&random_hex(super::NAME_BYTES));
        let plan = plans::swap(&plans::Swap {
            id: &row.tenant_id,
            schema: &row.schema_name,
            incoming,
            now,
            wanted: becoming.wanted(row.schema_name.as_str()),
            origin: becoming.origin(),
            live,
            replaced: &replaced,
            keep_days: self.keep_days,
            close,
            operation,
            timeout: self.timeout,
            lock_timeout: self.lock_timeout,
        });
        (replaced, plan)
    }

    /// Puts what was loaded in the place of the tenant's schema.
    #[expect(clippy::too_many_arguments, reason = "each is a thing of its own")]
    pub(super) async fn put(
        &self,
        session: &Session,
        source: &Source,
        row: &TenantRow,
        mut becoming: Becoming,
        staging: &str,
        close: plans::Close<'_>,
        rows: u64,
    ) -> Result<Restored> {
        self.refuse_what_cannot_be(session, row).await?;
        let now = self.observe(session, staging, &row.role_name).await?;
        let mut attempt = 0;
        let (replaced, kept, applied) = loop {
            attempt += 1;
            let live = standard::read_one(session, row.schema_name.as_str(), &row.role_name).await?;
            let operation = Uuid::new_v4();
            let (replaced, plan) = self.swap_plan(row, &becoming, staging, &now, live.as_ref(), operation, close);
            match self.apply(session, row, &plan, operation).await {
                Ok(applied) => break (replaced, live.is_some(), applied),
                Err(error) if attempt < ATTEMPTS && error.sqlstate() == Some(plans::CHANGED_MEANWHILE) => {
                    becoming.frozen = still_there(session, row).await?.writes_frozen_at.is_some();
                }
                Err(error) => return Err(error),
            }
        };
        Ok(Restored {
            backup_created_at: Some(source.manifest.created_at.clone()),
            drop_after: if kept {
                drop_after(session, &row.tenant_id, &replaced).await
            } else {
                None
            },
            replaced_schema: kept.then_some(replaced),
            modules_changed: modules_changed(&row.modules, &becoming.modules),
            ..restored(
                row,
                Some(source.manifest.backup_id.to_string()),
                "replace",
                rows,
                &applied,
            )
        })
    }

    /// Makes a tenant of what was loaded.
    #[expect(clippy::too_many_arguments, reason = "each is a thing of its own")]
    pub(super) async fn make(
        &self,
        session: &Session,
        source: &Source,
        new: &NewTenant,
        becoming: &Becoming,
        staging: &str,
        restore: Uuid,
        rows: u64,
        ledger: Option<&Ledger>,
    ) -> Result<Restored> {
        let identity = self.identity(session, new).await?;
        let becoming = becoming.of(&identity.schema);
        let now = self.observe(session, staging, &becoming.role).await?;
        let operation = Uuid::new_v4();
        let plan = self.new_plan(new, &becoming, staging, &now, &identity, restore, rows, operation);
        // The verifier in it is kept out of the server's log.
        let discreet = self.connector.discreet().connect().await?;
        if let Some(ledger) = ledger {
            ledger.sending(&new.id, &identity.schema, &identity.password)?;
        }
        let started = Instant::now();
        if let Err(failure) = apply(&discreet, &plan).await {
            self.settle(&discreet, failure, operation)
                .await
                .map_err(|error| match error.sqlstate() {
                    Some("23505") if error.constraint() == Some("tenants_pkey") => error
                        .with_message(format!("tenant {} already exists", new.id))
                        .with_hint("Somebody made it meanwhile. `tenantctl show` describes it."),
                    _ => error,
                })?;
        }
        Ok(Restored {
            tenant_id: new.id.clone(),
            backup_id: Some(source.manifest.backup_id.to_string()),
            restored_to: identity.schema.to_string(),
            kind: "new",
            rows,
            verified: true,
            duration_ms: 0.0,
            swap_ms: milliseconds(started),
            backup_created_at: Some(source.manifest.created_at.clone()),
            replaced_schema: None,
            drop_after: None,
            tables: Vec::new(),
            role_name: identity.schema.role(),
            tier: new.tier.clone(),
            sessions_ended: 0,
            modules_changed: Vec::new(),
            stored: identity.sealed.is_some(),
            password: Some(identity.password),
        })
    }

    /// Runs a transaction that has to wait for the tenant. Where that was asked for, the tenant's sessions that it waits for
    /// are ended meanwhile; those that come new wait in their turn.
    pub(super) async fn apply(
        &self,
        session: &Session,
        row: &TenantRow,
        plan: &Plan,
        operation: Uuid,
    ) -> Result<Applied> {
        let mut ended = 0;
        let evictor = if self.disconnect {
            Some((self.connector.connect().await?, self.eviction_of(session, row).await?))
        } else {
            None
        };
        let mut attempt = 0;
        loop {
            attempt += 1;
            let started = Instant::now();
            let done = |ended| Applied {
                ended,
                took_ms: milliseconds(started),
            };
            let applying = apply(session, plan);
            tokio::pin!(applying);
            let result = loop {
                tokio::select! {
                    result = &mut applying => break result,
                    () = tokio::time::sleep(EVICTION), if evictor.is_some() => {
                        if let Some((other, (role, join))) = &evictor {
                            let name = join.then_some(row.role_name.as_str());
                            match end_blockers(other, *role, name, session.server().backend_pid).await {
                                Ok(n) => ended += n,
                                Err(error) => tracing::warn!(%error, cause = error.cause(), "sessions of the tenant were not ended"),
                            }
                        }
                    }
                    () = self.interrupt.times(1) => {
                        session.cancel().await;
                        break applying.await;
                    }
                }
            };
            let Err(failure) = result else {
                return Ok(done(ended));
            };
            if failure.outcome == Outcome::Unknown {
                return self.settle(session, failure, operation).await.map(|()| done(ended));
            }
            if self.interrupt.requested() {
                return Err(Error::interrupted());
            }
            let again = match failure.error.sqlstate() {
                // Deadlock, concurrent change of the same catalog row.
                Some("40P01" | "XX000") => true,
                Some("55P03") => self.disconnect,
                _ => false,
            };
            if !again || attempt >= ATTEMPTS {
                return Err(explain(row, failure.error, self.disconnect));
            }
        }
    }

    async fn eviction_of(&self, session: &Session, row: &TenantRow) -> Result<(u32, bool)> {
        let remains = tenants::remains(session, &[row])
            .await?
            .remove(&row.tenant_id)
            .unwrap_or_default();
        let role = remains
            .role
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("role {} does not exist", row.role_name)))?;
        Ok((role, !remains.member))
    }

    /// After a failure: whether the transaction has committed all the same.
    async fn settle(&self, lost: &Session, failure: Failure, operation: Uuid) -> Result<()> {
        if failure.outcome == Outcome::RolledBack {
            return Err(failure.error);
        }
        let asked = async {
            let session = end_lost(&self.connector, lost.server()).await?;
            tenants::recorded(&session, operation).await
        };
        match asked.await {
            Ok(true) => Ok(()),
            Ok(false) => Err(failure.error),
            Err(_) => Err(failure.error.with_uncertainty().with_hint(
                "The server cannot be asked, so it is not known whether the restored copy is in place. Once it is back, `tenantctl show` tells.",
            )),
        }
    }
}

/// What is told of a tenant that was there before.
pub(super) fn restored(
    row: &TenantRow,
    backup_id: Option<String>,
    kind: &'static str,
    rows: u64,
    applied: &Applied,
) -> Restored {
    Restored {
        tenant_id: row.tenant_id.clone(),
        backup_id,
        restored_to: row.schema_name.to_string(),
        kind,
        rows,
        verified: true,
        duration_ms: 0.0,
        swap_ms: applied.took_ms,
        backup_created_at: None,
        replaced_schema: None,
        drop_after: None,
        tables: Vec::new(),
        role_name: row.role_name.clone(),
        tier: row.tier.clone(),
        sessions_ended: applied.ended,
        modules_changed: Vec::new(),
        password: None,
        stored: false,
    }
}

fn explain(row: &TenantRow, error: Error, disconnected: bool) -> Error {
    let id = &row.tenant_id;
    match error.sqlstate() {
        Some("22012") => error
            .with_kind(ErrorKind::NotFound)
            .with_message(format!("tenant {id} was dropped by somebody else meanwhile"))
            .with_hint("`tenantctl list` shows what is there."),
        Some(plans::CHANGED_MEANWHILE) => error
            .with_kind(ErrorKind::InUse)
            .with_message(format!("tenant {id} was frozen or thawed by somebody else meanwhile, or a drop of it has begun"))
            .with_hint("Nothing was changed. Run this again."),
        Some("55P03" | "40P01" | "57014") => error
            .with_kind(ErrorKind::InUse)
            .with_message(format!("tenant {id} is in use: open transactions do not let go of its tables"))
            .with_hint(if disconnected {
                "Nothing was changed. What --disconnect does not end is another role's, or a prepared transaction (pg_prepared_xacts), which ROLLBACK PREPARED ends."
            } else {
                "Nothing was changed. Restore when it is quiet, or add --disconnect to end the tenant's sessions that stand in the way."
            }),
        _ => error,
    }
}
