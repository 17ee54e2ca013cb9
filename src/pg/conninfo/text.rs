//! Takes connection strings apart as libpq does: URLs, `key=value` pairs, bare names of databases.

use percent_encoding::percent_decode_str;

use super::parameters::{Pair, is_secret, param};
use crate::error::{Error, Result};

const URL_PREFIXES: [&str; 2] = ["postgresql://", "postgres://"];

/// Takes a connection string apart; later values of a key replace earlier ones.
pub(super) fn parse(text: &str) -> Result<Vec<Pair>> {
    let trimmed = text.trim();
    if let Some(rest) = URL_PREFIXES.iter().find_map(|prefix| trimmed.strip_prefix(prefix)) {
        return parse_url(rest);
    }
    let scheme = trimmed.split_once("://").map(|(scheme, _)| scheme);
    if scheme.is_some_and(|s| s.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.:".contains(&b))) {
        return Err(Error::usage("the connection string is a URL of another kind")
            .with_hint("Begin it with postgresql:// or postgres://, in lower case."));
    }
    if trimmed.contains('=') {
        return parse_pairs(text);
    }
    if trimmed.contains('@') {
        return Err(
            Error::usage("the connection string is neither a URL nor key=value pairs")
                .with_hint("Begin a URL with postgresql://, or write dbname='...' for a database with @ in its name."),
        );
    }
    match trimmed {
        "" => Ok(Vec::new()),
        name => Ok(vec![(param("dbname", true)?, name.to_owned())]),
    }
}

/// Stores a pair, translating the spellings that libpq still takes.
fn push(pairs: &mut Vec<Pair>, key: &str, value: String, tell: bool) -> Result<()> {
    let (key, value) = match key {
        "requiressl" if value.starts_with('1') => ("sslmode", "require".to_owned()),
        "requiressl" => ("sslmode", "prefer".to_owned()),
        _ => (key, value),
    };
    pairs.push((param(key, tell)?, value));
    Ok(())
}

/// `key = value 'quoted \' value'`, as libpq reads it.
fn parse_pairs(text: &str) -> Result<Vec<Pair>> {
    let space = |c: &char| c.is_ascii_whitespace() || *c == '\u{b}';
    let mut pairs = Vec::new();
    let mut chars = text.chars().peekable();
    let mut tell = true;
    let mut previous = String::new();
    loop {
        while chars.next_if(space).is_some() {}
        if chars.peek().is_none() {
            return Ok(pairs);
        }
        let mut key = String::new();
        while let Some(c) = chars.next_if(|c| *c != '=' && !space(c)) {
            key.push(c);
        }
        while chars.next_if(space).is_some() {}
        if chars.next() != Some('=') {
            // Usually the second word of an unquoted value: not to be repeated.
            let place = if previous.is_empty() {
                String::new()
            } else {
                format!(" after the value of {previous}")
            };
            return Err(Error::usage(format!("missing \"=\"{place} in the connection string"))
                .with_hint("Put a value with spaces in single quotes."));
        }
        while chars.next_if(space).is_some() {}
        let mut value = String::new();
        let quoted = chars.next_if_eq(&'\'').is_some();
        loop {
            match chars.next() {
                None if quoted => {
                    return Err(Error::usage("unterminated quoted value in the connection string")
                        .with_hint("Close it with a single quote; a quote inside is written \\'."));
                }
                None => break,
                Some('\'') if quoted => break,
                Some(c) if !quoted && space(&c) => break,
                Some('\\') => value.extend(chars.next()),
                Some(c) => value.push(c),
            }
        }
        push(&mut pairs, &key, value, tell)?;
        tell = !is_secret(&key);
        previous = key;
    }
}

