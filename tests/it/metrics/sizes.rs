//! Sizes are what the server's functions say, however they are found out.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use tenantctl::metrics::collect::Sizes;
use tenantctl::metrics::readers::Readers;
use tenantctl::metrics::sizes::{self, Batch, Chunk, Contents, Functions, Opened, Patience, Way};

use super::{by_id, connector, fill, lesser, measure, measure_rows, options, rows, says, sizes_of, with_session};
use crate::support::{Db, Made, hold, runtime, unique, wait_for};

/// What the superuser gets table by table, with what inherits from them outside of tenants' schemas.
fn truth(db: &Db) -> BTreeMap<String, Option<u64>> {
    let rows = db.sql(
        "SELECT t.tenant_id, (SELECT sum(pg_total_relation_size(c.oid)) FROM pg_class c
            WHERE c.relnamespace = n.oid AND c.relkind IN ('r', 'p', 'm')
            OR c.oid IN (SELECT i.inhrelid FROM pg_inherits i JOIN pg_class p ON p.oid = i.inhparent
                JOIN pg_class k ON k.oid = i.inhrelid JOIN pg_namespace m ON m.oid = k.relnamespace
                WHERE p.relnamespace = n.oid AND m.nspname !~ '^tenant_'))
         FROM tenantctl.tenants t JOIN pg_namespace n ON n.nspname = t.schema_name",
    );
    rows.into_iter().map(|r| (r[0].clone(), r[1].parse().ok())).collect()
}

/// Tenants with all kinds of things that take space, each of another size.
fn varied() -> (Db, Vec<Made>, String) {
    let db = Db::initialized();
    let made = db.provision(&["a", "b", "c", "d", "e", "--tier", "professional"]);
    for (i, made) in made.iter().enumerate() {
        fill(&db, made, 1 + i as u32, 3, 40 * (i as u32 + 1));
    }
    let of = |id: &str| made.iter().find(|m| m.id == id).unwrap().schema.clone();
    let (a, b, c) = (of("a"), of("b"), of("c"));
    let space = unique("space");
    // TOAST, a materialized view, an unlogged table (it has an init fork), partitions here and elsewhere, another tablespace.
    // The setting holds for the session, and the statement must be alone in its transaction.
    hold(&db.url, "SET allow_in_place_tablespaces = on").run(&format!("CREATE TABLESPACE {space} LOCATION ''"));
    db.sql(&format!(
        "CREATE TABLE {a}.notes (id int PRIMARY KEY, body text);
         ALTER TABLE {a}.notes ALTER body SET STORAGE EXTERNAL;
         INSERT INTO {a}.notes SELECT n, repeat(md5(n::text), 1000) FROM generate_series(1, 50) n;
         CREATE MATERIALIZED VIEW {a}.copied AS SELECT * FROM {a}.notes;
         CREATE UNLOGGED TABLE {a}.fleeting AS SELECT n FROM generate_series(1, 5000) n;
         CREATE TABLE {b}.parted (id int) PARTITION BY RANGE (id);
         CREATE INDEX ON {b}.parted (id);
         CREATE TABLE {b}.parted_1 PARTITION OF {b}.parted FOR VALUES FROM (0) TO (5000);
         CREATE SCHEMA elsewhere;
         CREATE TABLE elsewhere.parted_2 PARTITION OF {b}.parted FOR VALUES FROM (5000) TO (20000) PARTITION BY RANGE (id);
         CREATE TABLE elsewhere.parted_3 PARTITION OF elsewhere.parted_2 FOR VALUES FROM (5000) TO (20000);
         INSERT INTO {b}.parted SELECT n FROM generate_series(1, 15000) n;
         CREATE TABLE {c}.child () INHERITS ({b}.portfolios);
         INSERT INTO {c}.child (user_id, name) SELECT gen_random_uuid(), 'x' FROM generate_series(1, 500);
         CREATE TABLE {c}.far (id int PRIMARY KEY, body text) TABLESPACE {space};
         INSERT INTO {c}.far SELECT n, md5(n::text) FROM generate_series(1, 3000) n;
         CREATE INDEX ON {c}.far (body) TABLESPACE {space};
         CREATE SEQUENCE {c}.counted_by_nobody",
    ));
    (db, made, space)
}

