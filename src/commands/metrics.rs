//! `metrics`: what tenants use, as text, JSON or for Prometheus; alerts; freezing.

mod cached;
pub mod enforce;
mod report;
pub mod serve;
pub mod text;
mod watch;

use std::time::{Duration, Instant};

use self::enforce::Enforced;
use self::text::{Order, View};
use super::{Context, Status};
use crate::catalog::tenants::{self, TenantRow};
use crate::cli::{MeasureArgs, MetricsArgs, MetricsCommand, MetricsShowArgs, OutputFormat, SizesArg};
use crate::error::{Error, Result};
use crate::metrics::collect::{self, Options, Sizes};
use crate::metrics::limits::{self, Criteria, Judged};
use crate::metrics::{Fleet, cache, exposition};
use crate::notify::{self, Notifier};
use crate::pg::session::Session;
use crate::tenant::TenantId;
use crate::ui::{Render, count, screen};

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
    let round = match round(ctx, args, scope).await? {
        Outcome::Measured(round) => round,
        Outcome::Planned(planned) => {
            if planned.plans().is_empty() {
                ctx.ui.note("nothing to do: no tenant is to be frozen or thawed");
            }
            ctx.ui.result(&planned)?;
            return Ok(Status::Done);
        }
    };
    show(ctx, args, scope, &round)?;
    for warning in &round.warnings {
        ctx.ui.warn(warning);
    }
    if !round.told.is_empty() {
        ctx.ui.note(&round.told);
    }
    for error in round.enforced.iter().flat_map(|enforced| &enforced.errors) {
        ctx.ui.error(error);
    }
    Ok(round.status())
}

/// What one round came to.
enum Outcome {
    /// It was measured, and all else done.
    Measured(Box<Round>),
    /// With `--dry-run`: what would be changed.
    Planned(enforce::Planned),
}

/// What one round gave.
struct Round {
    fleet: Fleet,
    enforced: Option<Enforced>,
    /// What became of the alerts, as a sentence.
    told: String,
    /// What went wrong beside the measuring, as sentences.
    warnings: Vec<String>,
}

impl Round {
    fn status(&self) -> Status {
        let enforced = self.enforced.as_ref().is_none_or(Enforced::is_complete);
        match self.fleet.alerts.is_empty() && enforced {
            true => Status::Done,
            false => Status::Partly,
        }
    }
}

/// Measures, enforces, judges, tells, caches.
async fn round(ctx: &Context<'_>, args: &MetricsShowArgs, scope: &Scope) -> Result<Outcome> {
    let (session, tenants) = scope.open(ctx, args.enforce && !args.dry_run).await?;
    let mut fleet = measure(ctx, &args.measure, scope, &session, &tenants).await?;
    let enforced = match args.enforce {
        true => match enforce::run(ctx, &session, &tenants, &fleet, args.dry_run).await? {
            enforce::Outcome::Planned(planned) => return Ok(Outcome::Planned(planned)),
            enforce::Outcome::Done(enforced) => Some(enforced),
        },
        false => None,
    };
    // Judged is what holds now: who was frozen has an alert for it.
    if let Some(enforced) = &enforced {
        enforced.mark(&mut fleet);
    }
    let judged = judge(ctx, &mut fleet, scope);
    let mut round = Round {
        fleet,
        enforced,
        told: String::new(),
        warnings: Vec::new(),
    };
    if !args.no_notify {
        tell(ctx, scope, &session, judged, &mut round).await;
    }
    store(ctx, &mut round).await;
    Ok(Outcome::Measured(Box::new(round)))
}

