//! Frozen tenants: they read and delete and do nothing else, everything that grants rights knows it, and they get back what
//! they had.

mod elsewhere;
mod enforcing;
mod races;

use std::time::Duration;

use tenantctl::catalog::tenants;
use tenantctl::error::{Error, ErrorKind};
use tenantctl::freezer::{Freezer, Measured, Turned};
use tenantctl::pg::conninfo::ConnInfo;
use tenantctl::pg::session::{Connector, SessionLimits};
use tenantctl::plan::freeze::Turn;
use tenantctl::tenant::TenantId;

use crate::support::{Db, Made, anatomy, hold, runtime, sql, unique};

/// More than any tier has, and next to nothing.
const HUGE: u64 = 1 << 60;
const TINY: u64 = 8192;

const INSERT: &str = "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p')";

fn connector(url: &str) -> Connector {
    let info = ConnInfo::resolve(Some(url), &|_| None).unwrap();
    Connector::new(info, "tenantctl metrics", SessionLimits::default())
}

/// The URL of an admin whose password is its name.
fn admins_url(db: &Db, admin: &str) -> String {
    db.url_as(admin).replace('@', &format!(":{admin}@"))
}

/// Gives a tenant what it is due at a size.
fn turn_as(url: &str, id: &str, size: Option<u64>) -> Result<Option<Turned>, Error> {
    let connector = connector(url);
    let id: TenantId = id.parse().unwrap();
    runtime().block_on(async {
        let session = connector.connect().await.unwrap();
        let tenant = tenants::find_one(&session, &id).await.unwrap();
        let freezer = Freezer::new(connector.clone(), Duration::from_secs(30), Duration::from_secs(20));
        let measured = Measured {
            tenant,
            size_bytes: size,
        };
        freezer.turn(&session, &measured).await
    })
}

fn turn(db: &Db, id: &str, size: u64) -> Option<Turned> {
    turn_as(&db.url, id, Some(size)).unwrap()
}

#[track_caller]
fn freeze(db: &Db, id: &str) -> Turned {
    let turned = turn(db, id, HUGE).unwrap();
    assert_eq!(turned.turn, Turn::Freeze);
    turned
}

#[track_caller]
fn thaw(db: &Db, id: &str) -> Turned {
    let turned = turn(db, id, TINY).unwrap();
    assert_eq!(turned.turn, Turn::Thaw);
    turned
}

#[track_caller]
fn refused(url: &str, text: &str) {
    let error = sql(url, text).expect_err(text);
    assert!(error.starts_with("42501 permission denied for "), "{text}: {error}");
}

fn is_frozen(db: &Db, id: &str) -> bool {
    db.value(&format!(
        "SELECT writes_frozen_at IS NOT NULL FROM tenantctl.tenants WHERE tenant_id = '{id}'"
    )) == "t"
}

/// What the tenant's role may still do on some table: the letters of the rights, all tables together.
fn rights(db: &Db, made: &Made) -> String {
    db.value(&format!(
        "SELECT string_agg(DISTINCT privilege_type, ' ' ORDER BY privilege_type) FROM pg_class c, aclexplode(c.relacl) x
         WHERE c.relnamespace = '{}'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND x.grantee = '{}'::regrole",
        made.schema, made.role
    ))
}

/// The rows of the operation log about freezing.
fn log(db: &Db) -> Vec<String> {
    let rows = db.sql(
        "SELECT tenant_id || ' ' || operation || ' ' || status FROM tenantctl.operations
         WHERE operation IN ('freeze', 'thaw') ORDER BY finished_at",
    );
    rows.into_iter().map(|mut row| row.remove(0)).collect()
}

