//! What a backup consists of. The format's version is [`FORMAT`]; fields are added, never renamed.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub use crate::catalog::contents::{Dimensions, RowFormat, Sequence};
use crate::error::{Error, ErrorKind, Result};
use crate::store::Store;
use crate::tenant::{Audit, Limits, TenantId, hex, quoted};

/// The version of the format that this binary writes, and the newest that it reads.
pub const FORMAT: u32 = 1;
/// The member that makes a backup one; it is written last.
pub const MANIFEST: &str = "manifest.json";
/// The checksums of all members, as `sha256sum` reads them; written before the manifest.
pub const SUMS: &str = "SHA256SUMS";
/// The psql script that loads the data by hand.
pub const LOAD: &str = "load.sql";
/// The folder of all tenants in a store.
pub const TENANTS: &str = "tenants/";
/// Larger than any manifest: 100,000 parts take about 20 MB.
const MANIFEST_MAX_BYTES: usize = 256 << 20;

/// `<tenant_id>_<YYYYMMDD>_<HHMMSS>_<6 hex digits>`, the time being that of the snapshot in UTC.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BackupId(String);

impl BackupId {
    /// A new one. `moment` is `YYYYMMDD_HHMMSS`.
    pub fn new(tenant: &TenantId, moment: &str) -> Self {
        Self(format!("{tenant}_{moment}_{}", crate::pg::password::random_hex(3)))
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tenant it is of.
    pub fn tenant(&self) -> TenantId {
        // Checked when it was made or parsed.
        split(&self.0).unwrap_or_else(|| unreachable!("a backup id holds a tenant id"))
    }

    /// `tenants/<tenant_id>/backups/<backup_id>/`.
    pub fn prefix(&self) -> String {
        format!("{}{}/", backups_of(&self.tenant()), self.0)
    }
}

/// `tenants/<tenant_id>/backups/`.
pub fn backups_of(tenant: &TenantId) -> String {
    format!("{TENANTS}{tenant}/backups/")
}

fn split(text: &str) -> Option<TenantId> {
    let mut parts = text.rsplitn(4, '_');
    let (random, time, date, tenant) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let digits = |text: &str, n| text.len() == n && text.bytes().all(|b| b.is_ascii_digit());
    let is_hex = random.len() == 6 && random.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    (is_hex && digits(time, 6) && digits(date, 8))
        .then(|| tenant.parse().ok())
        .flatten()
}

impl FromStr for BackupId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        if split(text).is_none() {
            return Err(Error::usage(format!("invalid backup id {}", quoted(text))).with_hint(
                "A backup id is as `tenantctl backup list` shows it, such as acme_20260131_020000_1f0c3a.",
            ));
        }
        Ok(Self(text.to_owned()))
    }
}

impl TryFrom<String> for BackupId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<BackupId> for String {
    fn from(id: BackupId) -> Self {
        id.0
    }
}

impl fmt::Display for BackupId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// All there is to know of a backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`] of the binary that wrote it.
    pub format: u32,
    /// Its version.
    pub tool_version: String,
    /// The backup.
    pub backup_id: BackupId,
    /// `scheduled`, `weekly`, `monthly`, `manual`, `pre_migration` or a word of the user's.
    pub backup_type: String,
    /// The moment that it shows the tenant at, ISO 8601 in UTC.
    pub created_at: String,
    /// When `backup prune` may remove it, ISO 8601 in UTC.
    pub expires_at: String,
    /// From before the tenant's lock to the manifest, in milliseconds.
    pub duration_ms: f64,
    /// Whose it is.
    pub tenant: Tenant,
    /// Where it was read.
    pub server: Server,
    /// What the tenant was made from.
    pub template: Origin,
    /// How the structure is described in `pre-data.sql` and `post-data.sql`.
    pub structure: Structure,
    /// `age` recipients that all members but this one, `SHA256SUMS` and `load.sql` are encrypted to; empty: to none.
    pub recipients: Vec<String>,
    /// In the order in which `load.sql` loads them.
    pub tables: Vec<Table>,
    /// All sequences, those behind identity columns included.
    pub sequences: Vec<Sequence>,
    /// Tables that are TimescaleDB hypertables, with their dimensions.
    pub hypertables: Vec<Dimensions>,
    /// What of them a restore does not bring back, such as compression and jobs; empty: nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<String>,
    /// Materialized views that were populated, in the order in which they can be refreshed.
    pub materialized_views: Vec<String>,
    /// `pre-data.sql.zst`, `post-data.sql.zst`, `template.json.zst` and `load.sql`.
    pub members: Vec<Member>,
    /// Rows of all tables.
    pub rows: u64,
    /// Bytes of all members before compression.
    pub raw_bytes: u64,
    /// Bytes of all members as they lie in the store, without manifest and `SHA256SUMS`.
    pub stored_bytes: u64,
}

