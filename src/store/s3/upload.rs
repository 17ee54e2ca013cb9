//! An object on its way: one PutObject, or parts that are sent while the next is filled.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::config::Config;
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinSet;

use super::super::{Metadata, Upload};
use super::connect::{patience, patience_for};
use super::trouble::may_have_happened;
use super::{IN_FLIGHT_MIB, Inner, MIB, joined};
use crate::error::{Error, ErrorKind, Result};

/// The smallest part.
const PART: usize = 8 * MIB;
/// So many parts have the same size.
const PARTS_OF_A_SIZE: usize = 1000;
/// What S3 allows.
const PARTS_MAX: usize = 10_000;
/// Completing puts parts together on the server: minutes, for large objects.
const PATIENCE_TO_COMPLETE: Duration = Duration::from_secs(600);

/// The size of a part by the number of parts before it.
fn part_size(before: usize) -> usize {
    PART * (1 + before / PARTS_OF_A_SIZE)
}

/// An object on its way.
pub(super) struct Uploading {
    pub(super) inner: Arc<Inner>,
    /// With the store's prefix.
    pub(super) key: String,
    pub(super) metadata: Metadata,
    /// The part being filled.
    pub(super) buffer: Vec<u8>,
    /// The multipart upload, once there is one.
    pub(super) upload: Option<String>,
    pub(super) parts: JoinSet<Result<CompletedPart>>,
    pub(super) sent: Vec<CompletedPart>,
    /// How many parts were begun.
    pub(super) begun: usize,
    /// Of the whole object so far.
    pub(super) bytes: u64,
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
}
