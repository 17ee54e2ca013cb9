//! Pages in a real browser.

use std::path::PathBuf;
use std::process::Command;

use super::{loud, unique};

/// The page in a browser, after its script has run: its DOM, and what the console said. None without a browser.
pub fn browse(page: &str, hash: &str) -> Option<(String, String)> {
    let dir: PathBuf = std::env::temp_dir().join(unique(&format!("tenantctl-page-{}-", std::process::id())));
    std::fs::create_dir_all(&dir).unwrap();
    let file = dir.join("page.html");
    std::fs::write(&file, page).unwrap();
    let output = Command::new("chromium")
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--no-first-run",
        ])
        .args([
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
        ])
        .args([
            "--enable-logging=stderr",
            "--log-level=0",
            "--virtual-time-budget=5000",
            "--dump-dom",
        ])
        .arg(format!("--user-data-dir={}", dir.join("profile").display()))
        .arg(format!("file://{}{hash}", file.display()))
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            loud(&format!("SKIPPED: a test of the report needs chromium: {error}"));
            return None;
        }
    };
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let console: Vec<&str> = log.lines().filter(|line| line.contains("CONSOLE")).collect();
    assert!(dom.contains("</html>"), "chromium showed nothing: {log}");
    let console = console.join("\n");
    std::fs::remove_dir_all(&dir).unwrap();
    Some((dom, console))
}
