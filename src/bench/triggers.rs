//! What audit and limits cost: the same inserts into the same table of tenants with and without them, in turn.
//!
//! Four tenants: one bare, one audited, one held to limits, one both. Every statement is run on each of them, in an
//! order that rotates, as the tenant's role; ratios are of medians.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Figure, Latencies, Measured, Stage};
use crate::error::{Error, Result};
use crate::pg::session::Session;
use crate::pg::sql::Sql;
use crate::provisioner::{Provisioned, Provisioner};
use crate::tenant::{Audit, Features, Limit, Limits, Tier};

/// What audit and limits together may cost: an insert of 1,000 rows in one statement, and of single rows.
const BULK_RATIO: f64 = 2.5;
const SINGLE_RATIO: f64 = 1.5;
/// Rows of the large statement.
const BULK_ROWS: i128 = 1000;

/// Which of the two is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// The audit log.
    Audit,
    /// Counted limits.
    Limits,
}

impl Subject {
    fn suite(self) -> &'static str {
        match self {
            Self::Audit => "audit",
            Self::Limits => "limits",
        }
    }
}

/// A running suite.
pub struct Suite<'a> {
    /// What is looked at.
    pub subject: Subject,
    /// Where it runs; its provisioner's audited tables are those of the tenants that are audited.
    pub stage: &'a Stage<'a>,
    /// Statements of 1,000 rows on each tenant.
    pub rounds: usize,
    /// Statements of one row on each tenant.
    pub singles: usize,
}

/// One of the four tenants.
struct Variant {
    tenant: Provisioned,
    session: Session,
    portfolio: String,
    bulk: Latencies,
    single: Latencies,
}

