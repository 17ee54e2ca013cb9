//! What goes wrong on the way: a service that fails, connections that break, clients that are killed at any moment, bytes that
//! are not those that were written. Whatever it is, what counts as a backup is whole, and the tenant is what it was or what it
//! was to become.

mod damage;
mod killed;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use age::secrecy::ExposeSecret;
use serde_json::Value;

use crate::restore::{contents, same, sound};
use crate::support::s3::{Action, Fault, S3Server, Written};
use crate::support::{Cmd, Db, Made, Run, hold, loud, sql, unique, wait_for};

const MIB: usize = 1 << 20;
/// The prefix of the store in the bucket.
const PREFIX: &str = "some/prefix";

/// Where the backups of a test lie.
enum Place {
    Folder(PathBuf),
    Bucket(S3Server),
}

impl Place {
    fn url(&self) -> String {
        match self {
            Self::Folder(path) => format!("file://{}", path.display()),
            Self::Bucket(server) => server.url(PREFIX),
        }
    }

    fn server(&self) -> &S3Server {
        match self {
            Self::Folder(_) => panic!("a folder has no server"),
            Self::Bucket(server) => server,
        }
    }

    /// All that there is, by key: temporary files too.
    fn all(&self) -> BTreeMap<String, Vec<u8>> {
        fn walk(dir: &std::path::Path, key: &str, found: &mut BTreeMap<String, Vec<u8>>) {
            let Ok(entries) = std::fs::read_dir(dir) else { return };
            for entry in entries.flatten() {
                let key = format!("{key}{}", entry.file_name().to_str().unwrap());
                if entry.path().is_dir() {
                    walk(&entry.path(), &format!("{key}/"), found);
                } else {
                    found.insert(key, std::fs::read(entry.path()).unwrap());
                }
            }
        }
        match self {
            Self::Folder(path) => {
                let mut found = BTreeMap::new();
                walk(path, "", &mut found);
                found
            }
            Self::Bucket(server) => {
                let objects = server.objects().into_iter();
                objects
                    .map(|(key, bytes)| match key.strip_prefix(&format!("{PREFIX}/")) {
                        Some(key) => (key.to_owned(), bytes),
                        None => (format!("beside the store: {key}"), bytes),
                    })
                    .collect()
            }
        }
    }

    fn write(&self, key: &str, bytes: &[u8]) {
        match self {
            Self::Folder(path) => std::fs::write(path.join(key), bytes).unwrap(),
            Self::Bucket(server) => server.overwrite(&format!("{PREFIX}/{key}"), bytes),
        }
    }

    fn remove(&self, key: &str) {
        match self {
            Self::Folder(path) => std::fs::remove_file(path.join(key)).unwrap(),
            Self::Bucket(server) => server.remove(&format!("{PREFIX}/{key}")),
        }
    }
}

/// A tenant with rows, and a store.
struct Scene {
    db: Db,
    tenant: Made,
    place: Place,
    /// Of a part of a backup.
    part_bytes: usize,
}

impl Scene {
    fn new(place: impl FnOnce(&Db) -> Place) -> Self {
        let db = Db::initialized();
        let tenant = db.provision(&["acme", "--tier", "enterprise"]).remove(0);
        let place = place(&db);
        Self {
            db,
            tenant,
            place,
            part_bytes: 60_000,
        }
    }

    fn in_folder() -> Self {
        Self::new(|db| Place::Folder(db.dir.join("store")))
    }

    fn in_bucket() -> Self {
        Self::new(|_| Place::Bucket(S3Server::start()))
    }

    /// Some thousand rows in several tables that refer to each other.
    fn with_rows(self) -> Self {
        sql(
            &self.tenant.url(&self.db),
            "INSERT INTO portfolios (user_id, name) SELECT gen_random_uuid(), 'p' || n FROM generate_series(1, 5) n;
             INSERT INTO trades (portfolio_id, symbol, side, quantity, price, executed_at)
             SELECT p.id, 'S' || n % 7, 'BUY', n, 1, now() - n * interval '1 minute' FROM portfolios p, generate_series(1, 500) n;
             INSERT INTO market_data (symbol, timestamp, open, high, low, close, volume)
             SELECT 'A', now() - n * interval '1 minute', 1, 1, 1, 1, n FROM generate_series(1, 3000) n",
        )
        .unwrap();
        self
    }

