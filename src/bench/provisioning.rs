//! Schema creation: one by one beside the same DDL sent raw, many at once, and again in a full database.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Curve, Figure, Latencies, Line, Measured, Point, Stage};
use crate::catalog;
use crate::error::{Error, ErrorKind, Result};
use crate::fleet::RECYCLE_AFTER;
use crate::pg::session::{Connector, Session};
use crate::provisioner::Identity;
use crate::tenant::Tier;

const SUITE: &str = "provisioning";

/// The seed's targets, in seconds; see `performance_targets` in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Targets {
    /// Mean.
    pub average: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
    /// Worst.
    pub max: f64,
    /// A hundred schemas at once, all of them.
    pub hundred: f64,
}

/// What to run.
#[derive(Clone, Debug)]
pub struct Workload {
    /// Tenants made one by one.
    pub count: usize,
    /// Tenants made at once.
    pub concurrent: usize,
    /// Of those, how many at the same time.
    pub jobs: usize,
    /// Their tier.
    pub tier: Arc<Tier>,
    /// Fill the database to these sizes and measure again.
    pub at: Vec<usize>,
}

/// The size of the database that the cost at other sizes is compared with.
const BASE: usize = 10;

/// The ratio to raw DDL that provisioning may cost, and the ratio to its own cost at [`BASE`] tenants.
const RAW_RATIO: f64 = 1.2;
const GROWTH_RATIO: f64 = 1.25;

/// A running suite.
pub struct Suite<'a> {
    /// Where it runs.
    pub stage: &'a Stage<'a>,
    /// What to run.
    pub workload: Workload,
    /// What to compare with.
    pub targets: Targets,
}

/// Medians and more of one round of one-by-one creation.
struct Round {
    ours: Latencies,
    raw: Latencies,
}

impl Round {
    fn point(&self, tenants: usize, lines: &mut [Line; 2]) {
        for (line, latencies) in lines.iter_mut().zip([&self.ours, &self.raw]) {
            line.points
                .push(Point::measured(tenants as f64, latencies.percentile(50.0)));
        }
    }
}

