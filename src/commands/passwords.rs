//! Where new passwords go: stdout, a credentials file, the registry. For the commands that make some.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use super::Context;
use crate::credentials::file::CredentialsFile;
use crate::credentials::ledger::{Ledger, Sent};
use crate::credentials::vault::Recipients;
use crate::error::{Error, ErrorKind, Result};
use crate::tenant::TenantId;

/// Where the passwords of a run go.
pub struct Passwords<'a> {
    /// Whom they are stored for.
    pub recipients: Arc<Recipients>,
    file: Option<&'a Path>,
    no_show: bool,
}

impl<'a> Passwords<'a> {
    /// Checks what was asked for, before anything is done.
    ///
    /// # Errors
    /// Kinds `usage` and `config`: a file that exists, --no-show with nobody to store for, a key that is none.
    pub fn new(ctx: &Context<'_>, file: Option<&'a Path>, no_show: bool) -> Result<Self> {
        if let Some(path) = file {
            CredentialsFile::refuse_existing(path)?;
        }
        let recipients = Recipients::parse(&ctx.settings.config.credentials.age_recipients)?;
        if no_show && recipients.is_empty() {
            return Err(
                Error::usage("--no-show would leave passwords that nobody knows").with_hint(
                    "Passwords are stored once credentials.age_recipients in the configuration names a public key.",
                ),
            );
        }
        Ok(Self {
            recipients: Arc::new(recipients),
            file,
            no_show,
        })
    }

    /// The ledger for a run, with the credentials file created.
    ///
    /// # Errors
    /// Kind `usage` when nobody would ever see the passwords; kind `store` when the file cannot be created.
    pub fn open(&self, ctx: &Context<'_>) -> Result<Arc<Ledger>> {
        if self.file.is_none() && self.recipients.is_empty() && ctx.ui.stdout_is_discarded() {
            return Err(Error::usage("stdout goes nowhere, and the passwords with it")
                .with_hint("Let stdout be seen, or name a --credentials-file."));
        }
        let file = self.file.map(CredentialsFile::create).transpose()?;
        Ok(Arc::new(Ledger::new(file)))
    }

    /// What is printed in place of a password; none: the password is.
    pub fn elsewhere(&self) -> Option<&'static str> {
        match (self.file, self.no_show) {
            (Some(_), _) => Some("(in the credentials file)"),
            (None, true) => Some("(stored)"),
            (None, false) => None,
        }
    }
}

/// What was sent and has no certain outcome: neither told of nor certainly failed.
pub fn in_doubt<'a>(
    ledger: &Ledger,
    told: impl Iterator<Item = &'a TenantId>,
    errors: &'a [(TenantId, Error)],
) -> Vec<(TenantId, Sent)> {
    let known: BTreeSet<&TenantId> = told.chain(failed(errors)).collect();
    let sent = ledger.sent();
    sent.into_iter().filter(|(id, _)| !known.contains(id)).collect()
}

/// Takes the entries of tenants that were not made or changed out of the credentials file. `told` are the tenants of
/// the result with their roles.
///
/// # Errors
/// Kind `store`.
pub fn finish<'a>(
    ledger: &Ledger,
    told: impl Iterator<Item = (&'a TenantId, &'a str)>,
    errors: &'a [(TenantId, Error)],
) -> Result<()> {
    let Some(file) = ledger.file() else {
        return Ok(());
    };
    let (done, roles): (BTreeSet<&TenantId>, BTreeSet<&str>) = told.unzip();
    let failed: BTreeSet<&TenantId> = failed(errors).collect();
    // One of which nothing is known keeps its entry.
    file.finish(|id, role| roles.contains(role) || !(failed.contains(id) || done.contains(id)))
}

fn failed(errors: &[(TenantId, Error)]) -> impl Iterator<Item = &TenantId> {
    errors.iter().filter(|(_, e)| !e.is_uncertain()).map(|(id, _)| id)
}

/// What a failure to print the result means: `lost` are the tenants whose passwords are nowhere else.
///
/// # Errors
/// Kind `store`, unless nothing was lost but a reader.
pub fn printed(written: std::io::Result<()>, lost: &[&str], hint: &'static str) -> Result<()> {
    match written {
        Err(why) if !lost.is_empty() => Err(Error::new(
            ErrorKind::Store,
            format!("the passwords of {} could not be written", lost.join(", ")),
        )
        .with_cause(why)
        .with_hint(hint)),
        Err(why) if why.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new(ErrorKind::Store, "cannot write to stdout").with_cause(why))
        }
        _ => Ok(()),
    }
}
