//! `metrics serve`: what Prometheus reads, asked over HTTP and through a real Prometheus.

mod rules_and_dashboard;
mod trouble;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tenantctl::cluster::{Cluster, Options};

use crate::support::{self, Cmd, Db, hold, loud, wait_for};

/// A server that answers HTTP, until it is dropped.
pub(crate) struct Serving {
    child: Child,
    port: u16,
}

/// What it answered.
struct Answer {
    status: u16,
    headers: BTreeMap<String, String>,
    body: String,
}

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3";

impl Serving {
    /// `metrics serve` at a free port. A scrape waits until what it asks for is measured, however busy the machine is.
    pub(crate) fn start(db: &Db, args: &[&str]) -> Self {
        let mut all = vec!["metrics", "serve", "--listen", "127.0.0.1:0"];
        if !args.contains(&"--wait") {
            all.extend(["--wait", "60"]);
        }
        all.extend(args);
        Self::of(db.command(&all).command)
    }

    /// The same, whose scrapes wait for a second, as they do unless told otherwise; it has measured sizes once.
    fn impatient(db: &Db) -> Self {
        let serving = Self::start(db, &["--wait", "1", "--every", "0", "--sizes-every", "3600"]);
        wait_for("the sizes", || serving.metrics().contains("tenant_schema_size_bytes{"));
        serving
    }

    /// A command that says at which port it listens.
    fn of(mut command: Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut log = BufReader::new(child.stderr.take().unwrap());
        let mut line = String::new();
        log.read_line(&mut line).unwrap();
        let port = line
            .trim()
            .strip_prefix("serving metrics at http://127.0.0.1:")
            .and_then(|rest| rest.strip_suffix("/metrics"))
            .unwrap_or_else(|| panic!("said {line:?}"))
            .parse()
            .unwrap();
        // It must not stop for want of a reader.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Self { child, port }
    }

    fn ask(&self, method: &str, path: &str, accept: &str) -> std::io::Result<Answer> {
        ask(self.port, method, path, accept)
    }

    fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "*/*").unwrap()
    }

    pub(crate) fn metrics(&self) -> String {
        self.ask("GET", "/metrics", OPENMETRICS).unwrap().body
    }

    fn terminate(&self) {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn ask(port: u16, method: &str, path: &str, accept: &str) -> std::io::Result<Answer> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.0\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n"
    )?;
    let mut all = Vec::new();
    stream.read_to_end(&mut all)?;
    let all = String::from_utf8(all).unwrap();
    let (head, body) = all.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let headers = head
        .lines()
        .skip(1)
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    Ok(Answer {
        status: head.split(' ').nth(1).unwrap().parse().unwrap(),
        headers,
        body: body.to_owned(),
    })
}

/// The value of a sample, given its name and some of its labels.
pub(crate) fn sample(text: &str, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
    let mut found = text.lines().filter(|line| {
        let own = line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']));
        own && labels
            .iter()
            .all(|(key, value)| line.contains(&format!("{key}=\"{value}\"")))
    });
    let line = found.next()?;
    assert!(found.next().is_none(), "{name} {labels:?} is not one sample of\n{text}");
    Some(line.rsplit_once(' ').unwrap().1.parse().unwrap())
}

/// A program, or none: then the test is left out, which is told.
fn program(name: &str) -> Option<PathBuf> {
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|dir| dir.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        loud(&format!(
            "SKIPPED: {name} is not installed (Debian: apt-get install prometheus)"
        ));
    }
    found
}

/// promtool with something on its standard input; what it said is in the message of a failure.
#[track_caller]
fn promtool(args: &[&str], dir: &Path, input: &str) {
    let Some(promtool) = program("promtool") else { return };
    let mut child = Command::new(promtool)
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "promtool {args:?}: {said}\n{input}");
    // Findings of its linter do not always fail.
    assert!(args[1] != "metrics" || said.trim().is_empty(), "{said}");
}

/// A real Prometheus that scrapes an exporter every second.
struct Prometheus {
    child: Child,
    port: u16,
}

