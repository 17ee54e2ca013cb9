//! Every parameter of libpq, and what becomes of it here.

use crate::error::{Error, Result};

/// What becomes of a parameter of libpq.
pub(super) enum Support {
    Used,
    /// Accepted without effect, because leaving it out weakens nothing.
    Ignored,
    /// These values are accepted; any other asks for a protection we do not have. The sentence says what to do.
    Only(&'static [&'static str], &'static str),
}

/// A parameter of libpq with its environment variable (empty if it has none).
pub(super) struct Param {
    pub(super) key: &'static str,
    pub(super) env: &'static str,
    pub(super) support: Support,
}

/// A parameter with the value that was given.
pub(super) type Pair = (&'static Param, String);

const fn used(key: &'static str, env: &'static str) -> Param {
    Param {
        key,
        env,
        support: Support::Used,
    }
}

const fn ignored(key: &'static str, env: &'static str) -> Param {
    Param {
        key,
        env,
        support: Support::Ignored,
    }
}

const fn only(key: &'static str, env: &'static str, values: &'static [&'static str], hint: &'static str) -> Param {
    Param {
        key,
        env,
        support: Support::Only(values, hint),
    }
}

/// Every parameter of libpq up to PostgreSQL 18.
pub(super) const PARAMS: &[Param] = &[
    used("service", "PGSERVICE"),
    used("servicefile", "PGSERVICEFILE"),
    used("user", "PGUSER"),
    used("password", "PGPASSWORD"),
    used("passfile", "PGPASSFILE"),
    used("dbname", "PGDATABASE"),
    used("host", "PGHOST"),
    used("hostaddr", "PGHOSTADDR"),
    used("port", "PGPORT"),
    used("options", "PGOPTIONS"),
    used("application_name", "PGAPPNAME"),
    used("channel_binding", "PGCHANNELBINDING"),
    used("connect_timeout", "PGCONNECT_TIMEOUT"),
    used("keepalives", ""),
    used("keepalives_idle", ""),
    used("keepalives_interval", ""),
    used("keepalives_count", ""),
    used("tcp_user_timeout", ""),
    used("sslmode", "PGSSLMODE"),
    used("sslnegotiation", "PGSSLNEGOTIATION"),
    used("sslrootcert", "PGSSLROOTCERT"),
    used("sslcert", "PGSSLCERT"),
    used("sslkey", "PGSSLKEY"),
    used("sslcrl", "PGSSLCRL"),
    used("sslcrldir", "PGSSLCRLDIR"),
    used("sslsni", "PGSSLSNI"),
    used("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION"),
    used("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION"),
    used("target_session_attrs", "PGTARGETSESSIONATTRS"),
    used("load_balance_hosts", "PGLOADBALANCEHOSTS"),
    only(
        "sslcertmode",
        "PGSSLCERTMODE",
        &["disable", "allow"],
        "Require the certificate on the server instead, with clientcert=verify-full in pg_hba.conf.",
    ),
    only(
        "requirepeer",
        "PGREQUIREPEER",
        &[],
        "The owner of a Unix socket cannot be checked; connect over TCP with sslmode=verify-full instead.",
    ),
    only(
        "require_auth",
        "PGREQUIREAUTH",
        &[],
        "The way to authenticate cannot be restricted; use sslmode=verify-full or channel_binding=require instead.",
    ),
    only(
        "gssencmode",
        "PGGSSENCMODE",
        &["disable", "prefer"],
        "GSSAPI encryption is not supported; use TLS with sslmode=verify-full instead.",
    ),
    only(
        "replication",
        "",
        &["false", "off", "no", "0"],
        "Remove it: replication connections are not supported.",
    ),
    only(
        "min_protocol_version",
        "PGMINPROTOCOLVERSION",
        &["3.0"],
        "Remove it: protocol version 3.0 is spoken.",
    ),
    only(
        "scram_client_key",
        "",
        &[],
        "Give the password instead, best in ~/.pgpass.",
    ),
    only(
        "scram_server_key",
        "",
        &[],
        "Give the password instead, best in ~/.pgpass.",
    ),
    // The driver always speaks UTF-8, and a session pins it.
    ignored("client_encoding", "PGCLIENTENCODING"),
    // The caller's own name stands for it, as psql's does.
    ignored("fallback_application_name", ""),
    // An encrypted key is refused where it is read.
    ignored("sslpassword", ""),
    ignored("sslcompression", "PGSSLCOMPRESSION"),
    ignored("sslkeylogfile", ""),
    ignored("krbsrvname", "PGKRBSRVNAME"),
    ignored("gsslib", "PGGSSLIB"),
    ignored("gssdelegation", "PGGSSDELEGATION"),
    ignored("max_protocol_version", "PGMAXPROTOCOLVERSION"),
    ignored("oauth_issuer", ""),
    ignored("oauth_client_id", ""),
    ignored("oauth_client_secret", ""),
    ignored("oauth_scope", ""),
];