#[test]
fn a_frozen_tenant_reads_and_deletes_and_adds_nothing() {
    let db = Db::initialized();
    let made = db.provision(&["acme", "globex", "--tier", "professional"]);
    let (acme, globex) = (&made[0], &made[1]);
    let url = acme.url(&db);
    sql(
        &url,
        "INSERT INTO portfolios (id, user_id, name) SELECT gen_random_uuid(), gen_random_uuid(), 'p' || i FROM generate_series(1, 3) i;
         INSERT INTO positions (portfolio_id, symbol, quantity, avg_price) SELECT id, 'X', 1, 1 FROM portfolios;
         INSERT INTO trades (portfolio_id, symbol, side, quantity, price, executed_at) SELECT id, 'X', 'BUY', 1, 1, now() FROM portfolios",
    )
    .unwrap();
    let (before, neighbour) = (anatomy(&db, &acme.schema), anatomy(&db, &globex.schema));
    let turned = freeze(&db, "acme");
    assert_eq!((turned.size_bytes, turned.max_bytes), (Some(HUGE), Some(100 << 30)));
    assert_eq!(turned.notes, Vec::<String>::new());
    assert_eq!(
        turned.writes_frozen_at.unwrap(),
        db.value("SELECT to_char(writes_frozen_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') FROM tenantctl.tenants WHERE tenant_id = 'acme'")
    );
    assert_eq!(rights(&db, acme), "DELETE SELECT");
    for statement in [
        INSERT,
        "UPDATE portfolios SET name = 'x'",
        "UPDATE portfolios SET name = 'x' WHERE false",
        "INSERT INTO portfolios (id, user_id, name) SELECT id, user_id, name FROM portfolios ON CONFLICT (id) DO NOTHING",
        "INSERT INTO portfolios (id, user_id, name) SELECT id, user_id, name FROM portfolios ON CONFLICT (id) DO UPDATE SET name = 'x'",
        "MERGE INTO portfolios p USING (VALUES ('p1')) v (name) ON p.name = v.name WHEN MATCHED THEN UPDATE SET name = 'x'",
        "MERGE INTO portfolios p USING (VALUES ('q')) v (name) ON p.name = v.name WHEN NOT MATCHED THEN INSERT (user_id, name) VALUES (gen_random_uuid(), 'q')",
        "WITH i AS (INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p') RETURNING 1) SELECT * FROM i",
        "WITH d AS (DELETE FROM trades RETURNING *) INSERT INTO trades SELECT * FROM d",
        "COPY portfolios (user_id, name) FROM STDIN",
        "COPY market_data FROM STDIN",
        "SELECT * FROM portfolios FOR UPDATE",
        "INSERT INTO audit_log (operation, table_name) VALUES ('INSERT', 'x')",
        "UPDATE tenant_usage SET used = 0",
        "TRUNCATE trades",
    ] {
        refused(&url, statement);
    }
    assert!(is_frozen(&db, "acme") && !is_frozen(&db, "globex"));
    // It makes room: foreign keys, audit and limits do their part with their own rights.
    let audited = db.value(&format!("SELECT count(*) FROM {}.audit_log", acme.schema));
    sql(&url, "DELETE FROM portfolios WHERE name = 'p1'; DELETE FROM trades").unwrap();
    let left = sql(
        &url,
        "SELECT (SELECT count(*) FROM portfolios), (SELECT count(*) FROM positions), (SELECT count(*) FROM trades),
         (SELECT used FROM tenant_usage WHERE resource = 'portfolios')",
    );
    assert_eq!(left.unwrap()[0], ["2", "2", "0", "2"]);
    let deletes = format!(
        "SELECT count(*) - {audited} FROM {}.audit_log WHERE operation = 'DELETE' OR id <= {audited}",
        acme.schema
    );
    assert_ne!(db.value(&deletes), "0", "the deletions were not audited");
    // The second run writes nothing.
    let version = "SELECT xmin::text || ctid FROM tenantctl.tenants WHERE tenant_id = 'acme'";
    let (row, operations) = (db.value(version), db.value("SELECT count(*) FROM tenantctl.operations"));
    for size in [HUGE, 100 << 30, 90 << 30, 95 << 30] {
        assert_eq!(turn(&db, "acme", size), None);
    }
    assert_eq!(turn_as(&db.url, "acme", None).unwrap(), None);
    assert_eq!(
        (db.value(version), db.value("SELECT count(*) FROM tenantctl.operations")),
        (row, operations)
    );

    let turned = thaw(&db, "acme");
    assert_eq!(turned.writes_frozen_at, None);
    assert_eq!(anatomy(&db, &acme.schema), before);
    assert_eq!(anatomy(&db, &globex.schema), neighbour);
    sql(&url, &format!("{INSERT}; UPDATE portfolios SET name = 'x'")).unwrap();
    assert_eq!(turn(&db, "acme", TINY), None);
    assert_eq!(log(&db), ["acme freeze done", "acme thaw done"]);
}

