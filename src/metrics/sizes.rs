//! Bytes on disk of tenants: exact from the files, exact by the server's functions, estimated from the catalog.
//!
//! The files are read where this login may: no relation is opened, and nobody's lock is waited for. Elsewhere the server's
//! functions are asked in batches; a tenant whose tables are locked is left out, and its size is unknown. All ways count
//! what `sum(pg_total_relation_size)` over the tenant's tables counts; sequences do not.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::time::Instant;

use tokio_postgres::types::Type;

use super::readers::Readers;
use crate::error::{Error, Result};
use crate::pg::session::{Param, Row, Session, column};
use crate::pg::sql::Sql;

/// What is found out of one tenant's schema; its place in the list of schemas is kept beside it.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Contents {
    /// Tables; partitions count, chunks do not.
    pub tables: u64,
    /// Live rows as the server's statistics have them; none: it has lost them.
    pub live: Option<u64>,
    /// Bytes; none: unknown.
    pub bytes: Option<u64>,
    /// Which files it has; only where files were read.
    fingerprint: Option<i64>,
}

/// How bytes are found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From the files.
    Files,
    /// From `relpages`.
    Estimate,
    /// Not here: only tables and rows are counted.
    Count,
}

/// Live rows that a table may have before it is looked at by autovacuum without fail, so that without VACUUM or ANALYZE
/// nothing can be said of its size.
const UNSEEN_ROWS: i64 = 1_000;

/// Tenants whose sizes one query finds out. Each such query reads the catalog and lists the folder, so that many small ones
/// cost more than one large one.
const CHUNK: usize = 10_000;

/// Tenants whose relations one query opens.
const BATCH: usize = 100;

/// How many lock timeouts all tenants together may cost, before the rest of those that cannot be measured is given up.
const LOCK_TIMEOUTS: u32 = 10;

fn members(tail: &'static str) -> Sql {
    Sql::new(include_str!("../../sql/metrics/members.sql")).text(tail)
}

/// Schemas that are looked at in one query.
#[derive(Clone, Debug)]
pub struct Chunk(Range<usize>);

impl Chunk {
    /// All of so many schemas.
    pub fn all(schemas: usize) -> Self {
        Self(0..schemas)
    }
}

/// Parts the schemas among so many sessions.
pub fn chunks(schemas: usize, jobs: usize) -> Vec<Chunk> {
    let parts = schemas.div_ceil(CHUNK).clamp(1, jobs.max(1));
    let each = schemas.div_ceil(parts).max(1);
    (0..schemas)
        .step_by(each)
        .map(|first| Chunk(first..schemas.min(first + each)))
        .collect()
}

/// Looks at one chunk, by place in `schemas`. A schema that is missing is absent.
///
/// # Errors
/// When the server refuses the query.
pub async fn read(session: &Session, schemas: &[&str], chunk: &Chunk, way: Way) -> Result<Vec<(usize, Contents)>> {
    let tail = match way {
        Way::Files => include_str!("../../sql/metrics/sizes_files.sql"),
        Way::Estimate | Way::Count => include_str!("../../sql/metrics/sizes_estimate.sql"),
    };
    let wanted = &schemas[chunk.0.clone()];
    let rows = session
        .query(
            &members(tail),
            &[(&wanted, Type::TEXT_ARRAY)],
            "measure the tenants' tables",
        )
        .await?;
    rows.iter()
        .map(|row| {
            let bytes: Option<i64> = match way {
                Way::Files => column(row, "bytes")?,
                Way::Estimate if column::<i64>(row, "unseen")? <= UNSEEN_ROWS => Some(column(row, "bytes")?),
                Way::Estimate | Way::Count => None,
            };
            let contents = Contents {
                tables: column::<i64>(row, "tables")?.unsigned_abs(),
                live: column::<Option<i64>>(row, "live")?.map(i64::unsigned_abs),
                bytes: bytes.map(i64::unsigned_abs),
                fingerprint: match way {
                    Way::Files => column(row, "fingerprint")?,
                    Way::Estimate | Way::Count => None,
                },
            };
            Ok((chunk.0.start + place(row)?, contents))
        })
        .collect()
}

