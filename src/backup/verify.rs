//! Reads a backup again, all of it, and says what is wrong with it.

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::Semaphore;
use xxhash_rust::xxh3::Xxh3;

use super::manifest::{BackupId, Found, Member, RowFormat, Table, damaged};
use super::member::{MemberReader, check};
use crate::credentials::vault::Identities;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::copy::{BINARY_HEADER, BINARY_TRAILER};
use crate::store::Store;

/// Reads every member, holds it to its checksum, decrypts and unpacks it, counts its rows and adds up their hashes. Returns
/// what is wrong, a finding a member; nothing when all is well. `permits` bounds the members that are read at a time.
pub async fn verify(store: &dyn Store, found: &Found, identities: &Arc<Identities>, permits: &Semaphore) -> Vec<Error> {
    let manifest = &found.manifest;
    let id = &manifest.backup_id;
    if manifest.is_encrypted() && identities.is_empty() {
        return vec![
            Error::new(
                ErrorKind::Store,
                format!("backup {id} is encrypted and no identity was given"),
            )
            .with_hint(
                "--identity or TENANTCTL_IDENTITY names the file with the private key of one of its recipients.",
            ),
        ];
    }
    let at_a_time = permits.available_permits().max(1);
    let others = futures_util::stream::iter(&manifest.members)
        .map(|member| async move {
            let _permit = permits.acquire().await;
            other(store, id, member, identities).await
        })
        .buffered(at_a_time);
    let mut findings: Vec<Error> = others.filter_map(|result| async { result.err() }).collect().await;
    for table in &manifest.tables {
        let mut parts = futures_util::stream::iter(&table.parts)
            .map(|part| async move {
                let _permit = permits.acquire().await;
                rows(store, id, table, &part.member, part.rows, identities).await
            })
            .buffered(at_a_time);
        let (mut sum, mut all) = (0_u128, true);
        while let Some(part) = parts.next().await {
            match part {
                Ok(part) => sum = sum.wrapping_add(part),
                Err(error) => {
                    all = false;
                    findings.push(error);
                }
            }
        }
        if all && format!("{sum:032x}") != table.checksum {
            let name = table
                .parts
                .first()
                .map_or(table.name.as_str(), |p| p.member.name.as_str());
            findings.push(
                damaged(id, name, "its rows are not those that were read").with_cause(format!(
                    "the contents of table {} have another checksum than the manifest says",
                    table.name
                )),
            );
        }
    }
    findings
}

async fn other(store: &dyn Store, id: &BackupId, member: &Member, identities: &Arc<Identities>) -> Result<()> {
    if !(member.name.ends_with(".zst") || member.name.ends_with(".age")) {
        return check(store, id, member).await;
    }
    let mut reader = MemberReader::open(store, id, member, identities).await?;
    while reader.next().await?.is_some() {}
    Ok(())
}

async fn rows(
    store: &dyn Store,
    id: &BackupId,
    table: &Table,
    member: &Member,
    rows: u64,
    identities: &Arc<Identities>,
) -> Result<u128> {
    let mut reader = MemberReader::open(store, id, member, identities).await?;
    let mut walker = Walker::new(table.format);
    let mut wrong = None;
    // To the end: only there is known whether the bytes are those that were written.
    while let Some(bytes) = reader.next().await? {
        if wrong.is_none() {
            wrong = walker.push(&bytes).err();
        }
    }
    let walked = match wrong {
        Some(why) => Err(why),
        None => walker.finish(),
    };
    let (found, checksum) = walked.map_err(|why| damaged(id, &member.name, why))?;
    if found != rows {
        return Err(
            damaged(id, &member.name, "it has another number of rows than the manifest says")
                .with_cause(format!("{found} instead of {rows}")),
        );
    }
    Ok(checksum)
}

/// Walks COPY's output and hashes row by row, however it is cut; holds no row in memory.
pub struct Walker {
    format: RowFormat,
    state: State,
    /// Bytes of a number or of the header that are there so far.
    partial: Vec<u8>,
    hash: Xxh3,
    in_row: bool,
    rows: u64,
    checksum: u128,
}

#[derive(Clone, Copy)]
enum State {
    Header,
    /// The number of fields of the next row, or the trailer.
    Count,
    /// The length of a field; so many fields are to come.
    Length(u16),
    /// So many bytes of a field, and so many fields after it.
    Field(u32, u16),
    End,
}

impl Walker {
    /// At the start of a part.
    pub fn new(format: RowFormat) -> Self {
        Self {
            format,
            state: State::Header,
            partial: Vec::with_capacity(BINARY_HEADER.len()),
            hash: Xxh3::new(),
            in_row: false,
            rows: 0,
            checksum: 0,
        }
    }

