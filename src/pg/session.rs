//! The one way to a server: connect, pin the session's settings, send [`Sql`], get rows or one of our errors.

mod rivals;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio_postgres::types::{FromSql, ToSql, Type};
use tokio_postgres::{CancelToken, Client, NoTls, SimpleQueryMessage, Statement};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::conninfo::ConnInfo;
use super::hosts::{self, Demand, Tried};
use super::record::Failures;
use super::sql::Sql;
use super::{pooled, sqlstate, tls};
use crate::error::{Error, ErrorKind, Result};

pub use tokio_postgres::Row;

/// The oldest server that tenantctl works with, as `server_version_num`.
pub const OLDEST_SERVER: i32 = 150_000;

/// Time limits that every session starts with.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// `statement_timeout`.
    pub statement: Duration,
    /// `lock_timeout`.
    pub lock: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            statement: Duration::from_secs(60),
            lock: Duration::from_secs(5),
        }
    }
}

/// What the server and the login are, read once per session.
#[derive(Clone, Debug)]
pub struct Server {
    /// `server_version_num`, such as 150018.
    pub version_num: i32,
    /// `server_version`, such as `15.18 (Debian 15.18-0+deb12u1)`.
    pub version: String,
    /// The database of this session.
    pub database: String,
    /// `session_user`.
    pub user: String,
    /// Whether the server is a standby.
    pub in_recovery: bool,
    /// Whether transactions are read-only by default here.
    pub read_only: bool,
    /// The backend's process id.
    pub backend_pid: i32,
    /// When the server started, to the microsecond: a process id and a snapshot mean something on that very server only.
    pub started: String,
}

/// Opens sessions to one server, or to the one of several that fits, with one login.
#[derive(Clone)]
pub struct Connector {
    info: Arc<ConnInfo>,
    demand: Demand,
    /// The host of the last session, which is tried first: one that is down, or no primary, would cost each session its time.
    last: Arc<AtomicUsize>,
    /// When the server was started that is known to be the only primary among the hosts.
    sole: Arc<Mutex<String>>,
    application: Arc<str>,
    limits: SessionLimits,
    discreet: bool,
    failures: Arc<Failures>,
}

impl Connector {
    /// A connector; `application` becomes `application_name`.
    pub fn new(info: ConnInfo, application: &str, limits: SessionLimits) -> Self {
        Self {
            info: Arc::new(info),
            demand: Demand::Newest,
            last: Arc::default(),
            sole: Arc::default(),
            application: application.into(),
            limits,
            discreet: false,
            failures: Arc::default(),
        }
    }

    /// The critical failures of whatever works with this connector or one made from it.
    pub fn failures(&self) -> &Arc<Failures> {
        &self.failures
    }

    /// The same, but its sessions keep their statements out of the server's log and statistics as far as the login may
    /// set that: for statements with a verifier in them, which log_statement would log before they can say otherwise.
    #[must_use]
    pub fn discreet(&self) -> Self {
        Self {
            discreet: true,
            ..self.clone()
        }
    }

    /// The connection parameters.
    pub fn info(&self) -> &ConnInfo {
        &self.info
    }

    /// The same server and limits with other parameters, such as another database or login.
    #[must_use]
    pub fn with_info(&self, info: ConnInfo) -> Self {
        Self {
            info: Arc::new(info),
            last: Arc::default(),
            ..self.clone()
        }
    }

    /// The same, but its sessions need this of a server.
    #[must_use]
    pub fn demanding(&self, demand: Demand) -> Self {
        Self {
            demand,
            last: Arc::default(),
            ..self.clone()
        }
    }

