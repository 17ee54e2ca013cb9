//! Verifies as much of a server's certificate as `sslmode` asks for.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::{CertificateError, DigitallySignedStruct, SignatureScheme};

use super::certificate::{Certificate, verify_signature};
use super::name::verify_name;
use super::trust::Trust;

/// What one connection verifies.
#[derive(Debug)]
pub(super) struct Verifier {
    pub(super) algorithms: WebPkiSupportedAlgorithms,
    /// None verifies no certificate.
    pub(super) trust: Option<Trust>,
    /// Whether the certificate has to be made out to the host.
    pub(super) name: bool,
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
        if verify_signature(candidates, key, None, message, dss.signature()) {
            Ok(HandshakeSignatureValid::assertion())
        } else {
            Err(CertificateError::BadSignature.into())
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

/// The public key of a certificate that webpki cannot parse because of its version.
fn version_1_key<'a>(cert: &'a CertificateDer<'_>) -> Option<&'a [u8]> {
    Certificate::parse(cert)
        .ok()
        .filter(|cert| cert.is_version_1)
        .map(|cert| cert.public_key)
}
