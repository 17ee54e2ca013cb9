//! A tenant with a trading history, and the same rows in tables that nothing isolates.

use std::sync::Arc;

use uuid::Uuid;

use super::Stage;
use crate::error::Result;
use crate::pg::session::{Connector, Session, column};
use crate::pg::sql::Sql;
use crate::provisioner::Provisioned;
use crate::tenant::{Features, Limit, Limits, OWNER_ROLE, Tier};

/// The tables that a history fills.
pub const TABLES: [&str; 4] = ["portfolios", "positions", "trades", "market_data"];
/// The schema with the same tables and rows, indexes and foreign keys, and nothing else.
pub const BARE: &str = "bench_bare";
/// The day after the last trade.
pub const END: &str = "2024-12-28 00:00:00+00";
/// The settings that make the data; the same ones make the same data.
const SEED: &str = "tenantctl";
/// Sessions of the tenant: room for all clients of the largest step.
const MAX_CONNECTIONS: u64 = 200;
/// A limit that is counted and never reached.
const COUNTED: Limit = Limit::Max(1_000_000_000_000);

/// Whose tables a session works on, and as whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Contender {
    /// The tenant in its own schema.
    Tenant,
    /// The tenant's role in the schema that nothing isolates.
    Bare,
    /// The owner role in the tenant's schema.
    Owner,
}

/// A tenant with a history.
pub struct History {
    /// The tenant.
    pub tenant: Provisioned,
    /// Ids of some of its trades, evenly spread over them.
    pub trades: Vec<Uuid>,
    /// Ids of its portfolios.
    pub portfolios: Vec<Uuid>,
    /// Its symbols.
    pub symbols: u32,
    admin: Connector,
    login: Option<Connector>,
}

/// How large the parts of a history of so many trades are.
fn sizes(trades: u32) -> (u32, u32) {
    ((trades / 5000).clamp(5, 2000), (trades / 2000).clamp(20, 500))
}

impl History {
    /// Makes a tenant of all features, audited as the configuration says and with all its limits counted, and gives it a
    /// history of so many trades. With `bare`, the other schema too.
    ///
    /// The history itself is loaded past audit and limits: whoever has traded for years has pruned its audit log.
    ///
    /// # Errors
    /// When the template has not the tables, or the server refuses; an interrupt.
    pub async fn make(stage: &Stage<'_>, trades: u32, bare: bool) -> Result<Self> {
        let admin = stage.provisioner.connector.connect().await?;
        let tier = Tier {
            key: "bench".into(),
            name: "bench".into(),
            description: String::new(),
            features: Features::All,
            hypertables: Default::default(),
            limits: Limits {
                max_portfolios: COUNTED,
                max_positions_per_portfolio: COUNTED,
                max_trades_per_day: COUNTED,
                max_schema_size_gb: Limit::Unlimited,
                ..Limits::at_most(MAX_CONNECTIONS)
            },
        };
        let request = stage.request(&Arc::new(tier))?;
        let tenant = stage.provisioner.provision(&admin, &request, None).await?;
        let (portfolios, symbols) = sizes(trades);
        stage.progress(format!("a tenant with {trades} trades"));
        let schema = tenant.schema_name.as_str();
        fill(&admin, schema, trades).await?;
        stage.uninterrupted()?;
        if bare {
            stage.progress("the same rows in tables that nothing isolates");
            bare_tables(stage, &admin, &tenant.role_name).await?;
            fill(&admin, BARE, trades).await?;
        }
        stage.uninterrupted()?;
        let sql = Sql::new("SET ROLE ")
            .ident(OWNER_ROLE)
            .text("; SET row_security = on; SET search_path = ")
            .ident(schema);
        admin.batch(&sql, "read what was made").await?;
        // Ids are hashes, so that the first ones in their order are spread evenly over all.
        let ids = async |sql: &'static str| -> Result<Vec<Uuid>> {
            let rows = admin.query(&Sql::new(sql), &[], "read what was made").await?;
            rows.iter().map(|row| column(row, "id")).collect()
        };
        let history = Self {
            trades: ids("SELECT t.id FROM trades AS t ORDER BY t.id LIMIT 20000").await?,
            portfolios: ids("SELECT p.id FROM portfolios AS p ORDER BY p.id").await?,
            symbols,
            login: login(stage, &tenant).await?,
            admin: stage.provisioner.connector.clone(),
            tenant,
        };
        debug_assert_eq!(history.portfolios.len(), portfolios as usize);
        Ok(history)
    }

    /// A session such as the application of the tenant has: by the tenant's password where the server lets it in from here,
    /// with no setting but the role's own and the schema that is asked for.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn session(&self, contender: Contender) -> Result<Session> {
        let doing = "begin a session of the benchmark";
        let schema = match contender {
            Contender::Bare => BARE,
            Contender::Tenant | Contender::Owner => self.tenant.schema_name.as_str(),
        };
        let (session, become_it) = match (contender, &self.login) {
            (Contender::Owner, _) => (self.admin.connect().await?, Some(OWNER_ROLE)),
            (_, Some(login)) => (login.connect().await?, None),
            (_, None) => (self.admin.connect().await?, Some(self.tenant.role_name.as_str())),
        };
        let mut sql = Sql::new("RESET ALL");
        if let Some(role) = become_it {
            sql = sql.text("; SET ROLE ").ident(role);
        }
        // The tenant's own path is a setting of its role: whoever logs in as the tenant tests it by the way.
        if become_it.is_some() || contender == Contender::Bare {
            sql = sql.text("; SET search_path = ").ident(schema);
        }
        session.batch(&sql, doing).await?;
        Ok(session)
    }

    /// Whether the tenant's sessions log in as the tenant.
    pub fn logs_in(&self) -> bool {
        self.login.is_some()
    }

    /// The rows of a table in a contender's schema, as the owner counts them.
    ///
    /// # Errors
    /// When the server refuses.
    pub async fn count(&self, contender: Contender, table: &str) -> Result<u64> {
        let owner = self.session(Contender::Owner).await?;
        let schema = match contender {
            Contender::Bare => BARE,
            Contender::Tenant | Contender::Owner => self.tenant.schema_name.as_str(),
        };
        let sql = Sql::new("SELECT pg_catalog.count(*) AS rows FROM ").qualified(schema, table);
        let rows: i64 = column(&owner.query_one(&sql, &[], "count rows").await?, "rows")?;
        Ok(rows.unsigned_abs())
    }
}

