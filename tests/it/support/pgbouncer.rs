//! A PgBouncer of a test's own, with the files that `tenantctl pgbouncer` wrote.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tenantctl::cluster::Cluster;

use super::{Db, Made, free_port, loud, server_account, wait_for};

/// A running PgBouncer; it ends with the test.
pub struct PgBouncer {
    child: Child,
    /// Where its files are.
    pub dir: PathBuf,
    pub port: u16,
}

/// Where the program is, as the tests' PATH may lack /usr/sbin.
fn program() -> Option<&'static str> {
    let found = ["pgbouncer", "/usr/sbin/pgbouncer"].into_iter().find(|program| {
        let version = Command::new(program).arg("--version").stdout(Stdio::null()).status();
        version.is_ok_and(|status| status.success())
    });
    if found.is_none() {
        loud("SKIPPED: a test of the pooler needs pgbouncer");
    }
    found
}

impl PgBouncer {
    /// Writes the configuration of the database's folder: these keys of `pgbouncer:`, these of its `settings:` beside those
    /// that a test needs, and whatever follows. Returns the port.
    pub fn configure(db: &Db, cluster: &Cluster, port: u16, keys: &str, settings: &str, rest: &str) {
        let dir = db.dir.join("pb");
        let text = format!(
            "pgbouncer:\n  database: {{name: shop, host: '{}', port: {}, dbname: {}}}\n{keys}  settings:\n    listen_port: {port}\n    \
             unix_socket_dir: '{}'\n    logfile: {}/log\n    pidfile: {}/pid\n    admin_users: ops\n{settings}{rest}",
            cluster.dir().display(),
            cluster.port(),
            db.name,
            dir.display(),
            dir.display(),
            dir.display()
        );
        std::fs::write(db.dir.join("tenant_templates.yaml"), text).unwrap();
    }

    /// Sets a lookup up, writes the files and starts a PgBouncer with them; none where there is no PgBouncer, which is said
    /// loudly. `ops` with the password `s3cret` may use its console.
    pub fn start(db: &Db, cluster: &Cluster, keys: &str, settings: &str, rest: &str) -> Option<Self> {
        let program = program()?;
        let port = free_port();
        Self::configure(db, cluster, port, keys, settings, rest);
        let dir = db.dir.join("pb");
        std::fs::create_dir_all(&dir).unwrap();
        let mut list = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(dir.join("userlist.txt"))
            .unwrap();
        list.write_all(b"\"ops\" \"s3cret\"\n").unwrap();
        // Which refuses to run as root.
        let account = server_account();
        if let Some((uid, gid)) = account {
            chown(&dir, Some(uid), Some(gid)).unwrap();
            chown(dir.join("userlist.txt"), Some(uid), Some(gid)).unwrap();
        }
        db.run(&["pgbouncer", "--setup", "--out", dir.to_str().unwrap()])
            .success();
        let mut command = Command::new(program);
        command
            .arg(dir.join("pgbouncer.ini"))
            .current_dir("/")
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        if let Some((uid, gid)) = account {
            command.uid(uid).gid(gid);
        }
        let child = command.spawn().unwrap();
        wait_for("PgBouncer", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Some(Self { child, dir, port })
    }

    /// The URL by which this tenant comes through it.
    pub fn url(&self, made: &Made) -> String {
        self.url_as(&made.role, made.password.as_deref().unwrap())
    }

    /// The URL for a login.
    pub fn url_as(&self, user: &str, password: &str) -> String {
        let encode =
            |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
        format!(
            "postgresql://{}:{}@127.0.0.1:{}/shop?sslmode=disable",
            encode(user),
            encode(password),
            self.port
        )
    }

    /// The URL of its console.
    pub fn console(&self) -> String {
        format!(
            "postgresql://ops:s3cret@127.0.0.1:{}/pgbouncer?sslmode=disable",
            self.port
        )
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Sends a first message with these parameters, and returns the socket.
    pub fn startup(&self, parameters: &[(&str, &str)]) -> TcpStream {
        let mut body = 196_608_u32.to_be_bytes().to_vec();
        for (name, value) in parameters {
            body.extend(name.as_bytes());
            body.push(0);
            body.extend(value.as_bytes());
            body.push(0);
        }
        body.push(0);
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let length = u32::try_from(body.len() + 4).unwrap();
        socket.write_all(&length.to_be_bytes()).unwrap();
        socket.write_all(&body).unwrap();
        socket
    }

    /// Salt and iterations that a user is asked for.
    pub fn challenge(&self, user: &str) -> (String, String) {
        let mut socket = self.startup(&[("user", user), ("database", "shop")]);
        let (kind, body) = message(&mut socket);
        assert_eq!(
            (kind, &body[..4]),
            (b'R', &10_u32.to_be_bytes()[..]),
            "asked for SASL: {}",
            text(&body)
        );
        let first = b"n,,n=,r=0123456789abcdefghijklmn";
        let mut answer = b"SCRAM-SHA-256\0".to_vec();
        answer.extend(u32::try_from(first.len()).unwrap().to_be_bytes());
        answer.extend(first);
        let length = u32::try_from(answer.len() + 4).unwrap();
        socket.write_all(b"p").unwrap();
        socket.write_all(&length.to_be_bytes()).unwrap();
        socket.write_all(&answer).unwrap();
        let (kind, body) = message(&mut socket);
        assert_eq!(kind, b'R', "{}", text(&body));
        let fields = text(&body[4..]);
        let field = |name: &str| {
            let found = fields.split(',').find_map(|field| field.strip_prefix(name));
            found.unwrap_or_else(|| panic!("{name} not in {fields}")).to_owned()
        };
        (field("s="), field("i="))
    }
}

impl Drop for PgBouncer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The next message: its type and body.
pub fn message(socket: &mut TcpStream) -> (u8, Vec<u8>) {
    let mut head = [0; 5];
    socket.read_exact(&mut head).unwrap();
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    let mut body = vec![0; length as usize - 4];
    socket.read_exact(&mut body).unwrap();
    (head[0], body)
}

/// A message's body as far as it is text.
pub fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).replace('\0', " ")
}