impl Prometheus {
    fn start(dir: &Path, exporter: &Serving, rules: Option<&str>) -> Option<Self> {
        let prometheus = program("prometheus")?;
        let mut config = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\nscrape_configs:\n  - job_name: tenantctl\n    static_configs: [{{targets: ['127.0.0.1:{}']}}]\n",
            exporter.port
        );
        if let Some(rules) = rules {
            std::fs::write(dir.join("rules.yml"), rules).unwrap();
            config.push_str("rule_files: [rules.yml]\n");
        }
        std::fs::write(dir.join("prometheus.yml"), config).unwrap();
        let port = support::free_port();
        let child = Command::new(prometheus)
            .arg(format!("--config.file={}", dir.join("prometheus.yml").display()))
            .arg(format!("--storage.tsdb.path={}", dir.join("tsdb").display()))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Self { child, port };
        wait_for("Prometheus", || {
            ask(port, "GET", "/-/ready", "*/*").is_ok_and(|answer| answer.status == 200)
        });
        Some(started)
    }

    /// Its answer to an expression, by the labels without the name.
    fn query(&self, expr: &str) -> Vec<(BTreeMap<String, String>, f64)> {
        let encoded = percent_encoding::utf8_percent_encode(expr, percent_encoding::NON_ALPHANUMERIC);
        let path = format!("/api/v1/query?query={encoded}");
        let answer = ask(self.port, "GET", &path, "*/*").unwrap();
        let json: Value = serde_json::from_str(&answer.body).unwrap_or_else(|e| panic!("{e}: {}", answer.body));
        assert_eq!(json["status"], "success", "{expr}: {json}");
        json["data"]["result"]
            .as_array()
            .unwrap()
            .iter()
            .map(|series| {
                let labels = serde_json::from_value(series["metric"].clone()).unwrap();
                (labels, series["value"][1].as_str().unwrap().parse().unwrap())
            })
            .collect()
    }

    /// The only value of an expression.
    fn value(&self, expr: &str) -> Option<f64> {
        let mut all = self.query(expr);
        assert!(all.len() < 2, "{expr}: {all:?}");
        all.pop().map(|(_, value)| value)
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A cluster with pg_stat_statements, and a database in it that has the extension.
fn with_statements() -> (Cluster, Db) {
    let mut settings = support::fast();
    settings.push("shared_preload_libraries = 'pg_stat_statements'".to_owned());
    let cluster = support::start(&Options {
        settings,
        ..Options::default()
    });
    let db = Db::on(&cluster);
    db.sql("CREATE EXTENSION pg_stat_statements");
    db.run(&["init"]).success();
    (cluster, db)
}

/// Makes tenants, in the order of their ids.
fn provision(db: &Db, ids: &[&str]) -> Vec<support::Made> {
    let made = db.provision(ids);
    let one = |id: &&str| made.iter().find(|made| made.id == **id).unwrap().clone();
    ids.iter().map(one).collect()
}

/// The tenant's URL in a cluster of the test's own.
fn login(cluster: &Cluster, db: &Db, made: &support::Made) -> String {
    cluster
        .url(&made.role, &db.name)
        .replace("@", &format!(":{}@", made.password.as_deref().unwrap()))
}

#[test]
fn promtool_takes_both_formats_with_and_without_tenants() {
    let db = Db::initialized();
    let long = format!("{}{}", support::unique("L"), "x".repeat(63));
    let odd = [
        support::unique("9"),
        support::unique("a.b_c-d"),
        support::unique("A--"),
        long[..63].to_owned(),
    ];
    for round in 0..2 {
        if round == 1 {
            db.provision(&odd.iter().map(String::as_str).collect::<Vec<_>>());
        }
        let serving = Serving::start(&db, &["--business-every", "3600"]);
        let first = serving.metrics();
        assert_eq!(sample(&first, "tenantctl_up", &[]), Some(1.0), "{first}");
        assert_eq!(sample(&first, "tenantctl_tenants", &[]), Some(4.0 * f64::from(round)));
        if round == 1 {
            wait_for("business metrics", || serving.metrics().contains("tenantctl_business{"));
            for id in &odd {
                assert_eq!(
                    sample(&first, "tenantctl_tenant_info", &[("tenant_id", id), ("tier", "basic")]),
                    Some(1.0)
                );
                assert!(sample(&first, "tenant_schema_size_bytes", &[("tenant_id", id)]).unwrap() > 8192.0);
            }
        }
        let plain = serving.ask("GET", "/metrics", "text/plain").unwrap();
        assert_eq!(
            plain.headers["content-type"],
            "text/plain; version=0.0.4; charset=utf-8"
        );
        assert_eq!(plain.headers["content-length"], plain.body.len().to_string());
        promtool(&["check", "metrics"], &db.dir, &plain.body);
        let open = serving.ask("GET", "/metrics", OPENMETRICS).unwrap();
        assert_eq!(
            open.headers["content-type"],
            "application/openmetrics-text; version=1.0.0; charset=utf-8"
        );
        assert_eq!(open.headers["content-length"], open.body.len().to_string());
        assert!(open.body.ends_with("\n# EOF\n") && open.body.matches("# EOF").count() == 1);
        for body in [&plain.body, &open.body] {
            assert!(!body.contains("NaN") && !body.contains("postgresql://"), "{body}");
        }
    }
}

#[test]
fn http_says_what_it_serves_and_refuses_the_rest() {
    let db = Db::initialized();
    let serving = Serving::start(&db, &["--every", "0"]);
    let status = |method: &str, path: &str| serving.ask(method, path, "*/*").unwrap().status;
    assert_eq!(serving.get("/healthz").body, "ok\n");
    wait_for("the first measurement", || status("GET", "/readyz") == 200);
    assert!(serving.get("/").body.contains("href=\"/metrics\""));
    assert_eq!(status("GET", "/nothing"), 404);
    assert_eq!(status("POST", "/metrics"), 405);
    assert_eq!(status("DELETE", "/readyz"), 405);
    let head = serving.ask("HEAD", "/metrics", "*/*").unwrap();
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    // A client that never ends its request is cut off; others are served meanwhile.
    let mut slow = TcpStream::connect(("127.0.0.1", serving.port)).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-")
        .unwrap();
    assert_eq!(status("GET", "/metrics"), 200);
    let mut rest = Vec::new();
    let ended = slow.read_to_end(&mut rest);
    assert!(
        ended.is_ok() || ended.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset),
        "still open after a minute"
    );
    assert!(!String::from_utf8_lossy(&rest).contains("tenantctl_up"));
}