    /// Rows that do not compress, in parts of so many MiB each.
    fn with_bulk(mut self, parts: usize, mib: usize) -> Self {
        // What a table takes is more than what is in it.
        self.part_bytes = mib * MIB * 5 / 4;
        // Four MiB of noise over and over: farther apart than the compressor looks back.
        self.db.sql(&format!(
            "SET ROLE tenantctl_owner; SET search_path = {};
             CREATE TABLE bulk (id int, noise bytea);
             ALTER TABLE bulk ALTER COLUMN noise SET STORAGE EXTERNAL;
             INSERT INTO bulk SELECT n, substr(noise, 1 + 16384 * (n % 256), 16384)
             FROM (SELECT decode(string_agg(md5(random()::text), ''), 'hex') AS noise FROM generate_series(1, 262144)) x,
                 generate_series(1, {}) n",
            self.tenant.schema,
            parts * mib * 64
        ));
        self
    }

    fn command(&self, args: &[&str]) -> Cmd {
        let mut command = self
            .db
            .command(args)
            .env("TENANTCTL_STORE", &self.place.url())
            .env("TENANTCTL_TEST_PART_BYTES", &self.part_bytes.to_string());
        if let Place::Bucket(server) = &self.place {
            for (name, value) in server.environment() {
                command = command.env(name, &value);
            }
        }
        command
    }

    fn run(&self, args: &[&str]) -> Run {
        self.command(args).finish()
    }

    /// With few attempts, for what does not get better.
    fn impatient(&self, args: &[&str]) -> Run {
        self.command(args).env("AWS_MAX_ATTEMPTS", "2").finish()
    }

    /// Backs the tenant up; returns what is told of it.
    fn backup(&self) -> Value {
        let json = self.run(&["-o", "json", "backup", "acme"]).success().json();
        json["backups"][0].clone()
    }

    fn contents(&self) -> BTreeMap<String, String> {
        contents(&self.db, &self.tenant.schema)
    }

    fn count(&self, what: &str) -> i64 {
        self.db.value(&format!("SELECT count(*) FROM {what}")).parse().unwrap()
    }

    /// The ids of the backups that the registry counts as good, and of those that the store lists.
    fn listed(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        let ids = |json: &Value, good: bool| {
            let backups = json["backups"].as_array().unwrap().iter();
            let wanted = backups.filter(|b| !good || b["status"] == "done");
            wanted.map(|b| b["backup_id"].as_str().unwrap().to_owned()).collect()
        };
        let registry = self.run(&["-o", "json", "backup", "list"]).success().json();
        let store = self
            .run(&["-o", "json", "backup", "list", "--store", &self.place.url()])
            .success()
            .json();
        (ids(&registry, true), ids(&store, false))
    }

    #[track_caller]
    fn verifies(&self, id: &str) {
        self.run(&["backup", "verify", id]).success();
    }

    /// Objects all belong to backups that are done; nothing is being uploaded, no row is left open.
    #[track_caller]
    fn store_is_tidy(&self) {
        let done: BTreeSet<String> = self
            .db
            .sql("SELECT key FROM tenantctl.backups WHERE status = 'done'")
            .into_iter()
            .map(|mut row| row.remove(0))
            .collect();
        for key in self.place.all().keys() {
            assert!(done.iter().any(|prefix| key.starts_with(prefix)), "{key} is left");
        }
        if let Place::Bucket(server) = &self.place {
            assert_eq!(server.open_uploads(), Vec::<String>::new());
        }
        assert_eq!(self.count("tenantctl.backups WHERE status = 'running'"), 0);
        self.is_unlocked();
    }

    #[track_caller]
    fn is_unlocked(&self) {
        self.db
            .sql("BEGIN; SELECT FROM tenantctl.tenant_locks FOR UPDATE NOWAIT; ROLLBACK");
    }

    /// The only schemas of restores are those that the registry says are kept.
    #[track_caller]
    fn database_is_tidy(&self) {
        let left = self.db.sql(
            "SELECT nspname FROM pg_namespace WHERE nspname ~ '^tenantctl_' AND nspname NOT IN
                 (SELECT replaced_schema FROM tenantctl.restores WHERE replaced_schema IS NOT NULL)
             UNION ALL SELECT staging_schema FROM tenantctl.restores WHERE staging_schema IS NOT NULL
             UNION ALL SELECT restore_id::text FROM tenantctl.restores WHERE status = 'running'",
        );
        assert!(left.is_empty(), "{left:?}");
        self.is_unlocked();
    }

