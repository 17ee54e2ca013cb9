//! Where backups lie: objects under keys, in a local folder or in S3. Knows nothing of what is in them.
//!
//! A key is relative to the store's URL: parts of `[A-Za-z0-9._%-]` joined by `/`, none of them `.` or `..`. An object is
//! there whole or not at all: it appears with [`Upload::finish`], and an upload that is not finished leaves nothing that
//! [`Store::list`] shows.

mod folder;
mod s3;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use async_trait::async_trait;
use bytes::Bytes;

use crate::error::{Error, ErrorKind, Result};

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

/// What is told of an S3 service instead of by the environment and the AWS profile, which say all that is none here.
#[derive(Clone, Default)]
pub struct Access {
    /// Where the service is; buckets are then named in the path.
    pub endpoint_url: Option<String>,
    /// The region.
    pub region: Option<String>,
    /// Access key id and secret.
    pub keys: Option<(String, String)>,
    /// How often a request is tried.
    pub attempts: Option<u32>,
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
    open_as(url, options, &Access::default()).await
}

/// The same, where S3 is not what the environment says.
///
/// # Errors
/// Kinds `usage` and `config`.
pub async fn open_as(url: &str, options: &WriteOptions, access: &Access) -> Result<Arc<dyn Store>> {
    match Location::parse(url)? {
        Location::Folder(root) => Ok(Arc::new(folder::Folder::new(root, url))),
        Location::Bucket { bucket, prefix } => Ok(Arc::new(s3::Bucket::open(bucket, prefix, options, access).await?)),
    }
}

/// Refuses a URL that names no store, or that has a password in it; repeats neither.
///
/// # Errors
/// Kind `usage`.
pub fn check_url(url: &str) -> Result<()> {
    Location::parse(url).map(drop)
}

/// What the URL of a store names.
#[derive(Debug, PartialEq, Eq)]
enum Location {
    Folder(PathBuf),
    /// The prefix is empty or ends in `/`.
    Bucket {
        bucket: String,
        prefix: String,
    },
}

impl Location {
    /// The same rules as for `backup.store` in the configuration. A URL that may hold a password is not repeated.
    fn parse(url: &str) -> Result<Self> {
        let folder_hint = "Write file:///var/backups for the folder /var/backups.";
        let Some((scheme, rest)) = url.split_once("://") else {
            let hint = match url.strip_prefix('/') {
                Some(path) => format!("Write file:///{path} for the folder {url}."),
                None => folder_hint.to_owned(),
            };
            return Err(Error::usage("the store is no URL that starts with file:/// or s3://").with_hint(hint));
        };
        let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if authority.contains('@') {
            return Err(Error::usage("the store's URL holds a user or password").with_hint(
                "S3 credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or the AWS profile.",
            ));
        }
        if path.contains(['?', '#']) {
            return Err(Error::usage("a store's URL has no ? and no #").with_hint(
                "AWS_ENDPOINT_URL names another S3 service; %3F and %23 stand for them in a folder's name.",
            ));
        }
        if url.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Error::usage("a store's URL must not hold blanks").with_hint("Write %20 for a blank."));
        }
        match scheme {
            "file" if !authority.is_empty() => Err(Error::usage(format!(
                "{url} is no folder: a file: URL needs three slashes and an absolute path"
            ))
            .with_hint(folder_hint)),
            "file" => {
                let bytes: Vec<u8> = percent_encoding::percent_decode_str(path).collect();
                if bytes.contains(&0) || bytes.iter().all(|b| *b == b'/') {
                    return Err(Error::usage(format!("{url} names no folder")).with_hint(folder_hint));
                }
                Ok(Self::Folder(PathBuf::from(OsString::from_vec(bytes))))
            }
            "s3" if !is_bucket(authority) => Err(Error::usage(format!("{url} names no valid bucket"))
                .with_hint("A bucket's name is 3 to 63 letters, digits, '.', '_' and '-': s3://bucket/prefix.")),
            "s3" => {
                let prefix = path.trim_matches('/');
                if !prefix.is_empty() && prefix.split('/').any(|part| ["", ".", ".."].contains(&part)) {
                    return Err(Error::usage(format!("{url} names no valid prefix"))
                        .with_hint("Its parts are not empty and neither . nor .. : s3://bucket/prefix."));
                }
                Ok(Self::Bucket {
                    bucket: authority.to_owned(),
                    prefix: match prefix {
                        "" => String::new(),
                        _ => format!("{prefix}/"),
                    },
                })
            }
            _ => Err(Error::usage("the store is no URL that starts with file:/// or s3://").with_hint(folder_hint)),
        }
    }
}

