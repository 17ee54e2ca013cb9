//! `bench`: measures this cluster.

mod suites;
mod text;

use std::path::Path;
use std::time::Duration;

use super::page::Target;
use super::{Context, Status};
use crate::bench::baseline::{Baseline, NOISE_PERCENT};
use crate::bench::folder::Folder;
use crate::bench::scratch::{self, Scratch};
use crate::bench::{Begun, Document, FailedSuite, Measured, Stage, Surroundings, report};
use crate::cli::{BenchArgs, BenchSuite};
use crate::error::{Error, ErrorKind, Result};
use crate::figures::{bytes, count};
use crate::pg::apply::apply;
use crate::plan;

/// `bench`; exits 1 when a target is missed, a figure is worse than the baseline's, or some of many suites failed.
///
/// # Errors
/// When nothing could be measured, or what was measured cannot be written.
pub async fn run(ctx: &Context<'_>, args: &BenchArgs) -> Result<Status> {
    let suites = suites::chosen(args);
    suites::refuse_idle_options(args, &suites)?;
    suites::require(args, &suites, &ctx.settings.config)?;
    let baseline = args.baseline.as_deref().map(read).transpose()?;
    if let (Some(baseline), Some(path)) = (&baseline, &args.baseline) {
        let names: Vec<&str> = suites.iter().map(|suite| suites::name(*suite)).collect();
        baseline.require_any_of(&names, &path.display().to_string())?;
    }
    let target = args.report.as_deref();
    let target = target
        .map(|path| Target::of(path, "--report", "bench.html"))
        .transpose()?;
    if args.record {
        // Rather than after an hour of measuring.
        drop(ctx.settings.registry(true).await?);
    }
    require_alone(ctx, args).await?;
    let begun = Begun::now(&ctx.settings.connector, suites::arguments(args, &suites)).await?;
    if cfg!(debug_assertions) {
        ctx.ui
            .warn("this is a debug build of tenantctl; its figures are good for nothing");
    }
    let parent = args.folder.clone().filter(|dir| !dir.as_os_str().is_empty());
    let folder = Folder::create(&parent.unwrap_or_else(std::env::temp_dir))?;
    let (measured, failed) = measure(ctx, args, &suites, &folder).await?;
    drop(folder);
    let mut document = Document::new(begun.end(), measured, failed);
    if let (Some(baseline), Some(file)) = (&baseline, &args.baseline) {
        let succeeded = suites.iter().map(|suite| suites::name(*suite));
        let succeeded: Vec<&str> = succeeded
            .filter(|name| document.results.iter().any(|f| f.suite == *name))
            .collect();
        baseline.compare(
            &mut document,
            &file.display().to_string(),
            args.noise.unwrap_or(NOISE_PERCENT),
            &succeeded,
        );
    }
    // Whatever comes after it may fail, the figures have been told.
    ctx.ui.result(&document)?;
    if let (Some(target), Some(path)) = (target, &args.report) {
        let page = report::html(&document);
        target.write_or_stop(page.clone().into_bytes(), ctx.interrupt).await?;
        ctx.ui
            .note(&format!("wrote {}: {}", path.display(), bytes(page.len() as u64)));
    }
    if args.record {
        record(ctx, &document).await?;
    }
    Ok(if document.has_findings() {
        Status::Partly
    } else {
        Status::Done
    })
}

fn read(path: &Path) -> Result<Baseline> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::new(ErrorKind::Store, format!("cannot read {}", path.display())).with_cause(e))?;
    Baseline::parse(&text, &path.display().to_string())
}

/// Whoever works in the cluster would feel the load, and would be in the figures.
async fn require_alone(ctx: &Context<'_>, args: &BenchArgs) -> Result<()> {
    let others = scratch::others(&ctx.settings.connector).await?;
    if others.runs > 0 {
        ctx.ui
            .warn("another benchmark is at work in this cluster: both will be slower than they are");
    }
    match usize::try_from(others.tenants).unwrap_or(usize::MAX) {
        0 => Ok(()),
        n if args.beside_tenants => {
            ctx.ui.warn(&format!("the cluster holds {}, who will notice the load", count(n, "tenant")));
            Ok(())
        }
        n => Err(Error::usage(format!("the cluster holds {}, who would notice the load", count(n, "tenant"))).with_hint(
            "Measure on a cluster without tenants. --beside-tenants measures here: in databases of its own, which it removes.",
        )),
    }
}

