//! Keys as indexes: a primary key or a unique constraint can be built like any other index, beside others of its table, and
//! then be made of the index, while ADD CONSTRAINT alone keeps everybody else away from the table for as long as it builds.

/// The two statements that one ADD CONSTRAINT comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    /// Builds the index, under the constraint's name.
    pub index: String,
    /// Makes the constraint of it.
    pub constraint: String,
}

/// Parts `ALTER TABLE [ONLY] t ADD CONSTRAINT c {PRIMARY KEY | UNIQUE [NULLS NOT DISTINCT]} (columns) [INCLUDE (columns)]
/// [WITH (options)] [deferrable]`. None: it is of another kind, and is run as it is.
pub(super) fn part(statement: &str) -> Option<Key> {
    let words = words(statement)?;
    let mut rest = words.as_slice();
    for word in ["ALTER", "TABLE"] {
        rest = after(rest, word)?;
    }
    rest = after(rest, "ONLY").unwrap_or(rest);
    let at = rest.iter().position(|w| w.eq_ignore_ascii_case("ADD"))?;
    let table: String = rest[..at].concat();
    rest = after(&rest[at..], "ADD")?;
    rest = after(rest, "CONSTRAINT")?;
    let (name, mut rest) = rest.split_first()?;
    let mut kind = "UNIQUE";
    let mut nulls = "";
    if let Some(more) = after(rest, "PRIMARY") {
        kind = "PRIMARY KEY";
        rest = after(more, "KEY")?;
    } else {
        rest = after(rest, "UNIQUE")?;
        if let Some(more) = after(rest, "NULLS") {
            match after(more, "NOT") {
                Some(more) => {
                    rest = after(more, "DISTINCT")?;
                    nulls = " NULLS NOT DISTINCT";
                }
                None => rest = after(more, "DISTINCT")?,
            }
        }
    }
    let (columns, mut rest) = rest.split_first()?;
    if !columns.starts_with('(') || columns.to_ascii_uppercase().contains("WITHOUT OVERLAPS") {
        return None;
    }
    let mut included = String::new();
    if let Some(more) = after(rest, "INCLUDE") {
        let (list, more) = more.split_first()?;
        included = format!(" INCLUDE {list}");
        rest = more;
    }
    let mut options = String::new();
    if let Some(more) = after(rest, "WITH") {
        let (list, more) = more.split_first()?;
        options = format!(" WITH {list}");
        rest = more;
    }
    let deferrable: Vec<String> = rest.iter().map(|w| w.to_ascii_uppercase()).collect();
    let known = ["DEFERRABLE", "NOT", "INITIALLY", "DEFERRED", "IMMEDIATE"];
    if !deferrable.iter().all(|word| known.contains(&word.as_str())) {
        return None;
    }
    let deferrable: String = deferrable.iter().map(|word| format!(" {word}")).collect();
    let index = [
        "CREATE UNIQUE INDEX ",
        name,
        " ON ",
        &table,
        " ",
        columns,
        &included,
        nulls,
        &options,
    ];
    let constraint = [
        "ALTER TABLE ",
        &table,
        " ADD CONSTRAINT ",
        name,
        " ",
        kind,
        " USING INDEX ",
        name,
        &deferrable,
    ];
    Some(Key {
        index: index.concat(),
        constraint: constraint.concat(),
    })
}

fn after<'a>(words: &'a [String], word: &str) -> Option<&'a [String]> {
    let (first, rest) = words.split_first()?;
    first.eq_ignore_ascii_case(word).then_some(rest)
}

/// Cuts a statement into words, quoted names, dots, and whole parentheses. None: there is something in it that such a
/// statement never has, such as a comment.
fn words(statement: &str) -> Option<Vec<String>> {
    let text = statement.trim().trim_end_matches(';');
    let mut words: Vec<String> = Vec::new();
    let mut characters = text.char_indices().peekable();
    while let Some(&(start, c)) = characters.peek() {
        match c {
            c if c.is_whitespace() => {
                characters.next();
            }
            '.' => {
                characters.next();
                words.push(".".to_owned());
            }
            '"' | '(' => {
                let mut depth = 0_u32;
                let mut quote = None;
                let mut end = None;
                while let Some((at, c)) = characters.next() {
                    match (c, quote) {
                        ('"' | '\'', None) => quote = Some(c),
                        (c, Some(open)) if c == open => quote = None,
                        ('(', None) => depth += 1,
                        (')', None) => depth = depth.checked_sub(1)?,
                        ('$', None) | ('\\', _) => return None,
                        _ => {}
                    }
                    // A doubled quote goes on.
                    let doubled = c == '"' && characters.peek().is_some_and(|(_, next)| *next == '"');
                    if depth == 0 && quote.is_none() && !doubled {
                        end = Some(at + c.len_utf8());
                        break;
                    }
                }
                words.push(text[start..end?].to_owned());
            }
            c if c.is_alphanumeric() || c == '_' || c == '$' => {
                let mut end = start;
                while let Some(&(at, c)) = characters.peek() {
                    if !(c.is_alphanumeric() || c == '_' || c == '$') {
                        break;
                    }
                    end = at + c.len_utf8();
                    characters.next();
                }
                words.push(text[start..end].to_owned());
            }
            _ => return None,
        }
    }
    Some(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_become_indexes() {
        for (statement, index, constraint) in [
            (
                "ALTER TABLE trades ADD CONSTRAINT trades_pkey PRIMARY KEY (id, executed_at);",
                "CREATE UNIQUE INDEX trades_pkey ON trades (id, executed_at)",
                "ALTER TABLE trades ADD CONSTRAINT trades_pkey PRIMARY KEY USING INDEX trades_pkey",
            ),
            (
                "ALTER TABLE ONLY s.\"T (a\"\"b)\"\n    ADD CONSTRAINT \"k ()\" UNIQUE NULLS NOT DISTINCT (\"a b\", c) INCLUDE (d) WITH (fillfactor='70') DEFERRABLE INITIALLY DEFERRED;",
                "CREATE UNIQUE INDEX \"k ()\" ON s.\"T (a\"\"b)\" (\"a b\", c) INCLUDE (d) NULLS NOT DISTINCT WITH (fillfactor='70')",
                "ALTER TABLE s.\"T (a\"\"b)\" ADD CONSTRAINT \"k ()\" UNIQUE USING INDEX \"k ()\" DEFERRABLE INITIALLY DEFERRED",
            ),
        ] {
            let key = part(statement).expect(statement);
            assert_eq!(key.index, index);
            assert_eq!(key.constraint, constraint);
        }
    }

    #[test]
    fn other_constraints_are_left_alone() {
        for statement in [
            "ALTER TABLE t ADD CONSTRAINT x EXCLUDE USING gist (a WITH &&);",
            "ALTER TABLE t ADD CONSTRAINT x PRIMARY KEY (a, b WITHOUT OVERLAPS);",
            "ALTER TABLE t ADD CONSTRAINT x CHECK (a > 0);",
            "ALTER TABLE t ADD PRIMARY KEY (a);",
            "ALTER TABLE t ADD CONSTRAINT x PRIMARY KEY (a) USING INDEX TABLESPACE fast;",
            "ALTER TABLE t ADD CONSTRAINT x UNIQUE (a) /* b */;",
        ] {
            assert_eq!(part(statement), None, "{statement}");
        }
    }
}
