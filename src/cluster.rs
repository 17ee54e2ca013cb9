//! A throw-away PostgreSQL cluster from the machine's own binaries: for `demo`, and for the tests.
//!
//! A watchdog shell holds the other end of a pipe. When this process ends, however it ends, the pipe closes and
//! the watchdog stops the server and removes the folder, so that even SIGKILL leaves nothing behind.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use crate::error::{Error, ErrorKind, Result};
use crate::pg::password::random_hex;

/// The port of the server's Unix socket; every cluster has a folder of its own, so they do not collide.
pub const PORT: u16 = 5432;

/// Where initdb, postgres and pg_ctl are.
#[derive(Clone, Debug)]
pub struct Binaries {
    /// Their folder.
    pub dir: PathBuf,
    /// The major version.
    pub major: u32,
}

impl Binaries {
    /// Finds the newest PostgreSQL 15 or later: `TENANTCTL_PG_BINDIR`, pg_config, PATH, then the usual folders of
    /// Debian, Red Hat and Homebrew.
    ///
    /// # Errors
    /// Kind `unsupported` with the install hint when there is none.
    pub fn find() -> Result<Self> {
        if let Some(dir) = std::env::var_os("TENANTCTL_PG_BINDIR").filter(|dir| !dir.is_empty()) {
            let dir = PathBuf::from(dir);
            return Self::probe(&dir).ok_or_else(|| {
                Error::config(format!(
                    "TENANTCTL_PG_BINDIR={} has no PostgreSQL server",
                    dir.display()
                ))
                .with_hint("It must be a folder with initdb, postgres and pg_ctl, such as /usr/lib/postgresql/15/bin.")
            });
        }
        let found: Vec<Self> = candidates().iter().filter_map(|dir| Self::probe(dir)).collect();
        let newest = found.iter().max_by_key(|b| b.major);
        match newest {
            Some(binaries) if binaries.major >= 15 => Ok(binaries.clone()),
            Some(old) => Err(Error::new(
                ErrorKind::Unsupported,
                "the PostgreSQL server on this machine is too old",
            )
            .with_cause(format!(
                "{} is version {}; tenantctl needs 15 or later",
                old.dir.display(),
                old.major
            ))
            .with_hint(INSTALL_HINT)),
            None => Err(
                Error::new(ErrorKind::Unsupported, "no PostgreSQL server found on this machine")
                    .with_cause("looked at pg_config, PATH, /usr/lib/postgresql, /usr/pgsql-*, Homebrew")
                    .with_hint(INSTALL_HINT),
            ),
        }
    }

    fn probe(dir: &Path) -> Option<Self> {
        // initdb finds its siblings from its real place, so a link in PATH is followed first.
        let dir = fs::canonicalize(dir.join("initdb")).ok()?.parent()?.to_owned();
        if !["postgres", "pg_ctl"].iter().all(|name| dir.join(name).is_file()) {
            return None;
        }
        let output = Command::new(dir.join("postgres")).arg("--version").output().ok()?;
        // "postgres (PostgreSQL) 15.18 (Debian ...)", "postgres (PostgreSQL) 19devel"
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let version = text.split_whitespace().nth(2)?;
        let digits: String = version.chars().take_while(char::is_ascii_digit).collect();
        Some(Self {
            dir,
            major: digits.parse().ok()?,
        })
    }

    /// The path of one program.
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

const INSTALL_HINT: &str = "Install one: `apt-get install postgresql` (Debian, Ubuntu), `dnf install postgresql-server`, or `brew install postgresql@17`.";

fn candidates() -> Vec<PathBuf> {
    let mut dirs = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").output() {
        dirs.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    if let Some(path) = std::env::var_os("PATH") {
        dirs.extend(std::env::split_paths(&path));
    }
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql"),
        ("/usr/local/opt", "postgresql"),
        ("/home/linuxbrew/.linuxbrew/opt", "postgresql"),
    ] {
        let Ok(entries) = fs::read_dir(parent) else { continue };
        dirs.extend(
            entries
                .flatten()
                .filter(|e| e.file_name().to_string_lossy().starts_with(prefix))
                .map(|e| e.path().join("bin")),
        );
    }
    dirs.retain(|dir| dir.join("initdb").exists());
    dirs
}

