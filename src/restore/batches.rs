//! Rows of a hypertable in batches that commit. A transaction keeps a handful of locks on every chunk that it has written to,
//! so that all rows at once would need a lock table as large as the history is long.

use std::collections::BTreeMap;

use bytes::{Buf, Bytes, BytesMut};
use tokio_postgres::types::Type;

use crate::backup::manifest::{RowFormat, Table};
use crate::backup::rows::RowEnds;
use crate::error::{Error, Result};
use crate::pg::copy::{BINARY_HEADER, BINARY_TRAILER};
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;

/// Bytes of rows after which a batch ends.
const MOST_BYTES: usize = 4 << 20;
/// Chunks that a batch may write to. Each takes half a dozen locks, and the default settings have room for 6,400; a server that
/// has run out of it takes no new connections either.
const MOST_CHUNKS: usize = 64;

/// How the rows of a hypertable tell their chunk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Widths {
    column: String,
    /// Distance of the binary form's zero from that of the chunks, and their length; none: rows do not tell.
    scale: Option<(i64, i64)>,
    /// Chunks that share one range of time; no more than a batch may write to.
    partitions: usize,
}

/// The hypertables of a schema.
///
/// # Errors
/// What the server refused.
pub(super) async fn widths(session: &Session, schema: &str) -> Result<BTreeMap<String, Widths>> {
    let sql = Sql::new(include_str!("../../sql/catalog/chunk_widths.sql"));
    let rows = session
        .query(&sql, &[(&schema, Type::TEXT)], "look at the dimensions of hypertables")
        .await?;
    let one = |row| -> Result<(String, Widths)> {
        let (epoch, width): (Option<i64>, Option<i64>) = (column(row, "epoch")?, column(row, "width")?);
        let partitions: i32 = column(row, "partitions")?;
        Ok((
            column(row, "table_name")?,
            Widths {
                column: column(row, "column_name")?,
                scale: epoch.zip(width.filter(|width| *width > 0)),
                partitions: usize::try_from(partitions).unwrap_or(1).clamp(1, MOST_CHUNKS),
            },
        ))
    };
    rows.iter().map(one).collect()
}

/// Counts the chunks that rows lie in, at most: those of one chunk are mostly beside each other.
struct Counter {
    /// The place of the time column in a row of binary form, and its [`Widths::scale`].
    time: Option<(usize, i64, i64)>,
    partitions: usize,
    last: Option<i64>,
    chunks: usize,
}

impl Counter {
    fn new(widths: &Widths, table: &Table) -> Self {
        let place = table.columns.iter().position(|column| *column == widths.column);
        let place = place.filter(|_| table.format == RowFormat::Binary);
        Self {
            time: place
                .zip(widths.scale)
                .map(|(place, (epoch, width))| (place, epoch, width)),
            partitions: widths.partitions,
            last: None,
            chunks: 0,
        }
    }

    fn restart(&mut self) {
        self.last = None;
        self.chunks = 0;
    }

    /// Chunks with this row. One that does not tell may lie in any.
    fn with(&mut self, row: &[u8]) -> usize {
        let chunk = self
            .time
            .and_then(|(place, epoch, width)| Some(field(row, place)?.saturating_add(epoch).div_euclid(width)));
        if chunk.is_none() {
            self.chunks += 1;
        } else if chunk != self.last {
            self.chunks += self.partitions;
        }
        self.last = chunk;
        self.chunks
    }
}

/// An integer, a time or a date of a row in binary form.
fn field(row: &[u8], place: usize) -> Option<i64> {
    let mut rest = row.get(2..)?;
    for at in 0.. {
        let (length, fields) = rest.split_first_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok();
        if at == place {
            return match fields.get(..length?)? {
                [a, b] => Some(i16::from_be_bytes([*a, *b]).into()),
                [a, b, c, d] => Some(i32::from_be_bytes([*a, *b, *c, *d]).into()),
                long => Some(i64::from_be_bytes(long.try_into().ok()?)),
            };
        }
        rest = fields.get(length.unwrap_or(0)..)?;
    }
    None
}

/// Takes rows as a member of a backup has them, cut anywhere, and sends them on.
pub(super) struct Batches<'a> {
    session: &'a Session,
    /// `COPY ... FROM STDIN (...)`, outside a transaction.
    copy: &'a Sql,
    doing: &'a str,
    format: RowFormat,
    ends: RowEnds,
    counter: Counter,
    /// What has not been sent: whole rows, and the beginning of the next.
    rows: BytesMut,
    /// The bytes of the rows that are whole.
    whole: usize,
    taken: u64,
}

