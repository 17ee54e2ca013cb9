//! `restore`: what comes back is what was there, and until it is there nothing of the tenant is touched.

mod interrupted;
mod others;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use age::secrecy::ExposeSecret;

use crate::support::{Cmd, Db, Made, Run, anatomy, hold, sql, unique, wait_for};

const DATA: &str = include_str!("../../sql/demo/trading_data.sql");

/// A database with one tenant that has data, and a store.
struct Scene {
    db: Db,
    tenant: Made,
    store: PathBuf,
}

impl Scene {
    fn new(id: &str) -> Self {
        Self::of_tier(id, "enterprise")
    }

    fn of_tier(id: &str, tier: &str) -> Self {
        let db = Db::initialized();
        let tenant = db.provision(&[id, "--tier", tier]).remove(0);
        sql(&tenant.url(&db), DATA).unwrap();
        let store = db.dir.join("store");
        Self { db, tenant, store }
    }

    fn command(&self, args: &[&str]) -> Cmd {
        // Parts of some kilobytes, so that there are several of a table.
        self.db
            .command(args)
            .env("TENANTCTL_STORE", &format!("file://{}", self.store.display()))
            .env("TENANTCTL_TEST_PART_BYTES", "300000")
    }

    fn run(&self, args: &[&str]) -> Run {
        self.command(args).finish()
    }

    /// Backs the tenant up; returns the backup's id.
    fn backup(&self) -> String {
        let json = self.run(&["-o", "json", "backup", &self.tenant.id]).success().json();
        json["backups"][0]["backup_id"].as_str().unwrap().to_owned()
    }

    fn restore(&self, args: &[&str]) -> serde_json::Value {
        let mut all = vec!["-o", "json", "restore", &self.tenant.id];
        all.extend(args);
        self.run(&all).success().json()
    }

    fn contents(&self) -> BTreeMap<String, String> {
        contents(&self.db, &self.tenant.schema)
    }

    fn url(&self) -> String {
        self.tenant.url(&self.db)
    }

    /// Nothing is left of a restore that is not wanted.
    #[track_caller]
    fn is_tidy(&self) {
        let left = self.db.sql(
            "SELECT nspname FROM pg_namespace WHERE nspname ~ '^tenantctl_(restore|drill)_'
             UNION ALL SELECT staging_schema FROM tenantctl.restores WHERE staging_schema IS NOT NULL
             UNION ALL SELECT restore_id::text FROM tenantctl.restores WHERE status = 'running'",
        );
        assert!(left.is_empty(), "{left:?}");
    }

    /// The tenant meets the standard, and works.
    #[track_caller]
    fn is_sound(&self) {
        self.is_tidy();
        sound(&self.db, &self.tenant.id);
        sql(&self.url(), "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'works'); DELETE FROM portfolios WHERE name = 'works'").unwrap();
    }
}

/// `validate` finds nothing that it did not find of a tenant just provisioned, and `secure` has nothing to do.
#[track_caller]
pub fn sound(db: &Db, id: &str) {
    let run = db.run(&[
        "-o",
        "json",
        "validate",
        "--all",
        "--skip",
        "hba_lines,cluster_settings,minor_release,password_storage",
    ]);
    let json = run.json();
    let of_tenants: Vec<_> = json["findings"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|f| !f["tenant_id"].is_null() || f.to_string().contains("tenantctl_re"))
        .collect();
    assert!(of_tenants.is_empty(), "{of_tenants:#?}");
    let run = db.run(&["secure", id, "--dry-run"]).success();
    assert!(
        run.stderr().contains("nothing to do"),
        "{}{}",
        run.stdout(),
        run.stderr()
    );
}

