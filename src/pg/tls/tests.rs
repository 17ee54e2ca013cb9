//! Handshakes with servers of every kind; helpers of the tests of each part.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    SanType, SerialNumber, SigningKey, date_time_ymd,
};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::sign::CertifiedKey;
use rustls::{CertificateError, ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion};

use super::der::Der;
use super::*;

/// A home directory that goes with the test.
pub(super) struct Home(pub(super) PathBuf);

impl Home {
    pub(super) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "tenantctl-tls-{}-{}",
            std::process::id(),
            NEXT.fetch_add(1, Ordering::Relaxed)
        );
        let home = std::env::temp_dir().join(name);
        fs::create_dir_all(home.join(".postgresql")).unwrap();
        Self(home)
    }

    pub(super) fn file(&self, name: &str, text: &str) -> String {
        let file = self.0.join(name);
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
        file.display().to_string()
    }

    pub(super) fn info(&self, text: &str) -> ConnInfo {
        let home = self.0.display().to_string();
        let text = format!("user=u {text}").replace("~", &home);
        ConnInfo::resolve(Some(&text), &|name| (name == "HOME").then(|| home.clone())).unwrap()
    }

    pub(super) fn config(&self, text: &str) -> Result<Option<ClientConfig>> {
        client_config(&self.info(text), 0)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// A certificate with its key.
pub(super) struct Identity {
    params: CertificateParams,
    pub(super) key: KeyPair,
    pub(super) der: CertificateDer<'static>,
}

impl Identity {
    pub(super) fn pem(&self) -> String {
        pem(&self.der)
    }

    pub(super) fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }

    pub(super) fn server_key(&self) -> CertifiedKey {
        let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
        let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
        CertifiedKey::new(vec![self.der.clone()], key)
    }

    /// The same without version and extensions, signed again.
    pub(super) fn version_1(self, issuer: Option<&Self>) -> Self {
        let mut outer = Der(&self.der);
        let mut parts = Der(outer.take(Der::SEQUENCE).unwrap());
        let mut fields = Der(parts.take(Der::SEQUENCE).unwrap());
        let algorithm = Der::wrap(parts.take(Der::SEQUENCE).unwrap());
        let mut signed = Vec::new();
        while let Some((tag, _, whole)) = fields.next() {
            if ![0xa0, 0xa3].contains(&tag) {
                signed.extend_from_slice(whole);
            }
        }
        let signed = Der::wrap(&signed);
        let signature = issuer.unwrap_or(&self).key.sign(&signed).unwrap();
        let bits = [&[Der::BITS, signature.len() as u8 + 1, 0], signature.as_slice()].concat();
        let der = CertificateDer::from(Der::wrap(&[signed, algorithm, bits].concat()));
        Self { der, ..self }
    }
}

fn pem(der: &CertificateDer<'_>) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let group = |bytes: &[u8]| {
        let bits = bytes.iter().fold(0, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - bytes.len()));
        let digit = |i: usize| {
            if i > bytes.len() {
                '='
            } else {
                char::from(DIGITS[(bits >> (18 - 6 * i)) as usize & 63])
            }
        };
        (0..4).map(digit).collect::<String>()
    };
    let text: String = der.chunks(3).map(group).collect();
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

pub(super) fn params(common_name: &str, names: &[&str]) -> CertificateParams {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationName, "not the name");
    params.distinguished_name.push(DnType::CommonName, common_name);
    params.serial_number = Some(SerialNumber::from(7));
    params
}

pub(super) fn issue(params: CertificateParams, issuer: Option<&Identity>) -> Identity {
    let key = KeyPair::generate().unwrap();
    let certificate = match issuer {
        Some(issuer) => params.signed_by(&key, &issuer.issuer()),
        None => params.self_signed(&key),
    };
    let der = certificate.unwrap().der().clone();
    Identity { params, key, der }
}

pub(super) fn authority(name: &str) -> Identity {
    let mut params = params(name, &[]);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    issue(params, None)
}

pub(super) fn server(identity: &Identity, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
    ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.server_key())))
}

/// Lets both sides talk until they agree or one gives up.
pub(super) fn handshake(
    client: ClientConfig,
    server: ServerConfig,
    host: &str,
) -> std::result::Result<(), rustls::Error> {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut server = ServerConnection::new(Arc::new(server)).unwrap();
    for _ in 0..10 {
        let mut wire = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut wire).unwrap();
        }
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        while server.wants_write() {
            server.write_tls(&mut wire).unwrap();
        }
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    assert!(!client.is_handshaking() && !server.is_handshaking());
    Ok(())
}

