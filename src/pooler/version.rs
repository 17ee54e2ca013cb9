//! PgBouncer's version, and what came with which.

use std::fmt;

use crate::error::{Error, Result};

/// A release of PgBouncer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u16, u16, u16);

impl Version {
    /// The oldest that is written for: before it, data could be put in front of a client's TLS connection (CVE-2021-3935).
    pub const OLDEST: Self = Self(1, 16, 1);
    /// Limits by user go together with the lookup. Before it, whoever stands under `[users]` is never looked up and so
    /// cannot log in; `pool_size` by user came with it.
    pub const LIMITS_BY_USER: Self = Self(1, 23, 0);
    /// Prepared statements of the protocol in transaction mode. 1.21.0 had them, with leaks and mix-ups until 1.22.1.
    pub const PREPARED_STATEMENTS: Self = Self(1, 22, 1);

    /// A release by its numbers.
    pub const fn new(major: u16, minor: u16, patch: u16) -> Self {
        Self(major, minor, patch)
    }

    /// Reads `1.18.0`, `PgBouncer 1.18.0` or a package's `1.18.0-1+deb12u1`; none where there is no version in it.
    pub fn read(text: &str) -> Option<Self> {
        let start = text.find(|c: char| c.is_ascii_digit())?;
        let mut parts = text[start..].split(|c: char| !c.is_ascii_digit()).map(str::parse);
        let mut next = || parts.next()?.ok();
        Some(Self(next()?, next()?, next().unwrap_or(0)))
    }

    /// What the user said it was.
    ///
    /// # Errors
    /// Kind `usage`.
    pub fn parse(text: &str) -> Result<Self> {
        Self::read(text).ok_or_else(|| {
            Error::usage(format!("{} is no version of PgBouncer", crate::tenant::quoted(text)))
                .with_hint("Write it as `pgbouncer --version` does: 1.23.1.")
        })
    }

    /// What the program on this machine says, if there is one.
    pub async fn installed() -> Option<Self> {
        // Where Debian puts it is not in everybody's PATH.
        for program in ["pgbouncer", "/usr/sbin/pgbouncer", "/usr/local/bin/pgbouncer"] {
            let mut command = tokio::process::Command::new(program);
            command
                .arg("--version")
                .stdin(std::process::Stdio::null())
                .kill_on_drop(true);
            if let Ok(output) = command.output().await
                && let Some(version) = Self::read(&String::from_utf8_lossy(&output.stdout))
            {
                return Some(version);
            }
        }
        None
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1, self.2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_they_are_printed() {
        for (text, version) in [
            ("PgBouncer 1.18.0\nlibevent 2.1.12-stable\n", Some(Version(1, 18, 0))),
            ("1.18.0-1+deb12u1", Some(Version(1, 18, 0))),
            ("1.25.2", Some(Version(1, 25, 2))),
            ("PgBouncer version 1.9\n", Some(Version(1, 9, 0))),
            ("1.26.0dev", Some(Version(1, 26, 0))),
            ("none", None),
            ("1", None),
        ] {
            assert_eq!(Version::read(text), version, "{text}");
        }
        assert!(Version(1, 9, 0) < Version(1, 18, 0) && Version(1, 22, 1) < Version(1, 23, 0));
        assert_eq!(Version::parse("new").expect_err("no version").kind().exit_code(), 2);
    }
}
