//! What isolation takes: an empty tenant on disk, a connection in memory, indexes beside the data.
//!
//! Tenants are measured by the growth of the database and of the catalogs that all databases share, so that what their names,
//! columns, rights and policies take in the catalog counts. Memory is what a backend has for itself, without shared_buffers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use tokio_postgres::types::Type;

use super::backend::{Memory, Source};
use super::history::{Contender, History, TABLES};
use super::queries::{self, Drawer, Query};
use super::{Figure, Latencies, Measured, Stage};
use crate::error::Result;
use crate::pg::session::{Session, column};
use crate::pg::sql::Sql;
use crate::tenant::{OWNER_ROLE, SchemaName, Tier};

const SUITE: &str = "resources";
/// Tenants of each tier whose growth is measured: enough for the page that a catalog grows by not to matter.
const TENANTS: usize = 100;
/// Connections whose mean is taken.
const CONNECTIONS: usize = 8;
/// How often a connection runs each of a tenant's queries.
const QUERIES_EACH: usize = 10;
/// Rows of the insert whose cost is measured without each index.
const ROWS: usize = 1000;
/// The part of all data from which on an index has figures of its own.
const WORTH_A_FIGURE: f64 = 0.01;
const MIB: f64 = 1_048_576.0;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Trades of the tenant whose indexes are measured.
    pub trades: u32,
    /// Inserts with each index left out in turn.
    pub rounds: usize,
}

/// A running suite.
pub struct Suite<'a> {
    /// What it works with.
    pub stage: &'a Stage<'a>,
    /// What to run.
    pub workload: Workload,
}

/// What all tenants take, by `sql/bench/overhead.sql`.
#[derive(Clone, Copy, Debug)]
struct Taken {
    tenants: f64,
    relations: f64,
    all: f64,
}

/// An index beside its table.
struct Index {
    table: String,
    name: String,
    needed: bool,
    bytes: f64,
    table_bytes: f64,
}

