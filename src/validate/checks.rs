//! The catalogue of checks: the files of `sql/checks`, each with what its header says, and what the probe tries.

use std::sync::OnceLock;

use serde::Serialize;

use crate::config::nearest;
use crate::error::{Error, Result};
use crate::pg::sql::Sql;

/// Compiles in the files of these checks, in the order of their ids.
macro_rules! files {
    ($($id:literal),* $(,)?) => {
        &[$(($id, include_str!(concat!("../../sql/checks/", $id, ".sql")))),*]
    };
}

const FILES: &[(&str, &str)] = files![
    "builtin_functions",
    "casts",
    "chunks",
    "cluster_settings",
    "connection_limits",
    "cross_schema",
    "database_public",
    "default_privileges",
    "definer_functions",
    "definer_views",
    "disabled_triggers",
    "drift",
    "drift_expressions",
    "event_triggers",
    "extension_objects",
    "foreign_access",
    "foreign_triggers",
    "grants_columns",
    "grants_functions",
    "grants_missing",
    "grants_outside",
    "grants_relations",
    "grants_schemas",
    "grants_shared",
    "grants_types",
    "hba_lines",
    "language_public",
    "large_objects",
    "minor_release",
    "names_of_tenants",
    "object_kinds",
    "open_extensions",
    "orphan_roles",
    "orphan_rows",
    "orphan_schemas",
    "owned_by_tenants",
    "owner_default_privileges",
    "ownership",
    "password_storage",
    "policies",
    "pooler_access",
    "public_schema_create",
    "registry_access",
    "registry_integrity",
    "replication",
    "role_attributes",
    "role_members",
    "role_memberships",
    "role_settings",
    "row_security",
    "shadowing",
    "shared_relations",
    "standard_functions",
    "standard_triggers",
    "statistics_views",
    "system_grants",
    "tenant_definer_functions",
    "tenants_connect",
    "untrusted_functions",
    "writable_schemas",
];

/// One check: a file of `sql/checks`, or something that the probe tries.
#[derive(Debug, Serialize)]
pub struct Check {
    /// The file's stem.
    #[serde(rename = "check")]
    pub id: &'static str,
    /// What it finds, in one line.
    pub title: &'static str,
    /// Why that matters and what an attacker does with it.
    pub explain: String,
    /// What rights it takes beyond a plain login, for people.
    pub needs: Option<String>,
    /// None: the probe's.
    sql: Option<&'static str>,
}

impl Check {
    /// Reads a file's header; what it lacks is empty, which a test refuses.
    fn parse(id: &'static str, sql: &'static str) -> Self {
        let lines = |key: &str| {
            let values = header(sql).filter(|(k, _)| *k == key).map(|(_, value)| value);
            values.collect::<Vec<_>>().join(" ")
        };
        Self {
            id,
            title: header(sql)
                .find(|(key, _)| *key == "title")
                .map_or("", |(_, value)| value),
            explain: lines("explain"),
            needs: Some(lines("needs")).filter(|needs| !needs.is_empty()),
            sql: Some(sql),
        }
    }

    /// The query; none where the probe finds out.
    pub fn sql(&self) -> Option<Sql> {
        self.sql.map(Sql::new)
    }

    /// Whether it is the probe's.
    pub fn is_probed(&self) -> bool {
        self.sql.is_none()
    }
}

/// The `-- key: value` lines at the top of a file.
fn header(sql: &'static str) -> impl Iterator<Item = (&'static str, &'static str)> {
    sql.lines().map_while(|line| {
        let (key, value) = line.strip_prefix("-- ")?.split_once(": ")?;
        ["check", "title", "explain", "needs"]
            .contains(&key)
            .then(|| (key, value.trim()))
    })
}

/// Every check: those with a query by id, then the probe's.
pub fn all() -> &'static [Check] {
    static ALL: OnceLock<Vec<Check>> = OnceLock::new();
    ALL.get_or_init(|| {
        let queries = FILES.iter().map(|(id, sql)| Check::parse(id, sql));
        let probed = super::probe::CHECKS.iter().map(|(id, title, explain)| Check {
            id,
            title,
            explain: (*explain).to_owned(),
            needs: None,
            sql: None,
        });
        queries.chain(probed).collect()
    })
}

/// A check by its id, if there is one.
pub fn get(id: &str) -> Option<&'static Check> {
    all().iter().find(|check| check.id == id)
}

