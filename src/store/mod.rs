//! Where backups lie: objects under keys, in a local folder or in S3. Knows nothing of what is in them.
//!
//! A key is relative to the store's URL: parts of `[A-Za-z0-9._%-]` joined by `/`, none of them `.` or `..`. An object is
//! there whole or not at all: it appears with [`Upload::finish`], and an upload that is not finished leaves nothing that
//! [`Store::list`] shows.

mod folder;
mod s3;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::Result;

/// An object in a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the store.
    pub key: String,
    /// Its size.
    pub bytes: u64,
    /// When it was written, by the store's clock.
    pub modified: SystemTime,
}

/// What S3 is told of an object; a folder keeps no such thing.
#[derive(Clone, Debug, Default)]
pub struct Metadata(pub BTreeMap<&'static str, String>);

/// How objects are written to S3.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// `STANDARD_IA` and the like; none: the bucket's default.
    pub storage_class: Option<String>,
    /// `AES256` or `aws:kms`; none: the bucket's default.
    pub server_side_encryption: Option<String>,
}

/// A place for objects.
#[async_trait]
pub trait Store: Send + Sync {
    /// The URL, without credentials, as the registry keeps it.
    fn url(&self) -> &str;

    /// Begins to write an object. Nothing is visible before [`Upload::finish`].
    ///
    /// # Errors
    /// Kind `store`.
    async fn create(&self, key: &str, metadata: &Metadata) -> Result<Box<dyn Upload>>;

    /// Reads an object from its start.
    ///
    /// # Errors
    /// Kind `store`; `not_found` when there is no such object.
    async fn open(&self, key: &str) -> Result<Box<dyn Download>>;

    /// The objects whose keys begin with a prefix that ends in `/` or is empty, by key.
    ///
    /// # Errors
    /// Kind `store`. A prefix under which there is nothing gives an empty list.
    async fn list(&self, prefix: &str) -> Result<Vec<Entry>>;

    /// The names directly below a prefix that have something below themselves, without slashes: `a` for `prefix/a/b`.
    ///
    /// # Errors
    /// Kind `store`.
    async fn folders(&self, prefix: &str) -> Result<Vec<String>>;

    /// Removes objects; one that is not there is no error. In the order given, as far as it matters to a reader that
    /// comes meanwhile: the first is gone before the others are touched.
    ///
    /// # Errors
    /// Kind `store`.
    async fn remove(&self, keys: &[String]) -> Result<()>;

    /// Ends and removes uploads under a prefix that were begun and not finished, of a client that has died. Returns how
    /// many there were.
    ///
    /// # Errors
    /// Kind `store`.
    async fn remove_unfinished(&self, prefix: &str) -> Result<usize>;

    /// Finds out whether the store can be written to at all, before anything is sent: the folder can be made, the bucket
    /// exists and the credentials are accepted.
    ///
    /// # Errors
    /// Kind `store`, with a hint.
    async fn probe(&self) -> Result<()>;
}

/// An object being written.
#[async_trait]
pub trait Upload: Send {
    /// Appends bytes; waits while too much is under way.
    ///
    /// # Errors
    /// Kind `store`; the upload is then of no use any more and is to be aborted.
    async fn write(&mut self, bytes: Bytes) -> Result<()>;

    /// Makes the object visible, durably and whole.
    ///
    /// # Errors
    /// Kind `store`; nothing is visible then.
    async fn finish(self: Box<Self>) -> Result<()>;

    /// Gives it up and takes back what was sent. Errors are logged: there is nothing that a caller could do.
    async fn abort(self: Box<Self>);
}

/// An object being read.
#[async_trait]
pub trait Download: Send {
    /// The next bytes, of whatever number above zero; none at the end.
    ///
    /// # Errors
    /// Kind `store`, also when the object ends early.
    async fn read(&mut self) -> Result<Option<Bytes>>;
}

/// Opens the store of a URL: `file:///folder` or `s3://bucket/prefix`. Contacts nobody yet.
///
/// # Errors
/// Kinds `usage` and `config`.
pub async fn open(url: &str, options: &WriteOptions) -> Result<Arc<dyn Store>> {
    if url.starts_with("s3://") {
        return Ok(Arc::new(s3::Bucket::open(url, options).await?));
    }
    Ok(Arc::new(folder::Folder::open(url)?))
}
