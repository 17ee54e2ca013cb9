//! The probe: becomes a tenant and really tries what no tenant should be able to do.
//!
//! Each attempt is rolled back at once, harms nothing where it succeeds and waits on nobody for long. By default a
//! temporary role that holds only the tenant's logs in ([`visitor`] says why); as-role becomes the tenant within the
//! admin's session, which shows the tenant's rights but no login. The tenant's own settings are not applied: they are the
//! tenant's to change, and every name is qualified.

mod attack;
mod attempts;
mod checks;
mod tally;
mod targets;
mod visitor;

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use self::attack::Attack;
pub use self::checks::CHECKS;
use self::tally::{Tally, explain};
use self::targets::{Target, Tenant, World};
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