impl Suite<'_> {
    /// Runs the suite.
    ///
    /// # Errors
    /// A tenant that cannot be made, a statement that is refused, an interrupt.
    pub async fn run(&self) -> Result<Measured> {
        self.stage.progress("four tenants: bare, audited, limited, both");
        let mut variants = Vec::new();
        for (audited, limited) in [(false, false), (true, false), (false, true), (true, true)] {
            variants.push(self.variant(audited, limited).await?);
        }
        // Caches and the first extension of each table are nobody's cost.
        for _ in 0..3 {
            self.round(&mut variants, 0, BULK_ROWS, |_| None).await?;
        }
        self.stage
            .progress(format!("{} statements of {BULK_ROWS} rows on each", self.rounds));
        for round in 0..self.rounds {
            self.round(&mut variants, round, BULK_ROWS, |v| Some(&mut v.bulk))
                .await?;
        }
        self.stage
            .progress(format!("{} statements of one row on each", self.singles));
        for round in 0..self.singles {
            self.round(&mut variants, round, 1, |v| Some(&mut v.single)).await?;
        }
        let mut measured = Measured::from(self.figures(&variants));
        let subject = if self.subject == Subject::Audit { 1 } else { 2 };
        let suite = self.subject.suite();
        for (name, variant) in [("bare", 0), (suite, subject), ("audit and limits", 3)] {
            let Variant { bulk, single, .. } = &variants[variant];
            measured
                .histograms
                .push(bulk.histogram(suite, format!("1000 rows: {name}")));
            measured
                .histograms
                .push(single.histogram(suite, format!("one row: {name}")));
        }
        if self.subject == Subject::Limits {
            self.stage.progress("four sessions at a time");
            let bare = self.at_once(&variants[0]).await?;
            let limited = self.at_once(&variants[2]).await?;
            let figures = &mut measured.figures;
            figures.push(Figure::new(suite, "four sessions at a time, one row: bare", "1/s", bare, None).of_others());
            figures.push(Figure::new(
                suite,
                "four sessions at a time, one row: limits",
                "1/s",
                limited,
                None,
            ));
        }
        Ok(measured)
    }

    fn figures(&self, variants: &[Variant]) -> Vec<Figure> {
        let suite = self.subject.suite();
        let (bare, subject, both) = (
            &variants[0],
            &variants[if self.subject == Subject::Audit { 1 } else { 2 }],
            &variants[3],
        );
        let mut figures = Vec::new();
        for (what, of, target) in [
            (
                "1000 rows",
                (|v: &Variant| v.bulk.percentile(50.0)) as fn(&Variant) -> f64,
                BULK_RATIO,
            ),
            ("one row", |v: &Variant| v.single.percentile(50.0), SINGLE_RATIO),
        ] {
            figures.push(Figure::new(suite, format!("{what}: bare p50"), "ms", of(bare), None).of_others());
            let mut push =
                |metric: String, unit, value, target| figures.push(Figure::new(suite, metric, unit, value, target));
            push(format!("{what}: {suite} p50"), "ms", of(subject), None);
            push(format!("{what}: audit and limits p50"), "ms", of(both), None);
            push(
                format!("{what}: {suite} against bare"),
                "ratio",
                of(subject) / of(bare),
                None,
            );
            push(
                format!("{what}: audit and limits against bare"),
                "ratio",
                of(both) / of(bare),
                Some(target),
            );
        }
        figures
    }

    async fn variant(&self, audited: bool, limited: bool) -> Result<Variant> {
        let limit = if limited {
            Limit::Max(1_000_000_000)
        } else {
            Limit::Unlimited
        };
        let tier = Tier {
            key: "bench".into(),
            name: "bench".into(),
            description: String::new(),
            features: Features::All,
            limits: Limits {
                max_portfolios: limit,
                max_positions_per_portfolio: limit,
                max_trades_per_day: limit,
                ..Limits::at_most(100)
            },
            hypertables: Default::default(),
        };
        let request = self.stage.request(&Arc::new(tier))?;
        let mut provisioner: Provisioner = self.stage.provisioner.clone();
        if !audited {
            provisioner.audit = Arc::new(Audit::new());
        }
        let admin = provisioner.connector.connect().await?;
        let tenant = provisioner.provision(&admin, &request, None).await?;
        let session = self.stage.become_tenant(&tenant.schema_name).await?;
        let portfolio = uuid::Uuid::new_v4().to_string();
        let sql = Sql::new("INSERT INTO portfolios (id, user_id, name) VALUES (")
            .literal(&portfolio)
            .text(", gen_random_uuid(), 'bench')");
        session.batch(&sql, "make a portfolio").await?;
        Ok(Variant {
            tenant,
            session,
            portfolio,
            bulk: Latencies::new()?,
            single: Latencies::new()?,
        })
    }

    /// The same statement on each tenant, starting with another one each time.
    async fn round(
        &self,
        variants: &mut [Variant],
        round: usize,
        rows: i128,
        into: fn(&mut Variant) -> Option<&mut Latencies>,
    ) -> Result<()> {
        self.stage.uninterrupted()?;
        let n = variants.len();
        for i in 0..n {
            let variant = &mut variants[(round + i) % n];
            let started = Instant::now();
            variant
                .session
                .batch(&insert(&variant.portfolio, rows), "insert trades")
                .await?;
            let elapsed = started.elapsed();
            if let Some(latencies) = into(variant) {
                latencies.record(elapsed);
            }
        }
        Ok(())
    }

    /// Single rows by four sessions of one tenant, per second over a few seconds.
    async fn at_once(&self, variant: &Variant) -> Result<f64> {
        const SESSIONS: usize = 4;
        const LASTS: Duration = Duration::from_secs(3);
        let mut sessions = Vec::new();
        for _ in 0..SESSIONS {
            sessions.push(self.stage.become_tenant(&variant.tenant.schema_name).await?);
        }
        let started = Instant::now();
        let tasks: Vec<_> = sessions
            .into_iter()
            .map(|session| {
                let sql = insert(&variant.portfolio, 1);
                tokio::spawn(async move {
                    let mut done = 0_u32;
                    while started.elapsed() < LASTS {
                        session.batch(&sql, "insert a trade").await?;
                        done += 1;
                    }
                    Ok::<_, Error>(done)
                })
            })
            .collect();
        let mut done = 0;
        for task in tasks {
            done += task.await.map_err(|_| Error::interrupted())??;
        }
        Ok(f64::from(done) / started.elapsed().as_secs_f64())
    }
}

fn insert(portfolio: &str, rows: i128) -> Sql {
    Sql::new(
        "INSERT INTO trades (portfolio_id, symbol, side, quantity, price, commission, executed_at, order_id)
SELECT ",
    )
    .literal(portfolio)
    .text("::uuid, 'ACME', CASE i % 2 WHEN 0 THEN 'BUY' ELSE 'SELL' END, i, 100 + i, 1, now(), 'ORD-' || i FROM generate_series(1, ")
    .int(rows)
    .text(") i")
}
