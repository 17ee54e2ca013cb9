//! `bench`: measures this cluster.

use std::path::Path;
use std::sync::Arc;

use serde::Serialize;

use super::{Context, Status};
use crate::bench::backup;
use crate::bench::folder::Folder;
use crate::bench::metrics;
use crate::bench::provisioning::{Suite, Targets, Workload};
use crate::bench::scratch::Scratch;
use crate::bench::triggers::{self, Subject};
use crate::bench::{Environment, Figure};
use crate::catalog;
use crate::cli::{BenchArgs, BenchSuite};
use crate::error::{Error, ErrorKind, Result};
use crate::installer;
use crate::provisioner::Provisioner;
use crate::tenant::ModuleObjects;
use crate::ui::table::Grid;
use crate::ui::{Render, Ui};

/// The figures of a run.
#[derive(Debug, Serialize)]
pub struct Report {
    /// What it was made on.
    pub environment: Environment,
    /// The figures.
    pub results: Vec<Figure>,
}

impl Render for Report {
    fn text(&self, ui: &Ui) -> String {
        let mut grid = Grid::new(ui, &["suite", "metric", ">value", "unit", ">target", "pass"]);
        for f in &self.results {
            let digits = if f.unit == "ms" { 1 } else { 2 };
            grid.row([
                f.suite.to_owned(),
                f.metric.clone(),
                format!("{:.digits$}", f.value),
                f.unit.to_owned(),
                f.target.map_or_else(String::new, |t| format!("{t:.digits$}")),
                match f.pass {
                    Some(true) => ui.good("yes"),
                    Some(false) => ui.bad("NO"),
                    None => String::new(),
                },
            ]);
        }
        let e = &self.environment;
        format!(
            "{}\n\n{}",
            ui.dim(&format!(
                "PostgreSQL {}; {}; {} client processors",
                e.server_version,
                e.settings.join(", "),
                e.client_cpus
            )),
            grid.render()
        )
    }
}

/// `bench`; exits 1 when a target is missed.
///
/// # Errors
/// When a benchmark's database or folder cannot be made, or a contender fails.
pub async fn run(ctx: &Context<'_>, args: &BenchArgs) -> Result<Status> {
    match args.suites.first() {
        Some(BenchSuite::Provisioning) => provisioning(ctx, args).await,
        Some(BenchSuite::Backup) => backup(ctx, args).await,
        Some(BenchSuite::Metrics) => metrics(ctx, args).await,
        Some(BenchSuite::Audit) => triggers(ctx, Subject::Audit, args).await,
        Some(BenchSuite::Limits) => triggers(ctx, Subject::Limits, args).await,
        _ => Err(Error::new(ErrorKind::Unsupported, "the suite is not written yet")),
    }
}

async fn provisioning(ctx: &Context<'_>, args: &BenchArgs) -> Result<Status> {
    let tier = Arc::new(
        ctx.settings
            .config
            .tier(args.tier.as_deref().unwrap_or("enterprise"))?
            .clone(),
    );
    let mut at: Vec<usize> = args.at.iter().map(|&n| n as usize).collect();
    at.sort_unstable();
    let workload = Workload {
        count: args.count.unwrap_or(50) as usize,
        concurrent: args.concurrent.unwrap_or(100) as usize,
        jobs: usize::from(args.jobs.unwrap_or(20)),
        tier,
        at,
    };
    in_scratch(ctx, async |scratch| measure(ctx, scratch, workload.clone()).await).await
}

async fn triggers(ctx: &Context<'_>, subject: Subject, args: &BenchArgs) -> Result<Status> {
    in_scratch(ctx, async |scratch| {
        let (provisioner, objects) = provisioner(ctx, scratch).await?;
        let suite = triggers::Suite {
            subject,
            provisioner,
            audit: ctx.settings.config.audit.of(&objects)?,
            rounds: args.rounds.unwrap_or(40) as usize,
            singles: args.singles.unwrap_or(1000) as usize,
            progress: &|text| ctx.ui.note(text),
            interrupt: ctx.interrupt,
        };
        suite.run().await
    })
    .await
}

/// Measures in a database of the benchmark's own, removes it, then reports.
async fn in_scratch(ctx: &Context<'_>, measure: impl AsyncFn(&Scratch) -> Result<Vec<Figure>>) -> Result<Status> {
    let scratch = Scratch::create(&ctx.settings.connector).await?;
    let measured = tokio::select! {
        measured = measure(&scratch) => measured,
        // The database must go before we do.
        () = ctx.interrupt.times(1) => Err(crate::error::Error::interrupted()),
    };
    let environment = scratch.environment().await;
    ctx.ui.note("removing the benchmark's database");
    let removed = scratch.remove().await;
    let report = Report {
        results: measured?,
        environment: environment?,
    };
    removed?;
    ctx.ui.result(&report)?;
    Ok(if report.results.iter().any(|f| f.pass == Some(false)) {
        Status::Partly
    } else {
        Status::Done
    })
}

