//! The probe: becomes a tenant and really tries what no tenant should be able to do.
//!
//! Each attempt is rolled back at once, harms nothing where it succeeds and waits on nobody for long. By default a
//! temporary role that holds only the tenant's logs in ([`visitor`] says why); as-role becomes the tenant within the
//! admin's session, which shows the tenant's rights but no login. The tenant's own settings are not applied: they are the
//! tenant's to change, and every name is qualified.

mod attempts;
mod tally;
mod targets;
mod visitor;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::attempts::Attempt;
use self::tally::{Outcome, Tally, explain};
use self::targets::{Object, Shape, Target, Tenant, World};
use self::visitor::Visitor;
use super::{Finding, Unknown};
use crate::error::{Error, ErrorKind, Result};
use crate::interrupt::Interrupt;
use crate::pg::session::{Connector, Session, SessionLimits};
use crate::pg::sql::Sql;

/// Tenants up to which each is tried against each other; more are tried in a ring.
pub const ALL_PAIRS: usize = 50;

/// How many neighbours a tenant that was named is tried against, each way.
const NEIGHBOURS: usize = 5;

/// Attackers after which the admin's session is replaced, as its caches grow with every role and schema it meets.
const RECYCLE_AFTER: usize = 500;

/// Attempts that are sent before the first answer is awaited.
const GROUP: usize = 64;

/// Attackers whose targets are read in one query.
const BATCH: usize = 250;

/// How the probe becomes a tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// By a real login of a temporary role that holds the tenant's role alone.
    LogIn,
    /// By SET ROLE in the admin's session.
    AsRole,
}

/// What the probe is told.
#[derive(Clone)]
pub struct Probe {
    /// Opens sessions as the admin.
    pub connector: Connector,
    /// How to become a tenant.
    pub mode: Mode,
    /// Tenants to try as attackers and as victims; none: all.
    pub scope: Option<Vec<String>>,
    /// Attackers at a time; each takes two sessions.
    pub jobs: usize,
    /// Limit of one attempt.
    pub attempt: Duration,
    /// Limit of a wait on a lock.
    pub lock: Duration,
    /// Limit of one pair of attacker and victim, and of what an attacker tries beside.
    pub pair: Duration,
    /// Limit of the whole.
    pub overall: Duration,
}

impl Probe {
    /// With the default limits.
    pub fn new(connector: Connector, mode: Mode) -> Self {
        Self {
            connector,
            mode,
            scope: None,
            jobs: 4,
            attempt: Duration::from_secs(2),
            lock: Duration::from_millis(100),
            pair: Duration::from_secs(10),
            overall: Duration::from_secs(3600),
        }
    }
}

/// How far a probe is, readable while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    /// Attackers that are done.
    pub done: AtomicUsize,
    /// Attackers in all, once known.
    pub total: AtomicUsize,
    /// Attempts so far.
    pub attempts: AtomicU64,
}

/// What the probe showed.
#[derive(Debug)]
pub struct ProbeReport {
    /// What tenants could do and should not, the worst first.
    pub findings: Vec<Finding>,
    /// What was not shown.
    pub unknown: Vec<Unknown>,
    /// Tenants that were probed as attackers.
    pub tenants: usize,
    /// Pairs of attacker and victim.
    pub pairs: usize,
    /// Attempts.
    pub attempts: u64,
    /// How long it took.
    pub duration: Duration,
    /// Whether it was interrupted or ran out of time before all pairs were tried.
    pub partial: bool,
}

