//! Chunks of hypertables, dropped a few at a time: one transaction has not enough locks for thousands of tables.

use std::time::Duration;

use super::{Plan, as_admin, as_owner, lock_tenant, unless_changed};
use crate::pg::sql::Sql;
use crate::tenant::{SchemaName, TenantId};

/// What time is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeType {
    /// `timestamptz`.
    Timestamptz,
    /// `timestamp`.
    Timestamp,
    /// `date`.
    Date,
    /// `bigint`.
    Bigint,
    /// `integer`.
    Integer,
    /// `smallint`.
    Smallint,
}

impl TimeType {
    /// By its name, as the catalog query has it.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "timestamptz" => Self::Timestamptz,
            "timestamp" => Self::Timestamp,
            "date" => Self::Date,
            "bigint" => Self::Bigint,
            "integer" => Self::Integer,
            "smallint" => Self::Smallint,
            _ => return None,
        })
    }

    /// Whether intervals mean something.
    pub fn is_calendar(self) -> bool {
        matches!(self, Self::Timestamptz | Self::Timestamp | Self::Date)
    }

    fn cast(self) -> &'static str {
        match self {
            Self::Timestamptz => "::pg_catalog.timestamptz",
            Self::Timestamp => "::pg_catalog.timestamp",
            Self::Date => "::pg_catalog.date",
            Self::Bigint => "::pg_catalog.int8",
            Self::Integer => "::pg_catalog.int4",
            Self::Smallint => "::pg_catalog.int2",
        }
    }
}

/// A range of time with the chunks that hold it; several where there are space partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Range {
    /// Where it ends, as the server reads it.
    pub end: String,
    /// Chunks of the range.
    pub chunks: u64,
}

/// A hypertable with the chunks that are spoken of.
#[derive(Clone, Debug)]
pub struct HypertableChunks {
    /// Its schema.
    pub schema: String,
    /// Its name.
    pub table: String,
    /// Its time column.
    pub column: String,
    /// What time is counted in; none: in a way that is not ours to judge.
    pub time: Option<TimeType>,
    /// The interval of new chunks: microseconds, or the column's own numbers.
    pub interval: i64,
    /// All chunks that it has.
    pub chunks: u64,
    /// Locks that dropping one chunk takes, at most.
    pub locks: u64,
    /// The ranges, oldest first.
    pub ranges: Vec<Range>,
    /// Before when ranges had to end, where they had to: ISO 8601 in UTC.
    pub cutoff: Option<String>,
    /// Foreign keys to it; its chunks cannot be dropped while there are any.
    pub referenced_by: Vec<String>,
}

impl HypertableChunks {
    /// One that nothing is known of yet.
    pub fn unread(schema: &str, table: &str) -> Self {
        Self {
            schema: schema.to_owned(),
            table: table.to_owned(),
            column: String::new(),
            time: None,
            interval: 0,
            chunks: 0,
            locks: 1,
            ranges: Vec::new(),
            cutoff: None,
            referenced_by: Vec::new(),
        }
    }

    /// Chunks of its ranges.
    pub fn in_ranges(&self) -> u64 {
        self.ranges.iter().map(|r| r.chunks).sum()
    }

    /// Where to stop after each batch, so that no batch takes more locks than `budget`; the chunks of one range are not parted.
    pub fn batches(&self, budget: u64) -> Vec<Range> {
        let room = (budget / self.locks.max(1)).max(1);
        let mut batches: Vec<Range> = Vec::new();
        for range in &self.ranges {
            match batches.last_mut() {
                Some(last) if last.chunks + range.chunks <= room => {
                    last.chunks += range.chunks;
                    last.end.clone_from(&range.end);
                }
                _ => batches.push(range.clone()),
            }
        }
        batches
    }
}

/// Locks that dropping all of these takes, in one transaction.
pub fn locks(tables: &[HypertableChunks]) -> u64 {
    tables.iter().map(|t| t.chunks.saturating_mul(t.locks)).sum()
}