/// Every table as COPY writes it, rows in order, and every sequence.
pub fn contents(db: &Db, schema: &str) -> BTreeMap<String, String> {
    let tables = db.sql(&format!(
        "SELECT relname, relkind FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind IN ('r', 'S') ORDER BY 1"
    ));
    tables
        .into_iter()
        .map(|row| {
            let name = &row[0];
            let text = if row[1] == "S" {
                db.value(&format!("SELECT format('%s %s', last_value, is_called) FROM {schema}.\"{name}\""))
            } else {
                db.value(&format!(
                    "SELECT count(*) || ' ' || COALESCE(md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")), '') FROM {schema}.\"{name}\" t"
                ))
            };
            (name.clone(), text)
        })
        .collect()
}

fn count(db: &Db, what: &str) -> i64 {
    db.value(&format!("SELECT count(*) FROM {what}")).parse().unwrap()
}

#[test]
fn what_was_deleted_dropped_or_dropped_altogether_comes_back_to_the_byte() {
    let scene = Scene::new("acme");
    let (db, s) = (&scene.db, &scene.tenant.schema);
    // The tenant's own writes are audited and counted; the load is not.
    sql(
        &scene.url(),
        "UPDATE positions SET quantity = quantity + 1; DELETE FROM trades WHERE side = 'SELL'",
    )
    .unwrap();
    let (before, looks) = (scene.contents(), anatomy(db, s));
    let id = scene.backup();
    for damage in [
        format!("DELETE FROM {s}.trades; UPDATE {s}.portfolios SET name = 'x'; TRUNCATE {s}.audit_log"),
        format!("DROP TABLE {s}.trades CASCADE; DROP TABLE {s}.positions CASCADE"),
        format!("DROP SCHEMA {s} CASCADE"),
    ] {
        let schema_left = !damage.starts_with("DROP SCHEMA");
        db.sql(&damage);
        let json = scene.restore(&[]);
        assert_eq!(json["backup_id"], id.as_str());
        assert_eq!(json["restored_to"], s.as_str());
        assert_eq!(json["verified"], true);
        assert!(json["duration_ms"].as_f64().unwrap() > 0.0);
        assert_eq!(json["replaced_schema"].is_string(), schema_left, "{json}");
        assert_eq!(json["rows"].as_u64().unwrap(), rows_of(&before), "{json}");
        same(&scene.contents(), &before);
        same(&anatomy(db, s), &looks);
        // Its old password still opens the door.
        scene.is_sound();
        // That write was audited, so the next comparison starts from here.
        db.sql(&format!("DELETE FROM {s}.audit_log WHERE table_name = 'portfolios'"));
        let again = scene.restore(&["--backup", &id]);
        assert_eq!(again["kind"], "replace");
        same(&scene.contents(), &before);
    }
    let text = scene.run(&["show", "acme"]).success().stdout();
    assert!(text.contains(&id) && text.contains("what was replaced"), "{text}");
    let json = scene.run(&["-o", "json", "show", "acme"]).success().json();
    assert_eq!(json["backups"][0]["backup_id"], id.as_str());
    assert!(json["restores"].as_array().unwrap().len() >= 4, "{json}");
}

/// Equal, or what differs.
#[track_caller]
pub fn same(now: &BTreeMap<String, String>, then: &BTreeMap<String, String>) {
    let keys: std::collections::BTreeSet<_> = now.keys().chain(then.keys()).collect();
    let differ = keys.into_iter().filter(|key| now.get(*key) != then.get(*key));
    let differ: Vec<_> = differ
        .map(|key| format!("{key}: now {:?}, then {:?}", now.get(key), then.get(key)))
        .collect();
    assert!(differ.is_empty(), "{differ:#?}");
}

fn rows_of(contents: &BTreeMap<String, String>) -> u64 {
    let tables = contents.iter().filter(|(name, _)| !name.ends_with("_seq"));
    tables
        .map(|(_, text)| text.split(' ').next().unwrap().parse::<u64>().unwrap())
        .sum()
}

