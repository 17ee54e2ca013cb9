//! PgBouncer: its configuration, the lookup of tenants' passwords, its admin console.
