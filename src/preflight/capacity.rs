//! What grows with the fleet: locks and chunks.

use std::collections::BTreeMap;

use super::checklist::{CHUNKS, LOCKS};
use super::observe::Observed;
use super::{Item, Verdict, settings};
use crate::config::Config;
use crate::error::Result;
use crate::figures::{count, grouped};
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;
use crate::tenant::{Hypertable, Retention};

/// Locks that the drop of one chunk takes, measured with timescaledb 2.28: its table, indexes, constraints and the rest.
const LOCKS_OF_A_CHUNK: u64 = 9;

/// What dropping and remembering tenants takes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Objects {
    /// The tenant whose schema has most objects.
    pub tenant: String,
    /// Its objects, each of which DROP SCHEMA locks; chunks left out.
    pub objects: u64,
    /// Its chunks.
    pub chunks: u64,
    /// Tables and indexes of the tenant that has most of them.
    pub most_cached: u64,
    /// Those of all tenants.
    pub all_cached: u64,
}

/// Reads what the tenants' schemas hold; none without a tenant.
///
/// # Errors
/// When the server refuses the query.
pub async fn objects(session: &Session, seen: &Observed) -> Result<Option<Objects>> {
    if seen.tenants().is_none_or(|tenants| tenants.count == 0) {
        return Ok(None);
    }
    let sql = Sql::new(include_str!("../../sql/preflight/objects.sql"));
    let row = session.query_opt(&sql, &[], "count the tenants' objects").await?;
    row.map(|row| {
        let number = |name: &str| -> Result<u64> { Ok(column::<i64>(&row, name)?.unsigned_abs()) };
        Ok(Objects {
            tenant: column(&row, "tenant_id")?,
            objects: number("objects")?,
            chunks: number("chunks")?,
            most_cached: number("most_cached")?,
            all_cached: number("all_cached")?,
        })
    })
    .transpose()
}

/// `max_locks_per_transaction` with which a need fits with a quarter to spare, in steps of 64.
pub fn locks_wanted(need: u64, seen: &Observed) -> u64 {
    let sessions = seen.number("max_connections") + seen.number("max_prepared_transactions");
    (need * 4).div_ceil(3 * sessions.max(1)).div_ceil(64) * 64
}

/// The locks of the largest single thing that tenantctl or a DBA does: a dump of all tables, or the drop of a tenant.
pub fn lock_need(seen: &Observed, objects: Option<&Objects>) -> u64 {
    let dropped = objects.map_or(0, |o| o.objects + LOCKS_OF_A_CHUNK * o.chunks);
    seen.tables.max(dropped)
}

/// `locks`.
pub fn locks(seen: &Observed, objects: Option<&Objects>) -> Vec<Item> {
    let capacity = seen.lock_capacity();
    let (per, connections, prepared) = (
        seen.number("max_locks_per_transaction"),
        seen.number("max_connections"),
        seen.number("max_prepared_transactions"),
    );
    let room = format!("the lock table holds {capacity} for sure ({per} * ({connections} + {prepared}))");
    let remedy = |need: u64| {
        let name = "max_locks_per_transaction";
        let setting = seen.settings.get(name).cloned().unwrap_or_default();
        settings::alter(name, &locks_wanted(need, seen).to_string(), &setting)
    };
    let judge = |need: u64| match need {
        need if need > capacity => Verdict::Fail,
        need if need * 4 > capacity * 3 => Verdict::Warn,
        _ => Verdict::Pass,
    };
    let item = |object: &str, verdict, detail: String, need: u64| {
        let item = Item::new(&LOCKS, verdict, format!("{detail}; {room}")).about(object);
        if verdict == Verdict::Pass {
            item
        } else {
            item.remedy(remedy(need))
        }
    };
    let dump = seen.tables;
    let mut items = vec![item(
        "pg_dump of the database",
        judge(dump),
        format!("pg_dump and pg_upgrade lock {}", tables(dump)),
        dump,
    )];
    if let Some(o) = objects {
        let whole = o.objects + LOCKS_OF_A_CHUNK * o.chunks;
        let verdict = match judge(whole) {
            // tenantctl drops chunks in batches first; a DBA's own DROP SCHEMA does not.
            Verdict::Fail if judge(o.objects) != Verdict::Fail => Verdict::Warn,
            verdict => verdict,
        };
        let chunks = match o.chunks {
            0 => String::new(),
            n => format!(", {} of them for {}", LOCKS_OF_A_CHUNK * n, count(to_usize(n), "chunk")),
        };
        items.push(item(
            "drop of a tenant",
            verdict,
            format!(
                "DROP SCHEMA of the largest tenant, {}, takes {whole} locks{chunks}",
                o.tenant
            ),
            whole,
        ));
    }
    if seen.unusable().is_some() {
        let why = "nothing is known of tenants: the registry cannot be used";
        items.push(Item::unknown(&LOCKS, why).about("drop of a tenant"));
    }
    items
}

