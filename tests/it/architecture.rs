//! The import rules of `lib.rs`, and the rule that only `Sql` reaches the driver, read from the sources.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Top-level module -> what it may use of the crate. `error` and `tenant` may be used by all.
const MAY_USE: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("tenant", &[]),
    ("interrupt", &[]),
    ("figures", &[]),
    ("plan", &["pg::sql"]),
    ("pg", &["plan", "pg"]),
    ("catalog", &["pg", "plan", "catalog", "backup::manifest"]),
    ("config", &["config"]),
    ("cli", &[]),
    ("settings", &["cli", "config", "pg", "catalog"]),
    ("installer", &["catalog", "pg", "plan"]),
    ("hardener", &["catalog", "fleet", "pg", "plan"]),
    ("fleet", &["interrupt", "pg"]),
    ("freezer", &["catalog", "fleet", "interrupt", "pg", "plan"]),
    (
        "retention",
        &["catalog", "chunks", "config", "fleet", "interrupt", "pg", "plan"],
    ),
    ("chunks", &["catalog", "interrupt", "pg", "plan"]),
    ("credentials", &["pg"]),
    (
        "provisioner",
        &["catalog", "credentials", "fleet", "interrupt", "pg", "plan"],
    ),
    (
        "restore",
        &[
            "backup",
            "catalog",
            "chunks",
            "credentials",
            "installer",
            "interrupt",
            "pg",
            "plan",
            "provisioner",
            "restore",
            "store",
        ],
    ),
    (
        "rotator",
        &["catalog", "credentials", "fleet", "interrupt", "pg", "plan"],
    ),
    ("store", &[]),
    (
        "backup",
        &[
            "backup",
            "catalog",
            "chunks",
            "credentials",
            "fleet",
            "interrupt",
            "pg",
            "plan",
            "store",
        ],
    ),
    ("cluster", &["pg"]),
    (
        "bench",
        &[
            "backup",
            "bench",
            "catalog",
            "fleet",
            "figures",
            "interrupt",
            "metrics",
            "pg",
            "plan",
            "provisioner",
            "installer",
            "config",
            "settings",
        ],
    ),
    (
        "metrics",
        &["catalog", "config", "figures", "interrupt", "metrics", "pg"],
    ),
    ("notify", &["config", "metrics", "notify", "pg"]),
    ("pooler", &["catalog", "config", "pg", "plan", "pooler"]),
    (
        "validate",
        &["catalog", "config", "interrupt", "pg", "plan", "validate"],
    ),
    (
        "preflight",
        &[
            "backup",
            "catalog",
            "config",
            "figures",
            "interrupt",
            "metrics",
            "notify",
            "pg",
            "plan",
            "pooler",
            "preflight",
            "provisioner",
            "store",
            "validate",
        ],
    ),
    ("ui", &["cli", "figures", "plan"]),
    (
        "commands",
        &[
            "backup",
            "bench",
            "catalog",
            "chunks",
            "cli",
            "cluster",
            "commands",
            "config",
            "hardener",
            "credentials",
            "figures",
            "fleet",
            "freezer",
            "installer",
            "interrupt",
            "metrics",
            "notify",
            "pg",
            "plan",
            "pooler",
            "preflight",
            "provisioner",
            "restore",
            "retention",
            "rotator",
            "settings",
            "store",
            "ui",
            "validate",
        ],
    ),
];

fn sources() -> Vec<(PathBuf, String)> {
    fn walk(dir: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(dir).unwrap().flatten() {
            let path = entry.path();
            if path.is_dir() {
                walk(&path, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path, text));
            }
        }
    }
    let mut found = Vec::new();
    walk(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), &mut found);
    assert!(found.len() > 30, "the sources were not found");
    found
}

/// `pg` of `src/pg/sql.rs`, `error` of `src/error.rs`.
fn top_module(path: &Path) -> String {
    let relative = path
        .strip_prefix(Path::new(env!("CARGO_MANIFEST_DIR")).join("src"))
        .unwrap();
    let first = relative.components().next().unwrap().as_os_str().to_str().unwrap();
    first.trim_end_matches(".rs").to_owned()
}

