//! `rotate` and `credentials`: new passwords that hold, old ones that do not, stored ones for the holder of a key only.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use age::secrecy::ExposeSecret;
use tenantctl::cluster::{Cluster, Options};

use crate::support::{Cmd, Db, Made, Run, cluster, hold, loud, sql, start, unique, wait_for};

/// A key pair: the public key, and the file with the private one.
struct Key {
    public: String,
    file: PathBuf,
}

impl Key {
    fn new(db: &Db) -> Self {
        let key = age::x25519::Identity::generate();
        let file = db.dir.join(unique("key"));
        let text = format!("# made for a test\n{}\n", key.to_string().expose_secret());
        std::fs::write(&file, text).unwrap();
        Self {
            public: key.to_public().to_string(),
            file,
        }
    }

    fn path(&self) -> &str {
        self.file.to_str().unwrap()
    }
}

fn store_for(db: &Db, keys: &[&Key]) {
    let keys: Vec<&str> = keys.iter().map(|k| k.public.as_str()).collect();
    let text = format!("credentials:\n  age_recipients: [{}]\n", keys.join(", "));
    std::fs::write(db.dir.join("tenant_templates.yaml"), text).unwrap();
}

/// Rotates and returns the new passwords by tenant.
fn rotate(db: &Db, args: &[&str]) -> BTreeMap<String, String> {
    let mut all = vec!["-o", "json", "rotate"];
    all.extend(args);
    passwords(&db.run(&all).success())
}

fn passwords(run: &Run) -> BTreeMap<String, String> {
    let json = run.json();
    let tenants = json["tenants"].as_array().unwrap().iter();
    tenants
        .filter_map(|t| Some((t["tenant_id"].as_str()?.to_owned(), t["password"].as_str()?.to_owned())))
        .collect()
}

/// The tenant with another password.
fn with(made: &Made, password: &str) -> Made {
    Made {
        password: Some(password.to_owned()),
        ..made.clone()
    }
}

#[track_caller]
fn logs_in(db: &Db, made: &Made) {
    sql(&made.url(db), "SELECT count(*) FROM portfolios").unwrap();
}

#[track_caller]
fn is_refused(db: &Db, made: &Made) {
    let error = sql(&made.url(db), "SELECT 1").unwrap_err();
    assert!(error.contains("28P01"), "{error}");
}

/// Waits until the held session is the only one of the tenant: one that has just ended is there for a moment yet.
fn alone(db: &Db, made: &Made) {
    wait_for("the sessions that ended", || {
        db.value(&format!(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = '{}'",
            made.role
        )) == "1"
    });
}

#[test]
fn the_new_password_holds_and_the_old_one_does_not() {
    let db = Db::initialized();
    let made = db.provision(&["acme", "globex"]);
    let held = hold(&made[0].url(&db), "SELECT 1");
    let run = db.run(&["-o", "json", "rotate", "acme"]).success();
    let json = run.json();
    let told = &json["tenants"][0];
    assert_eq!(told["status"], "rotated");
    assert_eq!(told["schema_name"], made[0].schema.as_str());
    assert_eq!(told["role_name"], made[0].role.as_str());
    assert_eq!(told["stored"], false);
    assert!(told["sessions_ended"].is_null());
    assert_eq!(json["failed"].as_array().unwrap().len(), 0);
    let new = with(&made[0], told["password"].as_str().unwrap());
    is_refused(&db, &made[0]);
    logs_in(&db, &new);
    logs_in(&db, &made[1]);
    assert!(held.answers(), "the open session was ended");
    assert!(
        db.value(&format!(
            "SELECT rolpassword FROM pg_authid WHERE rolname = '{}'",
            new.role
        ))
        .starts_with("SCRAM-SHA-256$4096:")
    );
    assert_eq!(
        db.value("SELECT status || ' ' || tenant_id FROM tenantctl.operations WHERE operation = 'rotate'"),
        "done acme"
    );
    // Ended on demand, after the new password holds.
    alone(&db, &made[0]);
    let run = db.run(&["-o", "json", "rotate", "acme", "--disconnect"]).success();
    assert_eq!(run.json()["tenants"][0]["sessions_ended"], 1);
    assert!(!held.answers());
    is_refused(&db, &new);
    // For people: the password is in the last column.
    let out = db.run(&["rotate", "acme"]).success().stdout();
    let password = out.lines().nth(1).unwrap().split_whitespace().last().unwrap();
    logs_in(&db, &with(&made[0], password));
}

