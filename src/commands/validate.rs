//! `validate`: the proof of isolation.

mod preflight;
mod text;

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{Context, Status};
use crate::cli::{FailOn, OutputFormat, ReportFormat, ValidateArgs};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::tenant::TenantId;
use crate::ui::table::Grid;
use crate::ui::{JsonOut, Render, Ui, milliseconds, printable};
use crate::validate::checks::{self, Check};
use crate::validate::probe::{self, Mode, Probe, ProbeReport};
use crate::validate::report::{Report, Rules, Skipped};
use crate::validate::run::{self, Outcome, Request, Scope};
use crate::validate::{Severity, junit, sarif, suppress};

/// Runs the command.
///
/// # Errors
/// Whatever is wrong before the first check: an id of a check or a tenant that does not exist, no tenant named, a
/// suppression of a check that does not exist; then only what ends the whole run.
pub async fn run(ctx: &Context<'_>, args: &ValidateArgs) -> Result<Status> {
    if args.preflight || args.post_deploy {
        return preflight::run(ctx, args).await;
    }
    let scope = scope(args)?;
    let selection = Selection::new(args)?;
    require_known_suppressions(&ctx.settings.config)?;
    let started = Instant::now();
    let session = ctx.settings.registry(false).await?;
    let request = Request {
        checks: selection.queries,
        scope,
        jobs: usize::from(args.jobs),
        timeout: Duration::from_secs(args.check_timeout.into()),
    };
    let progress = ctx.ui.progress(request.checks.len(), "checking");
    let connector = &ctx.settings.connector;
    let outcome = run::run(session, connector, &request, ctx.interrupt, || progress.tick()).await;
    progress.finish();
    let mut outcome = outcome?;
    if let (Scope::Tier(tier), 0) = (&request.scope, outcome.tenants_checked) {
        // A tier that nobody has and the configuration does not know is a typing error.
        ctx.settings.config.tier(tier)?;
    }
    if !selection.probed.is_empty() && outcome.tenants_checked > 0 {
        let report = probe(ctx, args, &outcome).await?;
        outcome.add_probe(report, &selection.probed);
    }
    let opted_out = suppress::opted_out(&mut outcome, &ctx.settings.config.hardening.off);
    let report = Report::new(
        outcome,
        opted_out,
        &request.scope,
        selection.skipped,
        &ctx.settings.config.validate.suppress,
        rules(args),
        started.elapsed(),
    );
    tell(ctx.ui, args, &report)?;
    Ok(if report.passed { Status::Done } else { Status::Partly })
}

/// Which tenants are meant.
fn scope(args: &ValidateArgs) -> Result<Scope> {
    if let Some(tier) = &args.tier {
        return Ok(Scope::Tier(tier.clone()));
    }
    if args.all {
        return Ok(Scope::All);
    }
    let ids: BTreeSet<TenantId> = args.tenants.iter().map(|t| t.parse()).collect::<Result<_>>()?;
    if ids.is_empty() {
        return Err(Error::usage("no tenant to validate")
            .with_hint("Name tenants, or add --all for every tenant of the database."));
    }
    Ok(Scope::Tenants(ids.into_iter().collect()))
}

/// Becomes the tenants in scope and tries.
async fn probe(ctx: &Context<'_>, args: &ValidateArgs, outcome: &Outcome) -> Result<ProbeReport> {
    let mode = if args.as_role { Mode::AsRole } else { Mode::LogIn };
    let mut probe = Probe::new(ctx.settings.connector.clone(), mode);
    probe.scope = outcome.scope.as_ref().map(|ids| ids.iter().cloned().collect());
    probe.jobs = usize::from(args.jobs);
    let bar = ctx.ui.progress(outcome.tenants_checked, "probing");
    let progress = Arc::new(probe::Progress::default());
    let running = probe::run(&probe, &progress, ctx.interrupt);
    tokio::pin!(running);
    let mut shown = 0;
    let report = loop {
        tokio::select! {
            report = &mut running => break report,
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                let done = progress.done.load(Ordering::Relaxed);
                (shown..done).for_each(|_| bar.tick());
                shown = done;
            }
        }
    };
    bar.finish();
    report
}

/// The checks to run, and those left out.
struct Selection {
    queries: Vec<&'static Check>,
    probed: Vec<&'static Check>,
    skipped: Vec<Skipped>,
}