/// The tenant's way in, or none where the server's rules do not let it in from here.
async fn login(stage: &Stage<'_>, tenant: &Provisioned) -> Result<Option<Connector>> {
    let connector = &stage.provisioner.connector;
    let password = tenant.password.as_ref().map(|password| password.reveal());
    let mut info = connector.info().with_login(&tenant.role_name, password);
    // The admin's own start-up options are not the tenant's.
    info.options = None;
    let login = connector.with_info(info);
    match login.connect().await {
        Ok(_) => Ok(Some(login)),
        // No line of pg_hba.conf for the tenant, or one with another method than passwords.
        Err(error) if matches!(error.sqlstate(), Some("28000" | "28P01")) => {
            stage.warn("pg_hba.conf does not let the tenant in from here: the admin's sessions take its role instead");
            let admin = connector.connect().await?;
            let sql = Sql::new("GRANT ").ident(&tenant.role_name).text(" TO CURRENT_USER");
            admin.batch(&sql, "take the tenant's role").await?;
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

/// The template's modules once more, with rights for the tenant's role and without row security, audit and limits.
async fn bare_tables(stage: &Stage<'_>, admin: &Session, role: &str) -> Result<()> {
    let mut sql = Sql::new("BEGIN; CREATE SCHEMA ")
        .ident(BARE)
        .text(" AUTHORIZATION ")
        .ident(OWNER_ROLE)
        .text("; SET LOCAL ROLE ")
        .ident(OWNER_ROLE)
        .text("; SET LOCAL search_path = ")
        .ident(BARE)
        .text(";\n");
    for module in &stage.provisioner.template.modules {
        sql = sql.append(Sql::module(module));
    }
    sql = sql
        .text("GRANT USAGE ON SCHEMA ")
        .ident(BARE)
        .text(" TO ")
        .ident(role)
        .text("; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ")
        .ident(BARE)
        .text(" TO ")
        .ident(role)
        .text("; COMMIT");
    let made = admin.batch(&sql, "make tables that nothing isolates").await;
    if made.is_err() {
        admin.rollback().await;
    }
    made
}

/// As the owner, whose policy shows it all rows whatever the login is; then vacuums, as autovacuum would in time.
async fn fill(admin: &Session, schema: &str, trades: u32) -> Result<()> {
    let (portfolios, symbols) = sizes(trades);
    let doing = "fill a tenant with a trading history";
    let mut sql = Sql::new("BEGIN; SET LOCAL statement_timeout = 0; SET LOCAL ROLE ")
        .ident(OWNER_ROLE)
        .text("; SET LOCAL row_security = on; SET LOCAL search_path = ")
        .ident(schema);
    let triggers = |sql: Sql, how: &'static str| {
        TABLES.iter().fold(sql, |sql, table| {
            sql.text("; ALTER TABLE ").qualified(schema, table).text(how)
        })
    };
    sql = triggers(sql, " DISABLE TRIGGER USER")
        .text("; SET LOCAL bench.seed = ")
        .literal(SEED)
        .text("; SET LOCAL bench.portfolios = ")
        .int(portfolios)
        .text("; SET LOCAL bench.symbols = ")
        .int(symbols)
        .text("; SET LOCAL bench.trades = ")
        .int(trades)
        .text(";\n")
        .text(include_str!("../../sql/bench/query_data.sql"));
    sql = triggers(sql, " ENABLE TRIGGER USER").text("; COMMIT");
    let filled = admin.batch(&sql, doing).await;
    if filled.is_err() {
        admin.rollback().await;
    }
    filled?;
    let mut sql = Sql::new("SET statement_timeout = 0");
    admin.batch(&sql, doing).await?;
    for (no, table) in TABLES.iter().enumerate() {
        sql = if no == 0 {
            Sql::new("VACUUM (ANALYZE) ")
        } else {
            sql.text(", ")
        }
        .qualified(schema, table);
    }
    admin.batch(&sql, "vacuum the history").await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histories_have_portfolios_and_symbols_in_proportion() {
        assert_eq!(sizes(1_000), (5, 20));
        assert_eq!(sizes(1_000_000), (200, 500));
        assert_eq!(sizes(1_000_000_000), (2000, 500));
    }
}
