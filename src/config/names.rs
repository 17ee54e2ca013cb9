//! What the user may call things. Each check returns how the name should look, if it does not.

/// Names end up in messages, in JSON and in identifiers, which PostgreSQL cuts at 63 bytes.
const MAX: usize = 63;

fn check(
    name: &str,
    max: usize,
    first: fn(u8) -> bool,
    rest: fn(u8) -> bool,
    rule: &'static str,
) -> Option<&'static str> {
    let valid = name.len() <= max && name.bytes().next().is_some_and(first) && name.bytes().all(rest);
    (!valid).then_some(rule)
}

fn lower(b: u8) -> bool {
    b.is_ascii_lowercase()
}

fn lower_digit_underscore(b: u8) -> bool {
    b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'
}

fn word(b: u8) -> bool {
    lower_digit_underscore(b) || b == b'-'
}

pub fn tier(name: &str) -> Option<&'static str> {
    check(
        name,
        MAX,
        word,
        word,
        "The name of a tier is 1 to 63 of a-z, 0-9, '_' and '-'.",
    )
}

/// Short enough for `template_` in front of it.
pub fn template(name: &str) -> Option<&'static str> {
    let rule = "The name of a template is 1 to 41 of a-z, 0-9 and '_', starting with a letter.";
    check(name, 41, lower, lower_digit_underscore, rule)
}

/// A file's stem: no folder, no suffix, nothing hidden.
pub fn module(name: &str) -> Option<&'static str> {
    let rule = "A module is named by its file without .sql, such as `portfolios`: 1 to 63 letters, digits, '_' and '-'. \
                All module files stand in one folder, `template.directory`.";
    let stem = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    check(name, MAX, |b| b.is_ascii_alphanumeric() || b == b'_', stem, rule)
}

pub fn feature(name: &str) -> Option<&'static str> {
    if name == "all" {
        return Some("`all` stands for every feature and cannot be the name of one.");
    }
    let rule = "The name of a feature is 1 to 63 of a-z, 0-9, '_' and '-', starting with a letter.";
    check(name, MAX, lower, word, rule)
}

/// A table or column as the catalog shows it.
pub fn identifier(name: &str) -> Option<&'static str> {
    let rule = "Write the bare name without a schema and without quotes: letters, digits and '_', at most 63.";
    check(
        name,
        MAX,
        |b| b.is_ascii_alphabetic() || b == b'_',
        |b| b.is_ascii_alphanumeric() || b == b'_',
        rule,
    )
}

pub fn metric(name: &str) -> Option<&'static str> {
    let rule = "The name of a figure is 1 to 63 of a-z, 0-9 and '_', starting with a letter.";
    check(name, MAX, lower, lower_digit_underscore, rule)
}

pub fn setting(name: &str) -> Option<&'static str> {
    let rule = "A setting is named as in postgresql.conf, such as `work_mem` or `timescaledb.license`.";
    check(name, MAX, lower, |b| lower_digit_underscore(b) || b == b'.', rule)
}