/// Why rows are not taken.
#[derive(Debug)]
pub(super) enum Refused {
    /// They cannot be what COPY wrote.
    Damaged(&'static str),
    /// What the server says.
    Server(Error),
}

impl<'a> Batches<'a> {
    pub fn new(session: &'a Session, copy: &'a Sql, widths: &Widths, table: &Table, doing: &'a str) -> Self {
        Self {
            session,
            copy,
            doing,
            format: table.format,
            ends: RowEnds::new(table.format),
            counter: Counter::new(widths, table),
            rows: BytesMut::new(),
            whole: 0,
            taken: 0,
        }
    }

    /// Takes bytes, and sends what makes a batch.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn push(&mut self, bytes: &[u8]) -> std::result::Result<(), Refused> {
        let (rows, mut ends) = (&mut self.rows, Vec::new());
        let pushed = self.ends.push(bytes, |piece, ended| {
            rows.extend_from_slice(piece);
            if ended {
                ends.push(rows.len());
            }
        });
        pushed.map_err(Refused::Damaged)?;
        let mut sent = 0;
        for end in ends {
            let end = end - sent;
            let row = &self.rows[self.whole..end];
            if self.counter.with(row) > MOST_CHUNKS || end > MOST_BYTES {
                let row = row.len();
                sent += self.whole;
                self.send().await?;
                self.counter.with(&self.rows[..row]);
                self.whole = row;
            } else {
                self.whole = end;
            }
        }
        Ok(())
    }

    /// Sends what is left, and returns how many rows there were.
    ///
    /// # Errors
    /// See [`Refused`].
    pub async fn finish(mut self) -> std::result::Result<u64, Refused> {
        self.ends.finish().map_err(Refused::Damaged)?;
        self.send().await?;
        Ok(self.taken)
    }

    /// The whole rows, as a transaction of their own.
    async fn send(&mut self) -> std::result::Result<(), Refused> {
        self.counter.restart();
        let batch = self.rows.split_to(std::mem::take(&mut self.whole)).freeze();
        if batch.has_remaining() {
            self.taken += self.transfer(batch).await.map_err(Refused::Server)?;
        }
        Ok(())
    }

    async fn transfer(&self, batch: Bytes) -> Result<u64> {
        let mut copy = self.session.copy_in(self.copy, self.doing).await?;
        let (header, trailer) = match self.format {
            RowFormat::Binary => (&BINARY_HEADER[..], &BINARY_TRAILER[..]),
            RowFormat::Text => (&[][..], &[][..]),
        };
        for piece in [Bytes::from_static(header), batch, Bytes::from_static(trailer)] {
            if let Err(error) = copy.send(piece).await {
                // Why it takes no more, it says at the end.
                return Err(copy.finish().await.err().unwrap_or(error));
            }
        }
        copy.finish().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(fields: &[Option<&[u8]>]) -> Vec<u8> {
        let mut bytes = u16::try_from(fields.len()).expect("few").to_be_bytes().to_vec();
        for field in fields {
            match field {
                Some(value) => {
                    bytes.extend(u32::try_from(value.len()).expect("short").to_be_bytes());
                    bytes.extend(*value);
                }
                None => bytes.extend((-1_i32).to_be_bytes()),
            }
        }
        bytes
    }

    fn at(time: i64) -> Vec<u8> {
        row(&[None, Some(b"text"), Some(&time.to_be_bytes())])
    }

    fn counter(partitions: usize) -> Counter {
        Counter {
            time: Some((2, 3, 10)),
            partitions,
            last: None,
            chunks: 0,
        }
    }

    #[test]
    fn chunks_are_counted_by_the_time_of_their_rows() {
        let count = |partitions, times: &[i64]| {
            let mut counter = counter(partitions);
            times.iter().map(|time| counter.with(&at(*time))).last()
        };
        // The first chunk ends at 7.
        assert_eq!(count(1, &[-3, 0, 6]), Some(1));
        assert_eq!(count(1, &[-4, 0, 6, 7]), Some(3));
        assert_eq!(count(4, &[0, 7]), Some(8));
        let mut counter = counter(4);
        // No time: it may lie anywhere.
        assert_eq!(counter.with(&row(&[None, None, None])), 1);
        assert_eq!(counter.with(&row(&[None, None, None])), 2);
        assert_eq!(counter.with(&at(i64::MAX)), 6);
    }

    #[test]
    fn times_are_read_in_every_width() {
        let fields = row(&[
            None,
            Some(b""),
            Some(&[0xff, 0xfe]),
            Some(&[0, 0, 1, 0]),
            Some(b"uuid's bytes"),
        ]);
        assert_eq!(field(&fields, 2), Some(-2));
        assert_eq!(field(&fields, 3), Some(256));
        for none in [0, 1, 4, 5] {
            assert_eq!(field(&fields, none), None, "{none}");
        }
    }
}
