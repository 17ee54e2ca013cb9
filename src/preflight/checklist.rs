//! The catalogue: ids, titles and what each check is for.

use serde::Serialize;

use crate::config::nearest;
use crate::error::{Error, Result};
use crate::tenant::quoted;

/// When a check belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// Before tenants are served.
    Preflight,
    /// Once they are.
    PostDeploy,
}

/// One check of the checklist.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its id.
    #[serde(rename = "check")]
    pub id: &'static str,
    /// What must hold, in one line.
    pub title: &'static str,
    /// What is measured, and what makes it WARN or FAIL.
    pub explain: &'static str,
    /// When it belongs.
    pub stage: Stage,
}

macro_rules! checks {
    ($($name:ident $stage:ident $id:literal $title:literal $explain:literal)*) => {
        $(
            #[doc = $title]
            pub static $name: Check = Check { id: $id, title: $title, explain: $explain, stage: Stage::$stage };
        )*
        /// All checks, in the order in which they are reported.
        pub static ALL: &[&Check] = &[$(&$name),*];
    };
}

checks! {
    SERVER_VERSION Preflight "server_version" "the server is supported and has the latest minor release known"
        "PostgreSQL 15 or later. WARN: an older minor release than the one of check minor_release, whose holes are known; a major version that ends within half a year. FAIL: one that has ended."
    TIMESCALEDB Preflight "timescaledb" "TimescaleDB is ready for the template's hypertables"
        "FAIL: the extension is installed and not preloaded, is older than tenantctl needs, or shares the database with Citus. WARN: it is missing, so that time series are plain tables; it is older than the version on disk; tenants were made before it."
    SETTINGS Preflight "settings" "the server's settings are as cluster.settings wants them"
        "An item for each setting, compared in the setting's own unit. Sizes and numbers of slots are wanted at least, work_mem at most twice, everything else exactly. Memory settings are scaled down to a machine that is smaller than the configuration was written for (shared_buffers 25 %, effective_cache_size 75 %, maintenance_work_mem 1/64, work_mem 1/512): its memory is known where the server runs beside tenantctl, or from --memory. FAIL: less than wanted. WARN: more than wanted where that harms."
    CONFIG_FILES Preflight "config_files" "the configuration files are in force and free of errors"
        "FAIL: a line that the server cannot read, with which it will not start again. WARN: a changed setting that waits for a restart. Lines are seen by superusers and holders of EXECUTE on pg_show_all_file_settings() alone."
    DURABILITY Preflight "durability" "what is committed survives a crash"
        "FAIL: fsync or full_page_writes off. WARN: synchronous_commit off, or no data checksums."
    AUTOVACUUM Preflight "autovacuum" "autovacuum runs, and transaction ids and multixacts do not run out"
        "FAIL: autovacuum or track_counts off, or a database that has used up half of its transaction ids or multixact ids. WARN: one whose age is above autovacuum_freeze_max_age or autovacuum_multixact_freeze_max_age."
    EXPOSURE Preflight "exposure" "the server is closed to those without a password, and speaks TLS"
        "The checks cluster_settings, hba_lines and password_storage of `tenantctl validate`: ssl, password_encryption, listen_addresses and pg_hba.conf among others. FAIL: what is critical or high there. WARN: the rest."
    REGISTRY Preflight "registry" "the registry is installed and of this version"
        "WARN: no registry yet, so nothing is known of tenants. FAIL: one that this tenantctl cannot use."
    MONITORING Preflight "monitoring" "statements are counted for the metrics"
        "WARN: pg_stat_statements is not preloaded, or not installed in this database."
    CONNECTIONS Preflight "connections" "tenants cannot take each other's connections"
        "The connection limits of all tenants, and the pooler's server connections, against max_connections less what is reserved. FAIL: one tenant alone, or the pooler, can take them all. WARN: all tenants together can."
    POOLER Preflight "pooler" "PgBouncer answers and is as the configuration says"
        "Asks the admin console of --pooler-url or TENANTCTL_PGBOUNCER_URL: settings, and the entry of the database. FAIL: it does not answer, lacks the database, or opens more server connections than the server has. WARN: a setting differs from the section pgbouncer."
    LOCKS Preflight "locks" "the lock table holds what dumping and dropping take"
        "max_locks_per_transaction * (max_connections + max_prepared_transactions), against the tables of the whole database (pg_dump and pg_upgrade lock each) and the objects of the largest tenant (DROP SCHEMA locks each, with nine for every chunk). FAIL: it does not fit. WARN: it takes more than three quarters; only the chunks make it not fit, which `tenantctl drop` takes in batches."
    CACHE_MEMORY Preflight "cache_memory" "the catalog caches of sessions fit into memory"
        "A session remembers each table and index that it has touched. Bytes for each are measured in a session of this run, on tables of tenants. WARN: a session for every connection, each having touched its tenant, takes more than a quarter of the machine's memory; a session that has touched all tenants takes more than 1 GiB; functions of one name in the schemas of many tenants, all of which are read to call one, take more of a session than performance_targets.resource_usage.connection_overhead_mb."
    CHUNKS Preflight "chunks" "hypertables do not grow more chunks than the server can plan with"
        "Chunks after a year by the intervals and retention of template and tiers, for each tenant and for all. WARN: more than 1,000 of one hypertable, each of which a query without a limit in time locks. FAIL: more than 100,000 for all tenants together."
    REPLICAS Preflight "replicas" "each replica streams from this primary and keeps up"
        "For each of cluster.replicas: it answers, is in recovery, has this server's system identifier, and replays what was written here within max_replica_lag_ms, which is measured and not estimated. FAIL: any of that does not hold. WARN: no replica is configured."
    STORE Preflight "store" "backups can be written, read and removed"
        "Writes an object into the store, reads it again, compares and removes it. FAIL: any of that does not work, or there is no store."
    STORE_ENCRYPTION Preflight "store_encryption" "backups are encrypted where they lie"
        "PASS: age recipients, or encryption by S3. WARN: neither."
    BACKUP_SPACE Preflight "backup_space" "the next backup of all tenants fits into the store"
        "The size of all tenants by the planner's last estimate, in the ratio that earlier backups were compressed by, against the free space of a folder. FAIL: it does not fit. WARN: not three times."
    RESTORE_DRILL Preflight "restore_drill" "a backup was restored for trial lately"
        "WARN: never, or more than 30 days ago. `tenantctl backup verify --restore-drill` makes one."
    ALERTS Preflight "alerts" "the receiver of alerts answers"
        "Sends a request without a body; any answer below 500 will do. FAIL: none. WARN: no receiver is configured."
    REDIS Preflight "redis" "the cache of metrics answers"
        "Writes a key that expires, reads and removes it. FAIL: that does not work. PASS where none is configured."
    PROVISIONING PostDeploy "provisioning" "tenants are made within the target"
        "Makes a tenant of the richest tier in a transaction that is rolled back: nothing is left, even of a run that is killed. Then the provisionings of the last 30 days as the registry has them. FAIL: above performance_targets.schema_creation.max_s, or impossible. WARN: some of the past were."
    ISOLATION PostDeploy "isolation" "no tenant reaches another's data, by the catalog"
        "All checks of `tenantctl validate --all` with the configuration's suppressions. FAIL: a finding of severity high or critical, or no tenant. WARN: others. UNKNOWN: checks that could not be run."
    ISOLATION_PROBE PostDeploy "isolation_probe" "no tenant reaches another's data, by trying"
        "`tenantctl validate --all --probe`: becomes the tenants and tries. FAIL: something succeeded. UNKNOWN: not all could be tried."
    BACKUP_AUTOMATION PostDeploy "backup_automation" "every tenant has a backup of late"
        "By alerts.backup_overdue_hours, for each type there. FAIL: tenants without one. UNKNOWN: no tenant, or no hours configured."
    BACKUP_VERIFIED PostDeploy "backup_verified" "backups were read again and found good"
        "FAIL: no backup of any tenant was ever verified. WARN: tenants of whom none was in the last 30 days."
    ALERT_TEST PostDeploy "alert_test" "the receiver accepts an alert"
        "Posts an alert that says that it is a test, and for a webhook its end. FAIL: it is not accepted, or there is no receiver."
    BASELINE PostDeploy "baseline" "performance was measured on this server"
        "The newest run of `tenantctl bench --record`. FAIL: none. WARN: older than 90 days, of another major version of PostgreSQL, or with figures that missed their target."
}

