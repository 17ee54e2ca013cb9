//! What a tenant with years of trades waits for: one row by its key, joins, sums, inserts, alone and with others; beside the
//! same rows in tables that nothing isolates, and beside the owner.
//!
//! The tenant logs in with its password and sends prepared statements with parameters drawn anew each time, the same ones to
//! each contender, who take turns in an order that rotates. Every contender must get as many rows as the others. What is held
//! against a target is the tenant's 95th percentile: a target that one query in twenty may miss is what users feel.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_postgres::types::Type;
use uuid::Uuid;

use super::history::{Contender, END, History};
use super::{Curve, Figure, Latencies, Line, Measured, Point, Stage};
use crate::config::QueryTargets;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Param, Session};
use crate::pg::sql::Sql;

const SUITE: &str = "queries";
/// The most clients that the tenant's tier has room for.
pub const MAX_CLIENTS: usize = 150;
/// Rows of the bulk insert.
const BULK_ROWS: usize = 1000;
/// Fewer measurements have no 99th percentile to speak of.
const P99_FROM: u64 = 100;
/// Statements of all clients together at each step of the mix, for each round.
const MIX_STATEMENTS: usize = 100;

/// What to run.
#[derive(Clone, Copy, Debug)]
pub struct Workload {
    /// Trades of the tenant.
    pub trades: u32,
    /// How often the slowest queries are run by each contender; quicker ones more often.
    pub rounds: usize,
    /// The most clients at a time.
    pub clients: usize,
}

/// A running suite.
pub struct Suite<'a> {
    /// What it works with.
    pub stage: &'a Stage<'a>,
    /// What to run.
    pub workload: Workload,
}

/// A query that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Query {
    TradeById,
    LastTrades,
    PortfolioValue,
    AllPortfoliosValue,
    YearBySymbol,
    InsertTrades(usize),
}

/// The queries in the order in which they are measured: what writes comes last.
const QUERIES: [Query; 6] = [
    Query::TradeById,
    Query::LastTrades,
    Query::PortfolioValue,
    Query::AllPortfoliosValue,
    Query::YearBySymbol,
    Query::InsertTrades(BULK_ROWS),
];

impl Query {
    fn label(self) -> &'static str {
        match self {
            Self::TradeById => "simple select, a trade by its id",
            Self::LastTrades => "simple select, last 50 trades of a portfolio",
            Self::PortfolioValue => "complex join, value of a portfolio",
            Self::AllPortfoliosValue => "complex join, value of all portfolios",
            Self::YearBySymbol => "aggregation, a year by symbol",
            Self::InsertTrades(_) => "insert of 1000 rows",
        }
    }

    /// In milliseconds.
    fn target(self, targets: &QueryTargets) -> f64 {
        match self {
            Self::TradeById | Self::LastTrades => targets.simple_select_ms,
            Self::PortfolioValue | Self::AllPortfoliosValue => targets.complex_join_ms,
            Self::YearBySymbol => targets.aggregation_ms,
            Self::InsertTrades(_) => targets.bulk_insert_1000_rows_ms,
        }
    }

    /// How often it is run for each round, so that what is quick is measured more often.
    fn weight(self) -> usize {
        match self {
            Self::TradeById | Self::LastTrades => 25,
            Self::PortfolioValue => 5,
            Self::AllPortfoliosValue | Self::InsertTrades(_) => 2,
            Self::YearBySymbol => 1,
        }
    }

    fn sql(self) -> Sql {
        Sql::new(match self {
            Self::TradeById => include_str!("../../sql/bench/queries/trade_by_id.sql"),
            Self::LastTrades => include_str!("../../sql/bench/queries/last_trades.sql"),
            Self::PortfolioValue => include_str!("../../sql/bench/queries/portfolio_value.sql"),
            Self::AllPortfoliosValue => include_str!("../../sql/bench/queries/all_portfolios_value.sql"),
            Self::YearBySymbol => include_str!("../../sql/bench/queries/year_by_symbol.sql"),
            Self::InsertTrades(_) => include_str!("../../sql/bench/queries/insert_trades.sql"),
        })
    }
}

/// A query's parameters.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Drawn {
    Id(Uuid),
    IdSince(Uuid, String),
    Since(String),
    Rows(Rows),
}

/// Rows to insert, column by column.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Rows {
    portfolios: Vec<Uuid>,
    symbols: Vec<String>,
    sides: Vec<&'static str>,
    quantities: Vec<i64>,
    prices: Vec<i64>,
    times: Vec<String>,
    orders: Vec<String>,
}

