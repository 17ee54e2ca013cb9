//! Parameters with a fixed set of values.

use std::fmt;

/// A type with a value for each text that a parameter may hold.
pub(super) trait Choice: Copy + PartialEq + 'static {
    /// Each value as it is written.
    const ALL: &'static [(&'static str, Self)];

    fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, value)| *value == self)
            .map_or("", |(text, _)| text)
    }
}

/// How the connection is encrypted and the server verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslMode {
    /// Never TLS.
    Disable,
    /// Treated as `prefer`: TLS where the server has it.
    Allow,
    /// TLS where the server has it, unverified.
    Prefer,
    /// TLS or nothing; verified as `verify-ca` if there is a root certificate file.
    Require,
    /// TLS with a certificate from a trusted authority.
    VerifyCa,
    /// The same, made out to the name of the host.
    VerifyFull,
}

impl Choice for SslMode {
    const ALL: &'static [(&'static str, Self)] = &[
        ("disable", Self::Disable),
        ("allow", Self::Allow),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
        ("verify-ca", Self::VerifyCa),
        ("verify-full", Self::VerifyFull),
    ];
}

impl fmt::Display for SslMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SslNegotiation {
    /// After a request in PostgreSQL's own protocol.
    Postgres,
    /// At once, with ALPN; PostgreSQL 17 and later.
    Direct,
}

impl Choice for SslNegotiation {
    const ALL: &'static [(&'static str, Self)] = &[("postgres", Self::Postgres), ("direct", Self::Direct)];
}

/// A version of TLS that is still spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

/// Which kind of server a session needs; the caller checks it after connecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TargetSessionAttrs {
    /// Any.
    Any,
    /// One that takes writes.
    ReadWrite,
    /// One that does not.
    ReadOnly,
    /// Not a standby.
    Primary,
    /// A standby.
    Standby,
    /// A standby if there is one, else any.
    PreferStandby,
}

impl Choice for TargetSessionAttrs {
    const ALL: &'static [(&'static str, Self)] = &[
        ("any", Self::Any),
        ("read-write", Self::ReadWrite),
        ("read-only", Self::ReadOnly),
        ("primary", Self::Primary),
        ("standby", Self::Standby),
        ("prefer-standby", Self::PreferStandby),
    ];
}

impl fmt::Display for TargetSessionAttrs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether authentication is bound to the TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// Where both sides can.
    Prefer,
    /// Always, or no session.
    Require,
}

impl Choice for ChannelBinding {
    const ALL: &'static [(&'static str, Self)] = &[
        ("disable", Self::Disable),
        ("prefer", Self::Prefer),
        ("require", Self::Require),
    ];
}

/// In which order hosts are tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadBalanceHosts {
    /// As written.
    Disable,
    /// Shuffled once, when the parameters are resolved, so that all sessions of a command agree on the first one.
    Random,
}

impl Choice for LoadBalanceHosts {
    const ALL: &'static [(&'static str, Self)] = &[("disable", Self::Disable), ("random", Self::Random)];
}

#[cfg(test)]
mod tests {
    use crate::pg::conninfo::tests::resolve;

    #[test]
    fn choices_read_back_as_written() {
        for text in ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"] {
            let info = resolve(&format!("user=u host=h target_session_attrs={text}"), &[]).unwrap();
            assert_eq!(
                info.target_session_attrs.map(|attrs| attrs.to_string()).as_deref(),
                Some(text)
            );
        }
        for text in ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] {
            assert_eq!(
                resolve(&format!("user=u host=h sslmode={text}"), &[])
                    .unwrap()
                    .sslmode
                    .to_string(),
                text
            );
        }
    }
}
