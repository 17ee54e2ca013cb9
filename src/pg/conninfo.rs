//! Connection parameters as libpq takes them: URLs, key=value strings, `PG*` variables, service and password files.
//!
//! [`ConnInfo::resolve`] is the whole way from text to typed parameters. It reads files but contacts nothing and
//! prints nothing; what the user should know is in [`ConnInfo::warnings`]. Text that may hold a password, or a part
//! of one after a quoting mistake, is never repeated in a message.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use rand::seq::SliceRandom;
use tokio_postgres::config as driver;

use crate::error::{Error, ErrorKind, Result};

/// What libpq is built with where nothing else was chosen.
const DEFAULT_PORT: u16 = 5432;

/// libpq waits for ever; a command that hangs at a wrong host helps nobody.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The socket directory of the distributions' packages.
const SOCKET_DIR: &str = "/var/run/postgresql";

/// The socket directory of a libpq built from source.
const OTHER_SOCKET_DIR: &str = "/tmp";

/// Where the distributions' libpq looks for the system-wide service file.
const SYSTEM_SERVICE_DIRS: [&str; 2] = ["/etc/postgresql-common", "/etc/sysconfig/pgsql"];

const URL_PREFIXES: [&str; 2] = ["postgresql://", "postgres://"];

/// What becomes of a parameter of libpq.
enum Support {
    Used,
    /// Accepted without effect, because leaving it out weakens nothing.
    Ignored,
    /// These values are accepted; any other asks for a protection we do not have. The sentence says what to do.
    Only(&'static [&'static str], &'static str),
}

/// A parameter of libpq with its environment variable (empty if it has none).
struct Param {
    key: &'static str,
    env: &'static str,
    support: Support,
}

/// A parameter with the value that was given.
type Pair = (&'static Param, String);

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
const PARAMS: &[Param] = &[
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

/// A parameter with a fixed set of values.
trait Choice: Copy + PartialEq + 'static {
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

impl Choice for TlsVersion {
    const ALL: &'static [(&'static str, Self)] = &[("TLSv1.2", Self::V1_2), ("TLSv1.3", Self::V1_3)];
}

/// Where the certificates of trusted authorities come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RootCert {
    /// `~/.postgresql/root.crt`, if it exists.
    Default,
    /// The operating system's store.
    System,
    /// This file.
    File(PathBuf),
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

/// TCP settings that notice a dead peer; `None` is the system's default.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keepalives {
    /// Whether keepalive probes are sent at all.
    pub enabled: bool,
    /// Silence before the first probe.
    pub idle: Option<Duration>,
    /// Time between probes.
    pub interval: Option<Duration>,
    /// Lost probes until the connection is given up.
    pub count: Option<u32>,
    /// How long sent data may remain unacknowledged.
    pub user_timeout: Option<Duration>,
}

/// One server to try.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSpec {
    /// The host's name or address, or the directory of its Unix socket, as the user wrote it.
    pub host: Option<String>,
    /// The address to connect to instead of looking up the name.
    pub hostaddr: Option<IpAddr>,
    /// The port.
    pub port: u16,
}

impl HostSpec {
    /// The directory of the Unix socket, if it is one.
    pub fn socket_dir(&self) -> Option<&str> {
        match self.hostaddr {
            Some(_) => None,
            None => self.host.as_deref().filter(|host| host.starts_with('/')),
        }
    }

    /// The name that the server's certificate has to be made out to; none if the user named no host.
    pub fn name(&self) -> Option<&str> {
        self.host.as_deref().filter(|host| !host.starts_with('/'))
    }
}

/// Bytes that no message and no Debug output shows.
#[derive(Clone, PartialEq, Eq)]
struct Secret(Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("********")
    }
}

/// How to reach a server, and as whom.
#[derive(Clone, Debug)]
pub struct ConnInfo {
    /// The servers to try, in order; at least one.
    pub hosts: Vec<HostSpec>,
    /// The role to log in as.
    pub user: String,
    /// The database.
    pub dbname: String,
    password: Option<Secret>,
    passfile: Arc<PassFile>,
    /// Encryption and verification, over TCP only.
    pub sslmode: SslMode,
    /// How TLS begins.
    pub sslnegotiation: SslNegotiation,
    /// The trusted authorities.
    pub sslrootcert: RootCert,
    /// The client certificate, else `~/.postgresql/postgresql.crt` if it exists.
    pub sslcert: Option<PathBuf>,
    /// Its key, else `~/.postgresql/postgresql.key`.
    pub sslkey: Option<PathBuf>,
    /// Revoked certificates, else `~/.postgresql/root.crl` if it exists.
    pub sslcrl: Option<PathBuf>,
    /// A directory of such files.
    pub sslcrldir: Option<PathBuf>,
    /// Whether a client certificate may be sent (`sslcertmode`).
    pub send_client_cert: bool,
    /// Whether the host's name is sent in the clear when TLS begins.
    pub sslsni: bool,
    /// The oldest version of TLS to speak.
    pub ssl_min_protocol_version: TlsVersion,
    /// The newest version of TLS to speak.
    pub ssl_max_protocol_version: TlsVersion,
    /// Whether authentication is bound to the TLS connection.
    pub channel_binding: ChannelBinding,
    /// Limit for each host; none waits for ever.
    pub connect_timeout: Option<Duration>,
    /// Which kind of server is wanted.
    pub target_session_attrs: TargetSessionAttrs,
    /// Whether the hosts were shuffled.
    pub load_balance_hosts: LoadBalanceHosts,
    /// What the user wants to be called in `pg_stat_activity`.
    pub application_name: Option<String>,
    /// Command-line options for the server's backend.
    pub options: Option<String>,
    /// TCP keepalive.
    pub keepalives: Keepalives,
    /// The user's home directory, for the files in `~/.postgresql`.
    pub home: Option<PathBuf>,
    /// What the user should be told; whole sentences without a full stop.
    pub warnings: Vec<String>,
}

impl ConnInfo {
    /// Resolves a connection string over `PG*` variables over files over defaults, as libpq does.
    ///
    /// The string is a `postgresql://` URL, a `key=value` string, or the bare name of a database.
    ///
    /// # Errors
    /// Kind `usage` if the string is wrong, `config` if a variable or a service file is.
    pub fn resolve(database_url: Option<&str>, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let mut given = Given::default();
        for (param, value) in parse(database_url.unwrap_or_default())? {
            given.0.insert(param.key, (value, Origin::Text));
        }
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let account = Account::current(&env);
        given.add_service(&env, account.home.as_deref())?;
        given.add_environment(&env);
        given.refuse_swallowed()?;
        given.refuse_unsupported()?;
        given.build(&env, account)
    }

