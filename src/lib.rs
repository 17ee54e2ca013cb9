//! tenantctl runs PostgreSQL with a schema per tenant.

pub mod error;
pub mod tenant;
