//! Alerts reach a real receiver: each once, worse ones again, ends too, whatever the receiver does meanwhile.

mod alertmanager;
mod commands;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tenantctl::config::{AlertPolicy, Config};
use tenantctl::metrics::cluster::Cluster;
use tenantctl::metrics::{Alert, AlertSeverity, Fleet};
use tenantctl::notify::{Notifier, Scope, Told, ledger};
use tenantctl::pg::conninfo::ConnInfo;
use tenantctl::pg::session::{Connector, Session, SessionLimits};
use tenantctl::tenant::TenantId;
use tokio::sync::Notify;

use crate::support::webhook::{Answer, Webhook};
use crate::support::{self, Db, free_port, runtime, unique};

/// A part of a URL that must never be seen.
const TOKEN: &str = "t0ken-of-the-receiver";

fn policy(timeout_s: f64) -> AlertPolicy {
    AlertPolicy {
        timeout_s,
        ..Config::builtin().unwrap().alerts
    }
}

fn session(url: &str) -> Session {
    let info = ConnInfo::resolve(Some(url), &|_| None).unwrap();
    let connector = Connector::new(info, "tenantctl test", SessionLimits::default());
    runtime().block_on(connector.connect()).unwrap()
}

fn id(text: &str) -> TenantId {
    text.parse().unwrap()
}

fn alert(alert_type: &str, tenant: &str, severity: AlertSeverity) -> Alert {
    Alert {
        alert_type: alert_type.into(),
        severity,
        tenant_id: (!tenant.is_empty()).then(|| id(tenant)),
        object: None,
        message: format!("{alert_type} of {tenant:?}"),
        value: Some(93.0),
        limit: Some(100.0),
    }
}

fn warning(tenant: &str) -> Alert {
    alert("connection_limit", tenant, AlertSeverity::Warning)
}

fn critical(tenant: &str) -> Alert {
    alert("connection_limit", tenant, AlertSeverity::Critical)
}

/// What a measurement of this moment would have found. The cluster is on this machine, and so is its clock.
fn fleet(alerts: Vec<Alert>) -> Fleet {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    Fleet {
        timestamp: String::new(),
        unix_time: now.as_secs_f64(),
        duration_ms: 1.0,
        tenants: Vec::new(),
        cluster: Cluster::default(),
        unknown: Vec::new(),
        alerts,
    }
}

/// All of the database was looked at.
fn all() -> Scope {
    Scope {
        tenants: vec![id("acme"), id("beta")],
        database: true,
        unknown: [].into(),
    }
}

/// A database with a receiver.
struct Stage {
    db: Db,
    session: Session,
    receiver: Webhook,
    notifier: Notifier,
}

impl Stage {
    /// A run that ends while the receiver has its post and has not answered; its session goes with it.
    fn kill_a_run(&self) {
        self.receiver.always(Answer::Hang);
        let other = session(&self.db.url);
        runtime().block_on(async {
            let (killed, scope) = (fleet(vec![warning("acme")]), all());
            tokio::select! {
                told = self.notifier.run(&other, &killed, &scope) => panic!("{told:?}"),
                () = self.receiver.asked() => {}
            }
        });
    }

    fn new() -> Self {
        Self::with("/hook", 10.0)
    }

    fn with(path: &str, timeout_s: f64) -> Self {
        let db = Db::initialized();
        let receiver = Webhook::start();
        Self {
            session: session(&db.url),
            notifier: Notifier::new(Some(receiver.url(path)), policy(timeout_s), db.name.clone()),
            receiver,
            db,
        }
    }

    fn run(&self, alerts: Vec<Alert>, scope: &Scope) -> Told {
        runtime().block_on(self.notifier.run(&self.session, &fleet(alerts), scope))
    }

    /// A run that the receiver accepts all of; what it was told.
    #[track_caller]
    fn told(&self, alerts: Vec<Alert>) -> Vec<String> {
        let told = self.run(alerts, &all());
        assert_eq!((told.undelivered.len(), told.warnings), (0, vec![]));
        let posted = self.receiver.told();
        assert_eq!(told.sent.len() + told.resolved.len(), posted.len());
        posted
    }

    fn value(&self, sql: &str) -> String {
        self.db.value(sql)
    }
}

const FIRING: &str = "firing connection_limit/acme/ warning";
const WORSE: &str = "firing connection_limit/acme/ critical";
const RESOLVED: &str = "resolved connection_limit/acme/ critical";
const ENDED: &str = "resolved connection_limit/acme/ warning";
const NOTHING: [&str; 0] = [];

