//! TLS as libpq does it: what is verified follows from `sslmode` and from which files exist.
//!
//! rustls and webpki verify what they can parse. Three things that libpq accepts and webpki does not are added here,
//! because PostgreSQL's own manual produces such certificates: a self-signed server certificate that is its own root
//! file, X.509 version 1, and a host name in the subject's common name only. In every mode, the server proves that it
//! holds the key of the certificate it presents.

mod certificate;
mod client_key;
mod der;
mod files;
mod name;
#[cfg(test)]
mod tests;
mod trust;
mod verifier;

use std::sync::Arc;

use rustls::client::ClientConfig;
use rustls::sign::SingleCertAndKey;
use tokio_postgres_rustls::MakeRustlsConnect;

use self::client_key::client_key;
use self::trust::Trust;
use self::verifier::Verifier;
use crate::error::{Error, Result};
use crate::pg::conninfo::{ConnInfo, SslMode, SslNegotiation, TlsVersion};

/// Makes ring the provider of libraries that take the process's: without one, or with several compiled in, they panic.
/// May be called again; whoever was first stays.
pub fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

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
