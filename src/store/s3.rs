//! S3 and what speaks its protocol.
//!
//! An object below one part goes by one PutObject; a larger one by a multipart upload whose parts are sent while the next is
//! filled. Parts begin at 8 MiB and grow by as much every 1,000 parts, so that an object of 400 GiB fits into the 10,000 parts
//! that S3 allows. Memory: one part being filled for each upload, and [`IN_FLIGHT_MIB`] on the way for the whole store.
//!
//! Every body is signed with its SHA-256, which every server verifies. The SDK's own checksums (CRC32 in a trailer) are
//! refused by many servers and are left off, unless AWS_REQUEST_CHECKSUM_CALCULATION=when_supported asks for them: buckets
//! with Object Lock need them.

use std::error::Error as StdError;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::imds::region::ImdsRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::region::ProfileFileRegionProvider;
use aws_config::provider_config::ProviderConfig;
use aws_config::{Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, Config, Credentials, RequestChecksumCalculation, ResponseChecksumValidation, SharedHttpClient,
    StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    CompletedMultipartUpload, CompletedPart, Delete, ObjectIdentifier, ServerSideEncryption, StorageClass,
};
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};
use aws_smithy_http_client::{Builder as HttpBuilder, Connector};
use aws_types::service_config::ServiceConfigKey;
use bytes::Bytes;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;

use super::{Access, Download, Entry, Metadata, Store, Upload, WriteOptions, check_key, check_prefix, is_part};
use crate::error::{Error, ErrorKind, Result};

const MIB: usize = 1 << 20;
/// The smallest part.
const PART: usize = 8 * MIB;
/// So many parts have the same size.
const PARTS_OF_A_SIZE: usize = 1000;
/// What S3 allows.
const PARTS_MAX: usize = 10_000;
/// Bytes that are on the way at a time, over all uploads of a store.
const IN_FLIGHT_MIB: usize = 48;
/// Keys of one DeleteObjects.
const BATCH: usize = 1000;
/// How often an operation is tried; the SDK's own default, which is what it says when nobody has set a number, is 3.
const ATTEMPTS: u32 = 8;
/// At most so long before the second attempt; each further one may take twice as long, up to 20 s.
const FIRST_PAUSE: Duration = Duration::from_millis(300);
const SDK_ATTEMPTS: u32 = 3;
/// How often a download is taken up again without having got a byte.
const RESUMES: u32 = 6;
/// How long a connection may carry nothing.
const STALL: Duration = Duration::from_secs(60);
/// What an operation may take in one attempt, without the time for its body.
const PATIENCE: Duration = Duration::from_secs(60);
/// Completing puts parts together on the server: minutes, for large objects.
const PATIENCE_TO_COMPLETE: Duration = Duration::from_secs(600);
/// A body that goes slower than this is given up: bytes a second.
const SLOWEST: u64 = 32 << 10;

const CREDENTIALS_HINT: &str = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or run where the machine has a role of its own. Profiles of IAM Identity Center (SSO) are not supported: `aws configure export-credentials --format env` prints what is.";
const POLICY_HINT: &str = "Services that know no storage classes or no encryption need backup.storage_class: \"\" and backup.server_side_encryption: \"\" in the configuration.";

/// A store in a bucket.
pub struct Bucket {
    url: String,
    inner: Arc<Inner>,
}

/// What uploads and downloads share.
struct Inner {
    client: Client,
    bucket: String,
    /// Empty, or ends in `/`.
    prefix: String,
    storage_class: Option<StorageClass>,
    encryption: Option<ServerSideEncryption>,
    /// Room for bytes on the way, in MiB.
    room: Arc<Semaphore>,
    /// The server has no DeleteObjects.
    one_by_one: AtomicBool,
}

