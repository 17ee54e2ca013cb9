//! SQL as text: cut into statements, told apart, and its schema renamed, by token and never inside strings, comments or
//! string bodies.
//!
//! The text is pg_dump's or that of a template's modules. It is read as the server reads it with
//! `standard_conforming_strings` on.

mod token;

use std::borrow::Cow;

use self::token::{Token, TokenKind, tokens, unreadable};
use crate::error::Result;

/// One statement of a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// From its first word to its semicolon, without the comments around it.
    pub text: String,
    /// What a restore does with it.
    pub kind: Kind,
    /// The table that it is about, without its schema, where it is about one.
    pub table: Option<String>,
}

/// What a restore does with a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `SET`, `RESET` or `set_config`: a session of tenantctl's has settings of its own.
    Setting,
    /// `CREATE SCHEMA`.
    CreateSchema,
    /// `ALTER TABLE ... ADD CONSTRAINT ... PRIMARY KEY`, `UNIQUE` or `EXCLUDE`.
    Key,
    /// `CREATE INDEX`.
    Index,
    /// `ALTER TABLE ... ADD CONSTRAINT ... FOREIGN KEY`.
    ForeignKey,
    /// Anything else. Its place among the other statements matters.
    Other,
}

/// Cuts a script into statements.
///
/// # Errors
/// Kind `unsupported` when it holds a psql command, or when a string, comment, parenthesis or body has no end.
pub fn statements(sql: &str) -> Result<Vec<Statement>> {
    let tokens = tokens(sql)?;
    let mut found = Vec::new();
    let mut first = 0;
    while first < tokens.len() {
        let length = statement_length(sql, &tokens[first..])?;
        let statement = &tokens[first..first + length];
        first += length;
        let (body, ended) = match statement.split_last() {
            Some((last, body)) if last.is(sql, ";") => (body, true),
            _ => (statement, false),
        };
        if let (Some(start), Some(end)) = (body.first(), statement.last()) {
            let mut text = sql[start.start..end.end].to_owned();
            if !ended {
                text.push(';');
            }
            let (kind, table) = classify(sql, body);
            found.push(Statement { text, kind, table });
        }
    }
    Ok(found)
}

/// How many tokens there are to the semicolon that ends the first statement, itself included.
fn statement_length(sql: &str, tokens: &[Token]) -> Result<usize> {
    let is_function = {
        let mut head = Cursor::new(sql, tokens);
        head.accept("CREATE") && {
            head.accept_all(&["OR", "REPLACE"]);
            head.accept("FUNCTION") || head.accept("PROCEDURE")
        }
    };
    // Parentheses, and the BEGIN ATOMIC and CASE of a body that is no string.
    let (mut depth, mut blocks) = (0_usize, 0_usize);
    for (i, token) in tokens.iter().enumerate() {
        match token.kind {
            TokenKind::Meta => return Err(unreadable("it holds a psql command")),
            TokenKind::Word if is_function => {
                // After a dot or AS, a keyword is a name.
                let is_name = i > 0 && (tokens[i - 1].is(sql, ".") || tokens[i - 1].is(sql, "AS"));
                if is_name {
                    continue;
                }
                let opens = match blocks {
                    0 => token.is(sql, "BEGIN") && tokens.get(i + 1).is_some_and(|next| next.is(sql, "ATOMIC")),
                    _ => token.is(sql, "CASE"),
                };
                if opens {
                    blocks += 1;
                } else if token.is(sql, "END") {
                    blocks = blocks.saturating_sub(1);
                }
            }
            TokenKind::Other => match &sql[token.start..token.end] {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                ";" if depth == 0 && blocks == 0 => return Ok(i + 1),
                _ => {}
            },
            _ => {}
        }
    }
    if depth > 0 || blocks > 0 {
        return Err(unreadable("a statement has no end"));
    }
    Ok(tokens.len())
}

/// Renames a schema wherever it qualifies a name, is created or commented on, or is in the search path of a function.
///
/// Strings stay as they are, but for those that are cast to a `reg...` type, which are names. A range table entry that is
/// named like the schema itself cannot be told from it.
pub fn rename_schema(sql: &str, from: &str, to: &str) -> String {
    rewrite(sql, from, Some(to))
}

/// Takes a schema's name off the names that it qualifies.
pub(super) fn unqualify(sql: &str, schema: &str) -> String {
    rewrite(sql, schema, None)
}