/// What follows `postgresql://`, as libpq reads it: `[user[:password]@][host][:port][,...][/dbname][?key=value&...]`.
fn parse_url(text: &str) -> Result<Vec<Pair>> {
    let mut pairs = Vec::new();
    let mut rest = text;
    if let Some((userinfo, after)) = text.split_once('@').filter(|(userinfo, _)| !userinfo.contains('/')) {
        rest = after;
        let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
        add_decoded(&mut pairs, "user", user)?;
        add_decoded(&mut pairs, "password", password)?;
    }
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    if place.contains('@') {
        return Err(Error::usage("the URL has an \"@\" where none belongs")
            .with_hint("In user and password, write @ as %40, / as %2F and % as %25."));
    }
    let (authority, dbname) = place.split_once('/').unwrap_or((place, ""));
    let (mut hosts, mut ports) = (Vec::new(), Vec::new());
    for server in authority.split(',') {
        let (host, port) = split_port(server)?;
        hosts.push(host);
        ports.push(port);
    }
    if hosts.iter().any(|host| !host.is_empty()) || hosts.len() > 1 {
        add_decoded(&mut pairs, "host", &hosts.join(","))?;
    }
    if ports.iter().any(|port| !port.is_empty()) || ports.len() > 1 {
        add_decoded(&mut pairs, "port", &ports.join(","))?;
    }
    add_decoded(&mut pairs, "dbname", dbname)?;
    let mut tell = true;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let Some((key, value)) = pair.split_once('=').filter(|(_, value)| !value.contains('=')) else {
            return Err(
                Error::usage("a query parameter of the URL is not of the form key=value")
                    .with_hint("Write & in a value as %26 and = as %3D."),
            );
        };
        let (key, value) = (decode(key, "a query parameter")?, decode(value, "a query parameter")?);
        match (key.as_str(), value.as_str()) {
            // As JDBC has it.
            ("ssl", "true") => push(&mut pairs, "sslmode", "require".to_owned(), true)?,
            _ => push(&mut pairs, &key, value, tell)?,
        }
        tell = !is_secret(&key);
    }
    Ok(pairs)
}

/// Splits `host:port`, `[address]:port`.
fn split_port(server: &str) -> Result<(&str, &str)> {
    let Some(bracketed) = server.strip_prefix('[') else {
        return Ok(server.split_once(':').unwrap_or((server, "")));
    };
    match bracketed.split_once(']') {
        Some((address, "")) if !address.is_empty() => Ok((address, "")),
        Some((address, port)) if !address.is_empty() && port.starts_with(':') => Ok((address, &port[1..])),
        _ => Err(Error::usage("malformed IPv6 address in the URL").with_hint("Write it as [::1]:5432.")),
    }
}

/// Adds a part of a URL unless it is empty, so that the environment still applies.
fn add_decoded(pairs: &mut Vec<Pair>, key: &str, text: &str) -> Result<()> {
    match text {
        "" => Ok(()),
        text => push(pairs, key, decode(text, key)?, true),
    }
}

fn decode(text: &str, what: &str) -> Result<String> {
    let mut escapes = text.split('%').skip(1);
    let wellformed = escapes.all(|escape| match escape.as_bytes() {
        [b'0', b'0', ..] => false,
        [high, low, ..] => high.is_ascii_hexdigit() && low.is_ascii_hexdigit(),
        _ => false,
    });
    let decoded = percent_decode_str(text).decode_utf8().ok().filter(|_| wellformed);
    decoded.map(std::borrow::Cow::into_owned).ok_or_else(|| {
        Error::usage(format!("invalid percent-encoding in the URL, in {what}")).with_hint("Write % itself as %25.")
    })
}

#[cfg(test)]
mod tests {
    use crate::error::ErrorKind;
    use crate::pg::conninfo::ConnInfo;
    use crate::pg::conninfo::tests::{resolve, short, shown};