/// Foreign keys that set columns run as the table's owner too.
#[test]
fn foreign_keys_act_in_a_frozen_tenant() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    db.sql(&format!(
        "SET ROLE tenantctl_owner; SET search_path = {s};
         CREATE TABLE parents (id int PRIMARY KEY); CREATE TABLE children (id int PRIMARY KEY, parent int REFERENCES parents ON DELETE SET NULL);
         INSERT INTO parents VALUES (1), (2); INSERT INTO children VALUES (1, 1), (2, 2);
         GRANT SELECT, INSERT, UPDATE, DELETE ON parents, children TO {r}",
        s = made.schema,
        r = made.role
    ));
    freeze(&db, "acme");
    let url = made.url(&db);
    sql(&url, "DELETE FROM parents WHERE id = 1").unwrap();
    assert_eq!(sql(&url, "SELECT count(parent) FROM children").unwrap()[0][0], "1");
    refused(&url, "UPDATE children SET parent = NULL");
}

/// Rights that are not the standard's are taken as well, and the admin is told what a thaw does not bring back.
#[test]
fn rights_beyond_the_standard_are_taken_and_told() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    let (s, r) = (&made.schema, &made.role);
    db.sql(&format!(
        "SET ROLE tenantctl_owner; SET search_path = {s}, public;
         CREATE TABLE notes (id int, text text); GRANT SELECT, INSERT, UPDATE, DELETE ON notes TO {r};
         CREATE TABLE remarks (id int, text text); GRANT SELECT, UPDATE (text) ON remarks TO {r};
         CREATE TABLE readings (id int); GRANT SELECT ON readings TO {r};
         CREATE VIEW names AS SELECT id, name FROM portfolios; GRANT SELECT, UPDATE ON names TO {r};
         CREATE SEQUENCE numbers; GRANT USAGE, SELECT, UPDATE ON SEQUENCE numbers TO {r};
         GRANT INSERT (name, user_id) ON portfolios TO {r};
         RESET ROLE; CREATE TABLE {s}.foreigners (id int); GRANT SELECT, INSERT ON {s}.foreigners TO {r};
         GRANT INSERT ON {s}.notes TO PUBLIC"
    ));
    let turned = freeze(&db, "acme");
    let url = made.url(&db);
    for statement in [
        "UPDATE notes SET text = ''",
        "UPDATE remarks SET text = ''",
        "UPDATE names SET name = 'x'",
        INSERT,
    ] {
        refused(&url, statement);
    }
    let notes = turned.notes.join("\n");
    for part in ["on notes it had", "on remarks it had", "on names it had"] {
        assert!(notes.contains(part), "{part} in {notes}");
    }
    assert!(
        !notes.contains("readings") && !notes.contains("on portfolios"),
        "{notes}"
    );
    // What it cannot take it does not pass over.
    assert!(
        notes.contains("it still writes to table foreigners, which belongs to postgres"),
        "{notes}"
    );
    assert!(
        notes.contains("it still writes to table notes, which belongs to tenantctl_owner"),
        "{notes}"
    );
    let turned = thaw(&db, "acme");
    let notes = turned.notes.join("\n");
    assert!(
        notes.contains(&format!("GRANT INSERT, UPDATE ON {s}.notes TO {r}")),
        "{notes}"
    );
    refused(&url, "UPDATE notes SET text = ''");
    sql(&url, INSERT).unwrap();
}

/// The right is asked for at every execution, so that sessions that are open are frozen too.
#[test]
fn open_sessions_and_prepared_statements_are_frozen_at_their_next_statement() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    let url = made.url(&db);
    runtime().block_on(async {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let insert = client.prepare(INSERT).await.unwrap();
        client.execute(&insert, &[]).await.unwrap();
        client
            .batch_execute(&format!("PREPARE p AS {INSERT}; EXECUTE p"))
            .await
            .unwrap();
        tokio::task::block_in_place(|| freeze(&db, "acme"));
        let refused = |error: tokio_postgres::Error| error.code().map(|code| code.code().to_owned());
        assert_eq!(
            client.execute(&insert, &[]).await.map_err(refused),
            Err(Some("42501".into()))
        );
        assert_eq!(
            client.batch_execute("EXECUTE p").await.map_err(refused),
            Err(Some("42501".into()))
        );
        client.batch_execute("SELECT * FROM portfolios").await.unwrap();
        tokio::task::block_in_place(|| thaw(&db, "acme"));
        client.execute(&insert, &[]).await.unwrap();
        // Within an open transaction as well, but for prepared statements on what it has written to already.
        client.batch_execute("BEGIN").await.unwrap();
        client.execute(&insert, &[]).await.unwrap();
        tokio::task::block_in_place(|| freeze(&db, "acme"));
        assert_eq!(
            client.batch_execute(INSERT).await.map_err(refused),
            Err(Some("42501".into()))
        );
        client.batch_execute("ROLLBACK").await.unwrap();
    });
}