impl Suite<'_> {
    /// Runs the suite.
    ///
    /// # Errors
    /// Any tenant that cannot be made ends the suite: a figure over 95 of 100 would be a lie.
    pub async fn run(&self) -> Result<Measured> {
        let mut measured = Measured::default();
        let mut lines: [Line; 2] = ["tenantctl", "raw DDL"].map(|name| Line {
            name: name.to_owned(),
            points: Vec::new(),
        });
        let mut tenants = self.fill(0, BASE).await?;
        self.stage
            .progress(format!("{} one by one, each beside raw DDL", self.workload.count));
        let base = self.round(&mut tenants).await?;
        self.judge(&mut measured.figures, &base);
        measured.histograms.push(base.ours.histogram(SUITE, "one by one"));
        measured.histograms.push(base.raw.histogram(SUITE, "raw DDL"));
        base.point(BASE, &mut lines);
        self.concurrent(&mut measured, &mut tenants).await?;
        for &size in &self.workload.at {
            tenants = self.fill(tenants, size).await?;
            self.stage
                .progress(format!("{} one by one at {tenants} tenants", self.workload.count));
            let round = self.round(&mut tenants).await?;
            let (ours, raw) = (round.ours.percentile(50.0), round.raw.percentile(50.0));
            let growth = ours / base.ours.percentile(50.0);
            round.point(size, &mut lines);
            let figures = &mut measured.figures;
            figures.push(Figure::new(SUITE, format!("p50 at {size} tenants"), "ms", ours, None));
            figures.push(Figure::new(SUITE, format!("raw DDL p50 at {size} tenants"), "ms", raw, None).of_others());
            figures.push(Figure::new(
                SUITE,
                format!("p50 against raw DDL at {size} tenants"),
                "ratio",
                ours / raw,
                Some(RAW_RATIO),
            ));
            figures.push(Figure::new(
                SUITE,
                format!("p50 at {size} tenants against {BASE}"),
                "ratio",
                growth,
                Some(GROWTH_RATIO),
            ));
            figures.push(
                Figure::new(
                    SUITE,
                    format!("raw DDL p50 at {size} tenants against {BASE}"),
                    "ratio",
                    raw / base.raw.percentile(50.0),
                    None,
                )
                .of_others(),
            );
        }
        if lines[0].points.len() > 1 {
            measured.curves.push(Curve {
                suite: SUITE,
                name: "p50 of one tenant".into(),
                x: "tenants",
                unit: "ms",
                lines: lines.into(),
            });
        }
        Ok(measured)
    }

    fn judge(&self, figures: &mut Vec<Figure>, round: &Round) {
        let targets = self.targets;
        let ms = |seconds: f64| Some(seconds * 1000.0);
        for (metric, value, target) in [
            ("average", round.ours.mean(), ms(targets.average)),
            ("p50", round.ours.percentile(50.0), None),
            ("p95", round.ours.percentile(95.0), ms(targets.p95)),
            ("p99", round.ours.percentile(99.0), ms(targets.p99)),
            ("max", round.ours.max(), ms(targets.max)),
            ("raw DDL p50", round.raw.percentile(50.0), None),
        ] {
            let figure = Figure::new(SUITE, metric, "ms", value, target);
            figures.push(if metric.starts_with("raw") {
                figure.of_others()
            } else {
                figure
            });
        }
        let ratio = round.ours.percentile(50.0) / round.raw.percentile(50.0);
        figures.push(Figure::new(
            SUITE,
            "p50 against raw DDL",
            "ratio",
            ratio,
            Some(RAW_RATIO),
        ));
    }

    /// One tenant of ours, one raw, in turn and in both orders, so that a slow moment of the machine hits both.
    async fn round(&self, tenants: &mut usize) -> Result<Round> {
        let mut round = Round {
            ours: Latencies::new()?,
            raw: Latencies::new()?,
        };
        let (mut ours, mut raw) = self.sessions().await?;
        // A backend's first DDL reads its catalogs; users of either way pay that once a session.
        self.one(&ours).await?;
        self.one_raw(&raw).await?;
        *tenants += 1;
        for i in 0..self.workload.count {
            if i > 0 && i % RECYCLE_AFTER == 0 {
                (ours, raw) = self.sessions().await?;
            }
            self.stage.uninterrupted()?;
            if i % 2 == 0 {
                round.ours.record(self.one(&ours).await?);
                round.raw.record(self.one_raw(&raw).await?);
            } else {
                round.raw.record(self.one_raw(&raw).await?);
                round.ours.record(self.one(&ours).await?);
            }
            *tenants += 1;
        }
        Ok(round)
    }

    async fn sessions(&self) -> Result<(Session, Session)> {
        let connector: &Connector = &self.stage.provisioner.connector;
        Ok((connector.connect().await?, connector.connect().await?))
    }

    async fn one(&self, session: &Session) -> Result<Duration> {
        let tenant = self
            .stage
            .provisioner
            .provision(session, &self.stage.request(&self.workload.tier)?, None)
            .await?;
        Ok(Duration::from_secs_f64(tenant.provisioning_time_ms / 1000.0))
    }

    async fn one_raw(&self, session: &Session) -> Result<Duration> {
        let request = self.stage.request(&self.workload.tier)?;
        let identity = Identity::new(&request.id, &self.stage.provisioner.recipients)?;
        let batch = self.stage.provisioner.raw_ddl(&request, &identity).transaction();
        let started = Instant::now();
        session.batch(&batch, "run the raw DDL").await?;
        Ok(started.elapsed())
    }

    async fn concurrent(&self, measured: &mut Measured, tenants: &mut usize) -> Result<()> {
        let Workload { concurrent, jobs, .. } = self.workload;
        self.stage
            .progress(format!("{concurrent} at once, {jobs} at the same time"));
        let started = Instant::now();
        let latencies = self.many(concurrent, jobs).await?;
        let total = started.elapsed().as_secs_f64();
        *tenants += concurrent;
        let target = (concurrent == 100).then_some(self.targets.hundred);
        let figures = &mut measured.figures;
        figures.push(Figure::new(
            SUITE,
            format!("{concurrent} at once, {jobs} jobs: all"),
            "s",
            total,
            target,
        ));
        for (metric, value) in [
            ("p50", latencies.percentile(50.0)),
            ("p95", latencies.percentile(95.0)),
            ("p99", latencies.percentile(99.0)),
            ("max", latencies.max()),
        ] {
            let limit = (metric == "max").then_some(self.targets.max * 1000.0);
            figures.push(Figure::new(
                SUITE,
                format!("{concurrent} at once, {jobs} jobs: {metric}"),
                "ms",
                value,
                limit,
            ));
        }
        let name = format!("{concurrent} at once, {jobs} jobs");
        measured.histograms.push(latencies.histogram(SUITE, name));
        // The proof that all of them are there is the registry's, not the client's count.
        let session = self.stage.provisioner.connector.connect().await?;
        let there = catalog::tenants::list(&session, None).await?.len();
        if there != *tenants {
            return Err(Error::new(
                ErrorKind::Unknown,
                format!("{tenants} tenants were made, the registry has {there}"),
            ));
        }
        Ok(())
    }

    async fn many(&self, count: usize, jobs: usize) -> Result<Latencies> {
        let requests = (0..count)
            .map(|_| self.stage.request(&self.workload.tier))
            .collect::<Result<Vec<_>>>()?;
        let mut latencies = Latencies::new()?;
        let mut results = self
            .stage
            .provisioner
            .provision_many(requests, jobs, None, self.stage.interrupt);
        let mut made = 0;
        while let Some((_, result)) = results.recv().await {
            latencies.record(Duration::from_secs_f64(result?.provisioning_time_ms / 1000.0));
            made += 1;
            if made % 1000 == 0 {
                self.stage.progress(format!("{made} of {count} made"));
            }
        }
        if made < count {
            Err(Error::interrupted())
        } else {
            Ok(latencies)
        }
    }

    /// Fills the database to a number of tenants.
    async fn fill(&self, tenants: usize, size: usize) -> Result<usize> {
        if size > tenants {
            self.stage
                .progress(format!("filling the database from {tenants} to {size} tenants"));
            // Four at a time was fastest on two processors; more only wait for each other.
            self.many(size - tenants, 4).await?;
        }
        Ok(tenants.max(size))
    }
}
