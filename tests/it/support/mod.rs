//! What the tests share: a cluster, databases, the binary, SQL, an S3 service.

pub mod browser;
pub mod fleet;
pub mod pgbouncer;
pub mod redis;
pub mod s3;
pub mod webhook;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use tenantctl::cluster::{Binaries, Cluster, Options};
use tokio_postgres::{NoTls, SimpleQueryMessage};

/// The shared cluster; its watchdog removes it when the test process ends.
pub fn cluster() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        start(&Options {
            settings: fast(),
            ..Options::default()
        })
    })
}

/// Starts a cluster of a test's own.
pub fn start(options: &Options) -> Cluster {
    Cluster::start(&Binaries::find().unwrap(), options).unwrap()
}

/// Settings that trade durability, which no test looks at, for speed; statements are logged, so that a test can grep.
pub fn fast() -> Vec<String> {
    [
        "fsync = off",
        "synchronous_commit = off",
        "full_page_writes = off",
        "max_connections = 300",
        "max_locks_per_transaction = 256",
        "log_statement = all",
        "autovacuum = off",
    ]
    .map(str::to_owned)
    .into()
}

/// A name that no other test uses.
pub fn unique(prefix: &str) -> String {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    format!("{prefix}{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A database of a test's own, with a folder of its own to run the binary in.
pub struct Db {
    pub url: String,
    pub name: String,
    pub dir: PathBuf,
}

impl Db {
    /// A new empty database in the shared cluster.
    pub fn new() -> Self {
        Self::on(cluster())
    }

    /// A new empty database in a cluster.
    pub fn on(cluster: &Cluster) -> Self {
        let name = unique("db");
        sql(
            &cluster.url(Cluster::SUPERUSER, "postgres"),
            &format!("CREATE DATABASE {name}"),
        )
        .unwrap();
        let dir = std::env::temp_dir().join(format!("tenantctl-test-{}-{}", std::process::id(), unique(&name)));
        std::fs::create_dir_all(&dir).unwrap();
        Self {
            url: cluster.url(Cluster::SUPERUSER, &name),
            name,
            dir,
        }
    }

    /// A new database after `tenantctl init`.
    pub fn initialized() -> Self {
        let db = Self::new();
        db.run(&["init"]).success();
        db
    }

    /// The URL for another login.
    pub fn url_as(&self, user: &str) -> String {
        cluster().url(user, &self.name)
    }

    /// Runs the binary with this database as its own.
    pub fn run(&self, args: &[&str]) -> Run {
        self.command(args).finish()
    }

    /// The binary with this database, not yet started.
    pub fn command(&self, args: &[&str]) -> Cmd {
        Cmd::new(args).env("DATABASE_URL", &self.url).dir(&self.dir)
    }

    /// Makes a tenant and returns what `provision` said of it.
    pub fn provision(&self, args: &[&str]) -> Vec<Made> {
        let mut all = vec!["-o", "json", "provision"];
        all.extend(args);
        let json = self.run(&all).success().json();
        json["tenants"]
            .as_array()
            .unwrap()
            .iter()
            .map(Made::from_json)
            .collect()
    }

    /// Runs SQL as the superuser.
    pub fn sql(&self, text: &str) -> Vec<Vec<String>> {
        sql(&self.url, text).unwrap()
    }

    /// The only value of a query, as the superuser.
    pub fn value(&self, text: &str) -> String {
        self.sql(text)[0][0].clone()
    }

    /// Schemas and roles of tenants, and registry rows, as the catalog of this database has them.
    pub fn counts(&self) -> (usize, usize, usize) {
        let schemas = self.value("SELECT count(*) FROM pg_namespace WHERE nspname ~ '^tenant_[0-9a-f]{12}$'");
        let roles = self.value(
            "SELECT count(DISTINCT refobjid) FROM pg_shdepend s JOIN pg_roles r ON r.oid = refobjid
             WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database()) AND rolname ~ '^tenant_[0-9a-f]{12}_user$'",
        );
        let rows = self.value("SELECT count(*) FROM tenantctl.tenants");
        (schemas.parse().unwrap(), roles.parse().unwrap(), rows.parse().unwrap())
    }
}

impl Drop for Db {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}

/// A tenant as `provision -o json` printed it.
#[derive(Clone, Debug)]
pub struct Made {
    pub id: String,
    pub schema: String,
    pub role: String,
    pub password: Option<String>,
}

impl Made {
    fn from_json(json: &serde_json::Value) -> Self {
        let text = |key: &str| json[key].as_str().map(str::to_owned);
        Self {
            id: text("tenant_id").unwrap(),
            schema: text("schema_name").unwrap(),
            role: text("role_name").unwrap(),
            password: text("password"),
        }
    }

    /// What the names of its functions of audit and limits end in.
    pub fn own(&self) -> &str {
        self.schema.trim_start_matches("tenant")
    }

    /// The URL to log in with as this tenant.
    pub fn url(&self, db: &Db) -> String {
        let password = self.password.as_deref().unwrap();
        db.url_as(&self.role).replace("@", &format!(":{password}@"))
    }
}

/// The binary, about to be run.
pub struct Cmd {
    pub command: Command,
}

impl Cmd {
    /// With these arguments and none of the caller's PG* variables.
    pub fn new(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenantctl"));
        command
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("HOME", "/nonexistent")
            .current_dir(std::env::temp_dir())
            .stdin(Stdio::null());
        Self { command }
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    pub fn finish(mut self) -> Run {
        Run(self.command.output().unwrap())
    }
}

/// How a run ended.
pub struct Run(pub Output);

impl Run {
    pub fn stdout(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout()).unwrap_or_else(|e| panic!("{e} in {}", self.stdout()))
    }

    #[track_caller]
    pub fn success(self) -> Self {
        self.exits(0)
    }

    #[track_caller]
    pub fn exits(self, code: i32) -> Self {
        assert_eq!(
            self.0.status.code(),
            Some(code),
            "stdout:\n{}\nstderr:\n{}",
            self.stdout(),
            self.stderr()
        );
        self
    }

    /// Asserts that stderr has all of these.
    #[track_caller]
    pub fn says(self, parts: &[&str]) -> Self {
        let stderr = self.stderr();
        for part in parts {
            assert!(stderr.contains(part), "{part:?} not in:\n{stderr}");
        }
        self
    }
}

/// Runs SQL, one or more statements, and returns the rows; an error is its SQLSTATE and message.
pub fn sql(url: &str, text: &str) -> Result<Vec<Vec<String>>, String> {
    runtime().block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(|e| describe(&e))?;
        let connection = tokio::spawn(connection);
        let messages = client.simple_query(text).await.map_err(|e| describe(&e))?;
        drop(client);
        let _ = connection.await;
        Ok(messages
            .into_iter()
            .filter_map(|m| match m {
                SimpleQueryMessage::Row(row) => Some(
                    (0..row.len())
                        .map(|i| row.get(i).unwrap_or("NULL").to_owned())
                        .collect(),
                ),
                _ => None,
            })
            .collect())
    })
}