impl Suite<'_> {
    /// Runs the suite.
    ///
    /// # Errors
    /// When the server refuses, or a tenant cannot be made; an interrupt.
    pub async fn run(&self) -> Result<Measured> {
        let mut figures = Vec::new();
        let mut schemas = Vec::new();
        for tier in &self.stage.config.tiers {
            schemas.extend(self.tier(tier, &mut figures).await?);
        }
        let history = History::make(self.stage, self.workload.trades, false).await?;
        self.connections(&history, &mut figures).await?;
        self.admin(&schemas, &mut figures).await?;
        self.indexes(&history, &mut figures).await?;
        Ok(figures.into())
    }

    /// Empty tenants of one tier.
    async fn tier(&self, tier: &Tier, figures: &mut Vec<Figure>) -> Result<Vec<SchemaName>> {
        let stage = self.stage;
        stage.progress(format!("{TENANTS} empty tenants of tier {}", tier.key));
        let session = stage.provisioner.connector.connect().await?;
        let tier = Arc::new(tier.clone());
        let requests = (0..TENANTS).map(|_| stage.request(&tier)).collect::<Result<Vec<_>>>()?;
        let before = taken(&session).await?;
        let mut results = stage.provisioner.provision_many(requests, 2, None, stage.interrupt);
        let mut made = Vec::new();
        while let Some((_, result)) = results.recv().await {
            made.push(result?.schema_name);
        }
        stage.uninterrupted()?;
        let after = taken(&session).await?;
        let each = |of: fn(&Taken) -> f64| (of(&after) - of(&before)) / TENANTS as f64;
        let (all, own) = (each(|t| t.all) / MIB, each(|t| t.tenants) / MIB);
        let target = stage.config.performance_targets.resource_usage.schema_overhead_mb;
        let mut push = |metric: &str, unit, value, target| {
            let metric = format!("empty tenant, {}: {metric}", tier.key);
            figures.push(Figure::new(SUITE, metric, unit, value, target));
        };
        push("on disk", "MiB", all, Some(target));
        push("of it tables and indexes", "MiB", own, None);
        push("of it catalogs and registry", "MiB", all - own, None);
        push("relations", "number", each(|t| t.relations), None);
        Ok(made)
    }

    /// Connections of the tenant: as they begin, and after its queries.
    async fn connections(&self, history: &History, figures: &mut Vec<Figure>) -> Result<()> {
        let stage = self.stage;
        stage.progress(format!("memory of {CONNECTIONS} connections"));
        let source = Source::of(&history.session(Contender::Tenant).await?);
        if source == Source::Backend {
            stage.warn(
                "the server's processes cannot be looked at from here: memory is what PostgreSQL says it has allocated, less than a process takes",
            );
        }
        let mut sessions = Vec::new();
        for _ in 0..CONNECTIONS {
            sessions.push(match source {
                Source::System => history.session(Contender::Tenant).await?,
                // The tenant may not ask for it; the admin may, when it has been the owner for a while.
                Source::Backend => stage.provisioner.connector.connect().await?,
            });
        }
        let idle = mean(source, &sessions).await?;
        for (no, session) in sessions.iter().enumerate() {
            stage.uninterrupted()?;
            if source == Source::Backend {
                let sql = Sql::new("SET ROLE ")
                    .ident(OWNER_ROLE)
                    .text("; SET row_security = on; SET search_path = ")
                    .ident(history.tenant.schema_name.as_str());
                session.batch(&sql, "take the owner's role").await?;
            }
            let mut drawer = Drawer::new(history, no as u64);
            for query in [
                Query::TradeById,
                Query::LastTrades,
                Query::PortfolioValue,
                Query::AllPortfoliosValue,
                Query::YearBySymbol,
            ] {
                let times = if query == Query::YearBySymbol { 1 } else { QUERIES_EACH };
                for _ in 0..times {
                    queries::run(session, query, &drawer.draw(query)).await?;
                }
            }
            if source == Source::Backend {
                session.batch(&Sql::new("RESET ROLE"), "leave the owner's role").await?;
            }
        }
        let used = mean(source, &sessions).await?;
        let target = stage.config.performance_targets.resource_usage.connection_overhead_mb;
        let mut push = |metric: &str, value: u64, target| {
            let metric = format!("connection, {metric}");
            figures.push(Figure::new(SUITE, metric, "MiB", value as f64 / MIB, target));
        };
        push("idle: memory", idle.own, Some(target));
        push("after a tenant's queries: memory", used.own, Some(target));
        if let Some(bytes) = used.page_tables {
            push("after a tenant's queries: of it page tables", bytes, None);
        }
        Ok(())
    }

    /// A backend keeps what it has learnt of every relation that it has met.
    async fn admin(&self, schemas: &[SchemaName], figures: &mut Vec<Figure>) -> Result<()> {
        self.stage
            .progress(format!("memory of a session that meets {} tenants", schemas.len()));
        let session = self.stage.provisioner.connector.connect().await?;
        let source = Source::of(&session);
        meet(&session, &schemas[..1]).await?;
        let before = source.memory(&session).await?.own;
        meet(&session, &schemas[1..]).await?;
        let after = source.memory(&session).await?.own;
        let each = after.saturating_sub(before) as f64 / (schemas.len() - 1) as f64;
        figures.push(Figure::new(
            SUITE,
            "connection that reads many tenants: memory for each",
            "MiB",
            each / MIB,
            None,
        ));
        Ok(())
    }

    /// Indexes beside their tables as the history has left them, rebuilt, and what each costs an insert.
    async fn indexes(&self, history: &History, figures: &mut Vec<Figure>) -> Result<()> {
        let stage = self.stage;
        stage.progress("indexes");
        let admin = stage.provisioner.connector.connect().await?;
        admin
            .batch(&Sql::new("SET statement_timeout = 0"), "prepare the session")
            .await?;
        let schema = history.tenant.schema_name.as_str();
        let grown = self.sizes(&admin, schema).await?;
        let costs = self.insert_costs(history, &grown).await?;
        stage.progress("indexes, built anew");
        for table in TABLES {
            stage.uninterrupted()?;
            let sql = Sql::new("REINDEX TABLE ").qualified(schema, table);
            admin.batch(&sql, "build indexes anew").await?;
        }
        let rebuilt = beside(self.sizes(&admin, schema).await?, &grown);
        let target = stage.config.performance_targets.resource_usage.index_overhead_percent;
        let mut push = |metric: String, value: f64, target| {
            figures.push(Figure::new(SUITE, metric, "%", value, target));
        };
        push("indexes against data".into(), percent(&grown, |_| true), Some(target));
        push(
            "indexes against data, built anew".into(),
            percent(&rebuilt, |_| true),
            None,
        );
        push(
            "indexes against data, those of keys alone".into(),
            percent_of_all(&grown, |index| index.needed),
            None,
        );
        for table in TABLES {
            push(
                format!("indexes of {table} against its data"),
                percent(&grown, |index| index.table == table),
                None,
            );
        }
        let data = data(&grown);
        for index in grown.iter().filter(|index| index.bytes > data * WORTH_A_FIGURE) {
            let (table, name) = (&index.table, &index.name);
            push(
                format!("index {name} of {table} against its data"),
                index.bytes / index.table_bytes * 100.0,
                None,
            );
            if let Some(anew) = rebuilt.iter().find(|other| other.name == index.name) {
                push(
                    format!("index {name} of {table} against its data, built anew"),
                    anew.bytes / anew.table_bytes * 100.0,
                    None,
                );
            }
        }
        figures.extend(costs);
        Ok(())
    }

    async fn sizes(&self, admin: &Session, schema: &str) -> Result<Vec<Index>> {
        let sql = Sql::new(include_str!("../../sql/bench/index_sizes.sql"));
        let rows = admin.query(&sql, &[(&schema, Type::TEXT)], "measure indexes").await?;
        let all = rows.iter().map(|row| {
            Ok(Index {
                table: column(row, "table_name")?,
                name: column(row, "index_name")?,
                needed: column(row, "needed")?,
                bytes: column::<i64>(row, "index_bytes")? as f64,
                table_bytes: column::<i64>(row, "table_bytes")? as f64,
            })
        });
        let mut all = all.collect::<Result<Vec<_>>>()?;
        // The audit log and tables of the modules are empty here.
        all.retain(|index| TABLES.contains(&index.table.as_str()));
        Ok(all)
    }

    /// The same insert with all indexes of trades and with one of them dropped, in transactions that are rolled back, in turn.
    async fn insert_costs(&self, history: &History, indexes: &[Index]) -> Result<Vec<Figure>> {
        let owner = history.session(Contender::Owner).await?;
        let droppable: Vec<&str> = indexes
            .iter()
            .filter(|index| index.table == "trades" && !index.needed)
            .map(|index| index.name.as_str())
            .collect();
        let variants: Vec<Option<&str>> = std::iter::once(None).chain(droppable.into_iter().map(Some)).collect();
        let mut latencies = variants.iter().map(|_| Latencies::new()).collect::<Result<Vec<_>>>()?;
        let mut drawer = Drawer::new(history, 99);
        let schema = history.tenant.schema_name.as_str();
        let doing = "insert with an index less";
        for round in 0..=self.workload.rounds {
            let (one, many) = (Query::InsertTrades(1), Query::InsertTrades(ROWS));
            let (first, drawn) = (drawer.draw(one), drawer.draw(many));
            for i in 0..variants.len() {
                self.stage.uninterrupted()?;
                let which = (round + i) % variants.len();
                let mut sql = Sql::new("BEGIN");
                if let Some(index) = variants[which] {
                    sql = sql.text("; DROP INDEX ").qualified(schema, index);
                }
                let done: Result<_> = async {
                    owner.batch(&sql, doing).await?;
                    // The session forgets what it knew of the table when an index goes.
                    queries::run(&owner, one, &first).await?;
                    let started = Instant::now();
                    queries::run(&owner, many, &drawn).await?;
                    Ok(started.elapsed())
                }
                .await;
                owner.rollback().await;
                let took = done?;
                // The first round warms up.
                if round > 0 {
                    latencies[which].record(took);
                }
            }
        }
        let with = latencies[0].percentile(50.0);
        let costs = variants.iter().zip(&latencies).filter_map(|(index, without)| {
            let name = (*index)?;
            let share = (1.0 - without.percentile(50.0) / with) * 100.0;
            let metric = format!("index {name} of trades: of the time of an insert of {ROWS} rows");
            Some(Figure::new(SUITE, metric, "%", share, None))
        });
        Ok(costs.collect())
    }
}