    /// Opens a session on the host that fits `target_session_attrs` and what is demanded, the best of those that answer.
    ///
    /// # Errors
    /// Kind `connection` with a hint for each way it can fail, two primaries among them where one is demanded; `read_only` when
    /// the only host is no primary and one is demanded; `usage` when the connection string asks for the contrary; `unsupported`
    /// for a server older than 15.
    pub async fn connect(&self) -> Result<Session> {
        let wanted = self.info.target_session_attrs;
        hosts::require_compatible(wanted, self.demand)?;
        let mut tried = Tried::default();
        let mut second_best: Option<(u8, Session)> = None;
        let alone = self.info.hosts.len() == 1;
        for host in self.in_order() {
            let place = self.info.describe_host(host);
            let session = match self.connect_host(host).await {
                Ok(session) => session,
                Err(error) => {
                    tried.failed(&place, error);
                    continue;
                }
            };
            let server = session.server();
            match hosts::rank(wanted, self.demand, server) {
                Some(0) => {
                    self.require_sole_primary(&session).await?;
                    return Ok(self.settled_on(session));
                }
                Some(rank) => {
                    if second_best.as_ref().is_none_or(|(best, _)| rank < *best) {
                        second_best = Some((rank, session));
                    }
                }
                None if alone && self.demand == Demand::Primary => server.require_writable()?,
                // There is no choice; whoever needs a standby says what it is not.
                None if alone && wanted.is_none() => return Ok(session),
                None => tried.unfit(&place, server),
            }
        }
        match second_best {
            Some((_, session)) => Ok(self.settled_on(session)),
            None => Err(tried.into_error(wanted, self.demand)),
        }
    }

    /// The hosts as they are to be tried.
    fn in_order(&self) -> impl Iterator<Item = usize> {
        let count = self.info.hosts.len();
        let last = self.last.load(Ordering::Relaxed).min(count.saturating_sub(1));
        std::iter::once(last)
            .chain((0..count).filter(move |host| *host != last))
            .take(count)
    }

    fn settled_on(&self, session: Session) -> Session {
        if self.last.swap(session.host, Ordering::Relaxed) != session.host {
            let place = self.info.describe_host(session.host);
            tracing::info!(server = %place, role = session.server.role_name(), "connected past other hosts");
        }
        session
    }

    /// Whether a session was taken for want of a better one, which may be there by now: one that is kept for long is then
    /// better replaced.
    pub fn would_rather_another(&self, session: &Session) -> bool {
        self.info.hosts.len() > 1
            && hosts::rank(self.info.target_session_attrs, self.demand, &session.server) != Some(0)
    }

    /// Opens a session on the very server that another one is on, to share its snapshot.
    ///
    /// # Errors
    /// As [`Connector::connect`]; kind `connection` when another server answers in its place.
    pub async fn connect_beside(&self, other: &Server, host: usize) -> Result<Session> {
        let session = self.connect_host(host).await?;
        if session.server.started == other.started {
            return Ok(session);
        }
        let place = self.info.describe_host(host);
        Err(Error::new(ErrorKind::Connection, "sessions reach different servers")
            .with_cause(format!(
                "behind {place} there is more than one server, or it was restarted"
            ))
            .with_hint("Connect to one server, past whatever spreads sessions over several."))
    }

    async fn connect_host(&self, host: usize) -> Result<Session> {
        let begun = Instant::now();
        let (client, tls) = self.open_host(host).await?;
        let (server, age) = pin_settings(&client, self.limits, self.discreet).await?;
        server.require_supported()?;
        if pooled::is_reused(age, begun) {
            let second = async { self.open_host(host).await.map(|(client, _)| client) };
            pooled::refuse_shared(&server, second).await?;
        }
        let cancel = client.cancel_token();
        Ok(Session {
            client,
            cancel,
            tls,
            server,
            host,
            abandoned: AtomicBool::new(false),
            prepared: Mutex::default(),
        })
    }

    /// A connection to one of the hosts that nothing was sent over yet.
    pub(in crate::pg) async fn open_host(&self, host: usize) -> Result<(Client, Option<MakeRustlsConnect>)> {
        let config = self.info.to_driver(host, &self.application);
        let tls = tls::connector(&self.info, host)?;
        let opened = async {
            loop {
                let opened = match &tls {
                    Some(tls) => config.connect(tls.clone()).await.map(|(client, connection)| {
                        tokio::spawn(connection);
                        client
                    }),
                    None => config.connect(NoTls).await.map(|(client, connection)| {
                        tokio::spawn(connection);
                        client
                    }),
                };
                match opened {
                    // The queue of a Unix socket is full: many are connecting, and the server is not done with them.
                    Err(error) if io_kind(&error) == Some(std::io::ErrorKind::WouldBlock) => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    opened => return opened,
                }
            }
        };
        let timeout = self.info.connect_timeout;
        let client = match timeout {
            Some(limit) => match tokio::time::timeout(limit, opened).await {
                Ok(opened) => opened,
                Err(_) => return Err(self.timed_out(host, limit)),
            },
            None => opened.await,
        }
        .map_err(|error: tokio_postgres::Error| self.refused(host, &error))?;
        Ok((client, tls))
    }

