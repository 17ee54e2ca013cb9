//! `metrics`: what tenants use, as text, JSON or for Prometheus; alerts; freezing.

pub mod enforce;

use super::{Context, Status};
use crate::cli::MetricsArgs;
use crate::error::{Error, ErrorKind, Result};

/// Runs the command.
///
/// # Errors
/// When the database cannot be measured, or what was asked for does not exist.
pub async fn run(_ctx: &Context<'_>, _args: &MetricsArgs) -> Result<Status> {
    Err(Error::new(ErrorKind::Unsupported, "not built yet"))
}
