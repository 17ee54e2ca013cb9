//! The words of the product as types: tenant id, schema name, tier, limits, template.
//!
//! A value of one of these types is valid by construction; nothing downstream checks again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};

/// `status` of a tenant whose drop has begun: of its rows some may be gone.
pub const DROPPING: &str = "dropping";
/// The role that owns the registry and every tenant's schema and objects; NOLOGIN.
pub const OWNER_ROLE: &str = "tenantctl_owner";
/// The group every tenant role belongs to; it holds CONNECT on the database and nothing else.
pub const TENANTS_ROLE: &str = "tenantctl_tenants";
/// The role with which PgBouncer looks tenants' passwords up; LOGIN, and no right but that.
pub const POOLER_ROLE: &str = "tenantctl_pooler";
/// Changes whenever `init` learns to store more about a template, so that the next `init` installs a new version with it.
const FINGERPRINT_FORMAT: &str = "fingerprint 1";
/// What every tenant has beside its template's objects; with another text of these `init` installs a new version too, so
/// that the registry knows what tenants are held to.
const STANDARD: [&str; 4] = [
    include_str!("../sql/standard/audit_log.sql"),
    include_str!("../sql/standard/tenant_usage.sql"),
    include_str!("../sql/standard/audit_changes.sql"),
    include_str!("../sql/standard/enforce_limits.sql"),
];
/// Lower-case hex SHA-256 over what every tenant has beside its template and what `init` stores of both; equal means that
/// a template which was installed with it need not be installed again.
pub fn standard_sha256() -> String {
    let mut hash = Sha256::new();
    for text in [FINGERPRINT_FORMAT].into_iter().chain(STANDARD) {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    }
    hex(&hash.finalize())
}

/// The longest tenant id, in characters.
pub const TENANT_ID_MAX: usize = 63;

/// The caller's name for a tenant: `[A-Za-z0-9][A-Za-z0-9._-]{0,62}`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TenantId(String);

impl TenantId {
    /// The id as given.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let refuse = |why: String| {
            Err(Error::usage(format!("invalid tenant id {}", quoted(text)))
                .with_cause(why)
                .with_hint(
                    "A tenant id is 1 to 63 characters: ASCII letters, digits, '.', '_' and '-', starting with a letter or digit.",
                ))
        };
        let Some(first) = text.chars().next() else {
            return refuse("it is empty".into());
        };
        if !first.is_ascii_alphanumeric() {
            return refuse(format!("it starts with {first:?}"));
        }
        if let Some(bad) = text
            .chars()
            .find(|c| !(c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')))
        {
            return refuse(format!("it contains {bad:?}"));
        }
        if text.len() > TENANT_ID_MAX {
            return refuse(format!("it is {} characters long", text.len()));
        }
        Ok(Self(text.to_owned()))
    }
}

/// Quotes user input for a message: escaped, and cut where it is long.
pub fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    if text.chars().count() > SHOWN {
        let head: String = text.chars().take(SHOWN).collect();
        format!("{head:?}...")
    } else {
        format!("{text:?}")
    }
}

