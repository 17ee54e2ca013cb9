//! `metrics report`: a page with all figures.

use crate::cli::MetricsReportArgs;
use crate::commands::{Context, Status};
use crate::error::{Error, ErrorKind, Result};

/// Runs the command.
///
/// # Errors
/// When the database cannot be measured, or the file cannot be written.
pub async fn run(_ctx: &Context<'_>, _args: &MetricsReportArgs) -> Result<Status> {
    Err(Error::new(ErrorKind::Unsupported, "not built yet"))
}
