//! `validate --preflight` and `validate --post-deploy`.

use crate::cli::ValidateArgs;
use crate::commands::{Context, Status};
use crate::error::{Error, ErrorKind, Result};

/// Runs the checklist.
///
/// # Errors
/// Always, until it is written.
pub async fn run(_ctx: &Context<'_>, _args: &ValidateArgs) -> Result<Status> {
    Err(Error::new(ErrorKind::Unsupported, "the checklist is not written yet"))
}
