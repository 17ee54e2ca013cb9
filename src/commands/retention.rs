//! `retention`: drops what a tier keeps no longer.

use super::{Context, Status};
use crate::cli::RetentionArgs;
use crate::error::{Error, ErrorKind, Result};

/// Runs the command.
///
/// # Errors
/// Always, until it is written.
pub async fn run(_ctx: &Context<'_>, _args: &RetentionArgs) -> Result<Status> {
    Err(Error::new(ErrorKind::Unsupported, "retention is not written yet"))
}