/// A session that stays open until it is dropped, after running some SQL.
pub struct Held {
    client: tokio_postgres::Client,
}

impl Held {
    /// Runs more SQL in it.
    pub fn run(&self, text: &str) {
        runtime().block_on(self.client.batch_execute(text)).unwrap();
    }

    /// Whether the session is still there.
    pub fn answers(&self) -> bool {
        runtime().block_on(self.client.batch_execute("SELECT 1")).is_ok()
    }
}

/// Opens a session, runs SQL in it, and keeps it.
pub fn hold(url: &str, text: &str) -> Held {
    runtime().block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client.batch_execute(text).await.unwrap();
        Held { client }
    })
}

/// Makes a change in a transaction that commits once another session of the database waits for a lock. Returns when the change
/// is made and not committed: whoever looks now sees things as they were.
pub fn change_under(db: &Db, change: &str) -> std::thread::JoinHandle<()> {
    let (url, change) = (db.url.clone(), change.to_owned());
    let (made, is_made) = std::sync::mpsc::channel();
    let thread = std::thread::spawn(move || {
        let held = hold(&url, &format!("BEGIN; {change}"));
        made.send(()).unwrap();
        wait_for("somebody who waits for the change", || {
            let waits =
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
            sql(&url, waits).unwrap()[0][0] != "0"
        });
        held.run("COMMIT");
    });
    is_made.recv().unwrap();
    thread
}

