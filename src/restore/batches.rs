//! Rows of a hypertable in batches that commit. A transaction keeps a handful of locks on every chunk that it has written to,
//! so that all rows at once would need a lock table as large as the history is long.

use bytes::{Buf, Bytes, BytesMut};

use crate::backup::manifest::RowFormat;
use crate::error::Result;
use crate::pg::copy::{BINARY_HEADER, BINARY_TRAILER};
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;

/// Bytes of rows after which a batch ends. It is kept until the server has taken it.
const MOST_BYTES: usize = 1 << 20;
/// Rows of the first batch: each may lie in a chunk of its own.
const FIRST_ROWS: usize = 64;
/// Rows of the largest batch. Where dense chunks are followed by sparse ones, it is these that may each take a chunk's locks at
/// once; the default settings have room for that, and a server that has run out of it takes no new connections either.
const MOST_ROWS: usize = 1000;
/// Locks that a batch should not take more of: a twelfth of what the server's default settings have room for.
const MOST_LOCKS: i64 = 512;

/// What a batch has come to.
enum Sent {
    /// Committed: its rows, and the locks that it took.
    Committed(u64, i64),
    /// Rolled back: the server had no room for its locks.
    TooManyLocks,
}

/// Takes rows as a member of a backup has them, cut anywhere, and sends them on.
pub(super) struct Batches<'a> {
    session: &'a Session,
    /// `COPY ... FROM STDIN (...)`.
    copy: &'a Sql,
    doing: &'a str,
    rows: Cutter,
    most_rows: usize,
    taken: u64,
}

impl<'a> Batches<'a> {
    pub fn new(session: &'a Session, copy: &'a Sql, format: RowFormat, doing: &'a str) -> Self {
        Self {
            session,
            copy,
            doing,
            rows: Cutter::new(format),
            most_rows: FIRST_ROWS,
            taken: 0,
        }
    }

    /// Takes bytes, and sends what makes a batch.
    ///
    /// # Errors
    /// What the server refused; a `String` of what is wrong with the rows is in the inner result.
    pub async fn push(&mut self, bytes: &Bytes) -> Result<Result<(), String>> {
        self.rows.buffer.extend_from_slice(bytes);
        while self.rows.buffer.len() >= MOST_BYTES {
            match self.send_one().await? {
                Ok(true) => {}
                // A row larger than a batch, of which more is to come.
                Ok(false) => break,
                Err(why) => return Ok(Err(why)),
            }
        }
        Ok(Ok(()))
    }

    /// Sends what is left, and returns how many rows there were.
    ///
    /// # Errors
    /// As [`Self::push`].
    pub async fn finish(mut self) -> Result<Result<u64, String>> {
        self.rows.ended = true;
        loop {
            match self.send_one().await? {
                Ok(true) => {}
                Ok(false) => return Ok(self.rows.whole().map(|()| self.taken)),
                Err(why) => return Ok(Err(why)),
            }
        }
    }

    /// One batch; false when there is no whole row.
    async fn send_one(&mut self) -> Result<Result<bool, String>> {
        let (length, rows) = match self.rows.next(self.most_rows, MOST_BYTES) {
            Ok((_, 0)) => return Ok(Ok(false)),
            Ok(found) => found,
            Err(why) => return Ok(Err(why)),
        };
        match self
            .transfer(Bytes::copy_from_slice(&self.rows.buffer[..length]), rows)
            .await?
        {
            Sent::Committed(taken, locks) => {
                self.rows.buffer.advance(length);
                self.taken += taken;
                if locks > MOST_LOCKS {
                    self.most_rows = (rows / 2).max(1);
                } else if rows == self.most_rows && locks < MOST_LOCKS / 2 {
                    self.most_rows = (rows * 2).min(MOST_ROWS);
                }
            }
            Sent::TooManyLocks => self.most_rows = (rows / 2).max(1),
        }
        Ok(Ok(true))
    }

    async fn transfer(&self, bytes: Bytes, rows: usize) -> Result<Sent> {
        match self.transaction(bytes).await {
            Ok((taken, locks)) => Ok(Sent::Committed(taken, locks)),
            Err(error) if error.sqlstate() == Some("53200") && rows > 1 => {
                self.session.rollback().await;
                Ok(Sent::TooManyLocks)
            }
            Err(error) => Err(error),
        }
    }

    async fn transaction(&self, bytes: Bytes) -> Result<(u64, i64)> {
        self.session.batch(&Sql::new("BEGIN"), self.doing).await?;
        let mut copy = self.session.copy_in(self.copy, self.doing).await?;
        let pieces = match self.rows.format {
            RowFormat::Binary => vec![
                Bytes::from_static(BINARY_HEADER),
                bytes,
                Bytes::from_static(BINARY_TRAILER),
            ],
            RowFormat::Text => vec![bytes],
        };
        for piece in pieces {
            if let Err(error) = copy.send(piece).await {
                // Why it takes no more, it says at the end.
                return Err(copy.finish().await.err().unwrap_or(error));
            }
        }
        let taken = copy.finish().await?;
        let sql = Sql::new(
            "SELECT pg_catalog.count(*) AS locks FROM pg_catalog.pg_locks l WHERE l.pid = pg_catalog.pg_backend_pid()",
        );
        let row = self.session.query_one(&sql, &[], self.doing).await?;
        self.session.batch(&Sql::new("COMMIT"), self.doing).await?;
        Ok((taken, column(&row, "locks")?))
    }
}

