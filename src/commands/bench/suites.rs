//! The suites with the options that each of them takes.

use std::sync::Arc;

use clap::ValueEnum;

use crate::bench::triggers::{self, Subject};
use crate::bench::{Measured, Stage, backup, history, metrics, provisioning, queries, resources, scale};
use crate::cli::{BenchArgs, BenchSuite};
use crate::config::Config;
use crate::error::{Error, Result};

/// The suites that were asked for, each once.
pub fn chosen(args: &BenchArgs) -> Vec<BenchSuite> {
    if args.all {
        return BenchSuite::value_variants().to_vec();
    }
    let mut suites = Vec::new();
    for suite in &args.suites {
        if !suites.contains(suite) {
            suites.push(*suite);
        }
    }
    suites
}

/// What a suite is called on the command line and in results.
pub fn name(suite: BenchSuite) -> &'static str {
    match suite {
        BenchSuite::Provisioning => "provisioning",
        BenchSuite::Queries => "queries",
        BenchSuite::Resources => "resources",
        BenchSuite::Backup => "backup",
        BenchSuite::Metrics => "metrics",
        BenchSuite::Audit => "audit",
        BenchSuite::Limits => "limits",
        BenchSuite::Scale => "scale",
    }
}

/// An option as it was given, and the suites that it is for.
type Given = (&'static str, Option<String>, &'static [BenchSuite]);

fn options(args: &BenchArgs) -> Vec<Given> {
    use BenchSuite::{Audit, Backup, Limits, Metrics, Provisioning, Queries, Resources, Scale};
    fn text<T: ToString>(value: Option<&T>) -> Option<String> {
        value.map(ToString::to_string)
    }
    let at: Vec<String> = args.at.iter().map(u32::to_string).collect();
    vec![
        (
            "--jobs",
            text(args.jobs.as_ref()),
            &[Provisioning, Queries, Backup, Metrics, Scale],
        ),
        (
            "--rounds",
            text(args.rounds.as_ref()),
            &[Queries, Resources, Backup, Metrics, Audit, Limits, Scale],
        ),
        ("--at", (!at.is_empty()).then(|| at.join(",")), &[Provisioning, Metrics]),
        ("--count", text(args.count.as_ref()), &[Provisioning]),
        ("--concurrent", text(args.concurrent.as_ref()), &[Provisioning]),
        ("--tier", args.tier.clone(), &[Provisioning]),
        ("--trades", text(args.trades.as_ref()), &[Queries, Resources]),
        ("--singles", text(args.singles.as_ref()), &[Audit, Limits]),
        ("--size", text(args.size.as_ref()), &[Backup]),
        ("--small", text(args.small.as_ref()), &[Backup]),
        ("--alone", args.alone.then(String::new), &[Backup]),
        (
            "--folder",
            args.folder.as_ref().map(|dir| dir.display().to_string()),
            &[Backup],
        ),
        (
            "--no-postgres-exporter",
            args.no_postgres_exporter.then(String::new),
            &[Metrics],
        ),
        ("--to", text(args.to.as_ref()), &[Scale]),
    ]
}

/// An option that none of the chosen suites takes would be without effect.
///
/// # Errors
/// Kind `usage` for the first such option.
pub fn refuse_idle_options(args: &BenchArgs, suites: &[BenchSuite]) -> Result<()> {
    for (option, value, of) in options(args) {
        if value.is_some() && !of.iter().any(|suite| suites.contains(suite)) {
            let names: Vec<&str> = of.iter().map(|suite| name(*suite)).collect();
            let (last, first) = names
                .split_last()
                .map_or(("", &names[..0]), |(last, first)| (*last, first));
            let of = if first.is_empty() {
                last.to_owned()
            } else {
                format!("{} and {last}", first.join(", "))
            };
            return Err(Error::usage(format!("{option} is an option of {of}"))
                .with_cause(format!(
                    "to be measured: {}",
                    suites.iter().map(|s| name(*s)).collect::<Vec<_>>().join(", ")
                ))
                .with_hint(format!("Leave {option} out, or name a suite that takes it.")));
        }
    }
    Ok(())
}

/// Suites and options, as a run is told from another by; folders are of no consequence to figures.
pub fn arguments(args: &BenchArgs, suites: &[BenchSuite]) -> Vec<String> {
    let given = options(args).into_iter().filter(|(option, ..)| *option != "--folder");
    let given = given.filter_map(|(option, value, _)| Some(format!("{option} {}", value?).trim().to_owned()));
    suites
        .iter()
        .map(|suite| name(*suite).to_owned())
        .chain(given)
        .collect()
}

/// Refuses what a suite would fail at, before any of them is run.
///
/// # Errors
/// When the tier is not there, or backups would be encrypted to nobody at hand.
pub fn require(args: &BenchArgs, suites: &[BenchSuite], config: &Config) -> Result<()> {
    if suites.contains(&BenchSuite::Provisioning) {
        config.tier(args.tier.as_deref().unwrap_or(TIER))?;
    }
    let encrypted = !config.backup.age_recipients.is_empty();
    if suites.contains(&BenchSuite::Backup)
        && encrypted
        && std::env::var_os("TENANTCTL_IDENTITY").is_none_or(|v| v.is_empty())
    {
        return Err(
            Error::config("the configuration encrypts backups, and nothing would open them for the restore")
                .with_hint("Name the identity file in TENANTCTL_IDENTITY, or measure with a --config that has no backup.age_recipients."),
        );
    }
    Ok(())
}

