//! Usage of every limit is what there is; counters that are not what they should be are not read.

use tenantctl::metrics::collect::Sizes;

use super::{by_id, counted, fill, lesser, measure, options, says, tenant_url};
use crate::support::{Db, hold, sql};

/// Tiers of its own, so that every limit is known.
fn tiered() -> Db {
    let db = Db::new();
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "templates:
  small:
    features: [all]
    limits: {max_portfolios: 10, max_positions_per_portfolio: 20, max_trades_per_day: 300, max_api_calls_per_minute: 7, max_schema_size_gb: 2, max_connections: 40}
  open:
    features: [all]
    limits: {max_portfolios: unlimited, max_positions_per_portfolio: 8, max_trades_per_day: unlimited, max_api_calls_per_minute: unlimited, max_schema_size_gb: unlimited, max_connections: unlimited}
  free:
    features: [all]
    limits: {max_portfolios: unlimited, max_positions_per_portfolio: unlimited, max_trades_per_day: unlimited, max_api_calls_per_minute: unlimited, max_schema_size_gb: unlimited, max_connections: unlimited}
",
    )
    .unwrap();
    db.run(&["init"]).success();
    db
}

#[test]
fn each_limit_has_what_is_used_of_it() {
    let db = tiered();
    let small = db.provision(&["a", "b", "c", "--tier", "small"]);
    let open = db.provision(&["o", "--tier", "open"]).remove(0);
    db.provision(&["f", "--tier", "free"]);
    fill(&db, &small[0], 3, 4, 5);
    fill(&db, &small[1], 7, 2, 60);
    fill(&db, &open, 12, 6, 9);
    // One portfolio with more positions than the others, and trades of other days.
    sql(
        &tenant_url(&db, &small[0]),
        "INSERT INTO positions (portfolio_id, symbol, quantity, avg_price) SELECT id, 'T' || n, 1, 1
         FROM (SELECT id FROM portfolios LIMIT 1) p, generate_series(1, 9) n;
         INSERT INTO trades (portfolio_id, symbol, side, quantity, price, executed_at)
         SELECT id, 'X', 'BUY', 1, 1, now() - interval '1 day' * n FROM (SELECT id FROM portfolios LIMIT 1) p, generate_series(1, 30) n",
    )
    .unwrap();
    let sessions = [
        hold(&tenant_url(&db, &small[1]), "SELECT 1"),
        hold(&tenant_url(&db, &small[1]), "SELECT 1"),
    ];
    let fleet = measure(&db.url, &options(Sizes::Exact));
    assert!(fleet.unknown.is_empty(), "{:?}", fleet.unknown);
    let used = |limit: &str| by_id(&fleet, |t| t.limits[limit].used);
    let (portfolios, positions, trades) = (
        used("portfolios"),
        used("positions_per_portfolio"),
        used("trades_per_day"),
    );
    let of = |id: &str| (portfolios[id], positions[id], trades[id]);
    assert_eq!(of("a"), (Some(3.0), Some(13.0), Some(5.0)));
    assert_eq!(of("b"), (Some(7.0), Some(2.0), Some(60.0)));
    assert_eq!(of("c"), (Some(0.0), Some(0.0), Some(0.0)));
    // What is unlimited nobody counts: that is not 0.
    assert_eq!(of("o"), (None, Some(6.0), None));
    assert_eq!(of("f"), (None, None, None));
    let by_limit = |limit: &str| by_id(&fleet, |t| (t.limits[limit].max, t.limits[limit].ratio));
    assert_eq!(by_limit("portfolios")["b"], (Some(10.0), Some(0.7)));
    assert_eq!(
        by_limit("positions_per_portfolio")["a"],
        (Some(20.0), Some(13.0 / 20.0))
    );
    assert_eq!(by_limit("trades_per_day")["b"], (Some(300.0), Some(0.2)));
    assert_eq!(by_limit("connections")["b"], (Some(40.0), Some(2.0 / 40.0)));
    assert_eq!(by_limit("api_calls_per_minute")["a"], (Some(7.0), None));
    assert!(used("api_calls_per_minute").values().all(Option::is_none));
    for tenant in &fleet.tenants {
        let size = tenant.limits["schema_size"];
        assert_eq!(size.used, tenant.database.size_bytes.map(|b| b as f64));
        assert_eq!(
            size.max,
            (tenant.tier == "small").then_some(2.0 * 1024.0 * 1024.0 * 1024.0)
        );
        assert_eq!(size.ratio, size.max.map(|max| size.used.unwrap() / max));
        assert_eq!(tenant.limits.len(), 6);
    }
    assert_eq!(by_limit("connections")["f"], (None, None));
    drop(sessions);
    // An admin whom row security would show nothing reads the same, as the owner.
    let seen = measure(&lesser(&db), &options(Sizes::None));
    for limit in ["portfolios", "positions_per_portfolio", "trades_per_day"] {
        assert_eq!(by_id(&seen, |t| t.limits[limit].used), used(limit), "{limit}");
    }
}