impl TryFrom<String> for TenantId {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<TenantId> for String {
    fn from(id: TenantId) -> Self {
        id.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// A tenant's schema: `tenant_` and 12 hex digits of SHA-256(tenant id, ':', random salt).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct SchemaName(String);

impl SchemaName {
    /// Bytes of randomness in a salt.
    pub const SALT_BYTES: usize = 16;

    /// Derives the name for a tenant id and a salt.
    pub fn derive(id: &TenantId, salt: &str) -> Self {
        let digest = Sha256::digest(format!("{id}:{salt}").as_bytes());
        Self(format!("tenant_{}", hex(&digest[..6])))
    }

    /// Reads a name back from the registry.
    ///
    /// # Errors
    /// When the text is not a name that [`SchemaName::derive`] could have made.
    pub fn from_registry(text: &str) -> Result<Self> {
        let valid = text.strip_prefix("tenant_").is_some_and(|rest| {
            rest.len() == 12 && rest.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
        });
        if valid {
            Ok(Self(text.to_owned()))
        } else {
            Err(Error::new(
                crate::error::ErrorKind::Unknown,
                format!(
                    "the registry holds {} as a schema name, which tenantctl never made",
                    quoted(text)
                ),
            ))
        }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The tenant's login role: the schema name and `_user`.
    pub fn role(&self) -> String {
        format!("{}_user", self.0)
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Lower-case hex of bytes.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// A limit that a tier sets or leaves open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// At most this many.
    Max(u64),
    /// No limit; `unlimited` in the configuration, null in JSON.
    Unlimited,
}

impl Limit {
    /// The number, if there is one.
    pub fn max(self) -> Option<u64> {
        match self {
            Self::Max(n) => Some(n),
            Self::Unlimited => None,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Max(n) => f.pad(&n.to_string()),
            Self::Unlimited => f.pad("unlimited"),
        }
    }
}

impl Serialize for Limit {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.max().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        Ok(Option::<u64>::deserialize(deserializer)?.map_or(Self::Unlimited, Self::Max))
    }
}

/// What a tier allows. Each figure is enforced or published as `design` says; the schema size is in GiB.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Rows in `portfolios`.
    pub max_portfolios: Limit,
    /// Rows in `positions` for one portfolio.
    pub max_positions_per_portfolio: Limit,
    /// Rows in `trades` a day.
    pub max_trades_per_day: Limit,
    /// Published for the gateway to enforce.
    pub max_api_calls_per_minute: Limit,
    /// GiB of tables, indexes and TOAST.
    pub max_schema_size_gb: Limit,
    /// The tenant role's CONNECTION LIMIT.
    pub max_connections: Limit,
}

impl Limits {
    /// The same number everywhere, to try out what limits take.
    pub fn at_most(n: u64) -> Self {
        let limit = Limit::Max(n);
        Self {
            max_portfolios: limit,
            max_positions_per_portfolio: limit,
            max_trades_per_day: limit,
            max_api_calls_per_minute: limit,
            max_schema_size_gb: limit,
            max_connections: limit,
        }
    }
}

/// The features of a tier.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Features {
    /// Every feature the template has.
    All,
    /// Exactly these.
    Only(BTreeSet<String>),
}

/// An entry of `templates:` in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tier {
    /// The key in the configuration, such as `basic`.
    pub key: String,
    /// The name for people.
    pub name: String,
    /// One line for people.
    pub description: String,
    /// Selects the template's modules.
    pub features: Features,
    /// What the tenant may use.
    pub limits: Limits,
    /// What it wants of hypertables otherwise than the template does.
    pub hypertables: BTreeMap<String, TimeSeries>,
}

impl Tier {
    /// The interval of new chunks of a hypertable, as this tier has it.
    pub fn chunk_interval<'a>(&'a self, table: &'a Hypertable) -> &'a str {
        let own = self.hypertables.get(&table.table);
        own.and_then(|t| t.chunk_interval.as_deref())
            .unwrap_or(&table.chunk_interval)
    }
}

/// What a tier wants of one hypertable; what it leaves open is the template's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TimeSeries {
    /// The interval of new chunks, such as `7 days`.
    pub chunk_interval: Option<String>,
    /// How long its rows are kept.
    pub retention: Option<Retention>,
}

/// How long the rows of a hypertable are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retention {
    /// Nothing is ever dropped.
    ForEver,
    /// A PostgreSQL interval, such as `2 years`; whole chunks that are older are dropped.
    For(String),
}

impl Retention {
    /// The interval; none: for ever.
    pub fn interval(&self) -> Option<&str> {
        match self {
            Self::ForEver => None,
            Self::For(interval) => Some(interval),
        }
    }
}

/// A table that becomes a TimescaleDB hypertable where the extension is there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hypertable {
    /// The table's name.
    pub table: String,
    /// Its time column.
    pub column: String,
    /// A PostgreSQL interval, such as `1 day`.
    pub chunk_interval: String,
}

/// How much of a changed row the audit log keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AuditMode {
    /// The whole row, before and after.
    Full,
    /// The columns of its primary key, before and after.
    Keys,
}

impl AuditMode {
    /// The word in the configuration, in the registry and in the triggers' arguments.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Keys => "keys",
        }
    }
}

/// The audited tables of a tenant; a table that is not in it is not audited.
pub type Audit = BTreeMap<String, AuditMode>;

/// The relations, sequences and functions that one module creates, as read from the catalog after it ran.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModuleObjects {
    /// Ordinary and partitioned tables.
    pub tables: Vec<String>,
    /// Views; all are `security_invoker`.
    pub views: Vec<String>,
    /// Sequences.
    pub sequences: Vec<String>,
    /// Functions and procedures with their argument types, such as `f(integer)`.
    pub functions: Vec<String>,
    /// Domains, enums, ranges and free-standing composite types.
    pub types: Vec<String>,
    /// Those of the tables that are partitions; what is written to them goes through their parent.
    #[serde(default)]
    pub partitions: Vec<String>,
    /// The columns of each table, in order; empty where an older tenantctl has installed the template.
    #[serde(default)]
    pub columns: BTreeMap<String, Vec<String>>,
    /// The columns of each table's primary key, in the key's order; a table without one is absent.
    #[serde(default)]
    pub keys: BTreeMap<String, Vec<String>>,
}

impl<'a> FromIterator<&'a ModuleObjects> for ModuleObjects {
    fn from_iter<T: IntoIterator<Item = &'a ModuleObjects>>(modules: T) -> Self {
        let mut all = Self::default();
        for module in modules {
            all.tables.extend_from_slice(&module.tables);
            all.views.extend_from_slice(&module.views);
            all.sequences.extend_from_slice(&module.sequences);
            all.functions.extend_from_slice(&module.functions);
            all.types.extend_from_slice(&module.types);
            all.partitions.extend_from_slice(&module.partitions);
            // A later module may have added to an earlier one's table; it saw the whole.
            all.columns.extend(module.columns.clone());
            all.keys.extend(module.keys.clone());
        }
        all
    }
}

