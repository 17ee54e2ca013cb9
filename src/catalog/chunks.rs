//! The chunks of hypertables by their time ranges, and how many locks this server has for dropping them.

use std::collections::HashMap;

use tokio_postgres::types::Type;

use crate::error::Result;
use crate::pg::session::{Param, Session, column};
use crate::pg::sql::Sql;
use crate::plan::chunks::{HypertableChunks, Range, TimeType};

/// A hypertable, or all of a schema, that is looked for.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    /// The schema.
    pub schema: &'a str,
    /// The table; none: all.
    pub table: Option<&'a str>,
    /// Only ranges that ended so long ago, as a PostgreSQL interval; none: all.
    pub older_than: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    /// All chunks of a schema.
    pub fn all(schema: &'a str) -> Self {
        Self {
            schema,
            table: None,
            older_than: None,
        }
    }
}

/// Whether timescaledb is installed in this database.
///
/// # Errors
/// When the server refuses the query.
pub async fn has_timescaledb(session: &Session) -> Result<bool> {
    let sql = Sql::new("SELECT FROM pg_catalog.pg_extension e WHERE e.extname = 'timescaledb'");
    Ok(session
        .query_opt(&sql, &[], "look for the timescaledb extension")
        .await?
        .is_some())
}

/// Hypertables with their chunks; none where timescaledb is not installed.
///
/// # Errors
/// When the server refuses the query.
pub async fn read(session: &Session, wanted: &[Wanted<'_>]) -> Result<Vec<HypertableChunks>> {
    if wanted.is_empty() || !has_timescaledb(session).await? {
        return Ok(Vec::new());
    }
    let sql = Sql::new(include_str!("../../sql/catalog/hypertable_chunks.sql"));
    let schemas: Vec<&str> = wanted.iter().map(|w| w.schema).collect();
    let tables: Vec<Option<&str>> = wanted.iter().map(|w| w.table).collect();
    let ages: Vec<Option<&str>> = wanted.iter().map(|w| w.older_than).collect();
    let params: [Param<'_>; 3] = [
        (&schemas, Type::TEXT_ARRAY),
        (&tables, Type::TEXT_ARRAY),
        (&ages, Type::TEXT_ARRAY),
    ];
    let rows = session
        .query(&sql, &params, "look at the chunks of hypertables")
        .await?;
    rows.iter()
        .map(|row| {
            let (ends, counts): (Vec<String>, Vec<i32>) = (column(row, "ends")?, column(row, "counts")?);
            let ranges = ends.into_iter().zip(counts).map(|(end, chunks)| Range {
                end,
                chunks: chunks.max(0) as u64,
            });
            Ok(HypertableChunks {
                schema: column(row, "schema_name")?,
                table: column(row, "table_name")?,
                column: column(row, "column_name")?,
                time: column::<Option<&str>>(row, "time")?.and_then(TimeType::named),
                interval: column(row, "interval_length")?,
                chunks: column::<i64>(row, "chunks")?.max(0) as u64,
                locks: column::<i64>(row, "locks")?.max(1) as u64,
                ranges: ranges.collect(),
                cutoff: column(row, "cutoff")?,
                referenced_by: column(row, "referenced_by")?,
            })
        })
        .collect()
}

/// The hypertables of these schemas without their ranges, by schema.
///
/// # Errors
/// When the server refuses the query.
pub async fn intervals(session: &Session, schemas: &[&str]) -> Result<HashMap<String, Vec<HypertableChunks>>> {
    // Nothing has ended so long ago.
    let wanted: Vec<Wanted<'_>> = schemas
        .iter()
        .map(|schema| Wanted {
            schema,
            table: None,
            older_than: Some("6000 years"),
        })
        .collect();
    let mut found: HashMap<String, Vec<HypertableChunks>> = HashMap::new();
    for table in read(session, &wanted).await? {
        found.entry(table.schema.clone()).or_default().push(table);
    }
    Ok(found)
}

/// How many locks one transaction may take without others coming to want: a quarter of what the server has room for, by
/// `max_locks_per_transaction`, `max_connections` and `max_prepared_transactions`.
///
/// # Errors
/// When the server refuses the query.
pub async fn lock_budget(session: &Session) -> Result<u64> {
    let sql = Sql::new(
        "SELECT pg_catalog.current_setting('max_locks_per_transaction')::bigint
    * (pg_catalog.current_setting('max_connections')::bigint + pg_catalog.current_setting('max_prepared_transactions')::bigint) / 4 AS budget",
    );
    let row = session.query_one(&sql, &[], "read how many locks there are").await?;
    Ok(column::<i64>(&row, "budget")?.max(1) as u64)
}
