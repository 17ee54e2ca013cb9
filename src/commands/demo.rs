//! `demo`: the whole story on a throw-away cluster.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use serde::Serialize;
use tokio_postgres::types::Type;

use super::metrics::text::Order;
use super::{Context, Status};
use crate::catalog::{self, backups};
use crate::cli::{DemoArgs, Global};
use crate::cluster::{Binaries, Cluster, Options};
use crate::config::Config;
use crate::credentials::vault::Recipients;
use crate::error::{Error, ErrorKind, Result};
use crate::fleet::Work;
use crate::hardener::secure_database;
use crate::interrupt::Interrupt;
use crate::metrics::Fleet;
use crate::pg::conninfo::ConnInfo;
use crate::pg::session::{Connector, Session, SessionLimits, column};
use crate::pg::sql::Sql;
use crate::provisioner::{Provisioned, Request};
use crate::restore::{self, Target};
use crate::settings::Settings;
use crate::tenant::TenantId;
use crate::ui::table::Grid;
use crate::ui::{Render, Ui, bytes, count, milliseconds};
use crate::validate::{checks, run};

/// The demo's database.
const DATABASE: &str = "tradesage";

/// Its tenants and their tiers.
const TENANTS: [(&str, &str); 3] = [("acme", "basic"), ("globex", "professional"), ("initech", "enterprise")];

/// What the demo did, as it is printed step by step; whole in JSON.
#[derive(Debug, Default, Serialize)]
pub struct Story {
    /// The server's version.
    pub server_version: String,
    /// Milliseconds of each step.
    pub timings_ms: Vec<(String, f64)>,
    /// The tenants.
    pub tenants: Vec<TenantStory>,
    /// What one tenant tried on another, and what the server said.
    pub attacks: Vec<Attack>,
    /// What `validate --all` said, before and after a mistake.
    pub proofs: Vec<Proof>,
    /// A loss and its recovery.
    pub recovery: Option<Recovery>,
    /// What the tenants use in the end, one of which has reached a limit.
    pub metrics: Option<Fleet>,
    /// How to connect, with `--keep`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
}

/// A tenant that was destroyed, and what a backup gave back.
#[derive(Debug, Serialize)]
pub struct Recovery {
    /// The tenant.
    pub tenant_id: String,
    /// The backup that was restored.
    pub backup_id: String,
    /// Bytes of all backups of the demo in their store.
    pub stored_bytes: u64,
    /// Trades that the tenant counted before it was dropped, 0 once its schema and role are gone, and after the restore.
    pub trades: [i64; 3],
    /// Milliseconds that the restore took.
    pub duration_ms: f64,
    /// Its schema, which has the name that it had.
    pub restored_to: String,
}

impl Recovery {
    fn is_whole(&self) -> bool {
        let [before, lost, after] = self.trades;
        before > 0 && lost == 0 && after == before
    }
}

/// One tenant of the demo.
#[derive(Debug, Serialize)]
pub struct TenantStory {
    /// Its id.
    pub tenant_id: String,
    /// Its tier.
    pub tier: String,
    /// Its schema.
    pub schema_name: String,
    /// Milliseconds to make it.
    pub provisioning_time_ms: f64,
    /// Rows by table, counted by the tenant itself.
    pub rows: Vec<(String, i64)>,
    /// Bytes of its tables.
    pub size_bytes: i64,
}

/// One attempt.
#[derive(Debug, Serialize)]
pub struct Attack {
    /// In words.
    pub attempt: &'static str,
    /// What the server answered.
    pub answer: String,
    /// Whether that was a refusal.
    pub refused: bool,
}

/// One run of `validate --all`.
#[derive(Debug, Serialize)]
pub struct Proof {
    /// When.
    pub when: &'static str,
    /// Checks that were run to their end.
    pub checks: usize,
    /// What was found about tenants, as sentences.
    pub findings: Vec<String>,
    /// Whether that is what was to be found.
    pub as_expected: bool,
}

