//! The tenants' data: what fills them, and what is counted of it.

use tokio_postgres::types::Type;

use crate::error::Result;
use crate::pg::session::{Session, column};
use crate::pg::sql::{Sql, TrustedScript};
use crate::provisioner::Provisioned;
use crate::tenant::OWNER_ROLE;

/// Bytes of heap that a row takes.
const TRADE_BYTES: f64 = 134.2;
const BAR_BYTES: f64 = 84.5;
/// Bars a minute: one for each symbol.
const SYMBOLS: f64 = 12.0;
/// The share of trades in the size; the rest is market data.
const TRADES_SHARE: f64 = 0.6;

/// How much data a tenant gets.
#[derive(Clone, Copy)]
pub(super) struct Volume {
    pub(super) portfolios: i64,
    pub(super) trades: i64,
    pub(super) minutes: i64,
}

impl Volume {
    /// Rows of so many bytes of tables.
    pub(super) fn of_bytes(bytes: f64) -> Self {
        Self {
            portfolios: 200,
            trades: (bytes * TRADES_SHARE / TRADE_BYTES) as i64,
            minutes: (bytes * (1.0 - TRADES_SHARE) / BAR_BYTES / SYMBOLS) as i64,
        }
    }
}

/// Completes `failed to ...`.
pub(super) const FILLING: &str = "fill a tenant with trading data";
/// What trading_data.sql fills.
const FILLED: [&str; 4] = ["portfolios", "market_data", "trades", "positions"];

/// A transaction as the owner, whose policy shows it all rows whatever the login is.
pub(super) fn begun(tenant: &Provisioned) -> Sql {
    Sql::new("BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL ROLE ")
        .ident(OWNER_ROLE)
        .text("; SET LOCAL row_security = on; SET LOCAL search_path = ")
        .ident(tenant.schema_name.as_str())
        .text(";\n")
}

pub(super) fn rows_of(sql: Sql, tenant: &Provisioned, volume: Volume) -> Sql {
    sql.text("SET LOCAL bench.seed = ")
        .literal(tenant.tenant_id.as_str())
        .text("; SET LOCAL bench.portfolios = ")
        .int(volume.portfolios)
        .text("; SET LOCAL bench.trades = ")
        .int(volume.trades)
        .text("; SET LOCAL bench.minutes = ")
        .int(volume.minutes)
        .text(";\n")
        .text(include_str!("../../../sql/bench/trading_data.sql"))
}

/// Fills a tenant with many rows: what could be kept row by row, keys, indexes, counters, is made at the end or left out.
pub(super) async fn fill_at_once(session: &Session, tenant: &Provisioned, volume: Volume) -> Result<()> {
    let schema = tenant.schema_name.as_str();
    let sql = Sql::new(include_str!("../../../sql/bench/rebuilt.sql"));
    let rows = session
        .query(&sql, &[(&schema, Type::TEXT)], "look at the tenant's keys and indexes")
        .await?;
    let printed = |row, name| -> Result<Sql> {
        let text = TrustedScript::of_server(column(row, name)?);
        Ok(Sql::script(&text).text(";\n"))
    };
    let triggers = |sql: Sql, how: &'static str| {
        FILLED.iter().fold(sql, |sql, table| {
            sql.text("ALTER TABLE ").qualified(schema, table).text(how)
        })
    };
    let mut sql = begun(tenant).text("SET LOCAL maintenance_work_mem = '256MB';\n");
    for row in rows.iter().rev() {
        sql = sql.append(printed(row, "taken")?);
    }
    sql = rows_of(triggers(sql, " DISABLE TRIGGER USER;\n"), tenant, volume).text("\n");
    for row in &rows {
        sql = sql.append(printed(row, "made")?);
    }
    let sql = triggers(sql, " ENABLE TRIGGER USER;\n").text("COMMIT");
    session.batch(&sql, FILLING).await
}

pub(super) async fn vacuum(session: &Session) -> Result<()> {
    let doing = "vacuum the benchmark's database";
    session
        .batch(
            &Sql::new("SET statement_timeout = 0; SET client_min_messages = error"),
            doing,
        )
        .await?;
    session.batch(&Sql::new("VACUUM (ANALYZE)"), doing).await
}

/// So that nobody writes another's pages. Only some logins may, and it is of no other consequence.
pub(super) async fn checkpoint(session: &Session) {
    if let Err(error) = session.batch(&Sql::new("CHECKPOINT"), "write a checkpoint").await {
        tracing::debug!(%error, "checkpoint");
    }
}

/// The rows of each table.
pub(super) async fn count(session: &Session, schema: &str, tables: &[String]) -> Result<Vec<i64>> {
    let mut sql = Sql::new("SELECT n FROM (");
    for (place, table) in (0..).zip(tables) {
        sql = if place == 0 { sql } else { sql.text(" UNION ALL ") }
            .text("SELECT ")
            .int(place)
            .text(" AS place, pg_catalog.count(*) AS n FROM ")
            .qualified(schema, table);
    }
    let sql = sql.text(") counted ORDER BY place");
    let rows = session.query(&sql, &[], "count the tenant's rows").await?;
    rows.iter().map(|row| column(row, "n")).collect()
}

/// Heap and TOAST of all tables of a schema.
pub(super) async fn size_of_tables(session: &Session, schema: &str) -> Result<i64> {
    let sql = Sql::new(
        "SELECT pg_catalog.sum(pg_catalog.pg_table_size(c.oid))::bigint AS bytes FROM pg_catalog.pg_class c
WHERE c.relnamespace = (SELECT n.oid FROM pg_catalog.pg_namespace n WHERE n.nspname = $1) AND c.relkind = 'r'",
    );
    column(
        &session
            .query_one(&sql, &[(&schema, Type::TEXT)], "measure the tenant's tables")
            .await?,
        "bytes",
    )
}