/// By which right a schema's chunks are dropped. Each is a row of the registry that is locked first: what has become of the schema
/// since the plan was made, such as a restore that has put it in the place of a tenant, ends the transaction.
#[derive(Clone, Copy, Debug)]
pub enum Claim<'a> {
    /// A tenant's own schema.
    Tenant(&'a TenantId, &'a SchemaName),
    /// A schema that a restore has made: loaded, or replaced and kept.
    OfRestore(&'a str),
}

impl Claim<'_> {
    /// The schema.
    pub fn schema(&self) -> &str {
        match self {
            Self::Tenant(_, schema) => schema.as_str(),
            Self::OfRestore(schema) => schema,
        }
    }

    fn lock(&self) -> Sql {
        match self {
            Self::Tenant(id, schema) => lock_tenant(id, schema),
            Self::OfRestore(schema) => {
                let is = |sql: Sql| sql.literal(schema);
                let sql = as_owner().text("\nWITH locked AS (SELECT 1 FROM tenantctl.restores WHERE staging_schema = ");
                is(is(sql).text(" OR replaced_schema = "))
                    .text(" FOR UPDATE)\n")
                    .append(unless_changed(Sql::new("SELECT pg_catalog.count(*) = 1 FROM locked")))
            }
        }
    }
}

/// One transaction of many.
pub struct Batch<'a> {
    /// By which right.
    pub claim: Claim<'a>,
    /// The schema of the timescaledb extension.
    pub extension: &'a str,
    /// The hypertable.
    pub table: &'a HypertableChunks,
    /// All that ends at or before the end of this.
    pub range: &'a Range,
    /// What comes after the lock, as the owner.
    pub before: Vec<(&'static str, Sql)>,
    /// What follows in the same transaction, as the owner.
    pub then: Vec<(&'static str, Sql)>,
    /// Limit for each statement.
    pub timeout: Duration,
    /// Limit for each wait on a lock.
    pub lock_timeout: Duration,
}

/// The transaction that drops chunks up to the end of a range. None: time is counted in a way of its own.
pub fn batch(batch: &Batch<'_>) -> Option<Plan> {
    let table = batch.table;
    let time = table.time?;
    let mut plan = Plan::new(
        format!("drop chunks of {}.{}", table.schema, table.table),
        batch.timeout,
        batch.lock_timeout,
    );
    plan.step("lock what they belong to, unless it has changed", batch.claim.lock());
    for (what, sql) in &batch.before {
        plan.step(*what, sql.clone());
    }
    plan.step(
        format!("drop {} that end by {}", chunks(batch.range.chunks), batch.range.end),
        as_admin()
            .text("\nSELECT FROM ")
            .ident(batch.extension)
            .text(".drop_chunks(")
            .literal(&Sql::default().qualified(&table.schema, &table.table).to_string())
            .text("::pg_catalog.regclass, older_than => ")
            .literal(&batch.range.end)
            .text(time.cast())
            .text(");"),
    );
    for (what, sql) in &batch.then {
        plan.step(*what, as_owner().text("\n").append(sql.clone()));
    }
    Some(plan)
}

fn chunks(n: u64) -> String {
    if n == 1 {
        "1 chunk".into()
    } else {
        format!("{n} chunks")
    }
}

/// Changes the interval of a hypertable's new chunks, as the admin; those that are there stay as they are.
pub fn set_interval(extension: &str, schema: &str, table: &HypertableChunks, interval: &str) -> Sql {
    Sql::new("SELECT FROM ")
        .ident(extension)
        .text(".set_chunk_time_interval(")
        .literal(&Sql::default().qualified(schema, &table.table).to_string())
        .text("::pg_catalog.regclass, ")
        .literal(interval)
        .text("::pg_catalog.interval, ")
        .literal(&table.column)
        .text("::pg_catalog.name);\n")
}

/// Microseconds of an interval as the configuration has it, a whole number and a unit. Months have 30 days, years twelve months:
/// so timescaledb takes them for the length of a chunk.
pub fn microseconds(interval: &str) -> Option<i64> {
    let (number, unit) = interval.split_once(' ')?;
    const MINUTE: i64 = 60_000_000;
    let length = match unit.trim_end_matches('s') {
        "minute" => MINUTE,
        "hour" => 60 * MINUTE,
        "day" => 1_440 * MINUTE,
        "week" => 7 * 1_440 * MINUTE,
        "month" => 30 * 1_440 * MINUTE,
        "year" => 360 * 1_440 * MINUTE,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(ranges: &[u64]) -> HypertableChunks {
        HypertableChunks {
            schema: "s".into(),
            table: "trades".into(),
            column: "at".into(),
            time: Some(TimeType::Timestamptz),
            interval: 1,
            chunks: ranges.iter().sum(),
            locks: 10,
            ranges: ranges
                .iter()
                .enumerate()
                .map(|(n, chunks)| Range {
                    end: n.to_string(),
                    chunks: *chunks,
                })
                .collect(),
            cutoff: None,
            referenced_by: Vec::new(),
        }
    }

    #[test]
    fn no_batch_takes_more_locks_than_it_may() {
        let batches = table(&[1; 25]).batches(100);
        let seen: Vec<_> = batches.iter().map(|b| (b.chunks, b.end.as_str())).collect();
        assert_eq!(seen, [(10, "9"), (10, "19"), (5, "24")]);
        // A range is not parted, however few locks there are.
        let batches = table(&[4, 4, 30, 1]).batches(80);
        let seen: Vec<_> = batches.iter().map(|b| (b.chunks, b.end.as_str())).collect();
        assert_eq!(seen, [(8, "1"), (30, "2"), (1, "3")]);
        assert_eq!(table(&[1, 1]).batches(1).len(), 2);
        assert!(table(&[]).batches(100).is_empty());
        assert_eq!(locks(&[table(&[3, 4]), table(&[1])]), 80);
    }

    #[test]
    fn a_batch_locks_what_it_is_of_before_it_drops() {
        let (table, range) = (
            table(&[2]),
            Range {
                end: "2026-01-01 00:00:00+00".into(),
                chunks: 2,
            },
        );
        let of = |claim| {
            batch(&Batch {
                claim,
                extension: "ext",
                table: &table,
                range: &range,
                before: Vec::new(),
                then: vec![("after that", Sql::new("SELECT 1;"))],
                timeout: Duration::from_secs(1),
                lock_timeout: Duration::from_secs(1),
            })
            .expect("a plan")
            .to_string()
        };
        let text = of(Claim::OfRestore("tenantctl_replaced_0123456789ab"));
        let at = |part: &str| text.find(part).unwrap_or_else(|| panic!("{part} not in\n{text}"));
        assert!(
            at("FOR UPDATE")
                < at(
                    "drop_chunks('\"s\".\"trades\"'::pg_catalog.regclass, older_than => '2026-01-01 00:00:00+00'::pg_catalog.timestamptz)"
                )
        );
        assert!(at("SET LOCAL ROLE NONE") < at("drop_chunks"));
        assert!(at("drop_chunks") < at("SELECT 1;"));
        let id: TenantId = "acme".parse().expect("a valid id");
        let schema = SchemaName::derive(&id, "salt");
        assert!(of(Claim::Tenant(&id, &schema)).contains("FROM tenantctl.tenants WHERE tenant_id = 'acme'"));
    }

    #[test]
    fn intervals_are_as_long_as_timescaledb_takes_them() {
        for (interval, days) in [("1 day", 1), ("2 weeks", 14), ("1 month", 30), ("1 year", 360)] {
            assert_eq!(microseconds(interval), Some(days * 86_400_000_000), "{interval}");
        }
        assert_eq!(microseconds("90 minutes"), Some(5_400_000_000));
        assert_eq!(microseconds("1000"), None);
    }
}