#[test]
fn clients_that_keep_their_connections_leave_places_for_others() {
    let db = Db::initialized();
    let serving = Serving::start(&db, &[]);
    let mut kept = Vec::new();
    for i in 0..200 {
        let mut stream = TcpStream::connect(("127.0.0.1", serving.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        write!(stream, "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = [0; 12];
        stream
            .read_exact(&mut answer)
            .unwrap_or_else(|e| panic!("connection {i}: {e}"));
        assert_eq!(&answer, b"HTTP/1.1 200");
        kept.push(stream);
    }
    assert_eq!(serving.get("/metrics").status, 200);
}

#[test]
fn addresses_that_cannot_be_listened_at_are_told_apart() {
    let db = Db::initialized();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let listen = |address: &str| db.run(&["metrics", "serve", "--listen", address]);
    listen(&address)
        .exits(4)
        .says(&["cannot listen at", "in use", "another port"]);
    for wrong in [
        "",
        "9187",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:65536",
        ":http",
        "192.0.2.1:9187",
        "::::1",
    ] {
        listen(wrong).exits(2).says(&["cannot listen at", "hint:"]);
    }
}

#[test]
fn all_addresses_are_listened_at_without_a_host() {
    let db = Db::initialized();
    let port = support::free_port();
    let mut command = db
        .command(&["metrics", "serve", "--listen", &format!(":{port}")])
        .command;
    let child = command.stderr(Stdio::null()).spawn().unwrap();
    let serving = Serving { child, port };
    wait_for("the exporter", || {
        serving
            .ask("GET", "/healthz", "*/*")
            .is_ok_and(|answer| answer.status == 200)
    });
}

#[test]
fn a_real_prometheus_reads_what_the_database_has() {
    let db = Db::initialized();
    let (a, b) = (support::unique("prom-a"), support::unique("prom-b"));
    let made = provision(&db, &[&a, &b]);
    let (mine, other) = (&made[0], &made[1]);
    db.sql(&format!(
        "INSERT INTO {0}.portfolios (user_id, name) SELECT gen_random_uuid(), 'p' || i FROM generate_series(1, 3) i;
         INSERT INTO {0}.market_data SELECT 'S', now() - i * interval '1 second', 1, 1, 1, 1 FROM generate_series(1, 5000) i",
        mine.schema
    ));
    let serving = Serving::start(&db, &["--every", "0", "--sizes-every", "1"]);
    let Some(prometheus) = Prometheus::start(&db.dir, &serving, None) else {
        return;
    };
    // A session in a transaction, and one that waits.
    let in_transaction = hold(&mine.url(&db), "BEGIN; SELECT 1");
    let idle = hold(&mine.url(&db), "SELECT 1");
    let of =
        |name: &str, tenant: &str, more: &str| prometheus.value(&format!("{name}{{tenant_id=\"{tenant}\"{more}}}"));
    let size = |schema: &str| -> f64 {
        db.value(&format!(
            "SELECT sum(pg_total_relation_size(oid)) FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'p')"
        ))
        .parse()
        .unwrap()
    };
    let (my_size, other_size) = (size(&mine.schema), size(&other.schema));
    assert!(my_size > other_size);
    wait_for("the tenants' figures in Prometheus", || {
        of("tenant_schema_size_bytes", &a, "") == Some(my_size)
            && of("tenant_schema_size_bytes", &b, "") == Some(other_size)
            && of("tenant_active_connections", &a, "") == Some(2.0)
            && of("tenantctl_connections", &a, ",state=\"idle\"") == Some(1.0)
            && of("tenantctl_connections", &a, ",state=\"idle_in_transaction\"") == Some(1.0)
            && of("tenantctl_limit_used", &a, ",limit=\"portfolios\"") == Some(3.0)
    });
    assert_eq!(of("tenantctl_limit_max", &a, ",limit=\"portfolios\""), Some(5.0));
    assert_eq!(of("tenantctl_limit_ratio", &a, ",limit=\"portfolios\""), Some(0.6));
    assert_eq!(of("tenantctl_limit_used", &b, ",limit=\"portfolios\""), Some(0.0));
    assert_eq!(of("tenant_active_connections", &b, ""), Some(0.0));
    assert_eq!(
        of("tenantctl_limit_max", &a, ",limit=\"schema_size\""),
        Some(10.0 * 1024.0 * 1024.0 * 1024.0)
    );
    assert_eq!(of("tenantctl_writes_frozen", &a, ""), Some(0.0));
    assert_eq!(of("tenantctl_backup_age_seconds", &a, ",type=\"any\""), None);
    let schema = prometheus.query(&format!("tenant_schema_size_bytes{{tenant_id=\"{a}\"}}"));
    assert_eq!(schema[0].0["schema_name"], mine.schema);
    let max: f64 = db.value("SHOW max_connections").parse().unwrap();
    assert_eq!(prometheus.value("tenantctl_server_connections_max"), Some(max));
    assert_eq!(prometheus.value("tenantctl_tenants"), Some(2.0));
    assert_eq!(prometheus.value("tenantctl_up"), Some(1.0));
    assert_eq!(prometheus.value("up"), Some(1.0));
    // They end, and the figures follow.
    drop((in_transaction, idle));
    wait_for("the end of the sessions in Prometheus", || {
        of("tenant_active_connections", &a, "") == Some(0.0)
    });
    // The type that Prometheus has understood.
    let metadata = ask(
        prometheus.port,
        "GET",
        "/api/v1/metadata?metric=tenant_schema_size_bytes",
        "*/*",
    )
    .unwrap();
    let metadata: Value = serde_json::from_str(&metadata.body).unwrap();
    assert_eq!(
        metadata["data"]["tenant_schema_size_bytes"][0]["type"], "gauge",
        "{metadata}"
    );
    assert_eq!(
        metadata["data"]["tenant_schema_size_bytes"][0]["unit"], "bytes",
        "{metadata}"
    );
}

#[test]
fn however_many_scrape_it_measures_once() {
    let db = Db::initialized();
    db.provision(&[&support::unique("many-")]);
    let serving = Serving::start(&db, &["--every", "3600", "--sizes-every", "3600"]);
    let scrape_all = || -> Vec<String> {
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..50).map(|_| scope.spawn(|| serving.metrics())).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        })
    };
    let count = |text: &str, part| sample(text, "tenantctl_measurements_total", &[("part", part)]).unwrap();
    // All of the first fifty wait for the first measurement, and for the sizes.
    for text in scrape_all() {
        assert!(text.contains("tenant_schema_size_bytes{"), "{text}");
    }
    let before = serving.metrics();
    assert_eq!(count(&before, "sizes"), 1.0);
    // The one at the start, and one that takes in the sizes where they come after it.
    assert!(count(&before, "activity") <= 2.0, "{before}");
    for text in scrape_all() {
        assert_eq!(count(&text, "activity"), count(&before, "activity"));
    }
    let after = serving.metrics();
    assert_eq!(sample(&after, "tenantctl_scrapes_total", &[]), Some(102.0));
}

