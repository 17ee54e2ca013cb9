//! Measures tenants: a fixed number of queries for all of them together.

use std::time::Duration;

use super::Fleet;
use crate::catalog::tenants::TenantRow;
use crate::config::BusinessQuery;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Connector, Session};

/// How sizes are found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sizes {
    /// From the files, or by the server's size functions where this admin may not look at files.
    Exact,
    /// From `relpages`.
    Estimate,
    /// Not at all.
    None,
}

/// What is measured, and how.
#[derive(Clone, Debug)]
pub struct Options {
    /// How sizes are found out.
    pub sizes: Sizes,
    /// What is asked in each tenant's schema; empty: nothing.
    pub business: Vec<BusinessQuery>,
    /// The longest that one of those may take.
    pub business_timeout: Duration,
    /// The longest wait for a lock of a tenant's.
    pub lock_timeout: Duration,
    /// Sessions that read at the same time, `session` included.
    pub jobs: usize,
    /// How many queries of each tenant are told, by total time.
    pub top_queries: usize,
    /// Whether with their texts.
    pub query_texts: bool,
    /// Hours for which failures count.
    pub failed_operations_hours: u32,
}

/// Measures these tenants, and the database. Alerts are left empty: [`super::limits`] judges.
///
/// # Errors
/// When the server refuses a query that all else rests on. What only one tenant or one figure is about ends in
/// [`Fleet::unknown`].
pub async fn collect(
    _connector: &Connector,
    _session: &Session,
    _tenants: &[TenantRow],
    _options: &Options,
) -> Result<Fleet> {
    Err(Error::new(ErrorKind::Unsupported, "not built yet"))
}
