//! The temporary login of an attacker.
//!
//! Nobody knows a tenant's password, and one that is replaced even for a moment stays replaced if we are killed. So a
//! role of our own logs in that holds the tenant's role and nothing else, and becomes it: the server then checks the
//! tenant's rights, and code that finds its way out by RESET ROLE is still nobody but that tenant. SET ROLE or SET
//! SESSION AUTHORIZATION from the admin's session would let such code become the admin. The role is closed to logins and
//! loses its password as soon as it is in; one that a killed run left cannot be used, and the next run drops it.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::pg::password::{Password, random_hex};
use crate::pg::session::{Connector, Session, SessionLimits, column};
use crate::pg::sql::Sql;

use super::targets::{Target, World};

/// How long the password would work if we were killed right after making it.
const VALID: &str = "60 seconds";

/// Sessions at a time: one in this database, one just ending in another.
const SESSIONS: i32 = 4;

/// A temporary role that holds one tenant's role.
#[derive(Debug)]
pub struct Visitor {
    /// Its name.
    pub role: String,
    password: Password,
    /// The other databases that the tenant's rights let it connect to.
    pub open_databases: Vec<u32>,
}

impl Visitor {
    /// Makes the role.
    ///
    /// # Errors
    /// When the admin may not make roles, or may not grant this tenant's.
    pub async fn create(admin: &Session, tenant: &Target, world: &World) -> Result<Self> {
        let doing = "make a temporary login";
        let row = admin
            .query_one(
                &Sql::new("SELECT (pg_catalog.now() + '")
                    .text(VALID)
                    .text(
                        "')::pg_catalog.text AS valid_until, ARRAY(SELECT d.oid FROM pg_catalog.pg_database d
WHERE d.datallowconn AND d.datname <> pg_catalog.current_database() AND EXISTS (SELECT FROM pg_catalog.pg_roles r
    WHERE r.rolname = ",
                    )
                    .literal(&tenant.role)
                    .text(" AND pg_catalog.has_database_privilege(r.oid, d.oid, 'CONNECT'))) AS open"),
                &[],
                doing,
            )
            .await?;
        let visitor = Self {
            role: format!("tenantctl_probe_{}", random_hex(6)),
            password: Password::generate(),
            open_databases: column(&row, "open")?,
        };
        let valid_until: &str = column(&row, "valid_until")?;
        let mut sql = Sql::new("BEGIN;\nCREATE ROLE ")
            .ident(&visitor.role)
            .text(" LOGIN INHERIT CONNECTION LIMIT ")
            .int(SESSIONS)
            .text(" PASSWORD ")
            .secret(&visitor.password.verifier())
            .text(" VALID UNTIL ")
            .literal(valid_until)
            .text(";\nCOMMENT ON ROLE ")
            .ident(&visitor.role)
            .text(" IS ")
            .literal(&format!("tenantctl probe of backend {}", admin.server().backend_pid))
            .text(";\nGRANT ")
            .ident(&tenant.role)
            .text(" TO ")
            .ident(&visitor.role)
            .text(if world.major >= 16 {
                " WITH INHERIT TRUE, SET TRUE;\n"
            } else {
                ";\n"
            });
        // Hundreds of refusals a tenant would flood the server's log; statements are logged all the same.
        if world.superuser {
            sql = sql
                .text("ALTER ROLE ")
                .ident(&visitor.role)
                .text(" SET log_min_messages = log;\n");
        }
        let made = admin.batch(&sql.text("COMMIT;"), doing).await;
        if made.is_err() {
            admin.rollback().await;
        }
        made.map(|()| visitor)
    }

    fn connector(&self, connector: &Connector, database: &str, limits: SessionLimits) -> Connector {
        let mut info = connector.info().with_login(&self.role, Some(self.password.reveal()));
        info.dbname = database.to_owned();
        // The admin's own start-up options are not the tenant's.
        info.options = None;
        Connector::new(info, "tenantctl probe", limits)
    }

    /// Tries to log in to another database, and leaves at once.
    ///
    /// # Errors
    /// Why it was refused.
    pub async fn visit(&self, connector: &Connector, database: &str, limits: SessionLimits) -> Result<()> {
        self.connector(connector, database, limits).connect().await.map(drop)
    }

    /// Logs in to this database, and closes the door behind.
    ///
    /// # Errors
    /// Why it was refused.
    pub async fn enter(&self, connector: &Connector, admin: &Session, limits: SessionLimits) -> Result<Session> {
        let session = self
            .connector(connector, &admin.server().database, limits)
            .connect()
            .await?;
        let sql = Sql::new("ALTER ROLE ").ident(&self.role).text(" NOLOGIN PASSWORD NULL");
        admin.batch(&sql, "close the temporary login").await?;
        Ok(session)
    }

    /// Drops the role.
    ///
    /// # Errors
    /// When it could not be dropped.
    pub async fn remove(self, admin: &Session) -> Result<()> {
        drop_role(admin, &self.role).await
    }
}

async fn drop_role(admin: &Session, role: &str) -> Result<()> {
    let sql = Sql::new("DROP ROLE IF EXISTS ").ident(role);
    admin.batch(&sql, "drop a temporary login").await
}

/// Drops what killed runs have left; returns what is still there and why.
///
/// # Errors
/// When the catalog cannot be read.
pub async fn sweep(admin: &Session) -> Result<Vec<(String, Error)>> {
    let sql = Sql::new(include_str!("../../../sql/probe/leftovers.sql"));
    let mut kept = Vec::new();
    for row in admin.query(&sql, &[], "look for leftovers of killed runs").await? {
        let role: String = column(&row, "name")?;
        match drop_role(admin, &role).await {
            Ok(()) => tracing::info!(role, "dropped the temporary login of a killed run"),
            Err(error) if error.kind() == ErrorKind::Connection => return Err(error),
            Err(error) => kept.push((role, error)),
        }
    }
    Ok(kept)
}

/// Our sessions keep from views; a tenant's do not. In a transaction it ends with it.
const UNRESTRICTED: &str = "SELECT pg_catalog.set_config('restrict_nonsystem_relation_kind', '', false)
WHERE pg_catalog.current_setting('restrict_nonsystem_relation_kind', true) IS NOT NULL;\n";

/// How a session becomes the tenant, and the start of the transaction of all attempts.
///
/// row_security is on, as a tenant has it: off, the server would refuse what it should filter.
pub fn become_tenant(tenant: &Target) -> Sql {
    Sql::new("SET row_security = on;\n")
        .text(UNRESTRICTED)
        .text("SET ROLE ")
        .ident(&tenant.role)
        .text(";\nBEGIN;\nSAVEPOINT probe")
}

/// The same from the admin's own session, all in a transaction that never commits: the membership that it may take
/// first is nobody else's to see, and gone with the session.
pub fn become_tenant_as_admin(tenant: &Target, world: &World, limits: SessionLimits) -> Sql {
    let mut sql = Sql::new("BEGIN;\nSET LOCAL row_security = on;\n")
        .text(UNRESTRICTED)
        .text("SET LOCAL statement_timeout = ")
        .int(limits.statement.as_millis() as i128)
        .text(";\nSET LOCAL lock_timeout = ")
        .int(limits.lock.as_millis() as i128)
        .text(";\n");
    if world.superuser {
        sql = sql.text("SET LOCAL log_min_messages = log;\n");
    } else {
        sql = sql.text("GRANT ").ident(&tenant.role).text(if world.major >= 16 {
            " TO CURRENT_USER WITH INHERIT FALSE, SET TRUE;\n"
        } else {
            " TO CURRENT_USER;\n"
        });
    }
    sql.text("SET LOCAL ROLE ")
        .ident(&tenant.role)
        .text(";\nSAVEPOINT probe")
}

/// A limit of our own clock, for a server that no longer answers.
pub async fn within<T>(limit: Duration, session: &Session, work: impl Future<Output = T>) -> Result<T> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => Ok(done),
        Err(_) => {
            session.cancel().await;
            Err(Error::new(ErrorKind::Timeout, "the server did not answer in time").with_sqlstate("57014"))
        }
    }
}
