//! `Sql`: the only thing the driver accepts.
//!
//! Text enters as `&'static str` or as a trusted [`Module`]; everything else enters quoted, by type. There is
//! no way to push a run-time string unquoted, which is what keeps tenants' names out of the grammar.

use std::fmt;
use std::sync::Arc;

use crate::tenant::Module;

/// A piece of SQL, ready for the server or, with secrets masked, for eyes ([`fmt::Display`]).
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Sql(Vec<Part>);

#[derive(Clone, PartialEq, Eq)]
enum Part {
    Text(&'static str),
    Quoted(String),
    Secret(String),
    Module(Arc<str>),
}

/// What stands for a secret wherever SQL is shown. NULL, so that SQL that is shown and then run sets no password
/// that anybody could guess.
pub const MASK: &str = "NULL /* secret */";

impl Sql {
    /// Starts with text known at compile time.
    pub fn new(text: &'static str) -> Self {
        Self(vec![Part::Text(text)])
    }

    /// A module's text, whole. Modules are trusted by definition: they come from this binary or from a
    /// folder that the admin configured, and the registry keeps their checksum.
    pub fn module(module: &Module) -> Self {
        // The last statement of a file may lack its semicolon, and its last line may be a comment.
        Self(vec![Part::Module(Arc::clone(&module.sql)), Part::Text("\n;\n")])
    }

    /// A script that came with a backup, or one or more of its statements, or a query of the configuration. This is the one
    /// way by which such text reaches the driver.
    pub fn script(script: &TrustedScript) -> Self {
        Self(vec![Part::Module(Arc::clone(&script.0)), Part::Text("\n")])
    }

    /// Appends text known at compile time.
    #[must_use]
    pub fn text(mut self, text: &'static str) -> Self {
        self.0.push(Part::Text(text));
        self
    }

    /// Appends a quoted identifier.
    #[must_use]
    pub fn ident(mut self, name: &str) -> Self {
        self.0.push(Part::Quoted(quote_ident(name)));
        self
    }

    /// Appends `"schema"."name"`.
    #[must_use]
    pub fn qualified(self, schema: &str, name: &str) -> Self {
        self.ident(schema).text(".").ident(name)
    }

    /// Appends a quoted string literal.
    #[must_use]
    pub fn literal(mut self, value: &str) -> Self {
        self.0.push(Part::Quoted(quote_literal(value)));
        self
    }

    /// Appends a string literal or NULL.
    #[must_use]
    pub fn optional(self, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.literal(value),
            None => self.text("NULL"),
        }
    }

    /// Appends a string literal that is masked wherever the SQL is shown.
    #[must_use]
    pub fn secret(mut self, value: &str) -> Self {
        self.0.push(Part::Secret(quote_literal(value)));
        self
    }

    /// Appends an integer.
    #[must_use]
    pub fn int(mut self, value: impl Into<i128>) -> Self {
        self.0.push(Part::Quoted(value.into().to_string()));
        self
    }

    /// Appends a `text[]` value.
    #[must_use]
    pub fn text_array<I: IntoIterator<Item = S>, S: AsRef<str>>(self, values: I) -> Self {
        let mut sql = self.text("ARRAY[");
        for (i, value) in values.into_iter().enumerate() {
            sql = if i == 0 { sql } else { sql.text(", ") }.literal(value.as_ref());
        }
        sql.text("]::pg_catalog.text[]")
    }

    /// Appends a function's name, qualified with a schema, and its argument types as the server printed them.
    ///
    /// The types come from `oidvectortypes`, read back from the registry for a module the admin trusts; the name is
    /// quoted here.
    #[must_use]
    pub fn function(mut self, schema: &str, signature: &FunctionSignature) -> Self {
        self = self.qualified(schema, &signature.name).text("(");
        self.0.push(Part::Quoted(signature.arguments.clone()));
        self.text(")")
    }

