//! SQL cut into tokens, as the server does it.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind, Result};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum TokenKind {
    /// A keyword or an identifier without quotes.
    Word,
    /// An identifier in double quotes.
    Quoted,
    /// `'...'` or `E'...'`.
    String,
    /// A string in dollar quotes, with a prefix such as `B` or `U&`, or an identifier as `U&"..."`: never looked into.
    Opaque,
    /// A number.
    Number,
    /// A psql command, to the end of its line.
    Meta,
    /// One character of an operator or sign.
    Other,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) start: usize,
    pub(super) end: usize,
}

impl Token {
    /// Whether it is this keyword, in whatever case, or this sign.
    pub(super) fn is(&self, sql: &str, text: &str) -> bool {
        matches!(self.kind, TokenKind::Word | TokenKind::Other) && sql[self.start..self.end].eq_ignore_ascii_case(text)
    }

    /// The identifier that it is: folded to lower case, or without its quotes.
    pub(super) fn name<'a>(&self, sql: &'a str) -> Option<Cow<'a, str>> {
        let text = &sql[self.start..self.end];
        match self.kind {
            TokenKind::Word if text.bytes().any(|b| b.is_ascii_uppercase()) => {
                Some(Cow::Owned(text.to_ascii_lowercase()))
            }
            TokenKind::Word => Some(Cow::Borrowed(text)),
            TokenKind::Quoted => Some(match &text[1..text.len() - 1] {
                inside if inside.contains('"') => Cow::Owned(inside.replace("\"\"", "\"")),
                inside => Cow::Borrowed(inside),
            }),
            _ => None,
        }
    }

    /// The value of a string, where it is written in one piece and with no escapes but doubled quotes and backslashes.
    pub(super) fn string(&self, sql: &str) -> Option<String> {
        let text = &sql[self.start..self.end];
        let (escapes, inside) = match text.strip_prefix(['E', 'e']) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let inside = inside.strip_prefix('\'')?.strip_suffix('\'')?;
        let mut value = String::with_capacity(inside.len());
        let mut chars = inside.chars();
        while let Some(c) = chars.next() {
            match c {
                '\'' => {
                    // Anything but a second quote is a string in several pieces.
                    chars.next().filter(|c| *c == '\'')?;
                    value.push('\'');
                }
                '\\' if escapes => value.push(chars.next().filter(|c| matches!(c, '\\' | '\''))?),
                c => value.push(c),
            }
        }
        Some(value)
    }
}

fn is_word_start(b: u8) -> bool {
    b.is_ascii_alphabetic() || b == b'_' || b >= 0x80
}

fn is_word(b: u8) -> bool {
    is_word_start(b) || b.is_ascii_digit() || b == b'$'
}

pub(super) fn tokens(sql: &str) -> Result<Vec<Token>> {
    let bytes = sql.as_bytes();
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(&b) = bytes.get(at) {
        let next = bytes.get(at + 1).copied();
        let start = at;
        let kind = match b {
            b' ' | b'\t' | b'\r' | b'\n' | 0x0c | 0x0b => {
                at += 1;
                continue;
            }
            b'-' if next == Some(b'-') => {
                at = line_end(bytes, at);
                continue;
            }
            b'/' if next == Some(b'*') => {
                at = comment_end(bytes, at)?;
                continue;
            }
            b'\'' => {
                at = string_end(bytes, at, false)?;
                TokenKind::String
            }
            b'E' | b'e' if next == Some(b'\'') => {
                at = string_end(bytes, at + 1, true)?;
                TokenKind::String
            }
            b'B' | b'b' | b'X' | b'x' | b'N' | b'n' if next == Some(b'\'') => {
                at = string_end(bytes, at + 1, false)?;
                TokenKind::Opaque
            }
            b'U' | b'u' if next == Some(b'&') && bytes.get(at + 2) == Some(&b'\'') => {
                at = string_end(bytes, at + 2, false)?;
                TokenKind::Opaque
            }
            b'U' | b'u' if next == Some(b'&') && bytes.get(at + 2) == Some(&b'"') => {
                at = quoted_end(bytes, at + 2)?;
                TokenKind::Opaque
            }
            b'"' => {
                at = quoted_end(bytes, at)?;
                TokenKind::Quoted
            }
            b'$' => match dollar_end(bytes, at)? {
                Some(end) => {
                    at = end;
                    TokenKind::Opaque
                }
                None => {
                    at += 1;
                    TokenKind::Other
                }
            },
            b'\\' => {
                at = line_end(bytes, at);
                TokenKind::Meta
            }
            b if b.is_ascii_digit() => {
                while bytes.get(at).is_some_and(|b| is_word(*b)) {
                    at += 1;
                }
                // A fraction, but not the dots of a slice or a loop.
                if bytes.get(at) == Some(&b'.') && bytes.get(at + 1) != Some(&b'.') {
                    at += 1;
                    while bytes.get(at).is_some_and(|b| is_word(*b)) {
                        at += 1;
                    }
                }
                TokenKind::Number
            }
            b if is_word_start(b) => {
                while bytes.get(at).is_some_and(|b| is_word(*b)) {
                    at += 1;
                }
                TokenKind::Word
            }
            _ => {
                at += 1;
                TokenKind::Other
            }
        };
        found.push(Token { kind, start, end: at });
    }
    Ok(found)
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    let rest = &bytes[at..];
    at + rest
        .iter()
        .position(|b| matches!(b, b'\n' | b'\r'))
        .unwrap_or(rest.len())
}