    fn timed_out(&self, host: usize, limit: Duration) -> Error {
        Error::new(
            ErrorKind::Connection,
            format!("cannot connect to {}", self.info.describe_host(host)),
        )
        .with_cause(format!("no answer within {} s", limit.as_secs()))
        .with_hint("Check host, port and firewall; connect_timeout in the connection string changes the limit.")
    }

    /// Each way a connection is refused, with what to do about it.
    fn refused(&self, host: usize, error: &tokio_postgres::Error) -> Error {
        let place = self.info.describe_host(host);
        let (user, database) = (&self.info.user, &self.info.dbname);
        if let Some(db) = error.as_db_error() {
            let code = db.code().code();
            let (message, hint) = match code {
                "28P01" => (
                    format!("the server refused the password of {user:?}"),
                    "Check PGPASSWORD, ~/.pgpass or the connection string.".to_owned(),
                ),
                "28000" => (
                    format!("the server does not let {user:?} log in to {database:?}"),
                    "Check that the role exists and has LOGIN, and the lines of pg_hba.conf for this host, user and database.".to_owned(),
                ),
                "3D000" => (
                    format!("database {database:?} does not exist"),
                    format!("Create it with `createdb {database}`, or name another with --database-url or PGDATABASE."),
                ),
                "42501" => (
                    format!("{user:?} has no CONNECT privilege on database {database:?}"),
                    "Grant it: GRANT CONNECT ON DATABASE ... TO ...".to_owned(),
                ),
                "53300" => (
                    "the server has no connection left".to_owned(),
                    "Lower --jobs, end idle sessions, or raise max_connections (or the role's or database's CONNECTION LIMIT).".to_owned(),
                ),
                "57P03" => (
                    "the server does not accept connections now".to_owned(),
                    "It is starting up, shutting down or in recovery without hot_standby; try again in a moment.".to_owned(),
                ),
                _ => ("the server refused the connection".to_owned(), "Look into the server's log.".to_owned()),
            };
            return Error::new(ErrorKind::Connection, message)
                .with_cause(format!("{place}: {}", db.message()))
                .with_hint(hint)
                .with_sqlstate(code);
        }
        let io = std::error::Error::source(error).and_then(|s| s.downcast_ref::<std::io::Error>());
        let (cause, hint) = match io.map(std::io::Error::kind) {
            Some(std::io::ErrorKind::ConnectionRefused | std::io::ErrorKind::NotFound) => (
                io.map(ToString::to_string).unwrap_or_default(),
                "No server listens there. Check that PostgreSQL runs, and --database-url or PGHOST and PGPORT.",
            ),
            Some(std::io::ErrorKind::PermissionDenied) => (
                io.map(ToString::to_string).unwrap_or_default(),
                "This user may not open the server's socket; run as its owner or connect over TCP.",
            ),
            _ if !self.info.has_password(host) && error.as_db_error().is_none() && io.is_none() => (
                error.to_string(),
                "The server asks for a password and none is configured: set PGPASSWORD, or write it to ~/.pgpass.",
            ),
            _ => (with_sources(error), "Check host, port, sslmode and sslrootcert."),
        };
        Error::new(ErrorKind::Connection, format!("cannot connect to {place}"))
            .with_cause(cause)
            .with_hint(hint)
    }
}

/// The operating system's verdict, where the driver's error stems from one.
fn io_kind(error: &tokio_postgres::Error) -> Option<std::io::ErrorKind> {
    std::error::Error::source(error)
        .and_then(|s| s.downcast_ref::<std::io::Error>())
        .map(std::io::Error::kind)
}

