//! Contents of single tables from a backup, while the rest of the tenant stays as it is.

use uuid::Uuid;

use super::apply::restored;
use super::{Becoming, Restored, Restorer, Source, drop_after};
use crate::catalog::restores;
use crate::catalog::tenants::TenantRow;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::password::random_hex;
use crate::pg::session::Session;
use crate::plan::Plan;
use crate::plan::restore::{self as plans, SequenceState, TableContents};
use crate::plan::standard::Observed;
use crate::tenant::OWNER_ROLE;

/// Tables whose contents are exchanged, with the values that their sequences are to have.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    pub tables: Vec<TableContents>,
    pub sequences: Vec<SequenceState>,
}

impl Restorer {
    /// The tables of a backup that were asked for.
    pub(super) async fn named_tables(
        &self,
        session: &Session,
        source: &Source,
        row: &TenantRow,
        names: &[String],
    ) -> Result<Named> {
        let manifest = &source.manifest;
        let live: Vec<&str> = names.iter().map(String::as_str).collect();
        let live = restores::shapes(session, row.schema_name.as_str(), &live).await?;
        for name in names {
            // It has no rows of its own.
            if live.iter().any(|shape| shape.name == *name && shape.kind == 'p') {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("table {name} is partitioned, and has no rows of its own"),
                )
                .with_hint("Name its partitions."));
            }
            if let Some(root) = manifest
                .tables
                .iter()
                .find(|t| t.name == *name)
                .and_then(|t| t.through.as_ref())
            {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("the contents of table {name} cannot be replaced by themselves: its rows may belong into another partition of {root} now"),
                )
                .with_hint("Restore the whole tenant, or --as a new one, and copy from there."));
            }
            if !manifest.tables.iter().any(|t| t.name == *name) {
                let near = manifest
                    .tables
                    .iter()
                    .map(|t| (strsim::jaro_winkler(name, &t.name), &t.name))
                    .filter(|(likeness, _)| *likeness > 0.8)
                    .max_by(|a, b| a.0.total_cmp(&b.0));
                let error = Error::new(
                    ErrorKind::NotFound,
                    format!("backup {} has no table {name:?}", manifest.backup_id),
                );
                return Err(match near {
                    Some((_, near)) => error.with_hint(format!("Did you mean {near}?")),
                    None => {
                        let all: Vec<&str> = manifest.tables.iter().map(|t| t.name.as_str()).collect();
                        error.with_hint(format!("It has {}.", all.join(", ")))
                    }
                });
            }
        }
        let states = manifest.sequences.iter().map(|s| SequenceState {
            name: s.name.clone(),
            last_value: s.last_value,
            is_called: s.is_called,
        });
        self.contents_of(session, row, names, states.collect()).await
    }

    /// What the tenant's tables are now. Of the sequences those are set that belong to these tables.
    pub(super) async fn contents_of(
        &self,
        session: &Session,
        row: &TenantRow,
        names: &[String],
        sequences: Vec<SequenceState>,
    ) -> Result<Named> {
        let mut wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        wanted.sort_unstable();
        wanted.dedup();
        let refuse = |name: &str, why: &str, hint: &str| {
            Err(Error::new(
                ErrorKind::Unsupported,
                format!("the contents of table {name} cannot be replaced by themselves: {why}"),
            )
            .with_hint(hint))
        };
        let shapes = restores::shapes(session, row.schema_name.as_str(), &wanted).await?;
        for name in &wanted {
            if *name == "tenant_usage" {
                return refuse(
                    name,
                    "it holds what limits are held against, which is counted",
                    "Leave it out.",
                );
            }
            if row.hypertables.iter().any(|h| h == name) {
                return refuse(
                    name,
                    "it is a hypertable",
                    "Restore the whole tenant, or --as a new one, and copy from there.",
                );
            }
            match shapes.iter().find(|s| s.name == *name) {
                None => {
                    return refuse(name, "the tenant has no such table now", "Restore the whole tenant.");
                }
                Some(shape) if shape.has_rules => {
                    return refuse(
                        name,
                        "it has rules, which would change what is written",
                        "Restore the whole tenant.",
                    );
                }
                Some(_) => {}
            }
        }
        let owned: Vec<&String> = shapes.iter().flat_map(|s| &s.sequences).collect();
        let sequences = sequences.into_iter().filter(|s| owned.contains(&&s.name)).collect();
        let tables = shapes.iter().map(|shape| TableContents {
            name: shape.name.clone(),
            columns: shape.contents.clone(),
        });
        Ok(Named {
            tables: tables.collect(),
            sequences,
        })
    }

    /// Another schema's tables must have the same columns of the same types.
    pub(super) async fn refuse_other_types(
        &self,
        session: &Session,
        live: &str,
        other: &str,
        named: &Named,
    ) -> Result<()> {
        let names: Vec<&str> = named.tables.iter().map(|t| t.name.as_str()).collect();
        let now = restores::shapes(session, live, &names).await?;
        let then = restores::shapes(session, other, &names).await?;
        for shape in now {
            let mut columns = shape.columns;
            let mut others = then
                .iter()
                .find(|s| s.name == shape.name)
                .map(|s| s.columns.clone())
                .unwrap_or_default();
            columns.sort();
            others.sort();
            if columns != others {
                let told = |list: &[(String, String)], than: &[(String, String)]| {
                    let differ = list.iter().filter(|column| !than.contains(column));
                    differ
                        .map(|(name, kind)| format!("{name} {kind}"))
                        .collect::<Vec<_>>()
                        .join(", ")
                };
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("table {} has other columns now than in the backup", shape.name),
                )
                .with_cause(format!(
                    "now: {}; in the backup: {}",
                    or_none(told(&columns, &others)),
                    or_none(told(&others, &columns))
                ))
                .with_hint("Restore the whole tenant, or --as a new one, and copy from there."));
            }
        }
        Ok(())
    }

    /// What an earlier restore has kept must still fit.
    pub(super) async fn refuse_other_columns(&self, session: &Session, kept: &str, named: &Named) -> Result<()> {
        let names: Vec<&str> = named.tables.iter().map(|t| t.name.as_str()).collect();
        let then = restores::shapes(session, kept, &names).await?;
        for table in &named.tables {
            let fits = then.iter().find(|s| s.name == table.name).is_some_and(|shape| {
                let mut columns: Vec<&String> = shape.columns.iter().map(|(name, _)| name).collect();
                let mut wanted: Vec<&String> = table.columns.iter().map(|column| &column.name).collect();
                columns.sort();
                wanted.sort();
                columns == wanted
            });
            if !fits {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    format!("table {} has other columns now than what is kept of it", table.name),
                )
                .with_hint(format!("What is kept lies in schema {kept}.")));
            }
        }
        Ok(())
    }

    /// The plan of an exchange with the name of the schema that keeps what is replaced.
    #[expect(clippy::too_many_arguments, reason = "each is a thing of its own")]
    pub(super) async fn tables_plan(
        &self,
        session: &Session,
        row: &TenantRow,
        becoming: &Becoming,
        named: &Named,
        incoming: &str,
        close: plans::Close<'_>,
        operation: Uuid,
    ) -> Result<(String, Plan)> {
        let schema = row.schema_name.as_str();
        let live = self.observe(session, schema, &row.role_name).await?;
        let names: Vec<&str> = named.tables.iter().map(|t| t.name.as_str()).collect();
        let foreign_keys = restores::foreign_keys(session, schema, &names).await?;
        let around = foreign_keys.iter().flat_map(|key| [&key.table, &key.references]);
        let around = around
            .filter(|(place, _)| place == schema)
            .map(|(_, table)| table.as_str());
        for table in names.iter().copied().chain(around).chain(["tenant_usage"]) {
            owner_sees_all(&live, table)?;
        }
        let replaced = plans::replaced_name(&random_hex(super::NAME_BYTES));
        let plan = plans::tables(&plans::Tables {
            id: &row.tenant_id,
            schema: &row.schema_name,
            incoming,
            tables: &named.tables,
            foreign_keys: &foreign_keys,
            live: &live,
            wanted: becoming.wanted(schema),
            sequences: &named.sequences,
            replaced: &replaced,
            keep_days: self.keep_days,
            close,
            operation,
            lock_timeout: self.lock_timeout,
        });
        Ok((replaced, plan))
    }

    /// Exchanges the contents of tables.
    #[expect(clippy::too_many_arguments, reason = "each is a thing of its own")]
    pub(super) async fn put_tables(
        &self,
        session: &Session,
        source: &Source,
        row: &TenantRow,
        named: &Named,
        staging: &str,
        close: plans::Close<'_>,
        rows: u64,
    ) -> Result<Restored> {
        self.refuse_other_types(session, row.schema_name.as_str(), staging, named)
            .await?;
        let becoming = self.as_it_is(session, row).await?;
        let operation = Uuid::new_v4();
        let (replaced, plan) = self
            .tables_plan(session, row, &becoming, named, staging, close, operation)
            .await?;
        let applied = self.apply(session, row, &plan, operation).await.map_err(explain)?;
        Ok(Restored {
            backup_created_at: Some(source.manifest.created_at.clone()),
            drop_after: drop_after(session, &row.tenant_id, &replaced).await,
            replaced_schema: Some(replaced),
            tables: named.tables.iter().map(|t| t.name.clone()).collect(),
            ..restored(
                row,
                Some(source.manifest.backup_id.to_string()),
                "tables",
                rows,
                &applied,
            )
        })
    }
}