fn rewrite(sql: &str, from: &str, to: Option<&str>) -> String {
    // What cannot be read cannot be run either; `statements` has said so by then.
    let Ok(tokens) = tokens(sql) else { return sql.to_owned() };
    let mut out = String::with_capacity(sql.len());
    let mut copied = 0;
    let mut replace = |start: usize, end: usize, text: &str| {
        out.push_str(&sql[copied..start]);
        out.push_str(text);
        copied = end;
    };
    let named = |token: &Token| token.name(sql).is_some_and(|name| name == from);
    let at = |i: usize| tokens.get(i);
    let is = |i: usize, text: &str| at(i).is_some_and(|token| token.is(sql, text));
    // The end of the list of a search path that is being walked through.
    let mut path_end = 0;
    for (i, token) in tokens.iter().enumerate() {
        let before = |n: usize, text: &str| i >= n && is(i - n, text);
        if token.name(sql).is_some_and(|name| name == "search_path")
            && (before(1, "SET") || before(1, "LOCAL") || before(1, "SESSION"))
            && (is(i + 1, "TO") || is(i + 1, "="))
        {
            path_end = i + 3;
            while is(path_end, ",") {
                path_end += 2;
            }
        }
        if named(token) {
            if is(i + 1, ".") && !before(1, ".") {
                match to {
                    Some(to) => replace(token.start, token.end, &identifier(to)),
                    None => replace(token.start, tokens[i + 1].end, ""),
                }
                continue;
            }
            let after_schema = (before(1, "SCHEMA")
                && ["CREATE", "ALTER", "DROP", "ON", "IN"].iter().any(|w| before(2, w)))
                || (before(3, "SCHEMA") && before(2, "IF") && before(1, "EXISTS"))
                || (before(4, "SCHEMA") && before(3, "IF") && before(2, "NOT") && before(1, "EXISTS"));
            if let Some(to) = to.filter(|_| after_schema || i < path_end) {
                replace(token.start, token.end, &identifier(to));
            }
            continue;
        }
        if token.kind != TokenKind::String {
            continue;
        }
        if let Some(to) = to.filter(|_| i < path_end && token.string(sql).as_deref() == Some(from)) {
            replace(token.start, token.end, &literal(to));
            continue;
        }
        let mut cast = i + 3;
        if !(is(i + 1, ":") && is(i + 2, ":")) {
            continue;
        }
        if is(cast, "pg_catalog") && is(cast + 1, ".") {
            cast += 2;
        }
        let target = at(cast).and_then(|t| t.name(sql)).unwrap_or_default();
        if REG_TYPES.contains(&&*target)
            && let Some(inside) = token.string(sql)
        {
            let renamed = match to {
                Some(to) if target == "regnamespace" && tokens_are_name(&inside, from) => identifier(to).into_owned(),
                _ => rewrite(&inside, from, to),
            };
            if renamed != inside {
                replace(token.start, token.end, &literal(&renamed));
            }
        }
    }
    out.push_str(&sql[copied..]);
    out
}

/// Types whose text is a name.
const REG_TYPES: [&str; 10] = [
    "regclass",
    "regproc",
    "regprocedure",
    "regoper",
    "regoperator",
    "regtype",
    "regnamespace",
    "regconfig",
    "regdictionary",
    "regcollation",
];

fn tokens_are_name(text: &str, name: &str) -> bool {
    tokens(text).is_ok_and(|tokens| matches!(&tokens[..], [one] if one.name(text).is_some_and(|n| n == name)))
}

/// A name as SQL has it, quoted where it must be.
pub(super) fn identifier(name: &str) -> Cow<'_, str> {
    let mut bytes = name.bytes();
    let plain = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_')
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        // Keywords and types have no underscore followed by hex digits; what is generated always has.
        && name.contains('_');
    if plain {
        Cow::Borrowed(name)
    } else {
        Cow::Owned(format!("\"{}\"", name.replace('"', "\"\"")))
    }
}

fn literal(text: &str) -> String {
    let body = text.replace('\'', "''");
    if body.contains('\\') {
        format!("E'{}'", body.replace('\\', "\\\\"))
    } else {
        format!("'{body}'")
    }
}

/// Takes away the lines that only psql understands and that pg_dump writes of its own: `\restrict` and `\unrestrict`.
///
/// # Errors
/// Kind `unsupported` when there is another psql command, or text that cannot be read.
pub(super) fn without_restrict(sql: &str) -> Result<String> {
    let mut out = String::with_capacity(sql.len());
    let mut copied = 0;
    for token in tokens(sql)?.iter().filter(|t| t.kind == TokenKind::Meta) {
        let command = &sql[token.start..token.end];
        if !command.starts_with("\\restrict ") && !command.starts_with("\\unrestrict ") {
            return Err(unreadable("it holds a psql command"));
        }
        out.push_str(&sql[copied..token.start]);
        copied = token.end;
    }
    out.push_str(&sql[copied..]);
    Ok(out)
}

