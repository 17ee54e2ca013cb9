//! Business queries: each in its tenant's schema, with its rights and within a time limit.
//!
//! A query names tables of the tenant's. What it may find by those names is proven first to be tenantctl_owner's alone, as
//! SET ROLE by itself keeps nobody's code from taking the admin's rights back.

use std::time::Duration;

use futures_util::future::{join_all, join3};
use tokio_postgres::types::Type;

use super::readers::Work;
use crate::config::BusinessQuery;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Param, Session, column};
use crate::pg::sql::{Sql, TrustedScript};
use crate::tenant::OWNER_ROLE;

/// Queries that are sent together in one transaction.
const TOGETHER: usize = 16;

/// With whose rights a tenant's queries run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunAs {
    /// The tenant's role.
    Tenant,
    /// tenantctl_owner, as this login may not become the tenant.
    Owner,
    /// Nobody: names in this schema may mean what belongs to others.
    Strangers,
    /// Nobody: the owner may not see all rows, and this login may not become the tenant.
    Hidden,
}

/// With whose rights the queries of these tenants run, by place; a tenant whose schema is missing is absent.
///
/// # Errors
/// When the server refuses the query.
pub async fn run_as(session: &Session, schemas: &[&str], roles: &[&str]) -> Result<Vec<(usize, RunAs)>> {
    let sql = Sql::new(include_str!("../../sql/metrics/business_schemas.sql"));
    let membership = if session.server().major() >= 16 {
        "SET"
    } else {
        "MEMBER"
    };
    let params: [Param<'_>; 3] = [
        (&schemas, Type::TEXT_ARRAY),
        (&roles, Type::TEXT_ARRAY),
        (&membership, Type::TEXT),
    ];
    let rows = session
        .query(&sql, &params, "look at what belongs to whom in the tenants' schemas")
        .await?;
    rows.iter()
        .map(|row| {
            let at: i64 = column(row, "at")?;
            let run_as = match (
                column(row, "safe")?,
                column(row, "as_tenant")?,
                column(row, "all_rows")?,
            ) {
                (false, _, _) => RunAs::Strangers,
                (true, true, _) => RunAs::Tenant,
                (true, false, true) => RunAs::Owner,
                (true, false, false) => RunAs::Hidden,
            };
            Ok((usize::try_from(at).unwrap_or_default().saturating_sub(1), run_as))
        })
        .collect()
}

/// A tenant whose queries are run.
#[derive(Clone, Debug)]
pub struct Subject<'a> {
    /// Its place in the list of schemas.
    pub at: usize,
    /// Its schema.
    pub schema: &'a str,
    /// The role that they run as.
    pub role: &'a str,
}

/// Runs queries in the schemas of tenants.
#[derive(Clone, Copy, Debug)]
pub struct Queries<'a> {
    /// What is asked.
    pub queries: &'a [BusinessQuery],
    /// The longest that one of them may take.
    pub timeout: Duration,
}

impl<'a> Work for Queries<'a> {
    type Piece = Subject<'a>;
    type Done = Figures;

    fn tables(&self, _subject: &Subject<'a>) -> usize {
        // A guess: what a query opens with its indexes.
        16
    }

    async fn one(&self, session: &Session, subject: &Subject<'a>) -> Result<Figures> {
        run(session, subject, self.queries, self.timeout).await
    }
}

impl<'a> Subject<'a> {
    /// A tenant whose queries may be run; none: they may not.
    pub fn new(at: usize, schema: &'a str, tenant_role: &'a str, run_as: RunAs) -> Option<Self> {
        let role = match run_as {
            RunAs::Tenant => tenant_role,
            RunAs::Owner => OWNER_ROLE,
            RunAs::Strangers | RunAs::Hidden => return None,
        };
        Some(Self { at, schema, role })
    }
}

/// The figures of one tenant in the order of the queries; null where the query yields none.
#[derive(Debug)]
pub struct Figures {
    /// The tenant's place.
    pub at: usize,
    /// One a query.
    pub values: Vec<Result<Option<f64>>>,
}

/// Runs the queries for one tenant, all in one round trip as long as none fails. A failure is the one query's.
///
/// # Errors
/// When the session is lost.
pub async fn run(
    session: &Session,
    subject: &Subject<'_>,
    queries: &[BusinessQuery],
    timeout: Duration,
) -> Result<Figures> {
    let mut values = Vec::with_capacity(queries.len());
    while values.len() < queries.len() {
        let left = &queries[values.len()..];
        let answers = together(session, subject, &left[..left.len().min(TOGETHER)], timeout).await?;
        // What comes after the first failure did not run: its transaction was over.
        let good = answers.iter().take_while(|answer| answer.is_ok()).count();
        values.extend(answers.into_iter().take(good + 1));
    }
    Ok(Figures { at: subject.at, values })
}

async fn together(
    session: &Session,
    subject: &Subject<'_>,
    queries: &[BusinessQuery],
    timeout: Duration,
) -> Result<Vec<Result<Option<f64>>>> {
    let doing = "run a business query";
    // Or they would stand among the tenant's own queries, as far as this login may keep them out.
    let begin = Sql::new(
        "BEGIN READ ONLY; SELECT pg_catalog.set_config(s.name, 'none', true) FROM pg_catalog.pg_settings s
WHERE s.name = 'pg_stat_statements.track' AND pg_catalog.has_parameter_privilege(s.name, 'SET'); SET LOCAL ROLE ",
    )
    .ident(subject.role)
    .text("; SET LOCAL row_security = on; SET LOCAL search_path = ")
    .ident(subject.schema)
    .text(", pg_temp; SET LOCAL statement_timeout = ")
    .int(timeout.as_millis().max(1) as i128)
    // Views of the owner's are as good as its tables.
    .text(
        "; SELECT pg_catalog.set_config(s.name, 'foreign-table', true) FROM pg_catalog.pg_settings s
WHERE s.name = 'restrict_nonsystem_relation_kind'",
    );
    let texts: Vec<Sql> = queries.iter().map(wrapped).collect();
    // Sent together, in this order.
    let (begun, answers, ()) = join3(
        session.batch(&begin, doing),
        join_all(texts.iter().map(|sql| session.query_opt(sql, &[], doing))),
        session.rollback(),
    )
    .await;
    if session.is_closed() {
        begun?;
        return Err(Error::new(ErrorKind::Connection, "lost the connection to the server"));
    }
    if let Err(error) = begun {
        return Ok(queries.iter().map(|_| Err(error.clone())).collect());
    }
    Ok(answers
        .into_iter()
        .map(|answer| match answer? {
            Some(row) => Ok(column::<Option<f64>>(&row, "value")?.filter(|value| value.is_finite())),
            None => Ok(None),
        })
        .collect())
}

/// The first column of the first row, as a number. A comment may end the text, hence the line breaks.
fn wrapped(query: &BusinessQuery) -> Sql {
    Sql::new("SELECT figure.value::pg_catalog.float8 AS value FROM (\n")
        .append(Sql::script(&TrustedScript::of_configuration(&query.sql)))
        .text("\n) AS figure (value) LIMIT 1")
}
