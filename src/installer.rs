//! Makes a database ready for tenants: roles, registry, migrations, template. Safe to run again at any time.

use std::time::Duration;

use crate::catalog::template::Fingerprint;
use crate::catalog::{self, foundation, template};
use crate::error::{Error, ErrorKind, Result};
use crate::pg::apply::apply;
use crate::pg::session::Session;
use crate::pg::sql::Sql;
use crate::plan::init::{self as plans, MIGRATION_CONSTRAINT, MIGRATIONS};
use crate::plan::provision::{create_hypertable, pin};
use crate::plan::reread::{self, Again};
use crate::plan::standard::{Observed, Wanted, schema_changes};
use crate::plan::{Plan, as_admin, as_owner, record_done};
use crate::tenant::{AuditMode, Limits, ModuleObjects, OWNER_ROLE, ObjectLook, TENANTS_ROLE, Template};

/// Limit of each transaction of an installation: the template is one of them, and all of it is DDL.
pub const TIMEOUT: Duration = Duration::from_secs(60);

/// How often an installation looks again when another terminal, or another database's `init`, was faster.
const ATTEMPTS: usize = 10;

/// What was found and done.
#[derive(Clone, Debug)]
pub struct Installation {
    /// Whether anything was changed.
    pub changed: bool,
    /// The registry migrations that were applied.
    pub migrations_applied: Vec<&'static str>,
    /// The template's current version.
    pub template_version: i32,
    /// Whether that version is new.
    pub template_installed: bool,
    /// Whether new tenants get hypertables.
    pub timescaledb: bool,
}

/// Says what else the configuration demands of what the modules create, before a template is registered.
pub type Accept<'a> = dyn Fn(&ModuleObjects) -> Result<()> + Sync + 'a;

/// Makes the database ready; safe at any time and from two terminals at once.
///
/// # Errors
/// When rights are missing, when something of our name is not ours, or when a template breaks a rule.
pub async fn install(
    session: &Session,
    template: &Template,
    accept: &Accept<'_>,
    lock_timeout: Duration,
) -> Result<Installation> {
    let mut changed = lay_foundation(session, lock_timeout).await?;
    let migrations_applied = migrate(session, lock_timeout).await?;
    changed |= !migrations_applied.is_empty();
    let timescaledb = catalog::timescaledb_schema(session).await?;
    let (template_version, template_installed) =
        install_template(session, template, accept, timescaledb.as_deref(), lock_timeout).await?;
    Ok(Installation {
        changed: changed || template_installed,
        migrations_applied,
        template_version,
        template_installed,
        timescaledb: timescaledb.is_some(),
    })
}

/// Teaches the registry a version of a template that new tenants are not made from, such as that of a backup: the current one
/// is made the current one again in the same transaction. `keep`: otherwise nothing of it stays, and the version is only
/// told. Returns it as the registry has it.
///
/// # Errors
/// As [`install`].
pub async fn learn(
    session: &Session,
    template: &Template,
    accept: &Accept<'_>,
    lock_timeout: Duration,
    keep: bool,
) -> Result<Option<Template>> {
    let timescaledb = catalog::timescaledb_schema(session).await?;
    let begin = Plan::new("learn a template", TIMEOUT, lock_timeout).begin();
    session
        .batch(&begin.append(plans::lock_installation()), "lock the installation")
        .await?;
    let learned = async {
        let current = template::installed(session, &template.name).await?;
        let (version, _) = install_template_locked(session, template, accept, timescaledb.as_deref()).await?;
        let learned = template::version(session, &template.name, Some(version)).await?;
        if let Some(current) = current {
            // It was accepted when it was installed.
            install_template_locked(session, &current, &|_| Ok(()), timescaledb.as_deref()).await?;
        }
        Ok(learned)
    }
    .await;
    if learned.is_ok() && keep {
        session.batch(&Sql::new("COMMIT"), "commit the template").await?;
    } else {
        session.rollback().await;
    }
    learned
}