#[test]
fn the_tenant_can_do_nothing_with_what_is_kept_and_undo_puts_it_back() {
    let scene = Scene::new("acme");
    let (db, s) = (&scene.db, &scene.tenant.schema);
    scene.backup();
    let old = scene.contents();
    sql(
        &scene.url(),
        "DELETE FROM positions; UPDATE portfolios SET name = 'newer'",
    )
    .unwrap();
    let (newer, looks) = (scene.contents(), anatomy(db, s));
    // Its role is open in a session with a statement that was prepared before.
    let held = hold(&scene.url(), "PREPARE p AS SELECT count(*) FROM positions; EXECUTE p");
    let json = scene.restore(&["--keep-days", "3"]);
    let kept = json["replaced_schema"].as_str().unwrap().to_owned();
    same(&scene.contents(), &old);
    let rights = db.value(&format!(
        "SELECT count(*) FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) x
         WHERE c.relnamespace = '{kept}'::regnamespace AND x.grantee <> c.relowner"
    ));
    assert_eq!(rights, "0");
    let denied = sql(&scene.url(), &format!("SELECT count(*) FROM {kept}.positions")).unwrap_err();
    assert!(denied.starts_with("42501"), "{denied}");
    scene.is_sound();
    assert_eq!(
        db.value("SELECT drop_after::date - current_date FROM tenantctl.restores WHERE replaced_schema IS NOT NULL"),
        "3"
    );
    let plan = scene
        .run(&["restore", "acme", "--undo", "--dry-run"])
        .success()
        .stdout();
    assert!(plan.contains(&format!("ALTER SCHEMA \"{kept}\" RENAME TO")), "{plan}");
    let before_undo = scene.contents();
    let json = scene.restore(&["--undo"]);
    assert_eq!(json["kind"], "undo");
    same(&scene.contents(), &newer);
    same(&anatomy(db, s), &looks);
    scene.is_sound();
    // And back again.
    scene.restore(&["--undo"]);
    same(&scene.contents(), &before_undo);
    drop(held);
    // A stranger's view on the kept schema is not taken along.
    let kept = db.value("SELECT replaced_schema FROM tenantctl.restores WHERE replaced_schema IS NOT NULL");
    db.sql(&format!(
        "CREATE VIEW public.v_{} AS SELECT * FROM {kept}.portfolios",
        db.name
    ));
    scene
        .run(&["restore", "acme", "--drop-replaced"])
        .exits(4)
        .says(&["depend on it", "public.v_"]);
    db.sql(&format!("DROP VIEW public.v_{}", db.name));
    // Grace.
    let run = scene.run(&["restore", "--all", "--drop-replaced"]).success();
    assert!(run.stderr().contains("no grace period is over"), "{}", run.stderr());
    db.sql("UPDATE tenantctl.restores SET drop_after = now() - interval '1 hour' WHERE replaced_schema IS NOT NULL");
    let json = scene
        .run(&["-o", "json", "restore", "--all", "--drop-replaced"])
        .success()
        .json();
    assert_eq!(json["dropped"][0]["schemas"][0], kept.as_str());
    assert_eq!(count(db, "pg_namespace WHERE nspname LIKE 'tenantctl\\_replaced%'"), 0);
    scene
        .run(&["restore", "acme", "--undo"])
        .exits(4)
        .says(&["nothing is kept"]);
    scene.is_sound();
}