    #[test]
    fn strings_are_read_as_libpq_reads_them() {
        let env = [
            ("PGUSER", "u"),
            ("PGHOST", "envhost"),
            ("PGPORT", "6000"),
            ("PGDATABASE", "envdb"),
        ];
        for (text, expected) in [
            // Bare names
            ("", "u@envhost:6000/envdb"),
            ("  ", "u@envhost:6000/envdb"),
            ("mydb", "u@envhost:6000/mydb"),
            (" my db ", "u@envhost:6000/my db"),
            // Key=value
            ("host=h", "u@h:6000/envdb"),
            ("host=h port=1 dbname=d user=x", "x@h:1/d"),
            ("host = h   port= 1\tdbname =d", "u@h:1/d"),
            ("\nhost=h\r\nport=1\n", "u@h:1/envdb"),
            ("host=h dbname='my db' user='it\\'s'", "it's@h:6000/my db"),
            (r"host=h dbname=a\ b\\c user=\'x", r"'x@h:6000/a b\c"),
            ("host=h dbname='a'user=b", "b@h:6000/a"),
            ("host=h dbname='with = sign'", "u@h:6000/with = sign"),
            ("host=h dbname=a dbname=b", "u@h:6000/b"),
            ("host=h dbname=größe", "u@h:6000/größe"),
            ("host=h dbname=", "u@h:6000/u"),
            ("host=h dbname=''", "u@h:6000/u"),
            ("host=/run/pg port=1", "u@/run/pg:1/envdb"),
            ("host=a,b,c", "u@a:6000,b:6000,c:6000/envdb"),
            ("host=a,b port=1,2", "u@a:1,b:2/envdb"),
            ("host=a,b port=1,", "u@a:1,b:5432/envdb"),
            ("host=a,b port=''", "u@a:5432,b:5432/envdb"),
            ("host=a hostaddr=10.0.0.1", "u@a=10.0.0.1:6000/envdb"),
            ("host=a,b hostaddr=10.0.0.1,::1", "u@a=10.0.0.1:6000,b=::1:6000/envdb"),
            ("host=a,b hostaddr=,::1", "u@a:6000,b=::1:6000/envdb"),
            ("host='' hostaddr=10.0.0.1", "u@=10.0.0.1:6000/envdb"),
            // URLs
            ("postgres://", "u@envhost:6000/envdb"),
            ("postgresql://", "u@envhost:6000/envdb"),
            ("postgresql:///", "u@envhost:6000/envdb"),
            ("postgresql:///d", "u@envhost:6000/d"),
            ("postgresql://h", "u@h:6000/envdb"),
            ("postgresql://h/", "u@h:6000/envdb"),
            ("postgresql://h:1/d", "u@h:1/d"),
            ("postgresql://h:/d", "u@h:6000/d"),
            ("postgresql://x@h/d", "x@h:6000/d"),
            ("postgresql://x:p@h/d", "x@h:6000/d"),
            ("postgresql://:p@h/d", "u@h:6000/d"),
            ("postgresql://@h/d", "u@h:6000/d"),
            ("postgresql://x%40y:p@h/a%2Fb%20c", "x@y@h:6000/a/b c"),
            ("postgresql://h/a+b", "u@h:6000/a+b"),
            ("postgresql://h1:1,h2:2/d", "u@h1:1,h2:2/d"),
            ("postgresql://h1,h2:2/d", "u@h1:5432,h2:2/d"),
            ("postgresql://h1,h2/d", "u@h1:5432,h2:5432/d"),
            ("postgresql://[::1]/d", "u@::1:6000/d"),
            ("postgresql://[::1]:1/d", "u@::1:1/d"),
            ("postgresql://x@[2001:db8::1]:1,h2:2/d?user=y", "y@2001:db8::1:1,h2:2/d"),
            (
                "postgresql:///d?host=/var/run/postgresql&port=1",
                "u@/var/run/postgresql:1/d",
            ),
            (
                "postgresql://%2Fvar%2Frun%2Fpostgresql:1/d",
                "u@/var/run/postgresql:1/d",
            ),
            ("postgresql://%2frun", "u@/run:6000/envdb"),
            ("postgresql://h?dbname=d&user=x", "x@h:6000/d"),
            ("postgresql://h/d?port=1&", "u@h:1/d"),
            ("postgresql://a/d?host=b", "u@b:6000/d"),
            ("  postgresql://h/d\n", "u@h:6000/d"),
            ("postgresql://gr%C3%B6%C3%9Fe/d", "u@größe:6000/d"),
        ] {
            assert_eq!(
                resolve(text, &env).map(|info| short(&info)).unwrap(),
                expected,
                "{text:?}"
            );
        }
        let info = ConnInfo::resolve(None, &|name| {
            (name == "PGHOST" || name == "PGUSER").then(|| "x".to_owned())
        });
        assert_eq!(short(&info.unwrap()), "x@x:5432/x");
    }

