//! Metrics are true: known sizes, rows, connections, queries, counters and backups, and nobody gets another's figures.

mod business;
mod others;
mod sizes;
mod usage;

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::time::Duration;

use tenantctl::catalog::tenants::{self, TenantRow};
use tenantctl::cluster::{Cluster, Options as ClusterOptions};
use tenantctl::metrics::collect::{Options, Sizes, collect};
use tenantctl::metrics::{Fleet, TenantMetrics};
use tenantctl::pg::conninfo::ConnInfo;
use tenantctl::pg::session::{Connector, Session, SessionLimits};

use crate::support::{Db, Made, fast, runtime, sql, start, unique};

/// A cluster that counts statements.
fn counting() -> &'static Cluster {
    static CLUSTER: OnceLock<Cluster> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let mut settings = fast();
        settings.push("shared_preload_libraries = 'pg_stat_statements'".to_owned());
        start(&ClusterOptions {
            settings,
            ..ClusterOptions::default()
        })
    })
}

/// A database in it, prepared.
fn counted() -> Db {
    let db = Db::on(counting());
    db.run(&["init"]).success();
    db
}

/// Another login for a database, whatever cluster it is in.
fn url_as(db: &Db, login: &str) -> String {
    db.url.replacen("//postgres@", &format!("//{login}@"), 1)
}

/// The URL of a tenant, whatever cluster it is in.
fn tenant_url(db: &Db, made: &Made) -> String {
    url_as(db, &format!("{}:{}", made.role, made.password.as_deref().unwrap()))
}

/// A login that may act as the owner and nothing else: it sees neither files, nor others' sessions, nor rows that row
/// security hides.
fn lesser(db: &Db) -> String {
    let role = unique("lesser");
    db.sql(&format!(
        "CREATE ROLE {role} LOGIN PASSWORD 'pw' IN ROLE tenantctl_owner"
    ));
    db.sql(&format!("GRANT CONNECT ON DATABASE {} TO {role}", db.name));
    url_as(db, &format!("{role}:pw"))
}

fn connector(url: &str) -> Connector {
    let info = ConnInfo::resolve(Some(url), &|_| None).unwrap();
    Connector::new(info, "tenantctl test", SessionLimits::default())
}

fn options(sizes: Sizes) -> Options {
    Options {
        sizes,
        business: Vec::new(),
        business_timeout: Duration::from_secs(20),
        lock_timeout: Duration::from_millis(300),
        jobs: 4,
        top_queries: 10,
        query_texts: false,
        failed_operations_hours: 24,
    }
}

fn rows(url: &str) -> Vec<TenantRow> {
    runtime().block_on(async {
        let session = connector(url).connect().await.unwrap();
        tenants::list(&session, None).await.unwrap()
    })
}

fn measure_rows(url: &str, rows: &[TenantRow], options: &Options) -> Fleet {
    runtime().block_on(async {
        let connector = connector(url);
        let session = connector.connect().await.unwrap();
        collect(&connector, &session, rows, options).await.unwrap()
    })
}

fn measure(url: &str, options: &Options) -> Fleet {
    measure_rows(url, &rows(url), options)
}

fn with_session<T>(url: &str, work: impl AsyncFnOnce(Session) -> T) -> T {
    runtime().block_on(async { work(connector(url).connect().await.unwrap()).await })
}

/// A figure of each tenant, by id.
fn by_id<T>(fleet: &Fleet, figure: impl Fn(&TenantMetrics) -> T) -> BTreeMap<String, T> {
    let figures = fleet.tenants.iter().map(|t| (t.tenant_id.to_string(), figure(t)));
    figures.collect()
}

fn sizes_of(fleet: &Fleet) -> BTreeMap<String, Option<u64>> {
    by_id(fleet, |t| t.database.size_bytes)
}

/// Whether a sentence has all of these.
#[track_caller]
fn says(fleet: &Fleet, parts: &[&str]) {
    let all = |sentence: &&String| parts.iter().all(|part| sentence.contains(part));
    assert!(
        fleet.unknown.iter().any(|s| all(&s)),
        "{parts:?} not in {:#?}",
        fleet.unknown
    );
}

/// So many portfolios, each with so many positions, and so many trades now.
fn fill(db: &Db, made: &Made, portfolios: u32, positions: u32, trades: u32) {
    sql(
        &tenant_url(db, made),
        &format!(
            "WITH p AS (
                INSERT INTO portfolios (user_id, name) SELECT gen_random_uuid(), 'p' || n FROM generate_series(1, {portfolios}) n RETURNING id
            ), q AS (
                INSERT INTO positions (portfolio_id, symbol, quantity, avg_price)
                SELECT id, 'S' || n, 1, 1 FROM p, generate_series(1, {positions}) n
            )
            INSERT INTO trades (portfolio_id, symbol, side, quantity, price, executed_at)
            SELECT (SELECT min(id::text)::uuid FROM p), 'X', 'BUY', 1, 1, now() FROM generate_series(1, {trades}) n"
        ),
    )
    .unwrap();
}
