//! The sections of the policy as types, each with the check of its values.
//!
//! A struct's fields are the keys of its section, so a key has its name, type, bounds and meaning in one place.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use super::date::Date;
use super::document::{At, Fields, did_you_mean};
use super::template::TemplatePolicy;
use super::{names, url};
use crate::error::{Error, Result};
use crate::tenant::{Audit, AuditMode, ModuleObjects, TenantId, Tier};

/// A section whose fields are each read by a function from the section and the field's name.
macro_rules! section {
    (
        $(#[$meta:meta])*
        pub struct $name:ident { $($(#[$doc:meta])* $field:ident: $type:ty = $read:expr,)* }
    ) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name { $($(#[$doc])* pub $field: $type,)* }

        impl $name {
            pub(super) fn decode(parent: &Fields<'_>, key: &'static str) -> Result<Self> {
                let fields = parent.section(key, &[$(stringify!($field)),*])?;
                Ok(Self { $($field: ($read)(&fields, stringify!($field))?,)* })
            }
        }
    };
}

section! {
    /// How many days a backup is kept, by its type.
    pub struct RetentionPolicy {
        /// Daily backups.
        scheduled: u32 = days,
        /// Weekly backups.
        weekly: u32 = days,
        /// Monthly backups.
        monthly: u32 = days,
        /// Backups that someone asked for.
        manual: u32 = days,
        /// Backups before a migration.
        pre_migration: u32 = days,
        /// Backups of a type that has no line of its own.
        other: u32 = days,
    }
}

impl RetentionPolicy {
    /// Days for a backup type by its name, such as `pre_migration`; [`other`](Self::other) for any not listed.
    pub fn days(&self, backup_type: &str) -> u32 {
        match backup_type {
            "scheduled" => self.scheduled,
            "weekly" => self.weekly,
            "monthly" => self.monthly,
            "manual" => self.manual,
            "pre_migration" => self.pre_migration,
            _ => self.other,
        }
    }
}

/// When usage of a limit raises an alert: ratios of the limit, above 0 and at most 1; none is no alert.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Threshold {
    /// Usage above this ratio is a warning; below [`critical`](Self::critical) where both are set.
    pub warning: Option<f64>,
    /// Usage above this ratio is critical.
    pub critical: Option<f64>,
}

section! {
    /// When a tenant near a limit of its tier raises an alert, and where alerts go.
    pub struct AlertPolicy {
        /// Webhook or Alertmanager, `http(s)://` without a secret; none: nothing is posted.
        url: Option<String> = url::alert,
        /// Labels of every alert, beside those that tell it from others.
        labels: BTreeMap<String, String> = labels,
        /// Bytes of the schema against `max_schema_size_gb`.
        schema_size: Threshold = threshold,
        /// Sessions of the role against `max_connections`.
        connections: Threshold = threshold,
        /// Rows against `max_portfolios`.
        portfolios: Threshold = threshold,
        /// Rows of the fullest portfolio against `max_positions_per_portfolio`.
        positions_per_portfolio: Threshold = threshold,
        /// Rows of today against `max_trades_per_day`.
        trades_per_day: Threshold = threshold,
        /// Hours within which every tenant is to have a good backup, by its type; `any` is one of whatever type. Empty: no alert.
        backup_overdue_hours: BTreeMap<String, u32> = backup_overdue_hours,
        /// Hours for which a failed provisioning or backup that nobody has made good stays an alert.
        failed_operations_hours: u32 = whole(1..=HOURS_MAX),
        /// Seconds that delivering may take longer than the command itself, all tries together.
        timeout_s: f64 = positive,
        /// Hours after which a webhook is told of an alert again that goes on.
        repeat_hours: u32 = whole(1..=HOURS_MAX),
        /// Minutes after which Alertmanager takes an alert for resolved that no run has confirmed.
        expire_minutes: u32 = whole(1..=525_600),
    }
}

/// Which changes are written to the tenants' audit logs, and how long they stay there.
#[derive(Clone, Debug, PartialEq)]
pub struct AuditPolicy {
    /// For tables that are not named; none: not audited.
    pub default: Option<AuditMode>,
    /// By table; none: not audited.
    pub tables: BTreeMap<String, Option<AuditMode>>,
    /// Whether the user wrote the names of the tables.
    own_tables: bool,
    /// Days that entries are kept; `audit prune` removes older ones.
    pub keep_days: u32,
}

impl AuditPolicy {
    pub(super) fn decode(parent: &Fields<'_>, template: &TemplatePolicy) -> Result<Self> {
        let fields = parent.section("audit", &["default", "tables", "keep_days"])?;
        // The built-in tables are those of the built-in template, and mean nothing to another.
        let tables = match fields.own("tables") {
            None if template.directory.is_none() => Some(fields.get("tables")?),
            own => own,
        };
        let own_tables = fields.own("tables").is_some() && parent.built_in("audit").is_some();
        let tables = match tables {
            Some(at) if !at.is_null() => at.entries(names::identifier)?,
            _ => Vec::new(),
        };
        Ok(Self {
            default: audit_mode(&fields.get("default")?)?,
            tables: tables
                .into_iter()
                .map(|(table, at)| Ok((table.to_owned(), audit_mode(&at)?)))
                .collect::<Result<_>>()?,
            own_tables,
            keep_days: days(&fields, "keep_days")?,
        })
    }

    /// Refuses names of tables that the template does not have: a mistyped `off` would leave a table audited, a
    /// mistyped `full` would leave it out.
    ///
    /// # Errors
    /// Kind `config` with the nearest name.
    pub fn require_known(&self, objects: &ModuleObjects) -> Result<()> {
        // Of the built-in names, those may be missing whose modules the user has left out.
        let known: Vec<&str> = objects.tables.iter().map(String::as_str).collect();
        match self
            .tables
            .keys()
            .find(|t| self.own_tables && !known.contains(&t.as_str()))
        {
            None => Ok(()),
            Some(table) => Err(
                Error::config(format!("audit.tables names table {table:?}, which no module creates"))
                    .with_hint(did_you_mean(table, "The modules create", &known)),
            ),
        }
    }

    /// What these tables' changes leave in the audit log.
    ///
    /// # Errors
    /// Kind `config` for a table that is to be audited by its key and has none.
    pub fn of(&self, objects: &ModuleObjects) -> Result<Audit> {
        let mut audit = Audit::new();
        for table in objects.tables.iter().filter(|t| !objects.partitions.contains(t)) {
            let Some(mode) = self.tables.get(table).copied().unwrap_or(self.default) else {
                continue;
            };
            if mode == AuditMode::Keys && !objects.keys.contains_key(table) {
                return Err(Error::config(format!(
                    "table {table:?} cannot be audited by its key: it has no primary key"
                ))
                .with_hint(format!(
                    "Give it one, or say `{table}: full` or `{table}: off` under audit.tables."
                )));
            }
            audit.insert(table.clone(), mode);
        }
        Ok(audit)
    }
}

fn audit_mode(at: &At<'_>) -> Result<Option<AuditMode>> {
    let modes = [
        (AuditMode::Full.as_str(), Some(AuditMode::Full)),
        (AuditMode::Keys.as_str(), Some(AuditMode::Keys)),
        ("off", None),
    ];
    choice(at, at.setting()?, &modes)
}

/// Lines of the hardening standard that are not wanted in this database, by their names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HardeningPolicy {
    /// The lines that are `off`.
    pub off: BTreeSet<String>,
}

impl HardeningPolicy {
    pub(super) fn decode(parent: &Fields<'_>) -> Result<Self> {
        const LINES: [&str; 7] = [
            "tenants_connect",
            "owner_default_privileges",
            "public_schema_create",
            "database_public",
            "language_public",
            "builtin_functions",
            "statistics_views",
        ];
        let fields = parent.section("hardening", &LINES)?;
        let mut off = BTreeSet::new();
        for line in LINES {
            let at = fields.get(line)?;
            if !choice(&at, at.setting()?, &[("on", true), ("off", false)])? {
                off.insert(line.to_owned());
            }
        }
        Ok(Self { off })
    }
}

/// What S3 itself encrypts a backup with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerSideEncryption {
    /// Keys that S3 manages.
    Aes256,
    /// The bucket's key in the key management service.
    AwsKms,
}

impl ServerSideEncryption {
    /// The value of the header `x-amz-server-side-encryption`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aes256 => "AES256",
            Self::AwsKms => "aws:kms",
        }
    }
}

section! {
    /// How backups are written, and where to.
    pub struct BackupPolicy {
        /// `file:///folder` or `s3://bucket/prefix` without credentials; none: a flag or the environment names it.
        store: Option<String> = url::store,
        /// S3 storage class; none: the bucket's default.
        storage_class: Option<String> = storage_class,
        /// Encryption by S3; none: the bucket's default.
        server_side_encryption: Option<ServerSideEncryption> = server_side_encryption,
        /// age or SSH public keys; empty: backups are not encrypted on this side.
        age_recipients: Vec<String> = age_recipients,
        /// zstd level, 1 to 22.
        compression_level: u8 = whole(1..=22),
        /// Sessions that read in a run of `backup`, or load in one of `restore`, at least 1.
        jobs: usize = whole(1..=JOBS_MAX),
    }
}

section! {
    /// Whom passwords are stored for.
    pub struct CredentialsPolicy {
        /// age or SSH public keys; empty: passwords are not stored.
        age_recipients: Vec<String> = age_recipients,
    }
}

section! {
    /// What `validate --preflight` expects of the cluster.
    pub struct ClusterPolicy {
        /// PostgreSQL settings by name, as PostgreSQL writes them: `32GB`, `on`, `1000`.
        settings: BTreeMap<String, String> = settings,
        /// Read replicas: libpq URLs or key=value strings without a password.
        replicas: Vec<String> = url::replicas,
        /// Most that a replica may lag behind, in milliseconds.
        max_replica_lag_ms: u64 = whole(1..=86_400_000),
    }
}

section! {
    /// An entry under `[databases]` of PgBouncer.
    pub struct PoolerDatabase {
        /// The name that clients connect to.
        name: String = line,
        /// The server's host.
        host: String = line,
        /// The server's port.
        port: u16 = whole(1..=65_535),
        /// The server's database.
        dbname: String = line,
    }
}

/// When PgBouncer gives a server connection back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolMode {
    /// When the client disconnects.
    Session,
    /// When the transaction ends.
    Transaction,
    /// When the statement ends; no transactions of several statements.
    Statement,
}

