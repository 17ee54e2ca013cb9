//! Ways to break a hardened database, one at a time, and what `validate` must say of each.
//!
//! In the texts `{tenant}`, `{schema}`, `{role}` are the victim's, `{other}`, `{other_schema}`, `{other_role}` those of
//! another tenant, `{db}` is the database. Apply and undo run as the superuser, each as one simple query.

pub mod cluster;
pub mod drift;
pub mod grants;
pub mod pooler;
pub mod roles;
pub mod structure;

use std::collections::BTreeSet;
use std::time::Instant;

use tenantctl::cluster::{Cluster, Options};
use tenantctl::validate::checks;

use crate::support::{Db, Made, fast, loud, sql, start};

/// One break.
pub struct Mutation {
    /// What it does, unique among all.
    pub name: &'static str,
    /// The checks that must report it, all of them.
    pub checks: &'static [&'static str],
    /// Whether the finding must be the victim's.
    pub tenant: bool,
    /// The finding's object.
    pub object: &'static str,
    /// SQL that breaks.
    pub apply: &'static str,
    /// SQL that restores the hardened state exactly.
    pub undo: &'static str,
}

/// All of them.
fn all() -> Vec<&'static Mutation> {
    [
        cluster::MUTATIONS,
        drift::MUTATIONS,
        grants::MUTATIONS,
        pooler::MUTATIONS,
        roles::MUTATIONS,
        structure::MUTATIONS,
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Tenants of the database that is broken in one way at a time; in all ways at once it has a pair for each.
const TENANTS: usize = 60;

/// A mutation with the tenants that it is about.
struct Case<'a> {
    mutation: &'a Mutation,
    victim: &'a Made,
    other: &'a Made,
    db: &'a Db,
}

impl Case<'_> {
    fn fill(&self, text: &str) -> String {
        [
            ("{own}", self.victim.own()),
            ("{other_own}", self.other.own()),
            ("{tenant}", &self.victim.id),
            ("{schema}", &self.victim.schema),
            ("{role}", &self.victim.role),
            ("{other}", &self.other.id),
            ("{other_schema}", &self.other.schema),
            ("{other_role}", &self.other.role),
            ("{db}", &self.db.name),
        ]
        .iter()
        .fold(text.to_owned(), |text, (name, value)| text.replace(name, value))
    }

    fn run(&self, text: &str) -> Result<(), String> {
        sql(&self.db.url, &self.fill(text))
            .map(|_| ())
            .map_err(|e| format!("{}: {e}", self.mutation.name))
    }

    /// The checks that do not report this break as they must.
    fn missed(&self, findings: &[serde_json::Value]) -> Vec<&'static str> {
        let object = self.fill(self.mutation.object);
        let found = |check: &str| {
            findings.iter().any(|f| {
                f["check"] == check
                    && f["object"] == object
                    && (!self.mutation.tenant || f["tenant_id"] == self.victim.id)
                    && f["detail"].as_str().is_some_and(|d| !d.is_empty())
                    && f["remedy"].as_str().is_some_and(|r| !r.is_empty())
            })
        };
        self.mutation
            .checks
            .iter()
            .copied()
            .filter(|check| !found(check))
            .collect()
    }
}

/// What depends on the machine that the tests run on, not on the database: which minor release is installed.
const MACHINE: &str = "minor_release";

/// What `validate --all` says to an admin who is no superuser.
fn lesser(db: &Db) -> serde_json::Value {
    let mut cmd = db.command(&[
        "-o",
        "json",
        "validate",
        "--all",
        "--fail-on",
        "never",
        "--skip",
        MACHINE,
    ]);
    cmd.command
        .env("DATABASE_URL", db.url.replace("//postgres@", "//lesser:lesser@"));
    cmd.finish().success().json()
}

fn list(report: &serde_json::Value, key: &str) -> Vec<serde_json::Value> {
    report[key].as_array().unwrap().clone()
}

/// Makes tenants with these numbers.
fn tenants(db: &Db, numbers: std::ops::Range<usize>) -> Vec<Made> {
    let ids: Vec<String> = numbers.map(|i| format!("t{i:03}")).collect();
    let mut args: Vec<&str> = vec!["--jobs", "4"];
    args.extend(ids.iter().map(String::as_str));
    let mut made = db.provision(&args);
    made.sort_by(|a, b| a.id.cmp(&b.id));
    made
}

/// Each mutation with a pair of these tenants, in turn.
fn cases<'a>(mutations: &[&'a Mutation], made: &'a [Made], db: &'a Db) -> Vec<Case<'a>> {
    let pairs: Vec<&[Made]> = made.chunks_exact(2).collect();
    mutations
        .iter()
        .enumerate()
        .map(|(i, mutation)| Case {
            mutation,
            victim: &pairs[i % pairs.len()][0],
            other: &pairs[i % pairs.len()][1],
            db,
        })
        .collect()
}

/// Every finding of `validate --all`; nothing may be unknown.
fn findings(db: &Db) -> Vec<serde_json::Value> {
    let json = db
        .run(&[
            "-o",
            "json",
            "validate",
            "--all",
            "--strict",
            "--fail-on",
            "never",
            "--skip",
            MACHINE,
        ])
        .success()
        .json();
    assert_eq!(json["unknown"], serde_json::json!([]), "something could not be checked");
    json["findings"].as_array().unwrap().clone()
}

