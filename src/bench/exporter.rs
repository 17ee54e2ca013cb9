//! The exporter beside prometheus-postgres-exporter on the same database: what a scrape takes, and what it brings.
//!
//! Both are programs of their own and are scraped in turn. The other one has no notion of a tenant: it is given the
//! statistics and sizes of each table, from which somebody could add tenants up.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::program;
use super::stage::{in_path, unconnected};
use super::{Figure, Stage, median};
use crate::error::{Error, ErrorKind, Result};

const SUITE: &str = "metrics";
/// The name of the other exporter's program on Debian.
const OTHER: &str = "prometheus-postgres-exporter";
/// What the other one is to collect.
const QUERIES: &str = include_str!("postgres_exporter.yaml");

/// What a scrape may take whatever is measured, in seconds.
const SCRAPE_S: f64 = 2.0;
/// Peak memory of the exporter, in MB.
const MEMORY_MB: f64 = 150.0;
/// Series of one tenant; see the metrics' exposition.
const SERIES_PER_TENANT: f64 = 36.0;
/// The longest that a program may take until its first whole answer, and for each answer.
const START: Duration = Duration::from_secs(300);
const ANSWER: Duration = Duration::from_secs(120);

/// A running suite.
pub struct Suite<'a> {
    /// Where it runs, with tenants in the database.
    pub stage: &'a Stage<'a>,
    /// Which of its hosts.
    pub host: usize,
    /// How many tenants it has.
    pub tenants: usize,
    /// Rounds with both in turn; the median counts.
    pub rounds: usize,
    /// Sessions that our exporter reads with.
    pub jobs: usize,
    /// Whether the other one is left out.
    pub alone: bool,
}

/// An exporter that runs; it ends with this value.
struct Exporter {
    name: &'static str,
    child: Child,
    port: u16,
    log: PathBuf,
}

/// Scrapes of one exporter.
#[derive(Default)]
struct Scrapes {
    seconds: Vec<f64>,
    last: String,
}

