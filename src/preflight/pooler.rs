//! The check of PgBouncer: whether it answers, runs as the configuration says, and fits the server.

use std::collections::BTreeMap;

use super::checklist::POOLER;
use super::observe::Observed;
use super::{Item, Verdict};
use crate::config::{Config, PoolerPolicy};
use crate::error::Result;
use crate::figures::count;
use crate::pg::console::Console;
use crate::pg::session::Session;
use crate::pooler::console::{self, Running};
use crate::pooler::{Endpoint, Fleet, lookup, safety, settings};

/// `pooler`.
///
/// # Errors
/// When the registry cannot be read; a PgBouncer that does not answer is a finding.
pub async fn check(url: Option<&str>, session: &Session, config: &Config, seen: &Observed) -> Result<Vec<Item>> {
    let policy = &config.pgbouncer;
    let Some(url) = url else {
        return Ok(vec![
            Item::unknown(&POOLER, "nobody says where its admin console is")
                .remedy("Give --pooler-url or TENANTCTL_PGBOUNCER_URL; say --skip pooler where there is none."),
        ]);
    };
    let looked = async {
        let connector = console::connector(Some(url), policy)?;
        let console = Console::connect(&connector).await?;
        console::look(&console).await
    };
    let running = match looked.await {
        Ok(running) => running,
        Err(error) => {
            let hint = error
                .hint()
                .unwrap_or("Check that PgBouncer runs, and its admin_users.")
                .to_owned();
            return Ok(vec![Item::fail(&POOLER, error.one_line(), hint)]);
        }
    };
    let fleet = match seen.tenants() {
        Some(_) => lookup::fleet(session, &config.cluster.replicas).await?,
        None => Fleet::default(),
    };
    Ok(judge(policy, &running, &fleet, seen))
}

/// What there is to say of a PgBouncer that answers.
fn judge(policy: &PoolerPolicy, running: &Running, fleet: &Fleet, seen: &Observed) -> Vec<Item> {
    let mut items = Vec::new();
    for concern in safety::judge(policy, running.version, fleet) {
        let verdict = match concern.verdict {
            safety::Verdict::Refused => Verdict::Fail,
            safety::Verdict::Warning => Verdict::Warn,
        };
        let item = Item::new(&POOLER, verdict, format!("{}: {}", concern.what, concern.why));
        items.push(item.about("configuration").remedy(concern.hint));
    }
    let name = &policy.database.name;
    if !running.databases.contains_key(name) {
        let known: Vec<&str> = running
            .databases
            .keys()
            .map(String::as_str)
            .filter(|known| *known != "pgbouncer")
            .collect();
        items.push(
            Item::fail(
                &POOLER,
                format!(
                    "it has no database {name}; it has {}",
                    if known.is_empty() {
                        "none".to_owned()
                    } else {
                        known.join(", ")
                    }
                ),
                "Write its configuration with `tenantctl pgbouncer --out`, and have it read with --reload.",
            )
            .about(format!("database {name}")),
        );
    }
    items.extend(differences(policy, running, fleet));
    items.extend(server_connections(policy, running, fleet, seen));
    if items.iter().all(|item| item.status == Verdict::Pass) {
        let place = running.databases.get(name).map(shown).unwrap_or_default();
        items.insert(
            0,
            Item::pass(
                &POOLER,
                format!(
                    "PgBouncer {} runs as configured, in {} mode, before {place}",
                    running.version,
                    policy.pool_mode.as_str()
                ),
            ),
        );
    }
    items
}

fn shown(at: &Endpoint) -> String {
    format!("{} port {} database {}", at.host, at.port, at.dbname)
}

/// What runs otherwise than the configuration says. The folder of its files is whoever started it's to choose.
fn differences(policy: &PoolerPolicy, running: &Running, fleet: &Fleet) -> Vec<Item> {
    let mut written: BTreeMap<String, String> = settings::written(policy, running.version, fleet, "");
    written.remove("auth_file");
    let at = &policy.database;
    let wanted = Endpoint {
        host: at.host.clone(),
        port: at.port,
        dbname: at.dbname.clone(),
    };
    let databases = [(at.name.clone(), wanted)];
    running
        .differences(&written, &databases, fleet)
        .into_iter()
        // That it is missing was said.
        .filter(|found| !(found.what.starts_with("database ") && found.running == "none"))
        .map(|found| {
            let remedy = if found.needs_restart {
                "Write its configuration with `tenantctl pgbouncer --out`, then restart PgBouncer."
            } else {
                "Write its configuration with `tenantctl pgbouncer --out`, and have it read with --reload."
            };
            let detail = format!("is {}; configured is {}", found.running, found.written);
            Item::warn(&POOLER, detail, remedy).about(found.what)
        })
        .collect()
}

/// The server connections that the running PgBouncer may open, against those that the server has.
fn server_connections(policy: &PoolerPolicy, running: &Running, fleet: &Fleet, seen: &Observed) -> Vec<Item> {
    let usable = seen.usable_connections();
    let number = |name: &str| {
        let setting = running.settings.get(name);
        setting.and_then(|s| s.value.parse::<u64>().ok()).unwrap_or_default()
    };
    let tenants = count(fleet.tenants.len(), "tenant");
    let pools: u64 = fleet
        .tenants
        .iter()
        .map(|t| u64::from(fleet.pool_size(policy, &t.tier, t.limit)))
        .sum();
    let room = format!("the server has {usable} that are not reserved");
    let lower = format!("Set pgbouncer.max_db_connections below {usable}, or raise max_connections.");
    vec![
        match number("max_db_connections") {
            0 if pools > usable => Item::fail(
                &POOLER,
                format!("no limit over all tenants, whose pools come to {pools} ({tenants}); {room}"),
                lower,
            ),
            0 => Item::pass(
                &POOLER,
                format!("no limit over all tenants, whose pools come to {pools} ({tenants}); {room}"),
            ),
            n if n > usable => Item::fail(&POOLER, format!("up to {n} over all tenants; {room}"), lower),
            n => Item::pass(
                &POOLER,
                format!("up to {n} over all tenants, whose pools come to {pools} ({tenants}); {room}"),
            ),
        }
        .about("server connections"),
    ]
}
