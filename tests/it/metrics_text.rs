//! `metrics` as people see it: the block of one tenant, the table of many, at several widths, with and without colour.

use clap::Parser;
use tenantctl::cli::{Cli, MetricsSort};
use tenantctl::commands::metrics::text::{Order, View};
use tenantctl::metrics::Fleet;
use tenantctl::ui::{Render, Ui};

use crate::support::fleet::fleet;
use crate::support::{Cmd, Db, cluster, loud, sql, unique, wait_for};

fn ui(color: &str) -> Ui {
    Ui::new(
        &Cli::try_parse_from(["tenantctl", "--color", color, "list"])
            .unwrap()
            .global,
    )
}

const ORDER: Order = Order {
    sort: MetricsSort::Usage,
    top: None,
    alerting: false,
};

fn text(fleet: &Fleet, one: bool, order: Order, width: Option<usize>) -> String {
    let view = View {
        fleet,
        enforced: None,
        one,
        order,
        width,
    };
    view.text(&ui("never"))
}

fn settings() -> insta::Settings {
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path("snapshots");
    settings.set_prepend_module_to_snapshot(false);
    settings
}

#[test]
fn one_tenant() {
    let mut one = fleet(1);
    one.alerts.retain(|a| a.tenant_id.is_some());
    settings().bind(|| insta::assert_snapshot!("metrics_one", text(&one, true, ORDER, Some(100))));
    let mut unknown = fleet(2);
    unknown.tenants.remove(0);
    unknown.alerts.clear();
    unknown.tenants[0].writes_frozen_at = Some("2026-11-27T09:00:00Z".to_owned());
    unknown.tenants[0].performance.connections.active = None;
    unknown.tenants[0].performance.connections.idle = None;
    unknown.tenants[0].performance.connections.idle_in_transaction = None;
    unknown.tenants[0].performance.top_queries = None;
    unknown.tenants[0].database.total_rows = None;
    settings().bind(|| insta::assert_snapshot!("metrics_one_unknown", text(&unknown, true, ORDER, Some(100))));
}

#[test]
fn many_tenants() {
    let many = fleet(5);
    settings().bind(|| insta::assert_snapshot!("metrics_many", text(&many, false, ORDER, None)));
}

#[test]
fn a_table_fits_the_terminal() {
    let mut many = fleet(5);
    many.tenants[3].tenant_id = "an-id-that-is-as-long-as-ids-may-be-which-is-sixty-three-bytes1"
        .parse()
        .unwrap();
    for width in [40, 60, 80, 100, 120, 200] {
        let shown = text(&many, false, ORDER, Some(width));
        let table: Vec<&str> = shown.split("\n\n").next().unwrap().lines().collect();
        assert_eq!(table.len(), 6, "{shown}");
        for line in table {
            assert!(line.chars().count() <= width, "{width}: {line:?}");
        }
    }
    settings().bind(|| insta::assert_snapshot!("metrics_many_80", text(&fleet(5), false, ORDER, Some(80))));
}

/// The ids in the order of the table.
fn ids(order: Order) -> Vec<String> {
    let shown = text(&fleet(5), false, order, None);
    let lines = shown.lines().skip(1).take_while(|line| !line.is_empty());
    lines
        .map(|line| line.split_whitespace().next().unwrap()[7..].to_owned())
        .collect()
}

#[test]
fn order_and_choice() {
    let sorted = |sort| ids(Order { sort, ..ORDER });
    // The second one's size is unknown, and it has no backup.
    assert_eq!(sorted(MetricsSort::Size), ["00000", "00002", "00003", "00004", "00001"]);
    assert_eq!(
        sorted(MetricsSort::Backup),
        ["00001", "00004", "00003", "00002", "00000"]
    );
    assert_eq!(
        sorted(MetricsSort::Connections),
        ["00000", "00001", "00002", "00003", "00004"]
    );
    assert_eq!(sorted(MetricsSort::Rows), ["00000", "00001", "00002", "00003", "00004"]);
    assert_eq!(sorted(MetricsSort::Id), ["00000", "00001", "00002", "00003", "00004"]);
    let top = Order {
        sort: MetricsSort::Size,
        top: Some(2),
        ..ORDER
    };
    assert_eq!(ids(top), ["00000", "00002"]);
    let shown = text(&fleet(5), false, top, None);
    assert!(shown.contains("2 of 5 shown, by size"), "{shown}");
    // The totals are those of all.
    assert!(shown.contains("5 tenants: "), "{shown}");
    let alerting = Order {
        alerting: true,
        ..ORDER
    };
    assert_eq!(ids(alerting), ["00000"]);
    assert!(text(&fleet(5), false, alerting, None).contains("4 tenants without an alert left out"));
}

