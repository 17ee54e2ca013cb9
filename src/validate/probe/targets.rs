//! What is there to be tried, read by the admin from plain catalog columns.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use tokio_postgres::types::Type;

use crate::error::Result;
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;

/// A tenant, by its names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// The caller's name for it.
    pub id: String,
    /// Its schema.
    pub schema: String,
    /// Its role.
    pub role: String,
}

/// What kind of object it is, as far as attempts differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A table, plain or partitioned.
    Table,
    /// A view or materialized view.
    View,
    /// A foreign table.
    Foreign,
    /// A sequence.
    Sequence,
    /// A function or procedure.
    Function,
    /// A function for triggers.
    TriggerFunction,
    /// An enum, domain, range or composite type.
    Type,
}

impl Shape {
    fn of(kind: &str) -> Option<Self> {
        Some(match kind {
            "r" | "p" => Self::Table,
            "v" | "m" => Self::View,
            "f" => Self::Foreign,
            "S" => Self::Sequence,
            "function" => Self::Function,
            "trigger function" => Self::TriggerFunction,
            "type" => Self::Type,
            _ => return None,
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::View => "view",
            Self::Foreign => "foreign table",
            Self::Sequence => "sequence",
            Self::Function | Self::TriggerFunction => "function",
            Self::Type => "type",
        }
    }

    /// Whether its name resolves as a relation.
    pub fn is_relation(self) -> bool {
        matches!(self, Self::Table | Self::View | Self::Foreign | Self::Sequence)
    }
}

/// An object of a tenant's schema.
#[derive(Clone, Debug)]
pub struct Object {
    /// What it is.
    pub shape: Shape,
    /// Its name; of a function with its argument types.
    pub name: Arc<str>,
    /// Its oid.
    pub oid: u32,
    /// The first column of a relation.
    pub first_column: Option<Arc<str>>,
    /// To use it may run code that is neither the owner's nor an admin's, or reach another server.
    pub ask_only: bool,
}

impl Object {
    /// Kind and qualified name.
    pub fn describe(&self, schema: &str) -> String {
        format!("{} {schema}.{}", self.shape.word(), self.name)
    }

