//! Runs plans: one transaction, one round trip, and the truth about its outcome.

use std::time::Duration;

use super::session::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::plan::{Plan, TIMEOUT_CONSTRAINT};

/// Applies a plan as one transaction in one round trip, within the plan's statement timeout as a whole.
///
/// On an error everything was rolled back, except for kind `connection` and for a timeout of our own clock: then the
/// server may or may not have committed, and [`Outcome::Unknown`] says so.
///
/// # Errors
/// What the server refused, classified.
pub async fn apply(session: &Session, plan: &Plan) -> Result<(), Failure> {
    let sql = plan.transaction();
    let batch = session.batch(&sql, &plan.title);
    // The server enforces the limit; this clock is for a server that no longer answers.
    let patience = plan.statement_timeout + Duration::from_secs(2);
    match tokio::time::timeout(patience, batch).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) if error.constraint() == Some(TIMEOUT_CONSTRAINT) => {
            session.rollback().await;
            Err(Failure {
                error: overrun(plan).with_sqlstate("57014"),
                outcome: Outcome::RolledBack,
            })
        }
        Ok(Err(error)) if error.kind() == ErrorKind::Connection => Err(Failure {
            error,
            outcome: Outcome::Unknown,
        }),
        Ok(Err(error)) => {
            session.rollback().await;
            Err(Failure {
                error,
                outcome: Outcome::RolledBack,
            })
        }
        Err(_) => {
            session.cancel().await;
            session.abandon();
            Err(Failure {
                error: overrun(plan),
                outcome: Outcome::Unknown,
            })
        }
    }
}

fn overrun(plan: &Plan) -> Error {
    Error::new(
        ErrorKind::Timeout,
        format!(
            "failed to {} within {} s",
            plan.title,
            plan.statement_timeout.as_secs_f64()
        ),
    )
    .with_cause("the time limit ran out")
    .with_hint(
        "Look for load and for locks on the server, then run the command again; provisioning.timeout_s sets the limit.",
    )
}

/// Why a plan was not applied, and whether that is certain.
#[derive(Debug)]
pub struct Failure {
    /// What went wrong.
    pub error: Error,
    /// What is known of the transaction.
    pub outcome: Outcome,
}

/// What is known of a transaction that did not report success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Nothing of it stays.
    RolledBack,
    /// The session ended before the answer came; the registry has to be asked.
    Unknown,
}
