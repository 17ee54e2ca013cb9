//! The checks of the store of backups.

use std::time::Duration;

use bytes::Bytes;
use tokio::process::Command;
use tokio_postgres::types::Type;

use super::Item;
use super::checklist::{BACKUP_SPACE, RESTORE_DRILL, STORE, STORE_ENCRYPTION};
use super::observe::Observed;
use crate::catalog::{backups, tenants};
use crate::config::BackupPolicy;
use crate::error::{Error, ErrorKind, Result};
use crate::figures::{bytes, count};
use crate::pg::password::random_hex;
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;
use crate::store::{Metadata, Store};

/// Days after which a restore drill, or a verification, is too long ago.
pub const DAYS: i32 = 30;

/// `store`: writes, reads, compares and removes an object.
pub async fn reach(store: &dyn Store) -> Item {
    // Nobody lists what is below this prefix, and no backup lies there.
    let key = format!("preflight/{}", random_hex(16));
    let mut removed = false;
    let tried = round_trip(store, &key, &mut removed).await;
    if tried.is_err() && !removed {
        // As far as it goes; what stays is a few bytes under a name that says what it is.
        let _ = store.remove(std::slice::from_ref(&key)).await;
    }
    match tried {
        Ok(()) => Item::pass(
            &STORE,
            format!("an object was written to {}, read again and removed", store.url()),
        ),
        Err(error) => Item::fail(
            &STORE,
            format!("{}: {}", store.url(), error.one_line()),
            error
                .hint()
                .unwrap_or("Check the URL, the rights and the credentials.")
                .to_owned(),
        ),
    }
    .about(store.url())
}

async fn round_trip(store: &dyn Store, key: &str, removed: &mut bool) -> Result<()> {
    store.probe().await?;
    let sent = Bytes::from(random_hex(32));
    let mut upload = store.create(key, &Metadata::default()).await?;
    if let Err(error) = upload.write(sent.clone()).await {
        upload.abort().await;
        return Err(error);
    }
    upload.finish().await?;
    let mut download = store.open(key).await?;
    let mut read = Vec::new();
    while let Some(some) = download.read().await? {
        read.extend_from_slice(&some);
    }
    drop(download);
    if read != sent {
        return Err(Error::new(ErrorKind::Store, "what was read is not what was written"));
    }
    store.remove(&[key.to_owned()]).await?;
    *removed = true;
    match store.open(key).await {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
        Ok(_) => Err(Error::new(ErrorKind::Store, "what was removed is still there")
            .with_hint("A bucket that keeps versions or locks objects cannot be pruned; see its rules.")),
    }
}

/// `store_encryption`.
pub fn encryption(url: &str, policy: &BackupPolicy) -> Item {
    let keys = policy.age_recipients.len();
    let bucket = url.starts_with("s3://");
    match (keys, policy.server_side_encryption) {
        (1.., _) => Item::pass(
            &STORE_ENCRYPTION,
            format!(
                "with age before anything leaves this machine, to {}",
                count(keys, "key")
            ),
        ),
        (0, Some(sse)) if bucket => Item::pass(&STORE_ENCRYPTION, format!("by S3, with {}", sse.as_str())),
        (0, _) if bucket => Item::warn(
            &STORE_ENCRYPTION,
            "neither age recipients nor S3's encryption are configured; the bucket's default decides",
            "Set backup.age_recipients, or backup.server_side_encryption.",
        ),
        _ => Item::warn(
            &STORE_ENCRYPTION,
            "backups lie in clear in a folder",
            "Set backup.age_recipients, or keep the folder on an encrypted file system.",
        ),
    }
}

/// `restore_drill`.
///
/// # Errors
/// When the server refuses the query.
pub async fn drill(session: &Session, seen: &Observed) -> Result<Item> {
    if seen.tenants().is_none_or(|tenants| tenants.count == 0) {
        return Ok(Item::pass(&RESTORE_DRILL, "there is no tenant yet"));
    }
    let sql = Sql::new(include_str!("../../sql/preflight/drills.sql"));
    let row = session.query_one(&sql, &[], "look for restore drills").await?;
    let remedy = "tenantctl backup verify --restore-drill";
    let made = column::<i64>(&row, "backups")?;
    let Some(days) = column::<Option<f64>>(&row, "days")? else {
        let detail = match made {
            0 => "there is no backup yet".to_owned(),
            n => format!("none of {} was ever restored for trial", count(n as usize, "backup")),
        };
        return Ok(Item::warn(&RESTORE_DRILL, detail, remedy));
    };
    let backup: String = column(&row, "backup_id")?;
    let detail = format!("{backup} was restored for trial and compared {days:.1} days ago");
    Ok(if days > f64::from(DAYS) {
        Item::warn(&RESTORE_DRILL, detail, remedy)
    } else {
        Item::pass(&RESTORE_DRILL, detail)
    })
}

/// What the next backup is expected to take.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Need {
    /// Bytes of tables and TOAST of all tenants, by the planner's last estimate.
    pub raw: u64,
    /// What backups of the last 30 days were compressed to, as a ratio; none without any.
    pub ratio: Option<f64>,
    /// Bytes of the backups that the registry has in this store.
    pub kept: u64,
}

/// Reads it; none without a tenant.
///
/// # Errors
/// When the server refuses a query.
pub async fn need(session: &Session, seen: &Observed, url: &str) -> Result<Option<Need>> {
    if seen.tenants().is_none_or(|tenants| tenants.count == 0) {
        return Ok(None);
    }
    let rows = tenants::list(session, None).await?;
    let schemas: Vec<&str> = rows.iter().map(|row| row.schema_name.as_str()).collect();
    let raw = backups::estimates(session, &schemas).await?.values().sum();
    let sql = Sql::new(include_str!("../../sql/preflight/ratio.sql"));
    let row = session
        .query_one(&sql, &[(&url, Type::TEXT)], "look at earlier backups")
        .await?;
    Ok(Some(Need {
        raw,
        ratio: column(&row, "ratio")?,
        kept: column::<i64>(&row, "kept")?.unsigned_abs(),
    }))
}