async fn taken(session: &Session) -> Result<Taken> {
    let sql = Sql::new(include_str!("../../sql/bench/overhead.sql"));
    let row = session.query_one(&sql, &[], "measure what tenants take").await?;
    let number = |name: &str| column::<i64>(&row, name).map(|n| n as f64);
    Ok(Taken {
        tenants: number("tenants_bytes")?,
        relations: number("relations")?,
        all: number("database_bytes")? + number("shared_bytes")?,
    })
}

async fn mean(source: Source, sessions: &[Session]) -> Result<Memory> {
    let (mut own, mut page_tables) = (0, Some(0));
    for session in sessions {
        let memory = source.memory(session).await?;
        own += memory.own;
        page_tables = page_tables.zip(memory.page_tables).map(|(sum, one)| sum + one);
    }
    let n = sessions.len().max(1) as u64;
    Ok(Memory {
        own: own / n,
        page_tables: page_tables.map(|sum| sum / n),
    })
}

/// Reads the first row of each of the tenants' tables.
///
/// # Errors
/// When the server refuses.
pub(super) async fn meet(session: &Session, schemas: &[SchemaName]) -> Result<()> {
    for schema in schemas {
        let mut sql = Sql::new("BEGIN; SET LOCAL ROLE ")
            .ident(OWNER_ROLE)
            .text("; SET LOCAL row_security = on");
        for table in TABLES {
            sql = sql
                .text("; SELECT FROM ")
                .qualified(schema.as_str(), table)
                .text(" LIMIT 1");
        }
        let met = session.batch(&sql.text("; COMMIT"), "read from a tenant").await;
        if met.is_err() {
            session.rollback().await;
        }
        met?;
    }
    Ok(())
}