    /// The same server for another login, with its password or whatever the password file holds for it.
    #[must_use]
    pub fn with_login(&self, user: &str, password: Option<&str>) -> Self {
        let password = password.map(|p| Secret(p.as_bytes().to_vec()));
        Self {
            user: user.to_owned(),
            password,
            ..self.clone()
        }
    }

    /// Whether there is a password for a host, given or from the password file.
    pub fn has_password(&self, host: usize) -> bool {
        self.password(host).is_some()
    }

    fn password(&self, host: usize) -> Option<Secret> {
        match &self.password {
            Some(password) => Some(password.clone()),
            None => self.passfile.lookup(&self.hosts[host], &self.dbname, &self.user),
        }
    }

    /// Where this connects to and as whom, for messages.
    pub fn describe(&self) -> String {
        let hosts: Vec<_> = (0..self.hosts.len()).map(|host| self.describe_host(host)).collect();
        format!(
            "database {:?} on {}, as user {:?}",
            self.dbname,
            hosts.join(" or "),
            self.user
        )
    }

    /// One of the servers, for messages.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn describe_host(&self, host: usize) -> String {
        let HostSpec {
            host: name,
            hostaddr,
            port,
        } = &self.hosts[host];
        match (self.hosts[host].socket_dir(), name, hostaddr) {
            (Some(dir), ..) => format!("socket {:?}", format!("{}/.s.PGSQL.{port}", dir.trim_end_matches('/'))),
            (None, Some(name), Some(address)) => format!("host {name:?} ({address}), port {port}"),
            (None, Some(name), None) => format!("host {name:?}, port {port}"),
            (None, None, address) => {
                format!(
                    "host {:?}, port {port}",
                    address.map(|a| a.to_string()).unwrap_or_default()
                )
            }
        }
    }

    /// The driver's configuration for one host. The user's `application_name` wins over the caller's, as with psql.
    ///
    /// `target_session_attrs` and the order of hosts are left to the caller.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn to_driver(&self, host: usize, application: &str) -> tokio_postgres::Config {
        let spec = &self.hosts[host];
        let mut config = tokio_postgres::Config::new();
        config.user(&self.user).dbname(&self.dbname).port(spec.port);
        config.application_name(self.application_name.as_deref().unwrap_or(application));
        match (spec.socket_dir(), spec.hostaddr) {
            (Some(dir), _) => config.host_path(dir),
            // The driver does no TLS without a name, and verification is not its business.
            (None, Some(address)) => config
                .host(spec.name().map_or_else(|| address.to_string(), str::to_owned))
                .hostaddr(address),
            (None, None) => config.host(spec.host.as_deref().unwrap_or("localhost")),
        };
        if let Some(password) = self.password(host) {
            config.password(&password.0);
        }
        if let Some(options) = &self.options {
            config.options(options);
        }
        config.ssl_mode(match self.sslmode {
            // Unix sockets carry no TLS.
            _ if spec.socket_dir().is_some() => driver::SslMode::Disable,
            SslMode::Disable => driver::SslMode::Disable,
            SslMode::Allow | SslMode::Prefer => driver::SslMode::Prefer,
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => driver::SslMode::Require,
        });
        config.ssl_negotiation(match self.sslnegotiation {
            SslNegotiation::Postgres => driver::SslNegotiation::Postgres,
            SslNegotiation::Direct => driver::SslNegotiation::Direct,
        });
        config.channel_binding(match self.channel_binding {
            ChannelBinding::Disable => driver::ChannelBinding::Disable,
            ChannelBinding::Prefer => driver::ChannelBinding::Prefer,
            ChannelBinding::Require => driver::ChannelBinding::Require,
        });
        // For the addresses of one name.
        config.load_balance_hosts(match self.load_balance_hosts {
            LoadBalanceHosts::Disable => driver::LoadBalanceHosts::Disable,
            LoadBalanceHosts::Random => driver::LoadBalanceHosts::Random,
        });
        if let Some(limit) = self.connect_timeout {
            config.connect_timeout(limit);
        }
        let Keepalives {
            enabled,
            idle,
            interval,
            count,
            user_timeout,
        } = &self.keepalives;
        config.keepalives(*enabled);
        if let Some(idle) = idle {
            config.keepalives_idle(*idle);
        }
        if let Some(interval) = interval {
            config.keepalives_interval(*interval);
        }
        if let Some(count) = count {
            config.keepalives_retries(*count);
        }
        if let Some(limit) = user_timeout {
            config.tcp_user_timeout(*limit);
        }
        config
    }
}

