//! The client certificate and its private key.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::certificate::Certificate;
use super::files::{default_file, exists, read, read_pem, unreadable};
use crate::error::{Error, Result};
use crate::pg::conninfo::ConnInfo;

/// The client certificate and its key, if there is one to present.
pub(super) fn client_key(info: &ConnInfo, provider: &CryptoProvider) -> Result<Option<CertifiedKey>> {
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::sync::Arc;

    use rustls::server::WebPkiClientVerifier;
    use rustls::sign::SingleCertAndKey;
    use rustls::{RootCertStore, ServerConfig};

    use super::*;
    use crate::pg::tls::tests::{BOTH, Home, authority, handshake, issue, params};

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
}