/// Ids, titles and explanations of what the probe reports, for lists and `--explain`.
pub const CHECKS: &[(&str, &str, &str)] = &[
    (
        "probe_control",
        "the probe cannot act as a tenant",
        "Before it is attacked, each tenant must be able to use its own tables. Where it cannot, a broken login would look like perfect isolation, so what it was refused proves nothing.",
    ),
    (
        "probe_schema",
        "a tenant resolves names in another tenant's schema",
        "USAGE on a schema is the first line between tenants; without it no grant on an object inside is of use.",
    ),
    (
        "probe_read",
        "a tenant reads another tenant's table or view",
        "The tenant got past the server's check of privileges. Whether row security then still hides every row is said in the detail.",
    ),
    (
        "probe_write",
        "a tenant writes to another tenant's table or view",
        "The tenant got past the server's check for INSERT, UPDATE or DELETE.",
    ),
    (
        "probe_frozen",
        "a tenant writes although its writes are frozen",
        "It has reached the size of its tier: until metrics --enforce thaws it, it reads and deletes, and neither inserts nor updates.",
    ),
    (
        "probe_truncate",
        "a tenant may truncate a table",
        "TRUNCATE goes past row security and past row triggers.",
    ),
    (
        "probe_trigger",
        "a tenant may put triggers on a table",
        "A trigger runs as whoever writes to the table, such as the admin: with it a tenant takes over the database.",
    ),
    (
        "probe_references",
        "a tenant may reference a table by foreign keys",
        "A foreign key tells which keys exist, past row security, and keeps rows from being deleted.",
    ),
    (
        "probe_maintain",
        "a tenant may maintain a table",
        "MAINTAIN allows LOCK TABLE in the strongest mode, CLUSTER and REINDEX.",
    ),
    (
        "probe_lock",
        "a tenant locks another tenant's table",
        "A lock held in an open transaction stops the other tenant and the admin.",
    ),
    (
        "probe_sequence",
        "a tenant uses another tenant's sequence",
        "Values drawn or set there are not rolled back.",
    ),
    (
        "probe_function",
        "a tenant may execute a function it should not",
        "Functions of other tenants, and trigger functions, are nobody else's to call.",
    ),
    (
        "probe_type",
        "a tenant may use another tenant's type",
        "A dependency on a type keeps its owner from changing it.",
    ),
    (
        "probe_create",
        "a tenant creates objects in a schema",
        "Objects in a schema are met by whoever resolves names there; code in them runs as that role.",
    ),
    (
        "probe_ownership",
        "a tenant acts as the owner of an object",
        "Owners switch off row security, policies and triggers, and grant rights.",
    ),
    (
        "probe_grant",
        "a tenant grants rights on an object",
        "A grant option lets one mistake spread.",
    ),
    (
        "probe_role",
        "a tenant becomes or changes a role",
        "With another role come all its rights, in every database of the cluster.",
    ),
    (
        "probe_audit",
        "a tenant changes its own audit trail or usage counters",
        "Tenants may read them; who can change them can hide what it did or exceed its limits.",
    ),
    (
        "probe_database",
        "a tenant changes the database or the cluster",
        "CREATE on the database and what superusers do is nothing for tenants.",
    ),
    (
        "probe_other_database",
        "a tenant connects to another database of the cluster",
        "Roles are shared by all databases of the cluster; what PUBLIC may do there, tenants may too.",
    ),
    (
        "probe_temp",
        "a tenant makes temporary tables",
        "Temporary objects shadow names and use disk without limit.",
    ),
    (
        "probe_language",
        "a tenant uses a procedural language",
        "Blocks of code and functions make attacks easy that plain SQL makes hard.",
    ),
    (
        "probe_builtin",
        "a tenant calls built-in functions that reach beyond it",
        "Advisory locks and notifications are shared by all tenants of a database, large objects outlast a schema, size functions wait on locks.",
    ),
    (
        "probe_statistics",
        "a tenant reads statistics of other tenants' tables",
        "Row counts and activity of others are visible there.",
    ),
    (
        "probe_parameter",
        "a tenant sets a parameter that only superusers may",
        "Such parameters switch off triggers, logging or limits.",
    ),
    (
        "probe_signal",
        "a tenant cancels or ends other logins' sessions",
        "It could keep everybody else from working.",
    ),
    (
        "probe_catalog",
        "a tenant reads protected catalogs",
        "They hold password verifiers, values of columns, and the server's configuration.",
    ),
    (
        "probe_file",
        "a tenant reaches the server's files or programs",
        "That is the server's operating system user, and with it every database.",
    ),
    (
        "probe_registry",
        "a tenant reaches tenantctl's registry",
        "It holds every tenant's name, limits and stored credentials.",
    ),
    (
        "probe_activity",
        "a tenant reads what other logins run",
        "Statements hold data.",
    ),
    (
        "probe_large_object",
        "a tenant reaches a large object",
        "Large objects belong to no schema; only their own grants protect them.",
    ),
    (
        "probe_leftover",
        "a temporary login of a killed probe cannot be dropped",
        "It can no longer log in, but it still holds a tenant's role.",
    ),
];

