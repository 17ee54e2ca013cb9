//! What fires, and what the receivers were told of it, in the registry.
//!
//! Everything is done for all alerts together. Writing down takes moments; delivering takes as long as the receiver
//! does, and holds a row of its own for that, which nobody needs who only writes down.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_postgres::types::Type;

use super::Scope;
use super::message::{Event, Moment};
use crate::error::Result;
use crate::metrics::{Alert, AlertSeverity};
use crate::pg::session::{Param, Row, Session, column};
use crate::pg::sql::Sql;

/// Days for which alerts that have ended are kept, and those of them whose end could not be told.
const KEEP_DAYS: i32 = 7;
const KEEP_UNTOLD_DAYS: i32 = 30;

/// What is told again.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// When the figures were measured, in seconds since 1970 by the server's clock.
    pub measured_at: f64,
    /// Hours after which a webhook is told again.
    pub repeat_hours: u32,
    /// Whether it is Alertmanager, which is told every time.
    pub alertmanager: bool,
    /// Minutes for which Alertmanager believes it.
    pub expire_minutes: u32,
}

/// An alert that is to be told.
#[derive(Clone, Debug)]
pub struct Due {
    /// What is told.
    pub event: Event,
    /// What was told of its severity before.
    pub told_severity: Option<AlertSeverity>,
}

/// Writes down what fires and what has ended; with `offer` also that all of it is about to be sent.
///
/// # Errors
/// When the registry cannot be written, or not within this time; nothing is changed then.
pub async fn write(
    session: &Session,
    alerts: &[Alert],
    scope: &Scope,
    measured_at: f64,
    offer: bool,
    limit: Duration,
) -> Result<()> {
    in_transaction(session, limit, async {
        lock(session, "ledger").await?;
        // The same key twice would be refused; the worse one counts.
        let mut by_key: BTreeMap<String, &Alert> = BTreeMap::new();
        for alert in alerts {
            let known = by_key.entry(alert.key()).or_insert(alert);
            if alert.severity > known.severity {
                *known = alert;
            }
        }
        fire(session, &by_key, measured_at).await?;
        end(session, scope, measured_at).await?;
        if offer {
            offered(session, measured_at).await?;
        }
        prune(session).await
    })
    .await
}

async fn fire(session: &Session, alerts: &BTreeMap<String, &Alert>, measured_at: f64) -> Result<()> {
    if alerts.is_empty() {
        return Ok(());
    }
    let keys: Vec<&str> = alerts.keys().map(String::as_str).collect();
    let types: Vec<&str> = alerts.values().map(|a| a.alert_type.as_str()).collect();
    let tenants: Vec<Option<&str>> = alerts
        .values()
        .map(|a| a.tenant_id.as_ref().map(|id| id.as_str()))
        .collect();
    let objects: Vec<Option<&str>> = alerts.values().map(|a| a.object.as_deref()).collect();
    let severities: Vec<&str> = alerts.values().map(|a| a.severity.as_str()).collect();
    let messages: Vec<&str> = alerts.values().map(|a| a.message.as_str()).collect();
    let values: Vec<Option<f64>> = alerts.values().map(|a| a.value).collect();
    let limits: Vec<Option<f64>> = alerts.values().map(|a| a.limit).collect();
    let params: [Param<'_>; 9] = [
        (&keys, Type::TEXT_ARRAY),
        (&types, Type::TEXT_ARRAY),
        (&tenants, Type::TEXT_ARRAY),
        (&objects, Type::TEXT_ARRAY),
        (&severities, Type::TEXT_ARRAY),
        (&messages, Type::TEXT_ARRAY),
        (&values, Type::FLOAT8_ARRAY),
        (&limits, Type::FLOAT8_ARRAY),
        (&measured_at, Type::FLOAT8),
    ];
    let sql = Sql::new(include_str!("../../sql/metrics/alerts_fire.sql"));
    session.query(&sql, &params, "write down the alerts").await.map(drop)
}