/// The statement without the ONLY of ALTER TABLE.
pub(super) fn without_only(sql: &str) -> String {
    let Ok(tokens) = tokens(sql) else { return sql.to_owned() };
    let mut head = Cursor::new(sql, &tokens);
    if !head.accept_all(&["ALTER", "TABLE"]) {
        return sql.to_owned();
    }
    head.accept_all(&["IF", "EXISTS"]);
    let only = head.at;
    if !head.accept("ONLY") {
        return sql.to_owned();
    }
    let end = tokens.get(only + 1).map_or(sql.len(), |next| next.start);
    format!("{}{}", &sql[..tokens[only].start], &sql[end..])
}

fn classify(sql: &str, tokens: &[Token]) -> (Kind, Option<String>) {
    let mut head = Cursor::new(sql, tokens);
    if head.accept("SET") || head.accept("RESET") {
        // The access method of the tables that follow it is no business of the session's.
        return match head.name().as_deref() {
            Some("default_table_access_method") => (Kind::Other, None),
            _ => (Kind::Setting, None),
        };
    }
    if head.accept_all(&["SELECT", "pg_catalog", ".", "set_config"]) || head.accept_all(&["SELECT", "set_config"]) {
        return (Kind::Setting, None);
    }
    if head.accept("CREATE") {
        return classify_create(head);
    }
    if head.accept("ALTER") {
        let is_table = head.accept("TABLE") || head.accept_all(&["FOREIGN", "TABLE"]);
        if !is_table {
            return (Kind::Other, None);
        }
        head.accept_all(&["IF", "EXISTS"]);
        head.accept("ONLY");
        let table = head.qualified_name();
        head.accept("*");
        if head.accept("ADD") {
            if head.accept("CONSTRAINT") {
                head.name();
            }
            let kind = if head.several_actions() {
                Kind::Other
            } else if head.accept_all(&["PRIMARY", "KEY"]) || head.accept("UNIQUE") || head.accept("EXCLUDE") {
                Kind::Key
            } else if head.accept_all(&["FOREIGN", "KEY"]) {
                Kind::ForeignKey
            } else {
                Kind::Other
            };
            return (kind, table);
        }
        return (Kind::Other, table);
    }
    (Kind::Other, None)
}

fn classify_create(mut head: Cursor<'_>) -> (Kind, Option<String>) {
    if head.accept("SCHEMA") {
        return (Kind::CreateSchema, None);
    }
    head.accept_all(&["OR", "REPLACE"]);
    head.accept("UNLOGGED");
    head.accept("UNIQUE");
    if head.accept("TABLE") {
        head.accept_all(&["IF", "NOT", "EXISTS"]);
        return (Kind::Other, head.qualified_name());
    }
    if head.accept("INDEX") {
        let table = head.skip_to("ON").then(|| {
            head.accept("ONLY");
            head.qualified_name()
        });
        return (Kind::Index, table.flatten());
    }
    head.accept("CONSTRAINT");
    let mark = if head.accept("TRIGGER") || head.accept("POLICY") {
        "ON"
    } else if head.accept("RULE") {
        "TO"
    } else {
        return (Kind::Other, None);
    };
    let table = head.skip_to(mark).then(|| head.qualified_name());
    (Kind::Other, table.flatten())
}

/// A statement's tokens, to be looked at one after the other.
pub(super) struct Cursor<'a> {
    sql: &'a str,
    tokens: &'a [Token],
    at: usize,
}

impl<'a> Cursor<'a> {
    fn new(sql: &'a str, tokens: &'a [Token]) -> Self {
        Self { sql, tokens, at: 0 }
    }

    /// Steps over a word or sign if it is the next one.
    pub(super) fn accept(&mut self, text: &str) -> bool {
        let fits = self.tokens.get(self.at).is_some_and(|token| token.is(self.sql, text));
        self.at += usize::from(fits);
        fits
    }

    /// Steps over all of these if they are the next ones.
    pub(super) fn accept_all(&mut self, texts: &[&str]) -> bool {
        let start = self.at;
        let fits = texts.iter().all(|text| self.accept(text));
        if !fits {
            self.at = start;
        }
        fits
    }