#[test]
fn a_new_tenant_is_made_from_a_backup() {
    let scene = Scene::new("acme");
    let db = &scene.db;
    let before = scene.contents();
    scene.backup();
    let plan = scene
        .run(&["restore", "acme", "--as", "copy", "--dry-run"])
        .success()
        .stdout();
    assert!(plan.contains("CREATE ROLE") && !plan.contains("SCRAM"), "{plan}");
    let json = scene.restore(&["--as", "copy"]);
    let schema = json["restored_to"].as_str().unwrap().to_owned();
    assert_ne!(schema, scene.tenant.schema);
    assert_eq!(
        (&json["tenant_id"], &json["tier"], &json["kind"]),
        (&"copy".into(), &"enterprise".into(), &"new".into())
    );
    same(&contents(db, &schema), &before);
    same(&anatomy(db, &schema), &anatomy(db, &scene.tenant.schema));
    let url = |json: &serde_json::Value| {
        db.url_as(json["role_name"].as_str().unwrap())
            .replace('@', &format!(":{}@", json["password"].as_str().unwrap()))
    };
    assert_eq!(sql(&url(&json), "SELECT count(*) FROM portfolios").unwrap()[0][0], "4");
    scene.is_sound();
    sound(db, "copy");
    scene
        .run(&["restore", "acme", "--as", "copy"])
        .exits(4)
        .says(&["copy already exists"]);
    // Another tier brings its limits; what it counts that nobody has counted so far is counted.
    db.sql(&format!(
        "UPDATE tenantctl.tenants SET limits = limits || '{{\"max_portfolios\": null}}' WHERE schema_name = '{}'; DELETE FROM {}.tenant_usage",
        scene.tenant.schema, scene.tenant.schema
    ));
    scene.backup();
    let json = scene.restore(&["--as", "small", "--tier", "basic"]);
    assert_eq!(json["tier"], "basic");
    let small = json["restored_to"].as_str().unwrap();
    assert_eq!(
        db.value(&format!(
            "SELECT used FROM {small}.tenant_usage WHERE resource = 'portfolios'"
        )),
        "4"
    );
    sound(db, "small");
    // A tenant that is gone comes back as itself, with a new password.
    db.run(&["drop", "acme", "--yes"]).success();
    let json = scene
        .run(&["-o", "json", "restore", "acme", "--credentials-file", "new.csv"])
        .success()
        .json();
    assert_eq!(json["restored_to"], scene.tenant.schema.as_str());
    assert!(json.get("password").is_none());
    let file = std::fs::read_to_string(db.dir.join("new.csv")).unwrap();
    let password = file.trim().rsplit(',').next().unwrap();
    sql(
        &db.url_as(&scene.tenant.role).replace('@', &format!(":{password}@")),
        "SELECT count(*) FROM trades",
    )
    .unwrap();
    scene.is_tidy();
    sound(db, "acme");
}

#[test]
fn single_tables_come_back_while_the_rest_stays() {
    let scene = Scene::of_tier("acme", "professional");
    let (db, s) = (&scene.db, &scene.tenant.schema);
    let before = scene.contents();
    scene.backup();
    sql(
        &scene.url(),
        "DELETE FROM positions; UPDATE market_data SET volume = 0; INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'newer')",
    )
    .unwrap();
    let changed = scene.contents();
    let looks = anatomy(db, s);
    let plan = scene
        .run(&["restore", "acme", "--tables", "positions", "--dry-run"])
        .success()
        .stdout();
    assert!(
        plan.contains("TRUNCATE ONLY") && plan.contains("ADD CONSTRAINT \"positions_portfolio_id_fkey\""),
        "{plan}"
    );
    same(&scene.contents(), &changed);
    let json = scene.restore(&["--tables", "positions"]);
    assert_eq!(json["tables"][0], "positions");
    let after = scene.contents();
    for (table, text) in &after {
        let expected = match table.as_str() {
            "positions" => &before[table],
            // Counted anew: positions as then, portfolios as now.
            "tenant_usage" => continue,
            _ => &changed[table],
        };
        assert_eq!(text, expected, "{table}");
    }
    same(&anatomy(db, s), &looks);
    let usage = format!("{s}.tenant_usage WHERE resource = 'positions_per_portfolio'");
    assert_eq!(
        db.value(&format!("SELECT sum(used) FROM {usage}")),
        db.value(&format!("SELECT count(*) FROM {s}.positions"))
    );
    scene.is_sound();
    let json = scene.restore(&["--undo"]);
    assert_eq!(json["tables"][0], "positions");
    assert_eq!(count(db, &format!("{s}.positions")), 0);
    scene.is_sound();
    // A key that would not hold: the whole is as it was, and the other table is named.
    sql(&scene.url(), "DELETE FROM portfolios").unwrap();
    let before_failure = scene.contents();
    scene.run(&["restore", "acme", "--tables", "trades"]).exits(4).says(&[
        "trades_portfolio_id_fkey would not hold",
        "Add the other table",
        "SQLSTATE 23503",
    ]);
    same(&scene.contents(), &before_failure);
    scene.is_sound();
    scene.restore(&["--tables", "trades,portfolios"]);
    assert_eq!(scene.contents()["trades"], before["trades"]);
    scene
        .run(&["restore", "acme", "--tables", "trade"])
        .exits(4)
        .says(&["no table \"trade\"", "Did you mean trades?"]);
    scene
        .run(&["restore", "acme", "--tables", "tenant_usage"])
        .exits(4)
        .says(&["which is counted"]);
    db.sql(&format!("ALTER TABLE {s}.positions ADD COLUMN extra int"));
    scene
        .run(&["restore", "acme", "--tables", "positions"])
        .exits(4)
        .says(&["other columns now", "extra integer"]);
    scene.is_tidy();
}

