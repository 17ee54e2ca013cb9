//! Runs checks: a few sessions that share one snapshot, each check behind a savepoint of its own.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde::Serialize;
use tokio::task::JoinSet;
use tokio_postgres::types::Type;

use super::checks::Check;
use super::probe::ProbeReport;
use super::{Finding, Severity, Unknown};
use crate::catalog::tenants;
use crate::config::Date;
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::pg::session::{Connector, Row, Session, column};
use crate::pg::sql::Sql;
use crate::tenant::TenantId;

/// Which tenants the checks look at.
#[derive(Clone, Debug)]
pub enum Scope {
    /// All of the registry.
    All,
    /// Those of a tier.
    Tier(String),
    /// These.
    Tenants(Vec<TenantId>),
}

/// What to run and how.
#[derive(Debug)]
pub struct Request {
    /// The checks, in the order in which they are started; those of the probe are passed over.
    pub checks: Vec<&'static Check>,
    /// Which tenants.
    pub scope: Scope,
    /// Sessions at a time, at least 1.
    pub jobs: usize,
    /// Limit for each check.
    pub timeout: Duration,
}

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ended {
    /// It ran to its end.
    Done,
    /// It could not be run, or not to its end.
    Unknown,
}

/// One check's run.
#[derive(Clone, Debug, Serialize)]
pub struct CheckRun {
    /// The check's id.
    pub check: String,
    /// How it ended.
    pub status: Ended,
    /// How long it took; none where it was not measured on its own.
    pub duration_ms: Option<f64>,
}

/// How much the probe tried.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Probed {
    /// Tenants that it was.
    pub tenants: usize,
    /// Pairs of a tenant and one that it tried to reach.
    pub pairs: usize,
    /// Single attempts.
    pub attempts: u64,
    /// How long it took.
    pub duration_ms: f64,
    /// Whether it ended before all was tried.
    pub partial: bool,
}

/// What the checks said.
#[derive(Debug)]
pub struct Outcome {
    /// How many tenants were looked at.
    pub tenants_checked: usize,
    /// Their ids; none: all of the registry.
    pub scope: Option<HashSet<String>>,
    /// The server's date, in UTC.
    pub today: Date,
    /// In no order.
    pub findings: Vec<Finding>,
    /// Checks that could not be run.
    pub unknown: Vec<Unknown>,
    /// Every check that was asked for, by id.
    pub checks: Vec<CheckRun>,
    /// What the probe did, if it was asked for.
    pub probe: Option<Probed>,
}

