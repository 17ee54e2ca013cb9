//! Ends other sessions: a tenant's, and our own that were lost.

use std::time::{Duration, Instant};

use tokio_postgres::types::Type;

use super::hosts::Demand;
use super::session::{Connector, Server, Session, column};
use super::sql::Sql;
use crate::error::{Error, ErrorKind, Result};

/// Ends a role's sessions and waits until they are gone, at most 5 s each. A member of the role may do that; an
/// admin who is none becomes one, of the role named, for the length of a transaction that is rolled back.
///
/// # Errors
/// When the server refuses it.
pub async fn end_sessions(session: &Session, role: u32, join: Option<&str>) -> Result<i64> {
    let doing = "end the tenant's sessions";
    if let Some(name) = join {
        session
            .batch(&Sql::new("BEGIN; GRANT ").ident(name).text(" TO CURRENT_USER"), doing)
            .await?;
    }
    let sql = Sql::new(
        "SELECT pg_catalog.count(*) FILTER (WHERE pg_catalog.pg_terminate_backend(a.pid, 5000)) AS ended
FROM pg_catalog.pg_stat_activity a WHERE a.usesysid = $1",
    );
    let row = session.query_one(&sql, &[(&role, Type::OID)], doing).await;
    if join.is_some() {
        session.rollback().await;
    }
    column(&row?, "ended")
}

/// Ends those sessions of a role that another of our sessions waits for. Returns how many there were.
///
/// # Errors
/// As [`end_sessions`].
pub async fn end_blockers(session: &Session, role: u32, join: Option<&str>, waiting: i32) -> Result<i64> {
    let doing = "end the tenant's sessions";
    if let Some(name) = join {
        session
            .batch(&Sql::new("BEGIN; GRANT ").ident(name).text(" TO CURRENT_USER"), doing)
            .await?;
    }
    let sql = Sql::new(
        "SELECT pg_catalog.count(*) FILTER (WHERE pg_catalog.pg_terminate_backend(a.pid, 5000)) AS ended
FROM pg_catalog.pg_stat_activity a WHERE a.usesysid = $1 AND a.pid = ANY (pg_catalog.pg_blocking_pids($2))",
    );
    let params = [
        (&role as &(dyn tokio_postgres::types::ToSql + Sync), Type::OID),
        (&waiting, Type::INT4),
    ];
    let row = session.query_one(&sql, &params, doing).await;
    if join.is_some() {
        session.rollback().await;
    }
    column(&row?, "ended")
}

/// After a session was lost in the middle of a transaction: a new one, once the old one's transaction has ended.
///
/// # Errors
/// When the server cannot be asked, or the lost session cannot be ended.
pub async fn end_lost(connector: &Connector, lost: &Server) -> Result<Session> {
    // A standby could not tell: it may not have got yet what the lost session has committed.
    let session = patiently(&connector.demanding(Demand::Primary)).await?;
    // It went down with its server. Here that process id may be another's.
    if session.server().started != lost.started {
        return Ok(session);
    }
    let doing = "end the lost session";
    let sql = Sql::new(
        "SELECT pg_catalog.pg_terminate_backend(a.pid, 5000) AS ended FROM pg_catalog.pg_stat_activity a
WHERE a.pid = $1 AND a.usename = session_user",
    );
    for row in session.query(&sql, &[(&lost.backend_pid, Type::INT4)], doing).await? {
        if !column::<bool>(&row, "ended")? {
            return Err(Error::new(ErrorKind::Timeout, format!("failed to {doing}")));
        }
    }
    Ok(session)
}

/// A session with a server that may just be coming back, or become the primary.
async fn patiently(connector: &Connector) -> Result<Session> {
    let end = Instant::now() + Duration::from_secs(5);
    loop {
        match connector.connect().await {
            Err(error)
                if matches!(error.kind(), ErrorKind::Connection | ErrorKind::ReadOnly) && Instant::now() < end =>
            {
                tokio::time::sleep(Duration::from_millis(250)).await;
            }
            result => return result,
        }
    }
}