/// The place of a row's schema in the array it was asked with, from 0 on.
fn place(row: &Row) -> Result<usize> {
    let at: i64 = column(row, "at")?;
    Ok(usize::try_from(at).unwrap_or_default().saturating_sub(1))
}

/// Which files there are in the database.
///
/// # Errors
/// When the server refuses the query.
pub async fn all_files(session: &Session) -> Result<(i64, i64)> {
    let sql = Sql::new(include_str!("../../sql/metrics/files_fingerprint.sql"));
    let row = session.query_one(&sql, &[], "look at the tables' files").await?;
    Ok((column(&row, "relations")?, column(&row, "fingerprint")?))
}

/// The schemas whose files were replaced since [`read`] looked at them, and those whose bytes it could not tell.
///
/// # Errors
/// When the server refuses the query.
pub async fn replaced(
    session: &Session,
    schemas: &[&str],
    found: &HashMap<usize, Contents>,
    before: (i64, i64),
) -> Result<Vec<usize>> {
    let unread = || found.iter().filter(|(_, c)| c.bytes.is_none()).map(|(at, _)| *at);
    if all_files(session).await? == before {
        return Ok(unread().collect());
    }
    let sql = members(include_str!("../../sql/metrics/sizes_fingerprints.sql"));
    let rows = session
        .query(&sql, &[(&schemas, Type::TEXT_ARRAY)], "look at the tables' files again")
        .await?;
    let mut now: HashMap<usize, i64> = HashMap::with_capacity(rows.len());
    for row in &rows {
        now.insert(place(row)?, column(row, "fingerprint")?);
    }
    let changed = found
        .iter()
        .filter(|(at, contents)| contents.fingerprint != now.get(at).copied());
    Ok(changed
        .map(|(at, _)| *at)
        .chain(unread())
        .collect::<HashSet<_>>()
        .into_iter()
        .collect())
}

/// The relations that others have locked so that nobody can look into them, or wait to.
///
/// # Errors
/// When the server refuses the query.
pub async fn locked(session: &Session) -> Result<HashSet<u32>> {
    let sql = Sql::new(include_str!("../../sql/metrics/locked.sql"));
    let rows = session.query(&sql, &[], "look for locked tables").await?;
    rows.iter().map(|row| column(row, "oid")).collect()
}

/// A tenant with the relations that it is about.
#[derive(Clone, Debug)]
pub struct Opened {
    /// Its place in the list of schemas.
    pub at: usize,
    /// Their oids.
    pub relations: Vec<u32>,
}

/// Tenants whose relations one query opens.
#[derive(Clone, Debug)]
pub struct Batch(pub Vec<Opened>);

impl Batch {
    /// How many relations it opens.
    pub fn relations(&self) -> usize {
        self.0.iter().map(|tenant| tenant.relations.len()).sum()
    }
}

/// Parts tenants into batches.
pub fn batches(tenants: Vec<Opened>) -> Vec<Batch> {
    tenants.chunks(BATCH).map(|batch| Batch(batch.to_vec())).collect()
}

/// The figures of the tenants of a batch, and those that have none, with the reason.
#[derive(Debug)]
pub struct Asked<T> {
    /// By place.
    pub found: Vec<(usize, T)>,
    /// By place.
    pub unknown: Vec<(usize, Error)>,
}

impl<T> Default for Asked<T> {
    fn default() -> Self {
        Self {
            found: Vec::new(),
            unknown: Vec::new(),
        }
    }
}

/// Time that may be lost to locks, all batches together.
#[derive(Clone, Copy, Debug)]
pub struct Patience(Instant);

impl Patience {
    /// From now on.
    pub fn new(readers: &Readers<'_>) -> Self {
        Self(Instant::now() + readers.lock_timeout * LOCK_TIMEOUTS)
    }

    fn is_over(&self) -> bool {
        Instant::now() > self.0
    }
}

/// What is asked about several tenants in one query.
pub trait Question: Sync {
    /// What is known of a tenant then.
    type Answer: Send;

    /// Asks; the answers are by place.
    fn put(
        &self,
        session: &Session,
        tenants: &[Opened],
    ) -> impl Future<Output = Result<Vec<(usize, Self::Answer)>>> + Send;
}

