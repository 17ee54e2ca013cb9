//! `load.sql`: the data of a backup as a script for psql, for whoever has nothing but `zstd` and psql (and `age`).

use super::manifest::{RowFormat, Sequence, Table};

/// The script, to be run in the backup's folder between `pre-data.sql` and `post-data.sql`. It is one transaction.
pub fn script(schema: &str, tables: &[Table], sequences: &[Sequence]) -> String {
    let mut text = String::from(
        "-- The rows of this backup. In the folder that it lies in, and in an empty database:\n\
         --   sha256sum -c SHA256SUMS\n",
    );
    let encrypted = tables
        .iter()
        .flat_map(|table| &table.parts)
        .any(|part| part.member.name.ends_with(".age"));
    for step in ["pre-data", "", "post-data"] {
        text.push_str(&match (step, encrypted) {
            ("", _) => "--   psql -f load.sql DATABASE\n".to_owned(),
            (step, false) => format!("--   zstd -dc {step}.sql.zst | psql -v ON_ERROR_STOP=1 DATABASE\n"),
            (step, true) => format!(
                "--   age -d -i \"$TENANTCTL_IDENTITY\" {step}.sql.zst.age | zstd -dc | psql -v ON_ERROR_STOP=1 DATABASE\n"
            ),
        });
    }
    text.push_str(
        "\\set ON_ERROR_STOP on
BEGIN;
SET LOCAL client_encoding = 'UTF8';
SET LOCAL standard_conforming_strings = on;
SET LOCAL statement_timeout = 0;
SET LOCAL row_security = off;
SET LOCAL DateStyle = 'ISO, MDY';
SET LOCAL IntervalStyle = 'postgres';
SET LOCAL TimeZone = 'UTC';
SET LOCAL lc_monetary = 'C';
SET LOCAL array_nulls = on;
SET LOCAL xmloption = content;
SET LOCAL search_path = ",
    );
    text.push_str(&format!("{}, pg_temp;\n", ident(schema)));
    for table in tables {
        let target = table.through.as_ref().unwrap_or(&table.name);
        let names = std::iter::once(target).chain(&table.columns);
        if names.into_iter().any(|name| name.chars().any(char::is_control)) {
            text.push_str(&format!(
                "-- {:?} has control characters in its name or in those of its columns: psql's \\copy cannot load it.\n",
                table.name
            ));
            continue;
        }
        let columns: Vec<String> = table.columns.iter().map(|name| ident(name)).collect();
        let columns = match columns.is_empty() {
            true => String::new(),
            false => format!(" ({})", columns.join(", ")),
        };
        let format = match table.format {
            RowFormat::Binary => "binary",
            RowFormat::Text => "text",
        };
        for part in &table.parts {
            // Names of members hold nothing that a shell or psql would take for anything else.
            let name = &part.member.name;
            let unpack = match name.ends_with(".age") {
                false => format!("zstd -dc {name}"),
                true => format!("age -d -i \"$TENANTCTL_IDENTITY\" {name} | zstd -dc"),
            };
            text.push_str(&format!(
                "\\copy {}.{}{columns} FROM PROGRAM '{unpack}' WITH (FORMAT {format})\n",
                ident(schema),
                ident(target)
            ));
        }
    }
    for sequence in sequences {
        text.push_str(&format!(
            "SELECT pg_catalog.setval({}, {}, {}) \\g /dev/null\n",
            literal(&format!("{}.{}", ident(schema), ident(&sequence.name))),
            sequence.last_value,
            sequence.is_called
        ));
    }
    text.push_str("COMMIT;\n");
    text
}

fn ident(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// For psql as it is, with standard_conforming_strings on.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::manifest::{Member, Part};

    fn table(name: &str, member: &str, format: RowFormat) -> Table {
        Table {
            name: name.into(),
            columns: vec!["id".into(), "a \"b\"".into()],
            through: None,
            format,
            rows: 1,
            checksum: String::new(),
            parts: vec![Part {
                rows: 1,
                member: Member {
                    name: member.into(),
                    raw_bytes: 1,
                    stored_bytes: 1,
                    sha256: String::new(),
                },
            }],
        }
    }

    #[test]
    fn names_are_quoted_for_psql() {
        let tables = [
            table("tr'ad\"es", "data/trades.1.zst", RowFormat::Binary),
            table("a\nb", "data/x.1.zst", RowFormat::Binary),
            table("t", "data/t.1.zst.age", RowFormat::Text),
        ];
        let sequences = [Sequence {
            name: "it's".into(),
            last_value: 7,
            is_called: true,
        }];
        let text = script("tenant_x", &tables, &sequences);
        for line in [
            "\\copy \"tenant_x\".\"tr'ad\"\"es\" (\"id\", \"a \"\"b\"\"\") FROM PROGRAM 'zstd -dc data/trades.1.zst' WITH (FORMAT binary)",
            "-- \"a\\nb\" has control characters in its name or in those of its columns: psql's \\copy cannot load it.",
            "\\copy \"tenant_x\".\"t\" (\"id\", \"a \"\"b\"\"\") FROM PROGRAM 'age -d -i \"$TENANTCTL_IDENTITY\" data/t.1.zst.age | zstd -dc' WITH (FORMAT text)",
            "SELECT pg_catalog.setval('\"tenant_x\".\"it''s\"', 7, true) \\g /dev/null",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\nnot in\n{text}");
        }
        assert!(
            text.contains("age -d -i \"$TENANTCTL_IDENTITY\" pre-data.sql.zst.age"),
            "{text}"
        );
        assert!(text.ends_with("COMMIT;\n"));
    }
}
