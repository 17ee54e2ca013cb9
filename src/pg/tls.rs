//! TLS as libpq does it: what is verified follows from `sslmode` and from which files exist.
//!
//! rustls and webpki verify what they can parse. Three things that libpq accepts and webpki does not are added here,
//! because PostgreSQL's own manual produces such certificates: a self-signed server certificate that is its own root
//! file, X.509 version 1, and a host name in the subject's common name only. In every mode, the server proves that it
//! holds the key of the certificate it presents.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{ClientConfig, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{
    CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName, SignatureVerificationAlgorithm,
    SubjectPublicKeyInfoDer, UnixTime,
};
use rustls::server::ParsedCertificate;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{CertificateError, DigitallySignedStruct, ExtendedKeyPurpose, RootCertStore, SignatureScheme};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::conninfo::{ConnInfo, RootCert, SslMode, SslNegotiation, TlsVersion};
use crate::error::{Error, Result};

/// The TLS connector for one host; none if the connection is not to use TLS: a Unix socket, or `sslmode=disable`.
///
/// # Errors
/// Kind `config` if a certificate, key or revocation list is missing or unreadable, or a key readable by others.
///
/// # Panics
/// If there is no such host.
pub fn connector(info: &ConnInfo, host: usize) -> Result<Option<MakeRustlsConnect>> {
    Ok(client_config(info, host)?.map(MakeRustlsConnect::new))
}

fn client_config(info: &ConnInfo, host: usize) -> Result<Option<ClientConfig>> {
    if info.sslmode == SslMode::Disable || info.hosts[host].socket_dir().is_some() {
        return Ok(None);
    }
    let name = info.sslmode == SslMode::VerifyFull;
    if name && info.hosts[host].name().is_none() {
        return Err(Error::usage("no host name to verify the server's certificate against")
            .with_hint("Give host beside hostaddr, or use sslmode=verify-ca."));
    }
    // Named, not taken from the process: nobody else's choice of provider can change it.
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions: Vec<_> = [
        (TlsVersion::V1_3, &rustls::version::TLS13),
        (TlsVersion::V1_2, &rustls::version::TLS12),
    ]
    .into_iter()
    .filter(|(version, _)| (info.ssl_min_protocol_version..=info.ssl_max_protocol_version).contains(version))
    .map(|(_, version)| version)
    .collect();
    let algorithms = provider.signature_verification_algorithms;
    let verifier = Verifier {
        algorithms,
        trust: Trust::load(info, &provider)?,
        name,
    };
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&versions)
        .map_err(|error| {
            let hint = "Leave out ssl_min_protocol_version and ssl_max_protocol_version.";
            Error::config("cannot set up TLS").with_cause(error).with_hint(hint)
        })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let mut config = match client_key(info, &provider)? {
        Some(key) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(key))),
        None => builder.with_no_client_auth(),
    };
    config.enable_sni = info.sslsni;
    if info.sslnegotiation == SslNegotiation::Direct {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(Some(config))
}

/// A file of `~/.postgresql`.
fn default_file(info: &ConnInfo, name: &str) -> Option<PathBuf> {
    info.home.as_ref().map(|home| home.join(".postgresql").join(name))
}

/// Whether a file that need not exist does. One that cannot be looked at is an error, not an absence.
fn exists(file: &Path) -> Result<bool> {
    file.try_exists().map_err(|error| unreadable("file", file, error))
}

fn unreadable(what: &str, file: &Path, cause: impl std::fmt::Display) -> Error {
    Error::config(format!("cannot read {what} {file:?}"))
        .with_cause(cause)
        .with_hint("Check the path and the permissions; it has to be in PEM format.")
}

fn read(what: &str, file: &Path) -> Result<Vec<u8>> {
    fs::read(file).map_err(|error| unreadable(what, file, error))
}

/// All sections of a kind in a PEM file; at least one.
fn read_pem<T: PemObject>(what: &str, file: &Path) -> Result<Vec<T>> {
    let items: std::result::Result<Vec<T>, pem::Error> = T::pem_slice_iter(&read(what, file)?).collect();
    match items {
        Ok(items) if items.is_empty() => Err(unreadable(what, file, "nothing of that kind is in it")),
        Ok(items) => Ok(items),
        Err(error) => Err(unreadable(what, file, error)),
    }
}

/// What server certificates are verified against.
#[derive(Debug)]
struct Trust {
    /// As they are in the file, to recognise a server's certificate among them.
    certificates: Vec<CertificateDer<'static>>,
    roots: Arc<RootCertStore>,
    webpki: Arc<WebPkiServerVerifier>,
    /// Whether there are lists of revoked certificates: then only webpki decides.
    revocation: bool,
}