/// Prepares the scratch database; a provisioner for it, and what the template's modules create.
async fn provisioner(ctx: &Context<'_>, scratch: &Scratch) -> Result<(Provisioner, ModuleObjects)> {
    let session = scratch.connector.connect().await?;
    let template = ctx.settings.config.template()?;
    installer::install(&session, &template, &|_| Ok(()), ctx.settings.lock_timeout()).await?;
    let installed = catalog::template::installed(&session, &template.name)
        .await?
        .ok_or_else(|| {
            Error::new(
                ErrorKind::Unknown,
                "the template is not there right after it was installed",
            )
        })?;
    let objects: ModuleObjects = installed.modules.iter().map(|m| &m.objects).collect();
    let provisioner = Provisioner {
        connector: scratch.connector.clone(),
        audit: Arc::new(ctx.settings.config.audit.of(&objects)?),
        recipients: Arc::default(),
        template: Arc::new(installed),
        timescaledb: None,
        major: session.server().major(),
        timeout: ctx.settings.timeout(),
        lock_timeout: ctx.settings.lock_timeout(),
    };
    Ok((provisioner, objects))
}

async fn measure(ctx: &Context<'_>, scratch: &Scratch, workload: Workload) -> Result<Vec<Figure>> {
    let (provisioner, _) = provisioner(ctx, scratch).await?;
    let targets = &ctx.settings.config.performance_targets;
    let suite = Suite {
        provisioner,
        workload,
        targets: Targets {
            average: targets.schema_creation.average_s,
            p95: targets.schema_creation.p95_s,
            p99: targets.schema_creation.p99_s,
            max: targets.schema_creation.max_s,
            hundred: targets.concurrent_operations.schemas_100_s,
        },
        progress: &|text| ctx.ui.note(text),
        interrupt: ctx.interrupt,
    };
    suite.run().await
}

async fn backup(ctx: &Context<'_>, args: &BenchArgs) -> Result<Status> {
    let config = &ctx.settings.config;
    let workload = backup::Workload {
        gib: args.size.unwrap_or(1.0),
        jobs: args.jobs.unwrap_or(2),
        rounds: u16::try_from(args.rounds.unwrap_or(1)).unwrap_or(u16::MAX),
        small: args.small.map(|n| n as usize),
    };
    if !config.backup.age_recipients.is_empty() && std::env::var_os("TENANTCTL_IDENTITY").is_none_or(|v| v.is_empty()) {
        return Err(
            Error::config("the configuration encrypts backups, and nothing would open them for the restore")
                .with_hint("Name the identity file in TENANTCTL_IDENTITY, or measure with a --config that has no backup.age_recipients."),
        );
    }
    let tier = config.tier(&config.provisioning.default_tier)?;
    let targets = &config.performance_targets.backup_restore;
    let targets = backup::Targets {
        backup: (targets.backup_1gb_s, targets.backup_10gb_s),
        restore: (targets.restore_1gb_s, targets.restore_10gb_s),
    };
    let parent = args
        .folder
        .clone()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or_else(std::env::temp_dir);
    let folder = Folder::create(&parent)?;
    in_scratch(ctx, async |scratch| {
        let (provisioner, objects) = provisioner(ctx, scratch).await?;
        let tables = ["portfolios", "positions", "trades", "market_data"];
        require_tables(&provisioner, &objects, &tables, "bench backup")?;
        let suite = backup::Suite {
            provisioner,
            tier: Arc::new(tier.clone()),
            workload: workload.clone(),
            targets,
            folder: &folder,
            config: config.file().map(Path::to_owned),
            progress: &|text| ctx.ui.note(text),
            warn: &|text| ctx.ui.warn(text),
            interrupt: ctx.interrupt,
        };
        suite.run().await
    })
    .await
}

async fn metrics(ctx: &Context<'_>, args: &BenchArgs) -> Result<Status> {
    let config = &ctx.settings.config;
    let tier = Arc::new(config.tier(&config.provisioning.default_tier)?.clone());
    let at: Vec<usize> = match args.at.is_empty() {
        true => vec![100, 1_000],
        false => args.at.iter().map(|&n| n as usize).collect(),
    };
    let folder = Folder::create(&std::env::temp_dir())?;
    in_scratch(ctx, async |scratch| {
        let (provisioner, objects) = provisioner(ctx, scratch).await?;
        require_tables(
            &provisioner,
            &objects,
            &["portfolios", "positions", "trades"],
            "bench metrics",
        )?;
        let suite = metrics::Suite {
            provisioner,
            tier: Arc::clone(&tier),
            workload: metrics::Workload {
                at: at.clone(),
                rounds: args.rounds.unwrap_or(3) as usize,
                jobs: usize::from(args.jobs.unwrap_or(4)),
                no_postgres_exporter: args.no_postgres_exporter,
            },
            folder: &folder,
            config: config.file().map(Path::to_owned),
            progress: &|text| ctx.ui.note(text),
            warn: &|text| ctx.ui.warn(text),
            interrupt: ctx.interrupt,
        };
        suite.run().await
    })
    .await
}

/// The tables that a benchmark fills are those of the trading template.
fn require_tables(provisioner: &Provisioner, objects: &ModuleObjects, tables: &[&str], who: &str) -> Result<()> {
    match tables.iter().find(|table| !objects.tables.iter().any(|t| t == *table)) {
        None => Ok(()),
        Some(table) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("template {} has no table {table}", provisioner.template.name),
        )
        .with_hint(format!("{who} fills the tables of the trading template."))),
    }
}