/// The parameter of a name. `tell` allows the name in the message.
pub(super) fn param(key: &str, tell: bool) -> Result<&'static Param> {
    if let Some(param) = PARAMS.iter().find(|param| param.key == key) {
        return Ok(param);
    }
    let plausible = key.len() <= 40 && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b));
    if !tell || !plausible || key.is_empty() {
        return Err(Error::usage("unknown parameter in the connection string")
            .with_hint("Put a value with spaces or quotes in single quotes; in a URL, percent-encode it."));
    }
    let lower = key.to_ascii_lowercase();
    let nearest = PARAMS
        .iter()
        .filter(|param| !matches!(param.support, Support::Only([], _)))
        .map(|param| (strsim::jaro_winkler(&lower, param.key), param.key))
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .filter(|(likeness, _)| *likeness > 0.85);
    Err(
        Error::usage(format!("unknown connection parameter {key:?}")).with_hint(match nearest {
            Some((_, nearest)) => format!("Did you mean {nearest:?}?"),
            None => "Use the key words of libpq, such as host, port, dbname, user and sslmode.".to_owned(),
        }),
    )
}

/// Whether the value is a secret. After a quoting mistake, its second half may stand where the next key is expected.
pub(super) fn is_secret(key: &str) -> bool {
    ["password", "sslpassword"].contains(&key)
}

#[cfg(test)]
mod tests {
    use crate::error::ErrorKind;
    use crate::pg::conninfo::tests::{resolve, short};

    #[test]
    fn unknown_parameters_are_refused_with_the_nearest() {
        for (text, message, hint) in [
            (
                "sslmod=require",
                "unknown connection parameter \"sslmod\"",
                "Did you mean \"sslmode\"?",
            ),
            (
                "SSLMode=require",
                "unknown connection parameter \"SSLMode\"",
                "Did you mean \"sslmode\"?",
            ),
            (
                "hots=x",
                "unknown connection parameter \"hots\"",
                "Did you mean \"host\"?",
            ),
            (
                "database=x",
                "unknown connection parameter \"database\"",
                "Use the key words of libpq",
            ),
            (
                "postgres://h/d?schema=public",
                "unknown connection parameter \"schema\"",
                "Use the key words of libpq",
            ),
            (
                "postgres://h/d?sslroot=x",
                "unknown connection parameter \"sslroot\"",
                "Did you mean \"sslrootcert\"?",
            ),
            (
                "\u{1b}[31m=x",
                "unknown parameter in the connection string",
                "Put a value",
            ),
        ] {
            let error = resolve(text, &[]).unwrap_err();
            assert_eq!((error.message(), error.kind()), (message, ErrorKind::Usage), "{text:?}");
            assert!(error.hint().unwrap().starts_with(hint), "{text:?}: {:?}", error.hint());
        }
    }

    #[test]
    fn harmless_parameters_are_ignored() {
        let text = "host=h user=u gssencmode=prefer krbsrvname=x gsslib=gssapi gssdelegation=1 sslcompression=1
            client_encoding=latin1 fallback_application_name=x sslpassword=secret replication=false
            sslcertmode=allow min_protocol_version=3.0 max_protocol_version=latest oauth_client_secret=secret
            requirepeer='' require_auth=''";
        let info = resolve(
            text,
            &[("PGGSSENCMODE", "disable"), ("PGKRBSRVNAME", "x"), ("PGTZ", "UTC")],
        )
        .unwrap();
        assert_eq!(short(&info), "u@h:5432/u");
        assert_eq!(info.application_name, None);
        assert!(!format!("{info:?}").contains("secret"));
    }
}
