//! What a user sees: help, errors, output, as snapshots with what differs between runs masked.

use crate::support::{Cmd, Db};

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    for (pattern, mask) in [
        (
            r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}",
            "[uuid]",
        ),
        (r"(tenant|audit_changes|enforce_limits)_[0-9a-f]{12}", "${1}_[12 hex]"),
        (r"\d+(\.\d+)? (ms|s)\b", "[time]"),
        (r"\d+\.\d+ (KiB|MiB)", "[size]"),
        // The same membership as PostgreSQL 16 and later want it said.
        (
            r#";\nGRANT "tenantctl_tenants" TO "[^"]+" WITH INHERIT TRUE, SET FALSE"#,
            " IN ROLE \"tenantctl_tenants\"",
        ),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "[when]"),
        (r"database db\d+", "database [db]"),
        (r#"database \\?"db\d+\\?""#, "database [db]"),
        (r#"'[0-9a-f]{32}'"#, "'[salt]'"),
        (r"\b[A-Za-z0-9]{32}\b", "[password]"),
    ] {
        settings.add_filter(pattern, mask);
    }
    settings
}

fn shown(run: &crate::support::Run) -> String {
    // Column widths depend on the masked values.
    let squeeze = |text: String| {
        text.lines()
            .map(|l| {
                l.split("  ")
                    .filter(|p| !p.is_empty())
                    .map(str::trim)
                    .collect::<Vec<_>>()
                    .join("  ")
            })
            .collect::<Vec<_>>()
            .join("\n")
    };
    format!(
        "exit {}\n--- stdout\n{}\n--- stderr\n{}",
        run.0.status.code().unwrap(),
        squeeze(run.stdout()),
        squeeze(run.stderr())
    )
}

#[test]
fn a_first_session() {
    let db = Db::new();
    settings().bind(|| {
        for (name, args) in [
            ("list_before_init", &["list"][..]),
            ("init_again", &["init"]),
            ("provision", &["provision", "acme", "globex", "--tier", "professional"]),
            ("provision_duplicate", &["provision", "acme"]),
            ("list", &["list"]),
            ("show", &["show", "acme"]),
            ("show_unknown", &["show", "acne"]),
            ("drop_without_yes", &["drop", "acme"]),
            ("drop", &["drop", "acme", "--yes"]),
            ("bad_id", &["provision", "a b"]),
            ("bad_tier", &["provision", "x", "--tier", "basi"]),
        ] {
            if name == "init_again" {
                db.run(args).success();
            }
            insta::assert_snapshot!(name, shown(&db.run(args)));
        }
    });
}

#[test]
fn a_proof_that_fails() {
    let db = Db::initialized();
    let made = db.provision(&["acme", "globex", "--tier", "basic"]);
    let checks = [
        "validate",
        "--all",
        "--check",
        "grants_relations,grants_schemas,row_security",
    ];
    settings().bind(|| {
        // How many were not asked for changes with every check that is added.
        let mut settings = insta::Settings::clone_current();
        settings.add_filter(r"skipped \(not in --check\): .*", "skipped (not in --check): [others]");
        settings.add_filter(r"\d+ skipped", "[n] skipped");
        settings.bind(|| {
            insta::assert_snapshot!("validate", shown(&db.run(&checks)));
            db.sql(&format!(
                "ALTER TABLE {0}.trades NO FORCE ROW LEVEL SECURITY; GRANT SELECT ON {0}.trades TO {1};
                 GRANT USAGE ON SCHEMA {0} TO PUBLIC",
                made[0].schema, made[1].role
            ));
            insta::assert_snapshot!("validate_failed", shown(&db.run(&checks)));
            insta::assert_snapshot!("validate_no_tenant", shown(&db.run(&["validate"])));
        });
        insta::assert_snapshot!("validate_list", shown(&Cmd::new(&["validate", "--list"]).finish()));
        let explained = Cmd::new(&["validate", "--explain", "row_security"]).finish();
        insta::assert_snapshot!("validate_explain", shown(&explained));
    });
}

#[test]
fn help_texts() {
    settings().bind(|| {
        insta::assert_snapshot!("help", shown(&Cmd::new(&["--help"]).env("COLUMNS", "100").finish()));
        for (name, command) in [("help_provision", "provision"), ("help_validate", "validate")] {
            let run = Cmd::new(&[command, "--help"]).env("COLUMNS", "100").finish();
            insta::assert_snapshot!(name, shown(&run));
        }
    });
}

#[test]
fn a_dry_run_of_a_basic_tenant() {
    let db = Db::initialized();
    settings().bind(|| {
        let out = db
            .run(&["provision", "acme", "--tier", "basic", "--dry-run"])
            .success()
            .stdout();
        // The modules' own text is in sql/template; what is around them is what this holds.
        let mut inside = false;
        let frame: Vec<&str> = out
            .lines()
            .filter(|line| {
                if line.starts_with("-- ") && (line.starts_with("-- module ") || line.starts_with("-- grant ")) {
                    inside = line.starts_with("-- module ");
                    return true;
                }
                !inside
            })
            .collect();
        insta::assert_snapshot!("dry_run", frame.join("\n"));
    });
}

#[test]
fn json_logs_are_json_and_results_stay_on_stdout() {
    let run = Cmd::new(&[
        "--log-format",
        "json",
        "list",
        "--database-url",
        "postgresql://x@127.0.0.1:1/y",
    ])
    .finish()
    .exits(3);
    assert_eq!(run.stdout(), "");
    let line: serde_json::Value = serde_json::from_str(run.stderr().lines().last().unwrap()).unwrap();
    for field in ["error_id", "error_type", "severity", "hint", "message", "timestamp"] {
        assert!(line.get(field).is_some(), "{field} not in {line}");
    }
    assert_eq!(line["error_type"], "connection");
}

#[test]
fn a_closed_pipe_is_no_error() {
    let db = Db::initialized();
    db.provision(&["acme"]);
    let status = std::process::Command::new("sh")
        .args([
            "-c",
            &format!(
                "'{}' list 2>err | head -c 0; cat err >&2; test ! -s err",
                env!("CARGO_BIN_EXE_tenantctl")
            ),
        ])
        .env("DATABASE_URL", &db.url)
        .current_dir(&db.dir)
        .status()
        .unwrap();
    assert!(status.success());
}

#[test]
fn completions_and_man_need_no_server() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        assert!(
            Cmd::new(&["completions", shell])
                .finish()
                .success()
                .stdout()
                .contains("tenantctl")
        );
    }
    assert!(Cmd::new(&["man"]).finish().success().stdout().starts_with(".ie"));
}

#[test]
fn configuration_errors_name_file_line_and_nearest_key() {
    let db = Db::new();
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "retention_days:\n  schedulled: 7\n",
    )
    .unwrap();
    db.run(&["list"])
        .exits(2)
        .says(&["tenant_templates.yaml:2:", "schedulled", "scheduled"]);
    std::fs::write(
        db.dir.join("tenant_templates.yaml"),
        "retention_days:\n  scheduled: 7\n  scheduled: 8\n",
    )
    .unwrap();
    db.run(&["list"])
        .exits(2)
        .says(&["tenant_templates.yaml:3:", "duplicate"]);
    db.run(&["list", "--config", "missing.yaml"])
        .exits(2)
        .says(&["missing.yaml"]);
}
