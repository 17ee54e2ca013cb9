//! Makes tenants, each in a transaction of one round trip.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::mpsc;

use crate::catalog;
use crate::credentials::ledger::Ledger;
use crate::credentials::vault::{Recipients, Sealed};
use crate::error::Result;
use crate::fleet::{self, Work};
use crate::interrupt::Interrupt;
use crate::pg::apply::{Outcome, apply};
use crate::pg::eviction::end_lost;
use crate::pg::password::{Password, random_hex};
use crate::pg::session::{Connector, Server, Session};
use crate::plan::provision::{NewTenant, plan};
use crate::plan::rotate::Stored;
use crate::tenant::{Audit, SchemaName, Template, TenantId, Tier};

/// Makes tenants of one template in one database.
#[derive(Clone)]
pub struct Provisioner {
    /// Opens sessions as the admin.
    pub connector: Connector,
    /// Whom passwords are stored for.
    pub recipients: Arc<Recipients>,
    /// The template as installed.
    pub template: Arc<Template>,
    /// The template's audited tables.
    pub audit: Arc<Audit>,
    /// The schema of the timescaledb extension, where it is installed.
    pub timescaledb: Option<String>,
    /// The server's major version.
    pub major: i32,
    /// Limit of one tenant's transaction.
    pub timeout: Duration,
    /// Limit for each wait on a lock.
    pub lock_timeout: Duration,
}

/// A tenant to make.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its id.
    pub id: TenantId,
    /// Its tier.
    pub tier: Arc<Tier>,
}

/// A tenant that is there.
#[derive(Clone, Debug, Serialize)]
pub struct Provisioned {
    /// The caller's name for it.
    pub tenant_id: TenantId,
    /// Its schema.
    pub schema_name: SchemaName,
    /// Its login role.
    pub role_name: String,
    /// Its tier.
    pub tier: String,
    /// `active`; `exists` when it was there before and was left alone; `unknown` when the server could not be asked.
    pub status: &'static str,
    /// Milliseconds from sending the transaction to its commit, as the client saw it.
    pub provisioning_time_ms: f64,
    /// Known to nobody else.
    #[serde(skip)]
    pub password: Option<Password>,
    /// Whether it was stored encrypted.
    #[serde(skip)]
    pub stored: bool,
}

/// The names and the password of a tenant about to be made, fixed before anything is sent.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The salt of the schema name.
    pub salt: String,
    /// The schema.
    pub schema: SchemaName,
    /// The password.
    pub password: Password,
    /// The password's verifier.
    pub verifier: String,
    /// The password encrypted, where it is stored.
    pub sealed: Option<Sealed>,
}

impl Identity {
    /// A new identity for a tenant id.
    ///
    /// # Errors
    /// When the password cannot be encrypted to the recipients.
    pub fn new(id: &TenantId, recipients: &Recipients) -> Result<Self> {
        let salt = random_hex(SchemaName::SALT_BYTES);
        let password = Password::generate();
        Ok(Self {
            schema: SchemaName::derive(id, &salt),
            verifier: password.verifier(),
            sealed: recipients.seal(&password)?,
            salt,
            password,
        })
    }
}

impl Provisioner {
    /// The plan for one tenant.
    pub fn plan(&self, request: &Request, identity: &Identity) -> crate::plan::Plan {
        plan(&self.new_tenant(request, identity))
    }

    /// The same tenant's DDL as a hand-written script would send it.
    pub fn raw_ddl(&self, request: &Request, identity: &Identity) -> crate::plan::Plan {
        crate::plan::provision::raw_ddl(&self.new_tenant(request, identity))
    }