impl PoolMode {
    /// PgBouncer's word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Session => "session",
            Self::Transaction => "transaction",
            Self::Statement => "statement",
        }
    }
}

section! {
    /// PgBouncer's settings, under its own names.
    pub struct PoolerPolicy {
        /// The database behind the pooler.
        database: PoolerDatabase = PoolerDatabase::decode,
        /// When a server connection is free again.
        pool_mode: PoolMode = pool_mode,
        /// Client connections, all together.
        max_client_conn: u32 = whole(1..=1_000_000),
        /// Server connections for each pair of database and role.
        default_pool_size: u32 = whole(1..=CONNECTIONS_MAX),
        /// Further ones for a pool whose clients wait; 0: none.
        reserve_pool_size: u32 = whole(0..=CONNECTIONS_MAX),
        /// Seconds that a client waits before those are used; 0: they never are.
        reserve_pool_timeout: u32 = whole(0..=SECONDS_MAX),
        /// Seconds after which an unused server connection is closed for its age; 0: after one use.
        server_lifetime: u32 = whole(0..=SECONDS_MAX),
        /// Seconds after which an idle server connection is closed; 0: never.
        server_idle_timeout: u32 = whole(0..=SECONDS_MAX),
        /// Server connections to the database over all tenants; 0: no limit.
        max_db_connections: u32 = whole(0..=CONNECTIONS_MAX),
        /// In place of [`default_pool_size`](Self::default_pool_size), by tier; never above the tenant's own limit.
        pool_size_by_tier: BTreeMap<String, u32> = pool_sizes,
        /// Further settings of `[pgbouncer]` under PgBouncer's names, over those that tenantctl would write.
        settings: BTreeMap<String, String> = pooler_settings,
    }
}