/// The tenant's row in the registry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Tenant {
    /// The caller's name for it.
    pub tenant_id: TenantId,
    /// Its schema.
    pub schema_name: String,
    /// The salt that the name was derived with.
    pub salt: String,
    /// Its tier.
    pub tier: String,
    /// What it may use.
    pub limits: Limits,
    /// Its audited tables.
    pub audit: Audit,
    /// When it was provisioned, ISO 8601 in UTC.
    pub provisioned_at: String,
}

/// The server that was read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Server {
    /// `server_version_num`.
    pub version_num: i32,
    /// `server_version`.
    pub version: String,
    /// The database.
    pub database: String,
    /// Whether it was a standby.
    pub replica: bool,
}

/// The template of the tenant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Origin {
    /// Its name.
    pub name: String,
    /// The version that the registry gave it.
    pub version: i32,
    /// [`Template::sha256`](crate::tenant::Template::sha256), by which another registry knows it.
    pub sha256: String,
    /// The modules that the tenant has.
    pub modules: Vec<String>,
    /// Those of its tables that are hypertables.
    pub hypertables: Vec<String>,
}

/// Where the DDL comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DdlSource {
    /// The tenant was as its template says: its modules, with names that resolve by the search path.
    Template,
    /// It was not: pg_dump, with names qualified by the tenant's schema.
    PgDump,
}

/// What the structure was like, to compare a restored copy with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Structure {
    /// Where `pre-data.sql` and `post-data.sql` come from.
    pub source: DdlSource,
    /// Over the shapes of all objects, without expressions: the same on every major version.
    pub shape_sha256: String,
    /// Over shapes and expressions as the server printed them.
    pub sha256: String,
}

/// One table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// Its columns as COPY names them: generated ones are left out.
    pub columns: Vec<String>,
    /// The partitioned table to load its rows into: which partition a row belongs to depends on numbers of types, which
    /// are others after a restore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub through: Option<String>,
    /// The form of all its parts.
    pub format: RowFormat,
    /// Rows of all its parts.
    pub rows: u64,
    /// The sum of the 128-bit XXH3 hashes of its rows as COPY wrote them, modulo 2^128, in hex: equal whatever the order.
    pub checksum: String,
    /// Empty for a table without rows.
    pub parts: Vec<Part>,
}

/// A share of a table's rows, which can be loaded on its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Rows in it.
    pub rows: u64,
    /// The member that holds it.
    #[serde(flatten)]
    pub member: Member,
}

/// An object of the backup.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    /// Below the backup's prefix, such as `data/trades.1.zst`.
    pub name: String,
    /// Before compression and encryption.
    pub raw_bytes: u64,
    /// As it lies in the store.
    pub stored_bytes: u64,
    /// Lower-case hex, of the bytes as they lie in the store.
    pub sha256: String,
}

/// The name of a part's member: everything of the table's name that is not `[A-Za-z0-9_-]` is percent-encoded.
pub fn part_name(table: &str, number: usize, encrypted: bool) -> String {
    const PLAIN: &percent_encoding::AsciiSet = &percent_encoding::NON_ALPHANUMERIC.remove(b'_').remove(b'-');
    let table = percent_encoding::utf8_percent_encode(table, PLAIN);
    member_name(&format!("data/{table}.{number}"), encrypted)
}

/// The name of a compressed member: `.zst`, and `.age` where it is encrypted.
pub fn member_name(stem: &str, encrypted: bool) -> String {
    format!("{stem}.zst{}", if encrypted { ".age" } else { "" })
}

impl Manifest {
    /// Every member but manifest and sums.
    pub fn all_members(&self) -> impl Iterator<Item = &Member> {
        let parts = self.tables.iter().flat_map(|table| &table.parts);
        self.members.iter().chain(parts.map(|part| &part.member))
    }

