//! The policy: `tenant_templates.yaml`.
//!
//! A file holds what differs from the built-in one. A key that it lacks has the built-in value; lists and mappings
//! whose keys the user names (tiers, modules, settings, queries) are replaced as a whole. Errors name file, line and
//! column, the keys that lead there, and the nearest valid name.

mod builtin;
mod date;
mod document;
mod names;
mod policy;
mod read;
mod syntax;
mod template;
#[cfg(test)]
mod tests;
mod url;

use std::path::Path;

use crate::error::{Error, Result};
use crate::tenant::{Template, Tier, TimeSeries};
use document::{Document, Fields, did_you_mean};

pub use date::Date;
pub use document::nearest;
pub use policy::{
    AlertPolicy, AuditPolicy, BackupPolicy, BackupTargets, BusinessQuery, ClusterPolicy, ConcurrencyTargets,
    CredentialsPolicy, HardeningPolicy, MetricsPolicy, PerformanceTargets, PoolMode, PoolerDatabase, PoolerPolicy,
    ProvisioningPolicy, QueryTargets, ResourceTargets, RetentionPolicy, SchemaCreationTargets, ServerSideEncryption,
    Suppression, Threshold, ValidatePolicy,
};
pub use template::{ModulePolicy, TemplatePolicy};

/// Where the policy is looked for when no file is named, in this order.
pub const DEFAULT_FILES: [&str; 2] = ["tenant_templates.yaml", "/etc/tenantctl/tenant_templates.yaml"];

/// The name of the built-in policy in messages.
const BUILT_IN: &str = "built-in tenant_templates.yaml";

/// Everything that is policy; valid as a whole.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The file it was read from, for messages.
    pub source: String,
    /// The tiers in the order of the file; at least one.
    pub tiers: Vec<Tier>,
    /// What a tenant is made of.
    pub template: TemplatePolicy,
    /// How tenants are made.
    pub provisioning: ProvisioningPolicy,
    /// What the tenants' audit logs hold.
    pub audit: AuditPolicy,
    /// Which lines of the hardening standard are not wanted.
    pub hardening: HardeningPolicy,
    /// Whom passwords are stored for.
    pub credentials: CredentialsPolicy,
    /// How long backups are kept.
    pub retention_days: RetentionPolicy,
    /// When limits raise alerts.
    pub alerts: AlertPolicy,
    /// How backups are written.
    pub backup: BackupPolicy,
    /// What the cluster should be like.
    pub cluster: ClusterPolicy,
    /// The connection pooler.
    pub pgbouncer: PoolerPolicy,
    /// What is measured.
    pub metrics: MetricsPolicy,
    /// What the proof of isolation may pass over.
    pub validate: ValidatePolicy,
    /// What `bench` compares with.
    pub performance_targets: PerformanceTargets,
}

impl Config {
    /// Reads the policy from this file, else from the first of [`DEFAULT_FILES`] that exists, else the built-in one.
    ///
    /// # Errors
    /// Kind `config`: the file cannot be read, or something in it is wrong. A default file that exists but cannot be
    /// read is an error too, lest another policy be taken for it.
    pub fn load(path: Option<&Path>) -> Result<Self> {
        Self::load_from(path, &DEFAULT_FILES.map(Path::new))
    }

    fn load_from(path: Option<&Path>, defaults: &[&Path]) -> Result<Self> {
        // An empty TENANTCTL_CONFIG counts as none. A dangling link counts as a file.
        let named = path.filter(|path| !path.as_os_str().is_empty());
        let found = || {
            defaults
                .iter()
                .copied()
                .find(|path| !matches!(path.symlink_metadata(), Err(e) if is_absent(&e)))
        };
        let Some(path) = named.or_else(found) else {
            return Self::builtin();
        };
        let hint = match named {
            Some(_) => "--config or TENANTCTL_CONFIG names this file.",
            None => "This file is read because it is there; --config or TENANTCTL_CONFIG names another.",
        };
        let text = read::text(path, syntax::FILE_MAX_BYTES, hint)?;
        Self::parse(
            &text,
            &path.display().to_string(),
            path.parent().unwrap_or(Path::new("")),
        )
    }

