//! Who may use a store: endpoints, credentials, certificates, and what is said when they are not right.

use std::process::Command;
use std::sync::Arc;

use tenantctl::error::ErrorKind;
use tenantctl::store::{self, Access, WriteOptions};

use super::{MIB, Scratch, begin, get, noise, put, says};
use crate::support::runtime;
use crate::support::s3::{Action, BUCKET, Fault, S3Server};
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
            "store::access::missing_credentials_and_regions_are_said",
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
    const TEST: &str = "store::access::endpoint_and_credentials_come_from_the_environment_or_a_profile";
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
    const TEST: &str = "store::access::a_certificate_is_trusted_when_its_signer_is";
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