/// An attacker and those it is tried against.
#[derive(Clone, Debug)]
struct Task {
    attacker: Tenant,
    victims: Vec<Tenant>,
}

/// Runs the probe.
///
/// # Errors
/// When the server or the registry cannot be reached at all. What could not be tried is in the report.
pub async fn run(probe: &Probe, progress: &Arc<Progress>, interrupt: &Interrupt) -> Result<ProbeReport> {
    let started = Instant::now();
    let admin = probe.connector.connect().await?;
    let mut tally = Tally::default();
    if let Err(error) = admin.server().require_writable() {
        tally.doubt("probe_control", error.to_string(), "nothing was tried".to_owned());
        let (findings, unknown) = tally.finish();
        return Ok(ProbeReport {
            findings,
            unknown,
            tenants: 0,
            pairs: 0,
            attempts: 0,
            duration: started.elapsed(),
            partial: true,
        });
    }
    for (role, error) in visitor::sweep(&admin).await? {
        tally.doubt(
            "probe_leftover",
            "a killed probe's role cannot be dropped by this admin".to_owned(),
            format!("role {role}: {}", error.cause().unwrap_or_default()),
        );
    }
    let world = targets::world(&admin).await?;
    let tenants = targets::tenants(&admin).await?;
    let leads = match targets::leads(&admin).await {
        Err(error) if error.kind() == ErrorKind::Timeout => {
            tally.doubt(
                "probe_control",
                explain(&error),
                "the search for ways between tenants".to_owned(),
            );
            Vec::new()
        }
        leads => leads?,
    };
    let tasks = plan(&tenants, probe.scope.as_deref(), &leads);
    let pairs = tasks.iter().map(|t| t.victims.len()).sum();
    let attackers = tasks.len();
    progress.total.store(attackers, Ordering::Relaxed);
    let mut queue: VecDeque<Task> = tasks.into();
    let shared = Arc::new(Shared {
        probe: probe.clone(),
        world,
        thorough: tenants.len() <= ALL_PAIRS || probe.scope.is_some(),
        deadline: started + probe.overall,
        interrupt: interrupt.clone(),
        progress: Arc::clone(progress),
        queue: Mutex::new(VecDeque::new()),
        tally: Mutex::new(tally),
        hopeless: Mutex::new(None),
        workers: AtomicUsize::new(0),
        partial: AtomicBool::new(false),
    });
    while !queue.is_empty() && shared.goes_on() {
        let batch: Vec<Task> = queue.drain(..queue.len().min(BATCH)).collect();
        let named: Vec<&Tenant> = batch
            .iter()
            .flat_map(|t| std::iter::once(&t.attacker).chain(&t.victims))
            .collect();
        let targets = Arc::new(targets::objects(&admin, &named, &shared.world).await?);
        let jobs = probe.jobs.clamp(1, batch.len());
        shared.lock_queue().extend(batch);
        shared.workers.store(jobs, Ordering::Relaxed);
        let mut workers = tokio::task::JoinSet::new();
        for _ in 0..jobs {
            workers.spawn(work(Arc::clone(&shared), Arc::clone(&targets)));
        }
        while let Some(ended) = workers.join_next().await {
            if let Err(error) = ended {
                return Err(Error::new(ErrorKind::Unknown, "the probe broke off").with_cause(error));
            }
        }
        queue.extend(shared.lock_queue().drain(..));
    }
    let mut tally = std::mem::take(&mut *shared.tally.lock().unwrap_or_else(PoisonError::into_inner));
    let left = queue.len();
    if left > 0 {
        let why = match shared.lock_hopeless().take() {
            Some(why) => why,
            None if interrupt.requested() => "interrupted".to_owned(),
            None => "the time limit of the probe ran out".to_owned(),
        };
        tally.doubt(
            "probe_control",
            why,
            format!("{left} of {attackers} tenants were not tried"),
        );
    }
    if attackers == 0 {
        tally.doubt(
            "probe_control",
            "there is no tenant to try".to_owned(),
            "nothing was tried".to_owned(),
        );
    } else if pairs == 0 {
        tally.doubt(
            "probe_control",
            "there is only one tenant".to_owned(),
            "it was tried against the database alone".to_owned(),
        );
    }
    if tally.has("probe_frozen") {
        // What was thawed meanwhile is free to write.
        let frozen = targets::frozen(&admin).await?;
        tally.keep("probe_frozen", |schema| frozen.contains(schema));
    }
    let attempts = tally.attempts;
    let (findings, unknown) = tally.finish();
    Ok(ProbeReport {
        findings,
        unknown,
        tenants: attackers - left,
        pairs,
        attempts,
        duration: started.elapsed(),
        partial: left > 0 || shared.partial.load(Ordering::Relaxed),
    })
}

