//! `metrics --cached`: what an earlier run has left in Redis.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Serialize, Serializer};

use super::Scope;
use super::text::{self, Order};
use crate::cli::MetricsShowArgs;
use crate::commands::{Context, Status};
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::cache::{self, Cached, Entry};
use crate::metrics::{Alert, TenantMetrics};
use crate::tenant::TenantId;
use crate::ui::{Render, Ui, count, printable, screen, span};

/// Names that are told of many.
const FEW: usize = 10;

/// What Redis has.
#[derive(Debug, Serialize)]
struct Report {
    /// Always true: these are no fresh figures.
    cached: bool,
    /// The database that was asked for.
    database: String,
    /// When the oldest and the newest document were measured, and how long ago by the clock here.
    oldest: Option<String>,
    newest: Option<String>,
    oldest_age_seconds: Option<f64>,
    newest_age_seconds: Option<f64>,
    tenants: Vec<TenantMetrics>,
    /// Tenants that Redis has no document of.
    missing: Vec<TenantId>,
    /// What could not be used and why.
    unknown: Vec<String>,
    /// Alerts that fired when the documents were measured.
    alerts: Vec<Alert>,
}

/// The report, or the one document that was asked for.
struct View<'a> {
    report: &'a Report,
    one: Option<&'a Cached>,
    order: Order,
}

impl Serialize for View<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.one {
            Some(document) => document.serialize(serializer),
            None => self.report.serialize(serializer),
        }
    }
}

impl Render for View<'_> {
    fn text(&self, ui: &Ui) -> String {
        let report = self.report;
        let width = screen::size().map(|(width, _)| width);
        let mut parts = vec![match self.one {
            Some(document) => text::document(ui, &document.tenant, width),
            None => text::table(ui, &report.tenants, &self.order, width),
        }];
        parts.push(report.ages());
        parts.push(text::alerts(ui, &report.alerts, self.one.is_none(), width));
        if !report.missing.is_empty() {
            let missing = format!("not in Redis: {}", few(&report.missing));
            parts.push(ui.caution(&missing));
        }
        parts.push(text::unknown(ui, &report.unknown));
        parts.retain(|part| !part.is_empty());
        parts.join("\n\n")
    }
}

impl Report {
    fn ages(&self) -> String {
        let age = |seconds: Option<f64>| seconds.map_or_else(|| "-".to_owned(), span);
        match self.tenants.len() {
            1 => format!("from Redis, {} old", age(self.oldest_age_seconds)),
            n => format!(
                "from Redis: {}, the oldest {} old, the newest {}",
                count(n, "tenant"),
                age(self.oldest_age_seconds),
                age(self.newest_age_seconds)
            ),
        }
    }
}

fn few(ids: &[TenantId]) -> String {
    let names: Vec<&str> = ids.iter().take(FEW).map(TenantId::as_str).collect();
    match ids.len().checked_sub(FEW) {
        None | Some(0) => names.join(", "),
        Some(more) => format!("{} and {more} more", names.join(", ")),
    }
}

/// Whose documents are wanted, and how they are told from those of other databases.
struct Wanted {
    ids: Vec<TenantId>,
    /// Their schemas, where the registry could be read: no two tenants ever have the same.
    schemas: Option<HashMap<TenantId, String>>,
    database: String,
}

/// Runs the command.
///
/// # Errors
/// Kind `usage` without a Redis, `connection` when it is away, `not_found` when it has nothing of what was asked for.
pub async fn run(ctx: &Context<'_>, args: &MetricsShowArgs, scope: &Scope) -> Result<Status> {
    let url = ctx.settings.redis_url().ok_or_else(|| {
        Error::usage("--cached needs a Redis, and none is configured")
            .with_hint("Set metrics.redis_url in the configuration, or TENANTCTL_REDIS_URL in the environment.")
    })?;
    let wanted = wanted(ctx, scope, &url).await?;
    let (documents, mut report) = sort_out(cache::load(&url, &wanted.ids).await?, &wanted, scope.tier());
    if documents.is_empty() {
        let error = Error::new(ErrorKind::NotFound, "Redis has no metrics of what was asked for");
        let error = match report.unknown.first() {
            Some(why) => error.with_cause(why),
            None => error,
        };
        return Err(error.with_hint(format!(
            "They stay there for {} s: run `tenantctl metrics` without --cached.",
            ctx.settings.config.metrics.ttl_seconds
        )));
    }
    report.measure_ages(&documents);
    let one = documents.first().filter(|_| scope.is_one());
    ctx.ui.result(&View {
        report: &report,
        one,
        order: Order::of(args),
    })?;
    let whole = report.missing.is_empty() && report.unknown.is_empty();
    Ok(match report.alerts.is_empty() && whole {
        true => Status::Done,
        false => Status::Partly,
    })
}