/// Runs one suite after the other. One that fails is told of and does not stop the next.
///
/// # Errors
/// That of the only suite, or of the first where none gave figures; an interrupt before there were any.
async fn measure(
    ctx: &Context<'_>,
    args: &BenchArgs,
    suites: &[BenchSuite],
    folder: &Folder,
) -> Result<(Measured, Vec<FailedSuite>)> {
    let mut measured = Measured::default();
    let mut failed = Vec::new();
    let mut first = None;
    let mut done = 0;
    for suite in suites {
        if ctx.interrupt.requested() {
            break;
        }
        let name = suites::name(*suite);
        if suites.len() > 1 {
            ctx.ui.note(&format!("suite {name}"));
        }
        let (figures, removed) = in_scratch(ctx, folder, *suite, args).await;
        for error in [figures.map(|figures| measured.extend(figures)), removed] {
            match error {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // The only one's error is that of the command, which tells it.
                Err(error) if suites.len() == 1 && measured.figures.is_empty() => return Err(error),
                Err(error) => {
                    ctx.ui.error(&error.clone().at(name));
                    failed.push(FailedSuite::new(name, &error));
                    first.get_or_insert(error);
                }
            }
        }
        done += usize::from(measured.figures.iter().any(|f| f.suite == name));
    }
    match first {
        _ if done > 0 => Ok((measured, failed)),
        _ if ctx.interrupt.requested() => Err(Error::interrupted()),
        Some(error) => {
            Err(Error::new(error.kind(), "no suite could be measured").with_cause("each has failed, as told above"))
        }
        None => Err(Error::new(ErrorKind::Unknown, "the suites gave no figures")),
    }
}

/// Measures in a database of the benchmark's own, and removes it.
async fn in_scratch(
    ctx: &Context<'_>,
    folder: &Folder,
    suite: BenchSuite,
    args: &BenchArgs,
) -> (Result<Measured>, Result<()>) {
    let scratch = match Scratch::create(&ctx.settings.connector).await {
        Ok(scratch) => scratch,
        Err(error) => return (Err(error), Ok(())),
    };
    let around = Surroundings {
        settings: &ctx.settings,
        folder,
        progress: &|text| ctx.ui.note(text),
        warn: &|text| ctx.ui.warn(text),
        interrupt: ctx.interrupt,
    };
    let measuring = async {
        let stage = Stage::set(&scratch, around).await?;
        suites::measure(&stage, suite, args).await
    };
    let measured = tokio::select! {
        measured = measuring => measured,
        // The database must go before we do.
        () = ctx.interrupt.times(1) => Err(Error::interrupted()),
    };
    ctx.ui.note("removing the benchmark's database");
    (measured, scratch.remove().await)
}

/// Remembers a run of which nothing is missing.
async fn record(ctx: &Context<'_>, document: &Document) -> Result<()> {
    const PATIENCE: Duration = Duration::from_secs(30);
    if !document.failed.is_empty() || ctx.interrupt.requested() {
        ctx.ui.warn("nothing was recorded: not all suites gave their figures");
        return Ok(());
    }
    let json = |result: serde_json::Result<String>| {
        result.map_err(|e| Error::new(ErrorKind::Unknown, "cannot write the figures as JSON").with_cause(e))
    };
    let plan = plan::bench::record(
        &json(serde_json::to_string(&document.environment))?,
        &json(serde_json::to_string(&document.results))?,
        PATIENCE,
        ctx.settings.lock_timeout(),
    );
    let session = ctx.settings.registry(true).await?;
    apply(&session, &plan).await.map_err(|failure| failure.error)?;
    ctx.ui.note("recorded in tenantctl.baselines");
    Ok(())
}
