//! Templates of the user's own, and the rules they are held to.

use crate::support::{Db, sql};

/// A configuration with one module.
fn config(extra: &str) -> String {
    format!(
        "
templates:
  only:
    name: Only
    description: one module
    features: [all]
    limits:
      max_portfolios: unlimited
      max_positions_per_portfolio: unlimited
      max_trades_per_day: unlimited
      max_api_calls_per_minute: unlimited
      max_schema_size_gb: unlimited
      max_connections: 5
template:
  name: shop
  directory: modules
  modules:
    - name: orders
      feature: orders
{extra}
provisioning:
  default_tier: only
"
    )
}

const PLAIN: &str = "  hypertables: []\n  bulk_load: []";

fn with(module: &str, extra: &str) -> Db {
    let db = Db::new();
    std::fs::create_dir(db.dir.join("modules")).unwrap();
    std::fs::write(db.dir.join("modules/orders.sql"), module).unwrap();
    std::fs::write(db.dir.join("tenant_templates.yaml"), config(extra)).unwrap();
    db
}

#[test]
fn a_template_of_ones_own() {
    let db = with(
        "CREATE TYPE state AS ENUM ('new', 'done');
         CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, state state NOT NULL DEFAULT 'new');
         CREATE FUNCTION open_orders() RETURNS bigint LANGUAGE sql STABLE AS 'SELECT count(*) FROM orders WHERE state = ''new''';
         CREATE TYPE span AS RANGE (subtype = int);
         CREATE DOMAIN \"Odd Name\" AS text;
         CREATE TABLE \"Mixed Case\" (id serial, d \"Odd Name\");
         CREATE FUNCTION odd(\"it's\" int, b span) RETURNS int LANGUAGE sql AS 'SELECT 1';
         CREATE FUNCTION odd(text) RETURNS int LANGUAGE sql AS 'SELECT 2';
         CREATE PROCEDURE close_all(note text) LANGUAGE sql AS 'UPDATE orders SET state = ''done''';
         CREATE VIEW open WITH (security_invoker = true) AS SELECT * FROM orders WHERE state = 'new'",
        PLAIN,
    );
    db.run(&["init"]).success();
    let made = db.provision(&["acme", "globex"]);
    let url = made[0].url(&db);
    sql(&url, "INSERT INTO orders DEFAULT VALUES").unwrap();
    assert_eq!(
        sql(&url, "SELECT open_orders(), count(*) FROM open").unwrap(),
        [["1", "1"].map(str::to_owned).to_vec()]
    );
    assert_eq!(
        sql(&url, "SELECT odd(1, '[1,2)'::span), odd('x'::text)").unwrap(),
        [["1", "2"].map(str::to_owned).to_vec()]
    );
    sql(&url, "CALL close_all('x'); INSERT INTO \"Mixed Case\" (d) VALUES ('x')").unwrap();
    let error = sql(&url, &format!("SELECT {}.open_orders()", made[1].schema)).expect_err("isolation");
    assert!(error.starts_with("42501"), "{error}");
    // Nothing for PUBLIC on functions and types either.
    assert_eq!(
        db.value(&format!(
            "SELECT count(*) FROM (SELECT proacl FROM pg_proc WHERE pronamespace = '{0}'::regnamespace
                 AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_proc'::regclass AND d.objid = pg_proc.oid AND deptype = 'i')
             UNION ALL SELECT typacl FROM pg_type WHERE typnamespace = '{0}'::regnamespace AND typtype = 'e') o (acl)
             WHERE acl IS NULL OR EXISTS (SELECT FROM aclexplode(acl) WHERE grantee = 0)",
            made[0].schema
        )),
        "0"
    );
    let json = db.run(&["-o", "json", "show", "acme"]).success().json();
    assert_eq!(
        (json["template"].as_str(), json["template_version"].as_i64()),
        (Some("shop"), Some(1))
    );
}

#[test]
fn a_changed_module_makes_a_new_version_for_new_tenants_only() {
    let db = with("CREATE TABLE orders (id int PRIMARY KEY)", PLAIN);
    db.run(&["init"]).success();
    let old = db.provision(&["old"]).remove(0);
    std::fs::write(
        db.dir.join("modules/orders.sql"),
        "CREATE TABLE orders (id int PRIMARY KEY, note text)",
    )
    .unwrap();
    // Without init the registry's version is what counts, and the difference is said.
    let run = db
        .run(&["-o", "json", "provision", "between"])
        .success()
        .says(&["warning:", "differs from version 1"]);
    let between = run.json()["tenants"][0]["schema_name"].as_str().unwrap().to_owned();
    let json = db.run(&["-o", "json", "init"]).success().json();
    assert_eq!(json["template_version"], 2);
    let new = db.provision(&["new"]).remove(0);
    let columns = |schema: &str| {
        db.value(&format!(
            "SELECT count(*) FROM pg_attribute WHERE attrelid = '{schema}.orders'::regclass AND attnum > 0"
        ))
    };
    assert_eq!(
        [
            columns(&old.schema),
            columns(&between),
            columns(&new.schema),
            columns("template_shop")
        ],
        ["1", "1", "2", "2"]
    );
    // Back to the old text: a third version, since tenants of the second exist.
    std::fs::write(
        db.dir.join("modules/orders.sql"),
        "CREATE TABLE orders (id int PRIMARY KEY)",
    )
    .unwrap();
    assert_eq!(db.run(&["-o", "json", "init"]).success().json()["template_version"], 3);
}