impl ModuleObjects {
    /// All names, of whatever kind.
    pub fn names(&self) -> impl Iterator<Item = &String> {
        [&self.tables, &self.views, &self.sequences, &self.functions, &self.types]
            .into_iter()
            .flatten()
    }
}

/// What one object looks like in the catalog, with `{schema}` for the name of its schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectLook {
    /// Such as `column`.
    pub kind: String,
    /// Its name, such as `{schema}.trades.price`.
    pub object: String,
    /// What plain catalog columns say of it; none: it was taken away.
    pub shape: Option<String>,
    /// Its expression as the server prints it.
    pub expression: Option<String>,
    /// The same after the server has read that again, where it prints it differently then.
    pub reread: Option<String>,
}

/// One SQL file of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Module {
    /// The file's stem, such as `portfolios`.
    pub name: String,
    /// The feature that selects it; none: every tenant has it.
    pub feature: Option<String>,
    /// The file's text. Trusted: it comes from this binary, or from a folder that the admin named.
    pub sql: Arc<str>,
    /// What it creates; empty until `init` has installed it.
    pub objects: ModuleObjects,
}

impl Module {
    /// Lower-case hex SHA-256 of the module's text.
    pub fn sha256(&self) -> String {
        hex(&Sha256::digest(self.sql.as_bytes()))
    }
}

/// The SQL modules a tenant is made of, in the order they are replayed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Its name; installed as the schema `template_<name>`.
    pub name: String,
    /// The version the registry gave it; 0 before `init`.
    pub version: i32,
    /// In replay order.
    pub modules: Vec<Module>,
    /// Tables that become hypertables.
    pub hypertables: Vec<Hypertable>,
    /// Tables that tenants load with COPY: no row security, grants alone.
    pub bulk_load: BTreeSet<String>,
}

impl Template {
    /// The schema that holds the installed reference copy.
    pub fn schema(&self) -> String {
        format!("template_{}", self.name)
    }

    /// The modules that a tier with these features gets, in replay order.
    pub fn modules_for<'a>(&'a self, features: &'a Features) -> impl Iterator<Item = &'a Module> {
        self.modules
            .iter()
            .filter(move |module| match (features, &module.feature) {
                (_, None) | (Features::All, _) => true,
                (Features::Only(wanted), Some(feature)) => wanted.contains(feature),
            })
    }

    /// The features the template knows, each with the number of its modules.
    pub fn features(&self) -> BTreeMap<&str, usize> {
        let mut features = BTreeMap::new();
        for feature in self.modules.iter().filter_map(|m| m.feature.as_deref()) {
            *features.entry(feature).or_insert(0) += 1;
        }
        features
    }

    /// Lower-case hex SHA-256 over name, modules, hypertables and bulk-loaded tables; equal means same template.
    pub fn sha256(&self) -> String {
        let mut hash = Sha256::new();
        let mut field = |text: &str| {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text.as_bytes());
        };
        field(&self.name);
        for module in &self.modules {
            field(&module.name);
            field(module.feature.as_deref().unwrap_or("*"));
            field(&module.sql);
        }
        for table in &self.hypertables {
            field(&table.table);
            field(&table.column);
            field(&table.chunk_interval);
        }
        for table in &self.bulk_load {
            field(table);
        }
        hex(&hash.finalize())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tenant_ids_are_the_documented_alphabet() {
        for good in ["a", "A9", "acme-eu.prod_2", "0", &"x".repeat(63)] {
            assert!(good.parse::<TenantId>().is_ok(), "{good}");
        }
        let long = "x".repeat(64);
        for bad in [
            "",
            "-a",
            ".a",
            "_a",
            "a b",
            "a'b",
            "a\"b",
            "../etc",
            "a/b",
            "é",
            "aé",
            "a;drop table x",
            "a\0",
            "a\n",
            &long,
        ] {
            let error = bad.parse::<TenantId>().expect_err(bad);
            assert_eq!(error.kind().exit_code(), 2, "{bad}");
            assert!(error.hint().is_some(), "{bad}");
        }
    }

    #[test]
    fn schema_name_is_twelve_hex_of_the_salted_hash() {
        let id: TenantId = "acme".parse().expect("valid");
        let name = SchemaName::derive(&id, "00");
        // printf 'acme:00' | sha256sum
        assert_eq!(name.as_str(), "tenant_cacd20694a42");
        assert_ne!(name, SchemaName::derive(&id, "01"));
        assert_eq!(SchemaName::from_registry(name.as_str()).expect("round trip"), name);
        assert_eq!(name.role(), format!("{name}_user"));
        for bad in ["tenant_CACD20694A42", "tenant_4ec6", "public", "tenant_cacd20694a42x"] {
            assert!(SchemaName::from_registry(bad).is_err(), "{bad}");
        }
    }
}
