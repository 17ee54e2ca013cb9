//! A client of the service: region, credentials, endpoint, TLS, and how long it is waited for.

use std::time::Duration;

use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{Region, SdkConfig};
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, Config, Credentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder as HttpBuilder, Connector};
use aws_types::service_config::ServiceConfigKey;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::super::Access;
use crate::error::{Error, Result};

/// How often an operation is tried; the SDK's own default, which is what it says when nobody has set a number, is 3.
const ATTEMPTS: u32 = 8;
/// At most so long before the second attempt; each further one may take twice as long, up to 20 s.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const SDK_ATTEMPTS: u32 = 3;
/// How long a connection may carry nothing.
const STALL: Duration = Duration::from_secs(60);
/// What an operation may take in one attempt, without the time for its body.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// A body that goes slower than this is given up: bytes a second.
const SLOWEST: u64 = 32 << 10;

/// Region, credentials, endpoint by the SDK's chain; path-style addresses for every endpoint that is not Amazon's.
pub(super) async fn configure(access: &Access) -> Result<Config> {
    let http = http_client(&ca_bundle()?);
    let region = match &access.region {
        Some(region) => Some(Region::new(region.clone())),
        None => {
            RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                .or_else(ProfileFileRegionProvider::new())
                .region()
                .await
        }
    };
    let mut sdk = load(access, &http, region).await;
    let custom = sdk.endpoint_url().is_some_and(|url| !url.is_empty()) || service_endpoint(&sdk).is_some();
    if sdk.region().is_none() && !custom {
        // The machine knows its region, if it is one of Amazon's.
        let provider = ProviderConfig::without_region().with_http_client(http.clone());
        let region = ImdsRegionProvider::builder()
            .configure(&provider)
            .build()
            .region()
            .await;
        if region.is_none() {
            return Err(Error::config("no region of S3 is set").with_hint(
                "Set AWS_REGION or the region of the AWS profile; AWS_ENDPOINT_URL names another S3 service.",
            ));
        }
        sdk = load(access, &http, region).await;
    }
    let region = sdk.region().cloned().unwrap_or(Region::from_static("us-east-1"));
    let attempts = sdk.retry_config().map_or(SDK_ATTEMPTS, RetryConfig::max_attempts);
    let attempts = access.attempts.unwrap_or(match attempts {
        SDK_ATTEMPTS => ATTEMPTS,
        set => set,
    });
    let checksums = std::env::var("AWS_REQUEST_CHECKSUM_CALCULATION")
        .is_ok_and(|value| value.eq_ignore_ascii_case("when_supported"));
    Ok(Builder::from(&sdk)
        .region(region)
        .force_path_style(custom)
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(attempts)
                .with_initial_backoff(FIRST_PAUSE),
        )
        .timeout_config(patience(PATIENCE))
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().grace_period(STALL).build())
        .request_checksum_calculation(match checksums {
            true => RequestChecksumCalculation::WhenSupported,
            false => RequestChecksumCalculation::WhenRequired,
        })
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .build())
}

async fn load(access: &Access, http: &SharedHttpClient, region: Option<Region>) -> SdkConfig {
    let mut loader = aws_config::from_env()
        .http_client(http.clone())
        .region(RegionProviderChain::first_try(region));
    if let Some(url) = &access.endpoint_url {
        loader = loader.endpoint_url(url);
    }
    if let Some((id, secret)) = &access.keys {
        loader = loader.credentials_provider(Credentials::new(id, secret, None, None, "tenantctl"));
    }
    loader.load().await
}

/// AWS_ENDPOINT_URL_S3, or the same of a profile's `services`.
fn service_endpoint(sdk: &SdkConfig) -> Option<String> {
    let key = ServiceConfigKey::builder()
        .service_id("S3")
        .env("AWS_ENDPOINT_URL")
        .profile("endpoint_url")
        .build()
        .ok()?;
    sdk.service_config()?.load_config(key).filter(|url| !url.is_empty())
}

/// The certificates of AWS_CA_BUNDLE, proven to be some: the SDK panics at what it cannot read.
fn ca_bundle() -> Result<Vec<u8>> {
    let Some(path) = std::env::var_os("AWS_CA_BUNDLE").filter(|path| !path.is_empty()) else {
        return Ok(Vec::new());
    };
    let refused = |cause: &dyn std::fmt::Display| {
        Error::config("AWS_CA_BUNDLE is no file of certificates")
            .with_cause(cause)
            .with_hint("It names a PEM file with the certificates of those who sign for the S3 service.")
    };
    let pem = std::fs::read(&path).map_err(|e| refused(&e))?;
    let mut roots = rustls::RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| refused(&e))?;
        roots.add(certificate).map_err(|e| refused(&e))?;
    }
    Ok(pem)
}

/// HTTP over ring's TLS, trusting the system's certificates; by the proxy of HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
fn http_client(extra_roots: &[u8]) -> SharedHttpClient {
    let mut trust = TrustStore::default();
    if !extra_roots.is_empty() {
        trust.add_pem_certificate(extra_roots);
    }
    HttpBuilder::new().build_with_connector_fn(move |settings, components| {
        let mut connector = Connector::builder()
            .tls_provider(Provider::Rustls(CryptoMode::Ring))
            .proxy_config(ProxyConfig::from_env());
        connector.set_connector_settings(settings.cloned());
        connector.set_sleep_impl(components.and_then(|c| c.sleep_impl()));
        if let Ok(context) = TlsContext::builder().with_trust_store(trust.clone()).build() {
            connector.set_tls_context(context);
        }
        connector.build()
    })
}

/// Limits of one attempt. No read timeout: it would count the time that a body takes to be sent.
pub(super) fn patience(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(10))
        .operation_attempt_timeout(attempt)
        .build()
}

/// The same for an operation with a body of this size.
pub(super) fn patience_for(bytes: usize) -> Builder {
    let body = Duration::from_secs(bytes as u64 / SLOWEST);
    Config::builder().timeout_config(patience(PATIENCE + body))
}