/// A cluster left running.
#[derive(Debug, Serialize)]
pub struct Kept {
    /// For `--database-url`.
    pub database_url: String,
    /// The folder to remove in the end.
    pub dir: PathBuf,
    /// Stops the server and removes the folder.
    pub stop: String,
}

impl Render for Story {
    fn text(&self, ui: &Ui) -> String {
        let mut text = String::new();
        let mut grid = Grid::new(
            ui,
            &[
                "tenant",
                "tier",
                ">made in",
                "schema",
                ">portfolios",
                ">positions",
                ">trades",
                ">bars",
                ">size",
            ],
        );
        for t in &self.tenants {
            let mut row = vec![
                t.tenant_id.clone(),
                t.tier.clone(),
                milliseconds(t.provisioning_time_ms),
                t.schema_name.clone(),
            ];
            row.extend(t.rows.iter().map(|(_, n)| n.to_string()));
            row.push(bytes(t.size_bytes.max(0) as u64));
            grid.row(row);
        }
        text.push_str(&grid.render());
        text.push_str(&format!(
            "\n\n{}\n",
            ui.bold("acme, logged in with its own password, tries globex's data:")
        ));
        for a in &self.attacks {
            let verdict = if a.refused {
                ui.good("refused")
            } else {
                ui.bad("SUCCEEDED")
            };
            text.push_str(&format!("  {:<42} {verdict}  {}\n", a.attempt, ui.dim(&a.answer)));
        }
        text.push_str(&format!(
            "\n{}\n",
            ui.bold("The proof of isolation, in the live database:")
        ));
        for p in &self.proofs {
            let found = match p.findings.len() {
                0 => "nothing found on any tenant".to_owned(),
                n => format!("{} found", count(n, "hole")),
            };
            let verdict = if p.as_expected { ui.good(&found) } else { ui.bad(&found) };
            text.push_str(&format!("  {:<42} {verdict} by {}\n", p.when, count(p.checks, "check")));
            for finding in &p.findings {
                text.push_str(&format!("    {}\n", ui.dim(finding)));
            }
        }
        if let Some(r) = &self.recovery {
            let [before, lost, after] = r.trades;
            text.push_str(&format!(
                "\n{}\n",
                ui.bold("A tenant is destroyed, with its schema and its role, and comes back:")
            ));
            let verdict = if r.is_whole() {
                ui.good("restored")
            } else {
                ui.bad("NOT RESTORED")
            };
            text.push_str(&format!(
                "  {before} trades of {} backed up, {lost} left by `drop`, {after} {verdict} from {}\n    {}\n",
                r.tenant_id,
                r.backup_id,
                ui.dim(&format!(
                    "{} in the store for all tenants; schema {} and its role are back after {}, verified, with a new password",
                    bytes(r.stored_bytes),
                    r.restored_to,
                    milliseconds(r.duration_ms)
                ))
            ));
        }
        if let Some(fleet) = &self.metrics {
            text.push_str(&format!(
                "\n{}\n{}\n\n{}\n",
                ui.bold("What the tenants use, after one of them has made all the portfolios of its tier:"),
                super::metrics::text::table(ui, &fleet.tenants, &Order::default(), None),
                super::metrics::text::alerts(ui, &fleet.alerts, true, None)
            ));
        }
        text.push_str(&format!("\n{}\n", ui.bold("Timings")));
        for (what, ms) in &self.timings_ms {
            text.push_str(&format!("  {what:<42} {:>10}\n", milliseconds(*ms)));
        }
        if let Some(kept) = &self.kept {
            text.push_str(&format!(
                "\nThe cluster keeps running. To look around, and to end it:\n  export DATABASE_URL='{}'\n  tenantctl list\n  psql \"$DATABASE_URL\"\n  {}\n",
                kept.database_url, kept.stop
            ));
        }
        text.trim_end().to_owned()
    }
}

