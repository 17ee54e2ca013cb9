//! The structure of a tenant as a backup describes it: replayed into another schema, it is the same.

use std::collections::BTreeMap;

use tenantctl::backup::ddl::{Ddl, Describer, Subject, structure};
use tenantctl::backup::manifest::DdlSource;
use tenantctl::backup::script::{Kind, rename_schema, statements};
use tenantctl::catalog::contents::{self, Contents, RowFormat};
use tenantctl::pg::conninfo::ConnInfo;
use tenantctl::pg::session::{Connector, Session, SessionLimits, column};
use tenantctl::pg::sql::{Sql, TrustedScript};

use crate::support::{Db, Made, anatomy, unique};

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

fn connector(url: &str) -> Connector {
    let info = ConnInfo::resolve(Some(url), &|_| None).unwrap();
    Connector::new(info, "tenantctl test", SessionLimits::default())
}

/// The tenant as a backup would read it.
async fn describe(url: &str, made: &Made, describer: &Describer) -> (Ddl, Contents) {
    let connector = connector(url);
    let session = connector.connect().await.unwrap();
    let begin = Sql::new("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");
    session.batch(&begin, "begin").await.unwrap();
    let snapshot: String = {
        let sql = Sql::new("SELECT pg_catalog.pg_export_snapshot() AS snapshot");
        column(&session.query_one(&sql, &[], "export").await.unwrap(), "snapshot").unwrap()
    };
    let sql = Sql::new("SELECT template, template_version, modules FROM tenantctl.tenants WHERE tenant_id = ")
        .literal(&made.id);
    let row = session.query_one(&sql, &[], "look").await.unwrap();
    let modules: Vec<String> = column(&row, "modules").unwrap();
    let contents = contents::read(&session, &made.schema).await.unwrap();
    let of = Subject {
        session: &session,
        info: connector.info(),
        snapshot: &snapshot,
        schema: &made.schema,
        template: column(&row, "template").unwrap(),
        version: column(&row, "template_version").unwrap(),
        modules: &modules,
        hypertables: &[],
    };
    let ddl = describer.describe(&of, &contents).await.unwrap();
    (ddl, contents)
}

/// Makes the structure again in another schema, in the order in which a restore does.
async fn replay(session: &Session, ddl: &Ddl, original: &str, schema: &str) {
    let open = Sql::new("CREATE SCHEMA ")
        .ident(schema)
        .text(" AUTHORIZATION tenantctl_owner; BEGIN; SET LOCAL ROLE tenantctl_owner; SET LOCAL check_function_bodies = off; SET LOCAL search_path = ")
        .ident(schema)
        .text(", pg_temp");
    session.batch(&open, "open").await.unwrap();
    let text = |text: &str| match ddl.structure.source {
        DdlSource::Template => text.to_owned(),
        DdlSource::PgDump => rename_schema(text, original, schema),
    };
    let (pre, post) = (
        statements(&text(&ddl.pre_data)).unwrap(),
        statements(&text(&ddl.post_data)).unwrap(),
    );
    let is_first = |kind| matches!(kind, Kind::Key | Kind::Index);
    let (first, rest): (Vec<_>, Vec<_>) = post.into_iter().partition(|s| is_first(s.kind));
    for statement in pre.iter().chain(&first).chain(&rest) {
        if matches!(statement.kind, Kind::Setting | Kind::CreateSchema) {
            continue;
        }
        let sql = Sql::script(&TrustedScript::of_backup(&statement.text));
        if let Err(error) = session.batch(&sql, "replay").await {
            panic!("{error} {:?} in {}", error.cause(), statement.text);
        }
    }
    session.batch(&Sql::new("COMMIT"), "commit").await.unwrap();
}

/// Columns, constraints and indexes.
fn facts(db: &Db, schema: &str) -> BTreeMap<String, String> {
    let mut all = anatomy(db, schema);
    all.retain(|key, _| {
        ["table ", "constraint ", "index "]
            .iter()
            .any(|begin| key.starts_with(begin))
    });
    all
}