    /// Reads the policy from text; `base_dir` is what `template.directory` is relative to.
    ///
    /// A file without `templates` has the built-in tiers.
    ///
    /// # Errors
    /// Kind `config`, with `source`, line and column.
    pub fn parse(text: &str, source: &str, base_dir: &Path) -> Result<Self> {
        let own = Document::parse(text, source)?;
        let base = Document::parse(builtin::POLICY, BUILT_IN)?;
        Self::decode(&own, Some(&base), source, base_dir)
    }

    /// The file it was read from; none for the built-in one.
    pub fn file(&self) -> Option<&Path> {
        (self.source != BUILT_IN).then(|| Path::new(&self.source))
    }

    /// The policy that is compiled in.
    ///
    /// # Errors
    /// None in a released binary: a test reads it.
    pub fn builtin() -> Result<Self> {
        Self::decode(
            &Document::parse(builtin::POLICY, BUILT_IN)?,
            None,
            BUILT_IN,
            Path::new(""),
        )
    }

    fn decode(own: &Document, base: Option<&Document>, source: &str, base_dir: &Path) -> Result<Self> {
        let keys = &[
            "templates",
            "template",
            "provisioning",
            "audit",
            "hardening",
            "credentials",
            "retention_days",
            "alerts",
            "backup",
            "cluster",
            "pgbouncer",
            "metrics",
            "validate",
            "performance_targets",
        ];
        let fields = Fields::open(Some(own.root()), base.map(Document::root), keys)?;
        let template = TemplatePolicy::decode(&fields, base_dir)?;
        let tiers = template::tiers(&fields, &template)?;
        Ok(Self {
            source: source.to_owned(),
            provisioning: ProvisioningPolicy::decode(&fields, &tiers)?,
            tiers,
            audit: AuditPolicy::decode(&fields, &template)?,
            hardening: HardeningPolicy::decode(&fields)?,
            template,
            credentials: CredentialsPolicy::decode(&fields, "credentials")?,
            retention_days: RetentionPolicy::decode(&fields, "retention_days")?,
            alerts: AlertPolicy::decode(&fields, "alerts")?,
            backup: BackupPolicy::decode(&fields, "backup")?,
            cluster: ClusterPolicy::decode(&fields, "cluster")?,
            pgbouncer: PoolerPolicy::decode(&fields, "pgbouncer")?,
            metrics: MetricsPolicy::decode(&fields, "metrics")?,
            validate: ValidatePolicy::decode(&fields, "validate")?,
            performance_targets: PerformanceTargets::decode(&fields, "performance_targets")?,
        })
    }

    /// A tier by its key.
    ///
    /// # Errors
    /// Kind `config`, with the nearest key, when there is none.
    pub fn tier(&self, key: &str) -> Result<&Tier> {
        self.tiers.iter().find(|tier| tier.key == key).ok_or_else(|| {
            let keys: Vec<&str> = self.tiers.iter().map(|tier| tier.key.as_str()).collect();
            Error::config(format!("no tier {} in {}", document::quoted(key), self.source))
                .with_hint(did_you_mean(key, "Tiers", &keys))
        })
    }

    /// What a hypertable of the template is to be like for tenants of a tier: the tier's word, else the template's. None: it is no
    /// hypertable of the template. Of a tier that the configuration does not have, the template's word holds.
    pub fn time_series(&self, tier: &str, table: &str) -> Option<TimeSeries> {
        let of_template = self.template.hypertables.iter().find(|h| h.table == table)?;
        let own = self
            .tiers
            .iter()
            .find(|t| t.key == tier)
            .and_then(|t| t.hypertables.get(table));
        let own = own.cloned().unwrap_or_default();
        Some(TimeSeries {
            chunk_interval: own.chunk_interval.or_else(|| Some(of_template.chunk_interval.clone())),
            retention: own.retention.or_else(|| self.template.retention.get(table).cloned()),
        })
    }

    /// The template with the texts of its modules, read now.
    ///
    /// # Errors
    /// Kind `config`, naming the file, when a module of the user's cannot be read.
    pub fn template(&self) -> Result<Template> {
        self.template.load()
    }
}

fn is_absent(error: &std::io::Error) -> bool {
    matches!(
        error.kind(),
        std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory
    )
}
