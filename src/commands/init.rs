//! `init`: makes a database ready for tenants, or brings it up to date.

use serde::Serialize;

use super::{Context, Plans, Status};
use crate::catalog;
use crate::cli::InitArgs;
use crate::error::Result;
use crate::installer;
use crate::pg::session::Session;
use crate::plan::hardening::{Verdict, judge};
use crate::plan::init::MIGRATIONS;
use crate::tenant::{ModuleObjects, Template};
use crate::ui::{Render, Ui, count};

/// What `init` found and did.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The database.
    pub database: String,
    /// Whether anything was changed.
    pub changed: bool,
    /// The registry's version now.
    pub registry_version: i32,
    /// The registry migrations applied by this run.
    pub migrations_applied: Vec<&'static str>,
    /// The template's name.
    pub template: String,
    /// Its version now.
    pub template_version: i32,
    /// Whether this run installed that version.
    pub template_installed: bool,
    /// Its modules.
    pub modules: Vec<String>,
    /// Whether new tenants get hypertables.
    pub timescaledb: bool,
    /// The database-wide lines of the hardening standard.
    pub hardening: Vec<Verdict>,
}

impl Render for Report {
    fn text(&self, ui: &Ui) -> String {
        let mut text = format!(
            "database {} {}\n",
            self.database,
            if self.changed {
                "is ready for tenants"
            } else {
                "was ready for tenants already; nothing changed"
            }
        );
        text.push_str(&format!(
            "registry  version {}{}\n",
            self.registry_version,
            if self.migrations_applied.is_empty() {
                String::new()
            } else {
                format!(", applied {}", self.migrations_applied.join(", "))
            }
        ));
        text.push_str(&format!(
            "template  {} version {}{}, {}\n",
            self.template,
            self.template_version,
            if self.template_installed { " installed" } else { "" },
            count(self.modules.len(), "module")
        ));
        text.push_str(&format!(
            "storage   {}\n",
            if self.timescaledb {
                "TimescaleDB hypertables"
            } else {
                "plain tables (TimescaleDB is not installed in this database)"
            }
        ));
        text.push_str("hardening");
        for verdict in &self.hardening {
            if verdict.met {
                text.push_str(&format!("\n  {}    {}", ui.good("met"), verdict.demands));
            } else if !verdict.wanted {
                text.push_str(&format!(
                    "\n  off    {} (not wanted by the configuration)",
                    verdict.demands
                ));
            } else {
                text.push_str(&format!(
                    "\n  {}  {} (takes {})",
                    ui.bad("unmet"),
                    verdict.demands,
                    verdict.needs
                ));
            }
        }
        text
    }
}

/// Runs the command.
///
/// # Errors
/// When rights are missing, when something of our name is not ours, or when a template breaks a rule.
pub async fn run(ctx: &Context<'_>, args: &InitArgs) -> Result<Status> {
    let template = ctx.settings.config.template()?;
    let session = ctx.settings.connector.connect().await?;
    session.server().require_writable()?;
    if args.dry_run {
        let plan = installer::plan(&session, &template, ctx.settings.lock_timeout()).await?;
        if plan.is_empty() {
            ctx.ui.note("nothing to do");
        }
        ctx.ui.result(&Plans { plan })?;
        return Ok(Status::Done);
    }
    let report = install(ctx, &session, &template).await?;
    ctx.ui.result(&report)?;
    if report.hardening.iter().any(|v| !v.met && v.wanted) {
        ctx.ui.note(
            "unmet lines change what other users of this cluster may do, so init leaves them: `tenantctl secure --database --dry-run` shows the SQL, without --dry-run runs it",
        );
    }
    Ok(Status::Done)
}

/// Installs, and reports how far the database meets the hardening standard.
///
/// # Errors
/// See [`run`].
pub async fn install(ctx: &Context<'_>, session: &Session, template: &Template) -> Result<Report> {
    let audit = &ctx.settings.config.audit;
    let accept = |objects: &ModuleObjects| audit.require_known(objects).and_then(|()| audit.of(objects).map(drop));
    let done = installer::install(session, template, &accept, ctx.settings.lock_timeout()).await?;
    if !done.template_installed
        && let Some(installed) = catalog::template::installed(session, &template.name).await?
    {
        accept(&installed.modules.iter().map(|m| &m.objects).collect())?;
    }
    let database = session.server().database.clone();
    Ok(Report {
        changed: done.changed,
        registry_version: MIGRATIONS.len() as i32,
        migrations_applied: done.migrations_applied,
        template: template.name.clone(),
        template_version: done.template_version,
        template_installed: done.template_installed,
        modules: template.modules.iter().map(|m| m.name.clone()).collect(),
        timescaledb: done.timescaledb,
        hardening: judge(
            &catalog::hardening::read(session).await?,
            &ctx.settings.config.hardening.off,
            &database,
        ),
        database,
    })
}