#[test]
fn tenants_like_their_template_are_made_again_from_it() {
    let db = Db::initialized();
    let describer = Describer::new();
    for tier in ["basic", "professional", "enterprise"] {
        let id = unique("t");
        let made = db.provision(&[&id, "--tier", tier]).remove(0);
        let copy = unique("tenantctl_restore_");
        run(async {
            let (ddl, contents) = describe(&db.url, &made, &describer).await;
            assert_eq!(ddl.structure.source, DdlSource::Template, "{tier}");
            assert!(contents.strangers.is_empty(), "{:?}", contents.strangers);
            assert!(contents.tables.iter().all(|t| t.format == RowFormat::Binary));
            // Keys and indexes are the rows' to wait for.
            for part in [
                "ADD CONSTRAINT trades_pkey PRIMARY KEY (id, executed_at)",
                "CREATE INDEX idx_trades_symbol_executed",
            ] {
                assert!(ddl.post_data.contains(part) && !ddl.pre_data.contains(part), "{part}");
            }
            let session = connector(&db.url).connect().await.unwrap();
            replay(&session, &ddl, &made.schema, &copy).await;
            let found = structure(&session, &copy, &made.schema).await.unwrap();
            assert_eq!(found, (ddl.structure.shape_sha256, ddl.structure.sha256), "{tier}");
        });
        assert_eq!(facts(&db, &copy), facts(&db, &made.schema), "{tier}");
    }
}

