//! `metrics`: what tenants use, as text, JSON or for Prometheus; alerts; freezing.

mod cached;
pub mod enforce;
mod report;
pub mod serve;
pub mod text;
mod watch;

use std::time::Duration;

use self::text::{Order, View};
use super::{Context, Status};
use crate::catalog::tenants::{self, TenantRow};
use crate::cli::{MeasureArgs, MetricsArgs, MetricsCommand, MetricsShowArgs, OutputFormat, SizesArg};
use crate::error::{Error, Result};
use crate::metrics::collect::{self, Options, Sizes};
use crate::metrics::limits::{self, Criteria};
use crate::metrics::{Fleet, cache};
use crate::pg::session::Session;
use crate::tenant::TenantId;
use crate::ui::screen;

/// How many queries of a tenant are told.
const TOP_QUERIES: usize = 10;

/// The longest wait for a lock of a tenant's: whoever holds one that long is UNKNOWN.
const LOCK_TIMEOUT: Duration = Duration::from_secs(1);

/// Runs the command.
///
/// # Errors
/// When the database cannot be measured, or what was asked for does not exist.
pub async fn run(ctx: &Context<'_>, args: &MetricsArgs) -> Result<Status> {
    match &args.command {
        Some(command) if ctx.ui.output() == OutputFormat::Prometheus => Err(Error::usage(format!(
            "metrics {} has no output for Prometheus",
            command.name()
        ))
        .with_hint("`tenantctl metrics --all -o prometheus` prints the samples once, `metrics serve` serves them.")),
        Some(MetricsCommand::Serve(args)) => serve::run(ctx, args).await,
        Some(MetricsCommand::Rules) => serve::rules(ctx),
        Some(MetricsCommand::Dashboard) => serve::dashboard(ctx),
        Some(MetricsCommand::Report(args)) => report::run(ctx, args).await,
        None => {
            let scope = Scope::of(&args.show.measure)?;
            check(ctx, &args.show)?;
            match args.show.watch {
                Some(seconds) => watch::run(ctx, &args.show, &scope, seconds).await,
                None if args.show.cached => until_asked(ctx, cached::run(ctx, &args.show, &scope)).await,
                None => once(ctx, &args.show, &scope).await,
            }
        }
    }
}

/// What the command line asks for and cannot be had together.
fn check(ctx: &Context<'_>, args: &MetricsShowArgs) -> Result<()> {
    let prometheus = ctx.ui.output() == OutputFormat::Prometheus;
    if args.enforce && args.measure.sizes == SizesArg::Estimate {
        return Err(Error::usage("--enforce and --sizes estimate do not go together")
            .with_hint("Writes are frozen by what is on disk: leave --sizes out."));
    }
    if prometheus && args.watch.is_some() {
        return Err(Error::usage("--watch has no output for Prometheus")
            .with_hint("`tenantctl metrics serve` measures again for every scrape."));
    }
    if prometheus && args.cached {
        return Err(Error::usage("--cached has no output for Prometheus")
            .with_hint("Samples are measured: leave --cached out."));
    }
    Ok(())
}

/// Measures once and prints it.
async fn once(ctx: &Context<'_>, args: &MetricsShowArgs, scope: &Scope) -> Result<Status> {
    let round = round(ctx, args, scope).await?;
    for warning in &round.warnings {
        ctx.ui.warn(warning);
    }
    show(ctx, args, scope, &round.fleet)?;
    Ok(status(&round.fleet))
}

/// What one round gave.
struct Round {
    fleet: Fleet,
    /// What went wrong beside the measuring, as sentences.
    warnings: Vec<String>,
}

/// Measures, enforces, judges, tells, caches.
async fn round(ctx: &Context<'_>, args: &MetricsShowArgs, scope: &Scope) -> Result<Round> {
    let mut warnings = Vec::new();
    let session = ctx.settings.registry(args.enforce && !args.dry_run).await?;
    let tenants = scope.tenants(ctx, &session).await?;
    let mut fleet = measure(ctx, &args.measure, scope, &session, &tenants).await?;
    judge(ctx, &mut fleet, scope);
    if let Some(url) = ctx.settings.redis_url()
        && let Err(error) = cache::store(&url, &fleet, ctx.settings.config.metrics.ttl_seconds).await
    {
        warnings.push(format!("the metrics are not cached: {}", told(&error)));
    }
    Ok(Round { fleet, warnings })
}

