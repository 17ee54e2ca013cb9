//! `metrics serve`, `metrics rules` and `metrics dashboard`: what Prometheus and Grafana need.

use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;

use crate::cli::{MetricsServeArgs, SizesArg};
use crate::commands::{Context, Status};
use crate::config::AlertPolicy;
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::collect::{self, Sizes};
use crate::metrics::exporter::{Exporter, Options, Tell};
use crate::metrics::limits::{Criteria, Judged};
use crate::metrics::{Fleet, dashboard, http, rules};
use crate::notify::{Notifier, Scope};
use crate::pg::session::{Connector, Session};

/// How many queries of each tenant are measured one by one; the histogram counts them all.
const TOP_QUERIES: usize = 0;

/// Serves the metrics until the user asks to stop.
///
/// # Errors
/// When it cannot listen at the address.
pub async fn run(ctx: &Context<'_>, args: &MetricsServeArgs) -> Result<Status> {
    let listener = http::listen(&args.listen).await?;
    let address = listener
        .local_addr()
        .map_err(|e| Error::new(ErrorKind::Unknown, "cannot tell the address").with_cause(e))?;
    let exporter = Exporter::new(ctx.settings.connector.clone(), options(ctx, args), teller(ctx, args));
    ctx.ui.note(&format!("serving metrics at http://{address}/metrics"));
    let interrupt = ctx.interrupt.clone();
    http::serve(listener, exporter, async move { interrupt.times(1).await }).await?;
    Ok(Status::Stopped)
}

fn options(ctx: &Context<'_>, args: &MetricsServeArgs) -> Options {
    let config = &ctx.settings.config;
    let seconds = |s: u32| Duration::from_secs(u64::from(s));
    Options {
        collect: collect::Options {
            sizes: match args.sizes {
                SizesArg::Exact => Sizes::Exact,
                SizesArg::Estimate => Sizes::Estimate,
            },
            business: config.metrics.business_queries.clone(),
            business_timeout: Duration::from_millis(u64::from(config.metrics.business_timeout_ms)),
            lock_timeout: ctx.settings.lock_timeout().min(super::LOCK_TIMEOUT),
            jobs: usize::from(args.jobs),
            top_queries: TOP_QUERIES,
            query_texts: false,
            failed_operations_hours: config.alerts.failed_operations_hours,
        },
        every: seconds(args.every),
        wait: seconds(args.wait),
        sizes_every: seconds(args.sizes_every),
        business_every: (args.business_every > 0).then(|| seconds(args.business_every)),
        max_tenants_detailed: args.max_tenants_detailed as usize,
        criteria: criteria(ctx),
    }
}

fn criteria(ctx: &Context<'_>) -> Criteria {
    Criteria::new(&ctx.settings.config, true)
}

/// Tells alerts to the receiver that is configured.
struct Teller {
    connector: Connector,
    url: String,
    policy: AlertPolicy,
    /// Kept, as it is needed after every measurement.
    session: Mutex<Option<Session>>,
}

/// None: nobody is to be told.
fn teller(ctx: &Context<'_>, args: &MetricsServeArgs) -> Option<Box<dyn Tell>> {
    let url = ctx.settings.alert_url().filter(|_| !args.no_notify)?;
    Some(Box::new(Teller {
        connector: ctx.settings.connector.clone(),
        url,
        policy: ctx.settings.config.alerts.clone(),
        session: Mutex::default(),
    }))
}

#[async_trait]
impl Tell for Teller {
    async fn tell(&self, fleet: &Fleet, judged: Judged) -> Result<()> {
        // Given back only when all went well: another one then goes on with a new session.
        let session = match self.session.lock().await.take().filter(|s| !s.is_closed()) {
            Some(session) => session,
            None => self.connector.connect().await?,
        };
        let database = session.server().database.clone();
        let notifier = Notifier::new(Some(self.url.clone()), self.policy.clone(), database);
        let scope = Scope::of(fleet, true, judged);
        let told = notifier.run(&session, fleet, &scope).await;
        if told.warnings.is_empty() {
            *self.session.lock().await = Some(session);
            return Ok(());
        }
        Err(
            Error::new(ErrorKind::Unknown, "alerts are left to the next measurement")
                .with_cause(told.warnings.join("; ")),
        )
    }
}

/// Prints the alerting rules.
///
/// # Errors
/// When stdout cannot be written.
pub fn rules(ctx: &Context<'_>) -> Result<Status> {
    ctx.ui.stdout(&rules::yaml(&criteria(ctx)))?;
    Ok(Status::Done)
}

/// Prints the dashboard.
///
/// # Errors
/// When it cannot be put together, or stdout cannot be written.
pub fn dashboard(ctx: &Context<'_>) -> Result<Status> {
    ctx.ui.stdout(&dashboard::json()?)?;
    Ok(Status::Done)
}
