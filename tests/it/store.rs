//! Stores by themselves: what every store promises, and what becomes of it when disks fill up and connections break.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tenantctl::error::{Error, ErrorKind, Result};
use tenantctl::store::{self, Access, Metadata, Store, Upload, WriteOptions};

use crate::support::s3::{Action, BUCKET, Fault, S3Server, Written};
use crate::support::{loud, runtime, unique};

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

#[test]
fn a_failing_service_is_asked_again() {
    let server = S3Server::start();
    let bytes = noise(17 * MIB + 3);
    runtime().block_on(async {
        let store = bucket(&server, "p").await;
        for (status, code) in [(500, "InternalError"), (503, "SlowDown")] {
            for (method, holds) in [
                ("POST", "?uploads"),
                ("PUT", "partNumber=2"),
                ("POST", "uploadId="),
                ("GET", "p/large"),
                ("GET", "list-type=2"),
                ("PUT", "p/small"),
                ("DELETE", "p/small"),
                ("GET", "?uploads"),
            ] {
                server.fault(Fault::once(method, holds, Action::Answer(status, code)).times(2));
            }
            put(&*store, "large", &bytes).await;
            assert!(get(&*store, "large").await.unwrap() == bytes);
            put(&*store, "small", b"x").await;
            assert_eq!(keys(&*store, "").await, ["large", "small"]);
            store.remove(&["small".to_owned()]).await.unwrap();
            assert_eq!(store.remove_unfinished("").await.unwrap(), 0);
            assert!(server.faults_done());
        }
    });
    assert!(server.open_uploads().is_empty());
}

#[test]
fn a_service_that_keeps_failing_gets_no_half_object() {
    let server = S3Server::start();
    runtime().block_on(async {
        let access = Access {
            attempts: Some(2),
            ..server.access()
        };
        let store = store::open_as(&server.url("p"), &WriteOptions::default(), &access)
            .await
            .unwrap();
        for holds in ["partNumber=2", "p/small"] {
            server.fault(Fault::once("PUT", holds, Action::Answer(503, "SlowDown")).times(2));
        }
        let mut upload = store.create("large", &Metadata::default()).await.unwrap();
        let mut refused = None;
        for piece in noise(40 * MIB).chunks(MIB) {
            if let Err(error) = upload.write(Bytes::copy_from_slice(piece)).await {
                refused = Some(error);
                break;
            }
        }
        let failed = match refused {
            Some(error) => {
                upload.abort().await;
                error
            }
            None => upload.finish().await.unwrap_err(),
        };
        assert!(says(&failed, "overloaded"), "{failed:?}");
        assert!(failed.message().contains("s3://backups/p/large"), "{failed}");
        let failed = begin(&*store, "small", b"x").await.finish().await.unwrap_err();
        assert!(says(&failed, "overloaded"), "{failed:?}");
        assert!(store.list("").await.unwrap().is_empty());
    });
    assert!(server.open_uploads().is_empty());
    assert!(server.objects().is_empty());
}

#[test]
fn cut_connections_lose_nothing() {
    let server = S3Server::start();
    let bytes = noise(20 * MIB + 17);
    runtime().block_on(async {
        let store = bucket(&server, "p").await;
        // In the middle of a part, before it, and after it; then the same for what is small.
        server.fault(Fault::once("PUT", "partNumber=1", Action::CutRequest(3 * MIB)));
        server.fault(Fault::once("PUT", "partNumber=2", Action::CutRequest(0)));
        server.fault(Fault::once("PUT", "partNumber=", Action::LoseAnswer).after(2));
        server.fault(Fault::once("POST", "uploadId=", Action::LoseAnswer));
        server.fault(Fault::once("PUT", "p/small", Action::LoseAnswer));
        put(&*store, "large", &bytes).await;
        put(&*store, "small", b"small").await;
        assert!(server.faults_done());
        assert_eq!(get(&*store, "small").await.unwrap(), b"small");

        // Twice in the middle of a download and once where it is taken up again; only the rest is sent again.
        server.fault(Fault::once("GET", "p/large", Action::CutResponse(5 * MIB + 1)));
        server.fault(Fault::once("GET", "p/large", Action::Answer(500, "InternalError")));
        server.fault(Fault::once("GET", "p/large", Action::CutResponse(9 * MIB)));
        let before = server.requests(&["GET", "p/large"]);
        assert!(get(&*store, "large").await.unwrap() == bytes);
        assert!(server.faults_done());
        assert_eq!(server.requests(&["GET", "p/large"]) - before, 4);
    });
    assert!(server.open_uploads().is_empty());
}

