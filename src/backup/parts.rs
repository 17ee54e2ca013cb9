//! Tables in parts: ranges of a table's pages, each copied by itself, packed and stored on the way.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::watch;
use xxhash_rust::xxh3::xxh3_128;

use super::manifest::{BackupId, Member, RowFormat, part_name};
use super::member::{MemberWriter, Packing};
use crate::catalog::contents::TableFacts;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::copy::{BINARY_HEADER, BINARY_TRAILER, CopyOut};
use crate::pg::session::Session;
use crate::pg::sql::Sql;
use crate::store::{Metadata, Store};

/// What a part is meant to hold at most, in bytes of table and TOAST.
pub const PART_BYTES: u64 = 256 << 20;
/// What a part holds at least, where there is as much: less, and its own costs count.
const LEAST_BYTES: u64 = 16 << 20;
/// Parts that a tenant comes in between the two: so many that all sessions end at about the same time.
const PARTS: u64 = 32;

/// A share of a table's rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartPlan {
    /// The table, by its place among all.
    pub table: usize,
    /// From 1.
    pub number: usize,
    /// The pages from the first to before the last; no last: to the end. None: all rows.
    pub pages: Option<(u64, Option<u64>)>,
    /// The bytes that are in those pages, about.
    pub bytes: u64,
}

/// Cuts tables into parts of about `most_bytes` or less, the largest first. A hypertable is one part: its rows are in its
/// chunks. A table without a page has no rows and no part.
pub fn plan(tables: &[TableFacts], hypertables: &BTreeSet<String>, most_bytes: u64) -> Vec<PartPlan> {
    let total: u64 = tables.iter().map(|table| table.bytes).sum();
    let part_bytes = (total / PARTS).max(LEAST_BYTES).min(most_bytes.max(1));
    let mut parts = Vec::new();
    for (at, table) in tables.iter().enumerate() {
        let whole = |bytes| PartPlan {
            table: at,
            number: 1,
            pages: None,
            bytes,
        };
        if hypertables.contains(&table.name) {
            parts.push(whole(table.bytes));
            continue;
        }
        if table.kind != 'r' || table.pages == 0 {
            continue;
        }
        let wanted = table.bytes.div_ceil(part_bytes).clamp(1, table.pages);
        if wanted == 1 {
            parts.push(whole(table.bytes));
            continue;
        }
        let pages = table.pages.div_ceil(wanted);
        let starts: Vec<u64> = (0..table.pages)
            .step_by(usize::try_from(pages).unwrap_or(usize::MAX))
            .collect();
        let share = table.bytes / starts.len() as u64;
        parts.extend(starts.iter().enumerate().map(|(i, start)| PartPlan {
            table: at,
            number: i + 1,
            // Open at its end, so that no page is lost however the table has grown.
            pages: Some((*start, starts.get(i + 1).copied())),
            bytes: share,
        }));
    }
    parts.sort_by(|a, b| {
        b.bytes
            .cmp(&a.bytes)
            .then(a.table.cmp(&b.table))
            .then(a.number.cmp(&b.number))
    });
    parts
}

/// The query for the rows of a table, or for those in some of its pages; see [`PartPlan::pages`].
pub fn copy_sql(
    schema: &str,
    table: &str,
    columns: &[String],
    format: RowFormat,
    pages: Option<(u64, Option<u64>)>,
    hypertable: bool,
) -> Sql {
    let mut sql = Sql::new("COPY (SELECT ");
    for (i, column) in columns.iter().enumerate() {
        sql = if i == 0 { sql } else { sql.text(", ") }.ident(column);
    }
    // The rows of a hypertable are in its children; those of children that the tenant has made are copied with these.
    sql = sql
        .text(if hypertable { " FROM " } else { " FROM ONLY " })
        .qualified(schema, table);
    if let Some((first, end)) = pages {
        sql = sql
            .text(" WHERE ctid OPERATOR(pg_catalog.>=) '(")
            .int(first)
            .text(",0)'::pg_catalog.tid");
        if let Some(end) = end {
            sql = sql
                .text(" AND ctid OPERATOR(pg_catalog.<) '(")
                .int(end)
                .text(",0)'::pg_catalog.tid");
        }
    }
    sql.text(match format {
        RowFormat::Binary => ") TO STDOUT (FORMAT binary)",
        RowFormat::Text => ") TO STDOUT (FORMAT text)",
    })
}

/// What has been read so far; for whoever shows it.
#[derive(Debug, Default)]
pub struct Counters {
    /// Bytes as the server sent them.
    pub bytes: AtomicU64,
    /// Rows.
    pub rows: AtomicU64,
}

/// A part that lies in the store.
#[derive(Clone, Debug)]
pub struct Copied {
    /// The table, by its place among all.
    pub table: usize,
    /// From 1.
    pub number: usize,
    /// Rows in it.
    pub rows: u64,
    /// The sum of their hashes.
    pub checksum: u128,
    /// Where they are.
    pub member: Member,
}

