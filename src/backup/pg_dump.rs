//! pg_dump, for tenants whose structure is not their template's: found by version, run in the backup's snapshot.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;

use crate::error::{Error, ErrorKind, Result};
use crate::pg::conninfo::ConnInfo;
use crate::pg::session::Session;
use crate::tenant::OWNER_ROLE;

/// Larger than the DDL of any schema that could be restored in one session.
const OUTPUT_MAX_BYTES: u64 = 512 << 20;
/// What is kept of its complaints.
const COMPLAINT_MAX_BYTES: u64 = 64 << 10;
/// How long it waits for a lock that somebody asked for between the snapshot's locks and its own.
const LOCK_WAIT_MS: u32 = 30_000;

/// A pg_dump on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PgDump {
    path: PathBuf,
    major: i32,
}

impl PgDump {
    /// Finds one that can read a server: of the same major version, else the next newer. It is looked for in
    /// `TENANTCTL_PG_BINDIR` alone if that is set, else in PATH and where Debian, Red Hat and Homebrew put it. Blocks.
    ///
    /// # Errors
    /// Kind `unsupported` when there is none, or none that is new enough.
    pub(crate) fn find(server_major: i32) -> Result<Self> {
        let folder = std::env::var_os("TENANTCTL_PG_BINDIR").filter(|dir| !dir.is_empty());
        match folder.map(PathBuf::from) {
            Some(dir) => Self::find_in(&[dir], server_major).map_err(|e| {
                e.with_hint(format!(
                    "TENANTCTL_PG_BINDIR must name the folder of a pg_dump of version {server_major} or later."
                ))
            }),
            None => Self::find_in(&usual_folders(), server_major),
        }
    }

    /// Where it is; its fellows are beside it.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    fn find_in(dirs: &[PathBuf], server_major: i32) -> Result<Self> {
        let found: Vec<Self> = dirs.iter().filter_map(|dir| Self::probe(dir)).collect();
        let fit = found.iter().filter(|p| p.major >= server_major).min_by_key(|p| p.major);
        if let Some(fit) = fit {
            return Ok(fit.clone());
        }
        let error = match found.iter().max_by_key(|p| p.major) {
            Some(old) => Error::new(ErrorKind::Unsupported, "pg_dump is older than the server").with_cause(format!(
                "{} is of version {}, the server of version {server_major}",
                old.path.display(),
                old.major
            )),
            None => Error::new(ErrorKind::Unsupported, "pg_dump is not on this machine")
                .with_cause("a tenant whose structure is not its template's is described by pg_dump"),
        };
        Err(error.with_hint(format!(
            "Install it: `apt-get install postgresql-client-{server_major}`, `dnf install postgresql{server_major}` or `brew install postgresql@{server_major}`; TENANTCTL_PG_BINDIR names a folder of its own."
        )))
    }

    fn probe(dir: &Path) -> Option<Self> {
        let path = dir.join("pg_dump");
        if !path.is_file() {
            return None;
        }
        let output = std::process::Command::new(&path)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .ok()?;
        Some(Self {
            path,
            major: major_of(&String::from_utf8_lossy(&output.stdout))?,
        })
    }

    /// The DDL of one schema as the snapshot shows it, as the owner role sees it. Dropping the future ends the program.
    ///
    /// # Errors
    /// When it cannot be run or fails; what it said is the cause.
    pub(super) async fn run(&self, session: &Session, info: &ConnInfo, snapshot: &str, schema: &str) -> Result<String> {
        let mut command = Command::new(&self.path);
        command
            .args([
                "--schema-only",
                "--format=plain",
                "--encoding=UTF8",
                "--no-password",
                "--strict-names",
            ])
            .args([
                "--no-owner",
                "--no-privileges",
                "--no-publications",
                "--no-subscriptions",
            ])
            .args(["--no-security-labels", "--no-tablespaces"])
            .arg(format!("--role={OWNER_ROLE}"))
            .arg(format!("--snapshot={snapshot}"))
            .arg(format!("--lock-wait-timeout={LOCK_WAIT_MS}"))
            // In double quotes nothing in it is a wildcard.
            .arg(format!("--schema=\"{}\"", schema.replace('"', "\"\"")));
        let inherited = std::env::vars_os().map(|(name, _)| name);
        for name in inherited.filter(|name| name.to_string_lossy().starts_with("PG")) {
            command.env_remove(name);
        }
        command
            .envs(info.libpq_environment(session.host()))
            .env("PGAPPNAME", "tenantctl backup: pg_dump")
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        let failed = |cause: String| {
            Error::new(ErrorKind::Unknown, format!("pg_dump of schema {schema} failed"))
                .with_cause(cause)
                .with_hint(format!("It was run as {}.", self.path.display()))
        };
        let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let (text, complaint) = tokio::join!(read(out, OUTPUT_MAX_BYTES), drain(err));
        let text = text.map_err(|e| failed(e.to_string()))?;
        let Some(text) = text else {
            return Err(failed(format!("it wrote more than {} MiB", OUTPUT_MAX_BYTES >> 20)));
        };
        let status = child.wait().await.map_err(|e| failed(e.to_string()))?;
        if !status.success() {
            let said = complaint.trim().replace("pg_dump: ", "").replace('\n', " / ");
            return Err(failed(if said.is_empty() { status.to_string() } else { said }));
        }
        String::from_utf8(text).map_err(|e| failed(e.utf8_error().to_string()))
    }
}