    /// The tenant can log in, and nothing is to be said of it.
    #[track_caller]
    fn tenant_is_sound(&self) {
        sql(&self.tenant.url(&self.db), "SELECT count(*) FROM portfolios").unwrap();
        let json = self.run(&["-o", "json", "validate", "acme"]).json();
        let findings = json["findings"].as_array().unwrap().iter();
        // The template has no table of that name, for which all comes back as pg_dump prints it.
        let bulk = self.count(&format!(
            "pg_class WHERE oid = to_regclass('{}.bulk')",
            self.tenant.schema
        )) == 1;
        let known =
            |f: &Value| bulk && (f["check"] == "drift_expressions" || f["object"].as_str().unwrap().ends_with(".bulk"));
        let ours: Vec<_> = findings.filter(|f| f["tenant_id"] == "acme" && !known(f)).collect();
        assert!(ours.is_empty(), "{ours:#?}");
    }

    /// Waits until no session of a client is left.
    fn alone(&self) {
        wait_for("the client's backends to end", || {
            self.count("pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'tenantctl%'")
                == 0
        });
    }
}

/// Runs a command and returns the most memory that its process has had, in KiB.
fn peak(command: Cmd) -> (Run, u64) {
    let child = spawn(command);
    let status = format!("/proc/{}/status", child.id());
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut most = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                let text = std::fs::read_to_string(&status).unwrap_or_default();
                let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
                most = most.max(kib.unwrap_or(0));
                std::thread::sleep(Duration::from_millis(3));
            }
            most
        });
        let output = child.wait_with_output().unwrap();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        (Run(output), sampler.join().unwrap())
    })
}

fn spawn(mut command: Cmd) -> Child {
    command
        .command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[test]
fn a_bucket_takes_backups_and_gives_them_back() {
    let scene = Scene::in_bucket().with_rows().with_bulk(2, 36);
    let (db, server) = (&scene.db, scene.place.server());
    let before = scene.contents();
    let (run, backing_up) = peak(scene.command(&["-o", "json", "backup", "acme", "--type", "weekly"]));
    let done = run.success().json()["backups"][0].clone();
    let (id, key) = (done["backup_id"].as_str().unwrap(), done["key"].as_str().unwrap());
    assert!(server.requests(&["PUT", "bulk", "partNumber="]) >= 8);
    assert!(done["stored_bytes"].as_u64().unwrap() > 72 * MIB as u64, "{done}");
    let of = |name: &str, value: &Value| (name.to_owned(), value.as_str().unwrap().to_owned());
    let manifest: Value = serde_json::from_slice(&scene.place.all()[&format!("{key}manifest.json")]).unwrap();
    let metadata = BTreeMap::from([
        of("tenant_id", &done["tenant_id"]),
        of("schema_name", &done["schema_name"]),
        of("backup_type", &done["backup_type"]),
        of("backup_date", &manifest["created_at"]),
    ]);
    assert_eq!(metadata["backup_type"], "weekly");
    for name in [
        "manifest.json",
        "SHA256SUMS",
        "load.sql",
        "data/bulk.1.zst",
        "pre-data.sql.zst",
    ] {
        let wanted = Written {
            storage_class: Some("STANDARD_IA".to_owned()),
            encryption: Some("AES256".to_owned()),
            metadata: metadata.clone(),
        };
        assert_eq!(server.written(&format!("{PREFIX}/{key}{name}")), wanted, "{name}");
    }
    let ids = BTreeSet::from([id.to_owned()]);
    assert_eq!(scene.listed(), (ids.clone(), ids));
    scene.verifies(id);
    db.sql(&format!(
        "TRUNCATE {0}.bulk, {0}.portfolios CASCADE",
        scene.tenant.schema
    ));
    let (run, restoring) = peak(scene.command(&["restore", "acme"]));
    run.success();
    same(&scene.contents(), &before);
    scene.database_is_tidy();
    for (doing, kib) in [("backup", backing_up), ("restore", restoring)] {
        assert!(kib > 1000 && kib < 150_000, "{doing} took {kib} KiB");
    }
    loud(&format!(
        "at most {backing_up} KiB for the backup, {restoring} KiB for the restore"
    ));
    // Small again, for what follows.
    db.sql(&format!("TRUNCATE {}.bulk", scene.tenant.schema));
    // A service without classes and encryption.
    server.refuse_policies();
    scene
        .impatient(&["backup", "acme"])
        .exits(5)
        .says(&["backup.storage_class: \"\"", "backup.server_side_encryption: \"\""]);
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "backup: {storage_class: '', server_side_encryption: ''}\n",
    )
    .unwrap();
    let plain = scene.backup();
    let written = server.written(&format!("{PREFIX}/{}manifest.json", plain["key"].as_str().unwrap()));
    assert_eq!((written.storage_class, written.encryption), (None, None));
    assert_eq!(written.metadata["backup_type"], "manual");
    scene.store_is_tidy();
    // Pruned once it is over: the older one, all of it.
    expire(&scene, &done);
    expire(&scene, &plain);
    let told = scene.run(&["-o", "json", "backup", "prune"]).success().json();
    assert_eq!(told["removals"][0]["backup_id"], id, "{told}");
    assert_eq!(told["removals"].as_array().unwrap().len(), 1);
    let before = scene.place.all().len();
    scene.run(&["backup", "prune", "--yes"]).success();
    let left = scene.place.all();
    assert!(
        left.len() < before && left.keys().all(|k| !k.starts_with(key)),
        "{left:?}"
    );
    scene.verifies(plain["backup_id"].as_str().unwrap());
    scene.store_is_tidy();
}