/// A stopwatch that writes into the story.
struct Steps<'a> {
    ui: &'a Ui,
    started: Instant,
    timings: Vec<(String, f64)>,
}

impl Steps<'_> {
    fn done(&mut self, what: &str) {
        let ms = self.started.elapsed().as_secs_f64() * 1000.0;
        self.ui.note(&format!("{what} ({})", milliseconds(ms)));
        self.timings.push((what.to_owned(), ms));
        self.started = Instant::now();
    }
}

/// Runs the command.
///
/// # Errors
/// When there is no PostgreSQL on this machine, or any step fails. An attack that succeeds is not an error but exit 1.
pub async fn run(ui: &Ui, interrupt: &Interrupt, global: &Global, args: &DemoArgs) -> Result<Status> {
    let mut steps = Steps {
        ui,
        started: Instant::now(),
        timings: Vec::new(),
    };
    let binaries = Binaries::find()?;
    // initdb takes a second; Ctrl-C must be heard meanwhile. The cluster cleans up when it is dropped.
    let cluster = tokio::task::spawn_blocking(move || Cluster::start(&binaries, &Options::default()))
        .await
        .map_err(|e| Error::new(ErrorKind::Unknown, "cannot start the cluster").with_cause(e))??;
    steps.done("started a PostgreSQL cluster");

    let ctx = Context {
        settings: settings(global, &cluster).await?,
        ui,
        interrupt,
    };
    let session = ctx.settings.connector.connect().await?;
    super::init::install(&ctx, &session, &ctx.settings.config.template()?).await?;
    steps.done("init: registry, owner role, template");

    let made = provision(&ctx, &session).await?;
    steps.done("provision: three tenants of three tiers");

    let mut story = Story {
        server_version: session.server().version.clone(),
        ..Story::default()
    };
    let mut logins = Vec::new();
    for tenant in &made {
        let login = login(&ctx, &cluster, tenant).await?;
        login
            .batch(
                &Sql::new(include_str!("../../sql/demo/trading_data.sql")),
                "load the demo's data",
            )
            .await?;
        logins.push(login);
    }
    steps.done("load: trading data, by each tenant itself");

    for (tenant, login) in made.iter().zip(&logins) {
        story.tenants.push(describe(&session, login, tenant).await?);
    }
    if let [attacker, victim, ..] = &made[..] {
        story.attacks = attack(&logins[0], attacker, victim).await?;
    }
    steps.done("attack: one tenant against another");
    drop(logins);

    let hardener = super::secure::hardener(&ctx, &session);
    secure_database(&session, |_| true, &hardener).await?;
    steps.done("secure: the database, line by line");
    story
        .proofs
        .push(proof(&ctx, "hardened", |found| found.is_empty()).await?);
    steps.done("validate: every check over every tenant");
    if let [neighbour, victim, ..] = &made[..] {
        mistake(&session, neighbour, victim).await?;
        let trades = format!("table {}.trades", victim.schema_name);
        story.proofs.push(
            proof(&ctx, "after a mistaken GRANT to the neighbour", |found| {
                !found.is_empty()
                    && found
                        .iter()
                        .all(|f| f.contains(&trades) || f.contains(victim.schema_name.as_str()))
            })
            .await?,
        );
        let tenant = catalog::tenants::find_one(&session, &victim.tenant_id).await?;
        for planned in hardener.plan(&session, &[tenant]).await? {
            hardener.one(&session, &planned).await?;
        }
        story
            .proofs
            .push(proof(&ctx, "after secure", |found| found.is_empty()).await?);
        steps.done("a mistake: found, mended, proven");
    }
    if let Some(tenant) = made.first() {
        let (recovered, login) = recovery(&ctx, &cluster, &session, &made, tenant).await?;
        story.recovery = Some(recovered);
        steps.done("backup of all, a tenant destroyed, a restore");
        story
            .proofs
            .push(proof(&ctx, "after the restore", |found| found.is_empty()).await?);
        steps.done("validate: every check over every tenant, again");
        let sql = Sql::new(
            "INSERT INTO portfolios (user_id, name) VALUES ('00000000-0000-4000-8000-000000000005', 'The last one')",
        );
        login.batch(&sql, "make the last portfolio").await?;
        story.metrics = Some(super::metrics::of_all(&ctx, &session).await?);
        steps.done("metrics: sizes, rows, limits, alerts");
    }
    drop(session);

    if args.keep {
        story.kept = Some(Kept {
            database_url: cluster.url(Cluster::SUPERUSER, DATABASE),
            dir: cluster.dir().to_owned(),
            stop: cluster.stop_command(),
        });
        story.timings_ms = steps.timings;
        // Told first: a cluster that nobody knows of is not kept.
        ui.must_result(&story)
            .map_err(|e| Error::new(ErrorKind::Store, "cannot write to stdout").with_cause(e))?;
        cluster.keep();
    } else {
        drop(cluster);
        steps.done("stopped the cluster and removed its files");
        story.timings_ms = steps.timings;
        ui.result(&story)?;
    }
    Ok(
        if story.attacks.iter().all(|a| a.refused)
            && story.proofs.iter().all(|p| p.as_expected)
            && story.recovery.as_ref().is_none_or(Recovery::is_whole)
            && story.metrics.as_ref().is_none_or(is_as_made)
        {
            Status::Done
        } else {
            Status::Partly
        },
    )
}

