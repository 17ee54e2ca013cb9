//! Backups: made, listed, verified, pruned, and restored by hand.

mod prune;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use tenantctl::cluster::{Cluster, Options};

use crate::support::{Cmd, Db, Made, Run, cluster, fast, hold, loud, sql, start, unique, wait_for};

const DEMO_DATA: &str = include_str!("../../sql/demo/trading_data.sql");

/// The store of a database's tests.
fn folder(db: &Db) -> PathBuf {
    db.dir.join("store")
}

fn backup(db: &Db, args: &[&str]) -> Cmd {
    let mut all = vec!["-o", "json", "backup"];
    all.extend(args);
    db.command(&all)
        .env("TENANTCTL_STORE", &format!("file://{}", folder(db).display()))
}

fn one(run: Run) -> Value {
    let json = run.success().json();
    assert_eq!(json["backups"].as_array().unwrap().len(), 1, "{json}");
    json["backups"][0].clone()
}

fn path_of(db: &Db, backup: &Value) -> PathBuf {
    folder(db).join(backup["key"].as_str().unwrap())
}

fn manifest(db: &Db, backup: &Value) -> Value {
    let text = std::fs::read_to_string(path_of(db, backup).join("manifest.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// All files below a folder, relative to it.
fn files(dir: &Path) -> BTreeSet<String> {
    fn walk(root: &Path, dir: &Path, found: &mut BTreeSet<String>) {
        let Ok(entries) = std::fs::read_dir(dir) else { return };
        for entry in entries.flatten() {
            if entry.path().is_dir() {
                walk(root, &entry.path(), found);
            } else {
                let path = entry.path();
                found.insert(path.strip_prefix(root).unwrap().display().to_string());
            }
        }
    }
    let mut found = BTreeSet::new();
    walk(dir, dir, &mut found);
    found
}

fn missing_program(test: &str, programs: &[&str]) -> bool {
    let there = |program: &&&str| {
        let found = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    };
    let missing: Vec<_> = programs.iter().filter(|p| !there(p)).collect();
    if !missing.is_empty() {
        loud(&format!(
            "SKIPPED backup::{test}: {missing:?} not installed on this machine"
        ));
    }
    !missing.is_empty()
}

/// The commands under "Restoring by hand" in the README: for a plain backup, then for an encrypted one.
fn commands_of_the_readme() -> Vec<String> {
    let (_, section) = include_str!("../../README.md")
        .split_once("### Restoring by hand\n")
        .unwrap();
    let (section, _) = section.split_once("\n### ").unwrap();
    let blocks = section.split("```sh\n").skip(1);
    blocks
        .map(|rest| rest.split_once("```").unwrap().0.to_owned())
        .collect()
}

/// Restores a backup with the README's commands as they stand there, into a new database; returns its URL.
fn by_hand(db: &Db, dir: &Path, identity: Option<&Path>) -> String {
    let name = unique("byhand");
    let blocks = commands_of_the_readme();
    assert_eq!(blocks.len(), 2);
    // Only the names of the folder, the key's file and the database are the user's own.
    let script: String = blocks[usize::from(identity.is_some())]
        .lines()
        .filter(|line| !line.starts_with("cd ") && !line.starts_with("export TENANTCTL_IDENTITY="))
        .map(|line| line.replace("rescue", &name) + "\n")
        .collect();
    assert!(script.contains("createdb") && script.lines().count() == 5, "{script}");
    let bin = cluster().binaries().dir.display().to_string();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let mut command = Command::new("sh");
    command
        .args(["-euc", &script])
        .current_dir(dir)
        .env("HOME", "/nonexistent")
        .env("PGHOST", cluster().dir())
        .env("PGPORT", cluster().port().to_string())
        .env("PGUSER", Cluster::SUPERUSER)
        .env("PATH", path);
    if let Some(identity) = identity {
        command.env("TENANTCTL_IDENTITY", identity);
    }
    let output = command.output().unwrap();
    assert!(
        output.status.success(),
        "by hand, in {}: {}\n{}",
        db.dir.display(),
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    cluster().url(Cluster::SUPERUSER, &name)
}

/// A hash over the rows of each table of a schema, read as the superuser.
fn contents(url: &str, schema: &str) -> Vec<Vec<String>> {
    let tables = sql(
        url,
        &format!(
            "SELECT relname FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind = 'r' ORDER BY 1"
        ),
    )
    .unwrap();
    let each = tables.iter().map(|row| {
        let table = &row[0];
        format!(
            "SELECT '{table}', count(*), md5(string_agg(t::text, '|' ORDER BY t::text)) FROM {schema}.\"{table}\" t"
        )
    });
    sql(url, &each.collect::<Vec<_>>().join(" UNION ALL ")).unwrap()
}

fn with_data(db: &Db, ids: &[&str]) -> Vec<Made> {
    let mut args = ids.to_vec();
    args.extend(["--tier", "enterprise"]);
    let mut made = db.provision(&args);
    made.sort_by(|a, b| a.id.cmp(&b.id));
    for tenant in &made {
        sql(&tenant.url(db), DEMO_DATA).unwrap();
    }
    made
}

#[test]
fn a_backup_is_whole_and_restored_by_hand() {
    if missing_program("a_backup_is_whole_and_restored_by_hand", &["zstd", "sha256sum"]) {
        return;
    }
    let db = Db::initialized();
    let made = with_data(&db, &["acme"]).remove(0);
    let done = one(backup(&db, &["acme", "--type", "pre_migration"]).finish());
    for field in [
        "backup_id",
        "tenant_id",
        "schema_name",
        "backup_type",
        "key",
        "raw_bytes",
        "stored_bytes",
        "rows",
        "created_at",
        "expires_at",
        "duration_ms",
    ] {
        assert!(!done[field].is_null(), "{field} in {done}");
    }
    assert_eq!(done["tenant_id"], "acme");
    assert_eq!(done["schema_name"], made.schema.as_str());
    assert_eq!(done["backup_type"], "pre_migration");
    assert_eq!(done["ddl"], "template", "{done}");
    let id = done["backup_id"].as_str().unwrap();
    assert_eq!(done["key"], format!("tenants/acme/backups/{id}/").as_str());
    // Kept for as long as the type says, by the server's clock.
    assert_eq!(
        db.value(&format!(
            "SELECT expires_at - created_at FROM tenantctl.backups WHERE backup_id = '{id}' AND status = 'done'"
        )),
        "180 days"
    );
    let manifest = manifest(&db, &done);
    let expected = contents(&db.url, &made.schema);
    for row in &expected {
        let tables = manifest["tables"].as_array().unwrap();
        let table = tables.iter().find(|t| t["name"] == row[0].as_str()).unwrap();
        assert_eq!(table["rows"].to_string(), row[1], "{}", row[0]);
    }
    let dir = path_of(&db, &done);
    // Members, and nothing beside them: no temporary file is left.
    let listed: BTreeSet<String> = std::fs::read_to_string(dir.join("SHA256SUMS"))
        .unwrap()
        .lines()
        .map(|line| line[66..].to_owned())
        .chain(["SHA256SUMS".to_owned()])
        .collect();
    assert_eq!(files(&dir), listed);
    assert_eq!(files(&folder(&db)).len(), listed.len());
    let url = by_hand(&db, &dir, None);
    assert_eq!(contents(&url, &made.schema), expected);
    // Listed by the registry and by the store, and found whole.
    for args in [
        &["list"][..],
        &["list", "--store", &format!("file://{}", folder(&db).display())],
    ] {
        let list = backup(&db, args).finish().success().json();
        assert_eq!(list["backups"][0]["backup_id"], id, "{args:?}");
    }
    let verified = backup(&db, &["verify", id]).finish().success().json();
    assert_eq!(verified["verified"][0]["rows"], done["rows"]);
    assert_eq!(
        db.value("SELECT count(*) FROM tenantctl.backups WHERE verified_at IS NOT NULL"),
        "1"
    );
    // For people.
    let text = db
        .command(&[
            "backup",
            "acme",
            "--store",
            &format!("file://{}", folder(&db).display()),
        ])
        .finish()
        .success()
        .says(&["1 backup in"]);
    assert!(
        text.stdout().contains("RATIO") && text.stdout().contains("acme_"),
        "{}",
        text.stdout()
    );
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_written() {
    let db = Db::initialized();
    db.provision(&["acme"]);
    db.run(&["backup", "acme"])
        .exits(2)
        .says(&["no store of backups is named", "TENANTCTL_STORE"]);
    backup(&db, &[])
        .finish()
        .exits(2)
        .says(&["needs to know what to back up"]);
    backup(&db, &["acme", "--type", "Q3!"])
        .finish()
        .exits(2)
        .says(&["invalid backup type"]);
    backup(&db, &["nobody"])
        .finish()
        .exits(4)
        .says(&["tenant nobody does not exist"]);
    backup(&db, &["acme", "--from-replica", "any"])
        .finish()
        .exits(2)
        .says(&["names no replica"]);
    backup(&db, &["acme", "--from-replica", &db.url])
        .finish()
        .exits(2)
        .says(&["is no standby"]);
    assert!(files(&folder(&db)).is_empty());
    let plan = backup(&db, &["--all", "--dry-run"]).finish().success().json();
    assert_eq!(plan["tenants"][0]["tenant_id"], "acme");
    assert!(files(&folder(&db)).is_empty());
    assert_eq!(db.value("SELECT count(*) FROM tenantctl.backups"), "0");
}

#[test]
fn a_failure_does_not_stop_the_others() {
    let db = Db::initialized();
    let made = db.provision(&["a", "b", "c"]);
    let b = made.iter().find(|m| m.id == "b").unwrap();
    db.sql(&format!("CREATE TABLE {}.mine (x int)", b.schema));
    let run = backup(&db, &["--all"])
        .finish()
        .exits(1)
        .says(&["tenantctl_owner does not own all of it", "mine"]);
    let json = run.json();
    assert_eq!(json["backups"].as_array().unwrap().len(), 2);
    assert_eq!(json["failed"][0]["tenant_id"], "b");
    assert_eq!(json["failed"][0]["error_type"], "unsupported");
    let error = json["failed"][0]["error_id"].as_str().unwrap();
    assert_eq!(
        db.value(&format!(
            "SELECT operation || tenant_id FROM tenantctl.operations WHERE error_id = '{error}'"
        )),
        "backupb"
    );
    backup(&db, &["b"]).finish().exits(4);
    assert!(!folder(&db).join("tenants/b").exists());
}

#[test]
fn one_backup_of_a_tenant_at_a_time() {
    let db = Db::initialized();
    db.provision(&["acme", "globex"]);
    let held = hold(
        &db.url,
        "INSERT INTO tenantctl.tenant_locks VALUES ('acme'); BEGIN; SELECT FROM tenantctl.tenant_locks FOR UPDATE",
    );
    backup(&db, &["acme"])
        .finish()
        .exits(4)
        .says(&["another backup or restore of tenant acme is under way"]);
    let json = backup(&db, &["--all"]).finish().exits(1).json();
    assert_eq!(json["failed"][0]["error_type"], "in_use");
    assert_eq!(json["backups"][0]["tenant_id"], "globex");
    drop(held);
    wait_for("the lock to be free", || {
        backup(&db, &["acme"]).finish().0.status.success()
    });
}

#[test]
fn a_large_table_is_read_in_parts() {
    let db = Db::initialized();
    let made = with_data(&db, &["acme"]).remove(0);
    let run = backup(&db, &["acme", "--jobs", "3"])
        .env("TENANTCTL_TEST_PART_BYTES", "200000")
        .finish();
    let done = one(run);
    let manifest = manifest(&db, &done);
    let tables = manifest["tables"].as_array().unwrap();
    let trades = tables.iter().find(|t| t["name"] == "market_data").unwrap();
    let parts = trades["parts"].as_array().unwrap();
    assert!(parts.len() > 3, "{}", parts.len());
    let rows: u64 = parts.iter().map(|p| p["rows"].as_u64().unwrap()).sum();
    assert_eq!(
        rows.to_string(),
        db.value(&format!("SELECT count(*) FROM {}.market_data", made.schema))
    );
    backup(&db, &["verify", "--all"]).finish().success();
    // By several sessions: the pid stands in brackets before each statement in the server's log.
    let log = std::fs::read_to_string(cluster().log_file()).unwrap();
    let ours = log
        .lines()
        .filter(|line| line.contains("COPY (SELECT") && line.contains(&made.schema));
    let sessions: BTreeSet<&str> = ours.filter_map(|line| line.split(['[', ']']).nth(1)).collect();
    assert!(sessions.len() > 1, "{sessions:?}");
    // The same rows in one part have the same checksum.
    let whole = one(backup(&db, &["acme"]).finish());
    let whole = self::manifest(&db, &whole);
    let again = whole["tables"]
        .as_array()
        .unwrap()
        .iter()
        .find(|t| t["name"] == "market_data")
        .unwrap();
    assert_eq!(
        (again["parts"].as_array().unwrap().len(), &again["checksum"]),
        (1, &trades["checksum"])
    );
}

/// Value moves between rows of two tables all the time, and every backup has as much of it as there is.
#[test]
fn every_backup_shows_one_moment() {
    const BACKUPS: usize = 20;
    let db = Db::initialized();
    let made = with_data(&db, &["acme"]).remove(0);
    let schema = &made.schema;
    db.sql(&format!(
        "ALTER TABLE {schema}.portfolios DISABLE TRIGGER USER; ALTER TABLE {schema}.positions DISABLE TRIGGER USER;
         UPDATE {schema}.positions SET quantity = 1000"
    ));
    let total = "SELECT sum(quantity)::bigint FROM (SELECT quantity FROM SCHEMA.positions UNION ALL SELECT volume FROM SCHEMA.market_data) x";
    let total = total.replace("SCHEMA", schema);
    let expected = db.value(&total);
    let stop = std::sync::atomic::AtomicBool::new(false);
    let backups: Vec<Value> = std::thread::scope(|scope| {
        for seed in 0..3 {
            let (url, stop) = (&db.url, &stop);
            scope.spawn(move || {
                let mut n = seed;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    n += 3;
                    sql(
                        url,
                        &format!(
                            "WITH p AS (SELECT id FROM {schema}.positions ORDER BY id OFFSET {} LIMIT 1),
                             m AS (SELECT ctid AS at FROM {schema}.market_data OFFSET {} LIMIT 1 FOR UPDATE),
                             a AS (UPDATE {schema}.positions SET quantity = quantity - 1 WHERE id = (SELECT id FROM p) AND EXISTS (SELECT FROM m) RETURNING 1)
                             UPDATE {schema}.market_data SET volume = volume + 1 WHERE ctid = (SELECT at FROM m) AND EXISTS (SELECT FROM a)",
                            n % 20,
                            (n * 7919) % 10_000
                        ),
                    )
                    .ok();
                }
            });
        }
        let made = (0..BACKUPS).map(|_| {
            one(backup(&db, &["acme", "--jobs", "2"])
                .env("TENANTCTL_TEST_PART_BYTES", "300000")
                .finish())
        });
        let made = made.collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        made
    });
    assert_eq!(db.value(&total), expected, "the writers themselves keep it");
    assert_ne!(
        db.value(&format!(
            "SELECT count(*) FROM {schema}.positions WHERE quantity <> 1000"
        )),
        "0"
    );
    let mut moments = BTreeSet::new();
    for (n, done) in backups.iter().enumerate() {
        let (id, copy) = (done["backup_id"].as_str().unwrap(), format!("copy{n}"));
        let restored = db
            .command(&["-o", "json", "restore", "acme", "--backup", id, "--as", &copy])
            .finish()
            .success()
            .json();
        let copy = restored["restored_to"].as_str().unwrap();
        assert_eq!(db.value(&total.replace(schema, copy)), expected, "{done}");
        moments.insert(db.value(&format!(
            "SELECT md5(string_agg(quantity::text, ' ' ORDER BY id)) FROM {copy}.positions"
        )));
    }
    assert!(
        moments.len() * 2 > BACKUPS,
        "the writers did too little: {} different moments",
        moments.len()
    );
}

fn identity(db: &Db) -> (PathBuf, String) {
    use age::secrecy::ExposeSecret;
    let key = age::x25519::Identity::generate();
    let path = db.dir.join(unique("key"));
    std::fs::write(&path, format!("{}\n", key.to_string().expose_secret())).unwrap();
    (path, key.to_public().to_string())
}

#[test]
fn encrypted_backups_are_opened_by_their_key_only() {
    let db = Db::initialized();
    let made = with_data(&db, &["acme"]).remove(0);
    let (key, public) = identity(&db);
    let (other, _) = identity(&db);
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        format!("backup: {{age_recipients: ['{public}']}}\n"),
    )
    .unwrap();
    let done = one(backup(&db, &["acme"]).finish());
    assert_eq!(done["encrypted"], true);
    let dir = path_of(&db, &done);
    let names = files(&dir);
    assert!(
        names.contains("data/trades.1.zst.age") && names.contains("pre-data.sql.zst.age"),
        "{names:?}"
    );
    let id = done["backup_id"].as_str().unwrap();
    backup(&db, &["verify", id]).finish().exits(1).says(&["--identity"]);
    let run = backup(&db, &["verify", id, "--identity", other.to_str().unwrap()])
        .finish()
        .exits(1);
    assert!(run.stdout().contains("encrypted to other keys"), "{}", run.stdout());
    backup(&db, &["verify", id, "--identity", key.to_str().unwrap()])
        .finish()
        .success();
    if !missing_program(
        "encrypted_backups_are_opened_by_their_key_only",
        &["zstd", "sha256sum", "age"],
    ) {
        let url = by_hand(&db, &dir, Some(&key));
        assert_eq!(contents(&url, &made.schema), contents(&db.url, &made.schema));
    }
}

#[test]
fn ctrl_c_takes_back_what_is_half_written() {
    let db = Db::initialized();
    let ids: Vec<String> = (0..60).map(|i| format!("t{i}")).collect();
    db.provision(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let child = backup(&db, &["--all", "--jobs", "2"])
        .command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the first backups", || {
        db.value("SELECT count(*) > 3 FROM tenantctl.backups WHERE status = 'done'") == "t"
    });
    Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    let json: Value = serde_json::from_slice(&output.stdout).unwrap();
    let made = json["backups"].as_array().unwrap().len();
    if made < 60 {
        assert_eq!(
            output.status.code(),
            Some(130),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    assert_eq!(
        db.value("SELECT count(*) FROM tenantctl.backups WHERE status = 'done'"),
        made.to_string()
    );
    assert_eq!(
        db.value("SELECT count(*) FROM tenantctl.backups WHERE status = 'running'"),
        "0"
    );
    let manifests = files(&folder(&db))
        .iter()
        .filter(|f| f.ends_with("manifest.json"))
        .count();
    let folders = files(&folder(&db))
        .iter()
        .map(|f| f.split('/').nth(3).unwrap().to_owned())
        .collect::<BTreeSet<_>>();
    assert_eq!((manifests, folders.len()), (made, made));
}

#[test]
fn a_replica_is_read_in_place_of_the_primary() {
    let primary = start(&Options {
        settings: fast(),
        ..Options::default()
    });
    let db = Db::on(&primary);
    db.run(&["init"]).success();
    let made = db.provision(&["acme"]).remove(0);
    db.sql(&format!(
        "INSERT INTO {}.market_data (symbol, timestamp, open, high, low, close, volume)
         SELECT 'A', now() - n * interval '1 minute', 1, 1, 1, 1, n FROM generate_series(1, 5000) n",
        made.schema
    ));
    let standby = primary.standby().unwrap();
    let url = standby.url(Cluster::SUPERUSER, &db.name);
    wait_for("the standby to have the rows", || {
        sql(&url, &format!("SELECT count(*) FROM {}.market_data", made.schema)).is_ok_and(|rows| rows[0][0] == "5000")
    });
    let done = one(backup(&db, &["acme", "--from-replica", &url, "--jobs", "2"])
        .env("TENANTCTL_TEST_PART_BYTES", "100000")
        .finish());
    assert_eq!(done["from_replica"], true);
    assert_eq!(manifest(&db, &done)["server"]["replica"], true);
    backup(&db, &["verify", "--all"]).finish().success();
    // A tenant that it has not got yet.
    sql(&url, "SELECT pg_wal_replay_pause()").unwrap();
    db.provision(&["late"]);
    backup(&db, &["late", "--from-replica", &url])
        .finish()
        .exits(4)
        .says(&["the replica has not got tenant late yet"]);
    sql(&url, "SELECT pg_wal_replay_resume()").unwrap();
    // Somebody else's.
    let stranger = Db::initialized();
    stranger.provision(&["acme"]);
    backup(&stranger, &["acme", "--from-replica", &url])
        .finish()
        .exits(2)
        .says(&["is not one of this primary"]);
    // One that the configuration names.
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        format!("cluster: {{replicas: ['{url}']}}\n"),
    )
    .unwrap();
    one(backup(&db, &["acme", "--from-replica", "any"]).finish());
}

#[test]
fn an_admin_who_is_no_superuser_backs_up_all_rows_or_none() {
    let own = start(&Options {
        settings: fast(),
        ..Options::default()
    });
    let mut db = Db::on(&own);
    let superuser = db.url.clone();
    db.sql(&format!(
        "CREATE ROLE dba LOGIN CREATEROLE PASSWORD 'dba'; ALTER DATABASE {} OWNER TO dba",
        db.name
    ));
    db.url = db.url.replace("//postgres@", "//dba:dba@");
    db.run(&["init"]).success();
    let made = db.provision(&["acme", "--tier", "enterprise"]).remove(0);
    sql(
        &superuser,
        &format!(
            "INSERT INTO {0}.portfolios (user_id, name) SELECT gen_random_uuid(), n::text FROM generate_series(1, 50) n",
            made.schema
        ),
    )
    .unwrap();
    let done = one(backup(&db, &["acme"]).finish());
    let manifest = manifest(&db, &done);
    let tables = manifest["tables"].as_array().unwrap();
    assert_eq!(tables.iter().find(|t| t["name"] == "portfolios").unwrap()["rows"], 50);
    // The server has places for fewer sessions than there are jobs: those that have one do it all.
    db.provision(&["globex", "initech", "umbrella", "hooli"]);
    sql(&superuser, "ALTER ROLE dba CONNECTION LIMIT 4").unwrap();
    let json = backup(&db, &["--all", "--jobs", "4"]).finish().success().json();
    assert_eq!(json["backups"].as_array().unwrap().len(), 5, "{json}");
    sql(&superuser, "ALTER ROLE dba CONNECTION LIMIT -1").unwrap();
    // Policies that could hide a row from the owner.
    for policy in [
        format!(
            "CREATE POLICY p ON {}.portfolios AS RESTRICTIVE USING (name <> '7')",
            made.schema
        ),
        format!("DROP POLICY portfolios_admin_bypass ON {}.portfolios", made.schema),
    ] {
        sql(&superuser, &policy).unwrap();
        backup(&db, &["acme"])
            .finish()
            .exits(4)
            .says(&["rows may be hidden", "portfolios", "secure"]);
        sql(
            &superuser,
            &format!("DROP POLICY IF EXISTS p ON {}.portfolios", made.schema),
        )
        .unwrap();
    }
    // The superuser sees them all the same.
    db.url = superuser;
    let done = one(backup(&db, &["acme"]).finish());
    assert!(done["rows"].as_u64().unwrap() >= 50);
}

/// Names that need quoting, and values of every kind, come back by psql alone.
#[test]
fn odd_names_and_values_survive_by_hand() {
    if missing_program("odd_names_and_values_survive_by_hand", &["zstd", "sha256sum"]) {
        return;
    }
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    db.sql(&format!(
        r#"ALTER DATABASE {1} SET extra_float_digits = -10; ALTER DATABASE {1} SET xmloption = document;
SET search_path = {0}; SET xmloption = content; SET ROLE tenantctl_owner;
CREATE TYPE mood AS ENUM ('sad', 'fröhlich');
CREATE TABLE "Odd ""t'able" (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, "a ""b'" text, n numeric, f float8, ts timestamptz,
    b bytea, x xml, j jsonb, m mood, ms mood[], r int4range, rel regclass, gone int, twice numeric GENERATED ALWAYS AS (n * 2) STORED);
ALTER TABLE "Odd ""t'able" DROP COLUMN gone;
INSERT INTO "Odd ""t'able" ("a ""b'", n, f, ts, b, x, j, m, ms, r, rel) VALUES
    ('{0}', 'NaN', 'infinity', '-infinity', '\x00ff', 'no <b>document</b>', '{{"a": [1, null]}}', 'fröhlich', ARRAY['sad', NULL]::mood[], '[1,5)', 'portfolios'),
    (E'tab\tnewline\nback\\slash', 1e-100, 0.30000000000000004, 'infinity', '', NULL, 'null', NULL, '{{}}', 'empty', NULL), (NULL, NULL, '-0', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL);
CREATE TABLE part (k int, v text) PARTITION BY RANGE (k);
CREATE TABLE part_1 PARTITION OF part FOR VALUES FROM (0) TO (10);
CREATE TABLE part_2 PARTITION OF part FOR VALUES FROM (10) TO (20);
INSERT INTO part SELECT n, n::text FROM generate_series(0, 19) n;
CREATE TABLE base (x int);
CREATE TABLE child (extra text) INHERITS (base);
INSERT INTO base VALUES (1);
INSERT INTO child VALUES (2, 'c');"#,
        made.schema, db.name
    ));
    let done = one(backup(&db, &["acme"]).finish());
    assert_eq!(done["ddl"], "pg_dump");
    let url = by_hand(&db, &path_of(&db, &done), None);
    let rows = |url: &str, table: &str| {
        sql(
            url,
            &format!(
                "SET search_path = {}; SET extra_float_digits = 1; SELECT * FROM {table} ORDER BY 1",
                made.schema
            ),
        )
        .unwrap()
    };
    for table in ["\"Odd \"\"t'able\"", "part", "part_1", "ONLY base", "child"] {
        assert_eq!(rows(&url, table), rows(&db.url, table), "{table}");
    }
    backup(&db, &["verify", "--all", "--restore-drill"]).finish().success();
    // The sequence behind the identity column goes on where it was.
    let next = |url: &str| {
        sql(
            url,
            &format!(
                "INSERT INTO {}.\"Odd \"\"t'able\" DEFAULT VALUES RETURNING id",
                made.schema
            ),
        )
        .unwrap()
    };
    assert_eq!(next(&url), next(&db.url));
}

/// The store takes no more in the middle of a table, as a full disk does.
#[test]
fn a_store_that_is_full_ends_the_backup_and_keeps_nothing_of_it() {
    let db = Db::initialized();
    with_data(&db, &["acme"]);
    let url = format!("file://{}", folder(&db).display());
    let limited = |blocks: u32| {
        let mut command = Command::new("sh");
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        command
            .args([
                "-c",
                &script,
                env!("CARGO_BIN_EXE_tenantctl"),
                "-o",
                "json",
                "backup",
                "acme",
                "--jobs",
                "2",
            ])
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("DATABASE_URL", &db.url)
            .env("TENANTCTL_STORE", &url)
            .current_dir(&db.dir);
        Run(command.output().unwrap())
    };
    // In blocks of 512 bytes: none of the members fits, the small ones do.
    for blocks in [1, 200] {
        let run = limited(blocks).exits(5);
        assert_eq!(run.json()["failed"][0]["error_type"], "store");
        assert_eq!(files(&folder(&db)), BTreeSet::new(), "{blocks}");
        assert_eq!(
            db.value("SELECT count(*) FROM tenantctl.backups WHERE status <> 'failed'"),
            "0"
        );
    }
    let done = one(backup(&db, &["acme"]).finish());
    backup(&db, &["verify", done["backup_id"].as_str().unwrap()])
        .finish()
        .success();
}

/// Whichever session is ended, and whenever: what counts is whole, and the next run clears up.
#[test]
fn lost_sessions_leave_nothing_that_counts_as_a_backup() {
    let db = Db::initialized();
    with_data(&db, &["acme"]);
    let mut failed = 0;
    for round in 0..8_u64 {
        let child = backup(&db, &["acme", "--jobs", "2"])
            .env("TENANTCTL_TEST_PART_BYTES", "200000")
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for("the backup to begin", || {
            db.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tenantctl backup'") != "0"
        });
        std::thread::sleep(std::time::Duration::from_millis(40 * round));
        // All of them, those that hold locks, those that read.
        let which = [
            "true",
            "query LIKE '%tenant_locks%' OR query LIKE 'SAVEPOINT%'",
            "query LIKE 'COPY%'",
        ][(round % 3) as usize];
        db.sql(&format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'tenantctl backup' AND ({which})"
        ));
        let output = child.wait_with_output().unwrap();
        let json: Option<Value> = serde_json::from_slice(&output.stdout).ok();
        let done = json.as_ref().and_then(|j| j["backups"].as_array()).map_or(0, Vec::len);
        failed += usize::from(done == 0);
        if let Some(json) = json {
            for made in json["backups"].as_array().unwrap() {
                backup(&db, &["verify", made["backup_id"].as_str().unwrap()])
                    .finish()
                    .success();
            }
        }
    }
    assert!(failed > 0, "no backup was disturbed");
    wait_for("the next backup", || backup(&db, &["acme"]).finish().0.status.success());
    assert_eq!(
        db.value("SELECT count(*) FROM tenantctl.backups WHERE status = 'running'"),
        "0"
    );
    let done: BTreeSet<String> = db
        .sql("SELECT key FROM tenantctl.backups WHERE status = 'done'")
        .into_iter()
        .map(|mut row| row.remove(0))
        .collect();
    for file in files(&folder(&db)) {
        assert!(done.iter().any(|key| file.starts_with(key.as_str())), "{file} is left");
    }
    backup(&db, &["verify", "--all"]).finish().success();
    loud(&format!(
        "{failed} of 8 backups lost a session and failed, {} whole",
        done.len()
    ));
}
