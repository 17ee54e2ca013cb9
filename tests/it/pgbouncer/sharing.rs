//! Who shares what: tenants nothing, clients of one tenant what the pool mode leaves.

use std::collections::BTreeSet;

use super::place;
use crate::support::pgbouncer::PgBouncer;
use crate::support::{Made, hold, sql};

/// Everything a session can leave behind.
const LEAVE: &str = "SET work_mem = '7MB'; SET search_path = pg_catalog; CREATE TEMP TABLE left_behind (x int);
    PREPARE left_statement AS SELECT 1; SELECT pg_advisory_lock(4711); LISTEN left_channel;";

/// What of it is there: one row of yes and no.
const FIND: &str = "SELECT current_setting('work_mem') = '7MB', current_setting('search_path') = 'pg_catalog',
    to_regclass('pg_temp.left_behind') IS NOT NULL, EXISTS (SELECT FROM pg_prepared_statements),
    EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), EXISTS (SELECT FROM pg_listening_channels())";

/// The server processes that a tenant's clients got, one after the other and all at once.
fn processes(pooler: &PgBouncer, made: &Made) -> BTreeSet<String> {
    let url = pooler.url(made);
    let mut pids: BTreeSet<String> = (0..5)
        .map(|_| sql(&url, "SELECT pg_backend_pid()").unwrap()[0][0].clone())
        .collect();
    let _held: Vec<_> = (0..3).map(|_| hold(&url, "BEGIN; SELECT 1")).collect();
    pids.extend(
        sql(&url, "SELECT pg_backend_pid(); SELECT pg_backend_pid()")
            .unwrap()
            .concat(),
    );
    pids
}

fn in_mode(mode: &str, left_within: &str) {
    let (cluster, db, made) = place(2);
    let keys = format!("  pool_mode: {mode}\n");
    let Some(pooler) = PgBouncer::start(&db, &cluster, &keys, "", "") else {
        return;
    };
    let (a, b) = (&made[0], &made[1]);
    let of_a = processes(&pooler, a);
    let of_b = processes(&pooler, b);
    assert!(
        of_a.is_disjoint(&of_b),
        "{mode}: tenants shared a server connection: {of_a:?} {of_b:?}"
    );

    // Each sees its own schema by plain names, whatever the other has been doing.
    let add = "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'mine')";
    for _ in 0..3 {
        sql(&pooler.url(a), add).unwrap();
    }
    sql(&pooler.url(b), add).unwrap();
    let count = |made| sql(&pooler.url(made), "SELECT count(*), current_user FROM portfolios").unwrap()[0].clone();
    assert_eq!(count(a), ["3", a.role.as_str()]);
    assert_eq!(count(b), ["1", b.role.as_str()]);
    let denied = sql(&pooler.url(b), &format!("SELECT * FROM {}.portfolios", a.schema)).expect_err("another's");
    assert!(denied.starts_with("42501"), "{denied}");

    // One server connection for each, so that whoever comes next gets what the last one had.
    drop(pooler);
    let keys = format!("{keys}  default_pool_size: 1\n  reserve_pool_size: 0\n");
    let Some(pooler) = PgBouncer::start(&db, &cluster, &keys, "", "") else {
        return;
    };
    let url = pooler.url(a);
    let pid = sql(&url, "SELECT pg_backend_pid()").unwrap();
    sql(&url, LEAVE).unwrap();
    let rows = sql(&url, &format!("{FIND}; SELECT pg_backend_pid()")).unwrap();
    assert_eq!(
        rows[1], pid[0],
        "{mode}: the next client has the same server connection"
    );
    let within: String = rows[0].concat();
    assert_eq!(
        within, left_within,
        "{mode}: what the next client of the same tenant finds"
    );
    assert_eq!(
        sql(&pooler.url(b), FIND).unwrap()[0].concat(),
        "ffffff",
        "{mode}: what another tenant finds"
    );
}

#[test]
fn tenants_share_nothing_in_session_mode_and_clients_nothing_either() {
    in_mode("session", "ffffff");
}

