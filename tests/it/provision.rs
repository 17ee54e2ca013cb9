//! `provision`: whole or not at all, each tenant isolated, every failure clear.

use crate::support::{Cmd, Db, anatomy, hold, sql, wait_for};

/// Tables of the core modules, which every tier has.
const CORE: [&str; 4] = ["market_data", "portfolios", "positions", "trades"];

#[test]
fn a_tenant_can_work_in_its_schema_and_nowhere_else() {
    let db = Db::initialized();
    let made = db.provision(&["acme", "globex", "--tier", "enterprise"]);
    let (acme, globex) = (&made[0], &made[1]);
    let url = acme.url(&db);
    sql(
        &url,
        "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p');
         INSERT INTO positions (portfolio_id, symbol, quantity, avg_price) SELECT id, 'AAPL', 1, 1 FROM portfolios;
         INSERT INTO trades (portfolio_id, symbol, side, quantity, price, executed_at) SELECT id, 'AAPL', 'BUY', 1, 1, now() FROM portfolios;
         UPDATE positions SET quantity = 2; DELETE FROM trades;",
    )
    .unwrap();
    assert_eq!(sql(&url, "SELECT count(*) FROM portfolios").unwrap()[0][0], "1");
    for attempt in [
        format!("SELECT * FROM {}.portfolios", globex.schema),
        format!(
            "INSERT INTO {}.portfolios (user_id, name) VALUES (gen_random_uuid(), 'x')",
            globex.schema
        ),
        format!("TRUNCATE {}.trades", acme.schema),
        format!("CREATE TABLE {}.t (x int)", acme.schema),
        format!("ALTER TABLE {}.trades DISABLE ROW LEVEL SECURITY", acme.schema),
        format!(
            "CREATE TRIGGER t AFTER INSERT ON {}.trades EXECUTE FUNCTION suppress_redundant_updates_trigger()",
            acme.schema
        ),
        format!("SET ROLE {}", globex.role),
        "SET ROLE tenantctl_owner".into(),
        "SELECT * FROM tenantctl.tenants".into(),
        "SELECT * FROM template_trading.portfolios".into(),
    ] {
        let error = sql(&url, &attempt).expect_err(&attempt);
        assert!(error.starts_with("42501"), "{attempt}: {error}");
    }
    // A stray grant opens the door; row security still shows no row, and lets none in.
    db.sql(&format!(
        "GRANT USAGE ON SCHEMA {0} TO {1}; GRANT ALL ON ALL TABLES IN SCHEMA {0} TO {1};
         INSERT INTO {0}.portfolios (user_id, name) VALUES (gen_random_uuid(), 'secret')",
        globex.schema, acme.role
    ));
    assert_eq!(
        sql(&url, &format!("SELECT count(*) FROM {}.portfolios", globex.schema)).unwrap()[0][0],
        "0"
    );
    let error = sql(
        &url,
        &format!(
            "INSERT INTO {}.portfolios (user_id, name) VALUES (gen_random_uuid(), 'x')",
            globex.schema
        ),
    );
    assert!(error.expect_err("row security").starts_with("42501"));
}

#[test]
fn a_tier_gets_exactly_its_features() {
    let db = Db::initialized();
    let tables = |schema: &str| -> Vec<String> {
        db.sql(&format!(
            "SELECT tablename FROM pg_tables WHERE schemaname = '{schema}'
             AND tablename NOT IN ('audit_log', 'tenant_usage') ORDER BY 1"
        ))
        .into_iter()
        .map(|mut row| row.remove(0))
        .collect()
    };
    let basic = db.provision(&["b", "--tier", "basic"]).remove(0);
    assert_eq!(tables(&basic.schema), CORE);
    let professional = tables(&db.provision(&["p", "--tier", "professional"])[0].schema);
    let enterprise = tables(&db.provision(&["e", "--tier", "enterprise"])[0].schema);
    assert_eq!(enterprise, tables("template_trading"));
    assert!(professional.len() > CORE.len() && CORE.iter().all(|t| professional.contains(&(*t).to_owned())));
    let modules = |id: &str| {
        db.value(&format!(
            "SELECT array_to_string(modules, ',') FROM tenantctl.tenants WHERE tenant_id = '{id}'"
        ))
    };
    assert_eq!(modules("b"), "portfolios,positions,trades,market_data,basic_analytics");
    assert!(!modules("p").contains("basic_analytics") && modules("p").contains("backtesting"));
    let views = |schema: &str| db.value(&format!("SELECT count(*) FROM pg_views WHERE schemaname = '{schema}'"));
    assert_ne!(views(&basic.schema), "0");
    // Every view reads with the caller's rights.
    assert_eq!(
        db.value("SELECT count(*) FROM pg_class WHERE relkind = 'v' AND relnamespace::regnamespace::text ~ '^(tenant_|template_)' AND NOT 'security_invoker=true' = ANY (reloptions)"),
        "0"
    );
}

