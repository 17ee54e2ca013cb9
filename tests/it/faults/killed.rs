//! Runs that are killed at spread moments.

use super::*;

/// Moments spread over a run by the golden ratio: even, and in no order.
fn share(round: usize) -> f64 {
    (round as f64 * 0.618_034).fract()
}

/// Starts a command and kills it after a share of the time that a whole run takes; says whether it was still running. As the
/// machine is now more and now less busy with other tests, `whole` follows what is seen.
fn killed(command: Cmd, whole: &mut Duration, round: usize) -> bool {
    let started = Instant::now();
    let share = share(round) * 1.1;
    let mut child = spawn(command);
    while started.elapsed() < whole.mul_f64(share) {
        if child.try_wait().unwrap().is_some() {
            *whole = started.elapsed();
            return false;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    if share > 1.0 {
        *whole = whole.mul_f64(1.2);
    }
    true
}

/// The time of an undisturbed run, the shorter of two.
fn measured(mut run: impl FnMut()) -> Duration {
    let times = [(); 2].map(|()| {
        let started = Instant::now();
        run();
        started.elapsed()
    });
    times[0].min(times[1])
}

fn kill_backups(scene: &Scene, rounds: usize) {
    let before = scene.contents();
    let mut whole = measured(|| {
        scene.backup();
    });
    let mut verified = BTreeSet::new();
    let mut stopped = 0;
    for round in 0..rounds {
        stopped += usize::from(killed(
            scene.command(&["backup", "acme", "--jobs", "2"]),
            &mut whole,
            round,
        ));
        let (good, stored) = scene.listed();
        assert!(
            good.is_subset(&stored),
            "round {round}: {good:?} are good, {stored:?} are there"
        );
        for id in &stored {
            if verified.insert(id.clone()) {
                scene.verifies(id);
            }
        }
    }
    assert!(stopped * 2 > rounds, "only {stopped} of {rounds} were killed");
    scene.alone();
    let last = scene.backup();
    if let Place::Bucket(_) = &scene.place {
        // A service may still have carried out what it had in full when its client died, after the next run had cleared up
        // behind that one; prune knows whose it is.
        scene.command(&["backup", "prune", "--yes"]).finish().success();
    }
    scene.store_is_tidy();
    scene.verifies(last["backup_id"].as_str().unwrap());
    let (good, stored) = scene.listed();
    assert_eq!(good, stored);
    same(&scene.contents(), &before);
    scene.database_is_tidy();
    scene.tenant_is_sound();
    loud(&format!("{stopped} of {rounds} backups killed, {} whole", good.len()));
}

#[test]
fn killed_backups_into_a_folder_leave_nothing_that_counts() {
    kill_backups(&Scene::in_folder().with_rows(), 25);
}

#[test]
fn killed_backups_into_a_bucket_leave_nothing_that_counts() {
    // Large enough that there are uploads in parts to be left open.
    let scene = Scene::in_bucket().with_rows().with_bulk(1, 9);
    kill_backups(&scene, 25);
}

/// Kills restores; `expected` says from what is there and what was backed up what a restore that was done has made.
fn kill_restores(
    scene: &Scene,
    args: &[&str],
    rounds: usize,
    expected: impl Fn(&BTreeMap<String, String>, &BTreeMap<String, String>) -> BTreeMap<String, String>,
) {
    let s = &scene.tenant.schema;
    scene.backup();
    let backed_up = scene.contents();
    let makes_another = args.contains(&"--as");
    let another = || scene.count("tenantctl.tenants WHERE tenant_id = 'copy'") == 1;
    // What a restore with --as has made is dropped, so that the same command can be run again.
    let make_room = |passwords: &str| {
        let made = another();
        if made {
            is_whole_copy(scene, &backed_up, passwords);
            scene.run(&["drop", "copy", "--yes"]).success();
        }
        made
    };
    let mut whole = measured(|| {
        let file = unique("passwords");
        let mut all = args.to_vec();
        all.extend(["--credentials-file", &file]);
        scene.run(if makes_another { &all } else { args }).success();
        make_room(&file);
    });
    let (mut stopped, mut done) = (0, 0);
    for round in 0..rounds {
        scene.db.sql(&format!(
            "UPDATE {s}.portfolios SET description = 'round {round}'; UPDATE {s}.trades SET price = {round} + 2 WHERE symbol = 'S1'"
        ));
        let now = scene.contents();
        let file = unique("passwords");
        let mut all = args.to_vec();
        if makes_another {
            all.extend(["--credentials-file", &file]);
        }
        stopped += usize::from(killed(scene.command(&all), &mut whole, round));
        scene.alone();
        let (after, wanted) = (scene.contents(), expected(&now, &backed_up));
        if after != now {
            same(&after, &wanted);
            done += 1;
        }
        scene.tenant_is_sound();
        done += usize::from(make_room(&file));
    }
    assert!(stopped * 2 > rounds, "only {stopped} of {rounds} were killed");
    let now = scene.contents();
    scene.run(args).success();
    same(&scene.contents(), &expected(&now, &backed_up));
    scene.database_is_tidy();
    sound(&scene.db, "acme");
    if makes_another {
        sound(&scene.db, "copy");
    }
    let (tenants, extra) = (scene.count("tenantctl.tenants"), i64::from(makes_another));
    assert_eq!(tenants, 1 + extra);
    let roles = scene.db.counts().1 as i64;
    assert_eq!((roles, scene.db.counts().0 as i64), (tenants, tenants));
    loud(&format!(
        "{stopped} of {rounds} of {args:?} killed, {done} had restored"
    ));
}

/// The copy has what was backed up, and its password was written down before the server got it.
fn is_whole_copy(scene: &Scene, backed_up: &BTreeMap<String, String>, passwords: &str) {
    let db = &scene.db;
    let row = db
        .sql("SELECT schema_name, role_name FROM tenantctl.tenants WHERE tenant_id = 'copy'")
        .remove(0);
    same(&contents(db, &row[0]), backed_up);
    let text = std::fs::read_to_string(db.dir.join(passwords)).unwrap();
    let line = text.lines().find(|line| line.contains(&row[1])).unwrap();
    let password = line.rsplit(',').next().unwrap();
    sql(
        &db.url_as(&row[1]).replace('@', &format!(":{password}@")),
        "SELECT count(*) FROM portfolios",
    )
    .unwrap();
}

#[test]
fn killed_restores_leave_the_old_tenant_or_the_restored_one() {
    let scene = Scene::in_folder().with_rows();
    kill_restores(&scene, &["restore", "acme"], 20, |_, backed_up| backed_up.clone());
}

#[test]
fn killed_restores_from_a_bucket_make_a_whole_copy_or_none() {
    let scene = Scene::in_bucket().with_rows();
    kill_restores(&scene, &["restore", "acme", "--as", "copy"], 15, |now, _| now.clone());
}

#[test]
fn killed_restores_of_tables_leave_old_rows_or_restored_ones() {
    let scene = Scene::in_folder().with_rows();
    kill_restores(
        &scene,
        &["restore", "acme", "--tables", "trades"],
        15,
        |now, backed_up| {
            let mut wanted = now.clone();
            wanted.insert("trades".to_owned(), backed_up["trades"].clone());
            wanted
        },
    );
}

/// The server finishes what it was told although who told it is dead: a tenant that is just being made of a copy is no leftover.
#[test]
fn a_copy_that_a_killed_restore_is_about_to_commit_is_not_cleared_away() {
    let scene = Scene::in_folder().with_rows();
    let db = &scene.db;
    // The first one must still wait when the second has come so far, however busy the machine is.
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "provisioning: {timeout_s: 300, lock_timeout_s: 120}\n",
    )
    .unwrap();
    scene.backup();
    let before = scene.contents();
    let waiting = |n: i64| {
        wait_for("sessions that wait", || {
            scene.count("pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()") >= n
        });
    };
    // The last thing that the transaction writes.
    let held = hold(&db.url, "BEGIN; LOCK TABLE tenantctl.operations IN SHARE MODE");
    let mut first = spawn(scene.command(&["restore", "acme", "--as", "copy"]));
    waiting(1);
    first.kill().unwrap();
    first.wait().unwrap();
    let next = spawn(scene.command(&["restore", "acme", "--as", "copy"]));
    waiting(2);
    drop(held);
    Run(next.wait_with_output().unwrap())
        .exits(4)
        .says(&["copy already exists"]);
    let schema = db.value("SELECT schema_name FROM tenantctl.tenants WHERE tenant_id = 'copy'");
    same(&contents(db, &schema), &before);
    same(&scene.contents(), &before);
    scene.database_is_tidy();
    sound(db, "copy");
}