/// Who is tried against whom: all pairs of few tenants, a ring of many with every lead of the catalog; tenants that were
/// named, both ways with a few others.
fn plan(tenants: &[Tenant], scope: Option<&[String]>, leads: &[(String, String)]) -> Vec<Task> {
    let place: HashMap<&str, usize> = tenants.iter().enumerate().map(|(i, t)| (t.id.as_str(), i)).collect();
    let count = tenants.len();
    let chosen: Vec<usize> = match scope {
        Some(ids) => ids.iter().filter_map(|id| place.get(id.as_str()).copied()).collect(),
        None => (0..count).collect(),
    };
    let mut victims: BTreeMap<usize, BTreeSet<usize>> = chosen.iter().map(|i| (*i, BTreeSet::new())).collect();
    let mut pair = |attacker: usize, victim: usize| {
        if attacker != victim {
            victims.entry(attacker).or_default().insert(victim);
        }
    };
    let everyone = scope.is_none();
    for &one in &chosen {
        let reach = match everyone {
            true if count <= ALL_PAIRS => count - 1,
            true => 1,
            false => NEIGHBOURS.min(count - 1),
        };
        for step in 1..=reach.min(count.saturating_sub(1)) {
            let other = (one + step) % count;
            pair(one, other);
            if !everyone {
                pair(other, one);
            }
        }
    }
    let chosen: BTreeSet<usize> = chosen.into_iter().collect();
    for (attacker, victim) in leads {
        if let (Some(&a), Some(&v)) = (place.get(attacker.as_str()), place.get(victim.as_str()))
            && (chosen.contains(&a) || chosen.contains(&v))
        {
            pair(a, v);
        }
    }
    victims
        .into_iter()
        .map(|(attacker, victims)| Task {
            attacker: tenants[attacker].clone(),
            victims: victims.into_iter().map(|v| tenants[v].clone()).collect(),
        })
        .collect()
}

/// What the workers share.
struct Shared {
    probe: Probe,
    world: World,
    /// Few enough that every attempt is made even where one shows what the others would.
    thorough: bool,
    deadline: Instant,
    interrupt: Interrupt,
    progress: Arc<Progress>,
    queue: Mutex<VecDeque<Task>>,
    tally: Mutex<Tally>,
    /// Why no further attacker can be tried.
    hopeless: Mutex<Option<String>>,
    workers: AtomicUsize,
    /// Something was left out.
    partial: AtomicBool,
}

impl Shared {
    fn lock_queue(&self) -> std::sync::MutexGuard<'_, VecDeque<Task>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock_hopeless(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.hopeless.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn goes_on(&self) -> bool {
        !self.interrupt.requested() && Instant::now() < self.deadline && self.lock_hopeless().is_none()
    }

    fn next(&self) -> Option<Task> {
        if self.goes_on() {
            self.lock_queue().pop_front()
        } else {
            None
        }
    }

    fn limits(&self) -> SessionLimits {
        SessionLimits {
            statement: self.probe.attempt,
            lock: self.probe.lock,
        }
    }
}

