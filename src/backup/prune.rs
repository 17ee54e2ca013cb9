//! What may go from a store: decided here, from what is in it and what the registry says, and done only after that.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::{Duration, SystemTime};

use serde::Serialize;

use super::inventory::{self, Inventory};
use super::lock::{TenantLock, clear};
use super::manifest::{BackupId, Found};
use crate::catalog::backups::{self, BackupRow};
use crate::error::Result;
use crate::pg::session::Session;
use crate::plan::backup::{failed, forget, withdrawn};
use crate::store::Store;
use crate::tenant::TenantId;

/// How old what has no manifest must be, by the store's clock: somebody on another database may be writing it.
pub const ORPHAN_AGE: Duration = Duration::from_secs(24 * 3600);

/// Why something goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its time is over, and a newer good one is there.
    Expired,
    /// The registry has it as running, and nobody runs it.
    Dead,
    /// It lies in the store without a manifest, and nothing was added to it for a day.
    Orphan,
    /// Its time is over, and it is in the registry only.
    Missing,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Expired => "expired",
            Self::Dead => "died while it was made",
            Self::Orphan => "without a manifest",
            Self::Missing => "expired, and not in the store",
        })
    }
}

/// Something that may go.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Removal {
    /// The backup that it is, or was to be.
    pub backup_id: BackupId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// Why it goes.
    pub reason: Reason,
    /// Bytes that it takes in the store, as far as known.
    pub bytes: u64,
    /// When it might go, ISO 8601 in UTC.
    pub expires_at: Option<String>,
}

/// What may go. `rows` are those of this store; `now` is ISO 8601 in UTC with milliseconds, as manifests have it;
/// `busy` are tenants that a backup or restore is under way of.
///
/// The newest whole backup of every tenant stays, whatever its age; so does that of a tenant of the same name that this
/// registry does not know: another database may keep its backups in the same place.
pub fn plan(
    rows: &[BackupRow],
    inventory: &Inventory,
    busy: &BTreeSet<TenantId>,
    now: &str,
    clock: SystemTime,
) -> Vec<Removal> {
    let by_id: BTreeMap<&BackupId, &BackupRow> = rows.iter().map(|row| (&row.backup_id, row)).collect();
    let is_busy = |id: &BackupId| busy.contains(&id.tenant());
    let mut removals = BTreeMap::new();
    let mut add = |id: &BackupId, reason, bytes, expires_at| {
        let removal = Removal {
            backup_id: id.clone(),
            tenant_id: id.tenant(),
            reason,
            bytes,
            expires_at,
        };
        removals.entry(id.clone()).or_insert(removal);
    };
    // A row that is marked as running is dead if nobody holds the lock. It counts for nothing, manifest or not.
    for row in rows
        .iter()
        .filter(|row| row.status == "running" && !is_busy(&row.backup_id))
    {
        add(&row.backup_id, Reason::Dead, 0, None);
    }
    let ours: BTreeSet<(&TenantId, &str)> = rows.iter().map(|r| (&r.tenant_id, r.schema_name.as_str())).collect();
    let mut kept = BTreeSet::new();
    let good = |other: &Found, than: &BackupId, schema: &str| {
        let other_id = &other.manifest.backup_id;
        let row = by_id.get(other_id);
        other_id != than
            && other_id.tenant() == than.tenant()
            && other.manifest.tenant.schema_name == schema
            && row.is_none_or(|row| row.damaged_at.is_none() && row.status != "running")
    };
    for found in &inventory.whole {
        let manifest = &found.manifest;
        let id = &manifest.backup_id;
        if by_id.get(id).is_some_and(|row| row.status == "running") {
            continue;
        }
        // Newest first.
        let schema = manifest.tenant.schema_name.as_str();
        let elsewhere = (!ours.contains(&(&manifest.tenant.tenant_id, schema))).then_some(schema);
        // One that is known to be damaged keeps no older good one from staying, and stays itself where there is no other.
        let damaged = by_id.get(id).is_some_and(|row| row.damaged_at.is_some());
        let another_is_good = || inventory.whole.iter().any(|other| good(other, id, schema));
        let is_newest = if damaged {
            !another_is_good()
        } else {
            kept.insert((id.tenant(), elsewhere))
        };
        if !is_newest && manifest.expires_at.as_str() <= now && !is_busy(id) {
            add(
                id,
                Reason::Expired,
                manifest.stored_bytes,
                Some(manifest.expires_at.clone()),
            );
        }
    }
    let whole: BTreeSet<&BackupId> = inventory.whole.iter().map(|found| &found.manifest.backup_id).collect();
    let broken: BTreeSet<&BackupId> = inventory.broken.iter().map(|broken| &broken.id).collect();
    for row in rows.iter().filter(|row| row.status == "done" && row.expired) {
        let id = &row.backup_id;
        if !whole.contains(id) && !broken.contains(id) && !is_busy(id) {
            add(id, Reason::Missing, 0, row.expires_at.clone());
        }
    }
    for broken in inventory.broken.iter().filter(|broken| broken.unfinished) {
        let row = by_id.get(&broken.id);
        let old = broken
            .modified
            .is_none_or(|modified| clock.duration_since(modified).is_ok_and(|age| age > ORPHAN_AGE));
        // What this database knows to have failed has nobody writing it, however young it is.
        let given_up = row.is_some_and(|row| row.status == "failed");
        // What it counts as good has lost its manifest: that is for somebody to look at while it is to be kept.
        let wanted = row.is_some_and(|row| row.status == "done" && !row.expired);
        if (old || given_up) && !wanted && !is_busy(&broken.id) {
            add(&broken.id, Reason::Orphan, broken.bytes, None);
        }
    }
    removals.into_values().collect()
}