impl Trust {
    /// None if the server is not to be verified.
    fn load(info: &ConnInfo, provider: &Arc<CryptoProvider>) -> Result<Option<Self>> {
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
    fn verify_chain(
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

/// The client certificate and its key, if there is one to present.
fn client_key(info: &ConnInfo, provider: &CryptoProvider) -> Result<Option<CertifiedKey>> {
    if !info.send_client_cert {
        return Ok(None);
    }
    let file = match (&info.sslcert, default_file(info, "postgresql.crt")) {
        (Some(file), _) => file.clone(),
        (None, Some(file)) if exists(&file)? => file,
        (None, _) => return Ok(None),
    };
    let chain: Vec<CertificateDer<'static>> = read_pem("client certificate", &file)?;
    let key_file = info.sslkey.clone().or_else(|| default_file(info, "postgresql.key"));
    let Some(key_file) = key_file else {
        return Err(
            Error::config(format!("no private key for client certificate {file:?}")).with_hint("Name it with sslkey.")
        );
    };
    let key = read_key(&key_file)?;
    let wrong = |cause: &dyn std::fmt::Display| {
        Error::config(format!(
            "private key {key_file:?} does not fit client certificate {file:?}"
        ))
        .with_cause(cause)
        .with_hint("Check sslcert and sslkey.")
    };
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|error| wrong(&error))?;
    // rustls would compare them too, but cannot parse certificates of version 1.
    let certificate = chain.first().map(Certificate::parse).transpose();
    let certificate = certificate.map_err(|error| unreadable("client certificate", &file, error))?;
    let public = certificate.map(|certificate| certificate.public_key);
    if key
        .public_key()
        .is_some_and(|of_key| public.is_some_and(|public| public != of_key.as_ref()))
    {
        return Err(wrong(&"they belong to different keys"));
    }
    Ok(Some(CertifiedKey::new(chain, key)))
}

/// Reads a private key that nobody else can read.
fn read_key(file: &Path) -> Result<PrivateKeyDer<'static>> {
    let metadata = fs::metadata(file).map_err(|error| unreadable("private key", file, error))?;
    if !metadata.is_file() {
        return Err(unreadable("private key", file, "it is not a regular file"));
    }
    if key_is_exposed(metadata.uid(), metadata.mode()) {
        return Err(Error::config(format!("private key {file:?} has group or world access"))
            .with_cause(format!("its mode is {:04o}", metadata.mode() & 0o7777))
            .with_hint("Make it 0600 or less with chmod, or 0640 or less if root owns it."));
    }
    let text = read("private key", file)?;
    if text.windows(9).any(|word| word == b"ENCRYPTED") {
        return Err(Error::config(format!("private key {file:?} is encrypted"))
            .with_cause("encrypted keys are not supported")
            .with_hint("Write a decrypted copy with `openssl pkey` and chmod 0600, or use another way to log in."));
    }
    PrivateKeyDer::from_pem_slice(&text).map_err(|error| unreadable("private key", file, error))
}

/// libpq's rule: the system's keys may be shared with a group, a user's own with nobody.
fn key_is_exposed(owner: u32, mode: u32) -> bool {
    mode & if owner == 0 { 0o037 } else { 0o077 } != 0
}

/// Verifies as much as `sslmode` asks for.
#[derive(Debug)]
struct Verifier {
    algorithms: WebPkiSupportedAlgorithms,
    /// None verifies no certificate.
    trust: Option<Trust>,
    /// Whether the certificate has to be made out to the host.
    name: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        if let Some(trust) = &self.trust {
            trust.verify_chain(&self.algorithms, end_entity, intermediates, server_name, now)?;
            if self.name {
                verify_name(end_entity, server_name)?;
            }
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let Some(key) = version_1_key(cert) else {
            return rustls::crypto::verify_tls12_signature(message, cert, dss, &self.algorithms);
        };
        let candidates = self.algorithms.mapping.iter().find(|(scheme, _)| *scheme == dss.scheme);
        let candidates = candidates.map_or(&[][..], |(_, candidates)| candidates);
        match verify_signature(candidates, key, None, message, dss.signature()) {
            true => Ok(HandshakeSignatureValid::assertion()),
            false => Err(CertificateError::BadSignature.into()),
        }
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        let Some(key) = version_1_key(cert) else {
            return rustls::crypto::verify_tls13_signature(message, cert, dss, &self.algorithms);
        };
        let key = SubjectPublicKeyInfoDer::from(key);
        rustls::crypto::verify_tls13_signature_with_raw_key(message, &key, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn is_name_error(error: &rustls::Error) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(
        error,
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })
    )
}

/// Whether a certificate is made out to a host. libpq takes more than webpki: `*.lan` is a wildcard too, an address may
/// be written as a name, and the common name counts if there is no alternative name of the host's kind.
fn verify_name(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> std::result::Result<(), rustls::Error> {
    let by_webpki = ParsedCertificate::try_from(leaf).map(|leaf| rustls::client::verify_server_name(&leaf, name));
    let certificate = Certificate::parse(leaf)?;
    match by_webpki {
        Ok(Ok(())) => return Ok(()),
        Ok(Err(error)) if !is_name_error(&error) => return Err(error),
        Err(error) if !certificate.is_version_1 => return Err(error),
        _ => {}
    }
    let names = certificate.alternative_names().ok_or(CertificateError::BadEncoding)?;
    let (host, kind) = match name {
        ServerName::DnsName(host) => (host.as_ref().to_owned(), Certificate::DNS_NAME),
        ServerName::IpAddress(address) => (IpAddr::from(*address).to_string(), Certificate::ADDRESS),
        _ => return Err(CertificateError::NotValidForName.into()),
    };
    let fits = |pattern: &str| match kind {
        Certificate::ADDRESS => pattern == host,
        _ => name_fits(pattern, &host),
    };
    let dns_names = names.iter().filter(|(tag, _)| *tag == Certificate::DNS_NAME);
    let mut presented: Vec<_> = dns_names
        .filter_map(|(_, name)| std::str::from_utf8(name).ok())
        .collect();
    if names.iter().all(|(tag, _)| *tag != kind) {
        presented.extend(certificate.common_name());
    }
    match presented.iter().any(|pattern| fits(pattern)) {
        true => Ok(()),
        false => Err(CertificateError::NotValidForNameContext {
            expected: name.to_owned(),
            presented: presented.iter().map(|name| format!("{name:?}")).collect(),
        }
        .into()),
    }
}

/// Case-insensitively; `*.` at the start stands for one label.
fn name_fits(pattern: &str, host: &str) -> bool {
    let below = |domain: &str| {
        host.split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain))
    };
    pattern.eq_ignore_ascii_case(host) || pattern.strip_prefix("*.").is_some_and(|d| !d.is_empty() && below(d))
}

