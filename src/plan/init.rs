//! What `init` installs: roles, registry, migrations, template.

use std::time::Duration;

use super::provision::pin;
use super::{Plan, as_admin, as_owner};
use crate::pg::sql::Sql;
use crate::tenant::{OWNER_ROLE, ObjectLook, TENANTS_ROLE, Template, hex, standard_sha256};
use sha2::{Digest, Sha256};

/// One step of the registry's own history.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// Consecutive from 1.
    pub version: i32,
    /// The file's name in `sql/registry`.
    pub name: &'static str,
    /// The file's text.
    pub sql: &'static str,
}

/// All migrations, in order. An applied one is never edited: its checksum is in the registry.
pub const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "0001_tenants.sql",
        sql: include_str!("../../sql/registry/0001_tenants.sql"),
    },
    Migration {
        version: 2,
        name: "0002_isolation.sql",
        sql: include_str!("../../sql/registry/0002_isolation.sql"),
    },
    Migration {
        version: 3,
        name: "0003_backups.sql",
        sql: include_str!("../../sql/registry/0003_backups.sql"),
    },
    Migration {
        version: 4,
        name: "0004_metrics.sql",
        sql: include_str!("../../sql/registry/0004_metrics.sql"),
    },
    Migration {
        version: 5,
        name: "0005_baselines.sql",
        sql: include_str!("../../sql/registry/0005_baselines.sql"),
    },
];

impl Migration {
    /// Lower-case hex SHA-256 of the text.
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(self.sql.as_bytes()))
    }
}

/// What of the foundation is there already.
#[derive(Clone, Debug, Default)]
pub struct Foundation {
    /// The database.
    pub database: String,
    /// The owner role exists.
    pub owner_role: bool,
    /// The group of all tenants exists.
    pub tenants_role: bool,
    /// The admin may act as the owner.
    pub acts_as_owner: bool,
    /// The registry's schema exists.
    pub registry_schema: bool,
    /// The registry's list of migrations exists.
    pub migrations_table: bool,
    /// Functions and types of the owner come without rights for PUBLIC.
    pub default_privileges: bool,
    /// The group of all tenants may connect by a grant of its own.
    pub connect_granted: bool,
    /// The admin may grant CONNECT on the database.
    pub may_grant_connect: bool,
}

/// Roles, registry schema and default privileges, as far as they are missing.
pub fn foundation(now: &Foundation, timeout: Duration, lock_timeout: Duration) -> Plan {
    let mut plan = Plan::new("lay the foundation", timeout, lock_timeout);
    if !now.owner_role {
        plan.step("create the owner of all tenants' objects", create_group(OWNER_ROLE));
    }
    if !now.tenants_role {
        plan.step("create the group of all tenants", create_group(TENANTS_ROLE));
    }
    if !now.acts_as_owner {
        plan.step(
            "let the admin act as the owner",
            Sql::new("GRANT ").ident(OWNER_ROLE).text(" TO CURRENT_USER;"),
        );
    }
    if !now.registry_schema {
        plan.step(
            "create the registry's schema",
            Sql::new("CREATE SCHEMA tenantctl AUTHORIZATION tenantctl_owner;"),
        );
    }
    if !now.connect_granted && now.may_grant_connect {
        plan.step(
            "let tenants connect by a grant of their own, not by PUBLIC's",
            Sql::new("GRANT CONNECT ON DATABASE ")
                .ident(&now.database)
                .text(" TO ")
                .ident(TENANTS_ROLE)
                .text(";"),
        );
    }
    if !now.default_privileges {
        plan.step(
            "give PUBLIC nothing on what the owner creates (only the global form can)",
            Sql::new(
                "ALTER DEFAULT PRIVILEGES FOR ROLE tenantctl_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
ALTER DEFAULT PRIVILEGES FOR ROLE tenantctl_owner REVOKE USAGE ON TYPES FROM PUBLIC;",
            ),
        );
    }
    if !now.migrations_table {
        plan.step(
            "create the list of migrations",
            as_owner()
                .text(
                    "
CREATE TABLE tenantctl.migrations (
    version integer PRIMARY KEY,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
    applied_by text NOT NULL DEFAULT session_user,
    tool_version text NOT NULL
);
",
                )
                .append(as_admin()),
        );
    }
    plan
}

fn create_group(role: &str) -> Sql {
    Sql::new("CREATE ROLE ").ident(role).text(" NOLOGIN;")
}

/// One migration. Its row goes first: a second terminal waits on it, and is told by the primary key that it is done.
pub fn migration(migration: &Migration, timeout: Duration, lock_timeout: Duration) -> Plan {
    let mut plan = Plan::new(
        format!("apply registry migration {}", migration.name),
        timeout,
        lock_timeout,
    );
    plan.step(
        "claim the migration",
        as_owner()
            .text("\nINSERT INTO tenantctl.migrations (version, name, sha256, tool_version)\nVALUES (")
            .int(migration.version)
            .text(", ")
            .literal(migration.name)
            .text(", ")
            .literal(&migration.sha256())
            .text(", ")
            .literal(env!("CARGO_PKG_VERSION"))
            .text(");"),
    );
    plan.step("run it", Sql::new(migration.sql));
    plan
}

/// The primary key that tells a second terminal that a migration is done already.
pub const MIGRATION_CONSTRAINT: &str = "migrations_pkey";

/// Locks the installation's row, so that one command at a time changes the template.
pub fn lock_installation() -> Sql {
    as_owner().text("\nSELECT FROM tenantctl.installation FOR UPDATE;")
}

