//! The parameters as environment variables, for the programs of PostgreSQL's own that are run beside a session.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use super::choices::Choice;
use super::{ConnInfo, RootCert, SslNegotiation, TlsVersion};

impl ConnInfo {
    /// libpq's variables for one host, the password among them. Whatever other `PG*` variables a program would inherit
    /// must be taken away from it.
    ///
    /// # Panics
    /// If there is no such host.
    pub fn libpq_environment(&self, host: usize) -> Vec<(&'static str, OsString)> {
        let spec = &self.hosts[host];
        let mut set: Vec<(&'static str, OsString)> = vec![
            ("PGUSER", self.user.clone().into()),
            ("PGDATABASE", self.dbname.clone().into()),
            ("PGPORT", spec.port.to_string().into()),
        ];
        if let Some(name) = &spec.host {
            set.push(("PGHOST", name.into()));
        }
        if let Some(address) = spec.hostaddr {
            set.push(("PGHOSTADDR", address.to_string().into()));
        }
        if let Some(password) = self.password(host) {
            set.push(("PGPASSWORD", OsString::from_vec(password.0)));
        }
        if let Some(options) = &self.options {
            set.push(("PGOPTIONS", options.into()));
        }
        if let Some(limit) = self.connect_timeout {
            set.push(("PGCONNECT_TIMEOUT", limit.as_secs().max(1).to_string().into()));
        }
        if spec.socket_dir().is_some() {
            return set;
        }
        set.push(("PGSSLMODE", self.sslmode.as_str().into()));
        let version = |version| match version {
            TlsVersion::V1_2 => "TLSv1.2",
            TlsVersion::V1_3 => "TLSv1.3",
        };
        set.push(("PGSSLMINPROTOCOLVERSION", version(self.ssl_min_protocol_version).into()));
        set.push(("PGSSLMAXPROTOCOLVERSION", version(self.ssl_max_protocol_version).into()));
        set.push(("PGCHANNELBINDING", self.channel_binding.as_str().into()));
        set.push(("PGSSLSNI", if self.sslsni { "1" } else { "0" }.into()));
        // An older libpq does not know these; they are set only where they change something.
        if self.sslnegotiation == SslNegotiation::Direct {
            set.push(("PGSSLNEGOTIATION", "direct".into()));
        }
        if !self.send_client_cert {
            set.push(("PGSSLCERTMODE", "disable".into()));
        }
        match &self.sslrootcert {
            RootCert::Default => {}
            RootCert::System => set.push(("PGSSLROOTCERT", "system".into())),
            RootCert::File(path) => set.push(("PGSSLROOTCERT", path.into())),
        }
        let files = [
            ("PGSSLCERT", &self.sslcert),
            ("PGSSLKEY", &self.sslkey),
            ("PGSSLCRL", &self.sslcrl),
            ("PGSSLCRLDIR", &self.sslcrldir),
        ];
        set.extend(
            files
                .into_iter()
                .filter_map(|(name, path)| Some((name, path.as_ref()?.into()))),
        );
        set
    }
}

#[cfg(test)]
mod tests {
    use crate::pg::conninfo::tests::resolve;

    #[test]
    fn a_program_gets_one_host_and_its_password() {
        let text = "host=a,b hostaddr=10.0.0.1,10.0.0.2 port=1,2 user=u dbname=d password=p sslmode=verify-full
            sslrootcert=/r.crt sslcert=/c.crt sslkey=/c.key options='-c a=b' connect_timeout=7";
        let info = resolve(text, &[]).expect("fits");
        let set = info.libpq_environment(1);
        let value = |name: &str| set.iter().find(|(n, _)| *n == name).and_then(|(_, v)| v.to_str());
        for (name, wanted) in [
            ("PGHOST", "b"),
            ("PGHOSTADDR", "10.0.0.2"),
            ("PGPORT", "2"),
            ("PGUSER", "u"),
            ("PGDATABASE", "d"),
            ("PGPASSWORD", "p"),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", "/r.crt"),
            ("PGSSLCERT", "/c.crt"),
            ("PGSSLKEY", "/c.key"),
            ("PGOPTIONS", "-c a=b"),
            ("PGCONNECT_TIMEOUT", "7"),
        ] {
            assert_eq!(value(name), Some(wanted), "{name}");
        }
        let socket = resolve("host=/run user=u dbname=d sslmode=verify-full", &[]).expect("fits");
        assert!(
            socket
                .libpq_environment(0)
                .iter()
                .all(|(name, _)| !name.starts_with("PGSSL"))
        );
    }
}