/// A check by its id.
///
/// # Errors
/// Kind `usage`, with the nearest id, when there is none.
pub fn find(id: &str) -> Result<&'static Check> {
    get(id).ok_or_else(|| {
        let ids: Vec<&str> = all().iter().map(|check| check.id).collect();
        let list = "`tenantctl validate --list` shows all checks.";
        Error::usage(format!("no check {}", crate::tenant::quoted(id))).with_hint(match nearest(id, &ids) {
            Some(near) => format!("Did you mean {near}? {list}"),
            None => list.to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn every_file_of_the_folder_is_compiled_in() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("sql/checks");
        let found: BTreeSet<String> = std::fs::read_dir(folder)
            .expect("folder")
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        let known: BTreeSet<String> = FILES.iter().map(|(id, _)| format!("{id}.sql")).collect();
        assert_eq!(known, found, "FILES in src/validate/checks.rs must list sql/checks");
        assert!(FILES.is_sorted(), "FILES must be in the order of the ids");
        assert_eq!(known.len(), FILES.len(), "a check is listed twice");
    }

    /// The check holds the lookup to the body that `tenantctl pgbouncer --setup` gives it.
    #[test]
    fn the_check_of_the_pooler_knows_its_lookup() {
        use sha2::{Digest, Sha256};
        let body = crate::tenant::hex(&Sha256::digest(crate::plan::pooler::LOOKUP_BODY));
        let (_, sql) = FILES.iter().find(|(id, _)| *id == "pooler_access").expect("the check");
        assert!(sql.contains(&body), "its body is {body} now");
    }

    #[test]
    fn headers_follow_the_rules() {
        for (check, sql) in all().iter().filter_map(|check| Some((check, check.sql?))) {
            let id = check.id;
            let keys: Vec<&str> = header(sql).map(|(key, _)| key).collect();
            let order = ["check", "title", "explain", "needs"];
            let ranks: Vec<usize> = keys.iter().filter_map(|k| order.iter().position(|o| o == k)).collect();
            assert!(ranks.is_sorted(), "{id}: the header's order is {order:?}");
            for (key, times) in [("check", 1), ("title", 1)] {
                assert_eq!(keys.iter().filter(|k| **k == key).count(), times, "{id}: {key}");
            }
            assert_eq!(header(sql).next(), Some(("check", id)), "{id}: must be the file's stem");
            assert!(
                id.bytes()
                    .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'),
                "{id}"
            );
            let first = check.title.split(' ').next().unwrap_or_default();
            assert!(
                !check.title.is_empty() && !check.title.ends_with('.'),
                "{id}: the title is one line without a full stop"
            );
            assert!(
                first.starts_with(|c: char| !c.is_uppercase()) || first.chars().all(|c| !c.is_lowercase()),
                "{id}: the title is lower-case"
            );
            assert!(
                check.title.chars().count() <= 110,
                "{id}: the title is too long for a line"
            );
            assert!(
                check.explain.ends_with(['.', ')']) && check.explain.contains(' '),
                "{id}: explain is whole sentences: {}",
                check.explain
            );
            assert!(check.needs.as_deref() != Some(""), "{id}: needs is empty");
        }
    }

    #[test]
    fn queries_follow_the_rules() {
        for (id, sql) in FILES {
            let code: String = sql
                .lines()
                .map(|line| line.split_once("--").map_or(line, |(code, _)| code))
                .collect::<Vec<_>>()
                .join("\n");
            let one = code.trim_end().trim_end_matches(';');
            let start = one.trim_start().to_uppercase();
            assert!(
                start.starts_with("SELECT") || start.starts_with("WITH"),
                "{id}: starts with SELECT or WITH"
            );
            // These open the relation and so wait for a tenant's lock on it. One check prints what was changed after
            // the tenant was made, and says that it may be UNKNOWN for that.
            for function in [
                "pg_get_viewdef",
                "pg_get_indexdef",
                "pg_get_constraintdef",
                "pg_get_ruledef",
                "pg_get_triggerdef",
                "pg_get_expr",
                "pg_relation_size",
                "pg_total_relation_size",
                "pg_table_size",
                "pg_indexes_size",
            ] {
                assert!(
                    !code.contains(&format!("{function}(")) || *id == "drift_expressions",
                    "{id}: {function} can block on a tenant's lock"
                );
            }
            // What has no tenant is reported whatever the scope.
            if code.contains("tenantctl.tenants ") && !code.contains("NULL::text") {
                assert!(
                    code.contains("tenantctl.scope"),
                    "{id}: reads the tenants and ignores the scope"
                );
            }
            let words: Vec<&str> = code.split_whitespace().collect();
            for pair in words.windows(2) {
                let relation = pair[1].trim_start_matches('(');
                assert!(
                    !(["FROM", "JOIN"].contains(&pair[0].to_uppercase().as_str()) && relation.starts_with("pg_"))
                        || relation.starts_with("pg_catalog."),
                    "{id}: {} is not qualified",
                    pair[1]
                );
            }
        }
    }

    #[test]
    fn a_mistyped_id_gets_the_nearest() {
        let id = FILES[0].0;
        let error = find(&format!("{id}x")).expect_err("no such check");
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.hint().is_some_and(|hint| hint.contains(id)), "{:?}", error.hint());
        assert!(find(id).is_ok());
    }
}
