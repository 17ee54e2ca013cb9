//! Measures for whoever scrapes: once however many ask, never twice at a time, and with an answer even when the
//! database has none.
//!
//! There are three parts, each with its own clock and its own session: `activity` is measured when somebody asks and the
//! last measurement is too old, `sizes` and `business` go on in the background. Every measurement of `activity` takes in
//! what the other two have found last, is judged, told and made into text, of which every scrape gets the same bytes.

mod measure;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tokio::sync::{Notify, watch};

use super::collect;
use super::durations::Durations;
use super::exposition::{Exposition, Samples};
use super::limits::{Criteria, Judged};
use super::{Database, Fleet};
use crate::error::{Error, ErrorKind, Result};
use crate::pg::session::{Connector, Session};

/// The longest that a measurement of the activity may take: then it is cancelled, and the database counts as away.
const ACTIVITY_DEADLINE: Duration = Duration::from_secs(20);
/// The same for sizes, and for the business queries of all tenants.
const SIZES_DEADLINE: Duration = Duration::from_secs(300);
const BUSINESS_DEADLINE: Duration = Duration::from_secs(1800);
/// For so long samples are served after the last measurement; those of a part with a slow clock for three turns of it.
const KEEP: Duration = Duration::from_secs(300);
/// A part with a slow clock that failed is measured again after this time.
const RETRY: Duration = Duration::from_secs(10);
/// The longest that the activity and the sizes wait for each other.
const TURN: Duration = Duration::from_secs(10);
/// Tenants whose business queries are run at a time.
const BUSINESS_PIECE: usize = 500;
/// Telling the alerts has a limit of its own; this one is for when that fails.
const TELL_DEADLINE: Duration = Duration::from_secs(120);
/// A session is replaced after so many measurements or this time: a backend's caches grow with all that it has seen.
const RECYCLE_AFTER: u32 = 200;
const RECYCLE_AGE: Duration = Duration::from_secs(1800);

/// What is measured, and how often.
#[derive(Clone, Debug)]
pub struct Options {
    /// What all measurements have in common; each part takes its own sizes and business queries of it.
    pub collect: collect::Options,
    /// For how long the activity is good.
    pub every: Duration,
    /// The longest that a scrape waits for a measurement before it takes the samples of the one before.
    pub wait: Duration,
    /// For how long sizes are good.
    pub sizes_every: Duration,
    /// For how long business metrics are good; none: they are left out.
    pub business_every: Option<Duration>,
    /// How many tenants get the histogram of query durations.
    pub max_tenants_detailed: usize,
    /// What alerts are judged by.
    pub criteria: Criteria,
}

/// Tells somebody of the alerts of a fleet.
#[async_trait]
pub trait Tell: Send + Sync {
    /// Tells what fires, and what no longer does.
    ///
    /// # Errors
    /// When it could not be told; the next measurement tells it again.
    async fn tell(&self, fleet: &Fleet, judged: Judged) -> Result<()>;
}

/// The exporter's own figures.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// Whether the last measurement succeeded.
    pub up: bool,
    /// Scrapes that were answered.
    pub scrapes: u64,
    /// Times that alerts could not be told.
    pub notification_errors: u64,
    /// The parts that are measured.
    pub parts: Vec<PartState>,
}

/// The figures of a part.
#[derive(Clone, Debug, Default)]
pub struct PartState {
    /// `activity`, `sizes` or `business`.
    pub name: &'static str,
    /// How old its samples are; none: there are none.
    pub age: Option<Duration>,
    /// How long its last measurement took.
    pub duration: Option<Duration>,
    /// For how long a measurement is good.
    pub interval: Duration,
    /// Measurements that ended.
    pub measurements: u64,
    /// Those of them that failed.
    pub errors: u64,
}

/// A part that is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Activity,
    Sizes,
    Business,
}

impl Part {
    const ALL: [Self; 3] = [Self::Activity, Self::Sizes, Self::Business];

    fn name(self) -> &'static str {
        match self {
            Self::Activity => "activity",
            Self::Sizes => "sizes",
            Self::Business => "business",
        }
    }

    fn deadline(self) -> Duration {
        match self {
            Self::Activity => ACTIVITY_DEADLINE,
            Self::Sizes => SIZES_DEADLINE,
            Self::Business => BUSINESS_DEADLINE,
        }
    }
}

/// How measuring a part goes.
#[derive(Debug, Default)]
struct Record {
    running: bool,
    /// Once more when it has ended: there is something new to take in.
    again: bool,
    /// When the last one began.
    began: Option<Instant>,
    duration: Option<Duration>,
    measurements: u64,
    errors: u64,
    /// Why the last one failed; none: it did not.
    error: Option<Error>,
}

