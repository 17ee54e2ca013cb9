//! tenantctl runs PostgreSQL with a schema per tenant.

pub mod config;
pub mod error;
pub mod pg;
pub mod plan;
pub mod tenant;