#[test]
fn a_download_that_cannot_be_taken_up_is_an_error() {
    let server = S3Server::start();
    let bytes = noise(3 * MIB);
    runtime().block_on(async {
        let store = bucket(&server, "p").await;
        put(&*store, "gone", &bytes).await;
        put(&*store, "other", &bytes).await;
        put(&*store, "short", &bytes).await;
        for key in ["gone", "other", "short"] {
            server.fault(Fault::once("GET", &format!("p/{key}"), Action::CutResponse(MIB)));
        }
        let mut gone = store.open("gone").await.unwrap();
        let mut other = store.open("other").await.unwrap();
        store.remove(&["gone".to_owned()]).await.unwrap();
        put(&*store, "other", &noise(4 * MIB)).await;
        let mut short = store.open("short").await.unwrap();
        server.overwrite("p/short", &noise(2 * MIB));
        for (download, text) in [
            (&mut gone, "removed meanwhile"),
            (&mut other, "replaced"),
            (&mut short, "broke off"),
        ] {
            let error = loop {
                match download.read().await {
                    Ok(Some(_)) => {}
                    Ok(None) => panic!("it ended as if it were whole"),
                    Err(error) => break error,
                }
            };
            assert!(says(&error, text), "{error:?}");
        }
    });
}

#[test]
fn a_service_without_the_rarer_operations_will_do() {
    let server = S3Server::start();
    server.list_no_uploads();
    server.remove_no_batches();
    runtime().block_on(async {
        let store = bucket(&server, "p").await;
        let keys: Vec<String> = (0..20).map(|n| format!("k{n}")).collect();
        for key in &keys {
            put(&*store, key, b"x").await;
        }
        store.remove(&keys).await.unwrap();
        assert!(store.list("").await.unwrap().is_empty());
        assert_eq!(store.remove_unfinished("").await.unwrap(), 0);
    });
    assert_eq!(server.requests(&["POST", "?delete"]), 1);
}

#[test]
fn the_first_key_goes_before_the_others() {
    let server = S3Server::start();
    runtime().block_on(async {
        let store = bucket(&server, "p").await;
        let keys = ["manifest", "data/1", "data/2"].map(str::to_owned);
        for key in &keys {
            put(&*store, key, b"x").await;
        }
        server.fault(Fault::once("POST", "?delete", Action::Answer(403, "AccessDenied")));
        let error = store.remove(&keys).await.unwrap_err();
        assert!(says(&error, "s3:DeleteObject"), "{error:?}");
        assert_eq!(self::keys(&*store, "").await, ["data/1", "data/2"]);
        server.fault(Fault::once("DELETE", "p/data/1", Action::Answer(403, "AccessDenied")));
        store.remove(&keys[1..]).await.unwrap_err();
        assert_eq!(self::keys(&*store, "").await, ["data/1", "data/2"]);
    });
}

#[test]
fn a_dropped_upload_is_ended() {
    let server = S3Server::start();
    runtime().block_on(async {
        let store = bucket(&server, "p").await;
        drop(begin(&*store, "x", &noise(9 * MIB)).await);
    });
    crate::support::wait_for("the upload to be ended", || server.open_uploads().is_empty());
    assert!(server.objects().is_empty());
}

