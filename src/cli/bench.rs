//! `bench`.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::path_or_nothing;

/// A suite of measurements.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub enum BenchSuite {
    /// Schema creation, one by one and many at once, beside the same DDL sent raw
    Provisioning,
    /// Queries of one tenant with a million trades, as the tenant itself
    Queries,
    /// What a schema, a connection and indexes take
    Resources,
    /// Backup and restore of one tenant, beside pg_dump and pg_restore on the same data
    Backup,
    /// Metrics of many tenants, beside plain queries and, where it is installed, prometheus-postgres-exporter
    Metrics,
    /// Inserts with and without the audit log
    Audit,
    /// Inserts with and without counted limits
    Limits,
    /// Provisioning, validate, metrics and the backup of one tenant at growing numbers of tenants
    Scale,
}

/// Arguments of `bench`.
#[derive(Clone, Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["suites", "all"])))]
pub struct BenchArgs {
    /// What to measure
    #[arg(value_enum, value_name = "SUITE")]
    pub suites: Vec<BenchSuite>,
    /// All suites, one after the other
    #[arg(short, long)]
    pub all: bool,
    /// Compare with the JSON of an earlier run; exits with 1 where a figure is worse beyond --noise
    #[arg(long, value_name = "FILE", value_parser = path_or_nothing())]
    pub baseline: Option<PathBuf>,
    /// Per cent by which a figure may differ from the baseline for no reason [default: 25]
    #[arg(long, value_name = "PERCENT", requires = "baseline", value_parser = clap::value_parser!(u16).range(0..=1000))]
    pub noise: Option<u16>,
    /// Also write one self-contained page for a browser
    #[arg(long, value_name = "FILE", value_parser = path_or_nothing())]
    pub report: Option<PathBuf>,
    /// Remember the figures in the registry of this database, for `validate --post-deploy`
    #[arg(long)]
    pub record: bool,
    /// Measure though the cluster holds tenants, who will notice the load
    #[arg(long)]
    pub beside_tenants: bool,
    /// Sessions at the same time; of queries the most clients [default: provisioning 20, queries 16, metrics and scale 4,
    /// backup what backup.jobs says]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub jobs: Option<u16>,
    /// Rounds, each with every contender in turn; the median counts. One of backup has three backups by tenantctl and by the
    /// quick one of the others [default: backup 1, metrics and scale 3, resources 20, queries, audit and limits 40]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub rounds: Option<u32>,
    /// Measure when the database holds this many tenants; may be given more than once [default: metrics 100 and 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub at: Vec<u32>,
    /// provisioning: tenants made one by one, each beside one made by raw DDL [default: 50]
    #[arg(long, value_name = "N", help_heading = "Options of single suites", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub count: Option<u32>,
    /// provisioning: tenants made at once [default: 100]
    #[arg(long, value_name = "N", help_heading = "Options of single suites", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub concurrent: Option<u32>,
    /// provisioning: tier of the tenants [default: enterprise]
    #[arg(long, value_name = "TIER", help_heading = "Options of single suites")]
    pub tier: Option<String>,
    /// queries, resources: trades of the tenant [default: 1000000]
    #[arg(long, value_name = "N", help_heading = "Options of single suites", value_parser = clap::value_parser!(u32).range(1_000..=1_000_000_000))]
    pub trades: Option<u32>,
    /// audit, limits: statements of one row on each of four tenants [default: 3000]
    #[arg(long, value_name = "N", help_heading = "Options of single suites", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub singles: Option<u32>,
    /// backup: size of the tenant in GiB of tables, without indexes; 0 leaves it out [default: 1]
    #[arg(long, value_name = "GIB", help_heading = "Options of single suites", value_parser = size_in_gib)]
    pub size: Option<f64>,
    /// backup: also measure small tenants: one among ten and among so many, and all of them at once, up to 1,000
    #[arg(long, value_name = "N", help_heading = "Options of single suites", value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub small: Option<u32>,
    /// backup: measure tenantctl alone; at 10 GiB, pg_dump at its highest compression takes half an hour
    #[arg(long, help_heading = "Options of single suites")]
    pub alone: bool,
    /// backup: folder for the backups of all contenders [default: the system's temporary folder]
    ///
    /// It needs room for about twice the size.
    #[arg(long, value_name = "DIR", help_heading = "Options of single suites", value_parser = path_or_nothing())]
    pub folder: Option<PathBuf>,
    /// metrics: leave prometheus-postgres-exporter out
    #[arg(long, help_heading = "Options of single suites")]
    pub no_postgres_exporter: bool,
    /// scale: the largest number of tenants, reached by factors of ten [default: 1000]
    #[arg(long, value_name = "N", help_heading = "Options of single suites", value_parser = clap::value_parser!(u32).range(10..=100_000))]
    pub to: Option<u32>,
}

fn size_in_gib(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(gib) if (0.0..=1000.0).contains(&gib) => Ok(gib),
        _ => Err("it must be a number from 0 to 1000".to_owned()),
    }
}
