//! A YAML file as a tree in which every value knows its line: read once, then taken apart key by key.
//!
//! The tree stands between the YAML library and the policy types because serde's errors cannot say what was found
//! instead, nor fall back to the built-in file key by key.

use std::fmt::{self, Display};
use std::ops::RangeInclusive;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_yaml::{Location, Spanned};

use super::{syntax, url};
use crate::error::{Error, Result};

/// A value of the file and where it stands.
pub type Node = Spanned<Value>;

/// What a value can be.
#[derive(Debug)]
pub enum Value {
    Null,
    Bool(bool),
    Whole(i128),
    Real(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Spanned<String>, Node)>),
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Whole(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Whole(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Real(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Value::Map(map))
    }
}

/// A file that was read.
#[derive(Debug)]
pub struct Document {
    name: String,
    text: String,
    root: Node,
}

impl Document {
    /// Reads a file whose top level is a mapping.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let root = syntax::parse(text, name)?;
        let document = Self {
            name: name.to_owned(),
            text: text.to_owned(),
            root,
        };
        match &document.root.value {
            Value::Map(_) => Ok(document),
            Value::Null => Err(Error::config(format!("{name} is empty")).with_hint(
                "Write the keys that differ from the built-in policy, or remove the file to use that policy unchanged.",
            )),
            _ => Err(document.root().wrong("keys such as `templates:`")),
        }
    }

    /// The top level.
    pub fn root(&self) -> At<'_> {
        At {
            document: self,
            node: &self.root,
            path: String::new(),
        }
    }
}

/// The error message of a place in a file.
pub fn place(name: &str, at: Location, why: impl Display) -> Error {
    if at == Location::UNKNOWN {
        Error::config(format!("{name}: {why}"))
    } else {
        Error::config(format!("{name}:{}:{}: {why}", at.line(), at.column()))
    }
}

/// A value in its place; reads itself as what is expected there or says what it is instead.
#[derive(Clone, Debug)]
pub struct At<'a> {
    document: &'a Document,
    node: &'a Node,
    /// The keys that lead here, such as `templates.basic.limits`; empty at the top.
    path: String,
}

impl<'a> At<'a> {
    /// An error about this value.
    pub fn refuse(&self, why: impl Display) -> Error {
        // The defined place, not the alias that refers to it: that is where the text to change stands.
        let at = self.node.defined;
        if self.path.is_empty() {
            place(&self.document.name, at, why)
        } else {
            place(&self.document.name, at, format_args!("{}: {why}", self.path))
        }
    }

    /// File, line and column.
    pub fn place(&self) -> String {
        let at = self.node.defined;
        format!("{}:{}:{}", self.document.name, at.line(), at.column())
    }

    /// Says what was expected and what is there.
    pub fn wrong(&self, expected: impl Display) -> Error {
        self.refuse(format_args!("expected {expected}, found {}", self.found()))
    }

    fn found(&self) -> String {
        match &self.node.value {
            Value::Null => "nothing".to_owned(),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a mapping".to_owned(),
            Value::Text(text) if url::may_hold_secret(text) => "text".to_owned(),
            Value::Text(text) => quoted(text),
            // As it was written: 007 and 1e3 are not what they are read as.
            Value::Bool(_) | Value::Whole(_) | Value::Real(_) => self.written().unwrap_or("another value").to_owned(),
        }
    }

