//! An object being read, taken up again where a connection breaks.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;

use super::super::Download;
use super::Inner;
use super::trouble::words;
use crate::error::{Error, ErrorKind, Result};

/// How often a download is taken up again without having got a byte.
const RESUMES: u32 = 6;

/// An object being read.
pub(super) struct Downloading {
    pub(super) inner: Arc<Inner>,
    /// With the store's prefix.
    pub(super) key: String,
    pub(super) body: ByteStream,
    pub(super) etag: Option<String>,
    /// Of the whole object, if the service says it.
    pub(super) bytes: Option<u64>,
    /// How far it was read.
    pub(super) at: u64,
    /// How often in succession it was taken up again.
    pub(super) resumed: u32,
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