impl Suite<'_> {
    /// Runs the suite.
    ///
    /// # Errors
    /// When an exporter cannot be started or does not answer; an interrupt.
    pub async fn run(&self) -> Result<Vec<Figure>> {
        let mut ours = self.ours().await?;
        let mut other = self.other().await?;
        let n = self.tenants;
        self.stage.progress(format!("first scrapes at {n} tenants"));
        let sizes = |text: &str, start: &str| text.lines().filter(|l| l.starts_with(start)).count() >= n;
        ours.until(|text| sizes(text, "tenant_schema_size_bytes{tenant_id=\""))
            .await?;
        if let Some(other) = &mut other {
            other.until(|text| sizes(text, "table_total_bytes{")).await?;
        }
        let (mut our_scrapes, mut other_scrapes) = (Scrapes::default(), Scrapes::default());
        for round in 0..self.rounds {
            self.stage.uninterrupted()?;
            self.stage
                .progress(format!("scrapes, round {} of {}", round + 1, self.rounds));
            // Whoever comes second finds the catalog in memory.
            if round % 2 == 0 {
                ours.scrape_into(&mut our_scrapes).await?;
            }
            if let Some(other) = &other {
                other.scrape_into(&mut other_scrapes).await?;
            }
            if round % 2 == 1 {
                ours.scrape_into(&mut our_scrapes).await?;
            }
        }
        let mut figures = Vec::new();
        self.judge(&our_scrapes, other.as_ref().map(|_| &other_scrapes), &mut figures);
        if let Some(peak) = ours.child.id().and_then(program::own_peak) {
            let metric = format!("exporter: peak memory at {n} tenants");
            figures.push(Figure::new(SUITE, metric, "MB", peak as f64 / 1e6, Some(MEMORY_MB)));
        }
        Ok(figures)
    }

    fn judge(&self, ours: &Scrapes, other: Option<&Scrapes>, figures: &mut Vec<Figure>) {
        let n = self.tenants;
        let mut figure = |what: &str, unit, value, target| {
            let figure = Figure::new(SUITE, format!("{what} at {n} tenants"), unit, value, target);
            // How many series there are is no merit in itself.
            let ours = what.starts_with("exporter") && (unit != "series" || target.is_some());
            figures.push(if ours { figure } else { figure.of_others() });
        };
        let series = |text: &str| text.lines().filter(|l| !l.starts_with('#')).count() as f64;
        let each = |text: &str, label: &str| {
            let own = text.lines().filter(|l| !l.starts_with('#') && l.contains(label));
            own.count() as f64 / n.max(1) as f64
        };
        let seconds = median(&ours.seconds);
        figure("exporter: scrape that measures", "s", seconds, Some(SCRAPE_S));
        for (part, what) in [
            ("activity", "exporter: measuring all but sizes"),
            ("sizes", "exporter: measuring sizes in the background"),
        ] {
            let start = format!("tenantctl_measurement_duration_seconds{{part=\"{part}\"}} ");
            let took = ours
                .last
                .lines()
                .find_map(|l| l.strip_prefix(&start)?.parse::<f64>().ok());
            if let Some(took) = took {
                figure(what, "s", took, None);
            }
        }
        figure("exporter: scrape", "MB", ours.last.len() as f64 / 1e6, None);
        figure("exporter: series", "series", series(&ours.last), None);
        // Business queries are left out of this run, the histogram has its own bound.
        let of_tenants: String = ours
            .last
            .lines()
            .filter(|l| {
                l.contains("schema_name=\"tenant_") && !l.contains("query_type=") && !l.starts_with("tenantctl_alert{")
            })
            .fold(String::new(), |all, l| all + l + "\n");
        figure(
            "exporter: series of a tenant",
            "series",
            each(&of_tenants, "schema_name=\"tenant_"),
            Some(SERIES_PER_TENANT),
        );
        let Some(other) = other else { return };
        let theirs = median(&other.seconds);
        figure("postgres_exporter: scrape", "s", theirs, None);
        figure("postgres_exporter: scrape", "MB", other.last.len() as f64 / 1e6, None);
        figure("postgres_exporter: series", "series", series(&other.last), None);
        figure(
            "postgres_exporter: series of a tenant",
            "series",
            each(&other.last, "schemaname=\"tenant_"),
            None,
        );
        figure(
            "exporter against postgres_exporter: scrape",
            "ratio",
            seconds / theirs,
            Some(1.0),
        );
    }

    async fn ours(&self) -> Result<Exporter> {
        let port = free_port().await?;
        // Every scrape measures.
        let mut command = self
            .stage
            .tenantctl(self.host, &["metrics", "serve", "--no-notify", "--every", "0"])?;
        command
            .arg(format!("--listen=127.0.0.1:{port}"))
            .arg(format!("--jobs={}", self.jobs));
        self.start("tenantctl metrics serve", command, port)
    }

    /// None where it is left out, or not installed.
    async fn other(&self) -> Result<Option<Exporter>> {
        if self.alone {
            return Ok(None);
        }
        let Some(program) = in_path(OTHER) else {
            self.stage.warn(format!(
                "the program {OTHER} is not installed: it is left out, and with it a target"
            ));
            return Ok(None);
        };
        let queries = self.stage.folder.path().join("postgres_exporter.yaml");
        std::fs::write(&queries, QUERIES)
            .map_err(|e| Error::new(ErrorKind::Store, format!("cannot write {}", queries.display())).with_cause(e))?;
        let port = free_port().await?;
        let mut command = unconnected(&program);
        command
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--extend.query-path")
            .arg(&queries)
            .env("DATA_SOURCE_NAME", self.data_source());
        self.start(OTHER, command, port).map(Some)
    }

    /// The connection as a URL: of libpq's other form it reads only part, and gives up at quotes. Its driver knows some of the
    /// parameters.
    fn data_source(&self) -> String {
        let spec = &self.stage.provisioner.connector.info().hosts[self.host];
        let encoded = |value: &str| utf8_percent_encode(value, NON_ALPHANUMERIC).to_string();
        let (mut login, mut database, mut parameters) = (String::new(), String::new(), Vec::new());
        let mut secret = None;
        for (name, value) in self.stage.provisioner.connector.info().libpq_environment(self.host) {
            let value = value.to_string_lossy();
            let mut add = |key: &str, value: &str| parameters.push(format!("{key}={}", encoded(value)));
            match name {
                "PGUSER" => login = encoded(&value),
                "PGDATABASE" => database = encoded(&value),
                "PGPASSWORD" => secret = Some(encoded(&value)),
                "PGPORT" => add("port", &value),
                "PGHOST" if spec.hostaddr.is_none() => add("host", &value),
                "PGHOSTADDR" => add("host", &value),
                // It knows neither allow nor prefer.
                "PGSSLMODE" if spec.socket_dir().is_none() => match &*value {
                    "require" | "verify-ca" | "verify-full" => add("sslmode", &value),
                    _ => add("sslmode", "disable"),
                },
                "PGSSLROOTCERT" => add("sslrootcert", &value),
                "PGSSLCERT" => add("sslcert", &value),
                "PGSSLKEY" => add("sslkey", &value),
                _ => {}
            }
        }
        if spec.socket_dir().is_some() {
            parameters.push("sslmode=disable".to_owned());
        }
        let secret = secret.map_or_else(String::new, |secret| format!(":{secret}"));
        format!("postgresql://{login}{secret}@/{database}?{}", parameters.join("&"))
    }

    fn start(&self, name: &'static str, mut command: Command, port: u16) -> Result<Exporter> {
        let failed = |e: std::io::Error| Error::new(ErrorKind::Unknown, format!("cannot start {name}")).with_cause(e);
        let log = self.stage.folder.path().join(format!("exporter-{port}.log"));
        let complaints = std::fs::File::create(&log).map_err(failed)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(complaints)
            .kill_on_drop(true)
            .spawn()
            .map_err(failed)?;
        Ok(Exporter { name, child, port, log })
    }
}

