//! One measurement of a part, from the session to the text.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use super::{BUSINESS_PIECE, Business, Exporter, Found, KEEP, Kept, Part, RECYCLE_AFTER, RECYCLE_AGE, Shared, lock};
use crate::catalog::foundation;
use crate::catalog::tenants::{self, TenantRow};
use crate::error::{Error, ErrorKind, Result};
use crate::metrics::collect::{Sizes, collect};
use crate::metrics::exposition::Samples;
use crate::metrics::{Database, Fleet, Usage, limits, statements};
use crate::pg::session::Session;

/// What a part has found.
pub(super) enum Measured {
    /// All but sizes and business metrics.
    Activity(Fleet),
    /// Sizes.
    Sizes(Found<Database>),
    /// Business metrics.
    Business(Found<Business>),
}

impl Exporter {
    pub(super) async fn measure(&self, part: Part) -> Result<Measured> {
        // A session of the activity's is kept; those of the others are needed seldom, and grow.
        let mut kept = match part {
            Part::Activity => lock(&self.session).take(),
            Part::Sizes | Part::Business => None,
        };
        let had_one = kept.is_some();
        let deadline = tokio::time::Instant::now() + part.deadline();
        let mut measured = tokio::time::timeout_at(deadline, self.measure_with(part, &mut kept)).await;
        // It was kept from before a restart: that must not cost anybody a sample.
        if had_one && matches!(&measured, Ok(Err(error)) if error.kind() == ErrorKind::Connection) {
            kept = None;
            measured = tokio::time::timeout_at(deadline, self.measure_with(part, &mut kept)).await;
        }
        match measured {
            Ok(measured) => {
                if part == Part::Activity && measured.is_ok() {
                    *lock(&self.session) = kept;
                }
                measured
            }
            Err(_) => {
                if let Some(kept) = &kept {
                    kept.session.cancel().await;
                }
                Err(
                    Error::new(ErrorKind::Timeout, format!("measuring {} took too long", part.name()))
                        .with_cause(format!("the limit is {} s", part.deadline().as_secs())),
                )
            }
        }
    }

    async fn measure_with(&self, part: Part, kept: &mut Option<Kept>) -> Result<Measured> {
        kept.take_if(|kept| {
            kept.session.is_closed()
                || kept.used >= RECYCLE_AFTER
                || kept.opened.elapsed() >= RECYCLE_AGE
                || self.connector.would_rather_another(&kept.session)
        });
        let kept = match kept {
            Some(kept) => kept,
            None => {
                let session = self.connector.connect().await?;
                foundation::require_registry(&session).await?;
                kept.insert(Kept {
                    session,
                    opened: Instant::now(),
                    used: 0,
                })
            }
        };
        kept.used += 1;
        let session = &kept.session;
        let tenants = tenants::list(session, None).await?;
        let mut options = self.options.collect.clone();
        if part != Part::Sizes {
            options.sizes = Sizes::None;
        }
        if part != Part::Business {
            options.business = Vec::new();
        }
        let measured = Instant::now();
        match part {
            Part::Activity => {
                let mut fleet = collect(&self.connector, session, &tenants, &options).await?;
                // All else is of use without them.
                if let Err(error) = self.count_queries(session, &tenants).await {
                    fleet.unknown.push(format!("durations of queries: {error}"));
                }
                Ok(Measured::Activity(fleet))
            }
            Part::Sizes => {
                let fleet = collect(&self.connector, session, &tenants, &options).await?;
                // Copies, side by side: what is kept of the fleet itself would keep the room all around it.
                let sizes = fleet
                    .tenants
                    .iter()
                    .map(|t| (t.schema_name.clone(), t.database.clone()));
                Ok(Measured::Sizes(Found {
                    by_schema: sizes.collect(),
                    unknown: fleet.unknown,
                    measured,
                }))
            }
            Part::Business => {
                let mut found = Found {
                    by_schema: HashMap::new(),
                    unknown: Vec::new(),
                    measured,
                };
                for piece in tenants.chunks(BUSINESS_PIECE) {
                    let fleet = collect(&self.connector, session, piece, &options).await?;
                    let business = fleet
                        .tenants
                        .iter()
                        .map(|t| (t.schema_name.clone(), t.business.clone()));
                    found.by_schema.extend(business);
                    found.unknown.extend(fleet.unknown);
                }
                Ok(Measured::Business(found))
            }
        }
    }