pub(super) const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

#[test]
fn certificates_are_verified_as_sslmode_says() {
    let home = Home::new();
    let (root, other) = (authority("Root"), authority("Other"));
    home.file("root.crt", &root.pem());
    home.file("other.crt", &other.pem());
    home.file("both.crt", &format!("text between\n{}{}", other.pem(), root.pem()));
    let client_only = {
        let mut params = params("db", &["db"]);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params
    };
    let expired = |mut params: CertificateParams| {
        params.not_after = date_time_ymd(2020, 1, 1);
        params
    };
    let future = |mut params: CertificateParams| {
        params.not_before = date_time_ymd(2070, 1, 1);
        params
    };
    let address_as_name = {
        let mut params = params("x", &[]);
        params.subject_alt_names = vec![SanType::DnsName("10.0.0.1".try_into().unwrap())];
        params
    };
    let self_ca = {
        let mut params = params("db", &["db"]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params
    };
    let from = |params: CertificateParams| issue(params, Some(&root));
    let signed = |common_name: &str, names: &[&str]| from(params(common_name, names));
    let alone = |params: CertificateParams| issue(params, None);
    let v1 = |params: CertificateParams| from(params).version_1(Some(&root));
    let forged = || signed("db", &[]).version_1(Some(&other));
    let alone_v1 = |params: CertificateParams| alone(params).version_1(None);
    let db = || params("db", &[]);
    // Accepted: p = prefer and require without a root file, c = verify-ca and require with one, f = verify-full.
    for (what, identity, root, host, accepted) in [
        ("name", signed("x", &["db"]), "root", "db", "pcf"),
        ("one of two roots", signed("x", &["db"]), "both", "db", "pcf"),
        ("wildcard", signed("x", &["*.db.lan"]), "root", "a.db.lan", "pcf"),
        ("short wildcard", signed("x", &["*.lan"]), "root", "db.lan", "pcf"),
        ("too short", signed("x", &["*.lan"]), "root", "a.db.lan", "pc"),
        ("last", signed("x", &["a", "::1", "db"]), "root", "db", "pcf"),
        ("address", signed("x", &["10.0.0.1"]), "root", "10.0.0.1", "pcf"),
        ("IPv6 address", signed("x", &["::1"]), "root", "::1", "pcf"),
        ("address as name", from(address_as_name), "root", "10.0.0.1", "pcf"),
        ("other root", signed("x", &["db"]), "other", "db", "p"),
        ("other name", signed("db", &["other"]), "root", "db", "pc"),
        ("other address", signed("::1", &["::2"]), "root", "::1", "pc"),
        ("CN", signed("db", &[]), "root", "DB", "pcf"),
        ("CN wildcard", signed("*.lan", &[]), "root", "db.lan", "pcf"),
        ("CN address", signed("10.0.0.1", &[]), "root", "10.0.0.1", "pcf"),
        ("CN, addresses", signed("db", &["::1"]), "root", "db", "pcf"),
        ("other CN", signed("other", &[]), "root", "db", "pc"),
        ("expired", from(expired(db())), "root", "db", "p"),
        ("client only", from(client_only.clone()), "root", "db", "p"),
        ("v1", v1(db()), "root", "db", "pcf"),
        ("v1, other root", v1(db()), "other", "db", "p"),
        ("v1, other name", v1(params("x", &[])), "root", "db", "pc"),
        ("v1, expired", v1(expired(db())), "root", "db", "p"),
        ("v1, not yet valid", v1(future(db())), "root", "db", "p"),
        ("v1, forged", forged(), "root", "db", "p"),
        ("alone", alone(params("x", &["db"])), "own", "db", "pcf"),
        ("alone, CN", alone(db()), "own", "db", "pcf"),
        ("alone, other name", alone(params("x", &[])), "own", "db", "pc"),
        ("alone, not the root", alone(db()), "root", "db", "p"),
        ("alone, expired", alone(expired(db())), "own", "db", "p"),
        ("alone, not yet valid", alone(future(db())), "own", "db", "p"),
        ("alone, client only", alone(client_only), "own", "db", "p"),
        ("alone, CA", alone(self_ca.clone()), "own", "db", "pcf"),
        ("alone, CA, not the root", alone(self_ca), "root", "db", "p"),
        ("alone, v1", alone_v1(db()), "own", "db", "pcf"),
        ("alone, v1, not the root", alone_v1(db()), "root", "db", "p"),
        ("alone, v1, expired", alone_v1(expired(db())), "own", "db", "p"),
    ] {
        home.file("own.crt", &identity.pem());
        let root = format!("sslrootcert=~/{root}.crt");
        for (mode, class) in [
            ("sslmode=prefer".to_owned(), 'p'),
            ("sslmode=allow".to_owned(), 'p'),
            ("sslmode=require".to_owned(), 'p'),
            (format!("sslmode=prefer {root}"), 'p'),
            (format!("sslmode=require {root}"), 'c'),
            (format!("sslmode=verify-ca {root}"), 'c'),
            (format!("sslmode=verify-full {root}"), 'f'),
        ] {
            for version in BOTH {
                let config = home.config(&format!("host={host} {mode}")).unwrap().unwrap();
                let result = handshake(config, server(&identity, &[version]), host);
                assert_eq!(
                    result.is_ok(),
                    accepted.contains(class),
                    "{what}, {mode}, {version:?}: {result:?}"
                );
            }
        }
    }
}

#[test]
fn a_server_without_the_key_is_refused_in_every_mode() {
    let home = Home::new();
    let root = authority("Root");
    home.file("root.crt", &root.pem());
    let stranger = KeyPair::generate().unwrap();
    let v3 = issue(params("db", &["db"]), Some(&root));
    let v1 = issue(params("db", &[]), Some(&root)).version_1(Some(&root));
    for identity in [v3, v1] {
        let imposter = Identity {
            key: KeyPair::from_pem(&stranger.serialize_pem()).unwrap(),
            ..identity
        };
        for mode in [
            "prefer",
            "require",
            "verify-ca sslrootcert=~/root.crt",
            "verify-full sslrootcert=~/root.crt",
        ] {
            for version in BOTH {
                let config = home.config(&format!("host=db sslmode={mode}")).unwrap().unwrap();
                let result = handshake(config, server(&imposter, &[version]), "db");
                let expected = rustls::Error::InvalidCertificate(CertificateError::BadSignature);
                assert_eq!(result, Err(expected), "{mode} {version:?}");
            }
        }
    }
}

#[test]
fn sockets_and_disable_use_no_tls() {
    let home = Home::new();
    for text in [
        "host=db sslmode=disable",
        "host=/run sslmode=verify-full",
        "host=/run sslmode=require",
    ] {
        assert!(connector(&home.info(text), 0).unwrap().is_none(), "{text}");
    }
    // Each host for itself
    let info = home.info("host=/run,db sslmode=require");
    assert!(connector(&info, 0).unwrap().is_none() && connector(&info, 1).unwrap().is_some());
    let info = home.info("host=/run hostaddr=10.0.0.1 sslmode=require");
    assert!(connector(&info, 0).unwrap().is_some());
}

#[test]
fn versions_names_and_negotiation() {
    let home = Home::new();
    let identity = issue(params("x", &["db"]), None);
    for (text, version, accepted) in [
        ("", &rustls::version::TLS12, true),
        ("", &rustls::version::TLS13, true),
        ("ssl_min_protocol_version=TLSv1.3", &rustls::version::TLS12, false),
        ("ssl_min_protocol_version=TLSv1.3", &rustls::version::TLS13, true),
        ("ssl_max_protocol_version=TLSv1.2", &rustls::version::TLS12, true),
        ("ssl_max_protocol_version=TLSv1.2", &rustls::version::TLS13, false),
    ] {
        let config = home
            .config(&format!("host=db sslmode=require {text}"))
            .unwrap()
            .unwrap();
        let result = handshake(config, server(&identity, &[version]), "db");
        assert_eq!(result.is_ok(), accepted, "{text} {version:?}");
    }
    let config = home.config("host=db sslmode=require").unwrap().unwrap();
    assert!(config.enable_sni && config.alpn_protocols.is_empty());
    let config = home
        .config("host=db sslmode=require sslsni=0 sslnegotiation=direct")
        .unwrap()
        .unwrap();
    assert!(!config.enable_sni);
    assert_eq!(config.alpn_protocols, [b"postgresql"]);
}