#[test]
fn all_go_on_past_a_tenant_that_cannot_be_helped() {
    let db = Db::initialized();
    db.run(&["rotate", "--all"]).success().says(&["no tenants"]);
    let made = db.provision(&["a", "b", "c"]);
    db.provision(&["pro", "--tier", "professional"]);
    db.sql(&format!("DROP OWNED BY {0}; DROP ROLE {0}", made[1].role));
    let run = db.run(&["-o", "json", "rotate", "--all", "--tier", "basic"]).exits(1);
    let new = passwords(&run);
    assert_eq!(new.keys().collect::<Vec<_>>(), ["a", "c"]);
    let json = run.json();
    assert_eq!(json["failed"][0]["tenant_id"], "b");
    assert_eq!(json["failed"][0]["error_type"], "not_found");
    let run = run.says(&[
        &format!("role {} of tenant b does not exist", made[1].role),
        "tenantctl show b",
    ]);
    assert!(run.stderr().contains("2 passwords rotated"));
    is_refused(&db, &made[0]);
    logs_in(&db, &with(&made[0], &new["a"]));
    logs_in(&db, &with(&made[2], &new["c"]));
    db.run(&["rotate", "b"]).exits(4).says(&["does not exist"]);
    db.run(&["rotate", "b", "--dry-run"]).exits(4).says(&["does not exist"]);
    assert_eq!(
        db.value("SELECT count(*) FROM tenantctl.operations WHERE operation = 'rotate' AND status = 'failed' AND tenant_id = 'b'"),
        "2"
    );
}

#[test]
fn what_cannot_be_is_refused_before_anything_is_changed() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    db.run(&["rotate"]).exits(2);
    db.run(&["rotate", "acme", "--all"]).exits(2);
    db.run(&["rotate", "acme", "--tier", "basic"]).exits(2);
    db.run(&["rotate", "acme", "acmee"])
        .exits(4)
        .says(&["tenant acmee does not exist", "Did you mean acme?"]);
    db.run(&["rotate", "no/id"]).exits(2);
    db.run(&["rotate", "--all", "--tier", "golden"])
        .exits(2)
        .says(&["golden"]);
    db.run(&["rotate", "acme", "--no-show"])
        .exits(2)
        .says(&["--no-show", "credentials.age_recipients"]);
    db.run(&["rotate", "acme", "--credentials-file", "no/such/folder/creds.csv"])
        .exits(5)
        .says(&["cannot write"]);
    let script = format!("{} rotate acme >/dev/null", env!("CARGO_BIN_EXE_tenantctl"));
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .env("DATABASE_URL", &db.url)
        .current_dir(&db.dir)
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("--credentials-file"));
    let bad = format!("credentials: {{age_recipients: [age1{}]}}", "q".repeat(58));
    std::fs::write(db.dir.join("tenant_templates.yaml"), bad).unwrap();
    db.run(&["rotate", "acme"])
        .exits(2)
        .says(&["is not a public key", "age-keygen -y"]);
    logs_in(&db, &made);
}

#[test]
fn a_dry_run_changes_and_shows_nothing() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    store_for(&db, &[&Key::new(&db)]);
    for args in [&["rotate", "acme", "--dry-run"][..], &["rotate", "--all", "--dry-run"]] {
        let out = db.run(args).success().stdout();
        assert!(out.contains("FOR UPDATE") && out.contains("ALTER ROLE"), "{out}");
        assert!(out.contains("PASSWORD NULL /* secret */"), "{out}");
        assert!(!out.contains("SCRAM") && !out.contains("BEGIN AGE"), "{out}");
    }
    let out = db.run(&["provision", "globex", "--dry-run"]).success().stdout();
    assert!(out.contains("INSERT INTO tenantctl.credentials"), "{out}");
    assert!(!out.contains("SCRAM") && !out.contains("BEGIN AGE"), "{out}");
    logs_in(&db, &made);
    assert_eq!(db.value("SELECT count(*) FROM tenantctl.credentials"), "0");
}