/// Where a value was given.
enum Origin {
    Text,
    Env(&'static str),
    Service { file: PathBuf, line: usize },
}

/// Every parameter that was given. No Debug: one of them is the password.
#[derive(Default)]
struct Given(BTreeMap<&'static str, (String, Origin)>);

impl Given {
    /// The value, unless it is empty: empty text stands for the default but hides what has a lower rank.
    fn text(&self, key: &str) -> Option<&str> {
        self.0
            .get(key)
            .map(|(value, _)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    fn owned(&self, key: &str) -> Option<String> {
        self.text(key).map(str::to_owned)
    }

    fn path(&self, key: &str) -> Option<PathBuf> {
        self.text(key).map(PathBuf::from)
    }

    fn list(&self, key: &str) -> Vec<&str> {
        self.text(key)
            .map(|list| list.split(',').map(str::trim).collect())
            .unwrap_or_default()
    }

    /// An error about a parameter; the message is made from the name that the user knows the parameter by.
    fn wrong(&self, key: &str, message: impl FnOnce(&str) -> String) -> Error {
        match self.0.get(key) {
            Some((_, Origin::Env(variable))) => Error::config(message(variable)),
            Some((_, Origin::Service { file, line })) => {
                Error::config(message(&format!("{key} in line {line} of service file {file:?}")))
            }
            _ => Error::usage(message(key)),
        }
    }

    fn invalid(&self, key: &str, value: &str) -> Error {
        self.wrong(key, |key| format!("invalid value {value:?} for {key}"))
    }

    fn choice<T: Choice>(&self, key: &str) -> Result<Option<T>> {
        let Some((value, _)) = self.0.get(key) else {
            return Ok(None);
        };
        match T::ALL.iter().find(|(text, _)| text == value) {
            Some((_, choice)) => Ok(Some(*choice)),
            None => {
                let all: Vec<_> = T::ALL.iter().map(|(text, _)| *text).collect();
                Err(self
                    .invalid(key, value)
                    .with_hint(format!("Use one of {}.", all.join(", "))))
            }
        }
    }

    fn integer(&self, key: &str) -> Result<Option<i32>> {
        let Some((value, _)) = self.0.get(key) else {
            return Ok(None);
        };
        match value.trim().parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(self.invalid(key, value).with_hint("Give a whole number.")),
        }
    }

    /// Seconds, or another unit; zero and less stand for the default.
    fn duration(&self, key: &str, unit: fn(u64) -> Duration) -> Result<Option<Duration>> {
        Ok(self
            .integer(key)?
            .and_then(|n| u64::try_from(n).ok())
            .filter(|n| *n > 0)
            .map(unit))
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool> {
        Ok(self.integer(key)?.map_or(default, |n| n != 0))
    }

    fn add_environment(&mut self, env: &dyn Fn(&str) -> Option<String>) {
        for param in PARAMS.iter().filter(|param| !param.env.is_empty()) {
            if let Some(value) = env(param.env) {
                self.0.entry(param.key).or_insert((value, Origin::Env(param.env)));
            }
        }
    }

    /// Adds what the service file holds for the service, if one is named.
    fn add_service(&mut self, env: &dyn Fn(&str) -> Option<String>, home: Option<&Path>) -> Result<()> {
        let (service, kind) = match (self.0.get("service"), env("PGSERVICE")) {
            (Some((service, _)), _) => (service.clone(), ErrorKind::Usage),
            (None, Some(service)) => (service, ErrorKind::Config),
            (None, None) => return Ok(()),
        };
        if service.is_empty() {
            return Ok(());
        }
        let named = self
            .path("servicefile")
            .or_else(|| env("PGSERVICEFILE").map(PathBuf::from));
        let mut files: Vec<PathBuf> = match &named {
            Some(file) if !file.exists() => {
                return Err(Error::config(format!("service file {file:?} not found"))
                    .with_hint("Correct PGSERVICEFILE, or unset it to use ~/.pg_service.conf."));
            }
            Some(file) => vec![file.clone()],
            None => home.map(|home| home.join(".pg_service.conf")).into_iter().collect(),
        };
        match env("PGSYSCONFDIR") {
            Some(dir) => files.push(PathBuf::from(dir).join("pg_service.conf")),
            None => files.extend(SYSTEM_SERVICE_DIRS.map(|dir| Path::new(dir).join("pg_service.conf"))),
        }
        for file in files.into_iter().filter(|file| file.exists()) {
            let text = fs::read(&file).map_err(|error| {
                Error::config(format!("cannot read service file {file:?}"))
                    .with_cause(error)
                    .with_hint("Make it readable for this user, or name another with PGSERVICEFILE.")
            })?;
            if let Some(pairs) = service_section(&String::from_utf8_lossy(&text), &service, &file)? {
                for ((param, value), line) in pairs {
                    // The string wins over the file, and the first line of the file over the next.
                    self.0.entry(param.key).or_insert((
                        value,
                        Origin::Service {
                            file: file.clone(),
                            line,
                        },
                    ));
                }
                return Ok(());
            }
        }
        Err(
            Error::new(kind, format!("definition of service {service:?} not found")).with_hint(
                "Write it to ~/.pg_service.conf as a section of that name, or name the file with PGSERVICEFILE.",
            ),
        )
    }

    /// Refuses what would come up in messages, or reach the server as a name, with a password in it.
    fn refuse_swallowed(&self) -> Result<()> {
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

    fn refuse_unsupported(&self) -> Result<()> {
        for param in PARAMS {
            let (Support::Only(accepted, hint), Some(value)) = (&param.support, self.text(param.key)) else {
                continue;
            };
            if !accepted.contains(&value) {
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

    fn build(self, env: &dyn Fn(&str) -> Option<String>, account: Account) -> Result<ConnInfo> {
        let user = match self.owned("user").or(account.name) {
            Some(user) => user,
            None => {
                return Err(Error::usage("no user name")
                    .with_cause("the operating system has no name for this user id")
                    .with_hint("Give it in the connection string or in PGUSER."));
            }
        };
        let dbname = self.dbname()?.unwrap_or_else(|| user.clone());
        let load_balance_hosts = self.choice("load_balance_hosts")?.unwrap_or(LoadBalanceHosts::Disable);
        let mut hosts = self.hosts()?;
        if load_balance_hosts == LoadBalanceHosts::Random {
            hosts.shuffle(&mut rand::rng());
        }
        let sslrootcert = match self.text("sslrootcert") {
            None => RootCert::Default,
            Some("system") => RootCert::System,
            Some(file) => RootCert::File(file.into()),
        };
        let sslmode = self.sslmode(&sslrootcert, env)?;
        let sslnegotiation = self.choice("sslnegotiation")?.unwrap_or(SslNegotiation::Postgres);
        let weak = matches!(sslmode, SslMode::Disable | SslMode::Allow | SslMode::Prefer);
        if sslnegotiation == SslNegotiation::Direct && weak {
            return Err(self
                .wrong("sslmode", |key| {
                    format!("{key}={sslmode} is too weak for sslnegotiation=direct")
                })
                .with_hint("Use sslmode=require, verify-ca or verify-full with it."));
        }
        let (ssl_min_protocol_version, ssl_max_protocol_version) = self.tls_versions()?;
        let connect_timeout = match self.integer("connect_timeout")? {
            None => Some(DEFAULT_CONNECT_TIMEOUT),
            Some(_) => self.duration("connect_timeout", Duration::from_secs)?,
        };
        let keepalives = Keepalives {
            enabled: self.flag("keepalives", true)?,
            idle: self.duration("keepalives_idle", Duration::from_secs)?,
            interval: self.duration("keepalives_interval", Duration::from_secs)?,
            count: self
                .integer("keepalives_count")?
                .and_then(|n| u32::try_from(n).ok())
                .filter(|n| *n > 0),
            user_timeout: self.duration("tcp_user_timeout", Duration::from_millis)?,
        };
        let password = self
            .text("password")
            .map(|password| Secret(password.as_bytes().to_vec()));
        let passfile = self
            .path("passfile")
            .or_else(|| account.home.as_ref().map(|home| home.join(".pgpass")));
        let (passfile, warning) = passfile.map(|file| PassFile::read(&file)).unwrap_or_default();
        Ok(ConnInfo {
            hosts,
            user,
            dbname,
            // A password file that is not needed is nobody's concern.
            warnings: warning.filter(|_| password.is_none()).into_iter().collect(),
            password,
            passfile: Arc::new(passfile),
            sslmode,
            sslnegotiation,
            sslrootcert,
            sslcert: self.path("sslcert"),
            sslkey: self.path("sslkey"),
            sslcrl: self.path("sslcrl"),
            sslcrldir: self.path("sslcrldir"),
            send_client_cert: self.text("sslcertmode") != Some("disable"),
            sslsni: self.flag("sslsni", true)?,
            ssl_min_protocol_version,
            ssl_max_protocol_version,
            channel_binding: self.choice("channel_binding")?.unwrap_or(ChannelBinding::Prefer),
            connect_timeout,
            target_session_attrs: self.choice("target_session_attrs")?.unwrap_or(TargetSessionAttrs::Any),
            load_balance_hosts,
            application_name: self.owned("application_name"),
            options: self.owned("options"),
            keepalives,
            home: account.home,
        })
    }

    fn dbname(&self) -> Result<Option<String>> {
        let name = self.text("dbname");
        // As the name of a database it would come up in messages, password and all.
        if name.is_some_and(|name| name.contains("://")) {
            return Err(self
                .wrong("dbname", |key| {
                    format!("{key} holds a connection string instead of the name of a database")
                })
                .with_hint("Give connection strings with --database-url or DATABASE_URL."));
        }
        Ok(name.map(str::to_owned))
    }

    fn hosts(&self) -> Result<Vec<HostSpec>> {
        let (names, addresses, ports) = (self.list("host"), self.list("hostaddr"), self.list("port"));
        let count = if addresses.is_empty() {
            names.len().max(1)
        } else {
            addresses.len()
        };
        if !names.is_empty() && names.len() != count {
            return Err(self
                .wrong("host", |key| {
                    format!("cannot match {} names in {key} to {count} in hostaddr", names.len())
                })
                .with_hint("Give as many values of hostaddr as of host, or none."));
        }
        if ports.len() > 1 && ports.len() != count {
            return Err(self
                .wrong("port", |key| {
                    format!("cannot match {} ports in {key} to {count} hosts", ports.len())
                })
                .with_hint("Give one port for all hosts, or as many ports as hosts."));
        }
        let mut hosts = Vec::with_capacity(count);
        for i in 0..count {
            let port = match ports.get(i).or_else(|| ports.first().filter(|_| ports.len() == 1)) {
                None | Some(&"") => DEFAULT_PORT,
                Some(port) => self.port(port)?,
            };
            let hostaddr = match addresses.get(i) {
                None | Some(&"") => None,
                Some(address) => Some(self.address(address)?),
            };
            let host = match names.get(i) {
                None | Some(&"") if hostaddr.is_some() => None,
                None | Some(&"") => Some(default_host(port)),
                Some(name) if name.contains('@') => {
                    return Err(self
                        .wrong("host", |key| format!("{key} contains the character \"@\""))
                        .with_hint(
                            "In the password of a URL, write @ as %40; abstract Unix sockets are not supported.",
                        ));
                }
                Some(name) => Some((*name).to_owned()),
            };
            hosts.push(HostSpec { host, hostaddr, port });
        }
        Ok(hosts)
    }

    fn port(&self, text: &str) -> Result<u16> {
        match text.parse() {
            Ok(port) if port > 0 => Ok(port),
            // What is not a number may be the rest of a password.
            _ if text.bytes().all(|b| b.is_ascii_digit() || b == b'-') => {
                Err(self.invalid("port", text).with_hint("Ports are 1 to 65535."))
            }
            _ => Err(self
                .wrong("port", |key| format!("{key} is not a number"))
                .with_hint("Ports are 1 to 65535; in the password of a URL, write / as %2F and @ as %40.")),
        }
    }

    fn address(&self, text: &str) -> Result<IpAddr> {
        let hint = "Give a numeric IPv4 or IPv6 address; a name belongs in host.";
        text.parse().map_err(|_| self.invalid("hostaddr", text).with_hint(hint))
    }

    fn sslmode(&self, root: &RootCert, env: &dyn Fn(&str) -> Option<String>) -> Result<SslMode> {
        let given = self.choice("sslmode")?;
        let old = env("PGREQUIRESSL")
            .filter(|value| value.starts_with('1'))
            .map(|_| SslMode::Require);
        match (given.or(old), root) {
            (None | Some(SslMode::VerifyFull), RootCert::System) => Ok(SslMode::VerifyFull),
            (Some(weak), RootCert::System) => Err(self
                .wrong("sslmode", |key| {
                    format!("{key}={weak} is too weak for sslrootcert=system")
                })
                .with_hint("Use sslmode=verify-full: a public authority certifies any host, so only the name tells.")),
            (mode, _) => Ok(mode.unwrap_or(SslMode::Prefer)),
        }
    }

    fn tls_versions(&self) -> Result<(TlsVersion, TlsVersion)> {
        let version = |key, outdated: Option<TlsVersion>| match self.text(key) {
            None => Ok(None),
            Some(text) => {
                let all = TlsVersion::ALL.iter();
                let found = all
                    .clone()
                    .find(|(name, _)| name.eq_ignore_ascii_case(text))
                    .map(|(_, version)| *version);
                let old = outdated.filter(|_| ["tlsv1", "tlsv1.1"].contains(&text.to_ascii_lowercase().as_str()));
                let hint = "Use TLSv1.2 or TLSv1.3; older versions are not spoken.";
                found
                    .or(old)
                    .map(Some)
                    .ok_or_else(|| self.invalid(key, text).with_hint(hint))
            }
        };
        // A lower bound below what we speak asks for nothing more.
        let min = version("ssl_min_protocol_version", Some(TlsVersion::V1_2))?.unwrap_or(TlsVersion::V1_2);
        let max = version("ssl_max_protocol_version", None)?.unwrap_or(TlsVersion::V1_3);
        if min > max {
            return Err(self
                .wrong("ssl_min_protocol_version", |key| {
                    format!("{key} is above ssl_max_protocol_version")
                })
                .with_hint("Leave out both to speak TLS 1.2 and 1.3."));
        }
        Ok((min, max))
    }
}

/// Takes a connection string apart; later values of a key replace earlier ones.
fn parse(text: &str) -> Result<Vec<Pair>> {
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

/// The parameter of a name. `tell` allows the name in the message.
fn param(key: &str, tell: bool) -> Result<&'static Param> {
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

/// What comes behind a secret may be its second half, if that is no known key.
fn is_secret(key: &str) -> bool {
    ["password", "sslpassword"].contains(&key)
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

/// The parameters of one section of a service file with their lines, if it has that section.
fn service_section(text: &str, service: &str, file: &Path) -> Result<Option<Vec<(Pair, usize)>>> {
    let at = |line: usize| format!("line {line} of service file {file:?}");
    let mut section = None;
    for (line, content) in (1..).zip(text.lines().map(str::trim)) {
        if content.is_empty() || content.starts_with('#') {
            continue;
        }
        if let Some(name) = content.strip_prefix('[') {
            if section.is_some() {
                break;
            }
            if name.strip_prefix(service).is_some_and(|rest| rest.starts_with(']')) {
                section = Some(Vec::new());
            }
            continue;
        }
        let Some(pairs) = &mut section else { continue };
        let Some((key, value)) = content.split_once('=') else {
            return Err(Error::config(format!("missing \"=\" in {}", at(line)))
                .with_hint("Each line is key=value; lookups in LDAP are not supported."));
        };
        if key == "service" || key == "servicefile" {
            return Err(Error::config(format!("nested service in {}", at(line)))
                .with_hint("Copy the other section's lines instead."));
        }
        let param = param(key, true).map_err(|error| error.with_kind(ErrorKind::Config).with_cause(at(line)))?;
        pairs.push(((param, value.to_owned()), line));
    }
    Ok(section)
}

/// The lines of a password file: `hostname:port:database:username:password`.
#[derive(Default)]
struct PassFile(Vec<Vec<u8>>);

impl fmt::Debug for PassFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} lines)", self.0.len())
    }
}

impl PassFile {
    /// Reads the file, unless others could have read it too. A file that is not there is no error.
    fn read(file: &Path) -> (Self, Option<String>) {
        let ignored = |why: &str| {
            (
                Self::default(),
                Some(format!("password file {file:?} is ignored: {why}")),
            )
        };
        let Ok(metadata) = fs::metadata(file) else {
            return (Self::default(), None);
        };
        if !metadata.is_file() {
            return ignored("it is not a plain file");
        }
        if metadata.mode() & 0o077 != 0 {
            return ignored("it has group or world access; permissions should be u=rw (0600) or less");
        }
        match fs::read(file) {
            Ok(text) => (Self(text.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect()), None),
            Err(error) => ignored(&error.to_string()),
        }
    }

    /// The password of the first line that fits.
    fn lookup(&self, host: &HostSpec, dbname: &str, user: &str) -> Option<Secret> {
        let default_dirs = [SOCKET_DIR, "/run/postgresql", OTHER_SOCKET_DIR];
        let name = match (&host.host, host.hostaddr) {
            (Some(dir), _) if default_dirs.contains(&dir.as_str()) => "localhost".to_owned(),
            (Some(name), _) => name.clone(),
            (None, Some(address)) => address.to_string(),
            (None, None) => "localhost".to_owned(),
        };
        let wanted = [name.as_str(), &host.port.to_string(), dbname, user];
        let password = self.0.iter().filter(|line| !line.starts_with(b"#")).find_map(|line| {
            let mut rest = line.strip_suffix(b"\r").unwrap_or(line);
            for value in wanted {
                rest = match rest.strip_prefix(b"*:") {
                    Some(rest) => rest,
                    None => {
                        let (field, rest) = pass_field(rest);
                        rest.filter(|_| field == value.as_bytes())?
                    }
                };
            }
            Some(pass_field(rest).0)
        });
        password.filter(|password| !password.is_empty()).map(Secret)
    }
}

/// A field without its escapes, and what follows its colon.
fn pass_field(line: &[u8]) -> (Vec<u8>, Option<&[u8]>) {
    let mut field = Vec::new();
    let mut bytes = line.iter().copied().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b':' => return (field, line.get(at + 1..)),
            b'\\' if bytes.peek().is_some() => field.extend(bytes.next().map(|(_, escaped)| escaped)),
            _ => field.push(byte),
        }
    }
    (field, None)
}

/// Who runs the process, in the operating system's eyes.
struct Account {
    name: Option<String>,
    home: Option<PathBuf>,
}

impl Account {
    /// As libpq has it: the name of the effective user id, not `$USER`; the home directory is `$HOME` first.
    fn current(env: &dyn Fn(&str) -> Option<String>) -> Self {
        let entry = own_uid().and_then(|uid| {
            let passwd = fs::read("/etc/passwd").ok()?;
            passwd_entry(&String::from_utf8_lossy(&passwd), |_, id| id == uid)
        });
        let (name, home) = match entry {
            Some((name, _, home)) => (Some(name), Some(home)),
            // Users of LDAP and the like are in no file.
            None => (env("USER").or_else(|| env("LOGNAME")), None),
        };
        Self {
            name,
            home: env("HOME").or(home).map(PathBuf::from),
        }
    }
}

/// The kernel makes `/proc/self` belong to the effective user.
fn own_uid() -> Option<u32> {
    fs::metadata("/proc/self").ok().map(|metadata| metadata.uid())
}

/// Name, id and home directory of the first user that fits.
fn passwd_entry(passwd: &str, fits: impl Fn(&str, u32) -> bool) -> Option<(String, u32, String)> {
    passwd.lines().find_map(|line| {
        let fields: Vec<_> = line.split(':').collect();
        let [name, _, uid, _, _, home, ..] = fields.as_slice() else {
            return None;
        };
        let uid = uid.parse().ok()?;
        fits(name, uid).then(|| ((*name).to_owned(), uid, (*home).to_owned()))
    })
}

/// Where a server is looked for if no host is named.
fn default_host(port: u16) -> String {
    // Anyone may put a socket into /tmp and wait for passwords; only these owners are believed there.
    let postgres = || passwd_entry(&fs::read_to_string("/etc/passwd").ok()?, |name, _| name == "postgres");
    let trusted = |uid: u32| uid == 0 || own_uid() == Some(uid) || postgres().is_some_and(|(_, id, _)| id == uid);
    find_socket_dir(port, Path::new(SOCKET_DIR), Path::new(OTHER_SOCKET_DIR), trusted)
}

fn find_socket_dir(port: u16, dir: &Path, other: &Path, trusted: impl Fn(u32) -> bool) -> String {
    let socket = format!(".s.PGSQL.{port}");
    let is_server = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".s.PGSQL.");
    let any_server = || fs::read_dir(dir).is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(is_server)));
    if dir.join(&socket).exists() {
        dir.display().to_string()
    } else if fs::metadata(other.join(&socket)).is_ok_and(|metadata| trusted(metadata.uid())) {
        other.display().to_string()
    } else if any_server() {
        // A server on another port: the error will name this socket.
        dir.display().to_string()
    } else {
        "localhost".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    /// A directory that goes with the test.
    struct Dir(PathBuf);

    impl Dir {
        fn new() -> Self {
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

        fn file(&self, name: &str, text: &str, mode: u32) -> String {
            let file = self.0.join(name);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            file.display().to_string()
        }

        fn path(&self) -> &str {
            self.0.to_str().unwrap()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    fn resolve(text: &str, env: &[(&str, &str)]) -> Result<ConnInfo> {
        ConnInfo::resolve(Some(text), &|name| {
            let given = env
                .iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| (*value).to_owned());
            given.or_else(|| (name == "HOME").then(|| "/nonexistent".to_owned()))
        })
    }

    /// `user@host=address:port,.../dbname`
    fn short(info: &ConnInfo) -> String {
        let host = |h: &HostSpec| {
            let address = h.hostaddr.map(|a| format!("={a}")).unwrap_or_default();
            format!("{}{address}:{}", h.host.as_deref().unwrap_or_default(), h.port)
        };
        let hosts: Vec<_> = info.hosts.iter().map(host).collect();
        format!("{}@{}/{}", info.user, hosts.join(","), info.dbname)
    }

    fn password(info: &ConnInfo, host: usize) -> Option<String> {
        info.password(host).map(|secret| String::from_utf8(secret.0).unwrap())
    }

    /// All that a user can see of an error.
    fn shown(error: &Error) -> String {
        format!(
            "{error}|{}|{}|{error:?}",
            error.cause().unwrap_or_default(),
            error.hint().unwrap_or_default()
        )
    }

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
        assert_eq!(info.target_session_attrs, TargetSessionAttrs::Any);
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
        assert_eq!(info.target_session_attrs, TargetSessionAttrs::ReadWrite);
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
            (None, TargetSessionAttrs::Any)
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
        // Zero is the system's default to libpq, and an error to the system.
        let info = resolve(
            "user=u host=h keepalives_idle=0 keepalives_interval=-1 keepalives_count=0",
            &[],
        )
        .unwrap();
        let Keepalives {
            idle, interval, count, ..
        } = info.keepalives;
        assert_eq!((idle, interval, count), (None, None, None));
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
    fn password_file_lines() {
        let file = "# comment\n\
            #h:5432:d:u:commented\n\
            \n\
            too:short\n\
            h:5432:d:u:plain\n\
            h:5433:*:u:other port\r\n\
            h:*:d:admin:with\\:colon and \\\\ and \\x\n\
            h\\:x:5432:d:u:escaped host\n\
            ::1:5432:d:u:unescaped address\n\
            \\:\\:1:5432:d:u:address\n\
            \\*:5432:d:u:literal star\n\
            localhost:5432:*:u:local\n\
            /custom:5432:*:u:custom socket\n\
            10.0.0.1:5432:*:u:by address\n\
            h:5432:empty:u:\n\
            h:5432:empty:u:not reached\n\
            h:5432:extra:u:first:second\n\
            h:5432:\\\\d\\:b:u:odd database\n\
            *:*:*:last:any\\\n";
        let passfile = PassFile(file.split('\n').map(|line| line.as_bytes().to_vec()).collect());
        for (host, port, dbname, user, expected) in [
            ("h", 5432, "d", "u", Some("plain")),
            ("H", 5432, "d", "u", None),
            ("h", 5433, "whatever", "u", Some("other port")),
            ("h", 5434, "d", "u", None),
            ("h", 1, "d", "admin", Some("with:colon and \\ and x")),
            ("h:x", 5432, "d", "u", Some("escaped host")),
            ("::1", 5432, "d", "u", Some("address")),
            ("*", 5432, "d", "u", Some("literal star")),
            ("localhost", 5432, "d", "u", Some("local")),
            ("/var/run/postgresql", 5432, "d", "u", Some("local")),
            ("/tmp", 5432, "d", "u", Some("local")),
            ("/custom", 5432, "d", "u", Some("custom socket")),
            ("/else", 5432, "d", "u", None),
            ("h", 5432, "empty", "u", None),
            ("h", 5432, "extra", "u", Some("first")),
            ("h", 5432, "\\d:b", "u", Some("odd database")),
            ("x", 1, "y", "last", Some("any\\")),
            ("commented", 5432, "d", "u", None),
        ] {
            let spec = HostSpec {
                host: Some(host.to_owned()),
                hostaddr: None,
                port,
            };
            let found = passfile
                .lookup(&spec, dbname, user)
                .map(|s| String::from_utf8(s.0).unwrap());
            assert_eq!(found.as_deref(), expected, "{host} {port} {dbname} {user}");
        }
        let address = "10.0.0.1".parse().ok();
        let by_address = HostSpec {
            host: None,
            hostaddr: address,
            port: 5432,
        };
        assert_eq!(
            passfile.lookup(&by_address, "d", "u"),
            Some(Secret(b"by address".to_vec()))
        );
        // The name counts if there is one.
        let by_name = HostSpec {
            host: Some("h".to_owned()),
            hostaddr: address,
            port: 5432,
        };
        assert_eq!(passfile.lookup(&by_name, "d", "u"), Some(Secret(b"plain".to_vec())));
    }

    #[test]
    fn the_password_comes_from_string_then_environment_then_file() {
        let dir = Dir::new();
        let file = dir.file(".pgpass", "a:*:*:u:of a\nb:*:*:u:of b\n*:*:*:tenant:of tenant\n", 0o600);
        let home = ("HOME", dir.path());

        let info = resolve("host=a,b,c user=u dbname=d", &[home]).unwrap();
        let found: Vec<_> = (0..3).map(|host| password(&info, host)).collect();
        assert_eq!(found, [Some("of a".to_owned()), Some("of b".to_owned()), None]);
        assert_eq!((info.has_password(0), info.has_password(2)), (true, false));
        assert_eq!(info.to_driver(1, "x").get_password(), Some(&b"of b"[..]));
        assert_eq!(info.to_driver(2, "x").get_password(), None);

        let env = [home, ("PGPASSWORD", "env")];
        assert_eq!(
            password(&resolve("host=a user=u", &env).unwrap(), 0).as_deref(),
            Some("env")
        );
        assert_eq!(
            password(&resolve("host=a user=u password=str", &env).unwrap(), 0).as_deref(),
            Some("str")
        );
        assert_eq!(
            password(&resolve("postgres://u:s%74r@a", &env).unwrap(), 0).as_deref(),
            Some("str")
        );

        // Named by parameter or variable
        for (text, env) in [
            (format!("host=a user=u passfile={file}"), ("PGPASSFILE", "/nowhere")),
            ("host=a user=u".to_owned(), ("PGPASSFILE", file.as_str())),
        ] {
            assert_eq!(
                password(&resolve(&text, &[env]).unwrap(), 0).as_deref(),
                Some("of a"),
                "{text}"
            );
        }
        let info = resolve("host=a user=u", &[home, ("PGPASSFILE", "/nowhere")]).unwrap();
        assert_eq!((password(&info, 0), info.warnings.len()), (None, 0));

        // Another login gets its own password, never the first one's.
        let info = resolve("host=a user=u password=str", &[home]).unwrap();
        assert_eq!(
            password(&info.with_login("tenant", None), 0).as_deref(),
            Some("of tenant")
        );
        assert_eq!(
            password(&info.with_login("tenant", Some("own")), 0).as_deref(),
            Some("own")
        );
        assert_eq!(password(&info.with_login("stranger", None), 0), None);
        assert_eq!(short(&info.with_login("tenant", None)), "tenant@a:5432/u");
    }

    #[test]
    fn an_exposed_password_file_is_ignored_with_a_warning() {
        let dir = Dir::new();
        for (mode, exposed) in [
            (0o600, false),
            (0o400, false),
            (0o700, false),
            (0o640, true),
            (0o604, true),
            (0o610, true),
            (0o602, true),
        ] {
            let file = dir.file("pass", "*:*:*:*:secret\n", mode);
            let text = format!("host=h user=u passfile={file}");
            let info = resolve(&text, &[]).unwrap();
            assert_eq!(info.has_password(0), !exposed, "{mode:o}");
            let why = "it has group or world access; permissions should be u=rw (0600) or less";
            let expected = format!("password file {file:?} is ignored: {why}");
            assert_eq!(info.warnings, if exposed { vec![expected] } else { vec![] }, "{mode:o}");
            let info = resolve(&format!("{text} password=x"), &[]).unwrap();
            assert!(info.warnings.is_empty(), "not needed, so not warned about");
        }
        let info = resolve(&format!("host=h user=u passfile={}", dir.path()), &[]).unwrap();
        assert!(
            info.warnings[0].ends_with("it is not a plain file"),
            "{:?}",
            info.warnings
        );
    }

    #[test]
    fn services_stand_between_string_and_environment() {
        let dir = Dir::new();
        let text = "# servers\n[other]\nhost=wrong\n\n  [prod]  \n  host=sh  \n#port=9\nport=7\nport=8\nuser=su\n\
            password=p=q\nsslmode=require\napplication_name=a b\n[next]\nhost=wrong\n";
        let file = dir.file(".pg_service.conf", text, 0o644);
        let home = ("HOME", dir.path());
        let env = [home, ("PGHOST", "eh"), ("PGDATABASE", "ed"), ("PGSSLMODE", "disable")];
        for (text, extra) in [
            ("service=prod", ("", "")),
            ("", ("PGSERVICE", "prod")),
            ("postgres://?service=prod", ("PGSERVICE", "other")),
        ] {
            let info = resolve(text, &[env.as_slice(), &[extra]].concat()).unwrap();
            assert_eq!(short(&info), "su@sh:7/ed", "{text:?}");
            assert_eq!(
                (password(&info, 0).as_deref(), info.sslmode),
                (Some("p=q"), SslMode::Require)
            );
            assert_eq!(info.application_name.as_deref(), Some("a b"));
        }
        assert_eq!(
            short(&resolve("service=prod host=x port=1", &env).unwrap()),
            "su@x:1/ed"
        );
        let named = [("PGSERVICEFILE", file.as_str()), ("PGUSER", "u")];
        assert_eq!(short(&resolve("service=other", &named).unwrap()), "u@wrong:5432/u");
        let text = format!("service=other servicefile={file} user=u");
        assert_eq!(short(&resolve(&text, &[]).unwrap()), "u@wrong:5432/u");
        // The system's file
        dir.file("pg_service.conf", "[sys]\nhost=sys\n", 0o644);
        let info = resolve("service=sys user=u", &[home, ("PGSYSCONFDIR", dir.path())]).unwrap();
        assert_eq!(short(&info), "u@sys:5432/u");
    }

    #[test]
    fn wrong_services_are_refused() {
        let dir = Dir::new();
        for (text, message) in [
            ("[s]\nhost\n", "missing \"=\" in line 2"),
            ("[s]\nldap://host/x\n", "missing \"=\" in line 2"),
            ("[s]\nservice=t\n", "nested service in line 2"),
            ("[s]\nhots=x\n", "unknown connection parameter \"hots\""),
            ("[s]\nhost = x\n", "unknown parameter in the connection string"),
            ("[s]\n\nport=x\n", "port in line 3 of service file"),
            ("[s]\nrequire_auth=md5\n", "require_auth in line 2 of service file"),
            ("[t]\nhost=x\n", "definition of service \"s\" not found"),
        ] {
            let file = dir.file("services", text, 0o644);
            let env = [
                ("PGSERVICEFILE", file.as_str()),
                ("PGSERVICE", "s"),
                ("PGSYSCONFDIR", "/nonexistent"),
            ];
            let error = resolve("user=u", &env).unwrap_err();
            assert!(error.message().contains(message), "{text:?}: {error}");
            assert_eq!(error.kind(), ErrorKind::Config, "{text:?}");
            assert!(error.hint().is_some(), "{text:?}");
        }
        let error = resolve("service=s", &[("PGSERVICEFILE", "/nonexistent/f")]).unwrap_err();
        assert_eq!(error.message(), "service file \"/nonexistent/f\" not found");
        let error = resolve("service=s", &[("PGSYSCONFDIR", "/nonexistent")]).unwrap_err();
        assert_eq!(
            (error.message(), error.kind()),
            ("definition of service \"s\" not found", ErrorKind::Usage)
        );
    }

    #[test]
    fn the_user_is_the_operating_system_s() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\n# odd\n\nbroken\nbad:x:NaN:0::/:\n\
            dba:x:1000:1000:A DBA,,,:/home/dba:/bin/sh\n";
        let of = |uid| passwd_entry(passwd, |_, id| id == uid).map(|(name, _, home)| (name, home));
        assert_eq!(of(1000), Some(("dba".to_owned(), "/home/dba".to_owned())));
        assert_eq!(of(0), Some(("root".to_owned(), "/root".to_owned())));
        assert_eq!(of(7), None);
        assert_eq!(
            passwd_entry(passwd, |name, _| name == "dba").map(|(_, uid, _)| uid),
            Some(1000)
        );

        // $USER does not count where the system knows better.
        let own = own_uid().unwrap();
        let known = passwd_entry(&fs::read_to_string("/etc/passwd").unwrap(), |_, id| id == own);
        let expected = known.map_or("liar".to_owned(), |(name, ..)| name);
        assert_eq!(
            short(&resolve("host=h", &[("USER", "liar")]).unwrap()),
            format!("{expected}@h:5432/{expected}")
        );
    }

    #[test]
    fn the_default_host_is_where_a_socket_is() {
        let (dir, other, absent) = (Dir::new(), Dir::new(), PathBuf::from("/nonexistent"));
        let find = |port, trusted: bool| find_socket_dir(port, &dir.0, &other.0, |_| trusted);
        assert_eq!(find(5432, true), "localhost");
        assert_eq!(find_socket_dir(5432, &absent, &absent, |_| true), "localhost");
        other.file(".s.PGSQL.5432", "", 0o777);
        assert_eq!(find(5432, true), other.path());
        assert_eq!(find(5432, false), "localhost", "a stranger's socket in /tmp");
        dir.file(".s.PGSQL.5432", "", 0o777);
        assert_eq!(find(5432, true), dir.path());
        assert_eq!(find(5433, true), dir.path(), "a server on another port");
        // An empty host in a list is the default one.
        let info = resolve("host=a, user=u", &[]).unwrap();
        let default = info.hosts[1].host.as_deref().unwrap();
        assert!(default == "localhost" || default.starts_with('/'), "{default}");
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

    #[test]
    fn the_driver_gets_one_host() {
        use tokio_postgres::config::{Host, SslMode as Driver};
        let tcp = |name: &str| Host::Tcp(name.to_owned());
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        for (text, host, addresses, mode) in [
            ("host=a", tcp("a"), vec![], Driver::Prefer),
            ("host=a sslmode=allow", tcp("a"), vec![], Driver::Prefer),
            ("host=a sslmode=disable", tcp("a"), vec![], Driver::Disable),
            ("host=a sslmode=require", tcp("a"), vec![], Driver::Require),
            ("host=a sslmode=verify-ca", tcp("a"), vec![], Driver::Require),
            ("host=a sslmode=verify-full", tcp("a"), vec![], Driver::Require),
            (
                "host=a hostaddr=10.0.0.1",
                tcp("a"),
                vec![ip("10.0.0.1")],
                Driver::Prefer,
            ),
            (
                "hostaddr=10.0.0.1",
                tcp("10.0.0.1"),
                vec![ip("10.0.0.1")],
                Driver::Prefer,
            ),
            ("host=/run hostaddr=::1", tcp("::1"), vec![ip("::1")], Driver::Prefer),
            (
                "host=/run sslmode=verify-full",
                Host::Unix("/run".into()),
                vec![],
                Driver::Disable,
            ),
        ] {
            let text = format!("{text} user=u dbname=d port=7 password=p options='-c a=b'");
            let config = resolve(&text, &[]).unwrap().to_driver(0, "tenantctl test");
            assert_eq!(
                (config.get_hosts(), config.get_hostaddrs()),
                (&[host][..], addresses.as_slice()),
                "{text}"
            );
            assert_eq!((config.get_ssl_mode(), config.get_ports()), (mode, &[7][..]), "{text}");
            assert_eq!((config.get_user(), config.get_dbname()), (Some("u"), Some("d")));
            assert_eq!(
                (config.get_password(), config.get_options()),
                (Some(&b"p"[..]), Some("-c a=b"))
            );
            assert_eq!(config.get_application_name(), Some("tenantctl test"));
            assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(10)));
        }
        let text = "host=a,b port=1,2 user=u application_name=mine connect_timeout=0 sslmode=require
            sslnegotiation=direct channel_binding=require load_balance_hosts=disable target_session_attrs=read-write";
        let config = resolve(text, &[]).unwrap().to_driver(1, "tenantctl test");
        assert_eq!((config.get_hosts(), config.get_ports()), (&[tcp("b")][..], &[2][..]));
        assert_eq!(
            (config.get_application_name(), config.get_connect_timeout()),
            (Some("mine"), None)
        );
        assert_eq!(config.get_ssl_negotiation(), driver::SslNegotiation::Direct);
        assert_eq!(config.get_channel_binding(), driver::ChannelBinding::Require);
        assert_eq!(
            config.get_target_session_attrs(),
            driver::TargetSessionAttrs::Any,
            "the caller checks it"
        );
    }

    #[test]
    fn choices_read_back_as_written() {
        for text in ["any", "read-write", "read-only", "primary", "standby", "prefer-standby"] {
            let info = resolve(&format!("user=u host=h target_session_attrs={text}"), &[]).unwrap();
            assert_eq!(info.target_session_attrs.to_string(), text);
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