/// What all who ask share.
#[derive(Default)]
struct Shared {
    scrapes: u64,
    notification_errors: u64,
    stopping: bool,
    records: [Record; 3],
    /// What is served, and when it was measured.
    text: Option<(Arc<Exposition>, Instant)>,
    /// Whether what is served has sizes, or they could not be had.
    complete: bool,
    sizes: Option<Found<Database>>,
    business: Option<Found<Business>>,
}

/// The business metrics of a tenant.
type Business = BTreeMap<String, Option<f64>>;

/// What a part has found, by schema, and when.
struct Found<T> {
    by_schema: HashMap<String, T>,
    /// What could not be measured, as sentences.
    unknown: Vec<String>,
    measured: Instant,
}

impl Shared {
    fn record(&mut self, part: Part) -> &mut Record {
        &mut self.records[part as usize]
    }
}

/// A session that is kept between measurements.
struct Kept {
    session: Session,
    opened: Instant,
    used: u32,
}

/// What a scrape gets.
pub struct Answer {
    /// The samples of tenants and database; none: there are none that are young enough.
    pub fleet: Option<Arc<Exposition>>,
    /// The exporter's own.
    pub own: Arc<Exposition>,
}

/// Measures, and keeps what it has found.
pub struct Exporter {
    connector: Connector,
    options: Options,
    tell: Option<Box<dyn Tell>>,
    shared: Mutex<Shared>,
    /// Counts the measurements that have ended.
    ended: watch::Sender<u64>,
    /// What is to be measured, by part.
    wanted: [Notify; 3],
    /// Whose turn it is.
    turn: tokio::sync::Mutex<()>,
    untold: Mutex<Option<(Fleet, Judged)>>,
    judged: Notify,
    session: Mutex<Option<Kept>>,
    durations: Mutex<Durations>,
}

impl Exporter {
    /// An exporter that has not measured anything yet.
    pub fn new(connector: Connector, options: Options, tell: Option<Box<dyn Tell>>) -> Arc<Self> {
        Arc::new(Self {
            durations: Mutex::new(Durations::new(options.max_tenants_detailed)),
            connector,
            options,
            tell,
            shared: Mutex::default(),
            ended: watch::channel(0).0,
            wanted: Default::default(),
            turn: tokio::sync::Mutex::default(),
            untold: Mutex::default(),
            judged: Notify::new(),
            session: Mutex::default(),
        })
    }

    /// Measures what is asked for and what has a clock of its own, and tells the alerts, until the future is dropped.
    pub async fn run(self: &Arc<Self>) {
        let business = async {
            if let Some(every) = self.options.business_every
                && !self.options.collect.business.is_empty()
            {
                tokio::join!(self.work(Part::Business), self.keep_measuring(Part::Business, every));
            }
        };
        self.start(Part::Activity);
        tokio::join!(
            self.work(Part::Activity),
            self.work(Part::Sizes),
            self.keep_measuring(Part::Sizes, self.options.sizes_every),
            business,
            self.keep_telling(),
        );
    }

    async fn keep_measuring(&self, part: Part, every: Duration) {
        loop {
            let mut ended = self.ended.subscribe();
            self.start(part);
            while self.shared().record(part).running && ended.changed().await.is_ok() {}
            let failed = self.shared().record(part).error.is_some();
            tokio::time::sleep(if failed { every.min(RETRY) } else { every }).await;
        }
    }

    /// Lets nobody wait any longer.
    pub fn stop(&self) {
        self.shared().stopping = true;
        self.ended.send_modify(|count| *count += 1);
    }

    /// What a scrape gets; measures first where that is due.
    ///
    /// # Errors
    /// When the text cannot be put together.
    pub async fn scrape(&self) -> Result<Answer> {
        self.refresh().await;
        let mut shared = self.shared();
        shared.scrapes += 1;
        let fleet = self.served(&mut shared);
        let state = self.state(&shared);
        drop(shared);
        Ok(Answer {
            fleet,
            own: Arc::new(Samples::of_exporter(&state).pack(true)?),
        })
    }

    /// Whether what is served is good; else why not.
    ///
    /// # Errors
    /// When the last measurement failed or is too old.
    pub async fn ready(&self) -> std::result::Result<(), String> {
        self.refresh().await;
        let mut shared = self.shared();
        if let Some(error) = &shared.record(Part::Activity).error {
            return Err(format!("the last measurement failed: {error}"));
        }
        match self.served(&mut shared) {
            Some(_) => Ok(()),
            None => Err("nothing has been measured for some minutes".to_owned()),
        }
    }

    /// The samples of the last measurement, as long as they are not too old to be of use.
    fn served(&self, shared: &mut Shared) -> Option<Arc<Exposition>> {
        let keep = KEEP.max(3 * self.interval(Part::Activity));
        shared.text.take_if(|(_, measured)| measured.elapsed() > keep);
        shared.text.as_ref().map(|(text, _)| Arc::clone(text))
    }