impl Bucket {
    /// The store under a prefix, which is empty or ends in `/`.
    ///
    /// # Errors
    /// Kind `config` when no region is known or the certificates of AWS_CA_BUNDLE cannot be read.
    pub async fn open(bucket: String, prefix: String, options: &WriteOptions, access: &Access) -> Result<Self> {
        let client = Client::from_conf(configure(access).await?);
        Ok(Self {
            url: format!("s3://{bucket}/{prefix}").trim_end_matches('/').to_owned(),
            inner: Arc::new(Inner {
                client,
                bucket,
                prefix,
                storage_class: options.storage_class.as_deref().map(StorageClass::from),
                encryption: options
                    .server_side_encryption
                    .as_deref()
                    .map(ServerSideEncryption::from),
                room: Arc::new(Semaphore::new(IN_FLIGHT_MIB)),
                one_by_one: AtomicBool::new(false),
            }),
        })
    }
}

/// Region, credentials, endpoint by the SDK's chain; path-style addresses for every endpoint that is not Amazon's.
async fn configure(access: &Access) -> Result<Config> {
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
fn patience(attempt: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(10))
        .operation_attempt_timeout(attempt)
        .build()
}

/// The same for an operation with a body of this size.
fn patience_for(bytes: usize) -> Builder {
    let body = Duration::from_secs(bytes as u64 / SLOWEST);
    Config::builder().timeout_config(patience(PATIENCE + body))
}

/// The size of a part by the number of parts before it.
fn part_size(before: usize) -> usize {
    PART * (1 + before / PARTS_OF_A_SIZE)
}

impl Inner {
    fn full(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }

    /// The error of an operation on an object or, without a key, on the bucket. `right` is what a policy must allow for it.
    fn failed<E>(&self, verb: &str, key: Option<&str>, right: &str, error: &SdkError<E, HttpResponse>) -> Error
    where
        E: StdError + ProvideErrorMetadata + Send + Sync + 'static,
    {
        let facts = Facts::of(error);
        let place = format!("s3://{}/{}", self.bucket, key.unwrap_or_default());
        let kind = match facts.code.as_deref() {
            Some("NoSuchKey") => ErrorKind::NotFound,
            _ => ErrorKind::Store,
        };
        Error::new(kind, format!("cannot {verb} {}", place.trim_end_matches('/')))
            .with_cause(&facts.cause)
            .with_hint(facts.hint(&self.bucket, right))
    }

    async fn get(&self, key: &str, from: u64, etag: Option<String>) -> Result<GetObjectOutput> {
        let mut request = self.client.get_object().bucket(&self.bucket).key(key);
        if from > 0 {
            request = request.range(format!("bytes={from}-")).set_if_match(etag);
        }
        let answer = request.send().await;
        answer.map_err(|e| self.failed("read", Some(key), "s3:GetObject", &e))
    }