/// Sequences, identity and generated columns, triggers of the tenant's own structure: not the template's, so by pg_dump.
#[test]
fn what_is_not_the_templates_comes_back_too() {
    let scene = Scene::new("acme");
    let (db, s) = (&scene.db, &scene.tenant.schema);
    db.sql(&format!(
        "SET ROLE tenantctl_owner; SET search_path = {s};
CREATE TYPE mood AS ENUM ('sad', 'glad');
CREATE TABLE \"Odd ü\" (id int GENERATED ALWAYS AS IDENTITY (START 10) PRIMARY KEY, m mood, t text, b bigserial, twice int GENERATED ALWAYS AS (id * 2) STORED, UNIQUE (t, m), EXCLUDE (id WITH =));
INSERT INTO \"Odd ü\" (m, t) VALUES ('glad', '{s}.trades'), ('sad', E'a\\tb\\\\n');
CREATE TABLE parts (k int NOT NULL, v text, PRIMARY KEY (k)) PARTITION BY RANGE (k);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES FROM (0) TO (10);
CREATE TABLE parts_2 PARTITION OF parts FOR VALUES FROM (10) TO (20);
CREATE INDEX ON parts (v);
INSERT INTO parts SELECT n, 'v' || n FROM generate_series(0, 19) n;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql SET search_path = {s}, pg_temp AS 'BEGIN NEW.t := NEW.t || ''!''; RETURN NEW; END';
CREATE TRIGGER touch BEFORE INSERT ON \"Odd ü\" FOR EACH ROW EXECUTE FUNCTION touch();
CREATE MATERIALIZED VIEW summary AS SELECT m, count(*) AS n FROM \"Odd ü\" GROUP BY m;
CREATE UNIQUE INDEX ON summary (m);
COMMENT ON TABLE \"Odd ü\" IS 'odd'; CREATE STATISTICS st ON m, t FROM \"Odd ü\";
SELECT setval('\"Odd ü_b_seq\"', 77);"
    ));
    // Read again from its own print, the server prints a cast of an array in another way.
    let anatomy = |db: &Db, schema: &str| {
        let mut anatomy = anatomy(db, schema);
        anatomy.retain(|_, text| !text.contains("= ANY "));
        anatomy
    };
    let (before, looks) = (scene.contents(), anatomy(db, s));
    scene.backup();
    db.sql(&format!(
        "DELETE FROM {s}.\"Odd ü\"; DROP TABLE {s}.parts; REFRESH MATERIALIZED VIEW {s}.summary"
    ));
    scene.restore(&[]);
    same(&scene.contents(), &before);
    same(&anatomy(db, s), &looks);
    assert_eq!(db.value(&format!("SELECT count(*) FROM {s}.summary")), "2");
    let path = db.value(&format!(
        "SELECT proconfig::text FROM pg_proc WHERE pronamespace = '{s}'::regnamespace AND proname = 'touch'"
    ));
    assert!(path.contains(s) && !path.contains("tenantctl_"), "{path}");
    scene.is_tidy();
    // Single tables with identity and generated columns.
    db.sql(&format!(
        "INSERT INTO {s}.\"Odd ü\" (m, t) VALUES ('sad', 'more'); SELECT setval('{s}.\"Odd ü_b_seq\"', 500)"
    ));
    scene.restore(&["--tables", "Odd ü"]);
    same(&scene.contents(), &before);
    scene.restore(&["--undo"]);
    assert_eq!(count(db, &format!("{s}.\"Odd ü\"")), 3);
    assert_eq!(db.value(&format!("SELECT last_value FROM {s}.\"Odd ü_b_seq\"")), "500");
    scene
        .run(&["restore", "acme", "--tables", "parts"])
        .exits(4)
        .says(&["partitioned"]);
    scene.restore(&["--as", "copy"]);
    scene.is_tidy();
}