/// What a cluster is started with.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Lines for postgresql.conf, such as `fsync = off`.
    pub settings: Vec<String>,
    /// Lines for pg_hba.conf in place of the default: the superuser in through the socket, all others by SCRAM.
    pub hba: Option<String>,
    /// Also listen on this TCP port of 127.0.0.1.
    pub tcp_port: Option<u16>,
}

/// A running cluster; dropping it stops the server and removes its folder.
#[derive(Debug)]
pub struct Cluster {
    binaries: Binaries,
    dir: PathBuf,
    run_as: Option<Account>,
    watchdog: Option<Child>,
    port: u16,
}

impl Cluster {
    /// The superuser of every such cluster.
    pub const SUPERUSER: &'static str = "postgres";

    /// Makes and starts a cluster in a new folder under the system's temporary folder.
    ///
    /// # Errors
    /// When no user to drop privileges to exists, or initdb or the server fails; the server's own words are the cause.
    pub fn start(binaries: &Binaries, options: &Options) -> Result<Self> {
        let cluster = Self::prepare(binaries, options)?;
        cluster.run(
            "initdb",
            cluster
                .command("initdb")
                .args([
                    "--username",
                    Self::SUPERUSER,
                    "--auth",
                    "trust",
                    "--encoding",
                    "UTF8",
                    "--locale",
                    "C",
                    "--no-sync",
                ])
                .arg("--pgdata")
                .arg(cluster.data()),
        )?;
        cluster.configure(options)?;
        cluster.boot()?;
        Ok(cluster)
    }

    /// Starts a streaming standby of this cluster.
    ///
    /// # Errors
    /// When pg_basebackup or the server fails.
    pub fn standby(&self) -> Result<Self> {
        let options = Options::default();
        let standby = Self::prepare(&self.binaries, &options)?;
        standby.run(
            "pg_basebackup",
            standby
                .command("pg_basebackup")
                .args([
                    "--username",
                    Self::SUPERUSER,
                    "--checkpoint",
                    "fast",
                    "--no-sync",
                    "--write-recovery-conf",
                    "--host",
                ])
                .arg(&self.dir)
                .args(["--port", &self.port.to_string(), "--pgdata"])
                .arg(standby.data()),
        )?;
        standby.append(
            "postgresql.conf",
            &format!("unix_socket_directories = '{}'\n", standby.dir.display()),
        )?;
        standby.boot()?;
        Ok(standby)
    }

    fn prepare(binaries: &Binaries, options: &Options) -> Result<Self> {
        let run_as = unprivileged()?;
        let dir = temporary_folder(run_as.is_some()).join(format!("tenantctl-{}", random_hex(6)));
        let failed = |e: std::io::Error| {
            Error::new(ErrorKind::Store, format!("cannot make folder {}", dir.display())).with_cause(e)
        };
        fs::DirBuilder::new().mode(0o700).create(&dir).map_err(failed)?;
        if let Some(account) = &run_as {
            chown(&dir, Some(account.uid), Some(account.gid)).map_err(failed)?;
        }
        let mut cluster = Self {
            binaries: binaries.clone(),
            dir,
            run_as,
            watchdog: None,
            port: options.tcp_port.unwrap_or(PORT),
        };
        cluster.watchdog = Some(cluster.spawn_watchdog()?);
        Ok(cluster)
    }