    async fn delete(&self, key: &str) -> Result<()> {
        let answer = self.client.delete_object().bucket(&self.bucket).key(key).send().await;
        match answer.map_err(|e| self.failed("remove", Some(key), "s3:DeleteObject", &e)) {
            Err(e) if e.kind() == ErrorKind::NotFound => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// Removes up to [`BATCH`] objects at once; false when the server cannot.
    async fn delete_batch(&self, keys: &[String]) -> Result<bool> {
        let objects = keys
            .iter()
            .map(|key| ObjectIdentifier::builder().key(key).build())
            .collect::<std::result::Result<Vec<_>, _>>();
        let delete = objects.and_then(|objects| Delete::builder().set_objects(Some(objects)).quiet(true).build());
        let delete = delete.map_err(|e| Error::new(ErrorKind::Store, "cannot remove objects").with_cause(e))?;
        let answer = self
            .client
            .delete_objects()
            .bucket(&self.bucket)
            .delete(delete)
            .send()
            .await;
        let answer = match answer {
            Ok(answer) => answer,
            // Not there at all, or wanting another checksum than the one that was sent.
            Err(e) if [400, 405, 501].contains(&status(&e).unwrap_or_default()) => {
                tracing::debug!(
                    code = e.code(),
                    "DeleteObjects is refused; objects are removed one by one"
                );
                return Ok(false);
            }
            Err(e) => return Err(self.failed("remove objects of", None, "s3:DeleteObject", &e)),
        };
        let refused = answer.errors().iter().find(|e| e.code() != Some("NoSuchKey"));
        match refused {
            None => Ok(true),
            Some(e) => {
                let facts = Facts::said(e.code(), e.message(), None);
                let place = format!("s3://{}/{}", self.bucket, e.key().unwrap_or_default());
                Err(Error::new(ErrorKind::Store, format!("cannot remove {place}"))
                    .with_cause(&facts.cause)
                    .with_hint(facts.hint(&self.bucket, "s3:DeleteObject")))
            }
        }
    }

    async fn delete_one_by_one(self: &Arc<Self>, keys: &[String]) -> Result<()> {
        let mut removals = JoinSet::new();
        for key in keys {
            if removals.len() >= 8 {
                joined(removals.join_next().await)?;
            }
            let (inner, key) = (Arc::clone(self), key.clone());
            removals.spawn(async move { inner.delete(&key).await });
        }
        while !removals.is_empty() {
            joined(removals.join_next().await)?;
        }
        Ok(())
    }

    /// Ends a multipart upload; true when there was one.
    async fn abort(&self, key: &str, upload: &str) -> Result<bool> {
        let answer = self
            .client
            .abort_multipart_upload()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(upload)
            .send()
            .await;
        match answer {
            Ok(_) => Ok(true),
            Err(e) if e.code() == Some("NoSuchUpload") => Ok(false),
            Err(e) => Err(self.failed("end the upload of", Some(key), "s3:AbortMultipartUpload", &e)),
        }
    }
}

/// What became of a task that was spawned; none: there was no task.
fn joined<T>(ended: Option<std::result::Result<Result<T>, tokio::task::JoinError>>) -> Result<Option<T>> {
    match ended {
        None => Ok(None),
        Some(Ok(result)) => result.map(Some),
        Some(Err(e)) => Err(Error::new(ErrorKind::Store, "a request to S3 was broken off").with_cause(e)),
    }
}

#[async_trait]
impl Store for Bucket {
    fn url(&self) -> &str {
        &self.url
    }

    async fn create(&self, key: &str, metadata: &Metadata) -> Result<Box<dyn Upload>> {
        check_key(key)?;
        Ok(Box::new(Uploading {
            inner: Arc::clone(&self.inner),
            key: self.inner.full(key),
            metadata: metadata.clone(),
            buffer: Vec::new(),
            upload: None,
            parts: JoinSet::new(),
            sent: Vec::new(),
            begun: 0,
            bytes: 0,
        }))
    }

    async fn open(&self, key: &str) -> Result<Box<dyn Download>> {
        check_key(key)?;
        let key = self.inner.full(key);
        let answer = self.inner.get(&key, 0, None).await?;
        Ok(Box::new(Downloading {
            inner: Arc::clone(&self.inner),
            bytes: answer.content_length.and_then(|length| u64::try_from(length).ok()),
            etag: answer.e_tag,
            body: answer.body,
            key,
            at: 0,
            resumed: 0,
        }))
    }

    async fn list(&self, prefix: &str) -> Result<Vec<Entry>> {
        check_prefix(prefix)?;
        let inner = &self.inner;
        let full = inner.full(prefix);
        let request = inner.client.list_objects_v2().bucket(&inner.bucket).prefix(&full);
        let mut pages = request.into_paginator().send();
        let mut entries = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| inner.failed("list", Some(&full), "s3:ListBucket", &e))?;
            for object in page.contents.unwrap_or_default() {
                // What is no key was not written by this program: folder markers, for one.
                let key = object.key.as_deref().and_then(|key| key.strip_prefix(&inner.prefix));
                let Some(key) = key.filter(|key| check_key(key).is_ok()) else {
                    continue;
                };
                entries.push(Entry {
                    key: key.to_owned(),
                    bytes: object
                        .size
                        .and_then(|size| u64::try_from(size).ok())
                        .unwrap_or_default(),
                    modified: object
                        .last_modified
                        .and_then(|moment| SystemTime::try_from(moment).ok())
                        .unwrap_or(SystemTime::UNIX_EPOCH),
                });
            }
        }
        entries.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(entries)
    }

