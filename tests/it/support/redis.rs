//! A Redis of a test's own.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::{free_port, loud, unique, wait_for};

/// A running server in a folder of its own; it ends with the test.
pub struct Redis {
    child: Child,
    pub dir: PathBuf,
    pub port: u16,
    password: Option<String>,
}

impl Redis {
    /// Starts one; none where there is no redis-server, which is said loudly.
    pub fn start(extra: &[&str]) -> Option<Self> {
        let port = free_port();
        Self::start_on(port, &["--port", &port.to_string()], extra)
    }

    /// Starts one that listens with TLS alone, as `listen` says.
    pub fn start_on(port: u16, listen: &[&str], extra: &[&str]) -> Option<Self> {
        let dir = std::env::temp_dir().join(format!("tenantctl-redis-{}-{}", std::process::id(), unique("r")));
        std::fs::create_dir_all(&dir).unwrap();
        let started = Command::new("redis-server")
            .args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir"])
            .arg(&dir)
            .args(listen)
            .args(extra)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let child = match started {
            Ok(child) => child,
            Err(error) => {
                loud(&format!("SKIPPED: a test of the cache needs redis-server: {error}"));
                return None;
            }
        };
        let password = extra
            .iter()
            .position(|arg| *arg == "--requirepass")
            .map(|at| extra[at + 1].to_owned());
        wait_for("redis-server", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
        });
        Some(Self {
            child,
            dir,
            port,
            password,
        })
    }

    /// Its URL, with the password.
    pub fn url(&self) -> String {
        let user = self.password.as_ref().map(|p| format!(":{p}@")).unwrap_or_default();
        format!("redis://{user}127.0.0.1:{}", self.port)
    }

    /// Runs one command.
    pub fn ask<T: redis::FromRedisValue>(&self, command: &[&str]) -> T {
        let client = redis::Client::open(self.url()).unwrap();
        let mut connection = client.get_connection().unwrap();
        let mut cmd = redis::cmd(command[0]);
        for arg in &command[1..] {
            cmd.arg(*arg);
        }
        cmd.query(&mut connection).unwrap()
    }

    /// A figure of INFO, by section and name.
    pub fn info(&self, section: &str, name: &str) -> String {
        let text: String = self.ask(&["INFO", section]);
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .unwrap_or_default()
            .to_owned()
    }

    /// Ends it, as a crash would.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.kill();
        let _ = std::fs::remove_dir_all(&self.dir);
    }
}