#[test]
fn no_escape_without_colour_and_no_meaning_in_colour_alone() {
    let view = |color: &str| {
        let fleet = fleet(3);
        let view = View {
            fleet: &fleet,
            enforced: None,
            one: false,
            order: ORDER,
            width: None,
        };
        view.text(&ui(color))
    };
    let (uncoloured, coloured) = (view("never"), view("always"));
    assert!(!uncoloured.contains('\u{1b}'));
    assert!(coloured.contains("\u{1b}[31m") && coloured.contains("\u{1b}[33m"));
    // Columns stand where they stand without colour.
    assert_eq!(without_escapes(&coloured), uncoloured);
    assert!(uncoloured.contains("CRITICAL schema size +1") && uncoloured.contains("warning"));
}

#[test]
fn what_a_terminal_would_obey_is_shown_and_not_obeyed() {
    let mut one = fleet(1);
    one.tenants[0].business.insert("evil\u{1b}[2J".to_owned(), Some(1.0));
    one.tenants[0].resources.host = "host\u{7}".to_owned();
    one.tenants[0].alerts[0].message = "bell\u{7}".to_owned();
    one.alerts.clone_from(&one.tenants[0].alerts);
    one.unknown.push("more\u{9b}5m".to_owned());
    if let Some(queries) = &mut one.tenants[0].performance.top_queries {
        queries[0].query = Some("SELECT '\u{1b}]0;x\u{7}'".to_owned());
    }
    for (single, shown) in [(true, true), (false, false)].map(|(one_, _)| (one_, text(&one, one_, ORDER, Some(100)))) {
        assert!(
            !shown.chars().any(|c| c.is_control() && c != '\n'),
            "{single}: {shown:?}"
        );
    }
}

#[test]
fn ten_thousand_tenants_are_a_table_in_no_time() {
    let many = fleet(10_000);
    let top = Order { top: Some(10), ..ORDER };
    let shown = text(&many, false, top, Some(100));
    assert!(shown.contains("10 of 10,000 shown"), "{shown}");
    assert_eq!(
        text(&many, false, ORDER, Some(100))
            .lines()
            .filter(|l| l.starts_with("tenant-"))
            .count(),
        10_000
    );
}

/// The documents for programs: the one that was asked for alone, or the fleet.
#[test]
fn json_of_one_and_of_many() {
    let one = fleet(1);
    let json = |one_| {
        serde_json::to_value(View {
            fleet: &one,
            enforced: None,
            one: one_,
            order: ORDER,
            width: None,
        })
        .unwrap()
    };
    let document = json(true);
    for key in [
        "tenant_id",
        "schema_name",
        "timestamp",
        "database",
        "performance",
        "resources",
        "business",
        "limits",
        "alerts",
    ] {
        assert!(document.get(key).is_some(), "{key}");
    }
    assert_eq!(document["performance"]["connections"]["total"], 21);
    assert!(document["business"]["trades_24h"].is_null());
    let many = json(false);
    for key in ["timestamp", "tenants", "cluster", "unknown", "alerts"] {
        assert!(many.get(key).is_some(), "{key}");
    }
    assert_eq!(many["tenants"][0], document);
}

/// A database with two tenants, the first of which has all the portfolios that it may.
fn database() -> Db {
    let db = Db::initialized();
    let made = db.provision(&["acme", "globex"]);
    sql(
        &made[0].url(&db),
        "INSERT INTO portfolios (user_id, name) SELECT gen_random_uuid(), 'p' FROM generate_series(1, 5)",
    )
    .unwrap();
    db
}