#[test]
fn what_a_user_can_mend_is_said() {
    let server = S3Server::start();
    runtime().block_on(async {
        let open =
            async |url: &str, access: &Access| store::open_as(url, &WriteOptions::default(), access).await.unwrap();
        let access = |keys: Option<(&str, &str)>| Access {
            keys: keys
                .map(|(id, secret)| (id.to_owned(), secret.to_owned()))
                .or(server.access().keys),
            attempts: Some(2),
            ..server.access()
        };
        let url = server.url("p");
        let unknown = access(Some(("AKIAUNKNOWN", "sesame")));
        let wrong = access(Some(("AKIATENANTCTLTEST", "sesame")));
        let nobody = Access {
            endpoint_url: Some(format!("http://127.0.0.1:{}", crate::support::free_port())),
            ..access(None)
        };
        let untrusted = Access {
            endpoint_url: Some("https://unknown.invalid".to_owned()),
            ..access(None)
        };
        for (access, url, text, cause) in [
            (
                &unknown,
                url.as_str(),
                "does not accept the credentials",
                "InvalidAccessKeyId",
            ),
            (&wrong, &url, "does not accept the credentials", "SignatureDoesNotMatch"),
            (
                &access(None),
                "s3://no-such-bucket/p",
                "Make the bucket no-such-bucket",
                "NoSuchBucket",
            ),
            (&nobody, &url, "was not reached", "refused"),
            (&untrusted, &url, "was not reached", ""),
        ] {
            let store = open(url, access).await;
            let probed = store.probe().await.unwrap_err();
            let read = store.open("x").await.err().unwrap();
            let written = begin(&*store, "x", b"x").await.finish().await.unwrap_err();
            let listed = store.list("").await.unwrap_err();
            let removed = store.remove(&["x".to_owned()]).await.unwrap_err();
            for error in [probed, read, written, listed, removed] {
                assert!(says(&error, text), "{error:?}");
                assert!(error.cause().unwrap().contains(cause), "{error:?}");
                assert!(error.message().contains("s3://"), "{error}");
                assert!(!format!("{error:?}").contains("sesame"), "{error:?}");
            }
        }
        let store = open(&url, &access(None)).await;
        for (status, code, text) in [
            (403, "AccessDenied", "s3:PutObject"),
            (301, "PermanentRedirect", "AWS_REGION"),
            (403, "RequestTimeTooSkewed", "clock"),
            (400, "ExpiredToken", "run out"),
        ] {
            server.fault(Fault::once("PUT", "p/x", Action::Answer(status, code)).times(2));
            let error = begin(&*store, "x", b"x").await.finish().await.unwrap_err();
            server.no_more_faults();
            assert!(says(&error, text), "{error:?}");
        }
    });
    assert!(server.objects().is_empty());
}

/// Whether this is the process that [`in_child`] has started for a test, with what it gave it.
fn child() -> Option<String> {
    std::env::var("TENANTCTL_TEST_CHILD").ok()
}

/// Runs a test again in a process of its own with this environment alone: a process has but one.
fn in_child(test: &str, given: &str, environment: &[(&str, String)]) {
    let child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture"])
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .env("HOME", "/nonexistent")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .envs(environment.iter().map(|(name, value)| (name, value)))
        .env("TENANTCTL_TEST_CHILD", given)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout) + String::from_utf8_lossy(&child.stderr);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn missing_credentials_and_regions_are_said() {
    let Some(endpoint) = child() else {
        let server = S3Server::start();
        return in_child(
            "store::missing_credentials_and_regions_are_said",
            &server.endpoint(),
            &[],
        );
    };
    runtime().block_on(async {
        let url = format!("s3://{BUCKET}/p");
        let error = store::open(&url, &WriteOptions::default()).await.err().unwrap();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.hint().unwrap().contains("AWS_REGION"), "{error:?}");
        let access = Access {
            endpoint_url: Some(endpoint),
            ..Access::default()
        };
        let store = store::open_as(&url, &WriteOptions::default(), &access).await.unwrap();
        let error = store.probe().await.unwrap_err();
        assert!(
            says(&error, "No credentials were found. Set AWS_ACCESS_KEY_ID"),
            "{error:?}"
        );
    });
}

