//! Business metrics: right, within the tenant's rights, and one failure costs one figure.

use std::time::{Duration, Instant};

use tenantctl::config::BusinessQuery;
use tenantctl::metrics::collect::{Options, Sizes};

use super::{by_id, counted, fill, lesser, measure, options, says};
use crate::support::{Db, unique};

fn asking(queries: &[(&str, &str)]) -> Options {
    let queries = queries.iter().map(|(name, sql)| BusinessQuery {
        name: (*name).to_owned(),
        sql: (*sql).to_owned(),
    });
    Options {
        business: queries.collect(),
        ..options(Sizes::None)
    }
}

#[test]
fn figures_are_the_tenants_own() {
    let db = Db::initialized();
    let made = db.provision(&["a", "b"]);
    fill(&db, &made[0], 2, 3, 4);
    fill(&db, &made[1], 1, 2, 9);
    let asked = asking(&[
        ("portfolios", "SELECT count(*) FROM portfolios -- a comment at the end"),
        ("trades", "SELECT count(*), 'other columns' FROM trades"),
        (
            "bought",
            "WITH t AS (SELECT * FROM trades) SELECT sum(quantity * price)::numeric(20, 2) FROM t",
        ),
        ("first", "SELECT n FROM generate_series(5, 100000) n ORDER BY n"),
        ("none", "SELECT 1 WHERE false"),
        ("null", "SELECT max(quantity) FROM positions WHERE symbol = 'nothing'"),
        ("view", "SELECT count(*) FROM position_valuation"),
        ("who", "SELECT CASE WHEN current_user = session_user THEN 1 ELSE 0 END"),
    ]);
    for (url, as_tenant) in [(db.url.clone(), true), (lesser(&db), false)] {
        let fleet = measure(&url, &asked);
        assert!(fleet.unknown.is_empty(), "{as_tenant}: {:?}", fleet.unknown);
        for (id, figures) in [
            ("a", [2.0, 4.0, 4.0, 5.0, 6.0, 0.0]),
            ("b", [1.0, 9.0, 9.0, 5.0, 2.0, 0.0]),
        ] {
            let business = by_id(&fleet, |t| t.business.clone()).remove(id).unwrap();
            let named = ["portfolios", "trades", "bought", "first", "view", "who"].map(|name| business[name]);
            assert_eq!(named, figures.map(Some), "{id} as tenant: {as_tenant}");
            assert_eq!((business["none"], business["null"]), (None, None));
        }
    }
}

#[test]
fn one_failure_costs_one_figure_of_one_tenant() {
    let db = Db::initialized();
    let made = db.provision(&["a", "b", "c"]);
    fill(&db, &made[1], 3, 1, 1);
    db.sql(&format!("DROP TABLE {}.market_data CASCADE", made[1].schema));
    let mut asked = asking(&[
        ("before", "SELECT count(*) FROM portfolios"),
        ("broken", "SELECT count(*) FROM market_data"),
        (
            "slow",
            "SELECT count(*) FROM portfolios, pg_sleep(CASE WHEN EXISTS (SELECT FROM portfolios) THEN 30 ELSE 0 END)",
        ),
        ("text", "SELECT 'abc'"),
        ("foreign", "SELECT count(*) FROM tenantctl.tenants"),
        ("writes", "SELECT nextval('audit_log_id_seq')"),
        ("after", "SELECT 1.5"),
    ]);
    asked.business_timeout = Duration::from_millis(300);
    let began = Instant::now();
    let fleet = measure(&db.url, &asked);
    assert!(
        began.elapsed() < Duration::from_secs(25),
        "a query ran on after its time"
    );
    let figure = |name: &str| by_id(&fleet, |t| t.business[name]).into_values().collect::<Vec<_>>();
    assert_eq!(figure("before"), [Some(0.0), Some(3.0), Some(0.0)]);
    assert_eq!(figure("broken"), [Some(0.0), None, Some(0.0)]);
    assert_eq!(figure("slow"), [Some(0.0), None, Some(0.0)]);
    assert_eq!(figure("text"), [None, None, None]);
    // The registry is the owner's, and a tenant may not read it.
    assert_eq!(figure("foreign"), [None, None, None]);
    assert_eq!(figure("writes"), [None, None, None]);
    assert_eq!(figure("after"), [Some(1.5), Some(1.5), Some(1.5)]);
    says(
        &fleet,
        &["business metric broken of tenant b is unknown", "market_data"],
    );
    says(&fleet, &["business metric slow of tenant b is unknown", "timeout"]);
    says(&fleet, &["business metric text of 3 tenants (a, b, c) is unknown"]);
    says(&fleet, &["business metric foreign of 3 tenants", "permission denied"]);
}

