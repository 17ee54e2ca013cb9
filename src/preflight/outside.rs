//! What lies beside the database: replicas, the receiver of alerts, the cache of metrics.

use std::time::{Duration, Instant};

use tokio_postgres::types::Type;

use super::Item;
use super::checklist::{ALERT_TEST, ALERTS, REDIS, REPLICAS};
use super::observe::Observed;
use crate::config::ClusterPolicy;
use crate::error::{Error, ErrorKind, Result};
use crate::figures::{bytes, count};
use crate::metrics::{AlertSeverity, cache};
use crate::notify::deliver::Receiver;
use crate::notify::message::{self, Event, Moment, Origin};
use crate::pg::conninfo::ConnInfo;
use crate::pg::session::{Connector, Session, column};
use crate::pg::sql::Sql;

/// How often a replica is asked whether it has caught up.
const POLL: Duration = Duration::from_millis(5);

/// `replicas`: each of the configured ones.
///
/// # Errors
/// When this server itself does not answer any more; a replica that does not is a finding.
pub async fn replicas(
    connector: &Connector,
    session: &Session,
    policy: &ClusterPolicy,
    seen: &Observed,
) -> Result<Vec<Item>> {
    if policy.replicas.is_empty() {
        let sql = Sql::new("SELECT pg_catalog.count(*) AS n FROM pg_catalog.pg_stat_replication");
        let row = session.query_one(&sql, &[], "count the standbys").await?;
        let streaming = usize::try_from(column::<i64>(&row, "n")?).unwrap_or_default();
        return Ok(vec![Item::warn(
            &REPLICAS,
            format!(
                "cluster.replicas names none, so that none is watched; {} from this server",
                match streaming {
                    1 => "1 client streams".to_owned(),
                    n => format!("{} stream", count(n, "client")),
                }
            ),
            "Set one up, and name it under cluster.replicas.",
        )]);
    }
    let env = |name: &str| std::env::var(name).ok();
    let mut items = Vec::with_capacity(policy.replicas.len());
    for url in &policy.replicas {
        let info = match ConnInfo::resolve(Some(url), &env) {
            Ok(info) => info,
            Err(error) => {
                items.push(refused(&error).about("an entry of cluster.replicas"));
                continue;
            }
        };
        // The replica itself is to be seen, and not whichever of several hosts answers as it should.
        let hosts: Vec<String> = (0..info.hosts.len()).map(|host| info.describe_host(host)).collect();
        let place = hosts.join(" or ");
        let item = match connector.with_info(info).connect().await {
            Ok(replica) => replica_item(session, &replica, policy, seen).await?,
            Err(error) => refused(&error),
        };
        items.push(item.about(place));
    }
    Ok(items)
}

fn refused(error: &Error) -> Item {
    let hint = error.hint().unwrap_or("Check its address and that it runs.").to_owned();
    Item::fail(&REPLICAS, error.one_line(), hint)
}

/// What there is to say of a replica that answers.
async fn replica_item(session: &Session, replica: &Session, policy: &ClusterPolicy, seen: &Observed) -> Result<Item> {
    // An error of the replica's is about the replica.
    let sql = Sql::new(include_str!("../../sql/preflight/replica.sql"));
    let row = match replica.query_one(&sql, &[], "ask the replica what it is").await {
        Ok(row) => row,
        Err(error) => return Ok(refused(&error)),
    };
    let (identifier, receiver): (String, Option<String>) =
        (column(&row, "system_identifier")?, column(&row, "receiver")?);
    if identifier != seen.system_identifier {
        return Ok(Item::fail(
            &REPLICAS,
            format!(
                "it is another cluster: its system identifier is {identifier}, this one's {}",
                seen.system_identifier
            ),
            "Make it anew with pg_basebackup from this primary, or correct cluster.replicas.",
        ));
    }
    if !column::<bool>(&row, "in_recovery")? {
        return Ok(Item::fail(
            &REPLICAS,
            "it is a primary itself: it was promoted, or it is this very server",
            "After a failover, rewind it with pg_rewind and start it as a standby; else correct cluster.replicas.",
        ));
    }
    if column::<Option<bool>>(&row, "paused")? == Some(true) {
        return Ok(Item::fail(
            &REPLICAS,
            "its replay is paused, so it falls behind",
            "On the replica: SELECT pg_catalog.pg_wal_replay_resume();",
        ));
    }
    // Without pg_read_all_stats a receiver that runs looks as none does: what it replays shows as much.
    if receiver.as_deref().is_some_and(|status| status != "streaming") {
        return Ok(Item::fail(
            &REPLICAS,
            format!(
                "it does not stream: its WAL receiver is {}",
                receiver.unwrap_or_default()
            ),
            "Look into its log, and at primary_conninfo and the replication slot.",
        ));
    }
    lag(session, replica, policy).await
}