#[test]
fn encrypted_backups_open_to_their_recipients_only() {
    let scene = Scene::new("acme");
    let db = &scene.db;
    let (right, wrong) = (key(), key());
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        format!("backup:\n  age_recipients: [{}]\n", recipient(&right)),
    )
    .unwrap();
    std::fs::write(db.dir.join("right.txt"), &right).unwrap();
    std::fs::write(db.dir.join("wrong.txt"), &wrong).unwrap();
    scene.backup();
    let before = scene.contents();
    let restores = count(db, "tenantctl.restores");
    scene
        .run(&["restore", "acme"])
        .exits(2)
        .says(&["is encrypted", "--identity"]);
    scene
        .run(&["restore", "acme", "--identity", "wrong.txt"])
        .exits(5)
        .says(&["encrypted to other keys"]);
    assert_eq!(count(db, "tenantctl.restores"), restores);
    db.sql(&format!("DELETE FROM {}.trades", scene.tenant.schema));
    scene.restore(&["--identity", "wrong.txt", "--identity", "right.txt"]);
    assert_eq!(scene.contents()["trades"], before["trades"]);
    scene.is_sound();
}

fn key() -> String {
    let identity = age::x25519::Identity::generate();
    identity.to_string().expose_secret().to_owned()
}

fn recipient(key: &str) -> String {
    key.parse::<age::x25519::Identity>().unwrap().to_public().to_string()
}

/// Whatever a database sets for its sessions.
#[test]
fn settings_of_a_database_cost_no_digit_and_no_row_and_end_no_restore() {
    let scene = Scene::new("acme");
    let (db, s) = (&scene.db, &scene.tenant.schema);
    db.sql(&format!(
        "ALTER DATABASE {0} SET extra_float_digits = 0; ALTER DATABASE {0} SET idle_session_timeout = '200ms';
         ALTER DATABASE {0} SET idle_in_transaction_session_timeout = '200ms'; ALTER DATABASE {0} SET xmloption = 'document';
         ALTER DATABASE {0} SET default_transaction_isolation = 'repeatable read'; ALTER DATABASE {0} SET array_nulls = off",
        db.name
    ));
    db.sql(&format!(
        "SET ROLE tenantctl_owner; SET search_path = {s}; CREATE TYPE pair AS (a int, f float8);
         CREATE TABLE odd (id int GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY, f float8, p pair[], m money, x xml);
         INSERT INTO odd (f, p, m, x) VALUES (0.1::float8 + 0.2::float8, ARRAY[(1, 0.1::float8 + 0.2::float8)::pair, NULL], 12.34, XMLPARSE(CONTENT 'a<b/>'))"
    ));
    let read = |schema: &str| {
        db.sql(&format!(
            "SET extra_float_digits = 3; SELECT id, f, p, m, x FROM {schema}.odd ORDER BY 1"
        ))
    };
    let before = read(s);
    scene.backup();
    scene.restore(&[]);
    assert_eq!(read(s), before);
    // What is committed while the restore waits is kept, as all that is replaced.
    let writer = hold(
        &db.url,
        &format!("SET idle_in_transaction_session_timeout = 0; BEGIN; INSERT INTO {s}.odd (f) VALUES (42)"),
    );
    let child = scene
        .command(&["-o", "json", "restore", "acme", "--tables", "odd"])
        .command
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the restore to wait", || {
        db.value("SELECT count(*) FROM pg_locks WHERE NOT granted AND mode = 'AccessExclusiveLock'") == "1"
    });
    writer.run("COMMIT");
    let json = Run(child.wait_with_output().unwrap()).success().json();
    assert_eq!(read(s), before);
    let kept = db.sql(&format!(
        "SELECT f FROM {}.odd ORDER BY 1",
        json["replaced_schema"].as_str().unwrap()
    ));
    assert_eq!(kept.len(), 2, "{kept:?}");
    assert_eq!(kept[1][0], "42");
}

