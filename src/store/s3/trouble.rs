//! What a failed request says: cause, code, and what to do about it.

use std::error::Error as StdError;
use std::io;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};

const CREDENTIALS_HINT: &str = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where the machine has a role of its own. Profiles of IAM Identity Center (SSO) are not supported: `aws configure export-credentials --format env` prints what is.";
const POLICY_HINT: &str = "Services that know no storage classes or no encryption need backup.storage_class: \"\" and backup.server_side_encryption: \"\" in the configuration.";

/// Whether a failed request may have done its work all the same.
pub(super) fn may_have_happened<E>(error: &SdkError<E, HttpResponse>) -> bool {
    match error {
        SdkError::ConstructionFailure(_) => false,
        SdkError::ServiceError(e) => e.raw().status().is_server_error(),
        _ => true,
    }
}

pub(super) fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// An error and what it comes from, as far as it says anything new. The payload of an I/O error is not its source.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    })
}

pub(super) fn words(error: &(dyn StdError + 'static)) -> String {
    let mut words = String::new();
    for error in chain(error) {
        let text = error.to_string();
        if words.ends_with(&text) {
            continue;
        }
        if !words.is_empty() {
            words.push_str(": ");
        }
        words.push_str(&text);
    }
    words
}

/// What is known of a failed request.
pub(super) struct Facts {
    pub(super) cause: String,
    pub(super) code: Option<String>,
    status: Option<u16>,
    /// The region that the service says the bucket is in.
    region: Option<String>,
    trouble: Trouble,
}

/// Where a request failed that the service has not answered.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trouble {
    None,
    NoCredentials,
    BadCredentials,
    Untrusted,
    Unreachable,
}