/// The checks of a stage.
pub fn of(stage: Stage) -> impl Iterator<Item = &'static Check> {
    ALL.iter().copied().filter(move |check| check.stage == stage)
}

/// A check of a stage by its id.
///
/// # Errors
/// Kind `usage`, with the nearest id, when there is none.
pub fn find(stage: Stage, id: &str) -> Result<&'static Check> {
    let flag = match stage {
        Stage::Preflight => "--preflight",
        Stage::PostDeploy => "--post-deploy",
    };
    of(stage).find(|check| check.id == id).ok_or_else(|| {
        let ids: Vec<&str> = of(stage).map(|check| check.id).collect();
        let list = format!("`tenantctl validate {flag} --list` shows all checks.");
        Error::usage(format!("{flag} has no check {}", quoted(id))).with_hint(match nearest(id, &ids) {
            Some(near) => format!("Did you mean {near}? {list}"),
            None => list,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_catalogue_follows_the_rules() {
        let ids: BTreeSet<&str> = ALL.iter().map(|check| check.id).collect();
        assert_eq!(ids.len(), ALL.len(), "an id is listed twice");
        for check in ALL {
            assert!(
                check.id.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'),
                "{}",
                check.id
            );
            assert!(
                !check.title.ends_with('.') && check.title.chars().count() <= 90,
                "{}",
                check.id
            );
            assert!(check.explain.ends_with('.'), "{}", check.id);
        }
    }

    #[test]
    fn a_mistyped_id_gets_the_nearest_of_its_stage() {
        let error = find(Stage::Preflight, "replica").expect_err("no such check");
        assert!(
            error.hint().is_some_and(|hint| hint.contains("mean replicas?")),
            "{:?}",
            error.hint()
        );
        assert!(find(Stage::Preflight, "baseline").is_err());
        assert_eq!(find(Stage::PostDeploy, "baseline").expect("there").id, "baseline");
    }
}
