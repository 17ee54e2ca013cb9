//! Chunk intervals and retention by tier.

use super::with_extension;
use crate::support::{Db, Run, change_under, hold, sql};

const POLICY: &str = "
template:
  hypertables:
    - {table: trades, column: executed_at, chunk_interval: 1 day}
    - {table: market_data, column: timestamp, chunk_interval: 1 hour, retention: 30 days}
templates:
  basic:
    features: [portfolios, positions, trades]
    limits: {max_portfolios: 5, max_positions_per_portfolio: 100, max_trades_per_day: 10, max_api_calls_per_minute: 100, max_schema_size_gb: 10, max_connections: 25}
    hypertables:
      trades: {chunk_interval: 7 days, retention: 2 months}
      market_data: {chunk_interval: 1 day}
  enterprise:
    features: all
    limits: {max_portfolios: unlimited, max_positions_per_portfolio: unlimited, max_trades_per_day: unlimited, max_api_calls_per_minute: 1000, max_schema_size_gb: 1000, max_connections: 500}
    hypertables:
      market_data: {retention: none}
";

fn run(db: &Db, args: &[&str]) -> Run {
    std::fs::write(db.dir.join("policy.yaml"), POLICY).unwrap();
    let mut all = vec!["--config", "policy.yaml"];
    all.extend(args);
    db.run(&all)
}

fn intervals(db: &Db, schema: &str) -> Vec<Vec<String>> {
    db.sql(&format!(
        "SELECT hypertable_name, time_interval::text FROM timescaledb_information.dimensions WHERE hypertable_schema = '{schema}' ORDER BY 1"
    ))
}

fn old_rows(db: &Db, schema: &str) {
    db.sql(&format!(
        "INSERT INTO {schema}.portfolios (user_id, name) VALUES (gen_random_uuid(), 'p');
         INSERT INTO {schema}.trades (portfolio_id, symbol, side, quantity, price, executed_at)
         SELECT id, 'AAPL', 'BUY', 1, 1, now() - n * interval '10 days' FROM {schema}.portfolios, generate_series(0, 19) n;
         INSERT INTO {schema}.market_data (symbol, timestamp, open, high, low, close, volume)
         SELECT 'S', now() - n * interval '10 days', 1, 2, 1, 1.5, n FROM generate_series(0, 19) n"
    ));
}

