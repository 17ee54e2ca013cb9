//! Ways to break a hardened database, one at a time, and what `validate` must say of each.
//!
//! In the texts `{tenant}`, `{schema}`, `{role}` are the victim's, `{other}`, `{other_schema}`, `{other_role}` those of
//! another tenant, `{db}` is the database. Apply and undo run as the superuser, each as one simple query.

#![expect(dead_code, reason = "data for the suite that runs them")]

pub mod cluster;
pub mod grants;
pub mod roles;

/// One break.
pub struct Mutation {
    /// What it does, unique among all.
    pub name: &'static str,
    /// The checks that must report it, all of them.
    pub checks: &'static [&'static str],
    /// Whether the finding must be the victim's.
    pub tenant: bool,
    /// The finding's object.
    pub object: &'static str,
    /// SQL that breaks.
    pub apply: &'static str,
    /// SQL that restores the hardened state exactly.
    pub undo: &'static str,
}
