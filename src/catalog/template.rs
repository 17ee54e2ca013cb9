//! The template as the registry keeps it, and what its modules create as the catalog shows it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::Mutex;
use tokio_postgres::types::Type;

use super::tenants::TenantRow;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Param, Row, Session, column};
use crate::pg::sql::{FunctionSignature, Sql};
use crate::plan::standard::TABLE_NAME_MAX;
use crate::tenant::{Module, ModuleObjects, ObjectLook, Template, standard_sha256};

/// The installed version of a template that new tenants are made from; none before the first `init`.
///
/// # Errors
/// When a module's text does not match the checksum that `init` stored with it.
pub async fn installed(session: &Session, name: &str) -> Result<Option<Template>> {
    version(session, name, None).await
}

/// A version of a template, or the current one; none when the registry does not have it.
///
/// # Errors
/// As [`installed`].
pub async fn version(session: &Session, name: &str, version: Option<i32>) -> Result<Option<Template>> {
    let sql = Sql::new(
        "SELECT v.version, v.sha256 AS template_sha256, v.hypertables::text AS hypertables, v.bulk_load,
    m.module, m.feature, m.body, m.sha256, m.objects::text AS objects
FROM tenantctl.template_versions v
JOIN tenantctl.template_modules m USING (template, version)
WHERE v.template = $1 AND CASE WHEN $2::integer IS NULL THEN v.is_current ELSE v.version = $2 END ORDER BY m.ordinal",
    );
    let params: [Param<'_>; 2] = [(&name, Type::TEXT), (&version, Type::INT4)];
    let rows = session.query(&sql, &params, "read the template").await?;
    let Some(first) = rows.first() else { return Ok(None) };
    let damaged = |what: &str| {
        Error::new(
            ErrorKind::Unsupported,
            format!("template {name} in the registry is damaged"),
        )
        .with_cause(format!("{what} does not match its checksum"))
        .with_hint("Someone changed tenantctl.template_modules by hand. Restore the rows before provisioning anything.")
    };
    let template = Template {
        name: name.to_owned(),
        version: column(first, "version")?,
        hypertables: json(first, "hypertables")?,
        bulk_load: column::<Vec<String>>(first, "bulk_load")?.into_iter().collect(),
        modules: rows
            .iter()
            .map(|row| {
                let module = Module {
                    name: column(row, "module")?,
                    feature: column(row, "feature")?,
                    sql: Arc::from(column::<&str>(row, "body")?),
                    objects: json(row, "objects")?,
                };
                if module.sha256() == column::<&str>(row, "sha256")? {
                    Ok(module)
                } else {
                    Err(damaged(&format!("module {}", module.name)))
                }
            })
            .collect::<Result<_>>()?,
    };
    if template.sha256() != column::<&str>(first, "template_sha256")? {
        return Err(damaged("the template as a whole"));
    }
    // Without its objects a template would make tenants without rights and without row security.
    if template.modules.iter().all(|m| m.objects == ModuleObjects::default()) {
        return Err(damaged("the list of what the modules create"));
    }
    Ok(Some(template))
}

/// Template versions by name and number.
type Versions = BTreeMap<(String, i32), Arc<Template>>;

/// Template versions that were read before.
#[derive(Clone, Default)]
pub struct Known(Arc<Mutex<Versions>>);

impl Known {
    /// The template version that a tenant was made from, read once.
    ///
    /// # Errors
    /// When the registry lacks it, or what [`version()`] says.
    pub async fn of(&self, session: &Session, tenant: &TenantRow) -> Result<Arc<Template>> {
        let mut known = self.0.lock().await;
        let key = (tenant.template.clone(), tenant.template_version);
        if let Some(template) = known.get(&key) {
            return Ok(Arc::clone(template));
        }
        let found = version(session, &key.0, Some(key.1)).await?;
        let template = Arc::new(found.ok_or_else(|| {
            Error::new(
                ErrorKind::Unsupported,
                format!("the registry lacks version {} of template {}", key.1, key.0),
            )
            .with_hint(
                "Someone deleted it by hand. Restore its rows in tenantctl.template_versions and template_modules.",
            )
        })?);
        known.insert(key, Arc::clone(&template));
        Ok(template)
    }
}

/// The highest version the registry has of a template (0: none), and the current one with that checksum that this binary's
/// standard was stored with, if any.
///
/// # Errors
/// When the registry cannot be read.
pub async fn versions(session: &Session, template: &Template) -> Result<(i32, Option<i32>)> {
    let sql = Sql::new(
        "SELECT COALESCE(pg_catalog.max(version), 0) AS latest,
    pg_catalog.max(version) FILTER (WHERE is_current AND sha256 = $2 AND standard_sha256 = $3) AS same
FROM tenantctl.template_versions WHERE template = $1",
    );
    let (sha256, standard) = (template.sha256(), standard_sha256());
    let params: [Param<'_>; 3] = [
        (&template.name, Type::TEXT),
        (&sha256, Type::TEXT),
        (&standard, Type::TEXT),
    ];
    let row = session.query_one(&sql, &params, "read the template's versions").await?;
    Ok((column(&row, "latest")?, column(&row, "same")?))
}

/// The newest version of a template with this checksum, whatever tenantctl has added to it; none if the registry lacks it.
///
/// # Errors
/// When the registry cannot be read.
pub async fn known_as(session: &Session, name: &str, sha256: &str) -> Result<Option<i32>> {
    let sql = Sql::new(
        "SELECT v.version FROM tenantctl.template_versions v WHERE v.template = $1 AND v.sha256 = $2
ORDER BY v.is_current DESC, v.version DESC LIMIT 1",
    );
    let params: [Param<'_>; 2] = [(&name, Type::TEXT), (&sha256, Type::TEXT)];
    let row = session.query_opt(&sql, &params, "read the template's versions").await?;
    row.map(|row| column(&row, "version")).transpose()
}

/// Whether a schema exists, and whether the owner role owns it.
///
/// # Errors
/// When the server refuses the query.
pub async fn schema_owner(session: &Session, schema: &str) -> Result<Option<String>> {
    let sql = Sql::new(
        "SELECT pg_catalog.pg_get_userbyid(n.nspowner)::text AS owner FROM pg_catalog.pg_namespace n WHERE n.nspname = $1",
    );
    let row = session
        .query_opt(&sql, &[(&schema, Type::TEXT)], "look for the template's schema")
        .await?;
    row.map(|row| column(&row, "owner")).transpose()
}

fn json<T: serde::de::DeserializeOwned>(row: &Row, name: &str) -> Result<T> {
    serde_json::from_str(column(row, name)?)
        .map_err(|e| Error::new(ErrorKind::Unknown, format!("the registry's {name} cannot be read")).with_cause(e))
}

/// What a schema holds now, with every rule that a module broke.
#[derive(Debug, Default)]
pub struct Inventory {
    /// All objects of the kinds that tenants get rights on.
    pub objects: ModuleObjects,
    /// What must not be in a template, as sentences.
    pub violations: Vec<String>,
    /// `current_user`, search path and transaction as the module left them.
    pub context: Vec<String>,
}

/// Reads what is in a schema. It asks pg_depend, whose index finds a schema's objects without reading all of pg_class.
///
/// # Errors
/// When the server refuses the query.
pub async fn inventory(session: &Session, schema: &str) -> Result<Inventory> {
    let sql = Sql::new(include_str!("../../sql/catalog/template_inventory.sql"));
    let rows = session
        .query(&sql, &[(&schema, Type::TEXT)], "read what the module created")
        .await?;
    let mut found = Inventory::default();
    for row in &rows {
        let name: String = column(row, "name")?;
        let objects = &mut found.objects;
        match column::<&str>(row, "kind")? {
            "table" => {
                if name.len() > TABLE_NAME_MAX {
                    found.violations.push(format!(
                        "the name of table {name:?} is longer than {TABLE_NAME_MAX} bytes"
                    ));
                }
                objects.tables.push(name);
            }
            "view" => objects.views.push(name),
            "sequence" => objects.sequences.push(name),
            "function" => {
                if FunctionSignature::parse(&name).is_none() {
                    found
                        .violations
                        .push(format!("the signature of function {name:?} cannot be quoted safely"));
                }
                objects.functions.push(name);
            }
            "type" => objects.types.push(name),
            "partition" => objects.partitions.push(name),
            kind @ ("columns" | "key") => {
                let (table, columns) = serde_json::from_str(&name)
                    .map_err(|e| Error::new(ErrorKind::Unknown, "cannot read what the module created").with_cause(e))?;
                let place = if kind == "key" {
                    &mut objects.keys
                } else {
                    &mut objects.columns
                };
                place.insert(table, columns);
            }
            "violation" => found.violations.push(name),
            _ => found.context.push(name),
        }
    }
    Ok(found)
}

fn changed_columns(
    before: &BTreeMap<String, Vec<String>>,
    after: &BTreeMap<String, Vec<String>>,
) -> BTreeMap<String, Vec<String>> {
    let new = after
        .iter()
        .filter(|(table, columns)| before.get(*table) != Some(columns));
    new.map(|(table, columns)| (table.clone(), columns.clone())).collect()
}

/// What `after` has and `before` had not.
pub fn created(before: &ModuleObjects, after: &ModuleObjects) -> ModuleObjects {
    let new = |before: &[String], after: &[String]| {
        let before: BTreeSet<_> = before.iter().collect();
        after.iter().filter(|name| !before.contains(name)).cloned().collect()
    };
    ModuleObjects {
        tables: new(&before.tables, &after.tables),
        views: new(&before.views, &after.views),
        sequences: new(&before.sequences, &after.sequences),
        functions: new(&before.functions, &after.functions),
        types: new(&before.types, &after.types),
        partitions: new(&before.partitions, &after.partitions),
        columns: changed_columns(&before.columns, &after.columns),
        keys: changed_columns(&before.keys, &after.keys),
    }
}

/// Every object of a schema by kind and name, as [`fingerprint`] saw it.
pub type Fingerprint = BTreeMap<(String, String), ObjectLook>;

/// What every object of a schema looks like. The session's search path must be empty, so that all names are printed
/// with their schema.
///
/// # Errors
/// When the server refuses the query.
pub async fn fingerprint(session: &Session, schema: &str) -> Result<Fingerprint> {
    let sql = Sql::new(include_str!("../../sql/catalog/template_fingerprint.sql"));
    let rows = session
        .query_prepared(&sql, &[(&schema, Type::TEXT)], "read what the template looks like")
        .await?;
    rows.iter()
        .map(|row| {
            let look = ObjectLook {
                kind: column(row, "kind")?,
                object: column(row, "object")?,
                shape: column(row, "shape")?,
                expression: column(row, "expression")?,
                reread: None,
            };
            Ok(((look.kind.clone(), look.object.clone()), look))
        })
        .collect()
}

/// What `after` has that `before` had not or had differently, and, with neither shape nor expression, what it lacks.
pub fn changed(before: &Fingerprint, after: &Fingerprint) -> Vec<ObjectLook> {
    let gone = before
        .iter()
        .filter(|(key, _)| !after.contains_key(*key))
        .map(|(_, look)| ObjectLook {
            shape: None,
            expression: None,
            ..look.clone()
        });
    let new = after
        .iter()
        .filter(|(key, look)| before.get(*key) != Some(*look))
        .map(|(_, look)| look.clone());
    new.chain(gone).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(looks: &[(&str, &str)]) -> Fingerprint {
        looks
            .iter()
            .map(|(object, shape)| {
                let look = ObjectLook {
                    kind: "table".into(),
                    object: (*object).into(),
                    shape: Some((*shape).into()),
                    expression: None,
                    reread: None,
                };
                ((look.kind.clone(), look.object.clone()), look)
            })
            .collect()
    }

    #[test]
    fn a_module_is_known_by_what_it_made_changed_and_took_away() {
        let changes = changed(
            &seen(&[("a", "1"), ("b", "1"), ("c", "1")]),
            &seen(&[("a", "1"), ("b", "2"), ("d", "1")]),
        );
        let told: Vec<_> = changes
            .iter()
            .map(|c| (c.object.as_str(), c.shape.as_deref()))
            .collect();
        assert_eq!(told, [("b", Some("2")), ("d", Some("1")), ("c", None)]);
    }

    /// The query that stores and the check that compares must see the same things.
    #[test]
    fn init_and_the_drift_check_share_the_fingerprint() {
        let part = |text: &'static str| {
            let (_, rest) = text.split_once("-- fingerprint: begin\n")?;
            rest.split_once("-- fingerprint: end\n").map(|(part, _)| part)
        };
        let stored = part(include_str!("../../sql/catalog/template_fingerprint.sql"));
        assert!(stored.is_some_and(|text| text.len() > 1000));
        assert_eq!(stored, part(include_str!("../../sql/checks/drift.sql")));
    }
}