    /// Whether it is a table that tenantctl keeps in the schema and the tenant may only read.
    pub fn is_tools_own(&self) -> bool {
        matches!(&*self.name, "audit_log" | "tenant_usage")
    }
}

/// A tenant with the objects of its schema.
#[derive(Clone, Debug)]
pub struct Target {
    /// The caller's name for it.
    pub id: String,
    /// Its schema.
    pub schema: String,
    /// Its role.
    pub role: String,
    /// Its writes are frozen.
    pub frozen: bool,
    /// The schema's oid; 0 when there is none.
    pub oid: u32,
    /// What the schema holds.
    pub objects: Vec<Object>,
}

/// Another database of the cluster.
#[derive(Clone, Debug)]
pub struct Database {
    /// Its name.
    pub name: String,
    /// Its oid.
    pub oid: u32,
    /// Whether PUBLIC may connect.
    pub public_connects: bool,
}

/// What the attempts aim at beyond tenants.
#[derive(Clone, Debug)]
pub struct World {
    /// The server's major version.
    pub major: i32,
    /// This database.
    pub database: String,
    /// Whether the admin is a superuser.
    pub superuser: bool,
    /// Other databases.
    pub databases: Vec<Database>,
    /// Roles that no tenant may become.
    pub roles: Vec<String>,
    /// Schemas that no tenant may create in, beside tenants' own.
    pub schemas: Vec<String>,
    /// The registry's schema.
    pub registry_oid: u32,
    /// The registry's tables with their oids.
    pub registry: Vec<(String, u32)>,
    /// Things outside schemas that take a grant to use: kind as the server's functions name it, and name.
    pub usable: Vec<(String, String)>,
    /// Large objects, a few.
    pub large_objects: Vec<u32>,
    /// An extension that a holder of CREATE on the database could install.
    pub trusted_extension: Option<String>,
    /// Relations that lead to code of others.
    pub foreign_code: HashSet<u32>,
}

/// All tenants of the registry, by id.
///
/// # Errors
/// When the registry cannot be read.
pub async fn tenants(session: &Session) -> Result<Vec<Tenant>> {
    let sql = Sql::new("SELECT t.tenant_id, t.schema_name, t.role_name FROM tenantctl.tenants t ORDER BY t.tenant_id");
    session
        .query(&sql, &[], "read the registry")
        .await?
        .iter()
        .map(|row| {
            Ok(Tenant {
                id: column(row, "tenant_id")?,
                schema: column(row, "schema_name")?,
                role: column(row, "role_name")?,
            })
        })
        .collect()
}

/// The schemas of tenants whose writes are frozen.
///
/// # Errors
/// When the registry cannot be read.
pub async fn frozen(session: &Session) -> Result<HashSet<String>> {
    let sql = Sql::new("SELECT t.schema_name FROM tenantctl.tenants t WHERE t.writes_frozen_at IS NOT NULL");
    let rows = session.query(&sql, &[], "read the registry").await?;
    rows.iter().map(|row| column(row, "schema_name")).collect()
}

/// Pairs (attacker, victim) between which the catalog shows a direct way.
///
/// # Errors
/// When the catalog cannot be read.
pub async fn leads(session: &Session) -> Result<Vec<(String, String)>> {
    let sql = Sql::new(include_str!("../../../sql/probe/leads.sql"));
    session
        .query(&sql, &[], "look for ways between tenants")
        .await?
        .iter()
        .map(|row| Ok((column(row, "attacker")?, column(row, "victim")?)))
        .collect()
}

/// The objects of some tenants.
///
/// # Errors
/// When the catalog cannot be read.
pub async fn objects(session: &Session, tenants: &[&Tenant], world: &World) -> Result<HashMap<String, Arc<Target>>> {
    let frozen = frozen(session).await?;
    let mut targets: HashMap<&str, Target> = tenants
        .iter()
        .map(|t| {
            let target = Target {
                id: t.id.clone(),
                schema: t.schema.clone(),
                role: t.role.clone(),
                frozen: frozen.contains(&t.schema),
                oid: 0,
                objects: Vec::new(),
            };
            (t.schema.as_str(), target)
        })
        .collect();
    let sql = Sql::new(include_str!("../../../sql/probe/objects.sql"));
    let schemas: Vec<&str> = targets.keys().copied().collect();
    let rows = session
        .query(&sql, &[(&schemas, Type::TEXT_ARRAY)], "list tenants' objects")
        .await?;
    // The same few names in every schema.
    let mut names: HashSet<Arc<str>> = HashSet::new();
    let mut intern = |name: &str| match names.get(name) {
        Some(known) => Arc::clone(known),
        None => {
            let new: Arc<str> = name.into();
            names.insert(Arc::clone(&new));
            new
        }
    };
    for row in &rows {
        let Some(target) = targets.get_mut(column::<&str>(row, "schema_name")?) else {
            continue;
        };
        target.oid = column(row, "schema_oid")?;
        let Some(shape) = Shape::of(column(row, "kind")?) else {
            continue;
        };
        let oid = column(row, "oid")?;
        target.objects.push(Object {
            shape,
            name: intern(column(row, "name")?),
            oid,
            first_column: column::<Option<&str>>(row, "first_column")?.map(&mut intern),
            ask_only: shape == Shape::Foreign || world.foreign_code.contains(&oid),
        });
    }
    Ok(targets.into_values().map(|t| (t.id.clone(), Arc::new(t))).collect())
}

/// Reads what attempts aim at beyond tenants.
///
/// # Errors
/// When the catalog cannot be read.
pub async fn world(session: &Session) -> Result<World> {
    let doing = "read what the probe aims at";
    let names = async |sql: &'static str| -> Result<Vec<String>> {
        let rows = session.query(&Sql::new(sql), &[], doing).await?;
        rows.iter().map(|row| column(row, "name")).collect()
    };
    let roles = names(include_str!("../../../sql/probe/roles.sql")).await?;
    let schemas = names(
        "SELECT n.nspname::text AS name FROM pg_catalog.pg_namespace n
WHERE n.nspname !~ '^pg_t(emp|oast)' AND n.nspname !~ '^tenant_[0-9a-f]{12}$' ORDER BY n.nspname = 'public' DESC, 1 LIMIT 20",
    )
    .await?;
    let trusted_extension = names(
        "SELECT v.name::text AS name FROM pg_catalog.pg_available_extension_versions() v
WHERE v.trusted AND v.requires IS NULL AND v.schema IS NULL AND NOT EXISTS (SELECT FROM pg_catalog.pg_extension e WHERE e.extname = v.name)
ORDER BY v.name = 'tsm_system_rows' DESC, 1 LIMIT 1",
    )
    .await?
    .pop();
    let rows = session
        .query(&Sql::new(include_str!("../../../sql/probe/databases.sql")), &[], doing)
        .await?;
    let databases = rows
        .iter()
        .map(|row| {
            Ok(Database {
                name: column(row, "name")?,
                oid: column(row, "oid")?,
                public_connects: column(row, "public_connects")?,
            })
        })
        .collect::<Result<_>>()?;
    let rows = session
        .query(
            &Sql::new(
                "SELECT n.oid AS schema_oid, c.relname::text AS name, c.oid
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'tenantctl' AND c.relkind IN ('r', 'p') ORDER BY 2",
            ),
            &[],
            doing,
        )
        .await?;
    let registry_oid = rows.first().map_or(Ok(0), |row| column(row, "schema_oid"))?;
    let registry = rows
        .iter()
        .map(|row| Ok((column(row, "name")?, column(row, "oid")?)))
        .collect::<Result<_>>()?;
    let rows = session
        .query(
            &Sql::new(
                "(SELECT 'foreign_data_wrapper' AS kind, f.fdwname::text AS name FROM pg_catalog.pg_foreign_data_wrapper f LIMIT 20)
UNION ALL (SELECT 'server', s.srvname::text FROM pg_catalog.pg_foreign_server s LIMIT 100)
UNION ALL (SELECT 'tablespace', t.spcname::text FROM pg_catalog.pg_tablespace t LIMIT 100)",
            ),
            &[],
            doing,
        )
        .await?;
    let usable = rows
        .iter()
        .map(|row| Ok((column(row, "kind")?, column(row, "name")?)))
        .collect::<Result<_>>()?;
    let oids = async |sql: &'static str| -> Result<Vec<u32>> {
        let rows = session.query(&Sql::new(sql), &[], doing).await?;
        rows.iter().map(|row| column(row, "oid")).collect()
    };
    let large_objects = oids("SELECT m.oid FROM pg_catalog.pg_largeobject_metadata m ORDER BY m.oid LIMIT 10").await?;
    let foreign_code = oids(include_str!("../../../sql/probe/foreign_code.sql")).await?;
    let superuser = session
        .query_one(
            &Sql::new("SELECT r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = session_user"),
            &[],
            doing,
        )
        .await?;
    Ok(World {
        major: session.server().major(),
        database: session.server().database.clone(),
        superuser: column(&superuser, "rolsuper")?,
        databases,
        roles,
        schemas,
        registry_oid,
        registry,
        usable,
        large_objects,
        trusted_extension,
        foreign_code: foreign_code.into_iter().collect(),
    })
}
