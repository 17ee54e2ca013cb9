//! `pgbouncer`: writes PgBouncer's configuration, sets its lookup of passwords up, has it reload.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::{Context, Status};
use crate::cli::PgbouncerArgs;
use crate::error::{Error, ErrorKind, Result};
use crate::pg::apply::apply;
use crate::pg::console::Console;
use crate::pg::password::Password;
use crate::pg::session::Session;
use crate::plan::Plan;
use crate::plan::pooler::{self as plans, Observed};
use crate::pooler::console::{self, Difference, Running};
use crate::pooler::files::{self, Change, Staged, Wanted};
use crate::pooler::lookup::{self, Userlist};
use crate::pooler::safety::{self, Concern, Verdict};
use crate::pooler::version::Version;
use crate::pooler::{Fleet, INI_FILE, USERLIST_FILE, USERS_FILE, USUAL_FOLDER, ini, settings};
use crate::tenant::POOLER_ROLE;
use crate::ui::{Render, Ui, count};

/// What was found and done.
#[derive(Debug, Serialize)]
pub struct Report {
    /// The version that was written for.
    pub pgbouncer_version: String,
    /// `session` or `transaction`.
    pub pool_mode: &'static str,
    /// Tenants that may log in through it.
    pub tenants: usize,
    /// What was changed in the database.
    pub setup: Vec<String>,
    /// Whether the pooler's role has a new password.
    pub rotated: bool,
    /// The files.
    pub files: Vec<Change>,
    /// Whether a running PgBouncer has read them.
    pub reloaded: bool,
    /// What runs otherwise until PgBouncer is restarted.
    pub needs_restart: Vec<Difference>,
    /// What is not as it should be.
    pub warnings: Vec<Concern>,
}

impl Render for Report {
    fn text(&self, _: &Ui) -> String {
        let mut text = format!(
            "for PgBouncer {}, {} mode, {}\n",
            self.pgbouncer_version,
            self.pool_mode,
            count(self.tenants, "tenant")
        );
        for change in &self.setup {
            text.push_str(&format!("database  {change}\n"));
        }
        for file in &self.files {
            let lines = match file.status {
                "changed" => format!(" (+{} -{} lines)", file.added, file.removed),
                _ => String::new(),
            };
            text.push_str(&format!("{:<9} {}{lines}\n", file.status, file.path.display()));
        }
        if self.reloaded {
            text.push_str("reloaded  what runs is what was written\n");
        }
        for difference in &self.needs_restart {
            text.push_str(&format!(
                "restart   {} is {} until PgBouncer is restarted, then {}\n",
                difference.what, difference.running, difference.written
            ));
        }
        text.trim_end().to_owned()
    }
}

/// The file for whoever writes it somewhere themselves.
#[derive(Serialize)]
struct Printed {
    pgbouncer_version: String,
    pgbouncer_ini: String,
    warnings: Vec<Concern>,
}

impl Render for Printed {
    fn text(&self, _: &Ui) -> String {
        self.pgbouncer_ini.trim_end().to_owned()
    }
}

/// What would be done.
#[derive(Serialize)]
struct DryRun {
    plan: Vec<Plan>,
    files: Vec<Change>,
}

impl Render for DryRun {
    fn text(&self, ui: &Ui) -> String {
        let mut parts: Vec<String> = self.plan.iter().map(ToString::to_string).collect();
        for file in &self.files {
            let mut part = format!("-- {}: {}", file.path.display(), file.status);
            for line in &file.diff {
                let line = if line.starts_with('+') {
                    ui.good(line)
                } else {
                    ui.bad(line)
                };
                part.push_str(&format!("\n{line}"));
            }
            parts.push(part);
        }
        parts.join("\n\n")
    }
}

/// Runs the command.
///
/// # Errors
/// A configuration that is unsafe with this version; missing rights; a server, console or folder that refuses.
pub async fn run(ctx: &Context<'_>, args: &PgbouncerArgs) -> Result<Status> {
    let policy = &ctx.settings.config.pgbouncer;
    let tiers: Vec<&str> = ctx.settings.config.tiers.iter().map(|tier| tier.key.as_str()).collect();
    lookup::require_known_tiers(policy, &tiers)?;
    let console = match args.reload {
        true => Some(reach(ctx, args).await?),
        false => None,
    };
    let running = match &console {
        Some(console) => Some(console::look(console).await?),
        None => None,
    };
    let version = version(ctx, args, running.as_ref()).await?;
    settings::require_known(policy, version)?;
    let session = ctx.settings.registry(args.setup && !args.dry_run).await?;
    let fleet = lookup::fleet(&session, &ctx.settings.config.cluster.replicas).await?;
    let concerns = safety::judge(policy, version, &fleet);
    safety::require_safe(&concerns)?;
    for concern in &concerns {
        ctx.ui
            .warn(&format!("{}: {}. {}", concern.what, concern.why, concern.hint));
    }
    let job = Job {
        ctx,
        args,
        version,
        fleet,
        concerns,
    };
    let Some(out) = &args.out else {
        return job.without_files(session).await;
    };
    let folder = absolute(out)?;
    if let Some(running) = &running {
        running.require_file(&folder.join(INI_FILE))?;
    }
    job.with_files(session, &folder, console).await
}