    fn written(&self) -> Option<&'a str> {
        let span = self.node.defined.span();
        let start = usize::try_from(span.byte_offset()?).ok()?;
        let end = start.checked_add(usize::try_from(span.byte_len()?).ok()?)?;
        self.document.text.get(start..end)
    }

    /// Whether it is a whole number, of whatever size.
    pub fn is_whole(&self) -> bool {
        matches!(self.node.value, Value::Whole(_))
    }

    /// Whether a key was written without a value.
    pub fn is_null(&self) -> bool {
        matches!(self.node.value, Value::Null)
    }

    /// The text, if it is one; no error otherwise.
    pub fn as_text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    fn child(&self, key: &str, node: &'a Node) -> Self {
        let path = if self.path.is_empty() {
            key.to_owned()
        } else {
            format!("{}.{key}", self.path)
        };
        Self {
            document: self.document,
            node,
            path,
        }
    }

    fn map(&self) -> Result<&'a [(Spanned<String>, Node)]> {
        match &self.node.value {
            Value::Map(map) => Ok(map),
            _ => Err(self.wrong("keys with values")),
        }
    }

    /// Keys that the user names, each with its value, in the order of the file.
    ///
    /// `check` says what is wrong with a key, if anything.
    pub fn entries(&self, check: impl Fn(&str) -> Option<&'static str>) -> Result<Vec<(&'a str, Self)>> {
        self.map()?
            .iter()
            .map(|(key, node)| match check(&key.value) {
                None => Ok((key.value.as_str(), self.child(&key.value, node))),
                Some(expected) => Err(self
                    .at_key(key, format_args!("invalid name {}", quoted(&key.value)))
                    .with_hint(expected)),
            })
            .collect()
    }

    fn at_key(&self, key: &Spanned<String>, why: impl Display) -> Error {
        if self.path.is_empty() {
            place(&self.document.name, key.defined, why)
        } else {
            place(&self.document.name, key.defined, format_args!("{why} in {}", self.path))
        }
    }

    /// Refuses keys that are not among these.
    fn only(&self, keys: &[&'static str]) -> Result<()> {
        match self.map()?.iter().find(|(key, _)| !keys.contains(&key.value.as_str())) {
            None => Ok(()),
            Some((key, _)) => Err(self
                .at_key(key, format_args!("unknown key {}", quoted(&key.value)))
                .with_hint(did_you_mean(&key.value, "Valid keys here", keys))),
        }
    }

    fn entry(&self, key: &str) -> Option<Self> {
        let Value::Map(map) = &self.node.value else { return None };
        map.iter()
            .find(|(known, _)| known.value == key)
            .map(|(_, node)| self.child(key, node))
    }

    /// The items of a list; they share its path.
    pub fn list(&self) -> Result<Vec<Self>> {
        match &self.node.value {
            Value::List(list) => Ok(list.iter().map(|node| Self { node, ..self.clone() }).collect()),
            Value::Null => Err(self.wrong("a list").with_hint("Write [] for an empty list.")),
            _ => Err(self.wrong("a list")),
        }
    }

    /// One line of text, not empty, without blanks around it.
    pub fn line(&self) -> Result<&'a str> {
        match &self.node.value {
            Value::Text(text) if text.trim().is_empty() => Err(self.refuse("expected text, found an empty one")),
            Value::Text(text) if text.trim().chars().any(char::is_control) => Err(self.refuse("must be a single line")),
            Value::Text(text) => Ok(text.trim()),
            Value::Bool(_) | Value::Whole(_) | Value::Real(_) => {
                Err(self.wrong("text").with_hint("Put it into double quotes."))
            }
            _ => Err(self.wrong("text")),
        }
    }

    /// One line of text; none if the key has no value or an empty one.
    pub fn optional_line(&self) -> Result<Option<&'a str>> {
        match &self.node.value {
            Value::Null => Ok(None),
            Value::Text(text) if text.trim().is_empty() => Ok(None),
            _ => self.line().map(Some),
        }
    }

    /// A number or word as it was written; booleans become `on` and `off`, as PostgreSQL shows them.
    pub fn setting(&self) -> Result<&'a str> {
        match &self.node.value {
            Value::Bool(true) => Ok("on"),
            Value::Bool(false) => Ok("off"),
            Value::Whole(_) | Value::Real(_) => self.written().ok_or_else(|| self.wrong("text")),
            _ => self.line(),
        }
    }

    /// A whole number within bounds.
    pub fn whole<T: TryFrom<u64>>(&self, range: RangeInclusive<u64>) -> Result<T> {
        let Value::Whole(number) = self.node.value else {
            return Err(self.wrong("a whole number"));
        };
        u64::try_from(number)
            .ok()
            .filter(|number| range.contains(number))
            .and_then(|number| T::try_from(number).ok())
            .ok_or_else(|| self.wrong(format_args!("a whole number {}", bounds(&range))))
    }

    /// A number above 0 and at most `most`.
    pub fn number(&self, most: f64) -> Result<f64> {
        let number = match self.node.value {
            // Exact up to 2^53, far above any bound used here.
            Value::Whole(number) => number as f64,
            Value::Real(number) => number,
            _ => return Err(self.wrong("a number")),
        };
        if number > 0.0 && number <= most {
            Ok(number)
        } else {
            Err(self.wrong(format_args!("a number above 0 and at most {most}")))
        }
    }
}

