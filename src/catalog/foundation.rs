//! What `init` finds: roles, registry schema, applied migrations.

use tokio_postgres::types::Type;

use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;
use crate::plan::init::{Foundation, MIGRATIONS};

/// Reads the foundation and refuses one that is not ours to build on.
///
/// # Errors
/// When a role or schema of our name exists and is not what `init` would have made.
pub async fn read(session: &Session) -> Result<Foundation> {
    let sql = Sql::new(
        "WITH ours AS (
    SELECT r.oid, r.rolname,
        r.rolcanlogin OR r.rolsuper OR r.rolcreaterole OR r.rolcreatedb OR r.rolreplication OR r.rolbypassrls AS strong
    FROM pg_catalog.pg_roles r WHERE r.rolname IN ('tenantctl_owner', 'tenantctl_tenants')
), owner AS (SELECT * FROM ours WHERE rolname = 'tenantctl_owner'),
tenants AS (SELECT * FROM ours WHERE rolname = 'tenantctl_tenants'),
db AS (SELECT d.oid, d.datname, d.datacl FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()),
registry AS (
    SELECT n.oid, n.nspowner FROM pg_catalog.pg_namespace n WHERE n.nspname = 'tenantctl'
)
SELECT (SELECT datname::text FROM db) AS database,
    EXISTS (SELECT FROM owner) AS owner_role,
    EXISTS (SELECT FROM tenants) AS tenants_role,
    (SELECT pg_catalog.string_agg(rolname::text, ', ') FROM ours WHERE strong) AS strong_roles,
    COALESCE((SELECT pg_catalog.pg_has_role(session_user, oid, 'USAGE')
        AND CASE WHEN pg_catalog.current_setting('server_version_num')::integer >= 160000
            THEN pg_catalog.pg_has_role(session_user, oid, 'SET') ELSE true END FROM owner), false) AS acts_as_owner,
    (SELECT pg_catalog.string_agg(o.rolname || ' is a member of ' || m.roleid::pg_catalog.regrole::text, ', ')
        FROM pg_catalog.pg_auth_members m JOIN ours o ON o.oid = m.member) AS memberships,
    (SELECT pg_catalog.string_agg(m.member::pg_catalog.regrole::text, ', ')
        FROM pg_catalog.pg_auth_members m JOIN owner ON owner.oid = m.roleid
        JOIN pg_catalog.pg_roles r ON r.oid = m.member
        WHERE r.rolname = 'tenantctl_tenants' OR r.rolname ~ '^tenant_[0-9a-f]{12}_user$') AS tenants_as_owner,
    -- From 16 on, CREATEROLE alone no longer lets one grant roles that somebody else has made.
    (SELECT pg_catalog.string_agg(rolname::text, ', ') FROM ours
        WHERE pg_catalog.current_setting('server_version_num')::integer >= 160000
        AND NOT pg_catalog.pg_has_role(session_user, oid, 'MEMBER WITH ADMIN OPTION')) AS not_grantable,
    EXISTS (SELECT FROM registry) AS registry_schema,
    EXISTS (SELECT FROM registry, owner WHERE registry.nspowner = owner.oid) AS registry_is_ours,
    (SELECT pg_catalog.pg_get_userbyid(nspowner)::text FROM registry) AS registry_owner,
    EXISTS (SELECT FROM registry JOIN pg_catalog.pg_class c ON c.relnamespace = registry.oid
        WHERE c.relname = 'migrations') AS migrations_table,
    EXISTS (SELECT FROM pg_catalog.pg_default_acl a, owner
        WHERE a.defaclrole = owner.oid AND a.defaclnamespace = 0 AND a.defaclobjtype = 'f'
        AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(a.defaclacl) x WHERE x.grantee = 0))
    AND EXISTS (SELECT FROM pg_catalog.pg_default_acl a, owner
        WHERE a.defaclrole = owner.oid AND a.defaclnamespace = 0 AND a.defaclobjtype = 'T'
        AND NOT EXISTS (SELECT FROM pg_catalog.aclexplode(a.defaclacl) x WHERE x.grantee = 0)) AS default_privileges,
    EXISTS (SELECT FROM db, tenants, pg_catalog.aclexplode(db.datacl) x
        WHERE x.grantee = tenants.oid AND x.privilege_type = 'CONNECT') AS connect_granted,
    (SELECT pg_catalog.has_database_privilege(session_user, oid, 'CONNECT WITH GRANT OPTION') FROM db) AS may_grant_connect,
    (SELECT pg_catalog.has_database_privilege(session_user, oid, 'CREATE') FROM db) AS may_create,
    (SELECT r.rolsuper OR r.rolcreaterole FROM pg_catalog.pg_roles r WHERE r.rolname = session_user) AS may_create_roles",
    );
    let row = session.query_one(&sql, &[], "read what is installed").await?;
    let strong: Option<String> = column(&row, "strong_roles")?;
    if let Some(roles) = strong {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("role {roles} exists and is not a plain group"),
        )
        .with_cause("it can log in, or has an attribute such as SUPERUSER, CREATEROLE or BYPASSRLS")
        .with_hint(
            "tenantctl does not adopt it. Rename it, or take LOGIN and the attributes away if it is a leftover.",
        ));
    }
    if let Some(memberships) = column::<Option<String>>(&row, "memberships")? {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("{memberships}; every tenant would inherit that"),
        )
        .with_hint(
            "REVOKE the membership. tenantctl_owner and tenantctl_tenants must hold only what tenantctl gives them.",
        ));
    }
    if let Some(tenants) = column::<Option<String>>(&row, "tenants_as_owner")? {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!("{tenants} is a member of tenantctl_owner"),
        )
        .with_cause("it could read and change every tenant")
        .with_hint(format!("As a superuser: REVOKE tenantctl_owner FROM {tenants};")));
    }
    let registry_schema: bool = column(&row, "registry_schema")?;
    if registry_schema && !column::<bool>(&row, "registry_is_ours")? {
        let owner: Option<String> = column(&row, "registry_owner")?;
        return Err(
            Error::new(ErrorKind::Unsupported, "schema tenantctl exists and is not a registry")
                .with_cause(format!(
                    "it belongs to {:?}, not to tenantctl_owner",
                    owner.unwrap_or_default()
                ))
                .with_hint("tenantctl does not adopt it. Rename that schema, or use another database."),
        );
    }
    let found = Foundation {
        database: column(&row, "database")?,
        owner_role: column(&row, "owner_role")?,
        tenants_role: column(&row, "tenants_role")?,
        acts_as_owner: column(&row, "acts_as_owner")?,
        registry_schema,
        migrations_table: column(&row, "migrations_table")?,
        default_privileges: column(&row, "default_privileges")?,
        connect_granted: column(&row, "connect_granted")?,
        may_grant_connect: column(&row, "may_grant_connect")?,
    };
    let mut missing = Vec::new();
    if !column::<bool>(&row, "may_create_roles")? {
        missing.push("CREATEROLE");
    }
    if !column::<bool>(&row, "may_create")? {
        missing.push("CREATE on the database");
    }
    if !missing.is_empty() {
        let user = &session.server().user;
        return Err(Error::new(
            ErrorKind::Permission,
            format!("{user:?} cannot run init: it lacks {}", missing.join(" and ")),
        )
        .with_hint(format!(
            "As a superuser: {}",
            Sql::new("ALTER ROLE ")
                .ident(user)
                .text(" CREATEROLE; GRANT CREATE ON DATABASE ")
                .ident(&found.database)
                .text(" TO ")
                .ident(user)
                .text(";")
        ))
        .with_sqlstate("42501"));
    }
    if let Some(roles) = column::<Option<String>>(&row, "not_grantable")? {
        let user = &session.server().user;
        return Err(
            Error::new(ErrorKind::Permission, format!("{user:?} may not grant {roles}"))
                .with_cause("another admin has made these roles, and this server asks for ADMIN OPTION")
                .with_hint(format!(
                    "As a superuser: {}",
                    Sql::new("GRANT tenantctl_owner, tenantctl_tenants TO ")
                        .ident(user)
                        .text(" WITH ADMIN OPTION;")
                ))
                .with_sqlstate("42501"),
        );
    }
    Ok(found)
}