#[test]
fn a_webhook_is_told_each_thing_once() {
    let stage = Stage::new();
    assert_eq!(stage.told(vec![warning("acme")]), [FIRING]);
    let since = stage.value("SELECT fired_at FROM tenantctl.alerts");
    assert_eq!(stage.told(vec![warning("acme")]), NOTHING, "told already");
    assert_eq!(stage.told(vec![critical("acme")]), [WORSE]);
    assert_eq!(stage.told(vec![warning("acme")]), NOTHING, "better is not worth a word");
    assert_eq!(stage.told(vec![critical("acme")]), NOTHING, "as bad as was told");
    assert_eq!(stage.value("SELECT fired_at FROM tenantctl.alerts"), since);

    // Again after some hours, and then not for as long.
    stage
        .db
        .sql("UPDATE tenantctl.alerts SET notified_at = notified_at - interval '4 hours'");
    assert_eq!(stage.told(vec![critical("acme")]), [WORSE]);
    assert_eq!(stage.told(vec![critical("acme")]), NOTHING);

    assert_eq!(stage.told(vec![]), [RESOLVED]);
    assert_eq!(stage.told(vec![]), NOTHING);

    // Another story of the same alert.
    assert_eq!(stage.told(vec![warning("acme")]), [FIRING]);
    assert_ne!(stage.value("SELECT fired_at FROM tenantctl.alerts"), since);
    assert_eq!(stage.told(vec![]), ["resolved connection_limit/acme/ warning"]);
    assert_eq!(stage.value("SELECT count(*) FROM tenantctl.alerts"), "1");
}

#[test]
fn a_post_has_the_whole_story() {
    let stage = Stage::with(&format!("/hook/{TOKEN}?x=1"), 10.0);
    stage.run(
        vec![warning("acme"), alert("replica_missing", "", AlertSeverity::Critical)],
        &all(),
    );
    let post = stage.receiver.take().remove(0);
    assert_eq!(post.method, "POST");
    assert_eq!(post.uri.to_string(), format!("/hook/{TOKEN}?x=1"));
    assert_eq!(post.headers["content-type"], "application/json");
    let agent = post.headers["user-agent"].to_str().unwrap();
    assert_eq!(agent, format!("tenantctl/{}", env!("CARGO_PKG_VERSION")));
    let json = post.json;
    assert_eq!(json["version"], 1);
    assert_eq!(json["database"], stage.db.name.as_str());
    let moment = |value: &serde_json::Value| value.as_str().unwrap().ends_with('Z');
    assert!(moment(&json["sent_at"]), "{json}");
    assert_eq!(
        json["alerts"][0]["tenant_id"],
        serde_json::Value::Null,
        "critical ones first"
    );
    let acme = &json["alerts"][1];
    assert!(moment(&acme["fired_at"]), "{acme}");
    let fired_at = acme["fired_at"].clone();
    assert_eq!(
        *acme,
        serde_json::json!({"status": "firing", "key": "connection_limit/acme/", "type": "connection_limit",
            "severity": "warning", "tenant_id": "acme", "object": null, "message": "connection_limit of \"acme\"",
            "value": 93, "limit": 100, "fired_at": fired_at, "resolved_at": null})
    );
    stage.run(vec![], &all());
    let ended = stage.receiver.take().remove(0).json;
    let acme = ended["alerts"]
        .as_array()
        .unwrap()
        .iter()
        .find(|a| a["tenant_id"] == "acme")
        .unwrap();
    assert_eq!(acme["fired_at"], fired_at);
    assert!(moment(&acme["resolved_at"]), "{acme}");
}

#[test]
fn a_run_ends_only_what_it_has_looked_at() {
    let stage = Stage::new();
    stage.db.provision(&["acme", "beta"]);
    let database = alert("replica_missing", "", AlertSeverity::Critical);
    assert_eq!(stage.told(vec![warning("acme"), warning("beta"), database]).len(), 3);
    let some = |tenant: &str, database: bool| Scope {
        tenants: vec![id(tenant)],
        database,
        unknown: [].into(),
    };
    let told = stage.run(vec![], &some("beta", false));
    assert_eq!(told.resolved, ["connection_limit/beta/"]);
    assert_eq!(stage.receiver.told(), ["resolved connection_limit/beta/ warning"]);
    // Nor does it say of another's alert that it goes on: nobody has looked.
    stage
        .db
        .sql("UPDATE tenantctl.alerts SET notified_at = notified_at - interval '4 hours'");
    assert_eq!(stage.run(vec![], &some("beta", false)), Told::default());
    assert_eq!(stage.run(vec![], &some("beta", true)).resolved, ["replica_missing//"]);
    assert_eq!(
        stage.run(vec![], &some("acme", false)).resolved,
        ["connection_limit/acme/"]
    );
}

