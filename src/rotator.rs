//! Gives tenants new passwords, each in a transaction of one round trip.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::catalog;
use crate::credentials::ledger::Ledger;
use crate::credentials::vault::{Recipients, Sealed};
use crate::error::{Error, ErrorKind, Result};
use crate::fleet::{self, Work};
use crate::interrupt::Interrupt;
use crate::pg::apply::{Failure, Outcome, apply};
use crate::pg::eviction::{end_lost, end_sessions};
use crate::pg::password::Password;
use crate::pg::record;
use crate::pg::session::{Connector, Session};
use crate::plan::Plan;
use crate::plan::rotate::{Rotation, Stored, plan};
use crate::tenant::{SchemaName, TenantId};

/// The name in the operation log.
const OPERATION: &str = "rotate";

/// Gives new passwords to tenants of one database.
#[derive(Clone)]
pub struct Rotator {
    /// Opens sessions as the admin.
    pub connector: Connector,
    /// Whom passwords are stored for.
    pub recipients: Arc<Recipients>,
    /// End the tenant's sessions afterwards.
    pub disconnect: bool,
    /// Limit of one tenant's transaction.
    pub timeout: Duration,
    /// Limit for each wait on a lock.
    pub lock_timeout: Duration,
}

/// A tenant that is to get a new password.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its id.
    pub id: TenantId,
    /// Its schema.
    pub schema: SchemaName,
    /// Its role's oid; none: the role is missing.
    pub role: Option<u32>,
    /// The admin must become a member of the role before it may end its sessions.
    pub join_role: bool,
}

/// A tenant with a new password.
#[derive(Clone, Debug, Serialize)]
pub struct Rotated {
    /// The caller's name for it.
    pub tenant_id: TenantId,
    /// Its schema.
    pub schema_name: SchemaName,
    /// Its login role.
    pub role_name: String,
    /// `rotated`; `unknown` when the server could not be asked, so that the old password may still hold.
    pub status: &'static str,
    /// Sessions that were ended; null when they were left alone, or could not be ended.
    pub sessions_ended: Option<i64>,
    /// The new password, known to nobody else.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "revealed")]
    pub password: Option<Password>,
    /// Whether it is stored encrypted.
    pub stored: bool,
    /// What went wrong after the password was changed.
    #[serde(skip)]
    pub afterwards: Option<Error>,
}

/// A password is shown here, once, and nowhere else.
fn revealed<S: serde::Serializer>(password: &Option<Password>, serializer: S) -> Result<S::Ok, S::Error> {
    password.as_ref().map(Password::reveal).serialize(serializer)
}

/// A new password, fixed before anything is sent.
pub struct Fresh {
    password: Password,
    verifier: String,
    sealed: Option<Sealed>,
    operation: Uuid,
}

impl Fresh {
    /// A new password.
    ///
    /// # Errors
    /// When it cannot be encrypted to the recipients.
    pub fn new(recipients: &Recipients) -> Result<Self> {
        let password = Password::generate();
        Ok(Self {
            verifier: password.verifier(),
            sealed: recipients.seal(&password)?,
            operation: Uuid::new_v4(),
            password,
        })
    }
}

impl Rotator {
    /// The plan for one tenant.
    ///
    /// # Errors
    /// When the role is missing.
    pub fn plan(&self, request: &Request, fresh: &Fresh) -> Result<Plan> {
        if request.role.is_none() {
            return Err(role_missing(request));
        }
        Ok(plan(&Rotation {
            id: &request.id,
            schema: &request.schema,
            verifier: &fresh.verifier,
            stored: fresh.sealed.as_ref().map(|sealed| Stored {
                ciphertext: &sealed.ciphertext,
                recipients: &sealed.recipients,
            }),
            operation: fresh.operation,
            timeout: self.timeout,
            lock_timeout: self.lock_timeout,
        }))
    }

    /// Gives one tenant a new password on a session.
    ///
    /// # Errors
    /// What the server said; the old password holds then, unless the error is an uncertain one.
    pub async fn rotate(&self, session: &Session, request: &Request, ledger: &Ledger) -> Result<Rotated> {
        let fresh = Fresh::new(&self.recipients)?;
        let plan = self.plan(request, &fresh)?;
        ledger.sending(&request.id, &request.schema, &fresh.password)?;
        let (mut again, mut ended) = (None, 0);
        if let Err(failure) = self.apply(session, request, &plan, &mut ended).await {
            if failure.outcome == Outcome::RolledBack {
                return Err(explain(request, failure.error));
            }
            match self.settle(session, &fresh).await {
                Ok((open, true)) => again = Some(open),
                Ok((_, false)) => return Err(failure.error),
                Err(_) => {
                    return Err(failure.error.with_uncertainty().with_hint(format!(
                        "The server cannot be asked, so it is not known whether tenant {} has its old password or the new one. Keep both; once the server is back, rotate again or try them.",
                        request.id
                    )));
                }
            }
        }
        let mut rotated = Rotated {
            tenant_id: request.id.clone(),
            schema_name: request.schema.clone(),
            role_name: request.schema.role(),
            status: "rotated",
            sessions_ended: None,
            password: Some(fresh.password),
            stored: fresh.sealed.is_some(),
            afterwards: None,
        };
        if self.disconnect {
            let session = again.as_ref().unwrap_or(session);
            match self.end_sessions(session, request).await {
                Ok(more) => rotated.sessions_ended = Some(ended + more),
                Err(error) => {
                    record::failure(&self.connector, Some(session), OPERATION, Some(&request.id), &error).await;
                    rotated.afterwards = Some(error);
                }
            }
        }
        Ok(rotated)
    }