/// `elsewhere.parted_3` hangs under `elsewhere.parted_2`, which the truth above does not follow.
fn add_grandchild(db: &Db, truth: &mut BTreeMap<String, Option<u64>>) {
    let more: u64 = db
        .value("SELECT pg_total_relation_size('elsewhere.parted_3')")
        .parse()
        .unwrap();
    let b = truth.get_mut("b").unwrap();
    *b = b.map(|bytes| bytes + more);
}

#[test]
fn all_ways_say_what_the_server_says() {
    let (db, _, space) = varied();
    let mut truth = truth(&db);
    add_grandchild(&db, &mut truth);
    let distinct: std::collections::BTreeSet<_> = truth.values().collect();
    assert_eq!(distinct.len(), 5, "figures that are the same prove nothing: {truth:?}");
    for way in [Sizes::Exact, Sizes::Functions] {
        let fleet = measure(&db.url, &options(way));
        assert_eq!(sizes_of(&fleet), truth, "{way:?}");
        assert!(fleet.tenants.iter().all(|t| t.database.size_source == "exact"));
        assert!(fleet.unknown.is_empty(), "{:?}", fleet.unknown);
    }
    let mut alone = options(Sizes::Exact);
    alone.jobs = 1;
    assert_eq!(sizes_of(&measure(&db.url, &alone)), truth);
    // An admin without a right to the files gets the same, with the database hardened and without.
    let lesser = lesser(&db);
    assert_eq!(sizes_of(&measure(&lesser, &options(Sizes::Exact))), truth);
    db.run(&["secure", "--all"]);
    assert_eq!(
        db.value("SELECT has_function_privilege('public', 'pg_total_relation_size(regclass)', 'EXECUTE')"),
        "f"
    );
    assert_eq!(sizes_of(&measure(&lesser, &options(Sizes::Exact))), truth);
    // Without any right there is no size, and all the rest.
    db.sql("REVOKE EXECUTE ON FUNCTION pg_total_relation_size(regclass) FROM tenantctl_owner");
    let fleet = measure(&lesser, &options(Sizes::Exact));
    assert!(sizes_of(&fleet).values().all(Option::is_none));
    says(
        &fleet,
        &["the size of 5 tenants", "may not execute pg_total_relation_size"],
    );
    assert!(
        by_id(&fleet, |t| t.limits["portfolios"].used)
            .values()
            .all(Option::is_some)
    );
    let fleet = measure(&db.url, &options(Sizes::None));
    assert!(
        fleet
            .tenants
            .iter()
            .all(|t| t.database.size_bytes.is_none() && t.database.size_source == "unknown")
    );
    db.sql(&format!("DROP TABLE {}.far", made_schema(&db, "c")));
    db.sql(&format!("DROP TABLESPACE {space}"));
}

fn made_schema(db: &Db, id: &str) -> String {
    db.value(&format!(
        "SELECT schema_name FROM tenantctl.tenants WHERE tenant_id = '{id}'"
    ))
}

