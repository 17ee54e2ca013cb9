//! A tenant whose backup is under way: its parts, for whoever copies one.

use std::collections::{BTreeSet, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, watch};

use super::manifest::BackupId;
use super::parts::{self, Copied, PartPlan, Target};
use super::snapshot::Source;
use super::writer::Writer;
use crate::catalog;
use crate::error::{Error, Result};
use crate::pg::session::{Server as PgServer, Session};
use crate::store::Metadata;

/// A tenant under way, as its helpers see it.
pub(super) struct Active {
    pub id: BackupId,
    pub schema: String,
    pub snapshot: String,
    /// Whose snapshot it is, and which host of the connection string that is.
    pub server: PgServer,
    pub host: usize,
    pub source: Source,
    pub metadata: Metadata,
    pub tables: Vec<catalog::contents::TableFacts>,
    pub hypertables: BTreeSet<String>,
    /// The least bytes of a part for which it pays to join the snapshot.
    pub worth_help: u64,
    pub work: Mutex<Parts>,
    /// Nobody works on a part any more.
    pub idle: Notify,
    /// Set once: all parts are to be given up.
    pub stop: watch::Sender<bool>,
}

/// The parts of a tenant.
pub(super) struct Parts {
    /// The largest first.
    pub waiting: VecDeque<PartPlan>,
    pub under_way: usize,
    pub copied: Vec<Copied>,
    pub error: Option<Error>,
    /// Others can join: nobody has found out that they cannot.
    pub joinable: bool,
}

impl Active {
    pub fn parts(&self) -> MutexGuard<'_, Parts> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn wants_help(&self) -> bool {
        let parts = self.parts();
        parts.joinable
            && parts.error.is_none()
            && parts.waiting.front().is_some_and(|part| part.bytes >= self.worth_help)
    }

    /// The next part of at least this size.
    fn claim(&self, at_least: u64) -> Option<PartPlan> {
        let mut parts = self.parts();
        if parts.error.is_some() || parts.waiting.front().is_none_or(|part| part.bytes < at_least) {
            return None;
        }
        parts.under_way += 1;
        parts.waiting.pop_front()
    }

    /// What became of a part that was claimed.
    fn settle(&self, result: Result<Option<Copied>>) {
        let mut parts = self.parts();
        parts.under_way -= 1;
        match result {
            Ok(copied) => parts.copied.extend(copied),
            Err(error) => self.give_up(&mut parts, error),
        }
        if parts.under_way == 0 {
            self.idle.notify_waiters();
        }
    }

    pub fn fail(&self, error: Error) {
        self.give_up(&mut self.parts(), error);
    }

    fn give_up(&self, parts: &mut Parts, error: Error) {
        parts.error.get_or_insert(error);
        parts.waiting.clear();
        self.stop.send_replace(true);
    }

    /// Copies parts of at least this size until there are none.
    pub async fn copy_parts(&self, writer: &Writer, session: &Session, at_least: u64) {
        let target = Target {
            store: &*writer.store,
            id: &self.id,
            metadata: &self.metadata,
            packing: &writer.packing,
            counters: &writer.counters,
        };
        while let Some(part) = self.claim(at_least) {
            let table = &self.tables[part.table];
            let hyper = self.hypertables.contains(&table.name);
            let mut stop = self.stop.subscribe();
            let copied = parts::copy(session, &self.schema, table, &part, hyper, &target, &mut stop).await;
            let failed = copied.is_err();
            if failed {
                // The server may still be sending what nobody wants any more.
                session.cancel().await;
            }
            self.settle(copied);
            if failed {
                return;
            }
        }
    }

    /// Waits until nobody works on a part, and says what became of them.
    pub async fn all_copied(&self) -> Result<Vec<Copied>> {
        loop {
            let idle = self.idle.notified();
            {
                let mut parts = self.parts();
                if parts.under_way == 0 {
                    parts.joinable = false;
                    return match parts.error.take() {
                        Some(error) => {
                            parts.error = Some(error.clone());
                            Err(error)
                        }
                        None => Ok(std::mem::take(&mut parts.copied)),
                    };
                }
            }
            idle.await;
        }
    }
}