/// The tier of the tenants whose making is measured.
const TIER: &str = "enterprise";

/// Runs one suite.
///
/// # Errors
/// What the suite says.
pub async fn measure(stage: &Stage<'_>, suite: BenchSuite, args: &BenchArgs) -> Result<Measured> {
    match suite {
        BenchSuite::Provisioning => provisioning(stage, args).await,
        BenchSuite::Backup => backup(stage, args).await,
        BenchSuite::Metrics => metrics(stage, args).await,
        BenchSuite::Audit => triggers(stage, Subject::Audit, args).await,
        BenchSuite::Limits => triggers(stage, Subject::Limits, args).await,
        BenchSuite::Queries => queries(stage, args).await,
        BenchSuite::Resources => resources(stage, args).await,
        BenchSuite::Scale => scale(stage, args).await,
    }
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
            tier: Arc::new(stage.config.tier(args.tier.as_deref().unwrap_or(TIER))?.clone()),
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
        singles: args.singles.unwrap_or(3000) as usize,
    };
    suite.run().await
}

async fn backup(stage: &Stage<'_>, args: &BenchArgs) -> Result<Measured> {
    stage.require_tables(&["portfolios", "positions", "trades", "market_data"], "backup")?;
    let config = stage.config;
    let targets = &config.performance_targets.backup_restore;
    let suite = backup::Suite {
        stage,
        tier: Arc::new(config.tier(&config.provisioning.default_tier)?.clone()),
        workload: backup::Workload {
            gib: args.size.unwrap_or(1.0),
            jobs: args
                .jobs
                .unwrap_or(u16::try_from(config.backup.jobs).unwrap_or(u16::MAX)),
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

async fn queries(stage: &Stage<'_>, args: &BenchArgs) -> Result<Measured> {
    stage.require_tables(&history::TABLES, "queries")?;
    let suite = queries::Suite {
        stage,
        workload: queries::Workload {
            trades: args.trades.unwrap_or(1_000_000),
            rounds: args.rounds.unwrap_or(40) as usize,
            clients: usize::from(args.jobs.unwrap_or(16)).min(queries::MAX_CLIENTS),
        },
    };
    suite.run().await
}

async fn resources(stage: &Stage<'_>, args: &BenchArgs) -> Result<Measured> {
    stage.require_tables(&history::TABLES, "resources")?;
    let suite = resources::Suite {
        stage,
        workload: resources::Workload {
            trades: args.trades.unwrap_or(1_000_000),
            rounds: args.rounds.unwrap_or(20) as usize,
        },
    };
    suite.run().await
}

async fn scale(stage: &Stage<'_>, args: &BenchArgs) -> Result<Measured> {
    stage.require_tables(&history::TABLES, "scale")?;
    let config = stage.config;
    let suite = scale::Suite {
        stage,
        tier: Arc::new(config.tier(&config.provisioning.default_tier)?.clone()),
        workload: scale::Workload {
            to: args.to.unwrap_or(1_000) as usize,
            rounds: args.rounds.unwrap_or(3) as usize,
            jobs: usize::from(args.jobs.unwrap_or(4)),
        },
    };
    suite.run().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Cli, Command};
    use clap::Parser;

    fn args(line: &str) -> BenchArgs {
        let words = ["tenantctl", "bench"].into_iter().chain(line.split(' '));
        match Cli::try_parse_from(words).expect(line).command {
            Command::Bench(args) => args,
            _ => unreachable!("bench was asked for"),
        }
    }

    #[test]
    fn each_suite_is_run_once_and_all_are_all() {
        assert_eq!(
            chosen(&args("limits audit limits")),
            [BenchSuite::Limits, BenchSuite::Audit]
        );
        assert_eq!(chosen(&args("--all")).len(), 8);
        for suite in chosen(&args("--all")) {
            assert_eq!(suite.to_possible_value().expect("shown").get_name(), name(suite));
        }
    }

    #[test]
    fn options_that_no_suite_takes_are_refused() {
        for (line, refused) in [
            ("audit --count 3", Some("--count is an option of provisioning")),
            (
                "provisioning --rounds 3",
                Some("--rounds is an option of queries, resources, backup, metrics, audit, limits and scale"),
            ),
            (
                "queries --no-postgres-exporter",
                Some("--no-postgres-exporter is an option of metrics"),
            ),
            (
                "provisioning --trades 1000",
                Some("--trades is an option of queries and resources"),
            ),
            ("provisioning backup --count 3 --size 0.5 --jobs 2", None),
            (
                "--all --count 3 --size 0.5 --at 20 --to 10 --singles 5 --trades 1000 --small 10",
                None,
            ),
        ] {
            let args = args(line);
            let error = refuse_idle_options(&args, &chosen(&args)).err();
            assert_eq!(error.map(|e| e.message().to_owned()).as_deref(), refused, "{line}");
        }
    }

    #[test]
    fn runs_are_told_apart_by_what_they_were_asked_for() {
        let args = args("backup metrics --size 0.5 --folder /x --at 20 --at 30 --no-postgres-exporter");
        assert_eq!(
            arguments(&args, &chosen(&args)),
            [
                "backup",
                "metrics",
                "--at 20,30",
                "--size 0.5",
                "--no-postgres-exporter"
            ]
        );
    }
}
