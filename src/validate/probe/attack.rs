//! All attempts of one attacker, in one session.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use super::attempts::{self, Attempt};
use super::tally::{self, Outcome, Tally, explain};
use super::targets::{Object, Shape, Target};
use super::{GROUP, Shared, visitor};
use crate::error::Error;
use crate::pg::session::Session;
use crate::pg::sql::Sql;

/// A session that is the tenant, in a transaction with a savepoint.
pub(super) struct Attack<'a> {
    shared: &'a Shared,
    session: &'a Session,
    /// The admin's backend, where the session is not the admin's.
    admin: Option<i32>,
    me: &'a Target,
    tally: &'a mut Tally,
    ends: Instant,
    /// The session no longer answers.
    lost: bool,
}

impl<'a> Attack<'a> {
    pub(super) fn new(
        shared: &'a Shared,
        session: &'a Session,
        admin: Option<i32>,
        me: &'a Target,
        tally: &'a mut Tally,
    ) -> Self {
        Self {
            shared,
            session,
            admin,
            me,
            tally,
            ends: Instant::now() + shared.probe.pair,
            lost: false,
        }
    }

    /// Control, the tenant's own schema, the database, then each victim.
    pub(super) async fn all(mut self, victims: &[&Arc<Target>]) {
        if !self.control().await {
            return;
        }
        let world = &self.shared.world;
        self.tried(attempts::on_own(self.me, world), self.me).await;
        self.tried(attempts::on_database(self.me, world, self.admin), self.me)
            .await;
        for victim in victims {
            self.victim(victim).await;
        }
    }

    /// Whether the tenant can use what is its own: else nothing that it is refused proves anything.
    async fn control(&mut self) -> bool {
        let controls = attempts::controls(self.me);
        if controls.is_empty() {
            self.tally.doubt(
                "probe_control",
                "the tenant has no table to show that the probe acts as it".to_owned(),
                format!("tenant {}", self.me.id),
            );
            return false;
        }
        let answers = self.send(&controls).await;
        let mut works = 0;
        for (control, answer) in controls.iter().zip(&answers) {
            match tally::judge(control, answer) {
                Outcome::Succeeded => works += 1,
                _ => {
                    let why = match answer {
                        Err(error) => explain_control(error),
                        Ok(()) => continue,
                    };
                    self.tally.doubt(
                        "probe_control",
                        format!("a tenant could not {}: {why}", control.does),
                        format!("tenant {}: {}", self.me.id, control.object),
                    );
                }
            }
        }
        if works == 0 {
            self.tally.doubt(
                "probe_control",
                "the probe could not act as the tenant, so its refusals prove nothing".to_owned(),
                format!("tenant {}", self.me.id),
            );
        }
        works > 0
    }

    async fn victim(&mut self, victim: &Target) {
        if self.lost || !self.shared.goes_on() {
            self.unfinished(victim);
            return;
        }
        self.ends = Instant::now() + self.shared.probe.pair;
        let world = &self.shared.world;
        let on_schema = attempts::on_schema(victim, self.me, world, self.admin.is_some());
        let outcomes = self.tried(on_schema, victim).await;
        let on_object = |object, reads_only| attempts::on_object(victim, self.me, object, world, reads_only);
        if outcomes.first() == Some(&Outcome::Refused) {
            // Names do not resolve, so nothing is locked either: all in one go.
            let reads_only = !self.shared.thorough;
            let objects = victim.objects.iter();
            let batch = objects.flat_map(|object| on_object(object, reads_only)).collect();
            self.tried(batch, victim).await;
            return;
        }
        for object in &victim.objects {
            let mut first = on_object(object, false);
            let rest = first.split_off(1);
            match self.tried(first, victim).await.first() {
                // Somebody holds a lock, on which the others would wait too.
                Some(Outcome::Unclear) | None => continue,
                Some(Outcome::Succeeded) if object.shape == Shape::Table && !object.ask_only => {
                    self.rows(victim, object).await;
                }
                _ => {}
            }
            self.tried(rest, victim).await;
        }
    }

    /// A victim that was not, or not wholly, tried.
    fn unfinished(&mut self, victim: &Target) {
        let why = if self.lost {
            "the session was lost or did not answer in time"
        } else if Instant::now() >= self.ends {
            "the time limit of a pair ran out"
        } else {
            "the probe was interrupted or its time limit ran out"
        };
        self.tally.doubt(
            "probe_control",
            why.to_owned(),
            if victim.id == self.me.id {
                format!("tenant {}", self.me.id)
            } else {
                format!("tenant {} against {}", self.me.id, victim.id)
            },
        );
        self.shared.partial.store(true, Ordering::Relaxed);
    }

    /// After a table could be read: whether rows come back.
    async fn rows(&mut self, victim: &Target, object: &Object) {
        let mut attempt = attempts::read_rows(victim, object);
        let answer = self.send(std::slice::from_ref(&attempt)).await;
        if let Some(answer) = answer.first() {
            if tally::judge(&attempt, answer) == Outcome::Refused {
                attempt.does = "see none of its rows so far";
                self.tally.success(&attempt, self.me, victim);
                self.tally.attempts += 1;
            } else {
                self.tally.note(&attempt, self.me, victim, answer);
            }
        }
    }

    /// Sends attempts and keeps what became of them.
    async fn tried(&mut self, attempts: Vec<Attempt>, victim: &Target) -> Vec<Outcome> {
        let answers = self.send(&attempts).await;
        let mut outcomes = Vec::with_capacity(answers.len());
        for (attempt, answer) in attempts.iter().zip(&answers) {
            outcomes.push(self.tally.note(attempt, self.me, victim, answer));
        }
        if answers.len() < attempts.len() {
            self.unfinished(victim);
        }
        outcomes
    }

    /// One round trip for all batches, each behind a return to the savepoint; shorter than asked when the session is lost.
    async fn send(&mut self, attempts: &[Attempt]) -> Vec<std::result::Result<(), Error>> {
        let mut answers = Vec::with_capacity(attempts.len());
        for group in attempts.chunks(GROUP) {
            if self.lost || Instant::now() >= self.ends {
                break;
            }
            let batches: Vec<Sql> = group
                .iter()
                .map(|a| Sql::new("ROLLBACK TO probe;\n").append(a.sql.clone()))
                .collect();
            let patience = self.shared.probe.attempt * 2 + self.ends.saturating_duration_since(Instant::now());
            let sent = self.session.pipeline(&batches, "try");
            match visitor::within(patience, self.session, sent).await {
                Ok(got) => {
                    self.lost = self.session.is_closed();
                    answers.extend(got);
                }
                Err(error) => {
                    self.lost = true;
                    answers.push(Err(error));
                }
            }
        }
        answers
    }
}

fn explain_control(error: &Error) -> String {
    match error.sqlstate() {
        Some("42501" | "22012") => "it was refused (SQLSTATE 42501)".to_owned(),
        _ => explain(error),
    }
}
