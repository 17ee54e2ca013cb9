//! The deployment checklist: what must hold before tenants are served, and after.
//!
//! [`observe`] reads the cluster once; the checks of the database judge that and nothing else, so that they are tested
//! without a server. What lies beside the database (replicas, store, pooler, receivers) each check asks for itself. A check
//! that cannot find out says UNKNOWN, never PASS.

pub mod caches;
pub mod capacity;
pub mod checklist;
pub mod deployed;
pub mod fragment;
pub mod junit;
pub mod machine;
pub mod observe;
pub mod outside;
pub mod pooler;
pub mod report;
pub mod run;
pub mod server;
pub mod settings;
pub mod storage;
pub mod units;
pub mod wraparound;

use std::fmt;

use serde::Serialize;

pub use checklist::{Check, Stage};
pub use report::{Report, Skipped};

/// How an item of the checklist ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    /// It holds, or there is nothing that it would have to hold for.
    Pass,
    /// Serving tenants works, and something will hurt later.
    Warn,
    /// It could not be found out.
    Unknown,
    /// It does not hold.
    Fail,
}

impl Verdict {
    /// As in JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Warn => "WARN",
            Self::Unknown => "UNKNOWN",
            Self::Fail => "FAIL",
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One item of the checklist, judged.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Item {
    /// The check's id, such as `replicas`.
    pub check: &'static str,
    /// What the check is about, in one line.
    pub title: &'static str,
    /// What of it, where there are several: the name of a setting, the place of a replica.
    pub object: Option<String>,
    /// How it ended.
    pub status: Verdict,
    /// The facts that were measured, without a final full stop.
    pub detail: String,
    /// What mends it; none where nothing has to be.
    pub remedy: Option<String>,
}

impl Item {
    /// An item about a check as a whole.
    pub fn new(check: &'static Check, status: Verdict, detail: impl Into<String>) -> Self {
        Self {
            check: check.id,
            title: check.title,
            object: None,
            status,
            detail: detail.into(),
            remedy: None,
        }
    }

    /// One that holds.
    pub fn pass(check: &'static Check, detail: impl Into<String>) -> Self {
        Self::new(check, Verdict::Pass, detail)
    }

    /// One that will hurt later.
    pub fn warn(check: &'static Check, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Verdict::Warn, detail).remedy(remedy)
    }

    /// One that does not hold.
    pub fn fail(check: &'static Check, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self::new(check, Verdict::Fail, detail).remedy(remedy)
    }

    /// One that could not be found out.
    pub fn unknown(check: &'static Check, detail: impl Into<String>) -> Self {
        Self::new(check, Verdict::Unknown, detail)
    }

    /// Of which of several it speaks.
    #[must_use]
    pub fn about(mut self, object: impl Into<String>) -> Self {
        self.object = Some(object.into());
        self
    }

    /// What mends it.
    #[must_use]
    pub fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}