/// Every `crate::a::b` path in the code, in `use` lines and elsewhere; comments are left out.
fn crate_paths(text: &str) -> BTreeSet<String> {
    let code: String = text
        .lines()
        .filter(|l| !l.trim_start().starts_with("//"))
        .fold(String::new(), |all, l| all + l + "\n");
    let mut paths = BTreeSet::new();
    for (at, _) in code.match_indices("crate::") {
        // `pub(in crate::pg)` is about visibility, not use.
        if code[..at].ends_with("pub(in ") {
            continue;
        }
        let rest = &code[at + "crate::".len()..];
        if let Some(group) = rest.strip_prefix('{') {
            let inside = &group[..group.find('}').unwrap()];
            paths.extend(inside.split(',').map(|p| p.trim().to_owned()).filter(|p| !p.is_empty()));
        } else {
            let end = rest
                .find(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'))
                .unwrap_or(rest.len());
            paths.insert(rest[..end].trim_end_matches(':').to_owned());
        }
    }
    paths
}

#[test]
fn modules_use_only_what_they_may() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let module = top_module(&path);
        if ["main", "lib"].contains(&module.as_str()) {
            continue;
        }
        let (_, allowed) = MAY_USE
            .iter()
            .find(|(name, _)| *name == module)
            .unwrap_or_else(|| panic!("{module} is missing in MAY_USE: say what it may use"));
        for used in crate_paths(&text) {
            let fits = ["error", "tenant"]
                .iter()
                .chain(*allowed)
                .any(|a| used == *a || used.starts_with(&format!("{a}::")));
            if !fits {
                wrong.push(format!("{}: crate::{used}", path.display()));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "imports against the rule in lib.rs:\n{}",
        wrong.join("\n")
    );
}

/// The driver's client is reached through `pg::session`, `pg::copy` and `pg::console` alone, and no query is put together by `format!`.
#[test]
fn only_sql_reaches_the_driver() {
    let calls = [
        "batch_execute(",
        "simple_query(",
        "query_typed(",
        ".prepare(",
        "prepare_typed(",
        "copy_in(",
        "copy_out(",
        ".copy_in(",
        ".copy_out(",
        "query_raw(",
    ];
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        let in_session = ["pg/session.rs", "pg/copy.rs", "pg/console.rs", "pg/pooled.rs"]
            .iter()
            .any(|file| path.ends_with(file));
        // A session has methods of these names, which take `Sql`; beside it nobody has a client.
        let calls: Vec<&str> = calls
            .into_iter()
            .filter(|call| in_session || !call.starts_with(".copy_"))
            .collect();
        for (number, line) in text.lines().enumerate() {
            let place = format!("{}:{}: {}", path.display(), number + 1, line.trim());
            // The session's own COPY takes `Sql`, and nobody else has a client.
            let calls_driver = |call: &&&str| line.contains(**call) && !call.starts_with("copy_");
            if !in_session && (calls.iter().any(|call| calls_driver(&call)) || line.contains("tokio_postgres::Client"))
            {
                wrong.push(place.clone());
            }
            let sends = calls.iter().any(|call| line.contains(call)) && !line.contains(" fn ");
            if in_session && sends && !line.contains("wire()") && !line.contains("\"ROLLBACK\"") {
                wrong.push(place.clone());
            }
            let verb = [
                "SELECT ", "INSERT ", "UPDATE ", "DELETE ", "CREATE ", "ALTER ", "DROP ", "GRANT ", "REVOKE ", "SET ",
            ]
            .iter()
            .any(|verb| line.contains(&format!("format!(\"{verb}")));
            if verb {
                wrong.push(place);
            }
        }
    }
    assert!(wrong.is_empty(), "SQL past the `Sql` type:\n{}", wrong.join("\n"));
}

/// Core code never prints: only `ui` and the entry points hold stdout and stderr.
#[test]
fn only_ui_prints() {
    let mut wrong = Vec::new();
    for (path, text) in sources() {
        if top_module(&path) == "ui" {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            if [
                "println!(",
                "eprintln!(",
                "print!(",
                "eprint!(",
                "io::stdout()",
                "io::stderr()",
            ]
            .iter()
            .any(|p| line.contains(p))
            {
                wrong.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "printing outside ui:\n{}", wrong.join("\n"));
}

/// The rules above would be worth nothing if they could not fail.
#[test]
fn the_rules_can_fail() {
    assert_eq!(
        crate_paths(
            "use crate::{ui, pg::sql};\n// crate::nothing\nlet x = crate::commands::run();\npub(in crate::pg) fn f() {}"
        ),
        ["commands::run", "pg::sql", "ui"].map(str::to_owned).into()
    );
}