#[test]
fn structure_follows_the_standard() {
    let db = Db::initialized();
    let made = db.provision(&["acme", "--tier", "enterprise"]).remove(0);
    let (schema, role) = (&made.schema, &made.role);
    let one = |query: &str| db.value(query);
    // Owned by the owner, all of it.
    assert_eq!(
        one(&format!(
            "SELECT string_agg(DISTINCT relowner::regrole::text, ',') FROM pg_class WHERE relnamespace = '{schema}'::regnamespace"
        )),
        "tenantctl_owner"
    );
    // Row security forced on all tables but the bulk-loaded one, two permissive policies each.
    assert_eq!(
        one(&format!(
            "SELECT string_agg(relname, ',') FROM pg_class WHERE relnamespace = '{schema}'::regnamespace AND relkind = 'r' AND NOT (relrowsecurity AND relforcerowsecurity)"
        )),
        "market_data"
    );
    assert_eq!(
        db.sql(&format!("SELECT polname, polpermissive, polroles::regrole[] FROM pg_policy WHERE polrelid = '{schema}.trades'::regclass ORDER BY 1")),
        [
            vec!["trades_admin_bypass".to_owned(), "t".into(), "{tenantctl_owner}".into()],
            vec!["trades_tenant_isolation".to_owned(), "t".into(), format!("{{{role}}}")],
        ]
    );
    // Exactly these privileges, on tables and views; nothing for PUBLIC anywhere.
    assert_eq!(
        db.sql(&format!(
            "SELECT c.relkind, string_agg(DISTINCT privilege_type, ',' ORDER BY privilege_type) FROM pg_class c, aclexplode(relacl)
             WHERE relnamespace = '{schema}'::regnamespace AND grantee = '{role}'::regrole GROUP BY 1 ORDER BY 1"
        )),
        [["r", "DELETE,INSERT,SELECT,UPDATE"], ["v", "SELECT"]].map(|r| r.map(str::to_owned).to_vec())
    );
    assert_eq!(
        one(&format!(
            "SELECT count(*) FROM pg_class, aclexplode(relacl) WHERE relnamespace = '{schema}'::regnamespace AND grantee = 0"
        )),
        "0"
    );
    assert_eq!(
        one(&format!(
            "SELECT nspacl::text FROM pg_namespace WHERE nspname = '{schema}'"
        )),
        format!("{{tenantctl_owner=UC/tenantctl_owner,{role}=U/tenantctl_owner}}")
    );
    // The role: connection limit of the tier, its schema as search path, no attribute, in the tenants' group only.
    assert_eq!(
        one(&format!("SELECT rolconnlimit FROM pg_roles WHERE rolname = '{role}'")),
        "500"
    );
    assert_eq!(
        one(&format!("SELECT rolconfig FROM pg_roles WHERE rolname = '{role}'")),
        format!("{{search_path={schema}}}")
    );
    assert_eq!(
        one(&format!(
            "SELECT string_agg(roleid::regrole::text, ',') FROM pg_auth_members WHERE member = '{role}'::regrole"
        )),
        "tenantctl_tenants"
    );
    // The name is what the registry's salt says.
    let salt = one("SELECT salt FROM tenantctl.tenants WHERE tenant_id = 'acme'");
    assert_eq!(
        one(&format!(
            "SELECT 'tenant_' || left(encode(sha256('acme:{salt}'), 'hex'), 12)"
        )),
        *schema
    );
    // The five indexes of the platform, and none twice.
    for index in [
        "idx_portfolios_user_id",
        "idx_positions_portfolio_id",
        "idx_positions_symbol",
        "idx_trades_portfolio_id_executed",
        "idx_trades_symbol_executed",
    ] {
        assert_eq!(
            one(&format!(
                "SELECT count(*) FROM pg_indexes WHERE schemaname = '{schema}' AND indexname = '{index}'"
            )),
            "1",
            "{index}"
        );
    }
    assert_eq!(
        one(&format!(
            "SELECT count(*) FROM (SELECT indrelid, indkey, indoption, indpred FROM pg_index i JOIN pg_class c ON c.oid = indrelid WHERE relnamespace = '{schema}'::regnamespace GROUP BY 1, 2, 3, 4 HAVING count(*) > 1) twice"
        )),
        "0"
    );
    // Foreign keys stay inside.
    assert_eq!(
        one(&format!(
            "SELECT count(*) FROM pg_constraint k JOIN pg_class c ON c.oid = confrelid WHERE contype = 'f' AND connamespace = '{schema}'::regnamespace AND relnamespace <> connamespace"
        )),
        "0"
    );
}

