//! Two primaries among the hosts of a connection string: an old one that came back after a failover takes writes, which are lost.

use std::sync::PoisonError;
use std::time::Duration;

use futures_util::future::join_all;

use super::super::hosts::{self, Demand};
use super::{Connector, Server, Session, column};
use crate::error::{Error, ErrorKind, Result};
use crate::pg::sql::Sql;

/// The longest wait for the other hosts, once a primary has answered: one that is down must not hold up every command.
const PATIENCE: Duration = Duration::from_secs(1);

impl Connector {
    /// Refuses a primary beside which another host is one too, before anything is written. A server is asked about once: not
    /// for each session, but again when it was restarted, as an old primary is that comes back under a command.
    ///
    /// # Errors
    /// Kind `connection`, with the timeline of each.
    pub(super) async fn require_sole_primary(&self, session: &Session) -> Result<()> {
        let started = &session.server.started;
        let sole = || self.sole.lock().unwrap_or_else(PoisonError::into_inner);
        if self.demand != Demand::Primary || self.info.hosts.len() < 2 || *sole() == *started {
            return Ok(());
        }
        let others = (0..self.info.hosts.len()).filter(|host| *host != session.host);
        let rivals = join_all(others.map(|host| self.rival(host, &session.server))).await;
        let rivals: Vec<Session> = rivals.into_iter().flatten().collect();
        if rivals.is_empty() {
            sole().clone_from(started);
            return Ok(());
        }
        let mut each = Vec::new();
        for one in std::iter::once(session).chain(&rivals) {
            let place = self.info.describe_host(one.host);
            each.push(match timeline(one).await {
                Some(number) => format!("{place} is a primary on timeline {number}"),
                None => format!("{place} is a primary"),
            });
        }
        Err(Error::new(
            ErrorKind::Connection,
            "more than one server in the connection string takes writes",
        )
        .with_cause(each.join("; "))
        .with_hint(
            "What is written to one of them is lost to the other. Stop the one that a failover has left behind (as a rule that on the lower timeline), or name the right one alone.",
        ))
    }

    /// The primary at another host, if there is one that is not this very server by another name.
    async fn rival(&self, host: usize, chosen: &Server) -> Option<Session> {
        match tokio::time::timeout(PATIENCE, self.connect_host(host)).await {
            Ok(Ok(other)) => {
                let writes = hosts::rank(None, Demand::Primary, &other.server) == Some(0);
                (writes && other.server.started != chosen.started).then_some(other)
            }
            Ok(Err(error)) => {
                tracing::debug!(%error, "no other primary");
                None
            }
            Err(_) => None,
        }
    }
}

/// The timeline that a primary writes; none where it does not say.
async fn timeline(session: &Session) -> Option<u32> {
    let sql =
        Sql::new("SELECT pg_catalog.left(pg_catalog.pg_walfile_name(pg_catalog.pg_current_wal_lsn()), 8) AS timeline");
    let row = session.query_one(&sql, &[], "look at the timeline").await.ok()?;
    u32::from_str_radix(column(&row, "timeline").ok()?, 16).ok()
}
