//! The parameters as they were given, each with its origin.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::choices::Choice;
use super::parameters::{PARAMS, Pair, Param, Support, is_secret};
use crate::error::{Error, Result};

/// Where a value was given.
pub(super) enum Origin {
    Text,
    Env(&'static str),
    Service { file: PathBuf, line: usize },
}

/// Every parameter that was given. No Debug: one of them is the password.
pub(super) struct Given(BTreeMap<&'static str, (String, Origin)>);

impl Given {
    /// The parameters of the connection string; later values of a key replace earlier ones.
    pub(super) fn in_text(pairs: Vec<Pair>) -> Self {
        let given = |(param, value): Pair| (param.key, (value, Origin::Text));
        Self(pairs.into_iter().map(given).collect())
    }

    /// Adds a value of lower rank: one that is there already stays.
    pub(super) fn add(&mut self, param: &Param, value: String, origin: Origin) {
        self.0.entry(param.key).or_insert((value, origin));
    }

    pub(super) fn add_environment(&mut self, env: &dyn Fn(&str) -> Option<String>) {
        for param in PARAMS.iter().filter(|param| !param.env.is_empty()) {
            if let Some(value) = env(param.env) {
                self.add(param, value, Origin::Env(param.env));
            }
        }
    }

    /// The value as it was given, empty or not.
    pub(super) fn value(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(|(value, _)| value.as_str())
    }

    /// The value, unless it is empty: empty text stands for the default but hides what has a lower rank.
    pub(super) fn text(&self, key: &str) -> Option<&str> {
        self.value(key).filter(|value| !value.is_empty())
    }

    pub(super) fn owned(&self, key: &str) -> Option<String> {
        self.text(key).map(str::to_owned)
    }

    pub(super) fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    pub(super) fn list(&self, key: &str) -> Vec<&str> {
        self.text(key)
            .map(|list| list.split(',').map(str::trim).collect())
            .unwrap_or_default()
    }

    /// An error about a parameter; the message is made from the name that the user knows the parameter by.
    pub(super) fn wrong(&self, key: &str, message: impl FnOnce(&str) -> String) -> Error {
        match self.0.get(key) {
            Some((_, Origin::Env(variable))) => Error::config(message(variable)),
            Some((_, Origin::Service { file, line })) => {
                Error::config(message(&format!("{key} in line {line} of service file {file:?}")))
            }
            _ => Error::usage(message(key)),
        }
    }

    pub(super) fn invalid(&self, key: &str, value: &str) -> Error {
        self.wrong(key, |key| format!("invalid value {value:?} for {key}"))
    }

    pub(super) fn choice<T: Choice>(&self, key: &str) -> Result<Option<T>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match T::ALL.iter().find(|(text, _)| *text == value) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let all: Vec<_> = T::ALL.iter().map(|(text, _)| *text).collect();
                Err(self
                    .invalid(key, value)
                    .with_hint(format!("Use one of {}.", all.join(", "))))
            }
        }
    }

    pub(super) fn integer(&self, key: &str) -> Result<Option<i32>> {
        let Some(value) = self.value(key) else {
            return Ok(None);
        };
        match value.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(self.invalid(key, value).with_hint("Give a whole number.")),
        }
    }

    /// Seconds, or another unit; zero and less stand for the default.
    pub(super) fn duration(&self, key: &str, unit: fn(u64) -> Duration) -> Result<Option<Duration>> {
        Ok(self
            .integer(key)?
            .and_then(|n| u64::try_from(n).ok())
            .filter(|n| *n > 0)
            .map(unit))
    }

    pub(super) fn flag(&self, key: &str, default: bool) -> Result<bool> {
        Ok(self.integer(key)?.map_or(default, |n| n != 0))
    }

    /// Refuses what would come up in messages, or reach the server as a name, with a password in it.
    pub(super) fn refuse_swallowed(&self) -> Result<()> {
        for (key, (value, _)) in self.0.iter().filter(|(key, _)| !is_secret(key)) {
            if value.contains("password=") {
                return Err(self
                    .wrong(key, |key| format!("{key} holds another parameter"))
                    .with_hint(
                        "Write an empty value as ''; give connection strings with --database-url or DATABASE_URL.",
                    ));
            }
        }
        Ok(())
    }

    pub(super) fn refuse_unsupported(&self) -> Result<()> {
        for param in PARAMS {
            let (Support::Only(accepted, hint), Some(value)) = (&param.support, self.text(param.key)) else {
                continue;
            };
            if !accepted.contains(&value) {
                // Where no value is accepted, it may be a key.
                let value = if accepted.is_empty() {
                    String::new()
                } else {
                    format!("={value}")
                };
                return Err(self
                    .wrong(param.key, |key| format!("{key}{value} is not supported"))
                    .with_hint(*hint));
            }
        }
        Ok(())
    }
}