/// An error and all it stems from, on one line.
fn with_sources(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Pins what the rest relies on, before any name is resolved, and learns who and where we are, and how many seconds ago the
/// server started the process: one round trip.
///
/// A login or a database may have settings of its own. With fewer digits a float would lose some on its way through text; in
/// a snapshot that is older than the lock it waited for, a transaction would not see what was committed meanwhile; and a
/// session that waits for others to load for hours must not be ended for it.
async fn pin_settings(client: &Client, limits: SessionLimits, discreet: bool) -> Result<(Server, Option<f64>)> {
    let sql = Sql::new("SET search_path = ''; SET statement_timeout = ")
        .int(limits.statement.as_millis() as i128)
        .text("; SET lock_timeout = ")
        .int(limits.lock.as_millis() as i128)
        .text(
            "; SET row_security = off; SET standard_conforming_strings = on; SET client_min_messages = warning;
SET DateStyle = 'ISO, MDY'; SET IntervalStyle = 'postgres'; SET TimeZone = 'UTC'; SET client_encoding = 'UTF8';
SET extra_float_digits = 1; SET bytea_output = 'hex'; SET array_nulls = on; SET xmloption = content; SET quote_all_identifiers = off;
SET default_transaction_isolation = 'read committed'; SET default_transaction_deferrable = off;
SET idle_session_timeout = 0; SET idle_in_transaction_session_timeout = 0;
SELECT pg_catalog.current_setting('server_version_num') AS version_num,
    pg_catalog.current_setting('server_version') AS version,
    pg_catalog.current_database() AS database,
    session_user AS login,
    pg_catalog.pg_is_in_recovery() AS in_recovery,
    pg_catalog.current_setting('default_transaction_read_only') AS read_only,
    pg_catalog.pg_backend_pid() AS pid,
    pg_catalog.pg_postmaster_start_time() AS started,
    (SELECT EXTRACT(epoch FROM pg_catalog.clock_timestamp() - a.backend_start)
        FROM pg_catalog.pg_stat_get_activity(pg_catalog.pg_backend_pid()) a) AS age,
    CASE WHEN pg_catalog.current_setting('restrict_nonsystem_relation_kind', true) IS NOT NULL
        THEN pg_catalog.set_config('restrict_nonsystem_relation_kind', 'view,foreign-table', false) END AS restricted,
    CASE WHEN pg_catalog.current_setting('transaction_timeout', true) IS NOT NULL
        THEN pg_catalog.set_config('transaction_timeout', '0', false) END AS unlimited",
        );
    // Its row comes second; the first one is read below.
    let sql = if discreet { sql.append(keep_quiet()) } else { sql };
    let doing = "prepare the session";
    let messages = client
        .simple_query(&sql.wire())
        .await
        .map_err(|e| sqlstate::from_driver(&e, doing))?;
    let row = messages
        .iter()
        .find_map(|m| match m {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        })
        .ok_or_else(|| Error::new(ErrorKind::Unknown, format!("failed to {doing}")))?;
    let text = |name: &str| row.get(name).unwrap_or_default().to_owned();
    let server = Server {
        version_num: text("version_num").parse().unwrap_or_default(),
        version: text("version"),
        database: text("database"),
        user: text("login"),
        in_recovery: text("in_recovery") == "t",
        read_only: text("read_only") == "on",
        backend_pid: text("pid").parse().unwrap_or_default(),
        started: text("started"),
    };
    Ok((server, text("age").parse().ok()))
}

/// Takes every way in which the text of a statement gets into the server's log, pg_stat_activity (which crash and
/// deadlock reports print) and the statement statistics, where the login may: a superuser, or a role with SET on the
/// parameter. A parameter that this server does not have is left alone.
fn keep_quiet() -> Sql {
    Sql::new(
        ";
SELECT pg_catalog.count(pg_catalog.set_config(p.name, p.value, false)) AS quiet
FROM (VALUES ('log_statement', 'none'), ('log_min_duration_statement', '-1'), ('log_min_duration_sample', '-1'),
    ('log_transaction_sample_rate', '0'), ('log_min_error_statement', 'panic'), ('track_activities', 'off'),
    ('debug_print_parse', 'off'), ('debug_print_raw_parse', 'off'), ('debug_print_rewritten', 'off'), ('debug_print_plan', 'off'),
    ('pg_stat_statements.track_utility', 'off'), ('pg_stat_monitor.pgsm_track_utility', 'off')) p (name, value)
WHERE pg_catalog.current_setting(p.name, true) IS NOT NULL
AND (p.name LIKE 'debug%' OR pg_catalog.has_parameter_privilege(p.name, 'SET'))",
    )
}

impl Server {
    /// What it is, for messages.
    pub(super) fn role_name(&self) -> &'static str {
        match (self.in_recovery, self.read_only) {
            (true, _) => "a standby",
            (false, true) => "a read-only primary",
            (false, false) => "a primary",
        }
    }

    /// The major version, such as 15.
    pub fn major(&self) -> i32 {
        self.version_num / 10_000
    }

    /// Refuses a server that is too old.
    ///
    /// # Errors
    /// Kind `unsupported`.
    pub fn require_supported(&self) -> Result<()> {
        if self.version_num >= OLDEST_SERVER {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::Unsupported,
            format!("PostgreSQL {} is too old; tenantctl needs 15 or later", self.version),
        )
        .with_cause("views cannot be security_invoker before 15, so a tenant's views could not be isolated")
        .with_hint("Upgrade the server with pg_upgrade or logical replication."))
    }

    /// Refuses a standby before anything that writes.
    ///
    /// # Errors
    /// Kind `read_only`.
    pub fn require_writable(&self) -> Result<()> {
        if !self.in_recovery && !self.read_only {
            return Ok(());
        }
        Err(Error::new(ErrorKind::ReadOnly, "this server does not accept writes")
            .with_cause(format!("it is {}", self.role_name()))
            .with_hint("Connect to the primary, or give all hosts and target_session_attrs=read-write.")
            .with_sqlstate("25006"))
    }
}