#[test]
fn a_credentials_file_has_them_and_stdout_has_not() {
    use std::os::unix::fs::PermissionsExt;
    let db = Db::initialized();
    let made = db.provision(&["a", "b"]);
    let run = db
        .run(&["-o", "json", "rotate", "--all", "--credentials-file", "new.csv"])
        .success();
    assert!(passwords(&run).is_empty());
    let path = db.dir.join("new.csv");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split(',').collect()).collect();
    assert_eq!(lines[0], ["tenant_id", "role_name", "schema_name", "password"]);
    assert_eq!(lines.len(), 3);
    for line in &lines[1..] {
        assert!(!run.stdout().contains(line[3]));
        let tenant = made.iter().find(|m| m.id == line[0]).unwrap();
        logs_in(&db, &with(tenant, line[3]));
    }
    db.run(&["rotate", "a", "--credentials-file", "new.csv"])
        .exits(2)
        .says(&["new.csv exists"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    // A tenant that keeps its old password has no entry.
    let blocked = hold(
        &db.url,
        "BEGIN; SELECT FROM tenantctl.tenants WHERE tenant_id = 'b' FOR UPDATE",
    );
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "provisioning:\n  lock_timeout_s: 1\n",
    )
    .unwrap();
    db.run(&["rotate", "--all", "--credentials-file", "more.csv"])
        .exits(1)
        .says(&["55P03"]);
    drop(blocked);
    let more = std::fs::read_to_string(db.dir.join("more.csv")).unwrap();
    assert_eq!(more.lines().count(), 2, "{more}");
    assert!(more.contains(&made[0].role));
}

#[test]
fn stored_passwords_are_read_with_the_key_and_only_with_it() {
    let db = Db::initialized();
    let (ours, second, other) = (Key::new(&db), Key::new(&db), Key::new(&db));
    let bare = db.provision(&["bare"]).remove(0);
    store_for(&db, &[&ours, &second]);
    let made = db.provision(&["acme"]).remove(0);
    let show = |tenant: &str, keys: &[&Key]| {
        let mut args = vec!["-o", "json", "credentials", "show", tenant];
        for key in keys {
            args.extend(["--identity", key.path()]);
        }
        db.run(&args)
    };
    for keys in [&[&ours][..], &[&second], &[&other, &ours]] {
        let json = show("acme", keys).success().json();
        assert_eq!(json["password"], made.password.clone().unwrap());
        assert_eq!(json["role_name"], made.role.as_str());
        assert_eq!(json["database"], db.name.as_str());
        assert!(json["host"].as_str().unwrap().starts_with('/'), "{json}");
        assert_eq!(json["port"], 5432);
    }
    let run = db
        .command(&["credentials", "show", "acme"])
        .env("TENANTCTL_IDENTITY", ours.path())
        .finish()
        .success();
    assert!(run.stdout().contains(&made.role) && run.stdout().contains(made.password.as_ref().unwrap()));

    let script = format!(
        "cat {} | {} credentials show acme --identity -",
        ours.path(),
        env!("CARGO_BIN_EXE_tenantctl")
    );
    let output = std::process::Command::new("sh")
        .args(["-c", &script])
        .env("DATABASE_URL", &db.url)
        .current_dir(&db.dir)
        .output()
        .unwrap();
    assert!(Run(output).success().stdout().contains(&made.role));

    // Only stored: nothing is printed, and stdout may go nowhere.
    let run = db.run(&["-o", "json", "rotate", "acme", "--no-show"]).success();
    assert!(passwords(&run).is_empty());
    assert_eq!(run.json()["tenants"][0]["stored"], true);
    is_refused(&db, &made);
    let stored = show("acme", &[&ours]).success().json()["password"]
        .as_str()
        .unwrap()
        .to_owned();
    logs_in(&db, &with(&made, &stored));
    let run = db.run(&["provision", "quiet", "--store-only"]).success();
    assert!(run.stdout().contains("(stored)"), "{}", run.stdout());
    show("quiet", &[&ours]).success();
    assert_eq!(
        db.command(&["rotate", "quiet"])
            .command
            .stdout(Stdio::null())
            .status()
            .unwrap()
            .code(),
        Some(0)
    );

    // What is known of them without a key.
    let run = db.run(&["-o", "json", "credentials", "list"]).success();
    let json = run.json();
    let list = json["credentials"].as_array().unwrap();
    let ids: Vec<_> = list.iter().map(|c| c["tenant_id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["acme", "quiet"]);
    assert_eq!(list[0]["recipients"][0], ours.public.as_str());
    assert!(!run.stdout().contains(&stored) && !run.stdout().contains("BEGIN AGE"));
    assert!(
        db.run(&["credentials", "list"])
            .success()
            .stdout()
            .contains(&ours.public[..16])
    );

    // What can go wrong.
    show("bare", &[&ours])
        .exits(4)
        .says(&["no password of tenant bare is stored", "tenantctl rotate bare"]);
    show("nobody", &[&ours])
        .exits(4)
        .says(&["tenant nobody does not exist"]);
    show("acme", &[&other])
        .exits(4)
        .says(&["no identity given decrypts", &ours.public, "private key of one of them"]);
    show("acme", &[])
        .exits(2)
        .says(&["--identity FILE", "TENANTCTL_IDENTITY"]);
    db.run(&["credentials", "show", "acme", "--identity", "/nonexistent/key"])
        .exits(5)
        .says(&["cannot read identity /nonexistent/key"]);
    let locked = db.dir.join("locked");
    std::fs::write(&locked, "-----BEGIN AGE ENCRYPTED FILE-----\nx\n").unwrap();
    db.run(&["credentials", "show", "acme", "--identity", locked.to_str().unwrap()])
        .exits(5)
        .says(&["protected by a passphrase", "age -d"]);
    db.sql("UPDATE tenantctl.credentials SET ciphertext = left(ciphertext, 200) WHERE tenant_id = 'acme'");
    show("acme", &[&ours])
        .exits(4)
        .says(&["is damaged", "tenantctl rotate acme"]);

    // Without recipients an old copy would be wrong, so it goes; and it goes with its tenant.
    db.run(&["drop", "quiet", "--yes"]).success();
    std::fs::remove_file(db.dir.join("tenant_templates.yaml")).unwrap();
    rotate(&db, &["acme", "bare"]);
    is_refused(&db, &bare);
    assert_eq!(db.value("SELECT count(*) FROM tenantctl.credentials"), "0");
    db.run(&["credentials", "list"])
        .success()
        .says(&["no passwords are stored"]);
}

#[test]
fn a_tenant_cannot_keep_its_password_by_holding_its_role() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "provisioning:\n  lock_timeout_s: 1\n",
    )
    .unwrap();
    let held = hold(&made.url(&db), "BEGIN; ALTER ROLE CURRENT_USER PASSWORD 'mine'");
    db.run(&["rotate", "acme"]).exits(4).says(&["55P03", "--disconnect"]);
    logs_in(&db, &made);
    let run = db.run(&["-o", "json", "rotate", "acme", "--disconnect"]).success();
    assert_eq!(run.json()["tenants"][0]["sessions_ended"], 1);
    drop(held);
    is_refused(&db, &with(&made, "mine"));
    logs_in(&db, &with(&made, &passwords(&run)["acme"]));
}

