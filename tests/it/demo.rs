//! `demo` tells the whole story and leaves nothing; `--keep` leaves a cluster one can connect to.

use crate::support::{Cmd, sql, wait_for};

/// Folders of throw-away clusters, in a temporary folder of this test's own.
fn clusters(dir: &std::path::Path) -> usize {
    std::fs::read_dir(dir)
        .unwrap()
        .flatten()
        .filter(|e| e.file_name().to_string_lossy().starts_with("tenantctl-"))
        .count()
}

/// A temporary folder that any user may enter, since the server runs as another one under root.
fn temporary() -> std::path::PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let dir = std::env::temp_dir().join(crate::support::unique(&format!("tc{}-", std::process::id())));
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o1777)).unwrap();
    dir
}

#[test]
fn the_story_in_full() {
    let dir = temporary();
    let json = Cmd::new(&["-o", "json", "demo"])
        .env("TMPDIR", dir.to_str().unwrap())
        .finish()
        .success()
        .json();
    let tenants = json["tenants"].as_array().unwrap();
    assert_eq!(tenants.len(), 3);
    for tenant in tenants {
        for row in tenant["rows"].as_array().unwrap() {
            assert!(row[1].as_i64().unwrap() > 0, "{tenant}");
        }
    }
    assert!(json["attacks"].as_array().unwrap().len() >= 5);
    assert!(
        json["attacks"].as_array().unwrap().iter().all(|a| a["refused"] == true),
        "{json}"
    );
    let trades = json["recovery"]["trades"].as_array().unwrap();
    assert!(
        trades[0].as_i64().unwrap() > 0 && trades[1] == 0 && trades[2] == trades[0],
        "{json}"
    );
    assert!(
        json["proofs"]
            .as_array()
            .unwrap()
            .iter()
            .all(|p| p["as_expected"] == true),
        "{json}"
    );
    let metrics = &json["metrics"];
    assert_eq!(metrics["tenants"].as_array().unwrap().len(), 3);
    assert_eq!(metrics["tenants"][0]["limits"]["portfolios"]["ratio"], 1.0);
    assert_eq!(metrics["alerts"].as_array().unwrap().len(), 1);
    assert_eq!(clusters(&dir), 0);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn ctrl_c_and_kill_leave_nothing() {
    for signal in ["-INT", "-TERM", "-KILL"] {
        let dir = temporary();
        let mut cmd = Cmd::new(&["demo"]).env("TMPDIR", dir.to_str().unwrap());
        let mut child = cmd
            .command
            .stdout(std::process::Stdio::null())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        wait_for("the server to be up", || {
            std::fs::read_dir(&dir)
                .unwrap()
                .flatten()
                .any(|e| e.path().join("data/postmaster.pid").exists())
        });
        std::process::Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .unwrap();
        let status = child.wait().unwrap();
        if signal != "-KILL" {
            assert_eq!(status.code(), Some(130), "{signal}");
        }
        wait_for("the watchdog", || clusters(&dir) == 0);
        std::fs::remove_dir_all(dir).unwrap();
    }
}

#[test]
fn keep_leaves_a_cluster_and_tells_how_to_use_and_end_it() {
    let dir = temporary();
    let json = Cmd::new(&["-o", "json", "demo", "--keep"])
        .env("TMPDIR", dir.to_str().unwrap())
        .finish()
        .success()
        .json();
    let url = json["kept"]["database_url"].as_str().unwrap();
    assert_eq!(sql(url, "SELECT count(*) FROM tenantctl.tenants").unwrap()[0][0], "3");
    Cmd::new(&["list"]).env("DATABASE_URL", url).finish().success();
    let stop = json["kept"]["stop"].as_str().unwrap();
    assert!(
        std::process::Command::new("sh")
            .args(["-c", stop])
            .stdout(std::process::Stdio::null())
            .status()
            .unwrap()
            .success()
    );
    assert_eq!(clusters(&dir), 0);
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn without_postgresql_it_says_how_to_get_it() {
    let cmd = Cmd::new(&["demo"])
        .env("TENANTCTL_PG_BINDIR", "/nonexistent")
        .env("PATH", "/nonexistent");
    cmd.finish().exits(2).says(&["has no PostgreSQL server"]);
}
