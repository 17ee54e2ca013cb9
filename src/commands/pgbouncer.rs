//! `pgbouncer`: writes PgBouncer's configuration.

use super::{Context, Status};
use crate::cli::PgbouncerArgs;
use crate::error::{Error, ErrorKind, Result};

/// Runs the command.
///
/// # Errors
/// Always, until it is written.
pub async fn run(_ctx: &Context<'_>, _args: &PgbouncerArgs) -> Result<Status> {
    Err(Error::new(ErrorKind::Unsupported, "pgbouncer is not written yet"))
}