/// A figure of the tenant's business: one query that yields one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BusinessQuery {
    /// Its name in the metrics.
    pub name: String,
    /// One SELECT with unqualified names, which mean the tenant's. Trusted: the admin wrote it.
    pub sql: String,
}

section! {
    /// What is measured beyond what every tenant has, and where metrics are cached.
    pub struct MetricsPolicy {
        /// In the order of the file.
        business_queries: Vec<BusinessQuery> = business_queries,
        /// Milliseconds that one business query may take.
        business_timeout_ms: u32 = whole(1..=3_600_000),
        /// `redis://` or `rediss://` without a password; none: metrics are not cached.
        redis_url: Option<String> = url::redis,
        /// Seconds that they stay in the cache.
        ttl_seconds: u64 = whole(1..=SECONDS_MAX),
    }
}

/// A finding that the admin has looked into and lives with for a time.
#[derive(Clone, Debug, PartialEq)]
pub struct Suppression {
    /// The check's id.
    pub check: String,
    /// Only findings about this tenant; none: about any, or about none.
    pub tenant: Option<TenantId>,
    /// Only findings about such an object; `*` stands for any text. None: about any.
    pub object: Option<String>,
    /// Why the finding is acceptable.
    pub reason: String,
    /// The last day on which it holds, in UTC.
    pub expires: Date,
    /// Where it stands, for messages: file, line and column.
    pub place: String,
}