impl Selection {
    fn new(args: &ValidateArgs) -> Result<Self> {
        let known = |ids: &[String]| ids.iter().map(|id| checks::find(id.trim())).collect::<Result<Vec<_>>>();
        let (only, skip) = (known(&args.check)?, known(&args.skip)?);
        let named = |list: &[&Check], check: &Check| list.iter().any(|c| c.id == check.id);
        if let Some(check) = only.iter().find(|check| check.is_probed() && !args.probe) {
            return Err(Error::usage(format!("{} is found out by trying", check.id)).with_hint("Add --probe."));
        }
        let mut selection = Self {
            queries: Vec::new(),
            probed: Vec::new(),
            skipped: Vec::new(),
        };
        for check in checks::all().iter().filter(|check| args.probe || !check.is_probed()) {
            // Who asks for the probe and names only queries wants all of the probe.
            let chosen = only.is_empty()
                || named(&only, check)
                || check.is_probed() && only.iter().all(|check| !check.is_probed());
            let reason = match (named(&skip, check), chosen) {
                (true, _) => "--skip",
                (false, false) => "not in --check",
                (false, true) if check.is_probed() => {
                    selection.probed.push(check);
                    continue;
                }
                (false, true) => {
                    selection.queries.push(check);
                    continue;
                }
            };
            selection.skipped.push(Skipped {
                check: check.id.to_owned(),
                reason,
            });
        }
        if selection.queries.is_empty() && selection.probed.is_empty() {
            return Err(Error::usage("no check is left to run").with_hint("Name fewer checks with --skip."));
        }
        Ok(selection)
    }
}

/// A suppression of a check that does not exist would be a hole that nobody sees.
fn require_known_suppressions(config: &Config) -> Result<()> {
    for suppression in &config.validate.suppress {
        if let Err(error) = checks::find(&suppression.check) {
            return Err(error
                .with_kind(ErrorKind::Config)
                .at(&format!("{}: validate.suppress", suppression.place)));
        }
    }
    Ok(())
}

fn rules(args: &ValidateArgs) -> Rules {
    Rules {
        fail_on: match args.fail_on {
            FailOn::Critical => Some(Severity::Critical),
            FailOn::High => Some(Severity::High),
            FailOn::Medium => Some(Severity::Medium),
            FailOn::Low => Some(Severity::Low),
            FailOn::Never => None,
        },
        strict: args.strict,
    }
}

/// The report where it is wanted; what needs attention also on stderr, whatever becomes of stdout.
fn tell(ui: &Ui, args: &ValidateArgs, report: &Report) -> Result<()> {
    let format = args.format.unwrap_or(match ui.output() {
        OutputFormat::Text | OutputFormat::Prometheus => ReportFormat::Text,
        OutputFormat::Json => ReportFormat::Json,
    });
    match &args.report {
        Some(path) => {
            ui.stream(|out| text::write(report, ui, out))?;
            to_file(path, |out| write(report, format, &ui.plain(), out))?;
        }
        None => ui.stream(|out| write(report, format, ui, out))?,
    }
    for note in &report.notes {
        ui.warn(&printable(&note.message));
    }
    let ids = Vec::from_iter(report.unknown_checks());
    if !ids.is_empty() {
        ui.warn(&format!("UNKNOWN, nothing was proven there: {}", ids.join(", ")));
    }
    // Whoever sends the report to a program sees here how it went.
    if format != ReportFormat::Text && args.report.is_none() {
        for why in &report.why {
            ui.note(&format!("failed: {why}"));
        }
        ui.note(&report.summary(&milliseconds(report.duration_ms)));
    }
    Ok(())
}

fn write(report: &Report, format: ReportFormat, ui: &Ui, out: &mut dyn Write) -> std::io::Result<()> {
    match format {
        ReportFormat::Text => text::write(report, ui, out),
        ReportFormat::Json => {
            serde_json::to_writer_pretty(JsonOut(out), report)?;
            writeln!(out)
        }
        ReportFormat::Junit => junit::write(report, out),
        ReportFormat::Sarif => sarif::write(report, &mut JsonOut(out)),
    }
}

fn to_file(path: &Path, write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let written = File::create(path).and_then(|file| {
        let mut file = BufWriter::new(file);
        write(&mut file)?;
        file.flush()
    });
    written.map_err(|e| Error::new(ErrorKind::Store, format!("cannot write {}", path.display())).with_cause(e))
}

/// The checks, for `--list`.
#[derive(Serialize)]
struct Catalogue {
    checks: &'static [Check],
}

impl Render for Catalogue {
    fn text(&self, ui: &Ui) -> String {
        let mut grid = Grid::new(ui, &["check", "by", "finds"]);
        for check in self.checks {
            let by = if check.is_probed() { "--probe" } else { "query" };
            grid.row([check.id.to_owned(), by.to_owned(), check.title.to_owned()]);
        }
        grid.render()
    }
}

impl Render for Check {
    fn text(&self, ui: &Ui) -> String {
        let mut text = format!("{}: {}\n\n{}", ui.bold(self.id), self.title, wrapped(&self.explain));
        if let Some(needs) = &self.needs {
            text.push_str(&format!("\n\nNeeds: {needs}"));
        }
        if self.is_probed() {
            text.push_str("\n\nFound out by trying, with --probe.");
        }
        text
    }
}

/// Lines of at most 100 characters.
fn wrapped(text: &str) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + word.chars().count() < 100 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}

/// Tells what the checks are; needs no server.
///
/// # Errors
/// Kind `usage` for a check that does not exist.
pub fn describe(ui: &Ui, args: &ValidateArgs) -> Result<Status> {
    if args.preflight || args.post_deploy {
        return preflight::describe(ui, args);
    }
    match &args.explain {
        Some(id) => ui.result(checks::find(id)?)?,
        None => ui.result(&Catalogue { checks: checks::all() })?,
    }
    Ok(Status::Done)
}