/// One of the jobs: attackers one after the other.
async fn work(shared: Arc<Shared>, targets: Arc<HashMap<String, Arc<Target>>>) {
    let mut admin: Option<(Session, usize)> = None;
    while let Some(task) = shared.next() {
        let (session, served) = match admin.take().filter(|(s, n)| !s.is_closed() && *n < RECYCLE_AFTER) {
            Some(open) => open,
            None => match shared.probe.connector.connect().await {
                Ok(session) => (session, 0),
                Err(error) => {
                    let others = shared.workers.fetch_sub(1, Ordering::Relaxed) > 1;
                    shared.lock_queue().push_front(task);
                    if !(others && error.sqlstate() == Some("53300")) {
                        shared.lock_hopeless().get_or_insert_with(|| error.one_line());
                    }
                    return;
                }
            },
        };
        let mut tally = Tally::default();
        match targets.get(&task.attacker.id) {
            Some(attacker) => {
                let victims: Vec<&Arc<Target>> = task.victims.iter().filter_map(|v| targets.get(&v.id)).collect();
                attack(&shared, &session, attacker, &victims, &mut tally).await;
            }
            None => tally.doubt(
                "probe_control",
                "the tenant is gone".to_owned(),
                task.attacker.id.clone(),
            ),
        }
        shared.progress.attempts.fetch_add(tally.attempts, Ordering::Relaxed);
        shared.progress.done.fetch_add(1, Ordering::Relaxed);
        shared.tally.lock().unwrap_or_else(PoisonError::into_inner).merge(tally);
        admin = Some((session, served + 1));
    }
    shared.workers.fetch_sub(1, Ordering::Relaxed);
}

/// All that is tried as one attacker.
async fn attack(shared: &Shared, admin: &Session, attacker: &Arc<Target>, victims: &[&Arc<Target>], tally: &mut Tally) {
    match shared.probe.mode {
        Mode::AsRole => {
            let begin = visitor::become_tenant_as_admin(attacker, &shared.world, shared.limits());
            match admin.batch(&begin, "become the tenant").await {
                Ok(()) => {
                    Attack::new(shared, admin, None, attacker, tally).all(victims).await;
                }
                Err(error) => tally.doubt(
                    "probe_control",
                    cannot_become(&error),
                    format!("tenant {}", attacker.id),
                ),
            }
            admin.rollback().await;
        }
        Mode::LogIn => {
            let visitor = match Visitor::create(admin, attacker, &shared.world).await {
                Ok(visitor) => visitor,
                Err(error) => {
                    tally.doubt(
                        "probe_control",
                        cannot_become(&error),
                        format!("tenant {}", attacker.id),
                    );
                    return;
                }
            };
            visit_others(shared, &visitor, attacker, tally).await;
            match visitor.enter(&shared.probe.connector, admin, shared.limits()).await {
                Ok(session) => {
                    let become_tenant = visitor::become_tenant(attacker);
                    match session.batch(&become_tenant, "become the tenant").await {
                        Ok(()) => {
                            let pid = admin.server().backend_pid;
                            Attack::new(shared, &session, Some(pid), attacker, tally)
                                .all(victims)
                                .await;
                        }
                        Err(error) => {
                            tally.doubt(
                                "probe_control",
                                cannot_become(&error),
                                format!("tenant {}", attacker.id),
                            );
                        }
                    }
                    session.rollback().await;
                }
                Err(error) => {
                    if matches!(error.sqlstate(), Some("28000" | "28P01")) || error.sqlstate().is_none() {
                        // The next tenant's login would fail in the same way.
                        shared.lock_hopeless().get_or_insert_with(|| {
                            format!(
                                "the server lets no temporary role log in, see pg_hba.conf, or use --as-role ({})",
                                error
                                    .cause()
                                    .unwrap_or_default()
                                    .replace(&visitor.role, "tenantctl_probe_...")
                            )
                        });
                    }
                    tally.doubt(
                        "probe_control",
                        cannot_log_in(&error),
                        format!("tenant {}", attacker.id),
                    );
                }
            }
            let role = visitor.role.clone();
            if let Err(error) = visitor.remove(admin).await {
                tally.doubt(
                    "probe_leftover",
                    "a temporary login could not be dropped; the next probe tries again".to_owned(),
                    format!("role {role}: {}", error.one_line()),
                );
            }
        }
    }
}

fn cannot_become(error: &Error) -> String {
    match error.sqlstate() {
        Some("42501") => "this admin may not become the tenant: it needs CREATEROLE, and from PostgreSQL 16 on ADMIN OPTION on the tenant's role (SQLSTATE 42501)".to_owned(),
        Some(code) => format!("the probe cannot become the tenant (SQLSTATE {code})"),
        None => format!("the probe cannot become the tenant: {error}"),
    }
}