section! {
    /// What the proof of isolation may pass over.
    pub struct ValidatePolicy {
        /// In the order of the file.
        suppress: Vec<Suppression> = suppressions,
    }
}

section! {
    /// Targets for making one tenant, in seconds.
    pub struct SchemaCreationTargets {
        /// Mean.
        average_s: f64 = positive,
        /// 95th percentile.
        p95_s: f64 = positive,
        /// 99th percentile.
        p99_s: f64 = positive,
        /// Worst.
        max_s: f64 = positive,
    }
}

section! {
    /// Targets for many tenants at once.
    pub struct ConcurrencyTargets {
        /// Seconds for a hundred tenants, all of them.
        schemas_100_s: f64 = positive,
        /// Connections of the pool that the seed assumes.
        connection_pool_size: u32 = whole(1..=CONNECTIONS_MAX),
        /// Operations at a time.
        parallel_operations: u32 = whole(1..=JOBS_MAX),
    }
}

section! {
    /// Targets for a tenant's queries, in milliseconds.
    pub struct QueryTargets {
        /// One row by its key.
        simple_select_ms: f64 = positive,
        /// Several tables.
        complex_join_ms: f64 = positive,
        /// Sums over many rows.
        aggregation_ms: f64 = positive,
        /// A thousand rows inserted.
        bulk_insert_1000_rows_ms: f64 = positive,
    }
}

section! {
    /// Targets for backups and restores of one tenant, in seconds.
    pub struct BackupTargets {
        /// Backup of 1 GiB.
        backup_1gb_s: f64 = positive,
        /// Restore of 1 GiB.
        restore_1gb_s: f64 = positive,
        /// Backup of 10 GiB.
        backup_10gb_s: f64 = positive,
        /// Restore of 10 GiB.
        restore_10gb_s: f64 = positive,
    }
}

section! {
    /// Targets for what a tenant costs.
    pub struct ResourceTargets {
        /// MiB on disk of an empty tenant.
        schema_overhead_mb: f64 = positive,
        /// MiB of memory of a connection.
        connection_overhead_mb: f64 = positive,
        /// Indexes in per cent of the data they index.
        index_overhead_percent: f64 = positive,
    }
}

section! {
    /// What `bench` compares its figures with: at or below passes.
    pub struct PerformanceTargets {
        /// One tenant.
        schema_creation: SchemaCreationTargets = SchemaCreationTargets::decode,
        /// Many tenants at once.
        concurrent_operations: ConcurrencyTargets = ConcurrencyTargets::decode,
        /// A tenant's queries.
        query_performance: QueryTargets = QueryTargets::decode,
        /// Backups and restores.
        backup_restore: BackupTargets = BackupTargets::decode,
        /// What a tenant costs.
        resource_usage: ResourceTargets = ResourceTargets::decode,
    }
}

/// How tenants are made.
#[derive(Clone, Debug, PartialEq)]
pub struct ProvisioningPolicy {
    /// Limit of the whole transaction that makes one tenant.
    pub timeout: Duration,
    /// Limit for each wait on a lock; at most [`timeout`](Self::timeout).
    pub lock_timeout: Duration,
    /// Tenants made at a time, at least 1.
    pub jobs: usize,
    /// The key of the tier that is taken when none is named; it is one of the tiers.
    pub default_tier: String,
}