#[test]
fn estimates_are_the_pages_that_vacuum_saw() {
    let (db, _, space) = varied();
    for table in db.sql(
        "SELECT c.oid::regclass::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
         WHERE (n.nspname ~ '^tenant_' OR n.nspname = 'elsewhere') AND c.relkind IN ('r', 'm')",
    ) {
        db.sql(&format!("VACUUM ANALYZE {}", table[0]));
    }
    let mut exact = truth(&db);
    add_grandchild(&db, &mut exact);
    let fleet = measure(&db.url, &options(Sizes::Estimate));
    assert!(
        fleet.tenants.iter().all(|t| t.database.size_source == "estimate"),
        "{:?}",
        fleet.unknown
    );
    for (id, estimate) in sizes_of(&fleet) {
        let (estimate, exact) = (estimate.unwrap(), exact[&id].unwrap());
        let schema = made_schema(&db, &id);
        // Free space maps, visibility maps and init forks are not in it; each is a few pages.
        let relations: u64 = db
            .value(&format!(
                "SELECT count(*) * 6 FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'm', 'i')"
            ))
            .parse()
            .unwrap();
        assert!(
            estimate <= exact && exact - estimate <= relations * 8192,
            "{id}: {estimate} of {exact}"
        );
    }
    // Rows are known, too: the statistics were flushed by the vacuum.
    let rows = by_id(&fleet, |t| t.database.total_rows);
    for (i, id) in ["a", "b", "c", "d", "e"].into_iter().enumerate() {
        let schema = made_schema(&db, id);
        let tables = db.sql(&format!(
            "SELECT relname FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'm')"
        ));
        let mut counted: u64 = tables
            .iter()
            .map(|t| {
                db.value(&format!("SELECT count(*) FROM ONLY {schema}.{}", t[0]))
                    .parse::<u64>()
                    .unwrap()
            })
            .sum();
        if id == "b" {
            counted += db
                .value("SELECT count(*) FROM elsewhere.parted_3")
                .parse::<u64>()
                .unwrap();
        }
        assert_eq!(rows[id], Some(counted), "{id}");
        let tables = db.value(&format!(
            "SELECT count(*) FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'p')"
        ));
        assert_eq!(fleet.tenants[i].database.table_count.to_string(), tables, "{id}");
    }
    db.sql(&format!("DROP TABLE {}.far", made_schema(&db, "c")));
    db.sql(&format!("DROP TABLESPACE {space}"));
}

#[test]
fn a_table_that_nobody_looked_at_has_no_estimate() {
    let db = Db::initialized();
    let made = db.provision(&["empty", "full"]);
    let full = &made.iter().find(|m| m.id == "full").unwrap().schema;
    db.sql(&format!(
        "CREATE TABLE {full}.more AS SELECT n FROM generate_series(1, 2000) n"
    ));
    wait_for("the statistics", || {
        db.value(&format!("SELECT pg_stat_get_live_tuples('{full}.more'::regclass)")) == "2000"
    });
    let fleet = measure(&db.url, &options(Sizes::Estimate));
    let sizes = sizes_of(&fleet);
    assert!(sizes["empty"].is_some() && sizes["full"].is_none(), "{sizes:?}");
    says(&fleet, &["the size of tenant full is unknown", "ANALYZE"]);
    db.sql(&format!("ANALYZE {full}.more"));
    assert!(sizes_of(&measure(&db.url, &options(Sizes::Estimate)))["full"].is_some());
}

/// Whoever locks its tables keeps its own size from being known, and nobody else's.
#[test]
fn locks_hold_nobody_up() {
    let db = Db::initialized();
    let made = db.provision(&["a", "b", "c", "d"]);
    let schema = |id: &str| &made.iter().find(|m| m.id == id).unwrap().schema;
    let truth = truth(&db);
    let lock_all = |id: &str| {
        let s = schema(id);
        format!(
            "BEGIN; LOCK TABLE {s}.portfolios, {s}.positions, {s}.trades, {s}.market_data, {s}.audit_log, {s}.tenant_usage IN ACCESS EXCLUSIVE MODE"
        )
    };
    let held = hold(&db.url, &lock_all("b"));
    // Nobody has this lock, but who asks for it keeps all who come later from the table.
    let reader = hold(&db.url, &format!("BEGIN; SELECT FROM {}.trades", schema("c")));
    let waiting = {
        let (url, text) = (
            db.url.clone(),
            format!("LOCK TABLE {}.trades IN ACCESS EXCLUSIVE MODE", schema("c")),
        );
        std::thread::spawn(move || {
            let _ = crate::support::sql(&url, &format!("BEGIN; {text}"));
        })
    };
    wait_for("the lock to be waited for", || {
        db.value("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") == "1"
    });
    let began = Instant::now();
    let fleet = measure(&db.url, &options(Sizes::Exact));
    assert_eq!(sizes_of(&fleet), truth, "files are read whoever has locked the tables");
    says(&fleet, &["the usage of limits of tenant b is unknown", "locked"]);
    assert!(by_id(&fleet, |t| t.limits["portfolios"].used)["b"].is_none());
    let mut expected = truth.clone();
    expected.insert("b".into(), None);
    expected.insert("c".into(), None);
    let fleet = measure(&db.url, &options(Sizes::Functions));
    assert_eq!(sizes_of(&fleet), expected);
    says(&fleet, &["the size of 2 tenants (b, c) is unknown", "locked"]);
    assert_eq!(
        by_id(&fleet, |t| t.database.size_source.clone())
            .into_values()
            .collect::<Vec<_>>(),
        ["exact", "unknown", "unknown", "exact"]
    );
    let used = by_id(&fleet, |t| t.limits["portfolios"].used);
    assert_eq!((used["a"], used["b"], used["c"]), (Some(0.0), None, Some(0.0)));
    // Locked tenants are known beforehand: no lock timeout was waited for, let alone the minutes of a statement timeout.
    assert!(began.elapsed() < Duration::from_secs(30));
    drop(reader);
    waiting.join().unwrap();
    drop(held);
    wait_for("the locks to be gone", || {
        db.value("SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())") == "0"
    });
    assert_eq!(sizes_of(&measure(&db.url, &options(Sizes::Functions))), truth);
}