/// A parameter with its type, so that a query takes one round trip instead of two.
pub type Param<'a> = (&'a (dyn ToSql + Sync), Type);

/// One session with the server.
pub struct Session {
    client: Client,
    cancel: CancelToken,
    tls: Option<MakeRustlsConnect>,
    server: Server,
    host: usize,
    abandoned: AtomicBool,
    prepared: Mutex<HashMap<String, Statement>>,
}

impl Session {
    /// What server and login this is.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Which of the connection string's hosts this is.
    pub fn host(&self) -> usize {
        self.host
    }

    /// The driver's client, for COPY.
    pub(in crate::pg) fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the session is known to be gone, or was given up because it no longer answered.
    pub fn is_closed(&self) -> bool {
        self.client.is_closed() || self.abandoned.load(Ordering::Relaxed)
    }

    /// Gives the session up: what it was asked last may still be running.
    pub(crate) fn abandon(&self) {
        self.abandoned.store(true, Ordering::Relaxed);
    }

    /// Runs one or more statements in one round trip; `doing` completes `failed to ...`.
    ///
    /// # Errors
    /// What the server refused, classified; after an error inside a transaction the caller rolls back.
    pub async fn batch(&self, sql: &Sql, doing: &str) -> Result<()> {
        tracing::debug!(%sql, "batch");
        self.client
            .batch_execute(&sql.wire())
            .await
            .map_err(|e| sqlstate::from_driver(&e, doing))
    }