fn cannot_log_in(error: &Error) -> String {
    match error.sqlstate() {
        Some("42501") => "the tenant's rights do not let it connect to this database (SQLSTATE 42501)".to_owned(),
        Some(code) => format!("the probe cannot log in (SQLSTATE {code})"),
        None => "the probe cannot log in".to_owned(),
    }
}

/// Tries to log in to the other databases that the tenant's rights open, and to a few that they should not.
async fn visit_others(shared: &Shared, visitor: &Visitor, attacker: &Target, tally: &mut Tally) {
    let mut refused = 0;
    for database in &shared.world.databases {
        let open = visitor.open_databases.contains(&database.oid);
        if !open && (!shared.thorough || refused >= 3) {
            continue;
        }
        let answer = visitor
            .visit(&shared.probe.connector, &database.name, shared.limits())
            .await;
        refused += u32::from(answer.is_err());
        let attempt = attempts::may_connect(database, Sql::new("a login"));
        match answer {
            // pg_hba.conf refused, which says nothing about the tenant's own name where its rights would let it in.
            Err(error) if open && error.sqlstate() != Some("42501") => {
                tally.note(&attempt, attacker, attacker, &Err(error));
            }
            Err(_) => {
                tally.note(
                    &attempt,
                    attacker,
                    attacker,
                    &Err(Error::new(ErrorKind::Permission, "refused").with_sqlstate("42501")),
                );
            }
            Ok(()) => {
                tally.note(&attempt, attacker, attacker, &Ok(()));
            }
        }
    }
}

/// A session that is the tenant, in a transaction with a savepoint.
struct Attack<'a> {
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
    fn new(shared: &'a Shared, session: &'a Session, admin: Option<i32>, me: &'a Target, tally: &'a mut Tally) -> Self {
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
    async fn all(mut self, victims: &[&Arc<Target>]) {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn tenants(count: usize) -> Vec<Tenant> {
        (0..count)
            .map(|i| Tenant {
                id: format!("t{i:03}"),
                schema: format!("tenant_{i:012x}"),
                role: format!("tenant_{i:012x}_user"),
            })
            .collect()
    }

    fn pairs(tasks: &[Task]) -> Vec<(&str, &str)> {
        tasks
            .iter()
            .flat_map(|t| t.victims.iter().map(|v| (t.attacker.id.as_str(), v.id.as_str())))
            .collect()
    }

    #[test]
    fn few_tenants_are_tried_in_all_pairs_and_many_in_a_ring() {
        assert_eq!(pairs(&plan(&tenants(3), None, &[])).len(), 6);
        assert_eq!(pairs(&plan(&tenants(50), None, &[])).len(), 50 * 49);
        let many = tenants(60);
        let tasks = plan(
            &many,
            None,
            &[("t003".into(), "t050".into()), ("t003".into(), "gone".into())],
        );
        let ring = pairs(&tasks);
        assert_eq!((tasks.len(), ring.len()), (60, 61));
        assert!(ring.contains(&("t003", "t050")) && ring.contains(&("t059", "t000")));
        assert!(ring.iter().all(|(a, v)| a != v));
    }

    #[test]
    fn a_tenant_that_is_named_is_attacker_and_victim() {
        let many = tenants(60);
        let scope = ["t010".to_owned(), "unknown".to_owned()];
        let tasks = plan(
            &many,
            Some(&scope),
            &[("t030".into(), "t010".into()), ("t030".into(), "t031".into())],
        );
        let tried = pairs(&tasks);
        assert_eq!(tried.iter().filter(|(a, _)| *a == "t010").count(), NEIGHBOURS);
        assert_eq!(tried.iter().filter(|(_, v)| *v == "t010").count(), NEIGHBOURS + 1);
        assert!(tried.contains(&("t030", "t010")) && !tried.contains(&("t030", "t031")));
    }

    #[test]
    fn one_tenant_alone_is_tried_against_the_database() {
        let tasks = plan(&tenants(1), None, &[]);
        assert_eq!((tasks.len(), pairs(&tasks).len()), (1, 0));
        assert!(plan(&[], None, &[]).is_empty());
    }
}