impl ProvisioningPolicy {
    pub(super) fn decode(parent: &Fields<'_>, tiers: &[Tier]) -> Result<Self> {
        let fields = parent.section("provisioning", &["timeout_s", "lock_timeout_s", "jobs", "default_tier"])?;
        let seconds = |key| Ok(Duration::from_secs_f64(fields.get(key)?.number(86_400.0)?.max(0.001)));
        let (timeout, lock_timeout) = (seconds("timeout_s")?, seconds("lock_timeout_s")?);
        if let Some(own) = fields.own("lock_timeout_s")
            && lock_timeout > timeout
        {
            return Err(own
                .refuse(format_args!(
                    "must not exceed timeout_s, which is {} s",
                    timeout.as_secs_f64()
                ))
                .with_hint("A wait on a lock is part of the whole."));
        }
        let at = fields.get("default_tier")?;
        let name = at.line()?;
        let default_tier = match tiers.iter().find(|tier| tier.key == name).or(tiers.first()) {
            // The user's tiers need not include the built-in default.
            Some(tier) if tier.key == name || fields.own("default_tier").is_none() => tier.key.clone(),
            _ => {
                let keys: Vec<&str> = tiers.iter().map(|tier| tier.key.as_str()).collect();
                return Err(at
                    .refuse(format_args!("no tier {name:?}"))
                    .with_hint(did_you_mean(name, "Tiers", &keys)));
            }
        };
        Ok(Self {
            timeout,
            lock_timeout: lock_timeout.min(timeout),
            jobs: whole(1..=JOBS_MAX)(&fields, "jobs")?,
            default_tier,
        })
    }
}

/// What PostgreSQL takes for `max_connections` and CONNECTION LIMIT.
pub const CONNECTIONS_MAX: u64 = 262_143;
const JOBS_MAX: u64 = 1_000;
const SECONDS_MAX: u64 = i32::MAX as u64;
/// A hundred years.
const DAYS_MAX: u64 = 36_500;
/// Ten years.
const HOURS_MAX: u64 = 87_600;
/// For targets: far above anything that could be meant.
const FIGURE_MAX: f64 = 1e9;

fn whole<T: TryFrom<u64>>(range: RangeInclusive<u64>) -> impl Fn(&Fields<'_>, &'static str) -> Result<T> {
    move |fields, key| fields.get(key)?.whole(range.clone())
}

fn days(fields: &Fields<'_>, key: &'static str) -> Result<u32> {
    fields.get(key)?.whole(1..=DAYS_MAX)
}

fn positive(fields: &Fields<'_>, key: &'static str) -> Result<f64> {
    fields.get(key)?.number(FIGURE_MAX)
}

fn line(fields: &Fields<'_>, key: &'static str) -> Result<String> {
    fields.get(key)?.line().map(str::to_owned)
}

fn threshold(fields: &Fields<'_>, key: &'static str) -> Result<Threshold> {
    let at = fields.get(key)?;
    if at.as_text() == Some("off") {
        return Ok(Threshold::default());
    }
    if at.as_text().is_some() || at.is_null() {
        return Err(at.wrong("`warning` and `critical` with ratios, or `off`"));
    }
    // Not over the built-in one: a warning that the user left out is not wanted.
    let ratios = Fields::open(Some(at.clone()), None, &["warning", "critical"])?;
    let ratio = |key| ratios.own(key).map(|at| at.number(1.0)).transpose();
    let threshold = Threshold {
        warning: ratio("warning")?,
        critical: ratio("critical")?,
    };
    match threshold {
        Threshold {
            warning: None,
            critical: None,
        } => Err(at
            .refuse("has neither `warning` nor `critical`")
            .with_hint("Write `off` for no alert.")),
        Threshold {
            warning: Some(warning),
            critical: Some(critical),
        } if warning >= critical => Err(at.refuse(format_args!(
            "the warning at {warning} must come before the critical alert at {critical}"
        ))),
        _ => Ok(threshold),
    }
}

