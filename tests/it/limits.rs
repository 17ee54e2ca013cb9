//! Limits are exact: whoever wants the last place gets it, and nobody else.

use std::sync::{Arc, Barrier};

use crate::support::{Db, Made, hold, sql};

fn portfolio(url: &str) -> Result<String, String> {
    sql(
        url,
        "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p') RETURNING id",
    )
    .map(|r| r[0][0].clone())
}

fn position(portfolio: &str) -> String {
    format!("INSERT INTO positions (portfolio_id, symbol, quantity, avg_price) VALUES ('{portfolio}', 'X', 1, 1)")
}

fn trades(portfolio: &str, n: u32, at: &str) -> String {
    format!(
        "INSERT INTO trades (portfolio_id, symbol, side, quantity, price, executed_at)
         SELECT '{portfolio}', 'X', 'BUY', 1, 1, '{at}'::timestamptz FROM generate_series(1, {n})"
    )
}

/// A database whose only tier has these limits.
fn limited(portfolios: &str, positions: &str, trades: &str) -> Db {
    let db = Db::new();
    tier(&db, portfolios, positions, trades);
    db.run(&["init"]).success();
    db
}

fn tier(db: &Db, portfolios: &str, positions: &str, trades: &str) {
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        format!(
            "templates:\n  small:\n    features: [all]\n    limits: {{max_portfolios: {portfolios}, max_positions_per_portfolio: {positions}, \
             max_trades_per_day: {trades}, max_api_calls_per_minute: 1, max_schema_size_gb: 1, max_connections: 60}}\n"
        ),
    )
    .unwrap();
}

fn usage(db: &Db, made: &Made) -> Vec<Vec<String>> {
    db.sql(&format!(
        "SELECT resource, used FROM {}.tenant_usage WHERE used <> 0 ORDER BY 1, 2",
        made.schema
    ))
}

/// What the counters say is what there is.
fn counters_are_true(db: &Db, made: &Made) {
    let s = &made.schema;
    let wrong = db.sql(&format!(
        "SELECT * FROM (
            SELECT 'portfolios', '', count(*) FROM {s}.portfolios HAVING count(*) > 0
            UNION ALL SELECT 'positions_per_portfolio', portfolio_id::text, count(*) FROM {s}.positions GROUP BY 2
            UNION ALL SELECT 'trades_per_day', COALESCE(to_char(executed_at AT TIME ZONE 'UTC', 'YYYY-MM-DD'), 'infinity'), count(*) FROM {s}.trades GROUP BY 2
         ) there (resource, scope, n)
         FULL JOIN (SELECT * FROM {s}.tenant_usage WHERE used <> 0) u USING (resource, scope)
         WHERE n IS DISTINCT FROM used"
    ));
    assert!(wrong.is_empty(), "{wrong:?}");
}