/// An SSH key serves as well as one of age.
#[test]
fn ssh_keys_are_recipients_too() {
    let db = Db::initialized();
    let key = db.dir.join("id_ed25519");
    let made = std::process::Command::new("ssh-keygen")
        .args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"])
        .arg(&key)
        .status();
    if !made.is_ok_and(|status| status.success()) {
        loud("SKIPPED ssh_keys_are_recipients_too: no ssh-keygen on this machine");
        return;
    }
    let public = std::fs::read_to_string(key.with_extension("pub")).unwrap();
    let text = format!("credentials:\n  age_recipients:\n    - {public}");
    std::fs::write(db.dir.join("tenant_templates.yaml"), text).unwrap();
    let made = db.provision(&["acme"]).remove(0);
    let run = db
        .run(&[
            "-o",
            "json",
            "credentials",
            "show",
            "acme",
            "--identity",
            key.to_str().unwrap(),
        ])
        .success();
    assert_eq!(run.json()["password"], made.password.unwrap());
    let locked = std::process::Command::new("ssh-keygen")
        .args(["-q", "-p", "-N", "a passphrase", "-f"])
        .arg(&key)
        .status();
    assert!(locked.is_ok_and(|status| status.success()));
    db.run(&["credentials", "show", "acme", "--identity", key.to_str().unwrap()])
        .exits(5)
        .says(&["protected by a passphrase", "ssh-keygen -p"]);
}