    /// The member whose name begins with `stem.`.
    ///
    /// # Errors
    /// Kind `store` when the manifest has none.
    pub fn member(&self, stem: &str) -> Result<&Member> {
        let named =
            |m: &&Member| m.name == stem || m.name.strip_prefix(stem).is_some_and(|rest| rest.starts_with(".zst"));
        self.members.iter().find(named).ok_or_else(|| {
            damaged(&self.backup_id, MANIFEST, "it does not list every member").with_cause(stem.to_owned())
        })
    }

    /// Whether members are encrypted.
    pub fn is_encrypted(&self) -> bool {
        !self.recipients.is_empty()
    }

    /// As it is stored. The same manifest always gives the same bytes.
    pub fn to_json(&self) -> String {
        // Plain data with text keys cannot fail to serialise.
        let mut json = serde_json::to_string_pretty(self).unwrap_or_default();
        json.push('\n');
        json
    }

    /// `SHA256SUMS`: every member, then the manifest itself.
    pub fn sums(&self) -> String {
        let mut lines: BTreeMap<&str, String> = self
            .all_members()
            .map(|m| (m.name.as_str(), m.sha256.clone()))
            .collect();
        lines.insert(MANIFEST, sha256(self.to_json().as_bytes()));
        lines.iter().map(|(name, sum)| format!("{sum}  {name}\n")).collect()
    }
}

/// Lower-case hex SHA-256.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// A manifest as it was found in a store, with its checksum.
#[derive(Clone, Debug)]
pub struct Found {
    /// The manifest.
    pub manifest: Manifest,
    /// Of its bytes.
    pub sha256: String,
}

/// Reads a manifest and holds it to `SHA256SUMS`: one flipped byte in either is refused.
///
/// # Errors
/// Kind `not_found` when there is no such backup; `store` when a member is damaged, naming it; `unsupported` when a newer
/// tenantctl has written it.
pub async fn read(store: &dyn Store, id: &BackupId) -> Result<Found> {
    let json = read_small(store, id, MANIFEST).await?;
    #[derive(Deserialize)]
    struct Version {
        format: u32,
    }
    let version: Version =
        serde_json::from_slice(&json).map_err(|e| damaged(id, MANIFEST, "it cannot be read").with_cause(e))?;
    if version.format > FORMAT {
        return Err(Error::new(
            ErrorKind::Unsupported,
            format!(
                "backup {id} has format {}, which this tenantctl does not know",
                version.format
            ),
        )
        .with_cause(format!("{MANIFEST}: this binary reads formats up to {FORMAT}"))
        .with_hint("Use the tenantctl that wrote it, or a newer one."));
    }
    let manifest: Manifest =
        serde_json::from_slice(&json).map_err(|e| damaged(id, MANIFEST, "it cannot be read").with_cause(e))?;
    if manifest.backup_id != *id || manifest.tenant.tenant_id != id.tenant() {
        return Err(
            damaged(id, MANIFEST, "it is that of another backup").with_cause(format!("it says {}", manifest.backup_id))
        );
    }
    let sums = read_small(store, id, SUMS).await.map_err(|e| match e.kind() {
        ErrorKind::NotFound => damaged(id, SUMS, "it is missing"),
        _ => e,
    })?;
    let found = sha256(&json);
    // What the manifest says of the members must be what the sums say, and both must be whole.
    let mut lines = manifest.sums();
    let own = format!("{}  {MANIFEST}\n", sha256(manifest.to_json().as_bytes()));
    lines = lines.replace(&own, &format!("{found}  {MANIFEST}\n"));
    if sums != lines.as_bytes() {
        return Err(damaged(
            id,
            &format!("{MANIFEST} or {SUMS}"),
            "the two do not fit together",
        ));
    }
    Ok(Found {
        manifest,
        sha256: found,
    })
}

/// A member is not what it should be.
pub fn damaged(id: &BackupId, member: &str, why: &str) -> Error {
    Error::new(ErrorKind::Store, format!("backup {id} is damaged: {member}: {why}"))
        .with_damage()
        .with_hint("Nothing was changed. `tenantctl backup verify` tells which other backups of the tenant are whole.")
}

async fn read_small(store: &dyn Store, id: &BackupId, name: &str) -> Result<Vec<u8>> {
    let mut download = store.open(&format!("{}{name}", id.prefix())).await?;
    let mut bytes = Vec::new();
    while let Some(more) = download.read().await? {
        bytes.extend_from_slice(&more);
        if bytes.len() > MANIFEST_MAX_BYTES {
            return Err(damaged(id, name, "it is larger than any could be"));
        }
    }
    Ok(bytes)
}