#[test]
fn two_tenants_of_a_tier_are_alike() {
    let db = Db::initialized();
    let made = db.provision(&["a", "b", "--tier", "enterprise"]);
    let (a, b) = (anatomy(&db, &made[0].schema), anatomy(&db, &made[1].schema));
    assert!(a.len() > 100, "{}", a.len());
    assert_eq!(a, b);
}

#[test]
fn bulk_loaded_tables_take_copy_from_the_tenant() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let url = made.url(&db);
    let connect = || async {
        let (client, connection) = tokio_postgres::connect(&url, tokio_postgres::NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    };
    let copied = runtime.block_on(async {
        let client = connect().await;
        let denied = client
            .copy_in::<_, std::io::Cursor<Vec<u8>>>("COPY portfolios (user_id, name) FROM STDIN")
            .await
            .err()
            .map(|e| e.code().cloned());
        assert!(
            denied.is_some(),
            "COPY into a table with row security is the server's to refuse"
        );
        let client = connect().await;
        client
            .copy_in::<_, std::io::Cursor<Vec<u8>>>("COPY market_data (symbol, timestamp) FROM STDIN")
            .await
            .map(|_| ())
    });
    copied.unwrap();
}

#[test]
fn dry_run_prints_masked_sql_that_works_and_changes_nothing() {
    let db = Db::initialized();
    let before = db.counts();
    let out = db.run(&["provision", "acme", "--dry-run"]).success().stdout();
    assert_eq!(db.counts(), before);
    assert!(
        out.contains("PASSWORD NULL /* secret */") && out.contains("BEGIN;") && out.contains("COMMIT;"),
        "{out}"
    );
    assert!(!out.contains("SCRAM"));
    // The printed SQL, run as it is, makes the very tenant, with no password that anybody could guess.
    db.sql(&out);
    assert_eq!(db.counts(), (1, 1, 1));
    assert_eq!(
        db.value(
            "SELECT count(*) FROM pg_authid JOIN tenantctl.tenants ON rolname = role_name WHERE rolpassword IS NOT NULL"
        ),
        "0"
    );
    // A dry run of a tenant that exists says so and writes nothing, not even into the operation log.
    let operations = db.value("SELECT count(*) FROM tenantctl.operations");
    db.run(&["provision", "acme", "--dry-run"])
        .exits(4)
        .says(&["already exists"]);
    assert_eq!(db.value("SELECT count(*) FROM tenantctl.operations"), operations);
    let twin = db.provision(&["twin"]).remove(0);
    let schema = db.value("SELECT schema_name FROM tenantctl.tenants WHERE tenant_id = 'acme'");
    assert_eq!(anatomy(&db, &schema), anatomy(&db, &twin.schema));
    let json = db
        .run(&["-o", "json", "provision", "more", "--dry-run"])
        .success()
        .json();
    assert!(json["plan"][0]["steps"].as_array().unwrap().len() > 5);
}

