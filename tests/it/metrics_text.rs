//! `metrics` as people see it: the block of one tenant, the table of many, at several widths, with and without colour.

use clap::Parser;
use tenantctl::cli::{Cli, MetricsSort};
use tenantctl::commands::metrics::text::{Order, View};
use tenantctl::metrics::Fleet;
use tenantctl::ui::{Render, Ui};

use crate::support::fleet::fleet;

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
    let (plain, coloured) = (view("never"), view("always"));
    assert!(!plain.contains('\u{1b}'));
    assert!(coloured.contains("\u{1b}[31m") && coloured.contains("\u{1b}[33m"));
    let mut stripped = String::new();
    let mut rest = coloured.as_str();
    while let Some(at) = rest.find('\u{1b}') {
        stripped.push_str(&rest[..at]);
        rest = &rest[at + rest[at..].find('m').unwrap() + 1..];
    }
    stripped.push_str(rest);
    // Columns stand where they stand without colour.
    assert_eq!(stripped, plain);
    assert!(plain.contains("CRITICAL schema size +1") && plain.contains("warning"));
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
