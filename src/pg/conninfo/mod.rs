//! Connection parameters as libpq takes them: URLs, key=value strings, `PG*` variables, service and password files.
//!
//! [`ConnInfo::resolve`] is the whole way from text to typed parameters. It reads files but contacts nothing and
//! prints nothing; what the user should know is in [`ConnInfo::warnings`]. Text that may hold a password, or a part
//! of one after a quoting mistake, is never repeated in a message.

mod account;
mod choices;
mod driver;
mod environment;
mod given;
mod parameters;
mod passfile;
mod service;
mod socket;
#[cfg(test)]
mod tests;
mod text;
mod typed;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use self::account::Account;
pub use self::choices::{ChannelBinding, LoadBalanceHosts, SslMode, SslNegotiation, TargetSessionAttrs, TlsVersion};
use self::given::Given;
use self::passfile::PassFile;
use crate::error::Result;

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
    /// Which kind of server is wanted; none if that was not said.
    pub target_session_attrs: Option<TargetSessionAttrs>,
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
    /// Resolves a connection string over the service file over `PG*` variables over defaults, as libpq does.
    ///
    /// The string is a `postgresql://` URL, a `key=value` string, or the bare name of a database.
    ///
    /// # Errors
    /// Kind `usage` if the string is wrong, `config` if a variable or a service file is.
    pub fn resolve(database_url: Option<&str>, env: &dyn Fn(&str) -> Option<String>) -> Result<Self> {
        let mut given = Given::in_text(text::parse(database_url.unwrap_or_default())?);
        let env = |name: &str| env(name).filter(|value| !value.is_empty());
        let account = Account::current(&env);
        service::add(&mut given, &env, account.home.as_deref())?;
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
    ///
    /// # Panics
    /// If there is no such host.
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
}