/// The console, or what to do to reach it.
async fn reach(ctx: &Context<'_>, args: &PgbouncerArgs) -> Result<Console> {
    let connector = console::connector(args.admin_url.as_deref(), &ctx.settings.config.pgbouncer)?;
    Console::connect(&connector).await.map_err(|error| {
        error.with_message("cannot reach the admin console of PgBouncer").with_hint(
            "Run tenantctl as the Unix user that PgBouncer runs as, or name the console with --admin-url and a user of admin_users.",
        )
    })
}

/// The version to write for: as it was said, else as it runs, else as it is installed.
async fn version(ctx: &Context<'_>, args: &PgbouncerArgs, running: Option<&Running>) -> Result<Version> {
    let said = args.pgbouncer_version.as_deref().map(Version::parse).transpose()?;
    if let (Some(said), Some(running)) = (said, running)
        && said != running.version
    {
        return Err(
            Error::usage(format!("PgBouncer {} runs there, not {said}", running.version))
                .with_hint("Leave --pgbouncer-version out with --reload."),
        );
    }
    if let Some(version) = said.or(running.map(|running| running.version)) {
        return Ok(version);
    }
    if let Some(version) = Version::installed().await {
        return Ok(version);
    }
    ctx.ui.warn(&format!(
        "no PgBouncer is installed here, so its version is not known: written for {}, without limits by tenant. --pgbouncer-version says which it is",
        lookup::ASSUMED
    ));
    Ok(lookup::ASSUMED)
}

/// The folder by its whole name, as PgBouncer may be started from anywhere.
fn absolute(out: &Path) -> Result<PathBuf> {
    let unusable = || Error::usage(format!("{} cannot be written to", out.display()));
    let folder = out
        .canonicalize()
        .or_else(|_| std::path::absolute(out))
        .map_err(|e| unusable().with_cause(e))?;
    match folder.to_str() {
        Some(text) if !text.chars().any(char::is_control) && text.trim() == text => Ok(folder),
        _ => Err(unusable().with_hint("PgBouncer reads the folder's name in its configuration: use plain text.")),
    }
}

/// What all steps need.
struct Job<'a> {
    ctx: &'a Context<'a>,
    args: &'a PgbouncerArgs,
    version: Version,
    fleet: Fleet,
    concerns: Vec<Concern>,
}