    /// Appends another piece.
    #[must_use]
    pub fn append(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Appends a comma-separated list of `"schema"."name"`.
    #[must_use]
    pub fn qualified_list<'a>(mut self, schema: &str, names: impl IntoIterator<Item = &'a String>) -> Self {
        for (i, name) in names.into_iter().enumerate() {
            self = if i == 0 { self } else { self.text(", ") }.qualified(schema, name);
        }
        self
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The text for the server, secrets included. Only `pg` may ask for it.
    pub(in crate::pg) fn wire(&self) -> String {
        self.render(|secret| secret)
    }

    fn render<'a>(&'a self, secret: impl Fn(&'a str) -> &'a str) -> String {
        self.0
            .iter()
            .map(|part| match part {
                Part::Text(text) => text,
                Part::Quoted(text) => text.as_str(),
                Part::Secret(text) => secret(text),
                Part::Module(text) => text,
            })
            .collect()
    }
}

impl fmt::Display for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(|_| MASK))
    }
}

impl fmt::Debug for Sql {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// SQL of a backup: a template's modules, or what pg_dump wrote. It is trusted as the modules are, and no further: the
/// manifest holds its checksum, the registry that of the manifest, and it is run as tenantctl_owner, never as the admin. Or a
/// query of the configuration, which is run as the tenant or as tenantctl_owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedScript(Arc<str>);

impl TrustedScript {
    /// Takes text out of a member of a backup whose checksum was found right.
    pub fn of_backup(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// Takes a query of the configuration, which the admin wrote.
    pub fn of_configuration(text: &str) -> Self {
        Self(Arc::from(text))
    }

    /// Takes what the server has printed of objects that modules have made.
    pub fn of_server(text: &str) -> Self {
        Self(Arc::from(text))
    }
}

/// A function's or procedure's name and argument types, split as the registry stores them: `name(types)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionSignature {
    name: String,
    arguments: String,
}

impl FunctionSignature {
    /// Splits `name(arguments)`; arguments that could leave the parentheses are refused.
    pub fn parse(signature: &str) -> Option<Self> {
        let (name, rest) = signature.split_once('(')?;
        let arguments = rest.strip_suffix(')')?;
        let mut depth = 0_i32;
        for c in arguments.chars() {
            match c {
                '(' => depth += 1,
                ')' => depth -= 1,
                ';' | '\'' | '\0' => return None,
                _ => {}
            }
            if depth < 0 {
                return None;
            }
        }
        (depth == 0 && !name.is_empty()).then(|| Self {
            name: name.into(),
            arguments: arguments.into(),
        })
    }
}

/// Quotes an identifier, always: `a"b` becomes `"a""b"`.
///
/// NUL cannot occur in a PostgreSQL identifier; it is dropped rather than sent, and the name then does not exist.
fn quote_ident(name: &str) -> String {
    format!("\"{}\"", name.replace('\0', "").replace('"', "\"\""))
}

/// Quotes a literal so that it reads the same whatever `standard_conforming_strings` says.
fn quote_literal(value: &str) -> String {
    let body = value.replace('\0', "").replace('\'', "''");
    if body.contains('\\') {
        format!(" E'{}'", body.replace('\\', "\\\\"))
    } else {
        format!("'{body}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quotes_by_type() {
        let sql = Sql::new("SELECT ")
            .literal("it's \\ a \"test\"")
            .text(" FROM ")
            .qualified("Odd\"Schema", "t; DROP")
            .text(" LIMIT ")
            .int(5);
        assert_eq!(
            sql.wire(),
            r#"SELECT  E'it''s \\ a "test"' FROM "Odd""Schema"."t; DROP" LIMIT 5"#
        );
        assert_eq!(
            Sql::new("").text_array(["a", "b'c"]).wire(),
            "ARRAY['a', 'b''c']::pg_catalog.text[]"
        );
    }

    #[test]
    fn secrets_reach_the_wire_and_nothing_else() {
        let sql = Sql::new("PASSWORD ").secret("SCRAM-SHA-256$x");
        assert_eq!(sql.wire(), "PASSWORD 'SCRAM-SHA-256$x'");
        assert_eq!(sql.to_string(), "PASSWORD NULL /* secret */");
        assert_eq!(format!("{sql:?}"), "PASSWORD NULL /* secret */");
    }

    #[test]
    fn function_arguments_cannot_leave_their_parentheses() {
        assert!(FunctionSignature::parse("f(numeric(10,2), text)").is_some());
        for bad in ["f", "(x)", "f(a)) ; DROP TABLE x; --(", "f(a;b)", "f(')')"] {
            assert!(FunctionSignature::parse(bad).is_none(), "{bad}");
        }
    }
}
