//! What server certificates are verified against: trusted authorities and lists of revoked certificates.

use std::fs;
use std::io;
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, ServerName, UnixTime};

use super::certificate::Certificate;
use super::files::{default_file, exists, read_pem, unreadable};
use super::name::is_name_error;
use crate::error::{Error, Result};
use crate::pg::conninfo::{ConnInfo, RootCert, SslMode};

/// What server certificates are verified against.
#[derive(Debug)]
pub(super) struct Trust {
    /// As they are in the file, to recognise a server's certificate among them.
    certificates: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
    webpki: Arc<WebPkiServerVerifier>,
    /// Whether there are lists of revoked certificates: then only webpki decides.
    revocation: bool,
}

impl Trust {
    /// None if the server is not to be verified.
    pub(super) fn load(info: &ConnInfo, provider: &Arc<CryptoProvider>) -> Result<Option<Self>> {
        let certificates = match (info.sslmode, &info.sslrootcert) {
            (SslMode::Disable | SslMode::Allow | SslMode::Prefer, _) => return Ok(None),
            (_, RootCert::System) => system_certificates()?,
            (_, RootCert::File(file)) => read_pem("root certificate file", file)?,
            (mode, RootCert::Default) => match default_file(info, "root.crt") {
                Some(file) if exists(&file)? => read_pem("root certificate file", &file)?,
                _ if mode == SslMode::Require => return Ok(None),
                file => {
                    let place = file.map(|file| format!(" {file:?}")).unwrap_or_default();
                    return Err(Error::config(format!("root certificate file{place} does not exist"))
                        .with_cause(format!("sslmode={mode} verifies the server's certificate"))
                        .with_hint("Name the authority's certificate with sslrootcert, or use sslrootcert=system."));
                }
            },
        };
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        if roots.is_empty() {
            return Err(Error::config("cannot read the root certificates")
                .with_cause("none of them can be parsed")
                .with_hint("Check the file that sslrootcert names."));
        }
        let roots = Arc::new(roots);
        let crls = revocation_lists(info)?;
        let revocation = !crls.is_empty();
        let webpki = WebPkiServerVerifier::builder_with_provider(roots.clone(), provider.clone())
            .with_crls(crls)
            .enforce_revocation_expiration()
            .build()
            .map_err(|error| {
                Error::config("cannot use the certificate revocation list")
                    .with_cause(error)
                    .with_hint("Check sslcrl, sslcrldir and ~/.postgresql/root.crl.")
            })?;
        Ok(Some(Self {
            certificates,
            roots,
            webpki,
            revocation,
        }))
    }

    /// Whether the certificate comes from a trusted authority, whoever it is made out to.
    pub(super) fn verify_chain(
        &self,
        algorithms: &WebPkiSupportedAlgorithms,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> std::result::Result<(), rustls::Error> {
        if !self.revocation && self.certificates.contains(leaf) {
            return Certificate::parse(leaf)?.check_usable(now);
        }
        let error = match self.webpki.verify_server_cert(leaf, intermediates, name, &[], now) {
            Ok(_) => return Ok(()),
            // The name is the last thing that webpki looks at.
            Err(error) if is_name_error(&error) => return Ok(()),
            Err(error) => error,
        };
        match Certificate::parse(leaf) {
            Ok(leaf) if leaf.is_version_1 && !self.revocation => {
                leaf.check_usable(now)?;
                if leaf.is_issued_by(&self.roots, algorithms) {
                    Ok(())
                } else {
                    Err(error)
                }
            }
            _ => Err(error),
        }
    }
}

fn system_certificates() -> Result<Vec<CertificateDer<'static>>> {
    let found = rustls_native_certs::load_native_certs();
    if found.certs.is_empty() {
        let cause = found
            .errors
            .first()
            .map_or_else(|| "there are none".to_owned(), ToString::to_string);
        return Err(Error::config("cannot read the system's root certificates")
            .with_cause(cause)
            .with_hint("Install the package ca-certificates, or name a file with sslrootcert."));
    }
    Ok(found.certs)
}