#[test]
fn rotate_and_drop_at_the_same_time_take_turns() {
    let db = Db::initialized();
    for round in 0..6 {
        let id = format!("t{round}");
        db.provision(&[&id]);
        let spawn = |args: &[&str]| {
            db.command(args)
                .command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let rotating: Vec<_> = (0..2).map(|_| spawn(&["-o", "json", "rotate", &id])).collect();
        std::thread::sleep(Duration::from_millis(8 * round));
        let dropping = spawn(&["drop", &id, "--yes"]);
        assert_eq!(dropping.wait_with_output().unwrap().status.code(), Some(0));
        for child in rotating {
            let output = child.wait_with_output().unwrap();
            let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
            match output.status.code() {
                Some(0) => {}
                Some(4) => assert!(
                    stderr.contains("does not exist") || stderr.contains("dropped by somebody else"),
                    "{stderr}"
                ),
                code => panic!("{code:?}: {stderr}"),
            }
        }
    }
    assert_eq!(db.counts(), (0, 0, 0));
    // Of two at once the later one holds, and both are told.
    let made = db.provision(&["acme"]).remove(0);
    let children: Vec<_> = (0..2)
        .map(|_| {
            db.command(&["-o", "json", "rotate", "acme"])
                .command
                .stdout(Stdio::piped())
                .spawn()
                .unwrap()
        })
        .collect();
    let holds = children
        .into_iter()
        .map(|c| passwords(&Run(c.wait_with_output().unwrap()).success()))
        .collect::<Vec<_>>()
        .into_iter()
        .filter(|new| sql(&with(&made, &new["acme"]).url(&db), "SELECT 1").is_ok())
        .count();
    assert_eq!(holds, 1);
}

/// Whoever is killed while it rotates leaves the old password or the new one, and the new one is in the file.
#[test]
fn kills_leave_a_password_that_is_known() {
    let db = Db::initialized();
    let key = Key::new(&db);
    store_for(&db, &[&key]);
    let ids: Vec<String> = (0..6).map(|i| format!("t{i}")).collect();
    let made = db.provision(&ids.iter().map(String::as_str).collect::<Vec<_>>());
    let mut known: BTreeMap<String, String> = made
        .iter()
        .map(|m| (m.id.clone(), m.password.clone().unwrap()))
        .collect();
    let started = std::time::Instant::now();
    known.extend(rotate(&db, &["--all", "--jobs", "2"]));
    let whole = started.elapsed();
    let (mut killed, mut new) = (0, 0);
    for round in 0..20_u32 {
        let file = format!("new-{round}.csv");
        let mut child = db
            .command(&["rotate", "--all", "--jobs", "2", "--credentials-file", &file])
            .command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(whole.mul_f64(f64::from(round) / 20.0));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
        wait_for("the killed client's backends to end", || {
            db.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantctl%'") == "0"
        });
        let text = std::fs::read_to_string(db.dir.join(&file)).unwrap_or_default();
        for tenant in &made {
            let old = &known[&tenant.id];
            let entry = text.lines().find(|l| l.contains(&tenant.role));
            let candidate = entry.map(|l| l.rsplit(',').next().unwrap().to_owned());
            let holds = match candidate {
                Some(password) if sql(&with(tenant, &password).url(&db), "SELECT 1").is_ok() => {
                    new += 1;
                    password
                }
                _ => {
                    logs_in(&db, &with(tenant, old));
                    old.clone()
                }
            };
            known.insert(tenant.id.clone(), holds);
        }
    }
    // The stored copy changed with the role, never apart from it.
    for tenant in &made {
        let run = db.run(&[
            "-o",
            "json",
            "credentials",
            "show",
            &tenant.id,
            "--identity",
            key.path(),
        ]);
        assert_eq!(run.success().json()["password"], known[&tenant.id].as_str());
    }
    loud(&format!(
        "{killed} of 20 rotations killed; {new} passwords were new, none unknown"
    ));
    assert!(killed >= 10, "only {killed} were killed before they were done");
}

/// The server goes away while it commits: nobody can say which password holds, so both are kept.
#[test]
fn an_unknown_outcome_is_told_as_such() {
    let settings = [crate::support::fast(), vec!["synchronous_commit = on".into()]].concat();
    let own = start(&Options {
        settings,
        ..Options::default()
    });
    let db = Db::on(&own);
    db.run(&["init"]).success();
    let made = db.provision(&["acme"]).remove(0);
    let stuck = || {
        // A commit that waits for a standby that does not exist is stuck after it became durable.
        db.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
        db.sql("SELECT pg_reload_conf()");
        wait_for("the setting", || db.value("SHOW synchronous_standby_names") == "nobody");
        let child = db
            .command(&["-o", "json", "rotate", "acme"])
            .command
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        wait_for("the commit to be stuck", || {
            db.value(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = current_database()",
            ) == "1"
        });
        child
    };
    let login = |password: &str| {
        let url = own.url(&made.role, &db.name).replace('@', &format!(":{password}@"));
        sql(&url, "SELECT 1")
    };
    let child = stuck();
    own.stop().unwrap();
    let run = Run(child.wait_with_output().unwrap())
        .exits(3)
        .says(&["not known whether tenant acme has its old password or the new one"]);
    let json = run.json();
    assert_eq!(json["tenants"][0]["status"], "unknown");
    own.append("postgresql.auto.conf", "synchronous_standby_names = ''")
        .unwrap();
    own.restart().unwrap();
    login(json["tenants"][0]["password"].as_str().unwrap()).unwrap();
    // Only the session is lost: the server is asked, and says.
    let child = stuck();
    db.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = current_database()");
    db.sql("ALTER SYSTEM RESET synchronous_standby_names");
    db.sql("SELECT pg_reload_conf()");
    let json = Run(child.wait_with_output().unwrap()).success().json();
    assert_eq!(json["tenants"][0]["status"], "rotated");
    login(json["tenants"][0]["password"].as_str().unwrap()).unwrap();
}

/// An admin with CREATEROLE and no more does all of it.
#[test]
fn an_admin_need_not_be_a_superuser() {
    let db = Db::new();
    let admin = unique("keeper");
    db.sql(&format!(
        "CREATE ROLE {admin} LOGIN CREATEROLE PASSWORD 'x'; GRANT CREATE ON DATABASE {} TO {admin}; \
         GRANT CONNECT ON DATABASE {} TO {admin} WITH GRANT OPTION",
        db.name, db.name
    ));
    let admin = Db {
        url: cluster().url(&admin, &db.name).replace('@', ":x@"),
        name: db.name.clone(),
        dir: db.dir.clone(),
    };
    admin.run(&["init"]).success();
    let key = Key::new(&admin);
    store_for(&admin, &[&key]);
    let made = admin.provision(&["acme"]).remove(0);
    let held = hold(&made.url(&db), "SELECT 1");
    let run = admin.run(&["-o", "json", "rotate", "--all", "--disconnect"]).success();
    let json = run.json();
    assert_eq!(json["tenants"][0]["sessions_ended"], 1);
    assert_eq!(json["tenants"][0]["stored"], true);
    drop(held);
    is_refused(&db, &made);
    logs_in(&db, &with(&made, &passwords(&run)["acme"]));
    let run = admin.run(&["-o", "json", "credentials", "show", "acme", "--identity", key.path()]);
    assert_eq!(run.success().json()["password"], passwords_of(&json));
    // Its membership was for the moment only.
    assert_eq!(
        db.value(&format!(
            "SELECT count(*) FROM pg_auth_members WHERE roleid = '{}'::regrole",
            made.role
        )),
        "0"
    );
}

fn passwords_of(json: &serde_json::Value) -> &str {
    json["tenants"][0]["password"].as_str().unwrap()
}

/// A server that logs and counts all it can sees no password, and from a superuser, or whoever may set the parameters,
/// no verifier either.
#[test]
fn nothing_secret_is_left_on_the_server() {
    let mut settings = crate::support::fast();
    settings.extend(
        [
            "log_min_duration_statement = 0",
            "log_parameter_max_length = -1",
            "log_parameter_max_length_on_error = -1",
            "log_min_error_statement = info",
            "debug_print_parse = on",
        ]
        .map(str::to_owned),
    );
    let statistics = sql(
        &cluster().url(Cluster::SUPERUSER, "postgres"),
        "SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements'",
    )
    .is_ok_and(|rows| !rows.is_empty());
    if statistics {
        settings.push("shared_preload_libraries = 'pg_stat_statements'".into());
        settings.push("pg_stat_statements.track = all".into());
    } else {
        loud("SKIPPED half of nothing_secret_is_left_on_the_server: no pg_stat_statements on this machine");
    }
    let own = start(&Options {
        settings,
        ..Options::default()
    });
    for admin in ["superuser", "granted", "plain"] {
        let db = Db::on(&own);
        let url = if admin == "superuser" {
            db.url.clone()
        } else {
            db.sql(&format!(
                "CREATE ROLE {admin} LOGIN CREATEROLE PASSWORD 'x'; GRANT CREATE ON DATABASE {0} TO {admin}; \
                 GRANT CONNECT ON DATABASE {0} TO {admin} WITH GRANT OPTION",
                db.name
            ));
            if admin == "granted" {
                db.sql(
                    "GRANT SET ON PARAMETER log_statement, log_min_duration_statement, log_min_duration_sample, \
                     log_transaction_sample_rate, log_min_error_statement, track_activities, \
                     pg_stat_statements.track_utility TO granted",
                );
            }
            own.url(admin, &db.name).replace('@', ":x@")
        };
        if statistics {
            db.sql("CREATE EXTENSION pg_stat_statements");
            db.sql("SELECT pg_stat_statements_reset()");
        }
        let before = std::fs::read_to_string(own.log_file()).unwrap().len();
        let key = Key::new(&db);
        store_for(&db, &[&key]);
        let run = |args: &[&str]| {
            let mut all = vec!["-vv", "--log-format", "json"];
            all.extend(args);
            Cmd::new(&all).env("DATABASE_URL", &url).dir(&db.dir).finish().success()
        };
        let identity = ["--identity", key.path()];
        let (mut shown, mut silent) = (Vec::new(), Vec::new());
        silent.push(run(&["init"]));
        shown.push(run(&["-o", "json", "provision", "acme", "globex"]));
        shown.push(run(&["-o", "json", "rotate", "acme"]));
        shown.push(run(&["-o", "json", "rotate", "--all", "--disconnect"]));
        silent.push(run(&["rotate", "--all", "--credentials-file", "new.csv"]));
        silent.push(run(&["rotate", "--all", "--dry-run"]));
        shown.push(run(
            &[&["-o", "json", "credentials", "show", "acme"], &identity[..]].concat()
        ));
        for args in [
            &["credentials", "list"][..],
            &["list"],
            &["-o", "json", "list"],
            &["show", "acme"],
            &["-o", "json", "show", "globex"],
            &["drop", "acme", "globex", "--yes"],
        ] {
            silent.push(run(args));
        }
        let mut secrets: Vec<String> = shown.iter().flat_map(|r| find_passwords(&r.stdout())).collect();
        let file = std::fs::read_to_string(db.dir.join("new.csv")).unwrap();
        secrets.extend(file.lines().skip(1).map(|l| l.rsplit(',').next().unwrap().to_owned()));
        assert_eq!(secrets.len(), 2 + 1 + 2 + 1 + 2);

        let log = std::fs::read_to_string(own.log_file()).unwrap().split_off(before);
        let counted = if statistics {
            db.value("SELECT string_agg(query, E'\\n') FROM pg_stat_statements")
        } else {
            String::new()
        };
        assert!(log.contains("tenantctl.tenants"), "the server logs statements");
        assert!(
            !statistics || counted.contains("tenantctl.tenants"),
            "the server counts statements"
        );
        let errors: String = shown.iter().chain(&silent).map(Run::stderr).collect();
        assert!(errors.contains("ALTER ROLE"), "our own log has the statements");
        let results: String = silent.iter().map(Run::stdout).collect();
        for (place, text) in [
            ("the server's log", &log),
            ("pg_stat_statements", &counted),
            ("stderr", &errors),
            ("stdout", &results),
        ] {
            for secret in &secrets {
                assert!(!text.contains(secret), "{admin}: a password is in {place}");
            }
        }
        assert!(!errors.contains("SCRAM-SHA-256$") && !results.contains("SCRAM-SHA-256$"));
        let verifiers = log.contains("SCRAM-SHA-256$") || counted.contains("SCRAM-SHA-256$");
        assert_eq!(verifiers, admin == "plain", "{admin}");
    }
}

fn find_passwords(stdout: &str) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_str(stdout).unwrap();
    let text = |v: &serde_json::Value| v["password"].as_str().map(str::to_owned);
    match json["tenants"].as_array() {
        Some(tenants) => tenants.iter().filter_map(text).collect(),
        None => text(&json).into_iter().collect(),
    }
}