    fn row_ends(&mut self) {
        self.checksum = self.checksum.wrapping_add(self.hash.digest128());
        self.hash.reset();
        self.rows += 1;
        self.in_row = false;
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// Why they cannot be what COPY wrote.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        match self.format {
            RowFormat::Text => {
                // A newline within a value is written as `\n`.
                for line in bytes.split_inclusive(|byte| *byte == b'\n') {
                    self.hash.update(line);
                    self.in_row = true;
                    if line.ends_with(b"\n") {
                        self.row_ends();
                    }
                }
                Ok(())
            }
            RowFormat::Binary => self.push_binary(bytes),
        }
    }

    /// Moves bytes to the partial number until it has this many.
    fn fill(&mut self, bytes: &mut &[u8], wanted: usize) -> bool {
        let n = (wanted - self.partial.len()).min(bytes.len());
        self.partial.extend_from_slice(&bytes[..n]);
        *bytes = &bytes[n..];
        self.partial.len() == wanted
    }

    fn push_binary(&mut self, mut bytes: &[u8]) -> Result<(), &'static str> {
        while !bytes.is_empty() {
            match self.state {
                State::Header => {
                    if self.fill(&mut bytes, BINARY_HEADER.len()) {
                        if self.partial != BINARY_HEADER {
                            return Err("it does not begin with COPY's header");
                        }
                        self.partial.clear();
                        self.state = State::Count;
                    }
                }
                State::Count => {
                    if self.fill(&mut bytes, 2) {
                        if self.partial == BINARY_TRAILER {
                            self.state = State::End;
                        } else {
                            let fields = u16::from_be_bytes([self.partial[0], self.partial[1]]);
                            self.hash.update(&self.partial);
                            self.in_row = true;
                            self.next_field(fields);
                        }
                        self.partial.clear();
                    }
                }
                State::Length(fields) => {
                    if self.fill(&mut bytes, 4) {
                        let length = [self.partial[0], self.partial[1], self.partial[2], self.partial[3]];
                        self.hash.update(&length);
                        self.partial.clear();
                        match i32::from_be_bytes(length) {
                            -1 | 0 => self.next_field(fields - 1),
                            n => {
                                let n = u32::try_from(n).map_err(|_| "a field of it has a length below zero")?;
                                self.state = State::Field(n, fields - 1);
                            }
                        }
                    }
                }
                State::Field(left, fields) => {
                    let n = bytes.len().min(left as usize);
                    self.hash.update(&bytes[..n]);
                    bytes = &bytes[n..];
                    match left - u32::try_from(n).unwrap_or(left) {
                        0 => self.next_field(fields),
                        left => self.state = State::Field(left, fields),
                    }
                }
                State::End => return Err("there is something behind COPY's trailer"),
            }
        }
        Ok(())
    }

    fn next_field(&mut self, fields: u16) {
        if fields == 0 {
            self.row_ends();
            self.state = State::Count;
        } else {
            self.state = State::Length(fields);
        }
    }

    /// Ends it; returns the rows and the sum of their hashes.
    ///
    /// # Errors
    /// When it ends within a row or without the trailer.
    pub fn finish(self) -> Result<(u64, u128), &'static str> {
        let ended = match self.format {
            RowFormat::Text => !self.in_row,
            RowFormat::Binary => matches!(self.state, State::End),
        };
        if ended {
            Ok((self.rows, self.checksum))
        } else {
            Err("it ends within a row")
        }
    }
}

#[cfg(test)]
mod tests {
    use xxhash_rust::xxh3::xxh3_128;

    use super::*;

    fn walk(format: RowFormat, bytes: &[u8], cut: usize) -> Result<(u64, u128), &'static str> {
        let mut walker = Walker::new(format);
        for piece in bytes.chunks(cut) {
            walker.push(piece)?;
        }
        walker.finish()
    }

    #[test]
    fn rows_are_found_however_they_are_cut() {
        let long = vec![7_u8; 1000];
        let mut rows: Vec<Vec<u8>> = vec![b"\0\x02\xff\xff\xff\xff\0\0\0\0".to_vec(), b"\0\0".to_vec()];
        rows.push([b"\0\x01\0\0\x03\xe8".as_slice(), &long].concat());
        let all = [BINARY_HEADER.as_slice(), &rows.concat(), BINARY_TRAILER].concat();
        let sum = rows.iter().fold(0_u128, |sum, row| sum.wrapping_add(xxh3_128(row)));
        for cut in [1, 2, 3, 7, 64, 100_000] {
            assert_eq!(walk(RowFormat::Binary, &all, cut), Ok((3, sum)), "{cut}");
            assert!(walk(RowFormat::Binary, &all[..all.len() - 1], cut).is_err());
            assert!(walk(RowFormat::Binary, &[&all, &b"x"[..]].concat(), cut).is_err());
            assert!(walk(RowFormat::Binary, b"PGCOPY\n\xff\r\n\0\0\0\0\0\0\0\0\x01", cut).is_err());
        }
        let text = b"a\t\\N\n\nlast\\n\n";
        let sum = [&b"a\t\\N\n"[..], b"\n", b"last\\n\n"]
            .iter()
            .fold(0_u128, |sum, row| sum.wrapping_add(xxh3_128(row)));
        for cut in [1, 3, 100] {
            assert_eq!(walk(RowFormat::Text, text, cut), Ok((3, sum)));
            assert!(walk(RowFormat::Text, &text[..text.len() - 1], cut).is_err());
        }
    }
}