/// Whether the metrics say what the demo did: every size is known, and the one limit that was reached is the one alert.
fn is_as_made(fleet: &Fleet) -> bool {
    let alerts: Vec<_> = fleet
        .alerts
        .iter()
        .map(|a| (a.alert_type.as_str(), a.tenant_id.as_ref().map(TenantId::as_str)))
        .collect();
    fleet.tenants.iter().all(|t| t.database.size_bytes.is_some())
        && alerts == [("portfolio_limit", TENANTS.first().map(|(id, _)| *id))]
}

/// Makes the demo's database, and settings that lead to it and nowhere else.
async fn settings(global: &Global, cluster: &Cluster) -> Result<Settings> {
    let resolve = |url: String| ConnInfo::resolve(Some(&url), &|_| None);
    let connector = |info| Connector::new(info, "tenantctl demo", SessionLimits::default());
    let maintenance = connector(resolve(cluster.url(Cluster::SUPERUSER, "postgres"))?)
        .connect()
        .await?;
    maintenance
        .batch(
            &Sql::new("CREATE DATABASE ").ident(DATABASE),
            "make the demo's database",
        )
        .await?;
    let config = match &global.config {
        Some(path) => Config::load(Some(path))?,
        None => Config::builtin()?,
    };
    Ok(Settings {
        config,
        connector: connector(resolve(cluster.url(Cluster::SUPERUSER, DATABASE))?),
    })
}

async fn provision(ctx: &Context<'_>, session: &Session) -> Result<Vec<Provisioned>> {
    let provisioner = super::provision::provisioner(ctx, session, &Arc::default()).await?;
    let mut requests = Vec::new();
    for (id, tier) in TENANTS {
        requests.push(Request {
            id: id.parse()?,
            tier: Arc::new(ctx.settings.config.tier(tier)?.clone()),
        });
    }
    let mut made = Vec::new();
    for request in &requests {
        made.push(provisioner.provision(session, request, None).await?);
    }
    Ok(made)
}

/// A session of the tenant's own, with its password and its search path.
async fn login(ctx: &Context<'_>, cluster: &Cluster, tenant: &Provisioned) -> Result<Session> {
    let password = tenant.password.as_ref().map(|p| p.reveal().to_owned());
    let url = cluster.url(&tenant.role_name, DATABASE);
    let info = ConnInfo::resolve(Some(&url), &|name| password.clone().filter(|_| name == "PGPASSWORD"))?;
    let session = ctx.settings.connector.with_info(info).connect().await?;
    // What every application of the tenant gets: the role's own settings, not those of an admin's session.
    session
        .batch(
            &Sql::new("RESET search_path; RESET row_security; RESET statement_timeout"),
            "become the tenant",
        )
        .await?;
    Ok(session)
}