/// `backup_space`.
pub async fn space(url: &str, need: Option<Need>) -> Item {
    let Some(path) = url.strip_prefix("file://") else {
        return Item::pass(&BACKUP_SPACE, "S3 has no limit that could be measured");
    };
    let Some(need) = need else {
        return Item::pass(&BACKUP_SPACE, "there is no tenant yet");
    };
    let folder: String = percent_encoding::percent_decode_str(path)
        .decode_utf8_lossy()
        .into_owned();
    match free(&folder).await {
        Ok(free) => judge_space(need, free),
        Err(why) => Item::unknown(&BACKUP_SPACE, format!("the free space of {folder} is not known: {why}")),
    }
    .about(url)
}

fn judge_space(need: Need, free: u64) -> Item {
    // Without any experience, as if nothing could be compressed.
    let expected = (need.raw as f64 * need.ratio.unwrap_or(1.0)).ceil() as u64;
    let how = match need.ratio {
        Some(ratio) => format!("{ratio:.2} of {} as earlier backups were", bytes(need.raw)),
        None => format!(
            "{} uncompressed, as there are no earlier ones to compare with",
            bytes(need.raw)
        ),
    };
    let detail = format!(
        "the next backup of all tenants takes about {} ({how}); {} are free, and {} are kept",
        bytes(expected),
        bytes(free),
        bytes(need.kept)
    );
    let remedy = "Make room, let `tenantctl backup prune` run, lower retention_days, or use another store.";
    match expected {
        0 => Item::unknown(
            &BACKUP_SPACE,
            format!(
                "no table of a tenant was ever vacuumed or analysed; {} are free",
                bytes(free)
            ),
        )
        .remedy("Run ANALYZE, then this again."),
        n if n > free => Item::fail(&BACKUP_SPACE, detail, remedy),
        n if n.saturating_mul(3) > free => Item::warn(&BACKUP_SPACE, detail, remedy),
        _ => Item::pass(&BACKUP_SPACE, detail),
    }
}

/// Bytes that are free for this user where a folder lies, or will lie. By POSIX's df: the standard library cannot tell.
async fn free(folder: &str) -> Result<u64, String> {
    let mut place = std::path::Path::new(folder);
    while !place.exists() {
        place = place.parent().ok_or("it does not exist")?;
    }
    let mut command = Command::new("df");
    command
        .args(["-P", "-k", "--"])
        .arg(place)
        .env("LC_ALL", "C")
        .kill_on_drop(true);
    // A file system over the network may not answer.
    let output = match tokio::time::timeout(Duration::from_secs(10), command.output()).await {
        Ok(output) => output.map_err(|error| format!("df cannot be run: {error}"))?,
        Err(_) => return Err("df does not answer".to_owned()),
    };
    available(&String::from_utf8_lossy(&output.stdout)).ok_or_else(|| "df cannot tell".to_owned())
}

/// The fourth column of the second line. Names of devices may hold blanks, hence from the column with the per cent sign back.
fn available(df: &str) -> Option<u64> {
    let words: Vec<&str> = df.lines().nth(1)?.split_whitespace().collect();
    let percent = words.iter().position(|word| {
        word.strip_suffix('%')
            .is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()))
    })?;
    let kib: u64 = words.get(percent.checked_sub(1)?)?.parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::*;
    use crate::config::{Config, ServerSideEncryption};

    #[test]
    fn df_is_read_whatever_the_device_is_called() {
        let head = "Filesystem 1024-blocks Used Available Capacity Mounted on\n";
        for (line, expected) in [
            ("/dev/sda1 1000 400 600 40% /", Some(600 * 1024)),
            ("//server/my share 1000 400 600 40% /mnt/my share", Some(600 * 1024)),
            ("overlay - - - - /", None),
        ] {
            assert_eq!(available(&format!("{head}{line}\n")), expected, "{line}");
        }
        assert_eq!(available(""), None);
    }

    #[test]
    fn the_next_backup_has_to_fit() {
        let need = |ratio| Need {
            raw: 1000,
            ratio,
            kept: 0,
        };
        for (ratio, free, expected) in [
            (Some(0.1), 300, Verdict::Pass),
            (Some(0.1), 299, Verdict::Warn),
            (Some(0.1), 99, Verdict::Fail),
            (None, 999, Verdict::Fail),
            (None, 3000, Verdict::Pass),
        ] {
            assert_eq!(judge_space(need(ratio), free).status, expected, "{ratio:?} {free}");
        }
        let nothing = Need {
            raw: 0,
            ratio: None,
            kept: 0,
        };
        assert_eq!(judge_space(nothing, 1).status, Verdict::Unknown);
    }

    #[test]
    fn encryption_by_place_and_policy() {
        let mut policy = Config::builtin().expect("built in").backup;
        policy.server_side_encryption = Some(ServerSideEncryption::Aes256);
        assert_eq!(encryption("s3://bucket", &policy).status, Verdict::Pass);
        // What S3 would do is nothing that a folder does.
        assert_eq!(encryption("file:///x", &policy).status, Verdict::Warn);
        policy.server_side_encryption = None;
        assert_eq!(encryption("s3://bucket", &policy).status, Verdict::Warn);
        policy.age_recipients = vec!["age1".to_owned()];
        assert_eq!(encryption("file:///x", &policy).status, Verdict::Pass);
    }
}
