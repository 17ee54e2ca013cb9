//! `validate`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

/// Arguments of `validate`.
#[derive(Debug, Args)]
pub struct ValidateArgs {
    /// Tenant ids
    #[arg(value_name = "TENANT", conflicts_with = "all")]
    pub tenants: Vec<String>,
    /// All tenants of this database
    #[arg(short, long)]
    pub all: bool,
    /// With --all: only tenants of this tier
    #[arg(short, long, value_name = "TIER", requires = "all")]
    pub tier: Option<String>,
    /// Also become each tenant and try what no tenant should be able to do
    ///
    /// Each tenant reads, writes, locks, creates, takes roles and more, against its neighbours: all of them up to 50
    /// tenants, in a ring beyond. Everything is rolled back at once. Makes a temporary role a tenant, which logs in and
    /// is dropped; needs a primary.
    #[arg(long)]
    pub probe: bool,
    /// With --probe: take the tenant's role by SET ROLE in the admin's session instead of logging in
    #[arg(long, requires = "probe")]
    pub as_role: bool,
    /// Run only these checks: ids, separated by commas
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    pub check: Vec<String>,
    /// Run all but these checks; the report names them
    #[arg(long, value_name = "CHECK", value_delimiter = ',')]
    pub skip: Vec<String>,
    /// Fail also when a check could not be run
    #[arg(long)]
    pub strict: bool,
    /// Fail on findings of this severity and above
    #[arg(long, value_enum, default_value_t = FailOn::High, value_name = "SEVERITY")]
    pub fail_on: FailOn,
    /// Form of the report [default: what --output says]
    #[arg(short, long, value_enum, value_name = "FORMAT")]
    pub format: Option<ReportFormat>,
    /// Write the report to this file, and text to stdout
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Checks run, and tenants probed, at the same time; a check takes one connection, a probed tenant two
    #[arg(short, long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=64))]
    pub jobs: u16,
    /// Seconds that one check may take; one that takes longer is UNKNOWN
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub check_timeout: u32,
    /// List the checks; with --preflight or --post-deploy, theirs
    #[arg(long, conflicts_with_all = ["tenants", "all"])]
    pub list: bool,
    /// Tell what a check looks for and why
    #[arg(long, value_name = "CHECK", conflicts_with_all = ["tenants", "all", "list"])]
    pub explain: Option<String>,
    /// Check the cluster against the deployment checklist instead of the tenants' isolation
    ///
    /// Server, settings, TimescaleDB, PgBouncer, replicas, store, receiver of alerts, cache, and whether locks, connections,
    /// memory, chunks and disk suffice for the tenants there are. Writes nothing but a probe into the store and the cache.
    #[arg(long, conflicts_with_all = ["tenants", "all", "probe", "fail_on"])]
    pub preflight: bool,
    /// Check what must hold once tenants are served: provisioning times, isolation, backups, alerts, baseline
    ///
    /// Makes a tenant in a transaction that is rolled back, probes the tenants as --probe does, and posts a test alert.
    #[arg(long, conflicts_with_all = ["tenants", "all", "probe", "fail_on", "preflight"])]
    pub post_deploy: bool,
    /// With --preflight: print a postgresql.conf fragment of what should be set otherwise, and check nothing else
    #[arg(long, requires = "preflight", conflicts_with_all = ["check", "skip", "list", "explain"])]
    pub print_config: bool,
    /// With --preflight: memory of the server's machine, such as 64GB [default: this machine's, if the server runs here]
    #[arg(long, value_name = "SIZE", requires = "preflight")]
    pub memory: Option<String>,
    /// With --preflight: store of backups, file:///folder or s3://bucket/prefix [default: backup.store]
    #[arg(long, value_name = "URL", env = "TENANTCTL_STORE")]
    pub store: Option<String>,
    /// With --preflight: the admin console of PgBouncer, as --database-url
    #[arg(long, value_name = "URL", env = "TENANTCTL_PGBOUNCER_URL", hide_env_values = true)]
    pub pooler_url: Option<String>,
}

/// The severity from which on findings fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FailOn {
    /// A tenant can read or change another's data, or run code as somebody else
    Critical,
    /// A tenant can harm or exhaust others, or a whole line of defence is gone
    High,
    /// Weakens a line of defence that others still hold
    Medium,
    /// Any finding
    Low,
    /// No finding
    Never,
}

/// Form of the report of `validate`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people
    Text,
    /// For programs; fields are added, never renamed
    Json,
    /// JUnit XML, a test case a check
    Junit,
    /// SARIF 2.1.0
    Sarif,
}
