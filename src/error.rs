//! The one error type: what went wrong, why, what to do, and the exit code of its class.
//!
//! Messages are lower-case without a final full stop; hints are whole sentences. Neither ever holds a
//! password. The kind is decided by SQLSTATE or by where the error arose, never by message text.

use std::fmt;

use serde::Serialize;
use uuid::Uuid;

/// What class an error is of; decides severity and exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// The command line asks for something that cannot be.
    Usage,
    /// `tenant_templates.yaml`, a template module or an environment variable is wrong.
    Config,
    /// No session with the server could be had, or it was lost.
    Connection,
    /// A time limit ran out; everything was rolled back.
    Timeout,
    /// The server refused for lack of privilege.
    Permission,
    /// What was to be created exists already.
    Duplicate,
    /// What was asked for does not exist.
    NotFound,
    /// The server is a standby or otherwise read-only.
    ReadOnly,
    /// The database has no registry, or one of another version.
    NotInitialized,
    /// The server or the database lacks what the command needs.
    Unsupported,
    /// Sessions or objects stand in the way.
    InUse,
    /// The backup store or a local file refused.
    Store,
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// Anything else the database said.
    Unknown,
}

/// How bad an error is, in the words of the operation log.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Harmless: the wanted state holds already.
    Warning,
    /// The command failed.
    Error,
    /// The command failed in a way that will hit other tenants too.
    Critical,
}

impl ErrorKind {
    /// The process exit code of this class.
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Usage | Self::Config => 2,
            Self::Connection => 3,
            Self::Store => 5,
            Self::Interrupted => 130,
            _ => 4,
        }
    }

    /// The severity that the operation log and alerts record.
    pub fn severity(self) -> Severity {
        match self {
            Self::Duplicate => Severity::Warning,
            Self::Timeout | Self::Permission => Severity::Critical,
            _ => Severity::Error,
        }
    }

    /// The name used in JSON and in the operation log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Usage => "usage",
            Self::Config => "config",
            Self::Connection => "connection",
            Self::Timeout => "timeout",
            Self::Permission => "permission",
            Self::Duplicate => "duplicate",
            Self::NotFound => "not_found",
            Self::ReadOnly => "read_only",
            Self::NotInitialized => "not_initialized",
            Self::Unsupported => "unsupported",
            Self::InUse => "in_use",
            Self::Store => "store",
            Self::Interrupted => "interrupted",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Severity {
    /// The name used in JSON and in the operation log.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Critical => "critical",
        }
    }
}

/// An error as the user, the log and the registry see it.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", .0.message)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    id: Uuid,
    kind: ErrorKind,
    message: String,
    cause: Option<String>,
    hint: Option<String>,
    sqlstate: Option<String>,
    constraint: Option<String>,
    uncertain: bool,
    damage: bool,
}

/// Result with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// An error of a class with its message; it gets an id of its own.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            id: Uuid::new_v4(),
            kind,
            message: message.into(),
            cause: None,
            hint: None,
            sqlstate: None,
            constraint: None,
            uncertain: false,
            damage: false,
        }))
    }

    /// The command line asks for something that cannot be (exit 2).
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// The configuration is wrong (exit 2).
    pub fn config(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Config, message)
    }

    /// The user has asked to stop (exit 130).
    pub fn interrupted() -> Self {
        Self::new(ErrorKind::Interrupted, "interrupted")
            .with_hint("A transaction that had not committed was rolled back. Run the command again to finish.")
    }

    /// Adds why it happened, as far as known.
    #[must_use]
    pub fn with_cause(mut self, cause: impl fmt::Display) -> Self {
        self.0.cause = Some(cause.to_string());
        self
    }

    /// Adds what the user can do; one or two sentences.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    /// Keeps the server's SQLSTATE.
    #[must_use]
    pub fn with_sqlstate(mut self, sqlstate: impl Into<String>) -> Self {
        self.0.sqlstate = Some(sqlstate.into());
        self
    }

    /// Keeps the name of the violated constraint, so that callers can branch on it.
    #[must_use]
    pub fn with_constraint(mut self, constraint: impl Into<String>) -> Self {
        self.0.constraint = Some(constraint.into());
        self
    }

    /// Marks that the change may have been made all the same: the server could not be asked any more.
    #[must_use]
    pub fn with_uncertainty(mut self) -> Self {
        self.0.uncertain = true;
        self
    }

    /// Whether the change may have been made all the same.
    pub fn is_uncertain(&self) -> bool {
        self.0.uncertain
    }

    /// Says that a backup was read and is not what it should be; whoever could not read it says nothing about it.
    #[must_use]
    pub fn with_damage(mut self) -> Self {
        self.0.damage = true;
        self
    }

    /// Whether a backup was found to be damaged.
    pub fn is_damage(&self) -> bool {
        self.0.damage
    }

    /// Replaces the message, keeping id, kind, cause and SQLSTATE; the old message becomes the cause if there was none.
    #[must_use]
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        let old = std::mem::replace(&mut self.0.message, message.into());
        self.0.cause.get_or_insert(old);
        self
    }

    /// Puts the place in front of the message, such as `tenants.csv:7`.
    #[must_use]
    pub fn at(mut self, place: &str) -> Self {
        self.0.message = format!("{place}: {}", self.0.message);
        self
    }

    /// Replaces the class.
    #[must_use]
    pub fn with_kind(mut self, kind: ErrorKind) -> Self {
        self.0.kind = kind;
        self
    }

    /// The id under which this error is also logged and recorded.
    pub fn id(&self) -> Uuid {
        self.0.id
    }

    /// The class.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// What went wrong, fit for showing to anyone.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Why, if known.
    pub fn cause(&self) -> Option<&str> {
        self.0.cause.as_deref()
    }

    /// What went wrong and why, on one line.
    pub fn one_line(&self) -> String {
        match self.cause() {
            Some(cause) => format!("{}: {cause}", self.message()),
            None => self.message().to_owned(),
        }
    }

    /// What to do, if known.
    pub fn hint(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }

    /// The server's SQLSTATE, if the server said it.
    pub fn sqlstate(&self) -> Option<&str> {
        self.0.sqlstate.as_deref()
    }

    /// The violated constraint, if the server named one.
    pub fn constraint(&self) -> Option<&str> {
        self.0.constraint.as_deref()
    }
}
