//! Whether a certificate is made out to a host.

use std::net::IpAddr;

use rustls::CertificateError;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::server::ParsedCertificate;

use super::certificate::Certificate;

/// Whether a certificate is made out to a host. libpq takes more than webpki: `*.lan` is a wildcard too, an address may
/// be written as a name, and the common name counts if there is no alternative name of the host's kind.
pub(super) fn verify_name(leaf: &CertificateDer<'_>, name: &ServerName<'_>) -> std::result::Result<(), rustls::Error> {
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
    if presented.iter().any(|pattern| fits(pattern)) {
        return Ok(());
    }
    Err(CertificateError::NotValidForNameContext {
        expected: name.to_owned(),
        presented: presented.iter().map(|name| format!("{name:?}")).collect(),
    }
    .into())
}

/// Case-insensitively; `*.` at the start stands for one label.
fn name_fits(pattern: &str, host: &str) -> bool {
    let below = |domain: &str| {
        host.split_once('.')
            .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain))
    };
    pattern.eq_ignore_ascii_case(host) || pattern.strip_prefix("*.").is_some_and(|d| !d.is_empty() && below(d))
}

pub(super) fn is_name_error(error: &rustls::Error) -> bool {
    use CertificateError::{NotValidForName, NotValidForNameContext};
    matches!(
        error,
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. })
    )
}

#[cfg(test)]
mod tests {
    use super::name_fits;

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
}
