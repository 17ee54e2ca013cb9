//! From what the driver reports to an [`Error`] with kind, hint and SQLSTATE. Branches on codes only.

use std::error::Error as _;

use tokio_postgres::error::{DbError, SqlState};

use crate::error::{Error, ErrorKind};

/// The class of a SQLSTATE.
pub fn classify(code: &str) -> ErrorKind {
    match code {
        // query_canceled, lock_not_available, idle/transaction timeouts
        "57014" | "55P03" | "25P03" | "25P04" => ErrorKind::Timeout,
        // insufficient_privilege, and the modification of a system object
        "42501" | "42939" => ErrorKind::Permission,
        // unique_violation; duplicate object, schema, table, function, database, column, cursor
        "23505" | "42710" | "42P06" | "42P07" | "42723" | "42P04" | "42701" => ErrorKind::Duplicate,
        "25006" => ErrorKind::ReadOnly,
        // dependent_objects_still_exist, object_in_use
        "2BP01" | "55006" => ErrorKind::InUse,
        // admin_shutdown, crash_shutdown, cannot_connect_now, idle_session_timeout; too_many_connections
        "57P01" | "57P02" | "57P03" | "57P05" | "53300" => ErrorKind::Connection,
        "0A000" => ErrorKind::Unsupported,
        _ => match code.get(..2) {
            // connection exception; invalid authorization; invalid catalog (database) name
            Some("08" | "28" | "3D") => ErrorKind::Connection,
            _ => ErrorKind::Unknown,
        },
    }
}

/// What the server said, as one of our errors; `doing` completes the sentence `failed to ...`.
pub(in crate::pg) fn from_db(db: &DbError, doing: &str) -> Error {
    let code = db.code().code();
    let kind = classify(code);
    let mut error = Error::new(kind, format!("failed to {doing}"))
        .with_cause(describe(db))
        .with_sqlstate(code);
    if let Some(constraint) = db.constraint() {
        error = error.with_constraint(constraint);
    }
    if let Some(hint) = hint(db) {
        error = error.with_hint(hint);
    }
    error
}

/// What the driver said while a session was open.
pub(in crate::pg) fn from_driver(error: &tokio_postgres::Error, doing: &str) -> Error {
    if let Some(db) = error.as_db_error() {
        return from_db(db, doing);
    }
    if error.is_closed() || error.source().is_some_and(|s| s.is::<std::io::Error>()) {
        return lost(doing).with_cause(error);
    }
    Error::new(ErrorKind::Unknown, format!("failed to {doing}")).with_cause(error)
}

/// The session ended under us.
pub(in crate::pg) fn lost(doing: &str) -> Error {
    Error::new(ErrorKind::Connection, format!("lost the connection to the server while trying to {doing}")).with_hint(
        "The server rolled back what was not committed. Check that it is running, then run the command again: tenantctl finds out what is there.",
    )
}

/// The server's message with the detail it added, on one line.
fn describe(db: &DbError) -> String {
    let mut text = db.message().to_owned();
    if let Some(detail) = db.detail() {
        text = format!("{text}: {}", detail.replace('\n', "; "));
    }
    if let Some(context) = db.where_().filter(|_| *db.code() == SqlState::RAISE_EXCEPTION) {
        text = format!("{text} ({})", context.replace('\n', "; "));
    }
    text
}

fn hint(db: &DbError) -> Option<String> {
    let ours = match db.code().code() {
        "57014" => {
            "The statement ran into its time limit or was cancelled, and was rolled back. Look for load on the server, then try again."
        }
        "55P03" => {
            "Another session holds a lock that is needed here. Look at pg_locks and pg_stat_activity, then try again."
        }
        "42501" => {
            "The admin must be a member of tenantctl_owner that inherits, and have CREATEROLE and CREATE on the database. From PostgreSQL 16 on, a role is altered and dropped by the admin who made it, or by a superuser."
        }
        "25006" => {
            "This is a standby or a read-only session. Connect to the primary, or add target_session_attrs=read-write to a multi-host URL."
        }
        "53100" => "The server's disk is full.",
        "53200" => {
            "The server is out of memory or of lock table entries. `tenantctl validate --preflight --check locks` tells what max_locks_per_transaction should be; more of it takes a restart."
        }
        "53300" => "The server has no connection left. Lower --jobs, or raise max_connections.",
        "57P01" | "57P02" => "The server is being shut down; what was not committed has been rolled back.",
        "57P03" => "The server is starting up, shutting down or in recovery; try again in a moment.",
        _ => return db.hint().map(str::to_owned),
    };
    Some(ours.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Severity;

    #[test]
    fn the_seeds_four_classes() {
        for (code, kind, severity) in [
            ("57014", ErrorKind::Timeout, Severity::Critical),
            ("55P03", ErrorKind::Timeout, Severity::Critical),
            ("42501", ErrorKind::Permission, Severity::Critical),
            ("23505", ErrorKind::Duplicate, Severity::Warning),
            ("42710", ErrorKind::Duplicate, Severity::Warning),
            ("XX000", ErrorKind::Unknown, Severity::Error),
            ("", ErrorKind::Unknown, Severity::Error),
        ] {
            assert_eq!(classify(code), kind, "{code}");
            assert_eq!(kind.severity(), severity, "{code}");
        }
        assert_eq!(classify("28P01").exit_code(), 3);
        assert_eq!(classify("3D000").exit_code(), 3);
    }
}