impl Outcome {
    /// Adds what the probe showed, as far as it was asked for.
    pub fn add_probe(&mut self, report: ProbeReport, wanted: &[&'static Check]) {
        let wanted: HashSet<&str> = wanted.iter().map(|check| check.id).collect();
        let doubted: HashSet<&str> = report.unknown.iter().map(|unknown| unknown.check.as_str()).collect();
        // Where it could not act as a tenant, or not as all of them, being refused proves nothing.
        let whole = !doubted.contains("probe_control") && !report.partial;
        self.checks.extend(wanted.iter().map(|id| CheckRun {
            check: (*id).to_owned(),
            status: if whole && !doubted.contains(id) {
                Ended::Done
            } else {
                Ended::Unknown
            },
            duration_ms: None,
        }));
        self.checks.sort_by(|a, b| a.check.cmp(&b.check));
        self.probe = Some(Probed {
            tenants: report.tenants,
            pairs: report.pairs,
            attempts: report.attempts,
            duration_ms: milliseconds(report.duration),
            partial: report.partial,
        });
        let findings = report.findings.into_iter();
        self.findings
            .extend(findings.filter(|f| wanted.contains(f.check.as_str())));
        let unknown = report.unknown.into_iter();
        self.unknown
            .extend(unknown.filter(|u| wanted.contains(u.check.as_str()) || u.check == "probe_control"));
    }

    fn add(&mut self, check: &'static Check, duration: Duration, findings: Vec<Finding>, doubt: Option<String>) {
        self.checks.push(CheckRun {
            check: check.id.to_owned(),
            status: if doubt.is_none() { Ended::Done } else { Ended::Unknown },
            duration_ms: Some(milliseconds(duration)),
        });
        self.findings.extend(findings);
        self.unknown.extend(doubt.map(|reason| Unknown {
            check: check.id.to_owned(),
            reason,
        }));
    }
}

/// Milliseconds with three places.
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

/// Runs the checks on this session and on `jobs - 1` more; `done` is called after each.
///
/// Works on a standby too: nothing is written.
///
/// # Errors
/// Kind `not_found` for a tenant that does not exist; when the server cannot be reached, or all sessions are lost; when
/// the user interrupts. What goes wrong within one check is its result.
pub async fn run(
    session: Session,
    connector: &Connector,
    request: &Request,
    interrupt: &Interrupt,
    done: impl Fn(),
) -> Result<Outcome> {
    begin(&session, None, None, request.timeout).await?;
    let sql = Sql::new(
        "SELECT pg_catalog.pg_export_snapshot() AS snapshot,
    pg_catalog.to_char(pg_catalog.now() AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS today",
    );
    let row = session.query_one(&sql, &[], "share the snapshot").await?;
    let snapshot: String = column(&row, "snapshot")?;
    let today: &str = column(&row, "today")?;
    let today = Date::parse(today).ok_or_else(|| Error::new(ErrorKind::Unknown, "the server's date cannot be read"))?;
    let (tenants_checked, scope) = resolve(&session, &request.scope).await?;
    if let Some(ids) = &scope {
        session.batch(&scoped(Some(ids)), "set the scope").await?;
    }
    let (server, host) = (&session.server().clone(), session.host());
    let others = (1..request.jobs.min(request.checks.len())).map(|_| async {
        let session = connector.connect_beside(server, host).await?;
        begin(&session, Some(&snapshot), scope.as_deref(), request.timeout).await?;
        Ok(session)
    });
    let mut sessions = vec![session];
    for other in others {
        let opened: Result<Session> = other.await;
        match opened {
            Ok(session) => sessions.push(session),
            // Fewer sessions take longer and prove the same.
            Err(error) => {
                tracing::info!(%error, cause = error.cause(), "going on with {} sessions", sessions.len());
                break;
            }
        }
    }
    let mut outcome = Outcome {
        tenants_checked,
        scope: scope.map(|ids| ids.into_iter().collect()),
        today,
        findings: Vec::new(),
        unknown: Vec::new(),
        checks: Vec::with_capacity(request.checks.len()),
        probe: None,
    };
    run_on(sessions, request, interrupt, done, &mut outcome).await?;
    outcome.checks.sort_by(|a, b| a.check.cmp(&b.check));
    outcome.unknown.sort_by(|a, b| a.check.cmp(&b.check));
    Ok(outcome)
}

/// Starts the transaction; the first session's snapshot is what the others take theirs from.
async fn begin(session: &Session, snapshot: Option<&str>, scope: Option<&[String]>, timeout: Duration) -> Result<()> {
    let mut sql = Sql::new("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; ");
    if let Some(snapshot) = snapshot {
        sql = sql.text("SET TRANSACTION SNAPSHOT ").literal(snapshot).text("; ");
    }
    // Catalogs have no statistics to speak of: compiling or parallelising a query on such estimates only costs.
    let sql = sql
        .text("SET LOCAL statement_timeout = ")
        .int(timeout.as_millis() as i128)
        .text(
            "; SET LOCAL idle_in_transaction_session_timeout = 0; SET LOCAL jit = off; SET LOCAL work_mem = '64MB';
SET LOCAL max_parallel_workers_per_gather = 0;
SELECT pg_catalog.set_config('transaction_timeout', '0', true)
WHERE pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL; ",
        )
        .append(scoped(scope));
    session.batch(&sql, "start the transaction").await
}

/// What limits the checks to some tenants. Always said: a setting of the database or the role must not narrow the proof.
fn scoped(ids: Option<&[String]>) -> Sql {
    let sql = Sql::new("SELECT pg_catalog.set_config('tenantctl.scope', ");
    match ids {
        Some(ids) => sql.text_array(ids).text("::pg_catalog.text, true)"),
        None => sql.text("'', true)"),
    }
}

/// How many tenants the scope has, and their ids where it is not all.
async fn resolve(session: &Session, scope: &Scope) -> Result<(usize, Option<Vec<String>>)> {
    let ids = match scope {
        Scope::All => {
            let sql = Sql::new("SELECT pg_catalog.count(*) AS n FROM tenantctl.tenants");
            let row = session.query_one(&sql, &[], "count the tenants").await?;
            return Ok((usize::try_from(column::<i64>(&row, "n")?).unwrap_or_default(), None));
        }
        Scope::Tier(tier) => {
            let sql = Sql::new("SELECT t.tenant_id FROM tenantctl.tenants t WHERE t.tier = $1");
            let rows = session.query(&sql, &[(tier, Type::TEXT)], "read the registry").await?;
            rows.iter().map(|row| column(row, "tenant_id")).collect::<Result<_>>()?
        }
        Scope::Tenants(ids) => {
            let rows = tenants::find(session, ids).await?;
            rows.iter().map(|row| row.tenant_id.to_string()).collect::<Vec<_>>()
        }
    };
    Ok((ids.len(), Some(ids)))
}

/// A check's result as a worker hands it over, or that its session is lost.
struct Message {
    check: &'static Check,
    duration: Duration,
    result: Result<Told>,
}

async fn run_on(
    sessions: Vec<Session>,
    request: &Request,
    interrupt: &Interrupt,
    done: impl Fn(),
    outcome: &mut Outcome,
) -> Result<()> {
    let checks = request.checks.iter().filter_map(|check| Some((*check, check.sql()?)));
    let checks: Arc<[(&'static Check, Sql)]> = checks.collect();
    let next = Arc::new(AtomicUsize::new(0));
    let timeout = request.timeout;
    let (sender, mut messages) = tokio::sync::mpsc::channel(checks.len().max(1));
    let mut workers = JoinSet::new();
    for session in sessions {
        let (checks, next, sender, interrupt) = (
            Arc::clone(&checks),
            Arc::clone(&next),
            sender.clone(),
            interrupt.clone(),
        );
        workers.spawn(async move {
            while let Some((check, sql)) = checks.get(next.fetch_add(1, Ordering::Relaxed)) {
                let started = Instant::now();
                let result = tokio::select! {
                    result = run_check(&session, check, sql, timeout) => result,
                    () = interrupt.times(1) => {
                        session.cancel().await;
                        return;
                    }
                };
                let lost = result.is_err();
                let duration = started.elapsed();
                let message = Message {
                    check,
                    duration,
                    result,
                };
                if sender.send(message).await.is_err() || lost {
                    return;
                }
            }
            session.rollback().await;
        });
    }
    drop(sender);
    let mut lost = None;
    while let Some(Message {
        check,
        duration,
        result,
    }) = messages.recv().await
    {
        let (findings, doubt) = result.unwrap_or_else(|error| {
            let doubt = reason(check, &error, timeout);
            lost = Some(error);
            (Vec::new(), Some(doubt))
        });
        let (id, ms, n) = (check.id, milliseconds(duration), findings.len());
        tracing::info!(check = id, ms, findings = n, unknown = doubt, "check");
        outcome.add(check, duration, findings, doubt);
        done();
    }
    if interrupt.requested() {
        return Err(Error::interrupted());
    }
    match lost {
        // Whatever was left over was never run: this is no proof, and no half of one.
        Some(error) if outcome.checks.len() < checks.len() => Err(error),
        _ => Ok(()),
    }
}

/// The findings, and what kept the check from telling all.
type Told = (Vec<Finding>, Option<String>);

async fn run_check(session: &Session, check: &Check, sql: &Sql, timeout: Duration) -> Result<Told> {
    let doing = "run a check";
    session.batch(&Sql::new("SAVEPOINT one_check"), doing).await?;
    match session.query(sql, &[], doing).await {
        Ok(rows) => {
            session.batch(&Sql::new("RELEASE SAVEPOINT one_check"), doing).await?;
            let mut findings = Vec::with_capacity(rows.len());
            let mut doubt = None;
            // One by one, so that rows and findings are not all held at once. A row that cannot be read must not take
            // the others with it.
            for row in rows {
                match finding(check, &row) {
                    Ok(finding) => findings.push(finding),
                    Err(error) => doubt = Some(reason(check, &error, timeout)),
                }
            }
            Ok((findings, doubt))
        }
        Err(error) if session.is_closed() || error.kind() == ErrorKind::Connection => Err(error),
        Err(error) => {
            session
                .batch(&Sql::new("ROLLBACK TO SAVEPOINT one_check"), doing)
                .await?;
            Ok((Vec::new(), Some(reason(check, &error, timeout))))
        }
    }
}

fn finding(check: &Check, row: &Row) -> Result<Finding> {
    let severity: &str = column(row, "severity")?;
    // A name that a check makes NULL must not hide the finding.
    let text = |name| Ok(column::<Option<String>>(row, name)?.unwrap_or_else(|| "(unnamed)".to_owned()));
    Ok(Finding {
        check: check.id.to_owned(),
        severity: Severity::parse(severity).ok_or_else(|| {
            Error::new(ErrorKind::Unknown, "the check answered with an unknown severity").with_cause(severity)
        })?,
        tenant_id: column(row, "tenant_id")?,
        schema_name: column(row, "schema_name")?,
        object: text("object")?,
        detail: text("detail")?,
        remedy: text("remedy")?,
    })
}

/// Why a check could not be run: the class of the SQLSTATE in words, what the server said, and what right is missing.
fn reason(check: &Check, error: &Error, timeout: Duration) -> String {
    let seconds = timeout.as_secs_f64();
    let class = match (error.sqlstate().unwrap_or_default(), error.kind()) {
        (_, ErrorKind::Permission) => "the login's rights do not suffice".to_owned(),
        ("57014", _) => format!("it did not finish within {seconds} s, or was cancelled"),
        ("55P03", _) => "a lock that it needs was not released in time".to_owned(),
        (_, ErrorKind::Timeout) => "it did not finish in time".to_owned(),
        (_, ErrorKind::Connection) => "the connection to the server was lost while it ran".to_owned(),
        (_, ErrorKind::ReadOnly) => "it cannot run in a read-only session".to_owned(),
        (code, _) => match code.get(..2) {
            Some("0A") => "this server does not support what it asks".to_owned(),
            Some("22") => "the server could not make sense of a value".to_owned(),
            Some("40") => "the server broke it off in favour of others".to_owned(),
            Some("42") => "this server or registry lacks what it reads".to_owned(),
            Some("53") => "the server is short of resources".to_owned(),
            Some("54") => "a limit of the server was exceeded".to_owned(),
            Some("55") => "an object was not in the state it needs".to_owned(),
            Some("58") => "the operating system refused".to_owned(),
            Some("XX") => "the server failed inside".to_owned(),
            _ => error.message().to_owned(),
        },
    };
    let mut text = class;
    if let Some(cause) = error.cause() {
        text.push_str(": ");
        text.push_str(cause);
    }
    if let Some(code) = error.sqlstate() {
        text.push_str(&format!(" (SQLSTATE {code})"));
    }
    if error.kind() == ErrorKind::Permission
        && let Some(needs) = &check.needs
    {
        text.push_str(&format!("; it needs {needs}"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::checks;
    use super::*;

    #[test]
    fn a_probe_that_could_not_act_as_a_tenant_proves_nothing() {
        let report = |unknown: &[&str], partial| ProbeReport {
            findings: Vec::new(),
            unknown: unknown
                .iter()
                .map(|check| Unknown {
                    check: (*check).to_owned(),
                    reason: "refused".to_owned(),
                })
                .collect(),
            tenants: 2,
            pairs: 2,
            attempts: 100,
            duration: Duration::from_secs(1),
            partial,
        };
        let wanted: Vec<&Check> = ["probe_read", "probe_write"]
            .into_iter()
            .filter_map(checks::get)
            .collect();
        assert_eq!(wanted.len(), 2);
        for (unknown, partial, done) in [
            (&[][..], false, 2),
            (&["probe_read"], false, 1),
            (&["probe_file"], false, 2),
            (&["probe_control"], false, 0),
            (&[], true, 0),
        ] {
            let mut outcome = Outcome {
                tenants_checked: 2,
                scope: None,
                today: Date::parse("2026-06-15").expect("day"),
                findings: Vec::new(),
                unknown: Vec::new(),
                checks: Vec::new(),
                probe: None,
            };
            outcome.add_probe(report(unknown, partial), &wanted);
            let proven = outcome.checks.iter().filter(|run| run.status == Ended::Done);
            assert_eq!(proven.count(), done, "{unknown:?} {partial}");
        }
    }

    #[test]
    fn reasons_say_class_cause_code_and_right() {
        let refused = Error::new(ErrorKind::Permission, "failed")
            .with_cause("permission denied for view v")
            .with_sqlstate("42501");
        let check = checks::all()
            .iter()
            .find(|check| check.needs.is_some())
            .expect("a check with needs");
        let seconds = Duration::from_secs(60);
        assert_eq!(
            reason(check, &refused, seconds),
            format!(
                "the login's rights do not suffice: permission denied for view v (SQLSTATE 42501); it needs {}",
                check.needs.as_deref().unwrap_or_default()
            )
        );
        for (kind, code, part) in [
            (ErrorKind::Timeout, "57014", "did not finish within 60 s"),
            (ErrorKind::Timeout, "55P03", "a lock"),
            (ErrorKind::Connection, "57P01", "connection to the server was lost"),
            (ErrorKind::Unknown, "42703", "lacks what it reads"),
            (ErrorKind::Unknown, "53200", "short of resources"),
            (ErrorKind::Unknown, "40001", "broke it off"),
        ] {
            let text = reason(check, &Error::new(kind, "failed").with_sqlstate(code), seconds);
            assert!(text.contains(part) && text.contains(code), "{text}");
            assert!(!text.contains("; it needs"), "{text}");
        }
    }

    #[test]
    fn the_scope_is_always_said() {
        assert_eq!(
            scoped(None).to_string(),
            "SELECT pg_catalog.set_config('tenantctl.scope', '', true)"
        );
        assert_eq!(
            scoped(Some(&["a".to_owned()])).to_string(),
            "SELECT pg_catalog.set_config('tenantctl.scope', ARRAY['a']::pg_catalog.text[]::pg_catalog.text, true)"
        );
    }
}
