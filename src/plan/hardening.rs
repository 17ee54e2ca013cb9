//! The database-wide part of the hardening standard: what holds, what does not, what each line takes.

use serde::Serialize;

use crate::pg::sql::Sql;

/// The state of one line of the standard, as read from the live cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// Which line.
    pub line: Line,
    /// The objects that break it, such as names of databases; empty when it holds.
    pub broken: Vec<String>,
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

/// Judges what was observed.
pub fn judge(observed: &[Observed], database: &str) -> Vec<Verdict> {
    observed
        .iter()
        .map(|seen| Verdict {
            line: seen.line,
            demands: seen.line.demands(),
            met: seen.broken.is_empty(),
            broken: seen.broken.clone(),
            may_mend: seen.may_mend,
            needs: seen.line.needs(),
            remedy: (!seen.broken.is_empty()).then(|| remedy(seen, database).to_string().trim_end().to_owned()),
        })
        .collect()
}

fn remedy(seen: &Observed, database: &str) -> Sql {
    let each = |head: &'static str, tail: &'static str| {
        seen.broken
            .iter()
            .fold(Sql::default(), |sql, name| sql.text(head).ident(name).text(tail))
    };
    match seen.line {
        Line::TenantsConnect => Sql::new("GRANT CONNECT ON DATABASE ")
            .ident(database)
            .text(" TO tenantctl_tenants;"),
        Line::OwnerDefaultPrivileges => Sql::new(
            "ALTER DEFAULT PRIVILEGES FOR ROLE tenantctl_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;\n\
             ALTER DEFAULT PRIVILEGES FOR ROLE tenantctl_owner REVOKE USAGE ON TYPES FROM PUBLIC;",
        ),
        Line::PublicSchemaCreate => Sql::new("REVOKE CREATE ON SCHEMA public FROM PUBLIC;"),
        Line::DatabasePublic => each("REVOKE CONNECT, TEMPORARY, CREATE ON DATABASE ", " FROM PUBLIC;\n"),
        Line::LanguagePublic => each("REVOKE USAGE ON LANGUAGE ", " FROM PUBLIC;\n"),
        // The names come with their argument types from regprocedure, which quotes them.
        Line::BuiltinFunctions => {
            seen.broken.iter().fold(
                Sql::default(),
                |sql, name| match crate::pg::sql::FunctionSignature::parse(name) {
                    Some(function) => sql
                        .text("REVOKE EXECUTE ON FUNCTION ")
                        .function("pg_catalog", &function)
                        .text(" FROM PUBLIC;\n"),
                    None => sql,
                },
            )
        }
        Line::StatisticsViews => each("REVOKE SELECT ON pg_catalog.", " FROM PUBLIC;\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_line_names_who_can_mend_it_and_how() {
        let seen = [
            Observed {
                line: Line::DatabasePublic,
                broken: vec!["postgres".into(), "a b".into()],
                may_mend: false,
            },
            Observed {
                line: Line::PublicSchemaCreate,
                broken: vec![],
                may_mend: true,
            },
            Observed {
                line: Line::BuiltinFunctions,
                broken: vec!["pg_notify(text, text)".into()],
                may_mend: true,
            },
        ];
        let verdicts = judge(&seen, "db");
        assert!(!verdicts[0].met && verdicts[0].needs.contains("superuser"));
        assert_eq!(
            verdicts[0].remedy.as_deref(),
            Some(
                "REVOKE CONNECT, TEMPORARY, CREATE ON DATABASE \"postgres\" FROM PUBLIC;\n\
                 REVOKE CONNECT, TEMPORARY, CREATE ON DATABASE \"a b\" FROM PUBLIC;"
            )
        );
        assert!(verdicts[1].met && verdicts[1].remedy.is_none());
        assert_eq!(
            verdicts[2].remedy.as_deref(),
            Some("REVOKE EXECUTE ON FUNCTION \"pg_catalog\".\"pg_notify\"(text, text) FROM PUBLIC;")
        );
    }
}