    /// Steps over a name if it is next.
    pub(super) fn name(&mut self) -> Option<String> {
        let name = self.tokens.get(self.at)?.name(self.sql)?.into_owned();
        self.at += 1;
        Some(name)
    }

    /// Steps over a name with whatever qualifies it; returns its last part.
    pub(super) fn qualified_name(&mut self) -> Option<String> {
        let mut last = self.name()?;
        while self.accept(".") {
            last = self.name()?;
        }
        Some(last)
    }

    /// Steps past the next such word that is not within parentheses; stays where it is when there is none.
    pub(super) fn skip_to(&mut self, word: &str) -> bool {
        let mut depth = 0_usize;
        for (i, token) in self.tokens.iter().enumerate().skip(self.at) {
            match &self.sql[token.start..token.end] {
                "(" => depth += 1,
                ")" => depth = depth.saturating_sub(1),
                _ if depth == 0 && token.is(self.sql, word) => {
                    self.at = i + 1;
                    return true;
                }
                _ => {}
            }
        }
        false
    }

    /// Whether one of the tokens that are left is this word, within parentheses or not.
    pub(super) fn holds(&self, word: &str) -> bool {
        self.tokens[self.at..].iter().any(|token| token.is(self.sql, word))
    }

    /// Steps past the comma that ends this item of a list in parentheses; false at the end of the list.
    pub(super) fn next_item(&mut self) -> bool {
        let mut depth = 0_usize;
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            match &self.sql[token.start..token.end] {
                "(" => depth += 1,
                ")" if depth == 0 => return false,
                ")" => depth -= 1,
                "," if depth == 0 => return true,
                _ => {}
            }
        }
        false
    }

    /// Whether there is a comma outside of parentheses.
    fn several_actions(&self) -> bool {
        let rest = Cursor { ..*self };
        { rest }.skip_to(",")
    }
}

