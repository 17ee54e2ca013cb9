//! Sessions that read beside the caller's, and what they are told before they do.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;

use crate::error::{Error, Result};
use crate::pg::session::{Connector, Session};
use crate::pg::sql::Sql;

/// Tables after which a session is replaced: a backend keeps what it knows of every table that it has opened.
const RECYCLE_AFTER: usize = 5_000;

/// Opens sessions that only read.
#[derive(Clone)]
pub struct Readers<'a> {
    /// Whose server and login.
    pub connector: &'a Connector,
    /// How many at the same time.
    pub jobs: usize,
    /// The longest wait for a lock.
    pub lock_timeout: Duration,
}

/// What is done in several sessions, piece by piece.
pub trait Work: Sync {
    /// A piece of it.
    type Piece: Send + Sync;
    /// What a piece gives.
    type Done: Send;

    /// Tables that a piece opens.
    fn tables(&self, piece: &Self::Piece) -> usize;

    /// Does a piece.
    fn one(&self, session: &Session, piece: &Self::Piece) -> impl Future<Output = Result<Self::Done>> + Send;
}

impl Readers<'_> {
    /// Opens one session.
    ///
    /// # Errors
    /// When the server does not let it in.
    pub async fn open(&self) -> Result<Session> {
        let session = self.connector.connect().await?;
        // Compiling a query that runs for a quarter of a second takes longer than that. Statistics that are read once need no
        // copy. The catalog of many tenants is hashed, in memory; sorting names of files takes long in most locales. And what is
        // asked of the tenants here must not push their own statements out of the statistics.
        let sql = Sql::new(
            "SET default_transaction_read_only = on; SET jit = off; SET work_mem = '64MB'; SET enable_mergejoin = off;
SET max_parallel_workers_per_gather = 0;
SET stats_fetch_consistency = 'none';
SELECT pg_catalog.set_config(p.name, 'none', false) FROM (VALUES ('pg_stat_statements.track')) p (name)
WHERE pg_catalog.current_setting(p.name, true) IS NOT NULL AND pg_catalog.has_parameter_privilege(p.name, 'SET');
SET lock_timeout = ",
        )
        .int(self.lock_timeout.as_millis().max(1) as i128);
        session.batch(&sql, "prepare the session").await?;
        Ok(session)
    }

    /// Does all pieces, each once, over several sessions; the results come in no particular order. A server that has no place
    /// for so many sessions is read with fewer, at least with one.
    ///
    /// # Errors
    /// The first error of a piece or of the first session; what is under way then is finished, the rest is not begun.
    pub async fn each<W: Work>(&self, work: &W, pieces: Vec<W::Piece>) -> Result<Vec<W::Done>> {
        let jobs = self.jobs.clamp(1, pieces.len().max(1));
        let queue = Queue(Mutex::new(VecDeque::from(pieces)));
        let workers = (0..jobs).map(|worker| self.worker(work, &queue, worker == 0));
        let (mut results, mut left) = (Vec::new(), Vec::new());
        for outcome in join_all(workers).await {
            let (done, returned) = outcome?;
            results.extend(done);
            left.extend(returned);
        }
        // What workers without a session gave back: one session is there by now, or was.
        if !left.is_empty() {
            let session = self.open().await?;
            for piece in left {
                results.push(work.one(&session, &piece).await?);
            }
        }
        Ok(results)
    }

    /// Does pieces until there are none. The piece that comes back is one that there was no session for.
    async fn worker<W: Work>(
        &self,
        work: &W,
        queue: &Queue<W::Piece>,
        must: bool,
    ) -> Result<(Vec<W::Done>, Option<W::Piece>)> {
        let mut done = Vec::new();
        let mut open: Option<(Session, usize)> = None;
        while let Some(piece) = queue.next() {
            let kept = open
                .take()
                .filter(|(session, tables)| !session.is_closed() && *tables < RECYCLE_AFTER);
            let (session, tables) = match kept {
                Some(kept) => kept,
                None => match self.open().await {
                    Ok(session) => (session, 0),
                    Err(error) if error.sqlstate() == Some("53300") && !must => return Ok((done, Some(piece))),
                    Err(error) => return Err(queue.stop(error)),
                },
            };
            match work.one(&session, &piece).await {
                Ok(result) => done.push(result),
                Err(error) => return Err(queue.stop(error)),
            }
            open = Some((session, tables + work.tables(&piece)));
        }
        Ok((done, None))
    }
}

/// Pieces that nobody has begun.
struct Queue<T>(Mutex<VecDeque<T>>);

impl<T> Queue<T> {
    fn next(&self) -> Option<T> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }

    /// Nobody begins another one; the error comes back.
    fn stop(&self, error: Error) -> Error {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
        error
    }
}