#[test]
fn the_histogram_counts_what_tenants_have_run() {
    let (cluster, db) = with_statements();
    let id = support::unique("hist-");
    let made = db.provision(&[&id]);
    let url = login(&cluster, &db, &made[0]);
    // Before the exporter: nobody knows when it was.
    support::sql(&url, "SELECT count(*) FROM portfolios").unwrap();
    let serving = Serving::start(&db, &["--every", "0"]);
    let count = |text: &str, query_type: &str| {
        let labels = [("tenant_id", id.as_str()), ("query_type", query_type)];
        sample(text, "tenant_query_duration_seconds_count", &labels)
    };
    assert_eq!(count(&serving.metrics(), "select"), Some(0.0));
    let mut statements = String::new();
    for i in 0..7 {
        statements.push_str(&format!("SELECT {i} + count(*) FROM portfolios;"));
    }
    for i in 0..3 {
        statements.push_str(&format!(
            "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p{i}');"
        ));
    }
    statements.push_str(
        "UPDATE portfolios SET name = name || 'x'; DELETE FROM portfolios WHERE name = 'p0x'; SELECT pg_sleep(0.3)",
    );
    support::sql(&url, &statements).unwrap();
    let text = serving.metrics();
    for (query_type, calls) in [("select", 8.0), ("insert", 3.0), ("update", 1.0), ("delete", 1.0)] {
        assert_eq!(count(&text, query_type), Some(calls), "{query_type} in {text}");
        let labels = [("tenant_id", id.as_str()), ("query_type", query_type), ("le", "+Inf")];
        assert_eq!(
            sample(&text, "tenant_query_duration_seconds_bucket", &labels),
            Some(calls)
        );
    }
    // The one that slept is in its bucket, and the sum is what the server says.
    let slow = |le: &str| {
        let labels = [("tenant_id", id.as_str()), ("query_type", "select"), ("le", le)];
        sample(&text, "tenant_query_duration_seconds_bucket", &labels).unwrap()
    };
    assert_eq!((slow("0.1"), slow("0.5")), (7.0, 8.0));
    let served: f64 = ["select", "insert", "update", "delete"]
        .iter()
        .map(|kind| {
            let labels = [("tenant_id", id.as_str()), ("query_type", *kind)];
            sample(&text, "tenant_query_duration_seconds_sum", &labels).unwrap()
        })
        .sum();
    let counted: f64 = db
        .value(&format!(
            "SELECT sum(total_exec_time) / 1000 FROM pg_stat_statements WHERE toplevel AND userid = '{}'::regrole AND query NOT LIKE 'SELECT count(*)%'",
            made[0].role
        ))
        .parse()
        .unwrap();
    // The query from before had its own entry.
    assert!((served - counted).abs() < 1e-6, "{served} and {counted}");
    promtool(
        &["check", "metrics"],
        &db.dir,
        &serving.ask("GET", "/metrics", "*/*").unwrap().body,
    );
}

