//! Memory that a backend of the server has for itself: from outside where the server runs on this machine and lets us look, else
//! what it says of itself.

use std::fs;

use crate::error::Result;
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;

/// What one backend takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Its share of all memory but PostgreSQL's shared memory, and its page tables, in bytes.
    pub own: u64,
    /// The page tables among it: they grow with the part of shared_buffers that it has touched. None when the backend was asked.
    pub page_tables: Option<u64>,
}

/// How the figures come about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// `/proc`, from outside.
    System,
    /// `pg_backend_memory_contexts`, which the backend is asked for: what PostgreSQL has allocated, not what the process takes.
    Backend,
}

impl Source {
    /// Outside, where this session's backend can be seen.
    pub fn of(session: &Session) -> Self {
        let server = session.server();
        match seen(server.backend_pid, &server.database) {
            Some(_) => Self::System,
            None => Self::Backend,
        }
    }

    /// The memory of a session's backend; the session must be the admin's where it has to be asked.
    ///
    /// # Errors
    /// When the backend is gone, or does not tell.
    pub async fn memory(self, session: &Session) -> Result<Memory> {
        let server = session.server();
        if self == Self::System
            && let Some(memory) = seen(server.backend_pid, &server.database)
        {
            return Ok(memory);
        }
        let sql =
            Sql::new("SELECT pg_catalog.sum(total_bytes)::bigint AS bytes FROM pg_catalog.pg_backend_memory_contexts");
        let row = session.query_one(&sql, &[], "ask a backend for its memory").await?;
        Ok(Memory {
            own: column::<i64>(&row, "bytes")?.unsigned_abs(),
            page_tables: None,
        })
    }
}

/// A process of that number is only taken for the backend if its title has the database's name, which nothing else has.
fn seen(pid: i32, database: &str) -> Option<Memory> {
    let title = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    if !String::from_utf8_lossy(&title).contains(database) {
        return None;
    }
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    read(&smaps, &status)
}

fn read(smaps: &str, status: &str) -> Option<Memory> {
    // Older kernels do not part it; then what is not anonymous (the program's own pages, shared by all) is left out.
    let own = match (kib(smaps, "Pss_Anon:"), kib(smaps, "Pss_File:")) {
        (Some(anonymous), Some(files)) => anonymous + files,
        _ => kib(smaps, "Anonymous:")?,
    };
    let page_tables = kib(status, "VmPTE:")?;
    Some(Memory {
        own: (own + page_tables) << 10,
        page_tables: Some(page_tables << 10),
    })
}

fn kib(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix("kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "Name:\tpostgres\nVmPTE:\t     200 kB\n";

    #[test]
    fn shared_memory_is_nobodys_and_page_tables_count() {
        let smaps = "5581 [rollup]\nRss:  9000 kB\nPss:  5000 kB\nPss_Anon:  1500 kB\nPss_File:   300 kB\nPss_Shmem: 3200 kB\n\
Anonymous: 2500 kB\n";
        let memory = Memory {
            own: 2000 << 10,
            page_tables: Some(200 << 10),
        };
        assert_eq!(read(smaps, STATUS), Some(memory));
        let older = "Rss: 9000 kB\nPss: 5000 kB\nAnonymous: 2500 kB\n";
        assert_eq!(read(older, STATUS).map(|m| m.own), Some(2700 << 10));
        assert_eq!(read("Rss: 9000 kB\n", STATUS), None);
    }

    #[test]
    fn only_the_backend_itself_is_looked_at() {
        let pid = i32::try_from(std::process::id()).expect("small");
        assert_eq!(seen(pid, "tenantctl_bench_no_such_database"), None);
    }
}
