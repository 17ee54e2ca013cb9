//! From what was read to the tenants' documents, and sentences about what is not known.

use std::collections::{BTreeMap, HashSet};
use std::time::Instant;

use super::{Business, Heavy, Light, Run, SIZE, Sizes, counts};
use crate::catalog::tenants::TenantRow;
use crate::metrics::activity::Connections;
use crate::metrics::host::Resources;
use crate::metrics::sizes::Contents;
use crate::metrics::statements::{self, Statements};
use crate::metrics::usage::Counted;
use crate::metrics::{Database, Fleet, Performance, TenantMetrics, Usage};
use crate::tenant::{Limit, Limits, TenantId};

impl Run<'_> {
    /// Puts the documents together.
    pub(super) fn fleet(
        &self,
        light: Light,
        heavy: Heavy,
        business: Business,
        resources: &Resources,
        started: Instant,
    ) -> Fleet {
        let mut tenants = Vec::with_capacity(self.tenants.len());
        let mut there = HashSet::with_capacity(self.tenants.len());
        let Light {
            sessions,
            statements,
            cluster,
            mut backups,
        } = light;
        let mut top = match statements {
            Statements::Found(top) => Ok(top),
            other => Err(other),
        };
        let mut hidden = false;
        for (at, row) in self.tenants.iter().enumerate() {
            // Dropped meanwhile, or dropped and made anew.
            let Some((_, backup)) = backups
                .remove(row.tenant_id.as_str())
                .filter(|(schema, _)| schema == row.schema_name.as_str())
            else {
                continue;
            };
            there.insert(at);
            let connections = sessions.get(&row.role_name).copied().unwrap_or_else(Connections::none);
            hidden |= connections.hidden();
            let database = self.database(heavy.contents.get(&at), heavy.bytes.get(&at));
            let counted = heavy.counted.get(&at).filter(|_| counts(&row.limits));
            tenants.push(TenantMetrics {
                tenant_id: row.tenant_id.clone(),
                schema_name: row.schema_name.to_string(),
                tier: row.tier.clone(),
                timestamp: self.rights.timestamp.clone(),
                writes_frozen_at: row.writes_frozen_at.clone(),
                limits: limits(&row.limits, &database, &connections, counted),
                database,
                performance: Performance {
                    connections,
                    top_queries: top
                        .as_mut()
                        .ok()
                        .map(|top| top.remove(&row.role_name).unwrap_or_default()),
                },
                resources: resources.clone(),
                business: self.business_of(business.values.get(&at)),
                backup,
                alerts: Vec::new(),
            });
        }
        let mut unknown = Unknown {
            tenants: &self.tenants,
            there: &there,
            sentences: Vec::new(),
        };
        unknown.sizes(self, &heavy);
        unknown.business(&business);
        let mut sentences = unknown.sentences;
        if hidden {
            sentences.push(format!(
                "what the tenants' sessions do is hidden from this login, and parallel workers may count as sessions; {}",
                statements::grant(self.session)
            ));
        }
        if let Err(Statements::Unusable(why)) = top {
            sentences.push(format!("top queries are unknown: {why}"));
        }
        if cluster.standbys.iter().any(|standby| standby.state.is_none()) {
            sentences.push(format!(
                "how far the standbys are is hidden from this login; {}",
                statements::grant(self.session)
            ));
        }
        Fleet {
            timestamp: self.rights.timestamp.clone(),
            unix_time: self.rights.unix_time,
            duration_ms: started.elapsed().as_secs_f64() * 1000.0,
            tenants,
            cluster,
            unknown: sentences,
            alerts: Vec::new(),
        }
    }

    fn database(&self, contents: Option<&Contents>, asked: Option<&u64>) -> Database {
        let bytes = asked
            .copied()
            .or(contents.and_then(|c| c.bytes))
            .filter(|_| contents.is_some());
        Database {
            size_bytes: bytes,
            size_source: match (bytes, self.options.sizes) {
                (Some(_), Sizes::Estimate) => "estimate",
                (Some(_), _) => "exact",
                (None, _) => "unknown",
            }
            .to_owned(),
            table_count: contents.map_or(0, |c| c.tables),
            total_rows: contents.filter(|_| self.rights.counts_rows).and_then(|c| c.live),
        }
    }

    fn business_of(&self, values: Option<&BTreeMap<String, Option<f64>>>) -> BTreeMap<String, Option<f64>> {
        let value = |name: &str| values.and_then(|values| values.get(name).copied().flatten());
        let queries = self.options.business.iter();
        queries.map(|query| (query.name.clone(), value(&query.name))).collect()
    }
}

