//! Stores by themselves: what every store promises, and what becomes of it when disks fill up and connections break.

mod access;
mod failures;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tenantctl::error::{Error, ErrorKind, Result};
use tenantctl::store::{self, Metadata, Store, Upload, WriteOptions};

use crate::support::s3::{Action, BUCKET, Fault, S3Server, Written};
use crate::support::{runtime, unique};

const MIB: usize = 1 << 20;

/// A folder of the test's own.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let name = format!("tenantctl-store-{}-{}", std::process::id(), unique("s"));
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn url(&self) -> String {
        format!("file://{}/store", self.0.display())
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn bucket(server: &S3Server, prefix: &str) -> Arc<dyn Store> {
    store::open_as(&server.url(prefix), &WriteOptions::default(), &server.access())
        .await
        .unwrap()
}

/// Bytes that look like no others: a part in another's place is seen.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend_from_slice(&state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

async fn begin(store: &dyn Store, key: &str, bytes: &[u8]) -> Box<dyn Upload> {
    let mut upload = store.create(key, &Metadata::default()).await.unwrap();
    // Pieces that are no divisors of a part.
    for piece in bytes.chunks(300_007) {
        upload.write(Bytes::copy_from_slice(piece)).await.unwrap();
    }
    upload
}

async fn put(store: &dyn Store, key: &str, bytes: &[u8]) {
    begin(store, key, bytes).await.finish().await.unwrap();
}

async fn get(store: &dyn Store, key: &str) -> Result<Vec<u8>> {
    let mut download = store.open(key).await?;
    let mut all = Vec::new();
    while let Some(bytes) = download.read().await? {
        assert!(!bytes.is_empty());
        all.extend_from_slice(&bytes);
    }
    Ok(all)
}

async fn keys(store: &dyn Store, prefix: &str) -> Vec<String> {
    store
        .list(prefix)
        .await
        .unwrap()
        .into_iter()
        .map(|entry| entry.key)
        .collect()
}

/// What [`Store`] promises.
async fn contract(store: &dyn Store) {
    store.probe().await.unwrap();
    assert!(store.list("").await.unwrap().is_empty());
    assert!(store.list("tenants/none/").await.unwrap().is_empty());
    assert!(store.folders("tenants/").await.unwrap().is_empty());
    assert_eq!(store.open("nothing").await.err().unwrap().kind(), ErrorKind::NotFound);
    assert_eq!(
        store.open("no/thing/at/all").await.err().unwrap().kind(),
        ErrorKind::NotFound
    );

    // Sizes around a part's, and some that are odd.
    let sizes = [
        0,
        1,
        70_001,
        8 * MIB - 1,
        8 * MIB,
        8 * MIB + 1,
        16 * MIB,
        19 * MIB + 12_345,
    ];
    for size in sizes {
        let (key, bytes) = (format!("sizes/{size}"), noise(size));
        let upload = begin(store, &key, &bytes).await;
        assert!(
            !keys(store, "").await.contains(&key),
            "{size}: visible before it is whole"
        );
        assert_eq!(store.open(&key).await.err().unwrap().kind(), ErrorKind::NotFound);
        upload.finish().await.unwrap();
        assert!(get(store, &key).await.unwrap() == bytes, "{size}: other bytes");
    }
    let listed: BTreeMap<_, _> = store
        .list("sizes/")
        .await
        .unwrap()
        .into_iter()
        .map(|e| (e.key, e.bytes))
        .collect();
    for size in sizes {
        assert_eq!(listed[&format!("sizes/{size}")], size as u64);
    }

    // A second version takes the first one's place.
    put(store, "sizes/1", b"another").await;
    assert_eq!(get(store, "sizes/1").await.unwrap(), b"another");

    // Given up: nothing is there.
    for size in [10, 20 * MIB] {
        begin(store, "given/up", &noise(size)).await.abort().await;
        assert!(store.list("given/").await.unwrap().is_empty());
        assert!(store.folders("given/").await.unwrap().is_empty());
    }

    // Order, prefixes, folders.
    for key in ["t/b/2", "t/b/1/x%2Fy.0.zst.age", "t/a-b/1", "t/a/1", "t/top", "tt/1"] {
        put(store, key, key.as_bytes()).await;
    }
    let all = ["t/a-b/1", "t/a/1", "t/b/1/x%2Fy.0.zst.age", "t/b/2", "t/top"];
    assert_eq!(keys(store, "t/").await, all);
    assert_eq!(keys(store, "t/b/").await, ["t/b/1/x%2Fy.0.zst.age", "t/b/2"]);
    assert_eq!(store.folders("t/").await.unwrap(), ["a", "a-b", "b"]);
    assert_eq!(store.folders("t/b/").await.unwrap(), ["1"]);
    assert_eq!(get(store, all[2]).await.unwrap(), all[2].as_bytes());
    let entry = store.list("t/a/").await.unwrap().remove(0);
    assert!(
        entry
            .modified
            .elapsed()
            .map_or(true, |age| age < Duration::from_secs(60))
    );

    // Removing: what is not there is no error, what was not named stays.
    let gone = ["t/b/2", "t/never", "t/b/1/x%2Fy.0.zst.age"].map(str::to_owned);
    store.remove(&gone).await.unwrap();
    store.remove(&gone).await.unwrap();
    store.remove(&[]).await.unwrap();
    assert_eq!(keys(store, "t/").await, ["t/a-b/1", "t/a/1", "t/top"]);
    assert_eq!(store.folders("t/").await.unwrap(), ["a", "a-b"]);
    assert_eq!(store.open("t/b/2").await.err().unwrap().kind(), ErrorKind::NotFound);

    // Of a client that has died, under its prefix only.
    for key in ["dead/1/x", "dead/1/y", "dead/1/z/1", "dead/2/x"] {
        std::mem::forget(begin(store, key, &noise(9 * MIB)).await);
    }
    put(store, "dead/1/whole", b"x").await;
    assert_eq!(store.remove_unfinished("dead/1/").await.unwrap(), 3);
    assert_eq!(store.remove_unfinished("dead/1/").await.unwrap(), 0);
    assert_eq!(store.remove_unfinished("dead/").await.unwrap(), 1);
    assert_eq!(keys(store, "dead/").await, ["dead/1/whole"]);

    // More than one answer lists, or one request removes.
    let mut writers = Vec::new();
    for n in 0..1005 {
        let key = format!("many/{n:04}/m");
        writers.push(async move { put(store, &key, b"x").await });
    }
    for chunk in futures(writers) {
        chunk.await;
    }
    let many = keys(store, "many/").await;
    assert_eq!(many.len(), 1005);
    assert!(many.is_sorted());
    assert_eq!(store.folders("many/").await.unwrap().len(), 1005);
    store.remove(&many).await.unwrap();
    assert!(store.list("many/").await.unwrap().is_empty());

    for key in ["", "/abs", "a//b", "../x", "a/../../x", "a b", "a/"] {
        assert_eq!(
            store.create(key, &Metadata::default()).await.err().unwrap().kind(),
            ErrorKind::Store
        );
        assert_eq!(store.open(key).await.err().unwrap().kind(), ErrorKind::Store);
        assert_eq!(
            store.remove(&[key.to_owned()]).await.err().unwrap().kind(),
            ErrorKind::Store
        );
    }
    for prefix in ["a", "/", "../", "a/../"] {
        assert_eq!(store.list(prefix).await.err().unwrap().kind(), ErrorKind::Store);
        assert_eq!(store.folders(prefix).await.err().unwrap().kind(), ErrorKind::Store);
        assert_eq!(
            store.remove_unfinished(prefix).await.err().unwrap().kind(),
            ErrorKind::Store
        );
    }
}

/// A few at a time.
fn futures<F: Future<Output = ()>>(all: Vec<F>) -> Vec<impl Future<Output = ()>> {
    let mut groups = Vec::new();
    let mut all = all.into_iter();
    loop {
        let group: Vec<F> = all.by_ref().take(16).collect();
        if group.is_empty() {
            return groups;
        }
        groups.push(async move {
            let mut group: Vec<_> = group.into_iter().map(Box::pin).collect();
            std::future::poll_fn(|cx| {
                group.retain_mut(|future| future.as_mut().poll(cx).is_pending());
                match group.is_empty() {
                    true => std::task::Poll::Ready(()),
                    false => std::task::Poll::Pending,
                }
            })
            .await;
        });
    }
}

#[test]
fn a_folder_keeps_the_contract() {
    let scratch = Scratch::new();
    runtime().block_on(async {
        let store = store::open(&scratch.url(), &WriteOptions::default()).await.unwrap();
        assert_eq!(store.url(), scratch.url());
        contract(&*store).await;
    });
}

#[test]
fn a_bucket_keeps_the_contract() {
    let server = S3Server::start();
    runtime().block_on(async {
        let store = bucket(&server, "some/prefix/").await;
        assert_eq!(store.url(), format!("s3://{BUCKET}/some/prefix"));
        // What others have in the bucket is not seen.
        let other = bucket(&server, "").await;
        put(&*other, "some/prefixes", b"x").await;
        put(&*other, "somewhere", b"x").await;
        contract(&*store).await;
    });
    assert!(server.open_uploads().is_empty(), "{:?}", server.open_uploads());
    assert!(server.most_parts_at_once() > 1, "parts go one after the other");
    // Small ones by one request, large ones in parts, removals of many in few requests.
    assert_eq!(server.requests(&["PUT", "/sizes/70001"]), 1);
    assert_eq!(server.requests(&["PUT", "/sizes/20", "partNumber="]), 0);
    assert_eq!(server.requests(&["PUT", "/sizes/19935289", "partNumber="]), 3);
    assert!(server.requests(&["POST", "?delete"]) <= 6);
}

#[test]
fn a_bucket_is_told_class_encryption_and_metadata() {
    let server = S3Server::start();
    let options = WriteOptions {
        storage_class: Some("STANDARD_IA".to_owned()),
        server_side_encryption: Some("aws:kms".to_owned()),
    };
    let metadata = Metadata(BTreeMap::from([
        ("tenant_id", "acme".to_owned()),
        ("backup_type", "vor dem Umzug – für später".to_owned()),
    ]));
    runtime().block_on(async {
        let store = store::open_as(&server.url(""), &options, &server.access())
            .await
            .unwrap();
        for (key, size) in [("small", 10), ("large", 9 * MIB)] {
            let mut upload = store.create(key, &metadata).await.unwrap();
            upload.write(Bytes::from(noise(size))).await.unwrap();
            upload.finish().await.unwrap();
        }
        put(&*bucket(&server, "").await, "plain", b"x").await;
    });
    for key in ["small", "large"] {
        let written = server.written(key);
        assert_eq!(written.storage_class.as_deref(), Some("STANDARD_IA"));
        assert_eq!(written.encryption.as_deref(), Some("aws:kms"));
        assert_eq!(written.metadata["tenant_id"], "acme");
        assert_eq!(
            written.metadata["backup_type"],
            "vor dem Umzug %E2%80%93 f%C3%BCr sp%C3%A4ter"
        );
    }
    assert_eq!(server.written("plain"), Written::default());

    server.refuse_policies();
    runtime().block_on(async {
        let store = store::open_as(&server.url(""), &options, &server.access())
            .await
            .unwrap();
        for size in [10, 9 * MIB] {
            let mut upload = store.create("refused", &metadata).await.unwrap();
            let error = match upload.write(Bytes::from(noise(size))).await {
                Ok(()) => upload.finish().await.unwrap_err(),
                Err(error) => error,
            };
            assert!(says(&error, "backup.storage_class: \"\""), "{error:?}");
        }
        put(&*bucket(&server, "").await, "taken", b"x").await;
    });
}

fn says(error: &Error, text: &str) -> bool {
    assert_eq!(error.kind(), ErrorKind::Store, "{error:?}");
    error.hint().is_some_and(|hint| hint.contains(text))
}

/// A server that is slow makes the writer wait, instead of the memory grow.
#[test]
fn memory_stays_bounded() {
    let server = S3Server::start();
    server.fault(Fault::once("PUT", "partNumber=", Action::Delay(Duration::from_secs(3))).times(1000));
    let taken = runtime().block_on(async {
        let store = bucket(&server, "p").await;
        let mut uploads = Vec::new();
        for n in 0..4 {
            uploads.push(store.create(&format!("{n}"), &Metadata::default()).await.unwrap());
        }
        let piece = Bytes::from(noise(MIB));
        let mut taken = 0;
        let all = async {
            loop {
                for upload in &mut uploads {
                    upload.write(piece.clone()).await.unwrap();
                    taken += 1;
                }
            }
        };
        let _: std::result::Result<(), _> = tokio::time::timeout(Duration::from_secs(2), all).await;
        for upload in uploads {
            upload.abort().await;
        }
        taken
    });
    server.no_more_faults();
    // Six parts on the way, and one being filled for each upload.
    assert!((40..=6 * 8 + 4 * 8).contains(&taken), "{taken} MiB were taken");
    assert!(server.most_parts_at_once() <= 6);
    crate::support::wait_for("the uploads to be ended", || server.open_uploads().is_empty());
}