/// Draws parameters; the same seed draws the same.
pub(super) struct Drawer<'a> {
    history: &'a History,
    state: u64,
}

impl<'a> Drawer<'a> {
    pub(super) fn new(history: &'a History, seed: u64) -> Self {
        Self { history, state: seed }
    }

    /// A number below `n`, by SplitMix64.
    fn below(&mut self, n: usize) -> usize {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
        usize::try_from(z % (n.max(1) as u64)).unwrap_or(0)
    }

    fn portfolio(&mut self) -> Uuid {
        let history = self.history;
        history.portfolios[self.below(history.portfolios.len())]
    }

    /// A day in the last two months of the history.
    fn lately(&mut self) -> String {
        format!("2024-{}-{:02} 00:00:00+00", 11 + self.below(2), 1 + self.below(25))
    }

    pub(super) fn draw(&mut self, query: Query) -> Drawn {
        let history = self.history;
        match query {
            Query::TradeById => Drawn::Id(history.trades[self.below(history.trades.len())]),
            Query::LastTrades => Drawn::Id(self.portfolio()),
            Query::PortfolioValue => Drawn::IdSince(self.portfolio(), self.lately()),
            Query::AllPortfoliosValue => Drawn::Since(self.lately()),
            Query::YearBySymbol => Drawn::Since(format!(
                "{}-{:02}-{:02} 00:00:00+00",
                2022 + self.below(2),
                1 + self.below(12),
                1 + self.below(28)
            )),
            Query::InsertTrades(rows) => {
                let mut drawn = Rows::default();
                for _ in 0..rows {
                    drawn.portfolios.push(self.portfolio());
                    drawn
                        .symbols
                        .push(format!("S{:04}", self.below(history.symbols as usize)));
                    drawn.sides.push(["BUY", "SELL"][self.below(2)]);
                    drawn.quantities.push(1 + self.below(900) as i64);
                    drawn.prices.push(10 + self.below(400) as i64);
                    drawn.times.push(END.to_owned());
                    drawn.orders.push(format!("ORD-{:012X}", self.below(usize::MAX)));
                }
                Drawn::Rows(drawn)
            }
        }
    }
}

/// Runs a query; returns how many rows came back.
pub(super) async fn run(session: &Session, query: Query, drawn: &Drawn) -> Result<usize> {
    let params: Vec<Param<'_>> = match drawn {
        Drawn::Id(id) => vec![(id, Type::UUID)],
        Drawn::IdSince(id, since) => vec![(id, Type::UUID), (since, Type::TEXT)],
        Drawn::Since(since) => vec![(since, Type::TEXT)],
        Drawn::Rows(rows) => vec![
            (&rows.portfolios, Type::UUID_ARRAY),
            (&rows.symbols, Type::TEXT_ARRAY),
            (&rows.sides, Type::TEXT_ARRAY),
            (&rows.quantities, Type::INT8_ARRAY),
            (&rows.prices, Type::INT8_ARRAY),
            (&rows.times, Type::TEXT_ARRAY),
            (&rows.orders, Type::TEXT_ARRAY),
        ],
    };
    Ok(session
        .query_prepared(&query.sql(), &params, "run a query of the benchmark")
        .await?
        .len())
}

/// Contenders in the order of the figures.
const CONTENDERS: [Contender; 3] = [Contender::Tenant, Contender::Bare, Contender::Owner];

fn name(contender: Contender) -> &'static str {
    match contender {
        Contender::Tenant => "tenant",
        Contender::Bare => "not isolated",
        Contender::Owner => "owner",
    }
}