#[test]
fn endpoint_and_credentials_come_from_the_environment_or_a_profile() {
    const TEST: &str = "store::endpoint_and_credentials_come_from_the_environment_or_a_profile";
    if let Some(prefix) = child() {
        runtime().block_on(async {
            let url = format!("s3://{BUCKET}/{prefix}");
            let store = store::open(&url, &WriteOptions::default()).await.unwrap();
            store.probe().await.unwrap();
            for size in [10, 17 * MIB] {
                let (key, bytes) = (format!("k{size}"), noise(size));
                put(&*store, &key, &bytes).await;
                assert!(get(&*store, &key).await.unwrap() == bytes);
            }
            store.remove(&["k10".to_owned(), "k17".to_owned()]).await.unwrap();
        });
        return;
    }
    let server = S3Server::start();
    let environment = server.environment();
    let value = |name: &str| environment.iter().find(|(n, _)| *n == name).unwrap().1.clone();
    in_child(TEST, "variables", &environment);

    // The SDK's own checksums, for buckets that insist on some.
    let mut checked = environment.to_vec();
    checked.push(("AWS_REQUEST_CHECKSUM_CALCULATION", "when_supported".to_owned()));
    in_child(TEST, "checked", &checked);

    // An endpoint for S3 alone, without a region; then all of it from a profile, with a process that hands out the keys.
    let service = environment
        .iter()
        .filter(|(name, _)| *name != "AWS_REGION")
        .map(|(name, value)| match *name {
            "AWS_ENDPOINT_URL" => ("AWS_ENDPOINT_URL_S3", value.clone()),
            other => (other, value.clone()),
        });
    in_child(TEST, "service", &service.collect::<Vec<_>>());
    let scratch = Scratch::new();
    let (config, keys) = (scratch.0.join("config"), scratch.0.join("keys.json"));
    let process = serde_json::json!({
        "Version": 1,
        "AccessKeyId": value("AWS_ACCESS_KEY_ID"),
        "SecretAccessKey": value("AWS_SECRET_ACCESS_KEY"),
    });
    std::fs::write(&keys, process.to_string()).unwrap();
    let text = format!(
        "[profile test]\nregion = eu-central-1\nservices = local\ncredential_process = cat {}\n\n[services local]\ns3 =\n  endpoint_url = {}\n",
        keys.display(),
        server.endpoint()
    );
    std::fs::write(&config, text).unwrap();
    let profile = [
        ("AWS_CONFIG_FILE", config.display().to_string()),
        ("AWS_PROFILE", "test".to_owned()),
    ];
    in_child(TEST, "profile", &profile);
    for prefix in ["variables", "checked", "service", "profile"] {
        assert_eq!(
            server.requests(&["POST", &format!("/{BUCKET}/{prefix}/k"), "uploadId="]),
            1,
            "{prefix}"
        );
    }
    assert!(server.open_uploads().is_empty());
}

/// A server behind TLS whose certificate nobody has heard of; returns its port and the certificate.
fn self_signed() -> (u16, String) {
    let own = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = rustls::pki_types::PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for mut socket in listener.incoming().flatten() {
            let mut tls = rustls::ServerConnection::new(Arc::clone(&config)).unwrap();
            while tls.is_handshaking() && tls.complete_io(&mut socket).is_ok() {}
            let body = "<Error><Code>NoSuchBucket</Code></Error>";
            let answer = format!("HTTP/1.1 404 Not Found\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            // The request is small: one read takes it.
            let _ = tls.complete_io(&mut socket);
            let _ = std::io::Write::write_all(&mut tls.writer(), answer.as_bytes());
            let _ = tls.complete_io(&mut socket);
        }
    });
    (port, own.cert.pem())
}

#[test]
fn a_certificate_is_trusted_when_its_signer_is() {
    const TEST: &str = "store::a_certificate_is_trusted_when_its_signer_is";
    let probe = |endpoint: String| {
        let access = Access {
            endpoint_url: Some(endpoint),
            region: None,
            keys: Some(("key".to_owned(), "secret".to_owned())),
            attempts: Some(1),
        };
        runtime().block_on(async {
            let store = store::open_as(&format!("s3://{BUCKET}"), &WriteOptions::default(), &access).await?;
            store.probe().await
        })
    };
    if let Some(endpoint) = child() {
        let error = probe(endpoint).unwrap_err();
        match std::env::var("AWS_CA_BUNDLE").unwrap().ends_with("none.pem") {
            true => assert_eq!(error.kind(), ErrorKind::Config, "{error:?}"),
            false => assert!(says(&error, "Make the bucket"), "{error:?}"),
        }
        return;
    }
    let (port, certificate) = self_signed();
    let endpoint = format!("https://localhost:{port}");
    let error = probe(endpoint.clone()).unwrap_err();
    assert!(says(&error, "is not trusted"), "{error:?}");
    let scratch = Scratch::new();
    for (name, text) in [
        ("good.pem", certificate.as_str()),
        (
            "none.pem",
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        ),
    ] {
        let path = scratch.0.join(name);
        std::fs::write(&path, text).unwrap();
        in_child(TEST, &endpoint, &[("AWS_CA_BUNDLE", path.display().to_string())]);
    }
}