#[test]
fn what_exists_is_a_duplicate_or_done_as_asked() {
    let db = Db::initialized();
    let first = db.provision(&["acme"]).remove(0);
    let run = db
        .run(&["-o", "json", "provision", "acme"])
        .exits(4)
        .says(&["tenant acme already exists", "--if-not-exists"]);
    assert_eq!(run.json()["failed"][0]["error_type"], "duplicate");
    assert_eq!(run.json()["failed"][0]["severity"], "warning");
    let again = db
        .run(&["-o", "json", "provision", "acme", "new", "--if-not-exists"])
        .success()
        .json();
    assert_eq!(again["tenants"][0]["status"], "exists");
    assert_eq!(again["tenants"][0]["schema_name"], first.schema.as_str());
    assert!(again["tenants"][0].get("password").is_none());
    assert_eq!(again["tenants"][1]["status"], "active");
    sql(&first.url(&db), "SELECT 1").expect("the old password still works");
    // Some of many: 1, and the others are made.
    let run = db.run(&["-o", "json", "provision", "acme", "x", "y"]).exits(1);
    assert_eq!(run.json()["tenants"].as_array().unwrap().len(), 2);
    assert_eq!(db.counts(), (4, 4, 4));
    // The failure is in the operation log under its error id.
    let id = run.json()["failed"][0]["error_id"].as_str().unwrap().to_owned();
    assert_eq!(
        db.sql(&format!("SELECT operation, tenant_id, status, error_type, severity FROM tenantctl.operations WHERE error_id = '{id}'")),
        [["provision", "acme", "failed", "duplicate", "warning"].map(str::to_owned).to_vec()]
    );
}

#[test]
fn two_clients_with_one_id_make_one_tenant() {
    let db = Db::initialized();
    for round in 0..5 {
        let id = format!("race-{round}");
        let children: Vec<_> = (0..4)
            .map(|_| {
                let mut cmd = db.command(&["-o", "json", "provision", &id]);
                cmd.command
                    .stdout(std::process::Stdio::piped())
                    .stderr(std::process::Stdio::piped())
                    .spawn()
                    .unwrap()
            })
            .collect();
        let outputs: Vec<_> = children.into_iter().map(|c| c.wait_with_output().unwrap()).collect();
        let mut codes: Vec<_> = outputs.iter().map(|o| o.status.code().unwrap()).collect();
        codes.sort_unstable();
        assert_eq!(codes, [0, 4, 4, 4]);
        for output in outputs.iter().filter(|o| !o.status.success()) {
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert!(stderr.contains(&format!("tenant {id} already exists")), "{stderr}");
        }
    }
    assert_eq!(db.counts(), (5, 5, 5));
}

#[test]
fn hostile_ids_are_refused_and_nothing_is_made() {
    let db = Db::initialized();
    let long = "x".repeat(64);
    for id in [
        "",
        " ",
        "a b",
        "a'b",
        "a\"b",
        "../x",
        "a/b",
        "x; DROP SCHEMA tenantctl CASCADE",
        "ünïcode",
        "a\u{202e}b",
        ".hidden",
        "_x",
        "$(id)",
        "a\nb",
        &long,
    ] {
        let run = db
            .run(&["provision", "--", id])
            .exits(2)
            .says(&["invalid tenant id", "hint:"]);
        assert_eq!(run.stdout(), "");
    }
    // One bad id among good ones stops all of them.
    db.run(&["provision", "good", "bad id"]).exits(2);
    assert_eq!(db.counts(), (0, 0, 0));
    // The longest valid one works.
    db.provision(&[&"x".repeat(63), "A.b_c-9"]);
    assert_eq!(db.counts(), (2, 2, 2));
}

