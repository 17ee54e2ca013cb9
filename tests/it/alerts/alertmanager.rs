//! Alertmanager, in its own form: held against its API, and the real program where it is installed.

use std::process::{Child, Command, Stdio};

use tenantctl::metrics::Alert;
use tenantctl::notify::{Notifier, Scope};

use super::{NOTHING, Stage, all, critical, fleet, id, policy, session, warning};
use crate::support::webhook::Answer;
use crate::support::{Db, free_port, loud, runtime, unique, wait_for};

/// Holds a body against what Alertmanager's API of version 2 takes: an array of postableAlert.
pub fn check_schema(posted: &serde_json::Value) {
    for alert in posted.as_array().unwrap() {
        let fields: Vec<&str> = alert.as_object().unwrap().keys().map(String::as_str).collect();
        let mut known = ["labels", "annotations", "startsAt", "endsAt", "generatorURL"];
        known.sort();
        assert_eq!(fields, known);
        for set in ["labels", "annotations"] {
            for (name, value) in alert[set].as_object().unwrap() {
                assert!(name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_'), "{name}");
                assert!(value.as_str().is_some_and(|text| !text.is_empty()), "{name}: {value}");
            }
        }
        assert!(alert["labels"]["alertname"].is_string());
        for moment in ["startsAt", "endsAt"] {
            let text = alert[moment].as_str().unwrap();
            assert!(
                text.len() >= 20 && text.as_bytes()[10] == b'T' && text.ends_with('Z'),
                "{text}"
            );
        }
        assert!(alert["startsAt"].as_str() < alert["endsAt"].as_str(), "{alert}");
        assert!(alert["generatorURL"].as_str().unwrap().starts_with("urn:tenantctl:"));
    }
}

#[test]
fn it_is_told_of_all_that_goes_on_in_every_run() {
    let stage = Stage::with("/api/v2/alerts", 10.0);
    let post = |alerts: Vec<Alert>, scope: &Scope| {
        let told = stage.run(alerts, scope);
        assert_eq!(told.warnings, NOTHING);
        let mut posts = stage.receiver.take();
        assert!(posts.len() <= 1);
        let json = posts.pop().map_or_else(|| serde_json::json!([]), |post| post.json);
        check_schema(&json);
        let ended = |alert: &serde_json::Value| {
            let minutes = stage.db.value(&format!(
                "SELECT extract(epoch FROM timestamptz {} - now()) / 60",
                alert["endsAt"].to_string().replace('"', "'")
            ));
            minutes.parse::<f64>().unwrap() < 30.0
        };
        let alerts: Vec<String> = json
            .as_array()
            .unwrap()
            .iter()
            .map(|alert| {
                let labels = &alert["labels"];
                let word = if ended(alert) { "ended" } else { "goes on" };
                format!(
                    "{} {} {word}",
                    labels["tenant_id"].as_str().unwrap(),
                    labels["severity"].as_str().unwrap()
                )
            })
            .collect();
        (json, alerts)
    };
    let (first, told) = post(vec![warning("acme")], &all());
    assert_eq!(told, ["acme warning goes on"]);
    assert_eq!(
        first[0]["labels"],
        serde_json::json!({"alertname": "connection_limit", "severity": "warning", "tenant_id": "acme",
            "database": stage.db.name})
    );
    let (second, told) = post(vec![warning("acme")], &all());
    assert_eq!(told, ["acme warning goes on"]);
    assert_eq!(second[0]["startsAt"], first[0]["startsAt"]);
    assert_ne!(second[0]["endsAt"], first[0]["endsAt"]);
    // Another severity is another alert there: the former one ends.
    let (_, told) = post(vec![critical("acme")], &all());
    assert_eq!(told, ["acme warning ended", "acme critical goes on"]);
    let (_, told) = post(vec![warning("acme")], &all());
    assert_eq!(told, ["acme critical ended", "acme warning goes on"]);
    // Nobody can say: it is kept alive.
    let unknown = Scope {
        unknown: ["connection_limit/acme/".to_owned()].into(),
        ..all()
    };
    assert_eq!(post(vec![], &unknown).1, ["acme warning goes on"]);
    // Nobody has looked: nothing is said of it.
    let other = Scope {
        tenants: vec![id("beta")],
        ..Scope::default()
    };
    assert_eq!(post(vec![warning("beta")], &other).1, ["beta warning goes on"]);
    let (_, mut told) = post(vec![], &all());
    told.sort();
    assert_eq!(told, ["acme warning ended", "beta warning ended"]);
    assert_eq!(post(vec![], &all()).1, NOTHING);
}

#[test]
fn its_own_words_are_passed_on() {
    let stage = Stage::with("/api/v2/alerts", 5.0);
    let body = "\"start time must be before\n end time\"".to_owned();
    stage.receiver.next([Answer::Full(400, "x-y", "z".into(), body)]);
    let told = stage.run(vec![warning("acme")], &all());
    assert!(
        told.warnings[0].contains("400 Bad Request: \"start time must be before end time\""),
        "{:?}",
        told.warnings
    );
    // Of much that is said, little is read and less is shown.
    stage
        .receiver
        .next([Answer::Full(400, "x-y", "z".into(), "x".repeat(10 << 20))]);
    let told = stage.run(vec![warning("acme")], &all());
    assert!(told.warnings[0].len() < 500, "{}", told.warnings[0].len());
}

/// Debian's Alertmanager, until it is dropped.
struct Alertmanager {
    child: Child,
    dir: std::path::PathBuf,
    port: u16,
}

impl Alertmanager {
    const PROGRAM: &str = "prometheus-alertmanager";

    fn start() -> Option<Self> {
        let found = Command::new(Self::PROGRAM).arg("--version").output();
        if !found.is_ok_and(|out| out.status.success()) {
            loud(&format!(
                "SKIPPED: alerts::alertmanager::the_real_one_takes_them, as {} is missing",
                Self::PROGRAM
            ));
            return None;
        }
        let dir = std::env::temp_dir().join(format!("tenantctl-test-{}-{}", std::process::id(), unique("am")));
        std::fs::create_dir_all(&dir).unwrap();
        let config = dir.join("alertmanager.yml");
        std::fs::write(&config, "route: {receiver: none}\nreceivers: [{name: none}]\n").unwrap();
        let port = free_port();
        let child = Command::new(Self::PROGRAM)
            .arg(format!("--config.file={}", config.display()))
            .arg(format!("--storage.path={}", dir.display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--cluster.listen-address=")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Self { child, dir, port };
        wait_for("Alertmanager", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Some(started)
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}/api/v2/alerts", self.port)
    }

    /// Its active alerts.
    fn alerts(&self) -> serde_json::Value {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream
            .write_all(b"GET /api/v2/alerts?active=true HTTP/1.0\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(" 200 "), "{answer}");
        serde_json::from_str(body).unwrap()
    }
}

impl Drop for Alertmanager {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

#[test]
fn the_real_one_takes_them() {
    let Some(server) = Alertmanager::start() else { return };
    let db = Db::initialized();
    let session = session(&db.url);
    let notifier = Notifier::new(Some(server.url()), policy(30.0), db.name.clone());
    let run = |alerts: Vec<Alert>| {
        let told = runtime().block_on(notifier.run(&session, &fleet(alerts), &all()));
        assert_eq!((told.undelivered.len(), told.warnings), (0, vec![]));
    };
    let active = || {
        let mut all: Vec<String> = server
            .alerts()
            .as_array()
            .unwrap()
            .iter()
            .map(|a| {
                format!(
                    "{} {}",
                    a["labels"]["tenant_id"].as_str().unwrap(),
                    a["labels"]["severity"].as_str().unwrap()
                )
            })
            .collect();
        all.sort();
        all
    };
    run(vec![warning("acme"), critical("beta")]);
    // It takes alerts in at its own pace.
    wait_for("both alerts", || active() == ["acme warning", "beta critical"]);
    let acme = |json: serde_json::Value| {
        json.as_array()
            .unwrap()
            .iter()
            .find(|a| a["labels"]["tenant_id"] == "acme")
            .cloned()
    };
    let first = acme(server.alerts()).unwrap();
    assert_eq!(first["annotations"]["message"], "connection_limit of \"acme\"");
    assert_eq!(first["annotations"]["value"], "93");
    assert_eq!(first["generatorURL"], format!("urn:tenantctl:{}", db.name));
    run(vec![critical("acme"), critical("beta")]);
    wait_for("the worse alert alone", || {
        active() == ["acme critical", "beta critical"]
    });
    run(vec![critical("beta")]);
    wait_for("the end of one", || active() == ["beta critical"]);
    run(vec![]);
    wait_for("the end of all", || active().is_empty());
}
