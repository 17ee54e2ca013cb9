//! Reads of stored passwords.

use serde::Serialize;
use tokio_postgres::types::Type;

use crate::error::Result;
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;
use crate::tenant::TenantId;

/// That a tenant's password is stored, and for whom; not the password.
#[derive(Clone, Debug, Serialize)]
pub struct StoredCredential {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Its login role.
    pub role_name: String,
    /// When it was stored, ISO 8601 in UTC.
    pub stored_at: String,
    /// The public keys that it is encrypted to.
    pub recipients: Vec<String>,
}

/// All that are stored, by tenant.
///
/// # Errors
/// When the registry cannot be read.
pub async fn list(session: &Session) -> Result<Vec<StoredCredential>> {
    let sql = Sql::new(
        "SELECT c.tenant_id, t.role_name, c.recipients,
    pg_catalog.to_char(c.stored_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS stored_at
FROM tenantctl.credentials c JOIN tenantctl.tenants t ON t.tenant_id = c.tenant_id ORDER BY c.tenant_id",
    );
    let rows = session.query(&sql, &[], "read what is stored").await?;
    rows.iter()
        .map(|row| {
            Ok(StoredCredential {
                tenant_id: column::<&str>(row, "tenant_id")?.parse()?,
                role_name: column(row, "role_name")?,
                stored_at: column(row, "stored_at")?,
                recipients: column(row, "recipients")?,
            })
        })
        .collect()
}

/// One tenant's stored password, as it is stored.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// An ASCII-armored age file, if nobody has tampered with it.
    pub ciphertext: String,
    /// The public keys that it is encrypted to.
    pub recipients: Vec<String>,
    /// When it was stored, ISO 8601 in UTC.
    pub stored_at: String,
}

/// One tenant's stored password; none if none is stored.
///
/// # Errors
/// When the registry cannot be read.
pub async fn envelope(session: &Session, id: &TenantId) -> Result<Option<Envelope>> {
    let sql = Sql::new(
        "SELECT c.ciphertext, c.recipients,
    pg_catalog.to_char(c.stored_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') AS stored_at
FROM tenantctl.credentials c WHERE c.tenant_id = $1",
    );
    let row = session
        .query_opt(&sql, &[(&id.as_str(), Type::TEXT)], "read what is stored")
        .await?;
    row.map(|row| {
        Ok(Envelope {
            ciphertext: column(&row, "ciphertext")?,
            recipients: column(&row, "recipients")?,
            stored_at: column(&row, "stored_at")?,
        })
    })
    .transpose()
}
