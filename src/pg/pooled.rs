//! Whether a session goes through a pooler that gives it another server process at each transaction.
//!
//! Every session sets what it relies on once, at its start. Behind such a pooler that goes to one server process and the next
//! statement to another, and whoever comes to the first one finds settings that are not its own.

use std::time::{Duration, Instant};

use tokio_postgres::{Client, SimpleQueryMessage};

use super::session::Server;
use super::sql::Sql;
use crate::error::{Error, ErrorKind, Result};

/// A process older than the connection by more than this was not started for it.
const SLACK: Duration = Duration::from_millis(100);

/// How long a second connection may take: in a pool that is full it would wait for one to come free.
const PATIENCE: Duration = Duration::from_secs(3);

/// Whether the server process was there before the connection to it was begun.
pub(in crate::pg) fn is_reused(age: Option<f64>, begun: Instant) -> bool {
    age.is_some_and(|age| age > (begun.elapsed() + SLACK).as_secs_f64())
}

/// Asks a second connection which process it got. While the first one is open that is another one, unless a pooler hands
/// processes out by transaction; it hands out first what came back last.
///
/// # Errors
/// Kind `unsupported` when it is the same. What keeps the second connection from saying so is none.
pub(in crate::pg) async fn refuse_shared(server: &Server, second: impl Future<Output = Result<Client>>) -> Result<()> {
    let asked = async {
        let client = second.await.ok()?;
        let sql = Sql::new("BEGIN; SELECT pg_catalog.pg_backend_pid() AS pid");
        let answer = client.simple_query(&sql.wire()).await.ok()?;
        let pid: Option<i32> = answer.iter().find_map(|message| match message {
            SimpleQueryMessage::Row(row) => row.get("pid")?.parse().ok(),
            _ => None,
        });
        // What the first one has set there is not for whoever comes next.
        let _ = client.simple_query(&Sql::new("ROLLBACK; RESET ALL").wire()).await;
        pid
    };
    let pid = tokio::time::timeout(PATIENCE, asked).await.ok().flatten();
    if pid != Some(server.backend_pid) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::Unsupported,
        "the connection goes through a pooler in transaction mode",
    )
    .with_cause("a second connection got the server process of the first one, which was still open: settings of a session do not hold there")
    .with_hint("Connect to PostgreSQL itself and not to the pooler's port, or to a pooler in session mode."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_process_from_before_is_suspect() {
        let now = Instant::now();
        assert!(!is_reused(None, now) && !is_reused(Some(0.0), now) && !is_reused(Some(0.05), now));
        assert!(is_reused(Some(5.0), now));
    }
}