/// What [`install`] would run, as far as it can be known before the modules have run.
///
/// # Errors
/// As [`install`].
pub async fn plan(session: &Session, template: &Template, lock_timeout: Duration) -> Result<Vec<Plan>> {
    let found = foundation::read(session).await?;
    let mut plan = vec![plans::foundation(&found, TIMEOUT, lock_timeout)];
    let applied = if found.migrations_table {
        foundation::applied_migrations(session).await?
    } else {
        Vec::new()
    };
    let missing = MIGRATIONS.iter().filter(|m| !applied.contains(&m.version));
    plan.extend(missing.map(|m| plans::migration(m, TIMEOUT, lock_timeout)));
    let (latest, same) = if applied.is_empty() {
        (0, None)
    } else {
        template::versions(session, template).await?
    };
    if same.is_none() {
        let template = Template {
            version: latest + 1,
            ..template.clone()
        };
        let replaces = replaceable(session, &template, latest).await?;
        plan.push(plans::template(&template, replaces, TIMEOUT, lock_timeout));
    }
    plan.retain(|p| !p.is_empty());
    Ok(plan)
}

/// Roles are shared by all databases of the cluster, so another `init` may make them between our look and our try.
async fn lay_foundation(session: &Session, lock_timeout: Duration) -> Result<bool> {
    let mut changed = false;
    for attempt in 1.. {
        let plan = plans::foundation(&foundation::read(session).await?, TIMEOUT, lock_timeout);
        if plan.is_empty() {
            break;
        }
        match apply(session, &plan).await {
            Ok(()) => changed = true,
            // XX000 is what the server says when two sessions change the same role or ACL: "tuple concurrently updated".
            Err(failure)
                if attempt < ATTEMPTS
                    && (failure.error.kind() == ErrorKind::Duplicate || failure.error.sqlstate() == Some("XX000")) =>
            {
                tokio::time::sleep(Duration::from_millis(20 * attempt as u64)).await;
            }
            Err(failure) => return Err(failure.error),
        }
        if attempt >= ATTEMPTS {
            return Err(Error::new(ErrorKind::Unknown, "failed to lay the foundation")
                .with_cause("what was created is not there when looked for again")
                .with_hint("Run `tenantctl init --dry-run` to see which step does not hold."));
        }
    }
    Ok(changed)
}

async fn migrate(session: &Session, lock_timeout: Duration) -> Result<Vec<&'static str>> {
    let mut applied_now = Vec::new();
    let applied = foundation::applied_migrations(session).await?;
    for migration in MIGRATIONS.iter().filter(|m| !applied.contains(&m.version)) {
        let mut plan = plans::migration(migration, TIMEOUT, lock_timeout);
        plan.step("record the operation", record_done("init", None, TIMEOUT));
        match apply(session, &plan).await {
            Ok(()) => applied_now.push(migration.name),
            // Another terminal applied it while we waited.
            Err(failure) if failure.error.constraint() == Some(MIGRATION_CONSTRAINT) => {}
            Err(failure) => return Err(failure.error),
        }
    }
    if !applied_now.is_empty() {
        foundation::applied_migrations(session).await?;
    }
    Ok(applied_now)
}

/// Installs the template unless the current version is the same; returns the version and whether it is new.
async fn install_template(
    session: &Session,
    template: &Template,
    accept: &Accept<'_>,
    timescaledb: Option<&str>,
    lock_timeout: Duration,
) -> Result<(i32, bool)> {
    let begin = Plan::new("install the template", TIMEOUT, lock_timeout).begin();
    session
        .batch(&begin.append(plans::lock_installation()), "lock the installation")
        .await?;
    let result = install_template_locked(session, template, accept, timescaledb).await;
    if result.is_ok() {
        session.batch(&Sql::new("COMMIT"), "commit the template").await?;
    } else {
        session.rollback().await;
    }
    result
}