#[test]
fn only_so_many_tenants_have_a_histogram_of_their_own() {
    let (cluster, db) = with_statements();
    let ids: Vec<String> = (0..3).map(|_| support::unique("few-")).collect();
    let made = provision(&db, &ids.iter().map(String::as_str).collect::<Vec<_>>());
    let serving = Serving::start(&db, &["--every", "0", "--max-tenants-detailed", "1"]);
    serving.metrics();
    let run = |at: usize, times: usize| {
        support::sql(&login(&cluster, &db, &made[at]), &"SELECT 1;".repeat(times)).unwrap();
    };
    let count = |text: &str, id: &str| {
        let labels = [("tenant_id", id), ("query_type", "select")];
        sample(text, "tenant_query_duration_seconds_count", &labels)
    };
    let counts = || {
        let text = serving.metrics();
        [&*ids[0], &*ids[1], &*ids[2], ""].map(|id| count(&text, id))
    };
    run(1, 4);
    assert_eq!(counts(), [None, Some(4.0), None, None]);
    run(0, 20);
    run(2, 5);
    assert_eq!(counts(), [None, Some(4.0), None, Some(25.0)]);
    run(1, 2);
    assert_eq!(counts(), [None, Some(6.0), None, Some(25.0)]);
    // All else is there for each of them.
    for id in &ids {
        assert!(sample(&serving.metrics(), "tenant_active_connections", &[("tenant_id", id)]).is_some());
    }
}

