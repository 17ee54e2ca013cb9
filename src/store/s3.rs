//! S3 and what speaks its protocol.
//!
//! An object below one part goes by one PutObject; a larger one by a multipart upload whose parts are sent while the next is
//! filled. Parts begin at 8 MiB and grow by as much every 1,000 parts, so that an object of 400 GiB fits into the 10,000 parts
//! that S3 allows. Memory: one part being filled for each upload, and [`IN_FLIGHT_MIB`] on the way for the whole store.
//!
//! Every body is signed with its SHA-256, which every server verifies. The SDK's own checksums (CRC32 in a trailer) are
//! refused by many servers and are left off, unless AWS_REQUEST_CHECKSUM_CALCULATION=when_supported asks for them: buckets
//! with Object Lock need them.

mod connect;
mod download;
mod trouble;
mod upload;

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::types::{Delete, ObjectIdentifier, ServerSideEncryption, StorageClass};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use self::connect::configure;
use self::download::Downloading;
use self::trouble::{Facts, status};
use self::upload::Uploading;
use super::{Access, Download, Entry, Metadata, Store, Upload, WriteOptions, check_key, check_prefix, is_part};
use crate::error::{Error, ErrorKind, Result};

const MIB: usize = 1 << 20;
/// Bytes that are on the way at a time, over all uploads of a store.
const IN_FLIGHT_MIB: usize = 48;
/// Keys of one DeleteObjects.
const BATCH: usize = 1000;

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
