//! Queries of tenants' roles, from pg_stat_statements.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;

use crate::error::{Error, Result};
use crate::pg::session::{Param, Session, column};
use crate::pg::sql::Sql;

/// One query of a tenant's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TopQuery {
    /// As pg_stat_statements numbers it.
    pub queryid: i64,
    /// How often it ran.
    pub calls: u64,
    /// Milliseconds, all calls together.
    pub total_time_ms: f64,
    /// Milliseconds, the mean of a call.
    pub mean_time_ms: f64,
    /// Rows that it returned or changed.
    pub rows_returned: u64,
    /// Its text with constants taken out; only for tenants that were asked for by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query: Option<String>,
}

/// What of a query is counted up for ever, for whoever takes differences.
#[derive(Clone, Debug, PartialEq)]
pub struct Counters {
    /// The role's name.
    pub role: String,
    /// As pg_stat_statements numbers it.
    pub queryid: i64,
    /// How often it ran.
    pub calls: u64,
    /// Milliseconds, all calls together.
    pub total_time_ms: f64,
}

/// What became of the question for the tenants' queries.
#[derive(Clone, Debug, PartialEq)]
pub enum Statements {
    /// The extension is not in this database.
    Absent,
    /// It is, and cannot be used, for this reason; the reason completes `top queries are unknown: `.
    Unusable(String),
    /// The queries of each role, by total time, most first; a role without any is absent.
    Found(HashMap<String, Vec<TopQuery>>),
}

/// The kinds that queries are told apart by.
pub const QUERY_TYPES: [&str; 5] = ["select", "insert", "update", "delete", "other"];

/// What a text can be told apart by, in characters: comments and common table expressions come before the verb.
const HEAD: i32 = 20_000;

/// The type of a query by its first keyword: one of [`QUERY_TYPES`].
///
/// Comments and parentheses in front do not count; after WITH it is the verb of the statement itself that does.
pub fn query_type(text: &str) -> &'static str {
    let mut words = Words::new(text);
    let verb = |word: &str| match word {
        "select" | "table" | "values" => Some("select"),
        "insert" => Some("insert"),
        "update" => Some("update"),
        "delete" => Some("delete"),
        _ => None,
    };
    let first = loop {
        match words.next() {
            Some(Word::Open) => {}
            Some(Word::Keyword(word)) => break word,
            _ => return "other",
        }
    };
    if first != "with" {
        return verb(&first).unwrap_or("other");
    }
    // Inside the parentheses of WITH are the verbs of its own queries, outside is the statement's.
    let mut depth = 0_usize;
    for word in words {
        match word {
            Word::Open => depth += 1,
            Word::Close => depth = depth.saturating_sub(1),
            Word::Keyword(word) if depth == 0 => match word.as_str() {
                "merge" => return "other",
                word => {
                    if let Some(kind) = verb(word) {
                        return kind;
                    }
                }
            },
            Word::Keyword(_) | Word::Other => {}
        }
    }
    "other"
}

enum Word {
    Keyword(String),
    Open,
    Close,
    Other,
}

/// The words of an SQL text; comments are left out, whatever is quoted is [`Word::Other`].
struct Words<'a>(&'a str);

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// Drops what lies before the end of `end`, or all where there is none.
    fn skip_past(&mut self, from: usize, end: &str) {
        let rest = self.0.get(from..).unwrap_or_default();
        self.0 = rest.find(end).map_or("", |at| &rest[at + end.len()..]);
    }

    fn skip_block_comment(&mut self) {
        let bytes = self.0.as_bytes();
        let (mut at, mut depth) = (0, 0_usize);
        while at < bytes.len() {
            match bytes.get(at..at + 2) {
                Some(b"/*") => (at, depth) = (at + 2, depth + 1),
                Some(b"*/") => (at, depth) = (at + 2, depth - 1),
                _ => at += 1,
            }
            if depth == 0 {
                break;
            }
        }
        self.0 = self.0.get(at..).unwrap_or_default();
    }
}

impl Iterator for Words<'_> {
    type Item = Word;

    fn next(&mut self) -> Option<Word> {
        loop {
            self.0 = self.0.trim_start();
            let first = self.0.chars().next()?;
            if self.0.starts_with("--") {
                self.skip_past(2, "\n");
            } else if self.0.starts_with("/*") {
                self.skip_block_comment();
            } else if first == '\'' || first == '"' {
                self.skip_past(1, if first == '\'' { "'" } else { "\"" });
                return Some(Word::Other);
            } else if first.is_alphanumeric() || first == '_' || first == '$' {
                let end = self
                    .0
                    .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '$'))
                    .unwrap_or(self.0.len());
                let word = self.0[..end].to_ascii_lowercase();
                self.0 = &self.0[end..];
                return Some(Word::Keyword(word));
            } else {
                self.0 = &self.0[first.len_utf8()..];
                return Some(match first {
                    '(' => Word::Open,
                    ')' => Word::Close,
                    _ => Word::Other,
                });
            }
        }
    }
}