async fn describe(admin: &Session, login: &Session, tenant: &Provisioned) -> Result<TenantStory> {
    let count = Sql::new(
        "SELECT (SELECT count(*) FROM portfolios) AS portfolios, (SELECT count(*) FROM positions) AS positions,
    (SELECT count(*) FROM trades) AS trades, (SELECT count(*) FROM market_data) AS market_data",
    );
    let row = login.query_one(&count, &[], "count the tenant's rows").await?;
    let rows = ["portfolios", "positions", "trades", "market_data"]
        .iter()
        .map(|name| Ok(((*name).to_owned(), column(&row, name)?)))
        .collect::<Result<_>>()?;
    let registered = catalog::tenants::find_one(admin, &tenant.tenant_id).await?;
    let relations = catalog::tenants::relations(admin, &registered).await?;
    Ok(TenantStory {
        tenant_id: tenant.tenant_id.to_string(),
        tier: tenant.tier.clone(),
        schema_name: tenant.schema_name.to_string(),
        provisioning_time_ms: tenant.provisioning_time_ms,
        rows,
        size_bytes: relations.iter().filter_map(|r| r.bytes).sum(),
    })
}

/// Backs all tenants up, drops one, and restores it; the session is the tenant's own, with its new password.
async fn recovery(
    ctx: &Context<'_>,
    cluster: &Cluster,
    session: &Session,
    all: &[Provisioned],
    tenant: &Provisioned,
) -> Result<(Recovery, Session)> {
    let url = format!("file://{}", cluster.dir().join("backups").display());
    let store = super::backup::open_url(ctx, &url).await?;
    let ids: Vec<TenantId> = all.iter().map(|t| t.tenant_id.clone()).collect();
    let writer = super::backup::writer(ctx, Arc::clone(&store), "manual", Recipients::default())?;
    let mut results = writer.many(ids, ctx.settings.config.backup.jobs, ctx.interrupt);
    let mut stored_bytes = 0;
    let mut wanted = None;
    while let Some((id, done)) = results.recv().await {
        let done = done?;
        stored_bytes += done.stored_bytes;
        wanted = wanted.or((id == tenant.tenant_id).then_some(done.backup_id));
    }
    let backup = wanted.ok_or_else(Error::interrupted)?;
    let owner = login(ctx, cluster, tenant).await?;
    let before = trades(&owner).await?;
    drop(owner);
    let lost = destroy(ctx, session, tenant).await?;
    let row = backups::find_one(session, &backup).await?;
    let source = restore::open(store, &backup, row.as_ref()).await?;
    let restorer = super::restore::for_trial(ctx, Arc::default(), ctx.settings.config.backup.jobs);
    let restored = restorer.restore(&source, &Target::New(source.tenant()), None).await?;
    let recovered = Recovery {
        tenant_id: tenant.tenant_id.to_string(),
        backup_id: backup.to_string(),
        stored_bytes,
        trades: [before, lost, 0],
        duration_ms: restored.duration_ms,
        restored_to: restored.restored_to,
    };
    let again = Provisioned {
        password: restored.password,
        role_name: restored.role_name,
        ..tenant.clone()
    };
    let owner = login(ctx, cluster, &again).await?;
    let after = trades(&owner).await?;
    let trades = [before, lost, after];
    Ok((Recovery { trades, ..recovered }, owner))
}

async fn trades(login: &Session) -> Result<i64> {
    let sql = Sql::new("SELECT count(*) AS trades FROM trades");
    column(&login.query_one(&sql, &[], "count the trades").await?, "trades")
}