/// Clears the place of the template's reference copy and makes it anew, empty, with names resolving in it only.
pub fn template_schema(template: &Template, replaces: bool) -> Sql {
    let schema = template.schema();
    let mut sql = Sql::default();
    if replaces {
        sql = sql.text("DROP SCHEMA ").ident(&schema).text(" CASCADE;\n");
    }
    sql.append(as_admin())
        .text("\nCREATE SCHEMA ")
        .ident(&schema)
        .text(" AUTHORIZATION tenantctl_owner;\n")
        .append(pin(&schema))
}

/// Writes the template's new version, with what each module was seen to create, and makes it the current one. `looks`
/// goes by ordinal; 0 is what tenantctl adds to every tenant.
pub fn register_template(template: &Template, looks: &[Vec<ObjectLook>]) -> Sql {
    // Plain strings; serialising them cannot fail.
    let json = |value: serde_json::Result<String>| value.unwrap_or_default();
    let mut sql = Sql::new("SET LOCAL search_path = '';\nUPDATE tenantctl.template_versions SET is_current = false WHERE is_current AND template = ")
        .literal(&template.name)
        .text(";\nINSERT INTO tenantctl.template_versions (template, version, sha256, hypertables, bulk_load, is_current, standard_sha256, server_major)\nVALUES (")
        .literal(&template.name)
        .text(", ")
        .int(template.version)
        .text(", ")
        .literal(&template.sha256())
        .text(", ")
        .literal(&json(serde_json::to_string(&template.hypertables)))
        .text(", ")
        .text_array(&template.bulk_load)
        .text(", true, ")
        .literal(&standard_sha256())
        .text(", pg_catalog.current_setting('server_version_num')::integer / 10000);");
    for (ordinal, module) in template.modules.iter().enumerate() {
        sql = sql
            .text("\nINSERT INTO tenantctl.template_modules (template, version, ordinal, module, feature, sha256, objects, body)\nVALUES (")
            .literal(&template.name)
            .text(", ")
            .int(template.version)
            .text(", ")
            .int(ordinal as i128 + 1)
            .text(", ")
            .literal(&module.name)
            .text(", ")
            .optional(module.feature.as_deref())
            .text(", ")
            .literal(&module.sha256())
            .text(", ")
            .literal(&json(serde_json::to_string(&module.objects)))
            .text(", ")
            .literal(&module.sql)
            .text(");");
    }
    for (ordinal, looks) in looks.iter().enumerate().filter(|(_, looks)| !looks.is_empty()) {
        sql = sql.text("\nINSERT INTO tenantctl.template_objects (template, version, ordinal, kind, object, shape, expression, expression_reread)\nVALUES ");
        for (i, look) in looks.iter().enumerate() {
            sql = sql
                .text(if i == 0 { "(" } else { ",\n(" })
                .literal(&template.name)
                .text(", ")
                .int(template.version)
                .text(", ")
                .int(ordinal as i128)
                .text(", ")
                .literal(&look.kind)
                .text(", ")
                .literal(&look.object)
                .text(", ")
                .optional(look.shape.as_deref())
                .text(", ")
                .optional(look.expression.as_deref())
                .text(", ")
                .optional(look.reread.as_deref())
                .text(")");
        }
        sql = sql.text(";");
    }
    sql
}

/// The template's installation as one plan, for `--dry-run`. What the modules create is known only after they ran, so
/// the last step cannot be printed; what is printed instead keeps the text from installing half a template.
pub fn template(template: &Template, replaces: bool, timeout: Duration, lock_timeout: Duration) -> Plan {
    let mut plan = Plan::new(format!("install template {}", template.name), timeout, lock_timeout);
    plan.step("lock the installation", lock_installation());
    plan.step("create the template's schema", template_schema(template, replaces));
    for module in &template.modules {
        plan.step(format!("module {}", module.name), Sql::module(module));
    }
    plan.step(
        "here init reads what the modules created, holds it to the rules, and registers version and modules",
        Sql::new("DO $$ BEGIN RAISE EXCEPTION 'only tenantctl init can register the template'; END $$;"),
    );
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(1);

    #[test]
    fn a_complete_foundation_needs_nothing() {
        let all = Foundation {
            database: "d".into(),
            owner_role: true,
            tenants_role: true,
            acts_as_owner: true,
            registry_schema: true,
            migrations_table: true,
            default_privileges: true,
            connect_granted: true,
            may_grant_connect: true,
        };
        assert!(foundation(&all, LIMIT, LIMIT).is_empty());
        // Rights that the admin lacks are reported, not tried.
        let without = Foundation {
            connect_granted: false,
            may_grant_connect: false,
            ..all
        };
        assert!(foundation(&without, LIMIT, LIMIT).is_empty());
    }

    #[test]
    fn an_empty_database_gets_everything() {
        let plan = foundation(
            &Foundation {
                database: "d\"b".into(),
                may_grant_connect: true,
                ..Foundation::default()
            },
            LIMIT,
            LIMIT,
        );
        let text = plan.to_string();
        for part in [
            "CREATE ROLE \"tenantctl_owner\" NOLOGIN",
            "CREATE ROLE \"tenantctl_tenants\" NOLOGIN",
            "GRANT CONNECT ON DATABASE \"d\"\"b\" TO \"tenantctl_tenants\"",
            "CREATE TABLE tenantctl.migrations",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn migrations_are_numbered_from_one() {
        for (i, migration) in MIGRATIONS.iter().enumerate() {
            assert_eq!(migration.version as usize, i + 1);
            assert!(migration.name.starts_with(&format!("{:04}_", migration.version)));
        }
    }
}