/// A lock that comes after the look at the locks: the batch fails, and its tenant is found.
#[test]
fn a_late_lock_costs_its_tenant_only() {
    let db = Db::initialized();
    let made = db.provision(&["a", "b", "c", "d", "e", "f", "g"]);
    let locked = &made[3];
    let held = hold(
        &db.url,
        &format!("BEGIN; LOCK TABLE {}.trades IN ACCESS EXCLUSIVE MODE", locked.schema),
    );
    let schemas: Vec<&str> = made.iter().map(|m| m.schema.as_str()).collect();
    let connector = connector(&db.url);
    let (asked, given_up) = runtime().block_on(async {
        let readers = Readers {
            connector: &connector,
            jobs: 1,
            lock_timeout: Duration::from_millis(50),
        };
        let session = readers.open().await.unwrap();
        let batch = Batch(sizes::tables(&session, &schemas).await.unwrap());
        let asked = sizes::ask(&session, &batch, Patience::new(&readers), &Functions)
            .await
            .unwrap();
        // The same with a table that is in no list of locks: halved until it is alone.
        let mut odd = batch.clone();
        odd.0.push(Opened {
            at: 99,
            relations: vec![u32::MAX],
        });
        let gone = sizes::ask(&session, &odd, Patience::new(&readers), &Functions)
            .await
            .unwrap();
        (asked, gone)
    });
    drop(held);
    let at: Vec<usize> = asked.unknown.iter().map(|(at, _)| *at).collect();
    assert_eq!((at, asked.found.len()), (vec![3], 6));
    assert_eq!(asked.unknown[0].1.sqlstate(), Some("55P03"));
    assert!(asked.found.iter().all(|(at, bytes)| *at != 3 && bytes.is_some()));
    let odd: Vec<_> = given_up.found.iter().filter(|(_, bytes)| bytes.is_none()).collect();
    assert_eq!(odd, [&(99, None)], "a table that is gone is unknown, not 0");
}

