//! tenantctl runs PostgreSQL with a schema per tenant.

pub mod catalog;
pub mod config;
pub mod error;
pub mod installer;
pub mod interrupt;
pub mod pg;
pub mod plan;
pub mod provisioner;
pub mod tenant;
