//! A new password for a tenant: role and stored copy change together.

use std::time::Duration;

use uuid::Uuid;

use super::{Plan, as_admin, as_owner, record_as};
use crate::pg::sql::Sql;
use crate::tenant::{SchemaName, TenantId};

/// A password encrypted for storage, as it goes into the registry.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// An ASCII-armored age file.
    pub ciphertext: &'a str,
    /// The public keys it was encrypted to.
    pub recipients: &'a [String],
}

/// Whose password changes, and into what.
pub struct Rotation<'a> {
    /// The tenant.
    pub id: &'a TenantId,
    /// Its schema.
    pub schema: &'a SchemaName,
    /// SCRAM-SHA-256 verifier of the new password.
    pub verifier: &'a str,
    /// The new password encrypted; none: it is not stored, and neither is the old one any longer.
    pub stored: Option<Stored<'a>>,
    /// The key of the row in the operation log, by which the transaction is found again.
    pub operation: Uuid,
    /// The transaction must commit within this time.
    pub timeout: Duration,
    /// Limit for each wait on a lock.
    pub lock_timeout: Duration,
}

/// The transaction that changes the password. The registry row's lock serialises commands on one tenant.
pub fn plan(new: &Rotation<'_>) -> Plan {
    let mut plan = Plan::new(
        format!("rotate the password of tenant {}", new.id),
        new.timeout,
        new.lock_timeout,
    );
    plan.step(
        "lock the registry row",
        as_owner()
            .text("\nWITH mine AS (SELECT FROM tenantctl.tenants WHERE tenant_id = ")
            .literal(new.id.as_str())
            .text(" AND schema_name = ")
            .literal(new.schema.as_str())
            // Nothing to lock: the tenant was dropped meanwhile, and division by zero ends the transaction.
            .text(" FOR UPDATE)\nSELECT 1 / pg_catalog.count(*) FROM mine;"),
    );
    plan.step(
        "set the role's password",
        as_admin()
            .text("\nALTER ROLE ")
            .ident(&new.schema.role())
            .text(" PASSWORD ")
            .secret(new.verifier)
            .text(";"),
    );
    let (what, sql) = match new.stored {
        Some(stored) => ("store the password, encrypted", store(new.id, stored)),
        None => (
            "forget a stored password, which holds no longer",
            Sql::new("DELETE FROM tenantctl.credentials WHERE tenant_id = ")
                .literal(new.id.as_str())
                .text(";"),
        ),
    };
    plan.step(what, as_owner().text("\n").append(sql));
    plan.step(
        "record the operation, unless the time limit has passed",
        record_as(Some(new.operation), "rotate", Some(new.id.as_str()), new.timeout),
    );
    plan
}

/// Puts an encrypted password into the registry, in place of one that is there. As the owner.
pub fn store(id: &TenantId, stored: Stored<'_>) -> Sql {
    Sql::new("INSERT INTO tenantctl.credentials (tenant_id, ciphertext, recipients)\nVALUES (")
        .literal(id.as_str())
        .text(", ")
        .secret(stored.ciphertext)
        .text(", ")
        .text_array(stored.recipients)
        .text(
            ")
ON CONFLICT (tenant_id) DO UPDATE SET ciphertext = EXCLUDED.ciphertext, recipients = EXCLUDED.recipients,
    stored_at = EXCLUDED.stored_at;",
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_masked_and_an_outdated_copy_goes() {
        let id: TenantId = "acme".parse().expect("an id");
        let schema = SchemaName::derive(&id, "salt");
        let recipients = ["age1x".to_owned()];
        let mut rotation = Rotation {
            id: &id,
            schema: &schema,
            verifier: "SCRAM-SHA-256$hidden",
            stored: Some(Stored {
                ciphertext: "armored",
                recipients: &recipients,
            }),
            operation: Uuid::nil(),
            timeout: Duration::from_secs(1),
            lock_timeout: Duration::from_secs(1),
        };
        let text = plan(&rotation).to_string();
        assert!(text.contains("PASSWORD NULL /* secret */"), "{text}");
        assert!(!text.contains("SCRAM") && !text.contains("armored"), "{text}");
        assert!(text.contains("ON CONFLICT") && !text.contains("DELETE"), "{text}");
        rotation.stored = None;
        let text = plan(&rotation).to_string();
        assert!(
            text.contains("DELETE FROM tenantctl.credentials") && !text.contains("INSERT INTO tenantctl.credentials"),
            "{text}"
        );
    }
}