/// Each on a tenant of its own; `SCHEMA` stands for the tenant's schema.
const DRIFTS: &[(&str, &str)] = &[
    (
        "column",
        "ALTER TABLE trades ADD COLUMN note text DEFAULT 'SCHEMA.trades, SCHEMA'",
    ),
    (
        "index",
        "CREATE INDEX extra ON trades (upper(symbol)) INCLUDE (price) WHERE price > 0",
    ),
    (
        "dropped",
        "ALTER TABLE trades DROP COLUMN order_id; ALTER TABLE trades ADD COLUMN order_id varchar(100)",
    ),
    (
        "order",
        "ALTER TABLE positions DROP COLUMN opened_at; ALTER TABLE positions ADD COLUMN opened_at timestamptz NOT NULL DEFAULT now()",
    ),
    (
        "function",
        "CREATE FUNCTION f(a int DEFAULT 2) RETURNS text LANGUAGE sql STABLE SET search_path = SCHEMA, pg_temp AS $$SELECT 'SCHEMA.x; ' || count(*) FROM SCHEMA.trades$$",
    ),
    (
        "body",
        "CREATE FUNCTION f() RETURNS bigint LANGUAGE sql BEGIN ATOMIC SELECT CASE WHEN count(*) > 0 THEN 1 ELSE 2 END FROM trades; SELECT count(*) FROM portfolios; END",
    ),
    (
        "view",
        "CREATE VIEW v WITH (security_invoker = true) AS SELECT t.symbol, 'SCHEMA.trades' AS place, n.SCHEMA FROM trades t, (SELECT count(*) AS SCHEMA FROM positions) n",
    ),
    (
        "enum",
        "CREATE TYPE state AS ENUM ('new', 'SCHEMA.done', 'it''s'); ALTER TABLE portfolios ADD COLUMN state state NOT NULL DEFAULT 'SCHEMA.done'",
    ),
    (
        "domain",
        "CREATE DOMAIN positive AS numeric DEFAULT 1 CONSTRAINT above CHECK (VALUE > 0); CREATE TABLE d (a positive[], b positive)",
    ),
    (
        "composite",
        "CREATE TYPE pair AS (a int, \"B b\" text); CREATE TABLE c (p pair, q pair[], s int4range)",
    ),
    (
        "range",
        "CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi); CREATE TABLE r (s span)",
    ),
    (
        "partitioned",
        "CREATE TABLE p (id int NOT NULL, at date NOT NULL, PRIMARY KEY (id, at), CHECK (id > 0)) PARTITION BY RANGE (at); CREATE TABLE p_old PARTITION OF p FOR VALUES FROM (MINVALUE) TO ('2026-01-01'); CREATE TABLE p_new PARTITION OF p DEFAULT PARTITION BY HASH (id); CREATE TABLE p_new_0 PARTITION OF p_new FOR VALUES WITH (MODULUS 1, REMAINDER 0); CREATE INDEX p_at ON p (at); CREATE TABLE q (id int, at date, FOREIGN KEY (id, at) REFERENCES p)",
    ),
    (
        "inherited",
        "CREATE TABLE a (x int PRIMARY KEY, y text CHECK (y <> '')); CREATE TABLE b (z int) INHERITS (a)",
    ),
    (
        "generated",
        "CREATE TABLE g (id bigint GENERATED ALWAYS AS IDENTITY (START 7 INCREMENT 3), n serial, twice int GENERATED ALWAYS AS (n * 2) STORED, m int GENERATED BY DEFAULT AS IDENTITY)",
    ),
    (
        "comments",
        "COMMENT ON SCHEMA SCHEMA IS 'it''s SCHEMA.x'; COMMENT ON TABLE trades IS 'SCHEMA.trades;'; COMMENT ON COLUMN trades.price IS E'two\\nlines'; COMMENT ON INDEX idx_trades_symbol_executed IS 'i'; COMMENT ON CONSTRAINT trades_pkey ON trades IS 'k'",
    ),
    (
        "names",
        "CREATE TABLE \"Übung. \"\"x\"\" SCHEMA.t\" (\"SCHEMA\" int PRIMARY KEY, \"a.b\" text, \"select\" int UNIQUE, \"naïve 日本\" int); CREATE SEQUENCE \"odd 'seq\\.\"; ALTER TABLE \"Übung. \"\"x\"\" SCHEMA.t\" ADD s bigint DEFAULT nextval('\"odd ''seq\\.\"'); CREATE VIEW \"V'\" WITH (security_invoker = true) AS SELECT \"SCHEMA\" FROM \"Übung. \"\"x\"\" SCHEMA.t\"",
    ),
    (
        "exclude",
        "CREATE TABLE x (during tstzrange, n int, CONSTRAINT no_overlap EXCLUDE USING gist (during WITH &&) WHERE (n > 0) DEFERRABLE)",
    ),
    (
        "rule",
        "CREATE RULE quiet AS ON DELETE TO portfolios DO ALSO (UPDATE positions SET symbol = 'a;b'; NOTIFY x, 'SCHEMA.x')",
    ),
    (
        "trigger",
        "CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.updated_at := now(); RETURN NEW; END'; CREATE TRIGGER touched BEFORE UPDATE OF name ON portfolios FOR EACH ROW WHEN (OLD.name <> 'SCHEMA.x') EXECUTE FUNCTION touch('SCHEMA.x'); ALTER TABLE portfolios ENABLE ALWAYS TRIGGER touched",
    ),
    (
        "statistics",
        "CREATE STATISTICS pairs (dependencies) ON symbol, side FROM trades; ALTER STATISTICS pairs SET STATISTICS 500; ALTER TABLE trades ALTER symbol SET STATISTICS 700",
    ),
    (
        "materialized",
        "CREATE MATERIALIZED VIEW m1 AS SELECT symbol FROM trades; CREATE VIEW between WITH (security_invoker = true) AS SELECT * FROM m1; CREATE MATERIALIZED VIEW a_second AS SELECT * FROM between; CREATE UNIQUE INDEX ON m1 (symbol)",
    ),
    (
        "grouping",
        "CREATE VIEW by_key WITH (security_invoker = true) AS SELECT p.id, p.name, count(*) FROM portfolios p GROUP BY p.id",
    ),
    (
        "storage",
        "ALTER TABLE portfolios ALTER description SET STORAGE EXTERNAL, ALTER name SET COMPRESSION pglz, ALTER name SET (n_distinct = 5), SET (toast.autovacuum_enabled = off); CLUSTER portfolios USING portfolios_pkey; ALTER TABLE trades REPLICA IDENTITY FULL",
    ),
    (
        "aggregate",
        "CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0')",
    ),
    (
        "operator",
        "CREATE FUNCTION same(text, text) RETURNS boolean LANGUAGE sql IMMUTABLE RETURN $1 = $2; CREATE OPERATOR === (LEFTARG = text, RIGHTARG = text, FUNCTION = same); CREATE TABLE o (a text CHECK (a === 'x'))",
    ),
    (
        "collation",
        "CREATE COLLATION german FROM \"C\"; CREATE TABLE k (a text COLLATE german)",
    ),
    (
        "typed",
        "CREATE TYPE pair AS (a int, b text); CREATE TABLE typed OF pair (PRIMARY KEY (a))",
    ),
    (
        "not valid",
        "ALTER TABLE trades ADD CONSTRAINT cheap CHECK (price < 5) NOT VALID; ALTER TABLE positions DROP CONSTRAINT positions_portfolio_id_fkey; ALTER TABLE positions ADD CONSTRAINT positions_portfolio_id_fkey FOREIGN KEY (portfolio_id) REFERENCES portfolios NOT VALID",
    ),
    ("unlogged", "CREATE UNLOGGED TABLE fast (a int) WITH (fillfactor = 70)"),
    (
        "regclass",
        "CREATE TABLE kinds (a regclass DEFAULT 'trades', b regprocedure, c regtype[])",
    ),
];

