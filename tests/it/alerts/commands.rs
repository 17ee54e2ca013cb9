//! Critical errors of any command reach the receiver of alerts, and change nothing else.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::alertmanager::check_schema;
use super::{TOKEN, login};
use crate::support::webhook::{Answer, Webhook};
use crate::support::{self, Db, wait_for};

/// One whose commands fail critically: it may connect and has no right to the registry.
fn unprivileged(db: &Db) -> String {
    login(db, &format!("CONNECT ON DATABASE {}", db.name))
}

#[test]
fn critical_errors_of_a_command_are_told_and_change_nothing() {
    let db = Db::initialized();
    let url = unprivileged(&db);
    let receiver = Webhook::start();
    let run = |args: &[&str], hook: &str| {
        let mut cmd = db.command(args).env("DATABASE_URL", &url);
        if !hook.is_empty() {
            cmd = cmd.env("TENANTCTL_ALERT_URL", hook);
        }
        cmd.finish().exits(4)
    };
    let without = run(&["list"], "");
    let with = run(&["list"], &receiver.url("/hook"));
    let said = |stderr: String| {
        stderr
            .lines()
            .filter(|l| !l.starts_with("error_id"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(said(with.stderr()), said(without.stderr()));
    assert_eq!(with.stdout(), "");
    let post = receiver.take().remove(0).json;
    let alert = &post["alerts"][0];
    let stderr = with.stderr();
    assert_eq!(post["database"], db.name.as_str());
    assert_eq!(alert["type"], "list_failure");
    assert_eq!(alert["severity"], "critical");
    assert_eq!(alert["status"], "firing");
    assert_eq!(alert["tenant_id"], serde_json::Value::Null);
    assert_eq!(alert["error_type"], "permission");
    assert!(stderr.contains(alert["error_id"].as_str().unwrap()), "{stderr}");
    assert!(
        alert["message"].as_str().unwrap().contains("may not use the registry"),
        "{alert}"
    );

    // Errors that are not critical are nobody's alert.
    let gone = db
        .command(&["show", "nobody"])
        .env("TENANTCTL_ALERT_URL", &receiver.url("/hook"));
    gone.finish().exits(4);
    db.run(&["list"]).success();
    assert_eq!(receiver.take().len(), 0);

    // In Alertmanager's form.
    run(&["list"], &receiver.url("/api/v2/alerts"));
    let post = receiver.take().remove(0).json;
    check_schema(&post);
    assert_eq!(
        post[0]["labels"],
        serde_json::json!({"alertname": "list_failure", "severity": "critical", "database": db.name, "error_type": "permission"})
    );
    assert!(post[0]["annotations"]["error_id"].is_string());
}

#[test]
fn a_receiver_that_does_not_take_critical_errors_is_a_warning() {
    let db = Db::initialized();
    let url = unprivileged(&db);
    std::fs::write(db.dir.join("tenant_templates.yaml"), "alerts:\n  timeout_s: 1\n").unwrap();
    let receiver = Webhook::start();
    let hook = receiver.url(&format!("/{TOKEN}?key={TOKEN}"));
    let run = |answer: Answer, hook: &str, says: &str| {
        receiver.always(answer);
        let started = Instant::now();
        // With every line of the log.
        let run = db
            .command(&["list", "-vv"])
            .env("DATABASE_URL", &url)
            .env("TENANTCTL_ALERT_URL", hook);
        let run = run
            .finish()
            .exits(4)
            .says(&["may not use the registry", "warning:", says]);
        assert!(started.elapsed() < Duration::from_secs(20), "{:?}", started.elapsed());
        assert!(!run.stderr().contains(TOKEN), "{}", run.stderr());
        // The user sees first how the command ended.
        assert!(run.stderr().find("error:") < run.stderr().find("warning:"));
    };
    run(Answer::Hang, &hook, "no answer in time");
    run(Answer::Status(403), &hook, "it answered 403");
    run(Answer::Status(200), &format!("ftp://{TOKEN}"), "TENANTCTL_ALERT_URL");
}

#[test]
fn critical_failures_of_single_tenants_are_told_and_of_very_many_the_first() {
    let db = Db::initialized();
    let receiver = Webhook::start();
    // Nobody makes a tenant in two milliseconds.
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "provisioning:\n  timeout_s: 0.002\n  lock_timeout_s: 0.001\n",
    )
    .unwrap();
    let provision = |names: &[String]| {
        let mut args = vec!["-o", "json", "provision"];
        args.extend(names.iter().map(String::as_str));
        let cmd = db.command(&args).env("TENANTCTL_ALERT_URL", &receiver.url("/hook"));
        let report = cmd.finish().exits(4).json();
        let posts = receiver.take();
        assert_eq!(posts.len(), 1);
        (
            report["failed"].as_array().unwrap().clone(),
            posts[0].json["alerts"].as_array().unwrap().clone(),
        )
    };
    let (failed, told) = provision(&["acme".to_owned()]);
    assert_eq!(failed[0]["severity"], "critical");
    assert_eq!(told.len(), 1);
    assert_eq!(told[0]["type"], "provision_failure");
    assert_eq!(told[0]["key"], "provision_failure/acme/timeout");
    assert_eq!(told[0]["tenant_id"], "acme");
    assert_eq!(told[0]["error_id"], failed[0]["error_id"]);
    assert_eq!(told[0]["error_type"], "timeout");

    let names: Vec<String> = (0..150).map(|n| format!("t{n}")).collect();
    let (failed, told) = provision(&names);
    assert_eq!(failed.len(), 150);
    assert_eq!(told.len(), 101);
    assert_eq!(told[100]["tenant_id"], serde_json::Value::Null);
    assert_eq!(told[100]["message"], "50 further critical errors of provision");
    assert_eq!(db.counts(), (0, 0, 0));
}

#[test]
fn failures_of_other_commands_are_told_too() {
    let db = Db::initialized();
    let receiver = Webhook::start();
    let schema = db.provision(&["acme"]).remove(0).schema;
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "provisioning:\n  lock_timeout_s: 0.3\n",
    )
    .unwrap();
    let _held = support::hold(
        &db.url,
        &format!(
            "BEGIN; LOCK TABLE {schema}.portfolios IN ACCESS EXCLUSIVE MODE; SELECT FROM tenantctl.tenants FOR UPDATE"
        ),
    );
    for (args, alert_type) in [
        (["drop", "acme", "--yes"], "drop_failure"),
        (["rotate", "acme", "--disconnect"], "rotate_failure"),
    ] {
        let run = db.command(&args).env("TENANTCTL_ALERT_URL", &receiver.url("/hook"));
        run.finish().exits(4);
        let mut posts = receiver.take();
        assert_eq!(posts.len(), 1, "{args:?}");
        let alerts = posts.remove(0).json["alerts"].clone();
        assert_eq!(alerts.as_array().unwrap().len(), 1, "{alerts}");
        assert_eq!(alerts[0]["type"], alert_type);
        assert_eq!(alerts[0]["tenant_id"], "acme");
        assert_eq!(alerts[0]["error_type"], "timeout");
    }
}

#[test]
fn whoever_asks_again_to_stop_does_not_wait_for_the_receiver() {
    let db = Db::initialized();
    std::fs::write(db.dir.join("tenant_templates.yaml"), "alerts:\n  timeout_s: 600\n").unwrap();
    let receiver = Webhook::start();
    receiver.always(Answer::Hang);
    let mut cmd = db
        .command(&["list"])
        .env("DATABASE_URL", &unprivileged(&db))
        .env("TENANTCTL_ALERT_URL", &receiver.url("/hook"));
    let mut child = cmd.command.stderr(Stdio::null()).spawn().unwrap();
    wait_for("the post", || !receiver.take().is_empty());
    Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    wait_for("the end", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(4));
}

#[test]
fn the_proxy_of_the_environment_is_used() {
    let db = Db::initialized();
    let url = unprivileged(&db);
    let proxy = Webhook::start();
    let run = |no_proxy: &str| {
        db.command(&["list"])
            .env("DATABASE_URL", &url)
            .env("TENANTCTL_ALERT_URL", "http://hooks.invalid/hook")
            .env("HTTP_PROXY", &proxy.url(""))
            .env("http_proxy", &proxy.url(""))
            .env("NO_PROXY", no_proxy)
            .finish()
            .exits(4)
    };
    run("");
    let asked = proxy.take();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].uri.to_string(), "http://hooks.invalid/hook");
    assert_eq!(asked[0].json["alerts"][0]["type"], "list_failure");
}

