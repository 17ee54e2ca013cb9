//! The password file, `~/.pgpass`.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::socket::{OTHER_SOCKET_DIR, SOCKET_DIR};
use super::{HostSpec, Secret};

/// The lines of a password file: `hostname:port:database:username:password`.
#[derive(Default)]
pub(super) struct PassFile(Vec<Vec<u8>>);

impl fmt::Debug for PassFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "({} lines)", self.0.len())
    }
}

impl PassFile {
    /// Reads the file, unless others could have read it too. A file that is not there is no error.
    pub(super) fn read(file: &Path) -> (Self, Option<String>) {
        let ignored = |why: &str| {
            (
                Self::default(),
                Some(format!("password file {file:?} is ignored: {why}")),
            )
        };
        let Ok(metadata) = fs::metadata(file) else {
            return (Self::default(), None);
        };
        if !metadata.is_file() {
            return ignored("it is not a plain file");
        }
        if metadata.mode() & 0o077 != 0 {
            return ignored("it has group or world access; permissions should be u=rw (0600) or less");
        }
        match fs::read(file) {
            Ok(text) => (Self::parse(&text), None),
            Err(error) => ignored(&error.to_string()),
        }
    }

    fn parse(text: &[u8]) -> Self {
        Self(text.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect())
    }

    /// The password of the first line that fits.
    pub(super) fn lookup(&self, host: &HostSpec, dbname: &str, user: &str) -> Option<Secret> {
        let default_dirs = [SOCKET_DIR, "/run/postgresql", OTHER_SOCKET_DIR];
        let name = match (&host.host, host.hostaddr) {
            (Some(dir), _) if default_dirs.contains(&dir.as_str()) => "localhost".to_owned(),
            (Some(name), _) => name.clone(),
            (None, Some(address)) => address.to_string(),
            (None, None) => "localhost".to_owned(),
        };
        let wanted = [name.as_str(), &host.port.to_string(), dbname, user];
        let password = self.0.iter().filter(|line| !line.starts_with(b"#")).find_map(|line| {
            let mut rest = line.strip_suffix(b"\r").unwrap_or(line);
            for value in wanted {
                rest = match rest.strip_prefix(b"*:") {
                    Some(rest) => rest,
                    None => {
                        let (field, rest) = pass_field(rest);
                        rest.filter(|_| field == value.as_bytes())?
                    }
                };
            }
            Some(pass_field(rest).0)
        });
        password.filter(|password| !password.is_empty()).map(Secret)
    }
}

