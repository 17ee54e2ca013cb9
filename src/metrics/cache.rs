//! Metrics in Redis: one document a tenant, for whoever must not wait for the database.
