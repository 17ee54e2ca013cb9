//! The checks of what is deployed: provisioning, isolation, backups, the baseline.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::types::Type;

use super::checklist::{BACKUP_AUTOMATION, BACKUP_VERIFIED, BASELINE, Check, ISOLATION, ISOLATION_PROBE, PROVISIONING};
use super::storage::DAYS;
use super::{Item, Verdict};
use crate::config::Config;
use crate::error::{Error, ErrorKind, Result};
use crate::figures::{count, milliseconds, span};
use crate::interrupt::Interrupt;
use crate::pg::password::random_hex;
use crate::pg::session::{Connector, Session, column};
use crate::pg::sql::Sql;
use crate::provisioner::{Identity, Provisioner, Request};
use crate::tenant::{TenantId, Tier};
use crate::validate::probe::{self, Mode, Probe};
use crate::validate::report::{Report, Rules};
use crate::validate::run::{self, Outcome, Scope};
use crate::validate::{Finding, Severity, checks, suppress};

/// Days after which a baseline says little of the server as it is.
const BASELINE_DAYS: f64 = 90.0;

/// `provisioning`: a trial that is rolled back, and what the registry remembers.
///
/// # Errors
/// When the server refuses to read the registry.
pub async fn provisioning(session: &Session, config: &Config, provisioner: &Provisioner) -> Result<Vec<Item>> {
    let limit = config.performance_targets.schema_creation.max_s;
    let mut items = Vec::new();
    let richest = config
        .tiers
        .iter()
        .max_by_key(|tier| provisioner.template.modules_for(&tier.features).count());
    if let Some(tier) = richest {
        items.push(trial(provisioner, tier, limit).await.about("trial"));
    }
    let sql = Sql::new(include_str!("../../sql/preflight/provisionings.sql"));
    let params = [(&(limit * 1000.0) as _, Type::FLOAT8)];
    let row = session
        .query_one(&sql, &params, "look at earlier provisionings")
        .await?;
    let (made, late) = (column::<i64>(&row, "made")?, column::<i64>(&row, "late")?);
    let history = match made {
        0 => Item::pass(&PROVISIONING, "no tenant was made in the last 30 days"),
        n => {
            let (p95, slowest): (f64, f64) = (column(&row, "p95")?, column(&row, "slowest")?);
            let detail = format!(
                "{} of the last 30 days: p95 {}, slowest {}; {late} took longer than {limit} s",
                count(usize::try_from(n).unwrap_or_default(), "provisioning"),
                milliseconds(p95),
                milliseconds(slowest)
            );
            if late > 0 {
                let remedy = "Look for load and locks at those times: `tenantctl show` has each tenant's operations.";
                Item::warn(&PROVISIONING, detail, remedy)
            } else {
                Item::pass(&PROVISIONING, detail)
            }
        }
    };
    items.push(history.about("history"));
    Ok(items)
}

/// Makes a tenant and takes it back in the same transaction: whatever ends the session undoes it.
async fn trial(provisioner: &Provisioner, tier: &Tier, limit: f64) -> Item {
    let tried = async {
        let id: TenantId = format!("preflight-{}", random_hex(8)).parse()?;
        let identity = Identity::new(&id, &provisioner.recipients)?;
        let request = Request {
            id,
            tier: Arc::new(tier.clone()),
        };
        let plan = provisioner.plan(&request, &identity);
        let sql = plan
            .steps
            .iter()
            .fold(plan.begin(), |sql, step| sql.append(step.sql.clone()).text("\n"));
        let session = provisioner.connector.connect().await?;
        session.server().require_writable()?;
        // A session's first DDL reads its catalogs; what is measured is a tenant as one of many is made.
        let mut elapsed = Duration::ZERO;
        for _ in 0..2 {
            let started = Instant::now();
            let made = session.batch(&sql, &plan.title).await;
            elapsed = started.elapsed();
            session.rollback().await;
            made?;
        }
        Ok::<_, Error>(elapsed)
    };
    match tried.await {
        Ok(elapsed) => {
            let detail = format!(
                "a tenant of tier {} was made in {} and rolled back; the target is {limit} s",
                tier.key,
                milliseconds(elapsed.as_secs_f64() * 1000.0)
            );
            if elapsed.as_secs_f64() > limit {
                Item::fail(
                    &PROVISIONING,
                    detail,
                    "Look for load and for locks on the server; `tenantctl bench provisioning` measures it closely.",
                )
            } else {
                Item::pass(&PROVISIONING, detail)
            }
        }
        Err(error) if error.kind() == ErrorKind::ReadOnly => {
            Item::unknown(&PROVISIONING, error.one_line()).remedy(error.hint().unwrap_or_default().to_owned())
        }
        Err(error) => Item::fail(
            &PROVISIONING,
            error.one_line(),
            error.hint().unwrap_or("Mend what the server says.").to_owned(),
        ),
    }
}