#[test]
fn tenants_that_are_not_like_it_are_made_again_from_a_dump() {
    let db = Db::initialized();
    let describer = Describer::new();
    let ids: Vec<String> = DRIFTS.iter().map(|_| unique("t")).collect();
    let mut args: Vec<&str> = ids.iter().map(String::as_str).collect();
    args.extend(["--tier", "basic"]);
    let mut tenants: BTreeMap<String, Made> = db.provision(&args).into_iter().map(|m| (m.id.clone(), m)).collect();
    for (id, (what, ddl)) in ids.iter().zip(DRIFTS) {
        let made = tenants.remove(id).unwrap();
        db.sql(&format!(
            "SET ROLE tenantctl_owner; SET search_path = {}; SET client_min_messages = warning; {}",
            made.schema,
            ddl.replace("SCHEMA SCHEMA", &format!("\u{1} {}", made.schema))
                .replace("SCHEMA", &made.schema)
                .replace('\u{1}', "SCHEMA")
        ));
        let copy = unique("tenantctl_restore_");
        run(async {
            let (ddl, contents) = describe(&db.url, &made, &describer).await;
            assert_eq!(ddl.structure.source, DdlSource::PgDump, "{what}");
            assert!(contents.strangers.is_empty(), "{what}: {:?}", contents.strangers);
            for standard in [
                "POLICY",
                "ROW LEVEL SECURITY",
                "TRIGGER tenantctl_",
                "\\restrict",
                "OWNER TO",
                "GRANT ",
            ] {
                assert!(
                    !ddl.pre_data.contains(standard) && !ddl.post_data.contains(standard),
                    "{what}: {standard}"
                );
            }
            let session = connector(&db.url).connect().await.unwrap();
            replay(&session, &ddl, &made.schema, &copy).await;
            let found = structure(&session, &copy, &made.schema).await.unwrap();
            assert_eq!(found.0, ddl.structure.shape_sha256, "{what}");
        });
        // A column that is named like the schema keeps its name.
        let names = |schema: &str| -> std::collections::BTreeSet<String> {
            let plain = |key: String| key.replace(schema, "x").replace(&made.schema, "x");
            facts(&db, schema).into_keys().map(plain).collect()
        };
        let (before, after) = (names(&made.schema), names(&copy));
        let differing: Vec<_> = before.symmetric_difference(&after).collect();
        assert!(differing.is_empty(), "{what}: {differing:?}");
    }
}

