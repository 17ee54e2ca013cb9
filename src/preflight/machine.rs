//! The server's machine, where tenantctl can see it.

use std::fs;
use std::path::Path;

use sysinfo::System;

use crate::pg::session::Session;

/// Memory of the server's machine.
#[derive(Clone, Debug, PartialEq)]
pub struct Memory {
    /// Bytes.
    pub bytes: u64,
    /// How that is known, for messages: completes `the machine has 8 GiB (...)`.
    pub source: &'static str,
}

impl Memory {
    /// What somebody said.
    pub fn told(bytes: u64) -> Self {
        Self {
            bytes,
            source: "--memory",
        }
    }

    /// The memory of this machine, or of the server's control group where that has less; none unless the process of this
    /// session's backend is seen here, which proves that the server runs on this machine.
    pub fn of_local_server(session: &Session) -> Option<Self> {
        let process = Path::new("/proc").join(session.server().backend_pid.to_string());
        let name = fs::read_to_string(process.join("comm")).ok()?;
        if !name.trim_end().starts_with("postgres") && name.trim_end() != "postmaster" {
            return None;
        }
        let mut system = System::new();
        system.refresh_memory();
        let total = system.total_memory();
        let group = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
        match limit(&group, Path::new("/sys/fs/cgroup")).filter(|limit| *limit < total) {
            Some(bytes) => Some(Self {
                bytes,
                source: "its control group",
            }),
            None => (total > 0).then_some(Self {
                bytes: total,
                source: "the server runs on this machine",
            }),
        }
    }
}

/// The least `memory.max` of a control group of version 2 and those that it is in.
fn limit(group: &str, root: &Path) -> Option<u64> {
    let path = group.lines().find_map(|line| line.strip_prefix("0::"))?;
    let inside = root.join(path.trim_start_matches('/'));
    inside
        .ancestors()
        .take_while(|dir| dir.starts_with(root))
        .filter_map(|dir| fs::read_to_string(dir.join("memory.max")).ok()?.trim().parse().ok())
        .min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tightest_control_group_counts() {
        let root = std::env::temp_dir().join(format!("tenantctl-cgroup-{}", std::process::id()));
        let inner = root.join("a/b");
        fs::create_dir_all(&inner).expect("a folder");
        fs::write(root.join("a/memory.max"), "1073741824\n").expect("a file");
        fs::write(inner.join("memory.max"), "max\n").expect("a file");
        assert_eq!(limit("0::/a/b\n", &root), Some(1_073_741_824));
        fs::write(inner.join("memory.max"), "536870912\n").expect("a file");
        assert_eq!(limit("1:cpu:/x\n0::/a/b\n", &root), Some(536_870_912));
        assert_eq!(limit("0::/c\n", &root), None);
        assert_eq!(limit("4:memory:/a\n", &root), None);
        let _ = fs::remove_dir_all(&root);
    }
}