/// Looks at a statement by its tokens.
///
/// # Errors
/// When the text cannot be read.
pub(super) fn look<T>(sql: &str, at: impl FnOnce(Cursor<'_>) -> T) -> Result<T> {
    let tokens = tokens(sql)?;
    Ok(at(Cursor::new(sql, &tokens)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sql: &str) -> Vec<String> {
        statements(sql).expect("readable").into_iter().map(|s| s.text).collect()
    }

    #[test]
    fn statements_end_at_their_own_semicolons_only() {
        for one in [
            "SELECT 'a;b';",
            "SELECT E'a\\';b';",
            "SELECT E'a'\n  'b\\';c';",
            "SELECT E'a'\n -- '\n 'b\\';c';",
            "SELECT 'a\\';",
            "SELECT U&'\\0041;', U&\"a;b\", B'0;', X'1;', N'n;';",
            "SELECT \"a;b\"\"c;\";",
            "SELECT $$a;b$$, $t$a;$$;b$t$, $1, a$x$b, $é$;$é$;",
            "SELECT 1 /* ; /* ; */ ; */ + 2;",
            "SELECT 1 -- ;\n + 2;",
            "CREATE RULE r AS ON INSERT TO t DO ALSO (DELETE FROM u; DELETE FROM v);",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 ELSE 2 END; END;",
            "CREATE OR REPLACE PROCEDURE p() LANGUAGE sql\nBEGIN ATOMIC\n INSERT INTO t VALUES (CASE 1 WHEN 1 THEN CASE WHEN true THEN 2 END END);\n SELECT x.end, 1 AS end, x.case FROM x;\nEND;",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS $$ BEGIN ATOMIC; $$;",
            "CREATE FUNCTION f(\"begin\" int) RETURNS int LANGUAGE sql RETURN \"begin\";",
        ] {
            assert_eq!(texts(one), [one.to_owned()], "{one}");
            assert_eq!(
                texts(&format!("{one}\nSELECT 2")),
                [one.to_owned(), "SELECT 2;".to_owned()],
                "{one}"
            );
        }
        assert_eq!(texts(" ;; -- nothing\n /* */ ;"), [""; 0]);
        assert_eq!(texts("BEGIN; SELECT 1; END"), ["BEGIN;", "SELECT 1;", "END;"]);
        assert_eq!(texts("-- why\nSELECT 1; -- last"), ["SELECT 1;"]);
        assert_eq!(texts("SELECT 1 -- last"), ["SELECT 1;"]);
    }

    #[test]
    fn text_without_an_end_is_refused() {
        for bad in [
            "SELECT 'a",
            "SELECT E'a\\'",
            "SELECT \"a",
            "SELECT $a$ $b$",
            "/* /* */",
            "SELECT (1;",
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1;",
            "\\! rm -rf /\nSELECT 1;",
            "SELECT 1 \\g\n;",
        ] {
            assert!(statements(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn restrict_lines_go_and_other_commands_are_refused() {
        let sql = "\\restrict abc\nSELECT '\n\\restrict not me\n';\n\\unrestrict abc\n";
        assert_eq!(
            without_restrict(sql).expect("fine"),
            "\nSELECT '\n\\restrict not me\n';\n\n"
        );
        assert!(without_restrict("SELECT 1;\n\\connect other\n").is_err());
    }

    #[test]
    fn statements_are_told_apart() {
        for (sql, kind, table) in [
            ("SET statement_timeout = 0;", Kind::Setting, None),
            (
                "SELECT pg_catalog.set_config('search_path', '', false);",
                Kind::Setting,
                None,
            ),
            ("SET default_table_access_method = heap;", Kind::Other, None),
            ("CREATE SCHEMA x;", Kind::CreateSchema, None),
            (
                "ALTER TABLE ONLY x.\"Od.d\" ADD CONSTRAINT k PRIMARY KEY (a, b);",
                Kind::Key,
                Some("Od.d"),
            ),
            (
                "alter table if exists t add unique nulls not distinct (a);",
                Kind::Key,
                Some("t"),
            ),
            (
                "ALTER TABLE ONLY x.t ADD CONSTRAINT k EXCLUDE USING gist (r WITH &&);",
                Kind::Key,
                Some("t"),
            ),
            (
                "ALTER TABLE x.t ADD CONSTRAINT \"PRIMARY\" FOREIGN KEY (a) REFERENCES x.u(a) NOT VALID;",
                Kind::ForeignKey,
                Some("t"),
            ),
            (
                "ALTER TABLE x.t ADD CONSTRAINT c CHECK ((a > 0)) NOT VALID;",
                Kind::Other,
                Some("t"),
            ),
            ("ALTER TABLE t ADD UNIQUE (a), ADD UNIQUE (b);", Kind::Other, Some("t")),
            (
                "ALTER TABLE ONLY x.t REPLICA IDENTITY USING INDEX i;",
                Kind::Other,
                Some("t"),
            ),
            ("ALTER INDEX x.i ATTACH PARTITION x.j;", Kind::Other, None),
            (
                "CREATE INDEX \"on\" ON ONLY x.t USING btree (a);",
                Kind::Index,
                Some("t"),
            ),
            (
                "CREATE UNIQUE INDEX ON t (lower(a)) WHERE a <> ' on ';",
                Kind::Index,
                Some("t"),
            ),
            (
                "CREATE CONSTRAINT TRIGGER g AFTER UPDATE OF \"on\", b ON x.t FOR EACH ROW EXECUTE FUNCTION x.f('on');",
                Kind::Other,
                Some("t"),
            ),
            (
                "CREATE RULE r AS ON INSERT TO x.t DO INSTEAD NOTHING;",
                Kind::Other,
                Some("t"),
            ),
            (
                "CREATE UNLOGGED TABLE IF NOT EXISTS x.t (a int);",
                Kind::Other,
                Some("t"),
            ),
            ("CREATE POLICY p ON x.t USING (true);", Kind::Other, Some("t")),
            ("CREATE VIEW x.v AS SELECT 1;", Kind::Other, None),
        ] {
            let found = statements(sql).expect("readable").remove(0);
            assert_eq!((found.kind, found.table.as_deref()), (kind, table), "{sql}");
        }
    }

    #[test]
    fn a_schema_is_renamed_where_it_is_a_schema() {
        let to = |sql: &str| rename_schema(sql, "tenant_a1", "tenantctl_restore_b2");
        for (before, after) in [
            ("CREATE SCHEMA tenant_a1;", "CREATE SCHEMA tenantctl_restore_b2;"),
            (
                "CREATE SCHEMA IF NOT EXISTS tenant_a1;",
                "CREATE SCHEMA IF NOT EXISTS tenantctl_restore_b2;",
            ),
            (
                "COMMENT ON SCHEMA tenant_a1 IS 'tenant_a1.x';",
                "COMMENT ON SCHEMA tenantctl_restore_b2 IS 'tenant_a1.x';",
            ),
            (
                "SELECT * FROM TENANT_A1 . t, \"tenant_a1\".u, x.tenant_a1.y",
                "SELECT * FROM tenantctl_restore_b2 . t, tenantctl_restore_b2.u, x.tenant_a1.y",
            ),
            ("SELECT \"TENANT_A1\".x", "SELECT \"TENANT_A1\".x"),
            (
                "SELECT tenant_a1 FROM tenant_a1.tenant_a1",
                "SELECT tenant_a1 FROM tenantctl_restore_b2.tenant_a1",
            ),
            (
                "DEFAULT nextval('tenant_a1.s'::regclass)",
                "DEFAULT nextval('tenantctl_restore_b2.s'::regclass)",
            ),
            (
                "'tenant_a1.\"o''d.d\"'::pg_catalog.regclass",
                "'tenantctl_restore_b2.\"o''d.d\"'::pg_catalog.regclass",
            ),
            (
                "E'tenant_a1.\"b\\\\s\"'::regclass",
                "E'tenantctl_restore_b2.\"b\\\\s\"'::regclass",
            ),
            (
                "'tenant_a1.f(tenant_a1.t,integer)'::regprocedure",
                "'tenantctl_restore_b2.f(tenantctl_restore_b2.t,integer)'::regprocedure",
            ),
            ("'tenant_a1'::regnamespace", "'tenantctl_restore_b2'::regnamespace"),
            ("'tenant_a1.s'::text", "'tenant_a1.s'::text"),
            (
                "'tenant_a1'::tenant_a1.state",
                "'tenant_a1'::tenantctl_restore_b2.state",
            ),
            (
                "-- tenant_a1.t\n/* tenant_a1.t */ $$ tenant_a1.t $$ $x$tenant_a1.t$x$ \"a.tenant_a1.b\"",
                "-- tenant_a1.t\n/* tenant_a1.t */ $$ tenant_a1.t $$ $x$tenant_a1.t$x$ \"a.tenant_a1.b\"",
            ),
            (
                "CREATE FUNCTION tenant_a1.f() SET search_path TO 'tenant_a1', 'pg_temp' AS 'tenant_a1.x'",
                "CREATE FUNCTION tenantctl_restore_b2.f() SET search_path TO 'tenantctl_restore_b2', 'pg_temp' AS 'tenant_a1.x'",
            ),
            (
                "SET search_path = pg_temp, tenant_a1; SELECT 'tenant_a1'",
                "SET search_path = pg_temp, tenantctl_restore_b2; SELECT 'tenant_a1'",
            ),
            ("SET my.path TO 'tenant_a1'", "SET my.path TO 'tenant_a1'"),
            (
                "BEGIN ATOMIC SELECT t.a FROM tenant_a1.t; END",
                "BEGIN ATOMIC SELECT t.a FROM tenantctl_restore_b2.t; END",
            ),
            (
                "x OPERATOR(tenant_a1.=) y COLLATE tenant_a1.c",
                "x OPERATOR(tenantctl_restore_b2.=) y COLLATE tenantctl_restore_b2.c",
            ),
            (
                "EXECUTE FUNCTION tenant_a1.f('tenant_a1.f')",
                "EXECUTE FUNCTION tenantctl_restore_b2.f('tenant_a1.f')",
            ),
            ("tenant_a1x.t, xtenant_a1.t", "tenant_a1x.t, xtenant_a1.t"),
        ] {
            assert_eq!(to(before), after, "{before}");
            assert_eq!(rename_schema(&to(before), "tenant_zz", "x"), after);
        }
        assert_eq!(rename_schema("a.t", "a", "Odd \"name\""), "\"Odd \"\"name\"\"\".t");
    }

    #[test]
    fn a_prefix_is_taken_off() {
        assert_eq!(
            unqualify(
                "FOREIGN KEY (a) REFERENCES tenant_a1.\"tenant_a1.t\"(a), 'tenant_a1.t'",
                "tenant_a1"
            ),
            "FOREIGN KEY (a) REFERENCES \"tenant_a1.t\"(a), 'tenant_a1.t'"
        );
    }

    #[test]
    fn only_is_taken_off() {
        assert_eq!(
            without_only("ALTER TABLE ONLY x.t ADD CONSTRAINT k CHECK (a = 'ONLY');"),
            "ALTER TABLE x.t ADD CONSTRAINT k CHECK (a = 'ONLY');"
        );
        assert_eq!(
            without_only("ALTER TABLE x.only ADD a int;"),
            "ALTER TABLE x.only ADD a int;"
        );
    }
}