fn backup_overdue_hours(fields: &Fields<'_>, key: &'static str) -> Result<BTreeMap<String, u32>> {
    let at = fields.get(key)?;
    match at.as_text() {
        Some("off") => return Ok(BTreeMap::new()),
        Some(_) => return Err(at.wrong("types of backups with hours, or `off`")),
        None => {}
    }
    let hours = |(name, at): (&str, At<'_>)| Ok((name.to_owned(), at.whole(1..=HOURS_MAX)?));
    at.entries(names::metric)?.into_iter().map(hours).collect()
}

/// What an alert itself is told by.
const OWN_LABELS: [&str; 6] = ["alertname", "severity", "database", "tenant_id", "object", "error_type"];

fn labels(fields: &Fields<'_>, key: &'static str) -> Result<BTreeMap<String, String>> {
    let label = |(name, at): (&str, At<'_>)| {
        if OWN_LABELS.contains(&name) {
            return Err(at
                .refuse("is a label that alerts have by themselves")
                .with_hint("Choose another name, such as `cluster`."));
        }
        Ok((name.to_owned(), at.setting()?.to_owned()))
    };
    fields
        .get(key)?
        .entries(names::metric)?
        .into_iter()
        .map(label)
        .collect()
}

fn choice<T: Copy>(at: &At<'_>, text: &str, choices: &[(&str, T)]) -> Result<T> {
    choices
        .iter()
        .find(|(name, _)| *name == text)
        .map(|(_, value)| *value)
        .ok_or_else(|| {
            let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
            at.wrong(format_args!("one of {}", names.join(", ")))
                .with_hint(did_you_mean(text, "Valid values", &names))
        })
}

fn pool_mode(fields: &Fields<'_>, key: &'static str) -> Result<PoolMode> {
    let at = fields.get(key)?;
    let all = [PoolMode::Session, PoolMode::Transaction, PoolMode::Statement];
    choice(&at, at.line()?, &all.map(|mode| (mode.as_str(), mode)))
}

fn pool_sizes(fields: &Fields<'_>, key: &'static str) -> Result<BTreeMap<String, u32>> {
    let size = |(name, at): (&str, At<'_>)| Ok((name.to_owned(), at.whole(1..=CONNECTIONS_MAX)?));
    fields.get(key)?.entries(names::tier)?.into_iter().map(size).collect()
}

/// The form alone: which names there are, and which of them are safe, depends on PgBouncer's version.
fn pooler_settings(fields: &Fields<'_>, key: &'static str) -> Result<BTreeMap<String, String>> {
    let setting = |(name, at): (&str, At<'_>)| {
        let value = match at.as_text() {
            // Many are switched off by an empty value.
            Some(text) if text.trim().is_empty() => "",
            _ => match at.setting()? {
                // PgBouncer's switches are numbers, and it does not start over anything else.
                "on" => "1",
                "off" => "0",
                value => value,
            },
        };
        Ok((name.to_owned(), value.to_owned()))
    };
    fields
        .get(key)?
        .entries(names::setting)?
        .into_iter()
        .map(setting)
        .collect()
}

fn server_side_encryption(fields: &Fields<'_>, key: &'static str) -> Result<Option<ServerSideEncryption>> {
    let at = fields.get(key)?;
    let all = [ServerSideEncryption::Aes256, ServerSideEncryption::AwsKms];
    at.optional_line()?
        .map(|text| choice(&at, text, &all.map(|sse| (sse.as_str(), sse))))
        .transpose()
}

/// The form alone: makes of S3 other than Amazon's have classes of their own.
fn storage_class(fields: &Fields<'_>, key: &'static str) -> Result<Option<String>> {
    let at = fields.get(key)?;
    match at.optional_line()? {
        Some(text)
            if !text
                .bytes()
                .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || matches!(b, b'_' | b'-')) =>
        {
            Err(at
                .wrong("a storage class in capitals")
                .with_hint("Such as STANDARD, STANDARD_IA, ONEZONE_IA, INTELLIGENT_TIERING or GLACIER_IR."))
        }
        class => Ok(class.map(str::to_owned)),
    }
}

fn suppressions(fields: &Fields<'_>, key: &'static str) -> Result<Vec<Suppression>> {
    let suppression = |at: At<'_>| {
        let keys = &["check", "tenant", "object", "reason", "expires"];
        let own = Fields::open(Some(at.clone()), None, keys)?;
        let optional = |key| own.filled(key).map(|at| at.line().map(|text| (text, at))).transpose();
        let expires = own.get("expires").map_err(|e| {
            e.with_hint("A suppression ends on a day, so that somebody looks again; write it as YYYY-MM-DD.")
        })?;
        let tenant = optional("tenant")?.map(|(text, at)| {
            let refused = |_| {
                at.wrong("a tenant id")
                    .with_hint("Leave the key out where it holds for all tenants.")
            };
            text.parse::<TenantId>().map_err(refused)
        });
        let text = |key| own.get(key)?.line().map(str::to_owned);
        Ok(Suppression {
            check: text("check")?,
            tenant: tenant.transpose()?,
            object: optional("object")?.map(|(text, _)| text.to_owned()),
            reason: own
                .get("reason")
                .map_err(|e| e.with_hint("Whoever reads the report has to know why this finding is acceptable."))?
                .line()?
                .to_owned(),
            expires: Date::parse(expires.line()?).ok_or_else(|| expires.wrong("a day such as 2026-12-31"))?,
            place: at.place(),
        })
    };
    fields.get(key)?.list()?.into_iter().map(suppression).collect()
}