#[test]
fn files_that_were_replaced_meanwhile_are_noticed() {
    let db = Db::initialized();
    let made = db.provision(&["a", "b", "c"]);
    for made in &made {
        fill(&db, made, 2, 2, 50);
    }
    let schemas: Vec<&str> = made.iter().map(|m| m.schema.as_str()).collect();
    with_session(&db.url, async |session| {
        let before = sizes::all_files(&session).await.unwrap();
        let all = Chunk::all(schemas.len());
        let found: HashMap<usize, Contents> = sizes::read(&session, &schemas, &all, Way::Files)
            .await
            .unwrap()
            .into_iter()
            .collect();
        assert!(
            sizes::replaced(&session, &schemas, &found, before)
                .await
                .unwrap()
                .is_empty()
        );
        let change = async |text: String| {
            let (client, connection) = tokio_postgres::connect(&db.url, tokio_postgres::NoTls).await.unwrap();
            tokio::spawn(connection);
            client.batch_execute(&text).await.unwrap();
        };
        // Somebody else's table is nobody's.
        change("CREATE TABLE public.other AS SELECT 1 AS n".to_owned()).await;
        assert!(
            sizes::replaced(&session, &schemas, &found, before)
                .await
                .unwrap()
                .is_empty()
        );
        change(format!("VACUUM FULL {}.trades", schemas[1])).await;
        assert_eq!(sizes::replaced(&session, &schemas, &found, before).await.unwrap(), [1]);
        change(format!("DROP SCHEMA {} CASCADE", schemas[2])).await;
        let mut both = sizes::replaced(&session, &schemas, &found, before).await.unwrap();
        both.sort_unstable();
        assert_eq!(both, [1, 2]);
    });
}

/// Tenants that go, come back under the same name, or lose their schema while others are measured.
#[test]
fn what_is_gone_meanwhile_is_left_out_or_unknown() {
    let db = Db::initialized();
    let made = db.provision(&["again", "gone", "lost", "stays"]);
    let before = rows(&db.url);
    db.run(&["drop", "gone", "again", "--yes"]).success();
    db.provision(&["again"]);
    let lost = made.iter().find(|m| m.id == "lost").unwrap();
    db.sql(&format!("DROP SCHEMA {} CASCADE", lost.schema));
    for way in [Sizes::Exact, Sizes::Functions, Sizes::Estimate] {
        let fleet = measure_rows(&db.url, &before, &options(way));
        let sizes = sizes_of(&fleet);
        assert_eq!(sizes.keys().collect::<Vec<_>>(), ["lost", "stays"], "{way:?}");
        assert!(
            sizes["lost"].is_none() && sizes["stays"].is_some(),
            "{way:?}: {sizes:?}"
        );
        let lost = &fleet.tenants[0];
        assert_eq!(
            (
                lost.database.table_count,
                lost.database.total_rows,
                lost.database.size_source.as_str()
            ),
            (0, None, "unknown")
        );
        assert!(lost.limits["portfolios"].used.is_none() && lost.limits["schema_size"].used.is_none());
        says(&fleet, &["of tenant lost is unknown", "the schema is missing"]);
        assert!(
            fleet
                .unknown
                .iter()
                .all(|s| !s.contains("gone") && !s.contains("again")),
            "{:?}",
            fleet.unknown
        );
    }
}

/// As after a crash or a failover: the tables are full, and nobody has counted.
#[test]
fn lost_statistics_are_not_taken_for_empty_tables() {
    let db = Db::initialized();
    let made = db.provision(&["full", "void"]);
    fill(&db, &made[0], 2, 20, 20);
    db.sql("ANALYZE");
    let rows = |sizes| by_id(&measure(&db.url, &options(sizes)), |t| t.database.total_rows);
    let before = rows(Sizes::Exact);
    assert!(before["full"] >= Some(62), "{before:?}");
    db.sql("SELECT pg_stat_reset()");
    fill(&db, &made[0], 1, 1, 1);
    wait_for("the new rows to be counted", || {
        db.value(&format!(
            "SELECT pg_stat_get_tuples_inserted('{}.trades'::regclass)",
            made[0].schema
        )) == "1"
    });
    for sizes in [Sizes::Exact, Sizes::Functions, Sizes::Estimate, Sizes::None] {
        let rows = rows(sizes);
        assert_eq!((rows["full"], rows["void"]), (None, Some(0)), "{sizes:?}");
    }
    says(
        &measure(&db.url, &options(Sizes::Exact)),
        &["number of rows of tenant full is unknown", "ANALYZE"],
    );
    db.sql("ANALYZE");
    let after = rows(Sizes::Exact);
    assert!(after["full"] > before["full"], "{after:?}");
}
