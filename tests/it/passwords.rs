//! Passwords: shown once, never sent, never lost.

use crate::support::{Db, cluster, sql, wait_for};

#[test]
fn passwords_are_shown_once_and_never_sent() {
    let db = Db::initialized();
    let made = db.provision(&["acme"]).remove(0);
    let password = made.password.clone().unwrap();
    let stored = db.value(&format!(
        "SELECT rolpassword FROM pg_authid WHERE rolname = '{}'",
        made.role
    ));
    assert!(stored.starts_with("SCRAM-SHA-256$4096:"), "{stored}");
    sql(&made.url(&db), "SELECT 1").unwrap();
    for args in [
        &["list"][..],
        &["show", "acme"],
        &["-o", "json", "list"],
        &["-o", "json", "show", "acme"],
        &["-vv", "show", "acme"],
    ] {
        let run = db.run(args).success();
        assert!(!run.stdout().contains(&password) && !run.stderr().contains(&password));
        assert!(!run.stdout().contains("SCRAM-SHA-256"));
    }
    let rows = db.value("SELECT string_agg(o::text, '') FROM tenantctl.operations o");
    assert!(!rows.contains(&password) && !rows.contains("SCRAM"));
    // log_statement = all in this cluster: the clear password must not be there. What the dry run shows is masked.
    let log = std::fs::read_to_string(cluster().log_file()).unwrap();
    assert!(log.contains(&made.role), "the statements are in the log");
    assert!(!log.contains(&password), "the clear password is in the server's log");
    let run = db.run(&["-vv", "provision", "other"]).success();
    assert!(!run.stderr().contains("SCRAM-SHA-256"), "the verifier is in our log");
}

#[test]
fn credentials_go_to_a_private_file_that_is_never_overwritten() {
    use std::os::unix::fs::PermissionsExt;
    let db = Db::initialized();
    let run = db
        .run(&["-o", "json", "provision", "a", "b", "--credentials-file", "creds.csv"])
        .success();
    assert!(run.json()["tenants"][0].get("password").is_none());
    let path = db.dir.join("creds.csv");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let text = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Vec<&str>> = text.lines().map(|l| l.split(',').collect()).collect();
    assert_eq!(lines[0], ["tenant_id", "role_name", "schema_name", "password"]);
    assert_eq!(lines.len(), 3);
    for line in &lines[1..] {
        assert!(!run.stdout().contains(line[3]));
        sql(
            &db.url_as(line[1]).replace('@', &format!(":{}@", line[3])),
            "SELECT count(*) FROM portfolios",
        )
        .unwrap();
    }
    db.run(&["provision", "c", "--credentials-file", "creds.csv"])
        .exits(2)
        .says(&["creds.csv exists", "never overwritten"]);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    assert_eq!(db.counts(), (2, 2, 2));
    db.run(&["provision", "c", "--credentials-file", "no/such/folder/creds.csv"])
        .exits(5)
        .says(&["cannot write"]);
    assert_eq!(db.counts(), (2, 2, 2));
    // Entries of tenants that were not made are taken out again.
    db.run(&["provision", "a", "d", "--credentials-file", "more.csv"])
        .exits(1);
    let text = std::fs::read_to_string(db.dir.join("more.csv")).unwrap();
    assert_eq!(text.lines().count(), 2, "{text}");
}

/// Passwords that nobody will see are not made, and if they cannot be written after all, that is an error that names
/// the tenants.
#[test]
fn passwords_are_not_lost_silently() {
    let db = Db::initialized();
    let shell = |script: &str| {
        std::process::Command::new("sh")
            .args(["-c", &script.replace("tenantctl", env!("CARGO_BIN_EXE_tenantctl"))])
            .env("DATABASE_URL", &db.url)
            .current_dir(&db.dir)
            .output()
            .unwrap()
    };
    for script in ["tenantctl provision a >/dev/null", "tenantctl provision a >&-"] {
        let output = shell(script);
        assert_eq!(output.status.code(), Some(2), "{script}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains("--credentials-file"),
            "{script}"
        );
    }
    assert_eq!(db.counts(), (0, 0, 0));
    let output = shell("tenantctl provision full >/dev/full");
    assert_eq!(output.status.code(), Some(5));
    assert!(String::from_utf8_lossy(&output.stderr).contains("the passwords of full could not be written"));
    assert!(
        shell("tenantctl provision kept --credentials-file k.csv >/dev/null")
            .status
            .success()
    );
}

/// The server goes away while it commits: nobody can say whether the tenant is there, so its password is kept.
#[test]
fn an_unknown_outcome_keeps_the_password() {
    let settings = [crate::support::fast(), vec!["synchronous_commit = on".into()]].concat();
    let own = crate::support::start(&tenantctl::cluster::Options {
        settings,
        ..Default::default()
    });
    let db = Db::on(&own);
    db.run(&["init"]).success();
    for (id, file) in [("acme", Some("creds.csv")), ("globex", None)] {
        // A commit that waits for a standby that does not exist is stuck after it became durable.
        db.sql("ALTER SYSTEM SET synchronous_standby_names = 'nobody'");
        db.sql("SELECT pg_reload_conf()");
        wait_for("the setting", || db.value("SHOW synchronous_standby_names") == "nobody");
        let mut args = vec!["-o", "json", "provision", id];
        args.extend(file.iter().flat_map(|file| ["--credentials-file", file]));
        let mut cmd = db.command(&args);
        let child = cmd
            .command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        wait_for("the commit to be stuck", || {
            db.value(
                "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND datname = current_database()",
            ) == "1"
        });
        own.stop().unwrap();
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(
            stderr.contains(&format!("not known whether tenant {id} was made")),
            "{stderr}"
        );
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json["tenants"][0]["status"], "unknown");
        own.append("postgresql.auto.conf", "synchronous_standby_names = ''")
            .unwrap();
        own.restart().unwrap();
        let role = db.value(&format!(
            "SELECT role_name FROM tenantctl.tenants WHERE tenant_id = '{id}'"
        ));
        let password = match file {
            Some(file) => {
                let text = std::fs::read_to_string(db.dir.join(file)).unwrap();
                text.lines()
                    .find(|l| l.contains(&role))
                    .expect("the entry")
                    .rsplit(',')
                    .next()
                    .unwrap()
                    .to_owned()
            }
            None => json["tenants"][0]["password"].as_str().unwrap().to_owned(),
        };
        sql(
            &own.url(&role, &db.name).replace('@', &format!(":{password}@")),
            "SELECT 1",
        )
        .unwrap();
    }
}