impl Exporter {
    /// Scrapes until an answer is whole.
    async fn until(&mut self, whole: impl Fn(&str) -> bool) -> Result<()> {
        let end = Instant::now() + START;
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Err(
                    Error::new(ErrorKind::Unknown, format!("{} ended ({status})", self.name))
                        .with_cause(program::end_of(&self.log)),
                );
            }
            match self.scrape().await {
                Ok((text, _)) if whole(&text) => return Ok(()),
                _ if Instant::now() > end => {
                    return Err(Error::new(
                        ErrorKind::Unknown,
                        format!("{} does not give what it should", self.name),
                    )
                    .with_cause(program::end_of(&self.log)));
                }
                _ => tokio::time::sleep(Duration::from_millis(200)).await,
            }
        }
    }

    async fn scrape_into(&self, scrapes: &mut Scrapes) -> Result<()> {
        let (text, took) = self.scrape().await?;
        scrapes.seconds.push(took.as_secs_f64());
        scrapes.last = text;
        Ok(())
    }

    /// One scrape as Prometheus would make it, and how long it took.
    async fn scrape(&self) -> Result<(String, Duration)> {
        let started = Instant::now();
        let answered = async {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
            let request = "GET /metrics HTTP/1.0\r\nHost: localhost\r\nAccept: application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4\r\n\r\n";
            stream.write_all(request.as_bytes()).await?;
            let mut answer = Vec::new();
            stream.read_to_end(&mut answer).await?;
            Ok::<_, std::io::Error>(answer)
        };
        let failed =
            |cause: String| Error::new(ErrorKind::Unknown, format!("{} does not answer", self.name)).with_cause(cause);
        let answer = tokio::time::timeout(ANSWER, answered)
            .await
            .map_err(|_| failed(format!("within {} s", ANSWER.as_secs())))?
            .map_err(|e| failed(format!("{e}: {}", program::end_of(&self.log))))?;
        let took = started.elapsed();
        let answer = String::from_utf8_lossy(&answer);
        match answer.split_once("\r\n\r\n") {
            Some((head, body)) if head.split(' ').nth(1) == Some("200") => Ok((body.to_owned(), took)),
            _ => Err(failed(answer.lines().next().unwrap_or("nothing").to_owned())),
        }
    }
}

async fn free_port() -> Result<u16> {
    let port = async { TcpListener::bind("127.0.0.1:0").await?.local_addr() };
    port.await
        .map(|address| address.port())
        .map_err(|e| Error::new(ErrorKind::Unknown, "cannot find a free port").with_cause(e))
}
