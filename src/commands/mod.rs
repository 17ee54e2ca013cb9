//! The commands, one thin module each. They read like tables of contents; the work is elsewhere.

pub mod audit;
pub mod backup;
pub mod bench;
pub mod credentials;
pub mod demo;
pub mod docs;
pub mod drop;
pub mod init;
pub mod list;
pub mod metrics;
mod page;
mod passwords;
pub mod pgbouncer;
pub mod provision;
pub mod restore;
pub mod retention;
pub mod rotate;
pub mod secure;
pub mod show;
pub mod validate;

use std::future::Future;
use std::sync::Arc;

use serde::Serialize;

use crate::cli::{AuditCommand, Cli, Command, OutputFormat};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::notify::Notifier;
use crate::pg::hosts::Demand;
use crate::pg::record::Failures;
use crate::plan::Plan;
use crate::settings::Settings;
use crate::ui::{Render, Ui};

/// What a command works with.
pub struct Context<'a> {
    /// Configuration and connection.
    pub settings: Settings,
    /// The way to the user.
    pub ui: &'a Ui,
    /// Whether the user wants to stop.
    pub interrupt: &'a Interrupt,
}

/// The SQL of a dry run, a plan a transaction.
#[derive(Debug, Serialize)]
struct Plans {
    plan: Vec<Plan>,
}

impl Render for Plans {
    fn text(&self, _: &Ui) -> String {
        self.plan
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join("\n\n")
    }
}

/// How a command that did not fail as a whole ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All done.
    Done,
    /// It ran until it was asked to stop, as it should: Ctrl-C and SIGTERM are its way to end.
    Stopped,
    /// Some of many failed, or there are findings.
    Partly,
    /// Everything that was asked for failed in the same class.
    Failed(ErrorKind),
}

impl Status {
    /// The exit code.
    pub fn code(self) -> u8 {
        match self {
            Self::Done | Self::Stopped => 0,
            Self::Partly => 1,
            Self::Failed(kind) => kind.exit_code(),
        }
    }
}

/// The critical errors of a command, of single tenants too, which are told to the receiver of alerts once it has ended.
pub struct Critical {
    notifier: Notifier,
    failures: Arc<Failures>,
    /// Whether those of tenants are told: a benchmark's tenants are nobody's.
    of_tenants: bool,
}

impl Critical {
    /// None where there is no receiver.
    fn new(command: &Command, settings: &Settings) -> Option<Self> {
        let url = settings.alert_url()?;
        let database = settings.connector.info().dbname.clone();
        Some(Self {
            notifier: Notifier::new(Some(url), settings.config.alerts.clone(), database),
            failures: Arc::clone(settings.connector.failures()),
            of_tenants: !matches!(command, Command::Bench(_)),
        })
    }

    /// Posts them, within `alerts.timeout_s` and until the user asks to stop. What cannot be told is a warning.
    pub async fn tell(self, ui: &Ui, interrupt: &Interrupt) {
        let mut noted = self.failures.take();
        if !self.of_tenants {
            noted.first.retain(|failure| failure.tenant_id.is_none());
            noted.more.clear();
        }
        let told = tokio::select! {
            told = self.notifier.errors(noted, self.failures.spent()) => told,
            () = interrupt.again() => return,
        };
        for warning in &told.warnings {
            ui.warn(warning);
        }
    }
}