fn describe(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(
        || error.to_string(),
        |db| format!("{} {}", db.code().code(), db.message()),
    )
}

/// The runtime of what runs in the test process itself.
pub fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap()
    })
}

/// Waits until something holds, at most a minute.
#[track_caller]
pub fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !holds() {
        assert!(Instant::now() < end, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A free TCP port of the loopback interface.
pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

/// What the whole catalog says about one tenant's schema, without the names that differ between tenants.
pub fn anatomy(db: &Db, schema: &str) -> BTreeMap<String, String> {
    // Functions of audit and limits end in it.
    let own = schema.trim_start_matches("tenant");
    let rows = db.sql(&format!(
        "SET search_path = {schema};
SELECT 'table ' || c.relname || '.' || a.attname, format_type(a.atttypid, a.atttypmod) || ' ' || a.attnotnull || ' ' || COALESCE(pg_get_expr(d.adbin, d.adrelid), '')
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'p', 'v')
UNION ALL SELECT 'constraint ' || k.conrelid::regclass || '.' || k.conname, pg_get_constraintdef(k.oid)
FROM pg_constraint k WHERE k.connamespace = '{schema}'::regnamespace
UNION ALL SELECT 'index ' || c.relname, regexp_replace(pg_get_indexdef(c.oid), '{schema}\\.', '')
FROM pg_class c WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind = 'i'
UNION ALL SELECT 'policy ' || p.polrelid::regclass || '.' || p.polname,
    p.polcmd::text || p.polpermissive::text || regexp_replace(p.polroles::regrole[]::text, '{schema}', 'x') || pg_get_expr(p.polqual, p.polrelid) || pg_get_expr(p.polwithcheck, p.polrelid)
FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid WHERE c.relnamespace = '{schema}'::regnamespace
UNION ALL SELECT 'acl ' || c.relname, regexp_replace(COALESCE(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::\"char\", c.relowner))::text, '{schema}', 'x', 'g') || c.relrowsecurity || c.relforcerowsecurity || c.relowner::regrole
FROM pg_class c WHERE c.relnamespace = '{schema}'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'S')
UNION ALL SELECT 'trigger ' || c.relname || '.' || t.tgname, replace(replace(pg_get_triggerdef(t.oid), '{schema}', 'x'), '{own}', '_x') || t.tgenabled::text
FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace = '{schema}'::regnamespace AND NOT t.tgisinternal
UNION ALL SELECT 'function ' || replace(p.proname, '{own}', '_x') || '(' || oidvectortypes(p.proargtypes) || ')', md5(p.prosrc) || p.prosecdef || replace(COALESCE(p.proconfig::text, ''), '{schema}', 'x') || replace(COALESCE(p.proacl, acldefault('f', p.proowner))::text, '{schema}', 'x')
FROM pg_proc p WHERE p.pronamespace = '{schema}'::regnamespace
UNION ALL SELECT 'schema', regexp_replace(COALESCE(nspacl::text, ''), '{schema}', 'x', 'g') || nspowner::regrole FROM pg_namespace WHERE nspname = '{schema}'
UNION ALL SELECT 'role', rolconnlimit || rolcanlogin::text || rolsuper || rolcreaterole || rolcreatedb || rolbypassrls || rolreplication || (rolconfig IS NOT NULL)
FROM pg_roles WHERE rolname = '{schema}_user'"
    ));
    rows.into_iter().map(|mut row| (row.remove(0), row.remove(0))).collect()
}

/// A line that is seen although the test passes: the test runner captures only what the print macros write.
pub fn loud(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("{text}\n").as_bytes());
}

/// The user and group that a server runs as where the tests run as root, which servers refuse.
pub fn server_account() -> Option<(u32, u32)> {
    let root = std::fs::metadata("/proc/self").is_ok_and(|m| std::os::unix::fs::MetadataExt::uid(&m) == 0);
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let line = users.lines().find(|line| line.starts_with("postgres:"))?;
    let fields: Vec<&str> = line.split(':').collect();
    root.then(|| (fields[2].parse().unwrap(), fields[3].parse().unwrap()))
}