/// Where parts go to.
pub struct Target<'a> {
    /// The store.
    pub store: &'a dyn Store,
    /// The backup.
    pub id: &'a BackupId,
    /// What S3 is told of it.
    pub metadata: &'a Metadata,
    /// How it is packed.
    pub packing: &'a Packing,
    /// Counts along.
    pub counters: &'a Counters,
}

/// Copies one part of a table; none when it turned out to have no rows. `stop` ends it at once.
///
/// # Errors
/// What the server or the store refused, or kind `interrupted` after a stop. Nothing of the part is in the store then, and the
/// session may still be busy with it.
pub async fn copy(
    session: &Session,
    schema: &str,
    table: &TableFacts,
    part: &PartPlan,
    hypertable: bool,
    target: &Target<'_>,
    stop: &mut watch::Receiver<bool>,
) -> Result<Option<Copied>> {
    if table.format == RowFormat::Text {
        // Names in text, such as those of regclass, are then written without the schema; money as every database reads it.
        let path = Sql::new("SET LOCAL lc_monetary = 'C'; SET LOCAL search_path = ").ident(schema);
        session.batch(&path, "set the search path").await?;
    }
    let doing = format!("read table {}", table.name);
    let mut rows = session
        .copy_out(
            &copy_sql(
                schema,
                &table.name,
                &table.columns,
                table.format,
                part.pages,
                hypertable,
            ),
            &doing,
        )
        .await?;
    let mut packer = Packer {
        writer: None,
        tally: Tally::new(table.format),
        frame_bytes: target.packing.frame_bytes(),
        pending: Vec::new(),
    };
    let copied = pack(&mut rows, table, part, target, stop, &mut packer).await;
    let writer = packer.writer.take();
    let copied = match (copied, writer) {
        (Ok(()), None) => Ok(None),
        (Ok(()), Some(writer)) => {
            let member = writer.finish().await?;
            Ok(Some(Copied {
                table: part.table,
                number: part.number,
                rows: packer.tally.rows,
                checksum: packer.tally.checksum,
                member,
            }))
        }
        (Err(error), writer) => {
            if let Some(writer) = writer {
                writer.abort().await;
            }
            Err(error)
        }
    };
    if table.format == RowFormat::Text && copied.is_ok() {
        session
            .batch(&Sql::new("SET LOCAL search_path = ''"), "set the search path")
            .await?;
    }
    copied
}

/// Counts rows and adds up their hashes, message by message as the server sends them.
#[derive(Debug)]
pub struct Tally {
    format: RowFormat,
    header: bool,
    trailer: bool,
    /// Rows so far.
    pub rows: u64,
    /// The sum of their hashes, modulo 2^128.
    pub checksum: u128,
}

impl Tally {
    /// Of no rows.
    pub fn new(format: RowFormat) -> Self {
        Self {
            format,
            header: false,
            trailer: false,
            rows: 0,
            checksum: 0,
        }
    }

    /// Takes a message: a row, and in the binary form also what frames them. Returns how many rows it held.
    ///
    /// # Errors
    /// Why it cannot be what COPY writes.
    pub fn add(&mut self, message: &[u8]) -> Result<u64, &'static str> {
        let mut row = message;
        if self.format == RowFormat::Binary {
            if !self.header {
                row = message
                    .strip_prefix(BINARY_HEADER.as_slice())
                    .ok_or("the rows do not begin with COPY's header")?;
                self.header = true;
            }
            if self.trailer {
                return Err("there are rows behind COPY's trailer");
            }
            if row == BINARY_TRAILER {
                self.trailer = true;
                return Ok(0);
            }
        }
        if row.is_empty() {
            return Ok(0);
        }
        self.rows += 1;
        self.checksum = self.checksum.wrapping_add(xxh3_128(row));
        Ok(1)
    }

    /// Ends it.
    ///
    /// # Errors
    /// When the binary form lacks its trailer.
    pub fn finish(&self) -> Result<(), &'static str> {
        match self.format {
            RowFormat::Binary if !self.trailer => Err("the rows end without COPY's trailer"),
            _ => Ok(()),
        }
    }
}

/// Rows on their way from messages to a member.
struct Packer {
    writer: Option<MemberWriter>,
    tally: Tally,
    frame_bytes: usize,
    pending: Vec<u8>,
}