impl Facts {
    pub(super) fn said(code: Option<&str>, message: Option<&str>, status: Option<u16>) -> Self {
        let mut cause = match (code, message) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(text), None) | (None, Some(text)) => text.to_owned(),
            (None, None) => "the service gave no reason".to_owned(),
        };
        if let Some(status) = status {
            cause.push_str(&format!(" (HTTP {status})"));
        }
        Self {
            cause,
            code: code.map(str::to_owned),
            status,
            region: None,
            trouble: Trouble::None,
        }
    }

    pub(super) fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
    where
        E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let status = status(error);
        if let SdkError::ServiceError(_) = error {
            let mut facts = Self::said(error.code(), error.message(), status);
            let region = error
                .raw_response()
                .and_then(|r| r.headers().get("x-amz-bucket-region"));
            facts.region = region.map(str::to_owned);
            return facts;
        }
        let source: &(dyn StdError + 'static) = error;
        let mut trouble = Trouble::Unreachable;
        for error in chain(source) {
            if let Some(error) = error.downcast_ref::<CredentialsError>() {
                trouble = match error {
                    CredentialsError::CredentialsNotLoaded(_) => Trouble::NoCredentials,
                    _ => Trouble::BadCredentials,
                };
                break;
            }
            if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref::<rustls::Error>() {
                trouble = Trouble::Untrusted;
                break;
            }
        }
        Self {
            cause: words(source.source().unwrap_or(source)),
            code: None,
            status,
            region: None,
            trouble,
        }
    }

    pub(super) fn hint(&self, bucket: &str, right: &str) -> String {
        match self.trouble {
            Trouble::NoCredentials => return format!("No credentials were found. {CREDENTIALS_HINT}"),
            Trouble::BadCredentials => return format!("The credentials could not be had. {CREDENTIALS_HINT}"),
            Trouble::Untrusted => {
                return "The certificate of the S3 service is not trusted. Add its signer to the system's certificates, or name a PEM file with it as AWS_CA_BUNDLE.".to_owned();
            }
            Trouble::Unreachable => {
                return "The S3 service was not reached, or stopped answering. Check AWS_ENDPOINT_URL, the network and HTTPS_PROXY.".to_owned();
            }
            Trouble::None => {}
        }
        let refused = "The service does not accept the credentials. Check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or AWS_PROFILE, and that they are of this service (AWS_ENDPOINT_URL).";
        match (self.code.as_deref(), self.status) {
            (Some("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "InvalidSecurity" | "NotSignedUp"), _) => {
                refused.to_owned()
            }
            (Some("ExpiredToken" | "TokenRefreshRequired"), _) => {
                "The session token has run out. Get new credentials.".to_owned()
            }
            (Some("NoSuchBucket"), _) => {
                format!("Make the bucket {bucket}, or correct the store's URL: tenantctl makes no buckets.")
            }
            (Some("RequestTimeTooSkewed" | "RequestExpired"), _) => {
                "This machine's clock and the service's differ too much. Set the clock, by NTP for one.".to_owned()
            }
            (Some("PermanentRedirect" | "AuthorizationHeaderMalformed"), _) | (_, Some(301 | 307)) => {
                match &self.region {
                    Some(region) => format!("The bucket {bucket} is in region {region}: set AWS_REGION={region}."),
                    None => format!("Set AWS_REGION to the region of the bucket {bucket}, and AWS_ENDPOINT_URL to its service."),
                }
            }
            (Some("InvalidObjectState"), _) => {
                "The object lies in a storage class that has to be thawed. Ask S3 to restore it, wait, and run the command again.".to_owned()
            }
            (Some("NoSuchKey"), _) => {
                "Check the store's URL and that the object was not removed meanwhile.".to_owned()
            }
            (Some("PreconditionFailed"), _) => {
                "The object was replaced while it was read. Run the command again.".to_owned()
            }
            (
                Some("InvalidStorageClass" | "ServerSideEncryptionConfigurationNotFoundError" | "InvalidEncryptionAlgorithmError"),
                _,
            ) => POLICY_HINT.to_owned(),
            (Some(code), _) if code.starts_with("KMS") || code.starts_with("Kms") => {
                "Check the rights on the KMS key, or set backup.server_side_encryption to AES256 or \"\".".to_owned()
            }
            (_, Some(403)) | (Some("AccessDenied"), _) => {
                format!("The credentials are known but lack a right: allow {right} on the bucket {bucket} and what is in it.")
            }
            (_, Some(401)) => refused.to_owned(),
            (Some("SlowDown" | "ServiceUnavailable"), _) | (_, Some(429 | 503)) => {
                "The service is overloaded. Run the command again later, or with fewer --jobs.".to_owned()
            }
            (_, Some(400 | 501)) => POLICY_HINT.to_owned(),
            _ => "Look into the service's own log. The request was tried several times.".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_follow_the_service_s_code() {
        for (code, status, expected) in [
            (Some("SignatureDoesNotMatch"), 403, "does not accept the credentials"),
            (Some("InvalidAccessKeyId"), 403, "does not accept the credentials"),
            (Some("AccessDenied"), 403, "allow s3:PutObject on the bucket b"),
            (None, 403, "allow s3:PutObject"),
            (Some("NoSuchBucket"), 404, "Make the bucket b"),
            (Some("PermanentRedirect"), 301, "AWS_REGION"),
            (Some("RequestTimeTooSkewed"), 403, "clock"),
            (Some("InvalidStorageClass"), 400, "backup.storage_class: \"\""),
            (Some("NotImplemented"), 501, "backup.server_side_encryption: \"\""),
            (Some("SlowDown"), 503, "overloaded"),
            (Some("InvalidObjectState"), 403, "thawed"),
        ] {
            let hint = Facts::said(code, Some("x"), Some(status)).hint("b", "s3:PutObject");
            assert!(hint.contains(expected), "{code:?} {status}: {hint}");
        }
    }

    #[test]
    fn causes_are_told_once_each() {
        let error = io::Error::other(io::Error::new(io::ErrorKind::ConnectionReset, "reset by peer"));
        assert_eq!(words(&error), "reset by peer");
    }
}