#[test]
fn a_killed_server_leaves_no_object_and_the_next_run_cleans_up() {
    let server = S3Server::start();
    let access = Access {
        attempts: Some(2),
        ..server.access()
    };
    let url = server.url("p");
    let (store, mut upload) = runtime().block_on(async {
        let store = store::open_as(&url, &WriteOptions::default(), &access).await.unwrap();
        let upload = begin(&*store, "dead/large", &noise(18 * MIB)).await;
        (store, upload)
    });
    server.kill();
    runtime().block_on(async {
        let error = match upload.write(Bytes::from(noise(20 * MIB))).await {
            Ok(()) => upload.finish().await.unwrap_err(),
            Err(error) => {
                upload.abort().await;
                error
            }
        };
        assert!(says(&error, "was not reached"), "{error:?}");
        assert!(store.list("").await.is_err());
    });
    server.resume();
    assert_eq!(server.open_uploads(), ["p/dead/large"]);
    runtime().block_on(async {
        assert!(store.list("").await.unwrap().is_empty());
        assert_eq!(store.remove_unfinished("dead/").await.unwrap(), 1);
        put(&*store, "dead/large", b"x").await;
        assert_eq!(keys(&*store, "").await, ["dead/large"]);
    });
    assert!(server.open_uploads().is_empty());
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

/// A file system of its own, small.
struct Tmpfs(PathBuf);

impl Tmpfs {
    fn mount(path: PathBuf) -> Option<Self> {
        std::fs::create_dir_all(&path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=2m", "tmpfs"])
            .arg(&path)
            .output();
        mounted.is_ok_and(|run| run.status.success()).then_some(Self(path))
    }

    fn remount(&self, options: &str) {
        let run = Command::new("mount")
            .args(["-o", options])
            .arg(&self.0)
            .status()
            .unwrap();
        assert!(run.success());
    }
}

impl Drop for Tmpfs {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_or_read_only_disk_is_said() {
    let scratch = Scratch::new();
    let Some(disk) = Tmpfs::mount(scratch.0.join("disk")) else {
        loud("SKIPPED store::a_full_or_read_only_disk_is_said: only root can mount a small file system");
        return;
    };
    let url = format!("file://{}/store", disk.0.display());
    runtime().block_on(async {
        let store = store::open(&url, &WriteOptions::default()).await.unwrap();
        store.probe().await.unwrap();
        put(&*store, "t/first", &noise(MIB)).await;
        let mut upload = store.create("t/second", &Metadata::default()).await.unwrap();
        let error = loop {
            if let Err(error) = upload.write(Bytes::from(noise(MIB / 4))).await {
                break error;
            }
        };
        upload.abort().await;
        assert!(says(&error, "The disk is full"), "{error:?}");
        assert!(error.message().contains("disk/store/t/second"), "{error}");
        assert_eq!(keys(&*store, "").await, ["t/first"]);
        assert!(get(&*store, "t/first").await.unwrap() == noise(MIB));
        // What was given up has made room.
        put(&*store, "t/second", &noise(MIB / 2)).await;

        disk.remount("remount,ro");
        for error in [
            store.probe().await.unwrap_err(),
            store.create("t/third", &Metadata::default()).await.err().unwrap(),
            store.remove(&["t/first".to_owned()]).await.unwrap_err(),
        ] {
            assert!(says(&error, "mounted read-only"), "{error:?}");
        }
        assert_eq!(keys(&*store, "").await, ["t/first", "t/second"]);
    });
}