    async fn folders(&self, prefix: &str) -> Result<Vec<String>> {
        check_prefix(prefix)?;
        let inner = &self.inner;
        let full = inner.full(prefix);
        let request = inner.client.list_objects_v2().bucket(&inner.bucket).prefix(&full);
        let mut pages = request.delimiter("/").into_paginator().send();
        let mut names = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|e| inner.failed("list", Some(&full), "s3:ListBucket", &e))?;
            for folder in page.common_prefixes.unwrap_or_default() {
                let name = folder.prefix.as_deref().and_then(|name| name.strip_prefix(&full));
                let name = name.and_then(|name| name.strip_suffix('/'));
                names.extend(name.filter(|name| is_part(name)).map(str::to_owned));
            }
        }
        names.sort();
        Ok(names)
    }

    async fn remove(&self, keys: &[String]) -> Result<()> {
        keys.iter().try_for_each(|key| check_key(key))?;
        let Some((first, rest)) = keys.split_first() else {
            return Ok(());
        };
        let inner = &self.inner;
        inner.delete(&inner.full(first)).await?;
        let rest: Vec<String> = rest.iter().map(|key| inner.full(key)).collect();
        for batch in rest.chunks(BATCH) {
            if !inner.one_by_one.load(Ordering::Relaxed) {
                if inner.delete_batch(batch).await? {
                    continue;
                }
                inner.one_by_one.store(true, Ordering::Relaxed);
            }
            inner.delete_one_by_one(batch).await?;
        }
        Ok(())
    }

    async fn remove_unfinished(&self, prefix: &str) -> Result<usize> {
        check_prefix(prefix)?;
        let inner = &self.inner;
        let full = inner.full(prefix);
        let (mut after_key, mut after_upload) = (None, None);
        let mut removed = 0;
        loop {
            let request = inner
                .client
                .list_multipart_uploads()
                .bucket(&inner.bucket)
                .prefix(&full);
            let page = request
                .set_key_marker(after_key)
                .set_upload_id_marker(after_upload)
                .send()
                .await;
            let page = match page {
                Ok(page) => page,
                Err(e) if [405, 501].contains(&status(&e).unwrap_or_default()) => {
                    tracing::warn!(
                        bucket = inner.bucket,
                        "the S3 service cannot list unfinished uploads; give the bucket a rule that ends them"
                    );
                    return Ok(removed);
                }
                Err(e) => {
                    return Err(inner.failed(
                        "list unfinished uploads of",
                        Some(&full),
                        "s3:ListBucketMultipartUploads",
                        &e,
                    ));
                }
            };
            for upload in page.uploads() {
                if let (Some(key), Some(id)) = (upload.key(), upload.upload_id())
                    && key.starts_with(&full)
                    && inner.abort(key, id).await?
                {
                    removed += 1;
                }
            }
            if !page.is_truncated.unwrap_or_default() || page.next_key_marker.is_none() {
                return Ok(removed);
            }
            (after_key, after_upload) = (page.next_key_marker, page.next_upload_id_marker);
        }
    }

    async fn probe(&self) -> Result<()> {
        let inner = &self.inner;
        let request = inner.client.list_objects_v2().bucket(&inner.bucket).max_keys(1);
        let answer = request.prefix(&inner.prefix).send().await;
        answer
            .map(|_| ())
            .map_err(|e| inner.failed("use", None, "s3:ListBucket", &e))
    }
}

/// An object on its way.
struct Uploading {
    inner: Arc<Inner>,
    /// With the store's prefix.
    key: String,
    metadata: Metadata,
    /// The part being filled.
    buffer: Vec<u8>,
    /// The multipart upload, once there is one.
    upload: Option<String>,
    parts: JoinSet<Result<CompletedPart>>,
    sent: Vec<CompletedPart>,
    /// How many parts were begun.
    begun: usize,
    /// Of the whole object so far.
    bytes: u64,
}