/// Has the replica replay up to where this server is now, and measures how long that takes.
async fn lag(session: &Session, replica: &Session, policy: &ClusterPolicy) -> Result<Item> {
    let here = Sql::new(
        "SELECT (CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_replay_lsn()
    ELSE pg_catalog.pg_current_wal_flush_lsn() END)::text AS lsn",
    );
    let row = session.query_one(&here, &[], "look where the server's log is").await?;
    let lsn: String = column(&row, "lsn")?;
    let started = Instant::now();
    let limit = Duration::from_millis(policy.max_replica_lag_ms);
    let sql = Sql::new(include_str!("../../sql/preflight/behind.sql"));
    loop {
        let asked = started.elapsed();
        let behind = match replica
            .query_one(&sql, &[(&lsn, Type::TEXT)], "see how far it is behind")
            .await
        {
            Ok(row) => column::<i64>(&row, "bytes")?,
            Err(error) => return Ok(refused(&error)),
        };
        if behind <= 0 {
            return Ok(Item::pass(
                &REPLICAS,
                format!(
                    "streams from this primary; what was written here was replayed there within {} ms, of {} allowed",
                    started.elapsed().as_millis(),
                    limit.as_millis()
                ),
            ));
        }
        // Judged by when it was asked: the answer's own way is not the replica's lag.
        if asked >= limit {
            return Ok(Item::fail(
                &REPLICAS,
                format!(
                    "it has not replayed within {} ms what was written here, and is {} behind",
                    limit.as_millis(),
                    bytes(behind.unsigned_abs())
                ),
                "Look for long queries on it, its load, and the network; cluster.max_replica_lag_ms sets the limit.",
            ));
        }
        tokio::time::sleep(POLL.min(limit - asked)).await;
    }
}

/// `alerts`: whether anybody answers at the receiver's address.
pub async fn alerts(url: Option<&str>, limit: Duration) -> Item {
    let Some(url) = url else {
        return Item::warn(
            &ALERTS,
            "no receiver is configured: alerts are printed by `tenantctl metrics` and told to nobody",
            "Set alerts.url or TENANTCTL_ALERT_URL to a webhook or Alertmanager.",
        );
    };
    let receiver = match Receiver::open(url) {
        Ok(receiver) => receiver,
        Err(why) => return unusable(Item::fail(&ALERTS, why, "")),
    };
    let place = receiver.place();
    match receiver.reach(limit).await {
        Ok(status) if status < 500 => Item::pass(&ALERTS, format!("it answers ({status})")),
        Ok(status) => Item::fail(
            &ALERTS,
            format!("it answers {status}"),
            "Look into the receiver's log.".to_owned(),
        ),
        Err(why) => Item::fail(
            &ALERTS,
            why,
            "Check alerts.url or TENANTCTL_ALERT_URL, and that the receiver runs.",
        ),
    }
    .about(place)
}

fn unusable(item: Item) -> Item {
    item.remedy("Correct TENANTCTL_ALERT_URL or alerts.url.")
}

/// `alert_test`: posts an alert that says what it is.
pub async fn alert_test(url: Option<&str>, origin: Origin<'_>, limit: Duration) -> Item {
    let Some(url) = url else {
        return Item::fail(
            &ALERT_TEST,
            "no receiver is configured",
            "Set alerts.url or TENANTCTL_ALERT_URL to a webhook or Alertmanager.",
        );
    };
    let receiver = match Receiver::open(url) {
        Ok(receiver) => receiver,
        Err(why) => return unusable(Item::fail(&ALERT_TEST, why, "")),
    };
    let place = receiver.place();
    // Alertmanager forgets it by itself soon; its end right behind it would keep it from telling anybody.
    let moment = Moment::here(5);
    let event = Event {
        key: "tenantctl_test//".to_owned(),
        alert_type: "tenantctl_test".to_owned(),
        severity: AlertSeverity::Warning,
        tenant_id: None,
        object: None,
        message: "This is a test by `tenantctl validate --post-deploy`: nothing is wrong.".to_owned(),
        value: None,
        limit: None,
        fired_at: moment.now.clone(),
        resolved_at: None,
        error: None,
    };
    let ended = Event {
        resolved_at: Some(moment.now.clone()),
        ..event.clone()
    };
    let alertmanager = receiver.is_alertmanager();
    let bodies = if alertmanager {
        vec![message::alertmanager(origin, &moment, &[event])]
    } else {
        vec![
            message::webhook(origin, &moment, &[event]),
            message::webhook(origin, &moment, &[ended]),
        ]
    };
    let deadline = tokio::time::Instant::now() + limit;
    for body in bodies {
        if let Some(Err(failed)) = receiver.post(vec![body], deadline).await.pop() {
            return Item::fail(
                &ALERT_TEST,
                format!("a test alert was not accepted: {}", failed.why),
                "Check alerts.url or TENANTCTL_ALERT_URL, its token, and the receiver's log.",
            )
            .about(place);
        }
    }
    let end = if alertmanager {
        "; it ends by itself in 5 minutes"
    } else {
        ", and its end"
    };
    Item::pass(
        &ALERT_TEST,
        format!("a test alert was accepted{end}; see that it has reached somebody"),
    )
    .about(place)
}

/// `redis`.
pub async fn redis(url: Option<&str>) -> Item {
    let Some(url) = url else {
        return Item::pass(&REDIS, "none is configured (metrics.redis_url)");
    };
    match cache::probe(url).await {
        Ok(place) => Item::pass(&REDIS, "a key was written, read and removed").about(place),
        Err(error) => {
            let remedy = match (error.hint(), error.kind()) {
                (Some(hint), _) => hint.to_owned(),
                (None, ErrorKind::Connection) => "Check that Redis takes writes, and its memory.".to_owned(),
                (None, _) => "Check TENANTCTL_REDIS_URL or metrics.redis_url.".to_owned(),
            };
            Item::fail(&REDIS, error.one_line(), remedy)
        }
    }
}