/// The extension's function, ready to be asked.
struct Source {
    schema: String,
    toplevel: bool,
}

enum Found {
    Absent,
    Unusable(String),
    Usable(Source),
}

async fn find(session: &Session) -> Result<Found> {
    let sql = Sql::new(include_str!("../../sql/metrics/statements.sql"));
    let Some(row) = session.query_opt(&sql, &[], "look for pg_stat_statements").await? else {
        return Ok(Found::Absent);
    };
    if !column::<Option<bool>>(&row, "recent")?.unwrap_or(false) {
        return Ok(Found::Unusable(format!(
            "pg_stat_statements {} is too old; ALTER EXTENSION pg_stat_statements UPDATE",
            column::<&str>(&row, "version")?
        )));
    }
    if !column::<bool>(&row, "usable")? {
        return Ok(Found::Unusable(format!(
            "this login may not use the schema of pg_stat_statements, {}, or its function",
            column::<&str>(&row, "schema")?
        )));
    }
    Ok(Found::Usable(Source {
        schema: column(&row, "schema")?,
        toplevel: column::<Option<bool>>(&row, "toplevel")?.unwrap_or(false),
    }))
}

/// `FROM` the statements of tenants' roles in this database. What runs inside another statement is in that one's time already.
fn from(source: &Source, texts: bool) -> Sql {
    let sql = Sql::new("FROM ")
        .qualified(&source.schema, "pg_stat_statements")
        .text(if texts { "(true)" } else { "(false)" })
        .text(
            " s JOIN pg_catalog.pg_roles r ON r.oid = s.userid
WHERE s.dbid = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database())
AND r.rolname ~ '^tenant_[0-9a-f]{12}_user$'",
        );
    if source.toplevel {
        sql.text(" AND s.toplevel")
    } else {
        sql
    }
}

/// Why the extension cannot be used although it is there; what is another matter stays an error.
fn unusable(error: Error) -> Result<String> {
    match error.sqlstate() {
        Some("55000") => Ok(
            "pg_stat_statements is installed but not loaded; add it to shared_preload_libraries and restart the server"
                .to_owned(),
        ),
        Some("42501") => Ok("this login may not use pg_stat_statements".to_owned()),
        _ => Err(error),
    }
}