#[test]
fn modules_that_break_a_rule_are_refused_and_nothing_is_installed() {
    for (module, extra, message) in [
        (
            "CREATE TABLE orders (x int); CREATE VIEW v AS SELECT * FROM orders",
            PLAIN,
            "view v is not security_invoker",
        ),
        (
            "CREATE TABLE orders (x int); CREATE MATERIALIZED VIEW v AS SELECT * FROM orders",
            PLAIN,
            "v is a materialized view",
        ),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'",
            PLAIN,
            "SECURITY DEFINER without a search_path",
        ),
        (
            "CREATE TABLE a_name_that_leaves_no_room_for_the_names_of_its_policies (x int)",
            PLAIN,
            "is longer than",
        ),
        (
            "CREATE TABLE orders (x int); SET search_path = public",
            PLAIN,
            "changes its surroundings",
        ),
        (
            "RESET ROLE; CREATE TABLE orders (x int)",
            PLAIN,
            "orders cannot be used: orders belongs to postgres",
        ),
        (
            "CREATE TABLE orders (x int); COMMIT; BEGIN",
            PLAIN,
            "changes its surroundings",
        ),
        (
            "CREATE TABLE orders (x int REFERENCES tenantctl.template_versions)",
            PLAIN,
            "replay module orders",
        ),
        (
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = 'pg_catalog, pg_temp' AS 'SELECT 1'",
            PLAIN,
            "SECURITY DEFINER without a search_path",
        ),
        ("CREATE TABEL orders (x int)", PLAIN, "syntax error"),
        (
            "CREATE TABLE orders (x int)",
            "  hypertables: []\n  bulk_load: [order]",
            "names table \"order\", which no module creates",
        ),
    ] {
        let db = with(module, extra);
        let run = db.run(&["init"]).exits(2);
        assert!(run.stderr().contains(message), "{message} not in:\n{}", run.stderr());
        assert_eq!(
            db.value("SELECT count(*) FROM tenantctl.template_versions"),
            "0",
            "{message}"
        );
        db.run(&["provision", "acme"])
            .exits(4)
            .says(&["template shop is not installed"]);
    }
}

#[test]
fn a_feature_that_the_installed_template_lacks_is_not_left_out_silently() {
    let db = with("CREATE TABLE orders (id int PRIMARY KEY)", PLAIN);
    db.run(&["init"]).success();
    std::fs::write(
        db.dir.join("modules/returns.sql"),
        "CREATE TABLE returns (id int PRIMARY KEY)",
    )
    .unwrap();
    let text =
        config(&format!("    - name: returns\n      feature: returns\n{PLAIN}")).replace("[all]", "[orders, returns]");
    std::fs::write(db.dir.join("tenant_templates.yaml"), text).unwrap();
    db.run(&["provision", "acme"])
        .exits(2)
        .says(&["\"returns\"", "tenantctl init"]);
    db.run(&["init"]).success();
    db.provision(&["acme"]);
    assert_eq!(
        db.value("SELECT array_to_string(modules, ',') FROM tenantctl.tenants"),
        "orders,returns"
    );
}

#[test]
fn a_module_may_read_its_own_views_but_not_undo_another() {
    let db = with(
        "CREATE TABLE orders (x int); CREATE VIEW v WITH (security_invoker = true) AS SELECT x FROM orders;
         CREATE TABLE copy AS SELECT * FROM v",
        PLAIN,
    );
    db.run(&["init"]).success();
    db.provision(&["acme"]);
    std::fs::write(db.dir.join("modules/returns.sql"), "ALTER TABLE copy RENAME TO renamed").unwrap();
    let text = config(&format!("    - name: returns\n      feature: returns\n{PLAIN}"));
    std::fs::write(db.dir.join("tenant_templates.yaml"), text).unwrap();
    db.run(&["init"]).exits(2).says(&["takes away \"copy\""]);
}

#[test]
fn slower_than_the_limit_rolls_back_and_says_timeout() {
    // Two statements, each within the limit, together beyond it: the whole transaction counts.
    let db = with(
        "CREATE TABLE orders (x int);\nSELECT pg_sleep(0.6);\nSELECT pg_sleep(0.6);\n",
        PLAIN,
    );
    std::fs::write(db.dir.join("tenant_templates.yaml"), config(PLAIN) + "  timeout_s: 1\n").unwrap();
    db.run(&["init"]).success();
    let run = db
        .run(&["-o", "json", "provision", "acme", "--tier", "only"])
        .exits(4)
        .says(&["within 1 s"]);
    assert_eq!(run.json()["failed"][0]["error_type"], "timeout");
    assert_eq!(run.json()["failed"][0]["severity"], "critical");
    assert_eq!(db.counts(), (0, 0, 0));
    assert_eq!(
        db.value("SELECT error_type || ' ' || severity FROM tenantctl.operations WHERE status = 'failed'"),
        "timeout critical"
    );
}