impl Uploading {
    /// Values of headers are ASCII.
    fn user_metadata(&self) -> std::collections::HashMap<String, String> {
        let encoded =
            |value: &str| percent_encoding::utf8_percent_encode(value, percent_encoding::CONTROLS).to_string();
        let pairs = self.metadata.0.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), encoded(value)))
            .collect()
    }

    /// Appends without taking more memory than a part has.
    fn fill(&mut self, bytes: &[u8], size: usize) {
        let needed = self.buffer.len() + bytes.len();
        if needed > self.buffer.capacity() {
            let wanted = needed.max(self.buffer.capacity() * 2).min(size);
            self.buffer.reserve_exact(wanted - self.buffer.len());
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// Sends the buffer as the next part, once there is room for it.
    async fn send_part(&mut self) -> Result<()> {
        if self.begun >= PARTS_MAX {
            return Err(Error::new(
                ErrorKind::Store,
                format!("s3://{}/{} is too large for S3", self.inner.bucket, self.key),
            )
            .with_cause(format!("{} bytes take more than {PARTS_MAX} parts", self.bytes)));
        }
        let upload = match &self.upload {
            Some(upload) => upload.clone(),
            None => self.begin().await?,
        };
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        let room = u32::try_from(bytes.len().div_ceil(MIB).clamp(1, IN_FLIGHT_MIB)).unwrap_or(1);
        let permit = Arc::clone(&self.inner.room).acquire_many_owned(room).await;
        let permit = permit.map_err(|e| Error::new(ErrorKind::Store, "the store is closed").with_cause(e))?;
        while let Some(part) = self.parts.try_join_next() {
            self.sent.extend(joined(Some(part))?);
        }
        self.begun += 1;
        let number = i32::try_from(self.begun).unwrap_or(i32::MAX);
        let (inner, key) = (Arc::clone(&self.inner), self.key.clone());
        self.parts
            .spawn(async move { inner.upload_part(&key, &upload, number, bytes, permit).await });
        Ok(())
    }

    async fn begin(&mut self) -> Result<String> {
        let inner = &self.inner;
        let request = inner
            .client
            .create_multipart_upload()
            .bucket(&inner.bucket)
            .key(&self.key);
        let answer = request
            .set_metadata(Some(self.user_metadata()))
            .set_storage_class(inner.storage_class.clone())
            .set_server_side_encryption(inner.encryption.clone())
            .send()
            .await;
        let answer = answer.map_err(|e| inner.failed("write", Some(&self.key), "s3:PutObject", &e))?;
        let upload = answer.upload_id.ok_or_else(|| {
            Error::new(
                ErrorKind::Store,
                format!("cannot write s3://{}/{}", inner.bucket, self.key),
            )
            .with_cause("the service gave the upload no id")
        })?;
        self.upload = Some(upload.clone());
        Ok(upload)
    }

    async fn put(&mut self) -> Result<()> {
        let bytes = Bytes::from(std::mem::take(&mut self.buffer));
        let inner = &self.inner;
        let room = u32::try_from(bytes.len().div_ceil(MIB).max(1)).unwrap_or(1);
        let _permit = inner.room.acquire_many(room).await;
        let length = bytes.len();
        let request = inner.client.put_object().bucket(&inner.bucket).key(&self.key);
        let answer = request
            .set_metadata(Some(self.user_metadata()))
            .set_storage_class(inner.storage_class.clone())
            .set_server_side_encryption(inner.encryption.clone())
            .body(ByteStream::from(bytes))
            .customize()
            .config_override(patience_for(length))
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            Err(e) => {
                if may_have_happened(&e)
                    && let Err(error) = inner.delete(&self.key).await
                {
                    tracing::warn!(key = self.key, %error, "an object that was not confirmed may be there");
                }
                Err(inner.failed("write", Some(&self.key), "s3:PutObject", &e))
            }
        }
    }

    async fn complete(&mut self, upload: &str) -> Result<()> {
        if !self.buffer.is_empty() {
            self.send_part().await?;
        }
        while !self.parts.is_empty() {
            self.sent.extend(joined(self.parts.join_next().await)?);
        }
        self.sent.sort_by_key(CompletedPart::part_number);
        let inner = &self.inner;
        let parts = CompletedMultipartUpload::builder()
            .set_parts(Some(std::mem::take(&mut self.sent)))
            .build();
        let request = inner
            .client
            .complete_multipart_upload()
            .bucket(&inner.bucket)
            .key(&self.key);
        let answer = request
            .upload_id(upload)
            .multipart_upload(parts)
            .customize()
            .config_override(Config::builder().timeout_config(patience(PATIENCE_TO_COMPLETE)))
            .send()
            .await;
        match answer {
            Ok(_) => Ok(()),
            // An attempt whose answer was lost has done it.
            Err(e) if e.code() == Some("NoSuchUpload") && self.is_there().await => Ok(()),
            Err(e) => {
                if may_have_happened(&e) && self.is_there().await {
                    return Ok(());
                }
                Err(inner.failed("write", Some(&self.key), "s3:PutObject", &e))
            }
        }
    }

    async fn is_there(&self) -> bool {
        let inner = &self.inner;
        let answer = inner
            .client
            .head_object()
            .bucket(&inner.bucket)
            .key(&self.key)
            .send()
            .await;
        answer.is_ok_and(|facts| facts.content_length().and_then(|n| u64::try_from(n).ok()) == Some(self.bytes))
    }

    async fn give_up(&mut self) {
        self.buffer = Vec::new();
        self.parts.shutdown().await;
        if let Some(upload) = self.upload.take()
            && let Err(error) = self.inner.abort(&self.key, &upload).await
        {
            tracing::warn!(key = self.key, %error, cause = error.cause(), "an unfinished upload is left behind");
        }
    }
}

