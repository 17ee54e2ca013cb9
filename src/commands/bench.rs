//! `bench`: measures this cluster.

use std::sync::Arc;

use serde::Serialize;

use super::{Context, Status};
use crate::bench::folder::Folder;
use crate::bench::scratch::Scratch;
use crate::bench::triggers::{self, Subject};
use crate::bench::{Environment, Figure, Measured, Stage, Surroundings, backup, metrics, provisioning};
use crate::cli::{BenchArgs, BenchSuite};
use crate::error::{Error, ErrorKind, Result};
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
    let Some(&suite) = args.suites.first() else {
        return Err(Error::new(ErrorKind::Unsupported, "one suite must be named"));
    };
    let parent = args
        .folder
        .clone()
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or_else(std::env::temp_dir);
    let folder = Folder::create(&parent)?;
    in_scratch(ctx, &folder, async |stage| match suite {
        BenchSuite::Provisioning => provisioning(stage, args).await,
        BenchSuite::Backup => backup(stage, args).await,
        BenchSuite::Metrics => metrics(stage, args).await,
        BenchSuite::Audit => triggers(stage, Subject::Audit, args).await,
        BenchSuite::Limits => triggers(stage, Subject::Limits, args).await,
        BenchSuite::Queries | BenchSuite::Resources | BenchSuite::Scale => {
            Err(Error::new(ErrorKind::Unsupported, "the suite is not written yet"))
        }
    })
    .await
}

/// Measures in a database of the benchmark's own, removes it, then reports.
async fn in_scratch(
    ctx: &Context<'_>,
    folder: &Folder,
    measure: impl AsyncFn(&Stage<'_>) -> Result<Measured>,
) -> Result<Status> {
    let scratch = Scratch::create(&ctx.settings.connector).await?;
    let around = Surroundings {
        settings: &ctx.settings,
        folder,
        progress: &|text| ctx.ui.note(text),
        warn: &|text| ctx.ui.warn(text),
        interrupt: ctx.interrupt,
    };
    let measuring = async { measure(&Stage::set(&scratch, around).await?).await };
    let measured = tokio::select! {
        measured = measuring => measured,
        // The database must go before we do.
        () = ctx.interrupt.times(1) => Err(Error::interrupted()),
    };
    let environment = scratch.environment().await;
    ctx.ui.note("removing the benchmark's database");
    let removed = scratch.remove().await;
    let report = Report {
        results: measured?.figures,
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

async fn provisioning(stage: &Stage<'_>, args: &BenchArgs) -> Result<Measured> {
    let mut at: Vec<usize> = args.at.iter().map(|&n| n as usize).collect();
    at.sort_unstable();
    let targets = &stage.config.performance_targets;
    let suite = provisioning::Suite {
        stage,
        workload: provisioning::Workload {
            count: args.count.unwrap_or(50) as usize,
            concurrent: args.concurrent.unwrap_or(100) as usize,
            jobs: usize::from(args.jobs.unwrap_or(20)),
            tier: Arc::new(stage.config.tier(args.tier.as_deref().unwrap_or("enterprise"))?.clone()),
            at,
        },
        targets: provisioning::Targets {
            average: targets.schema_creation.average_s,
            p95: targets.schema_creation.p95_s,
            p99: targets.schema_creation.p99_s,
            max: targets.schema_creation.max_s,
            hundred: targets.concurrent_operations.schemas_100_s,
        },
    };
    suite.run().await
}

async fn triggers(stage: &Stage<'_>, subject: Subject, args: &BenchArgs) -> Result<Measured> {
    let suite = triggers::Suite {
        stage,
        subject,
        rounds: args.rounds.unwrap_or(40) as usize,
        singles: args.singles.unwrap_or(1000) as usize,
    };
    suite.run().await
}

async fn backup(stage: &Stage<'_>, args: &BenchArgs) -> Result<Measured> {
    stage.require_tables(&["portfolios", "positions", "trades", "market_data"], "backup")?;
    let config = stage.config;
    if !config.backup.age_recipients.is_empty() && std::env::var_os("TENANTCTL_IDENTITY").is_none_or(|v| v.is_empty()) {
        return Err(
            Error::config("the configuration encrypts backups, and nothing would open them for the restore")
                .with_hint("Name the identity file in TENANTCTL_IDENTITY, or measure with a --config that has no backup.age_recipients."),
        );
    }
    let targets = &config.performance_targets.backup_restore;
    let suite = backup::Suite {
        stage,
        tier: Arc::new(config.tier(&config.provisioning.default_tier)?.clone()),
        workload: backup::Workload {
            gib: args.size.unwrap_or(1.0),
            jobs: args.jobs.unwrap_or(2),
            rounds: u16::try_from(args.rounds.unwrap_or(1)).unwrap_or(u16::MAX),
            small: args.small.map(|n| n as usize),
            alone: args.alone,
        },
        targets: backup::Targets {
            backup: (targets.backup_1gb_s, targets.backup_10gb_s),
            restore: (targets.restore_1gb_s, targets.restore_10gb_s),
        },
    };
    suite.run().await
}

async fn metrics(stage: &Stage<'_>, args: &BenchArgs) -> Result<Measured> {
    stage.require_tables(&["portfolios", "positions", "trades"], "metrics")?;
    let config = stage.config;
    let suite = metrics::Suite {
        stage,
        tier: Arc::new(config.tier(&config.provisioning.default_tier)?.clone()),
        workload: metrics::Workload {
            at: match args.at.is_empty() {
                true => vec![100, 1_000],
                false => args.at.iter().map(|&n| n as usize).collect(),
            },
            rounds: args.rounds.unwrap_or(3) as usize,
            jobs: usize::from(args.jobs.unwrap_or(4)),
            no_postgres_exporter: args.no_postgres_exporter,
        },
    };
    suite.run().await
}