fn comment_end(bytes: &[u8], start: usize) -> Result<usize> {
    let (mut at, mut depth) = (start, 0_usize);
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => {
                depth += 1;
                at += 2;
            }
            b"*/" => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return Ok(at);
                }
            }
            _ => at += 1,
        }
    }
    Err(unreadable("a comment has no end"))
}

/// `start` is at the opening quote. Strings that only a line break separates are one string to the server.
fn string_end(bytes: &[u8], start: usize, escapes: bool) -> Result<usize> {
    let mut at = start + 1;
    while let Some(b) = bytes.get(at) {
        match b {
            b'\\' if escapes => at += 2,
            b'\'' if bytes.get(at + 1) == Some(&b'\'') => at += 2,
            b'\'' => match continuation(bytes, at + 1) {
                Some(next) => at = next + 1,
                None => return Ok(at + 1),
            },
            _ => at += 1,
        }
    }
    Err(unreadable("a string has no end"))
}

/// Where the next piece of a string opens, if one follows on a later line.
fn continuation(bytes: &[u8], mut at: usize) -> Option<usize> {
    let mut lines = 0;
    loop {
        match bytes.get(at)? {
            b'\n' | b'\r' => {
                lines += 1;
                at += 1;
            }
            b' ' | b'\t' | 0x0c | 0x0b => at += 1,
            // A comment counts as white space only once there was a line break.
            b'-' if lines > 0 && bytes.get(at + 1) == Some(&b'-') => at = line_end(bytes, at),
            b'\'' if lines > 0 => return Some(at),
            _ => return None,
        }
    }
}

/// `start` is at the opening quote.
fn quoted_end(bytes: &[u8], start: usize) -> Result<usize> {
    let mut at = start + 1;
    while let Some(b) = bytes.get(at) {
        match b {
            b'"' if bytes.get(at + 1) == Some(&b'"') => at += 2,
            b'"' => return Ok(at + 1),
            _ => at += 1,
        }
    }
    Err(unreadable("a quoted name has no end"))
}

/// The end of a dollar-quoted string, if one begins here; `$1` is none.
fn dollar_end(bytes: &[u8], start: usize) -> Result<Option<usize>> {
    let mut open = start + 1;
    while bytes.get(open).is_some_and(|b| is_word(*b) && *b != b'$') {
        open += 1;
    }
    let is_tag = bytes.get(open) == Some(&b'$') && !bytes[start + 1].is_ascii_digit();
    if !is_tag {
        return Ok(None);
    }
    let tag = &bytes[start..=open];
    bytes[open + 1..]
        .windows(tag.len())
        .position(|window| window == tag)
        .map(|found| Some(open + 1 + found + tag.len()))
        .ok_or_else(|| unreadable("a dollar-quoted string has no end"))
}

pub(super) fn unreadable(why: &str) -> Error {
    Error::new(ErrorKind::Unsupported, "a script of SQL cannot be taken apart").with_cause(why)
}