impl Inner {
    async fn upload_part(
        &self,
        key: &str,
        upload: &str,
        number: i32,
        bytes: Bytes,
        _room: OwnedSemaphorePermit,
    ) -> Result<CompletedPart> {
        let length = bytes.len();
        let request = self
            .client
            .upload_part()
            .bucket(&self.bucket)
            .key(key)
            .upload_id(upload);
        let answer = request
            .part_number(number)
            .body(ByteStream::from(bytes))
            .customize()
            .config_override(patience_for(length))
            .send()
            .await
            .map_err(|e| self.failed("write", Some(key), "s3:PutObject", &e))?;
        Ok(CompletedPart::builder()
            .part_number(number)
            .set_e_tag(answer.e_tag)
            .set_checksum_crc32(answer.checksum_crc32)
            .set_checksum_crc32_c(answer.checksum_crc32_c)
            .set_checksum_crc64_nvme(answer.checksum_crc64_nvme)
            .set_checksum_sha1(answer.checksum_sha1)
            .set_checksum_sha256(answer.checksum_sha256)
            .build())
    }
}

#[async_trait]
impl Upload for Uploading {
    async fn write(&mut self, bytes: Bytes) -> Result<()> {
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            let size = part_size(self.begun);
            if self.buffer.len() == size {
                self.send_part().await?;
                continue;
            }
            let (now, later) = rest.split_at(rest.len().min(size - self.buffer.len()));
            self.fill(now, size);
            self.bytes += now.len() as u64;
            rest = later;
        }
        Ok(())
    }

    async fn finish(mut self: Box<Self>) -> Result<()> {
        let Some(upload) = self.upload.clone() else {
            return self.put().await;
        };
        match self.complete(&upload).await {
            Ok(()) => {
                self.upload = None;
                Ok(())
            }
            Err(error) => {
                self.give_up().await;
                Err(error)
            }
        }
    }

    async fn abort(mut self: Box<Self>) {
        self.give_up().await;
    }
}

impl Drop for Uploading {
    fn drop(&mut self) {
        if let Some(upload) = self.upload.take()
            && let Ok(runtime) = tokio::runtime::Handle::try_current()
        {
            let (inner, key) = (Arc::clone(&self.inner), std::mem::take(&mut self.key));
            self.parts.abort_all();
            runtime.spawn(async move {
                if let Err(error) = inner.abort(&key, &upload).await {
                    tracing::warn!(key, %error, "an unfinished upload is left behind");
                }
            });
        }
    }
}

