//! Objects made again from their own printed words. The server prints an expression from what it has made of it, and reads
//! that again as something a little else: of `x IN ('a', 'b')` over a varchar the casts move. A tenant that was dumped and
//! restored prints the second form, which is no drift.

use crate::pg::sql::{Sql, TrustedScript};
use crate::tenant::ObjectLook;

/// An object to be made again, beside or instead of the first.
#[derive(Clone, Debug, PartialEq)]
pub struct Again {
    /// The statements.
    pub sql: Sql,
    /// Kind and name under which the fingerprint then shows it.
    pub key: (String, String),
}

/// How one object of a schema is made again; none where there is nothing to be read that could come out differently. The
/// schema's name is one that needs no quotes.
pub fn again(look: &ObjectLook, schema: &str, number: usize) -> Option<Again> {
    let (shape, expression) = (look.shape.as_deref()?, look.expression.as_deref()?);
    let aside = ["tenantctl_reread_", &number.to_string()].concat();
    let mut key = (look.kind.clone(), look.object.clone());
    let (name, table) = look.object.split_once(" on {schema}.").unwrap_or((&look.object, ""));
    let object = look.object.as_str();
    let text = match look.kind.as_str() {
        "constraint" if shape.starts_with("check") || shape.starts_with("exclusion") => {
            // Only a table's names columns.
            let is_domain = matches!(shape, "check" | "check not validated");
            let of = if is_domain { "ALTER DOMAIN " } else { "ALTER TABLE " };
            let of = [of, "{schema}.", table].concat();
            [
                &of,
                " RENAME CONSTRAINT ",
                name,
                " TO ",
                &aside,
                ";\n",
                &of,
                " ADD CONSTRAINT ",
                name,
                " ",
                expression,
                ";",
            ]
            .concat()
        }
        "column" => {
            let (table, column) = split_last(object)?;
            match shape.split_once(" generated (") {
                None => [
                    "ALTER TABLE ",
                    table,
                    " ALTER COLUMN ",
                    column,
                    " SET DEFAULT ",
                    expression,
                    ";",
                ]
                .concat(),
                Some((kind, _)) => {
                    let kind = kind.split(" not null").next().unwrap_or(kind);
                    key.1 = [table, ".", &aside].concat();
                    [
                        "ALTER TABLE ",
                        table,
                        " ADD COLUMN ",
                        &aside,
                        " ",
                        kind,
                        " GENERATED ALWAYS AS (",
                        expression,
                        ") STORED;",
                    ]
                    .concat()
                }
            }
        }
        "index" if shape.contains("(expression)") || shape.contains(" where") => {
            ["ALTER INDEX ", object, " RENAME TO ", &aside, ";\n", expression, ";"].concat()
        }
        "view" => ["CREATE OR REPLACE VIEW ", object, " AS ", expression].concat(),
        "rule" => [
            "ALTER RULE ",
            name,
            " ON {schema}.",
            table,
            " RENAME TO ",
            &aside,
            ";\n",
            expression,
        ]
        .concat(),
        "trigger" if shape.contains(" when ") => [
            "ALTER TRIGGER ",
            name,
            " ON {schema}.",
            table,
            " RENAME TO ",
            &aside,
            ";\n",
            expression,
            ";",
        ]
        .concat(),
        "function" | "procedure" => [expression, ";"].concat(),
        "statistics object" => [
            "ALTER STATISTICS ",
            object,
            " RENAME TO ",
            &aside,
            ";\n",
            expression,
            ";",
        ]
        .concat(),
        _ => return None,
    };
    let sql = Sql::script(&TrustedScript::of_server(&text.replace("{schema}", schema)));
    Some(Again { sql, key })
}

/// Splits `{schema}.table.column`, whose names may be quoted, before its last name.
fn split_last(object: &str) -> Option<(&str, &str)> {
    let mut quoted = false;
    let mut last = None;
    for (at, c) in object.char_indices() {
        match c {
            '"' => quoted = !quoted,
            '.' if !quoted => last = Some(at),
            _ => {}
        }
    }
    last.map(|at| (&object[..at], &object[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(kind: &str, object: &str, shape: &str, expression: &str) -> Option<(String, String)> {
        let look = ObjectLook {
            kind: kind.into(),
            object: object.into(),
            shape: Some(shape.into()),
            expression: Some(expression.into()),
            reread: None,
        };
        again(&look, "ref", 1).map(|again| (again.sql.to_string(), again.key.1))
    }

    #[test]
    fn objects_are_made_again_beside_or_instead_of_themselves() {
        for (kind, object, shape, expression, sql) in [
            (
                "constraint",
                "\"Odd\" on {schema}.t",
                "check (a)",
                "CHECK ((a > 0))",
                "ALTER TABLE ref.t RENAME CONSTRAINT \"Odd\" TO tenantctl_reread_1;\nALTER TABLE ref.t ADD CONSTRAINT \"Odd\" CHECK ((a > 0));",
            ),
            (
                "constraint",
                "c on {schema}.d",
                "check",
                "CHECK ((VALUE > 0))",
                "ALTER DOMAIN ref.d RENAME CONSTRAINT c TO tenantctl_reread_1;\nALTER DOMAIN ref.d ADD CONSTRAINT c CHECK ((VALUE > 0));",
            ),
            (
                "column",
                "{schema}.t.\"a.b\"",
                "text not null default",
                "'{schema}.x'::text",
                "ALTER TABLE ref.t ALTER COLUMN \"a.b\" SET DEFAULT 'ref.x'::text;",
            ),
            (
                "index",
                "{schema}.i",
                "btree on {schema}.t (a) where",
                "CREATE INDEX i ON {schema}.t USING btree (a) WHERE (a > 0)",
                "ALTER INDEX ref.i RENAME TO tenantctl_reread_1;\nCREATE INDEX i ON ref.t USING btree (a) WHERE (a > 0);",
            ),
            (
                "view",
                "{schema}.v",
                "permanent",
                " SELECT 1;",
                "CREATE OR REPLACE VIEW ref.v AS  SELECT 1;",
            ),
        ] {
            let (found, key) = text(kind, object, shape, expression).expect(kind);
            assert_eq!((found.trim_end(), key.as_str()), (sql, object));
        }
        let (sql, key) =
            text("column", "{schema}.t.g", "integer not null generated (s)", "(a * 2)").expect("generated");
        assert_eq!(
            (sql.trim_end(), key.as_str()),
            (
                "ALTER TABLE ref.t ADD COLUMN tenantctl_reread_1 integer GENERATED ALWAYS AS ((a * 2)) STORED;",
                "{schema}.t.tenantctl_reread_1"
            )
        );
        for (kind, shape) in [
            ("constraint", "foreign key (a)"),
            ("index", "unique btree on {schema}.t (a)"),
            ("type", ""),
        ] {
            assert_eq!(text(kind, "{schema}.x", shape, "x"), None, "{kind}");
        }
    }
}