    fn spawn_watchdog(&self) -> Result<Child> {
        // It reads "keep" when the cluster is to outlive us, and the end of the pipe in every other case. A server
        // that is only just starting may not be there to stop yet, and then writes behind rm's back: hence the loop.
        let script = r#"read -r word; [ "$word" = keep ] && exit 0
tries=0
while [ -e "$2" ] && [ $tries -lt 100 ]; do
    if [ -n "$3" ]; then
        su "$3" -s /bin/sh -c '"$0" -D "$1" -m immediate -w stop' "$1/pg_ctl" "$2/data"
    else
        "$1/pg_ctl" -D "$2/data" -m immediate -w stop
    fi
    rm -rf "$2" && exit 0
    tries=$((tries + 1))
    sleep 0.1
done"#;
        // As ourselves: not everything in the folder need be the server's.
        let mut command = Command::new("/bin/sh");
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C")
            .current_dir("/")
            .args(["-c", script, "tenantctl-watchdog"])
            .arg(&self.binaries.dir)
            .arg(&self.dir)
            .arg(self.run_as.as_ref().map_or("", |account| &account.name))
            // Out of the terminal's process group: Ctrl-C is for us, we then let it clean up.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command
            .spawn()
            .map_err(|e| Error::new(ErrorKind::Unknown, "cannot start /bin/sh").with_cause(e))
    }

    fn configure(&self, options: &Options) -> Result<()> {
        let mut conf = format!(
            "unix_socket_directories = '{}'\nport = {}\n",
            self.dir.display(),
            self.port
        );
        conf.push_str(if options.tcp_port.is_some() {
            "listen_addresses = '127.0.0.1'\n"
        } else {
            "listen_addresses = ''\n"
        });
        for line in &options.settings {
            conf.push_str(line);
            conf.push('\n');
        }
        self.append("postgresql.conf", &conf)?;
        let hba = options.hba.as_deref().unwrap_or(
            "local all,replication postgres trust\nlocal all all scram-sha-256\nhost all all 127.0.0.1/32 scram-sha-256\n",
        );
        self.write("pg_hba.conf", hba)
    }

    fn boot(&self) -> Result<()> {
        let log = self.log_file();
        let started = self.run(
            "pg_ctl start",
            self.command("pg_ctl")
                .arg("-D")
                .arg(self.data())
                .arg("-l")
                .arg(&log)
                .args(["-w", "-t", "60", "-s", "start"]),
        );
        started.map_err(|error| {
            let tail = fs::read_to_string(&log).unwrap_or_default();
            let last: Vec<&str> = tail.lines().rev().take(4).collect();
            error.with_hint(format!(
                "The server's log ends with: {}",
                last.into_iter().rev().collect::<Vec<_>>().join(" / ")
            ))
        })
    }

    /// Stops the server at once, as a crash would, and keeps its folder.
    ///
    /// # Errors
    /// When pg_ctl fails.
    pub fn stop(&self) -> Result<()> {
        self.run(
            "pg_ctl stop",
            self.command("pg_ctl")
                .arg("-D")
                .arg(self.data())
                .args(["-m", "immediate", "-w", "-s", "stop"]),
        )
    }

    /// Starts the server again after [`Cluster::stop`].
    ///
    /// # Errors
    /// When the server does not come up.
    pub fn restart(&self) -> Result<()> {
        self.boot()
    }

