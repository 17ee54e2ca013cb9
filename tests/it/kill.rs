//! Killed at any moment, the client leaves a whole tenant or nothing.

use std::time::Duration;

use crate::support::{Db, anatomy, sql, wait_for};

/// Rounds of provisioning several tenants, each killed at another moment.
const ROUNDS: u32 = 80;

#[test]
fn kills_at_any_moment_leave_whole_tenants_or_nothing() {
    let db = Db::initialized();
    let twin = db.provision(&["twin", "--tier", "professional"]).remove(0);
    let expected = anatomy(&db, &twin.schema);
    // The length of an undisturbed run, so that the kills fall into all of it.
    let started = std::time::Instant::now();
    db.provision(&["warm-1", "warm-2", "warm-3", "--jobs", "2", "--tier", "professional"]);
    let whole = started.elapsed();
    let mut killed = 0;
    for round in 0..ROUNDS {
        let ids: Vec<String> = (0..3).map(|i| format!("k{round}-{i}")).collect();
        let mut args = vec![
            "provision",
            "--jobs",
            "2",
            "--tier",
            "professional",
            "--credentials-file",
        ];
        let file = format!("creds-{round}.csv");
        args.push(&file);
        args.extend(ids.iter().map(String::as_str));
        let mut child = db
            .command(&args)
            .command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        // Moments spread over the run by the golden ratio, so that they are even and in no order; not quite to its end,
        // since a run may be faster than the one that was timed.
        let share = (f64::from(round) * 0.618_034).fract() * 0.85;
        std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * share));
        if child.try_wait().unwrap().is_none() {
            child.kill().unwrap();
            killed += 1;
        }
        child.wait().unwrap();
    }
    wait_for("the killed clients' backends to end", || {
        db.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantctl%'") == "0"
    });
    assert!(
        killed >= 50,
        "only {killed} of {ROUNDS} were killed before they were done"
    );
    let (schemas, roles, rows) = db.counts();
    assert_eq!(
        (schemas, roles),
        (rows, rows),
        "schemas and roles without a registry row, or the reverse"
    );
    for row in db.sql("SELECT tenant_id, schema_name, role_name FROM tenantctl.tenants WHERE tenant_id LIKE 'k%'") {
        assert_eq!(anatomy(&db, &row[1]), expected, "tenant {} is not whole", row[0]);
        // Its password is in the file that was written ahead of the server.
        let round = row[0].trim_start_matches('k').split('-').next().unwrap().to_owned();
        let text = std::fs::read_to_string(db.dir.join(format!("creds-{round}.csv"))).unwrap();
        let line = text
            .lines()
            .find(|l| l.contains(&row[2]))
            .unwrap_or_else(|| panic!("no password for {}", row[0]));
        let password = line.rsplit(',').next().unwrap();
        sql(
            &db.url_as(&row[2]).replace('@', &format!(":{password}@")),
            "SELECT count(*) FROM portfolios",
        )
        .unwrap();
    }
    // The next run is correct: all of them, with those that are there left alone.
    let ids: Vec<String> = (0..ROUNDS)
        .flat_map(|r| (0..3).map(move |i| format!("k{r}-{i}")))
        .collect();
    std::fs::write(db.dir.join("all.txt"), ids.join("\n")).unwrap();
    let run = db
        .run(&[
            "-o",
            "json",
            "provision",
            "--if-not-exists",
            "--tier",
            "professional",
            "--from-file",
            "all.txt",
        ])
        .success();
    let json = run.json();
    let statuses: Vec<_> = json["tenants"]
        .as_array()
        .unwrap()
        .iter()
        .map(|t| t["status"].as_str().unwrap())
        .collect();
    assert_eq!(statuses.len(), ids.len());
    assert_eq!(statuses.iter().filter(|s| **s == "exists").count(), rows - 4);
    let all = ids.len() + 4;
    assert_eq!(db.counts(), (all, all, all));
    crate::support::loud(&format!(
        "{killed} of {ROUNDS} runs killed; {} tenants whole, none in part",
        rows - 4
    ));
}

#[test]
fn ctrl_c_finishes_what_is_under_way_and_tells_its_passwords() {
    let db = Db::initialized();
    let ids: Vec<String> = (0..400).map(|i| format!("t{i}")).collect();
    std::fs::write(db.dir.join("ids"), ids.join("\n")).unwrap();
    let child = db
        .command(&["-o", "json", "provision", "--from-file", "ids", "--jobs", "2"])
        .command
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    wait_for("the first tenants", || {
        db.value("SELECT count(*) > 5 FROM tenantctl.tenants") == "t"
    });
    std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let told = json["tenants"].as_array().unwrap();
    assert!(told.len() < 400 && told.iter().all(|t| t["password"].is_string()));
    assert_eq!(json["failed"].as_array().unwrap().len(), 0);
    let (schemas, roles, rows) = db.counts();
    assert_eq!((schemas, roles, rows), (told.len(), told.len(), told.len()));
    assert!(String::from_utf8_lossy(&output.stderr).contains("not started"));
}