/// A tenant's open transaction, whatever it has locked, does not keep it from being frozen.
#[test]
fn no_lock_of_the_tenants_stands_in_the_way() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    let held = hold(
        &made.url(&db),
        &format!("BEGIN; {INSERT}; LOCK TABLE portfolios IN ROW EXCLUSIVE MODE"),
    );
    let admins = hold(
        &db.url,
        &format!("BEGIN; LOCK TABLE {}.trades IN ACCESS EXCLUSIVE MODE", made.schema),
    );
    let pid = db.value(&format!(
        "SELECT pid FROM pg_stat_activity WHERE usename = '{}'",
        made.role
    ));
    let notes = freeze(&db, "acme").notes;
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(
        notes[0].contains(&format!("open (process {pid}) may go on writing")),
        "{notes:?}"
    );
    held.run("ROLLBACK");
    drop(admins);
    thaw(&db, "acme");
    assert_eq!(freeze(&db, "acme").notes, Vec::<String>::new());
}

/// An admin who is no superuser, but a member of the owner.
#[test]
fn an_admin_without_superuser_freezes() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    let admin = unique("frz_admin");
    db.sql(&format!(
        "CREATE ROLE {admin} LOGIN PASSWORD '{admin}' IN ROLE tenantctl_owner; GRANT CONNECT ON DATABASE {} TO {admin}",
        db.name
    ));
    let before = anatomy(&db, &made.schema);
    let url = admins_url(&db, &admin);
    assert_eq!(turn_as(&url, "acme", Some(HUGE)).unwrap().unwrap().turn, Turn::Freeze);
    refused(&made.url(&db), INSERT);
    assert_eq!(turn_as(&url, "acme", Some(TINY)).unwrap().unwrap().turn, Turn::Thaw);
    assert_eq!(anatomy(&db, &made.schema), before);
    // Who is not one changes nothing.
    let stranger = unique("frz_stranger");
    db.sql(&format!(
        "CREATE ROLE {stranger} LOGIN PASSWORD '{stranger}'; GRANT CONNECT ON DATABASE {} TO {stranger}; GRANT USAGE ON SCHEMA tenantctl TO {stranger};
         GRANT SELECT ON ALL TABLES IN SCHEMA tenantctl TO {stranger}",
        db.name
    ));
    let error = turn_as(&admins_url(&db, &stranger), "acme", Some(HUGE)).expect_err("a stranger");
    assert_eq!(error.kind(), ErrorKind::Permission);
    assert!(!is_frozen(&db, "acme"));
    db.sql(&format!("DROP OWNED BY {stranger}; DROP ROLE {stranger}"));
}

#[test]
fn list_and_show_tell_it() {
    let db = Db::initialized();
    db.provision(&["acme", "globex"]);
    let since = freeze(&db, "acme").writes_frozen_at.unwrap();
    let text = db.run(&["list"]).success().stdout();
    assert!(
        text.lines()
            .any(|l| l.starts_with("acme") && l.contains("active, writes frozen")),
        "{text}"
    );
    assert!(
        text.lines().any(|l| l.starts_with("globex") && !l.contains("frozen")),
        "{text}"
    );
    let text = db.run(&["show", "acme"]).success().stdout();
    assert!(text.contains(&format!("active, writes frozen since {since}")), "{text}");
    assert!(text.contains("freeze"), "{text}");
    let json = db.run(&["-o", "json", "show", "acme"]).success().json();
    assert_eq!(json["writes_frozen_at"], since.as_str());
    let json = db.run(&["-o", "json", "show", "globex"]).success().json();
    assert!(json.get("writes_frozen_at").is_none(), "{json}");
}