/// The versions of the registry migrations that were applied, checked against what this binary carries.
///
/// # Errors
/// When the registry is newer than this binary, or a migration was applied with another text.
pub async fn applied_migrations(session: &Session) -> Result<Vec<i32>> {
    let sql = Sql::new("SELECT version, sha256 FROM tenantctl.migrations ORDER BY version");
    let rows = session.query(&sql, &[], "read the registry's migrations").await?;
    let mut applied = Vec::with_capacity(rows.len());
    for row in rows {
        let version: i32 = column(&row, "version")?;
        let sha256: String = column(&row, "sha256")?;
        let Some(known) = MIGRATIONS.iter().find(|m| m.version == version) else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!(
                    "the registry is at version {version}; this tenantctl knows {}",
                    MIGRATIONS.len()
                ),
            )
            .with_hint("A newer tenantctl has been here. Upgrade this binary."));
        };
        if known.sha256() != sha256 {
            return Err(Error::new(
                ErrorKind::Unsupported,
                format!("registry migration {} has another checksum", known.name),
            )
            .with_cause("it was applied by a build with a different text, or its row was changed")
            .with_hint("Do not go on: compare the tenantctl builds in use, and look into tenantctl.migrations."));
        }
        applied.push(version);
    }
    Ok(applied)
}

