//! From text to tree: the YAML library's limits, and its errors in our words.

use serde_yaml::{Error as Yaml, Location, MessageFormatter, Options, UserMessageFormatter};

use super::document::{Node, place, quoted};
use crate::error::{Error, Result};

/// Longest file that is read; the built-in one has less than a fiftieth of it.
pub const FILE_MAX_BYTES: u64 = 1 << 20;
/// Most values that aliases may add; a file of ten lines can ask for thousands of millions.
const ALIASED_MAX: usize = 10_000;
const VALUES_MAX: usize = 50_000;
const DEPTH_MAX: usize = 16;

fn options() -> Options {
    serde_yaml::options! {
        // 1.2 booleans alone, so that `off` and `no` are words.
        strict_booleans: true,
        reject_unsupported_tags: true,
        with_snippet: false,
        alias_limits: serde_yaml::alias_limits! { max_total_replayed_events: ALIASED_MAX },
        budget: serde_yaml::budget! { max_depth: DEPTH_MAX, max_nodes: VALUES_MAX },
    }
}

/// Parses one document.
pub fn parse(text: &str, name: &str) -> Result<Node> {
    serde_yaml::from_str_with_options(text, options()).map_err(|error| explain(&error, text, name))
}

fn explain(error: &Yaml, text: &str, name: &str) -> Error {
    let at = error.location().unwrap_or(Location::UNKNOWN);
    let cause = root_cause(error);
    let (what, hint) = match cause {
        Yaml::DuplicateMappingKey { key, .. } => (
            match key {
                Some(key) => format!("duplicate key {}", quoted(key)),
                None => "duplicate key".to_owned(),
            },
            "A key may stand once in its mapping. Keep one of the two.",
        ),
        Yaml::MultipleDocuments { .. } => (
            "a second document begins here".to_owned(),
            "The file is one YAML document. Remove the line `---` between the parts.",
        ),
        Yaml::Budget { .. }
        | Yaml::AliasReplayLimitExceeded { .. }
        | Yaml::AliasExpansionLimitExceeded { .. }
        | Yaml::AliasReplayStackDepthExceeded { .. }
        | Yaml::AliasReplayCounterOverflow { .. } => (
            "the file is too large or too deeply nested, counted with what its aliases stand for".to_owned(),
            "Write the values out instead of referring to anchors (&name, *name).",
        ),
        Yaml::UnknownAnchor { .. } => (
            "an alias names an anchor that is not there".to_owned(),
            "Define it further up as &name, or quote the value.",
        ),
        Yaml::RecursiveReferencesRequireWeakTypes { .. } => (
            "an alias stands inside what it refers to".to_owned(),
            "Write the value out.",
        ),
        Yaml::UnsupportedTag { tag, .. } => (
            format!("unsupported tag {}", quoted(tag)),
            "Remove the tag, or quote the value if it starts with !.",
        ),
        Yaml::NonFiniteFloat { value, .. } => (
            format!("expected a finite number, found {value}"),
            "Write a number, or `unlimited` where it is allowed.",
        ),
        // Only keys are read as text.
        Yaml::Unexpected {
            expected: "string scalar",
            ..
        }
        | Yaml::NullIntoString { .. } => ("a key must be a single word".to_owned(), "Write `key: value`."),
        other => return syntax_error(other, at, text, name),
    };
    place(name, at, what).with_hint(hint)
}

/// Behind the wrappers that the library adds for aliases and snippets.
fn root_cause(mut error: &Yaml) -> &Yaml {
    while let Yaml::AliasError { error: inner, .. } | Yaml::WithSnippet { error: inner, .. } = error {
        error = inner;
    }
    error
}

fn syntax_error(error: &Yaml, at: Location, text: &str, name: &str) -> Error {
    if let Some((line, column)) = tab_near(text, at.line()) {
        return Error::config(format!(
            "{name}:{line}:{column}: a tab stands where YAML allows only spaces"
        ))
        .with_hint("Indent with spaces.");
    }
    let message = UserMessageFormatter
        .format_message(error)
        .replace(char::is_control, " ");
    place(name, at, format_args!("invalid YAML: {message}")).with_hint(
        "Look at this line and the one above it: indentation, a missing colon or bracket. Text that starts with \
         a sign such as @, % or *, or holds a colon and a blank, needs double quotes.",
    )
}

/// A tab in the indentation of this line or the next, where the library's own message can be a line early.
fn tab_near(text: &str, line: u64) -> Option<(u64, usize)> {
    (line..=line + 1).find_map(|number| {
        let line = text.lines().nth(usize::try_from(number.checked_sub(1)?).ok()?)?;
        let indentation = line.len() - line.trim_start().len();
        Some((number, line[..indentation].find('\t')? + 1))
    })
}
