//! URLs in the policy: the right scheme, and no secret in them.

use super::document::{At, Fields};
use crate::error::{Error, Result};

/// Hints for URLs that hold a secret, by where the secret belongs.
const STORE_HINT: &str = "S3 credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, not from this file.";
const REDIS_HINT: &str = "Leave redis_url empty and put the whole URL into the environment as TENANTCTL_REDIS_URL.";
const ALERT_HINT: &str = "Leave url empty and put the whole URL into the environment as TENANTCTL_ALERT_URL.";
const REPLICA_HINT: &str = "Leave the password out: ~/.pgpass or PGPASSWORD supplies it.";

/// Names of query parameters and libpq keywords whose value is a secret.
const SECRET_NAMES: [&str; 10] = [
    "password",
    "passwd",
    "pwd",
    "sslpassword",
    "token",
    "access_token",
    "secret",
    "api_key",
    "apikey",
    "signature",
];

/// Whether a message may not repeat this text: a URL or connection string can hold a password anywhere.
pub fn may_hold_secret(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    text.contains("://") || text.contains("age-secret-key") || SECRET_NAMES.iter().any(|name| text.contains(name))
}

/// A URL in parts; what stands before the `@` is not kept.
struct Url<'a> {
    scheme: &'a str,
    host: &'a str,
    path: &'a str,
    has_user: bool,
    has_password: bool,
}

fn split(text: &str) -> Option<Url<'_>> {
    let (scheme, rest) = text.split_once("://")?;
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, host) = authority
        .rsplit_once('@')
        .map_or((None, authority), |(user, host)| (Some(user), host));
    let query_secret = path.split(['?', '&', '#', ';']).skip(1).any(|pair| {
        let name = pair.split('=').next().unwrap_or_default().to_ascii_lowercase();
        pair.contains('=') && SECRET_NAMES.contains(&name.as_str())
    });
    Some(Url {
        scheme,
        host,
        path,
        has_user: user.is_some_and(|user| !user.is_empty()),
        has_password: query_secret || user.is_some_and(|user| user.contains(':')),
    })
}

fn secret(at: &At<'_>, hint: &str) -> Error {
    at.refuse("holds a password or token").with_hint(hint)
}

/// Neither the URL nor a part of it is repeated: a secret may stand in any of them.
fn scheme(at: &At<'_>, expected: &str) -> Error {
    at.refuse(format_args!("expected a URL that starts with {expected}"))
}

fn no_blanks(at: &At<'_>, text: &str) -> Result<()> {
    match text.chars().any(char::is_whitespace) {
        true => Err(at
            .refuse("a URL must not hold blanks")
            .with_hint("Write %20 for a blank.")),
        false => Ok(()),
    }
}

/// `file:///folder` or `s3://bucket/prefix`; none when empty.
pub fn store(fields: &Fields<'_>, key: &'static str) -> Result<Option<String>> {
    let at = fields.get(key)?;
    let Some(text) = at.optional_line()? else {
        return Ok(None);
    };
    let expected = "file:/// or s3://";
    let Some(url) = split(text) else {
        return Err(scheme(&at, expected));
    };
    if url.has_password || url.has_user {
        return Err(secret(&at, STORE_HINT));
    }
    no_blanks(&at, text)?;
    if url.path.contains(['?', '#']) {
        return Err(at
            .refuse("a store's URL has no ? and no #")
            .with_hint("AWS_ENDPOINT_URL names another S3 service."));
    }
    match url.scheme {
        "file" if !url.host.is_empty() => Err(at
            .refuse("a file: URL needs three slashes and an absolute path")
            .with_hint("Write file:///var/backups for the folder /var/backups.")),
        "file" if url.path.trim_matches('/').is_empty() => Err(at
            .refuse("names no folder")
            .with_hint("Write file:///var/backups for the folder /var/backups.")),
        "file" => Ok(Some(text.to_owned())),
        "s3" if !is_bucket(url.host) => Err(at
            .refuse("names no valid bucket")
            .with_hint("A bucket's name is 3 to 63 letters, digits, '.', '_' and '-': s3://bucket/prefix.")),
        "s3" => Ok(Some(text.to_owned())),
        _ => Err(scheme(&at, expected)),
    }
}

fn is_bucket(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// `redis://` or `rediss://`; none when empty.
pub fn redis(fields: &Fields<'_>, key: &'static str) -> Result<Option<String>> {
    plain(
        fields,
        key,
        &["redis", "rediss"],
        "redis:// or rediss://",
        |url| url.has_password,
        REDIS_HINT,
    )
}

/// `http://` or `https://`; none when empty. A user name alone counts as a secret: services take tokens there.
pub fn alert(fields: &Fields<'_>, key: &'static str) -> Result<Option<String>> {
    plain(
        fields,
        key,
        &["http", "https"],
        "https:// or http://",
        |url| url.has_password || url.has_user,
        ALERT_HINT,
    )
}

fn plain(
    fields: &Fields<'_>,
    key: &'static str,
    schemes: &[&str],
    expected: &str,
    is_secret: impl Fn(&Url<'_>) -> bool,
    hint: &str,
) -> Result<Option<String>> {
    let at = fields.get(key)?;
    let Some(text) = at.optional_line()? else {
        return Ok(None);
    };
    match split(text) {
        Some(url) if is_secret(&url) => Err(secret(&at, hint)),
        Some(url) if !schemes.contains(&url.scheme) => Err(scheme(&at, expected)),
        Some(url) if url.host.is_empty() => Err(at.refuse("names no host")),
        Some(_) => no_blanks(&at, text).map(|()| Some(text.to_owned())),
        None => Err(scheme(&at, expected)),
    }
}

/// libpq URLs and key=value strings.
pub fn replicas(fields: &Fields<'_>, key: &'static str) -> Result<Vec<String>> {
    let replica = |at: At<'_>| {
        let text = at.line()?;
        let lower = text.to_ascii_lowercase();
        // Rather too strict than a password that slips through quoting: any keyword's name is enough.
        let keyword = lower.contains("password") && !lower.contains("://");
        match split(text) {
            Some(url) if url.has_password => Err(secret(&at, REPLICA_HINT)),
            Some(url) if !["postgresql", "postgres"].contains(&url.scheme) => Err(scheme(&at, "postgresql://")),
            None if keyword => Err(secret(&at, REPLICA_HINT)),
            None if !text.contains('=') => Err(at
                .refuse("expected a libpq URL or key=value pairs")
                .with_hint("Write host=replica1.db.internal port=5432 dbname=tradesage.")),
            _ => Ok(text.to_owned()),
        }
    };
    fields.get(key)?.list()?.into_iter().map(replica).collect()
}