/// Those of a tenant's removals that are due still now that its lock is held: a backup that was under way when they were
/// planned may be done since, and the one that was the newest may be gone.
///
/// # Errors
/// When the registry or the store cannot be read.
pub async fn still_due(
    lock: &TenantLock,
    registry: &Session,
    store: &dyn Store,
    now: &str,
    planned: Vec<Removal>,
) -> Result<Vec<Removal>> {
    let tenant = std::slice::from_ref(lock.tenant());
    let mut rows = backups::list(registry, tenant).await?;
    rows.retain(|row| row.store == store.url());
    let inventory = inventory::read(store, tenant).await?;
    let due = plan(&rows, &inventory, &BTreeSet::new(), now, SystemTime::now());
    let is_due = |removal: &Removal| {
        due.iter()
            .any(|d| d.backup_id == removal.backup_id && d.reason == removal.reason)
    };
    Ok(planned.into_iter().filter(is_due).collect())
}

/// Removes one, under its tenant's lock: it counts as good no more, then its manifest goes, then its members, then its row.
/// `registry` is a session beside the lock's, so that each step holds before the next is taken. False when there was no
/// reason any more: the plan was made before the lock was there.
///
/// # Errors
/// What the store or the server refused; what is left is no good backup in anybody's eyes, and goes with the next run.
pub async fn remove(_lock: &TenantLock, registry: &Session, store: &dyn Store, removal: &Removal) -> Result<bool> {
    let (id, doing) = (&removal.backup_id, format!("prune backup {}", removal.backup_id));
    let status = backups::find_one(registry, id).await?.map(|row| row.status);
    if !still_holds(removal.reason, status.as_deref()) {
        return Ok(false);
    }
    if removal.reason == Reason::Expired {
        registry.batch(&withdrawn(id.as_str()), &doing).await?;
    }
    if removal.reason != Reason::Missing {
        clear(store, id).await?;
    }
    let last = match removal.reason {
        Reason::Dead => failed(id.as_str(), None),
        _ => forget(id.as_str()),
    };
    registry.batch(&last, &doing).await?;
    Ok(true)
}

