//! `validate --preflight` and `validate --post-deploy`: the deployment checklist.

use std::io::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{to_file, wrapped};
use crate::cli::{OutputFormat, ReportFormat, ValidateArgs};
use crate::commands::{Context, Status, provision};
use crate::credentials::vault::Recipients;
use crate::error::{Error, Result};
use crate::preflight::checklist::{self, Check, Stage};
use crate::preflight::fragment::{Fragment, fragment};
use crate::preflight::observe::Observed;
use crate::preflight::run::Checklist;
use crate::preflight::units::{self, Quantity};
use crate::preflight::{Report, Skipped, Verdict, capacity, junit};
use crate::ui::table::Grid;
use crate::ui::{JsonOut, Render, Ui, printable};

fn stage(args: &ValidateArgs) -> Stage {
    if args.preflight {
        Stage::Preflight
    } else {
        Stage::PostDeploy
    }
}

/// Runs the checklist.
///
/// # Errors
/// Whatever is wrong before the first check: an id that does not exist, a server that does not answer, and for
/// `--post-deploy` a database without a registry.
pub async fn run(ctx: &Context<'_>, args: &ValidateArgs) -> Result<Status> {
    let (checks, skipped) = chosen(args)?;
    let memory = args.memory.as_deref().map(memory).transpose()?;
    let format = format(ctx.ui, args)?;
    if args.print_config {
        return print_config(ctx, memory).await;
    }
    let started = Instant::now();
    let settings = &ctx.settings;
    let wants_tenants = checks.iter().any(|check| check.id == checklist::PROVISIONING.id);
    let provisioner = match stage(args) {
        Stage::Preflight => None,
        Stage::PostDeploy => {
            let session = settings.registry(false).await?;
            if wants_tenants {
                Some(provision::provisioner(ctx, &session, &Arc::new(Recipients::default())).await)
            } else {
                None
            }
        }
    };
    let (alert_url, redis_url) = (settings.alert_url(), settings.redis_url());
    let checklist = Checklist {
        connector: &settings.connector,
        config: &settings.config,
        store_url: args
            .store
            .as_deref()
            .filter(|url| !url.is_empty())
            .or(settings.config.backup.store.as_deref()),
        alert_url: alert_url.as_deref(),
        redis_url: redis_url.as_deref(),
        pooler_url: args.pooler_url.as_deref().filter(|url| !url.is_empty()),
        memory,
        provisioner,
        jobs: usize::from(args.jobs),
        timeout: Duration::from_secs(args.check_timeout.into()),
        interrupt: ctx.interrupt,
    };
    let progress = ctx.ui.progress(checks.len(), "checking");
    let result = checklist.run(&checks, || progress.tick()).await;
    progress.finish();
    let (seen, items) = result?;
    let report = Report::new(
        stage(args),
        &seen.server,
        items,
        skipped,
        args.strict,
        started.elapsed(),
    );
    tell(ctx.ui, args, format, &report)?;
    Ok(if report.passed { Status::Done } else { Status::Partly })
}

/// The checks to run, and those left out.
fn chosen(args: &ValidateArgs) -> Result<(Vec<&'static Check>, Vec<Skipped>)> {
    let stage = stage(args);
    let known = |ids: &[String]| {
        ids.iter()
            .map(|id| checklist::find(stage, id.trim()))
            .collect::<Result<Vec<_>>>()
    };
    let (only, skip) = (known(&args.check)?, known(&args.skip)?);
    let (mut checks, mut skipped) = (Vec::new(), Vec::new());
    for check in checklist::of(stage) {
        let reason = if skip.contains(&check) {
            "--skip"
        } else if !only.is_empty() && !only.contains(&check) {
            "not in --check"
        } else {
            checks.push(check);
            continue;
        };
        skipped.push(Skipped {
            check: check.id,
            reason,
        });
    }
    if checks.is_empty() {
        return Err(Error::usage("no check is left to run").with_hint("Name fewer checks with --skip."));
    }
    Ok((checks, skipped))
}

fn memory(text: &str) -> Result<u64> {
    match units::parse(text, Some("B")) {
        Some(Quantity::Bytes(bytes)) if bytes >= 1_048_576.0 => Ok(bytes as u64),
        _ => Err(
            Error::usage(format!("--memory: {text:?} is no size of a machine's memory"))
                .with_hint("Write it as PostgreSQL would: 64GB, 512MB."),
        ),
    }
}

fn format(ui: &Ui, args: &ValidateArgs) -> Result<ReportFormat> {
    let format = args.format.unwrap_or(match ui.output() {
        OutputFormat::Text | OutputFormat::Prometheus => ReportFormat::Text,
        OutputFormat::Json => ReportFormat::Json,
    });
    if format == ReportFormat::Sarif {
        return Err(Error::usage("the deployment checklist has no SARIF")
            .with_hint("Choose text, json or junit; SARIF is for findings of the proof of isolation."));
    }
    Ok(format)
}