/// What a template may hold is no finding on its tenants, and what audit and limits cannot follow is refused.
#[test]
fn a_rich_template_is_proven_like_any_other() {
    let db = with(
        "CREATE TYPE span AS RANGE (subtype = int);
         CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0');
         CREATE TABLE trades (id bigint GENERATED ALWAYS AS IDENTITY, portfolio_id int, executed_at timestamptz NOT NULL, s span,
             twice int GENERATED ALWAYS AS (portfolio_id * 2) STORED) PARTITION BY RANGE (executed_at);
         CREATE TABLE trades_old PARTITION OF trades FOR VALUES FROM (MINVALUE) TO ('2026-01-01+00');
         CREATE TABLE trades_new PARTITION OF trades FOR VALUES FROM ('2026-01-01+00') TO (MAXVALUE);
         CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
         CREATE TRIGGER touched BEFORE INSERT ON trades FOR EACH ROW EXECUTE FUNCTION touch()",
        PLAIN,
    );
    let policy = config(PLAIN).replace("max_trades_per_day: unlimited", "max_trades_per_day: 2");
    std::fs::write(db.dir.join("tenant_templates.yaml"), policy).unwrap();
    db.run(&["init"]).success();
    let made = db.provision(&["acme"]).remove(0);
    db.run(&["secure", "acme"]).success();
    let json = db
        .run(&["-o", "json", "validate", "--all", "--fail-on", "never"])
        .success()
        .json();
    let named: Vec<_> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| !f["tenant_id"].is_null() || f["object"].to_string().contains("template_shop"))
        .collect();
    assert!(named.is_empty(), "{named:#?}");
    let url = made.url(&db);
    let add = |table: &str, n: u32| {
        sql(
            &url,
            &format!(
                "INSERT INTO {table} (portfolio_id, executed_at) SELECT 1, '2026-05-05' FROM generate_series(1, {n})"
            ),
        )
    };
    assert!(add("trades_new", 1).expect_err("past the parent").starts_with("42501"));
    add("trades", 2).unwrap();
    assert!(add("trades", 1).expect_err("a third").starts_with("53400"));
    assert_eq!(sql(&url, "SELECT count(*) FROM audit_log").unwrap()[0][0], "2");

    for (module, part) in [
        (
            "CREATE TABLE trades (executed_at timestamp)",
            "counted by timestamp with time zone",
        ),
        (
            "CREATE TABLE a (x int); CREATE TABLE b (y int) INHERITS (a)",
            "inherits from another table",
        ),
        ("CREATE TABLE audit_log (x int)", "every tenant has beside its template"),
    ] {
        with(module, PLAIN).run(&["init"]).exits(2).says(&[part]);
    }
}

/// A registry that another tenantctl has prepared, whose standard and modules were others, serves on after `init`.
#[test]
fn tenants_of_an_older_tenantctl_are_brought_along() {
    let db = Db::initialized();
    let made = db.provision(&["old"]).remove(0);
    // What version 1 of the registry had: no fingerprint, no audit, no counts.
    db.sql(&format!(
        "UPDATE tenantctl.template_versions SET standard_sha256 = NULL; DELETE FROM tenantctl.template_objects;
         UPDATE tenantctl.template_modules SET objects = objects - 'columns' - 'keys' - 'partitions';
         UPDATE tenantctl.tenants SET audit = '{{}}', structure_xid = NULL;
         DROP TABLE {0}.audit_log, {0}.tenant_usage; DROP FUNCTION {0}.audit_changes{1}() CASCADE; DROP FUNCTION {0}.enforce_limits{1}() CASCADE",
        made.schema,
        made.own()
    ));
    sql(
        &made.url(&db),
        "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p')",
    )
    .unwrap();
    db.run(&["secure", "old"]).says(&["run `tenantctl init`"]);
    db.run(&["init"]).success();
    assert_eq!(db.value("SELECT max(version) FROM tenantctl.template_versions"), "2");
    db.run(&["secure", "old"]).success();
    let json = db
        .run(&["-o", "json", "validate", "old", "--fail-on", "never"])
        .success()
        .json();
    let named: Vec<_> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| !f["tenant_id"].is_null())
        .collect();
    assert!(named.is_empty(), "{named:#?}");
    assert_eq!(
        db.value(&format!(
            "SELECT used FROM {}.tenant_usage WHERE resource = 'portfolios'",
            made.schema
        )),
        "1"
    );
    sql(&made.url(&db), "UPDATE portfolios SET name = 'q'").unwrap();
    assert_eq!(
        sql(&made.url(&db), "SELECT count(*) FROM audit_log").unwrap()[0][0],
        "1"
    );
}
