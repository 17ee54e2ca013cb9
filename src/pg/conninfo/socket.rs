//! Directories of Unix sockets: where the packages put them, and which one is meant if no host is named.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::account::{own_uid, passwd_entry};

/// The socket directory of the distributions' packages.
pub(super) const SOCKET_DIR: &str = "/var/run/postgresql";

/// The socket directory of a libpq built from source.
pub(super) const OTHER_SOCKET_DIR: &str = "/tmp";

/// Where a server is looked for if no host is named.
pub(super) fn default_host(port: u16) -> String {
    // Anyone may put a socket into /tmp and wait for passwords; only these owners are believed there.
    let postgres = || passwd_entry(&fs::read_to_string("/etc/passwd").ok()?, |name, _| name == "postgres");
    let trusted = |uid: u32| uid == 0 || own_uid() == Some(uid) || postgres().is_some_and(|(_, id, _)| id == uid);
    find_socket_dir(port, Path::new(SOCKET_DIR), Path::new(OTHER_SOCKET_DIR), trusted)
}

fn find_socket_dir(port: u16, dir: &Path, other: &Path, trusted: impl Fn(u32) -> bool) -> String {
    let socket = format!(".s.PGSQL.{port}");
    let is_server = |entry: fs::DirEntry| entry.file_name().to_string_lossy().starts_with(".s.PGSQL.");
    let any_server = || fs::read_dir(dir).is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(is_server)));
    if dir.join(&socket).exists() {
        dir.display().to_string()
    } else if fs::metadata(other.join(&socket)).is_ok_and(|metadata| trusted(metadata.uid())) {
        other.display().to_string()
    } else if any_server() {
        // A server on another port: the error will name this socket.
        dir.display().to_string()
    } else {
        "localhost".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::pg::conninfo::tests::{Dir, resolve};

    #[test]
    fn the_default_host_is_where_a_socket_is() {
        let (dir, other, absent) = (Dir::new(), Dir::new(), PathBuf::from("/nonexistent"));
        let find = |port, trusted: bool| find_socket_dir(port, &dir.0, &other.0, |_| trusted);
        assert_eq!(find(5432, true), "localhost");
        assert_eq!(find_socket_dir(5432, &absent, &absent, |_| true), "localhost");
        other.file(".s.PGSQL.5432", "", 0o777);
        assert_eq!(find(5432, true), other.path());
        assert_eq!(find(5432, false), "localhost", "a stranger's socket in /tmp");
        dir.file(".s.PGSQL.5432", "", 0o777);
        assert_eq!(find(5432, true), dir.path());
        assert_eq!(find(5433, true), dir.path(), "a server on another port");
        // An empty host in a list is the default one.
        let info = resolve("host=a, user=u", &[]).unwrap();
        let default = info.hosts[1].host.as_deref().unwrap();
        assert!(default == "localhost" || default.starts_with('/'), "{default}");
    }
}