#[test]
fn a_whole_measurement_is_judged() {
    let db = Db::initialized();
    let id = support::unique("judged-");
    let made = db.provision(&[&id]);
    db.sql(&format!(
        "INSERT INTO {}.portfolios (user_id, name) SELECT gen_random_uuid(), 'p' || i FROM generate_series(1, 5) i",
        made[0].schema
    ));
    let serving = Serving::start(&db, &["--no-notify"]);
    let text = serving.metrics();
    let labels = [
        ("tenant_id", id.as_str()),
        ("type", "portfolio_limit"),
        ("severity", "critical"),
    ];
    assert_eq!(sample(&text, "tenantctl_alert", &labels), Some(1.0), "{text}");
    assert_eq!(sample(&text, "tenantctl_alerts_firing", &labels[1..]), Some(1.0));
    let none = [("type", "connection_limit"), ("severity", "warning")];
    assert_eq!(sample(&text, "tenantctl_alerts_firing", &none), Some(0.0));
}

#[test]
fn alerts_of_every_measurement_are_told_once() {
    let db = Db::initialized();
    let id = support::unique("told-");
    let made = db.provision(&[&id]);
    let receiver = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", receiver.local_addr().unwrap());
    let (sender, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in receiver.incoming() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut length = 0;
            loop {
                let mut line = String::new();
                stream.read_line(&mut line).unwrap();
                if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                if line.trim().is_empty() {
                    break;
                }
            }
            let mut body = vec![0; length];
            stream.read_exact(&mut body).unwrap();
            let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
            stream.get_mut().write_all(answer).unwrap();
            if sender.send(serde_json::from_slice::<Value>(&body).unwrap()).is_err() {
                break;
            }
        }
    });
    let fill = format!(
        "INSERT INTO {}.portfolios (user_id, name) SELECT gen_random_uuid(), 'p' FROM generate_series(1, 5)",
        made[0].schema
    );
    db.sql(&fill);
    let mut command = db.command(&["metrics", "serve", "--listen", "127.0.0.1:0", "--every", "0"]);
    command = command.env("TENANTCTL_ALERT_URL", &url);
    let serving = Serving::of(command.command);
    let next = || told.recv_timeout(Duration::from_secs(60)).unwrap();
    for _ in 0..5 {
        serving.metrics();
    }
    let first = next();
    let alert = &first["alerts"][0];
    assert_eq!(
        [&alert["status"], &alert["type"], &alert["tenant_id"]],
        ["firing", "portfolio_limit", id.as_str()],
        "{first}"
    );
    for _ in 0..5 {
        serving.metrics();
    }
    db.sql(&format!("DELETE FROM {}.portfolios", made[0].schema));
    serving.metrics();
    // The next that it hears is the end.
    let end = next();
    assert_eq!(end["alerts"][0]["status"], "resolved", "{end}");
    assert_eq!(end["alerts"].as_array().unwrap().len(), 1, "{end}");
    assert!(serving.metrics().contains("tenantctl_notification_errors_total 0\n"));
}