/// Makes a backup look as if its time were over: in its manifest, its sums and its row.
fn expire(scene: &Scene, done: &Value) {
    let text = |name: &str| {
        let key = format!("{}{name}", done["key"].as_str().unwrap());
        (String::from_utf8(scene.place.all()[&key].clone()).unwrap(), key)
    };
    let ((manifest, manifest_key), (sums, sums_key)) = (text("manifest.json"), text("SHA256SUMS"));
    let sum = |text: &str| tenantctl::backup::manifest::sha256(text.as_bytes());
    let over = manifest.replace(done["expires_at"].as_str().unwrap(), "2020-01-01T00:00:00.000Z");
    scene.place.write(&manifest_key, over.as_bytes());
    scene
        .place
        .write(&sums_key, sums.replace(&sum(&manifest), &sum(&over)).as_bytes());
    scene.db.sql(&format!(
        "UPDATE tenantctl.backups SET expires_at = '2020-01-01', manifest_sha256 = '{}' WHERE backup_id = '{}'",
        sum(&over),
        done["backup_id"].as_str().unwrap()
    ));
}

#[test]
fn a_backup_survives_what_passes_and_leaves_nothing_of_what_does_not() {
    let scene = Scene::in_bucket().with_rows().with_bulk(1, 20);
    let server = scene.place.server();
    let whole = scene.backup();
    let good = scene.place.all();
    // What passes: in the middle of a part, in an answer, and failures that end.
    for fault in [
        Fault::once("PUT", "partNumber=1", Action::CutRequest(3 * MIB)),
        Fault::once("PUT", "partNumber=2", Action::Answer(500, "InternalError")).times(2),
        Fault::once("PUT", "data/trades", Action::Answer(503, "SlowDown")).times(2),
        Fault::once("POST", "?uploads", Action::Answer(503, "SlowDown")),
        Fault::once("POST", "uploadId=", Action::LoseAnswer),
        Fault::once("PUT", "SHA256SUMS", Action::CutRequest(10)),
        Fault::once("PUT", "manifest.json", Action::LoseAnswer),
    ] {
        server.fault(fault);
    }
    let done = scene.backup();
    assert!(server.faults_done(), "a fault did not come to pass");
    scene.verifies(done["backup_id"].as_str().unwrap());
    scene.store_is_tidy();
    // Gone and back within the time that requests are tried for.
    let child = spawn(scene.command(&["-o", "json", "backup", "acme"]));
    let parts = server.requests(&["PUT", "partNumber="]);
    wait_for("the first part", || server.requests(&["PUT", "partNumber="]) > parts);
    server.kill();
    std::thread::sleep(Duration::from_millis(500));
    server.resume();
    let run = Run(child.wait_with_output().unwrap()).success();
    scene.verifies(run.json()["backups"][0]["backup_id"].as_str().unwrap());
    scene.store_is_tidy();
    let (good_ids, good_objects) = (scene.listed(), scene.place.all().len());
    // What does not pass, at each kind of request.
    for (n, (method, holds, code)) in [
        ("POST", "?uploads", 500),
        ("PUT", "partNumber=2", 503),
        ("POST", "uploadId=", 500),
        ("PUT", "data/trades", 503),
        ("PUT", "pre-data", 500),
        ("PUT", "load.sql", 500),
        ("PUT", "SHA256SUMS", 503),
        ("PUT", "manifest.json", 500),
    ]
    .into_iter()
    .enumerate()
    {
        let name = if code == 500 { "InternalError" } else { "SlowDown" };
        server.fault(Fault::once(method, holds, Action::Answer(code, name)).times(1000));
        let run = scene.impatient(&["-o", "json", "backup", "acme"]).exits(5);
        server.no_more_faults();
        assert_eq!(run.json()["failed"][0]["error_type"], "store", "{holds}");
        assert!(run.stderr().contains("s3://backups/"), "{}", run.stderr());
        assert_eq!(scene.listed(), good_ids, "{holds}");
        assert_eq!(scene.place.all().len(), good_objects, "{holds}");
        assert_eq!(
            scene.count("tenantctl.backups WHERE status = 'failed' AND error_id IS NOT NULL"),
            n as i64 + 1
        );
        scene.store_is_tidy();
    }
    // Everything fails, taking back too: the row stays open, and is cleared up by whoever comes when the service is back.
    for part in ["partNumber=2", "manifest.json"] {
        let child = spawn(
            scene
                .command(&["-o", "json", "backup", "acme"])
                .env("AWS_MAX_ATTEMPTS", "2"),
        );
        let seen = server.requests(&["PUT", part]);
        server.fault(Fault::once("PUT", part, Action::Delay(Duration::from_secs(30))));
        wait_for("the request", || server.requests(&["PUT", part]) > seen);
        server.kill();
        let run = Run(child.wait_with_output().unwrap()).exits(5);
        assert!(run.stderr().contains("was not reached"), "{}", run.stderr());
        scene
            .impatient(&["backup", "acme"])
            .exits(5)
            .says(&["AWS_ENDPOINT_URL"]);
        server.no_more_faults();
        server.resume();
        assert_eq!(scene.listed(), good_ids, "{part}");
        assert_eq!(scene.count("tenantctl.backups WHERE status = 'running'"), 1);
    }
    let last = scene.backup();
    scene.store_is_tidy();
    scene.verifies(last["backup_id"].as_str().unwrap());
    // Nobody has touched what was there before.
    let now = scene.place.all();
    assert!(good.iter().all(|(key, bytes)| now.get(key) == Some(bytes)));
    scene.verifies(whole["backup_id"].as_str().unwrap());
    scene.tenant_is_sound();
}