fn revocation_lists(info: &ConnInfo) -> Result<Vec<CertificateRevocationListDer<'static>>> {
    const WHAT: &str = "certificate revocation list";
    let mut lists = Vec::new();
    if let Some(file) = &info.sslcrl {
        lists = read_pem(WHAT, file)?;
    }
    if let Some(dir) = &info.sslcrldir {
        let entries = fs::read_dir(dir).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        for entry in entries.map_err(|error| unreadable(WHAT, dir, error))? {
            if entry.path().is_file() {
                lists.extend(read_pem(WHAT, &entry.path())?);
            }
        }
        // OpenSSL would then refuse every certificate; no list at all would accept every one.
        if lists.is_empty() {
            return Err(unreadable(WHAT, dir, "the directory holds none"));
        }
    }
    match default_file(info, "root.crl") {
        Some(file) if info.sslcrl.is_none() && info.sslcrldir.is_none() && exists(&file)? => read_pem(WHAT, &file),
        _ => Ok(lists),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use rcgen::{
        BasicConstraints, CertificateRevocationListParams, IsCa, KeyIdMethod, NameConstraints, RevokedCertParams,
        SerialNumber, date_time_ymd,
    };

    use crate::error::ErrorKind;
    use crate::pg::tls::tests::{BOTH, Home, Identity, authority, handshake, issue, params, server};

    #[test]
    fn name_constraints_are_not_circumvented() {
        let home = Home::new();
        let mut constrained = params("Root", &[]);
        constrained.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        constrained.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![rcgen::GeneralSubtree::DnsName("lan".to_owned())],
            excluded_subtrees: vec![],
        });
        let root = issue(constrained, None);
        home.file("root.crt", &root.pem());
        let v1 = issue(params("db", &[]), Some(&root)).version_1(Some(&root));
        for identity in [issue(params("db", &["db"]), Some(&root)), v1] {
            let config = home
                .config("host=db sslmode=verify-ca sslrootcert=~/root.crt")
                .unwrap()
                .unwrap();
            assert!(handshake(config, server(&identity, BOTH), "db").is_err());
        }
    }

    #[test]
    fn the_root_file_of_the_home_directory_counts() {
        let home = Home::new();
        let (root, other) = (authority("Root"), authority("Other"));
        let identity = issue(params("x", &["db"]), Some(&root));
        let accepts = |mode: &str| {
            let config = home.config(&format!("host=db sslmode={mode}")).unwrap().unwrap();
            handshake(config, server(&identity, BOTH), "db").is_ok()
        };
        assert!(accepts("require"));
        for mode in ["verify-ca", "verify-full"] {
            let error = home.config(&format!("host=db sslmode={mode}")).unwrap_err();
            let file = home.0.join(".postgresql/root.crt");
            assert_eq!(
                error.message(),
                format!("root certificate file {file:?} does not exist")
            );
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.hint().is_some_and(|hint| hint.contains("sslrootcert")));
        }
        home.file(".postgresql/root.crt", &root.pem());
        assert!(accepts("require") && accepts("verify-full"));
        home.file(".postgresql/root.crt", &other.pem());
        assert!(accepts("prefer") && !accepts("require") && !accepts("verify-ca"));
    }

    #[test]
    fn revoked_certificates_are_refused() {
        let home = Home::new();
        let (root, other) = (authority("Root"), authority("Other"));
        home.file("root.crt", &root.pem());
        let list = |issuer: &Identity, serial: u64, next_update| {
            let revoked_certs = vec![RevokedCertParams {
                serial_number: SerialNumber::from(serial),
                revocation_time: date_time_ymd(2024, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }];
            let params = CertificateRevocationListParams {
                this_update: date_time_ymd(2024, 1, 1),
                next_update,
                crl_number: SerialNumber::from(1),
                issuing_distribution_point: None,
                revoked_certs,
                key_identifier_method: KeyIdMethod::Sha256,
            };
            params.signed_by(&issuer.issuer()).unwrap().pem().unwrap()
        };
        let later = date_time_ymd(4000, 1, 1);
        home.file("revoked.crl", &list(&root, 7, later));
        home.file("fine.crl", &list(&root, 8, later));
        home.file("old.crl", &list(&root, 8, date_time_ymd(2024, 2, 1)));
        home.file("other.crl", &list(&other, 8, later));
        fs::create_dir(home.0.join("dir")).unwrap();
        home.file("dir/a.r0", &list(&root, 8, later));
        home.file("dir/b.r0", &list(&other, 8, later));
        let signed = issue(params("db", &["db"]), Some(&root));
        let version_1 = issue(params("db", &[]), Some(&root)).version_1(Some(&root));
        let own = issue(params("db", &["db"]), None);
        home.file("own.crt", &own.pem());
        for (identity, text, accepted) in [
            (&signed, "sslrootcert=~/root.crt", true),
            (&signed, "sslrootcert=~/root.crt sslcrl=~/fine.crl", true),
            (&signed, "sslrootcert=~/root.crt sslcrldir=~/dir", true),
            (&signed, "sslrootcert=~/root.crt sslcrl=~/revoked.crl", false),
            (
                &signed,
                "sslrootcert=~/root.crt sslcrl=~/revoked.crl sslcrldir=~/dir",
                false,
            ),
            (&signed, "sslrootcert=~/root.crt sslcrl=~/old.crl", false),
            (&signed, "sslrootcert=~/root.crt sslcrl=~/other.crl", false),
            // What webpki cannot verify has no revocation status.
            (&version_1, "sslrootcert=~/root.crt", true),
            (&version_1, "sslrootcert=~/root.crt sslcrl=~/fine.crl", false),
            (&own, "sslrootcert=~/own.crt", true),
            (&own, "sslrootcert=~/own.crt sslcrl=~/fine.crl", false),
        ] {
            for mode in ["require", "verify-ca", "verify-full"] {
                let config = home.config(&format!("host=db sslmode={mode} {text}")).unwrap().unwrap();
                let result = handshake(config, server(identity, BOTH), "db");
                assert_eq!(result.is_ok(), accepted, "{mode} {text}: {result:?}");
            }
        }
        // The file of the home directory, unless another is named
        home.file(".postgresql/root.crl", &list(&root, 7, later));
        for (text, accepted) in [("", false), ("sslcrl=~/fine.crl", true)] {
            let text = format!("host=db sslmode=verify-ca sslrootcert=~/root.crt {text}");
            let result = handshake(home.config(&text).unwrap().unwrap(), server(&signed, BOTH), "db");
            assert_eq!(result.is_ok(), accepted, "{text}: {result:?}");
        }
    }
}