/// Runs the command; what it leaves in `critical` is to be told once the user has seen how it ended.
///
/// # Errors
/// Whatever made the command fail as a whole; it is in the operation log by then, if that could be reached.
pub async fn dispatch(cli: &Cli, ui: &Ui, interrupt: &Interrupt, critical: &mut Option<Critical>) -> Result<Status> {
    if cli.global.output == OutputFormat::Prometheus && !matches!(cli.command, Command::Metrics(_)) {
        return Err(
            Error::usage(format!("{} has no output for Prometheus", cli.command.name()))
                .with_hint("Use -o text or -o json; metrics alone has -o prometheus."),
        );
    }
    match &cli.command {
        Command::Completions(args) => return docs::completions(ui, args),
        Command::Man(args) => return docs::man(ui, args),
        // What the checks are needs neither a server nor a configuration.
        Command::Validate(args) if args.list || args.explain.is_some() => return validate::describe(ui, args),
        Command::Demo(args) => return until(interrupt, 1, demo::run(ui, interrupt, &cli.global, args)).await,
        _ => {}
    }
    let name = cli.command.name();
    let mut settings = Settings::resolve(&cli.global, name)?;
    if cli.command.writes() {
        settings.connector = settings.connector.demanding(Demand::Primary);
    }
    let ctx = Context {
        settings,
        ui,
        interrupt,
    };
    *critical = Critical::new(&cli.command, &ctx.settings);
    for warning in &ctx.settings.connector.info().warnings {
        ui.warn(warning);
    }
    let result = match &cli.command {
        Command::Init(args) => until(interrupt, 1, init::run(&ctx, args)).await,
        // After the first Ctrl-C it starts nothing new, after the second it waits for nothing; either way it tells the
        // passwords of what it made.
        Command::Provision(args) => until(interrupt, 3, provision::run(&ctx, args)).await,
        Command::Rotate(args) => until(interrupt, 3, rotate::run(&ctx, args)).await,
        Command::Credentials(args) => until(interrupt, 1, credentials::run(&ctx, args)).await,
        Command::List(args) => until(interrupt, 1, list::run(&ctx, args)).await,
        Command::Show(args) => until(interrupt, 1, show::run(&ctx, args)).await,
        // After the first Ctrl-C it cancels what the server is running for it.
        Command::Validate(args) => until(interrupt, 2, validate::run(&ctx, args)).await,
        // The tenant under way is bounded by the time limit, and its role's LOGIN may have to be given back.
        Command::Drop(args) => until(interrupt, 3, drop::run(&ctx, args)).await,
        // Each tenant is whole before or after; what is under way is bounded by the time limit.
        Command::Secure(args) => until(interrupt, 2, secure::run(&ctx, args)).await,
        // After the first Ctrl-C it starts no more tenants and takes back what is half written; the second waits for nothing.
        Command::Backup(args) => until(interrupt, 2, backup::run(&ctx, args)).await,
        // After the first Ctrl-C it drops what it has staged.
        Command::Restore(args) => until(interrupt, 2, restore::run(&ctx, args)).await,
        // Served until the first Ctrl-C, which ends it gracefully; the second waits for nothing.
        Command::Metrics(args) => until(interrupt, 2, metrics::run(&ctx, args)).await,
        Command::Audit(AuditCommand::Show(args)) => until(interrupt, 1, audit::show(&ctx, args)).await,
        Command::Audit(AuditCommand::Prune(args)) => until(interrupt, 2, audit::prune(&ctx, args)).await,
        Command::Retention(args) => until(interrupt, 2, retention::run(&ctx, args)).await,
        Command::Pgbouncer(args) => until(interrupt, 1, pgbouncer::run(&ctx, args)).await,
        // It has a database to drop before it ends.
        Command::Bench(args) => until(interrupt, 2, bench::run(&ctx, args)).await,
        Command::Demo(_) | Command::Completions(_) | Command::Man(_) => Ok(Status::Done),
    };
    // A login that was refused is not tried again for the sake of the log: servers count such attempts.
    if let Err(error) = &result
        && !error.sqlstate().is_some_and(|code| code.starts_with("28"))
    {
        crate::pg::record::failure(&ctx.settings.connector, None, name, None, error).await;
    }
    result
}

/// Runs a command until it is done or the user has asked to stop this many times.
async fn until(interrupt: &Interrupt, times: u8, command: impl Future<Output = Result<Status>>) -> Result<Status> {
    tokio::select! {
        result = command => result,
        () = interrupt.times(times) => Err(Error::interrupted()),
    }
}
