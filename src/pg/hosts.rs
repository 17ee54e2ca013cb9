//! Which of a connection string's hosts a session goes to, and what is said when none of them fits.
//!
//! `target_session_attrs` means what it means to libpq. Where it is left out, libpq takes whatever answers first; here that would
//! be a standby after every failover, so that commands which change something take the primary only, and those which read
//! take it where there is one.

use super::conninfo::TargetSessionAttrs;
use super::session::Server;
use crate::error::{Error, ErrorKind, Result};

/// What is needed of a server beside what the connection string asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Demand {
    /// The primary where there is one: its state is the newest, and it alone knows its standbys. Else whatever answers.
    Newest,
    /// A server that takes writes.
    Primary,
    /// A standby.
    Standby,
}

/// How well a server fits, the least the best: 0 is taken without a look at the other hosts. None: not at all.
pub(super) fn rank(wanted: Option<TargetSessionAttrs>, demand: Demand, server: &Server) -> Option<u8> {
    let newest = match (server.in_recovery, server.read_only) {
        (false, false) => 0,
        // Fenced off, perhaps, after a failover.
        (false, true) => 1,
        (true, _) => 2,
    };
    let asked = wanted.map(|wanted| match wanted {
        TargetSessionAttrs::Any => Some(0),
        TargetSessionAttrs::ReadWrite => (newest == 0).then_some(0),
        TargetSessionAttrs::ReadOnly => (newest > 0).then_some(0),
        TargetSessionAttrs::Primary => (!server.in_recovery).then_some(0),
        TargetSessionAttrs::Standby => server.in_recovery.then_some(0),
        TargetSessionAttrs::PreferStandby => Some(u8::from(!server.in_recovery)),
    });
    match (asked, demand) {
        (Some(None), _) => None,
        (Some(asked), Demand::Newest) => asked,
        (None, Demand::Newest) => Some(newest),
        (_, Demand::Primary) => (!server.in_recovery).then_some(newest),
        (_, Demand::Standby) => server.in_recovery.then_some(0),
    }
}

/// Refuses a connection string that asks for the contrary of what is needed.
///
/// # Errors
/// Kind `usage`.
pub(super) fn require_compatible(wanted: Option<TargetSessionAttrs>, demand: Demand) -> Result<()> {
    use TargetSessionAttrs::{Primary, ReadOnly, ReadWrite, Standby};
    let needs = match (demand, wanted) {
        (Demand::Primary, Some(Standby | ReadOnly)) => "a server that takes writes is needed",
        (Demand::Standby, Some(Primary | ReadWrite)) => "a standby is needed",
        _ => return Ok(()),
    };
    let wanted = wanted.map_or_else(String::new, |wanted| wanted.to_string());
    Err(
        Error::usage(format!("{needs}, and the connection string asks for another kind"))
            .with_cause(format!("it says target_session_attrs={wanted}"))
            .with_hint(
                "Leave target_session_attrs away: tenantctl then looks for the server that it needs among all hosts.",
            ),
    )
}

/// The hosts that were tried in vain.
#[derive(Default)]
pub(super) struct Tried {
    /// The first that could not be connected to.
    first: Option<Error>,
    /// What each of them is, or why it could not be connected to.
    notes: Vec<String>,
    /// One answered, and is not what is wanted.
    unfit: bool,
}

impl Tried {
    /// One that could not be connected to.
    pub(super) fn failed(&mut self, place: &str, error: Error) {
        let line = error.one_line();
        self.notes.push(match line.contains(place) {
            true => line,
            false => format!("{place}: {line}"),
        });
        self.first.get_or_insert(error);
    }

    /// One that answered and does not fit.
    pub(super) fn unfit(&mut self, place: &str, server: &Server) {
        self.notes.push(format!("{place} is {}", server.role_name()));
        self.unfit = true;
    }