#[test]
fn each_limit_refuses_with_its_message() {
    let db = limited("2", "3", "10");
    let made = db.provision(&["acme"]).remove(0);
    let url = made.url(&db);
    let (a, b) = (portfolio(&url).unwrap(), portfolio(&url).unwrap());
    let error = portfolio(&url).expect_err("a third portfolio");
    assert_eq!(error, "53400 limit of 2 portfolios reached");
    for _ in 0..3 {
        sql(&url, &position(&a)).unwrap();
    }
    let error = sql(&url, &position(&a)).expect_err("a fourth position");
    assert_eq!(error, format!("53400 limit of 3 positions reached in portfolio {a}"));
    sql(&url, &position(&b)).unwrap();
    // Moving one there is adding one there.
    let error = sql(
        &url,
        &format!("UPDATE positions SET portfolio_id = '{a}' WHERE portfolio_id = '{b}'"),
    );
    assert!(error.expect_err("a move").starts_with("53400"));
    sql(&url, &trades(&a, 10, "2026-01-05 12:00+00")).unwrap();
    let error = sql(&url, &trades(&b, 1, "2026-01-05 23:59:59+00")).expect_err("an eleventh trade");
    assert_eq!(error, "53400 limit of 10 trades a day reached for 2026-01-05 (UTC)");
    // The day is UTC's, whatever the session's zone, and however it writes dates.
    let elsewhere = format!(
        "SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; {}",
        trades(&a, 1, "2026-01-06 08:59+09")
    );
    assert!(
        sql(&url, &elsewhere)
            .expect_err("the same day in UTC")
            .starts_with("53400")
    );
    sql(&url, &trades(&a, 1, "2026-01-06 09:00+09")).unwrap();
    assert!(
        sql(&url, &trades(&a, 11, "infinity"))
            .expect_err("no way round by infinity")
            .starts_with("53400")
    );
    let error = sql(
        &url,
        "UPDATE trades SET executed_at = '2026-01-05 00:00+00' WHERE executed_at >= '2026-01-06 00:00+00'",
    );
    assert!(error.expect_err("a trade of another day").starts_with("53400"));
    counters_are_true(&db, &made);
    // A place that is given back can be taken.
    sql(&url, "DELETE FROM trades WHERE id = (SELECT id FROM trades LIMIT 1)").unwrap();
    sql(&url, &format!("DELETE FROM portfolios WHERE id = '{b}'")).unwrap();
    let c = portfolio(&url).unwrap();
    sql(&url, &position(&c)).unwrap();
    counters_are_true(&db, &made);
    // The tenant can see what it uses and cannot change it.
    assert_ne!(sql(&url, "SELECT count(*) FROM tenant_usage").unwrap()[0][0], "0");
    for attempt in [
        "UPDATE tenant_usage SET used = 0",
        "DELETE FROM tenant_usage",
        "TRUNCATE tenant_usage",
        "INSERT INTO tenant_usage VALUES ('portfolios', 'x', -5)",
        "ALTER TABLE portfolios DISABLE TRIGGER ALL",
        "DROP TRIGGER tenantctl_limit_insert ON portfolios",
        "SET session_replication_role = replica",
        &format!("SELECT enforce_limits{}()", made.own()),
    ] {
        assert!(sql(&url, attempt).expect_err(attempt).starts_with("42501"), "{attempt}");
    }
    // Emptying a table by its owner empties the count.
    db.sql(&format!("TRUNCATE {0}.trades, {0}.positions", made.schema));
    assert_eq!(usage(&db, &made), [["portfolios", "2"]]);
}

/// A count that is there already goes one way, new ones and several at a time another; both count alike.
#[test]
fn rows_of_one_statement_count_each_where_they_belong() {
    let db = limited("2", "3", "10");
    let made = db.provision(&["acme"]).remove(0);
    let url = made.url(&db);
    let (a, b) = (portfolio(&url).unwrap(), portfolio(&url).unwrap());
    let days = |n: u32, days: &[&str]| {
        format!(
            "INSERT INTO trades (portfolio_id, symbol, side, quantity, price, executed_at)
             SELECT '{a}', 'X', 'BUY', 1, 1, at FROM generate_series(1, {n}), unnest('{{{}}}'::timestamptz[]) at",
            days.join(",")
        )
    };
    let (last, first) = ("2026-01-05 23:59:59.999999+00", "2026-01-06 00:00+00");
    // New counts, then the same ones.
    for (n, used) in [(4, "4"), (5, "9")] {
        sql(&url, &days(n, &[last, first])).unwrap();
        let there = [["portfolios", "2"], ["trades_per_day", used], ["trades_per_day", used]];
        assert_eq!(usage(&db, &made), there);
    }
    sql(&url, &days(1, &[first])).unwrap();
    let error = sql(&url, &days(1, &[last, first])).expect_err("one day is full");
    assert_eq!(error, "53400 limit of 10 trades a day reached for 2026-01-06 (UTC)");
    counters_are_true(&db, &made);
    // The earliest and the latest of these have no day; one between them has.
    sql(&url, &days(1, &["-infinity", "infinity"])).unwrap();
    let error = sql(&url, &days(1, &["-infinity", first, "infinity"])).expect_err("one day is full");
    assert_eq!(error, "53400 limit of 10 trades a day reached for 2026-01-06 (UTC)");
    sql(&url, &days(1, &["-infinity", last, "infinity"])).unwrap();
    counters_are_true(&db, &made);
    let both = format!(
        "INSERT INTO positions (portfolio_id, symbol, quantity, avg_price)
         SELECT id, 'X', 1, 1 FROM unnest('{{{a},{b}}}'::uuid[]) id"
    );
    for _ in 0..2 {
        sql(&url, &both).unwrap();
    }
    sql(&url, &position(&b)).unwrap();
    let error = sql(&url, &both).expect_err("one portfolio is full");
    assert_eq!(error, format!("53400 limit of 3 positions reached in portfolio {b}"));
    counters_are_true(&db, &made);
    // Above its limit by another tier, a statement that adds nothing is none's business.
    tier(&db, "1", "1", "1");
    db.run(&["secure", "acme"]).success();
    let nothing = "INSERT INTO portfolios (user_id, name) SELECT gen_random_uuid(), 'p' WHERE false";
    for nothing in [nothing.to_owned(), days(0, &[last]), format!("{both} WHERE false")] {
        sql(&url, &nothing).unwrap();
    }
    assert!(sql(&url, &both).expect_err("above the limit").starts_with("53400"));
    counters_are_true(&db, &made);
}