fn is_bucket(name: &str) -> bool {
    (3..=63).contains(&name.len())
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Whether a part of a key is one; in particular it cannot lead out of its folder.
fn is_part(part: &str) -> bool {
    !["", ".", ".."].contains(&part)
        && part
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'%' | b'-'))
}

/// Refuses what is no key.
fn check_key(key: &str) -> Result<()> {
    match key.split('/').all(is_part) {
        true => Ok(()),
        false => Err(Error::new(ErrorKind::Store, format!("{key:?} is no key of a store"))
            .with_cause("its parts are made of letters, digits and . _ % -, and none is . or ..")),
    }
}

/// Refuses what is neither empty nor a key with a `/` behind it.
fn check_prefix(prefix: &str) -> Result<()> {
    match prefix.strip_suffix('/') {
        Some(key) => check_key(key),
        None if prefix.is_empty() => Ok(()),
        None => Err(Error::new(
            ErrorKind::Store,
            format!("{prefix:?} is no prefix of keys: it must end in /"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_folders_and_buckets() {
        let folder = |path: &str| Location::Folder(PathBuf::from(path));
        let bucket = |bucket: &str, prefix: &str| Location::Bucket {
            bucket: bucket.to_owned(),
            prefix: prefix.to_owned(),
        };
        for (url, expected) in [
            ("file:///var/backups", folder("/var/backups")),
            ("file:///var/my%20back%2Fups/", folder("/var/my back/ups/")),
            ("file:///%C3%BC", folder("/ü")),
            ("s3://backups", bucket("backups", "")),
            ("s3://backups/", bucket("backups", "")),
            ("s3://backups/a/b/", bucket("backups", "a/b/")),
        ] {
            assert_eq!(Location::parse(url).expect(url), expected, "{url}");
        }
    }

    #[test]
    fn wrong_urls_are_usage_errors_with_a_hint_and_without_the_secret() {
        for url in [
            "",
            "/var/backups",
            "var/backups",
            "file://var/backups",
            "file:///",
            "file:////",
            "file:///a%00b",
            "file:///a b",
            "s3://",
            "s3://ab",
            "s3://bucket/../other",
            "s3://bucket/a//b",
            "s3://key:sesame@bucket/prefix",
            "s3://bucket/prefix?secret=sesame",
            "https://bucket.s3.amazonaws.com/",
        ] {
            let error = Location::parse(url).expect_err(url);
            assert_eq!(error.kind(), ErrorKind::Usage, "{url}");
            assert!(error.hint().is_some(), "{url}");
            assert!(!format!("{error:?}").contains("sesame"), "{error:?}");
        }
    }

    #[test]
    fn keys_stay_in_the_store() {
        for key in ["a", "tenants/acme/backups/x/data/a%2Fb.1.zst.age", "..a", "a.b_c-d"] {
            check_key(key).expect(key);
            check_prefix(&format!("{key}/")).expect(key);
        }
        check_prefix("").expect("empty");
        for key in ["", "/", "/a", "a/", "a//b", "..", "a/../b", "a/.", "a b", "a\0b", "ü"] {
            assert_eq!(check_key(key).expect_err(key).kind(), ErrorKind::Store, "{key}");
        }
        for prefix in ["a", "/", "../", "a//", "/a/"] {
            assert_eq!(
                check_prefix(prefix).expect_err(prefix).kind(),
                ErrorKind::Store,
                "{prefix}"
            );
        }
    }
}