    /// Measures where that is due, and waits a little for what is going on.
    async fn refresh(&self) {
        let mut ended = self.ended.subscribe();
        let began = self.shared().record(Part::Activity).began;
        if began.is_none_or(|began| began.elapsed() >= self.options.every) {
            self.start(Part::Activity);
        }
        let done = || {
            let mut shared = self.shared();
            let (complete, stopping) = (shared.complete, shared.stopping);
            let activity = shared.record(Part::Activity);
            stopping || (!activity.running && (complete || activity.error.is_some()))
        };
        let measured = async { while !done() && ended.changed().await.is_ok() {} };
        let _ = tokio::time::timeout(self.options.wait, measured).await;
    }

    /// Has a part measured, unless that is going on.
    fn start(&self, part: Part) {
        let mut shared = self.shared();
        let record = shared.record(part);
        if !record.running {
            record.running = true;
            record.began = Some(Instant::now());
            self.wanted[part as usize].notify_one();
        }
    }

    /// Measures a part whenever that is wanted.
    async fn work(self: &Arc<Self>, part: Part) {
        loop {
            self.wanted[part as usize].notified().await;
            // One after the other: each holds all tenants in memory for a while. Business queries go piece by piece.
            let turn = match part {
                Part::Activity | Part::Sizes => tokio::time::timeout(TURN, self.turn.lock()).await.ok(),
                Part::Business => None,
            };
            let began = Instant::now();
            let result = match self.measure(part).await {
                Ok(measured) => self.take_over(measured, began).await,
                Err(error) => Err(error),
            };
            drop(turn);
            self.ended(part, began, result);
        }
    }

    fn ended(&self, part: Part, began: Instant, result: Result<()>) {
        let mut shared = self.shared();
        let record = shared.record(part);
        record.running = false;
        record.duration = Some(began.elapsed());
        record.measurements += 1;
        let was = record.error.take();
        match result {
            // Once when it begins and once when it is over.
            Ok(()) if was.is_some() => tracing::warn!("{} is measured again", part.name()),
            Ok(()) => {}
            Err(error) => {
                record.errors += 1;
                if was.is_none_or(|was| was.kind() != error.kind()) {
                    tracing::warn!(%error, cause = error.cause(), "cannot measure {}", part.name());
                }
                record.error = Some(error);
            }
        }
        // What the others have found goes out with the activity.
        let activity = shared.record(Part::Activity);
        let start = match part {
            Part::Activity => std::mem::take(&mut activity.again),
            Part::Sizes | Part::Business => {
                activity.again = activity.running;
                !activity.running
            }
        };
        drop(shared);
        if start {
            self.start(Part::Activity);
        }
        self.ended.send_modify(|count| *count += 1);
    }

    /// Tells whatever has been judged last, one after the other.
    async fn keep_telling(&self) {
        let Some(tell) = &self.tell else { return };
        let mut failing = false;
        loop {
            self.judged.notified().await;
            let Some((fleet, judged)) = lock(&self.untold).take() else {
                continue;
            };
            let told = match tokio::time::timeout(TELL_DEADLINE, tell.tell(&fleet, judged)).await {
                Ok(told) => told,
                Err(_) => Err(Error::new(ErrorKind::Timeout, "telling the alerts took too long")),
            };
            // Once when it begins, not with every scrape.
            match &told {
                Err(error) if !failing => tracing::warn!(%error, cause = error.cause(), "alerts were not told"),
                Ok(()) if failing => tracing::warn!("alerts are told again"),
                _ => {}
            }
            failing = told.is_err();
            self.shared().notification_errors += u64::from(failing);
        }
    }

    fn state(&self, shared: &Shared) -> State {
        let age = |part| {
            let measured = match part {
                Part::Activity => shared.text.as_ref().map(|(_, measured)| *measured),
                Part::Sizes => shared.sizes.as_ref().map(|found| found.measured),
                Part::Business => shared.business.as_ref().map(|found| found.measured),
            };
            measured.map(|measured| measured.elapsed())
        };
        let activity = &shared.records[Part::Activity as usize];
        let wanted = |part: &Part| *part != Part::Business || self.options.business_every.is_some();
        State {
            up: activity.measurements > 0 && activity.error.is_none(),
            scrapes: shared.scrapes,
            notification_errors: shared.notification_errors,
            parts: Part::ALL
                .into_iter()
                .filter(wanted)
                .map(|part| {
                    let record = &shared.records[part as usize];
                    PartState {
                        name: part.name(),
                        age: age(part),
                        duration: record.duration,
                        interval: self.interval(part),
                        measurements: record.measurements,
                        errors: record.errors,
                    }
                })
                .collect(),
        }
    }

    fn interval(&self, part: Part) -> Duration {
        match part {
            Part::Activity => self.options.every,
            Part::Sizes => self.options.sizes_every,
            Part::Business => self.options.business_every.unwrap_or_default(),
        }
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        lock(&self.shared)
    }
}

/// What a lock protects here is whole whenever it is let go.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
