//! What was sent to the server, kept until it is known what became of it.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use super::file::CredentialsFile;
use crate::error::Result;
use crate::pg::password::Password;
use crate::tenant::{SchemaName, TenantId};

/// Passwords on their way, written down before the server hears of them: in the credentials file if there is one, and
/// here in any case.
#[derive(Default)]
pub struct Ledger {
    file: Option<CredentialsFile>,
    sent: Mutex<BTreeMap<TenantId, Sent>>,
}

/// The latest that was sent for a tenant.
#[derive(Clone, Debug)]
pub struct Sent {
    /// The tenant's schema.
    pub schema: SchemaName,
    /// The password that its role has if it was done.
    pub password: Password,
}

impl Ledger {
    /// A ledger that also writes a file, where there is one.
    pub fn new(file: Option<CredentialsFile>) -> Self {
        Self {
            file,
            sent: Mutex::default(),
        }
    }

    /// The file.
    pub fn file(&self) -> Option<&CredentialsFile> {
        self.file.as_ref()
    }

    /// Called before each attempt; an error keeps the tenant from being sent.
    ///
    /// # Errors
    /// When it could not be written down.
    pub fn sending(&self, id: &TenantId, schema: &SchemaName, password: &Password) -> Result<()> {
        if let Some(file) = &self.file {
            file.write(id, schema, password)?;
        }
        let sent = Sent {
            schema: schema.clone(),
            password: password.clone(),
        };
        self.sent
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(id.clone(), sent);
        Ok(())
    }

    /// What was sent, by tenant.
    pub fn sent(&self) -> BTreeMap<TenantId, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