#[test]
fn statements_that_are_rolled_back_take_no_place() {
    let db = limited("2", "unlimited", "unlimited");
    let made = db.provision(&["acme"]).remove(0);
    let url = made.url(&db);
    for _ in 0..5 {
        sql(
            &url,
            "BEGIN; INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'x'); ROLLBACK",
        )
        .unwrap();
    }
    portfolio(&url).unwrap();
    assert!(
        sql(
            &url,
            "INSERT INTO portfolios (user_id, name) SELECT gen_random_uuid(), 'x' FROM generate_series(1, 2)"
        )
        .is_err()
    );
    portfolio(&url).unwrap();
    assert_eq!(usage(&db, &made), [["portfolios", "2"]]);
}

/// Forty sessions want twenty places, at every isolation level; twenty get one, and the rest are told why not.
#[test]
fn the_last_place_is_taken_once() {
    let db = limited("20", "20", "20");
    for (i, level) in ["read committed", "repeatable read", "serializable"]
        .into_iter()
        .enumerate()
    {
        let made = db.provision(&[&format!("t{i}")]).remove(0);
        let url = made.url(&db);
        let id = portfolio(&url).unwrap();
        for (what, statement, places) in [
            (
                "portfolios",
                "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p')".to_owned(),
                19,
            ),
            ("positions", position(&id), 20),
            ("trades", trades(&id, 1, "2026-01-05 12:00+00"), 20),
        ] {
            let barrier = Arc::new(Barrier::new(40));
            let threads: Vec<_> = (0..40)
                .map(|_| {
                    let (barrier, url) = (Arc::clone(&barrier), url.clone());
                    let text = format!("BEGIN ISOLATION LEVEL {level}; SELECT 1 FROM portfolios; {statement}; COMMIT");
                    std::thread::spawn(move || {
                        barrier.wait();
                        loop {
                            match sql(&url, &text) {
                                Ok(_) => return true,
                                Err(e) if e.starts_with("53400") => return false,
                                // What an application does at the stricter levels.
                                Err(e) if e.starts_with("40001") || e.starts_with("40P01") => {}
                                Err(e) => panic!("{e}"),
                            }
                        }
                    })
                })
                .collect();
            let taken = threads
                .into_iter()
                .filter(|_| true)
                .map(|t| t.join().unwrap())
                .filter(|got| *got)
                .count();
            assert_eq!(taken, places, "{what} at {level}");
        }
        counters_are_true(&db, &made);
    }
}

/// Serializable transactions that count elsewhere have nothing to do with each other, however small the table of counts is.
#[test]
fn other_counts_do_not_fail_a_serializable_transaction() {
    let db = limited("9", "9", "9");
    let made = db.provision(&["acme"]).remove(0);
    let url = made.url(&db);
    let (a, b) = (portfolio(&url).unwrap(), portfolio(&url).unwrap());
    let (monday, tuesday) = ("2026-01-05 12:00+00", "2026-01-06 12:00+00");
    for analyzed in [false, true] {
        if analyzed {
            db.sql(&format!("ANALYZE {}.tenant_usage", made.schema));
        }
        for (one, other) in [
            (position(&a), position(&b)),
            (trades(&a, 1, monday), trades(&a, 1, tuesday)),
            (position(&a), trades(&a, 1, monday)),
        ] {
            let begin = "BEGIN ISOLATION LEVEL SERIALIZABLE";
            let first = hold(&url, &format!("{begin}; {one}"));
            let second = hold(&url, &format!("{begin}; {other}"));
            first.run("COMMIT");
            second.run("COMMIT");
        }
    }
    counters_are_true(&db, &made);
}