/// A receiver over TLS that answers one request with 200 and returns it.
fn over_tls(certificate: &rcgen::CertifiedKey<rcgen::KeyPair>) -> (u16, std::thread::JoinHandle<Option<String>>) {
    use std::io::{Read, Write};
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(certificate.signing_key.serialize_der());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.cert.der().clone()], key.into())
        .unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let served = std::thread::spawn(move || {
        let (socket, _) = listener.accept().ok()?;
        let connection = rustls::ServerConnection::new(std::sync::Arc::new(config)).ok()?;
        let mut stream = rustls::StreamOwned::new(connection, socket);
        let mut request = Vec::new();
        let mut piece = [0; 4096];
        // The request is one of a known length; its end is that of the JSON.
        while !request.ends_with(b"}") {
            match stream.read(&mut piece) {
                Ok(n) if n > 0 => request.extend_from_slice(&piece[..n]),
                _ => return None,
            }
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
            .ok()?;
        stream.flush().ok()?;
        Some(String::from_utf8(request).unwrap())
    });
    (port, served)
}

#[test]
fn https_receivers_are_verified_against_the_systems_certificates() {
    let db = Db::initialized();
    let url = unprivileged(&db);
    std::fs::write(db.dir.join("tenant_templates.yaml"), "alerts:\n  timeout_s: 3\n").unwrap();
    let certificate = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let trusted = db.dir.join("trusted.pem");
    std::fs::write(&trusted, certificate.cert.pem()).unwrap();
    let run = |trust: bool| {
        let (port, served) = over_tls(&certificate);
        let mut cmd = db.command(&["list"]).env("DATABASE_URL", &url).env(
            "TENANTCTL_ALERT_URL",
            &format!("https://user:{TOKEN}@localhost:{port}/hook"),
        );
        if trust {
            cmd = cmd.env("SSL_CERT_FILE", trusted.to_str().unwrap());
        }
        let run = cmd.finish().exits(4);
        assert!(!run.stderr().contains(TOKEN), "{}", run.stderr());
        (run, served.join().unwrap())
    };
    let (run_trusting, request) = run(true);
    assert!(!run_trusting.stderr().contains("warning:"), "{}", run_trusting.stderr());
    let request = request.unwrap();
    assert!(request.starts_with("POST /hook HTTP/1.1"), "{request}");
    assert!(
        request.to_ascii_lowercase().contains("authorization: basic "),
        "{request}"
    );
    // Who it is does not get better by asking again.
    let (refusing, request) = run(false);
    assert!(
        refusing.stderr().contains("invalid peer certificate"),
        "{}",
        refusing.stderr()
    );
    assert_eq!(request, None);
}

