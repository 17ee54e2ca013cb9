//! Small tenants: one among few and among many, and all of them at once.

use std::sync::Arc;

use super::data::{FILLING, Volume, begun, rows_of};
use super::{MEMORY_MB, Programs, Suite, figure, remove};
use crate::bench::{Figure, median};
use crate::error::Result;
use crate::pg::session::Session;
use crate::provisioner::{Provisioned, Request};

/// The cost of a small tenant's backup among many, against its cost among [`FEW`].
const GROWTH_RATIO: f64 = 1.3;
const FEW: usize = 10;
/// Small tenants of the run with `--all`, and what that may take in seconds.
const MANY: usize = 1000;
const MANY_S: f64 = 60.0;
/// Backups of a small tenant that the median is of.
const SMALL_ROUNDS: usize = 9;

impl Suite<'_> {
    pub(super) async fn small(
        &self,
        session: &Session,
        programs: &Programs,
        count: usize,
        figures: &mut Vec<Figure>,
    ) -> Result<()> {
        let mut tenants = self.make(0, FEW).await?;
        self.fill_small(session, &tenants).await?;
        let Some(first) = tenants.first().cloned() else {
            return Ok(());
        };
        let few = self.one_small(programs, &first).await?;
        let mut push = |metric: String, unit: &'static str, value: f64, target: Option<f64>| {
            figures.push(figure(metric, unit, value, target));
        };
        push(format!("one small tenant among {FEW}"), "s", few.0, None);
        push(format!("pg_dump of it among {FEW}"), "s", few.1, None);
        let many = count.min(MANY);
        let more = self.make(tenants.len(), many).await?;
        self.fill_small(session, &more).await?;
        tenants.extend(more);
        (self.stage.progress)(&format!("backup of all {} small tenants", tenants.len()));
        let jobs = self.workload.jobs.to_string();
        let all = self.tenantctl(programs, &["backup", "--all", "--jobs", &jobs])?;
        let cost = self.measure("tenantctl backup --all", vec![all]).await?;
        remove(&self.store())?;
        let target = MANY_S * tenants.len() as f64 / MANY as f64;
        push(
            format!("backup of all {} small tenants", tenants.len()),
            "s",
            cost.seconds,
            Some(target),
        );
        if let Some(bytes) = cost.peak_memory {
            push(
                format!("peak memory of it at {}", tenants.len()),
                "MB",
                bytes as f64 / 1e6,
                Some(MEMORY_MB),
            );
        }
        let more = self.make(tenants.len(), count).await?;
        tenants.extend(more);
        let count = tenants.len();
        let among = self.one_small(programs, &first).await?;
        push(format!("one small tenant among {count}"), "s", among.0, None);
        push(format!("pg_dump of it among {count}"), "s", among.1, None);
        push(
            format!("one small tenant among {count} against {FEW}"),
            "ratio",
            among.0 / few.0,
            Some(GROWTH_RATIO),
        );
        push(
            format!("pg_dump of it among {count} against {FEW}"),
            "ratio",
            among.1 / few.1,
            None,
        );
        Ok(())
    }

    /// Median seconds of a backup by tenantctl and by pg_dump, in turn.
    async fn one_small(&self, programs: &Programs, tenant: &Provisioned) -> Result<(f64, f64)> {
        (self.stage.progress)(&format!("one small tenant, {SMALL_ROUNDS} times"));
        let dump = self.stage.folder.path().join("small.dump");
        let (mut ours, mut theirs) = (Vec::new(), Vec::new());
        for _ in 0..SMALL_ROUNDS {
            self.stage.uninterrupted()?;
            let backup = self.tenantctl(programs, &["backup", tenant.tenant_id.as_str()])?;
            ours.push(self.measure("tenantctl backup", vec![backup]).await?.seconds);
            let mut command = self.pg_dump(programs, tenant);
            command.arg("--compress=9").arg("--file").arg(&dump);
            theirs.push(self.measure("pg_dump", vec![command]).await?.seconds);
        }
        remove(&self.store())?;
        remove(&dump)?;
        Ok((median(&ours), median(&theirs)))
    }

    /// Makes small tenants up to a number.
    async fn make(&self, from: usize, to: usize) -> Result<Vec<Provisioned>> {
        if to > from {
            (self.stage.progress)(&format!("making small tenants, from {from} to {to}"));
        }
        let requests = (from..to)
            .map(|no| {
                Ok(Request {
                    id: format!("bench-small-{no}").parse()?,
                    tier: Arc::clone(&self.tier),
                })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut results = self
            .stage
            .provisioner
            .provision_many(requests, 4, None, self.stage.interrupt);
        let mut made = Vec::new();
        while let Some((_, result)) = results.recv().await {
            made.push(result?);
        }
        self.stage.uninterrupted()?;
        Ok(made)
    }

    async fn fill_small(&self, session: &Session, tenants: &[Provisioned]) -> Result<()> {
        let volume = Volume {
            portfolios: 1,
            trades: 200,
            minutes: 50,
        };
        self.fill(session, &tenants.iter().collect::<Vec<_>>(), volume).await
    }

    /// Fills tenants with few rows, one by one.
    async fn fill(&self, session: &Session, tenants: &[&Provisioned], volume: Volume) -> Result<()> {
        for tenant in tenants {
            self.stage.uninterrupted()?;
            let sql = rows_of(begun(tenant), tenant, volume).text("\nCOMMIT");
            session.batch(&sql, FILLING).await?;
        }
        Ok(())
    }
}