#[test]
fn what_is_unknown_has_not_ended() {
    let stage = Stage::new();
    let unknown = Scope {
        unknown: ["connection_limit/acme/".to_owned(), "connection_limit/beta/".to_owned()].into(),
        ..all()
    };
    assert_eq!(stage.told(vec![warning("acme")]), [FIRING]);
    assert_eq!(stage.run(vec![], &unknown), Told::default());
    // As far as is known it goes on.
    stage
        .db
        .sql("UPDATE tenantctl.alerts SET notified_at = notified_at - interval '4 hours'");
    assert_eq!(stage.run(vec![], &unknown).sent, ["connection_limit/acme/"]);
    assert_eq!(stage.receiver.told(), [FIRING]);
    assert_eq!(
        stage.value("SELECT count(*) FROM tenantctl.alerts"),
        "1",
        "nor has it begun"
    );
    assert_eq!(stage.told(vec![]), ["resolved connection_limit/acme/ warning"]);
    // What has ended stays so.
    assert_eq!(stage.run(vec![], &unknown), Told::default());
}

#[test]
fn an_older_measurement_does_not_undo_a_newer_one() {
    let stage = Stage::new();
    let older = fleet(vec![warning("acme")]);
    let run = |fleet: &Fleet| runtime().block_on(stage.notifier.run(&stage.session, fleet, &all()));
    assert_eq!(stage.told(vec![critical("acme")]), [WORSE]);
    run(&older);
    assert_eq!(stage.value("SELECT severity FROM tenantctl.alerts"), "critical");
    let nothing_yet = fleet(vec![]);
    assert_eq!(stage.told(vec![critical("acme")]), NOTHING);
    assert_eq!(run(&nothing_yet), Told::default(), "it began after that was measured");
    assert_eq!(stage.told(vec![]), [RESOLVED]);
    assert_eq!(run(&older), Told::default(), "it has ended since");
}

#[test]
fn alerts_of_tenants_that_are_gone_end() {
    let stage = Stage::new();
    stage.db.provision(&["acme", "beta"]);
    // And of one that never came to be.
    let failed = alert("provision_failed", "newcomer", AlertSeverity::Critical);
    stage.told(vec![warning("acme"), warning("beta"), failed]);
    stage.db.run(&["drop", "beta", "--yes"]).success();
    let only_acme = |database| Scope {
        tenants: vec![id("acme")],
        database,
        unknown: [].into(),
    };
    assert_eq!(stage.run(vec![warning("acme")], &only_acme(false)), Told::default());
    let told = stage.run(vec![warning("acme")], &only_acme(true));
    assert_eq!(told.resolved.len(), 2);
    assert_eq!(
        stage.receiver.told(),
        [
            "resolved connection_limit/beta/ warning",
            "resolved provision_failed/newcomer/ critical"
        ]
    );
    // They are not kept for ever.
    stage
        .db
        .sql("UPDATE tenantctl.alerts SET resolved_at = resolved_at - interval '8 days'");
    stage.run(vec![warning("acme")], &only_acme(true));
    assert_eq!(
        stage.value("SELECT string_agg(alert_key, ' ') FROM tenantctl.alerts"),
        "connection_limit/acme/"
    );
}

#[test]
fn an_end_that_was_never_told_is_kept_for_longer() {
    let stage = Stage::new();
    stage.told(vec![warning("acme")]);
    stage.receiver.always(Answer::Status(400));
    for (days, rows) in [(8, "1"), (31, "0")] {
        stage.db.sql(&format!(
            "UPDATE tenantctl.alerts SET resolved_at = now() - interval '{days} days', seen_at = now() - interval '{days} days'"
        ));
        stage.run(vec![], &all());
        assert_eq!(
            stage.value("SELECT count(*) FROM tenantctl.alerts"),
            rows,
            "{days} days"
        );
    }
}