#[test]
fn a_changed_tier_takes_effect_at_once() {
    let db = limited("1", "unlimited", "unlimited");
    let made = db.provision(&["acme", "other"]);
    let url = made[0].url(&db);
    let id = portfolio(&url).unwrap();
    assert!(portfolio(&url).is_err());
    // While nothing is counted, rows come in; when the limit comes, they count.
    for _ in 0..4 {
        sql(&url, &position(&id)).unwrap();
    }
    tier(&db, "3", "5", "unlimited");
    let run = db.run(&["secure", "acme"]).success();
    let text = run.stdout();
    assert!(
        text.contains("max_portfolios 1 -> 3, max_positions_per_portfolio unlimited -> 5"),
        "{text}"
    );
    portfolio(&url).unwrap();
    sql(&url, &position(&id)).unwrap();
    assert!(sql(&url, &position(&id)).expect_err("a sixth").starts_with("53400"));
    assert_eq!(
        usage(&db, &made[0]),
        [["portfolios", "2"], ["positions_per_portfolio", "5"]]
    );
    // The other tenant was not asked for.
    assert_eq!(
        db.value("SELECT limits->>'max_portfolios' FROM tenantctl.tenants WHERE tenant_id = 'other'"),
        "1"
    );
    // Below what there is: nothing is lost, nothing comes in.
    tier(&db, "1", "unlimited", "unlimited");
    db.run(&["secure", "--all"]);
    assert!(portfolio(&url).is_err());
    sql(&url, &position(&id)).unwrap();
    assert_eq!(sql(&url, "SELECT count(*) FROM portfolios").unwrap()[0][0], "2");
    assert_eq!(usage(&db, &made[0]), [["portfolios", "2"]]);
}

/// One statement that adds to a portfolio while it goes and comes again leaves the count of what is there.
#[test]
fn no_statement_makes_the_count_forget() {
    let db = limited("5", "10", "5");
    let made = db.provision(&["acme"]).remove(0);
    let url = made.url(&db);
    let id = portfolio(&url).unwrap();
    for _ in 0..10 {
        sql(&url, &position(&id)).unwrap();
    }
    let trick = format!(
        "WITH p AS ({} RETURNING 1), n AS (INSERT INTO portfolios (id, user_id, name) VALUES ('{id}', gen_random_uuid(), 'y') RETURNING 1),
         d AS (DELETE FROM portfolios WHERE id = '{id}' RETURNING 1) SELECT 1",
        position(&id)
    );
    let _ = sql(&url, &trick);
    counters_are_true(&db, &made);
    let fill = format!(
        "INSERT INTO positions (portfolio_id, symbol, quantity, avg_price) SELECT '{id}', 'X', 1, 1 FROM generate_series(1, 11)"
    );
    assert!(sql(&url, &fill).expect_err("eleven").starts_with("53400"));
    // A portfolio takes its count with it.
    let other = portfolio(&url).unwrap();
    sql(&url, &position(&other)).unwrap();
    sql(&url, &format!("DELETE FROM portfolios WHERE id = '{other}'")).unwrap();
    assert_eq!(
        db.value(&format!(
            "SELECT count(*) FROM {}.tenant_usage WHERE scope = '{other}'",
            made.schema
        )),
        "0"
    );
}

/// What was changed with the triggers off, or under another body of theirs, is counted anew.
#[test]
fn counts_that_are_wrong_are_mended() {
    let db = limited("5", "unlimited", "unlimited");
    let made = db.provision(&["acme"]).remove(0);
    let url = made.url(&db);
    portfolio(&url).unwrap();
    db.sql(&format!(
        "SET session_replication_role = replica; DELETE FROM {}.portfolios",
        made.schema
    ));
    db.run(&["secure", "acme"]).success();
    assert_eq!(usage(&db, &made), [["portfolios", "1"]]);
    db.run(&["secure", "acme", "--recount"]).success();
    assert!(usage(&db, &made).is_empty());
    db.sql(&format!(
        "CREATE OR REPLACE FUNCTION {0}.enforce_limits{1}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = {0}, pg_temp AS 'BEGIN RETURN NULL; END'",
        made.schema,
        made.own()
    ));
    for _ in 0..7 {
        portfolio(&url).unwrap();
    }
    db.run(&["secure", "acme"]).success();
    assert_eq!(usage(&db, &made), [["portfolios", "7"]]);
    assert!(portfolio(&url).is_err());
}
