//! `metrics report`: a page with all figures.

use std::path::PathBuf;

use serde::Serialize;

use super::{Scope, judge, measure};
use crate::cli::MetricsReportArgs;
use crate::commands::page::Target;
use crate::commands::{Context, Status};
use crate::error::Result;
use crate::metrics::report;
use crate::ui::{Render, Ui, bytes, count};

/// What was written.
#[derive(Debug, Serialize)]
struct Written {
    file: PathBuf,
    bytes: usize,
    tenants: usize,
    alerts: usize,
}

impl Render for Written {
    fn text(&self, _: &Ui) -> String {
        format!(
            "wrote {}: {}, {}, {}",
            self.file.display(),
            bytes(self.bytes as u64),
            count(self.tenants, "tenant"),
            count(self.alerts, "alert")
        )
    }
}

/// Runs the command. Alerts are on the page, and no failure.
///
/// # Errors
/// When the database cannot be measured, or the file cannot be written.
pub async fn run(ctx: &Context<'_>, args: &MetricsReportArgs) -> Result<Status> {
    let scope = Scope::or_all(&args.measure)?;
    let target = Target::of(&args.html, "--html", "tenants.html")?;
    let (session, tenants) = scope.open(ctx, false).await?;
    let mut fleet = measure(ctx, &args.measure, &scope, &session, &tenants).await?;
    // Whom nobody is told of, nobody needs to know whether they have ended.
    let _ = judge(ctx, &mut fleet, &scope);
    let page = report::html(&fleet);
    let length = page.len();
    target.write_or_stop(page.into_bytes(), ctx.interrupt).await?;
    ctx.ui.result(&Written {
        file: args.html.clone(),
        bytes: length,
        tenants: fleet.tenants.len(),
        alerts: fleet.alerts.len(),
    })?;
    Ok(Status::Done)
}
