//! `restore`: a tenant from a backup.

use super::{Context, Status};
use crate::cli::RestoreArgs;
use crate::error::Result;

/// Runs the command.
///
/// # Errors
/// Whatever kept the tenant from being restored; it is as it was then.
pub async fn run(_ctx: &Context<'_>, _args: &RestoreArgs) -> Result<Status> {
    todo!()
}