/// Drops a tenant once its sessions have ended; how many tables called trades are left of it.
async fn destroy(ctx: &Context<'_>, session: &Session, tenant: &Provisioned) -> Result<i64> {
    let row = catalog::tenants::find_one(session, &tenant.tenant_id).await?;
    super::drop::one(ctx, session, &row).await?;
    let sql = Sql::new(
        "SELECT pg_catalog.count(*) AS tables FROM pg_catalog.pg_tables WHERE schemaname = $1::text AND tablename = 'trades'",
    );
    let schema = tenant.schema_name.as_str();
    let left = session
        .query_one(&sql, &[(&schema, Type::TEXT)], "look for what is left of the tenant")
        .await?;
    column(&left, "tables")
}

/// What an operator does in a hurry.
async fn mistake(session: &Session, neighbour: &Provisioned, victim: &Provisioned) -> Result<()> {
    let sql = Sql::new("GRANT USAGE ON SCHEMA ")
        .ident(victim.schema_name.as_str())
        .text(" TO ")
        .ident(&neighbour.role_name)
        .text("; GRANT SELECT ON ")
        .qualified(victim.schema_name.as_str(), "trades")
        .text(" TO ")
        .ident(&neighbour.role_name);
    session.batch(&sql, "make a mistake").await
}

/// `validate --all`, and whether it says of the tenants what it is to say.
async fn proof(ctx: &Context<'_>, when: &'static str, expected: impl Fn(&[String]) -> bool) -> Result<Proof> {
    let request = run::Request {
        checks: checks::all().iter().filter(|check| !check.is_probed()).collect(),
        scope: run::Scope::All,
        jobs: 2,
        timeout: std::time::Duration::from_secs(60),
    };
    let connector = &ctx.settings.connector;
    let outcome = run::run(connector.connect().await?, connector, &request, ctx.interrupt, || {}).await?;
    let tenants = outcome.findings.iter().filter(|f| f.tenant_id.is_some());
    let findings: Vec<String> = tenants
        .map(|f| format!("{}: {}: {}", f.severity, f.object, f.detail))
        .collect();
    Ok(Proof {
        when,
        checks: outcome.checks.iter().filter(|c| c.status == run::Ended::Done).count(),
        as_expected: expected(&findings) && outcome.unknown.is_empty(),
        findings,
    })
}

/// What a tenant tries on another, each for real.
async fn attack(attacker: &Session, me: &Provisioned, victim: &Provisioned) -> Result<Vec<Attack>> {
    let theirs = victim.schema_name.as_str();
    let own = me.schema_name.as_str();
    let attempts = [
        (
            "read its portfolios",
            Sql::new("SELECT FROM ").qualified(theirs, "portfolios"),
        ),
        (
            "delete its trades",
            Sql::new("DELETE FROM ").qualified(theirs, "trades"),
        ),
        (
            "copy its market data out",
            Sql::new("COPY ").qualified(theirs, "market_data").text(" TO STDOUT"),
        ),
        ("take its role", Sql::new("SET ROLE ").ident(&victim.role_name)),
        ("take the owner's role", Sql::new("SET ROLE tenantctl_owner")),
        ("read the registry", Sql::new("SELECT FROM tenantctl.tenants")),
        (
            "make a function in its own schema",
            Sql::new("CREATE FUNCTION ")
                .qualified(own, "f")
                .text("() RETURNS int LANGUAGE sql AS 'SELECT 1'"),
        ),
        (
            "truncate its own trades",
            Sql::new("TRUNCATE ").qualified(own, "trades"),
        ),
    ];
    let mut attacks = Vec::new();
    for (attempt, sql) in attempts {
        let result = attacker.batch(&sql, attempt).await;
        attacks.push(match result {
            Ok(()) => Attack {
                attempt,
                answer: "no error".into(),
                refused: false,
            },
            Err(error) => Attack {
                attempt,
                refused: error.kind() == ErrorKind::Permission,
                answer: error.cause().unwrap_or_default().to_owned(),
            },
        });
    }
    Ok(attacks)
}