/// Asks about all tenants of a batch in one query. When that fails, those that are known to be locked by then are left out,
/// and what fails again is halved until the tenant is found that it is about; the others get their figures. After too many
/// waits the rest of a batch that fails is given up.
///
/// # Errors
/// When the session is lost.
pub async fn ask<Q: Question>(
    session: &Session,
    batch: &Batch,
    patience: Patience,
    question: &Q,
) -> Result<Asked<Q::Answer>> {
    let mut asked = Asked::default();
    let mut left = vec![batch.0.clone()];
    while let Some(part) = left.pop() {
        if part.is_empty() {
            continue;
        }
        let error = match question.put(session, &part).await {
            Ok(found) => {
                asked.found.extend(found);
                continue;
            }
            Err(error) if session.is_closed() => return Err(error),
            Err(error) => error,
        };
        if part.len() == 1 || (error.sqlstate() == Some("55P03") && patience.is_over()) {
            asked
                .unknown
                .extend(part.iter().map(|tenant| (tenant.at, error.clone())));
            continue;
        }
        let locked = match error.sqlstate() {
            Some("55P03") => locked(session).await?,
            _ => HashSet::new(),
        };
        let (waiting, mut free): (Vec<_>, Vec<_>) = part
            .into_iter()
            .partition(|t| t.relations.iter().any(|oid| locked.contains(oid)));
        if waiting.is_empty() {
            let second = free.split_off(free.len() / 2);
            left.push(second);
        }
        asked
            .unknown
            .extend(waiting.iter().map(|tenant| (tenant.at, error.clone())));
        left.push(free);
    }
    Ok(asked)
}

/// The relations of these schemas that the server's functions are to be asked about.
///
/// # Errors
/// When the server refuses the query.
pub async fn tables(session: &Session, schemas: &[&str]) -> Result<Vec<Opened>> {
    let sql = members(include_str!("../../sql/metrics/sizes_tables.sql"));
    let rows = session
        .query(&sql, &[(&schemas, Type::TEXT_ARRAY)], "look for the tenants' tables")
        .await?;
    rows.iter()
        .map(|row| {
            Ok(Opened {
                at: place(row)?,
                relations: column(row, "tables")?,
            })
        })
        .collect()
}

/// Asks the server's functions; none: a table was dropped meanwhile.
#[derive(Clone, Copy, Debug)]
pub struct Functions;

impl Question for Functions {
    type Answer = Option<u64>;

    async fn put(&self, session: &Session, tenants: &[Opened]) -> Result<Vec<(usize, Option<u64>)>> {
        let sql = Sql::new(include_str!("../../sql/metrics/sizes_functions.sql"));
        let (mut places, mut oids) = (Vec::new(), Vec::new());
        for tenant in tenants {
            for oid in &tenant.relations {
                places.push(i64::try_from(tenant.at).unwrap_or(i64::MAX));
                oids.push(*oid);
            }
        }
        let params: [Param<'_>; 2] = [(&places, Type::INT8_ARRAY), (&oids, Type::OID_ARRAY)];
        let rows = session.query(&sql, &params, "measure the tenants' tables").await?;
        let empty = tenants.iter().filter(|tenant| tenant.relations.is_empty());
        empty
            .map(|tenant| Ok((tenant.at, Some(0))))
            .chain(rows.iter().map(|row| {
                let (at, bytes): (i64, Option<i64>) = (column(row, "at")?, column(row, "bytes")?);
                Ok((usize::try_from(at).unwrap_or_default(), bytes.map(i64::unsigned_abs)))
            }))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_every_schema_once() {
        for (schemas, jobs) in [
            (0, 4),
            (1, 4),
            (2_500, 4),
            (2_501, 4),
            (10_000, 4),
            (10_000, 1),
            (30_001, 3),
            (7, 0),
        ] {
            let chunks = chunks(schemas, jobs);
            assert!(chunks.len() <= jobs.max(1), "{schemas} {jobs}");
            let all: Vec<usize> = chunks.into_iter().flat_map(|c| c.0).collect();
            assert_eq!(all, (0..schemas).collect::<Vec<_>>(), "{schemas} {jobs}");
        }
    }
}