/// Whether a reason still holds, by what the registry says of the backup once nobody else is at work on its tenant.
fn still_holds(reason: Reason, status: Option<&str>) -> bool {
    match reason {
        // It may have been finished, or cleared away, since it was looked at.
        Reason::Dead => status == Some("running"),
        Reason::Expired | Reason::Orphan | Reason::Missing => status != Some("running"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::inventory::Broken;
    use super::super::manifest::{DdlSource, FORMAT, Found, Manifest, Origin, Server, Structure, Tenant};
    use super::*;
    use crate::error::{Error, ErrorKind};
    use crate::tenant::{Audit, Limits};

    const NOW: &str = "2026-06-01T00:00:00.000Z";

    fn id(tenant: &str, day: u32) -> BackupId {
        format!("{tenant}_202605{day:02}_000000_abcdef")
            .parse()
            .expect("a valid id")
    }

    fn found(tenant: &str, day: u32, expires_at: &str) -> Found {
        let manifest = Manifest {
            format: FORMAT,
            tool_version: String::new(),
            backup_id: id(tenant, day),
            backup_type: "manual".into(),
            created_at: format!("2026-05-{day:02}T00:00:00.000Z"),
            expires_at: expires_at.into(),
            duration_ms: 1.0,
            tenant: Tenant {
                tenant_id: tenant.parse().expect("a valid id"),
                schema_name: String::new(),
                salt: String::new(),
                tier: String::new(),
                limits: Limits::at_most(1),
                audit: Audit::new(),
                provisioned_at: String::new(),
            },
            server: Server {
                version_num: 0,
                version: String::new(),
                database: String::new(),
                replica: false,
            },
            template: Origin {
                name: String::new(),
                version: 1,
                sha256: String::new(),
                modules: Vec::new(),
                hypertables: Vec::new(),
            },
            structure: Structure {
                source: DdlSource::Template,
                shape_sha256: String::new(),
                sha256: String::new(),
            },
            recipients: Vec::new(),
            tables: Vec::new(),
            sequences: Vec::new(),
            hypertables: Vec::new(),
            left_out: Vec::new(),
            materialized_views: Vec::new(),
            members: Vec::new(),
            rows: 0,
            raw_bytes: 0,
            stored_bytes: 7,
        };
        Found {
            manifest,
            sha256: String::new(),
        }
    }

    fn row(tenant: &str, day: u32, status: &str, expired: bool) -> BackupRow {
        BackupRow {
            backup_id: id(tenant, day),
            tenant_id: tenant.parse().expect("a valid id"),
            schema_name: String::new(),
            backup_type: "manual".into(),
            status: status.into(),
            store: String::new(),
            key: String::new(),
            started_at: String::new(),
            created_at: None,
            expires_at: None,
            expired,
            raw_bytes: None,
            stored_bytes: None,
            rows: None,
            duration_ms: None,
            manifest_sha256: None,
            encrypted: None,
            from_replica: None,
            verified_at: None,
            drilled_at: None,
            damaged_at: None,
            error_id: None,
        }
    }

    fn orphan(tenant: &str, day: u32, hours: u64, clock: SystemTime) -> Broken {
        Broken {
            id: id(tenant, day),
            error: Error::new(ErrorKind::Store, "x"),
            unfinished: true,
            modified: Some(clock - Duration::from_secs(hours * 3600)),
            bytes: 3,
        }
    }

    fn told(rows: &[BackupRow], inventory: &Inventory, busy: &[&str], clock: SystemTime) -> Vec<(String, Reason)> {
        let busy = busy.iter().map(|id| id.parse().expect("a valid id")).collect();
        let removals = plan(rows, inventory, &busy, NOW, clock);
        removals
            .into_iter()
            .map(|r| (r.backup_id.to_string()[..10].to_owned(), r.reason))
            .collect()
    }

    #[test]
    fn expired_ones_go_but_never_the_newest_good_one() {
        const OVER: &str = "2026-05-31T23:59:59.999Z";
        const NOT_OVER: &str = "2026-06-01T00:00:00.001Z";
        let clock = SystemTime::now();
        // Newest first, as the inventory has them.
        let mut inventory = Inventory {
            whole: vec![
                found("b", 9, OVER),
                found("a", 8, OVER),
                found("a", 3, NOT_OVER),
                found("a", 2, OVER),
            ],
            broken: Vec::new(),
        };
        let all = |day: &str, reason| (format!("a_202605{day}"), reason);
        assert_eq!(told(&[], &inventory, &[], clock), [all("02", Reason::Expired)]);
        assert_eq!(told(&[], &inventory, &["a"], clock), []);
        // The newest one is still being written, as far as the registry knows: it does not count as good.
        let running = [row("a", 8, "running", false)];
        let removals = told(&running, &inventory, &["a"], clock);
        assert_eq!(removals, []);
        // And dead it goes, while the next one is kept as the newest.
        inventory.whole.remove(2);
        assert_eq!(told(&running, &inventory, &[], clock), [all("08", Reason::Dead)]);
        // In the registry only: nothing is there to be kept.
        let rows = [
            row("a", 1, "done", true),
            row("a", 4, "done", false),
            row("a", 2, "done", true),
        ];
        assert_eq!(
            told(&rows, &inventory, &[], clock),
            [all("01", Reason::Missing), all("02", Reason::Expired)]
        );
    }

    #[test]
    fn a_damaged_one_keeps_no_good_one_from_staying() {
        const OVER: &str = "2026-05-31T23:59:59.999Z";
        let clock = SystemTime::now();
        let mut inventory = Inventory {
            whole: vec![found("a", 8, OVER), found("a", 3, OVER), found("a", 2, OVER)],
            broken: Vec::new(),
        };
        let damaged = |day| BackupRow {
            damaged_at: Some(NOW.into()),
            ..row("a", day, "done", true)
        };
        let expired = |day: &str| (format!("a_202605{day}"), Reason::Expired);
        assert_eq!(
            told(&[damaged(8)], &inventory, &[], clock),
            [expired("02"), expired("08")],
            "the third is the newest good one"
        );
        inventory.whole.truncate(1);
        assert_eq!(told(&[damaged(8)], &inventory, &[], clock), [], "better than none");
    }

    #[test]
    fn what_was_finished_since_it_was_looked_at_stays() {
        assert!(still_holds(Reason::Dead, Some("running")));
        for status in [Some("done"), Some("failed"), None] {
            assert!(!still_holds(Reason::Dead, status), "{status:?}");
            assert!(still_holds(Reason::Expired, status), "{status:?}");
        }
        assert!(!still_holds(Reason::Orphan, Some("running")));
    }

    #[test]
    fn what_has_no_manifest_goes_after_a_day_or_once_it_is_known_to_have_failed() {
        let clock = SystemTime::now();
        let inventory = Inventory {
            whole: Vec::new(),
            broken: vec![
                orphan("a", 1, 23, clock),
                orphan("a", 2, 25, clock),
                orphan("b", 3, 25, clock),
            ],
        };
        let all = |day: &str| (format!("a_202605{day}"), Reason::Orphan);
        assert_eq!(told(&[], &inventory, &["b"], clock), [all("02")]);
        assert_eq!(
            told(&[row("a", 1, "failed", false)], &inventory, &["b"], clock),
            [all("01"), all("02")]
        );
        assert_eq!(
            told(&[row("a", 2, "done", false)], &inventory, &["b"], clock),
            [],
            "a good one that has lost its manifest is for somebody to look at"
        );
        assert_eq!(
            told(&[row("a", 2, "done", true)], &inventory, &["b"], clock),
            [all("02")]
        );
        let mut damaged = inventory;
        for broken in &mut damaged.broken {
            broken.unfinished = false;
        }
        assert_eq!(
            told(&[], &damaged, &[], clock),
            [],
            "a damaged one is for somebody to look at"
        );
    }
}