#[test]
fn the_command_measures_judges_and_prints() {
    let db = database();
    let one = db.run(&["metrics", "globex", "-o", "json"]).success();
    assert_eq!(one.stderr(), "");
    let json = one.json();
    assert_eq!(
        (json["tenant_id"].as_str(), json["tier"].as_str()),
        (Some("globex"), Some("basic"))
    );
    assert!(json["database"]["size_bytes"].as_u64().unwrap() > 0);
    assert_eq!(json["limits"]["portfolios"]["max"], 5.0);
    assert_eq!(json["business"]["portfolio_count"], 0.0);
    // The first has reached a limit.
    let text = db.run(&["metrics", "acme"]).exits(1).stdout();
    for part in [
        "tenant       acme",
        "100 %  5 of 5",
        "1 ALERT: 1 critical, 0 warning",
        "portfolio_limit",
    ] {
        assert!(text.contains(part), "{part} not in\n{text}");
    }
    let all = db.run(&["metrics", "--all", "--no-business"]).exits(1).stdout();
    assert!(
        all.lines().nth(1).unwrap().starts_with("acme") && all.contains("CRITICAL portfolios"),
        "{all}"
    );
    assert!(!all.contains('\u{1b}'), "{all}");
    let json = db.run(&["metrics", "acme", "globex", "-o", "json"]).exits(1).json();
    assert_eq!(json["tenants"].as_array().unwrap().len(), 2);
    assert_eq!(json["cluster"]["database"], db.name.as_str());
    assert_eq!(json["alerts"][0]["type"], "portfolio_limit");
    // Named twice is meant once, and its document the result.
    assert_eq!(
        db.run(&["metrics", "globex", "globex", "-o", "json"]).json()["tenant_id"],
        "globex"
    );
    let samples = db.run(&["metrics", "--all", "-o", "prometheus"]).exits(1).stdout();
    assert!(
        samples.contains("tenant_schema_size_bytes{tenant_id=\"acme\""),
        "{samples}"
    );
    assert!(!samples.contains("# EOF"));
    db.run(&["metrics", "acne"]).exits(4).says(&["Did you mean acme?"]);
    db.run(&["metrics", "--tier", "gold"]).exits(2).says(&["gold"]);
    db.run(&["metrics", "--tier", "enterprise"])
        .success()
        .says(&["no tenants"]);
    Db::new().run(&["metrics", "--all"]).exits(4).says(&["tenantctl init"]);
}

#[test]
fn enforcing_is_planned_done_and_told() {
    let db = database();
    let none = db.run(&["metrics", "--all", "--enforce", "--dry-run"]).success();
    assert_eq!(none.stdout(), "");
    none.says(&["nothing to do"]);
    let json = db.run(&["metrics", "--all", "--enforce", "-o", "json"]).exits(1).json();
    assert_eq!(json["enforced"]["frozen"].as_array().unwrap().len(), 0);
    assert_eq!(json["tenants"].as_array().unwrap().len(), 2);
    let json = db
        .run(&["metrics", "globex", "--enforce", "-o", "json"])
        .success()
        .json();
    assert_eq!(
        (json["tenant_id"].as_str(), json["enforced"]["missed"].as_u64()),
        (Some("globex"), Some(0))
    );
    let text = db.run(&["metrics", "--all", "--enforce"]).exits(1).stdout();
    assert!(text.starts_with("0 tenants frozen, 0 thawed"), "{text}");
}

/// Runs `metrics --watch=1` until what it has printed holds, then asks it to stop; how it ended, and stdout.
fn watch(db: &Db, args: &[&str], mut holds: impl FnMut(&str) -> bool) -> (Option<i32>, String) {
    let mut all = vec!["metrics", "--watch=1"];
    all.extend(args);
    let mut cmd = db.command(&all);
    let file = db.dir.join(unique("watched"));
    let mut child = cmd
        .command
        .stdout(std::fs::File::create(&file).unwrap())
        .spawn()
        .unwrap();
    let shown = || std::fs::read_to_string(&file).unwrap();
    wait_for("what is watched", || holds(&shown()));
    std::process::Command::new("kill")
        .args(["-INT", &child.id().to_string()])
        .status()
        .unwrap();
    (child.wait().unwrap().code(), shown())
}

