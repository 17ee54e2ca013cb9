//! Backups that were damaged where they lie.

use super::*;

fn encrypted_to_itself(db: &Db) {
    let key = age::x25519::Identity::generate();
    std::fs::write(db.dir.join("key.txt"), format!("{}\n", key.to_string().expose_secret())).unwrap();
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        format!("backup: {{age_recipients: ['{}']}}\n", key.to_public()),
    )
    .unwrap();
}

/// What can become of an object.
fn damages(whole: &[u8]) -> [(&'static str, Option<Vec<u8>>); 3] {
    let mut flipped = whole.to_vec();
    flipped[whole.len() / 2] ^= 0x20;
    [
        ("one byte is flipped", Some(flipped)),
        ("it is cut short", Some(whole[..whole.len() - 1].to_vec())),
        ("it is gone", None),
    ]
}

/// Every kind of member damaged in every way is refused by all who read it, and nothing is changed.
fn damage_all(scene: &Scene) {
    let db = &scene.db;
    let id = scene.backup()["backup_id"].as_str().unwrap().to_owned();
    let folder = format!("tenants/acme/backups/{id}/");
    let encrypted = db.dir.join("key.txt").exists();
    let identity: &[&str] = if encrypted { &["--identity", "key.txt"] } else { &[] };
    let with_identity = |args: &[&'static str]| -> Vec<&str> { args.iter().chain(identity).copied().collect() };
    // Another database that has none of the tenants.
    let empty = Db::initialized();
    std::fs::copy(db.dir.join("key.txt"), empty.dir.join("key.txt")).ok();
    let from_store = || {
        let mut command = scene.command(&with_identity(&["restore", "--from-store", "acme"]));
        command.command.env("DATABASE_URL", &empty.url).current_dir(&empty.dir);
        command.finish()
    };
    let before = scene.contents();
    let verify = |id: &str| {
        let mut args = vec!["-o", "json", "backup", "verify", id];
        args.extend(identity);
        scene.run(&args)
    };
    let refused = |names: &[&str], what: &str, code: i32| {
        let run = scene.run(&with_identity(&["restore", "acme"]));
        let said = run.stderr();
        assert_eq!(run.0.status.code(), Some(code), "{what}: {said}");
        assert!(
            names.iter().any(|name| said.contains(name)),
            "{what}: none of {names:?} in {said}"
        );
        let run = verify(&id).exits(1);
        let finding = run.json()["findings"][0]["message"].as_str().unwrap().to_owned();
        assert!(
            names.iter().any(|name| finding.contains(name)),
            "{what}: none of {names:?} in {finding}"
        );
        assert_eq!(scene.count("tenantctl.restores"), 0, "{what}");
    };
    let all = scene.place.all();
    let name_of = |key: &String| key.strip_prefix(&folder).unwrap().to_owned();
    let members: Vec<String> = all.keys().map(name_of).collect();
    // Of the parts, those of two tables and two of one table: they are all alike.
    let trades: Vec<&String> = members.iter().filter(|m| m.starts_with("data/trades.")).collect();
    assert!(trades.len() > 1, "{members:?}");
    let mut tried = 0;
    for name in &members {
        if name.starts_with("data/") && name != trades[0] && name != trades[1] && !name.starts_with("data/portfolios.")
        {
            continue;
        }
        let key = format!("{folder}{name}");
        for (what, bytes) in damages(&all[&key]) {
            match &bytes {
                Some(bytes) => scene.place.write(&key, bytes),
                None => scene.place.remove(&key),
            }
            let what = format!("{name}: {what}");
            refused(&[name], &what, 5);
            if bytes.is_none() || tried % 4 == 0 {
                // Skipped like what nobody has finished, or refused.
                let run = from_store();
                let code = if bytes.is_none() && name == "manifest.json" {
                    4
                } else {
                    5
                };
                assert_eq!(run.0.status.code(), Some(code), "{what}: {}", run.stderr());
                assert!(code == 4 || run.stderr().contains(name), "{what}: {}", run.stderr());
            }
            tried += 1;
            scene.place.write(&key, &all[&key]);
        }
    }
    // Two parts of one table in each other's place.
    let keys = [trades[0], trades[1]].map(|name| format!("{folder}{name}"));
    scene.place.write(&keys[0], &all[&keys[1]]);
    scene.place.write(&keys[1], &all[&keys[0]]);
    refused(&[trades[0], trades[1]], "two parts swapped", 5);
    from_store().exits(5);
    scene.place.write(&keys[0], &all[&keys[0]]);
    scene.place.write(&keys[1], &all[&keys[1]]);
    let key = format!("{folder}manifest.json");
    let text = String::from_utf8(all[&key].clone()).unwrap();
    // Cut in its middle and to nothing; of a format to come; changed together with the sums.
    scene.place.write(&key, &text.as_bytes()[..text.len() / 2]);
    refused(&["manifest.json"], "half a manifest", 5);
    scene.place.write(&key, b"");
    refused(&["manifest.json"], "an empty manifest", 5);
    scene
        .place
        .write(&key, text.replacen("\"format\": 1", "\"format\": 99", 1).as_bytes());
    refused(&["format 99"], "a newer format", 4);
    let run = from_store();
    assert!(matches!(run.0.status.code(), Some(4 | 5)), "{}", run.stderr());
    assert!(run.stderr().contains("format 99"), "{}", run.stderr());
    let sums_key = format!("{folder}SHA256SUMS");
    let sums = String::from_utf8(all[&sums_key].clone()).unwrap();
    let sum = |text: &str| tenantctl::backup::manifest::sha256(text.as_bytes());
    let forged = text.replace("\"manual\"", "\"weekly\"");
    scene.place.write(&key, forged.as_bytes());
    scene
        .place
        .write(&sums_key, sums.replace(&sum(&text), &sum(&forged)).as_bytes());
    refused(&["manifest.json"], "changed with its sums", 5);
    scene.place.write(&key, text.as_bytes());
    scene.place.write(&sums_key, sums.as_bytes());

    same(&scene.contents(), &before);
    scene.tenant_is_sound();
    scene.database_is_tidy();
    assert_eq!(empty.counts(), (0, 0, 0));
    assert_eq!(
        empty.value("SELECT count(*) FROM pg_namespace WHERE nspname ~ '^tenantctl_'"),
        "0"
    );
    // Put right again, it is as good as before.
    verify(&id).success();
    scene.run(&with_identity(&["restore", "acme"])).success();
    same(&scene.contents(), &before);
    let run = from_store().success();
    let schema = empty.value("SELECT schema_name FROM tenantctl.tenants WHERE tenant_id = 'acme'");
    same(&contents(&empty, &schema), &before);
    drop(run);
    loud(&format!("{tried} damages of {} members refused", members.len()));
}

#[test]
fn damage_in_a_folder_is_refused() {
    damage_all(&Scene::in_folder().with_rows());
}

#[test]
fn damage_in_an_encrypted_folder_is_refused() {
    let scene = Scene::in_folder().with_rows();
    encrypted_to_itself(&scene.db);
    damage_all(&scene);
}

#[test]
fn damage_in_a_bucket_is_refused() {
    damage_all(&Scene::in_bucket().with_rows());
}

#[test]
fn damage_in_an_encrypted_bucket_is_refused() {
    let scene = Scene::in_bucket().with_rows();
    encrypted_to_itself(&scene.db);
    damage_all(&scene);
}

#[test]
fn a_backup_that_was_found_damaged_counts_no_more_until_it_is_whole_again() {
    let scene = Scene::in_folder().with_rows();
    let first = scene.backup()["backup_id"].as_str().unwrap().to_owned();
    let second = scene.backup()["backup_id"].as_str().unwrap().to_owned();
    let key = format!("tenants/acme/backups/{second}/SHA256SUMS");
    let whole = scene.place.all()[&key].clone();
    let statuses = || -> Vec<(String, bool)> {
        let json = scene.run(&["-o", "json", "backup", "list"]).success().json();
        let rows = json["backups"].as_array().unwrap();
        rows.iter()
            .map(|b| (b["backup_id"].as_str().unwrap().to_owned(), !b["damaged_at"].is_null()))
            .collect()
    };
    let restored_from = || {
        let json = scene.run(&["-o", "json", "restore", "acme"]).success().json();
        json["backup_id"].as_str().unwrap().to_owned()
    };
    // A store that cannot be read says nothing of the backups in it.
    let away = scene.db.dir.join("away");
    std::fs::rename(scene.db.dir.join("store"), &away).unwrap();
    std::fs::write(scene.db.dir.join("store"), "").unwrap();
    assert_ne!(scene.run(&["backup", "verify", "--all"]).0.status.code(), Some(0));
    assert_eq!(statuses(), [(second.clone(), false), (first.clone(), false)]);
    std::fs::remove_file(scene.db.dir.join("store")).unwrap();
    std::fs::rename(&away, scene.db.dir.join("store")).unwrap();

    scene.place.remove(&key);
    scene.run(&["backup", "verify", "--all"]).exits(1);
    assert_eq!(statuses(), [(second.clone(), true), (first.clone(), false)]);
    assert!(scene.run(&["backup", "list"]).success().stdout().contains("damaged"));
    assert_eq!(restored_from(), first);
    // Its age is that of the last good one, and an expired good one stays while the newer is damaged.
    let metrics = scene.run(&["-o", "json", "metrics", "acme", "--no-business"]).json();
    assert_eq!(metrics["backup"]["backup_id"], first, "{metrics}");
    scene
        .db
        .sql("UPDATE tenantctl.backups SET expires_at = now() - interval '1 day'");
    let pruned = scene.run(&["-o", "json", "backup", "prune", "--yes"]);
    assert!(
        scene.place.all().keys().any(|key| key.contains(&first)),
        "{}",
        pruned.stdout()
    );

    scene.place.write(&key, &whole);
    scene.run(&["backup", "verify", &second]).success();
    assert_eq!(statuses()[0], (second.clone(), false));
    assert_eq!(restored_from(), second);
}
