//! `metrics` and its subcommands.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::path_or_nothing;

/// Arguments of `metrics`.
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct MetricsArgs {
    /// What else can be done with metrics.
    #[command(subcommand)]
    pub command: Option<MetricsCommand>,
    /// What is measured.
    #[command(flatten)]
    pub show: MetricsShowArgs,
}

/// Which tenants, and how they are measured.
#[derive(Clone, Debug, Args)]
pub struct MeasureArgs {
    /// Tenant ids
    #[arg(value_name = "TENANT", conflicts_with_all = ["all", "tier"])]
    pub tenants: Vec<String>,
    /// All tenants of this database, and the database's own alerts
    #[arg(short, long)]
    pub all: bool,
    /// Only tenants of this tier
    #[arg(short, long, value_name = "TIER")]
    pub tier: Option<String>,
    /// How sizes are found out
    #[arg(long, value_enum, value_name = "HOW", default_value_t = SizesArg::Exact)]
    pub sizes: SizesArg,
    /// Leave the business queries of the configuration out; they take a round trip a tenant
    #[arg(long)]
    pub no_business: bool,
    /// Sessions that read at the same time
    #[arg(short, long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub jobs: u16,
}

/// How sizes are found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SizesArg {
    /// From the files themselves
    Exact,
    /// From what the last VACUUM or ANALYZE has written down: faster, and as old as that
    Estimate,
}

/// Arguments of `metrics` without a subcommand.
#[derive(Debug, Args)]
pub struct MetricsShowArgs {
    /// Which tenants.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// Order of the tenants in the text, largest first; usage is that of the fullest limit
    #[arg(long, value_enum, value_name = "KEY", default_value_t = MetricsSort::Usage)]
    pub sort: MetricsSort,
    /// Show only so many tenants of that order in the text
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub top: Option<u32>,
    /// Show only tenants with an alert in the text
    #[arg(long)]
    pub alerting: bool,
    /// Measure again every so many seconds and show it in place, until Ctrl-C
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "5",
          value_parser = clap::value_parser!(u32).range(1..=3600), conflicts_with_all = ["enforce", "cached"])]
    pub watch: Option<u32>,
    /// Read what an earlier run has left in Redis instead of measuring, and say how old it is
    #[arg(long, conflicts_with = "enforce")]
    pub cached: bool,
    /// Freeze writes of tenants that have reached the size of their tier, and thaw those that are below 90 % of it
    ///
    /// A frozen tenant reads and deletes; it neither inserts nor updates. Sizes are measured exactly for this.
    #[arg(long)]
    pub enforce: bool,
    /// With --enforce: print the SQL instead of running it
    #[arg(long, requires = "enforce")]
    pub dry_run: bool,
    /// Send no alerts; they are shown and exit with 1 all the same
    #[arg(long)]
    pub no_notify: bool,
}

/// What tenants are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MetricsSort {
    /// Usage of the fullest limit
    Usage,
    /// Bytes
    Size,
    /// Sessions
    Connections,
    /// Rows
    Rows,
    /// Time since the last backup
    Backup,
    /// Tenant id, from A on
    Id,
}

/// Subcommands of `metrics`.
#[derive(Debug, Subcommand)]
pub enum MetricsCommand {
    /// Serve the metrics to Prometheus, until Ctrl-C
    ///
    /// GET /metrics, /healthz and /readyz. However many scrape, it measures once; a database that is slow or away makes
    /// samples old, which they say, and no scrape fails.
    Serve(MetricsServeArgs),
    /// Print alerting rules for Prometheus
    Rules,
    /// Print a dashboard for Grafana
    Dashboard,
    /// Write a page with all figures, for a browser without a network
    ///
    /// Nothing is sent and nothing frozen; alerts are on the page, and no failure. `#sort=size` in its address sorts it by
    /// size, `#alerts=1` leaves tenants without an alert out.
    Report(MetricsReportArgs),
}

impl MetricsCommand {
    /// The name as typed.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Serve(_) => "serve",
            Self::Rules => "rules",
            Self::Dashboard => "dashboard",
            Self::Report(_) => "report",
        }
    }
}

/// Arguments of `metrics serve`.
#[derive(Debug, Args)]
pub struct MetricsServeArgs {
    /// Address and port to listen at; :9187 is all addresses
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:9187")]
    pub listen: String,
    /// Tenants that get the histogram of query durations; the others' is one together, as tenant_id=""
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(0..=100_000))]
    pub max_tenants_detailed: u32,
    /// How sizes are found out
    #[arg(long, value_enum, value_name = "HOW", default_value_t = SizesArg::Exact)]
    pub sizes: SizesArg,
    /// Seconds for which sizes are good
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub sizes_every: u32,
    /// Seconds for which all else is good: scrapes in between get the same samples
    #[arg(long, value_name = "SECONDS", default_value_t = 5, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub every: u32,
    /// Seconds that a scrape waits at most for a measurement before it takes the samples of the one before
    #[arg(long, value_name = "SECONDS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(0..=300))]
    pub wait: u32,
    /// Seconds for which business metrics are good; 0 leaves the queries out
    #[arg(long, value_name = "SECONDS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=86_400))]
    pub business_every: u32,
    /// Sessions that read at the same time
    #[arg(short, long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u16).range(1..=100))]
    pub jobs: u16,
    /// Send no alerts; they are exposed all the same
    #[arg(long)]
    pub no_notify: bool,
}

/// Arguments of `metrics report`.
#[derive(Debug, Args)]
pub struct MetricsReportArgs {
    /// Which tenants; all without a choice.
    #[command(flatten)]
    pub measure: MeasureArgs,
    /// The file; it is there whole or as it was
    #[arg(long, value_name = "FILE", value_parser = path_or_nothing())]
    pub html: PathBuf,
}