#[test]
fn a_receiver_that_fails_for_a_moment_is_tried_again() {
    let stage = Stage::new();
    stage.receiver.next([
        Answer::Status(503),
        Answer::Full(429, "retry-after", "0".into(), String::new()),
        Answer::Status(500),
    ]);
    let told = stage.run(vec![warning("acme")], &all());
    assert_eq!((told.sent.len(), told.warnings), (1, vec![]));
    assert_eq!(stage.receiver.take().len(), 4);
    assert_eq!(stage.told(vec![warning("acme")]), NOTHING);
}

#[test]
fn what_was_not_delivered_goes_with_the_next_run() {
    let path = format!("/{TOKEN}");
    let stage = Stage::with(&path, 3.0);
    for (answer, said) in [
        (Answer::Status(503), "it answered 503"),
        // Nobody waits for longer than there is time.
        (
            Answer::Full(429, "retry-after", "3600".into(), String::new()),
            "it answered 429",
        ),
        (
            Answer::Full(503, "retry-after", u64::MAX.to_string(), String::new()),
            "it answered 503",
        ),
    ] {
        stage.receiver.always(answer);
        let started = Instant::now();
        let told = stage.run(vec![warning("acme")], &all());
        assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
        assert_eq!(told.undelivered, ["connection_limit/acme/"]);
        let [said_why] = told.warnings.as_slice() else {
            panic!("{:?}", told.warnings);
        };
        assert!(
            said_why.contains(said) && said_why.contains("http://127.0.0.1:"),
            "{said_why}"
        );
        assert!(!said_why.contains(TOKEN), "{said_why}");
        assert!(!stage.receiver.take().is_empty());
    }
    stage.receiver.always(Answer::Status(200));
    // By whatever run: this one looks at another tenant.
    let other = Scope {
        tenants: vec![id("beta")],
        ..Scope::default()
    };
    assert_eq!(stage.run(vec![], &other).sent, ["connection_limit/acme/"]);
    assert_eq!(stage.receiver.told(), [FIRING]);
    // One that ends before anybody was told of it is nobody's business.
    stage.receiver.always(Answer::Status(400));
    assert_eq!(
        stage.run(vec![warning("acme"), warning("beta")], &all()).undelivered,
        ["connection_limit/beta/"]
    );
    stage.receiver.always(Answer::Status(200));
    stage.receiver.take();
    assert_eq!(stage.told(vec![warning("acme")]), NOTHING);
}

#[test]
fn a_refusal_for_good_is_not_tried_again_by_the_same_run() {
    let stage = Stage::new();
    for status in [400, 401, 404, 413] {
        // The path is repeated, as many a server does, and not by us.
        let body = format!("Cannot POST /hook/{TOKEN}");
        stage.receiver.next([Answer::Full(status, "x-y", "z".into(), body)]);
        let told = stage.run(vec![warning("acme")], &all());
        assert_eq!(told.undelivered, ["connection_limit/acme/"]);
        assert!(
            told.warnings[0].contains(&format!("it answered {status}")),
            "{:?}",
            told.warnings
        );
        assert!(!told.warnings[0].contains(TOKEN), "{:?}", told.warnings);
        assert_eq!(stage.receiver.take().len(), 1);
    }
    assert_eq!(stage.told(vec![warning("acme")]), [FIRING]);
}

#[test]
fn redirects_are_not_followed() {
    let elsewhere = Webhook::start();
    let stage = Stage::new();
    for status in [301, 302, 307, 308] {
        let to = elsewhere.url(&format!("/{TOKEN}"));
        stage
            .receiver
            .next([Answer::Full(status, "location", to, String::new())]);
        let told = stage.run(vec![warning("acme")], &all());
        assert_eq!(told.undelivered, ["connection_limit/acme/"]);
        assert!(
            told.warnings[0].contains("redirects are not followed"),
            "{:?}",
            told.warnings
        );
        assert!(!told.warnings[0].contains(TOKEN), "{:?}", told.warnings);
    }
    assert_eq!(elsewhere.take().len(), 0);
    assert_eq!(stage.receiver.take().len(), 4);
}

#[test]
fn a_receiver_that_hangs_holds_nobody_up_for_longer_than_configured() {
    let stage = Stage::with("/hook", 2.0);
    stage.receiver.always(Answer::Hang);
    let started = Instant::now();
    let told = stage.run(vec![warning("acme")], &all());
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert!(told.warnings[0].contains("no answer in time"), "{:?}", told.warnings);
    // It was sent and not accepted, as when a run is killed in between: the next one sends it again.
    assert_eq!(stage.receiver.told(), [FIRING]);
    stage.receiver.always(Answer::Status(200));
    assert_eq!(stage.told(vec![warning("acme")]), [FIRING]);
}

