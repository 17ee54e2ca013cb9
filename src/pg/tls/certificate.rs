//! What is read of an X.509 certificate beside webpki, for what webpki does not take.

use rustls::crypto::WebPkiSupportedAlgorithms;
use rustls::pki_types::{CertificateDer, SignatureVerificationAlgorithm, UnixTime};
use rustls::{CertificateError, ExtendedKeyPurpose, RootCertStore};

use super::der::Der;

/// What is read here of an X.509 certificate. Anything malformed makes the whole of it unreadable.
pub(super) struct Certificate<'a> {
    pub(super) is_version_1: bool,
    /// With its header: what the issuer signed.
    signed: &'a [u8],
    signature_algorithm: &'a [u8],
    signature: &'a [u8],
    issuer: &'a [u8],
    not_before: u64,
    not_after: u64,
    subject: &'a [u8],
    /// With its header.
    pub(super) public_key: &'a [u8],
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
    pub(super) const DNS_NAME: u8 = 0x82;
    pub(super) const ADDRESS: u8 = 0x87;
    /// id-at-commonName.
    const COMMON_NAME: &'static [u8] = &[0x55, 0x04, 0x03];

    pub(super) fn parse(der: &'a CertificateDer<'_>) -> std::result::Result<Self, rustls::Error> {
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
    pub(super) fn check_usable(&self, now: UnixTime) -> std::result::Result<(), rustls::Error> {
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
        Err(CertificateError::InvalidPurposeContext {
            required: ExtendedKeyPurpose::ServerAuth,
            presented: Vec::new(),
        }
        .into())
    }

    /// Whether a trusted authority signed it, without others in between.
    pub(super) fn is_issued_by(&self, roots: &RootCertStore, algorithms: &WebPkiSupportedAlgorithms) -> bool {
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
    pub(super) fn alternative_names(&self) -> Option<Vec<(u8, &'a [u8])>> {
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
    pub(super) fn common_name(&self) -> Option<&'a str> {
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

/// Whether one of the algorithms fits the key (and the algorithm named beside the signature) and the signature.
pub(super) fn verify_signature(
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::tls::tests::{authority, issue, params};

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