/// Indexes built anew beside the data as it was: inserts that were rolled back have left their rows in the tables since, which no
/// new index has.
fn beside(rebuilt: Vec<Index>, grown: &[Index]) -> Vec<Index> {
    let as_it_was = |index: Index| {
        let before = grown.iter().find(|other| other.table == index.table);
        let table_bytes = before.map_or(index.table_bytes, |other| other.table_bytes);
        Index { table_bytes, ..index }
    };
    rebuilt.into_iter().map(as_it_was).collect()
}

/// The data of the tables of some indexes, each table counted once.
fn data<'a>(indexes: impl IntoIterator<Item = &'a Index>) -> f64 {
    let tables: BTreeMap<&str, f64> = indexes
        .into_iter()
        .map(|index| (index.table.as_str(), index.table_bytes))
        .collect();
    tables.values().sum()
}

/// Some indexes in per cent of the data of their tables.
fn percent(indexes: &[Index], which: impl Fn(&Index) -> bool) -> f64 {
    let chosen: Vec<&Index> = indexes.iter().filter(|index| which(index)).collect();
    chosen.iter().map(|index| index.bytes).sum::<f64>() / data(chosen.iter().copied()) * 100.0
}

/// Some indexes in per cent of the data of all tables.
fn percent_of_all(indexes: &[Index], which: impl Fn(&Index) -> bool) -> f64 {
    let chosen = indexes.iter().filter(|index| which(index));
    chosen.map(|index| index.bytes).sum::<f64>() / data(indexes) * 100.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(table: &str, name: &str, needed: bool, bytes: f64, table_bytes: f64) -> Index {
        Index {
            table: table.into(),
            name: name.into(),
            needed,
            bytes,
            table_bytes,
        }
    }

    #[test]
    fn indexes_built_anew_are_held_against_the_same_data() {
        let grown = [
            index("a", "a_pkey", true, 40.0, 100.0),
            index("b", "b_pkey", true, 5.0, 10.0),
        ];
        let rebuilt = vec![
            index("a", "a_pkey", true, 30.0, 160.0),
            index("b", "b_pkey", true, 5.0, 10.0),
        ];
        let rebuilt = beside(rebuilt, &grown);
        assert!((percent(&rebuilt, |i| i.table == "a") - 30.0).abs() < 1e-9);
        assert!((percent(&rebuilt, |i| i.table == "b") - 50.0).abs() < 1e-9);
    }

    #[test]
    fn data_counts_once_however_many_indexes_there_are() {
        let all = [
            index("a", "a_pkey", true, 30.0, 100.0),
            index("a", "a_x", false, 20.0, 100.0),
            index("b", "b_pkey", true, 10.0, 100.0),
        ];
        let close = |value: f64, wanted: f64| assert!((value - wanted).abs() < 1e-9, "{value}");
        close(percent(&all, |_| true), 30.0);
        close(percent(&all, |i| i.table == "a"), 50.0);
        close(percent_of_all(&all, |i| i.needed), 20.0);
    }
}