/// Measures; broken off at the first Ctrl-C.
async fn measure(
    ctx: &Context<'_>,
    args: &MeasureArgs,
    scope: &Scope,
    session: &Session,
    tenants: &[TenantRow],
) -> Result<Fleet> {
    let options = options(ctx, args, scope);
    let measuring = collect::collect(&ctx.settings.connector, session, tenants, &options);
    until_asked(ctx, measuring).await
}

/// An error in one line.
fn told(error: &Error) -> String {
    match error.cause() {
        Some(cause) => format!("{}: {cause}", error.message()),
        None => error.message().to_owned(),
    }
}

/// The alerts that fire. The database's own belong to those who ask for all tenants.
fn judge(ctx: &Context<'_>, fleet: &mut Fleet, scope: &Scope) {
    let criteria = Criteria::new(&ctx.settings.config, matches!(scope, Scope::All));
    let _ = limits::judge(fleet, &criteria);
}

fn status(fleet: &Fleet) -> Status {
    match fleet.alerts.is_empty() {
        true => Status::Done,
        false => Status::Partly,
    }
}

/// Prints what was measured, in the form that was asked for.
fn show(ctx: &Context<'_>, args: &MetricsShowArgs, scope: &Scope, fleet: &Fleet) -> Result<()> {
    if fleet.tenants.is_empty() {
        ctx.ui.note("no tenants");
    }
    let one = scope.is_one();
    // A document has no room for what concerns more than the tenant.
    if one && ctx.ui.output() == OutputFormat::Json {
        for sentence in &fleet.unknown {
            ctx.ui.warn(sentence);
        }
    }
    ctx.ui.result(&View {
        fleet,
        one,
        order: Order::of(args),
        width: screen::size().map(|(width, _)| width),
    })
}

/// Which tenants are meant.
enum Scope {
    Named(Vec<TenantId>),
    Tier(String),
    All,
}

impl Scope {
    fn of(args: &MeasureArgs) -> Result<Self> {
        match Self::or_all(args)? {
            Self::All if !args.all => Err(Error::usage("no tenant to measure")
                .with_hint("Name tenants, or add --all for every tenant of the database.")),
            scope => Ok(scope),
        }
    }

    /// The same, where no choice means all.
    fn or_all(args: &MeasureArgs) -> Result<Self> {
        let ids: Vec<TenantId> = args.tenants.iter().map(|t| t.parse()).collect::<Result<_>>()?;
        Ok(match &args.tier {
            Some(tier) => Self::Tier(tier.clone()),
            None if ids.is_empty() => Self::All,
            None => Self::Named(ids),
        })
    }

    /// Whether one tenant was named, whose document is the result.
    fn is_one(&self) -> bool {
        matches!(self, Self::Named(ids) if ids.iter().all(|id| *id == ids[0]))
    }

    fn tier(&self) -> Option<&str> {
        match self {
            Self::Tier(tier) => Some(tier),
            Self::Named(_) | Self::All => None,
        }
    }

    /// Their rows in the registry.
    async fn tenants(&self, ctx: &Context<'_>, session: &Session) -> Result<Vec<TenantRow>> {
        if let Self::Named(ids) = self {
            return tenants::find(session, ids).await;
        }
        let rows = tenants::list(session, self.tier()).await?;
        if let (true, Some(tier)) = (rows.is_empty(), self.tier()) {
            // A tier that nobody has and the configuration does not know is a typing error.
            ctx.settings.config.tier(tier)?;
        }
        Ok(rows)
    }
}

fn options(ctx: &Context<'_>, args: &MeasureArgs, scope: &Scope) -> Options {
    let config = &ctx.settings.config;
    Options {
        sizes: match args.sizes {
            SizesArg::Exact => Sizes::Exact,
            SizesArg::Estimate => Sizes::Estimate,
        },
        business: match args.no_business {
            true => Vec::new(),
            false => config.metrics.business_queries.clone(),
        },
        business_timeout: Duration::from_millis(config.metrics.business_timeout_ms.into()),
        lock_timeout: ctx.settings.lock_timeout().min(LOCK_TIMEOUT),
        jobs: usize::from(args.jobs),
        top_queries: TOP_QUERIES,
        query_texts: matches!(scope, Scope::Named(_)),
        failed_operations_hours: config.alerts.failed_operations_hours,
    }
}

/// Reading is broken off at the first Ctrl-C.
async fn until_asked<T>(ctx: &Context<'_>, reading: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::select! {
        result = reading => result,
        () = ctx.interrupt.times(1) => Err(Error::interrupted()),
    }
}
