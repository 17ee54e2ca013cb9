//! tenantctl runs PostgreSQL with a schema per tenant.
//!
//! The architecture in a page. A command observes, plans, applies: [`catalog`] reads the live cluster into types,
//! [`plan`] compares that with what is wanted and returns SQL steps as data, [`pg::apply`] runs them in one
//! transaction. `--dry-run` prints the very plan that would be applied.
//!
//! | module | holds | may use, beside `error` and `tenant` |
//! |---|---|---|
//! | [`error`] | the error type, exit codes | |
//! | [`tenant`] | tenant id, schema name, tier, limits, template | |
//! | [`figures`] | numbers for people | |
//! | [`pg`] | connection parameters, TLS, sessions, `Sql` and quoting, SQLSTATE, applying plans | `plan` |
//! | [`plan`] | pure: what must change | `pg::sql` |
//! | [`catalog`] | typed reads | `pg`, `plan`, `backup::manifest` |
//! | [`config`] | `tenant_templates.yaml` | |
//! | [`cli`] | clap types only | |
//! | [`settings`] | flags over environment over files | `cli`, `config`, `pg`, `catalog` |
//! | [`interrupt`] | Ctrl-C and SIGTERM | |
//! | [`installer`] | registry, roles and template into a database | `catalog`, `plan`, `pg` |
//! | [`fleet`] | many tenants at a time over recycled sessions | `pg`, `interrupt` |
//! | [`chunks`] | drops chunks of hypertables, as many at a time as there are locks for | `catalog`, `plan`, `pg`, `interrupt` |
//! | [`credentials`] | the credentials file, passwords encrypted to age keys | `pg` |
//! | [`store`] | where backups lie: a folder or S3 | |
//! | [`backup`] | a tenant's backup: its DDL, rows and manifest | `store`, `catalog`, `chunks`, `credentials`, `fleet`, `plan`, `pg`, `interrupt` |
//! | [`provisioner`] | makes tenants | `catalog`, `credentials`, `fleet`, `plan`, `pg`, `interrupt` |
//! | [`restore`] | tenants from backups | `backup`, `store`, `catalog`, `chunks`, `credentials`, `installer`, `plan`, `pg`, `provisioner`, `interrupt` |
//! | [`rotator`] | gives tenants new passwords | `catalog`, `credentials`, `fleet`, `plan`, `pg`, `interrupt` |
//! | [`validate`] | findings, the checks, the probe | `catalog`, `plan`, `pg`, `config`, `interrupt` |
//! | [`metrics`] | what tenants use, measured, judged and exposed | `catalog`, `config`, `figures`, `pg`, `interrupt` |
//! | [`notify`] | alerts to those who must know | `metrics`, `config`, `pg` |
//! | [`hardener`] | tenants and the database to the standard | `catalog`, `plan`, `pg`, `fleet` |
//! | [`freezer`] | freezes and thaws the writes of tenants | `catalog`, `fleet`, `plan`, `pg`, `interrupt` |
//! | [`retention`] | drops the chunks that a tier keeps no longer | `catalog`, `chunks`, `config`, `fleet`, `plan`, `pg`, `interrupt` |
//! | [`pooler`] | PgBouncer's configuration, its lookup of passwords, its admin console | `catalog`, `config`, `plan`, `pg` |
//! | [`preflight`] | the deployment checklist | `backup`, `catalog`, `config`, `figures`, `metrics`, `notify`, `pg`, `plan`, `pooler`, `provisioner`, `store`, `validate`, `interrupt` |
//! | [`cluster`] | a throw-away cluster for `demo` and the tests | `pg` |
//! | [`mod@bench`] | measurements | all but `commands`, `ui` |
//! | [`ui`] | all terminal code | `cli`, `figures`, `plan` |
//! | [`commands`] | one thin module a subcommand | everything |
//!
//! A test reads the `use crate::` lines and holds this table. Core code never prints.

pub mod backup;
pub mod bench;
pub mod catalog;
pub mod chunks;
pub mod cli;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod credentials;
pub mod error;
pub mod figures;
pub mod fleet;
pub mod freezer;
pub mod hardener;
pub mod installer;
pub mod interrupt;
pub mod metrics;
pub mod notify;
pub mod pg;
pub mod plan;
pub mod pooler;
pub mod preflight;
pub mod provisioner;
pub mod restore;
pub mod retention;
pub mod rotator;
pub mod settings;
pub mod store;
pub mod tenant;
pub mod ui;
pub mod validate;

use cli::Cli;
use commands::Status;
use error::ErrorKind;
use interrupt::Interrupt;
use ui::Ui;

/// Runs a parsed command line to its exit code. Prints results to stdout and errors to stderr.
pub async fn run(cli: Cli, interrupt: Interrupt) -> u8 {
    ui::log::install(&cli.global);
    let ui = Ui::new(&cli.global);
    let mut critical = None;
    let result = commands::dispatch(&cli, &ui, &interrupt, &mut critical).await;
    let code = match result {
        Ok(Status::Stopped) => Status::Stopped.code(),
        Ok(_) if interrupt.requested() => ErrorKind::Interrupted.exit_code(),
        Ok(status) => status.code(),
        Err(error) => {
            ui.error(&error);
            error.kind().exit_code()
        }
    };
    if let Some(critical) = critical {
        critical.tell(&ui, &interrupt).await;
    }
    code
}
