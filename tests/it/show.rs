//! `list` and `show`.

use crate::support::{Db, hold, sql};

#[test]
fn list_is_the_registry() {
    let db = Db::initialized();
    let run = db.run(&["list"]).success();
    assert_eq!(run.stdout(), "");
    run.says(&["no tenants"]);
    assert_eq!(
        db.run(&["-o", "json", "list"]).success().json()["tenants"]
            .as_array()
            .unwrap()
            .len(),
        0
    );
    let made = db.provision(&["b", "a", "--tier", "professional"]);
    db.provision(&["c", "--tier", "basic"]);
    let json = db.run(&["-o", "json", "list"]).success().json();
    let ids: Vec<_> = json["tenants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["tenant_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids, ["a", "b", "c"]);
    assert_eq!(json["tenants"][0]["schema_name"], made[0].schema.as_str());
    let json = db.run(&["-o", "json", "list", "--tier", "basic"]).success().json();
    assert_eq!(json["tenants"].as_array().unwrap().len(), 1);
    let text = db.run(&["list"]).success().stdout();
    assert_eq!(text.lines().count(), 4);
    assert!(text.lines().all(|l| l == l.trim_end()), "trailing spaces in\n{text}");
}

#[test]
fn show_tells_tier_limits_usage_and_storage() {
    let db = Db::initialized();
    let made = db.provision(&["acme", "--tier", "professional"]).remove(0);
    sql(
        &made.url(&db),
        "INSERT INTO portfolios (user_id, name) SELECT gen_random_uuid(), 'p' FROM generate_series(1, 5)",
    )
    .unwrap();
    let held = hold(&made.url(&db), "SELECT 1");
    let json = db.run(&["-o", "json", "show", "acme"]).success().json();
    assert_eq!(json["tier"], "professional");
    assert_eq!(json["limits"]["max_portfolios"], 50);
    assert_eq!(json["limits"]["max_connections"], 100);
    assert_eq!(json["connections"], 1);
    assert!(json["size_bytes"].as_i64().unwrap() > 0);
    assert_eq!(json["hypertables"].as_array().unwrap().len(), 0);
    assert_eq!(json["missing"].as_array().unwrap().len(), 0);
    let trades = json["relations"]
        .as_array()
        .unwrap()
        .iter()
        .find(|r| r["name"] == "trades")
        .unwrap();
    assert_eq!(
        (trades["kind"].as_str(), trades["row_security"].as_bool()),
        (Some("table"), Some(true))
    );
    let text = db.run(&["show", "acme"]).success().stdout();
    for part in [
        "plain tables",
        "1 of 100",
        "at most 10000 a day",
        "market_data",
        "grants only",
        "provision",
        "done",
    ] {
        assert!(text.contains(part), "{part} not in\n{text}");
    }
    drop(held);
    db.run(&["show", "acmee"])
        .exits(4)
        .says(&["does not exist", "Did you mean acme?"]);
    db.run(&["show", "zzz"]).exits(4).says(&["tenantctl list"]);
    let unlimited = db.provision(&["big", "--tier", "enterprise"]);
    assert_eq!(unlimited.len(), 1);
    let json = db.run(&["-o", "json", "show", "big"]).success().json();
    assert!(json["limits"]["max_portfolios"].is_null());
    assert!(db.run(&["show", "big"]).stdout().contains("portfolios   unlimited"));
}

#[test]
fn a_locked_table_makes_the_size_unknown_and_nothing_else() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    let held = hold(
        &db.url,
        &format!("BEGIN; LOCK TABLE {}.trades IN ACCESS EXCLUSIVE MODE", made.schema),
    );
    let run = db
        .run(&["show", "acme"])
        .success()
        .says(&["a table of this tenant is locked"]);
    assert!(run.stdout().contains("UNKNOWN (a table is locked)"));
    assert!(db.run(&["-o", "json", "show", "acme"]).success().json()["size_bytes"].is_null());
    drop(held);
}

#[test]
fn what_is_missing_is_said() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    db.sql(&format!("DROP SCHEMA {} CASCADE", made.schema));
    let json = db.run(&["-o", "json", "show", "acme"]).success().json();
    assert_eq!(json["missing"][0], "schema");
    assert!(db.run(&["show", "acme"]).success().stdout().contains("missing: schema"));
}
