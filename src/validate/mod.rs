//! The proof of isolation: what was looked for in the live database, what was found, what could not be looked at.

pub mod checks;
pub mod junit;
pub mod probe;
pub mod report;
pub mod run;
pub mod sarif;
pub mod suppress;

use std::fmt;

use serde::Serialize;

/// How bad a finding is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// Worth knowing; no tenant reaches another through it.
    Low,
    /// Weakens a line of defence that others still hold.
    Medium,
    /// A tenant can harm or exhaust others, or a whole line of defence is gone.
    High,
    /// A tenant can read or change another's data, or run code as somebody else.
    Critical,
}

impl Severity {
    /// The name in SQL checks, JSON and flags.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }

    /// From the name in a check's result.
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Low, Self::Medium, Self::High, Self::Critical]
            .into_iter()
            .find(|s| s.as_str() == text)
    }
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One isolation defect, with the name of what is wrong and what mends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The check's id, such as `grants_outside`.
    pub check: String,
    /// How bad it is.
    pub severity: Severity,
    /// The tenant it concerns; none: the database or the cluster.
    pub tenant_id: Option<String>,
    /// That tenant's schema.
    pub schema_name: Option<String>,
    /// The object, such as `table tenant_0123456789ab.trades`.
    pub object: String,
    /// What is wrong, in a sentence without a final full stop.
    pub detail: String,
    /// SQL or a command that mends it.
    pub remedy: String,
}

/// A check that could not be run, or not wholly; nothing was proven there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Unknown {
    /// The check's id.
    pub check: String,
    /// Why.
    pub reason: String,
}
