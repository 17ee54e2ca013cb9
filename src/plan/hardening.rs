//! The database-wide part of the hardening standard: what holds, what does not, what each line takes.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::pg::sql::{FunctionSignature, Sql};
use crate::tenant::OWNER_ROLE;

/// The state of one line of the standard, as read from the live cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Which line.
    pub line: Line,
    /// What breaks it; empty when it holds.
    pub broken: Vec<Broken>,
}

/// An object that breaks a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Its name, such as a database's.
    pub object: String,
    /// PUBLIC has a right that it must not have.
    pub revoke: bool,
    /// `tenantctl_owner` lacks, by name, the right that it had through PUBLIC and needs.
    pub grant_owner: bool,
    /// Whether this admin's rights suffice to mend it.
    pub may_mend: bool,
}

/// A line of the hardening standard that concerns the database or the cluster, not one tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Line {
    /// Nobody but named roles creates objects in `public`.
    PublicSchemaCreate,
    /// No database lets PUBLIC connect, create or make temporary tables.
    DatabasePublic,
    /// Tenants connect to this database by a grant to their group.
    TenantsConnect,
    /// `sql` and `plpgsql` are not usable by PUBLIC.
    LanguagePublic,
    /// What the owner creates comes without rights for PUBLIC.
    OwnerDefaultPrivileges,
    /// Built-in functions that reach other tenants or outlast a transaction are not executable by PUBLIC.
    BuiltinFunctions,
    /// Per-table statistics are not readable by PUBLIC.
    StatisticsViews,
}

impl Line {
    /// All lines, in the order they are shown.
    pub const ALL: [Self; 7] = [
        Self::TenantsConnect,
        Self::OwnerDefaultPrivileges,
        Self::PublicSchemaCreate,
        Self::DatabasePublic,
        Self::LanguagePublic,
        Self::BuiltinFunctions,
        Self::StatisticsViews,
    ];

    /// The name in the configuration (`hardening:`), in JSON and in `sql/catalog/hardening.sql`.
    pub fn key(self) -> &'static str {
        match self {
            Self::TenantsConnect => "tenants_connect",
            Self::OwnerDefaultPrivileges => "owner_default_privileges",
            Self::PublicSchemaCreate => "public_schema_create",
            Self::DatabasePublic => "database_public",
            Self::LanguagePublic => "language_public",
            Self::BuiltinFunctions => "builtin_functions",
            Self::StatisticsViews => "statistics_views",
        }
    }

    /// What the line demands.
    pub fn demands(self) -> &'static str {
        match self {
            Self::TenantsConnect => "tenants connect by a grant to their group",
            Self::OwnerDefaultPrivileges => "new functions and types of the owner carry no right for PUBLIC",
            Self::PublicSchemaCreate => "PUBLIC cannot create in schema public",
            Self::DatabasePublic => "PUBLIC has no CONNECT, TEMPORARY or CREATE on any database",
            Self::LanguagePublic => "PUBLIC cannot use the languages sql and plpgsql",
            Self::BuiltinFunctions => {
                "PUBLIC cannot call advisory locks, notify, query_to_xml, large-object creation, size functions"
            }
            Self::StatisticsViews => "PUBLIC cannot read per-table statistics",
        }
    }

    /// Whose rights it takes to mend the line.
    pub fn needs(self) -> &'static str {
        match self {
            Self::TenantsConnect => "the owner of the database",
            Self::OwnerDefaultPrivileges => "a member of tenantctl_owner",
            Self::PublicSchemaCreate => "the owner of schema public",
            Self::DatabasePublic => "the owner of each database, or a superuser",
            Self::LanguagePublic | Self::BuiltinFunctions | Self::StatisticsViews => "a superuser",
        }
    }
}