#[test]
fn wrong_credentials_and_missing_buckets_are_said_by_every_command() {
    let scene = Scene::in_bucket();
    let (id, url) = (
        scene.backup()["backup_id"].as_str().unwrap().to_owned(),
        scene.place.url(),
    );
    let (rows, objects) = (scene.count("tenantctl.backups"), scene.place.all());
    let nowhere = "s3://no-such-bucket/p";
    for args in [
        &["backup", "acme"][..],
        &["backup", "list", "--store", &url],
        &["backup", "prune", "--yes"],
        &["restore", "acme"],
        &["restore", "acme", "--backup", &id, "--as", "copy"],
        &["restore", "--from-store", "acme"],
    ] {
        for (name, value) in [
            ("AWS_SECRET_ACCESS_KEY", "sesame"),
            ("AWS_ACCESS_KEY_ID", "AKIAUNKNOWN"),
        ] {
            let run = scene
                .command(args)
                .env("AWS_MAX_ATTEMPTS", "2")
                .env(name, value)
                .finish();
            let run = run.exits(5).says(&["does not accept the credentials"]);
            assert!(!run.stderr().contains("sesame"), "{}", run.stderr());
        }
        let mut elsewhere: Vec<&str> = args
            .iter()
            .copied()
            .filter(|arg| *arg != url && *arg != "--store")
            .collect();
        elsewhere.extend(["--store", nowhere]);
        let run = scene.impatient(&elsewhere).exits(5);
        assert!(
            run.stderr().contains("Make the bucket no-such-bucket"),
            "{args:?}: {}",
            run.stderr()
        );
    }
    assert_eq!(scene.count("tenantctl.backups"), rows);
    assert_eq!(scene.count("tenantctl.restores"), 0);
    assert!(scene.place.all() == objects);
}