#[test]
fn a_run_that_did_not_see_a_freeze_does_not_end_it() {
    let stage = Stage::new();
    stage.db.provision(&["acme"]);
    let frozen = alert("writes_frozen", "acme", AlertSeverity::Critical);
    stage.db.sql("UPDATE tenantctl.tenants SET writes_frozen_at = now()");
    stage.run(vec![frozen], &all());
    stage.receiver.take();
    // It has read the registry before that, and measured after it.
    assert_eq!(stage.told(vec![]), NOTHING);
    stage.db.sql("UPDATE tenantctl.tenants SET writes_frozen_at = NULL");
    assert_eq!(stage.told(vec![]), ["resolved writes_frozen/acme/ critical"]);
}

#[test]
fn the_end_of_what_may_have_arrived_is_told() {
    let stage = Stage::with("/hook", 2.0);
    let lost = || Answer::Status(504);
    let refused = || Answer::Status(400);
    // It has arrived, and its answer is lost: whoever was told would wait for its end for ever.
    stage.receiver.always(Answer::Hang);
    stage.run(vec![warning("acme")], &all());
    stage.receiver.always(Answer::Status(200));
    stage.receiver.take();
    assert_eq!(stage.told(vec![]), [ENDED]);
    assert_eq!(stage.told(vec![]), NOTHING);
    // Whatever is answered to a later try, of the same run or another.
    stage.receiver.next([lost(), refused(), refused()]);
    for _ in 0..2 {
        stage.run(vec![warning("acme")], &all());
    }
    stage.receiver.take();
    assert_eq!(stage.told(vec![]), [ENDED]);
    // A new story of which nothing has arrived.
    stage.receiver.next([refused()]);
    stage.run(vec![warning("acme")], &all());
    stage.receiver.take();
    assert_eq!(stage.told(vec![]), NOTHING);
}

#[test]
fn a_machine_that_is_gone_keeps_nobody_from_delivering() {
    let stage = Stage::new();
    // Its session stays, as the server does not learn of it, and says nothing any more.
    let gone = session(&stage.db.url);
    let second = Duration::from_secs(1);
    runtime()
        .block_on(ledger::begin_delivery(&gone, second, second))
        .unwrap();
    assert_eq!(stage.told(vec![warning("acme")]), [FIRING]);
}

#[test]
fn a_run_that_is_killed_while_it_delivers_leaves_the_end_to_the_next() {
    let stage = Stage::new();
    stage.kill_a_run();
    stage.receiver.take();
    stage.receiver.always(Answer::Status(200));
    assert_eq!(stage.told(vec![]), [ENDED]);
}

#[test]
fn a_run_that_is_killed_while_it_delivers_leaves_it_to_the_next() {
    let stage = Stage::new();
    stage.kill_a_run();
    assert_eq!(stage.receiver.told(), [FIRING]);
    stage.receiver.always(Answer::Status(200));
    assert_eq!(stage.told(vec![warning("acme")]), [FIRING]);
    assert_eq!(stage.told(vec![warning("acme")]), NOTHING);
}

#[test]
fn urls_that_are_none_are_said_and_not_repeated() {
    let db = Db::initialized();
    let session = session(&db.url);
    for url in [
        TOKEN.to_owned(),
        format!("smtp://{TOKEN}@h/"),
        format!("http://h:{TOKEN}/"),
    ] {
        let notifier = Notifier::new(Some(url), policy(5.0), db.name.clone());
        let told = runtime().block_on(notifier.run(&session, &fleet(vec![warning("acme")]), &all()));
        assert_eq!(told.undelivered, ["connection_limit/acme/"]);
        assert!(told.warnings[0].contains("TENANTCTL_ALERT_URL"), "{:?}", told.warnings);
        assert!(!told.warnings[0].contains(TOKEN), "{:?}", told.warnings);
    }
    // Nobody listens there.
    let url = format!("http://127.0.0.1:{}/{TOKEN}", free_port());
    let notifier = Notifier::new(Some(url), policy(3.0), db.name.clone());
    let told = runtime().block_on(notifier.run(&session, &fleet(vec![warning("acme")]), &all()));
    assert!(
        told.warnings[0].contains("no connection: Connection refused"),
        "{:?}",
        told.warnings
    );
    assert!(!told.warnings[0].contains(TOKEN), "{:?}", told.warnings);
    // Without a receiver there is nothing to remember.
    db.sql("TRUNCATE tenantctl.alerts");
    let notifier = Notifier::new(None, policy(5.0), db.name.clone());
    let told = runtime().block_on(notifier.run(&session, &fleet(vec![warning("acme")]), &all()));
    assert_eq!(told, Told::default());
    assert_eq!(db.value("SELECT count(*) FROM tenantctl.alerts"), "0");
}

