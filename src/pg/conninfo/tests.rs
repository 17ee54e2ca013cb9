//! What the strings, variables and files together resolve to; helpers of the tests of each part.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::error::{Error, ErrorKind};

/// A directory that goes with the test.
pub(super) struct Dir(pub(super) PathBuf);

impl Dir {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "tenantctl-conninfo-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let dir = std::env::temp_dir().join(name);
        fs::create_dir_all(&dir).unwrap();
        Self(dir)
    }

    pub(super) fn file(&self, name: &str, text: &str, mode: u32) -> String {
        let file = self.0.join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        file.display().to_string()
    }

    pub(super) fn path(&self) -> &str {
        self.0.to_str().unwrap()
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

pub(super) fn resolve(text: &str, env: &[(&str, &str)]) -> Result<ConnInfo> {
    ConnInfo::resolve(Some(text), &|name| {
        let given = env
            .iter()
            .find(|(key, _)| *key == name)
            .map(|(_, value)| (*value).to_owned());
        given.or_else(|| (name == "HOME").then(|| "/nonexistent".to_owned()))
    })
}

/// `user@host=address:port,.../dbname`
pub(super) fn short(info: &ConnInfo) -> String {
    let host = |h: &HostSpec| {
        let address = h.hostaddr.map(|a| format!("={a}")).unwrap_or_default();
        format!("{}{address}:{}", h.host.as_deref().unwrap_or_default(), h.port)
    };
    let hosts: Vec<_> = info.hosts.iter().map(host).collect();
    format!("{}@{}/{}", info.user, hosts.join(","), info.dbname)
}

pub(super) fn password(info: &ConnInfo, host: usize) -> Option<String> {
    info.password(host).map(|secret| String::from_utf8(secret.0).unwrap())
}

/// All that a user can see of an error.
pub(super) fn shown(error: &Error) -> String {
    format!(
        "{error}|{}|{}|{error:?}",
        error.cause().unwrap_or_default(),
        error.hint().unwrap_or_default()
    )
}

#[test]
fn wrong_values_are_refused_with_their_origin() {
    for (text, env, message) in [
        ("port=0", ("", ""), "invalid value \"0\" for port"),
        ("port=65536", ("", ""), "invalid value \"65536\" for port"),
        ("port=-1", ("", ""), "invalid value \"-1\" for port"),
        ("port=http", ("", ""), "port is not a number"),
        ("postgres://h:70000/", ("", ""), "invalid value \"70000\" for port"),
        ("", ("PGPORT", "99999"), "invalid value \"99999\" for PGPORT"),
        (
            "sslmode=verify_full",
            ("", ""),
            "invalid value \"verify_full\" for sslmode",
        ),
        ("sslmode=''", ("", ""), "invalid value \"\" for sslmode"),
        ("", ("PGSSLMODE", "Require"), "invalid value \"Require\" for PGSSLMODE"),
        (
            "target_session_attrs=rw",
            ("", ""),
            "invalid value \"rw\" for target_session_attrs",
        ),
        (
            "",
            ("PGTARGETSESSIONATTRS", "master"),
            "invalid value \"master\" for PGTARGETSESSIONATTRS",
        ),
        (
            "channel_binding=yes",
            ("", ""),
            "invalid value \"yes\" for channel_binding",
        ),
        (
            "load_balance_hosts=on",
            ("", ""),
            "invalid value \"on\" for load_balance_hosts",
        ),
        (
            "sslnegotiation=tls",
            ("", ""),
            "invalid value \"tls\" for sslnegotiation",
        ),
        (
            "connect_timeout=soon",
            ("", ""),
            "invalid value \"soon\" for connect_timeout",
        ),
        (
            "",
            ("PGCONNECT_TIMEOUT", "1.5"),
            "invalid value \"1.5\" for PGCONNECT_TIMEOUT",
        ),
        ("keepalives=yes", ("", ""), "invalid value \"yes\" for keepalives"),
        ("keepalives_idle=x", ("", ""), "invalid value \"x\" for keepalives_idle"),
        (
            "tcp_user_timeout=99999999999",
            ("", ""),
            "invalid value \"99999999999\" for tcp_user_timeout",
        ),
        (
            "hostaddr=localhost",
            ("", ""),
            "invalid value \"localhost\" for hostaddr",
        ),
        ("", ("PGHOSTADDR", "1.2.3"), "invalid value \"1.2.3\" for PGHOSTADDR"),
        (
            "host=a,b hostaddr=10.0.0.1",
            ("", ""),
            "cannot match 2 names in host to 1 in hostaddr",
        ),
        (
            "host=a,b,c port=1,2",
            ("", ""),
            "cannot match 2 ports in port to 3 hosts",
        ),
        ("", ("PGPORT", "1,2"), "cannot match 2 ports in PGPORT to 1 hosts"),
        (
            "ssl_min_protocol_version=SSLv3",
            ("", ""),
            "invalid value \"SSLv3\" for ssl_min_protocol_version",
        ),
        (
            "ssl_max_protocol_version=TLSv1.1",
            ("", ""),
            "invalid value \"TLSv1.1\" for ssl_max_protocol_version",
        ),
        (
            "ssl_min_protocol_version=TLSv1.3 ssl_max_protocol_version=TLSv1.2",
            ("", ""),
            "ssl_min_protocol_version is above ssl_max_protocol_version",
        ),
        (
            "sslrootcert=system sslmode=require",
            ("", ""),
            "sslmode=require is too weak for sslrootcert=system",
        ),
        (
            "sslrootcert=system",
            ("PGSSLMODE", "prefer"),
            "PGSSLMODE=prefer is too weak for sslrootcert=system",
        ),
        (
            "sslnegotiation=direct",
            ("", ""),
            "sslmode=prefer is too weak for sslnegotiation=direct",
        ),
        // What is not implemented and would weaken the connection if ignored
        ("requirepeer=postgres", ("", ""), "requirepeer is not supported"),
        ("", ("PGREQUIREPEER", "postgres"), "PGREQUIREPEER is not supported"),
        ("require_auth=scram-sha-256", ("", ""), "require_auth is not supported"),
        ("gssencmode=require", ("", ""), "gssencmode=require is not supported"),
        ("", ("PGGSSENCMODE", "require"), "PGGSSENCMODE=require is not supported"),
        ("sslcertmode=require", ("", ""), "sslcertmode=require is not supported"),
        (
            "replication=database",
            ("", ""),
            "replication=database is not supported",
        ),
        (
            "min_protocol_version=3.2",
            ("", ""),
            "min_protocol_version=3.2 is not supported",
        ),
        ("scram_client_key=x", ("", ""), "scram_client_key is not supported"),
    ] {
        let error = resolve(text, &[env, ("PGUSER", "u")]).unwrap_err();
        assert_eq!(error.message(), message, "{text:?} {env:?}");
        let kind = if env.0.is_empty() {
            ErrorKind::Usage
        } else {
            ErrorKind::Config
        };
        assert_eq!(error.kind(), kind, "{text:?} {env:?}");
        assert!(error.hint().is_some_and(|hint| hint.ends_with('.')), "{text:?} {env:?}");
    }
}

#[test]
fn everything_has_a_default() {
    let info = resolve("host=h user=u", &[]).unwrap();
    assert_eq!(info.sslmode, SslMode::Prefer);
    assert_eq!(info.sslnegotiation, SslNegotiation::Postgres);
    assert_eq!(info.sslrootcert, RootCert::Default);
    assert_eq!(
        (&info.sslcert, &info.sslkey, &info.sslcrl, &info.sslcrldir),
        (&None, &None, &None, &None)
    );
    assert!(info.send_client_cert && info.sslsni && info.keepalives.enabled);
    assert_eq!(info.ssl_min_protocol_version, TlsVersion::V1_2);
    assert_eq!(info.ssl_max_protocol_version, TlsVersion::V1_3);
    assert_eq!(info.channel_binding, ChannelBinding::Prefer);
    assert_eq!(info.connect_timeout, Some(Duration::from_secs(10)));
    assert_eq!(info.target_session_attrs, None);
    assert_eq!(info.load_balance_hosts, LoadBalanceHosts::Disable);
    assert_eq!((&info.application_name, &info.options), (&None, &None));
    assert_eq!(info.home.as_deref(), Some(Path::new("/nonexistent")));
    assert!(!info.has_password(0) && info.warnings.is_empty());
}

#[test]
fn the_string_wins_over_the_environment() {
    let env = [
        ("PGHOST", "eh"),
        ("PGHOSTADDR", "10.0.0.9"),
        ("PGPORT", "1"),
        ("PGUSER", "eu"),
        ("PGPASSWORD", "ep"),
        ("PGDATABASE", "ed"),
        ("PGSSLMODE", "verify-ca"),
        ("PGSSLNEGOTIATION", "direct"),
        ("PGSSLROOTCERT", "/er"),
        ("PGSSLCERT", "/ec"),
        ("PGSSLKEY", "/ek"),
        ("PGSSLCRL", "/el"),
        ("PGSSLCRLDIR", "/ed"),
        ("PGSSLSNI", "0"),
        ("PGSSLCERTMODE", "disable"),
        ("PGSSLMINPROTOCOLVERSION", "TLSv1.3"),
        ("PGSSLMAXPROTOCOLVERSION", "tlsv1.3"),
        ("PGCONNECT_TIMEOUT", "3"),
        ("PGTARGETSESSIONATTRS", "read-write"),
        ("PGAPPNAME", "ea"),
        ("PGOPTIONS", "-c eo=1"),
        ("PGCHANNELBINDING", "require"),
        ("PGLOADBALANCEHOSTS", "random"),
        ("PGREQUIRESSL", "1"),
    ];
    let info = resolve("", &env).unwrap();
    assert_eq!(short(&info), "eu@eh=10.0.0.9:1/ed");
    assert_eq!(password(&info, 0).as_deref(), Some("ep"));
    assert_eq!(
        (info.sslmode, info.sslnegotiation),
        (SslMode::VerifyCa, SslNegotiation::Direct)
    );
    assert_eq!(info.sslrootcert, RootCert::File("/er".into()));
    let files = [&info.sslcert, &info.sslkey, &info.sslcrl, &info.sslcrldir];
    assert_eq!(
        files.map(|f| f.as_deref().unwrap().to_str().unwrap()),
        ["/ec", "/ek", "/el", "/ed"]
    );
    assert!(!info.sslsni && !info.send_client_cert);
    assert_eq!(info.ssl_min_protocol_version, TlsVersion::V1_3);
    assert_eq!(info.connect_timeout, Some(Duration::from_secs(3)));
    assert_eq!(info.target_session_attrs, Some(TargetSessionAttrs::ReadWrite));
    assert_eq!(
        (info.application_name.as_deref(), info.options.as_deref()),
        (Some("ea"), Some("-c eo=1"))
    );
    assert_eq!(info.channel_binding, ChannelBinding::Require);
    assert_eq!(info.load_balance_hosts, LoadBalanceHosts::Random);

    let text = "postgres://su:sp@sh:2/sd?hostaddr=10.0.0.8&sslmode=require&sslnegotiation=postgres&sslrootcert=/sr\
        &connect_timeout=0&target_session_attrs=any&application_name=sa&options=-c%20so%3D1&sslsni=1\
        &channel_binding=prefer&load_balance_hosts=disable&sslcertmode=allow&ssl_min_protocol_version=TLSv1";
    let info = resolve(text, &env).unwrap();
    assert_eq!(short(&info), "su@sh=10.0.0.8:2/sd");
    assert_eq!(password(&info, 0).as_deref(), Some("sp"));
    assert_eq!(
        (info.sslmode, info.sslnegotiation),
        (SslMode::Require, SslNegotiation::Postgres)
    );
    assert_eq!(info.sslrootcert, RootCert::File("/sr".into()));
    assert_eq!(
        (info.connect_timeout, info.target_session_attrs),
        (None, Some(TargetSessionAttrs::Any))
    );
    assert_eq!(
        (info.application_name.as_deref(), info.options.as_deref()),
        (Some("sa"), Some("-c so=1"))
    );
    assert_eq!(
        (info.channel_binding, info.load_balance_hosts),
        (ChannelBinding::Prefer, LoadBalanceHosts::Disable)
    );
    assert!(info.sslsni && info.send_client_cert);
    assert_eq!(info.ssl_min_protocol_version, TlsVersion::V1_2);

    // Empty variables are none; an empty value in the string hides the variable.
    let info = resolve(
        "host=h password=''",
        &[("PGUSER", "u"), ("PGSSLMODE", ""), ("PGPASSWORD", "ep")],
    )
    .unwrap();
    assert_eq!((info.sslmode, password(&info, 0)), (SslMode::Prefer, None));
}

#[test]
fn sslmode_follows_from_other_parameters() {
    for (text, env, expected) in [
        ("sslrootcert=system", ("", ""), SslMode::VerifyFull),
        ("sslrootcert=system sslmode=verify-full", ("", ""), SslMode::VerifyFull),
        ("", ("PGSSLROOTCERT", "system"), SslMode::VerifyFull),
        ("sslrootcert=/x", ("", ""), SslMode::Prefer),
        ("", ("PGREQUIRESSL", "1"), SslMode::Require),
        ("", ("PGREQUIRESSL", "0"), SslMode::Prefer),
        ("sslmode=disable", ("PGREQUIRESSL", "1"), SslMode::Disable),
        ("requiressl=1", ("", ""), SslMode::Require),
        ("requiressl=0", ("", ""), SslMode::Prefer),
        ("postgres://h?ssl=true", ("", ""), SslMode::Require),
        ("sslmode=allow", ("", ""), SslMode::Allow),
    ] {
        assert_eq!(
            resolve(text, &[env, ("PGUSER", "u")]).unwrap().sslmode,
            expected,
            "{text:?} {env:?}"
        );
    }
}

#[test]
fn durations_and_keepalives() {
    let seconds = |n| Some(Duration::from_secs(n));
    for (text, expected) in [("0", None), ("-1", None), ("2", seconds(2)), (" 60 ", seconds(60))] {
        let info = resolve(&format!("user=u host=h connect_timeout='{text}'"), &[]).unwrap();
        assert_eq!(info.connect_timeout, expected, "{text:?}");
    }
    let text = "user=u host=h keepalives=0 keepalives_idle=5 keepalives_interval=6 keepalives_count=7
        tcp_user_timeout=1500";
    let info = resolve(text, &[]).unwrap();
    let all = Keepalives {
        enabled: false,
        idle: seconds(5),
        interval: seconds(6),
        count: Some(7),
        user_timeout: Some(Duration::from_millis(1500)),
    };
    assert_eq!(info.keepalives, all);
    let config = info.to_driver(0, "a");
    assert!(!config.get_keepalives());
    assert_eq!(Some(config.get_keepalives_idle()), seconds(5));
    assert_eq!(
        (config.get_keepalives_interval(), config.get_keepalives_retries()),
        (seconds(6), Some(7))
    );
    assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_millis(1500)));
    // Zero is the default to libpq, and an error to the system.
    let info = resolve(
        "user=u host=h keepalives_idle=0 keepalives_interval=-1 keepalives_count=0",
        &[],
    )
    .unwrap();
    let Keepalives {
        idle, interval, count, ..
    } = info.keepalives;
    assert_eq!((idle, interval, count), (None, None, None));
    // The driver's own default for the first is two hours.
    let config = info.to_driver(0, "a");
    assert_eq!(
        (Some(config.get_keepalives_idle()), config.get_keepalives_interval()),
        (seconds(60), seconds(15))
    );
}

