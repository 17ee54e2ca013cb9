//! The parameters in the driver's own types.

use std::time::Duration;

use tokio_postgres::config as driver;

use super::{ChannelBinding, ConnInfo, Keepalives, LoadBalanceHosts, SslMode, SslNegotiation};

/// How long a session may be silent before it is probed. The system's two hours are too long for sessions that hold a lock
/// while others read for hours: firewalls and load balancers forget a silent connection after some minutes.
const KEEPALIVES_IDLE: Duration = Duration::from_secs(60);
/// Between probes that get no answer.
const KEEPALIVES_INTERVAL: Duration = Duration::from_secs(15);

impl ConnInfo {
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
        config.keepalives_idle(idle.unwrap_or(KEEPALIVES_IDLE));
        config.keepalives_interval(interval.unwrap_or(KEEPALIVES_INTERVAL));
        if let Some(count) = count {
            config.keepalives_retries(*count);
        }
        if let Some(limit) = user_timeout {
            config.tcp_user_timeout(*limit);
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;
    use std::time::Duration;

    use tokio_postgres::config as driver;

    use crate::pg::conninfo::tests::resolve;

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
}