/// Tells of the alerts, unless the user cannot wait for it.
async fn tell(ctx: &Context<'_>, scope: &Scope, session: &Session, judged: Judged, round: &mut Round) {
    let fleet = &round.fleet;
    let notifier = Notifier::new(
        ctx.settings.alert_url(),
        ctx.settings.config.alerts.clone(),
        fleet.cluster.database.clone(),
    );
    let about = notify::Scope::of(fleet, scope.is_all(), judged);
    let began = Instant::now();
    let told = tokio::select! {
        told = notifier.run(session, fleet, &about) => told,
        () = ctx.interrupt.again() => return,
    };
    ctx.settings.connector.failures().spend(began.elapsed());
    round.told = [(told.sent.len(), "sent"), (told.resolved.len(), "told to have ended")]
        .iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{} {what}", count(*n, "alert")))
        .collect::<Vec<_>>()
        .join(", ");
    round.warnings.extend(told.warnings);
}

/// Leaves the documents in Redis, where one is configured.
async fn store(ctx: &Context<'_>, round: &mut Round) {
    let Some(url) = ctx.settings.redis_url() else {
        return;
    };
    let stored = tokio::select! {
        stored = cache::store(&url, &round.fleet, ctx.settings.config.metrics.ttl_seconds) => stored,
        () = ctx.interrupt.again() => return,
    };
    if let Err(error) = stored {
        round
            .warnings
            .push(format!("the metrics are not cached: {}", error.one_line()));
    }
}

/// All tenants and the database, measured as `metrics --all` does and judged; nobody is told.
///
/// # Errors
/// When the database cannot be measured.
pub async fn of_all(ctx: &Context<'_>, session: &Session) -> Result<Fleet> {
    let args = MeasureArgs {
        tenants: Vec::new(),
        all: true,
        tier: None,
        sizes: SizesArg::Exact,
        no_business: false,
        jobs: 2,
    };
    let tenants = Scope::All.tenants(ctx, session).await?;
    let mut fleet = measure(ctx, &args, &Scope::All, session, &tenants).await?;
    // Whom nobody is told of, nobody needs to know whether they have ended.
    let _ = judge(ctx, &mut fleet, &Scope::All);
    Ok(fleet)
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

/// The alerts that fire. The database's own belong to those who ask for all tenants.
fn judge(ctx: &Context<'_>, fleet: &mut Fleet, scope: &Scope) -> Judged {
    limits::judge(fleet, &Criteria::new(&ctx.settings.config, scope.is_all()))
}

/// Prints what was measured, in the form that was asked for.
fn show(ctx: &Context<'_>, args: &MetricsShowArgs, scope: &Scope, round: &Round) -> Result<()> {
    let fleet = &round.fleet;
    if fleet.tenants.is_empty() {
        ctx.ui.note("no tenants");
    }
    if ctx.ui.output() == OutputFormat::Prometheus {
        let samples = exposition::openmetrics(fleet, None, None)?;
        ctx.ui.stdout(&exposition::plain_text(&samples))?;
        if let Some(enforced) = &round.enforced {
            ctx.ui.note(&enforced.text(&ctx.ui.plain()));
        }
        return Ok(());
    }
    // A document has no room for what concerns more than the tenant.
    if scope.is_one() && ctx.ui.output() == OutputFormat::Json {
        for sentence in &fleet.unknown {
            ctx.ui.warn(sentence);
        }
    }
    ctx.ui.result(&view(args, scope, round))
}

fn view<'a>(args: &MetricsShowArgs, scope: &Scope, round: &'a Round) -> View<'a> {
    View {
        fleet: &round.fleet,
        enforced: round.enforced.as_ref(),
        one: scope.is_one(),
        order: Order::of(args),
        width: screen::size().map(|(width, _)| width),
    }
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

    fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    fn tier(&self) -> Option<&str> {
        match self {
            Self::Tier(tier) => Some(tier),
            Self::Named(_) | Self::All => None,
        }
    }

    /// A session, and their rows in the registry; broken off at the first Ctrl-C.
    async fn open(&self, ctx: &Context<'_>, writes: bool) -> Result<(Session, Vec<TenantRow>)> {
        let opening = async {
            let session = ctx.settings.registry(writes).await?;
            let tenants = self.tenants(ctx, &session).await?;
            Ok((session, tenants))
        };
        until_asked(ctx, opening).await
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
