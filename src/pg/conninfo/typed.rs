//! From what was given to typed parameters, with libpq's defaults.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use rand::seq::SliceRandom;

use super::account::Account;
use super::given::Given;
use super::passfile::PassFile;
use super::socket::default_host;
use super::{
    ChannelBinding, ConnInfo, HostSpec, Keepalives, LoadBalanceHosts, RootCert, Secret, SslMode, SslNegotiation,
    TlsVersion,
};
use crate::error::{Error, Result};

/// What libpq is built with where nothing else was chosen.
const DEFAULT_PORT: u16 = 5432;

/// libpq waits for ever; a command that hangs at a wrong host helps nobody.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

impl Given {
    pub(super) fn build(self, env: &dyn Fn(&str) -> Option<String>, account: Account) -> Result<ConnInfo> {
        let Some(user) = self.owned("user").or(account.name) else {
            return Err(Error::usage("no user name")
                .with_cause("the operating system has no name for this user id")
                .with_hint("Give it in the connection string or in PGUSER."));
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
            target_session_attrs: self.choice("target_session_attrs")?,
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
            let port = match ports.get(if ports.len() == 1 { 0 } else { i }) {
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
        let version = |key| {
            let text = self.text(key).unwrap_or_default();
            match text.to_ascii_lowercase().as_str() {
                "" => Ok(None),
                "tlsv1.2" => Ok(Some(TlsVersion::V1_2)),
                "tlsv1.3" => Ok(Some(TlsVersion::V1_3)),
                // A lower bound below what we speak asks for nothing more.
                "tlsv1" | "tlsv1.1" if key == "ssl_min_protocol_version" => Ok(None),
                _ => Err(self
                    .invalid(key, text)
                    .with_hint("Use TLSv1.2 or TLSv1.3; older versions are not spoken.")),
            }
        };
        let min = version("ssl_min_protocol_version")?.unwrap_or(TlsVersion::V1_2);
        let max = version("ssl_max_protocol_version")?.unwrap_or(TlsVersion::V1_3);
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
