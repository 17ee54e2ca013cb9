//! A database of the benchmark's own, so that no catalog of the user's grows.

use tokio_postgres::types::Type;

use super::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::password::random_hex;
use crate::pg::session::{Connector, Session, column};
use crate::pg::sql::Sql;

/// What the comment on such a database says; a later run drops what a killed one left.
const COMMENT: &str = "scratch database of tenantctl bench";

/// A scratch database. [`Scratch::remove`] drops it with all roles made in it.
pub struct Scratch {
    admin: Session,
    name: String,
    owner_was_there: bool,
    /// Opens sessions in the scratch database.
    pub connector: Connector,
}

impl Scratch {
    /// Makes a scratch database, after dropping those that killed runs left behind.
    ///
    /// # Errors
    /// Kind `permission` without CREATEDB.
    pub async fn create(connector: &Connector) -> Result<Self> {
        let admin = connector.connect().await?;
        admin.server().require_writable()?;
        let doing = "make the benchmark's database";
        let row = admin
            .query_one(
                &Sql::new("SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tenantctl_owner') AS owner"),
                &[],
                doing,
            )
            .await?;
        let owner_was_there = column(&row, "owner")?;
        for left in leftovers(&admin).await? {
            remove(&admin, &left).await?;
        }
        let name = format!("tenantctl_bench_{}", random_hex(4));
        admin.batch(&Sql::new("CREATE DATABASE ").ident(&name).text(" TEMPLATE template0"), doing).await.map_err(|e| {
            if e.kind() == ErrorKind::Permission {
                e.with_hint("bench works in a database of its own, so that no catalog of yours grows: the login needs CREATEDB.")
            } else {
                e
            }
        })?;
        admin
            .batch(
                &Sql::new("COMMENT ON DATABASE ")
                    .ident(&name)
                    .text(" IS ")
                    .literal(COMMENT),
                doing,
            )
            .await?;
        let mut info = connector.info().clone();
        info.dbname.clone_from(&name);
        Ok(Self {
            connector: connector.with_info(info),
            admin,
            name,
            owner_was_there,
        })
    }

    /// Drops the database and the roles that were made in it.
    ///
    /// # Errors
    /// When the server refuses; the database's name is in the error, and the next run tries again.
    pub async fn remove(self) -> Result<()> {
        remove(&self.admin, &self.name).await?;
        if !self.owner_was_there {
            // They may be in use by another database by now; then they stay.
            for role in [crate::tenant::TENANTS_ROLE, crate::tenant::OWNER_ROLE] {
                let _ = self
                    .admin
                    .batch(&Sql::new("DROP ROLE ").ident(role), "drop the benchmark's roles")
                    .await;
            }
        }
        Ok(())
    }

    /// What the run is made on.
    ///
    /// # Errors
    /// When the server refuses the query.
    pub async fn environment(&self) -> Result<Environment> {
        let sql = Sql::new(
            "SELECT name || ' = ' || pg_catalog.current_setting(name) AS setting FROM pg_catalog.unnest(ARRAY['shared_buffers',
    'fsync', 'synchronous_commit', 'wal_level', 'max_connections', 'max_locks_per_transaction']) name",
        );
        let rows = self.admin.query(&sql, &[], "read the server's settings").await?;
        Ok(Environment {
            server_version: self.admin.server().version.clone(),
            settings: rows.iter().map(|row| column(row, "setting")).collect::<Result<_>>()?,
            client_cpus: std::thread::available_parallelism().map_or(1, usize::from),
        })
    }
}

async fn leftovers(admin: &Session) -> Result<Vec<String>> {
    let sql = Sql::new(
        "SELECT d.datname::text AS name FROM pg_catalog.pg_database d
WHERE d.datname ~ '^tenantctl_bench_[0-9a-f]{8}$'
AND pg_catalog.shobj_description(d.oid, 'pg_database') = $1
AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_activity a WHERE a.datid = d.oid AND a.backend_type = 'client backend')",
    );
    let rows = admin
        .query(&sql, &[(&COMMENT, Type::TEXT)], "look for leftovers of earlier runs")
        .await?;
    rows.iter().map(|row| column(row, "name")).collect()
}

async fn remove(admin: &Session, database: &str) -> Result<()> {
    let doing = format!("remove the benchmark's database {database}");
    // Roles that hold something in that database, and have the shape of a tenant's: asked before it goes.
    let sql = Sql::new(
        "SELECT DISTINCT r.rolname::text AS name FROM pg_catalog.pg_shdepend s
JOIN pg_catalog.pg_database d ON d.oid = s.dbid AND d.datname = $1
JOIN pg_catalog.pg_roles r ON r.oid = s.refobjid AND s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass
WHERE r.rolname ~ '^tenant_[0-9a-f]{12}_user$'",
    );
    let rows = admin.query(&sql, &[(&database, Type::TEXT)], &doing).await?;
    let roles: Vec<String> = rows.iter().map(|row| column(row, "name")).collect::<Result<_>>()?;
    admin
        .batch(&Sql::new("SET statement_timeout = 0; SET lock_timeout = 0"), &doing)
        .await
        .map_err(|e: Error| e.with_hint(format!("Drop it by hand: DROP DATABASE {database} WITH (FORCE).")))?;
    admin
        .batch(
            &Sql::new("DROP DATABASE ").ident(database).text(" WITH (FORCE)"),
            &doing,
        )
        .await?;
    for chunk in roles.chunks(200) {
        let list = chunk.iter().enumerate().fold(Sql::new("DROP ROLE "), |sql, (i, role)| {
            if i == 0 { sql } else { sql.text(", ") }.ident(role)
        });
        admin.batch(&list, &doing).await?;
    }
    Ok(())
}