/// Finds where rows end.
struct Cutter {
    format: RowFormat,
    buffer: BytesMut,
    /// The header of the binary form has been taken off.
    begun: bool,
    /// Nothing more comes.
    ended: bool,
}

impl Cutter {
    fn new(format: RowFormat) -> Self {
        Self {
            format,
            buffer: BytesMut::new(),
            begun: false,
            ended: false,
        }
    }

    /// The length of whole rows at the beginning of the buffer, and how many they are: at most so many, and no more after so
    /// many bytes.
    fn next(&mut self, most_rows: usize, most_bytes: usize) -> Result<(usize, usize), String> {
        if self.format == RowFormat::Binary && !self.begun && self.buffer.len() >= BINARY_HEADER.len() {
            if !self.buffer.starts_with(BINARY_HEADER) {
                return Err("it is not in the binary form of COPY".to_owned());
            }
            self.buffer.advance(BINARY_HEADER.len());
            self.begun = true;
        }
        let (mut length, mut rows) = (0, 0);
        while rows < most_rows && length < most_bytes {
            match self.row(length)? {
                Some(end) => length = end,
                None => break,
            }
            rows += 1;
        }
        Ok((length, rows))
    }

    /// Where the row that begins here ends; none when the rest of it is still to come, or at the end.
    fn row(&self, start: usize) -> Result<Option<usize>, String> {
        let bytes = &self.buffer[start..];
        if self.format == RowFormat::Text {
            // Line ends within values are written as two characters.
            return Ok(match bytes.iter().position(|b| *b == b'\n') {
                Some(at) => Some(start + at + 1),
                None if self.ended && !bytes.is_empty() => Some(start + bytes.len()),
                None => None,
            });
        }
        if !self.begun || bytes.len() < 2 || bytes.starts_with(BINARY_TRAILER) {
            return Ok(None);
        }
        let fields = u16::from_be_bytes([bytes[0], bytes[1]]);
        let mut at = 2;
        for _ in 0..fields {
            let Some(length) = bytes.get(at..at + 4) else {
                return Ok(None);
            };
            at += 4;
            match i32::from_be_bytes([length[0], length[1], length[2], length[3]]) {
                -1 => {}
                n => at += usize::try_from(n).map_err(|_| format!("a field has the length {n}"))?,
            }
        }
        Ok((at <= bytes.len()).then_some(start + at))
    }

    /// Whether what is left is what ends rows.
    fn whole(&self) -> Result<(), String> {
        let whole = match self.format {
            RowFormat::Binary => self.begun && self.buffer[..] == BINARY_TRAILER[..],
            RowFormat::Text => self.buffer.is_empty(),
        };
        if whole {
            Ok(())
        } else {
            Err("it ends within a row".to_owned())
        }
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

    fn cutter(format: RowFormat, bytes: &[u8]) -> Cutter {
        let mut cutter = Cutter::new(format);
        cutter.buffer.extend_from_slice(bytes);
        cutter
    }

    #[test]
    fn binary_rows_are_cut_where_they_end_wherever_the_bytes_are_cut() {
        let rows = [
            row(&[Some(b"\xff\xff"), None]),
            row(&[]),
            row(&[Some(b""), Some(b"abc")]),
        ];
        let all = [&BINARY_HEADER[..], &rows.concat(), BINARY_TRAILER].concat();
        for cut in 0..all.len() {
            let mut cutter = cutter(RowFormat::Binary, &all[..cut]);
            let mut found = Vec::new();
            loop {
                let (length, n) = cutter.next(1, usize::MAX).expect("sound");
                if n == 0 {
                    if cutter.ended {
                        break;
                    }
                    cutter.buffer.extend_from_slice(&all[cut..]);
                    cutter.ended = true;
                    continue;
                }
                found.push(cutter.buffer[..length].to_vec());
                cutter.buffer.advance(length);
            }
            assert_eq!(found, rows, "{cut}");
            assert_eq!(cutter.whole(), Ok(()), "{cut}");
        }
        let mut whole = cutter(RowFormat::Binary, &all);
        assert_eq!(whole.next(2, usize::MAX).map(|(_, n)| n), Ok(2));
        assert_eq!(whole.next(9, 1).map(|(_, n)| n), Ok(1), "no more after so many bytes");
        let mut short = cutter(RowFormat::Binary, &all[..all.len() - 3]);
        short.ended = true;
        assert_eq!(short.next(9, usize::MAX).map(|(_, n)| n), Ok(2));
        assert!(short.whole().is_err());
    }

    #[test]
    fn lines_of_text_are_rows() {
        let mut cutter = cutter(RowFormat::Text, b"a\tb\\n\nc\n\nd");
        assert_eq!(cutter.next(9, usize::MAX), Ok((9, 3)));
        assert!(cutter.whole().is_err());
        cutter.ended = true;
        assert_eq!(cutter.next(9, usize::MAX), Ok((10, 4)));
        cutter.buffer.advance(10);
        assert_eq!(cutter.whole(), Ok(()));
    }

    #[test]
    fn what_is_no_row_is_told() {
        let wrong = [&BINARY_HEADER[..], &[0, 1, 0xff, 0xff, 0xff, 0xfe]].concat();
        assert!(cutter(RowFormat::Binary, &wrong).next(1, 1).is_err());
        assert!(cutter(RowFormat::Binary, b"a\tb\n a line of text").next(1, 1).is_err());
    }
}