/// Whatever stands where the counters should be is not read, and no code of anybody's runs.
#[test]
fn what_is_no_counter_is_not_read() {
    let db = counted();
    let made = db.provision(&[
        "a_view",
        "b_foreign",
        "c_parted",
        "d_strangers",
        "e_columns",
        "f_schema",
        "g_hiding",
        "h_none",
        "z_good",
    ]);
    let schema = |id: &str| made.iter().find(|m| m.id == id).unwrap().schema.clone();
    fill(&db, made.iter().find(|m| m.id == "z_good").unwrap(), 2, 1, 1);
    fill(&db, made.iter().find(|m| m.id == "g_hiding").unwrap(), 2, 1, 1);
    // Code that would make its author a superuser, were it ever run by one, under whatever role.
    let evil = crate::support::unique("evil");
    db.sql(&format!(
        "CREATE ROLE {evil} LOGIN; GRANT CREATE ON SCHEMA public TO {evil}; CREATE EXTENSION IF NOT EXISTS file_fdw;
         CREATE SERVER files FOREIGN DATA WRAPPER file_fdw;
         CREATE FUNCTION public.take_over() RETURNS bigint LANGUAGE plpgsql AS $f$
         BEGIN
             RESET ROLE; EXECUTE 'ALTER ROLE {evil} SUPERUSER'; RETURN 1;
         EXCEPTION WHEN OTHERS THEN RETURN 1;
         END $f$;
         ALTER FUNCTION public.take_over() OWNER TO {evil}"
    ));
    let moved = |s: &str| format!("ALTER TABLE {s}.tenant_usage RENAME TO tenant_usage_before;");
    let (a, b, c, d, e) = (
        schema("a_view"),
        schema("b_foreign"),
        schema("c_parted"),
        schema("d_strangers"),
        schema("e_columns"),
    );
    let columns = "resource text NOT NULL, scope text NOT NULL, used bigint NOT NULL";
    db.sql(&format!(
        "{} CREATE VIEW {a}.tenant_usage AS SELECT 'portfolios'::text AS resource, ''::text AS scope, public.take_over() AS used;
         ALTER VIEW {a}.tenant_usage OWNER TO {evil};
         {} CREATE FOREIGN TABLE {b}.tenant_usage ({columns}) SERVER files OPTIONS (program 'touch /tmp/never');
         ALTER TABLE {b}.tenant_usage OWNER TO tenantctl_owner;
         {} CREATE TABLE {c}.tenant_usage ({columns}) PARTITION BY LIST (resource);
         CREATE FOREIGN TABLE {c}.part PARTITION OF {c}.tenant_usage DEFAULT SERVER files OPTIONS (program 'touch /tmp/never');
         ALTER TABLE {c}.tenant_usage OWNER TO tenantctl_owner;
         {} CREATE TABLE {d}.tenant_usage ({columns}); ALTER TABLE {d}.tenant_usage OWNER TO {evil};
         INSERT INTO {d}.tenant_usage VALUES ('portfolios', '', 4);
         ALTER TABLE {e}.tenant_usage RENAME used TO spent;
         ALTER SCHEMA {f} OWNER TO {evil};
         DROP TABLE {h}.tenant_usage CASCADE",
        moved(&a),
        moved(&b),
        moved(&c),
        moved(&d),
        f = schema("f_schema"),
        h = schema("h_none"),
    ));
    // A policy that hides rows from the owner, who then would count too few; a superuser sees them all the same.
    let g = schema("g_hiding");
    db.sql(&format!(
        "ALTER POLICY tenant_usage_admin_bypass ON {g}.tenant_usage USING (false)"
    ));
    for (url, hidden) in [(db.url.clone(), false), (lesser(&db), true)] {
        let fleet = measure(&url, &options(Sizes::Functions));
        let mut used = by_id(&fleet, |t| t.limits["portfolios"].used);
        assert_eq!(used.remove("z_good"), Some(Some(2.0)));
        assert_eq!(used.remove("g_hiding"), Some((!hidden).then_some(2.0)));
        assert!(used.len() == 7 && used.values().all(Option::is_none), "{used:?}");
        let number = if hidden { "8 tenants" } else { "7 tenants" };
        says(
            &fleet,
            &[
                "the usage of limits of",
                number,
                "a_view",
                "there is no table tenant_usage",
            ],
        );
        // Their sizes are known: nothing has to be read for those.
        assert!(
            fleet.tenants.iter().all(|t| t.database.size_bytes.is_some()),
            "{:?}",
            fleet.unknown
        );
        assert_eq!(
            db.value(&format!("SELECT rolsuper FROM pg_roles WHERE rolname = '{evil}'")),
            "f"
        );
    }
    assert!(!std::path::Path::new("/tmp/never").exists());
}