#[test]
fn a_restore_survives_what_passes_and_changes_nothing_when_it_does_not() {
    let scene = Scene::in_bucket().with_rows().with_bulk(1, 8);
    let server = scene.place.server();
    scene.backup();
    let backed_up = scene.contents();
    let change = |n: usize| {
        scene.db.sql(&format!(
            "UPDATE {}.portfolios SET description = 'change {n}'",
            scene.tenant.schema
        ));
        scene.contents()
    };
    change(0);
    for fault in [
        Fault::once("GET", "data/bulk", Action::CutResponse(3 * MIB)),
        Fault::once("GET", "data/bulk", Action::Answer(500, "InternalError")).times(2),
        Fault::once("GET", "data/bulk", Action::CutResponse(5 * MIB)).after(1),
        Fault::once("GET", "data/trades", Action::Answer(503, "SlowDown")).times(2),
        Fault::once("GET", "manifest.json", Action::CutResponse(100)),
    ] {
        server.fault(fault);
    }
    scene.run(&["restore", "acme"]).success();
    assert!(server.faults_done(), "a fault did not come to pass");
    same(&scene.contents(), &backed_up);
    scene.database_is_tidy();
    // When it is checked, and when it is loaded after that: each member is read twice.
    let failed = || scene.count("tenantctl.restores WHERE status = 'failed'");
    for (n, (holds, after)) in [
        ("manifest.json", 0),
        ("SHA256SUMS", 0),
        ("data/bulk", 0),
        ("pre-data", 1),
        ("data/bulk", 1),
        ("data/trades", 1),
    ]
    .into_iter()
    .enumerate()
    {
        let now = change(n + 1);
        let (rows, begun) = (failed(), holds.starts_with("data") && after > 0);
        server.fault(
            Fault::once("GET", holds, Action::Answer(503, "SlowDown"))
                .times(1000)
                .after(after),
        );
        let run = scene.impatient(&["restore", "acme"]).exits(5);
        server.no_more_faults();
        assert!(run.stderr().contains(holds), "{holds}: {}", run.stderr());
        same(&scene.contents(), &now);
        scene.database_is_tidy();
        assert_eq!(failed() - rows, i64::from(begun), "{holds} after {after}");
    }
    // The service goes away in the middle of a table.
    for (n, args) in [
        &["restore", "acme"][..],
        &["restore", "acme", "--as", "copy"],
        &["restore", "acme", "--tables", "bulk"],
    ]
    .into_iter()
    .enumerate()
    {
        let now = change(100 + n);
        let before = server.requests(&["GET", "data/bulk"]);
        server.fault(Fault::once("GET", "data/bulk", Action::CutResponse(4 * MIB)).after(1));
        server.fault(Fault::once("GET", "data/bulk", Action::Delay(Duration::from_secs(30))).after(0));
        let child = spawn(scene.command(args).env("AWS_MAX_ATTEMPTS", "2"));
        // The first reads it to check it, the second to load it; the third would be to take it up again.
        wait_for("the load to be broken off", || {
            server.requests(&["GET", "data/bulk"]) > before + 1
        });
        server.kill();
        let run = Run(child.wait_with_output().unwrap()).exits(5);
        assert!(run.stderr().contains("cannot read s3://"), "{}", run.stderr());
        server.no_more_faults();
        server.resume();
        same(&scene.contents(), &now);
        scene.database_is_tidy();
        scene.tenant_is_sound();
    }
    assert_eq!(scene.count("tenantctl.tenants"), 1);
    scene.run(&["restore", "acme"]).success();
    same(&scene.contents(), &backed_up);
    scene.database_is_tidy();
}