/// What is used of each limit. Where there is none, nobody counts.
fn limits(
    limits: &Limits,
    database: &Database,
    connections: &Connections,
    counted: Option<&Counted>,
) -> BTreeMap<String, Usage> {
    const GIB: f64 = 1024.0 * 1024.0 * 1024.0;
    let number = |n: Option<u64>| n.map(|n| n as f64);
    let of_counter = |limit: Limit, used: fn(&Counted) -> u64| {
        let used = limit.max().and(counted).map(used);
        Usage::of(number(used), number(limit.max()))
    };
    [
        (
            "schema_size",
            Usage::of(
                number(database.size_bytes),
                limits.max_schema_size_gb.max().map(|gib| gib as f64 * GIB),
            ),
        ),
        (
            "connections",
            Usage::of(
                Some((connections.total + connections.elsewhere) as f64),
                number(limits.max_connections.max()),
            ),
        ),
        ("portfolios", of_counter(limits.max_portfolios, |c| c.portfolios)),
        (
            "positions_per_portfolio",
            of_counter(limits.max_positions_per_portfolio, |c| c.positions_per_portfolio),
        ),
        (
            "trades_per_day",
            of_counter(limits.max_trades_per_day, |c| c.trades_per_day),
        ),
        // The gateway's to count.
        (
            "api_calls_per_minute",
            Usage::of(None, number(limits.max_api_calls_per_minute.max())),
        ),
    ]
    .map(|(name, usage)| (name.to_owned(), usage))
    .into()
}

/// Tenants that a sentence names.
const NAMED: usize = 5;

/// Makes sentences of what is not known.
struct Unknown<'a> {
    tenants: &'a [&'a TenantRow],
    /// Places of tenants that are still there.
    there: &'a HashSet<usize>,
    sentences: Vec<String>,
}

impl Unknown<'_> {
    /// `what` completes ` of tenant a is unknown`.
    fn say(&mut self, what: &str, why: &str, places: &[usize]) {
        let mut places: Vec<usize> = places.iter().copied().filter(|at| self.there.contains(at)).collect();
        places.sort_unstable();
        if places.is_empty() {
            return;
        }
        let ids: Vec<&str> = places
            .iter()
            .take(NAMED)
            .map(|at| TenantId::as_str(&self.tenants[*at].tenant_id))
            .collect();
        let whose = match places.len() - ids.len() {
            0 if ids.len() == 1 => format!("tenant {}", ids[0]),
            0 => format!("{} tenants ({})", places.len(), ids.join(", ")),
            _ => format!("{} tenants ({}, ...)", places.len(), ids.join(", ")),
        };
        self.sentences.push(format!("{what} of {whose} is unknown: {why}"));
    }

    fn sizes(&mut self, run: &Run<'_>, heavy: &Heavy) {
        for ((what, why), places) in &heavy.unknown {
            self.say(what, why, places);
        }
        let missing = |at: &usize| !heavy.contents.contains_key(at);
        let missing: Vec<usize> = (0..self.tenants.len()).filter(missing).collect();
        self.say("size and number of rows", "the schema is missing", &missing);
        if run.options.sizes == Sizes::Estimate {
            let unseen = heavy.contents.iter().filter(|(_, c)| c.bytes.is_none());
            let unseen: Vec<usize> = unseen.map(|(at, _)| *at).collect();
            self.say(
                SIZE,
                "a table was filled and never vacuumed or analysed since; run ANALYZE",
                &unseen,
            );
        }
        if !run.rights.counts_rows {
            let why = match run.rights.in_recovery {
                true => "a standby keeps no statistics of them",
                false => "track_counts is off",
            };
            self.sentences.push(format!("the number of rows is unknown: {why}"));
            if run.options.sizes == Sizes::Estimate {
                self.sentences.push(format!(
                    "estimated sizes leave out tables that were never vacuumed or analysed: which of them have rows is unknown, as {why}"
                ));
            }
            return;
        }
        let lost = heavy.contents.iter().filter(|(_, c)| c.live.is_none());
        let lost: Vec<usize> = lost.map(|(at, _)| *at).collect();
        self.say(
            "the number of rows",
            "the server has lost its statistics, as in a crash, or they were reset; run ANALYZE",
            &lost,
        );
    }

    fn business(&mut self, business: &Business) {
        for (why, places) in &business.refused {
            self.say("business", why, places);
        }
        for ((name, why), places) in &business.failed {
            self.say(&format!("business metric {name}"), why, places);
        }
    }
}