#[test]
fn metrics_tells_what_it_finds() {
    let db = Db::initialized();
    let receiver = Webhook::start();
    db.provision(&["acme", "beta"]);
    let metrics = |args: &[&str], code: i32| {
        let mut all = vec!["-o", "json", "metrics", "--no-business"];
        all.extend(args);
        let cmd = db.command(&all).env("TENANTCTL_ALERT_URL", &receiver.url("/hook"));
        let run = cmd.finish().exits(code);
        (receiver.told(), run)
    };
    assert!(metrics(&["--all"], 0).0.is_empty());
    // Without a backup for longer than the schedule has it.
    let age = |tenant: &str, days: u32| {
        db.sql(&format!(
            "UPDATE tenantctl.tenants SET created_at = now() - interval '{days} days' WHERE tenant_id = '{tenant}'"
        ))
    };
    age("acme", 3);
    age("beta", 3);
    assert!(metrics(&["--all", "--no-notify"], 1).0.is_empty());
    // A receiver that fails changes neither the result nor the exit code.
    receiver.always(Answer::Status(400));
    let (_, run) = metrics(&["acme"], 1);
    assert!(run.stderr().contains("the next run tries again"), "{}", run.stderr());
    receiver.always(Answer::Status(200));
    let both = [
        "firing backup_overdue/acme/any critical",
        "firing backup_overdue/beta/any critical",
    ];
    assert_eq!(metrics(&["--all"], 1).0, both);
    assert!(metrics(&["--all"], 1).0.is_empty());
    age("acme", 0);
    age("beta", 0);
    assert_eq!(metrics(&["beta"], 0).0, ["resolved backup_overdue/beta/any critical"]);
    assert_eq!(metrics(&["--all"], 0).0, ["resolved backup_overdue/acme/any critical"]);
}