/// Refuses a database whose registry is missing or not at this binary's version. One round trip.
///
/// # Errors
/// Kind `not_initialized` with the hint to run `init`; kind `permission` when the admin may not read it.
pub async fn require_registry(session: &Session) -> Result<()> {
    let sql = Sql::new(
        "SELECT n.oid IS NOT NULL AS there,
    COALESCE(pg_catalog.has_schema_privilege(n.oid, 'USAGE'), false) AS readable,
    COALESCE((SELECT pg_catalog.pg_has_role(session_user, r.oid, 'USAGE') FROM pg_catalog.pg_roles r
        WHERE r.rolname = 'tenantctl_owner'), false) AS acts_as_owner,
    EXISTS (SELECT FROM pg_catalog.pg_class c WHERE c.relname = 'migrations' AND c.relnamespace = n.oid) AS migrations
FROM (VALUES (1)) one LEFT JOIN pg_catalog.pg_namespace n ON n.nspname = $1",
    );
    let row = session
        .query_one(&sql, &[(&"tenantctl", Type::TEXT)], "look for the registry")
        .await?;
    let database = &session.server().database;
    if !column::<bool>(&row, "there")? {
        return Err(Error::new(
            ErrorKind::NotInitialized,
            format!("database {database:?} has no tenantctl registry"),
        )
        .with_hint("Run `tenantctl init` first, or check that this is the right database."));
    }
    if !column::<bool>(&row, "readable")? || !column::<bool>(&row, "acts_as_owner")? {
        let user = &session.server().user;
        let admin_option = if session.server().major() >= 16 {
            " WITH ADMIN OPTION;"
        } else {
            ";"
        };
        return Err(
            Error::new(ErrorKind::Permission, format!("{user:?} may not use the registry"))
                .with_cause("it is not a member of tenantctl_owner that inherits its rights")
                .with_hint(format!(
                    "As the admin who ran init, or a superuser: {}",
                    Sql::new("GRANT tenantctl_owner, tenantctl_tenants TO ")
                        .ident(user)
                        .text(admin_option)
                ))
                .with_sqlstate("42501"),
        );
    }
    let applied = if column::<bool>(&row, "migrations")? {
        applied_migrations(session).await?.len()
    } else {
        0
    };
    if applied < MIGRATIONS.len() {
        return Err(Error::new(
            ErrorKind::NotInitialized,
            format!(
                "the registry is at version {applied}; this tenantctl needs {}",
                MIGRATIONS.len()
            ),
        )
        .with_hint("Run `tenantctl init`, which upgrades it."));
    }
    Ok(())
}