async fn pack(
    rows: &mut CopyOut,
    table: &TableFacts,
    part: &PartPlan,
    target: &Target<'_>,
    stop: &mut watch::Receiver<bool>,
    packer: &mut Packer,
) -> Result<()> {
    let name = || part_name(&table.name, part.number, !target.packing.recipients.is_empty());
    let failed = |why| Error::new(ErrorKind::Unknown, format!("failed to read table {}", table.name)).with_cause(why);
    let mut new_rows = 0;
    loop {
        // The first message of the next frame.
        let mut carried = None;
        let Packer {
            tally,
            pending,
            frame_bytes,
            ..
        } = packer;
        let take = |message: &Bytes| {
            if pending.len() + message.len() > *frame_bytes && tally.rows > 0 {
                carried = Some(message.clone());
                return Ok(false);
            }
            new_rows += tally.add(message).map_err(failed)?;
            pending.extend_from_slice(message);
            Ok(true)
        };
        tokio::select! {
            biased;
            taken = rows.take_while(take) => taken?,
            _ = stop.wait_for(|stop| *stop) => return Err(Error::interrupted()),
        }
        // Rows that keep coming never let the select above look at the other branch.
        if *stop.borrow() {
            return Err(Error::interrupted());
        }
        if packer.tally.rows > 0 {
            target.counters.rows.fetch_add(new_rows, Ordering::Relaxed);
            target
                .counters
                .bytes
                .fetch_add(packer.pending.len() as u64, Ordering::Relaxed);
            match &mut packer.writer {
                Some(writer) => writer.write(&mut packer.pending).await?,
                none => {
                    let first = std::mem::take(&mut packer.pending);
                    let writer =
                        MemberWriter::create(target.store, target.id, name(), target.metadata, target.packing, first);
                    *none = Some(writer.await?);
                }
            }
        }
        let Some(message) = carried else { break };
        new_rows = packer.tally.add(&message).map_err(failed)?;
        packer.pending.extend_from_slice(&message);
    }
    packer.tally.finish().map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(name: &str, kind: char, pages: u64, bytes: u64) -> TableFacts {
        TableFacts {
            name: name.into(),
            kind,
            columns: vec!["a".into(), "b\"".into()],
            layout: vec!["a".into(), "b\"".into()],
            through: None,
            format: RowFormat::Binary,
            pages,
            bytes,
            related: false,
        }
    }

    #[test]
    fn parts_cover_every_page_once_and_are_open_at_the_end() {
        let tables = [
            facts("small", 'r', 3, 3 * 8192),
            facts("empty", 'r', 0, 0),
            facts("parent", 'p', 0, 0),
            facts("large", 'r', 1000, 1000 * 8192),
            facts("hyper", 'r', 0, 0),
            facts("toasted", 'r', 2, 1 << 30),
        ];
        let parts = plan(&tables, &["hyper".to_owned()].into(), 100 * 8192);
        let of = |table: usize| {
            let mut of: Vec<_> = parts.iter().filter(|p| p.table == table).collect();
            of.sort_by_key(|p| p.number);
            of
        };
        assert_eq!(of(0).iter().map(|p| p.pages).collect::<Vec<_>>(), [None]);
        assert!(of(1).is_empty() && of(2).is_empty());
        assert_eq!(of(4).iter().map(|p| p.pages).collect::<Vec<_>>(), [None]);
        let large = of(3);
        assert_eq!(large.len(), 10);
        let mut next = 0;
        for part in &large {
            let (first, end) = part.pages.expect("a range");
            assert_eq!(first, next);
            next = end.unwrap_or(u64::MAX);
        }
        assert_eq!(next, u64::MAX);
        // No more parts than pages.
        assert_eq!(of(5).len(), 2);
        assert!(parts.windows(2).all(|w| w[0].bytes >= w[1].bytes));
    }

    #[test]
    fn the_query_names_everything() {
        let columns = ["a".to_owned(), "b\"".to_owned()];
        let query = |pages, hypertable| {
            copy_sql("s", "odd \"table", &columns, RowFormat::Binary, pages, hypertable).to_string()
        };
        assert_eq!(
            query(Some((5, Some(10))), false),
            "COPY (SELECT \"a\", \"b\"\"\" FROM ONLY \"s\".\"odd \"\"table\" WHERE ctid OPERATOR(pg_catalog.>=) '(5,0)'::pg_catalog.tid AND ctid OPERATOR(pg_catalog.<) '(10,0)'::pg_catalog.tid) TO STDOUT (FORMAT binary)"
        );
        assert!(query(None, true).contains(" FROM \"s\""));
    }

    #[test]
    fn rows_are_told_from_what_frames_them() {
        let mut tally = Tally::new(RowFormat::Binary);
        let mut first = BINARY_HEADER.to_vec();
        first.extend_from_slice(b"\0\x01\0\0\0\0");
        assert_eq!(tally.add(&first), Ok(1));
        assert_eq!(tally.add(b"\0\x01\xff\xff\xff\xff"), Ok(1));
        assert!(tally.finish().is_err());
        assert_eq!(tally.add(BINARY_TRAILER), Ok(0));
        assert_eq!(tally.finish(), Ok(()));
        assert!(tally.add(b"\0\x01\xff\xff\xff\xff").is_err());
        let sum = xxh3_128(b"\0\x01\0\0\0\0").wrapping_add(xxh3_128(b"\0\x01\xff\xff\xff\xff"));
        assert_eq!((tally.rows, tally.checksum), (2, sum));
        // No rows: header and trailer in one message.
        let mut none = Tally::new(RowFormat::Binary);
        let mut framed = BINARY_HEADER.to_vec();
        framed.extend_from_slice(BINARY_TRAILER);
        assert_eq!(none.add(&framed), Ok(0));
        assert_eq!((none.finish(), none.rows), (Ok(()), 0));
        assert!(Tally::new(RowFormat::Binary).add(b"PGCOPY").is_err());
        let mut text = Tally::new(RowFormat::Text);
        assert_eq!(text.add(b"a\tb\n"), Ok(1));
    }
}