#[test]
fn without_a_registry_to_write_to_nothing_is_sent() {
    let stage = Stage::new();
    stage.db.sql(&format!(
        "ALTER DATABASE {} SET default_transaction_read_only = on",
        stage.db.name
    ));
    let read_only = session(&stage.db.url);
    let told = runtime().block_on(stage.notifier.run(&read_only, &fleet(vec![warning("acme")]), &all()));
    assert_eq!(told.undelivered, ["connection_limit/acme/"]);
    assert!(
        told.warnings[0].contains("does not accept writes"),
        "{:?}",
        told.warnings
    );
    assert_eq!(stage.receiver.take().len(), 0);

    // The registry is held by somebody: no longer than configured, and the session is of use afterwards.
    let stage = Stage::with("/hook", 2.0);
    let held = support::hold(
        &stage.db.url,
        "BEGIN; LOCK TABLE tenantctl.alerts IN ACCESS EXCLUSIVE MODE",
    );
    let started = Instant::now();
    let told = stage.run(vec![warning("acme")], &all());
    assert!(started.elapsed() < Duration::from_secs(8), "{:?}", started.elapsed());
    assert_eq!(told.undelivered, ["connection_limit/acme/"]);
    assert_eq!(told.warnings.len(), 1);
    held.run("ROLLBACK");
    if !stage.session.is_closed() {
        assert_eq!(stage.told(vec![warning("acme")]), [FIRING]);
    }
}

#[test]
fn an_admin_who_is_no_superuser_tells_alerts() {
    let stage = Stage::new();
    let plain = session(&login(&stage.db, "tenantctl_owner"));
    let told = runtime().block_on(stage.notifier.run(&plain, &fleet(vec![warning("acme")]), &all()));
    assert_eq!((told.sent.len(), told.warnings), (1, vec![]));
    assert_eq!(stage.receiver.told(), [FIRING]);
}

/// A tenant each, so that there are several posts.
fn many(n: usize) -> (Vec<Alert>, Scope) {
    let names: Vec<String> = (0..n).map(|i| format!("tenant-{i}")).collect();
    let scope = Scope {
        tenants: names.iter().map(|name| id(name)).collect(),
        database: true,
        unknown: [].into(),
    };
    (names.iter().map(|name| warning(name)).collect(), scope)
}

#[test]
fn two_runs_at_once_neither_lose_nor_double() {
    let stage = Stage::with("/hook", 30.0);
    let sessions: Vec<Session> = (0..3).map(|_| session(&stage.db.url)).collect();
    let (alerts, scope) = many(1700);
    stage.receiver.always(Answer::Late(Duration::from_millis(100)));
    for round in 0..2 {
        let alerts = if round == 0 { alerts.clone() } else { Vec::new() };
        // Runs that have measured one after the other and tell at the same time.
        let fleets: Vec<Fleet> = sessions.iter().map(|_| fleet(alerts.clone())).collect();
        let runs = sessions
            .iter()
            .zip(&fleets)
            .map(|(s, f)| stage.notifier.run(s, f, &scope));
        let told = runtime().block_on(futures_util::future::join_all(runs));
        for told in &told {
            assert_eq!((told.undelivered.len(), &told.warnings), (0, &vec![]));
        }
        let posts = stage.receiver.take();
        assert!(posts.len() >= 4, "{}", posts.len());
        let mut times: BTreeMap<String, usize> = BTreeMap::new();
        for alert in posts.iter().flat_map(|post| post.json["alerts"].as_array().unwrap()) {
            assert_eq!(alert["status"], ["firing", "resolved"][round]);
            *times.entry(alert["key"].to_string()).or_default() += 1;
        }
        assert_eq!(times.len(), 1700);
        assert!(times.values().all(|n| *n == 1), "told more than once");
    }
}