/// The report where it is wanted.
fn tell(ui: &Ui, args: &ValidateArgs, format: ReportFormat, report: &Report) -> Result<()> {
    match &args.report {
        Some(path) => {
            ui.stream(|out| text(report, ui, out))?;
            to_file(path, |out| write(report, format, &ui.plain(), out))?;
        }
        None => ui.stream(|out| write(report, format, ui, out))?,
    }
    // Whoever sends the report to a program sees here how it went.
    if format != ReportFormat::Text && args.report.is_none() {
        for why in &report.why {
            ui.note(&format!("failed: {why}"));
        }
        ui.note(&report.summary());
    }
    Ok(())
}

fn write(report: &Report, format: ReportFormat, ui: &Ui, out: &mut dyn Write) -> std::io::Result<()> {
    match format {
        ReportFormat::Text => text(report, ui, out),
        ReportFormat::Json | ReportFormat::Sarif => {
            serde_json::to_writer_pretty(JsonOut(out), report)?;
            writeln!(out)
        }
        ReportFormat::Junit => junit::write(report, out),
    }
}

fn text(report: &Report, ui: &Ui, out: &mut dyn Write) -> std::io::Result<()> {
    for item in &report.checks {
        let word = format!("{:<7}", item.status.as_str());
        let word = match item.status {
            Verdict::Pass => ui.good(&word),
            Verdict::Warn | Verdict::Unknown => ui.caution(&word),
            Verdict::Fail => ui.bad(&word),
        };
        let object = item
            .object
            .as_ref()
            .map_or(String::new(), |object| format!("  {}", printable(object)));
        writeln!(out, "{word} {}{object}", ui.bold(item.check))?;
        writeln!(out, "          {}", printable(&item.detail))?;
        if let Some(remedy) = item.remedy.as_ref().filter(|remedy| !remedy.is_empty()) {
            writeln!(out, "          {}", ui.dim(&printable(remedy)))?;
        }
    }
    writeln!(out)?;
    if !report.skipped.is_empty() {
        let mut reasons: Vec<&str> = report.skipped.iter().map(|skipped| skipped.reason).collect();
        reasons.dedup();
        for reason in reasons {
            let ids: Vec<&str> = report
                .skipped
                .iter()
                .filter(|skipped| skipped.reason == reason)
                .map(|skipped| skipped.check)
                .collect();
            writeln!(out, "{} ({reason}): {}", ui.bold("skipped"), ids.join(", "))?;
        }
        writeln!(out)?;
    }
    for why in &report.why {
        writeln!(out, "{} {why}", ui.bad("FAILED:"))?;
    }
    let summary = report.summary();
    if report.passed {
        writeln!(out, "{} {summary}", ui.good("passed:"))
    } else {
        writeln!(out, "{summary}")
    }
}

impl Render for Fragment {
    fn text(&self, _: &Ui) -> String {
        self.text.trim_end().to_owned()
    }
}

async fn print_config(ctx: &Context<'_>, memory: Option<u64>) -> Result<Status> {
    let session = ctx.settings.connector.connect().await?;
    let seen = Observed::read(&session, memory).await?;
    let objects = capacity::objects(&session, &seen).await?;
    let fragment = fragment(&ctx.settings.config, &seen, objects.as_ref());
    ctx.ui.result(&fragment)?;
    if seen.memory.is_none() {
        ctx.ui
            .warn("the memory of the server's machine is not known, so nothing is scaled to it; --memory says it");
    }
    Ok(Status::Done)
}

/// The checklist, for `--list`.
#[derive(Serialize)]
struct Catalogue {
    checks: Vec<&'static Check>,
}

impl Render for Catalogue {
    fn text(&self, ui: &Ui) -> String {
        let mut grid = Grid::new(ui, &["check", "what must hold"]);
        for check in &self.checks {
            grid.row([check.id.to_owned(), check.title.to_owned()]);
        }
        grid.render()
    }
}

impl Render for Check {
    fn text(&self, ui: &Ui) -> String {
        format!("{}: {}\n\n{}", ui.bold(self.id), self.title, wrapped(self.explain))
    }
}

/// Tells what the checks of the checklist are; needs no server.
///
/// # Errors
/// Kind `usage` for a check that does not exist.
pub fn describe(ui: &Ui, args: &ValidateArgs) -> Result<Status> {
    let stage = stage(args);
    match &args.explain {
        Some(id) => ui.result(checklist::find(stage, id)?)?,
        None => ui.result(&Catalogue {
            checks: checklist::of(stage).collect(),
        })?,
    }
    Ok(Status::Done)
}