/// One line of the report: does it hold, and if not, who can mend it and how.
#[derive(Clone, Debug, Serialize)]
pub struct Verdict {
    /// The line's name.
    pub line: Line,
    /// What it demands.
    pub demands: &'static str,
    /// Whether it holds.
    pub met: bool,
    /// Whether the configuration wants it.
    pub wanted: bool,
    /// What breaks it.
    pub broken: Vec<String>,
    /// Whether this admin's rights suffice.
    pub may_mend: bool,
    /// Whose rights it takes.
    pub needs: &'static str,
    /// SQL that mends it; absent when the line holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

/// Judges what was observed; `off` names the lines that the configuration does not want.
pub fn judge(observed: &[Observed], off: &BTreeSet<String>, database: &str) -> Vec<Verdict> {
    observed
        .iter()
        .map(|seen| Verdict {
            line: seen.line,
            demands: seen.line.demands(),
            met: seen.broken.is_empty(),
            wanted: !off.contains(seen.line.key()),
            broken: seen.broken.iter().map(|b| b.object.clone()).collect(),
            may_mend: seen.broken.iter().all(|b| b.may_mend),
            needs: seen.line.needs(),
            remedy: (!seen.broken.is_empty()).then(|| {
                remedy(seen.line, &seen.broken, database)
                    .to_string()
                    .trim_end()
                    .to_owned()
            }),
        })
        .collect()
}

/// The SQL that mends these objects of a line.
pub fn remedy(line: Line, broken: &[Broken], database: &str) -> Sql {
    let mut sql = Sql::default();
    for b in broken {
        let name = b.object.as_str();
        sql = match line {
            Line::TenantsConnect => sql
                .text("GRANT CONNECT ON DATABASE ")
                .ident(database)
                .text(" TO tenantctl_tenants;\n"),
            Line::OwnerDefaultPrivileges if name == "functions" => {
                sql.text("ALTER DEFAULT PRIVILEGES FOR ROLE tenantctl_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;\n")
            }
            Line::OwnerDefaultPrivileges => {
                sql.text("ALTER DEFAULT PRIVILEGES FOR ROLE tenantctl_owner REVOKE USAGE ON TYPES FROM PUBLIC;\n")
            }
            Line::PublicSchemaCreate => sql.text("REVOKE CREATE ON SCHEMA public FROM PUBLIC;\n"),
            // The owner's rights first: an admin who came in by PUBLIC's would lock itself out.
            Line::DatabasePublic => rights(sql, b, "CONNECT", "CONNECT, TEMPORARY, CREATE", |sql| {
                sql.text("DATABASE ").ident(name)
            }),
            Line::LanguagePublic => rights(sql, b, "USAGE", "USAGE", |sql| sql.text("LANGUAGE ").ident(name)),
            Line::BuiltinFunctions => match FunctionSignature::parse(name) {
                Some(function) => rights(sql, b, "EXECUTE", "EXECUTE", |sql| {
                    sql.text("FUNCTION ").function("pg_catalog", &function)
                }),
                None => sql,
            },
            Line::StatisticsViews => {
                let sql = rights(sql, b, "SELECT", "SELECT", |sql| sql.qualified("pg_catalog", name));
                sql.text("GRANT SELECT ON ")
                    .qualified("pg_catalog", name)
                    .text(" TO pg_monitor;\n")
            }
        };
    }
    sql
}

fn rights(mut sql: Sql, broken: &Broken, keep: &'static str, take: &'static str, object: impl Fn(Sql) -> Sql) -> Sql {
    if broken.grant_owner {
        sql = object(sql.text("GRANT ").text(keep).text(" ON "))
            .text(" TO ")
            .ident(OWNER_ROLE)
            .text(";\n");
    }
    if broken.revoke {
        sql = object(sql.text("REVOKE ").text(take).text(" ON ")).text(" FROM PUBLIC;\n");
    }
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    fn broken(object: &str, grant_owner: bool, may_mend: bool) -> Broken {
        Broken {
            object: object.into(),
            revoke: true,
            grant_owner,
            may_mend,
        }
    }

    #[test]
    fn a_broken_line_names_who_can_mend_it_and_how() {
        let seen = [
            Observed {
                line: Line::DatabasePublic,
                broken: vec![broken("db", true, true), broken("a b", false, false)],
            },
            Observed {
                line: Line::PublicSchemaCreate,
                broken: vec![],
            },
            Observed {
                line: Line::BuiltinFunctions,
                broken: vec![broken("pg_notify(text, text)", false, true)],
            },
        ];
        let verdicts = judge(&seen, &BTreeSet::from(["builtin_functions".to_owned()]), "db");
        assert!(!verdicts[0].met && !verdicts[0].may_mend && verdicts[0].needs.contains("superuser"));
        assert_eq!(
            verdicts[0].remedy.as_deref(),
            Some(
                "GRANT CONNECT ON DATABASE \"db\" TO \"tenantctl_owner\";\n\
                 REVOKE CONNECT, TEMPORARY, CREATE ON DATABASE \"db\" FROM PUBLIC;\n\
                 REVOKE CONNECT, TEMPORARY, CREATE ON DATABASE \"a b\" FROM PUBLIC;"
            )
        );
        assert!(verdicts[1].met && verdicts[1].remedy.is_none() && verdicts[1].wanted);
        assert_eq!(
            verdicts[2].remedy.as_deref(),
            Some("REVOKE EXECUTE ON FUNCTION \"pg_catalog\".\"pg_notify\"(text, text) FROM PUBLIC;")
        );
        assert!(!verdicts[2].wanted);
    }
}