/// Named tenants are looked up without the database; for the others it is asked, and where it is away Redis is.
async fn wanted(ctx: &Context<'_>, scope: &Scope, url: &str) -> Result<Wanted> {
    let database = ctx.settings.connector.info().dbname.clone();
    if let Scope::Named(ids) = scope {
        let mut distinct: Vec<TenantId> = Vec::new();
        for id in ids {
            if !distinct.contains(id) {
                distinct.push(id.clone());
            }
        }
        return Ok(Wanted {
            ids: distinct,
            schemas: None,
            database,
        });
    }
    let session = match ctx.settings.registry(false).await {
        Ok(session) => session,
        Err(error) if error.kind() == ErrorKind::Connection => {
            ctx.ui.warn(&format!(
                "the database is away, so whatever Redis has is shown, and nobody knows what is missing ({})",
                error.one_line()
            ));
            return Ok(Wanted {
                ids: cache::ids(url).await?,
                schemas: None,
                database,
            });
        }
        Err(error) => return Err(error),
    };
    let rows = scope.tenants(ctx, &session).await?;
    Ok(Wanted {
        ids: rows.iter().map(|row| row.tenant_id.clone()).collect(),
        database: session.server().database.clone(),
        schemas: Some(
            rows.into_iter()
                .map(|row| (row.tenant_id, row.schema_name.to_string()))
                .collect(),
        ),
    })
}

/// Parts the documents from what is missing, broken or somebody else's.
fn sort_out(entries: Vec<(TenantId, Entry)>, wanted: &Wanted, tier: Option<&str>) -> (Vec<Cached>, Report) {
    let mut documents: Vec<Cached> = Vec::new();
    let mut report = Report {
        cached: true,
        database: wanted.database.clone(),
        oldest: None,
        newest: None,
        oldest_age_seconds: None,
        newest_age_seconds: None,
        tenants: Vec::new(),
        missing: Vec::new(),
        unknown: Vec::new(),
        alerts: Vec::new(),
    };
    for (id, entry) in entries {
        match entry {
            Entry::Missing => report.missing.push(id),
            Entry::Unreadable(why) => report
                .unknown
                .push(format!("tenant {id}: what Redis has of it cannot be used: {why}")),
            Entry::Document(document) => match foreign(&document, wanted) {
                Some(why) => report
                    .unknown
                    .push(format!("tenant {id}: what Redis has of it is left out: {why}")),
                // Redis alone does not know tiers.
                None if tier.is_some_and(|tier| document.tenant.tier != tier) => {}
                None => documents.push(*document),
            },
        }
    }
    report.tenants = documents.iter().map(|d| d.tenant.clone()).collect();
    report.alerts = report.tenants.iter().flat_map(|t| t.alerts.clone()).collect();
    (documents, report)
}

/// Why a document is not of the database that was asked for.
fn foreign(document: &Cached, wanted: &Wanted) -> Option<String> {
    let id = &document.tenant.tenant_id;
    let schema = &document.tenant.schema_name;
    if document.database_name != wanted.database {
        return Some(format!(
            "it is of database {}, not of {}",
            printable(&document.database_name),
            printable(&wanted.database)
        ));
    }
    match wanted.schemas.as_ref().and_then(|schemas| schemas.get(id)) {
        Some(own) if own != schema => Some(format!("it is of schema {}, not of {own}", printable(schema))),
        _ => None,
    }
}

impl Report {
    fn measure_ages(&mut self, documents: &[Cached]) {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |d| d.as_secs_f64());
        // The server's clock may be ahead of the one here.
        let age = |d: &Cached| (now - d.unix_time).max(0.0);
        let oldest = documents.iter().min_by(|a, b| a.unix_time.total_cmp(&b.unix_time));
        let newest = documents.iter().max_by(|a, b| a.unix_time.total_cmp(&b.unix_time));
        self.oldest = oldest.map(|d| d.tenant.timestamp.clone());
        self.newest = newest.map(|d| d.tenant.timestamp.clone());
        self.oldest_age_seconds = oldest.map(age);
        self.newest_age_seconds = newest.map(age);
    }
}