#[test]
fn random_order_keeps_hosts_and_ports_together() {
    let mut first = std::collections::BTreeSet::new();
    for _ in 0..100 {
        let info = resolve("host=a,b,c port=1,2,3 user=u load_balance_hosts=random", &[]).unwrap();
        let mut hosts: Vec<_> = info.hosts.iter().map(|h| (h.host.clone().unwrap(), h.port)).collect();
        first.insert(hosts[0].clone());
        hosts.sort();
        assert_eq!(hosts, [("a".to_owned(), 1), ("b".to_owned(), 2), ("c".to_owned(), 3)]);
    }
    assert_eq!(first.len(), 3);
}

#[test]
fn descriptions_hold_no_password() {
    for (text, host, all) in [
        (
            "host=h user=u dbname=d password=hunter2",
            "host \"h\", port 5432",
            "database \"d\" on host \"h\", port 5432, as user \"u\"",
        ),
        (
            "host=/run/pg/ port=1 user=u dbname=d password=hunter2",
            "socket \"/run/pg/.s.PGSQL.1\"",
            "database \"d\" on socket \"/run/pg/.s.PGSQL.1\", as user \"u\"",
        ),
        (
            "host=h hostaddr=10.0.0.1 user=u password=hunter2",
            "host \"h\" (10.0.0.1), port 5432",
            "database \"u\" on host \"h\" (10.0.0.1), port 5432, as user \"u\"",
        ),
        (
            "hostaddr=::1 user=u password=hunter2",
            "host \"::1\", port 5432",
            "database \"u\" on host \"::1\", port 5432, as user \"u\"",
        ),
        (
            "postgres://u:hunter2@a:1,b:2/d",
            "host \"a\", port 1",
            "database \"d\" on host \"a\", port 1 or host \"b\", port 2, as user \"u\"",
        ),
    ] {
        let info = resolve(text, &[]).unwrap();
        assert_eq!(
            (info.describe_host(0).as_str(), info.describe().as_str()),
            (host, all),
            "{text:?}"
        );
        assert!(
            !format!("{info:?} {:?}", info.to_driver(0, "a")).contains("hunter2"),
            "{text:?}"
        );
    }
}
