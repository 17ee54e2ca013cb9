//! The credentials file: CSV, mode 0600, never overwritten, ahead of the server.
//!
//! An entry is written before its tenant is sent, so that no kill can leave a tenant whose password nobody knows.
//! A run that ends by itself takes the entries of tenants that were not made out again; after a kill, an entry
//! whose role does not exist belongs to a tenant that was not made.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::pg::password::random_hex;
use crate::provisioner::{Identity, Ledger};
use crate::tenant::TenantId;

const HEADER: &str = "tenant_id,role_name,schema_name,password\n";

/// An open credentials file.
pub struct CredentialsFile {
    path: PathBuf,
    entries: Mutex<(File, Vec<Entry>)>,
}

struct Entry {
    id: TenantId,
    role: String,
    line: String,
}

impl CredentialsFile {
    /// Refuses a path that is taken, before anything is done.
    ///
    /// # Errors
    /// Kind `usage`.
    pub fn refuse_existing(path: &Path) -> Result<()> {
        if path.symlink_metadata().is_ok() {
            return Err(Error::usage(format!("{} exists", path.display()))
                .with_cause("a credentials file is never overwritten")
                .with_hint("Name a new file; passwords in the old one may still be the only copy."));
        }
        Ok(())
    }

    /// Creates the file for its owner only.
    ///
    /// # Errors
    /// Kind `usage` when it exists by now, `store` when it cannot be created.
    pub fn create(path: &Path) -> Result<Self> {
        Self::refuse_existing(path)?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)
            .map_err(|e| unwritable(path, e))?;
        file.write_all(HEADER.as_bytes()).map_err(|e| unwritable(path, e))?;
        Ok(Self {
            path: path.to_owned(),
            entries: Mutex::new((file, Vec::new())),
        })
    }

    /// Takes out the entries that are not to be kept, by tenant id and role, and makes the file durable.
    ///
    /// # Errors
    /// Kind `store`; the entries written so far are still there then.
    pub fn finish(&self, keep: impl Fn(&TenantId, &str) -> bool) -> Result<()> {
        let mut guard = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let (file, entries) = &mut *guard;
        let failed = |e| unwritable(&self.path, e);
        if entries.iter().all(|entry| keep(&entry.id, &entry.role)) {
            return file.sync_all().map_err(failed);
        }
        let kept: String = entries
            .iter()
            .filter(|e| keep(&e.id, &e.role))
            .map(|e| e.line.as_str())
            .collect();
        let beside = self.path.with_extension(format!("{}.tmp", random_hex(6)));
        let mut copy = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)
            .map_err(failed)?;
        copy.write_all(format!("{HEADER}{kept}").as_bytes())
            .and_then(|()| copy.sync_all())
            .and_then(|()| std::fs::rename(&beside, &self.path))
            .map_err(failed)
    }
}

impl Ledger for CredentialsFile {
    fn sending(&self, id: &TenantId, identity: &Identity) -> Result<()> {
        let role = identity.schema.role();
        let line = format!("{id},{role},{},{}\n", identity.schema, identity.password.reveal());
        let mut guard = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        guard
            .0
            .write_all(line.as_bytes())
            .map_err(|e| unwritable(&self.path, e))?;
        guard.1.push(Entry {
            id: id.clone(),
            role,
            line,
        });
        Ok(())
    }
}

fn unwritable(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Store, format!("cannot write {}", path.display()))
        .with_cause(error)
        .with_hint("Check that the folder exists, that you may write there, and that the disk is not full.")
}
