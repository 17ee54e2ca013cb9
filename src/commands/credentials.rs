//! `credentials`: passwords that are stored encrypted.

use std::path::PathBuf;

use serde::Serialize;

use super::{Context, Status};
use crate::catalog::credentials::{self, Envelope, StoredCredential};
use crate::catalog::tenants::{self, TenantRow};
use crate::cli::{CredentialsCommand, CredentialsShowArgs};
use crate::credentials::vault::{Closed, Identities};
use crate::error::{Error, ErrorKind, Result};
use crate::pg::password::Password;
use crate::ui::table::Grid;
use crate::ui::{Render, Ui};

/// All that are stored.
#[derive(Debug, Serialize)]
pub struct Listing {
    /// By tenant.
    pub credentials: Vec<StoredCredential>,
}

impl Render for Listing {
    fn text(&self, ui: &Ui) -> String {
        if self.credentials.is_empty() {
            return String::new();
        }
        let mut grid = Grid::new(ui, &["tenant", "stored", "role", "recipients"]);
        for c in &self.credentials {
            let recipients: Vec<String> = c.recipients.iter().map(|key| short(key)).collect();
            grid.row([
                c.tenant_id.to_string(),
                c.stored_at.clone(),
                c.role_name.clone(),
                recipients.join(", "),
            ]);
        }
        grid.render()
    }
}

/// Enough of a public key to tell it from others: its start, or kind and end of an SSH key.
fn short(key: &str) -> String {
    let mut words = key.split_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(kind), Some(_), Some(comment)) => format!("{kind} {comment}"),
        (Some(kind), Some(body), None) => {
            let tail: String = body.chars().skip(body.chars().count().saturating_sub(8)).collect();
            format!("{kind} ...{tail}")
        }
        _ => {
            let head: String = key.chars().take(16).collect();
            format!("{head}...")
        }
    }
}

/// How to log in as a tenant.
#[derive(Debug, Serialize)]
pub struct Credential<'a> {
    /// The tenant.
    pub tenant_id: &'a str,
    /// Its schema.
    pub schema_name: &'a str,
    /// Its login role.
    pub role_name: &'a str,
    /// The server's host, or the folder of its socket, as this admin reaches it.
    pub host: String,
    /// The server's port.
    pub port: u16,
    /// The database.
    pub database: &'a str,
    /// The password.
    #[serde(serialize_with = "revealed")]
    pub password: Password,
    /// When it was stored, ISO 8601 in UTC.
    pub stored_at: &'a str,
}

/// This is what the command is for.
fn revealed<S: serde::Serializer>(password: &Password, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(password.reveal())
}

impl Render for Credential<'_> {
    fn text(&self, ui: &Ui) -> String {
        let port = self.port.to_string();
        [
            ("tenant", self.tenant_id),
            ("role", self.role_name),
            ("password", self.password.reveal()),
            ("host", &self.host),
            ("port", &port),
            ("database", self.database),
            ("stored", self.stored_at),
        ]
        .iter()
        .map(|(name, value)| format!("{} {value}", ui.dim(&format!("{name:<9}"))))
        .collect::<Vec<_>>()
        .join("\n")
    }
}

/// Runs the command.
///
/// # Errors
/// When nothing is stored for the tenant, or it cannot be decrypted.
pub async fn run(ctx: &Context<'_>, command: &CredentialsCommand) -> Result<Status> {
    match command {
        CredentialsCommand::Show(args) => show(ctx, args).await,
        CredentialsCommand::List => list(ctx).await,
    }
}

async fn list(ctx: &Context<'_>) -> Result<Status> {
    let session = ctx.settings.registry(false).await?;
    let listing = Listing {
        credentials: credentials::list(&session).await?,
    };
    if listing.credentials.is_empty() {
        ctx.ui.note("no passwords are stored");
    }
    ctx.ui.result(&listing)?;
    Ok(Status::Done)
}

async fn show(ctx: &Context<'_>, args: &CredentialsShowArgs) -> Result<Status> {
    let id = args.tenant.parse()?;
    let files: Vec<&PathBuf> = args.identity.iter().filter(|p| !p.as_os_str().is_empty()).collect();
    if files.is_empty() {
        return Err(Error::usage("no identity to decrypt the password with").with_hint(
            "Name the file with your private key: --identity FILE, or TENANTCTL_IDENTITY in the environment.",
        ));
    }
    let identities = Identities::load(&files)?;
    let session = ctx.settings.registry(false).await?;
    let tenant = tenants::find_one(&session, &id).await?;
    let envelope = credentials::envelope(&session, &id)
        .await?
        .ok_or_else(|| nothing_stored(&tenant))?;
    let password = identities
        .open(&envelope.ciphertext)
        .map_err(|why| closed(&tenant, &envelope, why))?;
    let info = ctx.settings.connector.info();
    let host = &info.hosts[session.host()];
    ctx.ui.result(&Credential {
        tenant_id: tenant.tenant_id.as_str(),
        schema_name: tenant.schema_name.as_str(),
        role_name: &tenant.role_name,
        host: host
            .host
            .clone()
            .or_else(|| host.hostaddr.map(|address| address.to_string()))
            .unwrap_or_default(),
        port: host.port,
        database: &session.server().database,
        password,
        stored_at: &envelope.stored_at,
    })?;
    Ok(Status::Done)
}

fn nothing_stored(tenant: &TenantRow) -> Error {
    let id = &tenant.tenant_id;
    Error::new(ErrorKind::NotFound, format!("no password of tenant {id} is stored")).with_hint(format!(
        "Passwords are stored once credentials.age_recipients in the configuration names a public key; then `tenantctl rotate {id}` makes a new one and stores it."
    ))
}

fn closed(tenant: &TenantRow, envelope: &Envelope, why: Closed) -> Error {
    let id = &tenant.tenant_id;
    match why {
        Closed::NoKey => Error::new(
            ErrorKind::NotFound,
            format!("no identity given decrypts the password of tenant {id}"),
        )
        .with_cause(format!("it is encrypted to {}", envelope.recipients.join(", ")))
        .with_hint(format!(
            "Give the private key of one of them. If all are lost, `tenantctl rotate {id}` makes a new password."
        )),
        Closed::Damaged(why) => Error::new(
            ErrorKind::Unknown,
            format!("the stored password of tenant {id} is damaged"),
        )
        .with_cause(why)
        .with_hint(format!(
            "It is not what tenantctl stored. `tenantctl rotate {id}` makes a new password and stores it."
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shortened_to_what_tells_them_apart() {
        assert_eq!(short("age1qqqqqqqqqqqqqqqqqqqqqqqqq"), "age1qqqqqqqqqqqq...");
        assert_eq!(short("ssh-ed25519 AAAAC3Nza12345678"), "ssh-ed25519 ...12345678");
        assert_eq!(short("ssh-rsa AAAA alice@host"), "ssh-rsa alice@host");
    }
}
