//! The credentials file: CSV, mode 0600, never overwritten, ahead of the server.
//!
//! An entry is written before its tenant is sent, so that no kill can leave a tenant whose password nobody knows.
//! A run that ends by itself takes the entries of tenants that were not made or changed out again. After a kill, an
//! entry of `provision` whose role does not exist belongs to a tenant that was not made, and an entry of `rotate`
//! that the server refuses to a tenant that still has its old password.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::error::{Error, ErrorKind, Result};
use crate::pg::password::{Password, random_hex};
use crate::tenant::{SchemaName, TenantId};

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

    /// Writes an entry, ahead of the server.
    ///
    /// # Errors
    /// Kind `store`; the tenant must not be sent then.
    pub fn write(&self, id: &TenantId, schema: &SchemaName, password: &Password) -> Result<()> {
        let role = schema.role();
        let line = format!("{id},{role},{schema},{}\n", password.reveal());
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

fn unwritable(path: &Path, error: std::io::Error) -> Error {
    Error::new(ErrorKind::Store, format!("cannot write {}", path.display()))
        .with_cause(error)
        .with_hint("Check that the folder exists, that you may write there, and that the disk is not full.")
}