fn or_none(list: String) -> String {
    if list.is_empty() { "none".to_owned() } else { list }
}

/// With row security on, the owner must see every row by a policy of its own, and none must hide any from it.
fn owner_sees_all(live: &Observed, table: &str) -> Result<()> {
    let Some(relation) = live.relations.iter().find(|r| r.name == table) else {
        return Ok(());
    };
    let mut policies = relation
        .policies
        .iter()
        .filter(|p| p.roles.is_empty() || p.roles.iter().any(|role| role.is_empty() || role == OWNER_ROLE));
    let of_owner = policies.clone().any(|p| p.roles.iter().any(|role| role == OWNER_ROLE));
    if !(relation.row_security && relation.forced) || (of_owner && policies.all(|p| p.plain)) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        format!("row security may hide rows of table {table} from tenantctl_owner"),
    )
    .with_hint("`tenantctl secure` brings its policies to the standard."))
}

/// A foreign key that does not hold names what else would have to be restored.
pub(super) fn explain(error: Error) -> Error {
    match error.sqlstate() {
        Some("23503") => {
            let key = error.constraint().unwrap_or("?").to_owned();
            error
                .with_message(format!(
                    "foreign key {key} would not hold with these tables as they were"
                ))
                .with_hint(
                    "Nothing was changed. Add the other table of the key to --tables, or restore the whole tenant.",
                )
        }
        _ => error,
    }
}