    /// A tenant may change its own password, and with that hold its role's row in an open transaction. Where its
    /// sessions are to end anyway they end sooner then, and it is tried again.
    async fn apply(&self, session: &Session, request: &Request, plan: &Plan, ended: &mut i64) -> Result<(), Failure> {
        for _ in 0..2 {
            let Err(failure) = apply(session, plan).await else {
                return Ok(());
            };
            let again = match (failure.outcome, failure.error.sqlstate()) {
                // It committed its change while ours waited ("tuple concurrently updated").
                (Outcome::RolledBack, Some("XX000")) => true,
                (Outcome::RolledBack, Some("55P03")) if self.disconnect => {
                    match self.end_sessions(session, request).await {
                        Ok(n) => {
                            *ended += n;
                            n > 0
                        }
                        Err(_) => false,
                    }
                }
                _ => false,
            };
            if !again {
                return Err(failure);
            }
        }
        apply(session, plan).await
    }

    /// Whether a lost transaction has committed: the row that it wrote last is there or it is not.
    async fn settle(&self, lost: &Session, fresh: &Fresh) -> Result<(Session, bool)> {
        let session = end_lost(&self.connector, lost.server()).await?;
        let committed = catalog::tenants::recorded(&session, fresh.operation).await?;
        Ok((session, committed))
    }

    async fn end_sessions(&self, session: &Session, request: &Request) -> Result<i64> {
        let name = request.schema.role();
        let Some(role) = request.role else {
            return Err(role_missing(request));
        };
        let ended = end_sessions(session, role, request.join_role.then_some(name.as_str())).await;
        ended.map_err(|error| {
            error
                .with_message(format!(
                    "tenant {} has a new password, but its sessions could not be ended",
                    request.id
                ))
                .with_hint("They go on with the rights they had. End them with pg_terminate_backend as a superuser.")
        })
    }

    /// Gives many tenants new passwords at the same time, as [`fleet::many`] does things.
    pub fn rotate_many(
        &self,
        requests: Vec<Request>,
        jobs: usize,
        ledger: Arc<Ledger>,
        interrupt: &Interrupt,
    ) -> mpsc::UnboundedReceiver<(TenantId, Result<Rotated>)> {
        let work = Rotating {
            rotator: self.clone(),
            ledger,
        };
        fleet::many(work, requests, jobs, interrupt)
    }
}

fn role_missing(request: &Request) -> Error {
    Error::new(
        ErrorKind::NotFound,
        format!("role {} of tenant {} does not exist", request.schema.role(), request.id),
    )
    .with_hint(format!(
        "Nobody can log in as this tenant. `tenantctl show {}` tells what else is missing.",
        request.id
    ))
}

fn explain(request: &Request, error: Error) -> Error {
    match error.sqlstate() {
        // The plan divides by the number of rows it locked.
        Some("22012") => error
            .with_kind(ErrorKind::NotFound)
            .with_message(format!("tenant {} was dropped by somebody else meanwhile", request.id))
            .with_hint("`tenantctl list` shows what is there."),
        Some("55P03") => error.with_hint(
            "Another command works on this tenant, or the tenant holds its role in an open transaction; --disconnect ends its sessions.",
        ),
        // undefined_object
        Some("42704") => role_missing(request).with_sqlstate("42704"),
        _ => error,
    }
}

/// Tenants to give new passwords, and where these are kept meanwhile.
struct Rotating {
    rotator: Rotator,
    ledger: Arc<Ledger>,
}

impl Work for Rotating {
    type Item = Request;
    type Done = Rotated;
    const OPERATION: &'static str = OPERATION;

    fn connector(&self) -> &Connector {
        &self.rotator.connector
    }

    fn id(item: &Request) -> &TenantId {
        &item.id
    }

    async fn one(&self, session: &Session, item: &Request) -> Result<Rotated> {
        self.rotator.rotate(session, item, &self.ledger).await
    }
}
