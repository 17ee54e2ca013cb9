//! Everything that talks to PostgreSQL: parameters, TLS, sessions, quoting, SQLSTATE, applying plans.

pub mod apply;
pub mod conninfo;
pub mod console;
pub mod copy;
pub mod eviction;
pub mod hosts;
pub mod password;
mod pooled;
pub mod record;
pub mod session;
pub mod sql;
pub mod sqlstate;
pub mod tls;