async fn end(session: &Session, scope: &Scope, measured_at: f64) -> Result<()> {
    if !scope.unknown.is_empty() {
        let sql = Sql::new(
            "UPDATE tenantctl.alerts a SET seen_at = pg_catalog.to_timestamp($2)
WHERE a.alert_key IN (SELECT pg_catalog.unnest($1)) AND a.resolved_at IS NULL AND a.seen_at < pg_catalog.to_timestamp($2)",
        );
        let keys: Vec<&str> = scope.unknown.iter().map(String::as_str).collect();
        let params: [Param<'_>; 2] = [(&keys, Type::TEXT_ARRAY), (&measured_at, Type::FLOAT8)];
        session
            .query(&sql, &params, "write down the alerts of unknown state")
            .await?;
    }
    let tenants: Vec<&str> = scope.tenants.iter().map(|id| id.as_str()).collect();
    let params: [Param<'_>; 3] = [
        (&tenants, Type::TEXT_ARRAY),
        (&scope.database, Type::BOOL),
        (&measured_at, Type::FLOAT8),
    ];
    let sql = Sql::new(include_str!("../../sql/metrics/alerts_end.sql"));
    session
        .query(&sql, &params, "write down the alerts that have ended")
        .await
        .map(drop)
}

/// Before it is sent: a run that is killed meanwhile notes nothing any more.
async fn offered(session: &Session, measured_at: f64) -> Result<()> {
    let sql = Sql::new(
        "UPDATE tenantctl.alerts a SET offered_at = pg_catalog.to_timestamp($1)
WHERE a.resolved_at IS NULL AND a.notified_at IS NULL AND a.offered_at IS NULL",
    );
    session
        .query(
            &sql,
            &[(&measured_at, Type::FLOAT8)],
            "write down what is about to be told",
        )
        .await
        .map(drop)
}

async fn prune(session: &Session) -> Result<()> {
    let sql = Sql::new(
        "DELETE FROM tenantctl.alerts a
WHERE a.resolved_at < pg_catalog.now() - pg_catalog.make_interval(days =>
    CASE WHEN a.notified_at IS NULL AND a.offered_at IS NULL OR a.resolution_notified_at IS NOT NULL THEN $1 ELSE $2 END)",
    );
    let params: [Param<'_>; 2] = [(&KEEP_DAYS, Type::INT4), (&KEEP_UNTOLD_DAYS, Type::INT4)];
    session
        .query(&sql, &params, "forget alerts of former days")
        .await
        .map(drop)
}

/// What is to be told now, the worst first, and the moment.
///
/// # Errors
/// When the registry cannot be read.
pub async fn due(session: &Session, rule: &Rule) -> Result<(Vec<Due>, Option<Moment>)> {
    let (hours, minutes) = (rule.repeat_hours as i32, rule.expire_minutes as i32);
    let params: [Param<'_>; 4] = [
        (&rule.measured_at, Type::FLOAT8),
        (&hours, Type::INT4),
        (&rule.alertmanager, Type::BOOL),
        (&minutes, Type::INT4),
    ];
    let sql = Sql::new(include_str!("../../sql/metrics/alerts_due.sql"));
    let rows = session.query(&sql, &params, "look for alerts to be told").await?;
    let moment = rows
        .first()
        .map(|row| {
            Ok::<_, crate::error::Error>(Moment {
                now: column(row, "now")?,
                expires: column(row, "expires")?,
            })
        })
        .transpose()?;
    Ok((rows.iter().map(from_row).collect::<Result<_>>()?, moment))
}

fn from_row(row: &Row) -> Result<Due> {
    let severity = |text: &str| match text {
        "warning" => AlertSeverity::Warning,
        _ => AlertSeverity::Critical,
    };
    Ok(Due {
        told_severity: column::<Option<&str>>(row, "notified_severity")?.map(severity),
        event: Event {
            key: column(row, "alert_key")?,
            alert_type: column(row, "alert_type")?,
            severity: severity(column(row, "severity")?),
            tenant_id: column(row, "tenant_id")?,
            object: column(row, "object")?,
            message: column(row, "message")?,
            value: column(row, "value")?,
            limit: column(row, "threshold")?,
            fired_at: column(row, "fired_at")?,
            resolved_at: column(row, "resolved_at")?,
            error: None,
        },
    })
}

/// Begins the transaction in which alerts are delivered; waits so long (`limit`) for another run that delivers. It ends with
/// [`told`] or [`Session::rollback`]; the server ends it after so long (`held`) in which it hears nothing, as it does not learn
/// of a machine that is gone, and nobody else delivers meanwhile.
///
/// # Errors
/// Kind `timeout` when the other run takes longer. The transaction is over then.
pub async fn begin_delivery(session: &Session, limit: Duration, held: Duration) -> Result<()> {
    begin(session, limit).await?;
    let held = Sql::new("SET LOCAL idle_in_transaction_session_timeout = ").int(millis(held));
    session.batch(&held, "begin to tell alerts").await?;
    let locked = lock(session, "delivery").await;
    if locked.is_err() {
        session.rollback().await;
    }
    locked
}

/// Notes what the receiver has accepted, and what it cannot know of from this run, and ends the transaction of [`begin_delivery`].
///
/// # Errors
/// When the registry cannot be written, or not within this time. Nothing is noted then, and the next run tells it again.
pub async fn told(
    session: &Session,
    accepted: &[&Event],
    refused: &[&Event],
    measured_at: f64,
    limit: Duration,
) -> Result<()> {
    let noted = async {
        session
            .batch(&limits(Sql::new(""), limit), "note what was told")
            .await?;
        lock(session, "ledger").await?;
        let keys: Vec<&str> = accepted.iter().map(|e| e.key.as_str()).collect();
        let beginnings: Vec<&str> = accepted.iter().map(|e| e.fired_at.as_str()).collect();
        let severities: Vec<&str> = accepted.iter().map(|e| e.severity.as_str()).collect();
        let ends: Vec<bool> = accepted.iter().map(|e| e.resolved_at.is_some()).collect();
        let params: [Param<'_>; 4] = [
            (&keys, Type::TEXT_ARRAY),
            (&beginnings, Type::TEXT_ARRAY),
            (&severities, Type::TEXT_ARRAY),
            (&ends, Type::BOOL_ARRAY),
        ];
        let sql = Sql::new(include_str!("../../sql/metrics/alerts_told.sql"));
        session.query(&sql, &params, "note what was told").await?;
        // What an earlier run has sent stays so.
        let sql = Sql::new(
            "UPDATE tenantctl.alerts a SET offered_at = NULL
WHERE a.alert_key IN (SELECT pg_catalog.unnest($1)) AND a.offered_at = pg_catalog.to_timestamp($2)",
        );
        let keys: Vec<&str> = refused.iter().map(|e| e.key.as_str()).collect();
        let params: [Param<'_>; 2] = [(&keys, Type::TEXT_ARRAY), (&measured_at, Type::FLOAT8)];
        session.query(&sql, &params, "note what was refused").await.map(drop)
    };
    finish(session, noted.await).await
}

async fn in_transaction(session: &Session, limit: Duration, work: impl Future<Output = Result<()>>) -> Result<()> {
    begin(session, limit).await?;
    finish(session, work.await).await
}

async fn begin(session: &Session, limit: Duration) -> Result<()> {
    session
        .batch(&limits(Sql::new("BEGIN; "), limit), "begin to write down the alerts")
        .await
}

async fn finish(session: &Session, result: Result<()>) -> Result<()> {
    match result {
        Ok(()) => session.batch(&Sql::new("COMMIT"), "write down the alerts").await,
        Err(error) => {
            session.rollback().await;
            Err(error)
        }
    }
}

/// A statement takes no longer, whatever it waits for.
fn limits(sql: Sql, limit: Duration) -> Sql {
    let limit = millis(limit);
    sql.text("SET LOCAL lock_timeout = ")
        .int(limit)
        .text("; SET LOCAL statement_timeout = ")
        .int(limit)
}

/// As the server's limits take it; 0 would mean without limit.
fn millis(limit: Duration) -> i128 {
    limit.as_millis().clamp(1, i32::MAX as u128) as i128
}

async fn lock(session: &Session, row: &str) -> Result<()> {
    let sql = Sql::new("SELECT FROM tenantctl.alert_locks WHERE lock = $1 FOR UPDATE");
    session
        .query_one(&sql, &[(&row, Type::TEXT)], "wait for another run that tells alerts")
        .await
        .map(drop)
}