/// A range in words.
pub fn bounds(range: &RangeInclusive<u64>) -> String {
    if *range.end() >= i64::MAX as u64 {
        format!("of at least {}", range.start())
    } else {
        format!("from {} to {}", range.start(), range.end())
    }
}

pub use crate::tenant::quoted;

/// A mapping with known keys: the user's values over the built-in ones.
#[derive(Debug)]
pub struct Fields<'a> {
    own: Option<At<'a>>,
    base: Option<At<'a>>,
}

impl<'a> Fields<'a> {
    /// Opens a mapping; the user's may hold these keys and no others.
    pub fn open(own: Option<At<'a>>, base: Option<At<'a>>, keys: &[&'static str]) -> Result<Self> {
        if let Some(own) = &own {
            own.only(keys)?;
        }
        Ok(Self { own, base })
    }

    /// Opens the mapping under a key; a key without a value leaves all as built in.
    pub fn section(&self, key: &'static str, keys: &[&'static str]) -> Result<Fields<'a>> {
        Fields::open(self.filled(key), self.built_in(key), keys)
    }

    /// The user's value, if the key is in the user's file and has one: a section may have all its lines commented out.
    pub fn filled(&self, key: &str) -> Option<At<'a>> {
        self.own(key).filter(|own| !own.is_null())
    }

    /// The built-in value.
    pub fn built_in(&self, key: &str) -> Option<At<'a>> {
        self.base.as_ref()?.entry(key)
    }

    /// The user's value, if the key is in the user's file.
    pub fn own(&self, key: &str) -> Option<At<'a>> {
        self.own.as_ref()?.entry(key)
    }

    /// The user's value, else the built-in one.
    pub fn get(&self, key: &str) -> Result<At<'a>> {
        self.own(key)
            .or_else(|| self.built_in(key))
            .ok_or_else(|| match &self.own {
                Some(own) => own.refuse(format_args!("missing key {key:?}")),
                None => Error::config(format!("the built-in policy lacks {key:?}")),
            })
    }
}

/// The candidate nearest to a mistyped name, if one is near enough to be meant.
pub fn nearest<'c>(name: &str, candidates: &[&'c str]) -> Option<&'c str> {
    let name = name.to_lowercase();
    let near = candidates
        .iter()
        .map(|candidate| {
            (
                strsim::damerau_levenshtein(&name, &candidate.to_lowercase()),
                *candidate,
            )
        })
        .min_by_key(|(distance, _)| *distance)
        .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()) / 3)
        .map(|(_, candidate)| candidate);
    // Cut short, as in `pro` for `professional`.
    near.or_else(|| {
        let mut starting = candidates
            .iter()
            .filter(|candidate| name.len() >= 2 && candidate.starts_with(&name));
        starting.next().filter(|_| starting.next().is_none()).copied()
    })
}

/// A hint: the nearest name, if any, then all.
pub fn did_you_mean(name: &str, all: &str, candidates: &[&str]) -> String {
    let list = format!("{all}: {}.", candidates.join(", "));
    match nearest(name, candidates) {
        Some(near) => format!("Did you mean {near:?}? {list}"),
        None => list,
    }
}