#[test]
fn contents_tell_what_is_there_and_how_rows_are_written() {
    let db = Db::initialized();
    let made = db.provision(&[&unique("t"), "--tier", "basic"]).remove(0);
    let schema = &made.schema;
    db.sql(&format!(
        "CREATE ROLE {schema}_other; SET ROLE tenantctl_owner; SET search_path = {schema};
CREATE TYPE state AS ENUM ('a'); CREATE TYPE pair AS (a int, s state); CREATE TYPE plain AS (a int, b text); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN states AS state[]; CREATE TYPE span AS RANGE (subtype = float8);
CREATE TABLE k_enum (a state, r span, m span_multirange, p plain, d positive, i int[], b bytea, g int GENERATED ALWAYS AS (1) STORED);
CREATE TABLE k_enums (a state[]); CREATE TABLE k_domains (a positive[]); CREATE TABLE k_domain (a states); CREATE TABLE k_pair (a pair); CREATE TABLE k_plains (a plain[]);
CREATE TABLE k_reg (a regtype); CREATE TABLE k_acl (a aclitem); CREATE TABLE k_regs (a regclass[]); CREATE TABLE k_generated (a int, g regtype GENERATED ALWAYS AS ('int'::regtype) STORED);
CREATE TABLE \"p\" (a int) PARTITION BY LIST (a); CREATE TABLE p1 PARTITION OF p DEFAULT;
CREATE MATERIALIZED VIEW z_first AS SELECT 1 AS x; CREATE VIEW v WITH (security_invoker = true) AS SELECT x FROM z_first; CREATE MATERIALIZED VIEW a_then AS SELECT x FROM v; CREATE MATERIALIZED VIEW empty AS SELECT 1 WITH NO DATA;
CREATE SEQUENCE \"S s\"; SELECT setval('\"S s\"', 5, false); CREATE SEQUENCE s2; SELECT nextval('s2');
INSERT INTO p SELECT n FROM generate_series(1, 1000) n;
CREATE TABLE theirs (a int); RESET ROLE; ALTER TABLE theirs OWNER TO {schema}_other;
CREATE FUNCTION {schema}.stray() RETURNS int LANGUAGE sql RETURN 1; CREATE EXTENSION pg_trgm SCHEMA {schema}"
    ));
    let (contents, sequences, missing) = run(async {
        let session = connector(&db.url).connect().await.unwrap();
        let contents = contents::read(&session, schema).await.unwrap();
        let sequences = contents::sequences(&session, schema, &contents.sequences)
            .await
            .unwrap();
        let missing = contents::read(&session, "no such schema").await;
        (contents, sequences, missing)
    });
    assert!(missing.is_err());
    let table = |name: &str| contents.tables.iter().find(|t| t.name == name).unwrap();
    let text = [
        "k_enums",
        "k_domains",
        "k_domain",
        "k_pair",
        "k_plains",
        "k_reg",
        "k_acl",
        "k_regs",
    ];
    for name in ["k_enum", "k_generated", "p1", "trades", "audit_log"] {
        assert_eq!(table(name).format, RowFormat::Binary, "{name}");
    }
    for name in text {
        assert_eq!(table(name).format, RowFormat::Text, "{name}");
    }
    assert_eq!((table("k_enum").columns.len(), table("k_enum").layout.len()), (7, 8));
    assert_eq!((table("p").kind, table("p").pages, table("p").related), ('p', 0, true));
    assert_eq!(
        (table("p1").kind, table("p1").pages, table("p1").related),
        ('r', 5, true)
    );
    assert!(table("p1").bytes >= 5 * 8192);
    assert_eq!(contents.materialized_views, ["z_first", "a_then"]);
    let states: Vec<_> = sequences
        .iter()
        .map(|s| (s.name.as_str(), s.last_value, s.is_called))
        .collect();
    assert_eq!(
        states,
        [("S s", 5, false), ("audit_log_id_seq", 1, false), ("s2", 1, true)]
    );
    let told = contents.strangers.join("\n");
    for part in [
        format!("table {schema}.theirs belongs to {schema}_other"),
        format!("function {schema}.stray() belongs to postgres"),
        "extension pg_trgm is installed in it".to_owned(),
    ] {
        assert!(told.contains(&part), "{part} in\n{told}");
    }
}

#[test]
fn an_admin_who_is_no_superuser_gets_the_same() {
    let db = Db::initialized();
    let made = db.provision(&[&unique("t"), "--tier", "basic"]).remove(0);
    let admin = unique("ddl_admin");
    db.sql(&format!(
        "CREATE ROLE {admin} LOGIN PASSWORD 'p:@/ \"x' IN ROLE tenantctl_owner; SET ROLE tenantctl_owner; ALTER TABLE {}.trades ADD x int",
        made.schema
    ));
    let url = db.url_as(&admin).replace('@', ":p%3A%40%2F%20%22x@");
    run(async {
        let (ours, _) = describe(&db.url, &made, &Describer::new()).await;
        let (theirs, _) = describe(&url, &made, &Describer::new()).await;
        assert_eq!(theirs.structure.source, DdlSource::PgDump);
        assert_eq!(theirs, ours);
    });
}

/// A database whose template has one module.
fn shop(module: &str) -> Db {
    let db = Db::new();
    std::fs::create_dir(db.dir.join("modules")).unwrap();
    std::fs::write(db.dir.join("modules/orders.sql"), module).unwrap();
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "templates:
  only:
    name: Only
    description: one module
    features: [all]
    limits: {max_portfolios: unlimited, max_positions_per_portfolio: unlimited, max_trades_per_day: unlimited, max_api_calls_per_minute: unlimited, max_schema_size_gb: unlimited, max_connections: 5}
template: {name: shop, directory: modules, modules: [{name: orders, feature: orders}], hypertables: [], bulk_load: []}
provisioning: {default_tier: only}
",
    )
    .unwrap();
    db.run(&["init"]).success();
    db
}