/// A hardened database is broken in every way, one at a time and all at once: every break is found, by the checks that
/// are there for it, at the right tenant and object; and before, between and after there is nothing to find.
#[test]
fn every_break_of_a_hardened_database_is_found() {
    let started = Instant::now();
    let mutations = all();
    let cluster: Cluster = start(&Options {
        settings: fast(),
        ..Options::default()
    });
    let db = Db::on(&cluster);
    db.run(&["init"]).success();
    let mut made = tenants(&db, 0..TENANTS);
    db.run(&["secure", "--all"]).success();
    db.run(&["pgbouncer", "--setup"]).success();
    db.sql("CREATE ROLE lesser LOGIN CREATEROLE PASSWORD 'lesser' IN ROLE tenantctl_owner");
    assert_eq!(
        findings(&db),
        Vec::<serde_json::Value>::new(),
        "the hardened database is not clean"
    );
    let cases = cases(&mutations, &made, &db);
    let mut wrong = Vec::new();
    let mut alone = 0;
    for case in &cases {
        if let Err(error) = case.run(case.mutation.apply) {
            wrong.push(format!("cannot apply {error}"));
            continue;
        }
        let found = findings(&db);
        let missed = case.missed(&found);
        if missed.is_empty() {
            alone += 1;
        } else {
            let near: Vec<_> = found
                .iter()
                .map(|f| format!("{} {} {}", f["check"], f["tenant_id"], f["object"]))
                .collect();
            wrong.push(format!(
                "{} is not reported by {missed:?} at {}; found: {near:?}",
                case.mutation.name,
                case.fill(case.mutation.object)
            ));
        }
        // Nobody else is accused; what an earlier break has left behind would be.
        let strangers: Vec<_> = found
            .iter()
            .filter(|f| {
                let id = f["tenant_id"].as_str().unwrap_or_default();
                // A tenant that the break itself adds may be named, too.
                !(id.is_empty() || id == case.victim.id || id == case.other.id || id.starts_with("mut_"))
            })
            .collect();
        if !strangers.is_empty() {
            wrong.push(format!("{} accuses {strangers:?}", case.mutation.name));
        }
        if let Err(error) = case.run(case.mutation.undo) {
            wrong.push(format!("cannot undo {error}"));
        }
    }
    let left = findings(&db);
    assert!(
        left.is_empty() && wrong.is_empty(),
        "left: {left:?}\n{}",
        wrong.join("\n")
    );

    // All at once takes a pair of tenants for each.
    made.extend(tenants(&db, TENANTS..2 * mutations.len()));
    let cases = self::cases(&mutations, &made, &db);
    for case in &cases {
        if let Err(error) = case.run(case.mutation.apply) {
            wrong.push(format!("cannot apply together {error}"));
        }
    }
    let found = findings(&db);
    let together = cases.iter().filter(|case| case.missed(&found).is_empty()).count();
    for case in &cases {
        let missed = case.missed(&found);
        if !missed.is_empty() {
            wrong.push(format!(
                "{} is not reported by {missed:?} among all",
                case.mutation.name
            ));
        }
    }
    // Without the registry a lesser admin proves nothing, and is told so.
    let (registry, cases): (Vec<_>, Vec<_>) = cases
        .into_iter()
        .partition(|c| c.mutation.object.contains("tenantctl.migrations"));
    for case in &registry {
        if let Err(error) = case.run(case.mutation.undo) {
            wrong.push(format!("cannot undo together {error}"));
        }
    }
    // An admin who may not look everywhere finds a break, or says that its check could not be made.
    let report = lesser(&db);
    let (seen, unknown) = (list(&report, "findings"), list(&report, "unknown"));
    let mut claimed = 0;
    for case in &cases {
        let missed = case.missed(&seen);
        let open: Vec<_> = missed
            .iter()
            .filter(|check| !unknown.iter().any(|u| u["check"] == **check))
            .collect();
        if open.is_empty() {
            claimed += 1;
        } else {
            wrong.push(format!(
                "{} is passed over in silence by {open:?} for a lesser admin",
                case.mutation.name
            ));
        }
    }
    for case in cases.iter().rev() {
        if let Err(error) = case.run(case.mutation.undo) {
            wrong.push(format!("cannot undo together {error}"));
        }
    }
    let left = findings(&db);
    let clean = lesser(&db);
    let strangers: Vec<_> = list(&clean, "findings")
        .into_iter()
        .filter(|f| !f["tenant_id"].is_null())
        .collect();
    assert!(
        strangers.is_empty(),
        "a lesser admin finds what is not there: {strangers:?}"
    );
    let covered: BTreeSet<&str> = mutations.iter().flat_map(|m| m.checks.iter().copied()).collect();
    let uncovered: Vec<&str> = checks::all()
        .iter()
        .filter(|c| !c.is_probed() && c.id != MACHINE)
        .map(|c| c.id)
        .filter(|id| !covered.contains(id))
        .collect();
    loud(&format!(
        "mutation score: {alone} of {n} breaks found one at a time, {together} of {n} all at once, {claimed} of {} found or said to be unknown by an admin without superuser, on {} tenants; {} of {} checks have one ({:.0} s)",
        cases.len(),
        made.len(),
        covered.len(),
        covered.len() + uncovered.len(),
        started.elapsed().as_secs_f64(),
        n = mutations.len(),
    ));
    assert!(
        left.is_empty() && wrong.is_empty(),
        "left: {left:?}\n{}",
        wrong.join("\n")
    );
    assert_eq!(uncovered, Vec::<&str>::new(), "checks without a seeded violation");
    assert!(mutations.len() >= 100);
    let names: BTreeSet<&str> = mutations.iter().map(|m| m.name).collect();
    assert_eq!(names.len(), mutations.len(), "a name is given twice");
}