    /// Leaves the server running when this value is dropped.
    pub fn keep(mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            if let Some(mut pipe) = watchdog.stdin.take() {
                let _ = pipe.write_all(b"keep\n");
            }
            let _ = watchdog.wait();
        }
    }

    /// The connection URL for a login; no password in it.
    pub fn url(&self, user: &str, database: &str) -> String {
        let encode =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        format!(
            "postgresql://{}@/{}?host={}&port={}&sslmode=disable",
            encode(user),
            encode(database),
            encode(&self.dir.display().to_string()),
            self.port
        )
    }

    /// The folder with the socket, the data and the log.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// The server's log.
    pub fn log_file(&self) -> PathBuf {
        self.dir.join("server.log")
    }

    /// The port, of the socket and, where asked for, of TCP.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The shell command that stops the server and removes its folder, for one that is kept.
    pub fn stop_command(&self) -> String {
        let quoted = |path: &Path| format!("'{}'", path.display().to_string().replace('\'', r"'\''"));
        let stop = format!(
            "{} -D {} -m fast stop",
            quoted(&self.binaries.program("pg_ctl")),
            quoted(&self.data())
        );
        let stop = match &self.run_as {
            Some(account) => format!("su {} -s /bin/sh -c \"{stop}\"", account.name),
            None => stop,
        };
        format!("{stop} && rm -rf {}", quoted(&self.dir))
    }

    /// The server's programs.
    pub fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    /// Appends to a file in the data directory.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn append(&self, file: &str, text: &str) -> Result<()> {
        let path = self.data().join(file);
        let old = fs::read_to_string(&path).unwrap_or_default();
        self.write(file, &format!("{old}\n{text}"))
    }

    /// Writes a file in the data directory, readable by the server's user only.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, file: &str, text: &str) -> Result<()> {
        use std::os::unix::fs::OpenOptionsExt;
        let path = self.data().join(file);
        let write = || -> std::io::Result<()> {
            fs::OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(0o600)
                .open(&path)?
                .write_all(text.as_bytes())?;
            if let Some(account) = &self.run_as {
                chown(&path, Some(account.uid), Some(account.gid))?;
            }
            Ok(())
        };
        write().map_err(|e| Error::new(ErrorKind::Store, format!("cannot write {}", path.display())).with_cause(e))
    }

    fn command(&self, program: &str) -> Command {
        self.command_of(&self.binaries.program(program))
    }

    /// A command as the server's user, with an environment that no PG* variable of the caller reaches.
    fn command_of(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LC_ALL", "C")
            .env("HOME", &self.dir)
            .current_dir(&self.dir);
        if let Some(account) = &self.run_as {
            command.uid(account.uid).gid(account.gid);
        }
        command
    }

    fn run(&self, what: &str, command: &mut Command) -> Result<()> {
        // The server inherits these; a pipe would never see its end, hence files and null.
        let output = if what.starts_with("pg_ctl") {
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .status()
                .map(|status| (status, Vec::new()))
        } else {
            command
                .stdin(Stdio::null())
                .process_group(0)
                .output()
                .map(|o| (o.status, o.stderr))
        };
        let (status, stderr) =
            output.map_err(|e| Error::new(ErrorKind::Unknown, format!("cannot run {what}")).with_cause(e))?;
        if status.success() {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Unknown, format!("{what} failed ({status})"))
            .with_cause(String::from_utf8_lossy(&stderr).trim().replace('\n', " / ")))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut watchdog) = self.watchdog.take() {
            drop(watchdog.stdin.take());
            let _ = watchdog.wait();
        }
    }
}

/// A user of this machine.
#[derive(Clone, Debug)]
struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

/// Whom to run the server as: nobody else, unless we are root, which PostgreSQL refuses. Then `postgres`, else `nobody`.
fn unprivileged() -> Result<Option<Account>> {
    let root =
        fs::metadata("/proc/self").map_or_else(|_| std::env::var("USER").is_ok_and(|u| u == "root"), |m| m.uid() == 0);
    if !root {
        return Ok(None);
    }
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    let find = |name: &str| {
        passwd.lines().find_map(|line| {
            let mut fields = line.split(':');
            (fields.next()? == name).then_some(())?;
            Some(Account {
                name: name.to_owned(),
                uid: fields.nth(1)?.parse().ok()?,
                gid: fields.next()?.parse().ok()?,
            })
        })
    };
    find("postgres").or_else(|| find("nobody")).map(Some).ok_or_else(|| {
        Error::new(
            ErrorKind::Unsupported,
            "PostgreSQL does not run as root, and there is no user to run it as",
        )
        .with_hint("Run this as an ordinary user, or create the user postgres.")
    })
}

/// The system's temporary folder, or /tmp where that one cannot hold a cluster: a socket's path has room for about
/// 100 bytes, its folder is written into configuration files, and the server's user must be able to enter it.
fn temporary_folder(other_user: bool) -> PathBuf {
    let wanted = std::env::temp_dir();
    let text = wanted.to_string_lossy();
    let plain = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+".contains(&b));
    let open = |dir: &Path| fs::metadata(dir).is_ok_and(|m| m.mode() & 0o001 != 0);
    let reachable = !other_user || wanted.ancestors().filter(|a| !a.as_os_str().is_empty()).all(open);
    if plain && text.len() <= 60 && reachable {
        wanted
    } else {
        PathBuf::from("/tmp")
    }
}