/// An object being read.
struct Downloading {
    inner: Arc<Inner>,
    /// With the store's prefix.
    key: String,
    body: ByteStream,
    etag: Option<String>,
    /// Of the whole object, if the service says it.
    bytes: Option<u64>,
    /// How far it was read.
    at: u64,
    /// How often in succession it was taken up again.
    resumed: u32,
}

impl Downloading {
    fn broken(&self, cause: impl std::fmt::Display) -> Error {
        Error::new(
            ErrorKind::Store,
            format!("cannot read s3://{}/{}", self.inner.bucket, self.key),
        )
        .with_cause(cause)
        .with_hint("The connection broke off again and again. Check the network, then run the command again.")
    }

    /// Asks for the rest after a connection has broken.
    async fn resume(&mut self, cause: String) -> Result<()> {
        self.resumed += 1;
        if self.resumed > RESUMES {
            return Err(self.broken(cause));
        }
        tracing::debug!(key = self.key, at = self.at, cause, "a download is taken up again");
        tokio::time::sleep(Duration::from_millis(100) * 2_u32.pow(self.resumed)).await;
        let answer = self.inner.get(&self.key, self.at, self.etag.clone()).await;
        // It was there a moment ago.
        let answer = answer.map_err(|e| e.with_kind(ErrorKind::Store))?;
        let left = answer.content_length.and_then(|length| u64::try_from(length).ok());
        let expected = self.bytes.map(|bytes| bytes - self.at);
        if left != expected || (self.at > 0 && answer.content_range.is_none()) {
            return Err(self.broken(format!(
                "{cause}; the service does not give the rest of an object alone"
            )));
        }
        self.body = answer.body;
        Ok(())
    }
}

#[async_trait]
impl Download for Downloading {
    async fn read(&mut self) -> Result<Option<Bytes>> {
        loop {
            if self.bytes == Some(self.at) {
                return Ok(None);
            }
            let cause = match self.body.next().await {
                Some(Ok(bytes)) if bytes.is_empty() => continue,
                Some(Ok(bytes)) => {
                    self.at += bytes.len() as u64;
                    if self.bytes.is_some_and(|all| self.at > all) {
                        return Err(self.broken("it is longer than the service said"));
                    }
                    self.resumed = 0;
                    return Ok(Some(bytes));
                }
                Some(Err(error)) => words(&error),
                None if self.bytes.is_none() => return Ok(None),
                None => "it ended early".to_owned(),
            };
            self.resume(cause).await?;
        }
    }
}

/// Whether a failed request may have done its work all the same.
fn may_have_happened<E>(error: &SdkError<E, HttpResponse>) -> bool {
    match error {
        SdkError::ConstructionFailure(_) => false,
        SdkError::ServiceError(e) => e.raw().status().is_server_error(),
        _ => true,
    }
}

fn status<E>(error: &SdkError<E, HttpResponse>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

/// An error and what it comes from, as far as it says anything new. The payload of an I/O error is not its source.
fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| match error.downcast_ref::<io::Error>() {
        Some(io) => io.get_ref().map(|inner| inner as &(dyn StdError + 'static)),
        None => error.source(),
    })
}

fn words(error: &(dyn StdError + 'static)) -> String {
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
struct Facts {
    cause: String,
    code: Option<String>,
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
    fn said(code: Option<&str>, message: Option<&str>, status: Option<u16>) -> Self {
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

    fn of<E>(error: &SdkError<E, HttpResponse>) -> Self
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

    fn hint(&self, bucket: &str, right: &str) -> String {
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
    fn parts_grow_so_that_large_objects_fit() {
        assert_eq!(part_size(0), 8 * MIB);
        assert_eq!(part_size(999), 8 * MIB);
        assert_eq!(part_size(1000), 16 * MIB);
        let most: u64 = (0..PARTS_MAX).map(|n| part_size(n) as u64).sum();
        assert!(most > 400 << 30, "{most}");
        assert!(part_size(PARTS_MAX - 1) <= 80 * MIB);
    }

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
