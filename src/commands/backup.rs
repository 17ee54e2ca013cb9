//! `backup`: backups of tenants, and what can be done with them.

use super::{Context, Status};
use crate::cli::{BackupArgs, BackupCommand};
use crate::error::Result;

/// Runs the command.
///
/// # Errors
/// Whatever is wrong before the first tenant is tried.
pub async fn run(_ctx: &Context<'_>, args: &BackupArgs) -> Result<Status> {
    match &args.command {
        None => todo!(),
        Some(BackupCommand::List(_)) => todo!(),
        Some(BackupCommand::Verify(_)) => todo!(),
        Some(BackupCommand::Prune(_)) => todo!(),
    }
}
