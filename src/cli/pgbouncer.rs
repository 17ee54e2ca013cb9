//! `pgbouncer`.

use std::path::PathBuf;

use clap::Args;

use super::path_or_nothing;

/// Arguments of `pgbouncer`.
#[derive(Debug, Args)]
pub struct PgbouncerArgs {
    /// Write pgbouncer.ini and what it includes into this folder
    #[arg(long, value_name = "DIR", value_parser = path_or_nothing())]
    pub out: Option<PathBuf>,
    /// Make the pooler's role and the function in the registry with which it looks passwords up
    #[arg(long)]
    pub setup: bool,
    /// Give the pooler's role a new password, even where the one in userlist.txt fits
    #[arg(long, requires = "setup", requires = "out")]
    pub rotate: bool,
    /// Have a running PgBouncer read its configuration anew, through its admin console
    #[arg(long, requires = "out")]
    pub reload: bool,
    /// The admin console, as --database-url: a libpq URL or key=value pairs
    #[arg(long, value_name = "URL", env = "TENANTCTL_PGBOUNCER_URL", hide_env_values = true)]
    pub admin_url: Option<String>,
    /// The version to write for; else that of the running one with --reload, or of the one installed here
    #[arg(long, value_name = "VERSION")]
    pub pgbouncer_version: Option<String>,
    /// Print what would be done instead of doing it
    #[arg(long)]
    pub dry_run: bool,
}
