//! Tells the outside world of alerts: what began, what got worse, what ended, each once.
//!
//! [`ledger`] keeps in the registry what was told, [`message`] puts it into words, [`deliver`] posts it. An alert is noted
//! as told once the receiver has accepted it: a run that is killed in between leaves it to the next one, which tells it
//! again. So everything is told at least once, and twice only then, or when an answer was lost. What may have arrived is
//! written down before it is sent: its end is told even if nobody knows that its beginning was.

pub mod deliver;
pub mod ledger;
pub mod message;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::config::AlertPolicy;
use crate::error::{ErrorKind, Result};
use crate::metrics::limits::Judged;
use crate::metrics::{AlertSeverity, Fleet};
use crate::pg::record::Noted;
use crate::pg::session::Session;
use crate::tenant::TenantId;
use deliver::Receiver;
use ledger::{Due, Rule};
use message::{Event, Moment, Origin};

/// Alerts in a post: some 200 KB.
const BATCH: usize = 500;
/// Posts of parts of what was refused as a whole, all together: one alert that a receiver does not take, or a length that it
/// refuses, must not keep the others from it.
const PARTS: usize = 64;
/// Of the time for alerts, what is kept for noting down what was told; of a short time, a quarter.
const NOTING: Duration = Duration::from_secs(1);
/// After so much more, the server ends the transaction of a run that has gone silent.
const SPARE: Duration = Duration::from_secs(5);

/// What a measurement was about: only alerts of that can have ended.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scope {
    /// The tenants that were looked at.
    pub tenants: Vec<TenantId>,
    /// Whether the database's own alerts were judged too, and those of tenants that are not there.
    pub database: bool,
    /// Keys of alerts of which nobody can say whether they fire.
    pub unknown: BTreeSet<String>,
}

impl Scope {
    /// All that is in the fleet, as it was judged.
    pub fn of(fleet: &Fleet, database: bool, judged: Judged) -> Self {
        Self {
            tenants: fleet.tenants.iter().map(|t| t.tenant_id.clone()).collect(),
            database,
            unknown: judged.unknown,
        }
    }
}

/// What became of the alerts. All empty where no receiver is configured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Told {
    /// Keys of alerts that the receiver has accepted as firing.
    pub sent: Vec<String>,
    /// Keys of alerts whose end it has accepted.
    pub resolved: Vec<String>,
    /// Keys of alerts that should have been told, and are left to the next run.
    pub undelivered: Vec<String>,
    /// What the user should know, as sentences.
    pub warnings: Vec<String>,
}

impl Told {
    fn nothing(keys: impl IntoIterator<Item = String>, warning: String) -> Self {
        Self {
            undelivered: keys.into_iter().collect(),
            warnings: vec![warning],
            ..Self::default()
        }
    }
}

/// Tells of alerts. Never fails: whatever cannot be told becomes a warning.
pub struct Notifier {
    url: Option<String>,
    policy: AlertPolicy,
    database: String,
}

/// How long telling may take.
struct Clock {
    /// The end of posting.
    posts: Instant,
    /// The end of it all.
    end: Instant,
}

impl Clock {
    fn start(seconds: f64) -> Self {
        let whole = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let now = Instant::now();
        Self {
            posts: now + whole.saturating_sub(NOTING.min(whole / 4)),
            end: now + whole,
        }
    }
}

impl Notifier {
    /// Tells alerts of a database to the receiver at the URL; to nobody without one.
    pub fn new(url: Option<String>, policy: AlertPolicy, database: String) -> Self {
        Self { url, policy, database }
    }