/// How the proof of isolation is run.
pub struct Proof<'a> {
    /// Opens sessions as the admin.
    pub connector: &'a Connector,
    /// The suppressions and the lines of the standard that are off.
    pub config: &'a Config,
    /// Checks, and tenants that are probed, at a time.
    pub jobs: usize,
    /// Limit for each check.
    pub timeout: Duration,
    /// The user's wish to stop.
    pub interrupt: &'a Interrupt,
}

impl Proof<'_> {
    /// `isolation`, by queries.
    ///
    /// # Errors
    /// When the run as a whole could not be.
    pub async fn queries(&self) -> Result<Item> {
        let request = run::Request {
            checks: checks::all().iter().filter(|check| !check.is_probed()).collect(),
            scope: Scope::All,
            jobs: self.jobs,
            timeout: self.timeout,
        };
        let session = self.connector.connect().await?;
        let outcome = run::run(session, self.connector, &request, self.interrupt, || {}).await?;
        Ok(self.judged(&ISOLATION, outcome, "tenantctl validate --all"))
    }

    /// `isolation_probe`, by trying.
    ///
    /// # Errors
    /// When the run as a whole could not be.
    pub async fn probe(&self) -> Result<Item> {
        let session = self.connector.connect().await?;
        if let Err(error) = session.server().require_writable() {
            return Ok(Item::unknown(&ISOLATION_PROBE, error.one_line()));
        }
        let nothing = run::Request {
            checks: Vec::new(),
            scope: Scope::All,
            jobs: 1,
            timeout: self.timeout,
        };
        let mut outcome = run::run(session, self.connector, &nothing, self.interrupt, || {}).await?;
        if outcome.tenants_checked > 0 {
            let mut trying = Probe::new(self.connector.clone(), Mode::LogIn);
            trying.jobs = self.jobs;
            let report = probe::run(&trying, &Arc::default(), self.interrupt).await?;
            let probed: Vec<_> = checks::all().iter().filter(|check| check.is_probed()).collect();
            outcome.add_probe(report, &probed);
        }
        Ok(self.judged(&ISOLATION_PROBE, outcome, "tenantctl validate --all --probe"))
    }

    fn judged(&self, check: &'static Check, mut outcome: Outcome, command: &str) -> Item {
        let opted_out = suppress::opted_out(&mut outcome, &self.config.hardening.off);
        let rules = Rules {
            fail_on: Some(Severity::High),
            strict: false,
        };
        let took = outcome
            .probe
            .map_or(Duration::ZERO, |p| Duration::from_secs_f64(p.duration_ms / 1000.0));
        let suppressions = &self.config.validate.suppress;
        let report = Report::new(outcome, opted_out, &Scope::All, Vec::new(), suppressions, rules, took);
        let tried = report
            .probe
            .map_or(String::new(), |p| format!(", {} attempts", p.attempts));
        let detail = format!(
            "{}, {} run{tried}: {} critical, {} high, {} medium, {} low; {} suppressed{}",
            count(report.tenants_checked, "tenant"),
            count(report.checks_run, "check"),
            report.of(Severity::Critical),
            report.of(Severity::High),
            report.of(Severity::Medium),
            report.of(Severity::Low),
            report.suppressed.len(),
            worst(&report.findings)
        );
        let unknown = report.unknown_checks();
        let look = format!("`{command}` tells each finding and what mends it.");
        if !report.passed {
            let why = report.why.join("; ");
            Item::fail(check, format!("{why} ({detail})"), look)
        } else if !unknown.is_empty() {
            let ids: Vec<&str> = unknown.into_iter().collect();
            Item::unknown(check, format!("nothing was proven by {} ({detail})", ids.join(", "))).remedy(look)
        } else if !report.findings.is_empty() {
            Item::new(check, Verdict::Warn, detail).remedy(look)
        } else {
            Item::pass(check, detail)
        }
    }
}

fn worst(findings: &[Finding]) -> String {
    findings.first().map_or(String::new(), |finding| {
        let tenant = finding
            .tenant_id
            .as_ref()
            .map_or(String::new(), |tenant| format!("tenant {tenant}: "));
        format!(
            "; first {}: {tenant}{}: {}",
            finding.check, finding.object, finding.detail
        )
    })
}