/// The public key of a certificate that webpki cannot parse because of its version.
fn version_1_key<'a>(cert: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    Certificate::parse(cert)
        .ok()
        .filter(|cert| cert.is_version_1)
        .map(|cert| cert.public_key)
}

/// Whether one of the algorithms fits the key (and the algorithm named beside the signature) and the signature.
fn verify_signature(
    candidates: &[&dyn SignatureVerificationAlgorithm],
    key: &[u8],
    algorithm: Option<&[u8]>,
    message: &[u8],
    signature: &[u8],
) -> bool {
    let mut info = Der(key);
    let parts = info.take(Der::SEQUENCE).and_then(|parts| {
        let mut parts = Der(parts);
        Some((parts.take(Der::SEQUENCE)?, parts.take_bits()?))
    });
    let Some((key_algorithm, key)) = parts else {
        return false;
    };
    candidates
        .iter()
        .filter(|candidate| candidate.public_key_alg_id().as_ref() == key_algorithm)
        .filter(|candidate| algorithm.is_none_or(|algorithm| candidate.signature_alg_id().as_ref() == algorithm))
        .any(|candidate| candidate.verify_signature(key, message, signature).is_ok())
}

/// What is read here of an X.509 certificate. Anything malformed makes the whole of it unreadable.
struct Certificate<'a> {
    is_version_1: bool,
    /// With its header: what the issuer signed.
    signed: &'a [u8],
    signature_algorithm: &'a [u8],
    signature: &'a [u8],
    issuer: &'a [u8],
    not_before: u64,
    not_after: u64,
    subject: &'a [u8],
    /// With its header.
    public_key: &'a [u8],
    /// Object identifier and value.
    extensions: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Certificate<'a> {
    /// id-ce-subjectAltName.
    const ALTERNATIVE_NAMES: &'static [u8] = &[0x55, 0x1d, 0x11];
    /// id-ce-extKeyUsage.
    const PURPOSES: &'static [u8] = &[0x55, 0x1d, 0x25];
    /// id-kp-serverAuth.
    const SERVER: &'static [u8] = &[0x2b, 0x06, 0x01, 0x05, 0x05, 0x07, 0x03, 0x01];
    /// Tags of alternative names.
    const DNS_NAME: u8 = 0x82;
    const ADDRESS: u8 = 0x87;
    /// id-at-commonName.
    const COMMON_NAME: &'static [u8] = &[0x55, 0x04, 0x03];

    fn parse(der: &'a CertificateDer<'_>) -> std::result::Result<Self, rustls::Error> {
        Self::read(der).ok_or_else(|| CertificateError::BadEncoding.into())
    }

    fn read(der: &'a [u8]) -> Option<Self> {
        let mut outer = Der(der);
        let mut parts = Der(outer.take(Der::SEQUENCE)?);
        outer.end()?;
        let (tag, mut fields, signed) = parts.next()?;
        let signature_algorithm = parts.take(Der::SEQUENCE)?;
        let signature = parts.take_bits()?;
        parts.end()?;
        if tag != Der::SEQUENCE {
            return None;
        }
        let versioned = fields.take(0xa0).is_some();
        fields.take(Der::INTEGER)?;
        if fields.take(Der::SEQUENCE)? != signature_algorithm {
            return None;
        }
        let issuer = fields.take(Der::SEQUENCE)?;
        let mut validity = Der(fields.take(Der::SEQUENCE)?);
        let (not_before, not_after) = (validity.take_time()?, validity.take_time()?);
        let subject = fields.take(Der::SEQUENCE)?;
        let (_, _, public_key) = fields.next().filter(|(tag, ..)| *tag == Der::SEQUENCE)?;
        // Unique identifiers, which nobody uses.
        fields.take(0x81);
        fields.take(0x82);
        let mut extensions = Vec::new();
        if let Some(wrapped) = fields.take(0xa3) {
            let mut list = Der(Der(wrapped).take(Der::SEQUENCE)?);
            while !list.0.is_empty() {
                let mut extension = Der(list.take(Der::SEQUENCE)?);
                let id = extension.take(Der::OBJECT_ID)?;
                extension.take(Der::BOOLEAN);
                extensions.push((id, extension.take(Der::OCTETS)?));
                extension.end()?;
            }
        }
        fields.end()?;
        // Version 1 is the default and not written; it has no extensions.
        let is_version_1 = !versioned && extensions.is_empty();
        (versioned || is_version_1).then_some(Self {
            is_version_1,
            signed,
            signature_algorithm,
            signature,
            issuer,
            not_before,
            not_after,
            subject,
            public_key,
            extensions,
        })
    }

    fn extension(&self, id: &[u8]) -> Option<Der<'a>> {
        self.extensions
            .iter()
            .find(|(other, _)| *other == id)
            .map(|(_, value)| Der(value))
    }

    /// Whether it is valid now and may stand for a server.
    fn check_usable(&self, now: UnixTime) -> std::result::Result<(), rustls::Error> {
        let time = |seconds| UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        if now.as_secs() < self.not_before {
            let not_before = time(self.not_before);
            return Err(CertificateError::NotValidYetContext { time: now, not_before }.into());
        }
        if now.as_secs() > self.not_after {
            return Err(CertificateError::ExpiredContext {
                time: now,
                not_after: time(self.not_after),
            }
            .into());
        }
        let Some(mut purposes) = self.extension(Self::PURPOSES) else {
            return Ok(());
        };
        let mut purposes = Der(purposes.take(Der::SEQUENCE).unwrap_or_default());
        while let Some(purpose) = purposes.take(Der::OBJECT_ID) {
            if purpose == Self::SERVER {
                return Ok(());
            }
        }
        let required = ExtendedKeyPurpose::ServerAuth;
        Err(CertificateError::InvalidPurposeContext {
            required,
            presented: Vec::new(),
        }
        .into())
    }

    /// Whether a trusted authority signed it, without others in between.
    fn is_issued_by(&self, roots: &RootCertStore, algorithms: &WebPkiSupportedAlgorithms) -> bool {
        roots.roots.iter().any(|root| {
            // What an authority's constraints say of a common name is nothing to decide here.
            root.name_constraints.is_none()
                && root.subject.as_ref() == self.issuer
                && verify_signature(
                    algorithms.all,
                    &Der::wrap(&root.subject_public_key_info),
                    Some(self.signature_algorithm),
                    self.signed,
                    self.signature,
                )
        })
    }

    /// Tag and content of each alternative name; none if they cannot be read.
    fn alternative_names(&self) -> Option<Vec<(u8, &'a [u8])>> {
        let mut all = Vec::new();
        if let Some(mut value) = self.extension(Self::ALTERNATIVE_NAMES) {
            let mut names = Der(value.take(Der::SEQUENCE)?);
            while !names.0.is_empty() {
                let (tag, name, _) = names.next()?;
                all.push((tag, name.0));
            }
        }
        Some(all)
    }

    /// The first common name of the subject.
    fn common_name(&self) -> Option<&'a str> {
        let mut subject = Der(self.subject);
        while let Some(set) = subject.take(Der::SET) {
            let mut set = Der(set);
            while let Some(attribute) = set.take(Der::SEQUENCE) {
                let mut attribute = Der(attribute);
                if attribute.take(Der::OBJECT_ID)? == Self::COMMON_NAME {
                    let (tag, text, _) = attribute.next()?;
                    // UTF8String, PrintableString, TeletexString, IA5String
                    let text =
                        Some(text.0).filter(|text| [0x0c, 0x13, 0x14, 0x16].contains(&tag) && !text.contains(&0));
                    return std::str::from_utf8(text?).ok();
                }
            }
        }
        None
    }
}

