//! `retention`.

use clap::Args;

/// Arguments of `retention`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["tenants", "all"])))]
pub struct RetentionArgs {
    /// Tenant ids
    #[arg(value_name = "TENANT")]
    pub tenants: Vec<String>,
    /// All tenants of this database
    #[arg(short, long)]
    pub all: bool,
    /// Of all tenants only those of this tier
    #[arg(short, long, value_name = "TIER", conflicts_with = "tenants")]
    pub tier: Option<String>,
    /// Tenants worked on at the same time [default: provisioning.jobs]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub jobs: Option<u16>,
    /// Print what would be dropped instead of dropping it
    #[arg(long)]
    pub dry_run: bool,
}
