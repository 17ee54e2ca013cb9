//! Restores that wait, are interrupted or fail half way.

use super::*;

#[test]
fn a_tenant_that_is_busy_is_waited_for_then_left_alone_or_disconnected_as_asked() {
    let scene = Scene::new("acme");
    let (db, s) = (&scene.db, &scene.tenant.schema);
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "provisioning:\n  lock_timeout_s: 1\n",
    )
    .unwrap();
    scene.backup();
    let before = scene.contents();
    let held = hold(&scene.url(), "BEGIN; SELECT count(*) FROM trades");
    scene
        .run(&["restore", "acme"])
        .exits(4)
        .says(&["is in use", "--disconnect", "SQLSTATE 55P03"]);
    scene.is_tidy();
    same(&scene.contents(), &before);
    // Tables of the tenant's are let go of one after the other by sessions that come back at once.
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let busy: Vec<_> = (0..3)
        .map(|_| {
            let (url, stop) = (scene.url(), std::sync::Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    let _ = sql(
                        &url,
                        "BEGIN; SELECT count(*) FROM positions; SELECT count(*) FROM portfolios; SELECT pg_sleep(30)",
                    );
                }
            })
        })
        .collect();
    wait_for("the applications", || {
        db.value(
            "SELECT count(*) >= 2 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()",
        ) == "t"
    });
    let json = scene.restore(&["--disconnect"]);
    assert!(json["sessions_ended"].as_i64().unwrap() >= 3, "{json}");
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    db.sql(&format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{}'",
        scene.tenant.role
    ));
    for thread in busy {
        thread.join().unwrap();
    }
    drop(held);
    same(&scene.contents(), &before);
    assert_eq!(
        db.value(&format!(
            "SELECT rolcanlogin FROM pg_roles WHERE rolname = '{}'",
            scene.tenant.role
        )),
        "t"
    );
    std::fs::remove_file(db.dir.join("tenant_templates.yaml")).unwrap();
    scene.is_sound();
    // What depends on the tenant from outside stands in the way.
    db.sql(&format!(
        "CREATE VIEW public.w_{} AS SELECT * FROM {s}.portfolios",
        db.name
    ));
    scene
        .run(&["restore", "acme"])
        .exits(4)
        .says(&["depend on it", "public.w_"]);
    // Another restore or backup, too.
    db.sql(&format!("DROP VIEW public.w_{}", db.name));
    let held = hold(
        &db.url,
        "BEGIN; SELECT FROM tenantctl.tenant_locks WHERE tenant_id = 'acme' FOR UPDATE",
    );
    scene
        .run(&["restore", "acme"])
        .exits(4)
        .says(&["another backup or restore"]);
    drop(held);
}

#[test]
fn interrupted_restores_harm_nothing_and_clear_up() {
    const ROUNDS: u32 = 6;
    let scene = Scene::new("acme");
    let (db, s) = (&scene.db, &scene.tenant.schema);
    // Rows that take a while.
    db.sql(&format!(
        "ALTER TABLE {s}.trades DISABLE TRIGGER USER; INSERT INTO {s}.trades (portfolio_id, symbol, side, quantity, price, executed_at)
         SELECT p.id, 'X', 'BUY', 1, 1, now() - n * interval '1 minute' FROM {s}.portfolios p, generate_series(1, 30000) n;
         ALTER TABLE {s}.trades ENABLE TRIGGER USER"
    ));
    scene.backup();
    let before = scene.contents();
    let started = std::time::Instant::now();
    scene.restore(&[]);
    let whole = started.elapsed();
    let mut stopped = 0;
    for round in 0..ROUNDS {
        // What is there now is not what is in the backup, so that a swap would show.
        db.sql(&format!("UPDATE {s}.portfolios SET description = 'round {round}'"));
        let now = scene.contents();
        let mut child = scene
            .command(&["restore", "acme"])
            .command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let share = (f64::from(round) * 0.618_034).fract() * 0.95;
        std::thread::sleep(Duration::from_secs_f64(whole.as_secs_f64() * share));
        if child.try_wait().unwrap().is_none() {
            stopped += 1;
            std::process::Command::new("kill")
                .args(["-INT", &child.id().to_string()])
                .status()
                .unwrap();
        }
        let output = child.wait_with_output().unwrap();
        wait_for("the client's backends to end", || {
            db.value("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantctl%'") == "0"
        });
        let after = scene.contents();
        assert!(
            after == now || after == before,
            "round {round}: neither what was there nor what was backed up"
        );
        match output.status.code() {
            // The signal came once it was done, which it says.
            Some(130) if !output.stdout.is_empty() => assert!(after == before, "round {round}: done, and not changed"),
            // None: it had not come to listen for signals yet.
            Some(130) | None => assert!(after == now, "round {round}: interrupted, and changed"),
            code => assert_eq!(code, Some(0), "{}", String::from_utf8_lossy(&output.stderr)),
        }
        scene.is_tidy();
        sql(&scene.url(), "SELECT count(*) FROM portfolios").unwrap();
    }
    assert!(stopped * 2 >= ROUNDS, "only {stopped} of {ROUNDS} were stopped");
    scene.restore(&[]);
    same(&scene.contents(), &before);
    scene.is_sound();
}