impl Job<'_> {
    /// Prints the file, or sets the lookup up and nothing else.
    async fn without_files(self, session: Session) -> Result<Status> {
        let policy = &self.ctx.settings.config.pgbouncer;
        if !self.args.setup {
            self.warn_of_lookup(&lookup::observe(&session).await?);
            let users = ini::users_file(policy, self.version, &self.fleet);
            let text = ini::main_file(policy, self.version, &self.fleet, USUAL_FOLDER, Some(&users))?;
            self.ctx.ui.result(&Printed {
                pgbouncer_version: self.version.to_string(),
                pgbouncer_ini: text,
                warnings: self.concerns,
            })?;
            return Ok(Status::Done);
        }
        let (now, plan) = self.plan(&session).await?;
        if self.args.dry_run {
            if plan.is_empty() {
                self.ctx.ui.note("nothing to do: the lookup is as it is to be");
            }
            let plan = if plan.is_empty() { Vec::new() } else { vec![plan] };
            self.ctx.ui.result(&DryRun {
                plan,
                files: Vec::new(),
            })?;
            return Ok(Status::Done);
        }
        lookup::require_superuser(&now, &session.server().user, &plan)?;
        let setup = run_plan(&session, &plan).await?;
        if !now.role_exists {
            self.ctx.ui.note(&format!(
                "{POOLER_ROLE} has no password yet: --setup --out DIR gives it one, in DIR/{USERLIST_FILE}"
            ));
        }
        self.report(setup, false, Vec::new(), None)
    }

    /// Sets the lookup up where asked to, writes the files, has a running PgBouncer read them.
    async fn with_files(self, session: Session, folder: &Path, console: Option<Console>) -> Result<Status> {
        let old = files::read(&folder.join(USERLIST_FILE))?.unwrap_or_default();
        let list = Userlist::read(&old)?;
        let (now, plan) = self.plan(&session).await?;
        let mut setup = Vec::new();
        if self.args.setup {
            lookup::require_ours(&now)?;
            if !self.args.dry_run {
                lookup::require_superuser(&now, &session.server().user, &plan)?;
                setup = run_plan(&session, &plan).await?;
            }
        } else {
            self.warn_of_lookup(&now);
        }
        let fits = match &list.password {
            // Before the role may log in, nothing can be said of its password.
            Some(_) if self.args.dry_run && !plan.is_empty() => true,
            Some(password) => lookup::logs_in(&self.ctx.settings.connector, password).await?,
            None => false,
        };
        let new = (self.args.setup && (self.args.rotate || !fits)).then(Password::generate);
        if !fits && new.is_none() {
            self.ctx.ui.warn(&format!(
                "{USERLIST_FILE} has no password with which {POOLER_ROLE} can log in, so nobody can log in through PgBouncer: --setup gives it one"
            ));
        }
        let wanted = self.files(folder, new.as_ref().or(list.password.as_ref()), &list.others)?;
        let changes = files::compare(folder, &wanted)?;
        let verifier = new.as_ref().map(Password::verifier);
        if self.args.dry_run {
            return self.dry_run(&now, plan, verifier.as_deref(), changes);
        }
        // First beside their places, as a password must not be set that cannot be written down.
        let staged = Staged::write(folder, &wanted, &changes)?;
        if let Some(verifier) = &verifier {
            setup.extend(self.set_password(verifier).await?);
            if now.role_exists {
                self.ctx.ui.warn(&format!(
                    "{POOLER_ROLE} has another password now: a PgBouncer that reads another {USERLIST_FILE} can look nobody up until it has the one of {}",
                    folder.display()
                ));
            }
        }
        let before = files::before(&wanted, &changes)?;
        staged.commit()?;
        self.warn_of_owner(&changes);
        let differences = match &console {
            None => None,
            Some(console) => match self.reload(console, folder).await {
                Ok(differences) => Some(differences),
                // What it could not read has left it with defaults of its own, such as another way to authenticate.
                Err(error) => return Err(take_back(console, folder, &before, error).await),
            },
        };
        self.report(setup, new.is_some(), changes, differences)
    }

    /// What differs of the lookup, but for the password.
    async fn plan(&self, session: &Session) -> Result<(Observed, Plan)> {
        let now = lookup::observe(session).await?;
        let plan = plans::plan(
            &now,
            None,
            self.ctx.settings.timeout(),
            self.ctx.settings.lock_timeout(),
        );
        if self.args.setup {
            lookup::require_ours(&now)?;
        }
        Ok((now, plan))
    }

    /// Sets the role's password over a session that keeps out of the server's log.
    async fn set_password(&self, verifier: &str) -> Result<Vec<String>> {
        let session = self.ctx.settings.connector.discreet().connect().await?;
        let now = lookup::observe(&session).await?;
        let plan = plans::plan(
            &now,
            Some(verifier),
            self.ctx.settings.timeout(),
            self.ctx.settings.lock_timeout(),
        );
        lookup::require_superuser(&now, &session.server().user, &plan)?;
        run_plan(&session, &plan).await
    }

    fn files(&self, folder: &Path, password: Option<&Password>, others: &[String]) -> Result<Vec<Wanted>> {
        let policy = &self.ctx.settings.config.pgbouncer;
        // PgBouncer has read its text as UTF-8 before: absolute() saw to that.
        let place = folder.to_string_lossy();
        let file = |name, text, mode| Wanted {
            name,
            text,
            mode,
            secret: name == USERLIST_FILE,
        };
        let mut wanted = Vec::new();
        // What the main file refers to stands there before it does.
        if let Some(password) = password {
            wanted.push(file(USERLIST_FILE, ini::userlist(password, others), 0o600));
        }
        wanted.push(file(
            USERS_FILE,
            ini::users_file(policy, self.version, &self.fleet),
            0o640,
        ));
        let main = ini::main_file(policy, self.version, &self.fleet, &place, None)?;
        wanted.push(file(INI_FILE, main, 0o640));
        Ok(wanted)
    }

    fn dry_run(&self, now: &Observed, plan: Plan, verifier: Option<&str>, files: Vec<Change>) -> Result<Status> {
        let settings = &self.ctx.settings;
        let plan = match (self.args.setup, verifier) {
            (false, _) => Vec::new(),
            (true, None) => vec![plan],
            (true, verifier) => vec![plans::plan(now, verifier, settings.timeout(), settings.lock_timeout())],
        };
        let plan: Vec<Plan> = plan.into_iter().filter(|plan| !plan.is_empty()).collect();
        let files: Vec<Change> = files.into_iter().filter(|file| file.status != "unchanged").collect();
        if plan.is_empty() && files.is_empty() {
            self.ctx.ui.note("nothing to do: all of it is as it is to be");
        }
        if self.args.reload {
            self.ctx.ui.note("PgBouncer would be told to reload");
        }
        self.ctx.ui.result(&DryRun { plan, files })?;
        Ok(Status::Done)
    }

    /// Has PgBouncer read its files, and holds what it then says against what was written.
    async fn reload(&self, console: &Console, folder: &Path) -> Result<Vec<Difference>> {
        let policy = &self.ctx.settings.config.pgbouncer;
        console::reload(console).await?;
        let written = settings::written(policy, self.version, &self.fleet, &folder.to_string_lossy());
        let databases = ini::databases(policy, &self.fleet)?;
        let running = console::look(console).await?;
        let (later, wrong): (Vec<_>, Vec<_>) = running
            .differences(&written, &databases, &self.fleet)
            .into_iter()
            .partition(|difference| difference.needs_restart);
        let Some(first) = wrong.first() else { return Ok(later) };
        let more = wrong.len() - 1;
        let more = if more > 0 {
            format!(", and {} beside it", count(more, "other"))
        } else {
            String::new()
        };
        Err(
            Error::new(ErrorKind::Unknown, "PgBouncer did not take its new configuration").with_cause(format!(
                "{} is {}, where {} was written{more}",
                first.what, first.running, first.written
            )),
        )
    }

    /// A password file of root's is one that PgBouncer, which does not run as root, cannot read.
    fn warn_of_owner(&self, changes: &[Change]) {
        use std::os::unix::fs::MetadataExt;
        let of_root = |change: &&Change| std::fs::metadata(&change.path).is_ok_and(|file| file.uid() == 0);
        if let Some(change) = changes.iter().find(of_root) {
            self.ctx.ui.warn(&format!(
                "{} belongs to root, and PgBouncer does not run as root: chown the files to the user that it runs as",
                change.path.display()
            ));
        }
    }

    fn warn_of_lookup(&self, now: &Observed) {
        let broken = match now.broken_lookup() {
            None if now.role_exists && now.granted && now.may_connect && now.may_use_registry => return,
            None => "its role or a right of its role is missing",
            Some(why) => why,
        };
        self.ctx.ui.warn(&format!(
            "the lookup tenantctl.{} cannot be used, so tenants cannot log in through PgBouncer: {broken}. `tenantctl pgbouncer --setup` makes it",
            plans::LOOKUP
        ));
    }

    fn report(
        self,
        setup: Vec<String>,
        rotated: bool,
        files: Vec<Change>,
        differences: Option<Vec<Difference>>,
    ) -> Result<Status> {
        if !files.is_empty() && differences.is_none() && files.iter().any(|file| file.status != "unchanged") {
            self.ctx
                .ui
                .note("PgBouncer reads its files when it starts, and with --reload or RELOAD");
        }
        let reloaded = differences.is_some();
        self.ctx.ui.result(&Report {
            pgbouncer_version: self.version.to_string(),
            pool_mode: self.ctx.settings.config.pgbouncer.pool_mode.as_str(),
            tenants: self.fleet.tenants.len(),
            setup,
            rotated,
            files,
            reloaded,
            needs_restart: differences.unwrap_or_default(),
            warnings: self
                .concerns
                .into_iter()
                .filter(|c| c.verdict == Verdict::Warning)
                .collect(),
        })?;
        Ok(Status::Done)
    }
}

/// Puts the files of before into their places again and has PgBouncer load them; returns the error with what came of it.
async fn take_back(console: &Console, folder: &Path, before: &[Wanted], error: Error) -> Error {
    let back = async {
        let changes = files::compare(folder, before)?;
        Staged::write(folder, before, &changes)?.commit()?;
        console::reload(console).await
    };
    match back.await {
        _ if before.is_empty() => error.with_hint("Look into PgBouncer's log. There were no other files before that could be loaded again."),
        Ok(()) => error.with_hint("Look into PgBouncer's log. The files of before are in their places again, and loaded."),
        Err(worse) => error.with_hint(format!(
            "Look into PgBouncer's log, and do not leave it so: it may run with defaults of its own. The files of before could not be loaded again: {}.",
            worse.one_line()
        )),
    }
}

/// Applies a plan and says what its steps were for.
async fn run_plan(session: &Session, plan: &Plan) -> Result<Vec<String>> {
    if plan.is_empty() {
        return Ok(Vec::new());
    }
    apply(session, plan).await.map_err(|failure| failure.error)?;
    let steps = plan.steps.iter().map(|step| step.what.to_string());
    Ok(steps.filter(|what| what != "record the operation").collect())
}
