//! A database of the benchmark's own, so that no catalog of the user's grows.

use tokio_postgres::types::Type;

use crate::error::{Error, ErrorKind, Result};
use crate::pg::password::random_hex;
use crate::pg::session::{Connector, Session, column};
use crate::pg::sql::Sql;

/// What the comment on such a database says; a later run drops what a killed one left.
const COMMENT: &str = "scratch database of tenantctl bench";
/// The same of a tenant's role whose database is about to go, and of the roles of all tenants where only a benchmark has them.
const ROLE_COMMENT: &str = "scratch role of tenantctl bench";

/// A scratch database. [`Scratch::remove`] drops it with all roles made in it.
pub struct Scratch {
    admin: Session,
    outside: Connector,
    name: String,
    owner_was_there: bool,
    /// Stays connected, so that a run that begins meanwhile does not take the database for a leftover.
    held: Session,
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
        for left in leftovers(&admin).await? {
            remove(&admin, &left).await?;
        }
        remove_marked_roles(&admin).await?;
        let row = admin
            .query_one(
                &Sql::new("SELECT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'tenantctl_owner') AS owner"),
                &[],
                doing,
            )
            .await?;
        let owner_was_there = column(&row, "owner")?;
        let name = format!("tenantctl_bench_{}", random_hex(4));
        admin.batch(&Sql::new("CREATE DATABASE ").ident(&name).text(" TEMPLATE template0"), doing).await.map_err(|e| {
            if e.kind() == ErrorKind::Permission {
                e.with_hint("bench works in a database of its own, so that no catalog of yours grows: the login needs CREATEDB.")
            } else {
                e
            }
        })?;
        let comment = Sql::new("COMMENT ON DATABASE ")
            .ident(&name)
            .text(" IS ")
            .literal(COMMENT);
        if let Err(error) = admin.batch(&comment, doing).await {
            // Without its comment no later run would know it for ours.
            let _ = admin.batch(&Sql::new("DROP DATABASE ").ident(&name), doing).await;
            return Err(error);
        }
        let outside = connector.clone();
        let mut info = connector.info().clone();
        info.dbname.clone_from(&name);
        let connector = connector.with_info(info);
        match connector.connect().await {
            Ok(held) => Ok(Self {
                connector,
                admin,
                outside,
                name,
                owner_was_there,
                held,
            }),
            Err(error) => {
                let _ = remove(&admin, &name).await;
                Err(error)
            }
        }
    }

    /// Marks the roles of all tenants where they were made for this database, so that a run after one that is killed knows
    /// them for nobody's.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn mark_roles(&self) -> Result<()> {
        if self.owner_was_there {
            return Ok(());
        }
        let marks = [crate::tenant::TENANTS_ROLE, crate::tenant::OWNER_ROLE].iter();
        let marks = marks.fold(Sql::new(""), |sql, role| {
            sql.text("COMMENT ON ROLE ")
                .ident(role)
                .text(" IS ")
                .literal(ROLE_COMMENT)
                .text(";\n")
        });
        self.admin.batch(&marks, "mark the benchmark's roles").await
    }

    /// Drops the database and the roles that were made in it.
    ///
    /// # Errors
    /// When the server refuses; the database's name is in the error, and the next run tries again.
    pub async fn remove(mut self) -> Result<()> {
        drop(self.held);
        // What ended the suite may have ended this session, too.
        if self.admin.is_closed() {
            self.admin = self.outside.connect().await?;
        }
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
        // Those of a run beside this one, which could not drop them because of it.
        remove_marked_roles(&self.admin).await
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
    // Once the database is gone, nothing else tells whose they were: a run that is killed between the two leaves marked ones.
    for chunk in roles.chunks(200) {
        let marks = chunk.iter().fold(Sql::new(""), |sql, role| {
            sql.text("COMMENT ON ROLE ")
                .ident(role)
                .text(" IS ")
                .literal(ROLE_COMMENT)
                .text(";\n")
        });
        admin.batch(&marks, &doing).await?;
    }
    admin
        .batch(
            &Sql::new("DROP DATABASE ").ident(database).text(" WITH (FORCE)"),
            &doing,
        )
        .await?;
    drop_roles(admin, &roles, &doing).await
}

/// Roles of killed runs that had dropped their database already. Whatever one of them is needed for by now, it keeps.
async fn remove_marked_roles(admin: &Session) -> Result<()> {
    let doing = "remove the roles of earlier runs";
    let sql = Sql::new(
        "SELECT r.rolname::text AS name FROM pg_catalog.pg_roles r
WHERE (r.rolname ~ '^tenant_[0-9a-f]{12}_user$' OR r.rolname IN ('tenantctl_owner', 'tenantctl_tenants'))
AND pg_catalog.shobj_description(r.oid, 'pg_authid') = $1
AND NOT EXISTS (SELECT FROM pg_catalog.pg_shdepend s
    WHERE s.refclassid = 'pg_catalog.pg_authid'::pg_catalog.regclass AND s.refobjid = r.oid)",
    );
    let rows = admin.query(&sql, &[(&ROLE_COMMENT, Type::TEXT)], doing).await?;
    let roles: Vec<String> = rows.iter().map(|row| column(row, "name")).collect::<Result<_>>()?;
    drop_roles(admin, &roles, doing).await
}

async fn drop_roles(admin: &Session, roles: &[String], doing: &str) -> Result<()> {
    for chunk in roles.chunks(200) {
        let list = chunk.iter().enumerate().fold(Sql::new("DROP ROLE "), |sql, (i, role)| {
            if i == 0 { sql } else { sql.text(", ") }.ident(role)
        });
        admin.batch(&list, doing).await?;
    }
    Ok(())
}

/// How many tenants the cluster holds outside scratch databases, by their roles; and whether another run is at work.
///
/// # Errors
/// When the server cannot be reached or refuses the query.
pub async fn others(connector: &Connector) -> Result<Others> {
    let session = connector.connect().await?;
    let sql = Sql::new(include_str!("../../sql/bench/others.sql"));
    let row = session
        .query_one(&sql, &[(&COMMENT, Type::TEXT)], "look for tenants in the cluster")
        .await?;
    Ok(Others {
        tenants: column(&row, "tenants")?,
        runs: column(&row, "runs")?,
    })
}

/// Who shares the cluster with a benchmark.
#[derive(Clone, Copy, Debug)]
pub struct Others {
    /// Tenants in other than scratch databases.
    pub tenants: i64,
    /// Other benchmarks that are at work.
    pub runs: i64,
}
