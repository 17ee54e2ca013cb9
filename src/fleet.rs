//! Many tenants at the same time: each is worked on by itself, over a set of sessions that are replaced now and then.

use std::collections::VecDeque;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::pg::record;
use crate::pg::session::{Connector, Session};
use crate::tenant::TenantId;

/// Tenants after which a session is replaced. A backend keeps the catalog entries of every table it made: its private
/// memory was 21 MB after 1,500 basic tenants and growing, and stayed at 7 MB when replaced every 200, with no
/// difference in time a tenant (PostgreSQL 15, two cores).
pub const RECYCLE_AFTER: usize = 200;

/// What is done to each of many tenants.
pub trait Work: Send + Sync + 'static {
    /// A tenant and what is wanted of it.
    type Item: Clone + Send + Sync + 'static;
    /// What became of it.
    type Done: Send + 'static;
    /// The name in the operation log.
    const OPERATION: &'static str;

    /// Opens the sessions.
    fn connector(&self) -> &Connector;

    /// The tenant of an item.
    fn id(item: &Self::Item) -> &TenantId;

    /// Does it to one tenant.
    fn one(&self, session: &Session, item: &Self::Item) -> impl Future<Output = Result<Self::Done>> + Send;
}

/// Does it to many tenants; a failure does not stop the others, an interrupt starts no more.
///
/// Each tenant's result arrives on the returned channel as it is known; failures are also in the registry's operation
/// log by then. The channel closes when all is done; tenants not started after an interrupt are absent.
pub fn many<W: Work>(
    work: W,
    items: Vec<W::Item>,
    jobs: usize,
    interrupt: &Interrupt,
) -> mpsc::UnboundedReceiver<(TenantId, Result<W::Done>)> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let jobs = jobs.clamp(1, items.len().max(1));
    let work = Arc::new(work);
    let queue = Arc::new(Mutex::new(Queue {
        waiting: VecDeque::from(items),
        workers: jobs,
    }));
    for _ in 0..jobs {
        let worker = Worker {
            work: Arc::clone(&work),
            queue: Arc::clone(&queue),
            interrupt: interrupt.clone(),
            sender: sender.clone(),
        };
        tokio::spawn(worker.run());
    }
    receiver
}

/// Under one lock, so that no worker can leave between another's look at the queue and its going.
struct Queue<T> {
    waiting: VecDeque<T>,
    workers: usize,
}

/// One of the jobs of [`many`].
struct Worker<W: Work> {
    work: Arc<W>,
    queue: Arc<Mutex<Queue<W::Item>>>,
    interrupt: Interrupt,
    sender: mpsc::UnboundedSender<(TenantId, Result<W::Done>)>,
}

impl<W: Work> Worker<W> {
    async fn run(self) {
        let mut session: Option<(Session, usize)> = None;
        while let Some(item) = self.next() {
            let (open, made) = match session
                .take()
                .filter(|(s, made)| !s.is_closed() && *made < RECYCLE_AFTER)
            {
                Some(open) => open,
                None => match self.work.connector().connect().await {
                    Ok(open) => (open, 0),
                    // The server has no place for this many sessions: leave the work to those that have one.
                    Err(error) if error.sqlstate() == Some("53300") && self.leave_to_others(&item) => return,
                    Err(error) => {
                        self.fail_all(item, &error);
                        return;
                    }
                },
            };
            let result = self.work.one(&open, &item).await;
            let id = W::id(&item);
            if let Err(error) = &result {
                record::failure(self.work.connector(), Some(&open), W::OPERATION, Some(id), error).await;
            }
            let _ = self.sender.send((id.clone(), result));
            session = Some((open, made + 1));
        }
    }

    /// The next tenant; none also signs this worker off.
    fn next(&self) -> Option<W::Item> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let next = if self.interrupt.requested() {
            None
        } else {
            queue.waiting.pop_front()
        };
        queue.workers -= usize::from(next.is_none());
        next
    }

    /// Gives an item back and signs off, unless this worker is the last.
    fn leave_to_others(&self, item: &W::Item) -> bool {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let others = queue.workers > 1;
        if others {
            queue.waiting.push_front(item.clone());
            queue.workers -= 1;
        }
        others
    }

    /// No session can be had, so nothing can be done to what is left: says so for each, instead of trying each.
    fn fail_all(&self, item: W::Item, error: &Error) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.workers -= 1;
        for item in std::iter::once(item).chain(queue.waiting.drain(..)) {
            let failures = self.work.connector().failures();
            failures.note(W::OPERATION, Some(W::id(&item)), error);
            let _ = self.sender.send((W::id(&item).clone(), Err(error.clone())));
        }
    }
}