/// All of a stream; none when it is longer than the limit.
async fn read(stream: Option<impl AsyncRead + Unpin>, limit: u64) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    if let Some(stream) = stream {
        stream.take(limit + 1).read_to_end(&mut bytes).await?;
    }
    Ok((bytes.len() as u64 <= limit).then_some(bytes))
}

/// The beginning of a stream; the rest is read as well, so that its writer does not wait.
async fn drain(stream: Option<impl AsyncRead + Unpin>) -> String {
    let mut bytes = Vec::new();
    if let Some(mut stream) = stream {
        let _ = (&mut stream).take(COMPLAINT_MAX_BYTES).read_to_end(&mut bytes).await;
        let _ = tokio::io::copy(&mut stream, &mut tokio::io::sink()).await;
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// `pg_dump (PostgreSQL) 15.18 (Debian ...)` is of 15.
fn major_of(version: &str) -> Option<i32> {
    let number = version.split_whitespace().nth(2)?;
    let digits: String = number.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}

fn usual_folders() -> Vec<PathBuf> {
    let mut dirs: Vec<PathBuf> = std::env::var_os("PATH")
        .map(|path| std::env::split_paths(&path).collect())
        .unwrap_or_default();
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql"),
        ("/opt/homebrew/opt", "libpq"),
        ("/usr/local/opt", "postgresql"),
        ("/usr/local/opt", "libpq"),
        ("/home/linuxbrew/.linuxbrew/opt", "postgresql"),
    ] {
        let Ok(entries) = std::fs::read_dir(parent) else {
            continue;
        };
        let named = entries
            .flatten()
            .filter(|e| e.file_name().to_string_lossy().starts_with(prefix));
        dirs.extend(named.map(|e| e.path().join("bin")));
    }
    dirs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder with a pg_dump that says it is of this version.
    fn folder(name: &str, version: &str) -> PathBuf {
        use std::os::unix::fs::PermissionsExt;
        let dir = std::env::temp_dir().join(format!("tenantctl-pg-dump-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("created");
        let path = dir.join("pg_dump");
        std::fs::write(&path, format!("#!/bin/sh\necho 'pg_dump (PostgreSQL) {version}'\n")).expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).expect("made executable");
        dir
    }

    #[test]
    fn the_nearest_version_that_is_not_older_is_taken() {
        let dirs = [
            folder("a", "14.9"),
            folder("b", "18.1"),
            folder("c", "16.2 (Debian)"),
            PathBuf::from("/nonexistent"),
        ];
        let major = |server| PgDump::find_in(&dirs, server).map(|p| p.major);
        assert_eq!(
            (major(15).ok(), major(16).ok(), major(17).ok()),
            (Some(16), Some(16), Some(18))
        );
        let old = major(19).expect_err("too old");
        assert_eq!(
            (old.kind(), old.message()),
            (ErrorKind::Unsupported, "pg_dump is older than the server")
        );
        assert!(
            old.cause()
                .is_some_and(|c| c.contains("of version 18") && c.contains("version 19"))
        );
        let none = PgDump::find_in(&dirs[3..], 15).expect_err("none");
        assert_eq!(
            (none.kind(), none.message()),
            (ErrorKind::Unsupported, "pg_dump is not on this machine")
        );
        assert!(none.hint().is_some_and(|h| h.contains("postgresql-client-15")));
        for dir in &dirs[..3] {
            std::fs::remove_dir_all(dir).expect("removed");
        }
    }

    #[test]
    fn versions_are_read() {
        assert_eq!(
            major_of("pg_dump (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)"),
            Some(15)
        );
        assert_eq!(major_of("pg_dump (PostgreSQL) 19devel"), Some(19));
        assert_eq!(major_of("nonsense"), None);
    }
}