#[test]
fn watching_goes_on_until_it_is_asked_to_stop() {
    let db = database();
    let separator = "-".repeat(72);
    let (code, text) = watch(&db, &["--all", "--no-business"], |text| {
        text.matches("2 tenants: ").count() >= 2
    });
    // Alerts fire, and yet: it was asked to stop.
    assert_eq!(code, Some(0));
    assert!(text.contains(&separator) && !text.contains('\u{1b}'), "{text}");
    let (code, text) = watch(&db, &["acme", "-o", "json"], |text| {
        text.matches("\"tenant_id\": \"acme\"").count() >= 4
    });
    assert_eq!(code, Some(0));
    let documents = serde_json::Deserializer::from_str(&text).into_iter::<serde_json::Value>();
    assert!(documents.map(Result::unwrap).all(|d| d["tenant_id"] == "acme"));
    // What is wrong from the start ends it.
    db.run(&["metrics", "acne", "--watch"]).exits(4);
}

#[test]
fn watching_survives_a_database_that_is_away_for_a_while() {
    let db = database();
    let allow = |yes: bool| {
        let url = cluster().url(tenantctl::cluster::Cluster::SUPERUSER, "postgres");
        sql(&url, &format!("ALTER DATABASE {} ALLOW_CONNECTIONS {yes}", db.name)).unwrap();
    };
    let mut stage = 0;
    let (code, text) = watch(&db, &["globex"], |text| {
        match stage {
            0 if text.contains("globex") => allow(false),
            1 if text.contains("trouble: ") => allow(true),
            2 => {
                let after = text.rfind("trouble: ").unwrap();
                return text[after..].matches("tenant       globex").count() >= 2;
            }
            _ => return false,
        }
        stage += 1;
        false
    });
    assert_eq!(code, Some(0));
    // What was measured last stays to be seen.
    let trouble = text.find("trouble: ").unwrap();
    let frame = text[..trouble].rfind("tenant       globex").unwrap();
    assert!(!text[frame..trouble].contains("-----"), "{text}");
}

#[test]
fn the_first_ctrl_c_ends_it_even_where_nobody_answers() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    for (args, code) in [
        (&["metrics", "--all"][..], 130),
        (&["metrics", "report", "--html", "x.html"], 130),
        (&["metrics", "--all", "--watch"], 0),
    ] {
        let mut cmd = Cmd::new(args).env("DATABASE_URL", &format!("postgresql://nobody@127.0.0.1:{port}/none"));
        let mut child = cmd.command.stderr(std::process::Stdio::null()).spawn().unwrap();
        // It has connected, and waits for an answer.
        let (held, _) = listener.accept().unwrap();
        std::process::Command::new("kill")
            .args(["-INT", &child.id().to_string()])
            .status()
            .unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(code), "{args:?}");
        drop(held);
    }
}

#[test]
fn a_terminal_is_drawn_in_place() {
    let db = database();
    let binary = env!("CARGO_BIN_EXE_tenantctl");
    let line = format!(
        "stty rows 12 cols 60; exec timeout --foreground -s INT --preserve-status 4 {binary} metrics --all --watch=1"
    );
    let run = std::process::Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .env("DATABASE_URL", &db.url)
        .env("TERM", "xterm")
        .current_dir(&db.dir)
        .output();
    let Ok(run) = run else {
        loud("SKIPPED: a test of metrics --watch needs script");
        return;
    };
    let text = String::from_utf8(run.stdout).unwrap();
    assert_eq!(run.status.code(), Some(0), "{text}");
    let frames: Vec<&str> = text.split("\u{1b}[?7l\u{1b}[H").skip(1).collect();
    assert!(frames.len() >= 2, "{text:?}");
    for frame in frames {
        // It leaves a terminal that wraps lines again, with the cursor below the text.
        assert!(frame.ends_with("\u{1b}[J\u{1b}[?7h"), "{frame:?}");
        assert!(frame.matches('\n').count() < 12, "{frame:?}");
        assert!(frame.contains("acme") && frame.contains("Ctrl-C ends it"), "{frame:?}");
        // The table fits; sentences are cut at the edge by the terminal.
        assert!(
            frame.lines().take(3).all(|l| without_escapes(l).chars().count() <= 60),
            "{frame:?}"
        );
    }
    // Neither another screen nor a hidden cursor, which a kill would leave behind.
    assert!(!text.contains("?1049") && !text.contains("?25l"));
}

/// The text without escape sequences.
fn without_escapes(text: &str) -> String {
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        plain.push_str(&rest[..at]);
        let end = rest[at..].find(|c: char| c.is_ascii_alphabetic()).unwrap();
        rest = &rest[at + end + 1..];
    }
    plain + rest
}