#[test]
fn what_changes_while_it_is_being_told_is_told_by_the_next_run() {
    // The second one may write down what it has found while the first one tells, and gives up waiting to tell it.
    let other = |stage: &Stage| {
        let url = stage.receiver.url("/hook");
        (
            session(&stage.db.url),
            Notifier::new(Some(url), policy(2.0), stage.db.name.clone()),
        )
    };
    let meanwhile = |changes: &[Vec<Alert>]| {
        let stage = Stage::with("/hook", 60.0);
        let (session, impatient) = other(&stage);
        let answer = Arc::new(Notify::new());
        stage.receiver.next([Answer::When(Arc::clone(&answer))]);
        let told = runtime().block_on(async {
            let first = fleet(vec![warning("acme")]);
            let first_scope = all();
            let first = stage.notifier.run(&stage.session, &first, &first_scope);
            let second = async {
                stage.receiver.asked().await;
                for alerts in changes {
                    let told = impatient.run(&session, &fleet(alerts.clone()), &all()).await;
                    assert!(told.sent.is_empty() && told.resolved.is_empty());
                }
                answer.notify_one();
            };
            tokio::join!(first, second).0
        });
        assert_eq!(told.sent, ["connection_limit/acme/"]);
        assert_eq!(stage.receiver.told(), [FIRING]);
        stage
    };
    // It has ended: the end is told, although nobody knew of the beginning yet when that was found.
    let stage = meanwhile(&[vec![]]);
    assert_eq!(stage.told(vec![]), ["resolved connection_limit/acme/ warning"]);
    // It has ended and begun anew: what was told is a story of the past.
    let stage = meanwhile(&[vec![], vec![warning("acme")]]);
    assert_eq!(stage.told(vec![warning("acme")]), [FIRING]);
}

#[test]
fn of_several_posts_those_that_were_accepted_are_noted() {
    let stage = Stage::new();
    let (alerts, scope) = many(1200);
    stage
        .receiver
        .next([Answer::Status(200), Answer::Status(401), Answer::Status(200)]);
    let told = stage.run(alerts.clone(), &scope);
    let (sent, left) = (told.sent.len(), told.undelivered.len());
    assert_eq!(sent + left, 1200);
    assert!([200, 500].contains(&left), "{left}");
    assert!(
        told.warnings[0].starts_with(&format!("{left} of 1200 alerts were not delivered")),
        "{:?}",
        told.warnings
    );
    stage.receiver.take();
    assert_eq!(stage.run(alerts, &scope).sent.len(), left);
    assert_eq!(stage.receiver.told().len(), left);
}

#[test]
fn ten_thousand_alerts_are_told_in_few_posts() {
    let stage = Stage::with("/hook", 60.0);
    let (alerts, scope) = many(10_000);
    let told = stage.run(alerts, &scope);
    assert_eq!((told.sent.len(), told.warnings), (10_000, vec![]));
    assert_eq!(stage.receiver.take().len(), 20);
    assert_eq!(stage.run(vec![], &scope).resolved.len(), 10_000);
}

#[test]
fn one_alert_that_is_not_taken_keeps_no_other_back() {
    let stage = Stage::with("/hook", 30.0);
    let (alerts, scope) = many(1_200);
    let odd = alerts[700].clone();
    let text = format!("\"{}\"", odd.key());
    stage.receiver.always(Answer::StatusIf(400, text));
    let told = stage.run(alerts.clone(), &scope);
    assert_eq!(told.undelivered, [odd.key()]);
    assert_eq!(told.sent.len(), 1_199);
    // Three posts, and two for each halving of 500.
    let posts = stage.receiver.take().len();
    assert!((4..=21).contains(&posts), "{posts}");
    // Whoever takes nothing at all is not asked for each of them.
    stage.receiver.always(Answer::Status(413));
    let (others, scope) = many(1_200);
    let told = stage.run(
        others
            .into_iter()
            .map(|a| Alert {
                object: Some("x".into()),
                ..a
            })
            .collect(),
        &scope,
    );
    assert!(told.sent.is_empty(), "{:?}", told.sent.len());
    let posts = stage.receiver.take().len();
    assert!(posts <= 80, "{posts}");
}

/// A login with this right; its URL.
fn login(db: &Db, right: &str) -> String {
    let role = unique("login");
    db.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'x'; GRANT {right} TO {role}"
    ));
    db.url_as(&role).replace('@', ":x@")
}