/// The queries of these roles with the most total time, so many of each.
///
/// # Errors
/// When the server refuses the query; that the extension is not there or not loaded is no error.
pub async fn top(session: &Session, roles: &[&str], each: usize, texts: bool) -> Result<Statements> {
    let source = match find(session).await? {
        Found::Absent => return Ok(Statements::Absent),
        Found::Unusable(why) => return Ok(Statements::Unusable(why)),
        Found::Usable(source) => source,
    };
    let sql = Sql::new(
        "SELECT q.role, q.queryid, q.calls, q.total_ms, q.rows, q.query
FROM (
    SELECT r.rolname::text AS role, s.queryid, pg_catalog.sum(s.calls)::bigint AS calls, pg_catalog.sum(s.total_exec_time) AS total_ms,
        pg_catalog.sum(s.rows)::bigint AS rows, pg_catalog.left(pg_catalog.min(s.query), 10000) AS query,
        pg_catalog.row_number() OVER (PARTITION BY r.rolname ORDER BY pg_catalog.sum(s.total_exec_time) DESC, s.queryid) AS place
    ",
    )
    .append(from(&source, texts))
    .text(
        " AND r.rolname = ANY ($1::name[])
    GROUP BY r.rolname, s.queryid
) q
WHERE q.place <= $2 ORDER BY q.role, q.place",
    );
    let each = i64::try_from(each).unwrap_or(i64::MAX);
    let params: [Param<'_>; 2] = [(&roles, Type::TEXT_ARRAY), (&each, Type::INT8)];
    let rows = match session.query(&sql, &params, "read the tenants' queries").await {
        Ok(rows) => rows,
        Err(error) => return unusable(error).map(Statements::Unusable),
    };
    let mut found: HashMap<String, Vec<TopQuery>> = HashMap::new();
    for row in &rows {
        // Of others' statements, a login without pg_read_all_stats sees the counters and not which statement they are of.
        let Some(queryid) = column::<Option<i64>>(row, "queryid")? else {
            return Ok(Statements::Unusable(format!(
                "this login may not see others' statements; {}",
                grant(session)
            )));
        };
        let (calls, total_time_ms): (i64, f64) = (column(row, "calls")?, column(row, "total_ms")?);
        found.entry(column(row, "role")?).or_default().push(TopQuery {
            queryid,
            calls: calls.unsigned_abs(),
            total_time_ms,
            mean_time_ms: if calls > 0 { total_time_ms / calls as f64 } else { 0.0 },
            rows_returned: column::<i64>(row, "rows")?.unsigned_abs(),
            query: column(row, "query")?,
        });
    }
    Ok(Statements::Found(found))
}

/// What lets this login see what others do.
pub(in crate::metrics) fn grant(session: &Session) -> Sql {
    Sql::new("GRANT pg_monitor TO ").ident(&session.server().user)
}

/// Counters of all queries of all tenants' roles in this database; none without pg_stat_statements.
///
/// # Errors
/// When the server refuses the query.
pub async fn counters(session: &Session) -> Result<Option<Vec<Counters>>> {
    let Found::Usable(source) = find(session).await? else {
        return Ok(None);
    };
    let sql = Sql::new(
        "SELECT r.rolname::text AS role, s.queryid, pg_catalog.sum(s.calls)::bigint AS calls, pg_catalog.sum(s.total_exec_time) AS total_ms
",
    )
    .append(from(&source, false))
    .text(" AND s.queryid IS NOT NULL GROUP BY r.rolname, s.queryid");
    let rows = match session.query(&sql, &[], "read the tenants' queries").await {
        Ok(rows) => rows,
        Err(error) => return unusable(error).map(|_| None),
    };
    rows.iter()
        .map(|row| {
            Ok(Counters {
                role: column(row, "role")?,
                queryid: column(row, "queryid")?,
                calls: column::<i64>(row, "calls")?.unsigned_abs(),
                total_time_ms: column(row, "total_ms")?,
            })
        })
        .collect::<Result<_>>()
        .map(Some)
}

/// The types of these queries, by queryid; those that are gone meanwhile are absent.
///
/// # Errors
/// When the server refuses the query.
pub async fn types(session: &Session, queryids: &[i64]) -> Result<HashMap<i64, &'static str>> {
    let Found::Usable(source) = find(session).await? else {
        return Ok(HashMap::new());
    };
    let sql = Sql::new("SELECT s.queryid, pg_catalog.left(pg_catalog.min(s.query), $2) AS query\n")
        .append(from(&source, true))
        .text(" AND s.queryid = ANY ($1) AND s.query IS NOT NULL GROUP BY s.queryid");
    let params: [Param<'_>; 2] = [(&queryids, Type::INT8_ARRAY), (&HEAD, Type::INT4)];
    let rows = match session.query(&sql, &params, "read the tenants' queries").await {
        Ok(rows) => rows,
        Err(error) => return unusable(error).map(|_| HashMap::new()),
    };
    rows.iter()
        .map(|row| Ok((column(row, "queryid")?, query_type(column(row, "query")?))))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_told_apart_by_their_verb() {
        for (text, kind) in [
            ("SELECT 1", "select"),
            ("  select* from t", "select"),
            ("-- insert\n/* delete /* nested */ */ SELECT 1", "select"),
            ("((SELECT 1) UNION SELECT 2)", "select"),
            ("TABLE t", "select"),
            ("VALUES ($1)", "select"),
            ("INSERT INTO t SELECT 1", "insert"),
            ("update t set a = $1", "update"),
            ("DELETE FROM t", "delete"),
            (
                "WITH a AS (INSERT INTO t VALUES ($1) RETURNING id) SELECT * FROM a",
                "select",
            ),
            (
                "WITH a AS (SELECT 1), b (x) AS MATERIALIZED (SELECT ')') INSERT INTO t SELECT * FROM a",
                "insert",
            ),
            (
                "with recursive r as (select 1 union all select 2) update t set a = 1",
                "update",
            ),
            ("WITH \"select\" AS (SELECT 1) DELETE FROM t", "delete"),
            (
                "WITH a AS (SELECT 1) MERGE INTO t USING a ON true WHEN MATCHED THEN DELETE",
                "other",
            ),
            ("MERGE INTO t USING a ON true WHEN MATCHED THEN DELETE", "other"),
            ("EXPLAIN SELECT 1", "other"),
            ("COPY t TO STDOUT", "other"),
            ("BEGIN", "other"),
            ("/* never closed", "other"),
            ("WITH 'open", "other"),
            ("é", "other"),
            ("", "other"),
        ] {
            assert_eq!(query_type(text), kind, "{text}");
            assert!(QUERY_TYPES.contains(&kind));
        }
    }
}