async fn install_template_locked(
    session: &Session,
    template: &Template,
    accept: &Accept<'_>,
    timescaledb: Option<&str>,
) -> Result<(i32, bool)> {
    let (latest, same) = template::versions(session, template).await?;
    if let Some(version) = same {
        return Ok((version, false));
    }
    let mut template = Template {
        version: latest + 1,
        ..template.clone()
    };
    let replaces = replaceable(session, &template, latest).await?;
    session
        .batch(
            &plans::template_schema(&template, replaces),
            "create the template's schema",
        )
        .await?;

    let schema = template.schema();
    let before = template::inventory(session, &schema).await?;
    let mut known = ModuleObjects::default();
    let mut fingerprint = Fingerprint::default();
    // By ordinal: 0 is what tenantctl adds to every tenant.
    let mut looks = vec![Vec::new()];
    for module in &mut template.modules {
        let broken = |error: Error| {
            let hint = error
                .hint()
                .unwrap_or("Names in a module are unqualified, and every module it needs comes before it.")
                .to_owned();
            error.with_kind(ErrorKind::Config).with_hint(hint)
        };
        session
            .batch(&Sql::module(module), &format!("replay module {}", module.name))
            .await
            .map_err(broken)?;
        let after = template::inventory(session, &schema).await?;
        if let Some(violation) = after.violations.first() {
            return Err(
                Error::config(format!("module {} cannot be used: {violation}", module.name))
                    .with_hint("Mend the module; `tenantctl init` has installed nothing."),
            );
        }
        if after.context != before.context {
            return Err(
                Error::config(format!("module {} changes its surroundings", module.name))
                    .with_cause(format!(
                        "before: {}; after: {}",
                        before.context.join(", "),
                        after.context.join(", ")
                    ))
                    .with_hint("A module must not use COMMIT, ROLLBACK, SET ROLE or SET search_path."),
            );
        }
        if let Some(gone) = template::created(&after.objects, &known).names().next() {
            return Err(Error::config(format!(
                "module {} takes away {gone:?}, which a module before it made",
                module.name
            ))
            .with_hint("Tenants get rights on what each module makes; put the change into that module."));
        }
        module.objects = template::created(&known, &after.objects);
        known = after.objects;
        let seen = read_fingerprint(session, &schema).await?;
        let made = template::changed(&fingerprint, &seen);
        looks.push(reread(session, &schema, made).await?);
        fingerprint = seen;
    }
    check_tables(&template, &known)?;
    accept(&known)?;
    if let Some(extension) = timescaledb {
        for table in &template.hypertables {
            let sql = as_admin()
                .text("\n")
                .append(create_hypertable(extension, &schema, table))
                .append(as_owner());
            session
                .batch(&sql, &format!("make {} a hypertable", table.table))
                .await
                .map_err(|e| e.with_kind(ErrorKind::Config))?;
        }
    }
    let plain = read_fingerprint(session, &schema).await?;
    // What tenants will be given, given once here and taken back: a name that cannot be granted shows now.
    let limits = Limits::at_most(1);
    let audit = known.tables.iter().map(|t| (t.clone(), AuditMode::Full)).collect();
    let wanted = Wanted {
        schema: &schema,
        role: TENANTS_ROLE,
        objects: &known,
        bulk_load: &template.bulk_load,
        audit: &audit,
        limits: &limits,
        major: session.server().major(),
        recount: false,
        frozen: false,
    };
    let rights = schema_changes(&wanted, &Observed::fresh(&known))
        .into_iter()
        .fold(Sql::new("SAVEPOINT rights;\n"), |sql, (_, step)| {
            sql.append(step).text("\n")
        });
    session
        .batch(&rights, "bring the template to a tenant's standard")
        .await
        .map_err(|e| e.with_kind(ErrorKind::Config))?;
    let whole = read_fingerprint(session, &schema).await?;
    looks[0] = reread(session, &schema, template::changed(&plain, &whole)).await?;
    session
        .batch(&Sql::new("ROLLBACK TO SAVEPOINT rights;"), "take the rights back")
        .await?;
    let register = plans::register_template(&template, &looks).append(record_done("install_template", None, TIMEOUT));
    session.batch(&register, "register the template").await?;
    Ok((template.version, true))
}

