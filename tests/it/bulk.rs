//! Many at once.

use crate::support::{Db, anatomy, sql};

#[test]
fn a_hundred_of_a_hundred_each_isolated() {
    let db = Db::initialized();
    let ids: Vec<String> = (0..100).map(|i| format!("tenant-{i:03}")).collect();
    std::fs::write(db.dir.join("ids"), ids.join("\n")).unwrap();
    let made = db.provision(&["--from-file", "ids", "--jobs", "20", "--tier", "basic"]);
    assert_eq!(made.len(), 100);
    assert_eq!(db.counts(), (100, 100, 100));
    assert_eq!(
        db.value("SELECT count(*) FROM tenantctl.operations WHERE operation = 'provision' AND status = 'done'"),
        "100"
    );
    let expected = anatomy(&db, &made[0].schema);
    for tenant in &made[1..] {
        assert_eq!(anatomy(&db, &tenant.schema), expected, "{}", tenant.id);
    }
    // No privilege of any tenant on anything of another, by the server's own judgement.
    assert_eq!(
        db.value(
            "SELECT count(*) FROM tenantctl.tenants a JOIN tenantctl.tenants b ON a.schema_name <> b.schema_name
             WHERE has_schema_privilege(a.role_name, b.schema_name, 'USAGE, CREATE')
             OR has_table_privilege(a.role_name, b.schema_name || '.trades', 'SELECT, INSERT, UPDATE, DELETE, TRUNCATE, REFERENCES, TRIGGER')
             OR pg_has_role(a.role_name, b.role_name, 'MEMBER')"
        ),
        "0"
    );
    // And by trying: each reads its own row, and its neighbour refuses it.
    for pair in made.windows(2).step_by(10) {
        let url = pair[0].url(&db);
        sql(
            &url,
            "INSERT INTO portfolios (user_id, name) VALUES (gen_random_uuid(), 'p')",
        )
        .unwrap();
        let error = sql(&url, &format!("SELECT * FROM {}.portfolios", pair[1].schema)).expect_err("isolation");
        assert!(error.starts_with("42501"), "{error}");
    }
}

/// More jobs than the server has connections: the work is done by those that got one.
#[test]
fn too_many_jobs_for_the_server_are_not_a_failure() {
    let own = crate::support::start(&tenantctl::cluster::Options {
        settings: [crate::support::fast(), vec!["max_connections = 12".into()]].concat(),
        ..Default::default()
    });
    let db = Db::on(&own);
    db.run(&["init"]).success();
    let ids: Vec<String> = (0..60).map(|i| format!("t{i}")).collect();
    std::fs::write(db.dir.join("ids"), ids.join("\n")).unwrap();
    let made = db.provision(&["--from-file", "ids", "--jobs", "40"]);
    assert_eq!(made.len(), 60);
    assert_eq!(db.counts(), (60, 60, 60));
}

#[test]
fn a_server_that_dies_in_the_middle_fails_the_rest_and_the_next_run_finishes() {
    // An asynchronous commit may be lost in a crash, which is what this stop is; fsync only matters to power cuts.
    let settings = [crate::support::fast(), vec!["synchronous_commit = on".into()]].concat();
    let own = crate::support::start(&tenantctl::cluster::Options {
        settings,
        ..Default::default()
    });
    let db = Db::on(&own);
    db.run(&["init"]).success();
    let ids: Vec<String> = (0..300).map(|i| format!("t{i}")).collect();
    std::fs::write(db.dir.join("ids"), ids.join("\n")).unwrap();
    let child = db
        .command(&["-o", "json", "provision", "--from-file", "ids", "--jobs", "4"])
        .command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    crate::support::wait_for("the first tenants", || {
        sql(&db.url, "SELECT count(*) > 10 FROM tenantctl.tenants").is_ok_and(|rows| rows[0][0] == "t")
    });
    own.stop().unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    // Those that were under way are failed, and also told with status unknown and the password they have if made.
    let told = json["tenants"].as_array().unwrap();
    let made = told.iter().filter(|t| t["status"] == "active").count();
    assert!(told.iter().all(|t| t["password"].is_string()));
    let failed = json["failed"].as_array().unwrap().len();
    assert_eq!(made + failed, 300);
    assert!(made > 0 && failed > 0);
    assert_eq!(json["failed"][0]["error_type"], "connection");
    own.restart().unwrap();
    let (schemas, roles, rows) = db.counts();
    // What was told as made is there.
    assert_eq!((schemas, roles), (rows, rows));
    assert!(rows >= made, "{made} were told as made, {rows} are there");
    db.run(&["provision", "--if-not-exists", "--from-file", "ids"])
        .success();
    assert_eq!(db.counts(), (300, 300, 300));
}