impl Suite<'_> {
    /// Runs the suite.
    ///
    /// # Errors
    /// When the server refuses, contenders get different rows, or what was inserted is not there or not audited; an interrupt.
    pub async fn run(&self) -> Result<Measured> {
        let history = Arc::new(History::make(self.stage, self.workload.trades, true).await?);
        let mut sessions = Vec::new();
        for contender in CONTENDERS {
            sessions.push(history.session(contender).await?);
        }
        let mut measured = Measured::default();
        let mut inserted = [0_u64; 3];
        for query in QUERIES {
            self.one(&history, &sessions, query, &mut inserted, &mut measured)
                .await?;
        }
        self.mix(&history, &mut inserted, &mut measured).await?;
        self.prove(&history, inserted).await?;
        Ok(measured)
    }

    /// One query by all contenders in turn.
    async fn one(
        &self,
        history: &History,
        sessions: &[Session],
        query: Query,
        inserted: &mut [u64; 3],
        measured: &mut Measured,
    ) -> Result<()> {
        let times = self.workload.rounds * query.weight();
        self.stage.progress(format!("{}, {times} times by each", query.label()));
        let mut drawer = Drawer::new(history, 1 + query.weight() as u64);
        let mut latencies = [Latencies::new()?, Latencies::new()?, Latencies::new()?];
        // The server plans a prepared statement anew five times before it may keep the plan.
        let warm = (times / 10).clamp(6, 100);
        for turn in 0..warm + times {
            self.stage.uninterrupted()?;
            let drawn = drawer.draw(query);
            let mut got = [0; 3];
            for i in 0..sessions.len() {
                let who = (turn + i) % sessions.len();
                let started = Instant::now();
                got[who] = run(&sessions[who], query, &drawn).await?;
                if turn >= warm {
                    latencies[who].record(started.elapsed());
                }
                if let Query::InsertTrades(rows) = query {
                    inserted[who] += rows as u64;
                }
            }
            if got[0] != got[1] || got[0] != got[2] {
                return Err(different(query, got));
            }
        }
        let label = query.label();
        let [tenant, bare, owner] = &latencies;
        let target = query.target(&self.stage.config.performance_targets.query_performance);
        let mut push = |figure: Figure| measured.figures.push(figure);
        let ms = |metric: &str, value, target| Figure::new(SUITE, format!("{label}: {metric}"), "ms", value, target);
        push(ms("p50", tenant.percentile(50.0), None));
        push(ms("p95", tenant.percentile(95.0), Some(target)));
        if tenant.count() >= P99_FROM {
            push(ms("p99", tenant.percentile(99.0), None));
        }
        push(ms("max", tenant.max(), None));
        push(ms("not isolated, p50", bare.percentile(50.0), None).of_others());
        push(ms("owner, p50", owner.percentile(50.0), None));
        push(Figure::new(
            SUITE,
            format!("{label}: p50 against not isolated"),
            "ratio",
            tenant.percentile(50.0) / bare.percentile(50.0),
            None,
        ));
        for (contender, latencies) in CONTENDERS.into_iter().zip(&latencies) {
            let name = format!("{label}: {}", name(contender));
            measured.histograms.push(latencies.histogram(SUITE, name));
        }
        Ok(())
    }

    /// Many clients at a time, mostly reading: 70 % trades by id, 20 % last trades, 5 % values of a portfolio and 5 % inserts of
    /// one row.
    async fn mix(&self, history: &Arc<History>, inserted: &mut [u64; 3], measured: &mut Measured) -> Result<()> {
        let mut throughput = [Vec::new(), Vec::new()];
        let mut slow = [Vec::new(), Vec::new()];
        let steps = steps(self.workload.clients);
        let most = steps.last().copied().unwrap_or(1);
        for clients in steps {
            self.stage.progress(format!("{clients} clients at a time"));
            for who in 0..2 {
                self.stage.uninterrupted()?;
                let step = self.step(history, CONTENDERS[who], clients).await?;
                inserted[who] += step.inserted;
                let x = clients as f64;
                throughput[who].push(Point::measured(x, step.per_second));
                slow[who].push(Point::measured(x, step.latencies.percentile(95.0)));
                if clients == most {
                    let name = format!("mix, {clients} clients: {}", name(CONTENDERS[who]));
                    measured.histograms.push(step.latencies.histogram(SUITE, name));
                }
            }
        }
        let last = |points: &[Point]| points.last().map_or(f64::NAN, |p| p.y);
        let mut push = |metric: &str, unit, value| {
            let metric = format!("mix, {most} clients: {metric}");
            let figure = Figure::new(SUITE, metric, unit, value, None);
            measured.figures.push(figure);
        };
        push("statements", "1/s", last(&throughput[0]));
        push("p95", "ms", last(&slow[0]));
        // More takes the place of less here: how long the tenant takes for what nothing isolates does in one.
        push(
            "time against not isolated",
            "ratio",
            last(&throughput[1]) / last(&throughput[0]),
        );
        measured.figures.push(
            Figure::new(
                SUITE,
                format!("mix, {most} clients: not isolated, statements"),
                "1/s",
                last(&throughput[1]),
                None,
            )
            .of_others(),
        );
        for (name_of, unit, lines) in [("mix: statements", "1/s", throughput), ("mix: p95", "ms", slow)] {
            measured.curves.push(Curve {
                suite: SUITE,
                name: name_of.to_owned(),
                x: "clients",
                unit,
                lines: CONTENDERS
                    .into_iter()
                    .zip(lines)
                    .map(|(contender, points)| Line {
                        name: name(contender).to_owned(),
                        points,
                    })
                    .collect(),
            });
        }
        Ok(())
    }

    async fn step(&self, history: &Arc<History>, contender: Contender, clients: usize) -> Result<Step> {
        let each = (self.workload.rounds * MIX_STATEMENTS).div_ceil(clients);
        let mut sessions = Vec::new();
        for _ in 0..clients {
            sessions.push(history.session(contender).await?);
        }
        // The first statements of a session read its catalogs, which is no matter of how many there are.
        for session in &sessions {
            let mut drawer = Drawer::new(history, 7);
            for query in [Query::TradeById, Query::LastTrades, Query::PortfolioValue] {
                run(session, query, &drawer.draw(query)).await?;
            }
        }
        let started = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for (no, session) in sessions.into_iter().enumerate() {
            let history = Arc::clone(history);
            tasks.spawn(async move {
                let mut drawer = Drawer::new(&history, 1000 + no as u64);
                let mut took: Vec<Duration> = Vec::with_capacity(each);
                let mut inserted = 0;
                for _ in 0..each {
                    let query = match drawer.below(100) {
                        0..70 => Query::TradeById,
                        70..90 => Query::LastTrades,
                        90..95 => Query::PortfolioValue,
                        _ => Query::InsertTrades(1),
                    };
                    let drawn = drawer.draw(query);
                    let started = Instant::now();
                    run(&session, query, &drawn).await?;
                    took.push(started.elapsed());
                    inserted += u64::from(query == Query::InsertTrades(1));
                }
                Ok::<_, Error>((took, inserted))
            });
        }
        let mut step = Step {
            latencies: Latencies::new()?,
            per_second: 0.0,
            inserted: 0,
        };
        while let Some(done) = tasks.join_next().await {
            let (took, inserted) = done.map_err(|_| Error::interrupted())??;
            took.into_iter().for_each(|took| step.latencies.record(took));
            step.inserted += inserted;
        }
        step.per_second = step.latencies.count() as f64 / started.elapsed().as_secs_f64();
        Ok(step)
    }

    /// What was inserted must be there, in the tenant's audit log too: else the inserts were quick for the wrong reason.
    async fn prove(&self, history: &History, inserted: [u64; 3]) -> Result<()> {
        let [tenant, bare, owner] = inserted;
        let trades = u64::from(self.workload.trades);
        let mut wanted = vec![
            (Contender::Tenant, "trades", trades + tenant + owner),
            (Contender::Bare, "trades", trades + bare),
        ];
        if self.stage.provisioner.audit.contains_key("trades") {
            wanted.push((Contender::Tenant, "audit_log", tenant + owner));
        }
        for (contender, table, wanted) in wanted {
            let found = history.count(contender, table).await?;
            if found != wanted {
                return Err(Error::new(
                    ErrorKind::Unknown,
                    format!(
                        "table {table} ({}) has {found} rows instead of {wanted}",
                        name(contender)
                    ),
                ));
            }
        }
        Ok(())
    }
}

/// One number of clients.
struct Step {
    latencies: Latencies,
    per_second: f64,
    inserted: u64,
}

/// Whoever reads other rows would be fast for the wrong reason.
fn different(query: Query, got: [usize; 3]) -> Error {
    let what = CONTENDERS.into_iter().zip(got);
    let what: Vec<String> = what.map(|(who, rows)| format!("{}: {rows}", name(who))).collect();
    Error::new(
        ErrorKind::Unknown,
        format!("contenders get different rows ({})", query.label()),
    )
    .with_cause(what.join(", "))
}

/// Numbers of clients: doubled up to the most.
fn steps(most: usize) -> Vec<usize> {
    let mut steps: Vec<usize> = (0..).map(|i| 1 << i).take_while(|&clients| clients < most).collect();
    steps.push(most.max(1));
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_doubled_up_to_the_most() {
        assert_eq!(steps(1), [1]);
        assert_eq!(steps(8), [1, 2, 4, 8]);
        assert_eq!(steps(12), [1, 2, 4, 8, 12]);
    }
}