    /// Runs one query in one round trip.
    ///
    /// # Errors
    /// What the server refused, classified.
    pub async fn query(&self, sql: &Sql, params: &[Param<'_>], doing: &str) -> Result<Vec<Row>> {
        tracing::debug!(%sql, "query");
        self.client
            .query_typed(&sql.wire(), params)
            .await
            .map_err(|e| sqlstate::from_driver(&e, doing))
    }

    /// Runs a query that is sent again and again and takes longer to plan than to run: from the second time on in one
    /// round trip, later on without planning. The server keeps the statement as long as the session.
    ///
    /// # Errors
    /// What the server refused, classified.
    pub async fn query_prepared(&self, sql: &Sql, params: &[Param<'_>], doing: &str) -> Result<Vec<Row>> {
        tracing::debug!(%sql, "query, prepared");
        let refused = |e| sqlstate::from_driver(&e, doing);
        let known = |all: &Mutex<HashMap<_, Statement>>, text: &str| {
            let all = all.lock().unwrap_or_else(PoisonError::into_inner);
            all.get(text).cloned()
        };
        let text = sql.wire();
        let statement = match known(&self.prepared, &text) {
            Some(statement) => statement,
            None => {
                let types: Vec<Type> = params.iter().map(|(_, r#type)| r#type.clone()).collect();
                let statement = self.client.prepare_typed(&sql.wire(), &types).await.map_err(refused)?;
                let mut all = self.prepared.lock().unwrap_or_else(PoisonError::into_inner);
                all.entry(text).or_insert(statement).clone()
            }
        };
        let values: Vec<&(dyn ToSql + Sync)> = params.iter().map(|(value, _)| *value).collect();
        self.client.query(&statement, &values).await.map_err(refused)
    }

    /// Runs a query that yields at most one row.
    ///
    /// # Errors
    /// What the server refused, classified.
    pub async fn query_opt(&self, sql: &Sql, params: &[Param<'_>], doing: &str) -> Result<Option<Row>> {
        Ok(self.query(sql, params, doing).await?.into_iter().next())
    }

    /// Runs a query that yields exactly one row.
    ///
    /// # Errors
    /// What the server refused, or no row.
    pub async fn query_one(&self, sql: &Sql, params: &[Param<'_>], doing: &str) -> Result<Row> {
        self.query_opt(sql, params, doing)
            .await?
            .ok_or_else(|| Error::new(ErrorKind::Unknown, format!("failed to {doing}")).with_cause("no row came back"))
    }

    /// Sends batches one after the other without waiting in between, and returns what became of each.
    ///
    /// Each is a message of its own: an error in one skips the rest of that one only. In a transaction, let each begin
    /// with the end of what the one before may have left aborted.
    pub async fn pipeline(&self, batches: &[Sql], doing: &str) -> Vec<Result<()>> {
        let mut running: Vec<_> = batches.iter().map(|sql| Box::pin(self.batch(sql, doing))).collect();
        let mut answers: Vec<Option<Result<()>>> = batches.iter().map(|_| None).collect();
        let mut first = 0;
        let mut sent = false;
        std::future::poll_fn(|cx| {
            while first < running.len() {
                // The driver sends what is polled for the first time, in this order; the answers come in the same, so
                // that after that only the first that is missing needs to be looked at.
                let looked_at = if sent { first..first + 1 } else { 0..running.len() };
                sent = true;
                for at in looked_at {
                    if let Poll::Ready(answer) = running[at].as_mut().poll(cx) {
                        answers[at] = Some(answer);
                    }
                }
                let come = answers.iter().skip(first).take_while(|answer| answer.is_some()).count();
                if come == 0 {
                    return Poll::Pending;
                }
                first += come;
            }
            Poll::Ready(())
        })
        .await;
        drop(running);
        answers.into_iter().flatten().collect()
    }

    /// Ends an open transaction, whatever its state; an error here changes nothing for the caller.
    pub async fn rollback(&self) {
        if let Err(error) = self.client.batch_execute("ROLLBACK").await {
            tracing::debug!(%error, "rollback");
        }
    }

    /// Asks the server to cancel what this session runs; does not wait for it to obey.
    pub async fn cancel(&self) {
        let cancelled = async {
            match &self.tls {
                Some(tls) => self.cancel.cancel_query(tls.clone()).await,
                None => self.cancel.cancel_query(NoTls).await,
            }
        };
        if let Ok(Err(error)) = tokio::time::timeout(Duration::from_secs(2), cancelled).await {
            tracing::debug!(%error, "cancel request");
        }
    }
}

/// Reads a column of a row by name.
///
/// # Errors
/// When the column is missing or of another type, which is a defect of the query.
pub fn column<'a, T: FromSql<'a>>(row: &'a Row, name: &str) -> Result<T> {
    row.try_get(name).map_err(|e| {
        Error::new(ErrorKind::Unknown, format!("failed to read column {name:?}")).with_cause(with_sources(&e))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_before_15_are_refused() {
        let server = |version_num| Server {
            version_num,
            version: "14.20".into(),
            database: "d".into(),
            user: "u".into(),
            in_recovery: false,
            read_only: false,
            backend_pid: 1,
            started: "then".into(),
        };
        let error = server(140_020).require_supported().expect_err("too old");
        assert_eq!(error.kind().exit_code(), 4);
        assert!(error.message().contains("14.20 is too old"), "{error}");
        assert!(server(150_000).require_supported().is_ok());
        assert!(server(180_004).require_supported().is_ok());
    }
}
