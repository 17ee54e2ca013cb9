//! Passwords outside the server: the credentials file, and age files that only the holders of a key can read.

pub mod file;
pub mod ledger;
pub mod vault;