/// The server goes on with what a client has sent before it was killed, and whoever comes next must not take that for dead.
#[test]
fn what_a_killed_client_is_about_to_commit_is_not_dropped() {
    let scene = Scene::new("acme");
    let db = &scene.db;
    scene.backup();
    let before = scene.contents();
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "provisioning:\n  lock_timeout_s: 40\n  timeout_s: 50\n",
    )
    .unwrap();
    let waits = |what: &str| {
        wait_for("a session to wait", || {
            count(db, &format!("pg_locks WHERE NOT granted AND {what}")) == 1
        });
    };
    let spawn = |args: &[&str]| {
        let mut command = scene.command(args).command;
        command
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::piped());
        command.spawn().unwrap()
    };
    let kill_at_the_end = |args: &[&str], next: &[&str]| {
        // The last thing that the transaction writes.
        let held = hold(&db.url, "BEGIN; LOCK TABLE tenantctl.operations IN SHARE MODE");
        let mut first = spawn(args);
        waits("relation = 'tenantctl.operations'::regclass");
        first.kill().unwrap();
        first.wait().unwrap();
        let next = spawn(next);
        waits("locktype = 'transactionid'");
        drop(held);
        Run(next.wait_with_output().unwrap())
    };
    kill_at_the_end(&["restore", "acme"], &["backup", "acme"]).success();
    same(&scene.contents(), &before);
    scene.is_sound();
    kill_at_the_end(&["restore", "acme", "--undo"], &["restore", "acme", "--drop-replaced"])
        .exits(4)
        .says(&["what is kept of tenant acme has changed meanwhile"]);
    same(&scene.contents(), &before);
    scene.is_sound();
    kill_at_the_end(&["restore", "acme"], &["drop", "acme", "--yes"])
        .exits(4)
        .says(&["a restore of tenant acme came in between", "Nothing was dropped"]);
    same(&scene.contents(), &before);
    scene.is_sound();
    db.run(&["drop", "acme", "--yes"]).success();
    assert_eq!(count(db, "pg_namespace WHERE nspname ~ '^tenantctl_re'"), 0);
}

/// A sequence that was set back while the rows stayed would hand out keys that are taken.
#[test]
fn a_restore_of_tables_that_fails_leaves_their_sequences_alone() {
    let scene = Scene::new("acme");
    let (db, s) = (&scene.db, &scene.tenant.schema);
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "provisioning:\n  lock_timeout_s: 1\n",
    )
    .unwrap();
    db.sql(&format!(
        "SET ROLE tenantctl_owner; SET search_path = {s};
         CREATE TABLE odd (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, n int UNIQUE DEFERRABLE INITIALLY DEFERRED, parent int REFERENCES odd DEFERRABLE INITIALLY DEFERRED);
         INSERT INTO odd (n, parent) VALUES (1, 2), (2, 1)"
    ));
    scene.backup();
    let before = scene.contents();
    db.sql(&format!(
        "INSERT INTO {s}.odd (n, parent) VALUES (3, 1), (4, 2), (5, 3)"
    ));
    let now = scene.contents();
    // The last thing that the transaction writes.
    let held = hold(&db.url, "BEGIN; LOCK TABLE tenantctl.operations IN SHARE MODE");
    scene.run(&["restore", "acme", "--tables", "odd"]).exits(4);
    drop(held);
    same(&scene.contents(), &now);
    scene.is_tidy();
    scene.restore(&["--tables", "odd"]);
    same(&scene.contents(), &before);
    scene.restore(&["--undo"]);
    same(&scene.contents(), &now);
}
