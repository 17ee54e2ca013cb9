//! Reads a backup again, all of it, and says what is wrong with it.

use std::sync::Arc;

use futures_util::StreamExt;
use tokio::sync::Semaphore;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::manifest::{BackupId, Found, Member, RowFormat, Table, damaged};
use super::member::{MemberReader, check};
use super::rows::RowEnds;
use crate::credentials::vault::Identities;
use crate::error::{Error, ErrorKind, Result};
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

/// Counts the rows of COPY's output and adds up their hashes, however it is cut; holds no row in memory.
struct Walker {
    ends: RowEnds,
    hash: Xxh3,
    in_row: bool,
    rows: u64,
    checksum: u128,
}

impl Walker {
    /// At the start of a part.
    fn new(format: RowFormat) -> Self {
        Self {
            ends: RowEnds::new(format),
            hash: Xxh3::new(),
            in_row: false,
            rows: 0,
            checksum: 0,
        }
    }

    /// Takes the next bytes.
    ///
    /// # Errors
    /// Why they cannot be what COPY wrote.
    fn push(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        let Self {
            ends,
            hash,
            in_row,
            rows,
            checksum,
        } = self;
        ends.push(bytes, |piece, ended| {
            if !ended {
                hash.update(piece);
                *in_row = true;
                return;
            }
            let sum = if std::mem::take(in_row) {
                hash.update(piece);
                let sum = hash.digest128();
                hash.reset();
                sum
            } else {
                xxh3_128(piece)
            };
            *checksum = checksum.wrapping_add(sum);
            *rows += 1;
        })
    }

    /// Ends it; returns the rows and the sum of their hashes.
    ///
    /// # Errors
    /// When it ends within a row or without the trailer.
    fn finish(self) -> Result<(u64, u128), &'static str> {
        self.ends.finish().map(|()| (self.rows, self.checksum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::copy::{BINARY_HEADER, BINARY_TRAILER};

    #[test]
    fn a_row_has_the_same_hash_however_it_is_cut() {
        let rows = [&b"\0\x02\xff\xff\xff\xff\0\0\0\0"[..], b"\0\0", b"\0\x01\0\0\0\x03abc"];
        let all = [&BINARY_HEADER[..], &rows.concat(), BINARY_TRAILER].concat();
        let sum = rows.iter().fold(0_u128, |sum, row| sum.wrapping_add(xxh3_128(row)));
        for cut in [1, 2, 3, 7, 100] {
            let mut walker = Walker::new(RowFormat::Binary);
            for piece in all.chunks(cut) {
                walker.push(piece).expect("sound");
            }
            assert_eq!(walker.finish(), Ok((3, sum)), "{cut}");
        }
    }
}
