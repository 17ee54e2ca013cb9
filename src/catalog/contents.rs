//! What is in a tenant's schema, as a backup needs to know it.

use serde::{Deserialize, Serialize};
use tokio_postgres::types::Type;

use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;
use crate::tenant::Hypertable;

/// How the rows of a table are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RowFormat {
    /// COPY's binary form.
    Binary,
    /// COPY's text form: a type of the table has no portable binary one.
    Text,
}

/// A sequence's state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sequence {
    /// Its name.
    pub name: String,
    /// As `setval` takes it.
    pub last_value: i64,
    /// As `setval` takes it.
    pub is_called: bool,
}

/// The dimensions of a hypertable, the first being time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dimensions {
    /// The table, its time column and the interval of its chunks.
    #[serde(flatten)]
    pub time: Hypertable,
    /// Space dimensions: column and number of partitions.
    pub space: Vec<(String, i32)>,
}

/// What is in a schema.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
pub struct Contents {
    /// Ordinary and partitioned tables, by name.
    pub tables: Vec<TableFacts>,
    /// All sequences, those behind identity columns included, by name.
    pub sequences: Vec<String>,
    /// Primary keys, UNIQUE, EXCLUDE and foreign keys that are not inherited, by table.
    pub keys: Vec<KeyFacts>,
    /// The populated ones, in the order in which they can be refreshed.
    pub materialized_views: Vec<String>,
    /// What neither the fingerprint nor the list of a module's objects tells of.
    pub extras: Vec<Extra>,
    /// What tenantctl_owner does not own, or could not make again; as sentences without a full stop.
    pub strangers: Vec<String>,
}

/// A table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct TableFacts {
    /// Its name.
    pub name: String,
    /// `pg_class.relkind`: `r` has rows of its own, `p` has none.
    pub kind: char,
    /// Its columns in order, generated ones left out; in the order of `through` where there is one.
    pub columns: Vec<String>,
    /// The partitioned table that its rows have to be written to, because it depends on numbers of types which of its
    /// partitions a row belongs to.
    pub through: Option<String>,
    /// All its columns in order.
    pub layout: Vec<String>,
    /// How its rows are to be written.
    pub format: RowFormat,
    /// Pages of its heap; 0 for a partitioned table.
    pub pages: u64,
    /// Bytes of heap, TOAST and maps.
    pub bytes: u64,
    /// It is a partition, or has partitions, or inherits, or is inherited from.
    pub related: bool,
}

/// A key of a table.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct KeyFacts {
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// `pg_constraint.contype`: `p` primary key, `u` UNIQUE, `x` EXCLUDE, `f` foreign key.
    pub kind: char,
    /// As the server prints it with an empty search path.
    pub definition: String,
    /// The table that a foreign key refers to, if it is in the same schema.
    pub references: Option<String>,
    /// The index that enforces it; none for a foreign key, unless it refers to its own table.
    pub index: Option<String>,
    /// Something beside foreign keys depends on it, such as a view that groups by a primary key.
    pub depended_on: bool,
    /// It or its index has a comment.
    pub commented: bool,
    /// Its index has options, a tablespace, is the replica identity or is clustered on: more than the definition says.
    pub special: bool,
}

/// One property of an object, with `{schema}` for the schema's name where the server prints it as one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Extra(
    /// The object, named as in the fingerprint; the schema itself is `{schema}`.
    pub String,
    /// Such as `comment 'text'`.
    pub String,
);

/// Reads what is in a schema, in one query.
///
/// # Errors
/// Kind `not_found` when there is no such schema; what the server refused.
pub async fn read(session: &Session, schema: &str) -> Result<Contents> {
    let sql = Sql::new(include_str!("../../sql/catalog/tenant_contents.sql"));
    let doing = "read what the schema holds";
    let rows = session.query_prepared(&sql, &[(&schema, Type::TEXT)], doing).await?;
    let Some(row) = rows.first() else {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("schema {schema} does not exist"),
        ));
    };
    serde_json::from_str(column(row, "contents")?)
        .map_err(|e| Error::new(ErrorKind::Unknown, format!("failed to {doing}")).with_cause(e))
}

/// How many sequences a query reads: each is a relation of its own to the planner.
const SEQUENCES_AT_A_TIME: usize = 500;

/// Reads the states of sequences of a schema, in one query where they are not very many. They must be tenantctl_owner's.
///
/// # Errors
/// What the server refused.
pub async fn sequences(session: &Session, schema: &str, names: &[String]) -> Result<Vec<Sequence>> {
    let mut found = Vec::with_capacity(names.len());
    for names in names.chunks(SEQUENCES_AT_A_TIME) {
        let mut sql = Sql::default();
        for (i, name) in names.iter().enumerate() {
            sql = if i == 0 { sql } else { sql.text(" UNION ALL\n") }
                .text("SELECT ")
                .literal(name)
                .text("::text AS name, s.last_value, s.is_called FROM ")
                .qualified(schema, name)
                .text(" s");
        }
        for row in session.query(&sql, &[], "read the sequences").await? {
            found.push(Sequence {
                name: column(&row, "name")?,
                last_value: column(&row, "last_value")?,
                is_called: column(&row, "is_called")?,
            });
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_of_the_query_is_read() {
        let contents: Contents = serde_json::from_str(
            r#"{"tables": [{"name": "t", "kind": "r", "columns": ["a"], "layout": ["a", "g"], "format": "text", "pages": 3,
                "bytes": 32768, "related": false}], "sequences": ["s"], "keys": [{"table": "t", "name": "t_pkey", "kind": "p",
                "definition": "PRIMARY KEY (a)", "references": null, "index": "t_pkey", "depended_on": false,
                "commented": false, "special": true}], "materialized_views": [], "extras": [["{schema}.t", "clustered"]],
                "strangers": []}"#,
        )
        .expect("fits");
        assert_eq!(
            (contents.tables[0].kind, contents.tables[0].format),
            ('r', RowFormat::Text)
        );
        assert_eq!(contents.keys[0].kind, 'p');
        assert_eq!(contents.extras, [Extra("{schema}.t".into(), "clustered".into())]);
    }
}