fn tables(n: u64) -> String {
    count(to_usize(n), "table")
}

fn to_usize(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

/// Chunks of one hypertable from which on a query that names no time locks and plans too many.
const CHUNKS_OF_A_TABLE: f64 = 1000.0;
/// Chunks of all tenants from which on catalogs, vacuum and backups suffer.
const CHUNKS_OF_ALL: f64 = 100_000.0;

const HOURS_A_YEAR: f64 = 365.25 * 24.0;

/// Hours of an interval such as `1 hour`; none where it cannot be read.
fn hours(interval: &str) -> Option<f64> {
    let (number, unit) = interval.split_once(' ')?;
    let number: f64 = number.parse().ok()?;
    let hours = match unit.strip_suffix('s').unwrap_or(unit) {
        "minute" => 1.0 / 60.0,
        "hour" => 1.0,
        "day" => 24.0,
        "week" => 168.0,
        "month" => HOURS_A_YEAR / 12.0,
        "year" => HOURS_A_YEAR,
        _ => return None,
    };
    Some(number * hours)
}

/// Chunks that a hypertable has after a year of rows, or of as many as are kept; none where an interval cannot be read.
pub fn chunks_after_a_year(interval: &str, retention: Option<&str>) -> Option<f64> {
    let kept = match retention {
        Some(retention) => hours(retention)?.min(HOURS_A_YEAR),
        None => HOURS_A_YEAR,
    };
    Some((kept / hours(interval)?).ceil())
}

/// How many tenants have a table as a hypertable, by table and tier.
pub type Hypertables = BTreeMap<(String, String), u64>;

/// Reads it.
///
/// # Errors
/// When the server refuses the query.
pub async fn hypertables(session: &Session) -> Result<Hypertables> {
    let sql = Sql::new(include_str!("../../sql/preflight/hypertables.sql"));
    let rows = session.query(&sql, &[], "count the hypertables").await?;
    rows.iter()
        .map(|row| {
            let key = (column(row, "name")?, column(row, "tier")?);
            Ok((key, column::<i64>(row, "tenants")?.unsigned_abs()))
        })
        .collect()
}

/// The interval of a hypertable's chunks in a tier, and how many it has after a year.
fn of_tier(config: &Config, tier: &str, table: &Hypertable) -> (String, Option<f64>) {
    let series = config.time_series(tier, &table.table).unwrap_or_default();
    let interval = series.chunk_interval.unwrap_or_else(|| table.chunk_interval.clone());
    let retention = series.retention.as_ref().and_then(Retention::interval);
    let chunks = chunks_after_a_year(&interval, retention);
    (interval, chunks)
}

/// `chunks`.
pub fn chunks(config: &Config, seen: &Observed, tenants_with: &Hypertables) -> Vec<Item> {
    let wanted = &config.template.hypertables;
    if wanted.is_empty() {
        return vec![Item::pass(&CHUNKS, "the template has no hypertables")];
    }
    if seen.timescaledb_installed.is_none() {
        return vec![Item::pass(
            &CHUNKS,
            "timescaledb is not in this database, so there are no hypertables",
        )];
    }
    let (mut items, mut of_a_tenant, mut of_all) = (Vec::new(), 0.0, 0.0);
    for table in wanted {
        // The tier with most of them speaks for the table.
        let worst = config
            .tiers
            .iter()
            .map(|tier| (tier, of_tier(config, &tier.key, table)))
            .max_by(|(_, (_, a)), (_, (_, b))| {
                let rank = |chunks: &Option<f64>| chunks.unwrap_or(f64::INFINITY);
                rank(a).total_cmp(&rank(b))
            });
        let Some((tier, (interval, chunks))) = worst else {
            continue;
        };
        let Some(year) = chunks else {
            let detail = format!("an interval of it cannot be read: {interval}");
            items.push(Item::unknown(&CHUNKS, detail).about(&table.table));
            continue;
        };
        of_a_tenant += year;
        of_all += tenants_with
            .iter()
            .filter(|((name, _), _)| *name == table.table)
            .map(|((_, tier), tenants)| of_tier(config, tier, table).1.unwrap_or_default() * *tenants as f64)
            .sum::<f64>();
        let detail = format!(
            "chunks of {interval} make {} in a year for each tenant (tier {})",
            grouped(year),
            tier.key
        );
        items.push(
            if year > CHUNKS_OF_A_TABLE {
                Item::warn(
                    &CHUNKS,
                    format!("{detail}; a query without a limit in time locks and plans each of them"),
                    format!(
                        "Give {} a longer chunk_interval, or a retention, under template.hypertables or its tier: a day makes 366.",
                        table.table
                    ),
                )
            } else {
                Item::pass(&CHUNKS, detail)
            }
            .about(&table.table),
        );
    }
    let room = (CHUNKS_OF_ALL / f64::max(of_a_tenant, 1.0)).floor();
    let detail = format!(
        "{} in a year for all tenants that have hypertables now; {} come with {} tenants",
        grouped(of_all),
        grouped(CHUNKS_OF_ALL),
        grouped(room)
    );
    items.push(
        if of_all > CHUNKS_OF_ALL {
            Item::fail(
                &CHUNKS,
                detail,
                "Use longer intervals, or a retention that `tenantctl retention` holds, under template.hypertables or the tiers.",
            )
        } else {
            Item::pass(&CHUNKS, detail)
        }
        .about("all tenants"),
    );
    items
}

#[cfg(test)]
mod tests {
    use super::super::observe::tests::observed;
    use super::*;
    use crate::tenant::TimeSeries;

    fn server(tables: u64) -> Observed {
        let mut seen = observed(&[
            ("max_locks_per_transaction", "64", None, "integer"),
            ("max_connections", "100", None, "integer"),
            ("max_prepared_transactions", "0", None, "integer"),
        ]);
        seen.tables = tables;
        seen
    }

    #[test]
    fn locks_of_dumps_and_drops() {
        let one = |tables| locks(&server(tables), None)[0].status;
        assert_eq!(
            [one(4800), one(4801), one(6400), one(6401)],
            [Verdict::Pass, Verdict::Warn, Verdict::Warn, Verdict::Fail]
        );
        let drop = |objects, chunks| {
            let objects = Objects {
                objects,
                chunks,
                ..Objects::default()
            };
            locks(&server(1), Some(&objects))[1].status
        };
        assert_eq!(
            [drop(400, 100), drop(400, 600), drop(400, 1000), drop(6401, 0)],
            [Verdict::Pass, Verdict::Warn, Verdict::Warn, Verdict::Fail]
        );
        // What is advised is enough, and passes.
        let wanted = locks_wanted(40_000, &server(0));
        assert_eq!(wanted, 576);
        let mut advised = server(40_000);
        if let Some(setting) = advised.settings.get_mut("max_locks_per_transaction") {
            setting.value = wanted.to_string();
        }
        assert_eq!(locks(&advised, None)[0].status, Verdict::Pass);
    }

    #[test]
    fn chunks_of_a_year() {
        for (interval, retention, expected) in [
            ("1 hour", None, Some(8766.0)),
            ("1 day", None, Some(366.0)),
            ("7 days", None, Some(53.0)),
            ("1 month", None, Some(12.0)),
            ("30 minutes", None, Some(17_532.0)),
            ("1 hour", Some("1 week"), Some(168.0)),
            ("1 day", Some("2 years"), Some(366.0)),
            ("a while", None, None),
            ("1 day", Some("a while"), None),
        ] {
            assert_eq!(
                chunks_after_a_year(interval, retention),
                expected,
                "{interval} {retention:?}"
            );
        }
        let config = Config::builtin().expect("built in");
        let mut seen = server(0);
        let verdicts = |seen: &Observed, tenants: u64| {
            let with = ["trades", "market_data"]
                .map(|t| ((t.to_owned(), "basic".to_owned()), tenants))
                .into();
            chunks(&config, seen, &with)
                .iter()
                .map(|i| i.status)
                .collect::<Vec<_>>()
        };
        assert_eq!(verdicts(&seen, 0), [Verdict::Pass]);
        seen.timescaledb_installed = Some("2.28.3".into());
        assert_eq!(verdicts(&seen, 10), [Verdict::Pass, Verdict::Warn, Verdict::Pass]);
        assert_eq!(verdicts(&seen, 11), [Verdict::Pass, Verdict::Warn, Verdict::Fail]);
        // A tier's own interval and retention count for its tenants.
        let mut config = config;
        for tier in &mut config.tiers {
            let series = TimeSeries {
                chunk_interval: (tier.key == "basic").then(|| "1 day".to_owned()),
                retention: (tier.key != "basic").then(|| Retention::For("1 month".to_owned())),
            };
            tier.hypertables.insert("market_data".to_owned(), series);
        }
        let with = [(("market_data".to_owned(), "basic".to_owned()), 200)].into();
        let items = chunks(&config, &seen, &with);
        assert_eq!(
            items.iter().map(|i| i.status).collect::<Vec<_>>(),
            [Verdict::Pass, Verdict::Pass, Verdict::Pass]
        );
        assert!(items[1].detail.contains("make 731 in a year"), "{items:?}");
        assert!(items[2].detail.starts_with("73,200 in a year"), "{items:?}");
    }
}