#[test]
fn tenants_share_nothing_in_transaction_mode_where_clients_of_one_do() {
    in_mode("transaction", "tttttt");
}

/// What a tenant may open holds: its clients wait for a connection, and the server's limit is never run into.
#[test]
fn limits_of_connections_hold() {
    let (cluster, db, _) = place(0);
    let limits = "max_portfolios: 1, max_positions_per_portfolio: 1, max_trades_per_day: 1, max_api_calls_per_minute: 1, max_schema_size_gb: 1";
    let tiers = format!(
        "templates:\n  few: {{name: Few, description: few, features: all, limits: {{{limits}, max_connections: 2}}}}\n  \
         many: {{name: Many, description: many, features: all, limits: {{{limits}, max_connections: 50}}}}\n"
    );
    let keys = "  default_pool_size: 2\n  reserve_pool_size: 3\n  reserve_pool_timeout: 1\n";
    let port = crate::support::free_port();
    PgBouncer::configure(&db, &cluster, port, keys, "", &tiers);
    let few = db.provision(&["few", "--tier", "few"]).remove(0);
    let many = db.provision(&["many", "--tier", "many"]).remove(0);
    let settings = "    query_wait_timeout: 2\n";
    let Some(pooler) = PgBouncer::start(&db, &cluster, keys, settings, &tiers) else {
        return;
    };
    let url = pooler.url(&few);
    let held: Vec<_> = (0..2).map(|_| hold(&url, "SELECT 1")).collect();
    let refused = sql(&url, "SELECT 1").expect_err("a third");
    assert!(
        refused.contains("query_wait_timeout"),
        "it waits and is not refused by the server: {refused}"
    );
    assert!(
        !pooler.log().contains("too many connections for role"),
        "{}",
        pooler.log()
    );
    // Others are not in its way, and it goes on once one of its own has gone.
    assert!(sql(&pooler.url(&many), "SELECT 1").is_ok());
    drop(held);
    crate::support::wait_for("a free connection", || sql(&url, "SELECT 1").is_ok());
    // The server's own limit stands behind it, for whoever comes past the pooler.
    assert_eq!(
        db.value(&format!(
            "SELECT rolconnlimit FROM pg_roles WHERE rolname = '{}'",
            few.role
        )),
        "2"
    );
}

/// tenantctl keeps settings in its sessions, so a pooler that changes the server process under it is refused.
#[test]
fn tenantctl_itself_goes_past_a_pooler_in_transaction_mode() {
    let (cluster, db, _) = place(1);
    db.sql("CREATE ROLE boss LOGIN SUPERUSER PASSWORD 'boss'");
    let dir = db.dir.join("pb");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("userlist.txt"), "\"boss\" \"boss\"\n").unwrap();
    let list = |pooler: &PgBouncer| {
        let mut command = db.command(&["list"]);
        command.command.env("DATABASE_URL", pooler.url_as("boss", "boss"));
        command.finish()
    };
    let Some(pooler) = PgBouncer::start(&db, &cluster, "  pool_mode: transaction\n", "", "") else {
        return;
    };
    // A server process that was there before: it is known again.
    sql(&pooler.url_as("boss", "boss"), "SELECT pg_sleep(0.5)").unwrap();
    list(&pooler)
        .exits(4)
        .says(&["a pooler in transaction mode", "hint: Connect to PostgreSQL itself"]);
    // It leaves nothing of its own settings to whoever comes next.
    let left = sql(
        &pooler.url_as("boss", "boss"),
        "SELECT current_setting('search_path'), current_setting('row_security')",
    );
    assert_eq!(left.unwrap()[0].concat(), "\"$user\", publicon");
    drop(pooler);
    let Some(pooler) = PgBouncer::start(&db, &cluster, "  pool_mode: session\n", "", "") else {
        return;
    };
    sql(&pooler.url_as("boss", "boss"), "SELECT pg_sleep(0.5)").unwrap();
    assert!(list(&pooler).success().stdout().contains('a'));
}