/// Reads DER from the front.
struct Der<'a>(&'a [u8]);

impl<'a> Der<'a> {
    const BOOLEAN: u8 = 0x01;
    const INTEGER: u8 = 0x02;
    const BITS: u8 = 0x03;
    const OCTETS: u8 = 0x04;
    const OBJECT_ID: u8 = 0x06;
    const UTC_TIME: u8 = 0x17;
    const TIME: u8 = 0x18;
    const SEQUENCE: u8 = 0x30;
    const SET: u8 = 0x31;

    /// Tag, content, and both with the length between them.
    fn next(&mut self) -> Option<(u8, Der<'a>, &'a [u8])> {
        let (&tag, rest) = self.0.split_first()?;
        let (&first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            ..=0x7f => (usize::from(first), rest),
            0x81..=0x83 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                (
                    bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
                    rest,
                )
            }
            _ => return None,
        };
        // Tags of several bytes occur in no certificate.
        let (content, rest) = rest.split_at_checked(length).filter(|_| tag & 0x1f != 0x1f)?;
        let whole = &self.0[..self.0.len() - rest.len()];
        self.0 = rest;
        Some((tag, Der(content), whole))
    }

    /// The content of the next element if it has this tag; otherwise it stays the next.
    fn take(&mut self, tag: u8) -> Option<&'a [u8]> {
        if self.0.first() != Some(&tag) {
            return None;
        }
        self.next().map(|(_, content, _)| content.0)
    }

    /// Whole bytes only.
    fn take_bits(&mut self) -> Option<&'a [u8]> {
        self.take(Self::BITS)?.strip_prefix(&[0])
    }

    fn end(&self) -> Option<()> {
        self.0.is_empty().then_some(())
    }

    /// Seconds since 1970; what was before counts as 1970.
    fn take_time(&mut self) -> Option<u64> {
        let (tag, text, _) = self.next()?;
        let text = std::str::from_utf8(text.0).ok()?.strip_suffix('Z')?;
        let (century, text) = match (tag, text.len()) {
            (Self::UTC_TIME, 12) => (if text.as_bytes()[0] < b'5' { 2000 } else { 1900 }, text),
            (Self::TIME, 14) => (text.get(..2)?.parse::<u64>().ok()? * 100, text.get(2..)?),
            _ => return None,
        };
        if !text.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        let part = |at: usize| text.get(at..at + 2)?.parse::<u64>().ok();
        let (year, month, day) = (century + part(0)?, part(2)?, part(4)?);
        let (hour, minute, second) = (part(6)?, part(8)?, part(10)?);
        if !(1..=12).contains(&month) || !(1..=31).contains(&day) || hour > 23 || minute > 59 || second > 60 {
            return None;
        }
        // Years begin in March here, so that the leap day is the last.
        let (year, month) = if month > 2 {
            (year, month - 3)
        } else {
            (year.checked_sub(1)?, month + 9)
        };
        let days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 + day - 1;
        let seconds = days * 86_400 + hour * 3_600 + minute * 60 + second;
        Some(seconds.saturating_sub(719_468 * 86_400))
    }

    /// The content of a sequence with its header.
    fn wrap(content: &[u8]) -> Vec<u8> {
        let length = content.len().to_be_bytes();
        let length: Vec<u8> = length.into_iter().skip_while(|byte| *byte == 0).collect();
        let header = match content.len() {
            ..=0x7f => vec![Self::SEQUENCE, content.len() as u8],
            _ => [&[Self::SEQUENCE, 0x80 | length.len() as u8], length.as_slice()].concat(),
        };
        [header.as_slice(), content].concat()
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::atomic::{AtomicU32, Ordering};

    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
        Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, NameConstraints, RevokedCertParams, SanType, SerialNumber,
        SigningKey, date_time_ymd,
    };
    use rustls::server::WebPkiClientVerifier;
    use rustls::{ClientConnection, ServerConfig, ServerConnection, SupportedProtocolVersion};

    use super::*;
    use crate::error::ErrorKind;

    /// A home directory that goes with the test.
    struct Home(PathBuf);

    impl Home {
        fn new() -> Self {
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

        fn file(&self, name: &str, text: &str) -> String {
            let file = self.0.join(name);
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
            file.display().to_string()
        }

        fn info(&self, text: &str) -> ConnInfo {
            let home = self.0.display().to_string();
            let text = format!("user=u {text}").replace("~", &home);
            ConnInfo::resolve(Some(&text), &|name| (name == "HOME").then(|| home.clone())).unwrap()
        }

        fn config(&self, text: &str) -> Result<Option<ClientConfig>> {
            client_config(&self.info(text), 0)
        }
    }

    impl Drop for Home {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).unwrap();
        }
    }

    /// A certificate with its key.
    struct Identity {
        params: CertificateParams,
        key: KeyPair,
        der: CertificateDer<'static>,
    }

    impl Identity {
        fn pem(&self) -> String {
            pem(&self.der)
        }

        fn issuer(&self) -> Issuer<'_, &KeyPair> {
            Issuer::from_params(&self.params, &self.key)
        }

        fn server_key(&self) -> CertifiedKey {
            let key = PrivateKeyDer::try_from(self.key.serialize_der()).unwrap();
            let key = rustls::crypto::ring::sign::any_supported_type(&key).unwrap();
            CertifiedKey::new(vec![self.der.clone()], key)
        }

        /// The same without version and extensions, signed again.
        fn version_1(self, issuer: Option<&Self>) -> Self {
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

    fn params(common_name: &str, names: &[&str]) -> CertificateParams {
        let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name = rcgen::DistinguishedName::new();
        params.distinguished_name.push(DnType::OrganizationName, "not the name");
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.serial_number = Some(SerialNumber::from(7));
        params
    }

    fn issue(params: CertificateParams, issuer: Option<&Identity>) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = match issuer {
            Some(issuer) => params.signed_by(&key, &issuer.issuer()),
            None => params.self_signed(&key),
        };
        let der = certificate.unwrap().der().clone();
        Identity { params, key, der }
    }

    fn authority(name: &str) -> Identity {
        let mut params = params(name, &[]);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        issue(params, None)
    }

    fn server(identity: &Identity, versions: &[&'static SupportedProtocolVersion]) -> ServerConfig {
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.server_key())))
    }

    /// Lets both sides talk until they agree or one gives up.
    fn handshake(client: ClientConfig, server: ServerConfig, host: &str) -> std::result::Result<(), rustls::Error> {
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

    const BOTH: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12, &rustls::version::TLS13];

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
    fn unusable_files_are_refused() {
        let home = Home::new();
        let root = authority("Root");
        home.file("root.crt", &root.pem());
        home.file("empty", "");
        home.file(
            "garbage",
            "-----BEGIN CERTIFICATE-----\n!!!\n-----END CERTIFICATE-----\n",
        );
        home.file(
            "nonsense",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        );
        home.file("cut", "-----BEGIN CERTIFICATE-----\nAAAA\n");
        let key = KeyPair::generate().unwrap().serialize_pem();
        home.file("key", &key);
        fs::create_dir(home.0.join("dir")).unwrap();
        for (text, message) in [
            (
                "sslmode=require sslrootcert=~/absent",
                "cannot read root certificate file",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/absent",
                "cannot read root certificate file",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/dir",
                "cannot read root certificate file",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/empty",
                "cannot read root certificate file",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/garbage",
                "cannot read root certificate file",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/cut",
                "cannot read root certificate file",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/key",
                "cannot read root certificate file",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/nonsense",
                "cannot read the root certificates",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/root.crt sslcrl=~/absent",
                "cannot read certificate revocation list",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/root.crt sslcrl=~/root.crt",
                "cannot read certificate revocation list",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/root.crt sslcrldir=~/absent",
                "cannot read certificate revocation list",
            ),
            (
                "sslmode=verify-ca sslrootcert=~/root.crt sslcrldir=~/dir",
                "cannot read certificate revocation list",
            ),
            ("sslmode=prefer sslcert=~/absent", "cannot read client certificate"),
            ("sslmode=prefer sslcert=~/key", "cannot read client certificate"),
            (
                "sslmode=prefer sslcert=~/nonsense sslkey=~/key",
                "cannot read client certificate",
            ),
            ("sslmode=prefer sslcert=~/root.crt", "cannot read private key"),
            (
                "sslmode=prefer sslcert=~/root.crt sslkey=~/dir",
                "cannot read private key",
            ),
            (
                "sslmode=prefer sslcert=~/root.crt sslkey=~/empty",
                "cannot read private key",
            ),
        ] {
            let error = home.config(&format!("host=db {text}")).unwrap_err();
            assert!(error.message().starts_with(message), "{text}: {error}");
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
            assert!(
                error.cause().is_some() && error.hint().is_some_and(|hint| hint.ends_with('.')),
                "{text}"
            );
        }
        let error = home
            .config("hostaddr=10.0.0.1 sslmode=verify-full sslrootcert=~/root.crt")
            .unwrap_err();
        assert_eq!(
            error.message(),
            "no host name to verify the server's certificate against"
        );
        assert_eq!(error.kind(), ErrorKind::Usage);
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

    #[test]
    fn client_certificates_are_presented() {
        let home = Home::new();
        let root = authority("Root");
        let identity = issue(params("x", &["db"]), Some(&root));
        let client = issue(params("u", &[]), Some(&root));
        let version_1 = issue(params("u", &[]), Some(&root)).version_1(Some(&root));
        let demanding = || {
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let mut roots = RootCertStore::empty();
            roots.add(root.der.clone()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone());
            ServerConfig::builder_with_provider(provider)
                .with_protocol_versions(BOTH)
                .unwrap()
                .with_client_cert_verifier(verifier.build().unwrap())
                .with_cert_resolver(Arc::new(SingleCertAndKey::from(identity.server_key())))
        };
        let accepted = |text: &str| {
            let config = home
                .config(&format!("host=db sslmode=require {text}"))
                .unwrap()
                .unwrap();
            handshake(config, demanding(), "db").is_ok()
        };
        home.file("c.crt", &client.pem());
        home.file("c.key", &client.key.serialize_pem());
        home.file("v1.crt", &version_1.pem());
        home.file("v1.key", &version_1.key.serialize_pem());
        assert!(!accepted(""));
        assert!(accepted("sslcert=~/c.crt sslkey=~/c.key"));
        assert!(!accepted("sslcert=~/c.crt sslkey=~/c.key sslcertmode=disable"));
        assert!(!accepted("sslkey=~/c.key"), "a key alone is nothing");
        // PostgreSQL's manual makes them of version 1; the server here is rustls and refuses them, OpenSSL does not.
        assert!(home.config("host=db sslcert=~/v1.crt sslkey=~/v1.key").is_ok());
        let error = home.config("host=db sslcert=~/c.crt sslkey=~/v1.key").unwrap_err();
        assert!(error.message().contains("does not fit"), "{error}");
        // Of the home directory
        home.file(".postgresql/postgresql.crt", &client.pem());
        let error = home.config("host=db").unwrap_err();
        assert!(error.message().starts_with("cannot read private key"), "{error}");
        home.file(".postgresql/postgresql.key", &client.key.serialize_pem());
        assert!(accepted(""));
        assert!(accepted("sslcert=~/c.crt"), "with the default key");
        assert!(!accepted("sslcertmode=disable"));
    }

    #[test]
    fn private_keys_are_private() {
        for (owner, mode, exposed) in [
            (1000, 0o100_600, false),
            (1000, 0o100_400, false),
            (1000, 0o100_640, true),
            (1000, 0o100_604, true),
            (1000, 0o100_601, true),
            (0, 0o100_600, false),
            (0, 0o100_640, false),
            (0, 0o100_440, false),
            (0, 0o100_660, true),
            (0, 0o100_650, true),
            (0, 0o100_644, true),
            (0, 0o100_641, true),
        ] {
            assert_eq!(key_is_exposed(owner, mode), exposed, "{owner} {mode:o}");
        }
        let home = Home::new();
        let client = issue(params("u", &[]), None);
        home.file("c.crt", &client.pem());
        let key = home.file("c.key", &client.key.serialize_pem());
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let error = home.config("host=db sslcert=~/c.crt sslkey=~/c.key").unwrap_err();
        assert_eq!(
            error.message(),
            format!("private key {key:?} has group or world access")
        );
        assert_eq!(error.cause(), Some("its mode is 0644"));
        for text in [
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
            "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n",
        ] {
            home.file("c.key", text);
            let error = home
                .config("host=db sslcert=~/c.crt sslkey=~/c.key sslpassword=secret")
                .unwrap_err();
            assert_eq!(error.message(), format!("private key {key:?} is encrypted"));
        }
    }

    #[test]
    fn patterns_stand_for_one_label() {
        for (pattern, host, fits) in [
            ("db", "db", true),
            ("DB.Lan", "db.lAN", true),
            ("db", "db2", false),
            ("*.lan", "db.lan", true),
            ("*.LAN", "db.lan", true),
            ("*.lan", "a.db.lan", false),
            ("*.lan", "lan", false),
            ("*.lan", ".lan", false),
            ("*", "db", false),
            ("*.", "db.", false),
            ("d*.lan", "db.lan", false),
            ("a.*.lan", "a.b.lan", false),
            ("", "db", false),
        ] {
            assert_eq!(name_fits(pattern, host), fits, "{pattern} {host}");
        }
    }

    #[test]
    fn times_are_read() {
        for (tag, text, expected) in [
            (Der::UTC_TIME, "700101000000Z", Some(0)),
            (Der::UTC_TIME, "000301000000Z", Some(951_868_800)),
            (Der::UTC_TIME, "240229235959Z", Some(1_709_251_199)),
            (Der::UTC_TIME, "491231235959Z", Some(2_524_607_999)),
            (Der::UTC_TIME, "500101000000Z", Some(0)),
            (Der::TIME, "19700101000000Z", Some(0)),
            (Der::TIME, "20500101000000Z", Some(2_524_608_000)),
            (Der::TIME, "21000301000000Z", Some(4_107_542_400)),
            (Der::TIME, "99991231235959Z", Some(253_402_300_799)),
            (Der::TIME, "00000101000000Z", None),
            (Der::TIME, "20241301000000Z", None),
            (Der::TIME, "20240100000000Z", None),
            (Der::TIME, "20240101240000Z", None),
            (Der::TIME, "2024010100000Z", None),
            (Der::TIME, "20240101000000", None),
            (Der::TIME, "20240101000000+0100", None),
            (Der::TIME, "2024010100000xZ", None),
            (Der::UTC_TIME, "+40101000000Z", None),
            (Der::UTC_TIME, "", None),
            (Der::INTEGER, "20240101000000Z", None),
        ] {
            let der = [&[tag, text.len() as u8], text.as_bytes()].concat();
            assert_eq!(Der(&der).take_time(), expected, "{tag:x} {text}");
        }
    }

    #[test]
    fn malformed_certificates_are_unreadable() {
        let root = authority("Root");
        let v3 = issue(params("db", &["db", "10.0.0.1"]), Some(&root));
        let v1 = issue(params("db", &[]), Some(&root)).version_1(Some(&root));
        for identity in [&v3, &v1] {
            let der = identity.der.as_ref();
            let read = Certificate::read(der).unwrap();
            assert_eq!(read.common_name(), Some("db"));
            for end in 0..der.len() {
                assert!(Certificate::read(&der[..end]).is_none(), "cut at {end}");
            }
            assert!(
                Certificate::read(&[der, &[0]].concat()).is_none(),
                "something behind it"
            );
            // Whatever is changed, reading it ends and does not panic.
            for at in 0..der.len() {
                for flip in [0x01, 0x20, 0x80, 0xff] {
                    let mut changed = der.to_vec();
                    changed[at] ^= flip;
                    if let Some(read) = Certificate::read(&changed) {
                        let _ = (read.common_name(), read.alternative_names());
                        let _ = read.check_usable(UnixTime::now());
                    }
                }
            }
        }
        assert!(!Certificate::read(&v3.der).unwrap().is_version_1);
        assert!(Certificate::read(&v1.der).unwrap().is_version_1);
        for der in [
            &[][..],
            &[0x30],
            &[0x30, 0x80],
            &[0x30, 0x84, 1, 0, 0, 0],
            &[0x30, 0x83, 0xff, 0xff, 0xff],
        ] {
            assert!(Certificate::read(der).is_none(), "{der:?}");
        }
    }

    #[test]
    fn what_a_version_1_certificate_covers_cannot_be_changed() {
        let root = authority("Root");
        let v1 = issue(params("db", &[]), Some(&root)).version_1(Some(&root));
        let mut roots = RootCertStore::empty();
        roots.add(root.der.clone()).unwrap();
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        let issued = |der: &[u8]| Certificate::read(der).is_some_and(|read| read.is_issued_by(&roots, &algorithms));
        assert!(issued(&v1.der));
        for at in 0..v1.der.len() {
            let mut changed = v1.der.to_vec();
            changed[at] ^= 0x01;
            assert!(!issued(&changed), "changed at {at}");
        }
    }
}
