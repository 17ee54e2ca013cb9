//! What sessions remember of catalogs: the tables and indexes that they touch, and every function of a name that they call.

use tokio_postgres::types::Type;

use super::Item;
use super::capacity::Objects;
use super::checklist::CACHE_MEMORY;
use super::observe::Observed;
use crate::error::Result;
use crate::figures::{bytes, count, grouped};
use crate::pg::session::{Connector, Session, column};
use crate::pg::sql::Sql;

/// Tables and indexes that are touched to measure what remembering them takes.
const SAMPLE: i64 = 400;
/// Above this, a session that has touched all tenants is a danger of its own.
const ADMIN_SESSION: u64 = 1 << 30;
const MIB: f64 = 1_048_576.0;

/// Bytes that a session keeps for itself and for what it has touched.
#[derive(Clone, Debug, PartialEq)]
pub struct CacheCost {
    /// Reserved by a session that has looked at no tenant.
    pub session: u64,
    /// For each table or index.
    pub relation: u64,
    /// How many were touched.
    pub sampled: u64,
    /// Functions that share their names; none where no two tenants have one.
    pub namesakes: Option<Namesakes>,
}

/// Functions in the schemas of tenants that bear the same name. PostgreSQL reads all of a name where it calls or compiles one, so
/// each tenant's session remembers those of all others.
#[derive(Clone, Debug, PartialEq)]
pub struct Namesakes {
    /// How many there are.
    pub functions: u64,
    /// How many names they bear.
    pub names: u64,
    /// The name that most of them bear.
    pub commonest: String,
    /// Bytes for each function, measured with those of this name.
    pub function: u64,
}

impl Namesakes {
    /// Bytes of a session that has met all the names.
    pub fn bytes(&self) -> u64 {
        self.functions * self.function
    }
}

/// Measures it in a session of its own; none without a tenant's tables.
///
/// # Errors
/// When the server refuses a query: the memory of sessions is shown to superusers and pg_read_all_stats alone, and a tenant's
/// lock on a table is waited for as long as any other.
pub async fn measure(connector: &Connector) -> Result<Option<CacheCost>> {
    let session = connector.connect().await?;
    let sample = Sql::new(include_str!("../../sql/preflight/cache_sample.sql"));
    let rows = session
        .query(&sample, &[(&SAMPLE, Type::INT8)], "choose tables")
        .await?;
    let oids = rows
        .iter()
        .map(|row| column::<u32>(row, "oid"))
        .collect::<Result<Vec<_>>>()?;
    if oids.is_empty() {
        return Ok(None);
    }
    let touch = Sql::new(include_str!("../../sql/preflight/cache_touch.sql"));
    // What the queries themselves bring into the cache is there before it counts.
    let (warm_up, rest) = oids.split_at(1);
    for some in [warm_up, warm_up] {
        session
            .query(&touch, &[(&some, Type::OID_ARRAY)], "touch a table")
            .await?;
        used(&session).await?;
    }
    let (before, reserved) = used(&session).await?;
    session
        .query(&touch, &[(&rest, Type::OID_ARRAY)], "touch the tables")
        .await?;
    let (after, _) = used(&session).await?;
    let sampled = rest.len() as u64;
    if sampled == 0 {
        return Ok(None);
    }
    Ok(Some(CacheCost {
        session: reserved,
        relation: after.saturating_sub(before) / sampled,
        sampled,
        namesakes: namesakes(&session).await?,
    }))
}

/// Bytes in use by a session, and those that it has reserved.
async fn used(session: &Session) -> Result<(u64, u64)> {
    let memory = Sql::new(include_str!("../../sql/preflight/cache_memory.sql"));
    let row = session.query_one(&memory, &[], "measure the session's memory").await?;
    let number = |name: &str| column::<i64>(&row, name).map(i64::unsigned_abs);
    Ok((number("bytes")?, number("reserved")?))
}

async fn namesakes(session: &Session) -> Result<Option<Namesakes>> {
    let sql = Sql::new(include_str!("../../sql/preflight/namesakes.sql"));
    let Some(row) = session.query_opt(&sql, &[], "count functions of one name").await? else {
        return Ok(None);
    };
    let number = |name: &str| column::<i64>(&row, name).map(i64::unsigned_abs);
    let commonest: String = column(&row, "commonest")?;
    let touch = Sql::new(include_str!("../../sql/preflight/namesakes_touch.sql"));
    let look_for = async |name: &str| {
        session
            .query(&touch, &[(&name, Type::TEXT)], "look for a function")
            .await
    };
    // No function is called so, and the query has been planned.
    look_for("").await?;
    let (before, _) = used(session).await?;
    look_for(&commonest).await?;
    let (after, _) = used(session).await?;
    Ok(Some(Namesakes {
        functions: number("functions")?,
        names: number("names")?,
        function: after.saturating_sub(before) / number("of_commonest")?.max(1),
        commonest,
    }))
}

/// `cache_memory`; the target is in MiB, of a connection.
pub fn cache_memory(seen: &Observed, objects: &Objects, cost: &CacheCost, target: f64) -> Vec<Item> {
    let mut items = vec![
        tenants_sessions(seen, objects, cost).about("tenants' sessions"),
        session_over_all(objects, cost).about("a session over all tenants"),
    ];
    if let Some(namesakes) = &cost.namesakes {
        items.push(functions_of_one_name(namesakes, target).about("functions of one name"));
    }
    items
}