#[test]
fn tenants_from_a_file() {
    let db = Db::initialized();
    let write = |text: &str| std::fs::write(db.dir.join("tenants.csv"), text).unwrap();
    write("\u{feff}tenant_id,tier\nacme,enterprise\n# a comment\n\n\"globex\",\"professional\"\ninitech\n");
    let json = db
        .run(&[
            "-o",
            "json",
            "provision",
            "--from-file",
            "tenants.csv",
            "--tier",
            "basic",
        ])
        .success()
        .json();
    let tiers: Vec<_> = json["tenants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| (t["tenant_id"].as_str().unwrap(), t["tier"].as_str().unwrap()))
        .collect();
    assert_eq!(
        tiers,
        [("acme", "enterprise"), ("globex", "professional"), ("initech", "basic")]
    );
    for (text, message) in [
        ("a,basic\nb c\n", "tenants.csv:2: invalid tenant id"),
        ("a,basic\nb,gold\n", "tenants.csv:2: "),
        ("a,basic\na\n", "tenant a is asked for twice"),
        ("a,basic,more\n", "tenants.csv:1: more than two fields"),
        ("# c\ntenant_id,tier\r\n\r\nx y\n", "tenants.csv:4: invalid tenant id"),
        ("# nothing\n", "names no tenant"),
    ] {
        write(text);
        db.run(&["provision", "--from-file", "tenants.csv"])
            .exits(2)
            .says(&[message]);
    }
    std::fs::write(db.dir.join("tenants.csv"), [0xff, 0xfe, 0x41]).unwrap();
    db.run(&["provision", "--from-file", "tenants.csv"])
        .exits(2)
        .says(&["is not UTF-8"]);
    db.run(&["provision", "--from-file", "missing.csv"])
        .exits(2)
        .says(&["cannot read missing.csv"]);
    assert_eq!(db.counts(), (3, 3, 3));
    // stdin
    let mut cmd = db.command(&["provision", "--from-file", "-", "--credentials-file", "stdin.csv"]);
    let mut child = cmd
        .command
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"from-stdin\n").unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(db.counts(), (4, 4, 4));
}

#[test]
fn a_lock_that_is_held_times_out_and_rolls_back() {
    let db = Db::initialized();
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "provisioning:\n  timeout_s: 3\n  lock_timeout_s: 1\n",
    )
    .unwrap();
    let held = hold(&db.url, "BEGIN; LOCK TABLE tenantctl.tenants IN ACCESS EXCLUSIVE MODE");
    // Reading the registry waits on that lock too; the session's own lock timeout bounds it.
    let started = std::time::Instant::now();
    db.run(&["provision", "acme"])
        .exits(4)
        .says(&["SQLSTATE 55P03", "hint:"]);
    assert!(started.elapsed().as_secs() < 20);
    drop(held);
    wait_for("the lock to be gone", || {
        db.value("SELECT count(*) FROM pg_locks WHERE relation = 'tenantctl.tenants'::regclass AND mode = 'AccessExclusiveLock'") == "0"
    });
    assert_eq!(db.counts(), (0, 0, 0));
    db.provision(&["acme"]);
}

#[test]
fn unknown_tiers_get_the_nearest() {
    let db = Db::initialized();
    db.run(&["provision", "acme", "--tier", "profesional"])
        .exits(2)
        .says(&["professional"]);
    db.run(&["list", "--tier", "basik"]).exits(2).says(&["basic"]);
    Cmd::new(&["provision"]).finish().exits(2);
}

#[test]
fn an_orphan_schema_or_role_is_never_adopted() {
    // The name is salted, so a collision has to be made: the same salt is impossible to force from outside, but a
    // tenant whose registry row was deleted leaves schema and role, and provisioning it again must not touch them.
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    db.sql("DELETE FROM tenantctl.tenants");
    let again = db.provision(&["acme"]).remove(0);
    assert_ne!(made.schema, again.schema);
    assert_eq!(db.counts(), (2, 2, 1));
}

#[test]
fn waiting_for_stdin_can_be_interrupted() {
    let db = Db::initialized();
    let mut cmd = db.command(&["provision", "--from-file", "-", "--credentials-file", "c"]);
    let mut child = cmd.command.stdin(std::process::Stdio::piped()).spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(300));
    for _ in 0..3 {
        std::process::Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap();
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
    wait_for("the process to end", || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(130));
}