fn age_recipients(fields: &Fields<'_>, key: &'static str) -> Result<Vec<String>> {
    let recipient = |at: At<'_>| {
        let text = at.line()?;
        let age = text
            .strip_prefix("age1")
            .is_some_and(|rest| rest.len() >= 50 && rest.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit()));
        let ssh = ["ssh-ed25519 ", "ssh-rsa "]
            .iter()
            .any(|kind| text.starts_with(kind) && text.len() > kind.len() + 40);
        if age || ssh {
            return Ok(text.to_owned());
        }
        if text.to_ascii_uppercase().starts_with("AGE-SECRET-KEY") {
            return Err(at.refuse("is a private key").with_hint(
                "Put the public key here, which starts with age1; `age-keygen -y` prints it. Consider the private one exposed.",
            ));
        }
        Err(at
            .refuse("expected a public key")
            .with_hint("It is `age1...`, `ssh-ed25519 ...` or `ssh-rsa ...`, in full."))
    };
    fields.get(key)?.list()?.into_iter().map(recipient).collect()
}

fn settings(fields: &Fields<'_>, key: &'static str) -> Result<BTreeMap<String, String>> {
    let setting = |(name, at): (&str, At<'_>)| {
        if name == "checkpoint_segments" {
            return Err(at
                .refuse("PostgreSQL has no such setting since 9.5")
                .with_hint("Set max_wal_size instead: 3 x checkpoint_segments x 16 MB."));
        }
        let value = at.setting()?;
        let unit = value
            .trim_start_matches(|c: char| c.is_ascii_digit() || c == '.')
            .trim_start();
        const UNITS: [&str; 11] = ["B", "kB", "MB", "GB", "TB", "us", "ms", "s", "min", "h", "d"];
        // PostgreSQL tells 32GB from 32gb and refuses the latter.
        match UNITS
            .iter()
            .find(|known| unit.len() < value.len() && known.eq_ignore_ascii_case(unit))
        {
            Some(known) if *known != unit => Err(at.refuse(format_args!("unknown unit {unit:?}")).with_hint(format!(
                "PostgreSQL writes it {known:?}. Its units: {}.",
                UNITS.join(", ")
            ))),
            _ => Ok((name.to_owned(), value.to_owned())),
        }
    };
    fields
        .get(key)?
        .entries(names::setting)?
        .into_iter()
        .map(setting)
        .collect()
}

fn business_queries(fields: &Fields<'_>, key: &'static str) -> Result<Vec<BusinessQuery>> {
    let query = |(name, at): (&str, At<'_>)| {
        let Some(sql) = at.as_text().map(str::trim) else {
            return Err(at.wrong("a SELECT"));
        };
        let sql = sql.strip_suffix(';').unwrap_or(sql).trim_end();
        let verb = sql.split(|c: char| !c.is_ascii_alphabetic()).next().unwrap_or_default();
        if !["select", "with"].contains(&verb.to_ascii_lowercase().as_str()) {
            return Err(at.wrong("a query that starts with SELECT or WITH"));
        }
        if sql.contains([';', '\0']) {
            return Err(at
                .refuse("must be one statement")
                .with_hint("Write one query for each figure, without ';'."));
        }
        Ok(BusinessQuery {
            name: name.to_owned(),
            sql: sql.to_owned(),
        })
    };
    fields
        .get(key)?
        .entries(names::metric)?
        .into_iter()
        .map(query)
        .collect()
}