#[test]
fn the_interval_of_new_chunks_is_the_tiers() {
    let Some((_own, db)) = with_extension("the_interval_of_new_chunks_is_the_tiers") else {
        return;
    };
    // Made by the built-in policy.
    let plain = db.provision(&["before", "--tier", "basic"]).remove(0);
    assert_eq!(
        intervals(&db, &plain.schema),
        [["market_data", "01:00:00"], ["trades", "1 day"]]
    );
    run(&db, &["init"]).success();
    let made: Vec<String> = [("small", "basic"), ("large", "enterprise")]
        .into_iter()
        .map(|(id, tier)| {
            let json = run(&db, &["-o", "json", "provision", id, "--tier", tier])
                .success()
                .json();
            json["tenants"][0]["schema_name"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        intervals(&db, &made[0]),
        [["market_data", "1 day"], ["trades", "7 days"]]
    );
    assert_eq!(
        intervals(&db, &made[1]),
        [["market_data", "01:00:00"], ["trades", "1 day"]]
    );
    let json = run(&db, &["-o", "json", "show", "before"]).success().json();
    let trades = &json["time_series"]
        .as_array()
        .unwrap()
        .iter()
        .find(|t| t["table"] == "trades")
        .unwrap()
        .clone();
    assert_eq!(
        (
            &trades["chunk_interval"],
            &trades["chunk_interval_wanted"],
            &trades["retention"]
        ),
        (&"1 day".into(), &"7 days".into(), &"2 months".into())
    );
    old_rows(&db, &plain.schema);
    let chunks = || {
        db.value(&format!(
            "SELECT count(*) FROM timescaledb_information.chunks WHERE hypertable_schema = '{}'",
            plain.schema
        ))
    };
    let before = chunks();
    // Secure brings the others to it; what is there stays as it is.
    run(&db, &["secure", "before", "--dry-run"]).success();
    assert!(
        run(&db, &["secure", "before"])
            .success()
            .stdout()
            .contains("let new chunks of trades hold 7 days")
    );
    assert_eq!(
        intervals(&db, &plain.schema),
        [["market_data", "1 day"], ["trades", "7 days"]]
    );
    assert_eq!(chunks(), before);
    assert!(
        run(&db, &["secure", "before"])
            .success()
            .stdout()
            .contains("1 met the standard")
    );
    assert!(
        run(&db, &["show", "before"])
            .success()
            .stdout()
            .contains("of 7 days, kept 2 months)")
    );
}

#[test]
fn what_a_tier_keeps_no_longer_is_dropped_by_the_chunk() {
    let Some((_own, db)) = with_extension("what_a_tier_keeps_no_longer_is_dropped_by_the_chunk") else {
        return;
    };
    run(&db, &["init"]).success();
    for (id, tier) in [("small", "basic"), ("large", "enterprise")] {
        run(&db, &["provision", id, "--tier", tier]).success();
    }
    let schema = |id: &str| {
        db.value(&format!(
            "SELECT schema_name FROM tenantctl.tenants WHERE tenant_id = '{id}'"
        ))
    };
    let (small, large) = (schema("small"), schema("large"));
    old_rows(&db, &small);
    old_rows(&db, &large);
    let rows = |schema: &str, table: &str| -> usize {
        db.value(&format!("SELECT count(*) FROM {schema}.{table}"))
            .parse()
            .unwrap()
    };
    let counted = || {
        db.value(&format!(
            "SELECT count(*) FROM {small}.tenant_usage WHERE resource = 'trades_per_day'"
        ))
    };
    assert_eq!(counted(), "20");
    // A dry run and a backup under way change nothing.
    let text = run(&db, &["retention", "--all", "--dry-run"]).success().stdout();
    assert!(text.contains("drop_chunks") && !text.contains(&large), "{text}");
    let held = hold(
        &db.url,
        "INSERT INTO tenantctl.tenant_locks VALUES ('small') ON CONFLICT DO NOTHING; BEGIN; SELECT FROM tenantctl.tenant_locks WHERE tenant_id = 'small' FOR UPDATE",
    );
    run(&db, &["retention", "small"])
        .exits(4)
        .says(&["a backup or restore of the tenant is under way"]);
    drop(held);
    assert_eq!((rows(&small, "trades"), rows(&small, "market_data")), (20, 20));
    let json = run(&db, &["-o", "json", "retention", "--all"]).success().json();
    assert_eq!(json["tenants_checked"], 2);
    let tenants = json["tenants"].as_array().unwrap();
    assert_eq!(tenants.len(), 1, "{json}");
    let dropped = |table: &str| {
        let tables = tenants[0]["tables"].as_array().unwrap();
        tables.iter().find(|t| t["table"] == table).unwrap()["chunks_dropped"]
            .as_u64()
            .unwrap()
    };
    // Of a chunk all rows must be too old: with chunks of seven days some that are older than two months are left.
    let (trades, data) = (rows(&small, "trades"), rows(&small, "market_data"));
    assert!((6..=8).contains(&trades), "{trades}");
    assert_eq!(dropped("trades") as usize, 20 - trades);
    assert!((3..=4).contains(&data), "{data}");
    assert_eq!(dropped("market_data") as usize, 20 - data);
    assert_eq!((rows(&large, "trades"), rows(&large, "market_data")), (20, 20));
    // Days that are gone do not count against the limit any more; the plain tables around them are whole.
    assert_eq!(counted(), trades.to_string());
    assert_eq!(rows(&small, "portfolios"), 1);
    let said = db.value("SELECT string_agg(message, E'\\n' ORDER BY message) FROM tenantctl.operations WHERE operation = 'retention' AND tenant_id = 'small' AND status = 'done'");
    assert!(
        said.contains("chunks of trades that end by") && said.contains("chunks of market_data"),
        "{said}"
    );
    let again = run(&db, &["-o", "json", "retention", "small"]).success().json();
    assert_eq!(again["tenants"][0]["tables"][0]["chunks_dropped"], 0, "{again}");
    // The built-in policy drops nothing.
    db.run(&["retention", "--all"])
        .success()
        .says(&["nothing is kept for a time only"]);
    // A foreign key to a hypertable is named.
    old_rows(&db, &small);
    db.sql(&format!(
        "CREATE TABLE {small}.notes (id uuid, at timestamptz, FOREIGN KEY (id, at) REFERENCES {small}.trades (id, executed_at))"
    ));
    run(&db, &["retention", "small"])
        .exits(4)
        .says(&["foreign keys refer to its rows", "notes_id_at_fkey"]);
}

/// Whose tier the configuration does not know, or who gets another one while the chunks are looked at, keeps what it has.
#[test]
fn nothing_is_dropped_by_another_tiers_retention() {
    let Some((_own, db)) = with_extension("nothing_is_dropped_by_another_tiers_retention") else {
        return;
    };
    run(&db, &["init"]).success();
    run(&db, &["provision", "large", "--tier", "enterprise"]).success();
    let schema = db.value("SELECT schema_name FROM tenantctl.tenants");
    old_rows(&db, &schema);
    let whole = || {
        db.value(&format!(
            "SELECT (SELECT count(*) FROM {schema}.trades) + (SELECT count(*) FROM {schema}.market_data)"
        ))
    };
    assert_eq!(whole(), "40");
    // The template keeps market data for a time, this tenant's tier for ever; here the tier has lost its name.
    db.sql("UPDATE tenantctl.tenants SET tier = 'gold'");
    let says = "tenant large is of tier gold, which the configuration does not have";
    run(&db, &["retention", "--all", "--dry-run"]).success().says(&[says]);
    run(&db, &["retention", "large"]).exits(2).says(&[says]);
    let json = run(&db, &["-o", "json", "retention", "--all"]).exits(2).json();
    assert_eq!(json["failed"][0]["tenant_id"], "large", "{json}");
    assert_eq!(whole(), "40");
    // It was basic when its chunks were looked at, and is enterprise when they are to go.
    db.sql("UPDATE tenantctl.tenants SET tier = 'basic'");
    let other = change_under(&db, "UPDATE tenantctl.tenants SET tier = 'enterprise'");
    run(&db, &["retention", "large"])
        .exits(4)
        .says(&["was given another tier"]);
    other.join().unwrap();
    assert_eq!(whole(), "40");
    run(&db, &["retention", "large"]).success();
    assert_eq!(whole(), "40");
}

/// A time without a zone may be twelve hours behind UTC: what is kept by it is kept so much longer.
#[test]
fn a_time_without_a_zone_is_kept_wherever_it_was_written() {
    let Some((_own, db)) = with_extension("a_time_without_a_zone_is_kept_wherever_it_was_written") else {
        return;
    };
    std::fs::create_dir(db.dir.join("modules")).unwrap();
    std::fs::write(
        db.dir.join("modules/logs.sql"),
        "CREATE TABLE logs (at timestamp NOT NULL, what text);",
    )
    .unwrap();
    std::fs::write(
        db.dir.join("local.yaml"),
        "
template:
  name: local
  directory: modules
  modules: [{name: logs}]
  hypertables: [{table: logs, column: at, chunk_interval: 1 hour, retention: 7 days}]
templates:
  basic:
    features: all
    limits: {max_portfolios: 5, max_positions_per_portfolio: 100, max_trades_per_day: 10, max_api_calls_per_minute: 100, max_schema_size_gb: 10, max_connections: 25}
",
    )
    .unwrap();
    let local = |args: &[&str]| db.run(&[&["--config", "local.yaml"], args].concat());
    local(&["init"]).success();
    local(&["provision", "acme", "--tier", "basic"]).success();
    let schema = db.value("SELECT schema_name FROM tenantctl.tenants");
    // Six days and twenty hours ago on Baker Island, and well over seven days ago everywhere.
    db.sql(&format!(
        "INSERT INTO {schema}.logs SELECT (now() AT TIME ZONE 'Etc/GMT+12') - age, age::text
         FROM unnest(ARRAY[interval '6 days 20 hours', interval '8 days']) age"
    ));
    local(&["retention", "acme"]).success();
    assert_eq!(
        db.sql(&format!("SELECT what FROM {schema}.logs")),
        [["6 days 20:00:00"]]
    );
}

#[test]
fn plain_tables_are_left_alone() {
    let db = Db::new();
    run(&db, &["init"]).success();
    run(&db, &["provision", "small", "--tier", "basic"]).success();
    let run = run(&db, &["-o", "json", "retention", "--all"])
        .success()
        .says(&["is a plain table and left alone"]);
    let json = run.json();
    assert_eq!(json["plain"].as_array().unwrap().len(), 2, "{json}");
    assert_eq!(json["tenants"].as_array().unwrap().len(), 0);
    assert_eq!(
        sql(
            &db.url,
            "SELECT count(*) FROM tenantctl.operations WHERE operation = 'retention'"
        )
        .unwrap()[0][0],
        "0"
    );
}