    /// Why there is no session.
    pub(super) fn into_error(self, wanted: Option<TargetSessionAttrs>, demand: Demand) -> Error {
        let cause = self.notes.join("; ");
        match (self.first, self.unfit) {
            (Some(error), false) if self.notes.len() == 1 => error,
            (Some(error), false) => error
                .with_message("none of the servers in the connection string can be connected to")
                .with_cause(cause),
            (None, false) => Error::usage("the connection string names no host"),
            (_, true) => {
                let message = match (wanted, demand) {
                    (Some(TargetSessionAttrs::Any | TargetSessionAttrs::PreferStandby) | None, Demand::Standby) => {
                        "no standby is among the servers in the connection string".to_owned()
                    }
                    (Some(TargetSessionAttrs::Any | TargetSessionAttrs::PreferStandby) | None, _) => {
                        "none of the servers in the connection string takes writes".to_owned()
                    }
                    (Some(wanted), _) => format!("no server fits target_session_attrs={wanted}"),
                };
                let hint = match demand {
                    Demand::Standby => "Check the hosts in the connection string.",
                    _ => {
                        "If a failover is under way, run the command again when it is done. Check that the connection string names every server that may be the primary."
                    }
                };
                Error::new(ErrorKind::Connection, message)
                    .with_cause(cause)
                    .with_hint(hint)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(in_recovery: bool, read_only: bool) -> Server {
        Server {
            version_num: 150_000,
            version: "15.0".into(),
            database: "d".into(),
            user: "u".into(),
            in_recovery,
            read_only,
            backend_pid: 1,
            started: "then".into(),
        }
    }

    #[test]
    fn servers_are_ranked_by_what_is_asked_and_needed() {
        use TargetSessionAttrs::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};
        let servers = [server(false, false), server(false, true), server(true, false)];
        let (newest, primary, standby) = (Demand::Newest, Demand::Primary, Demand::Standby);
        for (wanted, demand, ranks) in [
            (None, newest, [Some(0), Some(1), Some(2)]),
            (None, primary, [Some(0), Some(1), None]),
            (None, standby, [None, None, Some(0)]),
            (Some(Any), newest, [Some(0), Some(0), Some(0)]),
            (Some(Any), primary, [Some(0), Some(1), None]),
            (Some(ReadWrite), newest, [Some(0), None, None]),
            (Some(ReadWrite), primary, [Some(0), None, None]),
            (Some(ReadOnly), newest, [None, Some(0), Some(0)]),
            (Some(ReadOnly), standby, [None, None, Some(0)]),
            (Some(Primary), newest, [Some(0), Some(0), None]),
            (Some(Primary), primary, [Some(0), Some(1), None]),
            (Some(Standby), newest, [None, None, Some(0)]),
            (Some(PreferStandby), newest, [Some(1), Some(1), Some(0)]),
            (Some(PreferStandby), primary, [Some(0), Some(1), None]),
        ] {
            let found = [0, 1, 2].map(|at| rank(wanted, demand, &servers[at]));
            assert_eq!(found, ranks, "{wanted:?} {demand:?}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        use TargetSessionAttrs::{Any, PreferStandby, Primary, ReadOnly, ReadWrite, Standby};
        for wanted in [None, Some(Any), Some(ReadWrite), Some(Primary), Some(PreferStandby)] {
            assert!(require_compatible(wanted, Demand::Primary).is_ok(), "{wanted:?}");
        }
        for wanted in [Some(Standby), Some(ReadOnly)] {
            let error = require_compatible(wanted, Demand::Primary).expect_err("the contrary");
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(require_compatible(wanted, Demand::Standby).is_ok(), "{wanted:?}");
            assert!(require_compatible(wanted, Demand::Newest).is_ok(), "{wanted:?}");
        }
        assert!(require_compatible(Some(Primary), Demand::Standby).is_err());
    }

    #[test]
    fn each_host_is_told() {
        let down = |place: &str| {
            Error::new(ErrorKind::Connection, format!("cannot connect to {place}")).with_cause("connection refused")
        };
        let mut one = Tried::default();
        one.failed("host \"a\"", down("host \"a\""));
        assert_eq!(
            one.into_error(None, Demand::Primary).message(),
            "cannot connect to host \"a\""
        );
        let mut two = Tried::default();
        two.failed("host \"a\"", down("host \"a\""));
        two.failed(
            "host \"b\"",
            Error::new(ErrorKind::Connection, "the server has no connection left"),
        );
        let error = two.into_error(None, Demand::Newest);
        assert_eq!(
            error.cause(),
            Some("cannot connect to host \"a\": connection refused; host \"b\": the server has no connection left")
        );
        let mut unfit = Tried::default();
        unfit.failed("host \"a\"", down("host \"a\""));
        unfit.unfit("host \"b\"", &server(true, false));
        let error = unfit.into_error(Some(TargetSessionAttrs::Any), Demand::Primary);
        assert_eq!(error.kind().exit_code(), 3);
        assert!(error.message().contains("takes writes"), "{error}");
        assert_eq!(
            error.cause(),
            Some("cannot connect to host \"a\": connection refused; host \"b\" is a standby")
        );
        let none = Tried::default().into_error(None, Demand::Newest);
        assert_eq!(none.kind(), ErrorKind::Usage);
    }
}