    fn new_tenant<'a>(&'a self, request: &'a Request, identity: &'a Identity) -> NewTenant<'a> {
        NewTenant {
            id: &request.id,
            salt: &identity.salt,
            schema: &identity.schema,
            tier: &request.tier,
            template: &self.template,
            audit: &self.audit,
            verifier: &identity.verifier,
            stored: identity.sealed.as_ref().map(|sealed| Stored {
                ciphertext: &sealed.ciphertext,
                recipients: &sealed.recipients,
            }),
            timescaledb: self.timescaledb.as_deref(),
            major: self.major,
            timeout: self.timeout,
            lock_timeout: self.lock_timeout,
        }
    }

    /// Makes one tenant on a session. A name that is taken by chance or by an orphan gets another salt.
    ///
    /// # Errors
    /// Kind `duplicate` when the tenant id is taken; otherwise what the server said. On an error nothing is left.
    pub async fn provision(
        &self,
        session: &Session,
        request: &Request,
        ledger: Option<&Ledger>,
    ) -> Result<Provisioned> {
        let mut attempts = 3;
        loop {
            attempts -= 1;
            let identity = Identity::new(&request.id, &self.recipients)?;
            if let Some(ledger) = ledger {
                ledger.sending(&request.id, &identity.schema, &identity.password)?;
            }
            let plan = self.plan(request, &identity);
            let started = Instant::now();
            let result = apply(session, &plan).await;
            let elapsed = started.elapsed();
            let made = |elapsed: Duration| Provisioned {
                tenant_id: request.id.clone(),
                schema_name: identity.schema.clone(),
                role_name: identity.schema.role(),
                tier: request.tier.key.clone(),
                status: "active",
                provisioning_time_ms: elapsed.as_secs_f64() * 1000.0,
                password: Some(identity.password.clone()),
                stored: identity.sealed.is_some(),
            };
            let failure = match result {
                Ok(()) => return Ok(made(elapsed)),
                Err(failure) => failure,
            };
            if failure.outcome == Outcome::Unknown {
                return match settle(&self.connector, session.server(), &identity.schema).await {
                    Ok(true) => Ok(made(elapsed)),
                    Ok(false) => Err(failure.error),
                    Err(_) => Err(failure.error.with_uncertainty().with_hint(format!(
                        "The server cannot be asked, so it is not known whether tenant {} was made. Once it is back, `tenantctl show {}` tells.",
                        request.id, request.id
                    ))),
                };
            }
            let error = failure.error;
            match error.sqlstate() {
                Some("23505") if error.constraint() == Some("tenants_pkey") => {
                    return Err(error
                        .with_message(format!("tenant {} already exists", request.id))
                        .with_hint("`tenantctl show` describes it; --if-not-exists counts it as done."));
                }
                // Duplicate role or schema, or the schema's name in the registry: 48 bits met, or an orphan.
                Some("42710" | "42P06" | "23505") if attempts > 0 => {
                    tracing::info!(schema = %identity.schema, "schema name is taken, trying another salt");
                }
                _ => return Err(error),
            }
        }
    }

    /// Makes many tenants at the same time; a failure does not stop the others, an interrupt starts no more.
    ///
    /// Each tenant's result arrives on the returned channel as it is known; failures are also in the registry's
    /// operation log by then. The channel closes when all is done; tenants not started after an interrupt are absent.
    pub fn provision_many(
        &self,
        requests: Vec<Request>,
        jobs: usize,
        ledger: Option<Arc<Ledger>>,
        interrupt: &Interrupt,
    ) -> mpsc::UnboundedReceiver<(TenantId, Result<Provisioned>)> {
        let work = Making {
            provisioner: self.clone(),
            ledger,
        };
        fleet::many(work, requests, jobs, interrupt)
    }
}

/// After a session was lost in the middle: makes sure that its transaction has ended, then asks whether the registry
/// has a tenant with this schema.
///
/// # Errors
/// When the server cannot be asked, or the lost session cannot be ended.
pub async fn settle(connector: &Connector, lost: &Server, schema: &SchemaName) -> Result<bool> {
    let session = end_lost(connector, lost).await?;
    catalog::tenants::committed(&session, schema).await
}

impl Work for Making {
    type Item = Request;
    type Done = Provisioned;
    const OPERATION: &'static str = "provision";

    fn connector(&self) -> &Connector {
        &self.provisioner.connector
    }

    fn id(item: &Request) -> &TenantId {
        &item.id
    }

    async fn one(&self, session: &Session, item: &Request) -> Result<Provisioned> {
        self.provisioner.provision(session, item, self.ledger.as_deref()).await
    }
}

/// Tenants to make, and where their passwords are kept meanwhile.
struct Making {
    provisioner: Provisioner,
    ledger: Option<Arc<Ledger>>,
}