    fn origin(&self) -> Origin<'_> {
        Origin {
            database: &self.database,
            labels: &self.policy.labels,
        }
    }

    /// Writes down what fires and what has ended, and tells what is to be told of it, in no longer than the
    /// configuration allows.
    ///
    /// The session has no transaction open, and has none afterwards. One whose server did not answer in time is closed
    /// ([`Session::is_closed`]).
    pub async fn run(&self, session: &Session, fleet: &Fleet, scope: &Scope) -> Told {
        let Some(url) = &self.url else {
            return Told::default();
        };
        let clock = Clock::start(self.policy.timeout_s);
        let firing = || fleet.alerts.iter().map(|alert| alert.key());
        match timeout_at(clock.end, self.tell(session, fleet, scope, url, &clock)).await {
            Ok(Ok(told)) => told,
            Ok(Err(error)) => Told::nothing(firing(), format!("alerts were not sent: {}", error.one_line())),
            Err(_) => {
                session.abandon();
                let seconds = self.policy.timeout_s;
                Told::nothing(
                    firing(),
                    format!("alerts were not sent: the registry did not answer within {seconds} s (alerts.timeout_s)"),
                )
            }
        }
    }

    async fn tell(&self, session: &Session, fleet: &Fleet, scope: &Scope, url: &str, clock: &Clock) -> Result<Told> {
        // Without the registry nobody knows what was told before.
        session.server().require_writable()?;
        let measured_at = fleet.unix_time;
        let receiver = Receiver::open(url);
        let offer = receiver.is_ok();
        ledger::write(session, &fleet.alerts, scope, measured_at, offer, left(clock.posts)).await?;
        let rule = Rule {
            measured_at,
            repeat_hours: self.policy.repeat_hours,
            alertmanager: receiver.as_ref().is_ok_and(Receiver::is_alertmanager),
            expire_minutes: self.policy.expire_minutes,
        };
        let (due, _) = ledger::due(session, &rule).await?;
        if due.is_empty() {
            return Ok(Told::default());
        }
        let keys = |due: Vec<Due>| due.into_iter().map(|d| d.event.key);
        let receiver = match receiver {
            Ok(receiver) => receiver,
            Err(why) => return Ok(Told::nothing(keys(due), unusable(&why))),
        };
        match ledger::begin_delivery(session, left(clock.posts), left(clock.end) + SPARE).await {
            Err(error) if error.kind() == ErrorKind::Timeout => {
                let why = "alerts were not sent: another run is still at it, and the next one sends what it leaves";
                return Ok(Told::nothing(keys(due), why.to_owned()));
            }
            begun => begun?,
        }
        // Another run may have told it while this one waited for it.
        let told = match ledger::due(session, &rule).await {
            Ok((due, Some(moment))) => Ok(self.post(session, &receiver, &due, &moment, measured_at, clock).await),
            Ok((_, None)) => Ok(Told::default()),
            Err(error) => Err(error),
        };
        session.rollback().await;
        told
    }

    async fn post(
        &self,
        session: &Session,
        receiver: &Receiver,
        due: &[Due],
        moment: &Moment,
        measured_at: f64,
        clock: &Clock,
    ) -> Told {
        let mut told = Told::default();
        let (mut accepted, mut refused) = (Vec::new(), Vec::new());
        let mut refusal = None;
        let mut batches: Vec<&[Due]> = due.chunks(BATCH).collect();
        let mut answered = Vec::new();
        let mut parts = PARTS;
        while !batches.is_empty() {
            let bodies = batches.iter().map(|batch| self.body(receiver, batch, moment));
            let answers = receiver.post(bodies.collect(), clock.posts).await;
            let mut next = Vec::new();
            for (batch, answer) in batches.into_iter().zip(answers) {
                match &answer {
                    Err(failed) if failed.divisible && !failed.perhaps && batch.len() > 1 && parts >= 2 => {
                        parts -= 2;
                        let (first, second) = batch.split_at(batch.len() / 2);
                        next.extend([first, second]);
                    }
                    _ => answered.push((batch, answer)),
                }
            }
            batches = next;
        }
        for (batch, answer) in answered {
            for Due { event, .. } in batch {
                let list = match (&answer, &event.resolved_at) {
                    (Err(_), _) => &mut told.undelivered,
                    (Ok(()), Some(_)) => &mut told.resolved,
                    (Ok(()), None) => &mut told.sent,
                };
                list.push(event.key.clone());
                match &answer {
                    Ok(()) => accepted.push(event),
                    Err(failed) if !failed.perhaps => refused.push(event),
                    Err(_) => {}
                }
            }
            if let Err(failed) = answer {
                refusal.get_or_insert(failed.why);
            }
        }
        if let Some(why) = refusal {
            told.warnings.push(format!(
                "{} of {} alerts were not delivered to {}: {why}; the next run tries again",
                told.undelivered.len(),
                due.len(),
                receiver.place()
            ));
        }
        if !(accepted.is_empty() && refused.is_empty())
            && let Err(error) = ledger::told(session, &accepted, &refused, measured_at, left(clock.end)).await
            && !accepted.is_empty()
        {
            told.warnings.push(format!(
                "it could not be noted which alerts were delivered, so the next run sends them again: {}",
                error.one_line()
            ));
        }
        told
    }

    fn body(&self, receiver: &Receiver, batch: &[Due], moment: &Moment) -> Vec<u8> {
        if !receiver.is_alertmanager() {
            let events: Vec<Event> = batch.iter().map(|due| due.event.clone()).collect();
            return message::webhook(self.origin(), moment, &events);
        }
        let mut events = Vec::with_capacity(batch.len());
        for Due { event, told_severity } in batch {
            // Alertmanager knows it by the severity it was told.
            let known_as = told_severity.filter(|told| *told != event.severity);
            if let Some(severity) = known_as {
                events.push(Event {
                    severity,
                    resolved_at: Some(moment.now.clone()),
                    ..event.clone()
                });
            }
            if known_as.is_none() || event.resolved_at.is_none() {
                events.push(event.clone());
            }
        }
        message::alertmanager(self.origin(), moment, &events)
    }

    /// Tells of a command's critical errors, in no longer than the configuration allows. They are events: none of them
    /// ever ends, and one that cannot be told now is not told later.
    ///
    /// `spent` is what telling has taken this command already.
    pub async fn errors(&self, noted: Noted, spent: Duration) -> Told {
        let Some(url) = self.url.as_ref().filter(|_| !noted.is_empty()) else {
            return Told::default();
        };
        let clock = Clock::start((self.policy.timeout_s - spent.as_secs_f64()).max(0.0));
        let moment = Moment::here(self.policy.expire_minutes);
        let events = events(noted, &moment);
        let keys = || events.iter().map(|e| e.key.clone());
        let receiver = match Receiver::open(url) {
            Ok(receiver) => receiver,
            Err(why) => return Told::nothing(keys(), unusable(&why)),
        };
        let form = if receiver.is_alertmanager() {
            message::alertmanager
        } else {
            message::webhook
        };
        let body = form(self.origin(), &moment, &events);
        match receiver.post(vec![body], clock.end).await.pop() {
            Some(Err(failed)) => {
                let (place, why) = (receiver.place(), failed.why);
                let why = format!("critical errors were not reported to {place}: {why}");
                Told::nothing(keys(), why)
            }
            _ => Told {
                sent: keys().collect(),
                ..Told::default()
            },
        }
    }
}