/// A field without its escapes, and what follows its colon.
fn pass_field(line: &[u8]) -> (Vec<u8>, Option<&[u8]>) {
    let mut field = Vec::new();
    let mut bytes = line.iter().copied().enumerate().peekable();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b':' => return (field, line.get(at + 1..)),
            b'\\' if bytes.peek().is_some() => field.extend(bytes.next().map(|(_, escaped)| escaped)),
            _ => field.push(byte),
        }
    }
    (field, None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::conninfo::tests::{Dir, password, resolve, short};

    #[test]
    fn password_file_lines() {
        let file = "# comment\n\
            #h:5432:d:u:commented\n\
            \n\
            too:short\n\
            h:5432:d:u:plain\n\
            h:5433:*:u:other port\r\n\
            h:*:d:admin:with\\:colon and \\\\ and \\x\n\
            h\\:x:5432:d:u:escaped host\n\
            ::1:5432:d:u:unescaped address\n\
            \\:\\:1:5432:d:u:address\n\
            \\*:5432:d:u:literal star\n\
            localhost:5432:*:u:local\n\
            /custom:5432:*:u:custom socket\n\
            10.0.0.1:5432:*:u:by address\n\
            h:5432:empty:u:\n\
            h:5432:empty:u:not reached\n\
            h:5432:extra:u:first:second\n\
            h:5432:\\\\d\\:b:u:odd database\n\
            *:*:*:last:any\\\n";
        let passfile = PassFile::parse(file.as_bytes());
        for (host, port, dbname, user, expected) in [
            ("h", 5432, "d", "u", Some("plain")),
            ("H", 5432, "d", "u", None),
            ("h", 5433, "whatever", "u", Some("other port")),
            ("h", 5434, "d", "u", None),
            ("h", 1, "d", "admin", Some("with:colon and \\ and x")),
            ("h:x", 5432, "d", "u", Some("escaped host")),
            ("::1", 5432, "d", "u", Some("address")),
            ("*", 5432, "d", "u", Some("literal star")),
            ("localhost", 5432, "d", "u", Some("local")),
            ("/var/run/postgresql", 5432, "d", "u", Some("local")),
            ("/tmp", 5432, "d", "u", Some("local")),
            ("/custom", 5432, "d", "u", Some("custom socket")),
            ("/else", 5432, "d", "u", None),
            ("h", 5432, "empty", "u", None),
            ("h", 5432, "extra", "u", Some("first")),
            ("h", 5432, "\\d:b", "u", Some("odd database")),
            ("x", 1, "y", "last", Some("any\\")),
            ("commented", 5432, "d", "u", None),
        ] {
            let spec = HostSpec {
                host: Some(host.to_owned()),
                hostaddr: None,
                port,
            };
            let found = passfile
                .lookup(&spec, dbname, user)
                .map(|s| String::from_utf8(s.0).unwrap());
            assert_eq!(found.as_deref(), expected, "{host} {port} {dbname} {user}");
        }
        let address = "10.0.0.1".parse().ok();
        let by_address = HostSpec {
            host: None,
            hostaddr: address,
            port: 5432,
        };
        assert_eq!(
            passfile.lookup(&by_address, "d", "u"),
            Some(Secret(b"by address".to_vec()))
        );
        // The name counts if there is one.
        let by_name = HostSpec {
            host: Some("h".to_owned()),
            hostaddr: address,
            port: 5432,
        };
        assert_eq!(passfile.lookup(&by_name, "d", "u"), Some(Secret(b"plain".to_vec())));
    }

    #[test]
    fn the_password_comes_from_string_then_environment_then_file() {
        let dir = Dir::new();
        let file = dir.file(".pgpass", "a:*:*:u:of a\nb:*:*:u:of b\n*:*:*:tenant:of tenant\n", 0o600);
        let home = ("HOME", dir.path());

        let info = resolve("host=a,b,c user=u dbname=d", &[home]).unwrap();
        let found: Vec<_> = (0..3).map(|host| password(&info, host)).collect();
        assert_eq!(found, [Some("of a".to_owned()), Some("of b".to_owned()), None]);
        assert_eq!((info.has_password(0), info.has_password(2)), (true, false));
        assert_eq!(info.to_driver(1, "x").get_password(), Some(&b"of b"[..]));
        assert_eq!(info.to_driver(2, "x").get_password(), None);

        let env = [home, ("PGPASSWORD", "env")];
        assert_eq!(
            password(&resolve("host=a user=u", &env).unwrap(), 0).as_deref(),
            Some("env")
        );
        assert_eq!(
            password(&resolve("host=a user=u password=str", &env).unwrap(), 0).as_deref(),
            Some("str")
        );
        assert_eq!(
            password(&resolve("postgres://u:s%74r@a", &env).unwrap(), 0).as_deref(),
            Some("str")
        );

        // Named by parameter or variable
        for (text, env) in [
            (format!("host=a user=u passfile={file}"), ("PGPASSFILE", "/nowhere")),
            ("host=a user=u".to_owned(), ("PGPASSFILE", file.as_str())),
        ] {
            assert_eq!(
                password(&resolve(&text, &[env]).unwrap(), 0).as_deref(),
                Some("of a"),
                "{text}"
            );
        }
        let info = resolve("host=a user=u", &[home, ("PGPASSFILE", "/nowhere")]).unwrap();
        assert_eq!((password(&info, 0), info.warnings.len()), (None, 0));

        // Another login gets its own password, never the first one's.
        let info = resolve("host=a user=u password=str", &[home]).unwrap();
        assert_eq!(
            password(&info.with_login("tenant", None), 0).as_deref(),
            Some("of tenant")
        );
        assert_eq!(
            password(&info.with_login("tenant", Some("own")), 0).as_deref(),
            Some("own")
        );
        assert_eq!(password(&info.with_login("stranger", None), 0), None);
        assert_eq!(short(&info.with_login("tenant", None)), "tenant@a:5432/u");
    }

    #[test]
    fn an_exposed_password_file_is_ignored_with_a_warning() {
        let dir = Dir::new();
        for (mode, exposed) in [
            (0o600, false),
            (0o400, false),
            (0o700, false),
            (0o640, true),
            (0o604, true),
            (0o610, true),
            (0o602, true),
        ] {
            let file = dir.file("pass", "*:*:*:*:secret\n", mode);
            let text = format!("host=h user=u passfile={file}");
            let info = resolve(&text, &[]).unwrap();
            assert_eq!(info.has_password(0), !exposed, "{mode:o}");
            let why = "it has group or world access; permissions should be u=rw (0600) or less";
            let expected = format!("password file {file:?} is ignored: {why}");
            assert_eq!(info.warnings, if exposed { vec![expected] } else { vec![] }, "{mode:o}");
            let info = resolve(&format!("{text} password=x"), &[]).unwrap();
            assert!(info.warnings.is_empty(), "not needed, so not warned about");
        }
        let info = resolve(&format!("host=h user=u passfile={}", dir.path()), &[]).unwrap();
        assert!(
            info.warnings[0].ends_with("it is not a plain file"),
            "{:?}",
            info.warnings
        );
    }
}