/// SET ROLE keeps nobody's code from taking the admin's rights back, so that no such code may run.
#[test]
fn nothing_of_a_strangers_runs() {
    let db = counted();
    let made = db.provision(&[
        "a_view",
        "b_function",
        "c_create",
        "d_schema",
        "e_lost",
        "f_hiding",
        "z_good",
    ]);
    let schema = |id: &str| made.iter().find(|m| m.id == id).unwrap().schema.clone();
    fill(&db, made.iter().find(|m| m.id == "z_good").unwrap(), 2, 1, 1);
    let evil = unique("evil");
    let (a, b, c) = (schema("a_view"), schema("b_function"), schema("c_create"));
    let code = format!(
        "LANGUAGE plpgsql AS $f$ BEGIN RESET ROLE; EXECUTE 'ALTER ROLE {evil} SUPERUSER'; RETURN 1; EXCEPTION WHEN OTHERS THEN RETURN 1; END $f$"
    );
    db.sql(&format!(
        "CREATE ROLE {evil};
         CREATE FUNCTION public.take_over() RETURNS bigint {code};
         ALTER TABLE {a}.portfolios RENAME TO portfolios_before;
         CREATE VIEW {a}.portfolios AS SELECT public.take_over() AS id;
         ALTER VIEW {a}.portfolios OWNER TO {evil}; GRANT SELECT ON {a}.portfolios TO PUBLIC;
         CREATE FUNCTION {b}.count(bigint) RETURNS bigint {code};
         CREATE FUNCTION {b}.lower(uuid) RETURNS bigint {code};
         ALTER FUNCTION {b}.lower(uuid) OWNER TO {evil};
         GRANT CREATE ON SCHEMA {c} TO {c}_user;
         ALTER SCHEMA {d} OWNER TO {evil};
         DROP SCHEMA {e} CASCADE;
         ALTER POLICY portfolios_admin_bypass ON {f}.portfolios USING (false)",
        d = schema("d_schema"),
        e = schema("e_lost"),
        f = schema("f_hiding"),
    ));
    let asked = asking(&[
        ("count", "SELECT count(*) FROM portfolios"),
        ("lower", "SELECT lower(gen_random_uuid())"),
        ("first", "SELECT id FROM portfolios"),
    ]);
    for (url, as_tenant) in [(db.url.clone(), true), (lesser(&db), false)] {
        let fleet = measure(&url, &asked);
        assert_eq!(
            db.value(&format!("SELECT rolsuper FROM pg_roles WHERE rolname = '{evil}'")),
            "f"
        );
        let mut counts = by_id(&fleet, |t| t.business["count"]);
        assert_eq!(counts.remove("z_good"), Some(Some(2.0)));
        // The tenant's own policy shows it all; the owner would count too few.
        assert_eq!(counts.remove("f_hiding"), Some(as_tenant.then_some(0.0)));
        assert!(counts.values().all(Option::is_none), "{counts:?}");
        says(
            &fleet,
            &[
                "business of 4 tenants (a_view, b_function, c_create, d_schema) is unknown",
                "others than tenantctl_owner",
            ],
        );
        if !as_tenant {
            says(
                &fleet,
                &["business of tenant f_hiding is unknown", "row security may hide rows"],
            );
        }
    }
}
