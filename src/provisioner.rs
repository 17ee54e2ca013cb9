//! Makes tenants: one each in a transaction of one round trip, many over a set of recycled sessions.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::sync::mpsc;
use tokio_postgres::types::Type;

use crate::catalog;
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::pg::apply::{Outcome, apply};
use crate::pg::password::{Password, random_hex};
use crate::pg::record;
use crate::pg::session::{Connector, Session, column};
use crate::pg::sql::Sql;
use crate::plan::provision::{NewTenant, plan};
use crate::tenant::{Audit, SchemaName, Template, TenantId, Tier};

/// Tenants after which a session is replaced. A backend keeps the catalog entries of every table it made: its private
/// memory was 21 MB after 1,500 basic tenants and growing, and stayed at 7 MB when replaced every 200, with no
/// difference in time a tenant (PostgreSQL 15, two cores).
pub const RECYCLE_AFTER: usize = 200;

/// Makes tenants of one template in one database.
#[derive(Clone)]
pub struct Provisioner {
    /// Opens sessions as the admin.
    pub connector: Connector,
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
}

impl Identity {
    /// A new identity for a tenant id.
    pub fn new(id: &TenantId) -> Self {
        let salt = random_hex(SchemaName::SALT_BYTES);
        let password = Password::generate();
        Self {
            schema: SchemaName::derive(id, &salt),
            verifier: password.verifier(),
            salt,
            password,
        }
    }
}

/// Where an identity is written down before the server hears of it, so that a kill in between cannot lose a password.
pub trait Ledger: Send + Sync {
    /// Called before each attempt; an error keeps the tenant from being made.
    ///
    /// # Errors
    /// When it could not be written down.
    fn sending(&self, id: &TenantId, identity: &Identity) -> Result<()>;
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
        ledger: Option<&dyn Ledger>,
    ) -> Result<Provisioned> {
        let mut attempts = 3;
        loop {
            attempts -= 1;
            let identity = Identity::new(&request.id);
            if let Some(ledger) = ledger {
                ledger.sending(&request.id, &identity)?;
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
            };
            let failure = match result {
                Ok(()) => return Ok(made(elapsed)),
                Err(failure) => failure,
            };
            if failure.outcome == Outcome::Unknown {
                return match settle(&self.connector, session.server().backend_pid, &identity.schema).await {
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
        ledger: Option<Arc<dyn Ledger>>,
        interrupt: &Interrupt,
    ) -> mpsc::UnboundedReceiver<(TenantId, Result<Provisioned>)> {
        let (sender, receiver) = mpsc::unbounded_channel();
        let jobs = jobs.clamp(1, requests.len().max(1));
        let queue = Arc::new(Mutex::new(Queue {
            waiting: VecDeque::from(requests),
            workers: jobs,
        }));
        for _ in 0..jobs {
            let worker = Worker {
                provisioner: self.clone(),
                queue: Arc::clone(&queue),
                ledger: ledger.clone(),
                interrupt: interrupt.clone(),
                sender: sender.clone(),
            };
            tokio::spawn(worker.run());
        }
        receiver
    }
}

/// A session with a server that may just be coming back.
async fn patiently(connector: &Connector) -> Result<Session> {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        match connector.connect().await {
            Err(error) if error.kind() == ErrorKind::Connection && Instant::now() < end => {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            result => return result,
        }
    }
}

/// After a session was lost in the middle: makes sure that its transaction has ended, then asks whether the registry
/// has a tenant with this schema.
///
/// # Errors
/// When the server cannot be asked, or the lost session cannot be ended.
pub async fn settle(connector: &Connector, backend_pid: i32, schema: &SchemaName) -> Result<bool> {
    let session = patiently(connector).await?;
    let doing = "end the lost session";
    let sql = Sql::new(
        "SELECT pg_catalog.pg_terminate_backend(a.pid, 5000) AS ended FROM pg_catalog.pg_stat_activity a
WHERE a.pid = $1 AND a.usename = session_user",
    );
    for row in session.query(&sql, &[(&backend_pid, Type::INT4)], doing).await? {
        if !column::<bool>(&row, "ended")? {
            return Err(Error::new(ErrorKind::Timeout, format!("failed to {doing}")));
        }
    }
    catalog::tenants::committed(&session, schema).await
}

/// Under one lock, so that no worker can leave between another's look at the queue and its going.
struct Queue {
    waiting: VecDeque<Request>,
    workers: usize,
}

/// One of the jobs of [`Provisioner::provision_many`].
struct Worker {
    provisioner: Provisioner,
    queue: Arc<Mutex<Queue>>,
    ledger: Option<Arc<dyn Ledger>>,
    interrupt: Interrupt,
    sender: mpsc::UnboundedSender<(TenantId, Result<Provisioned>)>,
}

impl Worker {
    async fn run(self) {
        let mut session: Option<(Session, usize)> = None;
        while let Some(request) = self.next() {
            let (open, made) = match session
                .take()
                .filter(|(s, made)| !s.is_closed() && *made < RECYCLE_AFTER)
            {
                Some(open) => open,
                None => match self.provisioner.connector.connect().await {
                    Ok(open) => (open, 0),
                    // The server has no place for this many sessions: leave the work to those that have one.
                    Err(error) if error.sqlstate() == Some("53300") && self.leave_to_others(&request) => return,
                    Err(error) => {
                        self.fail_all(request, &error);
                        return;
                    }
                },
            };
            let result = self
                .provisioner
                .provision(&open, &request, self.ledger.as_deref())
                .await;
            if let Err(error) = &result {
                record::failure(
                    &self.provisioner.connector,
                    Some(&open),
                    "provision",
                    Some(&request.id),
                    error,
                )
                .await;
            }
            let _ = self.sender.send((request.id, result));
            session = Some((open, made + 1));
        }
    }

    /// The next tenant to make; none also signs this worker off.
    fn next(&self) -> Option<Request> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let next = if self.interrupt.requested() {
            None
        } else {
            queue.waiting.pop_front()
        };
        queue.workers -= usize::from(next.is_none());
        next
    }

    /// Gives a request back and signs off, unless this worker is the last.
    fn leave_to_others(&self, request: &Request) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let others = queue.workers > 1;
        if others {
            queue.waiting.push_front(request.clone());
            queue.workers -= 1;
        }
        others
    }

    /// No session can be had, so none of what is left can be made: says so for each, instead of trying each.
    fn fail_all(&self, request: Request, error: &Error) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.workers -= 1;
        for request in std::iter::once(request).chain(queue.waiting.drain(..)) {
            let _ = self.sender.send((request.id, Err(error.clone())));
        }
    }
}