/// `backup_automation`.
///
/// # Errors
/// When the server refuses a query.
pub async fn backup_automation(session: &Session, config: &Config, tenants: u64) -> Result<Vec<Item>> {
    if tenants == 0 {
        return Ok(vec![Item::unknown(
            &BACKUP_AUTOMATION,
            "there is no tenant, so nothing is proven",
        )]);
    }
    let wanted = &config.alerts.backup_overdue_hours;
    if wanted.is_empty() {
        return Ok(vec![
            Item::unknown(
                &BACKUP_AUTOMATION,
                "alerts.backup_overdue_hours is off, so nobody says how old a backup may be",
            )
            .remedy("Set it, such as `{any: 26}` for a daily backup."),
        ]);
    }
    let sql = Sql::new(include_str!("../../sql/preflight/overdue.sql"));
    let mut items = Vec::new();
    for (of_type, hours) in wanted {
        let limit = i32::try_from(*hours).unwrap_or(i32::MAX);
        let params = [(of_type as _, Type::TEXT), (&limit as _, Type::INT4)];
        let rows = session.query(&sql, &params, "look for overdue backups").await?;
        let item = match rows.first() {
            None => Item::pass(
                &BACKUP_AUTOMATION,
                format!("each tenant has one of the last {hours} hours"),
            ),
            Some(row) => {
                let (tenant, age): (String, f64) = (column(row, "tenant_id")?, column(row, "hours")?);
                let first = if column::<bool>(row, "never")? {
                    format!("{tenant} has none")
                } else {
                    format!("the last of {tenant} is {} old", span(age * 3600.0))
                };
                Item::fail(
                    &BACKUP_AUTOMATION,
                    format!(
                        "{} of {tenants} without one of the last {hours} hours: {first}",
                        count(rows.len(), "tenant")
                    ),
                    format!(
                        "Run `tenantctl backup --all{}`, and see why the schedule has not.",
                        if of_type == "any" {
                            String::new()
                        } else {
                            format!(" --type {of_type}")
                        }
                    ),
                )
            }
        };
        items.push(item.about(of_type));
    }
    Ok(items)
}

/// `backup_verified`.
///
/// # Errors
/// When the server refuses a query.
pub async fn backup_verified(session: &Session, tenants: u64) -> Result<Item> {
    if tenants == 0 {
        return Ok(Item::unknown(
            &BACKUP_VERIFIED,
            "there is no tenant, so nothing is proven",
        ));
    }
    let sql = Sql::new(include_str!("../../sql/preflight/verified.sql"));
    let row = session
        .query_one(&sql, &[(&DAYS, Type::INT4)], "look for verified backups")
        .await?;
    let number = |name: &str| column::<i64>(&row, name);
    let (all, ever, lately) = (number("tenants")?, number("verified")?, number("lately")?);
    let remedy = "tenantctl backup verify --all";
    if ever == 0 {
        return Ok(Item::fail(
            &BACKUP_VERIFIED,
            "no backup of any tenant was ever read again",
            remedy,
        ));
    }
    let detail = format!("{lately} of {all} tenants have a backup that was verified in the last {DAYS} days");
    Ok(match column::<Option<String>>(&row, "example")? {
        Some(example) => Item::warn(&BACKUP_VERIFIED, format!("{detail}; {example} has not"), remedy),
        None => Item::pass(&BACKUP_VERIFIED, detail),
    })
}

/// `baseline`.
///
/// # Errors
/// When the server refuses the query.
pub async fn baseline(session: &Session) -> Result<Item> {
    let sql = Sql::new(include_str!("../../sql/preflight/baseline.sql"));
    let remedy = "tenantctl bench --all --record --beside-tenants";
    let Some(row) = session.query_opt(&sql, &[], "look for a baseline").await? else {
        return Ok(Item::fail(&BASELINE, "none was recorded", remedy));
    };
    let days: f64 = column(&row, "days")?;
    let version: Option<String> = column(&row, "server_version")?;
    let (missed, suites): (Vec<String>, Vec<String>) = (column(&row, "missed")?, column(&row, "suites")?);
    let figures = usize::try_from(column::<i32>(&row, "figures")?).unwrap_or_default();
    let recorded = format!(
        "{} of {} were recorded {days:.1} days ago on PostgreSQL {}",
        count(figures, "figure"),
        if suites.is_empty() {
            "no suite".to_owned()
        } else {
            suites.join(", ")
        },
        version.as_deref().unwrap_or("of an unknown version")
    );
    let measured_major = version.as_deref().and_then(|text| {
        let digits: String = text.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<i32>().ok()
    });
    let now = session.server().major();
    Ok(if figures == 0 {
        Item::fail(&BASELINE, recorded, remedy)
    } else if measured_major != Some(now) {
        Item::warn(&BASELINE, format!("{recorded}; this server is {now}"), remedy)
    } else if days > BASELINE_DAYS {
        Item::warn(&BASELINE, recorded, remedy)
    } else if !missed.is_empty() {
        let detail = format!("{recorded}; missed their target: {}", missed.join(", "));
        Item::warn(
            &BASELINE,
            detail,
            "Look into these figures, then record a new baseline.",
        )
    } else {
        Item::pass(&BASELINE, recorded)
    })
}
