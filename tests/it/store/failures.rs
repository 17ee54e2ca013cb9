//! Services that fail, connections that break, disks that fill up.

use std::path::PathBuf;
use std::process::Command;

use bytes::Bytes;
use tenantctl::store::{self, Access, Metadata, WriteOptions};

use super::{MIB, Scratch, begin, bucket, get, keys, noise, put, says};
use crate::support::s3::{Action, Fault, S3Server};
use crate::support::{loud, runtime};
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