#[test]
fn a_rich_template_is_replayed_and_what_it_does_not_say_is_not() {
    let db = shop(
        "CREATE TYPE state AS ENUM ('new', 'done'); CREATE DOMAIN positive AS int CHECK (VALUE > 0); CREATE TYPE span AS RANGE (subtype = int);
CREATE TABLE customers (id serial PRIMARY KEY, email text NOT NULL, state state DEFAULT 'new', UNIQUE (email) INCLUDE (state));
CREATE UNIQUE INDEX customers_lower ON customers (lower(email)); CREATE UNIQUE INDEX customers_pair ON customers (id, email);
CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int, email text, n positive, during span,
    FOREIGN KEY (customer, email) REFERENCES customers (id, email), CONSTRAINT free EXCLUDE USING gist (during WITH &&));
CREATE TABLE lines (order_id bigint REFERENCES orders, n int, PRIMARY KEY (order_id, n) DEFERRABLE) WITH (fillfactor = 80);
ALTER TABLE lines ADD COLUMN note text, ADD CONSTRAINT short CHECK (length(note) < 10);
CREATE TABLE days AS SELECT n AS day FROM generate_series(1, 7) n;
CREATE TABLE events (id int, at date, PRIMARY KEY (id, at)) PARTITION BY RANGE (at);
CREATE TABLE events_old PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2026-01-01'); CREATE TABLE events_new PARTITION OF events DEFAULT;
CREATE INDEX events_at ON events (at); INSERT INTO customers (email) VALUES ('root'); GRANT SELECT ON customers TO tenantctl_tenants;
CREATE VIEW by_customer WITH (security_invoker = true) AS SELECT c.id, c.email, count(o.id) FROM customers c LEFT JOIN orders o ON o.customer = c.id GROUP BY c.id;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS $$BEGIN PERFORM 1; RETURN NEW; END$$;
CREATE FUNCTION open_orders() RETURNS bigint LANGUAGE sql STABLE BEGIN ATOMIC SELECT count(*) FROM orders; END;
CREATE TRIGGER touched BEFORE INSERT ON orders FOR EACH ROW EXECUTE FUNCTION touch('a;b');
CREATE RULE keep AS ON DELETE TO days DO INSTEAD NOTHING; CREATE STATISTICS both_of ON id, email FROM customers;
COMMENT ON TABLE orders IS 'all; of them'; COMMENT ON COLUMN orders.n IS 'how many'; COMMENT ON INDEX customers_lower IS 'unique'; COMMENT ON TRIGGER touched ON orders IS 't'",
    );
    let made = db.provision(&["acme", "drifted"]);
    let describer = Describer::new();
    let copy = unique("tenantctl_restore_");
    run(async {
        let (ddl, contents) = describe(&db.url, &made[0], &describer).await;
        assert_eq!(ddl.structure.source, DdlSource::Template, "{:?}", contents.extras);
        for (part, before) in [
            ("CREATE UNIQUE INDEX customers_pair", true),
            ("CREATE INDEX events_at", true),
            ("TRUNCATE \"days\"", true),
            ("CREATE UNIQUE INDEX customers_lower", false),
            ("CREATE TRIGGER touched", false),
            ("COMMENT ON INDEX customers_lower", false),
            (
                "ALTER TABLE \"orders\" ADD CONSTRAINT orders_pkey PRIMARY KEY (id)",
                false,
            ),
            ("ADD CONSTRAINT lines_pkey PRIMARY KEY (order_id, n) DEFERRABLE", false),
        ] {
            assert_eq!(
                (ddl.pre_data.contains(part), ddl.post_data.contains(part)),
                (before, !before),
                "{part}"
            );
        }
        assert!(
            !ddl.pre_data.contains("INSERT INTO customers") && !ddl.pre_data.contains("DROP CONSTRAINT customers_pkey")
        );
        let session = connector(&db.url).connect().await.unwrap();
        replay(&session, &ddl, &made[0].schema, &copy).await;
        let found = structure(&session, &copy, &made[0].schema).await.unwrap();
        assert_eq!(found, (ddl.structure.shape_sha256, ddl.structure.sha256));
    });
    assert_eq!(facts(&db, &copy), facts(&db, &made[0].schema));
    assert_eq!(db.value(&format!("SELECT count(*) FROM {copy}.days")), "0");
    // The same comment by hand on a tenant and on the reference copy is none of the template's.
    for schema in [&made[1].schema, "template_shop"] {
        db.sql(&format!("COMMENT ON TABLE {schema}.customers IS 'by hand'"));
    }
    run(async {
        let (ddl, _) = describe(&db.url, &made[1], &Describer::new()).await;
        assert_eq!(ddl.structure.source, DdlSource::PgDump);
        assert!(ddl.pre_data.contains("by hand"));
    });
    // What nobody can place is dumped instead.
    let db = shop("CREATE TABLE orders (x int); CREATE INDEX ON orders (x)");
    let made = db.provision(&["acme"]).remove(0);
    run(async {
        let (ddl, _) = describe(&db.url, &made, &Describer::new()).await;
        assert_eq!(ddl.structure.source, DdlSource::PgDump);
    });
}