/// A counter that breaks after it was looked at costs its own tenant the figure, in whatever batch it is.
#[test]
fn one_broken_counter_costs_one_tenant() {
    use tenantctl::metrics::readers::Readers;
    use tenantctl::metrics::sizes::{Batch, Patience, ask};
    use tenantctl::metrics::usage::{Counters, tables};

    let db = Db::initialized();
    let made = db.provision(&["a", "b", "c", "d", "e"]);
    for (i, made) in made.iter().enumerate() {
        fill(&db, made, 1 + i as u32 % 4, 1, 1);
    }
    let schemas: Vec<&str> = made.iter().map(|m| m.schema.as_str()).collect();
    let connector = super::connector(&db.url);
    let asked = crate::support::runtime().block_on(async {
        let readers = Readers {
            connector: &connector,
            jobs: 1,
            lock_timeout: std::time::Duration::from_millis(100),
        };
        let session = readers.open().await.unwrap();
        let found = tables(&session, &schemas, true).await.unwrap();
        let (client, connection) = tokio_postgres::connect(&db.url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        let gone = format!("ALTER TABLE {}.tenant_usage RENAME TO moved", schemas[2]);
        client.batch_execute(&gone).await.unwrap();
        let counters = Counters {
            schemas: &schemas,
            today: "2026-01-01",
            sees_all_rows: true,
        };
        ask(&session, &Batch(found), Patience::new(&readers), &counters)
            .await
            .unwrap()
    });
    let unknown: Vec<_> = asked.unknown.iter().map(|(at, e)| (*at, e.sqlstate())).collect();
    assert_eq!(unknown, [(2, Some("42P01"))]);
    let mut found: Vec<_> = asked.found.iter().map(|(at, c)| (*at, c.portfolios)).collect();
    found.sort_unstable();
    assert_eq!(found, [(0, 1), (1, 2), (3, 4), (4, 1)]);
}