/// Critical errors as alerts; those that are too many are counted, by command.
fn events(noted: Noted, moment: &Moment) -> Vec<Event> {
    let event = |operation: &str, tenant_id: Option<String>, object: &str, message: String| {
        let alert_type = format!("{}_failure", operation.replace([' ', '-'], "_"));
        Event {
            key: format!("{alert_type}/{}/{object}", tenant_id.as_deref().unwrap_or_default()),
            alert_type,
            severity: AlertSeverity::Critical,
            tenant_id,
            object: Some(object.to_owned()),
            message,
            value: None,
            limit: None,
            fired_at: moment.now.clone(),
            resolved_at: None,
            error: None,
        }
    };
    let mut events: Vec<Event> = Vec::new();
    for failure in noted.first {
        let error = &failure.error;
        let kind = error.kind().as_str();
        let tenant_id = failure.tenant_id.map(String::from);
        events.push(Event {
            error: Some((error.id().to_string(), kind)),
            ..event(failure.operation, tenant_id, kind, error.one_line())
        });
    }
    let more: BTreeMap<_, _> = noted.more;
    for (operation, count) in more {
        events.push(event(
            operation,
            None,
            "further",
            format!("{count} further critical errors of {operation}"),
        ));
    }
    events
}

fn unusable(why: &str) -> String {
    format!("alerts were not sent: the URL for them (TENANTCTL_ALERT_URL or alerts.url) cannot be used: {why}")
}

fn left(until: Instant) -> Duration {
    until.saturating_duration_since(Instant::now())
}
