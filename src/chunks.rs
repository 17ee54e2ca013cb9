//! Drops the chunks of hypertables in transactions that do not take more locks than the server has for one, so that thousands of
//! them can go. What was dropped stays so when one of the transactions fails, or the client is killed: the next run goes on.

use std::time::Duration;

use crate::catalog::{self, chunks};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::pg::apply::apply;
use crate::pg::session::Session;
use crate::plan::Plan;
use crate::plan::chunks::{Batch, Claim, HypertableChunks, Range, batch, locks};

/// SQLSTATE of a lock table that is full.
const OUT_OF_LOCKS: &str = "53200";

/// What schemas that are going to be dropped have too many of for one transaction.
pub struct Clearing<'a> {
    claims: Vec<Claim<'a>>,
    extension: String,
    tables: Vec<HypertableChunks>,
    budget: u64,
    timeout: Duration,
    lock_timeout: Duration,
}

impl<'a> Clearing<'a> {
    /// Looks whether these schemas have more chunks than one transaction can drop. None: they have not.
    ///
    /// # Errors
    /// When the server refuses the queries, or the extension's functions cannot be trusted.
    pub async fn of(
        session: &Session,
        claims: Vec<Claim<'a>>,
        timeout: Duration,
        lock_timeout: Duration,
    ) -> Result<Option<Self>> {
        let wanted: Vec<_> = claims.iter().map(|c| chunks::Wanted::all(c.schema())).collect();
        let tables = chunks::read(session, &wanted).await?;
        let needed = locks(&tables);
        if needed == 0 {
            return Ok(None);
        }
        let budget = chunks::lock_budget(session).await?;
        if needed <= budget {
            return Ok(None);
        }
        let Some(extension) = catalog::timescaledb_schema(session).await? else {
            return Ok(None);
        };
        Ok(Some(Self {
            claims,
            extension,
            tables,
            budget,
            timeout,
            lock_timeout,
        }))
    }

    /// Chunks that there are.
    pub fn chunks(&self) -> u64 {
        self.tables.iter().map(|t| t.chunks).sum()
    }

    fn claim(&self, table: &HypertableChunks) -> Option<Claim<'a>> {
        self.claims.iter().copied().find(|c| c.schema() == table.schema)
    }

    fn plan(&self, table: &HypertableChunks, range: &Range) -> Option<Plan> {
        batch(&Batch {
            claim: self.claim(table)?,
            extension: &self.extension,
            table,
            range,
            before: Vec::new(),
            then: Vec::new(),
            timeout: self.timeout,
            lock_timeout: self.lock_timeout,
        })
    }

    /// The transactions, in order.
    pub fn plans(&self) -> Vec<Plan> {
        let of = |table: &HypertableChunks| -> Vec<Plan> {
            let batches = table.batches(self.budget);
            batches.iter().filter_map(|range| self.plan(table, range)).collect()
        };
        self.tables.iter().flat_map(of).collect()
    }

    /// Runs them. Where other sessions hold so many locks that there are too few left, it goes on with smaller ones.
    ///
    /// # Errors
    /// What the server refused; kind `interrupted` after an interrupt. What was dropped until then is gone.
    pub async fn run(mut self, session: &Session, interrupt: Option<&Interrupt>, tell: impl Fn(u64)) -> Result<u64> {
        let (mut budget, mut gone) = (self.budget, 0);
        let go_on = || match interrupt.is_some_and(Interrupt::requested) {
            false => Ok(()),
            true => Err(
                Error::new(ErrorKind::Interrupted, "interrupted while chunks were dropped")
                    .with_hint("What is dropped is gone. The same command goes on with the rest."),
            ),
        };
        while let Some(table) = self.tables.pop() {
            gone += drain(
                session,
                &table,
                &mut budget,
                go_on,
                |range| self.plan(&table, range),
                &tell,
            )
            .await
            .map_err(|error| explain(error, &table))?;
        }
        Ok(gone)
    }
}

/// Drops the ranges of one hypertable batch by batch, each by its plan; how many chunks are gone. Where there are too few locks
/// left, the budget is halved and it goes on. A range without a plan ends it: what follows may have locks enough for the rest.
///
/// # Errors
/// What the server refused, or what `go_on` says between two batches.
pub async fn drain(
    session: &Session,
    table: &HypertableChunks,
    budget: &mut u64,
    go_on: impl Fn() -> Result<()>,
    plan: impl Fn(&Range) -> Option<Plan>,
    tell: impl Fn(u64),
) -> Result<u64> {
    let mut table = table.clone();
    let mut gone = 0;
    while !table.ranges.is_empty() {
        let mut done = 0;
        for range in table.batches(*budget) {
            go_on()?;
            let Some(plan) = plan(&range) else {
                return Ok(gone);
            };
            match apply(session, &plan).await {
                Ok(()) => {
                    let last = table.ranges.iter().position(|r| r.end == range.end);
                    done = last.map_or(done, |at| at + 1);
                    gone += range.chunks;
                    tell(range.chunks);
                }
                Err(failure) if failure.error.sqlstate() == Some(OUT_OF_LOCKS) && *budget > table.locks => {
                    *budget /= 2;
                    break;
                }
                Err(failure) => return Err(failure.error),
            }
        }
        table.ranges.drain(..done);
    }
    Ok(gone)
}

/// What a chunk is kept by.
pub fn explain(error: Error, table: &HypertableChunks) -> Error {
    match error.sqlstate() {
        Some("2BP01") if !table.referenced_by.is_empty() => error
            .with_cause(format!(
                "foreign keys refer to its rows: {}",
                table.referenced_by.join(", ")
            ))
            .with_hint("Drop these constraints first; timescaledb drops no chunk that a foreign key may refer to."),
        _ => error,
    }
}