    #[test]
    fn wrong_strings_are_refused_without_repeating_a_password() {
        // The secret is always "hun ter2" or a mangled part of it.
        for (text, message) in [
            ("host=h password=hun ter2", "missing \"=\" after the value of password"),
            ("password=hun ter2=x", "unknown parameter in the connection string"),
            ("password=hun ter2 = x", "unknown parameter in the connection string"),
            ("password='hun ter2", "unterminated quoted value"),
            ("=x", "unknown parameter"),
            ("host=h user", "missing \"=\" after the value of host"),
            ("user:ter2@host/db", "neither a URL nor key=value"),
            ("postgres:/user:ter2@host/db", "neither a URL nor key=value"),
            ("http://user:ter2@host/db", "a URL of another kind"),
            ("POSTGRES://user:ter2@host/db?a=b", "a URL of another kind"),
            ("jdbc:postgresql://host/db?password=ter2", "a URL of another kind"),
            ("postgresql+asyncpg://user:ter2@host/db", "a URL of another kind"),
            ("postgres://user:hun@ter2@host/db", "the URL has an \"@\""),
            ("postgres://user:hun/ter2@host/db", "the URL has an \"@\""),
            ("postgres://user:12/ter2@host/db", "the URL has an \"@\""),
            ("postgres://user:ter2/db", "port is not a number"),
            (
                "postgres://user:ter%2@host/db",
                "invalid percent-encoding in the URL, in password",
            ),
            (
                "postgres://user:ter2%00@host/db",
                "invalid percent-encoding in the URL, in password",
            ),
            (
                "postgres://user:ter2%ff@host/db",
                "invalid percent-encoding in the URL, in password",
            ),
            ("postgres://h/db?password=ter%zz", "invalid percent-encoding"),
            ("postgres://h/db?password=hun&ter2", "not of the form key=value"),
            (
                "postgres://h/db?password=hun&ter2=1",
                "unknown parameter in the connection string",
            ),
            ("postgres://h/db?password=hun=ter2", "not of the form key=value"),
            ("postgres://[::1/db", "malformed IPv6"),
            ("postgres://[]/db", "malformed IPv6"),
            ("postgres://[::1]x/db", "malformed IPv6"),
            ("host=@abstract", "host contains the character \"@\""),
            (
                "host=h dbname=postgres://user:ter2@h/db",
                "dbname holds a connection string",
            ),
            ("host=h dbname='host=h password=ter2'", "dbname holds another parameter"),
            ("host=h sslmode= password=ter2", "sslmode holds another parameter"),
            ("host=h user= password=ter2", "user holds another parameter"),
            ("host= password=ter2", "host holds another parameter"),
        ] {
            let error = resolve(text, &[("PGUSER", "u"), ("PGHOST", "h")]).unwrap_err();
            assert!(error.message().contains(message), "{text:?}: {error}");
            assert!(!shown(&error).contains("ter2"), "{text:?}: {}", shown(&error));
            assert!(!shown(&error).contains("hun"), "{text:?}: {}", shown(&error));
            assert_eq!(error.kind(), ErrorKind::Usage, "{text:?}");
            assert!(error.hint().is_some_and(|hint| hint.ends_with(['.', '?'])), "{text:?}");
        }
        let error = resolve("", &[("PGDATABASE", "postgres://user:ter2@h/db")]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().starts_with("PGDATABASE holds") && !shown(&error).contains("ter2"));
    }
}