/// Adds how the server prints expressions once it has read them as it prints them, where that is something else. Nothing is
/// left of the attempt.
async fn reread(session: &Session, schema: &str, mut looks: Vec<ObjectLook>) -> Result<Vec<ObjectLook>> {
    const DOING: &str = "read the module's expressions again";
    let again: Vec<(usize, Again)> = looks
        .iter()
        .enumerate()
        .filter_map(|(i, look)| reread::again(look, schema, i).map(|again| (i, again)))
        .collect();
    if again.is_empty() {
        return Ok(looks);
    }
    let begin = "SAVEPOINT reread; SET LOCAL search_path = ''; SET LOCAL check_function_bodies = off; SAVEPOINT one;\n";
    let all = again
        .iter()
        .fold(Sql::new(begin), |sql, (_, again)| sql.append(again.sql.clone()));
    if session.batch(&all, DOING).await.is_err() {
        // One by one: what cannot be made again beside itself, such as an inherited constraint, has one form only.
        for (_, again) in &again {
            let sql = Sql::new("ROLLBACK TO SAVEPOINT one;\n").append(again.sql.clone());
            if let Err(error) = session
                .batch(&sql.text("RELEASE SAVEPOINT one; SAVEPOINT one;"), DOING)
                .await
            {
                tracing::debug!(%error, cause = error.cause(), object = again.key.1, "not made again");
            }
        }
        session.batch(&Sql::new("ROLLBACK TO SAVEPOINT one;"), DOING).await?;
    }
    let seen = template::fingerprint(session, schema).await?;
    for (i, again) in again {
        let found = seen.get(&again.key).and_then(|look| look.expression.clone());
        if found != looks[i].expression {
            looks[i].reread = found;
        }
    }
    session
        .batch(
            &Sql::new("ROLLBACK TO SAVEPOINT reread; RELEASE SAVEPOINT reread;"),
            DOING,
        )
        .await?;
    Ok(looks)
}

/// What the template's schema looks like now; afterwards names resolve in it again.
async fn read_fingerprint(session: &Session, schema: &str) -> Result<Fingerprint> {
    session
        .batch(&Sql::new("SET LOCAL search_path = '';"), "leave the template's schema")
        .await?;
    let seen = template::fingerprint(session, schema).await?;
    session.batch(&pin(schema), "return to the template's schema").await?;
    Ok(seen)
}

/// Tables that the configuration names must be made by some module.
fn check_tables(template: &Template, known: &ModuleObjects) -> Result<()> {
    let named = template.hypertables.iter().map(|h| ("hypertables", &h.table));
    let named = named.chain(template.bulk_load.iter().map(|t| ("bulk_load", t)));
    for (section, table) in named {
        if !known.tables.contains(table) {
            return Err(Error::config(format!(
                "template.{section} names table {table:?}, which no module creates"
            ))
            .with_hint(format!("The modules create: {}.", known.tables.join(", "))));
        }
    }
    Ok(())
}

/// Whether the reference copy's schema exists and may be replaced: only one that an earlier `init` made.
async fn replaceable(session: &Session, template: &Template, latest: i32) -> Result<bool> {
    match template::schema_owner(session, &template.schema()).await? {
        None => Ok(false),
        Some(owner) if owner == OWNER_ROLE && latest > 0 => Ok(true),
        Some(owner) => Err(Error::new(
            ErrorKind::Unsupported,
            format!("schema {} exists and is not ours", template.schema()),
        )
        .with_cause(format!("it belongs to {owner:?}, and the registry does not know it"))
        .with_hint("tenantctl does not adopt it. Rename that schema, or the template in the configuration.")),
    }
}