#[test]
fn dropping_a_tenant_drops_what_its_restores_have_kept() {
    let scene = Scene::new("acme");
    let db = &scene.db;
    scene.backup();
    scene.restore(&[]);
    scene.restore(&[]);
    let kept = db.sql("SELECT replaced_schema FROM tenantctl.restores WHERE replaced_schema IS NOT NULL");
    assert_eq!(kept.len(), 2);
    let plan = db.run(&["drop", "acme", "--dry-run"]).success().stdout();
    for schema in &kept {
        assert!(
            plan.contains(&format!("DROP SCHEMA IF EXISTS \"{}\"", schema[0])),
            "{plan}"
        );
    }
    let json = db.run(&["-o", "json", "drop", "acme", "--yes"]).success().json();
    assert_eq!(json["dropped"][0]["kept_schemas"].as_array().unwrap().len(), 2);
    assert_eq!(count(db, "pg_namespace WHERE nspname ~ '^tenantctl_re'"), 0);
    assert_eq!(count(db, "tenantctl.restores WHERE replaced_schema IS NOT NULL"), 0);
    assert_eq!(db.counts(), (0, 0, 0));
}

#[test]
fn a_drill_restores_compares_and_leaves_nothing() {
    let scene = Scene::new("acme");
    let db = &scene.db;
    db.sql(&format!(
        "SET ROLE tenantctl_owner; SET search_path = {0}; CREATE TYPE pair AS (a int, b text);
         CREATE TABLE odd (n numeric, p pair, f float8, e text[]); INSERT INTO odd VALUES ('NaN', (1, 'x'), '-Infinity', ARRAY['a', NULL])",
        scene.tenant.schema
    ));
    let id = scene.backup();
    let before = scene.contents();
    let run = scene
        .run(&["-o", "json", "backup", "verify", "--restore-drill", &id])
        .success();
    assert_eq!(run.json()["verified"][0]["drilled"], true);
    scene.is_tidy();
    same(&scene.contents(), &before);
    assert_eq!(db.value("SELECT drilled_at IS NOT NULL FROM tenantctl.backups"), "t");
    assert_eq!(
        db.value("SELECT string_agg(kind || ' ' || status, ',') FROM tenantctl.restores"),
        "drill done"
    );
    // The tenant need not be there, and its contents are compared, not only counted.
    let folder = scene.store.join("tenants/acme/backups").join(&id);
    let manifest = std::fs::read_to_string(folder.join("manifest.json")).unwrap();
    let json: serde_json::Value = serde_json::from_str(&manifest).unwrap();
    let tables = json["tables"].as_array().unwrap();
    let checksum = tables.iter().find(|t| t["name"] == "trades").unwrap()["checksum"]
        .as_str()
        .unwrap();
    assert_ne!(checksum, "0".repeat(32));
    db.run(&["drop", "acme", "--yes"]).success();
    scene.run(&["backup", "verify", "--restore-drill", &id]).success();
    scene.is_tidy();
}