fn tenants_sessions(seen: &Observed, objects: &Objects, cost: &CacheCost) -> Item {
    let per = format!(
        "{} for each table or index, measured on {}",
        bytes(cost.relation),
        grouped(cost.sampled as f64)
    );
    let namesakes = cost.namesakes.as_ref().map_or(0, Namesakes::bytes);
    let and = match namesakes {
        0 => String::new(),
        n => format!(" and {} for functions of one name", bytes(n)),
    };
    let tenant = cost.session + cost.relation * objects.most_cached + namesakes;
    let connections = seen.number("max_connections");
    let all = tenant * connections;
    let detail = format!(
        "a tenant's session takes about {} once it has touched its {} tables and indexes ({per}){and}; {connections} of them {}",
        bytes(tenant),
        grouped(objects.most_cached as f64),
        bytes(all)
    );
    match &seen.memory {
        None => Item::unknown(
            &CACHE_MEMORY,
            format!("{detail}; the memory of the server's machine is not known"),
        )
        .remedy("Say how much it has: --memory 64GB."),
        Some(memory) if all > memory.bytes / 4 => Item::warn(
            &CACHE_MEMORY,
            format!("{detail}, more than a quarter of {}", bytes(memory.bytes)),
            "Let tenants in through the pooler, which ends sessions after server_lifetime, or lower max_connections.",
        ),
        Some(memory) => Item::pass(&CACHE_MEMORY, format!("{detail}, of {}", bytes(memory.bytes))),
    }
}

fn session_over_all(objects: &Objects, cost: &CacheCost) -> Item {
    let admin = cost.session + cost.relation * objects.all_cached;
    let detail = format!(
        "a session that has touched all {} tables and indexes of all tenants takes about {}",
        grouped(objects.all_cached as f64),
        bytes(admin)
    );
    if admin > ADMIN_SESSION {
        Item::warn(
            &CACHE_MEMORY,
            detail,
            "tenantctl replaces its own sessions before that; end those of monitoring and migration tools from time to time, too.",
        )
    } else {
        Item::pass(&CACHE_MEMORY, detail)
    }
}

fn functions_of_one_name(namesakes: &Namesakes, target: f64) -> Item {
    let names = count(usize::try_from(namesakes.names).unwrap_or(usize::MAX), "name");
    let detail = format!(
        "{} functions of tenants bear {names} ({} most of all), and the server reads all of a name to call one: {} of each session that has met them all ({} for each, measured)",
        grouped(namesakes.functions as f64),
        namesakes.commonest,
        bytes(namesakes.bytes()),
        bytes(namesakes.function)
    );
    if namesakes.bytes() as f64 > target * MIB {
        Item::warn(
            &CACHE_MEMORY,
            format!("{detail}; connection_overhead_mb is {target}"),
            "`tenantctl secure --all` renames those of audit and limits. Make a trigger function of your own modules once, in a schema that tenantctl_owner alone may use, and name it in full: EXECUTE FUNCTION common.touch().",
        )
    } else {
        Item::pass(&CACHE_MEMORY, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::super::Verdict;
    use super::super::machine::Memory;
    use super::super::observe::tests::observed;
    use super::*;

    #[test]
    fn caches_against_the_machine() {
        let mut cost = CacheCost {
            session: 2 << 20,
            relation: 5000,
            sampled: 100,
            namesakes: None,
        };
        let objects = Objects {
            most_cached: 130,
            all_cached: 130 * 100,
            ..Objects::default()
        };
        let mut seen = observed(&[("max_connections", "100", None, "integer")]);
        let statuses = |seen: &Observed, objects: &Objects, cost: &CacheCost| {
            cache_memory(seen, objects, cost, 10.0)
                .iter()
                .map(|i| i.status)
                .collect::<Vec<_>>()
        };
        let (pass, warn) = (Verdict::Pass, Verdict::Warn);
        assert_eq!(statuses(&seen, &objects, &cost), [Verdict::Unknown, pass]);
        seen.memory = Some(Memory::told(8 << 30));
        assert_eq!(statuses(&seen, &objects, &cost), [pass, pass]);
        seen.memory = Some(Memory::told(1 << 30));
        assert_eq!(statuses(&seen, &objects, &cost), [warn, pass]);
        let many = Objects {
            all_cached: 1_300_000,
            ..objects.clone()
        };
        seen.memory = Some(Memory::told(8 << 30));
        assert_eq!(statuses(&seen, &many, &cost), [pass, warn]);
        // 3 MiB for each session, then 30: a hundred sessions of the latter are more than a quarter of 8 GiB.
        let mut with = |functions| {
            cost.namesakes = Some(Namesakes {
                functions,
                names: 2,
                commonest: "touch".into(),
                function: 3 << 10,
            });
            statuses(&seen, &objects, &cost)
        };
        assert_eq!(with(1 << 10), [pass, pass, pass]);
        assert_eq!(with(10 << 10), [warn, pass, warn]);
    }
}
