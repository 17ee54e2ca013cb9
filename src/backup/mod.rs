//! Backups of one tenant: a manifest and its members in a store, from one snapshot, without a temporary file.
//!
//! A backup lies under `tenants/<tenant_id>/backups/<backup_id>/`. `manifest.json` is written last: without it there is no
//! backup, only what an upload that died has left. `SHA256SUMS` lists every other member and the manifest, in the form that
//! `sha256sum -c` takes; together with `load.sql` it lets anyone restore with `sha256sum`, `zstd` and `psql` alone.

mod active;
pub mod ddl;
pub mod inventory;
pub mod leftovers;
pub mod load;
pub mod lock;
pub mod manifest;
pub mod member;
pub mod parts;
pub(crate) mod pg_dump;
pub mod prune;
mod replay;
pub mod rows;
pub mod script;
pub mod snapshot;
pub mod template;
pub mod verify;
pub mod writer;