    /// Counts the queries since the last time.
    async fn count_queries(&self, session: &Session, tenants: &[TenantRow]) -> Result<()> {
        let Some(counters) = statements::counters(session).await? else {
            return Ok(());
        };
        let unknown = lock(&self.durations).without_type(&counters);
        if !unknown.is_empty() {
            let types = statements::types(session, &unknown).await?;
            lock(&self.durations).learn(types);
        }
        let schemas = tenants
            .iter()
            .map(|t| (t.role_name.clone(), t.schema_name.to_string()))
            .collect();
        lock(&self.durations).count(&counters, &schemas);
        Ok(())
    }

    /// Keeps what a part has found; that of the activity goes out.
    pub(super) async fn take_over(self: &Arc<Self>, measured: Measured, began: Instant) -> Result<()> {
        match measured {
            Measured::Activity(fleet) => return self.publish(fleet, began).await,
            Measured::Sizes(found) => self.shared().sizes = Some(found),
            Measured::Business(found) => self.shared().business = Some(found),
        }
        Ok(())
    }

    /// Takes in what the other parts have found, judges it, makes it into text, and has it told.
    async fn publish(self: &Arc<Self>, mut fleet: Fleet, measured: Instant) -> Result<()> {
        let complete = {
            let mut shared = self.shared();
            self.take_in(&mut shared, &mut fleet);
            shared.record(Part::Sizes).measurements > 0
        };
        let exporter = Arc::clone(self);
        // Ten thousand tenants are some tenths of a second of work.
        let written = tokio::task::spawn_blocking(move || {
            let judged = limits::judge(&mut fleet, &exporter.options.criteria);
            let samples = Samples::of(&fleet, &lock(&exporter.durations));
            if exporter.tell.is_some() {
                // One that nobody has been told of yet is out of date.
                *lock(&exporter.untold) = Some((fleet, judged));
                exporter.judged.notify_one();
            } else {
                // Gone before its text is made.
                drop(fleet);
            }
            samples.pack(false)
        });
        let text = written
            .await
            .map_err(|e| Error::new(ErrorKind::Unknown, "cannot write the metrics").with_cause(e))??;
        let mut shared = self.shared();
        shared.text = Some((Arc::new(text), measured));
        shared.complete |= complete;
        Ok(())
    }

    /// Puts the last sizes and business metrics into a fleet that was measured without.
    pub(super) fn take_in(&self, shared: &mut Shared, fleet: &mut Fleet) {
        let too_old = |part, measured: Instant| measured.elapsed() > KEEP.max(3 * self.interval(part));
        shared.sizes.take_if(|found| too_old(Part::Sizes, found.measured));
        shared.business.take_if(|found| too_old(Part::Business, found.measured));
        for tenant in &mut fleet.tenants {
            if let Some(found) = shared.sizes.as_ref().and_then(|s| s.by_schema.get(&tenant.schema_name)) {
                tenant.database.size_bytes = found.size_bytes;
                tenant.database.size_source.clone_from(&found.size_source);
                if let Some(usage) = tenant.limits.get_mut("schema_size") {
                    *usage = Usage::of(found.size_bytes.map(|bytes| bytes as f64), usage.max);
                }
            }
            if let Some(found) = shared
                .business
                .as_ref()
                .and_then(|b| b.by_schema.get(&tenant.schema_name))
            {
                tenant.business.clone_from(found);
            }
        }
        let of_sizes = shared.sizes.iter().flat_map(|found| &found.unknown);
        let of_business = shared.business.iter().flat_map(|found| &found.unknown);
        for sentence in of_sizes.chain(of_business) {
            if !fleet.unknown.contains(sentence) {
                fleet.unknown.push(sentence.clone());
            }
        }
    }
}
